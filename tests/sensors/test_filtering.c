/* Energy filtering (1.1) from the processor's flags to the figure: counters of a machine with SGX are known to be filtered, and
 * every energy that the meter gives from them says so. */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <string.h>

static size_t channel_of(struct joulet *m, const char *id)
{
    struct joulet_channel c;
    for (size_t i = 0; joulet_channel_get(m, i, &c) == JOULET_OK; i++)
        if (strcmp(c.id, id) == 0)
            return i;
    fail_msg("there is no channel %s", id);
    return 0;
}

/* Counts 20 J in steps of 1 J, each seen before the next. */
static struct joulet_energy measure(const struct machine *machine, struct joulet *m, const char *id, const char *file,
                                    int64_t start_uj)
{
    struct joulet_energy e;
    struct joulet_error err;
    size_t i = channel_of(m, id);
    joulet_mark from = joulet_mark_now(m);
    for (int k = 1; k <= 20; k++) {
        machine_write(machine, file, "%lld\n", (long long)(start_uj + k * INT64_C(1000000)));
        assert_int_equal(joulet_wait_covered(m, joulet_now(), 30, &err), JOULET_OK);
    }
    joulet_mark to = joulet_mark_now(m);
    if (joulet_energy_between(m, i, from, to, &e, &err) != JOULET_OK)
        fail_msg("%s: %s", id, err.message);
    return e;
}

static void figures_of_filtered_counters_say_so(void **state)
{
    (void)state;
    static const struct {
        const char *machine, *id, *file;
        int64_t start_uj;
        bool filtered;
    } rows[] = {
        {"two-sockets", "cpu1.package", "sys/class/powercap/intel-rapl:0/energy_uj", 2000000000, true},
        {"two-sockets", "cpu1.dram", "sys/class/powercap/intel-rapl:0/intel-rapl:0:0/energy_uj", 200000000, true},
        {"one-socket", "cpu0.package", "sys/class/powercap/intel-rapl:0/energy_uj", 200000000000, false},
        {"one-socket", "cpu0.dram", "sys/class/powercap/intel-rapl:0:0/energy_uj", 60000000000, false},
        {"amd", "cpu0.package", "sys/class/powercap/intel-rapl:0/energy_uj", 40000000000, false},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct machine machine;
        struct joulet *m;
        struct joulet_error err;
        struct joulet_options opt = JOULET_OPTIONS_INIT;
        opt.sensors = "rapl";
        machine_open(&machine, rows[i].machine);
        machine_write(&machine, rows[i].file, "%lld\n", (long long)rows[i].start_uj);
        if (joulet_open(&m, &opt, &err) != JOULET_OK)
            fail_msg("%s: %s", rows[i].machine, err.message);
        struct joulet_energy e = measure(&machine, m, rows[i].id, rows[i].file, rows[i].start_uj);
        assert_true(e.gross_j > 10 && e.gross_j < 30);
        if (((e.flags & JOULET_FLAG_FILTERED) != 0) != rows[i].filtered)
            fail_msg("%s, %s: flags %x", rows[i].machine, rows[i].id, e.flags);
        assert_true(e.gross_pm_j >= 2 * (rows[i].filtered ? .25 : .05) * e.gross_j / sqrt(3));
        joulet_close(m);
        machine_close(&machine);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(figures_of_filtered_counters_say_so)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
