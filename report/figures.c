/* figures.c - energies as they are shown. A measured energy has a symmetric interval; an estimate lies between two ends that are
 * far from alike (docs/method.md 10), so it is shown as both ends. Which channels estimate is said by the record's channels. */
#include "report/internal.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define FAR_APART 50.0

bool counted(const struct run_request *q)
{
    return !q->warmup && q->outcome == RUN_OK;
}

/* ---- one energy -------------------------------------------------------------------------------------------------- */

static bool estimates(const struct joulet_channel *c)
{
    return c && (c->factor_lo < 1 || c->factor_hi > 1);
}

/* What the interval holds beside the model's own doubt: readings, boundaries, and the idle level under a net figure. */
static double other_terms(const struct joulet_energy *e, bool net)
{
    const double u[] = {e->u.q, e->u.b, e->u.time, e->u.event, net ? e->u.idle : NAN};
    double sum = 0;
    for (size_t i = 0; i < JL_COUNT(u); i++)
        sum += isnan(u[i]) ? 0 : u[i] * u[i];
    return 2 * sqrt(sum);
}

static struct figure channel_figure(const struct joulet_channel *c, const struct joulet_energy *e, bool net)
{
    struct figure f = {.j = net ? e->net_j : e->gross_j, .pm = net ? e->net_pm_j : e->gross_pm_j, .estimate = estimates(c)};
    double a = f.estimate ? f.j - c->factor_lo * f.j : f.pm, b = f.estimate ? c->factor_hi * f.j - f.j : f.pm;
    double more = f.estimate ? other_terms(e, net) : 0;
    f.lo = f.j - hypot(f.j < 0 ? b : a, more);
    f.lo = f.estimate && !net ? fmax(0, f.lo) : f.lo; /* as min_j: no machine gives energy back */
    f.hi = f.j + hypot(f.j < 0 ? a : b, more);
    return f;
}

void figure_of_channel(const struct run *r, const char *channel, const struct joulet_energy *e, struct figure *net,
                       struct figure *gross)
{
    const struct joulet_channel *c = run_channel(r, channel);
    *net = channel_figure(c, e, true);
    *gross = channel_figure(c, e, false);
}

/* Without channels of its own (a record of another tool) the bounds of gross give the ends of both. */
static struct figure bare_figure(const struct joulet_energy *e, double j, double pm)
{
    struct figure f = {.j = j, .pm = pm, .lo = j - pm, .hi = j + pm};
    if (e->provenance == JOULET_ESTIMATED && e->gross_j > 0 && isfinite(e->min_j) && isfinite(e->max_j)) {
        f.estimate = true;
        f.lo = j * e->min_j / e->gross_j;
        f.hi = j * e->max_j / e->gross_j;
    }
    return f;
}

/* Total of an energy. Ends of parts add up; a measured part brings its interval along. */
static struct figure total_figure(const struct run *r, const struct run_energy *e, bool net)
{
    double j = net ? e->total.net_j : e->total.gross_j, pm = net ? e->total.net_pm_j : e->total.gross_pm_j;
    struct figure f = {.j = j, .pm = pm, .lo = 0, .hi = 0};
    for (size_t i = 0; i < e->n_channels; i++) {
        const struct joulet_channel *c = run_channel(r, e->channels[i].channel);
        const struct joulet_energy *x = &e->channels[i].e;
        struct figure part = channel_figure(c, x, net);
        if (!c || !c->in_total || isnan(part.j))
            continue;
        f.estimate |= part.estimate;
        f.lo += isnan(part.lo) ? part.j : part.lo;
        f.hi += isnan(part.hi) ? part.j : part.hi;
    }
    return f.estimate ? f : bare_figure(&e->total, j, pm);
}

struct figure figure_net(const struct run *r, const struct run_energy *e)
{
    return total_figure(r, e, true);
}

struct figure figure_gross(const struct run *r, const struct run_energy *e)
{
    return total_figure(r, e, false);
}

/* Ends that are orders of magnitude apart: each with digits of its own, or the lower one would be rounded away. */
static double coarseness(double lo, double hi)
{
    return lo > 0 && hi > FAR_APART * lo ? NAN : hi - lo;
}

static struct number between(double lo, double hi, const char *unit)
{
    double width = coarseness(lo, hi);
    return number_f("%s to %s %s", number_coarse(lo, width).text, number_coarse(hi, width).text, unit);
}

static struct number estimate_text(const struct figure *f, double factor, const char *unit, const struct report_style *style)
{
    double lo = f->lo * factor, hi = f->hi * factor;
    return number_f("%s %s %s (%s)", text_about(style), number_coarse(f->j * factor, coarseness(lo, hi)).text, unit,
                    between(lo, hi, unit).text);
}

