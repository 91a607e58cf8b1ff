/* The protocols beside llama.cpp's and Ollama's own, by answers that were composed and, where there are any, recorded: what is
 * read of them, in any cut of their bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engines/lmstudio.h"
#include "tests/llm/exchange.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T_NS 1000000000

struct expected {
    const struct engine_ops *ops;
    const char *folder, *name, *text, *thinking;
    size_t pieces, calls;
    int64_t prompt, cached, generated, reasoning, processed;
    const char *finish;
    bool done;
    const char *error; /* part of the words; NULL none */
};

#define C  "composed"
#define NO -1, -1, -1, -1, -1

/* clang-format off */
static const struct expected rows[] = {
    {&engine_anthropic, C, "anthropic-plain", "Hello there", "", 0, 0, 25, 0, 4, -1, 25, "stop", true, NULL},
    {&engine_anthropic, C, "anthropic-stream", "Hello there", "", 3, 0, 25, 0, 4, -1, 25, "stop", true, NULL},
    {&engine_anthropic, C, "anthropic-thinking", "Four", "Let me see", 3, 0, 25, 0, 9, -1, 25, "length", true, NULL},
    {&engine_anthropic, C, "anthropic-tools", "I look.", "", 4, 1, 25, 0, 17, -1, 25, "tool", true, NULL},
    {&engine_anthropic, C, "anthropic-cached", "Yes", "", 1, 0, 1104, 1000, 2, -1, 104, "stop", true, NULL},
    {&engine_anthropic, C, "anthropic-error", "Hel", "", 1, 0, 25, 0, -1, -1, 25, "error", false, "Overloaded"},
    {&engine_anthropic, C, "anthropic-cut", "Hello", "", 2, 0, 25, 0, -1, -1, 25, "", false, NULL},
    {&engine_anthropic, C, "anthropic-key", "", "", 0, 0, NO, "error", false, "invalid x-api-key"},
    {&engine_anthropic, "llama-server", "v1-messages-stream", " woga woga woga woga", "", 4, 0, 44, 43, 4, -1, 1, "length", true, NULL},
    {&engine_anthropic, "ollama", "v1-messages-thinking-stream", "", " coba fola fola fusa fusa fusa fusa fusa disa disa disa disa", 12, 0,
     73, 72, 12, -1, 1, "length", true, NULL},
    {&engine_anthropic, "ollama", "v1-messages", " coba fola folaofofofofofofofofof", "", 0, 0, 66, 65, 12, -1, 1, "length", true, NULL},
    {&engine_anthropic, "ollama", "error-unknown-model-v1-messages", "", "", 0, 0, NO, "error", false, "model 'none' not found"},
    {&engine_anthropic, "ollama", "error-v1-messages-bad-json", "", "", 0, 0, NO, "error", false, "unexpected EOF"},
    {&engine_responses, C, "responses-plain", "Hello there", "", 0, 0, 20, 0, 4, 0, 20, "stop", true, NULL},
    {&engine_responses, C, "responses-stream", "Hello there", "", 3, 0, 20, 0, 4, 0, 20, "stop", true, NULL},
    {&engine_responses, C, "responses-thinking", "Four", "So then", 3, 0, 20, 0, 9, 7, 20, "stop", true, NULL},
    {&engine_responses, C, "responses-tools", "", "", 2, 1, 20, 0, 12, 0, 20, "tool", true, NULL},
    {&engine_responses, C, "responses-cached", "Yes", "", 1, 0, 2000, 1920, 2, 0, 80, "stop", true, NULL},
    {&engine_responses, C, "responses-incomplete", "Hello", "", 2, 0, 20, 0, 2, 0, 20, "length", true, NULL},
    {&engine_responses, C, "responses-error", "Hel", "", 1, 0, NO, "error", false, "The server had an error"},
    {&engine_responses, C, "responses-failed", "Hel", "", 1, 0, NO, "error", false, "The model failed"},
    {&engine_responses, C, "responses-cut", "Hello", "", 2, 0, NO, "", false, NULL},
    {&engine_responses, "llama-server", "v1-responses", " coza kofa coga coga", "", 0, 0, 44, 2, 4, -1, 42, "stop", true, NULL},
    {&engine_responses, "ollama", "v1-responses-stream", " ke goda goda weta weta weta weta weta weta weta weta weta", "", 12, 0, 44, 43, 12, 0, 1,
     "length", true, NULL},
    {&engine_responses, "ollama", "error-v1-responses-no-input", "", "", 0, 0, NO, "error", false, "input is required"},
    {&engine_openai, C, "openai-plain", "Hello there", "", 0, 0, 20, -1, 4, -1, -1, "stop", true, NULL},
    {&engine_openai, C, "openai-stream", "Hello", "", 2, 0, 20, 0, 3, 0, 20, "stop", true, NULL},
    {&engine_openai, C, "openai-tools", "", "", 3, 1, 70, -1, 15, -1, -1, "tool", true, NULL},
    {&engine_openai, C, "openai-cached", "Yes", "", 1, 0, 2000, 1920, 2, -1, 80, "stop", true, NULL},
    {&engine_openai, C, "openai-error", "Hel", "", 1, 0, NO, "error", false, "EngineCore encountered an issue"},
    {&engine_openai, C, "openai-cut", "Hello", "", 2, 0, NO, "", false, NULL},
    {&engine_openai, C, "openai-html", "", "", 0, 0, NO, "error", false, "not a JSON object but \"<!doctype html>"},
    {&engine_openai, C, "vllm-metrics", "Four", "Hm", 2, 0, 20, -1, 5, 3, -1, "stop", true, NULL},
    {&engine_openai, C, "vllm-drafts", "Four", "", 1, 0, 20, -1, 25, -1, -1, "stop", true, NULL},
    {&engine_openai, C, "vllm-old-reasoning", "Four", "Hm", 2, 0, 20, -1, 5, -1, -1, "length", true, NULL},
    {&engine_openai, C, "sglang-thinking", "Four", "Hm", 2, 0, 20, 19, 5, -1, 1, "stop", true, NULL},
    {&engine_openai, C, "tgi-error", "", "", 0, 0, NO, "error", false, "Model is overloaded"},
    {&engine_openai, C, "tgi-stream", "Hello", "", 2, 0, 20, -1, 3, -1, -1, "stop", true, NULL},
    {&engine_openai, C, "llama-cpp-python-interrupted", "Hello", "", 2, 0, NO, "", true, NULL},
    {&engine_openai, C, "groq-plain", "Hello", "", 0, 0, 20, 16, 3, -1, 4, "stop", true, NULL},
    {&engine_openai, C, "groq-stream", "Hello", "", 2, 0, 20, 16, 3, -1, 4, "stop", true, NULL},
    {&engine_openai, C, "groq-error", "Hel", "", 1, 0, NO, "error", false, "over capacity"},
    {&engine_openai, "ollama", "error-runner-killed-v1-stream", " coba vota fofa dira dira", "", 5, 0, NO, "", false, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-plain", "Hello there", "", 0, 0, 30, -1, 12, 0, -1, "", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-stream", "Hello there", "", 3, 0, 30, -1, 12, 0, -1, "", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-load", "Hello", "", 2, 0, 30, -1, 12, 0, -1, "", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-thinking", "Four", "So", 2, 0, 30, -1, 12, 7, -1, "", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-tools", "Cold", "", 2, 1, 30, -1, 12, 0, -1, "", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-error", "Hel", "", 1, 0, NO, "error", false, "The model has crashed"},
    {&engine_lmstudio, C, "lmstudio-v1-cut", "Hello", "", 2, 0, NO, "", false, NULL},
    {&engine_lmstudio, C, "lmstudio-v1-key", "", "", 0, 0, NO, "error", false, "Invalid API token"},
    {&engine_lmstudio, C, "lmstudio-unknown-path", "", "", 0, 0, NO, "error", false, "Unexpected endpoint or method. (GET /api/v1/models)"},
    {&engine_lmstudio, C, "lmstudio-v0-plain", "Hello there", "", 0, 0, 24, -1, 53, -1, -1, "stop", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v0-draft", "Hello there", "", 0, 0, 24, -1, 53, -1, -1, "length", true, NULL},
    {&engine_lmstudio, C, "lmstudio-v0-failed", "Hello there", "", 0, 0, 24, -1, 53, -1, -1, "error", true, "the prediction failed"},
};
/* clang-format on */

/* Each piece is a block of its own, so that a sanitizer sees a read beyond it. */
static void parse(const struct engine_ops *ops, const struct exchange *x, size_t cut, size_t piece, struct generated *g)
{
    generated_init(g);
    struct engine_parser *p = engine_parser_open(ops, x->stream, g);
    for (size_t at = 0, size = cut; at < x->n; at += size, size = piece) {
        size = size > x->n - at ? x->n - at : size;
        if (!size)
            continue;
        char *block = malloc(size);
        memcpy(block, x->body + at, size);
        engine_parser_bytes(p, block, size, T_NS);
        free(block);
    }
    engine_parser_end(p, T_NS + 1);
    engine_parser_close(p);
}

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

static bool as_expected(const struct generated *g, const struct expected *e)
{
    return !strcmp(text_of(&g->text), e->text) && !strcmp(text_of(&g->thinking), e->thinking) && g->n_token_ns == e->pieces &&
           g->tool_calls == e->calls && g->tokens.prompt == e->prompt && g->tokens.cached == e->cached &&
           g->tokens.generated == e->generated && g->tokens.reasoning == e->reasoning && g->processed_tokens == e->processed &&
           !strcmp(g->finish, e->finish) && g->done == e->done &&
           (e->error ? strstr(g->engine_error, e->error) != NULL : !g->engine_error[0]);
}

static void check(const struct expected *e, const struct exchange *x, size_t cut, size_t piece)
{
    struct generated g;
    parse(e->ops, x, cut, piece, &g);
    if (!as_expected(&g, e))
        fail_msg("%s as %s, cut %zu: \"%s\" (\"%s\"), %zu pieces, %zu calls, prompt %lld, cached %lld, generated %lld, reasoning "
                 "%lld, "
                 "processed %lld, finish \"%s\", done %d, error \"%s\"",
                 e->name, e->ops->name, cut, text_of(&g.text), text_of(&g.thinking), g.n_token_ns, g.tool_calls,
                 (long long)g.tokens.prompt, (long long)g.tokens.cached, (long long)g.tokens.generated,
                 (long long)g.tokens.reasoning, (long long)g.processed_tokens, g.finish, g.done, g.engine_error);
    generated_release(&g);
}

/* Byte by byte, and in two pieces at every byte; the longest every few bytes. */
static void answers_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        exchange_load_from(&x, rows[i].folder, rows[i].name);
        check(&rows[i], &x, 0, 1);
        for (size_t cut = 0; cut <= x.n; cut += x.n > 2500 ? 3 : 1)
            check(&rows[i], &x, cut, x.n + 1);
        exchange_release(&x);
    }
}

