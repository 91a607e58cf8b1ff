/* metering_observe.c - in the observer's thread: what passes is recognised, and told to the attribution as it happens (7.7). */
#include "server/metering_ledger.h"
#include "server/metering_steps.h"
#include "server/recognise_frames.h"

#include <inttypes.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LEARN     0.2
#define PARTS_MAX 64 /* requests at a time in one tunnel */
/* A tunnel that nobody reads is present while bytes flow in it and so long after; what is shorter is a sign of life (a ping). */
#define TUNNEL_QUIET_NS ((int64_t)2 * JL_NS_PER_S)
#define TUNNEL_SIGN     16

/* An exchange, or a request inside a tunnel. */
struct exchange {
    struct metering *m;
    struct metered *x;
    char *upstream;
    uint32_t apart;                    /* whose bytes are read; APART_NONE: nobody's */
    uint32_t part;                     /* of the tunnel; 0: it is an exchange */
    size_t request;                    /* of the attribution; NOWHERE: not entered */
    int64_t t_chunk_ns;                /* the last bytes of the answer */
    double prompt_bytes;               /* of this request */
    double prompt_guess;               /* its tokens, as it was entered */
    struct metering_follower follower; /* of steps that a probe tells */
    struct observed_end end;
    struct ledger_text text; /* with --keep-text */
    struct exchange *next;   /* of the tunnels, or of the requests in one */
    /* of a tunnel */
    bool tunnel, reads;                  /* its frames are: then it is not present itself */
    int64_t t_flow_ns, t_flow_begins_ns; /* bytes that look like more than a sign of life; 0: none */
    struct exchange *parts;
};

/* ---- present or not -------------------------------------------------------------------------------------------------- */

/* The engine has the whole request: from here on it may compute. Under the lock. */
static void enter(struct exchange *e, int64_t t_ns)
{
    struct metering *m = e->m;
    const struct recognised *r = &e->x->r;
    if (!e->x->t_sent_ns)
        e->x->t_sent_ns = t_ns;
    e->x->engine = metering_engine_of(m, e->upstream, r->model);
    if (e->x->engine == NOWHERE)
        return;
    const struct metering_engine *engine = &m->engines[e->x->engine];
    if (engine->place != NOWHERE && m->places[engine->place].source) {
        metering_source_noticed(m, e->x, engine->place, e->x->inner);
        return;
    }
    if (engine->engine == NOWHERE)
        return;
    const struct metering_host *host = &m->places[engine->place];
    e->x->devices = engine->devices;
    e->x->assumed = m->o.look_up && host->state == PLACE_ASSUMED;
    e->x->others = host->others & engine->devices;
    bool text = r->kind == RECOGNISED_INFERENCE || r->kind == RECOGNISED_EMBEDDINGS || r->kind == RECOGNISED_RERANK;
    e->prompt_bytes = r->prompt_bytes > 0 ? (double)r->prompt_bytes : 0;
    e->prompt_guess = text ? ceil(e->prompt_bytes / engine->bytes_a_token) : 0;
    struct joulet_entering in = {.id = e->x->key, .prompt_tokens = e->prompt_guess, .guessed = true, .silent = !r->asks_stream};
    if (joulet_attribution_enter(m->attribution, engine->engine, &in, t_ns, &e->request, NULL) != JOULET_OK) {
        e->request = NOWHERE;
        return;
    }
    if (r->kind == RECOGNISED_INFERENCE && r->asks_stream && !e->part)
        metering_steps_enter(m, engine->place, &e->follower, e->request, e->x->t_ns);
    e->x->request = e->request;
    e->x->entered = true;
    e->x->open++;
    m->in_flight++;
    m->n_open++;
    if (!m->first_ns)
        m->first_ns = t_ns;
}

