/* figures.c - from groups to the figures that are handed out: net, interval, bounds, flags (docs/method.md 2.4, 3). */
#include "lib/meter/measure.h"

#include "lib/sensors/estimate.h"

#include <math.h>

#define TOUCH         1e-9 /* relative: bounds that meet may cross by rounding */
#define FILTERED_SPEC 0.25 /* only counters with energy filtering have so wide a gain (1.1) */
#define LONG_WINDOW_S 0.5  /* readings over longer windows, again and again over the same time, are no instant power (1.1) */

static uint32_t channel_flags(const struct jl_job *j)
{
    uint32_t flags = 0;
    if (j->p.estimated && j->p.factor_lo <= JL_ESTIMATE_GUESSED_LO + 1e-9)
        flags |= JOULET_FLAG_GUESSED;
    if (!j->p.estimated && j->p.dense && !j->p.gauge && j->p.spec >= FILTERED_SPEC)
        flags |= JOULET_FLAG_FILTERED;
    if (!j->p.estimated && j->p.gauge && j->p.W >= LONG_WINDOW_S && j->p.W > 1.5 * j->p.U)
        flags |= JOULET_FLAG_AVERAGED;
    if (!j->idle)
        return flags | JOULET_FLAG_NO_BASELINE;
    return flags | (j->idle->flags & JOULET_FLAG_SHORT_BASELINE);
}

/* What happened to the readings from bd to bd, and whether there can be enough of them. */
static uint32_t window_flags(const struct jl_job *j, double from, double to)
{
    int64_t a = j->slice.origin_ns + jl_ns(from + j->p.lag), b = j->slice.origin_ns + jl_ns(to + j->p.lag);
    uint32_t flags = !j->calm && jl_any_failed(j->trace, a, b) ? JOULET_FLAG_GAP : 0;
    if (!j->calm && jl_any_starved(j->trace, a, b))
        flags |= JOULET_FLAG_STARVED;
    if (!j->p.estimated && to - from < j->p.U)
        flags |= JOULET_FLAG_SLOW_SENSOR;
    return flags;
}

static const char *method(const struct jl_job *j, bool whole)
{
    if (whole && j->padded)
        return "padded-difference/1";
    if (j->fit)
        return "phase-fit/1";
    if (j->slow)
        return "slow-gauge/1";
    return j->joint ? "joint-fit/1" : "two-slope/1";
}

void jl_job_bounds(const struct jl_job *j, size_t first, size_t last, double *min_j, double *max_j)
{
    double a = j->bd[first] + j->p.lag, b = j->bd[last + 1] + j->p.lag;
    *min_j = *max_j = NAN;
    if (!isfinite(j->limits.p_max))
        return;
    if (j->p.counter)
        jl_bounds_counter(j->all.items, j->all.n, a, b, &j->limits, min_j, max_j);
    else
        jl_bounds_power(j->readings.items, j->readings.n, a, b, j->p.W, &j->limits, min_j, max_j);
    if (*min_j > *max_j + TOUCH * fabs(*max_j)) /* limits that the device does not keep guarantee nothing */
        *min_j = *max_j = NAN;
    *max_j = *min_j > *max_j ? *min_j : *max_j;
}

static void bounds(const struct jl_job *j, size_t first, size_t last, struct joulet_energy *e)
{
    jl_job_bounds(j, first, last, &e->min_j, &e->max_j);
    e->min_j *= j->p.factor_lo;
    e->max_j *= j->p.factor_hi;
}

static struct joulet_energy unknown(const struct jl_job *j, uint32_t flags)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.provenance = j->trace->channel.provenance;
    e.flags = flags | channel_flags(j);
    return e;
}

/* The readings of an estimate are the load of a processor through a curve: that they do not go in steps at the moments of a run,
 * and that whole and parts differ by a little, says nothing about energy, whose interval is the curve's. */
