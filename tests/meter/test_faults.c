/* What goes wrong with a trace: failed reads, restarts, counters that stand still, devices that leave, traces that are too short.
 * A failed read is never a zero, a restart never a wrap; what is not known is NAN with the reason as a flag. */
#include "lib/meter/estimators.h"
#include "tests/base/test.h"
#include "tests/meter/steps.h"

#include <math.h>
#include <string.h>

static void test_failed_reads_inside(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    for (size_t i = 12; i < 14; i++) {
        f.samples[i].flags = JOULET_SAMPLE_FAILED;
        f.samples[i].value = 0;
    }
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01); /* the counter went on while nobody could read it */
    assert_int_equal(m.whole.flags, JOULET_FLAG_GAP);
    assert_int_equal(m.parts[0].flags, JOULET_FLAG_GAP);
    assert_int_equal(m.parts[1].flags, 0);
}

/* One failed read in power readings makes an interval longer, and its energy less certain; never a dip to zero. */
static void test_failed_power_reading(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured whole, gap;
    steps_init(&f);
    f.trace.channel.quantity = JOULET_POWER;
    f.trace.channel.window_s = .1;
    f.trace.channel.contiguous = true;
    for (size_t i = 0; i < STEPS_N; i++)
        f.samples[i].value = (int64_t)((i > 10 && i <= 20 ? 300 : 100) * 1e6);
    assert_int_equal(steps_measure(&f, &whole, NULL), JOULET_OK);
    assert_near(whole.whole.gross_j, 300, .01);
    f.samples[15].flags = JOULET_SAMPLE_FAILED;
    f.samples[15].value = 0;
    f.samples[16].value = (int64_t)250e6;
    assert_int_equal(steps_measure(&f, &gap, NULL), JOULET_OK);
    assert_near(gap.whole.gross_j, 295, 5); /* 250 W all through would be 290 J */
    assert_true(gap.whole.flags & JOULET_FLAG_GAP);
    assert_true(gap.whole.u.b > whole.whole.u.b);
    assert_true(fabs(gap.whole.gross_j - 295) <= gap.whole.gross_pm_j); /* 300 W in the lost 100 ms would be 295 J */
}

static void test_reset_inside(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        bool flagged;
        size_t at; /* first sample after the restart */
        bool inside;
    } rows[] = {
        {"flagged, in the first phase", true, 12, true},
        {"flagged, across the end", true, 20, true},
        {"a fall without a flag", false, 15, true},
        {"long before", true, 5, false},
        {"long after", true, 30, false},
    };
    for (size_t k = 0; k < JL_COUNT(rows); k++) {
        struct steps f;
        struct joulet_measured m;
        struct joulet_error err;
        steps_init(&f);
        for (size_t i = rows[k].at; i < STEPS_N; i++)
            f.samples[i].value = (int64_t)llround((steps_truth(.1 * (double)i) - steps_truth(.1 * (double)rows[k].at)) * 1e6);
        if (rows[k].flagged)
            f.samples[rows[k].at].flags = JOULET_SAMPLE_RESET;
        enum joulet_status status = steps_measure(&f, &m, &err);
        if (!rows[k].inside) {
            assert_int_equal(status, JOULET_OK);
            assert_near(m.whole.gross_j, 300, .5);
            continue;
        }
        assert_int_equal(status, JOULET_RESET);
        assert_non_null(strstr(err.message, "gpu0.board restarted"));
        assert_true(isnan(m.whole.gross_j) && isnan(m.whole.net_j) && isnan(m.parts[1].gross_j) && isnan(m.whole.max_j));
        assert_int_equal(m.whole.flags, JOULET_FLAG_RESET);
        assert_int_equal(m.parts[0].flags, JOULET_FLAG_RESET);
    }
}

