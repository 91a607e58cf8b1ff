/* NVIDIA boards through the stand-in library, whose clock the test sets: what is found, what is read, what goes wrong. */
#include "lib/sensors/nvml_api.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

/* Variables of one case, "NAME=VALUE"; all are cleared after it. */
static void set(const char *const *env)
{
    for (; *env; env++) {
        char *copy = jl_strdup(*env), *value = strchr(copy, '=');
        *value++ = '\0';
        setenv(copy, value, 1);
        free(copy);
    }
}

static int fresh(void **state)
{
    static const char *const names[] = {"GPUS",      "CURVE",      "FOLLOW",      "NOW",      "PERIOD_MS", "NO_83",
                                        "NO_ENERGY", "NO_185",     "NO_186",      "NO_POWER", "MODULE",    "VALUE_TYPE",
                                        "INIT_CODE", "COUNT_CODE", "HANDLE_CODE", "LOST_S",   "FAIL",      "RESET_S",
                                        "FROZEN",    "MIG",        "PROCESSES",   "WDDM",     "ARCH",      "CC",
                                        "NAME",      "DRIVER",     "REASONS",     "LIMIT_W",  "STEP_W"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        char *name = jl_strf("FAKE_NVML_%s", names[i]);
        unsetenv(name);
        free(name);
    }
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_NOW", "0", 1);
    return 0;
}

static void at(const char *now_s)
{
    setenv("FAKE_NVML_NOW", now_s, 1);
}

static void open_with(struct sensor_list *l, const char *const *env)
{
    set(env);
    assert_int_equal(open_sensors(l, "nvml", NULL, NULL), JOULET_OK);
}
#define OPEN(l, ...) open_with(l, (const char *const[]){__VA_ARGS__, NULL})
#define PLAIN        "FAKE_NVML_GPUS=1"

static bool has_channel(struct sensor_list *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->items[i]->n_channels; k++)
            if (strcmp(l->items[i]->channels[k].id, id) == 0)
                return true;
    return false;
}

/* ---- what is found ------------------------------------------------------------------------------------------------ */

static void a_current_board(void **state)
{
    static const struct {
        const char *id;
        enum joulet_quantity quantity;
        int64_t value;
    } rows[] = {
        {"gpu0.board", JOULET_ENERGY, 0},
        {"gpu0.power", JOULET_POWER, 60000000},
        {"gpu0.power_average", JOULET_POWER, 60000000},
        {"gpu0.temperature", JOULET_TEMPERATURE, 45000},
        {"gpu0.clock_graphics", JOULET_CLOCK, 1980000000},
        {"gpu0.clock_sm", JOULET_CLOCK, 1965000000},
        {"gpu0.clock_memory", JOULET_CLOCK, 2619000000},
        {"gpu0.utilisation", JOULET_UTILISATION, 970000},
        {"gpu0.memory", JOULET_MEMORY_USED, 21474836480},
        {"gpu0.power_limit", JOULET_POWER_LIMIT, 700000000},
        {"gpu0.throttle", JOULET_THROTTLE, 0},
    };
    struct sensor_list l;
    struct sensor_reading r[JL_COUNT(rows)];
    (void)state;
    OPEN(&l, PLAIN);
    assert_int_equal(l.n, 1);
    assert_int_equal(l.items[0]->n_channels, JL_COUNT(rows));
    l.items[0]->ops->read(l.items[0], r, true);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct joulet_channel *c = &l.items[0]->channels[i];
        assert_string_equal(c->id, rows[i].id);
        assert_int_equal(c->quantity, rows[i].quantity);
        assert_int_equal(c->provenance, JOULET_SIMULATED);
        assert_int_equal(c->in_total, i == 0);
        assert_true(r[i].has);
        assert_int_equal(r[i].value, rows[i].value);
    }
    const struct joulet_channel *board = find_channel(&l, "gpu0.board");
    assert_near(board->power_max_w, 735, 1e-9);
    assert_near(board->lag_s, 0.025, 0);
    assert_near(board->lag_max_s, 0.05, 0);
    assert_near(board->u_lag_s, 0.014, 0);
    assert_near(find_channel(&l, "gpu0.power")->window_s, 0.025, 0);
    assert_string_equal(find_channel(&l, "gpu0.power")->parent, "gpu0.board");
    assert_string_equal(find_fact(&l, "gpu0", "driver"), "550.54.14");
    assert_string_equal(find_fact(&l, "gpu0", "architecture"), "hopper");
    assert_string_equal(find_fact(&l, "gpu0", "power_limit_w"), "700");
    assert_non_null(find_fact(&l, "gpu0", "uuid"));
    l.items[0]->ops->read(l.items[0], r, false);
    assert_true(r[0].has && r[1].has && r[2].has);
    for (size_t i = 3; i < JL_COUNT(rows); i++)
        assert_false(r[i].has);
    close_sensors(&l);
}

