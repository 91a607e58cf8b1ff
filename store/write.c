/* write.c - a run as it goes: begun, one request after the other, finished; imported and deleted. Each step is one transaction.
 */
#include "store/db.h"

#include "lib/platform/platform.h"

#include <stdlib.h>
#include <string.h>

/* ---- rows -------------------------------------------------------------------------------------------------------- */

static const char *engine_of(const struct run *r)
{
    static const char *const keys[] = {"name", "protocol", "url"};
    const char *name = NULL;
    for (size_t i = 0; !name && i < JL_COUNT(keys); i++)
        name = run_pairs_get(&r->engine, keys[i]);
    return name;
}

struct head {
    const struct run *r;
    const char *json;
    char owner[128]; /* of the process that measures; "" when nobody does */
};

static int insert_head(struct store *s, void *arg)
{
    const struct head *h = arg;
    const struct run *r = h->r;
    struct run_sums sums;
    run_sum(r, NULL, &sums);
    const struct joulet_energy *e = &r->energy.total;
    return sql_run(
        s->db,
        "INSERT INTO runs(id, kind, title, model, engine, status, started_wall_ns, owner, requests, net_j, net_pm_j, gross_j,"
        " tokens_out, provenance, head) VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)",
        "ttttttitidddiit", r->id, r->kind, r->title ? r->title : r->argv, run_pairs_get(&r->model, "name"), engine_of(r),
        r->status, r->started_wall_ns, h->owner, (int64_t)sums.requests, e->net_j, e->net_pm_j, e->gross_j, sums.tokens_out,
        (int64_t)e->provenance, h->json);
}

struct body {
    const char *run_id;
    const struct run_request *q;
    char *json;
};

static int insert_request(struct store *s, const struct body *b)
{
    const struct run_request *q = b->q;
    const struct joulet_energy *e = &q->energy.total;
    return sql_run(
        s->db,
        "INSERT OR REPLACE INTO requests(run_id, number, counted, outcome, tokens_in, tokens_out, net_j, net_pm_j, gross_j,"
        " provenance, body) VALUES(?,?,?,?,?,?,?,?,?,?,?)",
        "tiitiidddit", b->run_id, q->index, (int64_t)!q->warmup, run_outcome_name(q->outcome), q->tokens.prompt,
        q->tokens.generated, e->net_j, e->net_pm_j, e->gross_j, (int64_t)e->provenance, b->json);
}

static enum joulet_status head_json(const struct run *r, struct jl_buf *b, struct joulet_error *err)
{
    jl_buf_init(b, RUN_JSON_MAX);
    return run_head_to_json(r, b, err);
}

/* ---- begin, request, finish -------------------------------------------------------------------------------------- */

static enum joulet_status write_head(struct store *s, const struct run *r, store_work *work, struct joulet_error *err)
{
    struct jl_buf json;
    enum joulet_status st = head_json(r, &json, err);
    if (st == JOULET_OK) {
        struct head h = {.r = r, .json = json.data};
        if (!jl_process_key(h.owner, sizeof h.owner))
            h.owner[0] = '\0';
        st = store_transact(s, true, work, &h, "writing the run", err);
    }
    jl_buf_release(&json);
    return st;
}

enum joulet_status store_begin(struct store *s, const struct run *r, struct joulet_error *err)
{
    return write_head(s, r, insert_head, err);
}

static int replace_head(struct store *s, void *arg)
{
    const struct head *h = arg;
    int rc = sql_run(s->db, "DELETE FROM runs WHERE id=?", "t", h->r->id);
    return rc == SQLITE_OK ? insert_head(s, arg) : rc;
}

enum joulet_status store_head(struct store *s, const struct run *r, struct joulet_error *err)
{
    return write_head(s, r, replace_head, err);
}

/* A request belongs to a run that is there. */
static int request_work(struct store *s, void *arg)
{
    return insert_request(s, arg);
}

enum joulet_status store_request(struct store *s, const struct run *r, const struct run_request *q, struct joulet_error *err)
{
    struct jl_buf json;
    jl_buf_init(&json, RUN_JSON_MAX);
    enum joulet_status st = run_request_to_json(q, &json, err);
    struct body b = {r->id, q, json.data};
    if (st == JOULET_OK)
        st = store_transact(s, true, request_work, &b, "writing a request", err);
    jl_buf_release(&json);
    return st;
}

struct whole {
    struct head head;
    struct body *bodies; /* n_requests */
};

static int insert_requests(struct store *s, const struct whole *w)
{
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < w->head.r->n_requests; i++)
        rc = insert_request(s, &w->bodies[i]);
    return rc;
}

/* The requests again: one may not have reached the disk, and the last has got its tail since. */
static int finish_work(struct store *s, void *arg)
{
    struct whole *w = arg;
    int rc = replace_head(s, &w->head);
    return rc == SQLITE_OK ? insert_requests(s, w) : rc;
}

static int import_work(struct store *s, void *arg)
{
    struct whole *w = arg;
    int rc = insert_head(s, &w->head);
    return rc == SQLITE_OK ? insert_requests(s, w) : rc;
}

static void whole_release(struct whole *w)
{
    for (size_t i = 0; w->bodies && i < w->head.r->n_requests; i++)
        free(w->bodies[i].json);
    free(w->bodies);
}

