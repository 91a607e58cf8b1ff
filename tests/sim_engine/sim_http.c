/* sim_http.c - just enough HTTP/1.1 for the simulated engine: requests with a length, answers with a length or in chunks. */
#include "tests/sim_engine/sim_internal.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define SLOW_BYTES 7
#define SLOW_NS    1000000

/* ---- reading -------------------------------------------------------------------------------------------------------- */

static bool read_more(struct sim_connection *c)
{
    char bytes[16384];
    ssize_t n;
    do
        n = recv(c->fd, bytes, sizeof(bytes), 0);
    while (n < 0 && errno == EINTR);
    return n > 0 && jl_buf_add(&c->in, bytes, (size_t)n);
}

/* Value of a header line of the head, trimmed; false when it is not there. */
static bool header(const char *head, size_t n, const char *name, char *out, size_t size)
{
    size_t len = strlen(name);
    for (const char *p = head; p && p + len < head + n; p = memchr(p, '\n', (size_t)(head + n - p)), p = p ? p + 1 : NULL) {
        if (strncasecmp(p, name, len) != 0 || p[len] != ':')
            continue;
        p += len + 1;
        p += strspn(p, " \t");
        snprintf(out, size, "%.*s", (int)strcspn(p, "\r\n"), p);
        return true;
    }
    return false;
}

bool sim_read_request(struct sim_connection *c, struct sim_http *out)
{
    char value[128], *end;
    *out = (struct sim_http){.body = ""};
    while (!c->in.data || !(end = strstr(c->in.data, "\r\n\r\n"))) {
        if (!read_more(c))
            return false;
    }
    size_t head = (size_t)(end - c->in.data) + 4;
    if (header(c->in.data, head, "Content-Length", value, sizeof(value)))
        out->body_len = strtoul(value, NULL, 10);
    while (c->in.len < head + out->body_len) {
        if (!read_more(c))
            return false;
    }
    if (header(c->in.data, head, "Authorization", value, sizeof(value)) && jl_starts(value, "Bearer "))
        snprintf(out->key, sizeof(out->key), "%s", value + 7);
    if (sscanf(c->in.data, "%7s %255[^ ?\r\n]", out->method, out->path) != 2)
        return false;
    out->body = c->in.data + head;
    out->total = head + out->body_len;
    return true;
}

/* ---- writing -------------------------------------------------------------------------------------------------------- */

bool sim_send(struct sim_connection *c, const void *bytes, size_t n)
{
    const char *p = bytes;
    while (n && !c->broken) {
        size_t piece = c->slow && n > SLOW_BYTES ? SLOW_BYTES : n;
        ssize_t sent = send(c->fd, p, piece, MSG_NOSIGNAL);
        if (sent < 0 && errno == EINTR)
            continue;
        c->broken = sent <= 0;
        if (c->broken)
            return false;
        p += sent;
        n -= (size_t)sent;
        if (c->slow && n)
            sim_wait_until(c, jl_mono_ns() + SLOW_NS);
    }
    return !c->broken;
}

static const char *reason(int status)
{
    static const struct {
        int status;
        const char *text;
    } reasons[] = {{200, "OK"},        {400, "Bad Request"},           {401, "Unauthorized"},
                   {404, "Not Found"}, {500, "Internal Server Error"}, {503, "Service Unavailable"}};
    for (size_t i = 0; i < JL_COUNT(reasons); i++) {
        if (reasons[i].status == status)
            return reasons[i].text;
    }
    return "Other";
}

void sim_reply(struct sim_connection *c, int status, const char *type, const char *body)
{
    char *head = jl_strf("HTTP/1.1 %d %s\r\nServer: sim_engine\r\nContent-Type: %s\r\nContent-Length: %zu\r\n%s\r\n", status,
                         reason(status), type, strlen(body),
                         status == 200 ? "Keep-Alive: timeout=5, max=100\r\n" : "Connection: close\r\n");
    if (head && sim_send(c, head, strlen(head)))
        sim_send(c, body, strlen(body));
    free(head);
    if (status != 200)
        c->broken = true; /* as llama-server does: an error closes the connection */
}

void sim_error(struct sim_connection *c, int status, const char *type, const char *message, const char *more)
{
    char *body = jl_strf("{\"error\":{\"code\":%d,\"message\":\"%s\",\"type\":\"%s\"%s}}", status, message, type, more);
    sim_reply(c, status, "application/json; charset=utf-8", body ? body : "");
    free(body);
}

bool sim_stream_begin(struct sim_connection *c)
{
    static const char head[] = "HTTP/1.1 200 OK\r\nServer: sim_engine\r\nContent-Type: text/event-stream\r\n"
                               "Transfer-Encoding: chunked\r\nKeep-Alive: timeout=5, max=100\r\n\r\n";
    return sim_send(c, head, sizeof(head) - 1);
}

/* One chunk in one send: its size line must not come as a packet of its own. */
bool sim_stream_piece(struct sim_connection *c, const char *bytes, size_t n)
{
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    jl_buf_printf(&b, "%zx\r\n", n);
    jl_buf_add(&b, bytes, n);
    jl_buf_str(&b, "\r\n");
    bool ok = !b.failed && sim_send(c, b.data, b.len);
    jl_buf_release(&b);
    return ok;
}

void sim_stream_end(struct sim_connection *c)
{
    sim_send(c, "0\r\n\r\n", 5);
}

/* ---- waiting -------------------------------------------------------------------------------------------------------- */

static bool client_gone(int fd)
{
    char byte;
    ssize_t n = recv(fd, &byte, 1, MSG_PEEK | MSG_DONTWAIT);
    return n == 0 || (n < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR);
}

bool sim_wait_until(struct sim_connection *c, int64_t t_ns)
{
    for (;;) {
        int64_t left = t_ns - jl_mono_ns();
        if (c->broken || client_gone(c->fd) || atomic_load(&c->engine->stopping)) {
            c->broken = true;
            return false;
        }
        if (left <= 0)
            return true;
        if (left > 20000000)
            left = 20000000; /* to see the end of the engine */
        struct timespec wait = {.tv_sec = 0, .tv_nsec = (long)left};
        struct pollfd p = {.fd = c->fd, .events = POLLRDHUP};
        ppoll(&p, 1, &wait, NULL);
    }
}
