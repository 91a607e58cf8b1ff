/* serve_loop.c - one thread that looks at the sockets of many streams. It holds its lock while it works off what one wait has
 * told, so that who gets a stream back gets it when nothing of that wait can still mean it. */
#include "net/serve_loop.h"

#include "lib/platform/platform.h"

#include <pthread.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <unistd.h>

#define EVENTS   64
#define QUIET_MS 200 /* a stream without a piece in such a time goes back, so its thread can look at time limits */

struct passing;
struct end {
    struct passing *of;
    int fd;
};
struct passing { /* lives where its thread waits */
    struct end source, sink;
    serve_loop_pass *pass;
    void *user;
    bool moved, back;
    pthread_cond_t is_back;
    struct passing *next, **at;
};
struct serve_loop {
    pthread_mutex_t lock;
    int epoll, wake;
    struct passing *all;
    bool stop;
    struct jl_thread *thread;
};

static bool watch(struct serve_loop *l, struct end *e, uint32_t events)
{
    return epoll_ctl(l->epoll, EPOLL_CTL_ADD, e->fd, &(struct epoll_event){.events = events, .data.ptr = e}) == 0;
}

static void forget(struct serve_loop *l, const struct end *e)
{
    epoll_ctl(l->epoll, EPOLL_CTL_DEL, e->fd, NULL);
}

static void wake(struct serve_loop *l)
{
    const uint64_t one = 1;
    ssize_t n = write(l->wake, &one, sizeof(one));
    (void)n; /* full: it is awake */
}

/* ---- its thread -------------------------------------------------------------------------------------------------------- */

static void give_back(struct serve_loop *l, struct passing *p)
{
    forget(l, &p->source);
    forget(l, &p->sink);
    *p->at = p->next;
    if (p->next)
        p->next->at = p->at;
    p->back = true;
    pthread_cond_signal(&p->is_back);
}

static void look(struct serve_loop *l, struct end *e)
{
    struct passing *p = e->of;
    if (p->back) /* both of its sockets were told of */
        return;
    p->moved = true;
    if (e == &p->sink || !p->pass(p->user))
        give_back(l, p);
}

static void give_back_quiet(struct serve_loop *l)
{
    for (struct passing *p = l->all, *next; p; p = next) {
        next = p->next;
        if (!p->moved)
            give_back(l, p);
        p->moved = false;
    }
}

static void run(void *arg)
{
    struct serve_loop *l = arg;
    struct epoll_event events[EVENTS];
    int64_t looked_ns = jl_mono_ns();
    bool stop = false, any = false;
    while (!stop) {
        int n = epoll_wait(l->epoll, events, EVENTS, any ? QUIET_MS : -1);
        pthread_mutex_lock(&l->lock);
        for (int i = 0; i < n; i++) {
            uint64_t count;
            if (events[i].data.ptr)
                look(l, events[i].data.ptr);
            else if (read(l->wake, &count, sizeof(count)) < 0)
                continue; /* somebody else's event */
        }
        int64_t now_ns = jl_mono_ns();
        if (now_ns - looked_ns >= (int64_t)QUIET_MS * 1000000) {
            give_back_quiet(l);
            looked_ns = now_ns;
        }
        any = l->all != NULL;
        stop = l->stop;
        pthread_mutex_unlock(&l->lock);
    }
}

/* ---- who wants something of it ----------------------------------------------------------------------------------------- */

static bool enter(struct serve_loop *l, struct passing *p)
{
    if (!watch(l, &p->source, EPOLLIN | EPOLLRDHUP))
        return false;
    if (!watch(l, &p->sink, EPOLLRDHUP)) {
        forget(l, &p->source);
        return false;
    }
    bool first = !l->all;
    p->next = l->all;
    p->at = &l->all;
    if (p->next)
        p->next->at = &p->next;
    l->all = p;
    if (first)
        wake(l); /* it waits without a limit */
    return true;
}

void serve_loop_run(struct serve_loop *l, int source, int sink, serve_loop_pass *pass, void *user)
{
    struct passing p = {.source = {&p, source}, .sink = {&p, sink}, .pass = pass, .user = user, .moved = true};
    pthread_cond_init(&p.is_back, NULL);
    pthread_mutex_lock(&l->lock);
    if (enter(l, &p))
        while (!p.back)
            pthread_cond_wait(&p.is_back, &l->lock);
    pthread_mutex_unlock(&l->lock);
    pthread_cond_destroy(&p.is_back);
}

enum joulet_status serve_loop_open(struct serve_loop **out, struct joulet_error *err)
{
    *out = NULL;
    struct serve_loop *l = calloc(1, sizeof(*l));
    if (!l)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    pthread_mutex_init(&l->lock, NULL);
    l->epoll = epoll_create1(EPOLL_CLOEXEC);
    l->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    bool ok = l->epoll >= 0 && l->wake >= 0 &&
              epoll_ctl(l->epoll, EPOLL_CTL_ADD, l->wake, &(struct epoll_event){.events = EPOLLIN}) == 0;
    enum joulet_status status =
        ok ? jl_thread_start(&l->thread, "pass", run, l, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        *out = l;
    else
        serve_loop_close(l);
    return status;
}

void serve_loop_close(struct serve_loop *l)
{
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_mutex_unlock(&l->lock);
    if (l->thread) {
        wake(l);
        jl_thread_join(l->thread);
    }
    if (l->epoll >= 0)
        close(l->epoll);
    if (l->wake >= 0)
        close(l->wake);
    pthread_mutex_destroy(&l->lock);
    free(l);
}
