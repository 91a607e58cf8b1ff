/* A real Ollama, where tools/check-engines has put one, beside a real llama-server with the same file: the same tokens, windows
 * of the same kind, and all that only Ollama does. Its runner is the llama-server of joulet's own engine or of PATH. Skipped
 * elsewhere. Nothing here depends on how fast the machine is. */
#include "tests/llm/real_engines.h"
#include "tests/llm/real_ollama.h"
#include "tests/llm/registry.h"
#include "tests/llm/scratch.h"

#include "llm/gguf/gguf.h"

#include <unistd.h>

static struct real_ollama ollama;
static struct engine *engine;
static atomic_bool cancel;

/* ---- the peer ---------------------------------------------------------------------------------------------------- */

static int post(const char *path, const void *body, size_t n)
{
    return real_ollama_post(&ollama, path, body, n);
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
    bool here = real_ollama_find(&ollama);
    char *data = getenv("JOULET_DATA_DIR") ? jl_strdup(getenv("JOULET_DATA_DIR")) : NULL;
    setenv("JOULET_MODULE_DIR", MODULE_DIR, 1);
    if (!here) {
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
    assert_true(real_ollama_start(&ollama, scratch));
    assert_int_equal(engine_open(&engine, ollama.url, NULL, &cancel, NULL), JOULET_OK);
    assert_int_equal(gguf_shape_find("tiny", &shape, NULL), JOULET_OK);
    assert_int_equal(gguf_write(scratch_path("m.gguf"), &shape, GGUF_Q8_0, 1, NULL, NULL, NULL), JOULET_OK);
    write_thinker(scratch_path("m.gguf"), scratch_path("t.gguf"));
    assert_true(real_ollama_create(&ollama, "same", scratch_path("m.gguf")));
    assert_true(real_ollama_create(&ollama, "thinker", scratch_path("t.gguf")));
    return 0;
}

static int finish(void **state)
{
    if (!engine)
        return 0;
    engine_close(engine);
    real_ollama_stop(&ollama);
    return scratch_close(state);
}

/* ---- generations ------------------------------------------------------------------------------------------------- */

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
                                .private_only = !ollama.llama_server[0]};
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

/* ---- models ------------------------------------------------------------------------------------------------------ */

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

/* ---- pulling ----------------------------------------------------------------------------------------------------- */

struct steps {
    int n;
    int64_t most, total; /* bytes of the largest part */
    atomic_bool *cancel; /* set when half of it has come */
};

static void on_step(void *user, const char *step, int64_t done, int64_t total)
{
    struct steps *s = user;
    (void)step;
    s->n++;
    if (total > s->total)
        s->total = total;
    if (done > s->most)
        s->most = done;
    if (s->cancel && total > 0 && done >= total / 2)
        atomic_store(s->cancel, true);
}

static enum joulet_status pull(const struct registry *r, const char *scheme, const char *name, struct steps *s,
                               struct joulet_error *err)
{
    char *model = jl_strf("%s127.0.0.1:%d/ns/%s", scheme, registry_port(r), name);
    enum joulet_status status = engine->ops->pull(engine, model, on_step, s, err);
    free(model);
    return status;
}

/* Each from a registry of the test's own; what cannot be got says why, and in what words of Ollama. */
static void pulls_come_or_say_why_not(void **state)
{
    static const struct {
        const char *scheme, *name, *says;
        enum joulet_status status;
    } rows[] = {
        {"http://", "missing", "a part of it is missing", JOULET_ENGINE},
        {"http://", "absent", "check both", JOULET_ENGINE},
        {"http://", "wrong", "what came is not what was promised", JOULET_ENGINE},
        {"http://", "cut", "unexpected EOF", JOULET_ENGINE},
        {"http://", "page", "check its name and the network", JOULET_ENGINE},
        {"", "good", "write http:// before the name", JOULET_ENGINE},
        {"http://", "slow", "was interrupted: what has come is kept", JOULET_CANCELLED},
        {"http://", "good", "", JOULET_OK},
    };
    struct registry *r = registry_start(scratch_path("m.gguf"));
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_error err;
        struct steps s = {.cancel = rows[i].status == JOULET_CANCELLED ? &cancel : NULL};
        if (pull(r, rows[i].scheme, rows[i].name, &s, &err) != rows[i].status || !strstr(err.message, rows[i].says))
            fail_msg("%s: %s: %s", rows[i].name, joulet_status_text(err.status), err.message);
        atomic_store(&cancel, false);
        assert_true(s.n >= 1);
        if (rows[i].status == JOULET_OK)
            assert_true(s.total > 4000000 && s.most == s.total);
    }
    char *name = jl_strf("127.0.0.1:%d/ns/good", registry_port(r));
    struct engine_model m;
    assert_int_equal(engine->ops->details(engine, name, &m, NULL), JOULET_OK);
    assert_int_equal(strlen(m.digest), 64);
    struct generated g;
    struct generation q = {.model = name, .prompt = "here?", UNSET, .max_tokens = 3};
    generate(engine, q, &g, "a pulled model");
    generated_release(&g);
    free(name);
    registry_stop(r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(same_tokens_as_llama_server), cmocka_unit_test(cached_tokens_are_told),
        cmocka_unit_test(thinking_is_its_own_text),    cmocka_unit_test(an_abort_leaves_it_well),
        cmocka_unit_test(models_come_and_go),          cmocka_unit_test(a_model_that_vanishes_is_named),
        cmocka_unit_test(pulls_come_or_say_why_not),
    };
    if (begin(NULL) != 0)
        return 1;
    if (!engine)
        return 77;
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    finish(NULL);
    return failed;
}
