/* Whole exchanges with stand-ins of each protocol: recognition, plain, stream, thinking, tools, an error in mid-stream, cached,
 * cut off and aborted; what answers wrongly; and LM Studio over its WebSocket. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engines/lmstudio.h"
#include "tests/llm/mock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ASKED                                                                                                                    \
    .model = "m", .max_tokens = -1, .context_length = -1, .top_k = -1, .seed = -1, .temperature = NAN, .top_p = NAN,             \
    .min_p = NAN, .repeat_penalty = NAN, .timeout_s = 180

#define C "composed"

static const struct {
    const char *protocol, *list, *route; /* recording of its list of models; where it generates */
    const char *name;
    enum mock_end end;
    enum joulet_status status;
    const char *text, *sentence; /* sentence: a part of it; NULL none */
    const char *headers;         /* part of the request; NULL */
} rows[] = {
#define MESSAGES  "anthropic", "openai", "POST /v1/messages"
#define RESPONSES "responses", "openai", "POST /v1/responses"
#define CHAT      "openai", "openai", "POST /v1/chat/completions"
#define STUDIO    "lmstudio", "lmstudio", "POST /api/v1/chat"
    {MESSAGES, "anthropic-plain", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, "anthropic-version: 2023-06-01"},
    {MESSAGES, "anthropic-stream", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, "x-api-key: secret"},
    {MESSAGES, "anthropic-thinking", MOCK_WHOLE, JOULET_OK, "Four", NULL, NULL},
    {MESSAGES, "anthropic-tools", MOCK_WHOLE, JOULET_OK, "I look.", NULL, NULL},
    {MESSAGES, "anthropic-cached", MOCK_WHOLE, JOULET_OK, "Yes", NULL, NULL},
    {MESSAGES, "anthropic-error", MOCK_WHOLE, JOULET_ENGINE, "Hel", "failed after 1 piece of text: \"Overloaded\"", NULL},
    {MESSAGES, "anthropic-cut", MOCK_CUT, JOULET_ENGINE, "Hello", "died in mid-stream after 2 pieces", NULL},
    {MESSAGES, "anthropic-cut", MOCK_WHOLE, JOULET_ENGINE, "Hello", "the answer ended without its last part", NULL},
    {MESSAGES, "anthropic-cut", MOCK_HOLD, JOULET_CANCELLED, "Hel", "was interrupted", NULL},
    {MESSAGES, "anthropic-key", MOCK_WHOLE, JOULET_ENGINE, "", "wants another key (invalid x-api-key)", NULL},
    {RESPONSES, "responses-plain", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, "Authorization: Bearer secret"},
    {RESPONSES, "responses-stream", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, NULL},
    {RESPONSES, "responses-thinking", MOCK_WHOLE, JOULET_OK, "Four", NULL, NULL},
    {RESPONSES, "responses-tools", MOCK_WHOLE, JOULET_OK, "", NULL, NULL},
    {RESPONSES, "responses-cached", MOCK_WHOLE, JOULET_OK, "Yes", NULL, NULL},
    {RESPONSES, "responses-incomplete", MOCK_WHOLE, JOULET_OK, "Hello", NULL, NULL},
    {RESPONSES, "responses-error", MOCK_WHOLE, JOULET_ENGINE, "Hel", "\"The server had an error\"", NULL},
    {RESPONSES, "responses-failed", MOCK_WHOLE, JOULET_ENGINE, "Hel", "\"The model failed\"", NULL},
    {RESPONSES, "responses-cut", MOCK_CUT, JOULET_ENGINE, "Hello", "died in mid-stream after 2 pieces", NULL},
    {RESPONSES, "responses-cut", MOCK_HOLD, JOULET_CANCELLED, "Hel", "was interrupted", NULL},
    {CHAT, "openai-plain", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, "Authorization: Bearer secret"},
    {CHAT, "openai-stream", MOCK_WHOLE, JOULET_OK, "Hello", NULL, NULL},
    {CHAT, "vllm-metrics", MOCK_WHOLE, JOULET_OK, "Four", NULL, NULL},
    {CHAT, "groq-stream", MOCK_WHOLE, JOULET_OK, "Hello", NULL, NULL},
    {CHAT, "openai-tools", MOCK_WHOLE, JOULET_OK, "", NULL, NULL},
    {CHAT, "openai-cached", MOCK_WHOLE, JOULET_OK, "Yes", NULL, NULL},
    {CHAT, "openai-error", MOCK_WHOLE, JOULET_ENGINE, "Hel", "EngineCore encountered an issue", NULL},
    {CHAT, "openai-cut", MOCK_CUT, JOULET_ENGINE, "Hello", "died in mid-stream after 2 pieces", NULL},
    {CHAT, "openai-cut", MOCK_HOLD, JOULET_CANCELLED, "Hel", "was interrupted", NULL},
    {CHAT, "openai-html", MOCK_WHOLE, JOULET_ENGINE, "", "sent not a JSON object but \"<!doctype html>", NULL},
    {CHAT, "tgi-error", MOCK_WHOLE, JOULET_ENGINE, "", "is too busy: \"Model is overloaded\"", NULL},
    {CHAT, "llama-cpp-python-interrupted", MOCK_WHOLE, JOULET_ENGINE, "Hello", "broke the answer off after 2 pieces", NULL},
    {STUDIO, "lmstudio-v1-plain", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, "Authorization: Bearer secret"},
    {STUDIO, "lmstudio-v1-stream", MOCK_WHOLE, JOULET_OK, "Hello there", NULL, NULL},
    {STUDIO, "lmstudio-v1-thinking", MOCK_WHOLE, JOULET_OK, "Four", NULL, NULL},
    {STUDIO, "lmstudio-v1-tools", MOCK_WHOLE, JOULET_OK, "Cold", NULL, NULL},
    {STUDIO, "lmstudio-v1-load", MOCK_WHOLE, JOULET_OK, "Hello", NULL, NULL},
    {STUDIO, "lmstudio-v1-error", MOCK_WHOLE, JOULET_ENGINE, "Hel", "failed after 1 piece of text: \"The model has crashed\"",
     NULL},
    {STUDIO, "lmstudio-v1-cut", MOCK_CUT, JOULET_ENGINE, "Hello", "died in mid-stream after 2 pieces", NULL},
    {STUDIO, "lmstudio-v1-cut", MOCK_HOLD, JOULET_CANCELLED, "Hel", "was interrupted", NULL},
    {STUDIO, "lmstudio-v1-key", MOCK_WHOLE, JOULET_ENGINE, "", "wants another key (Invalid API token)", NULL},
    {STUDIO, "lmstudio-unknown-path", MOCK_WHOLE, JOULET_ENGINE, "", "Unexpected endpoint or method", NULL},
};

