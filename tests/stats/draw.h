/* draw.h - variates for simulations, from a seed. */
#ifndef TESTS_STATS_DRAW_H
#define TESTS_STATS_DRAW_H

#include "lib/base/base.h"

#include <math.h>

static inline double draw_normal(struct jl_rng *g)
{
    double u = 1 - jl_rng_uniform(g), v = jl_rng_uniform(g); /* u is never 0 */
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* What `sigmas` of chance allow about a share p of n. */
static inline double draw_chance(double p, size_t n, double sigmas)
{
    return sigmas * sqrt(p * (1 - p) / (double)n);
}

#endif
