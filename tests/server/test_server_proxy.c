/* What passes through, and how: methods, targets, headers, bodies, streams; who is let in. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "tests/server/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HOST    "Host: localhost\r\n"

static const char stream_bytes[] =
    OK_HEAD "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\nX-Empty:\r\nX-Tab: a\tb\r\n"
            "Set-Cookie: a=1\r\nSet-Cookie: b=2\r\n\r\n9\r\ndata: 1\n\n\r\n9\r\ndata: 2\n\n\r\n0\r\n\r\n";
static const struct play plays[] = {
    {.path = "/stream", .bytes = stream_bytes},
    {.path = "/slowly", .bytes = stream_bytes, .piece = 24, .pause_ms = 1},
    {.path = "/none", .bytes = "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n"},
    {.path = "/same", .bytes = "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n"},
    {.path = "/head", .bytes = OK_HEAD "Content-Length: 1234\r\n\r\n"},
    {.path = "/head-unknown", .bytes = "HTTP/1.1 404 Not Found\r\nX-A: b\r\n\r\n"},
    {.path = "/head-chunked", .bytes = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n"},
    {.path = "/until-end", .bytes = "HTTP/1.0 200 OK\r\nContent-Type: text/plain\r\n\r\nuntil the end", .then = THEN_CLOSE},
    {.path = "/early", .bytes = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n" OK_HEAD "Content-Length: 2\r\n\r\nok"},
    {.path = "/stale", .bytes = OK_HEAD "Content-Length: 2\r\n\r\nok", .then = THEN_CLOSE},
    {.path = "/teapot", .bytes = "HTTP/1.1 418 I'm a teapot\r\nContent-Length: 0\r\nDate: yesterday\r\nServer: kettle\r\n\r\n"},
    {.bytes = OK_HEAD "Content-Length: 5\r\nContent-Type: text/plain\r\n\r\nhello"},
};

static char *last_request(struct front *f)
{
    return upstream_request(f->upstream, upstream_requests(f->upstream) - 1);
}

/* ---- what the upstream gets -------------------------------------------------------------------------------------- */

static void requests_arrive_as_they_were(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    ask(f.server,
        "POST //a/../b/%41%20c?q=%26&x=/./ HTTP/1.1\r\nHost: LOCALHOST:1\r\nContent-Type: application/json\r\nX-Empty:\r\nX-Odd: "
        " two  blanks \r\n"
        "Accept-Encoding: gzip\r\nX-Joulet-Tag: team\r\nX-Joulet-Session: s\r\nAuthorization: Bearer key\r\nOrigin: "
        "https://page\r\n"
        "Connection: keep-alive, X-Hop\r\nX-Hop: 1\r\nTE: trailers\r\nCookie: a=b\r\nContent-Length: 9\r\n\r\n{\"a\":\"b\"}",
        &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body, "hello");
    answer_release(&a);
    char want[600], *request = last_request(&f);
    snprintf(want, sizeof(want),
             "POST //a/../b/%%41%%20c?q=%%26&x=/./ HTTP/1.1\r\nHost: %s\r\nContent-Type: application/json\r\nX-Empty:\r\n"
             "X-Odd: two  blanks \r\nAuthorization: Bearer key\r\nOrigin: https://page\r\nCookie: a=b\r\nContent-Length: "
             "9\r\n\r\n{\"a\":\"b\"}",
             upstream_url(f.upstream) + 7);
    assert_string_equal(request, want);
    free(request);
    front_stop(&f);
}

static void methods(void **state)
{
    static const char *const names[] = {"GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "PURGE"};
    struct front f;
    struct answer a;
    char request[200];
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        for (int body = 0; body < 2; body++) {
            snprintf(request, sizeof(request), "%s /x HTTP/1.1\r\n" HOST "%s", names[i],
                     body ? "Content-Length: 3\r\n\r\nabc" : "\r\n");
            ask(f.server, request, &a);
            assert_int_equal(a.status, 200);
            answer_release(&a);
            char *got = last_request(&f);
            assert_true(jl_starts(got, names[i]) && got[strlen(names[i])] == ' ');
            assert_int_equal(strstr(got, "\r\n\r\nabc") != NULL, body);
            free(got);
        }
    }
    ask(f.server, "OPTIONS * HTTP/1.1\r\n" HOST "\r\n", &a);
    answer_release(&a);
    char *got = last_request(&f);
    assert_true(jl_starts(got, "OPTIONS * HTTP/1.1\r\n"));
    free(got);
    ask(f.server, "HEAD /head HTTP/1.1\r\n" HOST "\r\n", &a);
    char *length = answer_header(&a, "Content-Length");
    assert_string_equal(length, "1234");
    free(length);
    answer_release(&a);
    int fd = client_connect(f.server); /* nothing but the head comes: what follows is the next answer */
    for (int i = 0; i < 2; i++) {
        client_say(fd, i ? "HEAD /head-chunked HTTP/1.1\r\n" HOST "\r\n" : "HEAD /head-unknown HTTP/1.1\r\n" HOST "\r\n");
        client_read(fd, &a, true);
        assert_int_equal(a.status, i ? 200 : 404);
        assert_string_equal(a.head, i ? OK_HEAD "Content-Length: 0\r\n\r\n"
                                      : "HTTP/1.1 404 Not Found\r\nX-A: b\r\nContent-Length: 0\r\n\r\n");
        answer_release(&a);
        client_say(fd, "GET /x HTTP/1.1\r\n" HOST "\r\n");
        client_read(fd, &a, false);
        assert_string_equal(a.body, "hello");
        answer_release(&a);
    }
    close(fd);
    front_stop(&f);
}

