/* The joint fit against hand-checked numbers, against another implementation on two thousand random counters, and what must hold
 * of it whatever the input: shifted in time it is the same, scaled in energy it scales, its parts sum to its whole. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"
#include "tests/base/test.h"

#include <math.h>
#include <string.h>

enum { EDGES = 512 };

struct counter {
    struct jl_edge e[EDGES];
    size_t n, m;
    double bd[4];
    struct jl_params p;
};

/* ---- the vector ------------------------------------------------------------------------------------------------------- */

/* Idle 60 W, a prefill of 30 ms inside one update at 420 W, decode at 240 W. */
static void short_phase(struct counter *k, double u_t)
{
    static const double c[] = {0, 6, 12, 35.1, 59.1, 83.1, 107.1, 131.1, 155.1, 170.1, 176.1, 182.1};
    *k = (struct counter){.n = 12, .m = 2, .bd = {.235, .265, .85}, .p = {.U = .1, .q = 1e-3, .u_t = u_t, .u_r = 3e-3}};
    for (size_t i = 0; i < k->n; i++)
        k->e[i] = (struct jl_edge){.t = .1 * (double)i, .hw = 2.5e-3, .c = c[i]};
}

static double u_of(const struct jl_jointly *o, const struct counter *k)
{
    return hypot(o->u_b, k->p.q / sqrt(6));
}

static void test_short_phase(void **state)
{
    (void)state;
    static const struct {
        double u_t, e[2], u[2], lag_ms;
    } rows[] = {
        {3e-3, {11.8374, 140.7882}, {.8322, .7275}, -1.2841},
        {14e-3, {11.5523, 140.9251}, {.9524, .7619}, -2.8237},
    };
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        struct counter k;
        short_phase(&k, rows[r].u_t);
        struct jl_joint *f = jl_joint_open(k.e, k.n, k.bd, k.m, &k.p);
        assert_non_null(f);
        for (size_t i = 0; i < 2; i++) {
            struct jl_jointly o;
            jl_joint_phases(f, i, i, &o);
            assert_false(o.unresolved);
            assert_near(o.e_j, rows[r].e[i], 1e-3);
            assert_near(u_of(&o, &k), rows[r].u[i], 1e-3);
        }
        assert_near(1e3 * jl_joint_lag_s(f), rows[r].lag_ms, 1e-3);
        assert_false(jl_joint_mismatch(f));
        jl_joint_close(f);
    }
}

static void test_needs_three_updates_on_each_side(void **state)
{
    (void)state;
    struct counter k;
    short_phase(&k, 3e-3);
    assert_null(jl_joint_open(k.e + 1, k.n - 1, k.bd, k.m, &k.p)); /* two before .235 */
    assert_null(jl_joint_open(k.e, k.n - 1, k.bd, k.m, &k.p));     /* two after .85 */
    assert_null(jl_joint_open(k.e, 1, k.bd, k.m, &k.p));
}

/* ---- random counters -------------------------------------------------------------------------------------------------- */

static double uniform(struct jl_rng *r)
{
    return jl_rng_uniform(r);
}

/* Energy at x of steps P that rise exponentially; the power of the step in force goes to *level. */
static double energy(const struct counter *k, const double *P, double rise, double x, double *level)
{
    double Q = P[0] * x;
    *level = P[0];
    for (size_t j = 0; j <= k->m; j++) {
        double y = x - k->bd[j];
        if (y <= 0)
            continue;
        Q += (P[j + 1] - P[j]) * (y - rise * (1 - exp(-y / rise)));
        *level = P[j + 1];
    }
    return Q;
}

