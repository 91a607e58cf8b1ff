/* responses.c - OpenAI's newer route, /v1/responses: of OpenAI itself, and of llama-server, vLLM, LM Studio and Ollama, which
 * speak it beside their own. Named events; the one that ends the answer holds the whole of it, with counts and without times
 * (docs/engines.md, "Protocols"). */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    return e->cloud ? engine_openai.recognise(e, err) : engine_has_route(e, "/v1/responses", err);
}

static enum joulet_status models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    return engine_openai.models(e, out, n, err);
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
        {q->n_stop > 0, "stop text"},
        {q->top_k >= 0, "top-k"},
        {!isnan(q->min_p), "min-p"},
        {!isnan(q->repeat_penalty), "repeat penalty"},
        {q->thinking_budget > 0, "budget for thinking"},
    };
    for (size_t i = 0; i < JL_COUNT(lacks) && status == JOULET_OK; i++)
        status = body_lacks(e, lacks[i].given, lacks[i].what, err);
    if (status == JOULET_OK && !q->model && !e->info.model[0])
        status = jl_fail(err, JOULET_USAGE, "the engine at %s lists no model: name one with -m", e->url);
    return status;
}

/* A function stands flat here: {"type":"function", name, description, parameters}. */
static void turn_tools(json_t *root)
{
    json_t *list = json_object_get(root, "tools"), *out = json_array(), *t;
    size_t i;
    json_array_foreach(list, i, t)
    {
        json_t *flat = json_copy(json_object_get(t, "function"));
        json_object_set_new(flat, "type", json_string("function"));
        json_array_append_new(out, flat);
    }
    json_object_set_new(root, "tools", out);
}

static void put_thinking(json_t *root, const struct generation *q)
{
    const char *effort = q->thinking == THINKING_OFF  ? "none"
                         : q->thinking == THINKING_ON ? "medium"
                                                      : thinking_name(q->thinking);
    if (effort)
        json_object_set_new(root, "reasoning", json_pack("{s:s}", "effort", effort));
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    enum joulet_status status = check(e, q, err);
    if (status != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = "/v1/responses";
    status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "store", json_false());
    body_count(root, "max_output_tokens", q->max_tokens);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    put_thinking(root, q);
    if (status != JOULET_OK || (status = body_messages(root, q, err)) != JOULET_OK ||
        (status = body_tools(root, q, err)) != JOULET_OK || (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    json_object_set(root, "input", json_object_get(root, "messages"));
    json_object_del(root, "messages");
    if (q->tools_json)
        turn_tools(root);
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void keep(int64_t *slot, int64_t count)
{
    if (count >= 0)
        *slot = count;
}

static void usage(struct generated *g, const json_t *u)
{
    keep(&g->tokens.prompt, wire_count(u, "input_tokens"));
    keep(&g->tokens.generated, wire_count(u, "output_tokens"));
    keep(&g->tokens.cached, wire_count(json_object_get(u, "input_tokens_details"), "cached_tokens"));
    keep(&g->tokens.reasoning, wire_count(json_object_get(u, "output_tokens_details"), "reasoning_tokens"));
    if (g->tokens.prompt >= 0 && g->tokens.cached >= 0 && g->tokens.cached <= g->tokens.prompt)
        g->processed_tokens = g->tokens.prompt - g->tokens.cached;
}

/* The parts of one item of the output: text or a refusal of a message, thoughts of a reasoning. */
static void parts(struct generated *g, const json_t *item, const char *key, bool thinking, int64_t t_ns)
{
    size_t i;
    json_t *p;
    json_array_foreach(json_object_get(item, key), i, p)
    {
        wire_text(g, json_object_get(p, "text"), thinking, t_ns);
        wire_text(g, json_object_get(p, "refusal"), thinking, t_ns);
    }
}

/* Text only of a body that came whole: of a stream it came before. Calls are counted where they are complete. */
static void output(struct generated *g, const json_t *response, bool with_text)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(response, "output"), i, item)
    {
        const char *type = wire_string(item, "type");
        if (strcmp(type, "function_call") == 0)
            g->tool_calls++;
        if (!with_text)
            continue;
        if (strcmp(type, "reasoning") == 0) {
            parts(g, item, "summary", true, 0);
            parts(g, item, "content", true, 0);
        } else if (strcmp(type, "message") == 0) {
            parts(g, item, "content", false, 0);
        }
    }
}

/* Ollama says "completed" of an answer that its limit cut; it also repeats the limit. */
static void why(struct generated *g, const json_t *response)
{
    const char *status = wire_string(response, "status");
    int64_t limit = wire_count(response, "max_output_tokens");
    if (strcmp(status, "incomplete") == 0)
        wire_finish(g, wire_string(json_object_get(response, "incomplete_details"), "reason"));
    else if (strcmp(status, "completed") == 0 && limit > 0 && g->tokens.generated >= limit)
        wire_finish(g, "max_output_tokens");
    else if (strcmp(status, "completed") == 0)
        wire_finish(g, g->tool_calls ? "tool_calls" : "completed");
    else if (strcmp(status, "cancelled") == 0)
        wire_finish(g, "cancelled");
}

static void finished(struct generated *g, const json_t *response, bool with_text)
{
    if (json_is_object(json_object_get(response, "error")) && wire_error(g, response))
        return;
    usage(g, json_object_get(response, "usage"));
    output(g, response, with_text);
    why(g, response);
    g->done = true;
}

static bool is_end(const char *type)
{
    return !strcmp(type, "response.completed") || !strcmp(type, "response.incomplete") || !strcmp(type, "response.failed") ||
           !strcmp(type, "response.cancelled");
}

static void piece(struct generated *g, const char *type, const json_t *root, int64_t t_ns)
{
    const json_t *text = json_object_get(root, "delta");
    if (!strcmp(type, "response.output_text.delta") || !strcmp(type, "response.refusal.delta"))
        wire_text(g, text, false, t_ns);
    else if (!strcmp(type, "response.reasoning_text.delta") || !strcmp(type, "response.reasoning_summary_text.delta"))
        wire_text(g, text, true, t_ns);
    else if (!strcmp(type, "response.function_call_arguments.delta") && json_string_length(text) > 0)
        wire_arrival(g, t_ns);
}

/* {"type":"error","code","message"}: the words stand beside the type, not in an object. */
static bool stream_error(struct generated *g, const char *type, const json_t *root)
{
    if (strcmp(type, "error") != 0 || !json_is_string(json_object_get(root, "message")))
        return false;
    json_t *form =
        json_pack("{s:{s:O, s:s}}", "error", "message", json_object_get(root, "message"), "type", wire_string(root, "code"));
    bool told = form && wire_error(g, form);
    json_decref(form);
    return told;
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    const char *type = wire_string(root, "type");
    if (root && !wire_error(g, root) && !stream_error(g, type, root)) {
        if (strcmp(wire_string(root, "object"), "response") == 0)
            finished(g, root, true);
        else if (is_end(type))
            finished(g, json_object_get(root, "response"), false);
        else
            piece(g, type, root, t_ns);
    }
    json_decref(root);
}

const struct engine_ops engine_responses = {
    .name = "responses",
    .summary = "OpenAI's /v1/responses, of OpenAI or of a server that speaks it too",
    .framing = ENGINE_SSE,
    .beside = true,
    .says_why = true,
    .recognise = recognise,
    .models = models,
    .request = request,
    .event = event,
};
