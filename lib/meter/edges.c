/* edges.c - from samples to updates: seconds and joules, bad times left out (docs/method.md 1.3, 2.1).
 *
 * Two things make the time of an update badly known: a read that itself took long, and a poll that came late. Both still bound
 * the energy, so the guaranteed bounds keep them while the estimates do without. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define LATE_BY      1.5  /* an update whose half-width exceeds this many medians was found by a late poll (1.3) */
#define SIDE         8    /* updates on either side that show what is usual, ... */
#define LEAST        3    /* ... and how many must be there */
#define HARMLESS     1e-3 /* of the period: reads so exact that their jitter is no reason to drop one */
#define GAP_PERIODS  1.5  /* between two power readings: one was missed */
#define EVEN         0.1  /* of the period: so far two of them may be from twice the usual */
#define SCATTER_W    0.3  /* of a single power reading, whatever the power does */
#define SAME_TIME_S  1e-9
#define IS_NO_UPDATE (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST)

size_t jl_edge_at(const struct jl_edge *e, size_t n, double x)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (e[mid].t < x)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

size_t jl_add_around(size_t k, size_t n, size_t side, size_t *index, size_t count)
{
    size_t next = count ? index[count - 1] + 1 : 0;
    size_t lo = k > side ? k - side : 0, hi = k + side < n ? k + side : n;
    for (size_t i = lo > next ? lo : next; i < hi; i++)
        index[count++] = i;
    return count;
}

double jl_edges_level(const struct jl_edge *e, size_t n, double x)
{
    if (n < 2)
        return NAN;
    size_t k = jl_edge_at(e, n, x);
    k = k < 1 ? 1 : k > n - 1 ? n - 1 : k;
    return e[k - 1].c + (e[k].c - e[k - 1].c) * (x - e[k - 1].t) / (e[k].t - e[k - 1].t);
}

/* Median half-width of up to SIDE updates from first on; NAN when there are too few to tell what is usual. */
static double usual_hw(const double *hw, size_t first, size_t end)
{
    double x[SIDE];
    if (end - first < LEAST)
        return NAN;
    memcpy(x, hw + first, (end - first) * sizeof(*x));
    return jl_median(x, end - first);
}

/* Worse than what is usual on both sides: the reader may have begun to look closer in the middle of the trace. */
static bool is_late(const double *hw, size_t n, size_t i, double U)
{
    double before = usual_hw(hw, i > SIDE ? i - SIDE : 0, i), after = usual_hw(hw, i + 1, n - i - 1 > SIDE ? i + 1 + SIDE : n);
    double usual = fmax(before, after); /* fmax leaves NAN out */
    if (isnan(usual))
        usual = usual_hw(hw, 0, n < SIDE ? n : SIDE);
    return hw[i] > LATE_BY * usual && hw[i] > HARMLESS * U; /* not if nothing is usual */
}

size_t jl_edges_clean(struct jl_edge *e, size_t n, double U)
{
    double *hw = malloc((n ? n : 1) * sizeof(*hw));
    size_t kept = 0;
    double loose = 0, hidden = 0;
    bool dropped = false;
    if (!hw)
        return n; /* nothing is dropped then: worse, not wrong */
    for (size_t i = 0; i < n; i++)
        hw[i] = e[i].hw;
    for (size_t i = 0; i < n; i++) {
        loose = hypot(loose, e[i].loose_u);
        hidden = hypot(hidden, dropped ? e[i].loose_u : e[i].hidden_u); /* of a dropped one, its time too */
        dropped = i > 0 && is_late(hw, n, i, U);
        if (dropped)
            continue;
        e[kept] = e[i];
        e[kept].hidden_u = hidden;
        e[kept++].loose_u = loose; /* of all that ends here */
        loose = hidden = 0;
    }
    free(hw);
    return kept;
}

/* An event-locked update knows its time far better than the polled ones within 2 U of it, on either side. The very first stays:
 * nothing else tells of the time before. */
size_t jl_edges_unlock(struct jl_edge *e, size_t n, double U)
{
    size_t kept = 0;
    double last_locked = -INFINITY;
    while (kept < n && !e[kept].locked)
        kept++;
    for (size_t i = kept; i < n; i++) {
        if (!e[i].locked && e[i].t - last_locked <= 2 * U)
            continue;
        if (e[i].locked) {
            last_locked = e[i].t;
            while (kept > 1 && !e[kept - 1].locked && e[i].t - e[kept - 1].t <= 2 * U)
                kept--;
        }
        e[kept++] = e[i];
    }
    return kept;
}

