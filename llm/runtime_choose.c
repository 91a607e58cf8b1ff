/* runtime_choose.c - which engine answers: the one that was named, else ours in the background, else one that answers where
 * engines usually listen, else a llama-server that is started here and ends with us. An engine is taken only if it has the model
 * asked for. */
#include "llm/runtime_private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/stat.h>

#define LOADING_TIMEOUT_S 1800.0

struct choosing {
    struct runtime_choice *c;
    const char *model; /* as given; NULL */
    const struct runtime_start *how;
    bool named;                /* the engine was */
    struct joulet_error first; /* why the first engine that answered does not do */
};

static bool is_file(const char *path)
{
    struct stat st;
    return path && stat(path, &st) == 0 && S_ISREG(st.st_mode);
}

static bool ends_in_gguf(const char *s)
{
    size_t n = strlen(s);
    return n > 5 && strcasecmp(s + n - 5, ".gguf") == 0;
}

/* ---- models on this machine ------------------------------------------------------------------------------------------- */

char *runtime_models_dir(struct joulet_error *err)
{
    char *dir = runtime_path("models", err);
    if (dir && jl_make_dirs(dir, err) == JOULET_OK)
        return dir;
    free(dir);
    return NULL;
}

char *runtime_model_find(const char *name)
{
    char *kept;
    if (runtime_store_find(name, &kept, NULL) != JOULET_OK || kept)
        return kept;
    if (is_file(name))
        return jl_strdup(name);
    char *dir = !strchr(name, '/') ? runtime_models_dir(NULL) : NULL;
    char *path = dir ? jl_strf("%s/%s", dir, name) : NULL;
    if (path && !is_file(path)) {
        free(path);
        path = jl_strf("%s/%s.gguf", dir, name);
    }
    free(dir);
    if (is_file(path))
        return path;
    free(path);
    return NULL;
}

enum joulet_status runtime_model_only(char **path, struct joulet_error *err)
{
    char **names = NULL, *dir = runtime_models_dir(err);
    size_t n = 0, found = 0;
    struct jl_buf list;
    if (!dir)
        return JOULET_IO;
    jl_buf_init(&list, 200);
    *path = NULL;
    if (jl_list_dir(dir, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++) {
            if (!ends_in_gguf(names[i]))
                continue;
            free(*path);
            *path = jl_strf("%s/%s", dir, names[i]);
            jl_buf_printf(&list, "%s%s", found++ ? ", " : "", names[i]);
        }
        jl_free_list(names, n);
    }
    enum joulet_status status = jl_ok(err);
    if (found == 0)
        status = jl_fail(err, JOULET_NOT_FOUND,
                         "no model is given and there is none to start an engine with: give one with -m FILE.gguf, or make a "
                         "synthetic one with `joulet model make --shape llama-3.2-1b --quant q4_0`");
    else if (found > 1)
        status = jl_fail(err, JOULET_USAGE, "%zu models are in %s: choose one with -m (%s)", found, dir, list.data);
    else if (!*path)
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status != JOULET_OK) {
        free(*path);
        *path = NULL;
    }
    jl_buf_release(&list);
    free(dir);
    return status;
}

/* ---- does an engine have the model? --------------------------------------------------------------------------------------- */

/* Last part of a path or name, without ".gguf". */
static struct slice stem(const char *name)
{
    const char *slash = strrchr(name, '/');
    struct slice s = {slash ? slash + 1 : name, 0};
    s.n = strlen(s.at);
    if (ends_in_gguf(s.at))
        s.n -= 5;
    return s;
}

static bool same_stem(const char *a, const char *b)
{
    struct slice x = stem(a), y = stem(b);
    return x.n > 0 && x.n == y.n && memcmp(x.at, y.at, x.n) == 0;
}

static bool same_file(const char *a, const char *b)
{
    struct stat x, y;
    return stat(a, &x) == 0 && stat(b, &y) == 0 && x.st_dev == y.st_dev && x.st_ino == y.st_ino;
}

