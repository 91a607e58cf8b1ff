/* What needs no socket: heads that are refused, names and tokens, headers that end at a proxy, and where requests go. */
#include "tests/cli/test.h"

#include "server/guard.h"
#include "server/headers.h"
#include "server/route.h"

#include <string.h>

/* ---- heads --------------------------------------------------------------------------------------------------------------- */

static void heads_with_two_meanings(void **state)
{
    static const struct {
        const char *target, *version;
        struct net_header headers[4];
        const char *part; /* of the problem; NULL: none */
    } rows[] = {
        {"/", "HTTP/1.1", {{"Host", "a"}}, NULL},
        {"/x?y=%20", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5"}}, NULL},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, NULL},
        {"/", "HTTP/1.0", {{"Host", "a"}}, NULL},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5"}, {"Content-Length", "6"}}, "two lengths"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5"}, {"content-length", "5"}}, "two lengths"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5"}, {"Transfer-Encoding", "chunked"}}, "a length and"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", "chunked"}}, "a length and"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "5, 5"}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "+5"}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "-1"}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "0x5"}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", ""}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length", "99999999999999999999"}}, "no number"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "xchunked"}}, "not chunked"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "gzip, chunked"}}, "not chunked"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Transfer-Encoding", "identity"}}, "not chunked"},
        {"/", "HTTP/1.0", {{"Host", "a"}, {"Transfer-Encoding", "chunked"}}, "does not know"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Content-Length ", "5"}}, "name of a header"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"", "5"}}, "name of a header"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"X", "a\nContent-Length: 5"}}, "control character"},
        {"/", "HTTP/1.1", {{"Host", "a"}, {"Host", "b"}}, "two hosts"},
        {"/", "HTTP/1.1", {{"X", "a"}}, "no host"},
        {"http://evil/", "HTTP/1.1", {{"Host", "a"}}, "no path"},
        {"/a b", "HTTP/1.1", {{"Host", "a"}}, "blank"},
        {"/a\tb", "HTTP/1.1", {{"Host", "a"}}, "blank"},
        {"/a#b", "HTTP/1.1", {{"Host", "a"}}, "fragment"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct net_head h = {.method = "POST", .version = rows[i].version, .target = rows[i].target, .headers = rows[i].headers};
        while (h.n_headers < 4 && rows[i].headers[h.n_headers].name)
            h.n_headers++;
        const char *problem = net_head_problem(&h, NULL);
        if (!rows[i].part)
            assert_null(problem);
        else if (!problem || !strstr(problem, rows[i].part))
            fail_msg("row %zu: %s", i, problem ? problem : "let through");
    }
    struct net_header nul = {"X", "ab"};
    size_t longer = 5;
    struct net_head h = {.method = "GET", .version = "HTTP/1.1", .target = "/", .headers = &nul, .n_headers = 1};
    assert_non_null(strstr(net_head_problem(&h, &longer), "control character"));
}

/* ---- names and tokens ---------------------------------------------------------------------------------------------------- */

static void hosts(void **state)
{
    static const char *const allowed[] = {"llm.example.org"};
    static const struct {
        const char *host;
        bool good;
    } rows[] = {
        {"localhost", true},
        {"localhost:8737", true},
        {"LOCALHOST.", true},
        {"a.localhost:1", true},
        {"127.0.0.1:8737", true},
        {"127.9.9.9", true},
        {"[::1]:8737", true},
        {"[::1]", true},
        {"192.168.1.5:8737", true},
        {"llm.example.org:80", true},
        {"10.0.0.7", false},
        {"evil.example", false},
        {"127.0.0.1.evil", false},
        {"localhost.evil", false},
        {"[::2]:1", false},
        {"192.168.1.6", false},
        {"", false},
        {":8737", false},
        {"localhost:x", false},
        {"a@localhost", false},
        {"[::1", false},
        {"[::1]x", false},
        {"::1", false},
    };
    struct guard g = {.listen = "192.168.1.5:8737", .allow_hosts = allowed, .n_allow_hosts = 1};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (guard_host(&g, rows[i].host, -1) != rows[i].good)
            fail_msg("%s", rows[i].host);
    assert_false(guard_host(&g, NULL, -1));
    static const char *const any[] = {"*"};
    g.allow_hosts = any;
    assert_true(guard_host(&g, "evil.example", -1));
    assert_true(guard_is_loopback("127.0.0.1:8737"));
    assert_true(guard_is_loopback("[::1]:8737"));
    assert_false(guard_is_loopback("0.0.0.0:8737"));
    assert_false(guard_is_loopback("[::]:8737"));
    assert_false(guard_is_loopback(":8737"));
}

