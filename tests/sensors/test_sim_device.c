/* The model of a simulated device, asked for moments in virtual time: every preset shows what its row says of a known truth. */
#include "lib/sensors/sensor.h"
#include "lib/sensors/sim_device.h"

#include <string.h>

#include "tests/base/test.h"

/* Truth: 60 W, from 2 s on 300 W, from 5 s on 90 W; in closed form. */
static double energy(void *user, double t)
{
    (void)user;
    return t < 2 ? 60 * t : t < 5 ? 120 + 300 * (t - 2) : 1020 + 90 * (t - 5);
}

static double mean(double from, double to)
{
    return (energy(NULL, to) - energy(NULL, from)) / (to - from);
}

static struct sim_device device_of(const struct sim_model *m, uint64_t seed)
{
    struct sim_device d;
    sim_device_init(&d, m, energy, NULL, seed);
    return d;
}

static struct sim_device device(const char *preset, uint64_t seed)
{
    const struct sim_preset *p = sim_preset_find(preset);
    struct sim_model m;
    assert_non_null(p);
    sim_preset_draw(p, seed, &m);
    return device_of(&m, seed);
}

static bool same(double a, double b)
{
    return a == b || (isnan(a) && isnan(b));
}

static bool same_update(const struct sim_update *a, const struct sim_update *b)
{
    return a->raw == b->raw && a->value == b->value && a->k == b->k && a->end_s == b->end_s && a->visible_s == b->visible_s &&
           same(a->own_s, b->own_s) && same(a->span_s, b->span_s) && a->garbage == b->garbage;
}

/* ---- what holds for every preset ----------------------------------------------------------------------------------- */

static void a_seed_reproduces_what_is_shown_in_any_order(void **state)
{
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++) {
        struct sim_device a = device(p->name, 7), b = device(p->name, 7), other = device(p->name, 8);
        struct sim_read ra, rb, ro;
        int differ = 0;
        for (int i = 0; i < 200; i++) {
            double t = fmod(i * 1.7, 8) - 0.5;
            sim_device_read(&a, t, &ra);
            for (int j = 0; j < i % 3; j++)
                sim_device_read(&b, t - j, &rb); /* other questions between */
            sim_device_read(&b, t, &rb);
            sim_device_read(&other, t, &ro);
            if (!same_update(&ra.u, &rb.u))
                fail_msg("%s at %g", p->name, t);
            differ += ra.u.raw != ro.u.raw;
        }
        assert_true(differ > 5); /* power of a steady moment is the same on any device */
    }
}

static void updates_come_in_order_and_reads_show_the_newest(void **state)
{
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++) {
        struct sim_device d = device(p->name, 3);
        for (int64_t k = -20; k < 200; k++) {
            double visible = sim_device_visible_s(&d, k), next = sim_device_visible_s(&d, k + 1);
            if (!(next > visible))
                fail_msg("%s: update %d", p->name, (int)k);
            assert_int_equal(sim_device_number_at(&d, visible), k);
            assert_int_equal(sim_device_number_at(&d, visible + 0.999 * (next - visible)), k);
            assert_near(visible, d.phase_s + (double)k * d.m.period_s + d.m.lag_s, d.m.jitter_s + d.m.delay_s + 1e-12);
        }
    }
}

static void readings_hold_the_truth(void **state)
{
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++) {
        struct sim_device d = device(p->name, 5);
        struct sim_update u, first;
        sim_device_update(&d, -3, &first);
        int64_t from = (int64_t)(7 / d.m.period_s), step = from > 2000 ? from / 2000 : 1;
        for (int64_t k = -3; k < from; k += step) {
            sim_device_update(&d, k, &u);
            double window = d.m.window_s > 0 ? d.m.window_s : u.span_s;
            if (d.m.kind == SIM_COUNTER) {
                double slack = d.m.quantum + (d.m.noise > 0 ? 300 * d.m.period_s : 0);
                assert_near((double)(u.value - first.value) * 1e-6, energy(NULL, u.end_s) - energy(NULL, first.end_s),
                            slack + 2e-6);
            } else if (!(d.m.filter_s > 0)) {
                assert_near((double)u.value * 1e-6, mean(u.end_s - window, u.end_s), 6 * d.m.noise_w + d.m.quantum / 2 + 2e-6);
            }
            assert_true(isnan(u.own_s) || fabs(u.own_s - u.end_s) < 1e-12);
            assert_true(d.m.own_time == !isnan(u.own_s) && d.m.spans == !isnan(u.span_s));
        }
    }
}

