/* Devices of the field in virtual time: reads at the moments that the meter would choose, of the models in
 * lib/sensors/sim_device.h. Each update that is found must be a true one: the value that it says, visible at a moment within its
 * half-width. */
#include "lib/meter/updates.h"
#include "lib/sensors/sensor.h"
#include "lib/sensors/sim_device.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

#define POLL_RAPL_NS 10000000
#define POLL_NS      5000000
#define LATE_NS      20000000
#define LAST_S       60.0
#define SWING_HZ     0.37

/* Truth: 200 W that swing by 100 W, so that no two updates show the same. */
static double energy(void *user, double t)
{
    (void)user;
    return 200 * t - 100 / (6.283185307179586 * SWING_HZ) * cos(6.283185307179586 * SWING_HZ * t);
}

struct bench {
    const struct sim_preset *preset;
    struct sim_device device;
    struct jl_counter counter;
    struct updates updates;
    struct jl_rng rng;
    double slack_s; /* beside hw: what the meter cannot know */
    double t_s;     /* now */
    int64_t last_k;
    int reads, samples, late, repeats, right_k, truths;
};

static struct bench begin(const struct sim_preset *p, const struct sim_model *m, uint64_t seed)
{
    struct bench b = {.preset = p, .rng = {seed}, .t_s = 0.01, .last_k = INT64_MIN};
    struct joulet_channel told;
    bool rapl = strncmp(p->name, "rapl", 4) == 0;
    int64_t usual = rapl ? POLL_RAPL_NS : POLL_NS, period;
    sim_device_init(&b.device, m, energy, NULL, seed);
    sim_preset_channel(p, &told);
    period = jl_ns(told.period_s);
    b.counter = (struct jl_counter){.range_uj = sim_model_range_uj(m), .max_w = 1000, .longest_s = 2 * m->period_s};
    updates_init(&b.updates, m->kind == SIM_COUNTER ? UPDATES_COUNTER : UPDATES_POWER, updates_poll(usual, period), period, true,
                 NAN);
    b.slack_s = 2 * m->jitter_s + m->delay_s + fabs(m->period_s - told.period_s) + 1e-6;
    return b;
}

/* One read; false when it shows no update. */
static bool read_device(struct bench *b, struct updates_read *read, struct sim_read *shown, struct joulet_sample *out)
{
    struct sensor_reading r;
    sim_device_read(&b->device, b->t_s, shown);
    b->reads++;
    *read = (struct updates_read){.t0_ns = jl_ns(b->t_s), .t1_ns = jl_ns(b->t_s + shown->takes_s)};
    read->late = read->t1_ns - read->t0_ns > LATE_NS;
    if (shown->fails) {
        updates_failed(&b->updates);
        return false;
    }
    if (b->device.m.kind == SIM_COUNTER)
        jl_counter_take(&b->counter, shown->u.raw, read->t0_ns, &r);
    else
        jl_power_take(shown->u.raw, 1e4, &r);
    assert_int_equal(r.status, JOULET_OK);
    assert_false(r.reset);
    read->value = r.value;
    read->own_ns = isnan(shown->u.own_s) ? 0 : jl_ns(shown->u.own_s);
    return updates_from(&b->updates, read, out);
}

static void check_update(struct bench *b, const struct sim_read *shown, const struct joulet_sample *s)
{
    double t = jl_s(s->t_ns), hw = jl_s(s->hw_ns), visible = shown->u.visible_s;
    b->samples++;
    b->late += (s->flags & JOULET_SAMPLE_LATE) != 0;
    if (s->flags & JOULET_SAMPLE_REPEAT) {
        b->repeats++;
        return;
    }
    if (!isnan(shown->u.own_s)) {
        assert_near(t, shown->u.own_s, 1e-9);
        assert_int_equal(s->hw_ns, 0);
    } else if (fabs(t - visible) > hw + b->slack_s) {
        fail_msg("%s: an update at %.6f s is said to be at %.6f +- %.6f s", b->preset->name, visible, t, hw);
    } else if (fabs(t - visible) <= hw + 1e-9) {
        b->right_k++;
    }
    b->truths += shown->u.k != b->last_k;
    b->last_k = shown->u.k;
}

