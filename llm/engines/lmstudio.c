/* lmstudio.c - LM Studio by its own REST API. /api/v1/chat (0.4.0 and later) announces each phase of a stream, model loading
 * included, and tells counts; /api/v0 (0.3.6 and later) tells times and the inner runtime, but only in an answer that comes
 * whole. v1 is asked where it can say what is wanted; what it has no word for (a seed, stop texts, earlier answers of a chat,
 * tools) goes to v0 (docs/engines.md, "LM Studio"). A path that LM Studio does not know is answered with 200 and an error: only
 * bodies count. */
#include "llm/engines/lmstudio.h"
#include "llm/engine_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- asking: v1 -------------------------------------------------------------------------------------------------- */

/* v1 has one text, or user messages without roles: a conversation with answers in it is for v0. */
static bool v1_can_say(const struct engine *e, const struct generation *q)
{
    return lmstudio_has_v1(e) && !q->raw && !q->messages_json && q->seed < 0 && !q->n_stop && !q->tools_json && !q->keep_alive;
}

static enum joulet_status v1_body(const struct engine *e, const struct generation *q, json_t *root, struct joulet_error *err)
{
    const char *thinking = thinking_name(q->thinking);
    enum joulet_status status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "store", json_false());
    body_count(root, "max_output_tokens", q->max_tokens);
    body_count(root, "context_length", q->context_length);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    body_number(root, "min_p", q->min_p);
    body_number(root, "repeat_penalty", q->repeat_penalty);
    if (thinking)
        json_object_set_new(root, "reasoning", json_string(thinking));
    if (status == JOULET_OK && q->system)
        status = body_string(root, "system_prompt", q->system, err);
    return status == JOULET_OK ? body_string(root, "input", q->prompt, err) : status;
}

/* ---- asking: v0 -------------------------------------------------------------------------------------------------- */

static void put_ttl(json_t *root, const struct generation *q)
{
    double s;
    if (q->keep_alive && engine_keep_alive(q->keep_alive, &s) && isfinite(s))
        body_count(root, "ttl", (int64_t)s);
}

/* Not streamed: the stream of 0.3 carries neither counts nor times. */
static enum joulet_status v0_body(const struct engine *e, const struct generation *q, json_t *root, struct joulet_error *err)
{
    enum joulet_status status =
        body_lacks(e, q->thinking != THINKING_DEFAULT, "switch for thinking beside a seed or a chat", err);
    if (status == JOULET_OK)
        status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_false());
    body_count(root, "max_tokens", q->max_tokens);
    body_count(root, "seed", q->seed);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    body_number(root, "min_p", q->min_p);
    body_number(root, "repeat_penalty", q->repeat_penalty);
    put_ttl(root, q);
    if (status == JOULET_OK)
        status = q->raw ? body_string(root, "prompt", q->prompt, err) : body_messages(root, q, err);
    if (status == JOULET_OK)
        status = body_tools(root, q, err);
    return status == JOULET_OK ? body_stop(root, q, err) : status;
}

