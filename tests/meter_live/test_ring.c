/* Traces in memory: one bound for all channels, the oldest go first, every sample is handed over once. */
#include "lib/meter/ring.h"
#include "lib/platform/platform.h"
#include "tests/base/test.h"

#include <stdatomic.h>
#include <stdlib.h>

#define S JL_NS_PER_S

static void push(struct ring_store *s, struct ring *r, int64_t t, int64_t value)
{
    ring_push(s, r, (struct joulet_sample){.t_ns = t, .value = value});
}

static void open_store(struct ring_store *s, size_t chunks, struct ring *rings, size_t n)
{
    assert_true(ring_store_init(s, chunks * sizeof(struct ring_chunk), n));
    for (size_t i = 0; i < n; i++) {
        rings[i] = (struct ring){0};
        assert_true(ring_add(s, &rings[i]));
    }
}

static void test_copies(void **state)
{
    struct ring_store s;
    struct ring r;
    struct joulet_sample *all;
    size_t n;
    (void)state;
    open_store(&s, 100, &r, 1);
    assert_int_equal(ring_copy(&s, &r, 0, 100, 2, &all, &n), JOULET_OK); /* of nothing: nothing */
    assert_int_equal(n, 0);
    free(all);
    for (int i = 0; i < 1000; i++)
        push(&s, &r, 10 * i, i);
    static const struct {
        int64_t from, to;
        size_t lead;
        int64_t first, last; /* values */
    } cases[] = {
        {100, 200, 0, 10, 20}, {101, 199, 0, 10, 20},       {105, 105, 0, 10, 11},     {-50, 30, 0, 0, 3},
        {100, 200, 3, 7, 23},  {5000, 99999, 2, 498, 999},  {9990, 9990, 5, 994, 999}, {-9, -5, 1, 0, 1},
        {0, 9990, 10, 0, 999}, {20000, 30000, 0, 999, 999},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        assert_int_equal(ring_copy(&s, &r, cases[i].from, cases[i].to, cases[i].lead, &all, &n), JOULET_OK);
        assert_int_equal(n, cases[i].last - cases[i].first + 1);
        for (size_t k = 0; k < n; k++)
            assert_int_equal(all[k].value, cases[i].first + (int64_t)k);
        free(all);
    }
    ring_store_release(&s);
}

/* Two channels, one ten times as fast: both reach back about as far, and the bound holds. */
static void test_bound(void **state)
{
    struct ring_store s;
    struct ring r[2];
    struct joulet_sample *all;
    size_t n;
    (void)state;
    open_store(&s, 22, r, 2);
    for (int i = 0; i < 100000; i++) {
        push(&s, &r[0], i, i);
        if (i % 10 == 0)
            push(&s, &r[1], i, i);
        assert_true(ring_store_bytes(&s) <= 22 * sizeof(struct ring_chunk));
    }
    assert_int_equal(s.dropped + (r[0].end - r[0].begin) + (r[1].end - r[1].begin), 110000);
    assert_true(s.dropped > 100000);
    int64_t oldest[2];
    for (int i = 0; i < 2; i++) {
        assert_int_equal(ring_copy(&s, &r[i], 0, 100000, 0, &all, &n), JOULET_NO_DATA);
        assert_null(all);
        assert_int_equal(ring_copy(&s, &r[i], 99000, 100000, 0, &all, &n), JOULET_OK);
        assert_int_equal(all[n - 1].value, i == 0 ? 99999 : 99990);
        free(all);
        oldest[i] = r[i].chunks[r[i].head]->s[0].t_ns;
    }
    assert_true(llabs(oldest[0] - oldest[1]) <= 2 * 10 * RING_CHUNK);
    ring_store_release(&s);
}

static void test_tiny_bound(void **state)
{
    struct ring_store s;
    struct ring r[3];
    struct joulet_sample last;
    (void)state;
    open_store(&s, 0, r, 3);
    for (int i = 0; i < 3000; i++)
        push(&s, &r[i % 3], i, i);
    for (int i = 0; i < 3; i++) { /* the newest are always there */
        assert_true(ring_last(&s, &r[i], &last));
        assert_int_equal(last.value, 2997 + i);
    }
    ring_store_release(&s);
}

static void test_times_ascend(void **state)
{
    struct ring_store s;
    struct ring r;
    struct joulet_sample last;
    (void)state;
    open_store(&s, 4, &r, 1);
    push(&s, &r, 1000, 1);
    push(&s, &r, 400, 2);
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.t_ns, 1001);
    assert_int_equal(last.hw_ns, 601); /* covers where it really was */
    push(&s, &r, 1001, 3);
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.t_ns, 1002);
    ring_store_release(&s);
}

