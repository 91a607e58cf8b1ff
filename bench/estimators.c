/* estimators.c - what it costs to turn traces into joules: windows of one hour of eight channels read a thousand times a second,
 * by two slopes and by the padded difference; one window by the joint fit; a thousand bursts together. Processor
 * time, so that a busy machine says the same. One JSON object a line;
 * goals in docs/performance.md. */
#include "lib/platform/platform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/resource.h>

#define HOUR     3600000 /* samples */
#define CHANNELS 8
#define WINDOWS  10000
#define FITS     500
#define BURSTS   1000
#define ORIGIN   500000000000000LL

/* ---- one figure a line --------------------------------------------------------------------------------------------------- */

static void print_number(const char *key, double v)
{
    if (isfinite(v))
        printf(", \"%s\": %.6g", key, v);
    else
        printf(", \"%s\": null", key);
}

/* Smaller is better. NAN: not known, or no goal. Returns whether there is a figure. */
static bool figure(const char *name, double value, const char *unit, double goal)
{
    bool judged = isfinite(goal) && isfinite(value);
    printf("{\"figure\": \"%s\"", name);
    print_number("value", value);
    printf(", \"unit\": \"%s\"", unit);
    print_number("goal", goal);
    print_number("baseline", NAN);
    printf(", \"meets\": %s}\n", judged ? (value <= goal ? "true" : "false") : "null");
    fflush(stdout);
    return isfinite(value);
}

static double memory_mib(void)
{
    struct rusage u;
    return getrusage(RUSAGE_SELF, &u) == 0 ? (double)u.ru_maxrss / 1024 : NAN;
}

/* ---- channels ------------------------------------------------------------------------------------------------------------ */

static struct joulet_channel channel(double period_s, double window_s)
{
    return (struct joulet_channel){
        .id = "bench",
        .sensor = "sim",
        .device = "",
        .parent = "",
        .quantity = window_s > 0 ? JOULET_POWER : JOULET_ENERGY,
        .group = JOULET_GROUP_GPU,
        .provenance = JOULET_SIMULATED,
        .in_total = true,
        .period_s = period_s,
        .window_s = window_s,
        .quantum_j = 1e-3,
        .lag_s = period_s > 10e-3 ? 25e-3 : 0,
        .u_lag_s = period_s > 10e-3 ? 14e-3 : 0.3e-3,
        .lag_max_s = period_s > 10e-3 ? 50e-3 : 2e-3,
        .rise_s = period_s > 10e-3 ? 3e-3 : 0.3e-3,
        .power_min_w = NAN,
        .power_max_w = NAN,
        .factor_lo = 1,
        .factor_hi = 1,
    };
}

/* 60 W, and 300 W for the first `busy` of every `period` seconds. */
static double energy_at(double t, double period, double busy)
{
    double whole = floor(t / period), rest = t - whole * period;
    return 60 * t + 240 * (whole * busy + fmin(rest, busy));
}

static int64_t microjoules(double j)
{
    return (int64_t)(j * 1e6);
}

static bool counter(struct joulet_trace *t, size_t n, double U, double period, double busy)
{
    *t = (struct joulet_trace){.channel = channel(U, 0), .samples = malloc(n * sizeof(*t->samples)), .n = n};
    for (size_t i = 0; t->samples && i < n; i++) {
        double at = U * (double)i;
        t->samples[i] = (struct joulet_sample){.t_ns = ORIGIN + jl_ns(at),
                                               .value = microjoules(energy_at(fmax(0, at - t->channel.lag_s), period, busy)),
                                               .hw_ns = U < 10e-3 ? 10000 : 500000};
    }
    return t->samples != NULL;
}

/* ---- windows of an hour -------------------------------------------------------------------------------------------------- */

/* Seconds for WINDOWS windows of CHANNELS channels; NAN when one fails. All channels share the samples: it is the windows that
 * cost. */
