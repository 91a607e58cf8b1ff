/* model_names.c - when two names mean the same model. Ollama leaves out of a name what goes without saying: its own registry, the
 * namespace "library", the tag "latest"; a colon may belong to the port of a registry (docs/models.md). */
#include "llm/engine.h"

#include <stdio.h>
#include <string.h>
#include <strings.h>

/* HOST/NAMESPACE/NAME:TAG of a name as people write it. false: too long. */
static bool whole_name(const char *name, char *out, size_t size)
{
    const char *scheme = strstr(name, "://");
    if (scheme)
        name = scheme + 3;
    const char *last = strrchr(name, '/');
    size_t slashes = 0;
    for (const char *p = name; *p; p++)
        slashes += *p == '/';
    int n = snprintf(out, size, "%s%s%s%s", slashes < 2 ? "registry.ollama.ai/" : "", slashes < 1 ? "library/" : "", name,
                     strchr(last ? last : name, ':') ? "" : ":latest");
    return n > 0 && (size_t)n < size;
}

bool engine_same_name(const char *full, const char *name)
{
    char a[600], b[600];
    return full[0] && name[0] && whole_name(full, a, sizeof(a)) && whole_name(name, b, sizeof(b)) && strcasecmp(a, b) == 0;
}
