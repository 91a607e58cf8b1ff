/* net_here.c - whether a URL leads to this machine: its host is resolved and compared with the addresses of the network
 * interfaces. An engine elsewhere must never be charged to the sensors here. */
#include "net/net_module.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <string.h>
#include <sys/socket.h>

/* Address bytes of IPv4 and IPv6; an IPv4 address in IPv6 clothes is the IPv4 one. */
static size_t address_bytes(const struct sockaddr *a, const unsigned char **out)
{
    static const unsigned char mapped[12] = {0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff};
    if (!a)
        return 0;
    if (a->sa_family == AF_INET) {
        *out = (const unsigned char *)&((const struct sockaddr_in *)(const void *)a)->sin_addr;
        return 4;
    }
    if (a->sa_family != AF_INET6)
        return 0;
    *out = ((const struct sockaddr_in6 *)(const void *)a)->sin6_addr.s6_addr;
    if (memcmp(*out, mapped, sizeof(mapped)) != 0)
        return 16;
    *out += sizeof(mapped);
    return 4;
}

static bool is_own(const struct sockaddr *a, const struct ifaddrs *interfaces)
{
    const unsigned char *x, *y;
    size_t n = address_bytes(a, &x);
    if (n == 4 && x[0] == 127)
        return true;
    for (const struct ifaddrs *i = interfaces; n && i; i = i->ifa_next)
        if (address_bytes(i->ifa_addr, &y) == n && memcmp(x, y, n) == 0)
            return true;
    return false;
}

bool net_url_is_here(const char *url)
{
    char host[256];
    struct addrinfo *found = NULL, ask = {.ai_socktype = SOCK_STREAM};
    struct ifaddrs *interfaces = NULL;
    bool here = false;
    if (net_url_is_local(url))
        return true;
    if (!url || !net_url_host(url, host, sizeof(host)) || getaddrinfo(host, NULL, &ask, &found) != 0)
        return false;
    if (getifaddrs(&interfaces) == 0) {
        for (const struct addrinfo *a = found; a && !here; a = a->ai_next)
            here = is_own(a->ai_addr, interfaces);
        freeifaddrs(interfaces);
    }
    freeaddrinfo(found);
    return here;
}
