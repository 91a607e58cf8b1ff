/* Every recorded exchange with a real Ollama, and composed ones, through the parsers: the same result for any cut of the bytes,
 * and that of expected.tsv. Then its lists of models, and the address in OLLAMA_HOST. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/platform/platform.h"
#include "llm/engines/ollama_private.h"
#include "tests/llm/exchange.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define T_NS 1000000000
#ifdef SANITIZED
#define SPAN ((size_t)64)
#else
#define SPAN ((size_t)300)
#endif
#define SAME(a, b) ((isnan(a) && isnan(b)) || fabs((a) - (b)) <= 1e-12)

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

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

static bool equal(const struct generated *a, const struct generated *b)
{
    return strcmp(text_of(&a->text), text_of(&b->text)) == 0 && strcmp(text_of(&a->thinking), text_of(&b->thinking)) == 0 &&
           a->n_token_ns == b->n_token_ns && memcmp(&a->tokens, &b->tokens, sizeof a->tokens) == 0 &&
           a->processed_tokens == b->processed_tokens && SAME(a->server_load_s, b->server_load_s) &&
           SAME(a->server_prompt_s, b->server_prompt_s) && SAME(a->server_decode_s, b->server_decode_s) &&
           SAME(a->server_queue_s, b->server_queue_s) && strcmp(a->finish, b->finish) == 0 && a->done == b->done &&
           strcmp(a->engine_error, b->engine_error) == 0 && strcmp(a->error_type, b->error_type) == 0 &&
           a->tool_calls == b->tool_calls && a->draft_tokens == b->draft_tokens;
}

/* Byte by byte, and cut once at every byte; what is longer than SPAN is cut every SPAN bytes, from every beginning. */
static void check_cuts(const struct engine_ops *ops, const char *name, const struct exchange *x, const struct generated *whole)
{
    size_t piece = SPAN < x->n ? SPAN : x->n;
    for (size_t cut = 0; cut <= piece + 1; cut++) {
        struct generated g;
        parse(ops, x, cut > piece ? 0 : cut, cut > piece ? 1 : piece ? piece : 1, &g);
        if (!equal(&g, whole))
            fail_msg("%s as %s, cut %zu: \"%s\" (%s), error \"%s\"", name, ops->name, cut, text_of(&g.text), g.finish,
                     g.engine_error);
        generated_release(&g);
    }
}

/* 177 answers of all routes, those of other protocols and of HEAD too: none may depend on where its bytes are cut. */
static void any_cut_of_all_answers(void **state)
{
    static const char end[] = ".response.http";
    char **names;
    size_t n, seen = 0;
    (void)state;
    assert_int_equal(jl_list_dir(FIXTURES "/ollama", &names, &n, NULL), JOULET_OK);
    for (size_t i = 0; i < n; i++) {
        struct exchange x;
        struct generated whole;
        char *mark = strstr(names[i], end);
        if (!mark)
            continue;
        *mark = '\0';
        exchange_load_from(&x, "ollama", names[i]);
        const struct engine_ops *ops = strstr(names[i], "v1-") || strstr(names[i], "openai") ? &engine_openai : &engine_ollama;
        parse(ops, &x, 0, SIZE_MAX, &whole);
        check_cuts(ops, names[i], &x, &whole);
        generated_release(&whole);
        exchange_release(&x);
        seen++;
    }
    jl_free_list(names, n);
    assert_int_equal(seen, 177);
}

/* ---- what is found in them --------------------------------------------------------------------------------------- */

static double seconds(const char *ns)
{
    return strcmp(ns, "-1") == 0 ? NAN : strtod(ns, NULL) * 1e-9;
}

/* Fields of a row, its tabs cut. */
static size_t split(char *line, char **field, size_t max)
{
    size_t n = 0;
    for (char *tab; n < max; line = tab + 1) {
        field[n++] = line;
        tab = strchr(line, '\t');
        if (!tab)
            break;
        *tab = '\0';
    }
    return n;
}

/* "-" is nothing, \n a line end. */
static const char *told(char *field)
{
    for (char *at; (at = strstr(field, "\\n"));) {
        *at = '\n';
        memmove(at + 1, at + 2, strlen(at + 2) + 1);
    }
    return strcmp(field, "-") == 0 ? "" : field;
}

