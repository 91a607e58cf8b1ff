/* Idle level, tail and displayed power on traces of simulated devices. */
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum device { RAPL, COUNTER, POWER_WIDE, DEVICES };

static void play(struct sim *s, enum device d, struct joulet_trace *trace)
{
    if (d == RAPL) {
        trace->channel = sim_rapl_channel();
        sim_fast_counter(s, trace, 10e-3, (struct sim_events){0}, 0);
    } else if (d == COUNTER) {
        trace->channel = sim_gpu_counter_channel(.1, false);
        sim_slow_counter(s, trace, 1e-3, sim_uniform(s, 0, 50e-3));
    } else {
        trace->channel = sim_power_channel(.1, 1, true);
        sim_power(s, trace, 25e-3);
    }
}

/* The level before a run must hold nothing of the run, even where an update straddles its start. */
static void test_level_before_a_run(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 30; seed++) {
        struct sim s;
        struct joulet_trace trace = {0};
        struct joulet_baseline b;
        struct joulet_error err;
        sim_init(&s, seed, 16);
        sim_step(&s, 0, 60);
        sim_step(&s, 12.03, 420);
        play(&s, (enum device)(seed % DEVICES), &trace);
        assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(12.03), &b, &err), JOULET_OK);
        assert_near(b.power_w, 60, .3);
        assert_near(b.u_w, .6, .2); /* the floor of 1 % */
        assert_int_equal(b.from_ns, sim_ns(2));
        assert_int_equal(b.flags, 0);
        assert_int_equal(joulet_baseline_short(&trace, sim_ns(11.03), sim_ns(12.03), 0, 0, &b, &err), JOULET_OK);
        assert_near(b.power_w, 60, .8);
        assert_near(b.u_w, .02 * b.power_w, 1e-9);
        assert_int_equal(b.flags, JOULET_FLAG_SHORT_BASELINE);
        assert_true(isnan(b.sd_w));
        sim_trace_release(&trace);
    }
}

static void test_level_after_counts_in_the_short_form(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 12; seed++) {
        struct sim s;
        struct joulet_trace trace = {0};
        struct joulet_baseline b;
        sim_init(&s, seed, 16);
        sim_step(&s, 0, 60);
        sim_step(&s, 3, 420);
        sim_step(&s, 5, 66);
        play(&s, (enum device)(seed % DEVICES), &trace);
        assert_int_equal(joulet_baseline_short(&trace, sim_ns(2), sim_ns(3), sim_ns(5), sim_ns(9), &b, NULL), JOULET_OK);
        assert_near(b.power_w, 60, .8);
        assert_near(b.u_w, 3, .5); /* half of 66 - 60; none of the 420 W */
        sim_trace_release(&trace);
    }
}

static void test_level_faults(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {0};
    struct joulet_baseline b;
    struct joulet_error err;
    sim_init(&s, 5, 10);
    sim_step(&s, 0, 60);
    play(&s, RAPL, &trace);
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(3.5), &b, &err), JOULET_TOO_SHORT);
    assert_true(isnan(b.power_w) && strstr(err.message, "2 s"));
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(8), sim_ns(18), &b, &err), JOULET_NO_DATA);
    assert_int_equal(joulet_baseline_short(&trace, sim_ns(20), sim_ns(21), 0, 0, &b, &err), JOULET_NO_DATA);
    assert_int_equal(joulet_baseline_short(&trace, sim_ns(3), sim_ns(3), 0, 0, &b, &err), JOULET_TOO_SHORT);
    trace.samples[500].flags |= JOULET_SAMPLE_RESET;
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(8), &b, &err), JOULET_RESET);
    trace.samples[500].flags = 0;
    for (size_t i = 0; i < trace.n; i++)
        trace.samples[i].value = 1;
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(8), &b, &err), JOULET_FROZEN); /* not 0 W */
    assert_true(isnan(b.power_w) && isnan(b.u_w));
    trace.n = 0;
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(8), &b, &err), JOULET_NO_DATA);
    trace.channel.quantity = JOULET_CLOCK;
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(8), &b, &err), JOULET_USAGE);
    sim_trace_release(&trace);
}

/* Failed reads are left out, never counted as 0 W. */
static void test_level_over_failed_reads(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {0};
    struct joulet_baseline b;
    sim_init(&s, 6, 10);
    sim_step(&s, 0, 60);
    play(&s, POWER_WIDE, &trace);
    for (size_t i = 30; i < trace.n; i += 7) {
        trace.samples[i].flags = JOULET_SAMPLE_FAILED;
        trace.samples[i].value = 0;
    }
    assert_int_equal(joulet_baseline_from(&trace, sim_ns(2), sim_ns(9), &b, NULL), JOULET_OK);
    assert_near(b.power_w, 60, .3);
    sim_trace_release(&trace);
}

