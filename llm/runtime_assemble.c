/* runtime_assemble.c - from a tree of unpacked packages to one flat folder that runs by itself: the programs, the compute
 * backends (opened at run time, so nobody names them), and every library that those name, followed until nothing is missing. */
#include "llm/runtime_private.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define FILE_MAX_BYTES ((size_t)512 << 20)
#define DEPTH_MAX      16

static const struct {
    const char *name;
    bool required;
} programs[] = {{RUNTIME_PROGRAM, true},
                {"llama-bench", false},
                {"llama-cli", false},
                {"llama-completion", false},
                {"llama-quantize", false}};

struct item {
    char *name, *path;
};
struct assembly {
    const char *tree, *folder;
    struct item *found; /* every shared library of the tree */
    size_t n_found;
    struct item *take; /* what goes into the folder; grows while it is walked */
    size_t n_take;
};

static bool push(struct item **list, size_t *n, const char *name, const char *path)
{
    struct item *grown = realloc(*list, (*n + 1) * sizeof(*grown));
    if (!grown)
        return false;
    *list = grown;
    grown[*n] = (struct item){jl_strdup(name), jl_strdup(path)};
    return grown[(*n)++].path != NULL;
}

static void release(struct item *list, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        free(list[i].name);
        free(list[i].path);
    }
    free(list);
}

static const struct item *by_name(const struct item *list, size_t n, const char *name)
{
    for (size_t i = 0; i < n; i++)
        if (list[i].name && strcmp(list[i].name, name) == 0)
            return &list[i];
    return NULL;
}

/* A regular file, perhaps through links, that lies inside the tree: a link of a package must not lead into the machine. */
static bool inside(const char *tree, const char *path)
{
    char real[PATH_MAX], root[PATH_MAX];
    struct stat st;
    if (!realpath(path, real) || !realpath(tree, root) || stat(real, &st) != 0 || !S_ISREG(st.st_mode))
        return false;
    size_t n = strlen(root);
    return strncmp(real, root, n) == 0 && real[n] == '/';
}

static bool is_library_name(const char *name)
{
    const char *so = strstr(name, ".so");
    return so && (so[3] == '\0' || so[3] == '.');
}

static bool find_libraries(struct assembly *a, const char *dir, int depth)
{
    char **names;
    size_t n;
    bool fits = true;
    if (depth == DEPTH_MAX || jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return true;
    for (size_t i = 0; i < n && fits; i++) {
        struct stat st;
        char *path = jl_strf("%s/%s", dir, names[i]);
        fits = path != NULL;
        if (fits && lstat(path, &st) == 0 && S_ISDIR(st.st_mode))
            fits = find_libraries(a, path, depth + 1);
        else if (fits && is_library_name(names[i]) && inside(a->tree, path))
            fits = push(&a->found, &a->n_found, names[i], path);
        free(path);
    }
    jl_free_list(names, n);
    return fits;
}

static enum joulet_status take_programs(struct assembly *a, struct joulet_error *err)
{
    for (size_t i = 0; i < JL_COUNT(programs); i++) {
        char *path = jl_strf("%s/usr/bin/%s", a->tree, programs[i].name);
        bool there = path && inside(a->tree, path), fits = !there || push(&a->take, &a->n_take, programs[i].name, path);
        free(path);
        if (!fits)
            return jl_fail(err, JOULET_MEMORY, "out of memory");
        if (!there && programs[i].required)
            return jl_fail(err, JOULET_NOT_FOUND, "the packages hold no %s", programs[i].name);
    }
    return jl_ok(err);
}

/* .../ggml/backends0/libggml-cpu-zen4.so and its like. */
static enum joulet_status take_backends(struct assembly *a, struct joulet_error *err)
{
    size_t taken = 0;
    for (size_t i = 0; i < a->n_found; i++) {
        const char *at = strstr(a->found[i].path, "/ggml/");
        if (!at || !jl_starts(a->found[i].name, "libggml-"))
            continue;
        if (!push(&a->take, &a->n_take, a->found[i].name, a->found[i].path))
            return jl_fail(err, JOULET_MEMORY, "out of memory");
        taken++;
    }
    return taken ? jl_ok(err) : jl_fail(err, JOULET_NOT_FOUND, "the packages hold no compute backend");
}

static enum joulet_status take_library(struct assembly *a, const char *name, const char *wanted_by, struct joulet_error *err)
{
    if (by_name(a->take, a->n_take, name))
        return jl_ok(err);
    const struct item *x = by_name(a->found, a->n_found, name);
    if (!x)
        return jl_fail(err, JOULET_NOT_FOUND, "no package brought %s, which %s needs", name, wanted_by);
    return push(&a->take, &a->n_take, x->name, x->path) ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory");
}

static enum joulet_status take_needs(struct assembly *a, const char *name, const struct jl_buf *file, struct joulet_error *err)
{
    struct elf_needs needs;
    struct joulet_error why;
    enum joulet_status status = elf_needs_parse((const uint8_t *)file->data, file->len, &needs, &why);
    if (status != JOULET_OK)
        return jl_fail(err, status, "%s cannot be used: %s", name, why.message);
    for (size_t i = 0; i < needs.n && status == JOULET_OK; i++)
        status = take_library(a, needs.names[i], name, err);
    const char *slash = needs.interpreter ? strrchr(needs.interpreter, '/') : NULL;
    if (status == JOULET_OK && slash)
        status = take_library(a, slash + 1, name, err);
    elf_needs_release(&needs);
    return status;
}

/* Copies the i-th file and takes what it needs. */
static enum joulet_status put(struct assembly *a, size_t i, struct joulet_error *err)
{
    struct jl_buf file;
    char *to = jl_strf("%s/%s", a->folder, a->take[i].name), *name = jl_strdup(a->take[i].name);
    jl_buf_init(&file, FILE_MAX_BYTES);
    enum joulet_status status =
        to && name ? jl_read_file(a->take[i].path, &file, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = take_needs(a, name, &file, err);
    if (status == JOULET_OK)
        status = jl_write_file(to, file.data, file.len, 0755, err);
    jl_buf_release(&file);
    free(name);
    free(to);
    return status;
}

enum joulet_status runtime_assemble(const char *tree, const char *folder, struct joulet_error *err)
{
    struct assembly a = {.tree = tree, .folder = folder};
    enum joulet_status status =
        find_libraries(&a, tree, 0) ? take_programs(&a, err) : jl_fail(err, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = take_backends(&a, err);
    for (size_t i = 0; i < a.n_take && status == JOULET_OK; i++)
        status = put(&a, i, err);
    release(a.found, a.n_found);
    release(a.take, a.n_take);
    return status;
}

bool runtime_copy_licence(const char *tree, struct slice package, const char *folder)
{
    struct jl_buf text;
    char *from = jl_strf("%s/usr/share/doc/%.*s/copyright", tree, (int)package.n, package.at);
    char *dir = jl_strf("%s/licences", folder);
    char *to = dir ? jl_strf("%s/%.*s", dir, (int)package.n, package.at) : NULL;
    jl_buf_init(&text, FILE_MAX_BYTES);
    bool copied = from && to && inside(tree, from) && jl_read_file(from, &text, NULL) == JOULET_OK &&
                  jl_make_dirs(dir, NULL) == JOULET_OK && jl_write_file(to, text.data, text.len, 0644, NULL) == JOULET_OK;
    jl_buf_release(&text);
    free(to);
    free(dir);
    free(from);
    return copied;
}
