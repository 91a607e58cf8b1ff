/* api.c - what may be asked below /joulet/, and how: path, method, origin, type and size of what is sent, and query are checked
 * here for every path alike, so that no answer has to.
 *
 * A page of another site can make a browser send simple requests here: what changes something is POST with a Content-Type that
 * needs the browser to ask first (OPTIONS), and it is told no unless its host was named with --allow-host. */
#include "server/api.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <strings.h>
#include <time.h>

/* ---- answers -------------------------------------------------------------------------------------------------------------- */

size_t api_origin_headers(const struct api_call *c, struct net_header *out)
{
    const char *origin = net_head_value(c->head->headers, c->head->n_headers, "Origin");
    if (!origin || !guard_origin_named(&c->rules->guard, origin))
        return 0;
    out[0] = (struct net_header){"Access-Control-Allow-Origin", origin};
    out[1] = (struct net_header){"Vary", "Origin"};
    return 2;
}

static bool answer(struct api_call *c, int status, const struct net_header *extra, size_t n_extra, const char *body, size_t n,
                   bool close)
{
    struct net_header headers[12] = {
        {"Content-Type", "application/json"}, {"Cache-Control", "no-store"}, {"X-Content-Type-Options", "nosniff"}};
    size_t at = 3;
    for (size_t i = 0; i < n_extra && at < 10; i++)
        headers[at++] = extra[i];
    at += api_origin_headers(c, headers + at);
    const struct net_header *from = n || status != 204 ? headers : headers + 1; /* of nothing there is no type */
    struct net_answer a = {.status = status,
                           .headers = from,
                           .n_headers = at - (size_t)(from - headers),
                           .body = n ? body : NULL,
                           .length = (int64_t)n,
                           .close = close};
    return net_call_answer(c->call, &a);
}

static bool refuse(struct api_call *c, int status, const struct net_header *extra, const char *code, const char *message,
                   const char *remedy)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 14);
    server_error_json(&out, code, message, remedy);
    bool ok = answer(c, status, extra, extra ? 1 : 0, out.data ? out.data : "", out.len, status == 413);
    jl_buf_release(&out);
    return ok;
}

bool api_error(struct api_call *c, int status, const char *code, const char *message, const char *remedy)
{
    return refuse(c, status, NULL, code, message, remedy);
}

bool api_not_measured(struct api_call *c)
{
    return api_error(c, 404, "not_measured", "nothing is measured here: no sensor works, or it was started with --no-meter",
                     "`joulet doctor` shows what is in the way");
}

bool api_no_memory(struct api_call *c)
{
    return api_error(c, 503, "unavailable", "out of memory", NULL);
}

bool api_bad_query(struct api_call *c, const char *message)
{
    char remedy[400];
    snprintf(remedy, sizeof remedy, "this path takes: %s", c->route->query ? c->route->query : "no query");
    api_error(c, 400, "bad_query", message, remedy);
    return false;
}

bool api_json(struct api_call *c, int status, const struct jl_buf *json)
{
    if (json->failed) {
        api_error(c, 503, "unavailable", "the answer does not fit into memory", "ask for less with limit");
        return false;
    }
    return answer(c, status, NULL, 0, json->data, json->len, false);
}

/* ---- values of the query -------------------------------------------------------------------------------------------------- */

bool api_limit(struct api_call *c, size_t otherwise, size_t most, size_t *out)
{
    const char *text = api_query_get(&c->query, "limit");
    int64_t n = (int64_t)otherwise;
    if (text && (!jl_parse_i64(text, &n) || n < 1 || n > (int64_t)most)) {
        char why[80];
        snprintf(why, sizeof why, "limit is no whole number from 1 to %zu", most);
        return api_bad_query(c, why);
    }
    *out = (size_t)n;
    return true;
}

bool api_number(struct api_call *c, const char *name, double least, double most, double otherwise, double *out)
{
    const char *text = api_query_get(&c->query, name);
    *out = otherwise;
    if (text && (!jl_parse_double(text, out) || *out < least || *out > most)) {
        char why[120];
        snprintf(why, sizeof why, "%s is no number from %g to %g", name, least, most);
        return api_bad_query(c, why);
    }
    return true;
}

bool api_flag(struct api_call *c, const char *name, bool *on)
{
    const char *text = api_query_get(&c->query, name);
    *on = text && (strcmp(text, "1") == 0 || strcmp(text, "true") == 0);
    if (text && !*on && strcmp(text, "0") != 0 && strcmp(text, "false") != 0) {
        char why[80];
        snprintf(why, sizeof why, "%s is none of 0, 1, true, false", name);
        return api_bad_query(c, why);
    }
    return true;
}

