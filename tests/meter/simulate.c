/* simulate.c - see simulate.h. */
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>

#define GRID_S 2e-3
#define TAU_S  0.05

void sim_init(struct sim *s, uint64_t seed, double length_s)
{
    *s = (struct sim){.rng = {.s = seed}, .length_s = length_s};
}

void sim_release(struct sim *s)
{
    free(s->extra);
    s->extra = NULL;
}

double sim_uniform(struct sim *s, double lo, double hi)
{
    return lo + (hi - lo) * jl_rng_uniform(&s->rng);
}

double sim_normal(struct sim *s, double sd)
{
    double u = 1 - jl_rng_uniform(&s->rng), v = jl_rng_uniform(&s->rng);
    return sd * sqrt(-2 * log(u)) * cos(2 * 3.14159265358979323846 * v);
}

void sim_step(struct sim *s, double at, double w)
{
    s->at[s->n_steps] = at;
    s->w[s->n_steps++] = w;
}

static double level(const struct sim *s, double t)
{
    double w = s->w[0];
    for (size_t i = 1; i < s->n_steps && s->at[i] <= t; i++)
        w = s->w[i];
    return w;
}

void sim_add_noise(struct sim *s, double relative)
{
    double a = exp(-GRID_S / TAU_S), x = sim_normal(s, 1), sum = 0;
    s->noise = relative;
    s->n_extra = (size_t)(s->length_s / GRID_S) + 2;
    s->extra = calloc(s->n_extra, sizeof(double));
    for (size_t i = 0; s->extra && i < s->n_extra; i++) {
        s->extra[i] = sum;
        sum += relative * x * level(s, GRID_S * (double)i) * GRID_S;
        x = a * x + sim_normal(s, sqrt(1 - a * a));
    }
}

/* Energy since 0 s. */
static double energy_until(const struct sim *s, double t)
{
    double q = s->w[0] * t;
    for (size_t i = 1; i < s->n_steps; i++) {
        double x = t - s->at[i], h = s->w[i] - s->w[i - 1];
        if (x > 0)
            q += h * (s->rise_s > 0 ? x - s->rise_s * (1 - exp(-x / s->rise_s)) : x);
    }
    if (!s->extra || t <= 0)
        return q;
    double g = fmin(t / GRID_S, (double)(s->n_extra - 2));
    size_t i = (size_t)g;
    return q + s->extra[i] + (s->extra[i + 1] - s->extra[i]) * (g - (double)i);
}

double sim_energy(const struct sim *s, double from, double to)
{
    return energy_until(s, to) - energy_until(s, from);
}

int64_t sim_ns(double t)
{
    return SIM_ORIGIN + (int64_t)floor(t * 1e9 + 0.5);
}

/* ---- the device: updates on a jittered grid ------------------------------------------------------------------------------ */

struct device {
    double *t, *c;
    size_t n;
};

static struct device device_open(struct sim *s, double U, double jitter, double q, double lag)
{
    struct device d = {0};
    double phase = sim_uniform(s, 0, 1), offset = sim_uniform(s, 0, 1);
    size_t most = (size_t)(s->length_s / U) + 2;
    d.t = calloc(most, sizeof(double));
    d.c = calloc(most, sizeof(double));
    for (size_t i = 0; d.t && d.c && i < most; i++) {
        double t = ((double)i + phase) * U + sim_uniform(s, -jitter, jitter);
        if (t <= 0 || t >= s->length_s)
            continue;
        double c = energy_until(s, fmax(0, t - lag));
        d.t[d.n] = t;
        d.c[d.n++] = q > 0 ? floor(c / q + offset) * q : c;
    }
    return d;
}

static void device_close(struct device *d)
{
    free(d->t);
    free(d->c);
}

