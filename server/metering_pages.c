/* metering_pages.c - a page of the list of all requests: those in memory and those in the store, in one order of time. What is in
 * memory is newer than its row. A page has the same cursor wherever its requests lie, and after a restart. */
#include "report/put.h"
#include "server/metering_ledger.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct entry {
    struct chosen x; /* at NULL: it is stored */
    char *body;
};

struct page {
    struct metering *m;
    struct entry *entries;
    size_t n, n_stored, most; /* most: of stored ones */
    bool failed;
};

/* Of a request in memory the row is older, also when what it is now does not pass. */
static bool on_row(void *user, const struct store_proxied *q)
{
    struct page *p = user;
    pthread_mutex_lock(&p->m->lock);
    bool remembered = metering_find(p->m, q->id) != NULL;
    pthread_mutex_unlock(&p->m->lock);
    if (remembered)
        return true;
    struct entry *e = &p->entries[p->n];
    *e = (struct entry){.x.key.wall_ns = q->wall_ns, .body = jl_strdup(q->body)};
    snprintf(e->x.key.id, sizeof e->x.key.id, "%s", q->id);
    p->failed |= !e->body;
    p->n += e->body != NULL;
    p->n_stored += e->body != NULL;
    return !p->failed && p->n_stored < p->most;
}

/* False: there is no store, or it cannot be read now. */
static bool read_stored(struct page *p, const struct metering_filter *f)
{
    struct store_wanted w = {.since_ns = f->since_ns,
                             .until_ns = f->until_ns,
                             .session = f->session,
                             .model = f->model,
                             .client = f->client,
                             .upstream = f->upstream,
                             .state = f->state,
                             .kind = f->kind,
                             .protocol = f->protocol,
                             .by_beginnings = true,
                             .before = {f->before.wall_ns, f->before.id[0] ? f->before.id : NULL},
                             .after = {f->after.wall_ns, f->after.id[0] ? f->after.id : NULL},
                             .newest_first = !f->after.id[0]};
    struct store *s;
    if (!p->m->ledger || ledger_store(p->m->ledger, &s, NULL) != JOULET_OK)
        return false;
    bool read = store_each_proxied(s, &w, true, on_row, p, NULL) == JOULET_OK;
    store_close(s);
    return read;
}

static int newest_first(const void *a, const void *b)
{
    return metering_compare(&((const struct entry *)b)->x.key, &((const struct entry *)a)->x.key);
}

static void put_cursor(struct jl_buf *out, const char *key, bool is, const struct metering_cursor *at)
{
    char text[48];
    snprintf(text, sizeof text, "%" PRId64 "-%s", at->wall_ns, at->id);
    put_text(out, key, is ? text : NULL);
}

static void put_counts(struct metering *m, struct jl_buf *out)
{
    pthread_mutex_lock(&m->lock);
    put_count(out, "seen", (int64_t)m->n_requests);
    put_count(out, "final", (int64_t)m->n_final);
    put_count(out, "unmetered", (int64_t)m->n_unmetered);
    pthread_mutex_unlock(&m->lock);
}

/* The lock is taken for each: a stream that wants a figure waits for one request, not for all. */
static void put_entry(struct metering *m, const struct entry *e, struct jl_buf *out)
{
    if (e->body) {
        put_sep(out);
        jl_buf_printf(out, "\n%s", e->body);
        return;
    }
    pthread_mutex_lock(&m->lock);
    if (e->x.at->used && e->x.at->number == e->x.number) {
        put_sep(out);
        jl_buf_str(out, "\n");
        metering_put_request(m, e->x.at, out);
    }
    pthread_mutex_unlock(&m->lock);
}

static void put_page(const struct page *p, const struct metering_filter *f, bool stored, struct jl_buf *out)
{
    bool more = p->n > f->limit, forwards = f->after.id[0];
    size_t at = more && forwards ? p->n - f->limit : 0; /* those that follow it, not the newest */
    size_t n = more ? f->limit : p->n;
    put_begin(out, NULL, '{');
    put_text(out, "schema", "joulet.requests/1");
    put_counts(p->m, out);
    put_bool(out, "stored", stored);
    put_cursor(out, "before", n && (more || forwards), n ? &p->entries[at + n - 1].x.key : &f->before);
    put_cursor(out, "after", n || forwards, n ? &p->entries[at].x.key : &f->after);
    put_begin(out, "requests", '[');
    for (size_t i = 0; i < n; i++)
        put_entry(p->m, &p->entries[at + i], out);
    jl_buf_str(out, "]}\n");
}

void metering_write_requests(struct metering *m, const struct metering_filter *f, struct jl_buf *out)
{
    size_t n;
    struct chosen *remembered = metering_choose(m, f, &n);
    struct page p = {.m = m, .entries = malloc((n + f->limit + 1) * sizeof *p.entries), .most = f->limit + 1};
    if (remembered && p.entries) {
        for (; p.n < n; p.n++)
            p.entries[p.n] = (struct entry){.x = remembered[p.n]};
        bool stored = read_stored(&p, f);
        qsort(p.entries, p.n, sizeof *p.entries, newest_first);
        put_page(&p, f, stored, out);
    }
    out->failed |= !remembered || !p.entries || p.failed;
    for (size_t i = 0; p.entries && i < p.n; i++)
        free(p.entries[i].body);
    free(p.entries);
    free(remembered);
}
