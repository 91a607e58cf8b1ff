/* serve_exchange.c - an exchange with an upstream, for a proxy: part of the module joulet-serve.so. One wait looks at the
 * upstream and at the client: a client that leaves during a silent prefill ends the exchange at once, and the engine stops
 * computing for nobody. A piece of an answer costs one wait and one read. */
#include "net/serve_line.h"
#include "net/serve_reply.h"

#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define IDLE_DEFAULT_S 3600.0
#define REQUEST_MAX    ((size_t)1 << 20) /* of its head */
#define BLOCK_BYTES    ((size_t)4096)
#define WAIT_MAX_MS    1000

struct net_exchange {
    struct net_pool *pool;
    struct net_ask ask; /* what the caller keeps: origin, body, files */
    struct line *line;
    bool reused, again; /* the line was kept from another exchange; asked anew after it turned out to be closed */
    int64_t t_active_ns;
    /* the request */
    struct jl_buf request; /* its head */
    struct iovec out[3];   /* what the socket has not taken: head, or size of a piece; bytes; end */
    bool pieces, ended, told_sent;
    char piece_size[20];
    /* the answer */
    struct reply reply;
    bool head_done;
    int64_t t_head_ns, t_bytes_ns;
    struct jl_buf pending; /* of the body, came with the head */
    size_t taken;
    enum reply_head why; /* the head is none */
    bool came, gone, idle, no_memory;
    bool slow;   /* the last piece was long in coming */
    bool looked; /* read_now took what its socket had */
    int broke;   /* errno of the line; -1: it was closed */
};

/* ---- waiting ----------------------------------------------------------------------------------------------------------- */

static double patience_s(const struct net_exchange *x)
{
    return x->head_done ? x->ask.idle_s : x->ask.first_s;
}

static int wait_ms(const struct net_exchange *x, bool first)
{
    double left_s = first ? patience_s(x) : patience_s(x) - jl_s(jl_mono_ns() - x->t_active_ns);
    return left_s <= 0 ? 0 : left_s * 1e3 >= WAIT_MAX_MS ? WAIT_MAX_MS : (int)(left_s * 1e3) + 1;
}

/* Until something can be done with the upstream. False: the client is gone, or nothing happened for too long. */
static bool await(struct net_exchange *x, short events)
{
    struct pollfd fds[2] = {{.fd = x->line->fd, .events = events}, {.fd = x->ask.client_fd, .events = POLLRDHUP}};
    for (bool first = true;; first = false) {
        int n = poll(fds, 2, wait_ms(x, first));
        if (n < 0 && errno != EINTR) {
            x->no_memory = true;
            return false;
        }
        x->gone = n > 0 && (fds[1].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL));
        if (x->gone)
            return false;
        if (n > 0 && fds[0].revents)
            return true;
        x->idle = jl_s(jl_mono_ns() - x->t_active_ns) >= patience_s(x);
        if (x->idle)
            return false;
    }
}

static void came(struct net_exchange *x, int64_t since_ns)
{
    x->came = true;
    x->t_bytes_ns = x->t_active_ns = jl_mono_ns();
    x->slow = x->t_active_ns - since_ns >= LINE_PATIENCE_NS;
}

/* Bytes from the upstream as soon as some are there, or 0: it closed; LINE_BROKE with the reason in x. */
static long take(struct net_exchange *x, char *bytes, size_t size)
{
    int64_t since_ns = x->t_active_ns;
    /* TLS holds what its socket does not show. While pieces follow each other quickly, waiting in the read alone spares a call
     * for each; a client that leaves is seen at the next piece, or after that wait. */
    long n = x->line->easy || (x->head_done && !x->slow) ? serve_line_read_soon(x->line, bytes, size) : LINE_AGAIN;
    while (n == LINE_AGAIN) {
        if (!await(x, POLLIN))
            return LINE_BROKE;
        n = serve_line_read(x->line, bytes, size);
    }
    if (n <= 0) {
        x->broke = n == 0 ? -1 : errno;
        return n;
    }
    came(x, since_ns);
    return n;
}

/* ---- the request ------------------------------------------------------------------------------------------------------- */

static bool takes_a_body(const char *method)
{
    return strcmp(method, "POST") == 0 || strcmp(method, "PUT") == 0 || strcmp(method, "PATCH") == 0;
}

static void add_part(struct jl_buf *out, const char *a, const char *b, const char *c)
{
    jl_buf_add(out, a, strlen(a));
    jl_buf_add(out, b, strlen(b));
    jl_buf_add(out, c, strlen(c));
}

