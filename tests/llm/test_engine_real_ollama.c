/* A real Ollama, where tools/check-engines has put one, beside a real llama-server with the same file: the same tokens, windows
 * of the same kind, and all that only Ollama does. Its runner is the llama-server of joulet's own engine or of PATH. Skipped
 * elsewhere. Nothing here depends on how fast the machine is. */
#include "tests/llm/real_engines.h"

#include "llm/gguf/gguf.h"

#include <unistd.h>

static char program[4096], llama_server[4096], engine_dir[4096];
static struct jl_process ollama = {.ended = true};
static struct engine *engine;
static atomic_bool cancel;

/* ---- the peer
 * ------------------------------------------------------------------------------------------------------------------ */

static bool find_runner(void)
{
    const char *data = getenv("JOULET_DATA_DIR"), *home = getenv("HOME");
    char *path = runtime_on_path();
    snprintf(llama_server, sizeof llama_server, "%s", path ? path : "");
    free(path);
    snprintf(engine_dir, sizeof engine_dir, data ? "%s/joulet/engine" : "%s/.local/share/joulet/engine",
             data   ? data
             : home ? home
                    : "");
    char *manifest = jl_strf("%s/MANIFEST", engine_dir);
    bool installed = manifest && access(manifest, R_OK) == 0;
    free(manifest);
    return installed || llama_server[0];
}

/* Ollama looks for its runner below the folder it is started in. */
static void write_runner(void)
{
    char text[16384], *loader = NULL;
    static const char *const loaders[] = {"ld-linux-x86-64.so.2", "ld-linux-aarch64.so.1"};
    for (size_t i = 0; i < JL_COUNT(loaders) && !loader; i++) {
        char *path = jl_strf("%s/%s", engine_dir, loaders[i]);
        loader = path && access(path, X_OK) == 0 ? jl_strdup(loaders[i]) : NULL;
        free(path);
    }
    if (loader)
        snprintf(
            text, sizeof text,
            "#!/bin/sh\nunset LD_LIBRARY_PATH\ncd '%s' && exec ./%s --argv0 llama-server --inhibit-cache --library-path '%s' "
            "./llama-server \"$@\"\n",
            engine_dir, loader, engine_dir);
    else
        snprintf(text, sizeof text, "#!/bin/sh\nexec '%s' \"$@\"\n", llama_server);
    free(loader);
    scratch_write("build/lib/ollama/llama-server", text, strlen(text));
    assert_int_equal(chmod(scratch_path("build/lib/ollama/llama-server"), 0755), 0);
}

static void serve(void)
{
    int port = real_port();
    char host[64], home[512], models[512], url[64], *log = jl_strdup(scratch_path("ollama.log"));
    write_runner();
    snprintf(host, sizeof host, "OLLAMA_HOST=127.0.0.1:%d", port);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", port);
    snprintf(home, sizeof home, "HOME=%s", scratch);
    snprintf(models, sizeof models, "OLLAMA_MODELS=%s/models", scratch);
    const char *const argv[] = {program, "serve", NULL};
    const char *const env[] = {host, home, models, "OLLAMA_NO_CLOUD=1", "LLAMA_ARG_THREADS=1", "GIN_MODE=release", NULL};
    struct jl_spawn how = {.argv = argv, .env = env, .cwd = scratch, .log = log};
    assert_int_equal(jl_spawn(&ollama, &how, NULL), JOULET_OK);
    engine = real_wait(&ollama, url, 120, &cancel);
    if (!engine)
        real_show_log(log);
    free(log);
    assert_non_null(engine);
}

static int post(const char *path, const void *body, size_t n)
{
    char *url = jl_strf("%s%s", engine->url, path);
    struct net_request q = {.method = strstr(path, "delete") ? "DELETE" : "POST", .url = url, .body = body, .body_len = n};
    struct net_response r;
    net_http(&q, &r, NULL);
    int status = r.status;
    net_response_release(&r);
    free(url);
    return status;
}