/* A wrap is no loss: the differences of the raw counter are those of the energy. */
static void raw_counters_restart_at_their_range(void **state)
{
    static const char *const presets[] = {"rapl-package", "rapl-dram", "rapl-amd", "rapl-small-range"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(presets); i++) {
        struct sim_device d = device(presets[i], 11);
        uint64_t range = sim_model_range_uj(&d.m), total = 0;
        struct sim_update before, u;
        int wraps = 0;
        sim_device_update(&d, 0, &before);
        int64_t first = before.value;
        for (int64_t k = 10; k < 6000; k += 10) {
            sim_device_update(&d, k, &u);
            assert_true(u.raw < range);
            wraps += u.raw < before.raw;
            total += jl_counter_delta(before.raw, u.raw, range);
            before = u;
        }
        assert_int_equal((int64_t)total, u.value - first);
        assert_true(range > 20000000 || wraps > 50);
    }
}

/* ---- single traits -------------------------------------------------------------------------------------------------- */

static void spans_tile_time_and_batches_come_seldom(void **state)
{
    struct sim_device pm = device("powermetrics", 2), apple = device("apple", 2);
    double sum = 0, shortest = 9, longest = 0;
    struct sim_update u, first, last;
    (void)state;
    sim_device_update(&pm, 0, &first);
    for (int64_t k = 1; k <= 50; k++) {
        sim_device_update(&pm, k, &u);
        assert_true(u.span_s > 0.1159 && u.span_s < 0.1291);
        sum += (double)u.value * 1e-6 * u.span_s;
    }
    assert_near(sum, energy(NULL, u.end_s) - energy(NULL, first.end_s), 0.005);
    for (int64_t k = 0; k < 2000; k++) {
        sim_device_update(&apple, k, &u);
        sim_device_update(&apple, k + 1, &last);
        shortest = fmin(shortest, last.own_s - u.own_s);
        longest = fmax(longest, last.own_s - u.own_s);
    }
    assert_true(shortest > 0.3 && shortest < 0.5 && longest < 2.2 && longest > 2);
}

static void a_filter_follows_a_step_exponentially(void **state)
{
    static const double after[] = {0.01, 0.05, 0.1, 0.2, 0.5};
    struct sim_model m = sim_preset_find("amdgpu-power")->model;
    struct sim_update u;
    (void)state;
    m.noise_w = 0;
    struct sim_device d = device_of(&m, 4);
    for (size_t i = 0; i < JL_COUNT(after); i++) {
        sim_device_update(&d, sim_device_number_at(&d, 2 + after[i] + m.lag_s), &u);
        double want = 60 + 240 * (1 - exp(-(u.end_s - 2) / m.filter_s));
        assert_near((double)u.value * 1e-6, want, 0.5 + 240.0 / 32);
    }
}

static void noise_of_a_counter_never_adds_up(void **state)
{
    struct sim_model m = sim_preset_find("rapl-package")->model;
    double squares = 0;
    struct sim_update u, before;
    (void)state;
    m.noise = 0.2;
    m.jitter_s = 0;
    struct sim_device d = device_of(&m, 9);
    sim_device_update(&d, 10000, &before);
    for (int64_t k = 10001; k <= 14000; k++, before = u) {
        sim_device_update(&d, k, &u);
        assert_true(u.value >= before.value);
        double relative = (double)(u.value - before.value) * 1e-6 / 0.09 - 1;
        squares += relative * relative;
        assert_near((double)u.value * 1e-6, energy(NULL, u.end_s) - d.origin_j, 0.09);
    }
    assert_near(sqrt(squares / 4000), 0.2, 0.01);
}

static void reads_fail_and_come_late_as_often_as_asked(void **state)
{
    struct sim_model m = sim_preset_find("nvml-counter-100")->model;
    struct sim_read r;
    int failed = 0, late = 0, n = 20000;
    (void)state;
    m.fail_p = 0.1;
    m.late_p = 0.05;
    struct sim_device d = device_of(&m, 1);
    for (int i = 0; i < n; i++) {
        sim_device_read(&d, i * 0.005, &r);
        failed += r.fails;
        late += r.takes_s == m.late_s;
        assert_true(r.at_s >= i * 0.005 && r.at_s <= i * 0.005 + r.takes_s);
        assert_true(r.fails || (r.u.visible_s <= r.at_s && sim_device_visible_s(&d, r.u.k + 1) > r.at_s));
    }
    assert_near(failed, 0.1 * n, 4 * sqrt(0.09 * n));
    assert_near(late, 0.05 * n, 4 * sqrt(0.0475 * n));
}

