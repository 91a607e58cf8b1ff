/* tune.c - candidates of `joulet tune`. What is tried is what an engine can be told at its start and what does not change what is
 * asked; a power limit is of the machine, so it is only advised. */
#include "llm/plans/tune.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT_DEFAULT 4096
#define KNOWN           "threads, flash-attn, kv-type, gpu-layers, context, batch, streams, power-cap"

struct list {
    struct tune_candidate *c;
    size_t n;
};

/* ---- candidates ------------------------------------------------------------------------------------------------------ */

static void add(struct list *l, const char *setting, const char *key, const char *value, const char *label)
{
    if (l->n == TUNE_CANDIDATES_MAX)
        return;
    struct tune_candidate *x = &l->c[l->n++];
    *x = (struct tune_candidate){.n = 1, .choices = {{.setting = setting, .key = key}}};
    snprintf(x->choices[0].value, sizeof x->choices[0].value, "%s", value);
    snprintf(x->name, sizeof x->name, "%s %.150s", label, value);
}

static void add_number(struct list *l, const char *setting, const char *key, int64_t value, const char *label)
{
    char text[32];
    snprintf(text, sizeof text, "%lld", (long long)value);
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->c[i].n; k++)
            if (strcmp(l->c[i].choices[k].key, key) == 0 && strcmp(l->c[i].choices[k].value, text) == 0)
                return;
    if (value >= 1)
        add(l, setting, key, text, label);
}

/* Around what a server of ours gets by itself: the cores. */
static void add_threads(struct list *l, const struct tune_ask *a)
{
    int usual = a->cores > 0 && a->cores < a->threads ? a->cores : a->threads;
    int values[] = {usual / 4, usual / 2, usual * 3 / 4, usual - 1, a->threads};
    for (size_t i = 0; i < JL_COUNT(values); i++)
        if (values[i] != usual)
            add_number(l, "threads", "threads", values[i], "threads");
}

static void add_gpu_layers(struct list *l, const struct tune_ask *a)
{
    if (!a->gpu)
        return;
    add(l, "gpu-layers", "gpu-layers", "0", "GPU layers");
    if (a->layers > 1) {
        add_number(l, "gpu-layers", "gpu-layers", a->layers / 2, "GPU layers");
        add_number(l, "gpu-layers", "gpu-layers", a->layers + 1, "GPU layers"); /* the head too */
    }
}

static void add_models(struct list *l, const struct tune_ask *a)
{
    for (size_t i = 1; i < a->n_models && l->n < TUNE_CANDIDATES_MAX; i++) {
        const char *slash = strrchr(a->models[i], '/');
        add(l, "model", "model", a->models[i], "model");
        snprintf(l->c[l->n - 1].name, sizeof l->c->name, "%.190s", slash ? slash + 1 : a->models[i]);
    }
}

static void add_rest(struct list *l, const struct tune_ask *a)
{
    int64_t context = a->context > 0 ? a->context : CONTEXT_DEFAULT;
    if (tune_asks(a, "flash-attn")) {
        add(l, "flash-attn", "flash-attention", "on", "flash attention");
        add(l, "flash-attn", "flash-attention", "off", "flash attention");
    }
    if (tune_asks(a, "kv-type"))
        add(l, "kv-type", "kv-type", "q8_0", "KV");
    if (tune_asks(a, "gpu-layers"))
        add_gpu_layers(l, a);
    if (tune_asks(a, "context")) {
        add_number(l, "context", "context", context / 2, "context");
        add_number(l, "context", "context", context * 2, "context");
    }
    if (tune_asks(a, "batch")) {
        add_number(l, "batch", "server.ubatch-size", 128, "batch");
        add_number(l, "batch", "server.ubatch-size", 1024, "batch");
    }
    for (int64_t n = 2; n <= 8 && tune_asks(a, "streams"); n *= 2)
        add_number(l, "streams", "streams", n, "streams");
}

/* A word of a list with commas, in which blanks do not count. */
static bool has_word(const char *list, const char *word)
{
    size_t n = strlen(word);
    for (const char *s = list; *s; s += strcspn(s, ","), s += *s == ',') {
        s += strspn(s, " ");
        size_t len = strcspn(s, ",");
        while (len && s[len - 1] == ' ')
            len--;
        if (len == n && strncmp(s, word, n) == 0)
            return true;
    }
    return false;
}

bool tune_asks(const struct tune_ask *a, const char *setting)
{
    return has_word(a->settings ? a->settings : "threads,flash-attn,kv-type,gpu-layers,power-cap", setting);
}

