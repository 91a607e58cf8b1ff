/* test_cli_real_ollama.c - the program with a real Ollama, where tools/check-engines has put one: its models by `joulet model`,
 * and `run` and `bench` beside a real llama-server on the very file that Ollama keeps: the same tokens, phases of the same kind.
 * Skipped elsewhere. Nothing here depends on how fast the machine is. */
#include "tests/cli/program.h"
#include "tests/cli/quick.h"
#include "tests/llm/real_ollama.h"
#include "tests/llm/registry.h"

#include "llm/gguf/gguf.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define PROMPT "The river carries stones from the mountains to the sea, and at night the wind turns."

static struct real_ollama ollama;
static struct registry *registry;
static char name[64], server[600]; /* of the model that is pulled; a llama-server */

/* Runs it and holds it to an exit code and to words in its output and on standard error. */
static void say(const char *const *args, int code, const char *out, const char *err)
{
    struct program p = {.env = NULL};
    program_run(&p, args);
    if (p.code != code || !strstr(kept(&p.out), out) || !strstr(kept(&p.err), err))
        fail_msg("%s %s: code %d, not %d with \"%s\" and \"%s\":\n%s%s", args[0], args[1], p.code, code, out, err, kept(&p.out),
                 kept(&p.err));
    program_release(&p);
}

#define MODEL(...) ARGS("model", __VA_ARGS__, "--engine", ollama.url)

static void models_by_the_program(void **state)
{
    (void)state;
    char *good = jl_strf("http://%s", name), *cut = jl_strf("http://127.0.0.1:%d/ns/cut", registry_port(registry));
    say(MODEL("list"), 0, "none: `joulet model pull NAME` gets one", "");
    say(MODEL("pull", cut), 4, "", "unexpected EOF");
    say(MODEL("pull", name), 4, "", "write http:// before the name of a registry without TLS");
    say(MODEL("pull", good, "--verbose"), 0, name, "verifying sha256 digest\nwriting manifest\nsuccess\n");
    say(MODEL("list"), 0, name, "");
    say(MODEL("show", name), 0, "quantisation  Q8_0\nparameters    4.46 M\nsize          4.79 MB\ncontext       8192\n", "");
    say(MODEL("show", good, "--json"), 0, "\"loaded\":false", "");
    say(MODEL("load", name, "--context", "512"), 0, "is loaded, after ", "");
    say(MODEL("show", name), 0, "loaded        yes\n  context     512\n", "");
    say(MODEL("unload", name), 0, "is unloaded", "");
    say(MODEL("show", name), 0, "loaded        no\n", "");
    say(MODEL("load", "nonesuch"), 4, "", "has no model nonesuch: `joulet model list --engine ");
    say(MODEL("load", name, "--keep-alive", "0"), 2, "", "--keep-alive 0 would unload the model at once");
    free(good);
    free(cut);
}

#define SETTINGS "--seed", "1", "--temperature", "0", "--repeat-penalty", "1.3", "--context", "2048", "--sim", "50"

static void measure(struct run *r, const char *const *args)
{
    struct program p = {.env = ARGS(jl_strf("OLLAMA_MODELS=%s", ollama.models))};
    program_run(&p, args);
    free((char *)p.env[0]);
    if (p.code != 0)
        fail_msg("%s: code %d: %s", args[0], p.code, kept(&p.err));
    program_release(&p);
    record_last(r);
}

static const struct run_window *window_of(const struct run_request *q, const char *what)
{
    for (size_t i = 0; i < q->n_windows; i++)
        if (strcmp(q->windows[i].name, what) == 0)
            return &q->windows[i];
    fail_msg("no window %s", what);
    return NULL;
}

/* The same prompt, the same file: the same tokens, in the same windows, by the clock of each. */
static void must_agree(const struct run *a, const struct run *b)
{
    assert_string_equal(run_pairs_get(&a->engine, "protocol"), "ollama");
    assert_string_equal(run_pairs_get(&b->engine, "protocol"), "llama.cpp");
    assert_string_equal(run_pairs_get(&a->model, "digest"), run_pairs_get(&b->model, "digest"));
    assert_string_equal(run_pairs_get(&b->model, "name"), name);
    assert_int_equal(a->n_requests, b->n_requests);
    for (size_t i = 0; i < a->n_requests; i++) {
        const struct run_request *x = &a->requests[i], *y = &b->requests[i];
        assert_int_equal(x->warmup, y->warmup);
        if (x->warmup) /* of Ollama by another text, lest the first prompt lie in its cache */
            continue;
        assert_true(x->tokens.cached <= 1 && y->tokens.cached <= 0);
        assert_string_equal(x->answer, y->answer);
        assert_int_equal(x->tokens.prompt, y->tokens.prompt);
        assert_int_equal(x->tokens.generated, y->tokens.generated);
        assert_string_equal(x->finish, y->finish);
        assert_string_equal(x->phase_source, "server timings");
        assert_string_equal(y->phase_source, "server timings");
        for (size_t k = 0; k < 2; k++) { /* of a starved machine they come after a queue */
            const struct run_window *v = window_of(x, k ? "decode" : "prefill"), *w = window_of(y, k ? "decode" : "prefill");
            assert_true(v->end_ns > v->start_ns && w->end_ns > w->start_ns);
        }
    }
}

