/* matrix_keys.c - the keys of a plan: type, limits, and how a cell is named after them. docs/plans.md lists them. */
#include "llm/plans/matrix.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOTS 1e9

const struct plan_key plan_keys[] = {
    {.key = "version", .type = PLAN_INT, .head = true, .min = 1, .max = LOTS},
    {.key = "title", .type = PLAN_TEXT, .head = true},
    {.key = "repeat", .type = PLAN_INT, .head = true, .min = 1, .max = 1e6},
    {.key = "warmup", .type = PLAN_INT, .head = true, .min = 0, .max = 1e6},
    {.key = "order", .type = PLAN_WORD, .head = true, .words = "listed,shuffled,abba"},
    {.key = "order-seed", .type = PLAN_INT, .head = true, .min = 0, .max = 4294967295.0},
    {.key = "baseline", .type = PLAN_DURATION, .head = true, .min = 0, .max = 3600},
    {.key = "baseline-most", .type = PLAN_DURATION, .head = true, .min = 0, .max = 3600},
    {.key = "baseline-every", .type = PLAN_DURATION, .head = true, .min = 0, .max = 86400},
    {.key = "cooldown", .type = PLAN_DURATION, .head = true, .min = 0, .max = 3600},
    {.key = "servers", .type = PLAN_WORD, .head = true, .words = "auto,together,apart"},
    {.key = "max-ttft", .type = PLAN_DURATION, .head = true, .min = 0, .max = 86400},
    {.key = "max-tpot", .type = PLAN_DURATION, .head = true, .min = 0, .max = 86400},
    {.key = "find-rate", .type = PLAN_YESNO, .head = true},

    {.key = "prompts", .type = PLAN_TEXT, .label = "%s"},
    {.key = "engine", .type = PLAN_TEXT, .server = true, .label = "%s"},
    {.key = "model", .type = PLAN_TEXT, .server = true, .label = "%s"},
    {.key = "quantisation", .type = PLAN_TEXT, .server = true, .label = "%s"},
    {.key = "context", .type = PLAN_INT, .server = true, .min = 1, .max = LOTS, .label = "context %s"},
    {.key = "threads", .type = PLAN_INT, .server = true, .min = 1, .max = 4096, .label = "%s threads"},
    {.key = "gpu-layers", .type = PLAN_INT, .server = true, .min = 0, .max = 1e6, .label = "%s GPU layers"},
    {.key = "flash-attention", .type = PLAN_WORD, .server = true, .words = "on,off,auto", .label = "flash attention %s"},
    {.key = "kv-type",
     .type = PLAN_WORD,
     .server = true,
     .words = "f32,f16,bf16,q8_0,q5_1,q5_0,q4_1,q4_0,iq4_nl",
     .label = "KV %s"},
    {.key = "draft-model", .type = PLAN_TEXT, .server = true, .label = "draft %s"},
    {.key = "system", .type = PLAN_TEXT, .label = "system \"%s\""},
    {.key = "raw", .type = PLAN_YESNO, .label = "raw %s"},
    {.key = "max-tokens", .type = PLAN_INT, .min = 1, .max = LOTS, .label = "%s tokens"},
    {.key = "seed", .type = PLAN_INT, .min = -1, .max = 4294967295.0, .label = "seed %s"},
    {.key = "temperature", .type = PLAN_REAL, .min = 0, .max = 100, .label = "temperature %s"},
    {.key = "top-p", .type = PLAN_REAL, .min = 0, .max = 1, .label = "top-p %s"},
    {.key = "top-k", .type = PLAN_INT, .min = 0, .max = 1e6, .label = "top-k %s"},
    {.key = "min-p", .type = PLAN_REAL, .min = 0, .max = 1, .label = "min-p %s"},
    {.key = "repeat-penalty", .type = PLAN_REAL, .min = 0, .max = 100, .label = "repeat penalty %s"},
    {.key = "prompt-cache", .type = PLAN_YESNO, .label = "prompt cache %s"},
    {.key = "think", .type = PLAN_WORD, .words = "on,off,low,medium,high", .label = "thinking %s"},
    {.key = "think-budget", .type = PLAN_INT, .min = 1, .max = LOTS, .label = "thinking at most %s tokens"},
    {.key = "keep-alive", .type = PLAN_TEXT, .label = "keep alive %s"},
    {.key = "streams", .type = PLAN_INT, .min = 1, .max = PLAN_STREAMS_MAX, .label = "%s streams"},
    {.key = "rate", .type = PLAN_REAL, .min = 0.0001, .max = 10000, .label = "%s requests/s"},
    {.key = "duration", .type = PLAN_DURATION, .min = 0.1, .max = 864000, .label = "for %s"},
};
const size_t plan_key_count = JL_COUNT(plan_keys);

static const struct plan_key server_option = {.key = "server.", .type = PLAN_TEXT, .server = true},
                             request_option = {.key = "request.", .type = PLAN_TEXT};

static bool option_key(const char *s)
{
    return *s && strspn(s, "abcdefghijklmnopqrstuvwxyz0123456789-_.") == strlen(s) && *s != '-' && strlen(s) <= 60;
}

