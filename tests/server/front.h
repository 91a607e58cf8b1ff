/* front.h - the server under test in front of a scripted upstream, and a client that writes raw bytes. */
#ifndef TESTS_FRONT_H
#define TESTS_FRONT_H

#include "server/server.h"
#include "tests/server/upstream.h"

struct front {
    struct upstream *upstream;
    struct server_upstream to;
    struct server *server;
    struct jl_buf said; /* sentences, one a line */
    void *lock;
};
/* o: what differs from the default, or NULL. Aborts when it cannot be opened. */
void front_start(struct front *f, const struct play *plays, size_t n, const struct server_options *o);
void front_stop(struct front *f);
size_t front_said(struct front *f, const char *part); /* sentences that hold this */

struct answer {
    int status;
    char *head;     /* status line and headers, with their \r\n */
    char *body;     /* without chunks */
    size_t n, used; /* of the body; bytes on the wire */
    bool whole;     /* it ended as its framing said */
    bool closed;    /* the server closed afterwards, or meanwhile */
};
int client_connect(const struct server *s);
void client_send(int fd, const char *bytes, size_t n);
void client_say(int fd, const char *text);
/* Reads one answer. head_only: of a HEAD. */
void client_read(int fd, struct answer *a, bool head_only);
bool client_closed(int fd); /* waits until it is, for at most three minutes */
/* The value of a header, malloc'ed; NULL none. */
char *answer_header(const struct answer *a, const char *name);
void answer_release(struct answer *a);
/* connect, say, read, close. */
void ask(const struct server *s, const char *request, struct answer *a);

#endif