static void every_board(void **state)
{
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_GPUS=8", "FAKE_NVML_STEP_W=10");
    assert_int_equal(l.n, 8);
    assert_int_equal(read_channel(&l, "gpu0.power").value, 60000000);
    assert_int_equal(read_channel(&l, "gpu7.power").value, 130000000);
    close_sensors(&l);
}

static void fallbacks(void **state)
{
    static const struct {
        const char *env[3], *id; /* the channel that is counted */
        const char *has, *lacks;
    } rows[] = {
        {{"FAKE_NVML_NO_83=1"}, "gpu0.board", "gpu0.power", ""},
        {{"FAKE_NVML_NO_ENERGY=1"}, "gpu0.power", "gpu0.power_average", "gpu0.board"},
        {{"FAKE_NVML_NO_ENERGY=1", "FAKE_NVML_NO_186=1"}, "gpu0.power_average", "", "gpu0.power"},
        {{"FAKE_NVML_NO_ENERGY=1", "FAKE_NVML_NO_185=1"}, "gpu0.power", "gpu0.power_average", ""}, /* by the older call */
        {{"FAKE_NVML_NO_185=1", "FAKE_NVML_ARCH=6"}, "gpu0.board", "gpu0.power", "gpu0.power_average"},
        {{"FAKE_NVML_MODULE=1"}, "gpu0.module", "", "gpu0.board"},
    };
    struct sensor_list l;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        fresh(NULL);
        open_with(&l, rows[i].env);
        assert_int_equal(l.n, 1);
        for (size_t k = 0; k < l.items[0]->n_channels; k++) {
            const struct joulet_channel *c = &l.items[0]->channels[k];
            if (c->in_total != (strcmp(c->id, rows[i].id) == 0))
                fail_msg("row %zu: %s", i, c->id);
        }
        assert_true(!*rows[i].has || has_channel(&l, rows[i].has));
        assert_false(*rows[i].lacks && has_channel(&l, rows[i].lacks));
        assert_true(read_channel(&l, rows[i].id).has);
        close_sensors(&l);
    }
}

static void an_old_library(void **state)
{
    struct joulet_process p[4];
    struct sensor_list l;
    (void)state;
    setenv("JOULET_NVML", FAKE_NVML_OLD, 1);
    OPEN(&l, "FAKE_NVML_ARCH=6", "FAKE_NVML_PROCESSES=11:100,12:200");
    assert_true(find_channel(&l, "gpu0.board")->in_total);
    assert_true(has_channel(&l, "gpu0.power"));
    assert_true(has_channel(&l, "gpu0.throttle"));
    assert_false(has_channel(&l, "gpu0.power_average"));
    assert_int_equal(l.items[0]->ops->processes(l.items[0], p, 4), 2); /* shorter records */
    assert_int_equal(p[1].pid, 12);
    assert_int_equal(p[1].memory_bytes, 200);
    close_sensors(&l);
}

static void types_of_values(void **state)
{
    static const char *const types[] = {"double", "u32", "u64", "ulong", "s64", "s32"};
    struct sensor_list l;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(types); i++) {
        char *type = jl_strf("FAKE_NVML_VALUE_TYPE=%s", types[i]);
        fresh(NULL);
        OPEN(&l, type, "FAKE_NVML_CURVE=250");
        read_channel(&l, "gpu0.board");
        at("2");
        assert_int_equal(read_channel(&l, "gpu0.board").value, 500000000);
        assert_int_equal(read_channel(&l, "gpu0.power").value, 250000000);
        close_sensors(&l);
        free(type);
    }
    fresh(NULL);
    OPEN(&l, "FAKE_NVML_VALUE_TYPE=unknown", PLAIN); /* fields are not believed, the older calls are */
    assert_true(find_channel(&l, "gpu0.board")->in_total);
    close_sensors(&l);
}

