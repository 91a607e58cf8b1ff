/* shape.c - from the tensors of a model to what each part of each layer holds. Which tensor belongs where is known by the names
 * that GGUF files use; sizes come from the tensors themselves, so that layers may differ. */
#include "profile/counts.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- names --------------------------------------------------------------------------------------------------------- */

enum kind { MATRIX, NORM, NORM_OF_QUERIES, NORM_OF_KEYS, TABLE };

static const struct {
    const char *name; /* between "blk.N." and ".weight" */
    enum profile_part part;
    enum kind kind;
} layer_names[] = {
    {"attn_norm", PROFILE_ATTENTION_NORM, NORM},
    {"attn_norm_2", PROFILE_ATTENTION_NORM, NORM},
    {"attn_q", PROFILE_QKV, MATRIX},
    {"attn_k", PROFILE_QKV, MATRIX},
    {"attn_v", PROFILE_QKV, MATRIX},
    {"attn_qkv", PROFILE_QKV, MATRIX},
    {"attn_q_norm", PROFILE_QKV, NORM_OF_QUERIES},
    {"attn_k_norm", PROFILE_QKV, NORM_OF_KEYS},
    {"attn_sinks", PROFILE_SCORES, NORM},
    {"rope_freqs", PROFILE_ROPE, TABLE},
    {"attn_output", PROFILE_ATTENTION_OUTPUT, MATRIX},
    {"attn_sub_norm", PROFILE_ATTENTION_OUTPUT, NORM},
    {"attn_output_norm", PROFILE_ATTENTION_OUTPUT, NORM},
    {"post_attention_norm", PROFILE_ATTENTION_OUTPUT, NORM},
    {"ffn_norm", PROFILE_FFN_NORM, NORM},
    {"ffn_gate_inp", PROFILE_ROUTER, MATRIX},
    {"ffn_gate_inp_shexp", PROFILE_ROUTER, MATRIX},
    {"exp_probs_b", PROFILE_ROUTER, NORM},
    {"ffn_gate", PROFILE_GATE, MATRIX},
    {"ffn_up", PROFILE_UP, MATRIX},
    {"ffn_gate_exps", PROFILE_EXPERTS, MATRIX},
    {"ffn_up_exps", PROFILE_EXPERTS, MATRIX},
    {"ffn_gate_up_exps", PROFILE_EXPERTS, MATRIX},
    {"ffn_gate_shexp", PROFILE_GATE, MATRIX},
    {"ffn_up_shexp", PROFILE_UP, MATRIX},
    {"ffn_down", PROFILE_DOWN, MATRIX},
    {"ffn_down_exps", PROFILE_EXPERTS, MATRIX},
    {"ffn_down_shexp", PROFILE_DOWN, MATRIX},
    {"ffn_sub_norm", PROFILE_ACTIVATION, NORM},
    {"layer_output_norm", PROFILE_DOWN, NORM},
    {"post_ffw_norm", PROFILE_DOWN, NORM},
};

static const struct {
    const char *name;
    enum profile_part part;
    enum kind kind;
} end_names[] = {
    {"token_embd_norm", PROFILE_EMBEDDING, NORM},
    {"output_norm", PROFILE_OUTPUT_NORM, NORM},
    {"output", PROFILE_HEAD, MATRIX},
};
/* Tables of which a row or a few numbers are taken. */
static const char *const tables[] = {"position_embd", "token_types", "rope_freqs", "rope_factors_long", "rope_factors_short"};

/* "blk.12.attn_q.bias": the layer, the name and whether it is a bias; layer -1 outside of them. false: no such name. */
static bool take_apart(const char *name, long *layer, char *base, bool *bias)
{
    char *end = NULL;
    *layer = -1;
    if (strncmp(name, "blk.", 4) == 0) {
        *layer = strtol(name + 4, &end, 10);
        if (end == name + 4 || *end != '.' || *layer < 0)
            return false;
        name = end + 1;
    }
    const char *dot = strrchr(name, '.');
    size_t n = dot ? (size_t)(dot - name) : strlen(name);
    *bias = dot && strcmp(dot, ".bias") == 0;
    if (dot && !*bias && strcmp(dot, ".weight") != 0)
        return false;
    memcpy(base, name, n);
    base[n] = '\0';
    return true;
}

