/* Repeats: warm-up, steadiness, outliers, centre and interval (docs/method.md 5.1 to 5.4, 9). */
#include "lib/stats/series.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"

#include <math.h>
#include <string.h>

static const double series[] = {13.1, 12.3, 12.06, 12.02, 11.97, 12.05, 11.99, 12.03, 11.95, 12.01, 12.04, 11.98};

static void the_generator(void **state)
{
    (void)state;
    static const uint64_t want[] = {0x910a2dec89025cc1u, 0xbeeb8da1658eec67u, 0xf893a2eefb32555eu};
    struct jl_rng zero = {.s = 0}, one = {.s = 1}, again = {.s = 1};
    assert_true(jl_rng_next(&zero) == 0xe220a8397b1dcdafu);
    for (size_t i = 0; i < JL_COUNT(want); i++)
        assert_true(jl_rng_next(&one) == want[i]);
    assert_int_equal(jl_rng_below(&again, 1000), 566); /* 0x910a2dec89025cc1 * 1000 >> 64 */
    assert_int_equal(jl_rng_below(&again, 1), 0);
}

static void warm_up(void **state)
{
    (void)state;
    static const double want[] = {7.816e-3, 7.310e-4, 1.200e-4, 1.139e-4, 1.398e-4, 1.580e-4, 1.556e-4};
    double z[7];
    assert_int_equal(jl_warmup(series, 12, z), 3);
    for (size_t i = 0; i < JL_COUNT(want); i++)
        assert_near(z[i], want[i], 5e-4 * want[i]);
    static const double flat[] = {5, 5, 5, 5, 5, 5};
    assert_int_equal(jl_warmup(flat, 6, NULL), 0); /* ties: the smaller k */
    assert_int_equal(jl_warmup(series, 0, NULL), 0);
    assert_int_equal(jl_warmup(series, 1, NULL), 0);
    static const double falling[] = {100, 1, 1, 1};
    assert_int_equal(jl_warmup(falling, 4, NULL), 1);
}

static void warm_up_ignores_unit_and_origin(void **state)
{
    (void)state;
    double moved[12], z[7], want[7];
    jl_warmup(series, 12, want);
    for (size_t i = 0; i < 12; i++)
        moved[i] = 1e6 + 1000 * series[i];
    assert_int_equal(jl_warmup(moved, 12, z), 3);
    for (size_t i = 0; i < 7; i++)
        assert_near(z[i] / (1e6 * want[i]), 1, 1e-6);
}

static void steadiness(void **state)
{
    (void)state;
    static const double rising[] = {10, 10.1, 10.22, 10.29, 10.4, 10.52, 10.6}, line[] = {1, 2, 3, 4}, flat[] = {2, 2, 2, 2};
    assert_false(jl_not_steady(series + 3, 9));
    assert_true(jl_not_steady(rising, 7));
    assert_true(jl_not_steady(line, 4));
    assert_false(jl_not_steady(flat, 4));
    assert_false(jl_not_steady(rising, 2)); /* two values say nothing of a slope's scatter */
    assert_true(isnan(jl_slope_p(rising, 2)));
}

static void centre(void **state)
{
    (void)state;
    const double *kept = series + 3;
    bool widened;
    struct jl_interval m = jl_mean_interval(kept, 9, 0, &widened), median, mean;
    assert_near(m.value, 12.004444, 1e-6);
    assert_near(m.hi - m.value, 0.026098, 1e-6);
    assert_false(widened);
    assert_true(jl_bootstrap(kept, 9, 1000, 42, &median, &mean));
    assert_near(median.value, 12.01, 1e-12);
    assert_near(median.lo, 11.97, 1e-6);
    assert_near(median.hi, 12.04, 1e-6);
    assert_near(mean.lo, 11.984417, 1e-6);
    assert_near(mean.hi, 12.025556, 1e-6);
    /* What all runs share does not shrink. */
    m = jl_mean_interval(kept, 9, 0.05, NULL);
    assert_near(m.hi - m.value, hypot(0.026098, 0.1), 1e-6);
    m = jl_mean_interval(kept, 1, 0, NULL);
    assert_true(m.value == kept[0] && isnan(m.lo) && isnan(m.hi));
}

static void neighbours_alike_widen(void **state)
{
    (void)state;
    static const double x[] = {1, 1.1, 1.2, 1.3, 1.4, 1.4, 1.3, 1.2, 1.1, 1};
    bool widened;
    struct jl_interval m = jl_mean_interval(x, 10, 0, &widened);
    double r1 = jl_autocorrelation(x, 10), plain = jl_t975(9) * jl_sd(x, 10) / sqrt(10);
    assert_true(widened && r1 > 0.2);
    assert_near(m.hi - m.value, plain * sqrt((1 + r1) / (1 - r1)), 1e-12);
    jl_mean_interval(x, 9, 0, &widened); /* too few to tell */
    assert_false(widened);
}

