/* engine.c - one connection to an inference server: finding out what it speaks, waiting for it, generating. */
#include "lib/platform/platform.h"
#include "llm/engine_framing.h"
#include "llm/engine_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define ASK_IDLE_S    10.0 /* small questions: an engine in a long prefill may take its time */
#define ASK_MAX_BYTES ((size_t)16 << 20)
#define ANSWER_MAX    ((size_t)1 << 30) /* a stream of a very long answer; what is kept of it has limits of its own */
#define WAIT_STEP_NS  100000000

/* ---- asking --------------------------------------------------------------------------------------------------------------- */

static char *join(const char *a, const char *b)
{
    return jl_strf("%s%s", a, b);
}

const char *engine_ca(void)
{
    const char *file = jl_env("JOULET_ENGINE_CA");
    return file && file[0] ? file : NULL;
}

/* Who asks: the key as the protocol wants it. Appends to headers[*n]; false: no memory. *owned is to be freed. */
static bool add_key(const struct engine *e, struct net_header *headers, size_t *n, char **owned)
{
    *owned = NULL;
    if (e->joulet.token)
        headers[(*n)++] = (struct net_header){"X-Joulet-Token", e->joulet.token};
    if (e->ops && e->ops->headers) {
        *n += e->ops->headers(e, headers + *n);
        return true;
    }
    if (!e->key)
        return true;
    *owned = join("Bearer ", e->key);
    headers[(*n)++] = (struct net_header){"Authorization", *owned};
    return *owned != NULL;
}

static bool on_answer_header(void *user, const char *name, const char *value)
{
    (void)value;
    struct engine_noticed *noticed = user;
    noticed->joulet |= strcasecmp(name, ENGINE_JOULET_HEADER) == 0;
    return true;
}

static bool drop(void *user, const char *bytes, size_t n, int64_t t_ns)
{
    (void)user;
    (void)bytes;
    (void)n;
    (void)t_ns;
    return true;
}

