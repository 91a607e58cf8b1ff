/* test_push.c - channels that the caller reads: a wall meter of 1 W and 1 s, faults, limits. */
#include "tests/meter_live/fake.h"

#include <unistd.h>

#define S JL_NS_PER_S

static struct joulet *meter(void)
{
    struct joulet *m = NULL;
    struct joulet_error err;
    struct joulet_options o = JOULET_OPTIONS_INIT;
    o.pushes = true;
    o.calibration = "";
    if (meter_open(&m, FAKE_TABLE(&fake_absent), &o, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return m;
}

static struct joulet_channel wall(const char *id)
{
    return (struct joulet_channel){.id = id,
                                   .sensor = "shelly",
                                   .domain = JOULET_DOMAIN_WALL,
                                   .group = JOULET_GROUP_PLATFORM,
                                   .quantity = JOULET_POWER,
                                   .provenance = JOULET_MEASURED,
                                   .in_total = true,
                                   .contiguous = true,
                                   .period_s = 1,
                                   .window_s = 1,
                                   .quantum_j = 1,
                                   .lag_max_s = 0.5,
                                   .u_lag_s = 0.3,
                                   .spec = 0.02,
                                   .power_min_w = NAN,
                                   .power_max_w = NAN};
}

/* 40 W idle and 180 W while the work lasts: what a device shows that averages every second and rounds to whole watts, on a grid
 * of its own, asked every half second. Times are laid into the past: nothing waits. */
struct plug {
    double on_s, off_s, phase_s;
};

static double curve_j(const struct plug *p, double t)
{
    return 40 * t + 140 * fmin(fmax(t - p->on_s, 0), p->off_s - p->on_s);
}

static double shown_w(const struct plug *p, double t)
{
    double edge = floor(t - p->phase_s) + p->phase_s;
    return floor(curve_j(p, edge) - curve_j(p, edge - 1) + 0.5);
}

static void play(struct joulet *m, size_t i, const struct plug *p, int64_t origin)
{
    for (double t = 2; t < 68; t += 0.5) {
        struct joulet_pushed r = {.asked_ns = origin + jl_ns(t),
                                  .answered_ns = origin + jl_ns(t + 0.02),
                                  .value = (int64_t)(1e6 * shown_w(p, t + 0.01))};
        assert_int_equal(joulet_push(m, i, &r), JOULET_OK);
    }
}

static void the_interval_holds_for_a_plug_of_a_watt_and_a_second(void **state)
{
    (void)state;
    size_t held = 0, tried = 0;
    for (int k = 0; k < 40; k++) {
        struct plug p = {.on_s = 15.2 + 0.13 * k, .off_s = 30.9 + 0.61 * k, .phase_s = 0.05 * (k % 20)};
        struct joulet *m = meter();
        struct joulet_channel c = wall("wall0.power");
        struct joulet_error err;
        struct joulet_energy e;
        size_t i;
        int64_t origin = jl_mono_ns() - 70 * S;
        assert_int_equal(joulet_push_open(m, &c, 1, 0.5, &i, &err), JOULET_OK);
        play(m, i, &p, origin);
        assert_int_equal(joulet_energy_between(m, i, origin + jl_ns(p.on_s), origin + jl_ns(p.off_s), &e, &err), JOULET_OK);
        double truth = curve_j(&p, p.off_s) - curve_j(&p, p.on_s);
        assert_true(e.min_j <= truth && truth <= e.max_j);
        assert_true(e.gross_pm_j > 0 && e.gross_pm_j < 0.15 * truth);
        held += fabs(e.gross_j - truth) <= e.gross_pm_j;
        tried++;
        joulet_close(m);
    }
    if (held * 100 < tried * 93)
        fail_msg("%zu of %zu intervals hold", held, tried);
}

/* ---- power that changes near the ends ------------------------------------------------------------------------------------ */

enum shows { MEAN, FILTERED, MOMENT, WAYS };

/* Idle, work from on_s to off_s with one more step of power inside, idle; or work all the time. */
struct work {
    double on_s, off_s, step_s, idle_w, first_w, then_w;
    double from_s, to_s; /* what is measured; 0: the work */
    enum shows shows;
    double phase_s, lag_s, tau_s, answer_s;
};

static double drawn_j(const struct work *w, double t)
{
    double first = fmin(fmax(t - w->on_s, 0), w->step_s - w->on_s), then = fmin(fmax(t - w->step_s, 0), w->off_s - w->step_s);
    return w->idle_w * (t - first - then) + w->first_w * first + w->then_w * then;
}

static double mean_w(const struct work *w, double from, double to)
{
    return (drawn_j(w, to) - drawn_j(w, from)) / (to - from);
}

static double value_w(const struct work *w, double end)
{
    double sum = 0, part = w->tau_s / 8, rest = 1;
    if (w->shows == MEAN)
        return mean_w(w, end - 1, end);
    if (w->shows == MOMENT)
        return mean_w(w, end - 1e-3, end);
    for (int i = 0; i < 64; i++, rest *= exp(-0.125))
        sum += rest * (1 - exp(-0.125)) * mean_w(w, end - (i + 1) * part, end - i * part);
    return sum;
}

static void play_work(struct joulet *m, size_t i, const struct work *w, int64_t origin, double until_s)
{
    for (double t = 1; t < until_s; t += 0.5) {
        double said = t + w->answer_s / 2, end = floor(said - w->lag_s - w->phase_s) + w->phase_s;
        struct joulet_pushed r = {.asked_ns = origin + jl_ns(t),
                                  .answered_ns = origin + jl_ns(t + w->answer_s),
                                  .value = (int64_t)(1e5 * floor(10 * value_w(w, end) + 0.5))};
        assert_int_equal(joulet_push(m, i, &r), JOULET_OK);
    }
}

static struct joulet_energy measured(const struct work *w)
{
    double from = w->to_s > 0 ? w->from_s : w->on_s, to = w->to_s > 0 ? w->to_s : w->off_s;
    struct joulet *m = meter();
    struct joulet_channel c = wall("wall0.power");
    struct joulet_error err;
    struct joulet_energy e;
    size_t i;
    double until = fmax(w->off_s, to) + 16;
    int64_t origin = jl_mono_ns() - jl_ns(until + 2);
    c.lag_s = 0.15;
    c.u_lag_s = 0.25;
    c.lag_max_s = 1;
    c.quantum_j = 0.1;
    assert_int_equal(joulet_push_open(m, &c, 1, 0.5, &i, &err), JOULET_OK);
    play_work(m, i, w, origin, until);
    assert_int_equal(joulet_energy_between(m, i, origin + jl_ns(from), origin + jl_ns(to), &e, &err), JOULET_OK);
    joulet_close(m);
    return e;
}

static struct work drawn(struct jl_rng *rng, int k)
{
    double d = 3 * pow(20, jl_rng_uniform(rng)), away = 0.5 + (fmin(8, 0.9 * d) - 0.5) * jl_rng_uniform(rng);
    struct work w = {.on_s = 22 + jl_rng_uniform(rng), .idle_w = 60, .shows = k % WAYS};
    w.off_s = w.on_s + d;
    w.step_s = jl_rng_uniform(rng) < 0.5 ? w.on_s + away : w.off_s - away;
    w.first_w = 150 + 200 * jl_rng_uniform(rng);
    w.then_w = 150 + 200 * jl_rng_uniform(rng);
    w.phase_s = jl_rng_uniform(rng);
    w.lag_s = 0.3 * jl_rng_uniform(rng);
    w.tau_s = 0.3 + 0.9 * jl_rng_uniform(rng);
    w.answer_s = 0.02 + 0.2 * jl_rng_uniform(rng);
    if (k / WAYS % 2) { /* moments that are no steps of power: these lie 0.5 to 6 s before or after them */
        w.from_s = w.on_s - 0.5 - 5.5 * jl_rng_uniform(rng);
        w.to_s = w.off_s + 0.5 + 5.5 * jl_rng_uniform(rng);
    }
    return w;
}

/* Whatever the plug makes of the power, wherever it steps: near an end, 0.5 to 8 s inside, runs of 3 to 60 s. */
static void it_holds_where_the_power_steps_near_an_end(void **state)
{
    (void)state;
    struct jl_rng rng = {20};
    size_t held[WAYS] = {0}, tried[WAYS] = {0};
    for (int k = 0; k < 240; k++) {
        struct work w = drawn(&rng, k);
        struct joulet_energy e = measured(&w);
        double from = w.to_s > 0 ? w.from_s : w.on_s, to = w.to_s > 0 ? w.to_s : w.off_s;
        double truth = drawn_j(&w, to) - drawn_j(&w, from);
        assert_true(e.min_j <= truth && truth <= e.max_j);
        held[w.shows] += fabs(e.gross_j - truth) <= e.gross_pm_j;
        tried[w.shows]++;
    }
    for (int i = 0; i < WAYS; i++)
        if (held[i] * 100 < tried[i] * 93)
            fail_msg("kind %d: %zu of %zu intervals hold", i, held[i], tried[i]);
}

static void it_is_narrow_where_the_power_is_steady(void **state)
{
    (void)state;
    struct work w = {.on_s = 16.3, .off_s = 26.8, .step_s = 20, .idle_w = 200, .first_w = 200, .then_w = 200, .answer_s = 0.05};
    for (w.shows = MEAN; w.shows < WAYS; w.shows++) {
        w.tau_s = 0.8;
        struct joulet_energy e = measured(&w);
        assert_near(e.gross_j, 2100, 5);
        assert_true(e.gross_pm_j > 0 && e.gross_pm_j < 0.03 * e.gross_j); /* 2 % of it the gain */
        assert_string_equal(e.method, "slow-gauge/1");
    }
}

static void a_failed_read_is_a_gap_and_a_dead_meter_is_said_once(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct joulet_channel c = wall("wall0.power");
    struct joulet_error err;
    size_t i;
    assert_int_equal(joulet_push_open(m, &c, 1, 1, &i, &err), JOULET_OK);
    int64_t t = jl_mono_ns() - 20 * S;
    for (int k = 0; k < 12; k++, t += S) {
        struct joulet_pushed p = {.asked_ns = t, .answered_ns = t + 1000, .value = 50000000 + k};
        p.status = k >= 6 ? JOULET_GONE : JOULET_OK;
        assert_int_equal(joulet_push(m, i, &p), JOULET_OK);
    }
    struct joulet_trace tr = fake_trace(m, i);
    size_t failed = 0;
    for (size_t k = 0; k < tr.n; k++)
        failed += (tr.samples[k].flags & JOULET_SAMPLE_FAILED) != 0;
    assert_true(failed >= 4);
    joulet_trace_release(&tr);
    assert_int_equal(joulet_problem_count(m), 1);
    joulet_close(m);
}

static void a_restarted_counter_has_no_difference_across_it(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct joulet_channel c = wall("wall0.energy");
    struct joulet_error err;
    struct joulet_energy e;
    size_t i;
    c.quantity = JOULET_ENERGY;
    assert_int_equal(joulet_push_open(m, &c, 1, 1, &i, &err), JOULET_OK);
    int64_t origin = jl_mono_ns() - 40 * S;
    for (int k = 0; k < 30; k++) {
        struct joulet_pushed p = {.asked_ns = origin + k * S, .answered_ns = origin + k * S + 1000};
        p.value = (k < 15 ? 5000 + k * 60 : (k - 15) * 60) * INT64_C(1000000);
        p.reset = k == 15;
        assert_int_equal(joulet_push(m, i, &p), JOULET_OK);
    }
    assert_int_equal(joulet_energy_between(m, i, origin + 5 * S, origin + 25 * S, &e, &err), JOULET_RESET);
    assert_true(e.flags & JOULET_FLAG_RESET);
    assert_int_equal(joulet_energy_between(m, i, origin + 17 * S, origin + 27 * S, &e, &err), JOULET_OK);
    assert_true(e.min_j <= 600 && 600 <= e.max_j);
    joulet_close(m);
}

static void it_counts_where_nothing_inside_it_measures(void **state)
{
    (void)state;
    struct joulet_error err;
    struct joulet_channel got, c = wall("wall0.power");
    size_t i;
    struct joulet *m = meter();
    assert_int_equal(joulet_push_open(m, &c, 1, 1, &i, &err), JOULET_OK);
    assert_int_equal(joulet_channel_get(m, i, &got), JOULET_OK);
    assert_true(got.in_total);
    struct joulet_channel inner = wall("cpu0.package");
    inner.domain = JOULET_DOMAIN_PACKAGE;
    inner.sensor = "other";
    assert_int_equal(joulet_push_open(m, &inner, 1, 1, &i, &err), JOULET_OK);
    assert_int_equal(joulet_channel_get(m, 0, &got), JOULET_OK);
    assert_false(got.in_total);
    assert_int_equal(joulet_channel_get(m, i, &got), JOULET_OK);
    assert_true(got.in_total);
    joulet_close(m);
}

static void what_is_wrong_is_refused(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct joulet_error err;
    struct joulet_channel c = wall("wall0.power"), bad = wall("");
    size_t i = 77;
    assert_int_equal(joulet_push_open(m, &bad, 1, 1, &i, &err), JOULET_USAGE);
    bad = wall("x");
    bad.period_s = 0;
    assert_int_equal(joulet_push_open(m, &bad, 1, 1, &i, &err), JOULET_USAGE);
    assert_int_equal(joulet_push_open(m, &c, 0, 1, &i, &err), JOULET_USAGE);
    assert_int_equal(joulet_push_open(m, &c, 1, 0, &i, &err), JOULET_USAGE);
    assert_int_equal(joulet_push(m, 0, &(struct joulet_pushed){.asked_ns = 1, .answered_ns = 2}), JOULET_USAGE);
    assert_int_equal(joulet_push_open(m, &c, 1, 1, &i, &err), JOULET_OK);
    assert_int_equal(joulet_push(m, i, &(struct joulet_pushed){.asked_ns = 5, .answered_ns = 2}), JOULET_USAGE);
    assert_int_equal(joulet_push(m, i, &(struct joulet_pushed){.asked_ns = 5, .answered_ns = 9, .value = 1}), JOULET_OK);
    assert_int_equal(joulet_push(m, i, &(struct joulet_pushed){.asked_ns = 3, .answered_ns = 4}), JOULET_USAGE);
    joulet_push_problem(m, "shelly", JOULET_UNREACHABLE, "the plug does not answer");
    struct joulet_problem p;
    assert_int_equal(joulet_problem_get(m, 0, &p), JOULET_OK);
    assert_string_equal(p.message, "the plug does not answer");
    joulet_close(m);
}

static void there_is_an_end_to_the_room(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct joulet_error err;
    struct joulet_channel c = wall("wall0.power");
    size_t i, n = 0;
    while (joulet_push_open(m, &c, 1, 1, &i, &err) == JOULET_OK)
        n++;
    assert_int_equal(n, LANE_SENSORS);
    assert_int_equal(err.status, JOULET_LIMIT);
    joulet_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_interval_holds_for_a_plug_of_a_watt_and_a_second),
        cmocka_unit_test(it_holds_where_the_power_steps_near_an_end),
        cmocka_unit_test(it_is_narrow_where_the_power_is_steady),
        cmocka_unit_test(a_failed_read_is_a_gap_and_a_dead_meter_is_said_once),
        cmocka_unit_test(a_restarted_counter_has_no_difference_across_it),
        cmocka_unit_test(it_counts_where_nothing_inside_it_measures),
        cmocka_unit_test(what_is_wrong_is_refused),
        cmocka_unit_test(there_is_an_end_to_the_room),
    };
    return cmocka_run_group_tests(tests, fake_setup, fake_teardown);
}
