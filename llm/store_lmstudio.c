/* store_lmstudio.c - "lmstudio:NAME": the GGUF file that LM Studio keeps. Its home is ~/.lmstudio, in older versions
 * ~/.cache/lm-studio, or what ~/.lmstudio-home-pointer names; its settings.json may name another folder for models
 * (`downloadsFolder`). Models lie there as PUBLISHER/REPOSITORY/FILE.gguf. LM Studio's own keys ("qwen/qwen3-4b") are no paths:
 * their last part is the repository's name without "-GGUF". */
#include "llm/engine_wire.h"
#include "llm/runtime_private.h"

#include <stdlib.h>
#include <string.h>
#include <strings.h>

#define SETTINGS_MAX ((size_t)4 << 20)
#define FOUND_MAX    64

struct search {
    const char *name, *last; /* as given; its last part */
    bool by_last;            /* second round: other publishers' copies of the same repository */
    char *found[FOUND_MAX];
    size_t n;
    bool mlx; /* a folder of that name holds a model of another kind */
};

/* ---- the folder ------------------------------------------------------------------------------------------------------------ */

static char *pointed_home(const char *home)
{
    char text[1024], *pointer = jl_strf("%s/.lmstudio-home-pointer", home);
    bool there = pointer && jl_read_text(pointer, text, sizeof(text), NULL) == JOULET_OK && text[0] == '/';
    free(pointer);
    return there ? jl_strdup(text) : NULL;
}

