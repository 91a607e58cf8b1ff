/* Events of the API (server/api_events.c): what happens once a client saw the head of the answer is told, however late the thread
 * of its connection goes on. The head goes out here, and something happens in that moment. */
#include "server/api.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

bool __wrap_net_call_answer(struct net_call *call, const struct net_answer *a);

static unsigned happened;

bool __wrap_net_call_answer(struct net_call *call, const struct net_answer *a)
{
    (void)call;
    assert_int_equal(a->status, 200);
    assert_int_equal(a->length, -1);
    happened++;
    return true;
}

/* As those that follow requests: what was there before the first look is not told, what comes after it is. */
struct follower {
    struct api_stream stream;
    bool looked;
    unsigned seen;
};

static bool look(struct api_stream *s)
{
    struct follower *f = (struct follower *)s;
    if (!f->looked)
        f->seen = happened;
    f->looked = true;
    for (; f->seen < happened; f->seen++) {
        api_event_begin(&s->out, "begin");
        jl_buf_str(&s->out, "{}");
        api_event_end(&s->out);
    }
    return true;
}

static void let_go(struct api_stream *s)
{
    free(s);
}

static void what_happens_with_the_head_is_told(void **state)
{
    static struct server server;
    static struct net_head head = {.method = "GET", .target = "/joulet/requests?follow=1"};
    struct follower *f = calloc(1, sizeof *f);
    struct api_stream *stream = NULL;
    struct api_call c = {.server = &server, .head = &head, .stream = &stream};
    char told[256] = "";
    size_t n = 0;
    int pair[2];
    (void)state;
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    close(pair[1]);
    head.client_fd = pair[0];
    happened = 3; /* before anybody asked */
    f->stream.fill = look;
    f->stream.release = let_go;
    assert_true(api_events(&c, &f->stream));
    assert_int_equal(happened, 4);
    assert_ptr_equal(stream, &f->stream);
    for (int i = 0; i < 2; i++) { /* the client is gone: nothing waits for what is not there */
        long got = api_stream_read(stream, told + n, sizeof told - 1 - n);
        if (got <= 0)
            fail_msg("what came with the head is not told: %s", told);
        n += (size_t)got;
    }
    assert_string_equal(told, "retry: 2000\n\nevent: begin\ndata: {}\n\n");
    api_stream_close(stream);
    close(pair[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_happens_with_the_head_is_told)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
