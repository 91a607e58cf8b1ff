/* slow_view.c - what one reading of a slow gauge is of the power: a mean over its period, the power of one moment, or filtered
 * (docs/method.md 2.2, slow gauges). */
#include "lib/meter/slow.h"

#include <math.h>

#define MOMENT  0.02 /* of the period: "one moment" */
#define FLICKER 0.02 /* power noise, of the power, ... */
#define ROUGH   2    /* of it, where it is error only: some loads are rougher */
#define TAU_S   0.05 /* ... correlated over this time */

/* Ends of the quarters of an exponential, in time constants; the last as long as its mean says. */
static const double quarter[JL_SLOW_PARTS + 1] = {0, 0.28768, 0.69315, 1.38629, 3.38629};

struct jl_view jl_view_span(double from, double to)
{
    return (struct jl_view){.from = {from}, .to = {to}, .weight = {1}, .n = 1};
}

/* Several readings as one are a mean over their time, as much earlier or later as each of them is. */
static struct jl_view together(const struct jl_slow_reading *r, const struct jl_way *way, double U)
{
    double later = way->shows == JL_SHOWS_MEAN ? 0 : U / 2 - way->tau;
    return jl_view_span(r->t - r->dt + later, r->t + later);
}

struct jl_view jl_view_of(const struct jl_slow_reading *r, const struct jl_way *way, double U)
{
    if (r->count > 1)
        return together(r, way, U);
    if (way->shows == JL_SHOWS_MEAN)
        return jl_view_span(r->t - U, r->t);
    if (way->shows == JL_SHOWS_MOMENT)
        return jl_view_span(r->t - MOMENT * U, r->t);
    struct jl_view v = {.n = JL_SLOW_PARTS};
    for (size_t i = 0; i < v.n; i++) {
        v.to[i] = r->t - quarter[i] * way->tau;
        v.from[i] = r->t - quarter[i + 1] * way->tau;
        v.weight[i] = 1.0 / JL_SLOW_PARTS;
    }
    return v;
}

static double middle(double from, double to)
{
    return from + (to - from) / 2;
}

/* Of two stretches that overlap in part: cut where they begin and end, the pieces are apart or the same. */
static double overlapping(double a, double b, double c, double d)
{
    double cut[4] = {fmin(a, c), fmax(a, c), fmin(b, d), fmax(b, d)}, sum = 0;
    for (int i = 0; i < 3; i++) {
        double li = cut[i + 1] - cut[i];
        if (!(li > 0) || cut[i] < a || cut[i + 1] > b)
            continue;
        for (int k = 0; k < 3; k++) {
            double lk = cut[k + 1] - cut[k];
            int first = i < k ? i : k;
            if (!(lk > 0) || cut[k] < c || cut[k + 1] > d)
                continue;
            sum += li * lk * (i == k ? cut[i] + li / 3 : middle(cut[first], cut[first + 1]));
        }
    }
    return sum / ((b - a) * (d - c));
}

static double stretches(double a, double b, double c, double d)
{
    if (b <= c)
        return middle(a, b);
    return d <= a ? middle(c, d) : overlapping(a, b, c, d);
}

double jl_view_covariance(const struct jl_view *a, const struct jl_view *b)
{
    double sum = 0;
    for (size_t i = 0; i < a->n; i++)
        for (size_t k = 0; k < b->n; k++)
            sum += a->weight[i] * b->weight[k] * stretches(a->from[i], a->to[i], b->from[k], b->to[k]);
    return sum;
}

double jl_view_within(const struct jl_view *v, double from, double to)
{
    double sum = 0;
    for (size_t i = 0; i < v->n; i++)
        sum += v->weight[i] * fmax(0, fmin(to, v->to[i]) - fmax(from, v->from[i])) / (v->to[i] - v->from[i]);
    return sum;
}

double jl_view_after(const struct jl_view *v, double t)
{
    return jl_view_within(v, t, INFINITY);
}

double jl_view_flicker(double p_w)
{
    return 2 * FLICKER * p_w * FLICKER * p_w * TAU_S;
}

double jl_view_noise(const struct jl_slow_reading *r, const struct jl_way *way, double U)
{
    if (way->shows == JL_SHOWS_MEAN)
        return jl_view_flicker(r->y_w) / (U * (double)r->count);
    return ROUGH * jl_view_flicker(r->y_w) / (fmax(2 * way->tau, 2 * TAU_S) * (double)r->count); /* none of it is energy */
}

double jl_view_missed(const struct jl_slow_reading *r, const struct jl_way *way, double U)
{
    return way->shows == JL_SHOWS_MEAN || r->count < 2 ? 0 : (double)r->count * U * U * U / (12 * r->dt * r->dt);
}