static void test_retracts(void **state)
{
    struct ring_store s;
    struct ring r;
    struct joulet_sample last, out[8];
    (void)state;
    open_store(&s, 40, &r, 1);
    ring_retract(&s, &r, 0, 0);
    push(&s, &r, 0, 0);
    ring_retract(&s, &r, -1, 0); /* not the first */
    assert_true(ring_last(&s, &r, &last));
    for (int i = 1; i < 3 * RING_CHUNK; i++)
        push(&s, &r, i, i);
    ring_retract(&s, &r, 3 * RING_CHUNK - 3, 0);
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.value, 3 * RING_CHUNK - 3);
    ring_retract(&s, &r, RING_CHUNK / 2, 0); /* over the borders of chunks */
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.value, RING_CHUNK / 2);
    push(&s, &r, 1000, 77);
    ring_push(&s, &r, (struct joulet_sample){.t_ns = 1001, .flags = JOULET_SAMPLE_LOCKED, .value = 78});
    push(&s, &r, 1002, 79);
    ring_retract(&s, &r, 5, JOULET_SAMPLE_LOCKED); /* not past one that is to be kept */
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.value, 78);
    assert_int_equal(ring_take(&s, &r, 5, out, 8), 5);
    ring_retract(&s, &r, 0, 0); /* not what was handed over */
    assert_true(ring_last(&s, &r, &last));
    assert_int_equal(last.value, 4);
    ring_store_release(&s);
}

static void test_take_by_seconds(void **state)
{
    struct ring_store s;
    struct ring r;
    struct joulet_sample out[8];
    (void)state;
    open_store(&s, 10, &r, 1);
    push(&s, &r, 1 * S + 5, 0);
    push(&s, &r, 1 * S + 9, 1);
    push(&s, &r, 2 * S, 2);
    push(&s, &r, 2 * S + 1, 3);
    push(&s, &r, 3 * S - 1, 4);
    push(&s, &r, 5 * S, 5);
    assert_int_equal(ring_take(&s, &r, 1 * S, out, 8), 0);
    assert_int_equal(ring_take(&s, &r, 3 * S, out, 8), 2);
    assert_int_equal(out[1].value, 1);
    assert_int_equal(ring_take(&s, &r, 3 * S, out, 2), 2); /* no more than there is room for */
    assert_int_equal(out[0].value, 2);
    assert_int_equal(ring_take(&s, &r, 3 * S, out, 2), 1);
    assert_int_equal(out[0].value, 4);
    assert_int_equal(ring_take(&s, &r, 3 * S, out, 8), 0);
    assert_int_equal(ring_take(&s, &r, INT64_MAX, out, 8), 1);
    assert_int_equal(out[0].value, 5);
    ring_store_release(&s);
}

/* ---- several threads --------------------------------------------------------------------------------------------------- */

struct traffic {
    struct ring_store store;
    struct ring ring;
    int total;
    atomic_bool done;
    uint64_t taken, wrong;
};

static void produce(void *arg)
{
    struct traffic *t = arg;
    for (int i = 0; i < t->total; i++) {
        push(&t->store, &t->ring, i, i);
        if (i % 100 == 99) { /* take two back, as a locked read does, and bring them again */
            ring_retract(&t->store, &t->ring, i - 2, 0);
            push(&t->store, &t->ring, i - 1, i - 1);
            push(&t->store, &t->ring, i, i);
        }
    }
    atomic_store(&t->done, true);
}

/* Behind the producer by more than it takes back, as the sink is. */
static void consume(void *arg)
{
    struct traffic *t = arg;
    struct joulet_sample out[256], last;
    int64_t next = 0;
    for (bool done = false; !done;) {
        done = atomic_load(&t->done);
        int64_t cutoff = done ? INT64_MAX : ring_last(&t->store, &t->ring, &last) ? last.t_ns - 10 : 0;
        for (size_t n; (n = ring_take(&t->store, &t->ring, cutoff, out, 256)) > 0; t->taken += n)
            for (size_t i = 0; i < n; i++) {
                t->wrong += out[i].value < next;
                next = out[i].value + 1;
            }
    }
}

static void test_threads(void **state)
{
    struct traffic t = {.total = 200000};
    struct jl_thread *producer, *consumer;
    struct joulet_sample *all;
    size_t n;
    (void)state;
    open_store(&t.store, 50, &t.ring, 1);
    assert_int_equal(jl_thread_start(&producer, "produce", produce, &t, NULL), JOULET_OK);
    assert_int_equal(jl_thread_start(&consumer, "consume", consume, &t, NULL), JOULET_OK);
    while (!atomic_load(&t.done)) {
        struct joulet_sample last = {0};
        ring_last(&t.store, &t.ring, &last);
        if (ring_copy(&t.store, &t.ring, last.t_ns - 3000, INT64_MAX, 0, &all, &n) != JOULET_OK)
            continue;
        for (size_t i = 1; i < n; i++)
            assert_true(all[i].value > all[i - 1].value);
        free(all);
    }
    jl_thread_join(producer);
    jl_thread_join(consumer);
    assert_int_equal(t.wrong, 0);
    assert_int_equal(t.taken + t.store.dropped, (uint64_t)t.total);
    ring_store_release(&t.store);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copies),       cmocka_unit_test(test_bound),    cmocka_unit_test(test_tiny_bound),
        cmocka_unit_test(test_times_ascend), cmocka_unit_test(test_retracts), cmocka_unit_test(test_take_by_seconds),
        cmocka_unit_test(test_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