/* Whether the model computes now, which is when its processes must be somewhere. Under the lock. */
static void note_decoding(struct exchange *e, bool decodes)
{
    if (e->x->decodes == decodes)
        return;
    e->x->decodes = decodes;
    e->m->places[e->m->engines[e->x->engine].place].decoding += decodes ? 1 : (size_t)-1;
}

/* It computes no more. Under the lock. */
static void leave(struct exchange *e, double generated, int64_t t_ns)
{
    struct metering *m = e->m;
    if (e->request == NOWHERE)
        return;
    m->in_flight--;
    metering_steps_leave(m, &e->follower, e->x->r.computed);
    note_decoding(e, false);
    if (t_ns > m->quiet_ns)
        m->quiet_ns = t_ns;
    joulet_attribution_end(m->attribution, e->request, generated, t_ns, NULL);
    e->request = NOWHERE;
}

/* Of an answer that was whole the engine was done when its last bytes came, however slowly the client reads. Under the lock. */
static void finish(struct exchange *e, bool lost)
{
    struct metered *x = e->x;
    const struct recognised *r = &x->r;
    x->how = e->end.how;
    x->lost |= lost || e->end.lost;
    x->t_end_ns = r->done && e->t_chunk_ns ? e->t_chunk_ns : e->end.t_ns;
    double generated =
        r->tokens.generated >= 0 && (r->done || r->kind != RECOGNISED_INFERENCE) ? (double)r->tokens.generated : NAN;
    struct metering_edges edges = metering_edges_of(x);
    if (x->entered)
        metering_edges_learn(&e->m->engines[x->engine], &edges);
    x->live = false;
    if (e->m->ledger)
        ledger_ended(e->m->ledger, x, e->m->o.keeps_text && !e->tunnel && !e->part ? &e->text : NULL);
    leave(e, generated, x->t_end_ns);
    metering_source_ended(e->m, x);
    if (!x->entered && !x->sourced) /* nothing more will be known of it */
        metering_final(e->m, x);
    metering_changed(e->m, x);
}

/* ---- tunnels (docs/method.md 7.7) --------------------------------------------------------------------------------------- */

static void flow(struct exchange *e, size_t n, int64_t t_ns)
{
    if (e->reads || n < TUNNEL_SIGN)
        return;
    if (!e->t_flow_begins_ns)
        e->t_flow_begins_ns = t_ns;
    e->t_flow_ns = t_ns;
}

/* Under the lock. */
static void tunnel_looks(struct exchange *e, int64_t now_ns)
{
    if (e->t_flow_begins_ns && e->request == NOWHERE && !e->reads)
        enter(e, e->t_flow_begins_ns);
    e->t_flow_begins_ns = 0;
    if (e->request != NOWHERE && (e->reads || now_ns - e->t_flow_ns > TUNNEL_QUIET_NS))
        leave(e, NAN, e->reads ? now_ns : e->t_flow_ns + TUNNEL_QUIET_NS);
}

static void take_out(struct exchange **list, const struct exchange *e)
{
    while (*list != e)
        list = &(*list)->next;
    *list = e->next;
}

static void exchange_free(struct exchange *e)
{
    ledger_text_release(&e->text);
    free(e->upstream);
    free(e);
}

static struct exchange *part_of(struct exchange *e, uint32_t part)
{
    if (part == 0)
        return e;
    for (struct exchange *p = e->parts; p; p = p->next)
        if (p->part == part)
            return p;
    return NULL;
}

static void part_id(uint64_t tunnel, uint32_t part, char *out)
{
    struct jl_rng rng = {tunnel + part * 0x9e3779b97f4a7c15u};
    snprintf(out, sizeof(struct observed){0}.id, "%016" PRIx64, jl_rng_next(&rng));
}