static void cancel_now(void *user, const char *text, size_t n, bool thinking)
{
    (void)text, (void)n, (void)thinking;
    atomic_store((atomic_bool *)user, true);
}

static void exchange(size_t i)
{
    bool studio = strcmp(rows[i].protocol, "lmstudio") == 0;
    const struct mock_route routes[] = {
        {rows[i].route, C, rows[i].name, rows[i].end},
        {"GET /api/v1/models", C, studio ? "lmstudio-v1-models" : "lmstudio-unknown-path", MOCK_WHOLE},
        {"GET /v1/models", C, "openai-models", MOCK_WHOLE},
    };
    const struct mock_route before[] = {{rows[i].route, C, "openai-empty-request", MOCK_WHOLE}, routes[1], routes[2]};
    struct mock_config c = {.routes = before, .n_routes = JL_COUNT(before)};
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct joulet_error err = {.status = JOULET_OK};
    struct generated g;
    atomic_bool cancel = false;
    const struct generation q = {.prompt = "hi", ASKED};
    if (engine_open_as(&e, mock_url(m), "secret", rows[i].protocol, &cancel, &err) != JOULET_OK)
        fail_msg("%s, %s: %s", rows[i].protocol, rows[i].name, err.message);
    c.routes = routes;
    generated_init(&g);
    enum joulet_status status = engine_generate(e, &q, &g, rows[i].end == MOCK_HOLD ? cancel_now : NULL, &cancel, &err);
    const char *text = g.text.data ? g.text.data : "";
    char *request = mock_last_request(m);
    if (status != rows[i].status || (rows[i].sentence && !strstr(err.message, rows[i].sentence)) ||
        strncmp(text, rows[i].text, strlen(rows[i].text)) || (status != JOULET_CANCELLED && strcmp(text, rows[i].text)))
        fail_msg("%s, %s: %s, \"%s\", %s", rows[i].protocol, rows[i].name, joulet_status_text(status), text, err.message);
    if (rows[i].headers && !strcasestr(request, rows[i].headers))
        fail_msg("%s, %s: no %s in %s", rows[i].protocol, rows[i].name, rows[i].headers, request);
    assert_null(strstr(err.message, "secret"));
    free(request);
    generated_release(&g);
    engine_close(e);
    mock_stop(m);
}

