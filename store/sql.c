/* sql.c - SQL in one line, transactions, and what SQLite's result codes mean for a user. */
#include "store/db.h"

#include <errno.h>
#include <math.h>
#include <stdarg.h>
#include <string.h>

void store_lock(struct store *s)
{
    sqlite3_mutex_enter(sqlite3_db_mutex(s->db));
}

void store_unlock(struct store *s)
{
    sqlite3_mutex_leave(sqlite3_db_mutex(s->db));
}

/* ---- statements -------------------------------------------------------------------------------------------------- */

static int bind_all(sqlite3_stmt *q, const char *types, va_list ap)
{
    int rc = SQLITE_OK;
    for (int i = 1; rc == SQLITE_OK && types[i - 1]; i++) {
        switch (types[i - 1]) {
        case 't':
            rc = sqlite3_bind_text(q, i, va_arg(ap, const char *), -1, SQLITE_TRANSIENT);
            break;
        case 'i':
            rc = sqlite3_bind_int64(q, i, va_arg(ap, int64_t));
            break;
        case 'd':
            rc = sqlite3_bind_double(q, i, va_arg(ap, double));
            break;
        case 'b': {
            const void *bytes = va_arg(ap, const void *);
            rc = sqlite3_bind_blob64(q, i, bytes, va_arg(ap, size_t), SQLITE_STATIC);
            break;
        }
        default:
            rc = SQLITE_MISUSE;
        }
    }
    return rc;
}

static int prepare(sqlite3 *db, sqlite3_stmt **out, const char *sql, const char *types, va_list ap)
{
    int rc = sqlite3_prepare_v2(db, sql, -1, out, NULL);
    if (rc == SQLITE_OK)
        rc = bind_all(*out, types, ap);
    if (rc != SQLITE_OK) {
        sqlite3_finalize(*out);
        *out = NULL;
    }
    return rc;
}

int sql_prepare(sqlite3 *db, sqlite3_stmt **out, const char *sql, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int rc = prepare(db, out, sql, types, ap);
    va_end(ap);
    return rc;
}

int sql_bind(sqlite3_stmt *q, const char *types, ...)
{
    va_list ap;
    va_start(ap, types);
    int rc = bind_all(q, types, ap);
    va_end(ap);
    return rc;
}

int sql_run(sqlite3 *db, const char *sql, const char *types, ...)
{
    sqlite3_stmt *q = NULL;
    va_list ap;
    va_start(ap, types);
    int rc = prepare(db, &q, sql, types, ap);
    va_end(ap);
    while (rc == SQLITE_OK || rc == SQLITE_ROW)
        rc = sqlite3_step(q);
    int end = sqlite3_finalize(q);
    return rc == SQLITE_DONE ? end : rc;
}

int64_t sql_int(sqlite3 *db, const char *sql, int64_t otherwise)
{
    sqlite3_stmt *q = NULL;
    if (sql_prepare(db, &q, sql, "") == SQLITE_OK && sqlite3_step(q) == SQLITE_ROW)
        otherwise = sqlite3_column_int64(q, 0);
    sqlite3_finalize(q);
    return otherwise;
}

const char *sql_text(sqlite3_stmt *q, int column)
{
    const char *s = (const char *)sqlite3_column_text(q, column);
    return s ? s : "";
}

double sql_real(sqlite3_stmt *q, int column)
{
    return sqlite3_column_type(q, column) == SQLITE_NULL ? NAN : sqlite3_column_double(q, column);
}

/* ---- transactions ------------------------------------------------------------------------------------------------ */

enum joulet_status store_transact(struct store *s, bool durable, store_work *work, void *arg, const char *doing,
                                  struct joulet_error *err)
{
    enum joulet_status st = jl_ok(err);
    store_lock(s);
    sqlite3_exec(s->db, durable ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL, NULL, NULL);
    int rc = sqlite3_exec(s->db, "BEGIN IMMEDIATE", NULL, NULL, NULL);
    if (rc == SQLITE_OK)
        rc = work(s, arg);
    if (rc == SQLITE_OK)
        rc = sqlite3_exec(s->db, "COMMIT", NULL, NULL, NULL);
    if (rc != SQLITE_OK) {
        st = store_fail(s, rc, doing, err);
        if (!sqlite3_get_autocommit(s->db))
            sqlite3_exec(s->db, "ROLLBACK", NULL, NULL, NULL);
    }
    store_unlock(s);
    return st;
}

/* ---- what went wrong --------------------------------------------------------------------------------------------- */

static bool full(int e)
{
    return e == ENOSPC || e == EDQUOT || e == EFBIG;
}

/* SQLite calls only ENOSPC a full disk; a quota or a limit on file sizes is an I/O error to it. The errno of that is kept with
 * the file that was written: the database or its log. */
static bool no_room(struct store *s, int rc)
{
    int e = 0;
    sqlite3_file *log = NULL;
    if ((rc & 0xff) != SQLITE_IOERR)
        return (rc & 0xff) == SQLITE_FULL;
    sqlite3_file_control(s->db, "main", SQLITE_FCNTL_LAST_ERRNO, &e);
    if (!full(e) && sqlite3_file_control(s->db, "main", SQLITE_FCNTL_JOURNAL_POINTER, &log) == SQLITE_OK && log && log->pMethods)
        log->pMethods->xFileControl(log, SQLITE_FCNTL_LAST_ERRNO, &e);
    return full(e);
}

enum joulet_status store_fail(struct store *s, int rc, const char *doing, struct joulet_error *err)
{
    const char *path = s->path;
    if (no_room(s, rc))
        return jl_fail(err, JOULET_IO,
                       "%s: no room left while %s; free some disk space or delete old runs with `joulet runs delete`", path,
                       doing);
    switch (rc & 0xff) {
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return jl_fail(err, JOULET_BUSY,
                       "%s: another program kept the database locked for %g s while %s; end it or try again later", path,
                       s->busy_ms * 1e-3, doing);
    case SQLITE_READONLY:
    case SQLITE_PERM:
    case SQLITE_AUTH:
    case SQLITE_CANTOPEN:
        return jl_fail(
            err, JOULET_IO,
            "%s: cannot be opened for writing; make its folder writable or choose another with --db or JOULET_DATA_DIR", path);
    case SQLITE_CORRUPT:
    case SQLITE_NOTADB:
        return jl_fail(
            err, JOULET_FORMAT,
            "%s: the database is damaged; move it away and save what is left with `sqlite3 OLD .recover | sqlite3 NEW`", path);
    case SQLITE_NOMEM:
        return jl_fail(err, JOULET_MEMORY, "%s: out of memory while %s; close other programs and try again", path, doing);
    case SQLITE_CONSTRAINT:
        return jl_fail(err, JOULET_USAGE, "%s: there is a run with this id already; delete it first with `joulet runs delete`",
                       path);
    default:
        return jl_fail(err, JOULET_IO, "%s: %s while %s; check the disk and try again", path, sqlite3_errmsg(s->db), doing);
    }
}
