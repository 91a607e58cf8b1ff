/* engines.h - the rows of table.c, and what tests and fuzzers reach of them. */
#ifndef LLM_ENGINES_H
#define LLM_ENGINES_H

#include "llm/engine.h"

extern const struct engine_ops engine_llamacpp;
extern const struct engine_ops engine_ollama;
extern const struct engine_ops engine_openai;
extern const struct engine_ops engine_lmstudio;
extern const struct engine_ops engine_lmstudio_ws;
extern const struct engine_ops engine_responses;
extern const struct engine_ops engine_anthropic;
/* Answers only, as they pass: in no table of what can be asked. */
extern const struct engine_ops engine_native;

/* A body of llama.cpp's /props; false when it is none. */
bool llamacpp_read_props(const char *json, size_t n, struct engine_info *info);
/* How many slots of a body of /slots are busy; -1 when it is none. */
int llamacpp_read_slots(const char *json, size_t n);

#endif
