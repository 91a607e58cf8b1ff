/* model_engine.c - models of an engine: list, show, load, unload, pull, by what its protocol offers. */
#include "cli/cli.h"
#include "cli/json.h"
#include "cli/model.h"
#include "llm/runtime.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)8 << 20)

/* ---- one model ----------------------------------------------------------------------------------------------------------- */

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *value)
{
    cli_json_key(out, first, key);
    cli_json_string(out, value[0] ? value : NULL);
}

static void json_model(struct jl_buf *out, const struct engine_model *m)
{
    bool first = true;
    const struct {
        const char *key;
        int64_t value;
    } counts[] = {{"parameters", m->params},
                  {"size_bytes", m->bytes},
                  {"context_length", m->context_length},
                  {"loaded_context_length", m->loaded_context},
                  {"loaded_bytes", m->loaded_bytes},
                  {"gpu_bytes", m->gpu_bytes}};
    jl_buf_str(out, "{");
    json_text(out, &first, "name", m->name);
    cli_json_key(out, &first, "loaded");
    jl_buf_str(out, m->loaded ? "true" : "false");
    json_text(out, &first, "runtime", m->runtime);
    json_text(out, &first, "architecture", m->architecture);
    json_text(out, &first, "quantisation", m->quantisation);
    json_text(out, &first, "digest", m->digest);
    json_text(out, &first, "capabilities", m->capabilities);
    json_text(out, &first, "expires", m->expires);
    for (size_t i = 0; i < JL_COUNT(counts); i++)
        model_json_count(out, &first, counts[i].key, counts[i].value);
    jl_buf_str(out, "}");
}

static void text_line(struct jl_buf *out, const char *label, const char *value)
{
    if (value[0])
        jl_buf_printf(out, "%-13s %s\n", label, value);
}

static void text_count(struct jl_buf *out, const char *label, int64_t n, bool bytes)
{
    char b[32];
    if (n >= 0)
        jl_buf_printf(out, "%-13s %s\n", label, bytes ? model_bytes(b, sizeof b, n) : model_count(b, sizeof b, n));
}

static void text_model(struct jl_buf *out, const struct engine_model *m)
{
    text_line(out, "name", m->name);
    text_line(out, "architecture", m->architecture);
    text_line(out, "quantisation", m->quantisation);
    text_count(out, "parameters", m->params, false);
    text_count(out, "size", m->bytes, true);
    text_count(out, "context", m->context_length, false);
    text_line(out, "runtime", m->runtime);
    text_line(out, "capabilities", m->capabilities);
    text_line(out, "digest", m->digest);
    jl_buf_printf(out, "%-13s %s\n", "loaded", m->loaded ? "yes" : "no");
    text_count(out, "  context", m->loaded_context, false);
    text_count(out, "  in memory", m->loaded_bytes, true);
    text_count(out, "  on the GPU", m->gpu_bytes, true);
    text_line(out, "  until", m->expires);
}

static void text_row(struct jl_buf *out, const struct engine_model *m)
{
    char a[32], b[32];
    jl_buf_printf(out, "  %-32s  %-8s  %9s  %9s%s\n", m->name, m->quantisation[0] ? m->quantisation : "-",
                  model_count(a, sizeof a, m->params), model_bytes(b, sizeof b, m->bytes), m->loaded ? "  loaded" : "");
}

/* ---- verbs ------------------------------------------------------------------------------------------------------- */

static int result(const struct cli *c, struct jl_buf *out)
{
    int code = cli_result(c, out->data ? out->data : "", out->len);
    jl_buf_release(out);
    return code;
}

static int engine_failed(const struct cli *c, const struct joulet_error *err)
{
    int code = cli_fail(c, err);
    return code == CLI_USAGE || err->status == JOULET_CANCELLED ? code : CLI_ENGINE;
}

