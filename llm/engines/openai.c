/* openai.c - any server with OpenAI's /v1 routes: vLLM, SGLang, LM Studio, TensorRT-LLM and others. It tells counts when asked
 * (stream_options.include_usage) and no times: the boundary between prefill and decode comes from our clock (docs/engines.md,
 * "/v1"). */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"

#include <stdlib.h>
#include <string.h>

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

/* {"version":"..."}: vLLM and TensorRT-LLM have it; a server that has not answers with an error. */
static void read_version(struct engine *e)
{
    struct net_response r;
    if (engine_get(e, "/version", &r, NULL) == JOULET_OK && r.status == 200 && r.body.data) {
        json_t *root = wire_object(r.body.data, r.body.len);
        const char *version = wire_string(root, "version");
        wire_clean(e->info.version, sizeof(e->info.version), version, strlen(version));
        json_decref(root);
    }
    net_response_release(&r);
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
    enum joulet_status status = models(e, &list, &n, err);
    if (status == JOULET_FORMAT)
        return jl_fail(err, JOULET_NOT_FOUND, "%s has no /v1/models", e->url);
    if (status == JOULET_OK && n) {
        memcpy(e->info.model, list[0].name, sizeof(list[0].name));
        e->info.context_length = list[0].context_length;
        e->info.model_bytes = list[0].bytes;
        e->info.model_params = list[0].params;
    }
    free(list);
    if (status == JOULET_OK)
        read_version(e);
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
static void put_sampling(json_t *root, const struct generation *q)
{
    body_count(root, "max_tokens", q->max_tokens);
    body_count(root, "seed", q->seed);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    body_number(root, "min_p", q->min_p);
    body_number(root, "repeat_penalty", q->repeat_penalty);     /* LM Studio, llama.cpp */
    body_number(root, "repetition_penalty", q->repeat_penalty); /* vLLM, SGLang */
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    enum joulet_status status = check(e, q, err);
    if (status != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = q->raw ? "/v1/completions" : "/v1/chat/completions";
    status = body_string(root, "model", q->model ? q->model : e->info.model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "stream_options", json_pack("{s:b}", "include_usage", 1));
    put_sampling(root, q);
    if (status == JOULET_OK)
        status = q->raw ? body_string(root, "prompt", q->prompt, err) : body_messages(root, q, err);
    if (status != JOULET_OK || (status = body_stop(root, q, err)) != JOULET_OK ||
        (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    if (root && !wire_error(g, root)) {
        wire_choices(g, root, t_ns);
        wire_usage(g, root);
        wire_timings(g, root); /* llama.cpp behind another front */
        if (t_ns == 0 && json_is_array(json_object_get(root, "choices")))
            g->done = true;
    }
    json_decref(root);
}

const struct engine_ops engine_openai = {
    .name = "openai",
    .summary = "any server with OpenAI's /v1 routes: vLLM, SGLang, LM Studio and others",
    .default_port = 8000,
    .framing = ENGINE_SSE,
    .recognise = recognise,
    .models = models,
    .request = request,
    .event = event,
};
