/* Memory does not grow with what passes: after N requests of a kind, 4 N more leave nothing behind that the first did not leave,
 * and a crowd of connections takes what it held with it. What the allocator has given out is counted, not what the kernel shows,
 * so neither the machine's speed nor fragments matter. Caches of threads are off (see CMakeLists.txt). */
#include "lib/platform/platform.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <malloc.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_NS ((int64_t)300 * JL_NS_PER_S)
#define CHAT        "/v1/chat/completions"
#define EVENT(text)                                                                                                              \
    "data: {\"object\":\"chat.completion.chunk\",\"choices\":[{\"index\":0,\"delta\":{\"content\":\"" text "\"}}]}\n\n"
#define LAST                                                                                                                     \
    "data: "                                                                                                                     \
    "{\"choices\":[{\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"completion_tokens\":2}}\n\n"
/* Less than any block, so that one that is left by each request is seen. What else moves a little: lists that grow seldom, and
 * behind requests that are metered pages of the database. */
#define LEFT_BY_EACH    16
#define LEFT_BY_ALL     (16 << 10)
#define LEFT_BY_METERED (64 << 10)

static const struct play plays[] = {
    {.path = CHAT,
     .bytes = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" EVENT("one") EVENT(" two") LAST
     "data: [DONE]\n\n",
     .cut = 150,
     .then = THEN_CLOSE},
    {.path = "/v1/completions",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 12\r\n\r\n{\"half\": \"an",
     .then = THEN_RESET},
    {.path = "/v1/embeddings",
     .bytes = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 71\r\n\r\n"
              "{\"data\":[{\"embedding\":[0.5]}],\"model\":\"m\",\"usage\":{\"prompt_tokens\":3}}\n"},
    {.path = "/api/chat", .bytes = "", .then = THEN_RESET},
    {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
};

/* ---- the server, and an upstream whose memory is its own ------------------------------------------------------------------ */

struct under_test {
    struct metered_server s;
    pid_t upstream;
    char folder[40], db[60];
    double metered; /* requests so far */
    unsigned asked;
};

static void start_upstream(struct under_test *t)
{
    int ends[2];
    assert_int_equal(pipe(ends), 0);
    t->upstream = fork(); /* while there are no threads */
    assert_true(t->upstream >= 0);
    if (t->upstream == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        struct upstream *u = upstream_start(plays, JL_COUNT(plays));
        if (write(ends[1], upstream_url(u), sizeof t->s.url) < 0)
            _exit(1);
        for (;;)
            pause();
    }
    assert_true(read(ends[0], t->s.url, sizeof t->s.url) > 0);
    close(ends[0]);
    close(ends[1]);
}

static void start(struct under_test *t, unsigned connections)
{
    struct joulet_error err;
    char url[sizeof t->s.url];
    *t = (struct under_test){.folder = "/tmp/joulet-memory-XXXXXX"};
    start_upstream(t);
    memcpy(url, t->s.url, sizeof url);
    assert_non_null(mkdtemp(t->folder));
    snprintf(t->db, sizeof t->db, "%s/joulet.db", t->folder);
    open_metering_on(&t->s, "20", &(struct metering_options){.n_channels = 1, .devices = 1, .keeps = true, .db = t->db});
    memcpy(t->s.url, url, sizeof url);
    t->s.to.url = t->s.url;
    struct server_options o = {.listen = "127.0.0.1:0",
                               .upstreams = &t->s.to,
                               .n_upstreams = 1,
                               .metering = t->s.metering,
                               .inject = SPLICE_ENERGY,
                               .connections_max = connections};
    assert_int_equal(server_open(&t->s.server, &o, &err), JOULET_OK);
}

static void stop(struct under_test *t)
{
    close_metering(&t->s);
    kill(t->upstream, SIGKILL);
    waitpid(t->upstream, NULL, 0);
    char *command = jl_strf("rm -rf %s", t->folder);
    assert_int_equal(system(command), 0);
    free(command);
}

/* Given out, less what sensors showed, which grows with time up to a bound of its own. */
static int64_t given_out(const struct under_test *t)
{
    struct joulet_stats stats;
    assert_int_equal(joulet_stats_get(t->s.meter, &stats), JOULET_OK);
    struct mallinfo2 m = mallinfo2();
    return (int64_t)(m.uordblks + m.hblkhd) - (int64_t)stats.memory_bytes;
}

/* Nothing is under way any more, every figure is final and stored. */
static void settle(const struct under_test *t)
{
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 50000000)) {
        struct metering_kept kept;
        json_t *all = get(t->s.server, "/joulet/requests?limit=1", 200);
        bool over = number(all, "seen") + number(all, "unmetered") == t->metered && number(all, "final") == number(all, "seen");
        json_decref(all);
        if (over && metering_kept(t->s.metering, &kept) && !kept.waiting)
            return;
    }
    fail_msg("requests do not become final");
}

/* ---- requests -------------------------------------------------------------------------------------------------------------- */

static const struct kind {
    const char *name, *path, *body;
    bool metered, kept; /* kept: one connection for all, which ends with none of them */
    bool named;         /* each by another client, for another model, in another session */
    unsigned n;
} kinds[] = {
    {"streams", CHAT, "{\"model\":\"m\",\"stream\":true,\"messages\":[]}", true, true, false, 400},
    {"names", CHAT, "{\"model\":\"m%u\",\"stream\":true,\"messages\":[]}", true, false, true, 400},
    {"short answers", "/v1/embeddings", "{\"model\":\"m\",\"input\":\"one\"}", true, true, false, 400},
    {"cut answers", "/v1/completions", "{\"model\":\"m\",\"prompt\":\"one\"}", true, false, false, 200},
    {"no answers", "/api/chat", "{\"model\":\"m\",\"messages\":[]}", true, false, false, 200},
    {"what is not metered", "/other", "{}", false, true, false, 400},
    {"refused", "/joulet/none", "{}", false, false, false, 400},
};

