/* 32 clients at once, each doing everything that clients do, with metering on: all protocols, streamed and not, slow readers,
 * errors, answers that break off, clients that leave, heads that are none, tunnels, readers of the API. Every byte of every
 * answer is compared with what the upstream sent, and at the end the accounts have every request and every token. Nothing here
 * waits for a time, so that it runs under sanitizers as well, which is what it is for. */
#include "lib/platform/platform.h"
#include "server/recognise_apart.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <math.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { CLIENTS = 32, LONG_PIECES = 1500 };

#define PIECE "data: {\"choices\":[{\"delta\":{\"content\":\"abcdefgh\"},\"index\":0}]}\n\n"
#define OPENAI_END                                                                                                               \
    "data: {\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}]}\n\ndata: {\"choices\":[],\"usage\":{\"prompt_tokens\":3,"   \
    "\"completion_tokens\":8}}\n\ndata: [DONE]\n\n"
#define OLLAMA_PIECE "{\"model\":\"m\",\"message\":{\"role\":\"assistant\",\"content\":\"a\"},\"done\":false}\n"
#define OLLAMA_END                                                                                                               \
    "\"done\":true,\"done_reason\":\"stop\",\"total_duration\":9000000,\"load_duration\":1000000,\"prompt_eval_count\":5,"       \
    "\"prompt_eval_duration\":2000000,\"eval_count\":6,\"eval_duration\":5000000}"
#define DELTA                                                                                                                    \
    "event: content_block_delta\ndata: {\"type\":\"content_block_delta\",\"index\":0,\"delta\":{\"type\":\"text_delta\","        \
    "\"text\":\"a\"}}\n\n"
#define MESSAGES "{\"model\":\"m\",\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]"

/* What a client asks and gets. tokens: generated, as the engine tells them; -1: it tells none. */
static const struct exchange {
    const char *path, *request, *type, *body;
    bool chunked;
    int status, tokens;
    const char *protocol;
} exchanges[] = {
    {"/v1/chat/completions", MESSAGES ",\"stream\":true,\"stream_options\":{\"include_usage\":true}}", "text/event-stream",
     PIECE PIECE PIECE PIECE PIECE PIECE PIECE PIECE OPENAI_END, true, 200, 8, "openai"},
    {"/p/v1/chat/completions", MESSAGES "}", "application/json",
     "{\"choices\":[{\"message\":{\"content\":\"abc\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,"
     "\"completion_tokens\":4}}",
     false, 200, 4, "openai"},
    {"/api/chat", MESSAGES "}", "application/x-ndjson",
     OLLAMA_PIECE OLLAMA_PIECE OLLAMA_PIECE "{\"model\":\"m\"," OLLAMA_END "\n", true, 200, 6, "ollama"},
    {"/api/generate", "{\"model\":\"m\",\"prompt\":\"a\",\"stream\":false}", "application/json",
     "{\"model\":\"m\",\"response\":\"abc\"," OLLAMA_END, false, 200, 6, "ollama"},
    {"/v1/messages", "{\"model\":\"m\",\"max_tokens\":9,\"stream\":true,\"messages\":[{\"role\":\"user\",\"content\":\"a\"}]}",
     "text/event-stream",
     "event: message_start\ndata: {\"type\":\"message_start\",\"message\":{\"model\":\"m\",\"usage\":{\"input_tokens\":7,"
     "\"output_tokens\":1}}}\n\n" DELTA DELTA
     "event: message_delta\ndata: {\"type\":\"message_delta\",\"delta\":{\"stop_reason\":\"end_turn\"},\"usage\":{"
     "\"output_tokens\":5}}\n\nevent: message_stop\ndata: {\"type\":\"message_stop\"}\n\n",
     true, 200, 5, "anthropic"},
    {"/v1/responses", "{\"model\":\"m\",\"input\":\"a\"}", "application/json",
     "{\"object\":\"response\",\"status\":\"completed\",\"model\":\"m\",\"output\":[{\"type\":\"message\",\"content\":[{\"type\":"
     "\"output_text\",\"text\":\"abc\"}]}],\"usage\":{\"input_tokens\":6,\"output_tokens\":3}}",
     false, 200, 3, "responses"},
    {"/completion", "{\"model\":\"m\",\"prompt\":\"a\",\"stream\":true}", "text/event-stream",
     "data: {\"content\":\"a\",\"stop\":false}\n\ndata: {\"content\":\"b\",\"stop\":false}\n\ndata: "
     "{\"content\":\"\",\"stop\":true,"
     "\"stop_type\":\"limit\",\"timings\":{\"prompt_n\":3,\"prompt_ms\":2,\"predicted_n\":2,\"predicted_ms\":4}}\n\n",
     true, 200, 2, "llama.cpp"},
    {"/v1/embeddings", "{\"model\":\"m\",\"input\":\"a\"}", "application/json", "{\"data\":[{\"embedding\":[0.5,1]}]}", false,
     200, -1, NULL},
    {"/x/api/chat", "{\"model\":\"none\"}", "application/json", "{\"error\":\"no\"}", false, 404, -1, NULL},
    {"/v1/models", "{}", "application/json", "{\"data\":[]}", false, 200, -1, NULL},
};