static void origins(void **state)
{
    struct guard g = {.listen = "127.0.0.1:8737"};
    (void)state;
    assert_true(guard_origin(&g, "http://localhost:3000", -1));
    assert_true(guard_origin(&g, "https://127.0.0.1", -1));
    assert_false(guard_origin(&g, "https://evil.example", -1));
    assert_false(guard_origin(&g, "null", -1));
    assert_false(guard_origin(&g, "", -1));
    assert_false(guard_origin(&g, "http://localhost.evil", -1));
}

static void tokens(void **state)
{
    struct guard g = {.token = "abcdefgh"};
    const char *token;
    size_t n;
    (void)state;
    assert_string_equal(guard_strip("/joulet/t/abcdefgh/v1/models?x=1", &token, &n), "/v1/models?x=1");
    assert_true(guard_token(&g, token, n));
    assert_string_equal(guard_strip("/joulet/t/abcdefgh", &token, &n), "/");
    assert_true(guard_token(&g, token, n));
    assert_string_equal(guard_strip("/v1/joulet/t/abcdefgh", &token, &n), "/v1/joulet/t/abcdefgh");
    assert_null(token);
    assert_false(guard_token(&g, NULL, 0));
    assert_false(guard_token(&g, "", 0));
    assert_false(guard_token(&g, "abcdefg", 7));
    assert_false(guard_token(&g, "abcdefghi", 9));
    assert_false(guard_token(&g, "abcdefgX", 8));
    g.token = NULL;
    assert_false(guard_token(&g, "", 0));
}

/* ---- headers --------------------------------------------------------------------------------------------------------------- */

static void headers_of_the_connection(void **state)
{
    static const struct net_header in[] = {
        {"Host", "a"},
        {"Accept", "*/*"},
        {"Accept-Encoding", "gzip"},
        {"Connection", "keep-alive, X-Mine"},
        {"X-Mine", "1"},
        {"X-Joulet-Tag", "t"},
        {"Authorization", "Bearer k"},
        {"TE", "trailers"},
        {"Upgrade", "h2c"},
        {"Content-Length", "5"},
        {"Expect", "100-continue"},
        {"Content-Type", "application/json"},
        {"Keep-Alive", "5"},
        {"Cookie", "a=b"},
        {"Cookie", "c=d"},
    };
    struct net_header out[JL_COUNT(in)];
    (void)state;
    size_t n = headers_up(in, JL_COUNT(in), out, false);
    static const char *const want[] = {"Accept", "Authorization", "Content-Type", "Cookie", "Cookie"};
    assert_int_equal(n, JL_COUNT(want));
    for (size_t i = 0; i < n; i++)
        assert_string_equal(out[i].name, want[i]);
    assert_string_equal(out[3].value, "a=b");
    assert_int_equal(headers_up(in, JL_COUNT(in), out, true), JL_COUNT(want) + 1);
    static const struct net_header back[] = {{"Transfer-Encoding", "chunked"},
                                             {"Content-Type", "x"},
                                             {"X-Joulet-Request", "1"},
                                             {"Set-Cookie", "a"},
                                             {"Set-Cookie", "b"},
                                             {"Connection", "close"},
                                             {"Date", "d"}};
    assert_int_equal(headers_down(back, JL_COUNT(back), out), 4);
}

/* ---- routes --------------------------------------------------------------------------------------------------------------- */

static void routes(void **state)
{
    static const struct server_upstream all[] = {
        {.url = "http://a", .prefix = "/ollama"},
        {.url = "http://b", .prefix = "/ollama/deep"},
        {.url = "http://c", .model = "big"},
        {.url = "http://d", .model = "llama*"},
        {.url = "http://e"},
    };
    static const struct {
        const char *target, *model, *url, *rest;
    } rows[] = {
        {"/ollama/api/tags", NULL, "http://a", "/api/tags"},
        {"/ollama", "big", "http://a", ""},
        {"/ollama?x", NULL, "http://a", "?x"},
        {"/ollamax/api", NULL, "http://e", "/ollamax/api"},
        {"/ollama/deep/v1", NULL, "http://b", "/v1"},
        {"/v1/chat/completions", "big", "http://c", "/v1/chat/completions"},
        {"/v1/chat/completions", "llama3:1b", "http://d", "/v1/chat/completions"},
        {"/v1/chat/completions", "bigger", "http://e", "/v1/chat/completions"},
        {"/v1/models", NULL, "http://e", "/v1/models"},
    };
    const char *rest;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct server_upstream *u = route_find(all, JL_COUNT(all), rows[i].target, rows[i].model, &rest);
        assert_non_null(u);
        assert_string_equal(u->url, rows[i].url);
        assert_string_equal(rest, rows[i].rest);
    }
    /* Without one for the rest, lists of models come from the first by model, and unknown models from nobody. */
    assert_string_equal(route_find(all, 4, "/v1/models", NULL, &rest)->url, "http://c");
    assert_null(route_find(all, 4, "/v1/chat/completions", "other", &rest));
    assert_true(route_by_model(all, JL_COUNT(all)));
    assert_false(route_by_model(all, 2));
}

