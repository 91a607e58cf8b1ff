/* The process that recognises (docs/proxy-recognition.md, "When the reading of answers fails"): what it finds is what is found
 * without one; when it is killed, or stops, every byte of the traffic is as before, and the next requests are recognised again.
 */
#include "lib/platform/platform.h"
#include "server/metering_private.h"
#include "server/recognise_wire.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#ifdef SANITIZED
#define CRASH SIGABRT /* of the others sanitizers tell as of a finding of theirs */
#else
#define CRASH SIGSEGV
#endif
#define T_NS  1000
#define PIECE "data: {\"choices\":[{\"index\":0,\"delta\":{\"content\":\"abc\"},\"finish_reason\":null}]}\n\n"
#define LAST                                                                                                                     \
    "data: {\"choices\":[{\"index\":0,\"delta\":{},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":7,"                 \
    "\"completion_tokens\":9}}\n\ndata: [DONE]\n\n"

/* ---- by itself -------------------------------------------------------------------------------------------------------- */

struct notes {
    struct jl_buf text;
    struct recognised ended;
    bool lost;
    size_t ends, losses;
};

static void on_request(void *state, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "request %u %s %s %lld\n", (unsigned)part, r->model, r->protocol, (long long)t_ns);
}

static void on_progress(void *state, uint32_t part, double done, bool share, int64_t t_ns)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "progress %u %g %d %lld\n", (unsigned)part, done, share, (long long)t_ns);
}

static void on_prompt(void *state, uint32_t part, double computed, double all)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "prompt %u %g %g\n", (unsigned)part, computed, all);
}

static void on_piece(void *state, uint32_t part, double tokens, bool thinking, int64_t t_ns)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "piece %u %g %d %lld\n", (unsigned)part, tokens, thinking, (long long)t_ns);
}

static void on_end(void *state, uint32_t part, const struct recognised *r, bool lost, int64_t t_ns)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "end %u %s %lld %d\n", (unsigned)part, r->finish, (long long)t_ns, lost);
    n->ended = *r;
    n->lost = lost;
    n->ends++;
}

static void on_reads(void *state, bool reads, int64_t t_ns)
{
    struct notes *n = state;
    jl_buf_printf(&n->text, "reads %d %lld\n", reads, (long long)t_ns);
}

static void on_lost(void *state)
{
    struct notes *n = state;
    n->losses++;
}

static struct apart *apart(bool inside, double patience_s)
{
    const struct apart_told told = {on_request, on_progress, on_prompt, on_piece, on_end, on_reads, on_lost};
    struct apart *a = apart_open(&told, &(struct apart_options){.patience_s = patience_s, .inside = inside});
    assert_non_null(a);
    return a;
}

static uint32_t begin(struct apart *a, struct notes *n)
{
    static const char body[] = "{\"model\":\"m\",\"stream\":true,\"messages\":[{\"content\":\"hello\"}]}";
    *n = (struct notes){.lost = false};
    jl_buf_init(&n->text, 1 << 24);
    uint32_t x = apart_begin(a, n, "POST", "/v1/chat/completions");
    assert_true(x != APART_NONE);
    apart_request(a, x, body, sizeof body - 1);
    apart_request_end(a, x, true, T_NS);
    apart_head(a, x, 200, &(struct net_header){"Content-Type", "text/event-stream"}, 1, T_NS + 1);
    return x;
}

static void pieces(struct apart *a, uint32_t x, int n)
{
    for (int i = 0; i < n; i++)
        apart_chunk(a, x, false, PIECE, sizeof PIECE - 1, T_NS + 2 + i);
}

static void finish(struct apart *a, uint32_t x)
{
    apart_chunk(a, x, false, LAST, sizeof LAST - 1, 2 * T_NS);
    apart_end(a, x, true, 2 * T_NS);
    apart_flush(a);
}

