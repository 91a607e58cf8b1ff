/* What goes wrong with a trace: failed reads, restarts, counters that stand still, devices that leave, traces that are too short.
 * A failed read is never a zero, a restart never a wrap; what is not known is NAN with the reason as a flag. */
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* One sample every 100 ms from 0 s, exact times, 100 W up to 1 s, 300 W from there to 2 s, then 100 W. */
enum { N = 40 };
struct fixture {
    struct joulet_sample samples[N];
    struct joulet_trace trace;
    joulet_mark bounds[5];
    double t[5];
    struct joulet_what what;
    struct joulet_baseline idle;
};

static double truth(double t)
{
    return t < 1 ? 100 * t : t < 2 ? 100 + 300 * (t - 1) : 400 + 100 * (t - 2);
}

static void set_bounds(struct fixture *f, const double *t, size_t n_phases)
{
    for (size_t i = 0; i <= n_phases; i++)
        f->bounds[i] = sim_ns(f->t[i] = t[i]);
    f->what = (struct joulet_what){.bounds = f->bounds, .n_phases = n_phases};
}

static void set_up(struct fixture *f)
{
    *f = (struct fixture){.idle = {.power_w = 100, .u_w = 1, .sd_w = .5}};
    f->trace = (struct joulet_trace){.channel = sim_gpu_counter_channel(.1, true), .samples = f->samples, .n = N};
    f->trace.channel.lag_s = f->trace.channel.u_lag_s = 0;
    for (size_t i = 0; i < N; i++)
        f->samples[i] = (struct joulet_sample){
            .t_ns = sim_ns(.1 * (double)i), .value = (int64_t)llround(truth(.1 * (double)i) * 1e6), .hw_ns = 500000};
    set_bounds(f, (const double[]){1, 1.5, 2}, 2);
}

static enum joulet_status measure(struct fixture *f, struct joulet_measured *m, struct joulet_error *err)
{
    return joulet_measure(&f->trace, &f->idle, &f->what, m, err);
}

static void test_clean(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01);
    assert_near(m.whole.net_j, 200, .01);
    assert_near(m.parts[0].gross_j, 150, .01);
    assert_int_equal(m.whole.flags, 0);
    assert_string_equal(m.whole.method, "joint-fit/1");
    assert_int_equal(m.whole.provenance, JOULET_SIMULATED);
    assert_true(isnan(m.settle_s) && isnan(m.whole.tail_j));
    f.what.isolated = true;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "padded-difference/1");
    assert_string_equal(m.parts[0].method, "joint-fit/1");
    assert_near(m.whole.net_j, 200, .01);
    assert_true(isnan(m.settle_s)); /* the trace ends before it could be seen */
}

/* The padded difference takes the idle level off from the update before the run on, and its lag is known to l_max only. */
static void test_budget_of_an_isolated_run(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    set_bounds(&f, (const double[]){.95, 1, 2}, 2);
    f.what.isolated = true;
    f.idle.power_w = 90;
    f.trace.channel.calibrated = false;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.u.idle, 1.1, 1e-9); /* from .9 s to 2 s at 1 W */
    assert_near(m.parts[1].u.idle, 1, 1e-9);
    assert_near(m.whole.u.time, hypot(10 * .05 / sqrt(3), .003 * 200), .01);
    f.trace.channel.calibrated = true;
    f.trace.channel.u_lag_s = .003;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.u.time, hypot(10 * .009 / sqrt(3), .003 * 200), .01);
}

static void test_failed_reads_inside(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    for (size_t i = 12; i < 14; i++) {
        f.samples[i].flags = JOULET_SAMPLE_FAILED;
        f.samples[i].value = 0;
    }
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01); /* the counter went on while nobody could read it */
    assert_int_equal(m.whole.flags, JOULET_FLAG_GAP);
    assert_int_equal(m.parts[0].flags, JOULET_FLAG_GAP);
    assert_int_equal(m.parts[1].flags, 0);
}

