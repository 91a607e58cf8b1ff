/* What must hold for every trace: parts sum to the whole, bounds hold the truth, intervals hold it as often as they say, the same
 * input gives the same bits. Seeded, so that a failure can be replayed. */
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum kind { RAPL_POLLED, RAPL_LOCKED, COUNTER_20, COUNTER_100, COUNTER_100_NOT, POWER_100, POWER_25, POWER_1000, KINDS };
static const char *const kind_names[] = {
    "RAPL polled",     "RAPL locked",    "20 ms counter",   "100 ms counter", "100 ms counter, uncalibrated",
    "power 100 / 100", "power 25 / 100", "power 1000 / 100"};

static void play(struct sim *s, enum kind kind, struct joulet_trace *trace, struct sim_events events)
{
    double lag = kind <= RAPL_LOCKED ? sim_normal(s, 0.3e-3) : 25e-3 + sim_normal(s, 3e-3);
    if (kind == COUNTER_100_NOT)
        lag = sim_uniform(s, 0, 50e-3);
    if (kind == RAPL_POLLED || kind == RAPL_LOCKED) {
        trace->channel = sim_rapl_channel();
        sim_fast_counter(s, trace, 10e-3, kind == RAPL_LOCKED ? events : (struct sim_events){0}, lag);
    } else if (kind <= COUNTER_100_NOT) {
        trace->channel = sim_gpu_counter_channel(kind == COUNTER_20 ? .02 : .1, kind != COUNTER_100_NOT);
        sim_slow_counter(s, trace, 1e-3, lag);
    } else {
        double W = kind == POWER_25 ? .025 : kind == POWER_1000 ? 1 : .1;
        trace->channel = sim_power_channel(.1, W, true);
        sim_power(s, trace, lag);
    }
}

/* ---- parts and whole ------------------------------------------------------------------------------------------------------- */

struct run {
    joulet_mark bounds[JOULET_PHASES_MAX + 1];
    double t[JOULET_PHASES_MAX + 1];
    struct joulet_what what;
    struct joulet_baseline idle;
};

/* Idle, one to six phases of any length (none at all now and then), idle. */
static void random_run(struct sim *s, struct run *r)
{
    size_t n = 1 + (size_t)jl_rng_below(&s->rng, 6);
    double t = 2 + sim_uniform(s, 0, .1), P0 = sim_uniform(s, 20, 80);
    *r = (struct run){.idle = {.power_w = P0, .u_w = .01 * P0, .sd_w = .5}};
    sim_step(s, 0, P0);
    for (size_t i = 0; i <= n; i++) {
        r->t[i] = t;
        r->bounds[i] = sim_ns(t);
        bool empty = jl_rng_below(&s->rng, 8) == 0;
        double d = empty ? 0 : pow(10, sim_uniform(s, -2.5, 0.3));
        if (!empty || i == n)
            sim_step(s, t, i < n ? sim_uniform(s, 90, 450) : P0 + sim_uniform(s, 0, 10));
        t += i < n ? d : 0;
    }
    r->what = (struct joulet_what){.bounds = r->bounds, .n_phases = n, .isolated = jl_rng_below(&s->rng, 2)};
    s->length_s = t + 5;
    s->rise_s = 1e-3;
}

static void check_parts(const struct joulet_measured *m, size_t n, const char *name, uint64_t seed)
{
    double gross = 0, net = 0;
    size_t figures = 0;
    for (size_t i = 0; i < n; i++) {
        const struct joulet_energy *e = &m->parts[i];
        if (isnan(e->gross_j)) {
            if (!(e->flags & JOULET_FLAG_UNRESOLVED))
                fail_msg("%s, seed %d: part %d is unknown without a reason", name, (int)seed, (int)i);
            continue;
        }
        figures++;
        gross += e->gross_j;
        net += e->net_j;
        if (e->gross_j < 0 || !(e->gross_pm_j >= 0) || (e->min_j > e->max_j + 1e-9))
            fail_msg("%s, seed %d: part %d is %g +- %g, %g .. %g", name, (int)seed, (int)i, e->gross_j, e->gross_pm_j, e->min_j,
                     e->max_j);
    }
    if (isnan(m->whole.gross_j))
        return;
    assert_true(figures > 0);
    if (fabs(gross - m->whole.gross_j) > 1e-12 * fabs(gross) || fabs(net - m->whole.net_j) > 1e-12 * fabs(net))
        fail_msg("%s, seed %d: parts %.17g, whole %.17g", name, (int)seed, gross, m->whole.gross_j);
}

