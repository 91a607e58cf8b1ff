/* serve.h - what the files of `serve` share. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/cli.h"
#include "server/observe.h"

/* One line a request on standard error; never a query, which may hold a key. */
struct serve_log;
struct serve_log *serve_log_open(const struct cli *c);
const struct observer *serve_log_observer(const struct serve_log *l);
void serve_log_close(struct serve_log *l); /* after the server; NULL is fine */

#endif
