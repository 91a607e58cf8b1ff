/* From reads to updates (1.3): every read here has its time from the table, none from a clock. */
#include "lib/meter/updates.h"
#include "tests/base/test.h"

#include <stdlib.h>

#define MS 1000000LL
#define US 1000LL

static struct updates make(enum updates_kind kind, int64_t poll, int64_t period)
{
    struct updates u;
    updates_init(&u, kind, poll, period, true, NAN);
    return u;
}

static bool read_at(struct updates *u, int64_t t, int64_t value, struct joulet_sample *out)
{
    struct updates_read r = {.t0_ns = t, .t1_ns = t, .value = value};
    return updates_from(u, &r, out);
}

static void check(const struct joulet_sample *s, int64_t t, int64_t value, int64_t hw, uint32_t flags)
{
    assert_int_equal(s->t_ns, t);
    assert_int_equal(s->value, value);
    assert_int_equal(s->hw_ns, hw);
    assert_int_equal(s->flags, flags);
}

/* Polled every 10 ms, updated every 1 ms: a reading is an update half a period ago, changed or not. */
static void test_slow_reads(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 10 * MS, MS);
    struct joulet_sample s;
    (void)state;
    assert_true(read_at(&u, 100 * MS, 7, &s));
    check(&s, 100 * MS - 500 * US, 7, 500 * US, 0);
    assert_true(read_at(&u, 110 * MS, 7, &s));
    check(&s, 110 * MS - 500 * US, 7, 500 * US, 0);
    struct updates_read slow = {.t0_ns = 120 * MS, .t1_ns = 120 * MS + 100 * US, .value = 9};
    assert_true(updates_from(&u, &slow, &s));
    check(&s, 120 * MS + 50 * US - 500 * US, 9, 550 * US, 0);
    assert_int_equal(updates_next(&u, 120 * MS), 130 * MS);
    for (int64_t t = 130 * MS; t < 1000 * MS; t += 10 * MS) /* the distance of the reads is nobody's period */
        read_at(&u, t, t, &s);
    assert_int_equal(u.period_ns, MS);
    assert_false(u.period_found);
}

/* Reads that come close together all the same, at an event: without a change there was no update between them. */
static void test_slow_reads_close_together(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 10 * MS, MS);
    struct joulet_sample s;
    (void)state;
    assert_true(read_at(&u, 100 * MS, 7, &s));
    assert_false(read_at(&u, 100 * MS + 200 * US, 7, &s));
    assert_true(read_at(&u, 100 * MS + 400 * US, 8, &s));
    check(&s, 100 * MS + 300 * US, 8, 100 * US, 0);
    assert_true(read_at(&u, 110 * MS, 8, &s)); /* so little drawn that the counter stays */
    check(&s, 110 * MS - 500 * US, 8, 500 * US, 0);
}

/* Read as fast as it updates: only a change is an update, between the two reads. */
static void test_quick_reads(void **state)
{
    struct updates u = make(UPDATES_COUNTER, MS, MS);
    struct joulet_sample s;
    (void)state;
    assert_true(read_at(&u, 10 * MS, 0, &s)); /* the first: some time in the period before */
    check(&s, 10 * MS - 500 * US, 0, 500 * US, 0);
    assert_false(read_at(&u, 11 * MS, 0, &s));
    assert_true(read_at(&u, 12 * MS, 5, &s));
    check(&s, 12 * MS - 500 * US, 5, 500 * US, 0);
    for (int64_t t = 13 * MS; t < 100 * MS; t += MS)
        read_at(&u, t, t, &s);
    assert_false(u.period_found);
}

static void test_edges(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    (void)state;
    assert_true(read_at(&u, 1000 * MS, 0, &s));
    check(&s, 950 * MS, 0, 50 * MS, 0);
    assert_false(read_at(&u, 1005 * MS, 0, &s));
    assert_true(read_at(&u, 1010 * MS, 3, &s));
    check(&s, 1007 * MS + 500 * US, 3, 2500 * US, 0);
    /* nobody read for a second: the value is of the last period and a half at most */
    assert_true(read_at(&u, 2000 * MS, 40, &s));
    check(&s, 1925 * MS, 40, 75 * MS, 0);
}

static void test_failed_read_between(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    (void)state;
    read_at(&u, 1000 * MS, 0, &s);
    updates_failed(&u);
    assert_true(read_at(&u, 1010 * MS, 3, &s)); /* since the last good read */
    check(&s, 1005 * MS, 3, 5 * MS, 0);
}

