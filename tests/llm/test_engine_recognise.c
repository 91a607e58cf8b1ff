/* What answers at an address is told by its bodies: each engine that is known, those that answer paths of another, and those that
 * are none. No probe loads a model or makes a token. The bodies were composed, but for those from recordings. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine.h"
#include "tests/llm/mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROUTES_MAX        6
#define LIST(owner, more) "200 {\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"" owner more "}]}"
#define OWNED(word)       ",\"owned_by\":\"" word "\""
#define LIMIT             ",\"max_model_len\":4096"

static const struct {
    const char *what;
    struct mock_route routes[ROUTES_MAX];
    const char *otherwise; /* composed answer to every other path; NULL 404 */
    enum joulet_status status;
    const char *protocol, *version, *runtime, *model; /* version NULL: any */
    int64_t context;                                  /* -2: any */
    /* clang-format off */
} rows[] = {
    {"Ollama",
     {{"GET /api/version", "ollama", "version", MOCK_WHOLE},
      {"GET /api/ps", "ollama", "ps", MOCK_WHOLE},
      {"GET /api/tags", "ollama", "tags", MOCK_WHOLE},
      {"GET /v1/models", "ollama", "v1-models", MOCK_WHOLE}},
     NULL, JOULET_OK, "ollama", "0.34.2", "llama.cpp", "joulet-tiny:latest", 4096},
    {"LM Studio 0.4",
     {{"GET /api/v1/models", "composed", "lmstudio-v1-models", MOCK_WHOLE}, {"GET /v1/models", "composed", "openai-models", MOCK_WHOLE}},
     "lmstudio-unknown-path", JOULET_OK, "lmstudio", "REST v1", "llama.cpp", "qwen/qwen3-4b", 8192},
    {"LM Studio 0.3",
     {{"GET /api/v0/models", "composed", "lmstudio-v0-models", MOCK_WHOLE}, {"GET /v1/models", "composed", "openai-models", MOCK_WHOLE}},
     "lmstudio-unknown-path", JOULET_OK, "lmstudio", "REST v0", "llama.cpp", "granite-3.0-2b-instruct", -2},
    {"llama-server, which answers /api/tags too",
     {{"GET /props", "llama-server", "props", MOCK_WHOLE},
      {"GET /v1/models", "llama-server", "v1-models", MOCK_WHOLE},
      {"GET /api/tags", "llama-server", "ollama-tags", MOCK_WHOLE}},
     NULL, JOULET_OK, "llama.cpp", NULL, "llama.cpp", "joulet-tiny", 2048},
    {"llama-server that loads",
     {{"GET /props", "llama-server", "health-loading", MOCK_WHOLE}},
     NULL, JOULET_OK, "llama.cpp", "", "", "", -1},
    {"llama-server with a key",
     {{"GET /props", "llama-server", "error-no-key", MOCK_WHOLE}},
     NULL, JOULET_PERMISSION, NULL, NULL, NULL, NULL, 0},
    {"llama-server as a router of models",
     {{"GET /props", NULL, "200 {\"default_generation_settings\":null,\"role\":\"router\",\"build_info\":\"b7000-abc\"}", MOCK_WHOLE},
      {"GET /v1/models", NULL,
       "200 {\"object\":\"list\",\"data\":[{\"id\":\"a\",\"status\":{\"value\":\"unloaded\"}},{\"id\":\"b\",\"status\":{\"value\":"
       "\"loaded\"}}]}",
       MOCK_WHOLE}},
     NULL, JOULET_OK, "llama.cpp", "b7000-abc", "llama.cpp", "", -1},
    {"vLLM", {{"GET /v1/models", NULL, LIST(OWNED("vllm"), LIMIT), MOCK_WHOLE}, {"GET /version", NULL, "200 {\"version\":\"0.32.0\"}", MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "0.32.0", "vLLM", "m", 4096},
    {"SGLang", {{"GET /v1/models", NULL, LIST(OWNED("sglang"), LIMIT), MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "", "SGLang", "m", 4096},
    {"SGLang that does not name itself in its list",
     {{"GET /v1/models", NULL, LIST("", LIMIT), MOCK_WHOLE}, {"GET /get_model_info", NULL, "200 {\"model_path\":\"/models/m\",\"is_generation\":true}", MOCK_WHOLE}},
     NULL, JOULET_OK, "openai", "", "SGLang", "m", 4096},
    {"TGI",
     {{"GET /v1/models", NULL, LIST(OWNED("org/m"), ""), MOCK_WHOLE},
      {"GET /info", NULL, "200 {\"model_id\":\"org/m\",\"max_input_tokens\":2047,\"max_total_tokens\":4096,\"version\":\"3.3.6\"}",
       MOCK_WHOLE}},
     NULL, JOULET_OK, "openai", "3.3.6", "TGI", "m", -1},
    {"TensorRT-LLM", {{"GET /v1/models", NULL, LIST(OWNED("tensorrt_llm"), ""), MOCK_WHOLE}, {"GET /version", NULL, "200 {\"version\":\"1.2.0\"}", MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "1.2.0", "TensorRT-LLM", "m", -1},
    {"TensorRT-LLM by its energy counter, off",
     {{"GET /v1/models", NULL, LIST("", ""), MOCK_WHOLE}, {"GET /version", NULL, "200 {\"version\":\"1.3.0\"}", MOCK_WHOLE},
      {"GET /energy_metrics", NULL, "503 {\"error\":\"Energy monitoring is not available\"}", MOCK_WHOLE}},
     NULL, JOULET_OK, "openai", "1.3.0", "TensorRT-LLM", "m", -1},
    {"TensorRT-LLM by its energy counter, on",
     {{"GET /v1/models", NULL, LIST("", ""), MOCK_WHOLE}, {"GET /version", NULL, "200 {\"version\":\"1.3.0\"}", MOCK_WHOLE},
      {"GET /energy_metrics", NULL, "200 {\"total_energy_j\":1234.5,\"query_time\":77.25}", MOCK_WHOLE}},
     NULL, JOULET_OK, "openai", "1.3.0", "TensorRT-LLM", "m", -1},
    {"llama-cpp-python", {{"GET /v1/models", NULL, LIST(OWNED("me"), ""), MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "", "llama-cpp-python", "m", -1},
    {"KoboldCpp", {{"GET /v1/models", NULL, LIST(OWNED("koboldcpp"), ""), MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "", "KoboldCpp", "m", -1},
    {"any other server with OpenAI's routes", {{"GET /v1/models", NULL, LIST("", ""), MOCK_WHOLE}}, NULL, JOULET_OK, "openai", "", "", "m", -1},
    {"one that lists no model", {{"GET /v1/models", NULL, "200 {\"object\":\"list\",\"data\":[]}", MOCK_WHOLE}},
     NULL, JOULET_OK, "openai", "", "", "", -1},
    {"one that answers every path with an error and 200", {{NULL, NULL, NULL, MOCK_WHOLE}}, "lmstudio-unknown-path", JOULET_NOT_FOUND,
     NULL, NULL, NULL, NULL, 0},
    {"a version that is no Ollama's", {{"GET /api/version", NULL, "200 {\"version\":\"1\",\"error\":\"no\"}", MOCK_WHOLE}}, NULL,
     JOULET_NOT_FOUND, NULL, NULL, NULL, NULL, 0},
    {"a list in another form", {{"GET /v1/models", NULL, "200 {\"data\":{\"m\":1}}", MOCK_WHOLE}}, NULL, JOULET_NOT_FOUND, NULL, NULL,
     NULL, NULL, 0},
    {"models in Ollama's form alone", {{"GET /api/tags", "ollama", "tags", MOCK_WHOLE}}, NULL, JOULET_NOT_FOUND, NULL, NULL, NULL,
     NULL, 0},
};
/* clang-format on */

static void check(size_t i)
{
    size_t n = 0;
    while (n < ROUTES_MAX && rows[i].routes[n].request)
        n++;
    const struct mock_config c = {.routes = rows[i].routes, .n_routes = n, .otherwise = rows[i].otherwise};
    struct mock *m = mock_start(&c);
    struct engine *e = NULL;
    struct joulet_error err = {.status = JOULET_OK};
    enum joulet_status status = engine_open(&e, mock_url(m), NULL, NULL, &err);
    if (status != rows[i].status)
        fail_msg("%s: %s, %s", rows[i].what, joulet_status_text(status), err.message);
    if (status == JOULET_OK &&
        (strcmp(e->ops->name, rows[i].protocol) != 0 || (rows[i].version && strcmp(e->info.version, rows[i].version) != 0) ||
         strcmp(e->info.runtime, rows[i].runtime) != 0 || strcmp(e->info.model, rows[i].model) != 0 ||
         (rows[i].context != -2 && e->info.context_length != rows[i].context)))
        fail_msg("%s: %s \"%s\", runtime \"%s\", model \"%s\", context %lld", rows[i].what, e->ops->name, e->info.version,
                 e->info.runtime, e->info.model, (long long)e->info.context_length);
    char *asked = mock_requests(m);
    if (strstr(asked, "POST ") || strstr(asked, "health_generate") || strstr(asked, "model="))
        fail_msg("%s was asked for more than what it is:\n%s", rows[i].what, asked);
    free(asked);
    engine_close(status == JOULET_OK ? e : NULL);
    mock_stop(m);
}

static void engines_by_their_bodies(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        check(i);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(engines_by_their_bodies)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
