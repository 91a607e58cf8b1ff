/* Counters: unwrapping, two slopes, bounds, padded difference, whole and parts, against hand-checked numbers. */
#include "lib/meter/estimators.h"
#include "lib/sensors/sensor.h"
#include "tests/base/test.h"

#include <math.h>
#include <string.h>

#define TOL 1e-6

static void test_wrap(void **state)
{
    (void)state;
    static const struct {
        uint64_t prev, now, range, want;
    } rows[] = {
        {4294967000u, 704, UINT64_C(1) << 32, 1000},
        {262143000000u, 500000, 262143328850u, 828850},
        {100, 100, UINT64_C(1) << 32, 0},
        {990, 10, 1000, 20},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_int_equal(jl_counter_delta(rows[i].prev, rows[i].now, rows[i].range), rows[i].want);
    assert_near((double)jl_counter_delta(4294967000u, 704, UINT64_C(1) << 32) * 0x1p-14, 0.06103515625, 0);
}

/* Edges every `step` s from 0 with one half-width. */
static size_t edges_of(struct jl_edge *e, const double *c, size_t n, double step, double hw)
{
    for (size_t i = 0; i < n; i++)
        e[i] = (struct jl_edge){.t = step * (double)i, .hw = hw, .c = c[i]};
    return n;
}

static void test_two_slopes(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double c[6], sharp_hw, u_r, b, e, u, g;
        uint32_t flags;
    } rows[] = {
        {"both sides agree", {0, 10, 20, 44, 74, 104}, 2.5e-3, 0, .23, 23.0, .151314, NAN, 0},
        {"left side nearer", {0, 10, 20, 45, 75, 105}, 2.5e-3, 0, .23, 23.062918, .151314, NAN, 0},
        {"sharp update, rise", {0, 10, 20, 45, 75, 105}, .5e-3, 3e-3, .23, 23.042991, .152915, 108.598241, 0},
        {"sides disagree", {0, 10, 20, 60, 90, 120}, 2.5e-3, 0, .23, NAN, NAN, NAN, JOULET_FLAG_MISMATCH},
        {"after the trace", {0, 10, 20, 44, 74, 104}, 2.5e-3, 0, .53, 110.24, 3.990359, NAN, JOULET_FLAG_TRUNCATED},
        {"before the trace", {0, 10, 20, 44, 74, 104}, 2.5e-3, 0, -.01, NAN, NAN, NAN, JOULET_FLAG_NO_LEAD_IN},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_edge e[6];
        struct jl_cum c;
        edges_of(e, rows[i].c, 6, .1, 2.5e-3);
        e[3].hw = rows[i].sharp_hw;
        jl_cum_at(e, 6, &rows[i].b, 0, rows[i].u_r, &c);
        if (c.flags != rows[i].flags)
            fail_msg("%s: flags %x", rows[i].name, c.flags);
        if (!isnan(rows[i].e))
            assert_near(c.e_j, rows[i].e, TOL);
        if (!isnan(rows[i].u))
            assert_near(c.u_j, rows[i].u, TOL);
        if (!isnan(rows[i].g))
            assert_near(c.g_w, rows[i].g, TOL);
    }
}

/* Before the trace the first slope is carried back, here 100 W over 10 ms, a fifth of it uncertain. */
static void test_extrapolates_backwards(void **state)
{
    (void)state;
    static const double c[] = {0, 10, 20, 30};
    struct jl_edge e[4];
    struct jl_cum cum;
    double b = -.01;
    edges_of(e, c, 4, .1, 0);
    jl_cum_at(e, 4, &b, 0, 0, &cum);
    assert_near(cum.e_j, -1, TOL);
    assert_near(cum.u_j, .02 * 100 * .01 + .2 * 1, TOL);
}

static void test_locked_edge_replaces_polls(void **state)
{
    (void)state;
    struct jl_edge e[7];
    static const double poll_c[] = {.07, .27, .494, 1.494, 2.494, 3.494};
    size_t n = 0;
    for (size_t i = 0; i < 6; i++) {
        if (i == 2)
            e[n++] = (struct jl_edge){.t = .02346, .hw = 1e-5, .c = .490, .locked = true};
        e[n++] = (struct jl_edge){.t = .004 + .01 * (double)i - .0005, .hw = .0005, .c = poll_c[i]};
    }
    n = jl_edges_unlock(e, n, 1e-3);
    assert_int_equal(n, 6);
    struct jl_cum c;
    double b = .0232;
    jl_cum_at(e, n, &b, 0, 3e-4, &c);
    assert_near(c.e_j, .464, TOL);
    assert_near(c.u_j, .009074, TOL);
}

