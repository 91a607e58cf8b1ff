/* serve_upstreams.c - where `serve` passes requests on to: what the options name, or the engine that answers on this machine. */
#include "cli/parse.h"
#include "cli/serve.h"
#include "llm/runtime.h"
#include "server/route.h"

#include <stdlib.h>
#include <string.h>

#define LOOK_EVERY_NS ((int64_t)2 * JL_NS_PER_S)

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
    enum joulet_status status = n ? given(u, items, n, err) : found(u, err);
    return status == JOULET_OK ? serve_inner_look(u, c, err) : status;
}

/* Which of those that answer was taken is chance to who runs several. */
static void say_others(const struct serve_upstreams *u, const struct cli *c)
{
    struct jl_buf others;
    jl_buf_init(&others, 4096);
    for (size_t i = 0; engine_table[i]; i++) {
        char url[320], before[320] = "";
        struct engine *e;
        bool again = engine_table[i]->default_port <= 0;
        if (again)
            continue;
        engine_address(engine_table[i], url, sizeof url);
        for (size_t k = 0; k < i && !again; k++) {
            if (engine_table[k]->default_port > 0)
                engine_address(engine_table[k], before, sizeof before);
            again = strcmp(before, url) == 0;
        }
        if (again || strcmp(url, u->engine->url) == 0 || engine_open(&e, url, NULL, &cli_cancel, NULL) != JOULET_OK)
            continue;
        jl_buf_printf(&others, "%s%s at %s", others.len ? ", " : "", e->ops->name, e->url);
        engine_close(e);
    }
    if (others.len)
        cli_say(c, "also answering here: %s; --upstream %s --upstream URL stands in front of several", others.data,
                u->engine->url);
    jl_buf_release(&others);
}

enum joulet_status serve_upstreams_await(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err)
{
    const char *const *items;
    bool named = cli_list(c, "upstream", &items) > 0, said = false;
    enum joulet_status status = serve_upstreams_open(u, c, err);
    while (status == JOULET_UNREACHABLE && !named) {
        if (!said)
            cli_warn(c, "no engine that is known answers on this machine yet: waiting for one, or name it with --upstream URL");
        said = true;
        serve_upstreams_close(u);
        if (!terminal_wait_until(jl_mono_ns() + LOOK_EVERY_NS))
            return jl_fail(err, JOULET_CANCELLED, "ended before an engine answered");
        status = serve_upstreams_open(u, c, err);
    }
    if (status == JOULET_OK && !named)
        say_others(u, c);
    return status;
}

void serve_upstreams_close(struct serve_upstreams *u)
{
    engine_close(u->engine);
    serve_inner_close(u);
    for (size_t i = 0; u->texts && i < u->n; i++)
        free(u->texts[i]);
    free(u->texts);
    free(u->list);
    *u = (struct serve_upstreams){0};
}
