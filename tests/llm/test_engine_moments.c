/* From what an exchange told to the windows of a request: rows of moments in milliseconds after the sending. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine_wire.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define T0     5000000000
#define MS(x)  (T0 + (int64_t)((x)*1e6))
#define UNTOLD NAN

struct window {
    const char *name;
    double from, to, u_from, u_to; /* ms */
};

struct row {
    const char *why;
    double first, last, end; /* ms after the sending; NAN: did not happen */
    int64_t generated, pieces;
    double prompt, decode, queue, load; /* ms, the engine's */
    bool done;
    const char *source;
    struct window windows[4];
};

/* clang-format off */
static const struct row rows[] = {
    {"both clocks agree", 102, 302, 302.1, 21, 0, 100, 200, UNTOLD, UNTOLD, true, "server timings", {{"prefill", 0, 102, 0, 0.5},
     {"decode", 102, 302, 0.5, 0.5}}},
    {"the first piece came late: the engine's span counts", 140, 302, 302.1, 21, 0, 100, 200, UNTOLD, UNTOLD, true,
     "server timings", {{"prefill", 0, 102.1, 0, 0.5}, {"decode", 102.1, 302.1, 0.5, 0.5}}},
    {"the end came late: the first piece counts", 102, 330, 331, 21, 0, 100, 200, UNTOLD, UNTOLD, true, "server timings",
     {{"prefill", 0, 102, 0, 0.5}, {"decode", 102, 330, 0.5, 0.5}}},
    {"an end token makes no text: decoding went on after the last piece", 102, 292, 302.5, 21, 0, 100, 200, UNTOLD, UNTOLD, true,
     "server timings", {{"prefill", 0, 102, 0, 0.5}, {"decode", 102, 302, 0.5, 0.5}}},
    {"whole body: only the engine knows", NAN, NAN, 303, 21, 0, 100, 200, UNTOLD, UNTOLD, true, "server timings", {{"prefill", 0,
     103, 0, 0.5}, {"decode", 103, 303, 0.5, 0.5}}},
    {"whole body without times: one window", NAN, NAN, 303, 21, 0, UNTOLD, UNTOLD, UNTOLD, UNTOLD, true, NULL, {{"prefill", 0,
     303, 0, 1.5}}},
    {"no times told", 102, 302, 303, 21, 0, UNTOLD, UNTOLD, UNTOLD, UNTOLD, true, "client timing", {{"prefill", 0, 102, 0, 1.5},
     {"decode", 102, 302, 1.5, 1.5}}},
    {"times that cannot be: longer than the exchange", 102, 302, 303, 21, 0, 100, 900, UNTOLD, UNTOLD, true, "client timing",
     {{"prefill", 0, 102, 0, 1.5}, {"decode", 102, 302, 1.5, 1.5}}},
    {"times that cannot be: no room for the prompt", 102, 302, 303, 21, 0, 180, 200, UNTOLD, UNTOLD, true, "client timing",
     {{"prefill", 0, 102, 0, 1.5}, {"decode", 102, 302, 1.5, 1.5}}},
    {"absurd times", 102, 302, 303, 21, 0, 100, 1e15, UNTOLD, UNTOLD, true, "client timing", {{"prefill", 0, 102, 0, 1.5},
     {"decode", 102, 302, 1.5, 1.5}}},
    {"waiting for a slot is told as part of prefill when the engine is silent about it", 902, 1102, 1102.1, 21, 0, 100, 200,
     UNTOLD, UNTOLD, true, "server timings", {{"prefill", 0, 902, 0, 0.5}, {"decode", 902, 1102, 0.5, 0.5}}},
    {"queue told", 902, 1102, 1102.1, 21, 0, 100, 200, 800, UNTOLD, true, "server timings", {{"queue", 0, 800, 0, 0.5},
     {"prefill", 800, 902, 0.5, 0.5}, {"decode", 902, 1102, 0.5, 0.5}}},
    {"queue and load told", 952, 1152, 1152.1, 21, 0, 100, 200, 800, 50, true, "server timings", {{"queue", 0, 800, 0, 0.5},
     {"load", 800, 850, 0.5, 0.5}, {"prefill", 850, 952, 0.5, 0.5}, {"decode", 952, 1152, 0.5, 0.5}}},
    {"a queue longer than the exchange is not believed", 102, 302, 302.1, 21, 0, 100, 200, 5000, UNTOLD, true, "server timings",
     {{"prefill", 0, 102, 0, 0.5}, {"decode", 102, 302, 0.5, 0.5}}},
    {"one token is prefill's", 102, 102, 102.2, 1, 0, 100, 0.001, UNTOLD, UNTOLD, true, "server timings", {{"prefill", 0, 102, 0,
     0.5}}},
    {"cancelled in prefill", NAN, NAN, 50, -1, 0, UNTOLD, UNTOLD, UNTOLD, UNTOLD, false, NULL, {{"prefill", 0, 50, 0, 1.5}}},
    {"cancelled while decoding: until the end of the exchange", 102, 202, 220, -1, 0, UNTOLD, UNTOLD, UNTOLD, UNTOLD, false,
     "client timing", {{"prefill", 0, 102, 0, 1.5}, {"decode", 102, 220, 1.5, 1.5}}},
    {"never ended: times told on the way are not the whole's", 102, 202, 220, 11, 0, 100, 90, UNTOLD, UNTOLD, false,
     "client timing", {{"prefill", 0, 102, 0, 1.5}, {"decode", 102, 220, 1.5, 1.5}}},
    {"a piece a token: the last text is the last token", 102.4, 302, 302.8, 21, 21, 100, 200, UNTOLD, UNTOLD, true,
     "server timings", {{"prefill", 0, 102, 0, 0.5}, {"decode", 102, 302, 0.5, 0.5}}},
    {"pieces of several tokens: the end of the answer counts", 102.4, 290, 302.3, 21, 11, 100, 200, UNTOLD, UNTOLD, true,
     "server timings", {{"prefill", 0, 102.3, 0, 0.5}, {"decode", 102.3, 302.3, 0.5, 0.5}}},
};
/* clang-format on */