static void the_same_as_inside(void **state)
{
    enum { MANY = 20000 }; /* more than is handed over, or answered, at once */
    struct notes n[2];
    (void)state;
    for (int inside = 0; inside < 2; inside++) {
        struct apart *a = apart(inside, 60);
        assert_int_equal(apart_pid(a) > 0, !inside);
        uint32_t x = begin(a, &n[inside]);
        pieces(a, x, inside ? MANY : MANY / 2);
        apart_flush(a);
        if (!inside)
            for (int i = MANY / 2; i < MANY; i++)
                apart_chunk(a, x, false, PIECE, sizeof PIECE - 1, T_NS + 2 + i);
        finish(a, x);
        assert_int_equal(n[inside].ends, 1);
        assert_false(n[inside].lost);
        assert_int_equal(apart_losses(a), 0);
        apart_close(a);
    }
    /* times are held within what was put: the last pieces came after the end, by this clock */
    assert_int_equal(n[0].text.len, n[1].text.len);
    assert_string_equal(n[0].text.data, n[1].text.data);
    assert_int_equal(n[0].ended.tokens.generated, 9);
    assert_int_equal(n[0].ended.pieces, MANY);
    assert_string_equal(n[0].ended.model, "m");
    assert_string_equal(n[0].ended.protocol, "openai");
    jl_buf_release(&n[0].text);
    jl_buf_release(&n[1].text);
}

/* What it had under way ends all the same, with what was known; the next one finds a new process. */
static void it_dies(void **state)
{
    static const int signals[] = {CRASH, SIGKILL, SIGSTOP};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(signals); i++) {
        struct notes n, next;
        struct apart *a = apart(false, signals[i] == SIGSTOP ? 0.2 : 60);
        uint32_t x = begin(a, &n);
        apart_flush(a);
        int64_t pid = apart_pid(a);
        assert_int_equal(kill((pid_t)pid, signals[i]), 0);
        if (signals[i] != SIGSTOP)
            waitid(P_PID, (id_t)pid, &(siginfo_t){0}, WEXITED | WNOWAIT);
        pieces(a, x, 3);
        finish(a, x);
        assert_int_equal(n.ends, 1);
        assert_true(n.lost);
        assert_int_equal(n.losses, 1);
        assert_string_equal(n.ended.model, "m");
        assert_int_equal(n.ended.status, 200);
        assert_false(n.ended.whole || n.ended.done);
        assert_int_equal(apart_losses(a), 1);
        assert_false(jl_pid_alive(pid));
        x = begin(a, &next); /* at once, so it is none's: it ends as well */
        assert_int_equal(apart_pid(a), -1);
        finish(a, x);
        assert_true(next.lost);
        jl_buf_release(&next.text);
        jl_sleep_until(jl_mono_ns() + 300000000);
        x = begin(a, &next);
        finish(a, x);
        assert_false(next.lost);
        assert_int_equal(next.ended.tokens.prompt, 7);
        apart_close(a);
        jl_buf_release(&n.text);
        jl_buf_release(&next.text);
    }
}

/* In a process of its own, which stands still with its recogniser: 0 when nothing was lost. */
static int read_on(int from, int to)
{
    struct notes n;
    char go = 0;
    struct apart *a = apart(false, 1);
    uint32_t x = begin(a, &n);
    apart_flush(a);
    pid_t pid = (pid_t)apart_pid(a);
    bool told = write(to, &pid, sizeof pid) == sizeof pid && read(from, &go, 1) == 1;
    finish(a, x);
    bool lost = n.lost || !told;
    apart_close(a);
    jl_buf_release(&n.text);
    return lost;
}

/* A machine that stands still for longer than the patience, and wakes the one that waits first: nobody hung. */
static void all_stood_still(void **state)
{
    enum { MS = 1000000 };
    int down[2], up[2], status = -1;
    pid_t reader = -1;
    (void)state;
    assert_int_equal(pipe(down) | pipe(up), 0);
    pid_t proxy = fork();
    assert_true(proxy >= 0);
    if (proxy == 0)
        _exit(read_on(down[0], up[1]));
    assert_int_equal(read(up[0], &reader, sizeof reader), sizeof reader);
    assert_int_equal(kill(reader, SIGSTOP), 0);
    assert_int_equal(write(down[1], "", 1), 1);
    jl_sleep_until(jl_mono_ns() + (int64_t)200 * MS);
    assert_int_equal(kill(proxy, SIGSTOP), 0);
    jl_sleep_until(jl_mono_ns() + (int64_t)2000 * MS);
    assert_int_equal(kill(proxy, SIGCONT), 0);
    jl_sleep_until(jl_mono_ns() + (int64_t)100 * MS);
    kill(reader, SIGCONT); /* ended, where it was taken for one that hangs */
    assert_int_equal(waitpid(proxy, &status, 0), proxy);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    for (int i = 0; i < 2; i++) {
        close(down[i]);
        close(up[i]);
    }
}

