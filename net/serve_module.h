/* serve_module.h - what the program asks of joulet-serve.so: one symbol, one table. */
#ifndef NET_SERVE_MODULE_H
#define NET_SERVE_MODULE_H

#include "net/net_module.h"
#include "net/net_server.h"

#define NET_SERVE_FILE    "joulet-serve.so"
#define NET_SERVE_SYMBOL  "joulet_serve_module"
#define NET_SERVE_VERSION 3

struct net_serve_module {
    int version;
    size_t sizes[4]; /* of the structs it was built with: handler, head, answer, ask */
    enum joulet_status (*server_open)(struct net_server **out, const struct net_server_options *o, struct joulet_error *err);
    const char *(*server_address)(const struct net_server *s);
    unsigned (*server_connections)(const struct net_server *s);
    void (*server_limit)(struct net_server *s, unsigned connections_max);
    void (*server_drain)(struct net_server *s);
    void (*server_close)(struct net_server *s);
    bool (*call_answer)(struct net_call *call, const struct net_answer *a);
    enum joulet_status (*pool_open)(struct net_pool **out, struct joulet_error *err);
    void (*pool_close)(struct net_pool *p);
    enum joulet_status (*exchange_open)(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                        struct joulet_error *err);
    enum joulet_status (*exchange_send)(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err);
    enum joulet_status (*exchange_head)(struct net_exchange *x, struct net_reply *out, struct joulet_error *err);
    long (*exchange_read)(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err);
    int (*exchange_source)(const struct net_exchange *x);
    long (*exchange_read_now)(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns);
    long (*exchange_rest)(const struct net_exchange *x);
    void (*exchange_close)(struct net_exchange *x);
};
#define NET_SERVE_SIZES                                                                                                          \
    {                                                                                                                            \
        sizeof(struct net_handler), sizeof(struct net_head), sizeof(struct net_answer), sizeof(struct net_ask)                   \
    }

/* In the module: serve_mhd.c and serve_exchange.c. */
enum joulet_status serve_server_open(struct net_server **out, const struct net_server_options *o, struct joulet_error *err);
const char *serve_server_address(const struct net_server *s);
unsigned serve_server_connections(const struct net_server *s);
void serve_server_limit(struct net_server *s, unsigned connections_max);
void serve_server_drain(struct net_server *s);
void serve_server_close(struct net_server *s);
bool serve_call_answer(struct net_call *call, const struct net_answer *a);
int serve_listen(const char *address, char *bound, size_t size, struct joulet_error *err); /* serve_listen.c; -1 on failure */
enum joulet_status serve_pool_open(struct net_pool **out, struct joulet_error *err);
void serve_pool_close(struct net_pool *p);
enum joulet_status serve_exchange_open(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                       struct joulet_error *err);
enum joulet_status serve_exchange_send(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err);
enum joulet_status serve_exchange_head(struct net_exchange *x, struct net_reply *out, struct joulet_error *err);
long serve_exchange_read(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err);
int serve_exchange_source(const struct net_exchange *x);
long serve_exchange_read_now(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns);
long serve_exchange_rest(const struct net_exchange *x);
void serve_exchange_close(struct net_exchange *x);

#endif
