/* Upstreams that are reached through a proxy of the environment (http_proxy, no_proxy), and those that never are. */
#include "tests/base/test.h"
#include "tests/server/front.h"

#include <stdlib.h>
#include <string.h>

#define GET "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

static const struct play proxy_plays[] = {
    {.path = "engine.example:8080", .bytes = "HTTP/1.1 200 Connection established\r\n\r\n"},
    {.path = "192.0.2.1:8080", .bytes = "HTTP/1.1 200 Connection established\r\n\r\n"},
    {.path = "refused.example:8080", .bytes = "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n"},
    {.path = "/x", .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 11\r\n\r\nthrough it!"},
};
static const struct play engine_plays[] = {{.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\ndirect"}};

/* What a client gets of that upstream; url NULL: of the engine, which is on loopback. */
static void must_answer(const char *url, int status, const char *part)
{
    const struct server_upstream up = {.url = url};
    struct server_options o = {.upstreams = url ? &up : NULL, .n_upstreams = url ? 1 : 0, .connect_s = 0.3};
    struct front f;
    struct answer a;
    front_start(&f, engine_plays, JL_COUNT(engine_plays), &o);
    ask(f.server, GET, &a);
    print_message("  %s: %d %s\n", url ? url : "loopback", a.status, a.body);
    assert_int_equal(a.status, status);
    assert_non_null(strstr(a.body, part));
    answer_release(&a);
    front_stop(&f);
}

/* A tunnel is asked for, of plain HTTP as well: what a client sends to its engine is for no proxy's cache. */
static void a_proxy_of_the_environment(void **state)
{
    struct upstream *proxy = upstream_start(proxy_plays, JL_COUNT(proxy_plays));
    (void)state;
    setenv("http_proxy", upstream_url(proxy), 1);
    unsetenv("no_proxy");
    unsetenv("NO_PROXY");
    must_answer("http://engine.example:8080", 200, "through it!");
    assert_int_equal(upstream_requests(proxy), 2);
    char *tunnel = upstream_request(proxy, 0), *request = upstream_request(proxy, 1);
    assert_true(jl_starts(tunnel, "CONNECT engine.example:8080 HTTP/1.1\r\nHost: engine.example:8080\r\n"));
    assert_true(jl_starts(request, "GET /x HTTP/1.1\r\nHost: engine.example:8080\r\n"));
    free(tunnel);
    free(request);
    must_answer("http://refused.example:8080", 502, "403");
    size_t before = upstream_requests(proxy);
    must_answer(NULL, 200, "direct"); /* a proxy elsewhere has another loopback */
    setenv("no_proxy", "192.0.2.1,engine.example", 1);
    must_answer("http://192.0.2.1:8080", 502, "http://192.0.2.1:8080"); /* an address of nobody: it is tried, and in vain */
    assert_int_equal(upstream_requests(proxy), before);
    unsetenv("no_proxy");
    must_answer("http://192.0.2.1:8080", 200, "through it!");
    unsetenv("http_proxy");
    upstream_stop(proxy);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_proxy_of_the_environment)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
