/* runtime.c - where the private engine lives and what is installed there. <data>/engine holds programs, libraries, compute
 * backends and the loader in one flat folder: ggml looks for backends beside /proc/self/exe, which is the loader. MANIFEST says
 * which packages they came from. */
#include "llm/runtime_private.h"

#include <errno.h>
#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

char *runtime_path(const char *below_data, struct joulet_error *err)
{
    char *data = jl_data_dir(err);
    char *path = data ? jl_strf("%s/%s", data, below_data) : NULL;
    if (data && !path)
        jl_fail(err, JOULET_MEMORY, "out of memory");
    free(data);
    return path;
}

/* Puts an engine back that a run killed between two renames left aside. */
char *runtime_folder(struct joulet_error *err)
{
    char *folder = runtime_path("engine", err), *old = runtime_path("engine.old", err);
    if (folder && old && access(folder, F_OK) != 0 && access(old, F_OK) == 0)
        (void)rename(old, folder);
    free(old);
    return folder;
}

static int remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path) == 0 || errno == ENOENT ? 0 : -1;
}

bool runtime_remove_tree(const char *path)
{
    return nftw(path, remove_one, 16, FTW_DEPTH | FTW_PHYS) == 0 || access(path, F_OK) != 0;
}

/* ---- what is installed ------------------------------------------------------------------------------------------------ */

/* "1:0.7.0+dfsg-2" is 0.7.0: without epoch, repacking and revision. */
static void upstream_version(const char *version, char *out, size_t size)
{
    const char *colon = strchr(version, ':');
    const char *from = colon ? colon + 1 : version;
    snprintf(out, size, "%.*s", (int)strcspn(from, "+-~"), from);
}

enum joulet_status runtime_version(char *buf, size_t size, struct joulet_error *err)
{
    struct jl_buf manifest;
    char version[128] = "";
    char *folder = runtime_folder(err);
    char *path = folder ? jl_strf("%s/MANIFEST", folder) : NULL;
    free(folder);
    if (!path)
        return JOULET_IO;
    jl_buf_init(&manifest, 1 << 20);
    if (jl_read_file(path, &manifest, NULL) == JOULET_OK) {
        const char *line = strstr(manifest.data, "\nllama.cpp-tools ");
        if (line)
            sscanf(line, " llama.cpp-tools %127s", version);
    }
    jl_buf_release(&manifest);
    free(path);
    if (!*version)
        return jl_fail(err, JOULET_NOT_FOUND, "no private llama.cpp is installed: `joulet engine install` gets it");
    upstream_version(version, buf, size);
    return jl_ok(err);
}

enum joulet_status runtime_remove(struct joulet_error *err)
{
    struct runtime_server s;
    char version[64];
    if (runtime_background(&s, NULL) == JOULET_OK) {
        bool ours = s.private_engine;
        runtime_server_release(&s);
        if (ours)
            return jl_fail(err, JOULET_BUSY, "the private llama.cpp is running: end it first with `joulet engine stop`");
    }
    enum joulet_status status = runtime_version(version, sizeof(version), err);
    char *folder = status == JOULET_OK ? runtime_folder(err) : NULL;
    if (folder && !runtime_remove_tree(folder))
        status = jl_fail(err, JOULET_IO, "%s could not be removed whole: remove the rest by hand", folder);
    free(folder);
    return status;
}

/* ---- running it ---------------------------------------------------------------------------------------------------------- */

void args_add(struct args *a, const char *fmt, ...)
{
    char text[4096];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    char **v = a->failed ? NULL : realloc(a->v, (a->n + 2) * sizeof(*v));
    if (v)
        a->v = v;
    char *copy = v && n >= 0 && (size_t)n < sizeof(text) ? jl_strdup(text) : NULL;
    if (!copy) {
        a->failed = true;
        return;
    }
    a->v[a->n++] = copy;
    a->v[a->n] = NULL;
}

void args_release(struct args *a)
{
    for (size_t i = 0; i < a->n; i++)
        free(a->v[i]);
    free(a->v);
    *a = (struct args){0};
}

/* The loader has no fixed name: ld-linux-x86-64.so.2, ld-linux-aarch64.so.1, ... */
static char *find_loader(const char *folder)
{
    char **names, *loader = NULL;
    size_t n;
    if (jl_list_dir(folder, &names, &n, NULL) != JOULET_OK)
        return NULL;
    for (size_t i = 0; i < n && !loader; i++)
        if (jl_starts(names[i], "ld") && !jl_starts(names[i], "ld.so.c") && strstr(names[i], ".so"))
            loader = jl_strf("%s/%s", folder, names[i]);
    jl_free_list(names, n);
    return loader;
}

enum joulet_status args_private(struct args *a, const char *folder, const char *program, struct joulet_error *err)
{
    char *loader = find_loader(folder), *path = jl_strf("%s/%s", folder, program);
    enum joulet_status status = jl_ok(err);
    *a = (struct args){0};
    if (!loader || !path || access(path, X_OK) != 0)
        status = jl_fail(err, JOULET_NOT_FOUND, "no private llama.cpp is installed: `joulet engine install` gets it");
    if (status == JOULET_OK) {
        args_add(a, "%s", loader);
        args_add(a, "--argv0");
        args_add(a, "%s", program);
        args_add(a, "--inhibit-cache");
        args_add(a, "--library-path");
        args_add(a, "%s", folder);
        args_add(a, "%s", path);
    }
    free(path);
    free(loader);
    return status;
}
