/* Every row of the table with its Nth allocation and its Nth read made to fail, for every N: nothing leaks, nothing crashes, no
 * value appears that is not there, and what counts in the total is all there or something is said. malloc and its like, open and
 * read of the library are wrapped by the linker (CMakeLists.txt). */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/rows.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READS 3

/* ---- what is made to fail ------------------------------------------------------------------------------------------------ */

enum what { NOTHING, ALLOCATION, READING };

static struct {
    bool on;
    enum what what;
    long fail_at;            /* the one of that number fails, counted from 1 */
    long allocations, reads; /* so far */
    long live;               /* allocated and not freed */
} fault;

static bool fails(enum what what, long n)
{
    return fault.on && fault.what == what && n == fault.fail_at;
}

static bool no_memory(void)
{
    if (!fault.on || !fails(ALLOCATION, ++fault.allocations))
        return false;
    errno = ENOMEM;
    return true;
}

static bool no_reading(void)
{
    if (!fault.on || !fails(READING, ++fault.reads))
        return false;
    errno = EIO;
    return true;
}

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_vasprintf(char **out, const char *fmt, va_list args);
void __real_free(void *p);
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __real_pread64(int fd, void *buf, size_t n, off_t at);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **out, const char *fmt, va_list args);
void __wrap_free(void *p);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at);

/* Pointers handed out while it matters: what the C library allocated for itself is freed here too, and is not ours. */
static void *ours[8192];

static void *counted(void *p)
{
    size_t i = 0;
    if (!fault.on || !p)
        return p;
    while (i < JL_COUNT(ours) && ours[i])
        i++;
    if (i == JL_COUNT(ours))
        abort();
    ours[i] = p;
    fault.live++;
    return p;
}

static void forget(const void *p)
{
    for (size_t i = 0; fault.on && p && i < JL_COUNT(ours); i++)
        if (ours[i] == p) {
            ours[i] = NULL;
            fault.live--;
            return;
        }
}

void *__wrap_malloc(size_t n)
{
    return no_memory() ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return no_memory() ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (no_memory())
        return NULL;
    forget(p);
    return counted(__real_realloc(p, n));
}

char *__wrap_strdup(const char *s)
{
    return no_memory() ? NULL : counted(__real_strdup(s));
}

int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    if (no_memory())
        return -1;
    int n = __real_vasprintf(out, fmt, args);
    if (n >= 0)
        counted(*out);
    return n;
}

void __wrap_free(void *p)
{
    forget(p);
    __real_free(p);
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
    return no_reading() ? -1 : __real_read(fd, buf, n);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at)
{
    return no_reading() ? -1 : __real_pread64(fd, buf, n, at);
}

/* ---- one life of a sensor ---------------------------------------------------------------------------------------------------
 */

struct life {
    enum joulet_status status;
    size_t channels, in_total, problems;
    long live;
    struct sensor_reading last[JL_CHANNELS_MAX];
};

static void live_once(struct bench *b, const struct sensor_ops *ops, enum what what, long fail_at, struct life *out)
{
    struct joulet_error err = {.status = JOULET_OK};
    memset(out, 0, sizeof(*out));
    memset(&b->list, 0, sizeof(b->list));
    memset(ours, 0, sizeof(ours));
    fault.allocations = fault.reads = fault.live = 0;
    fault.what = what;
    fault.fail_at = fail_at;
    fault.on = true;
    out->status = ops->discover(&b->list, &b->opt, &err);
    size_t at = 0;
    for (size_t i = 0; i < b->list.n; i++) {
        struct sensor *s = b->list.items[i];
        for (int k = 0; k < READS; k++)
            ops->read(s, out->last + at, true);
        for (size_t k = 0; k < s->n_channels; k++)
            out->in_total += s->channels[k].in_total;
        at += s->n_channels;
    }
    out->channels = at;
    out->problems = b->list.n_problems;
    close_sensors(&b->list);
    fault.on = false;
    out->live = fault.live;
}

static bool says_nothing(const struct life *x)
{
    return x->status == JOULET_OK && x->problems == 0;
}

/* Files do not change here, so every value that is shown is the one of the good life. Estimates and played curves go on. */
static void check_values(const char *row, const char *what, long n, const struct life *good, const struct life *bad)
{
    for (size_t i = 0; rows_can_leave(row) && bad->channels == good->channels && i < bad->channels; i++)
        if (bad->last[i].has && bad->last[i].value != good->last[i].value && strcmp(row, "perf") != 0)
            fail_msg("%s, %s %ld: channel %zu shows %lld, not %lld", row, what, n, i, (long long)bad->last[i].value,
                     (long long)good->last[i].value);
}

static long check_kind(struct bench *b, const struct sensor_ops *ops, enum what kind, const struct life *good, long n)
{
    static struct life bad;
    const char *what = kind == ALLOCATION ? "allocation" : "read";
    for (long i = 1; i <= n; i++) {
        live_once(b, ops, kind, i, &bad);
        if (bad.live != 0)
            fail_msg("%s, %s %ld: %ld left allocated", ops->name, what, i, bad.live);
        if (bad.in_total < good->in_total && says_nothing(&bad))
            fail_msg("%s, %s %ld: %zu of %zu channels count, and nothing is said", ops->name, what, i, bad.in_total,
                     good->in_total);
        if (bad.in_total > good->in_total && says_nothing(&bad)) /* parts may stand in for a whole that is missing */
            fail_msg("%s, %s %ld: %zu channels count instead of %zu", ops->name, what, i, bad.in_total, good->in_total);
        check_values(ops->name, what, i, good, &bad);
    }
    return n;
}

static void every_failure(void **state)
{
    const struct sensor_ops *ops = find_sensor(*state);
    static struct life good;
    struct bench b;
    rows_prepare(&b, ops->name);
    live_once(&b, ops, NOTHING, 0, &good);
    live_once(&b, ops, NOTHING, 0, &good); /* what is kept for good by the first use is there now */
    long allocations = fault.allocations, reads = fault.reads;
    assert_int_equal(good.status, JOULET_OK);
    assert_true(good.channels > 0);
    assert_int_equal(good.live, 0);
    check_kind(&b, ops, ALLOCATION, &good, allocations);
    check_kind(&b, ops, READING, &good, reads);
    printf("failures: %s: %ld allocations and %ld reads failed, one at a time\n", ops->name, allocations, reads);
    rows_clean(&b);
}

int main(void)
{
    static const char *const rows[] = {"rapl",    "perf", "msr", "amdgpu", "intelgpu", "hwmon",
                                       "battery", "ipmi", "tdp", "sim",    "file"};
    struct CMUnitTest tests[JL_COUNT(rows)];
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        tests[i] = (struct CMUnitTest){.name = rows[i], .test_func = every_failure, .initial_state = (void *)(uintptr_t)rows[i]};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
