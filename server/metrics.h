/* metrics.h - what Prometheus gets, at /joulet/metrics and on the port of its own. */
#ifndef SERVER_METRICS_H
#define SERVER_METRICS_H

#include "server/internal.h"

/* The whole page. */
void metrics_write(struct server *s, const struct rules *r, struct jl_buf *out);
/* Port of its own, which answers /metrics alone (metrics_listen.c); *out NULL when none is asked for. */
struct metrics_port;
enum joulet_status metrics_port_open(struct metrics_port **out, struct server *s, struct joulet_error *err);
const char *metrics_port_address(const struct metrics_port *p); /* NULL without one */
void metrics_port_close(struct metrics_port *p);                /* NULL is fine */

#endif
