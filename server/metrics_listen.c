/* metrics_listen.c - a port of its own for Prometheus, which answers /metrics and nothing else: on the port of the proxy that
 * path is the engine's. Who may ask is checked as there; a token may also come as `Authorization: Bearer`, which here belongs to
 * nobody else. */
#include "server/metrics.h"

#include "report/prometheus.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define CONNECTIONS 32
#define PAGE_MAX    ((size_t)16 << 20)

struct metrics_port {
    struct server *server;
    struct net_server *net;
    struct net_handler handler;
};

static void answer(struct net_call *call, int status, const char *type, const char *body, size_t n)
{
    const struct net_header headers[] = {
        {"Content-Type", type}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
    struct net_answer a = {.status = status,
                           .headers = headers,
                           .n_headers = JL_COUNT(headers),
                           .body = body,
                           .length = (int64_t)n,
                           .close = status != 200};
    net_call_answer(call, &a);
}

static void refuse(struct server *s, struct net_call *call, const struct net_head *head, int status, const char *sentence)
{
    server_refused(s, head, head->target, status, sentence);
    char text[200];
    snprintf(text, sizeof text, "joulet: %s\n", sentence);
    answer(call, status, "text/plain; charset=utf-8", text, strlen(text));
}

static bool has_token(const struct guard *g, const struct net_head *head, const char *in_path, size_t n)
{
    const char *own = net_head_value(head->headers, head->n_headers, GUARD_HEADER);
    const char *bearer = net_head_value(head->headers, head->n_headers, "Authorization");
    if (bearer && strncasecmp(bearer, "Bearer ", 7) == 0)
        bearer += 7 + strspn(bearer + 7, " ");
    else
        bearer = NULL;
    return guard_token(g, in_path, n) || guard_token(g, own, own ? strlen(own) : 0) ||
           guard_token(g, bearer, bearer ? strlen(bearer) : 0);
}

static void page(struct server *s, const struct rules *r, struct net_call *call, const struct net_head *head)
{
    struct jl_buf out;
    jl_buf_init(&out, PAGE_MAX);
    metrics_write(s, r, &out);
    if (out.failed)
        refuse(s, call, head, 503, "out of memory");
    else
        answer(call, 200, PROMETHEUS_TYPE, out.data, out.len);
    jl_buf_release(&out);
}

static void *on_begin(void *user, struct net_call *call, const struct net_head *head)
{
    struct metrics_port *p = user;
    struct rules *r = server_rules(p->server);
    const char *in_path, *target, *origin = net_head_value(head->headers, head->n_headers, "Origin");
    size_t n;
    struct guard g = r->guard; /* the same names and token, another address */
    g.listen = p->server->o.metrics_listen;
    target = guard_strip(head->target, &in_path, &n);
    if (!guard_host(&g, net_head_value(head->headers, head->n_headers, "Host"), head->client_fd) ||
        (origin && !guard_origin(&g, origin, head->client_fd)))
        refuse(p->server, call, head, 403, "this name of the host is not one of its own: allow it with --allow-host");
    else if (g.token && !p->server->o.metrics_open && !has_token(&g, head, in_path, n))
        refuse(p->server, call, head, 401,
               "a token is asked for: send it as Authorization: Bearer TOKEN, or put /joulet/t/TOKEN before the path");
    else if (strncmp(target, "/metrics", 8) != 0 || (target[8] && target[8] != '?'))
        refuse(p->server, call, head, 404, "there is nothing but /metrics at this port");
    else if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0)
        refuse(p->server, call, head, 405, "this path is only read: ask with GET");
    else
        page(p->server, r, call, head);
    rules_drop(r);
    return NULL;
}

enum joulet_status metrics_port_open(struct metrics_port **out, struct server *s, struct joulet_error *err)
{
    *out = NULL;
    if (!s->o.metrics_listen)
        return jl_ok(err);
    struct metrics_port *p = calloc(1, sizeof *p);
    if (!p)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    p->server = s;
    p->handler = (struct net_handler){.user = p, .begin = on_begin};
    struct net_server_options o = {.listen = s->o.metrics_listen, .connections_max = CONNECTIONS, .handler = &p->handler};
    struct joulet_error why;
    if (net_server_open(&p->net, &o, &why) != JOULET_OK) {
        free(p);
        return jl_fail(err, why.status, "%s", why.message);
    }
    *out = p;
    return jl_ok(err);
}

const char *metrics_port_address(const struct metrics_port *p)
{
    return p ? net_server_address(p->net) : NULL;
}

void metrics_port_close(struct metrics_port *p)
{
    if (!p)
        return;
    net_server_close(p->net);
    free(p);
}