static void test_late_polls_are_left_out(void **state)
{
    (void)state;
    struct jl_edge e[5] = {
        {.t = 0, .hw = 1e-3}, {.t = .1, .hw = 1.4e-3}, {.t = .2, .hw = 1.6e-3}, {.t = .3, .hw = 1e-3}, {.t = .4, .hw = .5e-3}};
    assert_int_equal(jl_edges_clean(e, 5, .1), 4);
    assert_near(e[2].t, .3, 0);
    struct jl_edge exact[3] = {{.t = 0, .hw = 1e-6}, {.t = .1, .hw = 9e-6}, {.t = .2, .hw = 1e-6}};
    assert_int_equal(jl_edges_clean(exact, 3, .1), 3); /* microseconds do not matter to a period of 100 ms */
}

/* The very first update is all that tells of the time before: it stays, however near the locked one and however badly timed. */
static void test_the_first_update_stays(void **state)
{
    (void)state;
    struct jl_edge e[] = {{.t = -4e-4, .hw = 5e-4}, {.t = 3e-4, .hw = 1e-5, .c = .07, .locked = true}, {.t = .01, .hw = 5e-4}};
    assert_int_equal(jl_edges_unlock(e, 3, 1e-3), 3);
    struct jl_edge slow[] = {
        {.t = -.05, .hw = .05}, {.t = .08, .hw = 1e-3}, {.t = .18, .hw = 1e-3}, {.t = .28, .hw = 1e-3}, {.t = .38, .hw = 2e-3}};
    assert_int_equal(jl_edges_clean(slow, 5, .1), 4);
    assert_near(slow[0].t, -.05, 0);
}

/* Once its period is known a device is looked at five times as closely: what was seen before is no later than it was. */
static void test_a_closer_look_spoils_nothing(void **state)
{
    (void)state;
    struct jl_edge e[60];
    for (size_t i = 0; i < 60; i++)
        e[i] = (struct jl_edge){.t = .1 * (double)i, .hw = i < 20 ? 2.6e-3 : 5.5e-4, .loose_u = i == 10 || i == 12 ? 2 : 0};
    e[10].hw = 5e-3; /* late before it, ... */
    e[40].hw = 1e-3; /* ... and late after it */
    assert_int_equal(jl_edges_clean(e, 60, .1), 58);
    assert_near(e[9].t, .9, 1e-12);
    assert_near(e[10].t, 1.1, 1e-12);
    assert_near(e[10].loose_u, 2, 0); /* what a dropped one did not see is missing in the next */
    assert_near(e[38].t, 3.9, 1e-12);
    assert_near(e[39].t, 4.1, 1e-12);
}

/* Idle 60 W, a prefill of 30 ms inside one update at 420 W, decode at 240 W. */
static const double short_phase_c[] = {0, 6, 12, 35.1, 59.1, 83.1, 107.1, 131.1, 155.1, 170.1, 176.1, 182.1};
static const double short_phase_bd[] = {.235, .265, .85};

static void test_short_phase_gets_the_remainder(void **state)
{
    (void)state;
    struct jl_edge e[12];
    struct jl_cum c[3];
    static const double want[][2] = {{12.6, .860632}, {140.4, .769171}};
    edges_of(e, short_phase_c, 12, .1, 2.5e-3);
    jl_cum_at(e, 12, short_phase_bd, 2, 3e-3, c);
    for (size_t i = 0; i < 2; i++) {
        assert_near(c[i + 1].e_j - c[i].e_j, want[i][0], TOL);
        double u2 = c[i].u_j * c[i].u_j + c[i + 1].u_j * c[i + 1].u_j + 1e-6 / 6 + pow(3e-3 * (c[i + 1].g_w - c[i].g_w), 2);
        assert_near(sqrt(u2), want[i][1], TOL);
        assert_int_equal(c[i].flags, 0);
    }
}

static void test_bounds(void **state)
{
    (void)state;
    struct jl_edge e[12];
    struct jl_limits l = {.p_min = 30, .p_max = 700, .u_t = 0, .q = 1e-3};
    static const double want[][2] = {{.9, 21}, {122.399, 154.801}};
    edges_of(e, short_phase_c, 12, .1, 2.5e-3);
    for (size_t i = 0; i < 2; i++) {
        double lo, hi;
        jl_bounds_counter(e, 12, short_phase_bd[i], short_phase_bd[i + 1], &l, &lo, &hi);
        assert_near(lo, want[i][0], TOL);
        assert_near(hi, want[i][1], TOL);
    }
}

