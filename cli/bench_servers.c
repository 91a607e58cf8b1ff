/* bench_servers.c - the servers of a plan. Cells that need different ones take turns with all of them alive when the memory
 * allows; otherwise one server after the other is started, and all cells of one are measured before the next. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define OVERHEAD_BYTES ((int64_t)512 << 20) /* of a server beside its weights: context, buffers */
#define MEMORY_SHARE   0.8                  /* of what is free now */

/* ---- who lives with whom ----------------------------------------------------------------------------------------- */

static size_t server_of(struct bench *b, size_t cell)
{
    for (size_t i = 0; i < b->n_servers; i++)
        if (plan_same_server(&b->m.cells[b->servers[i].first], &b->m.cells[cell]))
            return i;
    b->servers[b->n_servers] = (struct bench_server){.first = cell, .parallel = 1, .watch = -1};
    return b->n_servers++;
}

static int64_t file_bytes(const char *model)
{
    char *path = model ? runtime_model_find(model) : NULL;
    struct stat st;
    int64_t n = path && stat(path, &st) == 0 ? (int64_t)st.st_size : 0;
    free(path);
    return n;
}

static bool fits_together(const struct bench *b)
{
    struct jl_machine m;
    int64_t need = 0;
    jl_machine_get(&m);
    for (size_t i = 0; i < b->n_servers; i++) {
        const struct plan_cell *c = &b->m.cells[b->servers[i].first];
        int64_t bytes = file_bytes(plan_cell_text(c, "model"));
        bytes += file_bytes(plan_cell_text(c, "draft-model"));
        need += bytes ? bytes + OVERHEAD_BYTES : 0;
    }
    return m.memory_available_bytes <= 0 || (double)need <= MEMORY_SHARE * (double)m.memory_available_bytes;
}

/* Steps of one server behind each other, in the order in which the servers come first. */
static bool in_blocks(struct bench *b)
{
    struct plan_step *sorted = malloc((b->n_steps + 1) * sizeof *sorted);
    size_t n = 0;
    bool *seen = calloc(b->n_servers, sizeof *seen);
    for (size_t i = 0; sorted && seen && i < b->n_steps; i++) {
        size_t server = b->cells[b->steps[i].cell].server;
        if (seen[server])
            continue;
        seen[server] = true;
        for (size_t k = i; k < b->n_steps; k++)
            if (b->cells[b->steps[k].cell].server == server)
                sorted[n++] = b->steps[k];
    }
    bool ok = sorted && seen;
    if (ok) {
        free(b->steps);
        b->steps = sorted;
    } else {
        free(sorted);
    }
    free(seen);
    return ok;
}

/* ---- starting ---------------------------------------------------------------------------------------------------- */

/* What only a server that we start can be told. */
static const char *server_key(const struct bench *b, const struct plan_cell *c)
{
    for (size_t i = 0; i < c->n_settings; i++) {
        const char *key = c->settings[i].key;
        const struct plan_key *k = plan_key_find(key);
        if (!k || !k->server || jl_word_in("engine,model,quantisation", ',', key))
            continue;
        for (size_t j = 0; j < b->m.n_cells; j++) {
            const char *other = plan_cell_text(&b->m.cells[j], key);
            if (!other || strcmp(other, c->settings[i].value) != 0)
                return key;
        }
    }
    return NULL;
}

static void note_cells(struct bench *b, size_t server)
{
    static const char *const model_keys[] = {"name", "digest", "quantisation", "parameters"}, *const engine_keys[] = {
                                                                                                  "version", "url",
                                                                                                  "context_length"};
    struct run_pairs engine = {0}, model = {0};
    session_describe(b->s.cli, &b->servers[server].choice, &engine, &model);
    for (size_t i = 0; i < b->s.run.n_cells && i < b->m.n_cells; i++) {
        struct run_pairs *p = &b->s.run.cells[i].settings;
        if (b->cells[i].server != server)
            continue;
        for (size_t k = 0; k < JL_COUNT(model_keys); k++)
            if (run_pairs_get(&model, model_keys[k]))
                run_pairs_set(p, k ? model_keys[k] : "model", k == 3 ? 'n' : 's', "%s", run_pairs_get(&model, model_keys[k]));
        for (size_t k = 0; k < JL_COUNT(engine_keys); k++)
            if (run_pairs_get(&engine, engine_keys[k]))
                run_pairs_set(p,
                              k == 0   ? "engine_version"
                              : k == 1 ? "engine_url"
                                       : engine_keys[k],
                              k == 2 ? 'n' : 's', "%s", run_pairs_get(&engine, engine_keys[k]));
    }
    run_pairs_release(&engine);
    run_pairs_release(&model);
}

/* Of the model that a resumed run was begun with. */
static const char *old_digest(const struct bench *b, size_t server)
{
    for (size_t i = 0; i < b->n_old_cells && i < b->m.n_cells; i++)
        if (b->cells[i].server == server)
            return run_pairs_get(&b->old_cells[i], "digest");
    return b->old_digest;
}

static void refuse(struct bench *b, size_t server)
{
    b->servers[server].refused = b->spare;
    b->servers[server].why = b->why;
}

