/* serve_curl.c - an exchange with an upstream, for a proxy: part of the module joulet-serve.so. libcurl does connections, framing
 * and TLS; waiting is ours, because the client's socket must be looked at meanwhile: a client that leaves during a silent prefill
 * ends the exchange at once, and the engine stops computing for nobody.
 *
 * An exchange takes a handle with its kept connections from the pool, and has it alone until it ends. */
#include "net/serve_handle.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECT_DEFAULT_S 5.0
#define IDLE_DEFAULT_S    3600.0
#define HEAD_MAX          ((size_t)256 * 1024)
#define PENDING_FULL      ((size_t)128 * 1024) /* decoded and not yet taken: curl waits */
#define BLOCK_BYTES       4096L                /* one read; held for each answer under way */
#define WAIT_MAX_MS       1000

struct net_exchange {
    struct net_pool *pool;
    struct handle *h;
    struct curl_slist *headers;
    char where[256];
    int client_fd;
    double idle_s, first_s;
    int64_t t_active_ns, t_bytes_ns;
    /* the answer */
    struct jl_buf head; /* "name\0value\0" ... */
    struct net_header *reply_headers;
    size_t n_reply_headers, cap_reply_headers;
    int status;
    int64_t length, t_head_ns;
    bool head_done, chunked, done, complete, paused, gone, idle, too_long, no_memory;
    size_t taken; /* of pending */
    CURLcode code;
    /* the request */
    const char *piece; /* not yet taken by curl */
    size_t piece_n;
    bool pieces, sent, waits_for_piece, told_sent;
    int64_t body_len;
    void (*on_sent)(void *user, int64_t t_ns);
    void *user;
};

/* ---- what comes ---------------------------------------------------------------------------------------------------------- */

static size_t on_body(char *bytes, size_t size, size_t count, void *user)
{
    struct net_exchange *x = user;
    size_t n = size * count;
    if (x->h->pending.len - x->taken >= PENDING_FULL) {
        x->paused = true;
        return CURL_WRITEFUNC_PAUSE;
    }
    if (x->h->pending.len == 0)
        x->t_bytes_ns = jl_mono_ns();
    x->no_memory = !jl_buf_add(&x->h->pending, bytes, n);
    return x->no_memory ? 0 : n;
}

/* "HTTP/1.1 200 OK": 0 for anything else. */
static int status_of(const char *line, size_t n)
{
    if (n < 12 || strncasecmp(line, "HTTP/", 5) != 0)
        return 0;
    const char *p = memchr(line, ' ', n);
    if (!p || (size_t)(line + n - p) < 4)
        return 0;
    return (p[1] - '0') * 100 + (p[2] - '0') * 10 + (p[3] - '0');
}

static bool keep_header(struct net_exchange *x, const char *line, size_t n)
{
    const char *colon = memchr(line, ':', n);
    if (!colon || colon == line)
        return true; /* curl let it through, but there is nothing to pass on */
    const char *value = colon + 1, *end = line + n;
    while (value < end && (*value == ' ' || *value == '\t'))
        value++;
    while (end > value && (end[-1] == '\r' || end[-1] == '\n' || end[-1] == ' ' || end[-1] == '\t'))
        end--;
    x->n_reply_headers++;
    return jl_buf_add(&x->head, line, (size_t)(colon - line)) && jl_buf_add(&x->head, "", 1) &&
           jl_buf_add(&x->head, value, (size_t)(end - value)) && jl_buf_add(&x->head, "", 1);
}

/* The text does not move any more: pointers into it. */
static void finish_head(struct net_exchange *x)
{
    x->reply_headers = malloc((x->n_reply_headers + 1) * sizeof(*x->reply_headers));
    if (!x->reply_headers) {
        x->no_memory = true;
        return;
    }
    const char *p = x->head.data;
    x->length = -1;
    for (size_t i = 0; i < x->n_reply_headers; i++) {
        const char *name = p, *value = p + strlen(p) + 1;
        p = value + strlen(value) + 1;
        x->reply_headers[i] = (struct net_header){name, value};
        x->chunked |= strcasecmp(name, "Transfer-Encoding") == 0;
        if (strcasecmp(name, "Content-Length") == 0 && strspn(value, "0123456789") == strlen(value))
            x->length = strtoll(value, NULL, 10);
    }
    if (x->chunked)
        x->length = -1;
    x->t_head_ns = jl_mono_ns();
    x->head_done = true;
}

