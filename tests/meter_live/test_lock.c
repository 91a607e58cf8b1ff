/* Event-locked reads (1.3): a mark has the counters read until they change, and the polled samples beside that are dropped. */
#include "tests/meter_live/fake.h"

#define MS 1000000LL

static struct joulet *slow_polls(int64_t period)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    fake_plans[0].id = "a";
    fake_plans[0].period_ns = period;
    opt.interval_ns = 20 * MS;
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    m->lock_cost_ns = INT64_MAX; /* however slow this machine is */
    return m;
}

static size_t locked_in(const struct joulet_trace *t)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += (t->samples[i].flags & JOULET_SAMPLE_LOCKED) != 0;
    return n;
}

static size_t locked_so_far(struct joulet *m)
{
    struct joulet_trace t = fake_trace(m, 0);
    size_t n = locked_in(&t);
    joulet_trace_release(&t);
    return n;
}

static void await_locked(struct joulet *m, size_t n)
{
    while (locked_so_far(m) < n)
        fake_run(MS);
}

/* Marks that follow quickly lock more than one update each: what counts is one after the mark. Without one the test never ends.
 */
static void await_locked_after(struct joulet *m, joulet_mark mark)
{
    for (bool seen = false; !seen; fake_run(MS)) {
        struct joulet_trace t = fake_trace(m, 0);
        for (size_t i = 0; i < t.n; i++)
            seen |= t.samples[i].flags & JOULET_SAMPLE_LOCKED && t.samples[i].t_ns + t.samples[i].hw_ns > mark;
        joulet_trace_release(&t);
    }
}

/* A counter that changes at every other read, on a grid of 10 s: whatever the speed, the second or third read shows it. */
static void test_locks(void **state)
{
    (void)state;
    fake_plans[0].show = FAKE_PAIRS;
    struct joulet *m = slow_polls(10 * JL_NS_PER_S);
    for (size_t k = 1; k <= 5; k++)
        await_locked_after(m, joulet_mark_now(m));
    joulet_close(m);
}

/* Updates every millisecond, events at any time: each sample holds the truth, and none that was polled is near a locked one. */
static void test_drops_polls_beside(void **state)
{
    (void)state;
    fake_plans[0].watts = 100;
    struct joulet *m = slow_polls(MS);
    for (int i = 0; i < 20; i++) {
        fake_run(3 * MS + 700000 * (i % 4));
        joulet_mark_now(m);
    }
    fake_run(30 * MS);
    struct joulet_trace t = fake_trace(m, 0);
    int64_t locked = INT64_MIN / 2;
    for (size_t i = 0; i < t.n; i++) {
        const struct joulet_sample *s = &t.samples[i];
        int64_t truth = fake_plans[0].origin_ns + s->value / 100000 * MS;
        assert_true(llabs(s->t_ns - truth) <= (int64_t)s->hw_ns + 1);
        if (s->flags & JOULET_SAMPLE_LOCKED) {
            locked = s->t_ns;
            for (size_t k = i; k > 0 && s->t_ns - t.samples[k - 1].t_ns <= 2 * MS; k--)
                assert_true(t.samples[k - 1].flags & JOULET_SAMPLE_LOCKED);
            assert_true(s->hw_ns <= MS / 2);
        } else {
            assert_true(s->t_ns - locked > 2 * MS);
        }
    }
    joulet_trace_release(&t);
    joulet_close(m);
}

/* The search ends although the counter never changes. */
static void test_gives_up(void **state)
{
    (void)state;
    fake_plans[0].show = FAKE_STILL;
    struct joulet *m = slow_polls(MS);
    for (int i = 0; i < 5; i++) {
        int reads = atomic_load(&fake_plans[0].reads);
        joulet_mark_now(m);
        while (atomic_load(&fake_plans[0].reads) < reads + 1)
            fake_run(100000);
    }
    struct joulet_trace t = fake_trace(m, 0);
    assert_int_equal(locked_in(&t), 0);
    joulet_trace_release(&t);
    joulet_close(m);
}

/* Reads that cost too much: polling only, with one read at each event. */
static void test_expensive_reads(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_READS, .period_ns = 50 * MS};
    opt.interval_ns = 60 * JL_NS_PER_S; /* nothing but marks reads */
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    m->lock_cost_ns = 0; /* every read costs more */
    for (int marks = 0; marks < 30; marks++) {
        int reads = atomic_load(&fake_plans[0].reads);
        joulet_mark_now(m);
        while (atomic_load(&fake_plans[0].reads) == reads)
            fake_run(100000);
    }
    fake_run(5 * MS);
    int before = atomic_load(&fake_plans[0].reads);
    joulet_mark_now(m);
    while (atomic_load(&fake_plans[0].reads) == before)
        fake_run(100000);
    struct joulet_stats stats;
    do { /* the sampler has finished with this mark when the counts agree */
        joulet_stats_get(m, &stats);
    } while (stats.reads < 2);
    fake_run(5 * MS);
    assert_int_equal(atomic_load(&fake_plans[0].reads), before + 1);
    joulet_close(m);
}

/* Events close together: every update of the 3 ms after each is locked, so there are more of them than events. A sampler that a
 * busy machine wakes later than that locks one; then they come again. */
static void test_short_phases(void **state)
{
    enum { EVENTS = 3 };
    (void)state;
    fake_plans[0].show = FAKE_PAIRS;
    struct joulet *m = slow_polls(10 * JL_NS_PER_S);
    for (size_t before = 0, now = 0; now <= before + EVENTS; now = locked_so_far(m)) {
        before = locked_so_far(m);
        joulet_mark t0 = joulet_mark_now(m);
        for (int i = 1; i < EVENTS; i++)
            joulet_mark_at(m, t0 + i * MS); /* 1 ms later: a short phase */
        await_locked(m, before + 1);
        fake_run(10 * MS);
    }
    joulet_close(m);
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_locks), LIVE(test_drops_polls_beside), LIVE(test_gives_up), LIVE(test_expensive_reads), LIVE(test_short_phases),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
