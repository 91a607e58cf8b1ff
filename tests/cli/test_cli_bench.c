/* test_cli_bench.c - plans on the built program: cells, order, checks, loads, and what is interrupted and resumed. */
#include "lib/platform/platform.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct quick quick;

static void engine_start(double decode_ms)
{
    struct sim_config c;
    sim_config_init(&c);
    c.prefill_ms = 0.05;
    c.decode_ms = decode_ms;
    c.tokens = 4;
    quick_start(&quick, &c);
}

/* `joulet bench` on the simulated engine and sensor, without waiting; args behind. Ends with 0 unless `code` says otherwise. */
static void bench(struct program *p, int code, const char *const *args)
{
    const char *all[31] = {"bench", "--engine", quick.url, "--sim", "20", "--baseline", "0", "--cooldown", "0", "--warmup", "1"};
    for (size_t i = 0; i < 18 && args[i]; i++)
        all[11 + i] = args[i];
    program_run(p, all);
    if (p->code != code)
        fail_msg("code %d: %s", p->code, kept(&p->err));
}

/* ---- cells --------------------------------------------------------------------------------------------------------------- */

static void cells_take_turns(void **state)
{
    struct program p = {0};
    struct run r;
    int64_t last = -1;
    (void)state;
    engine_start(0.1);
    scratch_write("two.csv", "prompt,expected,check\nsay it,one token takes so,\nagain,,^nothing\n");
    scratch_write("turns.plan", "version = 1\nrepeat = 2\nmax-tokens = 4\n[matrix]\ntemperature = 0, 1\n");
    bench(&p, 0, ARGS("--plan", scratch("turns.plan"), "--prompts", scratch("two.csv")));
    must_say(kept(&p.out), "temperature 0");
    program_release(&p);
    record_last(&r);
    assert_int_equal(r.n_cells, 2);
    assert_string_equal(r.cells[1].name, "temperature 1");
    assert_string_equal(run_pairs_get(&r.cells[1].settings, "temperature"), "1");
    assert_string_equal(run_pairs_get(&r.settings, "order"), "abba");
    assert_int_equal(r.n_requests, 2 + 2 * 2 * 2);
    for (size_t i = 0; i < r.n_requests; i++) {
        const struct run_request *q = &r.requests[i];
        assert_int_equal(q->outcome, RUN_OK);
        assert_int_equal(q->check, q->number == 1 ? 1 : 0);
        if (q->warmup)
            continue;
        assert_int_equal(q->position, last + 1);
        last = q->position;
    }
    static const int64_t cells[] = {0, 1, 1, 0, 1, 0, 0, 1};
    for (size_t i = 0; i < JL_COUNT(cells); i++)
        assert_int_equal(r.requests[2 + i].cell, cells[i]);
    run_release(&r);
    quick_close(&quick);
}

static void one_configuration_needs_no_cells(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    engine_start(0.1);
    scratch_write("one.txt", "hello\n");
    bench(&p, 0, ARGS("--prompts", scratch("one.txt"), "-n", "2", "--private", "--repeat", "6"));
    program_release(&p);
    record_last(&r);
    assert_int_equal(r.n_cells, 0);
    assert_int_equal(r.requests[1].cell, -1);
    assert_int_equal(r.requests[1].position, 0);
    assert_null(run_pairs_get(&r.settings, "plan"));
    assert_int_equal(r.n_series, 1);
    assert_int_equal(r.series[0].repeats, 6);
    assert_true(r.series[0].dropped <= 3 && r.series[0].steady >= 0);
    int64_t warm = -1; /* the one that is always sent */
    for (size_t i = 0; i < r.n_requests; i++)
        warm += r.requests[i].warmup;
    assert_int_equal(warm, r.series[0].dropped);
    run_release(&r);
    quick_close(&quick);
}

/* A machine that is busy with others may leave the warm-up without a figure; then nothing is known to be in doubt. */
static bool warm_up_has_a_figure(const struct run *r)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].warmup && isfinite(r->requests[i].energy.total.gross_j))
            return true;
    return false;
}

/* The load is no load here, so that the whole net energy hangs on the idle level: it is taken anew, longer, as soon as the
 * warm-up shows it. A length that was asked for stays. */
