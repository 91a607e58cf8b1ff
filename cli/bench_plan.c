/* bench_plan.c - the plan of a bench: from a file, from options, or from both; what it prints of itself, and what the record says
 * of it. */
#include "cli/bench.h"
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ASSUMED_TOKENS_S 20.0 /* of a dry run, which asks no engine */

/* Options that mean the same as the key of a plan. */
static const char *const same_names[] = {
    "prompts", "engine",      "context",    "threads",  "gpu-layers",    "system",         "raw",          "max-tokens",
    "seed",    "temperature", "top-p",      "top-k",    "min-p",         "repeat-penalty", "prompt-cache", "repeat",
    "warmup",  "order",       "order-seed", "baseline", "baseline-most", "baseline-every", "cooldown",     "streams",
    "rate",    "duration",    "max-ttft",   "max-tpot", "find-rate",     "think",          "think-budget", "keep-alive"};

/* Where the value of an option comes from: a settings file must not overrule a plan. */
static enum value_source source_of(const struct cli *c, const char *name)
{
    const struct option_row *row = option_find(name);
    return row ? c->values[row - option_table].source : VALUE_NONE;
}

static const char *value_of(const struct cli *c, const char *name)
{
    const struct option_row *row = option_find(name);
    return row->type == OPTION_FLAG ? (cli_flag(c, name) ? "yes" : "no") : cli_str(c, name);
}

static enum joulet_status take_option(struct plan_draft *d, const struct cli *c, const char *name, struct joulet_error *err)
{
    enum value_source from = source_of(c, name);
    if (from <= VALUE_DEFAULT || (from < VALUE_FLAG && plan_draft_has(d, name)))
        return JOULET_OK;
    return plan_draft_set(d, name, value_of(c, name), err);
}

/* -m may be given several times: then models are compared. */
static enum joulet_status take_models(struct plan_draft *d, const struct cli *c, struct joulet_error *err)
{
    const char *const *items;
    size_t n = cli_list(c, "model", &items);
    enum joulet_status st = JOULET_OK;
    if (!n || (source_of(c, "model") < VALUE_FLAG && plan_draft_has(d, "model")))
        return st;
    if (n == 1)
        return plan_draft_set(d, "model", items[0], err);
    for (size_t i = 0; i < n && st == JOULET_OK; i++)
        st = plan_draft_value(d, "model", items[i], err);
    return st;
}

static enum joulet_status take_options(struct plan_draft *d, const struct cli *c, struct joulet_error *err)
{
    const char *const *items;
    size_t n = cli_list(c, "vary", &items);
    enum joulet_status st = take_models(d, c, err);
    for (size_t i = 0; i < JL_COUNT(same_names) && st == JOULET_OK; i++)
        st = take_option(d, c, same_names[i], err);
    for (size_t i = 0; i < n && st == JOULET_OK; i++)
        st = plan_draft_vary(d, items[i], err);
    return st;
}

static int failed(const struct bench *b, const struct joulet_error *err)
{
    cli_fail(b->s.cli, err);
    return err->status == JOULET_MEMORY ? CLI_FAILED : CLI_USAGE;
}

int bench_plan(struct bench *b)
{
    const struct cli *c = b->s.cli;
    struct joulet_error err;
    struct plan_draft *d = plan_draft_open();
    const char *file = cli_str(c, "plan");
    if (!d)
        return CLI_FAILED;
    enum joulet_status st = file ? plan_draft_file(d, file, &err) : JOULET_OK;
    if (st == JOULET_OK)
        st = take_options(d, c, &err);
    if (st == JOULET_OK)
        st = plan_draft_finish(d, &b->m, &err);
    plan_draft_close(d);
    return st == JOULET_OK ? CLI_DONE : failed(b, &err);
}

/* ---- cells as they are sent --------------------------------------------------------------------------------------------- */

