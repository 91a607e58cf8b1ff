/* stores.c - models that other programs keep, by the name of the program: "ollama:NAME". One row each. */
#include "llm/runtime_private.h"

#include <string.h>

static const struct {
    const char *program; /* name of its protocol too */
    enum joulet_status (*find)(const char *name, char **path, struct joulet_error *err);
} stores[] = {{"ollama", runtime_store_ollama}, {"lmstudio", runtime_store_lmstudio}};

const char *runtime_store_name(const char *model, const char *program)
{
    size_t n = strlen(program);
    return strncmp(model, program, n) == 0 && model[n] == ':' ? model + n + 1 : NULL;
}

enum joulet_status runtime_store_find(const char *model, char **path, struct joulet_error *err)
{
    *path = NULL;
    for (size_t i = 0; i < JL_COUNT(stores); i++)
        if (runtime_store_name(model, stores[i].program))
            return stores[i].find(runtime_store_name(model, stores[i].program), path, err);
    return jl_ok(err);
}
