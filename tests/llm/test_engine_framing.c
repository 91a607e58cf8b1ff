/* Lines into events, for every cut; what the events of a stream may look like besides the recorded ones. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine_framing.h"
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- framing alone ----------------------------------------------------------------------------------------------- */

static void collect(void *user, enum frame_kind kind, const char *bytes, size_t n)
{
    struct jl_buf *b = user;
    jl_buf_printf(b, "%c<%.*s>", kind == FRAME_DATA ? 'D' : kind == FRAME_ERROR ? 'E' : 'T', (int)n, bytes);
}

static const struct {
    const char *name;
    enum engine_framing how;
    const char *in, *out;
} framings[] = {
    {"plain", ENGINE_SSE, "data: a\n\ndata: b\n\n", "D<a>D<b>"},
    {"crlf", ENGINE_SSE, "data: a\r\n\r\ndata: b\r\n\r\n", "D<a>D<b>"},
    {"cr", ENGINE_SSE, "data: a\r\rdata: b\r\r", "D<a>D<b>"},
    {"several lines", ENGINE_SSE, "data: a\ndata: b\n\n", "D<a\nb>"},
    {"no blank after the colon", ENGINE_SSE, "data:a\n\n", "D<a>"},
    {"one blank only", ENGINE_SSE, "data:  a\n\n", "D< a>"},
    {"no colon", ENGINE_SSE, "data\n\n", "D<>"},
    {"empty data", ENGINE_SSE, "data:\ndata: x\n\n", "D<\nx>"},
    {"comments", ENGINE_SSE, ": ping\n\n:\n\ndata: a\n: ping\n\n", "D<a>"},
    {"other fields", ENGINE_SSE, "event: x\nid: 3\nretry: 5\ndata: a\n\n", "D<a>"},
    {"names are whole", ENGINE_SSE, "database: x\n\ndat: y\n\n", ""},
    {"error line", ENGINE_SSE, "data: a\n\nerror: {\"code\":5}\n\n", "D<a>E<{\"code\":5}>"},
    {"byte order mark", ENGINE_SSE,
     "\xef\xbb\xbf"
     "data: a\n\n",
     "D<a>"},
    {"no last blank line", ENGINE_SSE, "data: a\n\ndata: b\n", "D<a>T<b>"},
    {"no last line end", ENGINE_SSE, "data: a\n\ndata: b", "D<a>T<b>"},
    {"cut in a name", ENGINE_SSE, "data: a\n\nda", "D<a>"},
    {"nothing", ENGINE_SSE, "", ""},
    {"blank lines", ENGINE_SSE, "\n\n\r\n\n", ""},
    {"lines", ENGINE_LINES, "{\"a\":1}\n{\"b\":2}\n", "D<{\"a\":1}>D<{\"b\":2}>"},
    {"lines, blank ones between", ENGINE_LINES, "\n{}\n\n{}\n", "D<{}>D<{}>"},
    {"lines, the last open", ENGINE_LINES, "{}\n{\"a\"", "D<{}>T<{\"a\">"},
};

static void frames_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(framings); i++) {
        size_t n = strlen(framings[i].in);
        for (size_t cut = 0; cut <= n + 1; cut++) { /* n + 1: byte by byte */
            struct framing f;
            struct jl_buf got;
            jl_buf_init(&got, 4096);
            framing_init(&f, framings[i].how, collect, &got);
            for (size_t at = 0; cut > n && at < n; at++)
                framing_bytes(&f, framings[i].in + at, 1);
            if (cut <= n) {
                framing_bytes(&f, framings[i].in, cut);
                framing_bytes(&f, framings[i].in + cut, n - cut);
            }
            framing_end(&f);
            if (strcmp(got.data ? got.data : "", framings[i].out) != 0)
                fail_msg("%s, cut %zu: %s", framings[i].name, cut, got.data);
            framing_release(&f);
            jl_buf_release(&got);
        }
    }
}

static void long_lines_end_it(void **state)
{
    (void)state;
    static const struct {
        enum engine_framing how;
        const char *head, *more;
    } cases[] = {{ENGINE_SSE, "data: ", "x"}, {ENGINE_LINES, "{", "x"}, {ENGINE_SSE, "data: a\n", "data: xxxxxxxxxxxxxxx\n"}};
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct framing f;
        struct jl_buf got, more;
        jl_buf_init(&got, 4096);
        jl_buf_init(&more, 1 << 20);
        while (more.len < 65536)
            jl_buf_str(&more, cases[i].more);
        framing_init(&f, cases[i].how, collect, &got);
        framing_bytes(&f, cases[i].head, strlen(cases[i].head));
        for (size_t sent = 0; sent < FRAMING_MAX * 2; sent += more.len)
            framing_bytes(&f, more.data, more.len);
        assert_true(f.overflow);
        framing_bytes(&f, "\n\ndata: b\n\n", 11);
        framing_end(&f);
        assert_int_equal(got.len, 0);
        framing_release(&f);
        jl_buf_release(&got);
        jl_buf_release(&more);
    }
}

