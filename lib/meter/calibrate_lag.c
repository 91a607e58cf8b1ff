/* calibrate_lag.c - averaging window and lag of a channel from pulses of load (docs/method.md 1.4 step 3).
 *
 * Every reading is the mean power over a window that ends one lag before it came. Power is taken as an idle level and a few
 * levels by the time since a pulse began; the bins absorb a slow rise, and the fall, which is sharp, fixes the lag. For each
 * window and lag of a grid these levels are fitted to all readings; the pair that leaves least is the answer. Pure. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BINS_MAX      5
#define EXPLAINED_MIN 0.5 /* of the variance: a load that moves less is not what the readings show */
#define READINGS_MIN  40
#define FINE          10  /* parts of a step of the grid */
#define RIVAL_GOOD    1.1 /* residual of another window over the best: below it the window is not certain */
#define OVERLAPPING   1.5 /* windows longer than so many periods */
#define WINDOW_STEP   0.0025
#define WINDOW_STEPS  8
#define AROUND_S      1.2 /* before the first pulse and after the last */
#define NOISE         0.02
#define POWER_LOST    0.1 /* of the largest reading: weights of small ones do not grow without limit */

struct grid {
    double lag_from, lag_to, step;
    double bins[BINS_MAX]; /* where each begins, since the start of the pulse, s */
    size_t n_bins;
    double u_t, u_most; /* what is stored, and beyond which nothing is determined */
};
static const struct grid slow_grid = {0, 0.120, 0.003, {0, 0.020, 0.050, 0.100, 0.200}, 5, 3e-3, 10e-3};
static const struct grid fast_grid = {-0.6e-3, 1.5e-3, 0.1e-3, {0, 0.002, 0.020}, 3, 0.15e-3, 0.5e-3};

static const double windows[] = {0.010, 0.020, 0.025, 0.050, 0.100, 0.200, 0.500, 1.000};
#define WINDOWS_MAX (JL_COUNT(windows) + 1)

struct obs {
    double begin, end; /* of its window, s, as read; of power readings `end` alone: the window is what is asked */
    double y, w;
};

struct load {
    double on, off;
};

struct problem {
    const struct grid *grid;
    struct obs *obs;
    size_t n;
    struct load *pulses;
    size_t n_pulses;
    double W; /* window tried; 0: those of the readings */
};

struct solution {
    double residual; /* sum of weighted squares */
    double c[1 + BINS_MAX];
};

/* ---- one window, one lag ---------------------------------------------------------------------------------------------- */

static double overlap(double a0, double a1, double b0, double b1)
{
    double from = a0 > b0 ? a0 : b0, to = a1 < b1 ? a1 : b1;
    return to > from ? to - from : 0;
}

/* Share of [begin, end] in each bin. *first: pulses before it have ended; windows come in order. */
static void row_of(const struct problem *p, double begin, double end, size_t *first, double *x)
{
    const struct grid *g = p->grid;
    memset(x, 0, (1 + BINS_MAX) * sizeof(*x));
    x[0] = 1;
    while (*first < p->n_pulses && p->pulses[*first].off <= begin)
        (*first)++;
    for (size_t k = *first; k < p->n_pulses && p->pulses[k].on < end; k++) {
        const struct load *l = &p->pulses[k];
        for (size_t j = 0; j < g->n_bins; j++) {
            double from = l->on + g->bins[j], to = j + 1 < g->n_bins ? fmin(l->on + g->bins[j + 1], l->off) : l->off;
            x[1 + j] += overlap(begin, end, from, to) / (end - begin);
        }
    }
}

static void window_of(const struct problem *p, const struct obs *o, double lag, double *begin, double *end)
{
    *begin = (p->W > 0 ? o->end - p->W : o->begin) - lag;
    *end = o->end - lag;
}

static bool fit(const struct problem *p, double lag, struct solution *out)
{
    size_t m = 1 + p->grid->n_bins, first = 0;
    double x[1 + BINS_MAX], begin, end;
    struct jl_lsq s;
    if (!jl_lsq_init(&s, m, m - 1))
        return false;
    for (size_t i = 0; i < p->n; i++) {
        window_of(p, &p->obs[i], lag, &begin, &end);
        row_of(p, begin, end, &first, x);
        for (size_t j = 0; j < m; j++)
            x[j] *= p->obs[i].w;
        jl_lsq_add(&s, 0, x, m, p->obs[i].w * p->obs[i].y);
    }
    jl_lsq_solve(&s, out->c);
    jl_lsq_release(&s);
    out->residual = 0;
    first = 0;
    for (size_t i = 0; i < p->n; i++) {
        window_of(p, &p->obs[i], lag, &begin, &end);
        row_of(p, begin, end, &first, x);
        double e = p->obs[i].y;
        for (size_t j = 0; j < m; j++)
            e -= x[j] * out->c[j];
        out->residual += p->obs[i].w * p->obs[i].w * e * e;
    }
    return true;
}

