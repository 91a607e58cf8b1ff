/* lmstudio_models.c - recognising LM Studio, and its models: list, details, load, unload, download (docs/engines.md, "LM
 * Studio"). /api/v1/models has `models` with a `key` each, /api/v0/models has `data` with `state` or `compatibility_type`. */
#include "lib/platform/platform.h"
#include "llm/engine_wire.h"
#include "llm/engines/lmstudio.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define V1            "REST v1"
#define V0            "REST v0"
#define MODELS_MAX    10000
#define LOAD_IDLE_S   1800.0
#define POLL_NS       (JL_NS_PER_S / 2)
#define INSTANCES_MAX 64

bool lmstudio_has_v1(const struct engine *e)
{
    return strcmp(e->info.version, V1) == 0;
}

/* ---- reading ------------------------------------------------------------------------------------------------------------ */

static void copy(char *out, size_t size, const json_t *object, const char *key)
{
    const char *s = wire_string(object, key);
    wire_clean(out, size, s, strlen(s));
}

/* "7B", "1.5B", "360M". */
static int64_t params_of(const char *s)
{
    char *end;
    double x = strtod(s, &end);
    double scale = *end == 'B' || *end == 'b' ? 1e9 : *end == 'M' || *end == 'm' ? 1e6 : 0;
    return end != s && scale > 0 && x > 0 && x < 1e6 ? (int64_t)(x * scale) : -1;
}

static void runtime_of(struct engine_model *m, const char *format)
{
    snprintf(m->runtime, sizeof(m->runtime), "%s",
             strcmp(format, "gguf") == 0  ? "llama.cpp"
             : strcmp(format, "mlx") == 0 ? "mlx"
                                          : "");
}

static void read_v1(const json_t *item, struct engine_model *m)
{
    const json_t *loaded = json_array_get(json_object_get(item, "loaded_instances"), 0);
    const json_t *can = json_object_get(item, "capabilities");
    copy(m->name, sizeof(m->name), item, "key");
    copy(m->architecture, sizeof(m->architecture), item, "architecture");
    copy(m->quantisation, sizeof(m->quantisation), json_object_get(item, "quantization"), "name");
    runtime_of(m, wire_string(item, "format"));
    m->bytes = wire_count(item, "size_bytes");
    m->params = params_of(wire_string(item, "params_string"));
    m->context_length = wire_count(item, "max_context_length");
    m->loaded = loaded != NULL;
    m->loaded_context = wire_count(json_object_get(loaded, "config"), "context_length");
    snprintf(m->capabilities, sizeof(m->capabilities), "%s%s%s%s",
             strcmp(wire_string(item, "type"), "embedding") == 0 ? "embedding" : "completion",
             json_is_true(json_object_get(can, "trained_for_tool_use")) ? " tools" : "",
             json_is_true(json_object_get(can, "vision")) ? " vision" : "",
             json_is_object(json_object_get(can, "reasoning")) ? " thinking" : "");
}

static void read_v0(const json_t *item, struct engine_model *m)
{
    copy(m->name, sizeof(m->name), item, "id");
    copy(m->architecture, sizeof(m->architecture), item, "arch");
    copy(m->quantisation, sizeof(m->quantisation), item, "quantization");
    runtime_of(m, wire_string(item, "compatibility_type"));
    m->context_length = wire_count(item, "max_context_length");
    m->loaded = strcmp(wire_string(item, "state"), "loaded") == 0;
    m->loaded_context = wire_count(item, "loaded_context_length");
    snprintf(m->capabilities, sizeof(m->capabilities), "%s%s",
             strcmp(wire_string(item, "type"), "embeddings") == 0 ? "embedding" : "completion",
             strcmp(wire_string(item, "type"), "vlm") == 0 ? " vision" : "");
}

/* Something of the list tells whose it is; an empty list of v1 is told by its name alone. */
static bool is_ours(const json_t *list, bool v1)
{
    const json_t *first = json_array_get(list, 0);
    if (!json_is_array(list) || json_array_size(list) > MODELS_MAX)
        return false;
    if (v1)
        return !first || wire_string(first, "key")[0];
    return wire_string(first, "compatibility_type")[0] || wire_string(first, "state")[0];
}

enum joulet_status lmstudio_read_models(const char *json, size_t n, struct engine_model **out, size_t *count,
                                        struct joulet_error *err)
{
    json_t *root = wire_object(json, n), *list = json_object_get(root, "models"), *item;
    bool v1 = list != NULL;
    size_t i;
    enum joulet_status status = jl_ok(err);
    *out = NULL;
    *count = 0;
    list = v1 ? list : json_object_get(root, "data");
    if (json_object_get(root, "error") || !is_ours(list, v1)) {
        status = jl_fail(err, JOULET_FORMAT, "the engine's list of models is not in the known form");
    } else if (!(*out = calloc(json_array_size(list) + 1, sizeof(**out)))) {
        status = jl_fail(err, JOULET_MEMORY, "out of memory for %zu models", json_array_size(list));
    } else {
        json_array_foreach(list, i, item)
        {
            struct engine_model *m = &(*out)[*count];
            engine_model_init(m);
            if (v1)
                read_v1(item, m);
            else
                read_v0(item, m);
            *count += m->name[0] != '\0';
        }
    }
    json_decref(root);
    return status;
}

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

