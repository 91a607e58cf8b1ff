/* serve.h - what the files of `serve` share. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/cli.h"
#include "server/server.h"

/* One line a request on standard error; never a query, which may hold a key. */
struct serve_log;
struct serve_log *serve_log_open(const struct cli *c);
const struct observer *serve_log_observer(const struct serve_log *l);
void serve_log_close(struct serve_log *l); /* after the server; NULL is fine */

/* The meter and what is metered with it. */
struct serve_meter;
/* *out NULL: nothing is measured, because the user wants it so or because nothing can be. CLI_DONE, or an exit code after the
 * sentence. */
int serve_meter_open(struct serve_meter **out, const struct cli *c, const struct server_upstream *upstreams, size_t n);
struct metering *serve_metering(const struct serve_meter *m); /* NULL is fine, and gives NULL */
struct joulet *serve_meter_of(const struct serve_meter *m);   /* NULL is fine, and gives NULL */
/* What it measures: a line for people, nothing without a meter; ids as a list. */
void serve_meter_text(struct jl_buf *out, const struct serve_meter *m);
void serve_meter_json(struct jl_buf *out, const struct serve_meter *m);
void serve_meter_close(struct serve_meter *m); /* after the server; NULL is fine */

/* What the JSON API needs: the meter, and how this program is started again for runs and the doctor. */
struct serve_api;
struct serve_api *serve_api_open(const struct cli *c, const struct serve_meter *m, struct server_api *out); /* NULL: no memory */
void serve_api_close(struct serve_api *a); /* after the server; NULL is fine */

#endif
