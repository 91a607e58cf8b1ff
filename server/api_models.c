/* api_models.c - the models of the upstreams, as each engine tells of them in its own protocol, and what the head of a model's
 * file says where it lies on this machine. Every call asks the engines anew: what is loaded changes by the second. */
#include "llm/gguf/gguf.h"
#include "llm/runtime.h"
#include "server/api.h"

#include <stdlib.h>
#include <string.h>

#define ANSWER_MAX ((size_t)8 << 20)
#define AT_ONCE    4u /* calls that ask engines */

/* ---- one model --------------------------------------------------------------------------------------------------- */

static void put_model(struct jl_buf *out, const char *upstream, const struct engine_model *m)
{
    put_text(out, "name", m->name);
    put_text(out, "upstream", upstream);
    put_bool(out, "loaded", m->loaded);
    put_text(out, "runtime", m->runtime);
    put_text(out, "architecture", m->architecture);
    put_text(out, "quantisation", m->quantisation);
    put_text(out, "digest", m->digest);
    put_text(out, "capabilities", m->capabilities);
    put_text(out, "expires", m->expires);
    put_count(out, "parameters", m->params);
    put_count(out, "size_bytes", m->bytes);
    put_count(out, "context_length", m->context_length);
    put_count(out, "loaded_context_length", m->loaded_context);
    put_count(out, "loaded_bytes", m->loaded_bytes);
    put_count(out, "gpu_bytes", m->gpu_bytes);
}

/* The file of a model, where it can be known: malloc'ed; NULL. */
static char *file_of(const struct engine *e, const struct engine_model *m)
{
    char *path = NULL;
    if (!e->local)
        return NULL;
    if (e->info.model_path[0] && engine_same_name(e->info.model, m->name))
        return jl_strdup(e->info.model_path);
    char *kept = jl_strf("%s:%s", e->ops->name, m->name);
    if (kept && runtime_store_find(kept, &path, NULL) != JOULET_OK)
        path = NULL;
    free(kept);
    return path;
}

/* The path stays here: who asks may be elsewhere. */
static void put_file(struct jl_buf *out, const struct engine *e, const struct engine_model *m)
{
    struct gguf_head h;
    char *path = file_of(e, m);
    if (!path || gguf_read_head(path, &h, NULL) != JOULET_OK) {
        put_key(out, "file");
        put_value(out, NULL);
    } else {
        put_begin(out, "file", '{');
        put_text(out, "name", h.name);
        put_text(out, "architecture", h.architecture);
        put_text(out, "quantisation", h.quantisation);
        put_text(out, "digest", h.digest);
        put_count(out, "parameters", h.params);
        put_count(out, "size_bytes", h.bytes);
        put_count(out, "context_length", h.context_length);
        put_count(out, "layers", h.layers);
        put_count(out, "hidden", h.hidden);
        put_count(out, "heads", h.heads);
        put_count(out, "kv_heads", h.kv_heads);
        put_count(out, "vocabulary", h.vocab);
        put_count(out, "tensors", h.tensors);
        put_end(out, '}');
    }
    free(path);
}

/* ---- engines ----------------------------------------------------------------------------------------------------- */

static enum joulet_status open_upstream(struct api_call *c, size_t i, struct engine **e, struct joulet_error *err)
{
    const struct server_upstream *u = &c->rules->o.upstreams[i];
    return engine_open(e, u->url, u->key, &c->server->draining, err);
}

static bool is_asked(struct api_call *c, size_t i)
{
    const char *upstream = api_query_get(&c->query, "upstream");
    return !upstream || strcmp(upstream, c->rules->o.upstreams[i].url) == 0;
}