static void test_parts_sum_to_the_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 400; seed++) {
        struct sim s;
        struct run r;
        struct joulet_trace trace = {0};
        struct joulet_measured m;
        struct joulet_error err;
        enum kind kind = (enum kind)(seed % KINDS);
        sim_init(&s, seed, 0);
        random_run(&s, &r);
        play(&s, kind, &trace, (struct sim_events){r.t, r.what.n_phases + 1});
        enum joulet_status status = joulet_measure(&trace, &r.idle, &r.what, &m, &err);
        if (status != JOULET_OK && status != JOULET_TOO_SHORT)
            fail_msg("%s, seed %d: %s", kind_names[kind], (int)seed, err.message);
        check_parts(&m, r.what.n_phases, kind_names[kind], seed);
        sim_trace_release(&trace);
    }
}

static void test_same_input_same_bits(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 16; seed++) {
        struct sim s;
        struct run r;
        struct joulet_trace trace = {0};
        struct joulet_measured a, b;
        sim_init(&s, seed, 0);
        random_run(&s, &r);
        play(&s, (enum kind)(seed % KINDS), &trace, (struct sim_events){r.t, r.what.n_phases + 1});
        memset(&a, 0, sizeof(a));
        memset(&b, 0xff, sizeof(b));
        joulet_measure(&trace, &r.idle, &r.what, &a, NULL);
        joulet_measure(&trace, &r.idle, &r.what, &b, NULL);
        assert_memory_equal(&a.whole.gross_j, &b.whole.gross_j, sizeof(double));
        assert_memory_equal(&a.whole.u, &b.whole.u, sizeof(a.whole.u));
        for (size_t i = 0; i < r.what.n_phases; i++) {
            assert_memory_equal(&a.parts[i].gross_j, &b.parts[i].gross_j, sizeof(double));
            assert_memory_equal(&a.parts[i].max_j, &b.parts[i].max_j, sizeof(double));
        }
        sim_trace_release(&trace);
    }
}

/* ---- bounds ------------------------------------------------------------------------------------------------------ */

static void check_bounds(const struct sim *s, const struct run *r, const struct joulet_measured *m, enum kind kind, uint64_t seed)
{
    for (size_t i = 0; i < r->what.n_phases; i++) {
        const struct joulet_energy *e = &m->parts[i];
        double truth = sim_energy(s, r->t[i], r->t[i + 1]);
        if (e->flags & JOULET_FLAG_JOINED)
            continue; /* holds its neighbour too */
        if (truth < e->min_j - 1e-9 || truth > e->max_j + 1e-9)
            fail_msg("%s, seed %d: part %d is %g, bounds %g .. %g", kind_names[kind], (int)seed, (int)i, truth, e->min_j,
                     e->max_j);
    }
    double truth = sim_energy(s, r->t[0], r->t[r->what.n_phases]);
    if (truth < m->whole.min_j - 1e-9 || truth > m->whole.max_j + 1e-9)
        fail_msg("%s, seed %d: whole is %g, bounds %g .. %g", kind_names[kind], (int)seed, truth, m->whole.min_j, m->whole.max_j);
}

