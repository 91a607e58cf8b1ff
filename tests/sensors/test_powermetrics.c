/* test_powermetrics.c - Apple's powermetrics: text and property lists in pieces, spans by their length, pipes, files, programs.
 */
#include "lib/sensors/powermetrics.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FIXTURE(name) FIXTURES "/powermetrics/" name

static struct jl_buf bytes_of(const char *path)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, 1 << 20);
    if (jl_read_file(path, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return b;
}

static size_t decode(const struct jl_buf *b, size_t piece, bool end, struct pm_span *out, size_t room, uint64_t *bad)
{
    struct pm_decoder d;
    size_t n = 0;
    pm_init(&d);
    for (size_t at = 0; at < b->len; at += piece) {
        assert_true(pm_feed(&d, b->data + at, b->len - at < piece ? b->len - at : piece));
        while (n < room && pm_next(&d, false, &out[n]))
            n++;
    }
    while (n < room && pm_next(&d, end, &out[n]))
        n++;
    *bad = d.bad;
    pm_release(&d);
    return n;
}

/* Apple silicon: energies of the spans, from power x length in text, as told in lists; a cut sample is none. */
static void spans_are_weighted_by_their_length(void **state)
{
    static const struct {
        const char *file;
        double elapsed_s[4], cpu_j[4], gpu_j[4], ane_j[4];
        size_t n;
        double tolerance;
    } cases[] = {
        {FIXTURE("apple.txt"),
         {1.01023, 0.1164, 0.1289, 0.117},
         {1.24662, 2.328, 2.7069, 0.0585},
         {5.73609, 1.0476, 1.0312, 0.00234},
         {0, 0.01746, 0, 0},
         4,
         1e-4},
        {FIXTURE("apple.plist"), {1.01023, 0.1164, 0.1289}, {1.246, 2.328, 2.706}, {5.736, 1.047, 1.031}, {0, 0.017, 0}, 3, 1e-9},
    };
    (void)state;
    for (size_t k = 0; k < JL_COUNT(cases); k++) {
        struct jl_buf b = bytes_of(cases[k].file);
        for (size_t piece = 1; piece < 4000; piece = piece * 3 + 1) {
            struct pm_span s[8];
            uint64_t bad;
            assert_int_equal(decode(&b, piece, true, s, 8, &bad), cases[k].n);
            for (size_t i = 0; i < cases[k].n; i++) {
                assert_near(s[i].elapsed_s, cases[k].elapsed_s[i], 1e-9);
                assert_near(s[i].energy_j[PM_CPU], cases[k].cpu_j[i], cases[k].tolerance);
                assert_near(s[i].energy_j[PM_GPU], cases[k].gpu_j[i], cases[k].tolerance);
                assert_near(s[i].energy_j[PM_ANE], cases[k].ane_j[i], cases[k].tolerance);
                assert_near(s[i].energy_j[PM_COMBINED], s[i].energy_j[PM_CPU] + s[i].energy_j[PM_GPU] + s[i].energy_j[PM_ANE],
                            0.002);
                assert_true(isnan(s[i].energy_j[PM_PACKAGE]));
            }
        }
        jl_buf_release(&b);
    }
}

static void an_intel_mac_tells_its_package(void **state)
{
    struct pm_span s[4];
    uint64_t bad;
    (void)state;
    struct jl_buf b = bytes_of(FIXTURE("intel.txt"));
    assert_int_equal(decode(&b, 7, true, s, 4, &bad), 2);
    assert_int_equal(bad, 0);
    assert_near(s[1].energy_j[PM_PACKAGE], 31.5 * 1.0025, 1e-9);
    assert_true(isnan(s[1].energy_j[PM_CPU]));
    jl_buf_release(&b);
}

static void an_intel_mac_tells_joules_in_its_lists(void **state)
{
    struct pm_span s[4];
    uint64_t bad;
    (void)state;
    struct jl_buf b = bytes_of(FIXTURE("intel.plist"));
    assert_int_equal(decode(&b, 11, true, s, 4, &bad), 2);
    assert_near(s[0].energy_j[PM_PACKAGE], 3.0294, 1e-12);
    assert_near(s[1].energy_j[PM_PACKAGE], 31.5788, 1e-12);
    assert_near(s[1].elapsed_s, 1.0025, 1e-12);
    jl_buf_release(&b);
}

/* Of the samples of the whole stream: each part is what it was there, or not told. */
static bool is_sample_of(const struct pm_span *x, const struct pm_span *all, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        bool same = fabs(x->elapsed_s - all[i].elapsed_s) < 1e-12;
        for (int k = 0; k < PM_PARTS; k++)
            same &= isnan(x->energy_j[k]) || fabs(x->energy_j[k] - all[i].energy_j[k]) < 1e-12;
        if (same)
            return true;
    }
    return false;
}