static void outliers(void **state)
{
    (void)state;
    double score[12];
    double sorted[12], away[12];
    memcpy(sorted, series, sizeof(sorted));
    assert_near(jl_median(sorted, 12), 12.025, 1e-9);
    for (size_t i = 0; i < 12; i++)
        away[i] = fabs(series[i] - 12.025);
    assert_near(jl_median(away, 12), 0.035, 1e-9); /* MAD */
    assert_true(jl_outlier_scores(series, 12, score));
    assert_near(score[0], 20.7168, 1e-4);
    for (size_t i = 2; i < 12; i++)
        assert_true(score[i] < JL_OUTLIER);
    static const double shared[] = {3, 3, 3, 3, 9};
    assert_true(jl_outlier_scores(shared, 5, score));
    assert_true(score[0] == 0 && isinf(score[4]));
}

static void summary(void **state)
{
    (void)state;
    struct jl_series s;
    assert_true(jl_series_of(series, 12, 1, &s));
    assert_true(s.median_first && s.outliers == 2 && s.n == 12);
    assert_near(s.worst_score, 20.7168, 1e-4);
    assert_near(s.median.value, 12.025, 1e-12);
    assert_true(s.median.lo <= 12.025 && s.median.hi >= 12.025);
    assert_true(jl_series_of(series + 3, 9, 1, &s));
    assert_false(s.median_first);
    assert_near(s.sd, 0.033953, 1e-6);
    assert_true(jl_series_of(series, 3, 1, &s));
    assert_true(isnan(s.median.lo) && !isnan(s.median.value));
    assert_true(jl_series_of(series, 0, 1, &s));
    assert_true(isnan(s.mean.value) && isnan(s.median.value));
}

static void planning(void **state)
{
    (void)state;
    static const struct {
        double cv, x;
        size_t want;
    } rows[] = {{.02, .02, 6}, {.02, .01, 18}, {0, .01, 2}, {.02, 0, 0}, {NAN, .01, 0}, {1, 1e-9, 0}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_int_equal(jl_runs_needed(rows[i].cv, rows[i].x), rows[i].want);
}

static void ratio_of_sums(void **state)
{
    (void)state;
    static const double E[] = {100, 260, 40}, T[] = {40, 120, 10}, none[] = {0, 0, 0};
    double ratio, pm;
    jl_ratio_of_sums(E, T, 3, &ratio, &pm);
    assert_near(ratio, 2.352941, 1e-6);
    assert_near(pm, 1.501749, 1e-6);
    jl_ratio_of_sums(E, T, 1, &ratio, &pm);
    assert_true(isnan(pm));
    jl_ratio_of_sums(E, none, 3, &ratio, &pm);
    assert_true(isnan(ratio) && isnan(pm));
    jl_ratio_of_sums(E, T, 0, &ratio, &pm);
    assert_true(isnan(ratio) && isnan(pm));
}

static void shuffles(void **state)
{
    (void)state;
    enum { N = 50 };
    size_t a[N], b[N], seen = 0, moved = 0;
    struct jl_rng g = {.s = 5}, h = {.s = 5};
    for (size_t i = 0; i < N; i++)
        a[i] = b[i] = i;
    jl_shuffle(a, N, &g);
    jl_shuffle(b, N, &h);
    assert_memory_equal(a, b, sizeof a); /* a seed gives one order */
    for (size_t i = 0; i < N; i++) {
        moved += a[i] != i;
        for (size_t k = 0; k < N; k++)
            seen += a[k] == i;
    }
    assert_int_equal(seen, N); /* none lost, none twice */
    assert_true(moved > N / 2);
    jl_shuffle(a, 0, &g);
    jl_shuffle(a, 1, &g);
}

/* Probabilities against the quantiles, and where they are known in closed form. */
static void student(void **state)
{
    (void)state;
    static const double df[] = {1, 2, 3, 5, 9, 12, 29, 60};
    for (size_t i = 0; i < JL_COUNT(df); i++)
        assert_near(jl_t_p(jl_t975(df[i]), df[i]), 0.05, 2e-6);
    assert_near(jl_t_p(1, 1), 0.5, 1e-12);                    /* Cauchy */
    assert_near(jl_t_p(-2, 2), 1 - 2 / sqrt(2 + 4.0), 1e-12); /* df 2: t/sqrt(2 + t^2) */
    assert_near(jl_t_p(0, 7), 1, 1e-12);
    assert_near(jl_t_p(1.959963984540054, 1e7), 0.05, 1e-6);
    assert_near(jl_normal_p(1.959963984540054), 0.05, 1e-12);
    assert_near(jl_t_p(1e6, 30) * 1e150, 0, 1e10);
    assert_true(isnan(jl_t_p(NAN, 3)) && isnan(jl_t_p(1, 0)) && jl_t_p(INFINITY, 3) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_generator), cmocka_unit_test(warm_up),  cmocka_unit_test(warm_up_ignores_unit_and_origin),
        cmocka_unit_test(steadiness),    cmocka_unit_test(centre),   cmocka_unit_test(neighbours_alike_widen),
        cmocka_unit_test(outliers),      cmocka_unit_test(summary),  cmocka_unit_test(planning),
        cmocka_unit_test(ratio_of_sums), cmocka_unit_test(shuffles), cmocka_unit_test(student),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
