/* calibrate_steps.c - what is done with one load: quick reads for the period, a steady load for counter against power, and
 * pulses for window and lag (docs/method.md 1.4). The figures themselves are made by joulet.h from the traces. */
#include "cli/calibrate.h"
#include "cli/parse.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READY_S     10.0
#define QUICK_NS    200000 /* between quick reads: several in the period of the fastest counters */
#define QUICK_S     2.0
#define QUICK_ON_S  0.1
#define LEAD_S      1.2 /* idle before the first pulse and after the last, for sensors that average over a second */
#define STEADY_S    5.0 /* of counter against power */
#define RAMP_S      1.2 /* before it: a mean over a second must have seen only the load */
#define COVERED_S   3.0
#define ON_LEAST_S  0.150
#define ON_MOST_S   0.400
#define OFF_LEAST_S 0.200
#define OFF_MOST_S  0.450

/* ---- progress --------------------------------------------------------------------------------------------------------- */

static bool on_terminal(const struct calibration *k)
{
    return terminal_is(STDERR_FILENO) && !cli_flag(k->cli, "quiet");
}

void calibration_progress(const struct calibration *k, const char *fmt, ...)
{
    va_list ap;
    if (!on_terminal(k))
        return;
    va_start(ap, fmt);
    fputs("\r\033[K", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, ", about %.0f s left", fmax(1, k->planned_s - jl_s(joulet_now() - k->begun)));
    fflush(stderr);
}

void calibration_progress_end(const struct calibration *k)
{
    if (on_terminal(k))
        fputs("\r\033[K", stderr);
}

/* ---- meters ----------------------------------------------------------------------------------------------------------- */

void calibration_meter_options(const struct calibration *k, int64_t interval_ns, struct joulet_options *o)
{
    *o = (struct joulet_options)JOULET_OPTIONS_INIT;
    cli_meter_options(k->cli, o);
    o->calibration = ""; /* what was found before must not colour what is found now */
    o->interval_ns = interval_ns;
}

static enum joulet_status open_meter(const struct calibration *k, int64_t interval_ns, struct joulet **m,
                                     struct joulet_error *err)
{
    struct joulet_options o;
    calibration_meter_options(k, interval_ns, &o);
    enum joulet_status st = joulet_open(m, &o, err);
    if (st == JOULET_OK)
        st = joulet_wait_ready(*m, READY_S, err);
    return st;
}

static enum joulet_status wait_s(double s, struct joulet_error *err)
{
    if (terminal_wait_until(joulet_now() + jl_ns(s)))
        return jl_ok(err);
    return jl_fail(err, JOULET_CANCELLED, "interrupted");
}

/* The trace of a target from a meter opened later: channels are found by their names. */
static enum joulet_status trace_of(struct joulet *m, const struct target *t, joulet_mark from, joulet_mark to,
                                   struct joulet_trace *out, struct joulet_error *err)
{
    struct joulet_channel ch;
    for (size_t i = 0; i < joulet_channel_count(m); i++)
        if (joulet_channel_get(m, i, &ch) == JOULET_OK && strcmp(ch.id, t->ch.id) == 0 && ch.quantity == t->ch.quantity)
            return joulet_trace_copy(m, i, from, to, out, err);
    return jl_fail(err, JOULET_GONE, "%s left while it was calibrated: check its driver", t->ch.id);
}

static void refuse(struct target *t, enum joulet_status st, const struct joulet_error *err)
{
    t->status = st;
    snprintf(t->why, sizeof t->why, "%s", err->message);
}

static bool concerns(const struct target *t, enum load_kind kind)
{
    return t->load == kind && t->status == JOULET_OK;
}

/* ---- period by quick reads ------------------------------------------------------------------------------------------- */

static void find_periods(struct calibration *k, enum load_kind kind, struct joulet *m, joulet_mark from, joulet_mark to)
{
    for (size_t i = 0; i < k->n; i++) {
        struct target *t = &k->targets[i];
        struct joulet_trace trace;
        struct joulet_error err;
        if (!concerns(t, kind) || !t->fast || trace_of(m, t, from, to, &trace, &err) != JOULET_OK)
            continue;
        joulet_calibrate_period(&trace, from, to, &t->found_s, NULL, &err); /* without one the declared period stays */
        joulet_trace_release(&trace);
    }
}

