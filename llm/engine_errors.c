/* engine_errors.c - what went wrong with an engine, in one sentence: the engine's own words, and the remedy. */
#include "llm/engine_wire.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define QUOTE_MAX  220 /* bytes of the engine's words: the remedy after them must fit too */
#define HIDDEN_MIN 4   /* characters: a shorter key is a word like any other */

/* The sentences of net begin with the address, which ours name already. */
static const char *without_address(const char *sentence)
{
    const char *blank = strchr(sentence, ' ');
    return jl_starts(sentence, "http") && blank ? blank + 1 : sentence;
}

enum joulet_status engine_unreachable(const char *url, const struct joulet_error *net, struct joulet_error *err)
{
    const struct engine_cloud *cloud = engine_cloud_at(url);
    const char *why = without_address(net->message);
    if (strstr(why, "through the proxy")) /* with a remedy of its own */
        return jl_fail(err, JOULET_UNREACHABLE, "no engine at %s: it %.300s", url, why);
    if (cloud)
        return jl_fail(err, JOULET_UNREACHABLE, "%s is not reached at %s: it %.200s; is this machine online?", cloud->name, url,
                       why);
    if (net->status == JOULET_IO && jl_starts(url, "http://"))
        return jl_fail(err, JOULET_UNREACHABLE,
                       "no engine at %s: it %.200s; does something else listen there, or does it speak TLS (https://)?", url,
                       why);
    return jl_fail(err, JOULET_UNREACHABLE,
                   "no engine at %s: it %.200s; is it running? `joulet engine start -m MODEL` starts one", url, why);
}

void engine_hide_key(const struct engine *e, char *text, size_t n)
{
    size_t length = e && e->key ? strlen(e->key) : 0;
    for (size_t i = 0; length >= HIDDEN_MIN && i + HIDDEN_MIN <= n; i++) {
        size_t same = n - i < length ? n - i : length;
        if (memcmp(text + i, e->key, same) == 0)
            memset(text + i, '*', same);
    }
}

enum joulet_status engine_key_refused(const struct engine *e, const char *words, struct joulet_error *err)
{
    char quote[QUOTE_MAX];
    wire_clean(quote, sizeof(quote), words, strlen(words));
    engine_hide_key(e, quote, strlen(quote));
    return jl_fail(err, JOULET_PERMISSION, "the engine at %s wants %s key%s%s%s: give it with --key or in %s", e->url,
                   e->key ? "another" : "a", quote[0] ? " (" : "", quote, quote[0] ? ")" : "",
                   e->cloud ? e->cloud->key_variable : "JOULET_ENGINE_KEY");
}

/* ---- the engine's own words --------------------------------------------------------------------------------------------- */

static bool speaks_of_memory(const char *words)
{
    static const char *const signs[] = {"out of memory",     "outofmemory",         "failed to allocate",
                                        "not enough memory", "insufficient memory", "bad_alloc",
                                        "cudamalloc",        "cannot allocate",     "memory allocation"};
    for (size_t i = 0; i < JL_COUNT(signs); i++) {
        if (strcasestr(words, signs[i]))
            return true;
    }
    return false;
}

struct words {
    char text[48];
};

static struct words pieces(const struct generated *g)
{
    struct words w;
    snprintf(w.text, sizeof(w.text), "%zu piece%s of text", g->n_token_ns, g->n_token_ns == 1 ? "" : "s");
    return w;
}

/* "has a, b, c and 4 more" for a name that the engine does not know. */
static void list_models(struct engine *e, char *out, size_t size)
{
    struct engine_model *list = NULL;
    size_t n = 0, used = 0, i;
    out[0] = '\0';
    if (!e->ops->models || e->ops->models(e, &list, &n, NULL) != JOULET_OK || n == 0) {
        free(list);
        return;
    }
    for (i = 0; i < n && used + strlen(list[i].name) + 32 < size; i++)
        used += (size_t)snprintf(out + used, size - used, "%s%s", i ? ", " : "", list[i].name);
    if (i < n)
        snprintf(out + used, size - used, " and %zu more", n - i);
    free(list);
}

static enum joulet_status unknown_model(struct engine *e, const struct generation *q, const char *words, struct joulet_error *err)
{
    char names[200];
    list_models(e, names, sizeof(names));
    if (!q->model || !*q->model)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s does not find its model: it says \"%.120s\"%s%s; choose one with -m",
                       e->url, words, names[0] ? " and has " : "", names);
    return jl_fail(err, JOULET_ENGINE, "the engine at %s has no model \"%.60s\": it says \"%.120s\"%s%s; choose one with -m",
                   e->url, q->model ? q->model : "", words, names[0] ? " and has " : "", names);
}

