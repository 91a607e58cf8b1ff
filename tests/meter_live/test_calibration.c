/* What a meter takes from the calibration file when it is opened, and what it says when it cannot. */
#include "lib/meter/sampler.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char dir[] = "/tmp/joulet-live-calibration-XXXXXX";

static int make_dir(void **state)
{
    (void)state;
    if (!mkdtemp(dir))
        return 1;
    setenv("JOULET_DATA_DIR", dir, 1);
    return 0;
}

static int remove_dir(void **state)
{
    static const char *const names[] = {"named.txt", "joulet/calibration.txt", "joulet"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        char path[128];
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        remove(path);
    }
    return rmdir(dir);
}

static const char *in_dir(const char *name)
{
    static char path[128];
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return path;
}

static const char sim[] = "60;group=gpu;name=gpu0.board|60;group=gpu;kind=power;name=gpu0.power;window=100ms;total=no|30";

static struct joulet *open_meter(const char *calibration, bool trust)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet *m;
    o.sensors = "sim";
    o.sim = sim;
    o.calibration = calibration;
    o.trust_root = trust;
    o.no_thread = true;
    assert_int_equal(joulet_open(&m, &o, &err), JOULET_OK);
    return m;
}

static struct joulet_channel channel(struct joulet *m, size_t i)
{
    struct joulet_channel ch;
    assert_int_equal(joulet_channel_get(m, i, &ch), JOULET_OK);
    return ch;
}

/* Entries as `joulet calibrate` makes them: the identity is the meter's own. */
static void keep(const char *path, const char *driver, double ratio)
{
    struct joulet *m = open_meter("", false);
    struct joulet_calibrated e[2];
    struct joulet_error err;
    for (size_t i = 0; i < 2; i++) {
        assert_int_equal(joulet_calibrated_init(m, i, &e[i]), JOULET_OK);
        snprintf(e[i].driver, sizeof(e[i].driver), "%s", driver);
        e[i].at_s = 1763750629;
        e[i].period_s = 0.05;
        e[i].window_s = i == 1 ? 0.025 : 0;
        e[i].lag_s = 0.033;
        e[i].u_lag_s = 0.003;
        e[i].ratio = i == 0 ? ratio : NAN;
        e[i].verdict = JOULET_VERDICT_GOOD;
    }
    assert_int_equal(joulet_calibration_keep(path, &(struct joulet_calibration_file){.entries = e, .n = 2}, &err), JOULET_OK);
    joulet_close(m);
}

static void entries_replace_the_defaults(void **state)
{
    struct joulet_calibrated e;
    (void)state;
    keep(in_dir("named.txt"), "", 1.01);
    struct joulet *m = open_meter(in_dir("named.txt"), false);
    struct joulet_channel ch = channel(m, 0);
    assert_true(ch.calibrated && ch.in_total);
    assert_near(ch.period_s, 0.05, 0);
    assert_near(ch.lag_s, 0.033, 0);
    assert_near(ch.u_lag_s, 0.003, 0);
    assert_near(ch.lag_max_s, 0.042, 1e-12);
    ch = channel(m, 1);
    assert_near(ch.window_s, 0.025, 0);
    assert_true(ch.calibrated && !ch.contiguous && !ch.in_total);
    assert_false(channel(m, 2).calibrated);
    assert_int_equal(joulet_calibration_of(m, 0, &e), JOULET_CALIBRATION_USED);
    assert_int_equal(e.at_s, 1763750629);
    assert_int_equal(joulet_calibration_of(m, 2, &e), JOULET_CALIBRATION_ABSENT);
    assert_int_equal(joulet_calibration_of(m, 99, &e), JOULET_CALIBRATION_ABSENT);
    assert_int_equal(joulet_calibrated_init(m, 99, &e), JOULET_USAGE);
    assert_int_equal(joulet_problem_count(m), 0);
    joulet_close(m);
}