static void check_row(char **f)
{
    struct exchange x;
    struct generated g;
    exchange_load_from(&x, "ollama", f[0]);
    parse(&engine_ollama, &x, 0, SIZE_MAX, &g);
    bool one = strcmp(f[6], "1") == 0 && strcmp(f[10], "-1") == 0; /* one token, no step after it */
    int64_t prompt = atoll(f[4]), cached = atoll(f[5]);
    if (x.status != atoi(f[1]) || x.stream != atoi(f[2]) || g.n_token_ns != (size_t)atoi(f[3]) || g.tokens.prompt != prompt ||
        g.tokens.cached != cached || g.processed_tokens != (cached >= 0 ? prompt - cached : -1) ||
        g.tokens.generated != atoll(f[6]) || !SAME(g.server_load_s, seconds(f[8])) || !SAME(g.server_prompt_s, seconds(f[9])) ||
        !SAME(g.server_decode_s, one ? 0 : seconds(f[10])) || g.done != atoi(f[11]) || strcmp(g.finish, told(f[12])) != 0 ||
        strcmp(g.engine_error, told(f[13])) != 0 || strcmp(text_of(&g.text), told(f[14])) != 0 ||
        strcmp(text_of(&g.thinking), told(f[15])) != 0)
        fail_msg("%s: \"%s\" / \"%s\", %zu pieces, %lld (%lld) + %lld tokens, %g %g %g s, done %d, \"%s\", error \"%s\"", f[0],
                 text_of(&g.text), text_of(&g.thinking), g.n_token_ns, (long long)g.tokens.prompt, (long long)g.tokens.cached,
                 (long long)g.tokens.generated, g.server_load_s, g.server_prompt_s, g.server_decode_s, g.done, g.finish,
                 g.engine_error);
    generated_release(&g);
    exchange_release(&x);
}

static void as_another_reader_found(void **state)
{
    struct jl_buf b;
    size_t rows = 0;
    (void)state;
    jl_buf_init(&b, 1 << 20);
    assert_int_equal(jl_read_file(FIXTURES "/ollama/expected.tsv", &b, NULL), JOULET_OK);
    for (char *save, *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
        char *f[16];
        if (line[0] == '#' || split(line, f, 16) != 16 || jl_starts(f[0], "cors-") || strcmp(f[0], "error-wrong-method") == 0)
            continue; /* the last two are no answers of these routes */
        check_row(f);
        rows++;
    }
    jl_buf_release(&b);
    assert_int_equal(rows, 89);
}

/* What waited for its slot says so in the total only. */
static void waiting_is_a_window(void **state)
{
    static const struct {
        const char *name;
        double queue_s;
    } rows[] = {{"queued-a", NAN}, {"queued-b", 0.55}, {"generate-stream", NAN}, {"generate-stream-cold", NAN}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct exchange x;
        struct generated g;
        exchange_load_from(&x, "ollama", rows[i].name);
        parse(&engine_ollama, &x, 0, SIZE_MAX, &g);
        if (isnan(rows[i].queue_s) ? !isnan(g.server_queue_s) : fabs(g.server_queue_s - rows[i].queue_s) > 0.02)
            fail_msg("%s: %g s of waiting", rows[i].name, g.server_queue_s);
        generated_release(&g);
        exchange_release(&x);
    }
}

/* A stream cut before its end, wherever, is never taken for a whole one. */
static void cut_streams_are_not_done(void **state)
{
    static const char *const names[] = {"generate-stream", "chat-stream", "chat-think-stream", "generate-logprobs-stream"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        struct exchange x;
        exchange_load_from(&x, "ollama", names[i]);
        for (size_t n = 0; n < x.n - 1; n++) {
            struct exchange begin = {.stream = true, .body = x.body, .n = n};
            struct generated g;
            parse(&engine_ollama, &begin, n / 2, SIZE_MAX, &g);
            if ((g.done && n < x.n - 2) || g.engine_error[0])
                fail_msg("%s, cut off at %zu: done %d, error \"%s\"", names[i], n, g.done, g.engine_error);
            generated_release(&g);
        }
        exchange_release(&x);
    }
}

/* ---- composed ---------------------------------------------------------------------------------------------------- */

struct composed {
    const char *what, *body, *text, *thinking, *finish, *error, *type;
    int64_t prompt, generated;
    size_t tools, pieces;
    bool done;
};

