/* steps.c - see steps.h. */
#include "tests/meter/steps.h"

#include <math.h>

double steps_truth(double t)
{
    return t < 1 ? 100 * t : t < 2 ? 100 + 300 * (t - 1) : 400 + 100 * (t - 2);
}

void steps_bounds(struct steps *f, const double *t, size_t n_phases)
{
    for (size_t i = 0; i <= n_phases; i++)
        f->bounds[i] = sim_ns(f->t[i] = t[i]);
    f->what = (struct joulet_what){.bounds = f->bounds, .n_phases = n_phases};
}

void steps_init(struct steps *f)
{
    *f = (struct steps){.idle = {.power_w = 100, .u_w = 1, .sd_w = .5}};
    f->trace = (struct joulet_trace){.channel = sim_gpu_counter_channel(.1, true), .samples = f->samples, .n = STEPS_N};
    f->trace.channel.lag_s = f->trace.channel.u_lag_s = 0;
    for (size_t i = 0; i < STEPS_N; i++)
        f->samples[i] = (struct joulet_sample){
            .t_ns = sim_ns(.1 * (double)i), .value = (int64_t)llround(steps_truth(.1 * (double)i) * 1e6), .hw_ns = 500000};
    steps_bounds(f, (const double[]){1, 1.5, 2}, 2);
}

enum joulet_status steps_measure(struct steps *f, struct joulet_measured *m, struct joulet_error *err)
{
    return joulet_measure(&f->trace, &f->idle, &f->what, m, err);
}
