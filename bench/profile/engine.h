/* engine.h - a simulated engine whose components draw known powers: tokens as stretches on a clock, with or without repeats in
 * random order, and the energy that a sensor would see. */
#ifndef PROFILE_BENCH_ENGINE_H
#define PROFILE_BENCH_ENGINE_H

#include "bench/accuracy/truth.h"

enum kind { ATTENTION, FFN, HEAD, NORM, REST, KINDS }; /* the rest: embedding, sampling, gaps, the loop of the server */
extern const char *const kind_names[KINDS];

struct model {
    const char *name, *title;
    int layers;
    double token_s, share[KINDS]; /* of the token */
    double net_w[KINDS];          /* on top of idle */
};
extern const struct model models[];
extern const size_t n_models;

#define IDLE_W 40.0

struct conduct {
    const struct joulet_lockin *lockin; /* NULL: plain tokens */
    double start_s, length_s;
    double rise_s;       /* time constant by which power follows */
    double repeat_power; /* power of repeats over first executions */
    double repeat_time;  /* time of repeats over first executions */
    uint64_t seed;
};

struct knot {
    double t_s, w, follows_w, energy_j; /* asked from here on; drawn here; until here */
};
struct run {
    struct knot *knots;
    size_t n_knots, room_knots;
    struct joulet_stretch *stretches; /* ascending; the rest has none */
    size_t n_stretches, room_stretches;
    struct joulet_stretch unmodified[4096];
    size_t n_unmodified, tokens, plain_tokens;
    double end_s, rise_s, token_s[KINDS]; /* seconds of a plain token, as a probe sees them */
    double true_j[KINDS];                 /* net energy of a plain token at the powers that first executions drew in this run */
    bool failed;
};
bool run_make(struct run *r, const struct model *m, const struct conduct *c);
void run_release(struct run *r);
double run_energy(void *run, double t_s); /* gross, for a simulated device */

#endif
