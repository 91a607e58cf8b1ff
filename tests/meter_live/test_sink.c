/* The sink: every sample once, in order, one channel and one second of the clock a call; what does not fit is counted. */
#include "tests/meter_live/fake.h"

#define MS       1000000LL
#define CHANNELS 3

struct record {
    atomic_int calls;
    atomic_bool hold, held; /* the sink blocks; it does */
    int64_t next[CHANNELS], last_ns[CHANNELS];
    uint64_t samples[CHANNELS], missing[CHANNELS];
    int wrong;
};

/* The channels count their reads: a sample that is missing or comes twice shows. */
static void sink(void *user, size_t channel, const struct joulet_sample *samples, size_t n)
{
    struct record *r = user;
    while (atomic_load(&r->hold)) {
        atomic_store(&r->held, true);
        jl_sleep_until(jl_mono_ns() + 100000);
    }
    r->wrong += n == 0 || channel >= CHANNELS;
    r->wrong += samples[0].t_ns / JL_NS_PER_S != samples[n - 1].t_ns / JL_NS_PER_S;
    for (size_t i = 0; i < n; i++) {
        r->wrong += samples[i].value < r->next[channel] || samples[i].t_ns <= r->last_ns[channel];
        r->missing[channel] += (uint64_t)(samples[i].value - r->next[channel]);
        r->next[channel] = samples[i].value + 1;
        r->last_ns[channel] = samples[i].t_ns;
        r->samples[channel]++;
    }
    atomic_fetch_add(&r->calls, 1);
}

static struct joulet *meter_with(struct record *r, size_t memory)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    for (size_t i = 0; i < CHANNELS; i++) {
        static const char *const ids[] = {"a", "b", "c"};
        fake_plans[i] = (struct fake_plan){.id = ids[i], .show = FAKE_READS, .period_ns = MS / 10};
        r->next[i] = 1;
    }
    opt.sink = sink;
    opt.sink_user = r;
    opt.interval_ns = MS / 2;
    opt.memory_bytes = memory;
    return fake_meter(FAKE_TABLE(&fake_quick), &opt);
}

static void test_every_sample_once(void **state)
{
    struct record r = {0};
    (void)state;
    struct joulet *m = meter_with(&r, 0);
    while (atomic_load(&r.calls) < 2 * CHANNELS) /* while it samples */
        fake_run(MS);
    joulet_close(m); /* and the rest */
    assert_int_equal(r.wrong, 0);
    for (size_t i = 0; i < CHANNELS; i++) {
        assert_int_equal(r.missing[i], 0);
        assert_int_equal(r.samples[i], atomic_load(&fake_plans[i].reads));
    }
}

/* A sink that blocks: the sampler goes on, memory keeps its bound, and what was dropped is counted. */
static void test_blocked_sink(void **state)
{
    struct record r = {.hold = true};
    struct joulet_stats stats;
    size_t bound = 12 * sizeof(struct ring_chunk);
    (void)state;
    struct joulet *m = meter_with(&r, bound);
    do {
        fake_run(MS);
        joulet_stats_get(m, &stats);
        assert_true(stats.memory_bytes <= bound);
    } while (!atomic_load(&r.held) || stats.dropped < 1000);
    joulet_stats_get(m, &stats);
    atomic_store(&r.hold, false);
    joulet_close(m);
    uint64_t reads = 0, samples = 0, missing = 0;
    for (size_t i = 0; i < CHANNELS; i++) {
        reads += (uint64_t)atomic_load(&fake_plans[i].reads);
        samples += r.samples[i];
        missing += r.missing[i];
    }
    assert_int_equal(r.wrong, 0);
    assert_int_equal(samples + missing, reads); /* nothing vanished uncounted */
    assert_true(missing >= stats.dropped);
}

/* A meter that is closed at once still hands over what it has. */
static void test_short_life(void **state)
{
    (void)state;
    for (int i = 0; i < 20; i++) {
        struct record r = {0};
        struct joulet *m = meter_with(&r, 0);
        joulet_close(m);
        assert_int_equal(r.wrong, 0);
        for (size_t k = 0; k < CHANNELS; k++)
            assert_true(r.samples[k] >= 1 && r.samples[k] == (uint64_t)atomic_load(&fake_plans[k].reads));
    }
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {LIVE(test_every_sample_once), LIVE(test_blocked_sink), LIVE(test_short_life)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
