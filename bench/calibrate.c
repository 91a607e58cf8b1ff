/* calibrate.c - how well calibration finds window and lag (docs/method.md 1.4): 50 simulated devices of each kind, every one with
 * a period, window and lag of its own, 60 random pulses, read in virtual time as the library reads. One JSON object a line. */
#include "bench/accuracy/reader.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define DEVICES 50
#define SEED    20261121
#define LEAD_S  2.5
#define IDLE_W  60.0

static const struct kind {
    const char *preset;
    bool fast;
    double noise, goal_ms;
} kinds[] = {
    {"rapl-package", true, 0.02, 0.15}, {"nvml-counter", false, 0.02, 3}, {"nvml-a100", false, 0.02, 3},
    {"nvml-gh200", false, 0.02, 3},     {"nvml-ampere", false, 0.02, 3},  {"nvml-volta", false, 0.02, 3},
    {"nvml-average", false, 0.02, 3},
};

struct trial {
    struct joulet_pulse pulses[JOULET_CALIBRATION_PULSES];
    double events[2 * JOULET_CALIBRATION_PULSES];
    struct truth truth;
    double end_s;
};

static void draw_pulses(struct trial *t, double rise_s, double noise, struct chance *c)
{
    double at = LEAD_S, busy = uniform(c, 150, 500);
    t->truth = (struct truth){.ramp_s = rise_s};
    truth_step(&t->truth, 0, IDLE_W);
    for (size_t i = 0; i < JOULET_CALIBRATION_PULSES; i++) {
        double off = at + uniform(c, 0.150, 0.400);
        t->pulses[i] = (struct joulet_pulse){jl_ns(at), jl_ns(off)};
        t->events[2 * i] = at;
        t->events[2 * i + 1] = off;
        truth_step(&t->truth, at, busy);
        truth_step(&t->truth, off, IDLE_W);
        at = off + uniform(c, 0.200, 0.450);
    }
    t->end_s = at + LEAD_S;
    truth_noise(&t->truth, t->end_s + 1, noise, 0.05, c);
}

static double energy(void *user, double t_s)
{
    return truth_energy(user, t_s);
}

/* Error of the lag, s; NAN when it was refused. *window: whether W was found. */
static double try_device(const struct kind *kind, uint64_t number, bool *window)
{
    const struct sim_preset *p = sim_preset_find(kind->preset);
    struct chance c = chance_of(SEED, kind->preset, number);
    struct reader r = {.poll_s = kind->fast ? 0.010 : 0.005,
                       .cost_s = kind->fast ? 3e-6 : 30e-6,
                       .predict = true,
                       .locked = kind->fast,
                       .at_events = kind->fast,
                       .limit_w = NAN};
    struct joulet_trace trace = {0};
    struct joulet_calibration found;
    struct sim_model m;
    struct sim_device d;
    struct trial t;
    double period, error = NAN;
    *window = false;
    sim_preset_draw(p, jl_rng_next(&c.rng), &m);
    sim_preset_channel(p, &trace.channel);
    draw_pulses(&t, trace.channel.rise_s, kind->noise, &c);
    sim_device_init(&d, &m, energy, &t.truth, jl_rng_next(&c.rng));
    if (read_device(&d, &r, t.events, JL_COUNT(t.events), t.end_s, &c, &trace)) {
        if (!kind->fast && joulet_calibrate_period(&trace, 0, jl_ns(t.end_s), &period, NULL, NULL) == JOULET_OK)
            trace.channel.period_s = period;
        if (joulet_calibrate_lag(&trace, t.pulses, JL_COUNT(t.pulses), &found, NULL) == JOULET_OK) {
            error = found.lag_s - m.lag_s;
            *window = m.kind == SIM_COUNTER || fabs(found.window_s - m.window_s) <= 0.05 * m.window_s;
        }
    }
    free(trace.samples);
    truth_release(&t.truth);
    return error;
}

static void figure(const char *preset, const char *what, double value, const char *unit, double goal, bool meets)
{
    printf("{\"figure\": \"calibrate, %s: %s\", \"value\": %.4g, \"unit\": \"%s\", \"goal\": %g, \"baseline\": null, \"meets\": "
           "%s}\n",
           preset, what, value, unit, goal, meets ? "true" : "false");
    fflush(stdout);
}

int main(void)
{
    bool all = true;
    for (size_t k = 0; k < JL_COUNT(kinds); k++) {
        double sum = 0, worst = 0;
        size_t n = 0, windows = 0;
        for (uint64_t i = 0; i < DEVICES; i++) {
            bool window;
            double e = try_device(&kinds[k], i, &window) * 1e3;
            windows += window;
            if (isnan(e))
                continue;
            sum += e * e;
            worst = fmax(worst, fabs(e));
            n++;
        }
        double rms = n ? sqrt(sum / (double)n) : NAN, share = (double)windows / DEVICES;
        figure(kinds[k].preset, "lag error, rms", rms, "ms", kinds[k].goal_ms, rms <= kinds[k].goal_ms);
        figure(kinds[k].preset, "lag error, worst of 50", worst, "ms", 3 * kinds[k].goal_ms, worst <= 3 * kinds[k].goal_ms);
        figure(kinds[k].preset, "devices with the right window", share, "share", 1, share >= 1);
        all = all && rms <= kinds[k].goal_ms && share >= 1;
    }
    return all ? 0 : 1;
}