/* Up to a limit whole and with its length, whatever framing it came in; beyond, as it comes. */
static void bodies(void **state)
{
    static const size_t sizes[] = {0, 1, 5000, (1 << 20) - 1, 1 << 20, (1 << 20) + 1, 3000000};
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (size_t i = 0; i < JL_COUNT(sizes); i++) {
        for (int chunked = 0; chunked < 2; chunked++) {
            char line[200], *bytes = malloc(sizes[i] + 1);
            for (size_t k = 0; k < sizes[i]; k++)
                bytes[k] = (char)('a' + k * 7919 % 26);
            int fd = client_connect(f.server);
            snprintf(line, sizeof(line),
                     chunked ? "POST /x HTTP/1.1\r\n" HOST "Transfer-Encoding: chunked\r\n\r\n"
                             : "POST /x HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n",
                     sizes[i]);
            client_say(fd, line);
            for (size_t at = 0; at < sizes[i];) {
                size_t piece = sizes[i] - at < 70000 ? sizes[i] - at : 70000;
                snprintf(line, sizeof(line), "%zx\r\n", piece);
                if (chunked)
                    client_say(fd, line);
                client_send(fd, bytes + at, piece);
                if (chunked)
                    client_say(fd, "\r\n");
                at += piece;
            }
            if (chunked)
                client_say(fd, "0\r\n\r\n");
            client_read(fd, &a, false);
            assert_int_equal(a.status, 200);
            answer_release(&a);
            close(fd);
            char *got = last_request(&f), *body = strstr(got, "\r\n\r\n") + 4;
            if (strcasestr(got, "Content-Length:")) {
                assert_int_equal(strlen(body), sizes[i]);
                assert_memory_equal(body, bytes, sizes[i]);
            } else {
                assert_true(chunked && sizes[i] > 1 << 20 && strstr(got, "Transfer-Encoding: chunked\r\n"));
            }
            free(got);
            free(bytes);
        }
    }
    front_stop(&f);
}

static void continue_is_answered_here(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    int fd = client_connect(f.server);
    client_say(fd, "POST /x HTTP/1.1\r\n" HOST "Expect: 100-continue\r\nContent-Length: 3\r\n\r\n");
    client_read(fd, &a, false);
    assert_int_equal(a.status, 100);
    answer_release(&a);
    client_say(fd, "abc");
    client_read(fd, &a, false);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
    char *got = last_request(&f);
    assert_null(strcasestr(got, "Expect"));
    free(got);
    front_stop(&f);
}

/* ---- what the client gets -------------------------------------------------------------------------------------------------- */

