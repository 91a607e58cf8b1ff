/* test_cli_energy.c - bench, run and exec against an engine whose true energy is known: the simulated engine writes the power of
 * its schedule, the `sim` sensor follows it as a real counter would, and the program must come to the engine's own books. */
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define IDLE_W 12.0
#define LATE_S 1e-3 /* sooner than this everything is seen on a machine that has time */

/* ---- the closed loop ---------------------------------------------------------------------------------------------------- */

struct loop {
    struct sim_engine *engine;
    char url[64], sim[512];
};

static void loop_open(struct loop *l, const char *curve, const char *fault, const char *sensor)
{
    struct sim_config c;
    struct joulet_error err;
    sim_config_init(&c);
    c.idle_w = IDLE_W;
    c.prefill_w = 90;
    c.decode_w = 50;
    c.prefill_ms = 4;
    c.decode_ms = 8;
    c.curve = scratch(curve);
    if (fault)
        assert_true(sim_config_fault(&c, fault));
    l->engine = sim_engine_start(&c, &err);
    assert_non_null(l->engine);
    snprintf(l->url, sizeof l->url, "http://127.0.0.1:%d", sim_engine_port(l->engine));
    snprintf(l->sim, sizeof l->sim, "follow:%s;%s", scratch(curve), sensor);
}

static void loop_close(struct loop *l)
{
    sim_engine_stop(l->engine);
}

static const struct run_window *window_of(const struct run_request *q, const char *name)
{
    for (size_t i = 0; i < q->n_windows; i++)
        if (!strcmp(q->windows[i].name, name))
            return &q->windows[i];
    fail_msg("request %lld has no window %s", (long long)q->index, name);
    return NULL;
}

/* A machine that gives the sampler no time leaves a request without a figure: then its flags tell why. */
static bool was_starved(const struct joulet_energy *e)
{
    return isnan(e->gross_j) && (e->flags & (JOULET_FLAG_STARVED | JOULET_FLAG_UNRESOLVED));
}

static void near_truth(const struct run_request *q, const char *what, const struct joulet_energy *e, double truth, double late_s)
{
    double margin = 2 * e->gross_pm_j + 90 * late_s + 0.03 * truth;
    if (!(fabs(e->gross_j - truth) <= margin))
        fail_msg("request %lld, %s: %.3f J printed, %.3f J true, margin %.3f J, flags %x, late %g s", (long long)q->index, what,
                 e->gross_j, truth, margin, e->flags, late_s);
}

/* A sampler that was kept from the processor may have seen nothing of a phase, which then is one with its neighbour. */
static bool joined(const struct run_window *w)
{
    return isnan(w->energy.total.gross_j) || (w->energy.total.flags & JOULET_FLAG_JOINED);
}

/* However late the machine was, what has a figure sums to the whole: queue, load, prefill, decode. */
static double sum_of_windows(const struct run_request *q)
{
    double sum = 0;
    for (size_t i = 0; i < q->n_windows; i++)
        if (!isnan(q->windows[i].energy.total.gross_j))
            sum += q->windows[i].energy.total.gross_j;
    return sum;
}

/* The books of the engine against ours. A stalled machine delays our view of the schedule, never the truth: so the margin beside
 * the printed interval grows with how late the client saw the end, and with how late the sensor could see the power change. */
static void compare(const struct run_request *q, const struct sim_truth *t)
{
    const struct run_window *prefill = window_of(q, "prefill"), *decode = window_of(q, "decode");
    const struct joulet_energy *e = &q->energy.total;
    double late_s = fabs(jl_s(decode->end_ns - t->t_end_ns)) + fabs(jl_s(prefill->start_ns - t->t_prefill_ns)) +
                    fabs(jl_s(prefill->end_ns - t->t_decode_ns)) + t->late_s;
    double truth = t->prefill_j + t->decode_j + IDLE_W * jl_s(t->t_prefill_ns - q->windows[0].start_ns);
    if (was_starved(e))
        return;
    near_truth(q, "whole", e, truth, late_s);
    assert_int_equal(q->tokens.prompt, t->prompt_tokens);
    assert_int_equal(q->tokens.generated, t->generated_tokens);
    assert_true(e->provenance == JOULET_SIMULATED);
    assert_true(fabs(sum_of_windows(q) - e->gross_j) <= 1e-9 * e->gross_j);
    if (joined(prefill) || joined(decode)) {
        if (late_s < LATE_S && !((prefill->energy.total.flags | decode->energy.total.flags) & JOULET_FLAG_STARVED))
            fail_msg("request %lld: its phases are one although nothing was late", (long long)q->index);
        return;
    }
    double idle_j = IDLE_W * jl_s(t->t_prefill_ns - prefill->start_ns);
    near_truth(q, "prefill", &prefill->energy.total, t->prefill_j + idle_j, late_s);
    near_truth(q, "decode", &decode->energy.total, t->decode_j, late_s);
}

