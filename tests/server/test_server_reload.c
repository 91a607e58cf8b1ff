/* test_server_reload.c - new upstreams, names, token and limits while requests are under way: none fails, and each one is served
 * wholly by one set of rules. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "tests/server/front.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define OK_HEAD "HTTP/1.1 200 OK\r\n"
#define GET     "GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n"

static const struct play old_plays[] = {
    {.path = "/slow", .bytes = OK_HEAD "Content-Length: 6\r\n\r\nfirst!", .cut = 41, .pause_ms = 700},
    {.path = "/hold", .bytes = "", .then = THEN_HOLD},
    {.bytes = OK_HEAD "Content-Length: 3\r\n\r\nold"}};
static const struct play new_plays[] = {{.bytes = OK_HEAD "Content-Length: 3\r\n\r\nnew"}};

static struct server_options options_for(const struct server_upstream *u, const char *token)
{
    return (struct server_options){.upstreams = u, .n_upstreams = 1, .token = token};
}

struct load {
    const struct front *f;
    atomic_bool stop;
    atomic_uint done, old_ones, new_ones, failed;
};

static void *ask_on(void *arg)
{
    struct load *l = arg;
    int fd = client_connect(l->f->server);
    while (!atomic_load(&l->stop)) {
        struct answer a;
        client_say(fd, GET);
        client_read(fd, &a, false);
        bool old_one = a.whole && strcmp(a.body, "old") == 0, new_one = a.whole && strcmp(a.body, "new") == 0;
        atomic_fetch_add(a.status == 200 && old_one ? &l->old_ones : a.status == 200 && new_one ? &l->new_ones : &l->failed, 1);
        atomic_fetch_add(&l->done, 1);
        answer_release(&a);
    }
    close(fd);
    return NULL;
}

static void wait_for(atomic_uint *count, unsigned n)
{
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; atomic_load(count) < n && jl_mono_ns() < until;)
        jl_sleep_until(jl_mono_ns() + 1000000);
    assert_true(atomic_load(count) >= n);
}

static void under_load(void **state)
{
    enum { THREADS = 4, TURNS = 40 };
    struct front f;
    struct joulet_error err;
    pthread_t threads[THREADS];
    (void)state;
    front_start(&f, old_plays, JL_COUNT(old_plays), NULL);
    struct upstream *second = upstream_start(new_plays, JL_COUNT(new_plays));
    struct load l = {.f = &f};
    for (int i = 0; i < THREADS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &l), 0);
    for (unsigned turn = 1; turn <= TURNS; turn++) {
        /* What the options point to is gone when the call returns. */
        char *url = jl_strdup(turn % 2 ? upstream_url(second) : upstream_url(f.upstream));
        struct server_upstream u = {.url = url};
        struct server_options o = options_for(&u, NULL);
        wait_for(&l.done, turn * 5);
        assert_int_equal(server_reload(f.server, &o, &err), JOULET_OK);
        memset(url, 'x', strlen(url));
        free(url);
    }
    atomic_store(&l.stop, true);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&l.failed), 0);
    assert_true(atomic_load(&l.old_ones) > 0 && atomic_load(&l.new_ones) > 0);
    front_stop(&f);
    upstream_stop(second);
}

/* One that began before ends as it began; the next one on the same connection gets the new rules. */
static void one_under_way_ends_as_it_began(void **state)
{
    struct front f;
    struct answer a;
    struct joulet_error err;
    (void)state;
    front_start(&f, old_plays, JL_COUNT(old_plays), NULL);
    struct upstream *second = upstream_start(new_plays, JL_COUNT(new_plays));
    struct server_upstream u = {.url = upstream_url(second)};
    struct server_options o = options_for(&u, NULL);
    int fd = client_connect(f.server);
    client_say(fd, "GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n");
    while (upstream_requests(f.upstream) == 0)
        jl_sleep_until(jl_mono_ns() + 1000000);
    assert_int_equal(server_reload(f.server, &o, &err), JOULET_OK);
    client_read(fd, &a, false);
    assert_string_equal(a.body, "first!");
    answer_release(&a);
    client_say(fd, GET);
    client_read(fd, &a, false);
    assert_string_equal(a.body, "new");
    answer_release(&a);
    close(fd);
    front_stop(&f);
    upstream_stop(second);
}

