/* openai.c - any server with OpenAI's /v1 routes, and their dialects: OpenAI, Groq, vLLM, SGLang, TGI, TensorRT-LLM,
 * llama-cpp-python, LM Studio. Counts come when asked for (stream_options.include_usage). Times come from Groq, and from vLLM
 * when it runs with --enable-per-request-metrics; else the boundary between prefill and decode comes from our clock
 * (docs/engines.md,
 * "/v1"). */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

/* A member of a small JSON answer; false when there is none. */
static bool ask_for(const struct engine *e, const char *path, const char *key, char *out, size_t size)
{
    struct net_response r;
    const char *text = "";
    json_t *root = NULL;
    if (engine_get(e, path, &r, NULL) == JOULET_OK && r.body.data) {
        root = wire_object(r.body.data, r.body.len);
        text = wire_string(root, key);
        if (!json_object_get(root, "error") || strcmp(key, "error") == 0)
            wire_clean(out, size, text, strlen(text));
    }
    bool told = out[0] != '\0';
    json_decref(root);
    net_response_release(&r);
    return told;
}

/* Who made the list of models says what computes. llama-cpp-python calls its models its own. */
static void read_owner(struct engine *e, const char *json, size_t n)
{
    static const struct {
        const char *owner, *runtime;
    } owners[] = {{"vllm", "vLLM"},           {"sglang", "SGLang"},      {"tensorrt_llm", "TensorRT-LLM"},
                  {"me", "llama-cpp-python"}, {"llamacpp", "llama.cpp"}, {"koboldcpp", "KoboldCpp"},
                  {"library", "Ollama"}};
    json_t *root = wire_object(json, n);
    const char *owner = wire_string(json_array_get(json_object_get(root, "data"), 0), "owned_by");
    for (size_t i = 0; i < JL_COUNT(owners); i++)
        if (strcmp(owner, owners[i].owner) == 0)
            snprintf(e->info.runtime, sizeof(e->info.runtime), "%s", owners[i].runtime);
    json_decref(root);
}

/* The counter of TensorRT-LLM, on ("total_energy_j") or off (an error about energy). */
static bool has_energy_counter(const struct engine *e)
{
    struct net_response r;
    bool has = false;
    if (engine_get(e, "/energy_metrics", &r, NULL) == JOULET_OK && r.body.data) {
        json_t *root = wire_object(r.body.data, r.body.len);
        has = json_is_number(json_object_get(root, "total_energy_j")) || strstr(wire_string(root, "error"), "nergy");
        json_decref(root);
    }
    net_response_release(&r);
    return has;
}

/* What the list of models does not say is asked for: TensorRT-LLM's energy counter, TGI's /info, SGLang's /get_model_info. None
 * of these loads a model or makes a token. */
static void read_dialect(struct engine *e)
{
    char text[128] = "", *runtime = e->info.runtime;
    size_t size = sizeof(e->info.runtime);
    if (e->cloud) {
        snprintf(runtime, size, "%s", e->cloud->name);
        return;
    }
    bool version = ask_for(e, "/version", "version", e->info.version, sizeof(e->info.version));
    if (runtime[0])
        return;
    if (version && has_energy_counter(e)) {
        snprintf(runtime, size, "TensorRT-LLM");
    } else if (ask_for(e, "/info", "model_id", text, sizeof(text))) {
        snprintf(runtime, size, "TGI");
        ask_for(e, "/info", "version", e->info.version, sizeof(e->info.version));
    } else if (ask_for(e, "/get_model_info", "model_path", text, sizeof(text))) {
        snprintf(runtime, size, "SGLang");
    }
}

static enum joulet_status list(struct engine *e, struct engine_model **out, size_t *n, bool owner, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_get(e, "/v1/models", &r, err);
    const char *body = r.body.data ? r.body.data : "";
    if (status == JOULET_OK && (r.status == 401 || r.status == 403))
        status = engine_key_refused(e, "", err);
    else if (status == JOULET_OK)
        status = wire_models(body, r.body.len, out, n, err);
    if (status == JOULET_OK && owner)
        read_owner(e, body, r.body.len);
    net_response_release(&r);
    return status;
}

static enum joulet_status models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    return list(e, out, n, false, err);
}

/* A cloud lists many models and has none loaded. */
static void read_first(struct engine *e, const struct engine_model *m)
{
    if (e->cloud)
        return;
    memcpy(e->info.model, m->name, sizeof(m->name));
    e->info.context_length = m->loaded_context;
    e->info.model_bytes = m->bytes;
    e->info.model_params = m->params;
}

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    struct engine_model *first = NULL;
    size_t n = 0;
    enum joulet_status status = list(e, &first, &n, true, err);
    if (status == JOULET_FORMAT)
        return jl_fail(err, JOULET_NOT_FOUND, "%s has no /v1/models", e->url);
    if (status == JOULET_OK && n)
        read_first(e, first);
    free(first);
    if (status == JOULET_OK)
        read_dialect(e);
    return status;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static enum joulet_status check(const struct engine *e, const struct generation *q, struct joulet_error *err)
{
    if (!q->model && !e->info.model[0])
        return jl_fail(err, JOULET_USAGE, "the engine at %s lists no model: name one with -m", e->url);
    if (q->context_length >= 0 && e->info.context_length >= 0 && q->context_length > e->info.context_length)
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s runs with a context of %lld tokens, not %lld: start it again with a larger one", e->url,
                       (long long)e->info.context_length, (long long)q->context_length);
    return JOULET_OK;
}