/* ---- the grid ------------------------------------------------------------------------------------------------------------ */

struct best {
    double W, lag;
    struct solution s;
    double curvature; /* how much a step of the grid to either side adds to the residual */
};

/* Least residual over the lags of the grid for one window, then between them. */
static bool best_lag(struct problem *p, double W, struct best *out)
{
    const struct grid *g = p->grid;
    struct solution s, near;
    p->W = W;
    *out = (struct best){.W = W, .lag = NAN, .s.residual = INFINITY};
    size_t steps = (size_t)((g->lag_to - g->lag_from) / g->step + 0.5);
    double at = g->lag_from;
    for (size_t i = 0; i <= steps; i++) {
        double lag = g->lag_from + (double)i * g->step;
        if (!fit(p, lag, &s))
            return false;
        if (s.residual < out->s.residual) {
            out->s = s;
            at = out->lag = lag;
        }
    }
    for (int i = -FINE + 1; i < FINE; i++) {
        double lag = fmin(fmax(at + i * g->step / FINE, g->lag_from), g->lag_to);
        if (!fit(p, lag, &s))
            return false;
        if (s.residual < out->s.residual) {
            out->s = s;
            out->lag = lag;
        }
    }
    if (!fit(p, out->lag - g->step, &s) || !fit(p, out->lag + g->step, &near))
        return false;
    out->curvature = (s.residual + near.residual) / 2 - out->s.residual;
    return true;
}

/* Windows to try: those of known devices, and the period itself where none of them is near it. */
static size_t candidates(double U, double *out)
{
    size_t n = 0;
    bool near = !(U > 0);
    for (size_t i = 0; i < JL_COUNT(windows); i++) {
        near = near || fabs(windows[i] - U) < 0.1 * U;
        out[n++] = windows[i];
    }
    if (!near)
        out[n++] = U;
    return n;
}

/* A window of many periods is seldom just that of the list, and what is wrong of it would be put on the lag. */
static bool refine_window(struct problem *p, struct best *best)
{
    double W = best->W;
    struct best b;
    for (int i = -WINDOW_STEPS; i <= WINDOW_STEPS; i++) {
        if (i && !best_lag(p, W * (1 + i * WINDOW_STEP), &b))
            return false;
        if (i && b.s.residual < best->s.residual)
            *best = b;
    }
    return true;
}

static bool search(struct problem *p, bool counter, double U, struct best *best, double *rival)
{
    double tried[WINDOWS_MAX], second = INFINITY;
    struct best b;
    *rival = NAN;
    if (counter)
        return best_lag(p, 0, best);
    size_t n = candidates(U, tried);
    best->s.residual = INFINITY;
    for (size_t i = 0; i < n; i++) {
        if (!best_lag(p, tried[i], &b))
            return false;
        if (b.s.residual < best->s.residual) {
            second = best->s.residual;
            *best = b;
        } else if (b.s.residual < second) {
            second = b.s.residual;
        }
    }
    *rival = second / best->s.residual;
    return !(best->W > OVERLAPPING * U) || refine_window(p, best);
}

/* ---- readings -------------------------------------------------------------------------------------------------------------- */

/* Mean powers between the updates of a counter, and how well each is known: the times of its ends, its steps, 2 % noise. */
static bool counter_obs(const struct jl_slice *slice, const struct jl_params *params, struct problem *p)
{
    struct jl_edges e;
    double largest = 0;
    if (!jl_edges_of(slice, params, JL_FOR_ESTIMATES, &e))
        return false;
    p->obs = calloc(e.n ? e.n : 1, sizeof(*p->obs));
    for (size_t i = 1; p->obs && i < e.n; i++) {
        double dt = e.items[i].t - e.items[i - 1].t;
        if (dt <= 0)
            continue;
        p->obs[p->n] = (struct obs){e.items[i - 1].t, e.items[i].t, (e.items[i].c - e.items[i - 1].c) / dt, 0};
        double ends = (e.items[i - 1].hw * e.items[i - 1].hw + e.items[i].hw * e.items[i].hw) / 3;
        p->obs[p->n].w = ends / (dt * dt); /* what the times add to the relative variance; a weight once the power is known */
        largest = fmax(largest, p->obs[p->n++].y);
    }
    for (size_t i = 0; p->obs && i < p->n; i++) {
        struct obs *o = &p->obs[i];
        double P = fmax(o->y, POWER_LOST * largest), dt = o->end - o->begin;
        o->w = 1 / sqrt(P * P * (o->w + NOISE * NOISE) + params->q * params->q / (6 * dt * dt) + 1e-12);
    }
    jl_edges_release(&e);
    return p->obs;
}

