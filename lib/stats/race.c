/* race.c - sequential elimination (docs/method.md 5.6). The interval is the one whose ends a t test with a mixture over effects
 * does not reject: under the hypothesis its statistic is a martingale of mean 1 (Lai 1976: invariant under the unknown scale), so
 * that by Ville's inequality it ever exceeds 1/alpha with a chance of alpha at most. */
#include "lib/stats/race.h"

#include <math.h>

#define MIXTURE 25.0 /* variance of the effects that are mixed, in variances of a value */

double jl_always_half_width(double sd, size_t n, double alpha)
{
    if (n < 2)
        return INFINITY;
    double k = 1 + (double)n * MIXTURE, a = pow(sqrt(k) / alpha, 2.0 / (double)n);
    if (a >= k) /* no evidence of so few is enough */
        return INFINITY;
    double t2 = (double)(n - 1) * (a - 1) / (1 - a / k);
    return sqrt(t2 / (double)n) * sd;
}

void jl_race_init(struct jl_race *r, size_t n)
{
    r->n = n < JL_RACE_MAX ? n : JL_RACE_MAX;
    r->rounds = 0;
    for (size_t i = 0; i < JL_RACE_MAX; i++)
        r->out[i] = i >= r->n;
}

bool jl_race_add(struct jl_race *r, const double *values)
{
    if (r->rounds == JL_RACE_ROUNDS)
        return false;
    for (size_t i = 0; i < r->n; i++)
        r->x[r->rounds][i] = values[i] > 0 && isfinite(values[i]) ? log(values[i]) : NAN;
    r->rounds++;
    return true;
}

size_t jl_race_between(const struct jl_race *r, size_t a, size_t b, double alpha, double *log_ratio, double *half_width)
{
    double mean = 0, square = 0;
    size_t n = 0;
    for (size_t k = 0; k < r->rounds; k++) {
        double d = r->x[k][b] - r->x[k][a];
        if (isnan(d))
            continue;
        n++;
        double step = d - mean;
        mean += step / (double)n;
        square += step * (d - mean);
    }
    *log_ratio = n ? mean : NAN;
    *half_width = n < 2 ? INFINITY : jl_always_half_width(sqrt(square / (double)(n - 1)), n, alpha);
    return n;
}

size_t jl_race_left(const struct jl_race *r)
{
    size_t n = 0;
    for (size_t i = 0; i < r->n; i++)
        n += !r->out[i];
    return n;
}

/* The best one is compared with n - 1 others: each may err by that part of alpha. */
size_t jl_race_drop(struct jl_race *r)
{
    bool loses[JL_RACE_MAX] = {false};
    size_t dropped = 0;
    double alpha = JL_RACE_ALPHA / (double)(r->n > 1 ? r->n - 1 : 1);
    for (size_t i = 0; i < r->n; i++)
        for (size_t k = 0; k < r->n; k++) {
            double ratio, pm;
            if (i == k || r->out[i] || r->out[k])
                continue;
            jl_race_between(r, k, i, alpha, &ratio, &pm);
            loses[i] |= ratio > pm;
        }
    for (size_t i = 0; i < r->n; i++) {
        r->out[i] |= loses[i];
        dropped += loses[i];
    }
    return dropped;
}

size_t jl_race_order(const struct jl_race *r, size_t round, uint64_t seed, size_t order[JL_RACE_MAX])
{
    struct jl_rng rng = {seed + 0x9e3779b97f4a7c15u * (round / 2 + 1)};
    size_t all[JL_RACE_MAX], n = 0;
    for (size_t i = 0; i < r->n; i++)
        all[i] = i;
    for (size_t i = r->n; i > 1; i--) {
        size_t k = (size_t)jl_rng_below(&rng, i), x = all[i - 1];
        all[i - 1] = all[k];
        all[k] = x;
    }
    for (size_t i = 0; i < r->n; i++) {
        size_t which = all[round % 2 ? r->n - 1 - i : i];
        if (!r->out[which])
            order[n++] = which;
    }
    return n;
}