/* The order of the draws is part of the committed results. */
static void random_counter(uint64_t seed, struct counter *k)
{
    static const double periods[] = {.02, .05, .1}, lags[] = {3e-3, 14.4e-3};
    struct jl_rng r = {.s = seed};
    memset(k, 0, sizeof(*k));
    k->m = 1 + (size_t)jl_rng_below(&r, 3);
    double U = periods[jl_rng_below(&r, 3)], u_t = lags[jl_rng_below(&r, 2)];
    k->p = (struct jl_params){.U = U, .q = 1e-3, .u_t = u_t, .u_r = 3e-3};
    double D = (2 * uniform(&r) - 1) * 1.5 * u_t, rise = 3e-3 * (.3 + 1.5 * uniform(&r)), P[5] = {60}, level, noise = 0;
    k->bd[0] = .9 + .1 * uniform(&r);
    for (size_t i = 0; i < k->m; i++) {
        double v = uniform(&r);
        k->bd[i + 1] = k->bd[i] + U * (.3 + 8 * v * v);
    }
    for (size_t i = 0; i < k->m; i++)
        P[i + 1] = 100 + 350 * uniform(&r);
    P[k->m + 1] = 60 + 30 * uniform(&r);
    double phase = uniform(&r) * U, t = 0;
    while (k->n < EDGES && t <= k->bd[k->m] + 9 * U) {
        t = phase + U * (double)k->n + (2 * uniform(&r) - 1) * .02 * U;
        double Q = energy(k, P, rise, t - D, &level);
        noise += .02 * level * U * (2 * uniform(&r) - 1);
        double hw = 3e-4 + 2e-3 * uniform(&r), seen = t + (2 * uniform(&r) - 1) * hw;
        k->e[k->n++] = (struct jl_edge){.t = seen, .hw = hw, .c = floor((Q + noise) * 1000) / 1000};
    }
}

/* Energy and uncertainty of each phase, then lag and reduced chi square, of CASES counters from FIRST_SEED on: by another
 * implementation, with numerical derivatives and pseudo-inverses. */
#define FIRST_SEED 77000
#define CASES      2000
static const double expected[] = {
#include "tests/meter/joint_cases.inc"
};

/* Every boundary has a slope on one side at least: the others are joined before the fit (2.2), and not worth comparing. */
static bool is_resolved(const struct counter *k)
{
    struct jl_cum c[4];
    jl_cum_at(k->e, k->n, k->bd, k->m, k->p.u_r, c);
    for (size_t i = 0; i <= k->m; i++)
        if (c[i].flags & JOULET_FLAG_UNRESOLVED)
            return false;
    return true;
}

static void compare(const struct counter *k, uint64_t seed, const double *want)
{
    struct jl_joint *f = jl_joint_open(k->e, k->n, k->bd, k->m, &k->p);
    assert_non_null(f);
    for (size_t i = 0; i < k->m; i++) {
        struct jl_jointly o;
        double e = want[2 * i], u = want[2 * i + 1];
        jl_joint_phases(f, i, i, &o);
        if (o.unresolved || !(fabs(o.e_j - e) <= 1e-3) || !(fabs(u_of(&o, k) - u) <= 1e-3))
            fail_msg("seed %d, phase %d: %.6g u %.6g, expected %.6g u %.6g", (int)seed, (int)i, o.e_j, u_of(&o, k), e, u);
    }
    assert_near(jl_joint_lag_s(f), want[2 * k->m], 1e-5);
    assert_near(jl_joint_chi(f), want[2 * k->m + 1], 1e-3 * want[2 * k->m + 1]);
    jl_joint_close(f);
}

static void test_random_counters(void **state)
{
    (void)state;
    size_t used = 0, compared = 0, cases = 0;
    for (uint64_t seed = FIRST_SEED; used < JL_COUNT(expected); seed++, cases++) {
        struct counter k;
        random_counter(seed, &k);
        if (is_resolved(&k)) {
            compare(&k, seed, &expected[used]);
            compared++;
        }
        used += 2 * k.m + 2;
    }
    assert_int_equal(used, JL_COUNT(expected));
    assert_int_equal(cases, CASES);
    assert_true(compared > CASES * 4 / 5);
}

/* ---- what must hold ---------------------------------------------------------------------------------------------------- */

