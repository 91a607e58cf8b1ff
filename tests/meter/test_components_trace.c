/* From a trace and stretches to joules by component (8.2, 8.3): what is repeated and in which order, each path that can be taken,
 * the lag and the rise that are found, and why shares of time are given instead. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

enum { A, B, C, REST, KINDS, LAYERS = 4, ROOM = 1 << 17 };
static const double net_w[KINDS] = {90, 300, 180, 40}, token_s[KINDS] = {.010, .020, .008, .002};
static const double ones[KINDS] = {1, 1, 1, 1};
#define IDLE_W 50.0

/* ---- a timeline -------------------------------------------------------------------------------------------------------- */

struct line {
    struct joulet_stretch *stretches, spans[512];
    double drawn_j[KINDS], drawn_s[KINDS]; /* net, without repeats */
    bool repeating;
    double *t_s, *e_j; /* where the power changes, and the energy until then */
    double *w;
    size_t n_stretches, n_spans, n;
    double now_s;
    uint64_t seed;
    double wander, wanders, drift; /* of the power just now; standard deviation within 50 ms; within a minute */
};

static void line_init(struct line *l)
{
    *l = (struct line){.stretches = calloc(ROOM, sizeof *l->stretches),
                       .t_s = calloc(ROOM, sizeof(double)),
                       .e_j = calloc(ROOM, sizeof(double)),
                       .w = calloc(ROOM, sizeof(double)),
                       .now_s = 1,
                       .seed = 5};
    l->w[l->n++] = IDLE_W;
}

static void line_release(struct line *l)
{
    free(l->stretches);
    free(l->t_s);
    free(l->e_j);
    free(l->w);
}

static double chance(struct line *l)
{
    struct jl_rng r = {l->seed};
    double x = jl_rng_uniform(&r);
    l->seed = r.s;
    return x;
}

static void power(struct line *l, double w)
{
    l->t_s[l->n] = l->now_s;
    l->e_j[l->n] = l->e_j[l->n - 1] + l->w[l->n - 1] * (l->now_s - l->t_s[l->n - 1]);
    l->w[l->n++] = w;
}

/* Of everything, idle power too. */
static double wandering(struct line *l, double d)
{
    double kept = exp(-d / .05), sum = -6;
    for (int i = 0; i < 12 && l->wanders > 0; i++)
        sum += chance(l);
    l->wander = l->wanders > 0 ? kept * l->wander + l->wanders * sqrt(1 - kept * kept) * sum : 0;
    return 1 + l->wander + l->drift * sin(l->now_s / 10 + (double)l->seed * 1e-19);
}

static void stretch(struct line *l, size_t kind, double d, double factor)
{
    d *= .95 + .1 * chance(l);
    double gross_w = (IDLE_W + net_w[kind] * factor) * wandering(l, d);
    power(l, gross_w);
    l->drawn_j[kind] += l->repeating ? 0 : (gross_w - IDLE_W) * d;
    l->drawn_s[kind] += l->repeating ? 0 : d;
    if (kind != REST)
        l->stretches[l->n_stretches++] = (struct joulet_stretch){kind, l->now_s, l->now_s + d};
    l->now_s += d;
}

static void token(struct line *l, size_t kind, int repeats, double factor)
{
    stretch(l, REST, token_s[REST] / 2, factor);
    for (int i = 0; i < LAYERS; i++) {
        stretch(l, A, token_s[A] / LAYERS, factor);
        stretch(l, B, token_s[B] / LAYERS, factor);
    }
    stretch(l, C, token_s[C], factor);
    l->repeating = true;
    for (int i = 0; i < repeats; i++)
        stretch(l, kind, token_s[kind], factor);
    l->repeating = false;
    stretch(l, REST, token_s[REST] / 2, factor);
}

static void plain(struct line *l, double length_s)
{
    for (double end = l->now_s + length_s; l->now_s < end;)
        token(l, 0, 0, 1);
    power(l, IDLE_W);
}