static enum joulet_status check_settings(const char *settings, struct joulet_error *err)
{
    static const char *const known[] = {"threads", "flash-attn", "kv-type", "gpu-layers",
                                        "context", "batch",      "streams", "power-cap"};
    for (const char *s = settings ? settings : ""; *s; s += strcspn(s, ","), s += *s == ',') {
        char word[64];
        bool good = false;
        s += strspn(s, " ");
        snprintf(word, sizeof word, "%.*s", (int)(strcspn(s, ", ") < 60 ? strcspn(s, ", ") : 60), s);
        for (size_t i = 0; i < JL_COUNT(known); i++)
            good |= strcmp(known[i], word) == 0;
        if (!good)
            return jl_fail(err, JOULET_USAGE, "--settings: there is no setting \"%s\" to try; there are " KNOWN, word);
    }
    return jl_ok(err);
}

enum joulet_status tune_candidates(const struct tune_ask *a, struct tune_candidate out[TUNE_CANDIDATES_MAX], size_t *n,
                                   struct joulet_error *err)
{
    struct list l = {.c = out, .n = 1};
    enum joulet_status status = check_settings(a->settings, err);
    if (status != JOULET_OK)
        return status;
    out[0] = (struct tune_candidate){.name = "defaults"};
    add_models(&l, a);
    if (tune_asks(a, "threads"))
        add_threads(&l, a);
    add_rest(&l, a);
    *n = l.n;
    if (l.n == 1)
        return jl_fail(
            err, JOULET_USAGE,
            "there is nothing to try: this machine has one value for each of the settings; name others with --settings");
    return jl_ok(err);
}

void tune_join(const struct tune_candidate *const *parts, size_t n, struct tune_candidate *out)
{
    *out = (struct tune_candidate){0};
    for (size_t i = 0; i < n; i++) {
        bool fresh = true;
        for (size_t k = 0; k < parts[i]->n; k++) {
            for (size_t j = 0; j < out->n; j++)
                fresh &= strcmp(out->choices[j].setting, parts[i]->choices[k].setting) != 0;
            if (fresh && out->n < TUNE_CHOICES_MAX)
                out->choices[out->n++] = parts[i]->choices[k];
        }
        size_t used = strlen(out->name);
        if (fresh)
            snprintf(out->name + used, sizeof out->name - used, "%s%s", used ? ", " : "", parts[i]->name);
    }
}

int64_t tune_streams(const struct tune_candidate *c, size_t n)
{
    int64_t most = 1, streams;
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < c[i].n; k++)
            if (strcmp(c[i].choices[k].key, "streams") == 0 && jl_parse_i64(c[i].choices[k].value, &streams) && streams > most)
                most = streams;
    return most;
}

/* ---- the plan --------------------------------------------------------------------------------------------------------- */

/* In double quotes, as a plan wants what may hold anything. */
static void put_text(struct jl_buf *b, const char *key, const char *value)
{
    jl_buf_printf(b, "%s = \"", key);
    for (; *value; value++) {
        if (*value == '"' || *value == '\\')
            jl_buf_add(b, "\\", 1);
        if (*value == '\n')
            jl_buf_str(b, "\\n");
        else
            jl_buf_add(b, value, 1);
    }
    jl_buf_str(b, "\"\n");
}

char *tune_plan_text(const struct tune_plan *p, const struct tune_candidate *c, size_t n)
{
    struct jl_buf b;
    jl_buf_init(&b, (size_t)1 << 20);
    jl_buf_str(&b, "version = 1\n");
    put_text(&b, "title", p->title);
    jl_buf_printf(&b, "repeat = %lld\nwarmup = 1\norder = listed\ncooldown = 0\nbaseline = %.6gs\ntemperature = 0\n",
                  (long long)p->repeat, p->baseline_s);
    jl_buf_printf(&b, "max-tokens = %lld\n", (long long)p->max_tokens);
    put_text(&b, "prompts", p->prompts);
    put_text(&b, "engine", p->engine);
    if (p->context > 0)
        jl_buf_printf(&b, "context = %lld\n", (long long)p->context);
    for (size_t i = 0; i < n; i++) {
        bool model = false;
        jl_buf_printf(&b, "\n[cell %s]\n", c[i].name);
        for (size_t k = 0; k < c[i].n; k++) {
            put_text(&b, c[i].choices[k].key, c[i].choices[k].value);
            model |= strcmp(c[i].choices[k].key, "model") == 0;
        }
        if (!model)
            put_text(&b, "model", p->model);
    }
    return jl_buf_take(&b);
}

/* ---- command lines ----------------------------------------------------------------------------------------------------- */

