/* llamacpp.c - llama.cpp's llama-server. Chats go to /v1/chat/completions, which applies the model's own template; raw text goes
 * to /completion. Both tell `timings`: counts and milliseconds of the server's own clock (docs/engines.md, "llama.cpp"). */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"
#include "llm/gguf/gguf.h"

#include <stdlib.h>
#include <string.h>

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

static void copy_text(char *out, size_t size, const json_t *object, const char *key)
{
    const char *s = wire_string(object, key);
    wire_clean(out, size, s, strlen(s));
}

bool llamacpp_read_props(const char *json, size_t n, struct engine_info *info)
{
    json_t *root = wire_object(json, n);
    const json_t *defaults = json_object_get(root, "default_generation_settings");
    bool ours = json_is_string(json_object_get(root, "build_info")) || json_is_object(defaults);
    if (ours) {
        int64_t slots = wire_count(root, "total_slots");
        snprintf(info->runtime, sizeof(info->runtime), "llama.cpp");
        copy_text(info->version, sizeof(info->version), root, "build_info");
        copy_text(info->model, sizeof(info->model), root, "model_alias");
        copy_text(info->model_path, sizeof(info->model_path), root, "model_path");
        info->context_length = wire_count(defaults, "n_ctx");
        info->slots = slots > 0 && slots < 100000 ? (int)slots : -1;
        info->loading = false;
    }
    json_decref(root);
    return ours;
}

/* {"error":{"type":TYPE}} */
static bool is_error_type(const struct net_response *r, const char *type)
{
    json_t *root = wire_object(r->body.data ? r->body.data : "", r->body.len);
    bool is = strcmp(wire_string(json_object_get(root, "error"), "type"), type) == 0;
    json_decref(root);
    return is;
}

static void read_models(struct engine *e)
{
    struct net_response r;
    struct engine_model *list = NULL;
    size_t n = 0;
    if (engine_get(e, "/v1/models", &r, NULL) == JOULET_OK && r.status == 200 && r.body.data)
        wire_models(r.body.data, r.body.len, &list, &n, NULL);
    if (n == 1) { /* a router lists many and has none loaded of its own */
        e->info.model_bytes = list[0].bytes;
        e->info.model_params = list[0].params;
        if (!e->info.model[0])
            memcpy(e->info.model, list[0].name, sizeof(list[0].name));
        if (e->info.context_length < 0)
            e->info.context_length = list[0].loaded_context;
    }
    free(list);
    net_response_release(&r);
}

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_get(e, "/props", &r, err);
    if (status == JOULET_OK && r.status == 200 && llamacpp_read_props(r.body.data ? r.body.data : "", r.body.len, &e->info)) {
        read_models(e);
    } else if (status == JOULET_OK && r.status == 503 && is_error_type(&r, "unavailable_error")) {
        e->info.loading = true;
    } else if (status == JOULET_OK && r.status == 401 && is_error_type(&r, "authentication_error")) {
        status = engine_key_refused(e, "Invalid API Key", err);
    } else if (status == JOULET_OK) {
        status = jl_fail(err, JOULET_NOT_FOUND, "%s is no llama-server", e->url);
    }
    net_response_release(&r);
    return status;
}

static enum joulet_status models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_get(e, "/v1/models", &r, err);
    if (status == JOULET_OK)
        status = wire_models(r.body.data ? r.body.data : "", r.body.len, out, n, err);
    net_response_release(&r);
    return status;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static const char *file_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* A server with one model answers with it whatever name is asked for: a typing error would measure another model. */
static enum joulet_status check_model(const struct engine *e, const char *model, struct joulet_error *err)
{
    const struct engine_info *i = &e->info;
    if (!model || !i->model[0] || strcmp(model, i->model) == 0 || strcmp(model, i->model_path) == 0)
        return JOULET_OK;
    if (i->model_path[0] && strcmp(file_name(model), file_name(i->model_path)) == 0)
        return JOULET_OK;
    return jl_fail(err, JOULET_ENGINE, "the engine at %s has no model \"%s\": it has loaded %s; leave -m out to use that one",
                   e->url, model, i->model);
}

/* The server tells little of its model, but names its file: where that lies here, its head tells the rest. */
static enum joulet_status details(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err)
{
    const struct engine_info *i = &e->info;
    struct engine_model *list = NULL;
    struct gguf_head h;
    size_t n = 0;
    enum joulet_status status = models(e, &list, &n, err);
    if (status == JOULET_OK)
        status = jl_fail(err, JOULET_NOT_FOUND, "the engine at %s has no model %.150s%s%.150s", e->url, model,
                         i->model[0] ? ": it has loaded " : "", i->model);
    bool ours = check_model(e, model, NULL) == JOULET_OK;
    for (size_t k = 0; k < n; k++) {
        if (engine_same_name(list[k].name, model) || (n == 1 && ours)) {
            *out = list[k];
            status = jl_ok(err);
        }
    }
    free(list);
    if (status != JOULET_OK)
        return status;
    snprintf(out->runtime, sizeof(out->runtime), "llama.cpp");
    if (e->local && ours && i->model_path[0] && gguf_read_head(i->model_path, &h, NULL) == JOULET_OK) {
        snprintf(out->architecture, sizeof(out->architecture), "%.47s", h.architecture);
        snprintf(out->quantisation, sizeof(out->quantisation), "%s", h.quantisation);
        snprintf(out->digest, sizeof(out->digest), "%s", h.digest);
        out->bytes = h.bytes;
        out->context_length = h.context_length;
    }
    return status;
}

