/* Counter arithmetic, and the lists that sources fill. */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

static void counters_restart(void **state)
{
    static const struct {
        const char *name;
        uint64_t prev, now, range, want;
    } rows[] = {
        {"steady", 100, 100, 1ull << 32, 0},
        {"restart of a 32-bit register", 4294967000, 704, 1ull << 32, 1000},
        {"restart of a package", 262143000000, 500000, 262143328850, 828850},
        {"odd range", 990, 10, 1000, 20},
        {"from the last value to the first", 999, 0, 1000, 1},
        {"no restart near the range", 0, 999, 1000, 999},
        {"beyond 32 bits", 1ull << 40, (1ull << 40) + 7, UINT64_MAX, 7},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (jl_counter_delta(rows[i].prev, rows[i].now, rows[i].range) != rows[i].want)
            fail_msg("%s", rows[i].name);
    /* docs/method.md 11, vector 1 */
    assert_near((double)jl_counter_delta(4294967000, 704, 1ull << 32) * 0x1p-14, 0.06103515625, 1e-15);
}

static void lists_have_limits(void **state)
{
    struct sensor_list l = {.n = 0};
    struct sensor one = {.n_channels = 0};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(l.items); i++)
        assert_true(sensor_list_add(&l, &one));
    assert_false(sensor_list_add(&l, &one));
    assert_int_equal(l.n, JL_COUNT(l.items));
    for (size_t i = 0; i < JL_COUNT(l.problems) + 3; i++)
        sensor_list_problem(&l, "rapl", JOULET_IO, "problem %zu", i);
    assert_int_equal(l.n_problems, JL_COUNT(l.problems));
    assert_string_equal(l.problems[7].message, "problem 7");
    assert_int_equal(l.problems[7].status, JOULET_IO);
    l.n = 0;
    close_sensors(&l);
}

static void a_sensor_owns_its_strings(void **state)
{
    static const struct sensor_ops ops = {.name = "own"};
    struct sensor s = {.ops = &ops};
    char id[] = "cpu0.package", value[] = "7";
    struct joulet_channel c = SENSOR_CHANNEL_INIT;
    (void)state;
    c.id = id;
    assert_true(sensor_channel_add(&s, &c));
    assert_true(sensor_fact_add(&s, "cpu0", "k", "%s", value));
    assert_true(sensor_fact_add(&s, "cpu0", "nothing", "%s", ""));
    id[0] = value[0] = 'x';
    assert_string_equal(s.channels[0].id, "cpu0.package");
    assert_string_equal(s.channels[0].sensor, "own");
    assert_string_equal(s.channels[0].device, "");
    assert_string_equal(s.channels[0].parent, "");
    assert_true(isnan(s.channels[0].power_max_w));
    assert_near(s.channels[0].factor_hi, 1, 0);
    assert_int_equal(s.n_facts, 1);
    assert_string_equal(s.facts[0].value, "7");
    sensor_release(&s);
    assert_int_equal(s.n_channels, 0);
}

static void redirected_roots_are_simulated_unless_trusted(void **state)
{
    struct joulet_options trusting = JOULET_OPTIONS_INIT, plain = JOULET_OPTIONS_INIT;
    (void)state;
    trusting.trust_root = true;
    assert_int_equal(sensor_provenance(&plain, false), JOULET_MEASURED);
    assert_int_equal(sensor_provenance(&plain, true), JOULET_SIMULATED);
    assert_int_equal(sensor_provenance(NULL, true), JOULET_SIMULATED);
    assert_int_equal(sensor_provenance(&trusting, true), JOULET_MEASURED);
}

static void cpuinfo_gives_the_first_value(void **state)
{
    struct machine m;
    char text[256];
    (void)state;
    machine_open(&m, "amd");
    assert_true(jl_cpuinfo("model name", text, sizeof(text)));
    assert_string_equal(text, "AMD Ryzen 9 7950X 16-Core Processor");
    assert_true(jl_cpuinfo("siblings", text, sizeof(text)));
    assert_string_equal(text, "32");
    assert_false(jl_cpuinfo("model", text, sizeof(text)));
    assert_true(jl_cpuinfo("flags", text, 4));
    assert_string_equal(text, "fpu");
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counters_restart),
        cmocka_unit_test(lists_have_limits),
        cmocka_unit_test(a_sensor_owns_its_strings),
        cmocka_unit_test(redirected_roots_are_simulated_unless_trusted),
        cmocka_unit_test(cpuinfo_gives_the_first_value),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
