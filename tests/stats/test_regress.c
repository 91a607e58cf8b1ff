/* Small regressions and the token model (docs/method.md 6.2, 6.3, 7.5). */
#include "lib/stats/regress.h"
#include "lib/stats/tokens.h"
#include "tests/base/test.h"
#include "tests/stats/draw.h"

#include <math.h>
#include <string.h>

static const double windows[][3] = {{.030, .055, .015}, {.050, .038, .012}, {.022, .070, .008}, {.028, .040, .032}};

static void add_windows(struct jl_equations *e, const double *y)
{
    jl_equations_init(e, 3);
    for (size_t i = 0; i < 4; i++)
        jl_equations_add(e, windows[i], y[i], 1);
}

static void components(void **state)
{
    (void)state;
    static const double want[] = {185.766138, 243.660005, 60.110761}, se[] = {4.782666, 2.902340, 6.806063};
    static const double y0[] = {190, 240, 60};
    struct jl_equations e;
    struct jl_regression r;
    add_windows(&e, (const double[]){19.80, 19.34, 21.46, 16.84});
    jl_non_negative(&e, &r);
    assert_near(r.condition, 4.5379, 1e-4);
    for (size_t i = 0; i < 3; i++)
        assert_near(r.x[i], y0[i], 1e-6);
    add_windows(&e, (const double[]){20.00, 19.24, 21.56, 16.84});
    jl_non_negative(&e, &r);
    for (size_t i = 0; i < 3; i++) {
        double d[3] = {0};
        d[i] = 1;
        assert_near(r.x[i], want[i], 1e-6);
        assert_near(sqrt(jl_regression_variance(&r, d) * r.rss), se[i], 1e-5); /* one degree of freedom */
        assert_true(r.active[i]);
    }
}

/* A coefficient that would be negative is 0, and the others are the best there is. */
static void not_below_0(void **state)
{
    (void)state;
    struct jl_equations e;
    struct jl_regression free_, r;
    jl_equations_init(&e, 2);
    jl_equations_add(&e, (const double[]){1, 0}, 4, 1);
    jl_equations_add(&e, (const double[]){1, 1}, 3, 1);
    jl_equations_add(&e, (const double[]){1, 2}, 2, 1);
    assert_true(jl_least_squares(&e, &free_));
    assert_near(free_.x[1], -1, 1e-9);
    jl_non_negative(&e, &r);
    assert_near(r.x[0], 3, 1e-9);
    assert_true(r.x[1] == 0 && !r.active[1]);
    assert_near(r.rss, 2, 1e-9);
    jl_equations_init(&e, 1);
    jl_equations_add(&e, (const double[]){1}, -5, 1);
    jl_non_negative(&e, &r); /* nothing feasible but nothing */
    assert_true(r.x[0] == 0);
    assert_near(r.rss, 25, 1e-9);
}

static void older_equations_count_less(void **state)
{
    (void)state;
    struct jl_equations e;
    struct jl_regression r;
    jl_equations_init(&e, 1);
    jl_equations_add(&e, (const double[]){1}, 1, 1);
    jl_equations_scale(&e, 0.5);
    jl_equations_add(&e, (const double[]){1}, 4, 1);
    jl_equations_add(&e, (const double[]){1}, 1000, 0);   /* no weight */
    jl_equations_add(&e, (const double[]){1}, 1000, NAN); /* nor that */
    assert_true(jl_least_squares(&e, &r));
    assert_near(r.x[0], 3, 1e-12);
    assert_near(e.rows, 1.5, 1e-12);
}

static void dependent_columns(void **state)
{
    (void)state;
    struct jl_equations e;
    struct jl_regression r;
    jl_equations_init(&e, 2);
    for (double t = 1; t < 5; t++)
        jl_equations_add(&e, (const double[]){t, 2 * t}, 3 * t, 1);
    assert_false(jl_least_squares(&e, &r));
    assert_true(isnan(r.x[0]) && isinf(r.condition));
    jl_non_negative(&e, &r); /* one of the two alone says as much */
    assert_near(r.x[0] + 2 * r.x[1], 3, 1e-9);
    jl_equations_init(&e, 2);
    jl_equations_add(&e, (const double[]){1, 0}, 1, 1);
    assert_true(isinf(jl_condition(&e)));
    assert_false(jl_least_squares(&e, &r));
}

