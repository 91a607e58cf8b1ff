/* The calibration file: its text, what is refused in it, and two that write it at once. */
#include "lib/meter/calibration.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD "joulet calibration 1\n"
#define BLOCK                                                                                                                    \
    "[channel]\nsensor = nvml\nchannel = gpu0.board\nat = 5\nperiod_s = 0.1\nwindow_s = 0\nlag_s = 0.03\nu_lag_s = 0.003\n"

static struct joulet_calibrated entry(const char *sensor, const char *channel, const char *uuid, const char *driver)
{
    struct joulet_calibrated e = {.at_s = 1763750629,
                                  .period_s = 0.1,
                                  .window_s = 0.025,
                                  .lag_s = 0.0312,
                                  .u_lag_s = 0.003,
                                  .ratio = 1.01,
                                  .reading = JOULET_READING_POLL,
                                  .verdict = JOULET_VERDICT_FAIR};
    snprintf(e.sensor, sizeof(e.sensor), "%s", sensor);
    snprintf(e.channel, sizeof(e.channel), "%s", channel);
    snprintf(e.uuid, sizeof(e.uuid), "%s", uuid);
    snprintf(e.driver, sizeof(e.driver), "%s", driver);
    snprintf(e.device, sizeof(e.device), "NVIDIA H100 [PCIe] = #1 ");
    return e;
}

static void what_is_written_is_read_again(void **state)
{
    struct joulet_calibrated e[] = {entry("nvml", "gpu0.power", "GPU-1", "550.1"), entry("rapl", "cpu0.package", "", "")};
    struct joulet_calibration_file f = {e, 2, {7, true, 0.004, 0.12, NAN}}, got;
    struct joulet_error err;
    struct jl_buf text;
    (void)state;
    e[1].ratio = NAN;
    e[1].lag_s = -0.00021;
    e[1].simulated = true;
    jl_buf_init(&text, CALIBRATION_FILE_MAX);
    assert_true(calibration_write(&f, &text));
    assert_int_equal(calibration_parse(text.data, text.len, "x", &got, &err), JOULET_OK);
    assert_int_equal(got.n, 2);
    assert_string_equal(got.entries[0].device, e[0].device);
    assert_string_equal(got.entries[0].uuid, "GPU-1");
    assert_string_equal(got.entries[1].driver, "");
    assert_near(got.entries[0].window_s, 0.025, 0);
    assert_near(got.entries[0].ratio, 1.01, 0);
    assert_true(isnan(got.entries[1].ratio));
    assert_near(got.entries[1].lag_s, -0.00021, 1e-12);
    assert_true(got.entries[1].simulated && !got.entries[0].simulated);
    assert_int_equal(got.entries[0].reading, JOULET_READING_POLL);
    assert_int_equal(got.entries[0].verdict, JOULET_VERDICT_FAIR);
    assert_int_equal(got.cost.at_s, 7);
    assert_true(got.cost.simulated && isnan(got.cost.u_power_w));
    assert_near(got.cost.power_w, 0.12, 0);
    joulet_calibration_release(&got);
    jl_buf_release(&text);
}

