/* rules.h - ways of sharing the energy of a history by its requests. */
#ifndef BENCH_ATTRIBUTION_RULES_H
#define BENCH_ATTRIBUTION_RULES_H

#include "bench/attribution/engine.h"

enum rule {
    RULE_EVENTS,     /* joulet: the engine tells its steps */
    RULE_CLUSTERS,   /* joulet: tokens as they come, prompt counts with the first */
    RULE_GUESSED,    /* joulet: tokens as they come, prompt counts at the end; until then a guess from the length of the text */
    RULE_EQUAL_TIME, /* equal parts for those in flight */
    RULE_TOKENS,     /* by the tokens in each window */
    RULES
};
/* est: one for each request, 0 before. learnt: JOULET_LEARNT_MAX bytes, what joulet knows at first ("" nothing) and learnt at the
 * end. false: out of memory, or the meter refused. */
bool rule_shares(enum rule rule, const struct history *h, const struct seen_window *windows, size_t n, double *est, char *learnt);

#endif
