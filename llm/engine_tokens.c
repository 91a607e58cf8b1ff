/* engine_tokens.c - an engine's host work by itself: the tokens of a text, and the text of tokens, asked for as often as is
 * wanted and with nothing generated. llama-server's routes /tokenize and /detokenize (docs/engines.md, "What is sent"). */
#include "llm/engine_wire.h"

#include <stdlib.h>

static enum joulet_status judge(const struct engine *e, const char *path, enum joulet_status status, const struct net_response *r,
                                struct joulet_error *err)
{
    struct joulet_error why = err ? *err : (struct joulet_error){.status = status};
    if (status == JOULET_UNREACHABLE || status == JOULET_IO)
        return engine_unreachable(e->url, &why, err);
    if (status != JOULET_OK)
        return status;
    if (r->status != 200)
        return jl_fail(err, JOULET_ENGINE, "the engine at %s refused %s (HTTP %d): use one that has this route", e->url, path,
                       r->status);
    return jl_ok(err);
}

/* Makes the question out of `root`, which it frees, and asks it for the first time. Release *r in every case. */
static enum joulet_status ask_first(struct engine *e, const char *path, json_t *root, struct engine_question *q,
                                    struct net_response *r, struct joulet_error *err)
{
    *r = (struct net_response){.status = 0};
    q->path = path;
    enum joulet_status status = body_finish(root, &q->body, err);
    return status == JOULET_OK ? judge(e, path, engine_post(e, path, &q->body, false, r, err), r, err) : status;
}

static json_t *body_for(const char *model)
{
    json_t *root = json_object();
    if (model)
        json_object_set_new(root, "model", json_string(model)); /* for a router; others pass over it */
    return root;
}

static enum joulet_status check_offered(const struct engine *e, struct joulet_error *err)
{
    if (e->ops->tokenises)
        return jl_ok(err);
    return jl_fail(err, JOULET_UNSUPPORTED, "the engine at %s speaks %s, which has no route for tokens alone: use llama-server",
                   e->url, e->ops->name);
}

bool engine_read_tokens(const char *json, size_t n, int64_t **tokens, size_t *count)
{
    json_t *root = wire_object(json, n), *v;
    const json_t *list = json_object_get(root, "tokens");
    size_t i, all = json_array_size(list);
    *count = 0;
    *tokens = all ? calloc(all, sizeof **tokens) : NULL;
    json_array_foreach(list, i, v)
    {
        double id = json_number_value(v);
        if (!*tokens || !json_is_number(v) || !(id >= 0 && id <= INT32_MAX))
            break;
        (*tokens)[(*count)++] = (int64_t)id;
    }
    json_decref(root);
    if (*count == all && all)
        return true;
    free(*tokens);
    *tokens = NULL;
    *count = 0;
    return false;
}

enum joulet_status engine_tokenise(struct engine *e, const char *model, const char *text, struct engine_question *q,
                                   int64_t **tokens, size_t *n, struct joulet_error *err)
{
    struct net_response r = {.status = 0};
    *q = (struct engine_question){0};
    *tokens = NULL;
    *n = 0;
    enum joulet_status status = check_offered(e, err);
    json_t *root = status == JOULET_OK ? body_for(model) : NULL;
    if (status == JOULET_OK && (status = body_string(root, "content", text, err)) != JOULET_OK)
        json_decref(root);
    else if (status == JOULET_OK)
        status = ask_first(e, "/tokenize", root, q, &r, err);
    if (status == JOULET_OK && !engine_read_tokens(r.body.data ? r.body.data : "", r.body.len, tokens, n))
        status = jl_fail(err, JOULET_FORMAT, "the engine at %s answers %s without a list of tokens: use llama-server", e->url,
                         q->path);
    net_response_release(&r);
    return status;
}

enum joulet_status engine_detokenise(struct engine *e, const char *model, const int64_t *tokens, size_t n,
                                     struct engine_question *q, struct joulet_error *err)
{
    struct net_response r = {.status = 0};
    *q = (struct engine_question){0};
    enum joulet_status status = check_offered(e, err);
    if (status == JOULET_OK) {
        json_t *root = body_for(model), *list = json_array();
        for (size_t i = 0; i < n; i++)
            json_array_append_new(list, json_integer(tokens[i]));
        json_object_set_new(root, "tokens", list);
        status = ask_first(e, "/detokenize", root, q, &r, err);
    }
    json_t *answer = status == JOULET_OK ? wire_object(r.body.data ? r.body.data : "", r.body.len) : NULL;
    if (status == JOULET_OK && !wire_string(answer, "content")[0])
        status = jl_fail(err, JOULET_FORMAT, "the engine at %s answers %s without a text: use llama-server", e->url, q->path);
    json_decref(answer);
    net_response_release(&r);
    return status;
}

enum joulet_status engine_ask_again(struct engine *e, const struct engine_question *q, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = judge(e, q->path, engine_post(e, q->path, &q->body, true, &r, err), &r, err);
    net_response_release(&r);
    return status;
}

void engine_question_release(struct engine_question *q)
{
    jl_buf_release(&q->body);
    *q = (struct engine_question){0};
}
