/* recognise.c - the bytes of an exchange, read after they went on. What is asked is known by the path and a few members of the
 * request; what is answered by the readers of the protocols (llm/engines), which are asked only for events that hold more than a
 * piece of text: most of a stream is looked at for some words and not parsed. */
#include "server/recognise_private.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define BODY_MAX    ((size_t)8 << 20)
#define TEXT_KEPT   ((size_t)64 << 10) /* of an answer: how its marks turn into the answer is seen by then */
#define REQUEST_MAX ((size_t)1 << 20)
#define BINARY_KEPT ((size_t)4096) /* of sound and pictures: their head */

const char *recognised_kind_name(enum recognised_kind k)
{
    static const char *const names[] = {"other", "inference", "embeddings", "image", "audio", "rerank", "load", "tunnel"};
    return (size_t)k < JL_COUNT(names) ? names[k] : NULL;
}

const char *recognised_source_name(enum recognised_source s)
{
    static const char *const names[] = {"timings", "usage", "counted", "unknown"};
    return (size_t)s < JL_COUNT(names) ? names[s] : NULL;
}

/* ---- by the path ----------------------------------------------------------------------------------------------------- */

struct route {
    const char *path; /* its end, from a slash on; a whole one where it begins with "^" */
    enum recognised_kind kind;
    const struct engine_ops *ops;
};

static const struct route routes[] = {
    {"/api/generate", RECOGNISED_INFERENCE, &engine_ollama},
    {"/api/chat", RECOGNISED_INFERENCE, &engine_ollama},
    {"/api/embed", RECOGNISED_EMBEDDINGS, &engine_ollama},
    {"/api/embeddings", RECOGNISED_EMBEDDINGS, &engine_ollama},
    {"/api/v1/chat", RECOGNISED_INFERENCE, &engine_lmstudio},
    {"/api/v0/chat/completions", RECOGNISED_INFERENCE, &engine_lmstudio},
    {"/api/v0/completions", RECOGNISED_INFERENCE, &engine_lmstudio},
    {"/api/v0/embeddings", RECOGNISED_EMBEDDINGS, &engine_lmstudio},
    {"/v1/messages", RECOGNISED_INFERENCE, &engine_anthropic},
    {"/v1/responses", RECOGNISED_INFERENCE, &engine_responses},
    {"/responses", RECOGNISED_INFERENCE, &engine_responses},
    {"/chat/completions", RECOGNISED_INFERENCE, &engine_openai},
    {"/v1/completions", RECOGNISED_INFERENCE, &engine_openai},
    {"/completion", RECOGNISED_INFERENCE, &engine_llamacpp},
    {"/completions", RECOGNISED_INFERENCE, &engine_llamacpp},
    {"/infill", RECOGNISED_INFERENCE, &engine_llamacpp},
    {"/generate_stream", RECOGNISED_INFERENCE, &engine_native},
    {"/generate", RECOGNISED_INFERENCE, &engine_native},
    {"^/", RECOGNISED_INFERENCE, &engine_native}, /* TGI */
    {"/v1/embeddings", RECOGNISED_EMBEDDINGS, &engine_openai},
    {"/embeddings", RECOGNISED_EMBEDDINGS, &engine_openai},
    {"/embedding", RECOGNISED_EMBEDDINGS, &engine_llamacpp},
    {"/embed", RECOGNISED_EMBEDDINGS, &engine_native},
    {"/pooling", RECOGNISED_EMBEDDINGS, &engine_openai},
    {"/rerank", RECOGNISED_RERANK, &engine_openai},
    {"/reranking", RECOGNISED_RERANK, &engine_openai},
    {"/score", RECOGNISED_RERANK, &engine_openai},
    {"/images/generations", RECOGNISED_IMAGE, &engine_openai},
    {"/images/edits", RECOGNISED_IMAGE, &engine_openai},
    {"/images/variations", RECOGNISED_IMAGE, &engine_openai},
    {"/sdapi/v1/txt2img", RECOGNISED_IMAGE, &engine_openai},
    {"/sdapi/v1/img2img", RECOGNISED_IMAGE, &engine_openai},
    {"/audio/speech", RECOGNISED_AUDIO, &engine_openai},
    {"/audio/transcriptions", RECOGNISED_AUDIO, &engine_openai},
    {"/audio/translations", RECOGNISED_AUDIO, &engine_openai},
    {"^/inference", RECOGNISED_AUDIO, &engine_openai}, /* whisper.cpp */
};

