/* recognise_frames.c - LM Studio's channels, read where they pass (docs/engines.md, "LM Studio's SDKs"): the client opens a
 * channel with an endpoint, the server sends into it, either side ends it. Both directions are read by the reader of frames that
 * the client of our own uses, and predictions by the reader of the protocol. */
#include "server/recognise_frames.h"

#include "net/net_ws.h"
#include "server/recognise_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MESSAGE_MAX   ((size_t)4 << 20) /* a prompt; pictures go another way */
#define CHANNELS_MAX  64                /* at a time in one tunnel */
#define INSTANCES_MAX 16

struct channel {
    bool used, call; /* a call is answered once, a channel many times */
    int64_t id;      /* the client's, free to be used again when it ended */
    uint32_t part;   /* 0: not told yet */
    struct recognised r;
    struct generated g;
};

struct frames {
    struct frames_told told;
    struct ws_reader up, down;
    enum recognised_kind calls; /* what a call `embed...` in this tunnel is */
    bool greeted, foreign, broken;
    int64_t t_ns; /* of the bytes that are read */
    uint32_t parts;
    struct channel channels[CHANNELS_MAX];
    struct instance { /* models are also called by the number of their loading */
        char reference[64], name[192];
    } instances[INSTANCES_MAX];
    size_t n_instances;
};

bool recognise_frames_at(const char *path)
{
    static const char *const paths[] = {"/llm", "/embedding"};
    size_t n = strcspn(path, "?#");
    for (size_t i = 0; i < JL_COUNT(paths); i++)
        if (strlen(paths[i]) == n && memcmp(path, paths[i], n) == 0)
            return true;
    return false;
}

/* ---- channels ---------------------------------------------------------------------------------------------------------- */

static struct channel *channel_at(struct frames *f, bool call, int64_t id)
{
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (f->channels[i].used && f->channels[i].call == call && f->channels[i].id == id)
            return &f->channels[i];
    return NULL;
}

static void stop_reading(struct frames *f, bool foreign);

static struct channel *open_channel(struct frames *f, bool call, int64_t id, enum recognised_kind kind)
{
    struct channel *c = channel_at(f, call, id) ? NULL : f->channels;
    while (c && c < f->channels + CHANNELS_MAX && c->used)
        c++;
    if (id < 0 || !c || c == f->channels + CHANNELS_MAX) {
        stop_reading(f, false);
        return NULL;
    }
    *c = (struct channel){.used = true, .call = call, .id = id};
    recognised_init(&c->r, "", "");
    c->r.kind = kind;
    c->r.protocol = engine_lmstudio_ws.name;
    c->r.status = 200;
    c->r.streams = c->r.asks_stream = kind == RECOGNISED_INFERENCE;
    generated_init(&c->g);
    return c;
}

static void tell_request(struct frames *f, struct channel *c)
{
    if (c->part)
        return;
    c->part = ++f->parts;
    f->told.request(f->told.user, c->part, &c->r, f->t_ns);
}

static void fill(struct channel *c, bool whole)
{
    struct recognised *r = &c->r;
    const struct generated *g = &c->g;
    enum recognised_source told = isnan(g->server_prompt_s) ? RECOGNISED_USAGE : RECOGNISED_TIMINGS;
    bool inference = r->kind == RECOGNISED_INFERENCE;
    r->tokens = g->tokens;
    r->prompt_source = g->tokens.prompt >= 0 ? told : RECOGNISED_UNKNOWN;
    r->generated_source = g->tokens.generated >= 0 ? told : RECOGNISED_UNKNOWN;
    if (inference && g->tokens.generated < 0) {
        r->tokens.generated = (int64_t)r->pieces;
        r->generated_source = RECOGNISED_COUNTED;
    }
    r->computed = g->processed_tokens;
    r->server_prompt_s = g->server_prompt_s;
    r->done = g->done;
    r->whole = whole;
    snprintf(r->finish, sizeof r->finish, "%s", g->finish);
    snprintf(r->error, sizeof r->error, "%s", g->engine_error);
}

static void end_channel(struct frames *f, struct channel *c, bool whole)
{
    fill(c, whole);
    if (c->part)
        f->told.end(f->told.user, c->part, &c->r, f->t_ns);
    generated_release(&c->g);
    c->used = false;
}

static void stop_reading(struct frames *f, bool foreign)
{
    bool said = f->greeted && !f->broken && !f->foreign;
    f->broken |= !foreign;
    f->foreign |= foreign;
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (f->channels[i].used)
            end_channel(f, &f->channels[i], false);
    if (said)
        f->told.reads(f->told.user, false);
}

/* ---- models -------------------------------------------------------------------------------------------------------------- */

