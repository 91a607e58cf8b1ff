/* engine_cloud.c - services in the cloud that are known by their host. Of these nothing can be measured here: their energy is an
 * estimate and says so. A key of theirs from the environment goes to the host it belongs to, and nowhere else. */
#include "llm/engine.h"

#include <string.h>
#include <strings.h>

static const struct engine_cloud clouds[] = {
    {"openai-api", "api.openai.com", "", "OPENAI_API_KEY", "openai"},
    {"groq", "api.groq.com", "/openai", "GROQ_API_KEY", "openai"},
    {"anthropic", "api.anthropic.com", "", "ANTHROPIC_API_KEY", "anthropic"},
    {"mistral", "api.mistral.ai", "", "MISTRAL_API_KEY", "openai"},
    {"deepseek", "api.deepseek.com", "", "DEEPSEEK_API_KEY", "openai"},
    {"openrouter", "openrouter.ai", "/api", "OPENROUTER_API_KEY", "openai"},
    {"together", "api.together.xyz", "", "TOGETHER_API_KEY", "openai"},
};

const struct engine_cloud *engine_cloud_named(const char *name)
{
    for (size_t i = 0; name && i < JL_COUNT(clouds); i++)
        if (strcasecmp(clouds[i].name, name) == 0)
            return &clouds[i];
    return NULL;
}

/* The whole host must be it: neither "api.openai.com.example" nor "api.openai.com@example" is. */
const struct engine_cloud *engine_cloud_at(const char *url)
{
    const char *scheme = strstr(url, "://"), *host = scheme ? scheme + 3 : url;
    size_t n = strcspn(host, "/?#");
    if (memchr(host, '@', n))
        return NULL;
    const char *colon = memchr(host, ':', n);
    n = colon ? (size_t)(colon - host) : n;
    for (size_t i = 0; i < JL_COUNT(clouds); i++)
        if (strlen(clouds[i].host) == n && strncasecmp(clouds[i].host, host, n) == 0)
            return &clouds[i];
    return NULL;
}