static void test_frozen(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    for (size_t i = 0; i < STEPS_N; i++)
        f.samples[i].value = 7000000;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_FROZEN);
    assert_int_equal(m.whole.flags, JOULET_FLAG_FROZEN);
    assert_true(isnan(m.whole.gross_j));
    /* the same counter as its sampler records it: one update, and the last read */
    f.samples[1] = (struct joulet_sample){.t_ns = sim_ns(3.9), .value = 7000000, .flags = JOULET_SAMPLE_LAST};
    f.trace.n = 2;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_FROZEN);
    /* silence that a coarse quantum explains is not frozen */
    f.trace.channel.quantum_j = 3600;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_NO_DATA);
}

/* It moved, and stops in the middle of the run, for good: what it showed before is kept, the rest is unknown and not 0 J. */
static void test_stopped(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    f.trace.channel.period_s = .005; /* 20 periods are .1 s */
    steps_bounds(&f, (const double[]){1, 1.5, 2, 2.5}, 3);
    for (size_t i = 18; i < STEPS_N; i++)
        f.samples[i].value = f.samples[17].value;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_GONE);
    assert_non_null(strstr(err.message, "stopped moving during the run"));
    assert_near(m.whole.gross_j, 210, 1); /* up to 1.7 s */
    assert_near(m.parts[0].gross_j, 150, 1);
    assert_true(isnan(m.parts[2].gross_j) && isnan(m.parts[2].max_j));
    assert_int_equal(m.parts[0].flags & (JOULET_FLAG_FROZEN | JOULET_FLAG_GONE), 0);
    assert_true(m.parts[1].flags & JOULET_FLAG_FROZEN);
    assert_true(m.parts[2].flags & JOULET_FLAG_FROZEN);
    assert_true(m.whole.flags & JOULET_FLAG_FROZEN);
    for (size_t i = 38; i < STEPS_N; i++) /* it went on: only a pause, and the difference across it holds */
        f.samples[i].value += 1000000;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_OK);
    assert_false(m.whole.flags & JOULET_FLAG_FROZEN);
}

/* The level after the run is no level when the counter has stopped: it says nothing about the one before. */
static void test_no_level_from_a_stopped_counter(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_baseline b;
    steps_init(&f);
    f.trace.channel.period_s = .005;
    for (size_t i = 22; i < STEPS_N; i++)
        f.samples[i].value = f.samples[21].value;
    assert_int_equal(joulet_baseline_short(&f.trace, sim_ns(.09), sim_ns(.91), sim_ns(2.5), sim_ns(4), &b, NULL), JOULET_OK);
    assert_near(b.power_w, 100, 1);
    assert_near(b.u_w, 2, .1); /* its floor alone */
}

static void test_gone(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1, 1.5, 2, 2.5}, 3);
    for (size_t i = 18; i < STEPS_N; i++)
        f.samples[i].flags = JOULET_SAMPLE_FAILED;
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_GONE);
    assert_non_null(strstr(err.message, "left during the run"));
    assert_near(m.whole.gross_j, 210, .1); /* up to the last good sample, at 1.7 s */
    assert_near(m.parts[0].gross_j, 150, .1);
    assert_near(m.parts[1].gross_j, 60, .1);
    assert_true(isnan(m.parts[2].gross_j));
    assert_true(m.whole.flags & JOULET_FLAG_GONE);
    assert_true(m.parts[1].flags & JOULET_FLAG_GONE);
    assert_true(m.parts[2].flags & JOULET_FLAG_GONE);
    assert_false(m.parts[0].flags & JOULET_FLAG_GONE);
    steps_bounds(&f, (const double[]){2, 2.5}, 1); /* it had left before the run began */
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_GONE);
    assert_true(isnan(m.whole.gross_j));
    assert_true(m.whole.flags & JOULET_FLAG_GONE);
}

/* It shows its last value for a while before it is said to be gone: that time is not measured, so nothing idle is taken off it.
 */
static void test_gone_after_standing_still(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    struct joulet_error err;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1, 1.5, 2, 2.5}, 3);
    for (size_t i = 18; i < STEPS_N; i++) {
        f.samples[i].value = f.samples[17].value;
        f.samples[i].flags = i < 22 ? 0 : JOULET_SAMPLE_FAILED;
    }
    assert_int_equal(steps_measure(&f, &m, &err), JOULET_GONE);
    assert_near(m.whole.gross_j, 210, .1); /* up to the last move, at 1.7 s */
    assert_near(m.parts[1].gross_j, 60, .1);
    assert_true(isnan(m.parts[2].gross_j));
}

