/* native.c - answers of the routes that TGI and SGLang have beside /v1: read where they pass, asked for by nobody here
 * (docs/engines.md). TGI tells each token in an event of its own; SGLang repeats the whole text in each, with counts. */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <string.h>

/* {"token":{"text","special"},"generated_text","details"}; a whole body has generated_text and details alone. */
static void tgi(struct generated *g, const json_t *root, int64_t t_ns)
{
    const json_t *token = json_object_get(root, "token"), *whole = json_object_get(root, "generated_text");
    const json_t *details = json_object_get(root, "details");
    if (json_is_object(token) && t_ns) {
        wire_text(g, json_object_get(token, "text"), false, 0);
        wire_arrival(g, t_ns); /* a token that is no text was computed too */
    }
    if (!json_is_string(whole))
        return;
    if (!json_is_object(token))
        wire_text(g, whole, false, t_ns);
    g->tokens.generated = wire_count(details, "generated_tokens");
    g->tokens.prompt = wire_count(details, "input_length");
    wire_finish(g, wire_string(details, "finish_reason"));
    g->done = true;
}

static void sglang(struct generated *g, const json_t *root, int64_t t_ns)
{
    const json_t *meta = json_object_get(root, "meta_info"), *reason = json_object_get(meta, "finish_reason");
    int64_t made = wire_count(meta, "completion_tokens");
    if (t_ns && made > g->tokens.generated && made > 0)
        wire_arrival(g, t_ns);
    g->tokens.generated = made;
    g->tokens.prompt = wire_count(meta, "prompt_tokens");
    g->tokens.cached = wire_count(meta, "cached_tokens");
    if (json_is_object(reason)) {
        wire_finish(g, wire_string(reason, "type"));
        g->done = t_ns == 0;
    }
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    if (root && !wire_error(g, root)) {
        if (json_is_object(json_object_get(root, "meta_info")))
            sglang(g, root, t_ns);
        else
            tgi(g, root, t_ns);
    }
    json_decref(root);
}

const struct engine_ops engine_native = {
    .name = "native",
    .summary = "the routes of TGI and SGLang beside /v1",
    .framing = ENGINE_SSE,
    .beside = true,
    .event = event,
};
