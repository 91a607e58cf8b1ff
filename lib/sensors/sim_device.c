/* sim_device.c - the arithmetic of a simulated device: when its updates come and what each of them shows of the truth.
 *
 * Each random quantity has a stream of its own, entered at the number of the update or of the read, so that nothing depends on
 * the order of questions. The part-time, contiguous and overlapping windows are those of docs/method.md 1.1. */
#include "lib/sensors/sim_device.h"

#include <math.h>

#define TAU         6.283185307179586
#define MOMENT_S    1e-4 /* power of "the moment itself" is the mean over this */
#define TAP_PARTS   16   /* of a time constant: the filter sums means over such parts */
#define TAPS        192  /* 12 time constants */
#define LONG_RUN_UJ 1e12 /* a counter without a range has counted since long before time 0 */
#define JUMP_J      1e9  /* no device draws this between two updates */

enum stream { DEVICE, TIMES, NOISE, GARBAGE, READS };

/* ---- chance ------------------------------------------------------------------------------------------------------- */

static struct jl_rng rng_of(const struct sim_device *d, enum stream s, int64_t k)
{
    struct jl_rng r = {d->seed * 0x9e3779b97f4a7c15u + (uint64_t)s * 0xbf58476d1ce4e5b9u};
    r.s = jl_rng_next(&r) + (uint64_t)k * 0xd1b54a32d192ed03u;
    return r;
}

static double normal(struct jl_rng *r)
{
    double u = 1 - jl_rng_uniform(r), v = jl_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(TAU * v);
}

/* ---- times -------------------------------------------------------------------------------------------------------- */

/* End of what update k covers, and when it can be read. */
static double times_of(const struct sim_device *d, int64_t k, double *visible_s)
{
    double end = d->phase_s + (double)k * d->m.period_s, delay = 0;
    if (d->m.jitter_s > 0 || d->m.delay_s > 0) {
        struct jl_rng r = rng_of(d, TIMES, k);
        end += d->m.jitter_s * (2 * jl_rng_uniform(&r) - 1);
        delay = d->m.delay_s * jl_rng_uniform(&r);
    }
    if (visible_s)
        *visible_s = end + d->m.lag_s + delay;
    return end;
}

double sim_device_visible_s(const struct sim_device *d, int64_t k)
{
    double visible;
    times_of(d, k, &visible);
    return visible;
}

/* The newest that is visible: a delay may let one arrive after its successor, which then hides it. */
int64_t sim_device_number_at(const struct sim_device *d, double t_s)
{
    double latest = (t_s - d->m.lag_s + d->m.jitter_s - d->phase_s) / d->m.period_s;
    int64_t k = (int64_t)floor(latest) + 1; /* one more: rounding */
    while (sim_device_visible_s(d, k) > t_s)
        k--;
    return k;
}

/* ---- counters ------------------------------------------------------------------------------------------------------ */

/* Noise of a counter is noise of the moment at which it counted: increments vary, their sum is kept, and it never falls. */
static double counted_until(const struct sim_device *d, int64_t k)
{
    double end = times_of(d, k, NULL);
    if (d->m.noise <= 0)
        return end;
    struct jl_rng r = rng_of(d, NOISE, k);
    double reach = d->m.noise * sqrt(1.5) * d->m.period_s, room = d->m.period_s / 2 - d->m.jitter_s;
    return end + fmin(reach, fmax(room, 0)) * (2 * jl_rng_uniform(&r) - 1);
}

/* Quanta since the origin, at a moment of truth. */
static double quanta_at(const struct sim_device *d, double t_s)
{
    return floor(d->m.gain * (d->energy(d->user, t_s) - d->origin_j) / d->m.quantum + d->offset);
}

uint64_t sim_model_range_uj(const struct sim_model *m)
{
    return m->range_j > 0 ? (uint64_t)llround(m->range_j * 1e6) : 0;
}

static void show_counter(const struct sim_device *d, int64_t k, bool gone_back, struct sim_update *out)
{
    uint64_t range = sim_model_range_uj(&d->m);
    double quanta = quanta_at(d, counted_until(d, k)), start = (double)d->start_raw;
    if (gone_back && isinf(d->m.back_j)) {
        quanta -= quanta_at(d, d->m.back_s);
        start = 0;
    } else if (gone_back) {
        quanta -= floor(d->m.back_j / d->m.quantum);
    }
    out->value = llround(quanta * d->m.quantum * 1e6);
    double raw = start + (double)out->value;
    if (range)
        raw -= floor(raw / (double)range) * (double)range;
    out->raw = (uint64_t)(raw > 0 ? raw : 0);
}

/* ---- power --------------------------------------------------------------------------------------------------------- */

static double mean_w(const struct sim_device *d, double from_s, double to_s)
{
    return (d->energy(d->user, to_s) - d->energy(d->user, from_s)) / (to_s - from_s);
}