static void test_one_failed_read_at_the_end_is_not_gone(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.trace.n = 21;
    f.samples[20].flags = JOULET_SAMPLE_FAILED;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, 1);
    assert_int_equal(m.whole.flags, JOULET_FLAG_TRUNCATED | JOULET_FLAG_GAP);
    f.trace.channel.period_s = 1e-3; /* many periods, but still one read */
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
}

static void test_ends_of_the_trace(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        size_t from, to;
        enum joulet_status status;
        uint32_t flags;
    } rows[] = {
        {"all of it", 0, STEPS_N, JOULET_OK, 0},
        {"nothing before", 11, STEPS_N, JOULET_OK, JOULET_FLAG_NO_LEAD_IN},
        {"nothing after", 0, 20, JOULET_OK, JOULET_FLAG_TRUNCATED},
        {"neither", 11, 20, JOULET_OK, JOULET_FLAG_NO_LEAD_IN | JOULET_FLAG_TRUNCATED},
        {"ended before the run", 0, 9, JOULET_NO_DATA, 0},
        {"began after the run", 30, STEPS_N, JOULET_NO_DATA, 0},
        {"one sample", 14, 15, JOULET_NO_DATA, 0},
        {"no sample", 0, 0, JOULET_NO_DATA, 0},
    };
    for (size_t k = 0; k < JL_COUNT(rows); k++) {
        struct steps f;
        struct joulet_measured m;
        struct joulet_error err;
        steps_init(&f);
        f.trace.samples = f.samples + rows[k].from;
        f.trace.n = rows[k].to - rows[k].from;
        enum joulet_status status = steps_measure(&f, &m, &err);
        if (status != rows[k].status || m.whole.flags != rows[k].flags)
            fail_msg("%s: %s, flags %x", rows[k].name, err.message, m.whole.flags);
        if (status == JOULET_OK)
            assert_true(fabs(m.whole.gross_j - 300) <= m.whole.gross_pm_j + .01);
        else
            assert_true(isnan(m.whole.gross_j) && err.message[0]);
    }
}

static void test_extrapolation_is_uncertain(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured full, cut;
    steps_init(&f);
    steps_measure(&f, &full, NULL);
    f.trace.n = 19; /* up to 1.8 s */
    assert_int_equal(steps_measure(&f, &cut, NULL), JOULET_OK);
    assert_near(cut.whole.gross_j, 300, .1);
    assert_true(cut.whole.u.b >= .2 * 60); /* a fifth of the 60 J that nobody saw */
    assert_true(cut.whole.u.b > 4 * full.whole.u.b);
}

/* Late reads are no updates for the estimate, but they bound it. */
static void test_late_samples_only_bound(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured without, with;
    steps_init(&f);
    steps_bounds(&f, (const double[]){1.23, 1.685}, 1);
    f.trace.channel.power_min_w = 0;
    f.trace.channel.power_max_w = 500;
    steps_measure(&f, &without, NULL);
    struct joulet_sample more[STEPS_N + 1];
    memcpy(more, f.samples, 17 * sizeof(*more));
    more[17] = (struct joulet_sample){
        .t_ns = sim_ns(1.68), .value = (int64_t)llround(steps_truth(1.6804) * 1e6), .hw_ns = 500000, .flags = JOULET_SAMPLE_LATE};
    memcpy(more + 18, f.samples + 17, (STEPS_N - 17) * sizeof(*more));
    f.trace.samples = more;
    f.trace.n = STEPS_N + 1;
    assert_int_equal(steps_measure(&f, &with, NULL), JOULET_OK);
    assert_near(with.whole.gross_j, without.whole.gross_j, 1e-9);
    assert_true(with.whole.max_j < without.whole.max_j);
    assert_true(with.whole.min_j >= without.whole.min_j);
    assert_true(with.whole.min_j <= 136.5 && with.whole.max_j >= 136.5);
}

