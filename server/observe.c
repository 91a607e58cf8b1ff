/* observe.c - the ring between the streams and the observer. Streams write records under a lock that is held for a copy; the
 * observer's thread takes the lock to look where the ring ends, and reads without it. It is woken by nobody while exchanges are
 * under way, because waking costs the stream more than the copy: it looks twenty times a second. */
#include "server/observe.h"

#include "lib/platform/platform.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_NS 50000000
#define ALIGN         ((size_t)16)

enum what { REQUEST, REQUEST_END, HEAD, CHUNK, CHUNK_UP, END, SKIP /* the rest of the ring is not used */ };

struct record {
    struct watched *w;
    int64_t t_ns;
    uint32_t n; /* bytes behind it */
    uint16_t status;
    uint8_t what, flag;
};

struct watched {
    struct observation *o;
    struct observed seen;
    size_t requested;
    /* of the observer's thread */
    void *state;
    bool begun;
    /* under the lock */
    bool lost;
    struct observed_end end;
    struct watched *next; /* ended while the ring was full */
    size_t text_n;
    struct net_header headers[]; /* and behind them the text of seen and headers */
};

struct observation {
    struct observer observer;
    pthread_mutex_t lock;
    pthread_cond_t begun;
    char *ring;
    size_t size;
    uint64_t head, tail; /* bytes ever written and read: head - tail are in the ring */
    struct watched *overdue;
    size_t open;
    int64_t seen_ns; /* what was put before then was told */
    bool telling;    /* what was taken out of the ring may not be told yet */
    bool stop;
    atomic_bool ended;
    atomic_ullong n_lost;
    struct jl_thread *thread;
};

/* ---- writing -------------------------------------------------------------------------------------------------------------- */

static size_t aligned(size_t n)
{
    return (n + ALIGN - 1) & ~(ALIGN - 1);
}

/* Place for a record in one piece, NULL when the ring is full. Under the lock. */
static char *place_for(struct observation *o, size_t n)
{
    if (o->head == o->tail) /* nothing is in it: from its begin on again, so that no more of its memory is used than is needed */
        o->head = o->tail = (o->head + o->size - 1) / o->size * o->size;
    size_t need = aligned(sizeof(struct record)) + aligned(n), at = (size_t)(o->head % o->size), left = o->size - at;
    size_t skip = left < need ? left : 0;
    if (need > o->size / 2 || o->head - o->tail + skip + need > o->size)
        return NULL;
    if (skip) { /* left is a multiple of ALIGN, and a record needs no more than two of them */
        if (skip >= sizeof(struct record))
            *(struct record *)(void *)(o->ring + at) = (struct record){.what = SKIP};
        o->head += skip;
        at = 0;
    }
    return o->ring + at;
}

static void put(struct watched *w, struct record r, const void *bytes, size_t n)
{
    struct observation *o = w->o;
    pthread_mutex_lock(&o->lock);
    char *place = w->lost && r.what != END ? NULL : place_for(o, n);
    if (place) {
        r.w = w;
        r.n = (uint32_t)n;
        if (r.what == END)
            r.flag = w->lost;
        *(struct record *)(void *)place = r;
        if (n)
            memcpy(place + aligned(sizeof(r)), bytes, n);
        o->head += aligned(sizeof(r)) + aligned(n);
    } else {
        w->lost = true;
        if (r.what == END) {
            w->end = (struct observed_end){.how = (enum observed_how)r.status, .lost = true, .t_ns = r.t_ns};
            w->next = o->overdue;
            o->overdue = w;
        }
    }
    if (r.what == END)
        o->open--;
    pthread_mutex_unlock(&o->lock);
}

static size_t text_size(const struct observed *x)
{
    size_t n = strlen(x->upstream) + strlen(x->method) + strlen(x->target) + 3;
    for (size_t i = 0; i < x->n_headers; i++)
        n += strlen(x->headers[i].name) + strlen(x->headers[i].value) + 2;
    return n;
}

static const char *keep(char **at, const char *s)
{
    char *begin = *at;
    size_t n = strlen(s) + 1;
    memcpy(begin, s, n);
    *at += n;
    return begin;
}

/* One block, and one that malloc does not keep for the thread that frees it: it is freed by another one, and with thousands of
 * threads each would come to hold seven of them. */