static void bench_comes_to_the_engines_books(void **state)
{
    static const char *const sensors[] = {"period=1ms;quantum=61e-6", "period=20ms", "kind=power;period=20ms"};
    (void)state;
    scratch_write("prompts.txt", "one two three four five six seven eight nine ten\nalpha beta gamma delta\n");
    for (size_t i = 0; i < JL_COUNT(sensors); i++) {
        struct loop l;
        struct program p = {0};
        struct run r;
        loop_open(&l, "curve", NULL, sensors[i]);
        program_run(&p, ARGS("bench", "--engine", l.url, "--sim", l.sim, "--prompts", scratch("prompts.txt"), "--baseline",
                             "2500ms", "--cooldown", "1s", "--max-tokens", "60", "--json", "-o", scratch("bench.json")));
        if (p.code != 0)
            fail_msg("%s", kept(&p.err));
        record_read("bench.json", &r);
        assert_string_equal(r.status, "done");
        assert_int_equal(r.n_requests, 3); /* a warm-up and two */
        assert_true(r.requests[0].warmup);
        for (size_t k = 0; k < r.n_requests; k++) {
            struct sim_truth t;
            assert_true(sim_engine_truth(l.engine, k, &t));
            compare(&r.requests[k], &t);
        }
        assert_true(r.n_baselines > 0);
        assert_true(fabs(r.baselines[0].b.power_w - IDLE_W) < 0.05 * IDLE_W);
        struct run_sums sums;
        run_sum(&r, NULL, &sums);
        assert_int_equal(sums.ok, 2);
        assert_true(fabs(sums.energy.gross_j - r.energy.total.gross_j) <= 1e-9 * sums.energy.gross_j);
        assert_true(r.energy.total.gross_j > r.energy.total.net_j);
        run_release(&r);
        program_release(&p);
        loop_close(&l);
        remove(scratch("curve"));
    }
}

/* ---- run --------------------------------------------------------------------------------------------------------- */

static void run_streams_the_answer_then_its_energy(void **state)
{
    struct loop l;
    struct program p = {0};
    (void)state;
    loop_open(&l, "curve2", NULL, "period=1ms");
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "-n", "20", "hello there"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    must_say(kept(&p.out), "short baseline");
    must_say(kept(&p.out), "prefill");
    must_say(kept(&p.out), "gCO2e");
    must_say(kept(&p.out), "simulated");
    program_release(&p);
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "--json", "-o", scratch("run.json"), "-n", "5", "--private",
                         "secret words"));
    assert_int_equal(p.code, 0);
    char *text = scratch_read("run.json");
    assert_non_null(text);
    assert_null(strstr(text, "secret words")); /* only its hash */
    free(text);
    program_release(&p);
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "  "));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "the prompt is empty");
    program_release(&p);
    loop_close(&l);
}

/* ---- faults of the engine ---------------------------------------------------------------------------------------- */

static void faults_are_named_and_what_was_measured_is_kept(void **state)
{
    static const struct {
        const char *fault;
    } cases[] = {{"die"}, {"garbage"}, {"no-tokens"}, {"oom"}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct loop l;
        struct program p = {0};
        struct run r;
        char fault[64];
        snprintf(fault, sizeof fault, "%s@1", cases[i].fault);
        loop_open(&l, "curve3", fault, "period=1ms");
        scratch_write("two.txt", "first prompt\nsecond prompt\n");
        program_run(&p, ARGS("bench", "--engine", l.url, "--sim", l.sim, "--prompts", scratch("two.txt"), "--baseline", "2s",
                             "--cooldown", "0s", "--warmup", "0", "-n", "10", "--json", "-o", scratch("fault.json")));
        if (p.code != 0)
            fail_msg("%s: exit %d: %s", cases[i].fault, p.code, kept(&p.err)); /* the first prompt was measured */
        assert_true(lines_of(kept(&p.err)) >= 1);
        record_read("fault.json", &r);
        assert_int_equal(r.n_requests, 2);
        assert_int_equal(r.requests[0].outcome, RUN_OK);
        assert_int_equal(r.requests[1].outcome, RUN_FAILED);
        assert_non_null(r.requests[1].error);
        struct run_sums sums;
        run_sum(&r, NULL, &sums);
        assert_int_equal(sums.ok, 1);
        run_release(&r);
        program_release(&p);
        loop_close(&l);
        remove(scratch("curve3"));
    }
}

static void an_engine_that_does_no_work_is_refused(void **state)
{
    struct loop l;
    struct program p = {0};
    (void)state;
    loop_open(&l, "curve4", "no-tokens", "period=1ms");
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "hello"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "no work");
    program_release(&p);
    loop_close(&l);
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", "100", "hello"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "127.0.0.1");
    program_release(&p);
}