static void create(const char *name, const char *file)
{
    char hex[65], path[128], body[512];
    struct jl_buf b;
    scratch_sha256(file, hex);
    jl_buf_init(&b, 1 << 26);
    assert_int_equal(jl_read_file(file, &b, NULL), JOULET_OK);
    snprintf(path, sizeof path, "/api/blobs/sha256:%s", hex);
    assert_int_equal(post(path, b.data, b.len), 201);
    jl_buf_release(&b);
    snprintf(body, sizeof body, "{\"model\":\"%s\",\"files\":{\"x.gguf\":\"sha256:%s\"},\"stream\":false}", name, hex);
    assert_int_equal(post("/api/create", body, strlen(body)), 200);
}

/* The same model with a template that knows thoughts and opens one. The tensors after it must stay aligned: it grows by whole
 * blocks, filled up with a comment. */
static void write_thinker(const char *from, const char *to)
{
    static const char thinks[] =
        "{{ bos_token }}{% for m in messages %}<|start_header_id|>{{ m['role'] }}<|end_header_id|>\n\n"
        "{% if m['reasoning_content'] %}<think>\n{{ m['reasoning_content'] }}\n</think>\n\n{% endif %}{{ m['content'] "
        "}}<|eot_id|>"
        "{% endfor %}{% if add_generation_prompt %}<|start_header_id|>assistant<|end_header_id|>\n\n"
        "{% if enable_thinking is defined and enable_thinking is false %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
        "{% endif %}";
    struct jl_buf b, out;
    uint64_t was, now;
    jl_buf_init(&b, 1 << 26);
    jl_buf_init(&out, 1 << 26);
    assert_int_equal(jl_read_file(from, &b, NULL), JOULET_OK);
    char *key = memmem(b.data, b.len, "tokenizer.chat_template", 23), *length = key + 23 + 4;
    assert_non_null(key);
    memcpy(&was, length, sizeof was);
    now = was + (strlen(thinks) - was + 4 + 31) / 32 * 32;
    jl_buf_add(&out, b.data, (size_t)(length - b.data));
    jl_buf_add(&out, &now, sizeof now);
    jl_buf_printf(&out, "%s{#%*s#}", thinks, (int)(now - strlen(thinks) - 4), "");
    jl_buf_add(&out, length + 8 + was, b.len - (size_t)(length + 8 + was - b.data));
    assert_int_equal(out.len, b.len + now - was);
    assert_int_equal(jl_write_file(to, out.data, out.len, 0644, NULL), JOULET_OK);
    jl_buf_release(&b);
    jl_buf_release(&out);
}

static int begin(void **state)
{
    struct gguf_shape shape;
    real_path(program, sizeof program, "ollama-0.34.2/bin/ollama");
    bool runner = find_runner();
    char *data = getenv("JOULET_DATA_DIR") ? jl_strdup(getenv("JOULET_DATA_DIR")) : NULL;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    if (!program[0] || !runner) {
        free(data);
        return 0;
    }
    if (scratch_open(state) != 0)
        return -1;
    if (data)
        setenv("JOULET_DATA_DIR", data, 1); /* the private llama-server stays where it is */
    else
        unsetenv("JOULET_DATA_DIR");
    free(data);
    serve();
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    write_thinker(scratch_path("m.gguf"), scratch_path("t.gguf"));
    create("same", scratch_path("m.gguf"));
    create("thinker", scratch_path("t.gguf"));
    return 0;
}

static int finish(void **state)
{
    if (!program[0] || !engine)
        return 0;
    engine_close(engine);
    jl_process_stop(&ollama, 10); /* SIGTERM also ends its runners */
    return scratch_close(state);
}

/* ---- generations -------------------------------------------------------------------------------------------------------------
 */

#define PROMPT "The river carries stones from the mountains to the sea, and at night the wind turns."

static void generate(struct engine *e, struct generation q, struct generated *g, const char *what)
{
    struct joulet_error err;
    generated_init(g);
    if (engine_generate(e, &q, g, NULL, NULL, &err) != JOULET_OK)
        fail_msg("%s: %s", what, err.message);
}

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

