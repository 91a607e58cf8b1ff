/* test_cli_serve_options.c - options of `joulet serve` as they are given, each in a case in which it decides the answer. */
#include "cli/cli.h"
#include "tests/cli/program.h"
#include "tests/server/upstream.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define HEAD "Host: localhost\r\nConnection: close\r\n"
#define GET  "GET /x HTTP/1.1\r\n" HEAD

static const struct play plays[] = {
    {.path = "/hold", .bytes = "", .then = THEN_HOLD},
    {.bytes = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
};

struct serving {
    struct upstream *upstream;
    struct program p;
    int port, metrics_port;
};

/* upstream NULL: one that answers; meter: what stands before the options. */
static void start_on(struct serving *s, const char *const *options, const char *upstream, const char *meter)
{
    const char *args[24] = {"serve", "--upstream", NULL, meter};
    size_t n = 4;
    bool listens = false;
    *s = (struct serving){.upstream = upstream_start(plays, JL_COUNT(plays))};
    args[2] = upstream ? upstream : upstream_url(s->upstream);
    for (; *options; options++) {
        listens |= strcmp(*options, "--listen") == 0;
        args[n++] = *options;
    }
    if (!listens) {
        args[n++] = "--listen";
        args[n++] = "127.0.0.1:0";
    }
    program_start(&s->p, args);
    program_until_out(&s->p, " -> ");
    s->port = atoi(strchr(strstr(kept(&s->p.out), "://") + 3, ':') + 1);
    if (strcmp(args[4], "--metrics-listen") == 0) {
        program_until_out(&s->p, "/metrics\n");
        s->metrics_port = atoi(strchr(strstr(kept(&s->p.out), "metrics at http://") + 18, ':') + 1);
    }
}

static void start(struct serving *s, const char *const *options, const char *upstream)
{
    start_on(s, options, upstream, "--no-meter");
}

static void stop(struct serving *s)
{
    program_stop(&s->p);
    upstream_stop(s->upstream);
}

static int connect_to(int port, int flags)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK), .sin_port = htons((uint16_t)port)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC | flags, 0);
    assert_true(fd >= 0);
    int rc = connect(fd, (struct sockaddr *)&a, sizeof a);
    assert_true(rc == 0 || flags);
    return fd;
}

/* All that comes until it is closed, malloc'ed. */
static char *answer_to(int port, const char *request)
{
    struct jl_buf out;
    char bytes[4096];
    int fd = connect_to(port, 0);
    ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL);
    jl_buf_init(&out, 1 << 20);
    jl_buf_str(&out, "");
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0)
        jl_buf_add(&out, bytes, (size_t)n);
    close(fd);
    return out.data;
}

static void must_answer(int port, const char *request, const char *status, const char *part)
{
    char *got = answer_to(port, request);
    if (!jl_starts(got, "HTTP/1.1 ") || strncmp(got + 9, status, 3) != 0 || !strstr(got, part))
        fail_msg("%.60s: %s", request, got);
    free(got);
}

static void each_decides(void **state)
{
    static const struct {
        const char *options[6], *request, *status, *part;
    } rows[] = {
        {{NULL}, "POST /x HTTP/1.1\r\n" HEAD "Content-Length: 2\r\n\r\n{}", "200", "hello"},
        {{"--max-body", "1"}, "POST /x HTTP/1.1\r\n" HEAD "Content-Length: 2000000\r\n\r\n", "413", "longer than the limit"},
        {{"--first-byte-timeout", "200ms"}, "GET /hold HTTP/1.1\r\n" HEAD "\r\n", "504", "sent nothing for 0.2 s"},
        {{"--timeout", "300ms"}, "GET /hold HTTP/1.1\r\n" HEAD "\r\n", "504", "sent nothing for 0.3 s"},
        {{NULL}, "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", "403", "--allow-host"},
        {{"--allow-host", "a.example"}, "GET /x HTTP/1.1\r\nHost: a.example\r\nConnection: close\r\n\r\n", "200", "hello"},
        {{"--token", "long-enough"}, GET "\r\n", "401", "a token is asked for"},
        {{"--token", "long-enough"}, GET "X-Joulet-Token: long-enough\r\n\r\n", "200", "hello"},
        {{"--listen", "0.0.0.0:0", "--token", "long-enough", "--insecure-http"}, GET "\r\n", "401", "a token"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct serving s;
        print_message("  %s\n", rows[i].options[0] ? rows[i].options[0] : "-");
        start(&s, rows[i].options, NULL);
        must_answer(s.port, rows[i].request, rows[i].status, rows[i].part);
        stop(&s);
    }
}

static void a_long_head(void **state)
{
    static const char *const options[][3] = {{NULL}, {"--max-header", "4"}};
    char *request = jl_strf(GET "X: %06000d\r\n\r\n", 1);
    (void)state;
    for (size_t i = 0; i < JL_COUNT(options); i++) {
        struct serving s;
        start(&s, options[i], NULL);
        must_answer(s.port, request, i ? "431" : "200", "\r\n\r\n");
        stop(&s);
    }
    free(request);
}

/* It says nothing, and is not waited for. */
static void a_silent_client(void **state)
{
    struct serving s;
    (void)state;
    start(&s, ARGS("--client-timeout", "1s"), NULL);
    char *got = answer_to(s.port, "");
    assert_string_equal(got, "");
    free(got);
    stop(&s);
}

/* A port whose queue is full answers nothing at all. */
static void an_upstream_that_takes_no_connection(void **state)
{
    enum { MANY = 4 };
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int full = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), waiting[MANY];
    struct serving s;
    (void)state;
    assert_true(full >= 0 && bind(full, (struct sockaddr *)&a, sizeof a) == 0 && listen(full, 0) == 0 &&
                getsockname(full, (struct sockaddr *)&a, &n) == 0);
    for (int i = 0; i < MANY; i++)
        waiting[i] = connect_to(ntohs(a.sin_port), SOCK_NONBLOCK);
    char *url = jl_strf("http://127.0.0.1:%d", ntohs(a.sin_port));
    start(&s, ARGS("--connect-timeout", "300ms"), url);
    must_answer(s.port, GET "\r\n", "502", "connecting took too long");
    stop(&s);
    for (int i = 0; i < MANY; i++)
        close(waiting[i]);
    close(full);
    free(url);
}

