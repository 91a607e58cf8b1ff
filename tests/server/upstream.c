/* upstream.c - reads requests, keeps them, plays answers. */
#include "tests/server/upstream.h"

#include <arpa/inet.h>
#include <math.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { REQUESTS_KEPT = 4096 };

struct upstream {
    const struct play *plays;
    size_t n_plays;
    int listen_fd;
    char url[64];
    pthread_t thread;
    atomic_bool stopping;
    atomic_size_t connections, live;
    atomic_ullong sent;
    _Atomic double left_s;
    pthread_mutex_t lock;
    char *requests[REQUESTS_KEPT];
    size_t n_requests;
};
struct connection {
    struct upstream *u;
    int fd;
    char *in;
    size_t n, cap;
    char asked[100]; /* the line of the request */
};

static bool wait_for(struct upstream *u, int fd, short events)
{
    struct pollfd p = {.fd = fd, .events = events};
    while (!atomic_load(&u->stopping))
        if (poll(&p, 1, 20) > 0)
            return true;
    return false;
}

static bool read_more(struct connection *c)
{
    if (c->n + 65536 + 1 > c->cap)
        c->in = realloc(c->in, c->cap = c->cap * 2 + 131072);
    ssize_t n = c->in && wait_for(c->u, c->fd, POLLIN) ? recv(c->fd, c->in + c->n, 65536, 0) : 0;
    if (n <= 0)
        return false;
    c->n += (size_t)n;
    c->in[c->n] = '\0';
    return true;
}

/* Length of the whole request in c->in, 0 when it is not whole. */
static size_t whole(const struct connection *c, bool head_only)
{
    char *end = c->n ? strstr(c->in, "\r\n\r\n") : NULL, *length, *chunked;
    if (!end)
        return 0;
    size_t head = (size_t)(end - c->in) + 4;
    if (head_only)
        return head;
    length = strcasestr(c->in, "\r\nContent-Length:");
    chunked = strcasestr(c->in, "\r\nTransfer-Encoding: chunked");
    if (chunked && chunked < end) {
        char *last = memmem(c->in + head - 2, c->n - head + 2, "\r\n0\r\n\r\n", 7);
        return last ? (size_t)(last - c->in) + 7 : 0;
    }
    size_t n = head + (length && length < end ? strtoul(length + 17, NULL, 10) : 0);
    return c->n >= n ? n : 0;
}

static const struct play *play_for(const struct upstream *u, const char *request)
{
    const char *target = strchr(request, ' ');
    size_t n = target ? strcspn(++target, " ?") : 0;
    for (size_t i = 0; i < u->n_plays; i++)
        if (!u->plays[i].path || (target && strlen(u->plays[i].path) == n && strncmp(u->plays[i].path, target, n) == 0))
            return &u->plays[i];
    return NULL;
}