static const struct run_window *window(const struct run_request *q, const char *name)
{
    for (size_t i = 0; i < q->n_windows; i++)
        if (strcmp(q->windows[i].name, name) == 0)
            return &q->windows[i];
    fail_msg("no window %s", name);
    return NULL;
}

/* Both tell the same kind of phases, from their own clocks, that tile the request and hold what the engine says. How much longer
 * they are than that is the machine's speed. */
static void check_phases(const struct generated *g, const char *who)
{
    struct run_request q;
    run_request_init(&q);
    engine_to_request(g, &q);
    const struct run_window *p = window(&q, "prefill"), *d = window(&q, "decode");
    if (!q.phase_source || strcmp(q.phase_source, "server timings") != 0 || p->end_ns != d->start_ns ||
        run_window_s(p) < g->server_prompt_s - 0.002 || run_window_s(d) < g->server_decode_s - 0.002 ||
        p->start_ns < g->t_sent_ns || d->end_ns > g->t_end_ns || !(g->server_prompt_s > 0) || !(g->server_decode_s > 0))
        fail_msg("%s: %s, prefill %g s (told %g), decode %g s (told %g)", who, q.phase_source ? q.phase_source : "-",
                 run_window_s(p), g->server_prompt_s, run_window_s(d), g->server_decode_s);
    run_request_release(&q);
}

static void same_tokens_as_llama_server(void **state)
{
    struct runtime_server s;
    struct joulet_error err;
    struct engine *e;
    struct runtime_start how = {.model = scratch_path("m.gguf"),
                                .context_length = 4096,
                                .threads = 1,
                                .gpu_layers = -1,
                                .private_only = !llama_server[0]};
    (void)state;
    if (runtime_server_start(&s, &how, &err) != JOULET_OK || engine_open(&e, s.url, s.key, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    for (int raw = 0; raw <= 1; raw++) {
        struct generated a, b;
        struct generation q = {.prompt = PROMPT, UNSET, .max_tokens = 48, .raw = raw};
        q.repeat_penalty = 1.3;
        generate(e, q, &a, "llama-server");
        q.model = "same";
        q.context_length = 4096;
        generate(engine, q, &b, "Ollama");
        assert_string_equal(text_of(&a.text), text_of(&b.text));
        assert_true(a.text.len > 48);
        assert_int_equal(a.tokens.prompt, b.tokens.prompt);
        assert_int_equal(a.tokens.generated, 48);
        assert_int_equal(b.tokens.generated, 48);
        assert_string_equal(a.finish, b.finish);
        assert_true(b.n_token_ns > 24); /* it streams */
        check_phases(&a, "llama-server");
        check_phases(&b, "Ollama");
        generated_release(&a);
        generated_release(&b);
    }
    engine_close(e);
    runtime_server_stop(&s);
}

static void cached_tokens_are_told(void **state)
{
    (void)state;
    for (int i = 0; i < 2; i++) {
        struct generated g;
        struct generation q = {.model = "same", .prompt = "again and again, the same words", UNSET, .max_tokens = 4};
        generate(engine, q, &g, "cached");
        assert_true(i ? g.tokens.cached == g.tokens.prompt - 1 : g.tokens.cached < g.tokens.prompt - 8);
        assert_int_equal(g.processed_tokens, g.tokens.prompt - g.tokens.cached);
        generated_release(&g);
    }
}

static void thinking_is_its_own_text(void **state)
{
    struct generated g;
    struct generation q = {.model = "thinker", .prompt = "why?", UNSET, .max_tokens = 12, .thinking = THINKING_ON};
    (void)state;
    generate(engine, q, &g, "thinking");
    assert_true(g.thinking.len > 0);
    assert_int_equal(g.text.len, 0);
    assert_int_equal(g.tokens.generated, 12);
    generated_release(&g);
    q.thinking = THINKING_OFF;
    generate(engine, q, &g, "not thinking");
    assert_int_equal(g.thinking.len, 0);
    assert_true(g.text.len > 0);
    generated_release(&g);
    q.model = "same";
    q.thinking = THINKING_HIGH;
    struct joulet_error err;
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_says(err.message, "does not support thinking");
    generated_release(&g);
}

static void an_abort_leaves_it_well(void **state)
{
    struct generated g;
    struct joulet_error err;
    struct generation q = {.model = "same", .prompt = PROMPT, UNSET, .max_tokens = 4000};
    struct real_watch w = {.cancel = &cancel};
    (void)state;
    q.repeat_penalty = 1.3;
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, real_text, &w, &err), JOULET_CANCELLED);
    assert_string_equal(g.finish, "cancelled");
    assert_true(g.n_token_ns >= 1);
    assert_false(g.done);
    generated_release(&g);
    atomic_store(&cancel, false);
    q.max_tokens = 3;
    generate(engine, q, &g, "after an abort");
    assert_int_equal(g.tokens.generated, 3);
    generated_release(&g);
}

