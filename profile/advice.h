/* advice.h - what would save energy, from the numbers of one profile: rules that say what triggered them, what saving they expect
 * within which bounds, and the two commands that would show it. No trigger in this record, no advice. Pure. */
#ifndef PROFILE_ADVICE_H
#define PROFILE_ADVICE_H

#include "run/profile.h"

/* What a record tells; NAN or -1: unknown, and then no rule fires on it. */
struct profile_facts {
    const char *model, *name;                        /* as -m takes it: of a server of ours, of one that loads by name */
    bool unloads;                                    /* the engine can be told how long to keep a model */
    int threads, cores;                              /* of the engine; physical ones of the machine */
    double queued_share;                             /* of requests that waited for a slot */
    int slots;                                       /* requests that the engine takes at once */
    int batch;                                       /* answers at once whose tokens were measured beside those of one */
    double alone_j, alone_pm_j, batch_j, batch_pm_j; /* of a token: one answer at a time, and so many */
    double weight_bits;                              /* mean bits of a weight */
    double decode_j, prefill_j;                      /* net, of the profile */
    double decode_bytes, weight_bytes, cache_bytes;  /* of one decode step: all, weights, cache read (profile/counts.h) */
    bool memory_bound;                               /* decode is, by the roofline */
    double scores_share, prefill_scores_share;       /* of decode and prefill J: scores and softmax */
    double context_tokens;                           /* in the cache, mean */
    int flash_attention;                             /* 1 on, 0 off */
    int cache_bits;                                  /* of an element of the cache */
    int loads;                                       /* of the model in the profile */
    double load_j;                                   /* each, net */
    double loaded_idle_w, loaded_idle_pm_w;          /* more idle power with the model loaded */
    double between_s, longest_s;                     /* between its unloading and the next load: mean, longest */
    double output_tokens, output_limit, cut_share;   /* mean of a request; most that it may make; share that ended there */
    double requests;                                 /* whose prefill and decode those joules are */
    double idle_w, limit_w, draw_w;                  /* of one device: idle, its limit, its mean power in decode */
    const char *limited;                             /* its channel: "gpu0.board", "amd0...", "cpu0..."; NULL unknown */
};
extern const struct profile_facts profile_facts_none; /* nothing is known */

enum { PROFILE_RULES = 8 };

struct profile_advice {
    const char *rule; /* "threads"; static */
    char why[240];    /* the numbers that triggered it */
    char action[160];
    double saving, saving_pm; /* of the J of its requests, and of its loads for "keep_alive"; the truth lies within */
    char bench[240], compare[120];
};
/* The rules that fire, the largest saving first; returns how many, at most PROFILE_RULES. */
size_t profile_advise(const struct profile_facts *f, struct profile_advice out[PROFILE_RULES]);

/* What a record tells, by the keys that run/profile.h names. model points into the record. */
struct profile_facts profile_facts_of(const struct run_profile *p);
/* The advice of a record, into it, in place of what stands there. False: no memory. */
bool profile_advise_record(struct run_profile *p);

#endif
