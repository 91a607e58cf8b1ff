/* test_keep.c - a profile of hours keeps as much as one of minutes: what is left for the regression is bounded, spread over all
 * of it, and of whole passes; times are those of all. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "profile/measure.h"

#include <math.h>
#include <stdlib.h>

#define PASSES    400
#define STEPS     100
#define STRETCHES 10       /* of a step */
#define STEP_NS   10000000 /* a step */
#define PASS_NS   (2 * JL_NS_PER_S)
#define SAMPLE_NS 1000000

static void give(struct measure *m, enum wire_kind kind, int64_t from, int64_t to, uint32_t tokens)
{
    measure_record(m, &(struct ring_record){.kind = kind,
                                            .layer = kind >= WIRE_EMBEDDING ? 0 : -1,
                                            .t0_ns = from,
                                            .t1_ns = to,
                                            .tokens = tokens,
                                            .flags = kind == WIRE_GRAPH ? WIRE_WATCHED : 0});
}

static void give_step(struct measure *m, int64_t from, uint32_t tokens)
{
    int64_t each = (STEP_NS - 1000000) / STRETCHES;
    for (int i = 0; i < STRETCHES; i++)
        give(m, i % 2 ? WIRE_FFN : WIRE_ATTENTION, from + i * each, from + (i + 1) * each, tokens);
    give(m, WIRE_GRAPH, from, from + STRETCHES * each, tokens);
    give(m, WIRE_SEQUENCE, from, from + STRETCHES * each, tokens);
    give(m, WIRE_STEP, from, from + STRETCHES * each, tokens);
}

static void give_samples(struct measure *m, int64_t from, int64_t to)
{
    size_t n = (size_t)((to - from) / SAMPLE_NS);
    struct joulet_trace t = {.channel = {.id = "c", .quantity = JOULET_ENERGY, .in_total = true, .period_s = 1e-3, .lag_s = 2e-3},
                             .n = n,
                             .samples = calloc(n, sizeof(struct joulet_sample))};
    assert_non_null(t.samples);
    for (size_t i = 0; i < n; i++)
        t.samples[i] = (struct joulet_sample){.t_ns = from + (int64_t)i * SAMPLE_NS, .value = (int64_t)i};
    measure_samples(m, 0, &t, 10, 0.1);
    free(t.samples);
}

static void compute(struct measure *m, int64_t from, int steps)
{
    give_step(m, from, 8);
    for (int s = 1; s <= steps; s++)
        give_step(m, from + s * (int64_t)STEP_NS, 1);
    measure_end(m);
    give_samples(m, from, from + (steps + 2) * (int64_t)STEP_NS);
}

static void pass(struct measure *m, enum measure_pass what, int64_t from, int steps)
{
    measure_begin(m, what, from);
    compute(m, from, steps);
}

static void hours_keep_as_much_as_minutes(void **state)
{
    struct measure *m;
    struct joulet_error err;
    int thirds[3] = {0};
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    measure_from(m, MEASURE_AGAIN);
    for (int i = 0; i < PASSES; i++) /* both kinds in turns: none of them may vanish */
        pass(m, i % 2 ? MEASURE_AGAIN : MEASURE_WATCHED, JL_NS_PER_S + i * (int64_t)PASS_NS, STEPS);
    const struct measure_of_phase *d = &m->phases[MEASURE_DECODE];
    const struct joulet_trace *t = &m->channels[MEASURE_DECODE][0].trace;
    assert_true(m->keep_every[MEASURE_AGAIN] > 1);
    assert_true(d->n_stretches > MEASURE_STRETCHES / 8 && d->n_stretches <= MEASURE_STRETCHES);
    assert_true(t->n > 1000 && t->n <= MEASURE_SAMPLES);
    assert_true(m->phases[MEASURE_PREFILL].n_stretches > 0);
    for (size_t i = 0; i < d->n_stretches; i++)
        thirds[(int)(3 * (d->stretches[i].start_s - 1) / (2.0 * PASSES))]++;
    for (int i = 0; i < 3; i++)
        assert_true(thirds[i] > (int)d->n_stretches / 6);
    /* samples and stretches are of the same passes */
    for (size_t i = 0, at = 0; i < t->n; i++) {
        int64_t of = (t->samples[i].t_ns - JL_NS_PER_S) / PASS_NS;
        while (at < d->n_stretches && (jl_ns(d->stretches[at].start_s) - JL_NS_PER_S) / PASS_NS < of)
            at++;
        assert_true(at < d->n_stretches && (jl_ns(d->stretches[at].start_s) - JL_NS_PER_S) / PASS_NS == of);
    }
    assert_true(d->units == PASSES * (STEPS - 1)); /* the last token of each has no end */
    measure_close(m);
}

