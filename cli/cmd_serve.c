/* cmd_serve.c - stands in front of engines until it is ended: everything passes, and is metered beside the stream. */
#include "cli/json.h"
#include "cli/parse.h"
#include "cli/serve.h"
#include "cli/session_factors.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_NS      ((int64_t)200 * 1000000)
#define MANY_CONNECTIONS   128
#define FEW_FOR_NS         ((int64_t)5 * JL_NS_PER_S)
#define FILES_A_CONNECTION 4 /* of the client, of the upstream, and two that libcurl holds to be woken */
#define FILES_OF_OURS      64

struct serving {
    const struct cli *cli;
    struct serve_reload reload; /* what it goes by, and what stands on it */
    struct serve_api *api;
    unsigned most_connections; /* since memory was given back */
    int64_t few_ns;            /* since when most of them have left; 0: they have not */
    struct serve_again *again;
    struct session factors; /* of its run alone: what a kWh emits and costs */
};

static void release(struct serving *s)
{
    struct serve_reload *r = &s->reload;
    serve_again_close(s->again);
    if (server_close(r->server))
        serve_log_close(r->log);
    serve_meter_close(r->meter);
    serve_api_close(s->api);
    session_factors_close(&s->factors);
    run_release(&s->factors.run);
    serve_upstreams_close(&r->upstreams);
    serve_upstreams_close(&r->again);
    cli_forget(r->last);
}

/* ---- serving ------------------------------------------------------------------------------------------------------------ */

static void on_said(void *user, const char *sentence)
{
    const struct serving *s = user;
    cli_warn(s->cli, "%s", sentence);
}

static void on_refused(void *user, const struct server_refusal *r)
{
    const struct serving *s = user;
    serve_log_refused(s->reload.log, r);
}

static void tell_json(struct jl_buf *out, const struct serving *s)
{
    bool first = true;
    jl_buf_str(out, "{");
    cli_json_key(out, &first, "listening");
    jl_buf_printf(out, "\"http://%s\"", server_address(s->reload.server));
    cli_json_key(out, &first, "upstreams");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < s->reload.upstreams.n; i++) {
        bool inner = true;
        jl_buf_str(out, i ? ",{" : "{");
        cli_json_key(out, &inner, "url");
        cli_json_string(out, s->reload.upstreams.list[i].url);
        cli_json_key(out, &inner, "prefix");
        cli_json_string(out, s->reload.upstreams.list[i].prefix);
        cli_json_key(out, &inner, "model");
        cli_json_string(out, s->reload.upstreams.list[i].model);
        cli_json_key(out, &inner, "joulet");
        cli_json_string(out, s->reload.upstreams.list[i].joulet);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
    const char *metrics = server_metrics_address(s->reload.server);
    if (metrics) {
        cli_json_key(out, &first, "metrics");
        jl_buf_printf(out, "\"http://%s/metrics\"", metrics);
    }
    cli_json_key(out, &first, "measures");
    serve_meter_json(out, s->reload.meter);
    jl_buf_str(out, "}\n");
}

static void tell_upstream(struct jl_buf *out, const struct serving *s, const struct server_upstream *u)
{
    jl_buf_printf(out, "http://%s%s -> %s%s%s", server_address(s->reload.server), u->prefix ? u->prefix : "", u->url,
                  u->model ? " for model " : "", u->model ? u->model : "");
    if (u->joulet)
        jl_buf_printf(out, " (joulet %s, %s)", u->joulet, u->source ? "whose figures are taken" : "which does not measure");
    jl_buf_str(out, "\n");
}

/* Where it can be reached now: scripts wait for this line, so it comes when connections are taken. */
static bool tell(const struct serving *s)
{
    struct jl_buf out;
    FILE *f = cli_out(s->cli);
    jl_buf_init(&out, 1 << 16);
    if (cli_json(s->cli)) {
        tell_json(&out, s);
    } else {
        for (size_t i = 0; i < s->reload.upstreams.n; i++)
            tell_upstream(&out, s, &s->reload.upstreams.list[i]);
        if (server_metrics_address(s->reload.server))
            jl_buf_printf(&out, "metrics at http://%s/metrics\n", server_metrics_address(s->reload.server));
        serve_meter_text(&out, s->reload.meter);
    }
    if (f)
        fwrite(out.data, 1, out.len, f);
    jl_buf_release(&out);
    return f && cli_flush(s->cli);
}

