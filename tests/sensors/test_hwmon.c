/* Chips below class/hwmon: rails of boards, power supplies, the ACPI meter; and batteries, which are read alike. */
#include "lib/sensors/sysfile.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

#define BAT0 "sys/class/power_supply/BAT0/"
#define BAT1 "sys/class/power_supply/BAT1/"

static void numbers(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        int64_t want;
    } rows[] = {{"0\n", true, 0},
                {"17100000\n", true, 17100000},
                {"-3\n", true, -3},
                {"9223372036854775807", true, INT64_MAX},
                {"9223372036854775808", false, 0},
                {"", false, 0},
                {"\n", false, 0},
                {"-", false, 0},
                {"--1", false, 0},
                {"+1", false, 0},
                {"1 ", false, 0},
                {"1\n\n", false, 0},
                {"0x1", false, 0},
                {"1.5", false, 0},
                {"garbage", false, 0}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int64_t v = 0;
        bool ok = sysfile_parse(rows[i].text, strlen(rows[i].text), &v);
        if (ok != rows[i].ok || (ok && v != rows[i].want))
            fail_msg("%s", rows[i].text);
    }
}

struct want {
    const char *id, *parent;
    bool in_total;
    enum joulet_domain domain;
    enum joulet_group group;
    int64_t value;
};

static void check(const char *machine, const char *row, const struct want *want, size_t n)
{
    struct machine m;
    struct sensor_list l;
    size_t channels = 0;
    machine_open(&m, machine);
    assert_int_equal(open_sensors(&l, row, NULL, NULL), JOULET_OK);
    assert_int_equal(l.n_problems, 0);
    for (size_t i = 0; i < l.n; i++)
        channels += l.items[i]->n_channels;
    assert_int_equal(channels, n);
    for (size_t i = 0; i < n; i++) {
        const struct joulet_channel *c = find_channel(&l, want[i].id);
        struct sensor_reading r = read_channel(&l, want[i].id);
        if (strcmp(c->parent, want[i].parent) || c->in_total != want[i].in_total || c->domain != want[i].domain ||
            c->group != want[i].group || !r.has || r.value != want[i].value)
            fail_msg("%s: parent %s, in total %d, domain %d, group %d, %d: %lld", c->id, c->parent, c->in_total, c->domain,
                     c->group, r.status, (long long)r.value);
        assert_int_equal(c->provenance, JOULET_SIMULATED);
    }
    close_sensors(&l);
    machine_close(&m);
}

static void jetson(void **state)
{
    static const struct want want[] = {
        {"board0.vdd_in", "", true, JOULET_DOMAIN_PSYS, JOULET_GROUP_PLATFORM, 5072 * 1520},
        {"board0.vdd_cpu_gpu_cv", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 5072 * 480},
        {"board0.vdd_soc", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 0}, /* 3 mA below zero is an offset */
        {"board1.vddq_vdd2_1v8ao", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 5056 * 240},
        {"board1.nc", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 0},
    };
    (void)state;
    check("jetson", "hwmon", want, JL_COUNT(want));
}

static void older_jetson(void **state)
{
    static const struct want want[] = {
        {"board0.vdd_in", "", true, JOULET_DOMAIN_PSYS, JOULET_GROUP_PLATFORM, 3124000},
        {"board0.vdd_sys_gpu", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_GPU, 152000},
        {"board0.vdd_sys_soc", "board0.vdd_in", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 381000},
    };
    (void)state;
    check("jetson-old", "hwmon", want, JL_COUNT(want));
}

static void server(void **state)
{
    static const struct want want[] = {
        {"acpi0.power1", "", false, JOULET_DOMAIN_CHASSIS, JOULET_GROUP_PLATFORM, 214000000},
        {"corsairpsu0.power_total", "", false, JOULET_DOMAIN_PSYS, JOULET_GROUP_PLATFORM, 180000000},
        {"corsairpsu0.power_12v", "", false, JOULET_DOMAIN_PART, JOULET_GROUP_OTHER, 120000000},
        {"amd_energy0.ecore000", "", false, JOULET_DOMAIN_CORE, JOULET_GROUP_CPU, 0},
        {"amd_energy0.esocket0", "", true, JOULET_DOMAIN_PACKAGE, JOULET_GROUP_CPU, 0},
    };
    (void)state;
    check("server", "hwmon", want, JL_COUNT(want));
}

static void means_are_told_by_the_meter(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "server");
    open_sensors(&l, "hwmon", NULL, NULL);
    const struct joulet_channel *c = find_channel(&l, "acpi0.power1");
    assert_near(c->period_s, 2, 0);
    assert_true(c->contiguous);
    assert_false(find_channel(&l, "corsairpsu0.power_total")->contiguous);
    close_sensors(&l);
    machine_close(&m);
}

