/* test_difference.c - what one component less saves, over some thousand drawn measurements whose truth is known: the interval
 * holds it, nothing is claimed where there is nothing, and a limit holds. */
#include "tests/base/test.h"

#include "profile/difference.h"
#include "tests/stats/draw.h"

#define ROUNDS 6
#define TRIALS 4000

struct truth {
    double less;         /* what is taken away, as a share of a token of 10 J */
    double noise, drift; /* of one answer; over all of them, relative */
    double idle_w, gain; /* standard uncertainty; half-width */
    double faster;       /* what is taken away draws so many times the power of a token beyond it: 0 the same */
};

/* Answers in turns, the whole model first and last by turns: energies with noise, in a machine that grows warm, above an idle
 * level and behind a gain that are both a little wrong. */
static void draw(const struct truth *t, struct jl_rng *g, struct profile_answer whole[ROUNDS], struct profile_answer less[ROUNDS])
{
    double idle_w = t->idle_w * draw_normal(g), gain = t->gain * (2 * jl_rng_uniform(g) - 1);
    for (int i = 0; i < 2 * ROUNDS; i++) {
        bool second = i / 2 % 2 ? i % 2 == 0 : i % 2 == 1;
        double part = second ? 1 - t->less : 1, tokens = 40;
        double seconds = 0.1 * tokens * (second ? 1 - t->less / (1 + t->faster) : 1);
        double j = 10 * part * tokens * (1 + t->noise * draw_normal(g)) * (1 + t->drift * i / (2 * ROUNDS));
        struct profile_answer a = {.joules = j * (1 + gain) + idle_w * seconds, .tokens = tokens, .seconds = seconds};
        (second ? less : whole)[i / 2] = a;
    }
}

static void intervals_hold_the_truth(void **state)
{
    static const struct truth rows[] = {
        {0, 0.01, 0, 0, 0, 0},     {0, 0.02, 0.1, 1, 0.05, 0},    {0.001, 0.01, 0.05, 0.5, 0.02, 0},
        {0.02, 0.01, 0, 0, 0, 0},  {0.05, 0.02, 0.1, 2, 0.05, 0}, {0.12, 0.005, 0.02, 5, 0.02, 0},
        {0.25, 0.001, 0, 8, 0, 2}, {0.25, 0.001, 0, 8, 0, -0.5},
    };
    (void)state;
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        struct jl_rng g = {r + 1};
        int holds = 0, shares = 0, claims = 0, reversed = 0, limit_fails = 0;
        for (int i = 0; i < TRIALS; i++) {
            struct profile_answer whole[ROUNDS], less[ROUNDS];
            struct profile_difference d;
            /* all of them at the power that they had in the middle of the drift */
            double truth = 10 * rows[r].less * (1 + rows[r].drift * (2 * ROUNDS - 1) / (4 * ROUNDS));
            draw(&rows[r], &g, whole, less);
            profile_difference(whole, less, ROUNDS, rows[r].idle_w, rows[r].gain / sqrt(3), &d);
            assert_int_equal(d.rounds, ROUNDS);
            holds += fabs(d.less_j - truth) <= d.less_pm;
            shares += fabs(d.share - rows[r].less) <= d.share_pm;
            claims += d.resolved;
            reversed += d.reversed;
            limit_fails += !d.resolved && truth > d.limit_j;
        }
        if (holds < 0.935 * TRIALS || shares < 0.935 * TRIALS)
            fail_msg("row %zu: %d and %d of %d intervals hold the truth", r, holds, shares, TRIALS);
        if (rows[r].less == 0 && claims > 0.035 * TRIALS)
            fail_msg("row %zu: %d of %d times something was seen that is not there", r, claims, TRIALS);
        if (reversed > 0.035 * TRIALS)
            fail_msg("row %zu: %d of %d times less cost more", r, reversed, TRIALS);
        if (limit_fails > 0.035 * TRIALS)
            fail_msg("row %zu: %d of %d limits fail", r, limit_fails, TRIALS);
        if (rows[r].less >= 0.1 && claims < 0.99 * TRIALS)
            fail_msg("row %zu: an eighth of a token was seen in %d of %d", r, claims, TRIALS);
    }
}

/* Half of what one answer varies from another by is drift: pairs do not see it. */
static void drift_cancels(void **state)
{
    static const struct truth t = {0.02, 0.001, 0.5, 0, 0, 0};
    struct profile_answer whole[ROUNDS], less[ROUNDS];
    struct profile_difference d;
    struct jl_rng g = {7};
    (void)state;
    draw(&t, &g, whole, less);
    profile_difference(whole, less, ROUNDS, 0, 0, &d);
    assert_true(d.less_pm < d.pm[0]);
    assert_true(fabs(d.less_j - 0.2 * 1.25) <= d.less_pm);
}

static void what_is_not_known_does_not_count(void **state)
{
    struct profile_answer whole[] = {{400, 40, 4}, {NAN, 40, 4}, {404, 40, 4}, {400, 0, 0}};
    struct profile_answer less[] = {{360, 40, 3.6}, {360, 40, 3.6}, {364, 40, 3.6}, {360, 40, 3.6}};
    struct profile_difference d;
    (void)state;
    profile_difference(whole, less, 4, NAN, 0, &d);
    assert_int_equal(d.rounds, 2);
    assert_near(d.less_j, 1, 1e-12);
    assert_true(d.resolved && isnan(d.limit_j));
    profile_difference(whole, less, 2, 0, 0, &d); /* one pair says nothing of its own scatter */
    assert_int_equal(d.rounds, 1);
    assert_true(isnan(d.less_j) && isnan(d.less_pm) && isnan(d.limit_j) && !d.resolved);
    profile_difference(NULL, NULL, 0, 0, 0, &d);
    assert_int_equal(d.rounds, 0);
}

static void less_that_costs_more_is_said(void **state)
{
    struct profile_answer whole[] = {{360, 40, 4}, {361, 40, 4}, {359, 40, 4}},
                          less[] = {{400, 40, 4}, {401, 40, 4}, {400, 40, 4}};
    struct profile_difference d;
    (void)state;
    profile_difference(whole, less, 3, 0, 0, &d);
    assert_true(d.reversed && !d.resolved);
    assert_near(d.limit_j, d.less_pm, 1e-12);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold_the_truth),
        cmocka_unit_test(drift_cancels),
        cmocka_unit_test(what_is_not_known_does_not_count),
        cmocka_unit_test(less_that_costs_more_is_said),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
