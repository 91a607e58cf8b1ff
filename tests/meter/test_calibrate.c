/* Calibration against devices of known period, window and lag (docs/method.md 1.4). The truth is integrated here, on a grid of
 * 0.1 ms, by code that shares nothing with lib/meter. Virtual time: nothing waits. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

#define STEP_S  1e-4
#define LONG_S  60.0
#define STEPS   ((size_t)(LONG_S / STEP_S))
#define IDLE_W  60.0
#define BUSY_W  300.0
#define START_S 2.0

struct device {
    const char *name;
    bool counter;
    double U, W, lag, rise;
    double hw;    /* how exactly updates are found */
    double noise; /* relative, correlated over 50 ms */
    uint64_t seed;
    double busy_w;    /* 0: BUSY_W */
    double foreign_w; /* load of others, random */
};

struct truth {
    double *energy; /* at each step */
    struct joulet_pulse pulses[80];
    size_t n_pulses;
    double end_s;
};

static double normal(struct jl_rng *r)
{
    double u = 1 - jl_rng_uniform(r), v = jl_rng_uniform(r);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

static double uniform(struct jl_rng *r, double lo, double hi)
{
    return lo + (hi - lo) * jl_rng_uniform(r);
}

static double to_grid(double t)
{
    return floor(t / STEP_S + 0.5) * STEP_S;
}

static void draw_pulses(struct truth *t, size_t n, struct jl_rng *r)
{
    double at = START_S;
    for (size_t i = 0; i < n; i++) {
        double on = to_grid(at), off = to_grid(on + uniform(r, 0.150, 0.400));
        t->pulses[i] = (struct joulet_pulse){jl_ns(on), jl_ns(off)};
        at = off + uniform(r, 0.200, 0.450);
    }
    t->n_pulses = n;
    t->end_s = at + 1;
}

/* Power follows what is asked with a time constant; noise and the load of others come on top. */
static void integrate(struct truth *t, const struct device *d, struct jl_rng *r)
{
    double p = IDLE_W, e = 0, noise = 0, foreign = 0, busy = d->busy_w > 0 ? d->busy_w : BUSY_W;
    size_t k = 0;
    t->energy = malloc((STEPS + 1) * sizeof(double));
    assert_non_null(t->energy);
    for (size_t i = 0; i <= STEPS; i++) {
        double now = (double)i * STEP_S + STEP_S / 2;
        t->energy[i] = e;
        while (k < t->n_pulses && now > jl_s(t->pulses[k].off_ns))
            k++;
        bool on = k < t->n_pulses && now > jl_s(t->pulses[k].on_ns);
        double asked = on ? busy : IDLE_W;
        p = d->rise > 0 ? asked + (p - asked) * exp(-STEP_S / d->rise) : asked;
        if (i % 50 == 0) { /* 5 ms */
            noise = noise * exp(-0.1) + d->noise * sqrt(1 - exp(-0.2)) * normal(r);
            if (i % 2000 == 0)
                foreign = d->foreign_w * jl_rng_uniform(r);
        }
        e += (p * (1 + noise) + foreign) * STEP_S;
    }
}

static double energy_at(const struct truth *t, double s)
{
    double x = s / STEP_S;
    if (x <= 0)
        return IDLE_W * s;
    size_t i = (size_t)x;
    if (i >= STEPS)
        return t->energy[STEPS];
    return t->energy[i] + (t->energy[i + 1] - t->energy[i]) * (x - (double)i);
}

static struct joulet_channel channel_of(const struct device *d)
{
    return (struct joulet_channel){.id = d->name,
                                   .sensor = "test",
                                   .device = "",
                                   .parent = "",
                                   .quantity = d->counter ? JOULET_ENERGY : JOULET_POWER,
                                   .period_s = d->U,
                                   .window_s = d->counter ? 0 : 0.1,
                                   .quantum_j = d->counter && d->U < 0.01 ? 61e-6 : 0.001,
                                   .lag_s = 0.025,
                                   .u_lag_s = 0.014,
                                   .rise_s = d->rise,
                                   .factor_lo = 1,
                                   .factor_hi = 1,
                                   .power_min_w = NAN,
                                   .power_max_w = NAN};
}

/* What an update at t shows, microjoules or microwatts in steps of the channel. */
static int64_t shown(const struct truth *truth, const struct device *d, const struct joulet_channel *ch, double t)
{
    double e = energy_at(truth, t - d->lag);
    double x = d->counter ? e : (e - energy_at(truth, t - d->lag - d->W)) / d->W;
    return (int64_t)llround(floor(x / ch->quantum_j) * ch->quantum_j * 1e6);
}

static void play_slow(struct joulet_trace *t, const struct truth *truth, const struct device *d, struct jl_rng *r)
{
    double phase = jl_rng_uniform(r) * d->U;
    t->samples = calloc((size_t)(truth->end_s / d->U) + 2, sizeof(*t->samples));
    assert_non_null(t->samples);
    for (double at = phase; at < truth->end_s; at += d->U) {
        double seen = at + d->hw * uniform(r, -1, 1);
        t->samples[t->n++] = (struct joulet_sample){
            .t_ns = jl_ns(seen), .value = shown(truth, d, &t->channel, at), .hw_ns = (uint32_t)(d->hw * 1e9)};
    }
}

static int by_time(const void *a, const void *b)
{
    const struct joulet_sample *x = a, *y = b;
    return (x->t_ns > y->t_ns) - (x->t_ns < y->t_ns);
}

/* Polled every 10 ms, and locked to both ends of every pulse. */
static void play_fast(struct joulet_trace *t, const struct truth *truth, const struct device *d, struct jl_rng *r)
{
    double phase = jl_rng_uniform(r) * d->U;
    t->samples = calloc((size_t)(truth->end_s / 0.01) + 2 * truth->n_pulses + 2, sizeof(*t->samples));
    assert_non_null(t->samples);
    for (double at = 0.02; at < truth->end_s; at += 0.01) {
        double poll = at + 0.5e-3 * jl_rng_uniform(r), update = phase + floor((poll - phase) / d->U) * d->U;
        t->samples[t->n++] = (struct joulet_sample){
            .t_ns = jl_ns(poll - d->U / 2), .value = shown(truth, d, &t->channel, update), .hw_ns = (uint32_t)(d->U / 2 * 1e9)};
    }
    for (size_t i = 0; i < 2 * truth->n_pulses; i++) {
        double event = jl_s(i % 2 ? truth->pulses[i / 2].off_ns : truth->pulses[i / 2].on_ns);
        double update = phase + ceil((event - phase) / d->U) * d->U;
        t->samples[t->n++] = (struct joulet_sample){.t_ns = jl_ns(update + 15e-6 * uniform(r, -1, 1)),
                                                    .value = shown(truth, d, &t->channel, update),
                                                    .hw_ns = 15000,
                                                    .flags = JOULET_SAMPLE_LOCKED};
    }
    qsort(t->samples, t->n, sizeof(*t->samples), by_time);
}

static void run_device(const struct device *d, size_t n_pulses, struct joulet_trace *trace, struct truth *truth)
{
    struct jl_rng r = {d->seed};
    memset(truth, 0, sizeof(*truth));
    *trace = (struct joulet_trace){.channel = channel_of(d)};
    draw_pulses(truth, n_pulses, &r);
    integrate(truth, d, &r);
    if (d->U < 0.01)
        play_fast(trace, truth, d, &r);
    else
        play_slow(trace, truth, d, &r);
}

static void put_away(struct joulet_trace *trace, struct truth *truth)
{
    free(trace->samples);
    free(truth->energy);
}

/* ---- what is found ------------------------------------------------------------------------------------------------------- */

static const struct device devices[] = {
    {"counter of 100 ms", true, 0.100, 0, 0.025, 0.003, 0.5e-3, 0.02, 1, 0, 0},
    {"counter of 100 ms, no lag", true, 0.100, 0, 0, 0.003, 0.5e-3, 0.02, 2, 0, 0},
    {"counter of 100 ms, late by 90 ms", true, 0.100, 0, 0.090, 0.003, 0.5e-3, 0.02, 3, 0, 0},
    {"counter of 100 ms, polled at 5 ms", true, 0.100, 0, 0.040, 0.003, 2.5e-3, 0.02, 4, 0, 0},
    {"counter of 50 ms", true, 0.050, 0, 0.033, 0.003, 0.5e-3, 0.02, 5, 0, 0},
    {"counter of 20 ms", true, 0.020, 0, 0.012, 0.003, 0.5e-3, 0.02, 6, 0, 0},
    {"25 of 100 ms", false, 0.100, 0.025, 0.030, 0.003, 0.5e-3, 0.02, 7, 0, 0},
    {"25 of 100 ms, no lag", false, 0.100, 0.025, 0.001, 0.003, 0.5e-3, 0.02, 8, 0, 0},
    {"20 of 100 ms", false, 0.100, 0.020, 0.048, 0.003, 0.5e-3, 0.02, 9, 0, 0},
    {"100 of 100 ms", false, 0.100, 0.100, 0.025, 0.003, 0.5e-3, 0.02, 10, 0, 0},
    {"100 of 100 ms, late by 60 ms", false, 0.100, 0.100, 0.060, 0.003, 2.5e-3, 0.02, 11, 0, 0},
    {"10 of 20 ms", false, 0.020, 0.010, 0.017, 0.003, 0.5e-3, 0.02, 12, 0, 0},
    {"200 of 100 ms", false, 0.100, 0.200, 0.020, 0.003, 0.5e-3, 0.02, 13, 0, 0},
    {"average of a second", false, 0.100, 1.000, 0.025, 0.003, 0.5e-3, 0.02, 14, 0, 0},
    {"average of a second, late by 70 ms", false, 0.100, 1.000, 0.070, 0.003, 0.5e-3, 0.02, 15, 0, 0},
    {"120 of 120 ms", false, 0.120, 0.120, 0.015, 0.003, 0.5e-3, 0.02, 16, 0, 0},
    {"slow rise", true, 0.100, 0, 0.025, 0.010, 0.5e-3, 0.02, 17, 0, 0},
    {"small step", true, 0.100, 0, 0.025, 0.003, 0.5e-3, 0.01, 18, 90, 0},
};

static void lag_and_window_are_recovered(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(devices); i++) {
        const struct device *d = &devices[i];
        struct joulet_trace trace;
        struct truth truth;
        struct joulet_calibration c;
        struct joulet_error err;
        run_device(d, JOULET_CALIBRATION_PULSES, &trace, &truth);
        enum joulet_status st = joulet_calibrate_lag(&trace, truth.pulses, truth.n_pulses, &c, &err);
        if (getenv("SHOW"))
            print_message("%-36s lag %6.2f ms (truth %5.1f) u %.2f W %4.0f ms step %.1f W explained %.3f rival %.2f %s %s\n",
                          d->name, c.lag_s * 1e3, d->lag * 1e3, c.fit_u_s * 1e3, c.window_s * 1e3, c.step_w, c.explained, c.rival,
                          joulet_verdict_name(c.verdict), err.message);
        if (st != JOULET_OK)
            print_error("%s: %s\n", d->name, err.message);
        assert_int_equal(st, JOULET_OK);
        assert_near(c.lag_s, d->lag, 0.003);
        assert_near(c.window_s, d->counter ? 0 : d->W, 0.05 * d->W);
        assert_true(c.u_lag_s >= 0.003 && c.u_lag_s < 0.006);
        assert_near(c.step_w, (d->busy_w > 0 ? d->busy_w : BUSY_W) - IDLE_W, 15);
        assert_near(c.idle_w, IDLE_W, 5);
        assert_int_not_equal(c.verdict, JOULET_VERDICT_NONE);
        put_away(&trace, &truth);
    }
}

