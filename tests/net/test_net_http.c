/* One exchange against servers that behave, break off, hang and lie. Nothing here depends on how fast the machine is: where a
 * test waits, it waits for an end that would otherwise be minutes away. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/platform/platform.h"
#include "net/net.h"
#include "tests/net/scripted.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD_200 "HTTP/1.1 200 OK\r\n"

static const char hello[] = HEAD_200 "Content-Length: 5\r\n\r\nhello";

/* ---- the module ---------------------------------------------------------------------------------------------------------- */

/* The first folder that holds a module decides; a file that is none gives a sentence, not a crash. Runs first: once loaded, a
 * module stays. */
static void broken_module_is_named(void **state)
{
    (void)state;
    char dir[] = "/tmp/joulet-net-XXXXXX", path[64];
    struct net_response r;
    struct joulet_error err;
    char *right = jl_strdup(getenv("JOULET_MODULE_DIR"));
    assert_non_null(mkdtemp(dir));
    snprintf(path, sizeof(path), "%s/joulet-net.so", dir);
    FILE *f = fopen(path, "w");
    assert_non_null(f);
    fputs("no library\n", f);
    fclose(f);
    setenv("JOULET_MODULE_DIR", dir, 1);
    struct net_request q = {.url = "http://127.0.0.1:1"};
    assert_int_equal(net_http(&q, &r, &err), JOULET_UNSUPPORTED);
    assert_non_null(strstr(err.message, path));
    net_response_release(&r);
    if (right)
        setenv("JOULET_MODULE_DIR", right, 1);
    else
        unsetenv("JOULET_MODULE_DIR");
    unlink(path);
    rmdir(dir);
    free(right);
}

/* ---- whole answers --------------------------------------------------------------------------------------------------------- */

struct row {
    const char *name;
    struct script script;
    struct net_request q; /* url is filled in */
    enum joulet_status status;
    int http;
    bool complete;
    const char *body, *words; /* words: in the sentence */
};

/* clang-format off */
static const struct row rows[] = {
    {"length", {.bytes = hello}, {0}, JOULET_OK, 200, true, "hello", NULL},
    {"bytewise", {.bytes = hello, .piece = 1}, {0}, JOULET_OK, 200, true, "hello", NULL},
    {"chunked", {.bytes = HEAD_200 "Transfer-Encoding: chunked\r\n\r\n3\r\nhel\r\n2\r\nlo\r\n0\r\n\r\n"}, {0}, JOULET_OK, 200,
     true, "hello", NULL},
    {"until close", {.bytes = "HTTP/1.0 200 OK\r\n\r\nhello"}, {0}, JOULET_OK, 200, true, "hello", NULL},
    {"error status", {.bytes = "HTTP/1.1 503 Busy\r\nContent-Length: 4\r\n\r\nbusy"}, {0}, JOULET_OK, 503, true, "busy", NULL},
    {"announced first", {.bytes = "HTTP/1.1 100 Continue\r\n\r\n" HEAD_200 "Content-Length: 2\r\n\r\nok"}, {0}, JOULET_OK, 200,
     true, "ok", NULL},
    {"redirect is not followed", {.bytes = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n"},
     {0}, JOULET_OK, 302, true, "", NULL},
    {"cut in the length", {.bytes = HEAD_200 "Content-Length: 9\r\n\r\nhello"}, {0}, JOULET_IO, 200, false, "hello", "cut"},
    {"cut between chunks", {.bytes = HEAD_200 "Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n"}, {0}, JOULET_IO, 200, false,
     "hello", "cut"},
    {"cut in a chunk", {.bytes = HEAD_200 "Transfer-Encoding: chunked\r\n\r\n9\r\nhello"}, {0}, JOULET_IO, 200, false, "hello",
     "cut"},
    {"no HTTP", {.bytes = "220 mail.example ESMTP\r\n"}, {0}, JOULET_FORMAT, 0, false, "", "HTTP"},
    {"too long", {.bytes = hello}, {.max_bytes = 4}, JOULET_LIMIT, 200, false, "", "limit of 4 bytes"},
    {"exactly long enough", {.bytes = hello}, {.max_bytes = 5}, JOULET_OK, 200, true, "hello", NULL},
    {"silent before the answer", {.bytes = "H", .hold = true}, {.idle_timeout_s = 0.2}, JOULET_UNREACHABLE, 0, false, "",
     "nothing for 0.2 s"},
    {"silent in the answer", {.bytes = HEAD_200 "Content-Length: 9\r\n\r\nhello", .hold = true}, {.idle_timeout_s = 0.2},
     JOULET_UNREACHABLE, 200, false, "hello", "nothing for 0.2 s"},
    {"late", {.bytes = "H", .hold = true}, {.total_timeout_s = 0.2}, JOULET_UNREACHABLE, 0, false, "", "not done within 0.2 s"},
};
/* clang-format on */

static void whole_answers(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct scripted *s = scripted_start(&rows[i].script);
        struct net_request q = rows[i].q;
        struct net_response r;
        struct joulet_error err;
        q.url = scripted_url(s);
        enum joulet_status status = net_http(&q, &r, &err);
        bool starved = status == JOULET_UNREACHABLE && r.status == 0; /* a slow machine: the timeout came before the server did */
        if (status != rows[i].status || (r.status != rows[i].http && !starved) || r.complete != rows[i].complete)
            fail_msg("%s: %s, HTTP %d, complete %d: %s", rows[i].name, joulet_status_text(status), r.status, r.complete,
                     err.message);
        assert_string_equal(r.body.data ? r.body.data : "", starved ? "" : rows[i].body);
        assert_true(r.t_start_ns > 0 && r.t_start_ns <= r.t_end_ns);
        if (rows[i].words && !strstr(err.message, rows[i].words))
            fail_msg("%s: %s", rows[i].name, err.message);
        net_response_release(&r);
        scripted_stop(s);
    }
}

