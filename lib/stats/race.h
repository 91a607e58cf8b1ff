/* race.h - several candidates measured in rounds, each once a round; what surely loses is dropped while the race goes on, however
 * often one looks (docs/method.md 5.6). Pure. */
#ifndef JL_STATS_RACE_H
#define JL_STATS_RACE_H

#include "lib/base/base.h"

enum { JL_RACE_MAX = 24, JL_RACE_ROUNDS = 200 };
#define JL_RACE_ALPHA 0.05 /* chance that the best one is ever dropped */

/* Half-width of an interval for the mean of n values of standard deviation sd that holds at every n at once with 1 - alpha: the
 * values may be looked at after each. Normal values; INFINITY for n < 2. */
double jl_always_half_width(double sd, size_t n, double alpha);

struct jl_race {
    size_t n; /* candidates */
    bool out[JL_RACE_MAX];
    size_t rounds;
    double x[JL_RACE_ROUNDS][JL_RACE_MAX]; /* logarithms of what is to be small; NAN not measured */
};
void jl_race_init(struct jl_race *r, size_t n);
/* values[i] of each candidate in one more round, above 0; NAN: it had none. False: no room. */
bool jl_race_add(struct jl_race *r, const double *values);
/* How candidate b stands to a over the rounds that both were in: ln of the ratio, with a half-width that holds always. Returns
 * the number of those rounds. */
size_t jl_race_between(const struct jl_race *r, size_t a, size_t b, double alpha, double *log_ratio, double *half_width);
/* Drops what surely is above another that is still in; returns how many. */
size_t jl_race_drop(struct jl_race *r);
size_t jl_race_left(const struct jl_race *r);

/* The order of candidates in round `round`, as indices: drawn from the seed, backwards in every second round, so that a steady
 * drift cancels. Those that are out are not in it; returns how many are. */
size_t jl_race_order(const struct jl_race *r, size_t round, uint64_t seed, size_t order[JL_RACE_MAX]);

#endif