static void values_that_mean_not_available(void **state)
{
    struct nvml_field_value f = {.value_type = NVML_UINT};
    int64_t v;
    (void)state;
    f.value.ull = UINT64_MAX;
    for (int type = NVML_UINT; type <= NVML_USHORT; type++) {
        f.value_type = type;
        assert_false(nvml_value(&f, &v));
    }
    f.value_type = NVML_DOUBLE;
    f.value.d = NAN;
    assert_false(nvml_value(&f, &v));
    f.value.d = 1e300;
    assert_false(nvml_value(&f, &v));
    f.value.d = 1234.6;
    assert_true(nvml_value(&f, &v));
    assert_int_equal(v, 1235);
}

static void timing_of_architectures(void **state)
{
    static const struct {
        const char *name;
        unsigned arch;
        int major, minor, driver;
        double period, instant, average;
        bool usage_is_average;
    } rows[] = {
        {"NVIDIA H100 80GB HBM3", 9, 9, 0, 550, 0.1, 0.025, 1, true},
        {"NVIDIA GH200 480GB", 9, 9, 0, 550, 0.1, 0.02, 1, true},
        {"NVIDIA A100-SXM4-80GB", 7, 8, 0, 550, 0.1, 0.025, 1, false},
        {"NVIDIA GeForce RTX 3090", 7, 8, 6, 550, 0.1, 0.1, 1, true},
        {"NVIDIA GeForce RTX 3090", 7, 8, 6, 530, 0.1, 0.1, 0.1, true},
        {"NVIDIA GeForce RTX 4090", 8, 8, 9, 550, 0.1, 0.1, 1, true},
        {"Tesla T4", 6, 7, 5, 550, 0.1, 0.1, 1, false},
        {"Tesla V100-SXM2-32GB", 5, 7, 0, 550, 0.02, 0.01, 1, false},
        {"NVIDIA GeForce GTX 1080 Ti", 4, 6, 1, 550, 0.02, 0.01, 1, false},
        {"NVIDIA B200", 10, 10, 0, 570, 0.1, 0.025, 1, true},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct nvml_timing t = nvml_timing_of(rows[i].arch, rows[i].major, rows[i].minor, rows[i].name, rows[i].driver);
        assert_near(t.power_period_s, rows[i].period, 0);
        assert_near(t.instant_s, rows[i].instant, 0);
        assert_near(t.average_s, rows[i].average, 0);
        assert_int_equal(t.usage_is_average, rows[i].usage_is_average);
    }
    assert_string_equal(nvml_architecture_name(8), "ada");
    assert_string_equal(nvml_architecture_name(UINT32_MAX), "");
    assert_string_equal(nvml_architecture_name(11), "");
}

/* Only where window and period are one is a power reading as good as a counter. */
static void contiguous_power(void **state)
{
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_ARCH=8", "FAKE_NVML_CC=8.9", "FAKE_NVML_NAME=NVIDIA GeForce RTX 4090");
    assert_true(find_channel(&l, "gpu0.power")->contiguous);
    assert_false(find_channel(&l, "gpu0.power_average")->contiguous);
    close_sensors(&l);
}

/* ---- what is read ------------------------------------------------------------------------------------------------- */

static void a_known_curve(void **state)
{
    static const struct {
        const char *now;
        double board_j, instant_w, average_w;
    } rows[] = {
        /* 60 W, from 1 s on 300 W; new values every 100 ms */
        {"0.05", 0, 60, 60},   {"0.15", 6, 60, 60},     {"0.999", 54, 60, 60},  {"1.05", 60, 60, 60},
        {"1.15", 90, 300, 84}, {"1.55", 210, 300, 180}, {"2.5", 510, 300, 300},
    };
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_CURVE=0:60,1:300");
    read_channel(&l, "gpu0.board");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        at(rows[i].now);
        assert_near((double)read_channel(&l, "gpu0.board").value * 1e-6, rows[i].board_j, 1e-9);
        assert_near((double)read_channel(&l, "gpu0.power").value * 1e-6, rows[i].instant_w, 1e-9);
        assert_near((double)read_channel(&l, "gpu0.power_average").value * 1e-6, rows[i].average_w, 1e-9);
    }
    close_sensors(&l);
}

static void throttle_reasons(void **state)
{
    static const struct {
        const char *bits;
        int64_t want;
    } rows[] = {
        {"0x0", 0},
        {"0x1", 0}, /* idle */
        {"0x4", JOULET_THROTTLE_POWER_CAP},
        {"0x20", JOULET_THROTTLE_THERMAL},
        {"0x48", JOULET_THROTTLE_THERMAL}, /* hardware slowdown, for heat */
        {"0x88", JOULET_THROTTLE_POWER_BRAKE},
        {"0x8", JOULET_THROTTLE_HW_SLOWDOWN},
        {"0x24", JOULET_THROTTLE_POWER_CAP | JOULET_THROTTLE_THERMAL},
    };
    struct sensor_list l;
    (void)state;
    OPEN(&l, PLAIN);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        setenv("FAKE_NVML_REASONS", rows[i].bits, 1);
        assert_int_equal(read_channel(&l, "gpu0.throttle").value, rows[i].want);
    }
    close_sensors(&l);
}

