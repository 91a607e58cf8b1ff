/* net.h - HTTP for the program. The only room that knows libcurl; the code behind it is a module (joulet-net.so) opened on first
 * need, because its 37 libraries cost every start 9 to 24 ms and 8 MiB. */
#ifndef NET_H
#define NET_H

#include "lib/base/base.h"

#include <stdatomic.h>

struct net_header {
    const char *name, *value;
};

struct net_request {
    const char *method;               /* "GET", "POST", ... */
    const char *url;                  /* http:// or https:// */
    const struct net_header *headers; /* n_headers */
    size_t n_headers;
    const void *body; /* NULL: none */
    size_t body_len;
    double connect_timeout_s;     /* 0: 5 s */
    double idle_timeout_s;        /* no byte for so long: JOULET_UNREACHABLE; 0: 600 s */
    double total_timeout_s;       /* 0: none */
    size_t max_bytes;             /* of the answer; 0: 64 MiB */
    const char *login, *password; /* NULL: none; basic or digest, as the server asks */
    const char *ca_file;          /* certificates to trust instead of the system's; NULL: those */
    bool insecure;                /* https:// without looking at the certificate */
    const atomic_bool *cancel;    /* becomes true: the exchange is closed at once, JOULET_CANCELLED */
    void *user;
    /* Optional. Called on the caller's thread, with the time the bytes came (stamped on recv). Returning false ends the exchange
     * without error. */
    void (*on_sent)(void *user, int64_t t_ns); /* the last byte of the request was handed to the socket */
    bool (*on_status)(void *user, int status, int64_t t_ns);
    bool (*on_header)(void *user, const char *name, const char *value);
    bool (*on_body)(void *user, const char *bytes, size_t n, int64_t t_ns);
};

struct net_response {
    int status;         /* HTTP; 0 when none came */
    struct jl_buf body; /* only when on_body is NULL */
    int64_t t_start_ns; /* just before the first byte was written (after connecting) */
    int64_t t_end_ns;
    char location[256]; /* where a redirect leads to; "" */
    bool complete;      /* the answer ended as its framing said it would */
};
void net_response_release(struct net_response *r);

/* One exchange, blocking. JOULET_OK also for HTTP errors: look at status.
 * JOULET_UNREACHABLE (refused, no such host, timeout: the sentence says which), JOULET_CANCELLED, JOULET_LIMIT, JOULET_IO (cut
 * off: status and what came stay in *out), JOULET_FORMAT (what answers does not speak HTTP), JOULET_USAGE (no http:// or https://
 * address), JOULET_UNSUPPORTED when the module is missing. *out is to be released in every case. Connections are kept per thread;
 * redirects are not followed; a proxy of the environment is not used for this machine. */
enum joulet_status net_http(const struct net_request *q, struct net_response *out, struct joulet_error *err);

/* The proxy of the environment that the URL goes through, without its login, and the variable that names it (static). False:
 * none. What is on this machine goes through none. */
bool net_proxy_of(const char *url, char *proxy, size_t size, const char **variable);
/* Percent-encodes everything but unreserved characters; malloc'ed. */
char *net_escape(const char *s);
/* True for loopback host names and addresses in a URL: its energy is this machine's. */
bool net_url_is_local(const char *url);
/* True when the host of the URL is this machine: loopback, or a name or address that leads to one of its network interfaces. Asks
 * the resolver, so it may take as long as connecting. A name that leads nowhere is elsewhere. */
bool net_url_is_here(const char *url);
/* The numeric addresses that the host of a URL leads to, at most max; how many. */
enum { NET_ADDRESS_SIZE = 64 };
size_t net_url_addresses(const char *url, char (*out)[NET_ADDRESS_SIZE], size_t max);
/* The host is reached through a bridge of this machine, as the inner address of a container or a virtual machine: its name. */
bool net_url_behind_bridge(const char *url, char *name, size_t size);
int net_url_port(const char *url); /* 80 or 443 where the URL has none; -1 no http:// or https:// address */

#endif