static void empty_reply(void **state)
{
    (void)state;
    struct script script = {.bytes = ""};
    struct scripted *s = scripted_start(&script);
    struct net_request q = {.url = scripted_url(s)};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(net_http(&q, &r, &err), JOULET_IO);
    assert_int_equal(r.status, 0);
    assert_non_null(strstr(err.message, "without an answer"));
    net_response_release(&r);
    scripted_stop(s);
}

static void nobody_there(void **state)
{
    (void)state;
    struct script script = {.bytes = hello};
    struct scripted *s = scripted_start(&script);
    char *url = jl_strdup(scripted_url(s));
    scripted_stop(s); /* its port is free now: refused */
    struct net_request q = {.url = url};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(net_http(&q, &r, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "refused"));
    assert_int_equal(r.t_start_ns, 0);
    net_response_release(&r);
    free(url);
}

static void no_such_host(void **state)
{
    (void)state;
    struct net_request q = {.url = "http://no-such-host.invalid:8080/", .connect_timeout_s = 2};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(net_http(&q, &r, &err), JOULET_UNREACHABLE);
    net_response_release(&r);
    q.url = "file:///etc/hostname";
    assert_int_equal(net_http(&q, &r, &err), JOULET_USAGE);
    net_response_release(&r);
}

/* ---- what is sent ------------------------------------------------------------------------------------------------ */

static void request_as_asked(void **state)
{
    (void)state;
    struct script script = {.bytes = hello};
    struct scripted *s = scripted_start(&script);
    const struct net_header headers[] = {{"Content-Type", "application/json"}, {"Authorization", "Bearer k"}};
    char *url = jl_strf("%s/v1/x?y=1", scripted_url(s));
    size_t n = 2000000; /* long enough for an Expect header, if one were sent */
    char *body = malloc(n);
    assert_non_null(body);
    memset(body, 'b', n);
    struct net_request q = {.method = "POST", .url = url, .headers = headers, .n_headers = 2, .body = body, .body_len = n};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(net_http(&q, &r, &err), JOULET_OK);
    char *sent = scripted_last_request(s);
    assert_true(jl_starts(sent, "POST /v1/x?y=1 HTTP/1.1\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Type: application/json\r\n"));
    assert_non_null(strstr(sent, "\r\nAuthorization: Bearer k\r\n"));
    assert_non_null(strstr(sent, "\r\nContent-Length: 2000000\r\n"));
    assert_null(strstr(sent, "Expect:"));
    assert_null(strstr(sent, "Accept-Encoding"));
    assert_int_equal(strlen(strstr(sent, "\r\n\r\n") + 4), n);
    free(sent);
    net_response_release(&r);
    scripted_stop(s);
    free(body);
    free(url);
}

