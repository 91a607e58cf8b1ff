/* tail_read.c - a request out of the JSON that a joulet server sends. */
#include "cli/tail.h"
#include "llm/engine_wire.h"

#include <math.h>
#include <string.h>

static void text(char *out, size_t size, const json_t *o, const char *key)
{
    const char *s = wire_string(o, key);
    wire_clean(out, size, s, strlen(s));
}

/* A client is told by its name, else by its address. */
static void client(struct tail_request *r, const json_t *root)
{
    const json_t *c = json_object_get(root, "client");
    text(r->tag, sizeof r->tag, root, "tag");
    text(r->session, sizeof r->session, root, "session");
    if (json_is_object(c))
        text(r->client, sizeof r->client, c, "name");
    else
        text(r->client, sizeof r->client, root, "client");
}

bool tail_read(struct tail_request *r, const char *json, size_t n)
{
    json_t *root = wire_object(json, n);
    const json_t *tokens = json_object_get(root, "tokens");
    *r = (struct tail_request){.tokens_in = -1, .tokens_out = -1, .status = -1, .duration_s = NAN};
    engine_told_init(&r->told);
    text(r->id, sizeof r->id, root, "id");
    text(r->state, sizeof r->state, root, "state");
    text(r->kind, sizeof r->kind, root, "kind");
    text(r->time, sizeof r->time, root, "time");
    text(r->model, sizeof r->model, root, "model");
    client(r, root);
    r->tokens_in = wire_count(tokens, "prompt");
    r->tokens_out = wire_count(tokens, "generated");
    r->counted = strcmp(wire_string(tokens, "generated_source"), "counted") == 0;
    int64_t status = wire_count(root, "status");
    r->status = status > 0 && status < 1000 ? (int)status : -1;
    r->duration_s = wire_number(root, "duration_s", 1);
    engine_told_read(json, n, &r->told);
    r->running = strcmp(r->state, "running") == 0;
    r->final = !r->running && !r->told.provisional;
    json_decref(root);
    return r->id[0] && r->state[0];
}

static bool is_like(const char *text, const char *wanted)
{
    size_t n = wanted ? strlen(wanted) : 0;
    if (!wanted)
        return true;
    return n && wanted[n - 1] == '*' ? strncmp(text, wanted, n - 1) == 0 : strcmp(text, wanted) == 0;
}

bool tail_wanted(const struct tail_request *r, const struct tail_filter *f)
{
    bool model = f->n_models == 0;
    for (size_t i = 0; i < f->n_models; i++)
        model |= is_like(r->model, f->models[i]);
    return model && (is_like(r->client, f->client) || is_like(r->tag, f->client)) && is_like(r->session, f->session);
}
