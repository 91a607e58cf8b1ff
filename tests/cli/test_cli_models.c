/* test_cli_models.c - models of an engine through the program: list, show, load, unload and pull with stand-ins of each protocol
 * that offers them, and what those say that do not. With a real Ollama: test_cli_real_ollama.c. */
#include "tests/cli/program.h"
#include "tests/llm/mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define C "composed"
#define W MOCK_WHOLE

static const struct mock_route ollama[] = {
    {"GET /api/version", "ollama", "version", W},
    {"GET /api/ps", "ollama", "ps", W},
    {"GET /api/tags", "ollama", "tags", W},
    {"POST /api/show", "ollama", "show", W},
    {"POST /api/generate", "ollama", "generate-load", W},
    {"POST /api/pull", C, "ollama-pull", W},
};
static const struct mock_route ollama_lacks[] = {
    {"GET /api/version", "ollama", "version", W},
    {"GET /api/ps", "ollama", "ps-empty", W},
    {"GET /api/tags", "ollama", "tags-empty", W},
    {"POST /api/show", "ollama", "error-unknown-model-show", W},
    {"POST /api/generate", "ollama", "error-unknown-model-generate", W},
    {"POST /api/pull", C, "ollama-pull-broken", W},
};
static const struct mock_route ollama_cut[] = {
    {"GET /api/version", "ollama", "version", W},
    {"POST /api/pull", C, "ollama-pull", MOCK_CUT},
};
static const struct mock_route ollama_half[] = {
    {"GET /api/version", "ollama", "version", W},
    {"GET /api/tags", C, "openai-html", W},
    {"POST /api/pull", C, "openai-html", W},
};
static const struct mock_route lmstudio[] = {
    {"GET /api/v1/models/download/status/", C, "lmstudio-v1-downloaded", W},
    {"GET /api/v1/models", C, "lmstudio-v1-models", W},
    {"POST /api/v1/models/load", C, "lmstudio-v1-loaded", W},
    {"POST /api/v1/models/unload", C, "lmstudio-v1-unloaded", W},
    {"POST /api/v1/models/download", C, "lmstudio-v1-download", W},
};
static const struct mock_route llama_server[] = {
    {"GET /props", "llama-server", "props", W},
    {"GET /v1/models", "llama-server", "v1-models", W},
};
static const struct mock_route vllm[] = {{"GET /v1/models", C, "openai-models", W}};

#define KIND(r)                                                                                                                  \
    {                                                                                                                            \
        .routes = (r), .n_routes = JL_COUNT(r)                                                                                   \
    }
enum kind { OLLAMA, LACKS, CUT, HALF, LMSTUDIO, LLAMA_SERVER, VLLM };
static const struct mock_config kinds[] = {
    KIND(ollama),
    KIND(ollama_lacks),
    KIND(ollama_cut),
    KIND(ollama_half),
    {.routes = lmstudio, .n_routes = JL_COUNT(lmstudio), .otherwise = "lmstudio-unknown-path"},
    KIND(llama_server),
    KIND(vllm),
};

