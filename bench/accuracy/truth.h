/* truth.h - simulated power whose energy is known in closed form. Shares no code with lib/meter: only seeded chance comes from
 * lib/base. Times are seconds from the start of the window's simulation. */
#ifndef ACCURACY_TRUTH_H
#define ACCURACY_TRUTH_H

#include "lib/base/base.h"

/* ---- chance ----------------------------------------------------------------------------------------------------------- */

struct chance {
    struct jl_rng rng;
    double spare; /* the second normal number of a pair */
    bool has_spare;
};
/* Independent of every other stream with another seed, number or word. */
struct chance chance_of(uint64_t seed, const char *word, uint64_t number);
double uniform(struct chance *c, double from, double to);
double normal(struct chance *c, double mean, double sd);
double exponential(struct chance *c, double mean);

/* ---- power ------------------------------------------------------------------------------------------------------------ */

#define TRUTH_STEPS_MAX 256

struct truth_step {
    double t_s, w; /* from t_s on the power goes to w */
};

struct truth {
    struct truth_step steps[TRUTH_STEPS_MAX]; /* ascending; the first holds before its time too */
    size_t n;
    double ramp_s;                /* time constant of each rise and fall */
    double rise_share, rise_late; /* this share of each rise has that time constant, s, instead */
    double fall_share, fall_late;
    double *noise; /* energy of the noise since 0 at every grid point, J */
    size_t n_noise;
};

/* Adds a step; false: there is no room. */
bool truth_step(struct truth *t, double at_s, double w);
/* Noise of that share of the momentary level, correlated over tau_s, from 0 to end_s. Once, after the last step. false: out of
 * memory. */
bool truth_noise(struct truth *t, double end_s, double share, double tau_s, struct chance *c);
/* Back to no noise, so that steps can be added. */
void truth_forget_noise(struct truth *t);
/* Joules since 0, in closed form; negative before. */
double truth_energy(const struct truth *t, double at_s);
void truth_release(struct truth *t);

#endif
