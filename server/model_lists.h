/* model_lists.h - which of several upstreams has which model: their lists, asked for beside the traffic and kept. Nothing waits
 * for it: a model that no list has yet goes where it went without. */
#ifndef SERVER_MODEL_LISTS_H
#define SERVER_MODEL_LISTS_H

#include "server/server.h"

struct rules;
struct model_lists;
/* Asks once, and then every half minute and soon after a model that nobody lists was asked for; does nothing while fewer than two
 * upstreams are given as bare URLs. rules: those in force, held; user: its argument. */
enum joulet_status model_lists_open(struct model_lists **out, struct rules *(*rules)(void *user), void *user,
                                    struct joulet_error *err);
void model_lists_close(struct model_lists *m); /* NULL is fine */
/* The upstream among u[n] given as a bare URL whose list has the model: exactly, else as people write it ("llama3.2" for
 * "llama3.2:latest"). The first of several; NULL: none. */
const struct server_upstream *model_lists_find(struct model_lists *m, const struct server_upstream *u, size_t n,
                                               const char *model);
/* The lists of all in one, where `target` is one of lists (/v1/models, /api/tags): each model once, in the order of the
 * upstreams. False: not asked for, or there are not several. */
bool model_lists_merged(struct model_lists *m, const char *target, struct jl_buf *out);

#endif