/* The context is given when the server starts: a request can only find it too small. */
static enum joulet_status check_context(const struct engine *e, int64_t wanted, struct joulet_error *err)
{
    int64_t have = e->info.context_length;
    if (wanted < 0 || have < 0 || wanted <= have)
        return JOULET_OK;
    return jl_fail(err, JOULET_ENGINE,
                   "the engine at %s runs with a context of %lld tokens, not %lld: start it again with -c %lld", e->url,
                   (long long)have, (long long)wanted, (long long)wanted);
}

static enum joulet_status put_prompt(json_t *root, const struct generation *q, struct joulet_error *err)
{
    if (q->raw) {
        body_count(root, "n_predict", q->max_tokens);
        return body_string(root, "prompt", q->prompt, err);
    }
    body_count(root, "max_tokens", q->max_tokens);
    json_object_set_new(root, "stream_options", json_pack("{s:b}", "include_usage", 1));
    return body_messages(root, q, err);
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    enum joulet_status status = check_model(e, q->model, err);
    if (status != JOULET_OK || (status = check_context(e, q->context_length, err)) != JOULET_OK)
        return status;
    json_t *root = json_object();
    *path = q->raw ? "/completion" : "/v1/chat/completions";
    if (q->model)
        status = body_string(root, "model", q->model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "cache_prompt", json_boolean(q->prompt_cache));
    body_count(root, "seed", q->seed);
    body_count(root, "top_k", q->top_k);
    body_number(root, "temperature", q->temperature);
    body_number(root, "top_p", q->top_p);
    body_number(root, "min_p", q->min_p);
    body_number(root, "repeat_penalty", q->repeat_penalty);
    if (status != JOULET_OK || (status = put_prompt(root, q, err)) != JOULET_OK ||
        (status = body_stop(root, q, err)) != JOULET_OK || (status = body_options(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

/* Native events: {"content","stop":false}, at the end {"stop":true,"stop_type","timings"}; a whole body is like the last event.
 */
static void native_event(struct generated *g, const json_t *root, int64_t t_ns)
{
    int64_t prompt = wire_count(root, "tokens_evaluated");
    wire_text(g, json_object_get(root, "reasoning_content"), true, t_ns);
    wire_text(g, json_object_get(root, "content"), false, t_ns);
    if (prompt >= 0)
        g->tokens.prompt = prompt;
    if (json_is_true(json_object_get(root, "stop"))) {
        int64_t made = wire_count(root, "tokens_predicted");
        if (made >= 0)
            g->tokens.generated = made;
        wire_finish(g, wire_string(root, "stop_type"));
        g->done = true;
    }
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    if (root && !wire_error(g, root)) {
        if (json_is_array(json_object_get(root, "choices"))) {
            wire_choices(g, root, t_ns);
            g->done = t_ns == 0; /* a whole body; a stream ends with [DONE] */
        } else {
            native_event(g, root, t_ns);
        }
        wire_usage(g, root);
        wire_timings(g, root);
        if (json_is_true(json_object_get(root, "truncated")))
            g->truncated = true;
    }
    json_decref(root);
}

/* ---- others ------------------------------------------------------------------------------------------------------ */

int llamacpp_read_slots(const char *json, size_t n)
{
    json_error_t e;
    json_t *root = json_loadb(json, n, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e), *slot;
    int busy = json_is_array(root) ? 0 : -1;
    size_t i;
    json_array_foreach(root, i, slot)
    {
        if (json_is_true(json_object_get(slot, "is_processing")))
            busy++;
    }
    json_decref(root);
    return busy;
}

static int busy(struct engine *e)
{
    struct net_response r;
    int n = -1;
    if (engine_get(e, "/slots", &r, NULL) == JOULET_OK && r.status == 200 && r.body.data)
        n = llamacpp_read_slots(r.body.data, r.body.len);
    net_response_release(&r);
    return n;
}

const struct engine_ops engine_llamacpp = {
    .name = "llama.cpp",
    .summary = "llama.cpp's llama-server, by its own API",
    .default_port = 8080,
    .framing = ENGINE_SSE,
    .cache_off = true,
    .tokenises = true,
    .recognise = recognise,
    .models = models,
    .details = details,
    .request = request,
    .event = event,
    .busy = busy,
};
