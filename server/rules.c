/* rules.c - a copy of the options that may change, shared by the requests that began under it, and gone with the last of them. */
#include "server/rules.h"

#include "server/route.h"

#include <stdlib.h>
#include <string.h>

/* The port for metrics: it shows models and clients, no prompts, so that it may be open if the user says so. */
static enum joulet_status check_metrics(const struct server_options *o, struct joulet_error *err)
{
    const char *listen = o->metrics_listen;
    bool open = listen && strchr(listen, ':') && !guard_is_loopback(listen);
    if (!open || o->metrics_open)
        return jl_ok(err);
    if (!o->token)
        return jl_fail(err, JOULET_USAGE,
                       "metrics on %s can be read from other machines: set a token in JOULET_TOKEN, say that everybody may with "
                       "--metrics-open, or listen on 127.0.0.1",
                       listen);
    if (!o->insecure_http)
        return jl_fail(err, JOULET_USAGE,
                       "on %s the token for metrics would cross the network unencrypted: listen on 127.0.0.1 behind a TLS front, "
                       "ask for none with --metrics-open, or accept it with --insecure-http",
                       listen);
    return jl_ok(err);
}

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
    if (check_metrics(o, err) != JOULET_OK)
        return err->status;
    return route_check(o->upstreams, o->n_upstreams, err);
}

/* ---- copies -------------------------------------------------------------------------------------------------------- */

/* NULL for NULL; on failure *ok is false. */
static const char *keep(struct rules *r, const char *text, bool *ok)
{
    if (!text)
        return NULL;
    char *copy = jl_strdup(text);
    if (!copy)
        *ok = false;
    else
        r->texts[r->n_texts++] = copy;
    return copy;
}

static bool copy(struct rules *r, const struct server_options *o)
{
    struct server_upstream *upstreams = calloc(o->n_upstreams, sizeof *upstreams);
    const char **hosts = calloc(o->n_allow_hosts + 1, sizeof *hosts);
    bool ok = upstreams && hosts;
    r->o = *o;
    r->o.upstreams = upstreams;
    r->o.allow_hosts = hosts;
    r->texts = calloc(o->n_upstreams * 7 + o->n_allow_hosts + 4, sizeof *r->texts);
    if (!ok || !r->texts)
        return false;
    r->o.listen = keep(r, o->listen, &ok);
    r->o.metrics_listen = keep(r, o->metrics_listen, &ok);
    r->o.token = keep(r, o->token, &ok);
    r->o.ca_file = keep(r, o->ca_file, &ok);
    for (size_t i = 0; i < o->n_upstreams; i++) {
        const struct server_upstream *u = &o->upstreams[i];
        upstreams[i] = (struct server_upstream){.url = keep(r, u->url, &ok),
                                                .prefix = keep(r, u->prefix, &ok),
                                                .key = keep(r, u->key, &ok),
                                                .model = keep(r, u->model, &ok),
                                                .token = keep(r, u->token, &ok),
                                                .joulet = keep(r, u->joulet, &ok),
                                                .source = keep(r, u->source, &ok)};
    }
    for (size_t i = 0; i < o->n_allow_hosts; i++)
        hosts[i] = keep(r, o->allow_hosts[i], &ok);
    return ok;
}

static void take_over(struct upstream *u, const struct rules *before)
{
    for (size_t i = 0; before && i < before->o.n_upstreams; i++) {
        if (strcmp(before->upstreams[i].origin, u->origin) != 0)
            continue;
        atomic_store(&u->down, atomic_load(&before->upstreams[i].down));
        atomic_store(&u->usage, atomic_load(&before->upstreams[i].usage));
        return;
    }
}

static bool take_apart(struct rules *r, const struct rules *before)
{
    r->upstreams = calloc(r->o.n_upstreams, sizeof *r->upstreams);
    for (size_t i = 0; r->upstreams && i < r->o.n_upstreams; i++) {
        const char *url = r->o.upstreams[i].url, *host = strstr(url, "://");
        const char *path = host ? strchr(host + 3, '/') : NULL;
        r->upstreams[i].path = path ? path : "";
        r->upstreams[i].origin = jl_strf("%.*s", (int)(path ? path - url : (long)strlen(url)), url);
        if (!r->upstreams[i].origin)
            return false;
        atomic_store(&r->upstreams[i].joulet, r->o.upstreams[i].joulet != NULL);
        take_over(&r->upstreams[i], before);
    }
    return r->upstreams != NULL;
}

enum joulet_status rules_make(struct rules **out, const struct server_options *o, const struct rules *before,
                              struct joulet_error *err)
{
    *out = NULL;
    enum joulet_status status = check(o, err);
    if (status != JOULET_OK)
        return status;
    struct rules *r = calloc(1, sizeof *r);
    if (!r)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    atomic_store(&r->holders, 1);
    if (!copy(r, o) || !take_apart(r, before)) {
        rules_drop(r);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    r->guard = (struct guard){r->o.listen, r->o.allow_hosts, r->o.n_allow_hosts, r->o.token};
    *out = r;
    return jl_ok(err);
}

void rules_drop(struct rules *r)
{
    if (!r || atomic_fetch_sub(&r->holders, 1) != 1)
        return;
    for (size_t i = 0; r->upstreams && i < r->o.n_upstreams; i++)
        free(r->upstreams[i].origin);
    free(r->upstreams);
    for (size_t i = 0; i < r->n_texts; i++)
        free(r->texts[i]);
    free(r->texts);
    free((void *)(uintptr_t)r->o.upstreams);
    free((void *)(uintptr_t)r->o.allow_hosts);
    free(r);
}
