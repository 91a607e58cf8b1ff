/* Several upstreams without a word about models: their own lists say who has which. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "server/model_lists.h"
#include "tests/server/front.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define HELLO(who)                                                                                                               \
    {                                                                                                                            \
        .bytes = "HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Type: text/plain\r\n\r\n" who                                  \
    }
#define LIST(path_, length, body_)                                                                                               \
    {                                                                                                                            \
        .path = path_, .bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: " length "\r\n\r\n" body_  \
    }
#define NOT_FOUND(path_)                                                                                                         \
    {                                                                                                                            \
        .path = path_, .bytes = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"                                            \
    }

static const struct play ollama[] = {
    LIST("/v1/models", "85",
         "{\"object\":\"list\",\"data\":[{\"id\":\"llama3.2:latest\",\"created\":17},{\"id\":\"both\",\"of\":1}]}"),
    LIST("/api/tags", "53", "{\"models\":[{\"name\":\"llama3.2:latest\",\"size\":1.5}, 3]}"), HELLO("A")};
static const struct play vllm[] = {
    LIST("/v1/models", "56", "{\"data\":[{\"id\":\"Qwen/Qwen3\"},{\"id\":\"both\",\"of\":2},{}]}  "), NOT_FOUND("/api/tags"),
    HELLO("B")};
static const struct play garbage[] = {LIST("/v1/models", "9", "{\"data\":7"), LIST("/api/tags", "2", "[]"), HELLO("C")};

struct three {
    struct upstream *up[3];
    struct server_upstream to[3];
    struct server *server;
};

static void open_three(struct three *t, size_t n)
{
    static const struct {
        const struct play *plays;
        size_t n;
    } all[] = {{ollama, JL_COUNT(ollama)}, {vllm, JL_COUNT(vllm)}, {garbage, JL_COUNT(garbage)}};
    struct joulet_error err;
    *t = (struct three){.server = NULL};
    for (size_t i = 0; i < n; i++) {
        t->up[i] = upstream_start(all[i].plays, all[i].n);
        t->to[i] = (struct server_upstream){.url = upstream_url(t->up[i])};
    }
    struct server_options o = {.listen = "127.0.0.1:0", .upstreams = t->to, .n_upstreams = n, .connections_max = 16};
    if (server_open(&t->server, &o, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void close_three(struct three *t)
{
    server_close(t->server);
    for (size_t i = 0; i < JL_COUNT(t->up); i++)
        if (t->up[i])
            upstream_stop(t->up[i]);
}

static char who_answers(const struct three *t, const char *model)
{
    char request[400], body[200];
    struct answer a;
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"prompt\":\"x\"}", model);
    snprintf(
        request, sizeof request,
        "POST /v1/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\nContent-Length: %zu\r\n\r\n%s",
        strlen(body), body);
    ask(t->server, request, &a);
    char who = a.status == 200 && a.body ? a.body[0] : '?';
    answer_release(&a);
    return who;
}

static void a_request_goes_to_who_lists_its_model(void **state)
{
    static const struct {
        const char *model;
        char who;
    } rows[] = {{"llama3.2:latest", 'A'}, {"llama3.2", 'A'}, {"Qwen/Qwen3", 'B'}, {"both", 'A'}, {"unheard of", 'A'}, {"", 'A'}};
    (void)state;
    struct three t;
    open_three(&t, 3);
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (who_answers(&t, rows[i].model) != rows[i].who)
            fail_msg("%s: %c", rows[i].model, who_answers(&t, rows[i].model));
    close_three(&t);
}

/* An upstream that is down keeps its models: who asks for them hears that it is down. */
static void a_dead_upstream_keeps_its_models(void **state)
{
    (void)state;
    struct three t;
    open_three(&t, 2);
    upstream_stop(t.up[1]);
    t.up[1] = NULL;
    assert_int_equal(who_answers(&t, "Qwen/Qwen3"), '?');
    assert_int_equal(who_answers(&t, "llama3.2"), 'A');
    close_three(&t);
}

static void lists_come_together(void **state)
{
    (void)state;
    struct three t;
    struct answer a;
    open_three(&t, 3);
    ask(t.server, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", &a);
    assert_int_equal(a.status, 200);
    assert_string_equal(a.body,
                        "{\"object\":\"list\",\"data\":[{\"id\":\"llama3.2:latest\",\"created\":17},{\"id\":\"both\",\"of\":1},"
                        "{\"id\":\"Qwen/Qwen3\"}]}\n");
    answer_release(&a);
    ask(t.server, "GET /api/tags?x=1 HTTP/1.1\r\nHost: localhost\r\n\r\n", &a);
    assert_string_equal(a.body, "{\"models\":[{\"name\":\"llama3.2:latest\",\"size\":1.5}]}\n");
    answer_release(&a);
    close_three(&t);
}

/* One upstream alone is passed on byte for byte. */
static void one_upstream_is_left_alone(void **state)
{
    (void)state;
    struct three t;
    struct answer a;
    open_three(&t, 1);
    assert_int_equal(upstream_requests(t.up[0]), 0);
    ask(t.server, "GET /v1/models HTTP/1.1\r\nHost: localhost\r\n\r\n", &a);
    assert_non_null(strstr(ollama[0].bytes, a.body));
    answer_release(&a);
    close_three(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_request_goes_to_who_lists_its_model),
                                       cmocka_unit_test(a_dead_upstream_keeps_its_models), cmocka_unit_test(lists_come_together),
                                       cmocka_unit_test(one_upstream_is_left_alone)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
