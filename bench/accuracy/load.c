/* load.c - loads as an inference engine makes them: idle, prefill, decode, and a level after it. Lengths are not tied to the
 * update grid of the sensor. */
#include "bench/accuracy/load.h"
#include "bench/accuracy/slow.h"

#include <math.h>

#define CPU_SCALE  0.25 /* a processor draws a quarter of what a GPU draws */
#define DECODE_S   2.0  /* decode after the prefill that is asked for */
#define PREFILL_S  0.4  /* prefill before the decode that is asked for */
#define SHARE_LATE (1.0 / 3)
#define LATE_S     0.05
#define SHARE_SLOW 0.2
#define SLOW_S     0.1
#define BASELINE_S 10.0
#define NET_RISE_W 200
#define NET_IDLE_W 60
#define CHORES_HZ  0.5 /* what else a machine does, idle or not: so often, ... */
#define CHORE_W    15  /* ... so strong, ... */
#define CHORE_S    0.1 /* ... so long */

struct levels levels_of(uint64_t seed)
{
    struct chance c = chance_of(seed, "levels", 0);
    return (struct levels){
        .idle = uniform(&c, 50, 70),
        .prefill = uniform(&c, 390, 450),
        .decode = uniform(&c, 225, 255),
        .after = uniform(&c, 25, 30),
    };
}

/* Time that estimators want to see before a run, and after it. */
static double lead_s(const struct row *row)
{
    return row->around_s > 0                              ? row->around_s
           : row->cpu                                     ? 1
           : row->power && row->window_s != row->period_s ? 4 + row->window_s
                                                          : 2.5;
}

static double follow_s(const struct row *row)
{
    return row->around_s > 0                              ? row->around_s
           : row->cpu                                     ? 1
           : row->power && row->window_s != row->period_s ? 5.5 + row->window_s
                                                          : 2;
}

double draw_length(double d, struct chance *c)
{
    return d < 0.05 ? d * uniform(c, 0.9, 1.1) : d + uniform(c, -1, 1) * fmin(0.05, 0.25 * d);
}

struct drawn draw_levels(const struct row *row, const struct levels *l, struct chance *c)
{
    double scale = row->cpu ? CPU_SCALE : 1;
    struct drawn p = {
        .idle = scale * l->idle * uniform(c, 0.85, 1.15),
        .prefill = scale * l->prefill * uniform(c, 0.85, 1.15),
        .decode = scale * l->decode * uniform(c, 0.85, 1.15),
    };
    p.after = p.idle + scale * uniform(c, 0, l->after);
    return p;
}

static void bound(struct load *l, double t_s)
{
    l->bounds[l->n_bounds++] = t_s;
}

static void draw_steady(const struct drawn *p, double a, double d, struct load *l)
{
    truth_step(&l->truth, 0, p->prefill * 0.7);
    bound(l, a);
    bound(l, a + d);
    l->idle_w = NAN;
}

/* Prefill then decode; the one that is asked for lasts d. */
static void draw_phase(const struct drawn *p, double a, double d, bool decode, struct load *l)
{
    double b = a + (decode ? PREFILL_S : d), end = b + (decode ? d : DECODE_S);
    truth_step(&l->truth, 0, p->idle);
    truth_step(&l->truth, a, p->prefill);
    truth_step(&l->truth, b, p->decode);
    truth_step(&l->truth, end, p->after);
    bound(l, a);
    bound(l, b);
    bound(l, end);
    l->part = decode;
}

/* A run of one or two phases; the device stays above idle for some seconds after it. */
static void draw_isolated(const struct drawn *p, double a, double d, bool two, struct chance *c, struct load *l)
{
    double b = a + (two ? uniform(c, 0.2, 0.6) * d : 0);
    truth_step(&l->truth, 0, p->idle);
    if (two) {
        truth_step(&l->truth, a, p->prefill);
        bound(l, a);
    }
    truth_step(&l->truth, b, p->decode);
    truth_step(&l->truth, a + d, p->after);
    bound(l, b);
    bound(l, a + d);
    l->isolated = l->asked.net = true;
}

/* Idle long enough for a baseline, then one run; chores of the machine all the time belong to its idle level. */
static void draw_net(double a, double d, double end, struct chance *c, struct load *l)
{
    double level = NET_IDLE_W, changes[3] = {a, a + d, INFINITY}, change_w[2] = {NET_RISE_W, -NET_RISE_W};
    size_t next = 0;
    truth_step(&l->truth, 0, level);
    for (double t = exponential(c, 1 / CHORES_HZ); t < end; t += CHORE_S + exponential(c, 1 / CHORES_HZ)) {
        double at[2] = {t, t + CHORE_S}, by[2] = {CHORE_W, -CHORE_W};
        for (int i = 0; i < 2; i++) {
            for (; changes[next] < at[i]; next++)
                truth_step(&l->truth, changes[next], level += change_w[next]);
            truth_step(&l->truth, at[i], level += by[i]);
        }
    }
    for (; next < 2; next++)
        truth_step(&l->truth, changes[next], level += change_w[next]);
    bound(l, a);
    bound(l, a + d);
    l->isolated = l->asked.net = l->asked.whole_interval = true;
    l->idle_w = NET_IDLE_W + CHORE_W * CHORE_S / (1 / CHORES_HZ + CHORE_S);
    l->idle_to = a - 0.5;
    l->idle_from = l->idle_to - BASELINE_S;
}

bool shake(const struct row *row, struct truth *t, double end_s, struct chance *c)
{
    t->ramp_s = row->cpu ? uniform(c, 0.1e-3, 0.5e-3) : uniform(c, 0.5e-3, 5e-3);
    if (row->late) {
        t->rise_share = SHARE_LATE;
        t->rise_late = LATE_S;
        t->fall_share = SHARE_SLOW;
        t->fall_late = SLOW_S;
    }
    double share = uniform(c, 0.01, 0.03), tau = 0.02 * pow(5, uniform(c, 0, 1));
    return truth_noise(t, end_s, share, tau, c);
}

static void note_truth(struct load *l)
{
    double from = l->isolated ? l->bounds[0] : l->bounds[l->part];
    double to = l->isolated ? l->bounds[l->n_bounds - 1] : l->bounds[l->part + 1];
    l->length_s = to - from;
    l->asked.gross_j = truth_energy(&l->truth, to) - truth_energy(&l->truth, from);
    l->asked.truth_j = l->asked.gross_j - (l->asked.net ? l->idle_w * l->length_s : 0);
}

bool load_draw(const struct row *row, double d, const struct levels *levels, uint64_t number, struct chance *c, struct load *out)
{
    struct drawn p = draw_levels(row, levels, c);
    double a = lead_s(row) + uniform(c, 0, 0.1);
    *out = (struct load){.idle_w = p.idle};
    d = draw_length(d, c);
    if (row->slow)
        slow_load(row, d, number, c, out);
    else if (row->shape == SHAPE_STEADY)
        draw_steady(&p, a, d, out);
    else if (row->shape == SHAPE_PHASE)
        draw_phase(&p, a, d, number & 1, out);
    else if (row->shape == SHAPE_NET)
        draw_net(a + BASELINE_S, d, a + BASELINE_S + d + follow_s(row), c, out);
    else
        draw_isolated(&p, a, d, number & 1, c, out);
    if (!row->slow)
        out->end_s = out->bounds[out->n_bounds - 1] + follow_s(row);
    if (!shake(row, &out->truth, out->end_s, c))
        return false;
    note_truth(out);
    return true;
}