static void what_is_not_understood_is_refused_with_its_line(void **state)
{
    static const struct {
        const char *text;
        enum joulet_status status;
        const char *words;
    } cases[] = {
        {"", JOULET_OK, ""},
        {HEAD, JOULET_OK, ""},
        {HEAD "# words\n\n" BLOCK, JOULET_OK, ""},
        {HEAD BLOCK "\r\n", JOULET_OK, ""},
        {"joulet calibration 2\n[new]\n", JOULET_NEWER, "newer joulet"},
        {"joulet calibration 0\n", JOULET_FORMAT, "line 1"},
        {"joulet\n", JOULET_FORMAT, "line 1"},
        {"{\"lag\": 3}\n", JOULET_FORMAT, "line 1"},
        {HEAD "sensor = nvml\n", JOULET_FORMAT, "line 2"},
        {HEAD "[device]\n", JOULET_FORMAT, "[channel] or [sampler]"},
        {HEAD "[]\n", JOULET_FORMAT, "[channel] or [sampler]"},
        {HEAD "[channel\n", JOULET_FORMAT, "[channel] or [sampler]"},
        {HEAD BLOCK "lag = 3\n", JOULET_FORMAT, "key is not known"},
        {HEAD BLOCK "lag_s = 0.02\n", JOULET_FORMAT, "twice"},
        {HEAD BLOCK "ratio = nan\n", JOULET_FORMAT, "line 10: the value"},
        {HEAD BLOCK "ratio = -1\n", JOULET_FORMAT, "the value"},
        {HEAD BLOCK "verdict = best\n", JOULET_FORMAT, "the value"},
        {HEAD BLOCK "simulated = 1\n", JOULET_FORMAT, "the value"},
        {HEAD BLOCK "device = a\tb\n", JOULET_FORMAT, "not text"},
        {HEAD "[channel]\nsensor = \n", JOULET_FORMAT, "the value"},
        {HEAD "[channel]\nsensor = nvml\n", JOULET_FORMAT, "has no channel"},
        {HEAD "[channel]\nsensor = nvml\n[channel]\n", JOULET_FORMAT, "has no channel"},
        {HEAD "[sampler]\nat = 1\ncpu_share = 0.1\n[sampler]\n", JOULET_FORMAT, "second block"},
        {HEAD "[sampler]\nat = 0\ncpu_share = 0.1\n", JOULET_FORMAT, "the value"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct joulet_calibration_file f;
        struct joulet_error err;
        enum joulet_status status = calibration_parse(cases[i].text, strlen(cases[i].text), "/x/calibration.txt", &f, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].words))
            print_error("case %zu: %s\n", i, err.message);
        assert_int_equal(status, cases[i].status);
        assert_non_null(strstr(err.message, cases[i].words));
        assert_true(status == JOULET_OK || (f.n == 0 && !f.entries && strstr(err.message, "/x/calibration.txt")));
        joulet_calibration_release(&f);
    }
}

static void too_much_of_it_is_refused(void **state)
{
    struct joulet_calibration_file f;
    struct joulet_error err;
    struct jl_buf text;
    (void)state;
    jl_buf_init(&text, 1 << 20);
    jl_buf_str(&text, HEAD);
    for (int i = 0; i <= CALIBRATION_ENTRIES_MAX; i++)
        jl_buf_str(&text, BLOCK);
    assert_int_equal(calibration_parse(text.data, text.len, "x", &f, &err), JOULET_FORMAT);
    assert_non_null(strstr(err.message, "more than 256"));
    jl_buf_clear(&text);
    jl_buf_str(&text, HEAD "[channel]\nsensor = ");
    for (int i = 0; i < 600; i++)
        jl_buf_str(&text, "x");
    assert_int_equal(calibration_parse(text.data, text.len, "x", &f, &err), JOULET_FORMAT);
    assert_int_equal(calibration_parse(text.data, CALIBRATION_FILE_MAX + 1, "x", &f, &err), JOULET_FORMAT);
    jl_buf_release(&text);
}

/* ---- whose entry it is ----------------------------------------------------------------------------------------------- */

static void entries_belong_to_device_and_driver(void **state)
{
    struct joulet_calibrated e[] = {entry("nvml", "gpu0.board", "GPU-1", "550.1"),
                                    entry("rapl", "cpu0.package", "", "linux 6.1")};
    struct joulet_calibration_file f = {e, 2, {0}};
    enum joulet_calibration_state found;
    (void)state;
    struct joulet_calibrated who = entry("nvml", "gpu3.board", "GPU-1", "550.1"); /* another number, the same board */
    assert_ptr_equal(calibration_find(&f, &who, &found), &e[0]);
    assert_int_equal(found, JOULET_CALIBRATION_USED);
    who = entry("nvml", "gpu0.board", "GPU-1", "560.2");
    assert_ptr_equal(calibration_find(&f, &who, &found), &e[0]);
    assert_int_equal(found, JOULET_CALIBRATION_STALE);
    who = entry("nvml", "gpu0.power", "GPU-1", "550.1");
    assert_null(calibration_find(&f, &who, &found));
    assert_int_equal(found, JOULET_CALIBRATION_ABSENT);
    who = entry("nvml", "gpu0.board", "GPU-2", "550.1");
    assert_null(calibration_find(&f, &who, &found));
    who = entry("rapl", "cpu0.package", "", "linux 6.1");
    assert_ptr_equal(calibration_find(&f, &who, &found), &e[1]);
    snprintf(who.device, sizeof(who.device), "another processor");
    assert_null(calibration_find(&f, &who, &found));
    who = entry("rapl", "cpu0.package", "", "linux 6.1");
    who.simulated = true;
    assert_null(calibration_find(&f, &who, &found));
}