static size_t on_head(char *line, size_t size, size_t count, void *user)
{
    struct net_exchange *x = user;
    size_t n = size * count;
    if (x->head_done)
        return n; /* trailers: of this connection only */
    int status = status_of(line, n);
    if (status) {
        x->status = status;
        x->n_reply_headers = 0;
        jl_buf_clear(&x->head);
        return n;
    }
    if (n > 0 && (line[0] == '\r' || line[0] == '\n')) {
        if (x->status >= 200)
            finish_head(x);
    } else if (memchr(line, '\0', n) || !keep_header(x, line, n)) {
        x->too_long = true;
        return 0;
    }
    return x->no_memory ? 0 : n;
}

static size_t on_want_piece(char *bytes, size_t size, size_t count, void *user)
{
    struct net_exchange *x = user;
    size_t n = size * count < x->piece_n ? size * count : x->piece_n;
    if (n == 0 && !x->sent) {
        x->waits_for_piece = true;
        return CURL_READFUNC_PAUSE;
    }
    if (n > 0) /* at the end there may be no piece at all */
        memcpy(bytes, x->piece, n);
    x->piece += n;
    x->piece_n -= n;
    return n;
}

/* Children that we start must not hold our connections open. */
static int on_socket(void *user, curl_socket_t fd, curlsocktype purpose)
{
    (void)user, (void)purpose;
    int flags = fcntl(fd, F_GETFD);
    if (flags >= 0)
        fcntl(fd, F_SETFD, flags | FD_CLOEXEC);
    return CURL_SOCKOPT_OK;
}

/* ---- the request --------------------------------------------------------------------------------------------------------- */

static bool add_line(struct net_exchange *x, const char *line)
{
    struct curl_slist *longer = curl_slist_append(x->headers, line);
    if (longer)
        x->headers = longer;
    return longer != NULL;
}

static bool add_header(struct net_exchange *x, const struct net_header *h)
{
    char at_hand[512];
    size_t name_n = strlen(h->name), value_n = strlen(h->value);
    char *line = name_n + value_n + 3 <= sizeof(at_hand) ? at_hand : malloc(name_n + value_n + 3);
    if (!line)
        return false;
    memcpy(line, h->name, name_n);
    if (value_n) {
        memcpy(line + name_n, ": ", 2);
        memcpy(line + name_n + 2, h->value, value_n + 1);
    } else {
        memcpy(line + name_n, ";", 2); /* curl's word for a header without a value */
    }
    bool ok = add_line(x, line);
    if (line != at_hand)
        free(line);
    return ok;
}

/* What the client sent, and nothing that curl would add by itself. */
static bool add_headers(struct net_exchange *x, const struct net_ask *a)
{
    static const char *const ours[] = {"Accept", "Content-Type", "User-Agent", "Expect"};
    bool ok = true;
    for (size_t i = 0; i < a->n_headers && ok; i++)
        ok = add_header(x, &a->headers[i]);
    for (size_t i = 0; i < JL_COUNT(ours) && ok; i++) {
        char line[32];
        if (!net_head_value(a->headers, a->n_headers, ours[i])) {
            memcpy(line, ours[i], strlen(ours[i]));
            memcpy(line + strlen(ours[i]), ":", 2);
            ok = add_line(x, line);
        }
    }
    return ok && (a->body_len >= 0 || add_line(x, "Transfer-Encoding: chunked"));
}

static void set_body(struct net_exchange *x, const struct net_ask *a)
{
    CURL *c = x->h->easy;
    bool post = strcmp(a->method, "POST") == 0;
    x->pieces = a->body_len != 0 && !a->body;
    if (x->pieces) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_READFUNCTION, on_want_piece);
        curl_easy_setopt(c, CURLOPT_READDATA, x);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->body_len); /* -1: chunked */
        curl_easy_setopt(c, CURLOPT_FRESH_CONNECT, 1L); /* a kept one may be stale, and pieces cannot be sent twice */
    } else if (a->body_len > 0 || post) {
        curl_easy_setopt(c, CURLOPT_POST, 1L);
        curl_easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)a->body_len);
        curl_easy_setopt(c, CURLOPT_POSTFIELDS, a->body ? a->body : "");
    }
    if (strcmp(a->method, "HEAD") == 0)
        curl_easy_setopt(c, CURLOPT_NOBODY, 1L);
    else if (!post)
        curl_easy_setopt(c, CURLOPT_CUSTOMREQUEST, a->method);
}