static void test_bounds_hold_the_truth(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 500; seed++) {
        struct sim s;
        struct run r;
        struct joulet_trace trace = {0};
        struct joulet_measured m;
        enum kind kind = (enum kind)(seed % POWER_100);
        sim_init(&s, 7000 + seed, 0);
        random_run(&s, &r);
        play(&s, kind, &trace, (struct sim_events){r.t, r.what.n_phases + 1});
        trace.channel.power_min_w = 15;
        trace.channel.power_max_w = 500;
        enum joulet_status status = joulet_measure(&trace, &r.idle, &r.what, &m, NULL);
        assert_true(status == JOULET_OK || status == JOULET_TOO_SHORT);
        check_bounds(&s, &r, &m, kind, seed);
        sim_trace_release(&trace);
    }
}

/* Power readings are noisy by 0.3 W and 0.5 ms, which their bounds do not know: both are off here. */
static void test_bounds_of_exact_power_readings(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 120; seed++) {
        struct sim s;
        struct run r;
        struct joulet_trace trace = {0};
        struct joulet_measured m;
        double W = seed % 2 ? .025 : 1;
        sim_init(&s, 9000 + seed, 0);
        random_run(&s, &r);
        trace.channel = sim_power_channel(.1, W, true);
        trace.channel.power_min_w = 15;
        trace.channel.power_max_w = 500;
        trace.samples = calloc((size_t)(s.length_s / .1) + 2, sizeof(*trace.samples));
        for (double t = W + .1; t < s.length_s; t += .1)
            trace.samples[trace.n++] = (struct joulet_sample){
                .t_ns = sim_ns(t), .value = (int64_t)floor(sim_energy(&s, t - .025 - W, t - .025) / W * 1e6 + .5), .hw_ns = 1};
        enum joulet_status status = joulet_measure(&trace, &r.idle, &r.what, &m, NULL);
        assert_true(status == JOULET_OK || status == JOULET_TOO_SHORT);
        check_bounds(&s, &r, &m, seed % 2 ? POWER_25 : POWER_1000, seed);
        sim_trace_release(&trace);
    }
}

/* ---- coverage ---------------------------------------------------------------------------------------------------- */

struct tally {
    int held, seen, resolved;
    double square;
};

/* A prefill of duration d, decode, idle: the printed interval of the prefill (even seeds) or of the decode (odd seeds). */
static void one_window(uint64_t seed, enum kind kind, double d, bool isolated, struct tally *out)
{
    struct sim s;
    struct joulet_trace trace = {0};
    struct joulet_measured m;
    double scale = kind <= RAPL_LOCKED ? .25 : 1, a = 3.1;
    sim_init(&s, seed, 0);
    a += sim_uniform(&s, 0, .1);
    double idle = 60 * scale * sim_uniform(&s, .85, 1.15), t[] = {a, a + d, a + d + 2};
    if (seed % 2) {
        t[1] = a + .4;
        t[2] = a + .4 + d;
    }
    sim_step(&s, 0, idle);
    sim_step(&s, t[0], 420 * scale * sim_uniform(&s, .85, 1.15));
    sim_step(&s, t[1], 240 * scale * sim_uniform(&s, .85, 1.15));
    sim_step(&s, t[2], idle + 30 * scale * sim_uniform(&s, 0, 1));
    s.rise_s = kind <= RAPL_LOCKED ? sim_uniform(&s, .1e-3, .5e-3) : sim_uniform(&s, .5e-3, 5e-3);
    s.length_s = t[2] + 5.5;
    sim_add_noise(&s, sim_uniform(&s, .01, .03));
    play(&s, kind, &trace, (struct sim_events){t, 3});
    joulet_mark bounds[] = {sim_ns(t[0]), sim_ns(t[1]), sim_ns(t[2])};
    struct joulet_baseline P0 = {.power_w = idle, .u_w = .01 * idle, .sd_w = 1};
    struct joulet_what what = {.bounds = bounds, .n_phases = 2, .isolated = isolated};
    assert_int_equal(joulet_measure(&trace, &P0, &what, &m, NULL), JOULET_OK);
    const struct joulet_energy *e = &m.parts[seed % 2];
    double truth = sim_energy(&s, t[seed % 2], t[seed % 2 + 1]);
    out->seen++;
    if (!(e->flags & JOULET_FLAG_JOINED) && !isnan(e->gross_j)) {
        out->resolved++;
        out->held += fabs(e->gross_j - truth) <= e->gross_pm_j;
        out->square += pow(e->gross_j / truth - 1, 2);
    }
    sim_trace_release(&trace);
    sim_release(&s);
}