/* A service manager signals every process of a service, at its end and for its log; answers are read on. */
static void signals_for_the_proxy(void **state)
{
    static const int signals[] = {SIGTERM, SIGINT, SIGHUP, SIGUSR1};
    struct notes n;
    struct apart *a = apart(false, 60);
    (void)state;
    uint32_t x = begin(a, &n);
    apart_flush(a); /* it has begun to read */
    int64_t pid = apart_pid(a);
    for (size_t i = 0; i < JL_COUNT(signals); i++)
        assert_int_equal(kill((pid_t)pid, signals[i]), 0);
    pieces(a, x, 3);
    finish(a, x);
    assert_false(n.lost);
    assert_int_equal(apart_pid(a), pid);
    assert_int_equal(n.ended.tokens.generated, 9);
    apart_close(a);
    assert_false(jl_pid_alive(pid));
    jl_buf_release(&n.text);
}

/* Whatever lies there becomes something that could have been recognised. */
static void nothing_is_believed(void **state)
{
    struct recognised_wire wire;
    struct recognised r;
    (void)state;
    for (int fill = 0; fill < 256; fill++) {
        memset(&wire, fill, sizeof wire);
        recognised_from_wire(&wire, &r);
        assert_non_null(recognised_kind_name(r.kind));
        assert_non_null(recognised_source_name(r.generated_source));
        assert_true(r.tokens.prompt >= -1 && r.tokens.prompt <= 1000000000000);
        assert_true(isnan(r.server_prompt_s) || r.server_prompt_s >= 0);
        assert_true(memchr(r.model, '\0', sizeof r.model) && memchr(r.error, '\0', sizeof r.error));
        assert_string_equal(r.protocol, "");
        for (const char *p = r.error; *p; p++)
            assert_true((unsigned char)*p >= ' ');
    }
}

/* ---- under load -------------------------------------------------------------------------------------------------------- */

#define PIECES 300

struct load {
    const struct server *server;
    atomic_bool stop;
    atomic_uint served, wrong;
    const char *want;
    size_t n;
};

static void *ask_on(void *arg)
{
    struct load *l = arg;
    char *request = post("/v1/chat/completions", "{\"model\":\"m\",\"stream\":true,\"messages\":[]}");
    while (!atomic_load(&l->stop)) {
        struct answer a;
        ask(l->server, request, &a);
        bool same = a.whole && a.n == l->n && memcmp(a.body, l->want, l->n) == 0;
        atomic_fetch_add(&l->wrong, !same);
        atomic_fetch_add(&l->served, 1);
        answer_release(&a);
    }
    free(request);
    return NULL;
}

static void wait_served(struct load *l, unsigned more)
{
    unsigned until = atomic_load(&l->served) + more;
    while (atomic_load(&l->served) < until)
        jl_sleep_until(jl_mono_ns() + 5000000);
}

struct seen {
    size_t fine, lost;
};

/* Of the requests that are over: wholly seen, with all their tokens, and not. */
static struct seen seen_in(const struct server *server)
{
    struct seen n = {0};
    json_t *list = get(server, "/joulet/requests?limit=1000", 200), *r;
    size_t i;
    json_array_foreach(json_object_get(list, "requests"), i, r)
    {
        const json_t *flags = json_object_get(json_object_get(r, "energy"), "flags");
        bool was_lost = false;
        for (size_t k = 0; k < json_array_size(flags); k++)
            was_lost |= strcmp(json_string_value(json_array_get(flags, k)), "not wholly seen") == 0;
        n.lost += was_lost;
        if (!was_lost && strcmp(json_string_value(json_object_get(r, "state")), "done") == 0) {
            assert_int_equal(number(json_object_get(r, "tokens"), "generated"), 9);
            n.fine++;
        }
    }
    json_decref(list);
    return n;
}

