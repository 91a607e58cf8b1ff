/* serve_inner.c - upstreams that are joulet servers themselves, which `serve` asks for once when it begins: their figures are
 * taken instead of those of the sensors here, and one that leads back to this server is refused. */
#include "cli/serve.h"
#include "llm/engine_joulet.h"
#include "net/net.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_S 1.0

struct serve_inner {
    struct engine_joulet joulet;
    bool silent; /* nobody answered there */
};

enum joulet_status serve_inner_look(struct serve_upstreams *u, const struct cli *c, struct joulet_error *err)
{
    u->inner = calloc(u->n + 1, sizeof *u->inner);
    if (!u->inner)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    for (size_t i = 0; i < u->n; i++) {
        struct server_upstream *to = &u->list[i];
        struct serve_inner *in = &u->inner[i];
        enum engine_joulet_found found = engine_joulet_at(to->url, to->token, ANSWER_S, &cli_cancel, &in->joulet);
        in->silent = found == ENGINE_JOULET_SILENT;
        if (found == ENGINE_JOULET_IS) {
            to->joulet = in->joulet.version;
            to->source = in->joulet.meters ? in->joulet.url : NULL;
        } else if (found == ENGINE_JOULET_REFUSED) {
            cli_warn(c, "the joulet server at %s wants %s token: put it behind the address, as %s/joulet/t/TOKEN", to->url,
                     to->token ? "another" : "a", to->url);
        }
    }
    return jl_ok(err);
}

/* One that did not answer before this server listened may be this server. */
enum joulet_status serve_inner_check(const struct serve_upstreams *u, const struct server *s, struct joulet_error *err)
{
    const char *port = strrchr(server_address(s), ':');
    for (size_t i = 0; i < u->n && u->inner; i++) {
        struct engine_joulet now = u->inner[i].joulet;
        if (u->inner[i].silent && port && net_url_port(u->list[i].url) == atoi(port + 1))
            engine_joulet_at(u->list[i].url, u->list[i].token, ANSWER_S, &cli_cancel, &now);
        if (now.is && strcmp(now.instance, server_instance(s)) == 0)
            return jl_fail(err, JOULET_USAGE, "the upstream %s leads back to this server: name the engine itself with --upstream",
                           u->list[i].url);
    }
    return jl_ok(err);
}

void serve_inner_close(struct serve_upstreams *u)
{
    free(u->inner);
    u->inner = NULL;
}
