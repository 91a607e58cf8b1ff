/* serve_line.h - a connection to an upstream: made by libcurl (names, addresses, proxies, TLS), used by us. Between exchanges it
 * waits in the pool. */
#ifndef NET_SERVE_LINE_H
#define NET_SERVE_LINE_H

#include "net/serve_module.h"

#include <curl/curl.h>
#include <sys/uio.h>

enum { LINE_AGAIN = -2, LINE_BROKE = -1 };

struct line {
    struct line *next;
    char *origin;
    char *where;      /* "http://host:port", without user and password */
    const char *host; /* of `where`, as the Host header has it */
    char *login;      /* of the origin: what Authorization says; NULL none */
    int fd;
    CURLM *multi; /* the bytes of TLS go through libcurl; NULL: they go through fd */
    CURL *easy;
};

/* Connects. While it waits it looks at client_fd (-1: none): JOULET_CANCELLED when the client is gone. */
enum joulet_status serve_line_open(struct line **out, const char *origin, const char *ca_file, double timeout_s, int client_fd,
                                   struct joulet_error *err);
void serve_line_close(struct line *l); /* NULL is fine */
/* Bytes that are there; 0: the upstream closed; LINE_AGAIN, LINE_BROKE with errno. */
long serve_line_read(struct line *l, char *bytes, size_t size);
/* The same, waiting for them up to LINE_PATIENCE_NS where that costs nothing. */
#define LINE_PATIENCE_NS ((int64_t)100 * 1000000)
long serve_line_read_soon(struct line *l, char *bytes, size_t size);
/* Bytes that were taken; LINE_AGAIN, LINE_BROKE. */
long serve_line_write(struct line *l, const struct iovec *v, size_t n);

/* The line to that origin that was used last; NULL none. */
struct line *serve_pool_take(struct net_pool *p, const char *origin);
void serve_pool_give(struct net_pool *p, struct line *l);

#endif