/* Whoever opens a pipe in the middle of a sample, and a program that is killed in the middle of one, make no figure that was not
 * told: what is shown belongs to one whole sample, and at most the one that was cut is lost. */
static void a_stream_is_cut_at_every_byte(void **state)
{
    static const char *const files[] = {FIXTURE("apple.txt"), FIXTURE("apple.plist"), FIXTURE("m1.txt"), FIXTURE("intel.txt"),
                                        FIXTURE("intel.plist")};
    (void)state;
    for (size_t f = 0; f < JL_COUNT(files); f++) {
        struct pm_span all[8], some[8];
        uint64_t bad;
        struct jl_buf b = bytes_of(files[f]);
        size_t n = decode(&b, 4096, true, all, 8, &bad);
        assert_true(n >= 2);
        for (size_t cut = 0; cut <= b.len; cut++) {
            struct jl_buf head = {.data = b.data, .len = cut}, tail = {.data = b.data + cut, .len = b.len - cut};
            size_t before = decode(&head, 4096, true, some, 8, &bad);
            for (size_t i = 0; i < before; i++)
                assert_true(is_sample_of(&some[i], all, n));
            size_t after = decode(&tail, 4096, true, some, 8, &bad);
            for (size_t i = 0; i < after; i++)
                assert_true(is_sample_of(&some[i], all, n));
            if (before + after + 1 < n)
                fail_msg("%s: cut at %zu loses %zu of %zu samples", files[f], cut, n - before - after, n);
        }
        jl_buf_release(&b);
    }
}

/* A piece that found no memory is a hole: the tail of a sample is never put to the head of another. */
static void what_is_lost_makes_no_sample(void **state)
{
    (void)state;
    struct pm_span all[8], some[8];
    struct jl_buf b = bytes_of(FIXTURE("apple.plist"));
    uint64_t bad;
    size_t n = decode(&b, 4096, true, all, 8, &bad);
    for (size_t from = 1; from < b.len; from += 13)
        for (size_t to = from + 5; to < b.len; to += 211) {
            struct pm_decoder d;
            size_t got = 0;
            pm_init(&d);
            pm_feed(&d, b.data, from);
            while (pm_next(&d, false, &some[got]))
                got++;
            pm_forget(&d);
            pm_feed(&d, b.data + to, b.len - to);
            while (got < 8 && pm_next(&d, true, &some[got]))
                got++;
            for (size_t i = 0; i < got; i++)
                assert_true(is_sample_of(&some[i], all, n));
            pm_release(&d);
        }
    jl_buf_release(&b);
}

static void nonsense_is_no_sample(void **state)
{
    static const char *const texts[] = {"",
                                        "*** Sampled system activity (now) (1000.00ms elapsed) ***\n",
                                        "*** Sampled system activity (now) (-5ms elapsed) ***\nCPU Power: 10 mW\n",
                                        "*** Sampled system activity (now) (0.00ms elapsed) ***\nCPU Power: 10 mW\n",
                                        "*** Sampled system activity (now) (1000.00ms elapsed) ***\nCPU Power: -10 mW\n",
                                        "*** Sampled system activity (now) (1000.00ms elapsed) ***\nCPU Power: 10 horses\n",
                                        "*** Sampled system activity (now) (1000.00ms elapsed) ***\nCPU Power: 1e300 mW\n",
                                        "CPU Power: 10 mW\n"};
    static const char *const lists[] = {
        "<plist><dict><key>elapsed_ns</key><integer>1000</integer></dict></plist>",
        "<plist><dict><key>elapsed_ns</key><integer>1e9</integer><key>processor</key><dict><key>cpu_power</key><real>-5</real></"
        "dict></dict></plist>",
        "<plist><dict><key>processor</key><dict><key>cpu_power</key><real>5</real></dict></dict></plist>",
        "<plist><dict><key>elapsed_ns</key><integer>1000000000</integer><key>processor</key><dict><key>cpu_power</key><real>5</"
        "real></dict></plist>",
        "</dict></dict>",
        "<dict><dict><dict><key>",
        "<plist><array><integer>7</integer></array></plist>"};
    struct pm_span s;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(texts); i++)
        assert_false(pm_text(texts[i], strlen(texts[i]), &s));
    for (size_t i = 0; i < JL_COUNT(lists); i++)
        assert_false(pm_plist(lists[i], strlen(lists[i]), &s));
}

/* ---- the sensor --------------------------------------------------------------------------------------------------------- */

