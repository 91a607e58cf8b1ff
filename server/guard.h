/* guard.h - who may speak to us: by name of the host, by origin of a page, by token. Pure. */
#ifndef SERVER_GUARD_H
#define SERVER_GUARD_H

#include "net/net_server.h"

#define GUARD_HEADER "X-Joulet-Token"
#define GUARD_PATH   "/joulet/t/"

struct guard {
    const char *listen; /* "127.0.0.1:8737" as given */
    const char *const *allow_hosts;
    size_t n_allow_hosts;
    const char *token; /* NULL: none asked for */
};

/* True when "host:port" names this machine's loopback. */
bool guard_is_loopback(const char *address);
/* A Host header: names of loopback, what we listen on, the address the client reached (by its socket; -1 unknown), what
 * --allow-host says. Whoever makes a page can make its name lead here; it cannot make a browser say another name (DNS rebinding).
 */
bool guard_host(const struct guard *g, const char *host, int client_fd);
/* An Origin header: a page of a host that guard_host allows. */
bool guard_origin(const struct guard *g, const char *origin, int client_fd);
/* An Origin header: a page of a host that was named, one by one: its scripts may read answers. */
bool guard_origin_named(const struct guard *g, const char *origin);
/* The target with a leading /joulet/t/TOKEN taken off (static "/" when nothing is left); *token and *n: that token, or NULL. */
const char *guard_strip(const char *target, const char **token, size_t *n);
/* In constant time for every token of that length. */
bool guard_token(const struct guard *g, const char *token, size_t n);

#endif