static void fast_counters_are_known_to_a_fraction_of_a_millisecond(void **state)
{
    static const double lags[] = {-0.4e-3, 0, 0.25e-3, 0.9e-3, 1.1e-3};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(lags); i++) {
        struct device d = {"counter of 1 ms", true, 0.001, 0, lags[i], 0.3e-3, 0, 0.02, 40 + i, 0, 0};
        struct joulet_trace trace;
        struct truth truth;
        struct joulet_calibration c;
        struct joulet_error err;
        run_device(&d, JOULET_CALIBRATION_PULSES, &trace, &truth);
        enum joulet_status st = joulet_calibrate_lag(&trace, truth.pulses, truth.n_pulses, &c, &err);
        if (getenv("SHOW"))
            print_message("RAPL lag %6.3f ms (truth %5.3f) u %.3f step %.1f W explained %.3f %s %s\n", c.lag_s * 1e3, d.lag * 1e3,
                          c.fit_u_s * 1e3, c.step_w, c.explained, joulet_verdict_name(c.verdict), err.message);
        assert_int_equal(st, JOULET_OK);
        assert_near(c.lag_s, d.lag, 0.3e-3);
        assert_true(c.u_lag_s >= 0.15e-3 && c.u_lag_s < 0.3e-3);
        put_away(&trace, &truth);
    }
}

