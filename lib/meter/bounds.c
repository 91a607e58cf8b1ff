/* bounds.c - what the energy cannot be below or above, whatever happened between two updates (docs/method.md 2.4).
 *
 * No model but the limits of the device: the counter never falls, power stays between P_min and P_max, an update happened
 * somewhere in its interval, and sensor time is off by three standard uncertainties at most. Sums of power readings hold no more
 * than their updates do: where these happened at other times, other times belong to each power. */
#include "lib/meter/estimators.h"

#include <math.h>

#define LAGS        3    /* standard uncertainties that sensor time may be off */
#define JITTER      0.1  /* of the period: how far apart two updates of one device may be from it */
#define MOST_ASTRAY 0.5  /* of the period: an inserted update is never further from the device's own */
#define GAP_PERIODS 1.5  /* between two readings: one was missed */
#define GAP_POLL    0.85 /* of the period: two updates may lie between two polls */

struct interval {
    double lo, hi;
};

double jl_astray_s(int repeats, double U)
{
    return U * fmin(JITTER * repeats, MOST_ASTRAY);
}

static double half_width(const struct jl_edge *e, const struct jl_limits *l)
{
    return e->hw + l->loose_s + (e->repeats ? jl_astray_s(e->repeats, l->tile_s) : 0);
}

/* Mean power of the interval that ends at update k. */
static double power_until(const struct jl_edge *e, size_t k)
{
    return (e[k].c - e[k - 1].c) / (e[k].t - e[k - 1].t);
}

/* The power by which the sum changes with the time of update k: of the reading before it, seen from later updates; of the one
 * after it, seen from earlier ones. A counter does not change with the time at which it is seen. */
static double lean(const struct jl_edge *e, size_t n, size_t k, bool start, const struct jl_limits *l)
{
    if (!(l->tile_s > 0) || n < 2)
        return 0;
    if (start)
        return power_until(e, k + 1 < n ? k + 1 : k);
    return power_until(e, k > 0 ? k : 1);
}

/* Cumulative energy x seconds after an update (before it: x < 0) that was up to hw away from its time, where the sum moves by
 * `lean` with it. Linear in each unknown, so that the ends are at the corners. */
static struct interval reach(double c, double x, double hw, double slope, const struct jl_limits *l)
{
    struct interval r = {INFINITY, -INFINITY};
    for (int corner = 0; corner < 8; corner++) {
        double late = corner & 1 ? hw : -hw, lag = corner & 2 ? LAGS * l->u_t : -LAGS * l->u_t;
        double p = corner & 4 ? l->p_max : l->p_min, e = c + slope * late + p * (x + lag - late);
        r.lo = e < r.lo ? e : r.lo;
        r.hi = e > r.hi ? e : r.hi;
    }
    r.hi += l->q;
    return r;
}

/* Cumulative energy at a moment, and the updates [first, last] that tell it: the nearest on each side, and those beyond until
 * one is surely on its side. */
struct known {
    struct interval c;
    size_t first, last;
};

static void narrow(struct known *k, const struct jl_edge *e, size_t n, size_t i, double b, bool start, const struct jl_limits *l)
{
    struct interval r = reach(e[i].c, b - e[i].t, half_width(&e[i], l), lean(e, n, i, start, l), l);
    k->c.lo = fmax(k->c.lo, r.lo);
    k->c.hi = fmin(k->c.hi, r.hi);
    k->first = i < k->first ? i : k->first;
    k->last = i > k->last ? i : k->last;
}

static struct known bound_at(const struct jl_edge *e, size_t n, double b, bool start, const struct jl_limits *l)
{
    size_t k = jl_edge_at(e, n, b);
    struct known at = {.c = {-INFINITY, INFINITY}, .first = n};
    for (size_t i = k; i-- > 0;) {
        narrow(&at, e, n, i, b, start, l);
        if (e[i].t + half_width(&e[i], l) + LAGS * l->u_t <= b)
            break;
    }
    for (size_t i = k; i < n; i++) {
        narrow(&at, e, n, i, b, start, l);
        if (e[i].t - half_width(&e[i], l) - LAGS * l->u_t >= b)
            break;
    }
    return at;
}

/* Time before update k in which the device may have drawn what no reading told: an update was missed. */
static double unseen_s(const struct jl_edge *e, size_t k, const struct jl_limits *l)
{
    double dt = e[k].t - e[k - 1].t, hw = half_width(&e[k], l) + half_width(&e[k - 1], l);
    bool missed = dt > GAP_PERIODS * l->tile_s || (!e[k].repeats && 2 * e[k].hw > GAP_POLL * l->tile_s);
    return missed ? fmax(0, dt + hw - (1 - JITTER) * l->tile_s) : 0;
}

/* By how much sums of power readings between two updates may be too high (lo) and too low (hi): each update inside that
 * happened earlier or later moves the step of power there, and what was missed had any power. */
