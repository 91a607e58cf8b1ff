/* relay.c - the least that can stand between two sockets: one thread that waits, reads and writes, and understands nothing of
 * what passes. What it costs, any proxy on this machine costs. */
#include "bench/proxy/peer.h"

#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

struct end {
    int fd;
    struct end *other;
};

static struct end *add_end(int epoll, int fd)
{
    int on = 1;
    struct end *e = calloc(1, sizeof(*e));
    if (!e)
        abort();
    e->fd = fd;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof(on));
    epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &(struct epoll_event){.events = EPOLLIN, .data.ptr = e});
    return e;
}

static void take_client(int epoll, int fd, int upstream_port)
{
    int up = fd >= 0 ? peer_connect(upstream_port) : -1;
    if (up < 0) {
        close(fd);
        return;
    }
    struct end *client = add_end(epoll, fd), *upstream = add_end(epoll, up);
    client->other = upstream;
    upstream->other = client;
}

/* Both ends go when one does; of what else was told of them in the same wait nothing is done. */
static void drop(struct end *e)
{
    close(e->fd);
    e->fd = -1;
    if (e->other->fd >= 0)
        shutdown(e->other->fd, SHUT_RDWR); /* which tells of itself */
}

static void pass(struct end *e)
{
    char bytes[16384];
    ssize_t n = recv(e->fd, bytes, sizeof(bytes), 0);
    if (n <= 0 || e->other->fd < 0 || send(e->other->fd, bytes, (size_t)n, MSG_NOSIGNAL) != n)
        drop(e);
}

void relay_serve(int listen_fd, int upstream_port)
{
    struct epoll_event events[64];
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    epoll_ctl(epoll, EPOLL_CTL_ADD, listen_fd, &(struct epoll_event){.events = EPOLLIN});
    for (;;) {
        int n = epoll_wait(epoll, events, 64, -1);
        for (int i = 0; i < n; i++) {
            struct end *e = events[i].data.ptr;
            if (!e)
                take_client(epoll, accept(listen_fd, NULL, NULL), upstream_port);
            else if (e->fd >= 0)
                pass(e);
        }
    }
}