static const struct sensor_ops *row(void)
{
    for (size_t i = 0; sensor_table[i]; i++)
        if (strcmp(sensor_table[i]->name, "powermetrics") == 0)
            return sensor_table[i];
    fail();
    return NULL;
}

static void discover(const char *path, struct sensor_list *list)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    memset(list, 0, sizeof(*list));
    setenv("JOULET_POWERMETRICS", path, 1);
    assert_int_equal(row()->discover(list, &opt, &err), JOULET_OK);
    unsetenv("JOULET_POWERMETRICS");
}

/* Reads until n updates of channel 0 came; returns the joules of the last. */
static double await(struct sensor *s, int n, int64_t *t_ns)
{
    struct sensor_reading r[PM_PARTS];
    int64_t value = 0, before = 0;
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; n > 0 && jl_mono_ns() < until;) {
        memset(r, 0, sizeof(r));
        s->ops->read(s, r, false);
        assert_int_equal(r[0].status, JOULET_OK);
        if (r[0].has) {
            assert_true(r[0].t_ns > before);
            before = r[0].t_ns;
            value = r[0].value;
            n--;
        }
        jl_sleep_until(jl_mono_ns() + 1000000);
    }
    assert_int_equal(n, 0);
    *t_ns = before;
    return (double)value * 1e-6;
}

static void a_recording_is_played_at_its_pace_and_ends(void **state)
{
    struct sensor_list l;
    struct sensor_reading r[PM_PARTS];
    int64_t t1, t3, began = jl_mono_ns();
    (void)state;
    discover(FIXTURE("apple.plist"), &l);
    assert_int_equal(l.n, 1);
    struct sensor *s = l.items[0];
    assert_int_equal(s->n_channels, 4);
    assert_string_equal(s->channels[0].id, "soc0.combined");
    assert_string_equal(s->channels[1].parent, "soc0.combined");
    assert_int_equal(s->channels[0].provenance, JOULET_SIMULATED);
    assert_near(await(s, 1, &t1), 0, 0); /* the origin */
    double combined = await(s, 2, &t3);
    assert_near(combined, (20000 + 9000 + 150) * 1e-3 * 0.1164 + 29 * 0.1289, 1e-5);
    assert_near(jl_s(t3 - t1), 0.1164 + 0.1289, 1e-6);
    assert_true(jl_mono_ns() - began >= jl_ns(1.01023 + 0.1164 + 0.1289));
    memset(r, 0, sizeof(r));
    s->ops->read(s, r, false);
    assert_int_equal(r[0].status, JOULET_GONE);
    close_sensors(&l);
}

static void a_pipe_is_read_as_it_comes(void **state)
{
    struct machine m;
    struct sensor_list l;
    int64_t t;
    (void)state;
    machine_open(&m, "two-sockets");
    char *path = jl_strf("%s/pipe", m.dir);
    struct jl_buf b = bytes_of(FIXTURE("apple.txt"));
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR); /* so that it takes bytes before anyone reads */
    assert_true(fd >= 0);
    assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
    discover(path, &l);
    assert_int_equal(l.n, 1);
    double j = await(l.items[0], 3, &t); /* the second sets the origin; the fourth ends where the fifth begins */
    assert_near(j, 29 * 0.1289 + 0.52 * 0.117, 1e-4);
    assert_true(t <= jl_mono_ns());
    close_sensors(&l);
    close(fd);
    jl_buf_release(&b);
    free(path);
    machine_close(&m);
}

/* The package of the first systems holds memory and what has no meter of its own: it counts, its parts are shown inside it. */
static void the_package_of_an_early_mac_holds_its_memory(void **state)
{
    struct sensor_list l;
    struct joulet_channel all[PM_PARTS];
    (void)state;
    discover(FIXTURE("m1.txt"), &l);
    assert_int_equal(l.n, 1);
    struct sensor *s = l.items[0];
    assert_int_equal(s->n_channels, 5);
    assert_string_equal(s->channels[0].id, "soc0.package");
    for (size_t i = 0; i < s->n_channels; i++) {
        all[i] = s->channels[i];
        assert_string_equal(all[i].parent, i ? "soc0.package" : "");
    }
    joulet_tree_count(all, s->n_channels);
    for (size_t i = 0; i < s->n_channels; i++)
        assert_int_equal(all[i].in_total, i == 0);
    close_sensors(&l);
}

