/* plan_private.h - shared by the readers of prompt files. */
#ifndef LLM_PLAN_PRIVATE_H
#define LLM_PLAN_PRIVATE_H

#include "llm/plans/plan.h"

#define PLAN_PROMPTS_MAX ((size_t)100000)

void plan_prompt_release(struct plan_prompt *x);
/* Takes over the strings of *x, on failure too. */
enum joulet_status plan_append(struct plan *p, struct plan_prompt *x, struct joulet_error *err);
enum joulet_status plan_no_memory(const struct plan *p, struct joulet_error *err);
bool plan_blank(const char *s);
/* Offset of the first byte that is not part of well-formed UTF-8 text (RFC 3629) or is NUL; n when all is well. */
size_t plan_bad_text(const char *text, size_t n);

/* Whether the first line that is not blank begins a JSON object; then the file is JSON lines. */
bool plan_is_jsonl(const char *text, size_t n);
enum joulet_status plan_add_jsonl(struct plan *p, const char *text, size_t n, struct joulet_error *err);

#endif
