/* updates.h - from reads of a channel to its updates (1.3): the moment at which the device gave a new value, and the half-width
 * of the interval in which that is known to have happened. Pure: times come with the reads. */
#ifndef JL_UPDATES_H
#define JL_UPDATES_H

#include "lib/base/base.h"

enum updates_kind { UPDATES_COUNTER, UPDATES_POWER, UPDATES_GAUGE };

#define UPDATES_DISTANCES 16

struct updates {
    enum updates_kind kind;
    int64_t poll_ns;   /* between two reads when no update is predicted */
    int64_t period_ns; /* U, declared or found; 0: not known */
    bool predict;      /* find the period and look for each update where it is due */
    double max_w;      /* a counter that grows by more than 1.5 times this was reset; NAN: not known */

    bool has, gap;                    /* a value was read; a read failed since */
    int64_t value, read_ns, begun_ns; /* of the last good read */
    int64_t shown;                    /* value of the last update */
    int64_t own_ns;                   /* last timestamp of the device's own */
    int64_t edge_ns, edge_hw;         /* last update */
    int64_t changed_ns;               /* last update that a change showed sharply; 0: none since */
    int64_t locked_ns;                /* last event-locked update; INT64_MIN: none */
    int repeats;                      /* updates inserted since the last change */
    int64_t distances[UPDATES_DISTANCES];
    unsigned n_distances;
    bool period_found;
};

/* A good read: begun at t0, ended at t1. */
struct updates_read {
    int64_t t0_ns, t1_ns, value;
    int64_t own_ns; /* timestamp of the device's own, 0: none */
    bool reset, late;
};

void updates_init(struct updates *u, enum updates_kind kind, int64_t poll_ns, int64_t period_ns, bool predict, double max_w);
/* How often to read a channel of that period, if `poll_ns` is usual: often enough to tell its updates apart, unless so seldom
 * that every read is one. */
int64_t updates_poll(int64_t poll_ns, int64_t period_ns);
/* Takes a read in; true if it shows an update, which is then in *out. */
bool updates_from(struct updates *u, const struct updates_read *read, struct joulet_sample *out);
/* A read failed: the next update may have happened at any time since the last good one. */
void updates_failed(struct updates *u);
/* An event-locked update: after the begin of one read of the counter and before the end of the next (1.3); false if these lie too
 * far apart to be one. */
bool updates_locked(struct updates *u, int64_t begin_ns, int64_t end_ns, int64_t value, struct joulet_sample *out);
/* When to read next, given that the last read was due at `due_ns`. */
int64_t updates_next(const struct updates *u, int64_t due_ns);
/* true while an update is expected at any moment: a bad time for slow reads of other things. */
bool updates_expected(const struct updates *u, int64_t now_ns);
/* Polled samples this close to a locked one are dropped. */
int64_t updates_lock_span(const struct updates *u);

#endif
