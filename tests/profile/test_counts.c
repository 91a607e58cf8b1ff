/* Counts of FLOP and bytes: published Llama shapes against sums made by hand, a small mixture of experts, windows, formats of the
 * cache; that parts, layers and phases add up; what has no count is named; the roofline. */
#include "tests/base/test.h"

#include "llm/gguf/head.h"
#include "profile/counts.h"

#include <stdlib.h>
#include <string.h>

/* ---- models ---------------------------------------------------------------------------------------------------------- */

/* The head that `joulet model make` writes, without its weights. */
static void known_model(const char *name, enum gguf_quant q, struct gguf_model *m)
{
    struct gguf_shape s;
    struct gguf_layout l;
    struct jl_buf head;
    assert_int_equal(gguf_shape_find(name, &s, NULL), JOULET_OK);
    assert_int_equal(gguf_layout_init(&l, &s, q, NULL), JOULET_OK);
    assert_int_equal(gguf_head_make(&head, &s, &l, q, 1, NULL), JOULET_OK);
    assert_int_equal(gguf_parse_model((const uint8_t *)head.data, head.len, m, NULL), JOULET_OK);
    jl_buf_release(&head);
    gguf_layout_release(&l);
}

static void known_shape(const char *name, const struct gguf_type *cache, struct profile_shape *s)
{
    struct gguf_model m;
    known_model(name, GGUF_Q4_0, &m);
    assert_int_equal(profile_shape_init(s, &m, cache, cache, NULL), JOULET_OK);
    gguf_model_release(&m);
}

struct small {
    struct gguf_model m;
    struct gguf_weight w[64];
};

static void add(struct small *s, const char *name, int type, int64_t columns, int64_t rows, int64_t planes)
{
    struct gguf_weight *w = &s->w[s->m.n_weights++];
    *w = (struct gguf_weight){.type = type, .columns = columns, .rows = rows, .planes = planes};
    snprintf(w->name, sizeof w->name, "%s", name);
    s->m.weights = s->w;
}

static void add_to_layer(struct small *s, int layer, const char *name, int type, int64_t columns, int64_t rows, int64_t planes)
{
    char full[GGUF_NAME_MAX];
    snprintf(full, sizeof full, "blk.%d.%s", layer, name);
    add(s, full, type, columns, rows, planes);
}

/* Width 64, 4 heads of 16 with 2 of the cache, vocabulary 100, F32 all over. */
static void begin_small(struct small *s, int layers)
{
    *s = (struct small){.m = {.head = {.architecture = "llama", .layers = layers, .heads = 4},
                              .key_length = -1,
                              .value_length = -1,
                              .rope_dimensions = -1,
                              .experts = -1,
                              .experts_used = -1,
                              .window = -1,
                              .window_period = -1}};
    add(s, "token_embd.weight", 0, 64, 100, 1);
    add(s, "output_norm.weight", 0, 64, 1, 1);
    for (int i = 0; i < layers; i++) {
        add_to_layer(s, i, "attn_norm.weight", 0, 64, 1, 1);
        add_to_layer(s, i, "attn_q.weight", 0, 64, 64, 1);
        add_to_layer(s, i, "attn_k.weight", 0, 64, 32, 1);
        add_to_layer(s, i, "attn_v.weight", 0, 64, 32, 1);
        add_to_layer(s, i, "attn_output.weight", 0, 64, 64, 1);
        add_to_layer(s, i, "ffn_norm.weight", 0, 64, 1, 1);
    }
}

static void add_experts(struct small *s, int layer)
{
    s->m.experts = 8;
    s->m.experts_used = 2;
    add_to_layer(s, layer, "ffn_gate_inp.weight", 0, 64, 8, 1);
    add_to_layer(s, layer, "ffn_gate_exps.weight", 0, 64, 32, 8);
    add_to_layer(s, layer, "ffn_up_exps.weight", 0, 64, 32, 8);
    add_to_layer(s, layer, "ffn_down_exps.weight", 0, 32, 64, 8);
}

static void add_dense(struct small *s, int layer)
{
    add_to_layer(s, layer, "ffn_gate.weight", 0, 64, 128, 1);
    add_to_layer(s, layer, "ffn_up.weight", 0, 64, 128, 1);
    add_to_layer(s, layer, "ffn_down.weight", 0, 128, 64, 1);
}