static struct interval doubt(const struct jl_edge *e, size_t n, size_t first, size_t last, const struct jl_limits *l)
{
    struct interval d = {0, 0};
    for (size_t k = first > 1 ? first : 1; k <= last && k + 1 < n; k++) {
        double moved = half_width(&e[k], l) * fabs(power_until(e, k + 1) - power_until(e, k));
        d.lo += moved;
        d.hi += moved;
    }
    for (size_t k = first + 1; k <= last; k++) {
        double y = power_until(e, k), unseen = unseen_s(e, k, l), dt = e[k].t - e[k - 1].t;
        d.lo += fmax(0, y - l->p_min) * unseen + l->step_w * dt;
        d.hi += fmax(0, l->p_max - y) * unseen + l->step_w * dt;
    }
    return d;
}

void jl_bounds_counter(const struct jl_edge *e, size_t n, double a, double b, const struct jl_limits *l, double *min_j,
                       double *max_j)
{
    struct known from = bound_at(e, n, a, true, l), to = bound_at(e, n, b, false, l);
    struct interval d = {0, 0};
    if (l->tile_s > 0 && n > 1)
        d = doubt(e, n, from.first < to.first ? from.first : to.first, from.last > to.last ? from.last : to.last, l);
    *min_j = fmax(fmax(to.c.lo - from.c.hi - d.lo, l->p_min * (b - a)), 0);
    *max_j = fmin(to.c.hi - from.c.lo + d.hi, l->p_max * (b - a));
}

/* Readings whose windows lie one after the other inside [a, b]: their energies are known, the rest runs between the limits. */
static struct interval chain(const struct jl_reading *r, size_t n, double a, double b, double W, const struct jl_limits *l)
{
    double known_j = 0, known_s = 0, busy_until = -INFINITY;
    for (size_t k = 0; k < n; k++) {
        double hw = r[k].hw + r[k].astray_s, h = hw + LAGS * l->u_t;
        bool within = r[k].t - W - h >= a && r[k].t + h <= b;
        if (!within || r[k].t - W - hw < busy_until)
            continue;
        known_j += W * r[k].y_w;
        known_s += W;
        busy_until = r[k].t + hw;
    }
    double rest = b - a - known_s, step_j = l->step_w * known_s;
    return (struct interval){known_j - step_j + l->p_min * rest, known_j + step_j + l->p_max * rest};
}

/* A window that holds all of [a, b]: the energy inside is its own less what the device drew beside it. */
static struct interval around(const struct jl_reading *r, double a, double b, double W, const struct jl_limits *l)
{
    double h = r->hw + r->astray_s + LAGS * l->u_t, beside = W - (b - a);
    if (r->t - W + h > a || r->t - h < b)
        return (struct interval){-INFINITY, INFINITY};
    return (struct interval){W * (r->y_w - l->step_w) - l->p_max * beside, W * (r->y_w + l->step_w) - l->p_min * beside};
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

void jl_power_range(const struct jl_edge *e, size_t n, double U, double *least_w, double *most_w)
{
    double least = INFINITY, most = -INFINITY;
    for (size_t i = 1; i < n; i++) {
        if (e[i].t - e[i - 1].t < U / 2)
            continue;
        double p = power_until(e, i);
        least = p < least ? p : least;
        most = p > most ? p : most;
    }
    *least_w = least <= most ? least : NAN;
    *most_w = least <= most ? most : NAN;
}

double jl_hidden_power(const struct jl_edge *e, size_t n, double a, double b, const struct jl_limits *l)
{
    size_t first = jl_edge_at(e, n, a), end = jl_edge_at(e, n, b), inside = 0;
    for (size_t i = first; i < end && inside < 2; i++)
        inside += e[i].t - half_width(&e[i], l) - LAGS * l->u_t >= a && e[i].t + half_width(&e[i], l) + LAGS * l->u_t <= b;
    if (inside > 1)
        return 0; /* a reading of its own */
    while (first > 0 && (first == n || e[first].t + half_width(&e[first], l) + LAGS * l->u_t > a))
        first--;
    while (end + 1 < n && e[end].t - half_width(&e[end], l) - LAGS * l->u_t < b)
        end++;
    end = end < n ? end : n - 1;
    return end > first ? (e[end].c - e[first].c + l->q) / (b - a) : 0;
}

double jl_hidden_power_of_readings(const struct jl_reading *r, size_t n, double a, double b, double W, const struct jl_limits *l)
{
    double least = INFINITY;
    for (size_t k = 0; k < n && b - a < W; k++) {
        double h = r[k].hw + r[k].astray_s + LAGS * l->u_t;
        if (r[k].t - W + h > a || r[k].t - h < b)
            continue;
        least = fmin(least, (W * (r[k].y_w + l->step_w) - l->p_min * (W - (b - a))) / (b - a));
    }
    return isfinite(least) ? least : 0;
}
