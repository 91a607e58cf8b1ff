/* real.c - finding the functions this library stands in for. The caller's own library and what that depends on come first:
 * programs that load llama.cpp at run time (node, Python) have nothing behind us in the order of the process. */
#include "probes/ggml/probe.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

void *probe_find(const char *name, const void *ours, const void *caller)
{
    Dl_info where;
    void *found = NULL;
    if (dladdr(caller, &where) && where.dli_fname && *where.dli_fname) {
        void *library = dlopen(where.dli_fname, RTLD_LAZY | RTLD_NOLOAD);
        if (library) {
            found = dlsym(library, name); /* through the program itself this finds us again */
            dlclose(library);
        }
    }
    if (!found || found == ours)
        found = dlsym(RTLD_NEXT, name);
    return found == ours ? NULL : found;
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