static void traffic_goes_on(void **state)
{
    enum { STREAMS = 4 };
    static const int signals[] = {CRASH, SIGKILL, SIGSTOP, SIGABRT};
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n";
    struct metered_server s;
    struct front f;
    struct jl_buf want, bytes;
    pthread_t threads[STREAMS];
    (void)state;
    jl_buf_init(&want, 1 << 20);
    jl_buf_init(&bytes, 1 << 20);
    for (int i = 0; i < PIECES; i++)
        jl_buf_str(&want, PIECE);
    jl_buf_str(&want, LAST);
    jl_buf_str(&bytes, head);
    jl_buf_add(&bytes, want.data, want.len);
    const struct play plays[] = {{.bytes = bytes.data, .n = bytes.len, .piece = 500, .cut = sizeof head, .then = THEN_CLOSE}};
    open_metering_on(&s, "100", &(struct metering_options){.n_channels = 1, .devices = 1, .recognise_patience_s = 0.3});
    struct server_options o = {.metering = s.metering, .inject = SPLICE_NONE};
    front_start(&f, plays, 1, &o);
    struct load l = {.server = f.server, .want = want.data, .n = want.len};
    for (int i = 0; i < STREAMS; i++)
        assert_int_equal(pthread_create(&threads[i], NULL, ask_on, &l), 0);
    int64_t last = -1;
    for (size_t i = 0; i < JL_COUNT(signals); i++) {
        int64_t pid = -1;
        for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; pid <= 0 || pid == last;) { /* a new one has begun to work */
            assert_true(jl_mono_ns() < until);
            wait_served(&l, 1);
            pid = metering_recogniser(s.metering);
        }
        wait_served(&l, 4);
        kill((pid_t)pid, signals[i]);
        wait_served(&l, 8);
        last = pid;
    }
    while (metering_recogniser(s.metering) <= 0 || metering_recogniser(s.metering) == last)
        wait_served(&l, 1);
    wait_served(&l, 8);
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; seen_in(f.server).fine == 0;
         wait_served(&l, 4)) /* a busy machine is late */
        assert_true(jl_mono_ns() < until);
    atomic_store(&l.stop, true);
    for (int i = 0; i < STREAMS; i++)
        pthread_join(threads[i], NULL);
    assert_int_equal(atomic_load(&l.wrong), 0);
    struct seen seen = seen_in(f.server);
    assert_true(seen.lost > 0 && seen.fine > 0);
    print_message("  %u answers, each byte for byte; %zu wholly seen, %zu not\n", atomic_load(&l.served), seen.fine, seen.lost);
    front_stop(&f);
    close_metering(&s);
    jl_buf_release(&want);
    jl_buf_release(&bytes);
}

/* The reader hangs when all is closed, and goes on when all is gone. In a process of its own, as the program ends there. */
static int close_beside_a_reader(void)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n" PIECE LAST;
    const struct play plays[] = {{.bytes = head, .n = sizeof head - 1, .then = THEN_CLOSE}};
    struct metered_server s;
    struct front f;
    struct answer a;
    open_metering_on(&s, "100", &(struct metering_options){.n_channels = 1, .devices = 1, .recognise_patience_s = 60});
    struct server_options o = {.metering = s.metering, .inject = SPLICE_NONE};
    front_start(&f, plays, 1, &o);
    char *request = post("/v1/chat/completions", "{\"model\":\"m\",\"stream\":true,\"messages\":[]}");
    pid_t pid = (pid_t)metering_recogniser(s.metering);
    bool stopped = pid > 0 && kill(pid, SIGSTOP) == 0;
    ask(f.server, request, &a);
    front_stop(&f);
    close_metering(&s);
    kill(pid, SIGCONT);
    jl_sleep_until(jl_mono_ns() + JL_NS_PER_S);
    return !stopped || !a.whole;
}

static void a_reader_that_hangs_outlives_the_server(void **state)
{
    int status = -1;
    (void)state;
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(close_beside_a_reader());
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

int main(int argc, char **argv)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(the_same_as_inside),
                                       cmocka_unit_test(it_dies),
                                       cmocka_unit_test(all_stood_still),
                                       cmocka_unit_test(signals_for_the_proxy),
                                       cmocka_unit_test(nothing_is_believed),
                                       cmocka_unit_test(traffic_goes_on),
                                       cmocka_unit_test(a_reader_that_hangs_outlives_the_server)};
    int code;
    if (apart_main(argc, argv, &code))
        return code;
    return cmocka_run_group_tests(tests, NULL, NULL);
}
