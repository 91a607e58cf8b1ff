/* passage_tunnel.c - a request for another protocol (WebSocket): bytes go through as they are, both ways, until one side ends. */
#include "server/internal.h"
#include "server/recognise_frames.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

/* The upstream does not want to switch: it is asked again as for an ordinary answer, because that one is framed like any other.
 */
static void answer_plainly(struct passage *p)
{
    struct net_reply reply;
    struct joulet_error err;
    struct net_ask ask = {.origin = p->upstream->origin,
                          .method = p->head->method,
                          .target = p->up_target,
                          .headers = p->headers,
                          .n_headers = p->n_headers,
                          .ca_file = p->rules->o.ca_file,
                          .client_fd = p->head->client_fd,
                          .connect_s = p->rules->o.connect_s,
                          .first_s = p->rules->o.upstream_first_s,
                          .idle_s = p->rules->o.upstream_idle_s};
    if (net_exchange_open(&p->exchange, p->server->pool, &ask, &err) != JOULET_OK ||
        net_exchange_head(p->exchange, &reply, &err) != JOULET_OK) {
        passage_fail(p, &err);
        return;
    }
    struct net_header *headers = malloc((reply.n_headers + 1) * sizeof(*headers));
    if (!headers)
        return;
    size_t n = headers_down(reply.headers, reply.n_headers, headers);
    struct net_answer a = {.status = reply.status, .headers = headers, .n_headers = n, .length = reply.length, .close = true};
    watched_head(p->watched, reply.status, reply.headers, reply.n_headers, reply.t_ns);
    p->answered = net_call_answer(p->call, &a);
    free(headers);
}

static void answer_switch(struct passage *p, const struct net_reply *reply)
{
    struct net_header *headers = malloc((reply->n_headers + 3) * sizeof(*headers));
    if (!headers)
        return;
    size_t n = headers_down(reply->headers, reply->n_headers, headers);
    if (p->id[0])
        headers[n++] = (struct net_header){"X-Joulet-Request", p->id};
    for (size_t i = 0; i < reply->n_headers; i++)
        if (strcasecmp(reply->headers[i].name, "Upgrade") == 0)
            headers[n++] = reply->headers[i];
    struct net_answer a = {.status = 101, .headers = headers, .n_headers = n, .switching = true};
    watched_head(p->watched, 101, reply->headers, reply->n_headers, reply->t_ns);
    p->answered = net_call_answer(p->call, &a);
    free(headers);
}

/* What is compressed cannot be read: where frames are, no extension is asked for. */
static size_t headers_to_switch(const struct passage *p, struct net_header *out)
{
    bool reads = p->watched && p->server->o.metering && recognise_frames_at(p->up_target);
    size_t n = 0;
    for (size_t i = 0; i < p->n_headers; i++)
        if (!reads || strcasecmp(p->headers[i].name, "Sec-WebSocket-Extensions") != 0)
            out[n++] = p->headers[i];
    out[n++] = (struct net_header){"Connection", "Upgrade"};
    return n;
}

void passage_switch(struct passage *p)
{
    struct net_reply reply;
    struct joulet_error err;
    passage_watch_begin(p);
    struct net_header *with = malloc((p->n_headers + 1) * sizeof(*with));
    if (!with)
        return;
    size_t n = headers_to_switch(p, with);
    struct net_ask ask = {.origin = p->upstream->origin,
                          .method = p->head->method,
                          .target = p->up_target,
                          .headers = with,
                          .n_headers = n,
                          .ca_file = p->rules->o.ca_file,
                          .client_fd = p->head->client_fd,
                          .connect_s = p->rules->o.connect_s,
                          .first_s = p->rules->o.upstream_first_s};
    enum joulet_status status = net_tunnel_open(&p->tunnel, &ask, &reply, &err);
    free(with);
    if (status != JOULET_OK) {
        passage_fail(p, &err);
        return;
    }
    server_upstream_works(p->upstream);
    if (reply.status == 101) {
        answer_switch(p, &reply);
        return;
    }
    net_tunnel_close(p->tunnel);
    p->tunnel = NULL;
    answer_plainly(p);
}

static void on_bytes(void *user, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct passage *p = user;
    watched_chunk(p->watched, from_client, bytes, n, t_ns);
}

void passage_tunnel(void *state, int fd, const char *early, size_t n)
{
    struct passage *p = state;
    if (n)
        watched_chunk(p->watched, true, early, n, jl_mono_ns());
    net_tunnel_run(p->tunnel, fd, early, n, p->watched ? on_bytes : NULL, p);
}
