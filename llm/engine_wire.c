/* engine_wire.c - foreign JSON, read with distrust: integers may overflow, members may have another type, text may hold anything.
 * The words are those of llama.cpp's and OpenAI's answers (docs/engines.md). */
#include "llm/engine_wire.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define COUNT_MAX  1e12 /* tokens; what is above is no count */
#define MODELS_MAX 10000

/* ---- members ---------------------------------------------------------------------------------------------------------- */

/* Integers are read as reals: a seed above 2^63 must not lose the answer. */
json_t *wire_object(const char *json, size_t n)
{
    json_error_t e;
    json_t *root = json_loadb(json, n, JSON_DECODE_INT_AS_REAL | JSON_ALLOW_NUL, &e);
    if (json_is_object(root))
        return root;
    json_decref(root);
    return NULL;
}

const char *wire_string(const json_t *object, const char *key)
{
    const char *s = json_string_value(json_object_get(object, key));
    return s ? s : "";
}

double wire_number(const json_t *object, const char *key, double scale)
{
    const json_t *v = json_object_get(object, key);
    double x = json_is_number(v) ? json_number_value(v) * scale : NAN;
    return x >= 0 && isfinite(x) ? x : NAN;
}

int64_t wire_count(const json_t *object, const char *key)
{
    double x = wire_number(object, key, 1);
    return x <= COUNT_MAX && x == floor(x) ? (int64_t)x : -1;
}

/* ---- errors ----------------------------------------------------------------------------------------------------------- */

void wire_clean(char *out, size_t size, const char *text, size_t n)
{
    size_t len = n < size - 1 ? n : size - 1;
    if (len < n) {
        while (len > 0 && ((unsigned char)text[len] & 0xC0) == 0x80)
            len--;
    }
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        bool c1 = c == 0xC2 && i + 1 < len && (unsigned char)text[i + 1] < 0xA0;
        out[i] = c < ' ' || c == 0x7f || c1 ? ' ' : text[i];
        if (c1)
            out[++i] = ' ';
    }
    out[len] = '\0';
}

/* The first error stays: what comes after it is its consequence. */
static bool set_error(struct generated *g, const char *words, const char *type)
{
    if (g->engine_error[0])
        return false;
    wire_clean(g->engine_error, sizeof(g->engine_error), words, strlen(words));
    wire_clean(g->error_type, sizeof(g->error_type), type, strlen(type));
    snprintf(g->finish, sizeof(g->finish), "error");
    return true;
}

void wire_malformed(struct generated *g, const char *fmt, ...)
{
    char text[sizeof(g->engine_error)];
    va_list ap;
    va_start(ap, fmt);
    vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    set_error(g, text, WIRE_MALFORMED);
}

/* What is not JSON is quoted in ASCII: its bytes may be anything. */
static void fail_not_json(struct generated *g, const char *bytes, size_t n)
{
    char head[61];
    size_t i;
    for (i = 0; i < n && i < sizeof(head) - 1; i++) {
        unsigned char c = (unsigned char)bytes[i];
        head[i] = (char)(c == '"' ? '\'' : c < ' ' ? ' ' : c < 0x7f ? c : '?');
    }
    head[i] = '\0';
    wire_malformed(g, "not a JSON object but \"%s%s\"", head, n > i ? "..." : "");
}

json_t *wire_parse(struct generated *g, const char *json, size_t n)
{
    json_t *root = wire_object(json, n);
    if (!root)
        fail_not_json(g, json, n);
    return root;
}

static void keep_error(struct generated *g, const json_t *words, const json_t *details)
{
    char clean[sizeof(g->engine_error)];
    wire_clean(clean, sizeof(clean), json_string_value(words), json_string_length(words));
    if (!set_error(g, clean[0] ? clean : "an error without words", wire_string(details, "type")))
        return;
    g->error_prompt_tokens = wire_count(details, "n_prompt_tokens");
    g->error_context = wire_count(details, "n_ctx");
}

/* {"error":{"message"}}, {"error":"text"}, {"object":"error","message"} (older vLLM), {"detail":"text"} (FastAPI). */
bool wire_error(struct generated *g, const json_t *root)
{
    const json_t *error = json_object_get(root, "error"), *message = json_object_get(root, "message");
    if (json_is_object(error)) {
        const json_t *words = json_object_get(error, "message");
        char *all = json_is_string(words) ? NULL : json_dumps(error, JSON_COMPACT | JSON_REAL_PRECISION(15));
        json_t *quoted = all ? json_string(all) : NULL;
        keep_error(g, quoted ? quoted : words, error);
        json_decref(quoted);
        free(all);
    } else if (json_is_string(error)) {
        keep_error(g, error, root);
        const char *kind = wire_string(root, "error_type"); /* TGI */
        if (kind[0] && !g->error_type[0])
            wire_clean(g->error_type, sizeof(g->error_type), kind, strlen(kind));
    } else if (json_is_string(message) && strcmp(wire_string(root, "object"), "error") == 0) {
        keep_error(g, message, root);
    } else if (json_is_string(json_object_get(root, "detail")) && json_object_size(root) == 1) {
        keep_error(g, json_object_get(root, "detail"), root);
    } else {
        return false;
    }
    return true;
}

