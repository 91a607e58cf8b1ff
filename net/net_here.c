/* net_here.c - whether a URL leads to this machine: its host is resolved and compared with the addresses of the network
 * interfaces. An engine elsewhere must never be charged to the sensors here. */
#include "net/net_module.h"

#include <ifaddrs.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

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

/* Every address that the host of the URL leads to; NULL none. freeaddrinfo. */
static struct addrinfo *resolve(const char *url)
{
    char host[256];
    struct addrinfo *found = NULL, ask = {.ai_socktype = SOCK_STREAM};
    return url && net_url_host(url, host, sizeof(host)) && getaddrinfo(host, NULL, &ask, &found) == 0 ? found : NULL;
}

bool net_url_is_here(const char *url)
{
    struct ifaddrs *interfaces = NULL;
    bool here = false;
    if (net_url_is_local(url))
        return true;
    struct addrinfo *found = resolve(url);
    if (found && getifaddrs(&interfaces) == 0) {
        for (const struct addrinfo *a = found; a && !here; a = a->ai_next)
            here = is_own(a->ai_addr, interfaces);
        freeifaddrs(interfaces);
    }
    if (found)
        freeaddrinfo(found);
    return here;
}

size_t net_url_addresses(const char *url, char (*out)[NET_ADDRESS_SIZE], size_t max)
{
    struct addrinfo *found = resolve(url);
    size_t n = 0;
    for (const struct addrinfo *a = found; a && n < max; a = a->ai_next)
        n += getnameinfo(a->ai_addr, a->ai_addrlen, out[n], NET_ADDRESS_SIZE, NULL, 0, NI_NUMERICHOST) == 0;
    if (found)
        freeaddrinfo(found);
    return n;
}

/* ---- bridges ----------------------------------------------------------------------------------------------------------- */

static bool same_net(const struct sockaddr *a, const struct ifaddrs *i)
{
    const unsigned char *x, *y, *mask;
    size_t n = address_bytes(a, &x);
    if (!n || address_bytes(i->ifa_addr, &y) != n || address_bytes(i->ifa_netmask, &mask) != n)
        return false;
    for (size_t k = 0; k < n; k++)
        if ((x[k] ^ y[k]) & mask[k])
            return false;
    return true;
}

/* Of Docker, Podman, LXC, libvirt or of one's own: a bridge tells it itself, the end of a pair by its name. */
static bool is_bridge(const char *name)
{
    char path[128];
    snprintf(path, sizeof(path), "/sys/class/net/%.40s/bridge", name);
    return strncmp(name, "veth", 4) == 0 || access(path, F_OK) == 0;
}

bool net_url_behind_bridge(const char *url, char *name, size_t size)
{
    struct addrinfo *found = resolve(url);
    struct ifaddrs *interfaces = NULL;
    bool yes = false;
    if (found && getifaddrs(&interfaces) == 0) {
        for (const struct ifaddrs *i = interfaces; i && !yes; i = i->ifa_next) {
            yes = same_net(found->ai_addr, i) && is_bridge(i->ifa_name);
            if (yes)
                snprintf(name, size, "%s", i->ifa_name);
        }
        freeifaddrs(interfaces);
    }
    if (found)
        freeaddrinfo(found);
    return yes;
}