static void decode(const struct profile_shape *s, double past, double tokens, double batch, struct profile_counts *c)
{
    assert_int_equal(profile_counts_init(c, s, NULL), JOULET_OK);
    profile_count_decode(c, s, past, tokens, batch);
}

/* ---- vectors --------------------------------------------------------------------------------------------------------- */

/* Sums made apart from this code, from width, layers, heads and vocabulary alone (Q4_0: 18 bytes for 32, norms F32, cache F16).
 */
static void published_shapes(void **state)
{
    static const struct {
        const char *name;
        double past, batch, flop[PROFILE_PARTS], weight, read, write, activation;
    } rows[] = {
        {"llama-3.2-1b",
         0,
         1,
         {0, 131072, 201326592, 122880, 0, 133632, 134217728, 32768, 131072, 0, 536870912, 536870912, 655360, 536870912, 0, 32768,
          8192, 525336576},
         695379072,
         32768,
         32768,
         5985280},
        {"llama-3.2-1b",
         1023,
         4,
         {0, 524288, 805306368, 491520, 0, 547356672, 536870912, 131072, 524288, 0, 2147483648, 2147483648, 2621440, 2147483648,
          0, 131072, 32768, 2101346304},
         695382528,
         134217728,
         131072,
         23941120},
        {"llama-3.2-3b",
         0,
         1,
         {0, 344064, 880803840, 344064, 0, 347424, 528482304, 86016, 344064, 0, 1409286144, 1409286144, 1146880, 1409286144, 0,
          86016, 12288, 788004864},
         1807775424,
         114688,
         114688,
         12260352},
        {"llama-3.2-3b",
         1023,
         4,
         {0, 1376256, 3523215360, 1376256, 0, 1423048704, 2113929216, 344064, 1376256, 0, 5637144576, 5637144576, 4587520,
          5637144576, 0, 344064, 49152, 3152019456},
         1807780608,
         469762048,
         458752,
         49041408},
        {"llama-3.1-8b",
         0,
         1,
         {0, 524288, 1610612736, 491520, 0, 529408, 1073741824, 131072, 524288, 0, 3758096384, 3758096384, 2293760, 3758096384, 0,
          131072, 16384, 1050673152},
         4222437632,
         131072,
         131072,
         20763648},
        {"llama-3.1-8b",
         1023,
         4,
         {0, 2097152, 6442450944, 1966080, 0, 2168455168, 4294967296, 524288, 2097152, 0, 15032385536, 15032385536, 9175040,
          15032385536, 0, 524288, 65536, 4202692608},
         4222444544,
         536870912,
         524288,
         83054592},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct profile_shape s;
        struct profile_counts c;
        known_shape(rows[i].name, NULL, &s);
        decode(&s, rows[i].past, 1, rows[i].batch, &c);
        for (int p = 0; p < PROFILE_PARTS; p++)
            assert_near(profile_counts_part(&c, (enum profile_part)p).flop, rows[i].flop[p], 0);
        struct profile_count all = profile_counts_all(&c);
        assert_near(all.weight_bytes, rows[i].weight, 0);
        assert_near(all.cache_read_bytes, rows[i].read, 0);
        assert_near(all.cache_write_bytes, rows[i].write, 0);
        assert_near(all.activation_bytes, rows[i].activation, 0);
        profile_counts_release(&c);
        profile_shape_release(&s);
    }
}

/* 8 experts, 2 used, width 32 each; by hand. */
static void experts(void **state)
{
    struct small m;
    struct profile_shape s;
    struct profile_counts c;
    const double chosen = 2 * 3 * (2 * 64 * 32) + 5 * 2 * 32 + 3 * 64; /* products, activation, sum over two */
    (void)state;
    begin_small(&m, 1);
    add_experts(&m, 0);
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    decode(&s, 9, 1, 1, &c);
    assert_near(profile_counts_part(&c, PROFILE_ROUTER).flop, 2 * 64 * 8 + 5 * 8, 0);
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).flop, chosen, 0);
    assert_near(profile_counts_part(&c, PROFILE_FFN_RESIDUAL).flop, 64, 0);
    assert_near(profile_counts_part(&c, PROFILE_GATE).flop, 0, 0);
    assert_near(profile_counts_part(&c, PROFILE_DOWN).flop, 0, 0);
    assert_near(profile_counts_part(&c, PROFILE_SCORES).flop, 10 * (4 * 64 + 5 * 4), 0);
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).weight_bytes, 2 * 3 * 64 * 32 * 4, 1e-9); /* two experts are met */
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).activation_bytes, 4 * (2 * 64 + 6 * 2 * 32), 1e-9);
    profile_counts_release(&c);
    decode(&s, 9, 1, 3, &c); /* three rows meet 8 (1 - .75^3) = 4.625 of them */
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).weight_bytes, 4.625 * 3 * 64 * 32 * 4, 1e-9);
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).flop, 3 * chosen, 0);
    profile_counts_release(&c);
    profile_shape_release(&s);
}