static int cannot(const struct cli *c, const struct engine *e, const char *verb)
{
    cli_warn(c, "the engine at %s speaks %s, which has no way to %s a model: use the engine's own program", e->url, e->ops->name,
             verb);
    return CLI_ENGINE;
}

static int list(const struct cli *c, struct engine *e)
{
    struct engine_model *models;
    struct joulet_error err;
    struct jl_buf out;
    size_t n;
    if (e->ops->models(e, &models, &n, &err) != JOULET_OK)
        return engine_failed(c, &err);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        json_text(&out, &first, "engine", e->url);
        json_text(&out, &first, "protocol", e->ops->name);
        jl_buf_str(&out, ", \"models\": [");
        for (size_t i = 0; i < n; i++) {
            jl_buf_str(&out, i ? ",\n  " : "\n  ");
            json_model(&out, &models[i]);
        }
        jl_buf_str(&out, "]}\n");
    } else {
        jl_buf_printf(&out, "models of %s at %s\n", e->ops->name, e->url);
        for (size_t i = 0; i < n; i++)
            text_row(&out, &models[i]);
        if (n == 0)
            jl_buf_str(&out, e->ops->pull ? "  none: `joulet model pull NAME` gets one\n" : "  none\n");
    }
    free(models);
    return result(c, &out);
}

static int tell(const struct cli *c, const struct engine_model *m)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        json_model(&out, m);
        jl_buf_str(&out, "\n");
    } else {
        text_model(&out, m);
    }
    return result(c, &out);
}

/* What has no details of one model still lists them. */
static enum joulet_status find(struct engine *e, const char *name, struct engine_model *m, struct joulet_error *err)
{
    struct engine_model *models = NULL;
    size_t n = 0;
    if (e->ops->details)
        return e->ops->details(e, name, m, err);
    enum joulet_status status = e->ops->models(e, &models, &n, err);
    if (status == JOULET_OK)
        status = jl_fail(err, JOULET_NOT_FOUND, "the engine at %s has no model %.150s", e->url, name);
    for (size_t i = 0; i < n; i++) {
        if (engine_same_name(models[i].name, name)) {
            *m = models[i];
            status = jl_ok(err);
        }
    }
    free(models);
    return status;
}

static int show(const struct cli *c, struct engine *e, const char *name)
{
    struct engine_model m;
    struct joulet_error err;
    return find(e, name, &m, &err) == JOULET_OK ? tell(c, &m) : engine_failed(c, &err);
}

static int load(const struct cli *c, struct engine *e, const char *name)
{
    struct joulet_error err;
    struct jl_buf out;
    double told_s;
    struct generation q = {.max_tokens = -1,
                           .context_length = cli_int(c, "context", -1),
                           .top_k = -1,
                           .seed = -1,
                           .temperature = NAN,
                           .top_p = NAN,
                           .min_p = NAN,
                           .repeat_penalty = NAN,
                           .keep_alive = cli_str(c, "keep-alive")};
    if (!e->ops->load)
        return cannot(c, e, "load");
    if (q.keep_alive && !engine_keep_alive(q.keep_alive, &told_s))
        return cli_usage(c, "the time to keep the model loaded, \"%.40s\", is none: say 90s, 5m, 0 or forever", q.keep_alive);
    if (q.keep_alive && told_s == 0)
        return cli_usage(c, "--keep-alive 0 would unload the model at once: leave it out, or give a time");
    q.n_options = cli_list(c, "engine-option", &q.options);
    int64_t from = jl_mono_ns();
    if (e->ops->load(e, name, &q, &told_s, &err) != JOULET_OK)
        return engine_failed(c, &err);
    double seen_s = jl_s(jl_mono_ns() - from);
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        json_text(&out, &first, "loaded", name);
        jl_buf_printf(&out, ", \"load_s\": %.6g}\n", isnan(told_s) ? seen_s : told_s);
    } else {
        jl_buf_printf(&out, "%s is loaded, after %.2f s\n", name, isnan(told_s) ? seen_s : told_s);
    }
    return result(c, &out);
}

