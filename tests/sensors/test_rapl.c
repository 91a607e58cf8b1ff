/* RAPL below fixture machines: which zones exist, which are added, and what reading them gives. */
#include "lib/sensors/rapl_zone.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#define PACKAGE "sys/class/powercap/intel-rapl:0/energy_uj"
#define RANGE   262143328850

/* ---- texts ----------------------------------------------------------------------------------------------------- */

static void zone_names(void **state)
{
    static const struct {
        const char *name;
        bool ok;
        enum rapl_kind kind;
        int socket, die;
    } rows[] = {
        {"package-0", true, RAPL_PACKAGE, 0, -1},
        {"package-11", true, RAPL_PACKAGE, 11, -1},
        {"package-0-die-1", true, RAPL_PACKAGE, 0, 1},
        {"dram", true, RAPL_DRAM, -1, -1},
        {"core", true, RAPL_CORE, -1, -1},
        {"uncore", true, RAPL_UNCORE, -1, -1},
        {"psys", true, RAPL_PSYS, -1, -1},
        {"psys-1", true, RAPL_PSYS, 1, -1},
        {"package-", false, 0, 0, 0},
        {"package-x", false, 0, 0, 0},
        {"package-0-die-", false, 0, 0, 0},
        {"package-0x", false, 0, 0, 0},
        {"package-99999999999", false, 0, 0, 0},
        {"psys-", false, 0, 0, 0},
        {"dram0", false, 0, 0, 0},
        {"", false, 0, 0, 0},
    };
    struct rapl_name n;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        bool ok = rapl_parse_name(rows[i].name, &n);
        if (ok != rows[i].ok || (ok && (n.kind != rows[i].kind || n.socket != rows[i].socket || n.die != rows[i].die)))
            fail_msg("%s", rows[i].name);
    }
}

static void zone_folders(void **state)
{
    static const struct {
        const char *folder;
        bool ok, mmio;
        int top, sub;
    } rows[] = {
        {"intel-rapl:0", true, false, 0, -1},     {"intel-rapl:12:3", true, false, 12, 3},
        {"intel-rapl-mmio:0", true, true, 0, -1}, {"intel-rapl", false, false, 0, 0},
        {"intel-rapl:", false, false, 0, 0},      {"intel-rapl:0:", false, false, 0, 0},
        {"intel-rapl:0:1:2", false, false, 0, 0}, {"dtpm:0", false, false, 0, 0},
    };
    struct rapl_folder f;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        bool ok = rapl_parse_folder(rows[i].folder, &f);
        if (ok != rows[i].ok || (ok && (f.mmio != rows[i].mmio || f.top != rows[i].top || f.sub != rows[i].sub)))
            fail_msg("%s", rows[i].folder);
    }
}