/* Beyond the last update only the limits of the device speak. */
static void test_bounds_outside_the_trace(void **state)
{
    (void)state;
    struct jl_edge e[3];
    static const double c[] = {0, 10, 20};
    struct jl_limits l = {.p_min = 50, .p_max = 200};
    double lo, hi;
    edges_of(e, c, 3, .1, 0);
    jl_bounds_counter(e, 3, .1, .3, &l, &lo, &hi);
    assert_near(lo, 15, TOL); /* 10 J to .2 s, then 50 W */
    assert_near(hi, 30, TOL);
    jl_bounds_counter(e, 3, -.1, .1, &l, &lo, &hi);
    assert_near(lo, 15, TOL);
    assert_near(hi, 30, TOL);
}

static void test_whole_and_parts(void **state)
{
    (void)state;
    double parts[] = {84, 141}, u[] = {.6, .8}, whole = 225.6;
    assert_true(jl_reconcile(parts, u, 2, &whole, .9));
    assert_near(parts[0], 84.119337, TOL);
    assert_near(parts[1], 141.212155, TOL);
    assert_near(whole, 225.331492, TOL);
    assert_near(parts[0] + parts[1] - whole, 0, 0);
    double again[] = {84, 141};
    whole = 227.8;
    assert_false(jl_reconcile(again, u, 2, &whole, .9));
    double sure[] = {1, 2}, none[] = {0, 0};
    whole = 3.5;
    assert_false(jl_reconcile(sure, none, 2, &whole, 0));
    assert_near(whole, 3, 0);
}

/* What leaves its bounds is moved into them; the whole stays, and the least certain part gives what the others take. */
static void test_held_within_bounds(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        struct jl_held parts[3];
        struct jl_held whole;
        double want[3];
    } rows[] = {
        {"all inside", {{3, 1, 1, 5}, {4, 1, 1, 5}, {5, 1, 1, 5}}, {12, 1, 0, 20}, {3, 4, 5}},
        {"one outside", {{7, 1, 1, 5}, {4, 2, 1, 9}, {5, 1, 1, 9}}, {16, 1, 0, 20}, {5, 5.6, 5.4}},
        {"the whole outside", {{3, 1, 0, 9}, {4, 1, 0, 9}, {5, 2, 0, 9}}, {12, 1, 0, 9}, {2.5, 3.5, 3}},
        {"no room for all", {{7, 1, 1, 5}, {4, 1, 1, 4.5}, {5, 1, 1, 5}}, {16, 1, 0, 20}, {5, 4.5, 5}},
        {"no doubt to share by", {{7, 0, 1, 5}, {4, 0, 1, 9}, {5, 0, 1, 9}}, {16, 1, 0, 20}, {5, 5, 6}},
        {"unknown bounds", {{7, 1, -INFINITY, INFINITY}, {4, 1, 5, 9}, {5, 1, 1, 9}}, {16, 1, 0, 20}, {6.5, 5, 4.5}},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_held parts[3];
        memcpy(parts, rows[i].parts, sizeof(parts));
        jl_hold_within(parts, 3, &rows[i].whole);
        for (size_t k = 0; k < 3; k++)
            if (!(fabs(parts[k].e_j - rows[i].want[k]) < 1e-12 * 20))
                fail_msg("%s: part %d is %.15g, want %g", rows[i].name, (int)k, parts[k].e_j, rows[i].want[k]);
    }
}

static const struct jl_params meter = {.U = .1, .W = .1, .l_max = .05};

static void test_padded_counter(void **state)
{
    (void)state;
    static const double y[] = {60, 312, 420, 294, 240, 240, 240, 114};
    struct jl_edge e[41] = {{.t = .02}};
    struct jl_padded d;
    for (size_t i = 1; i < 41; i++)
        e[i] = (struct jl_edge){.t = .02 + .1 * (double)i, .c = e[i - 1].c + .1 * (i <= JL_COUNT(y) ? y[i - 1] : 60)};
    assert_true(jl_padded_counter(e, 41, .15, .75, INFINITY, &meter, 60, &d));
    assert_near(d.net_j, 144, TOL);
    assert_near(d.start_s, .12, TOL);
    assert_near(d.end_s, .92, TOL);
    assert_near(d.after_w, 60, TOL);
    assert_false(jl_padded_counter(e, 41, .01, .75, INFINITY, &meter, 60, &d)); /* no update before the start */
    assert_false(jl_padded_counter(e, 10, .15, .75, INFINITY, &meter, 60, &d)); /* none after the pad */
    assert_false(jl_padded_counter(e, 41, .15, .75, .95, &meter, 60, &d));      /* something else began too soon */
}

