/* proxied.c - writing what passed the proxy: some hundred requests in one transaction, a few times a second. */
#include "store/db.h"

/* ---- rows -------------------------------------------------------------------------------------------------------------- */

/* Of a request that is final nothing older is believed: writers may be late. */
static const char insert_request[] =
    "INSERT INTO proxied(id, proxy, wall_ns, end_wall_ns, written_wall_ns, upstream, model, protocol, kind, client, session,"
    " parent, trace, state, failed, final, counted, tokens_in, tokens_cached, tokens_out, tokens_reasoning, duration_s, "
    "prefill_s,"
    " decode_s, devices, net_j, net_pm_j, gross_j, gross_pm_j, u_b, u_idle, u_spec, u_event,"
    " prefill_net_j, prefill_gross_j, prefill_u_b, prefill_u_idle, prefill_u_spec, prefill_u_event,"
    " decode_net_j, decode_gross_j, decode_u_b, decode_u_idle, decode_u_spec, decode_u_event, provenance, body)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT(id) DO UPDATE SET written_wall_ns=excluded.written_wall_ns, end_wall_ns=excluded.end_wall_ns,"
    " model=excluded.model, state=excluded.state, failed=excluded.failed, final=excluded.final, counted=excluded.counted,"
    " tokens_in=excluded.tokens_in, tokens_cached=excluded.tokens_cached, tokens_out=excluded.tokens_out,"
    " tokens_reasoning=excluded.tokens_reasoning, duration_s=excluded.duration_s, prefill_s=excluded.prefill_s,"
    " decode_s=excluded.decode_s, devices=excluded.devices, net_j=excluded.net_j, net_pm_j=excluded.net_pm_j,"
    " gross_j=excluded.gross_j, gross_pm_j=excluded.gross_pm_j, u_b=excluded.u_b, u_idle=excluded.u_idle,"
    " u_spec=excluded.u_spec, u_event=excluded.u_event,"
    " prefill_net_j=excluded.prefill_net_j, prefill_gross_j=excluded.prefill_gross_j, prefill_u_b=excluded.prefill_u_b, "
    "prefill_u_idle=excluded.prefill_u_idle, prefill_u_spec=excluded.prefill_u_spec, prefill_u_event=excluded.prefill_u_event,"
    " decode_net_j=excluded.decode_net_j, decode_gross_j=excluded.decode_gross_j, decode_u_b=excluded.decode_u_b, "
    "decode_u_idle=excluded.decode_u_idle, decode_u_spec=excluded.decode_u_spec, decode_u_event=excluded.decode_u_event,"
    " provenance=excluded.provenance, body=excluded.body"
    " WHERE excluded.final >= proxied.final AND excluded.proxy = proxied.proxy";

static int bind_request(sqlite3_stmt *q, const struct store_proxied *r, int64_t now_ns)
{
    const struct joulet_energy *e = &r->energy, *p = &r->prefill, *d = &r->decode;
    return sql_bind(q, "ttiiitttttttttiiiiiiidddtddddddddddddddddddddit", r->id, r->proxy, r->wall_ns, r->end_wall_ns, now_ns,
                    r->upstream, r->model, r->protocol, r->kind, r->client, r->session, r->parent, r->trace, r->state,
                    (int64_t)r->failed, (int64_t)r->final, (int64_t)r->counted, r->tokens.prompt, r->tokens.cached,
                    r->tokens.generated, r->tokens.reasoning, r->duration_s, r->prefill_s, r->decode_s, r->devices, e->net_j,
                    e->net_pm_j, e->gross_j, e->gross_pm_j, e->u.b, e->u.idle, e->u.spec, e->u.event, p->net_j, p->gross_j,
                    p->u.b, p->u.idle, p->u.spec, p->u.event, d->net_j, d->gross_j, d->u.b, d->u.idle, d->u.spec, d->u.event,
                    (int64_t)e->provenance, r->body);
}

static int put_text(sqlite3_stmt *q, const struct store_text *t)
{
    int rc = sqlite3_bind_text(q, 1, t->id, -1, SQLITE_TRANSIENT);
    if (rc == SQLITE_OK && t->request)
        rc = sqlite3_bind_text(q, 2, t->request, (int)t->request_n, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 3, t->request_bytes);
    if (rc == SQLITE_OK && t->answer)
        rc = sqlite3_bind_text(q, 4, t->answer, (int)t->answer_n, SQLITE_STATIC);
    if (rc == SQLITE_OK)
        rc = sqlite3_bind_int64(q, 5, t->answer_bytes);
    return rc;
}

static const char insert_account[] =
    "INSERT INTO accounts(proxy, from_wall_ns, device, to_wall_ns, provenance, measured_j, requests_j, idle_shares_j, vacant_j,"
    " keep_alive_j, other_j, residual_j, idle_device_j, unmeasured_s, shared_s, idle_w, idle_u_w)"
    " VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?)"
    " ON CONFLICT(proxy, from_wall_ns, device) DO UPDATE SET to_wall_ns=excluded.to_wall_ns, measured_j=measured_j+"
    "excluded.measured_j, requests_j=requests_j+excluded.requests_j, idle_shares_j=idle_shares_j+excluded.idle_shares_j,"
    " vacant_j=vacant_j+excluded.vacant_j, keep_alive_j=keep_alive_j+excluded.keep_alive_j, other_j=other_j+excluded.other_j,"
    " residual_j=residual_j+excluded.residual_j, idle_device_j=idle_device_j+excluded.idle_device_j,"
    " unmeasured_s=unmeasured_s+excluded.unmeasured_s, shared_s=shared_s+excluded.shared_s,"
    " idle_w=coalesce(excluded.idle_w, idle_w), idle_u_w=coalesce(excluded.idle_u_w, idle_u_w)";

