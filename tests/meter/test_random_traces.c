/* Traces that no device gives: whatever they hold, nothing crashes, a figure that is known has an interval that is known, and
 * parts sum to the whole. Seeded, so that a failure can be replayed. */
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 400, TRACES = 4000 };

static double uniform(struct jl_rng *r, double lo, double hi)
{
    return lo + (hi - lo) * jl_rng_uniform(r);
}

static bool one_in(struct jl_rng *r, uint64_t n)
{
    return jl_rng_below(r, n) == 0;
}

static double any_of(struct jl_rng *r, const double *x, size_t n)
{
    return x[jl_rng_below(r, n)];
}

static struct joulet_channel random_channel(struct jl_rng *r)
{
    static const double periods[] = {0, 1e-3, 9e-3, .01, .02, .1, 1, NAN}, windows[] = {0, .01, .025, .1, 1, NAN};
    static const double lags[] = {0, 25e-3, 1, NAN}, u_lags[] = {0, .15e-3, 3e-3, 14e-3, 1, NAN},
                        rises[] = {0, .3e-3, 3e-3, .5, NAN};
    static const double quanta[] = {0, 1e-3, 100, NAN}, limits[] = {NAN, 0, 60, 700};
    struct joulet_channel c = sim_gpu_counter_channel(.1, one_in(r, 2));
    if (one_in(r, 4))
        return sim_power_channel(.1, .025, one_in(r, 2));
    if (one_in(r, 2)) {
        c.quantity = JOULET_POWER;
        c.window_s = any_of(r, windows, JL_COUNT(windows));
    }
    c.period_s = any_of(r, periods, JL_COUNT(periods));
    c.contiguous = one_in(r, 4);
    c.lag_s = any_of(r, lags, JL_COUNT(lags));
    c.u_lag_s = any_of(r, u_lags, JL_COUNT(u_lags));
    c.rise_s = any_of(r, rises, JL_COUNT(rises));
    c.quantum_j = any_of(r, quanta, JL_COUNT(quanta));
    c.power_min_w = any_of(r, limits, JL_COUNT(limits));
    c.power_max_w = any_of(r, limits, JL_COUNT(limits));
    if (one_in(r, 6)) {
        c.provenance = JOULET_ESTIMATED;
        c.factor_lo = .7;
        c.factor_hi = 1.6;
    }
    return c;
}

/* Mostly a device of some power, now and then anything. Times ascend, as the memory of the meter sees to it. */
static void random_trace(struct jl_rng *r, struct joulet_trace *t, struct joulet_sample *s)
{
    static const double steps[] = {1e-9, 1e-3, .01, .02, .1, .1, .1, 1};
    double step = any_of(r, steps, JL_COUNT(steps)), at = 0, value = 0, power = uniform(r, 0, 400);
    *t = (struct joulet_trace){.channel = random_channel(r), .samples = s, .n = (size_t)jl_rng_below(r, MOST)};
    for (size_t i = 0; i < t->n; i++) {
        double dt = one_in(r, 20) ? uniform(r, 0, 20 * step) : one_in(r, 40) ? 1e-9 : step * uniform(r, .9, 1.1);
        at += fmax(dt, 1e-9);
        power = one_in(r, 10) ? uniform(r, 0, 500) : power;
        value += one_in(r, 100) ? uniform(r, -1e4, 1e6) : power * dt;
        double shown = t->channel.quantity == JOULET_POWER ? one_in(r, 50) ? uniform(r, -10, 1e6) : power : value;
        s[i] = (struct joulet_sample){.t_ns = sim_ns(at),
                                      .value = (int64_t)(shown * 1e6),
                                      .hw_ns = (uint32_t)(one_in(r, 20) ? uniform(r, 0, 4e9) : uniform(r, 0, 3e6)),
                                      .flags = one_in(r, 30) ? 1u << jl_rng_below(r, 6) : 0};
    }
}

static void random_moments(struct jl_rng *r, const struct joulet_trace *t, joulet_mark *m, size_t n)
{
    double end = t->n ? jl_s(t->samples[t->n - 1].t_ns - SIM_ORIGIN) : 1, at = uniform(r, -.2, 1.1) * end;
    for (size_t i = 0; i < n; i++) {
        m[i] = sim_ns(at);
        at += one_in(r, 6) ? 0 : end * pow(10, uniform(r, -4, 0));
    }
}

static size_t figures[4]; /* how many of each kind were given: it must not be none */

static void must_be_sound(const struct joulet_energy *e, const char *what, uint64_t seed)
{
    bool bounded = !isnan(e->min_j) && !isnan(e->max_j);
    if (!isnan(e->gross_j) && (!isfinite(e->gross_j) || !(e->gross_pm_j >= 0) || isnan(e->u.q) || isnan(e->u.b) ||
                               isnan(e->u.time) || isnan(e->u.event)))
        fail_msg("seed %d: %s is %g +- %g J by %s; u %g %g %g %g", (int)seed, what, e->gross_j, e->gross_pm_j, e->method, e->u.q,
                 e->u.b, e->u.time, e->u.event);
    if (!isnan(e->net_j) && (isnan(e->gross_j) || !(e->net_pm_j >= 0)))
        fail_msg("seed %d: net of %s is %g +- %g J", (int)seed, what, e->net_j, e->net_pm_j);
    if (bounded && e->min_j > e->max_j + 1e-9 * fabs(e->max_j))
        fail_msg("seed %d: %s lies between %g and %g J", (int)seed, what, e->min_j, e->max_j);
    assert_non_null(e->method);
}

