/* simulate.h - true power in closed form, and sensors that show it as real ones do. Shares no code with lib/meter: what both
 * got wrong alike would not be seen. Times are seconds from the start of the simulated trace. */
#ifndef SIMULATE_H
#define SIMULATE_H

#include "lib/base/base.h"

#define SIM_STEPS  160
#define SIM_ORIGIN 500000000000000LL /* ns: a machine that has been up for days */

struct sim {
    struct jl_rng rng;
    double at[SIM_STEPS], w[SIM_STEPS]; /* power w[i] from at[i] on; at[0] is 0 */
    size_t n_steps;
    double rise_s; /* each step is approached exponentially */
    double noise;  /* relative, correlated over about 50 ms */
    double length_s;
    double *extra; /* energy of the noise at multiples of 2 ms */
    size_t n_extra;
};
void sim_init(struct sim *s, uint64_t seed, double length_s);
void sim_release(struct sim *s);
void sim_step(struct sim *s, double at, double w);  /* in ascending order */
void sim_add_noise(struct sim *s, double relative); /* after the last step */
double sim_energy(const struct sim *s, double from, double to);
double sim_uniform(struct sim *s, double lo, double hi);
double sim_normal(struct sim *s, double sd);

int64_t sim_ns(double t);

/* Each fills trace->samples (malloc'ed: sim_trace_release) according to trace->channel; true_lag_s is what the device really has.
 */
struct sim_events {
    const double *t; /* moments at which a fast counter is read without pause until it changes; NULL none */
    size_t n;
};
void sim_fast_counter(struct sim *s, struct joulet_trace *trace, double poll_s, struct sim_events events, double true_lag_s);
void sim_slow_counter(struct sim *s, struct joulet_trace *trace, double poll_s, double true_lag_s);
void sim_power(struct sim *s, struct joulet_trace *trace, double true_lag_s);
void sim_trace_release(struct joulet_trace *trace);

/* Channels with the properties of section 1.1. */
struct joulet_channel sim_rapl_channel(void);
struct joulet_channel sim_gpu_counter_channel(double period_s, bool calibrated);
struct joulet_channel sim_power_channel(double period_s, double window_s, bool calibrated);

#endif
