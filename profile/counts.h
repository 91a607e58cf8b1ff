/* counts.h - the work of a model by part, layer and phase: floating-point operations and bytes, from the shapes and the number
 * formats in its file (docs/method.md 8.5). What the mathematics needs, each weight read once a step: an engine may do more.
 * Pure.
 *
 * Conventions. A product of a row with a matrix: 2 per weight. Norm: 4 an element. Rotation: 3. Scores: 2 for each product of a
 * query or a weight with a cached element, softmax 5 a score. Gated activation 5, plain 4. Bias and residual 1. Looking up a row:
 * 0. Activations are read and written once per part, as 32-bit numbers. */
#ifndef PROFILE_COUNTS_H
#define PROFILE_COUNTS_H

#include "llm/gguf/gguf.h"

enum profile_part {
    PROFILE_EMBEDDING,
    PROFILE_ATTENTION_NORM,
    PROFILE_QKV, /* with norms and biases of queries and keys */
    PROFILE_ROPE,
    PROFILE_KV_WRITE,
    PROFILE_SCORES, /* softmax and the sum of values with them */
    PROFILE_ATTENTION_OUTPUT,
    PROFILE_ATTENTION_RESIDUAL,
    PROFILE_FFN_NORM,
    PROFILE_ROUTER,
    PROFILE_GATE, /* and the next three: dense, or of experts that all tokens share */
    PROFILE_UP,   /* gate and up, where the file has them in one */
    PROFILE_ACTIVATION,
    PROFILE_DOWN,
    PROFILE_EXPERTS, /* all of this of those that are chosen, and the sum over them */
    PROFILE_FFN_RESIDUAL,
    PROFILE_OUTPUT_NORM,
    PROFILE_HEAD,
    PROFILE_PARTS
};
const char *profile_part_name(enum profile_part p); /* "attention_norm"; static */

/* What is timed as one: the parts between two stops. */
enum profile_component {
    PROFILE_C_EMBEDDING,
    PROFILE_C_ATTENTION_NORM,
    PROFILE_C_ATTENTION,
    PROFILE_C_FFN_NORM,
    PROFILE_C_FFN,
    PROFILE_C_OUTPUT_NORM,
    PROFILE_C_HEAD,
    PROFILE_COMPONENTS
};
const char *profile_component_name(enum profile_component c);
enum profile_component profile_component_of(enum profile_part p);

/* ---- a model ------------------------------------------------------------------------------------------------------- */

struct profile_weights { /* of one part of one layer */
    double row_flop;     /* for each row that passes, experts that are used included */
    double bytes;        /* read once a step, without experts */
    double expert_bytes; /* of all experts together */
};
struct profile_layer {
    struct profile_weights weights[PROFILE_PARTS];
    double q, k, v, joined; /* width of queries, keys, values, and of what the output projection takes */
    double heads, rotated;  /* elements of a row that are rotated */
    double ff;              /* width inside the feed-forward, without experts that are chosen */
    double expert_ff;       /* the same of those, the ones that are used together */
    double router;          /* width: experts */
    double up;              /* width of the product before the activation */
    double window;          /* tokens that attention sees; INFINITY */
    bool gated, has_ffn_norm;
};
struct profile_shape {
    size_t n_layers;
    struct profile_layer *layers;
    struct profile_weights weights[PROFILE_PARTS]; /* of the ends: embedding, output norm, head */
    double hidden, vocab;
    double embedding_row_bytes; /* of one token */
    double experts, experts_used;
    double k_bytes, v_bytes; /* of one element of the cache */
    bool tied;
    bool window_unknown; /* the file names a window but not whose: all layers are counted without */
};
/* cache_k, cache_v: number formats of the cache; NULL: F16, as engines do. JOULET_UNSUPPORTED names what has no count: other
 * kinds of layers (state space, latent attention), a format that is not known. Release it. */
enum joulet_status profile_shape_init(struct profile_shape *s, const struct gguf_model *m, const struct gguf_type *cache_k,
                                      const struct gguf_type *cache_v, struct joulet_error *err);
void profile_shape_release(struct profile_shape *s);

/* ---- counts -------------------------------------------------------------------------------------------------------- */

struct profile_count {
    double flop, weight_bytes, cache_read_bytes, cache_write_bytes, activation_bytes;
};
double profile_count_bytes(const struct profile_count *c); /* all four */
void profile_count_add(struct profile_count *to, const struct profile_count *from);

struct profile_counts {
    size_t n_layers;
    struct profile_count ends[PROFILE_PARTS];
    struct profile_count (*layers)[PROFILE_PARTS];
};
enum joulet_status profile_counts_init(struct profile_counts *c, const struct profile_shape *s, struct joulet_error *err);
void profile_counts_release(struct profile_counts *c);
struct profile_count profile_counts_part(const struct profile_counts *c, enum profile_part p); /* all layers and ends */
struct profile_count profile_counts_component(const struct profile_counts *c, enum profile_component p);
struct profile_count profile_counts_layer(const struct profile_counts *c, size_t layer);
struct profile_count profile_counts_all(const struct profile_counts *c);

/* Sequences that pass in one step: `past` tokens are in the cache, `tokens` are new, for the last `outputs` of them logits are
 * wanted. `copies` sequences are so. */
struct profile_sequence {
    double past, tokens, outputs, copies;
};
/* Each adds to what is there. Weights are read once a step; of experts, those that are expected to be met when the router has no
 * favourites: E (1 - (1 - used / E)^rows). Rows without wanted logits end before the last feed-forward, as engines do. */
void profile_count_step(struct profile_counts *to, const struct profile_shape *s, const struct profile_sequence *seq, size_t n);
/* A prompt in pieces of at most `piece` tokens (512 in llama.cpp), logits for its last token alone. */
void profile_count_prefill(struct profile_counts *to, const struct profile_shape *s, double past, double tokens, double piece);
/* `tokens` steps of `batch` sequences that all have `past` tokens in the cache at first. */
void profile_count_decode(struct profile_counts *to, const struct profile_shape *s, double past, double tokens, double batch);

/* ---- roofline -------------------------------------------------------------------------------------------------------- */

struct profile_machine {
    double peak_flops, bytes_per_s; /* measured or told; NAN unknown */
};
struct profile_place {
    double intensity;  /* FLOP per byte */
    double ridge;      /* intensity from which computing is the limit */
    double least_s;    /* the longer of both times */
    double attainable; /* FLOP/s at this intensity */
    bool memory_bound; /* false also where the machine is not known */
};
struct profile_place profile_place(const struct profile_count *c, const struct profile_machine *m);

struct profile_reached { /* NAN where what it needs is not known */
    double flops, bytes_per_s, roofline_share /* least_s / seconds */, j_per_flop, j_per_byte;
};
struct profile_reached profile_reached(const struct profile_count *c, const struct profile_machine *m, double seconds,
                                       double net_j);

#endif
