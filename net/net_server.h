/* net_server.h - the server half of net: HTTP/1.1 with one thread per connection, and exchanges with upstreams that look at the
 * client while they wait. The code behind it is a module (joulet-serve.so) opened by net_server_open: nothing else needs
 * libmicrohttpd.
 *
 * What is waited for is waited for in the thread of the connection, or, of pieces that follow each other quickly, in one thread
 * for many connections: a slow reader stops the reading from the upstream, and memory does not grow. */
#ifndef NET_SERVER_H
#define NET_SERVER_H

#include "net/net.h"

/* ---- serving ------------------------------------------------------------------------------------------------------------ */

/* Head of a request, as it came. Valid until the call ends. */
struct net_head {
    const char *method, *version; /* "POST", "HTTP/1.1" */
    const char *target;           /* path and query, nothing decoded */
    const struct net_header *headers;
    size_t n_headers;
    int64_t body_len; /* 0: none; -1: its length is not told (chunked) */
    bool upgrade;     /* asks for another protocol, as WebSocket */
    int64_t t_ns;     /* when the head was whole */
    char peer[48];    /* address of the client, "127.0.0.1" */
    int client_fd;    /* its socket, for net_ask.client_fd only */
};
/* The address that the client reached; "" unknown. */
void net_own_address(int client_fd, char *out, size_t size);
/* Waits so long whether the client closes its connection. */
bool net_client_left(int client_fd, int wait_ms);
/* Value of the first header of that name; NULL none. */
const char *net_head_value(const struct net_header *headers, size_t n, const char *name);
/* True when the comma-separated values of all headers of that name hold the word. */
bool net_head_has_word(const struct net_header *headers, size_t n, const char *name, const char *word);
/* What makes the head unfit to be passed on, because another reader could see another request in it (RFC 9112, 6.3 and 11.2): two
 * lengths, a length and a transfer encoding, names that are none, ... NULL: nothing; else a static sentence, for status 400.
 * values_n: lengths of the values, which would end at a NUL; NULL: as their text. */
const char *net_head_problem(const struct net_head *h, const size_t *values_n);

struct net_call; /* one request; the thread of its connection alone */
struct net_answer {
    int status;
    const struct net_header *headers; /* copied; framing (Content-Length, Transfer-Encoding, Connection) is not theirs */
    size_t n_headers;
    const char *body; /* whole and copied; NULL: net_handler.read gives it */
    int64_t length;   /* of the body; -1: until read says it ends */
    bool close;       /* no further request on this connection */
    bool switching;   /* 101: afterwards net_handler.tunnel has the socket */
};
/* Once, from begin or answer; answered from begin, the request's body is not read and the connection closes. */
bool net_call_answer(struct net_call *call, const struct net_answer *a);

enum net_end { NET_END_DONE, NET_END_CLIENT_GONE, NET_END_CUT /* by read, or the server stops */ };

enum { NET_LATER = -2, NET_ENDS = -3 };
/* All are called in the thread of the connection, in this order; but read_now, which is called in another one while that one
 * waits. */
struct net_handler {
    void *user;
    /* The head is there. Returns what the others get as `state`; NULL is fine when it has answered. */
    void *(*begin)(void *user, struct net_call *call, const struct net_head *head);
    void (*body)(void *state, const char *bytes, size_t n);
    void (*answer)(void *state, struct net_call *call); /* the request is whole: net_call_answer must follow here */
    /* Waits for bytes of the answer. 0: it ends here, -1: it was cut, and so will the client's. */
    long (*read)(void *state, char *bytes, size_t size);
    /* Both optional. The socket on which more of the answer comes soon; -1: only read may be called. */
    int (*source)(void *state);
    /* As read, but waits for nothing: NET_LATER when the socket has no more; NET_ENDS: read tells how, and waits neither. */
    long (*read_now)(void *state, char *bytes, size_t size);
    /* Owns the socket until it returns. early: what the client sent before it knew. */
    void (*tunnel)(void *state, int fd, const char *early, size_t n);
    void (*end)(void *state, enum net_end how); /* not called when begin returned NULL */
    /* Optional: answered, or closed (status 0), without begin. head: the peer, and "" for what is not known; any thread. */
    void (*refused)(void *user, const struct net_head *head, int status, const char *why);
};

