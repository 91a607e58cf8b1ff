/* The segmented phase fit against hand-checked numbers, and its behaviour where readings resolve little. */
#include "lib/meter/estimators.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>

struct step {
    double w, from, to;
};

static double overlap(double a, double b, double c, double d)
{
    return fmax(0, fmin(b, d) - fmax(a, c));
}

/* Readings at .12, .22, ... of piecewise constant power. */
static size_t readings(struct jl_reading *r, size_t n, double W, double U, const struct step *s, size_t n_steps)
{
    for (size_t k = 0; k < n; k++) {
        double t = .02 + U * (double)(k + 1), y = 0;
        for (size_t i = 0; i < n_steps; i++)
            y += s[i].w * overlap(t - W, t, s[i].from, s[i].to) / W;
        r[k] = (struct jl_reading){.t = t, .y_w = y};
    }
    return n;
}

static double total_u(const struct jl_fitted *f, double u_r, double P, double before, double after)
{
    double rise = u_r * fmax(fabs(P - before), fabs(P - after));
    return sqrt(f->u_b * f->u_b + f->u_lag * f->u_lag + rise * rise);
}

static void test_contiguous_windows(void **state)
{
    (void)state;
    static const struct step s[] = {{60, -9, .15}, {420, .15, .35}, {240, .35, .75}, {60, .75, 99}};
    static const double bd[] = {.15, .35, .75};
    struct jl_reading r[40];
    struct jl_params p = {.U = .1, .W = .1};
    struct jl_fitted f;
    readings(r, 40, .1, .1, s, JL_COUNT(s));
    assert_near(r[1].y_w, 312, 1e-9);
    assert_near(r[7].y_w, 114, 1e-9);
    struct jl_fit *fit = jl_fit_open(r, 40, bd, 2, &p);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &f);
    assert_near(f.e_j, 84, 1e-5);
    assert_near(f.u_b, .3399, 1e-3);
    assert_false(f.unresolved);
    jl_fit_phases(fit, 1, 1, &f);
    assert_near(f.e_j, 96, 1e-5);
    assert_near(f.u_b, .4468, 1e-3);
    jl_fit_phases(fit, 0, 1, &f);
    assert_near(f.e_j, 180, 1e-5);
    assert_near(jl_fit_before_w(fit), 60, 1e-5);
    assert_near(jl_fit_after_w(fit), 60, 1e-5);
    jl_fit_close(fit);
}

static void test_two_segments(void **state)
{
    (void)state;
    static const struct step s[] = {{60, -9, .15}, {420, .15, .35}, {240, .35, .95}, {200, .95, 1.55}, {60, 1.55, 99}};
    static const double bd[] = {.15, .35, 1.55};
    struct jl_reading r[60];
    struct jl_params p = {.U = .1, .W = .1, .u_t = 3e-3, .u_r = 3e-3};
    struct jl_fitted pre, dec;
    readings(r, 60, .1, .1, s, JL_COUNT(s));
    assert_near(r[9].y_w, 212, 1e-9);
    assert_near(r[15].y_w, 102, 1e-9);
    struct jl_fit *fit = jl_fit_open(r, 60, bd, 2, &p);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &pre);
    jl_fit_phases(fit, 1, 1, &dec);
    double P1 = pre.e_j / .2, P2 = dec.e_j / 1.2;
    assert_near(pre.e_j, 84.0020, 1e-3);
    assert_near(total_u(&pre, 3e-3, P1, jl_fit_before_w(fit), P2), 1.3375, 1e-3);
    assert_near(dec.e_j, 263.9999, 1e-3);
    assert_near(total_u(&dec, 3e-3, P2, P1, jl_fit_after_w(fit)), 1.1830, 1e-3);
    jl_fit_close(fit);
}

