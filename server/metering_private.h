/* metering_private.h - what the files of the metering share. */
#ifndef SERVER_METERING_PRIVATE_H
#define SERVER_METERING_PRIVATE_H

#include "lib/platform/platform.h"
#include "server/metering.h"
#include "server/recognise_apart.h"
#include "server/tallies.h"
#include "server/who.h"
#include "store/store.h"

#include <pthread.h>

struct metering_steps; /* metering_steps.h */

#define METERING_ENGINES  64
#define METERING_EARLIER  6
#define METERING_HEADS    ((size_t)8192) /* lists of the table */
#define METERING_PLACES   JOULET_GROUPS_MAX
#define METERING_WINDOW_S 0.05 /* of the sensors, that the shares are made of; at least their period */
#define METERING_LOOKS    64   /* at the processor time, that are remembered */
#define NOWHERE           SIZE_MAX
#define METERING_SOURCED  ((size_t)8192) /* requests whose figures a joulet server has yet to tell */
#define METERING_CHANGES  ((size_t)8192) /* that a follower may be behind */

/* A channel and where its windows stand (metering_windows.c, that thread alone where nothing else is said). */
struct metering_device {
    size_t channel; /* of the meter */
    struct joulet_channel ch;
    size_t device;         /* of the attribution */
    joulet_mark done_ns;   /* windows until then were handed in; 0: none yet */
    joulet_mark looked_ns; /* for an idle level */
    bool fell_back;        /* windows were handed in without one: all of it was shared out */
    /* under the lock */
    struct joulet_baseline idle;      /* power_w NAN: not known yet */
    joulet_mark level_ns;             /* from then on it is what counts; 0: from the beginning */
    double lost_s;                    /* time that was not measured */
    double told[6];                   /* counters of metering_metrics.c, which never fall */
    double empty_w;                   /* without a model in its memory, as it counts; NAN: not known */
    struct joulet_baseline levels[2]; /* without a model in its memory, with one */
    int loaded;                       /* 1, 0; -1: not known, and taken as 1 */
    joulet_mark changed_ns;           /* when that changed */
    bool used;                        /* by the processes of an upstream, or not known */
};

/* An upstream and its processes (metering_devices.c, that thread alone where nothing else is said). */
struct metering_look {
    joulet_mark t_ns;
    double used_s, busy_s; /* processor time of its processes, of all */
    bool quiet;            /* nobody asked */
};
struct metering_host {
    char *url;                        /* never changes */
    struct joulet_followed *followed; /* NULL: not found */
    joulet_mark found_ns;             /* looked for last */
    /* under the lock */
    enum { PLACE_NAMED, PLACE_FOUND, PLACE_ASSUMED, PLACE_ELSEWHERE } state;
    uint32_t devices;      /* that it draws from, by bits as in metering_options */
    uint32_t gpus;         /* on which its processes were seen last */
    uint32_t others;       /* on which are processes of no upstream */
    bool on_card, no_card; /* they are on one now; it computes without */
    bool sought;           /* where its processes are is not known yet, and may be found out */
    const char *why;       /* it is not PLACE_FOUND; static, NULL */
    int64_t pid;           /* -1: not found */
    char name[16];
    bool container, listens;
    int loaded;       /* a model is in its memory: 1, 0; -1 not known */
    size_t processes; /* alive */
    size_t decoding;  /* requests of which a piece came */
    struct metering_look looks[METERING_LOOKS];
    size_t n_looks;
    double idle_used, idle_busy; /* processor time a second while nobody asks; NAN */
    double part;                 /* of the processor's energy, last */
    char *base, *token;    /* of a joulet server (metering_source.c): what stands before its /joulet/; NULL: none is known */
    bool source;           /* its figures are taken */
    joulet_mark asked_ns;  /* that it was asked whether it is one, last; 0: never */
    joulet_mark silent_ns; /* it did not answer then, and is left alone for a while */
    struct metering_steps *steps; /* of the probe in its process; NULL: none */
};