/* How an engine is, and its models for the other list. */
static void put_engine(struct api_call *c, size_t i, struct jl_buf *out, struct jl_buf *models)
{
    struct joulet_error err;
    struct engine *e = NULL;
    struct engine_model *list = NULL;
    size_t n = 0;
    const char *url = c->rules->o.upstreams[i].url;
    enum joulet_status status = open_upstream(c, i, &e, &err);
    if (status == JOULET_OK)
        status = e->ops->models(e, &list, &n, &err);
    put_begin(out, NULL, '{');
    put_text(out, "url", url);
    put_text(out, "protocol", e ? e->ops->name : NULL);
    put_text(out, "version", e ? e->info.version : NULL);
    put_text(out, "error", status == JOULET_OK ? NULL : err.message);
    put_end(out, '}');
    for (size_t k = 0; k < n && status == JOULET_OK; k++) {
        put_sep(models);
        jl_buf_str(models, "\n");
        put_begin(models, NULL, '{');
        put_model(models, url, &list[k]);
        put_end(models, '}');
    }
    free(list);
    if (e)
        engine_close(e);
}

static bool list(struct api_call *c)
{
    struct jl_buf out, models;
    jl_buf_init(&out, ANSWER_MAX);
    jl_buf_init(&models, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.models/1");
    put_begin(&out, "upstreams", '[');
    put_begin(&models, NULL, '[');
    for (size_t i = 0; i < c->rules->o.n_upstreams; i++)
        if (is_asked(c, i))
            put_engine(c, i, &out, &models);
    put_end(&out, ']');
    put_key(&out, "models");
    jl_buf_add(&out, models.data, models.len);
    out.failed |= models.failed;
    jl_buf_str(&out, "]}\n");
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&models);
    jl_buf_release(&out);
    return ok;
}

/* What has no details of one model still lists them. */
static enum joulet_status find(struct engine *e, const char *name, struct engine_model *m, struct joulet_error *err)
{
    struct engine_model *all = NULL;
    size_t n = 0;
    engine_model_init(m);
    if (e->ops->details)
        return e->ops->details(e, name, m, err);
    enum joulet_status status = e->ops->models(e, &all, &n, err);
    bool found = false;
    for (size_t i = 0; i < n && status == JOULET_OK && !found; i++)
        if ((found = engine_same_name(all[i].name, name)))
            *m = all[i];
    free(all);
    if (status == JOULET_OK && !found)
        status = err->status = JOULET_NOT_FOUND;
    return status;
}

static bool tell(struct api_call *c, const char *url, const struct engine *e, const struct engine_model *m)
{
    struct jl_buf out;
    jl_buf_init(&out, ANSWER_MAX);
    put_begin(&out, NULL, '{');
    put_text(&out, "schema", "joulet.model/1");
    put_model(&out, url, m);
    put_file(&out, e, m);
    jl_buf_str(&out, "}\n");
    bool ok = api_json(c, 200, &out);
    jl_buf_release(&out);
    return ok;
}

/* The first upstream that has it. When none does, what kept one from telling is said rather than that it is not there. */
static bool one(struct api_call *c)
{
    struct joulet_error err, why = {.status = JOULET_NOT_FOUND};
    for (size_t i = 0; i < c->rules->o.n_upstreams; i++) {
        struct engine *e = NULL;
        struct engine_model m;
        if (!is_asked(c, i))
            continue;
        enum joulet_status status = open_upstream(c, i, &e, &err);
        if (status == JOULET_OK)
            status = find(e, c->name, &m, &err);
        bool ok = status == JOULET_OK && tell(c, c->rules->o.upstreams[i].url, e, &m);
        if (e)
            engine_close(e);
        if (status == JOULET_OK)
            return ok;
        if (status == JOULET_UNREACHABLE || status == JOULET_ENGINE)
            why = err;
    }
    if (why.status != JOULET_NOT_FOUND)
        return api_failed(c, &why);
    return api_error(c, 404, "not_found", "no upstream has a model of this name", "GET /joulet/models lists them");
}

static bool bounded(struct api_call *c, bool (*answer)(struct api_call *c))
{
    atomic_uint *asking = &c->server->api->asking;
    bool ok = atomic_fetch_add(asking, 1) < AT_ONCE
                  ? answer(c)
                  : api_error(c, 503, "busy", "the engines are being asked already", "ask again in a moment");
    atomic_fetch_sub(asking, 1);
    return ok;
}

bool api_models(struct api_call *c)
{
    return bounded(c, list);
}

bool api_model(struct api_call *c)
{
    return bounded(c, one);
}
