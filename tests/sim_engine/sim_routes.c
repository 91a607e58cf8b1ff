/* sim_routes.c - the answers of the simulated engine that make no token: health, properties, models, slots, refusals. */
#include "tests/sim_engine/sim_internal.h"

#include <jansson.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define JSON "application/json; charset=utf-8"

static void health(struct sim_connection *c)
{
    sim_reply(c, 200, JSON, "{\"status\":\"ok\"}");
}

static void props(struct sim_connection *c)
{
    const struct sim_config *f = &c->engine->config;
    char *body =
        jl_strf("{\"default_generation_settings\":{\"params\":{\"seed\":4294967295},\"n_ctx\":%lld},\"total_slots\":%d,"
                "\"model_alias\":\"%s\",\"model_path\":\"%s%s.gguf\",\"build_info\":\"b11669-sim\"}",
                (long long)f->context, f->slots > 1 ? f->slots : 1, f->model, *f->model == '/' ? "" : "/models/", f->model);
    sim_reply(c, 200, JSON, body ? body : "");
    free(body);
}

static void models(struct sim_connection *c)
{
    const struct sim_config *f = &c->engine->config;
    char *body =
        f->openai
            ? jl_strf("{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\",\"owned_by\":\"vllm\",\"max_model_"
                      "len\":%lld}]}",
                      f->model, (long long)f->context)
            : jl_strf("{\"object\":\"list\",\"data\":[{\"id\":\"%s\",\"object\":\"model\",\"owned_by\":\"llamacpp\",\"meta\":{"
                      "\"n_ctx\":%lld,\"n_ctx_train\":8192,\"n_params\":4458752,\"size\":4744192}}]}",
                      f->model, (long long)f->context);
    sim_reply(c, 200, JSON, body ? body : "");
    free(body);
}

static int others_busy(const struct sim_config *f)
{
    for (size_t i = 0; i < f->n_faults; i++)
        if (!strcmp(f->faults[i].name, "busy"))
            return isnan(f->faults[i].arg) ? 1 : (int)f->faults[i].arg;
    return 0;
}

static void slots(struct sim_connection *c)
{
    const struct sim_config *f = &c->engine->config;
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    jl_buf_printf(&b, "[{\"id\":0,\"n_ctx\":%lld,\"is_processing\":%s}", (long long)f->context,
                  atomic_load(&c->engine->busy) ? "true" : "false");
    for (int i = 1; i <= others_busy(f); i++)
        jl_buf_printf(&b, ",{\"id\":%d,\"n_ctx\":%lld,\"is_processing\":true}", i, (long long)f->context);
    jl_buf_str(&b, "]");
    sim_reply(c, 200, JSON, b.data ? b.data : "");
    jl_buf_release(&b);
}

static void version(struct sim_connection *c)
{
    sim_reply(c, 200, JSON, "{\"version\":\"0.11.0-sim\"}");
}

/* As many tokens as words; which they are tells nothing. */
static char *text_body(int64_t n, bool back)
{
    struct jl_buf b;
    jl_buf_init(&b, SIZE_MAX);
    jl_buf_str(&b, back ? "{\"content\":\"" : "{\"tokens\":[");
    for (int64_t i = 0; i < n; i++)
        jl_buf_printf(&b, back ? "%s" : "%s%lld", back ? "word " : i ? "," : "", (long long)(i % 1000));
    jl_buf_str(&b, back ? "\"}" : "]}");
    return jl_buf_take(&b);
}

static void text(struct sim_connection *c, const struct sim_http *q)
{
    struct sim_engine *e = c->engine;
    const struct sim_fault *refused = sim_fault_of(e, -1, "text-refused");
    json_t *root = json_loadb(q->body, q->body_len, 0, NULL);
    const char *content = json_string_value(json_object_get(root, "content"));
    int64_t n = content ? sim_count_words(content) : (int64_t)json_array_size(json_object_get(root, "tokens"));
    pthread_mutex_lock(&e->lock);
    int64_t before = e->n_texts++;
    pthread_mutex_unlock(&e->lock);
    if (!e->config.text || (!content && sim_fault_of(e, -1, "text-one-way"))) {
        sim_error(c, 404, "not_found_error", "File Not Found", "");
    } else if (refused && (double)before >= refused->arg) {
        sim_error(c, 503, "unavailable_error", "busy", "");
    } else if (sim_fault_of(e, -1, "text-garbled")) {
        sim_reply(c, 200, JSON, "{\"tokens\":[1,\"two\",3],\"content\":7}");
    } else if (sim_wait_until(c, e->config.text(e->config.step_user, jl_mono_ns(), n, !content))) {
        char *body = text_body(n, !content);
        sim_reply(c, 200, JSON, body ? body : "");
        free(body);
    }
    json_decref(root);
}

enum { LLAMA = 1, OPENAI = 2, OPEN = 4 }; /* whose route; OPEN: without a key too */

static const struct {
    const char *method, *path;
    int where;
    void (*answer)(struct sim_connection *c);
    void (*generate)(struct sim_connection *c, const struct sim_http *q);
} routes[] = {
    {"GET", "/health", LLAMA | OPENAI | OPEN, health, NULL},
    {"GET", "/v1/health", LLAMA | OPEN, health, NULL},
    {"GET", "/props", LLAMA, props, NULL},
    {"GET", "/version", OPENAI | OPEN, version, NULL},
    {"GET", "/models", LLAMA | OPEN, models, NULL},
    {"GET", "/v1/models", LLAMA | OPEN, models, NULL},
    {"GET", "/v1/models", OPENAI, models, NULL},
    {"GET", "/slots", LLAMA, slots, NULL},
    {"POST", "/tokenize", LLAMA, NULL, text},
    {"POST", "/detokenize", LLAMA, NULL, text},
    {"POST", "/completion", LLAMA, NULL, sim_generate},
    {"POST", "/v1/completions", LLAMA | OPENAI, NULL, sim_generate},
    {"POST", "/v1/chat/completions", LLAMA | OPENAI, NULL, sim_generate},
};

static bool loading(const struct sim_engine *e)
{
    const struct sim_fault *f = sim_fault_of(e, -1, "loading");
    return f && jl_s(jl_mono_ns() - e->t_start_ns) < (isnan(f->arg) ? 1 : f->arg);
}

void sim_answer(struct sim_connection *c, const struct sim_http *q)
{
    const struct sim_engine *e = c->engine;
    int where = e->config.openai ? OPENAI : LLAMA;
    if (loading(e)) {
        sim_error(c, 503, "unavailable_error", "Loading model", "");
        return;
    }
    for (size_t i = 0; i < JL_COUNT(routes); i++) {
        if (!(routes[i].where & where) || strcmp(routes[i].method, q->method) != 0 || strcmp(routes[i].path, q->path) != 0)
            continue;
        if (e->config.key && !(routes[i].where & OPEN) && strcmp(e->config.key, q->key) != 0)
            sim_error(c, 401, "authentication_error", "Invalid API Key", "");
        else if (routes[i].generate)
            routes[i].generate(c, q);
        else
            routes[i].answer(c);
        return;
    }
    sim_error(c, 404, "not_found_error", "File Not Found", "");
}