/* ---- events ------------------------------------------------------------------------------------------------------ */

struct row {
    const char *name;
    const struct engine_ops *ops;
    bool stream;
    const char *in;
    const char *text, *thinking;
    size_t pieces;
    int64_t prompt, cached, generated, reasoning;
    const char *finish;
    bool done, truncated;
    const char *error; /* part of it; NULL none */
};

#define L      &engine_llamacpp
#define O      &engine_openai
#define UNTOLD -1, -1, -1, -1

/* clang-format off */
static const struct row rows[] = {
    {"role and empty pieces are no tokens", O, true,
     "data: {\"choices\":[{\"index\":0,\"delta\":{\"role\":\"assistant\",\"content\":\"\"}}]}\n\n"
     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":null}}]}\n\n"
     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", "a", "", 1, UNTOLD, "", true, false,
     NULL},
    {"usage null, then usage", O, true,
     "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"a\"}}],\"usage\":null,\"obfuscation\":\"xyz\"}\n\n"
     "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":null}\n\n" "data: "
     "{\"choices\":[],\"usage\":{\"prompt_tokens\":7,\"completion_tokens\":3,\"prompt_tokens_details\":{\"cached_tokens\":4},"
     "\"completion_tokens_details\":{\"reasoning_tokens\":2}}}\n\ndata: [DONE]\n\n", "a", "", 1, 7, 4, 3, 2, "stop", true, false,
     NULL},
    {"reasoning_content", O, true, "data: {\"choices\":[{\"delta\":{\"reasoning_content\":\"hm\"}}]}\n\ndata: "
     "{\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n", "a", "hm", 2, UNTOLD, "", true, false, NULL},
    {"reasoning", O, true, "data: {\"choices\":[{\"delta\":{\"reasoning\":\"hm\",\"content\":\"\"}}]}\n\ndata: [DONE]\n\n", "",
     "hm", 1, UNTOLD, "", true, false, NULL},
    {"tool calls", O, true, "data: {\"choices\":[{\"delta\":{\"tool_calls\":[{\"index\":0,\"function\":{\"name\":\"f\"}}]}}]}\n\n"
     "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"tool_calls\"}]}\n\ndata: [DONE]\n\n", "", "", 1, UNTOLD, "tool", true,
     false, NULL},
    {"one choice of several", O, true,
     "data: {\"choices\":[{\"index\":1,\"delta\":{\"content\":\"b\"}},{\"index\":0,\"delta\":{\"content\":\"a\"}}]}\n\ndata: "
     "[DONE]\n\n", "a", "", 1, UNTOLD, "", true, false, NULL},
    {"ends without [DONE]", O, true, "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "a", "", 1, UNTOLD, "", false,
     false, NULL},
    {"nothing is read after [DONE]", O, true, "data: [DONE]\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\n", "", "",
     0, UNTOLD, "", true, false, NULL},
    {"error in mid-stream", O, true,
     "data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: {\"error\":{\"message\":\"decode "
     "failed\",\"type\":\"server_error\"}}\n\n" "data: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: [DONE]\n\n", "a",
     "", 1, UNTOLD, "error", false, false, "decode failed"},
    {"error line", L, true, "data: {\"content\":\"a\",\"stop\":false}\n\nerror: {\"code\":500,\"message\":\"slot lost\"}\n\n",
     "a", "", 1, UNTOLD, "error", false, false, "slot lost"},
    {"error line with an error object", L, true, "error: {\"error\":{\"message\":\"slot lost\"}}\n\n", "", "", 0, UNTOLD, "error",
     false, false, "slot lost"},
    {"error line that is no JSON", L, true, "error: it broke\n\n", "", "", 0, UNTOLD, "error", false, false, "it broke"},
    {"error as text", O, false, "{\"error\":\"Unexpected endpoint or method. (POST /v1/x)\"}", "", "", 0, UNTOLD, "error", false,
     false, "Unexpected endpoint"},
    {"error at the top", O, false, "{\"object\":\"error\",\"message\":\"no such model\",\"type\":\"NotFoundError\",\"code\":404}",
     "", "", 0, UNTOLD, "error", false, false, "no such model"},
    {"error as detail", O, false, "{\"detail\":\"Not Found\"}", "", "", 0, UNTOLD, "error", false, false, "Not Found"},
    {"error without message", O, false, "{\"error\":{\"code\":7}}", "", "", 0, UNTOLD, "error", false, false, "{\"code\":7"},
    {"error with control characters", O, false, "{\"error\":\"a\\u001b[31mb\\u0000c\\u009bd\"}", "", "", 0, UNTOLD, "error",
     false, false, "a [31mb c  d"},
    {"error null is none", O, true, "data: {\"error\":null,\"choices\":[{\"delta\":{\"content\":\"a\"}}]}\n\ndata: [DONE]\n\n",
     "a", "", 1, UNTOLD, "", true, false, NULL},
    {"half an object", O, true, "data: {\"choices\":[\n\ndata: [DONE]\n\n", "", "", 0, UNTOLD, "error", false, false,
     "not a JSON object but"},
    {"bytes that are not UTF-8", L, true, "data: {\"content\":\"\xff\xfe\"}\n\n", "", "", 0, UNTOLD, "error", false, false,
     "not a JSON object but \"{'content':'\?\?'}\""},
    {"a web page", L, false, "<!doctype html>\n<p>hi", "", "", 0, UNTOLD, "error", false, false, "\"<!doctype html> <p>hi\""},
    {"UTF-8 text", L, true, "data: {\"content\":\"\xc3\xa4\xe2\x82\xac\"}\n\ndata: {\"content\":\"\\u00e4\",\"stop\":true}\n\n",
     "\xc3\xa4\xe2\x82\xac\xc3\xa4", "", 2, UNTOLD, "", true, false, NULL},
    {"integers that overflow", L, true,
     "data: {\"content\":\"a\",\"stop\":true,\"generation_settings\":{\"seed\":18446744073709551615},\"tokens_predicted\":1}\n\n",
     "a", "", 1, -1, -1, 1, -1, "", true, false, NULL},
    {"counts that are none", L, true, "data: "
     "{\"content\":\"a\",\"stop\":true,\"tokens_predicted\":-4,\"tokens_evaluated\":2.5,\"timings\":{\"cache_n\":\"x\",\"prompt_"
     "n\":1e300," "\"predicted_n\":null,\"prompt_ms\":-1,\"predicted_ms\":\"y\"}}\n\n", "a", "", 1, UNTOLD, "", true, false,
     NULL},
    {"members of other types", L, true,
     "data: {\"content\":[1],\"stop\":\"true\",\"choices\":{},\"usage\":3,\"timings\":[],\"truncated\":1}\n\n", "", "", 0, UNTOLD,
     "", false, false, NULL},
    {"truncated", L, true, "data: {\"content\":\"\",\"stop\":true,\"stop_type\":\"eos\",\"truncated\":true}\n\n", "", "", 0,
     UNTOLD, "stop", true, true, NULL},
    {"old timings without cache_n", L, true, "data: "
     "{\"content\":\"a\",\"stop\":true,\"tokens_evaluated\":9,\"timings\":{\"prompt_n\":5,\"predicted_n\":1,\"prompt_ms\":1,"
     "\"predicted_ms\":1}}\n\n", "a", "", 1, 9, -1, 1, -1, "", true, false, NULL},
    {"whole chat", O, false,
     "{\"choices\":[{\"index\":0,\"message\":{\"content\":\"a\",\"reasoning_content\":\"hm\"},\"finish_reason\":\"stop\"}],"
     "\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":1,\"reasoning_tokens\":1}}", "a", "hm", 0, 2, -1, 1, 1, "stop", true,
     false, NULL},
    {"finish words of others", O, false, "{\"choices\":[{\"message\":{\"content\":\"a\"},\"finish_reason\":\"content_filter\"}]}",
     "a", "", 0, UNTOLD, "content_filter", true, false, NULL},
};
/* clang-format on */

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

