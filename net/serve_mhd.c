/* serve_mhd.c - the server with libmicrohttpd: part of the module joulet-serve.so, the only code that knows it. A thread per
 * connection, so that waiting for an upstream in the middle of an answer is plain waiting; where pieces of many answers follow
 * each other quickly one thread passes them all (serve_loop.h). */
#include "net/serve_loop.h"
#include "net/serve_module.h"

#include <errno.h>
#include <limits.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define STACK_BYTES         ((size_t)256 * 1024)
#define CONNECTIONS_DEFAULT 4096u
#define CONNECTIONS_MOST    100000
#define HEADER_DEFAULT      ((size_t)16 * 1024)
#define IDLE_DEFAULT_S      120.0
#define BLOCK_BYTES         ((size_t)16 * 1024) /* of an answer whose length is known */
/* Of a connection's memory, besides the head of the request. The library clears all of it for each request: little is much. */
#define ROOM_FOR_ANSWER  ((size_t)8 * 1024)
#define CHUNK_FRONT      12   /* of a chunk: its size and the end of that line */
#define BLOCK_MIN        1024 /* with what goes before it: more than the caches of glibc's threads take (jl_buf) */
#define NOBODY_READS     (-2)
#define TOGETHER_DEFAULT 4u /* fewer cost less in threads of their own, which wait with the call that reads */

struct net_server {
    struct MHD_Daemon *daemon;
    struct net_handler handler;
    size_t header_max;
    unsigned idle_s;
    atomic_uint connections, connections_max;
    atomic_bool draining;
    char address[80];
    pthread_mutex_t lock;
    struct net_call *tunnels; /* the library does not end them when it stops: we do */
    bool stopping;
    int listen_fd; /* when draining; -1 */
    struct serve_loop *loop;
    atomic_uint streams; /* that are passed in pieces */
    unsigned together;
};

enum { HEADERS_AT_HAND = 32 };
struct net_call {
    struct net_server *server;
    struct MHD_Connection *connection;
    char *target;
    struct net_head head;
    struct net_header at_hand[HEADERS_AT_HAND], *headers;
    size_t values_at_hand[HEADERS_AT_HAND], *values_n;
    size_t cap;
    void *state;
    bool begun, answered, cut, no_memory;
    bool in_chunks; /* the answer */
    int tunnel_fd;
    struct net_call *next_tunnel;
};

/* ---- the request ---------------------------------------------------------------------------------------------------- */

/* Before anything is decoded. What it returns becomes the context of the request. */
static void *on_target(void *user, const char *target, struct MHD_Connection *connection)
{
    /* Not calloc: glibc's does not take what its thread gave back, and each of thousands of threads would come to hold seven. */
    struct net_call *call = jl_malloc_unkept(sizeof(*call));
    if (!call)
        return NULL;
    *call = (struct net_call){.server = user, .connection = connection};
    call->headers = call->at_hand;
    call->values_n = call->values_at_hand;
    call->cap = HEADERS_AT_HAND;
    call->target = jl_strdup(target);
    call->no_memory = !call->target;
    return call;
}

static void call_free(struct net_call *call)
{
    if (call->headers != call->at_hand)
        free(call->headers);
    if (call->values_n != call->values_at_hand)
        free(call->values_n);
    free(call->target);
    free(call);
}

static bool make_room(struct net_call *call)
{
    size_t cap = call->cap * 2;
    struct net_header *headers = malloc(cap * sizeof(*headers));
    size_t *values_n = malloc(cap * sizeof(*values_n));
    if (!headers || !values_n) {
        free(headers);
        free(values_n);
        call->no_memory = true;
        return false;
    }
    memcpy(headers, call->headers, call->cap * sizeof(*headers));
    memcpy(values_n, call->values_n, call->cap * sizeof(*values_n));
    if (call->headers != call->at_hand)
        free(call->headers);
    if (call->values_n != call->values_at_hand)
        free(call->values_n);
    call->headers = headers;
    call->values_n = values_n;
    call->cap = cap;
    return true;
}

