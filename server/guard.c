/* guard.c - the proxy stands where the engine's own check of names stood, so it checks them on every path. */
#include "server/guard.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* Host of "host:port", "[v6]:port" or either without port. */
static bool host_of(const char *address, char *host, size_t size)
{
    const char *begin = address, *end;
    if (*begin == '[') {
        end = strchr(++begin, ']');
        if (!end || (end[1] && end[1] != ':'))
            return false;
    } else {
        end = begin + strcspn(begin, ":");
    }
    const char *port = *begin && *end == ']' ? end + 1 : end;
    if (*port && (*port != ':' || strspn(port + 1, "0123456789") != strlen(port + 1)))
        return false;
    size_t n = (size_t)(end - begin);
    if (n > 1 && begin[n - 1] == '.') /* the name from the root is the same name */
        n--;
    if (n == 0 || n >= size)
        return false;
    memcpy(host, begin, n);
    host[n] = '\0';
    return !host[strcspn(host, "@/?#\\%")]; /* what a URL would read as something else than a name */
}

static bool is_loopback_name(const char *host)
{
    char url[300];
    snprintf(url, sizeof(url), strchr(host, ':') ? "http://[%s]/" : "http://%s/", host);
    return net_url_is_local(url);
}

bool guard_is_loopback(const char *address)
{
    char host[256];
    return host_of(address, host, sizeof(host)) && is_loopback_name(host);
}

bool guard_host(const struct guard *g, const char *host_header, int client_fd)
{
    char host[256], listen[256], own[48];
    if (!host_header || !host_of(host_header, host, sizeof(host)))
        return false;
    if (is_loopback_name(host))
        return true;
    if (host_of(g->listen, listen, sizeof(listen)) && strcasecmp(host, listen) == 0)
        return true;
    for (size_t i = 0; i < g->n_allow_hosts; i++)
        if (strcmp(g->allow_hosts[i], "*") == 0 || strcasecmp(g->allow_hosts[i], host) == 0)
            return true;
    net_own_address(client_fd, own, sizeof(own));
    return strcasecmp(host, own) == 0;
}

bool guard_origin(const struct guard *g, const char *origin, int client_fd)
{
    size_t skip = strncasecmp(origin, "http://", 7) == 0 ? 7 : strncasecmp(origin, "https://", 8) == 0 ? 8 : 0;
    return skip && guard_host(g, origin + skip, client_fd);
}

bool guard_origin_named(const struct guard *g, const char *origin)
{
    char host[256];
    size_t skip = strncasecmp(origin, "http://", 7) == 0 ? 7 : strncasecmp(origin, "https://", 8) == 0 ? 8 : 0;
    if (!skip || !host_of(origin + skip, host, sizeof(host)))
        return false;
    for (size_t i = 0; i < g->n_allow_hosts; i++)
        if (strcasecmp(g->allow_hosts[i], host) == 0)
            return true;
    return false;
}

const char *guard_strip(const char *target, const char **token, size_t *n)
{
    *token = NULL;
    *n = 0;
    if (strncmp(target, GUARD_PATH, strlen(GUARD_PATH)) != 0)
        return target;
    *token = target + strlen(GUARD_PATH);
    *n = strcspn(*token, "/?");
    const char *rest = *token + *n;
    return *rest == '/' ? rest : "/";
}

bool guard_token(const struct guard *g, const char *token, size_t n)
{
    size_t want = g->token ? strlen(g->token) : 0;
    unsigned differ = want != n || !token;
    for (size_t i = 0; i < want; i++)
        differ |= (unsigned char)g->token[i] ^ (unsigned char)(token && n ? token[i % n] : 0);
    return g->token && differ == 0;
}
