/* What is printed: idle level, budget, sums, metrics, estimates without a sensor, text. */
#include "lib/meter/estimators.h"
#include "lib/sensors/estimate.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"

#include <math.h>
#include <string.h>

static void test_idle(void **state)
{
    (void)state;
    static const double x[] = {60.2, 60.9, 59.8, 60.4, 61.1, 60.0, 60.3, 60.7, 59.9, 60.5};
    struct joulet_baseline b;
    jl_baseline_of_means(x, 10, &b);
    assert_near(b.power_w, 60.38, 1e-5);
    assert_near(jl_autocorrelation(x, 10), -.52681, 1e-5);
    assert_near(b.sd_w / sqrt(10), .13565, 1e-5); /* r1 clamped to 0 */
    assert_near(b.u_w, .61885, 1e-5);
    static const double drift[] = {60, 61, 62, 63, 64, 65, 66, 67};
    jl_baseline_of_means(drift, 8, &b); /* r1 is 0.625: neighbours say nearly the same */
    double r1 = jl_autocorrelation(drift, 8);
    assert_near(b.u_w, hypot(b.sd_w / sqrt(8) * sqrt((1 + r1) / (1 - r1)), .01 * 63.5), 1e-9);
    jl_baseline_of_means(x, 1, &b);
    assert_true(isnan(b.power_w) && isnan(b.u_w));
}

static void test_budget(void **state)
{
    (void)state;
    struct jl_params p = {.spec = .05, .factor_lo = 1, .factor_hi = 1};
    struct joulet_baseline idle = {.power_w = 0, .u_w = .61};
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    char text[64];
    e.gross_j = 12.4;
    e.u = (struct joulet_u){.q = 1e-3 / sqrt(6), .b = .08};
    jl_budget(&e, &p, &idle, .052, .052);
    assert_near(hypot(jl_u_rep(&e.u), e.u.idle), .08606, 1e-4);
    assert_near(e.net_pm_j / 2, .36816, 1e-4);
    assert_near(e.net_pm_j, .7363, 1e-4);
    assert_string_equal(joulet_format_j(text, sizeof(text), e.net_j, e.net_pm_j, false), "12.40 J +- 0.74 J");
    assert_near(e.gross_pm_j, 2 * hypot(hypot(.08, e.u.q), .05 * 12.4 / sqrt(3)), 1e-9); /* the idle level is not in gross */
    jl_budget(&e, &p, NULL, .052, .052);
    assert_true(isnan(e.net_j) && isnan(e.net_pm_j) && isnan(e.u.idle) && isfinite(e.gross_pm_j));
}

/* An estimate is true to a factor, and what it is uncertain by else counts in joules of the truth: near nothing that is all. */
static void test_budget_of_an_estimate(void **state)
{
    (void)state;
    static const double gross[] = {100, 100.4, 99.5, 160, 1000};
    struct jl_params p = {.estimated = true, .factor_lo = .4, .factor_hi = 2.5};
    struct joulet_baseline idle = {.power_w = 10, .u_w = .1};
    for (size_t i = 0; i < JL_COUNT(gross); i++) {
        struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
        e.gross_j = gross[i];
        e.u = (struct joulet_u){.b = .5};
        jl_budget(&e, &p, &idle, 10, 10);
        double net = gross[i] - 100;
        assert_near(e.u.b, 1.25, 1e-12);
        assert_near(e.u.idle, 2.5, 1e-12);
        assert_near(e.net_pm_j, hypot(1.5 * net, 2.5 * 2 * hypot(.5, 1)), 1e-9);
        assert_true(e.net_j - e.net_pm_j <= .4 * net && e.net_j + e.net_pm_j >= 2.5 * net);
        assert_true(net > 10 || (e.net_j - e.net_pm_j <= 0 && e.net_j + e.net_pm_j >= 0));
        assert_near(e.max_j, gross[i] + hypot(1.5 * gross[i], 2.5), 1e-9);
        assert_near(e.min_j, gross[i] - hypot(.6 * gross[i], 2.5), 1e-9);
        assert_near(e.gross_pm_j, e.max_j - gross[i], 1e-9); /* the farther end */
    }
    struct joulet_energy none = JOULET_ENERGY_UNKNOWN;
    none.gross_j = .1;
    none.u = (struct joulet_u){.b = .5};
    jl_budget(&none, &p, &idle, .01, .01);
    assert_near(none.min_j, 0, 0); /* no machine gives energy back */
}

