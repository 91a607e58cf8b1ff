/* Model shapes: which there are, that their sizes are those of the published models, and how they are found by name. */
#include "tests/llm/scratch.h"

#include "llm/gguf/layout.h"

static void parameters_are_the_published_ones(void **state)
{
    static const struct {
        const char *name;
        int64_t params;
    } rows[] = {
        {"tiny", 4458752},
        {"llama-3.2-1b", 1235814400},
        {"llama-3.2-3b", 3212749824},
        {"llama-3.1-8b", 8030261248},
        {"llama-3.1-70b", 70553706496},
        {"llama-3.1-405b", 405853388800},
        {"mistral-7b-v0.1", 7241732096},
        {"smollm2-135m", 134515008},
        {"falcon3-1b-base", 1669408768},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_shape s;
        struct gguf_layout l;
        int64_t sum = 0;
        assert_int_equal(gguf_shape_find(rows[i].name, &s, NULL), JOULET_OK);
        assert_string_equal(s.name, rows[i].name);
        assert_int_equal(gguf_shape_params(&s), rows[i].params);
        assert_int_equal(gguf_layout_init(&l, &s, GGUF_Q4_0, NULL), JOULET_OK);
        for (size_t k = 0; k < l.n; k++)
            sum += (int64_t)(l.tensors[k].columns * (l.tensors[k].rows ? l.tensors[k].rows : 1));
        assert_int_equal(sum, rows[i].params); /* the tensors that are written hold them all */
        gguf_layout_release(&l);
    }
}

/* Models with other norms, biases, experts or partial rotation have rows in the table and are no plain Llama. */
static void other_architectures_are_left_out(void **state)
{
    static const char *const names[] = {"Qwen2.5-0.5B", "Qwen3-8B",  "Gemma-2-2b",        "Gemma-3-1b-it",      "OLMo-2-1124-7B",
                                        "phi-2",        "pythia-1b", "Mixtral-8x7B-v0.1", "Phi-4-mini-instruct"};
    struct gguf_shape s;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++)
        assert_int_equal(gguf_shape_find(names[i], &s, NULL), JOULET_NOT_FOUND);
}

static void every_shape_can_be_laid_out(void **state)
{
    static const enum gguf_quant quants[] = {GGUF_F32, GGUF_F16, GGUF_Q8_0, GGUF_Q4_0};
    size_t n = gguf_shape_count();
    struct gguf_shape s;
    (void)state;
    assert_true(n > 20);
    assert_false(gguf_shape_get(n, &s));
    for (size_t i = 0; i < n; i++) {
        assert_true(gguf_shape_get(i, &s));
        for (size_t q = 0; q < JL_COUNT(quants); q++) {
            struct gguf_layout l;
            assert_int_equal(gguf_layout_init(&l, &s, quants[q], NULL), JOULET_OK);
            assert_true(gguf_shape_bytes(&s, quants[q]) > (int64_t)l.data_bytes);
            for (size_t k = 0; k < l.n; k++)
                assert_int_equal(l.tensors[k].offset % GGUF_ALIGNMENT, 0);
            gguf_layout_release(&l);
        }
    }
}

static void found_by_any_of_its_names(void **state)
{
    static const char *const names[] = {"llama-3.2-1b", "Llama-3.2-1B", "meta-llama/Llama-3.2-1B", "META-LLAMA/llama-3.2-1b"};
    struct gguf_shape s;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        assert_int_equal(gguf_shape_find(names[i], &s, NULL), JOULET_OK);
        assert_int_equal(s.layers, 16);
        assert_int_equal(s.vocab, 128256);
        assert_true(s.tied);
    }
}

