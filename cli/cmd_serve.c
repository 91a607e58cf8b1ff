/* cmd_serve.c - stands in front of engines until it is ended: everything passes, and is metered beside the stream. */
#include "cli/json.h"
#include "cli/parse.h"
#include "cli/serve.h"
#include "llm/runtime.h"
#include "server/route.h"
#include "server/server.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_NS      ((int64_t)200 * 1000000)
#define FILES_A_CONNECTION 4 /* of the client, of the upstream, and two that libcurl holds to be woken */
#define FILES_OF_OURS      64

struct serving {
    const struct cli *cli;
    struct server_upstream *upstreams;
    char **texts; /* of the options, taken apart in place */
    size_t n;
    struct engine *engine; /* found by itself; NULL */
    struct server *server;
    struct serve_log *log;     /* with --verbose; NULL */
    struct serve_meter *meter; /* NULL: nothing is measured */
    struct serve_api *api;
};

static void release(struct serving *s)
{
    server_close(s->server);
    serve_log_close(s->log);
    serve_meter_close(s->meter);
    serve_api_close(s->api);
    engine_close(s->engine);
    for (size_t i = 0; s->texts && i < s->n; i++)
        free(s->texts[i]);
    free(s->texts);
    free(s->upstreams);
}

/* ---- upstreams ---------------------------------------------------------------------------------------------------------- */

static int upstreams_given(struct serving *s, const char *const *items, size_t n)
{
    struct joulet_error err;
    s->upstreams = calloc(n, sizeof(*s->upstreams));
    s->texts = calloc(n, sizeof(*s->texts));
    for (size_t i = 0; s->upstreams && s->texts && i < n; i++) {
        s->texts[i] = jl_strdup(items[i]);
        s->n = i + 1;
        if (!s->texts[i])
            break;
        if (route_parse(s->texts[i], &s->upstreams[i], &err) != JOULET_OK)
            return cli_fail(s->cli, &err);
    }
    if (s->n == n && s->texts[n - 1])
        return CLI_DONE;
    jl_fail(&err, JOULET_MEMORY, "out of memory");
    return cli_fail(s->cli, &err);
}

static int upstream_found(struct serving *s)
{
    struct joulet_error err;
    const struct runtime_wanted any = {.cancel = &cli_cancel};
    if (runtime_open_engine(&s->engine, &any, &err) != JOULET_OK) {
        if (err.status == JOULET_UNREACHABLE)
            jl_fail(&err, JOULET_UNREACHABLE,
                    "no engine that is known answers on this machine: start one, or give --upstream URL");
        return cli_fail(s->cli, &err);
    }
    s->upstreams = calloc(1, sizeof(*s->upstreams));
    if (!s->upstreams) {
        jl_fail(&err, JOULET_MEMORY, "out of memory");
        return cli_fail(s->cli, &err);
    }
    s->upstreams[0] = (struct server_upstream){.url = s->engine->url, .key = s->engine->key};
    s->n = 1;
    return CLI_DONE;
}

/* ---- serving ------------------------------------------------------------------------------------------------------------ */

static void on_said(void *user, const char *sentence)
{
    const struct serving *s = user;
    cli_warn(s->cli, "%s", sentence);
}

static void tell_json(struct jl_buf *out, const struct serving *s)
{
    bool first = true;
    jl_buf_str(out, "{");
    cli_json_key(out, &first, "listening");
    jl_buf_printf(out, "\"http://%s\"", server_address(s->server));
    cli_json_key(out, &first, "upstreams");
    jl_buf_str(out, "[");
    for (size_t i = 0; i < s->n; i++) {
        bool inner = true;
        jl_buf_str(out, i ? ",{" : "{");
        cli_json_key(out, &inner, "url");
        cli_json_string(out, s->upstreams[i].url);
        cli_json_key(out, &inner, "prefix");
        cli_json_string(out, s->upstreams[i].prefix);
        cli_json_key(out, &inner, "model");
        cli_json_string(out, s->upstreams[i].model);
        jl_buf_str(out, "}");
    }
    jl_buf_str(out, "]");
    cli_json_key(out, &first, "measures");
    serve_meter_json(out, s->meter);
    jl_buf_str(out, "}\n");
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
        for (size_t i = 0; i < s->n; i++)
            jl_buf_printf(&out, "http://%s%s -> %s%s%s\n", server_address(s->server),
                          s->upstreams[i].prefix ? s->upstreams[i].prefix : "", s->upstreams[i].url,
                          s->upstreams[i].model ? " for model " : "", s->upstreams[i].model ? s->upstreams[i].model : "");
        serve_meter_text(&out, s->meter);
    }
    if (f)
        fwrite(out.data, 1, out.len, f);
    jl_buf_release(&out);
    return f && cli_flush(s->cli);
}

