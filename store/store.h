/* store.h - runs and their traces in SQLite (WAL). A request is on disk within a second of its end; kill -9 loses nothing before.
 */
#ifndef STORE_H
#define STORE_H

#include "run/run.h"

struct store;
/* path NULL: joulet.db in the data folder. Migrates older databases after a copy; JOULET_NEWER if it is from a newer joulet,
 * JOULET_BUSY after 5 s of a lock, JOULET_IO with the remedy for a full disk or read-only folder. */
enum joulet_status store_open(struct store **out, const char *path, struct joulet_error *err);
/* With another patience than 5 s. */
enum joulet_status store_open_within(struct store **out, const char *path, int busy_ms, struct joulet_error *err);
void store_close(struct store *s);
const char *store_path(const struct store *s);

/* A run as it goes: begin, add requests, finish. Runs that never finished are shown as "interrupted". */
enum joulet_status store_begin(struct store *s, const struct run *r, struct joulet_error *err);
/* The run as it is now, without its requests: what a killed process leaves behind. */
enum joulet_status store_head(struct store *s, const struct run *r, struct joulet_error *err);
enum joulet_status store_request(struct store *s, const struct run *r, const struct run_request *q, struct joulet_error *err);
/* The record as it is now, requests included: one that could not be stored before is, too. */
enum joulet_status store_finish(struct store *s, const struct run *r, struct joulet_error *err);
/* One channel, at most one second of samples: one blob. Any thread. */
enum joulet_status store_samples(struct store *s, const char *run_id, const struct joulet_channel *channel, size_t channel_index,
                                 const struct joulet_sample *samples, size_t n, struct joulet_error *err);

struct store_row {
    char id[40], kind[16];
    char *title, *model, *engine, *status;
    int64_t started_wall_ns;
    size_t requests;
    double net_j, net_pm_j, gross_j;
    int64_t tokens_out;
    enum joulet_provenance provenance;
};
/* Newest first. The caller frees with store_rows_free. limit 0: all. */
enum joulet_status store_list(struct store *s, size_t limit, struct store_row **rows, size_t *n, struct joulet_error *err);
void store_rows_free(struct store_row *rows, size_t n);
/* id: full, or a unique prefix, or "last". JOULET_NOT_FOUND, or JOULET_USAGE when several match. */
enum joulet_status store_load(struct store *s, const char *id, struct run *out, struct joulet_error *err);
/* The full id of a run that is there, for an id as above. */
enum joulet_status store_full_id(struct store *s, const char *id, char full[40], struct joulet_error *err);
/* Every sample of a channel of a run, at any time. The strings of out->channel live until store_close. JOULET_NOT_FOUND when
 * nothing is kept. */
enum joulet_status store_load_trace(struct store *s, const char *run_id, size_t channel_index, struct joulet_trace *out,
                                    struct joulet_error *err);
/* The record takes the place of the stored one of the same id; its samples stay. JOULET_BUSY while its process still measures. */
enum joulet_status store_replace(struct store *s, const struct run *r, struct joulet_error *err);
/* JOULET_USAGE if the id exists with other content, unless that run was never finished: the whole record takes its place. */
enum joulet_status store_import(struct store *s, const struct run *r, struct joulet_error *err);
/* Its traces too. JOULET_BUSY while its process still measures. id as for store_load. */
enum joulet_status store_delete(struct store *s, const char *id, struct joulet_error *err);

/* Idle levels of this machine and engine state, for `run` (4.2): key names both. */
enum joulet_status store_put_baseline(struct store *s, const char *key, const char *channel, const struct joulet_baseline *b,
                                      int64_t wall_ns, struct joulet_error *err);
/* Younger than max_age_s, else JOULET_NOT_FOUND. */
enum joulet_status store_get_baseline(struct store *s, const char *key, const char *channel, double max_age_s,
                                      struct joulet_baseline *b, struct joulet_error *err);

/* ---- what passed the proxy (docs/proxy-accounts.md) -------------------------------------------------------------------- */