static char *named_folder(const char *studio)
{
    struct jl_buf b;
    char *path = jl_strf("%s/settings.json", studio), *folder = NULL;
    jl_buf_init(&b, SETTINGS_MAX);
    if (path && jl_read_file(path, &b, NULL) == JOULET_OK) {
        json_t *root = wire_object(b.data ? b.data : "", b.len);
        const char *named = wire_string(root, "downloadsFolder");
        folder = named[0] == '/' ? jl_strdup(named) : NULL;
        json_decref(root);
    }
    jl_buf_release(&b);
    free(path);
    return folder;
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static bool ends_in(const char *s, const char *end)
{
    size_t n = strlen(s), m = strlen(end);
    return n > m && strcasecmp(s + n - m, end) == 0;
}

/* The same but for an ending, and for capitals. */
static bool same_but(const char *full, const char *name, const char *ending)
{
    size_t n = strlen(full), cut = ends_in(full, ending) ? n - strlen(ending) : n;
    return strcasecmp(full, name) == 0 || (strlen(name) == cut && strncasecmp(full, name, cut) == 0);
}

static bool names_file(const struct search *s, const char *publisher, const char *repository, const char *file)
{
    char *folder = jl_strf("%s/%s", publisher, repository), *whole = jl_strf("%s/%s/%s", publisher, repository, file);
    bool same =
        folder && whole &&
        (same_but(whole, s->name, ".gguf") || same_but(folder, s->name, "-GGUF") || same_but(repository, s->name, "-GGUF") ||
         same_but(file, s->name, ".gguf") || (s->by_last && same_but(repository, s->last, "-GGUF")));
    free(folder);
    free(whole);
    return same;
}

/* Of a model in parts llama.cpp wants the first; what stands beside a model for pictures is no model. */
static bool is_model(const char *file)
{
    const char *part = strstr(file, "-of-");
    return ends_in(file, ".gguf") && strncasecmp(file, "mmproj", 6) != 0 &&
           (!part || part - file < 6 || strncmp(part - 6, "-00001", 6) == 0);
}

/* ---- the search -------------------------------------------------------------------------------------------------- */

static void in_repository(struct search *s, const char *root, const char *publisher, const char *repository)
{
    char **files, *path = jl_strf("%s/%s/%s", root, publisher, repository);
    size_t n;
    if (path && jl_list_dir(path, &files, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++) {
            s->mlx |= ends_in(files[i], ".safetensors") && names_file(s, publisher, repository, files[i]);
            if (s->n < FOUND_MAX && is_model(files[i]) && names_file(s, publisher, repository, files[i]))
                s->found[s->n++] = jl_strf("%s/%s", path, files[i]);
        }
        jl_free_list(files, n);
    }
    free(path);
}

static void in_publisher(struct search *s, const char *root, const char *publisher)
{
    char **names, *path = jl_strf("%s/%s", root, publisher);
    size_t n;
    if (path && jl_list_dir(path, &names, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++)
            in_repository(s, root, publisher, names[i]);
        jl_free_list(names, n);
    }
    free(path);
}

static bool in_folder(struct search *s, const char *root)
{
    char **names;
    size_t n;
    if (jl_list_dir(root, &names, &n, NULL) != JOULET_OK)
        return false;
    for (size_t i = 0; i < n; i++)
        in_publisher(s, root, names[i]);
    jl_free_list(names, n);
    return true;
}

/* Where the folder is named by the settings, the usual one is not looked at, as LM Studio does. */
static bool in_home(struct search *s, char *studio)
{
    char *folder = studio ? named_folder(studio) : NULL;
    if (studio && !folder)
        folder = jl_strf("%s/models", studio);
    bool there = folder && in_folder(s, folder);
    free(folder);
    free(studio);
    return there;
}

static bool everywhere(struct search *s, const char *home)
{
    char *pointed = pointed_home(home);
    if (pointed)
        return in_home(s, pointed);
    bool there = in_home(s, jl_strf("%s/.lmstudio", home));
    return in_home(s, jl_strf("%s/.cache/lm-studio", home)) || there;
}

static enum joulet_status several(const struct search *s, struct joulet_error *err)
{
    struct jl_buf names;
    jl_buf_init(&names, 240);
    for (size_t i = 0; i < s->n; i++)
        jl_buf_printf(&names, "%s%s", i ? ", " : "", strrchr(s->found[i], '/') + 1);
    jl_fail(err, JOULET_USAGE, "LM Studio keeps %zu files of '%.80s': name one, as in lmstudio:FILE (%s)", s->n, s->name,
            names.data ? names.data : "");
    jl_buf_release(&names);
    return JOULET_USAGE;
}

enum joulet_status runtime_store_lmstudio(const char *name, char **path, struct joulet_error *err)
{
    const char *slash = strrchr(name, '/'), *home = jl_env("HOME");
    struct search s = {.name = name, .last = slash ? slash + 1 : name};
    enum joulet_status status = jl_ok(err);
    *path = NULL;
    if (!name[0] || !s.last[0])
        return jl_fail(err, JOULET_USAGE,
                       "'lmstudio:%.80s' is no name of a model of LM Studio: write lmstudio:NAME as `lms ls` does", name);
    bool there = home && everywhere(&s, home);
    if (there && !s.n && slash) {
        s.by_last = true;
        everywhere(&s, home);
    }
    if (!there)
        status =
            jl_fail(err, JOULET_USAGE,
                    "LM Studio keeps no models on this machine: neither ~/.lmstudio nor ~/.cache/lm-studio has a folder of them");
    else if (!s.n && s.mlx)
        status = jl_fail(err, JOULET_USAGE,
                         "LM Studio's '%.80s' is an MLX model, which no GGUF engine loads: ask LM Studio itself, with --engine "
                         "lmstudio -m %.80s",
                         name, name);
    else if (!s.n)
        status = jl_fail(err, JOULET_USAGE, "LM Studio keeps no model '%.80s': `lms ls` shows those it has", name);
    else if (s.n > 1)
        status = several(&s, err);
    else if (!(*path = jl_strdup(s.found[0])))
        status = jl_fail(err, JOULET_MEMORY, "out of memory");
    for (size_t i = 0; i < s.n; i++)
        free(s.found[i]);
    return status;
}