/* Overlapping windows of 1 s: steps of 100 ms inside are found again. */
static void test_long_windows(void **state)
{
    (void)state;
    static const struct step s[] = {{60, -9, .5}, {420, .5, .9}, {240, .9, 3.4}, {60, 3.4, 99}};
    static const double bd[] = {.5, .9, 3.4};
    struct jl_reading r[80];
    struct jl_params p = {.U = .1, .W = 1};
    struct jl_fitted f;
    readings(r, 80, 1, .1, s, JL_COUNT(s));
    struct jl_fit *fit = jl_fit_open(r, 80, bd, 2, &p);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &f);
    assert_near(f.e_j, 168, 1);
    assert_true(fabs(f.e_j - 168) <= 2 * f.u_b);
    jl_fit_phases(fit, 1, 1, &f);
    assert_near(f.e_j, 600, 1);
    jl_fit_close(fit);
}

/* A part-time sensor whose lag is 15 ms shorter than told: the windows at the edges show it. */
static void test_lag_of_part_time_windows(void **state)
{
    (void)state;
    static const struct step s[] = {{60, -9, .51}, {420, .51, .91}, {240, .91, 3.41}, {60, 3.41, 99}};
    static const double bd[] = {.51, .91, 3.41};
    struct jl_reading r[80];
    struct jl_params told = {.U = .1, .W = .025, .lag = .015, .u_t = 14e-3}, trusted = told;
    struct jl_fitted f;
    trusted.u_t = 3e-3;
    readings(r, 80, .025, .1, s, JL_COUNT(s));
    struct jl_fit *fit = jl_fit_open(r, 80, bd, 2, &told);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &f);
    assert_near(f.e_j, 168, 1.5);
    assert_true(fabs(f.e_j - 168) <= 2 * hypot(f.u_b, f.u_lag));
    jl_fit_phases(fit, 1, 1, &f);
    assert_near(f.e_j, 600, 1.5);
    jl_fit_close(fit);
    fit = jl_fit_open(r, 80, bd, 2, &trusted);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &f);
    assert_true(fabs(f.e_j - 168) > 3); /* a lag that is known stands */
    jl_fit_close(fit);
}

static void test_unresolved(void **state)
{
    (void)state;
    static const struct step s[] = {{60, -9, .13}, {420, .13, .15}, {240, .15, 2}, {60, 2, 99}};
    static const double bd[] = {.13, .15, 2};
    struct jl_reading r[60];
    struct jl_params p = {.U = .1, .W = .025};
    struct jl_fitted f;
    readings(r, 60, .025, .1, s, JL_COUNT(s));
    struct jl_fit *fit = jl_fit_open(r, 60, bd, 2, &p);
    assert_non_null(fit);
    jl_fit_phases(fit, 0, 0, &f); /* 20 ms between two windows of 25 ms: nobody saw it */
    assert_true(f.unresolved);
    jl_fit_phases(fit, 1, 1, &f);
    assert_false(f.unresolved);
    jl_fit_phases(fit, 0, 1, &f);
    assert_false(f.unresolved);
    jl_fit_close(fit);
}

/* An hour has thousands of segments; the system stays banded, and the sum stays right. */
static void test_an_hour(void **state)
{
    (void)state;
    enum { N = 36100 };
    static const struct step s[] = {{60, -9, 1.003}, {420, 1.003, 1.5}, {240, 1.5, 3600}, {60, 3600, 9999}};
    static const double bd[] = {1.003, 1.5, 3600};
    struct jl_params p = {.U = .1, .W = .05};
    struct jl_reading *r = calloc(N, sizeof(*r));
    struct jl_fitted f;
    assert_non_null(r);
    readings(r, N, .05, .1, s, JL_COUNT(s));
    struct jl_fit *fit = jl_fit_open(r, N, bd, 2, &p);
    assert_non_null(fit);
    jl_fit_phases(fit, 1, 1, &f);
    assert_near(f.e_j / (240 * 3598.5), 1, 1e-4);
    jl_fit_close(fit);
    free(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_contiguous_windows),       cmocka_unit_test(test_two_segments), cmocka_unit_test(test_long_windows),
        cmocka_unit_test(test_lag_of_part_time_windows), cmocka_unit_test(test_unresolved),   cmocka_unit_test(test_an_hour),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
