/* grid.h - the design of `fit`: lengths of prompt and answer that separate the terms of the token model (docs/method.md 6.2), in
 * an order and with prompts that a seed gives. Pure. */
#ifndef LLM_PLANS_GRID_H
#define LLM_PLANS_GRID_H

#include "lib/base/base.h"

enum { GRID_LEVELS_MAX = 32, GRID_REPEATS_MAX = 1000 };

struct grid_levels {
    int64_t tokens[GRID_LEVELS_MAX]; /* ascending, each once */
    size_t n;
};
/* "64,512,2048": JOULET_USAGE with the reason. `what` names them in the sentence. */
enum joulet_status grid_levels_parse(const char *text, const char *what, struct grid_levels *out, struct joulet_error *err);
/* The grid of 6.2, or the quick one of 3 x 2. */
void grid_levels_default(bool quick, struct grid_levels *in, struct grid_levels *out);
/* Takes prompt lengths off that do not fit into the context beside the longest answer, and puts the longest that does in their
 * place when it is well above the others. *changed tells. JOULET_USAGE: fewer than 3 prompt lengths or 2 answers remain. */
enum joulet_status grid_fit_context(struct grid_levels *in, const struct grid_levels *out, int64_t context, bool *changed,
                                    struct joulet_error *err);

struct grid_cell {
    int64_t tokens_in, tokens_out, repeat;
};
/* Every pair of lengths `repeats` times, shuffled. Malloc'ed; NULL on no memory. */
struct grid_cell *grid_order(const struct grid_levels *in, const struct grid_levels *out, int64_t repeats, uint64_t seed,
                             size_t *n);

/* A text of so many words that shares no beginning with that of another `index` (below 128: not even the first word). Malloc'ed;
 * NULL on no memory. */
char *grid_prompt(size_t words, size_t index, uint64_t seed);

/* How many tokens the engine makes of how many words: from two prompts. */
struct grid_words {
    double fixed, per_word; /* tokens = fixed + per_word * words */
};
/* JOULET_ENGINE when the counts make no sense. */
enum joulet_status grid_words_from(size_t words_a, int64_t tokens_a, size_t words_b, int64_t tokens_b, struct grid_words *out,
                                   struct joulet_error *err);
size_t grid_words_for(const struct grid_words *w, int64_t tokens); /* at least 1 */

#endif
