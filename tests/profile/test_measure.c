/* test_measure.c - what the largest steps leave behind: those of deep models under lock-in, those that are more than there is
 * room for, and those of which nothing could be executed again. */
#include "tests/base/test.h"

#include "profile/measure.h"

#include <stdlib.h>

#define LAYERS    80
#define TIMES     64
#define NORM_NS   1000
#define PART_NS   100000
#define GAP_NS    500000 /* between steps */
#define SAMPLE_NS 1000000

/* The engine's clock, and the energy that it took until then. */
struct engine {
    struct measure *m;
    int64_t now;
    uint32_t segment; /* the group that is executed again */
    double power_w;   /* of what runs */
    double energy_uj;
    struct joulet_sample *samples;
    size_t n_samples;
};

static void give(struct engine *e, const struct ring_record *r)
{
    measure_record(e->m, r);
}

static void draw(struct engine *e, double power_w, int64_t ns)
{
    for (int64_t left = ns; left > 0;) {
        int64_t part = SAMPLE_NS - e->now % SAMPLE_NS < left ? SAMPLE_NS - e->now % SAMPLE_NS : left;
        e->now += part;
        left -= part;
        e->energy_uj += power_w * (double)part * 1e-3;
        if (e->samples && e->now % SAMPLE_NS == 0)
            e->samples[e->n_samples++] = (struct joulet_sample){.t_ns = e->now, .value = (int64_t)e->energy_uj};
    }
}

static void stretch(struct engine *e, enum wire_kind kind, int layer, int64_t ns, double power_w, bool again)
{
    int64_t from = e->now;
    draw(e, power_w, ns);
    give(e, &(struct ring_record){.kind = kind,
                                  .layer = layer,
                                  .t0_ns = from,
                                  .t1_ns = e->now,
                                  .tokens = 1,
                                  .flags = (again ? WIRE_REPEATED : 0) | wire_segment(e->segment)});
}

static void end_step(struct engine *e, int64_t from)
{
    give(e, &(struct ring_record){.kind = WIRE_GRAPH, .layer = -1, .t0_ns = from, .t1_ns = e->now, .flags = WIRE_WATCHED});
    give(e, &(struct ring_record){.kind = WIRE_SEQUENCE, .layer = -1, .t0_ns = from, .t1_ns = e->now, .tokens = 1});
    give(e, &(struct ring_record){.kind = WIRE_STEP, .layer = -1, .t0_ns = from, .t1_ns = e->now, .tokens = 1});
    draw(e, 5, GAP_NS);
}

static void norms(struct engine *e, bool again)
{
    for (int i = 0; i < LAYERS; i++) {
        stretch(e, WIRE_ATTENTION_NORM, i, NORM_NS, 20, again);
        stretch(e, WIRE_FFN_NORM, i, NORM_NS, 20, again);
    }
}

static void deep_step(struct engine *e, int times)
{
    int64_t from = e->now;
    for (int i = 0; i < LAYERS; i++) {
        stretch(e, WIRE_ATTENTION, i, PART_NS, 20, false);
        stretch(e, WIRE_FFN, i, PART_NS, 40, false);
    }
    norms(e, false);
    for (int i = 0; i < times; i++)
        norms(e, true);
    end_step(e, from);
}

static struct engine begin(enum measure_pass pass)
{
    struct engine e = {.now = JL_NS_PER_S};
    struct joulet_error err;
    assert_int_equal(measure_open(&e.m, &err), JOULET_OK);
    measure_from(e.m, MEASURE_AGAIN);
    measure_begin(e.m, pass, e.now);
    return e;
}

/* 80 layers whose norms are executed 64 times more: more than ten thousand stretches, none of which may be missing, for its time
 * would be that of the rest. */
