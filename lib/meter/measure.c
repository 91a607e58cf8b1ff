/* measure.c - from a trace and moments to energies: which estimator applies, and what stands in its way (docs/method.md 2).
 *
 * Counters, and power readings that tile time and so sum to a counter, go by the joint fit (2.2), fast ones by two slopes; other
 * power readings by the segmented fit (2.3). A run that was isolated gets its whole from the padded difference (2.1), which needs
 * no lag. */
#include "lib/meter/measure.h"

#include <math.h>
#include <string.h>

#define MORE         24  /* samples on each side: five intervals for a slope, and some that are dropped */
#define FIT_BEFORE_S 3.0 /* the phase fit wants an idle level before, ... */
#define FIT_AFTER_S  5.0 /* ... and its tail segments after */
#define TOO_FAR      5   /* update distances that a boundary may lie outside the trace, ... */
#define TOO_FAR_PART 0.5 /* ... with this share of the run */
#define P_MIN_SHARE  0.5 /* defaults of 2.4 */
#define P_MAX_SHARE  1.5
#define TAIL_S       30.0
#define TAIL_SHORT_S 2.0 /* who did not wait for an idle level does not wait for a tail (4.2) */

static void set_unknown(const struct joulet_trace *trace, size_t n_phases, uint32_t flags, struct joulet_measured *out)
{
    struct joulet_energy none = JOULET_ENERGY_UNKNOWN;
    none.provenance = trace->channel.provenance;
    none.flags = flags;
    out->whole = none;
    for (size_t i = 0; i < n_phases && i < JOULET_PHASES_MAX; i++)
        out->parts[i] = none;
    out->settle_s = NAN;
}

static enum joulet_status check_what(const struct joulet_what *w, struct joulet_error *err)
{
    if (w->n_phases < 1 || w->n_phases > JOULET_PHASES_MAX || !w->bounds)
        return jl_fail(err, JOULET_USAGE, "%zu phases were asked for; a run has 1 to %d", w->n_phases, JOULET_PHASES_MAX);
    for (size_t i = 0; i < w->n_phases; i++)
        if (w->bounds[i + 1] < w->bounds[i])
            return jl_fail(err, JOULET_USAGE, "phase %zu ends before it begins; give the moments in ascending order", i + 1);
    return jl_ok(err);
}

/* ---- the moments ----------------------------------------------------------------------------------------------------- */

static double u_event(const struct joulet_what *w, size_t i)
{
    return w->u_event_s && isfinite(w->u_event_s[i]) ? w->u_event_s[i] : 0;
}

/* Leaves out phases without duration and cuts at the moment `end` where the device left. */
static void lay_bounds(struct jl_job *j, int64_t end)
{
    const struct joulet_what *w = j->what;
    int64_t origin = w->bounds[0];
    j->u_ev[0] = u_event(w, 0);
    for (size_t i = 0; i < w->n_phases; i++) {
        int64_t from = w->bounds[i], to = w->bounds[i + 1];
        if (to == from) {
            j->u_ev[j->m] = fmax(j->u_ev[j->m], u_event(w, i + 1));
            continue;
        }
        j->lost[i] = from >= end;
        if (j->lost[i])
            continue;
        j->index[j->m++] = i;
        j->bd[j->m] = jl_s((to < end ? to : end) - origin);
        j->u_ev[j->m] = to <= end ? u_event(w, i + 1) : 0;
    }
    j->quiet = w->quiet_until > w->bounds[w->n_phases] ? jl_s(w->quiet_until - origin) : w->quiet_until ? -INFINITY : INFINITY;
}

static double idle_power(const struct jl_job *j)
{
    return j->idle ? j->idle->power_w : j->trace->channel.power_min_w;
}

/* Where the trace ends in failed reads, or its counter stops for good, before the run does, the run is measured up to there. */
static int64_t last_moment(struct jl_job *j)
{
    int64_t last = 0, end = j->what->bounds[j->what->n_phases], lag = jl_ns(j->p.lag);
    if (jl_is_gone(j->trace, &j->p, &last) && last - lag < end)
        j->lost_flag = JOULET_FLAG_GONE;
    else if (jl_stopped(j->trace, &j->p, idle_power(j), &last) && last - lag < end)
        j->lost_flag = JOULET_FLAG_FROZEN;
    return j->lost_flag ? last - lag : INT64_MAX;
}

/* ---- the samples ----------------------------------------------------------------------------------------------------- */

