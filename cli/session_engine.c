/* session_engine.c - from options to an engine and a generation, and what the record says about both. */
#include "cli/session_span.h"
#include "llm/gguf/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGES_MAX ((size_t)16 << 20)
#define COVER_MOST_S 3.0

static int read_json(const struct cli *c, const char *option, char **text)
{
    const char *path = cli_str(c, option);
    struct jl_buf b;
    struct joulet_error err;
    *text = NULL;
    if (!path)
        return CLI_DONE;
    jl_buf_init(&b, MESSAGES_MAX);
    if (jl_read_file(path, &b, &err) != JOULET_OK) {
        jl_buf_release(&b);
        cli_warn(c, "%s", err.message);
        return CLI_USAGE;
    }
    *text = jl_buf_take(&b);
    return CLI_DONE;
}

void session_files_release(struct session_files *f)
{
    free(f->messages);
    free(f->tools);
    *f = (struct session_files){0};
}

enum thinking session_thinking(const char *name)
{
    enum thinking t = THINKING_DEFAULT;
    for (int i = THINKING_OFF; name && i <= THINKING_HIGH; i++)
        if (strcmp(name, thinking_name((enum thinking)i)) == 0)
            t = (enum thinking)i;
    return t;
}

int session_generation(const struct cli *c, struct generation *q, struct session_files *files)
{
    *q = (struct generation){
        .system = cli_str(c, "system"),
        .raw = cli_flag(c, "raw"),
        .max_tokens = cli_int(c, "max-tokens", -1),
        .context_length = cli_int(c, "context", -1),
        .top_k = cli_int(c, "top-k", -1),
        .seed = cli_int(c, "seed", -1),
        .temperature = cli_real(c, "temperature"),
        .top_p = cli_real(c, "top-p"),
        .min_p = cli_real(c, "min-p"),
        .repeat_penalty = cli_real(c, "repeat-penalty"),
        .prompt_cache = cli_flag(c, "prompt-cache"),
        .thinking = session_thinking(cli_str(c, "think")),
        .thinking_budget = cli_int(c, "think-budget", 0),
        .keep_alive = cli_str(c, "keep-alive"),
    };
    *files = (struct session_files){0};
    int64_t timeout = cli_duration_ns(c, "timeout");
    q->timeout_s = timeout > 0 ? jl_s(timeout) : 0;
    q->n_stop = cli_list(c, "stop", &q->stop);
    q->n_options = cli_list(c, "engine-option", &q->options);
    int code = read_json(c, "messages", &files->messages);
    if (code == CLI_DONE)
        code = read_json(c, "tools", &files->tools);
    q->messages_json = files->messages;
    q->tools_json = files->tools;
    if (code == CLI_DONE && q->raw && (q->system || q->messages_json))
        code = cli_usage(c, "--raw sends the text as it is: it does not go with --system or --messages");
    if (code == CLI_DONE && q->system && q->messages_json)
        code = cli_usage(c, "--system and --messages exclude each other: put the system prompt into the messages");
    return code;
}

/* ---- what the record says -------------------------------------------------------------------------------------------------- */

static void set_count(struct run_pairs *p, const char *key, int64_t value)
{
    if (value >= 0)
        run_pairs_set(p, key, 'n', "%lld", (long long)value);
}

static void set_text(struct run_pairs *p, const char *key, const char *value)
{
    if (value[0])
        run_pairs_set(p, key, 's', "%s", value);
}

static void describe_model(struct run_pairs *p, const struct engine_info *info, const char *file)
{
    struct gguf_head h;
    struct joulet_error err;
    const char *path = file ? file : info->model_path;
    const char *name = strrchr(info->model, '/');
    run_pairs_set(p, "name", 's', "%s", name ? name + 1 : info->model);
    if (path[0])
        run_pairs_set(p, "path", 's', "%s", path);
    if (!path[0] || gguf_read_head(path, &h, &err) != JOULET_OK) {
        set_text(p, "architecture", info->architecture);
        set_text(p, "quantisation", info->quantisation);
        set_text(p, "digest", info->digest);
        set_count(p, "parameters", info->model_params);
        set_count(p, "size_bytes", info->model_bytes);
        return;
    }
    run_pairs_set(p, "architecture", 's', "%s", h.architecture);
    run_pairs_set(p, "quantisation", 's', "%s", h.quantisation);
    run_pairs_set(p, "digest", 's', "%s", h.digest);
    set_count(p, "parameters", h.params);
    set_count(p, "size_bytes", h.bytes);
    set_count(p, "context_length", h.context_length);
    set_count(p, "layers", h.layers);
    if (h.layers_of > 0)
        set_count(p, "layers_of", h.layers_of);
    if (h.params_of > 0)
        set_count(p, "parameters_of", h.params_of);
}