/* ---- tail ---------------------------------------------------------------------------------------------------------------- */

static void test_tail(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double after_w, after_s, rest_w, cap_s, tail_j, settle_s, level_w;
        uint32_t flags;
    } rows[] = {
        {"settled at once", 60, 1, 60, 30, 0, 0, 60, 0},
        {"30 W more for 3 s", 90, 3, 60, 30, 90, 3, 60, 0},
        {"30 W more for 2.4 s", 90, 2.4, 60, 30, 72, 3, 60, 0},
        {"followed for 2 s only", 90, 3, 60, 2, 60, 2, NAN, 0},
        {"short cap, settled", 60, 1, 60, 2, 0, 0, 60, 0},
        {"idle has moved", 66, 1, 66, 5, 30, 5, 66, JOULET_FLAG_IDLE_DRIFT},
        {"trace ends before the cap", 90, 30, 60, 30, NAN, NAN, NAN, 0},
    };
    const struct joulet_baseline idle = {.power_w = 60, .u_w = .6, .sd_w = .3};
    for (size_t k = 0; k < JL_COUNT(rows); k++)
        for (uint64_t seed = 1; seed <= 6; seed++) {
            struct sim s;
            struct joulet_trace trace = {0};
            struct joulet_tail t;
            sim_init(&s, seed, 16);
            sim_step(&s, 0, 60);
            sim_step(&s, 3, 420);
            sim_step(&s, 5, rows[k].after_w);
            sim_step(&s, 5 + rows[k].after_s, rows[k].rest_w);
            play(&s, (enum device)(seed % DEVICES), &trace);
            assert_int_equal(joulet_tail_from(&trace, &idle, sim_ns(5), rows[k].cap_s, &t, NULL), JOULET_OK);
            if (isnan(rows[k].tail_j)) {
                assert_true(isnan(t.tail_j) && isnan(t.settle_s) && isnan(t.level_w));
            } else {
                double slack = seed % DEVICES == POWER_WIDE ? 20
                               : seed % DEVICES == COUNTER  ? 12
                                                            : 1; /* lag, or windows of 1 s */
                if (fabs(t.tail_j - rows[k].tail_j) > slack)
                    fail_msg("%s: %g J, want %g J", rows[k].name, t.tail_j, rows[k].tail_j);
                assert_near(t.settle_s, rows[k].settle_s, seed % DEVICES == POWER_WIDE ? 1 : 0);
                assert_true(isnan(t.level_w) == isnan(rows[k].level_w) && !(fabs(t.level_w - rows[k].level_w) > 1));
            }
            assert_int_equal(t.flags, rows[k].flags);
            sim_trace_release(&trace);
        }
}

static void test_tail_beside_an_isolated_run(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {0};
    struct joulet_measured m;
    const struct joulet_baseline idle = {.power_w = 15, .u_w = .15, .sd_w = .1};
    joulet_mark bounds[] = {sim_ns(3), sim_ns(3.5)};
    struct joulet_what what = {.bounds = bounds, .n_phases = 1, .isolated = true};
    sim_init(&s, 9, 16);
    sim_step(&s, 0, 15);
    sim_step(&s, 3, 100);
    sim_step(&s, 3.5, 25);
    sim_step(&s, 6.5, 15);
    play(&s, RAPL, &trace);
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_OK);
    assert_near(m.whole.net_j, 42.5, .3); /* none of the tail is in it */
    assert_near(m.whole.tail_j, 30, .3);
    assert_near(m.settle_s, 3, 0);
    what.quiet_until = sim_ns(5.5); /* another run began: the tail is known for 2 s */
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_OK);
    assert_near(m.whole.tail_j, 20, .3);
    sim_trace_release(&trace);
}

static void test_tail_faults(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {0};
    struct joulet_tail t;
    struct joulet_error err;
    const struct joulet_baseline idle = {.power_w = 60}, none = JOULET_BASELINE_NONE;
    sim_init(&s, 9, 6);
    sim_step(&s, 0, 60);
    play(&s, RAPL, &trace);
    assert_int_equal(joulet_tail_from(&trace, &none, sim_ns(3), 30, &t, &err), JOULET_USAGE);
    assert_int_equal(joulet_tail_from(&trace, NULL, sim_ns(3), 30, &t, &err), JOULET_USAGE);
    assert_int_equal(joulet_tail_from(&trace, &idle, sim_ns(7), 30, &t, &err), JOULET_NO_DATA);
    assert_true(isnan(t.tail_j));
    sim_trace_release(&trace);
}

/* ---- power for display ------------------------------------------------------------------------------------------- */

