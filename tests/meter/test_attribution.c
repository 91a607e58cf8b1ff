/* Energy of requests while they run (7.3 to 7.6): the vector of the method, conservation over random schedules, devices that are
 * shared and engines on several, steps inferred as tokens come, and what is kept of what was learnt. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ORIGIN_NS (5 * JL_NS_PER_S)
#define MANY      4096

static joulet_mark at(double t_s)
{
    return ORIGIN_NS + (int64_t)llround(t_s * 1e9);
}

struct told {
    struct joulet_attributed of[MANY];
    bool known[MANY];
    size_t n;
    double net_j, idle_j;
};

static void tell(void *user, const struct joulet_attributed *a)
{
    struct told *t = user;
    assert_true(a->id < MANY && !t->known[a->id]); /* once each */
    assert_true(a->final);
    assert_near(a->gross_j, a->net_j + a->idle_share_j, 1e-9 * fmax(1, fabs(a->gross_j)));
    t->known[a->id] = true;
    t->of[a->id] = *a;
    t->n++;
    t->net_j += a->net_j;
    t->idle_j += a->idle_share_j;
}

static struct joulet_error err;

static void ok(enum joulet_status status)
{
    if (status != JOULET_OK)
        fail_msg("%s", err.message);
}

static struct joulet_attribution *open_one(struct told *told)
{
    struct joulet_attribution *a;
    memset(told, 0, sizeof *told);
    ok(joulet_attribution_open(&a, tell, told, &err));
    return a;
}

static size_t add_device(struct joulet_attribution *a, double idle_w, double empty_w)
{
    size_t device;
    ok(joulet_attribution_device(a, idle_w, empty_w, &device, &err));
    return device;
}

static size_t add_engine_of(struct joulet_attribution *a, const size_t *devices, size_t n, bool tells, size_t group)
{
    size_t engine;
    struct joulet_attribution_engine e = {.devices = devices, .n_devices = n, .tells_steps = tells, .group = group};
    ok(joulet_attribution_engine(a, &e, &engine, &err));
    return engine;
}

static size_t add_engine(struct joulet_attribution *a, const size_t *devices, size_t n, bool tells)
{
    return add_engine_of(a, devices, n, tells, 0);
}

static size_t enter(struct joulet_attribution *a, size_t engine, uint64_t id, double prompt, double t_s)
{
    size_t request;
    struct joulet_entering in = {.id = id, .prompt_tokens = prompt};
    ok(joulet_attribution_enter(a, engine, &in, at(t_s), &request, &err));
    return request;
}

static void energy(struct joulet_attribution *a, size_t device, double from_s, double to_s, double gross_j)
{
    ok(joulet_attribution_energy(a, device, at(from_s), at(to_s), gross_j, .1, 0, &err));
}

static struct joulet_accounts accounts(const struct joulet_attribution *a, size_t device)
{
    struct joulet_accounts x;
    ok(joulet_attribution_accounts(a, device, &x, &err));
    double sum = x.requests_j + x.idle_shares_j + x.vacant_j + x.keep_alive_j + x.other_j + x.idle_device_j + x.residual_j;
    assert_near(sum, x.measured_j, 1e-12 * fmax(1, fabs(x.measured_j)));
    return x;
}

/* ---- by hand --------------------------------------------------------------------------------------------------------- */

#define VECTOR_LEARNT "weights/1 1.25 .015 .012 1e-5 1e6 1 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0 0"

/* Vector 13, its steps told, each window as late as it likes. */
static void test_vector(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 75, NAN), engine = add_engine(a, &gpu, 1, true);
    struct joulet_attributed look;
    (void)state;
    ok(joulet_attribution_recall(a, engine, gpu, VECTOR_LEARNT, &err));
    size_t A = enter(a, engine, 'A', 200, 0);
    ok(joulet_attribution_step(a, engine, at(0), at(.010), &(struct joulet_stepped){A, 200, 0, 0}, 1, &err));
    ok(joulet_attribution_step(a, engine, at(.010), at(.016), &(struct joulet_stepped){A, 0, 1, 200}, 1, &err));
    size_t B = enter(a, engine, 'B', 300, .016);
    energy(a, gpu, 0, .020, 7.4 + 75 * .020);
    assert_int_equal(told.n, 0);
    ok(joulet_attribution_step(a, engine, at(.016), at(.030), (struct joulet_stepped[]){{A, 0, 1, 201}, {B, 300, 0, 0}}, 2,
                               &err));
    ok(joulet_attribution_step(a, engine, at(.030), at(.036), (struct joulet_stepped[]){{A, 0, 1, 202}, {B, 0, 1, 300}}, 2,
                               &err));
    ok(joulet_attribution_end(a, A, 3, at(.036), &err));
    ok(joulet_attribution_step(a, engine, at(.036), at(.042), &(struct joulet_stepped){B, 0, 1, 301}, 1, &err));
    ok(joulet_attribution_end(a, B, 2, at(.042), &err));
    ok(joulet_attribution_look(a, A, &look, &err)); /* what the model says, until the sensor has shown it */
    assert_false(look.final);
    assert_near(look.net_j, 6.79203, 1e-4);
    assert_near(look.idle_share_j, 1.95, .8);
    joulet_attribution_until(a, at(1));
    energy(a, gpu, .020, .042, 7.6 + 75 * .022);
    assert_int_equal(told.n, 2);
    assert_near(told.of['A'].net_j, 7.119077, 1e-6);
    assert_near(told.of['B'].net_j, 7.824881, 1e-6);
    assert_near(told.of['A'].idle_share_j, 1.95, 1e-9);
    assert_near(told.of['B'].idle_share_j, 1.2, 1e-9);
    assert_near(told.of['A'].u_j, 7.119077 * hypot(sqrt(.02) / 15, .03), 1e-4);
    assert_false(told.of['A'].weights_assumed);
    assert_near(accounts(a, gpu).residual_j, .056041, 1e-6);
    assert_int_equal(joulet_attribution_look(a, A, &look, &err), JOULET_NOT_FOUND);
    joulet_attribution_close(a);
}