/* A file is the loaded one when it is the very file; from another machine only the name can be compared. */
static bool is_loaded(const struct engine *e, const struct choosing *x)
{
    const struct engine_info *i = &e->info;
    if (x->c->model_file && e->local && i->model_path[0])
        return same_file(x->c->model_file, i->model_path);
    return engine_same_name(i->model, x->model) || same_stem(x->model, i->model) ||
           (i->model_path[0] && same_stem(x->model, i->model_path));
}

static enum joulet_status without_name(struct choosing *x, const struct engine *e, const struct engine_model *list, size_t n,
                                       struct joulet_error *err)
{
    struct jl_buf names;
    if (n == 1) {
        x->c->model = jl_strdup(list[0].name);
        return x->c->model ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    }
    jl_buf_init(&names, 240);
    for (size_t i = 0; i < n; i++)
        jl_buf_printf(&names, "%s%s", i ? ", " : "", list[i].name);
    if (n == 0)
        jl_fail(err, JOULET_NOT_FOUND, "the engine at %s has no model: give it one first", e->url);
    else
        jl_fail(err, JOULET_USAGE, "the engine at %s has %zu models and none is loaded: choose one with -m (%s)", e->url, n,
                names.data ? names.data : "");
    jl_buf_release(&names);
    return n ? JOULET_USAGE : JOULET_NOT_FOUND;
}

static enum joulet_status by_name(struct choosing *x, const struct engine *e, const struct engine_model *list, size_t n,
                                  struct joulet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        if (engine_same_name(list[i].name, x->model) || (!x->c->model_file && same_stem(list[i].name, x->model))) {
            x->c->model = jl_strdup(list[i].name);
            return x->c->model ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory");
        }
    }
    return jl_fail(
        err, JOULET_NOT_FOUND,
        "the engine at %s does not have the model %.150s%s%.100s%s: `joulet model list --engine %s` names those it has", e->url,
        x->model, e->info.model[0] ? " (it has loaded " : "", e->info.model, e->info.model[0] ? ")" : "", e->url);
}

/* OK: the engine has what is asked for, and x->c->model is the name to ask it by, NULL for the loaded one. */
static enum joulet_status has_model(struct choosing *x, struct engine *e, struct joulet_error *err)
{
    const char *kept = x->named && x->model ? runtime_store_name(x->model, e->ops->name) : NULL;
    if (kept) { /* "ollama:NAME" asked of Ollama is NAME */
        struct choosing y = *x;
        y.model = kept;
        y.named = false;
        return has_model(&y, e, err);
    }
    struct engine_model *list = NULL;
    size_t n = 0;
    bool loaded = e->info.model[0] || e->info.model_path[0];
    if (loaded && (!x->model || is_loaded(e, x)))
        return jl_ok(err);
    enum joulet_status status = e->ops->models(e, &list, &n, err);
    if (status == JOULET_OK)
        status = x->model ? by_name(x, e, list, n, err) : without_name(x, e, list, n, err);
    free(list);
    return status;
}

/* ---- taking one ------------------------------------------------------------------------------------------------------------ */

/* The key of our server in the background, for who names its address; malloc'ed, NULL elsewhere. */
static char *background_key(const char *url)
{
    struct runtime_server s;
    if (runtime_background(&s, NULL) != JOULET_OK)
        return NULL;
    size_t n = strlen(s.url);
    const char *scheme = strstr(url, "://") ? "" : "http://";
    char *whole = jl_strf("%s%s", scheme, url);
    bool same = whole && strncmp(whole, s.url, n) == 0 && (!whole[n] || whole[n] == '/');
    char *key = same && s.key[0] ? jl_strdup(s.key) : NULL;
    free(whole);
    runtime_server_release(&s);
    return key;
}

