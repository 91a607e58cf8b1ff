/* Every recorded exchange with a real llama-server through the parsers: the same result for any cut of its bytes. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine_wire.h"
#include "llm/engines/engines.h"
#include "tests/llm/exchange.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T_NS 1000000000
#ifdef SANITIZED
#define SPAN ((size_t)2048)
#else
#define SPAN SIZE_MAX
#endif

struct expected {
    const char *name;
    int status;
    bool stream;
    const char *text;
    size_t pieces; /* of a stream */
    int64_t prompt, cached, generated, processed;
    double prompt_ms, predicted_ms; /* NAN: not told */
    const char *finish;
    bool done;
    const char *error, *type; /* part of the words; NULL: none */
};

#define NOTHING -1, -1, -1, -1, NAN, NAN
#define FOZA    " foza foza foza foza foza foza foza foza foza foza"

/* clang-format off */
static const struct expected rows[] = {
    {"apply-template", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"chat", 200, false, " coba fola fola fola fola dica dica dica dica dica dica dica", 0, 66, 1, 12, 65, 11.356, 4.409,
     "length", true, NULL, NULL},
    {"chat-n2", 200, false, " coba fola fola fola", 0, 66, 65, 4, 1, 0.52, 2.605, "length", true, NULL, NULL},
    {"chat-stream", 200, true, " coba fola fola fola fola doga doga doga doga doga doga doga", 12, 66, 65, 12, 1, 0.749, 4.66,
     "length", true, NULL, NULL},
    {"chat-stream-usage-timings", 200, true, " coba fola fola fola fola doga doga doga doga doga doga doga", 12, 66, 65, 12, 1,
     0.603, 4.555, "length", true, NULL, NULL},
    {"completion", 200, false, ".. ruva ruva ruva ruva ruva ruva ruva ruva ruva ruva", 0, 25, 0, 12, 25, 4.308, 2.915, "length",
     true, NULL, NULL},
    {"completion-cached", 200, false, ".. ruva ruva ruva ruva ruva ruva ruva ruva ruva ruva", 0, 25, 24, 12, 1, 0.286, 2.781,
     "length", true, NULL, NULL},
    {"completion-loading", 503, false, "", 0, NOTHING, "error", false, "Loading model", "unavailable_error"},
    {"completion-one-token", 200, false, ".", 0, 25, 0, 1, 25, 6.195, 0.001, "length", true, NULL, NULL},
    {"completion-stop-word", 200, false, ".. ruv", 0, 25, 0, 3, 25, 4.645, 0.863, "stop", true, NULL, NULL},
    {"completion-stream", 200, true, ".. ruva ruva ruva ruva ruva ruva ruva ruva ruva ruva", 12, 25, 0, 12, 25, 3.575, 3.348,
     "length", true, NULL, NULL},
    {"completion-stream-progress", 200, true, " taka taka taka taka", 4, 1441, 0, 4, 1441, 370.878, 11.338, "length", true, NULL,
     NULL},
    {"completion-stream-timings", 200, true, ".. ruva ruva ruva ruva ruva ruva ruva ruva ruva ruva", 12, 25, 0, 12, 25, 4.909,
     3.432, "length", true, NULL, NULL},
    {"completion-with-key", 200, false, "..", 0, 25, 0, 2, 25, 4.405, 0.433, "length", true, NULL, NULL},
    {"completion-zero-tokens", 200, false, ".", 0, 25, 0, 1, 25, 4.52, 0.001, "length", true, NULL, NULL},
    {"concurrent-a", 200, true, FOZA FOZA FOZA FOZA, 40, 509, 32, 40, 477, 94.055, 189.504, "length", true, NULL, NULL},
    {"concurrent-b", 200, true, FOZA FOZA FOZA FOZA, 40, 509, 32, 40, 477, 98.671, 91.636, "length", true, NULL, NULL},
    {"detokenize", 200, false, "6dlu", 0, NOTHING, "", false, NULL, NULL},
    {"error-bad-json", 400, false, "", 0, NOTHING, "error", false, "[json.exception.parse_error.101]", "invalid_request_error"},
    {"error-chat-bad-json", 400, false, "", 0, NOTHING, "error", false, "invalid literal; last read: 'no'",
     "invalid_request_error"},
    {"error-embeddings-off", 501, false, "", 0, NOTHING, "error", false, "does not support embeddings", "not_supported_error"},
    {"error-metrics-off", 501, false, "", 0, NOTHING, "error", false, "does not support metrics endpoint", "not_supported_error"},
    {"error-no-key", 401, false, "", 0, NOTHING, "error", false, "Invalid API Key", "authentication_error"},
    {"error-no-messages", 400, false, "", 0, NOTHING, "error", false, "'messages' is required", "invalid_request_error"},
    {"error-no-prompt", 400, false, "", 0, NOTHING, "error", false, "key 'prompt' not found", "invalid_request_error"},
    {"error-prompt-too-long", 400, false, "", 0, NOTHING, "error", false, "request (12002 tokens) exceeds",
     "exceed_context_size_error"},
    {"error-prompt-too-long-stream", 400, false, "", 0, NOTHING, "error", false, "request (12021 tokens) exceeds",
     "exceed_context_size_error"},
    {"error-unknown-route", 404, false, "", 0, NOTHING, "error", false, "File Not Found", "not_found_error"},
    {"error-wrong-method", 404, false, "", 0, NOTHING, "error", false, "File Not Found", "not_found_error"},
    {"error-wrong-type", 400, false, "", 0, NOTHING, "error", false, "type must be number, but is string",
     "invalid_request_error"},
    {"health", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"health-loading", 503, false, "", 0, NOTHING, "error", false, "Loading model", "unavailable_error"},
    {"health-with-key-set", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"metrics-after", 200, false, "", 0, NOTHING, "error", false, "not a JSON object but \"# HELP llamacpp:", "malformed"},
    {"metrics-before", 200, false, "", 0, NOTHING, "error", false, "not a JSON object but \"# HELP llamacpp:", "malformed"},
    {"ollama-chat", 404, false, "", 0, NOTHING, "error", false, "File Not Found", "not_found_error"},
    {"ollama-tags", 404, false, "", 0, NOTHING, "error", false, "File Not Found", "not_found_error"},
    {"props", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"slots-busy", 200, false, "", 0, NOTHING, "error", false, "not a JSON object but \"[{'id':0", "malformed"},
    {"slots-idle", 200, false, "", 0, NOTHING, "error", false, "not a JSON object but \"[{'id':0", "malformed"},
    {"slots-off", 501, false, "", 0, NOTHING, "error", false, "does not support slots endpoint", "not_supported_error"},
    {"tokenize", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"v1-completions", 200, false, ".. ruva ruva ruva ruva ruva ruva", 0, 25, 24, 8, 1, 0.351, 2.184, "length", true, NULL, NULL},
    {"v1-completions-stream", 200, true, ".. ruva ruva ruva ruva ruva ruva", 8, 25, 24, 8, 1, 0.404, 2.329, "length", true, NULL,
     NULL},
    {"v1-messages-stream", 200, true, "", 0, NOTHING, "", false, NULL, NULL},
    {"v1-models", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
    {"v1-models-loading", 503, false, "", 0, NOTHING, "error", false, "Loading model", "unavailable_error"},
    {"v1-responses", 200, false, "", 0, NOTHING, "", false, NULL, NULL},
};
/* clang-format on */

/* ---- parsing in pieces ------------------------------------------------------------------------------------------- */

/* Each piece is a block of its own, so that a sanitizer sees a read beyond it. */
static void feed(struct engine_parser *p, const char *bytes, size_t n)
{
    if (n == 0)
        return;
    char *piece = malloc(n);
    memcpy(piece, bytes, n);
    engine_parser_bytes(p, piece, n, T_NS);
    free(piece);
}

/* In pieces: the first of `cut` bytes, those after it of `piece` bytes. */
static void parse(const struct engine_ops *ops, const struct exchange *x, size_t cut, size_t piece, struct generated *g)
{
    generated_init(g);
    struct engine_parser *p = engine_parser_open(ops, x->stream, g);
    feed(p, x->body, cut);
    for (size_t i = cut, n; i < x->n; i += n) {
        n = x->n - i < piece ? x->n - i : piece;
        feed(p, x->body + i, n);
    }
    engine_parser_end(p, T_NS + 1);
    engine_parser_close(p);
}

static bool same_number(double a, double b)
{
    return (isnan(a) && isnan(b)) || fabs(a - b) <= 1e-9 * fabs(b);
}

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

static bool as_expected(const struct generated *g, const struct expected *e)
{
    return strcmp(text_of(&g->text), e->text) == 0 && g->thinking.len == 0 && g->n_token_ns == e->pieces &&
           g->tokens.prompt == e->prompt && g->tokens.cached == e->cached && g->tokens.generated == e->generated &&
           g->processed_tokens == e->processed && same_number(g->server_prompt_s, e->prompt_ms / 1e3) &&
           same_number(g->server_decode_s, e->predicted_ms / 1e3) && strcmp(g->finish, e->finish) == 0 && g->done == e->done &&
           !g->truncated && (e->error ? strstr(g->engine_error, e->error) != NULL : g->engine_error[0] == '\0') &&
           (!e->type || strcmp(g->error_type, e->type) == 0);
}

static void complain(const char *how, const struct expected *e, size_t cut, const struct generated *g)
{
    fail_msg("%s, %s, cut %zu: \"%s\", %zu pieces, prompt %lld, cached %lld, generated %lld, processed %lld, %g s, %g s, finish "
             "\"%s\", done "
             "%d, error \"%s\" (%s)",
             e->name, how, cut, text_of(&g->text), g->n_token_ns, (long long)g->tokens.prompt, (long long)g->tokens.cached,
             (long long)g->tokens.generated, (long long)g->processed_tokens, g->server_prompt_s, g->server_decode_s, g->finish,
             g->done, g->engine_error, g->error_type);
}

static void check_cut(const struct engine_ops *ops, const struct expected *e, const struct exchange *x, size_t cut, size_t piece)
{
    struct generated g;
    parse(ops, x, cut, piece, &g);
    if (!as_expected(&g, e))
        complain(ops->name, e, cut, &g);
    generated_release(&g);
}

/* Byte by byte, and in two pieces at every byte. The time of the latter grows with the square of the length: sanitized, an
 * exchange longer than SPAN is cut every SPAN bytes instead, from every beginning, so that each byte still is a cut once. */
static void check_all_cuts(const struct engine_ops *ops, const struct expected *e, const struct exchange *x)
{
    size_t piece = SPAN < x->n ? SPAN : x->n;
    check_cut(ops, e, x, 0, 1);
    for (size_t cut = 0; cut <= piece; cut++)
        check_cut(ops, e, x, cut, piece ? piece : 1);
}

/* The longest have a test of their own each: `part` is its argument. */
static const char *part = "";

static bool in_part(const char *name)
{
    bool longest = jl_starts(name, "concurrent") || jl_starts(name, "chat-stream-usage");
    return *part ? strcmp(name, part) == 0 : !longest;
}

static void llamacpp_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        if (!in_part(rows[i].name))
            continue;
        exchange_load(&x, rows[i].name);
        assert_int_equal(x.status, rows[i].status);
        assert_int_equal(x.stream, rows[i].stream);
        check_all_cuts(&engine_llamacpp, &rows[i], &x);
        exchange_release(&x);
    }
}