/* One model at one upstream. */
struct metering_engine {
    char *upstream, *model;
    size_t place;     /* NOWHERE: too many */
    size_t engine;    /* of the attribution; NOWHERE: it draws its power elsewhere, or there are too many */
    uint32_t devices; /* by bits, as in metering_options */
    bool unsure;      /* on which of them its upstream's processes are is sought */
    struct {
        size_t engine;
        uint32_t devices;
    } earlier[METERING_EARLIER]; /* on other devices, which may come again */
    size_t n_earlier;
    double edge_off2; /* mean square of what pieces came later than its times say, s2 */
    uint64_t edges;
    double bytes_a_token; /* of prompts, as told so far */
};

/* When a request was computed, on our clock; 0: not known. */
struct metering_edges {
    int64_t prefill_ns, boundary_ns, end_ns;
    double u_s;         /* standard uncertainty */
    double off_s;       /* the first piece came so much later than the engine's times say; NAN: they do not */
    const char *source; /* "engine timings", "stream arrival"; NULL: nothing was seen */
};

/* A request whose figures are asked for. */
struct metering_ask {
    char id[20], inner[24];
    size_t place;
    int64_t due_ns, until_ns;
    double step_s;
    int unknown; /* times that it was not known there */
};

/* A request, under way or over. */
struct metered {
    uint64_t key;            /* its id */
    uint64_t number;         /* 1.. in the order of arrival */
    uint64_t began, changed; /* numbers of changes (metering_list.c) */
    char id[20];
    bool used, live, final, entered;
    bool sourced;     /* its figures come from the joulet server that is its upstream */
    double came;      /* tokens of its answer so far; a piece whose tokens are not told is one */
    uint32_t devices; /* it drew from */
    bool assumed;     /* which those are was not known */
    bool others;      /* other programs compute on them too */
    bool decodes;
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
    char inner[24];                  /* its id at the joulet server that is its upstream; "" not told */
    struct engine_told told;         /* what that one says of it, when it is sourced */
};