enum { EXCHANGES = JL_COUNT(exchanges) };

struct crowd {
    struct metered_server s;
    struct upstream *upstream;
    char *slow_body;
    atomic_size_t bad;
};
struct member {
    struct crowd *c;
    size_t i;
    pthread_t thread;
};

static void must(struct crowd *c, bool good, const char *what, const struct answer *a)
{
    if (good)
        return;
    print_error("%s: %d %s %.300s\n", what, a ? a->status : 0, a && a->whole ? "whole" : "cut", a ? a->body : "");
    atomic_fetch_add(&c->bad, 1);
}

/* The bytes of the upstream: without the object that was put in, and the blanks that fill a length told before. */
static size_t without_energy(char *body, size_t n)
{
    char *from = strstr(body, ",\"energy\":{\"net_j\":"), *to = from ? strstr(from, "]}") : NULL;
    if (!to)
        return n;
    memmove(from, to + 2, (size_t)(body + n - (to + 2)) + 1);
    n -= (size_t)(to + 2 - from);
    while (n && body[n - 1] == ' ')
        body[--n] = '\0';
    return n;
}

static void check(struct crowd *c, const char *what, struct answer *a, int status, const char *want)
{
    must(c, a->status == status && a->whole, what, a);
    char *body = strndup(a->body, a->n);
    size_t n = without_energy(body, a->n);
    must(c, n == strlen(want) && memcmp(body, want, n) == 0, what, a);
    free(body);
    answer_release(a);
}

static void asks(struct crowd *c, const struct exchange *x)
{
    struct answer a;
    char *request = post(x->path, x->request);
    ask(c->s.server, request, &a);
    check(c, x->path, &a, x->status, x->body);
    free(request);
}

/* Two requests on one connection, and with as small a buffer as may be. */
static void reads_slowly(struct crowd *c)
{
    struct answer a;
    char byte;
    int fd = client_connect(c->s.server), size = 4096;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    asks(c, &exchanges[0]);
    char *request = post("/slow/v1/chat/completions", exchanges[0].request);
    client_say(fd, request);
    must(c, recv(fd, &byte, 1, MSG_PEEK) == 1, "slow", NULL);
    asks(c, &exchanges[1]); /* in between */
    client_read(fd, &a, false);
    check(c, "slow", &a, 200, c->slow_body);
    free(request);
    request = post(exchanges[1].path, exchanges[1].request);
    client_say(fd, request);
    client_read(fd, &a, false);
    check(c, "on the same connection", &a, 200, exchanges[1].body);
    free(request);
    close(fd);
}

static void broken_off(struct crowd *c)
{
    struct answer a;
    char *request = post("/reset/v1/chat/completions", "{\"model\":\"gone\",\"stream\":true}");
    ask(c->s.server, request, &a);
    must(c, !a.whole && a.n <= strlen(PIECE) && memcmp(a.body, PIECE, a.n) == 0, "broken off", &a);
    answer_release(&a);
    free(request);
}

/* Leaves in the middle of an answer, before one, and in the middle of its own request. */
static void leaves(struct crowd *c)
{
    static const char half[] = "POST /hold/v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{\"mod";
    char bytes[32], *request = post("/hold/v1/chat/completions", "{\"model\":\"gone\",\"stream\":true}");
    for (int i = 0; i < 3; i++) {
        int fd = client_connect(c->s.server);
        client_say(fd, i < 2 ? request : half);
        if (i == 0)
            must(c, recv(fd, bytes, sizeof(bytes), 0) > 0, "leaves", NULL);
        close(fd);
    }
    free(request);
}

static void reads_the_api(struct crowd *c)
{
    static const char *const paths[] = {"/joulet/energy", "/joulet/requests?limit=50", "/joulet/health", "/joulet/metrics",
                                        "/joulet/requests?model=m*&limit=5"};
    for (size_t i = 0; i < JL_COUNT(paths); i++) {
        struct answer a;
        char *request = jl_strf("GET %s HTTP/1.1\r\nHost: localhost\r\n\r\n", paths[i]);
        ask(c->s.server, request, &a);
        must(c, a.status == 200 && a.whole && a.n > 10, paths[i], &a);
        answer_release(&a);
        free(request);
    }
}