static void each_protocol_and_each_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        exchange(i);
}

/* ---- what else may answer ---------------------------------------------------------------------------------------- */

static void wrong_answers_at_the_address(void **state)
{
    (void)state;
    static const struct {
        const char *otherwise, *protocol;
        enum joulet_status status;
        const char *sentence;
    } cases[] = {
        {"openai-html", NULL, JOULET_NOT_FOUND, "sends a web page (HTTP 200)"},
        {"redirect", NULL, JOULET_NOT_FOUND, "sends elsewhere (HTTP 302)"},
        {"lmstudio-unknown-path", NULL, JOULET_NOT_FOUND, "is no engine that joulet knows"},
        {"lmstudio-unknown-path", "anthropic", JOULET_NOT_FOUND, "does not speak the protocol anthropic"},
        {"lmstudio-unknown-path", "lmstudio", JOULET_NOT_FOUND, "does not speak the protocol lmstudio"},
        {"openai-html", "responses", JOULET_NOT_FOUND, "does not speak the protocol responses"},
        {"lmstudio-v1-key", NULL, JOULET_PERMISSION, "wants another key"},
        {"openai-html", "lmstudio-ws", JOULET_NOT_FOUND, "does not speak the protocol lmstudio-ws"},
        {NULL, NULL, JOULET_NOT_FOUND, "is no engine that joulet knows"},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        const struct mock_config c = {.otherwise = cases[i].otherwise};
        struct mock *m = mock_start(&c);
        struct engine *e;
        struct joulet_error err;
        enum joulet_status status = engine_open_as(&e, mock_url(m), "old key", cases[i].protocol, NULL, &err);
        if (status != cases[i].status || !strstr(err.message, cases[i].sentence))
            fail_msg("%s as %s: %s, %s", cases[i].otherwise ? cases[i].otherwise : "404",
                     cases[i].protocol ? cases[i].protocol : "any", joulet_status_text(status), err.message);
        assert_null(strstr(err.message, "old key"));
        mock_stop(m);
    }
}

/* ---- LM Studio --------------------------------------------------------------------------------------------------- */

