/* steps.h - a small trace whose energy is known by heart: one sample every 100 ms from 0 s, at exact times; 100 W up to 1 s, 300
 * W from there to 2 s, then 100 W. */
#ifndef STEPS_H
#define STEPS_H

#include "tests/meter/simulate.h"

enum { STEPS_N = 40 };

struct steps {
    struct joulet_sample samples[STEPS_N];
    struct joulet_trace trace;
    joulet_mark bounds[5];
    double t[5];
    struct joulet_what what; /* 1 .. 1.5 .. 2 s */
    struct joulet_baseline idle;
};

void steps_init(struct steps *f);
void steps_bounds(struct steps *f, const double *t, size_t n_phases);
double steps_truth(double t); /* J since 0 s */
enum joulet_status steps_measure(struct steps *f, struct joulet_measured *m, struct joulet_error *err);

#endif
