/* metering_observe.c - in the observer's thread: what passes is recognised, and told to the attribution as it happens (7.7). */
#include "server/guard.h"
#include "server/metering_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define BYTES_A_TOKEN 4.0 /* of English text, until an engine told better */
#define LEARN         0.2

struct exchange {
    struct metering *m;
    struct metered *x;
    const struct observed *seen;
    struct recogniser *recogniser;
    size_t request;      /* of the attribution; NOWHERE: not entered */
    int64_t t_chunk_ns;  /* the last bytes of the answer */
    double prompt_bytes; /* of this request */
};

/* ---- engines --------------------------------------------------------------------------------------------------------- */

static bool is_here(const char *url)
{
    const char *host = strstr(url, "://");
    char address[256];
    host = host ? host + 3 : url;
    snprintf(address, sizeof address, "%.*s", (int)strcspn(host, "/"), host);
    if (!strrchr(address, ':') || address[strlen(address) - 1] == ']')
        snprintf(address + strlen(address), sizeof address - strlen(address), ":80");
    return guard_is_loopback(address);
}

/* 0: it is elsewhere. */
static uint32_t devices_of(const struct metering *m, const char *upstream)
{
    for (size_t i = 0; i < m->o.n_upstreams; i++)
        if (strcmp(m->o.upstreams[i].url, upstream) == 0)
            return m->o.upstreams[i].devices;
    return m->o.everywhere || is_here(upstream) ? m->o.devices : 0;
}

static size_t open_engine(struct metering *m, uint32_t bits)
{
    size_t devices[METERING_DEVICES], n = 0, engine;
    for (size_t i = 0; i < m->o.n_channels; i++)
        if (bits & (uint32_t)1 << i)
            devices[n++] = m->devices[i].device;
    struct joulet_attribution_engine e = {.devices = devices, .n_devices = n};
    return n && joulet_attribution_engine(m->attribution, &e, &engine, NULL) == JOULET_OK ? engine : NOWHERE;
}

/* Names of models are the clients': when there are too many, further ones count as the first of their upstream. */
static size_t any_engine(const struct metering *m, const char *upstream)
{
    for (size_t i = 0; i < m->n_engines; i++)
        if (strcmp(m->engines[i].upstream, upstream) == 0)
            return i;
    return NOWHERE;
}

/* Under the lock. NOWHERE: there are too many. */
static size_t find_engine(struct metering *m, const char *upstream, const char *model)
{
    for (size_t i = 0; i < m->n_engines; i++)
        if (strcmp(m->engines[i].upstream, upstream) == 0 && strcmp(m->engines[i].model, model) == 0)
            return i;
    if (m->n_engines == METERING_ENGINES)
        return any_engine(m, upstream);
    struct metering_engine *e = &m->engines[m->n_engines];
    *e = (struct metering_engine){.upstream = jl_strdup(upstream),
                                  .model = jl_strdup(model),
                                  .engine = NOWHERE,
                                  .devices = devices_of(m, upstream),
                                  .bytes_a_token = BYTES_A_TOKEN};
    if (!e->upstream || !e->model) {
        free(e->upstream);
        free(e->model);
        return NOWHERE;
    }
    e->engine = open_engine(m, e->devices);
    metering_learnt_recall(m, e);
    return m->n_engines++;
}

/* ---- what the recogniser tells ---------------------------------------------------------------------------------------- */

static void on_progress(void *user, double done, int64_t t_ns)
{
    struct exchange *e = user;
    pthread_mutex_lock(&e->m->lock);
    if (e->request != NOWHERE)
        joulet_attribution_progress(e->m->attribution, e->request, done, t_ns, NULL);
    pthread_mutex_unlock(&e->m->lock);
}

static void on_prompt(void *user, double computed, double all)
{
    struct exchange *e = user;
    pthread_mutex_lock(&e->m->lock);
    if (e->request != NOWHERE) {
        joulet_attribution_prompt(e->m->attribution, e->request, computed, all, NULL);
        double *ratio = &e->m->engines[e->x->engine].bytes_a_token;
        if (all > 0 && e->prompt_bytes > 0)
            *ratio += LEARN * (e->prompt_bytes / all - *ratio);
    }
    pthread_mutex_unlock(&e->m->lock);
}

static void on_piece(void *user, double tokens, bool thinking, int64_t t_ns)
{
    struct exchange *e = user;
    (void)thinking;
    pthread_mutex_lock(&e->m->lock);
    if (e->request != NOWHERE)
        joulet_attribution_tokens(e->m->attribution, e->request, tokens, t_ns, NULL);
    if (e->x->t_sent_ns && !e->x->r.t_first_ns) { /* prefill is over */
        e->x->r = *recogniser_result(e->recogniser);
        e->x->r.t_first_ns = e->x->r.t_first_ns ? e->x->r.t_first_ns : t_ns;
        metering_changed(e->m, e->x);
    }
    pthread_mutex_unlock(&e->m->lock);
}

/* ---- what the observation tells ---------------------------------------------------------------------------------------- */