static void processes(void **state)
{
    struct joulet_process p[8];
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_PROCESSES=11:100,12:200,13:300");
    const struct sensor_ops *ops = l.items[0]->ops;
    assert_int_equal(ops->processes(l.items[0], p, 8), 3);
    assert_int_equal(p[2].pid, 13);
    assert_int_equal(p[2].memory_bytes, 300);
    assert_string_equal(p[2].device, "gpu0");
    assert_int_equal(ops->processes(l.items[0], p, 2), 3); /* says how many there are */
    setenv("FAKE_NVML_WDDM", "1", 1);
    assert_int_equal(ops->processes(l.items[0], p, 8), 3);
    assert_true(p[0].memory_bytes == UINT64_MAX);
    close_sensors(&l);
}

static void a_board_cut_into_instances(void **state)
{
    struct joulet_process p[8];
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_MIG=1");
    assert_string_equal(find_fact(&l, "gpu0", "mig"), "on");
    assert_false(has_channel(&l, "gpu0.utilisation"));
    assert_true(find_channel(&l, "gpu0.board")->in_total);
    assert_int_equal(l.items[0]->ops->processes(l.items[0], p, 8), 3);
    assert_int_equal(p[0].pid, 4711);
    assert_int_equal(p[1].pid, 5711);
    assert_int_equal(p[2].pid, 6711);
    assert_non_null(strstr(find_channel(&l, "gpu0.board")->device, "all instances together"));
    close_sensors(&l);

    OPEN(&l, "FAKE_NVML_MIG=1", "FAKE_NVML_NO_POWER=1"); /* as in a container that holds one instance */
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "is cut into instances (MIG), of which none has a power of its own"));
    close_sensors(&l);

    fresh(NULL);
    OPEN(&l, "FAKE_NVML_NO_POWER=1"); /* no instances: nothing is said of them */
    assert_int_equal(l.n_problems, 1);
    assert_null(strstr(l.problems[0].message, "MIG"));
    close_sensors(&l);

    fresh(NULL);
    OPEN(&l, PLAIN);
    assert_null(strstr(find_channel(&l, "gpu0.board")->device, "instances"));
    assert_int_equal(l.n_problems, 0);
    close_sensors(&l);
}

/* ---- what goes wrong ---------------------------------------------------------------------------------------------- */

static void a_lost_board(void **state)
{
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_GPUS=2", "FAKE_NVML_LOST_S=5");
    at("4.9");
    assert_int_equal(read_channel(&l, "gpu1.board").status, JOULET_OK);
    at("5");
    assert_int_equal(read_channel(&l, "gpu1.board").status, JOULET_GONE);
    assert_false(read_channel(&l, "gpu1.board").has);
    assert_int_equal(read_channel(&l, "gpu0.temperature").status, JOULET_GONE);
    close_sensors(&l);
}

static void a_failed_read_spans_its_gap(void **state)
{
    struct sensor_list l;
    int failed = 0;
    (void)state;
    OPEN(&l, "FAKE_NVML_CURVE=100", "FAKE_NVML_FAIL=7"); /* discovery asks for three fields */
    for (int i = 0; i <= 20; i++) {
        char now[16];
        snprintf(now, sizeof(now), "%d", i);
        at(now);
        struct sensor_reading r = read_channel(&l, "gpu0.board");
        failed += r.status == JOULET_IO;
        assert_true(r.status == JOULET_IO ? !r.has : r.value == i * 100000000LL && !r.reset);
    }
    assert_int_equal(failed, 3);
    close_sensors(&l);
}

static void a_counter_that_begins_again(void **state)
{
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    OPEN(&l, "FAKE_NVML_CURVE=100", "FAKE_NVML_RESET_S=3");
    read_channel(&l, "gpu0.board");
    at("2");
    assert_int_equal(read_channel(&l, "gpu0.board").value, 200000000);
    at("4");
    r = read_channel(&l, "gpu0.board");
    assert_true(r.reset);
    assert_int_equal(r.value, 200000000);
    at("5");
    r = read_channel(&l, "gpu0.board");
    assert_false(r.reset);
    assert_int_equal(r.value, 300000000);
    close_sensors(&l);
}

