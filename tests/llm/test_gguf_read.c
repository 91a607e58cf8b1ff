/* The reader of heads: what it says of whole files, that a head cut anywhere is refused, and that wrong ones never pass or crash.
 */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"

#include <math.h>

/* ---- heads made by hand ------------------------------------------------------------------------------------------ */

enum { U8 = 0, U32 = 4, I32 = 5, F32 = 6, BOOL = 7, STRING = 8, ARRAY = 9, U64 = 10, I64 = 11 };

static struct jl_buf b;

static void number(uint64_t v, int bytes)
{
    uint8_t le[8];
    for (int i = 0; i < 8; i++)
        le[i] = (uint8_t)(v >> (8 * i));
    jl_buf_add(&b, le, (size_t)bytes);
}

static void text(const char *s)
{
    number(strlen(s), 8);
    jl_buf_str(&b, s);
}

static void begin(uint64_t tensors, uint64_t keys)
{
    jl_buf_release(&b);
    jl_buf_init(&b, 1 << 20);
    jl_buf_str(&b, "GGUF");
    number(3, 4);
    number(tensors, 8);
    number(keys, 8);
}

static void key(const char *name, int type)
{
    text(name);
    number((uint64_t)type, 4);
}

static void architecture(void)
{
    key("general.architecture", STRING);
    text("llama");
}

static void tensor(const char *name, int type, uint64_t n0, uint64_t n1)
{
    text(name);
    number(n1 ? 2 : 1, 4);
    number(n0, 8);
    if (n1)
        number(n1, 8);
    number((uint64_t)type, 4);
    number(0, 8);
}

static enum joulet_status parse(struct gguf_head *h, struct joulet_error *err)
{
    return gguf_parse_head((const uint8_t *)b.data, b.len, h, err);
}

/* ---- right heads ------------------------------------------------------------------------------------------------- */