static void studio_is_recognised_by_its_lists(void **state)
{
    (void)state;
    static const struct {
        const char *path, *name, *version, *model, *runtime;
    } lists[] = {
        {"GET /api/v1/models", "lmstudio-v1-models", "REST v1", "qwen/qwen3-4b", "llama.cpp"},
        {"GET /api/v0/models", "lmstudio-v0-models", "REST v0", "granite-3.0-2b-instruct", "llama.cpp"},
    };
    for (size_t i = 0; i < JL_COUNT(lists); i++) {
        const struct mock_route routes[] = {{lists[i].path, C, lists[i].name, MOCK_WHOLE}};
        const struct mock_config c = {.routes = routes, .n_routes = 1, .otherwise = "lmstudio-unknown-path"};
        struct mock *m = mock_start(&c);
        struct engine *e;
        struct engine_model d;
        struct joulet_error err = {.status = JOULET_OK};
        double load_s;
        if (engine_open(&e, mock_url(m), NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        assert_string_equal(e->ops->name, "lmstudio");
        assert_string_equal(e->info.version, lists[i].version);
        assert_string_equal(e->info.model, lists[i].model);
        assert_string_equal(e->info.runtime, lists[i].runtime);
        assert_int_equal(e->ops->details(e, lists[i].model, &d, &err), JOULET_OK);
        assert_int_equal(e->ops->details(e, "nothing", &d, &err), JOULET_NOT_FOUND);
        enum joulet_status status = e->ops->load(e, lists[i].model, NULL, &load_s, &err);
        assert_int_equal(status, i ? JOULET_UNSUPPORTED : JOULET_OK); /* it is loaded */
        engine_close(e);
        mock_stop(m);
    }
}

static void studio_loads_and_unloads(void **state)
{
    (void)state;
    const struct mock_route routes[] = {
        {"GET /api/v1/models/download/status/", C, "lmstudio-v1-downloaded", MOCK_WHOLE},
        {"GET /api/v1/models", C, "lmstudio-v1-models", MOCK_WHOLE},
        {"POST /api/v1/models/load", C, "lmstudio-v1-loaded", MOCK_WHOLE},
        {"POST /api/v1/models/unload", C, "lmstudio-v1-unloaded", MOCK_WHOLE},
        {"POST /api/v1/models/download", C, "lmstudio-v1-download", MOCK_WHOLE},
    };
    const struct mock_config c = {.routes = routes, .n_routes = JL_COUNT(routes), .otherwise = "lmstudio-unknown-path"};
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct joulet_error err = {.status = JOULET_OK};
    double load_s;
    assert_int_equal(engine_open(&e, mock_url(m), NULL, NULL, &err), JOULET_OK);
    assert_int_equal(e->ops->load(e, "mlx-community/gemma-3-1b", NULL, &load_s, &err), JOULET_OK);
    assert_true(load_s == 3.25);
    assert_int_equal(e->ops->unload(e, "qwen/qwen3-4b", &err), JOULET_OK);
    char *request = mock_last_request(m);
    assert_non_null(strstr(request, "{\"instance_id\":\"qwen/qwen3-4b\"}"));
    free(request);
    assert_int_equal(e->ops->unload(e, "mlx-community/gemma-3-1b", &err), JOULET_OK); /* it is not loaded */
    assert_int_equal(e->ops->unload(e, "nothing", &err), JOULET_NOT_FOUND);
    assert_int_equal(e->ops->pull(e, "ibm/granite", NULL, NULL, &err), JOULET_OK);
    engine_close(e);
    mock_stop(m);
}

static const struct {
    const char *fault;
    enum joulet_status status;
    const char *text, *thinking, *sentence;
    size_t calls;
} sockets[] = {
    {NULL, JOULET_OK, "Hello", "", NULL, 0},
    {"load", JOULET_OK, "Hello", "", NULL, 0},
    {"thinking", JOULET_OK, "Hello", "So", NULL, 0},
    {"tools", JOULET_OK, "Hello", "", NULL, 1},
    {"error", JOULET_ENGINE, "Hello", "", "\"The model has crashed: Exit code 11\"", 0},
    {"failed", JOULET_ENGINE, "Hello", "", "\"The prediction failed\"", 0},
    {"cut", JOULET_ENGINE, "Hello", "", "died in mid-stream after 2 pieces", 0},
    {"hold", JOULET_CANCELLED, "", "", "was interrupted", 0},
};

static void talk(size_t i)
{
    const struct mock_config c = {.lmstudio = true, .fault = sockets[i].fault};
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct joulet_error err = {.status = JOULET_OK};
    struct generated g;
    atomic_bool cancel = false;
    struct generation q = {.prompt = "hi", ASKED};
    q.model = NULL;
    if (engine_open(&e, mock_url(m), NULL, &cancel, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_string_equal(e->ops->name, "lmstudio-ws");
    assert_string_equal(e->info.model, "mock-model");
    assert_int_equal(e->info.context_length, 2048);
    generated_init(&g);
    enum joulet_status status =
        engine_generate(e, &q, &g, sockets[i].status == JOULET_CANCELLED ? cancel_now : NULL, &cancel, &err);
    const char *text = g.text.data ? g.text.data : "", *thinking = g.thinking.data ? g.thinking.data : "";
    if (status != sockets[i].status || (sockets[i].sentence && !strstr(err.message, sockets[i].sentence)) ||
        (status != JOULET_CANCELLED && strcmp(text, sockets[i].text)) || strcmp(thinking, sockets[i].thinking) ||
        g.tool_calls != sockets[i].calls)
        fail_msg("%s: %s, \"%s\", \"%s\", %s", sockets[i].fault ? sockets[i].fault : "plain", joulet_status_text(status), text,
                 thinking, err.message);
    if (status == JOULET_OK) {
        assert_true(g.tokens.prompt == 9 && g.tokens.generated == 3 && g.draft_tokens == 4 && g.draft_accepted == 2);
        assert_string_equal(g.finish, "stop");
        assert_string_equal(g.instance, "mock-model");
        assert_string_equal(g.runtime, "llama.cpp");
        assert_string_equal(g.draft_model, "mock-draft");
        assert_true(g.gpu_layers == 12 && g.server_prompt_s == 0.001 && g.server_rate == 50.5);
        assert_true(g.t_sent_ns <= g.t_prefill_ns && g.t_prefill_ns <= g.t_first_ns && g.t_first_ns <= g.t_end_ns);
        bool loaded = sockets[i].fault && !strcmp(sockets[i].fault, "load");
        assert_true(loaded ? g.server_load_s >= 0.02 : isnan(g.server_load_s));
    }
    generated_release(&g);
    engine_close(e);
    mock_stop(m);
}

static void studio_over_its_socket(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(sockets); i++)
        talk(i);
}

static void studio_lists_over_its_socket(void **state)
{
    (void)state;
    const struct mock_config c = {.lmstudio = true}, refusing = {.lmstudio = true, .fault = "refuse"};
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct engine_model *list;
    struct joulet_error err;
    size_t n;
    assert_int_equal(engine_open(&e, mock_url(m), NULL, NULL, &err), JOULET_OK);
    assert_int_equal(e->ops->models(e, &list, &n, &err), JOULET_OK);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].name, "mock-model");
    assert_true(list[0].loaded && list[0].loaded_context == 2048 && list[0].context_length == 4096 && list[0].bytes == 1000);
    free(list);
    engine_close(e);
    mock_stop(m);
    m = mock_start(&refusing);
    assert_int_equal(engine_open(&e, mock_url(m), NULL, NULL, &err), JOULET_PERMISSION);
    assert_non_null(strstr(err.message, "wants a key (Invalid passkey)"));
    mock_stop(m);
}

/* A token is a name and a password there; LM Studio's own variable holds one. */
static void studio_takes_a_token(void **state)
{
    (void)state;
    static const char token[] = "sk-lm-abcd1234:ABCDEFGHIJ0123456789";
    static const struct {
        const char *key, *variable;
        enum joulet_status status;
    } cases[] = {
        {token, NULL, JOULET_OK},
        {NULL, token, JOULET_OK},
        {NULL, NULL, JOULET_PERMISSION},
        {"sk-lm-abcd1234:ABCDEFGHIJ012345678", NULL, JOULET_PERMISSION},   /* one short */
        {"sk-lm-abcd1234:ABCDEFGHIJ01234567890", NULL, JOULET_PERMISSION}, /* one long */
        {"sk-lm-abcd1234:ABCDEFGHIJ012345678/", NULL, JOULET_PERMISSION},
    };
    const struct mock_config c = {.lmstudio = true, .fault = "key"};
    struct mock *m = mock_start(&c);
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct engine *e;
        struct joulet_error err = {.status = JOULET_OK};
        if (cases[i].variable)
            setenv("LM_API_TOKEN", cases[i].variable, 1);
        enum joulet_status status = engine_open_as(&e, mock_url(m), cases[i].key, "lmstudio-ws", NULL, &err);
        unsetenv("LM_API_TOKEN");
        if (status != cases[i].status)
            fail_msg("%zu: %s, %s", i, joulet_status_text(status), err.message);
        assert_null(strstr(err.message, "ABCDEF"));
        engine_close(status == JOULET_OK ? e : NULL);
    }
    mock_stop(m);
}

