/* power_in.c - power inside a window, for display and percentiles (docs/method.md 9); never summed to energies (2.6). */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define MORE  2
#define CLEAR 5 /* an interval must be so many times longer than its ends are uncertain, or its power is noise */

static bool is_update(const struct joulet_sample *x)
{
    return !(x->flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST | JOULET_SAMPLE_REPEAT));
}

static size_t updates_in(const struct joulet_trace *t, joulet_mark from, joulet_mark to)
{
    size_t n = 0;
    for (size_t i = jl_first_at(t, from); i < t->n && t->samples[i].t_ns < to; i++)
        n += is_update(&t->samples[i]);
    return n;
}

/* Levels between updates, cut to [from, to]. Returns how many. */
static size_t levels_of(const struct jl_edges *e, double from, double to, bool gauge, struct jl_weighted *out)
{
    size_t n = 0, start = 0;
    for (size_t k = 1; k < e->n; k++) {
        const struct jl_edge *a = &e->items[start], *b = &e->items[k];
        double dt = b->t - a->t;
        if (!gauge && dt < CLEAR * (a->hw + b->hw))
            continue;
        double inside = fmin(b->t, to) - fmax(a->t, from);
        if (inside > 0)
            out[n++] = (struct jl_weighted){.value = (b->c - a->c) / dt, .weight = inside};
        start = k;
    }
    return n;
}

/* Appends the levels of one stretch without a restart. */
static size_t add_stretch(const struct jl_slice *s, const struct jl_params *p, double from, double to, struct jl_weighted *out)
{
    struct jl_edges e;
    if (!jl_edges_of(s, p, JL_FOR_ESTIMATES, &e))
        return 0;
    size_t n = levels_of(&e, from, to, p->gauge, out);
    jl_edges_release(&e);
    return n;
}

static void summarise(struct jl_weighted *x, size_t n, struct joulet_power *out)
{
    double sum = 0, weight = 0;
    for (size_t i = 0; i < n; i++) {
        out->min_w = fmin(out->min_w, x[i].value); /* fmin leaves NAN out */
        out->max_w = fmax(out->max_w, x[i].value);
        sum += x[i].value * x[i].weight;
        weight += x[i].weight;
    }
    out->mean_w = weight > 0 ? sum / weight : NAN;
    out->p50_w = jl_weighted_quantile(x, n, 0.50);
    out->p95_w = jl_weighted_quantile(x, n, 0.95);
}

void joulet_power_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to, struct joulet_power *out)
{
    *out = (struct joulet_power){.min_w = NAN, .mean_w = NAN, .max_w = NAN, .p50_w = NAN, .p95_w = NAN};
    if (to <= from || jl_check_trace(trace, NULL) != JOULET_OK)
        return;
    struct jl_params p;
    jl_params_of(trace, &p);
    struct jl_slice s = jl_slice_of(trace, from + jl_ns(p.lag), to + jl_ns(p.lag), MORE, from);
    struct jl_weighted *x = malloc((s.hi - s.lo + 1) * sizeof(*x));
    if (!x)
        return;
    size_t n = 0, end = s.hi;
    while (s.lo < end) {
        s.hi = end;
        s.hi = jl_next_restart(&s, s.lo);
        n += add_stretch(&s, &p, p.lag, jl_s(to - from) + p.lag, x + n);
        s.lo = s.hi;
    }
    out->updates = updates_in(trace, from, to);
    summarise(x, n, out);
    free(x);
}
