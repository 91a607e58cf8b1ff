/* effect.c - how much B differs from A, over all pairs of values under the same condition (docs/method.md 5.5). */
#include "lib/stats/compare.h"
#include "lib/stats/stats.h"

#include <math.h>

void jl_strata_sort(struct jl_stratum *s, size_t k)
{
    for (size_t i = 0; i < k; i++) {
        jl_sort(s[i].a, s[i].na);
        jl_sort(s[i].b, s[i].nb);
    }
}

/* Values of `a`, ascending, for which b - a is below v, or not above it. */
static size_t below(const double *a, size_t n, double b, double v, bool or_equal)
{
    size_t from = 0, to = n;
    while (from < to) {
        size_t mid = from + (to - from) / 2;
        double d = b - a[mid];
        if (d < v || (or_equal && d <= v))
            to = mid;
        else
            from = mid + 1;
    }
    return n - from;
}

static double pairs_below(const struct jl_stratum *s, size_t k, double v, bool or_equal)
{
    double count = 0;
    for (size_t i = 0; i < k; i++)
        for (size_t j = 0; j < s[i].nb; j++)
            count += (double)below(s[i].a, s[i].na, s[i].b[j], v, or_equal);
    return count;
}

static double all_pairs(const struct jl_stratum *s, size_t k)
{
    double n = 0;
    for (size_t i = 0; i < k; i++)
        n += (double)s[i].na * (double)s[i].nb;
    return n;
}

double jl_dominance(const struct jl_stratum *s, size_t k, double *of)
{
    double less = pairs_below(s, k, 0, false), not_more = pairs_below(s, k, 0, true);
    *of = all_pairs(s, k);
    return *of - not_more + (not_more - less) / 2;
}

/* The difference that `rank` others do not exceed: halving until two neighbouring numbers are left. Of differences of 0 that
 * would take a thousand steps through ever smaller numbers. */
static double difference_at(const struct jl_stratum *s, size_t k, double rank, double lo, double hi)
{
    if (pairs_below(s, k, 0, false) <= rank && rank < pairs_below(s, k, 0, true))
        return 0;
    for (;;) {
        double mid = lo + (hi - lo) / 2;
        if (!(mid > lo && mid < hi))
            return hi;
        if (pairs_below(s, k, mid, true) > rank)
            hi = mid;
        else
            lo = mid;
    }
}

double jl_shift(const struct jl_stratum *s, size_t k)
{
    double n = all_pairs(s, k), lo = INFINITY, hi = -INFINITY;
    if (!(n > 0))
        return NAN;
    for (size_t i = 0; i < k; i++) {
        if (s[i].na == 0 || s[i].nb == 0)
            continue;
        lo = fmin(lo, s[i].b[0] - s[i].a[s[i].na - 1]);
        hi = fmax(hi, s[i].b[s[i].nb - 1] - s[i].a[0]);
    }
    lo = nextafter(lo, -INFINITY); /* below all of them */
    double lower = difference_at(s, k, floor((n - 1) / 2), lo, hi), upper = difference_at(s, k, ceil((n - 1) / 2), lo, hi);
    return (lower + upper) / 2;
}
