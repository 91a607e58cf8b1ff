/* within.c - estimates held inside what is guaranteed (docs/method.md, end of 2.4).
 *
 * A model of steady power may carry an estimate beyond its bounds, which lean on no model. It is then moved to where they allow,
 * and what it is moved by is doubt about it. The whole, known better than where its parts meet, stays where it may, and its parts
 * share what that takes by their variances. */
#include "lib/meter/measure.h"

#include <math.h>

#define HALVINGS 200 /* of the multiplier: until it changes no more */
#define BEYOND   2   /* standard uncertainties that an estimate may be moved without a word */

static double held(const struct jl_held *h, double multiplier)
{
    double e = h->e_j + (multiplier == 0 ? 0 : multiplier * h->u_j * h->u_j);
    return fmin(fmax(e, h->lo), h->hi);
}

static double sum_of(const struct jl_held *parts, size_t n, double multiplier)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += held(&parts[i], multiplier);
    return sum;
}

/* Parts without doubt move too when nothing else can. */
static void make_movable(struct jl_held *parts, size_t n)
{
    double most = 0;
    for (size_t i = 0; i < n; i++)
        most = fmax(most, parts[i].u_j);
    for (size_t i = 0; i < n; i++)
        parts[i].u_j = fmax(parts[i].u_j, most > 0 ? 1e-6 * most : 1);
}

/* The multiplier at which the parts sum to `target`, or come nearest to it: the sum grows with it. */
static double multiplier_for(const struct jl_held *parts, size_t n, double target)
{
    double lo = 0, hi = 0, step = 1;
    bool up = sum_of(parts, n, 0) < target;
    for (int i = 0; i < HALVINGS && (up ? sum_of(parts, n, hi) < target : sum_of(parts, n, lo) > target); i++, step *= 2)
        *(up ? &hi : &lo) = up ? step : -step;
    for (int i = 0; i < HALVINGS; i++) {
        double mid = lo + (hi - lo) / 2;
        if (sum_of(parts, n, mid) < target)
            lo = mid;
        else
            hi = mid;
    }
    return up ? hi : lo;
}

static bool is_within(const struct jl_held *h)
{
    return h->e_j >= h->lo && h->e_j <= h->hi;
}

void jl_hold_within(struct jl_held *parts, size_t n, const struct jl_held *whole)
{
    bool all = is_within(whole);
    for (size_t i = 0; i < n; i++)
        all = all && is_within(&parts[i]);
    if (all)
        return;
    double target = held(whole, 0), multiplier = 0;
    make_movable(parts, n);
    if (sum_of(parts, n, 0) != target)
        multiplier = multiplier_for(parts, n, target);
    for (size_t i = 0; i < n; i++)
        parts[i].e_j = held(&parts[i], multiplier);
}

/* ---- for a job ------------------------------------------------------------------------------------------------------- */

static struct jl_held held_of(const struct jl_job *j, const struct jl_group *g)
{
    struct jl_held h = {.e_j = g->e_j, .u_j = jl_u_rep(&g->u)};
    jl_job_bounds(j, g->first, g->last, &h.lo, &h.hi);
    h.lo = isnan(h.lo) ? -INFINITY : h.lo;
    h.hi = isnan(h.hi) ? INFINITY : h.hi;
    return h;
}

/* Moved further than it was said to be uncertain: the readings are not those of steady phases. */
static void move(struct jl_group *g, double e_j)
{
    double moved = fabs(e_j - g->e_j);
    if (moved > BEYOND * jl_u_rep(&g->u))
        g->flags |= JOULET_FLAG_MISMATCH;
    g->u.b = hypot(g->u.b, moved);
    g->e_j = e_j;
}

void jl_groups_hold(struct jl_job *j)
{
    struct jl_held parts[JOULET_PHASES_MAX];
    double sum = 0;
    if (j->p.estimated) /* its bounds are its interval (10) */
        return;
    for (size_t i = 0; i < j->n_groups; i++) {
        if (!j->groups[i].ok)
            return;
        parts[i] = held_of(j, &j->groups[i]);
    }
    struct jl_held whole = held_of(j, &j->whole);
    jl_hold_within(parts, j->n_groups, &whole);
    for (size_t i = 0; i < j->n_groups; i++) {
        if (parts[i].e_j != j->groups[i].e_j)
            move(&j->groups[i], parts[i].e_j);
        sum += parts[i].e_j;
    }
    if (sum != j->whole.e_j)
        move(&j->whole, sum);
}