static void a_doubtful_idle_level_is_extended(void **state)
{
    (void)state;
    engine_start(0.1);
    scratch_write("one.txt", "hello\n");
    for (int extend = 0, attempts = 0; extend < 2; extend++) {
        struct program p = {0};
        struct run r;
        size_t levels = 0;
        double longest = 0;
        program_run(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--prompts", scratch("one.txt"), "--baseline",
                             "300ms", "--cooldown", "0", extend ? "--baseline-most" : NULL, "600ms"));
        assert_int_equal(p.code, 0);
        program_release(&p);
        record_last(&r);
        if (!warm_up_has_a_figure(&r) && ++attempts < 10) {
            run_release(&r);
            extend--;
            continue;
        }
        for (size_t i = 0; i < r.n_windows; i++)
            if (!strcmp(r.windows[i].name, "idle")) {
                levels++;
                longest = fmax(longest, jl_s(r.windows[i].end_ns - r.windows[i].start_ns));
            }
        assert_int_equal(levels, 1 + extend);
        assert_true(extend ? longest >= 0.6 : longest >= 0.3);
        bool said = false;
        for (size_t i = 0; i < r.n_notes; i++)
            said |= strstr(r.notes[i], "the idle level leaves ") || strstr(r.notes[i], "hardly more than the idle level");
        assert_int_equal(said, extend); /* in one way or the other: how much was open is a matter of chance */
        run_release(&r);
    }
    quick_close(&quick);
}

