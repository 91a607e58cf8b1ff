/* test_cli_fit.c - `joulet fit` in a closed loop: an engine whose energy per token is known, a sensor that follows it, and the
 * coefficients that come out; answers that end early, prompts from a cache, and what is refused. */
#include "run/run.h"
#include "tests/cli/program.h"
#include "tests/sim_engine/sim_engine.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_W    10
#define PREFILL_W 60
#define DECODE_W  40

struct loop {
    struct sim_engine *engine;
    char url[64], sim[512];
};

static void loop_open(struct loop *l, const char *curve, int64_t eos, const char *fault, bool openai)
{
    struct sim_config c;
    struct joulet_error err;
    sim_config_init(&c);
    c.idle_w = IDLE_W;
    c.prefill_w = PREFILL_W;
    c.decode_w = DECODE_W;
    c.prefill_ms = 0.2;
    c.decode_ms = 3;
    c.eos = eos;
    c.openai = openai;
    c.curve = scratch(curve);
    if (fault)
        assert_true(sim_config_fault(&c, fault));
    l->engine = sim_engine_start(&c, &err);
    assert_non_null(l->engine);
    snprintf(l->url, sizeof l->url, "http://127.0.0.1:%d", sim_engine_port(l->engine));
    snprintf(l->sim, sizeof l->sim, "follow:%s;period=1ms", scratch(curve));
}

/* The value of a coefficient in the JSON: "e_in":{"value":X,"pm":Y. */
static double coefficient(const char *json, const char *name, double *pm)
{
    char key[40];
    double value;
    snprintf(key, sizeof key, "\"%s\":{\"value\":", name);
    const char *at = strstr(json, key);
    if (!at)
        fail_msg("no %s in %.400s", key, json);
    value = strtod(at + strlen(key), NULL);
    at = strstr(at, "\"pm\":");
    *pm = strtod(at + 5, NULL);
    return value;
}

static void must_be_near(const char *json, const char *name, double truth, double least)
{
    double pm, value = coefficient(json, name, &pm);
    if (!(fabs(value - truth) <= 2 * pm + least))
        fail_msg("%s is %g with a half-width of %g, the truth is %g", name, value, pm, truth);
}

/* A stalled machine stretches requests, at the power of idle: it costs net energy nothing. */
static void the_coefficients_of_the_engine(void **state)
{
    struct loop l;
    struct program p = {0};
    (void)state;
    loop_open(&l, "fit.curve", 0, NULL, false);
    program_run(&p,
                ARGS("fit", "--engine", l.url, "--sim", l.sim, "--tokens-in", "30,200,800", "--tokens-out", "2,40", "--repeat",
                     "2", "--baseline", "2s", "--json", "-o", scratch("fit.json"), "--residuals", scratch("residuals.csv")));
    if (p.code != 0)
        fail_msg("code %d: %s", p.code, kept(&p.err));
    program_release(&p);
    char *json = scratch_read("fit.json"), *csv = scratch_read("residuals.csv"), *body = sim_engine_last_body(l.engine);
    must_be_near(json, "e_in", (PREFILL_W - IDLE_W) * 0.2e-3, 0.05 * 0.01);
    must_be_near(json, "e_out", (DECODE_W - IDLE_W) * 3e-3, 0.05 * 0.09);
    must_say(json, "\"requests\":12");
    must_say(json, "\"tokens_in_max\":800");
    must_say(json, "\"provenance\":\"simulated\"");
    assert_int_equal(lines_of(csv), 13);
    must_say(body, "ignore_eos");
    free(json);
    free(csv);
    free(body);
    /* The same from the store, and as text. */
    program_run(&p, ARGS("fit", "--from", "last"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "net energy of 12 requests");
    must_say(kept(&p.out), "e_out");
    program_release(&p);
    program_run(&p, ARGS("fit", "--from", "last", "--save", "mine"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    program_run(&p, ARGS("fit", "--from", "last", "--save", "mine"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "--force");
    program_release(&p);
    program_run(&p, ARGS("estimate", "sim-model", "--in", "200", "--out", "40", "--json"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    must_say(kept(&p.out), "mine");
    program_release(&p);
    program_run(&p, ARGS("runs", "show", "last"));
    must_say(kept(&p.out), "fit ");
    must_say(kept(&p.out), "200 in, 40 out");
    program_release(&p);
    sim_engine_stop(l.engine);
}

/* An engine that ends its answers as it likes: those that are too short do not enter. */
static void early_ends_are_left_out(void **state)
{
    struct loop l;
    struct program p = {0};
    (void)state;
    loop_open(&l, "early.curve", 10, NULL, true);
    program_run(&p, ARGS("fit", "--engine", l.url, "--model", "sim-model", "--sim", l.sim, "--tokens-in", "30,100,300",
                         "--tokens-out", "2,5,20", "--repeat", "1", "--baseline", "500ms"));
    if (p.code != 0)
        fail_msg("code %d: %s", p.code, kept(&p.err));
    must_say(kept(&p.err), "3 of 9 answers ended before their length");
    must_say(kept(&p.out), "net energy of 6 requests");
    must_say(kept(&p.out), "3 failed");
    must_say(kept(&p.out), "answers of 2 to 5");
    program_release(&p);
    sim_engine_stop(l.engine);
}

static void cached_prompts_are_left_out(void **state)
{
    struct loop l;
    struct program p = {0};
    (void)state;
    loop_open(&l, "cached.curve", 0, "cached:20", false);
    program_run(&p, ARGS("fit", "--engine", l.url, "--sim", l.sim, "--tokens-in", "30,100,300", "--tokens-out", "2,5", "--repeat",
                         "1", "--baseline", "500ms"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "there are 0");
    program_release(&p);
    sim_engine_stop(l.engine);
}

static void what_is_refused(void **state)
{
    static const struct {
        const char *args[6], *says;
        int code;
    } rows[] = {
        {{"fit", "last"}, "--from", 2},
        {{"fit", "--tokens-in", "64,x"}, "no whole number", 2},
        {{"fit", "--tokens-in", "64,512"}, "at least 3 lengths", 2},
        {{"fit", "--tokens-out", "64"}, "at least 3 lengths of prompt and 2 of the answer", 2},
        {{"fit", "--from", "nothing-like-this"}, "nothing-like-this", 2},
        {{"fit", "--from", "last", "last"}, "named twice", 2},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        program_run(&p, rows[i].args);
        if (p.code != rows[i].code || !strstr(kept(&p.err), rows[i].says))
            fail_msg("row %zu: code %d, \"%s\"", i, p.code, kept(&p.err));
        program_release(&p);
    }
}

/* The context of the engine is known only when it answers; then nothing is sent. */
static void a_small_context(void **state)
{
    struct sim_config c;
    struct joulet_error err;
    struct program p = {0};
    char url[64];
    (void)state;
    sim_config_init(&c);
    c.context = 256;
    struct sim_engine *e = sim_engine_start(&c, &err);
    assert_non_null(e);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sim_engine_port(e));
    program_run(&p, ARGS("fit", "--engine", url, "--sim", "20"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "longer --context");
    assert_null(sim_engine_last_body(e));
    program_release(&p);
    sim_engine_stop(e);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_coefficients_of_the_engine),
        cmocka_unit_test(early_ends_are_left_out),
        cmocka_unit_test(cached_prompts_are_left_out),
        cmocka_unit_test(what_is_refused),
        cmocka_unit_test(a_small_context),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