static void set_generation(struct bench_cell *x, const struct plan_cell *c)
{
    struct generation *q = &x->q;
    q->system = plan_cell_text(c, "system");
    if (q->system && !*q->system)
        q->system = NULL;
    q->raw = plan_cell_flag(c, "raw");
    q->prompt_cache = plan_cell_flag(c, "prompt-cache");
    q->max_tokens = plan_cell_int(c, "max-tokens", -1);
    q->context_length = plan_cell_int(c, "context", -1);
    q->top_k = plan_cell_int(c, "top-k", -1);
    q->seed = plan_cell_int(c, "seed", -1);
    q->temperature = plan_cell_real(c, "temperature");
    q->top_p = plan_cell_real(c, "top-p");
    q->min_p = plan_cell_real(c, "min-p");
    q->repeat_penalty = plan_cell_real(c, "repeat-penalty");
    q->thinking = session_thinking(plan_cell_text(c, "think"));
    q->thinking_budget = plan_cell_int(c, "think-budget", 0);
    q->keep_alive = plan_cell_text(c, "keep-alive");
}

static bool add_option(char ***list, size_t *n, char *text)
{
    char **grown = text ? realloc(*list, (*n + 1) * sizeof *grown) : NULL;
    if (!grown) {
        free(text);
        return false;
    }
    *list = grown;
    grown[(*n)++] = text;
    return true;
}

/* Keys of a plan that are options of llama-server under another name. */
static bool add_server_options(struct bench_cell *x, const struct plan_cell *c)
{
    static const struct {
        const char *key, *options[2];
    } rows[] = {{"flash-attention", {"flash-attn", NULL}},
                {"kv-type", {"cache-type-k", "cache-type-v"}},
                {"draft-model", {"model-draft", NULL}}};
    bool ok = true;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const char *value = plan_cell_text(c, rows[i].key);
        bool model = strcmp(rows[i].key, "draft-model") == 0;
        char *path = value && model ? runtime_model_find(value) : NULL; /* the server runs in another folder */
        for (size_t k = 0; value && k < 2 && rows[i].options[k]; k++)
            ok = ok &&
                 add_option(&x->server_options, &x->n_server_options, jl_strf("%s=%s", rows[i].options[k], path ? path : value));
        free(path);
    }
    return ok;
}

static bool make_cell(struct bench *b, size_t i)
{
    struct bench_cell *x = &b->cells[i];
    const struct plan_cell *c = &b->m.cells[i];
    *x = (struct bench_cell){.q = b->q};
    set_generation(x, c);
    bool ok = plan_cell_options(c, "server.", &x->server_options, &x->n_server_options) && add_server_options(x, c) &&
              plan_cell_options(c, "request.", &x->request_options, &x->n_request_options);
    for (size_t k = 0; ok && k < b->q.n_options; k++)
        ok = add_option(&x->request_options, &x->n_request_options, jl_strdup(b->q.options[k]));
    x->q.options = (const char *const *)x->request_options;
    x->q.n_options = x->n_request_options;
    return ok;
}

static void release_cells(struct bench *b, size_t n)
{
    for (size_t i = 0; b->cells && i < n; i++) {
        plan_free_options(b->cells[i].server_options, b->cells[i].n_server_options);
        plan_free_options(b->cells[i].request_options, b->cells[i].n_request_options);
    }
    free(b->cells);
    b->cells = NULL;
}

bool bench_make_cells(struct bench *b)
{
    b->cells = calloc(b->m.n_cells, sizeof *b->cells);
    bool ok = b->cells;
    for (size_t i = 0; ok && i < b->m.n_cells; i++)
        ok = make_cell(b, i);
    b->one = b->m.n_cells == 1 && !plan_cell_load(&b->m.cells[0]) && !b->m.find_rate;
    if (isnan(b->m.baseline_every_s)) /* 4.3: a long series takes a new idle level now and then */
        b->m.baseline_every_s = b->m.n_cells > 1 || b->m.repeat > 1 ? 60 : 0;
    return ok;
}

void bench_release(struct bench *b)
{
    release_cells(b, b->m.n_cells);
    for (size_t i = 0; i < b->n_old_cells; i++)
        run_pairs_release(&b->old_cells[i]);
    free(b->old_cells);
    free(b->old_digest);
    plan_matrix_release(&b->m);
    free(b->steps);
    free(b->finished);
    free(b->servers);
    session_files_release(&b->files);
}

/* ---- what the record says ------------------------------------------------------------------------------------------------ */

