/* Means, quantiles, Student's t, least squares. */
#include "lib/base/base.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"

#include <math.h>

static void test_moments(void **state)
{
    (void)state;
    static const double x[] = {12.02, 11.97, 12.05, 11.99, 12.03, 11.95, 12.01, 12.04, 11.98};
    double copy[9];
    for (size_t i = 0; i < 9; i++)
        copy[i] = x[i];
    assert_near(jl_mean(x, 9), 12.004444, 1e-6);
    assert_near(jl_sd(x, 9), 0.033953, 1e-6);
    assert_near(jl_sd(x, 9) / 3 * jl_t975(8), 0.026098, 1e-6);
    assert_near(jl_median(copy, 9), 12.01, 1e-12);
    assert_true(isnan(jl_mean(x, 0)) && isnan(jl_sd(x, 1)) && isnan(jl_quantile(x, 0, .5)));
    assert_near(jl_sd_population(x, 1), 0, 0);
    static const double flat[] = {5, 5, 5};
    assert_near(jl_autocorrelation(flat, 3), 0, 0);
}

static void test_quantiles(void **state)
{
    (void)state;
    static const double x[] = {1, 2, 4, 8};
    static const struct {
        double p, want;
    } rows[] = {{0, 1}, {1, 8}, {.5, 3}, {.25, 1.75}, {.9, 6.8}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_near(jl_quantile(x, 4, rows[i].p), rows[i].want, 1e-12);
}

static void test_weighted_quantiles(void **state)
{
    (void)state;
    struct jl_weighted x[] = {{50, 1}, {300, .2}, {240, 1.5}, {245, 2}, {60, 1}};
    assert_near(jl_weighted_quantile(x, 5, .5), 240, 0);
    assert_near(jl_weighted_quantile(x, 5, .95), 245, 0);
    assert_near(jl_weighted_quantile(x, 5, 1), 300, 0);
    assert_true(isnan(jl_weighted_quantile(x, 0, .5)));
}

static void test_student(void **state)
{
    (void)state;
    static const struct {
        double df, t975, t95;
    } rows[] = {{1, 12.7062, 6.31375},
                {2, 4.30265, 2.91999},
                {9, 2.26216, 1.83311},
                {29, 2.04523, 1.69913},
                {INFINITY, 1.95996, 1.64485}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_near(jl_t975(rows[i].df), rows[i].t975, 1e-9);
        assert_near(jl_t95(rows[i].df), rows[i].t95, 1e-9);
    }
    assert_near(jl_t975(120), (2.00030 + 1.95996) / 2, 1e-9); /* halfway in 1/df */
    assert_near(jl_t975(16), 2.1199, 1e-3);                   /* between two rows */
    assert_true(isnan(jl_t975(0.5)));
}

/* ---- least squares ---------------------------------------------------------------------------------------------------- */

static void test_regression(void **state)
{
    (void)state;
    static const double in[] = {64, 512, 2048, 8192}, out[] = {1, 64, 256}, want[] = {3, .05, 4e-7, 2.4, 1.2e-5};
    static const double E[] = {8.602406,   159.874982, 621.189926, 31.111002,  182.722266, 645.069402,
                               109.502298, 262.274778, 728.160858, 441.941850, 599.359194, 1079.401050};
    static const double scale[] = {1, 8192, 8192.0 * 8192, 256, 256.0 * 8320};
    struct jl_lsq s;
    double x[5];
    assert_true(jl_lsq_init(&s, 5, 4));
    for (size_t k = 0; k < 12; k++) {
        double i = in[k / 3], o = out[k % 3], w = 1 / (.02 * E[k]);
        double row[] = {1, i, i * i, o, o * (i + (o - 1) / 2)};
        for (size_t c = 0; c < 5; c++)
            row[c] *= w / scale[c];
        assert_true(jl_lsq_add(&s, 0, row, 5, w * E[k]));
    }
    jl_lsq_solve(&s, x);
    for (size_t c = 0; c < 5; c++)
        assert_near(x[c] / scale[c] / want[c], 1, 1e-5);
    jl_lsq_release(&s);
}

static void test_variance(void **state)
{
    (void)state;
    static const double X[][3] = {{.030, .055, .015}, {.050, .038, .012}, {.022, .070, .008}, {.028, .040, .032}};
    static const double y[] = {20.00, 19.24, 21.56, 16.84}, want[] = {185.766138, 243.660005, 60.110761};
    static const double se[] = {4.782666, 2.902340, 6.806063};
    struct jl_lsq s;
    double x[3], rest = 0;
    assert_true(jl_lsq_init(&s, 3, 2));
    for (size_t k = 0; k < 4; k++)
        assert_true(jl_lsq_add(&s, 0, X[k], 3, y[k]));
    jl_lsq_solve(&s, x);
    for (size_t k = 0; k < 4; k++)
        rest += pow(y[k] - X[k][0] * x[0] - X[k][1] * x[1] - X[k][2] * x[2], 2);
    for (size_t c = 0; c < 3; c++) {
        double d[3] = {0};
        d[c] = 1;
        assert_near(x[c], want[c], 1e-6);
        assert_near(sqrt(jl_lsq_variance(&s, d) * rest), se[c], 1e-5);
    }
    jl_lsq_release(&s);
}

/* Equations that leave a direction open get the solution of least norm, and no variance from what they do not say. */
static void test_minimum_norm(void **state)
{
    (void)state;
    struct jl_lsq s;
    double x[4];
    assert_true(jl_lsq_init(&s, 4, 1));
    assert_true(jl_lsq_add(&s, 0, (const double[]){1, 2}, 2, 10)); /* x0 + 2 x1 = 10: nearest the origin (2, 4) */
    assert_true(jl_lsq_add(&s, 3, (const double[]){2}, 1, 6));
    jl_lsq_solve(&s, x);
    static const double want[] = {2, 4, 0, 3};
    for (size_t i = 0; i < 4; i++)
        assert_near(x[i], want[i], 1e-6);
    assert_near(jl_lsq_variance(&s, (const double[]){1, 2, 0, 0}), 1, 1e-6); /* along the equation: norm 5 x 1/5 */
    assert_near(jl_lsq_variance(&s, (const double[]){0, 0, 1, 0}), 0, 1e-12);
    assert_near(jl_lsq_variance(&s, (const double[]){0, 0, 0, 1}), .25, 1e-6);
    jl_lsq_release(&s);
}

/* A direction that the equations determine only weakly is still theirs. */
static void test_weak_direction(void **state)
{
    (void)state;
    struct jl_lsq s;
    double x[2];
    assert_true(jl_lsq_init(&s, 2, 1));
    assert_true(jl_lsq_add(&s, 0, (const double[]){1, 1}, 2, 3));
    assert_true(jl_lsq_add(&s, 0, (const double[]){1e-4, -1e-4}, 2, 1e-4));
    jl_lsq_solve(&s, x);
    assert_near(x[0], 2, 1e-6);
    assert_near(x[1], 1, 1e-6);
    jl_lsq_release(&s);
}

static void test_refuses_what_does_not_fit(void **state)
{
    (void)state;
    struct jl_lsq s;
    const double a[] = {1, 1, 1};
    assert_false(jl_lsq_init(&s, 0, 0));
    assert_true(jl_lsq_init(&s, 4, 1));
    assert_false(jl_lsq_add(&s, 0, a, 3, 1)); /* wider than the band */
    assert_false(jl_lsq_add(&s, 3, a, 2, 1)); /* beyond the last unknown */
    double x[4];
    jl_lsq_solve(&s, x); /* no equation at all */
    for (size_t i = 0; i < 4; i++)
        assert_near(x[i], 0, 0);
    jl_lsq_release(&s);
}

/* A banded system and the same one written as dense have one solution. */
static void test_band_equals_dense(void **state)
{
    (void)state;
    enum { N = 40 };
    struct jl_rng g = {.s = 7};
    struct jl_lsq band, dense;
    double x[N], z[N];
    assert_true(jl_lsq_init(&band, N, 2) && jl_lsq_init(&dense, N, N - 1));
    for (size_t k = 0; k < 4 * N; k++) {
        size_t first = (size_t)jl_rng_below(&g, N - 2);
        double row[N] = {0}, y = 100 * jl_rng_uniform(&g);
        for (size_t i = 0; i < 3; i++)
            row[first + i] = jl_rng_uniform(&g);
        assert_true(jl_lsq_add(&band, first, row + first, 3, y) && jl_lsq_add(&dense, 0, row, N, y));
    }
    jl_lsq_solve(&band, x);
    jl_lsq_solve(&dense, z);
    for (size_t i = 0; i < N; i++)
        assert_near(x[i], z[i], 1e-9);
    jl_lsq_release(&band);
    jl_lsq_release(&dense);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_moments),
        cmocka_unit_test(test_quantiles),
        cmocka_unit_test(test_weighted_quantiles),
        cmocka_unit_test(test_student),
        cmocka_unit_test(test_regression),
        cmocka_unit_test(test_variance),
        cmocka_unit_test(test_minimum_norm),
        cmocka_unit_test(test_weak_direction),
        cmocka_unit_test(test_refuses_what_does_not_fit),
        cmocka_unit_test(test_band_equals_dense),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
