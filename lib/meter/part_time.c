/* part_time.c - sensors that look a part of the time (docs/method.md 2.5): bursts of others, repeats that are started at chosen
 * places of the sensor's grid, and the block that these make. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define PLACES      8    /* of the grid at which repeats start */
#define GRID_LAST   40   /* newest updates that tell the grid, ... */
#define GRID_LEAST  6    /* ... at least */
#define GRID_HW     0.1  /* of a period: an update known worse, such as the first of a trace, tells nothing */
#define GRID_OFF    0.25 /* of a period that an update may be from the grid: else there is none */
#define MORE        24
#define AFTER_S     5.0 /* of the trace after the last burst */
#define P_MIN_SHARE 0.5 /* defaults of 2.4 */
#define P_MAX_SHARE 1.5
#define NOISE       0.035 /* power noise in the time between two looks */
#define SEEN_LEAST  0.5   /* share of the bursts' time, as often as everything else is seen, that is believed */
#define SEEN_MOST   2.0
#define REACH       2 /* standard uncertainties of the lag by which a burst may lie elsewhere */
#define FALL        3 /* times in which power follows: after a burst it falls, and that belongs to the burst */
#define AFTER       5 /* readings after the block that tell the level of the waits too */
#define WAITS_TELL  6 /* so many readings tell how steady the waits are; fewer: */
#define WAIT_SPREAD 0.02

bool joulet_is_part_time(const struct joulet_channel *channel)
{
    struct joulet_trace none = {.channel = *channel};
    struct jl_params p;
    jl_params_of(&none, &p);
    return p.gauge && !p.counter && p.W < p.U;
}

/* ---- what both have in common ------------------------------------------------------------------------------------------ */

struct block {
    const struct joulet_trace *trace;
    const struct joulet_baseline *idle;
    struct jl_params p;
    struct jl_slice slice;
    struct jl_readings readings;
    double *on, *off; /* event time, s since the first */
    size_t n;
    double busy_s;
};

static void release(struct block *b)
{
    jl_readings_release(&b->readings);
    free(b->on);
}

static enum joulet_status check(const struct joulet_trace *t, const struct joulet_baseline *idle, const joulet_mark *on,
                                const joulet_mark *off, size_t n, struct joulet_error *err)
{
    enum joulet_status status = jl_check_trace(t, err);
    if (status != JOULET_OK)
        return status;
    if (!joulet_is_part_time(&t->channel))
        return jl_fail(err, JOULET_USAGE, "%s sees all of the time, so bursts need no fit of their own; measure each of them",
                       jl_channel_name(t));
    if (!idle || !isfinite(idle->power_w))
        return jl_fail(err, JOULET_USAGE, "the bursts on %s need an idle level; take one before the run", jl_channel_name(t));
    for (size_t i = 0; i < n; i++)
        if (off[i] <= on[i] || (i + 1 < n && on[i + 1] < off[i]))
            return jl_fail(err, JOULET_USAGE, "burst %zu does not lie after the one before it; give them in order", i + 1);
    return n ? jl_ok(err) : jl_fail(err, JOULET_USAGE, "no burst was given; a block has 1 or more");
}

static enum joulet_status open_block(struct block *b, const joulet_mark *on, const joulet_mark *off, size_t n,
                                     struct joulet_error *err)
{
    jl_params_of(b->trace, &b->p);
    b->n = n;
    b->on = calloc(2 * n, sizeof(double));
    b->slice = jl_slice_of(b->trace, on[0] - jl_ns(b->p.W), off[n - 1] + jl_ns(AFTER_S), MORE, on[0]);
    if (!b->on || !jl_readings_of(&b->slice, b->p.U, &b->readings))
        return jl_fail(err, JOULET_MEMORY, "out of memory for the trace of %s; measure a shorter run", jl_channel_name(b->trace));
    b->off = b->on + n;
    for (size_t i = 0; i < n; i++) {
        b->on[i] = jl_s(on[i] - on[0]);
        b->off[i] = jl_s(off[i] - on[0]);
        b->busy_s += b->off[i] - b->on[i];
    }
    return jl_ok(err);
}

static void start_figure(const struct block *b, const char *method, struct joulet_energy *e)
{
    *e = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    e->provenance = b->trace->channel.provenance;
    e->flags = b->idle->flags & JOULET_FLAG_SHORT_BASELINE;
    int64_t lag = jl_ns(b->p.lag), origin = b->slice.origin_ns;
    if (jl_any_failed(b->trace, origin + lag, origin + jl_ns(b->off[b->n - 1]) + lag))
        e->flags |= JOULET_FLAG_GAP;
    e->method = method;
}