/* "max-tokens" is max_tokens in records, a duration gets its unit, and the context its older name. */
static void record_key(const char *key, bool duration, char *out, size_t size)
{
    snprintf(out, size, "%s%s",
             strcmp(key, "context") == 0 ? "context_length"
             : strcmp(key, "rate") == 0  ? "rate_per_s"
                                         : key,
             duration ? "_s" : "");
    for (; *out; out++)
        if (*out == '-' || *out == '.')
            *out = '_';
}

static void put_setting(struct run_pairs *p, const struct plan_cell *c, const struct plan_setting *s, bool private)
{
    char key[96];
    const struct plan_key *k = plan_key_find(s->key);
    record_key(s->key, k && k->type == PLAN_DURATION, key, sizeof key);
    if (private && strcmp(s->key, "system") == 0)
        return;
    if (k && k->type == PLAN_DURATION)
        run_pairs_set(p, key, 'n', "%.15g", plan_cell_real(c, s->key));
    else if (k && (k->type == PLAN_INT || k->type == PLAN_REAL))
        run_pairs_set(p, key, 'n', "%s", s->value);
    else if (k && k->type == PLAN_YESNO)
        run_pairs_set(p, key, 'b', "%s", strcmp(s->value, "yes") == 0 ? "true" : "false");
    else
        run_pairs_set(p, key, 's', "%s", s->value);
}

static void put_prompts(struct run_pairs *p, const struct plan *set)
{
    run_pairs_set(p, "prompts", 's', "%s", set->name);
    run_pairs_set(p, "prompts_sha256", 's', "%s", set->sha256);
}

/* The same value in every cell: a setting of the whole run. */
static bool shared(const struct plan_matrix *m, const struct plan_setting *s)
{
    for (size_t i = 0; i < m->n_cells; i++) {
        const char *v = plan_cell_text(&m->cells[i], s->key);
        if (!v || strcmp(v, s->value) != 0)
            return false;
    }
    return true;
}

static void describe_shared(struct bench *b, bool private)
{
    const struct plan_cell *first = &b->m.cells[0];
    struct run_pairs *p = &b->s.run.settings;
    run_pairs_set(p, "prompt_cache", 'b', "false");
    for (size_t i = 0; i < first->n_settings; i++)
        if (shared(&b->m, &first->settings[i]))
            put_setting(p, first, &first->settings[i], private);
    if (b->m.n_sets == 1)
        put_prompts(p, &b->m.sets[0]);
    run_pairs_set(p, "private", 'b', private ? "true" : "false");
}

static void add_cell(struct bench *b, size_t i, bool private)
{
    const struct plan_cell *c = &b->m.cells[i];
    bool hide = private && plan_cell_text(c, "system"); /* a name may show the system prompt */
    char *name = hide ? jl_strf("cell %zu", i + 1) : jl_strdup(c->name);
    struct run_cell *x = name ? run_add_cell(&b->s.run, name) : NULL;
    free(name);
    for (size_t k = 0; x && k < c->n_settings; k++)
        put_setting(&x->settings, c, &c->settings[k], private);
    if (x)
        put_prompts(&x->settings, &b->m.sets[c->set]);
}

void bench_describe(struct bench *b)
{
    struct run_pairs *p = &b->s.run.settings;
    bool private = cli_flag(b->s.cli, "private");
    if (b->one) {
        session_settings(&b->s, &b->cells[0].q);
        put_prompts(p, &b->m.sets[0]);
    } else {
        describe_shared(b, private);
        for (size_t i = 0; i < b->m.n_cells; i++)
            add_cell(b, i, private);
    }
    run_pairs_set(p, "repeat", 'n', "%lld", (long long)b->m.repeat);
    run_pairs_set(p, "warmup", 'n', "%lld", (long long)b->m.warmup);
    run_pairs_set(p, "baseline_s", 'n', "%.15g", b->m.baseline_s);
    run_pairs_set(p, "baseline_most_s", 'n', "%.15g", b->m.baseline_most_s);
    run_pairs_set(p, "baseline_every_s", 'n', "%.15g", b->m.baseline_every_s);
    run_pairs_set(p, "cooldown_s", 'n', "%.15g", b->m.cooldown_s);
    run_pairs_set(p, "order", 's', "%s", plan_order_name(b->m.order));
    run_pairs_set(p, "order_seed", 'n', "%lld", (long long)b->m.seed);
    run_pairs_set(p, "plan_sha256", 's', "%s", b->m.sha256);
    if (!private)
        run_pairs_set(p, "plan", 's', "%s", b->m.text);
    if (b->m.title && !b->s.run.title)
        b->s.run.title = jl_strdup(b->m.title);
}