static const struct {
    enum kind kind;
    const char *verb, *name, *more; /* more: a third word; NULL */
    int code;
    const char *out[6]; /* what standard output holds */
    const char *err;    /* and standard error; NULL: nothing */
} rows[] = {
    {OLLAMA,
     "list",
     NULL,
     NULL,
     0,
     {"models of ollama at http://127.0.0.1:", "joulet-tiny:latest", "Q8_0", "4.46 M", "  loaded"},
     NULL},
    {OLLAMA, "list", NULL, "--json", 0, {"\"protocol\":\"ollama\"", "\"name\":\"joulet-tiny:latest\",\"loaded\":true"}, NULL},
    {OLLAMA,
     "show",
     "joulet-tiny",
     NULL,
     0,
     {"architecture  llama\n", "quantisation  Q8_0\n", "parameters    4.46 M\n", "context       4096\n", "digest        aa6cb3d1",
      "loaded        yes\n  context     4096\n"},
     NULL},
    {OLLAMA,
     "show",
     "joulet-tiny:latest",
     "--json",
     0,
     {"\"loaded\":true", "\"parameters\":4458752", "\"context_length\":4096", "\"loaded_context_length\":4096",
      "\"gpu_bytes\":0"},
     NULL},
    {OLLAMA, "load", "joulet-tiny", NULL, 0, {"joulet-tiny is loaded, after "}, NULL},
    {OLLAMA, "load", "joulet-tiny", "--json", 0, {"{\"loaded\":\"joulet-tiny\", \"load_s\": "}, NULL},
    {OLLAMA, "unload", "joulet-tiny", NULL, 0, {"joulet-tiny is unloaded\n"}, NULL},
    {OLLAMA, "pull", "http://127.0.0.1:5000/ns/m", NULL, 0, {"127.0.0.1:5000/ns/m is there\n"}, NULL},
    {OLLAMA, "pull", "ns/m", "--json", 0, {"{\"pulled\":\"ns/m\"}\n"}, NULL},
    {OLLAMA,
     "pull",
     "ns/m",
     "--verbose",
     0,
     {"ns/m is there\n"},
     "pulling manifest\npulling b4c33e94e030\nverifying sha256 digest\nwriting manifest\nsuccess\n"},
    {LACKS, "list", NULL, NULL, 0, {"none: `joulet model pull NAME` gets one"}, NULL},
    {LACKS, "show", "none", NULL, 4, {NULL}, "has no model none: `joulet model list --engine http://127.0.0.1:"},
    {LACKS, "load", "none", NULL, 4, {NULL}, "has no model none"},
    {LACKS, "unload", "none", NULL, 4, {NULL}, "has no model none"},
    {LACKS, "pull", "ns/m", NULL, 4, {NULL}, "the connection broke again and again: what has come is kept"},
    {LACKS, "load", NULL, NULL, 2, {NULL}, "model load needs the name of a model"},
    {LACKS, "load", "none", "--keep-alive=soon", 2, {NULL}, "say 90s, 5m, 0 or forever"},
    {LACKS, "load", "none", "--engine-option=nonsense=1", 2, {NULL}, "is none of Ollama's"},
    {CUT, "pull", "ns/m", NULL, 4, {NULL}, "cut the connection"},
    {HALF, "list", NULL, NULL, 4, {NULL}, "list of models is not in the known form"},
    {HALF, "pull", "ns/m", NULL, 4, {NULL}, "could not get ns/m: \"not a JSON object"},
    {LMSTUDIO, "list", NULL, NULL, 0, {"models of lmstudio", "qwen/qwen3-4b", "Q4_K_M", "mlx-community/gemma-3-1b"}, NULL},
    {LMSTUDIO,
     "show",
     "qwen/qwen3-4b",
     NULL,
     0,
     {"architecture  qwen3\n", "quantisation  Q4_K_M\n", "parameters    4 G\n", "context       40960\n", "loaded        yes\n",
      "  context     8192\n"},
     NULL},
    {LMSTUDIO, "load", "mlx-community/gemma-3-1b", NULL, 0, {"is loaded, after 3.25 s"}, NULL},
    {LMSTUDIO, "unload", "qwen/qwen3-4b", NULL, 0, {"qwen/qwen3-4b is unloaded"}, NULL},
    {LMSTUDIO, "pull", "ibm/granite", NULL, 0, {"ibm/granite is there"}, NULL},
    {LMSTUDIO, "show", "nothing", NULL, 4, {NULL}, "nothing"},
    {LLAMA_SERVER, "list", NULL, NULL, 0, {"models of llama.cpp", "joulet-tiny", "Q8_0", "loaded"}, NULL},
    {LLAMA_SERVER,
     "show",
     "joulet-tiny",
     NULL,
     0,
     {"quantisation  Q8_0\n", "parameters    4.46 M\n", "context       8192\n", "runtime       llama.cpp\n",
      "  context     2048\n"},
     NULL},
    {LLAMA_SERVER, "show", "other", NULL, 4, {NULL}, "has no model other: it has loaded joulet-tiny"},
    {LLAMA_SERVER, "load", "x", NULL, 4, {NULL}, "speaks llama.cpp, which has no way to load a model"},
    {LLAMA_SERVER, "unload", "x", NULL, 4, {NULL}, "no way to unload a model"},
    {LLAMA_SERVER, "pull", "x", NULL, 4, {NULL}, "no way to pull a model"},
    {VLLM, "list", NULL, NULL, 0, {"models of openai", "  m  ", "loaded"}, NULL},
    {VLLM, "show", "m", NULL, 0, {"name          m\n", "context       4096\n", "loaded        yes\n"}, NULL},
    {VLLM, "show", "other", NULL, 4, {NULL}, "has no model other"},
    {VLLM, "pull", "m", NULL, 4, {NULL}, "speaks openai, which has no way to pull a model"},
    {VLLM, "remove", "m", NULL, 2, {NULL}, "there is no 'remove': say make, list, show, load, unload or pull"},
};