static struct jl_jointly fit_phases(const struct counter *k, size_t first, size_t last)
{
    struct jl_jointly o;
    struct jl_joint *f = jl_joint_open(k->e, k->n, k->bd, k->m, &k->p);
    assert_non_null(f);
    jl_joint_phases(f, first, last, &o);
    jl_joint_close(f);
    return o;
}

static void test_shifted_in_time_it_is_the_same(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct counter k, later;
        random_counter(seed, &k);
        if (!is_resolved(&k))
            continue;
        later = k;
        for (size_t i = 0; i < k.n; i++)
            later.e[i].t += 64;
        for (size_t i = 0; i <= k.m; i++)
            later.bd[i] += 64;
        struct jl_jointly a = fit_phases(&k, 0, 0), b = fit_phases(&later, 0, 0);
        assert_near(b.e_j, a.e_j, 1e-6 * fabs(a.e_j));
        assert_near(b.u_b, a.u_b, 1e-6 * a.u_b);
    }
}

static void test_scaled_in_energy_it_scales(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 50; seed++) {
        struct counter k, more;
        random_counter(seed, &k);
        if (!is_resolved(&k))
            continue;
        more = k;
        more.p.q *= 8;
        for (size_t i = 0; i < k.n; i++)
            more.e[i].c *= 8;
        struct jl_jointly a = fit_phases(&k, 0, 0), b = fit_phases(&more, 0, 0);
        assert_near(b.e_j, 8 * a.e_j, 1e-9 * fabs(a.e_j));
        assert_near(b.u_b, 8 * a.u_b, 1e-9 * a.u_b);
    }
}

static void test_parts_sum_to_the_whole(void **state)
{
    (void)state;
    for (uint64_t seed = 1; seed <= 200; seed++) {
        struct counter k;
        struct jl_jointly o;
        double sum = 0;
        random_counter(seed, &k);
        struct jl_joint *f = jl_joint_open(k.e, k.n, k.bd, k.m, &k.p);
        for (size_t i = 0; f && i < k.m; i++) {
            jl_joint_phases(f, i, i, &o);
            sum += o.e_j;
        }
        if (!f)
            continue;
        jl_joint_phases(f, 0, k.m - 1, &o);
        assert_near(o.e_j, sum, 1e-9 * fabs(sum));
        jl_joint_close(f);
    }
}

/* Two phases inside one interval of the counter: their sum is known, they alone are not. */
static void test_what_cannot_be_told_apart(void **state)
{
    (void)state;
    struct counter k;
    struct jl_jointly one, both;
    random_counter(5, &k);
    k.m = 3;
    k.p = (struct jl_params){.U = .1, .q = 1e-3, .u_t = 3e-3, .u_r = 3e-3};
    for (size_t i = 0; i < 30; i++) {
        double t = .1 * (double)i;
        k.e[i] = (struct jl_edge){.t = t, .hw = 5e-4, .c = 60 * t + (t > 1.45 ? 200 * (fmin(t, 2.05) - 1.45) : 0)};
    }
    k.n = 30;
    memcpy(k.bd, (double[]){1.42, 1.44, 1.46, 2.05}, sizeof(k.bd));
    struct jl_joint *f = jl_joint_open(k.e, k.n, k.bd, k.m, &k.p);
    if (f) {
        jl_joint_phases(f, 0, 0, &one);
        jl_joint_phases(f, 0, 1, &both);
        assert_true(one.unresolved || one.u_b > 5 * both.u_b);
        assert_false(isnan(both.u_b));
    }
    jl_joint_close(f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_short_phase),
        cmocka_unit_test(test_needs_three_updates_on_each_side),
        cmocka_unit_test(test_random_counters),
        cmocka_unit_test(test_shifted_in_time_it_is_the_same),
        cmocka_unit_test(test_scaled_in_energy_it_scales),
        cmocka_unit_test(test_parts_sum_to_the_whole),
        cmocka_unit_test(test_what_cannot_be_told_apart),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
