/* The machine, read from a folder that looks like one: files below a scratch folder. */
#include "tests/platform/scratch.h"

static void put(const char *name, const char *text)
{
    char *path = jl_strf("%s/%s", scratch, name), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), 0644, NULL), JOULET_OK);
    free(path);
}

static int open_machine(void **state)
{
    int rc = scratch_open(state);
    setenv("JOULET_PROCFS", scratch, 1);
    setenv("JOULET_SYSFS", scratch, 1);
    return rc;
}

static int close_machine(void **state)
{
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_SYSFS");
    return scratch_close(state);
}

static const char cpuinfo[] = "processor\t: 0\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 0\ncore id\t\t: 0\n"
                              "flags\t\t: fpu vme hypervisor lm\n\n"
                              "processor\t: 1\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 0\ncore id\t\t: 0\n\n"
                              "processor\t: 2\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 1\ncore id\t\t: 0\n\n"
                              "processor\t: 3\nmodel name\t: Some CPU @ 2.10GHz\nphysical id\t: 1\ncore id\t\t: 9\n\n";

static void test_describes(void **state)
{
    struct jl_machine m;
    (void)state;
    put("cpuinfo", cpuinfo);
    put("meminfo", "MemTotal:       16384 kB\nMemFree:  1 kB\nMemAvailable:    8192 kB\n");
    put("devices/system/cpu/cpu0/cpufreq/scaling_governor", "performance\n");
    jl_machine_get(&m);
    assert_string_equal(m.cpu, "Some CPU @ 2.10GHz");
    assert_int_equal(m.cores, 3);
    assert_true(m.virtual_machine);
    assert_int_equal(m.memory_bytes, 16384 * 1024);
    assert_int_equal(m.memory_available_bytes, 8192 * 1024);
    assert_string_equal(m.governor, "performance");
    assert_true(m.threads >= 1);
    assert_true(m.os[0] && m.kernel[0] && m.arch[0]);
    assert_int_equal(strlen(m.hostname_hash), 16);
}

/* A word that only contains "hypervisor" is another flag; nothing known is nothing claimed. */
static void test_knows_little(void **state)
{
    struct jl_machine m;
    (void)state;
    put("cpuinfo", "processor\t: 0\nBogoMIPS\t: 50\nflags\t: hypervisor_like lm\nModel\t\t: Small Board Rev 1.0\n");
    jl_machine_get(&m);
    assert_string_equal(m.cpu, "Small Board Rev 1.0");
    assert_int_equal(m.cores, 0);
    assert_false(m.virtual_machine);
    assert_int_equal(m.memory_bytes, 0);
    assert_string_equal(m.governor, "");
}

static void test_cpu_time(void **state)
{
    double busy = -1, total = -1, tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    (void)state;
    assert_false(jl_cpu_time(&busy, &total));
    assert_near(busy, -1, 0);
    put("stat", "cpu  100 20 30 4000 500 6 7 80 9 10\ncpu0 1 1 1 1\n");
    assert_true(jl_cpu_time(&busy, &total));
    assert_near(busy, 163 * tick, 1e-9);           /* user with guest, nice, system, irq, softirq */
    assert_near(total, (163 + 4580) * tick, 1e-9); /* and idle, iowait, steal */
    put("stat", "cpu  1 2 3 4\n");
    assert_true(jl_cpu_time(&busy, &total));
    assert_near(total, 10 * tick, 1e-9);
    put("stat", "garbage\n");
    assert_false(jl_cpu_time(&busy, &total));
}

static void test_load(void **state)
{
    (void)state;
    assert_true(isnan(jl_load_average()));
    put("loadavg", "1.25 0.75 0.50 2/345 6789\n");
    assert_near(jl_load_average(), 1.25, 1e-12);
    put("loadavg", "\n");
    assert_true(isnan(jl_load_average()));
}

static void test_battery(void **state)
{
    (void)state;
    assert_int_equal(jl_on_battery(), -1);
    put("class/power_supply/BAT0/status", "Discharging\n");
    put("class/power_supply/BAT0/scope", "Device\n"); /* that of a mouse */
    assert_int_equal(jl_on_battery(), -1);
    put("class/power_supply/BAT1/status", "Discharging\n");
    assert_int_equal(jl_on_battery(), 1);
    put("class/power_supply/AC/online", "1\n");
    assert_int_equal(jl_on_battery(), 0);
    put("class/power_supply/AC/online", "0\n");
    put("class/power_supply/BAT1/status", "Full\n");
    assert_int_equal(jl_on_battery(), 1);
}

static void test_temperature(void **state)
{
    (void)state;
    assert_true(isnan(jl_temperature_c()));
    put("class/hwmon/hwmon0/name", "nvme\n");
    put("class/hwmon/hwmon0/temp1_input", "90000\n");
    assert_true(isnan(jl_temperature_c())); /* a disk */
    put("class/hwmon/hwmon1/name", "k10temp\n");
    put("class/hwmon/hwmon1/temp1_input", "61250\n");
    put("class/hwmon/hwmon1/temp3_input", "64500\n");
    assert_near(jl_temperature_c(), 64.5, 1e-9);
    put("class/thermal/thermal_zone0/type", "acpitz\n");
    put("class/thermal/thermal_zone0/temp", "99000\n");
    put("class/thermal/thermal_zone1/type", "x86_pkg_temp\n");
    put("class/thermal/thermal_zone1/temp", "-5\n");
    put("class/thermal/thermal_zone2/type", "x86_pkg_temp\n");
    put("class/thermal/thermal_zone2/temp", "52000\n");
    assert_near(jl_temperature_c(), 52, 1e-9);
}

static void test_own_use(void **state)
{
    (void)state;
    assert_true(jl_peak_memory() > 100000);
    assert_true(jl_disk_free(scratch) >= 0);
    assert_int_equal(jl_disk_free(in_scratch("none")), -1);
}

#define ON_MACHINE(f) cmocka_unit_test_setup_teardown(f, open_machine, close_machine)

int main(void)
{
    const struct CMUnitTest tests[] = {
        ON_MACHINE(test_describes), ON_MACHINE(test_knows_little), ON_MACHINE(test_cpu_time), ON_MACHINE(test_load),
        ON_MACHINE(test_battery),   ON_MACHINE(test_temperature),  ON_MACHINE(test_own_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
