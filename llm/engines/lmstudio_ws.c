/* lmstudio_ws.c - LM Studio as its own SDKs speak to it: JSON messages over a WebSocket at /llm, in channels (docs/engines.md,
 * "LM Studio's SDKs"). It is the only way to an LM Studio whose HTTP server is off, and the only one that tells when the prompt's
 * processing was done, counts, draft tokens and GPU layers of one streamed answer. */
#include "llm/engine_wire.h"
#include "llm/engines/lmstudio.h"
#include "net/net_ws.h"

#include "lib/platform/platform.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define PREDICT_CHANNEL 1
#define LOAD_CHANNEL    0
#define ASK_IDLE_S      10.0
#define MODELS_MAX      10000

/* ---- recognition --------------------------------------------------------------------------------------------------------- */

static bool greets(const struct engine *e, struct joulet_error *err, enum joulet_status *status)
{
    struct net_response r;
    *status = engine_get(e, "/lmstudio-greeting", &r, err);
    json_t *root = wire_object(r.body.data ? r.body.data : "", r.body.len);
    bool ours = *status == JOULET_OK && json_is_true(json_object_get(root, "lmstudio"));
    json_decref(root);
    net_response_release(&r);
    return ours;
}

static enum joulet_status describe(struct engine *e, struct joulet_error *err);

static enum joulet_status recognise(struct engine *e, struct joulet_error *err)
{
    enum joulet_status status;
    if (greets(e, err, &status)) {
        status = describe(e, err);
        return status == JOULET_PERMISSION && lmstudio_take_token(e) ? describe(e, err) : status;
    }
    return status != JOULET_OK ? status : jl_fail(err, JOULET_NOT_FOUND, "%s is no LM Studio", e->url);
}

/* It takes the first of these that is free. */
static bool address(char *url, size_t size)
{
    static const int ports[] = {41343, 52993, 16141, 39414, 22931, 1234};
    for (size_t i = 0; i < JL_COUNT(ports); i++) {
        enum joulet_status status;
        snprintf(url, size, "http://127.0.0.1:%d", ports[i]);
        if (greets(&(struct engine){.url = url, .local = true}, NULL, &status))
            return true;
    }
    return false;
}

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

static void add_field(json_t *fields, const char *key, json_t *value)
{
    json_array_append_new(fields, json_pack("{s:s, s:o}", "key", key, "value", value));
}

/* Some settings have a switch beside their value. */
static void add_checked(json_t *fields, const char *key, json_t *value)
{
    add_field(fields, key, json_pack("{s:b, s:o}", "checked", 1, "value", value));
}

static json_t *stack_of(json_t *fields)
{
    return json_pack("{s:[{s:s, s:{s:o}}]}", "layers", "layerName", "apiOverride", "config", "fields", fields);
}

static json_t *settings(const struct generation *q)
{
    json_t *f = json_array(), *stop = json_array();
    if (q->max_tokens >= 0)
        add_checked(f, "llm.prediction.maxPredictedTokens", json_integer(q->max_tokens));
    if (!isnan(q->min_p))
        add_checked(f, "llm.prediction.minPSampling", json_real(q->min_p));
    if (!isnan(q->repeat_penalty))
        add_checked(f, "llm.prediction.repeatPenalty", json_real(q->repeat_penalty));
    if (!isnan(q->temperature))
        add_field(f, "llm.prediction.temperature", json_real(q->temperature));
    if (q->top_k >= 0)
        add_field(f, "llm.prediction.topKSampling", json_integer(q->top_k));
    if (!isnan(q->top_p))
        add_checked(f, "llm.prediction.topPSampling", json_real(q->top_p));
    for (size_t i = 0; i < q->n_stop; i++)
        json_array_append_new(stop, json_string(q->stop[i]));
    if (q->n_stop)
        add_field(f, "llm.prediction.stopStrings", stop);
    else
        json_decref(stop);
    return stack_of(f);
}

/* [{"role", "content": text}] becomes [{"role", "content": [{"type":"text","text"}]}]; what has parts already stays. */
static json_t *history(json_t *messages)
{
    size_t i;
    json_t *m, *out = json_array();
    json_array_foreach(messages, i, m)
    {
        json_t *copy = json_copy(m), *text = json_object_get(m, "content");
        if (json_is_string(text))
            json_object_set_new(copy, "content", json_pack("[{s:s, s:O}]", "type", "text", "text", text));
        json_array_append_new(out, copy);
    }
    return json_pack("{s:o}", "messages", out);
}

