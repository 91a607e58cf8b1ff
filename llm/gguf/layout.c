/* layout.c - which tensors a Llama model of a given shape has, how wide their weights scatter, and where they lie in the file.
 *
 * Deviations keep a random model sane: 1/sqrt(fan in), the two projections that write into the residual stream times
 * 1/sqrt(2 layers), embeddings 3/sqrt(hidden). Feed-forward outputs get twice that, because the gate halves its signal. */
#include "llm/gguf/layout.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>

uint64_t gguf_row_bytes(enum gguf_quant q, uint64_t columns)
{
    switch (q) {
    case GGUF_F32:
        return columns * 4;
    case GGUF_F16:
        return columns * 2;
    case GGUF_Q8_0:
        return columns / 32 * 34; /* a half-precision step and 32 bytes */
    case GGUF_Q4_0:
        return columns / 32 * 18; /* a half-precision step and 32 nibbles */
    }
    return 0;
}

static enum joulet_status check_shape(const struct gguf_shape *s, struct joulet_error *err)
{
    const struct {
        const char *what;
        int value, min, max, multiple;
    } rules[] = {
        {"layers", s->layers, 1, 1000, 1},
        {"hidden size", s->hidden, 32, 65536, 32},
        {"heads", s->heads, 1, 1024, 1},
        {"key/value heads", s->kv_heads, 1, 1024, 1},
        {"head dimension", s->head_dim, 2, 1024, 2},
        {"feed-forward size", s->ffn, 32, 1 << 20, 32},
        {"context", s->context, 1, 1 << 30, 1},
        {"experts", s->experts, 0, 1024, 1},
        {"experts that are used", s->experts_used, s->experts > 0, s->experts, 1},
        {"vocabulary", s->vocab, GGUF_BYTE_TOKENS + GGUF_CONTROL_TOKENS, 1 << 20, 1},
    };
    for (size_t i = 0; i < JL_COUNT(rules); i++)
        if (rules[i].value < rules[i].min || rules[i].value > rules[i].max || rules[i].value % rules[i].multiple)
            return jl_fail(err, JOULET_USAGE, "model shape '%.64s': %s %d must be a multiple of %d between %d and %d", s->name,
                           rules[i].what, rules[i].value, rules[i].multiple, rules[i].min, rules[i].max);
    if (s->heads % s->kv_heads)
        return jl_fail(err, JOULET_USAGE, "model shape '%.64s': %d heads cannot share %d key/value heads evenly", s->name,
                       s->heads, s->kv_heads);
    if ((int64_t)s->heads * s->head_dim % 32)
        return jl_fail(err, JOULET_USAGE, "model shape '%.64s': heads x head dimension must be a multiple of 32", s->name);
    return jl_ok(err);
}

static void add(struct gguf_layout *l, struct gguf_tensor t, int layer, const char *part)
{
    if (layer >= 0)
        snprintf(t.name, sizeof(t.name), "blk.%d.%s.weight", layer, part);
    else
        snprintf(t.name, sizeof(t.name), "%s.weight", part);
    t.bytes = gguf_row_bytes(t.quant, t.columns) * (t.rows ? t.rows : 1);
    t.offset = l->data_bytes;
    /* Readers want every tensor padded, the last one too. */
    l->data_bytes += (t.bytes + GGUF_ALIGNMENT - 1) / GGUF_ALIGNMENT * GGUF_ALIGNMENT;
    l->tensors[l->n++] = t;
}

static struct gguf_tensor norm(const struct gguf_shape *s)
{
    return (struct gguf_tensor){.columns = (uint64_t)s->hidden, .quant = GGUF_F32, .fill = FILL_ONES};
}

static struct gguf_tensor matrix(int64_t columns, int64_t rows, enum gguf_quant q, double deviation)
{
    return (struct gguf_tensor){
        .columns = (uint64_t)columns, .rows = (uint64_t)rows, .quant = q, .fill = FILL_GAUSS, .deviation = deviation};
}

static struct gguf_tensor vocabulary_matrix(const struct gguf_shape *s, enum gguf_quant q)
{
    struct gguf_tensor t = matrix(s->hidden, s->vocab, q, 3 / sqrt(s->hidden));
    t.fill = FILL_VOCABULARY;
    return t;
}

static void add_experts(struct gguf_layout *l, const struct gguf_shape *s, enum gguf_quant q, int i)
{
    int64_t d = s->hidden, n = s->experts;
    double in = 1 / sqrt(s->hidden), residual = 1 / sqrt(2.0 * s->layers);
    struct gguf_tensor up = matrix(d, s->ffn * n, q, in), down = matrix(s->ffn, d * n, q, 2 * residual / sqrt(s->ffn));
    up.planes = down.planes = (uint64_t)n;
    add(l, matrix(d, n, GGUF_F32, in), i, "ffn_gate_inp"); /* which expert a token goes to */
    add(l, up, i, "ffn_gate_exps");
    add(l, up, i, "ffn_up_exps");
    add(l, down, i, "ffn_down_exps");
}

static void add_layer(struct gguf_layout *l, const struct gguf_shape *s, enum gguf_quant q, int i)
{
    int64_t d = s->hidden, heads = (int64_t)s->heads * s->head_dim, kv = (int64_t)s->kv_heads * s->head_dim;
    double in = 1 / sqrt(s->hidden), residual = 1 / sqrt(2.0 * s->layers);
    add(l, norm(s), i, "attn_norm");
    add(l, matrix(d, heads, q, in), i, "attn_q");
    add(l, matrix(d, kv, q, in), i, "attn_k");
    add(l, matrix(d, kv, q, in), i, "attn_v");
    add(l, matrix(heads, d, q, residual / sqrt((double)heads)), i, "attn_output");
    add(l, norm(s), i, "ffn_norm");
    if (s->experts > 0) {
        add_experts(l, s, q, i);
        return;
    }
    add(l, matrix(d, s->ffn, q, in), i, "ffn_gate");
    add(l, matrix(d, s->ffn, q, in), i, "ffn_up");
    add(l, matrix(s->ffn, d, q, 2 * residual / sqrt(s->ffn)), i, "ffn_down");
}

enum joulet_status gguf_layout_init(struct gguf_layout *l, const struct gguf_shape *s, enum gguf_quant q,
                                    struct joulet_error *err)
{
    *l = (struct gguf_layout){0};
    enum joulet_status status = check_shape(s, err);
    if (status != JOULET_OK)
        return status;
    l->tensors = calloc((size_t)s->layers * 10 + 3, sizeof(*l->tensors));
    if (!l->tensors)
        return jl_fail(err, JOULET_MEMORY, "model shape '%.64s': out of memory", s->name);
    add(l, vocabulary_matrix(s, q), -1, "token_embd");
    for (int i = 0; i < s->layers; i++)
        add_layer(l, s, q, i);
    add(l, norm(s), -1, "output_norm");
    if (!s->tied)
        add(l, vocabulary_matrix(s, q), -1, "output");
    return jl_ok(err);
}

void gguf_layout_release(struct gguf_layout *l)
{
    free(l->tensors);
    *l = (struct gguf_layout){0};
}