/* ---- dry run --------------------------------------------------------------------------------------------------------------- */

/* Seconds of one request when nothing is known of the engine. */
static double assumed_s(const struct bench *b, const struct plan_step *s)
{
    const struct plan_cell *c = &b->m.cells[s->cell];
    int64_t most = plan_cell_int(c, "max-tokens", b->m.sets[c->set].prompts[s->prompt].max_tokens);
    return (double)(most > 0 ? most : 256) / ASSUMED_TOKENS_S;
}

static double assumed_total_s(const struct bench *b)
{
    double work_s = 0, levels_s = 0;
    for (size_t i = 0; i < b->n_steps; i++) {
        const struct plan_cell *c = &b->m.cells[b->steps[i].cell];
        double streams = (double)plan_cell_int(c, "streams", 1);
        if (plan_cell_text(c, "rate")) /* a level lasts as long as requests arrive */
            levels_s = fmax(levels_s, 0) +
                       (i + 1 == b->n_steps || b->steps[i + 1].cell != b->steps[i].cell ? plan_cell_real(c, "duration") : 0);
        else
            work_s += assumed_s(b, &b->steps[i]) / streams;
    }
    double total_s = work_s + levels_s;
    double idles = b->m.baseline_every_s > 0 ? floor(total_s / b->m.baseline_every_s) : 0;
    return total_s + (1 + idles) * b->m.baseline_s + b->m.cooldown_s;
}

static void put_settings(struct jl_buf *out, const struct plan_cell *c)
{
    for (size_t k = 0; k < c->n_settings; k++)
        jl_buf_printf(out, "%s%s=%s", k ? " " : "", c->settings[k].key, *c->settings[k].value ? c->settings[k].value : "\"\"");
    jl_buf_str(out, "\n");
}

/* "1 2 2 1 ...": cells in the order of sending, equal neighbours once. */
static void put_order(const struct bench *b, struct jl_buf *out)
{
    size_t shown = 0;
    for (size_t i = 0; i < b->n_steps && shown < 40; i++) {
        if (i && b->steps[i].cell == b->steps[i - 1].cell && plan_cell_load(&b->m.cells[b->steps[i].cell]))
            continue;
        jl_buf_printf(out, " %zu", b->steps[i].cell + 1);
        shown++;
    }
    jl_buf_str(out, shown == 40 ? " ...\n" : "\n");
}

static bool dry_json(const struct bench *b, struct jl_buf *out)
{
    struct run r;
    struct joulet_error err;
    struct bench copy = *b;
    run_init(&r, "bench");
    copy.s.run = r;
    copy.one = false;
    bench_describe(&copy);
    bool ok = run_to_json(&copy.s.run, out, &err) == JOULET_OK;
    run_release(&copy.s.run);
    return ok;
}

int bench_dry_run(const struct bench *b)
{
    struct jl_buf out;
    jl_buf_init(&out, (size_t)64 << 20);
    if (cli_json(b->s.cli)) {
        dry_json(b, &out);
    } else {
        jl_buf_printf(&out, "%zu cell%s, %zu request%s, order %s\n\n", b->m.n_cells, b->m.n_cells == 1 ? "" : "s", b->n_steps,
                      b->n_steps == 1 ? "" : "s", plan_order_name(b->m.order));
        for (size_t i = 0; i < b->m.n_cells; i++) {
            jl_buf_printf(&out, "%4zu  %s\n      ", i + 1, b->m.cells[i].name);
            put_settings(&out, &b->m.cells[i]);
        }
        jl_buf_str(&out, "\ncells in the order of sending:");
        put_order(b, &out);
        jl_buf_printf(&out, "about %.0f s at %.0f tokens/s, every answer as long as it may be; --trial asks the engine\n",
                      ceil(assumed_total_s(b)), ASSUMED_TOKENS_S);
        if (b->m.find_rate)
            jl_buf_str(&out, "the search sends more levels like this one, at other rates\n");
    }
    int code = cli_result(b->s.cli, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}