/* A power reading that comes late stands for a time that nobody saw: it may have been at the last level instead of this one. */
static double gap_u(double y, double y_before, double dt, double U)
{
    return dt > GAP_PERIODS * U ? fabs(y - y_before) * (dt - U) / sqrt(3) : 0;
}

/* The power changed when the last update happened, which is known to hw only. */
static double change_u(double y, double y_before, double hw)
{
    return hw * (y - y_before) / sqrt(3);
}

/* Updates that were inserted while readings stayed equal (1.3) run apart from the device's own; the last of them was one period
 * before the change that ended them. NAN where that cannot be: a reading was missed. */
static double last_repeat_at(double before, double repeat, double change, double U)
{
    double t = change - U;
    return fabs(t - repeat) < U / 2 + SAME_TIME_S && t > before + SAME_TIME_S ? t : NAN;
}

static struct jl_edge edge_of(const struct jl_slice *s, const struct joulet_sample *x)
{
    return (struct jl_edge){
        .t = jl_s(x->t_ns - s->origin_ns),
        .hw = jl_s(x->hw_ns),
        .locked = x->flags & JOULET_SAMPLE_LOCKED,
        .late = x->flags & JOULET_SAMPLE_LATE,
    };
}

static void sum_counter(const struct jl_slice *s, struct jl_edges *out)
{
    const struct joulet_sample *all = s->trace->samples;
    struct jl_edge *next = out->items;
    int64_t from = all[s->lo].value;
    double before = -INFINITY;
    for (size_t i = s->lo; i < s->hi; i++) {
        double t = jl_s(all[i].t_ns - s->origin_ns);
        if ((all[i].flags & IS_NO_UPDATE) || t - before <= SAME_TIME_S)
            continue;
        *next = edge_of(s, &all[i]);
        next++->c = (double)(all[i].value - from) * 1e-6;
        before = t;
    }
    out->n = (size_t)(next - out->items);
}

/* The repeats before a change end with it. */
static void mend_repeat(struct jl_edges *e, double change, double hw, double U)
{
    struct jl_edge *last = &e->items[e->n - 1];
    if (!last->repeats || e->n < 2)
        return;
    double y = (last->c - last[-1].c) / (last->t - last[-1].t);
    double t = last_repeat_at(last[-1].t, last->t, change, U);
    if (isnan(t))
        return;
    last->t = t;
    last->c = last[-1].c + y * (t - last[-1].t);
    last->hw = hw;
    last->repeats = 1; /* known again, but for the jitter of the device */
}

/* Nearest update beside sample i that was not inserted; NULL when there is none. */
static const struct joulet_sample *beside(const struct jl_slice *s, size_t i, int step)
{
    for (size_t k = i + (size_t)step; k < s->hi && k + 1 > s->lo; k += (size_t)step)
        if (!(s->trace->samples[k].flags & IS_NO_UPDATE))
            return s->trace->samples[k].flags & JOULET_SAMPLE_REPEAT ? NULL : &s->trace->samples[k];
    return NULL;
}

/* An update found by a late poll: two neighbours known better, two periods apart, tell its time better than its own interval
 * does, as far as that reaches. false: it stays as it is. */
static bool mend_late(const struct jl_slice *s, size_t i, double U, double *t, double *hw)
{
    const struct joulet_sample *l = beside(s, i, -1), *r = beside(s, i, 1);
    if (!l || !r || (s->trace->samples[i].flags & JOULET_SAMPLE_REPEAT))
        return false;
    double usual = fmax(jl_s(l->hw_ns), jl_s(r->hw_ns)), apart = jl_s(r->t_ns - l->t_ns);
    if (*hw <= LATE_BY * usual || *hw <= HARMLESS * U || fabs(apart - 2 * U) > EVEN * U)
        return false;
    double middle = jl_s(l->t_ns - s->origin_ns) + apart / 2;
    *t = fmin(fmax(middle, *t - *hw), *t + *hw);
    *hw = usual;
    return true;
}

static void sum_power(const struct jl_slice *s, double U, bool mend, struct jl_edges *out)
{
    double before = 0;
    for (size_t i = s->lo; i < s->hi; i++) {
        const struct joulet_sample *x = &s->trace->samples[i];
        if (x->flags & IS_NO_UPDATE)
            continue;
        struct jl_edge e = edge_of(s, x);
        double y = (double)x->value * 1e-6;
        if (mend)
            mend_late(s, i, U, &e.t, &e.hw);
        if (out->n) {
            const struct jl_edge *prev = &out->items[out->n - 1];
            if (e.t - prev->t <= SAME_TIME_S)
                continue;
            if (x->flags & JOULET_SAMPLE_REPEAT)
                e.repeats = prev->repeats + 1;
            else
                mend_repeat(out, e.t, e.hw, U);
            e.c = prev->c + y * (e.t - prev->t);
            e.hidden_u = gap_u(y, before, e.t - prev->t, U);
            e.loose_u = hypot(hypot(e.hidden_u, change_u(y, before, prev->hw)), SCATTER_W * (e.t - prev->t));
        }
        before = y;
        out->items[out->n++] = e;
    }
}

