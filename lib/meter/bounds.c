/* bounds.c - what the energy cannot be below or above, whatever happened between two updates (docs/method.md 2.4).
 *
 * No model but the limits of the device: the counter never falls, power stays between P_min and P_max, an update happened
 * somewhere in its interval, and sensor time is off by three standard uncertainties at most. */
#include "lib/meter/estimators.h"

#include <math.h>

struct interval {
    double lo, hi;
};

/* Cumulative energy x seconds after an update (before it: x < 0) whose time is known to +-h. */
static struct interval reach(double c, double x, double h, const struct jl_limits *l)
{
    double far = fabs(x) + h, near = fabs(x) - h;
    double least = near > 0 ? l->p_min * near : l->p_max * near; /* near < 0: the update may lie on the other side */
    if (x >= 0)
        return (struct interval){c + least, c + l->q + l->p_max * far};
    return (struct interval){c - l->p_max * far, c + l->q - least};
}

static struct interval bound_at(const struct jl_edge *e, size_t n, double b, const struct jl_limits *l)
{
    size_t k = jl_edge_at(e, n, b);
    struct interval i = {-INFINITY, INFINITY};
    if (k > 0) {
        struct interval before = reach(e[k - 1].c, b - e[k - 1].t, e[k - 1].hw + 3 * l->u_t, l);
        i = before;
    }
    if (k < n) {
        struct interval after = reach(e[k].c, b - e[k].t, e[k].hw + 3 * l->u_t, l);
        i.lo = fmax(i.lo, after.lo);
        i.hi = fmin(i.hi, after.hi);
    }
    return i;
}

void jl_bounds_counter(const struct jl_edge *e, size_t n, double a, double b, const struct jl_limits *l, double *min_j,
                       double *max_j)
{
    struct interval from = bound_at(e, n, a, l), to = bound_at(e, n, b, l);
    *min_j = fmax(fmax(to.lo - from.hi, l->p_min * (b - a)), 0);
    *max_j = fmin(to.hi - from.lo, l->p_max * (b - a));
}

/* Readings whose windows lie one after the other inside [a, b]: their energies are known, the rest runs between the limits. */
static struct interval chain(const struct jl_reading *r, size_t n, double a, double b, double W, const struct jl_limits *l)
{
    double known_j = 0, known_s = 0, busy_until = -INFINITY;
    for (size_t k = 0; k < n; k++) {
        double h = r[k].hw + 3 * l->u_t;
        bool within = r[k].t - W - h >= a && r[k].t + h <= b;
        if (!within || r[k].t - W - r[k].hw < busy_until)
            continue;
        known_j += W * r[k].y_w;
        known_s += W;
        busy_until = r[k].t + r[k].hw;
    }
    double rest = b - a - known_s;
    return (struct interval){known_j + l->p_min * rest, known_j + l->p_max * rest};
}

/* A window that holds all of [a, b]: the energy inside is its own less what the device drew beside it. */
static struct interval around(const struct jl_reading *r, double a, double b, double W, const struct jl_limits *l)
{
    double h = r->hw + 3 * l->u_t, beside = W - (b - a);
    if (r->t - W + h > a || r->t - h < b)
        return (struct interval){-INFINITY, INFINITY};
    return (struct interval){W * r->y_w - l->p_max * beside, W * r->y_w - l->p_min * beside};
}

void jl_bounds_power(const struct jl_reading *r, size_t n, double a, double b, double W, const struct jl_limits *l, double *min_j,
                     double *max_j)
{
    struct interval best = chain(r, n, a, b, W, l);
    for (size_t k = 0; k < n; k++) {
        struct interval i = around(&r[k], a, b, W, l);
        best.lo = fmax(best.lo, i.lo);
        best.hi = fmin(best.hi, i.hi);
    }
    *min_j = fmax(fmax(best.lo, l->p_min * (b - a)), 0);
    *max_j = fmin(best.hi, l->p_max * (b - a));
}

double jl_largest_power(const struct jl_edge *e, size_t n, double U)
{
    double most = NAN;
    for (size_t i = 1; i < n; i++) {
        double dt = e[i].t - e[i - 1].t;
        if (dt >= U / 2)
            most = fmax(most, (e[i].c - e[i - 1].c) / dt);
    }
    return most;
}