/* The /v1 answers of the same server, read as those of any /v1 server. */
static void openai_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        if (!in_part(rows[i].name))
            continue;
        if (!jl_starts(rows[i].name, "chat") && !jl_starts(rows[i].name, "v1-") && !jl_starts(rows[i].name, "error-"))
            continue;
        exchange_load(&x, rows[i].name);
        check_all_cuts(&engine_openai, &rows[i], &x);
        exchange_release(&x);
    }
}

/* A stream cut before its end, wherever, is never taken for a whole one, and what is read of it is a beginning of the whole. */
static void cut_streams_are_not_done(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        struct generated g;
        if (!rows[i].stream || !rows[i].done || !in_part(rows[i].name))
            continue;
        exchange_load(&x, rows[i].name);
        const char *last = strstr(x.body, "[DONE]");
        size_t end = last ? (size_t)(last - x.body) : x.n - 3; /* the last event without its line end is whole */
        for (size_t n = 0; n<end; n += end> SPAN ? 31 : 1) {
            struct exchange begin = {.stream = true, .body = x.body, .n = n};
            parse(&engine_llamacpp, &begin, n / 2, SIZE_MAX, &g);
            if (g.done || g.engine_error[0] || strncmp(rows[i].text, text_of(&g.text), g.text.len) != 0)
                complain("cut off", &rows[i], n, &g);
            generated_release(&g);
        }
        exchange_release(&x);
    }
}