static void ask_for(const struct server *s, const char *request, int status)
{
    struct answer a;
    ask(s, request, &a);
    assert_int_equal(a.status, status);
    answer_release(&a);
}

/* Names, token and limits, and a mistake that leaves all of them. */
static void other_rules(void **state)
{
    struct front f;
    struct joulet_error err;
    (void)state;
    front_start(&f, old_plays, JL_COUNT(old_plays), NULL);
    struct server_upstream u = {.url = upstream_url(f.upstream)};
    struct server_options o = options_for(&u, "long enough"), bad = options_for(&u, "short");
    static const char by_name[] = "GET /x HTTP/1.1\r\nHost: box.example\r\n\r\n";
    ask_for(f.server, by_name, 403);
    ask_for(f.server, GET, 200);
    o.token = "long-enough";
    o.allow_hosts = (const char *const[]){"box.example"};
    o.n_allow_hosts = 1;
    o.body_max = 10;
    assert_int_equal(server_reload(f.server, &o, &err), JOULET_OK);
    for (int i = 0; i < 2; i++) {
        ask_for(f.server, by_name, 401);
        ask_for(f.server, "GET /joulet/t/long-enough/x HTTP/1.1\r\nHost: box.example\r\n\r\n", 200);
        ask_for(f.server,
                "POST /x HTTP/1.1\r\nHost: box.example\r\nX-Joulet-Token: long-enough\r\nContent-Length: 11\r\n\r\n12345678901",
                413);
        assert_int_equal(server_reload(f.server, &bad, &err), JOULET_USAGE);
    }
    front_stop(&f);
}

static void limits_of_time_and_size(void **state)
{
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, old_plays, JL_COUNT(old_plays),
                &(struct server_options){.upstream_first_s = 0.2, .header_max = 2048, .connections_max = 2});
    ask(f.server, "GET /hold HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &a);
    assert_int_equal(a.status, 504);
    assert_non_null(strstr(a.body, "sent nothing for 0.2 s"));
    answer_release(&a);
    ask(f.server, "GET /slow HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", &a); /* it pauses longer than that, but in its answer */
    assert_string_equal(a.body, "first!");
    answer_release(&a);
    char *long_head = jl_strf("GET /x HTTP/1.1\r\nHost: 127.0.0.1\r\nX: %02500d\r\n\r\n", 1);
    ask_for(f.server, long_head, 431);
    free(long_head);
    front_stop(&f);
}

/* The number of connections is held from the moment it changes. */
static void fewer_connections(void **state)
{
    struct front f;
    struct joulet_error err;
    struct answer a;
    (void)state;
    front_start(&f, old_plays, JL_COUNT(old_plays), &(struct server_options){.connections_max = 2});
    int first = client_connect(f.server), second = client_connect(f.server);
    int fds[] = {first, second};
    for (size_t i = 0; i < JL_COUNT(fds); i++) {
        client_say(fds[i], GET);
        client_read(fds[i], &a, false);
        assert_int_equal(a.status, 200);
        answer_release(&a);
    }
    int third = client_connect(f.server);
    assert_true(client_closed(third));
    struct server_upstream u = {.url = upstream_url(f.upstream)};
    struct server_options o = options_for(&u, NULL);
    o.connections_max = 3;
    assert_int_equal(server_reload(f.server, &o, &err), JOULET_OK);
    ask_for(f.server, GET, 200);
    close(first);
    close(second);
    close(third);
    front_stop(&f);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(under_load), cmocka_unit_test(one_under_way_ends_as_it_began),
                                       cmocka_unit_test(other_rules), cmocka_unit_test(limits_of_time_and_size),
                                       cmocka_unit_test(fewer_connections)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
