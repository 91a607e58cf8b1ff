/* scripted.h - a server that sends exactly the bytes it was told, for what no well-behaved server does. */
#ifndef SCRIPTED_H
#define SCRIPTED_H

#include "lib/base/base.h"

struct script {
    const char *bytes;
    size_t n;     /* 0: strlen(bytes) */
    size_t piece; /* bytes a send; 0: all at once */
    int pause_ms; /* between two pieces */
    bool hold;    /* keep the connection open and silent afterwards; else it is closed */
    bool hasty;   /* answers whatever comes, without waiting for the end of a request */
    bool keep;    /* answer the next request on the same connection likewise */
};
struct scripted;
struct scripted *scripted_start(const struct script *s); /* the script must outlive it */
const char *scripted_url(const struct scripted *s);      /* "http://127.0.0.1:PORT" */
size_t scripted_connections(struct scripted *s);
size_t scripted_requests(struct scripted *s);
char *scripted_last_request(struct scripted *s); /* malloc'ed, head and body */
void scripted_stop(struct scripted *s);

#endif