struct metering {
    struct metering_options o;
    struct observer observer;
    struct apart *apart;      /* of the observer's thread, as ... */
    atomic_llong waits_ns;    /* since when something is not told that the observation told; 0: nothing */
    atomic_llong recogniser;  /* its process, as the observer's thread last saw it */
    struct exchange *tunnels; /* ... those that are open */
    struct joulet_attribution *attribution;
    struct metering_device devices[METERING_DEVICES];
    struct accounts *accounts;                 /* its own lock, taken last */
    struct ledger *ledger;                     /* too; NULL: nothing is stored */
    struct tallies *tallies;                   /* likewise */
    size_t n_open;                             /* requests that entered and are not final, under the lock */
    struct jl_buf learnt;                      /* by earlier ones; not changed after opening */
    struct jl_thread *thread, *devices_thread; /* the second NULL: nobody is looked for */
    struct jl_thread *source_thread;
    atomic_bool stop, closes;    /* closes: nothing more will come, and nothing waits for it */
    atomic_bool left;            /* the observer's thread goes on until the process ends */
    pthread_mutex_t follow_lock; /* of `observation` */
    struct observation *observation;
    pthread_mutex_t lock; /* of all below, and of the attribution */
    struct metering_host places[METERING_PLACES];
    size_t n_places;
    struct metering_engine engines[METERING_ENGINES];
    size_t n_engines;
    struct metered *table;     /* METERING_REQUESTS, taken in turn */
    size_t *heads;             /* METERING_HEADS lists by key; NOWHERE: empty */
    struct metering_ask *asks; /* METERING_SOURCED */
    size_t n_asks;
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

/* Its figures are final now: tells whoever keeps them. */
void metering_is_final(struct metering *m, struct metered *x);
void metering_tunnel_ended(struct metering *m, struct metered *x);

/* metering_observe.c */
bool metering_observer_open(struct metering *m); /* false: no memory */
/* metering_learnt.c */
void metering_learnt_read(struct metering *m);
void metering_learnt_recall(struct metering *m, const struct metering_engine *e); /* under the lock */
void metering_learnt_keep(struct metering *m);
/* metering_source.c, under the lock but for the thread */
void metering_source_run(void *arg);
void metering_source_noticed(struct metering *m, struct metered *x, size_t place, const char *inner);
void metering_source_ended(struct metering *m, struct metered *x); /* its figures are asked for */
void metering_source_close(struct metering *m);
const char *metering_source_of(const struct metering *m, const struct metered *x); /* who measured it; NULL: not another one */
bool metering_waits(const struct metered *x);                                      /* for its final figures */
/* metering_windows.c */
void metering_windows_run(void *arg);
/* metering_list.c: remembered requests that pass, newest first, malloc'ed; NULL: no memory. */
struct chosen {
    struct metering_cursor key;
    uint64_t number;
    const struct metered *at; /* still it while `used` and of that number */
};
struct chosen *metering_choose(struct metering *m, const struct metering_filter *f, size_t *n);
int metering_compare(const struct metering_cursor *a, const struct metering_cursor *b); /* in the order of time */
/* metering_list.c, under the lock: it began, went on or ended, and followers want to know */
void metering_changed(struct metering *m, struct metered *x);
/* metering_engines.c: its place in `engines`, on the devices of now; NOWHERE: there are too many */
size_t metering_engine_of(struct metering *m, const char *upstream, const char *model);
/* What was found of its place: requests under way no longer pay for devices that its processes are not on. */
void metering_engines_found(struct metering *m, size_t place);
bool metering_engines_unsure(const struct metering *m); /* somebody computes of whom that is sought */
/* metering_devices.c */
void metering_devices_run(void *arg);
void metering_devices_close(struct metering *m);
size_t metering_place_of(struct metering *m, const char *url); /* under the lock; NOWHERE: there are too many */
const char *metering_place_state(const struct metering_host *p);
/* metering_edges.c */
struct metering_edges metering_edges_of(const struct metered *x);
void metering_edges_learn(struct metering_engine *engine, const struct metering_edges *e);
double metering_edge_u(const struct metering_engine *engine, const struct metering_edges *e); /* with what was learnt */
/* metering_phases.c: of a request that is final; false: not known. */
bool metering_phases(struct metering *m, const struct metered *x, struct joulet_energy *prefill, struct joulet_energy *decode);
/* The same of every kind of request, for sums; `all`: its energy. What is not known is JOULET_ENERGY_UNKNOWN. */
struct metering_split {
    struct joulet_energy load, prefill, decode;
};
struct metering_split metering_split(struct metering *m, const struct metered *x, const struct joulet_energy *all);
/* metering_processor.c */
void metering_look(struct metering *m, size_t n_places);
/* Under the lock: parts of groups of the window, as joulet_attribution_energy_of wants them; 0: not known. */
size_t metering_parts(struct metering *m, const struct metering_device *d, joulet_mark from, joulet_mark to, double *parts);
/* Until when that is known; INT64_MAX: there is nothing to wait for. */
joulet_mark metering_looked_until(struct metering *m, const struct metering_device *d, joulet_mark now);
/* metering_json.c, under the lock */
const char *metering_state_name(const struct metered *x);
void metering_put_request(struct metering *m, const struct metered *x, struct jl_buf *out);
/* metering_told.c, under the lock */
struct joulet_energy metering_energy(struct metering *m, const struct metered *x);
bool metering_failed(const struct metered *x); /* no whole answer, or an error */
void metering_final(struct metering *m, const struct metered *x);
/* metering_json.c, under the lock */
struct joulet_attributed metering_figures(struct metering *m, const struct metered *x);
/* What edges that are off leave open of its energy; standard uncertainty of its net energy, that included. */
double metering_event_u(const struct metering *m, const struct metered *x, const struct joulet_attributed *a);
double metering_net_u(const struct metering *m, const struct metered *x, const struct joulet_attributed *a);
enum joulet_provenance metering_provenance(const struct metering *m);
void metering_put_energy(struct metering *m, const struct metered *x, struct jl_buf *out);

#endif
