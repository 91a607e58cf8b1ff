/* Every row of the table against the contract of sensor.h: ok, failed, or skipped where this build cannot show a device.
 * A new source is covered by its row alone; if it needs a fixture to show a device, name it in prepare(). */
#include "lib/sensors/sysfile.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/rows.h"
#include "tests/sensors/stand_in.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ROWS_MAX 32

static struct {
    size_t begun, done, skipped;
} tally;

static void skip_it(void)
{
    tally.skipped++;
    skip();
}

/* Opens the row's devices; skips the check when there are none. */
static void open_row(struct bench *b, const struct sensor_ops *ops)
{
    struct joulet_error err;
    rows_prepare(b, ops->name);
    enum joulet_status status = ops->discover(&b->list, &b->opt, &err);
    if (status != JOULET_OK)
        fail_msg("%s: %s", ops->name, err.message);
    if (b->list.n == 0) {
        rows_clean(b);
        skip_it();
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
    rows_clean(&b);
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
    rows_clean(&b);
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
    rows_clean(&b);
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
    rows_clean(&b);
}

static void check_single_reads(void **state)
{
    const struct sensor_ops *ops = *state;
    struct sensor_reading all[JL_CHANNELS_MAX], one;
    struct bench b;
    if (!ops->read_one)
        skip_it();
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
    rows_clean(&b);
}

static void check_processes(void **state)
{
    const struct sensor_ops *ops = *state;
    struct joulet_process p[4];
    struct bench b;
    if (!ops->processes)
        skip_it();
    open_row(&b, ops);
    for (size_t i = 0; i < b.list.n; i++) {
        size_t n = ops->processes(b.list.items[i], p, 4);
        assert_int_equal(ops->processes(b.list.items[i], NULL, 0), n);
        for (size_t k = 0; k < n && k < 4; k++)
            assert_true(p[k].pid > 0 && p[k].device && *p[k].device);
    }
    rows_clean(&b);
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
    setenv("JOULET_DEVFS", "/nonexistent/dev", 1);
    setenv("JOULET_NVML", "/nonexistent/lib.so", 1);
    enum joulet_status status = ops->discover(&l, &none, &err);
    unsetenv("JOULET_SYSFS");
    unsetenv("JOULET_PROCFS");
    unsetenv("JOULET_DEVFS");
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
    rows_prepare(&b, ops->name);
    ops->discover(&b.list, NULL, NULL);
    rows_clean(&b);
}

static void read_all(struct sensor_list *l, struct sensor_reading r[JL_CHANNELS_MAX])
{
    size_t at = 0;
    for (size_t i = 0; i < l->n && at + l->items[i]->n_channels <= JL_CHANNELS_MAX; at += l->items[i++]->n_channels) {
        memset(r + at, 0, l->items[i]->n_channels * sizeof(*r));
        l->items[i]->ops->read(l->items[i], r + at, true);
    }
}

static size_t channels(const struct sensor_list *l)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n; i++)
        n += l->items[i]->n_channels;
    return n;
}

/* Opened, read and closed once more, it is what it was. */
static void check_twice(void **state)
{
    const struct sensor_ops *ops = *state;
    struct sensor_reading r[JL_CHANNELS_MAX];
    struct bench b;
    open_row(&b, ops);
    size_t n = channels(&b.list), problems = b.list.n_problems;
    for (int k = 0; k < 2; k++) {
        read_all(&b.list, r);
        close_sensors(&b.list);
        assert_int_equal(ops->discover(&b.list, &b.opt, NULL), JOULET_OK);
        assert_int_equal(channels(&b.list), n);
        assert_int_equal(b.list.n_problems, problems);
    }
    rows_clean(&b);
}

static void wait_a_look(void)
{
    jl_sleep_until(jl_mono_ns() + sysfile_look_ns + 10000000);
}

/* The device leaves in the middle: every read fails, none shows a value. It returns: counters say that they may have restarted.
 */