static bool power_obs(const struct jl_slice *slice, const struct jl_params *params, struct problem *p)
{
    struct jl_readings r;
    if (!jl_readings_of(slice, params->U, &r))
        return false;
    double *hw = malloc((r.n ? r.n : 1) * sizeof(*hw));
    p->obs = calloc(r.n ? r.n : 1, sizeof(*p->obs));
    for (size_t i = 0; hw && i < r.n; i++)
        hw[i] = r.items[i].hw;
    double median = hw && r.n ? jl_median(hw, r.n) : 0;
    for (size_t i = 0; p->obs && hw && i < r.n; i++) {
        double w = r.items[i].hw > median && median > 0 ? median / r.items[i].hw : 1;
        p->obs[p->n++] = (struct obs){NAN, r.items[i].t, r.items[i].y_w, w};
    }
    bool ok = p->obs && hw;
    free(hw);
    jl_readings_release(&r);
    return ok;
}

/* ---- from pulses to a calibration -------------------------------------------------------------------------------------- */

static enum joulet_status check_pulses(const struct joulet_pulse *p, size_t n, struct joulet_error *err)
{
    if (n < JOULET_CALIBRATION_PULSES_MIN)
        return jl_fail(err, JOULET_TOO_SHORT, "%zu pulses of load are too few to find a lag: it takes %d, better %d", n,
                       JOULET_CALIBRATION_PULSES_MIN, JOULET_CALIBRATION_PULSES);
    for (size_t i = 0; i < n; i++)
        if (p[i].off_ns <= p[i].on_ns || (i && p[i].on_ns < p[i - 1].off_ns))
            return jl_fail(err, JOULET_USAGE, "pulse %zu ends before it begins, or begins before the one before it has ended",
                           i + 1);
    return jl_ok(err);
}

/* Weighted variance of the readings around their mean: what no pulses at all would leave. */
static double unexplained(const struct problem *p)
{
    double sw = 0, sy = 0, s = 0;
    for (size_t i = 0; i < p->n; i++) {
        sw += p->obs[i].w * p->obs[i].w;
        sy += p->obs[i].w * p->obs[i].w * p->obs[i].y;
    }
    for (size_t i = 0; i < p->n; i++)
        s += pow(p->obs[i].w * (p->obs[i].y - sy / sw), 2);
    return s;
}

static double weights(const struct problem *p)
{
    double s = 0;
    for (size_t i = 0; i < p->n; i++)
        s += p->obs[i].w * p->obs[i].w;
    return s;
}

static void describe(const struct problem *p, const struct best *b, double rise_s, struct joulet_calibration *out)
{
    const struct grid *g = p->grid;
    double dof = p->n > g->n_bins + 2 ? (double)(p->n - g->n_bins - 2) : 1, s2 = b->s.residual / dof;
    out->window_s = b->W;
    out->fit_lag_s = b->lag;
    out->lag_s = b->lag - rise_s;
    if (g == &slow_grid)
        out->lag_s = fmax(out->lag_s, 0); /* a device tells nothing before it happened */
    /* A step to either side adds step^2 s2/u^2. */
    out->fit_u_s = b->curvature > 0 ? g->step * sqrt(s2 / b->curvature) : INFINITY;
    out->u_lag_s = fmax(g->u_t, out->fit_u_s);
    out->idle_w = b->s.c[0];
    out->step_w = b->s.c[g->n_bins - 1]; /* the last bin that every pulse reaches */
    out->residual_w = sqrt(b->s.residual / weights(p));
    double all = unexplained(p);
    out->explained = all > 0 ? fmax(0, 1 - b->s.residual / all) : 0;
    out->n_readings = p->n;
}

