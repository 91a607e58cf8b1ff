/* route.h - which upstream a request is for. Pure. */
#ifndef SERVER_ROUTE_H
#define SERVER_ROUTE_H

#include "server/server.h"

/* "URL", "/PREFIX=URL" or "MODEL=URL" of an option, in place: text is cut. JOULET_USAGE. */
enum joulet_status route_parse(char *text, struct server_upstream *out, struct joulet_error *err);
/* No two may want the same; one must take the rest. JOULET_USAGE. */
enum joulet_status route_check(const struct server_upstream *u, size_t n, struct joulet_error *err);
bool route_by_model(const struct server_upstream *u, size_t n); /* the body must be looked at */
/* model: of the body; NULL unknown. *rest: the target as the upstream gets it, without its own path. */
const struct server_upstream *route_find(const struct server_upstream *u, size_t n, const char *target, const char *model,
                                         const char **rest);
/* The string that "model" is in the outermost object of a JSON text, of which only the beginning need be there; false: none, or
 * one that does not fit. Escapes other than \" \\ \/ are no model's name. */
bool route_model(const char *json, size_t n, char *model, size_t size);

#endif
