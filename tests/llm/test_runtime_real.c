/* A real llama-server with models of our own, where one is installed (on PATH, or by `joulet engine install`); left out
 * elsewhere: nothing here fetches one. */
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "llm/runtime_private.h"

#include <math.h>
#include <unistd.h>

static bool on_path, installed;

/* Looks only: asking the program would create its folder. */
static bool is_installed(void)
{
    static const struct {
        const char *variable, *below;
    } places[] = {{"JOULET_DATA_DIR", ""}, {"XDG_DATA_HOME", ""}, {"HOME", "/.local/share"}};
    for (size_t i = 0; i < JL_COUNT(places); i++) {
        char path[4096];
        const char *v = getenv(places[i].variable);
        if (!v || !*v)
            continue;
        snprintf(path, sizeof(path), "%s%s/joulet/engine/MANIFEST", v, places[i].below);
        return access(path, R_OK) == 0;
    }
    return false;
}

static int begin(void **state)
{
    char *program = runtime_on_path();
    const char *data = getenv("JOULET_DATA_DIR");
    char *kept = data ? jl_strdup(data) : NULL;
    on_path = program != NULL;
    installed = is_installed();
    free(program);
    if (scratch_open(state) != 0)
        return -1;
    /* The engine stays where it is; logs and models of this test do not go there. */
    if (kept)
        setenv("JOULET_DATA_DIR", kept, 1);
    else
        unsetenv("JOULET_DATA_DIR");
    free(kept);
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    return 0;
}

static struct runtime_start start_of(const char *model)
{
    return (struct runtime_start){
        .model = model, .context_length = 512, .threads = 1, .gpu_layers = -1, .private_only = !on_path};
}

static void generate(const char *model, const char *what)
{
    struct runtime_server s;
    struct runtime_start how = start_of(model);
    struct joulet_error err;
    struct engine *e = NULL;
    struct generated g;
    struct generation q = {.prompt = "The sky is blue because",
                           .max_tokens = 40,
                           .context_length = -1,
                           .top_k = -1,
                           .seed = 1,
                           .temperature = NAN,
                           .top_p = NAN,
                           .min_p = NAN,
                           .repeat_penalty = NAN};
    if (runtime_server_start(&s, &how, &err) != JOULET_OK || engine_open(&e, s.url, s.key, NULL, &err) != JOULET_OK)
        fail_msg("%s: %s", what, err.message);
    assert_int_equal(e->info.context_length, 512);
    generated_init(&g);
    if (engine_generate(e, &q, &g, NULL, NULL, &err) != JOULET_OK)
        fail_msg("%s: %s", what, err.message);
    assert_int_equal(g.tokens.generated, 40); /* no end of text, no broken character held back */
    assert_string_equal(g.finish, "length");
    assert_true(g.text.len > 0);
    assert_true(g.tokens.prompt > 5);
    generated_release(&g);
    engine_close(e);
    runtime_server_stop(&s);
}

static void every_format_loads_and_generates(void **state)
{
    static const enum gguf_quant quants[] = {GGUF_F32, GGUF_F16, GGUF_Q8_0, GGUF_Q4_0};
    struct gguf_shape shape;
    (void)state;
    if (!on_path && !installed)
        skip();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    for (size_t i = 0; i < 2 * JL_COUNT(quants); i++) {
        shape.tied = i % 2;
        assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, quants[i / 2], 1, NULL, NULL, NULL), JOULET_OK);
        generate(scratch_path("m.gguf"), gguf_quant_name(quants[i / 2]));
    }
}

/* A draft model of the same vocabulary: how many tokens it proposed and how many were taken over is told and read, chat and raw.
 */
