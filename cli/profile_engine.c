/* profile_engine.c - the engine of a profile: one of our own that loads the probe, or whatever answers, for a profile by stages.
 */
#include "cli/profile.h"
#include "profile/probe.h"

#include <stdlib.h>
#include <string.h>

#define ENVIRONMENT 6
#define ROWS_MOST   16 /* sequences of a batch whose stretches are executed again; prompts are longer */

int profile_slots(const struct profiling *x)
{
    return x->batches.n ? (int)x->batches.tokens[x->batches.n - 1] : 1;
}

static bool wants_probe(const struct profiling *x)
{
    const char *engine = cli_str(x->cli, "engine");
    return !cli_flag(x->cli, "coarse") && !(engine && strstr(engine, "://"));
}

/* What the probe is told at its start. Passes change it as they need. Half of the graphs are watched where nothing else is asked:
 * that is how the cost of a stop is seen. */
static bool fill_environment(struct profiling *x, const char *out[ENVIRONMENT], char *texts[ENVIRONMENT])
{
    texts[0] = jl_strf("JOULET_PROBE_DIR=%s", x->folder);
    texts[1] = jl_strf("JOULET_PROBE_LEVEL=%s", ring_level_name(x->level));
    texts[2] = jl_strf("JOULET_PROBE_EVERY=%lld", (long long)(x->every > 1 ? x->every : 2));
    texts[3] = jl_strdup("JOULET_PROBE_RECORDS=1048576");
    texts[4] = jl_strf("JOULET_PROBE_REPEAT_ROWS=%d", profile_slots(x) < ROWS_MOST ? profile_slots(x) : ROWS_MOST);
    bool ok = true;
    for (int i = 0; i < ENVIRONMENT - 1; i++) {
        ok = ok && texts[i];
        out[i] = texts[i];
    }
    out[ENVIRONMENT - 1] = NULL;
    return ok;
}

/* Another model beside the one that runs is started as that one was: what differs between them is the model alone. */
int profile_engine_start(struct profiling *x, struct runtime_choice *choice, const char *beside)
{
    const struct cli *c = x->cli;
    const char *environment[ENVIRONMENT];
    char *texts[ENVIRONMENT] = {NULL}, *program = NULL;
    struct session_ask ask = {
        .engine = cli_str(c, "engine"),
        .model = beside ? beside : cli_str(c, "model"),
        .context = cli_int(c, "context", -1),
        .threads = (int)cli_int(c, "threads", 0),
        .gpu_layers = (int)cli_int(c, "gpu-layers", -1),
        .parallel = profile_slots(x),
        .options = x->options,
        .n_options = x->n_server_options,
        .q = &x->q,
        .further = beside != NULL,
    };
    bool with_probe = x->library && x->folder, ok = !with_probe || fill_environment(x, environment, texts);
    if (with_probe) {
        ask.preload = x->library;
        ask.environment = environment;
    }
    if (beside && !ask.engine) /* the same program, not whatever answers meanwhile */
        ask.engine = x->choice.server.private_engine ? "private" : (program = runtime_on_path());
    int code = ok ? session_choose_as(&x->s, choice, &ask) : CLI_FAILED;
    for (int i = 0; i < ENVIRONMENT; i++)
        free(texts[i]);
    free(program);
    return code;
}

int profile_engine(struct profiling *x)
{
    struct joulet_error err;
    x->library = wants_probe(x) ? probe_library(&err) : NULL;
    x->folder = x->library ? probe_folder(&err) : NULL;
    if (wants_probe(x) && !x->folder) {
        cli_warn(x->cli, "%s", err.message);
        run_profile_note(&x->p, "%s", err.message);
    }
    int code = profile_options(x) ? profile_engine_start(x, &x->choice, NULL) : CLI_FAILED;
    if (code == CLI_DONE && !x->choice.started)
        profile_options_to_requests(x);
    return code;
}

/* An engine that runs already may hold the probe; most do not, and then there are stages. */
static int64_t found_running(struct profiling *x)
{
    if (cli_flag(x->cli, "coarse") || x->s.watch.pid <= 0)
        return -1;
    int64_t pid = probe_process(x->s.watch.pid);
    char *folder = probe_folder_of(pid), *ring = folder ? ring_find(folder, pid) : NULL;
    bool has = ring != NULL;
    free(ring);
    if (has && !x->folder)
        x->folder = folder;
    else
        free(folder);
    return has ? pid : -1;
}