/* Opens what answers there and keeps it if it has the model. */
static enum joulet_status take(struct choosing *x, const char *url, const char *key, const char *protocol,
                               struct joulet_error *err)
{
    struct engine *e;
    char *own = key ? NULL : background_key(url);
    enum joulet_status status = engine_open_as(&e, url, key ? key : own, x->how->protocol, x->how->cancel, err);
    free(own);
    if (status != JOULET_OK)
        return status;
    if (protocol && !x->how->protocol && strcmp(e->ops->name, protocol) != 0)
        status =
            jl_fail(err, JOULET_NOT_FOUND, "what answers at %s speaks %s, not %s: give the engine's address with --engine URL",
                    e->url, e->ops->name, protocol);
    if (status == JOULET_OK && e->info.loading)
        status = engine_wait_ready(e, LOADING_TIMEOUT_S, err);
    if (status == JOULET_OK)
        status = has_model(x, e, err);
    if (status == JOULET_OK)
        x->c->engine = e;
    else
        engine_close(e);
    return status;
}

static const char *foreign_key(const struct choosing *x)
{
    return x->how->key ? x->how->key : jl_env("JOULET_ENGINE_KEY");
}

/* The file to start a server with: as given, by its name in the models folder, or the only one there. */
static enum joulet_status find_file(struct choosing *x, struct joulet_error *err)
{
    if (x->c->model_file)
        return jl_ok(err);
    if (!x->model)
        return runtime_model_only(&x->c->model_file, err);
    return jl_fail(err, JOULET_USAGE,
                   "no engine that answers has the model %.150s, and it is no GGUF file here: `joulet model list` shows those "
                   "there are",
                   x->model);
}

static enum joulet_status start_own(struct choosing *x, const char *program, bool private_only, struct joulet_error *err)
{
    struct runtime_choice *c = x->c;
    struct runtime_start how = *x->how;
    enum joulet_status status = find_file(x, err);
    if (status != JOULET_OK)
        return status;
    how.program = program;
    how.private_only = private_only;
    how.model = c->model_file;
    how.background = false;
    status = runtime_server_start(&c->server, &how, err);
    c->load.from_ns = c->server.t_spawn_ns;
    c->load.to_ns = c->server.t_ready_ns;
    snprintf(c->load.model, sizeof(c->load.model), "%s", c->model_file);
    if (status != JOULET_OK)
        return status;
    c->started = true;
    return engine_open_as(&c->engine, c->server.url, c->server.key, how.protocol, how.cancel, err);
}

/* ---- the named one ----------------------------------------------------------------------------------------------- */

static bool is_address(const char *s)
{
    int64_t port;
    const char *colon = strrchr(s, ':');
    return strstr(s, "://") || engine_cloud_at(s) || (colon && colon > s && !strchr(s, ' ') && jl_parse_i64(colon + 1, &port));
}

static const struct engine_ops *protocol_named(const char *name)
{
    for (size_t i = 0; engine_table[i]; i++)
        if (strcasecmp(engine_table[i]->name, name) == 0)
            return engine_table[i];
    return NULL;
}

static enum joulet_status take_protocol(struct choosing *x, const struct engine_ops *ops, struct joulet_error *err)
{
    char url[320];
    struct joulet_error why;
    if (x->how->preload && strcmp(ops->name, "llama.cpp") == 0)
        return start_own(x, NULL, false, err);
    engine_address(ops, url, sizeof(url));
    enum joulet_status status = take(x, url, foreign_key(x), ops->name, &why);
    if (status == JOULET_OK || status == JOULET_CANCELLED)
        return status == JOULET_OK ? jl_ok(err) : jl_fail(err, status, "%s", why.message);
    if (strcmp(ops->name, "llama.cpp") == 0 && (status == JOULET_UNREACHABLE || (status == JOULET_NOT_FOUND && x->c->model_file)))
        return start_own(x, NULL, false, err);
    return jl_fail(err, status, "%s", why.message);
}

static enum joulet_status choose_default(struct choosing *x, struct joulet_error *err);

