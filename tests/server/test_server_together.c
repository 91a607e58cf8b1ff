/* Streams whose pieces follow each other quickly are passed by one thread for many (net/serve_loop.h): every byte arrives in its
 * order, and whoever leaves, does not read, or stops the server gets what he would get from a thread of his own. The other tests
 * of what passes and of faults run a second time with streams passed this way from the first one on. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "tests/server/front.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HOST     "Host: localhost\r\n"
#define HEAD     "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
#define LAST     "0\r\n\r\n"
#define EVENT    "data: %06zu\n\n"
#define PIECE    19 /* of the stream: an event in a chunk */
#define FOR_EVER 1000000
enum { STREAMS = 24, SHORT = 100, FLOOD = 100, TIMES = 400 };

/* Chunks that say which they are; in pieces with a millisecond between them. */
static struct play stream_of(const char *path, size_t chunks)
{
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    jl_buf_printf(&b, HEAD);
    for (size_t i = 0; i < chunks; i++)
        jl_buf_printf(&b, "e\r\n" EVENT "\r\n", i);
    return (struct play){
        .path = path, .bytes = b.data, .n = b.len, .cut = sizeof HEAD - 1, .piece = PIECE, .pause_ms = 1, .last = LAST};
}

/* Far more than sockets hold, as fast as it goes. */
static struct play flood_of(const char *path)
{
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    jl_buf_printf(&b, HEAD);
    for (size_t i = 0; i < FLOOD; i++)
        jl_buf_printf(&b, "3e8\r\n%01000zu\r\n", i);
    return (struct play){.path = path, .bytes = b.data, .n = b.len, .head = sizeof HEAD - 1, .repeat = TIMES - 1, .last = LAST};
}

static char *text_of(const char *format, size_t chunks)
{
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    for (size_t i = 0; i < chunks; i++)
        jl_buf_printf(&b, format, i);
    return b.data;
}

static void wait_until_idle(struct front *f)
{
    for (int64_t until_ns = jl_mono_ns() + 180 * JL_NS_PER_S; server_active(f->server) && jl_mono_ns() < until_ns;)
        jl_sleep_until(jl_mono_ns() + 2000000);
    assert_int_equal(server_active(f->server), 0);
}

struct client {
    struct front *f;
    const char *target;
    size_t leaves; /* after so many bytes; 0: reads to the end */
    struct answer a;
    pthread_t thread;
};

static void *be_client(void *arg)
{
    struct client *c = arg;
    char request[100], bytes[512];
    int fd = client_connect(c->f->server);
    snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", c->target);
    client_say(fd, request);
    for (size_t n = 0; n < c->leaves;) {
        ssize_t got = recv(fd, bytes, sizeof bytes, 0);
        if (got <= 0)
            break;
        n += (size_t)got;
    }
    if (!c->leaves)
        client_read(fd, &c->a, false);
    close(fd);
    return NULL;
}

static void start(struct client *c, struct front *f, const char *target, size_t leaves)
{
    *c = (struct client){.f = f, .target = target, .leaves = leaves};
    assert_int_equal(pthread_create(&c->thread, NULL, be_client, c), 0);
}

/* Some read to the end, some leave in the middle; the upstream of those hears of it, or it would not become idle. */
static void streams_arrive_whole(void **state)
{
    const struct play plays[] = {stream_of("/short", SHORT), stream_of("/long", 100000)};
    char *text = text_of(EVENT, SHORT);
    struct client clients[STREAMS];
    struct front f;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (size_t i = 0; i < STREAMS; i++)
        start(&clients[i], &f, i % 3 ? "/short" : "/long", i % 3 ? 0 : 400 + i * 50);
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(clients[i].thread, NULL);
        if (!clients[i].leaves) {
            assert_true(clients[i].a.whole);
            assert_string_equal(clients[i].a.body, text);
            answer_release(&clients[i].a);
        }
    }
    wait_until_idle(&f);
    front_stop(&f);
    free(text);
    for (size_t i = 0; i < JL_COUNT(plays); i++)
        free((char *)(uintptr_t)plays[i].bytes);
}

