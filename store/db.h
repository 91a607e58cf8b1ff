/* db.h - shared inside this room: the open database, and SQL in one line. */
#ifndef STORE_DB_H
#define STORE_DB_H

#include "store/store.h"

#include <sqlite3.h>

#define STORE_VERSION     4          /* PRAGMA user_version; migrate.c has a step for each */
#define STORE_APPLICATION 0x4a4f554c /* PRAGMA application_id: "JOUL" */
#define STORE_BUSY_MS     5000

/* A channel whose strings traces point to; they live until the store is closed. */
struct store_channel {
    struct store_channel *next;
    char run_id[40];
    size_t index;
    struct joulet_channel c;
};

struct store {
    sqlite3 *db;
    char *path;
    int busy_ms;
    struct store_channel *channels;
};

/* One thread at a time: a transaction has several statements. Recursive. */
void store_lock(struct store *s);
void store_unlock(struct store *s);

/* The sentence for an SQLite result code; `doing` as in "writing the request". */
enum joulet_status store_fail(struct store *s, int rc, const char *doing, struct joulet_error *err);

/* Types, one letter an argument: t text or NULL, i int64_t, d double (NAN is NULL), b const void * and size_t. Return SQLite
 * result codes. */
int sql_prepare(sqlite3 *db, sqlite3_stmt **out, const char *sql, const char *types, ...);
int sql_bind(sqlite3_stmt *q, const char *types, ...); /* of a statement that was reset */
int sql_run(sqlite3 *db, const char *sql, const char *types, ...);
/* First column of the first row, or `otherwise` (also on error). */
int64_t sql_int(sqlite3 *db, const char *sql, int64_t otherwise);
const char *sql_text(sqlite3_stmt *q, int column); /* never NULL */
double sql_real(sqlite3_stmt *q, int column);      /* NULL is NAN */

/* One transaction: whole on disk, or nothing of it. durable: synced, so that not even a power cut takes it back.
 * `work` returns an SQLite result code. */
typedef int store_work(struct store *s, void *arg);
enum joulet_status store_transact(struct store *s, bool durable, store_work *work, void *arg, const char *doing,
                                  struct joulet_error *err);

/* The full id of what store_load takes, and whether its process still measures. */
enum joulet_status store_find(struct store *s, const char *id, char full[40], bool *running, struct joulet_error *err);

/* Brings the tables up to STORE_VERSION, after a copy. */
enum joulet_status store_migrate(struct store *s, struct joulet_error *err);

#endif