static void speaks_nonsense(struct crowd *c)
{
    static const char *const rows[] = {"SSH-2.0-x\r\n\r\n",
                                       "POST /x HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
                                       "GET / HTTP/1.1\r\nHost: elsewhere.example\r\n\r\n"};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct answer a;
        ask(c->s.server, rows[i], &a);
        must(c, a.status == 0 || a.status / 100 == 4, "nonsense", &a);
        answer_release(&a);
    }
}

static void tunnels(struct crowd *c)
{
    static const char frame[5] = {(char)0x81, 3, 'a', 'b', 'c'};
    struct answer a;
    char bytes[sizeof frame] = "";
    int fd = client_connect(c->s.server);
    client_say(fd, "GET /socket HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n");
    client_read(fd, &a, true);
    must(c, a.status == 101, "tunnel", &a);
    client_send(fd, frame, sizeof frame);
    bool same = recv(fd, bytes, sizeof bytes, MSG_WAITALL) == sizeof bytes && memcmp(bytes, frame, sizeof frame) == 0;
    must(c, same, "a tunnel's bytes", NULL);
    answer_release(&a);
    close(fd);
}

static void *live(void *arg)
{
    static void (*const others[])(struct crowd *) = {reads_slowly, broken_off, leaves, reads_the_api, speaks_nonsense, tunnels};
    struct member *m = arg;
    for (size_t k = 0; k < EXCHANGES + JL_COUNT(others); k++) {
        size_t what = (m->i + k) % (EXCHANGES + JL_COUNT(others));
        if (what < EXCHANGES)
            asks(m->c, &exchanges[what]);
        else
            others[what - EXCHANGES](m->c);
    }
    return NULL;
}

/* ---- the upstream --------------------------------------------------------------------------------------------------------- */

/* As an engine frames it: a length, or a chunk a piece of text. */
static char *answer_of(int status, const char *type, const char *body, bool chunked)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 22);
    jl_buf_printf(&out, "HTTP/1.1 %d X\r\nContent-Type: %s\r\n", status, type);
    if (!chunked) {
        jl_buf_printf(&out, "Content-Length: %zu\r\n\r\n%s", strlen(body), body);
        return out.data;
    }
    jl_buf_str(&out, "Transfer-Encoding: chunked\r\n\r\n");
    for (const char *p = body; *p;) {
        size_t n = strcspn(p, "\n") + 1;
        jl_buf_printf(&out, "%zx\r\n%.*s\r\n", n, (int)n, p);
        p += n;
    }
    jl_buf_str(&out, "0\r\n\r\n");
    return out.data;
}

static char *slow_body(void)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 22);
    for (int i = 0; i < LONG_PIECES; i++)
        jl_buf_str(&out, PIECE);
    jl_buf_str(&out, OPENAI_END);
    return out.data;
}

/* What is told of all requests, once nothing is under way and every figure is final. */
static json_t *settled_list(const struct server *s)
{
    for (int64_t until_ns = jl_mono_ns() + 300 * JL_NS_PER_S; jl_mono_ns() < until_ns; jl_sleep_until(jl_mono_ns() + 50000000)) {
        json_t *list = get(s, "/joulet/requests?limit=1000", 200), *r;
        size_t i, waiting = 0;
        json_array_foreach(json_object_get(list, "requests"), i, r)
        {
            const char *is = json_string_value(json_object_get(r, "state"));
            waiting += strcmp(is, "running") == 0 || json_is_true(json_object_get(json_object_get(r, "energy"), "provisional"));
        }
        if (!waiting)
            return list;
        json_decref(list);
    }
    fail_msg("requests do not become final");
    return NULL;
}

static bool is_wholly_seen(const json_t *r)
{
    const json_t *flags = json_object_get(json_object_get(r, "energy"), "flags");
    for (size_t i = 0; i < json_array_size(flags); i++)
        if (strcmp(json_string_value(json_array_get(flags, i)), "not wholly seen") == 0)
            return false;
    return true;
}

/* Tokens that some exchange of this protocol has: a machine that is too slow to look at everything says of which request. */
static bool are_told(const char *protocol, double tokens)
{
    for (size_t i = 0; i < EXCHANGES; i++)
        if (exchanges[i].protocol && strcmp(exchanges[i].protocol, protocol) == 0 && exchanges[i].tokens == (int)tokens)
            return true;
    return false;
}

