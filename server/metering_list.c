/* metering_list.c - requests in memory by what is asked about them, and followed as they change. What changes is noted in a ring
 * of places of the table: a follower that is slow is told the latest state of each, and how many changes went by unseen. */
#include "server/metering_private.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* "llama3:8b", or "llama3*" of all that begin so. */
static bool is_like(const char *text, const char *wanted)
{
    size_t n = wanted ? strlen(wanted) : 0;
    if (!wanted || !text)
        return !wanted;
    return n && wanted[n - 1] == '*' ? strncmp(text, wanted, n - 1) == 0 : strcmp(text, wanted) == 0;
}

int metering_compare(const struct metering_cursor *a, const struct metering_cursor *b)
{
    return a->wall_ns != b->wall_ns ? (a->wall_ns < b->wall_ns ? -1 : 1) : strcmp(a->id, b->id);
}

static struct metering_cursor key_of(const struct metered *x)
{
    struct metering_cursor key = {.wall_ns = x->wall_ns};
    memcpy(key.id, x->id, sizeof key.id);
    return key;
}

static bool passes(const struct metering *m, const struct metered *x, const struct metering_filter *f)
{
    const char *upstream = x->engine == NOWHERE ? NULL : m->engines[x->engine].upstream;
    char client[WHO_CLIENT];
    who_client(&x->who, client);
    struct metering_cursor key = key_of(x);
    return x->used && (!f->before.id[0] || metering_compare(&key, &f->before) < 0) &&
           (!f->after.id[0] || metering_compare(&key, &f->after) > 0) && is_like(x->r.model, f->model) &&
           is_like(upstream, f->upstream) && is_like(client, f->client) && is_like(x->who.session, f->session) &&
           is_like(metering_state_name(x), f->state) && is_like(recognised_kind_name(x->r.kind), f->kind) &&
           is_like(x->r.protocol, f->protocol) && (!f->since_ns || x->wall_ns >= f->since_ns) &&
           (!f->until_ns || x->wall_ns < f->until_ns);
}

static int newest_first(const void *a, const void *b)
{
    return metering_compare(&((const struct chosen *)b)->key, &((const struct chosen *)a)->key);
}

struct chosen *metering_choose(struct metering *m, const struct metering_filter *f, size_t *n)
{
    struct chosen *all = malloc(METERING_REQUESTS * sizeof *all);
    *n = 0;
    if (!all)
        return NULL;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < METERING_REQUESTS; i++)
        if (passes(m, &m->table[i], f))
            all[(*n)++] = (struct chosen){key_of(&m->table[i]), m->table[i].number, &m->table[i]};
    pthread_mutex_unlock(&m->lock);
    qsort(all, *n, sizeof *all, newest_first);
    return all;
}

/* ---- as they go ------------------------------------------------------------------------------------------------------------ */

void metering_changed(struct metering *m, struct metered *x)
{
    uint64_t now = atomic_load(&m->changes) + 1;
    x->changed = now;
    if (!x->began)
        x->began = now;
    m->change_log[now % METERING_CHANGES] = (uint32_t)(x - m->table);
    atomic_store(&m->changes, now);
}

static bool is_final(const struct metered *x)
{
    return !x->live && !metering_waits(x);
}

static void tell(struct metering *m, const struct metered *x, const char *event, struct jl_buf *out)
{
    jl_buf_printf(out, "event: %s\ndata: ", is_final(x) ? "final" : event);
    metering_put_request(m, x, out);
    jl_buf_str(out, "\n\n");
}

/* Once: what is under way, after the latest f->limit of the others, oldest first. */
static void tell_present(struct metering *m, const struct metering_filter *f, struct metering_place *p, struct jl_buf *out)
{
    size_t n, over = 0;
    p->seen = p->caught_up = atomic_load(&m->changes);
    p->begun = true;
    struct chosen *all = metering_choose(m, f, &n);
    bool *told = all ? calloc(n + 1, sizeof *told) : NULL;
    out->failed |= !told;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; told && i < n; i++)
        told[i] = !is_final(all[i].at) || over++ < f->limit;
    pthread_mutex_unlock(&m->lock);
    for (size_t i = told ? n : 0; i-- > 0;) {
        pthread_mutex_lock(&m->lock);
        if (told[i] && all[i].at->used && all[i].at->number == all[i].number)
            tell(m, all[i].at, "begin", out);
        pthread_mutex_unlock(&m->lock);
    }
    free(told);
    free(all);
}

/* What the ring no longer has. */
static void tell_lost(struct metering *m, struct metering_place *p, struct jl_buf *out)
{
    uint64_t now = atomic_load(&m->changes);
    if (now - p->seen <= METERING_CHANGES)
        return;
    jl_buf_printf(out, "event: lost\ndata: {\"lost\":%" PRIu64 "}\n\n", now - METERING_CHANGES - p->seen);
    p->seen = now - METERING_CHANGES;
}

void metering_follow_requests(struct metering *m, const struct metering_filter *f, struct metering_place *p, size_t most,
                              struct jl_buf *out)
{
    if (!p->begun)
        tell_present(m, f, p, out);
    if (atomic_load(&m->changes) == p->seen)
        return;
    pthread_mutex_lock(&m->lock);
    tell_lost(m, p, out);
    for (uint64_t now = atomic_load(&m->changes); p->seen < now && most;) {
        const struct metered *x = &m->table[m->change_log[++p->seen % METERING_CHANGES]];
        if (x->changed != p->seen || !passes(m, x, f)) /* it changed again: told then */
            continue;
        tell(m, x, x->began > p->caught_up ? "begin" : "change", out);
        most--;
    }
    if (p->seen == atomic_load(&m->changes))
        p->caught_up = p->seen;
    pthread_mutex_unlock(&m->lock);
}