static void digits(void **state)
{
    static const struct {
        const char *text;
        bool ok;
        uint64_t want;
    } rows[] = {
        {"0\n", true, 0},
        {"262143328850\n", true, RANGE},
        {"5", true, 5},
        {"18446744073709551615\n", true, UINT64_MAX},
        {"18446744073709551616", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"\n", false, 0},
        {"-1\n", false, 0},
        {"1 \n", false, 0},
        {"0x10", false, 0},
        {"12a", false, 0},
        {"1\n\n", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        uint64_t v = 0;
        bool ok = rapl_parse_digits(rows[i].text, strlen(rows[i].text), &v);
        if (ok != rows[i].ok || (ok && v != rows[i].want))
            fail_msg("%s", rows[i].text);
    }
}

static void quanta(void **state)
{
    (void)state;
    assert_near(rapl_quantum_j(262143328850), 0x1p-14, 0);
    assert_near(rapl_quantum_j(65532610987), 0x1p-16, 0);
    assert_near(rapl_quantum_j(4294967295000000), 1, 0);
    assert_near(rapl_quantum_j(300000000000), 300000000000e-6 / 4294967295.0, 1e-12);
    assert_true(isnan(rapl_quantum_j(0)));
}

/* ---- machines --------------------------------------------------------------------------------------------------- */

struct want {
    const char *id, *parent;
    bool in_total;
    enum joulet_group group;
    double quantum_j, spec;
};

static void check_machine(const char *name, const struct want *want, size_t n)
{
    struct machine m;
    struct sensor_list l;
    struct joulet_error err;
    machine_open(&m, name);
    assert_int_equal(open_sensors(&l, "rapl", NULL, &err), JOULET_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.n_problems, 0);
    assert_int_equal(l.items[0]->n_channels, n);
    for (size_t i = 0; i < n; i++) {
        const struct joulet_channel *c = &l.items[0]->channels[i];
        assert_string_equal(c->id, want[i].id);
        assert_string_equal(c->parent, want[i].parent);
        assert_int_equal(c->in_total, want[i].in_total);
        assert_int_equal(c->group, want[i].group);
        assert_int_equal(c->provenance, JOULET_SIMULATED);
        assert_near(c->quantum_j, want[i].quantum_j, 0);
        assert_near(c->spec, want[i].spec, 0);
    }
    close_sensors(&l);
    machine_close(&m);
}

static void desktop(void **state)
{
    static const struct want want[] = {
        {"cpu0.package", "", true, JOULET_GROUP_CPU, 0x1p-14, 0.05},
        {"cpu0.dram", "", false, JOULET_GROUP_DRAM, 0x1p-14, 0.20},
        {"cpu0.core", "cpu0.package", false, JOULET_GROUP_CPU, 0x1p-14, 0.05},
        {"cpu0.uncore", "cpu0.package", false, JOULET_GROUP_CPU, 0x1p-14, 0.05},
        {"platform.psys", "", false, JOULET_GROUP_PLATFORM, 0x1p-14, 0.05},
    };
    (void)state;
    check_machine("desktop", want, JL_COUNT(want));
}

static void one_socket(void **state)
{
    static const struct want want[] = {
        {"cpu0.package", "", true, JOULET_GROUP_CPU, 0x1p-14, 0.05},
        {"cpu0.dram", "", true, JOULET_GROUP_DRAM, 0x1p-16, 0.20},
    };
    (void)state;
    check_machine("one-socket", want, JL_COUNT(want));
}

static void two_sockets(void **state)
{
    static const struct want want[] = {
        /* SGX is on: filtered */
        {"cpu0.die0.package", "", true, JOULET_GROUP_CPU, 0x1p-14, 0.25},
        {"cpu0.die0.dram", "", true, JOULET_GROUP_DRAM, 0x1p-16, 0.25},
        {"cpu0.die1.package", "", true, JOULET_GROUP_CPU, 0x1p-14, 0.25},
        {"cpu0.die1.dram", "", true, JOULET_GROUP_DRAM, 0x1p-16, 0.25},
        {"cpu1.package", "", true, JOULET_GROUP_CPU, 0x1p-14, 0.25},
        {"cpu1.dram", "", true, JOULET_GROUP_DRAM, 0x1p-16, 0.25},
        {"platform.psys", "", false, JOULET_GROUP_PLATFORM, 1, 0.25},
        {"platform.psys1", "", false, JOULET_GROUP_PLATFORM, 1, 0.25},
    };
    (void)state;
    check_machine("two-sockets", want, JL_COUNT(want));
}

static void amd(void **state)
{
    static const struct want want[] = {
        {"cpu0.package", "", true, JOULET_GROUP_CPU, 0x1p-16, 0.10},
        {"cpu0.core", "cpu0.package", false, JOULET_GROUP_CPU, 0x1p-16, 0.10},
    };
    (void)state;
    check_machine("amd", want, JL_COUNT(want));
}

static void facts_and_labels(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "desktop");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_string_equal(find_fact(&l, "cpu0", "power_limit_w"), "125");
    assert_string_equal(find_fact(&l, "cpu0", "power_limit_short_w"), "253");
    assert_non_null(find_fact(&l, "cpu0", "dram"));
    assert_null(find_fact(&l, "cpu0", "energy_filtering"));
    close_sensors(&l);
    machine_close(&m);
    machine_open(&m, "amd");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_non_null(strstr(find_channel(&l, "cpu0.core")->device, "one core"));
    assert_non_null(find_fact(&l, "cpu0", "core"));
    close_sensors(&l);
    machine_close(&m);
    machine_open(&m, "two-sockets");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_non_null(find_fact(&l, "cpu1", "energy_filtering"));
    assert_near(find_channel(&l, "cpu1.package")->u_lag_s, 0.001, 0);
    close_sensors(&l);
    machine_close(&m);
}

