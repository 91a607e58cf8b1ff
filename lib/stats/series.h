/* series.h - repeats of one measurement (docs/method.md 5.1 to 5.3, 9): warm-up, steadiness, outliers, centre with interval.
 * Pure; chance comes from a seed that the caller records. Unknown is NAN. */
#ifndef JL_STATS_SERIES_H
#define JL_STATS_SERIES_H

#include "lib/base/base.h"

/* ---- the distribution of t ---------------------------------------------------------------------------------------- */
double jl_t_p(double t, double df); /* two-sided: chance of a |t| at least as large; NAN for df <= 0 */
double jl_normal_p(double z);       /* the same for a normal variate */

/* ---- a series as it comes (5.1) ------------------------------------------------------------------------------------- */
/* How many values at the start are warm-up: the k in 0..n/2 of least z_k = var_pop(x_k..)/(n - k). z, if not NULL, receives
 * z_0 .. z_(n/2). The run that is always warm-up is already taken off. */
size_t jl_warmup(const double *x, size_t n, double *z);
/* Two-sided p of the slope of x over its index being 0; NAN for n < 3. */
double jl_slope_p(const double *x, size_t n);
/* The kept values still rise or fall: slope_p below 1 %. */
bool jl_not_steady(const double *x, size_t n);

/* ---- outliers (5.3): flagged, never deleted ------------------------------------------------------------------------ */
#define JL_OUTLIER 3.5
/* score[i] = 0.6745 |x_i - median| / MAD; INFINITY off a median that more than half of the values share. false: no memory. */
bool jl_outlier_scores(const double *x, size_t n, double *score);

/* ---- centre with interval (5.2) -------------------------------------------------------------------------------------- */
struct jl_interval {
    double value, lo, hi;
};
#define JL_BOOTSTRAP 10000
/* Mean with the 95 % t interval, widened by sqrt((1 + r1)/(1 - r1)) from 10 values on when r1 > 0.2 (*widened, may be NULL).
 * u_common: standard uncertainty that all values share and repeating does not shrink (3); 0 for none. */
struct jl_interval jl_mean_interval(const double *x, size_t n, double u_common, bool *widened);
/* 95 % percentile bootstrap of median and mean over the same resamples, n >= 1. false: no memory. */
bool jl_bootstrap(const double *x, size_t n, size_t draws, uint64_t seed, struct jl_interval *median, struct jl_interval *mean);

/* All of 5.1 to 5.3 about the values that are left after warm-up. */
struct jl_series {
    size_t n;
    double sd, cv, r1;               /* NAN for one value */
    struct jl_interval mean, median; /* the median's ends are NAN below 5 values */
    bool widened, not_steady;
    size_t outliers;
    double worst_score;
    bool median_first; /* disturbed: the median says more */
};
bool jl_series_of(const double *x, size_t n, uint64_t seed, struct jl_series *out);

/* Runs needed for a relative half-width (5.1): ceil((1.96 cv/x)^2) + 2. 0 when that is not known or beyond 1e9. */
size_t jl_runs_needed(double cv, double half_width);

/* ---- ratios of sums (9) ------------------------------------------------------------------------------------------------ */
/* sum(e)/sum(t) with the half-width of its 95 % interval by the jackknife; pm NAN for fewer than two. */
void jl_ratio_of_sums(const double *e, const double *t, size_t n, double *ratio, double *pm);

/* ---- order --------------------------------------------------------------------------------------------------------------- */
void jl_shuffle(size_t *order, size_t n, struct jl_rng *rng); /* Fisher and Yates, from the end; each order equally likely */

#endif