static void check_leaves_and_returns(void **state)
{
    const struct sensor_ops *ops = *state;
    struct sensor_reading before[JL_CHANNELS_MAX], r[JL_CHANNELS_MAX];
    struct bench b;
    if (!rows_can_leave(ops->name))
        skip_it();
    open_row(&b, ops);
    size_t n = channels(&b.list);
    read_all(&b.list, before);
    rows_leave(&b);
    wait_a_look();
    read_all(&b.list, r);
    for (size_t i = 0; i < n; i++)
        assert_true(r[i].status != JOULET_OK && !r[i].has);
    rows_return(&b);
    wait_a_look();
    read_all(&b.list, r);
    size_t at = 0;
    for (size_t i = 0; i < b.list.n; i++)
        for (size_t k = 0; k < b.list.items[i]->n_channels; k++, at++) {
            assert_int_equal(r[at].status, JOULET_OK);
            assert_true(r[at].has || !before[at].has);
            if (r[at].has && b.list.items[i]->channels[k].quantity == JOULET_ENERGY)
                assert_true(r[at].reset);
        }
    rows_clean(&b);
}

/* What is no number is a failed read, or nothing; never a value. */
static void check_garbage(void **state)
{
    const struct sensor_ops *ops = *state;
    static const char *const texts[] = {"garbage\n", "", "-\n", "99999999999999999999999999\n",
                                        "\xff\xff\xff\xff\xff\xff\xff\xff"};
    struct sensor_reading r[JL_CHANNELS_MAX];
    struct bench b;
    if (!rows_has_files(ops->name))
        skip_it();
    for (size_t t = 0; t < JL_COUNT(texts); t++) {
        open_row(&b, ops);
        read_all(&b.list, r);
        rows_overwrite(&b, texts[t]);
        for (int k = 0; k < 3; k++) {
            read_all(&b.list, r);
            for (size_t i = 0; i < channels(&b.list); i++)
                if (r[i].has && !r[i].reset)
                    fail_msg("%s reads a value from text %zu", ops->name, t);
        }
        rows_clean(&b);
    }
}

static double read_j(struct bench *b, const struct counting *c, struct sensor_reading *r)
{
    *r = read_channel(&b->list, c->channel);
    return (double)r->value * 1e-6;
}

static uint64_t steps_of(const struct counting *c, double joules)
{
    return (uint64_t)(joules * 1e6 / c->unit_uj);
}

/* Over the end of what a device counts to, and over 32 bits where that is no end, no joule is lost and none is made. */
static void check_end(const struct counting *c, struct bench *b)
{
    struct sensor_reading r;
    uint64_t end = c->wraps ? c->wraps : c->between, down[] = {steps_of(c, 5), steps_of(c, 4)}, up = steps_of(c, 3);
    double step_j = fmax(c->unit_uj * 1e-6, 1e-6);
    for (size_t i = 0; i < JL_COUNT(down); i++) { /* one that is doubted counts from its second value on */
        c->put(b, end - down[i]);
        read_j(b, c, &r);
        assert_true(r.status == JOULET_OK && !r.reset);
    }
    double from_j = read_j(b, c, &r);
    c->put(b, c->wraps ? up : end + up);
    double to_j = read_j(b, c, &r);
    assert_true(r.has && !r.reset);
    assert_near(to_j - from_j, 7, 0.07 + 3 * step_j);
    c->put(b, c->wraps ? up + down[0] : end + up + down[0]);
    assert_near(read_j(b, c, &r) - to_j, 5, 0.07 + 3 * step_j);
}

/* A counter that falls without having been near its end was restarted: that is told, and nothing is added. */
static void check_restart(const struct counting *c, struct bench *b)
{
    struct sensor_reading r;
    double before_j = read_j(b, c, &r), after_j = before_j;
    bool told = false;
    for (int i = 1; i <= 3; i++) {
        c->put(b, steps_of(c, i));
        double j = read_j(b, c, &r);
        told |= r.has && r.reset;
        after_j = r.has ? j : after_j;
        assert_true(r.has || r.status != JOULET_OK);
    }
    assert_true(told);
    assert_true(after_j >= before_j && after_j <= before_j + 3.1);
}

/* Played by the clock: 60 W over a range of 16 J. Whole ranges may be missing on a machine that was stopped, as with any device;
 * nothing else may. */