static enum joulet_status check(const struct engine *e, const struct generation *q, struct joulet_error *err)
{
    if (!q->model && !e->info.model[0])
        return jl_fail(err, JOULET_USAGE, "the engine at %s has no model loaded: name one with -m", e->url);
    enum joulet_status status = body_lacks(e, q->thinking_budget > 0, "budget for thinking", err);
    if (status == JOULET_OK && !v1_can_say(e, q))
        status = body_lacks(e, q->context_length >= 0, "context length beside a seed, a stop text or a chat", err);
    return status;
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    bool v1 = v1_can_say(e, q);
    enum joulet_status status = check(e, q, err);
    if (status != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = v1 ? "/api/v1/chat" : q->raw ? "/api/v0/completions" : "/api/v0/chat/completions";
    status = v1 ? v1_body(e, q, root, err) : v0_body(e, q, root, err);
    if (status != JOULET_OK || (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return body_finish(root, body, err);
}

/* ---- answers: v1 ------------------------------------------------------------------------------------------------- */

static void keep(int64_t *slot, int64_t count)
{
    if (count >= 0)
        *slot = count;
}

static void keep_time(double *slot, double s)
{
    if (!isnan(s))
        *slot = s;
}

/* No time of decoding here, and none is made from the rate: what it divides by is not told. */
static void v1_stats(struct generated *g, const json_t *result)
{
    const json_t *s = json_object_get(result, "stats");
    const char *instance = wire_string(result, "model_instance_id");
    keep(&g->tokens.prompt, wire_count(s, "input_tokens"));
    keep(&g->tokens.generated, wire_count(s, "total_output_tokens"));
    keep(&g->tokens.reasoning, wire_count(s, "reasoning_output_tokens"));
    keep_time(&g->server_load_s, wire_number(s, "model_load_time_seconds", 1));
    keep_time(&g->server_prompt_s, wire_number(s, "time_to_first_token_seconds", 1));
    keep_time(&g->server_rate, wire_number(s, "tokens_per_second", 1));
    if (instance[0])
        wire_clean(g->instance, sizeof(g->instance), instance, strlen(instance));
}

static void v1_output(struct generated *g, const json_t *result)
{
    size_t i;
    json_t *item;
    json_array_foreach(json_object_get(result, "output"), i, item)
    {
        const char *type = wire_string(item, "type");
        g->tool_calls += strcmp(type, "tool_call") == 0;
        if (strcmp(type, "message") == 0 || strcmp(type, "reasoning") == 0)
            wire_text(g, json_object_get(item, "content"), strcmp(type, "reasoning") == 0, 0);
    }
}

/* The time it tells, else that between the two events. */
static void v1_load(struct generated *g, const json_t *root, int64_t t_ns)
{
    keep_time(&g->server_load_s, wire_number(root, "load_time_seconds", 1));
    if (isnan(g->server_load_s) && g->t_load_ns)
        g->server_load_s = jl_s(t_ns - g->t_load_ns);
}

/* `chat.end` follows an error too; the error came first and stays. */
static void v1_event(struct generated *g, const char *type, const json_t *root, int64_t t_ns)
{
    if (strcmp(type, "message.delta") == 0) {
        wire_text(g, json_object_get(root, "content"), false, t_ns);
    } else if (strcmp(type, "reasoning.delta") == 0) {
        wire_text(g, json_object_get(root, "content"), true, t_ns);
    } else if (strcmp(type, "prompt_processing.start") == 0) {
        g->prefills++;
    } else if (strcmp(type, "prompt_processing.end") == 0) {
        g->t_prefill_ns = g->prefills > 1 ? 0 : t_ns;
    } else if (strcmp(type, "model_load.start") == 0) {
        g->t_load_ns = t_ns;
    } else if (strcmp(type, "model_load.end") == 0) {
        v1_load(g, root, t_ns);
    } else if (strcmp(type, "tool_call.start") == 0) {
        g->tool_calls++;
        wire_arrival(g, t_ns);
    } else if (strcmp(type, "chat.end") == 0) {
        v1_stats(g, json_object_get(root, "result"));
        g->done = true;
    }
}

/* ---- answers: v0 ------------------------------------------------------------------------------------------------- */

static void v0_stats(struct generated *g, const json_t *root)
{
    const json_t *s = json_object_get(root, "stats"), *r = json_object_get(root, "runtime");
    const char *why = wire_string(s, "stop_reason"), *name = wire_string(r, "name"), *draft = wire_string(s, "draft_model");
    keep_time(&g->server_prompt_s, wire_number(s, "time_to_first_token", 1));
    keep_time(&g->server_decode_s, wire_number(s, "generation_time", 1));
    keep_time(&g->server_rate, wire_number(s, "tokens_per_second", 1));
    wire_clean(g->draft_model, sizeof(g->draft_model), draft, strlen(draft));
    keep(&g->draft_tokens, wire_count(s, "total_draft_tokens_count"));
    keep(&g->draft_accepted, wire_count(s, "accepted_draft_tokens_count"));
    if (name[0]) {
        char text[128];
        snprintf(text, sizeof(text), "%.60s %.40s", name, wire_string(r, "version"));
        wire_clean(g->runtime, sizeof(g->runtime), text, strlen(text));
    }
    lmstudio_stop(g, why);
}

/* v1 gives no reason for the end. It has no stop texts, so an answer without an error that neither used up what was asked for nor
 * filled the context ended by the model's own token. One less than asked for stays open: LM Studio has been seen to count so. */
static void conclude(const struct engine *e, const struct generation *q, struct generated *g)
{
    bool known = !q->model || strcmp(q->model, e->info.model) == 0;
    int64_t context = q->context_length >= 0 ? q->context_length : known ? e->info.context_length : -1;
    int64_t made = g->tokens.generated, filled = g->tokens.prompt >= 0 && made >= 0 ? g->tokens.prompt + made : -1;
    if (g->finish[0] || made < 0 || !v1_can_say(e, q))
        return;
    if (q->max_tokens >= 0 && made >= q->max_tokens)
        wire_finish(g, "length");
    else if ((q->max_tokens < 0 || made < q->max_tokens - 1) && context > 0 && filled >= 0 && filled < context - 1)
        wire_finish(g, "stop");
}

void lmstudio_stop(struct generated *g, const char *why)
{
    if (strcmp(why, "failed") == 0 || strcmp(why, "modelUnloaded") == 0) {
        json_t *form = json_pack("{s:s}", "error", why[0] == 'f' ? "the prediction failed" : "the model was unloaded meanwhile");
        wire_error(g, form);
        json_decref(form);
    } else if (why[0]) {
        wire_finish(g, why);
    }
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    const char *type = wire_string(root, "type");
    if (root && !wire_error(g, root)) {
        if (type[0] && !json_object_get(root, "output")) {
            v1_event(g, type, root, t_ns);
        } else if (json_is_array(json_object_get(root, "output"))) {
            v1_output(g, root);
            v1_stats(g, root);
            g->done = true;
        } else if (json_is_array(json_object_get(root, "choices"))) {
            wire_choices(g, root, t_ns);
            wire_usage(g, root);
            v0_stats(g, root);
            g->done = t_ns == 0;
        }
    }
    json_decref(root);
}

const struct engine_ops engine_lmstudio = {
    .name = "lmstudio",
    .summary = "LM Studio, by its own REST API",
    .default_port = 1234,
    .framing = ENGINE_SSE,
    .mute_end = true,
    .recognise = lmstudio_recognise,
    .models = lmstudio_models,
    .details = lmstudio_details,
    .load = lmstudio_load,
    .unload = lmstudio_unload,
    .pull = lmstudio_pull,
    .request = request,
    .event = event,
    .conclude = conclude,
};
