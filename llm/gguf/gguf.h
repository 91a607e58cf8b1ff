/* gguf.h - reading the head of a GGUF file, writing synthetic models of real shapes. */
#ifndef LLM_GGUF_H
#define LLM_GGUF_H

#include "lib/base/base.h"

enum gguf_quant { GGUF_F32 = 0, GGUF_F16 = 1, GGUF_Q4_0 = 2, GGUF_Q8_0 = 8 };
#define GGUF_QUANTS "f32, f16, q8_0 or q4_0"
const char *gguf_quant_name(enum gguf_quant q);               /* "q4_0"; static */
bool gguf_quant_find(const char *name, enum gguf_quant *out); /* case-insensitive */

struct gguf_shape { /* Llama family; a row of data/model_shapes.csv */
    char name[64];  /* "llama-3.2-1b": lower-case short name */
    int layers, hidden, heads, kv_heads, head_dim, ffn, vocab, context;
    bool tied;
    double rope_theta;
    int experts, experts_used; /* 0: one feed-forward for all tokens */
    int layers_of;             /* of the shape before it was made with fewer; 0: as it is */
};
/* By name (case-insensitive; also the hf id); "tiny" is 4 x 256, vocabulary 2048, "tiny-moe" with 8 experts of which 2 are used.
 * JOULET_NOT_FOUND lists near names. */
enum joulet_status gguf_shape_find(const char *name, struct gguf_shape *out, struct joulet_error *err);
/* One thing changed: "layers=4", "ffn=4096", "heads=16", "vocab=32000". The name says so: "llama-3.2-1b-layers4". JOULET_USAGE.
 */
enum joulet_status gguf_shape_change(struct gguf_shape *s, const char *change, struct joulet_error *err);
size_t gguf_shape_count(void); /* supported shapes */
bool gguf_shape_get(size_t i, struct gguf_shape *out);
int64_t gguf_shape_params(const struct gguf_shape *s);
int64_t gguf_shape_bytes(const struct gguf_shape *s, enum gguf_quant q); /* size of the file, to 1 % */

/* Streams to `path` through a temporary file beside it ("path.part"); byte-identical for a seed. Removes the partial file on
 * failure (JOULET_IO: disk full says how much is needed; JOULET_BUSY: another process is writing it). progress may be NULL; when
 * it returns false the writing ends with JOULET_CANCELLED. */
enum joulet_status gguf_write(const char *path, const struct gguf_shape *shape, enum gguf_quant quant, uint64_t seed,
                              bool (*progress)(void *user, double done), void *user, struct joulet_error *err);

/* Whether the file is what gguf_write would write, as its head and its size tell. */
bool gguf_is_written(const char *path, const struct gguf_shape *shape, enum gguf_quant quant, uint64_t seed);

struct gguf_made { /* what a model of gguf_write was written from */
    struct gguf_shape shape;
    enum gguf_quant quant;
    uint64_t seed;
};
/* False: gguf_write did not write this file, or wrote a shape that is not known any more. */
bool gguf_find_made(const char *path, struct gguf_made *out);

struct gguf_head {
    char architecture[64], name[256], quantisation[16];
    int64_t params, context_length, layers, hidden, heads, kv_heads, vocab, tensors, bytes;
    int64_t layers_of, params_of; /* of the shape that it has fewer layers than; -1: it has them all */
    int64_t seed;                 /* of a model that gguf_write wrote; -1 */
    char digest[65];              /* SHA-256 of the head and the size: names the file without reading all of it */
};
enum joulet_status gguf_read_head(const char *path, struct gguf_head *out, struct joulet_error *err);
/* The parser alone, for tests and fuzzers: n bytes of the head of a file. */
enum joulet_status gguf_parse_head(const uint8_t *bytes, size_t n, struct gguf_head *out, struct joulet_error *err);

struct gguf_type { /* of a tensor, by the number that ggml gave it */
    int id;
    const char *name;     /* "Q4_K"; static */
    int64_t block, bytes; /* `block` elements of a row take `bytes` bytes */
};
const struct gguf_type *gguf_type_get(int id);                      /* NULL: not known */
const struct gguf_type *gguf_type_find(const char *name);           /* case-insensitive; NULL: not known */
double gguf_type_bytes(const struct gguf_type *t, double elements); /* of whole blocks; NAN where t is NULL */

#define GGUF_NAME_MAX   64
#define GGUF_LAYERS_MAX 1024

struct gguf_weight {
    char name[GGUF_NAME_MAX];      /* "blk.0.attn_q.weight" */
    int type;                      /* of ggml; gguf_type_get */
    int64_t columns, rows, planes; /* columns: what a product sums over; planes: experts, else 1; 1 for what is not there */
    int dimensions;
};
/* The head in full: every tensor's shape, and the numbers that shapes do not tell. -1: not in the file. */
struct gguf_model {
    struct gguf_head head;
    struct gguf_weight *weights;
    size_t n_weights;
    int64_t key_length, value_length, rope_dimensions, experts, experts_used;
    int64_t window;        /* of attention, tokens */
    int64_t window_period; /* every so manyth layer sees all; -1 also where it is told by layer */
    bool by_layer;         /* windowed[] was told */
    uint8_t windowed[GGUF_LAYERS_MAX];
    bool alibi; /* positions come as a bias: nothing is rotated */
};
/* As gguf_read_head. Release what was read; after a failure there is nothing to release. */
enum joulet_status gguf_read_model(const char *path, struct gguf_model *out, struct joulet_error *err);
enum joulet_status gguf_parse_model(const uint8_t *bytes, size_t n, struct gguf_model *out, struct joulet_error *err);
void gguf_model_release(struct gguf_model *m);

#endif
