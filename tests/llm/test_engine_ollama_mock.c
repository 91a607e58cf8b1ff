/* Whole exchanges with a stand-in of Ollama that answers with recordings: plain, stream, thinking, cached, errors before and in
 * mid-stream, cut off and aborted. Tool calls have no recording: test_engine_ollama.c has composed ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine.h"
#include "tests/llm/mock.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct {
    const char *name;
    enum mock_end end;
    enum joulet_status status;
    const char *text, *thinking, *finish, *sentence; /* sentence: a part of it; NULL none */
    int64_t cached;
} rows[] = {
    {"chat", MOCK_WHOLE, JOULET_OK, " vuka seza loka giva giva giva giva giva sapa sapa sapa sapa", "", "length", NULL, 2},
    {"chat-stream", MOCK_WHOLE, JOULET_OK, "da kafa kafa kafa kafa kafa kafa kafa kafa kafa kafa kafa", "", "length", NULL, -2},
    {"chat-stream-cached", MOCK_WHOLE, JOULET_OK, "da kafa kafa kafa kafa kafa kafa kafa kafa kafa kafa kafa", "", "length", NULL,
     65},
    {"chat-think-stream", MOCK_WHOLE, JOULET_OK, "", " dota dota dota dota dota dota dota dota dota dota dota dota", "length",
     NULL, 0},
    {"error-runner-killed-chat-stream", MOCK_WHOLE, JOULET_ENGINE, " coba fada jopa seha reda ga kosa wo ruba", "", "error",
     "failed after 9 pieces of text: \"an error was encountered while running the model: unexpected EOF\"", -1},
    {"generate-repeat-abort", MOCK_WHOLE, JOULET_ENGINE, NULL, "", "error", "stopped a model that repeats itself", -1},
    {"v0.33.0-generate-repeat-abort", MOCK_WHOLE, JOULET_ENGINE, NULL, "", "error", "the answer ended without its last part", -1},
    {"error-unknown-model-chat", MOCK_WHOLE, JOULET_ENGINE, "", "", "error", "has no model \"m\"", -1},
    {"error-chat-prompt-too-long", MOCK_WHOLE, JOULET_ENGINE, "", "", "error", "(1314 tokens for a context of 512)", -1},
    {"error-queue-full", MOCK_WHOLE, JOULET_ENGINE, "", "", "error", "is too busy", -1},
    {"error-think-unsupported", MOCK_WHOLE, JOULET_ENGINE, "", "", "error", "does not support thinking", -1},
    {"generate-stream-server-killed", MOCK_CUT, JOULET_ENGINE, NULL, "", "error", "died in mid-stream", -1},
    {"generate-stream-server-killed", MOCK_HOLD, JOULET_CANCELLED, NULL, "", "cancelled", "was interrupted", -1},
};

static void cancel_now(void *user, const char *text, size_t n, bool thinking)
{
    (void)text, (void)n, (void)thinking;
    atomic_store((atomic_bool *)user, true);
}

static void exchange(size_t i)
{
    const struct mock_route routes[] = {
        {"GET /api/version", "ollama", "version", MOCK_WHOLE},
        {"GET /api/ps", "ollama", "ps", MOCK_WHOLE},
        {"GET /api/tags", "ollama", "tags", MOCK_WHOLE},
        {"POST /api/chat", "ollama", rows[i].name, rows[i].end},
    };
    const struct mock_config c = {.routes = routes, .n_routes = JL_COUNT(routes)};
    const struct generation q = {.model = "m",
                                 .prompt = "hi",
                                 .max_tokens = 12,
                                 .context_length = 512,
                                 .top_k = -1,
                                 .seed = -1,
                                 .temperature = NAN,
                                 .top_p = NAN,
                                 .min_p = NAN,
                                 .repeat_penalty = NAN,
                                 .timeout_s = 180,
                                 .thinking = THINKING_LOW,
                                 .keep_alive = "forever"};
    atomic_bool cancel = false;
    struct mock *m = mock_start(&c);
    struct engine *e;
    struct generated g;
    struct joulet_error err;
    if (engine_open(&e, mock_url(m), NULL, &cancel, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_string_equal(e->ops->name, "ollama");
    assert_string_equal(e->info.version, "0.34.2");
    assert_string_equal(e->info.model, "joulet-tiny:latest");
    assert_int_equal(e->info.context_length, 4096);
    assert_int_equal(e->info.gpu_layers, 0);
    generated_init(&g);
    enum joulet_status status = engine_generate(e, &q, &g, rows[i].end == MOCK_HOLD ? cancel_now : NULL, &cancel, &err);
    const char *text = g.text.data ? g.text.data : "", *thinking = g.thinking.data ? g.thinking.data : "";
    if (status != rows[i].status || (rows[i].text && strcmp(text, rows[i].text)) || strcmp(thinking, rows[i].thinking) ||
        strcmp(g.finish, rows[i].finish) || (rows[i].sentence && !strstr(err.message, rows[i].sentence)) ||
        (rows[i].cached > -2 && g.tokens.cached != rows[i].cached))
        fail_msg("%s: %s, \"%s\" / \"%s\", %s, cached %lld: %s", rows[i].name, joulet_status_text(status), text, thinking,
                 g.finish, (long long)g.tokens.cached, err.message);
    char *request = status == JOULET_OK ? mock_last_request(m) : NULL;
    static const char *const parts[] = {"POST /api/chat",     "\"truncate\":false", "\"num_ctx\":512",
                                        "\"num_predict\":12", "\"think\":\"low\"",  "\"keep_alive\":-1"};
    for (size_t k = 0; request && k < JL_COUNT(parts); k++)
        if (!strstr(request, parts[k]))
            fail_msg("no %s in %s", parts[k], request);
    free(request);
    generated_release(&g);
    engine_close(e);
    mock_stop(m);
}

static void each_case(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        exchange(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_case)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
