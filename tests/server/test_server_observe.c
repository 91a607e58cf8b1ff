/* What an observer sees of exchanges, and that one which is slow, hangs or sees too much changes nothing for the client. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "tests/server/front.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define HOST    "Host: localhost\r\n"

/* ---- an observer that writes down what it is told ---------------------------------------------------------------- */

struct notes {
    pthread_mutex_t lock;
    struct jl_buf text;
    size_t ended, lost;
    bool refuse; /* takes no interest */
    int hang_ms; /* for each chunk */
    int64_t t_last_ns;
    bool back_in_time;
};

static void note_time(struct notes *n, int64_t t_ns)
{
    n->back_in_time |= t_ns < n->t_last_ns;
    n->t_last_ns = t_ns;
}

static void *on_begin(void *user, const struct observed *x)
{
    struct notes *n = user;
    pthread_mutex_lock(&n->lock);
    note_time(n, x->t_ns);
    const char *tag = net_head_value(x->headers, x->n_headers, "X-Joulet-Tag");
    jl_buf_printf(&n->text, "begin %s %s tag=%s id=%zu peer=%s\n", x->method, x->target, tag ? tag : "-", strlen(x->id), x->peer);
    pthread_mutex_unlock(&n->lock);
    return n->refuse ? NULL : n;
}

static void on_request(void *state, const char *bytes, size_t size, bool whole, int64_t t_ns)
{
    struct notes *n = state;
    (void)t_ns;
    pthread_mutex_lock(&n->lock);
    if (size)
        jl_buf_printf(&n->text, "request %zu %.5s\n", size, bytes);
    else
        jl_buf_printf(&n->text, "sent %s\n", whole ? "whole" : "in part");
    pthread_mutex_unlock(&n->lock);
}

static void on_head(void *state, int status, const struct net_header *headers, size_t count, int64_t t_ns)
{
    struct notes *n = state;
    pthread_mutex_lock(&n->lock);
    note_time(n, t_ns);
    const char *type = net_head_value(headers, count, "Content-Type");
    jl_buf_printf(&n->text, "head %d %s\n", status, type ? type : "-");
    pthread_mutex_unlock(&n->lock);
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t size, int64_t t_ns)
{
    struct notes *n = state;
    if (n->hang_ms)
        usleep((useconds_t)n->hang_ms * 1000);
    pthread_mutex_lock(&n->lock);
    note_time(n, t_ns);
    jl_buf_printf(&n->text, "%s %.*s\n", from_client ? "up" : "chunk", (int)(size < 40 ? size : 40), bytes);
    pthread_mutex_unlock(&n->lock);
}

static void on_end(void *state, const struct observed_end *e)
{
    static const char *const how[] = {"done", "client gone", "cut", "failed"};
    struct notes *n = state;
    pthread_mutex_lock(&n->lock);
    note_time(n, e->t_ns);
    n->ended++;
    n->lost += e->lost;
    jl_buf_printf(&n->text, "end %s%s\n", how[e->how], e->lost ? " lost" : "");
    pthread_mutex_unlock(&n->lock);
}

static struct observer observer_of(struct notes *n)
{
    *n = (struct notes){0};
    pthread_mutex_init(&n->lock, NULL);
    jl_buf_init(&n->text, 1 << 20);
    return (struct observer){
        .user = n, .begin = on_begin, .request = on_request, .head = on_head, .chunk = on_chunk, .end = on_end};
}

static void notes_release(struct notes *n)
{
    pthread_mutex_destroy(&n->lock);
    jl_buf_release(&n->text);
}

static size_t ended(struct notes *n)
{
    pthread_mutex_lock(&n->lock);
    size_t count = n->ended;
    pthread_mutex_unlock(&n->lock);
    return count;
}

static void wait_for_end(struct notes *n, size_t count)
{
    for (int64_t until_ns = jl_mono_ns() + 180 * JL_NS_PER_S; ended(n) < count && jl_mono_ns() < until_ns;)
        usleep(1000);
    assert_int_equal(ended(n), count);
}

/* ---- through the server ------------------------------------------------------------------------------------------ */

static const struct play plays[] = {
    {.path = "/stream",
     .bytes = OK_HEAD "Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n",
     .cut = 87,
     .pause_ms = 100},
    {.path = "/half", .bytes = OK_HEAD "Content-Length: 100\r\n\r\nhalf", .then = THEN_CLOSE},
    {.path = "/nothing", .bytes = "", .then = THEN_CLOSE},
    {.path = "/silent", .bytes = "", .then = THEN_HOLD},
    {.bytes = OK_HEAD "Content-Length: 5\r\n\r\nhello"},
};