static enum MHD_Result on_header(void *user, enum MHD_ValueKind kind, const char *name, size_t name_n, const char *value,
                                 size_t value_n)
{
    struct net_call *call = user;
    (void)kind;
    if (call->head.n_headers == call->cap && !make_room(call))
        return MHD_NO;
    size_t i = call->head.n_headers++;
    /* A name with a NUL inside is no name: an empty one is refused. */
    call->headers[i] = (struct net_header){strlen(name) == name_n ? name : "", value ? value : ""};
    call->values_n[i] = value ? value_n : 0;
    return MHD_YES;
}

static void set_peer(struct net_call *call)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CLIENT_ADDRESS);
    if (info && info->client_addr)
        net_address_text(info->client_addr, call->head.peer, sizeof(call->head.peer));
    info = MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    call->head.client_fd = info ? info->connect_fd : -1;
}

static void fill_head(struct net_call *call, const char *method, const char *version)
{
    struct net_head *h = &call->head;
    h->t_ns = jl_mono_ns();
    h->method = method;
    h->version = version;
    h->target = call->target;
    MHD_get_connection_values_n(call->connection, MHD_HEADER_KIND, on_header, call);
    h->headers = call->headers;
    const char *length = net_head_value(h->headers, h->n_headers, "Content-Length");
    if (net_head_value(h->headers, h->n_headers, "Transfer-Encoding"))
        h->body_len = -1;
    else
        h->body_len = length ? strtoll(length, NULL, 10) : 0;
    h->upgrade = net_head_has_word(h->headers, h->n_headers, "Connection", "upgrade") &&
                 net_head_value(h->headers, h->n_headers, "Upgrade");
    set_peer(call);
}

static void tell_refused(const struct net_server *s, const struct net_head *head, int status, const char *why)
{
    if (s->handler.refused)
        s->handler.refused(s->handler.user, head, status, why);
}

static bool refuse(struct net_call *call, int status, const char *why)
{
    char body[256];
    tell_refused(call->server, &call->head, status, why);
    static const struct net_header type[] = {{"Content-Type", "application/json"}};
    snprintf(body, sizeof(body), "{\"error\":{\"message\":\"joulet: %s\",\"type\":\"invalid_request_error\"}}\n", why);
    struct net_answer a = {
        .status = status, .headers = type, .n_headers = 1, .body = body, .length = (int64_t)strlen(body), .close = true};
    return serve_call_answer(call, &a);
}

static enum MHD_Result begin(struct net_call *call, const char *method, const char *version)
{
    struct net_server *s = call->server;
    fill_head(call, method, version);
    const union MHD_ConnectionInfo *size = MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_REQUEST_HEADER_SIZE);
    if (call->no_memory)
        return MHD_NO;
    if (size && size->header_size > s->header_max)
        return refuse(call, 431, "the head of the request is too long") ? MHD_YES : MHD_NO;
    const char *problem = net_head_problem(&call->head, call->values_n);
    if (!problem && call->head.upgrade && call->head.body_len != 0)
        problem = "a request for another protocol has a body";
    if (problem)
        return refuse(call, 400, problem) ? MHD_YES : MHD_NO;
    if (strcmp(method, "CONNECT") == 0)
        return refuse(call, 405, "this is no proxy for other hosts") ? MHD_YES : MHD_NO;
    call->state = s->handler.begin(s->handler.user, call, &call->head);
    return call->state || call->answered ? MHD_YES : MHD_NO;
}

/* What the library waits for the client; 0: for ever, as a silent engine is none of the client's silence. */
static void patience_with_client(struct net_call *call, unsigned s)
{
    MHD_set_connection_option(call->connection, MHD_CONNECTION_OPTION_TIMEOUT, s);
}