static enum joulet_status choose_named(struct choosing *x, const char *engine, struct joulet_error *err)
{
    const struct engine_ops *ops = protocol_named(engine);
    const struct engine_cloud *cloud = engine_cloud_named(engine);
    if (is_address(engine) || cloud)
        return take(x, cloud ? cloud->host : engine, foreign_key(x), NULL, err);
    if (ops && ops->beside) { /* has no port of its own: by it with whatever answers */
        struct runtime_start how = *x->how;
        struct choosing by_name = *x;
        how.protocol = ops->name;
        by_name.how = &how;
        return choose_default(&by_name, err);
    }
    if (strcasecmp(engine, "private") == 0)
        return start_own(x, NULL, true, err);
    if (ops)
        return take_protocol(x, ops, err);
    return start_own(x, engine, false, err);
}

/* ---- the default ------------------------------------------------------------------------------------------------- */

/* True when the search is over: an engine was taken, or the user ended it. */
static bool settled(struct choosing *x, enum joulet_status status, const struct joulet_error *why)
{
    bool answered = status != JOULET_UNREACHABLE && status != JOULET_IO;
    jl_trace("engine", "default: %s", status == JOULET_OK ? "taken" : why->message);
    if (status == JOULET_USAGE && answered && x->first.status == JOULET_OK)
        x->first = *why;
    return status == JOULET_OK || status == JOULET_CANCELLED;
}

static enum joulet_status take_background(struct choosing *x, struct joulet_error *err)
{
    struct runtime_server s;
    enum joulet_status status = runtime_background(&s, err);
    if (status != JOULET_OK)
        return JOULET_UNREACHABLE;
    status = take(x, s.url, s.key, NULL, err);
    runtime_server_release(&s);
    return status;
}

static bool port_seen(size_t i)
{
    for (size_t k = 0; k < i; k++)
        if (engine_table[k]->default_port == engine_table[i]->default_port)
            return true;
    return false;
}

static enum joulet_status choose_default(struct choosing *x, struct joulet_error *err)
{
    struct joulet_error why = {0};
    if (x->how->preload) /* what runs already has not loaded it */
        return start_own(x, x->how->program, x->how->private_only, err);
    enum joulet_status status = take_background(x, &why);
    bool done = settled(x, status, &why);
    for (size_t i = 0; !done && engine_table[i]; i++) {
        char url[320];
        if (engine_table[i]->default_port <= 0 || port_seen(i))
            continue;
        engine_address(engine_table[i], url, sizeof(url));
        status = take(x, url, foreign_key(x), NULL, &why);
        done = settled(x, status, &why);
    }
    if (done)
        return status == JOULET_OK ? jl_ok(err) : jl_fail(err, status, "%s", why.message);
    status = start_own(x, x->how->program, x->how->private_only, err);
    /* "Choose one of these" helps more than "there is none here". */
    if (status == JOULET_NOT_FOUND && !x->c->model_file && x->first.status != JOULET_OK)
        status = jl_fail(err, x->first.status, "%s", x->first.message);
    return status;
}

/* ------------------------------------------------------------------------------------------------------------------ */

static enum joulet_status resolve_model(struct choosing *x, struct joulet_error *err)
{
    if (!x->model)
        return jl_ok(err);
    if (!*x->model)
        return jl_fail(err, JOULET_USAGE, "-m is empty: give a model's name or a GGUF file");
    enum joulet_status status = runtime_store_find(x->model, &x->c->model_file, err);
    if (status == JOULET_OK && x->c->model_file)
        x->c->kept_name = jl_strdup(strchr(x->model, ':') + 1);
    if (status != JOULET_OK || x->c->model_file)
        return status;
    x->c->model_file = runtime_model_find(x->model);
    if (!x->c->model_file && ends_in_gguf(x->model) && strchr(x->model, '/') && jl_starts(x->model, "/"))
        return jl_fail(err, JOULET_USAGE, "%s: no such file; `joulet model list` shows the models there are", x->model);
    return jl_ok(err);
}