/* Where the processor's name is not this machine's, the unit of the package tells the maker. */
static void amd_without_cpuinfo(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "amd");
    unsetenv("JOULET_PROCFS");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_near(find_channel(&l, "cpu0.package")->spec, 0.10, 0);
    close_sensors(&l);
    machine_close(&m);
}

static void a_twin_alone_is_used(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "desktop");
    machine_remove(&m, "sys/class/powercap/intel-rapl:1");
    machine_remove(&m, "sys/class/powercap/intel-rapl:1:0");
    machine_remove(&m, "sys/class/powercap/intel-rapl:1:1");
    machine_remove(&m, "sys/class/powercap/intel-rapl:1:2");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_int_equal(l.items[0]->n_channels, 2);
    assert_true(find_channel(&l, "cpu0.package")->in_total);
    close_sensors(&l);
    machine_close(&m);
}

static void trusted_root_is_measured(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct machine m;
    struct sensor_list l;
    (void)state;
    opt.trust_root = true;
    machine_open(&m, "one-socket");
    assert_int_equal(open_sensors(&l, "rapl", &opt, NULL), JOULET_OK);
    assert_int_equal(find_channel(&l, "cpu0.package")->provenance, JOULET_MEASURED);
    close_sensors(&l);
    machine_close(&m);
}

static void absence_is_no_error(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct joulet_error err;
    (void)state;
    machine_open(&m, "virtual");
    assert_int_equal(open_sensors(&l, "rapl", NULL, &err), JOULET_OK);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 0);
    close_sensors(&l);
    machine_close(&m);
}

static void a_zone_without_counter_is_a_problem(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "one-socket");
    machine_remove(&m, "sys/class/powercap/intel-rapl:0:0/energy_uj");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_int_equal(l.items[0]->n_channels, 1);
    assert_int_equal(l.n_problems, 1);
    assert_int_equal(l.problems[0].status, JOULET_NOT_FOUND);
    close_sensors(&l);
    machine_remove(&m, PACKAGE);
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    close_sensors(&l);
    machine_close(&m);
}

/* What a user without rights sees; the exit code tells. */
static int look_without_rights(void)
{
    struct sensor_list l = {.n = 0};
    struct joulet_error err;
    if (geteuid() == 0 && (setgid(65534) != 0 || setuid(65534) != 0))
        return 2;
    enum joulet_status status = find_sensor("rapl")->discover(&l, NULL, &err);
    const char *text = l.n_problems ? l.problems[0].message : "";
    bool ok = status == JOULET_OK && l.n == 0 && l.n_problems == 1 && l.problems[0].status == JOULET_PERMISSION &&
              strstr(text, "intel-rapl:0/energy_uj and 1 more") && strstr(text, "chmod 0440") && strstr(text, "joulet doctor") &&
              !strstr(text, "o+r");
    if (!ok)
        fprintf(stderr, "status %d, %zu sensors, problem: %s\n", status, l.n, text);
    close_sensors(&l);
    return ok ? 0 : 1;
}

static void no_permission(void **state)
{
    struct machine m;
    int status = -1;
    (void)state;
    machine_open(&m, "one-socket");
    machine_chmod(&m, PACKAGE, geteuid() == 0 ? 0400 : 0);
    machine_chmod(&m, "sys/class/powercap/intel-rapl:0:0/energy_uj", geteuid() == 0 ? 0400 : 0);
    fflush(NULL);
    pid_t child = fork();
    if (child == 0)
        _exit(look_without_rights());
    assert_int_equal(waitpid(child, &status, 0), child);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    machine_close(&m);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void counters_count_from_the_first_reading(void **state)
{
    static const struct {
        const char *text;
        int64_t want;
        bool reset;
    } rows[] = {
        {"262143000000\n", 0, false},         {"262143100000\n", 100000, false},
        {"500000\n", 100000 + 728850, false}, /* restarted: vector 1 */
        {"500000\n", 828850, false},          {"1500000\n", 1828850, false},
        {"200000000000\n", 1828850, true},                               /* 200 kJ in no time: not this counter's own doing */
        {"200000001000\n", 1829850, false},   {"1000\n", 1829850, true}, /* back by more than a restart explains */
        {"2000\n", 1830850, false},
    };
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "one-socket");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        machine_write(&m, PACKAGE, "%s", rows[i].text);
        struct sensor_reading r = read_channel(&l, "cpu0.package");
        assert_int_equal(r.status, JOULET_OK);
        assert_true(r.has);
        assert_int_equal(r.value, rows[i].want);
        assert_int_equal(r.reset, rows[i].reset);
    }
    close_sensors(&l);
    machine_close(&m);
}

