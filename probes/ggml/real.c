/* real.c - finding the functions this library stands in for. The caller's own library and what that depends on come first:
 * programs that load llama.cpp at run time (node, Python) have nothing behind us in the order of the process. A call that ends a
 * function of llama.cpp comes from wherever that function was called, this library included; then every library is asked. */
#include "probes/ggml/probe.h"

#include <dlfcn.h>
#include <link.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define LIBRARIES 512

struct libraries {
    const char *paths[LIBRARIES];
    int n;
};

static int note(struct dl_phdr_info *info, size_t size, void *user)
{
    struct libraries *all = user;
    (void)size;
    if (info->dlpi_name && *info->dlpi_name && all->n < LIBRARIES)
        all->paths[all->n++] = info->dlpi_name;
    return 0;
}

/* In a library that is loaded, and those it depends on. */
static void *find_in(const char *path, const char *name, const void *ours)
{
    void *library = path && *path ? dlopen(path, RTLD_LAZY | RTLD_NOLOAD) : NULL;
    void *found = library ? dlsym(library, name) : NULL; /* through the program itself this finds us again */
    if (library)
        dlclose(library);
    return found == ours ? NULL : found;
}

void *probe_find(const char *name, const void *ours, const void *caller)
{
    Dl_info where;
    struct libraries all = {.n = 0};
    void *found = dladdr(caller, &where) ? find_in(where.dli_fname, name, ours) : NULL;
    if (!found)
        found = dlsym(RTLD_NEXT, name);
    if (found && found != ours)
        return found;
    found = NULL;
    dl_iterate_phdr(note, &all);
    for (int i = 0; i < all.n && !found; i++)
        found = find_in(all.paths[i], name, ours);
    return found;
}

void *probe_must_find(const char *name, const void *ours, const void *caller)
{
    void *found = probe_find(name, ours, caller);
    if (found)
        return found;
    dprintf(STDERR_FILENO,
            "joulet's probe: %s was called and is in no library of this process: start the engine without the probe\n", name);
    abort();
}