static enum joulet_status quick_reads(struct calibration *k, enum load_kind kind, struct joulet_error *err)
{
    struct joulet *m = NULL;
    struct joulet_pulse p;
    enum joulet_status st = open_meter(k, QUICK_NS, &m, err);
    joulet_mark from = joulet_now(), to = from;
    calibration_progress(k, "reading quickly");
    while (st == JOULET_OK && to < from + jl_ns(QUICK_S)) {
        st = k->load->ops->pulse(k->load, m, QUICK_ON_S, &p, err);
        if (st == JOULET_OK)
            st = wait_s(QUICK_ON_S, err);
        to = joulet_now();
    }
    if (st == JOULET_OK)
        find_periods(k, kind, m, from, to);
    joulet_close(m);
    return st;
}

/* ---- counter against power --------------------------------------------------------------------------------------------- */

static void find_ratios(struct calibration *k, enum load_kind kind, enum joulet_reading way, struct joulet *m, joulet_mark from,
                        joulet_mark to)
{
    for (size_t i = 0; i < k->n; i++) {
        struct target *t = &k->targets[i];
        struct joulet_trace counter, power;
        struct joulet_error err;
        if (!concerns(t, kind) || t->power < 0 || trace_of(m, t, from, to, &counter, &err) != JOULET_OK)
            continue;
        if (trace_of(m, &k->targets[t->power], from, to, &power, &err) == JOULET_OK) {
            joulet_calibrate_ratio(&counter, &power, from, to, &t->ratios[way], &err);
            joulet_trace_release(&power);
        }
        joulet_trace_release(&counter);
    }
}

static enum joulet_status read_steady(struct calibration *k, enum load_kind kind, enum joulet_reading way,
                                      struct joulet_error *err)
{
    static const int64_t intervals[] = {0, 5000000, JL_NS_PER_S};
    struct joulet *m = NULL;
    joulet_mark from = 0, to = 0;
    enum joulet_status st = open_meter(k, intervals[way], &m, err);
    calibration_progress(k, "counter against power, reading %d of %d", way + 1, JOULET_READING_COUNT);
    if (st == JOULET_OK)
        st = wait_s(RAMP_S, err);
    if (st == JOULET_OK) {
        from = joulet_mark_now(m);
        st = wait_s(STEADY_S, err);
        to = joulet_mark_now(m);
    }
    if (st == JOULET_OK)
        find_ratios(k, kind, way, m, from, to);
    joulet_close(m);
    return st;
}

static enum joulet_status compare(struct calibration *k, enum load_kind kind, struct joulet_error *err)
{
    struct joulet_error ignored;
    enum joulet_status st = k->load->ops->steady(k->load, true, err);
    for (int way = 0; st == JOULET_OK && way < JOULET_READING_COUNT; way++)
        st = read_steady(k, kind, (enum joulet_reading)way, err);
    k->load->ops->steady(k->load, false, &ignored);
    for (size_t i = 0; i < k->n; i++) {
        struct target *t = &k->targets[i];
        if (!concerns(t, kind) || t->power < 0)
            continue;
        t->entry.reading = joulet_calibrate_reading(t->ratios);
        t->entry.ratio = t->ratios[t->entry.reading];
    }
    return st;
}

/* ---- pulses --------------------------------------------------------------------------------------------------------------- */

static double between(struct jl_rng *r, double least, double most)
{
    return least + (most - least) * jl_rng_uniform(r);
}

static enum joulet_status send_pulses(struct calibration *k, struct joulet *m, struct joulet_pulse *pulses,
                                      struct joulet_error *err)
{
    struct jl_rng rng = {k->seed};
    enum joulet_status st = wait_s(LEAD_S, err);
    double others_s = k->planned_s - (double)k->n_pulses * CALIBRATION_PULSE_S;
    joulet_mark first = joulet_now();
    for (int64_t i = 0; i < k->n_pulses && st == JOULET_OK; i++) {
        calibration_progress(k, "pulse %lld of %lld", (long long)i + 1, (long long)k->n_pulses);
        double on = between(&rng, ON_LEAST_S, ON_MOST_S), off = between(&rng, OFF_LEAST_S, OFF_MOST_S);
        st = k->load->ops->pulse(k->load, m, on, &pulses[i], err);
        if (st == JOULET_OK)
            st = wait_s(off, err);
        /* An engine's pulses take as long as they take. */
        k->planned_s = others_s + (double)k->n_pulses * jl_s(joulet_now() - first) / (double)(i + 1);
    }
    if (st == JOULET_OK)
        st = wait_s(LEAD_S, err);
    return st;
}

