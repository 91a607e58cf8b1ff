/* tune.h - what `joulet tune` tries: settings of an engine as candidates of a search, the plan that measures them, and the
 * command lines that use them. Pure. */
#ifndef LLM_TUNE_H
#define LLM_TUNE_H

#include "lib/base/base.h"

enum { TUNE_CANDIDATES_MAX = 24, TUNE_CHOICES_MAX = 10 };

struct tune_choice {
    const char *setting; /* of --settings: "threads"; static */
    const char *key;     /* of a plan: "threads", "server.ubatch-size"; static */
    char value[1024];
};
/* Settings that differ from the engine's defaults; none: those. */
struct tune_candidate {
    char name[200]; /* "threads 4, KV q8_0" */
    struct tune_choice choices[TUNE_CHOICES_MAX];
    size_t n;
};
struct tune_ask {
    const char *settings;      /* "threads,kv-type"; NULL: what is worth it on this machine */
    const char *const *models; /* of one model in several number formats, the first is the default */
    size_t n_models;
    int cores, threads; /* of the machine; threads: what it can run at once */
    bool gpu;
    int64_t layers;  /* of the model; -1 not known */
    int64_t context; /* tokens; -1: 4096 */
};
/* The defaults, and each value of each setting by itself. JOULET_USAGE: a setting that there is not, or nothing to try. */
enum joulet_status tune_candidates(const struct tune_ask *ask, struct tune_candidate out[TUNE_CANDIDATES_MAX], size_t *n,
                                   struct joulet_error *err);
/* Whether --settings asks for it, or would by itself. */
bool tune_asks(const struct tune_ask *ask, const char *setting);
/* All choices of these; of one setting the first counts. */
void tune_join(const struct tune_candidate *const *parts, size_t n, struct tune_candidate *out);
/* Most requests at once in any of them. */
int64_t tune_streams(const struct tune_candidate *c, size_t n);

struct tune_plan {
    const char *title, *prompts, *engine, *model;
    int64_t repeat, max_tokens, context; /* context -1: not given */
    double baseline_s;
    int threads; /* of a server of ours that is not told; 0: not known */
};
/* Text of a plan with a cell for each candidate; malloc'ed, NULL on no memory. */
char *tune_plan_text(const struct tune_plan *p, const struct tune_candidate *c, size_t n);

/* How to use a candidate: with the engine itself, told all that the measured one was; with a server of joulet's in the
 * background, which has the same defaults; and to measure it again with the same prompts. */
enum tune_use { TUNE_LLAMA_SERVER, TUNE_ENGINE_START, TUNE_BENCH };
void tune_put_word(struct jl_buf *b, const char *s); /* as a shell takes it for one word: quoted where it must be */
void tune_command(struct jl_buf *out, enum tune_use use, const struct tune_plan *p, const struct tune_candidate *c);

#endif