static int start(struct bench *b, size_t server)
{
    struct bench_server *v = &b->servers[server];
    const struct plan_cell *c = &b->m.cells[v->first];
    const struct bench_cell *x = &b->cells[v->first];
    bool begun = b->s.watch.choice != NULL;
    const struct session_ask ask = {
        .engine = plan_cell_text(c, "engine"),
        .model = plan_cell_text(c, "model"),
        .context = plan_cell_int(c, "context", -1),
        .threads = (int)plan_cell_int(c, "threads", 0),
        .gpu_layers = (int)plan_cell_int(c, "gpu-layers", -1),
        .parallel = v->parallel,
        .options = (const char *const *)x->server_options,
        .n_options = x->n_server_options,
        .digest = b->s.resumed ? old_digest(b, server) : NULL,
        .q = &x->q,
        .further = begun,
        .why = b->spare ? &b->why : NULL,
    };
    int code = session_choose_as(&b->s, &v->choice, &ask);
    v->open = v->choice.engine != NULL; /* also of a model that is refused */
    if (code != CLI_DONE)
        refuse(b, server);
    v->warm = false;
    if (code != CLI_DONE)
        return code;
    const char *key = v->choice.started ? NULL : server_key(b, c);
    if (key)
        return cli_usage(
            b->s.cli,
            "the plan varies %s, and the engine at %s runs already: stop it, or give --engine the path of a llama-server", key,
            v->choice.engine->url);
    for (size_t i = 0; i < b->m.n_cells; i++)
        if (b->cells[i].server == server)
            b->cells[i].q.model = v->choice.model;
    note_cells(b, server);
    return CLI_DONE;
}

static void stop(struct bench *b, size_t server)
{
    struct bench_server *v = &b->servers[server];
    if (v->open)
        runtime_choice_release(&v->choice);
    v->open = false;
}

void bench_servers_close(struct bench *b)
{
    for (size_t i = 0; i < b->n_servers; i++)
        stop(b, i);
}

/* The run as a whole has the models of all its cells. */
static void name_models(struct bench *b)
{
    struct jl_buf names;
    jl_buf_init(&names, 4096);
    for (size_t i = 0; i < b->m.n_cells; i++) {
        const char *model = plan_cell_text(&b->m.cells[i], "model"), *slash = model ? strrchr(model, '/') : NULL;
        const char *name = slash ? slash + 1 : model;
        if (name && !(names.data && strstr(names.data, name)))
            jl_buf_printf(&names, "%s%s", names.len ? ", " : "", name);
    }
    if (names.data && strchr(names.data, ',')) {
        run_pairs_release(&b->s.run.model);
        run_pairs_set(&b->s.run.model, "name", 's', "%s", names.data);
    }
    jl_buf_release(&names);
}

/* A cell that need not be there does without its server. */
static int start_or_spare(struct bench *b, size_t server)
{
    int code = start(b, server);
    return b->servers[server].refused && server != b->cells[0].server && !atomic_load(&cli_cancel) ? CLI_DONE : code;
}

int bench_servers(struct bench *b)
{
    b->servers = calloc(b->m.n_cells, sizeof *b->servers);
    if (!b->servers)
        return CLI_FAILED;
    for (size_t i = 0; i < b->m.n_cells; i++) {
        size_t server = b->cells[i].server = server_of(b, i);
        int64_t streams = plan_cell_int(&b->m.cells[i], "streams", 1);
        if (streams > b->servers[server].parallel)
            b->servers[server].parallel = (int)streams;
    }
    bool apart = strcmp(b->m.servers, "apart") == 0, together = strcmp(b->m.servers, "together") == 0;
    b->together = b->n_servers == 1 || together || (!apart && fits_together(b));
    if (!b->together && !in_blocks(b))
        return CLI_FAILED;
    if (b->n_servers > 1)
        run_pairs_set(&b->s.run.settings, "servers", 's', b->together ? "together" : "one after the other");
    if (!b->together && b->m.order != PLAN_LISTED)
        run_note(
            &b->s.run,
            "the servers were started one after the other, so the cells of one were measured before those of the next: a drift "
            "of the machine between them is not cancelled");
    int code = CLI_DONE;
    for (size_t i = 0; code == CLI_DONE && i < b->n_servers && (b->together || i == 0); i++)
        code = start_or_spare(b, b->together ? i : b->cells[b->steps[0].cell].server);
    name_models(b);
    session_keep(&b->s);
    return code;
}

/* Warm, with an idle level of what is loaded now. False: interrupted, or the engine is gone. */
static bool prepare(struct bench *b, size_t server)
{
    bool ok = true;
    for (size_t i = 0; ok && i < b->m.n_cells; i++)
        if (b->cells[i].server == server)
            ok = bench_warm_up(b, i);
    b->servers[server].warm = true;
    return ok;
}

int bench_use(struct bench *b, size_t cell)
{
    size_t server = b->cells[cell].server;
    bool fresh = false;
    if (b->servers[server].refused)
        return CLI_ENGINE;
    if (!b->servers[server].open) {
        for (size_t i = 0; i < b->n_servers; i++)
            stop(b, i);
        int code = start(b, server);
        if (code != CLI_DONE)
            return code;
        fresh = true;
    }
    if (b->s.watch.choice != &b->servers[server].choice)
        session_watch_engine(&b->s, &b->servers[server].choice);
    bool cold = false;
    for (size_t i = 0; i < b->n_servers; i++)
        cold |= b->servers[i].open && !b->servers[i].warm;
    if (fresh || (cold && !b->idle_at))
        bench_idle(b);
    for (size_t i = 0; i < b->n_servers; i++)
        if (b->servers[i].open && !b->servers[i].warm && !prepare(b, i)) {
            refuse(b, i);
            if (!b->spare || i == server || atomic_load(&cli_cancel))
                return CLI_ENGINE;
        }
    if (b->s.watch.choice != &b->servers[server].choice)
        session_watch_engine(&b->s, &b->servers[server].choice);
    return atomic_load(&cli_cancel) ? CLI_INTERRUPTED : CLI_DONE;
}
