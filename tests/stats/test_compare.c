/* Comparisons (docs/method.md 5.5): tests against counting, effects, Holm, verdicts. */
#include "lib/stats/compare.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double A[] = {10.21, 10.05, 10.32, 10.18, 10.11, 10.26, 10.09, 10.15};
static const double B[] = {9.88, 9.91, 10.12, 9.79, 9.95, 9.84, 9.97, 10.07};

static void pairs(void **state)
{
    (void)state;
    struct jl_comparison c;
    assert_true(jl_compare_paired(A, B, 8, 0, 1, &c));
    assert_near(c.p, 2.0 / 256, 1e-15);
    assert_true(c.exact && c.pairs == 8);
    assert_near(c.ratio, 0.977367, 1e-6);
    assert_near(c.lo95, 0.966728, 1e-6);
    assert_near(c.hi95, 0.988123, 1e-6);
    assert_near(c.lo90, 0.968834, 1e-6);
    assert_near(c.hi90, 0.985975, 1e-6);
    assert_near(c.u, 4, 1e-12);
    assert_near(c.a12, 0.0625, 1e-12);
    assert_near(c.delta, -0.875, 1e-12);
    assert_near(c.shift, -0.235, 1e-6);
    jl_judge(&c, JL_MARGIN);
    assert_true(c.verdict == JL_DIFFERENT && !c.small);
    jl_judge(&c, 0.04); /* 1/1.04 is below the interval */
    assert_true(c.verdict == JL_DIFFERENT && c.small);
}

static void equal_within_the_margin(void **state)
{
    (void)state;
    static const double d[] = {.012, -.004, .009, .015, -.002, .011};
    double a[6], b[6];
    struct jl_comparison c;
    assert_near(jl_sign_flip_p(d, 6, 0, NULL), 8.0 / 64, 1e-15);
    for (size_t i = 0; i < 6; i++) {
        a[i] = 3;
        b[i] = 3 * exp(d[i]);
    }
    assert_true(jl_compare_paired(a, b, 6, 0, 0, &c));
    assert_near(log(c.ratio), 0.006833, 1e-6);
    assert_near(log(c.hi95 / c.ratio), 0.008274, 1e-6);
    assert_near(log(c.hi90 / c.ratio), 0.006486, 1e-6);
    jl_judge(&c, JL_MARGIN);
    assert_int_equal(c.verdict, JL_EQUAL);
    jl_judge(&c, 0.01);
    assert_int_equal(c.verdict, JL_UNDECIDED);
    assert_near(c.not_beyond, exp(0.006833 + 0.008274) - 1, 1e-5);
}

static void too_few_to_tell(void **state)
{
    (void)state;
    struct jl_comparison c;
    assert_near(jl_sign_flip_p((const double[]){1, 1, 1, 1, 1}, 5, 0, NULL), 2.0 / 32, 1e-15);
    assert_true(isnan(jl_sign_flip_p(NULL, 0, 0, NULL)));
    assert_true(jl_compare_paired(A, B, 1, 0, 0, &c));
    assert_true(c.lo95 == 0 && isinf(c.hi95));
    jl_judge(&c, JL_MARGIN);
    assert_true(c.verdict == JL_UNDECIDED && isnan(c.not_beyond));
    assert_false(jl_compare_paired(A, (const double[]){1, 0}, 2, 0, 0, &c)); /* no logarithm of 0 */
    assert_false(jl_compare_paired(A, B, 0, 0, 0, &c));
    assert_false(jl_compare_strata(NULL, 0, 0, 0, &c));
}

/* What repeating does not shrink keeps a verdict from being surer than the sensor. */
static void a_common_uncertainty_widens(void **state)
{
    (void)state;
    struct jl_comparison c;
    assert_true(jl_compare_paired(A, B, 8, 0.02, 1, &c));
    double t = log(0.988123 / 0.977367);
    assert_near(log(c.hi95 / c.ratio), hypot(t, 0.04), 1e-5);
    jl_judge(&c, JL_MARGIN);
    assert_int_equal(c.verdict, JL_UNDECIDED);
}

/* Neither unit nor side matters; the order of pairs does not either. */
static void invariances(void **state)
{
    (void)state;
    double a[8], b[8];
    struct jl_comparison c, d;
    jl_compare_paired(A, B, 8, 0, 1, &c);
    for (size_t i = 0; i < 8; i++) {
        a[i] = 3600 * A[7 - i];
        b[i] = 3600 * B[7 - i];
    }
    jl_compare_paired(a, b, 8, 0, 1, &d);
    assert_near(d.p, c.p, 0);
    assert_near(d.ratio, c.ratio, 1e-12);
    assert_near(d.lo95, c.lo95, 1e-12);
    assert_near(d.shift, 3600 * c.shift, 1e-6);
    jl_compare_paired(b, a, 8, 0, 1, &d);
    assert_near(d.p, c.p, 0);
    assert_near(1 / d.ratio, c.ratio, 1e-12);
    assert_near(1 / d.hi95, c.lo95, 1e-12);
    assert_near(d.delta, -c.delta, 1e-12);
    assert_near(d.shift, -3600 * c.shift, 1e-6);
}