/* ---- one tensor ------------------------------------------------------------------------------------------------------ */

static bool of_experts(const char *base)
{
    size_t n = strlen(base);
    return n > 5 && strcmp(base + n - 5, "_exps") == 0;
}

static double elements(const struct gguf_weight *w)
{
    return (double)w->columns * (double)w->rows * (double)w->planes;
}

static void add_tensor(struct profile_weights *to, const struct profile_shape *s, const struct gguf_weight *w, const char *base,
                       bool bias, double row_flop_each)
{
    double bytes = gguf_type_bytes(gguf_type_get(w->type), (double)w->columns) * (double)w->rows * (double)w->planes;
    bool experts = of_experts(base);
    double used = experts ? s->experts_used / s->experts : 1;
    to->row_flop += (bias ? 1 : row_flop_each) * elements(w) * used;
    *(experts ? &to->expert_bytes : &to->bytes) += bytes;
}

/* Widths that tensors tell. */
static void note_widths(struct profile_layer *l, const struct profile_shape *s, const struct gguf_weight *w, const char *base)
{
    const struct {
        const char *name;
        double *to, value;
    } rows[] = {
        {"attn_q", &l->q, (double)w->rows},
        {"attn_k", &l->k, (double)w->rows},
        {"attn_v", &l->v, (double)w->rows},
        {"attn_output", &l->joined, (double)w->columns},
        {"ffn_gate_inp", &l->router, (double)w->rows},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (strcmp(base, rows[i].name) == 0)
            *rows[i].to = rows[i].value;
    if (strcmp(base, "ffn_norm") == 0)
        l->has_ffn_norm = true;
    if (strcmp(base, "ffn_up") == 0)
        l->up = (double)w->rows;
    if (strncmp(base, "ffn_down", 8) == 0)
        *(of_experts(base) ? &l->expert_ff : &l->ff) += (double)w->columns * (of_experts(base) ? s->experts_used : 1);
    if (strncmp(base, "ffn_gate", 8) == 0 && strncmp(base, "ffn_gate_inp", 12) != 0)
        l->gated = true;
}

static double flop_each(enum kind k, const struct profile_layer *l, const struct gguf_weight *w)
{
    switch (k) {
    case MATRIX:
        return 2;
    case NORM_OF_QUERIES: /* of one head, or of all */
        return 4 * l->q / elements(w);
    case NORM_OF_KEYS:
        return 4 * l->k / elements(w);
    case TABLE:
        return 0;
    default:
        return 4;
    }
}

static enum joulet_status unknown(const struct gguf_weight *w, struct joulet_error *err)
{
    return jl_fail(err, JOULET_UNSUPPORTED,
                   "the model has a tensor %s, whose work is not counted: counts are for transformers with plain attention and "
                   "feed-forward or experts",
                   w->name);
}

/* ---- all of them ----------------------------------------------------------------------------------------------------- */

typedef enum joulet_status visit(struct profile_shape *s, const struct gguf_model *m, const struct gguf_weight *w, long layer,
                                 const char *base, bool bias, struct joulet_error *err);

static enum joulet_status each_weight(struct profile_shape *s, const struct gguf_model *m, visit *f, struct joulet_error *err)
{
    for (size_t i = 0; i < m->n_weights; i++) {
        char base[GGUF_NAME_MAX];
        long layer;
        bool bias;
        const struct gguf_weight *w = &m->weights[i];
        if (!take_apart(w->name, &layer, base, &bias) || layer >= (long)s->n_layers)
            return unknown(w, err);
        if (!gguf_type_get(w->type))
            return jl_fail(err, JOULET_UNSUPPORTED, "the tensor %s has the number format %d, which this version does not know",
                           w->name, w->type);
        enum joulet_status status = f(s, m, w, layer, base, bias, err);
        if (status != JOULET_OK)
            return status;
    }
    return jl_ok(err);
}

static bool experts_fit(const struct profile_shape *s, const struct gguf_weight *w, bool bias)
{
    double there = (double)(bias ? w->rows : w->planes);
    return s->experts_used > 0 && s->experts_used <= s->experts && there == s->experts;
}

/* Experts, widths and the embedding, which the weights of other tensors refer to. */
static enum joulet_status first_pass(struct profile_shape *s, const struct gguf_model *m, const struct gguf_weight *w, long layer,
                                     const char *base, bool bias, struct joulet_error *err)
{
    (void)m;
    if (of_experts(base) && !experts_fit(s, w, bias))
        return jl_fail(err, JOULET_FORMAT, "%s holds %lld experts, which is not what the head of the file says", w->name,
                       (long long)(bias ? w->rows : w->planes));
    if (bias)
        return jl_ok(err);
    if (layer >= 0) {
        note_widths(&s->layers[layer], s, w, base);
    } else if (strcmp(base, "token_embd") == 0) {
        s->hidden = (double)w->columns;
        s->vocab = (double)w->rows;
        s->embedding_row_bytes = gguf_type_bytes(gguf_type_get(w->type), (double)w->columns);
    } else if (strcmp(base, "output") == 0) {
        s->tied = false;
    }
    return jl_ok(err);
}

static enum joulet_status second_pass(struct profile_shape *s, const struct gguf_model *m, const struct gguf_weight *w,
                                      long layer, const char *base, bool bias, struct joulet_error *err)
{
    (void)m;
    if (layer >= 0) {
        struct profile_layer *l = &s->layers[layer];
        bool before_ffn = strcmp(base, "post_attention_norm") == 0 && !l->has_ffn_norm; /* the one norm between both */
        for (size_t i = 0; i < JL_COUNT(layer_names); i++)
            if (strcmp(base, layer_names[i].name) == 0) {
                enum profile_part part = before_ffn ? PROFILE_FFN_NORM : layer_names[i].part;
                add_tensor(&l->weights[part], s, w, base, bias, flop_each(layer_names[i].kind, l, w));
                return jl_ok(err);
            }
        return unknown(w, err);
    }
    for (size_t i = 0; i < JL_COUNT(end_names); i++)
        if (strcmp(base, end_names[i].name) == 0) {
            add_tensor(&s->weights[end_names[i].part], s, w, base, bias, flop_each(end_names[i].kind, NULL, w));
            return jl_ok(err);
        }
    if (strcmp(base, "token_embd") == 0) {
        if (s->tied)
            add_tensor(&s->weights[PROFILE_HEAD], s, w, base, bias, 2);
        return jl_ok(err);
    }
    for (size_t i = 0; i < JL_COUNT(tables); i++)
        if (strcmp(base, tables[i]) == 0)
            return jl_ok(err);
    return unknown(w, err);
}

/* ---- attention ------------------------------------------------------------------------------------------------------- */

/* Every so manyth layer of these sees all, where their files do not say it. */
static int64_t period_of(const struct gguf_model *m)
{
    static const struct {
        const char *architecture;
        int period;
    } rows[] = {{"gemma2", 2}, {"gemma3", 6}, {"gpt-oss", 2}, {"cohere2", 4}, {"exaone4", 4}, {"olmo2", 4}};
    if (m->window_period > 0)
        return m->window_period;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (strcmp(m->head.architecture, rows[i].architecture) == 0)
            return rows[i].period;
    return -1;
}

static void set_windows(struct profile_shape *s, const struct gguf_model *m)
{
    int64_t period = period_of(m);
    s->window_unknown = m->window > 0 && period < 0 && !m->by_layer;
    for (size_t i = 0; i < s->n_layers; i++) {
        bool windowed = m->by_layer ? m->windowed[i] : period > 0 && (int64_t)i % period < period - 1;
        s->layers[i].window = m->window > 0 && windowed ? (double)m->window : INFINITY;
    }
}

static bool has_table(const struct gguf_model *m, const char *name)
{
    for (size_t i = 0; i < m->n_weights; i++)
        if (strcmp(m->weights[i].name, name) == 0)
            return true;
    return false;
}

static double fused_width(const struct gguf_model *m, size_t layer)
{
    char name[GGUF_NAME_MAX];
    snprintf(name, sizeof name, "blk.%zu.attn_qkv.weight", layer);
    for (size_t i = 0; i < m->n_weights; i++)
        if (strcmp(m->weights[i].name, name) == 0)
            return (double)m->weights[i].rows;
    return 0;
}

static enum joulet_status set_attention(struct profile_shape *s, const struct gguf_model *m, struct joulet_error *err)
{
    double head = m->key_length > 0 ? (double)m->key_length : m->head.heads > 0 ? s->hidden / (double)m->head.heads : NAN;
    bool rotates = !m->alibi && !has_table(m, "position_embd.weight");
    for (size_t i = 0; i < s->n_layers; i++) {
        struct profile_layer *l = &s->layers[i];
        if (l->q == 0 && l->joined > 0) { /* queries, keys and values in one product */
            double all = fused_width(m, i);
            l->q = l->joined;
            l->k = l->v = (all - l->q) / 2;
        }
        if (l->q == 0)
            continue;
        if (!(head >= 1) || l->k < 0 || (l->joined <= 0))
            return jl_fail(err, JOULET_FORMAT, "the heads of layer %zu cannot be told from the head of the file", i);
        l->heads = l->q / head;
        l->rotated = rotates ? (l->q + l->k) / head * (m->rope_dimensions > 0 ? (double)m->rope_dimensions : head) : 0;
    }
    return jl_ok(err);
}

/* What no tensor holds: residuals, the softmax of the router, the sum over experts. */
static void set_rest(struct profile_shape *s)
{
    for (size_t i = 0; i < s->n_layers; i++) {
        struct profile_layer *l = &s->layers[i];
        struct profile_weights *w = l->weights;
        l->gated = l->gated || (l->ff > 0 && l->up >= 2 * l->ff); /* gate and up in one product */
        if (l->joined > 0)
            w[PROFILE_ATTENTION_RESIDUAL].row_flop += s->hidden;
        if (l->ff + l->expert_ff > 0)
            w[PROFILE_FFN_RESIDUAL].row_flop += s->hidden;
        if (l->router > 0) {
            w[PROFILE_ROUTER].row_flop += 5 * l->router;
            w[PROFILE_EXPERTS].row_flop += (2 * s->experts_used - 1) * s->hidden;
        }
    }
}

static void set_cache(struct profile_shape *s, const struct gguf_type *k, const struct gguf_type *v)
{
    const struct gguf_type *f16 = gguf_type_get(GGUF_F16);
    k = k ? k : f16;
    v = v ? v : f16;
    s->k_bytes = (double)k->bytes / (double)k->block;
    s->v_bytes = (double)v->bytes / (double)v->block;
}

static enum joulet_status make_shape(struct profile_shape *s, const struct gguf_model *m, struct joulet_error *err)
{
    enum joulet_status status = each_weight(s, m, first_pass, err);
    if (status == JOULET_OK && !(s->hidden > 0))
        status = jl_fail(err, JOULET_UNSUPPORTED, "the model has no table of embeddings, so its work cannot be counted");
    if (status == JOULET_OK)
        status = set_attention(s, m, err);
    if (status == JOULET_OK)
        status = each_weight(s, m, second_pass, err);
    set_windows(s, m);
    set_rest(s);
    return status;
}

enum joulet_status profile_shape_init(struct profile_shape *s, const struct gguf_model *m, const struct gguf_type *cache_k,
                                      const struct gguf_type *cache_v, struct joulet_error *err)
{
    *s = (struct profile_shape){.tied = true};
    if (m->head.layers < 1 || m->head.layers > GGUF_LAYERS_MAX)
        return jl_fail(err, JOULET_UNSUPPORTED, "the file does not say how many layers there are, or more than %d",
                       GGUF_LAYERS_MAX);
    s->n_layers = (size_t)m->head.layers;
    s->layers = calloc(s->n_layers, sizeof *s->layers);
    if (!s->layers)
        return jl_fail(err, JOULET_MEMORY, "out of memory for the shapes of %zu layers", s->n_layers);
    s->experts = m->experts > 0 ? (double)m->experts : 0;
    s->experts_used = m->experts_used > 0 ? (double)m->experts_used : 0;
    set_cache(s, cache_k, cache_v);
    enum joulet_status status = make_shape(s, m, err);
    if (status != JOULET_OK)
        profile_shape_release(s);
    return status;
}

void profile_shape_release(struct profile_shape *s)
{
    free(s->layers);
    *s = (struct profile_shape){0};
}
