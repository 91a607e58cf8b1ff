/* components.c - from seconds of each component in each sensor window to the power of each component (8): non-negative least
 * squares, accepted only where the windows tell the components apart and their sum closes. Who timed the components, and how, is
 * the caller's. */
#include "lib/base/base.h"
#include "lib/stats/regress.h"

#include <math.h>

#define CONDITION_MAX 30.0 /* of the columns scaled to unit length */
#define CLOSURE_MAX   0.05 /* sum of components against what was measured */
#define SMALL         0.03 /* share of time below which only a limit is given */

/* How far from 0 a kind may be whose power came out negative: without the bound. INFINITY where nothing tells it apart. */
static double held_at_zero(const struct jl_equations *e, size_t c, double variance)
{
    struct jl_regression all;
    return jl_least_squares(e, &all) ? sqrt(fmax(0, all.cov[c][c] * variance)) : INFINITY;
}

enum joulet_status joulet_components_fit(const double *energy_j, const double *seconds, size_t windows, size_t kinds,
                                         struct joulet_component_powers *out, struct joulet_error *err)
{
    struct jl_equations e;
    struct jl_regression r;
    *out = (struct joulet_component_powers){.condition = INFINITY, .rss_j2 = NAN};
    if (kinds < 1 || kinds > JOULET_COMPONENTS_MAX)
        return jl_fail(err, JOULET_USAGE, "%zu kinds of components were asked for; a fit has 1 to %d", kinds,
                       (int)JOULET_COMPONENTS_MAX);
    if (windows <= kinds)
        return jl_fail(err, JOULET_TOO_SHORT, "%zu sensor windows cannot tell %zu components apart: measure for longer", windows,
                       kinds);
    jl_equations_init(&e, kinds);
    for (size_t i = 0; i < windows; i++)
        jl_equations_add(&e, seconds + i * kinds, energy_j[i], 1);
    out->condition = jl_condition(&e);
    jl_non_negative(&e, &r);
    double active = 0;
    for (size_t c = 0; c < kinds; c++)
        active += r.active[c];
    double variance = r.rss / fmax(1, (double)windows - active);
    out->rss_j2 = r.rss;
    for (size_t c = 0; c < kinds; c++) {
        out->power_w[c] = r.x[c];
        out->u_w[c] = r.active[c] ? sqrt(fmax(0, r.cov[c][c] * variance)) : held_at_zero(&e, c, variance);
    }
    return jl_ok(err);
}

static double clamp_shift(double x0, double x1, double y0, double y1)
{
    return fmax(0, fmin(x1, y1) - fmax(x0, y0));
}

/* Seconds of each kind in [from, to), from its stretches in the order of time; *first is where the next window begins to look. */
static void seconds_in(const struct joulet_stretch *s, size_t n, size_t *first, double from, double to, double *row, size_t kinds)
{
    for (size_t c = 0; c < kinds; c++)
        row[c] = 0;
    while (*first < n && s[*first].end_s <= from)
        ++*first;
    for (size_t i = *first; i < n && s[i].start_s < to; i++)
        if (s[i].kind < kinds)
            row[s[i].kind] += clamp_shift(s[i].start_s, s[i].end_s, from, to);
}

void joulet_components_seconds(const struct joulet_stretch *stretches, size_t n, const double *ends_s, size_t windows,
                               double lag_s, size_t kinds, double *seconds)
{
    size_t first = 0;
    for (size_t i = 0; i < windows; i++)
        seconds_in(stretches, n, &first, ends_s[i] - lag_s, ends_s[i + 1] - lag_s, seconds + i * kinds, kinds);
}

void joulet_components_of(const struct joulet_component_powers *p, const double *token_s, size_t kinds, double measured_j,
                          struct joulet_component_shares *out)
{
    double sum_j = 0, time_s = 0;
    *out = (struct joulet_component_shares){.closure = NAN};
    for (size_t c = 0; c < kinds && c < JOULET_COMPONENTS_MAX; c++) {
        out->energy_j[c] = p->power_w[c] * token_s[c];
        out->u_j[c] = p->u_w[c] * token_s[c];
        sum_j += out->energy_j[c];
        time_s += token_s[c];
    }
    for (size_t c = 0; c < kinds && c < JOULET_COMPONENTS_MAX; c++)
        out->limit_only[c] = token_s[c] < SMALL * time_s;
    if (measured_j > 0)
        out->closure = sum_j / measured_j;
    out->accepted = p->condition <= CONDITION_MAX && fabs(out->closure - 1) <= CLOSURE_MAX;
    if (out->accepted)
        return;
    for (size_t c = 0; c < kinds && c < JOULET_COMPONENTS_MAX; c++) { /* all at mean power, and marked so */
        out->energy_j[c] = time_s > 0 ? measured_j * token_s[c] / time_s : NAN;
        out->u_j[c] = NAN;
    }
}