/* What the client sent, and nothing else but Host and the framing. */
static bool write_head(struct net_exchange *x, const struct net_ask *a)
{
    struct jl_buf *out = &x->request;
    jl_buf_clear(out);
    add_part(out, a->method, " ", a->target);
    add_part(out, " HTTP/1.1\r\nHost: ", x->line->host, "\r\n");
    if (x->line->login && !net_head_value(a->headers, a->n_headers, "Authorization"))
        add_part(out, "Authorization: ", x->line->login, "\r\n");
    for (size_t i = 0; i < a->n_headers; i++) {
        const char *value = a->headers[i].value;
        add_part(out, a->headers[i].name, *value ? ": " : ":", value);
        jl_buf_add(out, "\r\n", 2);
    }
    if (a->body_len < 0)
        jl_buf_str(out, "Transfer-Encoding: chunked\r\n");
    else if (a->body_len > 0 || takes_a_body(a->method))
        jl_buf_printf(out, "Content-Length: %lld\r\n", (long long)a->body_len);
    return jl_buf_add(out, "\r\n", 2);
}

static struct iovec part(const void *bytes, size_t n)
{
    return (struct iovec){.iov_base = (void *)(uintptr_t)bytes, .iov_len = n};
}

static void queue(struct net_exchange *x, struct iovec a, struct iovec b, struct iovec c)
{
    x->out[0] = a;
    x->out[1] = b;
    x->out[2] = c;
}

static void queue_head(struct net_exchange *x)
{
    queue(x, part(x->request.data, x->request.len), part(x->ask.body, x->pieces ? 0 : (size_t)x->ask.body_len), part("", 0));
}

static size_t waits_to_go(const struct net_exchange *x)
{
    return x->out[0].iov_len + x->out[1].iov_len + x->out[2].iov_len;
}

/* As much as the socket takes now; LINE_AGAIN or LINE_BROKE, or what is left. */
static long give(struct net_exchange *x)
{
    while (waits_to_go(x)) {
        size_t first = x->out[0].iov_len ? 0 : x->out[1].iov_len ? 1 : 2;
        long n = serve_line_write(x->line, x->out + first, 3 - first);
        if (n < 0)
            return n;
        for (size_t i = first, left = (size_t)n; i < 3 && left; i++) {
            size_t k = left < x->out[i].iov_len ? left : x->out[i].iov_len;
            x->out[i] = part((const char *)x->out[i].iov_base + k, x->out[i].iov_len - k);
            left -= k;
        }
    }
    return 0;
}

static void tell_sent(struct net_exchange *x)
{
    if (!x->told_sent && x->ask.on_sent && !x->pieces)
        x->ask.on_sent(x->ask.user, jl_mono_ns());
    x->told_sent = true;
}

/* ---- the answer -------------------------------------------------------------------------------------------------------- */

/* Bytes of the head, and of the body what came with it. */
static void took_head(struct net_exchange *x, char *bytes, size_t n)
{
    size_t used;
    x->why = reply_head_bytes(&x->reply, bytes, n, &used);
    if (x->why != REPLY_HEAD)
        return;
    x->head_done = true;
    x->t_head_ns = x->t_bytes_ns;
    size_t body = reply_body_bytes(&x->reply, bytes + used, n - used);
    x->no_memory |= body && !jl_buf_add(&x->pending, bytes + used, body);
}

/* One read of the head. False: it will not come. */
static bool read_head(struct net_exchange *x)
{
    char bytes[BLOCK_BYTES];
    long n = take(x, bytes, sizeof(bytes));
    if (n > 0)
        took_head(x, bytes, (size_t)n);
    return n > 0 && !x->no_memory && (x->head_done || x->why == REPLY_MORE);
}

/* Its answer says that it wants no more; one that goes well may be on its way while the request still is. */
static bool refuses(const struct net_exchange *x)
{
    return x->head_done && (x->pieces || x->reply.status >= 300 || x->reply.done);
}

/* Until all that is queued went, or the upstream answers. False: neither will be. */
static bool send_queued(struct net_exchange *x)
{
    long n;
    while (!refuses(x) && (n = give(x)) != 0) {
        if (n == LINE_BROKE) { /* it may have said why */
            x->broke = errno;
            while (!x->head_done && read_head(x))
                continue;
            return x->head_done;
        }
        x->t_active_ns = jl_mono_ns();
        if (!await(x, x->head_done ? POLLOUT : POLLIN | POLLOUT))
            return false;
        struct pollfd in = {.fd = x->line->fd, .events = POLLIN};
        if (!x->head_done && poll(&in, 1, 0) > 0 && !read_head(x))
            return false;
    }
    return true;
}

/* A kept line that was closed before a byte of the answer came: the upstream never saw the request. */
static bool may_ask_again(const struct net_exchange *x)
{
    return x->reused && !x->came && x->broke && !x->pieces && !x->again && !x->gone && !x->no_memory;
}

