/* plan.h - which prompts are sent in which order. */
#ifndef LLM_PLAN_H
#define LLM_PLAN_H

#include "lib/base/base.h"

struct plan_prompt {
    char *set, *category, *text; /* never NULL: the file's name and "all" where the file does not say */
    int64_t number, max_tokens;  /* number from 1; max_tokens -1: not given */
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
/* The same from text (NUL-terminated, n bytes before it), called `name`. */
enum joulet_status plan_parse(struct plan *out, const char *name, const char *text, size_t n, struct joulet_error *err);
void plan_release(struct plan *p);

#endif
