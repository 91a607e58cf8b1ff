/* plan.h - sets of prompts: what is asked, and which answers are right. Which configurations they are sent to, and in which
 * order, is the matter of matrix.h. */
#ifndef LLM_PLAN_H
#define LLM_PLAN_H

#include "lib/base/base.h"

struct plan_prompt {
    char *set, *category, *text; /* never NULL: the file's name and "all" where the file does not say */
    char *messages; /* JSON array of {role, content} that is sent in place of `text`, which holds the same; NULL none */
    char *expected; /* the right answer, word for word; NULL none */
    char *check;    /* a regular expression that right answers match; NULL none */
    int64_t number, max_tokens; /* number from 1; max_tokens -1: not given */
};
struct plan {
    char *name;
    char sha256[65]; /* of the bytes the prompts come from */
    struct plan_prompt *prompts;
    size_t n;
};
/* The nine prompts of data/benchmark_prompts.csv. */
enum joulet_status plan_nine(struct plan *out, struct joulet_error *err);
/* A file of prompts: CSV with the same columns, JSON lines, or text with one prompt a line (docs/plans.md). */
enum joulet_status plan_file(struct plan *out, const char *path, struct joulet_error *err);
/* The same from text (NUL-terminated, n bytes before it), called `name`. */
enum joulet_status plan_parse(struct plan *out, const char *name, const char *text, size_t n, struct joulet_error *err);
/* Sets by name ("nine", "chat", ...) and files, separated by commas: all of their prompts, in that order. */
enum joulet_status plan_open(struct plan *out, const char *sets, struct joulet_error *err);
void plan_release(struct plan *p);

/* Names of the sets that come with the program, "nine" first; NULL at the end. */
extern const char *const plan_sets[];

/* ---- answers ------------------------------------------------------------------------------------------------------- */

/* 1: the answer is right; 0: it is not; -1: the prompt does not say what is. White space around the answer does not count. */
int plan_check(const struct plan_prompt *p, const char *answer);
/* Whether `check` can be used: JOULET_FORMAT with the reason. (?i) in front ignores case; else POSIX extended. */
enum joulet_status plan_check_good(const char *check, struct joulet_error *err);

#endif