/* One failed read in power readings makes an interval longer, and its energy less certain; never a dip to zero. */
static void test_failed_power_reading(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured whole, gap;
    set_up(&f);
    f.trace.channel.quantity = JOULET_POWER;
    f.trace.channel.window_s = .1;
    f.trace.channel.contiguous = true;
    for (size_t i = 0; i < N; i++)
        f.samples[i].value = (int64_t)((i > 10 && i <= 20 ? 300 : 100) * 1e6);
    assert_int_equal(measure(&f, &whole, NULL), JOULET_OK);
    assert_near(whole.whole.gross_j, 300, .01);
    f.samples[15].flags = JOULET_SAMPLE_FAILED;
    f.samples[15].value = 0;
    f.samples[16].value = (int64_t)250e6;
    assert_int_equal(measure(&f, &gap, NULL), JOULET_OK);
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
        struct fixture f;
        struct joulet_measured m;
        struct joulet_error err;
        set_up(&f);
        for (size_t i = rows[k].at; i < N; i++)
            f.samples[i].value = (int64_t)llround((truth(.1 * (double)i) - truth(.1 * (double)rows[k].at)) * 1e6);
        if (rows[k].flagged)
            f.samples[rows[k].at].flags = JOULET_SAMPLE_RESET;
        enum joulet_status status = measure(&f, &m, &err);
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
    struct fixture f;
    struct joulet_measured m;
    struct joulet_error err;
    set_up(&f);
    for (size_t i = 0; i < N; i++)
        f.samples[i].value = 7000000;
    assert_int_equal(measure(&f, &m, &err), JOULET_FROZEN);
    assert_int_equal(m.whole.flags, JOULET_FLAG_FROZEN);
    assert_true(isnan(m.whole.gross_j));
    /* the same counter as its sampler records it: one update, and the last read */
    f.samples[1] = (struct joulet_sample){.t_ns = sim_ns(3.9), .value = 7000000, .flags = JOULET_SAMPLE_LAST};
    f.trace.n = 2;
    assert_int_equal(measure(&f, &m, &err), JOULET_FROZEN);
    /* silence that a coarse quantum explains is not frozen */
    f.trace.channel.quantum_j = 3600;
    assert_int_equal(measure(&f, &m, &err), JOULET_NO_DATA);
}

/* It moved, and stops in the middle of the run, for good: what it showed before is kept, the rest is unknown and not 0 J. */
static void test_stopped(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    struct joulet_error err;
    set_up(&f);
    f.trace.channel.period_s = .005; /* 20 periods are .1 s */
    set_bounds(&f, (const double[]){1, 1.5, 2, 2.5}, 3);
    for (size_t i = 18; i < N; i++)
        f.samples[i].value = f.samples[17].value;
    assert_int_equal(measure(&f, &m, &err), JOULET_GONE);
    assert_non_null(strstr(err.message, "stopped moving during the run"));
    assert_near(m.whole.gross_j, 210, 1); /* up to 1.7 s */
    assert_near(m.parts[0].gross_j, 150, 1);
    assert_true(isnan(m.parts[2].gross_j) && isnan(m.parts[2].max_j));
    assert_int_equal(m.parts[0].flags & (JOULET_FLAG_FROZEN | JOULET_FLAG_GONE), 0);
    assert_true(m.parts[1].flags & JOULET_FLAG_FROZEN);
    assert_true(m.parts[2].flags & JOULET_FLAG_FROZEN);
    assert_true(m.whole.flags & JOULET_FLAG_FROZEN);
    for (size_t i = 38; i < N; i++) /* it went on: only a pause, and the difference across it holds */
        f.samples[i].value += 1000000;
    assert_int_equal(measure(&f, &m, &err), JOULET_OK);
    assert_false(m.whole.flags & JOULET_FLAG_FROZEN);
}

/* The level after the run is no level when the counter has stopped: it says nothing about the one before. */
static void test_no_level_from_a_stopped_counter(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_baseline b;
    set_up(&f);
    f.trace.channel.period_s = .005;
    for (size_t i = 22; i < N; i++)
        f.samples[i].value = f.samples[21].value;
    assert_int_equal(joulet_baseline_short(&f.trace, sim_ns(.09), sim_ns(.91), sim_ns(2.5), sim_ns(4), &b, NULL), JOULET_OK);
    assert_near(b.power_w, 100, 1);
    assert_near(b.u_w, 2, .1); /* its floor alone */
}