static size_t reading_at(const struct jl_readings *r, double t)
{
    size_t lo = 0, hi = r->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r->items[mid].t < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* ---- guaranteed bounds --------------------------------------------------------------------------------------------------- */

static struct jl_limits limits_of(const struct block *b)
{
    const struct joulet_channel *ch = &b->trace->channel;
    double least = INFINITY, most = 0;
    for (size_t k = 0; k < b->readings.n; k++) {
        least = fmin(least, b->readings.items[k].y_w);
        most = fmax(most, b->readings.items[k].y_w);
    }
    return (struct jl_limits){
        .u_t = b->p.u_t,
        .step_w = b->p.step_w,
        .p_min = isfinite(ch->power_min_w) ? ch->power_min_w : P_MIN_SHARE * fmax(0, fmin(b->idle->power_w, least)),
        .p_max = isfinite(ch->power_max_w) ? ch->power_max_w : P_MAX_SHARE * most,
    };
}

/* Of all bursts together: each has its own, by the readings near it. */
static void bound(const struct block *b, double *min_j, double *max_j)
{
    struct jl_limits limits = limits_of(b);
    *min_j = *max_j = 0;
    for (size_t i = 0; i < b->n; i++) {
        double from = b->on[i] + b->p.lag, to = b->off[i] + b->p.lag, lo, hi;
        size_t first = reading_at(&b->readings, from - 1), end = reading_at(&b->readings, to + 1);
        jl_bounds_power(b->readings.items + first, end - first, from, to, b->p.W, &limits, &lo, &hi);
        *min_j += lo;
        *max_j += fmax(lo, hi);
    }
}

/* ---- bursts of others ------------------------------------------------------------------------------------------------------ */

/* An estimate beyond the bounds is moved to where they allow, and doubted by as much (2.4). */
static void keep_within(struct joulet_energy *e)
{
    double held = fmin(fmax(e->gross_j, e->min_j), e->max_j), moved = fabs(held - e->gross_j);
    if (moved > 2 * jl_u_rep(&e->u))
        e->flags |= JOULET_FLAG_MISMATCH;
    e->u.b = hypot(e->u.b, moved);
    e->gross_j = held;
}

static enum joulet_status fit(struct block *b, struct joulet_energy *out, struct joulet_error *err)
{
    struct jl_burst_fit f;
    double last = b->off[b->n - 1] + b->p.lag + 2 * (b->p.W + b->p.u_t) + b->p.U;
    struct jl_bursts all = {
        .r = b->readings.items,
        .n_readings = reading_at(&b->readings, last),
        .on = b->on,
        .off = b->off,
        .n = b->n,
        .W = b->p.W,
        .U = b->p.U,
        .lag = b->p.lag,
        .u_t = b->p.u_t,
        .P0 = b->idle->power_w,
    };
    if (!jl_bursts_fit(&all, &f))
        return jl_fail(err, JOULET_MEMORY, "out of memory for the trace of %s; measure a shorter run", jl_channel_name(b->trace));
    if (f.aliased) {
        out->flags |= JOULET_FLAG_ALIASED | JOULET_FLAG_PARTIAL;
        return jl_fail(err, JOULET_TOO_SHORT,
                       "the bursts follow the rhythm of %s, so only their bounds are known; vary the pauses",
                       jl_channel_name(b->trace));
    }
    if (f.unresolved) {
        out->flags |= JOULET_FLAG_UNRESOLVED | JOULET_FLAG_PARTIAL;
        return jl_fail(
            err, JOULET_TOO_SHORT,
            "too few readings of %s lie inside the bursts, so only their bounds are known; measure more or longer ones",
            jl_channel_name(b->trace));
    }
    out->gross_j = f.net_j + b->idle->power_w * b->busy_s;
    out->u = (struct joulet_u){.b = f.u_b, .time = f.u_time};
    keep_within(out);
    jl_budget(out, &b->p, b->idle, b->busy_s, b->busy_s);
    return jl_ok(err);
}

enum joulet_status joulet_bursts(const struct joulet_trace *trace, const struct joulet_baseline *idle, const joulet_mark *on,
                                 const joulet_mark *off, size_t n, struct joulet_energy *out, struct joulet_error *err)
{
    struct block b = {.trace = trace, .idle = idle};
    *out = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    enum joulet_status status = check(trace, idle, on, off, n, err);
    if (status != JOULET_OK)
        return status;
    status = open_block(&b, on, off, n, err);
    if (status == JOULET_OK) {
        start_figure(&b, "burst-fit/1", out);
        bound(&b, &out->min_j, &out->max_j);
        status = fit(&b, out, err);
        if (status != JOULET_OK)
            out->method = "none";
    }
    release(&b);
    return status;
}

/* ---- repeats at chosen places of the grid --------------------------------------------------------------------------------- */

/* Updates at origin + k period; false: they do not tell. */
struct grid {
    double origin, period;
};

/* Straight line through the newest updates over their number. Inserted ones follow from those before them: they only count. */
static bool find_grid(const struct joulet_trace *t, double U, struct grid *g)
{
    const uint32_t none = JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST | JOULET_SAMPLE_REPEAT | JOULET_SAMPLE_LATE;
    double x[GRID_LAST], y[GRID_LAST], mx = 0, my = 0, sxx = 0, sxy = 0;
    size_t n = 0;
    for (size_t i = t->n; i-- > 0 && n < GRID_LAST;) {
        if ((t->samples[i].flags & none) || jl_s(t->samples[i].hw_ns) > GRID_HW * U)
            continue;
        y[n] = jl_s(t->samples[i].t_ns - t->samples[t->n - 1].t_ns);
        x[n] = n ? x[n - 1] + floor((y[n] - y[n - 1]) / U + 0.5) : 0;
        n++;
    }
    if (n < GRID_LEAST)
        return false;
    for (size_t i = 0; i < n; i++) {
        mx += x[i] / (double)n;
        my += y[i] / (double)n;
    }
    for (size_t i = 0; i < n; i++) {
        sxx += (x[i] - mx) * (x[i] - mx);
        sxy += (x[i] - mx) * (y[i] - my);
    }
    *g = (struct grid){.period = sxx > 0 ? sxy / sxx : NAN};
    g->origin = my - g->period * mx;
    for (size_t i = 0; i < n; i++)
        if (!(fabs(y[i] - g->origin - g->period * x[i]) < GRID_OFF * g->period))
            return false;
    return true;
}

joulet_mark joulet_phase_start(const struct joulet_trace *trace, size_t k, joulet_mark earliest)
{
    struct jl_params p;
    struct grid g;
    if (trace->n == 0 || !joulet_is_part_time(&trace->channel))
        return earliest;
    jl_params_of(trace, &p);
    if (!find_grid(trace, p.U, &g))
        return earliest;
    double at = jl_s(earliest - trace->samples[trace->n - 1].t_ns);
    double place = g.origin + g.period * (double)(k % PLACES) / PLACES;
    double wait = place + ceil((at - place) / g.period) * g.period - at;
    return earliest + jl_ns(fmin(fmax(wait, 0), g.period));
}

/* Share of the bursts' time that the readings stand for, when sensor time is `shift` later: 1 when they are seen as often as
 * everything else. spread: standard uncertainty of it by the times of the readings. */
static double seen_share(const struct block *b, double shift, double *spread)
{
    double seen = 0, square = 0;
    for (size_t i = 0, k = 1; i < b->n; i++) {
        double from = b->on[i], to = b->off[i];
        for (k = reading_at(&b->readings, from + b->p.lag - b->p.u_t); k < b->readings.n; k++) {
            const struct jl_reading *r = &b->readings.items[k];
            double end = r->t - b->p.lag + shift, dt = k ? r->t - r[-1].t : b->p.U;
            double x = fmax(0, fmin(to, end) - fmax(from, end - b->p.W)) / b->p.W;
            double moved = fmax(0, fmin(to, end + r->hw) - fmax(from, end + r->hw - b->p.W)) / b->p.W;
            if (end - b->p.W > to)
                break;
            seen += dt * x;
            square += dt * (moved - x) * dt * (moved - x) / 3;
        }
    }
    if (spread)
        *spread = sqrt(square) / b->busy_s;
    return seen / b->busy_s;
}

/* The same expected over the lags that may be. */
static double expected_share(const struct block *b, double *spread)
{
    double far = sqrt(3) * b->p.u_t, now = seen_share(b, 0, spread);
    return fmin(fmax((seen_share(b, -far, NULL) + 4 * now + seen_share(b, far, NULL)) / 6, SEEN_LEAST), SEEN_MOST);
}

/* What looking a part of the time leaves open: how often the bursts were seen, by the times of the readings and wherever the lag
 * may be, and power noise while nobody looked. */
static double u_unseen(const struct block *b, double seen, double by_time, double net_j)
{
    double off = fmax(fabs(seen_share(b, b->p.u_t, NULL) - seen), fabs(seen_share(b, -b->p.u_t, NULL) - seen)) / seen;
    double looks = fmax((double)b->n, b->busy_s / b->p.U), noise = NOISE * sqrt((1 - b->p.W / b->p.U) / looks);
    return fabs(net_j) * sqrt(off * off / 3 + by_time * by_time + noise * noise);
}

/* What a block is made of: the readings that may show a burst, and those that show the waits. */
struct shown {
    double near_j, near_s; /* sum of y dt over readings that may show a burst, and their time */
    double wait_w, wait_sd;
    size_t waits;
};

/* Readings of the waits say nothing of the bursts but at which level the device waits: summed up, their noise would be taken for
 * energy of bursts that are much shorter. */
static struct shown look(const struct block *b, double until, double after_w)
{
    struct shown x = {0};
    double reach = fmax(0, fmin(REACH * b->p.u_t, b->p.l_max - b->p.lag)), fall = FALL * b->p.u_r, square = 0;
    size_t i = 0;
    for (size_t k = reading_at(&b->readings, b->p.lag - reach); k < b->readings.n && b->readings.items[k].t <= until; k++) {
        const struct jl_reading *r = &b->readings.items[k];
        double end = r->t - b->p.lag, dt = k ? r->t - r[-1].t : b->p.U;
        while (i < b->n && b->off[i] + reach + fall <= end - b->p.W)
            i++;
        if (i < b->n && b->on[i] - reach < end) {
            x.near_j += r->y_w * dt;
            x.near_s += dt;
            continue;
        }
        x.waits++;
        double off = r->y_w - x.wait_w;
        x.wait_w += off / (double)x.waits;
        square += off * (r->y_w - x.wait_w);
    }
    if (x.waits == 0) { /* the bursts leave none */
        x.waits = 1;
        x.wait_w = after_w;
    }
    x.wait_sd = x.waits > 1 ? sqrt(square / (double)(x.waits - 1)) : 0;
    if (x.waits < WAITS_TELL)
        x.wait_sd = fmax(x.wait_sd, WAIT_SPREAD * x.wait_w);
    return x;
}

static enum joulet_status pad(const struct block *b, double quiet, struct joulet_energy *out, struct joulet_error *err)
{
    struct jl_padded d;
    double P0 = b->idle->power_w, c = b->off[b->n - 1], n = (double)b->n;
    if (!jl_padded_power(b->readings.items, b->readings.n, 0, c, quiet, &b->p, P0, &d))
        return jl_fail(err, JOULET_NO_DATA,
                       "the trace of %s does not cover the run; open the meter before it and keep it open after",
                       jl_channel_name(b->trace));
    struct shown x = look(b, fmin(quiet, d.end_s + AFTER * b->p.U), d.after_w);
    double by_time, seen = expected_share(b, &by_time);
    double burst = fmax(0, x.near_j - x.wait_w * x.near_s) / seen, beside = fmax(0, x.near_s - seen * b->busy_s);
    double noise = x.wait_sd * sqrt(beside * b->p.U + beside * beside / (double)x.waits) / seen;
    out->gross_j = fmax(0, burst + x.wait_w * b->busy_s) / n;
    out->u.q = out->u.event = 0;
    out->u.b = hypot(noise, u_unseen(b, seen, by_time, burst)) / n;
    out->u.time = b->p.u_r * burst / b->busy_s / n;
    out->min_j /= n;
    out->max_j /= n;
    keep_within(out);
    jl_budget(out, &b->p, b->idle, b->busy_s / n, b->busy_s / n);
    return jl_ok(err);
}

enum joulet_status joulet_block(const struct joulet_trace *trace, const struct joulet_baseline *idle, const joulet_mark *on,
                                const joulet_mark *off, size_t n, joulet_mark quiet_until, struct joulet_energy *out,
                                struct joulet_error *err)
{
    struct block b = {.trace = trace, .idle = idle};
    *out = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    enum joulet_status status = check(trace, idle, on, off, n, err);
    if (status != JOULET_OK)
        return status;
    status = open_block(&b, on, off, n, err);
    if (status == JOULET_OK) {
        start_figure(&b, "padded-block/1", out);
        bound(&b, &out->min_j, &out->max_j);
        status = pad(&b, quiet_until ? jl_s(quiet_until - on[0]) : INFINITY, out, err);
        if (status != JOULET_OK)
            out->method = "none";
    }
    release(&b);
    return status;
}