/* {"error":{"code":"invalid_api_key"}}: it is LM Studio, and wants a token. */
static bool wants_key(const struct net_response *r)
{
    json_t *root = wire_object(r->body.data ? r->body.data : "", r->body.len);
    bool is = r->status == 401 && strcmp(wire_string(json_object_get(root, "error"), "code"), "invalid_api_key") == 0;
    json_decref(root);
    return is;
}

static enum joulet_status list_at(struct engine *e, const char *path, struct engine_model **out, size_t *n,
                                  struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_get(e, path, &r, err);
    if (status == JOULET_OK && wants_key(&r))
        status = engine_key_refused(e, "invalid_api_key", err);
    else if (status == JOULET_OK)
        status = lmstudio_read_models(r.body.data ? r.body.data : "", r.body.len, out, n, err);
    net_response_release(&r);
    return status;
}

/* LM Studio's own variable, for a server on this machine that has said that it is LM Studio. */
bool lmstudio_take_token(struct engine *e)
{
    const char *token = jl_env("LM_API_TOKEN");
    if (e->key || !e->local || !token || !token[0] || strpbrk(token, "\r\n"))
        return false;
    e->key = jl_strdup(token);
    return e->key != NULL;
}

/* What is loaded; a model for embeddings generates nothing. */
static void describe(struct engine *e, const struct engine_model *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        const struct engine_model *m = &list[i];
        if (!m->loaded || strcmp(m->capabilities, "embedding") == 0)
            continue;
        memcpy(e->info.model, m->name, sizeof(m->name));
        memcpy(e->info.runtime, m->runtime, sizeof(e->info.runtime));
        memcpy(e->info.quantisation, m->quantisation, sizeof(e->info.quantisation));
        memcpy(e->info.architecture, m->architecture, sizeof(e->info.architecture));
        e->info.model_bytes = m->bytes;
        e->info.model_params = m->params;
        e->info.context_length = m->loaded_context;
        return;
    }
}

enum joulet_status lmstudio_recognise(struct engine *e, struct joulet_error *err)
{
    struct engine_model *list = NULL;
    size_t n = 0;
    const char *version = V1;
    enum joulet_status status = list_at(e, "/api/v1/models", &list, &n, err);
    if (status == JOULET_PERMISSION && lmstudio_take_token(e))
        status = list_at(e, "/api/v1/models", &list, &n, err);
    if (status == JOULET_FORMAT) {
        version = V0;
        status = list_at(e, "/api/v0/models", &list, &n, err);
    }
    if (status == JOULET_FORMAT)
        status = jl_fail(err, JOULET_NOT_FOUND, "%s is no LM Studio", e->url);
    if (status == JOULET_OK) {
        snprintf(e->info.version, sizeof(e->info.version), "%s", version);
        describe(e, list, n);
    }
    free(list);
    return status;
}

enum joulet_status lmstudio_models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    return list_at(e, lmstudio_has_v1(e) ? "/api/v1/models" : "/api/v0/models", out, n, err);
}

enum joulet_status lmstudio_details(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err)
{
    struct engine_model *list = NULL;
    size_t n = 0;
    enum joulet_status status = lmstudio_models(e, &list, &n, err);
    if (status != JOULET_OK)
        return status;
    status = jl_fail(err, JOULET_NOT_FOUND, "the engine at %s has no model \"%.100s\"", e->url, model);
    for (size_t i = 0; i < n && status != JOULET_OK; i++) {
        if (strcmp(list[i].name, model) != 0)
            continue;
        *out = list[i];
        status = jl_ok(err);
    }
    free(list);
    return status;
}

/* ---- load, unload, download -------------------------------------------------------------------------------------- */

static enum joulet_status needs_v1(const struct engine *e, struct joulet_error *err)
{
    if (lmstudio_has_v1(e))
        return JOULET_OK;
    return jl_fail(
        err, JOULET_UNSUPPORTED,
        "the LM Studio at %s is too old to load, unload or fetch models by request: update it to 0.4, or use its window", e->url);
}

