/* Every row of the table against the contract of sensor.h: ok, failed, or skipped where this build cannot show a device.
 * A new source is covered by its row alone; if it needs a fixture to show a device, name it in prepare(). */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 32

struct bench {
    struct machine machine;
    struct joulet_options opt;
    char *replay;
    struct sensor_list list;
};

/* A machine on which every source that can be faked finds a device. */
static void prepare(struct bench *b)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    memset(b, 0, sizeof(*b));
    b->opt = opt;
    machine_open(&b->machine, "two-sockets");
    machine_write(&b->machine, "trace.csv",
                  "t_s,channel,quantity,value\n0,cpu0.package,energy,7\n0,gpu0.temperature,temperature,40000\n"
                  "3600,cpu0.package,energy,9\n3600,gpu0.temperature,temperature,40000\n");
    b->replay = jl_strf("%s/trace.csv", b->machine.dir);
    b->opt.replay = b->replay;
    b->opt.sim = "0:60,2:300|45;group=gpu;kind=power;window=1s";
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_GPUS", "2", 1);
    setenv("JOULET_POWERMETRICS", POWERMETRICS, 1);
}

static void clean(struct bench *b)
{
    close_sensors(&b->list);
    machine_close(&b->machine);
    free(b->replay);
    unsetenv("JOULET_NVML");
    unsetenv("JOULET_POWERMETRICS");
}

/* Opens the row's devices; skips the check when there are none. */
static void open_row(struct bench *b, const struct sensor_ops *ops)
{
    struct joulet_error err;
    prepare(b);
    enum joulet_status status = ops->discover(&b->list, &b->opt, &err);
    if (status != JOULET_OK)
        fail_msg("%s: %s", ops->name, err.message);
    if (b->list.n == 0) {
        clean(b);
        skip();
    }
}

/* ---- checks ----------------------------------------------------------------------------------------------------------- */

static void check_row(void **state)
{
    const struct sensor_ops *ops = *state;
    assert_true(ops->name && *ops->name && strlen(ops->name) < 16);
    assert_int_equal(strspn(ops->name, "abcdefghijklmnopqrstuvwxyz0123456789_"), strlen(ops->name));
    assert_true(ops->summary && *ops->summary && !strchr(ops->summary, '\n'));
    assert_true(ops->poll_ns >= 50000);
    assert_non_null(ops->discover);
    assert_non_null(ops->read);
    assert_non_null(ops->close);
    assert_true(!ops->lockable || ops->read_one);
    for (size_t i = 0, same = 0; sensor_table[i]; i++) {
        same += strcmp(sensor_table[i]->name, ops->name) == 0;
        assert_true(same <= 1);
    }
}

static bool absolute(double v)
{
    return isfinite(v) && v >= 0;
}

static bool has_id(const struct sensor_list *l, const char *id)
{
    for (size_t i = 0; i < l->n; i++)
        for (size_t k = 0; k < l->items[i]->n_channels; k++)
            if (strcmp(l->items[i]->channels[k].id, id) == 0)
                return true;
    return false;
}

static void check_channel(const struct sensor_list *l, const struct sensor_ops *ops, const struct joulet_channel *c)
{
    bool figure = c->quantity <= JOULET_POWER;
    assert_true(c->id && *c->id && c->device && c->parent);
    assert_string_equal(c->sensor, ops->name);
    assert_true(c->quantity <= JOULET_THROTTLE && c->group < JOULET_GROUP_COUNT && c->provenance <= JOULET_SIMULATED);
    assert_true(figure || !c->in_total);
    assert_true(!*c->parent || has_id(l, c->parent));
    assert_true(absolute(c->period_s) && absolute(c->window_s) && absolute(c->quantum_j) && absolute(c->u_lag_s) &&
                absolute(c->rise_s));
    assert_true(absolute(c->lag_max_s) && absolute(c->spec) && isfinite(c->lag_s) && c->spec <= 1);
    assert_true(!figure || c->period_s > 0);
    assert_true(c->quantity != JOULET_ENERGY || (c->window_s == 0 && c->quantum_j > 0));
    assert_true(c->contiguous == (c->quantity == JOULET_POWER && c->window_s == c->period_s));
    assert_true(isnan(c->power_min_w) || c->power_min_w >= 0);
    assert_true(isnan(c->power_max_w) || c->power_max_w > 0);
    assert_true(c->factor_lo > 0 && c->factor_lo <= 1 && c->factor_hi >= 1);
}

static void check_description(void **state)
{
    const struct sensor_ops *ops = *state;
    struct bench b;
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++) {
        const struct sensor *s = b.list.items[i];
        assert_string_equal(s->ops->name, ops->name);
        assert_true(s->n_channels > 0 && s->n_channels <= JL_CHANNELS_MAX);
        for (size_t k = 0; k < s->n_channels; k++)
            check_channel(&b.list, ops, &s->channels[k]);
        for (size_t k = 0; k < s->n_facts; k++)
            assert_true(*s->facts[k].device && *s->facts[k].key && *s->facts[k].value);
    }
    clean(&b);
}

/* Ids are kept in records: two channels may not share one, and they are the same at the next start. */
static void check_ids(void **state)
{
    const struct sensor_ops *ops = *state;
    struct bench b;
    size_t n = 0, same = 0;
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++)
        for (size_t k = 0; k < b.list.items[i]->n_channels; k++, n++)
            for (size_t j = 0; j < b.list.n; j++)
                for (size_t q = 0; q < b.list.items[j]->n_channels; q++)
                    same += strcmp(b.list.items[i]->channels[k].id, b.list.items[j]->channels[q].id) == 0;
    assert_int_equal(same, n);
    struct sensor_list again = {.n = 0};
    assert_int_equal(ops->discover(&again, &b.opt, NULL), JOULET_OK);
    assert_int_equal(again.n, b.list.n);
    for (size_t i = 0; i < again.n; i++)
        assert_string_equal(again.items[i]->channels[0].id, b.list.items[i]->channels[0].id);
    close_sensors(&again);
    clean(&b);
}

