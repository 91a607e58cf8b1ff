/* serve_reload.c - `serve` on SIGHUP: the settings file is read again, and what may change does, without a connection being
 * closed. A mistake in it leaves everything as it was. */
#include "cli/parse.h"
#include "cli/serve.h"

#include <stdlib.h>
#include <string.h>

#define MIB ((uint64_t)1 << 20)

static const char may_change[] =
    "upstream allow-host token insecure-http connections max-body connect-timeout first-byte-timeout "
    "timeout drain inject no-inject log log-format verbose quiet";

static double seconds(const struct cli *c, const char *option)
{
    return cli_given(c, option) ? jl_s(cli_duration_ns(c, option)) : 0;
}

static enum splice_form injects(const struct cli *c)
{
    const char *where = cli_str(c, "inject");
    if (cli_flag(c, "no-inject"))
        return SPLICE_NONE;
    return where && strcmp(where, "usage") == 0 ? SPLICE_USAGE : SPLICE_ENERGY;
}

void serve_fill(struct server_options *o, const struct cli *c, const struct serve_upstreams *u)
{
    o->upstreams = u->list;
    o->n_upstreams = u->n;
    o->token = cli_str(c, "token");
    o->ca_file = jl_env("JOULET_ENGINE_CA");
    o->insecure_http = cli_flag(c, "insecure-http");
    o->connections_max = (unsigned)cli_int(c, "connections", 4096);
    o->body_max = (uint64_t)cli_int(c, "max-body", 256) * MIB;
    o->connect_s = seconds(c, "connect-timeout");
    o->upstream_first_s = seconds(c, "first-byte-timeout");
    o->upstream_idle_s = seconds(c, "timeout");
    o->inject = injects(c);
    o->n_allow_hosts = cli_list(c, "allow-host", &o->allow_hosts);
}

const struct cli *serve_now(const struct serve_reload *r)
{
    return r->last ? r->last : r->started;
}

const struct serve_upstreams *serve_upstreams_now(const struct serve_reload *r)
{
    return r->again.n ? &r->again : &r->upstreams;
}

/* ---- what changed ------------------------------------------------------------------------------------------------------ */

static bool same_value(const struct cli_value *a, const struct cli_value *b)
{
    if ((a->source == VALUE_NONE) != (b->source == VALUE_NONE) || a->n_items != b->n_items)
        return false;
    for (size_t i = 0; i < a->n_items; i++)
        if (strcmp(a->items[i], b->items[i]) != 0)
            return false;
    return a->n_items || (!a->text && !b->text) || (a->text && b->text && strcmp(a->text, b->text) == 0);
}

/* What differs and cannot be taken is said, so that nobody believes it was. */
static void say_unchangeable(const struct serve_reload *r, const struct cli *fresh)
{
    struct jl_buf names;
    jl_buf_init(&names, 4096);
    for (size_t i = 0; i < option_count; i++) {
        const char *name = option_table[i].name;
        if (!jl_word_in(may_change, ' ', name) && !same_value(&r->started->values[i], &fresh->values[i]))
            jl_buf_printf(&names, "%s%s", names.len ? ", " : "", name);
    }
    if (names.len)
        cli_warn(fresh, "what the settings say now of %s cannot change while it serves: start joulet serve again for that",
                 names.data);
    jl_buf_release(&names);
}

/* ---- taking it --------------------------------------------------------------------------------------------------------- */

/* Those that were found by themselves stay, as long as none are given. */
static enum joulet_status open_upstreams(const struct serve_reload *r, const struct cli *fresh, struct serve_upstreams *own,
                                         const struct serve_upstreams **use, struct joulet_error *err)
{
    const char *const *items;
    *own = (struct serve_upstreams){0};
    *use = serve_upstreams_now(r);
    if (r->upstreams.engine && !cli_list(fresh, "upstream", &items))
        return jl_ok(err);
    *use = own;
    if (!cli_list(fresh, "upstream", &items))
        return jl_fail(err, JOULET_USAGE, "there is no upstream: name an engine with --upstream");
    return serve_upstreams_open(own, fresh, err);
}

static enum joulet_status take(struct serve_reload *r, const struct cli *fresh, struct joulet_error *err)
{
    struct server_options o = {0};
    struct serve_upstreams own;
    const struct serve_upstreams *use;
    enum joulet_status status = open_upstreams(r, fresh, &own, &use, err);
    if (status == JOULET_OK)
        status = serve_inner_check(use, r->server, err);
    if (status == JOULET_OK && r->log && !serve_log_can(fresh, err))
        status = err->status;
    if (status == JOULET_OK) {
        serve_fill(&o, fresh, use);
        status = server_reload(r->server, &o, err);
    }
    if (status == JOULET_OK && r->log)
        status = serve_log_reload(r->log, fresh, err);
    serve_upstreams_close(&own);
    return status;
}

void serve_reload(struct serve_reload *r)
{
    struct joulet_error err;
    struct cli *fresh;
    if (cli_reread(&fresh, r->started, &err) != JOULET_OK || take(r, fresh, &err) != JOULET_OK) {
        cli_warn(r->started, "the settings were not taken, and everything stays as it was: %s", err.message);
        cli_forget(fresh);
        return;
    }
    say_unchangeable(r, fresh);
    if (!r->log && (cli_given(fresh, "log") || cli_flag(fresh, "verbose")))
        cli_warn(fresh,
                 "it was started without --log and with --no-meter, so that nothing is looked at: start it again for a log");
    cli_forget(r->last);
    r->last = fresh;
    cli_say(fresh, "the settings were read again");
}
