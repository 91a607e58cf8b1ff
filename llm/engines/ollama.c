/* ollama.c - Ollama by its own API: chats go to /api/chat, raw text to /api/generate, both as one JSON object a line. Its last
 * line tells counts and the durations of load, prompt and decode in nanoseconds (docs/engines.md, "Ollama"). Its models are in
 * ollama_models.c. */
#include "llm/engines/ollama_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- asking -------------------------------------------------------------------------------------------------------------- */

/* Ollama passes over what it does not know without a word: a typing error would measure something else. What joulet has an
 * option of its own for is not in the list. */
static bool is_setting(const char *key)
{
    static const char known[] = "num_ctx,num_batch,num_gpu,main_gpu,use_mmap,num_thread,num_keep,repeat_last_n,presence_penalty,"
                                "frequency_penalty,typical_p,draft_num_predict";
    return jl_word_in(known, ',', key);
}

static bool is_member(const char *key)
{
    return jl_word_in("format,truncate,shift,logprobs,top_logprobs,suffix,template,images", ',', key);
}

/* The settings of the model among --engine-option move into `options`, members of the request stay beside it. */
static enum joulet_status put_options(json_t *root, json_t *options, const struct generation *q, struct joulet_error *err)
{
    json_t *all = json_object(), *value;
    const char *key;
    enum joulet_status status = body_options(all, q, err);
    json_object_foreach(all, key, value)
    {
        if (status != JOULET_OK)
            break;
        if (is_setting(key) || is_member(key))
            json_object_set(is_setting(key) ? options : root, key, value);
        else
            status = jl_fail(err, JOULET_USAGE,
                             "the engine option %.60s is none of Ollama's, which would pass over it without a word: it knows "
                             "num_ctx, num_gpu, num_thread, num_batch, format and others (docs/engines.md)",
                             key);
    }
    json_decref(all);
    return status;
}

static void put_sampling(json_t *options, const struct generation *q)
{
    body_count(options, "num_predict", q->max_tokens);
    body_count(options, "num_ctx", q->context_length);
    body_count(options, "seed", q->seed);
    body_count(options, "top_k", q->top_k);
    body_number(options, "temperature", q->temperature);
    body_number(options, "top_p", q->top_p);
    body_number(options, "min_p", q->min_p);
    body_number(options, "repeat_penalty", q->repeat_penalty);
}

static enum joulet_status put_thinking(json_t *root, const struct generation *q, struct joulet_error *err)
{
    if (q->thinking_budget > 0)
        return jl_fail(err, JOULET_USAGE,
                       "Ollama limits thinking by no number of tokens: leave --think-budget out, or give --think low");
    if (q->thinking >= THINKING_LOW)
        json_object_set_new(root, "think", json_string(thinking_name(q->thinking)));
    else if (q->thinking != THINKING_DEFAULT)
        json_object_set_new(root, "think", json_boolean(q->thinking == THINKING_ON));
    return JOULET_OK;
}

void ollama_put_keep_alive(json_t *root, const char *keep_alive)
{
    double s;
    if (keep_alive && engine_keep_alive(keep_alive, &s))
        json_object_set_new(root, "keep_alive", isinf(s) ? json_integer(-1) : json_real(s));
}

static enum joulet_status put_prompt(json_t *root, const struct generation *q, struct joulet_error *err)
{
    if (!q->raw)
        return body_messages(root, q, err);
    json_object_set_new(root, "raw", json_true());
    return body_string(root, "prompt", q->prompt, err);
}

/* Settings of the runner must be the same in every request, or Ollama loads the model again. */
enum joulet_status ollama_put_settings(json_t *root, const struct generation *q, struct joulet_error *err)
{
    json_t *options = json_object();
    json_object_set_new(root, "options", options);
    put_sampling(options, q);
    ollama_put_keep_alive(root, q->keep_alive);
    enum joulet_status status = body_stop(options, q, err);
    return status == JOULET_OK ? put_options(root, options, q, err) : status;
}