/* "2026-11-22T04:40:57Z", with or without a fraction, or with an offset instead of Z (RFC 3339). */
static bool parse_time(const char *text, int64_t *wall_ns)
{
    struct tm tm = {0};
    int n = 0, fields = sscanf(text, "%4d-%2d-%2d%*1[Tt ]%2d:%2d:%2d%n", &tm.tm_year, &tm.tm_mon, &tm.tm_mday, &tm.tm_hour,
                               &tm.tm_min, &tm.tm_sec, &n);
    double fraction = 0;
    if (fields != 6 || n != 19 || strspn(text, "0123456789Tt: -") < 19)
        return false;
    const char *p = text + n;
    if (*p == '.') {
        size_t digits = strspn(p + 1, "0123456789");
        double scale = 0.1;
        for (size_t i = 0; i < digits; i++, scale /= 10)
            fraction += (p[1 + i] - '0') * scale;
        if (digits == 0 || digits > 9)
            return false;
        p += 1 + digits;
    }
    int hours = 0, minutes = 0, end = 0;
    char sign[2] = "+"; /* a set of characters is read with its end */
    if ((*p == 'Z' || *p == 'z') && !p[1])
        end = 1;
    else if (sscanf(p, "%1[+-]%2d:%2d%n", sign, &hours, &minutes, &end) != 3 || end != 6 || p[end])
        return false;
    if (tm.tm_year < 1970 || tm.tm_mon < 1 || tm.tm_mon > 12 || tm.tm_mday < 1 || tm.tm_mday > 31 || tm.tm_hour > 23 ||
        tm.tm_min > 59 || tm.tm_sec > 60 || tm.tm_year > 2200)
        return false;
    tm.tm_year -= 1900;
    tm.tm_mon -= 1;
    int64_t offset_s = (hours * 3600 + minutes * 60) * (sign[0] == '-' ? -1 : 1);
    *wall_ns = ((int64_t)timegm(&tm) - offset_s) * JL_NS_PER_S + jl_ns(fraction);
    return true;
}

bool api_time(struct api_call *c, const char *name, int64_t *wall_ns)
{
    const char *text = api_query_get(&c->query, name);
    *wall_ns = 0;
    if (text && (!parse_time(text, wall_ns) || *wall_ns <= 0)) {
        char why[120];
        snprintf(why, sizeof why, "%s is no time like 2026-11-22T04:40:57Z", name);
        return api_bad_query(c, why);
    }
    return true;
}

bool api_wants_events(const struct api_call *c, const char *flag)
{
    const char *text = api_query_get(&c->query, flag), *accept = net_head_value(c->head->headers, c->head->n_headers, "Accept");
    if (text)
        return strcmp(text, "1") == 0 || strcmp(text, "true") == 0;
    return accept && strstr(accept, "text/event-stream");
}

/* ---- what may be asked ------------------------------------------------------------------------------------------- */

static bool is_json(const char *type)
{
    size_t n = type ? strcspn(type, "; \t") : 0;
    return n == strlen("application/json") && strncasecmp(type, "application/json", n) == 0;
}

/* A browser asks before it sends what is not simple. */
static bool options(struct api_call *c, const char *allow)
{
    struct net_header extra[5] = {{"Allow", allow}};
    size_t n = 1;
    struct net_header origin[2];
    if (api_origin_headers(c, origin)) {
        extra[n++] = (struct net_header){"Access-Control-Allow-Methods", allow};
        extra[n++] = (struct net_header){"Access-Control-Allow-Headers", "Content-Type, " GUARD_HEADER};
        extra[n++] = (struct net_header){"Access-Control-Max-Age", "600"};
    }
    return answer(c, 204, extra, n, NULL, 0, false);
}

static bool dispatch(struct api_call *c, const char *target, size_t n, const char *allow)
{
    char why[200];
    const char *origin = net_head_value(c->head->headers, c->head->n_headers, "Origin");
    if (origin && !guard_origin(&c->rules->guard, origin, c->head->client_fd)) {
        server_refused(c->server, c->head, target, 403, "pages of this origin may not ask for it");
        return api_error(c, 403, "forbidden_origin", "pages of this origin may not ask for it",
                         "name their host with --allow-host");
    }
    if (!*allow)
        return api_error(c, 404, "not_found", "there is nothing at this path: paths below /joulet/ are its own",
                         "GET /joulet/ lists them");
    if (strcmp(c->head->method, "OPTIONS") == 0)
        return options(c, allow);
    if (!c->route) {
        struct net_header methods = {"Allow", allow};
        snprintf(why, sizeof why, "this path takes %s", allow);
        return refuse(c, 405, &methods, "method_not_allowed", "this method is not for this path", why);
    }
    if (c->body_n > API_BODY_MAX)
        return api_error(c, 413, "too_large", "the body is longer than 64 KiB", NULL);
    if (strcmp(c->head->method, "POST") == 0 && !is_json(net_head_value(c->head->headers, c->head->n_headers, "Content-Type")))
        return api_error(c, 415, "unsupported_media_type", "what is sent is not said to be JSON",
                         "send Content-Type: application/json");
    if (!api_query_parse(&c->query, target[n] ? target + n + 1 : "", c->route->query, why, sizeof why))
        return api_bad_query(c, why);
    return c->route->answer(c);
}

bool server_own(struct passage *p, struct net_call *call)
{
    struct api_call c = {.server = p->server,
                         .rules = p->rules,
                         .call = call,
                         .head = p->head,
                         .body = p->body.data ? p->body.data : "",
                         .body_n = p->body.len,
                         .stream = &p->events};
    char allow[64];
    size_t n = strcspn(p->target, "?");
    c.route = api_find(p->head->method, p->target, n, c.name, sizeof c.name, allow, sizeof allow);
    return dispatch(&c, p->target, n, allow);
}