void wire_error_text(struct generated *g, const char *json, size_t n)
{
    json_t *root = wire_object(json, n);
    char clean[sizeof(g->engine_error)];
    if (root && wire_error(g, root)) {
        json_decref(root);
        return;
    }
    if (root && json_is_string(json_object_get(root, "message"))) {
        keep_error(g, json_object_get(root, "message"), root);
    } else {
        wire_clean(clean, sizeof(clean), json, n);
        set_error(g, clean[0] ? clean : "an error without words", "");
    }
    json_decref(root);
}

/* ---- answers ---------------------------------------------------------------------------------------------------------- */

void wire_arrival(struct generated *g, int64_t t_ns)
{
    if (!g->t_first_ns)
        g->t_first_ns = t_ns;
    g->t_last_ns = t_ns;
    if (g->n_token_ns == g->cap_token_ns) {
        size_t cap = g->cap_token_ns ? g->cap_token_ns * 2 : 256;
        int64_t *longer = cap <= (size_t)1 << 24 ? realloc(g->token_ns, cap * sizeof(*longer)) : NULL;
        if (!longer) {
            wire_malformed(g, "more pieces of text than can be kept (%zu)", g->n_token_ns);
            return;
        }
        g->token_ns = longer;
        g->cap_token_ns = cap;
    }
    g->token_ns[g->n_token_ns++] = t_ns;
}

/* Where thinking turns into the answer: the engine says which is which, or the model writes its own marks into the text. */
static void note_turn(struct generated *g, bool thinking, size_t before, int64_t t_ns)
{
    static const char begin[] = "<think>", end[] = "</think>";
    size_t from = before > sizeof end ? before - sizeof end : 0;
    if (thinking || g->t_answer_ns || !t_ns || g->text.failed)
        return;
    if (g->thinking.len)
        g->t_answer_ns = t_ns;
    else if (g->text.data && jl_starts(g->text.data + strspn(g->text.data, " \r\n"), begin) && strstr(g->text.data + from, end))
        g->t_answer_ns = t_ns;
}

void wire_text(struct generated *g, const json_t *text, bool thinking, int64_t t_ns)
{
    struct jl_buf *b = thinking ? &g->thinking : &g->text;
    size_t before = b->len;
    if (!json_is_string(text) || json_string_length(text) == 0)
        return;
    if (!jl_buf_add(b, json_string_value(text), json_string_length(text)))
        wire_malformed(g, "a longer answer than can be kept (%zu bytes)", b->len);
    if (t_ns)
        wire_arrival(g, t_ns);
    note_turn(g, thinking, before, t_ns);
}

void wire_finish(struct generated *g, const char *word)
{
    static const struct {
        const char *theirs, *ours;
    } words[] = {
        {"eos", "stop"},
        {"word", "stop"},
        {"limit", "length"},
        {"eos_token", "stop"},
        {"stop_sequence", "stop"},
        {"none", ""},
        {"tool_calls", "tool"},
        {"function_call", "tool"},
        /* Anthropic */
        {"end_turn", "stop"},
        {"max_tokens", "length"},
        {"model_context_window_exceeded", "length"},
        {"tool_use", "tool"},
        /* LM Studio */
        {"eosFound", "stop"},
        {"stopStringFound", "stop"},
        {"maxPredictedTokensReached", "length"},
        {"contextLengthReached", "length"},
        {"toolCalls", "tool"},
        {"userStopped", "cancelled"},
        /* OpenAI's responses */
        {"max_output_tokens", "length"},
        {"completed", "stop"},
    };
    for (size_t i = 0; i < JL_COUNT(words); i++) {
        if (strcmp(word, words[i].theirs) == 0)
            word = words[i].ours;
    }
    if (word[0] && !g->engine_error[0])
        wire_clean(g->finish, sizeof(g->finish), word, strlen(word));
}

/* A call may come in pieces: only its first has a name. */
static size_t new_tool_calls(const json_t *list)
{
    size_t i, n = 0;
    json_t *call;
    json_array_foreach(list, i, call) n += wire_string(json_object_get(call, "function"), "name")[0] != '\0';
    return n;
}

void wire_tool_calls(struct generated *g, const json_t *piece, int64_t t_ns)
{
    const json_t *list = json_object_get(piece, "tool_calls");
    if (json_array_size(list) == 0)
        return;
    g->tool_calls += new_tool_calls(list);
    if (t_ns)
        wire_arrival(g, t_ns);
}

