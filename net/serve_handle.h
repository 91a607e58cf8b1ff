/* serve_handle.h - a handle of libcurl with its kept connections, and the sockets it wants watched. */
#ifndef NET_SERVE_HANDLE_H
#define NET_SERVE_HANDLE_H

#include "net/serve_module.h"

#include <curl/curl.h>
#include <poll.h>

enum { SOCKETS_MAX = 8 }; /* of one exchange: addresses that are tried at once, and what looks them up */

struct handle {
    struct handle *next;
    CURLM *multi;
    CURL *easy;
    char *origin;
    curl_socket_t kept_fd;              /* of the connection that is kept; CURL_SOCKET_BAD none */
    struct pollfd fds[SOCKETS_MAX + 1]; /* what curl wants watched; one is left for the client */
    nfds_t n_fds;
    int64_t timer_ns;      /* -1: none */
    struct jl_buf pending; /* kept for the next exchange while it is small */
    char curl_error[CURL_ERROR_SIZE];
};

/* The one that talked to that origin last, or a new one; NULL without memory. */
struct handle *serve_handle_take(struct net_pool *p, const char *origin);
void serve_handle_give(struct net_pool *p, struct handle *h);

#endif
