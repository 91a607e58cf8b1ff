/* session.c - opening and closing a measuring run. See session.h. */
#include "cli/session.h"
#include "cli/live.h"
#include "cli/records.h"
#include "cli/session_factors.h"
#include "cli/session_sink.h"
#include "meters/meters.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MEMORY_WITHOUT_STORE ((size_t)256 << 20) /* traces of long runs then stay in memory */
#define MEMORY_OF_PROFILE    ((size_t)12 << 20) /* each request is measured when it has ended, and a profile may go on for days */
#define CLOCKS_APART_S       5.0                /* the wall clock may have been corrected since the run was begun */
#define FAST_S               5e-3               /* period of a counter whose every reading counts in a profile */
#define FASTEST_S            0.5e-3
#define READY_TIMEOUT_S      5.0 /* a vendor library that takes longer joins no run */

/* ---- what the machine is --------------------------------------------------------------------------------------------- */

static void set_number(struct run_pairs *p, const char *key, double value)
{
    if (!isnan(value))
        run_pairs_set(p, key, 'n', "%.15g", value);
}

static void describe_machine(struct run *r)
{
    struct jl_machine m;
    jl_machine_get(&m);
    struct run_pairs *p = &r->machine;
    run_pairs_set(p, "os", 's', "%s", m.os);
    run_pairs_set(p, "kernel", 's', "%s", m.kernel);
    run_pairs_set(p, "arch", 's', "%s", m.arch);
    run_pairs_set(p, "cpu", 's', "%s", m.cpu);
    run_pairs_set(p, "threads", 'n', "%d", m.threads);
    if (m.cores > 0)
        run_pairs_set(p, "cores", 'n', "%d", m.cores);
    run_pairs_set(p, "memory_bytes", 'n', "%lld", (long long)m.memory_bytes);
    if (m.governor[0])
        run_pairs_set(p, "governor", 's', "%s", m.governor);
    run_pairs_set(p, "virtual_machine", 'b', m.virtual_machine ? "true" : "false");
    run_pairs_set(p, "host", 's', "%s", m.hostname_hash);
    int battery = jl_on_battery();
    if (battery >= 0)
        run_pairs_set(p, "power_source", 's', battery ? "battery" : "mains");
    set_number(p, "load_average", jl_load_average());
    set_number(p, "temperature_before_c", jl_temperature_c());
}

/* Facts of devices, as the sensors know them: "gpu0_driver". */
static void describe_devices(struct session *s)
{
    for (size_t i = 0; i < joulet_fact_count(s->meter); i++) {
        struct joulet_fact f;
        if (joulet_fact_get(s->meter, i, &f) != JOULET_OK)
            continue;
        char key[128];
        snprintf(key, sizeof key, "%s_%s", f.device, f.key);
        run_pairs_set(&s->run.machine, key, 's', "%s", f.value);
    }
}

static void describe_coverage(struct session *s)
{
    char text[1024];
    if (live_total_text(s->run.channels, s->run.n_channels, text, sizeof text)[0])
        run_pairs_set(&s->run.machine, "total", 's', "%s", text);
}

/* ---- opening ------------------------------------------------------------------------------------------------------------ */

/* Whatever is wrong with the store: the run is measured all the same, and storing it is tried again at the end. What is still
 * wrong then is said then, once, with the file that holds the record. */
void session_unsaved(struct session *s)
{
    s->unsaved = true;
}

static void open_store(struct session *s)
{
    struct joulet_error err;
    if (cli_flag(s->cli, "no-store") || store_open(&s->store, cli_str(s->cli, "db"), &err) == JOULET_OK)
        return;
    s->store = NULL;
    s->unopened = err;
    session_unsaved(s);
}

void session_forget(struct session *s)
{
    store_close(s->store);
    s->store = NULL;
    s->unsaved = false;
}

/* Components are told apart by every reading of a fast counter, which is otherwise read at events only (8.3). A meter that reads
 * the others so often would disturb them. 0: as each sensor needs. */
