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
    double idle_from, idle_to;      /* where the idle level is measured, if it is */
    struct asked asked;
};

/* Levels of one window, W. */
struct drawn {
    double idle, prefill, decode, after;
};
struct drawn draw_levels(const struct row *row, const struct levels *l, struct chance *c);
/* A length near d, not tied to anything. */
double draw_length(double d, struct chance *c);
/* Edges and noise of a truth whose steps are complete, until end_s. false: out of memory. */
bool shake(const struct row *row, struct truth *t, double end_s, struct chance *c);

/* Draws the load of one window; the phase asked for lasts about d. false: out of memory. */
bool load_draw(const struct row *row, double d, const struct levels *levels, uint64_t number, struct chance *c, struct load *out);

#endif