static bool check(size_t i)
{
    struct mock *m = mock_start(&kinds[rows[i].kind]);
    struct program p = {.env = NULL};
    const char *args[8] = {"model", rows[i].verb};
    size_t n = 2;
    if (rows[i].name)
        args[n++] = rows[i].name;
    args[n++] = "--engine";
    args[n++] = mock_url(m);
    args[n] = rows[i].more;
    program_run(&p, args);
    bool said = rows[i].err ? strstr(kept(&p.err), rows[i].err) != NULL : p.err.len == 0;
    for (size_t k = 0; k < JL_COUNT(rows[i].out) && rows[i].out[k]; k++)
        said &= strstr(kept(&p.out), rows[i].out[k]) != NULL;
    bool good = p.code == rows[i].code && said && (!p.code || (lines_of(kept(&p.err)) <= 2 && p.out.len == 0));
    if (!good)
        print_error("%zu: %s %s: code %d\n%s%s", i, rows[i].verb, rows[i].name ? rows[i].name : "", p.code, kept(&p.out),
                    kept(&p.err));
    program_release(&p);
    mock_stop(m);
    return good;
}

static void each_verb(void **state)
{
    (void)state;
    bool good = true;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        good &= check(i);
    assert_true(good);
}

/* What is asked for: a registry without TLS only where the name says so. */
static void what_a_pull_asks_for(void **state)
{
    (void)state;
    for (int plain = 0; plain <= 1; plain++) {
        struct mock *m = mock_start(&kinds[OLLAMA]);
        struct program p = {.env = NULL};
        program_run(&p, ARGS("model", "pull", plain ? "http://h:1/ns/m" : "https://h:1/ns/m", "--engine", mock_url(m)));
        assert_int_equal(p.code, 0);
        char *request = mock_last_request(m);
        must_say(request, "POST /api/pull");
        assert_int_equal(strstr(request, "\"insecure\":true") != NULL, plain);
        free(request);
        program_release(&p);
        mock_stop(m);
    }
}

/* Without --engine: the first that answers where engines listen and can do it. */
static void the_one_that_can(void **state)
{
    (void)state;
    struct mock *m = mock_start(&kinds[OLLAMA]);
    char host[96];
    snprintf(host, sizeof host, "OLLAMA_HOST=%s", mock_url(m));
    static const char *const verbs[][2] = {{"load", "is loaded"}, {"unload", "is unloaded"}, {"pull", "is there"}};
    for (size_t i = 0; i < JL_COUNT(verbs); i++) {
        struct program p = {.env = ARGS(host)};
        program_run(&p, ARGS("model", verbs[i][0], "joulet-tiny"));
        if (p.code != 0 || !strstr(kept(&p.out), verbs[i][1]))
            fail_msg("%s: code %d: %s%s", verbs[i][0], p.code, kept(&p.out), kept(&p.err));
        program_release(&p);
    }
    mock_stop(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(each_verb), cmocka_unit_test(what_a_pull_asks_for),
                                       cmocka_unit_test(the_one_that_can)};
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
