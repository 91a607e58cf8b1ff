/* load.c - lists and whole runs. A run whose process is gone before it was finished is shown as interrupted, with the energy of
 * the requests that are there. */
#include "store/db.h"

#include "lib/platform/platform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool was_interrupted(const char *status, const char *owner)
{
    return !strcmp(status, "running") && !jl_process_key_alive(owner);
}

static enum joulet_status no_memory(struct store *s, struct joulet_error *err)
{
    return store_fail(s, SQLITE_NOMEM, "reading runs", err);
}

/* ---- which run --------------------------------------------------------------------------------------------------- */

static enum joulet_status several(sqlite3_stmt *q, const char *id, const char *first, struct joulet_error *err)
{
    char second[40];
    sqlite3_snprintf(sizeof second, second, "%s", sql_text(q, 0));
    const char *more = sqlite3_step(q) == SQLITE_ROW ? " and others" : "";
    return jl_fail(err, JOULET_USAGE, "several runs begin with \"%.40s\": %s, %s%s; give more of the id", id, first, second,
                   more);
}

/* Exact ids come first, so that one which is the beginning of another can be named. */
static enum joulet_status find(struct store *s, const char *id, char full[40], bool *running, struct joulet_error *err)
{
    static const char latest[] = "SELECT id, status, owner FROM runs ORDER BY started_wall_ns DESC, id DESC LIMIT 1";
    static const char named[] =
        "SELECT id, status, owner FROM runs WHERE substr(id, 1, length(?1))=?1 ORDER BY id=?1 DESC, id LIMIT 3";
    sqlite3_stmt *q = NULL;
    bool last = !strcmp(id, "last");
    int rc = last ? sql_prepare(s->db, &q, latest, "") : sql_prepare(s->db, &q, named, "t", id);
    if (rc == SQLITE_OK)
        rc = id[0] ? sqlite3_step(q) : SQLITE_DONE;
    enum joulet_status st = jl_ok(err);
    if (rc == SQLITE_ROW) {
        const char *status = sql_text(q, 1), *owner = sql_text(q, 2);
        sqlite3_snprintf(40, full, "%s", sql_text(q, 0));
        *running = !strcmp(status, "running") && !was_interrupted(status, owner);
        if (!last && strcmp(full, id) && sqlite3_step(q) == SQLITE_ROW)
            st = several(q, id, full, err);
    } else if (rc == SQLITE_DONE) {
        st = last
                 ? jl_fail(err, JOULET_NOT_FOUND, "%s holds no run yet; measure one with `joulet run` or `joulet bench`", s->path)
                 : jl_fail(err, JOULET_NOT_FOUND, "there is no run \"%.40s\" in %s; `joulet runs list` shows them", id, s->path);
    } else {
        st = store_fail(s, rc, "looking for the run", err);
    }
    sqlite3_finalize(q);
    return st;
}

enum joulet_status store_find(struct store *s, const char *id, char full[40], bool *running, struct joulet_error *err)
{
    store_lock(s);
    enum joulet_status st = find(s, id, full, running, err);
    store_unlock(s);
    return st;
}

enum joulet_status store_full_id(struct store *s, const char *id, char full[40], struct joulet_error *err)
{
    bool running;
    return store_find(s, id, full, &running, err);
}

/* ---- lists ------------------------------------------------------------------------------------------------------- */

static char *column_copy(sqlite3_stmt *q, int column)
{
    return jl_strdup((const char *)sqlite3_column_text(q, column));
}

/* Sums of a run that was never finished, from its requests. Half-widths are added: more than the truth, never less. */
static void sum_requests(struct store *s, struct store_row *row)
{
    static const char sums[] =
        "SELECT count(*), sum(CASE WHEN outcome='ok' THEN net_j END), sum(CASE WHEN outcome='ok' THEN net_pm_j END),"
        " sum(CASE WHEN outcome='ok' THEN gross_j END), sum(CASE WHEN outcome='ok' AND tokens_out>=0 THEN tokens_out END),"
        " max(provenance) FROM requests WHERE run_id=? AND counted";
    sqlite3_stmt *q = NULL;
    if (sql_prepare(s->db, &q, sums, "t", row->id) == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW) {
        row->requests = (size_t)sqlite3_column_int64(q, 0);
        row->net_j = sql_real(q, 1);
        row->net_pm_j = sql_real(q, 2);
        row->gross_j = sql_real(q, 3);
        row->tokens_out = sqlite3_column_type(q, 4) == SQLITE_NULL ? -1 : sqlite3_column_int64(q, 4);
        row->provenance = (enum joulet_provenance)sqlite3_column_int(q, 5);
    }
    sqlite3_finalize(q);
}

static void read_row(struct store *s, sqlite3_stmt *q, struct store_row *row)
{
    *row = (struct store_row){.title = column_copy(q, 2), .model = column_copy(q, 3), .engine = column_copy(q, 4)};
    sqlite3_snprintf(sizeof row->id, row->id, "%s", sql_text(q, 0));
    sqlite3_snprintf(sizeof row->kind, row->kind, "%s", sql_text(q, 1));
    row->started_wall_ns = sqlite3_column_int64(q, 6);
    row->requests = (size_t)sqlite3_column_int64(q, 8);
    row->net_j = sql_real(q, 9);
    row->net_pm_j = sql_real(q, 10);
    row->gross_j = sql_real(q, 11);
    row->tokens_out = sqlite3_column_int64(q, 12);
    row->provenance = (enum joulet_provenance)sqlite3_column_int(q, 13);
    const char *status = sql_text(q, 5);
    if (!strcmp(status, "running"))
        sum_requests(s, row);
    row->status = jl_strdup(was_interrupted(status, sql_text(q, 7)) ? "interrupted" : status);
}

