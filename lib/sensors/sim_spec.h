/* sim_spec.h - what to simulate, from an expression such as "0:60,2:300;kind=power;window=1s|45;group=dram"
 * or "100;device=nvml-counter+nvml-a100;seed=7" (docs/sensors/sim.md). */
#ifndef JL_SIM_SPEC_H
#define JL_SIM_SPEC_H

#include "lib/sensors/sim_device.h"

#define SIM_DEVICES_MAX 16
#define SIM_STEPS_MAX   1024
#define SIM_OUTLETS_MAX 4

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

    char kinds[96]; /* presets joined by '+', each a channel of the device; "": one channel as the options say */
    bool power;     /* kind=power, else a counter */
    bool kind_given;
    char name[40]; /* id of the channel, "" default */
    enum joulet_group group;
    bool in_total;
    /* NAN: not given; without presets they are filled in */
    double period_s, window_s, jitter_s, rise_s;
    double lag_s, u_lag_s, lag_max_s; /* told to the meter */
    double skew_s;                    /* further lag, not told */
    double quantum;                   /* J of a counter, W of a power reading */
    double range_j;                   /* where the raw counter restarts; 0: never */
    double noise, gain, spec;
    double gone_s, frozen_s, back_s; /* since open; NAN: never */
    double garbage;                  /* probability of nonsense */
    int64_t fail, late;              /* every Nth read; 0: none */
    int64_t seed;
};

/* One channel of a device: what it is like, and what the meter is told of it (its strings empty but for `suffix`). */
struct sim_outlet {
    struct sim_model model;
    struct joulet_channel told;
    char suffix[40]; /* of the id; "" for the first channel */
};

struct sim_spec {
    struct sim_play devices[SIM_DEVICES_MAX];
    size_t n;
};

/* Error: JOULET_USAGE with one sentence that shows the place. *out is empty then, else sim_spec_release frees it. */
enum joulet_status sim_spec_parse(struct sim_spec *out, const char *expr, struct joulet_error *err);
void sim_spec_release(struct sim_spec *s);

/* sim_outlets.c: the channels of a device, from its presets and options; returns how many. */
size_t sim_outlets_of(const struct sim_play *p, struct sim_outlet out[SIM_OUTLETS_MAX]);
/* The presets that `kinds` names; returns how many, or -1 with *wrong at the first that is not there. */
int sim_kinds_parse(const char *kinds, const struct sim_preset *out[SIM_OUTLETS_MAX], const char **wrong);

/* The word of an expression for a group: "cpu". */
const char *sim_group_word(enum joulet_group group);

#endif