static void no_stretch_of_a_deep_model_is_lost(void **state)
{
    struct engine e = begin(MEASURE_AGAIN);
    const struct measure_of_phase *d = &e.m->phases[MEASURE_DECODE];
    double kept_s[MEASURE_KINDS] = {0};
    (void)state;
    e.segment = WIRE_ATTENTION_NORM;
    deep_step(&e, TIMES);
    assert_int_equal(d->again_n[MEASURE_NORM], 2 * LAYERS * TIMES);
    for (size_t i = 0; i < d->n_stretches; i++)
        kept_s[d->stretches[i].kind] += d->stretches[i].end_s - d->stretches[i].start_s;
    assert_true(fabs(kept_s[MEASURE_NORM] / (1e-9 * NORM_NS * 2 * LAYERS * (TIMES + 1)) - 1) < 1e-3);
    assert_true(fabs(kept_s[MEASURE_FFN] / (1e-9 * PART_NS * LAYERS) - 1) < 1e-3);
    measure_close(e.m);
}

/* More than any room: neither that step nor what comes after it in this pass counts, and the next pass does. */
static void a_step_beyond_all_room_counts_nowhere(void **state)
{
    struct engine e = begin(MEASURE_WATCHED);
    const struct measure_of_phase *d = &e.m->phases[MEASURE_DECODE];
    (void)state;
    for (int i = 0; i < 3; i++)
        deep_step(&e, 0);
    int64_t too_large_ns = e.now;
    deep_step(&e, (int)(MEASURE_PENDING / LAYERS / 2) + 1);
    size_t kept = d->n_stretches;
    for (int i = 0; i < 3; i++)
        deep_step(&e, 0);
    assert_true(d->units == 3 && d->first_n[MEASURE_FFN] == 3 * LAYERS);
    assert_true(d->n_stretches == kept && d->again_n[MEASURE_NORM] == 0);
    assert_true(e.m->decode_to_ns < too_large_ns && e.m->overflows == 1);
    measure_begin(e.m, MEASURE_WATCHED, e.now);
    for (int i = 0; i < 3; i++)
        deep_step(&e, 0);
    assert_true(d->units == 5 && d->first_n[MEASURE_FFN] == 6 * LAYERS);
    measure_close(e.m);
}

static void slow_step(struct engine *e, int slower)
{
    int64_t from = e->now;
    for (int i = 0; i < LAYERS; i++) {
        stretch(e, WIRE_ATTENTION, i, slower * PART_NS, 20, false);
        stretch(e, WIRE_FFN, i, PART_NS, 40, false);
    }
    end_step(e, from);
}

/* Steps of passes that count nowhere, and the last one of an answer, whose end nobody saw, are as slow as they like: the seconds
 * of the layers are those of the tokens whose energy is told. */
static void layers_sum_to_their_kind(void **state)
{
    struct engine e = begin(MEASURE_WATCHED);
    const struct measure_of_phase *d = &e.m->phases[MEASURE_DECODE];
    double sum_s = 0, scale = 0;
    (void)state;
    measure_from(e.m, MEASURE_WATCHED);
    for (int pass = 0; pass < 4; pass++) {
        measure_begin(e.m, pass % 2 ? MEASURE_WATCHED : MEASURE_PAIRED, e.now);
        for (int i = 0; i < 5; i++)
            slow_step(&e, pass % 2 && i < 4 ? 1 : 9);
        measure_end(e.m);
    }
    assert_true(d->units == 8 && d->layer_units == 10);
    for (int layer = 0; layer <= e.m->layers; layer++)
        sum_s += d->layers[layer].s[WIRE_ATTENTION][0];
    assert_true(fabs(measure_layers_s(e.m, MEASURE_DECODE, MEASURE_ATTENTION, 0) - sum_s) < 1e-12);
    assert_true(fabs(measure_layers_s(e.m, MEASURE_DECODE, MEASURE_ATTENTION, LAYERS) * LAYERS - sum_s) < 1e-12); /* the last */
    assert_true(measure_layers_s(e.m, MEASURE_PREFILL, MEASURE_ATTENTION, 0) == 0);
    scale = measure_layers_scale(e.m, MEASURE_DECODE, MEASURE_ATTENTION);
    assert_true(fabs(sum_s * scale / (1e-9 * LAYERS * PART_NS) - 1) < 1e-9);
    measure_close(e.m);
}