/* The warm-up fails and shows nothing: the first request that draws something tells. */
static void doubt_waits_for_a_figure(void **state)
{
    struct sim_config c;
    struct program p = {0};
    struct run r;
    size_t levels = 0;
    (void)state;
    sim_config_init(&c);
    c.prefill_ms = 0.05;
    c.decode_ms = 5;
    c.tokens = 20;
    assert_true(sim_config_fault(&c, "internal@0"));
    quick_start(&quick, &c);
    scratch_write("one.txt", "hello\n");
    program_run(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--prompts", scratch("one.txt"), "--baseline", "300ms",
                         "--cooldown", "0", "--baseline-most", "600ms", "--repeat", "4"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    record_last(&r);
    assert_true(r.requests[0].warmup && r.requests[0].outcome == RUN_FAILED);
    for (size_t i = 0; i < r.n_windows; i++)
        levels += !strcmp(r.windows[i].name, "idle");
    assert_int_equal(levels, 2);
    run_release(&r);
    quick_close(&quick);
}

/* Elsewhere nothing is measured as a whole: a level has the estimates of its requests. */
static void a_level_elsewhere_is_the_sum_of_its_estimates(void **state)
{
    struct program p = {0};
    struct run r;
    double sum = 0;
    (void)state;
    engine_start(0.1);
    scratch_write("one.txt", "hello\n");
    bench(&p, 0, ARGS("--remote", "--prompts", scratch("one.txt"), "-n", "2", "--repeat", "4", "--streams", "2"));
    program_release(&p);
    record_last(&r);
    for (size_t i = 0; i < r.n_requests; i++)
        sum += r.requests[i].warmup ? 0 : r.requests[i].energy.total.gross_j;
    assert_true(sum > 0 && fabs(r.energy.total.gross_j / sum - 1) < 1e-9);
    assert_int_equal(r.energy.total.provenance, JOULET_ESTIMATED);
    run_release(&r);
    quick_close(&quick);
}

static void a_dry_run_starts_nothing(void **state)
{
    struct program p = {0};
    (void)state;
    scratch_write("one.txt", "hello\n");
    program_run(&p, ARGS("bench", "--engine", "http://127.0.0.1:9", "--prompts", scratch("one.txt"), "-m", "a", "-m", "b",
                         "--vary", "threads=1,2", "--dry-run"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "4 cells, 4 requests, order abba");
    must_say(kept(&p.out), "b, 2 threads");
    must_say(kept(&p.out), "order of sending: 1 2 3 4");
    program_release(&p);
}

static void bad_plans_start_nothing(void **state)
{
    static const struct {
        const char *plan, *option, *value, *says;
    } rows[] = {
        {"", NULL, NULL, "is empty"},
        {" \n# repeat = 2\n", NULL, NULL, "is empty"},
        {"thread = 2\n", NULL, NULL, "line 1: there is no key"},
        {"version = 2\n", NULL, NULL, "update joulet"},
        {"max-tokens = 4\n", "--vary", "threads", "KEY=VALUE"},
        {"max-tokens = 4\n", "--vary", "repeat=1,2", "cannot be varied"},
        {"[matrix]\nthreads = 2, 4\n", "--threads", "8", "varies threads in line 2"},
        {"max-tokens = 4\n", "--prompts", "none.txt", "none.txt"},
        {"max-tokens = 4\n", "--prompts", "empty.txt", "holds no prompt"},
        {"streams = 2\n", "--rate", "1", "exclude each other"},
        {"find-rate = yes\n", NULL, NULL, "needs a limit"},
        {"max-tokens = 4\n", "--resume", "last", "no run yet"},
    };
    (void)state;
    scratch_write("empty.txt", "\n");
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        const char *args[16] = {"bench",  "--engine",       "http://127.0.0.1:9", "--db", scratch("fresh.db"),
                                "--plan", scratch("x.plan")};
        scratch_write("x.plan", rows[i].plan);
        args[7] = rows[i].option;
        args[8] = rows[i].value && strchr(rows[i].value, '.') ? scratch(rows[i].value) : rows[i].value;
        program_run(&p, args);
        if (p.code != 2 || !strstr(kept(&p.err), rows[i].says))
            fail_msg("row %zu: code %d, \"%s\"", i, p.code, kept(&p.err));
        program_release(&p);
    }
}

/* A level before each request; what was measured between two of them is measured again, and stays whole. */
static void long_series_follow_the_idle_level(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    engine_start(0.1);
    scratch_write("two.txt", "a\nb\n");
    program_run(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--baseline", "300ms", "--baseline-every", "1ms",
                         "--cooldown", "0", "--warmup", "0", "--prompts", scratch("two.txt"), "-n", "4", "--repeat", "2"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_last(&r);
    size_t idles = 0;
    for (size_t i = 0; i < r.n_windows; i++)
        idles += !strcmp(r.windows[i].name, "idle");
    assert_int_equal(idles, 4); /* before each request */
    for (size_t i = 0; i < r.n_requests; i++) {
        const struct run_energy *e = &r.requests[i].energy;
        assert_int_equal(e->n_channels, r.requests[i].windows[0].energy.n_channels);
        assert_true(fabs(e->total.net_j) < e->total.net_pm_j);
        assert_true(e->total.gross_j > 0);
    }
    run_release(&r);
    quick_close(&quick);
}

/* ---- load ------------------------------------------------------------------------------------------------------------------ */

static void check_level(const struct run *r, int64_t cell)
{
    struct run_cell_sums s;
    run_sum_cell(r, cell, &s);
    assert_true(s.levels >= 1);
    assert_int_equal(s.ok, s.requests);
    assert_int_equal(s.outside, 0);
    assert_true(s.energy.gross_j > 0);
    assert_int_equal(s.tokens_out, 4 * (int64_t)s.ok);
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].cell == cell && !r->requests[i].warmup) {
            assert_true(r->requests[i].stream >= 0);
            assert_true(isnan(r->requests[i].energy.total.net_j)); /* no share is invented */
        }
}

static void streams_are_measured_together(void **state)
{
    struct program p = {0};
    struct run r;
    int64_t most = 0;
    (void)state;
    engine_start(5);
    scratch_write("four.txt", "a\nb\nc\nd\n");
    bench(&p, 0,
          ARGS("--prompts", scratch("four.txt"), "-n", "4", "--vary", "streams=1,4", "--order", "listed", "--repeat", "2"));
    program_release(&p);
    record_last(&r);
    assert_int_equal(r.n_cells, 2);
    check_level(&r, 0);
    check_level(&r, 1);
    for (size_t i = 0; i < r.n_requests; i++)
        if (r.requests[i].cell == 1 && r.requests[i].stream > most)
            most = r.requests[i].stream;
    assert_true(most >= 1 && most <= 3);
    assert_true(r.energy.total.gross_j > 0);
    for (size_t i = 0; i < r.n_windows; i++) { /* phases that overlap, and pauses between them: a part of the level */
        const struct run_cpu_time *t = &r.windows[i].cpu_time;
        if (!run_is_level(&r.windows[i]) || !(t->share > 0) || isnan(t->m_eff.gross_j))
            continue;
        assert_true(t->m_eff.gross_j > 0);
        assert_true(t->m_eff.gross_j <= t->e_llm.gross_j + t->e_llm.gross_pm_j + t->m_eff.gross_pm_j);
    }
    run_release(&r);
    quick_close(&quick);
}