/* A POST or GET whose answer is one object without an error; *root to be released. */
static enum joulet_status call(struct engine *e, const char *method, const char *path, json_t *body, json_t **root,
                               struct joulet_error *err)
{
    struct net_response r;
    struct generated g;
    *root = NULL;
    enum joulet_status status = engine_ask(e, method, path, body, LOAD_IDLE_S, &r, err);
    if (status == JOULET_OK) {
        generated_init(&g);
        *root = wire_parse(&g, r.body.data ? r.body.data : "", r.body.len);
        if (!*root || wire_error(&g, *root) || r.status >= 300)
            status = jl_fail(err, r.status == 404 ? JOULET_NOT_FOUND : JOULET_ENGINE,
                             "the engine at %s refused (HTTP %d): \"%.200s\"", e->url, r.status, g.engine_error);
        generated_release(&g);
    }
    if (status != JOULET_OK) {
        json_decref(*root);
        *root = NULL;
    }
    net_response_release(&r);
    return status;
}

enum joulet_status lmstudio_load(struct engine *e, const char *model, const struct generation *how, double *load_s,
                                 struct joulet_error *err)
{
    struct engine_model m;
    json_t *answer, *body;
    *load_s = NAN;
    enum joulet_status status = needs_v1(e, err);
    if (status == JOULET_OK)
        status = lmstudio_details(e, model, &m, err);
    if (status != JOULET_OK)
        return status;
    bool fits = !how || how->context_length < 0 || how->context_length == m.loaded_context;
    if (m.loaded && fits)
        return jl_ok(err);
    body = json_pack("{s:s}", "model", model);
    if (how)
        body_count(body, "context_length", how->context_length);
    if (how && (status = body_options(body, how, err)) != JOULET_OK) {
        json_decref(body);
        return status;
    }
    status = call(e, "POST", "/api/v1/models/load", body, &answer, err);
    *load_s = wire_number(answer, "load_time_seconds", 1);
    json_decref(answer);
    return status;
}

/* Names of the loaded instances of a model: what unloading asks for. */
static size_t instances(const json_t *root, const char *model, const char *ids[INSTANCES_MAX])
{
    size_t i, k, n = 0;
    json_t *item, *instance;
    json_array_foreach(json_object_get(root, "models"), i, item)
    {
        if (strcmp(wire_string(item, "key"), model) != 0)
            continue;
        json_array_foreach(json_object_get(item, "loaded_instances"), k, instance)
        {
            if (n < INSTANCES_MAX && wire_string(instance, "id")[0])
                ids[n++] = wire_string(instance, "id");
        }
    }
    return n;
}

enum joulet_status lmstudio_unload(struct engine *e, const char *model, struct joulet_error *err)
{
    const char *ids[INSTANCES_MAX];
    struct engine_model m;
    json_t *list, *answer;
    enum joulet_status status = needs_v1(e, err);
    if (status == JOULET_OK)
        status = lmstudio_details(e, model, &m, err);
    if (status == JOULET_OK)
        status = call(e, "GET", "/api/v1/models", NULL, &list, err);
    if (status != JOULET_OK)
        return status;
    size_t n = instances(list, model, ids);
    for (size_t i = 0; i < n && status == JOULET_OK; i++) {
        status = call(e, "POST", "/api/v1/models/unload", json_pack("{s:s}", "instance_id", ids[i]), &answer, err);
        json_decref(answer);
    }
    json_decref(list);
    return status;
}

static bool is_over(const char *status)
{
    return strcmp(status, "completed") == 0 || strcmp(status, "already_downloaded") == 0;
}

/* The download runs inside LM Studio, and goes on there when we stop looking. */
enum joulet_status lmstudio_pull(struct engine *e, const char *model, engine_progress *on_progress, void *user,
                                 struct joulet_error *err)
{
    json_t *answer = NULL;
    char path[256] = "";
    enum joulet_status status = needs_v1(e, err);
    if (status == JOULET_OK)
        status = call(e, "POST", "/api/v1/models/download", json_pack("{s:s}", "model", model), &answer, err);
    while (status == JOULET_OK) {
        const char *state = wire_string(answer, "status");
        char *id = path[0] ? NULL : net_escape(wire_string(answer, "job_id"));
        if (id)
            snprintf(path, sizeof(path), "/api/v1/models/download/status/%s", id);
        free(id);
        if (on_progress)
            on_progress(user, state, wire_count(answer, "downloaded_bytes"), wire_count(answer, "total_size_bytes"));
        if (is_over(state))
            break;
        if (strcmp(state, "failed") == 0)
            status = jl_fail(err, JOULET_ENGINE, "the engine at %s could not fetch %.100s: its log says why", e->url, model);
        else if (e->cancel && atomic_load(e->cancel))
            status = jl_fail(err, JOULET_CANCELLED, "fetching %.100s was interrupted; LM Studio goes on with it", model);
        if (status != JOULET_OK)
            break;
        jl_sleep_until(jl_mono_ns() + POLL_NS);
        json_decref(answer);
        status = call(e, "GET", path, NULL, &answer, err);
    }
    json_decref(answer);
    return status;
}
