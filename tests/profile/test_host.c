/* test_host.c - the power of host work: from loops of it whose truth is drawn, from the rest of its phase, from other work; and
 * what is taken out of the phase it lies in. */
#include "tests/base/test.h"

#include "profile/host.h"
#include "tests/stats/draw.h"

#include <string.h>

#define TRIALS 4000
#define REST_S 0.002

static struct measure_result rest_of(enum joulet_components_path path, double j, double pm_j, bool limit)
{
    struct measure_result r = {.path = path, .known = true};
    r.unit_s[MEASURE_REST] = REST_S;
    r.energy_j[MEASURE_REST] = j;
    r.pm_j[MEASURE_REST] = pm_j;
    r.limit_j[MEASURE_REST] = j + pm_j;
    r.limit_only[MEASURE_REST] = limit;
    return r;
}

/* Where the power comes from, and how much it is. */
static void the_nearest_that_is_known(void **state)
{
    const struct host_loop whole = {.net_j = 20, .net_pm_j = 1, .seconds = 2, .inside_s = 2},
                           half = {.net_j = 24, .net_pm_j = 1.2, .seconds = 3, .inside_s = 1.5},
                           unknown = {.net_j = NAN, .net_pm_j = NAN, .seconds = 2, .inside_s = 2}, none = {0};
    const struct measure_result plain = rest_of(JOULET_COMPONENTS_PLAIN, 0.03, 0.002, false),
                                limit = rest_of(JOULET_COMPONENTS_LOCKIN, 0.01, 0.004, true),
                                time = rest_of(JOULET_COMPONENTS_TIME, 0.05, NAN, false), nothing = {0};
    const struct {
        const struct host_loop *tokenise, *detokenise;
        const struct measure_result *phase;
        enum measure_work work;
        double share; /* of the rest */
        const char *source;
        double w, pm_w, limit_w;
    } rows[] = {
        {&whole, &half, &plain, MEASURE_TOKENISE, 0, "loop", 10, 0.5, NAN},
        {&whole, &half, &plain, MEASURE_DETOKENISE, 0.1, "loop", 8, hypot(0.4, 16 / (3 * sqrt(3))), NAN},
        {&whole, &half, &plain, MEASURE_SAMPLE, 1, "rest", 15, 1, NAN},
        {&whole, &half, &plain, MEASURE_SAMPLE, 0.5, "rest", 15, hypot(1, 10 / sqrt(3)), NAN},
        {&none, &none, &plain, MEASURE_TOKENISE, 0, "rest", 15, hypot(1, 30 / sqrt(3)), NAN},
        {&unknown, &none, &plain, MEASURE_TOKENISE, 1, "rest", 15, 1, NAN},
        {&whole, &half, &limit, MEASURE_SAMPLE, 1, "rest", NAN, NAN, 7},
        {&whole, &half, &limit, MEASURE_SAMPLE, 0, "rest", NAN, NAN, 14}, /* twice as much as the mean */
        {&whole, &none, &time, MEASURE_DETOKENISE, 0.1, "other", 10, hypot(0.5, 20 / sqrt(3)), NAN},
        {&whole, &half, &time, MEASURE_SAMPLE, 0.5, "", NAN, NAN, NAN},
        {&whole, &unknown, &nothing, MEASURE_SAMPLE, 0, "", NAN, NAN, NAN},
        {&none, &none, &time, MEASURE_SAMPLE, 0.5, "", NAN, NAN, NAN},
        {&unknown, &none, &nothing, MEASURE_TOKENISE, 0, "", NAN, NAN, NAN},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct host_loop loops[MEASURE_WORKS] = {
            [MEASURE_TOKENISE] = *rows[i].tokenise, [MEASURE_DETOKENISE] = *rows[i].detokenise};
        const double want[] = {rows[i].w, rows[i].pm_w, rows[i].limit_w};
        struct host_power p;
        host_power(loops, rows[i].phase, rows[i].work, rows[i].share * REST_S, &p);
        assert_string_equal(host_source_name(p.source), rows[i].source);
        const double got[] = {p.w, p.pm_w, p.limit_w};
        for (size_t k = 0; k < JL_COUNT(got); k++)
            if (!(isnan(want[k]) ? isnan(got[k]) : fabs(got[k] - want[k]) < 1e-9))
                fail_msg("row %zu, figure %zu: %g, not %g", i, k, got[k], want[k]);
    }
}

