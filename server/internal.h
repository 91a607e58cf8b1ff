/* internal.h - what the files of the server share. */
#ifndef SERVER_INTERNAL_H
#define SERVER_INTERNAL_H

#include "server/guard.h"
#include "server/headers.h"
#include "server/model_lists.h"
#include "server/route.h"
#include "server/rules.h"
#include "server/server.h"
#include "server/splice.h"

#include <pthread.h>

#define SERVER_BODY_WHOLE                                                                                                        \
    ((size_t)1 << 20) /* bodies up to this are sent in one piece, and again when a kept connection was stale */

struct server {
    struct server_options o; /* of it only what cannot change: the rest is in the rules */
    pthread_mutex_t rules_lock;
    struct rules *rules;
    struct net_server *net;
    struct net_pool *pool;
    struct observation *observation;
    struct model_lists *models; /* of several upstreams; NULL while it opens */
    struct observe_tee tee;
    struct api_shared *api;
    struct net_handler handler;
    struct jl_rng ids;
    char instance[20];
    atomic_uint active;
    atomic_ullong served, ids_given;
    atomic_bool draining;
    int64_t started_ns;
    double process_start_s;
    struct metrics_port *metrics;
};

/* One request on its way: passage.c. */
struct passage {
    struct server *server;
    struct rules *rules; /* those that it began with */
    struct net_call *call;
    const struct net_head *head;
    const char *target;               /* without the token */
    const struct server_upstream *to; /* NULL: not known yet */
    struct upstream *upstream;
    char *up_target;            /* as the upstream gets it */
    char *authorization;        /* of the upstream; NULL: what the client sends */
    char *via;                  /* joulet servers that it came through, to another one; NULL */
    struct net_header *headers; /* as the upstream gets them */
    size_t n_headers;
    struct jl_buf body;
    bool own;                  /* of a path below /joulet/ ... */
    struct api_stream *events; /* ... whose answer goes on */
    bool streaming, refused;   /* the body goes as it comes; what comes is not wanted */
    uint64_t body_n;
    struct net_exchange *exchange;
    struct net_tunnel *tunnel;
    struct watched *watched;
    char id[20];
    bool cut, answered, gone;               /* the answer broke off; it was the upstream's; the client left */
    bool client_asks, asked_usage, splices; /* counts of a stream: the client's wish, ours; the answer goes through `splicer` */
    struct jl_buf asked;                    /* the body with our wish */
    struct splicer splicer;
    char *source;      /* of the energy that a joulet server put in; NULL */
    struct jl_buf out; /* what it gave, from out_at on */
    size_t out_at;
    bool ended, broken; /* the upstream's answer, as it should or not */
    bool again;         /* asked a second time, which nobody need see */
    int fault;          /* status of an answer of ours for want of one; 0: none */
    char why[sizeof(((struct joulet_error *)0)->message)];
    int64_t t_last_ns;
};

/* An answer of our own: an error in the words of the API that the path belongs to. close: the request's body was not read. */
bool server_refuse(struct net_call *call, const char *target, int status, const char *sentence, bool close);
bool server_is_own(const char *target); /* a path below /joulet/ */
/* Tells whoever keeps the log of a request that is answered with this and goes nowhere. */
void server_refused(struct server *s, const struct net_head *head, const char *target, int status, const char *why);
/* Answers one; the request is whole (api.c). */
bool server_own(struct passage *p, struct net_call *call);
void server_error_json(struct jl_buf *out, const char *code, const char *message, const char *remedy);
void server_json_string(struct jl_buf *out, const char *s);
void server_say(struct server *s, const char *sentence);
struct rules *server_rules(struct server *s); /* as they are now; rules_drop afterwards */
/* The upstream failed, or works again: said when that changes. */
void server_upstream_failed(struct server *s, struct upstream *u, const char *sentence);
void server_upstream_works(struct upstream *u);

/* passage.c */
void *passage_begin(struct server *s, struct rules *rules, struct net_call *call, const struct net_head *head, const char *target,
                    bool own);
void passage_body(void *state, const char *bytes, size_t n);
void passage_answer(void *state, struct net_call *call);
long passage_read(void *state, char *bytes, size_t size);
int passage_source(void *state);
long passage_read_now(void *state, char *bytes, size_t size);
void passage_end(void *state, enum net_end how);
/* passage_via.c: between joulet servers; room for three headers more. False: a fault. */
#define PASSAGE_VIA    "X-Joulet-Via"
#define PASSAGE_INJECT "X-Joulet-Inject"                /* energy, usage, none */
enum splice_form passage_form(const struct passage *p); /* where the energy goes: as who asks wishes, if we may at all */
bool passage_loops(const struct passage *p);            /* it came through here already */
bool passage_to_joulet(struct passage *p);
void passage_notice_joulet(struct passage *p, const struct net_reply *reply);
/* passage_splice.c */
void passage_ask_usage(struct passage *p);
bool passage_refuses_usage(struct passage *p, int status);
void passage_splice_begin(struct passage *p, const struct net_reply *reply, bool at_hand, int64_t *length);
long passage_splice_take(struct passage *p, char *bytes, size_t size);
size_t passage_splice_room(struct passage *p, size_t size);
void passage_splice_end(struct passage *p, bool whole);
void passage_splice_release(struct passage *p);
/* passage_tunnel.c */
void passage_switch(struct passage *p);
void passage_tunnel(void *state, int fd, const char *early, size_t n);
/* The upstream gives no answer: its exchange is closed, and ours is made up. It can be given only when the request is whole. */
void passage_fail(struct passage *p, const struct joulet_error *err);
void passage_answer_fault(struct passage *p);
void passage_watch_begin(struct passage *p);

#endif