static int64_t moment(double ms)
{
    return isnan(ms) ? 0 : MS(ms);
}

static void make(const struct row *r, struct generated *g)
{
    generated_init(g);
    g->t_sent_ns = T0;
    g->t_first_ns = moment(r->first);
    g->t_last_ns = moment(r->last);
    g->t_end_ns = moment(r->end);
    g->tokens.generated = r->generated;
    g->n_token_ns = (size_t)r->pieces;
    g->token_ns = calloc((size_t)r->pieces + 1, sizeof(*g->token_ns)); /* their own times do not matter here */
    g->server_prompt_s = r->prompt / 1e3;
    g->server_decode_s = r->decode / 1e3;
    g->server_queue_s = r->queue / 1e3;
    g->server_load_s = r->load / 1e3;
    g->done = r->done;
}

static bool near(double a, double b)
{
    return fabs(a - b) < 1e-9;
}

static void check(const struct row *r, const struct run_request *q)
{
    size_t n = 0;
    while (n < 4 && r->windows[n].name)
        n++;
    if (q->n_windows != n)
        fail_msg("%s: %zu windows, not %zu", r->why, q->n_windows, n);
    for (size_t i = 0; i < n; i++) {
        const struct run_window *w = &q->windows[i];
        const struct window *e = &r->windows[i];
        if (strcmp(w->name, e->name) != 0 || w->start_ns != MS(e->from) || w->end_ns != MS(e->to) ||
            !near(w->u_start_s, e->u_from / 1e3) || !near(w->u_end_s, e->u_to / 1e3))
            fail_msg("%s: %s %g .. %g ms, u %g %g ms", r->why, w->name, (double)(w->start_ns - T0) / 1e6,
                     (double)(w->end_ns - T0) / 1e6, w->u_start_s * 1e3, w->u_end_s * 1e3);
        if (i && w->start_ns != q->windows[i - 1].end_ns)
            fail_msg("%s: the windows do not tile", r->why);
    }
    if (r->source ? !q->phase_source || strcmp(q->phase_source, r->source) != 0 : q->phase_source != NULL)
        fail_msg("%s: source %s", r->why, q->phase_source ? q->phase_source : "none");
}

static void windows_tile_the_request(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct generated g;
        struct run_request q;
        make(&rows[i], &g);
        run_request_init(&q);
        engine_to_request(&g, &q);
        check(&rows[i], &q);
        run_request_release(&q);
        generated_release(&g);
    }
}

static void nothing_sent_no_window(void **state)
{
    (void)state;
    struct generated g;
    struct run_request q;
    generated_init(&g);
    run_request_init(&q);
    engine_to_request(&g, &q);
    assert_int_equal(q.n_windows, 0);
    assert_null(q.phase_source);
    assert_null(q.finish);
    assert_int_equal(q.tokens.prompt, -1);
    assert_true(isnan(q.ttft_s) && isnan(q.tpot_s) && isnan(q.itl_p50_s) && isnan(q.server_prompt_s));
    run_request_release(&q);
    generated_release(&g);
}

/* ---- latencies --------------------------------------------------------------------------------------------------- */

static void put_pieces(struct generated *g, const double *ms, size_t n)
{
    g->token_ns = calloc(n, sizeof(*g->token_ns));
    g->n_token_ns = g->cap_token_ns = n;
    for (size_t i = 0; i < n; i++)
        g->token_ns[i] = MS(ms[i]);
    g->t_first_ns = n ? g->token_ns[0] : 0;
    g->t_last_ns = n ? g->token_ns[n - 1] : 0;
}