/* ---- what is refused ----------------------------------------------------------------------------------------------------- */

static enum joulet_status refused(const struct device *d, size_t n_pulses, struct joulet_error *err)
{
    struct joulet_trace trace;
    struct truth truth;
    struct joulet_calibration c;
    run_device(d, n_pulses, &trace, &truth);
    enum joulet_status st = joulet_calibrate_lag(&trace, truth.pulses, truth.n_pulses, &c, err);
    assert_int_equal(c.verdict, st == JOULET_OK ? c.verdict : JOULET_VERDICT_NONE);
    put_away(&trace, &truth);
    return st;
}

static void what_tells_nothing_is_refused_with_the_reason(void **state)
{
    struct joulet_error err;
    struct device d = {"gpu0.board", true, 0.100, 0, 0.025, 0.003, 0.5e-3, 0.02, 60, 0, 0};
    (void)state;
    assert_int_equal(refused(&d, JOULET_CALIBRATION_PULSES_MIN - 1, &err), JOULET_TOO_SHORT);
    assert_non_null(strstr(err.message, "too few"));
    assert_int_equal(refused(&d, JOULET_CALIBRATION_PULSES_MIN, &err), JOULET_OK);

    d.busy_w = IDLE_W; /* the load runs elsewhere */
    d.foreign_w = 50;
    assert_int_equal(refused(&d, JOULET_CALIBRATION_PULSES, &err), JOULET_UNSUPPORTED);
    assert_non_null(strstr(err.message, "does not move the power of gpu0.board"));

    d = (struct device){"gpu0.board", true, 0.100, 0, 0.200, 0.003, 0.5e-3, 0.02, 61, 0, 0};
    assert_int_equal(refused(&d, JOULET_CALIBRATION_PULSES, &err), JOULET_LIMIT);

    d = (struct device){"gpu0.board", true, 0.100, 0, 0.025, 0.003, 0.5e-3, 0.02, 62, 0, 1500};
    enum joulet_status st = refused(&d, JOULET_CALIBRATION_PULSES_MIN, &err);
    assert_true(st == JOULET_UNSUPPORTED || st == JOULET_LIMIT);
}

