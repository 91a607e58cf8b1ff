/* Whole generations against the simulated engine: what it made is told as it was, and every way of failing gives its sentence,
 * keeps what came, and never looks like success. No assertion depends on how fast the machine is. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/platform/platform.h"
#include "llm/engine.h"
#include "tests/sim_engine/sim_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GIVEN(max, context, penalty)                                                                                             \
    .max_tokens = (max), .context_length = (context), .repeat_penalty = (penalty), .top_k = -1, .seed = -1, .temperature = NAN,  \
    .top_p = NAN, .min_p = NAN
#define NOT_GIVEN GIVEN(-1, -1, NAN)

struct bench {
    struct sim_engine *sim;
    struct engine *engine;
    char url[64];
};

static void quick(struct sim_config *c)
{
    sim_config_init(c);
    c->overhead_ms = 0.1;
    c->prefill_ms = 0.1;
    c->decode_ms = 0.5;
}

static void begin(struct bench *b, const struct sim_config *c)
{
    struct joulet_error err = {.status = JOULET_OK};
    b->sim = sim_engine_start(c, &err);
    if (!b->sim)
        fail_msg("%s", err.message);
    snprintf(b->url, sizeof(b->url), "http://127.0.0.1:%d", sim_engine_port(b->sim));
    if (engine_open(&b->engine, b->url, c->key, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void end(struct bench *b)
{
    engine_close(b->engine);
    sim_engine_stop(b->sim);
}

/* ---- recognition ------------------------------------------------------------------------------------------------- */

static void recognised_by_bodies(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    quick(&c);
    begin(&b, &c);
    assert_string_equal(b.engine->ops->name, "llama.cpp");
    assert_string_equal(b.engine->info.protocol, "llama.cpp");
    assert_string_equal(b.engine->info.version, "b11669-sim");
    assert_string_equal(b.engine->info.model, "sim-model");
    assert_string_equal(b.engine->info.model_path, "/models/sim-model.gguf");
    assert_int_equal(b.engine->info.context_length, 4096);
    assert_int_equal(b.engine->info.model_params, 4458752);
    assert_int_equal(b.engine->info.slots, 1);
    assert_int_equal(b.engine->info.gpu_layers, -1);
    assert_true(b.engine->local);
    assert_int_equal(b.engine->ops->busy(b.engine), 0);
    end(&b);
    c.openai = true;
    begin(&b, &c);
    assert_string_equal(b.engine->ops->name, "openai");
    assert_string_equal(b.engine->info.version, "0.11.0-sim");
    assert_string_equal(b.engine->info.model, "sim-model");
    assert_int_equal(b.engine->info.context_length, 4096);
    end(&b);
}

static void addresses_as_people_paste_them(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    static const char *const forms[] = {"http://127.0.0.1:%d/", "http://127.0.0.1:%d/v1", "http://127.0.0.1:%d/v1/",
                                        "127.0.0.1:%d", "localhost:%d"};
    quick(&c);
    begin(&b, &c);
    for (size_t i = 0; i < JL_COUNT(forms); i++) {
        struct engine *e;
        struct joulet_error err;
        char url[64];
#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wformat-nonliteral"
        snprintf(url, sizeof(url), forms[i], sim_engine_port(b.sim));
#pragma GCC diagnostic pop
        if (engine_open(&e, url, NULL, NULL, &err) != JOULET_OK)
            fail_msg("%s: %s", url, err.message);
        engine_close(e);
    }
    end(&b);
}