/* Any object that tells both names of a loaded model. */
static void learn_instance(struct frames *f, const json_t *info)
{
    const char *reference = wire_string(info, "instanceReference"), *name = wire_string(info, "identifier");
    struct instance *i = &f->instances[f->n_instances % INSTANCES_MAX];
    for (size_t k = 0; k < INSTANCES_MAX; k++)
        if (strcmp(f->instances[k].reference, reference) == 0)
            return;
    if (!name[0] || strlen(reference) >= sizeof i->reference)
        return;
    memcpy(i->reference, reference, strlen(reference) + 1);
    wire_clean(i->name, sizeof i->name, name, strlen(name));
    f->n_instances++;
}

static void name_model(struct frames *f, struct channel *c, const json_t *parameter)
{
    const json_t *by = json_object_get(parameter, "modelSpecifier");
    by = by ? by : json_object_get(parameter, "specifier"); /* early SDKs */
    const char *name = wire_string(json_object_get(by, "query"), "identifier"), *reference = wire_string(by, "instanceReference");
    if (!name[0])
        name = wire_string(parameter, "identifier");
    if (!name[0])
        name = wire_string(parameter, "modelKey");
    for (size_t i = 0; i < INSTANCES_MAX && !name[0] && reference[0]; i++)
        if (strcmp(f->instances[i].reference, reference) == 0)
            name = f->instances[i].name;
    wire_clean(c->r.model, sizeof c->r.model, name, strlen(name));
}

/* ---- from the client ------------------------------------------------------------------------------------------------------ */

static void channel_create(struct frames *f, const json_t *m)
{
    const char *endpoint = wire_string(m, "endpoint");
    const json_t *parameter = json_object_get(m, "creationParameter");
    bool predict = strcmp(endpoint, "predict") == 0, get = strcmp(endpoint, "getOrLoad") == 0;
    if (!predict && !get && strcmp(endpoint, "loadModel") != 0)
        return;
    struct channel *c = open_channel(f, false, wire_count(m, "channelId"), predict ? RECOGNISED_INFERENCE : RECOGNISED_LOAD);
    if (!c)
        return;
    name_model(f, c, parameter);
    if (predict)
        c->r.prompt_bytes = request_text_bytes(json_object_get(parameter, "history"));
    if (!get) /* which may find the model loaded: then nothing is computed */
        tell_request(f, c);
}

/* `embedString` is the call that computes; `tokenize` and `countTokens` of the same interface (lmstudio-js) do not. */
static void call(struct frames *f, const json_t *m)
{
    const json_t *parameter = json_object_get(m, "parameter");
    if (f->calls == RECOGNISED_OTHER || !jl_starts(wire_string(m, "endpoint"), "embed"))
        return;
    struct channel *c = open_channel(f, true, wire_count(m, "callId"), f->calls);
    if (!c)
        return;
    name_model(f, c, parameter);
    c->r.prompt_bytes = request_text_bytes(json_object_get(parameter, "inputString"));
    tell_request(f, c);
}

static void from_client(struct frames *f, const json_t *m)
{
    const char *type = wire_string(m, "type");
    if (!f->greeted) { /* who is no client of LM Studio's says something else first */
        if (wire_count(m, "authVersion") < 0) {
            stop_reading(f, true);
            return;
        }
        f->greeted = true;
        f->told.reads(f->told.user, true);
    } else if (strcmp(type, "channelCreate") == 0) {
        channel_create(f, m);
    } else if (strcmp(type, "rpcCall") == 0) {
        call(f, m);
    }
}

/* ---- from the server ------------------------------------------------------------------------------------------------------ */

static void piece(struct frames *f, struct channel *c, const json_t *message, bool thinking)
{
    double tokens = wire_number(json_object_get(message, "fragment"), "tokensCount", 1);
    struct recognised *r = &c->r;
    if (!r->t_first_ns)
        r->t_first_ns = f->t_ns;
    if (!thinking && !r->t_answer_ns && c->g.thinking.len)
        r->t_answer_ns = f->t_ns;
    r->t_last_ns = f->t_ns;
    r->pieces++;
    f->told.piece(f->told.user, c->part, tokens > 0 ? tokens : 1, thinking, f->t_ns);
}

static void prediction(struct frames *f, struct channel *c, const json_t *message, const char *text, size_t n)
{
    const char *type = wire_string(message, "type");
    size_t thinking = c->g.thinking.len;
    double share = wire_number(message, "progress", 1);
    if (strcmp(type, "promptProcessingProgress") == 0 && share <= 1)
        f->told.progress(f->told.user, c->part, share, f->t_ns);
    engine_lmstudio_ws.event(&c->g, text, n, f->t_ns);
    bool thought = c->g.thinking.len > thinking;
    for (size_t i = 0; i < c->g.n_token_ns; i++)
        piece(f, c, message, thought);
    c->g.n_token_ns = 0;
    jl_buf_clear(&c->g.text);
    if (c->g.thinking.len)
        jl_buf_drop(&c->g.thinking, c->g.thinking.len - 1);
    if (c->g.done && c->g.tokens.prompt >= 0)
        f->told.prompt(f->told.user, c->part, (double)c->g.tokens.prompt, (double)c->g.tokens.prompt);
    const char *name = wire_string(json_object_get(message, "modelInfo"), "identifier");
    if (c->g.done && !c->r.model[0])
        wire_clean(c->r.model, sizeof c->r.model, name, strlen(name));
}

