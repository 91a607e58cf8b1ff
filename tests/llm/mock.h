/* mock.h - a server that answers given routes with answers from files, as their protocol frames them, and speaks LM Studio's
 * WebSocket. What it says is composed, not recorded (tests/fixtures/composed). */
#ifndef TESTS_MOCK_H
#define TESTS_MOCK_H

#include "lib/base/base.h"

enum mock_end {
    MOCK_WHOLE, /* the answer ends as its framing says */
    MOCK_CUT,   /* the connection is closed in its middle; of an answer that comes whole one half is sent */
    MOCK_HOLD   /* it stays open and silent */
};
struct mock_route {
    const char *request;       /* "POST /v1/messages": method and begin of the path */
    const char *folder, *name; /* folder NULL: `name` is the answer itself, a status and JSON, as "200 {}" */
    enum mock_end end;
};
struct mock_config {
    const struct mock_route *routes;
    size_t n_routes;       /* what is none of them: 404 with an error, or `otherwise` */
    const char *otherwise; /* name of a composed answer; NULL */
    size_t events;         /* of a stream that is cut or held: only so many of it; 0: all */
    bool lmstudio;         /* greets as LM Studio, and has its WebSocket */
    const char
        *fault; /* of the WebSocket: "load", "error", "failed", "cut", "hold", "refuse", "key", "tools", "thinking"; NULL */
    int port;   /* 0: a free one */
};
struct mock;
struct mock *mock_start(const struct mock_config *c); /* *c must outlive it */
const char *mock_url(const struct mock *m);
char *mock_last_request(struct mock *m); /* head and body, or the last frame; malloc'ed */
char *mock_requests(struct mock *m);     /* first lines of all requests so far; malloc'ed */
void mock_stop(struct mock *m);

#endif
