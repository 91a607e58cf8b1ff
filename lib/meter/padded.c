/* padded.c - energy of a whole isolated run without knowing the lag (docs/method.md 2.1).
 *
 * The window is widened on both sides into idle time, where a shift by the lag changes nothing but idle energy, and the idle
 * energy is taken off: at the level before the run up to its end, and at the level that follows it from there. Only the
 * difference of these two levels counts for the lag, at the value that is expected of it. */
#include "lib/meter/estimators.h"

#include <math.h>

#define TOUCH_S       1e-12
#define AFTER         5 /* updates that make the level after the run */
#define AFTER_LONG    3 /* the same for windows of a second */
#define LONG_WINDOW_S 1.0
#define AFTER_SPREAD  0.02 /* the level after the run is steady to 2 % */

static double u_b(double P0, double hw0, double P1, double hw1, double beyond_s)
{
    double a = P0 * hw0 / sqrt(3), b = P1 * hw1 / sqrt(3), c = AFTER_SPREAD * P1 * beyond_s;
    return sqrt(a * a + b * b + c * c);
}

bool jl_padded_counter(const struct jl_edge *e, size_t n, double a, double c, double quiet, const struct jl_params *p, double P0,
                       struct jl_padded *out)
{
    size_t k0 = jl_edge_at(e, n, a + TOUCH_S), k1 = jl_edge_at(e, n, c + p->U + p->l_max - TOUCH_S);
    if (k0 == 0 || k1 + 1 >= n)
        return false;
    k0--;
    size_t k5 = k1 + AFTER < n ? k1 + AFTER : n - 1;
    while (k5 > k1 && e[k5].t > quiet)
        k5--;
    if (k5 == k1)
        return false;
    double P1 = (e[k5].c - e[k1].c) / (e[k5].t - e[k1].t);
    *out = (struct jl_padded){
        .net_j = e[k1].c - e[k0].c - P0 * (c - e[k0].t) - P1 * (e[k1].t - c) + (P1 - P0) * p->lag,
        .start_s = e[k0].t,
        .end_s = e[k1].t,
        .after_w = P1,
        .u_b = u_b(P0, e[k0].hw, P1, e[k1].hw, e[k1].t - c),
    };
    return true;
}

static size_t first_after(const struct jl_reading *r, size_t n, double t)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r[mid].t <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Mean of the readings after K; NAN when none may be used. */
static double level_after(const struct jl_reading *r, size_t n, size_t K, double quiet, double W)
{
    size_t most = W >= LONG_WINDOW_S ? AFTER_LONG : AFTER, count = 0;
    double sum = 0;
    for (size_t k = K + 1; k < n && count < most && r[k].t <= quiet; k++, count++)
        sum += r[k].y_w;
    return count ? sum / (double)count : NAN;
}

bool jl_padded_power(const struct jl_reading *r, size_t n, double a, double c, double quiet, const struct jl_params *p, double P0,
                     struct jl_padded *out)
{
    double pad = p->W + p->U + p->l_max;
    size_t first = first_after(r, n, a), end = first_after(r, n, c + pad + TOUCH_S);
    if (first == 0 || end <= first || end >= n)
        return false;
    double sum = 0, loose = 0;
    for (size_t k = first; k < end; k++) {
        double dt = r[k].t - r[k - 1].t;
        sum += (r[k].y_w - P0) * dt;
        if (dt > 1.5 * p->U)
            loose = hypot(loose, (r[k].y_w - r[k - 1].y_w) * (dt - p->U) / sqrt(3));
    }
    const struct jl_reading *last = &r[end - 1];
    double P1 = level_after(r, n, end - 1, quiet, p->W);
    if (isnan(P1))
        return false;
    /* The sum holds the level after the run for so long: the windows that end early in it still show the run itself. */
    double beyond = last->t - p->lag - c - (p->W - p->U) / 2;
    *out = (struct jl_padded){
        .net_j = sum - (P1 - P0) * beyond,
        .start_s = r[first - 1].t,
        .end_s = last->t,
        .after_w = P1,
        .u_b = hypot(u_b(P0, r[first - 1].hw, P1, last->hw, beyond), loose),
    };
    return true;
}
