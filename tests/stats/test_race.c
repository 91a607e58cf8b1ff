/* Sequential elimination: what it promises however often one looks, by simulation with fixed seeds. */
#include "tests/base/test.h"
#include "tests/stats/draw.h"

#include "lib/stats/race.h"

enum { RACES = 1000, ROUNDS = 25, ARMS = 8 };

/* Multiplicative scatter of an energy: normal, with heavy tails (t of 4 degrees, of the same variance), or skewed upwards as
 * disturbances are. */
static double scatter(struct jl_rng *g, int kind, double sd)
{
    double z = draw_normal(g);
    if (kind == 1) {
        double chi = 0;
        for (int i = 0; i < 4; i++) {
            double y = draw_normal(g);
            chi += y * y;
        }
        z *= sqrt(4 / chi) / sqrt(2);
    } else if (kind == 2) {
        z = -log(1 - jl_rng_uniform(g)) - 1;
    }
    return sd * z;
}

struct result {
    int best_lost;     /* races in which the best candidate was dropped */
    double rounds;     /* mean, until the worst one was dropped; ROUNDS when it never was */
    double worst_left; /* races in which it never was */
};

/* Candidate 0 is the best; `worse` above it lies the last one, between them the others. The machine drifts by 10 %. */
static struct result simulate(int kind, double sd, double worse, uint64_t seed)
{
    static struct jl_race r;
    struct jl_rng g = {seed};
    struct result out = {0};
    for (int k = 0; k < RACES; k++) {
        int lost_at = ROUNDS;
        jl_race_init(&r, ARMS);
        for (int round = 0; round < ROUNDS; round++) {
            double x[ARMS];
            for (int i = 0; i < ARMS; i++)
                x[i] = 3 * exp(worse * i / (ARMS - 1) + scatter(&g, kind, sd) + 0.1 * round / ROUNDS);
            assert_true(jl_race_add(&r, x));
            jl_race_drop(&r);
            if (r.out[ARMS - 1] && lost_at == ROUNDS)
                lost_at = round + 1;
        }
        out.best_lost += r.out[0];
        out.worst_left += !r.out[ARMS - 1];
        out.rounds += (double)lost_at / RACES;
    }
    return out;
}

/* All alike is the hardest case: any of them that is dropped is a best one that was lost. */
static void the_best_is_not_dropped(void **state)
{
    static const char *const kinds[] = {"normal", "heavy tails", "skewed"};
    (void)state;
    for (int kind = 0; kind < 3; kind++)
        for (int worse = 0; worse < 2; worse++) {
            struct result r = simulate(kind, 0.02, worse ? 0.01 : 0, (uint64_t)(7 * kind + worse + 1));
            print_message("%s, %s: the best was dropped in %.1f %% of races\n", kinds[kind], worse ? "1 % apart" : "all alike",
                          100.0 * r.best_lost / RACES);
            assert_true(r.best_lost <= RACES * (JL_RACE_ALPHA + draw_chance(JL_RACE_ALPHA, RACES, 3)));
        }
}

static void losers_are_dropped_early(void **state)
{
    static const struct {
        double worse, most_rounds, most_left;
    } rows[] = {{0.30, 5, 0}, {0.15, 6, 0}, {0.08, 10, 0.01}, {0.04, 20, 0.15}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct result r = simulate(0, 0.02, rows[i].worse, 100 + i);
        print_message("%.0f %% worse at 2 %% scatter: dropped after %.1f rounds, never in %.1f %%\n", 100 * rows[i].worse,
                      r.rounds, 100 * r.worst_left / RACES);
        assert_true(r.rounds <= rows[i].most_rounds);
        assert_true(r.worst_left <= rows[i].most_left * RACES);
    }
}

/* The interval holds at all of 100 looks at once. */
static void the_interval_always_holds(void **state)
{
    struct jl_rng g = {5};
    int left = 0;
    (void)state;
    for (int k = 0; k < RACES; k++) {
        double mean = 0, square = 0;
        bool out = false;
        for (size_t n = 1; n <= 100; n++) {
            double x = draw_normal(&g), step = x - mean;
            mean += step / (double)n;
            square += step * (x - mean);
            out |= n > 1 && fabs(mean) > jl_always_half_width(sqrt(square / (double)(n - 1)), n, 0.05);
        }
        left += out;
    }
    print_message("the interval was left in %.1f %% of series\n", 100.0 * left / RACES);
    assert_true(left <= RACES * (0.05 + draw_chance(0.05, RACES, 3)));
    assert_true(left > 0);
}

static void what_was_not_measured_is_left_out(void **state)
{
    static struct jl_race r;
    double ratio, pm;
    (void)state;
    jl_race_init(&r, 3);
    assert_true(jl_race_add(&r, (double[]){1, 2, NAN}));
    assert_true(jl_race_add(&r, (double[]){1, 2.02, 1}));
    assert_true(jl_race_add(&r, (double[]){1, 0, 1.01}));
    assert_int_equal(jl_race_between(&r, 0, 1, 0.05, &ratio, &pm), 2);
    assert_near(ratio, log(2 * 2.02) / 2, 1e-12);
    assert_true(isfinite(pm) || pm == INFINITY);
    assert_int_equal(jl_race_between(&r, 1, 2, 0.05, &ratio, &pm), 1);
    assert_true(isinf(pm));
    assert_true(isinf(jl_always_half_width(0.02, 1, 0.05)));
    assert_near(jl_always_half_width(0, 10, 0.05), 0, 0);
    r.out[1] = true;
    assert_int_equal(jl_race_left(&r), 2);
}

static void rounds_are_drawn_and_mirrored(void **state)
{
    static struct jl_race r;
    size_t a[JL_RACE_MAX], b[JL_RACE_MAX];
    bool other = false;
    (void)state;
    jl_race_init(&r, 6);
    r.out[2] = true;
    for (size_t round = 0; round < 20; round += 2) {
        assert_int_equal(jl_race_order(&r, round, 3, a), 5);
        assert_int_equal(jl_race_order(&r, round + 1, 3, b), 5);
        for (size_t i = 0; i < 5; i++) {
            assert_true(a[i] != 2 && a[i] < 6);
            assert_int_equal(a[i], b[4 - i]);
            other |= a[i] != i;
        }
    }
    assert_true(other);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_best_is_not_dropped),       cmocka_unit_test(losers_are_dropped_early),
        cmocka_unit_test(the_interval_always_holds),     cmocka_unit_test(what_was_not_measured_is_left_out),
        cmocka_unit_test(rounds_are_drawn_and_mirrored),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