/* First update after t. */
static size_t update_after(const struct device *d, double t)
{
    size_t lo = 0, hi = d->n;
    while (lo < hi) {
        size_t mid = (lo + hi) / 2;
        if (d->t[mid] <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static void put(struct joulet_trace *trace, double t, double hw, double value, uint32_t flags)
{
    trace->samples[trace->n++] = (struct joulet_sample){
        .t_ns = sim_ns(t), .value = (int64_t)floor(value * 1e6 + 0.5), .hw_ns = (uint32_t)(hw * 1e9 + 0.5), .flags = flags};
}

static int by_time(const void *a, const void *b)
{
    int64_t x = ((const struct joulet_sample *)a)->t_ns, y = ((const struct joulet_sample *)b)->t_ns;
    return (x > y) - (x < y);
}

void sim_fast_counter(struct sim *s, struct joulet_trace *trace, double poll_s, struct sim_events events, double true_lag_s)
{
    const double U = trace->channel.period_s, read_s = 20e-6;
    struct device d = device_open(s, U, 50e-6, trace->channel.quantum_j, true_lag_s);
    trace->n = 0;
    trace->samples = calloc((size_t)(s->length_s / poll_s / 0.9) + events.n + 4, sizeof(struct joulet_sample));
    for (double t = poll_s; t < s->length_s; t += poll_s * sim_uniform(s, 0.9, 1.1)) {
        size_t k = update_after(&d, t);
        if (k > 0)
            put(trace, t - U / 2, U / 2, d.c[k - 1], 0);
    }
    for (size_t i = 0; i < events.n; i++) {
        double start = events.t[i] + sim_uniform(s, 20e-6, 300e-6);
        size_t k = update_after(&d, start);
        if (k < d.n)
            put(trace, start + (floor((d.t[k] - start) / read_s) + 0.5) * read_s, read_s / 2, d.c[k], JOULET_SAMPLE_LOCKED);
    }
    qsort(trace->samples, trace->n, sizeof(*trace->samples), by_time);
    device_close(&d);
}

void sim_slow_counter(struct sim *s, struct joulet_trace *trace, double poll_s, double true_lag_s)
{
    struct device d = device_open(s, trace->channel.period_s, 1e-3, trace->channel.quantum_j, true_lag_s);
    size_t shown = SIZE_MAX;
    trace->n = 0;
    trace->samples = calloc(d.n + 2, sizeof(struct joulet_sample));
    double last = 0;
    for (double t = poll_s; t < s->length_s; t += poll_s * sim_uniform(s, 0.9, 1.1)) {
        if (sim_uniform(s, 0, 1) < 0.01)
            t += 5e-3 * -log(1 - sim_uniform(s, 0, 1)); /* the sampler was not woken in time */
        size_t k = update_after(&d, t);
        if (k > 0 && k != shown) {
            if (shown != SIZE_MAX)
                put(trace, (last + t) / 2, (t - last) / 2, d.c[k - 1], 0);
            shown = k;
        }
        last = t;
    }
    device_close(&d);
}

void sim_power(struct sim *s, struct joulet_trace *trace, double true_lag_s)
{
    const double U = trace->channel.period_s, W = trace->channel.window_s;
    struct device d = device_open(s, U, 1e-3, 0, true_lag_s);
    trace->n = 0;
    trace->samples = calloc(d.n + 2, sizeof(struct joulet_sample));
    for (size_t k = 1; k < d.n; k++) {
        /* a contiguous reading covers exactly the time since the last one */
        double to = d.t[k] - true_lag_s, from = trace->channel.contiguous ? d.t[k - 1] - true_lag_s : to - W;
        if (from > 0)
            put(trace, d.t[k] + sim_uniform(s, -5e-4, 5e-4), 5e-4, sim_energy(s, from, to) / (to - from) + sim_normal(s, 0.3), 0);
    }
    device_close(&d);
}

void sim_trace_release(struct joulet_trace *trace)
{
    free(trace->samples);
    trace->samples = NULL;
    trace->n = 0;
}

/* ---- channels -------------------------------------------------------------------------------------------------------------- */

struct joulet_channel sim_rapl_channel(void)
{
    return (struct joulet_channel){.id = "cpu0.package",
                                   .sensor = "sim",
                                   .device = "",
                                   .parent = "",
                                   .quantity = JOULET_ENERGY,
                                   .group = JOULET_GROUP_CPU,
                                   .provenance = JOULET_SIMULATED,
                                   .in_total = true,
                                   .period_s = 1e-3,
                                   .quantum_j = 0x1p-14,
                                   .u_lag_s = 0.3e-3,
                                   .lag_max_s = 2e-3,
                                   .rise_s = 0.3e-3,
                                   .spec = 0,
                                   .power_min_w = NAN,
                                   .power_max_w = NAN,
                                   .factor_lo = 1,
                                   .factor_hi = 1};
}

struct joulet_channel sim_gpu_counter_channel(double period_s, bool calibrated)
{
    return (struct joulet_channel){.id = "gpu0.board",
                                   .sensor = "sim",
                                   .device = "",
                                   .parent = "",
                                   .quantity = JOULET_ENERGY,
                                   .group = JOULET_GROUP_GPU,
                                   .provenance = JOULET_SIMULATED,
                                   .in_total = true,
                                   .calibrated = calibrated,
                                   .period_s = period_s,
                                   .quantum_j = 1e-3,
                                   .lag_s = 25e-3,
                                   .u_lag_s = calibrated ? 3e-3 : 14.4e-3,
                                   .lag_max_s = 50e-3,
                                   .rise_s = 3e-3,
                                   .spec = 0,
                                   .power_min_w = NAN,
                                   .power_max_w = NAN,
                                   .factor_lo = 1,
                                   .factor_hi = 1};
}

struct joulet_channel sim_power_channel(double period_s, double window_s, bool calibrated)
{
    struct joulet_channel c = sim_gpu_counter_channel(period_s, calibrated);
    c.quantity = JOULET_POWER;
    c.window_s = window_s;
    c.contiguous = window_s == period_s;
    return c;
}
