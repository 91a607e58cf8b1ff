/* test_comparison.c - runs beside each other: which requests take part, what is refused, and what the verdict says. */
#include "report/comparison.h"
#include "tests/base/test.h"
#include "tests/report/beside.h"
#include "tests/stats/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static const double A[] = {10.21, 10.05, 10.32, 10.18, 10.11, 10.26, 10.09, 10.15};
static const double B[] = {9.88, 9.91, 10.12, 9.79, 9.95, 9.84, 9.97, 10.07};

static struct compare_options options(const char *metric)
{
    return (struct compare_options){.metric = compare_metric(metric), .margin = 0.03, .seed = 1};
}

static void compared(struct comparison *c, const struct compare_operand *of, size_t n, const struct compare_options *opt)
{
    struct joulet_error err;
    if (comparison_of(of, n, opt, c, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void refused(const struct compare_operand *of, size_t n, const struct compare_options *opt, const char *words)
{
    struct comparison c;
    struct joulet_error err;
    assert_int_equal(comparison_of(of, n, opt, &c, &err), JOULET_USAGE);
    if (!strstr(err.message, words))
        fail_msg("no \"%s\" in \"%s\"", words, err.message);
    assert_null(c.sides);
}

static void must_hold(const struct comparison *c, const char *words)
{
    static const struct report_style style = {.utf8 = true, .width = 200};
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    report_comparison(&out, c, &style);
    if (!strstr(out.data, words))
        fail_msg("no \"%s\" in\n%s", words, out.data);
    jl_buf_release(&out);
}

/* Two cells that took turns: ABBA. */
static void must_not_hold(const struct comparison *c, const char *words)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    report_comparison(&b, c, &(struct report_style){.utf8 = true, .width = 200});
    if (strstr(b.data, words))
        fail_msg("\"%s\" is in %s", words, b.data);
    jl_buf_release(&b);
}

static void plan(struct run *r, size_t prompts)
{
    beside_run(r, "20261121-100000-0001");
    run_add_cell(r, "4 threads");
    run_add_cell(r, "8 threads");
    beside_request(r, 0, -1, 0, 99)->warmup = true;
    for (size_t i = 0; i < 8; i++)
        for (size_t k = 0; k < 2; k++) {
            size_t cell = (i + k) % 2;
            for (size_t p = 0; p < prompts; p++)
                beside_request(r, (int64_t)p, (int64_t)i, (int64_t)cell, (1 + (double)p) * (cell ? B[i] : A[i]));
        }
}

static void cells_are_pairs(void **state)
{
    (void)state;
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j");
    plan(&r, 1);
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    const struct jl_comparison *x = &c.results[0].c;
    assert_true(c.paired && x->pairs == 8 && c.sides[0].used == 8 && c.sides[0].warmup == 1);
    assert_near(x->p, 2.0 / 256, 1e-12);
    assert_near(x->ratio, 0.977367, 1e-6);
    assert_near(x->lo95, 0.966728, 1e-6);
    assert_near(x->shift, -0.235, 1e-6);
    assert_near(x->delta, -0.875, 1e-6);
    assert_near(c.sides[0].mean, 10.17125, 1e-9);
    assert_int_equal(c.sides[0].place, 2);
    assert_int_equal(c.sides[1].place, 1);
    must_hold(&c, "B uses 2.3 % less (1.2 to 3.3 %)");
    must_hold(&c, "4 threads");
    must_hold(&c, "0.977 (0.967 to 0.988)");
    must_hold(&c, "sign flips of 8 pairs, exact");
    comparison_release(&c);
    run_pairs_set(&r.settings, "order", 's', "listed"); /* all of A, then all of B: nothing cancels */
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_false(c.paired);
    must_hold(&c, "did not take turns");
    comparison_release(&c);
    run_release(&r);
}

static void runs_are_not_pairs(void **state)
{
    (void)state;
    struct run a, b;
    struct comparison c;
    struct compare_options opt = options("j");
    beside_run(&a, "a");
    beside_run(&b, "b");
    for (size_t i = 0; i < 8; i++) {
        beside_request(&a, 0, (int64_t)i, -1, A[i]);
        beside_request(&b, 0, (int64_t)i, -1, B[i]);
    }
    compared(&c, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    assert_true(!c.paired && c.results[0].c.pairs == 0 && c.results[0].c.exact);
    assert_near(c.results[0].c.p, 0.00186480, 1e-7);
    must_hold(&c, "did not take turns");
    must_hold(&c, "model of a");
    comparison_release(&c);
    opt = options("time");
    compared(&c, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    assert_near(c.sides[0].mean, 0.5, 1e-9);
    must_hold(&c, "equal within 3 %");
    comparison_release(&c);
    run_release(&a);
    run_release(&b);
}

/* A third of a request is prefill, in 10 tokens; the rest decode, in 20. */
static void every_metric(void **state)
{
    (void)state;
    static const struct {
        const char *name;
        double factor, gross;
    } rows[] = {{"j", 1, 10},
                {"j-per-token", 1.0 / 20, .5},
                {"j-per-total-token", 1.0 / 30, 1.0 / 3},
                {"prefill", 1.0 / 3, 4},
                {"decode", 2.0 / 3, 6},
                {"prefill-per-token", 1.0 / 30, .4},
                {"decode-per-token", 1.0 / 30, .3}};
    struct run r;
    plan(&r, 1);
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        for (int gross = 0; gross < 2; gross++) {
            struct comparison c;
            struct compare_options opt = options(rows[i].name);
            opt.gross = gross;
            compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
            assert_near(c.sides[0].mean, 10.17125 * rows[i].factor + gross * rows[i].gross, 1e-9);
            assert_true(c.sides[0].mean_pm > 0);
            comparison_release(&c);
        }
    assert_null(compare_metric("watts"));
    run_release(&r);
}

static void only_what_can_stand_beside_each_other(void **state)
{
    (void)state;
    struct run a, b;
    struct comparison c;
    struct compare_options opt = options("j");
    beside_run(&a, "a");
    beside_run(&b, "b");
    for (int64_t i = 0; i < 6; i++) {
        beside_request(&a, 0, i, -1, A[i]);
        beside_request(&b, 0, i, -1, B[i]);
        beside_request(&a, 7, i, -1, 1000); /* b has no prompt 7 */
    }
    beside_request(&a, 0, 6, -1, 77)->warmup = true;
    beside_request(&a, 0, 7, -1, 77)->outcome = RUN_FAILED;
    beside_request(&b, 0, 6, -1, -0.5);
    beside_request(&b, 0, 7, -1, NAN);
    compared(&c, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    assert_true(c.sides[0].used == 6 && c.sides[1].used == 6);
    assert_true(c.sides[0].warmup == 1 && c.sides[0].failed == 1 && c.sides[1].unknown == 2);
    assert_true(c.prompts == 1 && c.n_left_out == 1 && c.left_out[0].side == 0 && c.left_out[0].requests == 6);
    assert_string_equal(c.left_out[0].prompt, "short 7");
    must_hold(&c, "left out of A: 1 failed; short 7, which not all have");
    must_hold(&c, "left out of B: 2 without a figure above 0");
    comparison_release(&c);
    run_release(&a);
    run_release(&b);
}

static void what_is_refused(void **state)
{
    (void)state;
    struct run a, b, other, none, estimate, sim, sensor;
    struct compare_options opt = options("j"), seconds = options("time");
    beside_run(&a, "a");
    beside_run(&b, "b");
    beside_run(&other, "other");
    beside_run(&none, "none");
    beside_run(&estimate, "estimate");
    estimate.channels[0].provenance = JOULET_ESTIMATED;
    beside_run(&sim, "sim");
    sim.channels[0].provenance = JOULET_SIMULATED;
    run_init(&sensor, "bench");
    beside_channel(&sensor, "gpu0.board", "nvml", JOULET_MEASURED);
    for (int64_t i = 0; i < 6; i++) {
        beside_request(&a, 0, i, -1, A[i]);
        beside_request(&b, 0, i, -1, B[i]);
        beside_request(&other, 1, i, -1, A[i]);
        beside_request(&estimate, 0, i, -1, A[i]);
        beside_request(&sim, 0, i, -1, A[i]);
        beside_request(&sensor, 0, i, -1, A[i]);
    }
    struct compare_operand of[2] = {{&a, -1}, {&other, -1}};
    refused(of, 2, &opt, "share no prompt");
    of[1].run = &none;
    refused(of, 2, &opt, "holds no requests");
    of[1].run = &sensor;
    refused(of, 2, &opt, "share no sensor");
    of[1].run = &estimate;
    refused(of, 2, &opt, "estimated");
    of[1].run = &sim;
    refused(of, 2, &opt, "simulated");
    struct comparison c;
    compared(&c, of, 2, &seconds); /* times are of one kind */
    comparison_release(&c);
    for (size_t i = 0; i < sim.n_requests; i++) {
        sim.requests[i].energy.total.net_j = NAN;
        sim.requests[i].stream = (int64_t)i % 2;
    }
    refused((struct compare_operand[]){{&sim, -1}, {&sim, -1}}, 2, &opt, "several at a time");
    b.requests[3].windows[1].energy.total.flags |= JOULET_FLAG_THROTTLED;
    of[1].run = &b;
    refused(of, 2, &opt, "slowed down");
    opt.allow_throttled = true;
    compared(&c, of, 2, &opt);
    comparison_release(&c);
    struct run *all[] = {&a, &b, &other, &none, &estimate, &sim, &sensor};
    for (size_t i = 0; i < JL_COUNT(all); i++)
        run_release(all[i]);
}

/* A level of these requests from `from` on, of `net_j` together: none of them has an energy of its own. */
static void level(struct run *r, size_t from, double net_j)
{
    struct run_window w;
    struct run_request *last = &r->requests[r->n_requests - 1];
    run_window_init(&w, "level", r->requests[from].windows[0].start_ns, last->windows[last->n_windows - 1].end_ns);
    w.cell = last->cell;
    for (size_t i = from; i < r->n_requests; i++) {
        struct run_request *q = &r->requests[i];
        q->stream = (int64_t)(i - from);
        if (i == from) {
            run_energy_chain(&w.energy, &q->energy);
            w.energy.total = q->energy.total;
        }
        run_energy_release(&q->energy);
        run_energy_init(&q->energy);
        for (size_t k = 0; k < q->n_windows; k++) {
            run_energy_release(&q->windows[k].energy);
            run_energy_init(&q->windows[k].energy);
        }
    }
    w.energy.total.net_j = w.energy.channels[0].e.net_j = net_j;
    run_add_window(&r->windows, &r->n_windows, &w);
}

/* The rounds of `order` ("ABBA..."), each of two prompts; neighbouring rounds of a cell are one level, as bench runs them. */
static void loaded_plan(struct run *r, const char *order)
{
    size_t seen[2] = {0, 0}, from = 0;
    double net_j = 0;
    beside_run(r, "20261122-100000-0003");
    run_add_cell(r, "streams 1");
    run_add_cell(r, "streams 4");
    for (const char *o = order; *o; o++) {
        size_t cell = (size_t)(*o - 'A'), i = seen[cell]++;
        if (o > order && o[-1] != *o) {
            level(r, from, net_j);
            from = r->n_requests;
            net_j = 0;
        }
        for (int64_t p = 0; p < 2; p++)
            beside_request(r, p, (int64_t)i, (int64_t)cell, 1);
        net_j += cell ? B[i] : A[i];
    }
    level(r, from, net_j);
}

/* Requests that ran at once have no energies of their own; rounds of the plan have, and two that ran as one level count once. */
static void levels_by_rounds(void **state)
{
    (void)state;
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j-per-token"), j = options("j"), decode = options("decode");
    const struct compare_operand of[] = {{&r, 0}, {&r, 1}};
    loaded_plan(&r, "ABBABAAB");
    compared(&c, of, 2, &opt);
    assert_true(c.paired);
    assert_int_equal(c.prompts, 2);
    assert_int_equal(c.results[0].c.pairs, 2); /* rounds 0 and 1; 2 and 3: B B and A A were one level each */
    assert_int_equal(c.sides[0].used, 8);
    assert_near(c.sides[0].mean, (A[0] + A[1] + A[2] + A[3]) / (8 * 20), 1e-9);
    assert_near(c.sides[1].mean, (B[0] + B[1] + B[2] + B[3]) / (8 * 20), 1e-9);
    assert_near(c.sides[0].tokens_out, 20, 1e-9);
    must_hold(&c, "2 prompts that all sides have");
    must_hold(&c, "energy of whole rounds");
    comparison_release(&c);
    compared(&c, of, 2, &j);
    assert_near(c.sides[0].mean, (A[0] + A[1] + A[2] + A[3]) / 8, 1e-9);
    comparison_release(&c);
    r.windows[0].energy.total.flags |= JOULET_FLAG_THROTTLED;
    refused(of, 2, &opt, "2 of 8 requests of A");
    run_release(&r);
    loaded_plan(&r, "ABABABABABABABAB");
    r.channels[0].provenance = JOULET_ESTIMATED;
    for (size_t i = 0; i < r.n_windows; i++)
        r.windows[i].energy.total.provenance = JOULET_ESTIMATED;
    compared(&c, of, 2, &opt);
    assert_int_equal(c.results[0].c.pairs, 8);
    assert_int_equal(c.results[0].c.verdict, JL_DIFFERENT);
    assert_true(c.results[0].c.ratio < 1);
    must_hold(&c, "the energies are estimated");
    comparison_release(&c);
    refused(of, 2, &decode, "several at a time"); /* what a phase of a level took is not told */
    r.requests[3].outcome = RUN_FAILED;           /* the energy of its level is of what is not there */
    compared(&c, of, 2, &opt);
    assert_int_equal(c.results[0].c.pairs, 7);
    assert_int_equal(c.sides[1].failed, 1);
    comparison_release(&c);
    r.requests[r.n_requests - 1].windows[1].end_ns += JL_NS_PER_S; /* interrupted: its level was not measured to the end */
    compared(&c, of, 2, &opt);
    assert_int_equal(c.results[0].c.pairs, 6);
    comparison_release(&c);
    for (size_t i = 0; i < r.n_windows; i++) /* as noise on a busy machine makes it */
        r.windows[i].energy.total.net_j = -1;
    refused(of, 2, &opt, "no energy per output token above 0 in any of its requests: try --gross");
    run_release(&r);
}

/* What both have is compared, and it is said. */
static void different_sensors_and_machines(void **state)
{
    (void)state;
    struct run a, b;
    struct comparison c, same;
    struct compare_options opt = options("j");
    beside_run(&a, "a");
    beside_run(&b, "b");
    beside_channel(&b, "gpu0.board", "nvml", JOULET_MEASURED);
    for (int64_t i = 0; i < 8; i++) {
        beside_request(&a, 0, i, -1, A[i]);
        beside_request(&b, 0, i, -1, 2 * B[i]); /* half of it is the GPU */
    }
    compared(&same, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    assert_near(same.sides[1].mean, 9.94125, 1e-9);
    must_hold(&same, "different sensors");
    must_hold(&same, "sensors cpu0.package");
    run_pairs_set(&b.machine, "host", 's', "fedcba9876543210");
    compared(&c, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    must_hold(&c, "another machine");
    assert_true(c.results[0].c.hi95 > same.results[0].c.hi95 * 1.01); /* the gain of both sensors */
    comparison_release(&c);
    comparison_release(&same);
    run_release(&a);
    run_release(&b);
}

/* What the idle level of two runs may be wrong by is in the interval; in one run it cancels. */
static void idle_levels(void **state)
{
    (void)state;
    struct run a, b, r;
    struct comparison c;
    struct compare_options opt = options("j");
    beside_run(&a, "a");
    beside_run(&b, "b");
    plan(&r, 1);
    for (int64_t i = 0; i < 8; i++) {
        beside_request(&a, 0, i, -1, A[i])->energy.total.u.idle = 0.4;
        beside_request(&b, 0, i, -1, B[i])->energy.total.u.idle = 0.4;
    }
    for (size_t i = 0; i < r.n_requests; i++)
        r.requests[i].energy.total.u.idle = 0.4;
    compared(&c, (struct compare_operand[]){{&a, -1}, {&b, -1}}, 2, &opt);
    assert_int_equal(c.results[0].c.verdict, JL_UNDECIDED);
    must_hold(&c, "no difference seen; a difference up to");
    comparison_release(&c);
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_int_equal(c.results[0].c.verdict, JL_DIFFERENT);
    assert_near(c.results[0].c.lo95, 0.966728, 3e-4);
    comparison_release(&c);
    run_release(&a);
    run_release(&b);
    run_release(&r);
}

/* 10, 10.01, 11 and 12 J with 1 % noise: the first two share a place. */
static void a_ranking(void **state)
{
    (void)state;
    static const double level[] = {12, 10, 11, 10.01};
    static const size_t place[] = {4, 1, 3, 1};
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j");
    struct compare_operand of[4];
    struct jl_rng g = {.s = 77};
    beside_run(&r, "many");
    for (size_t k = 0; k < 4; k++)
        run_add_cell(&r, (const char *[]){"w", "x", "y", "z"}[k]);
    for (int64_t i = 0; i < 10; i++)
        for (size_t k = 0; k < 4; k++)
            beside_request(&r, 0, i, (int64_t)k, level[k] * (1 + 0.01 * draw_normal(&g)));
    for (size_t k = 0; k < 4; k++)
        of[k] = (struct compare_operand){&r, (int64_t)k};
    compared(&c, of, 4, &opt);
    assert_int_equal(c.n_results, 6);
    for (size_t k = 0; k < 4; k++)
        assert_int_equal(c.sides[k].place, place[k]);
    for (size_t i = 0; i < 6; i++)
        assert_true(c.results[i].c.p_adjusted >= c.results[i].c.p);
    must_hold(&c, "share one");
    must_hold(&c, "B uses 17 % less than A (16 to");
    must_hold(&c, "D and B: equal within 3 %");
    comparison_release(&c);
    run_release(&r);
}

static void quality_beside_energy(void **state)
{
    (void)state;
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j");
    plan(&r, 1);
    for (size_t i = 1; i < r.n_requests; i++) {
        r.requests[i].check = r.requests[i].cell == 0 || r.requests[i].repeat < 2;
        r.requests[i].tokens.generated = r.requests[i].cell ? 40 : 20;
    }
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_true(c.sides[0].passed == 8 && c.sides[0].checked == 8 && c.sides[1].passed == 2);
    assert_near(c.sides[0].j_per_correct, 10.17125, 1e-9);
    assert_near(c.sides[1].j_per_correct, 4 * 9.94125, 1e-9);
    assert_near(c.sides[1].tokens_out, 40, 1e-9);
    must_hold(&c, "2 of 8");
    must_hold(&c, "the answers differ in length, 20 to 40 tokens");
    comparison_release(&c);
    for (size_t i = 1; i < r.n_requests; i++)
        r.requests[i].check = 0;
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_true(isnan(c.sides[0].j_per_correct)); /* none is correct: no figure */
    comparison_release(&c);
    run_release(&r);
}

static void gates(void **state)
{
    (void)state;
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j");
    plan(&r, 1);
    compared(&c, (struct compare_operand[]){{&r, 1}, {&r, 0}}, 2, &opt);
    assert_true(compare_beyond(&c.results[0], 0.01)); /* 1.2 to 3.4 % more */
    assert_false(compare_beyond(&c.results[0], 0.02));
    comparison_release(&c);
    run_release(&r);
}

/* Few repeats: said, not decided. A repeat that one side lost takes its partner along. */
static void few_and_broken_pairs(void **state)
{
    (void)state;
    struct run r;
    struct comparison c;
    struct compare_options opt = options("j");
    plan(&r, 3);
    for (size_t i = 0; i < r.n_requests; i++)
        if (r.requests[i].cell == 1 && r.requests[i].repeat == 5)
            r.requests[i].outcome = RUN_FAILED;
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_true(c.results[0].c.pairs == 21 && c.prompts == 3 && c.sides[0].used == 24);
    comparison_release(&c);
    for (size_t i = 0; i < r.n_requests; i++)
        if (r.requests[i].repeat > 0 || r.requests[i].number == 2)
            r.requests[i].outcome = RUN_FAILED;
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    assert_int_equal(c.results[0].c.verdict, JL_UNDECIDED);
    must_hold(&c, "2 pairs cannot show a difference");
    c.results[0].c.not_beyond = 0.045;
    must_hold(&c, "no difference seen; a difference up to 4.5 % is not excluded");
    c.results[0].c.not_beyond = 7.9e15; /* what two pairs of very different ratio give */
    must_hold(&c, "no difference seen; even one of several times is not excluded");
    c.results[0].c.ratio = 1.2;
    c.results[0].c.lo95 = 1.1e-17;
    c.results[0].c.hi95 = 13470497563809522;
    must_hold(&c, "not known");
    must_not_hold(&c, "13470497563809522");
    comparison_release(&c);
    for (size_t i = 0; i < r.n_requests; i++)
        if (r.requests[i].number == 1)
            r.requests[i].outcome = RUN_FAILED;
    compared(&c, (struct compare_operand[]){{&r, 0}, {&r, 1}}, 2, &opt);
    must_hold(&c, "1 pair cannot show a difference");
    must_hold(&c, "sign flips of 1 pair,");
    comparison_release(&c);
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(cells_are_pairs),       cmocka_unit_test(runs_are_not_pairs),
        cmocka_unit_test(every_metric),          cmocka_unit_test(only_what_can_stand_beside_each_other),
        cmocka_unit_test(what_is_refused),       cmocka_unit_test(different_sensors_and_machines),
        cmocka_unit_test(idle_levels),           cmocka_unit_test(a_ranking),
        cmocka_unit_test(quality_beside_energy), cmocka_unit_test(gates),
        cmocka_unit_test(few_and_broken_pairs),  cmocka_unit_test(levels_by_rounds),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