/* ---- recognition ------------------------------------------------------------------------------------------------- */

static void properties(void **state)
{
    (void)state;
    struct exchange x;
    struct engine_info info = {.slots = -1};
    exchange_load(&x, "props");
    assert_true(llamacpp_read_props(x.body, x.n, &info));
    assert_string_equal(info.version, "b11669-Debian");
    assert_string_equal(info.model, "joulet-tiny");
    assert_string_equal(info.model_path, "tiny-q8_0.gguf");
    assert_int_equal(info.context_length, 2048);
    assert_int_equal(info.slots, 2);
    exchange_release(&x);
    static const char *const others[] = {"health",     "v1-models",     "health-loading",
                                         "slots-idle", "metrics-after", "error-unknown-route"};
    for (size_t i = 0; i < JL_COUNT(others); i++) {
        exchange_load(&x, others[i]);
        assert_false(llamacpp_read_props(x.body, x.n, &info));
        exchange_release(&x);
    }
}

static void model_list(void **state)
{
    (void)state;
    struct exchange x;
    struct engine_model *list;
    struct joulet_error err;
    size_t n;
    exchange_load(&x, "v1-models");
    assert_int_equal(wire_models(x.body, x.n, &list, &n, &err), JOULET_OK);
    assert_int_equal(n, 1);
    assert_string_equal(list[0].name, "joulet-tiny");
    assert_int_equal(list[0].bytes, 4744192);
    assert_int_equal(list[0].params, 4458752);
    assert_int_equal(list[0].context_length, 8192);
    assert_int_equal(list[0].loaded_context, 2048);
    assert_true(list[0].loaded);
    free(list);
    exchange_release(&x);
    exchange_load(&x, "health");
    assert_int_equal(wire_models(x.body, x.n, &list, &n, &err), JOULET_FORMAT);
    assert_null(list);
    exchange_release(&x);
}

static void slots(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        int busy;
    } cases[] = {{"slots-busy", 1}, {"slots-idle", 0}, {"slots-off", -1}, {"health", -1}, {"metrics-after", -1}};
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct exchange x;
        exchange_load(&x, cases[i].name);
        assert_int_equal(llamacpp_read_slots(x.body, x.n), cases[i].busy);
        exchange_release(&x);
    }
}

static void too_long_tells_its_size(void **state)
{
    (void)state;
    struct exchange x;
    struct generated g;
    exchange_load(&x, "error-prompt-too-long");
    parse(&engine_llamacpp, &x, 0, SIZE_MAX, &g);
    assert_int_equal(g.error_prompt_tokens, 12002);
    assert_int_equal(g.error_context, 2048);
    generated_release(&g);
    exchange_release(&x);
}

int main(int argc, char **argv)
{
    part = argc > 1 ? argv[1] : "";
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(llamacpp_in_any_cut),
        cmocka_unit_test(openai_in_any_cut),
        cmocka_unit_test(cut_streams_are_not_done),
        cmocka_unit_test(properties),
        cmocka_unit_test(model_list),
        cmocka_unit_test(slots),
        cmocka_unit_test(too_long_tells_its_size),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
