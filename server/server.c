/* server.c - opens what serving needs, and decides of each request whether it is let in, ours, or to be passed on. */
#include "server/internal.h"

#include "lib/platform/platform.h"
#include "server/metering.h"

#include <stdlib.h>
#include <string.h>

#define OBSERVER_PATIENCE_S 2.0
#define LOOK_EVERY_NS       20000000

void server_say(struct server *s, const char *sentence)
{
    if (s->o.said)
        s->o.said(s->o.user, sentence);
}

void server_upstream_failed(struct server *s, struct upstream *u, const char *sentence)
{
    if (!atomic_exchange(&u->down, true))
        server_say(s, sentence);
}

void server_upstream_works(struct upstream *u)
{
    if (atomic_load(&u->down))
        atomic_store(&u->down, false);
}

/* ---- who is let in ----------------------------------------------------------------------------------------------- */

static bool is_own(const char *target)
{
    return jl_starts(target, "/joulet") && (!target[7] || target[7] == '/' || target[7] == '?');
}

static void *on_begin(void *user, struct net_call *call, const struct net_head *head)
{
    struct server *s = user;
    const char *in_path, *target;
    size_t n;
    target = guard_strip(head->target, &in_path, &n);
    if (!guard_host(&s->guard, net_head_value(head->headers, head->n_headers, "Host"), head->client_fd)) {
        server_refuse(call, target, 403, "this name of the host is not one of its own: allow it with --allow-host", true);
        return NULL;
    }
    const char *in_header = net_head_value(head->headers, head->n_headers, GUARD_HEADER);
    if (s->guard.token && !guard_token(&s->guard, in_path, n) &&
        !guard_token(&s->guard, in_header, in_header ? strlen(in_header) : 0)) {
        server_refuse(call, target, 401,
                      "a token is asked for: send it as X-Joulet-Token, or put /joulet/t/TOKEN before the path", true);
        return NULL;
    }
    return passage_begin(s, call, head, target, is_own(target));
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static enum joulet_status check(const struct server_options *o, struct joulet_error *err)
{
    bool open = strchr(o->listen, ':') && !guard_is_loopback(o->listen); /* one that is no address is said later */
    if (o->n_upstreams == 0)
        return jl_fail(err, JOULET_USAGE, "there is no upstream: name an engine with --upstream");
    if (o->token && (strlen(o->token) < 8 || strpbrk(o->token, "/?# \t")))
        return jl_fail(err, JOULET_USAGE,
                       "the token is shorter than 8 characters or holds a blank, /, ? or #: choose another one");
    if (open && !o->token)
        return jl_fail(err, JOULET_USAGE,
                       "%s can be reached from other machines: set a token in JOULET_TOKEN, or listen on 127.0.0.1", o->listen);
    if (open && !o->insecure_http)
        return jl_fail(
            err, JOULET_USAGE,
            "on %s prompts and tokens would cross the network unencrypted: listen on 127.0.0.1 behind a TLS front, or accept "
            "it with --insecure-http",
            o->listen);
    return route_check(o->upstreams, o->n_upstreams, err);
}

static bool take_apart(struct server *s)
{
    s->upstreams = calloc(s->o.n_upstreams, sizeof(*s->upstreams));
    for (size_t i = 0; s->upstreams && i < s->o.n_upstreams; i++) {
        const char *url = s->o.upstreams[i].url, *host = strstr(url, "://");
        const char *path = host ? strchr(host + 3, '/') : NULL;
        s->upstreams[i].path = path ? path : "";
        s->upstreams[i].origin = jl_strf("%.*s", (int)(path ? path - url : (long)strlen(url)), url);
        if (!s->upstreams[i].origin)
            return false;
    }
    return s->upstreams != NULL;
}

static enum joulet_status start_observing(struct server *s, struct joulet_error *err)
{
    const struct observer *first = s->o.metering ? metering_observer(s->o.metering) : NULL, *one = first ? first : s->o.observer;
    if (first && s->o.observer) {
        observe_tee_init(&s->tee, first, s->o.observer);
        one = &s->tee.observer;
    }
    if (!one)
        return JOULET_OK;
    enum joulet_status status = observation_open(&s->observation, one, OBSERVE_RING, err);
    if (status == JOULET_OK && first)
        metering_follow(s->o.metering, s->observation);
    return status;
}

static enum joulet_status start(struct server *s, struct joulet_error *err)
{
    struct net_server_options n = {.listen = s->o.listen, .connections_max = s->o.connections_max, .handler = &s->handler};
    s->handler = (struct net_handler){.user = s,
                                      .begin = on_begin,
                                      .body = passage_body,
                                      .answer = passage_answer,
                                      .read = passage_read,
                                      .tunnel = passage_tunnel,
                                      .end = passage_end};
    enum joulet_status status = start_observing(s, err);
    if (status == JOULET_OK)
        status = net_pool_open(&s->pool, err);
    return status == JOULET_OK ? net_server_open(&s->net, &n, err) : status;
}

enum joulet_status server_open(struct server **out, const struct server_options *o, struct joulet_error *err)
{
    *out = NULL;
    enum joulet_status status = check(o, err);
    if (status != JOULET_OK)
        return status;
    struct server *s = calloc(1, sizeof(*s));
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    s->o = *o;
    s->guard = (struct guard){o->listen, o->allow_hosts, o->n_allow_hosts, o->token};
    s->started_ns = jl_mono_ns();
    s->ids.s = (uint64_t)jl_wall_ns() ^ (uint64_t)(uintptr_t)s;
    struct joulet_error why = {.status = JOULET_MEMORY, .message = "out of memory"};
    status = take_apart(s) ? start(s, &why) : JOULET_MEMORY;
    if (status != JOULET_OK) {
        server_close(s);
        return jl_fail(err, status, "%s", why.message);
    }
    *out = s;
    return jl_ok(err);
}

const char *server_address(const struct server *s)
{
    return net_server_address(s->net);
}

unsigned server_active(const struct server *s)
{
    return atomic_load(&s->active);
}

uint64_t server_served(const struct server *s)
{
    return atomic_load(&s->served);
}

bool server_drain(struct server *s, double patience_s)
{
    int64_t until_ns = jl_mono_ns() + jl_ns(patience_s);
    atomic_store(&s->draining, true);
    net_server_drain(s->net);
    while (server_active(s) && jl_mono_ns() < until_ns)
        jl_sleep_until(jl_mono_ns() + LOOK_EVERY_NS);
    return server_active(s) == 0;
}

void server_close(struct server *s)
{
    if (!s)
        return;
    net_server_close(s->net);
    net_pool_close(s->pool);
    if (s->o.metering)
        metering_follow(s->o.metering, NULL);
    observation_close(s->observation, OBSERVER_PATIENCE_S);
    for (size_t i = 0; s->upstreams && i < s->o.n_upstreams; i++)
        free(s->upstreams[i].origin);
    free(s->upstreams);
    free(s);
}