static void ctrl_c_keeps_what_was_measured(void **state)
{
    struct loop l;
    struct program p = {0};
    struct run r;
    (void)state;
    loop_open(&l, "curve5", NULL, "period=1ms");
    scratch_write("many.txt", "a b\nc d\ne f\ng h\n");
    program_start(&p, ARGS("bench", "--engine", l.url, "--sim", l.sim, "--prompts", scratch("many.txt"), "--baseline", "2s",
                           "--warmup", "0", "-n", "100", "--repeat", "1000", "--json", "-o", scratch("cut.json")));
    struct sim_truth t;
    while (!sim_engine_truth(l.engine, 1, &t)) /* two requests are done */
        usleep(20000);
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, 130);
    record_read("cut.json", &r);
    assert_string_equal(r.status, "interrupted");
    assert_true(r.n_requests >= 1);
    assert_int_equal(r.requests[0].outcome, RUN_OK);
    program_release(&p);
    program_run(&p, ARGS("runs", "show", r.id));
    assert_int_equal(p.code, 0);
    run_release(&r);
    program_release(&p);
    loop_close(&l);
}

/* A token costs some 0.4 J there: a limit far below is broken, one far above is kept. */
static void a_limit_of_the_energy_per_token(void **state)
{
    static const struct {
        const char *limit;
        int code;
    } rows[] = {{"0.05", 1}, {"50", 0}};
    struct loop l;
    (void)state;
    loop_open(&l, "curve6", NULL, "period=1ms");
    scratch_write("one.txt", "a b c\n");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        program_run(&p, ARGS("bench", "--engine", l.url, "--sim", l.sim, "--prompts", scratch("one.txt"), "--baseline", "2s",
                             "--cooldown", "0", "--warmup", "0", "-n", "20", "--max-j-per-token", rows[i].limit));
        if (p.code != rows[i].code)
            fail_msg("limit %s: code %d, %s", rows[i].limit, p.code, kept(&p.err));
        must_say(kept(&p.out), "per token");
        if (rows[i].code)
            must_say(kept(&p.err), "surely above the limit of 0.05");
        program_release(&p);
    }
    loop_close(&l);
}

static void a_limit_that_nothing_can_keep(void **state)
{
    static const char *const limits[] = {"0", "-1", "nan", "x"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(limits); i++) {
        struct program p = {0};
        program_run(&p, ARGS("bench", "--max-j-per-token", limits[i]));
        assert_int_equal(p.code, 2);
        must_say(kept(&p.err), "--max-j-per-token");
        program_release(&p);
    }
}

/* ---- exec -------------------------------------------------------------------------------------------------------- */

static void exec_leaves_the_command_alone(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    program_run(&p, ARGS("exec", "--sim", "100", "--", "sh", "-c", "echo out; echo err >&2; exit 7"));
    assert_int_equal(p.code, 7);
    assert_string_equal(kept(&p.out), "out\n");
    must_say(kept(&p.err), "err\n");
    must_say(kept(&p.err), "short baseline");
    program_release(&p);
    program_run(&p, ARGS("exec", "--sim", "40", "--json", "-o", scratch("exec.json"), "--", "sleep", "0.5"));
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.out), "");
    record_read("exec.json", &r);
    double d = jl_s(r.windows[0].end_ns - r.windows[0].start_ns), e = r.energy.total.gross_j;
    if (!(fabs(e - 40 * d) <= r.energy.total.gross_pm_j + 0.01 * 40 * d))
        fail_msg("%.3f J printed for %.3f s at 40 W", e, d);
    assert_int_equal(r.exit_code, 0);
    run_release(&r);
    program_release(&p);
}

static void exec_names_its_own_failures(void **state)
{
    static const struct {
        const char *args[5];
        int code;
    } cases[] = {
        {{"exec", "--sim", "10"}, 125},
        {{"exec", "--smi", "10", "--", "true"}, 125},
        {{"exec", "--sim", "10", "--", "no-such-program-here"}, 127},
        {{"exec", "--sim", "10", "--", "/etc/passwd"}, 126},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct program p = {0};
        const char *args[6] = {0};
        memcpy(args, cases[i].args, sizeof cases[i].args);
        program_run(&p, args);
        assert_int_equal(p.code, cases[i].code);
        assert_true(p.err.len > 0);
        program_release(&p);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bench_comes_to_the_engines_books),
        cmocka_unit_test(run_streams_the_answer_then_its_energy),
        cmocka_unit_test(faults_are_named_and_what_was_measured_is_kept),
        cmocka_unit_test(an_engine_that_does_no_work_is_refused),
        cmocka_unit_test(ctrl_c_keeps_what_was_measured),
        cmocka_unit_test(a_limit_of_the_energy_per_token),
        cmocka_unit_test(a_limit_that_nothing_can_keep),
        cmocka_unit_test(exec_leaves_the_command_alone),
        cmocka_unit_test(exec_names_its_own_failures),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
