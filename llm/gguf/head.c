/* head.c - the head of a synthetic model: GGUF version 3, little-endian. Keys as llama.cpp reads them; those it requires and
 * those without which it guesses wrongly (token types, begin and end of text, chat template). The seed is a key too, so that the
 * digest of the head tells two models of one shape apart. */
#include "llm/gguf/head.h"

#include <stdio.h>
#include <string.h>

#define HEAD_MAX ((size_t)256 << 20)

enum type { TYPE_U32 = 4, TYPE_I32 = 5, TYPE_F32 = 6, TYPE_BOOL = 7, TYPE_STRING = 8, TYPE_ARRAY = 9, TYPE_U64 = 10 };

enum token_type { TOKEN_NORMAL = 1, TOKEN_CONTROL = 3 };

static const char chat_template[] =
    "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
    "{{ m['content'] }}<|eot_id|>{% endfor %}{% if add_generation_prompt %}"
    "<|start_header_id|>assistant<|end_header_id|>\n\n{% endif %}";

struct head {
    struct jl_buf *out;
    uint64_t keys;
};

static void put_number(struct jl_buf *b, uint64_t v, int bytes)
{
    uint8_t le[8];
    for (int i = 0; i < bytes; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    jl_buf_add(b, le, (size_t)bytes);
}

static void put_string(struct jl_buf *b, const char *s)
{
    size_t n = strlen(s);
    put_number(b, n, 8);
    jl_buf_add(b, s, n);
}

static void key(struct head *h, const char *name, enum type type)
{
    put_string(h->out, name);
    put_number(h->out, type, 4);
    h->keys++;
}

static void key_string(struct head *h, const char *name, const char *value)
{
    key(h, name, TYPE_STRING);
    put_string(h->out, value);
}

static void key_u32(struct head *h, const char *name, int64_t value)
{
    key(h, name, TYPE_U32);
    put_number(h->out, (uint64_t)value, 4);
}

static void key_f32(struct head *h, const char *name, double value)
{
    float f = (float)value;
    uint32_t bits;
    memcpy(&bits, &f, sizeof(bits));
    key(h, name, TYPE_F32);
    put_number(h->out, bits, 4);
}

static void key_array(struct head *h, const char *name, enum type type, size_t n)
{
    key(h, name, TYPE_ARRAY);
    put_number(h->out, type, 4);
    put_number(h->out, n, 8);
}

static int64_t file_type(enum gguf_quant q)
{
    return q == GGUF_F32 ? 0 : q == GGUF_F16 ? 1 : q == GGUF_Q4_0 ? 2 : 7;
}

static void general_keys(struct head *h, const struct gguf_shape *s, enum gguf_quant q, uint64_t seed)
{
    char name[96];
    snprintf(name, sizeof(name), "%s-synthetic", s->name);
    key_string(h, "general.architecture", "llama");
    key_string(h, "general.type", "model");
    key_string(h, "general.name", name);
    key_string(h, "general.description",
               "Random weights in a real model's shape: for measuring energy and speed, not for answers.");
    key_u32(h, "general.file_type", file_type(q));
    key_u32(h, "general.quantization_version", 2);
    key_string(h, "joulet.shape", s->name);
    if (s->layers_of > s->layers) {
        struct gguf_shape whole = *s;
        whole.layers = s->layers_of;
        key_u32(h, "joulet.layers_of", s->layers_of);
        key(h, "joulet.parameters_of", TYPE_U64);
        put_number(h->out, (uint64_t)gguf_shape_params(&whole), 8);
    }
    key(h, "joulet.seed", TYPE_U64);
    put_number(h->out, seed, 8);
}

static void model_keys(struct head *h, const struct gguf_shape *s)
{
    key_u32(h, "llama.block_count", s->layers);
    key_u32(h, "llama.context_length", s->context);
    key_u32(h, "llama.embedding_length", s->hidden);
    key_u32(h, "llama.feed_forward_length", s->ffn);
    key_u32(h, "llama.attention.head_count", s->heads);
    key_u32(h, "llama.attention.head_count_kv", s->kv_heads);
    key_u32(h, "llama.attention.key_length", s->head_dim);
    key_u32(h, "llama.attention.value_length", s->head_dim);
    key_u32(h, "llama.rope.dimension_count", s->head_dim);
    key_f32(h, "llama.rope.freq_base", s->rope_theta);
    key_f32(h, "llama.attention.layer_norm_rms_epsilon", 1e-5);
    key_u32(h, "llama.vocab_size", s->vocab);
    if (s->experts > 0) {
        key_u32(h, "llama.expert_count", s->experts);
        key_u32(h, "llama.expert_used_count", s->experts_used);
    }
}

static void tokenizer_keys(struct head *h, const struct gguf_vocabulary *v)
{
    size_t control = v->n - GGUF_CONTROL_TOKENS;
    key_string(h, "tokenizer.ggml.model", "gpt2");
    key_string(h, "tokenizer.ggml.pre", "llama-bpe");
    key_array(h, "tokenizer.ggml.tokens", TYPE_STRING, v->n);
    for (size_t i = 0; i < v->n; i++)
        put_string(h->out, v->token[i]);
    key_array(h, "tokenizer.ggml.token_type", TYPE_I32, v->n);
    for (size_t i = 0; i < v->n; i++)
        put_number(h->out, i < control ? TOKEN_NORMAL : TOKEN_CONTROL, 4);
    key_array(h, "tokenizer.ggml.merges", TYPE_STRING, v->n_merges);
    for (size_t i = 0; i < v->n_merges; i++)
        put_string(h->out, v->merge[i]);
    key_u32(h, "tokenizer.ggml.bos_token_id", (int64_t)control);
    key_u32(h, "tokenizer.ggml.eos_token_id", (int64_t)v->n - 1);
    key(h, "tokenizer.ggml.add_bos_token", TYPE_BOOL);
    put_number(h->out, 1, 1);
    key_string(h, "tokenizer.chat_template", chat_template);
}

static void tensor_descriptions(struct jl_buf *out, const struct gguf_layout *l)
{
    for (size_t i = 0; i < l->n; i++) {
        const struct gguf_tensor *t = &l->tensors[i];
        put_string(out, t->name);
        put_number(out, t->planes ? 3 : t->rows ? 2 : 1, 4);
        put_number(out, t->columns, 8);
        if (t->rows)
            put_number(out, t->planes ? t->rows / t->planes : t->rows, 8);
        if (t->planes)
            put_number(out, t->planes, 8);
        put_number(out, t->quant, 4);
        put_number(out, t->offset, 8);
    }
    while (!out->failed && out->len % GGUF_ALIGNMENT)
        put_number(out, 0, 1);
}

enum joulet_status gguf_head_make(struct jl_buf *out, const struct gguf_shape *s, const struct gguf_layout *l, enum gguf_quant q,
                                  uint64_t seed, struct joulet_error *err)
{
    struct gguf_vocabulary v;
    struct jl_buf keys;
    struct head h = {.out = &keys};
    if (!gguf_vocabulary_init(&v, (size_t)s->vocab))
        return jl_fail(err, JOULET_MEMORY, "model '%.64s': out of memory for %d tokens", s->name, s->vocab);
    jl_buf_init(out, HEAD_MAX);
    jl_buf_init(&keys, HEAD_MAX);
    general_keys(&h, s, q, seed);
    model_keys(&h, s);
    tokenizer_keys(&h, &v);
    jl_buf_add(out, "GGUF", 4);
    put_number(out, 3, 4);
    put_number(out, l->n, 8);
    put_number(out, h.keys, 8);
    jl_buf_add(out, keys.data, keys.len);
    tensor_descriptions(out, l);
    bool failed = keys.failed || out->failed;
    jl_buf_release(&keys);
    gguf_vocabulary_release(&v);
    if (!failed)
        return jl_ok(err);
    jl_buf_release(out);
    return jl_fail(err, JOULET_MEMORY, "model '%.64s': out of memory for its head", s->name);
}