static void problems_say_what_helps(void **state)
{
    static const struct {
        const char *env, *library, *says;
        enum joulet_status status;
    } rows[] = {
        {"FAKE_NVML_INIT_CODE=18", FAKE_NVML, "different versions", JOULET_UNSUPPORTED},
        {"FAKE_NVML_INIT_CODE=9", FAKE_NVML, "modprobe nvidia", JOULET_NO_SENSOR},
        {"FAKE_NVML_INIT_CODE=4", FAKE_NVML, "/dev/nvidia", JOULET_PERMISSION},
        {"FAKE_NVML_INIT_CODE=999", FAKE_NVML, "error 999 (Unknown Error)", JOULET_IO},
        {"FAKE_NVML_COUNT_CODE=999", FAKE_NVML, "error 999", JOULET_IO},
        {"FAKE_NVML_HANDLE_CODE=15", FAKE_NVML, "GPU 0 cannot be opened: the GPU fell off the bus", JOULET_GONE},
        {"FAKE_NVML_NO_POWER=1", FAKE_NVML, "neither energy nor power", JOULET_UNSUPPORTED},
        {PLAIN, "/nonexistent/libnvidia-ml.so.1", "JOULET_NVML cannot be opened", JOULET_NOT_FOUND},
        {PLAIN, "libm.so.6", "has no function nvmlInit_v2", JOULET_UNSUPPORTED},
    };
    struct sensor_list l;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        fresh(NULL);
        setenv("JOULET_NVML", rows[i].library, 1);
        OPEN(&l, rows[i].env);
        assert_int_equal(l.n, 0);
        assert_int_equal(l.n_problems, 1);
        assert_int_equal(l.problems[0].status, rows[i].status);
        if (!strstr(l.problems[0].message, rows[i].says))
            fail_msg("row %zu: %s", i, l.problems[0].message);
        close_sensors(&l);
    }
}

static void no_board_is_no_problem(void **state)
{
    struct sensor_list l;
    (void)state;
    OPEN(&l, "FAKE_NVML_GPUS=0");
    assert_int_equal(l.n, 0);
    assert_int_equal(l.n_problems, 0);
    close_sensors(&l);
}

/* The driver is there, its library is not. */
static void a_driver_without_library(void **state)
{
    struct machine m;
    struct sensor_list l;
    void *real = jl_lib_open("libnvidia-ml.so.1", NULL);
    (void)state;
    jl_lib_close(real);
    if (real)
        skip();
    unsetenv("JOULET_NVML");
    machine_open(&m, "virtual");
    assert_int_equal(open_sensors(&l, "nvml", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n_problems, 0);
    close_sensors(&l);
    char *dir = jl_strf("%s/proc/driver/nvidia", m.dir);
    assert_int_equal(jl_make_dirs(dir, NULL), JOULET_OK);
    free(dir);
    machine_write(&m, "proc/driver/nvidia/version", "NVRM version: NVIDIA UNIX x86_64 Kernel Module  550.54.14\n");
    assert_int_equal(open_sensors(&l, "nvml", NULL, NULL), JOULET_OK);
    assert_int_equal(l.n_problems, 1);
    assert_non_null(strstr(l.problems[0].message, "libnvidia-ml.so.1 is not installed"));
    close_sensors(&l);
    machine_close(&m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_current_board, fresh),
        cmocka_unit_test_setup(every_board, fresh),
        cmocka_unit_test_setup(fallbacks, fresh),
        cmocka_unit_test_setup(an_old_library, fresh),
        cmocka_unit_test_setup(types_of_values, fresh),
        cmocka_unit_test_setup(values_that_mean_not_available, fresh),
        cmocka_unit_test_setup(timing_of_architectures, fresh),
        cmocka_unit_test_setup(contiguous_power, fresh),
        cmocka_unit_test_setup(a_known_curve, fresh),
        cmocka_unit_test_setup(throttle_reasons, fresh),
        cmocka_unit_test_setup(processes, fresh),
        cmocka_unit_test_setup(a_board_cut_into_instances, fresh),
        cmocka_unit_test_setup(a_lost_board, fresh),
        cmocka_unit_test_setup(a_failed_read_spans_its_gap, fresh),
        cmocka_unit_test_setup(a_counter_that_begins_again, fresh),
        cmocka_unit_test_setup(problems_say_what_helps, fresh),
        cmocka_unit_test_setup(no_board_is_no_problem, fresh),
        cmocka_unit_test_setup(a_driver_without_library, fresh),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