#define LAST(more) "{\"model\":\"m\",\"done\":true," more "}\n"
static const struct composed composed[] = {
    {"tool calls, a piece each",
     "{\"message\":{\"role\":\"assistant\",\"content\":\"\",\"tool_calls\":[{\"function\":{\"name\":\"clock\",\"arguments\":{"
     "\"zone\":"
     "\"UTC\"}}}]},\"done\":false}\n"
     "{\"message\":{\"tool_calls\":[{\"function\":{\"name\":\"sum\",\"arguments\":{}}}]},\"done\":false}\n" LAST(
         "\"done_reason\":\"stop\",\"prompt_eval_count\":9,\"eval_count\":31"),
     "", "", "tool", "", "", 9, 31, 2, 2, true},
    {"a last line with text", "{\"response\":\"Bl\",\"done\":false}\n" LAST("\"response\":\"ue\",\"eval_count\":2"), "Blue", "",
     "", "", "", -1, 2, 0, 2, true},
    {"thinking, then an answer",
     "{\"message\":{\"thinking\":\"hm\"},\"done\":false}\n{\"message\":{\"content\":\"yes\"},\"done\":false}\n" LAST(
         "\"done_reason\":\"stop\",\"prompt_eval_count\":3,\"eval_count\":4"),
     "yes", "hm", "stop", "", "", 3, 4, 0, 2, true},
    {"no prompt count: all of it was cached",
     "{\"response\":\"a\",\"done\":false}\n" LAST("\"eval_count\":1,\"total_duration\":5"), "a", "", "", "", "", -1, 1, 0, 1,
     true},
    {"a model of the cloud",
     "{\"remote_model\":\"big\",\"remote_host\":\"https://ollama.com\",\"response\":\"a\",\"done\":false}\n", "", "", "error",
     "https://ollama.com", WIRE_REMOTE, -1, -1, 0, 0, false},
    {"text after an error", "{\"error\":\"no\"}\n{\"response\":\"a\",\"done\":true}\n", "", "", "error", "no", "", -1, -1, 0, 0,
     false},
    {"JSON of other kinds", "[1]\n", "", "", "error", "not a JSON object but \"[1]\"", WIRE_MALFORMED, -1, -1, 0, 0, false},
    {"members of other types",
     "{\"response\":7,\"message\":[],\"done\":\"yes\"}\n{\"response\":{},\"message\":3,\"done\":true,\"eval_count\":\"2\","
     "\"prompt_eval_count\":-4,\"eval_duration\":true,\"prompt_eval_cached_count\":3}\n",
     "", "", "", "", "", -1, -1, 0, 0, true},
    {"more cached than there are", LAST("\"prompt_eval_count\":5,\"prompt_eval_cached_count\":9,\"eval_count\":1"), "", "", "",
     "", "", 5, 1, 0, 0, true},
};

static void composed_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(composed); i++) {
        const struct composed *c = &composed[i];
        struct exchange x = {.stream = true, .body = (char *)(uintptr_t)c->body, .n = strlen(c->body)};
        struct generated g;
        parse(&engine_ollama, &x, 0, SIZE_MAX, &g);
        check_cuts(&engine_ollama, c->what, &x, &g);
        if (strcmp(text_of(&g.text), c->text) || strcmp(text_of(&g.thinking), c->thinking) || strcmp(g.finish, c->finish) ||
            strcmp(g.engine_error, c->error) || strcmp(g.error_type, c->type) || g.tokens.prompt != c->prompt ||
            g.tokens.generated != c->generated || g.tool_calls != c->tools || g.n_token_ns != c->pieces || g.done != c->done ||
            g.tokens.cached != -1)
            fail_msg("%s: \"%s\" / \"%s\", finish %s, error \"%s\" (%s), %lld + %lld (%lld), %zu tools, %zu pieces, done %d",
                     c->what, text_of(&g.text), text_of(&g.thinking), g.finish, g.engine_error, g.error_type,
                     (long long)g.tokens.prompt, (long long)g.tokens.generated, (long long)g.tokens.cached, g.tool_calls,
                     g.n_token_ns, g.done);
        generated_release(&g);
    }
}

/* ---- models ------------------------------------------------------------------------------------------------------ */