static void check_files(const struct cli *c)
{
    int64_t files = jl_open_files_most(), wanted = cli_int(c, "connections", 4096) * FILES_A_CONNECTION + FILES_OF_OURS;
    if (files >= 0 && files < wanted)
        cli_warn(
            c,
            "this process may open %lld files, which is enough for %lld connections: raise the limit with ulimit -n %lld, or ask "
            "for fewer with --connections",
            (long long)files, (long long)((files - FILES_OF_OURS) / FILES_A_CONNECTION), (long long)wanted);
}

/* For whatever time is asked about later. */
static int open_factors(struct serving *s)
{
    s->factors.cli = s->cli;
    int code = session_factors_open(&s->factors);
    s->factors.run.end_ns = INT64_MAX / 2;
    if (code == CLI_DONE)
        session_factors_finish(&s->factors);
    return code;
}

static enum joulet_status open_server(struct serving *s, struct joulet_error *err)
{
    const struct cli *c = s->cli;
    struct serve_reload *r = &s->reload;
    struct server_options o = {.listen = cli_str(c, "listen"),
                               .header_max = (size_t)cli_int(c, "max-header", 16) << 10,
                               .client_idle_s = jl_s(cli_duration_ns(c, "client-timeout")),
                               .metering = serve_metering(r->meter),
                               .metrics_listen = cli_str(c, "metrics-listen"),
                               .metrics_open = cli_flag(c, "metrics-open"),
                               .said = on_said,
                               .refused = on_refused,
                               .user = s};
    if (serve_log_open(&r->log, c, r->meter != NULL, err) != JOULET_OK)
        return err->status;
    o.observer = serve_log_observer(r->log);
    s->api = serve_api_open(c, r->meter, &o.api);
    o.api.factors = &s->factors.run;
    serve_fill(&o, c, &r->upstreams);
    return server_open(&r->server, &o, err);
}

/* Whether it goes on. */
static void look_at_signals(struct serving *s)
{
    struct joulet_error err;
    bool hup = atomic_exchange(&terminal_hup, false);
    if (hup && terminal_gone()) {
        atomic_store(&cli_cancel, true);
        return;
    }
    if (hup) {
        serve_notify_reloading();
        serve_reload(&s->reload);
        check_files(serve_now(&s->reload));
        serve_notify_ready(server_address(s->reload.server));
    }
    if (atomic_exchange(&terminal_usr1, false) && serve_log_reopen(s->reload.log, &err) != JOULET_OK)
        cli_warn(s->cli, "%s", err.message);
}

/* What those that left have held stays with the allocator. It is given back once, when they are few for a while: that takes the
 * locks of all threads. */
static void look_at_memory(struct serving *s)
{
    unsigned now = server_connections(s->reload.server);
    if (now > s->most_connections)
        s->most_connections = now;
    bool few = s->most_connections >= MANY_CONNECTIONS && now < s->most_connections / 2;
    if (!few || !s->few_ns) {
        s->few_ns = few ? jl_mono_ns() : 0;
    } else if (jl_mono_ns() - s->few_ns > FEW_FOR_NS) {
        jl_heap_trim();
        s->most_connections = now;
        s->few_ns = 0;
    }
}

/* A signal is how it is ended: that is no failure. */
static void serve(struct serving *s)
{
    struct server *server = s->reload.server;
    s->again = serve_again_open(&s->reload);
    serve_notify_ready(server_address(server));
    while (!atomic_load(&cli_cancel)) {
        terminal_wait_until(jl_mono_ns() + LOOK_EVERY_NS);
        look_at_signals(s);
        serve_log_write(s->reload.log);
        look_at_memory(s);
        serve_again_look(s->again);
        serve_notify_alive();
    }
    const struct cli *now = serve_now(&s->reload);
    unsigned left = server_active(server);
    double patience_s = jl_s(cli_duration_ns(now, "drain"));
    serve_notify_stopping(left);
    if (left)
        cli_say(now, "waiting up to %g s for %u answers under way", patience_s, left);
    if (!server_drain(server, patience_s))
        cli_warn(now, "%u answers were still under way after %g s and were cut: --drain gives them longer", server_active(server),
                 patience_s);
}