static void not_opened(void **state)
{
    (void)state;
    struct joulet_error err;
    struct engine *e;
    struct sim_config c;
    char url[64];
    quick(&c);
    c.key = "secret";
    struct sim_engine *sim = sim_engine_start(&c, &err);
    assert_non_null(sim);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", sim_engine_port(sim));
    assert_int_equal(engine_open(&e, url, NULL, NULL, &err), JOULET_PERMISSION);
    assert_non_null(strstr(err.message, "wants a key (Invalid API Key)"));
    assert_int_equal(engine_open(&e, url, "wrong", NULL, &err), JOULET_PERMISSION);
    assert_non_null(strstr(err.message, "wants another key"));
    assert_null(strstr(err.message, "wrong"));
    assert_int_equal(engine_open(&e, url, "a\r\nX: y", NULL, &err), JOULET_USAGE);
    assert_int_equal(engine_open(&e, "", NULL, NULL, &err), JOULET_USAGE);
    assert_int_equal(engine_open(&e, "file:///etc/passwd", NULL, NULL, &err), JOULET_USAGE);
    assert_int_equal(engine_open(&e, url, "secret", NULL, &err), JOULET_OK);
    engine_close(e);
    sim_engine_stop(sim);
    assert_int_equal(engine_open(&e, url, NULL, NULL, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "is it running?"));
    assert_null(e);
    c.openai = true;
    sim = sim_engine_start(&c, &err);
    snprintf(url, sizeof(url), "http://127.0.0.1:%d", sim_engine_port(sim));
    assert_int_equal(engine_open(&e, url, NULL, NULL, &err), JOULET_PERMISSION);
    sim_engine_stop(sim);
}

static void loading_is_waited_for(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct generated g;
    struct joulet_error err;
    struct generation q = {.prompt = "one two", NOT_GIVEN};
    quick(&c);
    assert_true(sim_config_fault(&c, "loading:3600"));
    begin(&b, &c);
    assert_true(b.engine->info.loading);
    assert_int_equal(engine_wait_ready(b.engine, 0.05, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "has not loaded its model within 0.05 s"));
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_non_null(strstr(err.message, "still loading its model"));
    assert_int_equal(g.http_status, 503);
    generated_release(&g);
    end(&b);
    quick(&c);
    assert_true(sim_config_fault(&c, "loading:0.3"));
    begin(&b, &c);
    assert_int_equal(engine_wait_ready(b.engine, 600, &err), JOULET_OK);
    assert_false(b.engine->info.loading);
    assert_string_equal(b.engine->info.model, "sim-model");
    end(&b);
}

/* ---- what comes back --------------------------------------------------------------------------------------------- */

struct heard {
    struct jl_buf text, thinking;
};

static void hear(void *user, const char *text, size_t n, bool thinking)
{
    struct heard *h = user;
    jl_buf_add(thinking ? &h->thinking : &h->text, text, n);
}

struct row {
    const char *name;
    bool openai, raw;
    const char *faults[3];
    int64_t eos;
    enum joulet_status status;
    const char *text, *thinking;
    int64_t prompt, cached, generated; /* of a chat: 8 more for its template */
    const char *finish;
    bool server_times, truncated;
    const char *words;
};

#define SIX "one token takes so many joules"