static enum joulet_status request(const struct engine *e, const struct generation *q, const char **path, struct jl_buf *body,
                                  struct joulet_error *err)
{
    const char *model = q->model ? q->model : e->info.model;
    if (!*model)
        return jl_fail(err, JOULET_ENGINE, "no model is loaded at %s and none is given: choose one with -m", e->url);
    json_t *root = json_object();
    *path = q->raw ? "/api/generate" : "/api/chat";
    enum joulet_status status = body_string(root, "model", model, err);
    json_object_set_new(root, "stream", json_true());
    json_object_set_new(root, "truncate", json_false()); /* else a long prompt is cut without a word */
    if (status != JOULET_OK || (status = put_prompt(root, q, err)) != JOULET_OK ||
        (status = put_thinking(root, q, err)) != JOULET_OK || (status = body_tools(root, q, err)) != JOULET_OK ||
        (status = ollama_put_settings(root, q, err)) != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return body_finish(root, body, err);
}

/* ---- answers --------------------------------------------------------------------------------------------------------------- */

/* The runner's error arrives as JSON text inside the string. */
static bool nested_error(struct generated *g, const json_t *root)
{
    const json_t *error = json_object_get(root, "error");
    const char *text = json_string_value(error);
    json_t *inner = text && text[0] == '{' ? wire_object(text, json_string_length(error)) : NULL;
    bool is = inner && wire_error(g, inner);
    json_decref(inner);
    return is;
}

/* A model of the cloud: what it draws is drawn elsewhere. */
static bool is_remote(struct generated *g, const json_t *root)
{
    const char *host = wire_string(root, "remote_host"), *model = wire_string(root, "remote_model");
    if (!*host && !*model)
        return false;
    wire_clean(g->engine_error, sizeof(g->engine_error), *host ? host : model, strlen(*host ? host : model));
    snprintf(g->error_type, sizeof(g->error_type), WIRE_REMOTE);
    snprintf(g->finish, sizeof(g->finish), "error");
    return true;
}

static void read_text(struct generated *g, const json_t *root, int64_t t_ns)
{
    const json_t *message = json_object_get(root, "message");
    wire_text(g, json_object_get(root, "thinking"), true, t_ns);
    wire_text(g, json_object_get(root, "response"), false, t_ns);
    wire_text(g, json_object_get(message, "thinking"), true, t_ns);
    wire_text(g, json_object_get(message, "content"), false, t_ns);
    wire_tool_calls(g, message, t_ns);
}

static void read_counts(struct generated *g, const json_t *root)
{
    int64_t prompt = wire_count(root, "prompt_eval_count"), cached = wire_count(root, "prompt_eval_cached_count"),
            made = wire_count(root, "eval_count");
    g->tokens.prompt = prompt;
    g->tokens.cached = cached <= prompt ? cached : -1; /* told since 0.34; 0 too */
    g->tokens.generated = made;
    if (g->tokens.cached >= 0)
        g->processed_tokens = prompt - cached;
}

/* What is 0 is left out. One token needs no step after it: 0.34 says 1000 ns, 0.17 nothing. Waiting for a free slot is in the
 * total and in no other time; some milliseconds of template and tokeniser are too, so only what is far above them is waiting. */
#define WAITING_S 0.050
#define LOADING_S 0.050 /* told of a loaded model too, some milliseconds for looking it up */

static void read_times(struct generated *g, const json_t *root)
{
    double total_s = wire_number(root, "total_duration", 1e-9), load_s = wire_number(root, "load_duration", 1e-9);
    g->server_load_s = load_s;
    g->was_loaded = load_s < LOADING_S;
    g->server_prompt_s = wire_number(root, "prompt_eval_duration", 1e-9);
    g->server_decode_s = wire_number(root, "eval_duration", 1e-9);
    if (isnan(g->server_decode_s) && g->tokens.generated == 1 && !isnan(total_s))
        g->server_decode_s = 0;
    double rest_s = total_s - load_s - g->server_prompt_s - g->server_decode_s;
    if (rest_s > WAITING_S + 0.1 * g->server_prompt_s)
        g->server_queue_s = rest_s;
}

static void event(struct generated *g, const char *json, size_t n, int64_t t_ns)
{
    json_t *root = wire_parse(g, json, n);
    if (root && !nested_error(g, root) && !wire_error(g, root) && !is_remote(g, root)) {
        read_text(g, root, t_ns); /* the last line may hold text too */
        if (json_is_true(json_object_get(root, "done"))) {
            read_counts(g, root);
            read_times(g, root);
            wire_finish(g, g->tool_calls ? "tool" : wire_string(root, "done_reason"));
            g->done = !g->engine_error[0];
        }
    }
    json_decref(root);
}

const struct engine_ops engine_ollama = {
    .name = "ollama",
    .summary = "Ollama, by its own API",
    .default_port = 11434,
    .framing = ENGINE_LINES,
    .address = ollama_address,
    .recognise = ollama_recognise,
    .models = ollama_models,
    .details = ollama_details,
    .load = ollama_load,
    .unload = ollama_unload,
    .pull = ollama_pull,
    .request = request,
    .event = event,
};
