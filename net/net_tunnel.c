/* net_tunnel.c - a connection that leaves HTTP (WebSocket): the head is passed on and answered, then bytes go in both directions
 * as they come. One buffer a direction: who does not read is not read for either. */
#include "net/net_module.h"
#include "net/net_server.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>

#define ANSWER_S    30.0
#define STEP_MS     50
#define HEAD_MAX    ((size_t)64 * 1024)
#define BLOCK       ((size_t)16 * 1024)
#define TLS_POLL_MS 1000 /* what a poll cannot show is looked for anyway */

struct net_tunnel {
    const struct net_module *module;
    struct net_dialled *line;
    char where[256];
    struct jl_buf in; /* head of the answer, and what came behind it */
    size_t head_n;
    struct net_header *headers;
    size_t n_headers;
};

/* ---- the head ------------------------------------------------------------------------------------------------------------- */

static bool is_gone(int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLRDHUP};
    return fd >= 0 && poll(&p, 1, 0) > 0 && (p.revents & (POLLRDHUP | POLLHUP | POLLERR));
}

static bool send_all(struct net_tunnel *t, const char *bytes, size_t n, int64_t until_ns)
{
    while (n > 0 && jl_mono_ns() < until_ns) {
        long done = t->module->dial_write(t->line, bytes, n, STEP_MS);
        if (done < 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return n == 0;
}

static bool ask(struct net_tunnel *t, const struct net_ask *a)
{
    struct jl_buf out;
    const char *host = strstr(t->where, "://");
    jl_buf_init(&out, HEAD_MAX);
    jl_buf_printf(&out, "%s %s HTTP/1.1\r\nHost: %s\r\n", a->method, a->target, host ? host + 3 : t->where);
    for (size_t i = 0; i < a->n_headers; i++)
        jl_buf_printf(&out, "%s: %s\r\n", a->headers[i].name, a->headers[i].value);
    bool ok = jl_buf_str(&out, "\r\n") && send_all(t, out.data, out.len, jl_mono_ns() + jl_ns(ANSWER_S));
    jl_buf_release(&out);
    return ok;
}

/* Cuts the head into headers, in place. Returns the status, 0 when it is none. */
static int read_head(struct net_tunnel *t, char *end)
{
    char *line = t->in.data, *next;
    int status = strncasecmp(line, "HTTP/1.", 7) == 0 && strlen(line) > 12 ? atoi(line + 9) : 0;
    size_t cap = 0;
    *end = '\0';
    for (line = strstr(line, "\r\n"); line; line = next) {
        *line = '\0';
        line += 2;
        next = strstr(line, "\r\n");
        char *colon = strchr(line, ':');
        if (!colon || colon == line || (next && colon > next))
            continue;
        if (t->n_headers == cap) {
            cap = cap ? cap * 2 : 16;
            struct net_header *more = realloc(t->headers, cap * sizeof(*more));
            if (!more)
                return 0;
            t->headers = more;
        }
        *colon = '\0';
        t->headers[t->n_headers++] = (struct net_header){line, colon + 1 + strspn(colon + 1, " \t")};
    }
    return status;
}

static enum joulet_status await_head(struct net_tunnel *t, const struct net_ask *a, struct net_reply *reply,
                                     struct joulet_error *err)
{
    char bytes[4096], *end = NULL;
    double patience_s = a->first_s > 0 ? a->first_s : ANSWER_S;
    int64_t until_ns = jl_mono_ns() + jl_ns(patience_s);
    while (!end) {
        long n = t->module->dial_read(t->line, bytes, sizeof(bytes), STEP_MS);
        if (is_gone(a->client_fd))
            return jl_fail(err, JOULET_CANCELLED, "the client left before %s had answered", t->where);
        if (n < 0)
            return jl_fail(err, JOULET_IO, "%s closed the connection without an answer", t->where);
        if (n == 0 && jl_mono_ns() >= until_ns)
            return jl_fail(err, JOULET_UNREACHABLE, "%s sent nothing for %g s", t->where, patience_s);
        if (n > 0 && !jl_buf_add(&t->in, bytes, (size_t)n))
            break;
        end = t->in.data ? strstr(t->in.data, "\r\n\r\n") : NULL;
    }
    if (end) {
        t->head_n = (size_t)(end - t->in.data) + 4;
        reply->status = read_head(t, end);
    }
    if (!reply->status)
        return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port", t->where);
    reply->headers = t->headers;
    reply->n_headers = t->n_headers;
    reply->t_ns = jl_mono_ns();
    return jl_ok(err);
}

enum joulet_status net_tunnel_open(struct net_tunnel **out, const struct net_ask *a, struct net_reply *reply,
                                   struct joulet_error *err)
{
    *out = NULL;
    *reply = (struct net_reply){.length = -1};
    struct net_tunnel *t = calloc(1, sizeof(*t));
    if (!t)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    jl_buf_init(&t->in, HEAD_MAX);
    net_url_origin(a->origin, t->where, sizeof(t->where));
    t->module = net_module_get(err);
    enum joulet_status status =
        t->module ? t->module->dial_open(&t->line, a->origin, a->ca_file, a->connect_s, NULL, err) : JOULET_UNSUPPORTED;
    if (status == JOULET_OK && !ask(t, a))
        status = jl_fail(err, JOULET_IO, "%s closed the connection without an answer", t->where);
    if (status == JOULET_OK)
        status = await_head(t, a, reply, err);
    if (status == JOULET_OK)
        *out = t;
    else
        net_tunnel_close(t);
    return status;
}

void net_tunnel_close(struct net_tunnel *t)
{
    if (!t)
        return;
    if (t->line)
        t->module->dial_close(t->line);
    jl_buf_release(&t->in);
    free(t->headers);
    free(t);
}

/* ---- the bytes ------------------------------------------------------------------------------------------------------------ */

struct way { /* one direction */
    char bytes[BLOCK];
    size_t at, n;
    int64_t t_ns;
    bool ended; /* its source sends no more */
};

static long read_client(int fd, char *bytes, size_t size)
{
    ssize_t n = recv(fd, bytes, size, MSG_DONTWAIT);
    return n > 0 ? (long)n : n < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
}

static long write_client(int fd, const char *bytes, size_t n)
{
    ssize_t done = send(fd, bytes, n, MSG_DONTWAIT | MSG_NOSIGNAL);
    return done >= 0 ? (long)done : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

static void took(struct way *w, long n)
{
    w->ended |= n < 0;
    w->at = 0;
    w->n = n > 0 ? (size_t)n : 0;
    w->t_ns = jl_mono_ns();
}

/* False when the other side takes no more. */
static bool gave(struct way *w, long n)
{
    if (n > 0)
        w->at += (size_t)n;
    return n >= 0;
}

struct both {
    struct net_tunnel *t;
    int client_fd;
    struct way up, down;
    net_tunnel_bytes *on_bytes;
    void *user;
};

/* One direction: fills it when it is empty, empties it when it is not. False: the tunnel ends. */
static bool move(struct both *b, struct way *w, bool up)
{
    const struct net_module *m = b->t->module;
    if (w->at == w->n && !w->ended)
        took(w, up ? read_client(b->client_fd, w->bytes, BLOCK) : m->dial_read(b->t->line, w->bytes, BLOCK, 0));
    if (w->at < w->n) {
        if (!gave(w, up ? m->dial_write(b->t->line, w->bytes + w->at, w->n - w->at, 0)
                        : write_client(b->client_fd, w->bytes + w->at, w->n - w->at)))
            return false;
        if (w->at == w->n && b->on_bytes)
            b->on_bytes(b->user, up, w->bytes, w->n, w->t_ns);
    }
    return !w->ended || w->at < w->n;
}

static bool in_flight(const struct way *w)
{
    return w->at < w->n;
}

static void wait_for_either(const struct both *b)
{
    struct pollfd p[2] = {{.fd = b->client_fd}, {.fd = b->t->module->dial_socket(b->t->line)}};
    p[0].events = (short)((in_flight(&b->up) ? 0 : POLLIN) | (in_flight(&b->down) ? POLLOUT : 0));
    p[1].events = (short)((in_flight(&b->down) ? 0 : POLLIN) | (in_flight(&b->up) ? POLLOUT : 0));
    poll(p, 2, TLS_POLL_MS);
}

void net_tunnel_run(struct net_tunnel *t, int client_fd, const char *early, size_t n, net_tunnel_bytes *on_bytes, void *user)
{
    struct both b = {.t = t, .client_fd = client_fd, .on_bytes = on_bytes, .user = user};
    size_t behind = t->in.len - t->head_n;
    bool on = n == 0 || send_all(t, early, n, jl_mono_ns() + jl_ns(ANSWER_S));
    if (on && behind) { /* what came behind the head: at most what one read takes */
        b.down.n = behind < BLOCK ? behind : BLOCK;
        memcpy(b.down.bytes, t->in.data + t->head_n, b.down.n);
        b.down.t_ns = jl_mono_ns();
    }
    while (on) {
        bool up = move(&b, &b.up, true), down = up && move(&b, &b.down, false);
        on = up && down;
        if (on && (in_flight(&b.up) || in_flight(&b.down) || (!b.up.n && !b.down.n)))
            wait_for_either(&b);
    }
}
