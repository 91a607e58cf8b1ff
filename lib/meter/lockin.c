/* lockin.c - what is repeated, how often and in which order, so that windows longer than a token hold different mixtures (8.2).
 */
#include "lib/base/base.h"

#include <math.h>

#define OF_A_TOKEN  1.0   /* repeats of a kind take so much of a token's time */
#define SEGMENT_MIN 0.030 /* s */
#define READINGS    4     /* of the sensor, in a segment */
#define OUT_OF_STEP 0.1   /* of a token, from one reading to the next at least */
#define MORE        1.6   /* repeats for that, over what would be enough: at most, and one */

/* Windows that cover a part of the time, such as 25 of 100 ms, see the same part of each token where a reading takes as long as
 * one token or two, and never see the rest of it. */
static bool in_step(double token_s, double reading_s)
{
    double tokens = reading_s / token_s;
    return tokens >= 0.5 && tokens < 4.5 && fabs(tokens - round(tokens)) < OUT_OF_STEP;
}

static int repeats_of(double kind_s, double whole_s, double reading_s)
{
    int enough = (int)fmin(fmax(round(OF_A_TOKEN * whole_s / kind_s), 1), JOULET_REPEATS_MAX);
    int most = (int)fmin(MORE * enough + 1, JOULET_REPEATS_MAX);
    for (int k = enough; k <= most; k++)
        if (!in_step(whole_s + k * kind_s, reading_s))
            return k;
    return enough;
}

void joulet_lockin_plan(const double *token_s, const bool *can, size_t kinds, double reading_s, struct joulet_lockin *out)
{
    double whole_s = 0;
    size_t segments = 1;
    *out = (struct joulet_lockin){.segment_s = fmax(READINGS * reading_s, SEGMENT_MIN)};
    for (size_t c = 0; c < kinds; c++)
        whole_s += token_s[c];
    for (size_t c = 0; c < kinds && c < JOULET_COMPONENTS_MAX; c++) {
        if (!can[c] || !(token_s[c] > 0))
            continue;
        out->repeats[c] = repeats_of(token_s[c], whole_s, reading_s);
        segments++;
    }
    out->block_s = (double)segments * out->segment_s;
}

size_t joulet_lockin_block(const struct joulet_lockin *p, size_t kinds, uint64_t seed, uint64_t block, size_t *order)
{
    struct jl_rng mix = {seed}, rng = {jl_rng_next(&mix) ^ block};
    size_t n = 0;
    order[n++] = kinds;
    for (size_t c = 0; c < kinds && c < JOULET_COMPONENTS_MAX; c++)
        if (p->repeats[c] > 0)
            order[n++] = c;
    for (size_t i = n; i-- > 1;) { /* Fisher and Yates */
        size_t k = (size_t)jl_rng_below(&rng, i + 1), kept = order[i];
        order[i] = order[k];
        order[k] = kept;
    }
    return n;
}