/* clang-format off */
static const struct row rows[] = {
    {"chat", false, false, {0}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", true, false, NULL},
    {"raw", false, true, {0}, 0, JOULET_OK, SIX, "", 3, 0, 6, "length", true, false, NULL},
    {"openai chat", true, false, {0}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", false, false, NULL},
    {"openai raw", true, true, {0}, 0, JOULET_OK, SIX, "", 3, 0, 6, "length", false, false, NULL},
    {"end token", false, false, {0}, 4, JOULET_OK, "one token takes", "", 11, 0, 4, "stop", true, false, NULL},
    {"raw end token", false, true, {0}, 4, JOULET_OK, "one token takes", "", 3, 0, 4, "stop", true, false, NULL},
    {"cached part", false, true, {"cached:2"}, 0, JOULET_OK, SIX, "", 3, 2, 6, "length", true, false, NULL},
    {"truncated prompt", false, true, {"truncated"}, 0, JOULET_OK, SIX, "", 3, 0, 6, "length", true, true, NULL},
    {"thoughts", false, false, {"thinking:2"}, 0, JOULET_OK, " takes so many joules", "one token", 11, 0, 6, "length", true,
     false, NULL},
    {"pings", false, false, {"ping"}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", true, false, NULL},
    {"slow chunks", false, false, {"slow-chunks"}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", true, false, NULL},
    {"no times", false, false, {"no-timings"}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", false, false, NULL},
    {"no counts", false, false, {"no-usage"}, 0, JOULET_OK, SIX, "", -1, -1, -1, "length", false, false, NULL},
    {"one body", false, false, {"whole"}, 0, JOULET_OK, SIX, "", 11, 0, 6, "length", true, false, NULL},
    {"raw, one body", false, true, {"whole"}, 0, JOULET_OK, SIX, "", 3, 0, 6, "length", true, false, NULL},
    {"garbage", false, false, {"garbage"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false, "does not speak HTTP"},
    {"empty reply", false, false, {"empty-reply"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false, "gave no answer"},
    {"web page", false, false, {"html"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "sent not a JSON object but \"<!doctype html>"},
    {"out of memory", false, false, {"oom"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "ran out of memory: \"failed to allocate"},
    {"without words", false, false, {"internal"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "HTTP 500 without a word"},
    {"unknown model", false, false, {"unknown-model"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "and has sim-model"},
    {"dies at once", false, false, {"die:0"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "died in mid-stream after 0 pieces"},
    {"dies in mid-stream", false, false, {"die:3"}, 0, JOULET_ENGINE, "one token takes", "", -1, -1, -1, "error", false, false,
     "died in mid-stream after 3 pieces"},
    {"dies before its last word", true, true, {"die:6"}, 0, JOULET_ENGINE, SIX, "", -1, -1, -1, "error", false, false,
     "died in mid-stream after 6 pieces"},
    {"cut in mid-stream", true, false, {"cut:2"}, 0, JOULET_ENGINE, "one token", "", -1, -1, -1, "error", false, false,
     "died in mid-stream after 2 pieces"},
    {"ends without its end", false, true, {"no-done"}, 0, JOULET_ENGINE, SIX, "", -1, -1, -1, "error", false, false,
     "without its last part"},
    {"chat ends without its end", true, false, {"no-done"}, 0, JOULET_ENGINE, SIX, "", -1, -1, -1, "error", false, false,
     "without its last part"},
    {"error in mid-stream", false, false, {"error:2"}, 0, JOULET_ENGINE, "one token", "", -1, -1, -1, "error", false, false,
     "ran out of memory: \"decode failed: out of memory\""},
    {"error line", false, true, {"error-line:2"}, 0, JOULET_ENGINE, "one token", "", -1, -1, -1, "error", false, false,
     "decode failed"},
    {"no JSON in mid-stream", false, false, {"bad-json:1"}, 0, JOULET_ENGINE, "one", "", -1, -1, -1, "error", false, false,
     "sent not a JSON object but"},
    {"no UTF-8 in mid-stream", false, true, {"bad-utf8:1"}, 0, JOULET_ENGINE, "one", "", -1, -1, -1, "error", false, false,
     "not a JSON object but"},
    {"endless line", false, false, {"huge-line:20e6"}, 0, JOULET_ENGINE, "one", "", -1, -1, -1, "error", false, false,
     "an event longer than 16 MiB"},
    {"no work", false, false, {"no-tokens"}, 0, JOULET_ENGINE, "", "", 11, 0, 0, "error", true, false, "did no work"},
    {"no work, raw", false, true, {"no-tokens"}, 0, JOULET_ENGINE, "", "", 3, 0, 0, "error", true, false, "did no work"},
    {"no work, nothing told", true, false, {"no-tokens", "no-usage"}, 0, JOULET_ENGINE, "", "", -1, -1, -1, "error", false, false,
     "did no work"},
    {"no time", false, false, {"no-time"}, 0, JOULET_ENGINE, SIX, "", 11, 0, 6, "error", true, false, "took no time"},
    {"no reason but all tokens", true, false, {"no-reason"}, 0, JOULET_OK, SIX, "", 11, 0, 6, "", false, false, NULL},
    {"no reason and fewer", true, false, {"no-reason"}, 4, JOULET_ENGINE, "one token takes", "", 11, 0, 4, "error", false, false,
     "stopped after 4 of 6 tokens and gave no reason"},
    {"no reason and fewer, raw", false, true, {"no-reason"}, 4, JOULET_ENGINE, "one token takes", "", 3, 0, 4, "error", true, false,
     "gave no reason"},
    {"says nothing", false, false, {"stall:0"}, 0, JOULET_UNREACHABLE, "", "", -1, -1, -1, "error", false, false,
     "hangs after"},
    {"stops speaking", false, false, {"stall:2"}, 0, JOULET_UNREACHABLE, "one token", "", -1, -1, -1, "error", false, false,
     "sent nothing for 0.2 s"},
};
/* clang-format on */

static const char *text_of(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

/* How much came before a timeout depends on the machine: then the beginning must be right. */
static bool same_text(const struct jl_buf *got, const char *want, bool whole)
{
    return whole ? strcmp(text_of(got), want) == 0 : strncmp(text_of(got), want, got->len) == 0;
}

static bool as_expected(const struct row *r, enum joulet_status status, const struct generated *g, const struct heard *h,
                        const struct joulet_error *err)
{
    bool ok = status == JOULET_OK, whole = status != JOULET_UNREACHABLE;
    return status == r->status && same_text(&g->text, r->text, whole) && same_text(&g->thinking, r->thinking, whole) &&
           strcmp(text_of(&h->text), text_of(&g->text)) == 0 && strcmp(text_of(&h->thinking), text_of(&g->thinking)) == 0 &&
           g->tokens.prompt == r->prompt && g->tokens.cached == r->cached && g->tokens.generated == r->generated &&
           strcmp(g->finish, r->finish) == 0 && isnan(g->server_prompt_s) != r->server_times && g->truncated == r->truncated &&
           (!ok || (g->done && g->complete)) && (r->words ? strstr(err->message, r->words) != NULL : err->message[0] == '\0') &&
           g->t_sent_ns > 0 && g->t_end_ns >= g->t_sent_ns;
}

static void each_answer_and_each_fault(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct row *r = &rows[i];
        struct bench b;
        struct sim_config c;
        struct generated g;
        struct joulet_error err;
        struct heard h;
        struct generation q = {.prompt = "tell me more", GIVEN(6, -1, NAN), .raw = r->raw};
        quick(&c);
        c.openai = r->openai;
        c.eos = r->eos;
        for (size_t k = 0; k < JL_COUNT(r->faults) && r->faults[k]; k++)
            assert_true(sim_config_fault(&c, r->faults[k]));
        q.timeout_s = strncmp(r->faults[0] ? r->faults[0] : "", "stall", 5) == 0 ? 0.2 : 0;
        begin(&b, &c);
        generated_init(&g);
        jl_buf_init(&h.text, 1 << 20);
        jl_buf_init(&h.thinking, 1 << 20);
        enum joulet_status status = engine_generate(b.engine, &q, &g, hear, &h, &err);
        if (!as_expected(r, status, &g, &h, &err))
            fail_msg("%s: %s: %s; HTTP %d, \"%s\" \"%s\", %lld %lld %lld, finish \"%s\", prompt %g s, done %d, complete %d",
                     r->name, joulet_status_text(status), err.message, g.http_status, text_of(&g.text), text_of(&g.thinking),
                     (long long)g.tokens.prompt, (long long)g.tokens.cached, (long long)g.tokens.generated, g.finish,
                     g.server_prompt_s, g.done, g.complete);
        jl_buf_release(&h.text);
        jl_buf_release(&h.thinking);
        generated_release(&g);
        end(&b);
    }
}

static void prompt_longer_than_the_context(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct generated g;
    struct joulet_error err;
    struct generation q = {.prompt = "one two three four", NOT_GIVEN};
    quick(&c);
    c.context = 10;
    begin(&b, &c);
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_non_null(strstr(err.message, "the prompt is too long (12 tokens for a context of 10)"));
    assert_non_null(strstr(err.message, "request (12 tokens) exceeds the available context size"));
    assert_non_null(strstr(err.message, "--context 1280"));
    generated_release(&g);
    end(&b);
}

static void openai_model_is_listed(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct generated g;
    struct joulet_error err;
    struct generation q = {.prompt = "x", .model = "sim-modle", NOT_GIVEN};
    quick(&c);
    c.openai = true;
    begin(&b, &c);
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    assert_non_null(strstr(err.message, "has no model \"sim-modle\""));
    assert_non_null(strstr(err.message, "and has sim-model"));
    generated_release(&g);
    end(&b);
}

static void a_dead_engine_is_unreachable_next(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct generated g;
    struct joulet_error err;
    struct generation q = {.prompt = "x", NOT_GIVEN};
    quick(&c);
    assert_true(sim_config_fault(&c, "die:1"));
    begin(&b, &c);
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_ENGINE);
    generated_release(&g);
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "is it running?"));
    assert_int_equal(g.t_sent_ns, 0);
    assert_int_equal(engine_wait_ready(b.engine, 600, &err), JOULET_UNREACHABLE);
    generated_release(&g);
    end(&b);
}

/* ---- cancel ------------------------------------------------------------------------------------------------------ */

static void cancel_now(void *user, const char *text, size_t n, bool thinking)
{
    (void)text, (void)n, (void)thinking;
    atomic_store((atomic_bool *)user, true);
}

/* 10 000 s of work lie ahead: only the cancel can end this; the engine sees the client leave and ends its work. */
static void cancelled_while_decoding(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct sim_truth t;
    struct generated g;
    struct joulet_error err;
    atomic_bool cancel = false;
    struct generation q = {.prompt = "x", GIVEN(10000000, -1, NAN)};
    quick(&c);
    c.decode_ms = 1;
    begin(&b, &c);
    b.engine->cancel = &cancel;
    generated_init(&g);
    assert_int_equal(engine_generate(b.engine, &q, &g, cancel_now, &cancel, &err), JOULET_CANCELLED);
    assert_string_equal(g.finish, "cancelled");
    assert_true(g.n_token_ns >= 1 && g.text.len > 0);
    struct run_request r;
    run_request_init(&r);
    engine_to_request(&g, &r);
    assert_int_equal(r.n_windows, 2);
    assert_string_equal(r.phase_source, "client timing");
    run_request_release(&r);
    while (!sim_engine_truth(b.sim, 0, &t))
        jl_sleep_until(jl_mono_ns() + 5000000);
    assert_string_equal(t.outcome, "gone");
    generated_release(&g);
    end(&b);
}

/* ---- times ------------------------------------------------------------------------------------------------------- */

/* The windows against the schedule: each moment is at or after the true one, and they tile. */
static void windows_follow_the_schedule(void **state)
{
    (void)state;
    static const bool kinds[] = {false, true};
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        struct bench b;
        struct sim_config c;
        struct sim_truth t;
        struct generated g;
        struct run_request r;
        struct joulet_error err;
        struct generation q = {.prompt = "one two three four five six", GIVEN(8, -1, NAN)};
        quick(&c);
        c.openai = kinds[i];
        c.prefill_ms = 2;
        c.decode_ms = 3;
        begin(&b, &c);
        generated_init(&g);
        run_request_init(&r);
        assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_OK);
        engine_to_request(&g, &r);
        assert_true(sim_engine_truth(b.sim, 0, &t));
        assert_string_equal(t.outcome, "done");
        assert_int_equal(r.n_windows, 2);
        assert_string_equal(r.phase_source, kinds[i] ? "client timing" : "server timings");
        assert_true(r.windows[0].start_ns <= t.t_arrival_ns);
        assert_true(r.windows[0].end_ns >= t.t_decode_ns && r.windows[1].start_ns == r.windows[0].end_ns);
        assert_true(r.windows[1].end_ns >= t.t_end_ns);
        if (!kinds[i]) {
            assert_true(fabs(r.server_prompt_s - 0.028) < 1e-9);
            assert_true(fabs(r.server_decode_s - 0.021) < 1e-9);
        }
        assert_true(r.ttft_s > 0.028 && r.tpot_s > 0);
        run_request_release(&r);
        generated_release(&g);
        end(&b);
    }
}

static void the_cache_is_off_unless_asked(void **state)
{
    (void)state;
    struct bench b;
    struct sim_config c;
    struct joulet_error err;
    quick(&c);
    begin(&b, &c);
    for (int i = 0; i < 3; i++) {
        struct generated g;
        struct generation q = {.prompt = "the same words", NOT_GIVEN, .prompt_cache = i == 2};
        generated_init(&g);
        assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), JOULET_OK);
        assert_int_equal(g.tokens.prompt, 11);
        assert_int_equal(g.tokens.cached, i == 2 ? 10 : 0);
        assert_int_equal(g.processed_tokens, i == 2 ? 1 : 11);
        generated_release(&g);
    }
    end(&b);
}

/* ---- the simulated truth ----------------------------------------------------------------------------------------- */

struct curve {
    double t_ns[64], watts[64];
    size_t n;
};

static void read_curve(struct curve *c, const char *path)
{
    FILE *f = fopen(path, "r");
    assert_non_null(f);
    for (c->n = 0; c->n < 64 && fscanf(f, "%lf %lf", &c->t_ns[c->n], &c->watts[c->n]) == 2; c->n++)
        assert_true(c->n == 0 || c->t_ns[c->n] >= c->t_ns[c->n - 1]);
    fclose(f);
}

static double integral_j(const struct curve *c, int64_t from, int64_t to)
{
    double sum = 0;
    for (size_t i = 0; i < c->n; i++) {
        double a = fmax(c->t_ns[i], (double)from), b = fmin(i + 1 < c->n ? c->t_ns[i + 1] : (double)to, (double)to);
        sum += b > a ? c->watts[i] * (b - a) * 1e-9 : 0;
    }
    return sum;
}

/* What the curve holds between the moments of a request is what the engine says the request drew, broken off or not; with steps
 * that nobody can keep up with, too. */
static void curve_against_truth(double decode_ms)
{
    char path[] = "/tmp/joulet-curve-XXXXXX";
    struct bench b;
    struct sim_config c;
    struct curve curve;
    int fd = mkstemp(path);
    assert_true(fd >= 0);
    close(fd);
    quick(&c);
    c.curve = path;
    c.prefill_ms = 4;
    c.decode_ms = decode_ms;
    assert_true(sim_config_fault(&c, "cut:2@1"));
    begin(&b, &c);
    for (int i = 0; i < 3; i++) {
        struct generated g;
        struct joulet_error err;
        struct generation q = {.prompt = "some words to read", GIVEN(6, -1, NAN)};
        generated_init(&g);
        assert_int_equal(engine_generate(b.engine, &q, &g, NULL, NULL, &err), i == 1 ? JOULET_ENGINE : JOULET_OK);
        generated_release(&g);
    }
    read_curve(&curve, path);
    for (size_t i = 0; i < 3; i++) {
        struct sim_truth t;
        assert_true(sim_engine_truth(b.sim, i, &t));
        assert_string_equal(t.outcome, i == 1 ? "failed" : "done");
        assert_true(fabs(integral_j(&curve, t.t_prefill_ns, t.t_end_ns) - t.prefill_j - t.decode_j) < 1e-6);
        assert_true(fabs(integral_j(&curve, t.t_prefill_ns, t.t_decode_ns) - t.prefill_j) < 1e-6);
        if (i != 1) /* 12 prompt tokens of 4 ms at 60 W, 5 steps at 40 W */
            assert_true(fabs(t.prefill_j - 2.88) < 1e-9 && fabs(t.decode_j - 0.2 * decode_ms) < 1e-9);
    }
    end(&b);
    unlink(path);
}

static void the_curve_holds_the_truth(void **state)
{
    (void)state;
    curve_against_truth(6);
    curve_against_truth(0.001);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(recognised_by_bodies),
        cmocka_unit_test(addresses_as_people_paste_them),
        cmocka_unit_test(not_opened),
        cmocka_unit_test(loading_is_waited_for),
        cmocka_unit_test(each_answer_and_each_fault),
        cmocka_unit_test(prompt_longer_than_the_context),
        cmocka_unit_test(openai_model_is_listed),
        cmocka_unit_test(a_dead_engine_is_unreachable_next),
        cmocka_unit_test(cancelled_while_decoding),
        cmocka_unit_test(windows_follow_the_schedule),
        cmocka_unit_test(the_cache_is_off_unless_asked),
        cmocka_unit_test(the_curve_holds_the_truth),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
