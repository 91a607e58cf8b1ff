/* advice.c - the rules, one function each. A saving is an interval: what the counted work and the record bound it by, no more. */
#include "profile/advice.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define WORTH        0.01 /* less is not worth a sentence */
#define LONG_CONTEXT 2048
#define NARROW_BITS  4.5 /* of a weight in Q4_0 and its like */
#define LONG_ANSWER  400
#define NEAR_LIMIT   0.9
#define CAP          0.8
#define BATCH        4

const struct profile_facts profile_facts_none = {.model = "MODEL",
                                                 .threads = -1,
                                                 .cores = -1,
                                                 .queued_share = NAN,
                                                 .slots = -1,
                                                 .weight_bits = NAN,
                                                 .decode_j = NAN,
                                                 .prefill_j = NAN,
                                                 .decode_bytes = NAN,
                                                 .weight_bytes = NAN,
                                                 .cache_bytes = NAN,
                                                 .scores_share = NAN,
                                                 .context_tokens = NAN,
                                                 .flash_attention = -1,
                                                 .cache_bits = -1,
                                                 .loads = -1,
                                                 .load_j = NAN,
                                                 .loaded_idle_w = NAN,
                                                 .between_s = NAN,
                                                 .output_tokens = NAN,
                                                 .cut_share = NAN,
                                                 .limit_w = NAN,
                                                 .draw_w = NAN};

__attribute__((format(printf, 3, 4))) static void say(char *to, size_t size, const char *format, ...)
{
    va_list args;
    va_start(args, format);
    vsnprintf(to, size, format, args);
    va_end(args);
}

/* Between both shares, wherever in there. */
static void between(struct profile_advice *a, double least, double most)
{
    a->saving = (least + most) / 2;
    a->saving_pm = (most - least) / 2;
}

static void plan(struct profile_advice *a, const struct profile_facts *f, const char *vary)
{
    say(a->bench, sizeof a->bench, "joulet bench --engine private -m %s --vary %s --repeat 10", f->model, vary);
    say(a->compare, sizeof a->compare, "joulet compare last");
}

/* Share of the profile's joules that decode takes; NAN unknown. */
static double decode_share(const struct profile_facts *f)
{
    return f->decode_j / (f->decode_j + f->prefill_j);
}

/* ---- rules ------------------------------------------------------------------------------------------------------------- */

/* More threads than cores: they wait for the same memory. At best their whole part of the power is saved, at worst nothing. */
static bool rule_threads(const struct profile_facts *f, struct profile_advice *a)
{
    char vary[64];
    if (f->cores < 1 || f->threads <= f->cores || !f->memory_bound)
        return false;
    between(a, 0, (1 - (double)f->cores / f->threads) * decode_share(f));
    say(a->why, sizeof a->why, "%d threads on %d cores, while decode waits for memory", f->threads, f->cores);
    say(a->action, sizeof a->action, "use %d threads", f->cores);
    say(vary, sizeof vary, "threads=%d,%d", f->threads, f->cores);
    plan(a, f, vary);
    return true;
}

/* Requests wait while each step reads all weights for one of them. b together read them once: between half and all of their share
 * of what is moved is divided by b. */
static bool rule_batch(const struct profile_facts *f, struct profile_advice *a)
{
    char vary[64];
    double weights = f->weight_bytes / f->decode_bytes * decode_share(f);
    if (!(f->queued_share > 0.1) || f->slots < 1 || f->slots >= BATCH || !f->memory_bound)
        return false;
    double divided = 1 - (double)f->slots / BATCH;
    between(a, weights * divided / 2, weights * divided);
    say(a->why, sizeof a->why, "%.0f %% of requests waited for one of %d slots, and weights are %.0f %% of the bytes of a step",
        100 * f->queued_share, f->slots, 100 * f->weight_bytes / f->decode_bytes);
    say(a->action, sizeof a->action, "let the engine take %d requests at once", BATCH);
    say(vary, sizeof vary, "streams=%d,%d", f->slots, BATCH);
    plan(a, f, vary);
    return true;
}

/* Bytes of weights go down with their bits; between half and all of their share of decode goes with them. */
static bool rule_quantisation(const struct profile_facts *f, struct profile_advice *a)
{
    double weights = f->weight_bytes / f->decode_bytes * decode_share(f);
    if (!(f->weight_bits >= 8) || !f->memory_bound)
        return false;
    double fewer = 1 - NARROW_BITS / f->weight_bits;
    between(a, weights * fewer / 2, weights * fewer);
    say(a->why, sizeof a->why, "%.1f bits a weight, and decode waits for %.0f %% of its bytes to come from them", f->weight_bits,
        100 * f->weight_bytes / f->decode_bytes);
    say(a->action, sizeof a->action, "try the model with 4 to 5 bits a weight; see whether its answers are still good enough");
    say(a->bench, sizeof a->bench, "joulet bench --engine private -m %s -m MODEL-Q4 --repeat 10", f->model);
    say(a->compare, sizeof a->compare, "joulet compare last");
    return true;
}

/* Each token reads the whole cache. At 8.5 bits an element instead of 16 it is 47 % less of its bytes, between half and all of
 * which tell in decode. */