static void end_prompt(struct engine *e, int64_t from, bool watched)
{
    give(e, &(struct ring_record){
                .kind = WIRE_GRAPH, .layer = -1, .t0_ns = from, .t1_ns = e->now, .flags = watched ? WIRE_WATCHED : 0});
    give(e, &(struct ring_record){.kind = WIRE_SEQUENCE, .layer = -1, .t0_ns = from, .t1_ns = e->now, .tokens = 5});
    give(e, &(struct ring_record){.kind = WIRE_STEP, .layer = -1, .t0_ns = from, .t1_ns = e->now, .tokens = 5});
    draw(e, 5, GAP_NS);
}

static void prompt_step(struct engine *e, bool watched)
{
    int64_t from = e->now;
    for (int i = 0; i < LAYERS && watched; i++)
        stretch(e, WIRE_FFN, i, PART_NS, 40, false);
    if (!watched)
        draw(e, 40, (int64_t)LAYERS * PART_NS);
    end_prompt(e, from, watched);
}

/* Where some graphs are watched, a prompt that was not is none of those whose seconds are known. And where no token has an end,
 * as with answers of two tokens, rows have the seconds that were seen. */
static void seconds_are_of_what_was_watched(void **state)
{
    struct engine e = begin(MEASURE_SAMPLED);
    const struct measure_of_phase *p = &e.m->phases[MEASURE_PREFILL], *d = &e.m->phases[MEASURE_DECODE];
    (void)state;
    measure_from(e.m, MEASURE_SAMPLED);
    for (int prompt = 0; prompt < 6; prompt++) {
        measure_begin(e.m, MEASURE_SAMPLED, e.now);
        prompt_step(&e, prompt == 2);
        slow_step(&e, 1);
        measure_end(e.m);
    }
    assert_true(p->units == 1 && p->layer_units == 1 && d->units == 0 && d->layer_units == 6);
    assert_true(fabs(measure_layers_scale(e.m, MEASURE_PREFILL, MEASURE_FFN) - 1) < 1e-9);
    assert_true(fabs(measure_layers_scale(e.m, MEASURE_DECODE, MEASURE_FFN) * 6 - 1) < 1e-9);
    measure_close(e.m);
}

/* ---- nothing could be executed again ----------------------------------------------------------------------------------- */

static void long_tokens(struct engine *e, int n, uint32_t segment)
{
    for (int i = 0; i < n; i++) {
        int64_t from = e->now;
        e->segment = segment ? (i / 4 % 2 ? segment : 0) : 0;
        for (int k = 0; k < 3; k++) {
            stretch(e, WIRE_ATTENTION, k, (7 + k) * SAMPLE_NS, 20, false);
            stretch(e, WIRE_FFN, k, (11 - k) * SAMPLE_NS, 45, false);
        }
        end_step(e, from);
    }
}

static void begin_pass(struct engine *e, enum measure_pass pass)
{
    e->samples = calloc(20000, sizeof *e->samples);
    assert_non_null(e->samples);
    e->n_samples = 0;
    measure_begin(e->m, pass, e->now);
}

static void end_pass(struct engine *e, const struct joulet_channel *sensors, size_t n)
{
    struct joulet_trace t = {.samples = e->samples, .n = e->n_samples};
    measure_end(e->m);
    for (size_t i = 0; i < n; i++) {
        t.channel = sensors[i];
        measure_samples(e->m, i, &t, 5, 0.01);
    }
    free(e->samples);
    e->samples = NULL;
}

static void measured_by(struct engine *e, enum measure_pass pass, uint32_t segment, const struct joulet_channel *sensors,
                        size_t n)
{
    begin_pass(e, pass);
    long_tokens(e, 60, segment);
    end_pass(e, sensors, n);
}