static void test_power_of_readings(void **state)
{
    (void)state;
    /* 50 W for 1 s, 300 W for .2 s, 240 W for 1.5 s, 245 W for 2 s, 60 W for 1 s */
    static const struct {
        double w, d;
    } rows[] = {{50, 1}, {300, .2}, {240, 1.5}, {245, 2}, {60, 1}};
    struct joulet_sample samples[6] = {{.t_ns = sim_ns(0), .value = 50000000}};
    struct joulet_trace trace = {.channel = sim_power_channel(.1, .1, true), .samples = samples, .n = 6};
    struct joulet_power p;
    double t = 0;
    trace.channel.lag_s = 0;
    for (size_t i = 0; i < 5; i++)
        samples[i + 1] = (struct joulet_sample){.t_ns = sim_ns(t += rows[i].d), .value = (int64_t)(rows[i].w * 1e6)};
    joulet_power_in(&trace, sim_ns(0), sim_ns(5.7), &p);
    assert_near(p.p50_w, 240, 1e-6);
    assert_near(p.p95_w, 245, 1e-6);
    assert_near(p.mean_w, 178.947368, 1e-6);
    assert_near(p.min_w, 50, 1e-6);
    assert_near(p.max_w, 300, 1e-6);
    assert_int_equal(p.updates, 5); /* those in [0, 5.7) */
    samples[2].flags = JOULET_SAMPLE_REPEAT;
    joulet_power_in(&trace, sim_ns(1.1), sim_ns(1.9), &p); /* cut at both ends */
    assert_near(p.mean_w, (.1 * 300 + .7 * 240) / .8, 1e-6);
    assert_int_equal(p.updates, 0); /* a repeated value is not a new one */
    joulet_power_in(&trace, sim_ns(7), sim_ns(8), &p);
    assert_true(isnan(p.mean_w) && isnan(p.min_w) && isnan(p.p95_w));
    assert_int_equal(p.updates, 0);
    joulet_power_in(&trace, sim_ns(2), sim_ns(2), &p);
    assert_true(isnan(p.mean_w));
}

/* Updates a millisecond apart whose times are known to half of it would show any peak one likes. */
static void test_power_is_not_noise(void **state)
{
    (void)state;
    struct sim s;
    struct joulet_trace trace = {.channel = sim_rapl_channel()};
    struct joulet_power p;
    double events[] = {2.003, 2.007, 2.5, 3.1};
    sim_init(&s, 4, 6);
    sim_step(&s, 0, 50);
    sim_fast_counter(&s, &trace, 10e-3, (struct sim_events){events, 4}, 0);
    joulet_power_in(&trace, sim_ns(1.5), sim_ns(4), &p);
    assert_near(p.mean_w, 50, .1);
    assert_true(p.min_w > 40 && p.max_w < 60);
    assert_in_range(p.updates, 230, 290);
    sim_trace_release(&trace);
}

static void test_power_across_a_restart(void **state)
{
    (void)state;
    struct joulet_sample samples[40];
    struct joulet_trace trace = {.channel = sim_gpu_counter_channel(.1, true), .samples = samples, .n = 40};
    struct joulet_power p;
    for (size_t i = 0; i < 40; i++)
        samples[i] =
            (struct joulet_sample){.t_ns = sim_ns(.1 * (double)i), .value = (int64_t)((i < 20 ? 900 + i : i - 20) * 10000000)};
    samples[20].flags = JOULET_SAMPLE_RESET;
    joulet_power_in(&trace, sim_ns(1), sim_ns(3), &p);
    assert_near(p.min_w, 100, 1e-6);
    assert_near(p.max_w, 100, 1e-6);
}

/* ---- several levels -------------------------------------------------------------------------------------------------- */

static struct joulet_baseline level_at(double from, double power_w, double u_w)
{
    return (struct joulet_baseline){
        .power_w = power_w, .u_w = u_w, .sd_w = .5, .from_ns = sim_ns(from), .to_ns = sim_ns(from + 10)};
}

static void test_between_two_levels(void **state)
{
    (void)state;
    struct joulet_baseline all[] = {level_at(100, 64, .8), level_at(0, 60, .6), JOULET_BASELINE_NONE}, b;
    joulet_baseline_at(all, 3, sim_ns(28), sim_ns(32), &b); /* a quarter of the way */
    assert_near(b.power_w, 61, 1e-9);
    assert_near(b.u_w, .65, 1e-9);
    joulet_baseline_at(all, 3, sim_ns(200), sim_ns(210), &b); /* nothing after */
    assert_near(b.power_w, 64, 0);
    assert_near(b.u_w, .8, 0);
    joulet_baseline_at(all + 1, 1, sim_ns(-20), sim_ns(-10), &b); /* nothing before */
    assert_near(b.power_w, 60, 0);
    joulet_baseline_at(all + 2, 1, 0, 1, &b);
    assert_true(isnan(b.power_w));
    joulet_baseline_at(NULL, 0, 0, 1, &b);
    assert_true(isnan(b.power_w));
}