static bool as_expected(const struct generated *g, const struct row *e)
{
    return strcmp(text_of(&g->text), e->text) == 0 && strcmp(text_of(&g->thinking), e->thinking) == 0 &&
           g->n_token_ns == e->pieces && g->tokens.prompt == e->prompt && g->tokens.cached == e->cached &&
           g->tokens.generated == e->generated && g->tokens.reasoning == e->reasoning && strcmp(g->finish, e->finish) == 0 &&
           g->done == e->done && g->truncated == e->truncated &&
           (e->error ? strstr(g->engine_error, e->error) != NULL : g->engine_error[0] == '\0');
}

static void events_in_any_cut(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        size_t n = strlen(rows[i].in);
        for (size_t cut = 0; cut <= n; cut++) {
            struct generated g;
            generated_init(&g);
            struct engine_parser *p = engine_parser_open(rows[i].ops, rows[i].stream, &g);
            engine_parser_bytes(p, rows[i].in, cut, 5);
            engine_parser_bytes(p, rows[i].in + cut, n - cut, 6);
            engine_parser_end(p, 7);
            engine_parser_close(p);
            if (!as_expected(&g, &rows[i]))
                fail_msg("%s, cut %zu: \"%s\" \"%s\", %zu pieces, %lld %lld %lld %lld, finish \"%s\", done %d, truncated %d, "
                         "error \"%s\"",
                         rows[i].name, cut, text_of(&g.text), text_of(&g.thinking), g.n_token_ns, (long long)g.tokens.prompt,
                         (long long)g.tokens.cached, (long long)g.tokens.generated, (long long)g.tokens.reasoning, g.finish,
                         g.done, g.truncated, g.engine_error);
            generated_release(&g);
        }
    }
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

