/* scripted.c - one thread: accepts a connection, reads a request, plays the script, and again. */
#include "tests/net/scripted.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

struct scripted {
    const struct script *script;
    int listen_fd;
    char url[64];
    pthread_t thread;
    atomic_bool stopping;
    atomic_size_t connections, requests;
    pthread_mutex_t lock;
    struct jl_buf last;
};

static bool wait_readable(struct scripted *s, int fd)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    while (!atomic_load(&s->stopping)) {
        if (poll(&p, 1, 20) > 0)
            return true;
    }
    return false;
}

static bool read_request(struct scripted *s, int fd)
{
    struct jl_buf in;
    char bytes[4096], *end = NULL, *length;
    size_t want = 0;
    jl_buf_init(&in, 1 << 24);
    while (!end || in.len < want) {
        ssize_t n = wait_readable(s, fd) ? recv(fd, bytes, sizeof(bytes), 0) : 0;
        if (n <= 0 || !jl_buf_add(&in, bytes, (size_t)n)) {
            jl_buf_release(&in);
            return false;
        }
        end = s->script->hasty ? in.data + in.len - 4 : strstr(in.data, "\r\n\r\n");
        length = strcasestr(in.data, "Content-Length:");
        want = end ? (size_t)(end - in.data) + 4 + (length && length < end ? strtoul(length + 15, NULL, 10) : 0) : 0;
    }
    pthread_mutex_lock(&s->lock);
    jl_buf_release(&s->last);
    s->last = in;
    pthread_mutex_unlock(&s->lock);
    atomic_fetch_add(&s->requests, 1);
    return true;
}

static bool play(struct scripted *s, int fd)
{
    const struct script *x = s->script;
    size_t n = x->n ? x->n : strlen(x->bytes), step = x->piece ? x->piece : n;
    for (size_t at = 0; at < n; at += step) {
        size_t piece = n - at < step ? n - at : step;
        if (send(fd, x->bytes + at, piece, MSG_NOSIGNAL) != (ssize_t)piece)
            return false;
        if (x->pause_ms && at + step < n)
            usleep((useconds_t)x->pause_ms * 1000);
    }
    return true;
}

static void *run(void *arg)
{
    struct scripted *s = arg;
    while (wait_readable(s, s->listen_fd)) {
        int fd = accept(s->listen_fd, NULL, NULL);
        if (fd < 0)
            continue;
        atomic_fetch_add(&s->connections, 1);
        while (read_request(s, fd) && play(s, fd) && s->script->keep)
            continue;
        if (s->script->hold && wait_readable(s, fd)) /* until the client closes, or we are stopped */
            shutdown(fd, SHUT_RDWR);
        close(fd);
    }
    return NULL;
}

struct scripted *scripted_start(const struct script *script)
{
    struct scripted *s = calloc(1, sizeof(*s));
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof(a);
    if (!s)
        abort();
    s->script = script;
    s->listen_fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    pthread_mutex_init(&s->lock, NULL);
    if (bind(s->listen_fd, (struct sockaddr *)&a, sizeof(a)) || listen(s->listen_fd, 16) ||
        getsockname(s->listen_fd, (struct sockaddr *)&a, &n) || pthread_create(&s->thread, NULL, run, s))
        abort();
    snprintf(s->url, sizeof(s->url), "http://127.0.0.1:%d", ntohs(a.sin_port));
    return s;
}

const char *scripted_url(const struct scripted *s)
{
    return s->url;
}

size_t scripted_connections(struct scripted *s)
{
    return atomic_load(&s->connections);
}

size_t scripted_requests(struct scripted *s)
{
    return atomic_load(&s->requests);
}

char *scripted_last_request(struct scripted *s)
{
    pthread_mutex_lock(&s->lock);
    char *copy = jl_strdup(s->last.data ? s->last.data : "");
    pthread_mutex_unlock(&s->lock);
    return copy;
}

void scripted_stop(struct scripted *s)
{
    atomic_store(&s->stopping, true);
    pthread_join(s->thread, NULL);
    close(s->listen_fd);
    jl_buf_release(&s->last);
    pthread_mutex_destroy(&s->lock);
    free(s);
}
