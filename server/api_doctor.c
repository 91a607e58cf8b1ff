/* api_doctor.c - `joulet doctor --json` on demand. Its checks live in the room of commands, which stands above this one, and look
 * at everything with sensors of their own: so it is a child, one at a time, that gets a minute. */
#include "lib/platform/platform.h"
#include "server/api.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MOST_NS    ((int64_t)60 * JL_NS_PER_S)
#define LOOK_MS    50
#define ANSWER_MAX ((size_t)4 << 20)
#define ARGS_MAX   80

/* False: it took too long, the client left, or we end. */
static bool wait_for(struct api_call *c, struct jl_process *p)
{
    int64_t until = jl_mono_ns() + MOST_NS;
    while (!jl_process_wait(p, 0)) {
        if (atomic_load(&c->server->draining) || jl_mono_ns() > until || net_client_left(c->head->client_fd, LOOK_MS))
            break;
    }
    bool ended = p->ended;
    jl_process_stop(p, 1);
    return ended;
}

/* The object that it wrote, with the name of its form in front. */
static bool tell(struct api_call *c, const char *path)
{
    struct jl_buf text, out;
    jl_buf_init(&text, ANSWER_MAX);
    jl_buf_init(&out, ANSWER_MAX);
    json_t *root = jl_read_file(path, &text, NULL) == JOULET_OK && text.data ? json_loadb(text.data, text.len, 0, NULL) : NULL;
    bool ok = json_is_object(root);
    const char *open = ok ? strchr(text.data, '{') : NULL;
    if (open) {
        put_begin(&out, NULL, '{');
        put_text(&out, "schema", "joulet.doctor/1");
        jl_buf_str(&out, ",");
        jl_buf_str(&out, open + 1);
        ok = api_json(c, 200, &out);
    } else {
        ok = api_error(c, 503, "unavailable", "the doctor ended without a result", "run `joulet doctor` to see what it says");
    }
    json_decref(root);
    jl_buf_release(&text);
    jl_buf_release(&out);
    return ok;
}

static bool examine(struct api_call *c, const char *path, const char *log)
{
    const struct server_api *api = &c->server->o.api;
    const struct server_upstream *u = &c->rules->o.upstreams[0];
    const char *argv[ARGS_MAX + 1] = {api->program, "doctor", "--json", "-o", path, "--engine", u->url};
    char *key = u->key ? jl_strf("JOULET_ENGINE_KEY=%s", u->key) : NULL;
    const char *const env[] = {key, NULL};
    struct jl_spawn what = {.argv = argv, .env = key ? env : NULL, .log = log};
    struct jl_process p = {0};
    struct joulet_error err;
    size_t n = 7;
    for (size_t i = 0; api->arguments && api->arguments[i] && n + 2 < ARGS_MAX; i++)
        argv[n++] = api->arguments[i];
    if (api->db) {
        argv[n++] = "--db";
        argv[n++] = api->db;
    }
    enum joulet_status status = jl_spawn(&p, &what, &err);
    free(key);
    if (status != JOULET_OK)
        return api_error(c, 503, "unavailable", err.message, NULL);
    if (!wait_for(c, &p))
        return api_error(c, 503, "unavailable", "the doctor took longer than a minute", "run `joulet doctor` to see where");
    return tell(c, path);
}

bool api_doctor(struct api_call *c)
{
    struct joulet_error err;
    bool *at_work = &(bool){false};
    if (!c->server->o.api.program)
        return api_error(c, 503, "unavailable", "the doctor cannot be started from here", NULL);
    if (!atomic_compare_exchange_strong(&c->server->api->examining, at_work, true))
        return api_error(c, 503, "busy", "the doctor is at work already", "ask again in a few seconds");
    char *folder = jl_cache_dir(&err), *path = folder ? jl_strf("%s/doctor-%d.json", folder, (int)getpid()) : NULL;
    char *log = folder ? jl_strf("%s/doctor-%d.log", folder, (int)getpid()) : NULL;
    bool ok = path && log ? examine(c, path, log) : api_no_memory(c);
    if (path)
        unlink(path);
    if (log)
        unlink(log);
    atomic_store(&c->server->api->examining, false);
    free(path);
    free(log);
    free(folder);
    return ok;
}