/* What a filter that is fed with means over short parts has reached at end_s. */
static double filtered_w(const struct sim_device *d, double end_s)
{
    double part = d->m.filter_s / TAP_PARTS, keep = exp(-1.0 / TAP_PARTS), weight = 1 - keep, sum = 0, weights = 0;
    double after = d->energy(d->user, end_s);
    for (int i = 1; i <= TAPS; i++, weight *= keep) {
        double before = d->energy(d->user, end_s - i * part);
        sum += weight * (after - before) / part;
        weights += weight;
        after = before;
    }
    return sum / weights;
}

static void show_power(const struct sim_device *d, int64_t k, struct sim_update *out)
{
    double window = d->m.window_s > 0 ? d->m.window_s : MOMENT_S, from = out->end_s - window;
    if (d->m.spans) {
        from = times_of(d, k - 1, NULL);
        out->span_s = out->end_s - from;
    }
    double w = d->m.filter_s > 0 ? filtered_w(d, out->end_s) : mean_w(d, from, out->end_s);
    w *= d->m.gain;
    if (d->m.noise > 0 || d->m.noise_w > 0) {
        struct jl_rng r = rng_of(d, NOISE, k);
        w *= 1 + d->m.noise * normal(&r);
        w += d->m.noise_w * normal(&r);
    }
    out->value = llround(round(fmax(w, 0) / d->m.quantum) * d->m.quantum * 1e6);
    out->raw = (uint64_t)out->value;
}

/* ---- updates ------------------------------------------------------------------------------------------------------- */

static void spoil(const struct sim_device *d, int64_t k, struct sim_update *out)
{
    if (d->m.garbage_p <= 0)
        return;
    struct jl_rng r = rng_of(d, GARBAGE, k);
    out->garbage = jl_rng_uniform(&r) < d->m.garbage_p;
    if (!out->garbage)
        return;
    bool ones = jl_rng_below(&r, 2);
    out->raw = ones ? UINT64_MAX : out->raw + (uint64_t)(JUMP_J * 1e6 * (1 + jl_rng_uniform(&r))); /* no two alike */
}

/* The last update that is visible before t. */
static int64_t number_before(const struct sim_device *d, double t_s)
{
    int64_t k = sim_device_number_at(d, t_s);
    return sim_device_visible_s(d, k) < t_s ? k : k - 1;
}

void sim_device_update(const struct sim_device *d, int64_t k, struct sim_update *out)
{
    *out = (struct sim_update){.k = k, .own_s = NAN, .span_s = NAN};
    out->end_s = times_of(d, k, &out->visible_s);
    int64_t shown = k;
    if (out->visible_s >= d->m.frozen_s) {
        double visible = out->visible_s, end = out->end_s;
        shown = number_before(d, d->m.frozen_s);
        out->end_s = times_of(d, shown, NULL);
        if (d->m.kind == SIM_POWER)
            show_power(d, shown, out);
        else
            show_counter(d, shown, sim_device_visible_s(d, shown) >= d->m.back_s, out);
        out->visible_s = visible;
        out->end_s = end;
    } else if (d->m.kind == SIM_POWER) {
        show_power(d, k, out);
    } else {
        show_counter(d, k, out->visible_s >= d->m.back_s, out);
    }
    if (d->m.own_time)
        out->own_s = times_of(d, shown, NULL);
    spoil(d, shown, out);
}

/* ---- reads --------------------------------------------------------------------------------------------------------- */

void sim_device_read(struct sim_device *d, double t_s, struct sim_read *out)
{
    *out = (struct sim_read){.takes_s = d->m.read_s};
    double part = 0.5;
    if (d->m.late_p > 0 || d->m.fail_p > 0) {
        struct jl_rng r = rng_of(d, READS, (int64_t)d->reads);
        if (jl_rng_uniform(&r) < d->m.late_p)
            out->takes_s = d->m.late_s;
        out->fails = jl_rng_uniform(&r) < d->m.fail_p;
        part = jl_rng_uniform(&r);
    }
    d->reads++;
    out->at_s = t_s + part * out->takes_s;
    if (out->fails)
        return;
    if (!d->has_last || out->at_s < d->last.visible_s || out->at_s >= d->last_end_s) {
        int64_t k = sim_device_number_at(d, out->at_s);
        if (!d->has_last || d->last.k != k)
            sim_device_update(d, k, &d->last);
        d->last_end_s = sim_device_visible_s(d, k + 1);
        d->has_last = true;
    }
    out->u = d->last;
}

void sim_device_init(struct sim_device *d, const struct sim_model *m, sim_energy_fn *energy, void *user, uint64_t seed)
{
    *d = (struct sim_device){.m = *m, .energy = energy, .user = user, .seed = seed};
    struct jl_rng r = rng_of(d, DEVICE, 0);
    d->phase_s = m->period_s * jl_rng_uniform(&r);
    d->offset = jl_rng_uniform(&r);
    uint64_t range = sim_model_range_uj(m);
    double start = range ? (double)jl_rng_below(&r, range) : LONG_RUN_UJ + (double)jl_rng_below(&r, 1000000000);
    double quanta = floor(start / (m->quantum * 1e6));
    d->start_raw = m->kind == SIM_COUNTER ? (uint64_t)llround(quanta * m->quantum * 1e6) : 0;
    d->origin_j = energy(user, -m->lag_s);
}