static enum joulet_status cut_slice(struct jl_job *j, struct joulet_error *err)
{
    double before = j->p.counter ? 0 : FIT_BEFORE_S + j->p.W, after = j->p.U + j->p.l_max;
    if (!j->p.counter)
        after = FIT_AFTER_S + j->p.W;
    int64_t origin = j->what->bounds[0], lag = jl_ns(j->p.lag), end = origin + jl_ns(j->bd[j->m]);
    j->slice = jl_slice_of(j->trace, origin - jl_ns(before), end + lag + jl_ns(after), MORE, origin);
    j->calm = jl_is_calm(&j->slice);
    if (!jl_cut_at_restarts(&j->slice, origin + lag, end + lag))
        return jl_fail(err, JOULET_RESET, "%s restarted during the run, so its energy is unknown; repeat the run",
                       jl_channel_name(j->trace));
    if (!jl_edges_of(&j->slice, &j->p, JL_FOR_BOUNDS, &j->all) || !jl_edges_for_estimates(&j->slice, &j->p, &j->all, &j->edges) ||
        ((!j->p.counter || j->p.slow) && !jl_readings_of(&j->slice, j->p.U, &j->readings)))
        return jl_fail(err, JOULET_MEMORY, "out of memory for the trace of %s; measure a shorter run", jl_channel_name(j->trace));
    return jl_ok(err);
}

static enum joulet_status check_cover(const struct jl_job *j, struct joulet_error *err)
{
    const struct jl_edges *e = &j->edges;
    double d = j->bd[j->m], first = e->n ? e->items[0].t - j->p.lag : INFINITY, last = e->n ? e->items[e->n - 1].t - j->p.lag : 0;
    double step = e->n > 1 ? fmax(j->p.U, (last - first) / (double)(e->n - 1)) : j->p.U;
    double outside = fmax(0, first) + fmax(0, d - last);
    if (e->n < 2 || outside > TOO_FAR * step + TOO_FAR_PART * d)
        return jl_fail(err, JOULET_NO_DATA,
                       "the trace of %s does not cover the run; open the meter before it and keep it open after",
                       jl_channel_name(j->trace));
    return jl_ok(err);
}

/* Power that nobody told cannot be known: the largest reading stands for it, and what a phase too short for a reading of its
 * own may have drawn of those around it. */
static double largest_power(const struct jl_job *j, double seen_w)
{
    const struct jl_edges *e = &j->all;
    double most = P_MAX_SHARE * seen_w;
    for (size_t i = 0; i < j->m; i++) {
        double a = j->bd[i] + j->p.lag, b = j->bd[i + 1] + j->p.lag;
        most = fmax(most, jl_hidden_power(e->items, e->n, a, b, &j->limits));
        if (!j->p.counter)
            most = fmax(most, jl_hidden_power_of_readings(j->readings.items, j->readings.n, a, b, j->p.W, &j->limits));
    }
    return most;
}

static double least_power(const struct jl_job *j, double seen_w)
{
    return j->idle ? P_MIN_SHARE * fmax(0, fmin(j->idle->power_w, seen_w)) : 0;
}

static void set_limits(struct jl_job *j)
{
    const struct joulet_channel *ch = &j->trace->channel;
    j->limits = (struct jl_limits){
        .u_t = j->p.u_t,
        .q = j->p.q,
        .step_w = j->p.gauge ? j->p.step_w : 0,
        .loose_s = j->p.slow && j->p.ways_unknown ? j->p.U : 0,
        .tile_s = j->p.gauge && j->p.counter ? j->p.U : 0,
    };
    double least, most;
    jl_power_range(j->all.items, j->all.n, j->p.U, &least, &most);
    j->limits.p_min = isfinite(ch->power_min_w) ? ch->power_min_w : least_power(j, least);
    j->limits.p_max = isfinite(ch->power_max_w) ? ch->power_max_w : largest_power(j, most);
}

/* ---- the estimate ---------------------------------------------------------------------------------------------------- */

/* Readings taken after something else began belong to that. */
static size_t quiet_readings(const struct jl_job *j)
{
    size_t n = j->readings.n;
    if (!j->what->isolated || j->quiet < 0)
        return n;
    while (n > 2 && j->readings.items[n - 1].t - j->p.lag > j->quiet)
        n--;
    return n;
}

/* Updates taken after something else began tell nothing of the level after the run. */
static size_t quiet_edges(const struct jl_job *j)
{
    size_t n = j->edges.n;
    if (j->what->isolated && j->quiet > 0)
        while (n > 2 && j->edges.items[n - 1].t - j->p.lag > j->quiet)
            n--;
    return n;
}

/* Two slopes for fast counters, and to see which boundaries can be resolved at all; all of these together by the joint fit. */
static void estimate_counter(struct jl_job *j)
{
    double bd[JOULET_PHASES_MAX + 1];
    size_t kept = 0;
    for (size_t i = 0; i <= j->m; i++)
        bd[i] = j->bd[i] + j->p.lag;
    jl_cum_at(j->edges.items, j->edges.n, bd, j->m, j->p.u_r, j->cum);
    if (j->p.dense)
        return;
    for (size_t i = 0; i <= j->m; i++) {
        bool known = !(j->cum[i].flags & JOULET_FLAG_UNRESOLVED);
        j->joint_at[i] = known ? kept : JL_NOT_THERE;
        if (known)
            j->joint_bd[kept++] = bd[i];
    }
    if (kept > 1 && j->p.slow)
        j->slow = jl_slow_open(j->readings.items, quiet_readings(j), j->joint_bd, kept - 1, &j->p);
    else if (kept > 1)
        j->joint = jl_joint_open(j->edges.items, quiet_edges(j), j->joint_bd, kept - 1, &j->p);
}