/* Its name follows from the tunnel's, so that nothing has to be kept for it. */
static struct exchange *begin_part(struct exchange *e, uint32_t part, int64_t t_ns)
{
    struct observed seen = {.t_ns = t_ns, .wall_ns = e->x->wall_ns + (t_ns - e->x->t_ns)};
    size_t n = 0;
    for (const struct exchange *p = e->parts; p; p = p->next)
        n++;
    struct exchange *p = n < PARTS_MAX ? calloc(1, sizeof *p) : NULL;
    part_id(e->x->key, part, seen.id);
    if (p)
        *p = (struct exchange){
            .m = e->m, .part = part, .apart = APART_NONE, .request = NOWHERE, .upstream = jl_strdup(e->upstream)};
    if (p && p->upstream)
        p->x = metering_take(e->m, &seen);
    if (!p || !p->x) {
        if (p)
            exchange_free(p);
        return NULL;
    }
    memcpy(p->x->tunnel, e->x->id, sizeof p->x->tunnel);
    if (e->x->inner[0]) /* the server in front of the engine reads the same frames, and names their requests in the same way */
        part_id(strtoull(e->x->inner, NULL, 16), part, p->x->inner);
    p->x->who = e->x->who;
    p->next = e->parts;
    e->parts = p;
    e->x->parts++;
    return p;
}

static void end_part(struct exchange *e, struct exchange *p, bool lost, int64_t t_ns)
{
    const struct recognised *r = &p->x->r;
    bool over = r->done || r->error[0] || r->finish[0];
    p->end = (struct observed_end){.how = over ? OBSERVED_DONE : OBSERVED_CUT, .lost = lost, .t_ns = t_ns};
    finish(p, lost);
    take_out(&e->parts, p);
    exchange_free(p);
}

/* ---- what was recognised --------------------------------------------------------------------------------------------------- */

static void told_request(void *state, uint32_t part, const struct recognised *r, int64_t t_ns)
{
    struct exchange *e = state;
    pthread_mutex_lock(&e->m->lock);
    metering_steps_until(e->m, t_ns);
    struct exchange *p = part && !part_of(e, part) ? begin_part(e, part, t_ns) : part ? NULL : e;
    if (p && !p->x->t_sent_ns) {
        p->x->r = *r;
        enter(p, t_ns);
        metering_changed(e->m, p->x);
    }
    pthread_mutex_unlock(&e->m->lock);
}

static void told_progress(void *state, uint32_t part, double done, bool share, int64_t t_ns)
{
    struct exchange *e = state;
    pthread_mutex_lock(&e->m->lock);
    struct exchange *p = part_of(e, part);
    if (p && p->request != NOWHERE && (!share || p->prompt_guess > 0))
        joulet_attribution_progress(e->m->attribution, p->request, share ? done * p->prompt_guess : done, t_ns, NULL);
    pthread_mutex_unlock(&e->m->lock);
}

static void told_prompt(void *state, uint32_t part, double computed, double all)
{
    struct exchange *e = state;
    pthread_mutex_lock(&e->m->lock);
    struct exchange *p = part_of(e, part);
    if (p && p->request != NOWHERE) {
        joulet_attribution_prompt(e->m->attribution, p->request, computed, all, NULL);
        double *ratio = &e->m->engines[p->x->engine].bytes_a_token;
        if (all > 0 && p->prompt_bytes > 0)
            *ratio += LEARN * (p->prompt_bytes / all - *ratio);
    }
    pthread_mutex_unlock(&e->m->lock);
}

static void told_piece(void *state, uint32_t part, double tokens, bool thinking, int64_t t_ns)
{
    struct exchange *e = state;
    (void)thinking;
    pthread_mutex_lock(&e->m->lock);
    metering_steps_until(e->m, t_ns);
    struct exchange *p = part_of(e, part);
    if (p)
        p->x->came += isnan(tokens) ? 1 : tokens;
    if (p && p->request != NOWHERE) {
        int64_t made_ns = t_ns;
        if (metering_steps_piece(e->m, &p->follower, &tokens, &made_ns))
            joulet_attribution_tokens(e->m->attribution, p->request, tokens, made_ns, NULL);
        note_decoding(p, true);
    }
    if (p && p->x->t_sent_ns && !p->x->r.t_first_ns) { /* prefill is over */
        p->x->r.t_first_ns = t_ns;
        metering_changed(e->m, p->x);
    }
    pthread_mutex_unlock(&e->m->lock);
}