static void arrivals_are_noted(void **state)
{
    (void)state;
    static const struct {
        const char *bytes;
        int64_t t_ns;
    } pieces[] = {
        {"data: {\"choices\":[{\"delta\":{\"role\":\"assistant\"}}]}\n\n", 100},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"a\"}}]}", 200}, /* the event ends with the next piece */
        {"\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"b\"}}]}\n\ndata: {\"choices\":[{\"delta\":{\"content\":\"c\"}}]}\n\n",
         300},
        {": ping\n\n", 350},
        {"data: {\"choices\":[{\"delta\":{\"content\":\"d\"}}]}\n\n", 400},
        {"data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\n", 450},
        {"data: [DONE]\n\n", 500},
    };
    struct generated g;
    generated_init(&g);
    struct engine_parser *p = engine_parser_open(&engine_openai, true, &g);
    for (size_t i = 0; i < JL_COUNT(pieces); i++)
        engine_parser_bytes(p, pieces[i].bytes, strlen(pieces[i].bytes), pieces[i].t_ns);
    engine_parser_end(p, 600);
    engine_parser_close(p);
    static const int64_t want[] = {300, 300, 300, 400};
    assert_int_equal(g.n_token_ns, 4);
    assert_memory_equal(g.token_ns, want, sizeof(want));
    assert_int_equal(g.t_first_ns, 300);
    assert_int_equal(g.t_last_ns, 400);
    assert_int_equal(g.t_end_ns, 500);
    generated_release(&g);
}

static void a_whole_body_tells_no_token_times(void **state)
{
    (void)state;
    static const char body[] = "{\"content\":\"abc\",\"stop\":true,\"tokens_predicted\":3}";
    struct generated g;
    generated_init(&g);
    struct engine_parser *p = engine_parser_open(&engine_llamacpp, false, &g);
    engine_parser_bytes(p, body, strlen(body), 100);
    engine_parser_end(p, 200);
    engine_parser_close(p);
    assert_int_equal(g.t_first_ns, 0);
    assert_int_equal(g.t_end_ns, 200);
    assert_true(g.done);
    generated_release(&g);
}

static void very_long_answers_end_it(void **state)
{
    (void)state;
    struct generated g;
    struct jl_buf event;
    generated_init(&g);
    jl_buf_init(&event, 1 << 24);
    jl_buf_str(&event, "data: {\"content\":\"");
    while (event.len < (size_t)1 << 23)
        jl_buf_str(
            &event,
            "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    jl_buf_str(&event, "\"}\n\n");
    struct engine_parser *p = engine_parser_open(&engine_llamacpp, true, &g);
    for (int i = 0; i < 8; i++)
        engine_parser_bytes(p, event.data, event.len, 1);
    engine_parser_end(p, 2);
    engine_parser_close(p);
    assert_non_null(strstr(g.engine_error, "longer answer than can be kept"));
    assert_int_equal(g.text.len, (size_t)64 << 20);
    generated_release(&g);
    jl_buf_release(&event);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(frames_in_any_cut),
        cmocka_unit_test(long_lines_end_it),
        cmocka_unit_test(events_in_any_cut),
        cmocka_unit_test(arrivals_are_noted),
        cmocka_unit_test(a_whole_body_tells_no_token_times),
        cmocka_unit_test(very_long_answers_end_it),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
