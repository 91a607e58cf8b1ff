/* The estimate: which part it is, its power, and the counter made of busy time. */
#include "lib/sensors/tdp.c"

#include "tests/base/test.h"
#include "tests/sensors/machine.h"

static void names_of_processors(void **state)
{
    static const struct {
        const char *cpu;
        double tdp; /* NAN: not in the list */
    } rows[] = {
        {"Intel(R) Core(TM) i7-8700 CPU @ 3.20GHz", 65},
        {"Intel(R) Core(TM) i7-8700K CPU @ 3.70GHz", 95},
        {"12th Gen Intel(R) Core(TM) i7-12700K", 190},
        {"Intel(R) Xeon(R) Gold 6140 CPU @ 2.30GHz", 140}, /* not the Opteron 6140 */
        {"Intel(R) Xeon(R) CPU E5-2680 v4 @ 2.40GHz", 120},
        {"Intel(R) Xeon(R) CPU E5-2680 0 @ 2.70GHz", 130},
        {"Intel(R) Xeon(R) Platinum 8480+", 350},
        {"Intel(R) Core(TM) i7 CPU         920  @ 2.67GHz", 130},
        {"Intel(R) Core(TM)2 Duo CPU     E8400  @ 3.00GHz", 65},
        {"Intel(R) N100", 6},
        {"AMD Ryzen 9 7950X 16-Core Processor", 170},
        {"AMD Ryzen 7 PRO 5850U with Radeon Graphics", 15},
        {"AMD EPYC 9654 96-Core Processor", 360},
        {"AMD Phenom(tm) II X6 1075T Processor", 125},
        {"AMD Opteron(tm) Processor 6276", 115},
        {"Apple M1", 10},
        {"Intel(R) Xeon(R) Processor", NAN},
        {"AMD EPYC-Rome Processor", NAN},
        {"QEMU Virtual CPU version 2.5+", NAN},
        {"AMD EPYC 4240 Processor", NAN}, /* 4240 alone is an Opteron */
        {"", NAN},
        {"@", NAN},
        {"(((((((((((((((((((((((((((((((((((", NAN},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double tdp = jl_cpu_tdp(rows[i].cpu);
        if (!(tdp == rows[i].tdp || (isnan(tdp) && isnan(rows[i].tdp))))
            fail_msg("%s: %g W, want %g W", rows[i].cpu, tdp, rows[i].tdp);
    }
}

static void rows_of_the_list(void **state)
{
    static const char csv[] = "cpu_name,tdp_w\nAMD X,50\nAMD X 5,60\n\"AMD X, 5 (6 MB)\",70\nbad\nAMD Y,zero\nAMD Z,-3\n";
    char row[64] = "";
    (void)state;
    assert_near(cpu_tdp_find(csv, strlen(csv), "AMD X 5 Processor", row, sizeof(row)), 60, 0); /* the first of equals */
    assert_string_equal(row, "AMD X 5");
    assert_near(cpu_tdp_find(csv, strlen(csv), "AMD(R) X", NULL, 0), 50, 0);
    assert_true(isnan(cpu_tdp_find(csv, strlen(csv), "AMD Y", NULL, 0)));
    assert_true(isnan(cpu_tdp_find(csv, strlen(csv), "AMD Z", NULL, 0)));
    assert_true(isnan(cpu_tdp_find("", 0, "AMD X", NULL, 0)));
}

/* docs/method.md 11, vector 16, and what the machines give. */
static void parts_and_shares(void **state)
{
    static const struct {
        const char *machine;
        double tdp_w, full_w;
        bool guessed;
        const char *from;
    } rows[] = {
        {"workstation", 32.5, 0.85 * 32.5, false, "Intel Core i7-8700, 65 W, 6 of 12 threads"},
        {"virtual", 6, 0.85 * 6, true, "virtual machine"},
        {"amd", 21.25, 0.85 * 21.25, false, "4 of 32"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct machine m;
        struct sensor_list l;
        machine_open(&m, rows[i].machine);
        assert_int_equal(open_sensors(&l, "tdp", NULL, NULL), JOULET_OK);
        const struct tdp *t = jl_container_of(l.items[0], struct tdp, base);
        const struct joulet_channel *c = find_channel(&l, "cpu0.estimate");
        assert_near(t->model.tdp_w, rows[i].tdp_w, 1e-9);
        assert_near(c->power_max_w, rows[i].full_w, 1e-9);
        assert_near(c->factor_lo, rows[i].guessed ? 0.4 : 0.625, 1e-12);
        assert_near(c->factor_hi, rows[i].guessed ? 2.5 : 1 / 0.7, 1e-12);
        assert_int_equal(c->provenance, JOULET_SIMULATED); /* procfs is redirected */
        assert_non_null(strstr(find_fact(&l, "cpu0", "tdp_from"), rows[i].from));
        close_sensors(&l);
        machine_close(&m);
    }
}

static void two_sockets_are_two_parts(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "workstation");
    machine_write(&m, "proc/cpuinfo", "model name : Intel(R) Xeon(R) Gold 6230 CPU @ 2.10GHz\nsiblings : 3\nflags : fpu\n");
    assert_int_equal(open_sensors(&l, "tdp", NULL, NULL), JOULET_OK);
    assert_near(jl_container_of(l.items[0], struct tdp, base)->model.tdp_w, 250, 1e-9); /* 6 threads seen: both sockets */
    close_sensors(&l);
    machine_write(&m, "proc/cpuinfo", "Processor : something else\n");
    assert_int_equal(open_sensors(&l, "tdp", NULL, NULL), JOULET_OK);
    assert_near(jl_container_of(l.items[0], struct tdp, base)->model.tdp_w, 18, 1e-9);
    assert_non_null(strstr(find_fact(&l, "cpu0", "tdp_from"), "not in the list"));
    close_sensors(&l);
    machine_close(&m);
}

