/* A buffer grows to its limit and not a byte further. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>
#if defined(__GLIBC__) && __GLIBC_PREREQ(2, 33)
#include <malloc.h>
#else
struct mallinfo2 {
    size_t uordblks;
};
static struct mallinfo2 mallinfo2(void)
{
    return (struct mallinfo2){0};
}
#endif

static void test_grows(void **state)
{
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 100000);
    for (int i = 0; i < 10000; i++)
        assert_true(jl_buf_printf(&b, "%04d,", i));
    assert_int_equal(b.len, 50000);
    assert_memory_equal(b.data, "0000,0001,", 10);
    assert_string_equal(b.data + 49990, "9998,9999,");
    jl_buf_release(&b);
}

static void test_every_limit(void **state)
{
    (void)state;
    for (size_t max = 0; max < 200; max++) {
        struct jl_buf b;
        jl_buf_init(&b, max);
        size_t fitting = 0;
        while (jl_buf_str(&b, "1234567"))
            fitting++;
        assert_int_equal(fitting, max / 7);
        assert_true(b.failed);
        assert_int_equal(b.len, max); /* what fitted is kept */
        if (max > 0)
            assert_int_equal(b.data[max], '\0');
        assert_false(jl_buf_str(&b, ""));
        assert_int_equal(b.len, max);
        jl_buf_clear(&b);
        assert_false(b.failed);
        assert_true(max == 0 || jl_buf_add(&b, "x", 1));
        jl_buf_release(&b);
    }
}

static void test_long_line(void **state)
{
    struct jl_buf b;
    char text[3000];
    (void)state;
    memset(text, 'y', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    jl_buf_init(&b, 10000);
    assert_true(jl_buf_printf(&b, "<%s>", text));
    assert_int_equal(b.len, 3001);
    assert_int_equal(b.data[3000], '>');
    jl_buf_release(&b);
}

static void test_bytes(void **state)
{
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 10);
    assert_true(jl_buf_add(&b, "a\0b", 3));
    assert_memory_equal(b.data, "a\0b\0", 4);
    jl_buf_release(&b);
}

static void test_drop_and_take(void **state)
{
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 100);
    jl_buf_drop(&b, 5); /* nothing there yet */
    jl_buf_str(&b, "hello world");
    jl_buf_drop(&b, 6);
    assert_string_equal(b.data, "world");
    char *taken = jl_buf_take(&b);
    assert_string_equal(taken, "world");
    free(taken);
    assert_int_equal(b.len, 0);
    assert_true(jl_buf_str(&b, "again"));
    jl_buf_drop(&b, 99);
    assert_string_equal(b.data, "");
    jl_buf_release(&b);
    taken = jl_buf_take(&b); /* an empty buffer is an empty string */
    assert_string_equal(taken, "");
    free(taken);
}

/* Two at a time, so that neither grows where it stands. */
static size_t held_after(int times)
{
    for (int i = 0; i < times; i++) {
        struct jl_buf a, b;
        jl_buf_init(&a, 100000);
        jl_buf_init(&b, 100000);
        for (int k = 0; k < 200; k++) {
            jl_buf_str(&a, "a piece of text");
            jl_buf_str(&b, "a piece of text");
        }
        jl_buf_release(&a);
        jl_buf_release(&b);
    }
    return mallinfo2().uordblks; /* with what the thread's cache holds */
}

/* What a buffer gave back is taken again: no thread comes to hold more than the first ones left. */
static void test_leaves_nothing(void **state)
{
    (void)state;
    size_t once = held_after(1);
    assert_int_equal(held_after(20), once);
}

/* Of neither does a thread keep anything, however long they were. */
static void test_unkept(void **state)
{
    (void)state;
    free(jl_malloc_unkept(1));
    size_t before = mallinfo2().uordblks;
    for (size_t n = 0; n < 3000; n += 40) {
        struct jl_buf b;
        char *block = jl_malloc_unkept(n);
        assert_non_null(block);
        memset(block, 'x', n);
        jl_buf_init_unkept(&b, 2500);
        assert_int_equal(jl_buf_add(&b, block, n), n <= 2500);
        assert_int_equal(b.len, n < 2500 ? n : 2500);
        jl_buf_release(&b);
        jl_buf_add(&b, block, n); /* as after init */
        free(jl_buf_take(&b));
        free(block);
    }
    assert_int_equal(mallinfo2().uordblks, before);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_grows),  cmocka_unit_test(test_every_limit),   cmocka_unit_test(test_long_line),
        cmocka_unit_test(test_bytes),  cmocka_unit_test(test_drop_and_take), cmocka_unit_test(test_leaves_nothing),
        cmocka_unit_test(test_unkept),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