/* The writer goes, and another comes: the counters are away meanwhile, and begin anew. */
static void a_pipe_may_be_written_to_again(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r[PM_PARTS];
    int64_t t;
    (void)state;
    machine_open(&m, "two-sockets");
    char *path = jl_strf("%s/pipe", m.dir);
    struct jl_buf b = bytes_of(FIXTURE("apple.txt"));
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
    discover(path, &l);
    struct sensor *s = l.items[0];
    double before = await(s, 3, &t);
    close(fd); /* in the middle of the fifth sample */
    s->ops->read(s, r, false);
    s->ops->read(s, r, false);
    assert_int_equal(r[0].status, JOULET_GONE);
    fd = open(path, O_WRONLY | O_CLOEXEC);
    s->ops->read(s, r, false);
    assert_int_equal(r[0].status, JOULET_GONE); /* nothing written yet */
    assert_int_equal(write(fd, b.data, b.len), (ssize_t)b.len);
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; r[0].status != JOULET_OK || !r[0].has; s->ops->read(s, r, false))
        assert_true(jl_mono_ns() < until);
    assert_true(r[0].reset);
    assert_near((double)r[0].value * 1e-6, before, 1e-6); /* the first new span only sets the origin */
    assert_near(await(s, 1, &t), before + 29.15 * 0.1164, 1e-4);
    close_sensors(&l);
    close(fd);
    jl_buf_release(&b);
    free(path);
    machine_close(&m);
}

/* A sample whose end is missing: what it tells is taken, what it does not is a failed read and no difference later. */
static void a_part_that_a_sample_lacks_has_failed(void **state)
{
    static const char first[] = "*** Sampled system activity (x) (100.00ms elapsed) ***\nCPU Power: 1000 mW\nGPU Power: 500 mW\n",
                      cut[] = "*** Sampled system activity (x) (100.00ms elapsed) ***\nCPU Power: 1000 mW\nGPU Pow\n";
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r[3][PM_PARTS];
    int64_t t;
    (void)state;
    machine_open(&m, "two-sockets");
    char *path = jl_strf("%s/pipe", m.dir);
    assert_int_equal(mkfifo(path, 0600), 0);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    dprintf(fd, "%s%s%s%s%s%s", first, first, first, cut, first, first);
    discover(path, &l);
    assert_int_equal(l.items[0]->n_channels, 2); /* GPU, CPU */
    await(l.items[0], 2, &t);
    for (int i = 0; i < 2; i++)
        l.items[0]->ops->read(l.items[0], r[i], false);
    assert_int_equal(r[0][0].status, JOULET_FORMAT);
    assert_false(r[0][0].has);
    assert_true(r[0][1].has && !r[0][1].reset && r[0][1].value == 200000);
    assert_true(r[1][0].has && r[1][0].reset);
    assert_true(r[1][1].has && !r[1][1].reset && r[1][1].value == 300000);
    close_sensors(&l);
    close(fd);
    free(path);
    machine_close(&m);
}

static void a_program_is_started_and_ends_with_us(void **state)
{
    struct machine m;
    struct sensor_list l;
    int64_t t;
    (void)state;
    machine_open(&m, "two-sockets");
    char *path = jl_strf("%s/fake", m.dir);
    char *script = jl_strf("#!/bin/sh\n[ \"$1 $2 $3 $4\" = '-i 100 -f plist' ] || exit 1\ncat '%s'\n", FIXTURE("apple.plist"));
    machine_write(&m, "fake", "%s", script);
    assert_int_equal(chmod(path, 0700), 0);
    discover(path, &l);
    assert_int_equal(l.n, 1);
    assert_near(await(l.items[0], 2, &t), 29 * 0.1289, 1e-3);
    close_sensors(&l);
    free(script);
    free(path);
    machine_close(&m);
}

static void what_cannot_be_read_is_said(void **state)
{
    struct sensor_list l;
    (void)state;
    discover("/nonexistent/pipe", &l);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "/nonexistent/pipe"));
    close_sensors(&l);
    discover(FIXTURE("README.md"), &l);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.problems[0].status, JOULET_FORMAT);
    close_sensors(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(spans_are_weighted_by_their_length),
        cmocka_unit_test(an_intel_mac_tells_its_package),
        cmocka_unit_test(an_intel_mac_tells_joules_in_its_lists),
        cmocka_unit_test(a_stream_is_cut_at_every_byte),
        cmocka_unit_test(what_is_lost_makes_no_sample),
        cmocka_unit_test(nonsense_is_no_sample),
        cmocka_unit_test(the_package_of_an_early_mac_holds_its_memory),
        cmocka_unit_test(a_pipe_may_be_written_to_again),
        cmocka_unit_test(a_part_that_a_sample_lacks_has_failed),
        cmocka_unit_test(a_recording_is_played_at_its_pace_and_ends),
        cmocka_unit_test(a_pipe_is_read_as_it_comes),
        cmocka_unit_test(a_program_is_started_and_ends_with_us),
        cmocka_unit_test(what_cannot_be_read_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