static void test_format(void **state)
{
    (void)state;
    static const struct {
        double e, pm;
        bool utf8;
        const char *want;
    } rows[] = {
        {12.4, .7363, true, "12.40 J \u00b1 0.74 J"},
        {12.4, .7363, false, "12.40 J +- 0.74 J"},
        {NAN, .5, false, "-"},
        {INFINITY, .5, false, "-"},
        {12.4, NAN, false, "12.4 J"},
        {0, 0, false, "0 J +- 0 J"},
        {3.25, 0, false, "3.25 J +- 0 J"},
        {0, .5, false, "0.00 J +- 0.50 J"},
        {-.001, .5, false, "0.00 J +- 0.50 J"}, /* never "-0.00" */
        {-3.14159, .5, false, "-3.14 J +- 0.50 J"},
        {1, 30, false, "1 J +- 30 J"}, /* wider than the figure */
        {1, 300, false, "0 J +- 300 J"},
        {12.4, .0996, false, "12.40 J +- 0.10 J"}, /* two digits after rounding */
        {12.4, .0994, false, "12.400 J +- 0.099 J"},
        {12.4, 9.96, false, "12 J +- 10 J"},
        {12.4, 9.94, false, "12.4 J +- 9.9 J"},
        {123456, 12345, false, "123000 J +- 12000 J"},
        {123456, 99.6, false, "123460 J +- 100 J"},
        {3.4e-5, 1.2e-6, false, "0.0000340 J +- 0.0000012 J"},
        {1e-12, 1e-13, false, "0.000000000 J +- 0.000000000 J"},
        {1.5e20, 2.25e18, false, "1.5e+20 J +- 2.2e+18 J"},
        {12.4, -.74, false, "12.40 J +- 0.74 J"},
    };
    char text[64];
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_string_equal(joulet_format_j(text, sizeof(text), rows[i].e, rows[i].pm, rows[i].utf8), rows[i].want);
    assert_string_equal(joulet_format_j(text, 6, 12.4, .7363, false), "12.40"); /* cut, not overrun */
}

/* ---- sums ------------------------------------------------------------------------------------------------------------- */

static struct joulet_energy figure(double gross, double net, double b, double time, double idle, double spec)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.gross_j = gross;
    e.net_j = net;
    e.u = (struct joulet_u){.q = 0, .b = b, .time = time, .event = 0, .idle = idle, .spec = spec * fabs(net)};
    e.net_pm_j = 2 * sqrt(b * b + time * time + idle * idle + e.u.spec * e.u.spec);
    e.gross_pm_j = 2 * sqrt(b * b + time * time + spec * spec * gross * gross);
    e.min_j = gross - 10;
    e.max_j = gross + 10;
    e.method = "two-slope/1";
    return e;
}

static void test_add_devices(void **state)
{
    (void)state;
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN, a = figure(100, 80, 3, 0, 0, .03), b = figure(50, 40, 4, 0, 0, .03);
    a.provenance = JOULET_MEASURED;
    b.provenance = JOULET_ESTIMATED;
    b.flags = JOULET_FLAG_GUESSED;
    joulet_energy_add(&sum, &a, true);
    assert_near(sum.net_pm_j, a.net_pm_j, 0);
    assert_int_equal(sum.flags, 0);
    joulet_energy_add(&sum, &b, true);
    assert_near(sum.net_j, 120, 1e-12);
    assert_near(sum.gross_j, 150, 1e-12);
    assert_near(sum.u.b, 5, 1e-12);
    assert_near(sum.u.spec, .03 * 120, 1e-9); /* one type: gains err together */
    assert_near(sum.net_pm_j, 2 * hypot(5, 3.6), 1e-9);
    assert_near(sum.gross_pm_j, 2 * hypot(5, .03 * 150), 1e-9);
    assert_near(sum.min_j, 130, 1e-12);
    assert_int_equal(sum.provenance, JOULET_ESTIMATED);
    assert_int_equal(sum.flags, JOULET_FLAG_GUESSED);
    assert_string_equal(sum.method, "two-slope/1");
    sum = a;
    joulet_energy_add(&sum, &b, false);
    assert_near(sum.u.spec, .03 * hypot(80, 40), 1e-9);
}

static void test_add_what_is_missing(void **state)
{
    (void)state;
    struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN, a = figure(100, 80, 3, 0, 0, .03), sum = unknown;
    unknown.flags = JOULET_FLAG_FROZEN;
    joulet_energy_add(&sum, &unknown, true);
    assert_true(isnan(sum.gross_j) && isnan(sum.net_j));
    joulet_energy_add(&sum, &a, true);
    assert_near(sum.net_j, 80, 0); /* the rest is summed ... */
    assert_near(sum.net_pm_j, a.net_pm_j, 0);
    assert_int_equal(sum.flags, JOULET_FLAG_FROZEN | JOULET_FLAG_PARTIAL); /* ... and says that it lacks a part */
    sum = a;
    joulet_energy_add(&sum, &unknown, true);
    assert_near(sum.gross_j, 100, 0);
    assert_int_equal(sum.flags, JOULET_FLAG_FROZEN | JOULET_FLAG_PARTIAL);
    struct joulet_energy no_idle = figure(50, NAN, 4, 0, NAN, .03);
    sum = a;
    joulet_energy_add(&sum, &no_idle, true);
    assert_near(sum.gross_j, 150, 1e-12);
    assert_near(sum.net_j, 80, 0);
    assert_true(sum.flags & JOULET_FLAG_PARTIAL);
}