static size_t readings_of(struct jl_reading *r, const double *y, size_t n, double rest)
{
    for (size_t i = 0; i < 40; i++)
        r[i] = (struct jl_reading){.t = .02 + .1 * (double)(i + 1), .y_w = i < n ? y[i] : rest};
    return 40;
}

static void test_padded_power(void **state)
{
    (void)state;
    static const double y[] = {60, 312, 420, 294, 240, 240, 240, 114};
    static const double wide[] = {60, 144, 264, 342, 318, 258, 240, 202.6667, 149.3333, 96};
    struct jl_reading r[40];
    struct jl_padded d;
    readings_of(r, y, JL_COUNT(y), 60);
    assert_true(jl_padded_power(r, 40, .15, .75, INFINITY, &meter, 60, &d));
    assert_near(d.net_j, 144, TOL);
    assert_near(d.end_s, .92, TOL);
    struct jl_params overlapping = {.U = .1, .W = .3, .l_max = .05};
    readings_of(r, wide, JL_COUNT(wide), 80);
    assert_true(jl_padded_power(r, 40, .15, .75, INFINITY, &overlapping, 60, &d));
    assert_near(d.net_j, 144, 1e-3);
    assert_near(d.end_s, 1.12, TOL);
    assert_near(d.after_w, 80, TOL);
    assert_near(d.u_b, 0.02 * 80 * (1.12 - .75 - .1), TOL);   /* while P1 is taken off */
    double without = d.net_j + (80 - 60) * (1.12 - .75 - .1); /* what leaving the level after the run out would cost */
    assert_near(without, 149.4, 1e-3);
    assert_false(jl_padded_power(r, 11, .15, .75, INFINITY, &overlapping, 60, &d)); /* no reading for the level after */
    assert_false(jl_padded_power(r, 40, .15, .75, 1.15, &overlapping, 60, &d));
}

/* A window is known to hold its mean power: a phase around it and a phase inside it are bounded by that. */
static void test_bounds_of_power_windows(void **state)
{
    (void)state;
    struct jl_reading r[10];
    struct jl_limits l = {.p_min = 50, .p_max = 300};
    double lo, hi;
    for (size_t i = 0; i < 10; i++)
        r[i] = (struct jl_reading){.t = .1 * (double)(i + 1), .y_w = 200};
    jl_bounds_power(r, 10, .1, .5, .025, &l, &lo, &hi); /* 4 windows of 25 ms inside 400 ms */
    assert_near(lo, 20 + .3 * 50, TOL);
    assert_near(hi, 20 + .3 * 300, TOL);
    jl_bounds_power(r, 10, .42, .48, .5, &l, &lo, &hi); /* 60 ms inside windows of 500 ms */
    assert_near(lo, .06 * 50, TOL);
    assert_near(hi, .06 * 300, TOL);
    for (size_t i = 0; i < 10; i++)
        r[i].y_w = 60;
    jl_bounds_power(r, 10, .42, .48, .5, &l, &lo, &hi);
    assert_near(hi, 30 - .44 * 50, TOL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_wrap),
        cmocka_unit_test(test_two_slopes),
        cmocka_unit_test(test_extrapolates_backwards),
        cmocka_unit_test(test_locked_edge_replaces_polls),
        cmocka_unit_test(test_late_polls_are_left_out),
        cmocka_unit_test(test_the_first_update_stays),
        cmocka_unit_test(test_a_closer_look_spoils_nothing),
        cmocka_unit_test(test_short_phase_gets_the_remainder),
        cmocka_unit_test(test_bounds),
        cmocka_unit_test(test_bounds_outside_the_trace),
        cmocka_unit_test(test_whole_and_parts),
        cmocka_unit_test(test_held_within_bounds),
        cmocka_unit_test(test_padded_counter),
        cmocka_unit_test(test_padded_power),
        cmocka_unit_test(test_bounds_of_power_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
