/* Every row of the table with each Nth allocation, open, read, call into kernel or vendor's library and look-up of a name made to
 * fail, for every N: nothing leaks, nothing crashes, no value appears that is not there, and what counts in the total is all
 * there or something is said. failing.h has what fails; perf and ipmi run over the kernel's own calls here, not over their
 * stand-ins. */
#include "lib/sensors/dcmi.h"
#include "lib/sensors/perf.h"
#include "lib/sensors/powermetrics.h"
#include "tests/base/test.h"
#include "tests/sensors/failing.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/rows.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define READS 4

/* ---- rows whose values do not change by themselves ------------------------------------------------------------------------ */

static struct {
    char *pipe;
    int fd; /* its other end */
} mac = {.fd = -1};

/* A pipe with four samples in it, anew for each life. */
static void fill_pipe(const struct bench *b)
{
    struct jl_buf text;
    if (strcmp(b->row, "powermetrics") != 0)
        return;
    if (mac.fd >= 0)
        close(mac.fd);
    free(mac.pipe);
    mac.pipe = jl_strf("%s/pipe", b->machine.dir);
    unlink(mac.pipe);
    assert_int_equal(mkfifo(mac.pipe, 0600), 0);
    mac.fd = open(mac.pipe, O_RDWR | O_CLOEXEC | O_NONBLOCK);
    jl_buf_init(&text, 1 << 20);
    assert_int_equal(jl_read_file(FIXTURES "/powermetrics/apple.txt", &text, NULL), JOULET_OK);
    assert_int_equal(write(mac.fd, text.data, text.len), text.len);
    jl_buf_release(&text);
    setenv("JOULET_POWERMETRICS", mac.pipe, 1);
}

static void prepare(struct bench *b, const char *row)
{
    rows_prepare(b, row);
    perf_calls = &perf_kernel;
    dcmi_calls = &dcmi_kernel;
    b->opt.trust_root = true; /* else the events of this machine are not asked for those of another */
    machine_write_at(&b->machine, "dev/ipmi0", 0, "", 0);
    setenv("FAKE_NVML_NOW", "100", 1);
    powermetrics_first_ns = 30000000;
}

static void clean(struct bench *b)
{
    rows_clean(b);
    unsetenv("FAKE_NVML_NOW");
    if (mac.fd >= 0)
        close(mac.fd);
    free(mac.pipe);
    mac.pipe = NULL;
    mac.fd = -1;
}

/* Estimates and played curves go on with the clock. */
static bool stands_still(const char *row)
{
    return strcmp(row, "tdp") != 0 && strcmp(row, "sim") != 0 && strcmp(row, "file") != 0;
}

/* ---- one life of a sensor ---------------------------------------------------------------------------------------------- */

struct seen {
    char id[48], device[64];
    struct sensor_reading r[READS];
};

struct life {
    enum joulet_status status;
    size_t channels, in_total, problems;
    char said[8][200]; /* beginnings of the problems */
    struct failing_left left;
    struct seen seen[JL_CHANNELS_MAX];
};

static void look_at(struct sensor *s, struct life *out)
{
    struct sensor_reading r[JL_CHANNELS_MAX];
    struct joulet_process p[4];
    for (int k = 0; k < READS; k++) {
        s->ops->read(s, r, true);
        for (size_t i = 0; i < s->n_channels; i++)
            out->seen[out->channels + i].r[k] = r[i];
    }
    for (size_t i = 0; i < s->n_channels; i++) {
        struct seen *x = &out->seen[out->channels + i];
        snprintf(x->id, sizeof(x->id), "%s", s->channels[i].id);
        snprintf(x->device, sizeof(x->device), "%s", s->channels[i].device);
        out->in_total += s->channels[i].in_total;
    }
    out->channels += s->n_channels;
    if (s->ops->processes)
        s->ops->processes(s, p, JL_COUNT(p));
}

static void live_once(struct bench *b, const struct sensor_ops *ops, enum failing_what what, long at, int code, struct life *out)
{
    struct joulet_error err = {.status = JOULET_OK};
    memset(out, 0, sizeof(*out));
    memset(&b->list, 0, sizeof(b->list));
    fill_pipe(b);
    failing_begin(what, at, code);
    out->status = ops->discover(&b->list, &b->opt, &err);
    for (size_t i = 0; i < b->list.n; i++)
        look_at(b->list.items[i], out);
    for (; out->problems < b->list.n_problems && out->problems < JL_COUNT(out->said); out->problems++)
        snprintf(out->said[out->problems], sizeof(out->said[0]), "%s", b->list.problems[out->problems].message);
    close_sensors(&b->list);
    out->left = failing_end();
}

/* ---- what must hold ------------------------------------------------------------------------------------------------------- */

static const char *const names[FAILING_KINDS] = {"nothing", "allocation", "open", "read", "call", "name"};

struct failure {
    const char *row;
    enum failing_what what;
    long n;
};

/* A card that cannot be known leaves its number to the next: then that is another device. */
static const struct seen *find_seen(const struct life *l, const struct seen *x)
{
    for (size_t i = 0; i < l->channels; i++)
        if (strcmp(l->seen[i].id, x->id) == 0 && strcmp(l->seen[i].device, x->device) == 0)
            return &l->seen[i];
    return NULL;
}