static void faults_begin_when_they_are_asked_to(void **state)
{
    struct sim_model m = sim_preset_find("rapl-package")->model;
    struct sim_update a, b;
    (void)state;
    m.frozen_s = 3;
    struct sim_device d = device_of(&m, 6);
    sim_device_update(&d, 2990, &a);
    sim_device_update(&d, 2991, &b);
    assert_true(b.raw > a.raw);
    sim_device_update(&d, 3100, &a);
    sim_device_update(&d, 9000, &b);
    assert_int_equal(a.raw, b.raw);
    assert_near((double)a.value * 1e-6, energy(NULL, 3) - d.origin_j, 0.7);

    m.frozen_s = INFINITY;
    m.back_s = 4;
    d = device_of(&m, 6);
    sim_device_update(&d, 4100, &b);
    assert_near((double)b.raw * 1e-6, energy(NULL, b.end_s) - energy(NULL, 4), 0.001);
    m.back_j = 5;
    d = device_of(&m, 6);
    sim_device_update(&d, 3990, &a);
    sim_device_update(&d, 4010, &b);
    assert_near((double)(b.value - a.value) * 1e-6, energy(NULL, b.end_s) - energy(NULL, a.end_s) - 5, 0.001);
}

static void garbage_is_told_from_values(void **state)
{
    struct sim_model m = sim_preset_find("amdgpu-energy")->model;
    int bad = 0, ones = 0, n = 5000;
    struct sim_update u;
    (void)state;
    m.garbage_p = 0.02;
    struct sim_device d = device_of(&m, 12);
    for (int64_t k = 0; k < n; k++) {
        sim_device_update(&d, k, &u);
        bad += u.garbage;
        ones += u.raw == UINT64_MAX;
        assert_true(u.garbage || u.raw < 1u << 31 || u.raw < 2000000000000u);
        assert_near((double)u.value * 1e-6, energy(NULL, u.end_s) - d.origin_j, 0.001);
    }
    assert_near(bad, 0.02 * n, 4 * sqrt(0.02 * n));
    assert_true(ones > 10 && ones < bad - 10);
}

static void devices_of_a_kind_differ_and_the_meter_is_told_the_row(void **state)
{
    const struct sim_preset *p = sim_preset_find("nvml-counter");
    double lo = 1, hi = 0;
    struct joulet_channel ch;
    struct sim_model m;
    (void)state;
    for (uint64_t seed = 0; seed < 200; seed++) {
        sim_preset_draw(p, seed, &m);
        assert_true(m.period_s >= 0.02 && m.period_s <= 0.1 && m.lag_s >= 0 && m.lag_s <= 0.05);
        lo = fmin(lo, m.lag_s);
        hi = fmax(hi, m.lag_s);
    }
    assert_true(lo < 0.002 && hi > 0.048);
    sim_preset_channel(p, &ch);
    assert_near(ch.lag_s, 0.025, 0);
    assert_near(ch.u_lag_s, 0.014, 0);
    sim_preset_draw(sim_preset_find("nvml-ampere"), 4, &m);
    assert_near(m.window_s, m.period_s, 0);
    sim_preset_channel(sim_preset_find("powermetrics"), &ch);
    assert_true(ch.contiguous && ch.window_s == ch.period_s);
    assert_null(sim_preset_find("nvml"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_seed_reproduces_what_is_shown_in_any_order),
        cmocka_unit_test(updates_come_in_order_and_reads_show_the_newest),
        cmocka_unit_test(readings_hold_the_truth),
        cmocka_unit_test(raw_counters_restart_at_their_range),
        cmocka_unit_test(spans_tile_time_and_batches_come_seldom),
        cmocka_unit_test(a_filter_follows_a_step_exponentially),
        cmocka_unit_test(noise_of_a_counter_never_adds_up),
        cmocka_unit_test(reads_fail_and_come_late_as_often_as_asked),
        cmocka_unit_test(faults_begin_when_they_are_asked_to),
        cmocka_unit_test(garbage_is_told_from_values),
        cmocka_unit_test(devices_of_a_kind_differ_and_the_meter_is_told_the_row),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