/* ---- models ------------------------------------------------------------------------------------------------------------------
 */

static void models_come_and_go(void **state)
{
    struct engine_model m;
    struct joulet_error err;
    double told;
    struct generation small = {UNSET, .keep_alive = "1h", .max_tokens = -1};
    (void)state;
    small.context_length = 512;
    assert_int_equal(engine->ops->unload(engine, "same", &err), JOULET_OK);
    assert_int_equal(engine->ops->details(engine, "same", &m, &err), JOULET_OK);
    assert_false(m.loaded);
    assert_string_equal(m.name, "same:latest");
    assert_string_equal(m.quantisation, "Q8_0");
    assert_string_equal(m.architecture, "llama");
    assert_string_equal(m.runtime, "llama.cpp");
    assert_int_equal(strlen(m.digest), 64);
    assert_true(m.params > 4000000);
    assert_int_equal(engine->ops->load(engine, "same", &small, &told, &err), JOULET_OK);
    assert_int_equal(engine->ops->details(engine, "same", &m, &err), JOULET_OK);
    assert_true(m.loaded);
    assert_int_equal(m.loaded_context, 512);
    assert_int_equal(engine->ops->load(engine, "nonesuch", NULL, &told, &err), JOULET_NOT_FOUND);
    assert_int_equal(engine->ops->details(engine, "nonesuch", &m, &err), JOULET_NOT_FOUND);
    assert_int_equal(engine->ops->unload(engine, "same", &err), JOULET_OK);
}

static void a_model_that_vanishes_is_named(void **state)
{
    static const char body[] = "{\"model\":\"thinker\"}";
    struct generated g;
    struct joulet_error err;
    struct generation q = {.model = "thinker", .prompt = "still there?", UNSET, .max_tokens = 3};
    (void)state;
    assert_int_equal(post("/api/delete", body, sizeof body - 1), 200);
    generated_init(&g);
    assert_int_equal(engine_generate(engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_says(err.message, "has no model \"thinker\"");
    assert_says(err.message, "and has same:latest");
    generated_release(&g);
}

static void count_step(void *user, const char *step, int64_t done, int64_t total)
{
    (void)step, (void)done, (void)total;
    ++*(int *)user;
}

static void a_pull_says_why_it_failed(void **state)
{
    struct joulet_error err;
    int steps = 0;
    (void)state;
    assert_int_equal(engine->ops->pull(engine, "127.0.0.1:9/library/none", count_step, &steps, &err), JOULET_ENGINE);
    assert_says(err.message, "could not get 127.0.0.1:9/library/none");
    assert_true(steps >= 1);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_tokens_as_llama_server), cmocka_unit_test(cached_tokens_are_told),
        cmocka_unit_test(thinking_is_its_own_text),    cmocka_unit_test(an_abort_leaves_it_well),
        cmocka_unit_test(models_come_and_go),          cmocka_unit_test(a_model_that_vanishes_is_named),
        cmocka_unit_test(a_pull_says_why_it_failed),
    };
    if (begin(NULL) != 0)
        return 1;
    if (!engine)
        return 77;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    finish(NULL);
    return failed;
}
