/* The probe in the environment of a real Ollama, where tools/check-engines has put one: its runner, a llama-server, inherits it
 * and answers the same; the programs around it, which get the library too, make no files. */
#include "tests/llm/real_engines.h"
#include "tests/llm/real_ollama.h"
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"
#include "profile/probe.h"
#include "profile/steps.h"

#include <jansson.h>
#include <sys/stat.h>

#define TOKENS 30
#define LAYERS 4

static struct real_ollama ollama;
static bool here;

static int begin(void **state)
{
    here = real_ollama_find(&ollama);
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    return scratch_open(state);
}

/* The answer's text and its tokens, malloc'ed. */
static char *ask(void)
{
    char *url = jl_strf("%s/api/generate", ollama.url), body[512];
    struct net_response r;
    struct joulet_error err;
    snprintf(body, sizeof(body),
             "{\"model\":\"m\",\"prompt\":\"The river carries stones\",\"raw\":true,\"stream\":false,"
             "\"options\":{\"num_predict\":%d,\"temperature\":0,\"seed\":1}}",
             TOKENS);
    struct net_request q = {.method = "POST", .url = url, .body = body, .body_len = strlen(body)};
    if (net_http(&q, &r, &err) != JOULET_OK || r.status != 200)
        fail_msg("Ollama answered %d: %s %.200s", r.status, err.message, r.body.data ? r.body.data : "");
    json_t *j = json_loadb(r.body.data, r.body.len, 0, NULL);
    assert_int_equal(json_integer_value(json_object_get(j, "eval_count")), TOKENS);
    char *text = jl_strdup(json_string_value(json_object_get(j, "response")));
    json_decref(j);
    net_response_release(&r);
    free(url);
    return text;
}

static char *serve(const char *name)
{
    char *dir = jl_strdup(scratch_path(name));
    mkdir(dir, 0700);
    assert_true(real_ollama_start(&ollama, dir));
    assert_true(real_ollama_create(&ollama, "m", scratch_path("m.gguf")));
    char *text = ask();
    free(dir);
    return text;
}

static void its_runner_is_seen(void **state)
{
    struct gguf_shape shape;
    struct joulet_error err;
    struct ring *r;
    struct ring_info info;
    char **names, *ring;
    size_t n;
    (void)state;
    if (!here)
        skip();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    char *plain = serve("plain");
    real_ollama_stop(&ollama);
    mkdir(scratch_path("rings"), 0700);
    setenv("LD_PRELOAD", PROBE, 1);
    setenv("JOULET_PROBE_DIR", scratch_path("rings"), 1);
    setenv("JOULET_PROBE_EVERY", "1", 1);
    char *probed = serve("probed");
    unsetenv("LD_PRELOAD");
    assert_string_equal(probed, plain);
    assert_int_equal(jl_list_dir(scratch_path("rings"), &names, &n, NULL), JOULET_OK);
    assert_int_equal(n, 1);
    jl_free_list(names, n);
    ring = ring_find(scratch_path("rings"), -1);
    assert_non_null(ring);
    if (ring_open(&r, ring, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    ring_info(r, &info);
    ring_close(r);
    free(ring);
    if (probe_check(info.pid, scratch_path("rings"), &ring, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(ring);
    assert_true(info.pid != ollama.process.pid); /* its own runner */
    assert_true(info.counts[WIRE_N_GRAPHS] >= TOKENS);
    assert_int_equal(info.counts[WIRE_N_STOPS], (4 * LAYERS + 3) * info.counts[WIRE_N_WATCHED]);
    real_ollama_stop(&ollama);
    free(plain);
    free(probed);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(its_runner_is_seen)};
    int failed = cmocka_run_group_tests(tests, begin, scratch_close);
    return failed || here ? failed : 77;
}