static struct watched *watched_new(const struct observed *x)
{
    size_t text = text_size(x), n = sizeof(struct watched) + x->n_headers * sizeof(struct net_header) + text;
    struct watched *w = jl_malloc_unkept(n);
    if (w)
        *w = (struct watched){.text_n = text};
    return w;
}

static char *text_of(struct watched *w)
{
    return (char *)(w->headers + w->seen.n_headers);
}

struct watched *watched_begin(struct observation *o, const struct observed *x)
{
    struct watched *w = o ? watched_new(x) : NULL;
    if (!w)
        return NULL;
    w->o = o;
    w->seen = *x;
    char *at = text_of(w);
    w->seen.upstream = keep(&at, x->upstream);
    w->seen.method = keep(&at, x->method);
    w->seen.target = keep(&at, x->target);
    w->seen.headers = w->headers;
    for (size_t i = 0; i < x->n_headers; i++) {
        w->headers[i].name = keep(&at, x->headers[i].name);
        w->headers[i].value = keep(&at, x->headers[i].value);
    }
    pthread_mutex_lock(&o->lock);
    if (o->open++ == 0)
        pthread_cond_signal(&o->begun);
    pthread_mutex_unlock(&o->lock);
    return w;
}

void watched_request(struct watched *w, const char *bytes, size_t n, bool whole, int64_t t_ns)
{
    if (!w)
        return;
    if (n == 0) {
        put(w, (struct record){.what = REQUEST_END, .flag = whole, .t_ns = t_ns}, NULL, 0);
        return;
    }
    for (size_t room = OBSERVE_BODY_MAX - w->requested; n && room; room = OBSERVE_BODY_MAX - w->requested) {
        size_t piece = n < 65536 ? n : 65536;
        piece = piece < room ? piece : room;
        put(w, (struct record){.what = REQUEST, .t_ns = t_ns}, bytes, piece);
        w->requested += piece;
        bytes += piece;
        n -= piece;
    }
}

void watched_head(struct watched *w, int status, const struct net_header *headers, size_t n, int64_t t_ns)
{
    struct jl_buf text;
    if (!w)
        return;
    jl_buf_init_unkept(&text, 1 << 16);
    for (size_t i = 0; i < n; i++) {
        jl_buf_add(&text, headers[i].name, strlen(headers[i].name) + 1);
        jl_buf_add(&text, headers[i].value, strlen(headers[i].value) + 1);
    }
    put(w, (struct record){.what = HEAD, .status = (uint16_t)status, .t_ns = t_ns}, text.data, text.failed ? 0 : text.len);
    jl_buf_release(&text);
}

void watched_chunk(struct watched *w, bool from_client, const char *bytes, size_t n, int64_t t_ns)
{
    if (w && n)
        put(w, (struct record){.what = from_client ? CHUNK_UP : CHUNK, .t_ns = t_ns}, bytes, n);
}

