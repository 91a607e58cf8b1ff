/* Power of components by regression over sensor windows (8): the vector of the method, plain decoding seen by a fast counter
 * whose lag is looked for, and what is not accepted. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>

/* Vector 14. */
static void test_vector(void **state)
{
    static const double x[] = {.030, .055, .015, .050, .038, .012, .022, .070, .008, .028, .040, .032};
    static const double exact[] = {19.80, 19.34, 21.46, 16.84}, off[] = {20.00, 19.24, 21.56, 16.84};
    struct joulet_component_powers p;
    struct joulet_error err;
    (void)state;
    assert_int_equal(joulet_components_fit(exact, x, 4, 3, &p, &err), JOULET_OK);
    assert_near(p.power_w[0], 190, 1e-6);
    assert_near(p.power_w[1], 240, 1e-6);
    assert_near(p.power_w[2], 60, 1e-6);
    assert_near(p.condition, 4.5379, 1e-4);
    assert_int_equal(joulet_components_fit(off, x, 4, 3, &p, &err), JOULET_OK);
    assert_near(p.power_w[0], 185.766138, 1e-6);
    assert_near(p.power_w[1], 243.660005, 1e-6);
    assert_near(p.power_w[2], 60.110761, 1e-6);
    assert_near(p.u_w[0], 4.782666, 1e-6);
    assert_near(p.u_w[1], 2.902340, 1e-6);
    assert_near(p.u_w[2], 6.806063, 1e-6);
}

enum { TOKENS = 60, LAYERS = 8, KINDS = 4, WINDOWS = 1500 }; /* attention, feed-forward, head, the rest */

static const double power_w[KINDS] = {190, 240, 210, 60};

static double chance(uint64_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 7;
    *seed ^= *seed << 17;
    return (double)(*seed >> 11) / 9007199254740992.0;
}

/* Tokens of 25 ms: layers of attention and feed-forward, then the head, then the rest. */
static size_t decode(struct joulet_stretch *s, uint64_t *seed)
{
    static const double each_s[KINDS] = {9e-4, 1.6e-3, 3.5e-3, 1.4e-3};
    size_t n = 0;
    double t = 0;
    for (int token = 0; token < TOKENS; token++)
        for (int k = 0; k < 2 * LAYERS + 2; k++) {
            size_t kind = k < 2 * LAYERS ? (size_t)(k % 2) : (size_t)(k - 2 * LAYERS + 2);
            double d = each_s[kind] * (.97 + .06 * chance(seed));
            s[n++] = (struct joulet_stretch){kind, t, t + d};
            t += d;
        }
    return n;
}

static double energy_until(const struct joulet_stretch *s, size_t n, double t)
{
    double e = 0;
    for (size_t i = 0; i < n && s[i].start_s < t; i++)
        e += power_w[s[i].kind] * (fmin(t, s[i].end_s) - s[i].start_s);
    return e;
}

/* RAPL without repetition (8.3): windows of 1 ms, shown 0.7 ms late, with noise; the lag of least residual is the right one. */
static void test_plain_decoding_by_rapl(void **state)
{
    struct joulet_stretch *s = calloc(TOKENS * (2 * LAYERS + 2), sizeof *s);
    double *ends = calloc(WINDOWS + 1, sizeof *ends), *energy = calloc(WINDOWS, sizeof *energy),
           *x = calloc((size_t)WINDOWS * KINDS, sizeof *x), best = INFINITY, found = NAN;
    struct joulet_component_powers p, kept = {.condition = NAN};
    struct joulet_error err;
    uint64_t seed = 3;
    size_t n = decode(s, &seed);
    const double lag_s = 7e-4;
    (void)state;
    ends[0] = lag_s;
    for (size_t i = 0; i < WINDOWS; i++) {
        ends[i + 1] = ends[i] + 1e-3 * (.95 + .1 * chance(&seed));
        energy[i] =
            (energy_until(s, n, ends[i + 1] - lag_s) - energy_until(s, n, ends[i] - lag_s)) * (1 + .02 * (chance(&seed) - .5));
    }
    for (int k = -2; k <= 15; k++) {
        joulet_components_seconds(s, n, ends, WINDOWS, k * 1e-4, KINDS, x);
        assert_int_equal(joulet_components_fit(energy, x, WINDOWS, KINDS, &p, &err), JOULET_OK);
        if (p.rss_j2 < best) {
            best = p.rss_j2;
            found = k * 1e-4;
            kept = p;
        }
    }
    assert_near(found, lag_s, 1e-9);
    assert_true(kept.condition < 30);
    for (size_t c = 0; c < KINDS; c++)
        assert_near(kept.power_w[c], power_w[c], fmax(4 * kept.u_w[c], .01 * power_w[c]));
    free(s);
    free(ends);
    free(energy);
    free(x);
}

static void test_acceptance(void **state)
{
    const double token_s[] = {.008, .014, .0002};
    struct joulet_component_powers p = {.power_w = {190, 240, 60}, .u_w = {2, 3, 20}, .condition = 4};
    struct joulet_component_shares s;
    double sum_j = 190 * .008 + 240 * .014 + 60 * .0002;
    (void)state;
    joulet_components_of(&p, token_s, 3, sum_j * 1.04, &s);
    assert_true(s.accepted);
    assert_near(s.energy_j[1], 240 * .014, 1e-12);
    assert_near(s.u_j[1], 3 * .014, 1e-12);
    assert_true(s.limit_only[2] && !s.limit_only[0] && !s.limit_only[1]);
    joulet_components_of(&p, token_s, 3, sum_j * 1.06, &s); /* does not close */
    assert_false(s.accepted);
    assert_near(s.energy_j[0] + s.energy_j[1] + s.energy_j[2], sum_j * 1.06, 1e-12);
    assert_near(s.energy_j[0] / s.energy_j[1], .008 / .014, 1e-12); /* equal power */
    assert_true(isnan(s.u_j[0]));
    p.condition = 31;
    joulet_components_of(&p, token_s, 3, sum_j, &s);
    assert_false(s.accepted);
}

/* Long windows of plain decoding all hold the same mixture: nothing tells the components apart. */
static void test_all_windows_alike(void **state)
{
    double x[20][2], e[20];
    struct joulet_component_powers p;
    struct joulet_component_shares s;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < 20; i++) {
        x[i][0] = .04 + 1e-5 * (double)(i % 3);
        x[i][1] = .06 - 1e-5 * (double)(i % 3);
        e[i] = 190 * x[i][0] + 240 * x[i][1] + .01 * (double)(i % 2);
    }
    assert_int_equal(joulet_components_fit(e, &x[0][0], 20, 2, &p, &err), JOULET_OK);
    assert_true(p.condition > 100);
    joulet_components_of(&p, (double[]){.04, .06}, 2, 22, &s);
    assert_false(s.accepted);
    assert_int_equal(joulet_components_fit(e, &x[0][0], 2, 2, &p, &err), JOULET_TOO_SHORT);
    assert_int_equal(joulet_components_fit(e, &x[0][0], 20, 9, &p, &err), JOULET_USAGE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector),
        cmocka_unit_test(test_plain_decoding_by_rapl),
        cmocka_unit_test(test_acceptance),
        cmocka_unit_test(test_all_windows_alike),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
