/* What a lane makes of single reads, at moments that the test chooses: no thread runs here. */
#include "tests/meter_live/fake.h"

#define MS 1000000LL

/* A device that is described only: its lane waits for the test to read. */
static struct joulet *still_meter(int64_t interval_ns)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    opt.no_thread = true;
    opt.interval_ns = interval_ns;
    return fake_meter(FAKE_TABLE(&fake_quick), &opt);
}

static void take(struct joulet *m, int64_t t, int64_t value)
{
    struct sensor_reading r = {.has = true, .value = value};
    lane_take(m->lanes[0], m->channels[0], &r, t, t);
}

/* Reads that events ask for come on top of those that are due: they put nothing off. */
static void test_reads_at_events_put_nothing_off(void **state)
{
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    struct joulet *m = still_meter(1000 * JL_NS_PER_S);
    struct live_sensor *s = &m->lanes[0]->sensors[0];
    for (int i = 0; i < 20; i++)
        lane_read(m->lanes[0], s, jl_mono_ns());
    assert_true(s->due_ns > jl_mono_ns());
    assert_true(s->due_ns <= jl_mono_ns() + 1000 * JL_NS_PER_S);
    joulet_close(m);
}

/* Counters that wrap are read often enough to see each wrap, however seldom the caller wants to (1.2). */
static void test_counters_are_read_every_10_s_at_least(void **state)
{
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    struct joulet *m = still_meter(1000 * JL_NS_PER_S);
    assert_true(m->lanes[0]->sensors[0].poll_ns == 10 * JL_NS_PER_S);
    joulet_close(m);
    m = still_meter(3 * JL_NS_PER_S);
    assert_true(m->lanes[0]->sensors[0].poll_ns == 3 * JL_NS_PER_S);
    joulet_close(m);
}

/* A reading that is dropped beside a locked update (1.3) is no sign that nothing has changed since. */
static void test_dropped_is_not_equal(void **state)
{
    struct joulet_sample locked;
    struct joulet_trace t;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    struct joulet *m = still_meter(MS);
    struct live_channel *c = m->channels[0];
    int64_t t0 = 5 * JL_NS_PER_S;
    take(m, t0, 1000);
    assert_true(updates_locked(&c->updates, t0 + 7 * MS, t0 + 7 * MS + 20000, 1700, &locked));
    ring_push(&m->store, &c->ring, locked);
    for (int i = 0; i < 2; i++) { /* dropped, and then the same once more */
        take(m, t0 + (8 + i) * MS, 1900);
        assert_int_equal(joulet_trace_copy(m, 0, t0 + MS, t0 + JL_NS_PER_S, &t, NULL), JOULET_OK);
        assert_int_equal(t.n, 2);
        assert_int_equal(t.samples[1].value, 1700);
        joulet_trace_release(&t);
    }
    take(m, t0 + 12 * MS, 2200);
    take(m, t0 + 13 * MS, 2200);
    assert_int_equal(joulet_trace_copy(m, 0, t0 + MS, t0 + JL_NS_PER_S, &t, NULL), JOULET_OK);
    assert_int_equal(t.n, 4);
    assert_int_equal(t.samples[2].value, 2200);
    assert_int_equal(t.samples[3].flags, JOULET_SAMPLE_LAST);
    assert_int_equal(t.samples[3].t_ns, t0 + 13 * MS);
    joulet_trace_release(&t);
    joulet_close(m);
}

/* Late by more than two polls and half an update the sampler was kept from the processor, and its next sample says so; a lane
 * that was busy with another device was not. */
static void test_starved(void **state)
{
    static const struct {
        int64_t period, due_ago, idle_ago; /* before the read */
        bool fires;
    } rows[] = {
        {MS, 25 * MS, 30 * MS, true},       {MS, 15 * MS, 30 * MS, false},       {MS, 25 * MS, 10 * MS, false},
        {100 * MS, 60 * MS, 90 * MS, true}, {100 * MS, 45 * MS, 90 * MS, false}, {MS, -5 * MS, 30 * MS, false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_trace t;
        fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = rows[i].period, .watts = 1};
        struct joulet *m = still_meter(10 * MS);
        struct live_sensor *s = &m->lanes[0]->sensors[0];
        lane_read(m->lanes[0], s, jl_mono_ns()); /* the first has nothing to be late for */
        int64_t now = jl_mono_ns();
        s->due_ns = now - rows[i].due_ago;
        m->lanes[0]->idle_ns = now - rows[i].idle_ago;
        lane_read(m->lanes[0], s, now);
        while (m->channels[0]->starved) { /* until the device shows something new */
            s->due_ns = jl_mono_ns();
            lane_read(m->lanes[0], s, s->due_ns);
        }
        assert_int_equal(joulet_trace_copy(m, 0, 0, jl_mono_ns(), &t, NULL), JOULET_OK);
        uint32_t flags = 0;
        for (size_t k = 0; k < t.n; k++)
            flags |= t.samples[k].flags;
        if (((flags & JOULET_SAMPLE_STARVED) != 0) != rows[i].fires)
            fail_msg("row %zu: flags %x", i, flags);
        assert_false(t.samples[0].flags & JOULET_SAMPLE_STARVED);
        joulet_trace_release(&t);
        joulet_close(m);
    }
}