static void metrics_at_a_port_of_their_own(void **state)
{
    struct serving s;
    (void)state;
    start(&s, ARGS("--metrics-listen", "127.0.0.1:0", "--token", "long-enough"), NULL);
    must_answer(s.metrics_port, "GET /metrics HTTP/1.1\r\n" HEAD "\r\n", "401", "joulet: a token is asked for");
    must_answer(s.metrics_port, "GET /metrics HTTP/1.1\r\n" HEAD "Authorization: Bearer long-enough\r\n\r\n", "200", "joulet_");
    must_answer(s.metrics_port, "GET /x HTTP/1.1\r\n" HEAD "X-Joulet-Token: long-enough\r\n\r\n", "404", "nothing but /metrics");
    stop(&s);
    start(&s, ARGS("--metrics-listen", "127.0.0.1:0", "--token", "long-enough", "--metrics-open"), NULL);
    must_answer(s.metrics_port, "GET /metrics HTTP/1.1\r\n" HEAD "\r\n", "200", "joulet_");
    must_answer(s.port, GET "\r\n", "401", "a token is asked for");
    stop(&s);
}

/* ---- what is kept --------------------------------------------------------------------------------------------------------- */

/* In the database and what belongs to it, byte for byte. */
static bool is_on_disk(const char *db, const char *words)
{
    static const char *const parts[] = {"", "-wal", "-shm"};
    bool found = false;
    for (size_t i = 0; i < JL_COUNT(parts); i++) {
        char *path = jl_strf("%s%s", db, parts[i]);
        FILE *f = fopen(path, "rb");
        size_t n = 0, size = 1 << 24;
        char *bytes = f ? malloc(size) : NULL;
        if (f) {
            n = fread(bytes, 1, size, f);
            fclose(f);
        }
        found |= n && memmem(bytes, n, words, strlen(words));
        free(bytes);
        free(path);
    }
    return found;
}

static void what_is_kept(void **state)
{
    static const struct {
        const char *option;
        bool request, prompt;
    } rows[] = {{"--verbose", true, false}, {"--keep-text", true, true}, {"--no-store", false, false}};
    static const char body[] = "{\"model\":\"named-model\",\"messages\":[{\"role\":\"user\",\"content\":\"a-secret-prompt\"}]}";
    (void)state;
    char *request = jl_strf("POST /v1/chat/completions?k=query-secret HTTP/1.1\r\n" HEAD
                            "Content-Type: application/json\r\nAuthorization: Bearer key-secret\r\nContent-Length: %zu\r\n\r\n%s",
                            sizeof body - 1, body);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct serving s;
        char *name = jl_strf("kept-%zu.db", i), *db = jl_strdup(scratch(name));
        print_message("  %s\n", rows[i].option);
        start_on(&s, ARGS("20", rows[i].option, "--db", db), NULL, "--sim");
        must_answer(s.port, request, "200", "hello");
        kill(s.p.pid, SIGTERM);
        program_end(&s.p); /* what waits is written before it ends */
        assert_int_equal(is_on_disk(db, "named-model"), rows[i].request);
        assert_int_equal(is_on_disk(db, "a-secret-prompt"), rows[i].prompt);
        assert_false(is_on_disk(db, "key-secret") || is_on_disk(db, "query-secret"));
        assert_null(strstr(kept(&s.p.err), "secret"));
        program_release(&s.p);
        upstream_stop(s.upstream);
        free(name);
        free(db);
    }
    free(request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_decides),
                                       cmocka_unit_test(a_long_head),
                                       cmocka_unit_test(a_silent_client),
                                       cmocka_unit_test(an_upstream_that_takes_no_connection),
                                       cmocka_unit_test(metrics_at_a_port_of_their_own),
                                       cmocka_unit_test(what_is_kept)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