/* Experts that all tokens share stand beside those that are chosen; gate and up in one tensor are up alone. */
static void shared_experts_and_fused_products(void **state)
{
    struct small m;
    struct profile_shape s;
    struct profile_counts c;
    const double row = 2 * 64 * 32;
    (void)state;
    begin_small(&m, 2);
    add_experts(&m, 0);
    add_to_layer(&m, 0, "ffn_gate_shexp.weight", 0, 64, 32, 1);
    add_to_layer(&m, 0, "ffn_up_shexp.weight", 0, 64, 32, 1);
    add_to_layer(&m, 0, "ffn_down_shexp.weight", 0, 32, 64, 1);
    add_to_layer(&m, 1, "ffn_up.weight", 0, 64, 256, 1);
    add_to_layer(&m, 1, "ffn_down.weight", 0, 128, 64, 1);
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    decode(&s, 9, 1, 1, &c);
    assert_near(c.layers[0][PROFILE_EXPERTS].flop, 2 * 3 * row + 5 * 2 * 32 + 3 * 64, 0);
    assert_near(c.layers[0][PROFILE_GATE].flop, row, 0);
    assert_near(c.layers[0][PROFILE_UP].weight_bytes, 64 * 32 * 4, 0);
    assert_near(c.layers[0][PROFILE_ACTIVATION].flop, 5 * 32, 0);
    assert_near(c.layers[0][PROFILE_DOWN].flop, row, 0);
    assert_near(c.layers[1][PROFILE_GATE].flop + c.layers[1][PROFILE_GATE].activation_bytes, 0, 0);
    assert_near(c.layers[1][PROFILE_UP].flop, 2 * 64 * 256, 0);
    assert_near(c.layers[1][PROFILE_UP].activation_bytes, 4 * (64 + 256), 0);
    profile_counts_release(&c);
    profile_shape_release(&s);
}

/* The same as a file holds them: 4 layers of 256, 8 experts of 512, 2 used. */
static void experts_of_a_file(void **state)
{
    struct profile_shape s;
    struct profile_counts c;
    const double layer = 256 * 512;
    (void)state;
    known_shape("tiny-moe", NULL, &s);
    decode(&s, 0, 1, 1, &c);
    assert_near(profile_counts_part(&c, PROFILE_ROUTER).flop, 4 * (2 * 256 * 8 + 5 * 8), 0);
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).flop, 4 * (2 * 3 * (2 * layer) + 5 * 2 * 512 + 3 * 256), 0);
    assert_near(profile_counts_part(&c, PROFILE_EXPERTS).weight_bytes, 4 * 3 * 2 * layer * 18 / 32, 1e-6);
    profile_counts_release(&c);
    profile_shape_release(&s);
}

