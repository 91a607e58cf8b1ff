/* serve_upstreams.c - where `serve` passes requests on to: what the options name, or the engine that answers on this machine. */
#include "cli/serve.h"
#include "llm/runtime.h"
#include "server/route.h"

#include <stdlib.h>

static enum joulet_status given(struct serve_upstreams *u, const char *const *items, size_t n, struct joulet_error *err)
{
    u->list = calloc(n, sizeof *u->list);
    u->texts = calloc(n, sizeof *u->texts);
    if (!u->list || !u->texts)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    for (; u->n < n; u->n++) {
        u->texts[u->n] = jl_strdup(items[u->n]);
        if (!u->texts[u->n])
            return jl_fail(err, JOULET_MEMORY, "out of memory");
        if (route_parse(u->texts[u->n], &u->list[u->n], err) != JOULET_OK) {
            free(u->texts[u->n]);
            return err->status;
        }
    }
    return jl_ok(err);
}

static enum joulet_status found(struct serve_upstreams *u, struct joulet_error *err)
{
    const struct runtime_wanted any = {.cancel = &cli_cancel};
    if (runtime_open_engine(&u->engine, &any, err) != JOULET_OK) {
        if (err->status == JOULET_UNREACHABLE)
            return jl_fail(err, JOULET_UNREACHABLE,
                           "no engine that is known answers on this machine: start one, or give --upstream URL");
        return err->status;
    }
    u->list = calloc(1, sizeof *u->list);
    if (!u->list)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    u->list[0] = (struct server_upstream){.url = u->engine->url, .key = u->engine->key};
    u->n = 1;
    return jl_ok(err);
}

enum joulet_status serve_upstreams_open(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err)
{
    const char *const *items;
    size_t n = cli_list(c, "upstream", &items);
    *u = (struct serve_upstreams){0};
    return n ? given(u, items, n, err) : found(u, err);
}

void serve_upstreams_close(struct serve_upstreams *u)
{
    engine_close(u->engine);
    for (size_t i = 0; u->texts && i < u->n; i++)
        free(u->texts[i]);
    free(u->texts);
    free(u->list);
    *u = (struct serve_upstreams){0};
}