static void a_flat_sensor_is_refused(void **state)
{
    struct joulet_sample samples[400];
    struct joulet_pulse pulses[JOULET_CALIBRATION_PULSES_MIN];
    struct joulet_calibration c;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(samples); i++)
        samples[i] = (struct joulet_sample){.t_ns = (int64_t)i * 50000000, .value = 60000000, .hw_ns = 500000};
    for (size_t i = 0; i < JL_COUNT(pulses); i++)
        pulses[i] = (struct joulet_pulse){2000000000 + (int64_t)i * 700000000, 2300000000 + (int64_t)i * 700000000};
    struct device d = {"gpu0.power", false, 0.050, 0.050, 0, 0.003, 0, 0, 0, 0, 0};
    struct joulet_trace t = {.channel = channel_of(&d), .samples = samples, .n = JL_COUNT(samples)};
    assert_int_equal(joulet_calibrate_lag(&t, pulses, JL_COUNT(pulses), &c, &err), JOULET_FROZEN);
    assert_non_null(strstr(err.message, "60 W all the time"));
    d.counter = true;
    struct joulet_trace still = {.channel = channel_of(&d), .samples = samples, .n = 2};
    samples[1].flags = JOULET_SAMPLE_LAST;
    assert_int_equal(joulet_calibrate_lag(&still, pulses, JL_COUNT(pulses), &c, &err), JOULET_FROZEN);
    samples[1].flags = 0;
    t.n = 20;
    samples[19].value++;
    assert_int_equal(joulet_calibrate_lag(&t, pulses, JL_COUNT(pulses), &c, &err), JOULET_TOO_SHORT);
    t.n = 0;
    assert_int_equal(joulet_calibrate_lag(&t, pulses, JL_COUNT(pulses), &c, &err), JOULET_NO_DATA);
    t.n = JL_COUNT(samples);
    pulses[3].off_ns = pulses[3].on_ns;
    assert_int_equal(joulet_calibrate_lag(&t, pulses, JL_COUNT(pulses), &c, &err), JOULET_USAGE);
    pulses[3].off_ns = pulses[4].on_ns + 1;
    assert_int_equal(joulet_calibrate_lag(&t, pulses, JL_COUNT(pulses), &c, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "pulse 5"));
}

/* ---- period, ratio, reading ---------------------------------------------------------------------------------------------- */