static void many_pairs_are_drawn(void **state)
{
    (void)state;
    double d[100];
    bool exact;
    for (size_t i = 0; i < 100; i++)
        d[i] = i % 2 ? 1 : -1;
    double p = jl_sign_flip_p(d, 100, 3, &exact);
    assert_false(exact);
    assert_near(p, 1, 1e-12); /* the observed sum is 0: no pattern has less */
    assert_near(p, jl_sign_flip_p(d, 100, 3, NULL), 0);
    for (size_t i = 0; i < 100; i++)
        d[i] = 1;
    assert_near(jl_sign_flip_p(d, 100, 3, NULL), 1.0 / 10001, 1e-12); /* never 0 */
    for (size_t i = 0; i < 17; i++)
        d[i] = i < 13 ? 1 : -1; /* sum 9: binomial tail of at most 4 or at least 13 heads in 17 */
    assert_near(jl_sign_flip_p(d, 17, 3, NULL), 2 * 3214.0 / 131072, 4 * sqrt(.049 * .951 / 10000));
}

/* ---- Mann-Whitney ------------------------------------------------------------------------------------------------------- */

static double p_of(const double *a, size_t na, const double *b, size_t nb, bool *exact)
{
    double x[64], y[64];
    memcpy(x, a, na * sizeof *x);
    memcpy(y, b, nb * sizeof *y);
    struct jl_stratum s = {x, y, na, nb};
    return jl_mann_whitney_p(&s, 1, 0, exact);
}

/* By trying every way to share out the values. */
static double p_by_counting(const double *all, size_t n, size_t nb, unsigned mine)
{
    double ranks[12], want = 0, hits = 0, ways = 0, middle = (double)nb * ((double)n + 1) / 2;
    for (size_t i = 0; i < n; i++) {
        double less = 0, same = 0;
        for (size_t k = 0; k < n; k++) {
            less += all[k] < all[i];
            same += all[k] == all[i];
        }
        ranks[i] = less + (same + 1) / 2;
        want += mine >> i & 1 ? ranks[i] : 0;
    }
    for (unsigned m = 0; m < 1u << n; m++) {
        double sum = 0;
        size_t bits = 0;
        for (size_t i = 0; i < n; i++) {
            bits += m >> i & 1;
            sum += m >> i & 1 ? ranks[i] : 0;
        }
        if (bits != nb)
            continue;
        ways++;
        hits += fabs(sum - middle) >= fabs(want - middle) - 1e-9;
    }
    return hits / ways;
}

static void exact_ranks(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 11};
    bool exact;
    assert_near(p_of((const double[]){1, 2, 3}, 3, (const double[]){4, 5, 6}, 3, &exact), 0.1, 1e-12);
    assert_true(exact);
    assert_near(p_of(A, 8, B, 8, NULL), 0.00186480, 1e-7); /* U 4 of 64 */
    for (int round = 0; round < 40; round++) {
        size_t na = 1 + jl_rng_below(&g, 5), nb = 1 + jl_rng_below(&g, 5);
        double all[12] = {0}, a[12], b[12];
        for (size_t i = 0; i < na + nb; i++)
            all[i] = (double)jl_rng_below(&g, round % 2 ? 4 : 1000); /* every second round with many ties */
        memcpy(a, all, na * sizeof *a);
        memcpy(b, all + na, nb * sizeof *b);
        unsigned mine = ((1u << nb) - 1) << na;
        assert_near(p_of(a, na, b, nb, NULL), p_by_counting(all, na + nb, nb, mine), 1e-12);
    }
    assert_true(isnan(p_of(A, 8, B, 0, NULL)));
}

static void many_values_are_normal(void **state)
{
    (void)state;
    double a[60], b[60];
    bool exact;
    for (size_t i = 0; i < 30; i++) {
        a[i] = (double)i;
        b[i] = (double)i + 0.5;
    }
    struct jl_stratum s = {a, b, 30, 30};
    double p = jl_mann_whitney_p(&s, 1, 0, &exact);
    assert_false(exact);
    /* U = 465, mean 450, var = 900 * 61/12: |z| = 14.5/67.639 */
    assert_near(p, 0.830255, 1e-6);
    for (size_t i = 0; i < 30; i++)
        a[i] = b[i] = 1;
    assert_near(jl_mann_whitney_p(&s, 1, 0, NULL), 1, 1e-12); /* nothing but ties */
}