static void what_is_seen(void **state)
{
    struct notes n;
    struct observer ob = observer_of(&n);
    struct server_options o = {.observer = &ob};
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), &o);
    ask(f.server, "POST /stream HTTP/1.1\r\n" HOST "X-Joulet-Tag: team\r\nContent-Length: 5\r\n\r\n{\"a\":", &a);
    char *id = answer_header(&a, "X-Joulet-Request");
    assert_int_equal(strlen(id), 16);
    free(id);
    answer_release(&a);
    wait_for_end(&n, 1);
    ask(f.server, "GET /half HTTP/1.1\r\n" HOST "\r\n", &a);
    answer_release(&a);
    wait_for_end(&n, 2);
    ask(f.server, "GET /nothing HTTP/1.1\r\n" HOST "\r\n", &a);
    answer_release(&a);
    wait_for_end(&n, 3);
    int fd = client_connect(f.server);
    client_say(fd, "GET /silent HTTP/1.1\r\n" HOST "\r\n");
    while (upstream_requests(f.upstream) < 4)
        usleep(1000);
    close(fd);
    wait_for_end(&n, 4);
    ask(f.server, "GET /joulet/health HTTP/1.1\r\n" HOST "\r\n", &a); /* ours: not seen */
    answer_release(&a);
    front_stop(&f);
    assert_string_equal(
        n.text.data,
        "begin POST /stream tag=team id=16 peer=127.0.0.1\nrequest 5 {\"a\":\nsent whole\nhead 200 text/event-stream\n"
        "chunk one\nchunk two\nend done\n"
        "begin GET /half tag=- id=16 peer=127.0.0.1\nsent whole\nhead 200 -\nchunk half\nend cut\n"
        "begin GET /nothing tag=- id=16 peer=127.0.0.1\nsent whole\nend failed\n"
        "begin GET /silent tag=- id=16 peer=127.0.0.1\nsent whole\nend client gone\n");
    assert_false(n.back_in_time);
    notes_release(&n);
}

/* A long body is seen up to the limit, and passes whole. */
static void long_requests(void **state)
{
    struct notes n;
    struct observer ob = observer_of(&n);
    struct server_options o = {.observer = &ob};
    struct front f;
    struct answer a;
    char line[100];
    size_t size = 3000000, seen = 0;
    (void)state;
    front_start(&f, plays, JL_COUNT(plays), &o);
    char *bytes = malloc(size);
    memset(bytes, 'x', size);
    int fd = client_connect(f.server);
    snprintf(line, sizeof(line), "POST /x HTTP/1.1\r\n" HOST "Content-Length: %zu\r\n\r\n", size);
    client_say(fd, line);
    client_send(fd, bytes, size);
    client_read(fd, &a, false);
    assert_int_equal(a.status, 200);
    answer_release(&a);
    close(fd);
    wait_for_end(&n, 1);
    front_stop(&f);
    for (const char *p = n.text.data; (p = strstr(p, "request ")); p++)
        seen += strtoul(p + 8, NULL, 10);
    assert_int_equal(seen, OBSERVE_BODY_MAX);
    free(bytes);
    notes_release(&n);
}

static void no_interest(void **state)
{
    struct notes n;
    struct observer ob = observer_of(&n);
    struct server_options o = {.observer = &ob};
    struct front f;
    struct answer a;
    (void)state;
    n.refuse = true;
    front_start(&f, plays, JL_COUNT(plays), &o);
    ask(f.server, "GET /x HTTP/1.1\r\n" HOST "\r\n", &a);
    assert_string_equal(a.body, "hello");
    answer_release(&a);
    front_stop(&f);
    assert_string_equal(n.text.data, "begin GET /x tag=- id=16 peer=127.0.0.1\n");
    notes_release(&n);
}

/* ---- the ring alone ---------------------------------------------------------------------------------------------- */

static struct watched *begin_one(struct observation *o, const char *target)
{
    struct observed x = {.upstream = "http://u", .method = "GET", .target = target, .t_ns = 1};
    return watched_begin(o, &x);
}

/* Every size of record, across the ring's end many times, in order and whole. */
static void ring_goes_round(void **state)
{
    struct notes n;
    struct observer ob = observer_of(&n);
    struct observation *o;
    char bytes[64];
    (void)state;
    assert_int_equal(observation_open(&o, &ob, 4096, NULL), JOULET_OK);
    for (int round = 0; round < 40; round++) {
        struct watched *w = begin_one(o, "/x");
        for (int i = 0; i < 30; i++) {
            snprintf(bytes, sizeof(bytes), "%d.%d%.*s", round, i, i, "..............................");
            watched_chunk(w, false, bytes, strlen(bytes), i + 2);
        }
        watched_end(w, OBSERVED_DONE, 100);
        wait_for_end(&n, (size_t)round + 1); /* the ring is empty again */
        n.t_last_ns = 0;
    }
    observation_close(o, 5);
    assert_int_equal(n.lost, 0);
    assert_false(n.back_in_time);
    const char *p = n.text.data;
    for (int round = 0; round < 40; round++)
        for (int i = 0; i < 30; i++) {
            snprintf(bytes, sizeof(bytes), "\nchunk %d.%d%.*s\n", round, i, i, "..............................");
            p = strstr(p, bytes);
            assert_non_null(p);
        }
    notes_release(&n);
}

