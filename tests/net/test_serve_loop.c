/* One thread that passes for many: what comes, when a stream goes back to its own, and that neither forgets the other. */
#include "tests/cli/test.h"

#include "net/serve_loop.h"

#include <errno.h>
#include <pthread.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct stream {
    struct serve_loop *loop;
    int up[2], down[2]; /* [0] is ours, [1] the other side's */
    size_t passed;
    bool ended;
    unsigned backs;
};

static void stream_open(struct stream *s, struct serve_loop *loop)
{
    *s = (struct stream){.loop = loop};
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->up), 0);
    assert_int_equal(socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, s->down), 0);
}

static void stream_close(struct stream *s)
{
    for (int i = 0; i < 2; i++) {
        close(s->up[i]);
        close(s->down[i]);
    }
}

static bool pass(void *user)
{
    struct stream *s = user;
    char bytes[1000];
    ssize_t n = recv(s->up[0], bytes, sizeof bytes, MSG_DONTWAIT);
    if (n < 0 && errno == EAGAIN)
        return true;
    s->ended = n <= 0 || send(s->down[0], bytes, (size_t)n, MSG_NOSIGNAL) != n; /* its reader reads: it waits for little */
    s->passed += s->ended ? 0 : (size_t)n;
    return !s->ended;
}

static struct serve_loop *open_loop(void)
{
    struct serve_loop *loop;
    assert_int_equal(serve_loop_open(&loop, NULL), JOULET_OK);
    return loop;
}

/* What `pass` does not want to go on with goes back at once: here at the end. */
static void passes_to_the_end(void **state)
{
    struct serve_loop *loop = open_loop();
    struct stream s;
    char bytes[8] = "";
    (void)state;
    stream_open(&s, loop);
    assert_int_equal(write(s.up[1], "abc", 3), 3);
    shutdown(s.up[1], SHUT_WR);
    while (!s.ended)
        serve_loop_run(loop, s.up[0], s.down[0], pass, &s);
    assert_int_equal(read(s.down[1], bytes, sizeof bytes), 3);
    assert_string_equal(bytes, "abc");
    stream_close(&s);
    serve_loop_close(loop);
}

/* Nothing comes: it goes back by itself, again and again. A socket that cannot be looked at goes back, too. */
static void goes_back_when_it_is_quiet(void **state)
{
    struct serve_loop *loop = open_loop();
    struct stream s;
    (void)state;
    stream_open(&s, loop);
    for (int i = 0; i < 3; i++)
        serve_loop_run(loop, s.up[0], s.down[0], pass, &s);
    assert_false(s.ended);
    serve_loop_run(loop, s.up[0], -1, pass, &s);
    serve_loop_run(loop, -1, s.down[0], pass, &s);
    serve_loop_run(loop, s.up[0], s.down[0], pass, &s); /* and nothing of it was left behind */
    stream_close(&s);
    serve_loop_close(loop);
}

/* The source is silent and the reader leaves; or both leave at once, in both orders. */
static void somebody_leaves(void **state)
{
    struct serve_loop *loop = open_loop();
    (void)state;
    for (int i = 0; i < 300; i++) {
        struct stream s;
        stream_open(&s, loop);
        if (i % 3 != 0)
            shutdown(i % 3 == 1 ? s.up[1] : s.down[1], SHUT_RDWR);
        shutdown(i % 3 == 1 ? s.down[1] : i % 3 == 2 ? s.up[1] : s.down[1], SHUT_RDWR);
        serve_loop_run(loop, s.up[0], s.down[0], pass, &s);
        stream_close(&s);
    }
    serve_loop_close(loop);
}

enum { STREAMS = 24, PIECES = 2000 };

static void *give(void *arg)
{
    struct stream *s = arg;
    char bytes[100];
    for (int i = 0; i < PIECES; i++) {
        memset(bytes, 'a' + i % 26, sizeof bytes);
        size_t n = 1 + (size_t)i % sizeof bytes;
        if (send(s->up[1], bytes, n, MSG_NOSIGNAL) != (ssize_t)n)
            break;
    }
    shutdown(s->up[1], SHUT_WR);
    return NULL;
}

static void *take(void *arg)
{
    struct stream *s = arg;
    char bytes[4096];
    while (read(s->down[1], bytes, sizeof bytes) > 0)
        continue;
    return NULL;
}

/* Goes back now and then, in the middle. */
static bool pass_and_yield(void *user)
{
    struct stream *s = user;
    return pass(user) && s->passed % 7 != 0;
}

static void *own(void *arg)
{
    struct stream *s = arg;
    while (!s->ended) {
        serve_loop_run(s->loop, s->up[0], s->down[0], pass_and_yield, s);
        s->backs++;
    }
    shutdown(s->down[0], SHUT_RDWR);
    return NULL;
}

/* Streams come and go while others pass: all bytes of each, and each goes back as often as it asks for. */
static void many_at_once(void **state)
{
    struct serve_loop *loop = open_loop();
    struct stream s[STREAMS];
    pthread_t threads[STREAMS][3];
    size_t want = 0;
    (void)state;
    for (int i = 0; i < PIECES; i++)
        want += 1 + (size_t)i % 100;
    for (int i = 0; i < STREAMS; i++) {
        stream_open(&s[i], loop);
        pthread_create(&threads[i][0], NULL, give, &s[i]);
        pthread_create(&threads[i][1], NULL, take, &s[i]);
        pthread_create(&threads[i][2], NULL, own, &s[i]);
    }
    for (int i = 0; i < STREAMS; i++) {
        for (int k = 0; k < 3; k++)
            pthread_join(threads[i][k], NULL);
        assert_true(s[i].backs >= 1);
        assert_int_equal(s[i].passed, want);
        stream_close(&s[i]);
    }
    serve_loop_close(loop);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(passes_to_the_end),
        cmocka_unit_test(goes_back_when_it_is_quiet),
        cmocka_unit_test(somebody_leaves),
        cmocka_unit_test(many_at_once),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