/* What has rows of its own is not shown twice. */
static void cards_and_batteries_are_not_chips(void **state)
{
    static const char *const machines[] = {"amd-cards", "intel-cards", "laptop"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(machines); i++)
        check(machines[i], "hwmon", NULL, 0);
}

static void rails_that_cannot_be(void **state)
{
    static const char *const bad[] = {"-300\n", "garbage\n", "", "9000000000000000000\n"};
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "jetson");
    open_sensors(&l, "hwmon", NULL, NULL);
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        machine_write(&m, "sys/class/hwmon/hwmon1/curr1_input", "%s", bad[i]);
        struct sensor_reading r = read_channel(&l, "board0.vdd_in");
        if (r.has || r.status != JOULET_FORMAT)
            fail_msg("%s", bad[i]);
    }
    close_sensors(&l);
    machine_close(&m);
}

/* ---- batteries --------------------------------------------------------------------------------------------------- */

static void laptop(void **state)
{
    static const struct want want[] = {
        {"bat0.power", "", false, JOULET_DOMAIN_BATTERY, JOULET_GROUP_PLATFORM, 17100000}, /* 11.4 V x 1.5 A, whatever the sign */
        {"bat1.energy", "", false, JOULET_DOMAIN_BATTERY, JOULET_GROUP_PLATFORM, 0},
        {"bat1.power", "bat1.energy", false, JOULET_DOMAIN_BATTERY, JOULET_GROUP_PLATFORM, 9000000},
    };
    (void)state;
    check("laptop", "battery", want, JL_COUNT(want));
}

static void only_while_it_discharges(void **state)
{
    static const char *const states[] = {"Charging\n", "Full\n", "Not charging\n", "Unknown\n", "garbage\n", ""};
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "laptop");
    open_sensors(&l, "battery", NULL, NULL);
    for (size_t i = 0; i < JL_COUNT(states); i++) {
        machine_write(&m, BAT0 "status", "%s", states[i]);
        struct sensor_reading r = read_channel(&l, "bat0.power");
        assert_true(!r.has && r.status == JOULET_OK);
    }
    close_sensors(&l);
    machine_close(&m);
}

static void energy_is_what_is_missing(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    machine_open(&m, "laptop");
    open_sensors(&l, "battery", NULL, NULL);
    assert_near(find_channel(&l, "bat1.energy")->quantum_j, 36, 0); /* 10 mWh: a part of the interval */
    assert_int_equal(read_channel(&l, "bat1.energy").value, 0);
    machine_write(&m, BAT1 "energy_now", "29990000\n"); /* 10 mWh are 36 J */
    assert_int_equal(read_channel(&l, "bat1.energy").value, 36000000);
    machine_write(&m, BAT1 "status", "Charging\n");
    assert_false(read_channel(&l, "bat1.energy").has);
    machine_write(&m, BAT1 "status", "Discharging\n"); /* what was drawn in between is not known */
    r = read_channel(&l, "bat1.energy");
    assert_true(r.has && r.reset);
    r = read_channel(&l, "bat1.energy");
    assert_true(r.has && !r.reset);
    machine_write(&m, BAT1 "energy_now", "-1\n");
    assert_int_equal(read_channel(&l, "bat1.energy").status, JOULET_FORMAT);
    close_sensors(&l);
    machine_close(&m);
}

static void on_mains_is_said(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "laptop");
    machine_write(&m, BAT0 "status", "Full\n");
    machine_write(&m, BAT1 "status", "Charging\n");
    machine_write_at(&m, "sys/class/power_supply/AC/power_now", 0, "45000000\n", 9);
    machine_write(&m, "sys/class/power_supply/AC/online", "1\n");
    open_sensors(&l, "battery", NULL, NULL);
    assert_int_equal(l.n_problems, 0); /* no trouble, as long as nobody asks for it */
    assert_non_null(strstr(find_fact(&l, "bat0", "silent"), "adapter"));
    assert_int_equal(read_channel(&l, "ac.power").value, 45000000);
    assert_int_equal(find_channel(&l, "ac.power")->domain, JOULET_DOMAIN_WALL);
    machine_write(&m, "sys/class/power_supply/AC/online", "0\n");
    assert_false(read_channel(&l, "ac.power").has);
    close_sensors(&l);
    opt.sensors = "battery";
    open_sensors(&l, "battery", &opt, NULL);
    assert_int_equal(l.n_problems, 2);
    assert_non_null(strstr(l.problems[0].message, "unplug it"));
    close_sensors(&l);
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(numbers),
        cmocka_unit_test(jetson),
        cmocka_unit_test(older_jetson),
        cmocka_unit_test(server),
        cmocka_unit_test(means_are_told_by_the_meter),
        cmocka_unit_test(cards_and_batteries_are_not_chips),
        cmocka_unit_test(rails_that_cannot_be),
        cmocka_unit_test(laptop),
        cmocka_unit_test(only_while_it_discharges),
        cmocka_unit_test(energy_is_what_is_missing),
        cmocka_unit_test(on_mains_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