static void a_rate_is_searched(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    engine_start(0.1);
    scratch_write("four.txt", "a\nb\nc\nd\n");
    /* A limit that nothing can keep: the search ends, and says so. */
    bench(&p, 0,
          ARGS("--prompts", scratch("four.txt"), "-n", "4", "--find-rate", "--max-ttft", "0", "--rate", "40", "--duration",
               "100ms"));
    program_release(&p);
    record_last(&r);
    assert_true(r.n_cells >= 2 && r.n_cells < 10); /* a lower rate than that of one request sends the same one */
    assert_string_equal(run_pairs_get(&r.cells[1].settings, "rate_per_s"), "20");
    assert_string_equal(run_pairs_get(&r.cells[0].settings, "limits_held"), "false");
    assert_null(run_pairs_get(&r.settings, "highest_rate_per_s"));
    check_level(&r, 0);
    run_release(&r);
    quick_close(&quick);
}

/* ---- resume ------------------------------------------------------------------------------------------------------ */

static size_t truths(void)
{
    struct sim_truth t;
    size_t n = 0;
    while (sim_engine_truth(quick.engine, n, &t))
        n++;
    return n;
}

static void wait_for_truths(size_t n)
{
    int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S;
    while (truths() < n && jl_mono_ns() < until)
        jl_sleep_until(jl_mono_ns() + JL_NS_PER_S / 500);
    assert_true(truths() >= n);
}

/* Every position succeeded exactly once. */
static void each_once(const struct run *r, size_t n)
{
    size_t *seen = calloc(n, sizeof *seen);
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        assert_int_equal(q->index, i);
        if (q->position >= 0 && q->outcome == RUN_OK) {
            assert_true((size_t)q->position < n);
            seen[q->position]++;
        }
    }
    for (size_t i = 0; i < n; i++)
        assert_int_equal(seen[i], 1);
    free(seen);
}

static const char resumable[] =
    "repeat = 4\nmax-tokens = 4\nwarmup = 1\nbaseline = 0\ncooldown = 0\n[matrix]\ntemperature = 0, 1\n";

/* Killed without warning after some requests, again and again: nothing that was stored is lost, nothing is sent twice. */
static void killed_runs_go_on(void **state)
{
    struct jl_rng rng = {20251121};
    struct run r;
    char id[40] = "";
    (void)state;
    engine_start(0.1);
    scratch_write("three.txt", "a\nb\nc\n");
    scratch_write("resumable.plan", resumable);
    size_t killed = 0, stored = 0;
    for (int round = 0; round < 40; round++) {
        struct program p = {0};
        const char *const first[] = {
            "bench",     "--engine",           quick.url, "--sim", "20", "--plan", scratch("resumable.plan"),
            "--prompts", scratch("three.txt"), NULL};
        const char *const again[] = {"bench", "--resume", "last", "--sim", "20", NULL};
        program_start(&p, round ? again : first);
        size_t more = 3 + (size_t)jl_rng_below(&rng, 6), before = truths();
        if (round < 5) {
            wait_for_truths(before + more);
            jl_sleep_until(jl_mono_ns() + (int64_t)jl_rng_below(&rng, 30000000));
            kill(p.pid, SIGKILL);
        }
        program_end(&p);
        killed += p.killed;
        if (!p.killed && p.code != 0)
            fail_msg("round %d: code %d, %s", round, p.code, kept(&p.err));
        bool whole = !p.killed;
        program_release(&p);
        record_last(&r);
        if (!*id)
            snprintf(id, sizeof id, "%s", r.id);
        assert_string_equal(r.id, id);
        assert_true(r.n_requests >= stored);
        stored = r.n_requests;
        assert_string_equal(r.status, whole ? "done" : "interrupted");
        if (whole)
            break;
        run_release(&r);
    }
    assert_true(killed >= 3);
    each_once(&r, 3 * 2 * 4);
    assert_int_equal(r.n_cells, 2);
    assert_true(r.energy.total.gross_j > 0);
    run_release(&r);
    quick_close(&quick);
}