static void test_intervals_hold(void **state)
{
    (void)state;
    static const struct {
        enum kind kind;
        double d;
        bool isolated;
        double rms; /* largest relative error that is still right, rms */
    } rows[] = {
        {RAPL_POLLED, .1, false, .01},  {RAPL_POLLED, 1, false, .002},    {RAPL_LOCKED, .05, false, .01},
        {RAPL_LOCKED, .5, false, .002}, {COUNTER_20, .2, false, .03},     {COUNTER_100, .3, false, .04},
        {COUNTER_100, 2, false, .005},  {COUNTER_100_NOT, .5, false, .1}, {POWER_100, .5, false, .02},
        {POWER_1000, .5, false, .03},   {POWER_25, 1, false, .03},        {RAPL_POLLED, .2, true, .01},
        {COUNTER_100, 1, true, .02},    {POWER_1000, 1, true, .02},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct tally n = {0};
        for (uint64_t seed = 0; seed < 200; seed++)
            one_window(1000 * (i + 1) + seed, rows[i].kind, rows[i].d, rows[i].isolated, &n);
        double rms = sqrt(n.square / n.resolved);
        print_message("%-28s %5.2f s%s: %3d of %3d hold, rms %.2f %%\n", kind_names[rows[i].kind], rows[i].d,
                      rows[i].isolated ? ", isolated" : "", n.held, n.resolved, 100 * rms);
        assert_int_equal(n.resolved, n.seen);
        assert_true(n.held * 100 >= n.resolved * 90);
        assert_true(rms <= rows[i].rms);
    }
}

/* ---- size -------------------------------------------------------------------------------------------------------- */

/* Ten thousand windows of one hour: if a window cost as much as the trace is long, this would not end in time. */
static void test_many_windows_of_a_long_trace(void **state)
{
    (void)state;
    enum { SAMPLES = 360000, WINDOWS = 10000 };
    struct joulet_trace trace = {.channel = sim_rapl_channel(), .n = SAMPLES};
    struct joulet_baseline idle = {.power_w = 20, .u_w = .2, .sd_w = .1};
    double sum = 0;
    trace.samples = calloc(SAMPLES, sizeof(*trace.samples));
    assert_non_null(trace.samples);
    for (size_t i = 0; i < SAMPLES; i++)
        trace.samples[i] =
            (struct joulet_sample){.t_ns = sim_ns(.01 * (double)i), .value = (int64_t)(i * 500000), .hw_ns = 500000};
    for (size_t k = 0; k < WINDOWS; k++) {
        joulet_mark bounds[] = {sim_ns(.36 * (double)k + .0053), sim_ns(.36 * (double)k + .2), sim_ns(.36 * (double)k + .3653)};
        struct joulet_what what = {.bounds = bounds, .n_phases = 2};
        struct joulet_measured m;
        struct joulet_power power;
        enum joulet_status status = joulet_measure(&trace, &idle, &what, &m, NULL);
        joulet_power_in(&trace, bounds[0], bounds[2], &power);
        assert_int_equal(status, JOULET_OK);
        assert_near(power.mean_w, 50, 1e-6);
        sum += m.whole.gross_j;
    }
    assert_near(sum, 50.0 * .36 * WINDOWS, 1e-3);
    sim_trace_release(&trace);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_parts_sum_to_the_whole), cmocka_unit_test(test_same_input_same_bits),
        cmocka_unit_test(test_bounds_hold_the_truth),  cmocka_unit_test(test_bounds_of_exact_power_readings),
        cmocka_unit_test(test_intervals_hold),         cmocka_unit_test(test_many_windows_of_a_long_trace),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
