/* test_cli_operate.c - `joulet serve` as a service: settings read again, the log, what the service manager is told. */
#include "cli/cli.h"
#include "tests/cli/program.h"
#include "tests/server/upstream.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#define OK_HEAD     "HTTP/1.1 200 OK\r\n"
#define PATIENCE_MS 180000

static const struct play first_plays[] = {{.bytes = OK_HEAD "Content-Length: 5\r\n\r\nfirst"}};
static const struct play second_plays[] = {{.bytes = OK_HEAD "Content-Length: 6\r\n\r\nsecond"}};

struct service {
    struct upstream *first, *second;
    struct program p;
    char *url, *config;
};

static char *curl(const struct service *s, const char *rest)
{
    char *command = jl_strf("curl --noproxy '*' --max-time 20 -s '%s%s'", s->url, rest), bytes[4096];
    FILE *f = popen(command, "r");
    size_t n = fread(bytes, 1, sizeof bytes - 1, f);
    bytes[n] = '\0';
    pclose(f);
    free(command);
    return jl_strdup(bytes);
}

static void must_get(const struct service *s, const char *rest, const char *want)
{
    char *got = curl(s, rest);
    assert_string_equal(got, want);
    free(got);
}

static void settings(const char *fmt, const char *a, const char *b)
{
    char *text = jl_strf(fmt, a, b);
    scratch_write("serve.conf", text);
    free(text);
}

/* On `fmt` with the addresses of both upstreams. */
static void start(struct service *s, const char *fmt, const char *const *env)
{
    *s = (struct service){.first = upstream_start(first_plays, JL_COUNT(first_plays)),
                          .second = upstream_start(second_plays, JL_COUNT(second_plays))};
    settings(fmt, upstream_url(s->first), upstream_url(s->second));
    s->p.env = env;
    s->config = jl_strdup(scratch("serve.conf"));
    program_start(&s->p, ARGS("serve", "--config", s->config, "--no-meter", "--listen", "127.0.0.1:0", "--verbose"));
    program_until_out(&s->p, " -> ");
    s->url = strndup(kept(&s->p.out), strcspn(kept(&s->p.out), " "));
}

static void stop(struct service *s)
{
    program_stop(&s->p);
    upstream_stop(s->first);
    upstream_stop(s->second);
    free(s->url);
    free(s->config);
}

static void again(struct service *s, const char *says)
{
    kill(s->p.pid, SIGHUP);
    program_until_err(&s->p, says);
}

static void settings_are_read_again(void **state)
{
    struct service s;
    (void)state;
    start(&s, "[serve]\nupstream = %s\n# %s\n", NULL);
    must_get(&s, "/x", "first");
    settings("# %s\n[serve]\nupstream = %s\n", upstream_url(s.first), upstream_url(s.second));
    again(&s, "the settings were read again");
    must_get(&s, "/x", "second");
    settings("[serve]\nupstream = %s\nconections = 7\n# %s", upstream_url(s.first), "");
    again(&s, "line 3: there is no setting 'conections'; did you mean 'connections'?");
    must_say(kept(&s.p.err), "the settings were not taken, and everything stays as it was: ");
    must_get(&s, "/x", "second");
    settings("[serve]\nupstream = %s\ntoken = short\n# %s", upstream_url(s.first), "");
    again(&s, "the token is shorter than 8 characters");
    must_get(&s, "/x", "second");
    settings("[serve]\nupstream = %s\ntoken = long-enough\nclient-timeout = 9s\n# %s", upstream_url(s.first), "");
    again(&s, "what the settings say now of client-timeout cannot change while it serves");
    must_get(&s, "/joulet/t/long-enough/x", "first");
    settings("[serve]\n# %s %s\n", "", "");
    again(&s, "everything stays as it was: there is no upstream");
    must_get(&s, "/joulet/t/long-enough/x", "first");
    stop(&s);
}

/* ---- the log ------------------------------------------------------------------------------------------------------------- */

static char *until_line(const char *name, const char *words)
{
    char *text = NULL;
    for (int i = 0; i < PATIENCE_MS / 10; i++) {
        free(text);
        text = scratch_read(name);
        if (text && strstr(text, words))
            return text;
        usleep(10000);
    }
    fail_msg("%s has no \"%s\"", name, words);
    return NULL;
}

static void the_log_can_be_rotated(void **state)
{
    static const int signals[] = {SIGUSR1, SIGHUP};
    struct service s;
    (void)state;
    char *log = jl_strdup(scratch("access.log")), *conf = jl_strf("upstream = %%s\nlog = %s\n# %%s\n", log);
    start(&s, conf, NULL);
    must_get(&s, "/v1/a%20b?key=secret", "first");
    free(until_line("access.log", "GET /v1/a%20b 200 5 "));
    for (size_t i = 0; i < JL_COUNT(signals); i++) {
        assert_int_equal(rename(log, scratch("access.log.1")), 0);
        must_get(&s, "/moved", "first");
        free(until_line("access.log.1", "/moved"));
        kill(s.p.pid, signals[i]);
        char *made = until_line("access.log", "");
        assert_string_equal(made, "");
        free(made);
        must_get(&s, "/anew", "first");
        free(until_line("access.log", "/anew"));
    }
    char *text = scratch_read("access.log");
    assert_null(strstr(text, "secret"));
    free(text);
    free(log);
    free(conf);
    stop(&s);
}