static const struct route *route_of(const char *method, const char *path)
{
    size_t n = strcspn(path, "?#");
    while (n > 1 && path[n - 1] == '/')
        n--;
    for (size_t i = 0; i < JL_COUNT(routes) && strcmp(method, "POST") == 0; i++) {
        const char *end = routes[i].path;
        bool all = end[0] == '^';
        size_t m = strlen(end) - all;
        if (n >= m && (!all || n == m) && memcmp(path + n - m, end + all, m) == 0)
            return &routes[i];
    }
    return NULL;
}

enum recognised_kind recognise_path(const char *method, const char *path)
{
    const struct route *route = route_of(method, path);
    return route ? route->kind : RECOGNISED_OTHER;
}

bool recognise_takes_usage(const char *method, const char *path)
{
    const struct route *route = route_of(method, path);
    return route && route->kind == RECOGNISED_INFERENCE && route->ops == &engine_openai;
}

void recognised_init(struct recognised *r, const char *method, const char *path)
{
    const struct route *route = route_of(method, path);
    *r = (struct recognised){.kind = route ? route->kind : RECOGNISED_OTHER,
                             .protocol = route ? route->ops->name : "",
                             .prompt_bytes = -1,
                             .audio_s = NAN,
                             .tokens = {-1, -1, -1, -1},
                             .computed = -1,
                             .prompt_source = RECOGNISED_UNKNOWN,
                             .generated_source = RECOGNISED_UNKNOWN,
                             .server_prompt_s = NAN,
                             .server_decode_s = NAN,
                             .server_load_s = NAN,
                             .server_queue_s = NAN};
}

const char *recognise_protocol(const char *name)
{
    if (strcmp(engine_lmstudio_ws.name, name) == 0)
        return engine_lmstudio_ws.name;
    for (size_t i = 0; i < JL_COUNT(routes); i++)
        if (strcmp(routes[i].ops->name, name) == 0)
            return routes[i].ops->name;
    return "";
}

/* ---- the answer's events --------------------------------------------------------------------------------------------- */

/* The model writes its own marks around what it thinks; Go's encoder hides the brackets. */
static bool has_mark(const char *bytes, size_t n, const char *mark, const char *hidden)
{
    return memmem(bytes, n, mark, strlen(mark)) || memmem(bytes, n, hidden, strlen(hidden));
}

static void one_piece(struct recogniser *r, double tokens, bool thinking, int64_t t_ns)
{
    struct recognised *x = &r->result;
    if (!x->t_first_ns)
        x->t_first_ns = t_ns;
    if (thinking)
        r->thought = true;
    else if (r->thought && !x->t_answer_ns)
        x->t_answer_ns = t_ns;
    x->t_last_ns = t_ns;
    x->pieces++;
    if (r->events.piece)
        r->events.piece(r->events.user, tokens, thinking, t_ns);
}

static void piece_of_text(struct recogniser *r, const char *bytes, size_t n, double tokens, bool thinking)
{
    if (r->result.pieces == 0 && !thinking)
        r->in_marks = has_mark(bytes, n, "<think>", "\\u003cthink\\u003e");
    bool inside = r->in_marks;
    if (inside && has_mark(bytes, n, "</think>", "\\u003c/think\\u003e"))
        r->in_marks = false;
    one_piece(r, tokens, thinking || inside, r->t_ns);
}