/* "ws://" and "wss://", as LM Studio's SDKs write their address, mean this protocol. */
static void the_scheme_of_a_socket(void **state)
{
    (void)state;
    const struct mock_route routes[] = {{"GET /api/v1/models", C, "lmstudio-v1-models", MOCK_WHOLE}};
    const struct mock_config c = {.routes = routes, .n_routes = 1, .lmstudio = true};
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct joulet_error err;
    char url[80];
    snprintf(url, sizeof url, "ws%s", mock_url(m) + 4);
    assert_int_equal(engine_open(&e, url, NULL, NULL, &err), JOULET_OK);
    assert_string_equal(e->ops->name, "lmstudio-ws");
    assert_string_equal(e->url, mock_url(m));
    engine_close(e);
    assert_int_equal(engine_open_as(&e, url, NULL, "lmstudio", NULL, &err), JOULET_OK);
    assert_string_equal(e->ops->name, "lmstudio");
    engine_close(e);
    mock_stop(m);
    assert_int_equal(engine_open(&e, "wss://127.0.0.1:1", NULL, NULL, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "https://127.0.0.1:1"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(each_protocol_and_each_case),
        cmocka_unit_test(wrong_answers_at_the_address),
        cmocka_unit_test(studio_is_recognised_by_its_lists),
        cmocka_unit_test(studio_loads_and_unloads),
        cmocka_unit_test(studio_over_its_socket),
        cmocka_unit_test(studio_lists_over_its_socket),
        cmocka_unit_test(studio_takes_a_token),
        cmocka_unit_test(the_scheme_of_a_socket),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