const struct plan_key *plan_key_find(const char *key)
{
    for (size_t i = 0; i < plan_key_count; i++)
        if (strcmp(plan_keys[i].key, key) == 0)
            return &plan_keys[i];
    if (jl_starts(key, server_option.key) && option_key(key + strlen(server_option.key)))
        return &server_option;
    return jl_starts(key, request_option.key) && option_key(key + strlen(request_option.key)) ? &request_option : NULL;
}

static bool inside(const struct plan_key *k, double x)
{
    return x >= k->min && x <= k->max;
}

enum joulet_status plan_key_check(const struct plan_key *k, const char *value, struct joulet_error *err)
{
    int64_t i = 0;
    double x = 0;
    bool good = true;
    switch (k->type) {
    case PLAN_TEXT:
        if (k == &server_option || k == &request_option)
            return jl_ok(err);
        if (!*value && strcmp(k->key, "system") != 0)
            return jl_fail(err, JOULET_USAGE, "it is empty; give a value or take the key out");
        return jl_ok(err);
    case PLAN_INT:
        good = jl_parse_i64(value, &i);
        x = (double)i;
        break;
    case PLAN_REAL:
        good = jl_parse_double(value, &x);
        break;
    case PLAN_DURATION:
        good = jl_parse_duration(value, &i);
        x = jl_s(i);
        break;
    case PLAN_YESNO:
        if (!jl_word_in("yes,no", ',', value))
            return jl_fail(err, JOULET_USAGE, "'%.60s' is neither yes nor no", value);
        return jl_ok(err);
    case PLAN_WORD:
        if (!*value || !jl_word_in(k->words, ',', value))
            return jl_fail(err, JOULET_USAGE, "'%.60s' is not one of %s", value, k->words);
        return jl_ok(err);
    }
    if (!good)
        return jl_fail(err, JOULET_USAGE, "'%.60s' is not %s", value,
                       k->type == PLAN_INT    ? "a whole number"
                       : k->type == PLAN_REAL ? "a number such as 0.7"
                                              : "a time such as 250ms, 10s or 2m");
    if (!inside(k, x))
        return jl_fail(err, JOULET_USAGE, "%.60s is out of range, which is %.10g to %.10g%s", value, k->min, k->max,
                       k->type == PLAN_DURATION ? " s" : "");
    return jl_ok(err);
}

/* ---- values of a cell ------------------------------------------------------------------------------------------------- */

const char *plan_cell_text(const struct plan_cell *c, const char *key)
{
    for (size_t i = 0; i < c->n_settings; i++)
        if (strcmp(c->settings[i].key, key) == 0)
            return c->settings[i].value;
    return NULL;
}

int64_t plan_cell_int(const struct plan_cell *c, const char *key, int64_t otherwise)
{
    const char *text = plan_cell_text(c, key);
    int64_t v;
    return text && jl_parse_i64(text, &v) ? v : otherwise;
}

double plan_cell_real(const struct plan_cell *c, const char *key)
{
    const char *text = plan_cell_text(c, key);
    const struct plan_key *k = plan_key_find(key);
    int64_t ns;
    double x;
    if (text && k && k->type == PLAN_DURATION)
        return jl_parse_duration(text, &ns) ? jl_s(ns) : NAN;
    return text && jl_parse_double(text, &x) ? x : NAN;
}

bool plan_cell_flag(const struct plan_cell *c, const char *key)
{
    const char *text = plan_cell_text(c, key);
    return text && strcmp(text, "yes") == 0;
}

bool plan_cell_options(const struct plan_cell *c, const char *prefix, char ***out, size_t *n)
{
    size_t len = strlen(prefix);
    *out = NULL;
    *n = 0;
    for (size_t i = 0; i < c->n_settings; i++) {
        const struct plan_setting *s = &c->settings[i];
        if (strncmp(s->key, prefix, len) != 0)
            continue;
        char **grown = realloc(*out, (*n + 1) * sizeof *grown);
        if (!grown)
            return false;
        *out = grown;
        grown[*n] = jl_strf("%s=%s", s->key + len, s->value);
        if (!grown[(*n)++])
            return false;
    }
    return true;
}

void plan_free_options(char **options, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(options[i]);
    free(options);
}

bool plan_cell_load(const struct plan_cell *c)
{
    return plan_cell_text(c, "streams") || plan_cell_text(c, "rate");
}

static bool same_value(const struct plan_cell *a, const struct plan_cell *b, const char *key)
{
    const char *x = plan_cell_text(a, key), *y = plan_cell_text(b, key);
    return x && y ? strcmp(x, y) == 0 : x == y;
}

static bool covers(const struct plan_cell *a, const struct plan_cell *b)
{
    for (size_t i = 0; i < a->n_settings; i++) {
        const struct plan_key *k = plan_key_find(a->settings[i].key);
        if (k && k->server && !same_value(a, b, a->settings[i].key))
            return false;
    }
    return true;
}

bool plan_same_server(const struct plan_cell *a, const struct plan_cell *b)
{
    return covers(a, b) && covers(b, a);
}