static int64_t every_reading(const struct joulet_options *wanted)
{
    double least = INFINITY;
    struct joulet_options o = *wanted;
    struct joulet *m;
    o.sink = NULL;
    o.no_thread = true; /* to see which there are */
    if (joulet_open(&m, &o, NULL) != JOULET_OK)
        return 0;
    for (size_t i = 0; i < joulet_channel_count(m); i++) {
        struct joulet_channel c;
        if (joulet_channel_get(m, i, &c) == JOULET_OK && c.in_total && c.quantity == JOULET_ENERGY && c.period_s > 0)
            least = fmin(least, c.period_s);
    }
    joulet_close(m);
    return least <= FAST_S ? jl_ns(fmax(least, FASTEST_S)) : 0;
}

static int open_meter(struct session *s)
{
    const struct cli *c = s->cli;
    struct joulet_options o = JOULET_OPTIONS_INIT;
    cli_meter_options(c, &o);
    int64_t interval = cli_duration_ns(c, "interval");
    o.interval_ns = interval > 0 ? interval : 0;
    o.gauges = true;
    o.sink = session_sink_samples;
    o.sink_user = s->sink;
    bool profile = strcmp(s->run.kind, "profile") == 0;
    o.memory_bytes = profile ? MEMORY_OF_PROFILE : s->store ? 0 : MEMORY_WITHOUT_STORE;
    struct joulet_error err;
    enum joulet_status status = cli_meters_check(c, &o, &err);
    if (status == JOULET_OK && !o.interval_ns && profile)
        o.interval_ns = every_reading(&o);
    if (status == JOULET_OK)
        status = joulet_open(&s->meter, &o, &err);
    if (status != JOULET_OK || cli_meters_open(c, s->meter, &s->meters, &err) != JOULET_OK)
        return cli_fail(c, &err);
    s->opened = joulet_now();
    if (joulet_wait_ready(s->meter, READY_TIMEOUT_S, &err) != JOULET_OK)
        run_note(&s->run, "%s", err.message);
    return CLI_DONE;
}

/* Those that came since the last time. */
static void note_problems(struct session *s)
{
    for (; s->n_problems < joulet_problem_count(s->meter); s->n_problems++) {
        struct joulet_problem p;
        if (joulet_problem_get(s->meter, s->n_problems, &p) != JOULET_OK)
            continue;
        run_note(&s->run, "%s", p.message);
        s->refused |= p.status == JOULET_PERMISSION;
    }
}

int session_need_measured(struct session *s)
{
    bool measured = session_is_told(s) || !cli_flag(s->cli, "measured-only");
    for (size_t i = 0; i < s->n_channels; i++)
        measured |= s->run.channels[i].in_total && s->run.channels[i].provenance == JOULET_MEASURED;
    if (measured)
        return CLI_DONE;
    cli_warn(s->cli, "nothing here can be measured and --measured-only was given; `joulet doctor` shows what is in the way");
    return CLI_NO_SENSOR;
}

/* The channels of the run are fixed here: indices in the record and in the store are those of the meter. */
static int take_channels(struct session *s)
{
    s->n_channels = joulet_channel_count(s->meter);
    s->idle = calloc(s->n_channels ? s->n_channels : 1, sizeof *s->idle);
    if (!s->idle)
        return CLI_FAILED;
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_channel ch;
        joulet_channel_get(s->meter, i, &ch);
        run_add_channel(&s->run, &ch);
        s->idle[i] = (struct joulet_baseline)JOULET_BASELINE_NONE;
    }
    note_problems(s);
    return cli_given(s->cli, "engine") ? CLI_DONE : session_need_measured(s); /* who is asked may measure for us */
}