static void methods(void **state)
{
    (void)state;
    static const struct {
        const char *method, *body, *line;
    } cases[] = {{NULL, NULL, "GET "},   {"GET", NULL, "GET "},       {"POST", NULL, "POST "},
                 {"POST", "x", "POST "}, {"DELETE", NULL, "DELETE "}, {"PUT", "x", "PUT "}};
    struct script script = {.bytes = hello, .keep = true};
    struct scripted *s = scripted_start(&script);
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct net_request q = {.method = cases[i].method, .url = scripted_url(s), .body = cases[i].body};
        struct net_response r;
        struct joulet_error err;
        q.body_len = cases[i].body ? strlen(cases[i].body) : 0;
        assert_int_equal(net_http(&q, &r, &err), JOULET_OK);
        char *sent = scripted_last_request(s);
        assert_true(jl_starts(sent, cases[i].line));
        assert_string_equal(strstr(sent, "\r\n\r\n") + 4, cases[i].body ? cases[i].body : "");
        free(sent);
        net_response_release(&r);
    }
    /* one thread, one connection */
    assert_int_equal(scripted_requests(s), JL_COUNT(cases));
    assert_int_equal(scripted_connections(s), 1);
    scripted_stop(s);
}

static void no_proxy_for_this_machine(void **state)
{
    (void)state;
    struct script script = {.bytes = hello};
    struct scripted *s = scripted_start(&script);
    struct net_request q = {.url = scripted_url(s)};
    struct net_response r;
    struct joulet_error err;
    setenv("http_proxy", "http://127.0.0.1:1", 1);
    assert_int_equal(net_http(&q, &r, &err), JOULET_OK);
    unsetenv("http_proxy");
    net_response_release(&r);
    scripted_stop(s);
}

/* ---- what is told meanwhile -------------------------------------------------------------------------------------- */

struct story {
    char order[16]; /* s sent, h status, n header, b body */
    size_t steps;
    int status;
    struct jl_buf body;
    int64_t last_ns;
    bool in_order;
    size_t stop_after; /* pieces; 0: never */
    size_t pieces;
    atomic_bool *cancel;
};

static void note(struct story *s, char what, int64_t t_ns)
{
    if ((s->steps == 0 || s->order[s->steps - 1] != what) && s->steps < sizeof(s->order) - 1)
        s->order[s->steps++] = what;
    if (t_ns) {
        s->in_order = s->in_order && t_ns >= s->last_ns;
        s->last_ns = t_ns;
    }
}

static void told_sent(void *user, int64_t t_ns)
{
    note(user, 's', t_ns);
}

static bool told_status(void *user, int status, int64_t t_ns)
{
    struct story *s = user;
    s->status = status;
    note(s, 'h', t_ns);
    return true;
}

static bool told_header(void *user, const char *name, const char *value)
{
    if (strcmp(name, "Content-Type") == 0 && strcmp(value, "text/event-stream") == 0)
        note(user, 'n', 0);
    return true;
}

static bool told_body(void *user, const char *bytes, size_t n, int64_t t_ns)
{
    struct story *s = user;
    note(s, 'b', t_ns);
    jl_buf_add(&s->body, bytes, n);
    s->pieces++;
    if (s->cancel)
        atomic_store(s->cancel, true);
    return s->stop_after == 0 || s->pieces < s->stop_after;
}

static const char stream[] = HEAD_200 "Content-Type:  text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
                                      "3\r\none\r\n3\r\ntwo\r\n5\r\nthree\r\n0\r\n\r\n";

static enum joulet_status tell(struct story *s, const struct script *script, const atomic_bool *cancel, struct net_response *r,
                               struct joulet_error *err)
{
    struct scripted *server = scripted_start(script);
    struct net_request q = {.method = "POST",
                            .url = scripted_url(server),
                            .body = "{}",
                            .body_len = 2,
                            .cancel = cancel,
                            .user = s,
                            .on_sent = told_sent,
                            .on_status = told_status,
                            .on_header = told_header,
                            .on_body = told_body};
    s->in_order = true;
    jl_buf_init(&s->body, 4096);
    enum joulet_status status = net_http(&q, r, err);
    scripted_stop(server);
    return status;
}

