/* serve_pool.c - handles of libcurl between exchanges: each keeps its connections, so that the next request to an upstream needs
 * no new one. A handle serves one exchange at a time: nothing but the list is shared between threads. */
#include "net/serve_handle.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define PENDING_KEPT ((size_t)32 * 1024)
#define KEPT_MAX     256 /* handles without an exchange */

struct net_pool {
    pthread_mutex_t lock;
    struct handle *kept;
    size_t n_kept;
};

static void handle_free(struct handle *h)
{
    if (!h)
        return;
    if (h->easy)
        curl_easy_cleanup(h->easy);
    if (h->multi)
        curl_multi_cleanup(h->multi);
    jl_buf_release(&h->pending);
    free(h->origin);
    free(h);
}

static int on_socket_wanted(CURL *easy, curl_socket_t fd, int what, void *user, void *of_socket)
{
    struct handle *h = user;
    nfds_t i = 0;
    (void)easy, (void)of_socket;
    while (i < h->n_fds && h->fds[i].fd != fd)
        i++;
    if (what == CURL_POLL_REMOVE) {
        if (i < h->n_fds)
            h->fds[i] = h->fds[--h->n_fds];
        return 0;
    }
    if (i == SOCKETS_MAX)
        return -1;
    if (i == h->n_fds)
        h->n_fds++;
    short events = (short)((what & CURL_POLL_IN ? POLLIN : 0) | (what & CURL_POLL_OUT ? POLLOUT : 0));
    h->fds[i] = (struct pollfd){.fd = fd, .events = events};
    return 0;
}

static int on_timer_wanted(CURLM *multi, long ms, void *user)
{
    struct handle *h = user;
    (void)multi;
    h->timer_ns = ms < 0 ? -1 : jl_mono_ns() + (int64_t)ms * 1000000;
    return 0;
}

static struct handle *handle_new(const char *origin)
{
    struct handle *h = calloc(1, sizeof(*h));
    if (!h)
        return NULL;
    jl_buf_init(&h->pending, SIZE_MAX);
    h->timer_ns = -1;
    h->multi = curl_multi_init();
    h->easy = curl_easy_init();
    h->origin = jl_strdup(origin);
    if (!h->multi || !h->easy || !h->origin) {
        handle_free(h);
        return NULL;
    }
    h->kept_fd = CURL_SOCKET_BAD;
    curl_multi_setopt(h->multi, CURLMOPT_MAXCONNECTS, 1L);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETFUNCTION, on_socket_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_SOCKETDATA, h);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERFUNCTION, on_timer_wanted);
    curl_multi_setopt(h->multi, CURLMOPT_TIMERDATA, h);
    return h;
}

/* An idle connection on which something comes was closed, or holds more than the last answer should have had: whoever reads that
 * as the next answer gives a client another one's bytes. */
static bool is_stale(const struct handle *h)
{
    struct pollfd p = {.fd = h->kept_fd, .events = POLLIN | POLLRDHUP};
    return h->kept_fd != CURL_SOCKET_BAD && poll(&p, 1, 0) != 0;
}

static struct handle *take_kept(struct net_pool *p, const char *origin)
{
    pthread_mutex_lock(&p->lock);
    struct handle **at = &p->kept;
    while (*at && strcmp((*at)->origin, origin) != 0)
        at = &(*at)->next;
    struct handle *h = *at;
    if (h) {
        *at = h->next;
        p->n_kept--;
    }
    pthread_mutex_unlock(&p->lock);
    return h;
}

/* The one used last first: its connection is the least likely to be stale. */
struct handle *serve_handle_take(struct net_pool *p, const char *origin)
{
    struct handle *h;
    while ((h = take_kept(p, origin)) && is_stale(h))
        handle_free(h);
    return h ? h : handle_new(origin);
}

void serve_handle_give(struct net_pool *p, struct handle *h)
{
    if (h->pending.cap > PENDING_KEPT)
        jl_buf_release(&h->pending);
    jl_buf_clear(&h->pending);
    pthread_mutex_lock(&p->lock);
    bool keep = p->n_kept < KEPT_MAX;
    if (keep) {
        h->next = p->kept;
        p->kept = h;
        p->n_kept++;
    }
    pthread_mutex_unlock(&p->lock);
    if (!keep)
        handle_free(h);
}

enum joulet_status serve_pool_open(struct net_pool **out, struct joulet_error *err)
{
    *out = curl_global_init(CURL_GLOBAL_DEFAULT) == CURLE_OK ? calloc(1, sizeof(**out)) : NULL;
    if (!*out)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    pthread_mutex_init(&(*out)->lock, NULL);
    return jl_ok(err);
}

void serve_pool_close(struct net_pool *p)
{
    if (!p)
        return;
    while (p->kept) {
        struct handle *h = p->kept;
        p->kept = h->next;
        handle_free(h);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}