/* One does not read while the others do: they are not held up, and all that it was sent is there when it does. */
static void one_does_not_read(void **state)
{
    const struct play plays[] = {stream_of("/short", SHORT), flood_of("/big")};
    char *text = text_of("%01000zu", FLOOD);
    size_t n = strlen(text);
    struct client clients[STREAMS];
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    int fd = client_connect(f.server), size = 65536;
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    client_say(fd, "GET /big HTTP/1.1\r\n" HOST "\r\n");
    for (size_t i = 0; i < STREAMS; i++)
        start(&clients[i], &f, "/short", 0);
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_true(clients[i].a.whole);
        answer_release(&clients[i].a);
    }
    assert_true(upstream_sent(f.upstream) < n * TIMES / 2);
    client_read(fd, &a, false);
    assert_true(a.whole);
    assert_int_equal(a.n, n * TIMES);
    for (size_t i = 0; i < TIMES; i++)
        assert_memory_equal(a.body + i * n, text, n);
    answer_release(&a);
    close(fd);
    front_stop(&f);
    free(text);
    for (size_t i = 0; i < JL_COUNT(plays); i++)
        free((char *)(uintptr_t)plays[i].bytes);
}

static void wait_for_requests(struct front *f, size_t n)
{
    for (int k = 0; k < 180000 && upstream_requests(f->upstream) < n; k++)
        usleep(1000);
    assert_int_equal(upstream_requests(f->upstream), n);
}

/* What is under way ends as it should, and then the server is empty. */
static void drains_in_the_middle(void **state)
{
    const struct play plays[] = {stream_of("/short", SHORT)};
    struct client clients[STREAMS];
    struct front f;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (size_t i = 0; i < STREAMS; i++)
        start(&clients[i], &f, "/short", 0);
    wait_for_requests(&f, STREAMS);
    assert_true(server_drain(f.server, 60));
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_true(clients[i].a.whole);
        answer_release(&clients[i].a);
    }
    front_stop(&f);
    free((char *)(uintptr_t)plays[0].bytes);
}

/* Streams that would go on are cut when the server closes, and their clients see that they are not whole. */
static void stops_in_the_middle(void **state)
{
    const struct play plays[] = {stream_of("/long", FOR_EVER)};
    struct client clients[STREAMS];
    struct front f;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), NULL);
    for (size_t i = 0; i < STREAMS; i++)
        start(&clients[i], &f, "/long", 0);
    wait_for_requests(&f, STREAMS);
    usleep(20000); /* some are passed together by now; if not, that is right as well */
    front_stop(&f);
    for (size_t i = 0; i < STREAMS; i++) {
        pthread_join(clients[i].thread, NULL);
        assert_false(clients[i].a.whole);
        answer_release(&clients[i].a);
    }
    free((char *)(uintptr_t)plays[0].bytes);
}

/* A client that takes nothing of its answer for longer than it may is closed, and so is the upstream, which would wait for it. */
static void nobody_waits_for_ever(void **state)
{
    static const char known_head[] = "HTTP/1.1 200 OK\r\nContent-Length: 400000000\r\n\r\n";
    const struct server_options o = {.client_idle_s = 0.1};
    struct play plays[] = {flood_of("/chunked"), {.path = "/known", .head = sizeof known_head - 1, .repeat = TIMES - 1}};
    char *known = jl_strf("%s%s", known_head, plays[0].bytes + plays[0].head);
    (void)state;
    plays[1].bytes = known;
    for (size_t i = 0; i < JL_COUNT(plays); i++) {
        struct front f;
        char request[100];
        plays[i].then = THEN_HOLD; /* does not end by itself */
        front_start(&f, plays, JL_COUNT(plays), &o);
        int fd = client_connect(f.server), size = 65536;
        setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
        snprintf(request, sizeof request, "GET %s HTTP/1.1\r\n" HOST "\r\n", plays[i].path);
        client_say(fd, request);
        wait_for_requests(&f, 1);
        wait_until_idle(&f);
        assert_true(upstream_sent(f.upstream) < (uint64_t)FLOOD * TIMES * 1000 / 2);
        close(fd);
        front_stop(&f);
    }
    free(known);
    free((char *)(uintptr_t)plays[0].bytes);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(streams_arrive_whole), cmocka_unit_test(one_does_not_read),     cmocka_unit_test(drains_in_the_middle),
        cmocka_unit_test(stops_in_the_middle),  cmocka_unit_test(nobody_waits_for_ever),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