/* What the reader of the protocol found; its lists begin anew, so that they stay short. */
static void harvest(struct recogniser *r, const char *bytes, size_t n, int64_t made_before, size_t thinking_before)
{
    struct generated *g = &r->g;
    int64_t made = g->tokens.generated;
    double more = made_before >= 0 && made > made_before ? (double)(made - made_before) : 1;
    bool thinking = g->thinking.len > thinking_before;
    for (size_t i = 0; i < g->n_token_ns; i++)
        piece_of_text(r, bytes, n, i + 1 == g->n_token_ns ? more : 1, thinking);
    g->n_token_ns = 0;
    if (g->text.len > TEXT_KEPT)
        jl_buf_clear(&g->text);
    if (g->thinking.len > TEXT_KEPT)
        jl_buf_drop(&g->thinking, g->thinking.len - 1);
}

/* Further answers to the same prompt are decoded as well; the readers follow the first. */
static void other_choices(struct recogniser *r, const char *bytes, size_t n)
{
    static const char *const texts[] = {"content", "reasoning_content", "reasoning", "refusal"};
    size_t i;
    json_t *choice, *root;
    if (r->ops->event != engine_openai.event || !memmem(bytes, n, "\"index\"", 7) || !(root = wire_object(bytes, n)))
        return;
    json_array_foreach(json_object_get(root, "choices"), i, choice)
    {
        const json_t *delta = json_object_get(choice, "delta");
        bool text = wire_string(choice, "text")[0] || json_array_size(json_object_get(delta, "tool_calls"));
        if (wire_count(choice, "index") <= 0)
            continue;
        for (size_t k = 0; k < JL_COUNT(texts); k++)
            text = text || wire_string(delta, texts[k])[0];
        if (text) {
            r->others = true;
            one_piece(r, 1, false, r->t_ns);
        }
    }
    json_decref(root);
}

static void progress(struct recogniser *r, const char *bytes, size_t n)
{
    if (!memmem(bytes, n, "\"prompt_progress\"", 17) || !r->events.progress)
        return;
    json_t *root = wire_object(bytes, n);
    const json_t *p = json_object_get(root, "prompt_progress");
    int64_t done = wire_count(p, "processed"), cached = wire_count(p, "cache");
    if (done > 0 && cached <= done)
        r->events.progress(r->events.user, (double)(done - (cached > 0 ? cached : 0)), r->t_ns);
    json_decref(root);
}

static void tell_prompt(struct recogniser *r)
{
    const struct generated *g = &r->g;
    int64_t all = g->tokens.prompt, computed = g->processed_tokens;
    if (computed < 0 || computed > all)
        computed = g->tokens.cached > 0 && g->tokens.cached <= all ? all - g->tokens.cached : all;
    if (all < 0 || computed == r->told || !r->events.prompt)
        return;
    r->told = computed;
    r->events.prompt(r->events.user, (double)computed, (double)all);
}

static bool over(const struct recogniser *r)
{
    return r->g.done || r->g.engine_error[0];
}

static void read_event(struct recogniser *r, const char *bytes, size_t n, int64_t t_ns)
{
    int64_t made = r->g.tokens.generated;
    size_t thinking = r->g.thinking.len;
    r->ops->event(&r->g, bytes, n, t_ns);
    progress(r, bytes, n);
    tell_prompt(r);
    harvest(r, bytes, n, made, thinking);
    other_choices(r, bytes, n);
}

/* Who asks for no model by name is answered by the one that is there. Some events have it one level down. */
static void name_of_answer(struct recogniser *r, const char *bytes, size_t n)
{
    static const char *const inside[] = {"message", "response"};
    struct recognised *x = &r->result;
    json_t *root = !x->model[0] && !r->nameless && memmem(bytes, n, "\"model\"", 7) ? wire_object(bytes, n) : NULL;
    if (!root)
        return;
    const char *model = wire_string(root, "model");
    for (size_t i = 0; i < JL_COUNT(inside) && !*model; i++)
        model = wire_string(json_object_get(root, inside[i]), "model");
    wire_clean(x->model, sizeof x->model, model, strlen(model));
    r->nameless = !x->model[0];
    json_decref(root);
}

