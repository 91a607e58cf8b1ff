/* upstream.h - an upstream that does what no well-behaved one does: a thread a connection, an answer by the path of the request.
 */
#ifndef TESTS_UPSTREAM_H
#define TESTS_UPSTREAM_H

#include "lib/base/base.h"

enum then {
    THEN_KEEP,  /* the next request on the same connection */
    THEN_CLOSE, /* FIN */
    THEN_RESET, /* RST */
    THEN_HOLD,  /* silent until the other side closes */
    THEN_ECHO   /* the connection belongs to another protocol now: what comes is sent back */
};
struct play {
    const char *path; /* of the target up to '?'; NULL: every one */
    const char *bytes;
    size_t n;         /* 0: strlen(bytes) */
    size_t cut;       /* bytes before a pause; 0: none; "?cut=N" in the target wins */
    size_t piece;     /* bytes a send after that; 0: all at once */
    int pause_ms;     /* between pieces; 0: 1 after the cut, none between pieces */
    uint64_t repeat;  /* the bytes behind the head once more so often */
    size_t head;      /* where that is */
    const char *last; /* behind it; NULL: nothing */
    enum then then;
    bool early; /* answers when the head of the request is there, and does not read its body */
};
struct upstream;
struct upstream *upstream_start(const struct play *plays, size_t n);
const char *upstream_url(const struct upstream *u);
size_t upstream_connections(struct upstream *u);
size_t upstream_requests(struct upstream *u);
char *upstream_request(struct upstream *u, size_t i); /* malloc'ed, head and body as they came */
uint64_t upstream_sent(struct upstream *u);           /* bytes of answers */
double upstream_left_s(struct upstream *u); /* THEN_HOLD: how long it was silent until the other side left; NAN: not yet */
void upstream_stop(struct upstream *u);

#endif
