/* sample.h - records with figures that are easy to follow, for the tests of run/, store/ and report/. No clock, no chance. */
#ifndef TESTS_RUN_SAMPLE_H
#define TESTS_RUN_SAMPLE_H

#include "run/run.h"

/* How the machine of a sample is measured. */
enum sample_machine {
    SAMPLE_SENSORS,  /* RAPL package and DRAM, one GPU */
    SAMPLE_ESTIMATE, /* nothing but the rating of a virtual machine's processor */
    SAMPLE_MIXED     /* a measured GPU beside an estimated processor */
};

/* An energy of `net` J above idle and `gross` J in all; half-widths 6 % of each, bounds 10 % around gross. */
struct joulet_energy sample_energy(double net_j, double gross_j, enum joulet_provenance p);

/* bench: idle, six requests in two categories (the first a warm-up, the last failed), cooldown. */
void sample_bench(struct run *r, enum sample_machine m);
/* run: one request with load, prefill and decode. */
void sample_single(struct run *r, enum sample_machine m);
/* exec: one command, one window. */
void sample_exec(struct run *r, enum sample_machine m);

#endif