struct number figure_scaled(const struct figure *f, double factor, const char *unit, const struct report_style *style)
{
    if (!isfinite(f->j * factor))
        return (struct number){"-"};
    return f->estimate ? estimate_text(f, factor, unit, style) : number_pm(f->j * factor, f->pm * fabs(factor), unit, style);
}

struct number figure_text(const struct figure *f, const struct report_style *style)
{
    struct number n;
    if (!isfinite(f->j))
        return (struct number){"-"};
    if (f->estimate)
        return estimate_text(f, 1, "J", style);
    joulet_format_j(n.text, sizeof n.text, f->j, f->pm, style->utf8);
    return n;
}

/* ---- sums -------------------------------------------------------------------------------------------------------- */

void part_init(struct part *p, const char *name)
{
    static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    *p = (struct part){.e = unknown, .updates = -1, .power_min_w = NAN, .power_mean_w = NAN, .power_max_w = NAN};
    p->net = p->gross = (struct figure){.j = NAN, .pm = NAN};
    snprintf(p->name, sizeof p->name, "%s", name);
}

static void add_ends(struct figure *sum, const struct figure *f)
{
    if (isnan(f->j))
        return;
    sum->estimate |= f->estimate;
    sum->lo += isnan(f->lo) ? f->j : f->lo;
    sum->hi += isnan(f->hi) ? f->j : f->hi;
}

static void add_energy(struct part *p, const struct run *r, const struct run_energy *e)
{
    struct figure net = figure_net(r, e), gross = figure_gross(r, e);
    joulet_energy_chain(&p->e, &e->total);
    add_ends(&p->net, &net);
    add_ends(&p->gross, &gross);
    p->net.j = p->e.net_j;
    p->net.pm = p->e.net_pm_j;
    p->gross.j = p->e.gross_j;
    p->gross.pm = p->e.gross_pm_j;
    p->n++;
}

void part_add_energy(struct part *p, const struct run *r, const struct run_energy *e)
{
    add_energy(p, r, e);
}

static void add_power(struct part *p, const struct run_window *w)
{
    double before_s = p->seconds, now_s = run_window_s(w);
    if (!isnan(w->power_min_w))
        p->power_min_w = isnan(p->power_min_w) ? w->power_min_w : fmin(p->power_min_w, w->power_min_w);
    if (!isnan(w->power_max_w))
        p->power_max_w = isnan(p->power_max_w) ? w->power_max_w : fmax(p->power_max_w, w->power_max_w);
    if (!isnan(w->power_mean_w) && before_s + now_s > 0)
        p->power_mean_w = isnan(p->power_mean_w) ? w->power_mean_w
                                                 : (p->power_mean_w * before_s + w->power_mean_w * now_s) / (before_s + now_s);
    if (w->updates >= 0)
        p->updates = p->updates < 0 ? w->updates : p->updates + w->updates;
    p->seconds += now_s;
}

void part_add_window(struct part *p, const struct run *r, const struct run_window *w)
{
    add_energy(p, r, &w->energy);
    add_power(p, w);
}

void part_add_request(struct part *p, const struct run *r, const struct run_request *q)
{
    add_energy(p, r, &q->energy);
    for (size_t i = 0; i < q->n_windows; i++)
        add_power(p, &q->windows[i]);
}

void part_jointly(struct part *p, const struct run *r)
{
    struct part whole;
    if (!run_is_joint(r))
        return;
    part_init(&whole, p->name);
    add_energy(&whole, r, &r->energy);
    p->e = whole.e;
    p->net = whole.net;
    p->gross = whole.gross;
}

void part_of_run(struct part *p, const struct run *r)
{
    add_energy(p, r, &r->energy);
    for (size_t i = 0; i < r->n_windows; i++)
        if (!strcmp(r->windows[i].name, "run"))
            add_power(p, &r->windows[i]);
    if (p->seconds == 0)
        p->seconds = jl_s(r->end_ns - r->start_ns);
}

/* No reading fell inside: a point value would be a guess (2.3). */
static bool only_bounds(const struct part *p)
{
    return (p->e.flags & JOULET_FLAG_UNRESOLVED) && !(p->e.flags & JOULET_FLAG_JOINED) && p->n == 1;
}

struct number part_net(const struct part *p, const struct report_style *style)
{
    return only_bounds(p) ? number_f("-") : figure_text(&p->net, style);
}

struct number part_gross(const struct part *p, const struct report_style *style)
{
    if (only_bounds(p) && isfinite(p->e.min_j) && isfinite(p->e.max_j))
        return between(p->e.min_j, p->e.max_j, "J");
    return only_bounds(p) ? number_f("-") : figure_text(&p->gross, style);
}
