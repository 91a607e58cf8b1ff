/* net_module.h - what the program asks of joulet-net.so: one symbol, one table. */
#ifndef NET_MODULE_H
#define NET_MODULE_H

#include "net/net.h"

#define NET_MODULE_FILE    "joulet-net.so"
#define NET_MODULE_SYMBOL  "joulet_net_module"
#define NET_MODULE_VERSION 4

/* A bare connection (net_dial.c). Where url has https:// its bytes go through TLS; ca_file as in net_request. */
struct net_dialled;
enum joulet_status net_dial_open(struct net_dialled **out, const char *url, const char *ca_file, double timeout_s,
                                 const atomic_bool *cancel, struct joulet_error *err);
/* Bytes that came; 0 none within wait_ms; -1 the other side is gone. */
long net_dial_read(struct net_dialled *x, char *bytes, size_t size, int wait_ms);
/* Bytes taken; 0 none yet, after having waited up to wait_ms; -1 the other side is gone. */
long net_dial_write(struct net_dialled *x, const char *bytes, size_t n, int wait_ms);
int net_dial_socket(const struct net_dialled *x); /* to wait for; TLS may hold bytes that it does not show */
void net_dial_close(struct net_dialled *x);

struct net_module {
    int version;
    size_t request_size,
        response_size; /* of the structs it was built with: a module of another build is refused, not crashed into */
    enum joulet_status (*http)(const struct net_request *q, struct net_response *out, struct joulet_error *err);
    enum joulet_status (*dial_open)(struct net_dialled **out, const char *url, const char *ca_file, double timeout_s,
                                    const atomic_bool *cancel, struct joulet_error *err);
    long (*dial_read)(struct net_dialled *x, char *bytes, size_t size, int wait_ms);
    long (*dial_write)(struct net_dialled *x, const char *bytes, size_t n, int wait_ms);
    int (*dial_socket)(const struct net_dialled *x);
    void (*dial_close)(struct net_dialled *x);
};
/* A module by its file; NULL with JOULET_UNSUPPORTED (net.c). */
struct net_wanted {
    const char *file, *symbol;
    const char *needs;                /* packages, for the sentence */
    bool (*fits)(const void *module); /* built with this program */
};
const void *net_module_find(const struct net_wanted *w, struct joulet_error *err);
/* Opens the module on first need; NULL with JOULET_UNSUPPORTED (net.c). */
const struct net_module *net_module_get(struct joulet_error *err);

/* The sentence for a server whose certificate nobody that is trusted has signed (net_url.c). JOULET_PERMISSION. */
enum joulet_status net_untrusted(const char *where, const char *why, struct joulet_error *err);

struct sockaddr;
/* An address in figures; "" when it is none of IP (net_address.c). */
void net_address_text(const struct sockaddr *a, char *out, size_t size);

/* "http://host:port" of a URL, without user, path and query: what a sentence may show. */
const char *net_url_origin(const char *url, char *buf, size_t size);
#define NET_BASE64_SIZE(n) (((n) + 2) / 3 * 4 + 1)
void net_base64(const void *bytes, size_t n, char *out); /* of NET_BASE64_SIZE(n), its NUL included */
bool net_url_skips_proxy(const char *url); /* it is this machine, as far as is known without asking anyone (net_proxy.c) */
/* Host without user, port and brackets. */
bool net_url_host(const char *url, char *host, size_t size);
/* JOULET_USAGE unless it is http:// or https:// with a host and without blanks or control characters. */
enum joulet_status net_url_check(const char *url, struct joulet_error *err);

#endif