static int serve_run(struct cli *c, int argc, char **argv)
{
    struct serving s = {.cli = c, .reload.started = c};
    struct joulet_error err;
    if (argc > 0)
        return cli_usage(c, "serve takes no argument '%s'; name an engine with --upstream %s", argv[0], argv[0]);
    terminal_signals_again();
    jl_heap_of_few();
    struct serve_reload *r = &s.reload;
    int code = serve_upstreams_await(&r->upstreams, c, &err) == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
    if (code == CLI_DONE)
        code = open_factors(&s);
    if (code == CLI_DONE)
        code = serve_meter_open(&r->meter, c, r->upstreams.list, r->upstreams.n);
    if (code == CLI_DONE && open_server(&s, &err) != JOULET_OK)
        code = cli_fail(c, &err);
    if (code == CLI_DONE && serve_inner_check(&r->upstreams, r->server, &err) != JOULET_OK)
        code = cli_fail(c, &err);
    if (code == CLI_DONE) {
        check_files(c);
        if (tell(&s))
            serve(&s);
        else
            code = CLI_FAILED;
    }
    release(&s);
    return code;
}

const struct command cmd_serve = {
    .name = "serve",
    .summary = "stand in front of an engine, for clients as they are",
    .usage = "joulet serve [OPTION]...",
    .options = "upstream listen metrics-listen metrics-open allow-host token insecure-http connections max-header max-body "
               "client-timeout connect-timeout "
               "first-byte-timeout "
               "timeout drain log log-format no-meter inject no-inject devices "
               "db no-store keep-text "
               "place grid grid-series pue price tariff currency "
               "sensors meter sim replay trust-root calibration measured-only",
    .about =
        "Listens on an address of its own and passes every request on to an engine, and every answer back, piece by piece as it "
        "comes. Clients need another base URL and nothing else.\n\n"
        "What each request draws is measured beside the stream, by the sensors of this machine, and shared between requests that "
        "run at the same time. Answers of models get one more member, energy, in their last object; every other byte is as the "
        "engine sent it, and --no-inject leaves out that one too. What the sensors have not shown by then is marked provisional; "
        "/joulet/requests/ID has the final figure, ID as in the header X-Joulet-Request. /joulet/requests lists the latest, "
        "/joulet/energy has all accounts. --devices names what the engines run on; otherwise it is all that counts in the total, "
        "and engines elsewhere have no energy. Upstreams that run on different ones are named: --devices "
        "'/o=gpu0;/v=gpu1,cpu'.\n\n"
        "Without --upstream it stands in front of the engine that answers on this machine, and waits for one that is not up yet. "
        "With several, a request goes to the "
        "one whose prefix its path begins with, which is taken off, else to the one whose model it names (NAME* for all that "
        "begin so), else to the one given as a bare URL whose own list of models has it, else to the first of these. Lists of "
        "models of several bare URLs come together.\n\n"
        "It listens on loopback. Requests must name this machine by localhost, one of its addresses or a name given with "
        "--allow-host: a page in a browser can make a name lead here, but not the name it is loaded from. Off loopback a token "
        "is demanded, in the header X-Joulet-Token or before the path as /joulet/t/TOKEN; the engine never sees it.\n\n"
        "When it is up it writes where it listens. SIGTERM and Ctrl-C end it: no new connection is taken, and answers under way "
        "are waited for. Paths below /joulet/ are its own: /joulet/health says how it is. With --verbose every request is a line "
        "on standard error.",
    .examples = "joulet serve\n  in front of the engine that answers on this machine\n"
                "joulet serve --upstream http://127.0.0.1:8000 --listen 127.0.0.1:9000\n  in front of vLLM, on another port\n"
                "joulet serve --upstream http://127.0.0.1:8080 --upstream /o=http://gpu:11434\n  two engines, Ollama below /o\n"
                "joulet serve --inject usage\n  the figures inside usage, where chat programs show them\n"
                "JOULET_TOKEN=... joulet serve --listen 0.0.0.0:8737 --insecure-http\n  for other machines too\n",
    .run = serve_run,
};