static enum joulet_status ask_again(struct net_exchange *x, struct joulet_error *err)
{
    const struct net_ask *a = &x->ask;
    serve_line_close(x->line);
    x->line = NULL;
    x->again = true;
    x->broke = 0;
    enum joulet_status status = serve_line_open(&x->line, a->origin, a->ca_file, a->connect_s, a->client_fd, err);
    queue_head(x);
    x->t_active_ns = jl_mono_ns();
    return status;
}

/* ---- what is told ------------------------------------------------------------------------------------------------------ */

static enum joulet_status fail_of(const struct net_exchange *x, struct joulet_error *err)
{
    const char *where = x->line->where;
    if (x->gone)
        return jl_fail(err, JOULET_CANCELLED, "the client left before %s had answered", where);
    if (x->no_memory || x->why == REPLY_NO_MEMORY)
        return jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", where);
    if (x->why == REPLY_BAD)
        return jl_fail(err, JOULET_FORMAT, "the head of the answer of %s is no head, or longer than %zu KiB", where,
                       REPLY_HEAD_MAX >> 10);
    if (x->why == REPLY_NO_HTTP)
        return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port", where);
    if (x->idle)
        return jl_fail(err, JOULET_UNREACHABLE, "%s sent nothing for %g s", where, patience_s(x));
    if (!x->came && x->broke < 0)
        return jl_fail(err, JOULET_IO, "%s closed the connection without an answer", where);
    const char *why = x->reply.broken && x->reply.framing == REPLY_CHUNKED && !x->broke ? "its chunks are none"
                      : x->broke > 0                                                    ? strerror(x->broke)
                                                                                        : "the answer is not whole";
    return jl_fail(err, JOULET_IO, "%s cut the connection: %s", where, why);
}

/* ---- the exchange ------------------------------------------------------------------------------------------------------ */

enum joulet_status serve_exchange_open(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                       struct joulet_error *err)
{
    *out = NULL;
    struct net_exchange *x = jl_malloc_unkept(sizeof(*x));
    if (!x)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    *x = (struct net_exchange){.pool = p, .ask = *a};
    x->ask.idle_s = a->idle_s > 0 ? a->idle_s : IDLE_DEFAULT_S;
    x->ask.first_s = a->first_s > 0 ? a->first_s : x->ask.idle_s;
    x->pieces = a->body_len != 0 && !a->body;
    jl_buf_init_unkept(&x->request, REQUEST_MAX);
    jl_buf_init_unkept(&x->pending, SIZE_MAX);
    reply_init(&x->reply, strcmp(a->method, "HEAD") == 0);
    x->line = x->pieces ? NULL : serve_pool_take(p, a->origin); /* a kept one may be stale, and pieces cannot be sent twice */
    x->reused = x->line != NULL;
    enum joulet_status status = JOULET_OK;
    if (!x->line)
        status = serve_line_open(&x->line, a->origin, a->ca_file, a->connect_s, a->client_fd, err);
    if (status == JOULET_OK && !write_head(x, a))
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status != JOULET_OK) {
        serve_exchange_close(x);
        return status;
    }
    queue_head(x);
    x->t_active_ns = jl_mono_ns();
    *out = x;
    return jl_ok(err);
}

enum joulet_status serve_exchange_send(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err)
{
    static const char hex[] = "0123456789abcdef";
    bool ok = send_queued(x); /* the head */
    if (ok && !x->head_done && n && x->ask.body_len < 0) {
        char *p = x->piece_size + sizeof(x->piece_size), *end = p;
        *--p = '\n';
        *--p = '\r';
        for (size_t left = n; left; left >>= 4)
            *--p = hex[left & 15];
        queue(x, part(p, (size_t)(end - p)), part(bytes, n), part("\r\n", 2));
        ok = send_queued(x);
    } else if (ok && !x->head_done) {
        queue(x, part("", 0), part(bytes, n), part("", 0));
        ok = send_queued(x);
    }
    if (ok && !x->gone)
        return x->head_done ? JOULET_BUSY : jl_ok(err);
    return fail_of(x, err);
}

/* The rest of the request, and the head of the answer. False: one of them will not be. */
static bool ask_and_read(struct net_exchange *x)
{
    if (!send_queued(x))
        return false;
    if (x->pieces && !x->ended && !x->head_done) {
        x->ended = true;
        queue(x, part("0\r\n\r\n", x->ask.body_len < 0 ? 5 : 0), part("", 0), part("", 0));
        if (!send_queued(x))
            return false;
    }
    if (!waits_to_go(x))
        tell_sent(x);
    while (!x->head_done)
        if (!read_head(x))
            return false;
    return !x->no_memory;
}

