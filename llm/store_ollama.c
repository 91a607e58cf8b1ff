/* store_ollama.c - "ollama:NAME": the GGUF file that Ollama keeps of a model, so that another engine can be started on it. A
 * manifest below MODELS/manifests/HOST/NAMESPACE/NAME/TAG names the layers of a model by their digests; layer sha256:X lies in
 * blobs/sha256-X (docs/models.md). Its server need not run. */
#include "llm/runtime_private.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define MANIFEST_MAX ((size_t)1 << 20)

/* HOST/NAMESPACE/NAME/TAG, with what is left out filled in. */
struct model_name {
    char path[512];
};

static bool good_part(const char *s, size_t n)
{
    static const char allowed[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:";
    return n > 0 && n < 200 && s[0] != '.' && strspn(s, allowed) >= n;
}

static bool parse_name(const char *name, struct model_name *out)
{
    const char *part[3] = {NULL}, *slash;
    size_t len[3] = {0}, n = 0;
    const char *last = strrchr(name, '/');
    const char *colon = strchr(last ? last : name, ':');
    size_t all = colon ? (size_t)(colon - name) : strlen(name);
    for (const char *at = name;; at = slash + 1) {
        slash = memchr(at, '/', all - (size_t)(at - name));
        if (n == 3)
            return false;
        part[n] = at;
        len[n] = slash ? (size_t)(slash - at) : all - (size_t)(at - name);
        if (!good_part(part[n], len[n]))
            return false;
        n++;
        if (!slash)
            break;
    }
    const char *tag = colon ? colon + 1 : "latest";
    if (!good_part(tag, strlen(tag)) || strchr(tag, ':'))
        return false;
    int used = snprintf(out->path, sizeof(out->path), "%.*s/%.*s/%.*s/%s", n == 3 ? (int)len[0] : 18,
                        n == 3 ? part[0] : "registry.ollama.ai", n >= 2 ? (int)len[n - 2] : 7, n >= 2 ? part[n - 2] : "library",
                        (int)len[n - 1], part[n - 1], tag);
    return used > 0 && (size_t)used < sizeof(out->path);
}

/* Folders where it may keep them; malloc'ed, NULL at the end. */
static char *folder(size_t i)
{
    const char *own = jl_env("OLLAMA_MODELS"), *home = jl_env("HOME");
    switch (i) {
    case 0:
        return jl_strdup(own ? own : "");
    case 1:
        return jl_strf("%s/.ollama/models", home ? home : "");
    case 2:
        return jl_strdup("/usr/share/ollama/.ollama/models");
    case 3:
        return jl_strdup("/var/lib/ollama/.ollama/models");
    default:
        return NULL;
    }
}

static enum joulet_status read_manifest(const char *name, const struct model_name *m, char **dir, json_t **root,
                                        struct joulet_error *err)
{
    struct joulet_error why = {.status = JOULET_NOT_FOUND};
    bool forbidden = false;
    for (size_t i = 0; (*dir = folder(i)); i++) {
        char *path = **dir ? jl_strf("%s/manifests/%s", *dir, m->path) : NULL;
        struct jl_buf b;
        jl_buf_init(&b, MANIFEST_MAX);
        bool read = path && jl_read_file(path, &b, &why) == JOULET_OK;
        forbidden |= path && !read && why.status == JOULET_PERMISSION;
        *root = read ? json_loadb(b.data ? b.data : "", b.len, 0, NULL) : NULL;
        jl_buf_release(&b);
        free(path);
        if (*root)
            return JOULET_OK;
        free(*dir);
        *dir = NULL;
        if (read)
            return jl_fail(err, JOULET_FORMAT, "what Ollama keeps of %.150s is no manifest in the known form: pull it again",
                           name);
    }
    if (forbidden)
        return jl_fail(err, JOULET_PERMISSION,
                       "Ollama's folder of models may not be read: give yourself the right, or set OLLAMA_MODELS to another");
    return jl_fail(err, JOULET_NOT_FOUND,
                   "Ollama keeps no model %.150s in OLLAMA_MODELS, ~/.ollama/models or /usr/share/ollama: `ollama list` names "
                   "those it has",
                   name);
}

static bool is_layer(const json_t *layer, const char *kind)
{
    static const char start[] = "application/vnd.ollama.image.";
    const char *type = json_string_value(json_object_get(layer, "mediaType"));
    return type && jl_starts(type, start) && strcmp(type + sizeof start - 1, kind) == 0;
}

/* The one layer with weights; none or several are no single GGUF file. */
static enum joulet_status find_weights(const char *name, const json_t *root, const char **digest, struct joulet_error *err)
{
    size_t i, weights = 0, tensors = 0, adapters = 0;
    json_t *layer;
    *digest = NULL;
    json_array_foreach(json_object_get(root, "layers"), i, layer)
    {
        if (is_layer(layer, "model")) {
            *digest = json_string_value(json_object_get(layer, "digest"));
            weights++;
        }
        tensors += is_layer(layer, "tensor");
        adapters += is_layer(layer, "adapter");
    }
    if (adapters)
        return jl_fail(err, JOULET_UNSUPPORTED,
                       "Ollama's model %.150s is an adapter upon another model, not one GGUF file: run it with --engine ollama",
                       name);
    if (weights > 1 || tensors)
        return jl_fail(err, JOULET_UNSUPPORTED,
                       "Ollama keeps the model %.150s in several files, not in one GGUF file: run it with --engine ollama", name);
    if (!*digest || !jl_starts(*digest, "sha256:") || strlen(*digest) != 7 + 64 || strspn(*digest + 7, "0123456789abcdef") != 64)
        return jl_fail(err, JOULET_UNSUPPORTED,
                       "Ollama's model %.150s has no weights on this machine: it runs elsewhere, or its manifest is damaged",
                       name);
    return JOULET_OK;
}

enum joulet_status runtime_store_ollama(const char *name, char **path, struct joulet_error *err)
{
    struct model_name m;
    struct stat st;
    json_t *root = NULL;
    char *dir = NULL;
    const char *digest;
    *path = NULL;
    if (!parse_name(name, &m))
        return jl_fail(err, JOULET_USAGE,
                       "'ollama:%.150s' is no name of an Ollama model: write ollama:NAME, ollama:NAME:TAG or "
                       "ollama:NAMESPACE/NAME:TAG",
                       name);
    enum joulet_status status = read_manifest(name, &m, &dir, &root, err);
    if (status == JOULET_OK)
        status = find_weights(name, root, &digest, err);
    if (status == JOULET_OK)
        *path = jl_strf("%s/blobs/sha256-%s", dir, digest + 7);
    if (*path && (stat(*path, &st) != 0 || !S_ISREG(st.st_mode) || access(*path, R_OK) != 0)) {
        status = jl_fail(err, JOULET_NOT_FOUND,
                         "the file of Ollama's model %.100s, %.250s, is not there or may not be read: pull it again, or give "
                         "yourself the right",
                         name, *path);
        free(*path);
        *path = NULL;
    }
    json_decref(root);
    free(dir);
    return status == JOULET_OK ? *path ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory") : status;
}
