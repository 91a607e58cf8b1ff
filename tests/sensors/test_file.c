/* The replayed trace: its form, what its channels are, and when its samples come. */
#include "lib/sensors/file.c"

#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdio.h>

static const char good[] = "t_ns,channel,quantity,value,hw_ns,flags\n"
                           "1000000000,cpu0.package,energy,5000000,500000,0\n"
                           "1000000000,gpu0.power,power,60000000,2500000,0\n"
                           "1010000000,cpu0.package,energy,6000000,500000,0\n"
                           "1100000000,gpu0.power,power,300000000,2500000,0\n"
                           "1020000000,cpu0.package,energy,,0,4\n"
                           "1030000000,cpu0.package,energy,8000000,500000,2\n"
                           "1040000000,cpu0.package,energy,100,500000,8\n"
                           "1050000000,cpu0.package,energy,100,0,32\n";

static void a_good_trace(void **state)
{
    static struct replay r;
    struct joulet_error err;
    (void)state;
    assert_int_equal(replay_parse(&r, good, strlen(good), "t.csv", &err), JOULET_OK);
    assert_int_equal(r.n, 2);
    assert_string_equal(r.tracks[0].id, "cpu0.package");
    assert_int_equal(r.tracks[0].quantity, JOULET_ENERGY);
    assert_int_equal(r.tracks[0].n, 5); /* the end of the recording is no sample */
    assert_int_equal(r.tracks[0].samples[2].flags, JOULET_SAMPLE_FAILED);
    assert_int_equal(r.tracks[1].samples[1].value, 300000000);
    assert_int_equal(r.first_ns, 1000000000);
    assert_int_equal(r.last_ns, 1100000000);
    assert_near(replay_period_s(&r.tracks[0]), 0.01, 1e-12);
    assert_near(replay_period_s(&r.tracks[1]), 0.1, 1e-12);
    replay_release(&r);
}

static void short_forms(void **state)
{
    static const struct {
        const char *text, *id;
        enum joulet_quantity quantity;
        int64_t t_ns, value;
    } rows[] = {
        {"t_s,value\n0.5,60.25\n", "file0.power", JOULET_POWER, 500000000, 60250000},
        {"t_s,channel,value\n2,gpu0.power,300\n", "gpu0.power", JOULET_POWER, 2000000000, 300000000},
        {"value,quantity,t_ns,other\r\n7,temperature,3,x\r\n", "file0.power", JOULET_TEMPERATURE, 3, 7},
    };
    static struct replay r;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_int_equal(replay_parse(&r, rows[i].text, strlen(rows[i].text), "t.csv", NULL), JOULET_OK);
        assert_string_equal(r.tracks[0].id, rows[i].id);
        assert_int_equal(r.tracks[0].quantity, rows[i].quantity);
        assert_int_equal(r.tracks[0].samples[0].t_ns, rows[i].t_ns);
        assert_int_equal(r.tracks[0].samples[0].value, rows[i].value);
        replay_release(&r);
    }
}

static void bad_traces_name_the_row(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"", "row 1"},
        {"a,b\n1,2\n", "t_ns or t_s"},
        {"t_ns,value\n", "no samples"},
        {"t_ns,value\n1,2\nx,2\n", "row 3"},
        {"t_ns,value\n99999999999999999999,2\n", "row 2"},
        {"t_ns,value\n1\n", "row 2"},
        {"t_ns,value\n1,-5\n", "number of watts"},
        {"t_s,value\nnan,5\n", "row 2"},
        {"t_s,value\n1e300,5\n", "row 2"},
        {"t_ns,quantity,value\n1,energy,1.5\n", "whole number"},
        {"t_ns,quantity,value\n1,joules,15\n", "quantity"},
        {"t_ns,value,flags\n1,5,-1\n", "flags"},
        {"t_ns,channel,value\n5,a,1\n4,a,1\n", "must not go back"},
        {"t_ns,channel,value\n5,,1\n", "no name"},
        {"t_ns,channel,quantity,value\n1,a,energy,1\n2,a,power,1\n", "two quantities"},
    };
    static struct replay r;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_int_equal(replay_parse(&r, rows[i].text, strlen(rows[i].text), "t.csv", &err), JOULET_FORMAT);
        assert_int_equal(r.n, 0);
        if (!strstr(err.message, rows[i].says))
            fail_msg("row %zu: %s", i, err.message);
    }
}

/* ---- the sensor ------------------------------------------------------------------------------------------------------- */