/* A stream cut before its last event is never taken for a whole one. */
static void cut_streams_are_not_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        struct generated g;
        exchange_load_from(&x, rows[i].folder, rows[i].name);
        const char *last = x.stream && rows[i].done && !rows[i].error
                               ? strstr(x.body, rows[i].ops == &engine_openai      ? "[DONE]"
                                                : rows[i].ops == &engine_anthropic ? "data: {\"type\":\"message_stop\""
                                                : rows[i].ops == &engine_lmstudio  ? "data: {\"type\":\"chat.end\""
                                                                                   : "event: response.completed")
                               : NULL;
        for (size_t n = 0; last && n < (size_t)(last - x.body); n += 7) {
            struct exchange begin = {.stream = true, .body = x.body, .n = n};
            parse(rows[i].ops, &begin, n, n + 1, &g);
            if (g.done || g.engine_error[0])
                fail_msg("%s cut at %zu is done", rows[i].name, n);
            generated_release(&g);
        }
        exchange_release(&x);
    }
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static const struct {
    const struct engine_ops *ops;
    const char *name;
    double queue_s, load_s, prompt_s, decode_s, rate;
    int64_t drafts, accepted;
    const char *draft_model, *runtime, *instance;
} times[] = {
    {&engine_openai, "vllm-metrics", 0.0015, NAN, 0.04025, 0.0805, 41.4, -1, -1, "", "", ""},
    {&engine_openai, "vllm-drafts", 0.0002, NAN, 0.01, 0.05, 480, 24, 15, "", "", ""},
    {&engine_openai, "groq-stream", 0.018, NAN, 0.005, 0.012, NAN, -1, -1, "", "", ""},
    {&engine_openai, "groq-plain", 0.018, NAN, 0.005, 0.012, NAN, -1, -1, "", "", ""},
    {&engine_openai, "openai-stream", NAN, NAN, NAN, NAN, NAN, -1, -1, "", "", ""},
    {&engine_lmstudio, "lmstudio-v1-load", NAN, 2.656, 0.111, NAN, 51.4, -1, -1, "", "", "qwen/qwen3-4b"},
    {&engine_lmstudio, "lmstudio-v1-stream", NAN, NAN, 0.111, NAN, 51.4, -1, -1, "", "", "qwen/qwen3-4b"},
    {&engine_lmstudio, "lmstudio-v0-plain", NAN, NAN, 0.111, 0.954, 51.43709529007664, -1, -1, "", "llama.cpp-linux-x86_64 1.3.0",
     ""},
    {&engine_lmstudio, "lmstudio-v0-draft", NAN, NAN, 0.111, 0.954, NAN, 40, 31, "small", "llama.cpp-linux-x86_64 1.3.0", ""},
};