static enum joulet_status prompt_too_long(const struct engine *e, const struct generated *g, const char *words,
                                          struct joulet_error *err)
{
    char size[96] = "";
    if (g->error_prompt_tokens >= 0 && g->error_context >= 0)
        snprintf(size, sizeof(size), " (%lld tokens for a context of %lld)", (long long)g->error_prompt_tokens,
                 (long long)g->error_context);
    int64_t need = g->error_prompt_tokens > 0 ? (g->error_prompt_tokens + 1024 + 255) / 256 * 256 : 0;
    if (need)
        return jl_fail(
            err, JOULET_ENGINE,
            "the prompt is too long%s: the engine at %s says \"%.160s\"; shorten it, or start the engine with a larger context, "
            "such as --context %lld",
            size, e->url, words, (long long)need);
    return jl_fail(err, JOULET_ENGINE,
                   "the prompt is too long: the engine at %s says \"%.200s\"; shorten it, or give the engine a larger context",
                   e->url, words);
}

static bool too_long(const struct generated *g)
{
    return strcmp(g->error_type, "exceed_context_size_error") == 0 || strcasestr(g->engine_error, "context length") ||
           strcasestr(g->engine_error, "context size") || strcasestr(g->engine_error, "context window");
}

static bool model_missing(const struct generation *q, const struct generated *g)
{
    return g->http_status == 404 && (q->model || strcasestr(g->engine_error, "model"));
}

static enum joulet_status words_of_engine(struct engine *e, const struct generation *q, const struct generated *g,
                                          struct joulet_error *err)
{
    char w[QUOTE_MAX];
    int http = g->http_status;
    wire_clean(w, sizeof(w), g->engine_error, strlen(g->engine_error));
    if (strcmp(g->error_type, WIRE_MALFORMED) == 0)
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s sent %s (HTTP %d, after %s); check the address, or look into its log", e->url, w, http,
                       pieces(g).text);
    if (strcmp(g->error_type, WIRE_REMOTE) == 0)
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s passes this model on to %s: what it draws is drawn there, and no sensor here sees it; "
                       "choose a model that runs here",
                       e->url, w);
    if (strcasestr(w, "token repeat limit"))
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s stopped a model that repeats itself, after %s (\"%s\"): give --repeat-penalty 1.3, "
                       "fewer tokens, or another prompt",
                       e->url, pieces(g).text, w);
    if (http == 401 || http == 403) {
        engine_key_refused(e, w, err);
        return err ? (err->status = JOULET_ENGINE) : JOULET_ENGINE;
    }
    if (http == 503 && (strcmp(g->error_type, "unavailable_error") == 0 || strcasestr(w, "loading")))
        return jl_fail(err, JOULET_ENGINE, "the engine at %s is still loading its model (\"%s\"): try again when it has", e->url,
                       w);
    if (http == 429 || http == 503)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s is too busy: \"%s\"; try again when others are done", e->url, w);
    if (model_missing(q, g))
        return unknown_model(e, q, w, err);
    if (http == 400 && too_long(g))
        return prompt_too_long(e, g, w, err);
    if (speaks_of_memory(w))
        return jl_fail(
            err, JOULET_ENGINE,
            "the engine at %s ran out of memory: \"%s\"; use a smaller model, a smaller context or fewer layers on the GPU",
            e->url, w);
    if (http == 200 && g->n_token_ns)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s failed after %s: \"%s\"; its log says more", e->url, pieces(g).text,
                       w);
    if (http == 200)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s sent an error: \"%s\"; check the address, or look into its log",
                       e->url, w);
    if (http >= 400 && http < 500)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s refused the request (HTTP %d): \"%s\"; check the options given",
                       e->url, http, w);
    return jl_fail(err, JOULET_ENGINE, "the engine at %s failed (HTTP %d): \"%s\"; its log says more", e->url, http, w);
}

static enum joulet_status status_alone(const struct engine *e, int http, struct joulet_error *err)
{
    if (http == 401 || http == 403) {
        engine_key_refused(e, "", err);
        return err ? (err->status = JOULET_ENGINE) : JOULET_ENGINE;
    }
    return jl_fail(err, JOULET_ENGINE, "the engine at %s answered HTTP %d without a word: %s", e->url, http,
                   http < 400 ? "is this its address, and not one that leads elsewhere?" : "its log says more");
}

/* ---- how it ended --------------------------------------------------------------------------------------------------- */