void watched_end(struct watched *w, enum observed_how how, int64_t t_ns)
{
    if (w)
        put(w, (struct record){.what = END, .status = (uint16_t)how, .t_ns = t_ns}, NULL, 0);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void tell_head(struct watched *w, const struct record *r, const char *bytes)
{
    enum { MOST = 128 };
    struct net_header headers[MOST];
    size_t n = 0;
    for (const char *p = bytes, *end = bytes + r->n; p < end && n < MOST; n++) {
        headers[n].name = p;
        headers[n].value = p + strlen(p) + 1;
        p = headers[n].value + strlen(headers[n].value) + 1;
    }
    w->o->observer.head(w->state, r->status, headers, n, r->t_ns);
}

static void watched_free(struct watched *w)
{
    explicit_bzero(text_of(w), w->text_n); /* there are keys among the headers */
    free(w);
}

static void finish(struct watched *w, const struct observed_end *e)
{
    const struct observer *ob = &w->o->observer;
    if (e->lost)
        atomic_fetch_add(&w->o->n_lost, 1);
    if (!w->begun)
        w->state = ob->begin(ob->user, &w->seen);
    if (w->state)
        ob->end(w->state, e);
    watched_free(w);
}

static void tell(const struct record *r, const char *bytes)
{
    struct watched *w = r->w;
    const struct observer *ob = &w->o->observer;
    if (r->what == END) {
        struct observed_end e = {.how = (enum observed_how)r->status, .lost = r->flag, .t_ns = r->t_ns};
        finish(w, &e);
        return;
    }
    if (!w->begun)
        w->state = ob->begin(ob->user, &w->seen);
    w->begun = true;
    if (!w->state)
        return;
    if ((r->what == REQUEST || r->what == REQUEST_END) && ob->request)
        ob->request(w->state, bytes, r->n, r->flag, r->t_ns);
    else if (r->what == HEAD && ob->head)
        tell_head(w, r, bytes);
    else if ((r->what == CHUNK || r->what == CHUNK_UP) && ob->chunk)
        ob->chunk(w->state, r->what == CHUNK_UP, bytes, r->n, r->t_ns);
}

/* All records up to `head`, giving back their place one by one. */
static void read_ring(struct observation *o, uint64_t tail, uint64_t head)
{
    while (tail < head) {
        size_t at = (size_t)(tail % o->size), used = o->size - at;
        const struct record *r = (const struct record *)(const void *)(o->ring + at);
        if (used >= sizeof(*r) && r->what != SKIP) {
            used = aligned(sizeof(*r)) + aligned(r->n);
            tell(r, o->ring + at + aligned(sizeof(*r)));
        }
        tail += used;
        pthread_mutex_lock(&o->lock);
        o->tail = tail;
        pthread_mutex_unlock(&o->lock);
    }
}

/* Those that ended while the ring was full: their records, if any, were before `head`. */
static void read_overdue(struct watched *w)
{
    while (w) {
        struct watched *next = w->next;
        finish(w, &w->end);
        w = next;
    }
}

static void run(void *arg)
{
    struct observation *o = arg;
    bool stop = false;
    while (!stop) {
        pthread_mutex_lock(&o->lock);
        o->telling = false;
        while (!o->open && !o->stop && o->head == o->tail && !o->overdue)
            pthread_cond_wait(&o->begun, &o->lock);
        uint64_t head = o->head, tail = o->tail;
        struct watched *overdue = o->overdue;
        o->overdue = NULL;
        bool idle = head == o->tail && !overdue;
        stop = o->stop && idle;
        if (idle)
            o->seen_ns = jl_mono_ns();
        o->telling = !idle;
        pthread_mutex_unlock(&o->lock);
        read_ring(o, tail, head);
        read_overdue(overdue);
        if (o->observer.pause)
            o->observer.pause(o->observer.user);
        if (idle && !stop)
            jl_sleep_until(jl_mono_ns() + LOOK_EVERY_NS);
    }
    atomic_store(&o->ended, true);
}

/* ---- all of it --------------------------------------------------------------------------------------------------- */

static void observation_free(struct observation *o)
{
    pthread_mutex_destroy(&o->lock);
    pthread_cond_destroy(&o->begun);
    free(o->ring);
    free(o);
}

enum joulet_status observation_open(struct observation **out, const struct observer *observer, size_t ring_bytes,
                                    struct joulet_error *err)
{
    *out = NULL;
    struct observation *o = calloc(1, sizeof(*o));
    if (!o)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    o->observer = *observer;
    o->size = aligned(ring_bytes);
    o->ring = malloc(o->size);
    pthread_mutex_init(&o->lock, NULL);
    pthread_cond_init(&o->begun, NULL);
    enum joulet_status status =
        o->ring ? jl_thread_start(&o->thread, "observe", run, o, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        *out = o;
    else
        observation_free(o);
    return status;
}

bool observation_close(struct observation *o, double patience_s)
{
    if (!o)
        return true;
    int64_t until_ns = jl_mono_ns() + jl_ns(patience_s);
    pthread_mutex_lock(&o->lock);
    o->stop = true;
    pthread_cond_signal(&o->begun);
    pthread_mutex_unlock(&o->lock);
    while (!atomic_load(&o->ended) && jl_mono_ns() < until_ns)
        jl_sleep_until(jl_mono_ns() + LOOK_EVERY_NS);
    if (!atomic_load(&o->ended)) { /* it hangs: whoever stops us ends it with the process */
        jl_thread_leave(o->thread);
        return false;
    }
    jl_thread_join(o->thread);
    observation_free(o);
    return true;
}

uint64_t observation_lost(const struct observation *o)
{
    return o ? atomic_load(&o->n_lost) : 0;
}

int64_t observation_seen_ns(struct observation *o)
{
    pthread_mutex_lock(&o->lock);
    int64_t t_ns = !o->open && o->head == o->tail && !o->overdue && !o->telling ? jl_mono_ns() : o->seen_ns;
    pthread_mutex_unlock(&o->lock);
    return t_ns;
}
