/* open.c - opening and closing: is it ours, is it readable by this version, may it be written. */
#include "store/db.h"

#include "lib/platform/platform.h"

#include <stdlib.h>
#include <string.h>

static enum joulet_status default_path(char **out, struct joulet_error *err)
{
    struct joulet_error why;
    char *dir = jl_data_dir(&why);
    if (!dir)
        return jl_fail(err, why.status, "%s", why.message);
    *out = jl_strf("%s/joulet.db", dir);
    free(dir);
    return *out ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "the database cannot be opened: out of memory");
}

/* Reads the header and the schema; what is damaged at its root shows here. */
static enum joulet_status check_identity(struct store *s, struct joulet_error *err)
{
    int rc = sqlite3_exec(s->db, "SELECT count(*) FROM sqlite_master", NULL, NULL, NULL);
    if (rc != SQLITE_OK)
        return store_fail(s, rc, "opening it", err);
    int64_t version = sql_int(s->db, "PRAGMA user_version", 0);
    int64_t tables = sql_int(s->db, "SELECT count(*) FROM sqlite_master", 0);
    if (version < 0 || (sql_int(s->db, "PRAGMA application_id", 0) != STORE_APPLICATION && (tables || version)))
        return jl_fail(err, JOULET_FORMAT, "%s: this is a database of another program; choose another file with --db", s->path);
    if (version > STORE_VERSION)
        return jl_fail(err, JOULET_NEWER,
                       "%s: a newer joulet has written this database (version %lld, this one knows %d); update joulet or choose "
                       "another file with --db",
                       s->path, (long long)version, STORE_VERSION);
    return jl_ok(err);
}

/* Readers and the one writer do not wait for each other in WAL mode. A file system that cannot do it keeps the old mode, which
 * works too. The switch may find the database locked without waiting as it should. */
static enum joulet_status set_journal(struct store *s, struct joulet_error *err)
{
    int64_t until = jl_mono_ns() + s->busy_ms * 1000000LL;
    int rc = sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    while ((rc & 0xff) == SQLITE_BUSY && jl_mono_ns() < until) {
        jl_sleep_until(jl_mono_ns() + 10000000);
        rc = sqlite3_exec(s->db, "PRAGMA journal_mode=WAL", NULL, NULL, NULL);
    }
    return rc == SQLITE_OK ? jl_ok(err) : store_fail(s, rc, "opening it", err);
}

static enum joulet_status open_file(struct store *s, struct joulet_error *err)
{
    int rc = sqlite3_open_v2(s->path, &s->db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE | SQLITE_OPEN_FULLMUTEX, NULL);
    if (rc != SQLITE_OK)
        return store_fail(s, rc, "opening it", err);
    sqlite3_extended_result_codes(s->db, 1);
    /* Space of deleted runs goes back to the disk; only a new file can take this. An old one would be written, and who only reads
     * must not wait for a disk that hangs. */
    if (sql_int(s->db, "PRAGMA page_count", -1) == 0)
        sqlite3_exec(s->db, "PRAGMA auto_vacuum=INCREMENTAL", NULL, NULL, NULL);
    sqlite3_busy_timeout(s->db, s->busy_ms);
    enum joulet_status st = check_identity(s, err);
    if (st == JOULET_OK && sqlite3_db_readonly(s->db, "main") == 1)
        st = store_fail(s, SQLITE_READONLY, "opening it", err);
    if (st == JOULET_OK)
        st = set_journal(s, err);
    return st == JOULET_OK ? store_migrate(s, err) : st;
}

enum joulet_status store_open_within(struct store **out, const char *path, int busy_ms, struct joulet_error *err)
{
    *out = NULL;
    struct store *s = calloc(1, sizeof *s);
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "the database cannot be opened: out of memory");
    s->busy_ms = busy_ms;
    s->path = jl_strdup(path);
    enum joulet_status st = path ? jl_ok(err) : default_path(&s->path, err);
    if (st == JOULET_OK && !s->path)
        st = jl_fail(err, JOULET_MEMORY, "the database cannot be opened: out of memory");
    if (st == JOULET_OK)
        st = open_file(s, err);
    if (st != JOULET_OK) {
        store_close(s);
        return st;
    }
    *out = s;
    return st;
}

enum joulet_status store_open(struct store **out, const char *path, struct joulet_error *err)
{
    return store_open_within(out, path, STORE_BUSY_MS, err);
}

void store_close(struct store *s)
{
    if (!s)
        return;
    while (s->channels) {
        struct store_channel *c = s->channels;
        s->channels = c->next;
        run_channel_release(&c->c);
        free(c);
    }
    sqlite3_close(s->db);
    free(s->path);
    free(s);
}

const char *store_path(const struct store *s)
{
    return s->path;
}
