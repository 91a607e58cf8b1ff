/* permutation.c - tests that exchange what chance could have exchanged (docs/method.md 5.5): signs of differences, labels. */
#include "lib/stats/compare.h"
#include "lib/stats/series.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define ALL_SIGNS_UP_TO  16
#define ALL_LABELS_UP_TO 50 /* counts of arrangements are then whole numbers in a double */
#define TOLERANCE        1e-12

/* ---- signs ------------------------------------------------------------------------------------------------------- */

static double sum_with_signs(const double *d, size_t n, uint64_t signs)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += signs >> i & 1 ? -d[i] : d[i];
    return sum;
}

/* A sign is one bit: 64 of them a draw. */
static double drawn_sum(const double *d, size_t n, struct jl_rng *rng)
{
    double sum = 0;
    for (size_t i = 0; i < n; i += 64)
        sum += sum_with_signs(d + i, n - i < 64 ? n - i : 64, jl_rng_next(rng));
    return sum;
}

double jl_sign_flip_p(const double *d, size_t n, uint64_t seed, bool *exact)
{
    struct jl_rng rng = {.s = seed};
    bool all = n <= ALL_SIGNS_UP_TO;
    size_t patterns = all ? (size_t)1 << n : JL_ARRANGEMENTS, hits = 0;
    double observed = 0;
    for (size_t i = 0; i < n; i++)
        observed += d[i];
    double least = fabs(observed) - TOLERANCE;
    if (exact)
        *exact = all;
    if (n == 0 || isnan(observed))
        return NAN;
    for (size_t k = 0; k < patterns; k++)
        hits += fabs(all ? sum_with_signs(d, n, k) : drawn_sum(d, n, &rng)) >= least;
    /* The observed pattern is one of those that chance could have drawn: p is never 0. */
    return all ? (double)hits / (double)patterns : (double)(hits + 1) / (double)(patterns + 1);
}

/* ---- ranks ------------------------------------------------------------------------------------------------------- */

struct ranked {
    double value, rank; /* mid-rank, from 1 */
    size_t stratum;
    bool is_b;
};

static int by_value(const void *x, const void *y)
{
    double a = ((const struct ranked *)x)->value, b = ((const struct ranked *)y)->value;
    return (a > b) - (a < b);
}

static int by_stratum(const void *x, const void *y)
{
    size_t a = ((const struct ranked *)x)->stratum, b = ((const struct ranked *)y)->stratum;
    return (a > b) - (a < b);
}

/* Mid-ranks; values nearer than rounding are tied. Returns the sum of t^3 - t over the ties. */
static double rank_all(struct ranked *r, size_t n)
{
    double ties = 0;
    qsort(r, n, sizeof *r, by_value);
    for (size_t i = 0, end; i < n; i = end) {
        for (end = i + 1; end < n && r[end].value - r[i].value <= TOLERANCE * fabs(r[i].value); end++) {
        }
        double t = (double)(end - i);
        for (size_t k = i; k < end; k++)
            r[k].rank = (double)(i + end + 1) / 2;
        ties += t * t * t - t;
    }
    return ties;
}

static size_t put_values(struct ranked *r, const double *x, size_t n, double centre, size_t stratum, bool is_b)
{
    for (size_t i = 0; i < n; i++)
        r[i] = (struct ranked){.value = x[i] - centre, .stratum = stratum, .is_b = is_b};
    return n;
}

/* ---- one stratum ------------------------------------------------------------------------------------------------- */

/* Ways to take nb of the ranks with each sum: ranks doubled, so that mid-ranks are whole. */
static double exact_p(const struct ranked *r, size_t n, size_t nb, double observed)
{
    size_t top = n * (n + 1) + 1, per = top; /* sums 0 .. n (n + 1) */
    double *ways = calloc((nb + 1) * per, sizeof *ways), hits = 0, all = 0;
    if (!ways)
        return NAN;
    ways[0] = 1;
    for (size_t i = 0; i < n; i++) {
        size_t rank = (size_t)lround(2 * r[i].rank);
        for (size_t k = i + 1 < nb ? i + 1 : nb; k > 0; k--)
            for (size_t s = top - 1; s >= rank; s--)
                ways[k * per + s] += ways[(k - 1) * per + s - rank];
    }
    double middle = (double)nb * (double)(n + 1), far = fabs(2 * observed - middle);
    for (size_t s = 0; s < top; s++) {
        all += ways[nb * per + s];
        hits += fabs((double)s - middle) >= far - 1e-6 ? ways[nb * per + s] : 0;
    }
    free(ways);
    return hits / all;
}

