/* samples.c - traces: one blob for a channel and second (pack.c). Written from the meter's sink thread while the run goes on. */
#include "store/db.h"
#include "store/pack.h"

#include <stdlib.h>
#include <string.h>

struct second {
    const char *run_id;
    int64_t index, first_ns, n;
    struct jl_buf about, bytes;
};

static int insert_samples(struct store *s, void *arg)
{
    const struct second *x = arg;
    int rc = sql_run(s->db, "INSERT OR IGNORE INTO traces(run_id, channel, about) VALUES(?,?,?)", "tit", x->run_id, x->index,
                     x->about.data);
    if (rc != SQLITE_OK)
        return rc;
    return sql_run(s->db, "INSERT INTO samples(run_id, channel, first_ns, n, bytes) VALUES(?,?,?,?,?)", "tiiib", x->run_id,
                   x->index, x->first_ns, x->n, (const void *)x->bytes.data, x->bytes.len);
}

enum joulet_status store_samples(struct store *s, const char *run_id, const struct joulet_channel *channel, size_t channel_index,
                                 const struct joulet_sample *samples, size_t n, struct joulet_error *err)
{
    if (n == 0)
        return jl_ok(err);
    struct second x = {.run_id = run_id, .index = (int64_t)channel_index, .first_ns = samples[0].t_ns, .n = (int64_t)n};
    jl_buf_init(&x.about, 1 << 16);
    jl_buf_init(&x.bytes, STORE_BLOB_MAX);
    enum joulet_status st = run_channel_to_json(channel, &x.about, err);
    if (st == JOULET_OK && !store_pack(&x.bytes, samples, n))
        st = jl_fail(err, JOULET_LIMIT, "%zu samples of %s at once are more than the store takes; choose a longer --interval", n,
                     channel->id);
    if (st == JOULET_OK)
        st = store_transact(s, false, insert_samples, &x, "writing samples", err);
    jl_buf_release(&x.about);
    jl_buf_release(&x.bytes);
    return st;
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* The channel with strings that live as long as the store. */
static enum joulet_status load_channel(struct store *s, const char *run_id, size_t index, struct joulet_channel *out,
                                       struct joulet_error *err)
{
    for (struct store_channel *c = s->channels; c; c = c->next)
        if (c->index == index && !strcmp(c->run_id, run_id)) {
            *out = c->c;
            return jl_ok(err);
        }
    sqlite3_stmt *q = NULL;
    enum joulet_status st;
    struct store_channel *c = calloc(1, sizeof *c);
    int rc = c ? sql_prepare(s->db, &q, "SELECT about FROM traces WHERE run_id=? AND channel=?", "ti", run_id, (int64_t)index)
               : SQLITE_NOMEM;
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    if (rc == SQLITE_ROW)
        st = run_channel_from_json(sql_text(q, 0), (size_t)sqlite3_column_bytes(q, 0), &c->c, err);
    else if (rc == SQLITE_DONE)
        st = jl_fail(err, JOULET_NOT_FOUND,
                     "%s holds no samples of channel %zu of run %s; they come with the run, not with an imported record", s->path,
                     index, run_id);
    else
        st = store_fail(s, rc, "reading samples", err);
    sqlite3_finalize(q);
    if (st != JOULET_OK) {
        free(c);
        return st;
    }
    sqlite3_snprintf(sizeof c->run_id, c->run_id, "%s", run_id);
    c->index = index;
    c->next = s->channels;
    s->channels = c;
    *out = c->c;
    return st;
}

/* Adds one blob; a sample takes at least three bytes, so a damaged count cannot ask for much memory. */
static enum joulet_status append(struct store *s, sqlite3_stmt *q, struct joulet_trace *out, struct joulet_error *err)
{
    int64_t n = sqlite3_column_int64(q, 0);
    const void *bytes = sqlite3_column_blob(q, 1);
    size_t size = (size_t)sqlite3_column_bytes(q, 1);
    if (n <= 0 || (uint64_t)n > size / 3 || !bytes)
        return store_fail(s, SQLITE_CORRUPT, "reading samples", err);
    struct joulet_sample *grown = realloc(out->samples, (out->n + (size_t)n) * sizeof *grown);
    if (!grown)
        return store_fail(s, SQLITE_NOMEM, "reading samples", err);
    out->samples = grown;
    if (!store_unpack(bytes, size, grown + out->n, (size_t)n))
        return store_fail(s, SQLITE_CORRUPT, "reading samples", err);
    out->n += (size_t)n;
    return JOULET_OK;
}

static enum joulet_status load_samples(struct store *s, const char *run_id, size_t index, struct joulet_trace *out,
                                       struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    enum joulet_status st = jl_ok(err);
    int rc = sql_prepare(s->db, &q, "SELECT n, bytes FROM samples WHERE run_id=? AND channel=? ORDER BY first_ns, rowid", "ti",
                         run_id, (int64_t)index);
    while (st == JOULET_OK && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        st = append(s, q, out, err);
        rc = SQLITE_OK;
    }
    if (st == JOULET_OK && rc != SQLITE_DONE)
        st = store_fail(s, rc, "reading samples", err);
    sqlite3_finalize(q);
    return st;
}

enum joulet_status store_load_trace(struct store *s, const char *run_id, size_t channel_index, struct joulet_trace *out,
                                    struct joulet_error *err)
{
    *out = (struct joulet_trace){0};
    store_lock(s);
    enum joulet_status st = load_channel(s, run_id, channel_index, &out->channel, err);
    if (st == JOULET_OK)
        st = load_samples(s, run_id, channel_index, out, err);
    store_unlock(s);
    if (st != JOULET_OK)
        joulet_trace_release(out);
    return st;
}