void profile_level_note(struct profiling *x, int64_t pid, enum wire_level is, enum wire_level wanted)
{
    struct joulet_error said;
    if (is == wanted)
        return;
    jl_fail(&said, JOULET_UNSUPPORTED,
            "the probe in process %lld was started at level %s, and stays there: for %s start the engine with "
            "JOULET_PROBE_LEVEL=%s",
            (long long)pid, ring_level_name(is), ring_level_name(wanted), ring_level_name(wanted));
    cli_warn(x->cli, "%s", said.message);
    run_profile_note(&x->p, "%s", said.message);
}

/* The engine has answered once, so that a probe that sees anything has seen it. */
bool profile_probe_found(struct profiling *x)
{
    struct joulet_error err;
    struct ring_info info;
    int64_t pid = x->choice.started ? x->choice.server.process.pid : found_running(x);
    if (!x->folder || pid < 0)
        return false;
    if (probe_check(pid, x->folder, &x->ring_path, &err) != JOULET_OK || ring_open(&x->ring, x->ring_path, &err) != JOULET_OK ||
        ring_hold(x->ring, &err) != JOULET_OK || measure_open(&x->m, &err) != JOULET_OK) {
        cli_warn(x->cli, "%s", err.message);
        run_profile_note(&x->p, "%s", err.message);
        return false;
    }
    ring_info(x->ring, &info);
    if (cli_given(x->cli, "level") || info.level == WIRE_STAGES)
        profile_level_note(x, pid, info.level, x->level);
    x->level = info.level; /* of an engine that runs: as it was started */
    x->probe = true;
    x->m->trigger.wish.first_tokens = cli_int(x->cli, "first-tokens", 0);
    x->m->source = x->every > 1 ? MEASURE_SAMPLED : MEASURE_WATCHED;
    run_pairs_set(&x->p.engine, "device", 's', "%s", info.device);
    return true;
}

void profile_watch(struct profiling *x, enum measure_pass pass)
{
    struct ring_control c = {.watch = pass == MEASURE_PLAIN || pass == MEASURE_ASIDE || pass == MEASURE_TEXT ? WIRE_WATCH_NONE
                                                                                                             : WIRE_WATCH_ALL};
    struct joulet_error err;
    if (!x->probe)
        return;
    if (pass == MEASURE_PAIRED || pass == MEASURE_SAMPLED)
        c.watch = WIRE_AS_SET;
    if (pass == MEASURE_AGAIN)
        c = x->again;
    if (pass == MEASURE_REPLAY)
        c = x->loops;
    x->stops = c.watch != WIRE_WATCH_NONE;
    if (ring_ask(x->ring_path, &c, &err) != JOULET_OK)
        cli_warn(x->cli, "%s", err.message);
}

void profile_unwatch(struct profiling *x)
{
    struct ring_control none = {.watch = WIRE_WATCH_NONE};
    if (x->stops && ring_ask(x->ring_path, &none, NULL) == JOULET_OK)
        x->stops = false;
}

/* Where no further step is wanted the engine is spared the stops. */
void profile_drain(struct profiling *x)
{
    struct ring_record r[512];
    size_t n;
    while (x->probe && (n = ring_read(x->ring, r, JL_COUNT(r))) > 0)
        for (size_t i = 0; i < n; i++)
            measure_record(x->m, &r[i]);
    if (x->probe && x->m->trigger.wish.first_tokens > 0 && x->m->passed_by)
        profile_unwatch(x);
}

void profile_engine_release(struct profiling *x)
{
    const struct ring_control as_started = {.watch = WIRE_AS_SET};
    bool ours = x->choice.started;
    if (x->probe && !ours)
        ring_ask(x->ring_path, &as_started, NULL);
    ring_close(x->ring);
    measure_close(x->m);
    runtime_choice_release(&x->choice);
    if (x->library && x->folder) /* of all servers that were started, whatever became of them */
        ring_remove_ended(x->folder);
    free(x->ring_path);
    free(x->folder);
    free(x->library);
    profile_options_release(x);
}
