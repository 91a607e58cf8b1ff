/* Requests for another protocol: the head is passed on, then bytes go both ways, whatever they are. */
#include "tests/cli/test.h"

#include "lib/platform/platform.h"
#include "tests/server/front.h"

#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define ASK                                                                                                                      \
    "GET /llm?x=1 HTTP/1.1\r\nHost: localhost\r\nConnection: keep-alive, Upgrade\r\nUpgrade: websocket\r\n"                      \
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\nX-Joulet-Tag: t\r\n\r\n"
#define SWITCH                                                                                                                   \
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"                                          \
    "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

static ssize_t read_all(int fd, char *bytes, size_t n)
{
    size_t at = 0;
    while (at < n) {
        ssize_t got = recv(fd, bytes + at, n - at, 0);
        if (got <= 0)
            break;
        at += (size_t)got;
    }
    return (ssize_t)at;
}

static void switches(void **state)
{
    static const struct play plays[] = {{.bytes = SWITCH "first", .then = THEN_ECHO}};
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, 1, NULL);
    int fd = client_connect(f.server);
    client_say(fd, ASK);
    char head[1024] = "", bytes[64];
    for (size_t n = 0; !strstr(head, "\r\n\r\n") && n < sizeof(head) - 1; n++) /* what follows must stay in the socket */
        assert_int_equal(recv(fd, head + n, 1, 0), 1);
    assert_true(jl_starts(head, "HTTP/1.1 101 "));
    a.head = head;
    char *accept = answer_header(&a, "Sec-WebSocket-Accept"), *upgrade = answer_header(&a, "Upgrade");
    assert_string_equal(accept, "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=");
    assert_string_equal(upgrade, "websocket");
    free(accept);
    free(upgrade);
    assert_int_equal(read_all(fd, bytes, 5), 5);
    assert_memory_equal(bytes, "first", 5);
    char *request = upstream_request(f.upstream, 0);
    assert_true(jl_starts(request, "GET /llm?x=1 HTTP/1.1\r\nHost: 127.0.0.1:"));
    assert_non_null(strstr(request, "\r\nUpgrade: websocket\r\n"));
    assert_non_null(strstr(request, "\r\nConnection: Upgrade\r\n"));
    assert_null(strstr(request, "X-Joulet"));
    free(request);
    /* Bytes of every kind, more than any buffer holds. */
    size_t n = 1 << 20;
    char *out = malloc(n), *in = malloc(n);
    for (size_t i = 0; i < n; i++)
        out[i] = (char)(i * 7919 >> 3);
    for (size_t at = 0; at < n; at += 65536) {
        client_send(fd, out + at, 65536);
        assert_int_equal(read_all(fd, in + at, 65536), 65536);
    }
    assert_memory_equal(in, out, n);
    free(out);
    free(in);
    close(fd);
    for (int i = 0; i < 180000 && server_active(f.server); i++)
        usleep(1000);
    assert_int_equal(server_active(f.server), 0);
    front_stop(&f);
}

/* The upstream ends: so does the client's connection, after all bytes. */
static void upstream_ends(void **state)
{
    static const struct play plays[] = {{.bytes = SWITCH "last", .then = THEN_CLOSE}};
    struct front f;
    char bytes[2048];
    (void)state;
    front_start(&f, plays, 1, NULL);
    int fd = client_connect(f.server);
    client_say(fd, ASK);
    ssize_t n = read_all(fd, bytes, sizeof(bytes));
    assert_true(n > 4);
    assert_memory_equal(bytes + n - 4, "last", 4);
    close(fd);
    front_stop(&f);
}

static void refused(void **state)
{
    static const struct play plays[] = {
        {.path = "/llm", .bytes = "HTTP/1.1 426 Upgrade Required\r\nX-A: b\r\nContent-Length: 2\r\n\r\nno"},
        {.path = "/cut", .bytes = "", .then = THEN_CLOSE}};
    struct front f;
    struct answer a;
    (void)state;
    front_start(&f, plays, 2, NULL);
    ask(f.server, ASK, &a);
    assert_int_equal(a.status, 426);
    assert_string_equal(a.body, "no");
    char *header = answer_header(&a, "X-A");
    assert_string_equal(header, "b");
    free(header);
    answer_release(&a);
    ask(f.server, "GET /cut HTTP/1.1\r\nHost: localhost\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n", &a);
    assert_int_equal(a.status, 502);
    answer_release(&a);
    front_stop(&f);
}

/* A tunnel is open when we stop: that is no reason to wait for ever. */
static void stops_with_a_tunnel(void **state)
{
    static const struct play plays[] = {{.bytes = SWITCH, .then = THEN_ECHO}};
    struct front f;
    char byte;
    (void)state;
    front_start(&f, plays, 1, NULL);
    int fd = client_connect(f.server);
    client_say(fd, ASK);
    assert_int_equal(recv(fd, &byte, 1, 0), 1);
    assert_false(server_drain(f.server, 0.05));
    front_stop(&f);
    close(fd);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(switches), cmocka_unit_test(upstream_ends), cmocka_unit_test(refused),
                                       cmocka_unit_test(stops_with_a_tunnel)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