static void check_played_wraps(const struct sensor_ops *ops)
{
    struct bench b;
    struct sensor_reading r = {.has = false};
    int64_t first[2], last[2]; /* before and after the read */
    rows_prepare(&b, ops->name);
    b.opt.sim = "60;range=16";
    assert_int_equal(ops->discover(&b.list, &b.opt, NULL), JOULET_OK);
    first[0] = jl_mono_ns();
    ops->read(b.list.items[0], &r, true);
    first[1] = jl_mono_ns();
    do {
        jl_sleep_until(jl_mono_ns() + 5000000);
        last[0] = jl_mono_ns();
        ops->read(b.list.items[0], &r, true);
        last[1] = jl_mono_ns();
        assert_true(r.has || r.status != JOULET_OK);
    } while (jl_s(last[0] - first[1]) < 0.6 || !r.has);
    double j = (double)r.value * 1e-6, least = 60 * jl_s(last[0] - first[1]) - 0.2, most = 60 * jl_s(last[1] - first[0]) + 0.2;
    assert_true(j > 0 && j <= most);
    assert_true(ceil((least - j) / 16) <= (most - j) / 16);
    rows_clean(&b);
}

/* What was recorded counts on where the file goes down, and says so. */
static void check_recorded_falls(const struct sensor_ops *ops)
{
    struct bench b;
    struct sensor_reading r[4];
    rows_prepare(&b, ops->name);
    machine_write(
        &b.machine, "trace.csv",
        "t_s,channel,quantity,value\n0,a,energy,4294000000\n0.001,a,energy,4295000000\n0.002,a,energy,5\n0.003,a,energy,25\n");
    assert_int_equal(ops->discover(&b.list, &b.opt, NULL), JOULET_OK);
    jl_sleep_until(jl_mono_ns() + 10000000);
    for (size_t i = 0; i < JL_COUNT(r); i++)
        ops->read(b.list.items[0], &r[i], true);
    static const int64_t values[] = {0, 1000000, 1000000, 1000020};
    for (size_t i = 0; i < JL_COUNT(r); i++) {
        assert_int_equal(r[i].value, values[i]);
        assert_true(r[i].has && r[i].reset == (i == 2));
    }
    rows_clean(&b);
}

static void check_wraps(void **state)
{
    const struct sensor_ops *ops = *state;
    const struct counting *c;
    if (strcmp(ops->name, "sim") == 0)
        check_played_wraps(ops);
    else if (strcmp(ops->name, "file") == 0)
        check_recorded_falls(ops);
    else if (!rows_counting(ops->name, 0))
        skip_it();
    for (size_t i = 0; (c = rows_counting(ops->name, i)); i++) {
        struct bench b;
        struct joulet_error err;
        rows_prepare_counting(&b, c);
        c->put(&b, (c->wraps ? c->wraps : c->between) - steps_of(c, 6));
        if (ops->discover(&b.list, &b.opt, &err) != JOULET_OK)
            fail_msg("%s: %s", c->what, err.message);
        check_end(c, &b);
        check_restart(c, &b);
        rows_clean(&b);
    }
}

/* What exists and may not be read is a problem that names the remedy, and no sensor. */
static void check_closed(void **state)
{
    const struct sensor_ops *ops = *state;
    struct bench b;
    int status = rows_closed(&b, ops);
    if (status == ROWS_NOT_SHOWN)
        skip_it();
    assert_int_equal(status, 0);
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
    {"open, read, close twice", check_twice},
    {"leaves and returns", check_leaves_and_returns},
    {"garbage", check_garbage},
    {"counters at their ends", check_wraps},
    {"closed", check_closed},
};

struct check {
    const struct sensor_ops *ops;
    CMUnitTestFunction run;
};

static void run_check(void **state)
{
    struct check *c = *state;
    void *ops = (void *)(uintptr_t)c->ops;
    tally.begun++;
    c->run(&ops);
    tally.done++;
}

int main(void)
{
    static struct CMUnitTest tests[ROWS_MAX * JL_COUNT(checks)];
    static struct check all[ROWS_MAX * JL_COUNT(checks)];
    size_t n = 0, rows = 0;
    for (; sensor_table[rows]; rows++)
        for (size_t k = 0; k < JL_COUNT(checks) && n < JL_COUNT(tests); k++, n++) {
            all[n] = (struct check){sensor_table[rows], checks[k].run};
            tests[n] = (struct CMUnitTest){.name = jl_strf("%s: %s", sensor_table[rows]->name, checks[k].name),
                                           .test_func = run_check,
                                           .initial_state = &all[n]};
        }
    int failed = _cmocka_run_group_tests("conformance", tests, n, NULL, NULL);
    printf("conformance: %zu rows, %zu checks: %zu ok, %zu failed, %zu skipped (nothing to show)\n", rows, n, tally.done,
           tally.begun - tally.done - tally.skipped, tally.skipped);
    for (size_t i = 0; i < n; i++)
        free((char *)tests[i].name);
    return failed;
}