/* 100 W, a counter that is read every 10 ms and locked to both ends of a run that begins with the meter: the reading of opening
 * is all that tells of the time before, and it is enough. */
static void test_a_run_from_the_start(void **state)
{
    struct joulet_trace t;
    struct joulet_measured measured;
    int64_t t0 = 5 * JL_NS_PER_S;
    joulet_mark bounds[] = {t0 + MS / 2, t0 + 60 * MS + MS / 2};
    struct joulet_what what = {.bounds = bounds, .n_phases = 1};
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    struct joulet *m = still_meter(10 * MS);
    struct live_channel *c = m->channels[0];
    take(m, t0, 0);
    for (int i = 0; i < 2; i++) {
        struct joulet_sample locked;
        int64_t at = bounds[i] + MS / 4;
        assert_true(updates_locked(&c->updates, at - 10000, at + 10000, (at - t0) / 10, &locked));
        ring_retract(&m->store, &c->ring, locked.t_ns - updates_lock_span(&c->updates) - 1, JOULET_SAMPLE_LOCKED);
        ring_push(&m->store, &c->ring, locked);
        for (int64_t late = 10 * MS; i == 0 && late < 60 * MS; late += 10 * MS)
            take(m, t0 + late, (late - MS / 2) / 10);
    }
    assert_int_equal(joulet_trace_copy(m, 0, bounds[0], bounds[1], &t, NULL), JOULET_OK);
    assert_int_equal(t.n, 8);
    assert_int_equal(joulet_measure(&t, NULL, &what, &measured, NULL), JOULET_OK);
    assert_int_equal(measured.whole.flags, JOULET_FLAG_NO_BASELINE);
    assert_near(measured.whole.gross_j, 6, .01);
    assert_near(measured.whole.u.b, 0, .05);
    joulet_trace_release(&t);
    joulet_close(m);
}

/* Temperatures that are due wait while an update is looked for, and waiting does not make the lane read faster. */
static void test_waiting_gauges_are_no_hurry(void **state)
{
    static const struct {
        int64_t since_update, gauge_in, read_in; /* ns */
    } rows[] = {
        {97 * MS, -5 * MS, MS},     /* the update is due in 3 ms: looked for every millisecond */
        {97 * MS, MS / 4, MS},      /* due before the next look: still waits */
        {50 * MS, 2 * MS, 2 * MS},  /* no update is due: the temperature is */
        {50 * MS, 60 * MS, 44 * MS} /* 6 ms before the update */
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_options opt = JOULET_OPTIONS_INIT;
        opt.no_thread = opt.gauges = true;
        fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_STILL, .period_ns = 100 * MS, .watts = 1, .gauge = true};
        struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
        struct live_sensor *s = &m->lanes[0]->sensors[0];
        struct updates *u = &s->channels[0]->updates;
        lane_read(m->lanes[0], s, jl_mono_ns());
        int64_t now = jl_mono_ns();
        u->predict = u->period_found = true;
        u->edge_ns = now - rows[i].since_update;
        u->edge_hw = u->repeats = 0;
        s->due_ns = now;
        s->gauge_ns = now + rows[i].gauge_in;
        lane_read(m->lanes[0], s, now);
        if (s->due_ns != now + rows[i].read_in)
            fail_msg("row %zu: read again after %.3f ms", i, 1e-6 * (double)(s->due_ns - now));
        joulet_close(m);
    }
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_reads_at_events_put_nothing_off),
        LIVE(test_counters_are_read_every_10_s_at_least),
        LIVE(test_dropped_is_not_equal),
        LIVE(test_starved),
        LIVE(test_waiting_gauges_are_no_hurry),
        LIVE(test_a_run_from_the_start),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