void session_model_file(struct run_pairs *model, const char *path)
{
    struct engine_info told = {.model_bytes = -1, .model_params = -1, .gpu_bytes = -1};
    const char *slash = strrchr(path, '/');
    snprintf(told.model, sizeof told.model, "%.255s", slash ? slash + 1 : path);
    describe_model(model, &told, path);
}

void session_describe(const struct cli *c, const struct runtime_choice *choice, struct run_pairs *engine, struct run_pairs *model)
{
    const struct engine *e = choice->engine;
    struct run_pairs *p = engine;
    run_pairs_set(p, "protocol", 's', "%s", e->ops->name);
    run_pairs_set(p, "url", 's', "%s", e->url);
    set_text(p, "version", e->info.version);
    set_text(p, "runtime", e->info.runtime);
    run_pairs_set(p, "started_by", 's', choice->started ? "joulet" : "user");
    run_pairs_set(p, "local", 'b', e->local ? "true" : "false");
    if (choice->started) {
        set_count(p, "pid", choice->server.process.pid);
        run_pairs_set(p, "private", 'b', choice->server.private_engine ? "true" : "false");
    }
    if (choice->started) /* by us, as these were asked for */
        set_count(p, "threads", cli_int(c, "threads", -1));
    set_count(p, "gpu_layers", e->info.gpu_layers >= 0 || !choice->started ? e->info.gpu_layers : cli_int(c, "gpu-layers", -1));
    set_count(p, "gpu_bytes", e->info.gpu_bytes);
    set_count(p, "context_length", e->info.context_length);
    set_count(p, "slots", e->info.slots);
    describe_model(model, &e->info, choice->model_file);
    if (choice->started && choice->kept_name) /* the file's own name is a digest */
        run_pairs_set(model, "name", 's', "%s", choice->kept_name);
    if (!e->info.model[0] && choice->model) /* nothing is loaded in a cloud: the model is what is asked for */
        run_pairs_set(model, "name", 's', "%s", choice->model);
    if (e->cloud)
        run_pairs_set(engine, "service", 's', "%s", e->cloud->name);
}

void session_engine(struct session *s, const struct runtime_choice *choice)
{
    session_describe(s->cli, choice, &s->run.engine, &s->run.model);
    if (!session_told_open(s, choice) && !choice->engine->local)
        session_estimate_note(s);
}

static void set_real(struct run_pairs *p, const char *key, double value)
{
    if (!isnan(value))
        run_pairs_set(p, key, 'n', "%.15g", value);
}

void session_settings(struct session *s, const struct generation *q)
{
    struct run_pairs *p = &s->run.settings;
    set_count(p, "seed", q->seed);
    set_real(p, "temperature", q->temperature);
    set_count(p, "top_k", q->top_k);
    set_real(p, "top_p", q->top_p);
    set_real(p, "min_p", q->min_p);
    set_real(p, "repeat_penalty", q->repeat_penalty);
    set_count(p, "max_tokens", q->max_tokens);
    set_count(p, "context_length", q->context_length);
    run_pairs_set(p, "raw", 'b', q->raw ? "true" : "false");
    run_pairs_set(p, "prompt_cache", 'b', q->prompt_cache ? "true" : "false");
    if (q->thinking)
        run_pairs_set(p, "think", 's', "%s", thinking_name(q->thinking));
    if (q->thinking_budget > 0)
        set_count(p, "think_budget", q->thinking_budget);
    if (q->keep_alive)
        run_pairs_set(p, "keep_alive", 's', "%s", q->keep_alive);
    run_pairs_set(p, "private", 'b', cli_flag(s->cli, "private") ? "true" : "false");
    if (q->system && !cli_flag(s->cli, "private"))
        run_pairs_set(p, "system", 's', "%s", q->system);
    for (size_t i = 0; i < q->n_stop && !cli_flag(s->cli, "private"); i++) {
        char key[32];
        snprintf(key, sizeof key, "stop_%zu", i + 1);
        run_pairs_set(p, key, 's', "%s", q->stop[i]);
    }
    for (size_t i = 0; i < q->n_options; i++) {
        char key[96];
        const char *eq = strchr(q->options[i], '=');
        snprintf(key, sizeof key, "engine_option_%.*s", eq ? (int)(eq - q->options[i]) : 64, q->options[i]);
        run_pairs_set(p, key, 's', "%s", eq ? eq + 1 : "");
    }
}

/* ---- one exchange ------------------------------------------------------------------------------------------------ */