static void answers_arrive_as_they_were(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    int fd = client_connect(f.server);
    client_say(fd, "GET /stream HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, &a, false);
    assert_true(a.whole);
    assert_string_equal(a.body, "data: 1\n\ndata: 2\n\n");
    assert_string_equal(a.head, OK_HEAD
                        "Content-Type: text/event-stream\r\nX-Empty:  \r\nX-Tab: a b\r\nSet-Cookie: a=1\r\nSet-Cookie: b=2\r\n"
                        "Transfer-Encoding: chunked\r\n\r\n");
    answer_release(&a);
    static const struct {
        const char *target, *head, *body;
    } rows[] = {
        {"/none", "HTTP/1.1 204 No Content\r\nX-A: b\r\n\r\n", ""},
        {"/same", "HTTP/1.1 304 Not Modified\r\nETag: \"x\"\r\nContent-Length: 77\r\n\r\n", ""},
        {"/until-end", OK_HEAD "Content-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n", "until the end"},
        {"/early", OK_HEAD "Content-Length: 2\r\n\r\n", "ok"},
        {"/teapot", NULL, ""},
        {"/slowly", NULL, "data: 1\n\ndata: 2\n\n"},
        {"/x", OK_HEAD "Content-Type: text/plain\r\nContent-Length: 5\r\n\r\n", "hello"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) { /* all on one connection */
        char request[100];
        snprintf(request, sizeof(request), "GET %s HTTP/1.1\r\n" HOST "\r\n", rows[i].target);
        client_say(fd, request);
        client_read(fd, &a, false);
        assert_true(a.whole);
        assert_string_equal(a.body, rows[i].body);
        if (rows[i].head)
            assert_string_equal(a.head, rows[i].head);
        answer_release(&a);
    }
    client_say(fd, "GET /teapot HTTP/1.1\r\n" HOST "\r\n");
    client_read(fd, &a, false);
    assert_int_equal(a.status, 418);
    char *date = answer_header(&a, "Date"), *server = answer_header(&a, "Server");
    assert_string_equal(date, "yesterday");
    assert_string_equal(server, "kettle");
    free(date);
    free(server);
    answer_release(&a);
    close(fd);
    front_stop(&f);
}

/* A client of HTTP/1.0 knows no chunks: the end of the connection is the end of the answer. */
static void old_clients(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    ask(f.server, "GET /stream HTTP/1.0\r\n" HOST "\r\n", &a);
    assert_null(strstr(a.head, "chunked"));
    assert_string_equal(a.body, "data: 1\n\ndata: 2\n\n");
    answer_release(&a);
    front_stop(&f);
}

/* A chunk is with the client before the upstream sends the next one: here it never does. */
static void chunks_do_not_wait(void **state)
{
    static const struct play silent[] = {
        {.bytes = OK_HEAD "Transfer-Encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n", .then = THEN_HOLD},
    };
    struct front f;
    char bytes[4096] = "";
    (void)state;
    front_start(&f, silent, 1, NULL);
    int fd = client_connect(f.server);
    client_say(fd, "GET / HTTP/1.1\r\n" HOST "\r\n");
    for (size_t n = 0; !strstr(bytes, "data: 1\n\n");) {
        ssize_t got = read(fd, bytes + n, sizeof(bytes) - 1 - n);
        assert_true(got > 0);
        n += (size_t)got;
        bytes[n] = '\0';
    }
    close(fd);
    front_stop(&f);
}

static void connections_are_kept(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (int i = 0; i < 20; i++) {
        ask(f.server, "GET /x HTTP/1.1\r\n" HOST "\r\n", &a);
        assert_int_equal(a.status, 200);
        answer_release(&a);
    }
    assert_int_equal(upstream_connections(f.upstream), 1);
    for (int i = 0; i < 5; i++) { /* the upstream closes it after each answer: nobody notices */
        ask(f.server, "POST /stale HTTP/1.1\r\n" HOST "Content-Length: 3\r\n\r\nabc", &a);
        assert_int_equal(a.status, 200);
        assert_string_equal(a.body, "ok");
        answer_release(&a);
    }
    assert_int_equal(upstream_requests(f.upstream), 25);
    front_stop(&f);
}

/* ---- where it goes -------------------------------------------------------------------------------------------------------- */

static void by_prefix_and_model(void **state)
{
    static const struct play other_plays[] = {{.bytes = OK_HEAD "Content-Length: 5\r\n\r\nother"}};
    struct upstream *one = upstream_start(plays, JL_COUNT(plays)), *other = upstream_start(other_plays, 1);
    char *based = jl_strf("%s/base", upstream_url(other));
    const struct server_upstream all[] = {{.url = upstream_url(one)},
                                          {.url = based, .prefix = "/other"},
                                          {.url = upstream_url(other), .model = "m", .key = "secret"}};
    struct server_options o = {.upstreams = all, .n_upstreams = 3};
    static const struct {
        const char *request, *body, *line;
    } rows[] = {
        {"GET /x HTTP/1.1\r\n" HOST "\r\n", "hello", NULL},
        {"GET /other/v1/models?a=b HTTP/1.1\r\n" HOST "\r\n", "other", "GET /base/v1/models?a=b HTTP/1.1\r\n"},
        {"GET /other HTTP/1.1\r\n" HOST "\r\n", "other", "GET /base/ HTTP/1.1\r\n"},
        {"POST /v1/x HTTP/1.1\r\n" HOST "Authorization: Bearer x\r\nContent-Length: 13\r\n\r\n{\"model\":\"m\"}", "other",
         "POST /v1/x HTTP/1.1\r\n"},
        {"POST /v1/x HTTP/1.1\r\n" HOST "Content-Length: 13\r\n\r\n{\"model\":\"n\"}", "hello", NULL},
    };
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, 1, &o);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        ask(f.server, rows[i].request, &a);
        assert_string_equal(a.body, rows[i].body);
        answer_release(&a);
        if (rows[i].line) {
            char *got = upstream_request(other, upstream_requests(other) - 1);
            assert_true(jl_starts(got, rows[i].line));
            assert_int_equal(strstr(got, "Authorization: Bearer secret\r\n") != NULL, i == 3);
            assert_null(strstr(got, "Bearer x"));
            free(got);
        }
    }
    front_stop(&f);
    upstream_stop(one);
    upstream_stop(other);
    free(based);
}