/* Under the lock; e is gone afterwards. */
static void end_exchange(struct exchange *e, bool lost)
{
    while (e->parts)
        end_part(e, e->parts, lost || e->end.lost, e->end.t_ns);
    if (e->tunnel) {
        tunnel_looks(e, e->end.t_ns);
        take_out(&e->m->tunnels, e);
    }
    finish(e, lost);
    if (e->tunnel)
        metering_tunnel_ended(e->m, e->x);
    exchange_free(e);
}

static void told_end(void *state, uint32_t part, const struct recognised *r, bool lost, int64_t t_ns)
{
    struct exchange *e = state;
    struct metering *m = e->m;
    pthread_mutex_lock(&m->lock);
    metering_steps_until(m, t_ns);
    struct exchange *p = part_of(e, part);
    if (p && !e->tunnel) {
        p->x->r = *r;
    } else if (p && part) {
        p->x->r = *r;
        end_part(e, p, lost || !r->whole, t_ns);
    } else if (p) {
        p->x->lost |= !r->whole && e->end.how == OBSERVED_DONE;
    }
    if (part == 0)
        end_exchange(e, lost);
    pthread_mutex_unlock(&m->lock);
}

static void told_reads(void *state, bool reads, int64_t t_ns)
{
    struct exchange *e = state;
    (void)t_ns;
    pthread_mutex_lock(&e->m->lock);
    e->reads = reads && e->tunnel;
    if (e->reads)
        e->x->r.protocol = recognise_protocol("lmstudio-ws");
    else
        e->x->lost = true;
    e->x->read |= e->reads;
    pthread_mutex_unlock(&e->m->lock);
}

static void told_lost(void *state)
{
    struct exchange *e = state;
    pthread_mutex_lock(&e->m->lock);
    e->x->lost = true;
    e->reads = false;
    int64_t now_ns = jl_mono_ns();
    while (e->parts)
        end_part(e, e->parts, true, now_ns);
    pthread_mutex_unlock(&e->m->lock);
}

/* ---- what the observation tells ---------------------------------------------------------------------------------------- */

static struct exchange *exchange_new(struct metering *m, const struct observed *seen, bool tunnel)
{
    struct exchange *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    *e = (struct exchange){
        .m = m, .tunnel = tunnel, .apart = APART_NONE, .request = NOWHERE, .upstream = jl_strdup(seen->upstream)};
    ledger_text_init(&e->text);
    if (e->upstream && (!tunnel || recognise_frames_at(seen->target)))
        e->apart = apart_begin(m->apart, e, seen->method, seen->target);
    if (e->upstream && (tunnel || e->apart != APART_NONE))
        return e;
    exchange_free(e);
    return NULL;
}

static void *on_begin(void *user, const struct observed *seen)
{
    struct metering *m = user;
    bool tunnel = net_head_value(seen->headers, seen->n_headers, "Upgrade") && strcmp(seen->method, "GET") == 0;
    if (!tunnel && recognise_path(seen->method, seen->target) == RECOGNISED_OTHER)
        return NULL;
    pthread_mutex_lock(&m->lock);
    struct metered *x = metering_take(m, seen);
    if (x) {
        recognised_init(&x->r, seen->method, seen->target);
        x->r.kind = tunnel ? RECOGNISED_TUNNEL : x->r.kind;
        who_read(&x->who, m->o.secret, seen->headers, seen->n_headers, seen->peer);
        metering_changed(m, x);
    }
    pthread_mutex_unlock(&m->lock);
    struct exchange *e = x ? exchange_new(m, seen, tunnel) : NULL;
    if (e) {
        e->x = x;
    } else if (x) {
        pthread_mutex_lock(&m->lock);
        x->live = false;
        x->lost = true;
        metering_changed(m, x);
        pthread_mutex_unlock(&m->lock);
    }
    if (e && tunnel) {
        e->next = m->tunnels;
        m->tunnels = e;
    }
    return e;
}