/* Polled too seldom to tell the updates apart and too often to see one each time: a closer look. */
static void test_looks_closely_enough(void **state)
{
    (void)state;
    static const struct {
        int64_t poll, period, want;
    } rows[] = {{10 * MS, MS, 10 * MS},       {MS, MS, MS},
                {5 * MS, 100 * MS, 5 * MS},   {5 * MS, 20 * MS, 5 * MS},
                {5 * MS, 10 * MS, 2500 * US}, {MS, 2 * MS, MS},
                {5 * MS, 6 * MS, 1500 * US},  {5 * MS, 3 * MS, 5 * MS},
                {10 * MS, 8 * MS, 10 * MS},   {100 * MS, 100 * MS, 100 * MS},
                {5 * MS, 0, 5 * MS},          {60000 * MS, 50 * MS, 60000 * MS}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_int_equal(updates_poll(rows[i].poll, rows[i].period), rows[i].want);
    struct updates u = make(UPDATES_COUNTER, 100 * MS, 100 * MS); /* one that keeps its own time */
    assert_int_equal(updates_next(&u, 1234567), 1234567 + 100 * MS);
}

/* A device of 40 ms that was declared as one of 100 ms, read as the plan says. */
static size_t run_device(struct updates *u, enum updates_kind kind, int64_t from, int64_t to, int64_t period, int64_t *reads)
{
    struct joulet_sample s;
    size_t shown = 0;
    for (int64_t t = from; t < to; (*reads)++) {
        int64_t k = t / period; /* updates fall on multiples of the period */
        int64_t value = kind == UPDATES_POWER ? 100 + k % 7 : 10 * k;
        if (read_at(u, t, value, &s)) {
            shown++;
            if (!(s.flags & JOULET_SAMPLE_REPEAT) && t > from)
                assert_true(llabs(s.t_ns - k * period) <= (int64_t)s.hw_ns);
        }
        int64_t next = updates_next(u, t);
        assert_true(next > t && next <= t + period);
        t = next;
    }
    return shown;
}

static void test_finds_the_period(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    int64_t reads = 0;
    (void)state;
    run_device(&u, UPDATES_COUNTER, 1001 * MS, 2000 * MS, 40 * MS, &reads);
    assert_true(u.period_found);
    assert_true(llabs(u.period_ns - 40 * MS) < MS);
    reads = 0;
    size_t shown = run_device(&u, UPDATES_COUNTER, 2001 * MS, 4001 * MS, 40 * MS, &reads);
    assert_in_range(shown, 49, 51);   /* none is missed */
    assert_in_range(reads, 250, 450); /* 6 or 7 each, where polling needs 8 and knows them 5 times worse */
    assert_false(read_at(&u, 4002 * MS, u.value, &s));
    assert_true(u.edge_hw <= 500 * US);
}

/* Between updates that are predicted nobody reads: a read that comes late then does not make that time the update's. */
static void test_late_read_where_an_update_is_due(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    int64_t reads = 0;
    (void)state;
    run_device(&u, UPDATES_COUNTER, 1001 * MS, 3001 * MS, 100 * MS, &reads);
    assert_true(u.period_found);
    assert_true(read_at(&u, 3109 * MS, 310, &s)); /* looked for from 3094 ms on */
    assert_int_equal(s.value, 310);
    assert_true(llabs(s.t_ns - 3100 * MS) <= (int64_t)s.hw_ns);
    assert_true(s.hw_ns < 12 * MS);
    int64_t edge = s.t_ns, hw = s.hw_ns;
    assert_true(updates_next(&u, 3110 * MS) <= edge - hw + 95 * MS); /* looked for early enough for all that time */
    assert_true(read_at(&u, 3206 * MS, 320, &s));                    /* late again */
    assert_true(llabs(s.t_ns - 3200 * MS) <= (int64_t)s.hw_ns);
    assert_true(s.hw_ns < 20 * MS);
}

static void test_period_of_powers(void **state)
{
    struct updates u = make(UPDATES_POWER, 5 * MS, 20 * MS);
    int64_t reads = 0;
    (void)state;
    run_device(&u, UPDATES_POWER, 1001 * MS, 5000 * MS, 100 * MS, &reads);
    assert_true(u.period_found);
    assert_true(llabs(u.period_ns - 100 * MS) < 2 * MS);
}

/* No period is believed where there is none. */
static void test_irregular_device(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    struct jl_rng rng = {3};
    int64_t t = 1000 * MS;
    (void)state;
    for (int k = 0; k < 60; k++) {
        int64_t until = t + (int64_t)jl_rng_below(&rng, (uint64_t)(400 * MS)) + 5 * MS;
        for (; t < until; t += 5 * MS)
            read_at(&u, t, k, &s);
    }
    assert_false(u.period_found);
    assert_in_range(updates_next(&u, t) - t, 4375 * US, 5625 * US);
}

/* A device that updates at every fourth read exactly is not read in step with it: what is late once is early soon after. */
static void test_reads_keep_out_of_step(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 2 * MS, 8 * MS);
    struct joulet_sample s;
    double sum = 0;
    int seen = 0, turns = 0;
    bool early = false;
    (void)state;
    for (int64_t t = 1000 * MS; t < 3000 * MS; t = updates_next(&u, t)) {
        if (!read_at(&u, t, t / (8 * MS), &s) || s.hw_ns > 2 * MS)
            continue;
        double off = (double)(s.t_ns - t / (8 * MS) * 8 * MS);
        turns += (off < 0) != early;
        early = off < 0;
        sum += off;
        seen++;
    }
    assert_in_range(seen, 240, 260);
    assert_in_range(turns, 40, 200);
    assert_near(sum / seen, 0, 2e5);
}

