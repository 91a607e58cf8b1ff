/* usage.h - what passed the proxy, as it is stored, in sums: by model, client, tag, session, upstream or day, and as a tree of
 * the calls of agents (docs/proxy-accounts.md). Energies are gross: with their part of the idle power, so that requests, idle and
 * the rest add up to what was measured. */
#ifndef REPORT_USAGE_H
#define REPORT_USAGE_H

#include "report/carbon.h"

enum usage_by { USAGE_MODEL, USAGE_CLIENT, USAGE_TAG, USAGE_SESSION, USAGE_UPSTREAM, USAGE_DAY, USAGE_DIMENSIONS };
#define USAGE_ROWS_MAX  100000 /* sums; further ones go to the last, "other" */
#define USAGE_CALLS_MAX 200000 /* of a tree */

/* "model", ...; USAGE_DIMENSIONS: none of that name. */
enum usage_by usage_by_name(const char *word);
const char *usage_by_word(enum usage_by by);

struct usage_wanted {
    int64_t since_ns, until_ns; /* wall clock, [since, until), by the beginning of requests; 0: open */
    enum usage_by by[USAGE_DIMENSIONS];
    size_t n_by;
    int64_t utc_offset_s;      /* of the days: local time less UTC */
    const struct run *factors; /* whose factors make grams and money of joules */
};

struct usage_sums {
    int64_t requests, failed;
    int64_t without_energy, without_tokens, provisional, counted; /* of them; counted: tokens from pieces, not told */
    int64_t tokens_in, tokens_cached, tokens_out;
    int64_t without_phases; /* of those that have an energy: the parts are not known */
    struct joulet_energy energy;
    struct joulet_energy load, prefill, decode; /* parts of it; load: of models, asked for by itself */
    double seconds;                             /* of all requests together */
    double emissions_g, cost;                   /* NAN unknown */
};
struct usage_row {
    char *names[USAGE_DIMENSIONS]; /* n_by of them */
    struct usage_sums s;
    size_t next; /* in a list of those with one hash */
};
/* Energy that is no request's, with what it emitted and cost. */
struct usage_line {
    double j, emissions_g, cost;
};
struct usage {
    struct usage_wanted w;
    struct usage_row *rows; /* in the order of their energy, days in the order of time */
    size_t n;
    struct usage_sums total;
    int64_t first_ns, last_ns; /* of the requests; 0: none */
    bool measured_known;       /* there are accounts */
    struct usage_line measured, vacant, keep_alive, other, residual, idle_device;
    struct usage_line listed, unlisted; /* of requests: of those in rows, and of others */
    struct usage_line beyond;           /* of those in rows, in no account: estimated, or drawn outside of the time */
    double unmeasured_s, shared_s;      /* shared: another proxy metered the same device, and has the energy as well */
    /* inside */
    size_t heads[4096], cap;
    bool failed;
    char (*added)[24]; /* ids, sorted when the store is read */
    size_t n_added, cap_added;
    struct carbon_clock *clock;
};
enum joulet_status usage_read(struct usage *u, struct store *s, const struct usage_wanted *w, struct joulet_error *err);
/* The same in parts, where something waits to be stored: begin, add what waits, read the store for the rest, finish. Of a request
 * that was added the store's row is older, and left out. usage_release after any failure, too. */
enum joulet_status usage_begin(struct usage *u, const struct usage_wanted *w, struct joulet_error *err);
void usage_add(struct usage *u, const struct store_proxied *q);
void usage_add_account(struct usage *u, const struct store_account *a);
enum joulet_status usage_finish(struct usage *u, struct store *s, struct joulet_error *err);
void usage_release(struct usage *u);
void usage_text(struct jl_buf *out, const struct usage *u, const struct report_style *style);
void usage_json(struct jl_buf *out, const struct usage *u);
void usage_csv(struct jl_buf *out, const struct usage *u);

/* ---- trees (usage_tree.c) ------------------------------------------------------------------------------------------------- */

/* session NULL: every one in the period; else that one, by its name or trace. */
struct usage_tree;
enum joulet_status usage_tree_read(struct usage_tree **out, struct store *s, const struct usage_wanted *w, const char *session,
                                   struct joulet_error *err);
void usage_tree_release(struct usage_tree *t);
void usage_tree_text(struct jl_buf *out, const struct usage_tree *t, const struct report_style *style);
void usage_tree_json(struct jl_buf *out, const struct usage_tree *t);

#endif