static void test_gone(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    struct joulet_error err;
    set_up(&f);
    set_bounds(&f, (const double[]){1, 1.5, 2, 2.5}, 3);
    for (size_t i = 18; i < N; i++)
        f.samples[i].flags = JOULET_SAMPLE_FAILED;
    assert_int_equal(measure(&f, &m, &err), JOULET_GONE);
    assert_non_null(strstr(err.message, "left during the run"));
    assert_near(m.whole.gross_j, 210, .1); /* up to the last good sample, at 1.7 s */
    assert_near(m.parts[0].gross_j, 150, .1);
    assert_near(m.parts[1].gross_j, 60, .1);
    assert_true(isnan(m.parts[2].gross_j));
    assert_true(m.whole.flags & JOULET_FLAG_GONE);
    assert_true(m.parts[1].flags & JOULET_FLAG_GONE);
    assert_true(m.parts[2].flags & JOULET_FLAG_GONE);
    assert_false(m.parts[0].flags & JOULET_FLAG_GONE);
    set_bounds(&f, (const double[]){2, 2.5}, 1); /* it had left before the run began */
    assert_int_equal(measure(&f, &m, &err), JOULET_GONE);
    assert_true(isnan(m.whole.gross_j));
    assert_true(m.whole.flags & JOULET_FLAG_GONE);
}

static void test_one_failed_read_at_the_end_is_not_gone(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    f.trace.n = 21;
    f.samples[20].flags = JOULET_SAMPLE_FAILED;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, 1);
    assert_int_equal(m.whole.flags, JOULET_FLAG_TRUNCATED | JOULET_FLAG_GAP);
    f.trace.channel.period_s = 1e-3; /* many periods, but still one read */
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
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
        {"all of it", 0, N, JOULET_OK, 0},
        {"nothing before", 11, N, JOULET_OK, JOULET_FLAG_NO_LEAD_IN},
        {"nothing after", 0, 20, JOULET_OK, JOULET_FLAG_TRUNCATED},
        {"neither", 11, 20, JOULET_OK, JOULET_FLAG_NO_LEAD_IN | JOULET_FLAG_TRUNCATED},
        {"ended before the run", 0, 9, JOULET_NO_DATA, 0},
        {"began after the run", 30, N, JOULET_NO_DATA, 0},
        {"one sample", 14, 15, JOULET_NO_DATA, 0},
        {"no sample", 0, 0, JOULET_NO_DATA, 0},
    };
    for (size_t k = 0; k < JL_COUNT(rows); k++) {
        struct fixture f;
        struct joulet_measured m;
        struct joulet_error err;
        set_up(&f);
        f.trace.samples = f.samples + rows[k].from;
        f.trace.n = rows[k].to - rows[k].from;
        enum joulet_status status = measure(&f, &m, &err);
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
    struct fixture f;
    struct joulet_measured full, cut;
    set_up(&f);
    measure(&f, &full, NULL);
    f.trace.n = 19; /* up to 1.8 s */
    assert_int_equal(measure(&f, &cut, NULL), JOULET_OK);
    assert_near(cut.whole.gross_j, 300, .1);
    assert_true(cut.whole.u.b >= .2 * 60); /* a fifth of the 60 J that nobody saw */
    assert_true(cut.whole.u.b > 4 * full.whole.u.b);
}

/* Late reads are no updates for the estimate, but they bound it. */
static void test_late_samples_only_bound(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured without, with;
    set_up(&f);
    set_bounds(&f, (const double[]){1.23, 1.685}, 1);
    f.trace.channel.power_min_w = 0;
    f.trace.channel.power_max_w = 500;
    measure(&f, &without, NULL);
    struct joulet_sample more[N + 1];
    memcpy(more, f.samples, 17 * sizeof(*more));
    more[17] = (struct joulet_sample){
        .t_ns = sim_ns(1.68), .value = (int64_t)llround(truth(1.6804) * 1e6), .hw_ns = 500000, .flags = JOULET_SAMPLE_LATE};
    memcpy(more + 18, f.samples + 17, (N - 17) * sizeof(*more));
    f.trace.samples = more;
    f.trace.n = N + 1;
    assert_int_equal(measure(&f, &with, NULL), JOULET_OK);
    assert_near(with.whole.gross_j, without.whole.gross_j, 1e-9);
    assert_true(with.whole.max_j < without.whole.max_j);
    assert_true(with.whole.min_j >= without.whole.min_j);
    assert_true(with.whole.min_j <= 136.5 && with.whole.max_j >= 136.5);
}