static void check_accounts(const struct metered_server *x)
{
    const struct server *s = x->server;
    struct accounts_sums total;
    json_t *list = settled_list(s), *all = get(s, "/joulet/energy", 200), *r;
    double tokens = 0, net_j = 0;
    size_t i, cut = 0, done = 0, seen = 0;
    json_array_foreach(json_object_get(list, "requests"), i, r)
    {
        const char *is = json_string_value(json_object_get(r, "state")), *model = json_string_value(json_object_get(r, "model"));
        double generated = number(json_object_get(r, "tokens"), "generated"),
               own_j = number(json_object_get(r, "energy"), "net_j");
        cut += strcmp(is, "cut") == 0;
        done += strcmp(is, "done") == 0;
        tokens += isnan(generated) ? 0 : generated;
        net_j += isnan(own_j) ? 0 : own_j;
        if (!model || strcmp(model, "m") != 0 || !is_wholly_seen(r) || isnan(generated))
            continue;
        assert_true(are_told(json_string_value(json_object_get(r, "protocol")), generated));
        seen++;
    }
    assert_int_equal(cut, CLIENTS); /* those of the upstream that resets: all others left, or are done */
    assert_int_equal(done, CLIENTS * (EXCHANGES - 1 /* the list of models */ + 4 /* of the slow one */ + 1 /* the tunnel */));
    assert_true(seen > 0);
    accounts_total(metering_accounts(x->metering), &total);
    assert_int_equal(total.requests, json_array_size(json_object_get(list, "requests")));
    assert_int_equal(total.generated, tokens);
    assert_near(total.energy.net_j, net_j, 1e-5);
    assert_conserved(json_object_get(all, "total"));
    json_decref(list);
    json_decref(all);
}

static void a_crowd(void **state)
{
    static const char piece_chunk[] =
        "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n40\r\n" PIECE "\r\n";
    struct crowd c = {.slow_body = slow_body()};
    struct member members[CLIENTS];
    struct play plays[EXCHANGES + 4];
    char *bytes[EXCHANGES + 1];
    (void)state;
    for (size_t i = 0; i < EXCHANGES; i++) {
        const struct exchange *x = &exchanges[i];
        bytes[i] = answer_of(x->status, x->type, x->body, x->chunked);
        plays[i] = (struct play){.path = x->path, .bytes = bytes[i], .cut = i % 3 ? 0 : 60, .piece = 97 + i, .pause_ms = 1};
    }
    bytes[EXCHANGES] = answer_of(200, "text/event-stream", c.slow_body, true);
    plays[EXCHANGES] = (struct play){.path = "/slow/v1/chat/completions", .bytes = bytes[EXCHANGES]};
    plays[EXCHANGES + 1] = (struct play){.path = "/reset/v1/chat/completions", .bytes = piece_chunk, .then = THEN_RESET};
    plays[EXCHANGES + 2] = (struct play){.path = "/hold/v1/chat/completions", .bytes = piece_chunk, .then = THEN_HOLD};
    plays[EXCHANGES + 3] =
        (struct play){.path = "/socket",
                      .bytes = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n\r\n",
                      .then = THEN_ECHO};
    open_metering(&c.s, "10;group=cpu;period=5ms");
    c.upstream = upstream_start(plays, JL_COUNT(plays));
    const struct server_upstream to = {.url = upstream_url(c.upstream)};
    struct server_options o = {
        .listen = "127.0.0.1:0", .upstreams = &to, .n_upstreams = 1, .metering = c.s.metering, .inject = SPLICE_ENERGY};
    struct joulet_error err;
    assert_int_equal(server_open(&c.s.server, &o, &err), JOULET_OK);
    for (size_t i = 0; i < CLIENTS; i++) {
        members[i] = (struct member){.c = &c, .i = i};
        assert_int_equal(pthread_create(&members[i].thread, NULL, live, &members[i]), 0);
    }
    for (size_t i = 0; i < CLIENTS; i++)
        pthread_join(members[i].thread, NULL);
    assert_int_equal(atomic_load(&c.bad), 0);
    for (int64_t until_ns = jl_mono_ns() + 300 * JL_NS_PER_S; server_active(c.s.server) && jl_mono_ns() < until_ns;)
        jl_sleep_until(jl_mono_ns() + 5000000);
    assert_int_equal(server_active(c.s.server), 0);
    check_accounts(&c.s);
    close_metering(&c.s);
    upstream_stop(c.upstream);
    for (size_t i = 0; i < JL_COUNT(bytes); i++)
        free(bytes[i]);
    free(c.slow_body);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_crowd)};
    int code;
    if (apart_main(argc, argv, &code)) /* as the program does */
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
