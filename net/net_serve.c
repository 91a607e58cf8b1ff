/* net_serve.c - the program's side of the server: opens its module when a server is opened, and passes everything on to it. A
 * pool or an exchange comes after that, and a call out of it: then the module is there. */
#include "net/serve_module.h"

static _Atomic(const struct net_serve_module *) module_loaded;

static bool fits(const void *module)
{
    static const size_t sizes[] = NET_SERVE_SIZES;
    const struct net_serve_module *m = module;
    bool same = m->version == NET_SERVE_VERSION;
    for (size_t i = 0; i < JL_COUNT(sizes) && same; i++)
        same = m->sizes[i] == sizes[i];
    return same;
}

static const struct net_serve_module *module(struct joulet_error *err)
{
    static const struct net_wanted wanted = {NET_SERVE_FILE, NET_SERVE_SYMBOL,
                                             "libmicrohttpd and libcurl (libmicrohttpd12 and libcurl4 on Debian)", fits};
    const struct net_serve_module *m = atomic_load(&module_loaded);
    if (m)
        return m;
    m = net_module_find(&wanted, err);
    if (m)
        atomic_store(&module_loaded, m); /* two threads may both open it: the loader counts */
    return m;
}

enum joulet_status net_server_open(struct net_server **out, const struct net_server_options *o, struct joulet_error *err)
{
    *out = NULL;
    const struct net_serve_module *m = module(err);
    return m ? m->server_open(out, o, err) : JOULET_UNSUPPORTED;
}

const char *net_server_address(const struct net_server *s)
{
    return module(NULL)->server_address(s);
}

unsigned net_server_connections(const struct net_server *s)
{
    return module(NULL)->server_connections(s);
}

void net_server_limit(struct net_server *s, unsigned connections_max)
{
    module(NULL)->server_limit(s, connections_max);
}

void net_server_drain(struct net_server *s)
{
    module(NULL)->server_drain(s);
}

void net_server_close(struct net_server *s)
{
    if (s)
        module(NULL)->server_close(s);
}

bool net_call_answer(struct net_call *call, const struct net_answer *a)
{
    return module(NULL)->call_answer(call, a);
}

enum joulet_status net_pool_open(struct net_pool **out, struct joulet_error *err)
{
    *out = NULL;
    const struct net_serve_module *m = module(err);
    return m ? m->pool_open(out, err) : JOULET_UNSUPPORTED;
}

void net_pool_close(struct net_pool *p)
{
    if (p)
        module(NULL)->pool_close(p);
}

enum joulet_status net_exchange_open(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                     struct joulet_error *err)
{
    return module(NULL)->exchange_open(out, p, a, err);
}

enum joulet_status net_exchange_send(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err)
{
    return module(NULL)->exchange_send(x, bytes, n, err);
}

enum joulet_status net_exchange_head(struct net_exchange *x, struct net_reply *out, struct joulet_error *err)
{
    return module(NULL)->exchange_head(x, out, err);
}

long net_exchange_read(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err)
{
    return module(NULL)->exchange_read(x, bytes, size, t_ns, err);
}

int net_exchange_source(const struct net_exchange *x)
{
    return module(NULL)->exchange_source(x);
}

long net_exchange_read_now(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns)
{
    return module(NULL)->exchange_read_now(x, bytes, size, t_ns);
}

long net_exchange_rest(const struct net_exchange *x)
{
    return module(NULL)->exchange_rest(x);
}

void net_exchange_close(struct net_exchange *x)
{
    if (x)
        module(NULL)->exchange_close(x);
}
