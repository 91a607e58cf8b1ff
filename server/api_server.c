/* api_server.c - the server about itself: its paths, and how it is. */
#include "data/data.h"
#include "server/api.h"
#include "server/api_jobs.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

bool api_index(struct api_call *c)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 16);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.index/1");
    put_text(&out, "version", JOULET_VERSION);
    put_begin(&out, "paths", '[');
    for (size_t i = 0; i < api_routes_n; i++) {
        jl_buf_str(&out, i ? ",\n" : "\n");
        put_begin(&out, NULL, '{');
        put_text(&out, "method", api_routes[i].method);
        put_text(&out, "path", api_routes[i].path);
        put_text(&out, "about", api_routes[i].about);
        put_begin(&out, "query", '[');
        for (const char *p = api_routes[i].query; p && *p; p += strspn(p, " ")) {
            char word[API_WORD_MAX];
            size_t n = strcspn(p, " ");
            snprintf(word, sizeof word, "%.*s", (int)n, p);
            put_string(&out, word);
            p += n;
        }
        jl_buf_str(&out, "]}");
    }
    jl_buf_str(&out, "]}\n");
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

enum joulet_status api_open(struct server *s, struct joulet_error *err)
{
    s->api = calloc(1, sizeof *s->api);
    return s->api ? jobs_open(&s->api->jobs, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
}

void api_close(struct server *s)
{
    if (s->api)
        jobs_close(s->api->jobs);
    free(s->api);
    s->api = NULL;
}

static void put_upstream(struct jl_buf *out, const struct server_upstream *u, struct upstream *live)
{
    put_begin(out, NULL, '{');
    put_text(out, "url", live->origin);
    put_text(out, "prefix", u->prefix);
    put_text(out, "model", u->model);
    put_text(out, "joulet", u->joulet);
    put_bool(out, "answers", !atomic_load(&live->down));
    put_end(out, '}');
}

bool api_health(struct api_call *c)
{
    struct server *s = c->server;
    struct jl_buf out;
    jl_buf_init(&out, 1 << 18);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.health/1");
    put_text(&out, "status", atomic_load(&s->draining) ? "draining" : "ok");
    put_text(&out, "version", JOULET_VERSION);
    put_text(&out, "instance", server_instance(s));
    put_real(&out, "uptime_s", jl_s(jl_mono_ns() - s->started_ns));
    put_count(&out, "active", server_active(s));
    put_count(&out, "served", (int64_t)server_served(s));
    put_count(&out, "connections", net_server_connections(s->net));
    put_count(&out, "unseen", (int64_t)observation_lost(s->observation));
    put_bool(&out, "meters", s->o.metering != NULL);
    put_begin(&out, "upstreams", '[');
    for (size_t i = 0; i < c->rules->o.n_upstreams; i++)
        put_upstream(&out, &c->rules->o.upstreams[i], &c->rules->upstreams[i]);
    jl_buf_str(&out, "]}\n");
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

extern const struct data_file data_openapi;

bool api_openapi(struct api_call *c)
{
    struct jl_buf out;
    jl_buf_init(&out, data_openapi.len + 1);
    jl_buf_add(&out, data_openapi.text, data_openapi.len);
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}
