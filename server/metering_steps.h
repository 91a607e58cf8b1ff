/* metering_steps.h - the steps of an upstream whose process holds a probe (probes/wire.h), given to the requests that they were
 * for. A probe knows numbers of sequences, not requests. Which is whose follows by exclusion, and only when it cannot be
 * another: else a request's tokens are those that are seen in the stream, as without a probe. All of it under the lock. */
#ifndef SERVER_METERING_STEPS_H
#define SERVER_METERING_STEPS_H

#include "server/metering_private.h"

#define STEPS_SLOTS 64 /* sequences of all contexts; bits of candidates */

/* A request, as it waits for its sequence or has it. */
struct metering_follower {
    struct metering_follower *next; /* of those of its upstream; in the list while `steps` is not NULL */
    struct metering_steps *steps;
    int64_t arrived_ns;           /* nothing can be computed for it before */
    size_t request;               /* of the attribution */
    uint64_t candidates, spanned; /* sequences computed since; that were under way when it came, and go on */
    bool waits;                   /* for its first piece */
    bool renewed;                 /* one of its candidates began another prompt after that piece, */
    int64_t first_ns;
    double doubt;                /* and it is not bound before so many pieces came */
    int slot;                    /* its own; -1 none */
    double prompt, told, pieces; /* tokens: computed of its prompt (NAN), told as steps, seen in the stream */
};

/* A ring was found for the place, or (path NULL) is no longer its. */
void metering_steps_use(struct metering *m, size_t place, const char *path);
/* Where the probe of an upstream's process writes: malloc'ed, NULL: there is none, or several. Without the lock. */
char *metering_steps_look(const char *folder, int64_t pid, const struct joulet_followed *followed);
void metering_steps_close(struct metering *m);
/* All steps that ended until t are told to the attribution. */
void metering_steps_until(struct metering *m, int64_t t_ns);

void metering_steps_enter(struct metering *m, size_t place, struct metering_follower *f, size_t request, int64_t arrived_ns);
/* A piece of its answer came, of *tokens. False: its steps were told, nothing is to be told of it. Else what remains of it, and
 * when it was computed. */
bool metering_steps_piece(struct metering *m, struct metering_follower *f, double *tokens, int64_t *t_ns);
/* computed: tokens of its prompt, as the engine says; -1 not told. */
void metering_steps_leave(struct metering *m, struct metering_follower *f, int64_t computed);

/* Requests whose steps were told so far; -1: no probe is there, or its steps are not used. */
int64_t metering_steps_requests(const struct metering_host *p);

#endif