/* The same under load: a level that was cut short goes on, and only requests inside a measured one count for its energy. */
static void killed_levels_go_on(void **state)
{
    struct program p = {0};
    struct run r;
    struct run_cell_sums s;
    (void)state;
    engine_start(2);
    scratch_write("three.txt", "a\nb\nc\n");
    scratch_write("load.plan",
                  "repeat = 4\nmax-tokens = 4\nbaseline = 0\ncooldown = 0\norder = listed\n[matrix]\nstreams = 2, 3\n");
    program_start(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--plan", scratch("load.plan"), "--prompts",
                           scratch("three.txt")));
    wait_for_truths(1 + 12 + 1 + 4); /* in the second level */
    kill(p.pid, SIGKILL);
    program_end(&p);
    program_release(&p);
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_last(&r);
    each_once(&r, 24);
    check_level(&r, 0);
    run_sum_cell(&r, 1, &s);
    assert_int_equal(s.ok, 12);
    assert_true(s.levels >= 1 && s.outside <= 12);
    assert_int_equal(s.tokens_out, 4 * (int64_t)(s.ok - s.outside));
    run_release(&r);
    quick_close(&quick);
}

static void interrupt_one(const char *prompts, const char *plan)
{
    struct program p = {0};
    size_t before = truths();
    program_start(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--plan", plan, "--prompts", prompts));
    wait_for_truths(before + 4);
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, 130);
    must_say(kept(&p.err), "--resume");
    program_release(&p);
}

static void another_plan_is_refused(void **state)
{
    struct program p = {0};
    struct run r;
    (void)state;
    engine_start(0.1);
    scratch_write("three.txt", "a\nb\nc\n");
    scratch_write("resumable.plan", resumable);
    interrupt_one(scratch("three.txt"), scratch("resumable.plan"));
    scratch_write("three.txt", "a\nb\nx\n");
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "the prompts have changed");
    program_release(&p);
    scratch_write("three.txt", "a\nb\nc\n");
    scratch_write("other.plan", "repeat = 9\n");
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20", "--plan", scratch("other.plan")));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "another one than that of run");
    program_release(&p);
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20", "--sensors", "sim,tdp"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "other sensors");
    program_release(&p);
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_last(&r);
    each_once(&r, 3 * 2 * 4);
    run_release(&r);
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "nothing to resume");
    program_release(&p);
    quick_close(&quick);
}

/* The engine goes in the middle; another one answers at its address later. */
static void a_dead_engine_is_waited_for(void **state)
{
    struct program p = {0};
    struct run r;
    struct sim_config c;
    (void)state;
    sim_config_init(&c);
    c.prefill_ms = c.decode_ms = 0.1;
    assert_true(sim_config_fault(&c, "die@7"));
    quick_start(&quick, &c);
    c.port = sim_engine_port(quick.engine);
    scratch_write("three.txt", "a\nb\nc\n");
    scratch_write("resumable.plan", resumable);
    program_run(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--plan", scratch("resumable.plan"), "--prompts",
                         scratch("three.txt")));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "goes on when the engine is back");
    program_release(&p);
    quick_close(&quick);
    c.n_faults = 0;
    quick_start(&quick, &c);
    program_run(&p, ARGS("bench", "--resume", "last", "--sim", "20"));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_last(&r);
    each_once(&r, 3 * 2 * 4);
    run_release(&r);
    quick_close(&quick);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_take_turns),
        cmocka_unit_test(one_configuration_needs_no_cells),
        cmocka_unit_test(a_doubtful_idle_level_is_extended),
        cmocka_unit_test(doubt_waits_for_a_figure),
        cmocka_unit_test(a_level_elsewhere_is_the_sum_of_its_estimates),
        cmocka_unit_test(a_dry_run_starts_nothing),
        cmocka_unit_test(bad_plans_start_nothing),
        cmocka_unit_test(long_series_follow_the_idle_level),
        cmocka_unit_test(streams_are_measured_together),
        cmocka_unit_test(a_rate_is_searched),
        cmocka_unit_test(killed_runs_go_on),
        cmocka_unit_test(killed_levels_go_on),
        cmocka_unit_test(another_plan_is_refused),
        cmocka_unit_test(a_dead_engine_is_waited_for),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
