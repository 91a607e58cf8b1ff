/* own.c - answers of our own: errors, and what lies below /joulet/. */
#include "server/internal.h"
#include "server/metering.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static bool answer_json(struct net_call *call, int status, const char *json, size_t n, bool close)
{
    static const struct net_header headers[] = {
        {"Content-Type", "application/json"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
    struct net_answer a = {
        .status = status, .headers = headers, .n_headers = JL_COUNT(headers), .body = json, .length = (int64_t)n, .close = close};
    return net_call_answer(call, &a);
}

void server_json_string(struct jl_buf *out, const char *s)
{
    jl_buf_str(out, "\"");
    for (; *s; s++) {
        if (*s == '"' || *s == '\\')
            jl_buf_printf(out, "\\%c", *s);
        else if ((unsigned char)*s < ' ')
            jl_buf_printf(out, "\\u%04x", (unsigned)*s);
        else
            jl_buf_add(out, s, 1);
    }
    jl_buf_str(out, "\"");
}

static const char *kind_of(int status)
{
    switch (status) {
    case 401:
        return "authentication_error";
    case 403:
        return "permission_error";
    case 404:
        return "not_found_error";
    case 413:
        return "request_too_large";
    default:
        return status < 500 ? "invalid_request_error" : "upstream_error";
    }
}

/* Ollama's clients look for a string under "error", all others for an object with a message. */
bool server_refuse(struct net_call *call, const char *target, int status, const char *sentence, bool close)
{
    struct jl_buf out, text;
    jl_buf_init(&out, 1 << 14);
    jl_buf_init(&text, 1 << 12);
    jl_buf_printf(&text, "joulet: %s", sentence);
    if (jl_starts(target, "/api/")) {
        jl_buf_str(&out, "{\"error\":");
        server_json_string(&out, text.data);
    } else {
        jl_buf_str(&out, "{\"error\":{\"message\":");
        server_json_string(&out, text.data);
        jl_buf_printf(&out, ",\"type\":\"%s\",\"code\":%d}", kind_of(status), status);
    }
    jl_buf_str(&out, "}\n");
    bool ok = answer_json(call, status, out.data, out.len, close);
    jl_buf_release(&out);
    jl_buf_release(&text);
    return ok;
}

static bool health(struct server *s, const struct rules *r, struct net_call *call)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 16);
    jl_buf_printf(
        &out, "{\"status\":\"%s\",\"version\":\"" JOULET_VERSION "\",\"uptime_s\":%.3f,\"active\":%u,\"served\":%" PRIu64,
        atomic_load(&s->draining) ? "draining" : "ok", jl_s(jl_mono_ns() - s->started_ns), server_active(s), server_served(s));
    jl_buf_printf(&out, ",\"connections\":%u,\"unseen\":%" PRIu64 ",\"upstreams\":[", net_server_connections(s->net),
                  observation_lost(s->observation));
    for (size_t i = 0; i < r->o.n_upstreams; i++) {
        const struct server_upstream *u = &r->o.upstreams[i];
        jl_buf_printf(&out, "%s{\"url\":", i ? "," : "");
        server_json_string(&out, r->upstreams[i].origin);
        jl_buf_str(&out, ",\"prefix\":");
        if (u->prefix)
            server_json_string(&out, u->prefix);
        else
            jl_buf_str(&out, "null");
        jl_buf_str(&out, ",\"model\":");
        if (u->model)
            server_json_string(&out, u->model);
        else
            jl_buf_str(&out, "null");
        jl_buf_printf(&out, ",\"answers\":%s}", atomic_load(&r->upstreams[i].down) ? "false" : "true");
    }
    jl_buf_str(&out, "]}\n");
    bool ok = answer_json(call, 200, out.data, out.len, false);
    jl_buf_release(&out);
    return ok;
}

/* ---- what is measured ------------------------------------------------------------------------------------------------------ */

#define REQUESTS_TOLD 100

static size_t wanted(const char *target)
{
    const char *at = strstr(target, "?limit=");
    int64_t n = 0;
    return at && jl_parse_i64(at + 7, &n) && n > 0 ? (size_t)n : REQUESTS_TOLD;
}

static bool measured(struct server *s, struct net_call *call, const char *target, size_t n)
{
    static const char requests[] = "/joulet/requests", energy[] = "/joulet/energy";
    size_t len = sizeof requests - 1;
    struct jl_buf out;
    char id[20] = "";
    bool found = true, ok;
    jl_buf_init(&out, (size_t)1 << 26);
    if (n == sizeof energy - 1)
        metering_write_energy(s->o.metering, &out);
    else if (n == len)
        metering_write_requests(s->o.metering, wanted(target), &out);
    else {
        snprintf(id, sizeof id, "%.*s", (int)(n - len - 1 < sizeof id ? n - len - 1 : sizeof id - 1), target + len + 1);
        found = metering_write_request(s->o.metering, id, &out);
    }
    if (!found)
        ok = server_refuse(call, target, 404,
                           "this request is not known: it was none that computes tokens, or too many came after it", false);
    else if (out.failed)
        ok = server_refuse(call, target, 503, "out of memory", false);
    else
        ok = answer_json(call, 200, out.data, out.len, false);
    jl_buf_release(&out);
    return ok;
}

enum own_path { OWN_NONE, OWN_HEALTH, OWN_MEASURED };

static enum own_path own_path(const char *target, size_t n)
{
    static const struct {
        const char *path;
        enum own_path what;
    } paths[] = {{"/joulet/health", OWN_HEALTH}, {"/joulet/requests", OWN_MEASURED}, {"/joulet/energy", OWN_MEASURED}};
    static const char one[] = "/joulet/requests/";
    for (size_t i = 0; i < JL_COUNT(paths); i++)
        if (strlen(paths[i].path) == n && strncmp(target, paths[i].path, n) == 0)
            return paths[i].what;
    return n > sizeof one - 1 && jl_starts(target, one) ? OWN_MEASURED : OWN_NONE;
}

bool server_own(struct server *s, const struct rules *rules, struct net_call *call, const struct net_head *head,
                const char *target)
{
    const char *origin = net_head_value(head->headers, head->n_headers, "Origin");
    size_t n = strcspn(target, "?");
    enum own_path path = own_path(target, n);
    if (origin && !guard_origin(&rules->guard, origin, head->client_fd))
        return server_refuse(call, target, 403, "pages of this origin may not ask for it: name their host with --allow-host",
                             true);
    if (path == OWN_NONE)
        return server_refuse(call, target, 404, "there is nothing at this path: paths below /joulet/ are its own", false);
    if (strcmp(head->method, "GET") != 0 && strcmp(head->method, "HEAD") != 0)
        return server_refuse(call, target, 405, "this path is only read: ask with GET", false);
    if (path == OWN_MEASURED && !s->o.metering)
        return server_refuse(call, target, 404, "nothing is measured here: no sensor works, or it was started with --no-meter",
                             false);
    return path == OWN_HEALTH ? health(s, rules, call) : measured(s, call, target, n);
}