static void told_in_order(void **state)
{
    (void)state;
    static const struct script scripts[] = {
        {.bytes = stream}, {.bytes = stream, .piece = 1}, {.bytes = stream, .piece = 60, .pause_ms = 5}};
    for (size_t i = 0; i < JL_COUNT(scripts); i++) {
        struct story s = {.steps = 0};
        struct net_response r;
        struct joulet_error err;
        assert_int_equal(tell(&s, &scripts[i], NULL, &r, &err), JOULET_OK);
        assert_string_equal(s.order, "shnb");
        assert_int_equal(s.status, 200);
        assert_string_equal(s.body.data, "onetwothree");
        assert_true(s.in_order);
        assert_true(s.last_ns >= r.t_start_ns && s.last_ns <= r.t_end_ns);
        assert_int_equal(r.body.len, 0);
        assert_true(r.complete);
        jl_buf_release(&s.body);
        net_response_release(&r);
    }
}

static void ended_by_the_caller(void **state)
{
    (void)state;
    struct story s = {.stop_after = 1};
    struct script script = {.bytes = stream, .hold = true};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(tell(&s, &script, NULL, &r, &err), JOULET_OK);
    assert_int_equal(s.pieces, 1);
    assert_false(r.complete);
    jl_buf_release(&s.body);
    net_response_release(&r);
}

/* The server keeps silent for ever and the timeout is ten minutes: only the cancel can end this. */
static void cancelled(void **state)
{
    (void)state;
    atomic_bool cancel = false;
    struct story s = {.cancel = &cancel};
    struct script script = {.bytes = HEAD_200 "Content-Length: 90\r\n\r\nhello", .hold = true};
    struct net_response r;
    struct joulet_error err;
    assert_int_equal(tell(&s, &script, &cancel, &r, &err), JOULET_CANCELLED);
    assert_string_equal(s.body.data, "hello");
    assert_int_equal(r.status, 200);
    assert_false(r.complete);
    jl_buf_release(&s.body);
    net_response_release(&r);
}

static void *cancel_soon(void *arg)
{
    usleep(20000);
    atomic_store((atomic_bool *)arg, true);
    return NULL;
}

static void cancelled_by_another_thread(void **state)
{
    (void)state;
    atomic_bool cancel = false;
    struct script script = {.bytes = "", .hold = true};
    struct scripted *server = scripted_start(&script);
    struct net_request q = {.url = scripted_url(server), .cancel = &cancel};
    struct net_response r;
    struct joulet_error err;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, cancel_soon, &cancel), 0);
    assert_int_equal(net_http(&q, &r, &err), JOULET_CANCELLED);
    pthread_join(thread, NULL);
    net_response_release(&r);
    scripted_stop(server);
}

/* ---- threads ----------------------------------------------------------------------------------------------------- */

struct worker {
    const char *url;
    size_t ok;
};

static void *work(void *arg)
{
    struct worker *w = arg;
    for (int i = 0; i < 5; i++) {
        struct net_request q = {.url = w->url};
        struct net_response r;
        struct joulet_error err;
        if (net_http(&q, &r, &err) == JOULET_OK && r.body.len == 5)
            w->ok++;
        net_response_release(&r);
    }
    return NULL;
}

static void several_threads(void **state)
{
    (void)state;
    struct script script = {.bytes = hello};
    struct scripted *s = scripted_start(&script);
    struct worker workers[4];
    pthread_t threads[4];
    for (size_t i = 0; i < JL_COUNT(threads); i++) {
        workers[i] = (struct worker){.url = scripted_url(s)};
        assert_int_equal(pthread_create(&threads[i], NULL, work, &workers[i]), 0);
    }
    for (size_t i = 0; i < JL_COUNT(threads); i++) {
        pthread_join(threads[i], NULL);
        assert_int_equal(workers[i].ok, 5);
    }
    assert_int_equal(scripted_requests(s), 20);
    scripted_stop(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(broken_module_is_named),
        cmocka_unit_test(whole_answers),
        cmocka_unit_test(empty_reply),
        cmocka_unit_test(nobody_there),
        cmocka_unit_test(no_such_host),
        cmocka_unit_test(request_as_asked),
        cmocka_unit_test(methods),
        cmocka_unit_test(no_proxy_for_this_machine),
        cmocka_unit_test(told_in_order),
        cmocka_unit_test(ended_by_the_caller),
        cmocka_unit_test(cancelled),
        cmocka_unit_test(cancelled_by_another_thread),
        cmocka_unit_test(several_threads),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
