/* comparison.c - what a verdict is worth: two configurations with 2 % noise on each request, on a machine that drifts, compared
 * many times over. False alarms, differences found, coverage of the interval, bias; beside the same requests in the order
 * AAAA..BBBB, and beside a reader who takes a difference of the means above 3 % for one. One JSON object a line. */
#include "lib/stats/compare.h"
#include "lib/stats/series.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

#define TIMES 20000
#define PAIRS 10
#define NOISE 0.02
#define DRIFT 0.04 /* of the level, from the first request to the last */
#define SEED  20261121u

static double normal(struct jl_rng *g)
{
    double u = 1 - jl_rng_uniform(g), v = jl_rng_uniform(g);
    return sqrt(-2 * log(u)) * cos(6.283185307179586 * v);
}

/* What came of one setting. */
struct outcome {
    size_t different, equal, held, naive;
    double bias; /* mean of the ratio over the true one, less 1 */
};

/* Which request of the sequence belongs to the i-th pair: A B B A A B B A .., or all A first. */
static size_t place(size_t i, bool b, bool interleaved)
{
    if (!interleaved)
        return b ? PAIRS + i : i;
    return 2 * i + (i % 2 ? !b : b);
}

static void once(struct jl_rng *g, size_t pairs, double ratio, bool interleaved, struct outcome *o)
{
    double a[PAIRS] = {0}, b[PAIRS] = {0};
    struct jl_comparison c;
    for (size_t i = 0; i < pairs; i++)
        for (int side = 0; side < 2; side++) {
            double at = (double)place(i, side, interleaved) / (2 * PAIRS - 1);
            double level = 12 * (side ? ratio : 1) * (1 + DRIFT * at);
            (side ? b : a)[i] = level * (1 + NOISE * normal(g));
        }
    if (!jl_compare_paired(a, b, pairs, 0, jl_rng_next(g), &c))
        return;
    jl_judge(&c, JL_MARGIN);
    o->different += c.verdict == JL_DIFFERENT;
    o->equal += c.verdict == JL_EQUAL;
    o->held += c.lo95 <= ratio && c.hi95 >= ratio;
    o->naive += fabs(jl_mean(b, pairs) / jl_mean(a, pairs) - 1) > 0.03;
    o->bias += (c.ratio / ratio - 1) / TIMES;
}

static struct outcome simulate(size_t pairs, double ratio, bool interleaved)
{
    struct outcome o = {0};
    struct jl_rng g = {.s = SEED};
    for (int t = 0; t < TIMES; t++)
        once(&g, pairs, ratio, interleaved, &o);
    return o;
}

/* `least`: a value above the goal meets it, otherwise one below. NAN: not judged, or no baseline. */
static void figure(const char *name, double percent, double goal, bool least, double baseline)
{
    const char *meets = isnan(goal) ? "null" : (least ? percent >= goal : percent <= goal) ? "true" : "false";
    printf("{\"figure\": \"comparison.%s\", \"value\": %.4g, \"unit\": \"%%\", ", name, percent);
    isnan(goal) ? printf("\"goal\": null, ") : printf("\"goal\": %.4g, ", goal);
    isnan(baseline) ? printf("\"baseline\": null, ") : printf("\"baseline\": %.4g, ", baseline);
    printf("\"meets\": %s}\n", meets);
    fflush(stdout);
}

static double share(size_t n)
{
    return 100.0 * (double)n / TIMES;
}

int main(void)
{
    struct outcome same = simulate(PAIRS, 1, true), five = simulate(PAIRS, 1.05, true), three = simulate(PAIRS, 1.03, true);
    struct outcome few = simulate(5, 1.05, true), blocks = simulate(PAIRS, 1, false);
    printf(
        "{\"figure\": \"comparison.seed\", \"value\": %u, \"unit\": \"\", \"goal\": null, \"baseline\": null, \"meets\": null}\n",
        SEED);
    figure("false_alarms_10_pairs", share(same.different), 5, false, share(same.naive));
    figure("found_5_percent_10_pairs", share(five.different), 85, true, share(five.naive));
    figure("found_3_percent_10_pairs", share(three.different), NAN, true, share(three.naive));
    figure("equal_within_3_percent_10_pairs", share(same.equal), NAN, true, NAN);
    figure("interval_holds_10_pairs", share(five.held), 93, true, NAN);
    figure("bias_abba", 100 * fabs(same.bias), 0.1, false, 100 * fabs(blocks.bias));
    figure("false_alarms_aaaa_bbbb", share(blocks.different), NAN, false, NAN);
    figure("found_5_percent_5_pairs", share(few.different), NAN, true, NAN);
    return 0;
}
