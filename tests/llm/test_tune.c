/* What `joulet tune` tries on machines of any kind, the plan that measures it, and the command lines it ends with. */
#include "tests/base/test.h"

#include "llm/plans/matrix.h"
#include "llm/plans/tune.h"

#include <stdlib.h>
#include <string.h>

static struct tune_candidate out[TUNE_CANDIDATES_MAX];
static size_t n;

static const struct tune_candidate *tried(const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (strcmp(out[i].name, name) == 0)
            return &out[i];
    fail_msg("%s is not tried", name);
    return NULL;
}

static void names_are(const struct tune_ask *ask, const char *names)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, 4096);
    if (tune_candidates(ask, out, &n, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (size_t i = 1; i < n; i++)
        jl_buf_printf(&b, "%s%s", i > 1 ? "; " : "", out[i].name);
    assert_string_equal(b.data, names);
    assert_string_equal(out[0].name, "defaults");
    jl_buf_release(&b);
}

/* ---- candidates ------------------------------------------------------------------------------------------------------ */

static void what_machines_try(void **state)
{
    static const char *const models[] = {"/m/a-f16.gguf", "/m/a-q8_0.gguf", "a-q4_0.gguf"};
    static const struct {
        struct tune_ask ask;
        const char *names;
    } rows[] = {
        {{.cores = 8, .threads = 16, .layers = 32, .context = -1},
         "threads 2; threads 4; threads 6; threads 7; threads 16; flash attention on; flash attention off; KV q8_0"},
        {{.cores = 2, .threads = 2, .settings = "threads"}, "threads 1"},
        {{.cores = 0, .threads = 4, .settings = "threads"}, "threads 1; threads 2; threads 3"}, /* cores are not known */
        {{.cores = 8, .threads = 8, .settings = "gpu-layers, kv-type", .gpu = true, .layers = 32},
         "KV q8_0; GPU layers 0; GPU layers 16; GPU layers 33"},
        {{.cores = 8, .threads = 8, .settings = "gpu-layers", .gpu = true, .layers = -1}, "GPU layers 0"},
        {{.cores = 8, .threads = 8, .settings = "gpu-layers,kv-type", .layers = 32}, "KV q8_0"},
        {{.cores = 1, .threads = 1, .settings = "context", .context = 1000}, "context 500; context 2000"},
        {{.cores = 1, .threads = 1, .settings = "context,batch", .context = -1},
         "context 2048; context 8192; batch 128; batch 1024"},
        {{.cores = 1, .threads = 1, .settings = "streams"}, "streams 2; streams 4; streams 8"},
        {{.cores = 1, .threads = 1, .settings = "power-cap", .models = models, .n_models = 3}, "a-q8_0.gguf; a-q4_0.gguf"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        names_are(&rows[i].ask, rows[i].names);
    assert_int_equal(tune_streams(out, n), 1);
    names_are(&rows[8].ask, rows[8].names);
    assert_int_equal(tune_streams(out, n), 8);
}

static void nothing_to_try(void **state)
{
    static const struct tune_ask one_core = {.cores = 1, .threads = 1, .settings = "threads"},
                                 no_gpu = {.cores = 8, .threads = 8, .settings = "gpu-layers,power-cap", .layers = 32},
                                 stranger = {.cores = 8, .threads = 8, .settings = "threads,colour"};
    struct joulet_error err;
    (void)state;
    assert_int_equal(tune_candidates(&one_core, out, &n, &err), JOULET_USAGE);
    assert_int_equal(tune_candidates(&no_gpu, out, &n, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "nothing to try"));
    assert_int_equal(tune_candidates(&stranger, out, &n, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "\"colour\""));
}

/* Of one setting the first value counts. */
static void together(void **state)
{
    static const struct tune_ask ask = {.cores = 8, .threads = 8, .settings = "threads,kv-type,streams", .context = -1};
    struct tune_candidate all;
    (void)state;
    assert_int_equal(tune_candidates(&ask, out, &n, NULL), JOULET_OK);
    tune_join((const struct tune_candidate *[]){tried("threads 4"), tried("KV q8_0"), tried("threads 2")}, 3, &all);
    assert_string_equal(all.name, "threads 4, KV q8_0");
    assert_int_equal(all.n, 2);
}

/* ---- the plan -------------------------------------------------------------------------------------------------------- */

static void the_plan_is_one(void **state)
{
    static const char *const models[] = {"/m/a \"f16\".gguf", "/m/a-q8_0.gguf"};
    static const struct tune_ask ask = {.cores = 8,
                                        .threads = 8,
                                        .settings = "threads,flash-attn,kv-type,gpu-layers,context,batch,streams",
                                        .gpu = true,
                                        .layers = 32,
                                        .context = 1000,
                                        .models = models,
                                        .n_models = 2};
    static const struct tune_plan p = {.title = "tune \\ it",
                                       .prompts = "chat",
                                       .engine = "private",
                                       .model = "/m/a \"f16\".gguf",
                                       .repeat = 25,
                                       .max_tokens = 64,
                                       .context = 1000,
                                       .baseline_s = 5};
    struct joulet_error err;
    struct plan_matrix m;
    (void)state;
    assert_int_equal(tune_candidates(&ask, out, &n, NULL), JOULET_OK);
    struct plan_draft *d = plan_draft_open();
    char *text = tune_plan_text(&p, out, n);
    if (plan_draft_parse(d, "it", text, strlen(text), &err) != JOULET_OK || plan_draft_finish(d, &m, &err) != JOULET_OK)
        fail_msg("%s\n%s", err.message, text);
    assert_int_equal(m.n_cells, n);
    for (size_t i = 0; i < n; i++) {
        for (size_t k = 0; k < out[i].n; k++)
            assert_string_equal(plan_cell_text(&m.cells[i], out[i].choices[k].key), out[i].choices[k].value);
        assert_string_equal(plan_cell_text(&m.cells[i], "model"),
                            i && !strcmp(out[i].choices[0].key, "model") ? models[1] : models[0]);
    }
    plan_matrix_release(&m);
    plan_draft_close(d);
    free(text);
}

/* ---- command lines --------------------------------------------------------------------------------------------------- */

static void line_is(enum tune_use use, const struct tune_plan *p, const struct tune_candidate *c, const char *line)
{
    struct jl_buf b;
    jl_buf_init(&b, 4096);
    tune_command(&b, use, p, c);
    assert_string_equal(b.data, line);
    jl_buf_release(&b);
}

/* llama-server is told all that the measured one was, since its own defaults are others. */
static void lines_to_use(void **state)
{
    static const char *const models[] = {"/m/a b.gguf", "/m/a-q8_0.gguf"};
    static const struct tune_ask ask = {.cores = 8,
                                        .threads = 8,
                                        .settings = "threads,flash-attn,kv-type,gpu-layers,context,batch,streams",
                                        .gpu = true,
                                        .layers = 32,
                                        .context = -1,
                                        .models = models,
                                        .n_models = 2};
    struct tune_plan p = {
        .prompts = "chat", .engine = "private", .model = models[0], .max_tokens = 64, .context = -1, .threads = 8};
    struct tune_candidate all;
    (void)state;
    assert_int_equal(tune_candidates(&ask, out, &n, NULL), JOULET_OK);
    line_is(TUNE_LLAMA_SERVER, &p, &out[0], "llama-server -m '/m/a b.gguf' --threads 8 --ctx-size 4096 --parallel 1");
    line_is(TUNE_ENGINE_START, &p, &out[0], "joulet engine start --engine private -m '/m/a b.gguf'");
    line_is(TUNE_BENCH, &p, &out[0], "joulet bench --engine private -m '/m/a b.gguf' --prompts chat -n 64");
    const struct tune_candidate *parts[] = {tried("threads 4"),          tried("a-q8_0.gguf"), tried("streams 4"),
                                            tried("flash attention on"), tried("KV q8_0"),     tried("GPU layers 16"),
                                            tried("batch 128")};
    tune_join(parts, JL_COUNT(parts), &all);
    p.engine = "/opt/it's/llama-server";
    p.context = 1000;
    line_is(TUNE_LLAMA_SERVER, &p, &all,
            "'/opt/it'\\''s/llama-server' -m /m/a-q8_0.gguf --threads 4 --ctx-size 4000 --parallel 4 --flash-attn on "
            "--cache-type-k q8_0 --cache-type-v q8_0 --n-gpu-layers 16 --ubatch-size 128");
    line_is(TUNE_ENGINE_START, &p, &all,
            "joulet engine start --engine '/opt/it'\\''s/llama-server' -m /m/a-q8_0.gguf --context 1000 --threads 4 --parallel 4 "
            "--engine-option flash-attn=on --engine-option cache-type-k=q8_0 --engine-option cache-type-v=q8_0 --gpu-layers 16 "
            "--engine-option ubatch-size=128");
    line_is(TUNE_BENCH, &p, &all,
            "joulet bench --engine '/opt/it'\\''s/llama-server' -m /m/a-q8_0.gguf --context 1000 --prompts chat -n 64 --vary "
            "threads=4 --vary streams=4 --vary flash-attention=on --vary kv-type=q8_0 --vary gpu-layers=16 --vary "
            "server.ubatch-size=128");
    line_is(TUNE_LLAMA_SERVER, &p, tried("context 8192"),
            "'/opt/it'\\''s/llama-server' -m '/m/a b.gguf' --threads 8 --ctx-size 8192 --parallel 1");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_machines_try), cmocka_unit_test(nothing_to_try), cmocka_unit_test(together),
        cmocka_unit_test(the_plan_is_one),   cmocka_unit_test(lines_to_use),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
