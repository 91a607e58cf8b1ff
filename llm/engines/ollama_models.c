/* ollama_models.c - where Ollama listens, how it is recognised, and its models: list, details, load, unload
 * (docs/engines.md, "Ollama"). */
#include "lib/platform/platform.h"
#include "llm/engines/ollama_private.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LOAD_IDLE_S 1800.0 /* nothing comes while it loads */

/* ---- where it listens -------------------------------------------------------------------------------------------- */

/* The server's variable and the client's: what means "all interfaces" to the server is this machine to us. */
bool ollama_host_url(const char *value, char *url, size_t size)
{
    char host[256], scheme[8] = "http";
    const char *from = value + strspn(value, " \t\"'");
    size_t n = strlen(from);
    long port = 11434;
    while (n && strchr(" \t\"'/", from[n - 1]))
        n--;
    const char *mark = memmem(from, n, "://", 3);
    if (mark) {
        bool secure = jl_starts(from, "https://");
        snprintf(scheme, sizeof(scheme), "%s", secure ? "https" : "http");
        port = secure ? 443 : 80;
        n -= (size_t)(mark + 3 - from);
        from = mark + 3;
    }
    const char *slash = memchr(from, '/', n);
    size_t all = n;
    n = slash ? (size_t)(slash - from) : n;
    if (all >= sizeof(host))
        return false;
    snprintf(host, sizeof(host), "%.*s", (int)n, from);
    char *colon = strrchr(host, ':'), *bracket = strrchr(host, ']');
    bool bare_v6 = host[0] != '[' && strchr(host, ':') != colon;
    if (colon && !bare_v6 && (!bracket || colon > bracket)) {
        int64_t told;
        *colon = '\0';
        if (jl_parse_i64(colon + 1, &told) && told >= 0 && told <= 65535)
            port = (long)told;
        else if (!mark)
            port = 11434;
    }
    const char *name = !host[0] || strcmp(host, "0.0.0.0") == 0 ? "127.0.0.1" : host;
    bool any_v6 = strcmp(host, "::") == 0 || strcmp(host, "[::]") == 0;
    if (any_v6)
        name = "[::1]";
    if (strcmp(name, "ollama.com") == 0 && !mark)
        snprintf(scheme, sizeof(scheme), "https"), port = 443;
    int len = snprintf(url, size, bare_v6 && !any_v6 ? "%s://[%s]:%ld%.*s" : "%s://%s:%ld%.*s", scheme, name, port,
                       slash ? (int)(all - n) : 0, slash ? slash : "");
    return len > 0 && (size_t)len < size;
}