static void test_chain_windows(void **state)
{
    (void)state;
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN, a = figure(100, 80, 3, 1, 2, .03), b = figure(50, 40, 4, 2, 1, .03);
    joulet_energy_chain(&sum, &a);
    joulet_energy_chain(&sum, &b);
    assert_near(sum.net_j, 120, 1e-12);
    assert_near(sum.u.b, 5, 1e-12);    /* ends err apart */
    assert_near(sum.u.time, 3, 1e-12); /* lag, idle and gain err together */
    assert_near(sum.u.idle, 3, 1e-12);
    assert_near(sum.u.spec, 3.6, 1e-9);
    assert_near(sum.net_pm_j, 2 * sqrt(25 + 9 + 9 + 3.6 * 3.6), 1e-9);
    assert_near(sum.gross_pm_j, 2 * sqrt(25 + 9 + 4.5 * 4.5), 1e-9);
    assert_int_equal(sum.flags, 0);
}

/* The energy of an unresolved phase is in its neighbour: a chain over both lacks nothing. */
static void test_chain_unresolved(void **state)
{
    (void)state;
    struct joulet_energy gap = JOULET_ENERGY_UNKNOWN, joined = figure(100, 80, 3, 1, 2, .03), sum = gap;
    gap.flags = JOULET_FLAG_UNRESOLVED;
    joined.flags = JOULET_FLAG_JOINED;
    joulet_energy_chain(&sum, &gap);
    assert_int_equal(sum.flags, JOULET_FLAG_UNRESOLVED);
    joulet_energy_chain(&sum, &joined);
    assert_near(sum.net_j, 80, 0);
    assert_int_equal(sum.flags, JOULET_FLAG_JOINED);
    struct joulet_energy reset = JOULET_ENERGY_UNKNOWN;
    reset.flags = JOULET_FLAG_RESET;
    joulet_energy_chain(&sum, &reset);
    assert_true(sum.flags & JOULET_FLAG_PARTIAL);
}

/* A figure that came without its budget keeps its interval. */
static void test_add_imported(void **state)
{
    (void)state;
    struct joulet_energy a = JOULET_ENERGY_UNKNOWN, sum = figure(100, 80, 3, 0, 0, .03);
    double pm = sum.net_pm_j;
    a.net_j = 10;
    a.net_pm_j = 2;
    a.provenance = JOULET_IMPORTED;
    joulet_energy_add(&sum, &a, false);
    assert_near(sum.net_j, 90, 1e-12);
    assert_near(sum.net_pm_j, pm, pm); /* finite, and not smaller than it was */
    assert_true(sum.net_pm_j >= pm);
    assert_int_equal(sum.provenance, JOULET_IMPORTED);
}

/* ---- metrics ------------------------------------------------------------------------------------------------------------ */

static void test_metrics(void **state)
{
    (void)state;
    struct joulet_metrics_in in = {.energy_j = 1800,
                                   .prefill_j = 300,
                                   .decode_j = 1500,
                                   .tokens_in = 500,
                                   .tokens_out = 120,
                                   .wall_s = 6,
                                   .grid_g_per_kwh = 445,
                                   .pue = 1.2,
                                   .price_per_kwh = .30};
    struct joulet_metrics m;
    joulet_metrics_of(&in, &m);
    assert_near(m.j_per_output_token, 15, 1e-6);
    assert_near(m.j_per_token, 2.903226, 1e-6);
    assert_near(m.prefill_j_per_input_token, .6, 1e-6);
    assert_near(m.decode_j_per_output_token, 12.5, 1e-6);
    assert_near(m.wh_per_1000_output_tokens, 4.166667, 1e-6);
    assert_near(m.e_token_i, 1, 1e-6);
    assert_near(m.e_token_o, 4.166667, 1e-6);
    assert_near(m.tokens_per_j, .066667, 1e-6);
    assert_near(m.energy_delay_js, 10800, 1e-6);
    assert_near(m.emissions_g, .267, 1e-6);
    assert_near(m.cost, .00018, 1e-9);
    in.tokens_out = 0;
    in.pue = NAN;
    in.decode_j = NAN;
    joulet_metrics_of(&in, &m);
    assert_true(isnan(m.j_per_output_token) && isnan(m.e_token_o) && isnan(m.decode_j_per_output_token));
    assert_true(isnan(m.emissions_g) && isnan(m.cost));
    assert_near(m.j_per_token, 3.6, 1e-9);
}

