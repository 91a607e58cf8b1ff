/* Guaranteed bounds (2.4) of simulated devices that are read as real ones are: polled, now and then late, by the production
 * reader of updates. The true energy must lie within them every single time, and so must the estimate. Seeded. */
#include "lib/meter/estimators.h"
#include "lib/meter/updates.h"
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>

#define MOST_SAMPLES 4096
#define P_MIN        15.0
#define P_MAX        500.0

/* What a device does, and how it is read. */
struct habit {
    bool power;       /* readings that tile time; else a counter */
    double U, jitter; /* each update comes up to this early or late */
    double step;      /* of its readings: W, J */
    double poll_s, late_share, late_s, fail_share;
    bool predicted; /* the reader looks for the next update where it is due */
};

static const struct habit habits[] = {
    {true, .1, 1e-3, 1e-3, 5e-3, .01, 5e-3, 0, true},
    {true, .1, 1e-3, 1e-3, 5e-3, .02, 80e-3, 0, false},
    {true, .1, 5e-3, 1e-3, 5e-3, .03, 200e-3, 0, true},
    {true, .02, .5e-3, 1e-3, 5e-3, .02, 30e-3, 0, false},
    {true, .1, 0, 1, 5e-3, .01, 20e-3, 0, true},
    {true, .1, 1e-3, 1e-3, 5e-3, .01, 5e-3, .03, true},
    {false, .1, 5e-3, 1e-3, 5e-3, .02, 200e-3, .01, true},
    {false, .02, .5e-3, 1e-3, 5e-3, .02, 50e-3, 0, false},
    {false, .001, 50e-6, 0x1p-14, 10e-3, .02, 40e-3, .01, false},
};

/* ---- the device ------------------------------------------------------------------------------------------------------------ */

struct device {
    struct sim *sim;
    const struct habit *h;
    double lag, phase, t, value; /* of the last update */
    int64_t k;
};

static double energy_shown(const struct device *d, double t)
{
    return sim_energy(d->sim, 0, fmax(0, t - d->lag));
}

static void next_update(struct device *d, double t)
{
    double e = energy_shown(d, t) - energy_shown(d, d->t), x = d->h->power ? e / (t - d->t) : energy_shown(d, t);
    d->value = d->h->power ? floor(x / d->h->step + .5) * d->h->step : floor(x / d->h->step) * d->h->step;
    d->t = t;
    d->k++;
}

/* Plays on to moment t. The jitter is drawn once for each update. */
static void play_until(struct device *d, double t, double *next)
{
    while (*next <= t) {
        next_update(d, *next);
        *next = ((double)d->k + 1 + d->phase) * d->h->U + sim_uniform(d->sim, -d->h->jitter, d->h->jitter);
    }
}

/* ---- the reader ------------------------------------------------------------------------------------------------------------ */

static double next_poll(struct sim *s, const struct habit *h, const struct updates *u, double t)
{
    double due = h->predicted ? jl_s(updates_next(u, sim_ns(t)) - SIM_ORIGIN) : t + h->poll_s;
    if (sim_uniform(s, 0, 1) < h->late_share)
        due += h->late_s * sim_uniform(s, 0, 1);
    return due + sim_uniform(s, 0, 1e-4);
}

/* As the memory of the meter keeps samples: a time that would not ascend is moved, and the half-width covers that. */
static void keep(struct joulet_trace *trace, struct joulet_sample x)
{
    const struct joulet_sample *last = trace->n ? &trace->samples[trace->n - 1] : NULL;
    if (last && x.t_ns <= last->t_ns) {
        x.hw_ns += (uint32_t)(last->t_ns + 1 - x.t_ns);
        x.t_ns = last->t_ns + 1;
    }
    assert_true(trace->n < MOST_SAMPLES);
    trace->samples[trace->n++] = x;
}

static void record(struct sim *s, const struct habit *h, struct joulet_trace *trace)
{
    struct device d = {.sim = s, .h = h, .lag = trace->channel.lag_s + 3 * trace->channel.u_lag_s * sim_uniform(s, -1, 1)};
    struct updates u;
    double next = h->U * .01;
    d.phase = sim_uniform(s, 0, 1);
    updates_init(&u, h->power ? UPDATES_POWER : UPDATES_COUNTER, jl_ns(h->poll_s), jl_ns(h->U), h->predicted, NAN);
    trace->samples = calloc(MOST_SAMPLES, sizeof(*trace->samples));
    trace->n = 0;
    for (double t = 3 * h->U; t < s->length_s; t = next_poll(s, h, &u, t)) {
        double took = sim_uniform(s, 5e-6, 3e-4);
        play_until(&d, t + took * sim_uniform(s, 0, 1), &next);
        struct updates_read r = {.t0_ns = sim_ns(t), .t1_ns = sim_ns(t + took), .value = llround(d.value * 1e6)};
        struct joulet_sample x;
        if (sim_uniform(s, 0, 1) < h->fail_share) {
            updates_failed(&u);
            keep(trace, (struct joulet_sample){.t_ns = r.t0_ns, .flags = JOULET_SAMPLE_FAILED});
        } else if (updates_from(&u, &r, &x)) {
            keep(trace, x);
        }
    }
}

