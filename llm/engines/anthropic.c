/* anthropic.c - Anthropic's messages, /v1/messages: of Anthropic itself, and of llama-server, vLLM, LM Studio and Ollama, which
 * speak it beside their own. A stream has named events; what its end says of tokens (`message_delta`) replaces what its beginning
 * guessed. Input tokens are told in three parts: computed, written to the cache, read from it (docs/engines.md, "Protocols"). */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define VERSION            "2023-06-01"
#define MAX_TOKENS_DEFAULT 4096 /* the protocol demands a number */
#define BUDGET_LEAST       1024

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

static size_t headers(const struct engine *e, struct net_header out[ENGINE_HEADERS_MAX])
{
    size_t n = 0;
    out[n++] = (struct net_header){"anthropic-version", VERSION};
    if (e->key)
        out[n++] = (struct net_header){"x-api-key", e->key};
    return n;
}

static enum joulet_status models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_get(e, "/v1/models", &r, err);
    if (status == JOULET_OK && (r.status == 401 || r.status == 403))
        status = engine_key_refused(e, "", err);
    else if (status == JOULET_OK)
        status = wire_models(r.body.data ? r.body.data : "", r.body.len, out, n, err);
    net_response_release(&r);
    return status;
}

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    struct engine_model *list = NULL;
    size_t n = 0;
    if (!e->cloud)
        return engine_has_route(e, "/v1/messages", err);
    if (!e->key)
        return engine_key_refused(e, "", err);
    enum joulet_status status = models(e, &list, &n, err);
    free(list);
    return status;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static enum joulet_status check(const struct engine *e, const struct generation *q, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    const struct {
        bool given;
        const char *what;
    } lacks[] = {
        {q->raw, "way to send a text without the chat template"},
        {q->seed >= 0, "seed"},
        {!isnan(q->min_p), "min-p"},
        {!isnan(q->repeat_penalty), "repeat penalty"},
    };
    for (size_t i = 0; i < JL_COUNT(lacks) && status == JOULET_OK; i++)
        status = body_lacks(e, lacks[i].given, lacks[i].what, err);
    if (status == JOULET_OK && !q->model && !e->info.model[0])
        status = jl_fail(err, JOULET_USAGE, "the engine at %s lists no model: name one with -m", e->url);
    return status;
}

/* System prompts are no messages here: those of the list are joined, as they were in order. */
static void lift_system(json_t *root)
{
    json_t *list = json_object_get(root, "messages"), *kept = json_array(), *m;
    struct jl_buf all;
    size_t i;
    jl_buf_init(&all, (size_t)16 << 20);
    json_array_foreach(list, i, m)
    {
        const char *text = wire_string(m, "content");
        if (strcmp(wire_string(m, "role"), "system") == 0 && text[0])
            jl_buf_printf(&all, "%s%s", all.len ? "\n\n" : "", text);
        else
            json_array_append(kept, m);
    }
    if (all.len)
        json_object_set_new(root, "system", json_stringn(all.data, all.len));
    json_object_set_new(root, "messages", kept);
    jl_buf_release(&all);
}

/* {"type":"function","function":{name, description, parameters}} becomes {name, description, input_schema}. */
static void turn_tools(json_t *root)
{
    json_t *list = json_object_get(root, "tools"), *out = json_array(), *t;
    size_t i;
    json_array_foreach(list, i, t)
    {
        json_t *f = json_object_get(t, "function"), *ours = json_object(), *schema = json_object_get(f, "parameters");
        json_object_set(ours, "name", json_object_get(f, "name"));
        if (json_object_get(f, "description"))
            json_object_set(ours, "description", json_object_get(f, "description"));
        if (schema)
            json_object_set(ours, "input_schema", schema);
        else
            json_object_set_new(ours, "input_schema", json_pack("{s:s}", "type", "object"));
        json_array_append_new(out, ours);
    }
    json_object_set_new(root, "tools", out);
}

