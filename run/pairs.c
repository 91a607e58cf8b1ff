/* pairs.c - ordered text pairs: what a record says about machine, engine, model and settings. A value is a JSON scalar in text
 * form; NULL is unknown. */
#include "run/run.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct run_pair *find(const struct run_pairs *p, const char *key)
{
    for (size_t i = 0; i < p->n; i++)
        if (!strcmp(p->items[i].key, key))
            return &p->items[i];
    return NULL;
}

/* Appends an unknown value. */
static struct run_pair *append(struct run_pairs *p, const char *key)
{
    struct run_pair *grown = p->n < RUN_PAIRS_MAX ? realloc(p->items, (p->n + 1) * sizeof *grown) : NULL;
    if (grown)
        p->items = grown;
    char *copy = grown ? jl_strdup(key) : NULL;
    if (!copy)
        return NULL;
    grown[p->n] = (struct run_pair){.key = copy, .kind = 's'};
    return &grown[p->n++];
}

/* "nan" and "" are no numbers: such a figure is unknown. */
static bool is_value(const char *text, char kind)
{
    int64_t i;
    uint64_t u;
    double d;
    if (kind == 'n')
        return jl_parse_i64(text, &i) || jl_parse_u64(text, &u) || jl_parse_double(text, &d);
    return kind == 's' || !strcmp(text, "true") || !strcmp(text, "false");
}

bool run_pairs_set(struct run_pairs *p, const char *key, char kind, const char *fmt, ...)
{
    char *text = NULL;
    va_list ap;
    va_start(ap, fmt);
    int n = vasprintf(&text, fmt, ap);
    va_end(ap);
    struct run_pair *pair = n < 0 ? NULL : find(p, key);
    if (!pair && n >= 0)
        pair = append(p, key);
    if (!pair) {
        if (n >= 0)
            free(text);
        return false;
    }
    if (!is_value(text, kind)) {
        free(text);
        text = NULL;
    }
    free(pair->value);
    pair->value = text;
    pair->kind = kind;
    return true;
}

const char *run_pairs_get(const struct run_pairs *p, const char *key)
{
    const struct run_pair *pair = find(p, key);
    return pair ? pair->value : NULL;
}

void run_pairs_release(struct run_pairs *p)
{
    for (size_t i = 0; i < p->n; i++) {
        free(p->items[i].key);
        free(p->items[i].value);
    }
    free(p->items);
    *p = (struct run_pairs){0};
}