/* factor: of the power of tokens without repetition. */
static void locked_in(struct line *l, double length_s, double reading_s, double factor)
{
    struct joulet_lockin p;
    double end = l->now_s + length_s;
    joulet_lockin_plan(token_s, (const bool[KINDS]){true, true, true, false}, KINDS, reading_s, &p);
    for (uint64_t block = 0; l->now_s < end; block++) {
        size_t order[KINDS + 1], n = joulet_lockin_block(&p, KINDS, 3, block, order);
        for (size_t i = 0; i < n; i++) {
            double from = l->now_s;
            bool repeats = order[i] < KINDS;
            while (l->now_s - from < p.segment_s)
                token(l, order[i], repeats ? p.repeats[order[i]] : 0, repeats ? 1 : factor);
            if (!repeats)
                l->spans[l->n_spans++] = (struct joulet_stretch){0, from, l->now_s};
        }
    }
    power(l, IDLE_W);
}

static double energy(const struct line *l, double t)
{
    size_t lo = 0, hi = l->n;
    while (hi - lo > 1) {
        size_t mid = (lo + hi) / 2;
        *(l->t_s[mid] <= t ? &lo : &hi) = mid;
    }
    return l->e_j[lo] + l->w[lo] * (t - l->t_s[lo]);
}

/* Readings every U, shown lag_s late; window_s 0: a counter. */
static struct joulet_trace trace_of(struct line *l, double U, double window_s, double lag_s)
{
    struct joulet_trace t = {.channel = {.id = "sim",
                                         .quantity = window_s > 0 ? JOULET_POWER : JOULET_ENERGY,
                                         .contiguous = window_s == U,
                                         .period_s = U,
                                         .window_s = window_s,
                                         .u_lag_s = U / 4}};
    size_t most = (size_t)((l->now_s + 1) / U) + 2;
    t.samples = calloc(most, sizeof *t.samples);
    double before = 0;
    for (double at = .5; at < l->now_s + .4 && t.n < most; at += U * (.97 + .06 * chance(l))) {
        double value = window_s == 0   ? energy(l, at)
                       : window_s == U ? (energy(l, at) - energy(l, before)) / (at - before)
                                       : (energy(l, at) - energy(l, at - window_s)) / window_s;
        t.samples[t.n++] = (struct joulet_sample){.t_ns = llround((at + lag_s) * 1e9), .value = llround(value * 1e6)};
        before = at;
    }
    return t;
}

static struct joulet_components_in input(const struct line *l, const struct joulet_trace *t, bool repeats)
{
    return (struct joulet_components_in){.trace = t,
                                         .idle_w = IDLE_W,
                                         .from_s = 1,
                                         .to_s = l->now_s,
                                         .kinds = KINDS,
                                         .stretches = l->stretches,
                                         .n_stretches = l->n_stretches,
                                         .unmodified = repeats ? l->spans : NULL,
                                         .n_unmodified = l->n_spans,
                                         .token_s = token_s,
                                         .repeat_ratio = repeats ? ones : NULL,
                                         .instrumented_ratio = NAN};
}

