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

static enum joulet_status ask(const struct engine *e, const char *method, const char *path, const struct jl_buf *body,
                              double idle_s, struct net_response *out, struct joulet_error *err)
{
    char *url = join(e->url, path), *bearer = e->key ? join("Bearer ", e->key) : NULL;
    struct net_header headers[3] = {{"Accept", "application/json"}};
    size_t n = 1;
    if (body)
        headers[n++] = (struct net_header){"Content-Type", "application/json"};
    if (bearer)
        headers[n++] = (struct net_header){"Authorization", bearer};
    struct net_request q = {
        .method = method,
        .url = url,
        .headers = headers,
        .n_headers = n,
        .body = body ? body->data : NULL,
        .body_len = body ? body->len : 0,
        .idle_timeout_s = idle_s,
        .max_bytes = ASK_MAX_BYTES,
        .cancel = e->cancel,
    };
    *out = (struct net_response){.status = 0};
    enum joulet_status status =
        url && (bearer || !e->key) ? net_http(&q, out, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    jl_trace("engine", "%s %s: HTTP %d, %zu bytes", method, path, out->status, out->body.len);
    free(url);
    free(bearer);
    return status;
}

enum joulet_status engine_get(const struct engine *e, const char *path, struct net_response *out, struct joulet_error *err)
{
    return ask(e, "GET", path, NULL, ASK_IDLE_S, out, err);
}

enum joulet_status engine_ask(const struct engine *e, const char *method, const char *path, json_t *body, double idle_s,
                              struct net_response *out, struct joulet_error *err)
{
    struct jl_buf text;
    *out = (struct net_response){.status = 0};
    enum joulet_status status = body ? body_finish(body, &text, err) : JOULET_OK;
    if (status != JOULET_OK)
        return status;
    status = ask(e, method, path, body ? &text : NULL, idle_s > 0 ? idle_s : ASK_IDLE_S, out, err);
    if (body)
        jl_buf_release(&text);
    return status;
}

/* ---- opening ----------------------------------------------------------------------------------------------------------------
 */

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
    char *s = jl_strf("%s%s", strstr(url, "://") ? "" : "http://", url);
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
    return s;
}

/* A reason that belongs to the engine at all, not to one protocol, ends the search. */
static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    for (size_t i = 0; engine_table[i]; i++) {
        struct joulet_error why;
        forget(&e->info);
        enum joulet_status status = engine_table[i]->recognise(e, &why);
        jl_trace("engine", "%s at %s: %s", engine_table[i]->name, e->url, joulet_status_text(status));
        if (status == JOULET_OK) {
            e->ops = engine_table[i];
            snprintf(e->info.protocol, sizeof(e->info.protocol), "%s", e->ops->name);
            return jl_ok(err);
        }
        if (status == JOULET_UNREACHABLE || status == JOULET_IO)
            return engine_unreachable(e->url, &why, err);
        if (status != JOULET_NOT_FOUND)
            return jl_fail(err, status, "%s", why.message);
    }
    return jl_fail(err, JOULET_NOT_FOUND,
                   "what answers at %s is no engine that joulet knows: llama.cpp's routes and /v1/models are missing there",
                   e->url);
}

enum joulet_status engine_open(struct engine **out, const char *url, const char *key, const atomic_bool *cancel,
                               struct joulet_error *err)
{
    *out = NULL;
    if (!url || !url[0])
        return jl_fail(err, JOULET_USAGE, "the engine's address is empty: give one as in http://127.0.0.1:8080");
    if (key && strpbrk(key, "\r\n"))
        return jl_fail(err, JOULET_USAGE, "the engine's key holds a line end: check the file or variable it comes from");
    struct engine *e = calloc(1, sizeof(*e));
    if (!e || !(e->url = tidy_url(url)) || (key && key[0] && !(e->key = jl_strdup(key)))) {
        engine_close(e);
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    e->cancel = cancel;
    e->local = net_url_is_local(e->url);
    enum joulet_status status = recognise(e, err);
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

void engine_close(struct engine *e)
{
    if (!e)
        return;
    free(e->url);
    free(e->key);
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

/* ---- generating --------------------------------------------------------------------------------------------------------------
 */

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
    if (c->parser)
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

static enum joulet_status exchange(struct call *c, const struct generation *q, const char *url, const char *bearer,
                                   const struct jl_buf *body, struct joulet_error *err)
{
    const struct net_header headers[] = {
        {"Content-Type", "application/json"}, {"Accept", "text/event-stream, application/json"}, {"Authorization", bearer}};
    struct net_request n = {
        .method = "POST",
        .url = url,
        .headers = headers,
        .n_headers = bearer ? 3 : 2,
        .body = body->data,
        .body_len = body->len,
        .idle_timeout_s = q->timeout_s > 0 ? q->timeout_s : 0,
        .max_bytes = ANSWER_MAX,
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
    return status;
}

enum joulet_status engine_generate(struct engine *e, const struct generation *q, struct generated *g, engine_text *on_text,
                                   void *user, struct joulet_error *err)
{
    struct call c = {.e = e, .g = g, .on_text = on_text, .user = user};
    struct joulet_error net_err = {.status = JOULET_OK};
    struct jl_buf body;
    const char *path = NULL;
    enum joulet_status status = body_check(q, err);
    jl_buf_init(&body, 0);
    if (status == JOULET_OK)
        status = e->ops->request(e, q, &path, &body, err);
    if (status != JOULET_OK) {
        jl_buf_release(&body);
        return status;
    }
    char *url = join(e->url, path), *bearer = e->key ? join("Bearer ", e->key) : NULL;
    if (!url || (e->key && !bearer))
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    else
        status = engine_verdict(e, q, g, exchange(&c, q, url, bearer, &body, &net_err), &net_err, err);
    jl_trace("engine", "POST %s: HTTP %d, %lld tokens, finish \"%s\", %s", path, g->http_status, (long long)g->tokens.generated,
             g->finish, joulet_status_text(status));
    free(url);
    free(bearer);
    jl_buf_release(&body);
    return status;
}
