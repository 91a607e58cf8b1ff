/* slow.c - plugs and management controllers, and what a machine draws beside them.
 *
 * What a meter is told of them is what meters/meters.c tells: a value every second (or 5 s), asked for twice as often, over a
 * network that takes its time. How the value came about is the device's own. */
#include "bench/accuracy/slow.h"

#include <math.h>

#define POLLS     2 /* in a period */
#define ANSWER_LO 0.02
#define ANSWER_HI 0.2
#define LAG_SHARE 0.3 /* of the period: from the end of what a value covers to the moment it can be asked for, at most */
#define FILTER_LO 0.3 /* time constant of a filter, of the period */
#define FILTER_HI 1.2
#define SPEC      0.02
#define STEP_LO_S 0.5 /* a further step is so far from the end of the run, at least ... */
#define STEP_HI_S 8.0 /* ... and at most */
#define OFTEN_S   4.0 /* between steps that have nothing to do with the moments */
#define AROUND    16  /* periods before the run, and after it, where the row does not tell */
#define STEPS_MAX 8

struct known slow_draw(const struct row *row, struct chance *c)
{
    struct sim_model m = SIM_MODEL_INIT;
    double U = row->period_s;
    m.kind = SIM_POWER;
    m.period_s = U * uniform(c, 0.98, 1.02);
    m.jitter_s = 5e-3;
    m.window_s = row->shows == SHOWS_MEAN ? m.period_s : 0;
    m.filter_s = row->shows == SHOWS_FILTERED ? U * uniform(c, FILTER_LO, FILTER_HI) : 0;
    m.lag_s = U * uniform(c, 0, LAG_SHARE);
    m.quantum = uniform(c, 0, 1) < 0.5 ? 0.1 : 1;
    struct joulet_channel ch = {
        .id = "wall0.power",
        .sensor = "shelly",
        .device = "",
        .parent = "",
        .quantity = JOULET_POWER,
        .group = JOULET_GROUP_PLATFORM,
        .domain = JOULET_DOMAIN_WALL,
        .provenance = JOULET_MEASURED,
        .in_total = true,
        .contiguous = true,
        .period_s = U,
        .window_s = U,
        .quantum_j = m.quantum,
        .lag_s = 0.15 * U,
        .u_lag_s = 0.25 * U,
        .lag_max_s = U,
        .rise_s = 0.01,
        .spec = SPEC,
        .power_min_w = NAN,
        .power_max_w = NAN,
        .factor_lo = 1,
        .factor_hi = 1,
    };
    return (struct known){m, ch};
}

struct reader slow_reader(const struct row *row)
{
    return (struct reader){.poll_s = row->period_s / POLLS, .cost_s = ANSWER_LO, .cost_max_s = ANSWER_HI, .limit_w = NAN};
}

/* ---- loads ----------------------------------------------------------------------------------------------------------------- */

struct step {
    double t_s, w;
};

static void add(struct step *s, size_t *n, double t_s, double w)
{
    size_t i = (*n)++;
    for (; i > 0 && s[i - 1].t_s > t_s; i--)
        s[i] = s[i - 1];
    s[i] = (struct step){t_s, w};
}

/* A run at a, d long, with further steps near its ends, each with its chance: outside and inside the start, inside and outside
 * the end. */
static size_t draw_run(const struct row *row, const struct drawn *p, double a, double d, bool outside, struct chance *c,
                       struct step *s)
{
    double other[4], away[4];
    bool drawn[4];
    int wanted = (int)uniform(c, 0, 4);
    size_t n = 0;
    for (int i = 0; i < 4; i++) {
        bool out = i == 0 || i == 3;
        away[i] = uniform(c, STEP_LO_S, out ? STEP_HI_S : fmin(STEP_HI_S, 0.9 * d));
        other[i] = uniform(c, 0.4, 1.6);
        drawn[i] = row->shape == SHAPE_RESTLESS && (uniform(c, 0, 1) < 0.4 || wanted == i) && (outside || !out);
    }
    add(s, &n, 0, p->idle * (drawn[0] ? other[0] : 1));
    if (drawn[0])
        add(s, &n, a - away[0], p->idle);
    add(s, &n, a, p->decode * (drawn[1] ? other[1] : 1));
    if (drawn[1])
        add(s, &n, a + away[1], p->decode);
    if (drawn[2])
        add(s, &n, a + d - away[2], p->decode * other[2]);
    add(s, &n, a + d, p->after);
    if (drawn[3])
        add(s, &n, a + d + away[3], p->after * other[3]);
    return n;
}

static void draw_anytime(const struct drawn *p, double end_s, struct chance *c, struct truth *t)
{
    truth_step(t, 0, p->idle);
    for (double at = exponential(c, OFTEN_S); at < end_s; at += 0.2 + exponential(c, OFTEN_S))
        truth_step(t, at, uniform(c, p->idle, p->prefill));
}

void slow_load(const struct row *row, double d, uint64_t number, struct chance *c, struct load *out)
{
    double around = row->around_s > 0 ? row->around_s : AROUND * fmax(1, row->period_s),
           a = around + uniform(c, 0, row->period_s);
    struct drawn p = {.idle = uniform(c, 50, 120), .prefill = uniform(c, 200, 500)};
    struct step s[STEPS_MAX];
    size_t n;
    p.decode = p.prefill;
    p.after = p.idle + uniform(c, 0, 30);
    out->bounds[0] = a;
    out->bounds[1] = a + d;
    out->n_bounds = 2;
    out->end_s = a + d + around;
    out->idle_w = p.idle;
    out->isolated = row->shape != SHAPE_ANYTIME && row->shape != SHAPE_STEADY && (number & 1);
    if (row->shape == SHAPE_ANYTIME) {
        draw_anytime(&p, out->end_s, c, &out->truth);
        return;
    }
    if (row->shape == SHAPE_STEADY) {
        truth_step(&out->truth, 0, p.decode);
        return;
    }
    n = draw_run(row, &p, a, d, !out->isolated, c, s);
    for (size_t i = 0; i < n; i++)
        truth_step(&out->truth, s[i].t_s, s[i].w);
}