/* ---- the checks ------------------------------------------------------------------------------------------------------------ */

struct run {
    joulet_mark bounds[8];
    double t[8];
    struct joulet_what what;
    struct joulet_baseline idle;
};

/* Idle, phases of 3 ms to 2 s, idle; the power varies inside the phases too. */
static void random_run(struct sim *s, double rise_s, struct run *r)
{
    size_t n = 1 + (size_t)jl_rng_below(&s->rng, 4);
    double t = 1.2 + sim_uniform(s, 0, .3), P0 = sim_uniform(s, 2 * P_MIN, 80);
    *r = (struct run){.idle = {.power_w = P0, .u_w = .01 * P0, .sd_w = .5}};
    sim_step(s, 0, P0);
    for (size_t i = 0; i <= n; i++) {
        double d = pow(10, sim_uniform(s, -2.5, .3));
        r->t[i] = t;
        r->bounds[i] = sim_ns(t);
        sim_step(s, t, i < n ? sim_uniform(s, 90, 450) : P0);
        if (i < n && jl_rng_below(&s->rng, 2))
            sim_step(s, t + d * sim_uniform(s, .1, .9), sim_uniform(s, 90, 450));
        t += i < n ? d : 0;
    }
    r->what = (struct joulet_what){.bounds = r->bounds, .n_phases = n, .isolated = jl_rng_below(&s->rng, 2)};
    s->length_s = t + 2.5;
    s->rise_s = rise_s * sim_uniform(s, 0, 1);
}

static struct joulet_channel channel_of(const struct habit *h)
{
    struct joulet_channel c = h->power     ? sim_power_channel(h->U, h->U, true)
                              : h->U < .01 ? sim_rapl_channel()
                                           : sim_gpu_counter_channel(h->U, true);
    if (h->power)
        c.quantum_j = h->step;
    return c;
}

static void check(const struct joulet_energy *e, double truth, int row, uint64_t seed, const char *which)
{
    if (truth < e->min_j - 1e-9 || truth > e->max_j + 1e-9)
        fail_msg("row %d, seed %d: %s is %.6f J, bounds %.6f .. %.6f", row, (int)seed, which, truth, e->min_j, e->max_j);
    if (!isnan(e->gross_j) && (e->gross_j < e->min_j - 1e-9 || e->gross_j > e->max_j + 1e-9))
        fail_msg("row %d, seed %d: %s is said to be %.6f J, outside its bounds %.6f .. %.6f", row, (int)seed, which, e->gross_j,
                 e->min_j, e->max_j);
}

/* Of the whole: how often it was given, and how often its interval held. */
struct tally {
    int given, held;
};

static void one_run(int row, uint64_t seed, bool limits, struct tally *tally)
{
    const struct habit *h = &habits[row];
    struct sim s;
    struct run r;
    struct joulet_measured m;
    struct joulet_error err;
    struct joulet_trace trace = {.channel = channel_of(h)};
    sim_init(&s, seed * 16 + (uint64_t)row, 0);
    random_run(&s, trace.channel.rise_s, &r);
    record(&s, h, &trace);
    trace.channel.power_min_w = limits ? P_MIN : NAN;
    trace.channel.power_max_w = limits ? P_MAX : NAN;
    enum joulet_status status = joulet_measure(&trace, &r.idle, &r.what, &m, &err);
    if (status != JOULET_OK && status != JOULET_TOO_SHORT)
        fail_msg("row %d, seed %d: %s", row, (int)seed, err.message);
    for (size_t i = 0; i < r.what.n_phases; i++)
        if (!(m.parts[i].flags & JOULET_FLAG_JOINED)) /* holds its neighbour too */
            check(&m.parts[i], sim_energy(&s, r.t[i], r.t[i + 1]), row, seed, "a part");
    double truth = sim_energy(&s, r.t[0], r.t[r.what.n_phases]);
    check(&m.whole, truth, row, seed, "the whole");
    tally->given += !isnan(m.whole.gross_j);
    tally->held += fabs(m.whole.gross_j - truth) <= m.whole.gross_pm_j;
    sim_trace_release(&trace);
    sim_release(&s);
}

static void test_bounds_always_hold(void **state)
{
    (void)state;
    for (int row = 0; row < (int)JL_COUNT(habits); row++) {
        struct tally n = {0};
        for (uint64_t seed = 1; seed <= 150; seed++)
            one_run(row, seed, true, &n);
        print_message("row %d: %d of %d intervals hold\n", row, n.held, n.given);
        assert_true(n.held * 100 >= n.given * 85); /* these are worse to their readers than most */
    }
}

/* Limits that nobody told are taken from the readings. */
static void test_bounds_hold_without_limits(void **state)
{
    struct tally n = {0};
    (void)state;
    for (uint64_t seed = 1001; seed <= 1150; seed++)
        for (int row = 0; row < (int)JL_COUNT(habits); row++)
            one_run(row, seed, false, &n);
}

/* Updates inserted while the power stayed equal drift away from the device's own. The change that ends them tells where the last
 * one was: one period earlier, which changes no energy but that of the new power. */
