/* test_layers.c - layers that were left out against what the components say of them, over drawn measurements whose truth is
 * known: the interval of the ratio holds it in 95 % and in no more, what is alike is found alike, what differs is seen, and what
 * cannot be told is not.
 */
#include "tests/base/test.h"

#include "profile/layers.h"
#include "tests/stats/draw.h"

#include <stdlib.h>

#define LAYERS 30
#define OUT    8
#define TRIALS 4000

/* 30 layers of 2 ms attention and 6 ms feed-forward, a head of 20 ms; the last eight are as long as the others. */
static struct measure *measured(void)
{
    struct measure *m = calloc(1, sizeof *m);
    assert_non_null(m);
    struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    p->layers = calloc(MEASURE_LAYERS + 1, sizeof *p->layers);
    assert_non_null(p->layers);
    m->layers = LAYERS;
    p->layer_units = 50;
    for (int i = 1; i <= LAYERS; i++) {
        p->layers[i].s[WIRE_ATTENTION][0] = 2e-3 * p->layer_units;
        p->layers[i].s[WIRE_FFN][0] = 6e-3 * p->layer_units;
    }
    p->layers[0].s[WIRE_HEAD][0] = 20e-3 * p->layer_units;
    p->units = p->layer_units;
    p->kind_s[MEASURE_ATTENTION] = LAYERS * 2e-3 * p->units;
    p->kind_s[MEASURE_FFN] = LAYERS * 6e-3 * p->units;
    p->kind_s[MEASURE_HEAD] = 20e-3 * p->units;
    return m;
}

static void release(struct measure *m)
{
    free(m->phases[MEASURE_DECODE].layers);
    free(m);
}

/* Joules of a token: 30 W of attention, 90 W of the feed-forward, 60 W of the head. pm: of each, relative. */
static struct measure_result found(double pm)
{
    struct measure_result r = {.known = true, .path = JOULET_COMPONENTS_LOCKIN};
    static const double s[] = {[MEASURE_ATTENTION] = 60e-3, [MEASURE_FFN] = 180e-3, [MEASURE_HEAD] = 20e-3},
                        w[] = {[MEASURE_ATTENTION] = 30, [MEASURE_FFN] = 90, [MEASURE_HEAD] = 60};
    for (size_t k = 0; k < JL_COUNT(s); k++) {
        r.unit_s[k] = s[k];
        r.energy_j[k] = s[k] * w[k];
        r.scatter_j[k] = pm * r.energy_j[k];
    }
    return r;
}

static const double out_j = OUT * (2e-3 * 30 + 6e-3 * 90), token_j = LAYERS * (2e-3 * 30 + 6e-3 * 90) + 20e-3 * 60;

/* A machine that was warmer by a factor then: shares are the same. */
static struct profile_difference saved(double j, double pm_j, double warmer)
{
    return (struct profile_difference){.rounds = 6,
                                       .j = {warmer * token_j, warmer * (token_j - j)},
                                       .less_j = warmer * j,
                                       .share = j / token_j,
                                       .share_pm = pm_j / token_j};
}

static void an_interval_holds_the_truth(void **state)
{
    static const struct {
        double truth, pm, saved_pm, idle_w;
        enum layers_verdict most; /* found in at least 90 % */
        bool one_for_another;     /* what the feed-forward has too much the head has too little */
    } rows[] = {
        {1, 0.01, 0.02, 0, LAYERS_ALIKE, false},         {1, 0.02, 0.02, 0.5, LAYERS_ALIKE, false},
        {1.3, 0.02, 0.05, 0.5, LAYERS_DIFFERENT, false}, {0.8, 0.01, 0.03, 0, LAYERS_DIFFERENT, false},
        {1, 0.05, 0.3, 1, LAYERS_UNTOLD, false},         {1, 0.02, 0.01, 0, LAYERS_ALIKE, true},
        {1, 1e-4, 1e-4, 5, LAYERS_ALIKE, false}, /* the idle level alone */
    };
    struct measure *m = measured();
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct jl_rng g = {i + 1};
        int holds = 0, most = 0;
        for (int n = 0; n < TRIALS; n++) {
            struct measure_result r = found(rows[i].pm);
            struct layers_check c;
            double saved_pm = rows[i].saved_pm * out_j, idle_w = rows[i].idle_w * draw_normal(&g);
            double error = draw_normal(&g);
            r.scatter_j[MEASURE_HEAD] = r.scatter_j[rows[i].one_for_another ? MEASURE_FFN : MEASURE_HEAD];
            for (int k = 0; k < MEASURE_REST; k++) {
                double other = k == MEASURE_FFN ? error : k == MEASURE_HEAD ? -error : 0;
                r.energy_j[k] +=
                    r.scatter_j[k] / 1.96 * (rows[i].one_for_another ? other : draw_normal(&g)) + idle_w * r.unit_s[k];
            }
            struct profile_difference d =
                saved(rows[i].truth * out_j + saved_pm / 1.96 * draw_normal(&g), saved_pm, n % 2 ? 1 : 1.2);
            layers_check(m, &r, OUT, &d, rows[i].idle_w, &c);
            holds += fabs(c.ratio - rows[i].truth) <= c.ratio_pm;
            most += c.verdict == rows[i].most;
        }
        if (holds < 0.94 * TRIALS || holds > 0.98 * TRIALS || most < 0.9 * TRIALS)
            fail_msg("row %zu: %d of %d intervals hold, %d times found as it is", i, holds, TRIALS, most);
    }
    release(m);
}