#define WRITES_EVERY_NS ((int64_t)2000000000) /* a proxy that runs, at least */

/* What one proxy simulates is no device of another. */
static double also_metered_s(struct store *s, const struct store_account *a)
{
    sqlite3_stmt *q = NULL;
    bool other = false;
    if (!a->since_wall_ns || a->provenance == JOULET_SIMULATED)
        return 0;
    if (sql_prepare(s->db, &q, "SELECT 1 FROM accounts WHERE device=? AND proxy<? AND from_wall_ns>=? AND to_wall_ns>=?", "ttii",
                    a->device, a->proxy, a->from_wall_ns - STORE_QUARTER_NS, a->since_wall_ns - WRITES_EVERY_NS) == SQLITE_OK)
        other = sqlite3_step(q) == SQLITE_ROW;
    sqlite3_finalize(q);
    return other ? jl_s(a->to_wall_ns - a->since_wall_ns) : 0;
}

static int put_account(struct store *s, const struct store_account *a)
{
    double shared_s = a->shared_s + also_metered_s(s, a);
    return sql_run(s->db, insert_account, "titiidddddddddddd", a->proxy, a->from_wall_ns, a->device, a->to_wall_ns,
                   (int64_t)a->provenance, a->j.measured_j, a->j.requests_j, a->j.idle_shares_j, a->j.vacant_j, a->j.keep_alive_j,
                   a->j.other_j, a->j.residual_j, a->j.idle_device_j, a->unmeasured_s, shared_s, a->idle.power_w, a->idle.u_w);
}

/* ---- a batch ------------------------------------------------------------------------------------------------------------ */

static int step_and_reset(sqlite3_stmt *q)
{
    int rc = sqlite3_step(q);
    int end = sqlite3_reset(q);
    return rc == SQLITE_DONE ? end : rc;
}

static int put_requests(struct store *s, const struct store_batch *b)
{
    sqlite3_stmt *q = NULL;
    int64_t now_ns = jl_wall_ns();
    int rc = b->n_requests ? sqlite3_prepare_v2(s->db, insert_request, -1, &q, NULL) : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < b->n_requests; i++) {
        rc = bind_request(q, &b->requests[i], now_ns);
        if (rc == SQLITE_OK)
            rc = step_and_reset(q);
    }
    sqlite3_finalize(q);
    return rc;
}

static int put_texts(struct store *s, const struct store_batch *b)
{
    static const char insert[] = "INSERT OR REPLACE INTO proxied_texts(id, request, request_bytes, answer, answer_bytes)"
                                 " VALUES(?,?,?,?,?)";
    sqlite3_stmt *q = NULL;
    int rc = b->n_texts ? sqlite3_prepare_v2(s->db, insert, -1, &q, NULL) : SQLITE_OK;
    for (size_t i = 0; rc == SQLITE_OK && i < b->n_texts; i++) {
        sqlite3_clear_bindings(q);
        rc = put_text(q, &b->texts[i]);
        if (rc == SQLITE_OK)
            rc = step_and_reset(q);
    }
    sqlite3_finalize(q);
    return rc;
}

static int put_work(struct store *s, void *arg)
{
    const struct store_batch *b = arg;
    int rc = put_requests(s, b);
    if (rc == SQLITE_OK)
        rc = put_texts(s, b);
    for (size_t i = 0; rc == SQLITE_OK && i < b->n_accounts; i++)
        rc = put_account(s, &b->accounts[i]);
    return rc;
}

enum joulet_status store_put_proxied(struct store *s, const struct store_batch *b, struct joulet_error *err)
{
    struct store_batch copy = *b;
    return store_transact(s, b->durable, put_work, &copy, "writing requests of the proxy", err);
}

/* ---- deleting ----------------------------------------------------------------------------------------------------------- */

struct deleting {
    int64_t before, deleted;
};

static int delete_work(struct store *s, void *arg)
{
    struct deleting *d = arg;
    int rc = sql_run(s->db, "DELETE FROM proxied_texts WHERE id IN (SELECT id FROM proxied WHERE wall_ns < ?)", "i", d->before);
    if (rc == SQLITE_OK)
        rc = sql_run(s->db, "DELETE FROM proxied WHERE wall_ns < ?", "i", d->before);
    d->deleted = sqlite3_changes(s->db);
    return rc == SQLITE_OK ? sql_run(s->db, "DELETE FROM accounts WHERE to_wall_ns <= ?", "i", d->before) : rc;
}

enum joulet_status store_delete_proxied(struct store *s, int64_t before_wall_ns, int64_t *deleted, struct joulet_error *err)
{
    struct deleting d = {.before = before_wall_ns};
    enum joulet_status st = store_transact(s, true, delete_work, &d, "deleting requests of the proxy", err);
    *deleted = st == JOULET_OK ? d.deleted : 0;
    if (st == JOULET_OK) {
        store_lock(s);
        sqlite3_exec(s->db, "PRAGMA incremental_vacuum", NULL, NULL, NULL);
        sqlite3_wal_checkpoint_v2(s->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        store_unlock(s);
    }
    return st;
}
