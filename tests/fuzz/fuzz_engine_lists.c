/* Any body where an engine's properties, models or slots are expected. */
#include "llm/engine_wire.h"
#include "llm/engines/engines.h"
#include "llm/engines/lmstudio.h"
#include "llm/engines/ollama_private.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine_info info = {.slots = -1};
    struct engine_model *list;
    size_t n;
    const char *json = (const char *)data;
    if (llamacpp_read_props(json, size, &info) && (info.slots < -1 || info.context_length < -1))
        abort();
    if (llamacpp_read_slots(json, size) < -1)
        abort();
    if (wire_models(json, size, &list, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++) {
            if (!list[i].name[0] || strlen(list[i].name) >= sizeof(list[i].name) || list[i].context_length < -1)
                abort();
        }
    }
    free(list);
    if (ollama_read_tags(json, size, &list, &n, NULL) == JOULET_OK) {
        ollama_read_ps(json, size, list, n);
        for (size_t i = 0; i < n; i++) {
            if (!list[i].name[0] || strlen(list[i].name) >= sizeof(list[i].name) || list[i].gpu_bytes < -1 || list[i].params < -1)
                abort();
        }
    }
    free(list);
    if (lmstudio_read_models(json, size, &list, &n, NULL) == JOULET_OK) {
        for (size_t i = 0; i < n; i++) {
            if (!list[i].name[0] || strlen(list[i].name) >= sizeof(list[i].name) || list[i].bytes < -1 || list[i].params < -1)
                abort();
        }
    }
    free(list);
    int64_t *tokens;
    if (engine_read_tokens(json, size, &tokens, &n) != (n > 0))
        abort();
    for (size_t i = 0; i < n; i++)
        if (tokens[i] < 0)
            abort();
    free(tokens);
    struct engine_model m;
    char path[64], version[16];
    engine_model_init(&m);
    ollama_read_show(json, size, &m, path, sizeof(path));
    ollama_read_loaded(json, size, &m);
    ollama_read_version(json, size, version, sizeof(version));
    char *host = strndup(json, size), url[128]; /* OLLAMA_HOST */
    if (host && ollama_host_url(host, url, sizeof(url)) && !strstr(url, "://"))
        abort();
    free(host);
    return 0;
}
