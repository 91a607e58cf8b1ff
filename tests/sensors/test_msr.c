/* RAPL from registers: files of 8 bytes at the address of each register stand for /dev/cpu/N/msr. */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

static void set(const struct machine *m, int cpu, uint32_t address, uint64_t value)
{
    uint8_t b[8];
    char file[64];
    for (int i = 0; i < 8; i++)
        b[i] = (uint8_t)(value >> (8 * i));
    snprintf(file, sizeof(file), "dev/cpu/%d/msr", cpu);
    machine_write_at(m, file, address, b, sizeof(b));
}

static void intel(const struct machine *m, int cpu)
{
    set(m, cpu, 0x606, 0xa0e03);        /* 2^-14 J */
    set(m, cpu, 0x611, 0xdeadffff0000); /* what is above 32 bits is not of the count */
    set(m, cpu, 0x619, 500);
    set(m, cpu, 0x639, 600);
    set(m, cpu, 0x641, 0); /* no graphics */
}

static void two_intel_sockets(void **state)
{
    static const struct {
        const char *id, *parent;
        bool in_total;
        double quantum_j;
    } want[] = {
        {"cpu0.package", "", true, 0x1p-14}, {"cpu0.dram", "", true, 0x1p-16}, {"cpu0.core", "cpu0.package", false, 0x1p-14},
        {"cpu1.package", "", true, 0x1p-14}, {"cpu1.dram", "", true, 0x1p-16}, {"cpu1.core", "cpu1.package", false, 0x1p-14}};
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "msr-intel");
    intel(&m, 0);
    intel(&m, 1);
    assert_int_equal(open_sensors(&l, "msr", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.n_problems, 0);
    assert_int_equal(l.items[0]->n_channels, JL_COUNT(want));
    for (size_t i = 0; i < JL_COUNT(want); i++) {
        const struct joulet_channel *c = &l.items[0]->channels[i];
        assert_string_equal(c->id, want[i].id);
        assert_string_equal(c->parent, want[i].parent);
        assert_int_equal(c->in_total, want[i].in_total);
        assert_near(c->quantum_j, want[i].quantum_j, 0);
        assert_int_equal(c->provenance, JOULET_SIMULATED);
    }
    close_sensors(&l);
    machine_close(&m);
}

static void counts_and_wraps(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "msr-intel");
    intel(&m, 0);
    open_sensors(&l, "msr", NULL, NULL);
    assert_int_equal(l.n_problems, 1); /* the registers of the second socket are not there */
    assert_int_equal(read_channel(&l, "cpu0.package").value, 0);
    assert_int_equal(read_channel(&l, "cpu0.dram").value, 0);
    set(&m, 0, 0x611, 0xffff0000 + 16384);
    set(&m, 0, 0x619, 500 + 65536);
    assert_int_equal(read_channel(&l, "cpu0.package").value, 1000000);
    assert_int_equal(read_channel(&l, "cpu0.dram").value, 1000000);
    set(&m, 0, 0x611, 0x4000); /* over the end of 32 bits */
    struct sensor_reading r = read_channel(&l, "cpu0.package");
    assert_true(r.has && !r.reset);
    assert_near((double)r.value * 1e-6, 0x14000 * 0x1p-14, 2e-6);
    set(&m, 0, 0x611, 0x10); /* back: restarted */
    assert_true(read_channel(&l, "cpu0.package").reset);
    close_sensors(&l);
    machine_close(&m);
}

static void amd_counts_its_package_once(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "msr-amd");
    /* Registers are one byte apart in this file and eight bytes long: the unit 0x..1003, then 2000 steps of the package. */
    static const uint8_t both[] = {0x03, 0x10, 0xd0, 0x07, 0, 0, 0, 0, 0, 0};
    machine_write_at(&m, "dev/cpu/0/msr", 0xC0010299, both, sizeof(both));
    machine_write_at(&m, "dev/cpu/1/msr", 0xC0010299, both, sizeof(both));
    open_sensors(&l, "msr", NULL, NULL);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.items[0]->n_channels, 2);
    assert_near(find_channel(&l, "cpu0.package")->quantum_j, 0x1p-16, 0);
    assert_non_null(strstr(find_channel(&l, "cpu0.core")->device, "one core of all"));
    close_sensors(&l);
    machine_close(&m);
}

static void what_is_in_the_way(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "msr-intel");
    open_sensors(&l, "msr", NULL, NULL); /* no module */
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "modprobe msr"));
    close_sensors(&l);
    machine_write_at(&m, "dev/cpu/0/msr", 0, "x", 1); /* a virtual machine: no register can be read */
    machine_write_at(&m, "dev/cpu/1/msr", 0, "x", 1);
    open_sensors(&l, "msr", NULL, NULL);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "virtual machine"));
    close_sensors(&l);
    machine_write(&m, "proc/cpuinfo",
                  "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 55\nmodel name\t: Intel(R) Atom(TM) CPU  E3845\n");
    open_sensors(&l, "msr", NULL, NULL);
    assert_int_equal(l.n, 0);
    assert_non_null(strstr(l.problems[0].message, "unit of their own"));
    close_sensors(&l);
    machine_close(&m);
    machine_open(&m, "two-sockets"); /* powercap is open, and both were asked for */
    opt.sensors = "rapl,msr";
    open_sensors(&l, "msr", &opt, NULL);
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "the same counters as rapl"));
    close_sensors(&l);
    machine_close(&m);
}

/* The platform of these servers counts in whole joules. */
static void whole_joules(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "perf-server");
    machine_empty(&m);
    machine_lay_out(&m, "msr-amd"); /* for its topology */
    machine_write(&m, "proc/cpuinfo",
                  "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 143\nmodel name\t: Intel(R) Xeon(R) Platinum 8480+\n");
    for (int cpu = 0; cpu < 2; cpu++) {
        intel(&m, cpu);
        set(&m, cpu, 0x64D, 100);
    }
    open_sensors(&l, "msr", NULL, NULL);
    assert_near(find_channel(&l, "platform.psys")->quantum_j, 1, 0);
    assert_near(find_channel(&l, "cpu0.die0.dram")->quantum_j, 0x1p-14, 0);
    read_channel(&l, "platform.psys");
    set(&m, 0, 0x64D, 103);
    assert_int_equal(read_channel(&l, "platform.psys").value, 3000000);
    close_sensors(&l);
    machine_close(&m);
}

/* Asked for by name, so what is missing is told, with what helps. */
static void another_kind_of_processor(void **state)
{
    static const struct {
        const char *machine, *says;
    } rows[] = {{"jetson", "tells of none"}, {"one-socket", "shows no hardware thread"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct machine m;
        struct sensor_list l;
        machine_open(&m, rows[i].machine);
        assert_int_equal(open_sensors(&l, "msr", NULL, NULL), JOULET_OK);
        assert_int_equal(l.n, 0);
        assert_int_equal(l.n_problems, 1);
        assert_non_null(strstr(l.problems[0].message, rows[i].says));
        assert_non_null(strstr(l.problems[0].message, "--sensors"));
        close_sensors(&l);
        machine_close(&m);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(two_intel_sockets),         cmocka_unit_test(counts_and_wraps),
        cmocka_unit_test(another_kind_of_processor), cmocka_unit_test(amd_counts_its_package_once),
        cmocka_unit_test(what_is_in_the_way),        cmocka_unit_test(whole_joules),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
