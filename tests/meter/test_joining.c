/* Phases that cannot be told apart are joined, and the run that nothing resolves has bounds only (2.2). */
#include "tests/base/test.h"
#include "tests/meter/steps.h"

#include <math.h>
#include <string.h>

static void test_short_phases_are_joined(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    /* queue and prefill both between the updates at 1.0 and 1.1 s: their sum is known, each alone is not */
    steps_bounds(&f, (const double[]){1, 1.01, 1.07, 2}, 3);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_true(isnan(m.parts[0].gross_j) && isnan(m.parts[0].net_j));
    assert_true(m.parts[0].flags & JOULET_FLAG_UNRESOLVED);
    assert_false(m.parts[0].flags & JOULET_FLAG_PARTIAL);
    assert_true(m.parts[0].min_j <= 3 && m.parts[0].max_j >= 3); /* what is certain of it alone */
    assert_true(m.parts[1].flags & JOULET_FLAG_JOINED);
    assert_true(fabs(m.parts[1].gross_j - 21) <= m.parts[1].gross_pm_j);
    assert_int_equal(m.parts[2].flags, 0);
    assert_near(m.parts[1].gross_j + m.parts[2].gross_j, m.whole.gross_j, 1e-9);
    assert_false(m.whole.flags & (JOULET_FLAG_UNRESOLVED | JOULET_FLAG_JOINED));
}

/* Joining across the boundary that nobody can place helps; joining with the longest neighbour would not. */
static void test_joined_across_the_open_boundary(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1, 1.41, 1.43, 1.48, 2}, 4);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.parts[0].flags, 0);
    assert_near(m.parts[0].gross_j, 123, .5);
    assert_int_equal(m.parts[1].flags, JOULET_FLAG_UNRESOLVED | JOULET_FLAG_SLOW_SENSOR);
    assert_int_equal(m.parts[2].flags, JOULET_FLAG_JOINED | JOULET_FLAG_SLOW_SENSOR);
    assert_near(m.parts[2].gross_j, 21, .5);
    assert_int_equal(m.parts[3].flags, 0);
}

/* 10 ms whose neighbours contradict each other: what would be a negative energy is no figure. */
static void test_negative_is_no_figure(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    steps_bounds(&f, (const double[]){2.08, 2.09}, 1); /* the power fell at 2 s already */
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_TOO_SHORT);
    assert_true(isnan(m.whole.gross_j));
    assert_true(m.whole.min_j <= 1 && m.whole.max_j >= 1);
    f.samples[21].value += 14000000; /* contradicting by less than the noise */
    for (size_t i = 22; i < STEPS_N; i++)
        f.samples[i].value += 14000000;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, m.whole.min_j, 0); /* 50 W at least */
    assert_true(m.whole.gross_pm_j > 1);
}

static void test_phase_without_duration(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1, 1, 1.5, 2}, 3);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.parts[0].gross_j, 0, 0);
    assert_near(m.parts[0].net_pm_j, 0, 0);
    assert_near(m.parts[1].gross_j, 150, .01);
    steps_bounds(&f, (const double[]){1.5, 1.5}, 1);
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 0, 0);
}

/* A run between two updates whose neighbourhood is unknown has bounds, and a sum over it says that it lacks it. */
static void test_nothing_to_join_with(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1.53, 1.56}, 1);
    f.trace.samples = f.samples + 15;
    f.trace.n = 2;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_TOO_SHORT);
    assert_true(isnan(m.whole.gross_j) && isnan(m.parts[0].gross_j));
    assert_true(m.whole.min_j <= 9 && m.whole.max_j >= 9);
    assert_true(m.parts[0].flags & JOULET_FLAG_UNRESOLVED);
    assert_true(m.parts[0].flags & JOULET_FLAG_PARTIAL);
}

/* Part-time readings resolve nothing inside 120 ms, and padding brings nothing back of what they did not see: one look at the
 * busiest part would stand for all of it. Bounds hold. */
static void test_a_look_is_no_figure(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {.channel = sim_power_channel(.1, .025, true)};
    sim_init(&s, 3, 12);
    sim_step(&s, 0, 60);
    sim_step(&s, 5, 300);
    sim_step(&s, 5.12, 60);
    sim_power(&s, &trace, 25e-3);
    joulet_mark bounds[] = {sim_ns(5), sim_ns(5.03), sim_ns(5.12)};
    struct joulet_what what = {.bounds = bounds, .n_phases = 2, .isolated = true};
    struct joulet_baseline idle = {.power_w = 60, .u_w = .6, .sd_w = .3};
    struct joulet_measured m;
    for (int isolated = 0; isolated < 2; isolated++) {
        what.isolated = isolated;
        assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_TOO_SHORT);
        assert_true(isnan(m.whole.gross_j) && m.whole.min_j <= 36 && m.whole.max_j >= 36);
        assert_int_equal(m.parts[0].flags & JOULET_FLAG_UNRESOLVED, JOULET_FLAG_UNRESOLVED);
    }
    sim_trace_release(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_phases_are_joined), cmocka_unit_test(test_joined_across_the_open_boundary),
        cmocka_unit_test(test_negative_is_no_figure),   cmocka_unit_test(test_phase_without_duration),
        cmocka_unit_test(test_nothing_to_join_with),    cmocka_unit_test(test_a_look_is_no_figure),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
