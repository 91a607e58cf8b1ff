/* What surrounds a measurement: which estimator it takes, idle levels, uncertain moments, the tail, estimates, wrong calls. */
#include "tests/base/test.h"
#include "tests/meter/steps.h"

#include <math.h>
#include <string.h>

static void test_clean(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01);
    assert_near(m.whole.net_j, 200, .01);
    assert_near(m.parts[0].gross_j, 150, .01);
    assert_int_equal(m.whole.flags, 0);
    assert_string_equal(m.whole.method, "joint-fit/1");
    assert_int_equal(m.whole.provenance, JOULET_SIMULATED);
    assert_true(isnan(m.settle_s) && isnan(m.whole.tail_j));
    f.what.isolated = true;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "padded-difference/1");
    assert_string_equal(m.parts[0].method, "joint-fit/1");
    assert_near(m.whole.net_j, 200, m.whole.u.time); /* a fall of 3 ms is expected, and here there is none */
    f.trace.channel.rise_s = 0;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.net_j, 200, .01);
    assert_true(isnan(m.settle_s)); /* the trace ends before it could be seen */
}

/* The padded difference takes the idle level off from the update before the run on; the lag moves the step between the level
 * before and the one after, the rise that from the run to the one after, half of which is doubted. */
static void test_budget_of_an_isolated_run(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    steps_bounds(&f, (const double[]){.95, 1, 2}, 2);
    f.what.isolated = true;
    f.idle.power_w = 92;
    f.trace.channel.calibrated = false;
    f.trace.channel.u_lag_s = .014;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.u.idle, 1.1, 1e-9); /* from .9 s to 2 s at 1 W */
    assert_near(m.parts[1].u.idle, 1, 1e-9);
    assert_near(m.whole.u.time, hypot(8 * .014, .5 * .003 * 200), .01);
    f.trace.channel.calibrated = true;
    f.trace.channel.u_lag_s = .003;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.u.time, hypot(8 * .003, .5 * .003 * 200), .01);
}

/* Power readings that stop before the run does: the last level is carried on, a fifth of it uncertain. */
static void test_readings_that_stop_early(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {.channel = sim_power_channel(.1, .025, true)};
    sim_init(&s, 3, 12);
    sim_step(&s, 0, 60);
    sim_step(&s, 5, 300);
    sim_power(&s, &trace, 25e-3);
    joulet_mark bounds[] = {sim_ns(5), sim_ns(7)};
    struct joulet_what what = {.bounds = bounds, .n_phases = 1};
    struct joulet_measured m;
    while (trace.samples[trace.n - 1].t_ns > sim_ns(6.5))
        trace.n--;
    assert_int_equal(joulet_measure(&trace, NULL, &what, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 600, 10);
    assert_true(m.whole.flags & JOULET_FLAG_TRUNCATED);
    assert_true(m.whole.u.b > .2 * 300 * .4);
    sim_trace_release(&trace);
}

/* A run that is not what it was said to be: the power changes in the middle of a phase. A sensor's figure says so; an estimate is
 * the load of the processor, which changes all the time. */
static void test_a_step_inside_a_phase_fires(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1.5, 2.5}, 1);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_true(m.whole.flags & JOULET_FLAG_MISMATCH);
    assert_true(m.parts[0].flags & JOULET_FLAG_MISMATCH);
}

static void test_a_step_inside_a_phase_of_an_estimate_is_silent(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.trace.channel.provenance = JOULET_ESTIMATED;
    f.trace.channel.factor_lo = .4;
    f.trace.channel.factor_hi = 2.5;
    for (int isolated = 0; isolated < 2; isolated++) {
        steps_bounds(&f, (const double[]){1.5, 2.5}, 1);
        f.what.isolated = isolated;
        assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
        assert_int_equal(m.whole.flags, JOULET_FLAG_GUESSED);
        assert_int_equal(m.parts[0].flags, JOULET_FLAG_GUESSED);
    }
}