static void written_and_read(void **state)
{
    struct gguf_shape s;
    struct gguf_head h, again;
    (void)state;
    assert_int_equal(gguf_shape_find("tiny", &s, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("tiny.gguf"), &s, GGUF_Q8_0, 5, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(scratch_path("tiny.gguf"), &h, NULL), JOULET_OK);
    assert_string_equal(h.architecture, "llama");
    assert_string_equal(h.name, "tiny-synthetic");
    assert_string_equal(h.quantisation, "Q8_0");
    assert_int_equal(h.params, gguf_shape_params(&s));
    assert_int_equal(h.context_length, 8192);
    assert_int_equal(h.layers, 4);
    assert_int_equal(h.hidden, 256);
    assert_int_equal(h.heads, 8);
    assert_int_equal(h.kv_heads, 4);
    assert_int_equal(h.vocab, 2048);
    assert_int_equal(h.tensors, 38);
    assert_int_equal(strlen(h.digest), 64);
    assert_int_equal(gguf_write(scratch_path("tiny.gguf"), &s, GGUF_Q8_0, 6, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(scratch_path("tiny.gguf"), &again, NULL), JOULET_OK);
    assert_string_not_equal(h.digest, again.digest); /* other weights are another model */
}

static void kinds_of_values(void **state)
{
    struct gguf_head h;
    (void)state;
    begin(2, 9);
    architecture();
    key("llama.block_count", U64);
    number(80, 8);
    key("llama.context_length", U8);
    number(200, 1);
    key("llama.embedding_length", I32);
    number((uint32_t)-5, 4); /* negative: not told */
    key("llama.attention.head_count", ARRAY);
    number(U32, 4);
    number(3, 8);
    number(16, 4), number(8, 4), number(8, 4);
    key("general.file_type", U32);
    number(15, 4);
    key("some.nested", ARRAY);
    number(ARRAY, 4), number(2, 8);
    number(STRING, 4), number(1, 8), text("x");
    number(BOOL, 4), number(0, 8);
    key("llama.rope.freq_base", F32);
    number(0, 4);
    key("general.name", STRING);
    text("a\x1b[31m\xff\xc3\xa9\xe2\x82");
    tensor("a.weight", 12, 256, 1000);
    tensor("b.weight", 14, 256, 0);
    assert_int_equal(parse(&h, NULL), JOULET_OK);
    assert_int_equal(h.layers, 80);
    assert_int_equal(h.context_length, 200);
    assert_int_equal(h.hidden, -1);
    assert_int_equal(h.heads, 16);
    assert_int_equal(h.kv_heads, 16); /* as many as heads when it is not told */
    assert_int_equal(h.vocab, -1);
    assert_string_equal(h.quantisation, "Q4_K_M");
    assert_string_equal(h.name, "a?[31m?\xc3\xa9??"); /* nothing that a terminal or JSON would choke on */
    assert_int_equal(h.params, 256256);
}

static void quantisation_without_file_type(void **state)
{
    struct gguf_head h;
    (void)state;
    begin(3, 1);
    architecture();
    tensor("norm", 0, 4096, 0);
    tensor("a", 14, 256, 300);
    tensor("b", 8, 256, 299);
    assert_int_equal(parse(&h, NULL), JOULET_OK);
    assert_string_equal(h.quantisation, "Q6_K");
}

static void long_names_are_cut_between_characters(void **state)
{
    struct gguf_head h;
    char name[2 * 400 + 1];
    (void)state;
    for (int i = 0; i < 400; i++)
        memcpy(name + 2 * i, "\xc3\xa9", 3);
    begin(0, 2);
    architecture();
    key("general.name", STRING);
    text(name);
    assert_int_equal(parse(&h, NULL), JOULET_OK);
    assert_int_equal(strlen(h.name), 254);
}

/* ---- heads in full ------------------------------------------------------------------------------------------------ */

/* Bytes of 256 elements, by the definitions of the blocks. */
static void types_and_their_blocks(void **state)
{
    static const struct {
        const char *name;
        int id, bytes;
    } rows[] = {
        {"F32", 0, 1024},    {"F16", 1, 512},    {"Q4_0", 2, 144},    {"Q4_1", 3, 160},    {"Q5_0", 6, 176},    {"Q5_1", 7, 192},
        {"Q8_0", 8, 272},    {"Q8_1", 9, 288},   {"Q2_K", 10, 84},    {"Q3_K", 11, 110},   {"Q4_K", 12, 144},   {"Q5_K", 13, 176},
        {"Q6_K", 14, 210},   {"Q8_K", 15, 292},  {"IQ2_XXS", 16, 66}, {"IQ2_XS", 17, 74},  {"IQ3_XXS", 18, 98}, {"IQ1_S", 19, 50},
        {"IQ4_NL", 20, 144}, {"IQ3_S", 21, 110}, {"IQ2_S", 22, 82},   {"IQ4_XS", 23, 136}, {"I8", 24, 256},     {"I16", 25, 512},
        {"I32", 26, 1024},   {"I64", 27, 2048},  {"F64", 28, 2048},   {"IQ1_M", 29, 56},   {"BF16", 30, 512},   {"TQ1_0", 34, 54},
        {"TQ2_0", 35, 66},   {"MXFP4", 39, 136}, {"NVFP4", 40, 144},  {"Q1_0", 41, 36},    {"Q2_0", 42, 72},
    };
    static const int never[] = {-1, 4, 5, 31, 32, 33, 36, 37, 38, 43, 1000};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct gguf_type *t = gguf_type_get(rows[i].id);
        assert_non_null(t);
        assert_string_equal(t->name, rows[i].name);
        assert_ptr_equal(gguf_type_find(rows[i].name), t);
        assert_true(gguf_type_bytes(t, 256) == rows[i].bytes);
        assert_true(gguf_type_bytes(t, 1) == (double)t->bytes); /* no block is cut */
    }
    for (size_t i = 0; i < JL_COUNT(never); i++)
        assert_null(gguf_type_get(never[i]));
    assert_ptr_equal(gguf_type_find("q8_0"), gguf_type_get(8));
    assert_null(gguf_type_find("q8"));
    assert_true(isnan(gguf_type_bytes(NULL, 1)));
}

static void tensors_and_numbers(void **state)
{
    struct gguf_model m;
    (void)state;
    begin(3, 8);
    architecture();
    key("llama.attention.key_length", U32), number(128, 4);
    key("llama.rope.dimension_count", U64), number(64, 8);
    key("llama.expert_count", U32), number(8, 4);
    key("llama.expert_used_count", U8), number(2, 1);
    key("llama.attention.sliding_window", U32), number(512, 4);
    key("llama.attention.sliding_window_pattern", ARRAY), number(BOOL, 4), number(3, 8), number(0x010001, 3);
    key("llama.attention.max_alibi_bias", F32), number(0, 4);
    tensor("blk.0.attn_norm.weight", 0, 4096, 0);
    tensor("blk.0.attn_q.weight", 12, 4096, 2048);
    text("blk.0.ffn_up_exps.weight"), number(3, 4), number(64, 8), number(32, 8), number(8, 8), number(39, 4), number(0, 8);
    assert_int_equal(gguf_parse_model((const uint8_t *)b.data, b.len, &m, NULL), JOULET_OK);
    assert_string_equal(m.head.architecture, "llama");
    assert_int_equal(m.n_weights, 3);
    assert_string_equal(m.weights[1].name, "blk.0.attn_q.weight");
    assert_int_equal(m.weights[1].type, 12);
    assert_int_equal(m.weights[0].rows, 1);
    assert_int_equal(m.weights[1].columns, 4096);
    assert_int_equal(m.weights[1].rows, 2048);
    assert_int_equal(m.weights[2].planes, 8);
    assert_int_equal(m.key_length, 128);
    assert_int_equal(m.value_length, -1);
    assert_int_equal(m.rope_dimensions, 64);
    assert_int_equal(m.experts, 8);
    assert_int_equal(m.experts_used, 2);
    assert_int_equal(m.window, 512);
    assert_int_equal(m.window_period, -1);
    assert_true(m.by_layer && m.alibi);
    assert_true(m.windowed[0] && !m.windowed[1] && m.windowed[2]);
    gguf_model_release(&m);
    begin(0, 2);
    architecture();
    key("gemma3.attention.sliding_window_pattern", U32), number(6, 4);
    assert_int_equal(gguf_parse_model((const uint8_t *)b.data, b.len, &m, NULL), JOULET_OK);
    assert_int_equal(m.window_period, 6);
    assert_false(m.by_layer);
    gguf_model_release(&m);
}

/* As a summary they pass; their work could not be counted. */
static void impossible_tensors(void **state)
{
    static const struct {
        const char *name;
        uint64_t n0, n1;
    } rows[] = {{"a", 0, 4},
                {"a", UINT64_C(1) << 30, UINT64_C(1) << 29},
                {"0123456789012345678901234567890123456789012345678901234567890123", 4, 4}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_model m;
        struct gguf_head h;
        begin(1, 1);
        architecture();
        tensor(rows[i].name, 0, rows[i].n0, rows[i].n1);
        assert_int_equal(parse(&h, NULL), JOULET_OK);
        assert_int_equal(gguf_parse_model((const uint8_t *)b.data, b.len, &m, NULL), JOULET_FORMAT);
        assert_null(m.weights);
    }
}

static void a_file_in_full(void **state)
{
    struct gguf_shape s;
    struct gguf_model m;
    struct gguf_head h;
    int64_t sum = 0;
    (void)state;
    assert_int_equal(gguf_shape_find("tiny", &s, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("full.gguf"), &s, GGUF_Q4_0, 5, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_read_head(scratch_path("full.gguf"), &h, NULL), JOULET_OK);
    assert_int_equal(gguf_read_model(scratch_path("full.gguf"), &m, NULL), JOULET_OK);
    assert_memory_equal(&m.head, &h, sizeof h);
    for (size_t i = 0; i < m.n_weights; i++)
        sum += m.weights[i].columns * m.weights[i].rows * m.weights[i].planes;
    assert_int_equal(sum, h.params);
    gguf_model_release(&m);
    assert_int_equal(gguf_read_model(scratch_path("nothing.gguf"), &m, NULL), JOULET_NOT_FOUND);
    assert_null(m.weights);
}

/* ---- wrong heads ------------------------------------------------------------------------------------------------- */

static void every_cut_is_refused(void **state)
{
    struct gguf_head h;
    struct gguf_model m;
    struct joulet_error err;
    (void)state;
    begin(1, 4);
    architecture();
    key("tokenizer.ggml.tokens", ARRAY);
    number(STRING, 4), number(3, 8), text("a"), text("b"), text("");
    key("general.alignment", U32);
    number(32, 4);
    key("llama.attention.head_count", ARRAY);
    number(I64, 4), number(1, 8), number(7, 8);
    tensor("a.weight", 2, 32, 32);
    assert_int_equal(parse(&h, NULL), JOULET_OK);
    assert_int_equal(h.vocab, 3);
    for (size_t n = 0; n < b.len; n++) {
        uint8_t *copy = malloc(n ? n : 1); /* so that a sanitizer sees a read past the end */
        memcpy(copy, b.data, n);
        assert_int_equal(gguf_parse_head(copy, n, &h, &err), JOULET_FORMAT);
        assert_int_equal(gguf_parse_model(copy, n, &m, &err), JOULET_FORMAT);
        free(copy);
    }
}

static void wrong_beginnings(void **state)
{
    static const struct {
        const char *says;
        uint32_t magic, version;
        uint64_t tensors, keys;
    } rows[] = {
        {"not a GGUF file", 0x4d474c46, 3, 0, 0},           {"GGUF version 1", 0x46554747, 1, 0, 0},
        {"unknown GGUF version", 0x46554747, 4, 0, 0},      {"big-endian", 0x46554747, 0x03000000, 0, 0},
        {"too many entries", 0x46554747, 3, UINT64_MAX, 1}, {"too many entries", 0x46554747, 3, 1, UINT64_C(1) << 40},
        {"no architecture", 0x46554747, 3, 0, 0},           {"ends inside its head", 0x46554747, 3, 0, 1},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_head h;
        struct joulet_error err;
        begin(0, 0);
        jl_buf_clear(&b);
        number(rows[i].magic, 4);
        number(rows[i].version, 4);
        number(rows[i].tensors, 8);
        number(rows[i].keys, 8);
        assert_int_equal(parse(&h, &err), JOULET_FORMAT);
        assert_says(err.message, rows[i].says);
        assert_int_equal(h.params, 0);
    }
}

static void huge_text(void)
{
    key("a.b", STRING);
    number(UINT64_MAX, 8);
}

static void unknown_type(void)
{
    key("a.b", 13);
}

static void deep_nesting(void)
{
    key("a.b", ARRAY);
    for (int i = 0; i < 100; i++)
        number(ARRAY, 4), number(1, 8);
}

static void huge_array(void)
{
    key("llama.block_count", ARRAY);
    number(U64, 4), number(UINT64_MAX / 4, 8);
}

static void hostile_values(void **state)
{
    void (*const make[])(void) = {huge_text, unknown_type, deep_nesting, huge_array};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(make); i++) {
        struct gguf_head h;
        begin(0, 2);
        architecture();
        make[i]();
        assert_int_equal(parse(&h, NULL), JOULET_FORMAT);
    }
}

static void hostile_tensors(void **state)
{
    struct gguf_head h;
    struct joulet_error err;
    (void)state;
    begin(1, 1);
    architecture();
    tensor("a", 0, UINT64_C(1) << 40, UINT64_C(1) << 40);
    assert_int_equal(parse(&h, &err), JOULET_FORMAT);
    assert_says(err.message, "larger than any memory");
    begin(1, 1);
    architecture();
    text("a");
    number(1000, 4);
    assert_int_equal(parse(&h, &err), JOULET_FORMAT);
    assert_says(err.message, "dimensions");
    begin(1, 1);
    architecture();
    tensor("a", 4000000, 0, 0); /* a type nobody knows is no reason to refuse */
    assert_int_equal(parse(&h, &err), JOULET_OK);
    assert_string_equal(h.quantisation, "");
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void files_that_are_none(void **state)
{
    struct gguf_head h;
    struct joulet_error err;
    (void)state;
    assert_int_equal(gguf_read_head(scratch_path("nothing.gguf"), &h, &err), JOULET_NOT_FOUND);
    assert_says(err.message, "nothing.gguf");
    assert_int_equal(gguf_read_head(scratch, &h, &err), JOULET_FORMAT);
    scratch_write("text.gguf", "hello, world", 12);
    assert_int_equal(gguf_read_head(scratch_path("text.gguf"), &h, &err), JOULET_FORMAT);
    assert_says(err.message, "not a GGUF file");
    scratch_write("empty.gguf", "", 0);
    assert_int_equal(gguf_read_head(scratch_path("empty.gguf"), &h, &err), JOULET_FORMAT);
    assert_says(err.message, "ends inside its head");
    assert_int_equal(h.bytes, -1);
}

/* A head longer than the first piece that is read. */
static void long_heads_are_read_on(void **state)
{
    struct gguf_head h;
    (void)state;
    begin(1, 2);
    b.max = 8 << 20;
    architecture();
    key("tokenizer.ggml.tokens", ARRAY);
    number(STRING, 4), number(200000, 8);
    for (int i = 0; i < 200000; i++)
        text("0123456789");
    tensor("a.weight", 1, 64, 64);
    assert_true(b.len > 3 << 20);
    scratch_write("long.gguf", b.data, b.len);
    assert_int_equal(gguf_read_head(scratch_path("long.gguf"), &h, NULL), JOULET_OK);
    assert_int_equal(h.vocab, 200000);
    assert_string_equal(h.quantisation, "F16");
    assert_int_equal(h.bytes, (int64_t)b.len);
}

static int end(void **state)
{
    jl_buf_release(&b);
    return scratch_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(written_and_read),
        cmocka_unit_test(kinds_of_values),
        cmocka_unit_test(quantisation_without_file_type),
        cmocka_unit_test(long_names_are_cut_between_characters),
        cmocka_unit_test(types_and_their_blocks),
        cmocka_unit_test(tensors_and_numbers),
        cmocka_unit_test(impossible_tensors),
        cmocka_unit_test(a_file_in_full),
        cmocka_unit_test(every_cut_is_refused),
        cmocka_unit_test(wrong_beginnings),
        cmocka_unit_test(hostile_values),
        cmocka_unit_test(hostile_tensors),
        cmocka_unit_test(files_that_are_none),
        cmocka_unit_test(long_heads_are_read_on),
    };
    return cmocka_run_group_tests(tests, scratch_open, end);
}