void tune_put_word(struct jl_buf *b, const char *s)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_./:=+,@%";
    if (*s && strspn(s, plain) == strlen(s)) {
        jl_buf_str(b, s);
        return;
    }
    jl_buf_add(b, "'", 1);
    for (; *s; s++)
        if (*s == '\'')
            jl_buf_str(b, "'\\''");
        else
            jl_buf_add(b, s, 1);
    jl_buf_add(b, "'", 1);
}

static const struct {
    const char *key, *long_option[2]; /* of llama-server */
    const char *own;                  /* of `joulet engine start`; NULL: passed on as --engine-option */
} options[] = {{"threads", {"threads", NULL}, "threads"},          {"gpu-layers", {"n-gpu-layers", NULL}, "gpu-layers"},
               {"context", {"ctx-size", NULL}, "context"},         {"streams", {"parallel", NULL}, "parallel"},
               {"flash-attention", {"flash-attn", NULL}, NULL},    {"kv-type", {"cache-type-k", "cache-type-v"}, NULL},
               {"server.ubatch-size", {"ubatch-size", NULL}, NULL}};

static void put_choice(struct jl_buf *b, enum tune_use use, const struct tune_choice *c)
{
    if (use == TUNE_BENCH) {
        jl_buf_printf(b, " --vary %s=%s", c->key, c->value);
        return;
    }
    for (size_t i = 0; i < JL_COUNT(options); i++)
        for (size_t k = 0; k < 2 && options[i].long_option[k] && strcmp(options[i].key, c->key) == 0; k++) {
            if (use == TUNE_LLAMA_SERVER)
                jl_buf_printf(b, " --%s %s", options[i].long_option[k], c->value);
            else if (options[i].own)
                jl_buf_printf(b, " --%s %s", options[i].own, c->value);
            else
                jl_buf_printf(b, " --engine-option %s=%s", options[i].long_option[k], c->value);
        }
}

/* NULL: the candidate does not choose it. */
static const char *chosen(const struct tune_candidate *c, const char *key)
{
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->choices[i].key, key) == 0)
            return c->choices[i].value;
    return NULL;
}

static int64_t chosen_number(const struct tune_candidate *c, const char *key, int64_t otherwise)
{
    int64_t n;
    const char *value = chosen(c, key);
    return value && jl_parse_i64(value, &n) ? n : otherwise;
}

/* What the measured server was told besides the choices: llama-server by itself takes another context and other slots. */
static void put_measured(struct jl_buf *b, const struct tune_plan *p, const struct tune_candidate *c)
{
    int64_t context = chosen_number(c, "context", p->context > 0 ? p->context : CONTEXT_DEFAULT);
    int64_t streams = chosen_number(c, "streams", 1), threads = chosen_number(c, "threads", p->threads);
    if (threads > 0)
        jl_buf_printf(b, " --threads %lld", (long long)threads);
    jl_buf_printf(b, " --ctx-size %lld --parallel %lld", (long long)(context * streams), (long long)streams);
}

static bool is_measured(const char *key)
{
    return strcmp(key, "threads") == 0 || strcmp(key, "context") == 0 || strcmp(key, "streams") == 0;
}

void tune_command(struct jl_buf *out, enum tune_use use, const struct tune_plan *p, const struct tune_candidate *c)
{
    const char *model = chosen(c, "model"), *own = p->engine && strcmp(p->engine, "private") != 0 ? p->engine : NULL;
    if (use == TUNE_LLAMA_SERVER)
        tune_put_word(out, own ? own : "llama-server");
    else
        jl_buf_str(out, use == TUNE_BENCH ? "joulet bench" : "joulet engine start");
    if (use == TUNE_BENCH || (use == TUNE_ENGINE_START && p->engine)) {
        jl_buf_str(out, " --engine ");
        tune_put_word(out, own ? own : "private");
    }
    jl_buf_str(out, " -m ");
    tune_put_word(out, model ? model : p->model);
    if (use == TUNE_LLAMA_SERVER)
        put_measured(out, p, c);
    else if (p->context > 0 && !chosen(c, "context"))
        jl_buf_printf(out, " --context %lld", (long long)p->context);
    if (use == TUNE_BENCH && p->prompts) {
        jl_buf_str(out, " --prompts ");
        tune_put_word(out, p->prompts);
        if (p->max_tokens > 0)
            jl_buf_printf(out, " -n %lld", (long long)p->max_tokens);
    }
    for (size_t i = 0; i < c->n; i++)
        if (strcmp(c->choices[i].key, "model") != 0 && !(use == TUNE_LLAMA_SERVER && is_measured(c->choices[i].key)))
            put_choice(out, use, &c->choices[i]);
}