enum joulet_status runtime_choose(struct runtime_choice *c, const char *engine, const char *model,
                                  const struct runtime_start *how, struct joulet_error *err)
{
    struct choosing x = {.c = c, .model = model, .how = how, .named = engine && *engine};
    *c = (struct runtime_choice){.server.process = {.pid = -1, .ended = true}};
    enum joulet_status status = resolve_model(&x, err);
    if (status == JOULET_OK)
        status = engine && *engine ? choose_named(&x, engine, err) : choose_default(&x, err);
    if (status != JOULET_OK) {
        struct runtime_choice failed = *c;
        runtime_choice_release(c);
        c->load = failed.load;
    }
    return status;
}

/* ---- an engine for itself ---------------------------------------------------------------------------------------- */

static enum joulet_status open_first(struct engine **out, const struct runtime_wanted *w, struct joulet_error *err)
{
    char url[320];
    struct runtime_server s;
    if (!w->pulls && !w->loads && runtime_background(&s, NULL) == JOULET_OK) {
        enum joulet_status status = engine_open_as(out, s.url, s.key, w->protocol, w->cancel, err);
        runtime_server_release(&s);
        if (status == JOULET_OK)
            return status;
    }
    for (size_t i = 0; engine_table[i]; i++) {
        if (engine_table[i]->default_port <= 0 || port_seen(i))
            continue;
        engine_address(engine_table[i], url, sizeof(url));
        if (engine_open_as(out, url, w->key, w->protocol, w->cancel, NULL) != JOULET_OK)
            continue;
        if ((!w->pulls || (*out)->ops->pull) && (!w->loads || (*out)->ops->load))
            return jl_ok(err);
        engine_close(*out);
        *out = NULL;
    }
    return jl_fail(err, JOULET_UNREACHABLE, "no engine that %s answers on this machine: start one, or give --engine URL",
                   w->pulls   ? "gets models"
                   : w->loads ? "loads models"
                              : "is known");
}

/* By address and key, or our own server in the background by its address alone: its key is ours. */
static enum joulet_status open_at(struct engine **out, const char *url, const struct runtime_wanted *w, struct joulet_error *err)
{
    char *own = w->key ? NULL : background_key(url);
    enum joulet_status status = engine_open_as(out, url, w->key ? w->key : own, w->protocol, w->cancel, err);
    free(own);
    return status;
}

enum joulet_status runtime_open_engine(struct engine **out, const struct runtime_wanted *wanted, struct joulet_error *err)
{
    char url[320];
    struct runtime_wanted w = *wanted;
    *out = NULL;
    w.key = w.key ? w.key : jl_env("JOULET_ENGINE_KEY");
    if (!w.engine || !*w.engine)
        return open_first(out, &w, err);
    const struct engine_cloud *cloud = engine_cloud_named(w.engine);
    if (cloud || is_address(w.engine))
        return open_at(out, cloud ? cloud->host : w.engine, &w, err);
    const struct engine_ops *ops = protocol_named(w.engine);
    if (!ops)
        return jl_fail(err, JOULET_USAGE,
                       "--engine %.100s is neither an address nor the name of a protocol: say http://HOST:PORT, or a "
                       "name such as ollama",
                       w.engine);
    w.protocol = w.protocol ? w.protocol : ops->name;
    if (ops->beside) /* has no port of its own: by it with whatever answers */
        return open_first(out, &w, err);
    engine_address(ops, url, sizeof(url));
    return open_at(out, url, &w, err);
}

void runtime_choice_release(struct runtime_choice *c)
{
    engine_close(c->engine);
    if (c->started)
        runtime_server_stop(&c->server);
    else
        runtime_server_release(&c->server);
    free(c->model_file);
    free(c->model);
    free(c->kept_name);
    *c = (struct runtime_choice){.server.process = {.pid = -1, .ended = true}};
}
