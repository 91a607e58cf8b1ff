/* net_proxy.c - which proxy of the environment a URL goes through, as libcurl decides it: so that a failure can name it, and so
 * that an engine on this machine is not sent through one. */
#include "net/net_module.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* This machine by its loopback, or by an address in figures of its own: no resolver is asked, which behind a proxy may take long.
 */
bool net_url_skips_proxy(const char *url)
{
    char host[256];
    unsigned char address[16];
    if (net_url_is_local(url))
        return true;
    return net_url_host(url, host, sizeof(host)) &&
           (inet_pton(AF_INET, host, address) == 1 || inet_pton(AF_INET6, host, address) == 1) && net_url_is_here(url);
}

static const char *first_of(const char *a, const char *b, const char **variable)
{
    const char *value = getenv(a);
    *variable = a;
    if ((!value || !*value) && b) {
        value = getenv(b);
        *variable = b;
    }
    return value && *value ? value : NULL;
}

/* One name of no_proxy: the host, or a domain it lies in. Networks (with a slash) are left to libcurl: taken for a match, so that
 * no proxy is blamed that may not have been asked. */
static bool excepts(const char *name, size_t n, const char *host)
{
    size_t m = strlen(host);
    if (memchr(name, '/', n) || (n == 1 && *name == '*'))
        return true;
    if (n && *name == '.')
        name++, n--;
    return n && n <= m && strncasecmp(host + m - n, name, n) == 0 && (n == m || host[m - n - 1] == '.');
}

static bool excepted(const char *host)
{
    const char *variable, *list = first_of("no_proxy", "NO_PROXY", &variable);
    for (const char *at = list ? list : ""; *at;) {
        size_t n = strcspn(at, ", ");
        if (n && excepts(at, n, host))
            return true;
        at += n + strspn(at + n, ", ");
    }
    return false;
}

bool net_proxy_of(const char *url, char *proxy, size_t size, const char **variable)
{
    char host[256];
    proxy[0] = '\0';
    if (!url || !net_url_host(url, host, sizeof(host)) || net_url_skips_proxy(url) || excepted(host))
        return false;
    bool tls = strncasecmp(url, "https", 5) == 0;
    const char *value = tls ? first_of("https_proxy", "HTTPS_PROXY", variable) : first_of("http_proxy", NULL, variable);
    if (!value)
        value = first_of("all_proxy", "ALL_PROXY", variable);
    if (!value)
        return false;
    const char *scheme = strstr(value, "://"), *at = strrchr(value, '@');
    const char *from = at ? at + 1 : scheme ? scheme + 3 : value; /* a login is nobody's business */
    snprintf(proxy, size, "%.*s%.*s", scheme ? (int)(scheme + 3 - value) : 0, value, (int)strcspn(from, "/"), from);
    return true;
}
