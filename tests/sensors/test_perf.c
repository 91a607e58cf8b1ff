/* RAPL through perf events: the texts of the PMU, which events are opened on which machine, the choice between this way and
 * powercap, and what reading gives. The kernel is a stand-in. */
#include "lib/sensors/perf.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/stand_in.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

/* ---- texts -------------------------------------------------------------------------------------------------------------- */

static void event_texts(void **state)
{
    static const struct {
        const char *event, *format;
        bool ok;
        uint64_t want;
    } rows[] = {
        {"event=0x02", "config:0-7", true, 2},
        {"event=5", "config:0-7", true, 5},
        {"event=0x02", "config:8-15", true, 0x200},
        {"event=1", "config:3", true, 8},
        {"event=2", "config:3", false, 0},
        {"event=0x1ff", "config:0-7", false, 0},
        {"event=0xffffffffffffffff", "config:0-63", true, UINT64_MAX},
        {"event=0x1ffffffffffffffff", "config:0-63", false, 0},
        {"event=0x02", "config1:0-7", false, 0},
        {"event=0x02", "config:7-0", false, 0},
        {"event=0x02", "config:0-64", false, 0},
        {"event=0x02", "config:", false, 0},
        {"event=0x02", "config:0-", false, 0},
        {"event=", "config:0-7", false, 0},
        {"event=0x", "config:0-7", false, 0},
        {"event=-1", "config:0-7", false, 0},
        {"umask=0x02", "config:0-7", false, 0},
        {"event=0x02,umask=1", "config:0-7", false, 0},
        {"", "", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        uint64_t v = 0;
        bool ok = perf_parse_event(rows[i].event, rows[i].format, &v);
        if (ok != rows[i].ok || (ok && v != rows[i].want))
            fail_msg("%s in %s", rows[i].event, rows[i].format);
    }
}

static void scales(void **state)
{
    static const char *const bad[] = {"", "0", "-1", "2", "nan", "inf", "1e-10x", "0x1p-32", "1e-400"};
    double v;
    (void)state;
    assert_true(perf_parse_scale("2.3283064365386962890625e-10", &v));
    assert_near(v, 0x1p-32, 0);
    for (size_t i = 0; i < JL_COUNT(bad); i++)
        if (perf_parse_scale(bad[i], &v))
            fail_msg("%s", bad[i]);
}

static void masks(void **state)
{
    static const struct {
        const char *text;
        int n, first, last;
    } rows[] = {{"0", 1, 0, 0},      {"0,32", 2, 0, 32}, {"0-1", 2, 0, 1},      {"0-1,4\n", 3, 0, 4}, {"65535", 1, 65535, 65535},
                {"", -1, 0, 0},      {",", -1, 0, 0},    {"1,", -1, 0, 0},      {"3-1", -1, 0, 0},    {"-1", -1, 0, 0},
                {"65536", -1, 0, 0}, {"0-8", -1, 0, 0},  {"0-65535", -1, 0, 0}, {"0 1", -1, 0, 0},    {"0x1", -1, 0, 0}};
    int cpus[8];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int n = perf_parse_cpus(rows[i].text, cpus, 8);
        if (n != rows[i].n || (n > 0 && (cpus[0] != rows[i].first || cpus[n - 1] != rows[i].last)))
            fail_msg("%s: %d", rows[i].text, n);
    }
}

/* ---- machines ---------------------------------------------------------------------------------------------------- */

struct want {
    const char *id, *parent;
    bool in_total;
    enum joulet_domain domain;
    double quantum_j;
};

