/* migrate.c - the tables, one step for each version of the database. A step never changes: a new version gets a new one. Before
 * an older database is changed it is copied to joulet.db.vN.bak. */
#include "store/db.h"

#include <stdlib.h>

static const char *const steps[STORE_VERSION] = {
    /* 1: runs, requests, traces. `head` and `body` are the record's own JSON; the columns beside them serve lists. */
    "CREATE TABLE runs(id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, title TEXT, model TEXT, engine TEXT, status TEXT,"
    " started_wall_ns INTEGER NOT NULL, owner TEXT NOT NULL, requests INTEGER NOT NULL, net_j REAL, net_pm_j REAL, gross_j REAL,"
    " tokens_out INTEGER, provenance INTEGER NOT NULL, head TEXT NOT NULL);"
    "CREATE INDEX runs_by_time ON runs(started_wall_ns);"
    "CREATE TABLE requests(run_id TEXT NOT NULL, number INTEGER NOT NULL, counted INTEGER NOT NULL, outcome TEXT NOT NULL,"
    " tokens_in INTEGER, tokens_out INTEGER, net_j REAL, net_pm_j REAL, gross_j REAL, provenance INTEGER NOT NULL, body TEXT NOT "
    "NULL,"
    " PRIMARY KEY(run_id, number));"
    "CREATE TABLE traces(run_id TEXT NOT NULL, channel INTEGER NOT NULL, about TEXT NOT NULL, PRIMARY KEY(run_id, channel));"
    "CREATE TABLE samples(run_id TEXT NOT NULL, channel INTEGER NOT NULL, first_ns INTEGER NOT NULL, n INTEGER NOT NULL,"
    " bytes BLOB NOT NULL);"
    "CREATE INDEX samples_by_time ON samples(run_id, channel, first_ns);",
    /* 2: idle levels, for runs that do not wait for one of their own. */
    "CREATE TABLE baselines(key TEXT NOT NULL, channel TEXT NOT NULL, wall_ns INTEGER NOT NULL, power_w REAL, u_w REAL, sd_w "
    "REAL,"
    " from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY(key, channel));",
    /* 3: requests that passed the proxy, what was asked and answered if it was to be kept, and the accounts of the devices by the
     * quarter of an hour. `body` is the request's own JSON; the columns beside it serve sums. */
    "CREATE TABLE proxied(id TEXT PRIMARY KEY NOT NULL, proxy TEXT NOT NULL, wall_ns INTEGER NOT NULL, end_wall_ns INTEGER NOT "
    "NULL, written_wall_ns INTEGER NOT NULL, upstream TEXT, model TEXT, protocol TEXT, kind TEXT, client TEXT, session TEXT,"
    " parent TEXT, trace TEXT, state TEXT NOT NULL, failed INTEGER NOT NULL, final INTEGER NOT NULL, counted INTEGER NOT NULL,"
    " tokens_in INTEGER, tokens_cached INTEGER, tokens_out INTEGER, tokens_reasoning INTEGER, duration_s REAL, prefill_s REAL,"
    " decode_s REAL, devices TEXT, net_j REAL, net_pm_j REAL, gross_j REAL, gross_pm_j REAL, u_b REAL, u_idle REAL, u_spec REAL,"
    " provenance INTEGER NOT NULL, body TEXT NOT NULL);"
    "CREATE INDEX proxied_by_time ON proxied(wall_ns);"
    "CREATE INDEX proxied_by_session ON proxied(session, wall_ns) WHERE session IS NOT NULL;"
    "CREATE TABLE proxied_texts(id TEXT PRIMARY KEY NOT NULL, request TEXT, request_bytes INTEGER NOT NULL, answer TEXT,"
    " answer_bytes INTEGER NOT NULL);"
    "CREATE TABLE accounts(proxy TEXT NOT NULL, from_wall_ns INTEGER NOT NULL, device TEXT NOT NULL, to_wall_ns INTEGER NOT NULL,"
    " provenance INTEGER NOT NULL, measured_j REAL NOT NULL, requests_j REAL NOT NULL, idle_shares_j REAL NOT NULL,"
    " vacant_j REAL NOT NULL, keep_alive_j REAL NOT NULL, other_j REAL NOT NULL, residual_j REAL NOT NULL,"
    " unmeasured_s REAL NOT NULL, idle_w REAL, idle_u_w REAL, PRIMARY KEY(proxy, from_wall_ns, device));",
    /* 4: the energy of prompts and answers, what edges leave open; of devices that nobody used, and those that another proxy
     * metered as well. What was stored before has none of it. */
    "ALTER TABLE proxied ADD COLUMN u_event REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_net_j REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_gross_j REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_u_b REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_u_idle REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_u_spec REAL;"
    "ALTER TABLE proxied ADD COLUMN prefill_u_event REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_net_j REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_gross_j REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_u_b REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_u_idle REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_u_spec REAL;"
    "ALTER TABLE proxied ADD COLUMN decode_u_event REAL;"
    "ALTER TABLE accounts ADD COLUMN idle_device_j REAL NOT NULL DEFAULT 0;"
    "ALTER TABLE accounts ADD COLUMN shared_s REAL NOT NULL DEFAULT 0;",
};

static int copy_pages(struct store *s, sqlite3 *to)
{
    sqlite3_backup *b = sqlite3_backup_init(to, "main", s->db, "main");
    if (!b)
        return sqlite3_errcode(to);
    int rc = sqlite3_backup_step(b, -1);
    int end = sqlite3_backup_finish(b);
    return rc == SQLITE_DONE ? end : rc;
}

static enum joulet_status keep_copy(struct store *s, int version, struct joulet_error *err)
{
    sqlite3 *to = NULL;
    char *path = jl_strf("%s.v%d.bak", s->path, version);
    if (!path)
        return store_fail(s, SQLITE_NOMEM, "copying the database", err);
    int rc = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL);
    if (rc == SQLITE_OK)
        rc = copy_pages(s, to);
    sqlite3_close(to);
    free(path);
    return rc == SQLITE_OK ? jl_ok(err) : store_fail(s, rc, "copying the database before it is brought up to date", err);
}

static int migrate(struct store *s, void *arg)
{
    char sql[96];
    (void)arg;
    /* Another process may have done it while we waited for the lock. */
    int rc = SQLITE_OK;
    for (int64_t v = sql_int(s->db, "PRAGMA user_version", 0); rc == SQLITE_OK && v < STORE_VERSION; v++)
        rc = sqlite3_exec(s->db, steps[v], NULL, NULL, NULL);
    sqlite3_snprintf(sizeof sql, sql, "PRAGMA user_version=%d; PRAGMA application_id=%d", STORE_VERSION, STORE_APPLICATION);
    return rc == SQLITE_OK ? sqlite3_exec(s->db, sql, NULL, NULL, NULL) : rc;
}

enum joulet_status store_migrate(struct store *s, struct joulet_error *err)
{
    int version = (int)sql_int(s->db, "PRAGMA user_version", 0);
    if (version >= STORE_VERSION)
        return jl_ok(err);
    enum joulet_status st = version > 0 ? keep_copy(s, version, err) : jl_ok(err);
    if (st != JOULET_OK)
        return st;
    return store_transact(s, true, migrate, NULL, "bringing the database up to date", err);
}