static double normal_p(double observed, size_t na, size_t nb, double ties)
{
    double a = (double)na, b = (double)nb, n = a + b;
    double var = a * b / 12 * (n + 1 - ties / (n * (n - 1)));
    double off = fabs(observed - b * (n + 1) / 2) - 0.5; /* continuity */
    return var > 0 ? jl_normal_p(fmax(0, off) / sqrt(var)) : 1;
}

/* ---- several strata ---------------------------------------------------------------------------------------------- */

/* `from`: where each stratum begins in r, k + 1 entries. The first nb of a stratum, after an exchange, are its B. */
static double draw_labels(double *ranks, const size_t *from, const struct jl_stratum *s, size_t k, struct jl_rng *rng)
{
    double sum = 0;
    for (size_t i = 0; i < k; i++) {
        double *x = ranks + from[i];
        size_t n = from[i + 1] - from[i];
        for (size_t j = 0; j < s[i].nb; j++) {
            size_t pick = j + (size_t)jl_rng_below(rng, n - j);
            double keep = x[j];
            x[j] = x[pick];
            x[pick] = keep;
            sum += x[j];
        }
    }
    return sum;
}

static double drawn_p(struct ranked *r, size_t n, const struct jl_stratum *s, size_t k, double observed, uint64_t seed)
{
    struct jl_rng rng = {.s = seed};
    double *ranks = malloc(n * sizeof *ranks), expected = 0;
    size_t *from = calloc(k + 1, sizeof *from), hits = 0;
    if (ranks && from) {
        qsort(r, n, sizeof *r, by_stratum);
        for (size_t i = 0; i < k; i++) {
            from[i + 1] = from[i] + s[i].na + s[i].nb;
            double sum = 0;
            for (size_t j = from[i]; j < from[i + 1]; j++)
                sum += ranks[j] = r[j].rank;
            expected += sum * (double)s[i].nb / (double)(s[i].na + s[i].nb);
        }
        for (size_t d = 0; d < JL_ARRANGEMENTS; d++)
            hits += fabs(draw_labels(ranks, from, s, k, &rng) - expected) >= fabs(observed - expected) - 1e-9;
    }
    double p = ranks && from ? (double)(hits + 1) / (JL_ARRANGEMENTS + 1) : NAN;
    free(ranks);
    free(from);
    return p;
}

static double centre(const struct jl_stratum *s, size_t k)
{
    return k == 1 ? 0 : (jl_mean(s->a, s->na) * (double)s->na + jl_mean(s->b, s->nb) * (double)s->nb) / (double)(s->na + s->nb);
}

double jl_mann_whitney_p(const struct jl_stratum *s, size_t k, uint64_t seed, bool *exact)
{
    size_t n = 0, at = 0, na = 0, nb = 0;
    for (size_t i = 0; i < k; i++) {
        if (s[i].na == 0 || s[i].nb == 0)
            return NAN;
        na += s[i].na;
        nb += s[i].nb;
    }
    n = na + nb;
    struct ranked *r = n ? malloc(n * sizeof *r) : NULL;
    if (!r)
        return NAN;
    for (size_t i = 0; i < k; i++) {
        at += put_values(r + at, s[i].a, s[i].na, centre(&s[i], k), i, false);
        at += put_values(r + at, s[i].b, s[i].nb, centre(&s[i], k), i, true);
    }
    double ties = rank_all(r, n), observed = 0;
    for (size_t i = 0; i < n; i++)
        observed += r[i].is_b ? r[i].rank : 0;
    bool every = k == 1 && n <= ALL_LABELS_UP_TO;
    double p = every    ? exact_p(r, n, nb, observed)
               : k == 1 ? normal_p(observed, na, nb, ties)
                        : drawn_p(r, n, s, k, observed, seed);
    if (exact)
        *exact = every;
    free(r);
    return p;
}
