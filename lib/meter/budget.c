/* budget.c - uncertainty of a printed figure, and of sums of figures (docs/method.md 3). */
#include "lib/meter/estimators.h"

#include <math.h>
#include <string.h>

#define COVERAGE 2 /* k: about 95 % */

static double square(double x)
{
    return x * x;
}

double jl_u_rep(const struct joulet_u *u)
{
    return sqrt(square(u->q) + square(u->b) + square(u->time) + square(u->event));
}

/* Uncertainty of the gain: rectangular for a sensor; for an estimate the farther end of its interval counts as 2 u. */
static double u_spec(const struct jl_params *p, double e_j)
{
    if (p->estimated)
        return fmax(1 - p->factor_lo, p->factor_hi - 1) * fabs(e_j) / COVERAGE;
    return p->spec * fabs(e_j) / sqrt(3);
}

/* What an estimate leans on is in joules of the model, of which the truth may be factor_hi times as many. */
static void in_joules_of_the_truth(struct joulet_u *u, double factor)
{
    u->q *= factor;
    u->b *= factor;
    u->time *= factor;
    u->event *= factor;
}

/* Ends of the interval of gross (10). */
static void estimate_ends(struct joulet_energy *e, const struct jl_params *p, double rep)
{
    e->min_j = fmax(0, e->gross_j - hypot((1 - p->factor_lo) * e->gross_j, COVERAGE * rep));
    e->max_j = e->gross_j + hypot((p->factor_hi - 1) * e->gross_j, COVERAGE * rep);
}

void jl_budget(struct joulet_energy *e, const struct jl_params *p, const struct joulet_baseline *idle, double d_s, double idle_s)
{
    bool known = idle && isfinite(idle->power_w);
    double factor = p->estimated ? p->factor_hi : 1;
    in_joules_of_the_truth(&e->u, factor);
    double rep = jl_u_rep(&e->u), spec = u_spec(p, e->gross_j);
    e->gross_pm_j = COVERAGE * hypot(rep, spec);
    e->u.idle = NAN;
    e->u.spec = spec;
    e->net_j = e->net_pm_j = NAN;
    if (known) {
        e->net_j = e->gross_j - idle->power_w * d_s;
        e->u.idle = factor * idle_s * idle->u_w;
        e->u.spec = u_spec(p, e->net_j);
        e->net_pm_j = COVERAGE * sqrt(square(rep) + square(e->u.idle) + square(e->u.spec));
    }
    if (p->estimated)
        estimate_ends(e, p, rep);
}

/* ---- sums of figures ------------------------------------------------------------------------------------------------ */

static bool is_unknown(const struct joulet_energy *e)
{
    return isnan(e->gross_j) && isnan(e->net_j);
}

/* What is unknown on one side leaves the other side as it is. */
static double in_line(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : a + b;
}

static double in_quadrature(double a, double b)
{
    return isnan(a) ? b : isnan(b) ? a : hypot(a, b);
}

static double add_as(bool linear, double a, double b)
{
    return linear ? in_line(a, b) : in_quadrature(a, b);
}

/* u.spec belongs to net where net is known; that of gross is what its interval holds beside the repeatable part. */
static double spec_of_gross(const struct joulet_energy *e)
{
    return sqrt(fmax(0, square(e->gross_pm_j / COVERAGE) - square(jl_u_rep(&e->u))));
}

static double spec_of_net(const struct joulet_energy *e)
{
    return isnan(e->net_j) ? NAN : e->u.spec;
}

static double half_width(double rep, double idle, double spec, double pm_a, double pm_b)
{
    double pm = COVERAGE * sqrt(square(rep) + square(idle) + square(spec));
    return isnan(pm) ? in_quadrature(pm_a, pm_b) : pm; /* imported figures may come without their budget */
}

/* Which terms are common to both figures and add linearly. */
struct common {
    bool time, idle, spec;
};

static void sum_up(struct joulet_energy *sum, const struct joulet_energy *part, struct common c)
{
    struct joulet_energy a = *sum, b = *part;
    double net = add_as(c.spec, spec_of_net(&a), spec_of_net(&b)), gross = add_as(c.spec, spec_of_gross(&a), spec_of_gross(&b));
    sum->u = (struct joulet_u){
        .q = in_quadrature(a.u.q, b.u.q),
        .b = in_quadrature(a.u.b, b.u.b),
        .time = add_as(c.time, a.u.time, b.u.time),
        .event = in_quadrature(a.u.event, b.u.event),
        .idle = add_as(c.idle, a.u.idle, b.u.idle),
    };
    sum->net_j = in_line(a.net_j, b.net_j);
    sum->gross_j = in_line(a.gross_j, b.gross_j);
    sum->u.spec = isnan(sum->net_j) ? gross : net;
    sum->net_pm_j = isnan(sum->net_j) ? NAN : half_width(jl_u_rep(&sum->u), sum->u.idle, net, a.net_pm_j, b.net_pm_j);
    sum->gross_pm_j = isnan(sum->gross_j) ? NAN : half_width(jl_u_rep(&sum->u), 0, gross, a.gross_pm_j, b.gross_pm_j);
    sum->min_j = a.min_j + b.min_j; /* bounds of a sum need the bounds of all of it */
    sum->max_j = a.max_j + b.max_j;
    sum->tail_j = a.tail_j + b.tail_j;
    sum->provenance = a.provenance > b.provenance ? a.provenance : b.provenance;
    sum->flags = a.flags | b.flags;
    if (isnan(a.net_j) != isnan(b.net_j) || isnan(a.gross_j) != isnan(b.gross_j))
        sum->flags |= JOULET_FLAG_PARTIAL;
    if (a.method && b.method && strcmp(a.method, b.method) != 0)
        sum->method = "sum";
}

/* The first figure of a sum: as it is, with the flags of what was missing before it. */
static void start_sum(struct joulet_energy *sum, const struct joulet_energy *part)
{
    uint32_t flags = sum->flags;
    *sum = *part;
    sum->flags |= flags;
}

void joulet_energy_add(struct joulet_energy *sum, const struct joulet_energy *part, bool same_type)
{
    if (is_unknown(part))
        sum->flags |= part->flags | JOULET_FLAG_PARTIAL;
    else if (is_unknown(sum))
        start_sum(sum, part);
    else
        sum_up(sum, part, (struct common){.spec = same_type});
}

void joulet_energy_chain(struct joulet_energy *sum, const struct joulet_energy *next)
{
    if (is_unknown(next)) /* the energy of an unresolved phase is in its neighbour (2.2): nothing is missing */
        sum->flags |= next->flags | (next->flags & JOULET_FLAG_UNRESOLVED ? 0 : JOULET_FLAG_PARTIAL);
    else if (is_unknown(sum))
        start_sum(sum, next);
    else
        sum_up(sum, next, (struct common){.time = true, .idle = true, .spec = true});
    if (sum->flags & JOULET_FLAG_JOINED)
        sum->flags &= ~(uint32_t)JOULET_FLAG_UNRESOLVED;
}

void joulet_energy_idle(const struct joulet_baseline *level, double seconds, struct joulet_energy *out)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *out = unknown;
    if (isnan(level->power_w) || isnan(seconds))
        return;
    double u_j = isnan(level->u_w) ? 0 : level->u_w * seconds;
    out->gross_j = level->power_w * seconds;
    out->gross_pm_j = COVERAGE * u_j;
    out->u = (struct joulet_u){.spec = u_j};
    out->method = "idle-level/1";
}
