/* rules.h - what the operator may change while it serves: upstreams, names, token, limits, the form of the energy. A request
 * holds the rules that it began with until it has ended, and the next one gets the new ones. */
#ifndef SERVER_RULES_H
#define SERVER_RULES_H

#include "server/guard.h"
#include "server/server.h"

/* Whether counts are asked for at the end of its streams where the client did not ask. */
enum upstream_usage {
    USAGE_NOT_KNOWN, /* it has not shown how its streams end */
    USAGE_ASKED,
    USAGE_NEVER /* it refuses, or tells its counts anyway: llama.cpp's would go elsewhere if asked */
};

struct upstream {       /* one of the options, taken apart */
    char *origin;       /* "http://127.0.0.1:8080" */
    const char *path;   /* "/base", or "" */
    atomic_bool down;   /* said already */
    atomic_int usage;   /* enum upstream_usage */
    atomic_bool joulet; /* it is a joulet server: it said so, or its answers did */
};

struct rules {
    atomic_uint holders;
    struct server_options o; /* with texts of its own */
    struct guard guard;
    struct upstream *upstreams; /* as in o */
    char **texts;
    size_t n_texts;
};

/* Checks and copies *o; the caller holds it. before: what is known of upstreams that stay is taken over; NULL. JOULET_USAGE. */
enum joulet_status rules_make(struct rules **out, const struct server_options *o, const struct rules *before,
                              struct joulet_error *err);
void rules_drop(struct rules *r); /* one holder less; NULL is fine */

#endif
