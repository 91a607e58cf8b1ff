/* What the statistics promise over many repetitions, by seeded simulation: levels of tests, coverage of intervals. Every bound
 * leaves three sigma for chance at the number of repetitions used here. */
#include "lib/stats/compare.h"
#include "lib/stats/series.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"
#include "tests/stats/draw.h"

#include <math.h>

enum { TIMES = 2000 };

static void no_more_than(const char *what, size_t hits, size_t n, double p)
{
    print_message("%s: %.1f %%\n", what, 100 * (double)hits / (double)n);
    assert_true((double)hits / (double)n <= p + draw_chance(p, n, 3));
}

static void no_less_than(const char *what, size_t hits, size_t n, double p)
{
    print_message("%s: %.1f %%\n", what, 100 * (double)hits / (double)n);
    assert_true((double)hits / (double)n >= p - draw_chance(p, n, 3));
}

/* Under no difference p is at most x in a share x of cases, for every x that 2^n patterns can show. */
static void sign_flips_are_uniform(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 1};
    size_t below[] = {0, 0, 0};
    static const double levels[] = {0.0546875, 0.25, 0.5}; /* multiples of 2/256 */
    for (int t = 0; t < TIMES; t++) {
        double d[8];
        for (size_t i = 0; i < 8; i++)
            d[i] = draw_normal(&g) * (1 + (double)i); /* unequal spreads do not matter */
        double p = jl_sign_flip_p(d, 8, 0, NULL);
        for (size_t k = 0; k < 3; k++)
            below[k] += p <= levels[k] + 1e-9;
    }
    for (size_t k = 0; k < 3; k++) {
        no_more_than("p at most its level", below[k], TIMES, levels[k]);
        no_less_than("p at most its level", below[k], TIMES, levels[k]);
    }
}

static void ranks_are_uniform(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 2};
    size_t one = 0, many = 0;
    for (int t = 0; t < TIMES; t++) {
        double a[8], b[8];
        for (size_t i = 0; i < 8; i++) {
            a[i] = draw_normal(&g);
            b[i] = draw_normal(&g);
        }
        struct jl_stratum s = {a, b, 8, 8};
        one += jl_mann_whitney_p(&s, 1, 0, NULL) <= 0.05;
    }
    no_more_than("one stratum, p <= 5 %", one, TIMES, 0.05);
    no_less_than("one stratum, p <= 5 %", one, TIMES, 0.03); /* the exact levels are a little lower */
    for (int t = 0; t < 300; t++) {
        double a[5][3], b[5][3];
        struct jl_stratum s[5];
        for (size_t k = 0; k < 5; k++) {
            for (size_t i = 0; i < 3; i++) {
                a[k][i] = 10 * (double)k + draw_normal(&g);
                b[k][i] = 10 * (double)k + draw_normal(&g);
            }
            s[k] = (struct jl_stratum){a[k], b[k], 3, 3};
        }
        many += jl_mann_whitney_p(s, 5, (uint64_t)t, NULL) <= 0.05;
    }
    no_more_than("five strata, p <= 5 %", many, 300, 0.05);
    no_less_than("five strata, p <= 5 %", many, 300, 0.05);
}

static void t_interval_covers(void **state)
{
    (void)state;
    static const size_t sizes[] = {3, 5, 10, 20};
    struct jl_rng g = {.s = 3};
    for (size_t k = 0; k < JL_COUNT(sizes); k++) {
        size_t held = 0;
        for (int t = 0; t < TIMES; t++) {
            double x[20];
            for (size_t i = 0; i < sizes[k]; i++)
                x[i] = 50 + draw_normal(&g);
            struct jl_interval m = jl_mean_interval(x, sizes[k], 0, NULL);
            held += m.lo <= 50 && m.hi >= 50;
        }
        no_less_than("t interval of the mean", held, TIMES, 0.94);
        no_more_than("t interval of the mean", held, TIMES, 0.965);
    }
}

/* Each run takes half of its neighbour's deviation along. */
static void widening_helps(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 4};
    size_t held = 0, plain = 0;
    for (int t = 0; t < TIMES; t++) {
        double x[20], last = draw_normal(&g) / sqrt(0.75);
        for (size_t i = 0; i < 20; i++)
            x[i] = last = 0.5 * last + draw_normal(&g);
        struct jl_interval m = jl_mean_interval(x, 20, 0, NULL);
        held += m.lo <= 0 && m.hi >= 0;
        plain += fabs(jl_mean(x, 20)) <= jl_t975(19) * jl_sd(x, 20) / sqrt(20);
    }
    no_less_than("widened", held, TIMES, 0.85);
    no_more_than("not widened", plain, TIMES, 0.80);
}