static enum joulet_status estimate(struct jl_job *j, struct joulet_error *err)
{
    if (j->p.counter) {
        estimate_counter(j);
    } else {
        j->readings.n = quiet_readings(j);
        j->fit = jl_fit_open(j->readings.items, j->readings.n, j->bd, j->m, &j->p);
        if (!j->fit)
            return jl_fail(err, JOULET_MEMORY, "out of memory for the phases of %s; measure a shorter run",
                           jl_channel_name(j->trace));
    }
    jl_groups_solve(j);
    jl_groups_hold(j);
    return jl_ok(err);
}

static void add_tail(const struct jl_job *j, struct joulet_measured *out)
{
    struct joulet_tail tail;
    joulet_mark end = j->what->bounds[j->what->n_phases];
    if (!j->what->isolated || !j->idle || j->lost_flag)
        return;
    double cap = fmin(j->idle->flags & JOULET_FLAG_SHORT_BASELINE ? TAIL_SHORT_S : TAIL_S, j->quiet - j->bd[j->m]);
    if (!(cap > 0))
        return;
    if (joulet_tail_from(j->trace, j->idle, end, cap, &tail, NULL) != JOULET_OK)
        return;
    out->whole.tail_j = tail.tail_j;
    out->whole.flags |= tail.flags;
    out->settle_s = tail.settle_s;
}

static enum joulet_status run_job(struct jl_job *j, struct joulet_measured *out, struct joulet_error *err)
{
    const struct joulet_trace *trace = j->trace;
    int64_t lag = jl_ns(j->p.lag), from = j->what->bounds[0] + lag, to = j->what->bounds[j->what->n_phases] + lag;
    if (to > from && jl_is_frozen(trace, &j->p, from, to, idle_power(j)))
        return jl_fail(err, JOULET_FROZEN, "%s does not move, so its energy is unknown; check its driver or leave it out",
                       jl_channel_name(trace));
    lay_bounds(j, last_moment(j));
    if (j->m > 0) {
        enum joulet_status status;
        if ((status = cut_slice(j, err)) != JOULET_OK || (status = check_cover(j, err)) != JOULET_OK)
            return status;
        set_limits(j);
        if ((status = estimate(j, err)) != JOULET_OK)
            return status;
    }
    jl_figures_fill(j, out);
    add_tail(j, out);
    if (j->lost_flag & JOULET_FLAG_FROZEN)
        return jl_fail(err, JOULET_GONE,
                       "%s stopped moving during the run; the figures hold what was measured before, check its driver",
                       jl_channel_name(trace));
    if (j->lost_flag)
        return jl_fail(err, JOULET_GONE, "%s left during the run; the figures hold what was measured before",
                       jl_channel_name(trace));
    if (isnan(out->whole.gross_j) && joulet_is_part_time(&trace->channel))
        return jl_fail(
            err, JOULET_TOO_SHORT,
            "%s looks a part of the time only, and a single run is too short for it; measure 8 repeats or more together",
            jl_channel_name(trace));
    if (isnan(out->whole.gross_j))
        return jl_fail(err, JOULET_TOO_SHORT, "no reading of %s falls inside the run; only its bounds are known",
                       jl_channel_name(trace));
    return jl_ok(err);
}

static void release(struct jl_job *j)
{
    jl_fit_close(j->fit);
    jl_joint_close(j->joint);
    jl_slow_close(j->slow);
    jl_edges_release(&j->edges);
    jl_edges_release(&j->all);
    jl_readings_release(&j->readings);
}

static uint32_t flag_of(enum joulet_status status)
{
    return status == JOULET_RESET ? JOULET_FLAG_RESET : status == JOULET_FROZEN ? JOULET_FLAG_FROZEN : 0;
}

enum joulet_status joulet_measure(const struct joulet_trace *trace, const struct joulet_baseline *idle,
                                  const struct joulet_what *what, struct joulet_measured *out, struct joulet_error *err)
{
    set_unknown(trace, what->n_phases, 0, out);
    enum joulet_status status = check_what(what, err);
    if (status != JOULET_OK || (status = jl_check_trace(trace, err)) != JOULET_OK)
        return status;
    struct jl_job j = {.trace = trace, .idle = idle && isfinite(idle->power_w) ? idle : NULL, .what = what};
    j.slice.origin_ns = what->bounds[0];
    jl_params_of(trace, &j.p);
    status = run_job(&j, out, err);
    if (status != JOULET_OK && status != JOULET_GONE && status != JOULET_TOO_SHORT)
        set_unknown(trace, what->n_phases, flag_of(status), out);
    release(&j);
    return status;
}