static void options_of_routes(void **state)
{
    static const struct {
        const char *text, *url, *prefix, *model, *fault;
    } rows[] = {
        {"http://127.0.0.1:8080", "http://127.0.0.1:8080", NULL, NULL, NULL},
        {"http://127.0.0.1:8080/", "http://127.0.0.1:8080", NULL, NULL, NULL},
        {"http://h/base/", "http://h/base", NULL, NULL, NULL},
        {"/ollama=http://h:1", "http://h:1", "/ollama", NULL, NULL},
        {"/ollama/=http://h:1/", "http://h:1", "/ollama", NULL, NULL},
        {"llama3.2:1b=http://h:1", "http://h:1", NULL, "llama3.2:1b", NULL},
        {"/=http://h:1", NULL, NULL, NULL, "empty prefix"},
        {"=http://h:1", NULL, NULL, NULL, "empty prefix"},
        {"http://h/?a=b", NULL, NULL, NULL, "query"},
        {"ftp://h", NULL, NULL, NULL, "no http://"},
        {"8080", NULL, NULL, NULL, "no http://"},
        {"", NULL, NULL, NULL, "empty"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char text[100];
        struct server_upstream u;
        struct joulet_error err;
        strcpy(text, rows[i].text);
        enum joulet_status status = route_parse(text, &u, &err);
        assert_int_equal(status, rows[i].fault ? JOULET_USAGE : JOULET_OK);
        if (rows[i].fault) {
            assert_non_null(strstr(err.message, rows[i].fault));
            continue;
        }
        assert_string_equal(u.url, rows[i].url);
        assert_true(rows[i].prefix ? u.prefix && !strcmp(u.prefix, rows[i].prefix) : !u.prefix);
        assert_true(rows[i].model ? u.model && !strcmp(u.model, rows[i].model) : !u.model);
    }
    static const struct server_upstream twice[] = {{.url = "http://a"}, {.url = "http://a"}};
    static const struct server_upstream several[] = {
        {.url = "http://a"}, {.url = "http://b"}, {.url = "http://c", .prefix = "/c"}};
    static const struct server_upstream own[] = {{.url = "http://a", .prefix = "/joulet/x"}};
    struct joulet_error err;
    assert_int_equal(route_check(twice, 2, &err), JOULET_USAGE);
    assert_int_equal(route_check(own, 1, &err), JOULET_USAGE);
    assert_int_equal(route_check(twice, 1, &err), JOULET_OK);
    assert_int_equal(route_check(several, 3, &err), JOULET_OK); /* their lists of models tell them apart */
}

static void models_in_bodies(void **state)
{
    static const struct {
        const char *json, *model;
    } rows[] = {
        {"{\"model\":\"a\"}", "a"},
        {" {\r\n\t\"model\" : \"llama3.2:1b\" , \"x\":1}", "llama3.2:1b"},
        {"{\"messages\":[{\"model\":\"no\",\"c\":\"}{][\\\"\"}],\"stream\":true,\"model\":\"org\\/name\"}", "org/name"},
        {"{\"a\":\"\\\\\",\"model\":\"b\"", "b"}, /* cut behind it */
        {"{\"n\":-1.5e3,\"model\":\"b\"}", "b"},
        {"{\"model\":1}", NULL},
        {"{\"model\":\"\"}", NULL},
        {"{\"model\":\"a", NULL},
        {"{\"prompt\":\"cut in the mid", NULL},
        {"{\"model\":\"\\u0061\"}", NULL},
        {"[{\"model\":\"a\"}]", NULL},
        {"{]\"model\":\"a\"}", NULL},
        {"{}", NULL},
        {"", NULL},
        {"{", NULL},
        {"{\"a\"", NULL},
        {"{\"a\":", NULL},
        {"{\"a\":1,", NULL},
    };
    char model[32];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        bool found = route_model(rows[i].json, strlen(rows[i].json), model, sizeof(model));
        if (found != (rows[i].model != NULL) || (found && strcmp(model, rows[i].model) != 0))
            fail_msg("%s: %s", rows[i].json, found ? model : "none");
    }
    assert_false(route_model("{\"model\":\"0123456789012345678901234567890123456789\"}", 52, model, sizeof(model)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(heads_with_two_meanings),
        cmocka_unit_test(hosts),
        cmocka_unit_test(origins),
        cmocka_unit_test(tokens),
        cmocka_unit_test(routes),
        cmocka_unit_test(headers_of_the_connection),
        cmocka_unit_test(options_of_routes),
        cmocka_unit_test(models_in_bodies),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