/* Figures read below a redirected root are this machine's only when the caller says so. */
static void check_provenance(void **state)
{
    const struct sensor_ops *ops = *state;
    struct bench b;
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++)
        for (size_t k = 0; k < b.list.items[i]->n_channels; k++)
            assert_int_equal(b.list.items[i]->channels[k].provenance, JOULET_SIMULATED);
    clean(&b);
}

static void check_reading(const struct joulet_channel *c, const struct sensor_reading *r, int64_t *last, bool first)
{
    assert_true(r->status >= JOULET_OK && r->status < JOULET_STATUS_COUNT);
    assert_true(r->status == JOULET_OK || !r->has);
    assert_true(!r->reset || c->quantity == JOULET_ENERGY);
    if (!r->has)
        return;
    assert_true(r->value >= 0);
    assert_true(r->t_ns >= 0 && r->t_ns <= jl_mono_ns());
    if (c->quantity != JOULET_ENERGY)
        return;
    assert_true(!first || r->value == 0); /* since the first reading */
    assert_true(r->reset || r->value >= *last);
    *last = r->value;
}

static void check_readings(void **state)
{
    const struct sensor_ops *ops = *state;
    struct sensor_reading r[JL_CHANNELS_MAX];
    struct bench b;
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++) {
        struct sensor *s = b.list.items[i];
        int64_t last[JL_CHANNELS_MAX] = {0};
        for (int k = 0; k < 50; k++) {
            memset(r, 0xa5, sizeof(r)); /* every field of every channel is written */
            ops->read(s, r, k % 2 == 0);
            for (size_t c = 0; c < s->n_channels; c++) {
                bool gauge = s->channels[c].quantity > JOULET_POWER;
                if (!gauge || k % 2 == 0)
                    check_reading(&s->channels[c], &r[c], &last[c], k == 0);
            }
        }
    }
    clean(&b);
}

static void check_single_reads(void **state)
{
    const struct sensor_ops *ops = *state;
    struct sensor_reading all[JL_CHANNELS_MAX], one;
    struct bench b;
    if (!ops->read_one)
        skip();
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++) {
        struct sensor *s = b.list.items[i];
        ops->read(s, all, true);
        for (size_t c = 0; c < s->n_channels; c++) {
            memset(&one, 0xa5, sizeof(one));
            ops->read_one(s, c, &one);
            assert_int_equal(one.status, JOULET_OK);
            assert_true(one.has);
            assert_true(s->channels[c].quantity != JOULET_ENERGY || one.value >= all[c].value);
        }
    }
    clean(&b);
}

static void check_processes(void **state)
{
    const struct sensor_ops *ops = *state;
    struct joulet_process p[4];
    struct bench b;
    if (!ops->processes)
        skip();
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++) {
        size_t n = ops->processes(b.list.items[i], p, 4);
        assert_int_equal(ops->processes(b.list.items[i], NULL, 0), n);
        for (size_t k = 0; k < n && k < 4; k++)
            assert_true(p[k].pid > 0 && p[k].device && *p[k].device);
    }
    clean(&b);
}

/* Without its device a source says nothing, or what is missing: never an error of the whole, never a sensor. */
static void check_absence(void **state)
{
    const struct sensor_ops *ops = *state;
    struct joulet_options none = JOULET_OPTIONS_INIT;
    struct sensor_list l = {.n = 0};
    struct joulet_error err = {.status = JOULET_OK};
    setenv("JOULET_SYSFS", "/nonexistent/sys", 1);
    setenv("JOULET_PROCFS", "/nonexistent/proc", 1);
    setenv("JOULET_NVML", "/nonexistent/lib.so", 1);
    enum joulet_status status = ops->discover(&l, &none, &err);
    unsetenv("JOULET_SYSFS");
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_NVML");
    assert_int_equal(l.n, 0);
    assert_true(status == JOULET_OK || (ops->on_request && status == JOULET_USAGE));
    assert_true(status == JOULET_OK || strlen(err.message) > 20);
    for (size_t i = 0; i < l.n_problems; i++)
        assert_true(l.problems[i].status != JOULET_OK && strlen(l.problems[i].message) > 20);
    close_sensors(&l);
}

static void check_null_arguments(void **state)
{
    const struct sensor_ops *ops = *state;
    struct bench b;
    prepare(&b);
    ops->discover(&b.list, NULL, NULL);
    clean(&b);
}

/* ---- all rows --------------------------------------------------------------------------------------------------------- */

static const struct {
    const char *name;
    CMUnitTestFunction run;
} checks[] = {
    {"row", check_row},
    {"description", check_description},
    {"ids", check_ids},
    {"provenance", check_provenance},
    {"readings", check_readings},
    {"single reads", check_single_reads},
    {"processes", check_processes},
    {"absence", check_absence},
    {"null arguments", check_null_arguments},
};

int main(void)
{
    static struct CMUnitTest tests[ROWS_MAX * JL_COUNT(checks)];
    size_t n = 0;
    for (size_t i = 0; sensor_table[i]; i++)
        for (size_t k = 0; k < JL_COUNT(checks) && n < JL_COUNT(tests); k++)
            tests[n++] = (struct CMUnitTest){.name = jl_strf("%s: %s", sensor_table[i]->name, checks[k].name),
                                             .test_func = checks[k].run,
                                             .initial_state = (void *)(uintptr_t)sensor_table[i]};
    int failed = _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
    for (size_t i = 0; i < n; i++)
        free((char *)tests[i].name);
    return failed;
}