static double windows_s(const struct joulet_trace *t, bool isolated)
{
    struct joulet_baseline idle = {.power_w = 60, .u_w = 0.6, .sd_w = NAN, .flags = JOULET_FLAG_SHORT_BASELINE};
    int64_t begin = jl_thread_cpu_ns();
    double step = (double)t->n * t->channel.period_s / (WINDOWS + 2), sum = 0;
    for (size_t k = 1; k <= WINDOWS; k++)
        for (size_t c = 0; c < CHANNELS; c++) {
            int64_t from = ORIGIN + jl_ns(step * (double)k);
            joulet_mark m[] = {from, from + jl_ns(0.05), from + jl_ns(0.18)};
            struct joulet_what what = {
                .bounds = m, .n_phases = 2, .isolated = isolated, .quiet_until = isolated ? from + jl_ns(0.3) : 0};
            struct joulet_measured out;
            if (joulet_measure(t, &idle, &what, &out, NULL) != JOULET_OK)
                return NAN;
            sum += out.whole.gross_j;
        }
    return sum > 0 ? jl_s(jl_thread_cpu_ns() - begin) : NAN;
}

/* ---- joint fit ------------------------------------------------------------------------------------------------------------- */

/* Milliseconds a window of `phases` phases of 0.35 s. */
static double joint_ms(const struct joulet_trace *t, size_t phases)
{
    int64_t begin = jl_thread_cpu_ns();
    for (size_t k = 0; k < FITS; k++) {
        joulet_mark m[JOULET_PHASES_MAX + 1];
        struct joulet_measured out;
        for (size_t i = 0; i <= phases; i++)
            m[i] = ORIGIN + jl_ns(5 + 0.013 * (double)k + 0.35 * (double)i);
        struct joulet_what what = {.bounds = m, .n_phases = phases};
        if (joulet_measure(t, NULL, &what, &out, NULL) != JOULET_OK)
            return NAN;
    }
    return 1e3 * jl_s(jl_thread_cpu_ns() - begin) / FITS;
}

/* ---- bursts ------------------------------------------------------------------------------------------------------ */

static double bursts_ms(void)
{
    const double period = 0.4137, busy = 0.15, U = 0.1, W = 0.025;
    size_t n = (size_t)(period * (BURSTS + 10) / U);
    joulet_mark *on = calloc(BURSTS, sizeof(*on)), *off = calloc(BURSTS, sizeof(*off));
    struct joulet_trace t = {.channel = channel(U, W), .samples = malloc(n * sizeof(*t.samples)), .n = n};
    struct joulet_baseline idle = {.power_w = 60, .u_w = 0.6, .sd_w = 0.5};
    struct joulet_energy e;
    double ms = NAN;
    for (size_t i = 0; on && off && t.samples && i < n; i++) {
        double to = fmax(W, U * (double)i - t.channel.lag_s);
        double y = (energy_at(to, period, busy) - energy_at(to - W, period, busy)) / W;
        t.samples[i] = (struct joulet_sample){.t_ns = ORIGIN + jl_ns(U * (double)i), .value = microjoules(y), .hw_ns = 500000};
    }
    for (size_t i = 0; on && off && i < BURSTS; i++) {
        on[i] = ORIGIN + jl_ns(period * (double)(i + 4));
        off[i] = on[i] + jl_ns(busy);
    }
    int64_t begin = jl_thread_cpu_ns();
    if (on && off && t.samples && joulet_bursts(&t, &idle, on, off, BURSTS, &e, NULL) == JOULET_OK)
        ms = 1e3 * jl_s(jl_thread_cpu_ns() - begin);
    free(on);
    free(off);
    joulet_trace_release(&t);
    return ms;
}

int main(void)
{
    struct joulet_trace hour, slow;
    bool ok = counter(&hour, HOUR, 1e-3, 1.7, 0.6) && counter(&slow, 400, 0.1, 0.7, 0.35);
    if (!ok) {
        fprintf(stderr, "estimators: an hour of samples does not fit into memory\n");
        return 1;
    }
    double before = memory_mib();
    ok = figure("estimators.two_slopes_10000_windows_8_channels", windows_s(&hour, false), "s", 1);
    ok = figure("estimators.padded_10000_windows_8_channels", windows_s(&hour, true), "s", 1) && ok;
    ok = figure("estimators.memory_beside_the_samples", memory_mib() - before, "MiB", 16) && ok;
    ok = figure("estimators.joint_fit_2_phases", joint_ms(&slow, 2), "ms", 1) && ok;
    ok = figure("estimators.joint_fit_4_phases", joint_ms(&slow, 4), "ms", 1) && ok;
    ok = figure("estimators.joint_fit_16_phases", joint_ms(&slow, 16), "ms", NAN) && ok;
    ok = figure("estimators.burst_fit_1000_bursts", bursts_ms(), "ms", NAN) && ok;
    joulet_trace_release(&hour);
    joulet_trace_release(&slow);
    return ok ? 0 : 1;
}