/* Window, lag, and of slow devices the period, for one channel. */
static enum joulet_status solve(struct calibration *k, struct target *t, struct joulet_trace *trace,
                                const struct joulet_pulse *pulses, struct joulet_error *err)
{
    size_t n = (size_t)k->n_pulses;
    double period = t->found_s;
    if (!t->fast)
        joulet_calibrate_period(trace, pulses[0].on_ns - jl_ns(LEAD_S), pulses[n - 1].off_ns + jl_ns(LEAD_S), &period, NULL, err);
    if (period > 0)
        trace->channel.period_s = period;
    enum joulet_status st = joulet_calibrate_lag(trace, pulses, n, &t->found, err);
    if (st != JOULET_OK)
        return st;
    t->entry.at_s = jl_wall_ns() / JL_NS_PER_S;
    t->entry.period_s = trace->channel.period_s;
    t->entry.window_s = t->found.window_s;
    t->entry.lag_s = t->found.lag_s;
    t->entry.u_lag_s = t->found.u_lag_s;
    t->entry.verdict = t->found.verdict;
    return jl_ok(err);
}

static void solve_all(struct calibration *k, enum load_kind kind, struct joulet *m, const struct joulet_pulse *pulses)
{
    joulet_mark from = pulses[0].on_ns - jl_ns(LEAD_S), to = pulses[k->n_pulses - 1].off_ns + jl_ns(LEAD_S);
    for (size_t i = 0; i < k->n; i++) {
        struct target *t = &k->targets[i];
        struct joulet_trace trace;
        struct joulet_error err;
        if (!concerns(t, kind))
            continue;
        enum joulet_status st = trace_of(m, t, from, to, &trace, &err);
        if (st == JOULET_OK) {
            st = solve(k, t, &trace, pulses, &err);
            joulet_trace_release(&trace);
        }
        if (st != JOULET_OK)
            refuse(t, st, &err);
    }
}

static enum joulet_status pulse_it(struct calibration *k, enum load_kind kind, struct joulet_error *err)
{
    struct joulet *m = NULL;
    struct joulet_pulse *pulses = calloc((size_t)k->n_pulses, sizeof *pulses);
    enum joulet_status st =
        pulses ? open_meter(k, 0, &m, err) : jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    if (st == JOULET_OK)
        st = send_pulses(k, m, pulses, err);
    if (st == JOULET_OK) {
        joulet_wait_covered(m, pulses[k->n_pulses - 1].off_ns, COVERED_S, NULL);
        solve_all(k, kind, m, pulses);
    }
    joulet_close(m);
    free(pulses);
    return st;
}

/* ---- one load after the other --------------------------------------------------------------------------------------- */

static enum joulet_status open_load(struct calibration *k, enum load_kind kind, struct joulet_error *err)
{
    if (kind == LOAD_CURVE)
        return load_curve_open(&k->load, k->follow, err);
    if (kind == LOAD_ENGINE)
        return load_engine_open(&k->load, k->engine.engine, k->engine.model, k->seed, err);
    return load_cpu_open(&k->load, err);
}

enum joulet_status calibration_measure(struct calibration *k, enum load_kind kind, struct joulet_error *err)
{
    bool any = false, fast = false, pair = false;
    for (size_t i = 0; i < k->n; i++) {
        any |= concerns(&k->targets[i], kind);
        fast |= concerns(&k->targets[i], kind) && k->targets[i].fast;
        pair |= concerns(&k->targets[i], kind) && k->targets[i].power >= 0;
    }
    if (!any)
        return jl_ok(err);
    enum joulet_status st = open_load(k, kind, err);
    if (st == JOULET_OK && fast)
        st = quick_reads(k, kind, err);
    if (st == JOULET_OK && pair)
        st = compare(k, kind, err);
    if (st == JOULET_OK)
        st = pulse_it(k, kind, err);
    load_close(k->load);
    k->load = NULL;
    return st;
}