static void check(const char *machine, const struct want *want, size_t n)
{
    struct machine m;
    struct sensor_list l;
    machine_open(&m, machine);
    if (strcmp(machine, "perf-server") == 0)
        machine_remove(&m, "sys/class/powercap/intel-rapl:0/energy_uj"),
            machine_remove(&m, "sys/class/powercap/intel-rapl:1/energy_uj");
    stand_in_begin(100);
    assert_int_equal(open_sensors(&l, "perf", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.n_problems, 0);
    assert_int_equal(l.items[0]->n_channels, n);
    for (size_t i = 0; i < n; i++) {
        const struct joulet_channel *c = &l.items[0]->channels[i];
        assert_string_equal(c->id, want[i].id);
        assert_string_equal(c->parent, want[i].parent);
        assert_string_equal(c->sensor, "perf");
        assert_int_equal(c->in_total, want[i].in_total);
        assert_int_equal(c->domain, want[i].domain);
        assert_near(c->quantum_j, want[i].quantum_j, 0);
        assert_int_equal(c->provenance, JOULET_SIMULATED);
    }
    close_sensors(&l);
    assert_int_equal(stand_in.opened, stand_in.closed);
    stand_in_end();
    machine_close(&m);
}

static void desktop(void **state)
{
    static const struct want want[] = {{"cpu0.package", "", true, JOULET_DOMAIN_PACKAGE, 0x1p-14},
                                       {"cpu0.core", "cpu0.package", false, JOULET_DOMAIN_CORE, 0x1p-14},
                                       {"cpu0.uncore", "cpu0.package", false, JOULET_DOMAIN_UNCORE, 0x1p-14},
                                       {"platform.psys", "", false, JOULET_DOMAIN_PSYS, 0x1p-14}};
    (void)state;
    check("perf-desktop", want, JL_COUNT(want));
}

static void server(void **state)
{
    static const struct want want[] = {
        {"cpu0.package", "", true, JOULET_DOMAIN_PACKAGE, 0x1p-14}, {"cpu0.dram", "", true, JOULET_DOMAIN_DRAM, 0x1p-16},
        {"platform.psys", "", false, JOULET_DOMAIN_PSYS, 1},        {"cpu1.package", "", true, JOULET_DOMAIN_PACKAGE, 0x1p-14},
        {"cpu1.dram", "", true, JOULET_DOMAIN_DRAM, 0x1p-16},       {"platform.psys1", "", false, JOULET_DOMAIN_PSYS, 1}};
    (void)state;
    check("perf-server", want, JL_COUNT(want));
}

static void dies(void **state)
{
    static const struct want want[] = {{"cpu0.die0.package", "", true, JOULET_DOMAIN_PACKAGE, 0x1p-14},
                                       {"cpu0.die1.package", "", true, JOULET_DOMAIN_PACKAGE, 0x1p-14}};
    (void)state;
    check("perf-dies", want, JL_COUNT(want));
}

/* ---- which way ---------------------------------------------------------------------------------------------------------- */

static size_t found(const char *row, const char *sensors, size_t *problems)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct sensor_list l;
    opt.sensors = sensors;
    assert_int_equal(open_sensors(&l, row, &opt, NULL), JOULET_OK);
    size_t n = l.n;
    *problems = l.n_problems;
    close_sensors(&l);
    return n;
}

/* {powercap readable, events open} and which of the two rows finds something, which one complains. */
static void one_way_is_used(void **state)
{
    static const struct {
        bool powercap, events;
        const char *sensors;
        size_t rapl, perf, rapl_says, perf_says;
    } rows[] = {
        {true, true, NULL, 1, 0, 0, 0},    {true, false, NULL, 1, 0, 0, 0},        {false, true, NULL, 0, 1, 0, 0},
        {false, false, NULL, 0, 0, 1, 1},  {true, true, "perf", 1, 1, 0, 0},       {true, true, "rapl,perf", 1, 0, 0, 0},
        {false, true, "rapl", 0, 1, 1, 0}, {false, true, "rapl,perf", 0, 1, 0, 0},
    };
    struct machine m;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        size_t rapl_says, perf_says;
        machine_open(&m, "perf-server");
        stand_in_begin(100);
        stand_in.open_error = rows[i].events ? 0 : EACCES;
        if (!rows[i].powercap) { /* closed for everybody, the superuser too */
            machine_remove(&m, "sys/class/powercap/intel-rapl:0/energy_uj");
            machine_remove(&m, "sys/class/powercap/intel-rapl:1/energy_uj");
        }
        size_t rapl = found("rapl", rows[i].sensors, &rapl_says), perf = found("perf", rows[i].sensors, &perf_says);
        if (rapl != rows[i].rapl || perf != rows[i].perf || rapl_says != rows[i].rapl_says || perf_says != rows[i].perf_says)
            fail_msg("row %zu: rapl %zu, perf %zu, problems %zu and %zu", i, rapl, perf, rapl_says, perf_says);
        stand_in_end();
        machine_close(&m);
    }
}