static void trusted_it_is_an_estimate(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct machine m;
    struct sensor_list l;
    (void)state;
    opt.trust_root = true;
    machine_open(&m, "workstation");
    assert_int_equal(open_sensors(&l, "tdp", &opt, NULL), JOULET_OK);
    assert_int_equal(find_channel(&l, "cpu0.estimate")->provenance, JOULET_ESTIMATED);
    close_sensors(&l);
    machine_close(&m);
}

/* TDP 27.5 W, exponent 0.6 */
#define FULL_W 23.375
#define HALF_W 17.171463991583398
#define IDLE_W 5.1425

static void busy_time_becomes_energy(void **state)
{
    static const struct {
        double busy_s, total_s, want_j; /* a second later by the clock */
        bool moves;
    } rows[] = {
        {0, 6, IDLE_W, true},
        {6, 12, IDLE_W + FULL_W, true},
        {6, 12, IDLE_W + FULL_W, false},                      /* no tick since: no update */
        {9, 18, IDLE_W + FULL_W + 2 * HALF_W, true},          /* over the two seconds since the last one */
        {20, 24, IDLE_W + 2 * FULL_W + 2 * HALF_W, true},     /* more than is possible counts as all */
        {19, 30, 2 * IDLE_W + 2 * FULL_W + 2 * HALF_W, true}, /* procfs went back: idle */
    };
    struct tdp t = {.started = true};
    (void)state;
    jl_estimate_for(&t.model, 27.5, 6, 6, false);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int64_t now = (int64_t)(i + 1) * JL_NS_PER_S;
        assert_int_equal(add_span(&t, rows[i].busy_s, rows[i].total_s, now), rows[i].moves);
        assert_near(t.energy_j, rows[i].want_j, 1e-9);
        if (!rows[i].moves)
            continue;
        t.busy_s = rows[i].busy_s;
        t.total_s = rows[i].total_s;
        t.last_ns = now;
    }
}

static void reading(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "workstation");
    assert_int_equal(open_sensors(&l, "tdp", NULL, NULL), JOULET_OK);
    struct tdp *t = jl_container_of(l.items[0], struct tdp, base);
    struct sensor_reading r = read_channel(&l, "cpu0.estimate");
    assert_true(r.has);
    assert_int_equal(r.value, 0);
    assert_true(r.t_ns > 0);
    machine_write(&m, "proc/stat", "cpu  600100 0 0 5400000 0 0 0 0 0 0\n");
    int64_t before = t->last_ns -= JL_NS_PER_S; /* as if a second had passed */
    r = read_channel(&l, "cpu0.estimate");
    assert_true(r.has);
    assert_near((double)r.value * 1e-6, 0.85 * 32.5 * jl_s(r.t_ns - before), 1e-5);
    t->last_ns -= JL_NS_PER_S;
    machine_remove(&m, "proc/stat");
    assert_int_equal(read_channel(&l, "cpu0.estimate").status, JOULET_IO);
    close_sensors(&l);
    assert_int_equal(open_sensors(&l, "tdp", NULL, NULL), JOULET_OK); /* now not even an estimate */
    assert_int_equal(l.n, 0);
    assert_int_equal(l.problems[0].status, JOULET_NO_SENSOR);
    close_sensors(&l);
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_of_processors),
        cmocka_unit_test(rows_of_the_list),
        cmocka_unit_test(parts_and_shares),
        cmocka_unit_test(two_sockets_are_two_parts),
        cmocka_unit_test(trusted_it_is_an_estimate),
        cmocka_unit_test(busy_time_becomes_energy),
        cmocka_unit_test(reading),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