static void measure(const struct joulet_components_in *in, struct joulet_components *c)
{
    struct joulet_error err;
    if (joulet_components_measure(in, c, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void assert_known(const struct joulet_components *c, double tolerance, double divided_by)
{
    for (size_t k = A; k <= C; k++) {
        double want = net_w[k] * token_s[k] / divided_by;
        assert_near(c->shares.energy_j[k], want, tolerance * want);
        assert_near(c->limit_j[k], c->shares.energy_j[k] + 2 * c->shares.u_j[k], 0);
    }
}

/* ---- intervals -------------------------------------------------------------------------------------------------------- */

/* Power that wanders by 2 % and drifts by 3 %, as on real machines; each another one. */
static void drawn_line(struct line *l, uint64_t i)
{
    line_init(l);
    l->seed += i;
    l->wanders = .02;
    l->drift = .03;
}

/* How many of 100 intervals hold, and their standard uncertainty over the error, each the root of its mean square. */
static void hold_of(double window_s, double length_s, uint64_t profiles, double *holds, double *wide)
{
    double squares = 0, errors = 0, held = 0;
    for (uint64_t i = 0; i < profiles; i++) {
        struct line l;
        struct joulet_components c;
        drawn_line(&l, i);
        locked_in(&l, length_s, fmax(window_s, .1), 1);
        struct joulet_trace t = trace_of(&l, .1, window_s, .013);
        struct joulet_components_in in = input(&l, &t, true);
        measure(&in, &c);
        for (size_t k = A; k <= C; k++) {
            double drawn_j = l.drawn_j[k] / l.drawn_s[k] * token_s[k];
            double error = c.shares.energy_j[k] / drawn_j - 1, half = 2 * c.shares.u_j[k] / drawn_j;
            held += fabs(error) <= half;
            errors += error * error;
            squares += half * half / 4;
        }
        joulet_trace_release(&t);
        line_release(&l);
    }
    *holds = 100 * held / ((double)profiles * (C + 1));
    *wide = sqrt(squares / errors);
}

static void intervals_hold(void **state)
{
    static const struct {
        double window_s, length_s;
        uint64_t profiles;
    } rows[] = {{0, 10, 100}, {.025, 10, 100}, {1, 40, 60}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double holds, wide;
        hold_of(rows[i].window_s, rows[i].length_s, rows[i].profiles, &holds, &wide);
        print_message("  window of %g s: %.1f %% hold, %.2f times as wide as they had to be\n", rows[i].window_s, holds, wide);
        assert_true(holds >= 90);
        assert_true(wide < 1.5);
    }
}

/* A plug that tells the mean of each second, and 6 to 20 s of it: an interval that is given holds, and where none would there are
 * shares of time. */
static void few_readings(void **state)
{
    enum { PROFILES = 120 };
    double held = 0, given = 0, refused = 0;
    (void)state;
    for (uint64_t i = 0; i < PROFILES; i++) {
        struct line l;
        struct joulet_components c;
        drawn_line(&l, i);
        locked_in(&l, 20, i % 2 ? 1 : .5, 1);
        struct joulet_trace t = trace_of(&l, 1, 1, .013);
        struct joulet_components_in in = input(&l, &t, true);
        t.channel.u_lag_s = .058;
        in.to_s = in.from_s + 6 + (double)(i / 2 % 15);
        measure(&in, &c);
        refused += c.path == JOULET_COMPONENTS_TIME;
        for (size_t k = A; k <= C; k++) {
            double drawn_j = l.drawn_j[k] / l.drawn_s[k] * token_s[k];
            assert_true(c.path == JOULET_COMPONENTS_TIME ? isnan(c.shares.u_j[k]) : c.shares.u_j[k] > 0);
            given += c.path != JOULET_COMPONENTS_TIME;
            held += fabs(c.shares.energy_j[k] - drawn_j) <= 2 * c.shares.u_j[k];
        }
        joulet_trace_release(&t);
        line_release(&l);
    }
    print_message("  a plug of 1 s: %.1f %% hold of %.0f, %.0f of %d profiles by time\n", 100 * held / given, given, refused,
                  PROFILES);
    assert_true(held >= .9 * given);
    assert_true(given > 0 && refused > 0);
}

/* ---- the plan ------------------------------------------------------------------------------------------------------------ */

static void plans(void **state)
{
    static const double s[] = {.0125, .045, .015, .0003, .0012};
    static const bool can[] = {true, true, true, true, false};
    struct joulet_lockin p;
    (void)state;
    joulet_lockin_plan(s, can, 5, .1, &p);
    assert_int_equal(p.repeats[0], 6);
    assert_int_equal(p.repeats[1], 2);
    assert_int_equal(p.repeats[2], 5);
    assert_int_equal(p.repeats[3], 64);
    assert_int_equal(p.repeats[4], 0);
    assert_near(p.segment_s, .4, 1e-12);
    assert_near(p.block_s, 2, 1e-12);
    joulet_lockin_plan((const double[]){1, 0}, (const bool[]){true, true}, 2, .001, &p);
    assert_int_equal(p.repeats[0], 1);
    assert_int_equal(p.repeats[1], 0); /* what takes no time is not repeated */
    assert_near(p.segment_s, .03, 1e-12);
    /* 50 ms and as much again would be as long as a reading, whose windows then were at the same place in each token. */
    joulet_lockin_plan((const double[]){.0125, .020, .010, .005, .0025}, can, 5, .1, &p);
    assert_int_equal(p.repeats[0], 5);
    assert_int_equal(p.repeats[1], 4);
    assert_int_equal(p.repeats[2], 7);
    assert_int_equal(p.repeats[3], 13);
    joulet_lockin_plan((const double[]){.0125, .020, .010, .005, .0025}, can, 5, .001, &p);
    assert_int_equal(p.repeats[0], 4); /* each token has many readings */
}

static void orders(void **state)
{
    struct joulet_lockin p = {.repeats = {1, 0, 3, 4, 5}};
    size_t changed = 0, first[6] = {0};
    (void)state;
    for (uint64_t block = 0; block < 600; block++) {
        size_t a[6], b[6];
        unsigned seen = 0;
        assert_int_equal(joulet_lockin_block(&p, 5, 42, block, a), 5);
        assert_int_equal(joulet_lockin_block(&p, 5, 42, block, b), 5);
        assert_memory_equal(a, b, 5 * sizeof *a);
        for (size_t i = 0; i < 5; i++)
            seen |= 1u << a[i];
        assert_int_equal(seen, 1u << 0 | 1u << 2 | 1u << 3 | 1u << 4 | 1u << 5);
        joulet_lockin_block(&p, 5, 43, block, b);
        changed += memcmp(a, b, 5 * sizeof *a) != 0;
        first[a[0]]++;
    }
    assert_true(changed > 500);
    for (size_t k = 0; k < 6; k++)
        assert_true(k == 1 ? first[k] == 0 : first[k] > 80 && first[k] < 160);
}

/* ---- paths --------------------------------------------------------------------------------------------------------------- */

/* 8.3: 1 ms readings that come 0.37 ms late, between the steps of any grid. */
static void plain_tokens_and_a_fast_counter(void **state)
{
    struct line l;
    struct joulet_components c;
    (void)state;
    line_init(&l);
    plain(&l, 2);
    struct joulet_trace t = trace_of(&l, 1e-3, 0, 3.7e-4);
    struct joulet_components_in in = input(&l, &t, false);
    measure(&in, &c);
    assert_int_equal(c.path, JOULET_COMPONENTS_PLAIN);
    assert_int_equal(c.reason, JOULET_COMPONENTS_FINE);
    assert_true(c.shares.accepted && c.windows > 1900);
    assert_near(c.lag_s, 3.7e-4, 5e-6);
    assert_known(&c, .01, 1);
    assert_near(c.shares.closure, 1, .01);
    assert_near(joulet_components_layer_j(&c, token_s, token_s, KINDS), c.measured_j * c.shares.closure, 1e-9);
    assert_near(joulet_components_layer_j(&c, token_s, (const double[KINDS]){token_s[A] / LAYERS, 0, 0, 0}, KINDS),
                c.shares.energy_j[A] / LAYERS, 1e-12);
    joulet_trace_release(&t);
    line_release(&l);
}

/* 8.2: what 100 ms readings cannot tell apart in plain tokens, they can with repeats; all kinds of readings. */
static void repeats_and_slow_sensors(void **state)
{
    static const struct {
        double window_s, lag_s;
    } rows[] = {{0, .013}, {.1, .013}, {.025, .013}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct line l;
        struct joulet_components c;
        line_init(&l);
        locked_in(&l, 8, .1, 1);
        struct joulet_trace t = trace_of(&l, .1, rows[i].window_s, rows[i].lag_s);
        struct joulet_components_in in = input(&l, &t, true);
        measure(&in, &c);
        assert_int_equal(c.path, JOULET_COMPONENTS_LOCKIN);
        assert_near(c.lag_s, rows[i].lag_s, 2e-3);
        assert_known(&c, .02, 1);
        assert_near(c.shares.closure, 1, .03);
        in.instrumented_ratio = 1.02;
        measure(&in, &c);
        assert_known(&c, .02, 1.02);
        joulet_trace_release(&t);
        line_release(&l);
    }
}

static void assert_shares_of_time(const struct joulet_components *c, enum joulet_components_reason reason, double divided_by)
{
    double sum = 0;
    assert_int_equal(c->path, JOULET_COMPONENTS_TIME);
    assert_int_equal(c->reason, reason);
    assert_true(strstr(joulet_components_reason_text(c->reason), "equal power") != NULL);
    assert_false(c->shares.accepted);
    for (size_t k = 0; k < KINDS; k++) {
        sum += c->shares.energy_j[k];
        assert_true(isnan(c->shares.u_j[k]) && isnan(c->limit_j[k]));
        assert_near(c->shares.energy_j[k] / c->shares.energy_j[A], token_s[k] / token_s[A], 1e-9);
    }
    assert_near(sum, c->measured_j / divided_by, 1e-9);
}

static void shares_of_time_and_why(void **state)
{
    struct line l;
    struct joulet_components c;
    (void)state;
    line_init(&l);
    plain(&l, 10);
    struct joulet_trace t = trace_of(&l, .1, 0, 0);
    struct joulet_components_in in = input(&l, &t, false);
    measure(&in, &c); /* a sensor no faster than the tokens */
    assert_shares_of_time(&c, JOULET_COMPONENTS_ALIKE, 1);
    assert_near(c.measured_j, 90 * .01 + 300 * .02 + 180 * .008 + 40 * .002, .1);
    in.to_s = 1.45; /* three or four readings */
    measure(&in, &c);
    assert_shares_of_time(&c, JOULET_COMPONENTS_FEW_WINDOWS, 1);
    joulet_trace_release(&t);
    line_release(&l);

    line_init(&l);
    locked_in(&l, 8, .1, 1);
    t = trace_of(&l, .1, 0, 0);
    in = input(&l, &t, true);
    in.instrumented_ratio = 1.6;
    measure(&in, &c);
    assert_shares_of_time(&c, JOULET_COMPONENTS_COSTLY, 1.6);
    in.instrumented_ratio = NAN;
    in.n_unmodified = 0; /* nothing to hold the sum against */
    measure(&in, &c);
    assert_shares_of_time(&c, JOULET_COMPONENTS_FEW_WINDOWS, 1);
    joulet_trace_release(&t);
    line_release(&l);

    line_init(&l);
    locked_in(&l, 8, .1, .8); /* repeats change the power of everything */
    t = trace_of(&l, .1, 0, 0);
    in = input(&l, &t, true);
    measure(&in, &c);
    assert_shares_of_time(&c, JOULET_COMPONENTS_OPEN, 1);
    joulet_trace_release(&t);
    line_release(&l);
}

/* Restarts, failed and late reads cost their readings and nothing else. */
static void readings_that_are_none(void **state)
{
    struct line l;
    struct joulet_components c;
    (void)state;
    line_init(&l);
    locked_in(&l, 10, .1, 1);
    struct joulet_trace t = trace_of(&l, .1, 0, 0);
    struct joulet_components_in in = input(&l, &t, true);
    measure(&in, &c);
    size_t before = c.windows;
    t.samples[20].flags = JOULET_SAMPLE_FAILED;
    t.samples[20].value = 77;
    t.samples[31].flags = JOULET_SAMPLE_LATE;
    for (size_t i = 40; i < t.n; i++)
        t.samples[i].value -= 5000000;
    t.samples[40].flags = JOULET_SAMPLE_RESET;
    measure(&in, &c);
    assert_int_equal(c.windows, before - 3);
    assert_known(&c, .02, 1);
    joulet_trace_release(&t);
    line_release(&l);
}

static void warm_repeats(void **state)
{
    static const double ratio[KINDS] = {.85, .95, 1.2, 1};
    struct line l;
    struct joulet_components c;
    (void)state;
    line_init(&l);
    locked_in(&l, 8, .1, 1);
    struct joulet_trace t = trace_of(&l, .1, 0, 0);
    struct joulet_components_in in = input(&l, &t, true);
    in.repeat_ratio = ratio;
    measure(&in, &c);
    assert_true(c.warm[A] && !c.warm[B] && c.warm[C] && !c.warm[REST]);
    joulet_trace_release(&t);
    line_release(&l);
}

static void nothing_to_measure(void **state)
{
    struct line l;
    struct joulet_components c;
    (void)state;
    line_init(&l);
    plain(&l, 1);
    struct joulet_trace t = trace_of(&l, .1, 0, 0);
    struct joulet_components_in in = input(&l, &t, false);
    in.from_s = 90;
    in.to_s = 91;
    assert_int_equal(joulet_components_measure(&in, &c, NULL), JOULET_NO_DATA);
    in.kinds = 0;
    assert_int_equal(joulet_components_measure(&in, &c, NULL), JOULET_USAGE);
    in.kinds = JOULET_COMPONENTS_MAX + 1;
    assert_int_equal(joulet_components_measure(&in, &c, NULL), JOULET_USAGE);
    assert_string_equal(joulet_components_reason_text((enum joulet_components_reason)99), "");
    joulet_trace_release(&t);
    line_release(&l);
}

/* A kind whose power comes out below 0 is held at 0, and its limit is not. */
static void a_limit_for_what_is_held_at_zero(void **state)
{
    static const double x[] = {.030, .055, .015, .050, .038, .012, .022, .070, .008, .028, .040, .032, .031, .050, .011};
    double e[5];
    struct joulet_component_powers p;
    (void)state;
    for (int i = 0; i < 5; i++)
        e[i] = 190 * x[3 * i] + 240 * x[3 * i + 1] - 30 * x[3 * i + 2] + (i % 2 ? .1 : -.1);
    assert_int_equal(joulet_components_fit(e, x, 5, 3, &p, NULL), JOULET_OK);
    assert_near(p.power_w[2], 0, 0);
    assert_true(p.u_w[2] > 1 && isfinite(p.u_w[2]));
}

/* 2.5 s at 80 W net; gain and idle level are in the interval of the figure, and not in that of the difference. */
static void alone_beside_what_was_found(void **state)
{
    struct joulet_energy loop = JOULET_ENERGY_UNKNOWN;
    struct joulet_replay r;
    (void)state;
    loop.net_j = 200;
    loop.u = (struct joulet_u){.q = .3, .b = 0, .time = .4, .event = 0, .idle = 5, .spec = 6};
    loop.net_pm_j = 2 * sqrt(.25 + 25 + 36);
    struct joulet_replay_in in = {.loop = &loop,
                                  .loop_s = 2.5,
                                  .token_s = .05,
                                  .instrumented_ratio = 1,
                                  .found_j = 3.2,
                                  .u_found_j = .08,
                                  .time_ratio = .95};
    joulet_components_replay(&in, &r);
    assert_near(r.power_w, 80, 1e-12);
    assert_near(r.power_pm_w, loop.net_pm_j / 2.5, 1e-12);
    assert_near(r.token_j, 4, 1e-12);
    assert_near(r.token_pm_j, .02 * loop.net_pm_j, 1e-12);
    assert_near(r.difference, .25, 1e-12);
    assert_near(r.difference_pm, hypot(2 * .02 * .5, 2 * .08 * 1.25) / 3.2, 1e-12);
    assert_false(r.warm);
    in.instrumented_ratio = 1.25; /* as the figure found, freed of the probe */
    in.time_ratio = .89;
    joulet_components_replay(&in, &r);
    assert_near(r.token_j, 3.2, 1e-12);
    assert_near(r.difference, 0, 1e-12);
    assert_true(r.warm);
    in.found_j = in.u_found_j = NAN; /* shares of time: nothing to be beside */
    in.time_ratio = NAN;
    joulet_components_replay(&in, &r);
    assert_true(isfinite(r.token_j) && isnan(r.difference) && isnan(r.difference_pm));
    assert_false(r.warm);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(intervals_hold),
        cmocka_unit_test(few_readings),
        cmocka_unit_test(plans),
        cmocka_unit_test(orders),
        cmocka_unit_test(plain_tokens_and_a_fast_counter),
        cmocka_unit_test(repeats_and_slow_sensors),
        cmocka_unit_test(shares_of_time_and_why),
        cmocka_unit_test(readings_that_are_none),
        cmocka_unit_test(warm_repeats),
        cmocka_unit_test(alone_beside_what_was_found),
        cmocka_unit_test(nothing_to_measure),
        cmocka_unit_test(a_limit_for_what_is_held_at_zero),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