static void refusals_name_the_remedy(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-desktop");
    stand_in_begin(100);
    stand_in.open_error = EACCES;
    open_sensors(&l, "perf", NULL, NULL);
    assert_int_equal(l.n_problems, 1);
    assert_int_equal(l.problems[0].status, JOULET_PERMISSION);
    assert_non_null(strstr(l.problems[0].message, "perf_event_paranoid is 2"));
    assert_non_null(strstr(l.problems[0].message, "cap_perfmon"));
    close_sensors(&l);
    stand_in.open_error = ENODEV;
    open_sensors(&l, "perf", NULL, NULL);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "modprobe rapl"));
    close_sensors(&l);
    stand_in_end();
    machine_close(&m);
}

/* Another machine's numbers are not asked of this kernel. */
static void a_redirected_root_is_not_asked_of_the_kernel(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-desktop");
    assert_int_equal(open_sensors(&l, "perf", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n + l.n_problems, 0);
    close_sensors(&l);
    machine_close(&m);
}

static void what_is_told_in_another_way_is_left_out(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-desktop");
    stand_in_begin(100);
    machine_write(&m, "sys/bus/event_source/devices/power/events/energy-psys.unit", "Wh\n");
    machine_write(&m, "sys/bus/event_source/devices/power/events/energy-gpu.scale", "7\n");
    machine_write(&m, "sys/bus/event_source/devices/power/events/energy-cores", "event=0x100\n");
    open_sensors(&l, "perf", NULL, NULL);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.items[0]->n_channels, 1);
    close_sensors(&l);
    machine_write(&m, "sys/bus/event_source/devices/power/cpumask", "none\n");
    open_sensors(&l, "perf", NULL, NULL);
    assert_int_equal(l.n, 0);
    close_sensors(&l);
    stand_in_end();
    machine_close(&m);
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static void counts_are_joules(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-desktop");
    stand_in_begin(200);
    open_sensors(&l, "perf", NULL, NULL);
    assert_int_equal(read_channel(&l, "cpu0.package").value, 0);
    int64_t a = jl_mono_ns();
    jl_sleep_until(a + 30000000);
    struct sensor_reading r = read_channel(&l, "cpu0.package");
    int64_t b = jl_mono_ns();
    assert_true(r.has && !r.reset);
    assert_true((double)r.value * 1e-6 >= 200 * 0.029 && (double)r.value * 1e-6 <= 200 * (jl_s(b - stand_in.begin_ns) + 0.001));
    close_sensors(&l);
    stand_in_end();
    machine_close(&m);
}

/* A processor taken offline, and brought back: its counts begin anew. */
static void an_event_that_leaves_and_returns(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-desktop");
    stand_in_begin(100);
    open_sensors(&l, "perf", NULL, NULL);
    read_channel(&l, "cpu0.package");
    stand_in.read_error = ENODEV;
    assert_int_equal(read_channel(&l, "cpu0.package").status, JOULET_GONE);
    stand_in.read_error = 0;
    assert_int_equal(read_channel(&l, "cpu0.package").status, JOULET_GONE); /* looked for once a second */
    jl_sleep_until(jl_mono_ns() + 1050000000);
    struct sensor_reading r = read_channel(&l, "cpu0.package");
    assert_true(r.has && r.reset);
    r = read_channel(&l, "cpu0.package");
    assert_true(r.has && !r.reset);
    stand_in.read_error = EINTR;
    assert_int_equal(read_channel(&l, "cpu0.package").status, JOULET_IO);
    close_sensors(&l);
    assert_int_equal(stand_in.opened, stand_in.closed);
    stand_in_end();
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(event_texts),
        cmocka_unit_test(scales),
        cmocka_unit_test(masks),
        cmocka_unit_test(desktop),
        cmocka_unit_test(server),
        cmocka_unit_test(dies),
        cmocka_unit_test(one_way_is_used),
        cmocka_unit_test(refusals_name_the_remedy),
        cmocka_unit_test(a_redirected_root_is_not_asked_of_the_kernel),
        cmocka_unit_test(what_is_told_in_another_way_is_left_out),
        cmocka_unit_test(counts_are_joules),
        cmocka_unit_test(an_event_that_leaves_and_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