/* A read that took long is left out where a good one is beside it. Where such reads are the rule they are all there is: each
 * stands with the half-width that it has, and the interval of the figure grows with it. */
static size_t leave_late_out(struct jl_edge *e, size_t n)
{
    size_t kept = 0;
    while (kept < n && !e[kept].late)
        kept++;
    bool good_before = kept > 0;
    for (size_t i = kept; i < n; i++) {
        bool late = e[i].late, beside_good = good_before || (i + 1 < n && !e[i + 1].late);
        good_before = !late;
        if (!late || !beside_good)
            e[kept++] = e[i];
    }
    return kept;
}

/* Leaves out what only bounds the energy, in place. */
static void keep_for_estimates(struct jl_edges *e, const struct jl_params *p)
{
    if (!p->gauge)
        e->n = leave_late_out(e->items, e->n);
    if (p->dense)
        e->n = jl_edges_unlock(e->items, e->n, p->U);
    if (p->by_change)
        e->n = jl_edges_clean(e->items, e->n, p->U);
}

bool jl_edges_of(const struct jl_slice *s, const struct jl_params *p, enum jl_edge_use use, struct jl_edges *out)
{
    size_t most = s->hi - s->lo;
    *out = (struct jl_edges){.items = malloc((most ? most : 1) * sizeof(*out->items))};
    if (!out->items)
        return false;
    if (p->gauge)
        sum_power(s, p->U, use == JL_FOR_ESTIMATES, out);
    else
        sum_counter(s, out);
    if (use == JL_FOR_ESTIMATES)
        keep_for_estimates(out, p);
    return true;
}

bool jl_edges_for_estimates(const struct jl_slice *s, const struct jl_params *p, const struct jl_edges *all, struct jl_edges *out)
{
    if (p->gauge) /* badly timed readings are mended, which changes the sum */
        return jl_edges_of(s, p, JL_FOR_ESTIMATES, out);
    *out = (struct jl_edges){.items = malloc((all->n ? all->n : 1) * sizeof(*out->items)), .n = all->n};
    if (!out->items)
        return false;
    memcpy(out->items, all->items, all->n * sizeof(*out->items));
    keep_for_estimates(out, p);
    return true;
}

void jl_edges_release(struct jl_edges *e)
{
    free(e->items);
    *e = (struct jl_edges){0};
}

static void mend_reading(struct jl_reading *last, double change, double hw, double U)
{
    double t = last_repeat_at(last[-1].t, last->t, change, U);
    if (!isnan(t))
        *last = (struct jl_reading){.t = t, .hw = hw, .y_w = last->y_w, .astray_s = jl_astray_s(1, U)};
}

bool jl_readings_of(const struct jl_slice *s, double U, struct jl_readings *out)
{
    size_t most = s->hi - s->lo;
    int repeats = 0;
    *out = (struct jl_readings){.items = malloc((most ? most : 1) * sizeof(*out->items))};
    if (!out->items)
        return false;
    for (size_t i = s->lo; i < s->hi; i++) {
        const struct joulet_sample *x = &s->trace->samples[i];
        struct jl_reading *last = out->n ? &out->items[out->n - 1] : NULL;
        double t = jl_s(x->t_ns - s->origin_ns);
        if ((x->flags & IS_NO_UPDATE) || (last && t - last->t <= SAME_TIME_S))
            continue;
        bool repeat = x->flags & JOULET_SAMPLE_REPEAT;
        if (repeats > 0 && out->n > 1 && !repeat)
            mend_reading(last, t, jl_s(x->hw_ns), U);
        repeats = repeat ? repeats + 1 : 0;
        struct jl_reading r = {t, jl_s(x->hw_ns), (double)x->value * 1e-6, jl_astray_s(repeats, U)};
        if (mend_late(s, i, U, &r.t, &r.hw)) /* bounds believe its own interval only */
            r.astray_s += fabs(r.t - t) + fmax(0, jl_s(x->hw_ns) - r.hw);
        out->items[out->n++] = r;
    }
    return true;
}

void jl_readings_release(struct jl_readings *r)
{
    free(r->items);
    *r = (struct jl_readings){0};
}
