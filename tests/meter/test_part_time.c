/* Part-time sensors (2.5): bursts of others beside another implementation and beside the truth, bursts that cannot be told,
 * repeats at chosen places of the grid. */
#include "lib/meter/estimators.h"
#include "tests/base/test.h"
#include "tests/meter/simulate.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { MOST = 64, READINGS = 4096 };

/* ---- beside another implementation -------------------------------------------------------------------------------------- */

struct bursts {
    double on[MOST], off[MOST];
    struct jl_reading r[READINGS];
    struct jl_bursts b;
};

/* W that the reading that ends at e holds of bursts that begin strong and go on at a share of it. */
static double above_idle(const struct bursts *x, double e, double top, double drop)
{
    double sum = 0, W = x->b.W, P0 = x->b.P0, from = e - W;
    for (size_t i = 0; i < x->b.n; i++) {
        double turn = fmin(x->on[i] + .06, x->off[i]);
        sum += (top - P0) * fmax(0, fmin(e, turn) - fmax(from, x->on[i])) / W;
        sum += (top * drop - P0) * fmax(0, fmin(e, x->off[i]) - fmax(from, turn)) / W;
    }
    return sum;
}

/* The order of the draws is part of the results below. */
static void random_bursts(uint64_t seed, struct bursts *x)
{
    struct jl_rng r = {.s = seed};
    memset(x, 0, sizeof(*x));
    size_t n = 20 + (size_t)jl_rng_below(&r, 30);
    double d = .06 + .3 * jl_rng_uniform(&r), u_t = jl_rng_below(&r, 2) ? 4.8e-3 : 3e-3, t = 1;
    double top = 250 + 150 * jl_rng_uniform(&r), drop = .5 + .4 * jl_rng_uniform(&r);
    x->b = (struct jl_bursts){.r = x->r, .on = x->on, .off = x->off, .n = n, .W = .025, .U = .1, .u_t = u_t, .P0 = 60};
    for (size_t i = 0; i < n; i++) {
        x->on[i] = t;
        t += d * (.9 + .2 * jl_rng_uniform(&r));
        x->off[i] = t;
        t += .15 + .3 * jl_rng_uniform(&r);
    }
    double D = (2 * jl_rng_uniform(&r) - 1) * 1.5 * u_t, phase = jl_rng_uniform(&r) * .1;
    for (size_t k = 0; k < READINGS; k++) {
        double e = .5 + phase + (double)k * .1, y = 60 + above_idle(x, e - D, top, drop) + jl_rng_uniform(&r) - .5;
        if (e > t + .2)
            break;
        x->r[x->b.n_readings++] = (struct jl_reading){.t = e, .y_w = floor(y * 1000) / 1000};
    }
}

static void test_random_bursts(void **state)
{
    (void)state;
    static const double want[][2] = {
        {1229.89293, 29.9138166}, {3136.95322, 19.9773968}, {1096.36083, 18.9842881}, {2745.83272, 21.0724021},
        {882.841056, 18.5259063}, {1739.11533, 15.6107321}, {2380.76248, 23.6848575}, {1953.15624, 29.3888342},
        {1091.63581, 13.9190461}, {442.748102, 11.3319616}, {712.641127, 26.9571142}, {956.961739, 23.0524675},
        {2017.23153, 28.6797763}, {604.983725, 23.524293},  {979.479699, 28.6280637}, {734.766595, 12.0174849},
        {634.764334, 18.3313759}, {2159.89335, 27.8119143}, {2647.51797, 22.3330139}, {1686.20462, 13.5731675},
        {1082.24674, 28.1893662}, {909.302294, 8.39904745}, {935.954829, 19.284587},  {815.20231, 16.3433796},
    };
    static struct bursts x;
    size_t even = 0;
    for (size_t i = 0; i < JL_COUNT(want); i++) {
        struct jl_burst_fit f;
        random_bursts(500 + i, &x);
        assert_true(jl_bursts_fit(&x.b, &f));
        assert_false(f.unresolved);
        assert_near(f.net_j, want[i][0], 1e-7 * want[i][0]);
        double u = hypot(f.u_b, f.u_time); /* these are the values for bursts of one level a bin; others are doubted more */
        assert_true(u > (1 - 1e-7) * want[i][1]);
        even += fabs(u - want[i][1]) < 1e-7 * want[i][1];
    }
    assert_in_range(even, 8, JL_COUNT(want) - 1);
}

/* ---- beside the truth --------------------------------------------------------------------------------------------------- */

enum rhythm { FREE, LOCKED, PLACED, UNKNOWN_LAG };

struct scene {
    struct sim s;
    struct joulet_trace trace;
    struct joulet_baseline idle;
    joulet_mark on[MOST], off[MOST];
    size_t n;
    double truth_j, busy_s, end_s;
};

