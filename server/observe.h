/* observe.h - a look at exchanges, after they were passed on. The stream writes what it has sent into a ring of fixed size and
 * goes on; a thread of its own reads that ring and calls an observer. When the observer is too slow the ring is full: then the
 * exchange is marked as not wholly seen, and nothing else happens. */
#ifndef SERVER_OBSERVE_H
#define SERVER_OBSERVE_H

#include "net/net_server.h"

/* An exchange as it begins; all valid until `end` returned. */
struct observed {
    char id[20];                      /* as in X-Joulet-Request */
    const char *upstream;             /* URL of the upstream */
    const char *method, *target;      /* as sent to it */
    const struct net_header *headers; /* as the client sent them, with X-Joulet-* and the keys: hash them, never keep them */
    size_t n_headers;
    char peer[48]; /* address of the client */
    int64_t t_ns;  /* when the head of the request was there (monotonic) */
    int64_t wall_ns;
};

enum observed_how {
    OBSERVED_DONE,        /* whole */
    OBSERVED_CLIENT_GONE, /* the client closed before the end */
    OBSERVED_CUT,         /* the upstream broke off, or we stop */
    OBSERVED_FAILED       /* the upstream gave no answer at all: the client got one of ours */
};
struct observed_end {
    enum observed_how how;
    bool lost; /* the observer was too slow: pieces of the request or the answer are missing from here on */
    int64_t t_ns;
};

/* Called in one thread, in the order of the stream; any may be NULL but begin and end. */
struct observer {
    void *user;
    /* Returns what the others get as `state`; NULL: this exchange is of no interest, and nothing more is told of it. */
    void *(*begin)(void *user, const struct observed *x);
    /* The request's body in pieces, up to OBSERVE_BODY_MAX bytes; then one call with n 0: sent at t_ns, whole or cut there. */
    void (*request)(void *state, const char *bytes, size_t n, bool whole, int64_t t_ns);
    void (*head)(void *state, int status, const struct net_header *headers, size_t n, int64_t t_ns);
    /* Bytes of the answer's body as they came; in a tunnel those from the client as well. */
    void (*chunk)(void *state, bool from_client, const char *bytes, size_t n, int64_t t_ns);
    void (*end)(void *state, const struct observed_end *e);
    /* Optional: everything so far was told, and nothing will be for a while; also many times while nothing passes. */
    void (*pause)(void *user);
};
/* Two observers as one: each is told what it wants to know. What they are must outlive it. */
struct observe_tee {
    const struct observer *both[2];
    struct observer observer; /* to be opened */
};
void observe_tee_init(struct observe_tee *t, const struct observer *first, const struct observer *second);
#define OBSERVE_BODY_MAX ((size_t)1 << 20)
#define OBSERVE_RING     ((size_t)8 << 20)

struct observation; /* all of it: ring and thread */
enum joulet_status observation_open(struct observation **out, const struct observer *o, size_t ring_bytes,
                                    struct joulet_error *err);
/* Waits at most patience_s for the observer to read what is in the ring. False: it hangs, and is left behind with its memory; it
 * may still be told until the process ends. */
bool observation_close(struct observation *o, double patience_s);
uint64_t observation_lost(const struct observation *o); /* exchanges that were not wholly seen */
/* A moment before which the observer was told everything: now when nothing is under way. Any thread. */
int64_t observation_seen_ns(struct observation *o);

/* The side of the stream: each call costs a copy and never waits for the observer. o NULL: no call does anything. */
struct watched;
struct watched *watched_begin(struct observation *o, const struct observed *x); /* copies *x; NULL: not watched */
void watched_request(struct watched *w, const char *bytes, size_t n, bool whole, int64_t t_ns);
void watched_head(struct watched *w, int status, const struct net_header *headers, size_t n, int64_t t_ns);
void watched_chunk(struct watched *w, bool from_client, const char *bytes, size_t n, int64_t t_ns);
void watched_end(struct watched *w, enum observed_how how, int64_t t_ns); /* w is gone */

#endif