static void latencies(void **state)
{
    (void)state;
    static const struct {
        const char *why;
        double pieces[6]; /* ms */
        size_t n;
        int64_t generated;
        double ttft, tpot, p50, p95, p99; /* ms */
    } cases[] = {
        /* gaps 10 20 30 40: type 7 p50 25, p95 38.5, p99 39.7 */
        {"one token a piece", {100, 110, 130, 160, 200}, 5, 5, 100, 25, 25, 38.5, 39.7},
        {"two tokens a piece", {100, 110, 130, 160, 200}, 5, 9, 100, 12.5, 25, 38.5, 39.7},
        {"no count told: the pieces are counted", {100, 110, 130, 160, 200}, 5, -1, 100, 25, 25, 38.5, 39.7},
        {"two pieces", {100, 110}, 2, 2, 100, 10, 10, 10, 10},
        {"one piece", {100}, 1, 1, 100, NAN, NAN, NAN, NAN},
        {"one piece of many tokens", {100}, 1, 20, 100, NAN, NAN, NAN, NAN},
    };
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct generated g;
        struct run_request q;
        generated_init(&g);
        run_request_init(&q);
        g.t_sent_ns = T0;
        g.done = true;
        g.tokens.generated = cases[i].generated;
        put_pieces(&g, cases[i].pieces, cases[i].n);
        g.t_end_ns = g.t_last_ns;
        engine_to_request(&g, &q);
        const double got[] = {q.ttft_s, q.tpot_s, q.itl_p50_s, q.itl_p95_s, q.itl_p99_s};
        const double want[] = {cases[i].ttft, cases[i].tpot, cases[i].p50, cases[i].p95, cases[i].p99};
        for (size_t k = 0; k < JL_COUNT(got); k++) {
            if (isnan(want[k]) ? !isnan(got[k]) : !near(got[k], want[k] / 1e3))
                fail_msg("%s, figure %zu: %g ms, not %g", cases[i].why, k, got[k] * 1e3, want[k]);
        }
        run_request_release(&q);
        generated_release(&g);
    }
}

static void what_was_told_is_kept(void **state)
{
    (void)state;
    struct generated g;
    struct run_request q;
    make(&rows[0], &g);
    g.tokens = (struct run_tokens){.prompt = 9, .cached = 2, .generated = 21, .reasoning = 4};
    strcpy(g.finish, "length");
    run_request_init(&q);
    engine_to_request(&g, &q);
    assert_memory_equal(&q.tokens, &g.tokens, sizeof(q.tokens));
    assert_string_equal(q.finish, "length");
    assert_true(near(q.server_prompt_s, 0.1) && near(q.server_decode_s, 0.2) && isnan(q.server_queue_s) &&
                isnan(q.server_load_s));
    run_request_release(&q);
    generated_release(&g);
}

/* Thinking told apart by the engine, written into the text by the model, never followed by an answer, or not there at all. */
static void thinking_turns_into_the_answer(void **state)
{
    (void)state;
    static const struct {
        const char *first, *second; /* pieces at 100 and 200 ms */
        bool thinking, second_too;
        size_t parts;
        double turn; /* ms */
    } cases[] = {{"hm", "yes", true, false, 2, 200},
                 {"hm", "hm", true, true, 1, 300},
                 {"<think>hm", "</think>yes", false, false, 2, 200},
                 {"yes", "yes", false, false, 0, 0}};
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        struct generated g;
        struct run_request q;
        json_t *a = json_string(cases[i].first), *b = json_string(cases[i].second);
        generated_init(&g);
        run_request_init(&q);
        g.t_sent_ns = T0;
        wire_text(&g, a, cases[i].thinking, MS(100));
        wire_text(&g, b, cases[i].second_too, MS(200));
        g.t_last_ns = g.t_end_ns = MS(300);
        g.done = true;
        engine_to_request(&g, &q);
        assert_int_equal(q.n_parts, cases[i].parts);
        if (q.n_parts) {
            assert_string_equal(q.parts[0].name, "thinking");
            assert_int_equal(q.parts[0].start_ns, MS(100));
            assert_int_equal(q.parts[0].end_ns, MS(cases[i].turn));
            assert_int_equal(q.parts[q.n_parts - 1].end_ns, MS(300));
        }
        json_decref(a);
        json_decref(b);
        run_request_release(&q);
        generated_release(&g);
    }
}

/* What Ollama tells as loading of a model that was there is no window, but stays in the record. */
static void taking_a_loaded_model_is_no_loading(void **state)
{
    (void)state;
    for (int there = 0; there <= 1; there++) {
        struct row r = {.why = "load",
                        .first = 102,
                        .last = 302,
                        .end = 302.1,
                        .generated = 21,
                        .prompt = 96,
                        .decode = 200,
                        .queue = NAN,
                        .load = 4,
                        .done = true};
        struct generated g;
        struct run_request q;
        make(&r, &g);
        g.was_loaded = there;
        run_request_init(&q);
        engine_to_request(&g, &q);
        assert_int_equal(q.n_windows, there ? 2 : 3);
        assert_string_equal(q.windows[0].name, there ? "prefill" : "load");
        assert_true(near(q.server_load_s, 0.004));
        run_request_release(&q);
        generated_release(&g);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(taking_a_loaded_model_is_no_loading),
        cmocka_unit_test(windows_tile_the_request),
        cmocka_unit_test(nothing_sent_no_window),
        cmocka_unit_test(latencies),
        cmocka_unit_test(what_was_told_is_kept),
        cmocka_unit_test(thinking_turns_into_the_answer),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