static void *on_begin(void *user, const struct observed *seen)
{
    struct metering *m = user;
    if (recognise_path(seen->method, seen->target) == RECOGNISED_OTHER)
        return NULL;
    struct exchange *e = calloc(1, sizeof *e);
    struct recognise_events events = {.progress = on_progress, .prompt = on_prompt, .piece = on_piece, .user = e};
    if (!e || !(e->recogniser = recogniser_open(seen->method, seen->target, &events))) {
        free(e);
        return NULL;
    }
    e->m = m;
    e->seen = seen;
    e->request = NOWHERE;
    pthread_mutex_lock(&m->lock);
    e->x = metering_take(m, seen);
    if (e->x) {
        e->x->r = *recogniser_result(e->recogniser);
        who_read(&e->x->who, m->o.secret, seen->headers, seen->n_headers, seen->peer);
        metering_changed(m, e->x);
    }
    pthread_mutex_unlock(&m->lock);
    if (e->x)
        return e;
    recogniser_close(e->recogniser);
    free(e);
    return NULL;
}

/* The engine has the whole request: from here on it may compute. Under the lock. */
static void enter(struct exchange *e, int64_t t_ns)
{
    struct metering *m = e->m;
    const struct recognised *r = recogniser_result(e->recogniser);
    e->x->r = *r;
    e->x->t_sent_ns = t_ns;
    e->x->engine = find_engine(m, e->seen->upstream, r->model);
    if (e->x->engine == NOWHERE || m->engines[e->x->engine].engine == NOWHERE)
        return;
    const struct metering_engine *engine = &m->engines[e->x->engine];
    bool text = r->kind == RECOGNISED_INFERENCE || r->kind == RECOGNISED_EMBEDDINGS || r->kind == RECOGNISED_RERANK;
    e->prompt_bytes = r->prompt_bytes > 0 ? (double)r->prompt_bytes : 0;
    struct joulet_entering in = {.id = e->x->key,
                                 .prompt_tokens = text ? ceil(e->prompt_bytes / engine->bytes_a_token) : 0,
                                 .guessed = true,
                                 .silent = !r->asks_stream};
    if (joulet_attribution_enter(m->attribution, engine->engine, &in, t_ns, &e->request, NULL) != JOULET_OK) {
        e->request = NOWHERE;
        return;
    }
    e->x->request = e->request;
    e->x->entered = true;
    m->in_flight++;
    if (!m->first_ns)
        m->first_ns = t_ns;
}

static void on_request(void *state, const char *bytes, size_t n, bool whole, int64_t t_ns)
{
    struct exchange *e = state;
    if (n) {
        recogniser_request(e->recogniser, bytes, n);
        return;
    }
    recogniser_request_end(e->recogniser, whole);
    pthread_mutex_lock(&e->m->lock);
    if (!e->x->t_sent_ns) {
        enter(e, t_ns);
        metering_changed(e->m, e->x);
    }
    pthread_mutex_unlock(&e->m->lock);
}

static void on_head(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct exchange *e = state;
    (void)t_ns;
    recogniser_head(e->recogniser, status, headers, n);
}

static void on_chunk(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    struct exchange *e = state;
    if (from_client)
        return;
    e->t_chunk_ns = t_ns;
    recogniser_chunk(e->recogniser, bytes, n, t_ns);
}

/* Of an answer that was whole the engine was done when its last bytes came, however slowly the client reads. */
static void leave(struct exchange *e, const struct observed_end *end)
{
    struct metering *m = e->m;
    const struct recognised *r = recogniser_result(e->recogniser);
    struct metered *x = e->x;
    x->r = *r;
    x->live = false;
    x->how = end->how;
    x->lost = end->lost;
    x->t_end_ns = r->done && e->t_chunk_ns ? e->t_chunk_ns : end->t_ns;
    if (e->request == NOWHERE) { /* nothing more will be known of it */
        metering_final(m, x);
        return;
    }
    m->in_flight--;
    if (end->t_ns > m->quiet_ns)
        m->quiet_ns = end->t_ns;
    double generated =
        r->tokens.generated >= 0 && (r->done || r->kind != RECOGNISED_INFERENCE) ? (double)r->tokens.generated : NAN;
    joulet_attribution_end(m->attribution, e->request, generated, x->t_end_ns, NULL);
}

static void on_end(void *state, const struct observed_end *end)
{
    struct exchange *e = state;
    recogniser_end(e->recogniser, end->how == OBSERVED_DONE && !end->lost, e->t_chunk_ns ? e->t_chunk_ns : end->t_ns);
    pthread_mutex_lock(&e->m->lock);
    leave(e, end);
    metering_changed(e->m, e->x);
    pthread_mutex_unlock(&e->m->lock);
    recogniser_close(e->recogniser);
    free(e);
}

void metering_observer_init(struct metering *m)
{
    m->observer =
        (struct observer){.user = m, .begin = on_begin, .request = on_request, .head = on_head, .chunk = on_chunk, .end = on_end};
}