/* Before a model is loaded, while it waits, while it computes; and a device that nobody uses. */
static void test_accounts_of_devices(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 100, 60), spare = add_device(a, 20, NAN), engine = add_engine(a, &gpu, 1, true);
    (void)state;
    joulet_attribution_until(a, at(10));
    energy(a, gpu, 0, 1, 65);
    ok(joulet_attribution_loaded(a, engine, true, at(1), &err));
    energy(a, gpu, 1, 3, 210);
    size_t r = enter(a, engine, 1, 10, 3);
    ok(joulet_attribution_step(a, engine, at(3), at(3.5), &(struct joulet_stepped){r, 10, 0, 0}, 1, &err));
    ok(joulet_attribution_end(a, r, 1, at(3.5), &err));
    energy(a, gpu, 3, 4, 250);
    ok(joulet_attribution_loaded(a, engine, false, at(4), &err));
    energy(a, gpu, 4, 5, 90);
    energy(a, spare, 0, 5, 120);
    joulet_attribution_until(a, at(30));
    struct joulet_accounts x = accounts(a, gpu), y = accounts(a, spare);
    assert_near(x.measured_j, 615, 1e-9);
    assert_near(x.keep_alive_j, 40 * 2.5, 1e-9);
    assert_near(x.vacant_j, 60 + 60 * 2.5 + 60, 1e-9);
    assert_near(x.idle_shares_j, 50, 1e-9);
    assert_near(x.requests_j, 150, 1e-9);
    assert_near(x.other_j, 5 + 10 + 30, 1e-9);
    assert_near(told.of[1].gross_j, 200, 1e-9);
    assert_true(told.of[1].weights_assumed);
    assert_near(y.vacant_j, 100, 1e-9);
    assert_near(y.other_j, 20, 1e-9);
    assert_near(y.requests_j, 0, 0);
    joulet_attribution_close(a);
}