/* Whatever is shown was shown in the good life too, and is told apart where a difference to what came before would be wrong. */
static void check_values(const struct failure *f, const struct life *good, const struct life *bad)
{
    for (size_t i = 0; stands_still(f->row) && i < bad->channels; i++) {
        const struct seen *is = &bad->seen[i], *was = find_seen(good, is);
        for (int k = 0; was && k < READS; k++) {
            bool known = !is->r[k].has || is->r[k].reset;
            for (int j = 0; j < READS; j++)
                known |= was->r[j].has && was->r[j].value == is->r[k].value;
            if (!known)
                fail_msg("%s, %s %ld: %s shows %lld", f->row, names[f->what], f->n, is->id, (long long)is->r[k].value);
            if (is->r[k].has && is->r[k].status != JOULET_OK)
                fail_msg("%s, %s %ld: %s shows a value that failed", f->row, names[f->what], f->n, is->id);
        }
    }
}

/* Nothing that is not said in the good life. */
static bool is_silent(const struct life *good, const struct life *bad)
{
    size_t known = 0;
    for (size_t i = 0; i < bad->problems; i++)
        for (size_t k = 0; k < good->problems; k++)
            known += strcmp(bad->said[i], good->said[k]) == 0;
    return bad->status == JOULET_OK && known == bad->problems;
}

static void check(const struct failure *f, const struct life *good, const struct life *bad)
{
    bool silent = is_silent(good, bad);
    if (bad->left.allocated != 0 || bad->left.open != 0)
        fail_msg("%s, %s %ld: %ld left allocated, %ld open", f->row, names[f->what], f->n, bad->left.allocated, bad->left.open);
    if (bad->in_total < good->in_total && silent)
        fail_msg("%s, %s %ld: %zu of %zu channels count, and nothing is said", f->row, names[f->what], f->n, bad->in_total,
                 good->in_total);
    if (bad->in_total > good->in_total && silent) /* parts may stand in for a whole that is missing */
        fail_msg("%s, %s %ld: %zu channels count instead of %zu", f->row, names[f->what], f->n, bad->in_total, good->in_total);
    check_values(f, good, bad);
}

/* The NVIDIA library can answer in many ways: lost, unknown error, no permission. "Not supported" and "no data" are no failures.
 */
static void check_kind(struct bench *b, const struct sensor_ops *ops, enum failing_what what, const struct life *good)
{
    static const int codes[] = {15, 999, 4};
    static struct life bad;
    size_t n_codes = what == FAILING_CALL && strcmp(ops->name, "nvml") == 0 ? JL_COUNT(codes) : 1;
    for (size_t c = 0; c < n_codes; c++)
        for (long i = 1; i <= good->left.calls[what]; i++) {
            struct failure f = {ops->name, what, i};
            live_once(b, ops, what, i, codes[c], &bad);
            check(&f, good, &bad);
        }
}

static void every_failure(void **state)
{
    const struct sensor_ops *ops = *state;
    static struct life good;
    struct bench b;
    prepare(&b, ops->name);
    for (int k = 0; k < 2; k++) /* what is kept for good by the first use is there at the second */
        live_once(&b, ops, FAILING_NOTHING, 0, 0, &good);
    assert_int_equal(good.status, JOULET_OK);
    assert_true(good.channels > 0);
    assert_int_equal(good.left.allocated, 0);
    assert_int_equal(good.left.open, 0);
    for (int what = FAILING_ALLOCATION; what < FAILING_KINDS; what++)
        check_kind(&b, ops, (enum failing_what)what, &good);
    const long *n = good.left.calls;
    printf("failures: %s: %ld allocations, %ld opens, %ld reads, %ld calls and %ld names failed, one at a time\n", ops->name,
           n[FAILING_ALLOCATION], n[FAILING_OPEN], n[FAILING_READ], n[FAILING_CALL], n[FAILING_SYMBOL]);
    clean(&b);
}

/* That nothing is left out: the kernel's calls are those of the rows that have them. */
static void calls_of_the_kernel_are_among_them(void **state)
{
    static const char *const rows[] = {"perf", "ipmi", "nvml"};
    static struct life good;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct bench b;
        prepare(&b, rows[i]);
        live_once(&b, find_sensor(rows[i]), FAILING_NOTHING, 0, 0, &good);
        if (good.left.calls[FAILING_CALL] < 4)
            fail_msg("%s: %ld calls, %zu channels: %s", rows[i], good.left.calls[FAILING_CALL], good.channels, good.said[0]);
        assert_true(strcmp(rows[i], "nvml") != 0 || good.left.calls[FAILING_SYMBOL] > 20);
        clean(&b);
    }
}

int main(void)
{
    static struct CMUnitTest tests[32];
    size_t n = 0;
    for (; sensor_table[n] && n + 1 < JL_COUNT(tests); n++)
        tests[n] = (struct CMUnitTest){
            .name = sensor_table[n]->name, .test_func = every_failure, .initial_state = (void *)(uintptr_t)sensor_table[n]};
    tests[n++] = (struct CMUnitTest)cmocka_unit_test(calls_of_the_kernel_are_among_them);
    return _cmocka_run_group_tests("failures", tests, n, NULL, NULL);
}
