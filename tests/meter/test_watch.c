/* Watches (5.3): each has a case that fires and a near one that stays silent. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <math.h>

/* A machine of 8 threads that a known process keeps 2.0 busy. */
static struct joulet_surroundings at(double t_s)
{
    return (struct joulet_surroundings){.t_ns = jl_ns(t_s),
                                        .busy_s = 1000 + 2.0 * t_s,
                                        .known_s = 50 + 2.0 * t_s,
                                        .total_s = 9000 + 8.0 * t_s,
                                        .asleep_s = 7200,
                                        .wall_s = 1.7e9,
                                        .throttle_events = 12,
                                        .clock_limit_khz = 8 * 3500000};
}

struct row {
    const char *what;
    double d_s, foreign_s, slept_s, stepped_s;
    int64_t throttled, limit_khz;
    uint32_t flags;
};

static void check(const struct row *r)
{
    struct joulet_surroundings before = at(3), after = at(3 + r->d_s);
    struct joulet_watched w;
    after.busy_s += r->foreign_s;
    after.asleep_s += r->slept_s;
    after.wall_s += r->slept_s + r->stepped_s; /* the wall clock goes on while the machine sleeps */
    after.throttle_events += r->throttled;
    after.clock_limit_khz += r->limit_khz;
    joulet_watch(&before, &after, &w);
    if (w.flags != r->flags)
        fail_msg("%s: flags %x, expected %x", r->what, w.flags, r->flags);
    assert_near(w.foreign_threads, r->foreign_s / r->d_s, 1e-6);
    assert_near(w.slept_s, r->slept_s > .05 ? r->slept_s : 0, 1e-3);
    assert_near(w.stepped_s, r->flags & JOULET_FLAG_CLOCK_STEP ? r->stepped_s : 0, 1e-3);
}

