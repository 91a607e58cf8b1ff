/* idle.c - the level above which net energy counts, and the way back to it (docs/method.md 4).
 *
 * The mean, not the median or a low percentile: background bursts that lift the idle level also happen during runs. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define MORE        24   /* samples on each side, so that levels reach past the ends */
#define LEAST_S     2.0  /* a span shorter than two batches says nothing about spread */
#define SELDOM      2    /* spans in the period of a counter: then it has no level in one */
#define COVERED     0.75 /* share of a span that the trace must hold */
#define R1_MOST     0.8
#define FLOOR       0.01 /* batch means alone are too sure of themselves */
#define SHORT_FLOOR 0.02
#define TOUCH_S     1e-9

/* Cumulative energy over a span that begins at 0 s and lasts d_s: the updates inside it, first..last. Never the interval that
 * reaches past the end: it may hold the first joules of the run. */
struct level {
    struct jl_edges edges;
    size_t first, last;
};

static enum joulet_status open_level(const struct joulet_trace *t, const struct jl_params *p, int64_t from, int64_t to,
                                     struct level *out, struct joulet_error *err)
{
    *out = (struct level){0};
    struct jl_slice s = jl_slice_of(t, from, to, MORE, from);
    if (jl_is_frozen(t, p, from, to, t->channel.power_min_w))
        return jl_fail(err, JOULET_FROZEN, "%s did not move during the idle span; leave it out or check its driver",
                       jl_channel_name(t));
    if (!jl_cut_at_restarts(&s, from, to))
        return jl_fail(err, JOULET_RESET, "%s restarted inside the idle span; take the idle level again", jl_channel_name(t));
    if (!jl_edges_of(&s, p, JL_FOR_ESTIMATES, &out->edges))
        return jl_fail(err, JOULET_MEMORY, "out of memory for the idle level of %s; measure a shorter span", jl_channel_name(t));
    const struct jl_edges *e = &out->edges;
    size_t end = jl_edge_at(e->items, e->n, jl_s(to - from) + TOUCH_S);
    out->first = jl_edge_at(e->items, e->n, -TOUCH_S);
    out->last = end > 0 ? end - 1 : 0;
    /* A device that updates slowly: its last whole interval may have begun a little earlier. */
    if (out->first > 0 && p->U > jl_s(to - from) / 4)
        out->first--;
    return jl_ok(err);
}

static double start_of(const struct level *l)
{
    return l->edges.items[l->first].t;
}

static double end_of(const struct level *l)
{
    return l->edges.items[l->last].t;
}

/* Do the updates inside make up most of the span? */
static bool covered(const struct level *l, double d_s)
{
    return l->edges.n > 1 && l->last > l->first && end_of(l) - start_of(l) >= COVERED * d_s;
}

static double mean_power(const struct level *l, double from, double to)
{
    const struct jl_edges *e = &l->edges;
    return (jl_edges_level(e->items, e->n, to) - jl_edges_level(e->items, e->n, from)) / (to - from);
}

void jl_baseline_of_means(const double *x, size_t n, struct joulet_baseline *out)
{
    *out = (struct joulet_baseline)JOULET_BASELINE_NONE;
    if (n < 2)
        return;
    double r1 = fmin(fmax(jl_autocorrelation(x, n), 0), R1_MOST);
    out->power_w = jl_mean(x, n);
    out->sd_w = jl_sd(x, n);
    out->u_w = hypot(out->sd_w / sqrt((double)n) * sqrt((1 + r1) / (1 - r1)), FLOOR * out->power_w);
}

/* Batches of about 1 s. */
static enum joulet_status batches(const struct level *l, struct joulet_baseline *out, struct joulet_error *err)
{
    double from = start_of(l), to = end_of(l);
    size_t n = (size_t)fmax(2, floor(to - from + 0.5));
    double *x = malloc(n * sizeof(*x)), step = (to - from) / (double)n;
    if (!x)
        return jl_fail(err, JOULET_MEMORY, "out of memory for %zu seconds of idle level; measure a shorter span", n);
    for (size_t i = 0; i < n; i++)
        x[i] = mean_power(l, from + step * (double)i, from + step * (double)(i + 1));
    jl_baseline_of_means(x, n, out);
    free(x);
    return jl_ok(err);
}