static void list_of_models(void **state)
{
    struct exchange x;
    struct engine_model *list;
    size_t n;
    (void)state;
    exchange_load_from(&x, "ollama", "tags");
    assert_int_equal(ollama_read_tags(x.body, x.n, &list, &n, NULL), JOULET_OK);
    exchange_release(&x);
    exchange_load_from(&x, "ollama", "ps");
    ollama_read_ps(x.body, x.n, list, n);
    exchange_release(&x);
    const struct engine_model *m = &list[n - 1];
    assert_string_equal(m->name, "joulet-tiny:latest");
    assert_string_equal(m->quantisation, "Q8_0");
    assert_string_equal(m->architecture, "llama");
    assert_string_equal(m->runtime, "llama.cpp");
    assert_string_equal(m->digest, "aa6cb3d1f37a486cef221097e4855d6ea98b6f2985f2c2a59440f1b96caabdc7");
    assert_string_equal(m->capabilities, "completion");
    assert_string_equal(m->expires, "2026-11-21T13:58:44.834880737Z");
    assert_int_equal(m->bytes, 4785426);
    assert_int_equal(m->params, 4460000);
    assert_int_equal(m->context_length, 4096);
    assert_true(m->loaded);
    assert_int_equal(m->loaded_bytes, 26266827);
    assert_int_equal(m->gpu_bytes, 0);
    assert_int_equal(m->loaded_context, 4096);
    assert_false(list[0].loaded);
    assert_int_equal(list[0].gpu_bytes, -1);
    free(list);
    exchange_load_from(&x, "ollama", "version");
    assert_int_equal(ollama_read_tags(x.body, x.n, &list, &n, NULL), JOULET_FORMAT);
    exchange_release(&x);
}

static void details_of_a_model(void **state)
{
    struct exchange x;
    struct engine_model m;
    char path[512];
    (void)state;
    engine_model_init(&m);
    exchange_load_from(&x, "ollama", "show");
    assert_true(ollama_read_show(x.body, x.n, &m, path, sizeof path));
    assert_int_equal(m.params, 4458752);
    assert_int_equal(m.context_length, 4096);
    assert_string_equal(
        path, "/usr/share/ollama/.ollama/models/blobs/sha256-0ce618a1a165d9dc8acf7785fe29f30692eb1e996e4302028dd211f77678"
              "6061");
    exchange_release(&x);
    exchange_load_from(&x, "ollama", "error-unknown-model-show");
    assert_false(ollama_read_show(x.body, x.n, &m, path, sizeof path));
    exchange_release(&x);
}

static void versions(void **state)
{
    static const struct {
        const char *body, *version;
    } rows[] = {{"{\"version\":\"0.34.2\"}", "0.34.2"},
                {"{\"error\":\"Unexpected endpoint\"}", NULL},
                {"{\"version\":\"1\",\"error\":\"no\"}", NULL},
                {"{\"version\":3}", NULL},
                {"<html>", NULL}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char v[16] = "";
        assert_int_equal(ollama_read_version(rows[i].body, strlen(rows[i].body), v, sizeof v), rows[i].version != NULL);
        assert_string_equal(v, rows[i].version ? rows[i].version : "");
    }
}

static void where_it_listens(void **state)
{
    static const char *const rows[][2] = {
        {"", "http://127.0.0.1:11434"},
        {"1.2.3.4", "http://1.2.3.4:11434"},
        {"1.2.3.4:1234", "http://1.2.3.4:1234"},
        {"example.com", "http://example.com:11434"},
        {":1234", "http://127.0.0.1:1234"},
        {":66000", "http://127.0.0.1:11434"},
        {":-1", "http://127.0.0.1:11434"},
        {"::1", "http://[::1]:11434"},
        {"[::1]", "http://[::1]:11434"},
        {"[::]", "http://[::1]:11434"},
        {"[::1]:1337", "http://[::1]:1337"},
        {"0.0.0.0:11500", "http://127.0.0.1:11500"},
        {"\" 1.2.3.4 \"", "http://1.2.3.4:11434"},
        {"http://1.2.3.4", "http://1.2.3.4:80"},
        {"https://1.2.3.4", "https://1.2.3.4:443"},
        {"https://example.com/ollama", "https://example.com:443/ollama"},
        {"ollama.com", "https://ollama.com:443"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char url[320];
        assert_true(ollama_host_url(rows[i][0], url, sizeof url));
        assert_string_equal(url, rows[i][1]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(any_cut_of_all_answers), cmocka_unit_test(as_another_reader_found),
        cmocka_unit_test(waiting_is_a_window),    cmocka_unit_test(cut_streams_are_not_done),
        cmocka_unit_test(composed_answers),       cmocka_unit_test(list_of_models),
        cmocka_unit_test(details_of_a_model),     cmocka_unit_test(versions),
        cmocka_unit_test(where_it_listens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