bool ollama_address(char *url, size_t size)
{
    const char *value = jl_env("OLLAMA_HOST");
    return ollama_host_url(value ? value : "", url, size);
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

static void copy(char *out, size_t size, const json_t *object, const char *key)
{
    const char *s = wire_string(object, key);
    if (*s)
        wire_clean(out, size, s, strlen(s));
}

/* "8.0B", "4.46M": rounded, so only where nothing better is told. */
static int64_t read_size_word(const char *word)
{
    char *end;
    double x = strtod(word, &end);
    double scale = *end == 'K' ? 1e3 : *end == 'M' ? 1e6 : *end == 'B' ? 1e9 : *end == 'T' ? 1e12 : 0;
    return end > word && scale > 0 && x > 0 && x < 1e6 ? (int64_t)(x * scale + 0.5) : -1;
}

static void read_details(const json_t *details, struct engine_model *m)
{
    const char *format = wire_string(details, "format");
    int64_t context = wire_count(details, "context_length");
    if (strcmp(format, "gguf") == 0)
        snprintf(m->runtime, sizeof(m->runtime), "llama.cpp");
    else if (strcmp(format, "safetensors") == 0)
        snprintf(m->runtime, sizeof(m->runtime), "mlx");
    copy(m->quantisation, sizeof(m->quantisation), details, "quantization_level");
    copy(m->architecture, sizeof(m->architecture), details, "family");
    if (m->params < 0)
        m->params = read_size_word(wire_string(details, "parameter_size"));
    if (context >= 0)
        m->context_length = context;
}

static void read_capabilities(const json_t *list, struct engine_model *m)
{
    size_t i;
    json_t *word;
    struct jl_buf b;
    jl_buf_init(&b, sizeof(m->capabilities) - 1);
    json_array_foreach(list, i, word)
    {
        if (json_is_string(word))
            jl_buf_printf(&b, "%s%s", b.len ? " " : "", json_string_value(word));
    }
    if (b.len)
        wire_clean(m->capabilities, sizeof(m->capabilities), b.data, b.len);
    jl_buf_release(&b);
}

static void read_tag(const json_t *item, struct engine_model *m)
{
    engine_model_init(m);
    copy(m->name, sizeof(m->name), item, "name");
    if (!m->name[0])
        copy(m->name, sizeof(m->name), item, "model");
    copy(m->digest, sizeof(m->digest), item, "digest");
    m->bytes = wire_count(item, "size");
    read_details(json_object_get(item, "details"), m);
    read_capabilities(json_object_get(item, "capabilities"), m);
}

enum joulet_status ollama_read_tags(const char *json, size_t n, struct engine_model **out, size_t *count,
                                    struct joulet_error *err)
{
    return wire_list(json, n, "models", read_tag, out, count, err);
}

static void read_loaded(const json_t *item, struct engine_model *m)
{
    m->loaded = true;
    m->loaded_bytes = wire_count(item, "size");
    m->gpu_bytes = wire_count(item, "size_vram");
    m->loaded_context = wire_count(item, "context_length");
    copy(m->expires, sizeof(m->expires), item, "expires_at");
}

void ollama_read_ps(const char *json, size_t n, struct engine_model *list, size_t count)
{
    json_t *root = wire_object(json, n), *item;
    size_t i;
    json_array_foreach(json_object_get(root, "models"), i, item)
    {
        for (size_t k = 0; k < count; k++)
            if (strcmp(list[k].name, wire_string(item, "name")) == 0)
                read_loaded(item, &list[k]);
    }
    json_decref(root);
}

bool ollama_read_loaded(const char *json, size_t n, struct engine_model *m)
{
    json_t *root = wire_object(json, n), *item = json_array_get(json_object_get(root, "models"), 0);
    read_tag(item, m);
    m->bytes = -1; /* the size told here is that in memory */
    if (item)
        read_loaded(item, m);
    json_decref(root);
    return m->name[0] != '\0';
}

/* FROM of the model file: the blob, where the server keeps it as a path. */
static void read_path(const json_t *root, char *path, size_t size)
{
    const char *text = wire_string(root, "modelfile"), *from = strstr(text, "\nFROM /");
    path[0] = '\0';
    if (from) {
        from += strlen("\nFROM ");
        size_t n = strcspn(from, "\n");
        if (n < size)
            wire_clean(path, size, from, n);
    }
}

bool ollama_read_show(const char *json, size_t n, struct engine_model *m, char *path, size_t size)
{
    char key[96];
    json_t *root = wire_object(json, n);
    const json_t *info = json_object_get(root, "model_info");
    bool ours = json_is_object(json_object_get(root, "details"));
    if (ours) {
        int64_t params = wire_count(info, "general.parameter_count");
        read_details(json_object_get(root, "details"), m);
        read_capabilities(json_object_get(root, "capabilities"), m);
        copy(m->architecture, sizeof(m->architecture), info, "general.architecture");
        snprintf(key, sizeof(key), "%s.context_length", m->architecture);
        int64_t context = wire_count(info, key);
        m->params = params >= 0 ? params : m->params;
        m->context_length = context >= 0 ? context : m->context_length;
        read_path(root, path, size);
    }
    json_decref(root);
    return ours;
}

/* What Ollama calls memory of a GPU is every buffer of its runner that is not plainly the processor's, so those of AMX too
 * (0.34): where no GPU is to be seen it is unknown, not 0, for the engine may see more from its container than we from ours. */
static void doubt_gpu(const struct engine *e, struct engine_model *m)
{
    if (e->local && m->gpu_bytes > 0 && !jl_gpu_here())
        m->gpu_bytes = -1;
}

/* ---- recognition ------------------------------------------------------------------------------------------------- */

static void take_model(struct engine *e, const struct engine_model *m)
{
    struct engine_info *i = &e->info;
    memcpy(i->model, m->name, sizeof(i->model));
    memcpy(i->runtime, m->runtime, sizeof(i->runtime));
    memcpy(i->quantisation, m->quantisation, sizeof(i->quantisation));
    memcpy(i->architecture, m->architecture, sizeof(i->architecture));
    memcpy(i->digest, m->digest, sizeof(i->digest));
    i->model_bytes = m->bytes;
    i->model_params = m->params;
    i->context_length = m->loaded_context;
    i->gpu_bytes = m->gpu_bytes;
    i->gpu_layers = m->gpu_bytes == 0 ? 0 : -1; /* of a part it does not tell how many */
}

bool ollama_read_version(const char *json, size_t n, char *version, size_t size)
{
    json_t *root = wire_object(json, n);
    bool ours = json_is_string(json_object_get(root, "version")) && !json_object_get(root, "error");
    if (ours)
        wire_clean(version, size, wire_string(root, "version"), strlen(wire_string(root, "version")));
    json_decref(root);
    return ours;
}

enum joulet_status ollama_recognise(struct engine *e, struct joulet_error *err)
{
    struct net_response r;
    struct engine_model loaded;
    enum joulet_status status = engine_get(e, "/api/version", &r, err);
    bool ours = status == JOULET_OK && r.status == 200 && r.body.data &&
                ollama_read_version(r.body.data, r.body.len, e->info.version, sizeof(e->info.version));
    net_response_release(&r);
    if (status != JOULET_OK)
        return status;
    if (!ours)
        return jl_fail(err, JOULET_NOT_FOUND, "%s is no Ollama", e->url);
    if (engine_get(e, "/api/ps", &r, NULL) == JOULET_OK && r.status == 200 && r.body.data &&
        ollama_read_loaded(r.body.data, r.body.len, &loaded)) {
        doubt_gpu(e, &loaded);
        take_model(e, &loaded);
    }
    net_response_release(&r);
    return jl_ok(err);
}

/* ---- asking ------------------------------------------------------------------------------------------------------ */

static enum joulet_status refused(const struct engine *e, const char *model, const struct net_response *r,
                                  struct joulet_error *err)
{
    struct generated g;
    char words[220];
    generated_init(&g);
    wire_error_text(&g, r->body.data ? r->body.data : "", r->body.len);
    wire_clean(words, sizeof(words), g.engine_error, strlen(g.engine_error));
    generated_release(&g);
    if (r->status == 404)
        return jl_fail(err, JOULET_NOT_FOUND,
                       "the engine at %s has no model %.100s: `joulet model list --engine %s` names those it has, `joulet model "
                       "pull` gets one",
                       e->url, model, e->url);
    return jl_fail(err, JOULET_ENGINE, "the engine at %s refused this for %.100s (HTTP %d): \"%s\"", e->url, model, r->status,
                   words);
}

enum joulet_status ollama_models(struct engine *e, struct engine_model **out, size_t *n, struct joulet_error *err)
{
    struct net_response r;
    *out = NULL;
    *n = 0;
    enum joulet_status status = engine_get(e, "/api/tags", &r, err);
    if (status == JOULET_OK)
        status = ollama_read_tags(r.body.data ? r.body.data : "", r.body.len, out, n, err);
    net_response_release(&r);
    if (status == JOULET_OK && engine_get(e, "/api/ps", &r, NULL) == JOULET_OK) {
        ollama_read_ps(r.body.data ? r.body.data : "", r.body.len, *out, *n);
        net_response_release(&r);
    }
    for (size_t i = 0; i < *n; i++)
        doubt_gpu(e, &(*out)[i]);
    return status;
}

static enum joulet_status show(struct engine *e, struct engine_model *m, struct joulet_error *err)
{
    struct net_response r;
    enum joulet_status status = engine_ask(e, "POST", "/api/show", json_pack("{s:s}", "model", m->name), 0, &r, err);
    if (status == JOULET_OK && r.status != 200)
        status = refused(e, m->name, &r, err);
    else if (status == JOULET_OK &&
             !ollama_read_show(r.body.data ? r.body.data : "", r.body.len, m, e->info.model_path, sizeof(e->info.model_path)))
        status = jl_fail(err, JOULET_FORMAT, "the engine at %s tells of %.100s in no known form", e->url, m->name);
    net_response_release(&r);
    return status;
}

/* The list has size and digest, /api/show the rest. What is asked for is what e->info then describes. */
enum joulet_status ollama_details(struct engine *e, const char *model, struct engine_model *out, struct joulet_error *err)
{
    struct engine_model *list = NULL;
    size_t n = 0;
    enum joulet_status status = ollama_models(e, &list, &n, err);
    engine_model_init(out);
    snprintf(out->name, sizeof(out->name), "%s", model);
    for (size_t i = 0; i < n; i++)
        if (engine_same_name(list[i].name, model))
            *out = list[i];
    free(list);
    if (status == JOULET_OK)
        status = show(e, out, err);
    if (status == JOULET_OK)
        take_model(e, out);
    return status;
}

/* A request without a prompt loads the model or lets go of it. Its answer tells no times. */
static enum joulet_status without_prompt(struct engine *e, const char *model, json_t *root, struct joulet_error *err)
{
    struct net_response r;
    struct generated g;
    enum joulet_status status = body_string(root, "model", model, err);
    json_object_set_new(root, "stream", json_false());
    if (status != JOULET_OK) {
        json_decref(root);
        return status;
    }
    status = engine_ask(e, "POST", "/api/generate", root, LOAD_IDLE_S, &r, err);
    generated_init(&g);
    if (status == JOULET_OK && r.status == 200)
        engine_ollama.event(&g, r.body.data ? r.body.data : "", r.body.len, 0);
    if (status == JOULET_OK && (r.status != 200 || !g.done))
        status = refused(e, model, &r, err);
    generated_release(&g);
    net_response_release(&r);
    return status;
}

enum joulet_status ollama_load(struct engine *e, const char *model, const struct generation *how, double *load_s,
                               struct joulet_error *err)
{
    json_t *root = json_object();
    double kept_s;
    *load_s = NAN;
    enum joulet_status status = how ? ollama_put_settings(root, how, err) : JOULET_OK;
    if (how && how->keep_alive && engine_keep_alive(how->keep_alive, &kept_s) && kept_s == 0)
        json_object_del(root, "keep_alive"); /* without a prompt that means "unload it": the request after it may say so */
    if (status != JOULET_OK) {
        json_decref(root);
        return status;
    }
    return without_prompt(e, model, root, err);
}

enum joulet_status ollama_unload(struct engine *e, const char *model, struct joulet_error *err)
{
    return without_prompt(e, model, json_pack("{s:i}", "keep_alive", 0), err);
}
