/* headers.c - what is said between two neighbours is not passed on: it holds for their connection only. */
#include "server/headers.h"

#include "lib/base/base.h"

#include <string.h>
#include <strings.h>

static const char *const of_the_connection[] = {
    "Connection", "Keep-Alive",        "Proxy-Connection", "Proxy-Authenticate", "Proxy-Authorization", "TE",
    "Trailer",    "Transfer-Encoding", "Upgrade",          "Content-Length",
};

static bool is_one_of(const char *name, const char *const *names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(name, names[i]) == 0)
            return true;
    return false;
}

/* `Connection: X` takes X off as well. Only then is every name looked up in it. */
static bool ends_here(const struct net_header *in, size_t n, bool named, const char *name)
{
    return is_one_of(name, of_the_connection, JL_COUNT(of_the_connection)) ||
           (named && net_head_has_word(in, n, "Connection", name));
}

static bool names_others(const struct net_header *in, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (strcasecmp(in[i].name, "Connection") == 0 && strcasecmp(in[i].value, "keep-alive") != 0 &&
            strcasecmp(in[i].value, "close") != 0)
            return true;
    return false;
}

size_t headers_up(const struct net_header *in, size_t n, struct net_header *out, bool tunnel)
{
    static const char *const ours[] = {"Host", "Accept-Encoding", "Expect"};
    bool named = names_others(in, n);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++) {
        bool wanted = tunnel && strcasecmp(in[i].name, "Upgrade") == 0;
        if (!wanted && (ends_here(in, n, named, in[i].name) || is_one_of(in[i].name, ours, JL_COUNT(ours)) ||
                        strncasecmp(in[i].name, "X-Joulet-", 9) == 0))
            continue;
        out[kept++] = in[i];
    }
    return kept;
}

size_t headers_down(const struct net_header *in, size_t n, struct net_header *out)
{
    bool named = names_others(in, n);
    size_t kept = 0;
    for (size_t i = 0; i < n; i++)
        if (!ends_here(in, n, named, in[i].name) && strcasecmp(in[i].name, "X-Joulet-Request") != 0)
            out[kept++] = in[i];
    return kept;
}
