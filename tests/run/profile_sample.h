/* profile_sample.h - profiles of models whose figures are easy to follow, made from their shapes: for the tests of run/, report/
 * and cli/. No clock, no chance. */
#ifndef TESTS_RUN_PROFILE_SAMPLE_H
#define TESTS_RUN_PROFILE_SAMPLE_H

#include "run/profile.h"

enum profile_sample {
    PROFILE_DENSE,  /* 16 layers, measured, energies by regression */
    PROFILE_MOE,    /* 8 experts, 2 used, level nodes */
    PROFILE_LARGE,  /* the 3.3-70B shape: 80 layers, of which 4 were profiled */
    PROFILE_TIME,   /* the dense model with an estimate: time shares */
    PROFILE_STAGES, /* no probe: stages alone */
    PROFILE_EMPTY,  /* everything unknown */
    PROFILE_SAMPLES
};
const char *profile_sample_name(enum profile_sample s);
void profile_sample(struct run_profile *p, enum profile_sample s);

#endif
