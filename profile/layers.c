/* layers.c - a kind of component draws the same power in each layer: assumed, and here held against what leaving some layers out
 * saves. Both are shares of a token: the sensor's gain, and how fast and how hot the machine was at either time, cancel. Two idle
 * levels, each measured by itself, do not. */
#include "profile/layers.h"

#include <math.h>

/* Seconds of a kind in those layers, in a token. */
static double seconds_in(const struct measure *m, enum measure_kind kind, int from)
{
    return measure_layers_s(m, MEASURE_DECODE, kind, from) * measure_layers_scale(m, MEASURE_DECODE, kind);
}

/* What the components say of the layers from `from` (1: the first) on. */
struct told {
    double share, pm; /* of a token's energy, and half of its interval without the gain */
    double seconds;   /* of a token */
};

/* Kinds that are too small to be shown have an estimate as well. Least squares that gives one kind too much takes it from
 * another: what lies in these layers and what lies beside them may be wrong by the same, so their scatters are added. */
static struct told told_of(const struct measure *m, const struct measure_result *r, int from, double u_idle_w)
{
    double inside[MEASURE_KINDS] = {0}, j = 0, all_j = 0, scatter2[2] = {0, 0}, idle = 0;
    struct told t = {.seconds = 0};
    for (int k = 0; k < MEASURE_KINDS; k++) {
        if (!(r->unit_s[k] > 0))
            continue;
        inside[k] = k == MEASURE_REST ? 0 : seconds_in(m, (enum measure_kind)k, from) / r->unit_s[k];
        t.seconds += inside[k] * r->unit_s[k];
        j += inside[k] * r->energy_j[k];
        all_j += r->energy_j[k];
    }
    t.share = j / all_j;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        if (!(r->unit_s[k] > 0))
            continue;
        double slope = (inside[k] - t.share) / all_j, scatter = slope * r->scatter_j[k];
        scatter2[slope < 0] += scatter * scatter;
        idle += slope * r->unit_s[k] * 2 * (isfinite(u_idle_w) ? u_idle_w : 0);
    }
    t.pm = hypot(sqrt(scatter2[0]) + sqrt(scatter2[1]), idle);
    return t;
}

/* A layer costs time outside of its stretches too (its part of building and scheduling the graph), which leaving it out saves and
 * its rows do not hold: at most what the rest draws, as a share of a token. */
static double outside(const struct measure_result *r, const struct profile_difference *d, double told_s)
{
    double rest_s = r->unit_s[MEASURE_REST], power_w = d->j[0] / d->s[0];
    if (rest_s > 0)
        power_w = r->limit_only[MEASURE_REST] ? r->limit_j[MEASURE_REST] / rest_s : r->power_w[MEASURE_REST];
    return d->less_s > told_s ? (d->less_s - told_s) * power_w / d->j[0] : 0;
}

static enum layers_verdict judge(const struct layers_check *c)
{
    if (!(c->ratio_pm <= LAYERS_PM_MOST))
        return LAYERS_UNTOLD;
    return fabs(c->ratio - 1) <= fmax(c->ratio_pm, LAYERS_CLOSURE) ? LAYERS_ALIKE : LAYERS_DIFFERENT;
}

void layers_check(const struct measure *m, const struct measure_result *decode, int left_out, const struct profile_difference *d,
                  double u_idle_w, struct layers_check *out)
{
    const struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    *out = (struct layers_check){.saved_j = NAN, .told_j = NAN, .ratio = NAN, .ratio_pm = NAN};
    if (!decode->known || decode->path == JOULET_COMPONENTS_TIME || !p->layers || !(p->layer_units > 0) || left_out < 1 ||
        left_out >= m->layers || d->rounds < 2)
        return;
    struct told t = told_of(m, decode, m->layers - left_out + 1, u_idle_w);
    out->saved_j = d->less_j;
    out->told_j = t.share * d->j[0];
    if (t.share > 0) {
        out->ratio = d->share / t.share;
        out->ratio_pm = hypot(d->share_pm, out->ratio * t.pm) / t.share + outside(decode, d, t.seconds) / t.share;
    }
    out->verdict = judge(out);
}