static bool same(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) < 1e-12;
}

static void times_and_drafts(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(times); i++) {
        struct exchange x;
        struct generated g;
        exchange_load_from(&x, C, times[i].name);
        parse(times[i].ops, &x, 0, 100, &g);
        if (!same(g.server_queue_s, times[i].queue_s) || !same(g.server_load_s, times[i].load_s) ||
            !same(g.server_prompt_s, times[i].prompt_s) || !same(g.server_decode_s, times[i].decode_s) ||
            !same(g.server_rate, times[i].rate) || g.draft_tokens != times[i].drafts || g.draft_accepted != times[i].accepted ||
            strcmp(g.draft_model, times[i].draft_model) || strcmp(g.runtime, times[i].runtime) ||
            strcmp(g.instance, times[i].instance))
            fail_msg("%s: queue %g, load %g, prompt %g, decode %g s, rate %g, drafts %lld of %lld by \"%s\", runtime %s, "
                     "instance %s",
                     times[i].name, g.server_queue_s, g.server_load_s, g.server_prompt_s, g.server_decode_s, g.server_rate,
                     (long long)g.draft_accepted, (long long)g.draft_tokens, g.draft_model, g.runtime, g.instance);
        generated_release(&g);
        exchange_release(&x);
    }
}

/* A model that is loaded for the request: by the time that is told, else by that between the events. */
static void announced_load(void **state)
{
    (void)state;
    static const char *const ends[] = {"{\"type\":\"model_load.end\",\"load_time_seconds\":0.4}",
                                       "{\"type\":\"model_load.end\"}"};
    static const double expected_s[] = {0.4, 0.3};
    static const char start[] = "{\"type\":\"model_load.start\"}", text[] = "{\"type\":\"message.delta\",\"content\":\"a\"}",
                      over[] = "{\"type\":\"chat.end\",\"result\":{\"stats\":{\"total_output_tokens\":1}}}";
    for (size_t i = 0; i < JL_COUNT(ends); i++) {
        struct generated g;
        struct run_request q;
        generated_init(&g);
        run_request_init(&q);
        g.t_sent_ns = T_NS;
        engine_lmstudio.event(&g, start, strlen(start), T_NS + 100000000);
        engine_lmstudio.event(&g, ends[i], strlen(ends[i]), T_NS + 400000000);
        engine_lmstudio.event(&g, text, strlen(text), T_NS + 900000000);
        engine_lmstudio.event(&g, over, strlen(over), T_NS + 900000000);
        g.t_end_ns = T_NS + 900000000;
        engine_to_request(&g, &q);
        assert_true(same(q.server_load_s, expected_s[i]));
        assert_string_equal(q.windows[0].name, "load");
        assert_true(q.windows[0].end_ns - q.windows[0].start_ns == jl_ns(expected_s[i]));
        run_request_release(&q);
        generated_release(&g);
    }
}