static void another_driver_asks_again(void **state)
{
    struct joulet_calibrated e;
    struct joulet_problem p;
    (void)state;
    unlink(in_dir("named.txt"));
    keep(in_dir("named.txt"), "470.1", NAN);
    struct joulet *m = open_meter(in_dir("named.txt"), false);
    assert_false(channel(m, 0).calibrated);
    assert_near(channel(m, 0).lag_s, 0.025, 1e-12);
    assert_int_equal(joulet_calibration_of(m, 0, &e), JOULET_CALIBRATION_STALE);
    assert_string_equal(e.driver, "470.1");
    assert_int_equal(joulet_problem_get(m, 0, &p), JOULET_OK);
    assert_string_equal(p.sensor, "calibration");
    assert_non_null(strstr(p.message, "gpu0 was calibrated with driver 470.1"));
    joulet_close(m);
}

/* The default file belongs to this machine: simulations take nothing from it unless told. */
static void simulated_devices_use_what_they_are_told_to(void **state)
{
    char path[256];
    (void)state;
    joulet_calibration_path(path, sizeof(path));
    assert_string_equal(path, in_dir("joulet/calibration.txt"));
    struct joulet *m = open_meter(NULL, false); /* no folder yet: it is not made by looking */
    assert_int_equal(joulet_problem_count(m), 0);
    joulet_close(m);
    assert_int_not_equal(access(in_dir("joulet"), F_OK), 0);
    assert_int_equal(mkdir(in_dir("joulet"), 0700), 0);
    keep(path, "", NAN);
    m = open_meter(NULL, false);
    assert_false(channel(m, 0).calibrated);
    joulet_close(m);
    m = open_meter(NULL, true);
    assert_true(channel(m, 0).calibrated);
    joulet_close(m);
    m = open_meter("", true);
    assert_false(channel(m, 0).calibrated);
    joulet_close(m);
}

static void a_file_that_cannot_be_used_is_a_problem_and_no_more(void **state)
{
    static const struct {
        const char *text;
        enum joulet_status status;
    } cases[] = {{"joulet calibration 7\n", JOULET_NEWER}, {"notes\n", JOULET_FORMAT}, {NULL, JOULET_NOT_FOUND}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct joulet_problem p;
        const char *path = in_dir("named.txt");
        unlink(path);
        if (cases[i].text)
            assert_int_equal(jl_write_file(path, cases[i].text, strlen(cases[i].text), 0644, NULL), JOULET_OK);
        struct joulet *m = open_meter(path, false);
        assert_int_equal(joulet_channel_count(m), 3);
        assert_int_equal(joulet_problem_get(m, 0, &p), JOULET_OK);
        assert_int_equal(p.status, cases[i].status);
        assert_string_equal(p.sensor, "calibration");
        joulet_close(m);
    }
}

/* ---- a GPU, whose facts say who it is --------------------------------------------------------------------------------- */

static struct joulet *open_gpu(const char *calibration)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet *m;
    o.sensors = "nvml";
    o.calibration = calibration;
    o.no_thread = true;
    assert_int_equal(joulet_open(&m, &o, &err), JOULET_OK);
    return m;
}

static size_t index_of(struct joulet *m, const char *id)
{
    for (size_t i = 0; i < joulet_channel_count(m); i++)
        if (strcmp(channel(m, i).id, id) == 0)
            return i;
    fail_msg("there is no channel %s", id);
    return 0;
}

static void keep_gpu(const char *id, double ratio, enum joulet_reading reading)
{
    struct joulet *m = open_gpu("");
    struct joulet_calibrated e;
    struct joulet_error err;
    assert_int_equal(joulet_calibrated_init(m, index_of(m, id), &e), JOULET_OK);
    assert_true(e.simulated);
    assert_string_equal(e.driver, "550.54.14");
    assert_true(e.uuid[0]);
    e.at_s = 1;
    e.period_s = 0.02;
    e.lag_s = 0.033;
    e.u_lag_s = 0.003;
    e.ratio = ratio;
    e.reading = reading;
    e.verdict = JOULET_VERDICT_GOOD;
    assert_int_equal(joulet_calibration_keep(in_dir("named.txt"), &(struct joulet_calibration_file){.entries = &e, .n = 1}, &err),
                     JOULET_OK);
    joulet_close(m);
}

