/* layers.c - a kind of component draws the same power in each layer: assumed, and here held against what leaving some layers out
 * saves. Both are shares of a token: the sensor's gain, and how fast and how hot the machine was at either time, cancel. Two idle
 * levels, each measured by itself, do not. */
#include "profile/layers.h"

#include <math.h>

/* Seconds of a kind in those layers, in a token. */
static double seconds_in(const struct measure *m, enum measure_kind kind, int from)
{
    const struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    double s = 0;
    for (int layer = from; layer <= m->layers; layer++)
        for (int k = WIRE_EMBEDDING; k < WIRE_KINDS; k++)
            for (int part = 0; part < WIRE_PARTS && measure_kind_of((enum wire_kind)k) == kind; part++)
                s += p->layers[layer].s[k][part];
    return s * measure_layers_scale(m, MEASURE_DECODE, kind);
}

/* Share of a token's energy that lies in the layers from `from` (1: the first), and half of its interval without the gain. Kinds
 * that are too small to be shown have an estimate as well. */
static double told_share(const struct measure *m, const struct measure_result *r, int from, double u_idle_w, double *pm)
{
    double inside[MEASURE_KINDS] = {0}, j = 0, all_j = 0, pm2 = 0, idle = 0;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        if (!(r->unit_s[k] > 0))
            continue;
        inside[k] = k == MEASURE_REST ? 0 : seconds_in(m, (enum measure_kind)k, from) / r->unit_s[k];
        j += inside[k] * r->energy_j[k];
        all_j += r->energy_j[k];
    }
    double share = j / all_j;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        if (!(r->unit_s[k] > 0))
            continue;
        double slope = (inside[k] - share) / all_j;
        pm2 += slope * slope * r->scatter_j[k] * r->scatter_j[k];
        idle += slope * r->unit_s[k] * 2 * (isfinite(u_idle_w) ? u_idle_w : 0);
    }
    *pm = hypot(sqrt(pm2), idle);
    return share;
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
    double told_pm;
    *out = (struct layers_check){.saved_j = NAN, .told_j = NAN, .ratio = NAN, .ratio_pm = NAN};
    if (!decode->known || decode->path == JOULET_COMPONENTS_TIME || !p->layers || !(p->layer_units > 0) || left_out < 1 ||
        left_out >= m->layers || d->rounds < 2)
        return;
    double share = told_share(m, decode, m->layers - left_out + 1, u_idle_w, &told_pm);
    out->saved_j = d->less_j;
    out->told_j = share * d->j[0];
    if (share > 0) {
        out->ratio = d->share / share;
        out->ratio_pm = hypot(d->share_pm, out->ratio * told_pm) / share;
    }
    out->verdict = judge(out);
}