static void must_add_up(const struct joulet_measured *m, size_t n, uint64_t seed)
{
    double gross = 0, most = 0;
    if (isnan(m->whole.gross_j))
        return;
    for (size_t i = 0; i < n; i++)
        if (!isnan(m->parts[i].gross_j)) {
            gross += m->parts[i].gross_j;
            most = fmax(most, fabs(m->parts[i].gross_j));
        }
    if (!(fabs(gross - m->whole.gross_j) <= 1e-12 * most))
        fail_msg("seed %d: parts %.17g J, whole %.17g J", (int)seed, gross, m->whole.gross_j);
}

static struct joulet_baseline random_level(struct jl_rng *r)
{
    double P0 = one_in(r, 10) ? 0 : uniform(r, 0, 100);
    return (struct joulet_baseline){.power_w = one_in(r, 10) ? NAN : P0, .u_w = .01 * P0, .sd_w = one_in(r, 3) ? NAN : .5};
}

static void measure(struct jl_rng *r, const struct joulet_trace *t, uint64_t seed)
{
    joulet_mark m[JOULET_PHASES_MAX + 1];
    double u[JOULET_PHASES_MAX + 1];
    struct joulet_measured out;
    struct joulet_baseline idle = random_level(r);
    struct joulet_what what = {
        .bounds = m, .u_event_s = one_in(r, 2) ? u : NULL, .n_phases = 1 + (size_t)jl_rng_below(r, JOULET_PHASES_MAX)};
    if (!one_in(r, 3))
        what.n_phases = 1 + (size_t)jl_rng_below(r, 3);
    random_moments(r, t, m, what.n_phases + 1);
    for (size_t i = 0; i <= what.n_phases; i++)
        u[i] = one_in(r, 20) ? NAN : uniform(r, 0, 1e-2);
    what.isolated = one_in(r, 2);
    what.quiet_until = one_in(r, 2) ? 0 : m[what.n_phases] + (int64_t)uniform(r, -1e9, 1e9);
    joulet_measure(t, one_in(r, 5) ? NULL : &idle, &what, &out, NULL);
    must_be_sound(&out.whole, "the whole", seed);
    for (size_t i = 0; i < what.n_phases; i++)
        must_be_sound(&out.parts[i], "a part", seed);
    must_add_up(&out, what.n_phases, seed);
    figures[0] += !isnan(out.whole.gross_j);
    figures[1] += !isnan(out.whole.gross_j) && !strcmp(out.parts[0].method, "joint-fit/1");
}

static void measure_bursts(struct jl_rng *r, const struct joulet_trace *t, uint64_t seed)
{
    joulet_mark m[64], on[32], off[32];
    struct joulet_energy e;
    struct joulet_baseline idle = random_level(r);
    size_t n = 1 + (size_t)jl_rng_below(r, 31);
    random_moments(r, t, m, 2 * n);
    for (size_t i = 0; i < n; i++) {
        on[i] = m[2 * i];
        off[i] = m[2 * i + 1];
    }
    joulet_bursts(t, &idle, on, off, n, &e, NULL);
    must_be_sound(&e, "bursts", seed);
    figures[2] += !isnan(e.gross_j);
    joulet_block(t, &idle, on, off, n, one_in(r, 2) ? 0 : off[n - 1] + JL_NS_PER_S, &e, NULL);
    must_be_sound(&e, "a block", seed);
    figures[3] += !isnan(e.gross_j);
    joulet_mark start = joulet_phase_start(t, (size_t)jl_rng_below(r, 20), on[0]);
    assert_true(start >= on[0]);
}

static void measure_the_rest(struct jl_rng *r, const struct joulet_trace *t)
{
    joulet_mark m[4];
    struct joulet_baseline b, idle = random_level(r);
    struct joulet_tail tail;
    struct joulet_power power;
    random_moments(r, t, m, 4);
    if (joulet_baseline_from(t, m[0], m[1], &b, NULL) == JOULET_OK)
        assert_true(isfinite(b.power_w) && b.u_w >= 0);
    if (joulet_baseline_short(t, m[0], m[1], m[2], m[3], &b, NULL) == JOULET_OK)
        assert_true(isfinite(b.power_w) && isfinite(b.u_w));
    joulet_tail_from(t, &idle, m[0], 30, &tail, NULL);
    joulet_power_in(t, m[0], m[1], &power);
}

static void test_random_traces(void **state)
{
    (void)state;
    static struct joulet_sample samples[MOST];
    for (uint64_t seed = 1; seed <= TRACES; seed++) {
        struct jl_rng r = {.s = seed};
        struct joulet_trace t;
        random_trace(&r, &t, samples);
        measure(&r, &t, seed);
        measure_bursts(&r, &t, seed);
        measure_the_rest(&r, &t);
    }
    for (size_t i = 0; i < JL_COUNT(figures); i++)
        if (figures[i] < 20)
            fail_msg("kind %d: %d figures only", (int)i, (int)figures[i]);
    print_message("%d runs, %d by the joint fit, %d bursts, %d blocks\n", (int)figures[0], (int)figures[1], (int)figures[2],
                  (int)figures[3]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(test_random_traces)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