/* unread: the answer is thrown away as it comes, and *out has its status alone. */
static enum joulet_status ask(const struct engine *e, const char *method, const char *path, const struct jl_buf *body,
                              double idle_s, bool unread, struct net_response *out, struct joulet_error *err)
{
    char *url = join(e->url, path), *owned;
    struct net_header headers[3 + ENGINE_HEADERS_MAX] = {{"Accept", "application/json"}};
    size_t n = 1;
    if (body)
        headers[n++] = (struct net_header){"Content-Type", "application/json"};
    bool ok = add_key(e, headers, &n, &owned) && url;
    struct net_request q = {
        .method = method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
        .idle_timeout_s = idle_s,
        .max_bytes = ASK_MAX_BYTES,
        .ca_file = engine_ca(),
        .cancel = e->cancel,
        .user = e->noticed,
        .on_header = e->noticed ? on_answer_header : NULL,
        .on_body = unread ? drop : NULL,
    };
    *out = (struct net_response){.status = 0};
    enum joulet_status status = ok ? net_http(&q, out, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (e->noticed && engine_joulet_refused(out->status, out->body.data ? out->body.data : "", out->body.len))
        e->noticed->wants_token = true;
    if (out->body.data)
        engine_hide_key(e, out->body.data, out->body.len);
    jl_trace("engine", "%s %s: HTTP %d, %zu bytes", method, path, out->status, out->body.len);
    free(url);
    free(owned);
    return status;
}

enum joulet_status engine_get(const struct engine *e, const char *path, struct net_response *out, struct joulet_error *err)
{
    return ask(e, "GET", path, NULL, ASK_IDLE_S, false, out, err);
}

enum joulet_status engine_ask(const struct engine *e, const char *method, const char *path, json_t *body, double idle_s,
                              struct net_response *out, struct joulet_error *err)
{
    struct jl_buf text;
    *out = (struct net_response){.status = 0};
    enum joulet_status status = body ? body_finish(body, &text, err) : JOULET_OK;
    if (status != JOULET_OK)
        return status;
    status = ask(e, method, path, body ? &text : NULL, idle_s > 0 ? idle_s : ASK_IDLE_S, false, out, err);
    if (body)
        jl_buf_release(&text);
    return status;
}

enum joulet_status engine_post(const struct engine *e, const char *path, const struct jl_buf *body, bool unread,
                               struct net_response *out, struct joulet_error *err)
{
    return ask(e, "POST", path, body, ASK_IDLE_S, unread, out, err);
}

/* Some servers answer 200 to a path they do not have, with an error in the body; others 404, as they also say that the empty
 * name is no model of theirs, but then in an object with `type` (Anthropic's form) or a code of their own. */
enum joulet_status engine_has_route(const struct engine *e, const char *path, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_ask(e, "POST", path, json_object(), 0, &r, err);
    json_t *root = status == JOULET_OK ? wire_object(r.body.data ? r.body.data : "", r.body.len) : NULL;
    const json_t *error = json_object_get(root, "error");
    bool refused = r.status == 400 || r.status == 401 || r.status == 403 || r.status == 422 || r.status == 500;
    bool theirs = strcmp(wire_string(root, "type"), "error") == 0 && json_is_object(error);
    if (status == JOULET_OK && (!root || !(refused || (theirs && r.status == 404))))
        status = jl_fail(err, JOULET_NOT_FOUND, "%s has no %s", e->url, path);
    json_decref(root);
    net_response_release(&r);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------- */

static void forget(struct engine_info *i)
{
    *i = (struct engine_info){
        .context_length = -1, .model_bytes = -1, .model_params = -1, .gpu_layers = -1, .gpu_bytes = -1, .slots = -1};
}

static bool ends_in(const char *s, size_t n, const char *end)
{
    size_t m = strlen(end);
    return n >= m && memcmp(s + n - m, end, m) == 0;
}

/* "127.0.0.1:8080/v1/" is what people paste: scheme added, slash and /v1 taken off. */
static char *tidy_url(const char *url)
{
    const struct engine_cloud *cloud = strstr(url, "://") ? NULL : engine_cloud_at(url);
    bool socket = strncasecmp(url, "ws://", 5) == 0, secure = strncasecmp(url, "wss://", 6) == 0;
    url += socket ? 5 : secure ? 6 : 0; /* a WebSocket begins as HTTP: the scheme of LM Studio's SDKs */
    char *s = jl_strf("%s%s", cloud || secure ? "https://" : strstr(url, "://") ? "" : "http://", url);
    if (!s)
        return NULL;
    size_t n = strlen(s);
    while (n && s[n - 1] == '/')
        n--;
    if (ends_in(s, n, "/v1"))
        n -= 3;
    while (n && s[n - 1] == '/')
        n--;
    s[n] = '\0';
    const struct engine_cloud *at = engine_cloud_at(s);
    if (!at || !at->base[0] || strchr(strstr(s, "://") + 3, '/'))
        return s;
    char *whole = join(s, at->base); /* a service's own path, which people leave out */
    free(s);
    return whole;
}

/* " (asked through the proxy X of http_proxy)", or nothing. */
static void through(const char *url, char *text, size_t size)
{
    char proxy[256];
    const char *variable;
    text[0] = '\0';
    if (net_proxy_of(url, proxy, sizeof(proxy), &variable))
        snprintf(text, size, " (asked through the proxy %s of %s)", proxy, variable);
}

/* What stands there instead, when no protocol knows it: people paste addresses of pages, and of proxies in front. */
static enum joulet_status unknown_there(const struct engine *e, struct joulet_error *err)
{
    struct net_response r;
    char via[360], where[160];
    const char *body = "";
    enum joulet_status status = engine_get(e, "/v1/models", &r, NULL);
    wire_clean(where, sizeof(where), r.location, strlen(r.location));
    if (status == JOULET_OK && r.body.data)
        body = r.body.data + strspn(r.body.data, " \t\r\n");
    through(e->url, via, sizeof(via));
    if (status == JOULET_OK && r.status == 407)
        jl_fail(
            err, JOULET_NOT_FOUND,
            "the proxy in front of %s wants a login%s: write it into the variable as http://USER:PASSWORD@HOST:PORT, or name the "
            "host in no_proxy",
            e->url, via);
    else if (status == JOULET_OK && r.status >= 300 && r.status < 400)
        jl_fail(err, JOULET_NOT_FOUND,
                "what answers at %s%s sends elsewhere (HTTP %d%s%s), and joulet does not follow: give the address of the engine "
                "itself",
                e->url, via, r.status, where[0] ? ", to " : "", where);
    else if (status == JOULET_OK && body[0] == '<')
        jl_fail(err, JOULET_NOT_FOUND,
                "what answers at %s%s sends a web page (HTTP %d), as a login page or a proxy does: give the engine's own address",
                e->url, via, r.status);
    else
        jl_fail(err, JOULET_NOT_FOUND,
                "what answers at %s%s is no engine that joulet knows: llama.cpp's routes and /v1/models are missing there",
                e->url, via);
    net_response_release(&r);
    return JOULET_NOT_FOUND;
}

/* A reason that belongs to the engine at all, not to one protocol, ends the search. */
static enum joulet_status try_row(struct engine *e, const struct engine_ops *row, struct joulet_error *err)
{
    struct joulet_error why;
    e->ops = row;
    enum joulet_status status = row->recognise(e, &why);
    jl_trace("engine", "%s at %s: %s", row->name, e->url, joulet_status_text(status));
    if (status == JOULET_OK)
        return snprintf(e->info.protocol, sizeof(e->info.protocol), "%s", row->name), jl_ok(err);
    e->ops = NULL;
    if (status == JOULET_UNREACHABLE || status == JOULET_IO)
        return engine_unreachable(e->url, &why, err);
    return jl_fail(err, status, "%s", why.message);
}

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    for (size_t i = 0; engine_table[i]; i++) {
        if (engine_table[i]->beside)
            continue;
        forget(&e->info);
        enum joulet_status status = try_row(e, engine_table[i], err);
        if (status != JOULET_NOT_FOUND)
            return status;
    }
    return unknown_there(e, err);
}

static const struct engine_ops *row_named(const char *name)
{
    for (size_t i = 0; name && engine_table[i]; i++)
        if (strcasecmp(engine_table[i]->name, name) == 0)
            return engine_table[i];
    return NULL;
}

/* By the protocol that was named: what is spoken beside others keeps what those tell of the server and its model. */
static enum joulet_status recognise_as(struct engine *e, const struct engine_ops *row, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    forget(&e->info);
    if (row->beside && !e->cloud) {
        status = recognise(e, err);
        if (status != JOULET_OK && status != JOULET_NOT_FOUND)
            return status;
    }
    status = try_row(e, row, err);
    if (status == JOULET_NOT_FOUND)
        return jl_fail(err, status,
                       "what answers at %s does not speak the protocol %s: leave --protocol out to find the right one", e->url,
                       row->name);
    return status;
}

/* The key of a service is for its own host, and only over TLS. */
static enum joulet_status take_key(struct engine *e, const char *key, struct joulet_error *err)
{
    const char *general = jl_env("JOULET_ENGINE_KEY"), *own = e->cloud ? jl_env(e->cloud->key_variable) : NULL;
    if (own && own[0] && (!key || !key[0] || (general && strcmp(key, general) == 0)))
        key = own; /* the one for any engine may well be that of another */
    if (!key || !key[0])
        return JOULET_OK;
    if (strpbrk(key, "\r\n"))
        return jl_fail(err, JOULET_USAGE, "the engine's key holds a line end: check the file or variable it comes from");
    if (e->cloud && strncasecmp(e->url, "https://", 8) != 0)
        return jl_fail(err, JOULET_USAGE, "the key of %s would travel unencrypted to %s: write https://", e->cloud->name, e->url);
    e->key = jl_strdup(key);
    return e->key ? JOULET_OK : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static enum joulet_status no_protocol(const char *name, struct joulet_error *err)
{
    struct jl_buf names;
    jl_buf_init(&names, 240);
    for (size_t i = 0; engine_table[i]; i++)
        jl_buf_printf(&names, "%s%s", i ? ", " : "", engine_table[i]->name);
    jl_fail(err, JOULET_USAGE, "there is no protocol \"%.60s\": it is one of %s", name, names.data ? names.data : "");
    jl_buf_release(&names);
    return JOULET_USAGE;
}

/* What answers, through a joulet server in front of it or not. */
static enum joulet_status find_out(struct engine *e, const struct engine_ops *row, struct joulet_error *err)
{
    struct engine_noticed noticed = {0};
    if (!engine_joulet_take_token(e))
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    e->noticed = &noticed;
    enum joulet_status status = row ? recognise_as(e, row, err) : recognise(e, err);
    if (status != JOULET_OK && noticed.wants_token && engine_joulet_try_token(e)) {
        noticed.wants_token = false;
        status = row ? recognise_as(e, row, err) : recognise(e, err);
    }
    e->noticed = NULL;
    if (status != JOULET_OK && noticed.wants_token)
        return engine_joulet_no_token(e, err);
    if (status == JOULET_OK && noticed.joulet)
        engine_joulet_look(e);
    return status;
}

enum joulet_status engine_open_as(struct engine **out, const char *url, const char *key, const char *protocol,
                                  const atomic_bool *cancel, struct joulet_error *err)
{
    const struct engine_ops *row = row_named(protocol);
    *out = NULL;
    if (!url || !url[0])
        return jl_fail(err, JOULET_USAGE, "the engine's address is empty: give one as in http://127.0.0.1:8080");
    if (protocol && !row)
        return no_protocol(protocol, err);
    struct engine *e = calloc(1, sizeof(*e));
    if (!e || !(e->url = tidy_url(url))) {
        engine_close(e);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    if (!row && (strncasecmp(url, "ws://", 5) == 0 || strncasecmp(url, "wss://", 6) == 0))
        row = row_named("lmstudio-ws");
    e->cancel = cancel;
    e->local = net_url_is_here(e->url);
    e->cloud = engine_cloud_at(e->url);
    if (e->cloud && !row)
        row = row_named(e->cloud->protocol);
    enum joulet_status status = take_key(e, key, err);
    if (status == JOULET_OK)
        status = find_out(e, row, err);
    if (status != JOULET_OK)
        engine_close(e);
    else
        *out = e;
    return status;
}

void engine_address(const struct engine_ops *ops, char *url, size_t size)
{
    if (!ops->address || !ops->address(url, size))
        snprintf(url, size, "http://127.0.0.1:%d", ops->default_port);
}

enum joulet_status engine_open(struct engine **out, const char *url, const char *key, const atomic_bool *cancel,
                               struct joulet_error *err)
{
    return engine_open_as(out, url, key, NULL, cancel, err);
}

void engine_close(struct engine *e)
{
    if (!e)
        return;
    free(e->url);
    free(e->key);
    free(e->joulet.token);
    free(e);
}

static bool is_cancelled(const struct engine *e)
{
    return e->cancel && atomic_load(e->cancel);
}

enum joulet_status engine_wait_ready(struct engine *e, double timeout_s, struct joulet_error *err)
{
    int64_t until = jl_mono_ns() + jl_ns(timeout_s);
    for (;;) {
        enum joulet_status status = e->ops->recognise(e, err);
        if (status == JOULET_UNREACHABLE || status == JOULET_IO) {
            struct joulet_error why = {.status = status};
            if (err)
                why = *err;
            return engine_unreachable(e->url, &why, err);
        }
        if (status != JOULET_OK || !e->info.loading)
            return status;
        if (is_cancelled(e))
            return jl_fail(err, JOULET_CANCELLED, "waiting for the engine at %s was interrupted", e->url);
        if (jl_mono_ns() >= until)
            return jl_fail(err, JOULET_UNREACHABLE,
                           "the engine at %s has not loaded its model within %g s: wait longer, or look into its log", e->url,
                           timeout_s);
        jl_sleep_until(jl_mono_ns() + WAIT_STEP_NS);
    }
}

/* ---- generating -------------------------------------------------------------------------------------------------- */

struct call {
    const struct engine *e;
    struct generated *g;
    struct engine_parser *parser;
    engine_text *on_text;
    void *user;
    bool streams;          /* by its content type */
    size_t text, thinking; /* handed to on_text so far */
};

static void hand_on(struct call *c)
{
    if (c->on_text && c->g->thinking.len > c->thinking)
        c->on_text(c->user, c->g->thinking.data + c->thinking, c->g->thinking.len - c->thinking, true);
    c->thinking = c->g->thinking.len;
    if (c->on_text && c->g->text.len > c->text)
        c->on_text(c->user, c->g->text.data + c->text, c->g->text.len - c->text, false);
    c->text = c->g->text.len;
}

static bool on_status(void *user, int status, int64_t t_ns)
{
    struct call *c = user;
    c->g->http_status = status;
    c->g->t_header_ns = t_ns;
    c->streams = status == 200 && c->e->ops->framing == ENGINE_LINES;
    return true;
}

static bool on_header(void *user, const char *name, const char *value)
{
    struct call *c = user;
    if (c->g->http_status == 200 && strcasecmp(name, "Content-Type") == 0 && strncasecmp(value, "text/event-stream", 17) == 0)
        c->streams = true;
    if (strcasecmp(name, ENGINE_JOULET_HEADER) == 0)
        wire_clean(c->g->joulet_id, sizeof c->g->joulet_id, value, strlen(value));
    return true;
}

/* An error ends the exchange: closing the connection also ends the engine's work on it. */
static bool on_body(void *user, const char *bytes, size_t n, int64_t t_ns)
{
    struct call *c = user;
    if (!c->parser)
        c->parser = engine_parser_open(c->e->ops, c->streams, c->g);
    if (!c->parser) {
        wire_malformed(c->g, "more than fits into memory");
        return false;
    }
    engine_parser_bytes(c->parser, bytes, n, t_ns);
    hand_on(c);
    return !c->g->engine_error[0];
}

static void end_call(struct call *c, const struct net_response *r)
{
    struct generated *g = c->g;
    bool half = !c->streams && !r->complete && g->http_status == 200; /* of a body that should have come whole */
    if (c->parser && !half)
        engine_parser_end(c->parser, r->t_end_ns);
    hand_on(c);
    engine_parser_close(c->parser);
    g->complete = r->complete;
    g->t_sent_ns = r->t_start_ns;
    if (g->t_sent_ns && !g->t_end_ns)
        g->t_end_ns = r->t_end_ns;
    if (g->complete && g->finish[0] && !g->engine_error[0])
        g->done = true; /* some servers send no [DONE] after the reason */
}

static enum joulet_status exchange(struct call *c, const struct generation *q, const char *url, const struct jl_buf *body,
                                   struct joulet_error *err)
{
    struct net_header headers[3 + ENGINE_HEADERS_MAX] = {{"Content-Type", "application/json"},
                                                         {"Accept", "text/event-stream, application/json"}};
    size_t n_headers = 2;
    char *owned;
    if (!add_key(c->e, headers, &n_headers, &owned))
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    struct net_request n = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .n_headers = n_headers,
        .body = body->data,
        .body_len = body->len,
        .idle_timeout_s = q->timeout_s > 0 ? q->timeout_s : 0,
        .max_bytes = ANSWER_MAX,
        .ca_file = engine_ca(),
        .cancel = c->e->cancel,
        .user = c,
        .on_status = on_status,
        .on_header = on_header,
        .on_body = on_body,
    };
    struct net_response r;
    enum joulet_status status = net_http(&n, &r, err);
    end_call(c, &r);
    net_response_release(&r);
    free(owned);
    return status;
}

static enum joulet_status post(struct call *c, struct engine *e, const struct generation *q, struct joulet_error *net_err,
                               bool *asked, struct joulet_error *err)
{
    struct jl_buf body;
    const char *path = NULL;
    jl_buf_init(&body, 0);
    enum joulet_status status = e->ops->request(e, q, &path, &body, err);
    char *url = status == JOULET_OK ? join(e->url, path) : NULL;
    if (status == JOULET_OK && !url)
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    *asked = status == JOULET_OK;
    if (*asked)
        status = exchange(c, q, url, &body, net_err);
    free(url);
    jl_buf_release(&body);
    return status;
}

static void arrived(void *user)
{
    hand_on(user);
}

enum joulet_status engine_generate(struct engine *e, const struct generation *q, struct generated *g, engine_text *on_text,
                                   void *user, struct joulet_error *err)
{
    struct call c = {.e = e, .g = g, .on_text = on_text, .user = user};
    struct joulet_error net_err = {.status = JOULET_OK};
    bool asked = true;
    enum joulet_status status = body_check(q, err);
    if (status != JOULET_OK)
        return status;
    if (e->ops->converse)
        status = e->ops->converse(e, q, g, arrived, &c, &net_err);
    else
        status = post(&c, e, q, &net_err, &asked, err);
    if (!asked) /* the wish cannot be fulfilled: nothing was sent */
        return status;
    if (e->ops->converse && status != JOULET_OK && !g->t_sent_ns && (status == JOULET_ENGINE || status == JOULET_USAGE))
        return jl_fail(err, status, "%s", net_err.message);
    if (e->ops->conclude && g->done && !g->engine_error[0])
        e->ops->conclude(e, q, g);
    status = engine_verdict(e, q, g, status, &net_err, err);
    jl_trace("engine", "%s: HTTP %d, %lld tokens, finish \"%s\", %s", e->ops->name, g->http_status,
             (long long)g->tokens.generated, g->finish, joulet_status_text(status));
    return status;
}