/* ---- phases that cannot be told apart ------------------------------------------------------------------------------------- */

static void test_short_phases_are_joined(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    /* queue and prefill both between the updates at 1.0 and 1.1 s: their sum is known, each alone is not */
    set_bounds(&f, (const double[]){1, 1.01, 1.07, 2}, 3);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
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
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    set_bounds(&f, (const double[]){1, 1.41, 1.43, 1.48, 2}, 4);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
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
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    set_bounds(&f, (const double[]){2.08, 2.09}, 1); /* the power fell at 2 s already */
    assert_int_equal(measure(&f, &m, NULL), JOULET_TOO_SHORT);
    assert_true(isnan(m.whole.gross_j));
    assert_true(m.whole.min_j <= 1 && m.whole.max_j >= 1);
    f.samples[21].value += 14000000; /* contradicting by less than the noise */
    for (size_t i = 22; i < N; i++)
        f.samples[i].value += 14000000;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, m.whole.min_j, 0); /* 50 W at least */
    assert_true(m.whole.gross_pm_j > 1);
}

static void test_phase_without_duration(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    set_bounds(&f, (const double[]){1, 1, 1.5, 2}, 3);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.parts[0].gross_j, 0, 0);
    assert_near(m.parts[0].net_pm_j, 0, 0);
    assert_near(m.parts[1].gross_j, 150, .01);
    set_bounds(&f, (const double[]){1.5, 1.5}, 1);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 0, 0);
}

/* A run between two updates whose neighbourhood is unknown has bounds, and a sum over it says that it lacks it. */
static void test_nothing_to_join_with(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    struct joulet_error err;
    set_up(&f);
    set_bounds(&f, (const double[]){1.53, 1.56}, 1);
    f.trace.samples = f.samples + 15;
    f.trace.n = 2;
    assert_int_equal(measure(&f, &m, &err), JOULET_TOO_SHORT);
    assert_true(isnan(m.whole.gross_j) && isnan(m.parts[0].gross_j));
    assert_true(m.whole.min_j <= 9 && m.whole.max_j >= 9);
    assert_true(m.parts[0].flags & JOULET_FLAG_UNRESOLVED);
    assert_true(m.parts[0].flags & JOULET_FLAG_PARTIAL);
}

/* Part-time readings resolve nothing inside 120 ms, but an isolated run as a whole is known: its phases are one figure. */
static void test_only_the_whole_is_known(void **state)
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
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "padded-difference/1");
    assert_near(m.parts[1].gross_j, m.whole.gross_j, 1e-9);
    assert_int_equal(m.parts[1].flags & JOULET_FLAG_JOINED, JOULET_FLAG_JOINED);
    assert_int_equal(m.parts[0].flags & JOULET_FLAG_UNRESOLVED, JOULET_FLAG_UNRESOLVED);
    what.isolated = false;
    assert_int_equal(joulet_measure(&trace, &idle, &what, &m, NULL), JOULET_TOO_SHORT);
    sim_trace_release(&trace);
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

/* ---- other things that the caller can get wrong ------------------------------------------------------------------------------
 */

static void test_usage(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    struct joulet_error err;
    set_up(&f);
    set_bounds(&f, (const double[]){1, .5}, 1);
    assert_int_equal(measure(&f, &m, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "ascending"));
    f.what.n_phases = 0;
    assert_int_equal(measure(&f, &m, &err), JOULET_USAGE);
    f.what.n_phases = JOULET_PHASES_MAX + 1;
    assert_int_equal(measure(&f, &m, &err), JOULET_USAGE);
    set_up(&f);
    f.trace.channel.quantity = JOULET_TEMPERATURE;
    assert_int_equal(measure(&f, &m, &err), JOULET_USAGE);
    assert_true(isnan(m.whole.gross_j));
}

static void test_without_idle_level(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
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
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    f.what.isolated = true;
    f.what.quiet_until = sim_ns(2.15);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "two-slope/1"); /* 2.1 would reach into it */
    f.what.quiet_until = sim_ns(3.5);
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_string_equal(m.whole.method, "padded-difference/1");
}