/* A pass that is longer than all room: its begin is kept, with the samples of that time alone. */
static void a_long_pass_is_cut(void **state)
{
    struct measure *m;
    struct joulet_error err;
    int steps = (int)(MEASURE_STRETCHES / STRETCHES) + 500;
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    pass(m, MEASURE_WATCHED, JL_NS_PER_S, steps);
    const struct measure_of_phase *d = &m->phases[MEASURE_DECODE];
    const struct joulet_trace *t = &m->channels[MEASURE_DECODE][0].trace;
    assert_true(d->full && d->n_stretches <= MEASURE_STRETCHES && d->n_stretches > MEASURE_STRETCHES - 2 * STRETCHES);
    assert_true(t->n > 0 && t->samples[t->n - 1].t_ns <= jl_ns(d->stretches[d->n_stretches - 1].end_s) + 2 * STEP_NS);
    pass(m, MEASURE_WATCHED, JL_NS_PER_S + (steps + 100) * (int64_t)STEP_NS, STEPS); /* and then room is made */
    assert_true(m->keep_every[MEASURE_WATCHED] == 2 && !d->full);
    measure_close(m);
}

/* Passes each of which takes more than half of the room, in turns with small ones: some of them are left at any time, the first
 * and one of the last. */
static void large_passes_do_not_vanish(void **state)
{
    struct measure *m;
    struct joulet_error err;
    const struct measure_of_phase *d;
    int steps = (int)(MEASURE_STRETCHES / STRETCHES * 3 / 5);
    int64_t at = JL_NS_PER_S, apart = (steps + 100) * (int64_t)STEP_NS;
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    measure_from(m, MEASURE_AGAIN);
    d = &m->phases[MEASURE_DECODE];
    for (int i = 0; i < 9; i++, at += 2 * apart) {
        pass(m, MEASURE_WATCHED, at, 5);
        measure_begin(m, MEASURE_AGAIN, at + apart); /* now room is made, and nothing has come */
        assert_true(i == 0 || d->n_stretches > MEASURE_STRETCHES / 2);
        compute(m, at + apart, steps);
    }
    assert_true(d->n_stretches > MEASURE_STRETCHES / 2 && d->n_stretches <= MEASURE_STRETCHES);
    assert_true(d->stretches[d->n_stretches - 1].start_s > 1 + 8 * 2e-9 * (double)apart);
    assert_true(d->stretches[0].start_s < 1 + 2e-9 * (double)apart);
    assert_true(m->channels[MEASURE_DECODE][0].trace.n > 1000);
    measure_close(m);
}

/* Repeats of a small kind run back to back, thousands in a token: they are kept as few stretches of the same seconds. */
#define NORM_NS 8000
#define GAP_NS  300
#define NORMS   3000