/* The penalty has two names in the field; servers pass over the one they do not know. */
static void put_sampling(json_t *root, const struct engine *e, const struct generation *q)
{
    /* OpenAI's reasoning models refuse the old name, and llama-cpp-python passes over the new one. */
    body_count(root, e->cloud ? "max_completion_tokens" : "max_tokens", q->max_tokens);
    body_count(root, "seed", q->seed);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    body_number(root, "min_p", q->min_p);
    body_number(root, "repeat_penalty", q->repeat_penalty);     /* LM Studio, llama.cpp */
    body_number(root, "repetition_penalty", q->repeat_penalty); /* vLLM, SGLang */
}

/* Services take an effort; servers hand a switch to the model's template, and those that know efforts an effort. */
static void put_thinking(json_t *root, const struct engine *e, const struct generation *q)
{
    const char *effort = thinking_name(q->thinking);
    bool level = q->thinking > THINKING_ON;
    if (!effort)
        return;
    if (!e->cloud)
        json_object_set_new(root, "chat_template_kwargs", json_pack("{s:b}", "enable_thinking", q->thinking != THINKING_OFF));
    if (e->cloud || level)
        json_object_set_new(root, "reasoning_effort",
                            json_string(level                         ? effort
                                        : q->thinking == THINKING_OFF ? "none"
                                                                      : "medium"));
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    enum joulet_status status = check(e, q, err);
    if (status == JOULET_OK)
        status = body_lacks(e, q->thinking_budget > 0, "budget for thinking", err);
    if (status != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = q->raw ? "/v1/completions" : "/v1/chat/completions";
    status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "stream_options", json_pack("{s:b}", "include_usage", 1));
    put_sampling(root, e, q);
    put_thinking(root, e, q);
    if (status == JOULET_OK)
        status = q->raw ? body_string(root, "prompt", q->prompt, err) : body_messages(root, q, err);
    if (status == JOULET_OK)
        status = body_tools(root, q, err);
    if (status != JOULET_OK || (status = body_stop(root, q, err)) != JOULET_OK ||
        (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void keep_time(double *slot, double s)
{
    if (!isnan(s))
        *slot = s;
}

static void keep_count(int64_t *slot, int64_t n)
{
    if (n >= 0)
        *slot = n;
}

/* vLLM: the time to the first token counts from when the request was scheduled, so it is the prefill. */
static void vllm_metrics(struct generated *g, const json_t *root)
{
    const json_t *m = json_object_get(root, "metrics");
    keep_time(&g->server_queue_s, wire_number(m, "queue_time_ms", 1e-3));
    keep_time(&g->server_prompt_s, wire_number(m, "time_to_first_token_ms", 1e-3));
    keep_time(&g->server_decode_s, wire_number(m, "generation_time_ms", 1e-3));
    keep_time(&g->server_rate, wire_number(m, "tokens_per_second", 1));
    const json_t *draft = json_object_get(m, "speculative_decoding");
    keep_count(&g->draft_tokens, wire_count(draft, "num_draft_tokens"));
    keep_count(&g->draft_accepted, wire_count(draft, "num_accepted_draft_tokens"));
}

/* Groq, in seconds: in the usage of a whole answer, and in x_groq.usage at the end of a stream. The same counts may come twice.
 */
static void groq_times(struct generated *g, const json_t *root)
{
    const json_t *u = json_object_get(root, "usage");
    keep_time(&g->server_queue_s, wire_number(u, "queue_time", 1));
    keep_time(&g->server_prompt_s, wire_number(u, "prompt_time", 1));
    keep_time(&g->server_decode_s, wire_number(u, "completion_time", 1));
}

static void groq(struct generated *g, const json_t *root)
{
    const json_t *x = json_object_get(root, "x_groq");
    groq_times(g, root);
    if (!json_is_object(x) || wire_error(g, x))
        return;
    wire_usage(g, x);
    groq_times(g, x);
}

/* Older SGLang tells 0 reasoning tokens of every chat, also of one that thought. */
static void mend_reasoning(struct generated *g)
{
    if (g->tokens.reasoning == 0 && g->thinking.len)
        g->tokens.reasoning = -1;
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    if (root && !wire_error(g, root)) {
        wire_choices(g, root, t_ns);
        wire_usage(g, root);
        wire_timings(g, root); /* llama.cpp behind another front */
        vllm_metrics(g, root);
        groq(g, root);
        mend_reasoning(g);
        if (t_ns == 0 && json_is_array(json_object_get(root, "choices")))
            g->done = true;
    }
    json_decref(root);
}

const struct engine_ops engine_openai = {
    .name = "openai",
    .summary = "any server with OpenAI's /v1 routes: vLLM, SGLang, TGI, OpenAI, Groq and others",
    .default_port = 8000,
    .framing = ENGINE_SSE,
    .says_why = true,
    .recognise = recognise,
    .models = models,
    .request = request,
    .event = event,
};