struct net_server;
struct net_server_options {
    const char *listen;       /* "127.0.0.1:8737", "[::1]:8737", "localhost:0" */
    unsigned connections_max; /* 0: 4096 */
    size_t header_max;        /* bytes of a request's head; 0: 16 KiB */
    double idle_s;            /* a client that sends no request, or takes nothing of its answer; 0: 120 s */
    unsigned together;        /* streams at a time from which on one thread passes them all; 0: 4 */
    const struct net_handler *handler;
};
/* JOULET_USAGE (no such address), JOULET_BUSY (in use), JOULET_PERMISSION, JOULET_UNSUPPORTED (module). */
enum joulet_status net_server_open(struct net_server **out, const struct net_server_options *o, struct joulet_error *err);
const char *net_server_address(const struct net_server *s); /* "127.0.0.1:8737", with the port that was taken */
unsigned net_server_connections(const struct net_server *s);
void net_server_limit(struct net_server *s, unsigned connections_max); /* from now on; 0: 4096 */
void net_server_drain(struct net_server *s); /* takes no new connection, and closes each after its answer */
void net_server_close(struct net_server *s); /* cuts what is open and waits for its threads */

/* ---- exchanges with upstreams ------------------------------------------------------------------------------------------- */

struct net_pool; /* connections that are kept; any thread */
enum joulet_status net_pool_open(struct net_pool **out, struct joulet_error *err);
void net_pool_close(struct net_pool *p); /* after all its exchanges */

struct net_ask {
    const char *origin; /* "http://127.0.0.1:8080", no path */
    const char *method, *target;
    const struct net_header *headers; /* as they shall arrive; Host and framing are made here */
    size_t n_headers;
    const char *body;                          /* whole, must outlive the exchange; NULL: none, or pieces by net_exchange_send */
    int64_t body_len;                          /* 0 none; -1 chunked pieces */
    const char *ca_file;                       /* certificates to trust instead of the system's; NULL: those */
    int client_fd;                             /* when the client closes it the exchange ends; -1: none */
    double connect_s;                          /* 0: 5 s */
    double idle_s;                             /* no byte of the answer for so long; 0: 3600 s */
    double first_s;                            /* of its head, once the request was sent; 0: as idle_s */
    void (*on_sent)(void *user, int64_t t_ns); /* optional: the last byte of a whole request was handed to the socket */
    void *user;
};
struct net_reply {
    int status;
    const struct net_header *headers; /* all but 1xx; valid until the exchange is closed */
    size_t n_headers;
    int64_t length; /* of the body as announced; -1 not announced */
    int64_t t_ns;   /* when the head was whole */
};
struct net_exchange; /* one thread at a time */

enum joulet_status net_exchange_open(struct net_exchange **out, struct net_pool *p, const struct net_ask *a,
                                     struct joulet_error *err);
/* Waits until the piece was taken. JOULET_BUSY: the upstream has answered already and wants no more (not a fault). */
enum joulet_status net_exchange_send(struct net_exchange *x, const char *bytes, size_t n, struct joulet_error *err);
/* The request is whole; waits for the head of the answer. JOULET_CANCELLED: the client is gone. JOULET_UNREACHABLE, JOULET_IO,
 * JOULET_FORMAT, JOULET_MEMORY as net_http. */
enum joulet_status net_exchange_head(struct net_exchange *x, struct net_reply *out, struct joulet_error *err);
/* Bytes of the body, as soon as some are there; 0 at its end; -1 and *err: cut. t_ns: when they came. */
long net_exchange_read(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns, struct joulet_error *err);
/* The socket, when bytes follow each other so quickly that the next are expected at once; -1: they do not, or only
 * net_exchange_read can read them. */
int net_exchange_source(const struct net_exchange *x);
/* As net_exchange_read, without waiting: NET_LATER, NET_ENDS as in net_handler. Looks at the socket once for each NET_LATER. */
long net_exchange_read_now(struct net_exchange *x, char *bytes, size_t size, int64_t *t_ns);
/* Bytes of the body that wait to be read when the exchange is over and there will be no more; -1: it goes on. */
long net_exchange_rest(const struct net_exchange *x);
/* The connection is kept when the answer was read to its end. NULL is fine. */
void net_exchange_close(struct net_exchange *x);

/* ---- tunnels ------------------------------------------------------------------------------------------------------------ */

struct net_tunnel; /* a connection that speaks something else than HTTP after its head; one thread */
/* Sends the head of a request for another protocol and waits for the answer. reply->status 101: net_tunnel_run; another one: the
 * upstream refuses, and net_tunnel_close is all that is left. */
enum joulet_status net_tunnel_open(struct net_tunnel **out, const struct net_ask *a, struct net_reply *reply,
                                   struct joulet_error *err);
/* Bytes in both directions until one side ends. on_bytes: optional, after they were passed on. */
typedef void net_tunnel_bytes(void *user, bool from_client, const char *bytes, size_t n, int64_t t_ns);
void net_tunnel_run(struct net_tunnel *t, int client_fd, const char *early, size_t n, net_tunnel_bytes *on_bytes, void *user);
void net_tunnel_close(struct net_tunnel *t); /* NULL is fine */

#endif