static void repeats_of_a_kind_take_little_room(void **state)
{
    struct measure *m;
    struct joulet_error err;
    int64_t now = JL_NS_PER_S;
    double norm_s = 0;
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    measure_from(m, MEASURE_AGAIN);
    measure_begin(m, MEASURE_AGAIN, now);
    give(m, WIRE_ATTENTION, now, now + 100000, 1);
    give(m, WIRE_FFN_NORM, now + 100000, now + 100000 + NORM_NS, 1);
    now += 200000;
    for (int i = 0; i < NORMS; i++, now += NORM_NS + GAP_NS)
        measure_record(m, &(struct ring_record){.kind = i % 2 ? WIRE_FFN_NORM : WIRE_ATTENTION_NORM,
                                                .t0_ns = now,
                                                .t1_ns = now + NORM_NS,
                                                .tokens = 1,
                                                .flags = WIRE_REPEATED | wire_segment(WIRE_ATTENTION_NORM)});
    give(m, WIRE_GRAPH, JL_NS_PER_S, now, 1);
    give(m, WIRE_SEQUENCE, JL_NS_PER_S, now, 1);
    give(m, WIRE_STEP, JL_NS_PER_S, now, 1);
    const struct measure_of_phase *d = &m->phases[MEASURE_DECODE];
    assert_int_equal(d->again_n[MEASURE_NORM], NORMS);
    assert_true(d->n_stretches > 50 && d->n_stretches < NORMS / 10); /* none is long for a sensor */
    for (size_t i = 0; i < d->n_stretches; i++) {
        double length_s = d->stretches[i].end_s - d->stretches[i].start_s;
        assert_true(length_s > 0 && length_s < 1e-3);
        assert_true(i == 0 || d->stretches[i].start_s >= d->stretches[i - 1].end_s - 1e-12);
        norm_s += d->stretches[i].kind == MEASURE_NORM ? length_s : 0;
    }
    assert_true(d->stretches[1].end_s - d->stretches[1].start_s < 1.01e-9 * NORM_NS); /* a first execution stays by itself */
    assert_true(norm_s > 0.999e-9 * NORM_NS * (NORMS + 1) && norm_s < 1.001e-9 * NORM_NS * (NORMS + 1));
    measure_close(m);
}

/* An answer of which only the first tokens count: what the host does for the others does not. The next prompt's text becomes
 * tokens all the same. */
static void host_work_is_of_the_tokens_that_count(void **state)
{
    enum { TOKENS = 9, FIRST = 3, ANSWERS = 2 };
    struct measure *m;
    struct joulet_error err;
    (void)state;
    assert_int_equal(measure_open(&m, &err), JOULET_OK);
    m->trigger.wish.first_tokens = FIRST;
    for (int a = 0; a < ANSWERS; a++) {
        int64_t at = JL_NS_PER_S + a * (int64_t)PASS_NS;
        uint32_t position = 0;
        measure_begin(m, MEASURE_PLAIN, at);
        give(m, WIRE_TOKENISE, at, at + 5000, 8);
        for (int i = 0; i < TOKENS; i++, at += STEP_NS) { /* the first token comes of the prompt */
            uint32_t tokens = i ? 1 : 8;
            measure_record(m, &(struct ring_record){
                                  .kind = WIRE_SEQUENCE, .layer = -1, .t0_ns = at, .t1_ns = at, .tokens = tokens, .b = position});
            position += tokens;
            give(m, WIRE_STEP, at, at + 9000000, tokens);
            give(m, WIRE_SAMPLE, at + 9000000, at + 9001000, 1);
            give(m, WIRE_DETOKENISE, at + 9001000, at + 9003000, 1);
        }
        measure_end(m);
    }
    assert_true(fabs(m->host_s[MEASURE_PLAIN][MEASURE_TOKENISE] - ANSWERS * 5e-6) < 1e-12);
    assert_true(fabs(m->host_s[MEASURE_PLAIN][MEASURE_SAMPLE] - ANSWERS * FIRST * 1e-6) < 1e-12);
    assert_true(fabs(m->host_s[MEASURE_PLAIN][MEASURE_DETOKENISE] - ANSWERS * FIRST * 2e-6) < 1e-12);
    measure_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(hours_keep_as_much_as_minutes), cmocka_unit_test(a_long_pass_is_cut),
                                       cmocka_unit_test(host_work_is_of_the_tokens_that_count),
                                       cmocka_unit_test(large_passes_do_not_vanish),
                                       cmocka_unit_test(repeats_of_a_kind_take_little_room)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
