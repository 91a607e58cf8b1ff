/* head.h - inside the GGUF room: the head of a synthetic model, and taking a head apart. */
#ifndef LLM_GGUF_HEAD_H
#define LLM_GGUF_HEAD_H

#include "llm/gguf/layout.h"

/* Key-values and tensor descriptions, padded to the alignment: everything before the weights. */
enum joulet_status gguf_head_make(struct jl_buf *out, const struct gguf_shape *s, const struct gguf_layout *l, enum gguf_quant q,
                                  uint64_t seed, struct joulet_error *err);

/* As gguf_parse_head; *used is the length of the head without padding, and *cut says that it goes on after the n bytes. */
enum joulet_status gguf_take_head(const uint8_t *bytes, size_t n, struct gguf_head *out, size_t *used, bool *cut,
                                  struct joulet_error *err);
enum joulet_status gguf_take_model(const uint8_t *bytes, size_t n, struct gguf_model *out, size_t *used, bool *cut,
                                   struct joulet_error *err);

#endif
