/* estimate.c - power of a processor from its thermal design power and its busy time (docs/method.md 10).
 *
 * Full load draws less than the rating, idle a fifth of that, and power rises steeply at first: the first busy cores wake the
 * caches and the memory controller. The exponent comes from published curves of servers; its error is inside the factors. */
#include "lib/sensors/estimate.h"

#include <math.h>

#define FULL_LOAD_OF_TDP     0.85
#define IDLE_OF_FULL_LOAD    0.22
#define EXPONENT             0.6
#define GUESSED_W_PER_THREAD 3.0

void jl_estimate_for(struct jl_estimate *e, double tdp_w, int threads_seen, int threads_of_part, bool vm)
{
    int seen = threads_seen > 0 ? threads_seen : 1;
    bool guessed = vm || !(tdp_w > 0) || threads_of_part <= 0;
    double share = guessed ? 1 : fmin(1, (double)seen / threads_of_part);
    double tdp = guessed ? GUESSED_W_PER_THREAD * seen : tdp_w * share;
    *e = (struct jl_estimate){
        .tdp_w = tdp,
        .max_w = FULL_LOAD_OF_TDP * tdp,
        .idle_w = IDLE_OF_FULL_LOAD * FULL_LOAD_OF_TDP * tdp,
        .exponent = EXPONENT,
        .factor_lo = guessed ? JL_ESTIMATE_GUESSED_LO : JL_ESTIMATE_LO,
        .factor_hi = guessed ? JL_ESTIMATE_GUESSED_HI : JL_ESTIMATE_HI,
        .guessed = guessed,
    };
}

double jl_estimate_power_w(const struct jl_estimate *e, double busy_fraction)
{
    if (isnan(busy_fraction))
        return NAN; /* fmax would turn unknown into idle */
    double u = fmin(fmax(busy_fraction, 0), 1);
    return e->idle_w + (e->max_w - e->idle_w) * pow(u, e->exponent);
}

double jl_estimate_points_w(const struct jl_power_point *points, size_t n, double busy_fraction)
{
    if (n == 0 || isnan(busy_fraction))
        return NAN;
    if (busy_fraction <= points[0].busy)
        return points[0].power_w;
    for (size_t i = 1; i < n; i++) {
        const struct jl_power_point *a = &points[i - 1], *b = &points[i];
        if (busy_fraction <= b->busy)
            return a->power_w + (b->power_w - a->power_w) * (busy_fraction - a->busy) / (b->busy - a->busy);
    }
    return points[n - 1].power_w;
}

double jl_estimate_exponent(double idle_w, double half_w, double max_w)
{
    if (!(idle_w < half_w && half_w < max_w))
        return NAN;
    return log((half_w - idle_w) / (max_w - idle_w)) / log(0.5);
}
