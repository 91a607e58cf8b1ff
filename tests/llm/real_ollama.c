/* real_ollama.c - see real_ollama.h. */
#include "tests/llm/real_ollama.h"

#include "tests/llm/real_engines.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

bool real_ollama_find(struct real_ollama *o)
{
    const char *data = getenv("JOULET_DATA_DIR"), *home = getenv("HOME");
    char *path = runtime_on_path();
    *o = (struct real_ollama){.process = {.pid = -1, .ended = true}};
    real_path(o->program, sizeof o->program, "ollama-0.34.2/bin/ollama");
    snprintf(o->llama_server, sizeof o->llama_server, "%s", path ? path : "");
    free(path);
    snprintf(o->engine_dir, sizeof o->engine_dir, data ? "%s/joulet/engine" : "%s/.local/share/joulet/engine",
             data   ? data
             : home ? home
                    : "");
    char *manifest = jl_strf("%s/MANIFEST", o->engine_dir);
    bool installed = manifest && access(manifest, R_OK) == 0;
    free(manifest);
    return o->program[0] && (installed || o->llama_server[0]);
}

/* Ollama looks for its runner below the folder it is started in. */
static bool write_runner(const struct real_ollama *o)
{
    char text[16384], *loader = NULL;
    static const char *const loaders[] = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"};
    for (size_t i = 0; i < JL_COUNT(loaders) && !loader; i++) {
        char *path = jl_strf("%s/%s", o->engine_dir, loaders[i]);
        loader = path && access(path, X_OK) == 0 ? jl_strdup(loaders[i]) : NULL;
        free(path);
    }
    if (loader)
        snprintf(
            text, sizeof text,
            "#!/bin/sh\nunset LD_LIBRARY_PATH\ncd '%s' && exec ./%s --argv0 llama-server --inhibit-cache --library-path '%s' "
            "./llama-server \"$@\"\n",
            o->engine_dir, loader, o->engine_dir);
    else
        snprintf(text, sizeof text, "#!/bin/sh\nexec '%s' \"$@\"\n", o->llama_server);
    free(loader);
    char *dir = jl_strf("%s/build/lib/ollama", o->dir), *path = jl_strf("%s/llama-server", dir);
    bool written = jl_make_dirs(dir, NULL) == JOULET_OK && jl_write_file(path, text, strlen(text), 0755, NULL) == JOULET_OK &&
                   chmod(path, 0755) == 0;
    free(dir);
    free(path);
    return written;
}

bool real_ollama_start(struct real_ollama *o, const char *dir)
{
    int port = real_port();
    char host[64], home[600], models[700], log[600];
    snprintf(o->dir, sizeof o->dir, "%s", dir);
    snprintf(o->url, sizeof o->url, "http://127.0.0.1:%d", port);
    snprintf(o->models, sizeof o->models, "%s/ollama-models", dir);
    snprintf(host, sizeof host, "OLLAMA_HOST=127.0.0.1:%d", port);
    snprintf(home, sizeof home, "HOME=%s", dir);
    snprintf(models, sizeof models, "OLLAMA_MODELS=%s", o->models);
    snprintf(log, sizeof log, "%s/ollama.log", dir);
    const char *const argv[] = {o->program, "serve", NULL};
    const char *const env[] = {host, home, models, "OLLAMA_NO_CLOUD=1", "LLAMA_ARG_THREADS=1", "GIN_MODE=release", NULL};
    struct jl_spawn how = {.argv = argv, .env = env, .cwd = o->dir, .log = log};
    if (!write_runner(o) || jl_spawn(&o->process, &how, NULL) != JOULET_OK)
        return false;
    struct engine *e = real_wait(&o->process, o->url, 120, NULL);
    if (!e)
        real_show_log(log);
    engine_close(e);
    return e != NULL;
}

void real_ollama_stop(struct real_ollama *o)
{
    jl_process_stop(&o->process, 10); /* SIGTERM also ends its runners */
}

int real_ollama_post(const struct real_ollama *o, const char *path, const void *body, size_t n)
{
    char *url = jl_strf("%s%s", o->url, path);
    struct net_request q = {.method = strstr(path, "delete") ? "DELETE" : "POST", .url = url, .body = body, .body_len = n};
    struct net_response r;
    net_http(&q, &r, NULL);
    int status = r.status;
    net_response_release(&r);
    free(url);
    return status;
}

bool real_ollama_create(const struct real_ollama *o, const char *name, const char *file)
{
    char hex[65], path[128], body[512];
    struct jl_buf b;
    struct jl_sha256 sha;
    jl_buf_init(&b, 1 << 26);
    bool read = jl_read_file(file, &b, NULL) == JOULET_OK;
    jl_sha256_init(&sha);
    jl_sha256_add(&sha, b.data, b.len);
    jl_sha256_hex(&sha, hex);
    snprintf(path, sizeof path, "/api/blobs/sha256:%s", hex);
    bool sent = read && real_ollama_post(o, path, b.data, b.len) == 201;
    jl_buf_release(&b);
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"files\":{\"x.gguf\":\"sha256:%s\"},\"stream\":false}", name, hex);
    return sent && real_ollama_post(o, "/api/create", body, strlen(body)) == 200;
}