int session_open(struct session *s, const struct cli *c, const char *kind)
{
    *s = (struct session){.cli = c, .level = "L0", .unloaded_w = NAN, .unloaded_u_w = NAN};
    run_cpu_time_init(&s->watch.cpu);
    run_init(&s->run, kind);
    if (cli_str(c, "run-id") && !run_id_set(&s->run, cli_str(c, "run-id"))) {
        run_release(&s->run);
        return cli_usage(c, "--run-id '%s' is none: 8 to 39 letters, digits and dashes", cli_str(c, "run-id"));
    }
    engine_joulet_use_token(cli_str(c, "token"));
    if (cli_str(c, "title"))
        s->run.title = jl_strdup(cli_str(c, "title"));
    s->sink = session_sink_open();
    if (!s->sink)
        return CLI_FAILED;
    describe_machine(&s->run);
    int code = session_factors_open(s);
    if (code == CLI_DONE)
        open_store(s);
    if (code == CLI_DONE)
        code = open_meter(s);
    if (code == CLI_DONE)
        code = take_channels(s);
    if (code == CLI_DONE) {
        describe_devices(s);
        describe_coverage(s);
    } else {
        session_close(s);
    }
    return code;
}

/* Index of a channel in the record and in the store is that of the meter, so they must be the same ones. */
static bool same_channels(const struct run *a, const struct run *b)
{
    bool same = a->n_channels == b->n_channels;
    for (size_t i = 0; same && i < a->n_channels; i++)
        same = !strcmp(a->channels[i].id, b->channels[i].id) && a->channels[i].provenance == b->channels[i].provenance;
    return same;
}

int session_resume(struct session *s, struct run *old)
{
    const char *host = run_pairs_get(&s->run.machine, "host"), *before = run_pairs_get(&old->machine, "host");
    int64_t moved = s->run.wall_offset_ns - old->wall_offset_ns;
    char now[40];
    if (host && before && strcmp(host, before) != 0)
        return cli_usage(s->cli, "run %s was begun on another machine: resume it there, or measure anew", old->id);
    if (moved > jl_ns(CLOCKS_APART_S) || moved < -jl_ns(CLOCKS_APART_S) || old->start_ns > s->run.start_ns)
        return cli_usage(s->cli, "run %s was begun before this machine was started or its clock was set: measure anew", old->id);
    if (!same_channels(&s->run, old))
        return cli_usage(
            s->cli, "run %s was begun with other sensors than are here now: use the same --sensors, --sim and rights", old->id);
    jl_format_time(now, sizeof now, s->run.started_wall_ns);
    run_release(&s->run);
    s->run = *old;
    *old = (struct run){0};
    free(s->run.status);
    s->run.status = jl_strdup("running");
    run_note(&s->run, "interrupted after %zu requests, and resumed at %s", s->run.n_requests, now);
    s->resumed = true;
    return CLI_DONE;
}

void session_begin(struct session *s)
{
    struct joulet_error err = {0};
    if (s->store && (s->resumed ? store_head : store_begin)(s->store, &s->run, &err) != JOULET_OK) {
        s->unopened = err;
        session_unsaved(s);
    }
    session_sink_start(s->sink, s->unsaved || s->told ? NULL : s->store, &s->run);
}

void session_keep(struct session *s)
{
    struct joulet_error err;
    if (s->store && !s->unsaved && store_head(s->store, &s->run, &err) != JOULET_OK)
        session_unsaved(s);
}

/* ---- closing ------------------------------------------------------------------------------------------------------------ */

static void describe_sampler(struct session *s)
{
    struct joulet_stats st;
    if (joulet_stats_get(s->meter, &st) != JOULET_OK)
        return;
    struct run_pairs *p = &s->run.sampler;
    set_number(p, "cpu_s", st.cpu_s);
    run_pairs_set(p, "reads", 'n', "%llu", (unsigned long long)st.reads);
    run_pairs_set(p, "failed", 'n', "%llu", (unsigned long long)st.failed);
    run_pairs_set(p, "late", 'n', "%llu", (unsigned long long)st.late);
    run_pairs_set(p, "dropped", 'n', "%llu", (unsigned long long)st.dropped);
    if (st.failed)
        run_note(&s->run, "%llu of %llu sensor reads failed; counters bridge what lies between two reads that worked",
                 (unsigned long long)st.failed, (unsigned long long)st.reads);
}