/* A sensor every read of which takes long is slow, not blind: its reads are all there is, each as uncertain as it is. */
static void test_late_samples_are_used_where_they_are_the_rule(void **state)
{
    static const struct {
        const char *name;
        size_t first, end, step; /* which samples are late */
        size_t used;             /* of the 11 from 1 s to 2 s */
    } rows[] = {
        {"none", 0, 0, 1, 11},  {"every one", 0, STEPS_N, 1, 11}, {"every second", 1, STEPS_N, 2, 6},
        {"one", 15, 16, 1, 10}, {"two in a row", 15, 17, 1, 9},   {"the middle one of three", 14, 17, 1, 9},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct steps f;
        struct joulet_measured m;
        struct jl_params p;
        struct jl_edges e;
        steps_init(&f);
        for (size_t k = rows[i].first; k < rows[i].end; k += rows[i].step) {
            f.samples[k].flags = JOULET_SAMPLE_LATE;
            f.samples[k].hw_ns = 20000000;
        }
        jl_params_of(&f.trace, &p);
        p.by_change = false; /* a half-width is no reason here */
        struct jl_slice all = jl_slice_of(&f.trace, sim_ns(0), sim_ns(4), 0, sim_ns(0));
        assert_true(jl_edges_of(&all, &p, JL_FOR_ESTIMATES, &e));
        size_t used = 0;
        for (size_t k = 0; k < e.n; k++)
            used += e.items[k].t > .95 && e.items[k].t < 2.05;
        jl_edges_release(&e);
        if (used != rows[i].used)
            fail_msg("%s: %zu used", rows[i].name, used);
        assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
        assert_near(m.whole.gross_j, 300, fmax(m.whole.gross_pm_j, .01));
        if (rows[i].end == STEPS_N && rows[i].step == 1)
            assert_true(m.whole.gross_pm_j > 2 * .02 * 100 / sqrt(3)); /* 20 ms at 100 W at least */
    }
}

/* The sampler waited for the processor from 1.4 to 1.6 s: phases that this touches say so, others do not. */
static void test_starved(void **state)
{
    (void)state;
    static const struct {
        double from, to;
        bool fires;
    } rows[] = {{1, 2, true}, {1.45, 1.55, true}, {1.55, 2, true}, {1, 1.45, true}, {0.5, 1.35, false}, {1.65, 2.5, false}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct steps f;
        struct joulet_measured m;
        steps_init(&f);
        memmove(f.samples + 15, f.samples + 16, (STEPS_N - 16) * sizeof(f.samples[0]));
        f.trace.n = STEPS_N - 1;
        f.samples[15].flags = JOULET_SAMPLE_STARVED;
        steps_bounds(&f, (const double[]){rows[i].from, rows[i].to}, 1);
        assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
        if (((m.whole.flags & JOULET_FLAG_STARVED) != 0) != rows[i].fires)
            fail_msg("%g .. %g s: flags %x", rows[i].from, rows[i].to, m.whole.flags);
        assert_near(m.whole.gross_j, steps_truth(rows[i].to) - steps_truth(rows[i].from), 3);
    }
}

static void test_filtered(void **state)
{
    (void)state;
    struct steps f;
    struct joulet_measured m;
    steps_init(&f);
    f.trace.channel.period_s = 1e-3;
    f.trace.channel.spec = .25;
    assert_int_equal(steps_measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_FILTERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_failed_reads_inside),
        cmocka_unit_test(test_failed_power_reading),
        cmocka_unit_test(test_reset_inside),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_no_level_from_a_stopped_counter),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_gone_after_standing_still),
        cmocka_unit_test(test_one_failed_read_at_the_end_is_not_gone),
        cmocka_unit_test(test_ends_of_the_trace),
        cmocka_unit_test(test_extrapolation_is_uncertain),
        cmocka_unit_test(test_late_samples_only_bound),
        cmocka_unit_test(test_late_samples_are_used_where_they_are_the_rule),
        cmocka_unit_test(test_starved),
        cmocka_unit_test(test_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