/* A prompt of 6 tokens in pieces of 4, window 3 in the first of two layers: seen 1 2 3 3 | 3 3, and 1 2 3 4 | 5 6. */
static void windows_and_pieces(void **state)
{
    struct small m;
    struct profile_shape s;
    struct profile_counts c;
    const double score = 4 * 64 + 5 * 4, entry = 64 * 2;
    (void)state;
    begin_small(&m, 2);
    add_dense(&m, 0);
    add_dense(&m, 1);
    m.m.window = 3;
    m.m.window_period = 2;
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    assert_false(s.window_unknown);
    assert_int_equal(profile_counts_init(&c, &s, NULL), JOULET_OK);
    profile_count_prefill(&c, &s, 0, 6, 4);
    assert_near(c.layers[0][PROFILE_SCORES].flop, (1 + 2 + 3 + 3 + 3 + 3) * score, 0);
    assert_near(c.layers[1][PROFILE_SCORES].flop, 21 * score, 0);
    assert_near(c.layers[0][PROFILE_SCORES].cache_read_bytes, (4 + 4) * entry, 0); /* of the second piece: 2 before, 2 new */
    assert_near(c.layers[1][PROFILE_SCORES].cache_read_bytes, (4 + 6) * entry, 0);
    assert_near(c.layers[0][PROFILE_UP].flop, 6 * 2 * 64 * 128, 0);
    assert_near(c.layers[1][PROFILE_UP].flop, 2 * 64 * 128, 0); /* the last layer ends with the one row that is wanted */
    assert_near(c.layers[0][PROFILE_GATE].weight_bytes, 2 * (64 * 128 * 4), 0);
    assert_near(c.layers[1][PROFILE_GATE].weight_bytes, 64 * 128 * 4, 0);
    assert_near(c.layers[1][PROFILE_QKV].weight_bytes, 2 * (64 * 128 * 4), 0);
    assert_near(c.ends[PROFILE_HEAD].flop, 2 * 64 * 100, 0);
    profile_counts_release(&c);
    profile_shape_release(&s);
    m.m.window_period = -1; /* whose window it is, is not known */
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    assert_true(s.window_unknown);
    assert_true(isinf(s.layers[0].window));
    profile_shape_release(&s);
    m.m.by_layer = true;
    m.m.windowed[1] = 1;
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    assert_true(isinf(s.layers[0].window));
    assert_near(s.layers[1].window, 3, 0);
    profile_shape_release(&s);
}

static void formats_of_the_cache(void **state)
{
    struct profile_shape s;
    struct profile_counts f16, q8;
    (void)state;
    known_shape("llama-3.2-1b", NULL, &s);
    decode(&s, 99, 1, 1, &f16);
    profile_shape_release(&s);
    known_shape("llama-3.2-1b", gguf_type_find("q8_0"), &s);
    decode(&s, 99, 1, 1, &q8);
    assert_near(profile_counts_all(&q8).cache_read_bytes, profile_counts_all(&f16).cache_read_bytes * 34 / 64, 1e-6);
    assert_near(profile_counts_all(&q8).flop, profile_counts_all(&f16).flop, 0);
    profile_counts_release(&f16);
    profile_counts_release(&q8);
    profile_shape_release(&s);
}

/* Queries, keys and values in one tensor, biases, a norm of queries; no gate: an older kind of layer. */
static void other_tensors(void **state)
{
    struct small m;
    struct profile_shape s;
    struct profile_counts c;
    (void)state;
    begin_small(&m, 1);
    m.m.n_weights = 2;
    add(&m, "output.weight", 0, 64, 100, 1);
    add(&m, "position_embd.weight", 0, 64, 512, 1);
    add_to_layer(&m, 0, "attn_norm.weight", 0, 64, 1, 1);
    add_to_layer(&m, 0, "attn_norm.bias", 0, 64, 1, 1);
    add_to_layer(&m, 0, "attn_qkv.weight", 0, 64, 128, 1);
    add_to_layer(&m, 0, "attn_qkv.bias", 0, 128, 1, 1);
    add_to_layer(&m, 0, "attn_q_norm.weight", 0, 16, 1, 1);
    add_to_layer(&m, 0, "attn_output.weight", 0, 64, 64, 1);
    add_to_layer(&m, 0, "post_attention_norm.weight", 0, 64, 1, 1);
    add_to_layer(&m, 0, "ffn_up.weight", 0, 64, 128, 1);
    add_to_layer(&m, 0, "ffn_down.weight", 0, 128, 64, 1);
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_OK);
    assert_false(s.tied);
    assert_false(s.layers[0].gated);
    assert_near(s.layers[0].k, 32, 0);
    decode(&s, 0, 1, 1, &c);
    assert_near(profile_counts_part(&c, PROFILE_ATTENTION_NORM).flop, 5 * 64, 0);
    assert_near(profile_counts_part(&c, PROFILE_QKV).flop, 2 * 64 * 128 + 128 + 4 * 64, 0);
    assert_near(profile_counts_part(&c, PROFILE_ROPE).flop, 0, 0);
    assert_near(profile_counts_part(&c, PROFILE_FFN_NORM).flop, 4 * 64, 0);
    assert_near(profile_counts_part(&c, PROFILE_ACTIVATION).flop, 4 * 128, 0);
    assert_near(profile_counts_part(&c, PROFILE_HEAD).weight_bytes, 64 * 100 * 4, 0);
    profile_counts_release(&c);
    profile_shape_release(&s);
}