/* Whose processes were busy decides; what is other programs' is nobody's. And a device that no engine is on. */
static void test_parts_of_devices(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t cpu = add_device(a, 20, NAN), spare = add_device(a, 5, NAN), engines[3], r[3];
    const double parts[] = {.5, .2};
    (void)state;
    for (size_t i = 0; i < 3; i++) {
        engines[i] = add_engine_of(a, &cpu, 1, true, i);
        r[i] = enter(a, engines[i], i, 10, 0);
        ok(joulet_attribution_step(a, engines[i], at(0), at(2), &(struct joulet_stepped){r[i], 10, 0, 0}, 1, &err));
    }
    ok(joulet_attribution_end(a, r[2], 1, at(1), &err));
    ok(joulet_attribution_end(a, r[0], 1, at(2), &err));
    ok(joulet_attribution_end(a, r[1], 1, at(2), &err));
    joulet_attribution_until(a, at(4));
    ok(joulet_attribution_used(a, spare, false, &err));
    energy(a, spare, 0, 3, 21);
    ok(joulet_attribution_energy_of(a, cpu, at(0), at(2), 140, 0, 0, parts, 2, &err)); /* 100 above idle */
    assert_int_equal(told.n, 3);
    assert_near(told.of[1].net_j, 50, 1e-9);
    assert_near(told.of[2].net_j, 20, 1e-9);
    assert_near(told.of[0].net_j, 30, 1e-9);
    size_t late = enter(a, engines[1], 3, 10, 2);
    ok(joulet_attribution_step(a, engines[1], at(2), at(3), &(struct joulet_stepped){late, 10, 0, 0}, 1, &err));
    ok(joulet_attribution_end(a, late, 1, at(3), &err));
    ok(joulet_attribution_energy_of(a, cpu, at(2), at(3), 120, 0, 0, parts, 2, &err));
    assert_near(told.of[3].net_j, 50, 1e-9);
    assert_near(accounts(a, cpu).other_j, 50, 1e-9);
    assert_near(accounts(a, spare).idle_device_j, 21, 1e-9);
    assert_near(accounts(a, spare).vacant_j, 0, 0);
    assert_int_equal(joulet_attribution_energy_of(a, cpu, at(3), at(4), 1, 0, 0, (double[]){.7, .4}, 2, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_energy_of(a, cpu, at(3), at(4), 1, 0, 0, (double[]){-.1}, 1, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_used(a, 9, true, &err), JOULET_NOT_FOUND);
    joulet_attribution_close(a);
}

/* A sensor that fell silent: who was there then becomes final all the same, and what waits stays small. */
static void test_gap(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN), engine = add_engine(a, &gpu, 1, false);
    (void)state;
    energy(a, gpu, 0, 1, 50);
    for (uint64_t id = 0; id < 3000; id++) {
        size_t r = enter(a, engine, id, 10, 1 + (double)id);
        for (int i = 1; i < 20; i++)
            ok(joulet_attribution_tokens(a, r, 1, at(1 + (double)id + .02 * i), &err));
        ok(joulet_attribution_end(a, r, 20, at(1.5 + (double)id), &err));
        joulet_attribution_until(a, at(1.9 + (double)id));
        if (id % 60 == 59)
            ok(joulet_attribution_gap(a, gpu, at(1.9 + (double)id), &err));
    }
    assert_int_equal(told.n, 3000);
    assert_near(told.net_j, 0, 0);
    assert_near(accounts(a, gpu).measured_j, 50, 0);
    size_t r = enter(a, engine, 3000, 10, 4000);
    ok(joulet_attribution_tokens(a, r, 1, at(4000.5), &err));
    ok(joulet_attribution_end(a, r, 1, at(4000.6), &err));
    joulet_attribution_until(a, at(4002));
    ok(joulet_attribution_gap(a, gpu, at(4000), &err));
    energy(a, gpu, 4000, 4001, 150);
    assert_near(told.of[3000].net_j, 100, 1e-9);
    assert_int_equal(joulet_attribution_gap(a, 7, at(1), &err), JOULET_NOT_FOUND);
    joulet_attribution_close(a);
}

/* A model on two devices pays for both. */
static void test_several_devices(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t pair[] = {add_device(a, 50, NAN), add_device(a, 70, NAN)}, engine = add_engine(a, pair, 2, true);
    (void)state;
    size_t r = enter(a, engine, 7, 10, 1), s = enter(a, engine, 8, 10, 1);
    ok(joulet_attribution_step(a, engine, at(1), at(2), (struct joulet_stepped[]){{r, 10, 0, 0}, {s, 10, 0, 0}}, 2, &err));
    ok(joulet_attribution_end(a, r, 1, at(2), &err));
    ok(joulet_attribution_end(a, s, 1, at(2), &err));
    joulet_attribution_until(a, at(30)); /* weights that are only assumed wait no longer */
    energy(a, pair[0], 1, 2, 150);
    assert_int_equal(told.n, 0);
    energy(a, pair[1], .5, 2.5, 340);
    assert_int_equal(told.n, 2);
    assert_near(told.of[7].net_j, 50 + 100, 1e-9);
    assert_near(told.of[8].idle_share_j, 25 + 35, 1e-9);
    joulet_attribution_close(a);
}

/* Of three devices the engine is on one, which is found out while windows wait, after some were counted, or after its end. */
static void test_devices_found_late(void **state)
{
    static const struct {
        const char *what;
        double until, found; /* windows are told; its devices are */
        bool ended;
    } rows[] = {
        {"while windows wait", 1.5, 1.5, false}, {"after some were counted", 14, 14, false}, {"after its end", 3, 3, true}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct told told;
        struct joulet_attribution *a = open_one(&told);
        size_t devices[] = {add_device(a, 50, NAN), add_device(a, 70, NAN), add_device(a, 30, NAN)}, engine, other, r, s = 0;
        struct joulet_attribution_engine e = {.devices = devices, .n_devices = 3, .tells_steps = true, .unsure = true};
        struct joulet_attributed look;
        ok(joulet_attribution_engine(a, &e, &engine, &err));
        other = add_engine(a, &devices[1], 1, true);
        r = enter(a, engine, 7, 10, 1);
        s = enter(a, other, 8, 10, 1);
        double end = rows[i].ended ? 2.5 : 20;
        ok(joulet_attribution_step(a, engine, at(1), at(end), &(struct joulet_stepped){r, 10, 0, 0}, 1, &err));
        ok(joulet_attribution_step(a, other, at(1), at(end), &(struct joulet_stepped){s, 10, 0, 0}, 1, &err));
        if (rows[i].ended) {
            ok(joulet_attribution_end(a, r, 1, at(end), &err));
            ok(joulet_attribution_end(a, s, 1, at(end), &err));
        }
        for (double t = 0; t < rows[i].until; t += .5) {
            energy(a, devices[0], t, t + .5, t < 1 ? 25 : 75);
            energy(a, devices[1], t, t + .5, t < 1 ? 35 : 55);
            energy(a, devices[2], t, t + .5, 16);
        }
        joulet_attribution_until(a, at(rows[i].until));
        assert_int_equal(told.n, 0);
        assert_near(accounts(a, devices[1]).requests_j > 0, i == 1, 0); /* the others wait */
        ok(joulet_attribution_used(a, devices[2], false, &err));
        ok(joulet_attribution_not_on(a, engine, devices[1], &err));
        ok(joulet_attribution_not_on(a, engine, devices[2], &err));
        ok(joulet_attribution_sure(a, engine, &err));
        assert_int_equal(joulet_attribution_not_on(a, engine, devices[2], &err), JOULET_NOT_FOUND);
        assert_int_equal(joulet_attribution_not_on(a, engine, devices[0], &err), JOULET_USAGE);
        for (size_t k = 0; k < 3; k++)
            accounts(a, devices[k]);
        assert_near(accounts(a, devices[2]).requests_j, 0, 1e-9);
        assert_near(accounts(a, devices[2]).idle_shares_j, 0, 1e-9);
        if (!rows[i].ended) {
            ok(joulet_attribution_end(a, r, 1, at(20), &err));
            ok(joulet_attribution_end(a, s, 1, at(20), &err));
            for (double t = rows[i].until; t < 20; t += .5) {
                energy(a, devices[0], t, t + .5, 75);
                energy(a, devices[1], t, t + .5, 55);
                energy(a, devices[2], t, t + .5, 16);
            }
        }
        joulet_attribution_until(a, at(40));
        assert_int_equal(told.n, 2);
        assert_near(told.of[7].net_j, 100 * (end - 1), 1e-6); /* 100 W above 50 W on its own device, and nothing else */
        assert_near(told.of[7].idle_share_j, 50 * (end - 1), 1e-6);
        if (i != 1) { /* what was counted before it was known is nobody's */
            assert_near(told.of[8].net_j, 40 * (end - 1), 1e-6);
            assert_near(told.of[8].idle_share_j, 70 * (end - 1), 1e-6);
            assert_near(accounts(a, devices[2]).idle_device_j, accounts(a, devices[2]).measured_j, 1e-6);
        }
        assert_near(accounts(a, devices[1]).requests_j, told.of[8].net_j, 1e-6);
        assert_int_equal(joulet_attribution_look(a, r, &look, &err), JOULET_NOT_FOUND);
        joulet_attribution_close(a);
    }
}

/* What sensors of one type err by, they err by together: it adds linearly, as it does for the devices of a run (3). */
static void test_gains_of_devices(void **state)
{
    static const struct {
        const char *what;
        size_t types[3];
        double u_j; /* of 100, 200 and 100 J, each 5 % off in common */
    } rows[] = {{"each of its own type", {0, 0, 0}, 12.24744871},
                {"three of one type", {4, 4, 4}, 20},
                {"two of one type, and one beside them", {4, 4, 2}, 15.8113883}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct told told;
        struct joulet_attribution *a = open_one(&told);
        size_t devices[3], engine, r;
        for (size_t k = 0; k < 3; k++) {
            devices[k] = add_device(a, 50, NAN);
            ok(joulet_attribution_type(a, devices[k], rows[i].types[k], &err));
        }
        engine = add_engine(a, devices, 3, true);
        r = enter(a, engine, 7, 10, 1);
        ok(joulet_attribution_step(a, engine, at(1), at(2), &(struct joulet_stepped){r, 10, 0, 0}, 1, &err));
        ok(joulet_attribution_end(a, r, 1, at(2), &err));
        joulet_attribution_until(a, at(30));
        for (size_t k = 0; k < 3; k++) {
            double net_j = k == 1 ? 200 : 100;
            ok(joulet_attribution_energy(a, devices[k], at(1), at(2), net_j + 50, .001, .05 * net_j, &err));
        }
        assert_int_equal(told.n, 1);
        if (fabs(told.of[7].u_sensor_j - rows[i].u_j) > 1e-3)
            fail_msg("%s: %.6f", rows[i].what, told.of[7].u_sensor_j);
        assert_near(told.of[7].u_j, hypot(rows[i].u_j, .03 * hypot(hypot(100, 100), 200)), 1e-3); /* shares err by themselves */
        assert_int_equal(joulet_attribution_type(a, 9, 1, &err), JOULET_NOT_FOUND);
        joulet_attribution_close(a);
    }
}

static void test_mistakes(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told), *none;
    size_t gpu = add_device(a, 75, NAN), engine = add_engine(a, &gpu, 1, true), x, twice[] = {gpu, gpu}, missing = 9;
    struct joulet_entering nonsense = {.id = 3, .prompt_tokens = NAN};
    struct joulet_attributed look;
    char line[JOULET_LEARNT_MAX];
    (void)state;
    assert_int_equal(joulet_attribution_open(&none, NULL, NULL, &err), JOULET_USAGE);
    assert_null(none);
    assert_int_equal(joulet_attribution_device(a, -1, NAN, &x, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_device(a, 10, 20, &x, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_idle(a, 4, 10, NAN, &err), JOULET_NOT_FOUND);
    assert_int_equal(
        joulet_attribution_engine(a, &(struct joulet_attribution_engine){.devices = twice, .n_devices = 2}, &x, &err),
        JOULET_USAGE);
    assert_int_equal(
        joulet_attribution_engine(a, &(struct joulet_attribution_engine){.devices = &missing, .n_devices = 1}, &x, &err),
        JOULET_NOT_FOUND);
    assert_int_equal(joulet_attribution_engine(a, &(struct joulet_attribution_engine){.n_devices = 0}, &x, &err), JOULET_LIMIT);
    assert_int_equal(joulet_attribution_enter(a, engine, &nonsense, at(1), &x, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_enter(a, 5, &nonsense, at(1), &x, &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_attribution_tokens(a, 0, 1, at(1), &err), JOULET_NOT_FOUND);
    size_t r = enter(a, engine, 1, 5, 1);
    assert_int_equal(joulet_attribution_tokens(a, r, -1, at(1), &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_prompt(a, r, 10, 5, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_progress(a, r, NAN, at(1), &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_step(a, engine, at(2), at(2), NULL, 0, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_step(a, engine, at(2), at(3), &(struct joulet_stepped){r, -1, 0, 0}, 1, &err),
                     JOULET_USAGE);
    assert_int_equal(joulet_attribution_step(a, engine, at(2), at(3), &(struct joulet_stepped){55, 1, 0, 0}, 1, &err),
                     JOULET_NOT_FOUND);
    ok(joulet_attribution_end(a, r, NAN, at(3), &err));
    assert_int_equal(joulet_attribution_end(a, r, NAN, at(3), &err), JOULET_NOT_FOUND);
    energy(a, gpu, 0, 1, 75);
    assert_int_equal(joulet_attribution_energy(a, gpu, at(.5), at(2), 1, 0, 0, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_energy(a, gpu, at(1), at(2), NAN, 0, 0, &err), JOULET_USAGE);
    assert_int_equal(joulet_attribution_energy(a, 3, at(1), at(2), 1, 0, 0, &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_attribution_look(a, 77, &look, &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_attribution_learnt(a, engine, 1, line, sizeof line, NULL, &err), JOULET_NOT_FOUND);
    assert_int_equal(joulet_attribution_recall(a, engine, gpu, "weights/1 1 2", &err), JOULET_FORMAT);
    assert_int_equal(joulet_attribution_recall(a, engine, gpu, "", &err), JOULET_FORMAT);
    assert_int_equal(joulet_attribution_recall(a, engine, gpu, "weights/2 1", &err), JOULET_FORMAT);
    joulet_attribution_close(a); /* what is not final is let go */
    joulet_attribution_close(NULL);
}

/* ---- random schedules ------------------------------------------------------------------------------------------------ */

enum { ENGINES = 4, DEVICES = 5, LIVE = 12 };

struct live {
    bool used, begun, silent;
    size_t request, engine;
    uint64_t id;
    double left;
};

struct schedule {
    struct joulet_attribution *a;
    struct jl_rng rng;
    bool faint; /* it draws about as much as when it is idle */
    bool moved; /* engine 2 turned out not to be on one of its devices */
    struct told *told;
    size_t devices[DEVICES], engines[ENGINES];
    struct live live[LIVE];
    uint64_t next_id;
    double now_s, window_s[DEVICES], step_s[ENGINES];
    double measured_j;
};

static double chance(struct schedule *s)
{
    return jl_rng_uniform(&s->rng);
}

/* Of several connections it is not known at once in which order things came. */
static joulet_mark about(struct schedule *s)
{
    return at(fmax(0, s->now_s - (chance(s) < .2 ? .05 * chance(s) : 0)));
}

static void come_and_go(struct schedule *s)
{
    struct live *l = &s->live[jl_rng_below(&s->rng, LIVE)];
    if (!l->used && s->next_id < MANY) {
        *l = (struct live){.used = true,
                           .silent = chance(s) < .1,
                           .engine = jl_rng_below(&s->rng, ENGINES),
                           .id = s->next_id++,
                           .left = 1 + floor(20 * chance(s))};
        struct joulet_entering in = {l->id, floor(400 * chance(s)), chance(s) < .5, l->silent};
        ok(joulet_attribution_enter(s->a, s->engines[l->engine], &in, about(s), &l->request, &err));
    } else if (l->used && chance(s) < .1) {
        ok(joulet_attribution_prompt(s->a, l->request, 100, 200, &err));
        ok(joulet_attribution_end(s->a, l->request, chance(s) < .5 ? NAN : 20, about(s), &err));
        l->used = false;
    }
}

/* Engines 0 and 1 tell steps, of whoever is there. */
static void tell_step(struct schedule *s, size_t engine)
{
    struct joulet_stepped members[LIVE];
    size_t n = 0;
    for (size_t i = 0; i < LIVE; i++) {
        struct live *l = &s->live[i];
        if (!l->used || l->engine != engine || chance(s) < .2)
            continue;
        members[n++] = l->begun ? (struct joulet_stepped){l->request, 0, 1, 100} : (struct joulet_stepped){l->request, 50, 0, 0};
        l->begun = true;
    }
    if (s->now_s > s->step_s[engine])
        ok(joulet_attribution_step(s->a, s->engines[engine], at(s->step_s[engine]), at(s->now_s), members, n, &err));
    s->step_s[engine] = s->now_s;
}

/* Of the others come tokens, some of them together, and now and then progress. */
static void come_tokens(struct schedule *s, size_t engine)
{
    for (size_t i = 0; i < LIVE; i++) {
        struct live *l = &s->live[i];
        if (!l->used || l->engine != engine || l->silent || chance(s) < .3)
            continue;
        if (chance(s) < .1)
            ok(joulet_attribution_progress(s->a, l->request, 50, about(s), &err));
        ok(joulet_attribution_tokens(s->a, l->request, chance(s) < .2 ? NAN : 1 + floor(3 * chance(s)), about(s), &err));
        if ((l->left -= 1) <= 0) {
            ok(joulet_attribution_end(s->a, l->request, 20, about(s), &err));
            l->used = false;
        }
    }
}

/* Of groups 1 and 2, as far as it is known. */
static size_t some_parts(struct schedule *s, double parts[3])
{
    double left = 1;
    for (size_t i = 0; i < 3; i++) {
        parts[i] = chance(s) < .2 ? NAN : chance(s) < .1 ? 0 : left * chance(s);
        left -= isnan(parts[i]) ? 0 : parts[i];
    }
    return jl_rng_below(&s->rng, 4);
}

static void close_windows(struct schedule *s, double until_s)
{
    for (size_t i = 0; i < DEVICES; i++) {
        double from = s->window_s[i] + (chance(s) < .05 ? .05 : 0), to = from + .02 + .2 * chance(s);
        if (to > until_s)
            continue;
        double gross = (to - from) * (s->faint ? 10 + 60 * chance(s) : 30 + 400 * chance(s)), parts[3];
        s->window_s[i] = to;
        if (chance(s) < .05) {
            ok(joulet_attribution_gap(s->a, s->devices[i], at(to), &err));
            continue;
        }
        size_t n = some_parts(s, parts);
        ok(joulet_attribution_energy_of(s->a, s->devices[i], at(from), at(to), gross, .1, 0, parts, n, &err));
        s->measured_j += gross;
    }
}

static void run_schedule(struct schedule *s, double seconds)
{
    while (s->now_s < seconds) {
        s->now_s += chance(s) < .02 ? 3 * chance(s) : .03 * chance(s);
        come_and_go(s);
        if (chance(s) < .02)
            ok(joulet_attribution_loaded(s->a, s->engines[0], chance(s) < .5, at(s->now_s), &err));
        if (chance(s) < .02)
            ok(joulet_attribution_used(s->a, s->devices[jl_rng_below(&s->rng, DEVICES)], chance(s) < .5, &err));
        if (chance(s) < .01)
            ok(joulet_attribution_idle(s->a, s->devices[1], 25 + 10 * chance(s), chance(s) < .5 ? NAN : 25 * chance(s), &err));
        if (!s->moved && s->now_s > 3 && chance(s) < .01) {
            ok(joulet_attribution_not_on(s->a, s->engines[2], s->devices[2 + jl_rng_below(&s->rng, 2)], &err));
            s->moved = true;
        }
        for (size_t e = 0; e < ENGINES; e++)
            (e < 2 ? tell_step : come_tokens)(s, e);
        close_windows(s, s->now_s - .1);
        if (chance(s) < .5)
            joulet_attribution_until(s->a, at(s->now_s));
        struct live *l = &s->live[jl_rng_below(&s->rng, LIVE)];
        struct joulet_attributed look;
        if (l->used) {
            ok(joulet_attribution_look(s->a, l->request, &look, &err));
            assert_true(isfinite(look.gross_j));
        }
    }
    for (size_t i = 0; i < LIVE; i++)
        if (s->live[i].used)
            ok(joulet_attribution_end(s->a, s->live[i].request, NAN, at(s->now_s), &err));
    joulet_attribution_until(s->a, at(s->now_s + 100));
    for (int i = 0; i < 400; i++)
        close_windows(s, s->now_s + 40);
    joulet_attribution_until(s->a, at(s->now_s + 200));
}

static void test_nothing_is_lost(void **state)
{
    static struct told told;
    (void)state;
    for (uint64_t seed = 1; seed <= 100; seed++) {
        struct schedule s = {.rng = {seed}, .faint = seed % 2, .told = &told, .a = open_one(&told)};
        double requests_j = 0, idle_j = 0, measured_j = 0;
        for (size_t i = 0; i < DEVICES; i++)
            s.devices[i] = add_device(s.a, 20 + 10 * (double)i, i % 2 ? 15 : NAN);
        for (size_t i = 0; i < ENGINES; i++) /* the second of two devices is the first of the next engine */
            s.engines[i] = add_engine_of(s.a, &s.devices[i], i == 3 ? 1 : 2, i < 2, i % 3);
        run_schedule(&s, 20);
        for (size_t i = 0; i < DEVICES; i++) {
            struct joulet_accounts x = accounts(s.a, s.devices[i]);
            requests_j += x.requests_j;
            idle_j += x.idle_shares_j;
            measured_j += x.measured_j;
            assert_near(x.waiting_s, 0, 0);
        }
        assert_int_equal(told.n, s.next_id);
        assert_near(measured_j, s.measured_j, 1e-12 * measured_j);
        assert_near(told.net_j, requests_j, 1e-12 * measured_j);
        assert_near(told.idle_j, idle_j, 1e-12 * measured_j);
        joulet_attribution_close(s.a);
    }
}

/* ---- an engine whose energy is known --------------------------------------------------------------------------------- */

static const struct joulet_weights truth = {.b0_j = 1.2, .bp_j = .02, .bd_j = .03, .bc_j = 2e-5};

enum { PLACES = 6 };

struct guest {
    bool here, begun;
    size_t request;
    uint64_t id;
    double prompt, context, left;
};

/* One step after the other, of guests that come and go at random; energies as in `truth`. */
struct house {
    struct joulet_attribution *a;
    size_t engine, factor; /* its energies are so many times as large */
    bool tells;
    struct jl_rng rng;
    struct guest guests[PLACES];
    uint64_t next_id, last_id;
    double t_s, *true_j, energy_j;
};

static void new_guests(struct house *h)
{
    for (size_t i = 0; i < PLACES; i++) {
        struct guest *g = &h->guests[i];
        if (g->here || h->next_id == h->last_id || jl_rng_uniform(&h->rng) > .1)
            continue;
        *g = (struct guest){.here = true, .id = h->next_id++, .left = 5 + floor(40 * jl_rng_uniform(&h->rng))};
        g->prompt = g->context = 10 + floor(300 * jl_rng_uniform(&h->rng));
        g->request = enter(h->a, h->engine, g->id, g->prompt, h->t_s);
    }
}

/* Returns its length. */
static double one_step(struct house *h)
{
    struct joulet_stepped members[PLACES];
    double all_j = truth.b0_j, s = .008;
    size_t n = 0;
    new_guests(h);
    for (size_t i = 0; i < PLACES; i++) {
        const struct guest *g = &h->guests[i];
        if (!g->here)
            continue;
        s += g->begun ? .0003 : 3e-5 * g->prompt;
        members[n++] = g->begun ? (struct joulet_stepped){g->request, 0, 1, g->context}
                                : (struct joulet_stepped){g->request, g->prompt, 0, 0};
    }
    for (size_t i = 0, k = 0; i < PLACES; i++) {
        struct guest *g = &h->guests[i];
        if (!g->here)
            continue;
        double own = truth.bp_j * members[k].prefill + members[k].decoded * (truth.bd_j + truth.bc_j * members[k].context);
        all_j += own;
        h->true_j[g->id] += (double)h->factor * (own + truth.b0_j / (double)n);
        k++;
    }
    if (h->tells && n)
        ok(joulet_attribution_step(h->a, h->engine, at(h->t_s), at(h->t_s + s), members, n, &err));
    h->t_s += s;
    h->energy_j += n ? (double)h->factor * all_j : 0;
    for (size_t i = 0; i < PLACES; i++) {
        struct guest *g = &h->guests[i];
        if (!g->here)
            continue;
        if (!h->tells)
            ok(joulet_attribution_tokens(h->a, g->request, 1, at(h->t_s + 1e-5 * (double)i), &err));
        g->context += g->begun;
        g->begun = true;
        if ((g->left -= 1) > 0)
            continue;
        ok(joulet_attribution_end(h->a, g->request, NAN, at(h->t_s + 1e-4), &err));
        g->here = false;
    }
    return s;
}

/* Share of the energy of requests from `first` on that went to the wrong one. */
static double misplaced(const struct told *told, const double *true_j, uint64_t first, uint64_t last)
{
    double off = 0, all = 0;
    for (uint64_t id = first; id < last; id++) {
        assert_true(told->known[id]);
        off += fabs(told->of[id].net_j - true_j[id]);
        all += true_j[id];
    }
    return off / all;
}

static double run_house(bool tells, char *learnt, double *weights_error)
{
    static struct told told;
    static double true_j[MANY];
    memset(true_j, 0, sizeof true_j);
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN);
    struct house h = {.a = a,
                      .engine = add_engine(a, &gpu, 1, tells),
                      .factor = 1,
                      .tells = tells,
                      .rng = {99},
                      .last_id = 600,
                      .true_j = true_j};
    double from = 0;
    while (h.next_id < h.last_id || h.t_s < from + .1) {
        double before = h.energy_j;
        double start = h.t_s;
        for (int i = 0; i < 9; i++)
            one_step(&h);
        joulet_attribution_until(a, at(h.t_s));
        energy(a, gpu, start, h.t_s, h.energy_j - before + 50 * (h.t_s - start));
    }
    struct joulet_weights w;
    ok(joulet_attribution_learnt(a, h.engine, gpu, learnt, JOULET_LEARNT_MAX, &w, &err));
    *weights_error = fabs(w.b0_j / truth.b0_j - 1) + fabs(w.bp_j / truth.bp_j - 1);
    uint64_t done = h.next_id - 2 * PLACES;
    joulet_attribution_close(a);
    return misplaced(&told, true_j, 100, done);
}

static void test_engine_events_and_clusters(void **state)
{
    char line[JOULET_LEARNT_MAX], again[JOULET_LEARNT_MAX];
    double off;
    (void)state;
    assert_true(run_house(true, line, &off) < .004);
    assert_true(off < .05);
    assert_true(run_house(false, again, &off) < .02);
    assert_true(off < .1);
    /* what was learnt is kept to the last bit, and weights are not assumed from the first request on */
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    struct joulet_weights w;
    size_t gpu = add_device(a, 50, NAN), engine = add_engine(a, &gpu, 1, true);
    ok(joulet_attribution_learnt(a, engine, gpu, again, sizeof again, &w, &err));
    assert_true(w.assumed);
    ok(joulet_attribution_recall(a, engine, gpu, again, &err)); /* nothing was learnt: nothing is recalled */
    ok(joulet_attribution_recall(a, engine, gpu, line, &err));
    ok(joulet_attribution_learnt(a, engine, gpu, again, sizeof again, &w, &err));
    assert_false(w.assumed);
    assert_near(w.b0_j, strtod(line + strlen("weights/1"), NULL), 0);
    assert_int_equal(joulet_attribution_learnt(a, engine, gpu, again, 20, &w, &err), JOULET_LIMIT);
    joulet_attribution_close(a);
}

/* Two engines on one device, the second of twice the energies; each computes alone at times. */
static void test_shared_device(void **state)
{
    static struct told told;
    static double true_j[MANY];
    (void)state;
    memset(true_j, 0, sizeof true_j);
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN);
    struct house h[2];
    for (size_t i = 0; i < 2; i++)
        h[i] = (struct house){.a = a,
                              .engine = add_engine(a, &gpu, 1, true),
                              .factor = 1 + i,
                              .tells = true,
                              .rng = {7 + i},
                              .next_id = 1000 * i,
                              .last_id = 1000 * i + 500,
                              .true_j = true_j};
    double from = 0;
    for (size_t k = 0; h[0].next_id < h[0].last_id && h[1].next_id < h[1].last_id; k++) {
        double to = from + .1, before = h[0].energy_j + h[1].energy_j;
        for (size_t i = 0; i < 2; i++) {
            bool rests = k / 20 % 3 == i;
            while (h[i].t_s < to - .05 && !rests)
                one_step(&h[i]);
            if (h[i].t_s < to)
                h[i].t_s = to; /* the step in flight ends with the window: energies of windows are exact */
        }
        double end = fmax(h[0].t_s, h[1].t_s);
        h[0].t_s = h[1].t_s = end;
        joulet_attribution_until(a, at(end));
        energy(a, gpu, from, end, h[0].energy_j + h[1].energy_j - before + 50 * (end - from));
        from = end;
    }
    for (size_t i = 0; i < 2; i++)
        for (size_t j = 0; j < PLACES; j++)
            if (h[i].guests[j].here)
                ok(joulet_attribution_end(a, h[i].guests[j].request, NAN, at(from), &err));
    joulet_attribution_until(a, at(from + 60));
    energy(a, gpu, from, from + 1, 50);
    accounts(a, gpu);
    assert_true(misplaced(&told, true_j, 100, h[0].next_id) < .06);
    assert_true(misplaced(&told, true_j, 1100, h[1].next_id) < .06);
    joulet_attribution_close(a);
}

/* Of a model of which nothing is known windows wait until weights were learnt from them, and then all are shared by these. */
static void test_first_seconds(void **state)
{
    static struct told told;
    static double true_j[MANY];
    (void)state;
    memset(true_j, 0, sizeof true_j);
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN);
    struct house h = {
        .a = a, .engine = add_engine(a, &gpu, 1, true), .factor = 1, .tells = true, .rng = {5}, .last_id = 200, .true_j = true_j};
    size_t early = 0;
    while (h.next_id < h.last_id) {
        double before = h.energy_j, start = h.t_s;
        for (int i = 0; i < 9; i++)
            one_step(&h);
        joulet_attribution_until(a, at(h.t_s));
        energy(a, gpu, start, h.t_s, h.energy_j - before + 50 * (h.t_s - start));
        early += h.t_s < 3 ? told.n : 0;
    }
    assert_int_equal(early, 0);
    assert_true(told.n > 100);
    double off = 0, all = 0;
    for (uint64_t id = 0; id < h.last_id; id++)
        if (told.known[id]) {
            off += fabs(told.of[id].net_j - true_j[id]);
            all += true_j[id];
        }
    assert_true(off < .02 * all);
    joulet_attribution_close(a);
}

/* How many tokens a prompt has is told at the end only: what it was given by a guess is mended, beside others as well. */
static void test_counts_at_the_end(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN), engine = add_engine(a, &gpu, 1, false), r[2];
    (void)state;
    ok(joulet_attribution_recall(a, engine, gpu, VECTOR_LEARNT, &err));
    for (size_t i = 0; i < 2; i++) {
        struct joulet_entering in = {.id = i, .prompt_tokens = 100, .guessed = true};
        ok(joulet_attribution_enter(a, engine, &in, at(0), &r[i], &err));
    }
    /* a step of both prompts, 20 that decode; truly 300 and 20 tokens: 4.8 J of prompts */
    for (int k = 0; k <= 20; k++)
        for (size_t i = 0; i < 2; i++)
            ok(joulet_attribution_tokens(a, r[i], 1, at(.05 + .02 * k + 1e-4 * (double)i), &err));
    joulet_attribution_until(a, at(.4));
    double t = .0501 + .4, net = 21 * 1.25 + 320 * .015 + 40 * .012 + 1e-5 * 20 * (300 + 20 + 2 * 10);
    energy(a, gpu, 0, t, 50 * t + net);
    joulet_attribution_until(a, at(3));
    assert_int_equal(told.n, 0); /* it waits for the counts */
    for (size_t i = 0; i < 2; i++) {
        ok(joulet_attribution_prompt(a, r[i], i ? 20 : 300, i ? 20 : 300, &err));
        ok(joulet_attribution_end(a, r[i], 21, at(t + .0001), &err));
    }
    joulet_attribution_until(a, at(4));
    energy(a, gpu, t, 2, 50 * (2 - t));
    assert_int_equal(told.n, 2);
    assert_near(told.of[0].net_j - told.of[1].net_j, 280 * .015 + 1e-5 * 20 * 280, .05);
    accounts(a, gpu);
    joulet_attribution_close(a);
}

/* An answer in one piece, and one that is aborted in its prompt, take part in what was computed meanwhile. */
static void test_unseen_tokens(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN), engine = add_engine(a, &gpu, 1, false), whole, gone;
    struct joulet_entering silent = {.id = 2, .prompt_tokens = 20, .silent = true};
    (void)state;
    size_t stream = enter(a, engine, 1, 20, 0);
    ok(joulet_attribution_enter(a, engine, &silent, at(0), &whole, &err));
    for (int i = 1; i <= 50; i++)
        ok(joulet_attribution_tokens(a, stream, 1, at(.02 * i), &err));
    gone = enter(a, engine, 3, 100, 1.001);
    ok(joulet_attribution_end(a, whole, 50, at(1.0005), &err));
    ok(joulet_attribution_end(a, stream, 50, at(1.0006), &err));
    ok(joulet_attribution_end(a, gone, 0, at(1.1), &err));
    joulet_attribution_until(a, at(30));
    energy(a, gpu, 0, 1.001, 50 * 1.001 + 100);
    energy(a, gpu, 1.001, 2, 50 * .999 + 30);
    assert_int_equal(told.n, 3);
    assert_near(told.of[1].net_j, told.of[2].net_j, 3);
    assert_near(told.of[3].net_j, 30, 1);
    assert_near(told.of[3].prefill_j, told.of[3].net_j, 1e-12); /* it never had a token */
    accounts(a, gpu);
    joulet_attribution_close(a);
}

/* A stream, and right behind it an answer in one piece: windows that hold the end of one and the begin of the other are shared by
 * time, as both had tokens all the while. */
static void test_whole_answer_after_a_stream(void **state)
{
    struct told told;
    struct joulet_attribution *a = open_one(&told);
    size_t gpu = add_device(a, 50, NAN), engine = add_engine(a, &gpu, 1, false), whole;
    struct joulet_entering silent = {.id = 2, .prompt_tokens = 1, .silent = true};
    (void)state;
    size_t stream = enter(a, engine, 1, 1, 0);
    for (int i = 1; i <= 50; i++)
        ok(joulet_attribution_tokens(a, stream, 1, at(.01 * i), &err));
    ok(joulet_attribution_end(a, stream, 50, at(.5), &err));
    ok(joulet_attribution_enter(a, engine, &silent, at(.5), &whole, &err));
    ok(joulet_attribution_end(a, whole, 50, at(1), &err));
    joulet_attribution_until(a, at(30));
    energy(a, gpu, 0, .3, 150 * .3);
    energy(a, gpu, .3, .9, 150 * .6); /* all of it above idle is theirs: 20 W s of one, 40 of the other */
    energy(a, gpu, .9, 1.2, 150 * .1 + 50 * .2);
    assert_int_equal(told.n, 2);
    assert_near(told.of[1].net_j, 50, 1.5);
    assert_near(told.of[2].net_j, 50, 1.5);
    assert_near(told.of[1].prefill_j, 1, .1); /* one of 50 steps of 10 ms */
    assert_near(told.of[2].prefill_j, 1, .1);
    accounts(a, gpu);
    joulet_attribution_close(a);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_accounts_of_devices),
        cmocka_unit_test(test_several_devices),
        cmocka_unit_test(test_gains_of_devices),
        cmocka_unit_test(test_devices_found_late),
        cmocka_unit_test(test_mistakes),
        cmocka_unit_test(test_nothing_is_lost),
        cmocka_unit_test(test_engine_events_and_clusters),
        cmocka_unit_test(test_shared_device),
        cmocka_unit_test(test_unseen_tokens),
        cmocka_unit_test(test_parts_of_devices),
        cmocka_unit_test(test_gap),
        cmocka_unit_test(test_first_seconds),
        cmocka_unit_test(test_counts_at_the_end),
        cmocka_unit_test(test_whole_answer_after_a_stream),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