static void what_cannot_be_compared_is_not(void **state)
{
    struct measure *m = measured();
    struct profile_difference d = saved(out_j, 0.01 * out_j, 1), none = {.rounds = 1};
    struct measure_result r = found(0.01), by_time = r, unknown = r;
    struct layers_check c;
    (void)state;
    by_time.path = JOULET_COMPONENTS_TIME;
    unknown.known = false;
    const struct {
        const struct measure_result *r;
        int left_out;
        const struct profile_difference *d;
        bool told;
    } rows[] = {{&r, OUT, &d, true},     {&by_time, OUT, &d, false}, {&unknown, OUT, &d, false},
                {&r, OUT, &none, false}, {&r, 0, &d, false},         {&r, LAYERS, &d, false}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        layers_check(m, rows[i].r, rows[i].left_out, rows[i].d, 0, &c);
        assert_int_equal(!isnan(c.ratio), rows[i].told);
        assert_int_equal(c.verdict, rows[i].told ? LAYERS_ALIKE : LAYERS_UNTOLD);
    }
    layers_check(m, &r, OUT, &d, 0, &c);
    assert_near(c.told_j, out_j, 1e-9);
    assert_near(c.saved_j, out_j, 0);
    release(m);
}

/* Leaving layers out saves a tenth more than their rows hold: as much time outside of stretches explains that, without it it is
 * the power of the layers. */
static void time_outside_of_stretches_is_no_power(void **state)
{
    struct measure *m = measured();
    struct profile_difference d = saved(1.1 * out_j, 0.01 * out_j, 1);
    struct measure_result r = found(0.01);
    struct layers_check c;
    (void)state;
    r.unit_s[MEASURE_REST] = 10e-3;
    r.power_w[MEASURE_REST] = 40;
    d.s[0] = 0.27;
    d.less_s = OUT * 8e-3;
    layers_check(m, &r, OUT, &d, 0, &c);
    assert_int_equal(c.verdict, LAYERS_DIFFERENT);
    d.less_s += 0.1 * out_j / 40;
    layers_check(m, &r, OUT, &d, 0, &c);
    assert_int_equal(c.verdict, LAYERS_UNTOLD);
    r.power_w[MEASURE_REST] = 0; /* found to draw nothing, and 40 W at most */
    r.limit_only[MEASURE_REST] = true;
    r.limit_j[MEASURE_REST] = 40 * r.unit_s[MEASURE_REST];
    layers_check(m, &r, OUT, &d, 0, &c);
    assert_int_equal(c.verdict, LAYERS_UNTOLD);
    release(m);
}

/* Layers that take longer have more of their kind's energy. */
static void a_layer_has_its_own_seconds(void **state)
{
    struct measure *m = measured();
    struct profile_difference d = saved(1, 0.1, 1);
    struct measure_result r = found(0.01);
    struct layers_check c;
    (void)state;
    struct measure_times *last = &m->phases[MEASURE_DECODE].layers[LAYERS], *other = last - 1;
    last->s[WIRE_FFN][0] *= 2;
    other->s[WIRE_FFN][0] = 0;
    layers_check(m, &r, 1, &d, 0, &c);
    assert_near(c.told_j, 2e-3 * 30 + 12e-3 * 90, 1e-9);
    release(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(an_interval_holds_the_truth),
        cmocka_unit_test(what_cannot_be_compared_is_not),
        cmocka_unit_test(time_outside_of_stretches_is_no_power),
        cmocka_unit_test(a_layer_has_its_own_seconds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
