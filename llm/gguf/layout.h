/* layout.h - inside the GGUF room: the tensors of a Llama model of a given shape, its vocabulary, and pseudo-random rows. */
#ifndef LLM_GGUF_LAYOUT_H
#define LLM_GGUF_LAYOUT_H

#include "llm/gguf/gguf.h"

#define GGUF_ALIGNMENT      32
#define GGUF_BYTE_TOKENS    256
#define GGUF_CONTROL_TOKENS 5
#define GGUF_TOKEN_MAX      24 /* bytes of a token's text, its NUL included */

enum gguf_fill { FILL_GAUSS, FILL_ONES, FILL_VOCABULARY };

struct gguf_tensor {
    char name[48];
    uint64_t columns, rows; /* rows 0: one-dimensional; of all planes */
    uint64_t planes;        /* experts; 0: two-dimensional */
    enum gguf_quant quant;
    enum gguf_fill fill;
    double deviation;       /* of a weight */
    uint64_t offset, bytes; /* in the data part, without padding */
};
struct gguf_layout {
    struct gguf_tensor *tensors;
    size_t n;
    uint64_t data_bytes; /* padding included */
};
/* JOULET_USAGE when no such model can be: the sentence says which number does not fit. */
enum joulet_status gguf_layout_init(struct gguf_layout *l, const struct gguf_shape *s, enum gguf_quant q,
                                    struct joulet_error *err);
void gguf_layout_release(struct gguf_layout *l);
uint64_t gguf_row_bytes(enum gguf_quant q, uint64_t columns);

/* A byte-level vocabulary: 256 bytes, some hundred merged syllables, pseudo-words up to the size, control tokens last. */
struct gguf_vocabulary {
    char (*token)[GGUF_TOKEN_MAX];
    size_t n, cap;
    char (*merge)[GGUF_TOKEN_MAX];
    size_t n_merges;
};
bool gguf_vocabulary_init(struct gguf_vocabulary *v, size_t size);
void gguf_vocabulary_release(struct gguf_vocabulary *v);

/* Normal quantile by + - * / and sqrt alone: the same bits on every machine. 0 < p < 1. */
double gguf_normal_quantile(double p);
uint16_t gguf_half(float f); /* IEEE half precision, to nearest even */

struct gguf_tables;
struct gguf_tables *gguf_tables_open(void);
void gguf_tables_close(struct gguf_tables *t);
/* One row of a tensor, seeded by (seed, tensor, row) alone, so that rows could be written in any order. */
void gguf_fill_row(struct gguf_tables *t, const struct gguf_tensor *tensor, size_t tensor_index, uint64_t row, double scale,
                   uint64_t seed, uint8_t *out);

#endif
