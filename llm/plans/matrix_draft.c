/* matrix_draft.c - what has been said of a plan so far, entry by entry. */
#include "llm/engine_joulet.h"
#include "llm/plans/matrix_private.h"

#include <stdlib.h>
#include <string.h>

struct plan_draft *plan_draft_open(void)
{
    return calloc(1, sizeof(struct plan_draft));
}

static void release_entry(struct draft_entry *e)
{
    for (size_t i = 0; i < e->n; i++)
        free(e->values[i]);
    free(e->values);
    free(e->key);
}

void plan_draft_close(struct plan_draft *d)
{
    if (!d)
        return;
    for (size_t i = 0; i < d->n; i++)
        release_entry(&d->entries[i]);
    for (size_t i = 0; i < d->n_cells; i++)
        free(d->cells[i]);
    free(d->entries);
    free(d->cells);
    free(d->name);
    free(d);
}

struct draft_entry *draft_find(const struct plan_draft *d, int where, const char *key)
{
    for (size_t i = 0; i < d->n; i++)
        if (d->entries[i].where == where && strcmp(d->entries[i].key, key) == 0)
            return &d->entries[i];
    return NULL;
}

struct draft_entry *draft_add(struct plan_draft *d, int where, const char *key, size_t line)
{
    struct draft_entry *grown = realloc(d->entries, (d->n + 1) * sizeof *grown);
    if (grown)
        d->entries = grown;
    char *copy = grown ? jl_strdup(key) : NULL;
    if (!copy)
        return NULL;
    grown[d->n] = (struct draft_entry){.where = where, .key = copy, .line = line};
    return &grown[d->n++];
}

bool draft_add_value(struct draft_entry *e, const char *value, size_t len)
{
    char **grown = realloc(e->values, (e->n + 1) * sizeof *grown);
    if (grown)
        e->values = grown;
    char *copy = grown ? malloc(len + 1) : NULL;
    if (!copy)
        return false;
    memcpy(copy, value, len);
    copy[len] = '\0';
    if (e->key && strcmp(e->key, "engine") == 0) /* the plan is kept with the run */
        engine_joulet_hide_token(copy);
    grown[e->n++] = copy;
    return true;
}

bool draft_add_cell(struct plan_draft *d, const char *name)
{
    char **grown = realloc(d->cells, (d->n_cells + 1) * sizeof *grown);
    if (grown)
        d->cells = grown;
    char *copy = grown ? jl_strdup(name) : NULL;
    if (copy)
        grown[d->n_cells++] = copy;
    return copy;
}

bool plan_draft_has(const struct plan_draft *d, const char *key)
{
    for (size_t i = 0; i < d->n; i++)
        if (strcmp(d->entries[i].key, key) == 0)
            return true;
    return false;
}
