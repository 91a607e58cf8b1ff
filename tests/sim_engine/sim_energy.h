/* sim_energy.h - what a simulated engine draws and how long it takes, from its settings: a machine of cores, memory and clock
 * that computes a model of bytes and operations. Its truths follow from the physics below, not from the rules that are tested
 * against it: time is the longer of memory and computing, more or less overlapped; power that of cores which compute or wait, of
 * bytes moved and of operations; a power limit lowers the clock. Pure. */
#ifndef SIM_ENERGY_H
#define SIM_ENERGY_H

#include "lib/base/base.h"

struct sim_machine {
    int cores;
    double bytes_per_s, core_flops;
    double saturation;     /* cores that are enough for all of the memory's rate */
    double overlap;        /* 2: computing and waiting partly add up, 20: the longer alone counts */
    double idle_w, core_w; /* of one core that computes, above idle */
    double waiting;        /* share of core_w that a core draws while it waits for memory */
    double second_w;       /* of a second thread of a core, share of core_w */
    double second_gain;    /* more work by second threads, share */
    double crowding;       /* more time for each thread above the cores, share */
    double base_w;         /* above idle as soon as anything runs */
    double byte_j, flop_j;
    double clock_power;   /* power of the cores goes with the clock to this power */
    double flash_compute; /* operations of scores with flash attention over those without */
    double unpack;        /* more computing for weights or a cache of less than 16 bits, share */
};
struct sim_model {
    double params;      /* that a token meets */
    double cache_width; /* elements of keys and values of one token, all layers */
    double scores;      /* layers times heads: scores of a token with one in the context */
};
struct sim_settings {
    int threads, at_once; /* sequences in a step */
    double weight_bits, cache_bits;
    bool flash;
    double limit_w; /* 0 none */
};
struct sim_cost {
    double s, j; /* net of idle_w */
    double bytes, weight_bytes, cache_bytes, flop;
    double scores_s; /* part of s, as a probe of nodes would tell it */
};
/* A machine, and a model for it, as they may be; the same for the same seed. */
void sim_machine_draw(struct sim_machine *m, struct sim_model *model, uint64_t seed);
/* One decode step: at_once sequences, each with `context` tokens in the cache. */
struct sim_cost sim_step(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s,
                         double context);
/* A prompt of so many tokens. */
struct sim_cost sim_prefill(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s,
                            double tokens);
/* An answer of each of the at_once sequences after a prompt. */
struct sim_cost sim_decode(const struct sim_machine *m, const struct sim_model *model, const struct sim_settings *s,
                           double prompt, double answer);

#endif