/* One run in ten is disturbed: the median's interval keeps what the mean's loses. */
static void the_median_withstands(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 5};
    size_t held = 0;
    for (int t = 0; t < 300; t++) {
        double x[15];
        for (size_t i = 0; i < 15; i++)
            x[i] = draw_normal(&g) + (jl_rng_uniform(&g) < 0.1 ? 8 : 0);
        struct jl_interval median;
        assert_true(jl_bootstrap(x, 15, 1000, (uint64_t)t, &median, NULL));
        double expected = 0.14; /* median of the mixture: Phi(m) = 0.5/0.9 */
        held += median.lo <= expected && median.hi >= expected;
    }
    no_less_than("bootstrap of the median, one in ten disturbed", held, 300, 0.92);
}

static void false_alarms_of_the_slope(void **state)
{
    (void)state;
    struct jl_rng g = {.s = 6};
    size_t alarms = 0, seen = 0;
    for (int t = 0; t < TIMES; t++) {
        double x[10], y[10];
        for (size_t i = 0; i < 10; i++) {
            x[i] = draw_normal(&g);
            y[i] = draw_normal(&g) + (double)i;
        }
        alarms += jl_not_steady(x, 10);
        seen += jl_not_steady(y, 10);
    }
    no_more_than("steady runs called not steady", alarms, TIMES, 0.01);
    no_less_than("a rise of one sd a run seen", seen, TIMES, 0.99);
}

/* Two configurations, pairs with 2 % noise on each side: what a verdict is worth. */
static void verdicts(void **state)
{
    (void)state;
    static const struct {
        size_t n;
        double ratio;
        enum jl_verdict want;
        double least, most;
    } rows[] = {
        {10, 1.00, JL_DIFFERENT, 0, 0.05}, {10, 1.05, JL_DIFFERENT, 0.85, 1}, {10, 1.00, JL_EQUAL, 0.78, 0.95},
        {10, 1.03, JL_DIFFERENT, 0.80, 1}, {5, 1.05, JL_DIFFERENT, 0, 0},
    };
    for (size_t k = 0; k < JL_COUNT(rows); k++) {
        struct jl_rng g = {.s = 100 + k};
        size_t hits = 0, held = 0;
        enum { N = 500 };
        for (int t = 0; t < N; t++) {
            double a[10], b[10];
            struct jl_comparison c;
            for (size_t i = 0; i < rows[k].n; i++) {
                a[i] = 12 * (1 + 0.02 * draw_normal(&g));
                b[i] = 12 * rows[k].ratio * (1 + 0.02 * draw_normal(&g));
            }
            assert_true(jl_compare_paired(a, b, rows[k].n, 0, 0, &c));
            jl_judge(&c, JL_MARGIN);
            hits += c.verdict == rows[k].want;
            held += c.lo95 <= rows[k].ratio && c.hi95 >= rows[k].ratio;
        }
        print_message("%zu pairs, ratio %.2f: ", rows[k].n, rows[k].ratio);
        no_less_than("verdict", hits, N, rows[k].least);
        no_more_than("verdict", hits, N, rows[k].most);
        no_less_than("interval of the ratio", held, N, 0.93);
    }
}

/* Runs that were not interleaved: prompts of very different size, repeated or sent once. */
static void runs_that_are_not_pairs(void **state)
{
    (void)state;
    static const struct {
        size_t prompts, repeats;
        double power; /* of finding 5 % */
    } rows[] = {{1, 10, 0.95}, {3, 4, 0.95}, {9, 1, 0.9}};
    enum { N = 300 };
    for (size_t k = 0; k < JL_COUNT(rows); k++)
        for (int same = 0; same < 2; same++) {
            struct jl_rng g = {.s = 200 + k};
            double ratio = same ? 1 : 1.05;
            size_t different = 0, held = 0;
            for (int t = 0; t < N; t++) {
                double a[9][10], b[9][10];
                struct jl_stratum s[9];
                struct jl_comparison c;
                for (size_t p = 0; p < rows[k].prompts; p++) {
                    for (size_t i = 0; i < rows[k].repeats; i++) {
                        a[p][i] = pow(2, (double)p) * (1 + 0.02 * draw_normal(&g));
                        b[p][i] = ratio * pow(2, (double)p) * (1 + 0.02 * draw_normal(&g));
                    }
                    s[p] = (struct jl_stratum){a[p], b[p], rows[k].repeats, rows[k].repeats};
                }
                assert_true(jl_compare_strata(s, rows[k].prompts, 0, (uint64_t)t, &c));
                jl_judge(&c, JL_MARGIN);
                different += c.verdict == JL_DIFFERENT;
                held += c.lo95 <= ratio && c.hi95 >= ratio;
            }
            print_message("%zu prompts, %zu times, ratio %.2f: ", rows[k].prompts, rows[k].repeats, ratio);
            if (same)
                no_more_than("false alarms", different, N, 0.05);
            else
                no_less_than("found", different, N, rows[k].power);
            no_less_than("interval", held, N, 0.94);
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(sign_flips_are_uniform),
        cmocka_unit_test(ranks_are_uniform),
        cmocka_unit_test(t_interval_covers),
        cmocka_unit_test(widening_helps),
        cmocka_unit_test(the_median_withstands),
        cmocka_unit_test(false_alarms_of_the_slope),
        cmocka_unit_test(verdicts),
        cmocka_unit_test(runs_that_are_not_pairs),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
