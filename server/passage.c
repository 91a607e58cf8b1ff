/* passage.c - one request through the proxy: its head and body to the upstream, the answer back as it comes. Everything waits in
 * the thread of the client's connection; what is looked at is copied beside the stream. */
#include "server/api.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX_DEFAULT ((uint64_t)256 << 20)
#define MODEL_MAX        256
#define AT_ONCE          8192
#define LOOP             "an upstream leads back to this server: name the engine itself with --upstream"

static void passage_free(struct passage *p)
{
    net_exchange_close(p->exchange);
    net_tunnel_close(p->tunnel);
    jl_buf_release(&p->body);
    passage_splice_release(p);
    api_stream_close(p->events);
    free(p->headers);
    free(p->up_target);
    free(p->authorization);
    free(p->via);
    rules_drop(p->rules);
    free(p);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static void set_fault(struct passage *p, int status, const char *sentence)
{
    p->fault = status;
    p->refused = true;
    snprintf(p->why, sizeof(p->why), "%s", sentence);
    net_exchange_close(p->exchange); /* at once: the engine computes for nobody */
    p->exchange = NULL;
}

static int status_for(const struct joulet_error *err)
{
    if (err->status == JOULET_UNREACHABLE && strstr(err->message, "sent nothing"))
        return 504;
    return err->status == JOULET_MEMORY ? 503 : 502;
}

void passage_fail(struct passage *p, const struct joulet_error *err)
{
    p->gone = err->status == JOULET_CANCELLED;
    if (!p->gone)
        server_upstream_failed(p->server, p->upstream, err->message);
    set_fault(p, status_for(err), err->message);
}

void passage_answer_fault(struct passage *p)
{
    if (!p->watched && !p->gone) /* whoever watches is told at its end */
        server_refused(p->server, p->head, p->target, p->fault, p->why);
    server_refuse(p->call, p->target, p->fault, p->why, p->gone || p->fault == 413);
}

/* ---- where to ---------------------------------------------------------------------------------------------------- */

/* Clients put something into Authorization, because their libraries want it; the engine wants its own key. */
static bool set_key(struct passage *p)
{
    size_t n = 0;
    for (size_t i = 0; i < p->n_headers; i++)
        if (strcasecmp(p->headers[i].name, "Authorization") != 0)
            p->headers[n++] = p->headers[i];
    p->authorization = jl_strf("Bearer %s", p->to->key);
    if (!p->authorization) {
        set_fault(p, 503, "out of memory");
        return false;
    }
    p->headers[n++] = (struct net_header){"Authorization", p->authorization};
    p->n_headers = n;
    return true;
}

/* False: a fault. */
static bool find_upstream(struct passage *p)
{
    const struct rules *r = p->rules;
    char model[MODEL_MAX];
    const char *rest;
    bool named = p->body.len && route_model(p->body.data, p->body.len, model, sizeof(model));
    p->to = route_find(r->o.upstreams, r->o.n_upstreams, p->target, named ? model : NULL, &rest);
    if (named && p->to && !p->to->prefix && !p->to->model) {
        const struct server_upstream *listed = model_lists_find(p->server->models, r->o.upstreams, r->o.n_upstreams, model);
        p->to = listed ? listed : p->to;
    }
    if (!p->to) {
        set_fault(p, 404, "no upstream is for this path and model: see --upstream");
        return false;
    }
    p->upstream = &r->upstreams[p->to - r->o.upstreams];
    p->up_target = jl_strf("%s%s%s", p->upstream->path, *rest == '/' || *rest == '*' ? "" : "/", rest);
    if (p->to->key && !set_key(p))
        return false;
    if (passage_loops(p)) {
        server_upstream_failed(p->server, p->upstream, LOOP);
        set_fault(p, 508, LOOP);
        return false;
    }
    if (!p->up_target || !passage_to_joulet(p)) {
        set_fault(p, 503, "out of memory");
        return false;
    }
    return true;
}

/* ---- beside the stream ------------------------------------------------------------------------------------------- */

static void make_id(struct server *s, char *id, size_t size)
{
    struct jl_rng r = {s->ids.s + atomic_fetch_add(&s->ids_given, 1) * 0x9e3779b97f4a7c15u};
    snprintf(id, size, "%016" PRIx64, jl_rng_next(&r));
}

void passage_watch_begin(struct passage *p)
{
    if (!p->server->observation)
        return;
    struct observed seen = {.upstream = p->to->url,
                            .method = p->head->method,
                            .target = p->up_target,
                            .headers = p->head->headers,
                            .n_headers = p->head->n_headers,
                            .t_ns = p->head->t_ns,
                            .wall_ns = jl_wall_ns() - (jl_mono_ns() - p->head->t_ns)};
    make_id(p->server, p->id, sizeof(p->id));
    snprintf(seen.id, sizeof(seen.id), "%s", p->id);
    snprintf(seen.peer, sizeof(seen.peer), "%s", p->head->peer);
    p->watched = watched_begin(p->server->observation, &seen);
}

/* ---- the request ------------------------------------------------------------------------------------------------- */

void *passage_begin(struct server *s, struct rules *rules, struct net_call *call, const struct net_head *head, const char *target,
                    bool own)
{
    uint64_t most = rules->o.body_max ? rules->o.body_max : BODY_MAX_DEFAULT;
    if (head->body_len > 0 && (uint64_t)head->body_len > most) {
        server_refused(s, head, target, 413, "the request's body is longer than the limit");
        server_refuse(call, target, 413, "the request's body is longer than the limit", true);
        return NULL;
    }
    struct passage *p = malloc(sizeof(*p)); /* not calloc: glibc would not take what this thread gave back */
    if (!p)
        return NULL;
    *p = (struct passage){
        .server = s, .rules = rules, .call = call, .head = head, .target = target, .t_last_ns = head->t_ns, .own = own};
    jl_buf_init_unkept(&p->body, SERVER_BODY_WHOLE);
    p->headers = jl_malloc_unkept((head->n_headers + 4) * sizeof(*p->headers)); /* and those of ours */
    if (!p->headers) {
        free(p);
        return NULL;
    }
    p->n_headers = headers_up(head->headers, head->n_headers, p->headers, head->upgrade);
    if (!own)
        atomic_fetch_add(&s->active, 1);
    return p;
}

/* The engine has it, and it is looked at only now. */
static void on_sent(void *user, int64_t t_ns)
{
    struct passage *p = user;
    if (p->again)
        return;
    if (p->body.len)
        watched_request(p->watched, p->body.data, p->body.len, true, t_ns);
    watched_request(p->watched, NULL, 0, true, t_ns);
}

/* Opens the exchange; body: whole, or NULL when pieces follow. */
static bool open_exchange(struct passage *p, const char *body, int64_t n, struct joulet_error *err)
{
    struct net_ask ask = {.origin = p->upstream->origin,
                          .method = p->head->method,
                          .target = p->up_target,
                          .headers = p->headers,
                          .n_headers = p->n_headers,
                          .body = body,
                          .body_len = n,
                          .ca_file = p->rules->o.ca_file,
                          .client_fd = p->head->client_fd,
                          .connect_s = p->rules->o.connect_s,
                          .first_s = p->rules->o.upstream_first_s,
                          .idle_s = p->rules->o.upstream_idle_s,
                          .on_sent = on_sent,
                          .user = p};
    return net_exchange_open(&p->exchange, p->server->pool, &ask, err) == JOULET_OK;
}

/* A piece goes up. JOULET_BUSY: the upstream has answered, the rest of the body is for nobody. */
static bool send_up(struct passage *p, const char *bytes, size_t n, struct joulet_error *err)
{
    enum joulet_status status = net_exchange_send(p->exchange, bytes, n, err);
    p->refused = status == JOULET_BUSY;
    if (status == JOULET_OK)
        watched_request(p->watched, bytes, n, false, jl_mono_ns());
    return status == JOULET_OK || status == JOULET_BUSY;
}

/* A body too long to be kept: from here on it goes as it comes. */
static void start_streaming(struct passage *p)
{
    struct joulet_error err;
    p->streaming = true;
    if (!find_upstream(p))
        return;
    passage_watch_begin(p);
    if (!open_exchange(p, NULL, p->head->body_len, &err) || (p->body.len && !send_up(p, p->body.data, p->body.len, &err)))
        passage_fail(p, &err);
    jl_buf_release(&p->body);
}

void passage_body(void *state, const char *bytes, size_t n)
{
    struct passage *p = state;
    struct joulet_error err;
    uint64_t most = p->rules->o.body_max ? p->rules->o.body_max : BODY_MAX_DEFAULT;
    p->body_n += n;
    if (p->body_n > (p->own ? SERVER_BODY_WHOLE : most) && !p->fault) /* of a body that did not tell its length */
        set_fault(p, 413, "the request's body is longer than the limit");
    if (!p->refused && !p->streaming && p->body.len + n > SERVER_BODY_WHOLE)
        start_streaming(p);
    if (p->refused)
        return;
    if (p->streaming && !send_up(p, bytes, n, &err))
        passage_fail(p, &err);
    else if (!p->streaming && !jl_buf_add(&p->body, bytes, n))
        set_fault(p, 503, "out of memory");
}

/* ---- the answer -------------------------------------------------------------------------------------------------- */

/* A short answer that is there already goes with its head in one piece. */
static char *take_rest(struct passage *p, const struct net_reply *reply)
{
    struct joulet_error err;
    long n = net_exchange_rest(p->exchange);
    char *rest = n > 0 && n <= AT_ONCE && reply->length == n ? malloc((size_t)n) : NULL;
    if (rest && net_exchange_read(p->exchange, rest, (size_t)n, &p->t_last_ns, &err) != n) {
        free(rest);
        return NULL; /* it cannot be: all of it is at hand */
    }
    return rest;
}

/* What the upstream sent goes to the client, as it is or with something put in. */
static void splice_rest(struct passage *p, char **rest, int64_t *length)
{
    if (!*rest || !p->splices)
        return;
    splicer_bytes(&p->splicer, *rest, (size_t)*length);
    passage_splice_end(p, true);
    if (p->out.failed) { /* no memory: it goes as it came */
        p->splices = false;
        jl_buf_release(&p->out);
        splicer_release(&p->splicer);
        return;
    }
    free(*rest);
    *length = (int64_t)p->out.len;
    *rest = p->out.len ? jl_buf_take(&p->out) : jl_strdup("");
}

static bool pass_head(struct passage *p, const struct net_reply *reply)
{
    struct net_header *headers = jl_malloc_unkept((reply->n_headers + 2) * sizeof(*headers));
    if (!headers)
        return false;
    char *rest = take_rest(p, reply);
    int64_t length = reply->length;
    size_t n = headers_down(reply->headers, reply->n_headers, headers);
    if (p->id[0])
        headers[n++] = (struct net_header){"X-Joulet-Request", p->id};
    if (rest)
        watched_chunk(p->watched, false, rest, (size_t)reply->length, p->t_last_ns);
    passage_splice_begin(p, reply, rest != NULL, &length);
    bool whole = rest != NULL;
    splice_rest(p, &rest, &length);
    struct net_answer a = {.status = reply->status, .headers = headers, .n_headers = n, .body = rest, .length = length};
    bool ok = (rest || !whole) && net_call_answer(p->call, &a);
    if (whole) {
        net_exchange_close(p->exchange);
        p->exchange = NULL;
    }
    free(rest);
    free(headers);
    return ok;
}

static bool open_whole(struct passage *p, struct joulet_error *err)
{
    const struct jl_buf *body = p->asked_usage ? &p->asked : &p->body;
    return open_exchange(p, body->data ? body->data : "", (int64_t)body->len, err);
}

/* As the client wrote it. When that is taken, what was put in is not put in again. */
static enum joulet_status ask_again(struct passage *p, struct net_reply *reply, struct joulet_error *err)
{
    net_exchange_close(p->exchange);
    p->exchange = NULL;
    p->again = true;
    if (!open_whole(p, err))
        return err->status;
    enum joulet_status status = net_exchange_head(p->exchange, reply, err);
    if (status == JOULET_OK && reply->status < 400)
        atomic_store(&p->upstream->usage, USAGE_NEVER);
    return status;
}

/* The request is whole; false: a fault. */
static bool exchange_heads(struct passage *p, struct net_reply *reply)
{
    struct joulet_error err;
    if (!p->streaming) {
        passage_watch_begin(p);
        passage_ask_usage(p);
        if (!open_whole(p, &err)) {
            passage_fail(p, &err);
            return false;
        }
    }
    if (p->streaming)
        watched_request(p->watched, NULL, 0, !p->refused, jl_mono_ns());
    enum joulet_status status = net_exchange_head(p->exchange, reply, &err);
    if (status == JOULET_OK && passage_refuses_usage(p, reply->status))
        status = ask_again(p, reply, &err);
    if (status != JOULET_OK)
        passage_fail(p, &err);
    return status == JOULET_OK;
}

/* Several engines seem one: their lists of models come together. */
static bool answer_list(struct passage *p, struct net_call *call)
{
    static const struct net_header headers[] = {{"Content-Type", "application/json"}};
    struct jl_buf out;
    bool get = strcmp(p->head->method, "GET") == 0, ok = false;
    jl_buf_init(&out, (size_t)64 << 20);
    if (get && !p->head->upgrade && model_lists_merged(p->server->models, p->target, &out)) {
        struct net_answer a = {.status = 200, .headers = headers, .n_headers = 1, .body = out.data, .length = (int64_t)out.len};
        net_call_answer(call, &a);
        ok = true;
    }
    jl_buf_release(&out);
    return ok;
}

void passage_answer(void *state, struct net_call *call)
{
    struct passage *p = state;
    struct net_reply reply;
    if (p->own && !p->fault)
        server_own(p, call);
    else if (!p->fault && !p->body_n && answer_list(p, call))
        ;
    else if (!p->fault && !p->streaming && find_upstream(p) && p->head->upgrade) {
        passage_switch(p);
    } else if (!p->fault && exchange_heads(p, &reply)) {
        watched_head(p->watched, reply.status, reply.headers, reply.n_headers, reply.t_ns);
        passage_notice_joulet(p, &reply);
        server_upstream_works(p->upstream);
        p->answered = pass_head(p, &reply);
        jl_buf_release(&p->body); /* sent, and no more needed */
        jl_buf_release(&p->asked);
    }
    if (p->fault)
        passage_answer_fault(p);
}

/* Bytes from the upstream; 0 and -1 as passage_read. */
static long read_up(struct passage *p, char *bytes, size_t size)
{
    struct joulet_error err;
    long n = p->exchange ? net_exchange_read(p->exchange, bytes, size, &p->t_last_ns, &err) : -1;
    if (n > 0) {
        watched_chunk(p->watched, false, bytes, (size_t)n, p->t_last_ns);
        return n;
    }
    if (n < 0 && p->exchange) {
        p->gone = err.status == JOULET_CANCELLED;
        p->cut = !p->gone;
        if (p->cut)
            server_upstream_failed(p->server, p->upstream, err.message);
    }
    net_exchange_close(p->exchange); /* done: the next request may have its connection; cut: the engine stops */
    p->exchange = NULL;
    return n;
}

/* The same through the splicer, which may hold what came, and may have more than fits. */
static long read_spliced(struct passage *p, char *bytes, size_t size)
{
    if (p->out.failed)
        return -1;
    while (p->out.len == p->out_at) {
        if (p->ended)
            return p->broken ? -1 : 0;
        size_t room = passage_splice_room(p, size);
        if (!room && p->out.len)
            break;
        long n = read_up(p, bytes, room ? room : size);
        if (n > 0 && !room)
            return n;
        if (n > 0)
            splicer_bytes(&p->splicer, bytes, (size_t)n);
        else
            passage_splice_end(p, n == 0);
        p->ended = n <= 0;
        p->broken = n < 0;
        if (p->out.failed)
            return -1;
    }
    return passage_splice_take(p, bytes, size);
}

long passage_read(void *state, char *bytes, size_t size)
{
    struct passage *p = state;
    if (p->events)
        return api_stream_read(p->events, bytes, size);
    return p->splices ? read_spliced(p, bytes, size) : read_up(p, bytes, size);
}

/* ---- the answer, passed with many others ------------------------------------------------------------------------- */

int passage_source(void *state)
{
    const struct passage *p = state;
    return p->exchange && p->out.len == p->out_at ? net_exchange_source(p->exchange) : -1;
}

static long up_now(struct passage *p, char *bytes, size_t size)
{
    long n = net_exchange_read_now(p->exchange, bytes, size, &p->t_last_ns);
    if (n > 0)
        watched_chunk(p->watched, false, bytes, (size_t)n, p->t_last_ns);
    return n;
}

/* Waits for nothing but, where the energy is put in, once an answer and for a millisecond at most for the lock of who knows it.
 */
long passage_read_now(void *state, char *bytes, size_t size)
{
    struct passage *p = state;
    if (!p->splices)
        return up_now(p, bytes, size);
    while (p->out.len == p->out_at) {
        size_t room = passage_splice_room(p, size);
        long n = room ? up_now(p, bytes, room) : NET_ENDS;
        if (n <= 0)
            return n;
        splicer_bytes(&p->splicer, bytes, (size_t)n);
        if (p->out.failed)
            return NET_ENDS;
    }
    return passage_splice_take(p, bytes, size);
}

void passage_end(void *state, enum net_end how)
{
    struct passage *p = state;
    struct server *s = p->server;
    enum observed_how seen = p->gone || (how == NET_END_CLIENT_GONE && !p->cut) ? OBSERVED_CLIENT_GONE
                             : p->fault                                         ? OBSERVED_FAILED
                             : how == NET_END_DONE                              ? OBSERVED_DONE
                                                                                : OBSERVED_CUT;
    watched_end(p->watched, seen, jl_mono_ns());
    bool own = p->own;
    passage_free(p);
    if (own)
        return;
    atomic_fetch_add(&s->served, 1);
    atomic_fetch_sub(&s->active, 1);
}
