/* plan.h - which prompts are sent in which order. */
#ifndef LLM_PLAN_H
#define LLM_PLAN_H

#include "lib/base/base.h"

struct plan_prompt {
    char *set, *category, *text;
    int64_t number, max_tokens;
};
struct plan {
    char *name;
    char sha256[65];
    struct plan_prompt *prompts;
    size_t n;
};
/* The nine prompts of data/benchmark_prompts.csv. */
enum joulet_status plan_nine(struct plan *out, struct joulet_error *err);
/* A file of prompts: CSV with the same columns, or text with one prompt a line. */
enum joulet_status plan_file(struct plan *out, const char *path, struct joulet_error *err);
void plan_release(struct plan *p);

#endif