static const struct joulet_channel counter = {.id = "c", .quantity = JOULET_ENERGY, .in_total = true, .period_s = 1e-3};

static void measured_pass(struct engine *e, enum measure_pass pass, uint32_t segment)
{
    measured_by(e, pass, segment, &counter, 1);
}

static void lockin_is_only_said_where_something_was_repeated(void **state)
{
    struct engine e = begin(MEASURE_WATCHED);
    struct measure_result r, probed;
    (void)state;
    measured_pass(&e, MEASURE_WATCHED, 0);
    measured_pass(&e, MEASURE_AGAIN, WIRE_ATTENTION); /* asked for, and refused at each */
    assert_true(measure_solve(e.m, MEASURE_DECODE, NAN, 0, &r));
    assert_true(r.known);
    assert_int_equal(r.path, JOULET_COMPONENTS_PLAIN);
    assert_true(fabs(r.power_w[MEASURE_FFN] - 40) < 1); /* above the idle level */
    assert_true(fabs(r.power_w[MEASURE_ATTENTION] - 15) < 1);
    assert_true(measure_solve(e.m, MEASURE_DECODE, 1.1, 0, &r));
    assert_true(measure_solve(e.m, MEASURE_DECODE, 1.1, 0.2, &probed)); /* all of them are as open as the probe's cost */
    for (int k = 0; k <= MEASURE_FFN; k++)
        assert_true(fabs(probed.pm_j[k] / hypot(r.pm_j[k], 0.2 * r.energy_j[k]) - 1) < 1e-9);
    measure_close(e.m);
}

/* ---- what each joule may be off by --------------------------------------------------------------------------------------- */

/* Attention, the feed-forward and the rest: kinds as a fit of these three numbers them. */
static const size_t kinds_of_fit[] = {MEASURE_ATTENTION, MEASURE_FFN, MEASURE_REST};

/* Of one sensor, from libjoulet itself: what was read of power alone. */
static void fit_alone(const struct measure *m, size_t channel, struct joulet_component_shares *out)
{
    const struct measure_of_phase *d = &m->phases[MEASURE_DECODE];
    const struct measure_channel *ch = &m->channels[MEASURE_DECODE][channel];
    double token_s[JL_COUNT(kinds_of_fit)];
    struct joulet_components c;
    for (size_t k = 0; k < JL_COUNT(kinds_of_fit); k++)
        token_s[k] = d->kind_s[kinds_of_fit[k]] / d->units;
    const struct joulet_components_in in = {.trace = &ch->trace,
                                            .idle_w = ch->idle_w,
                                            .to_s = INFINITY,
                                            .kinds = JL_COUNT(kinds_of_fit),
                                            .stretches = d->stretches,
                                            .n_stretches = d->n_stretches,
                                            .token_s = token_s,
                                            .instrumented_ratio = NAN};
    assert_int_equal(joulet_components_measure(&in, &c, NULL), JOULET_OK);
    *out = c.shares;
}

/* Scatter, idle level and gain of two sensors, each as large as the others for one kind at least; the second sensor knows neither
 * of the latter, so that what is added up is seen. And what the probe leaves open, of the whole. */
