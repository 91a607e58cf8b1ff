/* net_module.h - what the program asks of joulet-net.so: one symbol, one table. */
#ifndef NET_MODULE_H
#define NET_MODULE_H

#include "net/net.h"

#define NET_MODULE_FILE    "joulet-net.so"
#define NET_MODULE_SYMBOL  "joulet_net_module"
#define NET_MODULE_VERSION 1

struct net_module {
    int version;
    size_t request_size,
        response_size; /* of the structs it was built with: a module of another build is refused, not crashed into */
    enum joulet_status (*http)(const struct net_request *q, struct net_response *out, struct joulet_error *err);
};

/* "http://host:port" of a URL, without user, path and query: what a sentence may show. */
const char *net_url_origin(const char *url, char *buf, size_t size);
/* JOULET_USAGE unless it is http:// or https:// with a host and without blanks or control characters. */
enum joulet_status net_url_check(const char *url, struct joulet_error *err);

#endif