/* Moments that are uncertain themselves: at a step from 100 to 300 W, 10 ms are 3 J. */
static void test_uncertain_events(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    static const double u_ev[] = {.01, 0, 0};
    set_up(&f);
    f.what.u_event_s = u_ev;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
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
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    f.trace.channel.power_max_w = 150;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.gross_j, 300, .01);
    assert_true(isnan(m.whole.min_j) && isnan(m.whole.max_j));
    assert_int_equal(m.whole.flags, 0);
}

static void test_estimates(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    f.trace.channel.provenance = JOULET_ESTIMATED;
    f.trace.channel.factor_lo = 1 / 1.6;
    f.trace.channel.factor_hi = 1 / .7;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_near(m.whole.min_j, 300 / 1.6, .01);
    assert_near(m.whole.max_j, 300 / .7, .01);
    assert_near(m.whole.net_pm_j, 200 * (1 / .7 - 1), 2); /* the farther end, and a little for the ends of the run */
    assert_true(m.whole.net_pm_j >= 200 * (1 / .7 - 1) - .01);
    assert_near(m.parts[0].gross_pm_j, 150 * (1 / .7 - 1), 2);
    assert_int_equal(m.whole.provenance, JOULET_ESTIMATED);
    assert_int_equal(m.whole.flags, 0);
    f.trace.channel.factor_lo = .4;
    f.trace.channel.factor_hi = 2.5;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_GUESSED);
    assert_near(m.whole.max_j, 750, .1);
    f.trace.channel.provenance = JOULET_SIMULATED; /* an estimate for a machine that is not this one */
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_GUESSED);
    assert_near(m.whole.min_j, 120, .1);
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
        struct fixture f;
        struct joulet_measured m;
        set_up(&f);
        memmove(f.samples + 15, f.samples + 16, (N - 16) * sizeof(f.samples[0]));
        f.trace.n = N - 1;
        f.samples[15].flags = JOULET_SAMPLE_STARVED;
        set_bounds(&f, (const double[]){rows[i].from, rows[i].to}, 1);
        assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
        if (((m.whole.flags & JOULET_FLAG_STARVED) != 0) != rows[i].fires)
            fail_msg("%g .. %g s: flags %x", rows[i].from, rows[i].to, m.whole.flags);
        assert_near(m.whole.gross_j, truth(rows[i].to) - truth(rows[i].from), 3);
    }
}

static void test_filtered(void **state)
{
    (void)state;
    struct fixture f;
    struct joulet_measured m;
    set_up(&f);
    f.trace.channel.period_s = 1e-3;
    f.trace.channel.spec = .25;
    assert_int_equal(measure(&f, &m, NULL), JOULET_OK);
    assert_int_equal(m.whole.flags, JOULET_FLAG_FILTERED);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_clean),
        cmocka_unit_test(test_budget_of_an_isolated_run),
        cmocka_unit_test(test_joined_across_the_open_boundary),
        cmocka_unit_test(test_negative_is_no_figure),
        cmocka_unit_test(test_readings_that_stop_early),
        cmocka_unit_test(test_failed_reads_inside),
        cmocka_unit_test(test_failed_power_reading),
        cmocka_unit_test(test_reset_inside),
        cmocka_unit_test(test_frozen),
        cmocka_unit_test(test_stopped),
        cmocka_unit_test(test_no_level_from_a_stopped_counter),
        cmocka_unit_test(test_gone),
        cmocka_unit_test(test_one_failed_read_at_the_end_is_not_gone),
        cmocka_unit_test(test_ends_of_the_trace),
        cmocka_unit_test(test_extrapolation_is_uncertain),
        cmocka_unit_test(test_late_samples_only_bound),
        cmocka_unit_test(test_short_phases_are_joined),
        cmocka_unit_test(test_phase_without_duration),
        cmocka_unit_test(test_nothing_to_join_with),
        cmocka_unit_test(test_only_the_whole_is_known),
        cmocka_unit_test(test_usage),
        cmocka_unit_test(test_without_idle_level),
        cmocka_unit_test(test_something_else_began),
        cmocka_unit_test(test_uncertain_events),
        cmocka_unit_test(test_uncertain_events_of_the_whole),
        cmocka_unit_test(test_tail_of_a_short_baseline),
        cmocka_unit_test(test_limits_that_do_not_hold),
        cmocka_unit_test(test_estimates),
        cmocka_unit_test(test_starved),
        cmocka_unit_test(test_filtered),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