static uint32_t doubts(const struct jl_job *j, uint32_t flags)
{
    return j->p.estimated ? flags & ~(uint32_t)(JOULET_FLAG_MISMATCH | JOULET_FLAG_INCONSISTENT) : flags;
}

static struct joulet_energy figure(const struct jl_job *j, const struct jl_group *g, bool whole)
{
    double d = j->bd[g->last + 1] - j->bd[g->first];
    struct joulet_energy e = unknown(j, g->flags | window_flags(j, j->bd[g->first], j->bd[g->last + 1]));
    bounds(j, g->first, g->last, &e);
    if (g->last + 1 == j->m)
        e.flags |= j->lost_flag;
    if (!j->consistent)
        e.flags |= JOULET_FLAG_INCONSISTENT;
    e.flags = doubts(j, e.flags);
    if (!g->ok) { /* nothing holds it: a sum over it lacks it */
        e.flags |= JOULET_FLAG_UNRESOLVED | JOULET_FLAG_PARTIAL;
        return e;
    }
    e.gross_j = g->e_j;
    e.u = g->u;
    e.method = method(j, whole);
    jl_budget(&e, &j->p, j->idle, d, whole ? j->idle_s : d);
    return e;
}

static size_t longest(const struct jl_job *j, const struct jl_group *g)
{
    size_t best = g->first;
    for (size_t i = g->first; i <= g->last; i++)
        if (j->bd[i + 1] - j->bd[i] > j->bd[best + 1] - j->bd[best])
            best = i;
    return best;
}

/* The longest phase of a group carries its energy; the others keep what can be guaranteed of them alone. */
static void fill_group(const struct jl_job *j, const struct jl_group *g, struct joulet_energy *parts)
{
    size_t carrier = longest(j, g);
    for (size_t i = g->first; i <= g->last; i++) {
        struct joulet_energy *e = &parts[j->index[i]];
        if (i == carrier) {
            *e = figure(j, g, false);
            e->flags |= g->first < g->last && g->ok ? JOULET_FLAG_JOINED : 0;
        } else {
            *e = unknown(j, JOULET_FLAG_UNRESOLVED | window_flags(j, j->bd[i], j->bd[i + 1]));
            bounds(j, i, i, e);
        }
    }
}

/* A phase without duration draws nothing: that is known exactly. */
static struct joulet_energy nothing(const struct jl_job *j)
{
    struct joulet_energy e = unknown(j, 0);
    e.gross_j = e.gross_pm_j = e.min_j = e.max_j = 0;
    e.u = (struct joulet_u){0};
    e.method = "none";
    jl_budget(&e, &j->p, j->idle, 0, 0);
    return e;
}

static void fill_rest(const struct jl_job *j, struct joulet_measured *out)
{
    bool lasts[JOULET_PHASES_MAX] = {false};
    for (size_t i = 0; i < j->m; i++)
        lasts[j->index[i]] = true;
    for (size_t i = 0; i < j->what->n_phases; i++)
        if (j->lost[i])
            out->parts[i] = unknown(j, j->lost_flag);
        else if (!lasts[i])
            out->parts[i] = nothing(j);
}

void jl_figures_fill(const struct jl_job *j, struct joulet_measured *out)
{
    fill_rest(j, out);
    if (j->m == 0) {
        out->whole = j->lost_flag ? unknown(j, j->lost_flag) : nothing(j);
        return;
    }
    for (size_t i = 0; i < j->n_groups; i++)
        fill_group(j, &j->groups[i], out->parts);
    out->whole = figure(j, &j->whole, true);
    if (isnan(out->whole.gross_j))
        return;
    /* Summed from the parts themselves, so that no rounding stands between them. */
    double gross = 0, net = 0;
    for (size_t i = 0; i < j->n_groups; i++) {
        const struct joulet_energy *e = &out->parts[j->index[longest(j, &j->groups[i])]];
        gross += e->gross_j;
        net += e->net_j;
    }
    out->whole.gross_j = gross;
    out->whole.net_j = net;
}
