/* ring.c - traces in memory: chunks of samples from one pool with a bound. A chunk that a full pool gives up is used again at
 * once, so a meter that has run for a while allocates nothing. */
#include "lib/meter/ring.h"

#include <stdlib.h>
#include <string.h>

bool ring_store_init(struct ring_store *s, size_t max_bytes, size_t max_rings)
{
    pthread_mutexattr_t attr;
    *s = (struct ring_store){.max_rings = max_rings};
    s->max_chunks = max_bytes / sizeof(struct ring_chunk);
    s->rings = calloc(max_rings, sizeof(struct ring *));
    if (!s->rings)
        return false;
    /* Inheritance: a reader that is not real-time must not hold up the sampler that is. */
    pthread_mutexattr_init(&attr);
    pthread_mutexattr_setprotocol(&attr, PTHREAD_PRIO_INHERIT);
    bool ok = pthread_mutex_init(&s->lock, &attr) == 0;
    pthread_mutexattr_destroy(&attr);
    if (!ok)
        free(s->rings);
    return ok;
}

static struct ring_chunk *chunk_at(const struct ring *r, size_t i)
{
    return r->chunks[(r->head + i) % r->cap];
}

static const struct joulet_sample *sample_at(const struct ring *r, uint64_t index)
{
    const struct ring_chunk *first = chunk_at(r, 0);
    uint64_t offset = index - first->first;
    return &chunk_at(r, (size_t)(offset / RING_CHUNK))->s[offset % RING_CHUNK];
}

void ring_store_release(struct ring_store *s)
{
    for (size_t i = 0; i < s->n_rings; i++) {
        struct ring *r = s->rings[i];
        for (size_t k = 0; k < r->count; k++)
            free(chunk_at(r, k));
        free(r->chunks);
        *r = (struct ring){0};
    }
    for (struct ring_chunk *c = s->free_chunks, *next; c; c = next) {
        next = c->next_free;
        free(c);
    }
    free(s->rings);
    pthread_mutex_destroy(&s->lock);
    *s = (struct ring_store){0};
}

bool ring_add(struct ring_store *s, struct ring *r)
{
    pthread_mutex_lock(&s->lock);
    bool ok = s->n_rings < s->max_rings;
    if (ok)
        s->rings[s->n_rings++] = r;
    pthread_mutex_unlock(&s->lock);
    return ok;
}

/* ---- the pool ------------------------------------------------------------------------------------------------------ */

/* The channel whose oldest sample is the oldest of all. One chunk is left to each: the newest samples never go. */
static struct ring *oldest_ring(struct ring_store *s)
{
    struct ring *oldest = NULL;
    for (size_t i = 0; i < s->n_rings; i++) {
        struct ring *r = s->rings[i];
        if (r->count >= 2 && (!oldest || chunk_at(r, 0)->s[0].t_ns < chunk_at(oldest, 0)->s[0].t_ns))
            oldest = r;
    }
    return oldest;
}

static struct ring_chunk *evict(struct ring_store *s)
{
    struct ring *r = oldest_ring(s);
    if (!r)
        return NULL;
    struct ring_chunk *c = chunk_at(r, 0);
    uint64_t end = c->first + RING_CHUNK;
    r->head = (r->head + 1) % r->cap;
    r->count--;
    r->begin = end;
    if (r->handed < end) {
        s->dropped += end - r->handed;
        r->handed = end;
    }
    return c;
}

static struct ring_chunk *get_chunk(struct ring_store *s)
{
    struct ring_chunk *c = s->free_chunks;
    if (c) {
        s->free_chunks = c->next_free;
        return c;
    }
    if (s->n_chunks >= s->max_chunks && (c = evict(s)))
        return c;
    c = malloc(sizeof(*c));
    if (!c)
        return evict(s);
    s->n_chunks++;
    return c;
}

static bool grow_slots(struct ring *r)
{
    size_t cap = r->cap ? 2 * r->cap : 8;
    struct ring_chunk **chunks = malloc(cap * sizeof(struct ring_chunk *));
    if (!chunks)
        return false;
    for (size_t i = 0; i < r->count; i++)
        chunks[i] = chunk_at(r, i);
    free(r->chunks);
    r->chunks = chunks;
    r->cap = cap;
    r->head = 0;
    return true;
}

static bool add_chunk(struct ring_store *s, struct ring *r)
{
    if (r->count == r->cap && !grow_slots(r))
        return false;
    struct ring_chunk *c = get_chunk(s); /* may take one of this channel's own: count and head are as they are after it */
    if (!c)
        return false;
    c->first = r->end;
    r->chunks[(r->head + r->count) % r->cap] = c;
    r->count++;
    return true;
}

/* ---- writing --------------------------------------------------------------------------------------------------------- */

static void keep_ascending(const struct ring *r, struct joulet_sample *sample)
{
    if (r->end == r->begin)
        return;
    int64_t last = sample_at(r, r->end - 1)->t_ns;
    if (sample->t_ns > last)
        return;
    uint64_t hw = (uint64_t)sample->hw_ns + (uint64_t)(last + 1 - sample->t_ns);
    sample->hw_ns = hw > UINT32_MAX ? UINT32_MAX : (uint32_t)hw;
    sample->t_ns = last + 1;
}