static enum joulet_status check(const struct engine *e, const struct generation *q, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    const struct {
        bool given;
        const char *what;
    } lacks[] = {
        {q->raw, "way to send a text without the chat template"},
        {q->seed >= 0, "seed"},
        {q->tools_json, "tools of ours"},
        {q->thinking != THINKING_DEFAULT || q->thinking_budget > 0, "switch for thinking"},
        {q->n_options > 0, "further options"},
    };
    for (size_t i = 0; i < JL_COUNT(lacks) && status == JOULET_OK; i++)
        status = body_lacks(e, lacks[i].given, lacks[i].what, err);
    if (status == JOULET_OK && !q->model && !e->info.model[0])
        status = jl_fail(err, JOULET_USAGE, "the engine at %s has no model loaded: name one with -m", e->url);
    return status;
}

static const char *model_of(const struct engine *e, const struct generation *q)
{
    return q->model ? q->model : e->info.model;
}

/* The message that opens the prediction. */
static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    json_t *root = json_object();
    enum joulet_status status = check(e, q, err);
    *path = "/llm";
    if (status == JOULET_OK)
        status = body_messages(root, q, err);
    json_t *what = status == JOULET_OK
                       ? json_pack("{s:s, s:s, s:i, s:{s:{s:s, s:{s:s}}, s:o, s:o}}", "type", "channelCreate", "endpoint",
                                   "predict", "channelId", PREDICT_CHANNEL, "creationParameter", "modelSpecifier", "type",
                                   "query", "query", "identifier", model_of(e, q), "history",
                                   history(json_object_get(root, "messages")), "predictionConfigStack", settings(q))
                       : NULL;
    json_decref(root);
    if (status != JOULET_OK)
        return status;
    if (!what)
        return jl_fail(err, JOULET_USAGE, "the %s is not UTF-8 text: convert it, as with iconv -f latin1 -t utf-8", "model");
    return body_finish(what, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

static void keep(int64_t *slot, const json_t *stats, const char *key)
{
    int64_t n = wire_count(stats, key);
    if (n >= 0)
        *slot = n;
}

static void statistics(struct generated *g, const json_t *m)
{
    const json_t *s = json_object_get(m, "stats"), *info = json_object_get(m, "modelInfo");
    const char *id = wire_string(info, "identifier"), *format = wire_string(info, "format");
    keep(&g->tokens.prompt, s, "promptTokensCount");
    keep(&g->tokens.generated, s, "predictedTokensCount");
    keep(&g->draft_tokens, s, "totalDraftTokensCount");
    keep(&g->draft_accepted, s, "acceptedDraftTokensCount");
    keep(&g->gpu_layers, s, "numGpuLayers");
    const char *draft = wire_string(s, "usedDraftModelKey");
    wire_clean(g->draft_model, sizeof(g->draft_model), draft, strlen(draft));
    double first = wire_number(s, "timeToFirstTokenSec", 1), rate = wire_number(s, "tokensPerSecond", 1);
    if (!isnan(first))
        g->server_prompt_s = first;
    if (!isnan(rate))
        g->server_rate = rate;
    wire_clean(g->instance, sizeof(g->instance), id, strlen(id));
    snprintf(g->runtime, sizeof(g->runtime), "%s",
             !strcmp(format, "gguf")          ? "llama.cpp"
             : !strcmp(format, "safetensors") ? "mlx"
                                              : "");
    lmstudio_stop(g, wire_string(s, "stopReason"));
    g->done = true;
}

/* {"title", "rootTitle", "cause", ...}: the title is the sentence, the cause is often the reason. */
static void failed(struct generated *g, const json_t *error)
{
    const char *words = wire_string(error, "title"), *cause = wire_string(error, "cause");
    char *both = words[0] && cause[0] ? jl_strf("%s: %s", words, cause) : NULL;
    json_t *form = json_pack("{s:{s:s}}", "error", "message", both ? both : words[0] ? words : "an error without words");
    wire_error(g, form);
    json_decref(form);
    free(both);
}

static void fragment(struct generated *g, const json_t *f, int64_t t_ns)
{
    const char *kind = wire_string(f, "reasoningType");
    if (strcmp(kind, "reasoningStartTag") == 0 || strcmp(kind, "reasoningEndTag") == 0)
        wire_arrival(g, t_ns); /* a token, but no text of the answer */
    else
        wire_text(g, json_object_get(f, "content"), strcmp(kind, "reasoning") == 0, t_ns);
}

/* What a channel says. The end of the prompt's processing may be left out: then the first fragment stands for it. */
static void channel(struct generated *g, const json_t *m, int64_t t_ns)
{
    const char *type = wire_string(m, "type");
    if (strcmp(type, "fragment") == 0) {
        fragment(g, json_object_get(m, "fragment"), t_ns);
    } else if (strcmp(type, "promptProcessingProgress") == 0) {
        if (wire_number(m, "progress", 1) >= 1 && !g->t_prefill_ns)
            g->t_prefill_ns = t_ns;
    } else if (strcmp(type, "toolCallGenerationEnd") == 0) {
        g->tool_calls++;
        wire_arrival(g, t_ns);
    } else if (strcmp(type, "success") == 0 && json_is_object(json_object_get(m, "stats"))) {
        statistics(g, m);
    } else if (strcmp(type, "error") == 0) {
        failed(g, json_object_get(m, "error"));
    }
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    const char *type = wire_string(root, "type");
    if (strcmp(type, "channelSend") == 0)
        channel(g, json_object_get(root, "message"), t_ns);
    else if (strcmp(type, "channelError") == 0 || strcmp(type, "rpcError") == 0)
        failed(g, json_object_get(root, "error"));
    else if (root && !type[0])
        wire_error(g, root); /* the answer to who we are: {"success"}, or with an error */
    json_decref(root);
}

/* ---- the conversation ------------------------------------------------------------------------------------------------------ */

struct talk {
    struct engine *e;
    struct generated *g;
    void (*arrived)(void *user);
    void *user;
    int64_t t_load_ns; /* loading began; 0 it did not */
    bool ready;        /* greeted, or the model is there */
};

static enum joulet_status say(struct net_ws *w, json_t *message, struct joulet_error *err)
{
    char *text = json_dumps(message, JSON_COMPACT);
    json_decref(message);
    enum joulet_status status = text ? net_ws_send(w, text, strlen(text), err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    free(text);
    return status;
}

static bool on_answer(void *user, const char *text, size_t n, int64_t t_ns)
{
    struct talk *t = user;
    if (!t->g->t_header_ns)
        t->g->t_header_ns = t_ns;
    event(t->g, text, n, t_ns);
    t->arrived(t->user);
    if (t->g->done && !t->g->t_end_ns)
        t->g->t_end_ns = t_ns;
    return !t->g->done && !t->g->engine_error[0];
}

static bool on_greeting(void *user, const char *text, size_t n, int64_t t_ns)
{
    struct talk *t = user;
    event(t->g, text, n, t_ns);
    return false;
}

/* Until the model is there; what loading takes is a time of its own. */
static bool on_loading(void *user, const char *text, size_t n, int64_t t_ns)
{
    struct talk *t = user;
    json_t *root = wire_object(text, n);
    const char *type = wire_string(json_object_get(root, "message"), "type");
    if ((!strcmp(type, "startLoading") || !strcmp(type, "loadProgress")) && !t->t_load_ns)
        t->t_load_ns = t_ns;
    t->ready = !strcmp(type, "alreadyLoaded") || !strcmp(type, "loadSuccess") || !strcmp(type, "success");
    if (t->ready && t->t_load_ns)
        t->g->server_load_s = jl_s(t_ns - t->g->t_sent_ns);
    if (!t->ready)
        event(t->g, text, n, t_ns);
    json_decref(root);
    return !t->ready && !t->g->engine_error[0];
}

/* A token, "sk-lm-WWWWWWWW:PPPPPPPPPPPPPPPPPPPP", is a name and a password; without one we are a guest. */
static void who_we_are(const struct engine *e, char name[64], char password[64])
{
    char rest;
    if (e->key && sscanf(e->key, "sk-lm-%8[a-zA-Z0-9]:%20[a-zA-Z0-9]%c", name, password, &rest) == 2 && strlen(e->key) == 35)
        return;
    snprintf(name, 64, "guest:joulet-%lld", (long long)getpid());
    snprintf(password, 64, "joulet-%lld", (long long)getpid());
}

static enum joulet_status greet(struct net_ws *w, struct talk *t, struct joulet_error *err)
{
    char name[64], password[64];
    who_we_are(t->e, name, password);
    enum joulet_status status =
        say(w, json_pack("{s:i, s:s, s:s}", "authVersion", 1, "clientIdentifier", name, "clientPasskey", password), err);
    return status == JOULET_OK ? net_ws_receive(w, 0, on_greeting, t, err) : status;
}

static enum joulet_status get_model(struct net_ws *w, struct talk *t, const struct generation *q, struct joulet_error *err)
{
    json_t *fields = json_array();
    if (q->context_length >= 0)
        add_field(fields, "llm.load.contextLength", json_integer(q->context_length));
    json_t *m =
        json_pack("{s:s, s:s, s:i, s:{s:s, s:o}}", "type", "channelCreate", "endpoint", "getOrLoad", "channelId", LOAD_CHANNEL,
                  "creationParameter", "identifier", model_of(t->e, q), "loadConfigStack", stack_of(fields));
    t->g->t_sent_ns = jl_mono_ns();
    enum joulet_status status = say(w, m, err);
    return status == JOULET_OK ? net_ws_receive(w, q->timeout_s, on_loading, t, err) : status;
}

static enum joulet_status predict(struct net_ws *w, struct talk *t, const struct generation *q, const struct jl_buf *body,
                                  struct joulet_error *err)
{
    if (isnan(t->g->server_load_s)) /* it was there: what came before is no part of the request */
        t->g->t_sent_ns = jl_mono_ns();
    enum joulet_status status = net_ws_send(w, body->data, body->len, err);
    if (status == JOULET_OK)
        status = net_ws_receive(w, q->timeout_s, on_answer, t, err);
    if (status == JOULET_CANCELLED)
        say(w, json_pack("{s:s, s:i, s:{s:s}}", "type", "channelSend", "channelId", PREDICT_CHANNEL, "message", "type", "cancel"),
            NULL);
    return status;
}

static enum joulet_status converse(struct engine *e, const struct generation *q, struct generated *g, void (*arrived)(void *user),
                                   void *user, struct joulet_error *err)
{
    struct talk t = {.e = e, .g = g, .arrived = arrived, .user = user};
    struct net_ws *w = NULL;
    struct jl_buf body;
    const char *path;
    jl_buf_init(&body, 0);
    enum joulet_status status = request(e, q, &path, &body, err);
    char *url = jl_strf("%s%s", e->url, "/llm");
    const struct net_ws_request how = {.url = url, .ca_file = engine_ca(), .cancel = e->cancel};
    if (status == JOULET_OK)
        status = url ? net_ws_open(&w, &how, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK) {
        g->http_status = 200;
        status = greet(w, &t, err);
    }
    if (status == JOULET_OK && !g->engine_error[0])
        status = get_model(w, &t, q, err);
    if (status == JOULET_OK && !g->engine_error[0])
        status = predict(w, &t, q, &body, err);
    net_ws_close(w);
    free(url);
    jl_buf_release(&body);
    if (g->t_sent_ns && !g->t_end_ns)
        g->t_end_ns = jl_mono_ns();
    g->complete = status == JOULET_OK;
    return status;
}

/* ---- models ---------------------------------------------------------------------------------------------------------------- */

struct call {
    json_t *result; /* NULL: none came */
};

static bool on_result(void *user, const char *text, size_t n, int64_t t_ns)
{
    struct call *c = user;
    (void)t_ns;
    json_t *root = wire_object(text, n);
    const char *type = wire_string(root, "type");
    bool over = strcmp(type, "rpcResult") == 0 || strcmp(type, "rpcError") == 0;
    if (strcmp(type, "rpcResult") == 0)
        c->result = json_incref(json_object_get(root, "result"));
    json_decref(root);
    return !over;
}

/* One question on a socket of its own; *result to be released. */
static enum joulet_status ask(struct engine *e, const char *space, const char *endpoint, json_t **result,
                              struct joulet_error *err)
{
    struct net_ws *w = NULL;
    struct generated g;
    struct talk t = {.e = e, .g = &g};
    struct call c = {.result = NULL};
    char *url = jl_strf("%s/%s", e->url, space);
    const struct net_ws_request how = {.url = url, .ca_file = engine_ca(), .cancel = e->cancel};
    generated_init(&g);
    enum joulet_status status = url ? net_ws_open(&w, &how, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = greet(w, &t, err);
    if (status == JOULET_OK && g.engine_error[0])
        status = engine_key_refused(e, g.engine_error, err);
    if (status == JOULET_OK)
        status = say(w, json_pack("{s:s, s:s, s:i}", "type", "rpcCall", "endpoint", endpoint, "callId", 1), err);
    if (status == JOULET_OK)
        status = net_ws_receive(w, ASK_IDLE_S, on_result, &c, err);
    if (status == JOULET_OK && !json_is_array(c.result))
        status = jl_fail(err, JOULET_FORMAT, "the engine's list of models is not in the known form");
    net_ws_close(w);
    generated_release(&g);
    free(url);
    if (status != JOULET_OK) {
        json_decref(c.result);
        c.result = NULL;
    }
    *result = c.result;
    return status;
}

static void copy(char *out, size_t size, const json_t *object, const char *key)
{
    const char *s = wire_string(object, key);
    wire_clean(out, size, s, strlen(s));
}

static void read_model(const json_t *item, const json_t *loaded, struct engine_model *m)
{
    size_t i;
    json_t *l;
    const char *format = wire_string(item, "format");
    engine_model_init(m);
    copy(m->name, sizeof(m->name), item, "modelKey");
    copy(m->architecture, sizeof(m->architecture), item, "architecture");
    snprintf(m->runtime, sizeof(m->runtime), "%s",
             !strcmp(format, "gguf")          ? "llama.cpp"
             : !strcmp(format, "safetensors") ? "mlx"
                                              : "");
    m->bytes = wire_count(item, "sizeBytes");
    m->context_length = wire_count(item, "maxContextLength");
    json_array_foreach(loaded, i, l)
    {
        if (strcmp(wire_string(l, "modelKey"), m->name) != 0 || m->loaded)
            continue;
        m->loaded = true;
        m->loaded_context = wire_count(l, "contextLength");
    }
}

static enum joulet_status models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    json_t *all = NULL, *loaded = NULL, *item;
    size_t i;
    *out = NULL;
    *n = 0;
    enum joulet_status status = ask(e, "system", "listDownloadedModels", &all, err);
    if (status == JOULET_OK)
        status = ask(e, "llm", "listLoaded", &loaded, err);
    if (status == JOULET_OK && (json_array_size(all) > MODELS_MAX || !(*out = calloc(json_array_size(all) + 1, sizeof(**out)))))
        status = jl_fail(err, JOULET_MEMORY, "out of memory for %zu models", json_array_size(all));
    json_array_foreach(status == JOULET_OK ? all : NULL, i, item)
    {
        read_model(item, loaded, &(*out)[*n]);
        *n += (*out)[*n].name[0] && strcmp(wire_string(item, "type"), "llm") == 0;
    }
    json_decref(all);
    json_decref(loaded);
    return status;
}

/* What is loaded now; nothing is loaded for it. */
static enum joulet_status describe(struct engine *e, struct joulet_error *err)
{
    json_t *loaded;
    enum joulet_status status = ask(e, "llm", "listLoaded", &loaded, err);
    const json_t *first = json_array_get(loaded, 0);
    if (status == JOULET_OK && first) {
        copy(e->info.model, sizeof(e->info.model), first, "identifier");
        copy(e->info.architecture, sizeof(e->info.architecture), first, "architecture");
        e->info.context_length = wire_count(first, "contextLength");
        e->info.model_bytes = wire_count(first, "sizeBytes");
    }
    json_decref(loaded);
    return status;
}

const struct engine_ops engine_lmstudio_ws = {
    .name = "lmstudio-ws",
    .summary = "LM Studio, by the WebSocket that its own SDKs use",
    .default_port = 41343,
    .framing = ENGINE_SOCKET,
    .says_why = true,
    .address = address,
    .recognise = recognise,
    .models = models,
    .request = request,
    .converse = converse,
    .event = event,
};