/* A counter that stops is looked for at the usual pace, not every millisecond for ever. */
static void test_lost_device(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 40 * MS);
    struct joulet_sample s;
    int64_t reads = 0, t = 3001 * MS;
    (void)state;
    run_device(&u, UPDATES_COUNTER, 1001 * MS, 3000 * MS, 40 * MS, &reads);
    for (reads = 0; t < 13001 * MS; t = updates_next(&u, t), reads++)
        assert_false(read_at(&u, t, u.value, &s) && reads > 0);
    assert_in_range(reads, 2000, 2030);
}

static void test_fixed_interval(void **state)
{
    struct updates u;
    struct joulet_sample s;
    (void)state;
    updates_init(&u, UPDATES_COUNTER, 7 * MS, 40 * MS, false, NAN);
    for (int64_t t = 0; t < 4000 * MS; t += 7 * MS) {
        read_at(&u, t, t / (40 * MS), &s);
        assert_int_equal(updates_next(&u, t), t + 7 * MS);
    }
    assert_false(u.period_found);
}

/* Equal power for more than one and a half periods: the device gave it again, one period after the last update. */
static void test_repeats(void **state)
{
    struct updates u = make(UPDATES_POWER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    int64_t next = 1000 * MS - 50 * MS + 100 * MS;
    int n = 0;
    (void)state;
    assert_true(read_at(&u, 1000 * MS, 60, &s));
    for (int64_t t = 1005 * MS; t <= 2000 * MS; t += 5 * MS) {
        if (!read_at(&u, t, 60, &s))
            continue;
        check(&s, next, 60, 50 * MS, JOULET_SAMPLE_REPEAT);
        assert_true(t > s.t_ns + 50 * MS);
        next += 100 * MS;
        n++;
    }
    assert_int_equal(n, 9);
    assert_true(read_at(&u, 2005 * MS, 61, &s));
    check(&s, 2002 * MS + 500 * US, 61, 2500 * US, 0);
    assert_true(s.t_ns > next - 100 * MS);
}

/* Nobody looked for three periods: what the device gave meanwhile is not known to have been the same. */
static void test_no_repeats_unseen(void **state)
{
    struct updates u = make(UPDATES_POWER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    (void)state;
    read_at(&u, 1000 * MS, 60, &s);
    assert_true(read_at(&u, 1005 * MS, 61, &s));
    check(&s, 1002 * MS + 500 * US, 61, 2500 * US, 0);
    assert_true(read_at(&u, 1380 * MS, 61, &s)); /* at some time in between */
    check(&s, 1192 * MS + 500 * US, 61, 187 * MS + 500 * US, 0);
    assert_false(read_at(&u, 1385 * MS, 61, &s));
    assert_true(read_at(&u, 1455 * MS, 61, &s));
    check(&s, 1402 * MS + 500 * US, 61, 2500 * US, JOULET_SAMPLE_REPEAT);
}

static void test_counters_do_not_repeat(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 5 * MS, 100 * MS);
    struct joulet_sample s;
    (void)state;
    read_at(&u, 1000 * MS, 60, &s);
    for (int64_t t = 1005 * MS; t <= 2000 * MS; t += 5 * MS)
        assert_false(read_at(&u, t, 60, &s));
}

static void test_resets(void **state)
{
    struct updates u;
    struct joulet_sample s;
    (void)state;
    updates_init(&u, UPDATES_COUNTER, 10 * MS, MS, true, 100.0);
    read_at(&u, 1000 * MS, 5000000, &s);
    assert_int_equal(s.flags, 0);
    read_at(&u, 1010 * MS, 6000000, &s); /* 100 W for 10 ms */
    assert_int_equal(s.flags, 0);
    read_at(&u, 1020 * MS, 5999999, &s); /* back */
    assert_int_equal(s.flags, JOULET_SAMPLE_RESET);
    read_at(&u, 1030 * MS, 15999999, &s); /* 1000 W */
    assert_int_equal(s.flags, JOULET_SAMPLE_RESET);
    read_at(&u, 11030 * MS, 1015999999, &s); /* 100 W over ten seconds without a read */
    assert_int_equal(s.flags, 0);
    struct updates_read told = {.t0_ns = 11040 * MS, .t1_ns = 11040 * MS, .value = 1016000000, .reset = true};
    assert_true(updates_from(&u, &told, &s));
    assert_int_equal(s.flags, JOULET_SAMPLE_RESET);
}

static void test_late_reads(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 10 * MS, MS);
    struct joulet_sample s;
    struct updates_read r = {.t0_ns = 1000 * MS, .t1_ns = 1006 * MS, .value = 1, .late = true};
    (void)state;
    assert_true(updates_from(&u, &r, &s));
    assert_int_equal(s.flags, JOULET_SAMPLE_LATE);
    assert_true(s.hw_ns >= 3 * MS);
}