static void run_on_both(void **state)
{
    struct run a, b;
    char *kept_file = jl_strf("ollama:%s", name);
    (void)state;
    measure(&a, ARGS("run", "--engine", ollama.url, "-m", name, SETTINGS, "--max-tokens", "24", "--raw", PROMPT));
    measure(&b, ARGS("run", "--engine", server, "-m", kept_file, SETTINGS, "--max-tokens", "24", "--raw", PROMPT));
    must_agree(&a, &b);
    assert_int_equal(a.requests[0].tokens.generated, 24);
    run_release(&a);
    run_release(&b);
    free(kept_file);
}

static void bench_on_both(void **state)
{
    struct run a, b;
    char *kept_file = jl_strf("ollama:%s", name);
    (void)state;
    scratch_write("prompts.csv", "prompt,max_tokens\nAnother day begins on the hill.,12\nThe sea is wide.,9\n");
#define BENCH "--prompts", scratch("prompts.csv"), "--baseline", "1s", "--baseline-every", "0", "--cooldown", "0", "--raw"
    measure(&a, ARGS("bench", "--engine", ollama.url, "-m", name, SETTINGS, BENCH));
    measure(&b, ARGS("bench", "--engine", server, "-m", kept_file, SETTINGS, BENCH));
    must_agree(&a, &b);
    assert_int_equal(a.n_requests, 3);
    assert_true(a.requests[0].warmup);
    assert_int_equal(a.requests[2].tokens.generated, 9);
    run_release(&a);
    run_release(&b);
    free(kept_file);
}

static double loaded_s(const struct run *r)
{
    double s = 0;
    for (size_t i = 0; i < r->n_windows; i++)
        s += strcmp(r->windows[i].name, "load") == 0 ? run_window_s(&r->windows[i]) : 0;
    return s;
}

/* Loaded for the run, as a window of its own, and let go of after it. */
static void kept_for_no_time(void **state)
{
    struct run r;
    (void)state;
    say(MODEL("unload", name), 0, "is unloaded", "");
    measure(&r, ARGS("run", "--engine", ollama.url, "-m", name, SETTINGS, "--max-tokens", "3", "--keep-alive", "0", PROMPT));
    assert_true(loaded_s(&r) > 0.05); /* Ollama looks every 250 ms whether it is there; unloading takes 1 ms */
    assert_string_equal(run_pairs_get(&r.settings, "keep_alive"), "0");
    assert_null(run_pairs_get(&r.engine, "threads"));
    run_release(&r);
    say(MODEL("show", name), 0, "loaded        no\n", "");
}

static void what_it_cannot_do(void **state)
{
    (void)state;
#define RUN(...) ARGS("run", "--engine", ollama.url, "-m", name, SETTINGS, "--max-tokens", "3", __VA_ARGS__, "hi")
    say(RUN("--think", "on"), 4, "", "does not support thinking");
    scratch_write("tools.json", "[{\"type\":\"function\",\"function\":{\"name\":\"clock\",\"parameters\":{}}}]");
    say(RUN("--tools", scratch("tools.json")), 4, "", "does not support tools");
    say(RUN("--think-budget", "9"), 4, "", "Ollama limits thinking by no number of tokens");
    say(ARGS("run", "--engine", ollama.url, "-m", "nonesuch", "hi"), 4, "", "does not have the model nonesuch");
}

/* The file that another program keeps, and what is missing of it. */
static void files_it_keeps(void **state)
{
    (void)state;
    char *kept_file = jl_strf("ollama:%s", name), *folder = jl_strf("OLLAMA_MODELS=%s", ollama.models);
    struct program p = {.env = ARGS(folder)};
    program_run(&p, ARGS("model", "show", kept_file));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "/blobs/sha256-");
    must_say(kept(&p.out), "quantisation  Q8_0");
    program_release(&p);
    p = (struct program){.env = ARGS(folder)};
    program_run(&p, ARGS("model", "show", "ollama:nonesuch"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "Ollama keeps no model nonesuch");
    program_release(&p);
    free(kept_file);
    free(folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(models_by_the_program), cmocka_unit_test(run_on_both),       cmocka_unit_test(bench_on_both),
        cmocka_unit_test(kept_for_no_time),      cmocka_unit_test(what_it_cannot_do), cmocka_unit_test(files_it_keeps),
    };
    struct gguf_shape shape;
    if (!real_ollama_find(&ollama))
        return 77;
    setenv("JOULET_MODULE_DIR", getenv("MODULES"), 1);
    if (scratch_open(NULL) != 0 || !real_ollama_start(&ollama, scratch("ollama")) ||
        gguf_shape_find("tiny", &shape, NULL) != JOULET_OK ||
        gguf_write(scratch("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL) != JOULET_OK)
        return 1;
    snprintf(server, sizeof server, "%s/build/lib/ollama/llama-server", ollama.dir);
    registry = registry_start(scratch("m.gguf"));
    snprintf(name, sizeof name, "127.0.0.1:%d/ns/good", registry_port(registry));
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    registry_stop(registry);
    real_ollama_stop(&ollama);
    scratch_close(NULL);
    return failed;
}
