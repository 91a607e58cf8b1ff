/* engine_parser.c - bytes of an answer, in any cut, into a `generated`: framing first, then the protocol's own events. */
#include "llm/engine_framing.h"
#include "llm/engine_wire.h"
#include "net/net_ws.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TEXT_MAX ((size_t)64 << 20)

struct engine_parser {
    const struct engine_ops *ops;
    struct generated *g;
    bool stream;
    int64_t t_ns; /* of the bytes being read */
    struct framing framing;
    struct ws_reader socket;
    struct jl_buf body;
};

void generated_init(struct generated *g)
{
    *g = (struct generated){
        .tokens = {-1, -1, -1, -1},
        .server_prompt_s = NAN,
        .server_decode_s = NAN,
        .server_load_s = NAN,
        .server_queue_s = NAN,
        .processed_tokens = -1,
        .error_prompt_tokens = -1,
        .error_context = -1,
        .draft_tokens = -1,
        .draft_accepted = -1,
        .gpu_layers = -1,
        .server_rate = NAN,
    };
    engine_told_init(&g->told);
    jl_buf_init(&g->text, TEXT_MAX);
    jl_buf_init(&g->thinking, TEXT_MAX);
}

void generated_release(struct generated *g)
{
    jl_buf_release(&g->text);
    jl_buf_release(&g->thinking);
    free(g->token_ns);
    g->token_ns = NULL;
    g->n_token_ns = g->cap_token_ns = 0;
}

/* After an error or the end nothing more is believed. */
static bool over(const struct generated *g)
{
    return g->done || g->engine_error[0];
}

static void on_event(void *user, enum frame_kind kind, const char *bytes, size_t n)
{
    struct engine_parser *p = user;
    if (p->g->joulet_id[0] && kind != FRAME_ERROR && memmem(bytes, n, "\"energy\"", 8))
        engine_told_read(bytes, n, &p->g->told);
    if (over(p->g) || n == 0)
        return;
    if (kind == FRAME_ERROR) {
        wire_error_text(p->g, bytes, n);
        return;
    }
    if (n == 6 && memcmp(bytes, "[DONE]", 6) == 0) {
        p->g->done = true;
        p->g->t_end_ns = p->t_ns;
        return;
    }
    if (kind == FRAME_TAIL) { /* half an event is a cut stream, not a wrong one */
        json_t *root = wire_object(bytes, n);
        json_decref(root);
        if (!root)
            return;
    }
    p->ops->event(p->g, bytes, n, p->t_ns);
    if (p->g->done && !p->g->t_end_ns)
        p->g->t_end_ns = p->t_ns;
}

static bool on_message(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    if (kind == WS_TEXT)
        on_event(user, FRAME_DATA, bytes, n);
    return true;
}

static void socket_bytes(struct engine_parser *p, const char *bytes, size_t n)
{
    if (!ws_reader_bytes(&p->socket, bytes, n, on_message, p) && p->socket.problem && !over(p->g))
        wire_malformed(p->g, "%s", p->socket.problem);
}

struct engine_parser *engine_parser_open(const struct engine_ops *ops, bool stream, struct generated *g)
{
    struct engine_parser *p = calloc(1, sizeof(*p));
    if (!p)
        return NULL;
    p->ops = ops;
    p->g = g;
    p->stream = stream;
    framing_init(&p->framing, ops->framing, on_event, p);
    ws_reader_init(&p->socket, false, FRAMING_MAX);
    jl_buf_init(&p->body, FRAMING_MAX);
    return p;
}

static void too_long(struct engine_parser *p, const char *what)
{
    wire_malformed(p->g, "%s longer than %zu MiB", what, FRAMING_MAX >> 20);
}

void engine_parser_bytes(struct engine_parser *p, const char *bytes, size_t n, int64_t t_ns)
{
    p->t_ns = t_ns;
    if (p->stream && p->ops->framing == ENGINE_SOCKET) {
        socket_bytes(p, bytes, n);
    } else if (p->stream) {
        framing_bytes(&p->framing, bytes, n);
        if (p->framing.overflow)
            too_long(p, "an event");
    } else if (!jl_buf_add(&p->body, bytes, n)) {
        too_long(p, "an answer");
    }
}

void engine_parser_end(struct engine_parser *p, int64_t t_ns)
{
    p->t_ns = t_ns;
    if (p->stream && p->ops->framing != ENGINE_SOCKET)
        framing_end(&p->framing);
    else if (!p->stream && p->body.len && !over(p->g)) {
        p->ops->event(p->g, p->body.data, p->body.len, 0); /* 0: when it came says nothing about tokens */
        if (p->g->joulet_id[0])
            engine_told_read(p->body.data, p->body.len, &p->g->told);
    }
    if (!p->g->t_end_ns)
        p->g->t_end_ns = t_ns;
}

void engine_parser_close(struct engine_parser *p)
{
    if (!p)
        return;
    framing_release(&p->framing);
    ws_reader_release(&p->socket);
    jl_buf_release(&p->body);
    free(p);
}