/* A perfect fit by eight unknowns, and one that is surely positive, against the truth. */
static void eight_unknowns(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 9};
    struct jl_equations e;
    struct jl_regression r;
    double truth[8], a[8];
    for (size_t i = 0; i < 8; i++)
        truth[i] = i % 3 ? (double)(i + 1) * pow(10, (double)i - 4) : 0;
    jl_equations_init(&e, 8);
    for (int k = 0; k < 40; k++) {
        double y = 0;
        for (size_t i = 0; i < 8; i++) {
            a[i] = jl_rng_uniform(&g) * pow(10, 4 - (double)i);
            y += a[i] * truth[i];
        }
        jl_equations_add(&e, a, y, 1 / (1 + y));
    }
    jl_non_negative(&e, &r);
    for (size_t i = 0; i < 8; i++)
        assert_near(r.x[i] * pow(10, 4 - (double)i), truth[i] * pow(10, 4 - (double)i), 1e-6);
}

/* ---- token model ---------------------------------------------------------------------------------------------------------- */

static const struct jl_token_run grid[] = {{64, 1, 8.602406, 0},     {64, 64, 159.874982, 0},   {64, 256, 621.189926, 0},
                                           {512, 1, 31.111002, 0},   {512, 64, 182.722266, 0},  {512, 256, 645.069402, 0},
                                           {2048, 1, 109.502298, 0}, {2048, 64, 262.274778, 0}, {2048, 256, 728.160858, 0},
                                           {8192, 1, 441.941850, 0}, {8192, 64, 599.359194, 0}, {8192, 256, 1079.401050, 0}};
static const double truth[] = {3, .05, 4e-7, 2.4, 1.2e-5};

static void coefficients(void **state)
{
    (void)state;
    static const double out[] = {16, 64, 128, 256}, cross[] = {766.2739, 3045.0763, 6039.6686, 11894.7645};
    struct jl_token_model m;
    bool inside;
    assert_int_equal(jl_token_fit(grid, 12, &m), JL_TOKENS_OK);
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        assert_near(m.e[i] / truth[i], 1, 1e-5);
    assert_true(m.condition < JL_TOKEN_CONDITION_MAX);
    memcpy(m.e, truth, sizeof truth);
    for (size_t i = 0; i < JL_COUNT(out); i++) {
        assert_near(jl_token_crossover(&m, out[i], &inside).value, cross[i], 1e-3);
        assert_true(inside);
    }
    jl_token_crossover(&m, 1000, &inside);
    assert_false(inside);
    jl_token_crossover(&m, 0.5, &inside);
    assert_false(inside);
    m.e[JL_E_Q] = m.e[JL_E_X] = 0;
    assert_near(jl_token_crossover(&m, 128, &inside).value, 6144, 1e-9);
    m.e[JL_E_IN] = 0; /* a prompt that costs nothing never catches up */
    assert_true(isnan(jl_token_crossover(&m, 128, &inside).value));
    assert_false(inside);
}

/* Prefill, decode and what a request costs anyway are its whole energy. */
static void parts_make_the_whole(void **state)
{
    (void)state;
    struct jl_token_model m;
    assert_int_equal(jl_token_fit(grid, 12, &m), JL_TOKENS_OK);
    for (size_t i = 0; i < JL_COUNT(grid); i++) {
        double in = grid[i].t_in, out = grid[i].t_out;
        double sum = m.e[JL_E_0] + jl_token_prefill(&m, in).value + jl_token_decode(&m, in, out).value;
        assert_near(sum / jl_token_energy(&m, in, out).value, 1, 1e-12);
        assert_near(sum, grid[i].energy_j, 1e-4);
    }
    assert_near(jl_token_prefill(&m, 1000).value, 50 + .4, 1e-4);
    assert_near(jl_token_decode(&m, 1000, 11).value, 26.4 + 1.2e-5 * 11 * 1005, 1e-4);
}

static void designs_that_cannot_separate(void **state)
{
    (void)state;
    struct jl_token_run one_factor[12], chat[40];
    struct jl_token_model m;
    struct jl_rng g = {.s = 3};
    double in[] = {64, 512, 2048, 8192}, out[] = {16, 64, 128, 256};
    for (size_t i = 0; i < 12; i++) /* lengths varied one at a time */
        one_factor[i] = (struct jl_token_run){i % 8 < 4 ? in[i % 4] : 512, i % 8 < 4 ? 64 : out[i % 4], 100, 0};
    for (size_t i = 0; i < 40; i++) { /* a prompt grows with the answers before it */
        double t = 20 + 15 * (double)i;
        chat[i] = (struct jl_token_run){t, 40 + 0.02 * t + 5 * jl_rng_uniform(&g), 100, 0};
    }
    for (size_t i = 0; i < 40; i++)
        chat[i].energy_j = 3 + .05 * chat[i].t_in + 2.4 * chat[i].t_out;
    for (size_t i = 0; i < 12; i++)
        one_factor[i].energy_j = 3 + .05 * one_factor[i].t_in + 2.4 * one_factor[i].t_out;
    assert_int_equal(jl_token_fit(grid, 5, &m), JL_TOKENS_FEW);
    assert_int_equal(jl_token_fit(one_factor, 12, &m), JL_TOKENS_NOT_SEPARABLE);
    print_message("one factor at a time: condition %.3g\n", m.condition);
    assert_int_equal(jl_token_fit(chat, 40, &m), JL_TOKENS_NOT_SEPARABLE);
    print_message("chat: condition %.3g\n", m.condition);
    assert_int_equal(jl_token_fit(grid, 12, &m), JL_TOKENS_OK);
    print_message("full factorial: condition %.3g\n", m.condition);
}

