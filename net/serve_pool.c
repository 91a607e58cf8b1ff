/* serve_pool.c - connections to upstreams between exchanges, so that the next request needs no new one. A line serves one
 * exchange at a time: nothing but the list is shared between threads. */
#include "net/serve_line.h"

#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define KEPT_MAX 256 /* lines without an exchange */

struct net_pool {
    pthread_mutex_t lock;
    struct line *kept;
    size_t n_kept;
};

/* An idle connection on which something comes was closed, or holds more than the last answer should have had: whoever reads that
 * as the next answer gives a client another one's bytes. */
static bool is_stale(const struct line *l)
{
    struct pollfd p = {.fd = l->fd, .events = POLLIN | POLLRDHUP};
    return poll(&p, 1, 0) != 0;
}

static struct line *take_kept(struct net_pool *p, const char *origin)
{
    pthread_mutex_lock(&p->lock);
    struct line **at = &p->kept;
    while (*at && strcmp((*at)->origin, origin) != 0)
        at = &(*at)->next;
    struct line *l = *at;
    if (l) {
        *at = l->next;
        p->n_kept--;
    }
    pthread_mutex_unlock(&p->lock);
    return l;
}

/* The one used last first: it is the least likely to be stale. */
struct line *serve_pool_take(struct net_pool *p, const char *origin)
{
    struct line *l;
    while ((l = take_kept(p, origin)) && is_stale(l))
        serve_line_close(l);
    return l;
}

void serve_pool_give(struct net_pool *p, struct line *l)
{
    pthread_mutex_lock(&p->lock);
    bool keep = p->n_kept < KEPT_MAX;
    if (keep) {
        l->next = p->kept;
        p->kept = l;
        p->n_kept++;
    }
    pthread_mutex_unlock(&p->lock);
    if (!keep)
        serve_line_close(l);
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
        struct line *l = p->kept;
        p->kept = l->next;
        serve_line_close(l);
    }
    pthread_mutex_destroy(&p->lock);
    free(p);
}
