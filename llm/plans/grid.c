/* grid.c - see grid.h. */
#include "llm/plans/grid.h"
#include "lib/stats/series.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CONTEXT_RESERVE 32   /* tokens: what a template adds, and prompts that come out a little longer */
#define CONTEXT_SHARE   0.97 /* the same for long ones */
#define WORTH_ADDING    1.5  /* a length that the context cuts to so many times the one before still tells something */
#define LEVELS_IN       3
#define LEVELS_OUT      2

/* ---- levels --------------------------------------------------------------------------------------------------------------- */

static int by_size(const void *a, const void *b)
{
    int64_t x = *(const int64_t *)a, y = *(const int64_t *)b;
    return (x > y) - (x < y);
}

static void sort_levels(struct grid_levels *l)
{
    size_t kept = 0;
    qsort(l->tokens, l->n, sizeof *l->tokens, by_size);
    for (size_t i = 0; i < l->n; i++)
        if (i == 0 || l->tokens[i] != l->tokens[kept - 1])
            l->tokens[kept++] = l->tokens[i];
    l->n = kept;
}

enum joulet_status grid_levels_parse(const char *text, const char *what, struct grid_levels *out, struct joulet_error *err)
{
    *out = (struct grid_levels){.n = 0};
    for (const char *p = text;; p++) {
        size_t n = strcspn(p, ",");
        char number[24];
        snprintf(number, sizeof number, "%.*s", (int)(n < sizeof number ? n : sizeof number - 1), p);
        if (out->n == GRID_LEVELS_MAX)
            return jl_fail(err, JOULET_USAGE, "%s: at most %d numbers", what, GRID_LEVELS_MAX);
        if (!jl_parse_i64(number, &out->tokens[out->n]) || out->tokens[out->n] < 1 || out->tokens[out->n] > 10000000)
            return jl_fail(err, JOULET_USAGE, "%s: \"%s\" is no whole number from 1 to 10000000; give one or more, as in 1,8,64",
                           what, number);
        out->n++;
        p += n;
        if (!*p)
            break;
    }
    sort_levels(out);
    return jl_ok(err);
}

void grid_levels_default(bool quick, struct grid_levels *in, struct grid_levels *out)
{
    *in = quick ? (struct grid_levels){{64, 512, 2048}, 3} : (struct grid_levels){{64, 512, 2048, 8192}, 4};
    *out = quick ? (struct grid_levels){{1, 128}, 2} : (struct grid_levels){{1, 64, 256}, 3};
}

enum joulet_status grid_fit_context(struct grid_levels *in, const struct grid_levels *out, int64_t context, bool *changed,
                                    struct joulet_error *err)
{
    int64_t longest = out->n ? out->tokens[out->n - 1] : 0, room = context - longest - CONTEXT_RESERVE;
    size_t before = in->n;
    *changed = false;
    if (context > 0) {
        room = (int64_t)(CONTEXT_SHARE * (double)room);
        while (in->n && in->tokens[in->n - 1] > room)
            in->n--;
        *changed = in->n < before;
        if (*changed && in->n && (double)room >= WORTH_ADDING * (double)in->tokens[in->n - 1])
            in->tokens[in->n++] = room;
    }
    if (in->n >= LEVELS_IN && out->n >= LEVELS_OUT)
        return jl_ok(err);
    if (*changed)
        return jl_fail(
            err, JOULET_USAGE,
            "a context of %lld tokens leaves room for %zu lengths of prompt beside an answer of %lld, and a fit needs %d: "
            "give a longer --context or other --tokens-in",
            (long long)context, in->n, (long long)longest, LEVELS_IN);
    return jl_fail(err, JOULET_USAGE, "a fit needs at least %d lengths of prompt and %d of the answer, not %zu and %zu",
                   LEVELS_IN, LEVELS_OUT, in->n, out->n);
}