/* A share of the loop is other work, which draws anything between half and one and a half times as much. */
static void the_interval_holds_the_power_inside(void **state)
{
    static const double shares[] = {1, 0.97, 0.9, 0.6, 0.1};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(shares); i++) {
        struct jl_rng g = {i + 1};
        int holds = 0;
        for (int k = 0; k < TRIALS; k++) {
            double p = 5 + 20 * jl_rng_uniform(&g), other = p * (0.5 + jl_rng_uniform(&g)), u_j = 0.4, w, pm;
            struct host_loop l = {.seconds = 2, .inside_s = 2 * shares[i], .net_pm_j = 2 * u_j};
            l.net_j = p * l.inside_s + other * (l.seconds - l.inside_s) + u_j * draw_normal(&g);
            host_loop_power(&l, &w, &pm);
            holds += fabs(w - p) <= pm;
        }
        if (holds < 0.94 * TRIALS)
            fail_msg("%g inside: the interval holds %d of %d", shares[i], holds, TRIALS);
    }
}

/* Of the rest too, of which the work is a share: 1.2 ms at a known power, and a tenth of a ms of them at another. */
static void the_interval_holds_the_power_in_the_rest(void **state)
{
    static const double shares[] = {1, 0.9, 0.5, 0.08};
    const struct host_loop none[MEASURE_WORKS] = {{0}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(shares); i++) {
        struct jl_rng g = {i + 1};
        int holds[2] = {0};
        for (int k = 0; k < 2 * TRIALS; k++) {
            double p = 5 + 20 * jl_rng_uniform(&g), other = p * (0.5 + jl_rng_uniform(&g)), u_w = 0.5;
            double w = p * shares[i] + other * (1 - shares[i]) + u_w * draw_normal(&g);
            bool limit = k % 2;
            struct measure_result r = rest_of(JOULET_COMPONENTS_PLAIN, w * REST_S, 2 * u_w * REST_S, limit);
            struct host_power h;
            host_power(none, &r, MEASURE_SAMPLE, shares[i] * REST_S, &h);
            holds[limit] += limit ? p <= h.limit_w : fabs(h.w - p) <= h.pm_w;
        }
        if (holds[0] < 0.94 * TRIALS || holds[1] < 0.97 * TRIALS)
            fail_msg("%g of the rest: the interval holds %d, the limit %d of %d", shares[i], holds[0], holds[1], TRIALS);
    }
}

static void what_is_taken_out_has_its_interval(void **state)
{
    double j, pm;
    (void)state;
    host_taken(&(struct host_power){.w = 10, .pm_w = 2, .limit_w = NAN, .source = HOST_LOOP}, 0.5, &j, &pm);
    assert_near(j, 5, 0);
    assert_near(pm, 1, 0);
    host_taken(&(struct host_power){.w = NAN, .pm_w = NAN, .limit_w = 8, .source = HOST_REST}, 0.5, &j, &pm);
    assert_near(j, 2, 0);
    assert_near(pm, 2, 0); /* 0 to 4 J */
    host_taken(&(struct host_power){.w = NAN, .pm_w = NAN, .limit_w = NAN}, 0.5, &j, &pm);
    assert_near(j, 0, 0);
    assert_near(pm, 0, 0);
}

static void nothing_is_left_below_zero(void **state)
{
    static const struct {
        struct host_part whole, work, left;
    } rows[] = {
        {{2, 30, 4}, {0.5, 5, 3}, {1.5, 25, 5}},       {{2, 30, 4}, {0, 0, 0}, {2, 30, 4}},
        {{0.2, 30, 4}, {0.5, 5, 3}, {0, 25, 5}},   /* the engine says that it took less time than its work */
        {{2, 3, 4}, {0.5, 15, 3}, {1.5, 0, 13}},   /* the loop drew 12 J more than there are */
        {{0.2, 3, 4}, {0.5, 15, 3}, {0, 0, 13}},   /* both */
        {{NAN, 30, 4}, {0.5, 5, 3}, {NAN, 25, 5}}, /* the unknown */
        {{2, NAN, NAN}, {0.5, 5, 3}, {1.5, NAN, NAN}}, {{2, 3, NAN}, {0.5, 15, 3}, {1.5, 0, NAN}},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct host_part left = rows[i].whole;
        host_leave(&left, &rows[i].work);
        const double got[] = {left.seconds, left.j, left.pm_j},
                     want[] = {rows[i].left.seconds, rows[i].left.j, rows[i].left.pm_j};
        for (size_t k = 0; k < JL_COUNT(got); k++)
            if (!(isnan(want[k]) ? isnan(got[k]) : fabs(got[k] - want[k]) < 1e-12))
                fail_msg("row %zu, figure %zu: %g, not %g", i, k, got[k], want[k]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_nearest_that_is_known),
        cmocka_unit_test(the_interval_holds_the_power_inside),
        cmocka_unit_test(the_interval_holds_the_power_in_the_rest),
        cmocka_unit_test(what_is_taken_out_has_its_interval),
        cmocka_unit_test(nothing_is_left_below_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