static bool send_all(struct connection *c, const char *bytes, size_t n)
{
    while (n) {
        ssize_t done = wait_for(c->u, c->fd, POLLOUT) ? send(c->fd, bytes, n, MSG_NOSIGNAL | MSG_DONTWAIT) : -1;
        if (done <= 0)
            return false;
        atomic_fetch_add(&c->u->sent, (unsigned long long)done);
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

static bool play(struct connection *c, const struct play *p)
{
    const char *asked = strstr(c->asked, "?cut=");
    size_t n = p->n ? p->n : strlen(p->bytes), at = asked ? strtoul(asked + 5, NULL, 10) : p->cut;
    if (at && (!send_all(c, p->bytes, at) || usleep((useconds_t)(p->pause_ms ? p->pause_ms : 1) * 1000)))
        return false;
    for (size_t step = p->piece ? p->piece : n; at < n; at += step) {
        if (!send_all(c, p->bytes + at, n - at < step ? n - at : step))
            return false;
        if (p->pause_ms && at + step < n)
            usleep((useconds_t)p->pause_ms * 1000);
    }
    for (uint64_t i = 0; i < p->repeat; i++)
        if (!send_all(c, p->bytes + p->head, n - p->head))
            return false;
    return !p->last || send_all(c, p->last, strlen(p->last));
}

static void hold(struct connection *c)
{
    char byte;
    int64_t from_ns = jl_mono_ns();
    while (wait_for(c->u, c->fd, POLLIN) && recv(c->fd, &byte, 1, 0) > 0)
        continue;
    if (!atomic_load(&c->u->stopping))
        atomic_store(&c->u->left_s, jl_s(jl_mono_ns() - from_ns));
}

static void echo(struct connection *c)
{
    char bytes[4096];
    ssize_t n;
    while (wait_for(c->u, c->fd, POLLIN) && (n = recv(c->fd, bytes, sizeof(bytes), 0)) > 0 && send_all(c, bytes, (size_t)n))
        continue;
}

static bool serve_one(struct connection *c)
{
    size_t n;
    const struct play *p = NULL;
    do {
        if (!p && c->n && strstr(c->in, "\r\n\r\n"))
            p = play_for(c->u, c->in);
        n = whole(c, p && p->early);
    } while (!n && read_more(c));
    p = n ? play_for(c->u, c->in) : NULL;
    if (!p)
        return false;
    snprintf(c->asked, sizeof(c->asked), "%.*s", (int)strcspn(c->in, "\r"), c->in);
    pthread_mutex_lock(&c->u->lock);
    if (c->u->n_requests < REQUESTS_KEPT)
        c->u->requests[c->u->n_requests] = strndup(c->in, n);
    c->u->n_requests++;
    pthread_mutex_unlock(&c->u->lock);
    memmove(c->in, c->in + n, c->n - n + 1);
    c->n -= n;
    bool ok = play(c, p);
    if (ok && p->then == THEN_HOLD)
        hold(c);
    if (ok && p->then == THEN_ECHO)
        echo(c);
    if (p->then == THEN_RESET)
        setsockopt(c->fd, SOL_SOCKET, SO_LINGER, &(struct linger){.l_onoff = 1}, sizeof(struct linger));
    return ok && p->then == THEN_KEEP;
}

static void *serve(void *arg)
{
    struct connection *c = arg;
    int on = 1;
    setsockopt(c->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    while (serve_one(c))
        continue;
    close(c->fd);
    free(c->in);
    atomic_fetch_sub(&c->u->live, 1);
    free(c);
    return NULL;
}

static void *run(void *arg)
{
    struct upstream *u = arg;
    while (wait_for(u, u->listen_fd, POLLIN)) {
        pthread_t thread;
        struct connection *c = calloc(1, sizeof(*c));
        int fd = accept(u->listen_fd, NULL, NULL);
        if (!c || fd < 0)
            abort();
        *c = (struct connection){.u = u, .fd = fd};
        atomic_fetch_add(&u->live, 1);
        atomic_fetch_add(&u->connections, 1);
        if (pthread_create(&thread, NULL, serve, c) || pthread_detach(thread))
            abort();
    }
    return NULL;
}

struct upstream *upstream_start(const struct play *plays, size_t n)
{
    struct upstream *u = calloc(1, sizeof(*u));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t size = sizeof(a);
    if (!u)
        abort();
    u->plays = plays;
    u->n_plays = n;
    atomic_store(&u->left_s, (double)NAN);
    u->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&u->lock, NULL);
    if (bind(u->listen_fd, (struct sockaddr *)&a, sizeof(a)) || listen(u->listen_fd, 1024) ||
        getsockname(u->listen_fd, (struct sockaddr *)&a, &size) || pthread_create(&u->thread, NULL, run, u))
        abort();
    snprintf(u->url, sizeof(u->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    return u;
}

const char *upstream_url(const struct upstream *u)
{
    return u->url;
}

size_t upstream_connections(struct upstream *u)
{
    return atomic_load(&u->connections);
}

size_t upstream_requests(struct upstream *u)
{
    pthread_mutex_lock(&u->lock);
    size_t n = u->n_requests;
    pthread_mutex_unlock(&u->lock);
    return n;
}

char *upstream_request(struct upstream *u, size_t i)
{
    pthread_mutex_lock(&u->lock);
    char *copy = jl_strdup(i < u->n_requests && i < REQUESTS_KEPT ? u->requests[i] : "");
    pthread_mutex_unlock(&u->lock);
    return copy;
}

uint64_t upstream_sent(struct upstream *u)
{
    return atomic_load(&u->sent);
}

double upstream_left_s(struct upstream *u)
{
    return atomic_load(&u->left_s);
}

void upstream_stop(struct upstream *u)
{
    atomic_store(&u->stopping, true);
    pthread_join(u->thread, NULL);
    while (atomic_load(&u->live))
        usleep(1000);
    close(u->listen_fd);
    for (size_t i = 0; i < u->n_requests && i < REQUESTS_KEPT; i++)
        free(u->requests[i]);
    pthread_mutex_destroy(&u->lock);
    free(u);
}