/* The first choice only: `usage` and `timings` cover one choice too. */
void wire_choices(struct generated *g, const json_t *root, int64_t t_ns)
{
    size_t i;
    json_t *choice;
    json_array_foreach(json_object_get(root, "choices"), i, choice)
    {
        int64_t index = wire_count(choice, "index");
        if (index > 0)
            continue;
        const json_t *delta = json_object_get(choice, "delta"), *message = json_object_get(choice, "message");
        const json_t *piece = json_is_object(delta) ? delta : message;
        const json_t *thought = json_object_get(piece, "reasoning_content");
        wire_text(g, json_is_string(thought) ? thought : json_object_get(piece, "reasoning"), true, t_ns);
        wire_text(g, json_object_get(piece, "content"), false, t_ns);
        wire_text(g, json_object_get(choice, "text"), false, t_ns);
        wire_tool_calls(g, piece, t_ns);
        wire_finish(g, wire_string(choice, "finish_reason"));
    }
}

static void keep_count(int64_t *slot, int64_t count)
{
    if (count >= 0)
        *slot = count;
}

void wire_usage(struct generated *g, const json_t *root)
{
    const json_t *u = json_object_get(root, "usage");
    keep_count(&g->tokens.prompt, wire_count(u, "prompt_tokens"));
    keep_count(&g->tokens.generated, wire_count(u, "completion_tokens"));
    keep_count(&g->tokens.cached, wire_count(json_object_get(u, "prompt_tokens_details"), "cached_tokens"));
    keep_count(&g->tokens.reasoning, wire_count(u, "reasoning_tokens"));
    keep_count(&g->tokens.reasoning, wire_count(json_object_get(u, "completion_tokens_details"), "reasoning_tokens"));
    if (g->tokens.prompt >= 0 && g->tokens.cached >= 0 && g->tokens.cached <= g->tokens.prompt && g->processed_tokens < 0)
        g->processed_tokens = g->tokens.prompt - g->tokens.cached;
}

/* Rates are not read: what they divide by has changed between builds. Builds of early 2025 have no `cache_n`; then the whole
 * prompt is what the answer says elsewhere. */
void wire_timings(struct generated *g, const json_t *root)
{
    const json_t *t = json_object_get(root, "timings");
    int64_t cached = wire_count(t, "cache_n"), processed = wire_count(t, "prompt_n");
    if (!json_is_object(t))
        return;
    keep_count(&g->tokens.cached, cached);
    keep_count(&g->processed_tokens, processed);
    if (cached >= 0 && processed >= 0)
        g->tokens.prompt = cached + processed;
    else if (g->tokens.prompt < 0)
        g->tokens.prompt = processed;
    keep_count(&g->tokens.generated, wire_count(t, "predicted_n"));
    keep_count(&g->draft_tokens, wire_count(t, "draft_n"));
    keep_count(&g->draft_accepted, wire_count(t, "draft_n_accepted"));
    g->server_prompt_s = wire_number(t, "prompt_ms", 1e-3);
    g->server_decode_s = wire_number(t, "predicted_ms", 1e-3);
}

/* ---- models ----------------------------------------------------------------------------------------------------------- */

void engine_model_init(struct engine_model *m)
{
    *m = (struct engine_model){
        .bytes = -1, .params = -1, .context_length = -1, .loaded_context = -1, .loaded_bytes = -1, .gpu_bytes = -1};
}

static void read_model(const json_t *item, struct engine_model *m)
{
    engine_model_init(m);
    const json_t *meta = json_object_get(item, "meta"), *status = json_object_get(item, "status");
    const char *id = wire_string(item, "id"), *state = wire_string(status, "value");
    wire_clean(m->name, sizeof(m->name), id, strlen(id));
    m->bytes = wire_count(meta, "size");
    m->params = wire_count(meta, "n_params");
    const char *format = wire_string(meta, "ftype");
    wire_clean(m->quantisation, sizeof(m->quantisation), format, strlen(format));
    m->loaded_context = wire_count(meta, "n_ctx");
    if (m->loaded_context < 0)
        m->loaded_context = wire_count(item, "max_model_len");
    m->context_length = wire_count(meta, "n_ctx_train");
    if (m->context_length < 0)
        m->context_length = m->loaded_context;
    m->loaded = !state[0] || strcmp(state, "loaded") == 0; /* only llama.cpp's router tells; others list what they serve */
}

enum joulet_status wire_list(const char *json, size_t n, const char *key, wire_reader *read, struct engine_model **out,
                             size_t *count, struct joulet_error *err)
{
    json_t *root = wire_object(json, n), *data = json_object_get(root, key), *item;
    enum joulet_status status = JOULET_OK;
    size_t i, size = json_array_size(data);
    *out = NULL;
    *count = 0;
    if (!json_is_array(data) || size > MODELS_MAX) {
        status = jl_fail(err, JOULET_FORMAT, "the engine's list of models is not in the known form");
    } else if (size && !(*out = calloc(size, sizeof(**out)))) {
        status = jl_fail(err, JOULET_MEMORY, "out of memory for %zu models", size);
    } else {
        jl_ok(err);
        json_array_foreach(data, i, item)
        {
            read(item, &(*out)[*count]);
            *count += (*out)[*count].name[0] != '\0';
        }
    }
    json_decref(root);
    return status;
}

enum joulet_status wire_models(const char *json, size_t n, struct engine_model **out, size_t *count, struct joulet_error *err)
{
    return wire_list(json, n, "data", read_model, out, count, err);
}
