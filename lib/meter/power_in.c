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
static size_t levels_of(const struct jl_edges *e, double from, double to, bool gauge, struct joulet_level *out)
{
    size_t n = 0, start = 0;
    for (size_t k = 1; k < e->n; k++) {
        const struct jl_edge *a = &e->items[start], *b = &e->items[k];
        double dt = b->t - a->t;
        if (!gauge && dt < CLEAR * (a->hw + b->hw))
            continue;
        double begin = fmax(a->t, from), inside = fmin(b->t, to) - begin;
        if (inside > 0)
            out[n++] = (struct joulet_level){.start_s = begin - from, .seconds = inside, .power_w = (b->c - a->c) / dt};
        start = k;
    }
    return n;
}

/* Appends the levels of one stretch without a restart. */
static size_t add_stretch(const struct jl_slice *s, const struct jl_params *p, double from, double to, struct joulet_level *out)
{
    struct jl_edges e;
    if (!jl_edges_of(s, p, JL_FOR_ESTIMATES, &e))
        return 0;
    size_t n = levels_of(&e, from, to, p->gauge, out);
    jl_edges_release(&e);
    return n;
}

/* Levels of one trace in [from, to), malloc'ed; NULL when there are none. */
static struct joulet_level *levels_of_trace(const struct joulet_trace *trace, joulet_mark from, joulet_mark to, size_t *n)
{
    *n = 0;
    if (to <= from || jl_check_trace(trace, NULL) != JOULET_OK)
        return NULL;
    struct jl_params p;
    jl_params_of(trace, &p);
    struct jl_slice s = jl_slice_of(trace, from + jl_ns(p.lag), to + jl_ns(p.lag), MORE, from);
    struct joulet_level *x = malloc((s.hi - s.lo + 1) * sizeof(*x));
    size_t end = s.hi;
    while (x && s.lo < end) {
        s.hi = end;
        s.hi = jl_next_restart(&s, s.lo);
        *n += add_stretch(&s, &p, p.lag, jl_s(to - from) + p.lag, x + *n);
        s.lo = s.hi;
    }
    return x;
}

void joulet_levels_power(const struct joulet_level *levels, size_t count, struct joulet_power *out)
{
    double sum = 0, weight = 0;
    struct jl_weighted *x = malloc((count + 1) * sizeof(*x));
    *out = (struct joulet_power){.min_w = NAN, .mean_w = NAN, .max_w = NAN, .p50_w = NAN, .p95_w = NAN, .updates = count};
    for (size_t i = 0; x && i < count; i++) {
        x[i] = (struct jl_weighted){.value = levels[i].power_w, .weight = levels[i].seconds};
        out->min_w = fmin(out->min_w, x[i].value); /* fmin leaves NAN out */
        out->max_w = fmax(out->max_w, x[i].value);
        sum += x[i].value * x[i].weight;
        weight += x[i].weight;
    }
    if (!x)
        return;
    out->mean_w = weight > 0 ? sum / weight : NAN;
    out->p50_w = jl_weighted_quantile(x, count, 0.50);
    out->p95_w = jl_weighted_quantile(x, count, 0.95);
    free(x);
}

void joulet_power_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to, struct joulet_power *out)
{
    size_t n;
    struct joulet_level *x = levels_of_trace(trace, from, to, &n);
    joulet_levels_power(x, n, out);
    out->updates = x ? updates_in(trace, from, to) : 0;
    free(x);
}

double joulet_levels_ramp_s(const struct joulet_level *levels, size_t count)
{
    struct joulet_power p;
    joulet_levels_power(levels, count, &p);
    for (size_t i = 0; count > 1 && i < count; i++)
        if (levels[i].power_w >= 0.9 * p.mean_w)
            return levels[i].start_s;
    return NAN;
}

/* ---- several channels -------------------------------------------------------------------------------------------- */

struct stream {
    struct joulet_level *levels;
    size_t n, at;
};

/* The level that holds from t on; NULL in a gap. Moves on only: t grows. *next is the next time at which that changes. */
static const struct joulet_level *level_at(struct stream *s, double t, double *next)
{
    while (s->at < s->n && s->levels[s->at].start_s + s->levels[s->at].seconds <= t)
        s->at++;
    if (s->at == s->n)
        return NULL;
    const struct joulet_level *x = &s->levels[s->at];
    *next = fmin(*next, x->start_s > t ? x->start_s : x->start_s + x->seconds);
    return x->start_s > t ? NULL : x;
}

/* Steps of all streams at once, at most `room`. */
static size_t merge(struct stream *s, size_t n, double end, struct joulet_level *out, size_t room)
{
    size_t count = 0;
    for (double t = 0; t < end && count < room;) {
        double sum = 0, next = end;
        bool all = true;
        for (size_t i = 0; i < n; i++) {
            const struct joulet_level *x = level_at(&s[i], t, &next);
            all = all && x;
            sum += x ? x->power_w : 0;
        }
        if (all && next > t)
            out[count++] = (struct joulet_level){.start_s = t, .seconds = next - t, .power_w = sum};
        if (!(next > t))
            break;
        t = next;
    }
    return count;
}

void joulet_levels_in(const struct joulet_trace *traces, size_t n, joulet_mark from, joulet_mark to, struct joulet_level **out,
                      size_t *count)
{
    struct stream *s = calloc(n + 1, sizeof(*s));
    size_t room = 1;
    *out = NULL;
    *count = 0;
    for (size_t i = 0; s && i < n; i++) {
        s[i].levels = levels_of_trace(&traces[i], from, to, &s[i].n);
        room += 2 * s[i].n;
    }
    if (s && n)
        *out = malloc(room * sizeof(**out));
    if (*out)
        *count = merge(s, n, jl_s(to - from), *out, room);
    for (size_t i = 0; s && i < n; i++)
        free(s[i].levels);
    free(s);
    if (!*count) {
        free(*out);
        *out = NULL;
    }
}