void ring_push(struct ring_store *s, struct ring *r, struct joulet_sample sample)
{
    pthread_mutex_lock(&s->lock);
    keep_ascending(r, &sample);
    bool full = r->count == 0 || r->end - chunk_at(r, r->count - 1)->first == RING_CHUNK;
    if (full && !add_chunk(s, r)) {
        s->dropped++;
    } else {
        struct ring_chunk *c = chunk_at(r, r->count - 1);
        c->s[r->end - c->first] = sample;
        r->end++;
    }
    pthread_mutex_unlock(&s->lock);
}

static void give_back_empty_chunk(struct ring_store *s, struct ring *r)
{
    struct ring_chunk *c = chunk_at(r, r->count - 1);
    if (c->first != r->end)
        return;
    r->count--;
    c->next_free = s->free_chunks;
    s->free_chunks = c;
}

void ring_retract(struct ring_store *s, struct ring *r, int64_t t_ns, uint32_t keep)
{
    pthread_mutex_lock(&s->lock);
    while (r->end > r->begin && r->end > r->handed && r->end > 1) {
        const struct joulet_sample *last = sample_at(r, r->end - 1);
        if (last->t_ns <= t_ns || last->flags & keep)
            break;
        r->end--;
        give_back_empty_chunk(s, r);
    }
    pthread_mutex_unlock(&s->lock);
}

/* ---- reading --------------------------------------------------------------------------------------------------------- */

bool ring_last(struct ring_store *s, struct ring *r, struct joulet_sample *out)
{
    pthread_mutex_lock(&s->lock);
    bool any = r->end > r->begin;
    if (any)
        *out = *sample_at(r, r->end - 1);
    pthread_mutex_unlock(&s->lock);
    return any;
}

size_t ring_take(struct ring_store *s, struct ring *r, int64_t cutoff_ns, struct joulet_sample *out, size_t max)
{
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (; n < max && r->handed < r->end; n++, r->handed++) {
        const struct joulet_sample *next = sample_at(r, r->handed);
        if (next->t_ns >= cutoff_ns || (n > 0 && next->t_ns / JL_NS_PER_S != out[0].t_ns / JL_NS_PER_S))
            break;
        out[n] = *next;
    }
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* Index of the first sample at or after t; `end` when there is none. */
static uint64_t find(const struct ring *r, int64_t t_ns)
{
    uint64_t lo = r->begin, hi = r->end;
    while (lo < hi) {
        uint64_t mid = lo + (hi - lo) / 2;
        if (sample_at(r, mid)->t_ns < t_ns)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* What ring_copy copies, as indices. false when samples of [from, to] are gone. */
static bool choose(const struct ring *r, int64_t from, int64_t to, size_t lead, uint64_t *first, uint64_t *last)
{
    uint64_t a = find(r, from), b = find(r, to);
    bool at_from = a < r->end && sample_at(r, a)->t_ns == from;
    if (a > r->begin && !at_from)
        a--;
    else if (a == r->begin && !at_from && r->begin > 0)
        return false;
    *first = a - r->begin > lead ? a - lead : r->begin;
    *last = r->end - b > lead + 1 ? b + lead + 1 : r->end;
    return true;
}

/* The lock is given up between slices: copying a long trace must not stop the sampler. Meanwhile the end may have been taken
 * back: *last is then less. false if the beginning was given up. */
static bool copy_slices(struct ring_store *s, struct ring *r, uint64_t first, uint64_t *last, struct joulet_sample *out)
{
    enum { SLICE = 1024 };
    bool held = true;
    for (uint64_t i = first; held && i < *last;) {
        pthread_mutex_lock(&s->lock);
        held = i >= r->begin;
        *last = *last < r->end ? *last : r->end;
        uint64_t stop = *last > i + SLICE ? i + SLICE : *last;
        for (; held && i < stop; i++)
            out[i - first] = *sample_at(r, i);
        pthread_mutex_unlock(&s->lock);
    }
    return held;
}

enum joulet_status ring_copy(struct ring_store *s, struct ring *r, int64_t from, int64_t to, size_t lead,
                             struct joulet_sample **samples, size_t *n)
{
    uint64_t first = 0, last = 0;
    *samples = NULL;
    *n = 0;
    pthread_mutex_lock(&s->lock);
    bool held = choose(r, from, to, lead, &first, &last);
    pthread_mutex_unlock(&s->lock);
    if (!held)
        return JOULET_NO_DATA;
    struct joulet_sample *out = malloc((size_t)(last - first + 1) * sizeof(*out));
    if (!out)
        return JOULET_MEMORY;
    if (!copy_slices(s, r, first, &last, out)) {
        free(out);
        return JOULET_NO_DATA;
    }
    *samples = out;
    *n = last > first ? (size_t)(last - first) : 0;
    return JOULET_OK;
}

bool ring_store_pressed(struct ring_store *s)
{
    uint64_t waiting = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->n_rings; i++)
        waiting += s->rings[i]->end - s->rings[i]->handed;
    pthread_mutex_unlock(&s->lock);
    return waiting > (uint64_t)s->max_chunks * RING_CHUNK / 2;
}

size_t ring_store_bytes(struct ring_store *s)
{
    pthread_mutex_lock(&s->lock);
    size_t bytes = s->n_chunks * sizeof(struct ring_chunk);
    pthread_mutex_unlock(&s->lock);
    return bytes;
}

uint64_t ring_store_dropped(struct ring_store *s)
{
    pthread_mutex_lock(&s->lock);
    uint64_t n = s->dropped;
    pthread_mutex_unlock(&s->lock);
    return n;
}