static bool rule_context(const struct profile_facts *f, struct profile_advice *a)
{
    double cache = f->cache_bytes / f->decode_bytes;
    if (!(cache > 0.15) || !(f->context_tokens > LONG_CONTEXT) || f->cache_bits != 16 || !f->memory_bound)
        return false;
    double fewer = cache * (1 - 8.5 / 16) * decode_share(f);
    between(a, fewer / 2, fewer);
    say(a->why, sizeof a->why, "%.0f tokens in the cache, whose reading is %.0f %% of the bytes of a step", f->context_tokens,
        100 * cache);
    say(a->action, sizeof a->action, "keep the cache in q8_0; half as long a context saves about the same");
    plan(a, f, "kv-type=f16,q8_0");
    return true;
}

/* Without it, scores are written and read again. At best all but reading the cache goes. */
static bool rule_flash_attention(const struct profile_facts *f, struct profile_advice *a)
{
    if (f->flash_attention != 0 || !(f->scores_share > 0.05) || !(f->context_tokens > LONG_CONTEXT))
        return false;
    between(a, 0, 0.5 * f->scores_share * decode_share(f));
    say(a->why, sizeof a->why, "flash attention is off, and scores take %.0f %% of decode with %.0f tokens in the cache",
        100 * f->scores_share, f->context_tokens);
    say(a->action, sizeof a->action, "turn flash attention on");
    plan(a, f, "flash-attention=off,on");
    return true;
}

/* Loading again costs more than to stay loaded would have: no guess but a sum, doubtful by a fifth. */
static bool rule_keep_alive(const struct profile_facts *f, struct profile_advice *a)
{
    double kept_j = f->loaded_idle_w * f->between_s, whole_j = f->decode_j + f->prefill_j + f->loads * f->load_j;
    if (f->loads < 2 || !(f->load_j > 0) || !(kept_j < f->load_j))
        return false;
    double saved = (f->loads - 1) * (f->load_j - kept_j) / whole_j;
    between(a, 0.8 * saved, fmin(1, 1.2 * saved));
    say(a->why, sizeof a->why, "%d loads of %.0f J each; to stay loaded for the %.0f s between them takes %.0f J", f->loads,
        f->load_j, f->between_s, kept_j);
    say(a->action, sizeof a->action, "keep the model loaded for %.0f s", ceil(f->between_s));
    say(a->bench, sizeof a->bench, "joulet bench -m %s --vary keep-alive=0s,%.0fs --repeat 10", f->model, ceil(f->between_s));
    say(a->compare, sizeof a->compare, "joulet compare last");
    return true;
}

/* Long answers, some cut at their limit. A quarter less of each takes a quarter of decode, or a little more, as its end is
 * dearer. */
static bool rule_output(const struct profile_facts *f, struct profile_advice *a)
{
    if (!(f->output_tokens > LONG_ANSWER) || !(f->cut_share > 0.2))
        return false;
    between(a, 0.22 * decode_share(f), 0.30 * decode_share(f));
    say(a->why, sizeof a->why, "answers of %.0f tokens in the mean, %.0f %% of them cut at their limit", f->output_tokens,
        100 * f->cut_share);
    say(a->action, sizeof a->action, "limit answers to %.0f tokens, or ask for short ones", 0.75 * f->output_tokens);
    say(a->bench, sizeof a->bench, "joulet bench -m %s --vary max-tokens=%.0f,%.0f --repeat 10", f->model, f->output_tokens,
        0.75 * f->output_tokens);
    say(a->compare, sizeof a->compare, "joulet compare last");
    return true;
}

/* At its limit while it waits for memory: the clock of the cores is higher than it need be. */
static bool rule_power_cap(const struct profile_facts *f, struct profile_advice *a)
{
    if (!(f->draw_w > NEAR_LIMIT * f->limit_w) || !f->memory_bound)
        return false;
    between(a, 0, (1 - CAP) * decode_share(f));
    say(a->why, sizeof a->why, "%.0f W of a limit of %.0f W in decode, which waits for memory", f->draw_w, f->limit_w);
    say(a->action, sizeof a->action, "limit the power to %.0f W (nvidia-smi -pl, as root)", CAP * f->limit_w);
    say(a->bench, sizeof a->bench, "joulet bench -m %s --repeat 10 (before, and again with the limit)", f->model);
    say(a->compare, sizeof a->compare, "joulet compare ID-OF-THE-FIRST last");
    return true;
}

/* ---- all of them ------------------------------------------------------------------------------------------------------ */

static const struct {
    const char *name;
    bool (*fires)(const struct profile_facts *f, struct profile_advice *a);
} rules[PROFILE_RULES] = {
    {"threads", rule_threads},
    {"batch", rule_batch},
    {"quantisation", rule_quantisation},
    {"context", rule_context},
    {"flash_attention", rule_flash_attention},
    {"keep_alive", rule_keep_alive},
    {"output_length", rule_output},
    {"power_cap", rule_power_cap},
};

static int by_saving(const void *a, const void *b)
{
    const struct profile_advice *x = a, *y = b;
    return (x->saving < y->saving) - (x->saving > y->saving);
}

size_t profile_advise(const struct profile_facts *f, struct profile_advice out[PROFILE_RULES])
{
    size_t n = 0;
    for (size_t i = 0; i < PROFILE_RULES; i++) {
        struct profile_advice a = {.rule = rules[i].name};
        if (rules[i].fires(f, &a) && a.saving >= WORTH) /* a saving that is not known is none */
            out[n++] = a;
    }
    qsort(out, n, sizeof *out, by_saving);
    return n;
}
