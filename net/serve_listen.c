/* serve_listen.c - the listening socket: made here and not by the HTTP library, so that a fault can be said in a sentence. */
#include "net/serve_module.h"

#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define BACKLOG 1024

/* "host:port", "[v6]:port", ":port". */
static bool split(const char *address, char *host, size_t host_size, char *port, size_t port_size)
{
    const char *colon = strrchr(address, ':');
    if (!colon || strlen(colon + 1) >= port_size || strspn(colon + 1, "0123456789") != strlen(colon + 1) || !colon[1])
        return false;
    const char *begin = address, *end = colon;
    if (*begin == '[') {
        if (end == begin || end[-1] != ']')
            return false;
        begin++;
        end--;
    } else if (memchr(begin, ':', (size_t)(end - begin))) {
        return false;
    }
    if ((size_t)(end - begin) >= host_size)
        return false;
    memcpy(host, begin, (size_t)(end - begin));
    host[end - begin] = '\0';
    strcpy(port, colon + 1);
    return strtoul(port, NULL, 10) <= 65535;
}

static enum joulet_status fail_to_bind(const char *address, int error, struct joulet_error *err)
{
    if (error == EADDRINUSE)
        return jl_fail(err, JOULET_BUSY, "%s is in use by another program: stop that, or choose another port with --listen",
                       address);
    if (error == EACCES)
        return jl_fail(err, JOULET_PERMISSION, "this user may not listen on %s: choose a port above 1023 with --listen", address);
    if (error == EADDRNOTAVAIL)
        return jl_fail(err, JOULET_USAGE, "%s is no address of this machine: give one of its own with --listen", address);
    return jl_fail(err, JOULET_IO, "%s cannot be listened on: %s", address, strerror(error));
}

static int bind_one(const struct addrinfo *a)
{
    int on = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof(on));
    if (bind(fd, a->ai_addr, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int kept = errno;
    close(fd);
    errno = kept;
    return -1;
}

static void name_of(int fd, char *bound, size_t size)
{
    struct sockaddr_storage a;
    socklen_t n = sizeof(a);
    char host[64], port[8];
    if (getsockname(fd, (struct sockaddr *)&a, &n) ||
        getnameinfo((struct sockaddr *)&a, n, host, sizeof(host), port, sizeof(port), NI_NUMERICHOST | NI_NUMERICSERV))
        return;
    snprintf(bound, size, a.ss_family == AF_INET6 ? "[%s]:%s" : "%s:%s", host, port);
}

int serve_listen(const char *address, char *bound, size_t size, struct joulet_error *err)
{
    char host[256], port[8];
    struct addrinfo *found = NULL, ask = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    if (!split(address, host, sizeof(host), port, sizeof(port))) {
        jl_fail(err, JOULET_USAGE, "\"%.200s\" is no address to listen on: give host and port, as in 127.0.0.1:8737", address);
        return -1;
    }
    if (getaddrinfo(host[0] ? host : NULL, port, &ask, &found) != 0) {
        jl_fail(err, JOULET_USAGE, "the host of %.200s cannot be found: give an address of this machine, as in 127.0.0.1:8737",
                address);
        return -1;
    }
    int fd = bind_one(found), error = errno;
    freeaddrinfo(found);
    if (fd < 0)
        fail_to_bind(address, error, err);
    else
        name_of(fd, bound, size);
    return fd;
}
