/* difference.h - what a model with one component less saves: energies of two models in turns, pair by pair (docs/method.md 8.9).
 * Pure. */
#ifndef PROFILE_DIFFERENCE_H
#define PROFILE_DIFFERENCE_H

#include "lib/base/base.h"

/* Decoding of one request: net joules over so many tokens, which took so long. */
struct profile_answer {
    double joules, tokens, seconds;
};
struct profile_difference {
    size_t rounds;            /* that count: both answers are known */
    double j[2], pm[2], s[2]; /* of a token of the whole model [0] and of the one with less [1]; pm: half of the 95 % interval */
    double less_j, less_pm;   /* of a token: [0] less [1] */
    double less_s;
    double share, share_pm; /* less_j of j[0]: the sensor's gain and what changes both alike are not in it */
    bool resolved;          /* less_j is above 0 by more than less_pm */
    bool reversed;          /* it is below 0 by more than that: something else changed */
    double limit_j;         /* what it is at most (97.5 %), where it is not resolved; NAN where it is */
};
/* Answer k of one was asked beside answer k of the other, so that drift cancels. u_idle_w: standard uncertainty of the idle level
 * that was taken off all of them; gain: that of the sensor's gain, relative. Unknown where fewer than two rounds count. */
void profile_difference(const struct profile_answer *whole, const struct profile_answer *less, size_t n, double u_idle_w,
                        double gain, struct profile_difference *out);

#endif
