/* counter.c - cumulative energy at the boundaries of phases, from both sides (docs/method.md 2.2, two slopes).
 *
 * The counter is known at its updates only, and a boundary falls between two of them. Power follows its cause, so the slope
 * before a boundary is right up to it and the slope after it is right from there on: both are carried to the boundary and
 * weighed by what each may be wrong. */
#include "lib/meter/estimators.h"

#include <math.h>

#define NEAREST    5    /* update intervals that make a slope */
#define STEADINESS 0.02 /* power is known to stay within 2 % at best */
#define ASTRAY     0.2  /* share of an extrapolated energy that counts as its uncertainty */
#define MISMATCH   4    /* both sides may differ by so many standard uncertainties */

/* Edges [first, last] inside [from, to]; last < first when there are none. */
struct range {
    size_t first, end;
};

static struct range inside(const struct jl_edge *e, size_t n, double from, double to)
{
    struct range r = {jl_edge_at(e, n, from), jl_edge_at(e, n, to)};
    while (r.end < n && e[r.end].t <= to)
        r.end++;
    return r;
}

/* Population sd of the powers of single intervals. */
static double spread(const struct jl_edge *e, size_t first, size_t last)
{
    double sum = 0, square = 0, count = (double)(last - first);
    for (size_t i = first + 1; i <= last; i++)
        sum += (e[i].c - e[i - 1].c) / (e[i].t - e[i - 1].t);
    for (size_t i = first + 1; i <= last; i++) {
        double d = (e[i].c - e[i - 1].c) / (e[i].t - e[i - 1].t) - sum / count;
        square += d * d;
    }
    return sqrt(square / count);
}

struct jl_slope jl_slope_in(const struct jl_edge *e, size_t n, double from, double to, bool at_end)
{
    struct range r = inside(e, n, from, to);
    if (r.end < r.first + 2)
        return (struct jl_slope){.p = NAN, .s_p = NAN};
    size_t first = r.first, last = r.end - 1;
    if (last - first > NEAREST) {
        if (at_end)
            first = last - NEAREST;
        else
            last = first + NEAREST;
    }
    double dt = e[last].t - e[first].t, p = (e[last].c - e[first].c) / dt;
    double by_time = fabs(p) * hypot(e[first].hw, e[last].hw) / sqrt(3) / dt;
    return (struct jl_slope){.p = p, .s_p = fmax(fmax(STEADINESS * fabs(p), spread(e, first, last)), by_time), .ok = true};
}

/* One side's opinion: energy at the boundary and its variance. */
struct side {
    double e, v, p;
    bool ok;
};

static struct side carry(const struct jl_edge *from, const struct jl_slope *s, double dt)
{
    if (!s->ok)
        return (struct side){.e = NAN, .v = NAN, .p = NAN};
    double by_time = s->p * from->hw / sqrt(3), by_slope = s->s_p * dt;
    return (struct side){.e = from->c + s->p * dt, .v = by_time * by_time + by_slope * by_slope, .p = s->p, .ok = true};
}

/* Outside the trace the nearest slope must do. */
static struct jl_cum extrapolate(const struct jl_edge *e, size_t n, double b, bool after)
{
    const struct jl_edge *end = after ? &e[n - 1] : &e[0];
    struct jl_slope s = jl_slope_in(e, n, -INFINITY, INFINITY, after);
    double dt = b - end->t, added = s.p * dt;
    return (struct jl_cum){
        .e_j = end->c + added,
        .u_j = hypot(s.p * end->hw / sqrt(3), s.s_p * dt) + ASTRAY * fabs(added),
        .g_w = s.p,
        .before_w = s.p,
        .after_w = s.p,
        .flags = after ? JOULET_FLAG_TRUNCATED : JOULET_FLAG_NO_LEAD_IN,
    };
}

static struct jl_cum meet(const struct side *l, const struct side *r)
{
    double v = l->v + r->v, w = v > 0 ? r->v / v : 0.5;
    struct jl_cum c = {.e_j = w * l->e + (1 - w) * r->e, .u_j = sqrt(w * l->v), .g_w = w * l->p + (1 - w) * r->p};
    if (fabs(l->e - r->e) > MISMATCH * sqrt(v)) { /* not two steady powers: the truth is anywhere between the sides */
        c.flags = JOULET_FLAG_MISMATCH;
        c.u_j = hypot(c.u_j, fmax(fabs(l->e - c.e_j), fabs(r->e - c.e_j)) / sqrt(3));
    }
    return c;
}

/* No update near enough on either side: somewhere between the two values around it. */
static struct jl_cum between(const struct jl_edge *before, const struct jl_edge *after, double b)
{
    double g = (after->c - before->c) / (after->t - before->t);
    return (struct jl_cum){
        .e_j = before->c + g * (b - before->t),
        .u_j = (after->c - before->c) / sqrt(12),
        .g_w = g,
        .flags = JOULET_FLAG_UNRESOLVED,
    };
}

/* Power before boundary j, on which the rise after it starts: the left slope; without one the mean since the last boundary. */
static double power_before(const struct side *l, const struct side *r, const double *bd, size_t j, const struct jl_cum *done)
{
    if (l->ok)
        return l->p;
    return j > 0 ? (r->e - done[j - 1].e_j) / (bd[j] - bd[j - 1]) : r->p;
}

static struct jl_cum cum(const struct jl_edge *e, size_t n, const double *bd, size_t m, size_t j, double u_r,
                         const struct jl_cum *done)
{
    double b = bd[j], from = j > 0 ? bd[j - 1] : -INFINITY, to = j < m ? bd[j + 1] : INFINITY;
    if (b < e[0].t || b > e[n - 1].t)
        return extrapolate(e, n, b, b > e[n - 1].t);
    size_t k = jl_edge_at(e, n, b);
    k = k < 1 ? 1 : k;
    struct jl_slope none = {0}, ls = none, rs = none;
    if (e[k - 1].t >= from)
        ls = jl_slope_in(e, n, from, b, true);
    if (e[k].t <= to)
        rs = jl_slope_in(e, n, b, to, false);
    struct side l = carry(&e[k - 1], &ls, b - e[k - 1].t), r = carry(&e[k], &rs, b - e[k].t);
    if (r.ok) {
        double late = u_r * (r.p - power_before(&l, &r, bd, j, done));
        r.v += late * late;
    }
    struct jl_cum c;
    if (l.ok && r.ok)
        c = meet(&l, &r);
    else if (l.ok || r.ok)
        c = (struct jl_cum){.e_j = l.ok ? l.e : r.e, .u_j = sqrt(l.ok ? l.v : r.v), .g_w = l.ok ? l.p : r.p};
    else
        c = between(&e[k - 1], &e[k], b);
    c.before_w = l.p;
    c.after_w = r.p;
    return c;
}

void jl_cum_at(const struct jl_edge *e, size_t n, const double *bd, size_t m, double u_r, struct jl_cum *out)
{
    for (size_t j = 0; j <= m; j++)
        out[j] = cum(e, n, bd, m, j, u_r, out);
}