static void a_wrong_name_gets_near_ones(void **state)
{
    static const struct {
        const char *name, *near;
    } rows[] = {{"llama3.2-1b", "llama-3.2-1b"}, {"lama-3", "llama-3-8b"},    {"tinny", "tiny"},
                {"smolm2", "smollm2-135m"},      {"", "`joulet model list`"}, {"gpt-4", "`joulet model list`"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_shape s;
        struct joulet_error err;
        assert_int_equal(gguf_shape_find(rows[i].name, &s, &err), JOULET_NOT_FOUND);
        assert_says(err.message, rows[i].near);
    }
}

static void impossible_shapes_are_refused(void **state)
{
    struct gguf_shape good;
    (void)state;
    gguf_shape_find("tiny", &good, NULL);
    struct {
        const char *says;
        struct gguf_shape s;
    } rows[] = {{"hidden size", good}, {"vocabulary", good}, {"evenly", good}, {"layers", good}, {"multiple of 32", good}};
    rows[0].s.hidden = 100;
    rows[1].s.vocab = 200;
    rows[2].s.kv_heads = 3;
    rows[3].s.layers = 0;
    rows[4].s.head_dim = 6;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_layout l;
        struct joulet_error err;
        assert_int_equal(gguf_layout_init(&l, &rows[i].s, GGUF_Q8_0, &err), JOULET_USAGE);
        assert_says(err.message, rows[i].says);
        assert_int_equal(gguf_shape_bytes(&rows[i].s, GGUF_Q8_0), -1);
    }
}

/* What is changed is changed alone, and the name says it; fewer layers remember how many the shape has. */
static void one_thing_can_be_changed(void **state)
{
    static const struct {
        const char *change, *name; /* NULL: refused */
        int layers, ffn, heads, vocab, layers_of;
    } rows[] = {
        {"layers=4", "llama-3.3-70b-instruct-layers4", 4, 28672, 64, 128256, 80},
        {"layers=81", "llama-3.3-70b-instruct-layers81", 81, 28672, 64, 128256, 0},
        {"ffn=8192", "llama-3.3-70b-instruct-ffn8192", 80, 8192, 64, 128256, 0},
        {"heads=32", "llama-3.3-70b-instruct-heads32", 80, 28672, 32, 128256, 0},
        {"vocab=64000", "llama-3.3-70b-instruct-vocab64000", 80, 28672, 64, 64000, 0},
        {"layers=0", NULL, 0, 0, 0, 0, 0},
        {"layers=-1", NULL, 0, 0, 0, 0, 0},
        {"layers=4x", NULL, 0, 0, 0, 0, 0},
        {"layers", NULL, 0, 0, 0, 0, 0},
        {"lay=4", NULL, 0, 0, 0, 0, 0},
        {"ffn=100", NULL, 0, 0, 0, 0, 0},
        {"heads=63", NULL, 0, 0, 0, 0, 0},
        {"", NULL, 0, 0, 0, 0, 0},
        {"=4", NULL, 0, 0, 0, 0, 0},
    };
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct gguf_shape s;
        assert_int_equal(gguf_shape_find("llama-3.3-70b-instruct", &s, &err), JOULET_OK);
        enum joulet_status st = gguf_shape_change(&s, rows[i].change, &err);
        assert_int_equal(st, rows[i].name ? JOULET_OK : JOULET_USAGE);
        assert_string_equal(s.name, rows[i].name ? rows[i].name : "llama-3.3-70b-instruct");
        if (rows[i].name)
            assert_true(s.layers == rows[i].layers && s.ffn == rows[i].ffn && s.heads == rows[i].heads &&
                        s.vocab == rows[i].vocab && s.layers_of == rows[i].layers_of);
    }
}

static void quants_by_name(void **state)
{
    enum gguf_quant q = GGUF_F32;
    (void)state;
    assert_true(gguf_quant_find("Q4_0", &q));
    assert_int_equal(q, GGUF_Q4_0);
    assert_string_equal(gguf_quant_name(q), "q4_0");
    assert_false(gguf_quant_find("q4_1", &q));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(parameters_are_the_published_ones), cmocka_unit_test(other_architectures_are_left_out),
        cmocka_unit_test(every_shape_can_be_laid_out),       cmocka_unit_test(found_by_any_of_its_names),
        cmocka_unit_test(a_wrong_name_gets_near_ones),       cmocka_unit_test(impossible_shapes_are_refused),
        cmocka_unit_test(one_thing_can_be_changed),          cmocka_unit_test(quants_by_name),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
