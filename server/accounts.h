/* accounts.h - what was asked for and drawn since the start, by upstream, model, protocol and client: a bounded number of sums.
 * Names are the clients': what does not fit goes to "other", so that nobody fills memory or a page of metrics by inventing some.
 *
 * Any thread; nothing here waits for more than an addition. */
#ifndef SERVER_ACCOUNTS_H
#define SERVER_ACCOUNTS_H

#include "run/run.h"

#define ACCOUNTS_ROWS    1024 /* sums in all; the last is everybody's */
#define ACCOUNTS_CLIENTS 256  /* clients by name */
#define ACCOUNTS_MODELS  256  /* models by name */
#define ACCOUNTS_OTHER   "other"

enum accounts_phase { ACCOUNTS_LOAD, ACCOUNTS_PREFILL, ACCOUNTS_DECODE, ACCOUNTS_PHASES };

/* One request that ended, once its figures are final. */
struct accounts_entry {
    const char *upstream, *model, *protocol, *client; /* NULL or "": "unknown" */
    const char *kind;                                 /* "inference", ...; static */
    bool failed;                                      /* no answer, an error, or cut */
    bool counted;                                     /* generated tokens were counted from pieces, not told */
    struct run_tokens tokens;
    struct joulet_energy energy;                  /* JOULET_ENERGY_UNKNOWN: not known, as of an engine elsewhere */
    struct joulet_energy phases[ACCOUNTS_PHASES]; /* parts of it; unknown or all 0: not known */
    double duration_s, prefill_s, decode_s;       /* NAN: not known */
};

struct accounts_sums {
    uint64_t requests, failed;
    uint64_t without_energy, without_tokens; /* of them, those that the sums below lack */
    uint64_t counted;                        /* of them, those whose generated tokens were counted */
    uint64_t prompt, cached, generated, reasoning;
    struct joulet_energy energy; /* by joulet_energy_chain: terms that requests have in common add linearly */
    double phase_net_j[ACCOUNTS_PHASES], phase_gross_j[ACCOUNTS_PHASES];
    double duration_s, prefill_s, decode_s;
    /* The highest that they were: of counters, which never fall. */
    double most_net_j, most_gross_j, most_phase_net_j[ACCOUNTS_PHASES], most_phase_gross_j[ACCOUNTS_PHASES];
};

struct accounts_row {
    const char *upstream, *model, *protocol, *client; /* they live as long as the accounts */
    struct accounts_sums sums;
};

struct accounts;
enum joulet_status accounts_open(struct accounts **out, struct joulet_error *err);
void accounts_close(struct accounts *a); /* NULL is fine */
void accounts_add(struct accounts *a, const struct accounts_entry *e);
/* All rows as of one moment, in the order in which they came; free() it. NULL: no memory. */
struct accounts_row *accounts_snapshot(struct accounts *a, size_t *n);
/* The sum of all of them. */
void accounts_total(struct accounts *a, struct accounts_sums *out);

#endif