static int done(const struct cli *c, const char *key, const char *name, const char *sentence)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        bool first = true;
        jl_buf_str(&out, "{");
        json_text(&out, &first, key, name);
        jl_buf_str(&out, "}\n");
    } else {
        jl_buf_printf(&out, "%s %s\n", name, sentence);
    }
    return result(c, &out);
}

static int unload(const struct cli *c, struct engine *e, const char *name)
{
    struct joulet_error err;
    if (!e->ops->unload)
        return cannot(c, e, "unload");
    if (e->ops->unload(e, name, &err) != JOULET_OK)
        return engine_failed(c, &err);
    return done(c, "unloaded", name, "is unloaded");
}

struct pulling {
    const struct cli *c;
    char step[160];
    int64_t shown_ns;
};

/* A line that is written over on a terminal; elsewhere each step once. */
static void on_progress(void *user, const char *step, int64_t have, int64_t total)
{
    struct pulling *p = user;
    bool terminal = isatty(STDERR_FILENO) && !cli_flag(p->c, "quiet"), new_step = strcmp(step, p->step) != 0;
    char a[32], b[32];
    int64_t now = jl_mono_ns();
    if (new_step)
        snprintf(p->step, sizeof p->step, "%s", step);
    if (!terminal && new_step)
        cli_say(p->c, "%s", step);
    if (!terminal || (!new_step && now - p->shown_ns < 200000000))
        return;
    p->shown_ns = now;
    if (have >= 0 && total > 0)
        fprintf(stderr, "\r\033[K%s  %s of %s", step, model_bytes(a, sizeof a, have), model_bytes(b, sizeof b, total));
    else
        fprintf(stderr, "\r\033[K%s", step);
}

static int pull(const struct cli *c, struct engine *e, const char *name)
{
    struct joulet_error err;
    struct pulling p = {.c = c};
    if (!e->ops->pull)
        return cannot(c, e, "pull");
    enum joulet_status status = e->ops->pull(e, name, on_progress, &p, &err);
    if (isatty(STDERR_FILENO) && !cli_flag(c, "quiet"))
        fputs("\r\033[K", stderr);
    const char *scheme = strstr(name, "://"); /* says how to get it, and is no part of its name */
    return status == JOULET_OK ? done(c, "pulled", scheme ? scheme + 3 : name, "is there") : engine_failed(c, &err);
}

bool model_is_engine_verb(const struct cli *c, const char *verb)
{
    return jl_word_in("load,unload,pull", ',', verb) || (cli_str(c, "engine") && jl_word_in("list,show", ',', verb));
}

int model_engine_run(struct cli *c, const char *verb, const char *name)
{
    static const struct {
        const char *verb;
        int (*run)(const struct cli *c, struct engine *e, const char *name);
    } verbs[] = {{"show", show}, {"load", load}, {"unload", unload}, {"pull", pull}};
    struct joulet_error err;
    struct engine *e;
    bool lists = strcmp(verb, "list") == 0;
    if (!name && !lists)
        return cli_usage(c, "model %s needs the name of a model, as in `joulet model %s NAME`", verb, verb);
    const struct runtime_wanted w = {.engine = cli_str(c, "engine"),
                                     .key = cli_str(c, "key"),
                                     .protocol = cli_str(c, "protocol"),
                                     .pulls = strcmp(verb, "pull") == 0,
                                     .loads = jl_word_in("load,unload", ',', verb),
                                     .cancel = &cli_cancel};
    if (runtime_open_engine(&e, &w, &err) != JOULET_OK)
        return engine_failed(c, &err);
    int code = lists ? list(c, e) : CLI_USAGE;
    for (size_t i = 0; !lists && i < JL_COUNT(verbs); i++)
        if (strcmp(verbs[i].verb, verb) == 0)
            code = verbs[i].run(c, e, name);
    engine_close(e);
    return code;
}
