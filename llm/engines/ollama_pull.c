/* ollama_pull.c - Ollama fetches a model: one JSON object a line tells each step, an error ends it (docs/engines.md, "Ollama").
 */
#include "llm/engine_framing.h"
#include "llm/engines/ollama_private.h"

#include <stdlib.h>
#include <string.h>

#define PULL_IDLE_S 300.0

struct pulling {
    engine_progress *on_progress;
    void *user;
    struct framing lines;
    struct generated g; /* for its error */
    int http;
    bool begun, success;
};

static void on_line(void *user, enum frame_kind kind, const char *line, size_t n)
{
    struct pulling *p = user;
    char step[160];
    bool broken_off = kind == FRAME_TAIL && p->http == 200 && p->begun;
    json_t *root = broken_off ? wire_object(line, n) : wire_parse(&p->g, line, n);
    if (root && !wire_error(&p->g, root)) {
        const char *word = wire_string(root, "status");
        wire_clean(step, sizeof(step), word, strlen(word));
        p->begun = true;
        p->success |= strcmp(step, "success") == 0;
        if (p->on_progress)
            p->on_progress(p->user, step, wire_count(root, "completed"), wire_count(root, "total"));
    }
    json_decref(root);
}

static bool on_status(void *user, int status, int64_t t_ns)
{
    (void)t_ns;
    ((struct pulling *)user)->http = status;
    return true;
}

static bool on_body(void *user, const char *bytes, size_t n, int64_t t_ns)
{
    struct pulling *p = user;
    (void)t_ns;
    framing_bytes(&p->lines, bytes, n);
    return !p->g.engine_error[0] && !p->lines.overflow;
}

static enum joulet_status exchange_pull(struct engine *e, struct pulling *p, const struct jl_buf *body, struct joulet_error *err)
{
    struct net_response r;
    char *url = jl_strf("%s/api/pull", e->url);
    const struct net_header headers[] = {{"Content-Type", "application/json"}};
    struct net_request q = {.method = "POST",
                            .url = url,
                            .headers = headers,
                            .n_headers = 1,
                            .body = body->data,
                            .body_len = body->len,
                            .idle_timeout_s = PULL_IDLE_S,
                            .max_bytes = (size_t)1 << 30,
                            .cancel = e->cancel,
                            .user = p,
                            .on_status = on_status,
                            .on_body = on_body};
    if (!url)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    enum joulet_status status = net_http(&q, &r, err);
    framing_end(&p->lines);
    net_response_release(&r);
    free(url);
    return status;
}

/* By the words of Ollama 0.34. */
static const char *remedy(const char *words)
{
    static const struct {
        const char *words, *remedy;
    } known[] = {
        {"not look like a TLS handshake", "write http:// before the name of a registry without TLS"},
        {"HTTP response to HTTPS client", "write http:// before the name of a registry without TLS"},
        {"file does not exist", "there is none of that name and tag there, or a part of it is missing: check both"},
        {"digest mismatch", "what came is not what was promised, and was thrown away: try again, or tell the registry's keeper"},
        {"max retries exceeded", "the connection broke again and again: what has come is kept, so try again when it holds"},
        {"no space left", "make room where Ollama keeps its models (OLLAMA_MODELS)"},
        {"unauthorized", "it is private, or not there: check its name, or sign in with Ollama's own program"},
    };
    for (size_t i = 0; i < JL_COUNT(known); i++)
        if (strcasestr(words, known[i].words))
            return known[i].remedy;
    return "check its name and the network";
}

static enum joulet_status pulled(const struct engine *e, const char *model, const struct pulling *p, enum joulet_status status,
                                 struct joulet_error *err)
{
    if (status == JOULET_CANCELLED)
        return jl_fail(err, status, "getting %.100s was interrupted: what has come is kept, and the next try goes on from there",
                       model);
    if (p->g.engine_error[0])
        return jl_fail(err, JOULET_ENGINE, "the engine at %s could not get %.100s: \"%.200s\"; %s", e->url, model,
                       p->g.engine_error, remedy(p->g.engine_error));
    if (status != JOULET_OK || p->success)
        return status;
    return jl_fail(err, JOULET_ENGINE, "the engine at %s stopped before %.100s had come whole (HTTP %d): try again", e->url,
                   model, p->http);
}

enum joulet_status ollama_pull(struct engine *e, const char *model, engine_progress *on_progress, void *user,
                               struct joulet_error *err)
{
    struct pulling p = {.on_progress = on_progress, .user = user};
    struct jl_buf body;
    json_t *root = json_object();
    enum joulet_status status = body_string(root, "model", model, err);
    json_object_set_new(root, "stream", json_true());
    if (jl_starts(model, "http://")) /* else Ollama asks a registry by TLS alone */
        json_object_set_new(root, "insecure", json_true());
    if (status != JOULET_OK || (status = body_finish(json_incref(root), &body, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    json_decref(root);
    generated_init(&p.g);
    framing_init(&p.lines, ENGINE_LINES, on_line, &p);
    status = pulled(e, model, &p, exchange_pull(e, &p, &body, err), err);
    framing_release(&p.lines);
    generated_release(&p.g);
    jl_buf_release(&body);
    return status;
}