/* ---- properties ------------------------------------------------------------------------------------------------------ */

static void assert_same(struct profile_count a, struct profile_count b)
{
    assert_near(a.flop, b.flop, 1e-12 * b.flop);
    assert_near(a.weight_bytes, b.weight_bytes, 1e-12 * b.weight_bytes);
    assert_near(a.cache_read_bytes, b.cache_read_bytes, 1e-12 * b.cache_read_bytes);
    assert_near(a.cache_write_bytes, b.cache_write_bytes, 1e-12 * b.cache_write_bytes);
    assert_near(a.activation_bytes, b.activation_bytes, 1e-12 * b.activation_bytes);
    assert_near(profile_count_bytes(&a), a.weight_bytes + a.cache_read_bytes + a.cache_write_bytes + a.activation_bytes, 0);
}

/* Parts, components, and layers with ends, are three ways to cut the same whole. */
static void cuts_add_up(void **state)
{
    struct profile_shape s;
    struct profile_counts c;
    struct profile_count components = {0}, layers = {0};
    (void)state;
    known_shape("tiny", NULL, &s);
    assert_int_equal(profile_counts_init(&c, &s, NULL), JOULET_OK);
    profile_count_prefill(&c, &s, 5, 700, 512);
    profile_count_decode(&c, &s, 705, 33, 3);
    for (int i = 0; i < PROFILE_COMPONENTS; i++) {
        struct profile_count one = profile_counts_component(&c, (enum profile_component)i);
        assert_true(one.activation_bytes > 0);
        profile_count_add(&components, &one);
    }
    for (size_t i = 0; i < c.n_layers; i++) {
        struct profile_count one = profile_counts_layer(&c, i);
        profile_count_add(&layers, &one);
    }
    for (int p = 0; p < PROFILE_PARTS; p++)
        profile_count_add(&layers, &c.ends[p]);
    assert_same(components, profile_counts_all(&c));
    assert_same(layers, profile_counts_all(&c));
    profile_counts_release(&c);
    profile_shape_release(&s);
}

/* n tokens are n times one; the FLOP of a prompt do not depend on how it is cut, but for rows that nobody wants; a batch of equal
 * sequences is one step of many. */
static void phases_add_up(void **state)
{
    struct profile_shape s;
    struct profile_counts whole, parts;
    (void)state;
    known_shape("tiny", NULL, &s);
    decode(&s, 100, 50, 2, &whole);
    decode(&s, 100, 20, 2, &parts);
    for (int i = 20; i < 50; i++) {
        struct profile_sequence each[2] = {{100 + i, 1, 1, 1}, {100 + i, 1, 1, 1}};
        profile_count_step(&parts, &s, each, 2);
    }
    assert_same(profile_counts_all(&parts), profile_counts_all(&whole));
    profile_counts_release(&whole);
    profile_counts_release(&parts);
    assert_int_equal(profile_counts_init(&whole, &s, NULL), JOULET_OK);
    assert_int_equal(profile_counts_init(&parts, &s, NULL), JOULET_OK);
    profile_count_prefill(&whole, &s, 0, 300, 0);
    profile_count_prefill(&parts, &s, 0, 300, 64);
    assert_near(profile_counts_all(&whole).flop, profile_counts_all(&parts).flop, 0);
    assert_true(profile_counts_all(&whole).weight_bytes < profile_counts_all(&parts).weight_bytes);
    profile_counts_release(&whole);
    profile_counts_release(&parts);
    profile_shape_release(&s);
}

/* ---- what has no count ----------------------------------------------------------------------------------------------- */