static void an_interval_holds_idle_level_and_gain(void **state)
{
    const struct joulet_channel sensors[] = {counter, counter};
    struct joulet_component_shares alone[2];
    struct engine e = begin(MEASURE_AGAIN);
    struct measure_channel *ch = e.m->channels[MEASURE_DECODE];
    struct measure_result r;
    (void)state;
    measured_by(&e, MEASURE_AGAIN, 0, sensors, JL_COUNT(sensors));
    ch[1].idle_w = 7;
    for (size_t i = 0; i < JL_COUNT(alone); i++) {
        for (size_t k = 0; k < ch[i].trace.n; k++) /* up to 3 mJ of 20 to 45 in a reading */
            ch[i].trace.samples[k].value += (int64_t)(k * 7919 % (101 + i) * 30);
        fit_alone(e.m, i, &alone[i]);
    }
    for (size_t k = 0; k < 2; k++) {
        double token_s = e.m->phases[MEASURE_DECODE].kind_s[kinds_of_fit[k]] / e.m->phases[MEASURE_DECODE].units;
        double u = alone[0].u_j[k], idle = u, gain = u, all;
        assert_true(u > 0);
        ch[0].u_idle_w = idle / token_s;
        ch[0].trace.channel.spec = gain * sqrt(3) / alone[0].energy_j[k];
        ch[1].u_idle_w = NAN;
        double joules = alone[0].energy_j[k] + alone[1].energy_j[k], probe = 2 * u / joules;
        assert_true(measure_solve(e.m, MEASURE_DECODE, NAN, probe, &r));
        all = hypot(hypot(hypot(2 * u, 2 * idle), hypot(2 * gain, 2 * alone[1].u_j[k])), probe * joules);
        assert_near(r.energy_j[k], joules, 1e-9 * joules);
        assert_near(r.scatter_j[k], 2 * hypot(alone[0].u_j[k], alone[1].u_j[k]), 1e-9 * u);
        assert_near(r.pm_j[k], all, 1e-9 * all);
        assert_near(r.limit_j[k], joules + all, 1e-9 * joules);
    }
    measure_close(e.m);
}

/* ---- what no reading shows ---------------------------------------------------------------------------------------------- */

#define EMBEDDING_NS (2 * SAMPLE_NS)
#define PROMPTS      12

/* The embedding comes first, where the delay of a sensor leaves readings out: what it draws is not seen. All kinds share one gain
 * and one idle level, and so it took no more than the prompt did less the others. */
static void what_no_reading_shows_has_a_limit_that_holds(void **state)
{
    struct engine e = begin(MEASURE_WATCHED);
    struct measure_result r;
    struct joulet_channel late = counter;
    double prompt_j = 0, truth = 75 * EMBEDDING_NS * 1e-9;
    (void)state;
    late.u_lag_s = 1e-3;
    measure_from(e.m, MEASURE_WATCHED);
    for (int i = 0; i < PROMPTS; i++) {
        begin_pass(&e, MEASURE_WATCHED);
        int64_t from = e.now;
        double from_uj = e.energy_uj;
        stretch(&e, WIRE_EMBEDDING, -1, EMBEDDING_NS, 80, false);
        for (int k = 0; k < 4; k++) {
            stretch(&e, WIRE_ATTENTION, k, (7 + k) * SAMPLE_NS, 20, false);
            stretch(&e, WIRE_FFN, k, (11 - k) * SAMPLE_NS, 45, false);
            draw(&e, 5, SAMPLE_NS / 8); /* the rest that is seen draws nothing */
        }
        prompt_j += (e.energy_uj - from_uj) * 1e-6 - 5 * (double)(e.now - from) * 1e-9;
        end_prompt(&e, from, true);
        slow_step(&e, 1);
        end_pass(&e, &late, 1);
    }
    assert_true(measure_solve(e.m, MEASURE_PREFILL, NAN, 0, &r));
    assert_true(r.known && r.path == JOULET_COMPONENTS_PLAIN);
    assert_true(r.limit_only[MEASURE_REST] && r.unseen[MEASURE_REST] && isnan(r.limit_j[MEASURE_REST]));
    assert_true(!r.unseen[MEASURE_FFN] && !r.unseen[MEASURE_ATTENTION]);
    measure_limit_unseen(&r, prompt_j / PROMPTS, 0.01);
    assert_true(r.limit_j[MEASURE_REST] >= truth && r.limit_j[MEASURE_REST] < 3 * truth);
    measure_limit_unseen(&r, NAN, NAN);
    assert_true(isnan(r.limit_j[MEASURE_REST]));
    measure_close(e.m);
}

/* ---- spans without repeats --------------------------------------------------------------------------------------------- */