/* JSON of all requests: it is made before the database is locked. */
static enum joulet_status whole_init(struct whole *w, const struct run *r, struct joulet_error *err)
{
    enum joulet_status st = jl_ok(err);
    *w = (struct whole){.head = {.r = r}, .bodies = calloc(r->n_requests + 1, sizeof *w->bodies)};
    if (!w->bodies)
        return jl_fail(err, JOULET_MEMORY, "run %s cannot be stored: out of memory", r->id);
    for (size_t i = 0; st == JOULET_OK && i < r->n_requests; i++) {
        struct jl_buf json;
        jl_buf_init(&json, RUN_JSON_MAX);
        st = run_request_to_json(&r->requests[i], &json, err);
        w->bodies[i] = (struct body){r->id, &r->requests[i], jl_buf_take(&json)};
    }
    return st;
}

static enum joulet_status write_whole(struct store *s, const struct run *r, store_work *work, struct joulet_error *err)
{
    struct whole w;
    struct jl_buf json;
    enum joulet_status st = head_json(r, &json, err);
    if (st == JOULET_OK) {
        st = whole_init(&w, r, err);
        w.head.json = json.data;
        if (st == JOULET_OK)
            st = store_transact(s, true, work, &w, "writing the run", err);
        whole_release(&w);
    }
    jl_buf_release(&json);
    return st;
}

enum joulet_status store_finish(struct store *s, const struct run *r, struct joulet_error *err)
{
    return write_whole(s, r, finish_work, err);
}

/* ---- import and delete ------------------------------------------------------------------------------------------- */

/* Whether the stored run of this id is the same, byte for byte. *found tells whether there is one. */
static enum joulet_status compare(struct store *s, const struct run *r, bool *found, bool *same, struct joulet_error *err)
{
    struct run stored;
    struct jl_buf a, b;
    struct joulet_error why;
    *found = *same = false;
    enum joulet_status st = store_load(s, r->id, &stored, &why);
    if (st == JOULET_NOT_FOUND)
        return jl_ok(err);
    if (st != JOULET_OK)
        return jl_fail(err, why.status, "%s", why.message);
    jl_buf_init(&a, RUN_JSON_MAX);
    jl_buf_init(&b, RUN_JSON_MAX);
    *found = !strcmp(stored.id, r->id); /* else it only begins alike */
    st = run_to_json(&stored, &a, err);
    if (st == JOULET_OK)
        st = run_to_json(r, &b, err);
    *same = st == JOULET_OK && *found && a.len == b.len && !memcmp(a.data, b.data, a.len);
    jl_buf_release(&a);
    jl_buf_release(&b);
    run_release(&stored);
    return st;
}

/* Its process is gone before it could write the end: out of disk space, killed. */
static bool was_finished(struct store *s, const char *id)
{
    sqlite3_stmt *q = NULL;
    store_lock(s);
    bool found =
        sql_prepare(s->db, &q, "SELECT status FROM runs WHERE id=?", "t", id) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW;
    bool finished = !found || strcmp(sql_text(q, 0), "running");
    sqlite3_finalize(q);
    store_unlock(s);
    return finished;
}

enum joulet_status store_import(struct store *s, const struct run *r, struct joulet_error *err)
{
    bool found, same, running = false;
    char full[40];
    enum joulet_status st = compare(s, r, &found, &same, err);
    if (st == JOULET_OK && found)
        st = store_find(s, r->id, full, &running, err);
    if (st == JOULET_OK && running)
        return jl_fail(err, JOULET_BUSY, "run %s is being measured right now; end it first", full);
    if (st != JOULET_OK || same)
        return st;
    if (found && !was_finished(s, r->id))
        return write_whole(s, r, finish_work, err);
    if (found)
        return jl_fail(err, JOULET_USAGE,
                       "run %s is in the store already, with other content; delete it first with `joulet runs delete %s`", r->id,
                       r->id);
    return write_whole(s, r, import_work, err);
}

enum joulet_status store_replace(struct store *s, const struct run *r, struct joulet_error *err)
{
    char full[40];
    bool running;
    enum joulet_status st = store_find(s, r->id, full, &running, err);
    if (st == JOULET_OK && running)
        return jl_fail(err, JOULET_BUSY, "run %s is being measured right now; end it first", full);
    return st == JOULET_OK ? write_whole(s, r, finish_work, err) : st;
}

static int delete_work(struct store *s, void *arg)
{
    static const char *const statements[] = {"DELETE FROM samples WHERE run_id=?", "DELETE FROM traces WHERE run_id=?",
                                             "DELETE FROM requests WHERE run_id=?", "DELETE FROM runs WHERE id=?"};
    int rc = SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < JL_COUNT(statements); i++)
        rc = sql_run(s->db, statements[i], "t", (const char *)arg);
    return rc;
}

enum joulet_status store_delete(struct store *s, const char *id, struct joulet_error *err)
{
    char full[40];
    bool running;
    enum joulet_status st = store_find(s, id, full, &running, err);
    if (st == JOULET_OK && running)
        return jl_fail(err, JOULET_BUSY, "run %s is being measured right now; end it first", full);
    if (st == JOULET_OK)
        st = store_transact(s, true, delete_work, full, "deleting the run", err);
    if (st == JOULET_OK) { /* the space goes back to the disk; should that fail, later runs use it */
        store_lock(s);
        sqlite3_exec(s->db, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
        sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        store_unlock(s);
    }
    return st;
}