static void on_event(void *user, enum frame_kind kind, const char *bytes, size_t n)
{
    struct recogniser *r = user;
    bool thinking = false;
    if (over(r) || n == 0)
        return;
    name_of_answer(r, bytes, n);
    if (kind == FRAME_ERROR) {
        wire_error_text(&r->g, bytes, n);
    } else if (n == 6 && memcmp(bytes, "[DONE]", 6) == 0) {
        r->g.done = true;
    } else if (kind == FRAME_TAIL && !json_is_whole(bytes, n)) {
        return; /* half an event is a cut stream, not a wrong one */
    } else if (r->result.kind != RECOGNISED_INFERENCE) {
        read_one_thing(r, bytes, n, true);
    } else {
        switch (r->only_text ? look_at_event(bytes, n, &thinking) : EVENT_MORE) {
        case EVENT_TEXT:
            if (thinking && r->g.thinking.len == 0) /* the readers ask whether it thought */
                jl_buf_add(&r->g.thinking, "", 1);
            piece_of_text(r, bytes, n, 1, thinking);
            break;
        case EVENT_NOTHING:
            break;
        case EVENT_MORE:
            read_event(r, bytes, n, r->t_ns);
        }
    }
}

/* ---- whole answers --------------------------------------------------------------------------------------------------- */

static void read_whole(struct recogniser *r)
{
    const char *bytes = r->body.data;
    size_t n = r->body.len;
    if (!n || r->body.failed || over(r)) {
        r->g.done |= r->body.failed && r->result.kind != RECOGNISED_INFERENCE && r->result.status < 400; /* long pictures */
        return;
    }
    name_of_answer(r, bytes, n);
    if (r->result.kind == RECOGNISED_INFERENCE) {
        r->ops->event(&r->g, bytes, n, 0); /* 0: when it came says nothing about tokens */
        r->g.n_token_ns = 0;
        if (r->ops->event == engine_openai.event)
            read_choices(r, bytes, n);
    } else if (bytes[0] == '{') {
        read_one_thing(r, bytes, n, false);
    } else {
        read_other_thing(r, bytes, n);
    }
}

/* ---- making ---------------------------------------------------------------------------------------------------------- */

struct recogniser *recogniser_open(const char *method, const char *path, const struct recognise_events *events)
{
    struct recogniser *r = calloc(1, sizeof *r);
    const struct route *route = route_of(method, path);
    if (!r)
        return NULL;
    if (events)
        r->events = *events;
    if (route)
        r->own = *route->ops;
    r->ops = route ? &r->own : NULL;
    r->only_text = route && (route->ops == &engine_openai || route->ops == &engine_ollama || route->ops == &engine_llamacpp);
    generated_init(&r->g);
    r->told = -1;
    recognised_init(&r->result, method, path);
    jl_buf_init(&r->request, REQUEST_MAX);
    jl_buf_init(&r->body, BODY_MAX);
    framing_init(&r->framing, route ? route->ops->framing : ENGINE_SSE, on_event, r);
    return r;
}

void recogniser_close(struct recogniser *r)
{
    if (!r)
        return;
    jl_buf_release(&r->request);
    jl_buf_release(&r->body);
    framing_release(&r->framing);
    generated_release(&r->g);
    free(r);
}

const struct recognised *recogniser_result(const struct recogniser *r)
{
    return &r->result;
}

/* ---- as it passes ---------------------------------------------------------------------------------------------------- */

void recogniser_request(struct recogniser *r, const char *bytes, size_t n)
{
    size_t room = REQUEST_MAX - r->request.len;
    if (r->ops)
        jl_buf_add(&r->request, bytes, n < room ? n : room);
    r->request_cut |= n > room;
}

void recogniser_request_end(struct recogniser *r, bool whole)
{
    if (!r->ops)
        return;
    read_request(&r->result, r->request.data ? r->request.data : "", r->request.len, whole && !r->request_cut);
    jl_buf_release(&r->request);
    jl_buf_init(&r->request, REQUEST_MAX);
    if (r->events.request)
        r->events.request(r->events.user, &r->result);
}

