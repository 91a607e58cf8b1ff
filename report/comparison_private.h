/* comparison_private.h - shared by the files comparison*.c: the requests that take part, sorted. */
#ifndef REPORT_COMPARISON_PRIVATE_H
#define REPORT_COMPARISON_PRIVATE_H

#include "report/comparison.h"

/* Which channels are summed; n 0: the total of each record. */
struct chosen {
    const struct joulet_channel **channels; /* of the first run */
    size_t n;
};

/* A request as the metric sees it: value = part/per. */
struct figure_of {
    double part, per;
    double idle, time, spec; /* standard uncertainties that repeats share, of `part` */
    double random;           /* those that they do not */
};
void metric_figure(const struct compare_options *opt, const struct chosen *chosen, const struct run_request *q,
                   struct figure_of *out);
/* Energy of a request, net or gross, over the chosen channels. */
double metric_energy(const struct compare_options *opt, const struct chosen *chosen, const struct run_request *q);

bool metric_of_whole(const struct compare_metric *m); /* energy of whole requests, and not of a phase */

#define COMPARE_REPEATS 1000000 /* of a prompt; a plan has fewer requests in all */

/* One request that takes part, or a round of requests that ran at once. */
struct entry {
    char *prompt; /* what prompts are told apart by */
    size_t side;
    int64_t repeat;
    const struct run_request *q; /* of a round: what its requests are together */
    size_t requests;             /* 1, or those of the round */
    size_t checked, passed;      /* of them */
    struct figure_of f;
    double value;
    double energy_j; /* of the whole request */
};
struct entries {
    struct run_request *rounds; /* owned; none where every request has an energy of its own */
    size_t n_rounds, prompts;   /* different ones of a round */
    struct entry *items;        /* by prompt, side, repeat, index */
    size_t n;
    size_t *groups; /* where each prompt begins; n_groups + 1 */
    size_t n_groups;
};

/* Entries of a side in a group: a range. */
struct range {
    size_t from, to;
};
struct range entries_of(const struct entries *e, size_t group, size_t side);

/* comparison.c: takes q, or a round of `x->requests`, into the list; of x only the counts are read. False: no memory. */
bool comparison_add(struct entries *e, const struct comparison *c, const struct chosen *chosen, size_t side,
                    const struct run_request *q, const struct entry *x);
/* What makes two prompts the same; the caller frees it, NULL: no memory. */
char *comparison_prompt(const struct run_request *q);

/* comparison_rounds.c. Some requests ran at once, each inside of a level that was measured, and the metric is of whole requests.
 */
bool comparison_by_rounds(const struct comparison *c);
/* Rounds of all sides into the list, in place of their requests. False: no memory. */
bool comparison_take_rounds(struct comparison *c, const struct chosen *chosen, struct entries *e);

/* comparison_pairs.c: fills in results, places and the figures of the sides. */
enum joulet_status comparison_results(struct comparison *c, const struct entries *e, struct joulet_error *err);
bool comparison_note(struct comparison *c, const char *fmt, ...) JL_PRINTF(2, 3);
bool same_machine(const struct run *a, const struct run *b);

#endif