/* The device's own timestamps are taken as they are, each once. */
static void test_own_time(void **state)
{
    struct updates u = make(UPDATES_POWER, 100 * MS, 100 * MS);
    struct joulet_sample s;
    struct updates_read r = {.t0_ns = 1000 * MS, .t1_ns = 1001 * MS, .value = 60, .own_ns = 990 * MS};
    (void)state;
    assert_true(updates_from(&u, &r, &s));
    check(&s, 990 * MS, 60, 0, 0);
    assert_false(updates_from(&u, &r, &s));
    r.own_ns = 1090 * MS; /* the same value again is an update too */
    assert_true(updates_from(&u, &r, &s));
    check(&s, 1090 * MS, 60, 0, 0);
}

static void test_gauges(void **state)
{
    struct updates u = make(UPDATES_GAUGE, 100 * MS, 0);
    struct joulet_sample s;
    struct updates_read r = {.t0_ns = 1000 * MS, .t1_ns = 1002 * MS, .value = 55000};
    (void)state;
    assert_true(updates_from(&u, &r, &s));
    check(&s, 1001 * MS, 55000, MS, 0);
    assert_true(updates_from(&u, &r, &s)); /* every reading counts */
}

/* 11.2: polls at 4, 14, 24, ... ms, reads at 23.45 (old value) and 23.47 ms: update at 23.46 ms, the poll at 24 ms dropped. */
static void test_locked(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 10 * MS, MS);
    struct joulet_sample s;
    int64_t base = 1000 * MS;
    (void)state;
    assert_true(read_at(&u, base + 4 * MS, 70000, &s));
    assert_true(read_at(&u, base + 14 * MS, 270000, &s));
    assert_true(updates_locked(&u, base + 23450 * US, base + 23470 * US, 490000, &s));
    check(&s, base + 23460 * US, 490000, 10 * US, JOULET_SAMPLE_LOCKED);
    assert_false(read_at(&u, base + 24 * MS, 494000, &s));
    assert_true(read_at(&u, base + 34 * MS, 1494000, &s));
    check(&s, base + 33500 * US, 1494000, 500 * US, 0);
    /* two reads further apart than a period: several updates may lie between */
    assert_false(updates_locked(&u, base + 40 * MS, base + 41001 * US, 2000000, &s));
}

/* A restart is told even beside a locked update. */
static void test_reset_beside_a_lock(void **state)
{
    struct updates u = make(UPDATES_COUNTER, 10 * MS, MS);
    struct joulet_sample s;
    (void)state;
    read_at(&u, 1004 * MS, 70000, &s);
    updates_locked(&u, 1010000 * US, 1010020 * US, 80000, &s);
    assert_true(read_at(&u, 1011 * MS, 10, &s));
    assert_int_equal(s.flags, JOULET_SAMPLE_RESET);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_slow_reads),
        cmocka_unit_test(test_slow_reads_close_together),
        cmocka_unit_test(test_quick_reads),
        cmocka_unit_test(test_edges),
        cmocka_unit_test(test_failed_read_between),
        cmocka_unit_test(test_looks_closely_enough),
        cmocka_unit_test(test_finds_the_period),
        cmocka_unit_test(test_late_read_where_an_update_is_due),
        cmocka_unit_test(test_period_of_powers),
        cmocka_unit_test(test_irregular_device),
        cmocka_unit_test(test_reads_keep_out_of_step),
        cmocka_unit_test(test_lost_device),
        cmocka_unit_test(test_fixed_interval),
        cmocka_unit_test(test_repeats),
        cmocka_unit_test(test_no_repeats_unseen),
        cmocka_unit_test(test_counters_do_not_repeat),
        cmocka_unit_test(test_resets),
        cmocka_unit_test(test_late_reads),
        cmocka_unit_test(test_own_time),
        cmocka_unit_test(test_gauges),
        cmocka_unit_test(test_locked),
        cmocka_unit_test(test_reset_beside_a_lock),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
