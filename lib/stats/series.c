/* series.c - warm-up, steadiness, outliers and the centre of repeated measurements (docs/method.md 5.1 to 5.3). */
#include "lib/stats/series.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define STEADY_P        0.01
#define WIDEN_FROM      10
#define WIDEN_ABOVE_R1  0.2
#define MEDIAN_FROM     5
#define MAD_TO_SD       0.6745
#define RUNS_NEEDED_MAX 1e9

/* Summed from the end, every candidate k costs one step. The values are taken relative to their median: energies differ by
 * little from each other, and squares of large numbers would swallow that. */
size_t jl_warmup(const double *x, size_t n, double *z)
{
    size_t best = 0;
    double least = INFINITY, sum = 0, square = 0, origin = n ? x[n / 2] : 0;
    for (size_t k = n; k-- > 0;) {
        double d = x[k] - origin, left = (double)(n - k);
        sum += d;
        square += d * d;
        if (k > n / 2)
            continue;
        double zk = fmax(0, square / left - sum / left * (sum / left)) / left;
        if (z)
            z[k] = zk;
        if (zk <= least) { /* ties: the smaller k, which comes later here */
            least = zk;
            best = k;
        }
    }
    return best;
}

double jl_slope_p(const double *x, size_t n)
{
    double middle = ((double)n - 1) / 2, mean = jl_mean(x, n), sxx = 0, sxy = 0, rest = 0;
    if (n < 3)
        return NAN;
    for (size_t i = 0; i < n; i++) {
        double t = (double)i - middle;
        sxx += t * t;
        sxy += t * (x[i] - mean);
    }
    double slope = sxy / sxx;
    for (size_t i = 0; i < n; i++) {
        double r = x[i] - mean - slope * ((double)i - middle);
        rest += r * r;
    }
    if (rest <= 1e-24 * (double)n * mean * mean) /* on a line, but for rounding */
        return fabs(slope) * (double)n <= 1e-12 * fabs(mean) ? 1 : 0;
    double df = (double)n - 2;
    return jl_t_p(slope / sqrt(rest / df / sxx), df);
}

bool jl_not_steady(const double *x, size_t n)
{
    return jl_slope_p(x, n) < STEADY_P; /* false when it is not known */
}

bool jl_outlier_scores(const double *x, size_t n, double *score)
{
    double *copy = malloc((n ? n : 1) * sizeof *copy);
    if (!copy)
        return false;
    memcpy(copy, x, n * sizeof *copy);
    double median = jl_median(copy, n);
    for (size_t i = 0; i < n; i++)
        copy[i] = fabs(x[i] - median);
    double mad = jl_median(copy, n);
    for (size_t i = 0; i < n; i++) {
        double d = fabs(x[i] - median);
        score[i] = d > 0 ? MAD_TO_SD * d / mad : 0;
    }
    free(copy);
    return true;
}

struct jl_interval jl_mean_interval(const double *x, size_t n, double u_common, bool *widened)
{
    double m = jl_mean(x, n), pm = n > 1 ? jl_t975((double)(n - 1)) * jl_sd(x, n) / sqrt((double)n) : NAN;
    double r1 = n >= WIDEN_FROM ? jl_autocorrelation(x, n) : 0;
    bool wide = r1 > WIDEN_ABOVE_R1;
    if (wide)
        pm *= sqrt((1 + r1) / (1 - r1));
    if (widened)
        *widened = wide;
    if (u_common > 0)
        pm = hypot(pm, 2 * u_common);
    return (struct jl_interval){m, m - pm, m + pm};
}

/* Scores into the summary. */
static bool outliers_of(const double *x, size_t n, struct jl_series *out)
{
    double *score = malloc(n * sizeof *score);
    bool ok = score && jl_outlier_scores(x, n, score);
    for (size_t i = 0; ok && i < n; i++) {
        out->outliers += score[i] > JL_OUTLIER;
        out->worst_score = fmax(out->worst_score, score[i]);
    }
    free(score);
    return ok;
}

bool jl_series_of(const double *x, size_t n, uint64_t seed, struct jl_series *out)
{
    *out = (struct jl_series){.n = n, .mean = {NAN, NAN, NAN}, .median = {NAN, NAN, NAN}, .sd = NAN, .cv = NAN, .r1 = NAN};
    if (n == 0)
        return true;
    out->mean = jl_mean_interval(x, n, 0, &out->widened);
    out->sd = jl_sd(x, n);
    out->cv = out->sd / fabs(out->mean.value);
    out->r1 = n > 1 ? jl_autocorrelation(x, n) : NAN;
    out->not_steady = jl_not_steady(x, n);
    if (!jl_bootstrap(x, n, n < MEDIAN_FROM ? 1 : JL_BOOTSTRAP, seed, &out->median, NULL) || !outliers_of(x, n, out))
        return false;
    if (n < MEDIAN_FROM)
        out->median.lo = out->median.hi = NAN;
    out->median_first = out->worst_score > JL_OUTLIER;
    return true;
}

size_t jl_runs_needed(double cv, double half_width)
{
    double ratio = 1.96 * cv / half_width, n = ceil(ratio * ratio - 1e-9) + 2;
    return cv >= 0 && half_width > 0 && n <= RUNS_NEEDED_MAX ? (size_t)n : 0;
}

static double leave_one_out(const double *e, const double *t, double sum_e, double sum_t, size_t i)
{
    double rest = sum_t - t[i];
    return rest > 0 ? (sum_e - e[i]) / rest : NAN;
}

void jl_ratio_of_sums(const double *e, const double *t, size_t n, double *ratio, double *pm)
{
    double sum_e = 0, sum_t = 0, mean = 0, square = 0;
    for (size_t i = 0; i < n; i++) {
        sum_e += e[i];
        sum_t += t[i];
    }
    *ratio = sum_t > 0 ? sum_e / sum_t : NAN;
    for (size_t i = 0; i < n; i++)
        mean += leave_one_out(e, t, sum_e, sum_t, i) / (double)n;
    for (size_t i = 0; i < n; i++) {
        double d = leave_one_out(e, t, sum_e, sum_t, i) - mean;
        square += d * d;
    }
    double se = n > 1 ? sqrt((double)(n - 1) / (double)n * square) : NAN;
    *pm = n > 1 ? jl_t975((double)(n - 1)) * se : NAN;
}