static void strangers_are_named(void **state)
{
    static const struct {
        const char *name, *says;
        int type;
        int64_t planes;
    } rows[] = {
        {"blk.0.ssm_in.weight", "ssm_in", 0, 1},
        {"blk.0.attn_kv_a_mqa.weight", "attn_kv_a_mqa", 0, 1},
        {"blk.7.attn_q.weight", "blk.7", 0, 1},
        {"blk.x.attn_q.weight", "blk.x", 0, 1},
        {"blk.0.attn_q.scale", "attn_q.scale", 0, 1},
        {"mm.0.weight", "mm.0", 0, 1},
        {"blk.0.attn_q.weight", "number format 99", 99, 1},
        {"blk.0.ffn_up_exps.weight", "4 experts", 0, 4},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct small m;
        struct profile_shape s;
        struct joulet_error err;
        begin_small(&m, 1);
        add_experts(&m, 0);
        add(&m, rows[i].name, rows[i].type, 64, 64, rows[i].planes);
        assert_int_not_equal(profile_shape_init(&s, &m.m, NULL, NULL, &err), JOULET_OK);
        if (!strstr(err.message, rows[i].says))
            fail_msg("'%s' does not say '%s'", err.message, rows[i].says);
        assert_null(s.layers);
    }
}

static void no_layers_or_embeddings(void **state)
{
    struct small m;
    struct profile_shape s;
    (void)state;
    begin_small(&m, 0);
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_UNSUPPORTED);
    begin_small(&m, 1);
    add_dense(&m, 0);
    snprintf(m.w[0].name, sizeof m.w[0].name, "output.weight");
    assert_int_equal(profile_shape_init(&s, &m.m, NULL, NULL, NULL), JOULET_UNSUPPORTED);
}

/* ---- roofline -------------------------------------------------------------------------------------------------------- */

static void roofline(void **state)
{
    const struct profile_machine m = {1e12, 1e11};
    const struct profile_count moving = {.flop = 2e9, .weight_bytes = 5e8, .cache_read_bytes = 5e8},
                               computing = {.flop = 4e12, .weight_bytes = 1e9};
    (void)state;
    struct profile_place p = profile_place(&moving, &m);
    assert_near(p.intensity, 2, 1e-12);
    assert_near(p.ridge, 10, 1e-12);
    assert_near(p.least_s, .01, 1e-12);
    assert_near(p.attainable, 2e11, 1);
    assert_true(p.memory_bound);
    p = profile_place(&computing, &m);
    assert_near(p.least_s, 4, 1e-12);
    assert_near(p.attainable, 1e12, 1);
    assert_false(p.memory_bound);
    struct profile_reached r = profile_reached(&moving, &m, .02, .5);
    assert_near(r.flops, 1e11, 1);
    assert_near(r.bytes_per_s, 5e10, 1);
    assert_near(r.roofline_share, .5, 1e-12);
    assert_near(r.j_per_flop, 2.5e-10, 1e-20);
    assert_near(r.j_per_byte, 5e-10, 1e-20);
    const struct profile_machine unknown = {NAN, NAN};
    assert_true(isnan(profile_place(&moving, &unknown).least_s));
    assert_true(isnan(profile_reached(&moving, &unknown, .02, NAN).j_per_flop));
    assert_true(isnan(profile_reached(&moving, &unknown, .02, NAN).roofline_share));
}

/* Names are unique, and every part lies in one component. */
static void names(void **state)
{
    (void)state;
    for (int i = 0; i < PROFILE_PARTS; i++) {
        assert_true(profile_component_of((enum profile_part)i) < PROFILE_COMPONENTS);
        for (int k = 0; k < i; k++)
            assert_string_not_equal(profile_part_name((enum profile_part)i), profile_part_name((enum profile_part)k));
    }
    for (int i = 0; i < PROFILE_COMPONENTS; i++)
        assert_true(profile_component_name((enum profile_component)i)[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(published_shapes),
        cmocka_unit_test(experts),
        cmocka_unit_test(experts_of_a_file),
        cmocka_unit_test(shared_experts_and_fused_products),
        cmocka_unit_test(windows_and_pieces),
        cmocka_unit_test(formats_of_the_cache),
        cmocka_unit_test(other_tensors),
        cmocka_unit_test(cuts_add_up),
        cmocka_unit_test(phases_add_up),
        cmocka_unit_test(strangers_are_named),
        cmocka_unit_test(no_layers_or_embeddings),
        cmocka_unit_test(roofline),
        cmocka_unit_test(names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