static void test_spread_of_three_levels(void **state)
{
    (void)state;
    struct joulet_baseline all[] = {level_at(0, 60, .6), level_at(100, 63, .6), level_at(200, 57, .6)}, b;
    joulet_baseline_at(all, 2, sim_ns(104), sim_ns(106), &b);
    assert_near(b.u_w, .6, 1e-9); /* two say nothing of spread */
    joulet_baseline_at(all, 3, sim_ns(104), sim_ns(106), &b);
    assert_near(b.power_w, 63, 1e-9);
    assert_near(b.u_w, 3, 1e-9);
}

static void test_seconds_for_an_accuracy(void **state)
{
    (void)state;
    static const struct {
        double sd, r1, run_w, relative, want;
    } rows[] = {
        {2, 0, 260, .02, 2},     /* (2 2/4)^2 = 1, at least 2 */
        {4, 0, 160, .02, 16},    /* (2 4/2)^2 */
        {4, .5, 160, .02, 48},   /* three times as many */
        {4, -.5, 160, .02, 16},  /* clamped */
        {4, 2, 160, .02, 144},   /* clamped to .8 */
        {4, NAN, 160, .02, 16},  /* not known */
        {4, 0, 100, .02, NAN},   /* 1.2 W of floor, 0.8 W wanted */
        {4, 0, 50, .02, NAN},    /* no rise */
        {NAN, 0, 160, .02, NAN}, /* a short level has no spread */
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_baseline b = {.power_w = 60, .sd_w = rows[i].sd};
        double s = joulet_baseline_seconds(&b, rows[i].r1, rows[i].run_w, rows[i].relative);
        if (isnan(rows[i].want) ? !isnan(s) : !(fabs(s - rows[i].want) < 1e-9))
            fail_msg("row %d: %g s, want %g", (int)i, s, rows[i].want);
    }
}

/* What such a counter grew by between two of its values may all be the run's. */
static void test_a_counter_of_a_minute_has_no_level(void **state)
{
    (void)state;
    struct joulet_sample x[4];
    struct joulet_trace t = {.samples = x, .n = 4, .channel = sim_gpu_counter_channel(60, false)};
    struct joulet_baseline b;
    struct joulet_error err;
    for (int i = 0; i < 4; i++)
        x[i] = (struct joulet_sample){.t_ns = sim_ns(60.0 * i), .value = i * INT64_C(3600000000), .hw_ns = 250000000};
    assert_int_equal(joulet_baseline_from(&t, sim_ns(70), sim_ns(80), &b, &err), JOULET_NO_DATA);
    assert_true(isnan(b.power_w));
    assert_true(strstr(err.message, "too seldom") != NULL);
    assert_int_equal(joulet_baseline_short(&t, sim_ns(70), sim_ns(71), sim_ns(75), sim_ns(76), &b, &err), JOULET_NO_DATA);
    assert_true(isnan(b.power_w));
}

static void test_share_left_open(void **state)
{
    (void)state;
    static const struct {
        double u, run_w, want;
    } rows[] = {{.8, 260, .008}, {.8, 80, .08}, {.8, 60, INFINITY}, {.8, 40, INFINITY}, {.8, NAN, NAN}, {NAN, 260, NAN}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_baseline b = {.power_w = 60, .u_w = rows[i].u};
        double doubt = joulet_baseline_doubt(&b, rows[i].run_w), want = rows[i].want;
        if (isfinite(want) ? !(fabs(doubt - want) < 1e-12) : isnan(want) ? !isnan(doubt) : doubt != want)
            fail_msg("row %d: %g, want %g", (int)i, doubt, want);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_level_before_a_run),
        cmocka_unit_test(test_level_after_counts_in_the_short_form),
        cmocka_unit_test(test_level_faults),
        cmocka_unit_test(test_level_over_failed_reads),
        cmocka_unit_test(test_tail),
        cmocka_unit_test(test_tail_beside_an_isolated_run),
        cmocka_unit_test(test_tail_faults),
        cmocka_unit_test(test_power_of_readings),
        cmocka_unit_test(test_power_is_not_noise),
        cmocka_unit_test(test_power_across_a_restart),
        cmocka_unit_test(test_between_two_levels),
        cmocka_unit_test(test_spread_of_three_levels),
        cmocka_unit_test(test_seconds_for_an_accuracy),
        cmocka_unit_test(test_share_left_open),
        cmocka_unit_test(test_a_counter_of_a_minute_has_no_level),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