/* Bursts of d seconds over 60 W. PLACED: as joulet_phase_start says, from the trace of a first, idle play of the device. */
static void play(struct scene *x, uint64_t seed, size_t n, double d, enum rhythm rhythm)
{
    memset(x, 0, sizeof(*x));
    x->n = n;
    x->idle = (struct joulet_baseline){.power_w = 60, .u_w = .6, .sd_w = .5};
    sim_init(&x->s, seed, 0);
    double lag = rhythm == UNKNOWN_LAG ? sim_uniform(&x->s, 0, .05) : .025 + sim_normal(&x->s, 3e-3), t = 2.5, U = .1,
           phase = sim_uniform(&x->s, 0, U), on[MOST];
    sim_step(&x->s, 0, 60);
    for (size_t i = 0; i < n; i++) {
        on[i] = t;
        if (rhythm == PLACED) {
            struct joulet_sample updates[20];
            struct joulet_trace seen = {.channel = sim_power_channel(U, .025, true), .samples = updates, .n = 20};
            for (size_t k = 0; k < 20; k++)
                updates[k] = (struct joulet_sample){.t_ns = sim_ns(phase + U * (floor(t / U) - 20 + (double)k)), .hw_ns = 500000};
            on[i] = jl_s(joulet_phase_start(&seen, i, sim_ns(t)) - SIM_ORIGIN);
            assert_true(on[i] >= t - 1e-9 && on[i] <= t + U + 1e-9);
        }
        sim_step(&x->s, on[i], sim_uniform(&x->s, 340, 360));
        sim_step(&x->s, on[i] + d, 60);
        x->on[i] = sim_ns(on[i]);
        x->off[i] = sim_ns(on[i] + d);
        x->busy_s += d;
        t = rhythm == LOCKED ? on[i] + ceil((d + .25) / U) * U : on[i] + d + .25 + sim_uniform(&x->s, 0, .1);
    }
    x->s.rise_s = 2e-3;
    x->s.length_s = x->end_s = t + 3;
    sim_add_noise(&x->s, .02);
    x->trace.channel = sim_power_channel(U, .025, rhythm != UNKNOWN_LAG);
    x->trace.samples = calloc((size_t)(x->end_s / U) + 2, sizeof(*x->trace.samples));
    for (double e = phase + .2; e < x->end_s; e += U) {
        double at = e + sim_uniform(&x->s, -1e-3, 1e-3);
        double y = sim_energy(&x->s, at - lag - .025, at - lag) / .025 + sim_normal(&x->s, .3);
        x->trace.samples[x->trace.n++] = (struct joulet_sample){
            .t_ns = sim_ns(at + sim_uniform(&x->s, -5e-4, 5e-4)), .value = (int64_t)(y * 1e6), .hw_ns = 500000};
    }
    for (size_t i = 0; i < n; i++)
        x->truth_j += sim_energy(&x->s, on[i], on[i] + d + .015) - .015 * 60; /* the fall is part of a burst */
}

static void put_away(struct scene *x)
{
    sim_trace_release(&x->trace);
    sim_release(&x->s);
}

static void check_bounds(const struct scene *x, const struct joulet_energy *e, double truth)
{
    (void)x;
    if (!(e->min_j <= truth && truth <= e->max_j))
        fail_msg("%g J is not within %g .. %g J", truth, e->min_j, e->max_j);
}

static void test_bursts_of_others(void **state)
{
    (void)state;
    static const struct {
        double d, rms;
        enum rhythm rhythm;
    } rows[] = {{.06, .03, FREE}, {.1, .015, FREE}, {.3, .006, FREE}, {.1, .03, UNKNOWN_LAG}, {.3, .012, UNKNOWN_LAG}};
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        double square = 0;
        int held = 0, given = 0;
        for (uint64_t seed = 1; seed <= 60; seed++) {
            struct scene x;
            struct joulet_energy e;
            play(&x, seed + 100 * r, 40, rows[r].d, rows[r].rhythm);
            enum joulet_status status = joulet_bursts(&x.trace, &x.idle, x.on, x.off, x.n, &e, NULL);
            check_bounds(&x, &e, x.truth_j);
            if (status == JOULET_OK) {
                double u = hypot(e.u.b, e.u.time);
                square += pow((e.gross_j - x.truth_j) / (x.truth_j - 60 * x.busy_s), 2);
                held += fabs(e.gross_j - x.truth_j) <= 2 * u;
                given++;
                assert_string_equal(e.method, "burst-fit/1");
            } else {
                assert_int_equal(status, JOULET_TOO_SHORT);
                assert_true(isnan(e.gross_j) && (e.flags & JOULET_FLAG_UNRESOLVED));
            }
            put_away(&x);
        }
        print_message("%g s: %d given, %d hold, rms %.2f %%\n", rows[r].d, given, held, 100 * sqrt(square / given));
        assert_true(given >= 50);
        assert_true(held * 100 >= given * 90);
        assert_true(sqrt(square / given) <= rows[r].rms);
    }
}