/* v1 gives no reason for the end: what it must have been follows from the counts, or stays open. */
static void why_it_ended(void **state)
{
    (void)state;
    static const struct {
        int64_t most, context, prompt, made;
        bool other, seed;
        const char *finish;
    } cases[] = {
        {12, 100, 30, 12, false, false, "length"},
        {13, 100, 30, 12, false, false, ""}, /* LM Studio has been seen to count one less */
        {14, 100, 30, 12, false, false, "stop"},
        {-1, 100, 30, 12, false, false, "stop"},
        {-1, 42, 30, 12, false, false, ""},  /* the context is full */
        {-1, 43, 30, 12, false, false, ""},  /* but for one */
        {-1, -1, 30, 12, false, false, ""},  /* it may be */
        {50, 100, -1, 12, false, false, ""}, /* the same */
        {50, 100, 30, -1, false, false, ""},
        {50, 100, 30, 12, true, false, ""}, /* the context is that of another model */
        {50, 100, 30, 12, false, true, ""}, /* that is v0's, which tells it */
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct generated g;
        struct engine e = {.ops = &engine_lmstudio};
        const struct generation q = {.prompt = "hi",
                                     .max_tokens = cases[i].most,
                                     .context_length = -1,
                                     .seed = cases[i].seed ? 1 : -1,
                                     .model = cases[i].other ? "n" : "m"};
        snprintf(e.info.version, sizeof e.info.version, "REST v1");
        snprintf(e.info.model, sizeof e.info.model, "m");
        e.info.context_length = cases[i].context;
        generated_init(&g);
        g.tokens.prompt = cases[i].prompt;
        g.tokens.generated = cases[i].made;
        engine_lmstudio.conclude(&e, &q, &g);
        if (strcmp(g.finish, cases[i].finish))
            fail_msg("%zu: \"%s\"", i, g.finish);
        generated_release(&g);
    }
}