/* A counter that moves once a minute says nothing of ten seconds: what is between two of its values may all be a run's. */
static bool too_seldom(const struct jl_params *p, double span_s)
{
    return !p->gauge && p->U > SELDOM * span_s;
}

static enum joulet_status say_too_seldom(const struct joulet_trace *trace, const struct jl_params *p, double span_s,
                                         struct joulet_error *err)
{
    return jl_fail(err, JOULET_NO_DATA,
                   "%s counts once in %.0f s, too seldom for an idle level of %.1f s, so its net energy is not known; another "
                   "channel of the device tells it",
                   jl_channel_name(trace), p->U, span_s);
}

enum joulet_status joulet_baseline_from(const struct joulet_trace *trace, joulet_mark from, joulet_mark to,
                                        struct joulet_baseline *out, struct joulet_error *err)
{
    struct jl_params p;
    struct level l;
    *out = (struct joulet_baseline)JOULET_BASELINE_NONE;
    enum joulet_status status = jl_check_trace(trace, err);
    if (status != JOULET_OK)
        return status;
    if (jl_s(to - from) < LEAST_S)
        return jl_fail(err, JOULET_TOO_SHORT, "the idle level of %s needs 2 s and got %.1f s; wait longer before the run",
                       jl_channel_name(trace), jl_s(to - from));
    jl_params_of(trace, &p);
    if (too_seldom(&p, jl_s(to - from)))
        return say_too_seldom(trace, &p, jl_s(to - from), err);
    if ((status = open_level(trace, &p, from, to, &l, err)) != JOULET_OK)
        return status;
    if (covered(&l, jl_s(to - from)))
        status = batches(&l, out, err);
    else
        status = jl_fail(err, JOULET_NO_DATA, "the trace of %s does not cover the idle span; open the meter earlier",
                         jl_channel_name(trace));
    jl_edges_release(&l.edges);
    out->from_ns = from;
    out->to_ns = to;
    return status;
}

/* Mean power over a span of any length; NAN when the trace does not hold it. */
static enum joulet_status span_level(const struct joulet_trace *trace, const struct jl_params *p, joulet_mark from,
                                     joulet_mark to, double *power_w, struct joulet_error *err)
{
    struct level l;
    *power_w = NAN;
    enum joulet_status status = open_level(trace, p, from, to, &l, err);
    if (status == JOULET_OK && covered(&l, jl_s(to - from)))
        *power_w = mean_power(&l, start_of(&l), end_of(&l));
    jl_edges_release(&l.edges);
    return status;
}

/* Sensor time from which no reading holds energy from before t. */
static joulet_mark past(joulet_mark t, const struct jl_params *p)
{
    return t + jl_ns(p->l_max + (p->gauge ? fmax(0, p->W - p->U) : 0));
}

enum joulet_status joulet_baseline_short(const struct joulet_trace *trace, joulet_mark before_from, joulet_mark before_to,
                                         joulet_mark after_from, joulet_mark after_to, struct joulet_baseline *out,
                                         struct joulet_error *err)
{
    struct jl_params p;
    double before, after = NAN;
    *out = (struct joulet_baseline)JOULET_BASELINE_NONE;
    enum joulet_status status = jl_check_trace(trace, err);
    if (status != JOULET_OK)
        return status;
    if (before_to <= before_from)
        return jl_fail(err, JOULET_TOO_SHORT, "the span before the run is empty; open the meter a second earlier");
    jl_params_of(trace, &p);
    if (too_seldom(&p, jl_s(before_to - before_from)))
        return say_too_seldom(trace, &p, jl_s(before_to - before_from), err);
    if ((status = span_level(trace, &p, before_from, before_to, &before, err)) != JOULET_OK)
        return status;
    if (isnan(before))
        return jl_fail(err, JOULET_NO_DATA,
                       "the trace of %s does not cover the span before the run; open the meter a second earlier",
                       jl_channel_name(trace));
    if (after_to > past(after_from, &p)) /* a level after that cannot be had leaves the level before as it is */
        span_level(trace, &p, past(after_from, &p), after_to, &after, NULL);
    *out = (struct joulet_baseline){
        .power_w = before,
        .u_w = fmax(SHORT_FLOOR * before, isnan(after) ? 0 : fabs(after - before) / 2),
        .sd_w = NAN,
        .from_ns = before_from,
        .to_ns = before_to,
        .flags = JOULET_FLAG_SHORT_BASELINE,
    };
    return jl_ok(err);
}
