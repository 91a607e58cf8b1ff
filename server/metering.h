/* metering.h - what requests cost: listens to the observer beside the streams, tells what it recognises to the attribution (7.7),
 * hands it the windows of the sensors, and keeps what became of the latest requests. It may be late, or know nothing: no stream
 * ever waits for it. */
#ifndef SERVER_METERING_H
#define SERVER_METERING_H

#include "server/accounts.h"
#include "server/observe.h"

#define METERING_DEVICES   16
#define METERING_UPSTREAMS 32
#define METERING_REQUESTS  4096 /* that are remembered */

struct metering_options {
    struct joulet *meter; /* must outlive it */
    size_t channels[METERING_DEVICES];
    size_t n_channels; /* what the upstreams draw from: each joule once */
    uint32_t devices;  /* of channels[], by bits: of upstreams on this machine of which nothing else is said */
    bool everywhere;   /* and of those at other addresses: the user says that they run on them */
    struct metering_upstream {
        const char *url; /* as in server_upstream; must outlive it */
        uint32_t devices;
        bool look_up;                /* they are not named, but looked for from the start */
        const char *ring;            /* where the probe in its process writes; NULL: it is looked for in `probes` */
    } upstreams[METERING_UPSTREAMS]; /* whose devices the user named */
    size_t n_upstreams;
    const uint8_t *secret; /* WHO_SECRET bytes for the hashes of clients' keys; must outlive it; NULL: they are not told apart */
    double recognise_patience_s;                    /* for the process that recognises, before it is taken to hang; 0: 2 s */
    bool keeps;                                     /* requests that ended go to the store */
    const char *db;                                 /* its path; must outlive it; NULL: joulet.db in the data folder */
    bool keeps_text;                                /* with what was asked and answered */
    void (*said)(void *user, const char *sentence); /* what the operator should know; any thread; NULL: nobody listens */
    void *user;
    bool look_up;            /* whose processes serve, on which devices they are, and what of the processor's time is theirs */
    const char *probes;      /* folder in which probes inside engines write; must outlive it; NULL: none is looked for */
    size_t waiting_most;     /* requests that wait for the store; 0: LEDGER_ITEMS */
    const char *learnt_path; /* where what was learnt of models is kept; must outlive it; NULL: nowhere */
};
struct metering;
/* Copies *o. */
enum joulet_status metering_open(struct metering **out, const struct metering_options *o, struct joulet_error *err);
/* After the server; NULL is fine. False: a thread that hangs still looks at it and at what it was opened with, the meter too:
 * both stay until the process ends. */
bool metering_close(struct metering *m);
/* Its observer hangs and may still be told: closing stores all and keeps what that one looks at. Any thread. */
void metering_left(struct metering *m);
const struct observer *metering_observer(const struct metering *m);
/* The observation that calls the observer, and so knows how far it has come; NULL: it is going away. */
void metering_follow(struct metering *m, struct observation *o);

/* An upstream is a joulet server, whose figures of its requests are taken instead of those of the devices here: `base` stands
 * before its /joulet/, and token (NULL: none) is what it asks for. base NULL: it is not known to be one, and will be when its
 * answers say so. Copies all; any thread. */
void metering_source(struct metering *m, const char *upstream, const char *base, const char *token);

/* What requests came to since the start, each once its figures are final; lives as long as the metering. */
struct accounts *metering_accounts(const struct metering *m);

/* The process that recognises (recognise_apart.h); -1: none runs now, or it is done in here. Any thread. */
int64_t metering_recogniser(struct metering *m);

/* How it goes with the store. */
struct metering_kept {
    uint64_t stored, dropped; /* rows that were written (a request may be twice), requests that are lost */
    size_t waiting;
    bool failing; /* it cannot be written at present */
};
/* False: nothing is stored. Any thread. */
bool metering_kept(struct metering *m, struct metering_kept *out);

/* `"energy":{...}` of a request, as far as it is known now; in_usage: and before it what a chat program shows. 0: nothing. Any
 * thread; waits a millisecond at most. */
size_t metering_members(struct metering *m, const char *id, bool in_usage, char *out, size_t size);
/* JSON of one request, of those that are asked for, and of all accounts; false: there is no such request. Any thread. */
bool metering_write_request(struct metering *m, const char *id, struct jl_buf *out);
struct metering_filter {
    const char *model, *upstream, *client, *session, *state, *kind, *protocol; /* NULL: any; "llama3*": all that begin so */
    int64_t since_ns, until_ns;                                                /* wall clock; 0: open */
    /* Places in a list of all requests, by when they began and id, from an earlier answer; id "": none. after: the oldest of
     * those that follow. */
    struct metering_cursor {
        int64_t wall_ns;
        char id[20];
    } before, after;
    size_t limit;
};
/* Those that are remembered and those that are stored, newest first. */
void metering_write_requests(struct metering *m, const struct metering_filter *f, struct jl_buf *out);
/* Where a follower stands; all 0: at the beginning. */
struct metering_place {
    bool begun;
    uint64_t seen, caught_up; /* numbers of changes: told until, and until when nothing was left to tell */
};
/* Server-sent events begin (not told before), change, final, lost: at first what is under way and the latest f->limit that are
 * final, then what changed since, at most `most` of these. Nothing when nothing did. */
void metering_follow_requests(struct metering *m, const struct metering_filter *f, struct metering_place *p, size_t most,
                              struct jl_buf *out);
/* Sums of all that is stored and of what waits to be, as of one moment; usage_release it after JOULET_OK. JOULET_NOT_FOUND:
 * nothing is stored; JOULET_BUSY: the store hangs. */
struct usage;
struct usage_wanted;
enum joulet_status metering_usage(struct metering *m, const struct usage_wanted *w, struct usage *u, struct joulet_error *err);
void metering_write_energy(struct metering *m, struct jl_buf *out);
void metering_write_metrics(struct metering *m, struct jl_buf *out); /* families of Prometheus */

#endif