static enum joulet_status judge(const struct joulet_trace *t, const struct problem *p, struct joulet_calibration *out,
                                struct joulet_error *err)
{
    const struct grid *g = p->grid;
    const char *id = jl_channel_name(t);
    if (out->explained < EXPLAINED_MIN || out->step_w <= 0)
        return jl_fail(
            err, JOULET_UNSUPPORTED,
            "the load does not move the power of %s: the pulses explain %.0f %% of its changes; calibrate it with a load "
            "that it sees, on a machine that does nothing else",
            id, 100 * out->explained);
    if (out->fit_lag_s >= g->lag_to - g->step / 2 || (g == &fast_grid && out->fit_lag_s <= g->lag_from + g->step / 2))
        return jl_fail(
            err, JOULET_LIMIT,
            "the lag of %s is not between %.4g and %.4g ms, where it is looked for: check that nothing else ran, and try "
            "again",
            id, g->lag_from * 1e3, g->lag_to * 1e3);
    if (!(out->fit_u_s <= g->u_most))
        return jl_fail(
            err, JOULET_LIMIT,
            "the pulses leave the lag of %s open by %.2g ms: too much else moved its power; try again on a quiet machine", id,
            out->fit_u_s * 1e3);
    bool sure = out->fit_u_s <= g->u_t && !(out->rival < RIVAL_GOOD);
    out->verdict = sure ? JOULET_VERDICT_GOOD : JOULET_VERDICT_FAIR;
    return jl_ok(err);
}

static bool is_flat(const struct problem *p)
{
    for (size_t i = 1; i < p->n; i++)
        if (p->obs[i].y != p->obs[0].y)
            return false;
    return true;
}

static enum joulet_status solve(const struct joulet_trace *t, struct problem *p, const struct jl_params *params,
                                struct joulet_calibration *out, struct joulet_error *err)
{
    struct best best;
    bool counter = t->channel.quantity == JOULET_ENERGY;
    if ((counter || p->n > 1) && is_flat(p)) /* a counter that stands still has not even readings */
        return jl_fail(err, JOULET_FROZEN,
                       "%s showed %.4g W all the time: it stands still or does not see the load, and cannot be calibrated",
                       jl_channel_name(t), p->n ? p->obs[0].y : 0.0);
    if (p->n < READINGS_MIN)
        return jl_fail(err, JOULET_TOO_SHORT, "%s gave %zu readings during the pulses, and %d are needed: send more pulses",
                       jl_channel_name(t), p->n, READINGS_MIN);
    if (!search(p, counter, params->U, &best, &out->rival))
        return jl_fail(err, JOULET_MEMORY, "%s could not be calibrated: out of memory", jl_channel_name(t));
    describe(p, &best, params->u_r, out);
    return judge(t, p, out, err);
}

static bool fill_problem(const struct joulet_trace *t, const struct jl_params *params, const struct joulet_pulse *pulses,
                         size_t n, struct problem *p)
{
    int64_t origin = pulses[0].on_ns, more = jl_ns(AROUND_S);
    struct jl_slice slice = jl_slice_of(t, origin - more, pulses[n - 1].off_ns + more, 0, origin);
    bool counter = t->channel.quantity == JOULET_ENERGY;
    p->grid = counter && params->dense ? &fast_grid : &slow_grid;
    p->pulses = calloc(n, sizeof(*p->pulses));
    p->n_pulses = n;
    for (size_t i = 0; p->pulses && i < n; i++)
        p->pulses[i] = (struct load){jl_s(pulses[i].on_ns - origin), jl_s(pulses[i].off_ns - origin)};
    return p->pulses && (counter ? counter_obs(&slice, params, p) : power_obs(&slice, params, p));
}

enum joulet_status joulet_calibrate_lag(const struct joulet_trace *trace, const struct joulet_pulse *pulses, size_t n,
                                        struct joulet_calibration *out, struct joulet_error *err)
{
    struct problem p = {0};
    struct jl_params params;
    *out = (struct joulet_calibration){.period_s = trace->channel.period_s,
                                       .window_s = NAN,
                                       .lag_s = NAN,
                                       .u_lag_s = NAN,
                                       .fit_lag_s = NAN,
                                       .fit_u_s = NAN,
                                       .idle_w = NAN,
                                       .step_w = NAN,
                                       .residual_w = NAN,
                                       .explained = NAN,
                                       .rival = NAN,
                                       .n_pulses = n};
    enum joulet_status status = check_pulses(pulses, n, err);
    if (status == JOULET_OK)
        status = jl_check_trace(trace, err);
    if (status != JOULET_OK)
        return status;
    jl_params_of(trace, &params);
    if (!fill_problem(trace, &params, pulses, n, &p))
        status = jl_fail(err, JOULET_MEMORY, "%s could not be calibrated: out of memory", jl_channel_name(trace));
    else
        status = solve(trace, &p, &params, out, err);
    free(p.obs);
    free(p.pulses);
    return status;
}