/* A prompt or an answer that was cut is another one than the user thinks. */
static void note_cuts(struct session *s, const struct run_request *q, bool truncated)
{
    int64_t context;
    const char *told = run_pairs_get(&s->run.engine, "context_length");
    if (truncated)
        run_note(
            &s->run,
            "request %lld: the engine cut the prompt to its context, so the figures are those of a shorter one; start it with "
            "a longer --context",
            (long long)q->index + 1);
    else if (told && jl_parse_i64(told, &context) && q->finish && !strcmp(q->finish, "length") && q->tokens.prompt >= 0 &&
             q->tokens.prompt + q->tokens.generated >= context)
        run_note(&s->run,
                 "request %lld: the answer ended where the context of %lld tokens was full; a longer --context leaves it room",
                 (long long)q->index + 1, (long long)context);
}

static void add_count(struct run_pairs *p, const char *key, int64_t value)
{
    int64_t before = 0;
    const char *told = run_pairs_get(p, key);
    if (value >= 0 && (!told || jl_parse_i64(told, &before)))
        set_count(p, key, before + value);
}

/* What answers tell of the engine and not its lists: what computed, in which instance, and speculative decoding over the run. */
static void note_told(struct session *s, const struct generated *g)
{
    struct run_pairs *p = &s->run.engine;
    if (!run_pairs_get(p, "runtime"))
        set_text(p, "runtime", g->runtime);
    set_text(p, "model_instance", g->instance);
    if (g->gpu_layers >= 0)
        set_count(p, "gpu_layers", g->gpu_layers);
    set_text(p, "draft_model", g->draft_model);
    add_count(p, "draft_tokens", g->draft_tokens);
    add_count(p, "draft_accepted", g->draft_accepted);
}

void session_request_of(struct session *s, struct run_request *q, const struct generated *g, const char *prompt,
                        enum joulet_status st, const struct joulet_error *err)
{
    struct jl_sha256 sha;
    if (!s->watch.level)
        session_watched(s);
    engine_to_request(g, q);
    note_told(s, g);
    session_told_answer(s, g);
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, prompt, strlen(prompt));
    jl_sha256_hex(&sha, q->prompt_sha256);
    if (!cli_flag(s->cli, "private")) {
        q->prompt = jl_strdup(prompt);
        q->answer = jl_strdup(g->text.data ? g->text.data : "");
    }
    q->index = (int64_t)s->run.n_requests;
    q->outcome = st == JOULET_OK ? RUN_OK : st == JOULET_CANCELLED ? RUN_CANCELLED : RUN_FAILED;
    if (st != JOULET_OK)
        q->error = jl_strdup(err->message);
    note_cuts(s, q, g->truncated);
}

/* ---- choosing ---------------------------------------------------------------------------------------------------- */

/* Loading is a window of its own; its idle level is that of the machine without a server: stored, else the second before. */
static void before_start(void *user)
{
    session_prepare(user);
}

/* What the loaded model adds to it is seen when the level with it is known. */
static void keep_unloaded(struct session *s)
{
    struct joulet_baseline all = session_idle_total(s);
    s->unloaded_w = all.power_w;
    s->unloaded_u_w = all.u_w;
}

/* further: another server runs already, and what it draws is in the idle level. */
static void measure_load(struct session *s, const struct runtime_choice *choice, bool further)
{
    joulet_mark from = choice->load.from_ns, to = choice->load.to_ns;
    if (to <= from)
        return;
    bool known = false;
    for (size_t i = 0; i < s->n_channels; i++)
        known |= !isnan(s->idle[i].power_w);
    if (!known)
        session_baseline_short(s, from, 0, 0,
                               "loading has no energy above idle, for there is no idle level of the second before it: ");
    session_window(s, "load", from, to, s->idle, false);
    if (!further)
        keep_unloaded(s);
    for (size_t i = 0; i < s->n_channels; i++)
        s->idle[i] = (struct joulet_baseline)JOULET_BASELINE_NONE;
    s->last_end = to;
}

/* A load that failed or was interrupted is a run of its own: what it drew is kept. */
static void keep_failed_load(struct session *s, const struct runtime_choice *choice, const struct joulet_error *why, bool further)
{
    if (choice->load.to_ns <= choice->load.from_ns)
        return;
    if (!further) {
        run_pairs_set(&s->run.engine, "protocol", 's', "llama.cpp");
        run_pairs_set(&s->run.engine, "started_by", 's', "joulet");
        run_pairs_set(&s->run.engine, "local", 'b', "true");
        session_model_file(&s->run.model, choice->load.model); /* the engine never answered */
        session_begin(s);
    }
    joulet_wait_covered(s->meter, choice->load.to_ns, COVER_MOST_S, NULL);
    measure_load(s, choice, further);
    run_note(&s->run, "%s", why->message);
    if (further)
        return; /* the run ends where it was begun */
    session_finish(s, why->status == JOULET_CANCELLED ? "interrupted" : "failed");
    if (s->saved)
        cli_warn(s->cli, "what loading the model drew is kept: `joulet runs show %s`", s->run.id);
}