/* 3 x 2 levels are the least; runs without a figure take no part. */
static void the_least_design(void **state)
{
    (void)state;
    struct jl_token_run quick[14];
    struct jl_token_model m;
    static const size_t take[] = {0, 2, 3, 5, 9, 11};
    for (size_t i = 0; i < 12; i++)
        quick[i] = grid[take[i % 6]];
    quick[12] = (struct jl_token_run){100, 100, NAN, NAN};
    quick[13] = (struct jl_token_run){100, 100, -1, 0.5};
    assert_int_equal(jl_token_fit(quick, 14, &m), JL_TOKENS_OK);
    assert_int_equal(m.n, 12);
    assert_true(m.t_in_min == 64 && m.t_in_max == 8192 && m.t_out_max == 256);
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        assert_near(m.e[i] / truth[i], 1, 1e-4);
    print_message("3 x 2: condition %.3g\n", m.condition);
}

/* 60 runs at 2 % scatter: errors and coverage as the method promises, within chance. */
static void intervals_hold(void **state)
{
    (void)state;
    enum { TIMES = 400 };
    struct jl_rng g = {.s = 60};
    struct jl_token_run runs[60];
    struct jl_token_model m;
    struct jl_token_model exact = {.t_in_min = 64, .t_in_max = 8192};
    memcpy(exact.e, truth, sizeof truth);
    bool inside;
    double prefill = jl_token_prefill(&exact, 1024).value, cross = jl_token_crossover(&exact, 128, &inside).value;
    double square_p = 0, square_c = 0;
    size_t held_p = 0, held_c = 0;
    for (int t = 0; t < TIMES; t++) {
        for (size_t i = 0; i < 60; i++) {
            runs[i] = grid[i % 12];
            runs[i].energy_j *= 1 + 0.02 * draw_normal(&g);
        }
        assert_int_equal(jl_token_fit(runs, 60, &m), JL_TOKENS_OK);
        struct jl_derived p = jl_token_prefill(&m, 1024), c = jl_token_crossover(&m, 128, &inside);
        square_p += pow(p.value / prefill - 1, 2) / TIMES;
        square_c += pow(c.value / cross - 1, 2) / TIMES;
        held_p += fabs(p.value - prefill) <= 2 * p.u;
        held_c += fabs(c.value - cross) <= 2 * c.u;
    }
    print_message("rms of prefill(1024) %.2f %%, crossover %.2f %%; held %zu and %zu of %d\n", 100 * sqrt(square_p),
                  100 * sqrt(square_c), held_p, held_c, TIMES);
    assert_true(sqrt(square_p) < 0.015 && sqrt(square_c) < 0.02);
    assert_true(held_p >= TIMES * (0.95 - draw_chance(.95, TIMES, 3)));
    assert_true(held_c >= TIMES * (0.95 - draw_chance(.95, TIMES, 3)));
}

/* Runs that scatter five times as much as assumed: the intervals grow with them. */
static void scatter_widens(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 2};
    struct jl_token_run runs[60];
    struct jl_token_model m;
    size_t held = 0;
    for (int t = 0; t < 200; t++) {
        for (size_t i = 0; i < 60; i++) {
            runs[i] = grid[i % 12];
            runs[i].energy_j *= exp(0.1 * draw_normal(&g) - 0.005);
        }
        assert_int_equal(jl_token_fit(runs, 60, &m), JL_TOKENS_OK);
        struct jl_derived d = jl_token_decode(&m, 512, 64);
        held += fabs(d.value - (2.4 * 64 + 1.2e-5 * 64 * (512 + 31.5))) <= 2 * d.u;
        assert_true(m.chi2 > 8 && m.scatter > 0.05);
    }
    print_message("held %zu of 200\n", held);
    assert_true(held >= 200 * (0.93 - draw_chance(.93, 200, 3)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(components),
        cmocka_unit_test(not_below_0),
        cmocka_unit_test(older_equations_count_less),
        cmocka_unit_test(dependent_columns),
        cmocka_unit_test(eight_unknowns),
        cmocka_unit_test(coefficients),
        cmocka_unit_test(parts_make_the_whole),
        cmocka_unit_test(designs_that_cannot_separate),
        cmocka_unit_test(the_least_design),
        cmocka_unit_test(intervals_hold),
        cmocka_unit_test(scatter_widens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