static int connect_to(const struct service *s)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    a.sin_port = htons((uint16_t)atoi(strrchr(s->url, ':') + 1));
    assert_int_equal(connect(fd, (struct sockaddr *)&a, sizeof a), 0);
    return fd;
}

/* As it stands, and waits for the end of the answer. */
static void send_raw(const struct service *s, const char *request)
{
    char bytes[4096];
    int fd = connect_to(s);
    ssize_t n = send(fd, request, strlen(request), MSG_NOSIGNAL);
    (void)n;
    while (recv(fd, bytes, sizeof bytes, 0) > 0)
        continue;
    close(fd);
}

static void the_log_as_json(void **state)
{
    struct service s;
    (void)state;
    unlink(scratch("lines.json"));
    char *conf = jl_strf("upstream = %%s\nlog = %s\nlog-format = json\n# %%s\n", scratch("lines.json"));
    start(&s, conf, NULL);
    must_get(&s, "/v1/%22q%22?key=secret", "first");
    char *text = until_line("lines.json", "\n");
    json_t *line = json_loads(text, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "path")), "/v1/%22q%22");
    assert_string_equal(json_string_value(json_object_get(line, "client")), "127.0.0.1");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 200);
    assert_int_equal(json_integer_value(json_object_get(line, "bytes")), 5);
    assert_true(json_real_value(json_object_get(line, "total_s")) >= json_real_value(json_object_get(line, "first_s")));
    assert_string_equal(json_string_value(json_object_get(line, "end")), "done");
    assert_null(strstr(text, "secret"));
    json_decref(line);
    free(text);
    send_raw(&s, "GET /\\\"?secret HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n");
    text = until_line("lines.json", "refused");
    line = json_loads(strchr(text, '\n') + 1, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(line);
    assert_string_equal(json_string_value(json_object_get(line, "path")), "/\\\"");
    assert_int_equal(json_integer_value(json_object_get(line, "status")), 403);
    assert_string_equal(json_string_value(json_object_get(line, "end")), "refused");
    assert_non_null(strstr(json_string_value(json_object_get(line, "why")), "--allow-host"));
    json_decref(line);
    free(text);
    free(conf);
    stop(&s);
}

/* Of what goes nowhere too, and of that no secret either: a token that is wrong by a letter is nearly the right one. */
static void refused_requests_are_in_the_log(void **state)
{
    static const struct {
        const char *request, *line;
    } rows[] = {
        {"GET /v1/a?key=secret HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer secret\r\nConnection: close\r\n\r\n",
         "127.0.0.1 GET /v1/a 401 - - - refused\n"},
        {"GET /joulet/t/secretsecret/v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
         "127.0.0.1 GET /v1 401 - - - refused\n"},
        {"GET /v1/joulet/t/secretsecret/v1 HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n",
         "127.0.0.1 GET /v1/joulet/t/ 401 - - - refused\n"},
        {"GET /x/secret-token HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n", "127.0.0.1 GET /x/ 401 - - - refused\n"},
        {"POST /b HTTP/1.1\r\nHost: evil.example\r\nContent-Length: 0\r\nConnection: close\r\n\r\n",
         "127.0.0.1 POST /b 403 - - - refused\n"},
        {"POST /c?secret HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
         "127.0.0.1 POST /c 400 - - - refused\n"},
        {"POST /joulet/t/secret-token/d HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
         "127.0.0.1 POST /joulet/t/ 400 - - - refused\n"},
        {"GET http://user:secret@localhost/ HTTP/1.1\r\nHost: localhost\r\n\r\n", "127.0.0.1 GET - 400 - - - refused\n"},
        {"GET /joulet/health HTTP/1.1\r\nHost: localhost\r\nOrigin: http://evil.example\r\nX-Joulet-Token: "
         "secret-token\r\nConnection: close\r\n\r\n",
         "127.0.0.1 GET /joulet/health 403 - - - refused\n"},
        {"GET /e HTTP/1.1\r\nHost: localhost\r\nX-Joulet-Token: secret-token\r\nConnection: close\r\n\r\n",
         "127.0.0.1 GET /e 404 - - - refused\n"},
        {"GET /f\x1b[2J HTTP/1.1\r\nHost: evil.example\r\nConnection: close\r\n\r\n", "GET /f\\x1b[2J 40"},
        {"POST /g HTTP/1.1\r\nHost: localhost\r\nX-Joulet-Token: secret-token\r\nContent-Length: 99999999999\r\n\r\n",
         "127.0.0.1 POST /g 413 - - - refused\n"},
        {"POST /i HTTP/1.1\r\nHost: localhost\r\nContent-Length : 7\r\n\r\n", "POST /i 400 - - - refused\n"},
    };
    struct service s;
    (void)state;
    unlink(scratch("access.log"));
    char *conf = jl_strf("upstream = /up=%%s\ntoken = secret-token\nlog = %s\n# %%s\n", scratch("access.log"));
    start(&s, conf, NULL);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        send_raw(&s, rows[i].request);
        free(until_line("access.log", rows[i].line));
    }
    struct jl_buf flood;
    jl_buf_init(&flood, 1 << 20);
    jl_buf_str(&flood, "GET /h HTTP/1.1\r\nHost: localhost\r\n");
    for (int i = 0; i < 2000; i++)
        jl_buf_str(&flood, "X-Secret: secretsecret\r\n");
    jl_buf_str(&flood, "\r\n");
    send_raw(&s, flood.data);
    char *text = until_line("access.log", " /h 431 - - - refused\n");
    assert_null(strstr(text, "secret"));
    free(text);
    jl_buf_release(&flood);
    free(conf);
    stop(&s);
}