enum joulet_status serve_exchange_head(struct net_exchange *x, struct net_reply *out, struct joulet_error *err)
{
    bool ok = ask_and_read(x);
    if (!ok && may_ask_again(x)) {
        enum joulet_status status = ask_again(x, err);
        if (status != JOULET_OK)
            return status;
        ok = ask_and_read(x);
    }
    if (!ok)
        return fail_of(x, err);
    if (!x->pieces || x->ended)
        jl_buf_release(&x->request);
    *out = (struct net_reply){.status = x->reply.status,
                              .headers = x->reply.headers,
                              .n_headers = x->reply.n_headers,
                              .length = x->reply.length,
                              .t_ns = x->t_head_ns};
    return jl_ok(err);
}

static long take_pending(struct net_exchange *x, char *bytes, size_t size)
{
    size_t left = x->pending.len - x->taken, n = left < size ? left : size;
    memcpy(bytes, x->pending.data + x->taken, n);
    x->taken += n;
    if (x->taken == x->pending.len) {
        jl_buf_release(&x->pending);
        x->taken = 0;
    }
    return (long)n;
}

long serve_exchange_read(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err)
{
    struct reply *r = &x->reply;
    *t_ns = x->t_bytes_ns;
    x->looked = false;
    if (x->taken < x->pending.len)
        return take_pending(x, bytes, size);
    while (!r->done && !r->broken) {
        long n = take(x, bytes, size);
        if (n < 0)
            break;
        *t_ns = x->t_bytes_ns;
        if (n == 0)
            reply_ends(r);
        else if ((n = (long)reply_body_bytes(r, bytes, (size_t)n)) > 0)
            return n;
    }
    if (r->done)
        return 0;
    fail_of(x, err);
    return -1;
}

int serve_exchange_source(const struct net_exchange *x)
{
    bool quick = !x->line->easy && x->head_done && !x->slow && !x->reply.done && !x->reply.broken;
    return quick && x->taken == x->pending.len ? x->line->fd : -1;
}

/* What the socket has now, or how it ended: then the reply is done or broken. Whatever `take` would wait for is later. */
static long look(struct net_exchange *x, char *bytes, size_t size)
{
    long n = serve_line_read(x->line, bytes, size);
    if (n == LINE_AGAIN) {
        x->slow = true; /* whoever reads next looks at the client, too */
        return 0;
    }
    if (n > 0) {
        came(x, x->t_active_ns);
        return (long)reply_body_bytes(&x->reply, bytes, (size_t)n);
    }
    x->broke = n == 0 ? -1 : errno;
    if (n == 0)
        reply_ends(&x->reply);
    else
        x->reply.broken = true;
    return 0;
}

long serve_exchange_read_now(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns)
{
    const struct reply *r = &x->reply;
    long n = 0;
    if (!r->done && !r->broken && !x->looked) {
        n = look(x, bytes, size);
        x->looked = true;
        *t_ns = x->t_bytes_ns;
    }
    if (n > 0)
        return n;
    if (r->done || r->broken)
        return NET_ENDS;
    x->looked = false;
    return NET_LATER;
}

long serve_exchange_rest(const struct net_exchange *x)
{
    return x->reply.done ? (long)(x->pending.len - x->taken) : -1;
}

void serve_exchange_close(struct net_exchange *x)
{
    if (!x)
        return;
    const struct reply *r = &x->reply;
    if (x->line && x->head_done && r->done && r->keeps && !r->more && !waits_to_go(x) && (!x->pieces || x->ended))
        serve_pool_give(x->pool, x->line);
    else
        serve_line_close(x->line);
    jl_buf_release(&x->request);
    jl_buf_release(&x->pending);
    reply_release(&x->reply);
    free(x);
}

__attribute__((visibility("default"))) extern const struct net_serve_module joulet_serve_module;
const struct net_serve_module joulet_serve_module = {
    .version = NET_SERVE_VERSION,
    .sizes = NET_SERVE_SIZES,
    .server_open = serve_server_open,
    .server_address = serve_server_address,
    .server_connections = serve_server_connections,
    .server_limit = serve_server_limit,
    .server_drain = serve_server_drain,
    .server_close = serve_server_close,
    .call_answer = serve_call_answer,
    .pool_open = serve_pool_open,
    .pool_close = serve_pool_close,
    .exchange_open = serve_exchange_open,
    .exchange_send = serve_exchange_send,
    .exchange_head = serve_exchange_head,
    .exchange_read = serve_exchange_read,
    .exchange_source = serve_exchange_source,
    .exchange_read_now = serve_exchange_read_now,
    .exchange_rest = serve_exchange_rest,
    .exchange_close = serve_exchange_close,
};
