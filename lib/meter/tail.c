/* tail.c - the energy above idle between the end of a run and the return to the idle level (docs/method.md 4.3, 4.4).
 * Reported beside the run's energy, never inside it. */
#include "lib/meter/estimators.h"

#include <math.h>
#include <stdlib.h>

#define MORE          24
#define SETTLED_SD    3
#define SETTLED_SHARE 0.02
#define SETTLED_FOR   3 /* 1 s means that must agree */
#define TOUCH_S       1e-9

/* Both make *e begin with 0 J at 0 s, the end of the run in event time, followed by the updates after it. */
static bool begin_counter(const struct jl_slice *s, const struct jl_params *p, struct jl_edges *e)
{
    struct jl_cum c;
    double end = p->lag;
    if (!jl_edges_of(s, p, JL_FOR_ESTIMATES, e))
        return false;
    size_t k = jl_edge_at(e->items, e->n, end + TOUCH_S), kept = 1;
    if (e->n < 2 || k == 0 || k == e->n) {
        e->n = 0;
        return true;
    }
    jl_cum_at(e->items, e->n, &end, 0, p->u_r, &c);
    for (; k < e->n; k++)
        e->items[kept++] = (struct jl_edge){.t = e->items[k].t - p->lag, .c = e->items[k].c - c.e_j};
    e->items[0] = (struct jl_edge){0};
    e->n = kept;
    return true;
}

/* Readings whose window holds some of the run say nothing about the time after it: the first clean one stands for that time. */
static bool begin_power(const struct jl_slice *s, const struct jl_params *p, struct jl_edges *e)
{
    struct jl_readings r;
    double middle = p->lag + (p->W - p->U) / 2;
    *e = (struct jl_edges){0};
    if (!jl_readings_of(s, p->U, &r))
        return false;
    e->items = calloc(r.n + 1, sizeof(*e->items));
    if (e->items) {
        e->n = 1;
        for (size_t k = 0; k < r.n; k++) {
            const struct jl_edge *prev = &e->items[e->n - 1];
            double t = r.items[k].t - middle;
            if (r.items[k].t - p->lag - p->W >= 0 && t > prev->t)
                e->items[e->n++] = (struct jl_edge){.t = t, .c = prev->c + r.items[k].y_w * (t - prev->t)};
        }
    }
    jl_readings_release(&r);
    return e->items != NULL;
}

/* Energy drawn until t seconds after the end. */
static double drawn(const struct jl_edges *e, double t)
{
    return jl_edges_level(e->items, e->n, t);
}

/* Mean power of second s after the end. */
static double second(const struct jl_edges *e, double s)
{
    return drawn(e, s + 1) - drawn(e, s);
}

/* `count` 1 s means from second s on lie within tol of a level. */
static bool steady(const struct jl_edges *e, double s, int count, double level, double tol)
{
    for (int i = 0; i < count; i++)
        if (!(fabs(second(e, s + i) - level) <= tol))
            return false;
    return true;
}

static double level_over(const struct jl_edges *e, double s, int count)
{
    return (drawn(e, s + count) - drawn(e, s)) / count;
}

static double tolerance(const struct joulet_baseline *idle)
{
    double sd = isfinite(idle->sd_w) ? idle->sd_w : 0;
    return fmax(SETTLED_SD * sd, SETTLED_SHARE * idle->power_w);
}

/* Never back at the idle level: the tail is cut at the cap, and a steady level elsewhere means that idle itself has moved. */
static void cut_at_cap(const struct jl_edges *e, double last, double tol, double P0, double cap_s, struct joulet_tail *out)
{
    double from = floor(last + TOUCH_S) - SETTLED_FOR;
    out->settle_s = cap_s;
    out->tail_j = drawn(e, cap_s) - P0 * cap_s;
    if (from < 0)
        return;
    double level = level_over(e, from, SETTLED_FOR);
    if (!steady(e, from, SETTLED_FOR, level, tol))
        return;
    out->level_w = level;
    out->flags |= JOULET_FLAG_IDLE_DRIFT;
}

/* Where the cap itself is shorter than three seconds (4.2), what fits below it must agree. */
static bool is_brief(double cap_s)
{
    return cap_s < SETTLED_FOR;
}

static void follow(const struct jl_edges *e, const struct joulet_baseline *idle, double cap_s, struct joulet_tail *out)
{
    bool brief = is_brief(cap_s);
    int count = brief ? (int)fmax(1, floor(cap_s)) : SETTLED_FOR;
    double held = e->items[e->n - 1].t, last = fmin(held, brief ? cap_s : cap_s + SETTLED_FOR);
    double tol = tolerance(idle), P0 = idle->power_w;
    for (double s = 0; s <= cap_s && s + count <= last + TOUCH_S; s++) {
        if (!steady(e, s, count, P0, tol))
            continue;
        out->settle_s = s;
        out->tail_j = drawn(e, s) - P0 * s;
        out->level_w = level_over(e, s, count);
        return;
    }
    if (held >= cap_s - TOUCH_S)
        cut_at_cap(e, last, tol, P0, cap_s, out);
}

enum joulet_status joulet_tail_from(const struct joulet_trace *trace, const struct joulet_baseline *idle, joulet_mark end,
                                    double cap_s, struct joulet_tail *out, struct joulet_error *err)
{
    struct jl_params p;
    struct jl_edges e;
    *out = (struct joulet_tail){.tail_j = NAN, .settle_s = NAN, .level_w = NAN};
    enum joulet_status status = jl_check_trace(trace, err);
    if (status != JOULET_OK)
        return status;
    if (!idle || !isfinite(idle->power_w))
        return jl_fail(err, JOULET_USAGE, "the tail of %s needs an idle level; take one before the run", jl_channel_name(trace));
    jl_params_of(trace, &p);
    joulet_mark until = end + jl_ns(cap_s + (is_brief(cap_s) ? 0 : SETTLED_FOR) + p.lag + p.W);
    struct jl_slice s = jl_slice_of(trace, end, until, MORE, end);
    if (!jl_cut_at_restarts(&s, end, end))
        return jl_fail(err, JOULET_RESET, "%s restarted at the end of the run; its tail is unknown", jl_channel_name(trace));
    if (!(p.counter ? begin_counter(&s, &p, &e) : begin_power(&s, &p, &e)))
        return jl_fail(err, JOULET_MEMORY, "out of memory for the tail of %s; measure a shorter span", jl_channel_name(trace));
    if (e.n > 1)
        follow(&e, idle, cap_s, out);
    else
        status =
            jl_fail(err, JOULET_NO_DATA, "the trace of %s ends with the run; keep the meter open longer", jl_channel_name(trace));
    jl_edges_release(&e);
    return status;
}