/* What is too long is kept as far as there is room. */
static void keep_text(struct exchange *e, struct jl_buf *kept, int64_t *all, const char *bytes, size_t n)
{
    size_t room = LEDGER_TEXT - kept->len;
    if (!e->m->o.keeps_text || !e->m->ledger || e->tunnel)
        return;
    jl_buf_add(kept, bytes, n < room ? n : room);
    *all += (int64_t)n;
}

static void on_request(void *state, const char *bytes, size_t n, bool whole, int64_t t_ns)
{
    struct exchange *e = state;
    keep_text(e, &e->text.request, &e->text.request_bytes, bytes, n);
    if (n)
        apart_request(e->m->apart, e->apart, bytes, n);
    else if (!e->x->t_sent_ns)
        apart_request_end(e->m->apart, e->apart, whole, t_ns);
}

static void on_head(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct exchange *e = state;
    const char *inner = net_head_value(headers, n, "X-Joulet-Request");
    if (e->tunnel || inner) {
        pthread_mutex_lock(&e->m->lock);
        e->x->r.status = e->tunnel ? status : e->x->r.status;
        if (inner)
            metering_source_noticed(e->m, e->x, metering_place_of(e->m, e->upstream), inner);
        pthread_mutex_unlock(&e->m->lock);
    }
    apart_head(e->m->apart, e->apart, status, headers, n, t_ns);
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct exchange *e = state;
    if (e->tunnel)
        flow(e, n, t_ns);
    else if (from_client)
        return;
    e->t_chunk_ns = t_ns;
    keep_text(e, &e->text.answer, &e->text.answer_bytes, bytes, n);
    apart_chunk(e->m->apart, e->apart, from_client, bytes, n, t_ns);
}

static void on_end(void *state, const struct observed_end *end)
{
    struct exchange *e = state;
    struct metering *m = e->m;
    e->end = *end;
    if (e->apart != APART_NONE) {
        apart_end(m->apart, e->apart, end->how == OBSERVED_DONE && !end->lost, e->t_chunk_ns ? e->t_chunk_ns : end->t_ns);
        return;
    }
    pthread_mutex_lock(&m->lock);
    end_exchange(e, false);
    pthread_mutex_unlock(&m->lock);
}

static void on_pause(void *user)
{
    struct metering *m = user;
    atomic_store(&m->waits_ns, apart_pause(m->apart));
    atomic_store(&m->recogniser, apart_pid(m->apart));
    if (!m->tunnels)
        return;
    int64_t now_ns = jl_mono_ns();
    pthread_mutex_lock(&m->lock);
    for (struct exchange *e = m->tunnels; e; e = e->next)
        tunnel_looks(e, now_ns);
    pthread_mutex_unlock(&m->lock);
}

bool metering_observer_open(struct metering *m)
{
    const struct apart_told told = {.request = told_request,
                                    .progress = told_progress,
                                    .prompt = told_prompt,
                                    .piece = told_piece,
                                    .end = told_end,
                                    .reads = told_reads,
                                    .lost = told_lost};
    m->observer = (struct observer){.user = m,
                                    .begin = on_begin,
                                    .request = on_request,
                                    .head = on_head,
                                    .chunk = on_chunk,
                                    .end = on_end,
                                    .pause = on_pause};
    m->apart = apart_open(&told, &(struct apart_options){.patience_s = m->o.recognise_patience_s});
    if (m->apart)
        atomic_store(&m->recogniser, apart_pid(m->apart));
    return m->apart != NULL;
}
