/* In how many parts the memory of many threads lies. */
#include "tests/base/test.h"

#include "lib/platform/platform.h"

#include <malloc.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#if defined(__GLIBC__) && !defined(SANITIZED)
enum { THREADS = 40 };

static atomic_int hold, waits;

static void *hold_some(void *arg)
{
    char *block = malloc(2000);
    (void)arg;
    assert_non_null(block);
    memset(block, 1, 2000);
    atomic_fetch_add(&waits, 1);
    while (atomic_load(&hold))
        usleep(1000);
    free(block);
    return NULL;
}

static size_t heaps(void)
{
    char *text = NULL;
    size_t size = 0, n = 0;
    FILE *f = open_memstream(&text, &size);
    assert_non_null(f);
    assert_int_equal(malloc_info(0, f), 0);
    fclose(f);
    for (const char *p = text; (p = strstr(p, "<heap nr=")); p++)
        n++;
    free(text);
    return n;
}

static void test_threads_share_few_heaps(void **state)
{
    pthread_t threads[THREADS];
    long processors = sysconf(_SC_NPROCESSORS_ONLN);
    size_t most = processors > 2 ? (size_t)processors : 2;
    (void)state;
    jl_heap_of_few();
    atomic_store(&hold, 1);
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, hold_some, NULL), 0);
    while (atomic_load(&waits) < THREADS)
        usleep(1000);
    size_t n = heaps();
    atomic_store(&hold, 0);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_in_range(n, 1, most);
}
#else
static void test_threads_share_few_heaps(void **state)
{
    (void)state;
    jl_heap_of_few(); /* of another allocator nothing is asked */
    skip();
}
#endif

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_threads_share_few_heaps),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