static void the_period_is_found_from_changes(void **state)
{
    static const double periods[] = {0.001, 0.020, 0.0873, 0.100, 1.0};
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(periods); i++) {
        struct joulet_sample samples[64];
        struct jl_rng r = {i};
        double found, u;
        struct device d = {"x", true, 0.5, 0, 0, 0.003, 0, 0, 0, 0, 0};
        struct joulet_trace t = {.channel = channel_of(&d), .samples = samples, .n = JL_COUNT(samples)};
        int64_t value = 0;
        for (size_t k = 0; k < JL_COUNT(samples); k++) {
            bool missed = k % 17 == 3; /* an update that changed nothing is not seen */
            value += missed ? 0 : 100 + (int64_t)jl_rng_below(&r, 50);
            samples[k] = (struct joulet_sample){.t_ns = jl_ns((double)k * periods[i] + periods[i] * 0.05 * uniform(&r, -1, 1)),
                                                .value = value,
                                                .flags = missed ? JOULET_SAMPLE_FAILED : 0u};
        }
        assert_int_equal(joulet_calibrate_period(&t, 0, INT64_MAX, &found, &u, &err), JOULET_OK);
        assert_near(found, periods[i], 0.02 * periods[i]);
        assert_true(u > 0 && u < 0.02 * periods[i]);
        assert_int_equal(joulet_calibrate_period(&t, 0, jl_ns(6 * periods[i]), &found, NULL, &err), JOULET_TOO_SHORT);
        assert_true(isnan(found));
    }
}

static void counters_are_held_against_power(void **state)
{
    static const double gains[] = {1.0, 0.96, 1.12, 1.3};
    static const enum joulet_verdict verdicts[] = {JOULET_VERDICT_GOOD, JOULET_VERDICT_GOOD, JOULET_VERDICT_FAIR,
                                                   JOULET_VERDICT_NONE};
    struct joulet_sample counted[60], shown_w[60];
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(gains); i++) {
        struct device dc = {"gpu0.board", true, 0.1, 0, 0, 0.003, 0, 0, 0, 0, 0}, dp = dc;
        double ratio;
        dp.counter = false;
        struct joulet_trace c = {.channel = channel_of(&dc), .samples = counted, .n = JL_COUNT(counted)};
        struct joulet_trace p = {.channel = channel_of(&dp), .samples = shown_w, .n = JL_COUNT(shown_w)};
        for (size_t k = 0; k < JL_COUNT(counted); k++) {
            counted[k] = (struct joulet_sample){.t_ns = (int64_t)k * 100000000, .value = llround((double)k * 20e6 * gains[i])};
            shown_w[k] =
                (struct joulet_sample){.t_ns = (int64_t)k * 100000000 + 7, .value = 200000000 + (k % 2 ? 1000000 : -1000000)};
        }
        assert_int_equal(joulet_calibrate_ratio(&c, &p, 500000000, 5500000000, &ratio, &err), JOULET_OK);
        assert_near(ratio, gains[i], 2e-3);
        assert_int_equal(joulet_ratio_verdict(ratio), verdicts[i]);
        assert_int_equal(joulet_calibrate_ratio(&c, &p, 500000000, 600000000, &ratio, &err), JOULET_TOO_SHORT);
        assert_int_equal(joulet_calibrate_ratio(&p, &c, 0, 1, &ratio, &err), JOULET_USAGE);
        counted[30].flags = JOULET_SAMPLE_RESET;
        assert_int_equal(joulet_calibrate_ratio(&c, &p, 500000000, 5500000000, &ratio, &err), JOULET_TOO_SHORT);
    }
    assert_int_equal(joulet_ratio_verdict(NAN), JOULET_VERDICT_GOOD);
}

static void the_fastest_reading_that_does_not_disturb_is_taken(void **state)
{
    static const struct {
        double ratio[JOULET_READING_COUNT];
        enum joulet_reading want;
    } cases[] = {
        {{1.00, 1.00, 1.00}, JOULET_READING_SEARCH}, {{1.019, 1.00, 1.00}, JOULET_READING_SEARCH},
        {{1.03, 1.00, 1.00}, JOULET_READING_POLL},   {{1.03, 1.03, 1.00}, JOULET_READING_SECOND},
        {{0.97, 0.985, 1.00}, JOULET_READING_POLL},  {{NAN, 1.00, 1.00}, JOULET_READING_POLL},
        {{1.50, 1.50, NAN}, JOULET_READING_SEARCH},  {{NAN, NAN, NAN}, JOULET_READING_SEARCH},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_int_equal(joulet_calibrate_reading(cases[i].ratio), cases[i].want);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(lag_and_window_are_recovered),
        cmocka_unit_test(fast_counters_are_known_to_a_fraction_of_a_millisecond),
        cmocka_unit_test(what_tells_nothing_is_refused_with_the_reason),
        cmocka_unit_test(a_flat_sensor_is_refused),
        cmocka_unit_test(the_period_is_found_from_changes),
        cmocka_unit_test(counters_are_held_against_power),
        cmocka_unit_test(the_fastest_reading_that_does_not_disturb_is_taken),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
