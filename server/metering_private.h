/* metering_private.h - what the files of the metering share. */
#ifndef SERVER_METERING_PRIVATE_H
#define SERVER_METERING_PRIVATE_H

#include "lib/platform/platform.h"
#include "server/metering.h"
#include "server/recognise_apart.h"
#include "server/who.h"
#include "store/store.h"

#include <pthread.h>

#define METERING_ENGINES 64
#define METERING_HEADS   ((size_t)8192) /* lists of the table */
#define NOWHERE          SIZE_MAX
#define METERING_CHANGES ((size_t)8192) /* that a follower may be behind */

/* A channel and where its windows stand (metering_windows.c, that thread alone where nothing else is said). */
struct metering_device {
    size_t channel; /* of the meter */
    struct joulet_channel ch;
    size_t device;         /* of the attribution */
    joulet_mark done_ns;   /* windows until then were handed in; 0: none yet */
    joulet_mark looked_ns; /* for an idle level */
    bool fell_back;        /* windows were handed in without one: all of it was shared out */
    /* under the lock */
    struct joulet_baseline idle; /* power_w NAN: not known yet */
    joulet_mark level_ns;        /* from then on it is what counts; 0: from the beginning */
    double lost_s;               /* time that was not measured */
};

/* One model at one upstream. */
struct metering_engine {
    char *upstream, *model;
    size_t engine;        /* of the attribution; NOWHERE: it draws its power elsewhere, or there are too many */
    uint32_t devices;     /* by bits, as in metering_options */
    double bytes_a_token; /* of prompts, as told so far */
};

/* A request, under way or over. */
struct metered {
    uint64_t key;            /* its id */
    uint64_t number;         /* 1.. in the order of arrival */
    uint64_t began, changed; /* numbers of changes (metering_list.c) */
    char id[20];
    bool used, live, final, entered;
    bool no_level;        /* in a part of its life the idle level was not known */
    size_t request, next; /* of the attribution; in its list of the table, NOWHERE: the last */
    size_t engine;        /* NOWHERE: not entered yet */
    struct recognised r;
    struct who who;
    enum observed_how how;
    bool lost;
    int64_t wall_ns, t_ns, t_sent_ns, t_end_ns;
    struct joulet_attributed energy; /* when it is final; of a tunnel, of the times that are final so far */
    size_t open;                     /* of its times in the attribution, those that are not final: a tunnel has many */
    char tunnel[20];                 /* in which it was asked; "" none */
    size_t parts;                    /* requests in this tunnel so far */
    bool read;                       /* the frames of this tunnel were */
};

struct metering {
    struct metering_options o;
    struct observer observer;
    struct apart *apart;      /* of the observer's thread, as ... */
    atomic_llong recogniser;  /* its process, as the observer's thread last saw it */
    struct exchange *tunnels; /* ... those that are open */
    struct joulet_attribution *attribution;
    struct metering_device devices[METERING_DEVICES];
    struct accounts *accounts; /* its own lock, taken last */
    struct ledger *ledger;     /* too; NULL: nothing is stored */
    size_t n_open;             /* requests that entered and are not final, under the lock */
    struct jl_buf learnt;      /* by earlier ones; not changed after opening */
    struct jl_thread *thread;
    atomic_bool stop;
    pthread_mutex_t follow_lock; /* of `observation` */
    struct observation *observation;
    pthread_mutex_t lock; /* of all below, and of the attribution */
    struct metering_engine engines[METERING_ENGINES];
    size_t n_engines;
    struct metered *table; /* METERING_REQUESTS, taken in turn */
    size_t *heads;         /* METERING_HEADS lists by key; NOWHERE: empty */
    size_t turn;
    uint64_t n_requests, n_final, n_unmetered;
    size_t in_flight;
    atomic_ullong changes;                 /* of requests, ever; read by followers without the lock */
    uint32_t change_log[METERING_CHANGES]; /* places of the table that changed, by number of the change */
    joulet_mark opened_ns, quiet_ns;       /* when the last request left */
    joulet_mark first_ns;                  /* when the first came; 0: none yet */
};

/* metering.c, under the lock */
struct metered *metering_find(struct metering *m, const char *id);
struct metered *metering_take(struct metering *m, const struct observed *x); /* NULL: all places are in use */
bool metering_level_known(const struct metering *m, joulet_mark since);      /* the idle levels, from then on */

void metering_tunnel_ended(struct metering *m, struct metered *x);

/* metering_observe.c */
bool metering_observer_open(struct metering *m); /* false: no memory */
/* metering_learnt.c */
void metering_learnt_read(struct metering *m);
void metering_learnt_recall(struct metering *m, const struct metering_engine *e); /* under the lock */
void metering_learnt_keep(struct metering *m);
/* metering_windows.c */
void metering_windows_run(void *arg);
/* metering_list.c, under the lock: it began, went on or ended, and followers want to know */
void metering_changed(struct metering *m, struct metered *x);
/* metering_json.c, under the lock */
const char *metering_state_name(const struct metered *x);
void metering_put_request(struct metering *m, const struct metered *x, struct jl_buf *out);
/* metering_told.c, under the lock */
struct joulet_energy metering_energy(struct metering *m, const struct metered *x);
bool metering_failed(const struct metered *x); /* no whole answer, or an error */
void metering_final(struct metering *m, const struct metered *x);
/* metering_json.c, under the lock */
struct joulet_attributed metering_figures(struct metering *m, const struct metered *x);
/* Standard uncertainty of its net energy. */
double metering_net_u(const struct metering *m, const struct metered *x, const struct joulet_attributed *a);
enum joulet_provenance metering_provenance(const struct metering *m);
void metering_put_energy(struct metering *m, const struct metered *x, struct jl_buf *out);

#endif