static const struct live_sensor *only_sensor(const struct joulet *m)
{
    for (size_t i = 0; i < m->n_lanes; i++)
        if (m->lanes[i]->cls == SENSOR_LIBRARY)
            return &m->lanes[i]->sensors[0];
    return NULL;
}

static int use_fake_gpu(void **state)
{
    (void)state;
    setenv("JOULET_NVML", FAKE_NVML, 1);
    unlink(in_dir("named.txt"));
    return 0;
}

static int forget_fake_gpu(void **state)
{
    (void)state;
    unsetenv("JOULET_NVML");
    unsetenv("FAKE_NVML_DRIVER");
    return 0;
}

static void a_counter_that_disagrees_gives_its_place_to_power(void **state)
{
    struct joulet_problem p;
    (void)state;
    keep_gpu("gpu0.board", 1.04, JOULET_READING_SEARCH);
    struct joulet *m = open_gpu(in_dir("named.txt"));
    assert_true(channel(m, index_of(m, "gpu0.board")).in_total);
    assert_int_equal(joulet_problem_count(m), 0);
    joulet_close(m);
    keep_gpu("gpu0.board", 1.12, JOULET_READING_SEARCH);
    m = open_gpu(in_dir("named.txt"));
    assert_false(channel(m, index_of(m, "gpu0.board")).in_total);
    assert_true(channel(m, index_of(m, "gpu0.power")).in_total);
    assert_false(channel(m, index_of(m, "gpu0.power_average")).in_total);
    assert_int_equal(joulet_problem_get(m, 0, &p), JOULET_OK);
    assert_non_null(strstr(p.message, "gpu0.board counts 1.12 times what gpu0.power shows"));
    joulet_close(m);
    setenv("FAKE_NVML_DRIVER", "560.35", 1);
    m = open_gpu(in_dir("named.txt"));
    assert_true(channel(m, index_of(m, "gpu0.board")).in_total);
    assert_int_equal(joulet_problem_get(m, 0, &p), JOULET_OK);
    assert_non_null(strstr(p.message, "550.54.14, and 560.35 is in use now"));
    joulet_close(m);
}

static void a_device_is_read_as_seldom_as_it_has_to_be(void **state)
{
    static const struct {
        enum joulet_reading way;
        int64_t poll_ns;
        bool predict;
    } cases[] = {{JOULET_READING_SEARCH, 5000000, true},
                 {JOULET_READING_POLL, 5000000, false},
                 {JOULET_READING_SECOND, JL_NS_PER_S, false}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        keep_gpu("gpu0.board", NAN, cases[i].way);
        struct joulet *m = open_gpu(in_dir("named.txt"));
        const struct live_sensor *s = only_sensor(m);
        assert_non_null(s);
        assert_int_equal(s->poll_ns, cases[i].poll_ns);
        assert_int_equal(s->channels[0]->updates.predict, cases[i].predict);
        assert_int_equal(s->channels[0]->updates.period_ns, 20000000);
        assert_int_equal(s->once, cases[i].way == JOULET_READING_SECOND);
        joulet_close(m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(entries_replace_the_defaults),
        cmocka_unit_test(another_driver_asks_again),
        cmocka_unit_test(simulated_devices_use_what_they_are_told_to),
        cmocka_unit_test(a_file_that_cannot_be_used_is_a_problem_and_no_more),
        cmocka_unit_test_setup_teardown(a_counter_that_disagrees_gives_its_place_to_power, use_fake_gpu, forget_fake_gpu),
        cmocka_unit_test_setup_teardown(a_device_is_read_as_seldom_as_it_has_to_be, use_fake_gpu, forget_fake_gpu),
    };
    return cmocka_run_group_tests(tests, make_dir, remove_dir);
}