/* A run that is resumed must go on with the weights it was begun with; what is not known is taken for the same. */
static bool same_model(const struct session *s, const struct runtime_choice *choice, const char *digest)
{
    struct run_pairs engine = {0}, model = {0};
    session_describe(s->cli, choice, &engine, &model);
    const char *now = run_pairs_get(&model, "digest");
    bool same = !now || strcmp(now, digest) == 0;
    run_pairs_release(&engine);
    run_pairs_release(&model);
    return same;
}

/* An engine that loads when it is asked would do so inside the first request. What is loaded as it is needed stays. */
static enum joulet_status load_first(struct runtime_choice *choice, const struct session_ask *ask, struct session *s,
                                     struct joulet_error *err)
{
    struct engine *e = choice->engine;
    struct engine_model m;
    double told_s;
    const char *model = choice->model ? choice->model : e->info.model;
    if (choice->started || !e->ops->details || !e->ops->load)
        return JOULET_OK;
    enum joulet_status status = e->ops->details(e, model, &m, err);
    bool fits = m.loaded && ask->q && (ask->q->context_length < 0 || ask->q->context_length == m.loaded_context);
    if (status != JOULET_OK || fits || !ask->q)
        return status;
    before_start(s);
    cli_say(s->cli, "loading %s", model);
    choice->load.from_ns = joulet_now();
    status = e->ops->load(e, model, ask->q, &told_s, err);
    choice->load.to_ns = joulet_now();
    snprintf(choice->load.model, sizeof choice->load.model, "%s", model);
    return status == JOULET_OK ? e->ops->details(e, model, &m, err) : status;
}

int session_choose_as(struct session *s, struct runtime_choice *choice, const struct session_ask *ask)
{
    const struct cli *c = s->cli;
    struct joulet_error err;
    struct runtime_start how = {
        .context_length = ask->context,
        .threads = ask->threads,
        .parallel = ask->parallel,
        .gpu_layers = ask->gpu_layers,
        .options = ask->options,
        .n_options = ask->n_options,
        .preload = ask->preload,
        .environment = ask->environment,
        .key = cli_str(c, "key"),
        .protocol = cli_str(c, "protocol"),
        .cancel = &cli_cancel,
        .before_start = ask->why ? NULL : before_start,
        .user = s,
    };
    if (runtime_choose(choice, ask->engine, ask->model, &how, &err) != JOULET_OK) {
        int code = ask->why ? CLI_ENGINE : cli_fail(c, &err);
        if (ask->why)
            *ask->why = err;
        if (!ask->why)
            keep_failed_load(s, choice, &err, ask->further);
        /* A refused key or an unknown protocol is a failure of the engine too. */
        return code == CLI_USAGE || err.status == JOULET_CANCELLED ? code : CLI_ENGINE;
    }
    if (!ask->engine && !choice->started) /* several may answer where engines listen */
        cli_say(c, "engine: %s at %s", choice->engine->ops->name, choice->engine->url);
    if (load_first(choice, ask, s, &err) != JOULET_OK) {
        int code = cli_fail(c, &err);
        return code == CLI_USAGE || err.status == JOULET_CANCELLED ? code : CLI_ENGINE;
    }
    if (ask->digest && !same_model(s, choice, ask->digest))
        return cli_usage(
            c, "the model is another file than the one that run %s was begun with: bring that one back, or measure anew",
            s->run.id);
    int code = session_locate(s, choice);
    if (code != CLI_DONE)
        return code;
    if (!ask->further)
        session_engine(s, choice);
    else
        code = session_told_check(s, choice);
    if (code == CLI_DONE)
        code = session_need_measured(s);
    if (code != CLI_DONE)
        return code;
    session_watch_engine(s, choice);
    if (!ask->further)
        session_begin(s);
    if (!ask->why)
        measure_load(s, choice, ask->further);
    snprintf(s->level, sizeof s->level, "L1"); /* from here on the idle level is that with the model loaded */
    session_keep(s);
    return CLI_DONE;
}

int session_choose(struct session *s, struct runtime_choice *choice, const struct generation *q)
{
    const struct cli *c = s->cli;
    const struct session_ask ask = {
        .engine = cli_str(c, "engine"),
        .model = cli_str(c, "model"),
        .context = cli_int(c, "context", -1),
        .threads = (int)cli_int(c, "threads", 0),
        .gpu_layers = (int)cli_int(c, "gpu-layers", -1),
        .parallel = 1,
        .q = q,
    };
    return session_choose_as(s, choice, &ask);
}