/* Not idle just before: the padded difference would charge that time at the idle level, and one counter would contradict itself.
 */
static void test_not_idle_before_the_run(void **state)
{
    static const struct {
        double idle_w, sd_w;
        const char *method;
    } rows[] = {
        {100, .5, "padded-difference/1"}, {92, .5, "padded-difference/1"}, {88, .5, "joint-fit/1"},
        {60, .5, "joint-fit/1"},          {60, 15, "padded-difference/1"}, /* it varies as much all the time */
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct steps f;
        struct joulet_measured m;
        steps_init(&f);
        steps_bounds(&f, (const double[]){1.03, 1.5, 2}, 2);
        f.what.isolated = true;
        f.idle.power_w = rows[i].idle_w;
        f.idle.sd_w = rows[i].sd_w;
        for (size_t k = 11; k < STEPS_N; k++) /* the load begins at 1.03 s */
            f.samples[k].value -= 6000000;
        assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
        assert_string_equal(m.whole.method, rows[i].method);
        if (rows[i].sd_w > 1)
            continue;
        assert_near(m.whole.gross_j, 291, fmax(m.whole.gross_pm_j, .5));
        assert_int_equal(m.whole.flags & JOULET_FLAG_INCONSISTENT, 0);
    }
}

static void test_usage(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1, .5}, 1);
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "ascending"));
    f.what.n_phases = 0;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_USAGE);
    f.what.n_phases = JOULET_PHASES_MAX + 1;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_USAGE);
    steps_init(&f);
    f.trace.channel.quantity = JOULET_TEMPERATURE;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_USAGE);
    assert_true(isnan(m.whole.gross_j));
}

static void test_without_idle_level(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.what.isolated = true; /* the padded difference needs the idle level too */
    assert_int_equal(joulet_measure(&f.trace, NULL, &f.what, &m, NULL), JOULET_OK);
    assert_true(isnan(m.whole.net_j) && isnan(m.whole.net_pm_j) && isnan(m.parts[0].net_j));
    assert_near(m.whole.gross_j, 300, .01);
    assert_int_equal(m.whole.flags, JOULET_FLAG_NO_BASELINE);
    assert_string_equal(m.whole.method, "joint-fit/1");
    struct joulet_baseline brief = {.power_w = 100, .u_w = 2, .sd_w = NAN, .flags = JOULET_FLAG_SHORT_BASELINE};
    assert_int_equal(joulet_measure(&f.trace, &brief, &f.what, &m, NULL), JOULET_OK);
    assert_true(m.whole.flags & JOULET_FLAG_SHORT_BASELINE);
}

static void test_something_else_began(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.what.isolated = true;
    f.what.quiet_until = sim_ns(2.15);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "two-slope/1"); /* 2.1 would reach into it */
    f.what.quiet_until = sim_ns(3.5);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "padded-difference/1");
}

/* Moments that are uncertain themselves: at a step from 100 to 300 W, 10 ms are 3 J. */
static void test_uncertain_events(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    static const double u_ev[] = {.01, 0, 0};
    steps_init(&f);
    f.what.u_event_s = u_ev;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.parts[0].u.event, 3, .05);
    assert_near(m.parts[1].u.event, 0, 0);
    assert_near(m.whole.u.event, 3, .05);
}

/* The ends of the whole are those of its first and last phase: what an uncertain moment moves is their power, not the mean. */
static void test_uncertain_events_of_the_whole(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_measured m;
    struct joulet_trace trace = {.channel = sim_gpu_counter_channel(.1, true)};
    static const double u_ev[] = {.01, 0, 0};
    joulet_mark bounds[] = {sim_ns(2), sim_ns(2.5), sim_ns(4)};
    struct joulet_what what = {.bounds = bounds, .u_event_s = u_ev, .n_phases = 2};
    sim_init(&s, 1, 7);
    sim_step(&s, 0, 60);
    sim_step(&s, 2, 400);
    sim_step(&s, 2.5, 200);
    sim_step(&s, 4, 60);
    sim_slow_counter(&s, &trace, 1e-3, .025);
    assert_int_equal(joulet_measure(&trace, NULL, &what, &m, NULL), JOULET_OK);
    assert_near(m.parts[0].u.event, 4, .1);
    assert_near(m.parts[1].u.event, 0, 0);
    assert_near(m.whole.u.event, 4, .1);
    sim_trace_release(&trace);
}