static void check_files(const struct serving *s)
{
    int64_t files = jl_open_files_most(), wanted = cli_int(s->cli, "connections", 4096) * FILES_A_CONNECTION + FILES_OF_OURS;
    if (files >= 0 && files < wanted)
        cli_warn(
            s->cli,
            "this process may open %lld files, which is enough for %lld connections: raise the limit with ulimit -n %lld, or ask "
            "for fewer with --connections",
            (long long)files, (long long)((files - FILES_OF_OURS) / FILES_A_CONNECTION), (long long)wanted);
}

static enum splice_form injects(const struct cli *c)
{
    const char *where = cli_str(c, "inject");
    if (cli_flag(c, "no-inject"))
        return SPLICE_NONE;
    return where && strcmp(where, "usage") == 0 ? SPLICE_USAGE : SPLICE_ENERGY;
}

static int open_server(struct serving *s)
{
    struct joulet_error err;
    const struct cli *c = s->cli;
    struct server_options o = {.listen = cli_str(c, "listen"),
                               .upstreams = s->upstreams,
                               .n_upstreams = s->n,
                               .token = cli_str(c, "token"),
                               .ca_file = jl_env("JOULET_ENGINE_CA"),
                               .insecure_http = cli_flag(c, "insecure-http"),
                               .connections_max = (unsigned)cli_int(c, "connections", 4096),
                               .upstream_idle_s = cli_given(c, "timeout") ? jl_s(cli_duration_ns(c, "timeout")) : 0,
                               .metering = serve_metering(s->meter),
                               .inject = injects(c),
                               .said = on_said,
                               .user = s};
    o.n_allow_hosts = cli_list(c, "allow-host", &o.allow_hosts);
    s->api = serve_api_open(c, s->meter, &o.api);
    if (cli_flag(c, "verbose") && (s->log = serve_log_open(c)))
        o.observer = serve_log_observer(s->log);
    return server_open(&s->server, &o, &err) == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

/* A signal is how it is ended: that is no failure. */
static void serve(struct serving *s)
{
    while (!atomic_load(&cli_cancel))
        terminal_wait_until(jl_mono_ns() + LOOK_EVERY_NS);
    unsigned left = server_active(s->server);
    double patience_s = jl_s(cli_duration_ns(s->cli, "drain"));
    if (left)
        cli_say(s->cli, "waiting up to %g s for %u answers under way", patience_s, left);
    if (!server_drain(s->server, patience_s))
        cli_warn(s->cli, "%u answers were still under way after %g s and were cut: --drain gives them longer",
                 server_active(s->server), patience_s);
}

static int serve_run(struct cli *c, int argc, char **argv)
{
    struct serving s = {.cli = c};
    const char *const *items;
    size_t n = cli_list(c, "upstream", &items);
    if (argc > 0)
        return cli_usage(c, "serve takes no argument '%s'; name an engine with --upstream %s", argv[0], argv[0]);
    int code = n ? upstreams_given(&s, items, n) : upstream_found(&s);
    if (code == CLI_DONE)
        code = serve_meter_open(&s.meter, c, s.upstreams, s.n);
    if (code == CLI_DONE)
        code = open_server(&s);
    if (code == CLI_DONE) {
        check_files(&s);
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
    .options = "upstream listen allow-host token insecure-http connections timeout drain no-meter inject no-inject devices "
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
        "Without --upstream it stands in front of the engine that answers on this machine. With several, a request goes to the "
        "one whose prefix its path begins with, which is taken off, else to the one whose model it names (NAME* for all that "
        "begin so), else to the first that is given as a bare URL.\n\n"
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
