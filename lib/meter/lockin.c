/* lockin.c - what is repeated, how often and in which order, so that windows longer than a token hold different mixtures (8.2).
 */
#include "lib/base/base.h"

#include <math.h>

#define OF_A_TOKEN  1.0   /* repeats of a kind take so much of a token's time */
#define SEGMENT_MIN 0.030 /* s */
#define READINGS    4     /* of the sensor, in a segment */

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
        double k = round(OF_A_TOKEN * whole_s / token_s[c]);
        out->repeats[c] = (int)fmin(fmax(k, 1), JOULET_REPEATS_MAX);
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
