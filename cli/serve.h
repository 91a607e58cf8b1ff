/* serve.h - what the files of `serve` share. */
#ifndef CLI_SERVE_H
#define CLI_SERVE_H

#include "cli/cli.h"
#include "server/server.h"

/* Where requests go. */
struct serve_upstreams {
    struct server_upstream *list;
    size_t n;
    char **texts;              /* of the options, taken apart in place */
    struct engine *engine;     /* found by itself; NULL */
    struct serve_inner *inner; /* those that are joulet servers, as in list; NULL: none was looked at */
};
enum joulet_status serve_upstreams_open(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err);
/* The same at the start: where none is named and none answers, one is waited for. */
enum joulet_status serve_upstreams_await(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err);
/* serve_inner.c: finds out which of them are joulet servers, whose figures are taken, and fills the list. */
enum joulet_status serve_inner_look(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err);
/* One that leads back to this server, which listens now. JOULET_USAGE. */
enum joulet_status serve_inner_check(const struct serve_upstreams *u, const struct server *s, struct joulet_error *err);
void serve_inner_close(struct serve_upstreams *u);
void serve_upstreams_close(struct serve_upstreams *u); /* also after a failure */

/* serve_again.c: an engine that was found by itself and does not answer any more is looked for again, in a thread of its own. */
struct serve_again;
struct serve_reload;
struct serve_again *serve_again_open(struct serve_reload *r); /* NULL: upstreams are named, or there is no memory */
void serve_again_look(struct serve_again *a);                 /* often, from the thread that reloads; waits for nothing */
void serve_again_close(struct serve_again *a);                /* before the server; NULL is fine */

/* One line a request on standard error (--verbose) or in a file (--log); never a query, which may hold a key. */
struct serve_log;
/* *out NULL: no lines are wanted, and may: nor will they be. may: SIGHUP can turn them on. */
enum joulet_status serve_log_open(struct serve_log **out, const struct cli *c, bool may, struct joulet_error *err);
/* Takes what the settings say now, and opens the file again in any case. On failure it goes on as before. */
enum joulet_status serve_log_reload(struct serve_log *l, const struct cli *c, struct joulet_error *err);
bool serve_log_can(const struct cli *c, struct joulet_error *err); /* whether that file can be opened */
enum joulet_status serve_log_reopen(struct serve_log *l, struct joulet_error *err);
const struct observer *serve_log_observer(const struct serve_log *l);
/* A line of a request that went nowhere; of a flood only so many a second, and then how many there were besides. */
void serve_log_refused(struct serve_log *l, const struct server_refusal *r); /* any thread, waits for no disk; NULL is fine */
void serve_log_write(struct serve_log *l);                                   /* what of these waits; often; NULL is fine */
void serve_log_close(struct serve_log *l);                                   /* after the server; NULL is fine */

/* What the settings say now, on SIGHUP. */
struct serve_reload {
    const struct cli *started; /* as it was when it began */
    struct cli *last;          /* the settings it goes by now, when they were read again; NULL */
    struct serve_upstreams upstreams;
    struct serve_upstreams again; /* found later, in their place; n 0: none */
    struct server *server;
    struct serve_log *log;
    struct serve_meter *meter;
};
const struct serve_upstreams *serve_upstreams_now(const struct serve_reload *r);
const struct cli *serve_now(const struct serve_reload *r); /* the settings it goes by */
void serve_reload(struct serve_reload *r);                 /* says what came of it */
/* serve_notify.c: to the service manager; nothing happens without one. */
void serve_notify_ready(const char *address);
void serve_notify_reloading(void);
void serve_notify_stopping(unsigned left);
void serve_notify_alive(void); /* often */

/* Options of the server that may change; the rest is the caller's. */
void serve_fill(struct server_options *o, const struct cli *c, const struct serve_upstreams *u);

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