static enum MHD_Result on_access(void *user, struct MHD_Connection *connection, const char *url, const char *method,
                                 const char *version, const char *upload, size_t *upload_n, void **context)
{
    struct net_call *call = *context;
    struct net_server *s = user;
    (void)connection, (void)url;
    if (!call)
        return MHD_NO;
    if (!call->begun) {
        call->begun = true;
        return begin(call, method, version);
    }
    if (*upload_n) {
        if (!call->answered && s->handler.body)
            s->handler.body(call->state, upload, *upload_n);
        *upload_n = 0;
        return MHD_YES;
    }
    patience_with_client(call, 0);
    if (!call->answered)
        s->handler.answer(call->state, call);
    patience_with_client(call, s->idle_s);
    return call->answered ? MHD_YES : MHD_NO;
}

/* ---- the answer ------------------------------------------------------------------------------------------------------- */

/* False: the client is gone, or took nothing for so long. */
static bool send_all(int fd, const char *bytes, size_t n, unsigned patience_s)
{
    while (n) {
        ssize_t done = send(fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (done < 0 && (errno == EAGAIN || errno == EINTR)) {
            struct pollfd p = {.fd = fd, .events = POLLOUT};
            if (poll(&p, 1, patience_s < INT_MAX / 1000 ? (int)patience_s * 1000 : -1) == 0)
                return false;
            continue; /* also when the client leaves, or the server stops */
        }
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

struct piece { /* of an answer in chunks: where it is made, and what of it the client has not taken */
    struct net_call *call;
    char *bytes;
    size_t size;
    const char *left;
    size_t left_n;
    bool nobody_reads;
};

static char *room_in(const struct piece *p, size_t *size)
{
    *size = p->size - CHUNK_FRONT - 2;
    return p->bytes + CHUNK_FRONT;
}

/* The bytes that stand in its room as a chunk, which is what the library would make of them. */
static void frame(struct piece *p, size_t n)
{
    static const char hex[] = "0123456789ABCDEF";
    char *from = p->bytes + CHUNK_FRONT, *end = from + n + 2;
    memcpy(end - 2, "\r\n", 2);
    *--from = '\n';
    *--from = '\r';
    for (size_t left = n; left; left >>= 4)
        *--from = hex[left & 15];
    p->left = from;
    p->left_n = (size_t)(end - from);
}

static bool send_left(struct piece *p)
{
    bool sent = send_all(p->call->head.client_fd, p->left, p->left_n, p->call->server->idle_s);
    p->left_n = 0;
    return sent;
}

/* In the thread of the loop: all that is there now, as far as the client takes it. */
static bool pass_now(void *user)
{
    struct piece *p = user;
    size_t size;
    char *room = room_in(p, &size);
    long n;
    while ((n = p->call->server->handler.read_now(p->call->state, room, size)) > 0) {
        frame(p, (size_t)n);
        ssize_t done = send(p->call->head.client_fd, p->left, p->left_n, MSG_NOSIGNAL | MSG_DONTWAIT);
        p->nobody_reads = done < 0 && errno != EAGAIN && errno != EINTR;
        if (done > 0) {
            p->left += done;
            p->left_n -= (size_t)done;
        }
        if (p->left_n)
            return false;
    }
    return n == NET_LATER;
}

/* While pieces follow each other quickly they need not wake this thread. False: nobody reads. */
static bool pass_with_others(struct piece *p)
{
    const struct net_server *s = p->call->server;
    bool many = s->loop && s->handler.source && atomic_load(&s->streams) >= s->together;
    int source = many ? s->handler.source(p->call->state) : -1;
    if (source < 0)
        return true;
    serve_loop_run(s->loop, source, p->call->head.client_fd, pass_now, p);
    return !p->nobody_reads && send_left(p);
}

/* When the library asks for more it has sent everything before. From there on pieces go straight to the socket: its way round for
 * each piece costs a wait and as much time again as the piece itself. */
static long pass_chunks(struct net_call *call, char *bytes, size_t size)
{
    struct piece p = {.call = call, .bytes = bytes, .size = size};
    size_t room_n;
    char *room = room_in(&p, &room_n);
    long n;
    atomic_fetch_add(&call->server->streams, 1);
    while ((n = call->server->handler.read(call->state, room, room_n)) > 0) {
        frame(&p, (size_t)n);
        if (!send_left(&p) || !pass_with_others(&p))
            break;
    }
    atomic_fetch_sub(&call->server->streams, 1);
    return n > 0 ? NOBODY_READS : n;
}

static ssize_t on_read(void *user, uint64_t at, char *bytes, size_t size)
{
    struct net_call *call = user;
    bool direct = at > 0 && call->in_chunks && size >= BLOCK_MIN;
    patience_with_client(call, 0);
    long n = direct ? pass_chunks(call, bytes, size) : call->server->handler.read(call->state, bytes, size);
    patience_with_client(call, call->server->idle_s);
    if (n == NOBODY_READS)
        return MHD_CONTENT_READER_END_WITH_ERROR;
    if (n > 0)
        return (ssize_t)n;
    call->cut = n < 0;
    return n == 0 ? MHD_CONTENT_READER_END_OF_STREAM : MHD_CONTENT_READER_END_WITH_ERROR;
}

static void tunnel_opens(struct net_call *call, int fd)
{
    struct net_server *s = call->server;
    pthread_mutex_lock(&s->lock);
    call->tunnel_fd = fd;
    call->next_tunnel = s->tunnels;
    s->tunnels = call;
    if (s->stopping)
        shutdown(fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
}

static void tunnel_closes(struct net_call *call)
{
    struct net_server *s = call->server;
    pthread_mutex_lock(&s->lock);
    struct net_call **at = &s->tunnels;
    while (*at != call)
        at = &(*at)->next_tunnel;
    *at = call->next_tunnel;
    pthread_mutex_unlock(&s->lock);
}

static void cut_tunnels(struct net_server *s)
{
    pthread_mutex_lock(&s->lock);
    s->stopping = true;
    for (const struct net_call *c = s->tunnels; c; c = c->next_tunnel)
        shutdown(c->tunnel_fd, SHUT_RDWR);
    pthread_mutex_unlock(&s->lock);
}

static void on_upgrade(void *user, struct MHD_Connection *connection, void *context, const char *early, size_t n, MHD_socket fd,
                       struct MHD_UpgradeResponseHandle *urh)
{
    struct net_call *call = user;
    (void)connection, (void)context;
    tunnel_opens(call, fd);
    call->server->handler.tunnel(call->state, fd, early, n);
    tunnel_closes(call);
    MHD_upgrade_action(urh, MHD_UPGRADE_ACTION_CLOSE);
}

static struct MHD_Response *make_response(struct net_call *call, const struct net_answer *a)
{
    if (a->switching)
        return MHD_create_response_for_upgrade(on_upgrade, call);
    /* Of a HEAD whose answer tells no length the library would end a body in chunks that was never begun, and the client would
     * take that for the next answer: it gets a length of 0. */
    bool head_only = a->length < 0 && strcmp(call->head.method, "HEAD") == 0;
    if (a->body || a->length == 0 || head_only)
        return MHD_create_response_from_buffer(a->body ? (size_t)a->length : 0, (void *)(uintptr_t)(a->body ? a->body : ""),
                                               MHD_RESPMEM_MUST_COPY);
    call->in_chunks = a->length < 0 && strcmp(call->head.version, MHD_HTTP_VERSION_1_1) == 0;
    /* Of one in chunks the library fills memory of the connection, and its own block would only be there. */
    return MHD_create_response_from_callback(a->length < 0 ? MHD_SIZE_UNKNOWN : (uint64_t)a->length,
                                             call->in_chunks ? BLOCK_MIN : BLOCK_BYTES, on_read, call, NULL);
}

/* The library refuses empty values and tabs, which are allowed and mean what a blank means. */
static void add_header(struct MHD_Response *r, const struct net_header *h)
{
    char *tab = NULL;
    if (!strchr(h->value, '\t')) {
        MHD_add_response_header(r, h->name, *h->value ? h->value : " "); /* one that is none is left out */
        return;
    }
    char *value = jl_strdup(h->value);
    while (value && (tab = strchr(value, '\t')))
        *tab = ' ';
    if (value)
        MHD_add_response_header(r, h->name, value);
    free(value);
}

bool serve_call_answer(struct net_call *call, const struct net_answer *a)
{
    struct MHD_Response *r = call->answered ? NULL : make_response(call, a);
    if (!r)
        return false;
    for (size_t i = 0; i < a->n_headers; i++)
        add_header(r, &a->headers[i]);
    if (a->close || (atomic_load(&call->server->draining) && !a->switching))
        MHD_add_response_header(r, "Connection", "close");
    call->answered = MHD_queue_response(call->connection, (unsigned)a->status, r) == MHD_YES;
    MHD_destroy_response(r);
    return call->answered;
}

/* What the library answered itself, because it could not read the head. */
static void look_for_refusal(struct net_call *call)
{
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(call->connection, MHD_CONNECTION_INFO_HTTP_STATUS);
    if (call->begun || !info || info->http_status < 400)
        return;
    set_peer(call);
    call->head.method = "";
    call->head.target = call->target ? call->target : "";
    tell_refused(call->server, &call->head, (int)info->http_status, "the head of the request cannot be read, or is too long");
}

static void on_completed(void *user, struct MHD_Connection *connection, void **context, enum MHD_RequestTerminationCode why)
{
    struct net_server *s = user;
    struct net_call *call = *context;
    *context = NULL;
    if (!call)
        return;
    enum net_end how = why == MHD_REQUEST_TERMINATED_COMPLETED_OK                   ? NET_END_DONE
                       : call->cut || why == MHD_REQUEST_TERMINATED_DAEMON_SHUTDOWN ? NET_END_CUT
                                                                                    : NET_END_CLIENT_GONE;
    if (call->state)
        s->handler.end(call->state, how);
    look_for_refusal(call);
    call_free(call);
    MHD_set_connection_option(connection, MHD_CONNECTION_OPTION_TIMEOUT, s->idle_s);
}

/* Before a thread is made for it. */
static enum MHD_Result on_accept(void *user, const struct sockaddr *address, socklen_t n)
{
    struct net_server *s = user;
    (void)n;
    if (atomic_load(&s->connections) < atomic_load(&s->connections_max))
        return MHD_YES;
    struct net_head nothing = {.method = "", .version = "", .target = "", .client_fd = -1};
    net_address_text(address, nothing.peer, sizeof nothing.peer);
    tell_refused(s, &nothing, 0, "as many connections are open as may be");
    return MHD_NO;
}

/* ---- the server ------------------------------------------------------------------------------------------------------- */

static void on_connection(void *user, struct MHD_Connection *connection, void **context, enum MHD_ConnectionNotificationCode what)
{
    struct net_server *s = user;
    int on = 1;
    (void)context;
    if (what == MHD_CONNECTION_NOTIFY_CLOSED) {
        atomic_fetch_sub(&s->connections, 1);
        return;
    }
    atomic_fetch_add(&s->connections, 1);
    const union MHD_ConnectionInfo *info = MHD_get_connection_info(connection, MHD_CONNECTION_INFO_CONNECTION_FD);
    if (!info)
        return;
    setsockopt(info->connect_fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    setsockopt(info->connect_fd, SOL_SOCKET, SO_KEEPALIVE, &on, sizeof(on)); /* a client whose machine died */
}

static void on_log(void *user, const char *fmt, va_list args)
{
    char line[512];
    (void)user;
    if (!jl_trace_on("serve"))
        return;
    int n = vsnprintf(line, sizeof(line), fmt, args);
    if (n > 0 && (size_t)n < sizeof(line) && line[n - 1] == '\n')
        line[n - 1] = '\0';
    jl_trace("serve", "%s", line);
}

static struct MHD_Daemon *start(struct net_server *s, int fd)
{
    unsigned flags = MHD_USE_POLL_INTERNAL_THREAD | MHD_USE_THREAD_PER_CONNECTION | MHD_ALLOW_UPGRADE | MHD_USE_ITC |
                     MHD_USE_SUPPRESS_DATE_NO_CLOCK | MHD_USE_ERROR_LOG;
    const struct MHD_OptionItem options[] = {
        {MHD_OPTION_LISTEN_SOCKET, fd, NULL},
        {MHD_OPTION_CONNECTION_LIMIT, (intptr_t)CONNECTIONS_MOST, NULL}, /* on_accept holds the limit, which may change */
        {MHD_OPTION_CONNECTION_TIMEOUT, (intptr_t)s->idle_s, NULL},
        {MHD_OPTION_CONNECTION_MEMORY_LIMIT, (intptr_t)(s->header_max + ROOM_FOR_ANSWER), NULL},
        {MHD_OPTION_THREAD_STACK_SIZE, (intptr_t)STACK_BYTES, NULL},
        {MHD_OPTION_STRICT_FOR_CLIENT, 1, NULL},
        {MHD_OPTION_URI_LOG_CALLBACK, (intptr_t)on_target, s},
        {MHD_OPTION_NOTIFY_COMPLETED, (intptr_t)on_completed, s},
        {MHD_OPTION_NOTIFY_CONNECTION, (intptr_t)on_connection, s},
        {MHD_OPTION_END, 0, NULL},
    };
    return MHD_start_daemon(flags, 0, on_accept, s, on_access, s, MHD_OPTION_EXTERNAL_LOGGER, on_log, s, MHD_OPTION_ARRAY,
                            options, MHD_OPTION_END);
}

enum joulet_status serve_server_open(struct net_server **out, const struct net_server_options *o, struct joulet_error *err)
{
    *out = NULL;
    struct net_server *s = calloc(1, sizeof(*s));
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    s->listen_fd = -1;
    s->handler = *o->handler;
    s->header_max = o->header_max ? o->header_max : HEADER_DEFAULT;
    s->idle_s = (unsigned)(o->idle_s > 0 ? o->idle_s + 0.999 : IDLE_DEFAULT_S);
    s->together = o->together ? o->together : TOGETHER_DEFAULT;
    serve_server_limit(s, o->connections_max);
    struct joulet_error why;
    int fd = serve_listen(o->listen, s->address, sizeof(s->address), &why);
    if (fd < 0) {
        free(s);
        return jl_fail(err, why.status, "%s", why.message);
    }
    pthread_mutex_init(&s->lock, NULL);
    serve_loop_open(&s->loop, NULL); /* without one each thread passes its own */
    *out = s;                        /* who asks at once may ask for it */
    s->daemon = start(s, fd);
    if (!s->daemon) {
        serve_loop_close(s->loop);
        *out = NULL;
        close(fd);
        pthread_mutex_destroy(&s->lock);
        free(s);
        return jl_fail(err, JOULET_MEMORY, "the HTTP server could not be started: out of memory or of threads");
    }
    return jl_ok(err);
}

const char *serve_server_address(const struct net_server *s)
{
    return s->address;
}

unsigned serve_server_connections(const struct net_server *s)
{
    return atomic_load(&s->connections);
}

void serve_server_limit(struct net_server *s, unsigned connections_max)
{
    atomic_store(&s->connections_max, connections_max ? connections_max : CONNECTIONS_DEFAULT);
}

void serve_server_drain(struct net_server *s)
{
    if (atomic_exchange(&s->draining, true))
        return;
    s->listen_fd = MHD_quiesce_daemon(s->daemon);
    if (s->listen_fd >= 0) /* refuses from now on; its number stays taken while the library may still look at it */
        shutdown(s->listen_fd, SHUT_RDWR);
}

void serve_server_close(struct net_server *s)
{
    if (!s)
        return;
    serve_server_drain(s);
    cut_tunnels(s);
    MHD_stop_daemon(s->daemon);
    serve_loop_close(s->loop);
    if (s->listen_fd >= 0)
        close(s->listen_fd);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