/* LM Studio announces the end of the prompt's processing before the first text; with tools it comes twice, and no boundary holds.
 */
static void announced_phases(void **state)
{
    (void)state;
    static const char *const events[] = {
        "{\"type\":\"prompt_processing.start\"}",
        "{\"type\":\"prompt_processing.end\"}",
        "{\"type\":\"message.delta\",\"content\":\"a\"}",
        "{\"type\":\"message.delta\",\"content\":\"b\"}",
    };
    for (int twice = 0; twice < 2; twice++) {
        struct generated g;
        struct run_request q;
        generated_init(&g);
        run_request_init(&q);
        g.t_sent_ns = T_NS;
        for (int64_t i = 0; i < 4 + 4 * twice; i++)
            engine_lmstudio.event(&g, events[i % 4], strlen(events[i % 4]), T_NS + (i + 1) * 1000000);
        g.done = true;
        g.t_end_ns = T_NS + 20000000;
        engine_to_request(&g, &q);
        if (twice) {
            assert_int_equal(q.n_windows, 1);
            assert_string_equal(q.windows[0].name, "generation");
            assert_null(q.phase_source);
        } else {
            assert_int_equal(q.n_windows, 2);
            assert_string_equal(q.phase_source, "engine events");
            assert_true(q.windows[0].end_ns == T_NS + 2000000 && q.windows[1].end_ns == T_NS + 4000000);
        }
        run_request_release(&q);
        generated_release(&g);
    }
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static void lists_of_lmstudio(void **state)
{
    (void)state;
    struct exchange x;
    struct engine_model *list;
    struct joulet_error err;
    size_t n;
    exchange_load_from(&x, C, "lmstudio-v1-models");
    assert_int_equal(lmstudio_read_models(x.body, x.n, &list, &n, &err), JOULET_OK);
    assert_int_equal(n, 3);
    assert_string_equal(list[0].name, "qwen/qwen3-4b");
    assert_true(list[0].loaded && list[0].loaded_context == 8192 && list[0].context_length == 40960);
    assert_true(list[0].bytes == 2497281152 && list[0].params == 4000000000);
    assert_string_equal(list[0].runtime, "llama.cpp");
    assert_string_equal(list[0].quantisation, "Q4_K_M");
    assert_string_equal(list[0].architecture, "qwen3");
    assert_string_equal(list[0].capabilities, "completion tools thinking");
    assert_true(!list[1].loaded && list[1].params == -1 && list[1].loaded_context == -1);
    assert_string_equal(list[1].runtime, "mlx");
    assert_string_equal(list[2].capabilities, "embedding");
    free(list);
    exchange_release(&x);
    exchange_load_from(&x, C, "lmstudio-v0-models");
    assert_int_equal(lmstudio_read_models(x.body, x.n, &list, &n, &err), JOULET_OK);
    assert_int_equal(n, 2);
    assert_true(list[0].loaded && !list[1].loaded);
    assert_string_equal(list[1].capabilities, "completion vision");
    free(list);
    exchange_release(&x);
    static const char *const others[] = {
        "",
        "{}",
        "[]",
        "{\"data\":[{\"id\":\"m\",\"owned_by\":\"vllm\"}]}",
        "{\"data\":[]}",
        "{\"models\":[{\"name\":\"llama\"}]}", /* Ollama's */
        "{\"error\":\"Unexpected endpoint or method. (GET /api/v1/models)\"}",
        "<html>",
    };
    for (size_t i = 0; i < JL_COUNT(others); i++)
        assert_int_equal(lmstudio_read_models(others[i], strlen(others[i]), &list, &n, &err), JOULET_FORMAT);
}

/* ---- requests ---------------------------------------------------------------------------------------------------- */

#define ASKED                                                                                                                    \
    .model = "m", .max_tokens = 8, .context_length = -1, .top_k = -1, .seed = -1, .temperature = NAN, .top_p = NAN,              \
    .min_p = NAN, .repeat_penalty = NAN

#define TOOL "[{\"type\":\"function\",\"function\":{\"name\":\"weather\",\"parameters\":{\"type\":\"object\"}}}]"

static const char *const stops[] = {"END"};

static const struct {
    const struct engine_ops *ops;
    const char *version;
    struct generation q;
    const char *path, *body; /* path NULL: refused, and body is in the sentence */
} bodies[] = {
    {&engine_anthropic,
     "",
     {.prompt = "hi", ASKED, .system = "be brief", .stop = stops, .n_stop = 1},
     "/v1/messages",
     "{\"model\":\"m\",\"stream\":true,\"max_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"system\":\"be "
     "brief\",\"stop_sequences\":[\"END\"]}"},
    {&engine_anthropic,
     "",
     {.prompt = "hi", ASKED, .thinking = THINKING_ON, .thinking_budget = 2000, .tools_json = TOOL},
     "/v1/messages",
     "{\"model\":\"m\",\"stream\":true,\"thinking\":{\"type\":\"enabled\",\"budget_tokens\":2000},\"max_tokens\":2008,"
     "\"messages\":[{"
     "\"role\":\"user\",\"content\":\"hi\"}],\"tools\":[{\"name\":\"weather\",\"input_schema\":{\"type\":\"object\"}}]}"},
    {&engine_anthropic,
     "",
     {.prompt = "hi", ASKED, .raw = true},
     NULL,
     "the protocol anthropic has no way to send a text without"},
    {&engine_responses,
     "",
     {.prompt = "hi", ASKED, .thinking = THINKING_LOW, .tools_json = TOOL},
     "/v1/responses",
     "{\"model\":\"m\",\"stream\":true,\"store\":false,\"max_output_tokens\":8,\"reasoning\":{\"effort\":\"low\"},\"tools\":[{"
     "\"name\":"
     "\"weather\",\"parameters\":{\"type\":\"object\"},\"type\":\"function\"}],\"input\":[{\"role\":\"user\",\"content\":\"hi\"}]"
     "}"},
    {&engine_responses, "", {.prompt = "hi", ASKED, .stop = stops, .n_stop = 1}, NULL, "the protocol responses has no stop text"},
    {&engine_lmstudio,
     "REST v1",
     {.prompt = "hi", ASKED, .system = "be brief", .thinking = THINKING_OFF},
     "/api/v1/chat",
     "{\"model\":\"m\",\"stream\":true,\"store\":false,\"max_output_tokens\":8,\"reasoning\":\"off\",\"system_prompt\":\"be "
     "brief\",\"input\":\"hi\"}"},
    {&engine_lmstudio,
     "REST v1",
     {.prompt = "hi", ASKED, .stop = stops, .n_stop = 1},
     "/api/v0/chat/completions",
     "{\"model\":\"m\",\"stream\":false,\"max_tokens\":8,\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"stop\":[\"END\"]"
     "}"},
    {&engine_lmstudio,
     "REST v0",
     {.prompt = "hi", ASKED, .raw = true, .keep_alive = "5m"},
     "/api/v0/completions",
     "{\"model\":\"m\",\"stream\":false,\"max_tokens\":8,\"ttl\":300,\"prompt\":\"hi\"}"},
    {&engine_lmstudio, "REST v0", {.prompt = "hi", ASKED, .thinking = THINKING_ON}, NULL, "has no switch for thinking"},
    {&engine_openai,
     "",
     {.prompt = "hi", ASKED, .thinking = THINKING_HIGH},
     "/v1/chat/completions",
     "{\"model\":\"m\",\"stream\":true,\"stream_options\":{\"include_usage\":true},\"max_tokens\":8,\"chat_template_kwargs\":{"
     "\"enable_"
     "thinking\":true},\"reasoning_effort\":\"high\",\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}]}"},
};

static void what_is_sent(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(bodies); i++) {
        char url[] = "http://127.0.0.1:1";
        struct engine e = {.ops = bodies[i].ops, .url = url};
        struct joulet_error err = {.status = JOULET_OK};
        struct jl_buf body;
        const char *path = NULL;
        jl_buf_init(&body, 0);
        snprintf(e.info.version, sizeof(e.info.version), "%s", bodies[i].version);
        enum joulet_status status = e.ops->request(&e, &bodies[i].q, &path, &body, &err);
        if (!bodies[i].path) {
            assert_int_equal(status, JOULET_ENGINE);
            assert_non_null(strstr(err.message, bodies[i].body));
        } else {
            assert_int_equal(status, JOULET_OK);
            assert_string_equal(path, bodies[i].path);
            assert_string_equal(body.data, bodies[i].body);
        }
        jl_buf_release(&body);
    }
}