/* ---- who is let in --------------------------------------------------------------------------------------------------------- */

static void who_is_let_in(void **state)
{
    static const char *const names[] = {"llm.example"};
    struct server_options o = {.token = "a-long-token", .allow_hosts = names, .n_allow_hosts = 1};
    static const struct {
        const char *request;
        int status;
    } rows[] = {
        {"GET /x HTTP/1.1\r\nHost: evil.example\r\nX-Joulet-Token: a-long-token\r\n\r\n", 403},
        {"GET /x HTTP/1.1\r\nHost: llm.example\r\nX-Joulet-Token: a-long-token\r\n\r\n", 200},
        {"GET /x HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\n\r\n", 200},
        {"GET /joulet/t/a-long-token/x HTTP/1.1\r\n" HOST "\r\n", 200},
        {"GET /joulet/t/a-long-token/joulet/health HTTP/1.1\r\n" HOST "\r\n", 200},
        {"GET /joulet/t/a-wrong-token/x HTTP/1.1\r\n" HOST "\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "X-Joulet-Token: wrong\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "Authorization: Bearer a-long-token\r\n\r\n", 401},
        {"GET /x HTTP/1.1\r\n" HOST "\r\n", 401},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "\r\n", 401},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\nOrigin: http://evil.example\r\n\r\n", 403},
        {"GET /joulet/health HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\nOrigin: http://localhost:3000\r\n\r\n", 200},
        {"GET /joulet/what HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\n\r\n", 404},
        {"POST /joulet/health HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\nContent-Length: 1\r\n\r\nx", 405},
        {"GET /jouletx HTTP/1.1\r\n" HOST "X-Joulet-Token: a-long-token\r\n\r\n", 200},
    };
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), &o);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        ask(f.server, rows[i].request, &a);
        if (a.status != rows[i].status)
            fail_msg("%s: %d", rows[i].request, a.status);
        answer_release(&a);
    }
    for (size_t i = 0; i < upstream_requests(f.upstream); i++) { /* it never sees the token */
        char *got = upstream_request(f.upstream, i);
        assert_null(strstr(got, "a-long-token"));
        free(got);
    }
    front_stop(&f);
}

/* Said before anything listens. */
static void what_cannot_be_served(void **state)
{
    static const struct server_upstream up = {.url = "http://127.0.0.1:1"};
    static const struct {
        struct server_options o;
        const char *part;
    } rows[] = {
        {{.listen = "127.0.0.1:0"}, "no upstream"},
        {{.listen = "0.0.0.0:0", .upstreams = &up, .n_upstreams = 1}, "set a token"},
        {{.listen = "0.0.0.0:0", .upstreams = &up, .n_upstreams = 1, .token = "a-long-token"}, "unencrypted"},
        {{.listen = "0.0.0.0:0", .upstreams = &up, .n_upstreams = 1, .token = "short", .insecure_http = true}, "shorter than 8"},
        {{.listen = "127.0.0.1:0", .upstreams = &up, .n_upstreams = 1, .token = "with/slash-in"}, "holds a blank"},
        {{.listen = "127.0.0.1", .upstreams = &up, .n_upstreams = 1}, "no address to listen on"},
        {{.listen = "127.0.0.1:70000", .upstreams = &up, .n_upstreams = 1}, "no address to listen on"},
        {{.listen = "192.0.2.1:0", .upstreams = &up, .n_upstreams = 1, .token = "a-long-token", .insecure_http = true},
         "no address of this machine"},
    };
    struct server *s;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_int_equal(server_open(&s, &rows[i].o, &err), JOULET_USAGE);
        assert_null(s);
        if (!strstr(err.message, rows[i].part))
            fail_msg("row %zu: %s", i, err.message);
    }
    struct server_options o = {.listen = "127.0.0.1:0", .upstreams = &up, .n_upstreams = 1};
    assert_int_equal(server_open(&s, &o, &err), JOULET_OK);
    struct server *twice;
    o.listen = server_address(s);
    assert_int_equal(server_open(&twice, &o, &err), JOULET_BUSY);
    assert_non_null(strstr(err.message, "is in use by another program"));
    server_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_cannot_be_served),
        cmocka_unit_test(requests_arrive_as_they_were),
        cmocka_unit_test(methods),
        cmocka_unit_test(bodies),
        cmocka_unit_test(continue_is_answered_here),
        cmocka_unit_test(answers_arrive_as_they_were),
        cmocka_unit_test(old_clients),
        cmocka_unit_test(chunks_do_not_wait),
        cmocka_unit_test(connections_are_kept),
        cmocka_unit_test(by_prefix_and_model),
        cmocka_unit_test(who_is_let_in),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
