/* model.h - inside the GGUF room: what a model's head tells besides the summary, gathered while it is read. */
#ifndef LLM_GGUF_MODEL_H
#define LLM_GGUF_MODEL_H

#include "llm/gguf/cursor.h"
#include "llm/gguf/gguf.h"

void gguf_model_init(struct gguf_model *m);
/* A key of the architecture, and a cursor at its value. */
void gguf_model_key(struct gguf_model *m, struct gguf_text key, uint64_t type, struct gguf_cursor value);
/* NULL, or what is wrong with the tensor. */
const char *gguf_model_weight(struct gguf_model *m, struct gguf_text name, const uint64_t *size, size_t dimensions,
                              uint64_t type);

#endif