static void test_ratio_of_sums(void **state)
{
    (void)state;
    static const double E[] = {100, 260, 40}, T[] = {40, 120, 10};
    double ratio, pm;
    joulet_ratio_of_sums(E, T, 3, &ratio, &pm);
    assert_near(ratio, 2.352941, 1e-6);
    assert_near(pm, 1.501749, 1e-6);
    assert_near(pm / jl_t975(2), .349029, 1e-6);
    joulet_ratio_of_sums(E, T, 1, &ratio, &pm);
    assert_near(ratio, 2.5, 1e-12);
    assert_true(isnan(pm));
    static const double none[] = {0, 0, 0};
    joulet_ratio_of_sums(E, none, 3, &ratio, &pm);
    assert_true(isnan(ratio) && isnan(pm));
}

/* ---- without a sensor --------------------------------------------------------------------------------------------------- */

static void test_curve(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double tdp;
        int seen, part;
        bool vm;
        double u, tdp_seen, net, lo, hi;
        bool guessed;
    } rows[] = {
        {"whole part", 65, 8, 8, false, .5, 65, 28.432097, 28.432097 / 1.6, 28.432097 / .7, false},
        {"share of a part", 360, 8, 192, false, 1, 15, 9.945, 9.945 / 1.6, 9.945 / .7, false},
        {"virtual machine", 360, 2, 192, true, 1, 6, 3.978, 1.5912, 9.945, true},
        {"unknown part", NAN, 2, 0, false, 1, 6, 3.978, 1.5912, 9.945, true},
        {"unknown thread count", 65, 2, 0, false, 1, 6, 3.978, 1.5912, 9.945, true},
        {"more threads than the part", 65, 16, 8, false, 1, 65, 43.095, 43.095 / 1.6, 43.095 / .7, false},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_estimate e;
        jl_estimate_for(&e, rows[i].tdp, rows[i].seen, rows[i].part, rows[i].vm);
        double net = jl_estimate_power_w(&e, rows[i].u) - jl_estimate_power_w(&e, 0);
        assert_near(e.tdp_w, rows[i].tdp_seen, 1e-9);
        assert_near(net, rows[i].net, 1e-6);
        assert_near(net * e.factor_lo, rows[i].lo, 1e-5);
        assert_near(net * e.factor_hi, rows[i].hi, 1e-5);
        assert_int_equal(e.guessed, rows[i].guessed);
    }
}

static void test_curve_ends(void **state)
{
    (void)state;
    struct jl_estimate e;
    jl_estimate_for(&e, 65, 8, 8, false);
    assert_near(e.max_w, 55.25, 1e-6);
    assert_near(e.idle_w, 12.1550, 1e-6);
    assert_near(jl_estimate_power_w(&e, .5), 40.587097, 1e-6);
    assert_near(jl_estimate_power_w(&e, -1), 12.1550, 1e-6);
    assert_near(jl_estimate_power_w(&e, 2), 55.25, 1e-6);
    assert_true(isnan(jl_estimate_power_w(&e, NAN))); /* unknown is not idle */
}

static void test_measured_points(void **state)
{
    (void)state;
    static const struct jl_power_point points[] = {{0, 12}, {.25, 30}, {.5, 42}, {1, 58}};
    assert_near(jl_estimate_points_w(points, 4, .6), 45.2, 1e-6);
    assert_near(jl_estimate_points_w(points, 4, 0), 12, 1e-12);
    assert_near(jl_estimate_points_w(points, 4, 1.5), 58, 1e-12);
    assert_true(isnan(jl_estimate_points_w(points, 0, .5)) && isnan(jl_estimate_points_w(points, 4, NAN)));
    assert_near(jl_estimate_exponent(12, 42, 58), .616671, 1e-6);
    assert_true(isnan(jl_estimate_exponent(12, 12, 58)) && isnan(jl_estimate_exponent(12, 60, 58)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_idle),
        cmocka_unit_test(test_budget),
        cmocka_unit_test(test_budget_of_an_estimate),
        cmocka_unit_test(test_format),
        cmocka_unit_test(test_add_devices),
        cmocka_unit_test(test_add_what_is_missing),
        cmocka_unit_test(test_chain_windows),
        cmocka_unit_test(test_chain_unresolved),
        cmocka_unit_test(test_add_imported),
        cmocka_unit_test(test_metrics),
        cmocka_unit_test(test_ratio_of_sums),
        cmocka_unit_test(test_curve),
        cmocka_unit_test(test_curve_ends),
        cmocka_unit_test(test_measured_points),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