static enum joulet_status list(struct store *s, size_t limit, struct store_row **rows, size_t *n, struct joulet_error *err)
{
    static const char newest[] =
        "SELECT id, kind, title, model, engine, status, started_wall_ns, owner, requests, net_j, net_pm_j, gross_j,"
        " tokens_out, provenance FROM runs ORDER BY started_wall_ns DESC, id DESC LIMIT ?";
    sqlite3_stmt *q = NULL;
    int rc = sql_prepare(s->db, &q, newest, "i", limit && limit < INT64_MAX ? (int64_t)limit : (int64_t)-1);
    while (rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct store_row *grown = realloc(*rows, (*n + 1) * sizeof *grown);
        if (!grown) {
            sqlite3_finalize(q);
            return no_memory(s, err);
        }
        *rows = grown;
        read_row(s, q, &grown[(*n)++]);
        rc = SQLITE_OK;
    }
    enum joulet_status st = rc == SQLITE_DONE ? jl_ok(err) : store_fail(s, rc, "listing the runs", err);
    sqlite3_finalize(q);
    return st;
}

enum joulet_status store_list(struct store *s, size_t limit, struct store_row **rows, size_t *n, struct joulet_error *err)
{
    *rows = NULL;
    *n = 0;
    store_lock(s);
    enum joulet_status st = list(s, limit, rows, n, err);
    store_unlock(s);
    if (st != JOULET_OK) {
        store_rows_free(*rows, *n);
        *rows = NULL;
        *n = 0;
    }
    return st;
}

void store_rows_free(struct store_row *rows, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(rows[i].title);
        free(rows[i].model);
        free(rows[i].engine);
        free(rows[i].status);
    }
    free(rows);
}

/* ---- one run ----------------------------------------------------------------------------------------------------- */

static enum joulet_status load_requests(struct store *s, struct run *r, struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    enum joulet_status st = jl_ok(err);
    int rc = sql_prepare(s->db, &q, "SELECT body FROM requests WHERE run_id=? ORDER BY number", "t", r->id);
    while (st == JOULET_OK && rc == SQLITE_OK && (rc = sqlite3_step(q)) == SQLITE_ROW) {
        struct run_request x;
        st = run_request_from_json(sql_text(q, 0), (size_t)sqlite3_column_bytes(q, 0), &x, err);
        if (st == JOULET_OK && !run_add_request(r, &x)) {
            run_request_release(&x);
            st = no_memory(s, err);
        }
        rc = SQLITE_OK;
    }
    if (st == JOULET_OK && rc != SQLITE_DONE)
        st = store_fail(s, rc, "reading the requests", err);
    sqlite3_finalize(q);
    return st;
}

/* A run without an end: what is there counts. */
static enum joulet_status complete(struct store *s, struct run *r, bool interrupted, struct joulet_error *err)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].n_windows && r->requests[i].windows[r->requests[i].n_windows - 1].end_ns > r->end_ns)
            r->end_ns = r->requests[i].windows[r->requests[i].n_windows - 1].end_ns;
    if (interrupted) {
        free(r->status);
        r->status = jl_strdup("interrupted");
    }
    return r->n_requests && !run_energy_from_requests(r) ? no_memory(s, err) : JOULET_OK;
}

static enum joulet_status load(struct store *s, const char *id, struct run *out, struct joulet_error *err)
{
    sqlite3_stmt *q = NULL;
    bool interrupted = false;
    int rc = sql_prepare(s->db, &q, "SELECT head, status, owner FROM runs WHERE id=?", "t", id);
    if (rc == SQLITE_OK)
        rc = sqlite3_step(q);
    enum joulet_status st;
    if (rc != SQLITE_ROW) {
        st = store_fail(s, rc == SQLITE_DONE ? SQLITE_CORRUPT : rc, "reading the run", err);
    } else {
        interrupted = was_interrupted(sql_text(q, 1), sql_text(q, 2));
        st = run_from_json(sql_text(q, 0), (size_t)sqlite3_column_bytes(q, 0), out, err);
    }
    sqlite3_finalize(q);
    if (st != JOULET_OK)
        return st;
    st = load_requests(s, out, err);
    if (st == JOULET_OK && out->status && !strcmp(out->status, "running"))
        st = complete(s, out, interrupted, err);
    if (st != JOULET_OK)
        run_release(out);
    return st;
}

enum joulet_status store_load(struct store *s, const char *id, struct run *out, struct joulet_error *err)
{
    char full[40];
    bool running;
    *out = (struct run){0};
    store_lock(s);
    /* One snapshot: another process may be finishing this run. */
    sqlite3_exec(s->db, "BEGIN", NULL, NULL, NULL);
    enum joulet_status st = find(s, id, full, &running, err);
    if (st == JOULET_OK)
        st = load(s, full, out, err);
    sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    store_unlock(s);
    return st;
}