/* Prompts of very different size: a difference of 5 % that whole ranks cannot see. */
static void strata_are_compared_within(void **state)
{
    (void)state;
    double a[8][2], b[8][2], x[16], y[16];
    struct jl_stratum s[8], mixed = {x, y, 16, 16};
    struct jl_comparison c;
    for (size_t i = 0; i < 8; i++) {
        double size = pow(3, (double)i);
        for (size_t k = 0; k < 2; k++) {
            x[2 * i + k] = a[i][k] = size * (1 + 0.01 * (double)k + 0.001 * (double)i);
            y[2 * i + k] = b[i][k] = 1.05 * a[i][k];
        }
        s[i] = (struct jl_stratum){a[i], b[i], 2, 2};
    }
    assert_true(jl_mann_whitney_p(&mixed, 1, 0, NULL) > 0.5);
    assert_true(jl_compare_strata(s, 8, 0, 7, &c));
    assert_true(c.p < 0.001 && c.pairs == 0 && c.strata == 8);
    assert_near(c.ratio, 1.05, 1e-9);
    assert_near(c.delta, 1, 1e-12);
    jl_judge(&c, JL_MARGIN);
    assert_int_equal(c.verdict, JL_DIFFERENT);
}

static void welch(void **state)
{
    (void)state;
    double a[] = {1, 1.1, 0.9, 1.05}, b[] = {1.3, 1.5, 1.1, 1.2, 1.4};
    struct jl_stratum s = {a, b, 4, 5};
    struct jl_comparison c;
    assert_true(jl_compare_strata(&s, 1, 0, 0, &c));
    assert_near(c.ratio, 1.279797, 1e-6);
    assert_near(c.lo95, 1.085055, 1e-5);
    assert_near(c.hi95, 1.509491, 1e-5);
    assert_near(c.shift, 0.3, 1e-9);
    assert_int_equal(c.n_b, 5);
}

/* Hodges-Lehmann and U against all differences. */
static void effects_by_counting(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 23};
    for (int round = 0; round < 30; round++) {
        double a[2][6], b[2][6], d[72];
        size_t n = 0;
        double u = 0, of;
        struct jl_stratum s[2];
        for (size_t k = 0; k < 2; k++) {
            s[k] = (struct jl_stratum){a[k], b[k], 1 + jl_rng_below(&g, 6), 1 + jl_rng_below(&g, 6)};
            for (size_t i = 0; i < 6; i++) {
                a[k][i] = (double)jl_rng_below(&g, 8) / 4;
                b[k][i] = (double)jl_rng_below(&g, 8) / 4;
            }
            for (size_t i = 0; i < s[k].na; i++)
                for (size_t j = 0; j < s[k].nb; j++) {
                    d[n++] = b[k][j] - a[k][i];
                    u += b[k][j] > a[k][i] ? 1 : b[k][j] == a[k][i] ? 0.5 : 0;
                }
        }
        jl_strata_sort(s, 2);
        assert_near(jl_dominance(s, 2, &of), u, 1e-12);
        assert_near(of, (double)n, 0);
        assert_near(jl_shift(s, 2), jl_median(d, n), 1e-12);
    }
}

/* A long series of equal values is compared at once, and its shift is exactly 0. */
static void no_difference_at_all(void **state)
{
    (void)state;
    enum { N = 20000 };
    double *a = calloc(2 * N, sizeof *a), *b = a + N;
    struct jl_comparison c;
    assert_non_null(a);
    for (size_t i = 0; i < N; i++)
        a[i] = b[i] = 12.25 + (double)(i % 7);
    struct jl_stratum s = {a, b, N, N};
    assert_true(jl_compare_strata(&s, 1, 0, 1, &c));
    assert_true(c.shift == 0 && c.delta == 0 && c.ratio == 1);
    assert_near(c.p, 1, 1e-9);
    jl_judge(&c, JL_MARGIN);
    assert_int_equal(c.verdict, JL_EQUAL);
    free(a);
}

static void holm(void **state)
{
    (void)state;
    static const double p[] = {.01, .04, .03, .005}, want[] = {.03, .06, .06, .02};
    double adjusted[4];
    assert_true(jl_holm(p, 4, adjusted));
    for (size_t i = 0; i < 4; i++)
        assert_near(adjusted[i], want[i], 1e-12);
    static const double gap[] = {.4, NAN, .8};
    assert_true(jl_holm(gap, 3, adjusted));
    assert_near(adjusted[0], .8, 1e-12);
    assert_true(isnan(adjusted[1]));
    assert_near(adjusted[2], .8, 1e-12);
    assert_true(jl_holm(NULL, 0, adjusted));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(pairs),
        cmocka_unit_test(equal_within_the_margin),
        cmocka_unit_test(too_few_to_tell),
        cmocka_unit_test(a_common_uncertainty_widens),
        cmocka_unit_test(invariances),
        cmocka_unit_test(many_pairs_are_drawn),
        cmocka_unit_test(exact_ranks),
        cmocka_unit_test(many_values_are_normal),
        cmocka_unit_test(strata_are_compared_within),
        cmocka_unit_test(welch),
        cmocka_unit_test(effects_by_counting),
        cmocka_unit_test(no_difference_at_all),
        cmocka_unit_test(holm),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
