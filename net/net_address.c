/* net_address.c - addresses of sockets as text, and whether the other side is still there. Linked into the program and into the
 * module. */
#include "net/net_module.h"
#include "net/net_server.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <sys/socket.h>

void net_address_text(const struct sockaddr *a, char *out, size_t size)
{
    const void *bytes = a->sa_family == AF_INET    ? (const void *)&((const struct sockaddr_in *)(const void *)a)->sin_addr
                        : a->sa_family == AF_INET6 ? (const void *)&((const struct sockaddr_in6 *)(const void *)a)->sin6_addr
                                                   : NULL;
    if (!bytes || !inet_ntop(a->sa_family, bytes, out, (socklen_t)size))
        out[0] = '\0';
}

void net_own_address(int client_fd, char *out, size_t size)
{
    struct sockaddr_storage own;
    socklen_t n = sizeof(own);
    out[0] = '\0';
    if (getsockname(client_fd, (struct sockaddr *)&own, &n) == 0)
        net_address_text((const struct sockaddr *)&own, out, size);
}

bool net_client_left(int client_fd, int wait_ms)
{
    struct pollfd p = {.fd = client_fd, .events = POLLRDHUP};
    return poll(&p, 1, wait_ms) > 0;
}