static void connections_over_the_limit_are_in_the_log(void **state)
{
    enum { MOST = 2 };
    static const char request[] = "GET /x HTTP/1.1\r\nHost: localhost\r\n\r\n";
    struct service s;
    int fds[MOST];
    char byte;
    (void)state;
    unlink(scratch("limit.log"));
    char *conf = jl_strf("upstream = %%s\nconnections = 2\nlog = %s\n# %%s\n", scratch("limit.log"));
    start(&s, conf, NULL);
    for (int i = 0; i < MOST; i++) {
        fds[i] = connect_to(&s);
        assert_int_equal(send(fds[i], request, sizeof request - 1, MSG_NOSIGNAL), sizeof request - 1);
        assert_int_equal(recv(fds[i], &byte, 1, 0), 1); /* it is served, and stays */
    }
    send_raw(&s, request);
    free(until_line("limit.log", " - 127.0.0.1 - - - - - - refused\n"));
    for (int i = 0; i < MOST; i++)
        close(fds[i]);
    free(conf);
    stop(&s);
}

static size_t count(const char *text, const char *words)
{
    size_t n = 0;
    for (const char *p = text; (p = strstr(p, words)); p++)
        n++;
    return n;
}

/* So many lines a second, and how many there were besides: none is forgotten. */
static void a_flood_of_refusals(void **state)
{
    enum { MANY = 300 };
    struct service s;
    (void)state;
    unlink(scratch("flood.log"));
    char *conf = jl_strf("upstream = %%s\ntoken = secret-token\nlog = %s\n# %%s\n", scratch("flood.log"));
    start(&s, conf, NULL);
    int64_t from_ns = jl_mono_ns();
    for (int i = 0; i < MANY; i++)
        send_raw(&s, "GET /x HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
    double took_s = jl_s(jl_mono_ns() - from_ns);
    stop(&s);
    char *text = scratch_read("flood.log");
    size_t lines = count(text, " refused\n"), all = lines;
    for (const char *p = text; (p = strstr(p, " refused+")); p++)
        all += strtoul(p + 9, NULL, 10);
    assert_int_equal(all, MANY);
    assert_true(lines >= 20 && (double)lines <= 20 * (took_s + 2));
    free(text);
    free(conf);
}

/* ---- the service manager --------------------------------------------------------------------------------------------------- */

static void told(int fd, const char *begins)
{
    char text[1024];
    for (;;) {
        struct pollfd p = {.fd = fd, .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) <= 0)
            fail_msg("was not told %s", begins);
        ssize_t n = recv(fd, text, sizeof text - 1, 0);
        assert_true(n > 0);
        text[n] = '\0';
        if (jl_starts(text, begins))
            return;
        assert_true(jl_starts(text, "WATCHDOG=1")); /* in between */
    }
}

static void the_service_manager_is_told(void **state)
{
    struct service s;
    struct sockaddr_un a = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    (void)state;
    snprintf(a.sun_path, sizeof a.sun_path, "%s", scratch("notify"));
    assert_int_equal(bind(fd, (struct sockaddr *)&a, sizeof a), 0);
    char *socket_env = jl_strf("NOTIFY_SOCKET=%s", a.sun_path);
    start(&s, "upstream = %s\n# %s\n", (const char *const[]){socket_env, "WATCHDOG_USEC=400000", NULL});
    told(fd, "READY=1\nSTATUS=listening on http://127.0.0.1:");
    told(fd, "WATCHDOG=1");
    kill(s.p.pid, SIGHUP);
    told(fd, "RELOADING=1\nMONOTONIC_USEC=");
    told(fd, "READY=1\n");
    kill(s.p.pid, SIGTERM);
    told(fd, "STOPPING=1\n");
    stop(&s);
    close(fd);
    free(socket_env);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(settings_are_read_again),
                                       cmocka_unit_test(the_log_can_be_rotated),
                                       cmocka_unit_test(the_log_as_json),
                                       cmocka_unit_test(refused_requests_are_in_the_log),
                                       cmocka_unit_test(connections_over_the_limit_are_in_the_log),
                                       cmocka_unit_test(a_flood_of_refusals),
                                       cmocka_unit_test(the_service_manager_is_told)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
