/* idle_series.c - several idle levels of one session: between two of them the level goes straight, their spread is doubt, and how
 * long one must be taken (docs/method.md 4.2, 4.3). */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define ENOUGH  3    /* levels whose spread says something */
#define R1_MOST 0.8  /* as for the level itself */
#define FLOOR   0.02 /* 2 u(P0)/P0 of the longest baseline */
#define LEAST_S 2.0
#define K_OF_95 2

static bool is_known(const struct joulet_baseline *b)
{
    return isfinite(b->power_w) && isfinite(b->u_w);
}

static joulet_mark middle(const struct joulet_baseline *b)
{
    return b->from_ns + (b->to_ns - b->from_ns) / 2;
}

/* Sample sd of the levels; 0 with fewer than three. */
static double spread(const struct joulet_baseline *all, size_t n)
{
    double mean = 0, square = 0, known = 0;
    for (size_t i = 0; i < n; i++)
        if (is_known(&all[i])) {
            known++;
            mean += (all[i].power_w - mean) / known;
        }
    if (known < ENOUGH)
        return 0;
    for (size_t i = 0; i < n; i++)
        if (is_known(&all[i]))
            square += (all[i].power_w - mean) * (all[i].power_w - mean);
    return sqrt(square / (known - 1));
}

/* The last level taken before t and the first after it; NULL where there is none. */
static void around(const struct joulet_baseline *all, size_t n, joulet_mark t, const struct joulet_baseline **before,
                   const struct joulet_baseline **after)
{
    *before = *after = NULL;
    for (size_t i = 0; i < n; i++) {
        if (!is_known(&all[i]))
            continue;
        if (middle(&all[i]) <= t && (!*before || middle(&all[i]) >= middle(*before)))
            *before = &all[i];
        if (middle(&all[i]) > t && (!*after || middle(&all[i]) < middle(*after)))
            *after = &all[i];
    }
}

void joulet_baseline_at(const struct joulet_baseline *all, size_t n, joulet_mark from, joulet_mark to,
                        struct joulet_baseline *out)
{
    const struct joulet_baseline *a, *b;
    joulet_mark t = from + (to - from) / 2;
    *out = (struct joulet_baseline)JOULET_BASELINE_NONE;
    around(all, n, t, &a, &b);
    const struct joulet_baseline *first = a ? a : b;
    if (!first)
        return;
    *out = *first;
    if (a && b) {
        double w = jl_s(t - middle(a)) / jl_s(middle(b) - middle(a));
        out->power_w = (1 - w) * a->power_w + w * b->power_w;
        out->u_w = (1 - w) * a->u_w + w * b->u_w; /* their floor is common to both */
        out->sd_w = fmax(a->sd_w, b->sd_w);
        out->to_ns = b->to_ns;
        out->flags |= b->flags;
    }
    out->u_w = fmax(out->u_w, spread(all, n));
}

double joulet_baseline_seconds(const struct joulet_baseline *b, double r1, double run_power_w, double relative)
{
    double rise = relative * (run_power_w - b->power_w), r = fmin(fmax(isnan(r1) ? 0 : r1, 0), R1_MOST);
    if (!isfinite(b->sd_w) || !(rise > 0) || FLOOR * b->power_w > rise)
        return NAN;
    double times = K_OF_95 * b->sd_w / rise;
    return fmax(LEAST_S, ceil(times * times * (1 + r) / (1 - r) - 1e-9));
}

double joulet_baseline_doubt(const struct joulet_baseline *b, double run_power_w)
{
    if (!is_known(b) || isnan(run_power_w))
        return NAN;
    return run_power_w > b->power_w ? K_OF_95 * b->u_w / (run_power_w - b->power_w) : INFINITY;
}