static void loading(struct frames *f, struct channel *c, const json_t *message)
{
    const char *type = wire_string(message, "type");
    learn_instance(f, json_object_get(message, "info"));
    if (strcmp(type, "startLoading") == 0 || strcmp(type, "loadProgress") == 0 || strcmp(type, "progress") == 0)
        tell_request(f, c);
    else if (strcmp(type, "alreadyLoaded") == 0 || strcmp(type, "loadSuccess") == 0 || strcmp(type, "success") == 0)
        c->g.done = true;
}

static void channel_says(struct frames *f, const json_t *m, const char *text, size_t n)
{
    struct channel *c = channel_at(f, false, wire_count(m, "channelId"));
    const char *type = wire_string(m, "type");
    const json_t *message = json_object_get(m, "message");
    if (!c)
        return;
    if (strcmp(type, "channelSend") == 0 && c->r.kind == RECOGNISED_INFERENCE)
        prediction(f, c, message, text, n);
    else if (strcmp(type, "channelSend") == 0)
        loading(f, c, message);
    else if (strcmp(type, "channelError") == 0)
        engine_lmstudio_ws.event(&c->g, text, n, f->t_ns);
    if (c->g.done || c->g.engine_error[0] || strcmp(type, "channelClose") == 0)
        end_channel(f, c, true);
}

static void call_answered(struct frames *f, const json_t *m, const char *text, size_t n)
{
    struct channel *c = channel_at(f, true, wire_count(m, "callId"));
    bool result = strcmp(wire_string(m, "type"), "rpcResult") == 0;
    if (result)
        learn_instance(f, json_object_get(m, "result"));
    if (!c)
        return;
    if (result)
        c->g.done = true;
    else
        engine_lmstudio_ws.event(&c->g, text, n, f->t_ns);
    end_channel(f, c, true);
}

/* ---- frames -------------------------------------------------------------------------------------------------------------- */

static bool on_message(struct frames *f, bool from_client_side, enum ws_kind kind, const char *text, size_t n)
{
    if (kind != WS_TEXT)
        return true;
    json_t *m = wire_object(text, n);
    const char *type = wire_string(m, "type");
    if (!m)
        stop_reading(f, !f->greeted);
    else if (from_client_side)
        from_client(f, m);
    else if (jl_starts(type, "channel"))
        channel_says(f, m, text, n);
    else if (jl_starts(type, "rpc"))
        call_answered(f, m, text, n);
    json_decref(m);
    return !f->foreign && !f->broken;
}

static bool on_up(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    return on_message(user, true, kind, bytes, n);
}

static bool on_down(void *user, enum ws_kind kind, const char *bytes, size_t n)
{
    return on_message(user, false, kind, bytes, n);
}

void frames_bytes(struct frames *f, bool from_client_side, const char *bytes, size_t n, int64_t t_ns)
{
    struct ws_reader *r = from_client_side ? &f->up : &f->down;
    if (f->foreign || f->broken || r->closed)
        return;
    f->t_ns = t_ns;
    ws_reader_bytes(r, bytes, n, from_client_side ? on_up : on_down, f);
    if (r->problem && !f->broken)
        stop_reading(f, !f->greeted);
}

/* ---- all of it ----------------------------------------------------------------------------------------------------------- */

struct frames *frames_open(const char *path, const struct frames_told *told)
{
    struct frames *f = calloc(1, sizeof *f);
    if (!f)
        return NULL;
    f->told = *told;
    f->calls = jl_starts(path, "/embedding") ? RECOGNISED_EMBEDDINGS : RECOGNISED_OTHER;
    ws_reader_init(&f->up, true, MESSAGE_MAX);
    ws_reader_init(&f->down, false, MESSAGE_MAX);
    return f;
}

void frames_end(struct frames *f, bool whole, int64_t t_ns)
{
    f->t_ns = t_ns;
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (f->channels[i].used)
            end_channel(f, &f->channels[i], whole && !f->broken);
}

bool frames_whole(const struct frames *f)
{
    return !f->broken;
}

void frames_close(struct frames *f)
{
    if (!f)
        return;
    for (size_t i = 0; i < CHANNELS_MAX; i++)
        if (f->channels[i].used)
            generated_release(&f->channels[i].g);
    ws_reader_release(&f->up);
    ws_reader_release(&f->down);
    free(f);
}