/* A request that ended. Texts may be NULL: not known. */
struct store_proxied {
    const char *id, *proxy; /* of the request; of the proxy since its start */
    int64_t wall_ns, end_wall_ns;
    int64_t written_wall_ns; /* of the transaction; read only */
    const char *upstream, *model, *protocol, *kind;
    const char *client; /* "tag:NAME", "key:HASH", "addr:ADDRESS" */
    const char *session, *parent, *trace;
    const char *state;           /* "done", "client gone", "cut", "failed" */
    bool failed, final, counted; /* final: its energy is; counted: its generated tokens were, from pieces */
    struct run_tokens tokens;
    double duration_s, prefill_s, decode_s; /* NAN unknown */
    const char *devices;                    /* "gpu0.board,cpu0.package" */
    struct joulet_energy energy;
    struct joulet_energy prefill,
        decode;       /* parts of it, JOULET_ENERGY_UNKNOWN: not known; of these net_j, gross_j and u are kept */
    const char *body; /* the whole of it as JSON */
};
/* --keep-text: what was asked and answered, as it passed. */
struct store_text {
    const char *id, *request, *answer;   /* NULL: none */
    size_t request_n, answer_n;          /* bytes of these */
    int64_t request_bytes, answer_bytes; /* bytes that passed: more than are kept when it was long */
};
/* What a device drew, and for whom, in a quarter of an hour: added to what is there already. */
struct store_account {
    const char *proxy, *device;
    int64_t from_wall_ns, to_wall_ns; /* beginning of the quarter; last moment that is in it */
    int64_t since_wall_ns;            /* when written: the beginning of what is added; 0: not told */
    enum joulet_provenance provenance;
    struct joulet_accounts j;
    double unmeasured_s;
    /* In which another proxy metered it as well, as far as its rows here tell (2 s): both have its energy. Of two it is in the
     * rows of one; what is written is added to. */
    double shared_s;
    struct joulet_baseline idle; /* the latest */
};
#define STORE_QUARTER_NS ((int64_t)900 * 1000000000)
struct store_batch {
    const struct store_proxied *requests; /* a stored one of the same id is replaced, unless that is final and this is not */
    const struct store_text *texts;
    const struct store_account *accounts;
    size_t n_requests, n_texts, n_accounts;
    bool durable; /* synced to the disk */
};
/* One transaction: all of it, or nothing. */
enum joulet_status store_put_proxied(struct store *s, const struct store_batch *b, struct joulet_error *err);

struct store_wanted {
    int64_t since_ns, until_ns;                           /* wall clock, [since, until); 0: open */
    const char *id, *session, *model, *client, *upstream; /* NULL: any; the session's trace counts as well */
    const char *state, *kind, *protocol;                  /* NULL: any */
    bool by_beginnings;                                   /* of the texts above all but id: "NAME*" is all that begin so */
    struct store_key {
        int64_t wall_ns;
        const char *id;
    } before, after; /* in the order of the rows; id NULL: none */
    bool newest_first;
    size_t limit; /* 0: all */
};
/* Rows in the order of their beginning, those of one moment by id; what they point to is valid in the call. False ends it. `body`
 * is read only when asked.
 */
typedef bool store_proxied_row(void *user, const struct store_proxied *q);
enum joulet_status store_each_proxied(struct store *s, const struct store_wanted *w, bool body, store_proxied_row *row,
                                      void *user, struct joulet_error *err);
typedef bool store_account_row(void *user, const struct store_account *a);
enum joulet_status store_each_account(struct store *s, const struct store_wanted *w, store_account_row *row, void *user,
                                      struct joulet_error *err);
/* Until store_thaw whoever reads through this store sees it as it is now, whatever others write. One thread. */
enum joulet_status store_freeze(struct store *s, struct joulet_error *err);
void store_thaw(struct store *s);
/* The texts of a request, appended; JOULET_NOT_FOUND: they were not kept. */
enum joulet_status store_proxied_text(struct store *s, const char *id, struct jl_buf *request, struct jl_buf *answer,
                                      struct joulet_error *err);
/* Requests that began before, their texts, and the accounts until then. */
enum joulet_status store_delete_proxied(struct store *s, int64_t before_wall_ns, int64_t *deleted, struct joulet_error *err);
#endif
