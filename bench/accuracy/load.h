/* load.h - power curves to be measured, and what is asked of them. */
#ifndef ACCURACY_LOAD_H
#define ACCURACY_LOAD_H

#include "bench/accuracy/window.h"

#define LOAD_BOUNDS_MAX 80

struct load {
    struct truth truth;
    double bounds[LOAD_BOUNDS_MAX]; /* moments of the phases, s */
    size_t n_bounds, part;          /* the phase that is asked for */
    bool isolated;                  /* the whole is asked for */
    double length_s, end_s;         /* of what is asked for; of the simulation */
    double idle_w;                  /* true; NAN: there is none */
    bool net, whole_interval;       /* asked for: above idle; with the terms of gain and idle level */
    double idle_from, idle_to;      /* where the idle level is measured, if it is */
    double gross_j, truth_j;        /* of what is asked for; truth_j above idle if net */
};

/* Draws the load of one window; the phase asked for lasts about d. false: out of memory. */
bool load_draw(const struct row *row, double d, const struct levels *levels, const struct sim_model *m, uint64_t number,
               struct chance *c, struct load *out);

#endif