static enum joulet_status cut_off(const struct engine *e, const struct generated *g, const struct joulet_error *net,
                                  struct joulet_error *err)
{
    if (g->http_status == 0)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s gave no answer: it %.160s; its log says why", e->url,
                       without_address(net->message));
    return jl_fail(err, JOULET_ENGINE,
                   "the engine at %s died in mid-stream after %s (%s); its log or `dmesg` says why, often too little memory",
                   e->url, pieces(g).text, net->message[0] ? "the connection was cut" : "the answer ended without its last part");
}

static enum joulet_status transport(const struct engine *e, const struct generated *g, enum joulet_status net,
                                    const struct joulet_error *net_err, struct joulet_error *err)
{
    switch (net) {
    case JOULET_UNREACHABLE:
        if (g->t_sent_ns) /* it was there, and then said nothing for too long */
            return jl_fail(err, net,
                           "the engine at %s hangs after %s: it %.160s; look into its log, or give it longer with --timeout",
                           e->url, pieces(g).text, without_address(net_err->message));
        return engine_unreachable(e->url, net_err, err);
    case JOULET_IO:
        return cut_off(e, g, net_err, err);
    case JOULET_FORMAT:
    case JOULET_LIMIT:
        return jl_fail(err, JOULET_ENGINE, "%s", net_err->message);
    default:
        return jl_fail(err, net, "%s", net_err->message);
    }
}

static bool no_work(const struct generated *g)
{
    return g->tokens.generated == 0 ||
           (g->tokens.generated < 0 && g->text.len == 0 && g->thinking.len == 0 && g->n_token_ns == 0);
}

/* Tokens without any time in which they were made. Engines that tell no times tell NAN. */
static bool no_time(const struct generated *g)
{
    return g->tokens.generated > 1 && g->server_prompt_s == 0 && g->server_decode_s == 0;
}

/* Fewer tokens than asked for, and neither an end nor a limit: it gave up somewhere in between. */
static bool no_reason(const struct generation *q, const struct generated *g)
{
    return !g->finish[0] && g->tokens.generated >= 0 && g->tokens.generated < q->max_tokens;
}

/* "[DONE]" alone is no success: servers send it after errors too, and when another request takes their place. */
static bool broken_off(const struct engine *e, const struct generation *q, const struct generated *g)
{
    int64_t made = g->tokens.generated >= 0 ? g->tokens.generated : (int64_t)g->n_token_ns;
    return e->ops->says_why && !g->finish[0] && (q->max_tokens < 0 || made < q->max_tokens);
}

static enum joulet_status judge(struct engine *e, const struct generation *q, const struct generated *g, enum joulet_status net,
                                const struct joulet_error *net_err, struct joulet_error *err)
{
    if (net == JOULET_CANCELLED)
        return jl_fail(err, net, "the generation was interrupted after %s", pieces(g).text);
    if (g->engine_error[0])
        return words_of_engine(e, q, g, err);
    if (net != JOULET_OK && !g->done)
        return transport(e, g, net, net_err, err);
    if (g->http_status != 200)
        return status_alone(e, g->http_status, err);
    if (!g->done)
        return cut_off(e, g, net_err, err);
    if (no_work(g))
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s did no work: its answer holds no token; nothing can be measured from it", e->url);
    if (no_time(g))
        return jl_fail(
            err, JOULET_ENGINE,
            "the engine at %s did no work: it says that its %lld tokens took no time; nothing can be measured from that", e->url,
            (long long)g->tokens.generated);
    if (!e->ops->mute_end && no_reason(q, g))
        return jl_fail(err, JOULET_ENGINE,
                       "the engine at %s stopped after %lld of %lld tokens and gave no reason; its log may say why", e->url,
                       (long long)g->tokens.generated, (long long)q->max_tokens);
    if (broken_off(e, q, g))
        return jl_fail(
            err, JOULET_ENGINE,
            "the engine at %s broke the answer off after %s without a reason: another request may have taken its place "
            "(llama-cpp-python does so unless started with --interrupt_requests False)",
            e->url, pieces(g).text);
    return jl_ok(err);
}

enum joulet_status engine_verdict(struct engine *e, const struct generation *q, struct generated *g, enum joulet_status net,
                                  const struct joulet_error *net_err, struct joulet_error *err)
{
    engine_hide_key(e, g->engine_error, strlen(g->engine_error));
    enum joulet_status status = judge(e, q, g, net, net_err, err);
    if (status == JOULET_CANCELLED)
        snprintf(g->finish, sizeof(g->finish), "cancelled");
    else if (status != JOULET_OK)
        snprintf(g->finish, sizeof(g->finish), "error");
    return status;
}