static void drafts_are_told(void **state)
{
    struct gguf_shape shape;
    struct runtime_server s;
    struct joulet_error err;
    struct engine *e = NULL;
    (void)state;
    if (!on_path && !installed)
        skip();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("d.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    char *option = jl_strf("model-draft=%s", scratch_path("d.gguf"));
    const char *const options[] = {option};
    struct runtime_start how = start_of(scratch_path("m.gguf"));
    how.options = options;
    how.n_options = 1;
    if (runtime_server_start(&s, &how, &err) != JOULET_OK || engine_open(&e, s.url, s.key, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_string_equal(e->info.runtime, "llama.cpp");
    for (int raw = 0; raw <= 1; raw++) {
        struct generated g;
        struct run_request q;
        struct generation ask = {.prompt = "The sky is blue because",
                                 .raw = raw,
                                 .max_tokens = 40,
                                 .context_length = -1,
                                 .top_k = -1,
                                 .seed = 1,
                                 .temperature = 0,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .repeat_penalty = NAN};
        generated_init(&g);
        run_request_init(&q);
        if (engine_generate(e, &ask, &g, NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        engine_to_request(&g, &q);
        assert_int_equal(q.tokens.generated, 40);
        assert_true(q.draft_tokens > 0 && q.draft_accepted > 0 && q.draft_accepted <= q.draft_tokens && q.draft_accepted < 40);
        run_request_release(&q);
        generated_release(&g);
    }
    engine_close(e);
    runtime_server_stop(&s);
    free(option);
}

/* The protocols that llama-server speaks beside its own: the same tokens, the same counts, the same text. */
static void protocols_beside_agree(void **state)
{
    static const char *const names[] = {"llama.cpp", "openai", "responses", "anthropic"};
    struct gguf_shape shape;
    struct runtime_server s;
    struct joulet_error err;
    char text[512] = "";
    int64_t prompt = -1;
    (void)state;
    if (!on_path && !installed)
        skip();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    struct runtime_start how = start_of(scratch_path("m.gguf"));
    if (runtime_server_start(&s, &how, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        struct engine *e;
        struct generated g;
        struct generation q = {.prompt = "The sky is blue because",
                               .max_tokens = 24,
                               .context_length = -1,
                               .top_k = -1,
                               .seed = -1,
                               .temperature = 0,
                               .top_p = NAN,
                               .min_p = NAN,
                               .repeat_penalty = NAN};
        generated_init(&g);
        if (engine_open_as(&e, s.url, s.key, names[i], NULL, &err) != JOULET_OK ||
            engine_generate(e, &q, &g, NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s: %s", names[i], err.message);
        if (i == 0)
            snprintf(text, sizeof text, "%s", g.text.data);
        prompt = i == 0 ? g.tokens.prompt : prompt;
        if (g.tokens.generated != 24 || g.tokens.prompt != prompt || strcmp(g.text.data, text) != 0 || g.n_token_ns < 8)
            fail_msg("%s: %lld tokens in, %lld out in %zu pieces, \"%s\" instead of \"%s\"", names[i], (long long)g.tokens.prompt,
                     (long long)g.tokens.generated, g.n_token_ns, g.text.data, text);
        generated_release(&g);
        engine_close(e);
    }
    runtime_server_stop(&s);
}

static void failures_have_the_engines_words(void **state)
{
    struct gguf_shape shape;
    struct runtime_server s;
    struct joulet_error err;
    struct jl_buf b;
    (void)state;
    if (!on_path && !installed)
        skip();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q4_0, 1, NULL, NULL, NULL), JOULET_OK);
    jl_buf_init(&b, (size_t)64 << 20);
    assert_int_equal(jl_read_file(scratch_path("m.gguf"), &b, NULL), JOULET_OK);
    scratch_write("cut.gguf", b.data, b.len / 2);
    struct runtime_start how = start_of(scratch_path("cut.gguf"));
    assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_ENGINE);
    assert_says(err.message, "copy it again");
    char *name = memmem(b.data, b.len, "general.architecture", 20);
    assert_non_null(name);
    memcpy(name + 20 + 4 + 8, "zebra", 5); /* after the type and the length of the text */
    scratch_write("zebra.gguf", b.data, b.len);
    how = start_of(scratch_path("zebra.gguf"));
    assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_ENGINE);
    assert_says(err.message, "does not know that kind of model");
    jl_buf_release(&b);
    static const char *const nonsense[] = {"no-such-option=1"};
    how = start_of(scratch_path("m.gguf"));
    how.options = nonsense;
    how.n_options = 1;
    assert_int_equal(runtime_server_start(&s, &how, &err), JOULET_ENGINE);
    assert_says(err.message, "does not know that option");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_format_loads_and_generates),
        cmocka_unit_test(drafts_are_told),
        cmocka_unit_test(protocols_beside_agree),
        cmocka_unit_test(failures_have_the_engines_words),
    };
    int failed = cmocka_run_group_tests(tests, begin, scratch_close);
    return failed || on_path || installed ? failed : 77;
}
