/* advice.c - the rules, one function each. A saving is an interval: what the counted work and the record bound it by, no more;
 * where a change can also cost something, it reaches below 0. The bounds hold on simulated machines of all kinds
 * (docs/method.md 8.6).
 */
#include "profile/advice.h"

#include "llm/plans/tune.h"

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
#define MUCH_LESS    0.4
#define BATCH        4
#define LOAD_SHARE   0.1     /* of a request: a smaller load is not worth a thought */
#define LONGEST_S    86400.0 /* of staying loaded: what draws less than can be seen is not followed further */
#define WORD_SIZE    150     /* with it, the longest command fits into its place */
#define KEPT         0.4     /* of a load: what staying loaded may take until the next request */
#define LEAST_KEPT_S 10      /* nobody answers faster */
#define SHORTER      0.75    /* of the limit of an answer */
#define SENSOR       1.04    /* the joules of the record err by so much, and with them the shares */
#define UNPACKING    0.15    /* of prefill, where narrow numbers are unpacked before they are multiplied */

const struct profile_facts profile_facts_none = {.model = "MODEL",
                                                 .name = "MODEL",
                                                 .threads = -1,
                                                 .cores = -1,
                                                 .queued_share = NAN,
                                                 .slots = -1,
                                                 .batch = -1,
                                                 .alone_j = NAN,
                                                 .alone_pm_j = NAN,
                                                 .batch_j = NAN,
                                                 .batch_pm_j = NAN,
                                                 .weight_bits = NAN,
                                                 .decode_j = NAN,
                                                 .prefill_j = NAN,
                                                 .decode_bytes = NAN,
                                                 .weight_bytes = NAN,
                                                 .cache_bytes = NAN,
                                                 .scores_share = NAN,
                                                 .prefill_scores_share = NAN,
                                                 .context_tokens = NAN,
                                                 .flash_attention = -1,
                                                 .cache_bits = -1,
                                                 .loads = -1,
                                                 .load_j = NAN,
                                                 .loaded_idle_w = NAN,
                                                 .loaded_idle_pm_w = NAN,
                                                 .between_s = NAN,
                                                 .longest_s = NAN,
                                                 .output_tokens = NAN,
                                                 .output_limit = NAN,
                                                 .cut_share = NAN,
                                                 .requests = NAN,
                                                 .idle_w = NAN,
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

/* Streams are compared by rounds of two or four repeats (docs/comparing.md): these make 7. */
static void streams_plan(struct profile_advice *a, const struct profile_facts *f, int at_once)
{
    say(a->bench, sizeof a->bench, "joulet bench --engine private -m %s --vary streams=%d,%d --repeat 20", f->model, f->slots,
        at_once);
    say(a->compare, sizeof a->compare, "joulet compare last --metric j-per-token");
}

/* Share of the joules of the profile's requests that decode takes; NAN unknown. */
static double decode_share(const struct profile_facts *f)
{
    return f->decode_j / (f->decode_j + f->prefill_j);
}

/* Share of the profile's joules that scores and softmax of prefill take; at most all of prefill where nobody looked. */
static double prefill_scores(const struct profile_facts *f)
{
    return (isnan(f->prefill_scores_share) ? 1 : f->prefill_scores_share) * (1 - decode_share(f));
}

/* ---- rules ------------------------------------------------------------------------------------------------------------- */

/* More threads than cores: they wait for the same memory and for each other. At best all that is done by them is saved, in both
 * phases; at worst they had filled gaps of the others. */
static bool rule_threads(const struct profile_facts *f, struct profile_advice *a)
{
    char vary[64];
    if (f->cores < 1 || f->threads <= f->cores || !f->memory_bound || isnan(decode_share(f)))
        return false;
    double more = 1 - (double)f->cores / f->threads;
    between(a, -0.2 * more, more);
    say(a->why, sizeof a->why, "%d threads on %d cores, while decode waits for memory", f->threads, f->cores);
    say(a->action, sizeof a->action, "use %d threads", f->cores);
    say(vary, sizeof vary, "threads=%d,%d", f->threads, f->cores);
    plan(a, f, vary);
    return true;
}

/* The profile decoded several answers at once, and their tokens took less: what they took less is measured, and is saved by
 * requests that come together. */
static bool rule_batch_seen(const struct profile_facts *f, struct profile_advice *a)
{
    double ratio = f->batch_j / f->alone_j;
    double pm = ratio * hypot(f->batch_pm_j / f->batch_j, f->alone_pm_j / f->alone_j);
    if (f->slots < 1 || f->batch <= f->slots || !(f->alone_j > f->alone_pm_j) || !(f->batch_j > 0) || !(1 - ratio > pm))
        return false;
    between(a, (1 - ratio - pm) * decode_share(f) / SENSOR, fmin(1, (1 - ratio + pm) * decode_share(f) * SENSOR));
    say(a->why, sizeof a->why, "a token took %.3g J with one answer at a time and %.3g J with %d at once", f->alone_j, f->batch_j,
        f->batch);
    say(a->action, sizeof a->action, "let the engine take %d requests at once, if so many come together", f->batch);
    streams_plan(a, f, f->batch);
    return true;
}

/* Requests wait while each step reads all weights for one of them. b together read them once: at most all of their share of what
 * is moved is divided by b, and little of it where computing then is the limit. */
static bool rule_batch(const struct profile_facts *f, struct profile_advice *a)
{
    double weights = f->weight_bytes / f->decode_bytes * decode_share(f);
    if (rule_batch_seen(f, a))
        return true;
    if (!(f->queued_share > 0.1) || f->slots < 1 || f->slots >= BATCH || !f->memory_bound)
        return false;
    double divided = 1 - (double)f->slots / BATCH;
    between(a, 0, fmin(1, SENSOR * weights * divided));
    say(a->why, sizeof a->why, "%.0f %% of requests waited for one of %d slots, and weights are %.0f %% of the bytes of a step",
        100 * f->queued_share, f->slots, 100 * f->weight_bytes / f->decode_bytes);
    say(a->action, sizeof a->action, "let the engine take %d requests at once", BATCH);
    streams_plan(a, f, BATCH);
    return true;
}

/* Bytes of weights go down with their bits; at most all of their share of decode goes with them. What unpacks them computes more,
 * which prefill feels. */
static bool rule_quantisation(const struct profile_facts *f, struct profile_advice *a)
{
    double weights = f->weight_bytes / f->decode_bytes * decode_share(f);
    if (!(f->weight_bits >= 8) || !f->memory_bound)
        return false;
    double fewer = 1 - NARROW_BITS / f->weight_bits;
    between(a, f->weight_bits < 16 ? 0 : -UNPACKING * (1 - decode_share(f)), fmin(1, SENSOR * weights * fewer));
    say(a->why, sizeof a->why, "%.1f bits a weight, and decode waits for %.0f %% of its bytes to come from them", f->weight_bits,
        100 * f->weight_bytes / f->decode_bytes);
    say(a->action, sizeof a->action, "try the model with 4 to 5 bits a weight; see whether its answers are still good enough");
    say(a->bench, sizeof a->bench, "joulet bench --engine private -m %s -m MODEL-Q4 --repeat 10", f->model);
    say(a->compare, sizeof a->compare, "joulet compare last");
    return true;
}

/* Each token reads the whole cache. At 8.5 bits an element instead of 16 it is 47 % less of its bytes, at most all of which tell
 * in decode; unpacking it costs in prefill. */
static bool rule_context(const struct profile_facts *f, struct profile_advice *a)
{
    double cache = f->cache_bytes / f->decode_bytes;
    if (!(cache > 0.15) || !(f->context_tokens > LONG_CONTEXT) || f->cache_bits != 16 || !f->memory_bound)
        return false;
    between(a, -UNPACKING * prefill_scores(f), SENSOR * cache * (1 - 8.5 / 16) * decode_share(f));
    say(a->why, sizeof a->why, "%.0f tokens in the cache, whose reading is %.0f %% of the bytes of a step", f->context_tokens,
        100 * cache);
    say(a->action, sizeof a->action, "keep the cache in q8_0; half as long a context saves about the same");
    plan(a, f, "kv-type=f16,q8_0");
    return true;
}

/* Without it, scores are written and read again. At best most of their part goes, in both phases; some processors compute more
 * with it. */
static bool rule_flash_attention(const struct profile_facts *f, struct profile_advice *a)
{
    if (f->flash_attention != 0 || !(f->scores_share > 0.05) || !(f->context_tokens > LONG_CONTEXT))
        return false;
    double scores = f->scores_share * decode_share(f) + prefill_scores(f);
    between(a, -0.2 * scores, 0.9 * scores);
    say(a->why, sizeof a->why, "flash attention is off, and scores take %.0f %% of decode with %.0f tokens in the cache",
        100 * f->scores_share, f->context_tokens);
    say(a->action, sizeof a->action, "turn flash attention on");
    plan(a, f, "flash-attention=off,on");
    return true;
}

static void keep_alive_plan(const struct profile_facts *f, struct profile_advice *a, double seconds)
{
    say(a->bench, sizeof a->bench, "joulet bench -m %s --vary keep-alive=0s,%.0fs --repeat 10", f->name, seconds);
    say(a->compare, sizeof a->compare, "joulet compare last");
}

/* Of one load it is not known when the next request will come. But up to some time to stay loaded costs less than half of a load,
 * whatever the model draws meanwhile: the request that comes until then saves the rest at least, and the whole load at most. */
static bool rule_keep_alive_once(const struct profile_facts *f, struct profile_advice *a)
{
    double request_j = (f->decode_j + f->prefill_j) / f->requests, whole_j = request_j + f->load_j;
    double most_w = fmax(f->loaded_idle_w, 0) + f->loaded_idle_pm_w;
    double kept_s = fmin(LONGEST_S, floor(KEPT * f->load_j / most_w));
    if (f->loads != 1 || !(f->load_j > LOAD_SHARE * request_j) || !(request_j > 0) || !(most_w >= 0) || !(kept_s >= LEAST_KEPT_S))
        return false;
    between(a, (0.9 * f->load_j - 1.1 * most_w * kept_s) / whole_j, fmin(1, 1.1 * f->load_j / whole_j));
    say(a->why, sizeof a->why,
        "a load took %.3g J, as much as %.2g requests, and with the model loaded the machine waits with at most %.2g W more",
        f->load_j, f->load_j / request_j, most_w);
    say(a->action, sizeof a->action, "keep the model loaded where the next request comes within %.0f s", kept_s);
    keep_alive_plan(f, a, kept_s);
    return true;
}

/* Loading again costs more than to stay loaded would have: no guess but a sum, doubtful by a tenth. The model then also stays for
 * as long once more, after the last request. Where it is not known what a loaded model draws while it waits, the whole idle power
 * is more than that. Of an engine that cannot be told how long to keep a model, no plan would show it. */
static bool rule_keep_alive(const struct profile_facts *f, struct profile_advice *a)
{
    double longest_s = isnan(f->longest_s) ? f->between_s : f->longest_s;
    double loaded_w = isnan(f->loaded_idle_w) ? f->idle_w : f->loaded_idle_w;
    double kept_j = loaded_w * f->between_s, after_j = loaded_w * longest_s;
    double whole_j = f->decode_j + f->prefill_j + f->loads * f->load_j;
    if (!f->unloads || rule_keep_alive_once(f, a))
        return f->unloads;
    if (f->loads < 2 || !(f->load_j > 0) || !(kept_j + after_j / (f->loads - 1) < f->load_j))
        return false;
    double loads_j = (f->loads - 1) * f->load_j, idle_j = (f->loads - 1) * kept_j + after_j;
    between(a, (0.9 * loads_j - 1.1 * idle_j) / whole_j, fmin(1, (1.1 * loads_j - 0.9 * idle_j) / whole_j));
    say(a->why, sizeof a->why, "%d loads of %.3g J each; to stay loaded for the %.2g s between them takes %.2g J", f->loads,
        f->load_j, f->between_s, kept_j);
    say(a->action, sizeof a->action, "keep the model loaded for %.0f s", fmax(1, ceil(longest_s)));
    keep_alive_plan(f, a, fmax(1, ceil(longest_s)));
    return a->saving > a->saving_pm;
}

/* Long answers, some cut at their limit. With three quarters of it, those lose a quarter, and no other loses more; the end of an
 * answer is dearer than its mean, as the cache is longer there, by no more than twice. */
static bool rule_output(const struct profile_facts *f, struct profile_advice *a)
{
    if (!(f->output_tokens > LONG_ANSWER) || !(f->cut_share > 0.2) || !(f->output_limit >= f->output_tokens))
        return false;
    double least = f->cut_share * (1 - SHORTER) * f->output_limit / f->output_tokens, most = 1 - SHORTER;
    between(a, fmin(least, most) * decode_share(f) / SENSOR, SENSOR * 1.3 * most * decode_share(f));
    say(a->why, sizeof a->why, "answers of %.0f tokens in the mean, %.0f %% of them cut at their limit of %.0f", f->output_tokens,
        100 * f->cut_share, f->output_limit);
    say(a->action, sizeof a->action, "limit answers to %.0f tokens, or ask for short ones", SHORTER * f->output_limit);
    say(a->bench, sizeof a->bench, "joulet bench -m %s --vary max-tokens=%.0f,%.0f --repeat 10", f->model, f->output_limit,
        SHORTER * f->output_limit);
    say(a->compare, sizeof a->compare, "joulet compare last");
    return true;
}

/* How the limit of a device is set, by whoever makes it. */
static void cap_action(const struct profile_facts *f, struct profile_advice *a)
{
    int w = (int)(CAP * f->limit_w), n = f->limited ? (int)strcspn(f->limited, ". ") : 0;
    if (n && jl_starts(f->limited, "amd"))
        say(a->action, sizeof a->action, "limit the power of %.*s to %d W (rocm-smi --setpoweroverdrive %d, as root)", n,
            f->limited, w, w);
    else if (n && jl_starts(f->limited, "cpu"))
        say(a->action, sizeof a->action, "limit the power of %.*s to %d W (its long-term limit, in powercap or in the firmware)",
            n, f->limited, w);
    else
        say(a->action, sizeof a->action, "limit the power to %d W (nvidia-smi -pl %d, as root)", w, w);
}

/* At its limit while it waits for memory: the clock of the cores is higher than it need be. All that the limit takes off the
 * power above idle is saved at best, in both phases. Where that is much, the clock falls so far that the longer time takes it
 * back. */
static bool rule_power_cap(const struct profile_facts *f, struct profile_advice *a)
{
    double less = (1 - CAP) * f->limit_w / (f->limit_w - f->idle_w);
    if (!(f->draw_w > NEAR_LIMIT * f->limit_w) || !f->memory_bound || !(f->limit_w > f->idle_w) || !(less < MUCH_LESS))
        return false;
    between(a, -0.25 * less, SENSOR * less);
    say(a->why, sizeof a->why, "%.0f W of a limit of %.0f W in decode, which waits for memory", f->draw_w, f->limit_w);
    cap_action(f, a);
    say(a->action + strlen(a->action), sizeof a->action - strlen(a->action), "; measure before and after");
    say(a->bench, sizeof a->bench, "joulet bench -m %s --repeat 10", f->model);
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

/* As a shell takes it for one word. One that leaves no place for the rest of a command is left to the reader: MODEL. */
static const char *as_word(const char *name, char *to, size_t size)
{
    struct jl_buf b;
    jl_buf_init(&b, size);
    tune_put_word(&b, name);
    bool whole = b.len && b.len == strlen(b.data) && b.len + 1 < size && !b.failed;
    snprintf(to, size, "%s", whole ? b.data : "MODEL");
    jl_buf_release(&b);
    return to;
}

size_t profile_advise(const struct profile_facts *facts, struct profile_advice out[PROFILE_RULES])
{
    size_t n = 0;
    char model[WORD_SIZE], name[WORD_SIZE];
    struct profile_facts words = *facts;
    const struct profile_facts *f = &words;
    words.model = as_word(facts->model, model, sizeof model);
    words.name = as_word(facts->name, name, sizeof name);
    for (size_t i = 0; i < PROFILE_RULES; i++) {
        struct profile_advice a = {.rule = rules[i].name};
        if (rules[i].fires(f, &a) && a.saving >= WORTH) /* a saving that is not known is none */
            out[n++] = a;
    }
    qsort(out, n, sizeof *out, by_saving);
    return n;
}
