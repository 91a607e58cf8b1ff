/* route.c - by the beginning of the path, or by the model that the body names. The body is not parsed: its outermost object is
 * walked until the one word that matters, because a prompt may be long and may be cut. */
#include "server/route.h"

#include "net/net_module.h"

#include <string.h>

#define TOKEN_MAX 512

/* The token of the joulet server that it is, which the address loses: it is sent as a header, and written nowhere. */
static const char *cut_token(char *url)
{
    static const char path[] = "/joulet/t/";
    char *at = strstr(url, path), token[TOKEN_MAX];
    size_t n = at ? strcspn(at + sizeof path - 1, "/") : 0;
    if (n == 0 || n >= sizeof token)
        return NULL;
    memcpy(token, at + sizeof path - 1, n);
    token[n] = '\0';
    memmove(at, at + sizeof path - 1 + n, strlen(at + sizeof path - 1 + n) + 1);
    char *end = url + strlen(url) + 1; /* the text was longer by more than that */
    memcpy(end, token, n + 1);
    return end;
}

enum joulet_status route_parse(char *text, struct server_upstream *out, struct joulet_error *err)
{
    char *scheme = strstr(text, "://"), *equals = strchr(text, '=');
    *out = (struct server_upstream){.url = text};
    if (equals && scheme && equals < scheme) {
        *equals = '\0';
        out->url = equals + 1;
        *(*text == '/' ? &out->prefix : &out->model) = text;
        if (!*text || strcmp(text, "/") == 0)
            return jl_fail(err, JOULET_USAGE, "an upstream has an empty prefix: give URL, /PREFIX=URL or MODEL=URL");
    }
    enum joulet_status status = net_url_check(out->url, err);
    if (status == JOULET_OK)
        out->token = cut_token(text + (out->url - text));
    if (status == JOULET_OK && strpbrk(out->url, "?#"))
        return jl_fail(err, JOULET_USAGE, "the upstream %s has a query: give its address without one", out->url);
    size_t n = strlen(out->url);
    if (status == JOULET_OK && out->url[n - 1] == '/')
        text[(size_t)(out->url - text) + n - 1] = '\0';
    n = out->prefix ? strlen(out->prefix) : 0;
    if (status == JOULET_OK && n > 1 && out->prefix[n - 1] == '/')
        text[n - 1] = '\0';
    return status;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

enum joulet_status route_check(const struct server_upstream *u, size_t n, struct joulet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (u[i].prefix && strncmp(u[i].prefix, "/joulet", 7) == 0 && (!u[i].prefix[7] || u[i].prefix[7] == '/'))
            return jl_fail(err, JOULET_USAGE, "paths below /joulet/ are joulet's own: choose another prefix for %s", u[i].url);
        for (size_t k = i + 1; k < n; k++)
            if (same(u[i].prefix, u[k].prefix) && same(u[i].model, u[k].model) &&
                (u[i].prefix || u[i].model || same(u[i].url, u[k].url)))
                return jl_fail(err, JOULET_USAGE,
                               "the upstreams %s and %s would get the same requests: give them prefixes or models, as in "
                               "/ollama=%s",
                               u[i].url, u[k].url, u[k].url);
    }
    return jl_ok(err);
}

bool route_by_model(const struct server_upstream *u, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (u[i].model)
            return true;
    return false;
}

static bool below(const char *prefix, const char *target, const char **rest)
{
    size_t n = strlen(prefix);
    if (strncmp(target, prefix, n) != 0 || (target[n] && target[n] != '/' && target[n] != '?'))
        return false;
    *rest = target + n;
    return true;
}

static bool is_model(const char *pattern, const char *model)
{
    size_t n = strlen(pattern);
    return n && pattern[n - 1] == '*' ? strncmp(pattern, model, n - 1) == 0 : strcmp(pattern, model) == 0;
}

const struct server_upstream *route_find(const struct server_upstream *u, size_t n, const char *target, const char *model,
                                         const char **rest)
{
    const struct server_upstream *best = NULL, *otherwise = NULL, *named = NULL;
    const char *here;
    *rest = target;
    for (size_t i = 0; i < n; i++) {
        if (u[i].prefix && below(u[i].prefix, target, &here) && (!best || strlen(u[i].prefix) > strlen(best->prefix))) {
            best = &u[i];
            *rest = here;
        }
        if (u[i].model && model && !named && is_model(u[i].model, model))
            named = &u[i];
        if (!u[i].prefix && !u[i].model && !otherwise)
            otherwise = &u[i];
    }
    if (best)
        return best;
    if (named)
        return named;
    for (size_t i = 0; i < n && !otherwise; i++) /* lists of models and the like: whoever is first */
        if (u[i].model && !model)
            otherwise = &u[i];
    return otherwise;
}

/* ---- the model of a body ----------------------------------------------------------------------------------------- */

struct walk {
    const char *p, *end;
};

static void skip_blanks(struct walk *w)
{
    while (w->p < w->end && strchr(" \t\r\n", *w->p) && *w->p)
        w->p++;
}

/* At a quote: goes behind the string. out: its text, "" when it does not fit or has other escapes. */
static bool string(struct walk *w, char *out, size_t size)
{
    size_t n = 0;
    bool fits = out != NULL;
    for (w->p++; w->p < w->end && *w->p != '"'; w->p++) {
        if (*w->p == '\\') {
            if (++w->p == w->end)
                return false;
            fits = fits && strchr("\"\\/", *w->p) && *w->p;
        }
        fits = fits && n + 1 < size;
        if (fits)
            out[n++] = *w->p;
    }
    if (w->p == w->end)
        return false;
    w->p++;
    if (out)
        out[fits ? n : 0] = '\0';
    return true;
}

/* Any value, without recursion: brackets are counted. */
static bool skip_value(struct walk *w)
{
    size_t depth = 0;
    while (w->p < w->end) {
        if (*w->p == '"') {
            if (!string(w, NULL, 0))
                return false;
            continue;
        }
        if (depth == 0 && (*w->p == ',' || *w->p == '}'))
            return true;
        depth += *w->p == '{' || *w->p == '[';
        if (*w->p == '}' || *w->p == ']') {
            if (depth == 0)
                return false;
            depth--;
        }
        w->p++;
    }
    return false;
}

bool route_model(const char *json, size_t n, char *model, size_t size)
{
    struct walk w = {json, json + n};
    char key[8];
    skip_blanks(&w);
    if (w.p == w.end || *w.p != '{')
        return false;
    for (w.p++;; w.p++) {
        skip_blanks(&w);
        if (w.p == w.end || *w.p != '"' || !string(&w, key, sizeof(key)))
            return false;
        skip_blanks(&w);
        if (w.p == w.end || *w.p++ != ':')
            return false;
        skip_blanks(&w);
        if (strcmp(key, "model") == 0)
            return w.p < w.end && *w.p == '"' && string(&w, model, size) && *model;
        if (!skip_value(&w) || *w.p != ',')
            return false;
    }
}