/* Requests of bench, run and chat make up the run's energy; exec has set it itself. */
void session_sum(struct session *s)
{
    double tail_j = s->run.energy.total.tail_j;
    if (!s->run.n_requests || !run_energy_from_requests(&s->run))
        return;
    session_bursts(s);
    s->run.energy.total.tail_j = tail_j;
}

static void rescue(struct session *s, const struct joulet_error *why)
{
    struct jl_buf json;
    jl_buf_init(&json, (size_t)256 << 20);
    if (run_to_json(&s->run, &json, NULL) == JOULET_OK)
        records_rescue(s->cli, s->run.id, &json, why, "runs import");
    else
        cli_warn(s->cli, "%s", why->message);
    jl_buf_release(&json);
}

/* The record could be stored in the end, but it took no samples. */
static bool traces_missed(const struct session *s, struct joulet_error *why)
{
    *why = s->unopened;
    return why->status != JOULET_OK;
}

/* Also when the first try failed: whoever held the database may have let it go. */
static void store_whole(struct session *s)
{
    struct joulet_error err;
    enum joulet_status st = JOULET_OK;
    if (!s->store && s->unsaved)
        st = store_open(&s->store, cli_str(s->cli, "db"), &err);
    if (!s->store && !s->unsaved)
        return;
    if (st == JOULET_OK)
        st = store_finish(s->store, &s->run, &err);
    s->saved = st == JOULET_OK;
    s->lost = !s->saved;
    if (s->lost)
        rescue(s, &err);
    else if (session_sink_failed(s->sink, &err) || traces_missed(s, &err))
        cli_warn(s->cli, "%s; the samples of this run are incomplete in the store, its figures are not affected", err.message);
}

/* What no request or window gave has no provenance of its own. */
static void describe_total(struct run *r)
{
    for (size_t i = 0; isnan(r->energy.total.gross_j) && i < r->n_channels; i++)
        if (r->channels[i].in_total && r->channels[i].provenance > r->energy.total.provenance)
            r->energy.total.provenance = r->channels[i].provenance;
}

void session_finish(struct session *s, const char *status)
{
    free(s->run.status);
    s->run.status = jl_strdup(status);
    s->run.end_ns = joulet_now();
    set_number(&s->run.machine, "temperature_after_c", jl_temperature_c());
    describe_sampler(s);
    session_watch_heat(s);
    session_factors_finish(s);
    note_problems(s);
    session_sum(s);
    describe_total(&s->run);
    meters_close(s->meters);
    s->meters = NULL;
    joulet_close(s->meter); /* flushes the last samples to the sink */
    s->meter = NULL;
    store_whole(s);
}

void session_close(struct session *s)
{
    if (s->sink)
        session_sink_start(s->sink, NULL, &s->run); /* lets a waiting sink thread go */
    meters_close(s->meters);
    s->meters = NULL;
    joulet_close(s->meter);
    session_sink_close(s->sink);
    store_close(s->store);
    session_factors_close(s);
    session_unfollow(s);
    session_estimate_close(s);
    session_told_close(s);
    free(s->idle);
    run_release(&s->run);
    *s = (struct session){0};
}

int session_exit(const struct session *s, int otherwise)
{
    int signal = atomic_load(&cli_signal);
    if (signal)
        return 128 + signal;
    if (otherwise == CLI_DONE && s->lost)
        return CLI_FAILED;
    if (otherwise != CLI_DONE || !cli_flag(s->cli, "measured-only") || !isnan(s->run.energy.total.gross_j))
        return otherwise;
    cli_warn(s->cli, "no sensor gave a figure and --measured-only was given; `joulet doctor` shows what is in the way");
    return CLI_NO_SENSOR;
}
