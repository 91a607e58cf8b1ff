/* server.c - opens what serving needs, and decides of each request whether it is let in, ours, or to be passed on. */
#include "server/api.h"

#include "lib/platform/platform.h"
#include "server/metering.h"
#include "server/metrics.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>

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

bool server_upstream_is_down(struct server *s, size_t i)
{
    struct rules *r = server_rules(s);
    bool down = i < r->o.n_upstreams && atomic_load(&r->upstreams[i].down);
    rules_drop(r);
    return down;
}

void server_upstream_is_back(struct server *s, size_t i)
{
    struct rules *r = server_rules(s);
    if (i < r->o.n_upstreams)
        server_upstream_works(&r->upstreams[i]);
    rules_drop(r);
}

/* ---- rules ------------------------------------------------------------------------------------------------------- */

struct rules *server_rules(struct server *s)
{
    pthread_mutex_lock(&s->rules_lock);
    struct rules *r = s->rules;
    atomic_fetch_add(&r->holders, 1);
    pthread_mutex_unlock(&s->rules_lock);
    return r;
}

/* Those whose figures are taken. */
static void tell_sources(struct server *s, const struct rules *r)
{
    for (size_t i = 0; s->o.metering && i < r->o.n_upstreams; i++)
        metering_source(s->o.metering, r->o.upstreams[i].url, r->o.upstreams[i].source, r->o.upstreams[i].token);
}

enum joulet_status server_reload(struct server *s, const struct server_options *o, struct joulet_error *err)
{
    struct server_options all = *o;
    struct rules *fresh, *old;
    all.listen = s->o.listen;
    all.metrics_listen = s->o.metrics_listen;
    all.metrics_open = s->o.metrics_open;
    enum joulet_status status = rules_make(&fresh, &all, s->rules, err); /* one thread reloads: nobody else swaps it */
    if (status != JOULET_OK)
        return status;
    tell_sources(s, fresh);
    pthread_mutex_lock(&s->rules_lock);
    old = s->rules;
    s->rules = fresh;
    pthread_mutex_unlock(&s->rules_lock);
    rules_drop(old);
    net_server_limit(s->net, o->connections_max);
    return jl_ok(err);
}

/* ---- who is refused ------------------------------------------------------------------------------------------------- */

/* Bytes of the path that may be shown: no query, no user of an address, and nothing from where a token may begin. */
static size_t shown(const char *target, const char *token)
{
    size_t n = *target == '/' ? strcspn(target, "?#") : 0;
    for (size_t i = 0; i < n; i++)
        if (strncasecmp(target + i, GUARD_PATH, strlen(GUARD_PATH)) == 0)
            n = i + strlen(GUARD_PATH);
    const char *at = token ? strstr(target, token) : NULL;
    return at && (size_t)(at - target) < n ? (size_t)(at - target) : n;
}

void server_refused(struct server *s, const struct net_head *head, const char *target, int status, const char *why)
{
    if (!s->o.refused)
        return;
    struct rules *rules = server_rules(s);
    const struct server_refusal r = {.peer = head->peer,
                                     .method = head->method,
                                     .path = target,
                                     .path_n = shown(target, rules->guard.token),
                                     .status = status,
                                     .why = why};
    s->o.refused(s->o.user, &r);
    rules_drop(rules);
}

static void on_refused(void *user, const struct net_head *head, int status, const char *why)
{
    server_refused(user, head, head->target, status, why);
}

/* ---- who is let in ----------------------------------------------------------------------------------------------- */

bool server_is_own(const char *target)
{
    return jl_starts(target, "/joulet") && (!target[7] || target[7] == '/' || target[7] == '?');
}

static bool refuse(struct server *s, struct net_call *call, const struct net_head *head, const char *target, int status,
                   const char *sentence)
{
    server_refused(s, head, target, status, sentence);
    server_refuse(call, target, status, sentence, true);
    return false;
}