static void read_header(struct recogniser *r, const char *name, const char *value)
{
    double x;
    if (strcasecmp(name, "content-type") == 0) {
        bool sse = strncasecmp(value, "text/event-stream", 17) == 0, lines = strncasecmp(value, "application/x-ndjson", 20) == 0;
        r->result.streams = sse || lines;
        if (r->result.streams)
            r->framing.how = sse ? ENGINE_SSE : ENGINE_LINES;
        r->binary = strncasecmp(value, "audio/", 6) == 0 || strncasecmp(value, "image/", 6) == 0 ||
                    strncasecmp(value, "application/octet-stream", 24) == 0;
    } else if (strncasecmp(name, "x-", 2) == 0 && jl_parse_double(value, &x) && x >= 0 && x < 1e12) { /* TGI */
        if (strcasecmp(name, "x-prompt-tokens") == 0)
            r->g.tokens.prompt = (int64_t)x;
        else if (strcasecmp(name, "x-generated-tokens") == 0)
            r->g.tokens.generated = (int64_t)x;
        else if (strcasecmp(name, "x-queue-time") == 0)
            r->g.server_queue_s = x * 1e-3;
    }
}

void recogniser_head(struct recogniser *r, int status, const struct net_header *headers, size_t n)
{
    r->result.status = status;
    for (size_t i = 0; i < n && r->ops; i++)
        read_header(r, headers[i].name, headers[i].value);
}

void recogniser_chunk(struct recogniser *r, const char *bytes, size_t n, int64_t t_ns)
{
    if (!r->ops)
        return;
    r->t_ns = t_ns;
    r->body_n += n;
    if (r->result.streams)
        framing_bytes(&r->framing, bytes, n);
    else if (!r->binary)
        jl_buf_add(&r->body, bytes, n);
    else if (r->body.len < BINARY_KEPT)
        jl_buf_add(&r->body, bytes, n < BINARY_KEPT - r->body.len ? n : BINARY_KEPT - r->body.len);
}

/* Counts of ours for those that nobody told. */
static void judge_tokens(struct recogniser *r)
{
    struct recognised *x = &r->result;
    enum recognised_source told =
        isnan(r->g.server_decode_s) && isnan(r->g.server_prompt_s) ? RECOGNISED_USAGE : RECOGNISED_TIMINGS;
    x->tokens = r->g.tokens;
    x->computed = r->g.processed_tokens;
    x->prompt_source = x->tokens.prompt >= 0 ? told : RECOGNISED_UNKNOWN;
    x->generated_source = x->tokens.generated >= 0 ? told : RECOGNISED_UNKNOWN;
    bool one_of_many = r->others && x->tokens.generated >= 0 && x->tokens.generated < (int64_t)x->pieces; /* llama.cpp */
    if ((x->tokens.generated < 0 || one_of_many) && x->streams && x->kind == RECOGNISED_INFERENCE) {
        x->tokens.generated = (int64_t)x->pieces;
        x->generated_source = RECOGNISED_COUNTED;
    }
    if (r->scaled && x->tokens.generated >= 0)
        x->generated_source = RECOGNISED_COUNTED;
}

void recogniser_end(struct recogniser *r, bool whole, int64_t t_ns)
{
    struct recognised *x = &r->result;
    const struct generated *g = &r->g;
    x->whole = whole && !r->framing.overflow && !r->body.failed;
    if (!r->ops)
        return;
    r->t_ns = t_ns;
    if (x->streams)
        framing_end(&r->framing);
    else
        read_whole(r);
    tell_prompt(r);
    judge_tokens(r);
    x->server_prompt_s = g->server_prompt_s;
    x->server_decode_s = g->server_decode_s;
    x->server_load_s = g->server_load_s;
    x->server_queue_s = g->server_queue_s;
    x->done = g->done;
    x->remote = strcmp(g->error_type, WIRE_REMOTE) == 0;
    snprintf(x->finish, sizeof x->finish, "%s", g->finish);
    snprintf(x->error, sizeof x->error, "%s", g->engine_error);
    if (!x->error[0] && x->status >= 400)
        snprintf(x->error, sizeof x->error, "HTTP status %d", x->status);
}