static void test_watches(void **state)
{
    static const struct row rows[] = {
        {"nothing", 2, 0, 0, 0, 0, 0, 0},
        {"another program takes half a thread", 2, 1, 0, 0, 0, 0, JOULET_FLAG_FOREIGN_LOAD},
        {"background takes a twentieth of the machine at most", 2, .79, 0, 0, 0, 0, 0},
        {"too short for the ticks of the kernel", .15, .1, 0, 0, 0, 0, 0},
        {"just long enough", .25, .2, 0, 0, 0, 0, JOULET_FLAG_FOREIGN_LOAD},
        {"asleep", 2, 0, 5, 0, 0, 0, JOULET_FLAG_CLOCK_STEP},
        {"two clocks are not read at one instant", 2, 0, .01, 0, 0, 0, 0},
        {"the clock was set", 2, 0, 0, -30, 0, 0, JOULET_FLAG_CLOCK_STEP},
        {"the clock was adjusted", 2000, 0, 0, 1.0, 0, 0, 0},
        {"heat", 2, 0, 0, 0, 1, 0, JOULET_FLAG_THROTTLED},
        {"a lower limit of the clock", 2, 0, 0, 0, 0, -8 * 500000, JOULET_FLAG_CLOCK_CHANGE},
        {"a little lower", 2, 0, 0, 0, 0, -8 * 100000, 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        check(&rows[i]);
}

/* Where the known process itself is very busy, a tenth of it must be exceeded. */
static void test_share_of_the_known(void **state)
{
    struct joulet_surroundings before = at(0), after = at(10);
    struct joulet_watched w;
    (void)state;
    after.known_s += 50; /* 7 threads */
    after.busy_s += 50 + 6.5;
    joulet_watch(&before, &after, &w);
    assert_int_equal(w.flags, 0);
    after.busy_s += 2;
    joulet_watch(&before, &after, &w);
    assert_int_equal(w.flags, JOULET_FLAG_FOREIGN_LOAD);
}

/* What is not known is not claimed. */
static void test_unknown(void **state)
{
    struct joulet_surroundings none = {.busy_s = NAN,
                                       .known_s = NAN,
                                       .total_s = NAN,
                                       .asleep_s = NAN,
                                       .wall_s = NAN,
                                       .throttle_events = -1,
                                       .clock_limit_khz = -1},
                               before = at(0), after = at(1);
    struct joulet_watched w;
    (void)state;
    none.t_ns = after.t_ns;
    joulet_watch(&before, &none, &w);
    assert_int_equal(w.flags, 0);
    assert_true(isnan(w.foreign_threads));
    none.t_ns = 0;
    joulet_watch(&none, &after, &w);
    assert_int_equal(w.flags, 0);
    after = at(1); /* the engine was replaced by another process: its time begins anew */
    after.known_s = 1;
    joulet_watch(&before, &after, &w);
    assert_int_equal(w.flags, 0);
    assert_true(isnan(w.foreign_threads));
}

static struct joulet_trace clocks(struct joulet_sample *samples, size_t n)
{
    return (struct joulet_trace){.channel = {.id = "gpu0.clock", .quantity = JOULET_CLOCK}, .samples = samples, .n = n};
}

static void test_clock(void **state)
{
    struct joulet_sample s[] = {{.t_ns = 0, .value = 300},
                                {.t_ns = jl_ns(.5), .value = 1000},
                                {.t_ns = jl_ns(1), .value = 9, .flags = JOULET_SAMPLE_FAILED},
                                {.t_ns = jl_ns(1.5), .value = 1200},
                                {.t_ns = jl_ns(2.5), .value = 1400},
                                {.t_ns = jl_ns(3.5), .value = 1}};
    struct joulet_trace t = clocks(s, JL_COUNT(s));
    (void)state;
    assert_near(joulet_clock_in(&t, jl_ns(.5), jl_ns(3)), (1000 * 1 + 1200 * 1 + 1400 * .5) / 2.5, 1e-9);
    assert_near(joulet_clock_in(&t, jl_ns(.25), jl_ns(3)), (300 * .25 + 1000 * 1 + 1200 * 1 + 1400 * .5) / 2.75, 1e-9);
    assert_true(isnan(joulet_clock_in(&t, jl_ns(1.2), jl_ns(3)))); /* two readings */
    assert_true(joulet_clock_changed(1000, 949));
    assert_false(joulet_clock_changed(1000, 951));
    assert_true(joulet_clock_changed(1000, 1051));
    assert_false(joulet_clock_changed(NAN, 1000));
    assert_false(joulet_clock_changed(1000, NAN));
}

static void test_throttled(void **state)
{
    struct joulet_sample s[] = {{.t_ns = jl_ns(0), .value = JOULET_THROTTLE_THERMAL},
                                {.t_ns = jl_ns(1), .value = 0},
                                {.t_ns = jl_ns(2), .value = JOULET_THROTTLE_POWER_CAP},
                                {.t_ns = jl_ns(3), .value = 255, .flags = JOULET_SAMPLE_FAILED}};
    struct joulet_trace t = clocks(s, JL_COUNT(s));
    (void)state;
    assert_int_equal(joulet_throttled_in(&t, jl_ns(.5), jl_ns(.9)), JOULET_THROTTLE_THERMAL); /* held from before */
    assert_int_equal(joulet_throttled_in(&t, jl_ns(1.2), jl_ns(2)), 0);
    assert_int_equal(joulet_throttled_in(&t, jl_ns(1.2), jl_ns(2.1)), JOULET_THROTTLE_POWER_CAP);
    assert_int_equal(joulet_throttled_in(&t, jl_ns(2.5), jl_ns(4)), JOULET_THROTTLE_POWER_CAP);
}

static void test_keep(void **state)
{
    struct joulet_keep k;
    (void)state;
    joulet_keep_of(50, .5, 62, 1.2, 600, 30, &k); /* 12 W against 600 J */
    assert_near(k.power_w, 12, 1e-12);
    assert_near(k.u_w, 1.3, 1e-12);
    assert_near(k.break_even_s, 50, 1e-9);
    assert_near(k.from_s, 540 / 14.6, 1e-9);
    assert_near(k.to_s, 660 / 9.4, 1e-9);
    joulet_keep_of(50, .5, 52, 1.2, 600, 30, &k); /* may be nothing: no upper end */
    assert_near(k.break_even_s, 300, 1e-9);
    assert_true(isinf(k.to_s));
    joulet_keep_of(50, .5, 51, 1.2, 600, 30, &k); /* cannot be told from nothing */
    assert_near(k.power_w, 1, 1e-12);
    assert_true(isnan(k.break_even_s) && isnan(k.from_s) && isnan(k.to_s));
    joulet_keep_of(50, .5, 62, 1.2, NAN, NAN, &k);
    assert_true(isnan(k.break_even_s));
    joulet_keep_of(NAN, NAN, 62, 1.2, 600, 1, &k);
    assert_true(isnan(k.power_w) && isnan(k.break_even_s));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_watches), cmocka_unit_test(test_share_of_the_known), cmocka_unit_test(test_unknown),
        cmocka_unit_test(test_clock),   cmocka_unit_test(test_throttled),          cmocka_unit_test(test_keep),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