/* Whoever did not wait for an idle level does not wait for a tail either: it is followed for 2 s (4.2). */
static void test_tail_of_a_short_baseline(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_measured m;
    struct joulet_trace trace = {.channel = sim_gpu_counter_channel(.1, true)};
    joulet_mark bounds[] = {sim_ns(2), sim_ns(4)};
    struct joulet_what what = {.bounds = bounds, .n_phases = 1, .isolated = true};
    struct joulet_baseline idle = {.power_w = 60, .u_w = 1, .sd_w = NAN};
    sim_init(&s, 1, 14);
    sim_step(&s, 0, 60);
    sim_step(&s, 2, 300);
    sim_step(&s, 4, 100);
    sim_step(&s, 8.5, 60);
    sim_slow_counter(&s, &trace, 1e-3, .025);
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_OK);
    assert_near(m.settle_s, 5, 0);
    assert_near(m.whole.tail_j, 4.5 * 40, 3);
    idle.flags = JOULET_FLAG_SHORT_BASELINE;
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_OK);
    assert_near(m.settle_s, 2, 0);
    assert_near(m.whole.tail_j, 2 * 40, 3);
    sim_trace_release(&trace);
}

/* A device that draws more than it is said to: its limits guarantee nothing, and the figure stays as it is. */
static void test_limits_that_do_not_hold(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.trace.channel.power_max_w = 150;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01);
    assert_true(isnan(m.whole.min_j) && isnan(m.whole.max_j));
    assert_int_equal(m.whole.flags, 0);
}

static void test_estimates(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.trace.channel.provenance = JOULET_ESTIMATED;
    f.trace.channel.factor_lo = 1 / 1.6;
    f.trace.channel.factor_hi = 1 / .7;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.min_j, 300 / 1.6, .01);
    assert_near(m.whole.max_j, 300 / .7, .01);
    assert_near(m.whole.net_pm_j, 200 * (1 / .7 - 1), 2); /* the farther end, and a little for the ends of the run */
    assert_true(m.whole.net_pm_j >= 200 * (1 / .7 - 1) - .01);
    assert_near(m.parts[0].gross_pm_j, 150 * (1 / .7 - 1), 2);
    assert_int_equal(m.whole.provenance, JOULET_ESTIMATED);
    assert_int_equal(m.whole.flags, 0);
    f.trace.channel.factor_lo = .4;
    f.trace.channel.factor_hi = 2.5;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_GUESSED);
    assert_near(m.whole.max_j, 750, .1);
    f.trace.channel.provenance = JOULET_SIMULATED; /* an estimate for a machine that is not this one */
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_GUESSED);
    assert_near(m.whole.min_j, 120, .1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_budget_of_an_isolated_run),
        cmocka_unit_test(test_readings_that_stop_early),
        cmocka_unit_test(test_a_step_inside_a_phase_fires),
        cmocka_unit_test(test_a_step_inside_a_phase_of_an_estimate_is_silent),
        cmocka_unit_test(test_not_idle_before_the_run),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_without_idle_level),
        cmocka_unit_test(test_something_else_began),
        cmocka_unit_test(test_uncertain_events),
        cmocka_unit_test(test_uncertain_events_of_the_whole),
        cmocka_unit_test(test_tail_of_a_short_baseline),
        cmocka_unit_test(test_limits_that_do_not_hold),
        cmocka_unit_test(test_estimates),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