static void short_token(struct engine *e, bool again)
{
    int64_t from = e->now;
    e->segment = again ? WIRE_ATTENTION : 0;
    stretch(e, WIRE_OTHER, -1, 1000, 5, false); /* of the rest: not kept as a stretch */
    end_step(e, from);
}

/* One that fills the room for spans of tokens without repeats: samples are kept until then. */
static void a_pass_full_of_spans_keeps_its_begin(void **state)
{
    struct engine e = begin(MEASURE_AGAIN);
    const struct measure_of_phase *d = &e.m->phases[MEASURE_DECODE];
    struct joulet_trace t = {.channel = {.id = "c", .quantity = JOULET_ENERGY, .in_total = true, .period_s = 1e-3},
                             .n = 1000,
                             .samples = calloc(1000, sizeof(struct joulet_sample))};
    (void)state;
    assert_non_null(t.samples);
    for (size_t i = 0; i <= MEASURE_STRETCHES + 10; i++) {
        short_token(&e, false);
        short_token(&e, true);
    }
    measure_end(e.m);
    assert_int_equal(d->n_unmodified, MEASURE_STRETCHES);
    assert_true(d->full && d->until_ns > JL_NS_PER_S && d->until_ns < e.now);
    for (size_t i = 0; i < t.n; i++)
        t.samples[i] = (struct joulet_sample){.t_ns = JL_NS_PER_S + (int64_t)i * SAMPLE_NS, .value = (int64_t)i};
    measure_samples(e.m, 0, &t, 5, 0.01);
    assert_true(e.m->channels[MEASURE_DECODE][0].trace.n > 900);
    free(t.samples);
    measure_close(e.m);
}

/* 0.96 +- 0.46 of two requests on a busy machine says nothing of the probe; 1.03 +- 0.01 does. */
static void only_a_cost_that_is_seen_is_taken_off(void **state)
{
    (void)state;
    assert_true(measure_scale(0.96, 0.46) == 1);
    assert_true(measure_scale(1.03, 0.01) == 1.03);
    assert_true(measure_scale(1.6, 0.7) == 1.6); /* refused, whatever is known of it */
    assert_true(isnan(measure_scale(NAN, NAN)));
    assert_true(measure_scale(1.2, NAN) == 1); /* of one pair */
    assert_true(fabs(measure_scale_pm(1.2, NAN, NAN, NAN) - 0.2) < 1e-12 && measure_scale_pm(1.2, NAN, 0.01, 0.01) == 0.02);
    assert_true(fabs(measure_scale_pm(1.25, 0.1, 0.2, 0.01) - 0.08) < 1e-12); /* scaled by it */
    assert_true(measure_scale_pm(0.96, 0.46, -0.003, 0.002) == 0.005);        /* not: the stops are known better */
    assert_true(measure_scale_pm(1, NAN, 0.01, 0.002) == 0.012 &&
                measure_scale_pm(NAN, NAN, 0.01, 0.002) == 0.012); /* one pair */
    assert_true(measure_costly(1.8, 0.2) && !measure_costly(2, 14) && !measure_costly(2, NAN) && !measure_costly(1.2, 0.1));
    assert_true(measure_scale_pm(0.96, 0.46, NAN, NAN) == 0.46 && measure_scale_pm(NAN, NAN, NAN, NAN) == 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(no_stretch_of_a_deep_model_is_lost),
                                       cmocka_unit_test(a_step_beyond_all_room_counts_nowhere),
                                       cmocka_unit_test(layers_sum_to_their_kind),
                                       cmocka_unit_test(seconds_are_of_what_was_watched),
                                       cmocka_unit_test(lockin_is_only_said_where_something_was_repeated),
                                       cmocka_unit_test(an_interval_holds_idle_level_and_gain),
                                       cmocka_unit_test(a_pass_full_of_spans_keeps_its_begin),
                                       cmocka_unit_test(what_no_reading_shows_has_a_limit_that_holds),
                                       cmocka_unit_test(only_a_cost_that_is_seen_is_taken_off)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