static char *request_of(struct under_test *t, const struct kind *k)
{
    unsigned i = k->named ? t->asked : 0;
    char *body = jl_strf("%s", k->body), *number = strstr(body, "%u");
    if (number) {
        char *whole = jl_strf("%.*s%u%s", (int)(number - body), body, i, number + 2);
        free(body);
        body = whole;
    }
    char *out =
        jl_strf("POST %s HTTP/1.1\r\nHost: 127.0.0.1\r\nX-Joulet-Tag: tag-%u\r\nX-Joulet-Session: session-%u\r\nContent-Type: "
                "application/json\r\nContent-Length: %zu\r\n\r\n%s",
                k->path, i, i, strlen(body), body);
    free(body);
    return out;
}

static void ask_many(struct under_test *t, const struct kind *k, unsigned n)
{
    int fd = -1;
    for (unsigned i = 0; i < n; i++) {
        struct answer a;
        char *request = request_of(t, k);
        fd = fd < 0 ? client_connect(t->s.server) : fd;
        client_say(fd, request);
        client_read(fd, &a, false);
        if (!k->kept || a.closed) {
            close(fd);
            fd = -1;
        }
        answer_release(&a);
        free(request);
        t->asked++;
        t->metered += k->metered;
        if (i % 2000 == 1999) /* more than 4096 at a time would not be metered */
            settle(t);
    }
    if (fd >= 0)
        close(fd);
    settle(t);
}

static int64_t least_given_out(const struct under_test *t, int64_t enough)
{
    int64_t least = INT64_MAX;
    for (int i = 0; i < 8 && least > enough; i++) {
        int64_t now = given_out(t);
        least = now < least ? now : least;
        jl_sleep_until(jl_mono_ns() + 50000000);
    }
    return least;
}

/* Lists that are as long as the most at a time grow when the machine is faster than before, but what is left by each request
 * is left every time. */
static bool leaves_nothing(struct under_test *t, const struct kind *k)
{
    unsigned n = 4 * k->n;
    int64_t more = 0;
    ask_many(t, k, k->n);
    for (int times = 0; times < 4; times++) {
        int64_t before = least_given_out(t, 0);
        ask_many(t, k, n);
        int64_t most = LEFT_BY_EACH * n + (k->metered ? LEFT_BY_METERED : LEFT_BY_ALL);
        more = least_given_out(t, before + most) - before;
        if (more <= most)
            return true;
    }
    print_message("%s leave %.1f bytes each\n", k->name, (double)more / n);
    return false;
}

static void nothing_is_left(void **state)
{
    struct under_test t;
    bool ok = true;
    (void)state;
    start(&t, 0);
    for (size_t i = 0; i < 2; i++) /* tables of names, pages of the database and such fill once */
        ask_many(&t, &kinds[i], 800);
    for (size_t i = 0; i < JL_COUNT(kinds); i++)
        ok &= leaves_nothing(&t, &kinds[i]);
    stop(&t);
    assert_true(ok);
}

/* ---- connections ------------------------------------------------------------------------------------------------- */

enum { CROWD = 300, FURTHER = 60 };

static void wait_for_connections(const struct under_test *t, unsigned least, unsigned most)
{
    for (int64_t until = jl_mono_ns() + PATIENCE_NS; jl_mono_ns() < until; jl_sleep_until(jl_mono_ns() + 10000000)) {
        unsigned n = server_connections(t->s.server);
        if (n >= least && n <= most)
            return;
    }
    fail_msg("%u connections", server_connections(t->s.server));
}

static int asks(int fd)
{
    struct answer a;
    client_say(fd, "GET /a HTTP/1.1\r\nHost: localhost\r\n\r\n");
    client_read(fd, &a, false);
    int status = a.status;
    answer_release(&a);
    return status;
}

/* As many as may be, and more, which are closed unanswered; those that are there are served meanwhile. */
static void come_and_go(const struct under_test *t)
{
    int fds[CROWD];
    for (int i = 0; i < CROWD; i++)
        fds[i] = client_connect(t->s.server);
    wait_for_connections(t, CROWD, CROWD);
    for (int i = 0; i < FURTHER; i++) {
        int further = client_connect(t->s.server);
        assert_true(client_closed(further));
        close(further);
        if (i % 10 == 0)
            assert_int_equal(asks(fds[i * (CROWD / FURTHER)]), 200);
    }
    assert_int_equal(asks(fds[CROWD - 1]), 200);
    assert_int_equal(server_connections(t->s.server), CROWD);
    for (int i = 0; i < CROWD; i++)
        close(fds[i]);
    wait_for_connections(t, 0, 0);
}

static void crowds(void **state)
{
    struct under_test t;
    (void)state;
    start(&t, CROWD);
    come_and_go(&t);
    int64_t before = least_given_out(&t, 0);
    come_and_go(&t);
    int64_t most = before + LEFT_BY_EACH * CROWD + LEFT_BY_ALL, after = least_given_out(&t, most);
    print_message("connections: %lld more bytes after %d more\n", (long long)(after - before), CROWD);
    assert_true(after <= most);
    int one = client_connect(t.s.server);
    assert_int_equal(asks(one), 200);
    close(one);
    stop(&t);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(crowds), cmocka_unit_test(nothing_is_left)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
