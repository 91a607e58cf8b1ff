/* server.h - `joulet serve`: stands in front of engines and passes everything on, byte for byte; what is measured is looked at
 * beside the stream, never in it. */
#ifndef SERVER_H
#define SERVER_H

#include "net/net_server.h"
#include "server/observe.h"
#include "server/splice.h"

struct metering;
struct run;

/* Where requests go. The first without prefix and model takes what no other one wants. */
struct server_upstream {
    const char *url;    /* "http://127.0.0.1:8080", a path behind it stays in front of every target */
    const char *prefix; /* "/ollama": of paths below it, taken off; NULL */
    const char *key;    /* takes the place of the clients' Authorization; NULL: that is passed on */
    const char *model;  /* "llama3.2:1b", or "llama*": of requests that name it; NULL */
    const char *token;  /* of the joulet server that it is: sent as X-Joulet-Token; NULL */
    const char *joulet; /* it is known to be a joulet server, of this version; NULL */
    const char *source; /* and its figures are taken: what stands before /joulet/; NULL: it has none, or is no joulet server */
};

/* What the JSON API needs besides (docs/proxy-api.md); all of it must outlive the server. */
struct server_api {
    struct joulet *meter;         /* for sensors and power; NULL: nothing is measured */
    const char *program;          /* joulet itself, which doctor and runs are started with; NULL: they are refused */
    const char *const *arguments; /* of every such child, as --sim and its value: NULL-terminated; NULL none */
    const char *db;               /* of runs; NULL: joulet.db in the data folder */
    const struct run *factors;    /* whose factors make grams and money of what passed; NULL: none are known */
};

/* A request that went nowhere, for the log of the operator. */
struct server_refusal {
    const char *peer, *method; /* "" unknown */
    const char *path;          /* its first path_n bytes, without query and token; 0: it has none */
    size_t path_n;
    int status; /* 0: closed without an answer */
    const char *why;
};

struct server_options {
    const char *listen;
    const struct server_upstream *upstreams;
    size_t n_upstreams;
    const char *const *allow_hosts; /* names the clients may use, besides those of this machine; "*": any */
    size_t n_allow_hosts;
    const char *token;   /* NULL: none is asked for */
    const char *ca_file; /* certificates to trust of upstreams instead of the system's; NULL: those */
    bool insecure_http;  /* plain HTTP off loopback is wanted */
    unsigned connections_max;
    size_t header_max;               /* of a request's head; 0: 16 KiB */
    uint64_t body_max;               /* of a request; 0: 256 MiB */
    double client_idle_s;            /* a client that sends no request, or takes nothing of its answer; 0: 120 s */
    unsigned together;               /* streams at a time from which on one thread passes them all; 0: 4 */
    double connect_s;                /* to an upstream; 0: 5 s */
    double upstream_first_s;         /* an upstream that does not begin its answer for so long; 0: as upstream_idle_s */
    double upstream_idle_s;          /* an upstream that sends nothing for so long; 0: 3600 s */
    const struct observer *observer; /* besides the metering; NULL: none */
    struct metering *metering;       /* must outlive the server; NULL: nothing is measured */
    struct server_api api;
    const char *metrics_listen; /* a port that answers /metrics alone; NULL: none */
    bool metrics_open;          /* without a token there */
    enum splice_form inject;    /* where the energy goes in answers, when something is measured */
    /* What the operator should know, once each time it begins; any thread. */
    void (*said)(void *user, const char *sentence);
    void (*refused)(void *user,
                    const struct server_refusal *r); /* each time; any thread, and a client waits; NULL: nobody asks */
    void *user;
};

struct server;
/* The observer, the metering and the user must outlive it, the rest is copied. JOULET_USAGE before anything listens. */
enum joulet_status server_open(struct server **out, const struct server_options *o, struct joulet_error *err);
/* Takes new upstreams, names, token, limits and form of the energy; requests under way keep the old ones, and no connection is
 * closed. What cannot change is left alone: listen, header_max,
 * client_idle_s, together, observer, metering, said. On failure everything stays as it is. One thread.
 */
enum joulet_status server_reload(struct server *s, const struct server_options *o, struct joulet_error *err);
const char *server_address(const struct server *s);
const char *server_instance(const struct server *s);        /* which of all servers it is */
const char *server_metrics_address(const struct server *s); /* NULL: no port of its own */
unsigned server_connections(const struct server *s);        /* of clients */
unsigned server_active(const struct server *s);             /* exchanges under way */
uint64_t server_served(const struct server *s);             /* exchanges that ended */
/* An upstream did not answer when it was asked last, and has not since; and that is not said again before it fails once more. By
 * its place in the options. */
bool server_upstream_is_down(struct server *s, size_t i);
void server_upstream_is_back(struct server *s, size_t i);
/* Takes nothing new; true when all that was under way has ended within that time. */
bool server_drain(struct server *s, double patience_s);
/* False: its observer hangs, and what it is told with stays in use until the process ends. Metering knows by itself. */
bool server_close(struct server *s);

#endif