/* Levels are budgets here; a budget must be below the limit of the answer, which then grows by it. */
static void put_thinking(json_t *root, const struct generation *q, int64_t *max_tokens)
{
    static const int64_t budgets[] = {0, 0, 4096, 1024, 4096, 16384};
    int64_t budget = q->thinking_budget > 0 ? q->thinking_budget : budgets[q->thinking];
    if (q->thinking == THINKING_OFF)
        json_object_set_new(root, "thinking", json_pack("{s:s}", "type", "disabled"));
    if (q->thinking == THINKING_OFF || budget <= 0)
        return;
    budget = budget < BUDGET_LEAST ? BUDGET_LEAST : budget;
    json_object_set_new(root, "thinking", json_pack("{s:s, s:I}", "type", "enabled", "budget_tokens", (json_int_t)budget));
    if (*max_tokens <= budget)
        *max_tokens += budget;
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    enum joulet_status status = check(e, q, err);
    int64_t max_tokens = q->max_tokens > 0 ? q->max_tokens : MAX_TOKENS_DEFAULT;
    if (status != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = "/v1/messages";
    status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_true());
    put_thinking(root, q, &max_tokens);
    body_count(root, "max_tokens", max_tokens);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    if (status != JOULET_OK || (status = body_messages(root, q, err)) != JOULET_OK ||
        (status = body_tools(root, q, err)) != JOULET_OK || (status = body_stop(root, q, err)) != JOULET_OK ||
        (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    lift_system(root);
    if (q->tools_json)
        turn_tools(root);
    if (q->n_stop) {
        json_object_set(root, "stop_sequences", json_object_get(root, "stop"));
        json_object_del(root, "stop");
    }
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

/* A usage that tells of the input tells of all of it: parts that are missing are 0. `end`: output tokens are final. */
static void usage(struct generated *g, const json_t *u, bool end)
{
    int64_t computed = wire_count(u, "input_tokens"), read = wire_count(u, "cache_read_input_tokens");
    int64_t written = wire_count(u, "cache_creation_input_tokens"), made = wire_count(u, "output_tokens");
    if (computed >= 0) {
        g->processed_tokens = computed + (written > 0 ? written : 0);
        g->tokens.cached = read >= 0 ? read : -1;
        g->tokens.prompt = g->processed_tokens + (read > 0 ? read : 0);
    }
    if (end && made >= 0)
        g->tokens.generated = made;
}

static void block(struct generated *g, const json_t *b, int64_t t_ns)
{
    const char *type = wire_string(b, "type");
    wire_text(g, json_object_get(b, "thinking"), true, t_ns);
    wire_text(g, json_object_get(b, "text"), false, t_ns);
    if (strcmp(type, "tool_use") == 0) {
        g->tool_calls++;
        if (t_ns)
            wire_arrival(g, t_ns);
    }
}

static void delta(struct generated *g, const json_t *d, int64_t t_ns)
{
    wire_text(g, json_object_get(d, "thinking"), true, t_ns);
    wire_text(g, json_object_get(d, "text"), false, t_ns);
    if (wire_string(d, "partial_json")[0])
        wire_arrival(g, t_ns);
}

static void whole(struct generated *g, const json_t *root, int64_t t_ns)
{
    size_t i;
    json_t *b;
    json_array_foreach(json_object_get(root, "content"), i, b)
    {
        block(g, b, t_ns);
    }
    usage(g, json_object_get(root, "usage"), true);
    wire_finish(g, wire_string(root, "stop_reason"));
    g->done = true;
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    const char *type = wire_string(root, "type");
    if (!root || wire_error(g, root)) {
        json_decref(root);
        return;
    }
    if (strcmp(type, "message") == 0) {
        whole(g, root, t_ns);
    } else if (strcmp(type, "message_start") == 0) {
        usage(g, json_object_get(json_object_get(root, "message"), "usage"), false);
    } else if (strcmp(type, "content_block_start") == 0) {
        block(g, json_object_get(root, "content_block"), t_ns);
    } else if (strcmp(type, "content_block_delta") == 0) {
        delta(g, json_object_get(root, "delta"), t_ns);
    } else if (strcmp(type, "message_delta") == 0) {
        usage(g, json_object_get(root, "usage"), true);
        wire_finish(g, wire_string(json_object_get(root, "delta"), "stop_reason"));
    } else if (strcmp(type, "message_stop") == 0) {
        g->done = true;
    }
    json_decref(root);
}

const struct engine_ops engine_anthropic = {
    .name = "anthropic",
    .summary = "Anthropic's messages, of Anthropic or of a server that speaks them too",
    .framing = ENGINE_SSE,
    .beside = true,
    .says_why = true,
    .recognise = recognise,
    .models = models,
    .request = request,
    .headers = headers,
    .event = event,
};