static void channels_take_what_was_found(void **state)
{
    struct joulet_calibrated e = entry("nvml", "gpu0.power", "GPU-1", "550.1");
    struct joulet_channel ch = {.quantity = JOULET_POWER, .spec = 0.05, .contiguous = true};
    (void)state;
    calibration_apply(&e, &ch);
    assert_true(ch.calibrated && !ch.contiguous);
    assert_near(ch.window_s, 0.025, 0);
    assert_near(ch.lag_max_s, 0.0312 + 0.009, 1e-12);
    assert_near(ch.spec, 0.05, 0);
    e.window_s = 0.1;
    e.period_s = 0.1003;
    calibration_apply(&e, &ch);
    assert_true(ch.contiguous);
    assert_near(ch.window_s, 0.1003, 0);
    e.lag_s = -0.02;
    ch = (struct joulet_channel){.quantity = JOULET_ENERGY};
    calibration_apply(&e, &ch);
    assert_near(ch.lag_max_s, 0, 0);
    assert_near(ch.window_s, 0, 0);
}

/* ---- keeping --------------------------------------------------------------------------------------------------------- */

struct writer {
    const char *path;
    int number;
};

static void keep_many(void *arg)
{
    struct writer *w = arg;
    for (int i = 0; i < 20; i++) {
        char id[32];
        struct joulet_error err;
        snprintf(id, sizeof(id), "w%d.c%d", w->number, i);
        struct joulet_calibrated e = entry("nvml", id, "", "1");
        assert_int_equal(joulet_calibration_keep(w->path, &(struct joulet_calibration_file){.entries = &e, .n = 1}, &err),
                         JOULET_OK);
    }
}

static void two_that_write_at_once_lose_nothing(void **state)
{
    char dir[] = "/tmp/joulet-calibration-XXXXXX", path[64];
    struct jl_thread *threads[2];
    struct joulet_calibration_file got;
    struct joulet_error err;
    (void)state;
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/c.txt", dir);
    struct writer w[] = {{path, 0}, {path, 1}};
    for (int i = 0; i < 2; i++)
        assert_int_equal(jl_thread_start(&threads[i], "writer", keep_many, &w[i], &err), JOULET_OK);
    for (int i = 0; i < 2; i++)
        jl_thread_join(threads[i]);
    assert_int_equal(joulet_calibration_read(path, &got, &err), JOULET_OK);
    assert_int_equal(got.n, 40);
    joulet_calibration_release(&got);
    /* again: in place of the old ones; the cost beside them */
    keep_many(&w[0]);
    struct joulet_calibration_file cost = {.cost = {.at_s = 9, .cpu_share = 0.01, .power_w = NAN, .u_power_w = NAN}};
    assert_int_equal(joulet_calibration_keep(path, &cost, &err), JOULET_OK);
    assert_int_equal(joulet_calibration_read(path, &got, &err), JOULET_OK);
    assert_int_equal(got.n, 40);
    assert_near(got.cost.cpu_share, 0.01, 0);
    joulet_calibration_release(&got);
    /* one that is not ours is not replaced */
    assert_int_equal(jl_write_file(path, "my notes\n", 9, 0644, &err), JOULET_OK);
    assert_int_equal(joulet_calibration_keep(path, &cost, &err), JOULET_FORMAT);
    char text[32];
    assert_int_equal(jl_read_text(path, text, sizeof(text), &err), JOULET_OK);
    assert_string_equal(text, "my notes");
    unlink(path);
    rmdir(dir);
    assert_int_equal(joulet_calibration_keep(path, &cost, &err), JOULET_IO);
    assert_int_equal(joulet_calibration_read(path, &got, &err), JOULET_NOT_FOUND);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_written_is_read_again), cmocka_unit_test(what_is_not_understood_is_refused_with_its_line),
        cmocka_unit_test(too_much_of_it_is_refused),     cmocka_unit_test(entries_belong_to_device_and_driver),
        cmocka_unit_test(channels_take_what_was_found),  cmocka_unit_test(two_that_write_at_once_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