static struct player *open_trace(struct machine *m, struct sensor_list *l, const char *text)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    machine_open(m, "virtual");
    machine_write(m, "trace.csv", "%s", text);
    char *path = jl_strf("%s/trace.csv", m->dir);
    opt.replay = path;
    if (open_sensors(l, "file", &opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(path);
    return jl_container_of(l->items[0], struct player, base);
}

static void samples_come_when_they_came(void **state)
{
    static const struct {
        int64_t ms;
        enum joulet_status status;
        bool has, reset;
        int64_t value, t_ms;
    } rows[] = {
        {0, JOULET_OK, true, false, 0, 0},
        {5, JOULET_OK, false, false, 0, 0},
        {12, JOULET_OK, true, false, 1000000, 10},
        {13, JOULET_OK, false, false, 0, 0},
        {45, JOULET_IO, false, false, 0, 0}, /* the failed read of 20 ms; then, late, what has gathered */
        {46, JOULET_OK, true, false, 3000000, 30},
        {47, JOULET_OK, true, true, 3000000, 40}, /* the counter began again: no difference across it */
        {48, JOULET_OK, false, false, 0, 0},
        {1090, JOULET_OK, false, false, 0, 0},
        {1200, JOULET_GONE, false, false, 0, 0}, /* a second after the last sample of all */
    };
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    struct player *p = open_trace(&m, &l, good);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        play(p, 0, p->open_ns + rows[i].ms * 1000000, &r);
        assert_int_equal(r.status, rows[i].status);
        assert_int_equal(r.has, rows[i].has);
        assert_int_equal(r.reset, rows[i].reset);
        if (r.has) {
            assert_int_equal(r.value, rows[i].value);
            assert_int_equal(r.t_ns - p->open_ns, rows[i].t_ms * 1000000);
        }
    }
    close_sensors(&l);
    machine_close(&m);
}

/* A reader that was away does not get everything at once, and a restart is not lost. */
static void what_is_long_past_is_skipped(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    struct player *p = open_trace(&m, &l,
                                  "t_s,channel,quantity,value,flags\n0,a,energy,0,0\n0.1,a,energy,1000,0\n0.2,a,energy,5,8\n"
                                  "0.3,a,energy,100,0\n9,a,energy,200,0\n");
    play(p, 0, p->open_ns + 5 * JL_NS_PER_S, &r);
    assert_true(r.has);
    assert_int_equal(r.value, 1000 + 95);
    assert_true(r.reset);
    close_sensors(&l);
    machine_close(&m);
}

static void each_joule_once(void **state)
{
    static const struct {
        const char *id;
        enum joulet_group group;
        bool in_total;
    } rows[] = {
        {"cpu0.package", JOULET_GROUP_CPU, true},
        {"cpu0.core", JOULET_GROUP_CPU, false},
        {"cpu0.dram", JOULET_GROUP_DRAM, true},
        {"gpu0.board", JOULET_GROUP_GPU, true},
        {"gpu0.power", JOULET_GROUP_GPU, false},
        {"gpu1.power", JOULET_GROUP_GPU, true},
        {"gpu1.power_average", JOULET_GROUP_GPU, false},
        {"platform.psys", JOULET_GROUP_PLATFORM, false},
        {"wall", JOULET_GROUP_OTHER, true},
        {"gpu0.temperature", JOULET_GROUP_GPU, false},
    };
    struct machine m;
    struct sensor_list l;
    (void)state;
    open_trace(&m, &l,
               "t_s,channel,quantity,value,window_s\n0,cpu0.package,energy,0,\n0,cpu0.core,energy,0,\n0,cpu0.dram,energy,0,\n0,"
               "gpu0.board,"
               "energy,0,\n0,gpu0.power,power,0,0.025\n0,gpu1.power,power,0,\n0,gpu1.power_average,power,0,1\n0,platform.psys,"
               "energy,0,\n"
               "0,wall,power,0,\n0,gpu0.temperature,temperature,0,\n");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct joulet_channel *c = find_channel(&l, rows[i].id);
        if (c->group != rows[i].group || c->in_total != rows[i].in_total || c->provenance != JOULET_SIMULATED)
            fail_msg("%s", rows[i].id);
    }
    assert_near(find_channel(&l, "gpu0.power")->window_s, 0.025, 0);
    assert_false(find_channel(&l, "gpu0.power")->contiguous);
    assert_true(find_channel(&l, "wall")->contiguous);
    close_sensors(&l);
    machine_close(&m);
}

static void nothing_to_replay(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct sensor_list l;
    struct joulet_error err;
    (void)state;
    assert_int_equal(open_sensors(&l, "file", &opt, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "--replay"));
    opt.replay = "/nonexistent/trace.csv";
    assert_int_equal(open_sensors(&l, "file", &opt, &err), JOULET_NOT_FOUND);
    assert_int_equal(l.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_good_trace),
        cmocka_unit_test(short_forms),
        cmocka_unit_test(bad_traces_name_the_row),
        cmocka_unit_test(samples_come_when_they_came),
        cmocka_unit_test(what_is_long_past_is_skipped),
        cmocka_unit_test(each_joule_once),
        cmocka_unit_test(nothing_to_replay),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