/* The lane's loop: reads where updates_next says, woken a little late. */
static void run(struct bench *b, double until_s)
{
    int64_t due = jl_ns(b->t_s);
    while (b->t_s < until_s) {
        struct updates_read read;
        struct sim_read shown;
        struct joulet_sample s;
        if (read_device(b, &read, &shown, &s))
            check_update(b, &shown, &s);
        due = updates_next(&b->updates, due);
        double now = b->t_s + shown.takes_s + 1e-6;
        if (jl_s(due) < now)
            due = jl_ns(now);
        b->t_s = jl_s(due) + 60e-6 * jl_rng_uniform(&b->rng);
    }
}

static int true_updates(const struct bench *b, double from_s, double to_s)
{
    return (int)(sim_device_number_at(&b->device, to_s) - sim_device_number_at(&b->device, from_s));
}

/* Every row of the table, five devices each. */
static void updates_are_true_ones(void **state)
{
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++)
        for (uint64_t seed = 1; seed <= 5; seed++) {
            struct sim_model m;
            sim_preset_draw(p, seed, &m);
            struct bench b = begin(p, &m, seed);
            run(&b, LAST_S);
            assert_true(b.samples > 20);
            if (m.period_s < 0.015)
                continue;
            /* of a device that updates seldom none is missed, each lies within its half-width alone, and the period is found */
            if (b.right_k < 0.97 * (b.samples - b.repeats) && !m.own_time)
                fail_msg("%s: only %d of %d updates are within their half-width", p->name, b.right_k, b.samples - b.repeats);
            int want = true_updates(&b, 0, LAST_S);
            if (abs(b.truths - want) > 2 + want / 100)
                fail_msg("%s: %d updates were seen, there were %d", p->name, b.truths, want);
            if (!m.own_time)
                assert_near(jl_s(b.updates.period_ns), m.period_s, 0.03 * m.period_s);
        }
}

/* Reads that fail or take long make half-widths longer, and every update stays a true one. */
static void failing_and_late_reads(void **state)
{
    static const struct {
        double fail_p, late_p;
    } rows[] = {{0.05, 0}, {0.5, 0}, {0, 0.05}, {0, 0.3}, {0.1, 0.1}};
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++)
        for (size_t i = 0; i < JL_COUNT(rows); i++) {
            struct sim_model m;
            sim_preset_draw(p, 3, &m);
            m.fail_p = rows[i].fail_p;
            m.late_p = rows[i].late_p;
            struct bench b = begin(p, &m, 3);
            b.slack_s += m.late_s; /* a late read may miss an update that the grid then puts where it usually is */
            run(&b, LAST_S);
            assert_true(b.samples > 20);
            assert_int_equal(b.late > 0, rows[i].late_p > 0 && jl_ns(m.late_s) > LATE_NS && !m.own_time);
        }
}

/* A range that is used up eight times a second: what is read adds up to what was drawn. */
static void many_wraps_lose_nothing(void **state)
{
    const struct sim_preset *p = sim_preset_find("rapl-small-range");
    struct sim_model m;
    (void)state;
    for (uint64_t seed = 0; seed < 20; seed++) {
        struct joulet_sample s;
        struct updates_read read;
        struct sim_read first, last;
        sim_preset_draw(p, seed, &m);
        struct bench b = begin(p, &m, seed);
        assert_true(read_device(&b, &read, &first, &s));
        b.t_s += 0.01;
        run(&b, LAST_S);
        read_device(&b, &read, &last, &s);
        assert_int_equal(read.value, last.u.value - first.u.value);
        assert_near((double)read.value * 1e-6, energy(NULL, last.u.end_s) - energy(NULL, first.u.end_s), 2 * m.quantum);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(updates_are_true_ones),
        cmocka_unit_test(failing_and_late_reads),
        cmocka_unit_test(many_wraps_lose_nothing),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