static void test_the_last_repeat_ends_before_the_change(void **state)
{
    (void)state;
    static const struct {
        double change, last, energy;
    } rows[] = {{1.06, .96, 60 * .96 + 300 * .1}, {1.14, 1.04, 60 * 1.04 + 300 * .1}, {1.26, 1, 60 + 300 * .26}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_sample x[12] = {{.t_ns = sim_ns(0), .value = 60000000, .hw_ns = 50000000}};
        for (size_t k = 1; k <= 10; k++)
            x[k] = (struct joulet_sample){sim_ns(.1 * (double)k), 60000000, 50000000, JOULET_SAMPLE_REPEAT};
        x[11] = (struct joulet_sample){.t_ns = sim_ns(rows[i].change), .value = 300000000, .hw_ns = 500000};
        struct joulet_trace trace = {.channel = sim_power_channel(.1, .1, true), .samples = x, .n = 12};
        struct jl_slice s = jl_slice_of(&trace, x[0].t_ns, x[11].t_ns, 0, x[0].t_ns);
        struct jl_params p;
        struct jl_edges e;
        struct jl_readings r;
        jl_params_of(&trace, &p);
        assert_true(jl_edges_of(&s, &p, JL_FOR_BOUNDS, &e) && jl_readings_of(&s, p.U, &r));
        assert_near(e.items[10].t, rows[i].last, 1e-9);
        assert_near(r.items[10].t, rows[i].last, 1e-9);
        assert_near(e.items[10].hw, i < 2 ? 5e-4 : 50e-3, 1e-12); /* a missed reading tells nothing */
        assert_near(e.items[11].c, rows[i].energy, 1e-6);
        jl_edges_release(&e);
        jl_readings_release(&r);
    }
}

/* An update found by a late poll lies between its neighbours, as far as its own interval reaches; bounds take it as it is. */
static void test_late_update_among_even_ones(void **state)
{
    (void)state;
    static const struct {
        double t, hw, next, want, want_hw;
    } rows[] = {
        {.106, 8e-3, .2, .1, 5e-4},    /* in the middle */
        {.106, 4e-3, .2, .102, 5e-4},  /* no further than it can be */
        {.106, 6e-4, .2, .106, 6e-4},  /* known as well as the others */
        {.106, 8e-3, .23, .106, 8e-3}, /* the others are not even */
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_sample x[] = {{.t_ns = sim_ns(0), .value = 60000000, .hw_ns = 500000},
                                    {.t_ns = sim_ns(rows[i].t), .value = 60000000, .hw_ns = (uint32_t)(rows[i].hw * 1e9 + .5)},
                                    {.t_ns = sim_ns(rows[i].next), .value = 300000000, .hw_ns = 500000}};
        struct joulet_trace trace = {.channel = sim_power_channel(.1, .1, true), .samples = x, .n = JL_COUNT(x)};
        struct jl_slice s = jl_slice_of(&trace, x[0].t_ns, x[2].t_ns, 0, x[0].t_ns);
        struct jl_params p;
        struct jl_edges e;
        jl_params_of(&trace, &p);
        p.by_change = false; /* nothing is dropped */
        assert_true(jl_edges_of(&s, &p, JL_FOR_ESTIMATES, &e));
        assert_near(e.items[1].t, rows[i].want, 1e-9);
        assert_near(e.items[1].hw, rows[i].want_hw, 1e-9);
        assert_near(e.items[2].c, 60 * rows[i].want + 300 * (rows[i].next - rows[i].want), 1e-6);
        jl_edges_release(&e);
        assert_true(jl_edges_of(&s, &p, JL_FOR_BOUNDS, &e));
        assert_near(e.items[1].t, rows[i].t, 1e-9);
        jl_edges_release(&e);
    }
}

/* A phase of 0.1 s in windows of 1 s: no reading comes near its power, and 1.5 times the largest is no limit of it. */
static void test_phase_inside_long_windows(void **state)
{
    static const struct jl_reading r[] = {
        {.t = 0.95, .y_w = 60}, {.t = 1.05, .y_w = 78}, {.t = 1.15, .y_w = 96}, {.t = 1.95, .y_w = 96}};
    const struct jl_limits limits = {.p_min = 30, .step_w = 0};
    (void)state;
    /* idle 60 W, 420 W from 1 to 1.1 s: the window from 0.15 to 1.15 s holds all of it */
    assert_near(jl_hidden_power_of_readings(r, JL_COUNT(r), 1, 1.1, 1, &limits), (96 - 30 * 0.9) / 0.1, 1e-9);
    assert_near(jl_hidden_power_of_readings(r, 2, 1, 1.1, 1, &limits), 0, 0);           /* none holds all of it */
    assert_near(jl_hidden_power_of_readings(r, JL_COUNT(r), 1, 2.1, 1, &limits), 0, 0); /* readings of its own */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bounds_always_hold),
        cmocka_unit_test(test_bounds_hold_without_limits),
        cmocka_unit_test(test_the_last_repeat_ends_before_the_change),
        cmocka_unit_test(test_late_update_among_even_ones),
        cmocka_unit_test(test_phase_inside_long_windows),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
