/* test_pack.c - samples as bytes: exactly back, small for what sensors send, and damage is noticed or harmless. */
#include "store/pack.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

#define MANY ((size_t)8 << 20)

static void check_round_trip(const struct joulet_sample *samples, size_t n, size_t *size)
{
    struct jl_buf b;
    struct joulet_sample *again = calloc(n + 1, sizeof *again);
    assert_non_null(again);
    jl_buf_init(&b, MANY);
    assert_true(store_pack(&b, samples, n));
    assert_true(store_unpack(b.data, b.len, again, n));
    for (size_t i = 0; i < n; i++) {
        assert_true(again[i].t_ns == samples[i].t_ns);
        assert_true(again[i].value == samples[i].value);
        assert_true(again[i].hw_ns == samples[i].hw_ns);
        assert_true(again[i].flags == samples[i].flags);
    }
    if (size)
        *size = b.len;
    jl_buf_release(&b);
    free(again);
}

static void extremes_survive(void **state)
{
    static const struct joulet_sample samples[] = {
        {0, 0, 0, 0},
        {INT64_MAX, INT64_MIN, UINT32_MAX, UINT32_MAX},
        {INT64_MIN, INT64_MAX, 0, JOULET_SAMPLE_LAST},
        {-1, 1, 1, JOULET_SAMPLE_LAST},
        {INT64_MAX, INT64_MAX, UINT32_MAX, 0},
    };
    (void)state;
    for (size_t n = 0; n <= JL_COUNT(samples); n++)
        check_round_trip(samples, n, NULL);
}

static void any_samples_survive(void **state)
{
    struct jl_rng rng = {3};
    struct joulet_sample samples[300];
    (void)state;
    for (int round = 0; round < 100; round++) {
        size_t n = (size_t)jl_rng_below(&rng, JL_COUNT(samples));
        for (size_t i = 0; i < n; i++) {
            unsigned shift = (unsigned)jl_rng_below(&rng, 64);
            samples[i] = (struct joulet_sample){(int64_t)(jl_rng_next(&rng) >> shift), (int64_t)(jl_rng_next(&rng) >> shift),
                                                (uint32_t)(jl_rng_next(&rng) >> 32), (uint32_t)jl_rng_below(&rng, 3)};
        }
        check_round_trip(samples, n, NULL);
    }
}

/* A counter read every 10 ms with jitter of 50 us, 60 W with 2 % noise: what RAPL gives. */
static void a_second_of_rapl_takes_8_bytes_a_sample(void **state)
{
    struct jl_rng rng = {5};
    struct joulet_sample samples[100];
    int64_t t = 123456789012345, value = 77000000;
    size_t size;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(samples); i++) {
        t += 10000000 + (int64_t)jl_rng_below(&rng, 100000) - 50000;
        value += 600000 + (int64_t)jl_rng_below(&rng, 24000) - 12000;
        samples[i] = (struct joulet_sample){t, value, (uint32_t)(500000 + jl_rng_below(&rng, 6000)), 0};
    }
    check_round_trip(samples, JL_COUNT(samples), &size);
    if (size > 8 * JL_COUNT(samples) + 40) /* the first sample is whole */
        fail_msg("%zu bytes for %zu samples", size, JL_COUNT(samples));
}

static void damage_is_noticed_or_harmless(void **state)
{
    struct jl_rng rng = {9};
    struct joulet_sample samples[20], out[20];
    struct jl_buf b;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(samples); i++)
        samples[i] = (struct joulet_sample){(int64_t)i * 1000, (int64_t)i * 7, 5, i % 4 == 0};
    jl_buf_init(&b, MANY);
    assert_true(store_pack(&b, samples, JL_COUNT(samples)));
    for (size_t cut = 0; cut < b.len; cut++) {
        char *exact = malloc(cut + 1); /* so that reading past the end is seen */
        assert_non_null(exact);
        memcpy(exact, b.data, cut);
        assert_false(store_unpack(exact, cut, out, JL_COUNT(out)));
        free(exact);
    }
    for (int i = 0; i < 20000; i++) {
        size_t at = (size_t)jl_rng_below(&rng, b.len);
        char kept = b.data[at];
        b.data[at] = (char)jl_rng_below(&rng, 256);
        store_unpack(b.data, b.len, out, JL_COUNT(out));
        b.data[at] = kept;
    }
    assert_false(store_unpack(b.data, b.len, out, JL_COUNT(out) - 1)); /* another count than was packed */
    b.data[0] = 2;                                                     /* a layout of later */
    assert_false(store_unpack(b.data, b.len, out, JL_COUNT(out)));
    jl_buf_release(&b);
}

static void the_limit_holds(void **state)
{
    struct joulet_sample samples[100] = {{0}};
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 50);
    assert_false(store_pack(&b, samples, JL_COUNT(samples)));
    jl_buf_release(&b);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(extremes_survive),
        cmocka_unit_test(any_samples_survive),
        cmocka_unit_test(a_second_of_rapl_takes_8_bytes_a_sample),
        cmocka_unit_test(damage_is_noticed_or_harmless),
        cmocka_unit_test(the_limit_holds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