/* ---- services ---------------------------------------------------------------------------------------------------- */

static void keys_go_to_their_own_host(void **state)
{
    (void)state;
    static const struct {
        const char *url, *name;
    } at[] = {
        {"https://api.openai.com", "openai-api"},
        {"https://API.groq.com/openai", "groq"},
        {"api.anthropic.com", "anthropic"},
        {"https://api.openai.com:443/v1", "openai-api"},
        {"https://api.openai.com.example.org", NULL},
        {"https://example.org/api.openai.com", NULL},
        {"https://api.openai.com@example.org", NULL},
        {"https://example.org?api.openai.com", NULL},
        {"https://xapi.openai.com", NULL},
        {"http://127.0.0.1:8080", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < JL_COUNT(at); i++) {
        const struct engine_cloud *c = engine_cloud_at(at[i].url);
        if (at[i].name ? !c || strcmp(c->name, at[i].name) : c != NULL)
            fail_msg("%s is taken for %s", at[i].url, c ? c->name : "no service");
    }
    struct engine *e;
    struct joulet_error err;
    assert_int_equal(engine_open(&e, "http://api.openai.com/v1", "secret", NULL, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "would travel unencrypted"));
    assert_null(strstr(err.message, "secret"));
    assert_int_equal(engine_open_as(&e, "http://127.0.0.1:1", NULL, "gopher", NULL, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "there is no protocol \"gopher\": it is one of llama.cpp, "));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(answers_in_any_cut),
        cmocka_unit_test(cut_streams_are_not_done),
        cmocka_unit_test(times_and_drafts),
        cmocka_unit_test(announced_phases),
        cmocka_unit_test(announced_load),
        cmocka_unit_test(why_it_ended),
        cmocka_unit_test(lists_of_lmstudio),
        cmocka_unit_test(what_is_sent),
        cmocka_unit_test(keys_go_to_their_own_host),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