struct grid_cell *grid_order(const struct grid_levels *in, const struct grid_levels *out, int64_t repeats, uint64_t seed,
                             size_t *n)
{
    struct jl_rng rng = {.s = seed};
    *n = in->n * out->n * (size_t)repeats;
    struct grid_cell *cells = calloc(*n + 1, sizeof *cells);
    size_t *order = calloc(*n + 1, sizeof *order);
    for (size_t i = 0; order && i < *n; i++)
        order[i] = i;
    if (order)
        jl_shuffle(order, *n, &rng);
    for (size_t i = 0; cells && order && i < *n; i++) {
        size_t cell = order[i] / (size_t)repeats;
        cells[i] =
            (struct grid_cell){in->tokens[cell / out->n], out->tokens[cell % out->n], (int64_t)(order[i] % (size_t)repeats)};
    }
    if (!order) {
        free(cells);
        cells = NULL;
    }
    free(order);
    return cells;
}

/* ---- prompts ----------------------------------------------------------------------------------------------------- */

/* Common words, each one token or two in most vocabularies, no two with the same beginning of three letters. */
static const char *const words[] = {
    "able",   "above",  "acid",    "after",  "again",  "album",  "angle",  "apple",   "april",  "army",   "asked", "atom",
    "aunt",   "away",   "baby",    "bear",   "begin",  "bird",   "black",  "body",    "bread",  "bus",    "cake",  "cell",
    "chair",  "circle", "class",   "coat",   "crowd",  "cup",    "dance",  "deep",    "dinner", "door",   "dream", "dust",
    "early",  "east",   "edge",    "egg",    "eight",  "engine", "equal",  "evening", "eye",    "family", "feet",  "field",
    "flower", "food",   "friend",  "full",   "game",   "gift",   "glass",  "gold",    "green",  "guest",  "hair",  "heart",
    "hill",   "hope",   "hundred", "ice",    "idea",   "inch",   "island", "item",    "jacket", "job",    "jump",  "keep",
    "kind",   "knife",  "lake",    "leaf",   "light",  "long",   "lunch",  "machine", "mean",   "milk",   "money", "music",
    "name",   "near",   "night",   "north",  "number", "ocean",  "office", "old",     "open",   "orange", "other", "owner",
    "page",   "pen",    "piano",   "plate",  "point",  "pretty", "pull",   "queen",   "quick",  "radio",  "red",   "ring",
    "road",   "ruler",  "sand",    "school", "ship",   "sky",    "small",  "sound",   "spring", "stone",  "sugar", "table",
    "ten",    "thing",  "time",    "town",   "tree",   "turn",   "uncle",  "valley",  "very",   "voice",  "wall",  "water",
    "window", "yellow",
};

char *grid_prompt(size_t count, size_t index, uint64_t seed)
{
    struct jl_rng rng = {.s = seed ^ (index * 0x9e3779b97f4a7c15u)};
    struct jl_buf b;
    jl_buf_init(&b, (size_t)256 << 20);
    /* First words are dealt out in turn, so that no cache of an engine finds a beginning it knows. */
    jl_buf_str(&b, words[(index + seed) % JL_COUNT(words)]);
    for (size_t i = 1; i < count; i++)
        jl_buf_printf(&b, " %s", words[jl_rng_below(&rng, JL_COUNT(words))]);
    if (b.failed) {
        jl_buf_release(&b);
        return NULL;
    }
    return jl_buf_take(&b);
}

enum joulet_status grid_words_from(size_t words_a, int64_t tokens_a, size_t words_b, int64_t tokens_b, struct grid_words *out,
                                   struct joulet_error *err)
{
    double per = (double)(tokens_b - tokens_a) / ((double)words_b - (double)words_a);
    *out = (struct grid_words){.per_word = per, .fixed = fmax(0, (double)tokens_a - per * (double)words_a)};
    if (tokens_a > 0 && tokens_b > 0 && per >= 0.1 && per <= 100)
        return jl_ok(err);
    return jl_fail(
        err, JOULET_ENGINE,
        "the engine counts %lld tokens in %zu words and %lld in %zu: without its count of prompt tokens nothing can be "
        "fitted",
        (long long)tokens_a, words_a, (long long)tokens_b, words_b);
}

size_t grid_words_for(const struct grid_words *w, int64_t tokens)
{
    double n = round(((double)tokens - w->fixed) / w->per_word);
    return n > 1 ? (size_t)n : 1;
}