static void test_bursts_that_cannot_be_told(void **state)
{
    (void)state;
    struct scene x;
    struct joulet_energy e;
    struct joulet_error err;
    play(&x, 1, 40, .03, FREE); /* shorter than two windows */
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.on, x.off, x.n, &e, &err), JOULET_TOO_SHORT);
    assert_true(e.flags & JOULET_FLAG_UNRESOLVED);
    assert_true(isnan(e.net_j));
    check_bounds(&x, &e, x.truth_j);
    put_away(&x);
    play(&x, 2, 40, .1, LOCKED);
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.on, x.off, x.n, &e, &err), JOULET_TOO_SHORT);
    assert_true(e.flags & JOULET_FLAG_ALIASED);
    assert_true(isnan(e.gross_j));
    check_bounds(&x, &e, x.truth_j);
    put_away(&x);
    play(&x, 2, 40, .1, FREE); /* the near one */
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.on, x.off, x.n, &e, &err), JOULET_OK);
    assert_false(e.flags & JOULET_FLAG_ALIASED);
    put_away(&x);
}

static void test_repeats_at_chosen_places(void **state)
{
    (void)state;
    static const struct {
        double d, rms;
    } rows[] = {{.02, .05}, {.05, .03}, {.2, .015}, {1, .006}};
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        double square = 0;
        int held = 0;
        enum { SEEDS = 60 };
        for (uint64_t seed = 1; seed <= SEEDS; seed++) {
            struct scene x;
            struct joulet_energy e;
            struct joulet_error err;
            play(&x, seed + 1000 * r, 8, rows[r].d, PLACED);
            if (joulet_block(&x.trace, &x.idle, x.on, x.off, x.n, 0, &e, &err) != JOULET_OK)
                fail_msg("%s", err.message);
            double truth = x.truth_j / (double)x.n;
            check_bounds(&x, &e, truth);
            square += pow((e.gross_j - truth) / (truth - 60 * rows[r].d), 2);
            held += fabs(e.gross_j - truth) <= 2 * hypot(e.u.b, e.u.time);
            put_away(&x);
        }
        print_message("%g s: %d of %d hold, rms %.2f %%\n", rows[r].d, held, SEEDS, 100 * sqrt(square / SEEDS));
        assert_true(held * 100 >= SEEDS * 90);
        assert_true(sqrt(square / SEEDS) <= rows[r].rms);
    }
}

/* ---- what is refused, what is left alone ---------------------------------------------------------------------------------- */

static void test_refusals(void **state)
{
    (void)state;
    struct scene x;
    struct joulet_energy e;
    struct joulet_error err;
    play(&x, 3, 8, .1, FREE);
    assert_true(joulet_is_part_time(&x.trace.channel));
    assert_int_equal(joulet_bursts(&x.trace, NULL, x.on, x.off, x.n, &e, &err), JOULET_USAGE);
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.on, x.off, 0, &e, &err), JOULET_USAGE);
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.off, x.on, x.n, &e, &err), JOULET_USAGE);
    x.trace.n = (size_t)(2.2 / .1); /* ends before the first burst */
    assert_int_equal(joulet_block(&x.trace, &x.idle, x.on, x.off, x.n, 0, &e, &err), JOULET_NO_DATA);
    x.trace.n = 0;
    assert_int_equal(joulet_bursts(&x.trace, &x.idle, x.on, x.off, x.n, &e, &err), JOULET_NO_DATA);
    put_away(&x);
    struct joulet_sample one = {.t_ns = SIM_ORIGIN, .value = 1};
    struct joulet_trace whole = {.channel = sim_power_channel(.1, .1, true), .samples = &one, .n = 1};
    assert_false(joulet_is_part_time(&whole.channel));
    assert_int_equal(joulet_bursts(&whole, &x.idle, x.on, x.off, x.n, &e, &err), JOULET_USAGE);
    assert_int_equal(joulet_phase_start(&whole, 3, 1000), 1000);
    struct joulet_channel rapl = sim_rapl_channel();
    assert_false(joulet_is_part_time(&rapl));
}

/* A repeat begins at its eighth of the grid, however the updates jitter; without a grid at once. */
static void test_places(void **state)
{
    (void)state;
    struct joulet_sample u[30];
    struct joulet_trace t = {.channel = sim_power_channel(.1, .025, true), .samples = u, .n = 30};
    for (size_t k = 0; k < 30; k++)
        u[k] = (struct joulet_sample){.t_ns = sim_ns(.037 + .101 * (double)k) + (k % 2 ? 900000 : -900000)};
    for (size_t k = 0; k < 16; k++) {
        joulet_mark at = joulet_phase_start(&t, k, sim_ns(5));
        double place = (jl_s(at - SIM_ORIGIN) - .037) / .101 - (double)(k % 8) / 8;
        assert_near(place, floor(place + .5), .02);
        assert_true(at >= sim_ns(5) && at <= sim_ns(5.102));
    }
    t.n = 4;
    assert_int_equal(joulet_phase_start(&t, 1, sim_ns(5)), sim_ns(5));
    t.n = 30;
    for (size_t k = 0; k < 30; k++)
        u[k].t_ns = sim_ns(.1 * (double)k + (k % 3 ? 0 : .045));
    assert_int_equal(joulet_phase_start(&t, 1, sim_ns(5)), sim_ns(5));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_random_bursts),
        cmocka_unit_test(test_bursts_of_others),
        cmocka_unit_test(test_bursts_that_cannot_be_told),
        cmocka_unit_test(test_repeats_at_chosen_places),
        cmocka_unit_test(test_refusals),
        cmocka_unit_test(test_places),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
