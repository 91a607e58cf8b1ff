/* sim_spec.h - what to simulate, from an expression such as "0:60,2:300;kind=power;window=1s|45;group=dram"
 * (docs/sensors/sim.md). */
#ifndef JL_SIM_SPEC_H
#define JL_SIM_SPEC_H

#include "lib/base/base.h"

#define SIM_DEVICES_MAX 16
#define SIM_STEPS_MAX   1024

enum sim_source {
    SIM_STEPS,  /* written in the expression */
    SIM_FILE,   /* lines of seconds and watts, played from the start */
    SIM_FOLLOW, /* a growing file of lines of CLOCK_MONOTONIC nanoseconds and watts */
};

struct sim_play {
    enum sim_source source;
    char path[256];
    double *t_s, *p_w; /* n_steps of SIM_STEPS */
    size_t n_steps;

    bool power;    /* kind=power, else a counter */
    char name[40]; /* id of the channel, "" default */
    enum joulet_group group;
    bool in_total;
    double period_s, window_s, jitter_s, rise_s;
    double lag_s, u_lag_s, lag_max_s; /* told to the meter */
    double skew_s;                    /* further lag, not told */
    double quantum;                   /* J of a counter, W of a power reading */
    double range_j;                   /* where the raw counter restarts; 0: never */
    double noise, gain, spec;
    double gone_s, frozen_s; /* since open; NAN: never */
    int64_t fail, late;      /* every Nth read; 0: none */
    int64_t seed;
};

struct sim_spec {
    struct sim_play devices[SIM_DEVICES_MAX];
    size_t n;
};

/* Error: JOULET_USAGE with one sentence that shows the place. *out is empty then, else sim_spec_release frees it. */
enum joulet_status sim_spec_parse(struct sim_spec *out, const char *expr, struct joulet_error *err);
void sim_spec_release(struct sim_spec *s);

/* The word of an expression for a group: "cpu". */
const char *sim_group_word(enum joulet_group group);

#endif