/* False: refused. */
static bool lets_in(struct server *s, const struct guard *g, struct net_call *call, const struct net_head *head,
                    const char **target)
{
    const char *in_path;
    size_t n;
    *target = guard_strip(head->target, &in_path, &n);
    if (!guard_host(g, net_head_value(head->headers, head->n_headers, "Host"), head->client_fd))
        return refuse(s, call, head, *target, 403, "this name of the host is not one of its own: allow it with --allow-host");
    const char *in_header = net_head_value(head->headers, head->n_headers, GUARD_HEADER);
    if (g->token && !guard_token(g, in_path, n) && !guard_token(g, in_header, in_header ? strlen(in_header) : 0))
        return refuse(s, call, head, *target, 401,
                      "a token is asked for: send it as X-Joulet-Token, or put /joulet/t/TOKEN before the path");
    return true;
}

static void *on_begin(void *user, struct net_call *call, const struct net_head *head)
{
    struct server *s = user;
    struct rules *rules = server_rules(s);
    const char *target;
    void *passage = lets_in(s, &rules->guard, call, head, &target)
                        ? passage_begin(s, rules, call, head, target, server_is_own(target))
                        : NULL;
    if (!passage)
        rules_drop(rules);
    return passage;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

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

static struct rules *rules_of(void *user)
{
    return server_rules(user);
}

static enum joulet_status start(struct server *s, struct joulet_error *err)
{
    struct net_server_options n = {.listen = s->o.listen,
                                   .connections_max = s->o.connections_max,
                                   .header_max = s->o.header_max,
                                   .idle_s = s->o.client_idle_s,
                                   .together = s->o.together,
                                   .handler = &s->handler};
    s->handler = (struct net_handler){.user = s,
                                      .begin = on_begin,
                                      .body = passage_body,
                                      .answer = passage_answer,
                                      .read = passage_read,
                                      .source = passage_source,
                                      .read_now = passage_read_now,
                                      .tunnel = passage_tunnel,
                                      .end = passage_end,
                                      .refused = on_refused};
    enum joulet_status status = start_observing(s, err);
    if (status == JOULET_OK)
        status = api_open(s, err);
    if (status == JOULET_OK)
        status = net_pool_open(&s->pool, err);
    if (status == JOULET_OK)
        status = model_lists_open(&s->models, rules_of, s, err);
    return status == JOULET_OK ? net_server_open(&s->net, &n, err) : status;
}

enum joulet_status server_open(struct server **out, const struct server_options *o, struct joulet_error *err)
{
    *out = NULL;
    struct rules *rules;
    enum joulet_status status = rules_make(&rules, o, NULL, err);
    if (status != JOULET_OK)
        return status;
    struct server *s = calloc(1, sizeof(*s));
    if (!s) {
        rules_drop(rules);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    s->o = *o;
    s->o.upstreams = NULL;
    s->o.n_upstreams = 0;
    s->o.token = NULL;
    s->rules = rules;
    pthread_mutex_init(&s->rules_lock, NULL);
    s->started_ns = jl_mono_ns();
    s->ids.s = (uint64_t)jl_wall_ns() ^ (uint64_t)(uintptr_t)s;
    snprintf(s->instance, sizeof s->instance, "%016llx",
             (unsigned long long)jl_rng_next(&(struct jl_rng){s->ids.s ^ (uint64_t)getpid() << 32}));
    struct joulet_error why;
    struct jl_self self;
    jl_self_get(&self);
    s->process_start_s = self.start_s;
    tell_sources(s, rules);
    status = start(s, &why);
    if (status == JOULET_OK)
        status = metrics_port_open(&s->metrics, s, &why);
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

const char *server_instance(const struct server *s)
{
    return s->instance;
}

const char *server_metrics_address(const struct server *s)
{
    return metrics_port_address(s->metrics);
}

unsigned server_connections(const struct server *s)
{
    return net_server_connections(s->net);
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

bool server_close(struct server *s)
{
    if (!s)
        return true;
    atomic_store(&s->draining, true); /* streams of ours end */
    metrics_port_close(s->metrics);   /* it asks all of the below */
    net_server_close(s->net);
    api_close(s);
    net_pool_close(s->pool);
    model_lists_close(s->models);
    if (s->o.metering)
        metering_follow(s->o.metering, NULL);
    bool over = observation_close(s->observation, OBSERVER_PATIENCE_S);
    if (!over && s->o.metering)
        metering_left(s->o.metering);
    rules_drop(s->rules);
    pthread_mutex_destroy(&s->rules_lock);
    free(s);
    return over;
}