static void a_failed_read_is_neither_zero_nor_a_restart(void **state)
{
    static const char *const bad[] = {"", "\n", "garbage\n", "-5\n", "99999999999999999999\n", "1 2\n"};
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "one-socket");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        machine_write(&m, PACKAGE, "262143%06zu\n", i * 1000);
        struct sensor_reading r = read_channel(&l, "cpu0.package");
        assert_int_equal(r.status, JOULET_OK);
        assert_int_equal(r.value, (int64_t)i * 1000);
        machine_write(&m, PACKAGE, "%s", bad[i]);
        r = read_channel(&l, "cpu0.package");
        assert_int_equal(r.status, JOULET_FORMAT);
        assert_false(r.has);
        assert_int_equal(read_channel(&l, "cpu0.dram").status, JOULET_OK); /* the neighbour goes on */
    }
    close_sensors(&l);
    machine_close(&m);
}

static void one_channel_alone(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    machine_open(&m, "one-socket");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    struct sensor *s = l.items[0];
    assert_true(s->ops->lockable);
    s->ops->read_one(s, 0, &r);
    assert_int_equal(r.value, 0);
    machine_write(&m, PACKAGE, "262143000061\n");
    s->ops->read_one(s, 0, &r);
    assert_int_equal(r.value, 61);
    s->ops->read_one(s, 1, &r);
    assert_int_equal(r.value, 0);
    close_sensors(&l);
    machine_close(&m);
}

/* A counter without a range: it may not go back. */
static void no_range(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "one-socket");
    machine_remove(&m, "sys/class/powercap/intel-rapl:0/max_energy_range_uj");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    read_channel(&l, "cpu0.package");
    machine_write(&m, PACKAGE, "5\n");
    assert_true(read_channel(&l, "cpu0.package").reset);
    close_sensors(&l);
    machine_close(&m);
}

/* The folder of a zone vanishes and comes back: gone, then a new start. Waits for the once-a-second look, whatever it takes. */
static void a_device_that_leaves_and_returns(void **state)
{
    struct machine m;
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    machine_open(&m, "one-socket");
    assert_int_equal(open_sensors(&l, "rapl", NULL, NULL), JOULET_OK);
    r = read_channel(&l, "cpu0.package");
    assert_int_equal(r.status, JOULET_OK);
    machine_remove(&m, PACKAGE);
    while ((r = read_channel(&l, "cpu0.package")).status == JOULET_OK)
        jl_sleep_until(jl_mono_ns() + 10000000);
    assert_int_equal(r.status, JOULET_GONE);
    assert_false(r.has);
    machine_write(&m, PACKAGE, "7000\n");
    while ((r = read_channel(&l, "cpu0.package")).status == JOULET_GONE)
        jl_sleep_until(jl_mono_ns() + 10000000);
    assert_int_equal(r.status, JOULET_OK);
    assert_true(r.reset);
    close_sensors(&l);
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(zone_names),
        cmocka_unit_test(zone_folders),
        cmocka_unit_test(digits),
        cmocka_unit_test(quanta),
        cmocka_unit_test(desktop),
        cmocka_unit_test(one_socket),
        cmocka_unit_test(two_sockets),
        cmocka_unit_test(amd),
        cmocka_unit_test(facts_and_labels),
        cmocka_unit_test(amd_without_cpuinfo),
        cmocka_unit_test(a_twin_alone_is_used),
        cmocka_unit_test(trusted_root_is_measured),
        cmocka_unit_test(absence_is_no_error),
        cmocka_unit_test(a_zone_without_counter_is_a_problem),
        cmocka_unit_test(no_permission),
        cmocka_unit_test(counters_count_from_the_first_reading),
        cmocka_unit_test(a_failed_read_is_neither_zero_nor_a_restart),
        cmocka_unit_test(one_channel_alone),
        cmocka_unit_test(no_range),
        cmocka_unit_test(a_device_that_leaves_and_returns),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
