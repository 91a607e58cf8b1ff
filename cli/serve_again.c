/* serve_again.c - the engine that `serve` found by itself is gone: who answers on this machine now is looked for, as at the
 * start, beside the traffic. Requests have their answer of failure meanwhile; further ones go to the engine that was found. */
#include "cli/parse.h"
#include "cli/serve.h"
#include "lib/platform/platform.h"
#include "llm/engine.h"

#include <stdlib.h>
#include <string.h>

#define AGAIN_NS ((int64_t)2 * JL_NS_PER_S)

struct serve_again {
    struct serve_reload *reload;
    struct jl_thread *thread; /* NULL: nobody looks */
    atomic_bool over;
    int64_t next_ns;
    /* of the thread, until it is over */
    struct serve_upstreams found;
    enum joulet_status status;
};

struct serve_again *serve_again_open(struct serve_reload *r)
{
    struct serve_again *a = r->upstreams.engine ? calloc(1, sizeof *a) : NULL;
    if (a)
        a->reload = r;
    return a;
}

static void look(void *arg)
{
    struct serve_again *a = arg;
    struct joulet_error err;
    a->status = serve_upstreams_open(&a->found, a->reload->started, &err);
    atomic_store(&a->over, true);
}

/* The new one, or the old one that is back; nobody when the settings name some meanwhile. */
static void take(struct serve_again *a)
{
    struct serve_reload *r = a->reload;
    struct server_options o = {0};
    struct joulet_error err;
    const char *const *items, *now = serve_upstreams_now(r)->list[0].url;
    bool named = cli_list(serve_now(r), "upstream", &items) > 0;
    if (a->status != JOULET_OK || named || strcmp(a->found.list[0].url, now) == 0) {
        if (a->status == JOULET_OK && !named)
            server_upstream_is_back(r->server, 0);
        serve_upstreams_close(&a->found);
        return;
    }
    serve_fill(&o, serve_now(r), &a->found);
    if (serve_inner_check(&a->found, r->server, &err) != JOULET_OK || server_reload(r->server, &o, &err) != JOULET_OK) {
        cli_warn(r->started, "%s", err.message);
        serve_upstreams_close(&a->found);
        return;
    }
    cli_warn(serve_now(r), "the engine at %s is gone; requests go to %s now", now, a->found.list[0].url);
    serve_upstreams_close(&r->again);
    r->again = a->found;
    a->found = (struct serve_upstreams){0};
}

void serve_again_look(struct serve_again *a)
{
    struct joulet_error err;
    int64_t now = jl_mono_ns();
    if (!a)
        return;
    if (a->thread && atomic_load(&a->over)) {
        jl_thread_join(a->thread);
        a->thread = NULL;
        take(a);
    }
    if (a->thread || now < a->next_ns || !server_upstream_is_down(a->reload->server, 0))
        return;
    a->next_ns = now + AGAIN_NS;
    atomic_store(&a->over, false);
    if (jl_thread_start(&a->thread, "again", look, a, &err) != JOULET_OK)
        a->thread = NULL;
}

void serve_again_close(struct serve_again *a)
{
    if (!a)
        return;
    if (a->thread) {
        jl_thread_join(a->thread);
        serve_upstreams_close(&a->found);
    }
    free(a);
}
