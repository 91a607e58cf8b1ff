/* fix_loader.c - will the program find its library once it has capabilities? The loader takes no path relative to the program
 * then (ld.so(8), secure-execution mode): only the system's folders, those of ld.so.conf, and the one it was built for. */
#include "cli/fix.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define LIBRARY   "/libjoulet.so"
#define CACHE     "/etc/ld.so.cache"
#define CACHE_MAX ((size_t)16 << 20)

/* The folder that the library of this process was loaded from; false: it is part of the program. */
static bool loaded_from(char *folder, size_t size)
{
    char line[4400];
    bool found = false;
    FILE *f = fopen("/proc/self/maps", "re");
    while (f && !found && fgets(line, sizeof line, f)) {
        const char *path = strchr(line, '/'), *name = path ? strstr(path, LIBRARY) : NULL;
        found = name != NULL;
        if (found)
            snprintf(folder, size, "%.*s", (int)(name - path), path);
    }
    if (f)
        fclose(f);
    return found;
}

static bool in_cache(const char *folder)
{
    struct jl_buf b;
    char *wanted = jl_strf("%s" LIBRARY, folder);
    jl_buf_init(&b, CACHE_MAX);
    bool found = wanted && jl_read_file(CACHE, &b, NULL) == JOULET_OK && memmem(b.data, b.len, wanted, strlen(wanted)) != NULL;
    jl_buf_release(&b);
    free(wanted);
    return found;
}

bool fix_library_found(char *folder, size_t size)
{
    if (!loaded_from(folder, size))
        return true;
    return jl_starts(folder, "/usr/lib") || jl_starts(folder, "/lib") || !strcmp(folder, LIBRARY_INSTALL_DIR) || in_cache(folder);
}
