/* The body of a request, to the byte, for both protocols; and what is refused before anything is sent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GIVEN(max, context, penalty)                                                                                             \
    .max_tokens = (max), .context_length = (context), .repeat_penalty = (penalty), .top_k = -1, .seed = -1, .temperature = NAN,  \
    .top_p = NAN, .min_p = NAN
#define NOT_GIVEN GIVEN(-1, -1, NAN)

static const char *const stops[] = {"\n\n", "END"};
static const char *const options[] = {"ignore_eos=true", "mirostat=2", "grammar=root ::= \"a\"", "x={\"a\":[1]}", "empty="};
static const char *const bad_options[][1] = {{"novalue"}, {"=x"}, {"stream=false"}, {"messages=[]"}};

static const struct {
    const char *why;
    const struct engine_ops *ops;
    struct generation q;
    const char *path, *body;
} bodies[] = {
    {"chat",
     &engine_llamacpp,
     {.prompt = "Why?", NOT_GIVEN},
     "/v1/chat/completions",
     "{\"stream\":true,\"cache_prompt\":false,\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\","
     "\"content\":\"Why?\"}]}"},
    {"raw",
     &engine_llamacpp,
     {.prompt = "Why?", .raw = true, NOT_GIVEN, .prompt_cache = true},
     "/completion",
     "{\"stream\":true,\"cache_prompt\":true,\"prompt\":\"Why?\"}"},
    {"everything",
     &engine_llamacpp,
     {.prompt = "Why?",
      .system = "Be brief.",
      .model = "tiny",
      .max_tokens = 64,
      .context_length = 2048,
      .top_k = 40,
      .seed = 7,
      .temperature = 0.7,
      .top_p = 0.95,
      .min_p = 0,
      .repeat_penalty = 1.1,
      .stop = stops,
      .n_stop = 2,
      .options = options,
      .n_options = 5},
     "/v1/chat/completions",
     "{\"model\":\"tiny\",\"stream\":true,\"cache_prompt\":false,\"seed\":7,\"top_k\":40,\"temperature\":0.7,\"top_p\":0.95,"
     "\"min_p\":0.0,"
     "\"repeat_penalty\":1.1,\"max_tokens\":64,\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"system\","
     "\"content\":\"Be "
     "brief.\"},{\"role\":\"user\",\"content\":\"Why?\"}],\"stop\":[\"\\n\\n\",\"END\"],\"ignore_eos\":true,\"mirostat\":2,"
     "\"grammar\":\"root ::= "
     "\\\"a\\\"\",\"x\":{\"a\":[1]},\"empty\":\"\"}"},
    {"raw with a limit",
     &engine_llamacpp,
     {.prompt = "a\tb", .raw = true, GIVEN(3, -1, NAN)},
     "/completion",
     "{\"stream\":true,\"cache_prompt\":false,\"n_predict\":3,\"prompt\":\"a\\tb\"}"},
    {"messages win over prompt and system",
     &engine_llamacpp,
     {.prompt = "x",
      .system = "y",
      .messages_json = "[{\"role\":\"user\",\"content\":\"one\"},{\"role\":\"assistant\",\"content\":\"two\"}]",
      NOT_GIVEN},
     "/v1/chat/completions",
     "{\"stream\":true,\"cache_prompt\":false,\"stream_options\":{\"include_usage\":true},\"messages\":[{\"role\":\"user\","
     "\"content\":\"one\"},"
     "{\"role\":\"assistant\",\"content\":\"two\"}]}"},
    {"openai chat names the model it found",
     &engine_openai,
     {.prompt = "Why?", GIVEN(5, -1, 1.5)},
     "/v1/chat/completions",
     "{\"model\":\"tiny\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":5,\"repeat_penalty\":1.5,"
     "\"repetition_penalty\":1.5,\"messages\":[{\"role\":\"user\",\"content\":\"Why?\"}]}"},
    {"openai raw",
     &engine_openai,
     {.prompt = "Why?", .raw = true, .model = "other", NOT_GIVEN},
     "/v1/completions",
     "{\"model\":\"other\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"prompt\":\"Why?\"}"},
};

static void setup(struct engine *e, const struct engine_ops *ops)
{
    static char url[] = "http://127.0.0.1:8080";
    *e = (struct engine){.ops = ops, .url = url};
    e->info = (struct engine_info){.model = "tiny", .model_path = "/models/tiny.gguf", .context_length = 4096};
}

static void bodies_to_the_byte(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(bodies); i++) {
        struct engine e;
        struct jl_buf body;
        struct joulet_error err;
        const char *path = NULL;
        setup(&e, bodies[i].ops);
        assert_int_equal(body_check(&bodies[i].q, &err), JOULET_OK);
        if (bodies[i].ops->request(&e, &bodies[i].q, &path, &body, &err) != JOULET_OK)
            fail_msg("%s: %s", bodies[i].why, err.message);
        assert_string_equal(path, bodies[i].path);
        if (strcmp(body.data, bodies[i].body) != 0)
            fail_msg("%s: %s", bodies[i].why, body.data);
        jl_buf_release(&body);
    }
}

static const struct {
    const char *why;
    const struct engine_ops *ops;
    struct generation q;
    enum joulet_status status;
    const char *words;
} refused[] = {
    {"no prompt", &engine_llamacpp, {NOT_GIVEN}, JOULET_USAGE, "the prompt is empty"},
    {"empty prompt", &engine_llamacpp, {.prompt = "", NOT_GIVEN}, JOULET_USAGE, "the prompt is empty"},
    {"blank prompt", &engine_llamacpp, {.prompt = " \n\t", NOT_GIVEN}, JOULET_USAGE, "the prompt is empty"},
    {"prompt is not UTF-8", &engine_llamacpp, {.prompt = "caf\xe9", NOT_GIVEN}, JOULET_USAGE, "the user prompt is not UTF-8"},
    {"raw prompt is not UTF-8",
     &engine_llamacpp,
     {.prompt = "caf\xe9", .raw = true, NOT_GIVEN},
     JOULET_USAGE,
     "the prompt is not UTF-8"},
    {"system is not UTF-8",
     &engine_openai,
     {.prompt = "x", .system = "\xff", NOT_GIVEN},
     JOULET_USAGE,
     "the system prompt is not UTF-8"},
    {"raw with messages", &engine_openai, {.messages_json = "[]", .raw = true, NOT_GIVEN}, JOULET_USAGE, "chat template"},
    {"raw with system", &engine_openai, {.prompt = "x", .system = "y", .raw = true, NOT_GIVEN}, JOULET_USAGE, "chat template"},
    {"messages are no JSON", &engine_openai, {.messages_json = "[{\n\"role\":}]", NOT_GIVEN}, JOULET_USAGE, "line 2"},
    {"messages are no list", &engine_openai, {.messages_json = "{}", NOT_GIVEN}, JOULET_USAGE, "not a JSON array"},
    {"messages are empty", &engine_openai, {.messages_json = "[]", NOT_GIVEN}, JOULET_USAGE, "not a JSON array"},
    {"message without role",
     &engine_openai,
     {.messages_json = "[{\"role\":\"user\",\"content\":\"x\"},{\"content\":\"x\"}]", NOT_GIVEN},
     JOULET_USAGE,
     "message 2"},
    {"option without value",
     &engine_llamacpp,
     {.prompt = "x", NOT_GIVEN, .options = bad_options[0], .n_options = 1},
     JOULET_USAGE,
     "KEY=VALUE"},
    {"option without name",
     &engine_llamacpp,
     {.prompt = "x", NOT_GIVEN, .options = bad_options[1], .n_options = 1},
     JOULET_USAGE,
     "KEY=VALUE"},
    {"option of ours",
     &engine_llamacpp,
     {.prompt = "x", NOT_GIVEN, .options = bad_options[2], .n_options = 1},
     JOULET_USAGE,
     "stream cannot be set"},
    {"option of ours too",
     &engine_openai,
     {.prompt = "x", NOT_GIVEN, .options = bad_options[3], .n_options = 1},
     JOULET_USAGE,
     "messages cannot be set"},
    {"another model than the loaded one",
     &engine_llamacpp,
     {.prompt = "x", .model = "large", NOT_GIVEN},
     JOULET_ENGINE,
     "has loaded tiny"},
    {"more context than in force", &engine_llamacpp, {.prompt = "x", GIVEN(-1, 8192, NAN)}, JOULET_ENGINE, "-c 8192"},
    {"more context than in force, openai", &engine_openai, {.prompt = "x", GIVEN(-1, 8192, NAN)}, JOULET_ENGINE, "4096 tokens"},
};

static void refused_before_sending(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(refused); i++) {
        struct engine e;
        struct generated g;
        struct joulet_error err = {.status = JOULET_OK};
        setup(&e, refused[i].ops);
        generated_init(&g);
        enum joulet_status status = engine_generate(&e, &refused[i].q, &g, NULL, NULL, &err);
        if (status != refused[i].status || !strstr(err.message, refused[i].words))
            fail_msg("%s: %s: %s", refused[i].why, joulet_status_text(status), err.message);
        assert_int_equal(g.t_sent_ns, 0);
        generated_release(&g);
    }
}

static void the_loaded_model_has_several_names(void **state)
{
    (void)state;
    static const char *const names[] = {"tiny", "/models/tiny.gguf", "tiny.gguf", "elsewhere/tiny.gguf"};
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        struct engine e;
        struct jl_buf body;
        struct joulet_error err;
        const char *path;
        struct generation q = {.prompt = "x", .model = names[i], NOT_GIVEN};
        setup(&e, &engine_llamacpp);
        assert_int_equal(e.ops->request(&e, &q, &path, &body, &err), JOULET_OK);
        jl_buf_release(&body);
    }
}

/* What an engine lists, what people write, and whether they mean the same. */
static void names_leave_out_what_goes_without_saying(void **state)
{
    static const struct {
        const char *full, *name;
        bool same;
    } rows[] = {
        {"llama3.2:latest", "llama3.2", true},
        {"llama3.2:latest", "Llama3.2", true},
        {"llama3.2:latest", "library/llama3.2", true},
        {"llama3.2:latest", "registry.ollama.ai/library/llama3.2:latest", true},
        {"llama3.2:1b", "llama3.2", false},
        {"llama3.2", "llama3.2:1b", false},
        {"me/mine:latest", "me/mine", true},
        {"me/mine:latest", "mine", false},
        {"127.0.0.1:5000/ns/m:latest", "127.0.0.1:5000/ns/m", true},
        {"127.0.0.1:5000/ns/m:latest", "http://127.0.0.1:5000/ns/m", true},
        {"127.0.0.1:5000/ns/m:latest", "127.0.0.1:5001/ns/m", false},
        {"hf.co/them/theirs-GGUF:Q8_0", "hf.co/them/theirs-GGUF:q8_0", true},
        {"org/model", "org/model", true},
        {"org/model", "model", false},
        {"", "", false},
        {"m", "", false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (engine_same_name(rows[i].full, rows[i].name) != rows[i].same)
            fail_msg("\"%s\" and \"%s\"", rows[i].full, rows[i].name);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_leave_out_what_goes_without_saying),
        cmocka_unit_test(bodies_to_the_byte),
        cmocka_unit_test(refused_before_sending),
        cmocka_unit_test(the_loaded_model_has_several_names),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