static void set_up(struct net_exchange *x, const struct net_ask *a)
{
    CURL *c = x->h->easy;
    curl_easy_setopt(c, CURLOPT_URL, a->origin);
    curl_easy_setopt(c, CURLOPT_REQUEST_TARGET, a->target);
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, x->h->curl_error);
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_BUFFERSIZE, BLOCK_BYTES);
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    curl_easy_setopt(c, CURLOPT_HTTP_CONTENT_DECODING, 0L);
    curl_easy_setopt(c, CURLOPT_HTTP09_ALLOWED, 0L);
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, x->headers);
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, (long)((a->connect_s > 0 ? a->connect_s : CONNECT_DEFAULT_S) * 1e3));
    if (net_url_skips_proxy(a->origin)) /* a proxy of the environment cannot know our loopback */
        curl_easy_setopt(c, CURLOPT_PROXY, "");
    if (a->ca_file)
        curl_easy_setopt(c, CURLOPT_CAINFO, a->ca_file);
    curl_easy_setopt(c, CURLOPT_SUPPRESS_CONNECT_HEADERS, 1L);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, on_body);
    curl_easy_setopt(c, CURLOPT_WRITEDATA, x);
    curl_easy_setopt(c, CURLOPT_HEADERFUNCTION, on_head);
    curl_easy_setopt(c, CURLOPT_HEADERDATA, x);
    curl_easy_setopt(c, CURLOPT_SOCKOPTFUNCTION, on_socket);
    set_body(x, a);
}

static void look_for_end(struct net_exchange *x)
{
    int left;
    CURLMsg *m;
    while ((m = curl_multi_info_read(x->h->multi, &left))) {
        if (m->msg == CURLMSG_DONE) {
            x->done = true;
            x->code = m->data.result;
            x->complete = x->code == CURLE_OK;
        }
    }
}

