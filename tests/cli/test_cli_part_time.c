/* test_cli_part_time.c - bench and run on a sensor that looks 25 of every 100 ms (docs/method.md 2.5), against an engine whose
 * true energy is known: repeats start at chosen places of the sensor's grid, and what is printed of a cell or of the run comes
 * from all of them together, where one request alone tells little or nothing. */
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define IDLE_W 60.0

struct loop {
    struct sim_engine *engine;
    char url[64], sim[512];
};

static void loop_open(struct loop *l, const char *curve, int seed)
{
    struct sim_config c;
    struct joulet_error err;
    sim_config_init(&c);
    c.idle_w = IDLE_W;
    c.prefill_w = 300;
    c.decode_w = 200;
    c.prefill_ms = 5;
    c.decode_ms = 8;
    c.curve = scratch(curve);
    l->engine = sim_engine_start(&c, &err);
    assert_non_null(l->engine);
    snprintf(l->url, sizeof l->url, "http://127.0.0.1:%d", sim_engine_port(l->engine));
    snprintf(l->sim, sizeof l->sim, "follow:%s;device=nvml-a100;seed=%d", scratch(curve), seed);
}

/* Net energy that the engine's books have for the requests of a cell (-1: all), and how late we saw their ends, which moves the
 * idle level only. */
static double truth_of(struct loop *l, const struct run *r, int64_t cell)
{
    double sum = 0;
    for (size_t k = 0; k < r->n_requests; k++) {
        struct sim_truth t;
        const struct run_request *q = &r->requests[k];
        assert_true(sim_engine_truth(l->engine, k, &t));
        if (!q->warmup && q->outcome == RUN_OK && (cell < 0 || q->cell == cell))
            sum += t.prefill_j + t.decode_j - IDLE_W * jl_s(t.t_end_ns - t.t_prefill_ns);
    }
    return sum;
}

static void near_truth(const char *what, const struct joulet_energy *e, double truth)
{
    if (!(fabs(e->net_j - truth) <= 2 * e->net_pm_j) || !(e->net_pm_j < 0.4 * truth))
        fail_msg("%s: %.3f ± %.3f J printed, %.3f J true, %s", what, e->net_j, e->net_pm_j, truth, e->method);
}

static void a_plan_of_repeats(void **state)
{
    struct loop l;
    struct program p = {0};
    struct run r;
    (void)state;
    loop_open(&l, "plan-curve", 3);
    scratch_write("one.txt", "one two three four five six seven\n");
    scratch_write("two.plan", "version = 1\nrepeat = 8\nbaseline = 2500ms\nbaseline-every = 0\ncooldown = 1s\n"
                              "[matrix]\nmax-tokens = 6, 12\n");
    program_run(&p, ARGS("bench", "--engine", l.url, "--sim", l.sim, "--plan", scratch("two.plan"), "--prompts",
                         scratch("one.txt"), "--json", "-o", scratch("plan.json")));
    if (p.code != 0)
        fail_msg("%s", kept(&p.err));
    program_release(&p);
    record_read("plan.json", &r);
    assert_int_equal(r.n_cells, 2);
    double sum = 0;
    for (int64_t c = 0; c < 2; c++) {
        struct run_cell_sums s;
        assert_true(run_cell_is_joint(&r.cells[c]));
        run_sum_cell(&r, c, &s);
        near_truth(r.cells[c].name, &s.energy, truth_of(&l, &r, c));
        sum += s.energy.net_j;
    }
    near_truth("all", &r.energy.total, truth_of(&l, &r, -1));
    assert_true(fabs(sum - r.energy.total.net_j) <= 1e-9 * sum);
    assert_true(run_is_joint(&r));
    run_release(&r);
    program_run(&p, ARGS("runs", "show", "last"));
    must_say(kept(&p.out), "±");
    program_release(&p);
    sim_engine_stop(l.engine);
}

/* One request is known by itself from two periods on; a shorter one has bounds, and the sentence says what would help. */
static void one_request(void **state)
{
    struct loop l;
    struct program p = {0};
    struct run r;
    struct sim_truth t;
    (void)state;
    loop_open(&l, "run-curve", 5);
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "-n", "60", "--json", "-o", scratch("long.json"), "one two"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    record_read("long.json", &r);
    assert_true(sim_engine_truth(l.engine, 0, &t));
    double truth = t.prefill_j + t.decode_j - IDLE_W * jl_s(t.t_end_ns - t.t_prefill_ns);
    near_truth("one request", &r.energy.total, truth);
    run_release(&r);
    program_run(&p, ARGS("run", "--engine", l.url, "--sim", l.sim, "-n", "4", "--json", "-o", scratch("short.json"), "one two"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    record_read("short.json", &r);
    assert_true(sim_engine_truth(l.engine, 1, &t));
    assert_true(isnan(r.energy.total.net_j) && isnan(r.energy.total.gross_j));
    const struct joulet_energy *e = &r.energy.channels[0].e;            /* a sum without a figure has no bounds */
    double asked_j = t.prefill_j + t.decode_j, slack_j = 0.5 * asked_j; /* a busy machine shows the program both ends late */
    assert_true(e->min_j <= asked_j + slack_j && e->max_j >= asked_j - slack_j);
    bool said = false;
    for (size_t i = 0; i < r.n_notes; i++)
        said |= strstr(r.notes[i], "measure 8 repeats or more together") != NULL;
    assert_true(said);
    run_release(&r);
    sim_engine_stop(l.engine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_plan_of_repeats),
        cmocka_unit_test(one_request),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
