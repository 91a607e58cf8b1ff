/* layers.c - a kind of component draws the same power in each layer: assumed, and here held against what leaving some layers out
 * saves. The gain of the sensor cancels; two idle levels, each measured by itself, do not. */
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
    return s / p->layer_units;
}

/* Joules of a token in the layers from `from` (1: the first), and half of their interval without the gain. Kinds that are too
 * small to be shown have an estimate as well. */
static double told(const struct measure *m, const struct measure_result *r, int from, double u_idle_w, double *pm_j)
{
    double j = 0, pm2 = 0, s = 0;
    for (int kind = 0; kind < MEASURE_REST; kind++) {
        double in_s = seconds_in(m, (enum measure_kind)kind, from), share = r->unit_s[kind] > 0 ? in_s / r->unit_s[kind] : 0;
        if (share <= 0)
            continue;
        j += share * r->energy_j[kind];
        pm2 += share * share * r->scatter_j[kind] * r->scatter_j[kind];
        s += in_s;
    }
    *pm_j = hypot(sqrt(pm2), 2 * (isfinite(u_idle_w) ? u_idle_w : 0) * s);
    return j;
}

static enum layers_verdict judge(const struct layers_check *c)
{
    if (!isfinite(c->ratio) || !isfinite(c->ratio_pm))
        return LAYERS_UNTOLD;
    if (fabs(c->ratio - 1) > fmax(c->ratio_pm, LAYERS_CLOSURE))
        return LAYERS_DIFFERENT;
    return c->ratio_pm <= LAYERS_PM_MOST ? LAYERS_ALIKE : LAYERS_UNTOLD;
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
    out->told_j = told(m, decode, m->layers - left_out + 1, u_idle_w, &told_pm);
    out->saved_j = d->less_j;
    if (out->told_j > 0) {
        out->ratio = d->less_j / out->told_j;
        out->ratio_pm = hypot(d->less_pm, out->ratio * told_pm) / out->told_j;
    }
    out->verdict = judge(out);
}