enum joulet_status serve_exchange_open(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                       struct joulet_error *err)
{
    *out = NULL;
    struct net_exchange *x = calloc(1, sizeof(*x));
    if (!x || !(x->h = serve_handle_take(p, a->origin))) {
        free(x);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    x->pool = p;
    x->client_fd = a->client_fd;
    x->idle_s = a->idle_s > 0 ? a->idle_s : IDLE_DEFAULT_S;
    x->first_s = a->first_s > 0 ? a->first_s : x->idle_s;
    x->sent = a->body || a->body_len == 0;
    x->body_len = a->body_len;
    x->on_sent = x->sent ? a->on_sent : NULL;
    x->user = a->user;
    x->h->curl_error[0] = '\0';
    net_url_origin(a->origin, x->where, sizeof(x->where));
    jl_buf_init(&x->head, HEAD_MAX);
    bool ok = add_headers(x, a);
    if (ok)
        set_up(x, a);
    x->t_active_ns = jl_mono_ns();
    if (!ok || curl_multi_add_handle(x->h->multi, x->h->easy) != CURLM_OK) {
        serve_exchange_close(x);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    int running;
    x->h->timer_ns = -1;
    curl_multi_socket_action(x->h->multi, CURL_SOCKET_TIMEOUT, 0, &running); /* what the timer would ask for at once */
    look_for_end(x);
    *out = x;
    return jl_ok(err);
}

/* ---- waiting --------------------------------------------------------------------------------------------------------------- */

static double patience_s(const struct net_exchange *x)
{
    return x->head_done ? x->idle_s : x->first_s;
}

static int wait_ms(const struct net_exchange *x, int64_t now_ns)
{
    int64_t until = x->t_active_ns + jl_ns(patience_s(x));
    if (x->h->timer_ns >= 0 && x->h->timer_ns < until)
        until = x->h->timer_ns;
    int64_t ms = until <= now_ns ? 0 : (until - now_ns + 999999) / 1000000;
    return ms > WAIT_MAX_MS ? WAIT_MAX_MS : (int)ms;
}

/* A socket that curl closes meanwhile leaves fds: the list is copied. */
static void serve_sockets(struct net_exchange *x, const struct pollfd *fds, nfds_t n)
{
    int running;
    for (nfds_t i = 0; i < n; i++) {
        short seen = fds[i].revents; /* an error is read like an end: then curl knows that a kept connection was stale */
        int mask = (seen & (POLLIN | POLLHUP | POLLERR) ? CURL_CSELECT_IN : 0) | (seen & POLLOUT ? CURL_CSELECT_OUT : 0) |
                   (seen & POLLNVAL ? CURL_CSELECT_ERR : 0);
        if (mask)
            curl_multi_socket_action(x->h->multi, fds[i].fd, mask, &running);
    }
}

/* Waits for one thing to happen and lets curl do it. False: the exchange is over, one way or another. */
static bool step(struct net_exchange *x)
{
    struct handle *h = x->h;
    int running;
    struct pollfd fds[SOCKETS_MAX + 1];
    nfds_t n = h->n_fds;
    memcpy(fds, h->fds, n * sizeof(*fds));
    fds[n] = (struct pollfd){.fd = x->client_fd, .events = POLLRDHUP};
    int64_t now_ns = jl_mono_ns();
    if (poll(fds, n + 1, wait_ms(x, now_ns)) < 0 && errno != EINTR)
        x->no_memory = true;
    if (fds[n].revents & (POLLRDHUP | POLLHUP | POLLERR | POLLNVAL))
        x->gone = true;
    if (x->gone || x->no_memory)
        return false;
    int64_t since_ns = x->t_active_ns;
    for (nfds_t i = 0; i < n; i++)
        if (fds[i].revents)
            x->t_active_ns = now_ns = jl_mono_ns();
    serve_sockets(x, fds, n);
    if (h->timer_ns >= 0 && h->timer_ns <= jl_mono_ns()) {
        h->timer_ns = -1;
        curl_multi_socket_action(h->multi, CURL_SOCKET_TIMEOUT, 0, &running);
    }
    look_for_end(x);
    x->idle = !x->done && x->t_active_ns == since_ns && jl_s(jl_mono_ns() - since_ns) >= patience_s(x);
    return !x->done && !x->idle && !x->no_memory;
}

/* ---- what is told -----------------------------------------------------------------------------------------------------------
 */

static enum joulet_status fail_of_curl(struct net_exchange *x, struct joulet_error *err)
{
    const char *why = x->h->curl_error[0] ? x->h->curl_error : curl_easy_strerror(x->code);
    long os = 0;
    switch (x->code) {
    case CURLE_COULDNT_CONNECT:
        if (curl_easy_getinfo(x->h->easy, CURLINFO_OS_ERRNO, &os) == CURLE_OK && os)
            why = strerror((int)os);
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: %s", x->where, why);
    case CURLE_COULDNT_RESOLVE_HOST:
    case CURLE_COULDNT_RESOLVE_PROXY:
        return jl_fail(err, JOULET_UNREACHABLE, "%s cannot be found: %s; check the name", x->where, why);
    case CURLE_OPERATION_TIMEDOUT:
        return jl_fail(err, JOULET_UNREACHABLE, "%s does not answer: connecting took too long", x->where);
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
        return net_untrusted(x->where, why, err);
    case CURLE_UNSUPPORTED_PROTOCOL: /* also an answer without a status line */
    case CURLE_WEIRD_SERVER_REPLY:
        return jl_fail(err, JOULET_FORMAT, "what answers at %s does not speak HTTP: check the address and the port", x->where);
    case CURLE_GOT_NOTHING:
        return jl_fail(err, JOULET_IO, "%s closed the connection without an answer", x->where);
    case CURLE_PARTIAL_FILE:
    case CURLE_RECV_ERROR:
    case CURLE_SEND_ERROR:
        return jl_fail(err, JOULET_IO, "%s cut the connection: %s", x->where, why);
    default:
        return jl_fail(err, x->status ? JOULET_IO : JOULET_UNREACHABLE, "talking to %s failed: %s", x->where, why);
    }
}

static enum joulet_status fail_of(struct net_exchange *x, struct joulet_error *err)
{
    if (x->gone)
        return jl_fail(err, JOULET_CANCELLED, "the client left before %s had answered", x->where);
    if (x->no_memory)
        return jl_fail(err, JOULET_MEMORY, "out of memory while talking to %s", x->where);
    if (x->too_long)
        return jl_fail(err, JOULET_FORMAT, "the head of the answer of %s is no head, or longer than %zu KiB", x->where,
                       HEAD_MAX >> 10);
    if (x->idle)
        return jl_fail(err, JOULET_UNREACHABLE, "%s sent nothing for %g s", x->where, patience_s(x));
    return fail_of_curl(x, err);
}

/* Once the connection is there and curl says that the socket has taken the body: the head was taken with it. */
static void tell_sent(struct net_exchange *x)
{
    curl_off_t sent = 0, begun_us = 0;
    CURL *c = x->h->easy;
    if (x->told_sent || !x->on_sent || curl_easy_getinfo(c, CURLINFO_PRETRANSFER_TIME_T, &begun_us) != CURLE_OK ||
        curl_easy_getinfo(c, CURLINFO_SIZE_UPLOAD_T, &sent) != CURLE_OK || begun_us == 0 || sent < x->body_len)
        return;
    x->told_sent = true;
    x->on_sent(x->user, jl_mono_ns());
}

enum joulet_status serve_exchange_send(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err)
{
    x->piece = bytes;
    x->piece_n = n;
    if (x->waits_for_piece) {
        x->waits_for_piece = false;
        curl_easy_pause(x->h->easy, CURLPAUSE_CONT);
        look_for_end(x);
    }
    while (x->piece_n && !x->done && !x->head_done && step(x))
        continue;
    bool taken = !x->piece_n;
    x->piece_n = 0;
    if (taken && !x->gone)
        return jl_ok(err);
    return x->head_done ? JOULET_BUSY : fail_of(x, err);
}

enum joulet_status serve_exchange_head(struct net_exchange *x, struct net_reply *out, struct joulet_error *err)
{
    x->sent = true;
    if (x->waits_for_piece && !x->head_done) {
        x->waits_for_piece = false;
        curl_easy_pause(x->h->easy, CURLPAUSE_CONT);
        look_for_end(x);
    }
    tell_sent(x);
    while (!x->head_done && !x->done && step(x))
        tell_sent(x);
    if (x->head_done)
        tell_sent(x); /* the answer was there before we could look */
    if (!x->head_done || x->gone || x->no_memory)
        return fail_of(x, err);
    *out = (struct net_reply){.status = x->status,
                              .headers = x->reply_headers,
                              .n_headers = x->n_reply_headers,
                              .length = x->length,
                              .t_ns = x->t_head_ns};
    return jl_ok(err);
}

long serve_exchange_read(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err)
{
    struct jl_buf *b = &x->h->pending;
    while (x->taken == b->len) {
        if (x->done && x->complete)
            return 0;
        if (x->paused) {
            x->paused = false;
            curl_easy_pause(x->h->easy, CURLPAUSE_CONT); /* what curl held back comes now */
            look_for_end(x);
        } else if ((x->done || !step(x)) && x->taken == b->len && !(x->done && x->complete)) {
            fail_of(x, err);
            return -1;
        }
    }
    size_t n = b->len - x->taken < size ? b->len - x->taken : size;
    memcpy(bytes, b->data + x->taken, n);
    *t_ns = x->t_bytes_ns;
    x->taken += n;
    if (x->taken == b->len) {
        x->taken = 0;
        jl_buf_clear(b);
    }
    return (long)n;
}

long serve_exchange_rest(const struct net_exchange *x)
{
    return x->done && x->complete ? (long)(x->h->pending.len - x->taken) : -1;
}

void serve_exchange_close(struct net_exchange *x)
{
    if (!x)
        return;
    struct handle *h = x->h;
    h->kept_fd = CURL_SOCKET_BAD;
    if (x->complete)
        curl_easy_getinfo(h->easy, CURLINFO_ACTIVESOCKET, &h->kept_fd);
    curl_multi_remove_handle(h->multi, h->easy); /* closes the connection unless the answer was complete */
    curl_easy_reset(h->easy);                    /* it points into x */
    curl_slist_free_all(x->headers);
    jl_buf_release(&x->head);
    free(x->reply_headers);
    serve_handle_give(x->pool, h);
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
    .exchange_rest = serve_exchange_rest,
    .exchange_close = serve_exchange_close,
};