/* More than it takes: the stream goes on at once, exchanges are marked, none is forgotten. */
static void ring_is_full(void **state)
{
    enum { EXCHANGES = 20, CHUNKS = 200 };
    struct notes n;
    struct observer ob = observer_of(&n);
    struct observation *o;
    struct watched *w[EXCHANGES];
    (void)state;
    n.hang_ms = 1;
    assert_int_equal(observation_open(&o, &ob, 8192, NULL), JOULET_OK);
    for (int i = 0; i < EXCHANGES; i++)
        w[i] = begin_one(o, "/x");
    for (int k = 0; k < CHUNKS; k++)
        for (int i = 0; i < EXCHANGES; i++)
            watched_chunk(w[i], false, "0123456789", 10, k);
    watched_chunk(w[0], false, "", 0, 0);
    for (int i = 0; i < EXCHANGES; i++)
        watched_end(w[i], OBSERVED_DONE, CHUNKS);
    wait_for_end(&n, EXCHANGES);
    assert_true(n.lost > 0);
    assert_int_equal(observation_lost(o), n.lost);
    struct watched *after = begin_one(o, "/after"); /* and then it sees everything again */
    watched_chunk(after, false, "seen", 4, CHUNKS);
    watched_end(after, OBSERVED_DONE, CHUNKS);
    wait_for_end(&n, EXCHANGES + 1);
    assert_non_null(strstr(n.text.data, "begin GET /after tag=- id=0 peer=\nchunk seen\nend done\n"));
    observation_close(o, 5);
    notes_release(&n);
}

static void record_too_long(void **state)
{
    struct notes n;
    struct observer ob = observer_of(&n);
    struct observation *o;
    char bytes[8192] = "";
    (void)state;
    assert_int_equal(observation_open(&o, &ob, 4096, NULL), JOULET_OK);
    struct watched *w = begin_one(o, "/x");
    watched_chunk(w, false, bytes, sizeof(bytes), 2);
    watched_end(w, OBSERVED_CUT, 3);
    wait_for_end(&n, 1);
    assert_non_null(strstr(n.text.data, "end cut lost\n"));
    observation_close(o, 5);
    notes_release(&n);
}

/* ---- an observer that hangs -------------------------------------------------------------------------------------- */

static void hung_observer(void **state)
{
    enum { N = 16384, TIMES = 700 };
    static struct notes n; /* left behind with the thread that hangs in it */
    static struct observer ob;
    struct jl_buf b;
    struct answer a;
    struct observation *o;
    (void)state;
    ob = observer_of(&n);
    n.hang_ms = 3600000;
    jl_buf_init(&b, SIZE_MAX);
    jl_buf_printf(&b, OK_HEAD "Content-Length: %d\r\n\r\n", N * TIMES);
    size_t head = b.len;
    for (int i = 0; i < N; i++)
        jl_buf_add(&b, &(char){(char)('a' + i % 26)}, 1);
    const struct play big[] = {{.bytes = b.data, .n = b.len, .head = head, .repeat = TIMES - 1}};
    struct server_options so = {.observer = &ob};
    struct front f;
    front_start(&f, big, 1, &so);
    for (int i = 0; i < 3; i++) {
        ask(f.server, "GET /x HTTP/1.1\r\n" HOST "\r\n", &a);
        assert_true(a.whole);
        assert_int_equal(a.n, (size_t)N * TIMES);
        for (size_t k = 0; k < a.n; k += 4999)
            assert_int_equal(a.body[k], 'a' + (int)(k % N % 26));
        answer_release(&a);
    }
    front_stop(&f); /* waits a while for it, then leaves it behind */
    jl_buf_release(&b);
    assert_int_equal(observation_open(&o, &ob, 4096, NULL), JOULET_OK);
    struct watched *w = begin_one(o, "/x");
    watched_chunk(w, false, "x", 1, 2);
    watched_end(w, OBSERVED_DONE, 3);
    usleep(50000);
    observation_close(o, 0.05); /* returns */
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(what_is_seen),    cmocka_unit_test(long_requests), cmocka_unit_test(no_interest),
        cmocka_unit_test(ring_goes_round), cmocka_unit_test(ring_is_full),  cmocka_unit_test(record_too_long),
        cmocka_unit_test(hung_observer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
