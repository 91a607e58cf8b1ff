/* groups.c - the phases of one measurement: estimated, joined where they cannot be told apart, made to agree with the whole
 * (docs/method.md 2.2, 2.3, 3).
 *
 * A phase that no reading resolves, or that comes out negative, is joined with its longer neighbour: their sum is known even
 * where the boundary between them is not. */
#include "lib/meter/measure.h"

#include <math.h>

#define IDLE_SHARE  0.1 /* so far from the idle level a device is not idle: of that level, ... */
#define IDLE_SD     3   /* ... or of what its 1 s means scatter by */
#define RISE_SPREAD 0.5 /* relative standard uncertainty of the time in which power follows its cause (2.2) */

static double duration(const struct jl_job *j, const struct jl_group *g)
{
    return j->bd[g->last + 1] - j->bd[g->first];
}

static double mean_w(const struct jl_job *j, const struct jl_group *g)
{
    return g->e_j / duration(j, g);
}

/* Power readings that came late between two moments leave part of the energy unseen. */
static double loose_u(const struct jl_job *j, double from, double to)
{
    const struct jl_edges *e = &j->edges;
    double square = 0;
    for (size_t k = jl_edge_at(e->items, e->n, from); k < e->n && e->items[k - (k > 0)].t < to; k++)
        square += e->items[k].loose_u * e->items[k].loose_u;
    return sqrt(square);
}

/* An outer boundary without slopes on either side lies between two updates and no more is known. */
static uint32_t end_flags(const struct jl_cum *c, bool outer, uint32_t missing)
{
    uint32_t flags = c->flags & ~(uint32_t)JOULET_FLAG_UNRESOLVED;
    return outer && (c->flags & JOULET_FLAG_UNRESOLVED) ? flags | missing : flags;
}

static void from_counter(const struct jl_job *j, struct jl_group *g)
{
    const struct jl_cum *a = &j->cum[g->first], *b = &j->cum[g->last + 1];
    double from = j->bd[g->first] + j->p.lag, to = j->bd[g->last + 1] + j->p.lag;
    bool first = g->first == 0, last = g->last + 1 == j->m;
    g->e_j = b->e_j - a->e_j;
    g->u = (struct joulet_u){
        .q = j->p.q / sqrt(6),
        .b = hypot(hypot(a->u_j, b->u_j), j->p.gauge ? loose_u(j, from, to) : 0),
        .time = j->p.u_t * fabs(b->g_w - a->g_w),
    };
    g->before_w = a->before_w;
    g->after_w = b->after_w;
    g->open_before = !first && (a->flags & JOULET_FLAG_UNRESOLVED);
    g->open_after = !last && (b->flags & JOULET_FLAG_UNRESOLVED);
    g->flags = end_flags(a, first, JOULET_FLAG_NO_LEAD_IN) | end_flags(b, last, JOULET_FLAG_TRUNCATED);
    bool inside_one = (a->flags & b->flags & JOULET_FLAG_UNRESOLVED) && a->g_w == b->g_w;
    g->ok = !g->open_before && !g->open_after && !inside_one;
}

/* The lag is one of the unknowns of the fit: what it adds is in its u, and so is a boundary that does not fit. */
static void from_joint(const struct jl_job *j, struct jl_group *g)
{
    size_t a = j->joint_at[g->first], b = j->joint_at[g->last + 1];
    struct jl_jointly fit;
    from_counter(j, g);
    if (a == JL_NOT_THERE || b == JL_NOT_THERE)
        return;
    double from = j->bd[g->first] + j->p.lag, to = j->bd[g->last + 1] + j->p.lag;
    double loose = j->p.gauge ? loose_u(j, from, to) : 0;
    jl_joint_phases(j->joint, a, b - 1, &fit);
    g->e_j = fit.e_j;
    g->u = (struct joulet_u){.q = j->p.q / sqrt(6), .b = hypot(fit.u_b, loose)};
    g->before_w = g->first == 0 ? jl_joint_level_w(j->joint, false) : NAN;
    g->after_w = g->last + 1 == j->m ? jl_joint_level_w(j->joint, true) : NAN;
    g->flags = jl_joint_mismatch(j->joint) ? JOULET_FLAG_MISMATCH : 0;
    g->ok = g->ok && !fit.unresolved;
}

/* Lag, boundaries and what the device may have left out are in the u of the fit. */
static void from_slow(const struct jl_job *j, struct jl_group *g)
{
    size_t a = j->joint_at[g->first], b = j->joint_at[g->last + 1];
    from_counter(j, g);
    if (a == JL_NOT_THERE || b == JL_NOT_THERE)
        return;
    g->u = (struct joulet_u){.q = j->p.q / sqrt(6)};
    jl_slow_phases(j->slow, a, b - 1, &g->e_j, &g->u.b);
    g->flags &= ~(uint32_t)JOULET_FLAG_MISMATCH;
}

/* Where the readings do not reach, the nearest level was carried on: as uncertain as any extrapolation (2.2). */
static double unseen_s(const struct jl_job *j, const struct jl_group *g, uint32_t *flags)
{
    const struct jl_readings *r = &j->readings;
    double seen_from = r->items[0].t - j->p.lag - j->p.W, seen_to = r->items[r->n - 1].t - j->p.lag;
    double from = j->bd[g->first], to = j->bd[g->last + 1];
    double early = fmax(0, fmin(seen_from, to) - from), late = fmax(0, to - fmax(seen_to, from));
    if (g->first == 0 && seen_from > from - j->p.W / 2)
        *flags |= JOULET_FLAG_NO_LEAD_IN;
    if (late > 0)
        *flags |= JOULET_FLAG_TRUNCATED;
    return early + late;
}

static void from_fit(const struct jl_job *j, struct jl_group *g)
{
    struct jl_fitted f;
    jl_fit_phases(j->fit, g->first, g->last, &f);
    g->e_j = f.e_j;
    g->u_lag = f.u_lag;
    g->flags = 0;
    double unseen = unseen_s(j, g, &g->flags);
    g->u = (struct joulet_u){.q = j->p.q / sqrt(6), .b = f.u_b + 0.2 * fabs(mean_w(j, g)) * unseen, .time = f.u_lag};
    g->before_w = g->first == 0 ? jl_fit_before_w(j->fit) : NAN;
    g->after_w = g->last + 1 == j->m ? jl_fit_after_w(j->fit) : NAN;
    g->open_before = g->open_after = false;
    g->ok = !f.unresolved;
}

static void estimate(const struct jl_job *j, struct jl_group *g)
{
    if (j->fit)
        from_fit(j, g);
    else if (j->slow)
        from_slow(j, g);
    else if (j->joint)
        from_joint(j, g);
    else
        from_counter(j, g);
}

/* ---- joining -------------------------------------------------------------------------------------------------------- */

static void join(struct jl_job *j, size_t i)
{
    const struct jl_group *g = &j->groups[i];
    bool next = i == 0;
    if (i > 0 && i + 1 < j->n_groups)
        next = g->open_after != g->open_before ? g->open_after : duration(j, &g[1]) > duration(j, &g[-1]);
    size_t keep = next ? i : i - 1;
    j->groups[keep].last = j->groups[keep + 1].last;
    for (size_t k = keep + 1; k + 1 < j->n_groups; k++)
        j->groups[k] = j->groups[k + 1];
    j->n_groups--;
    estimate(j, &j->groups[keep]);
}

/* The shortest group that has no figure, or a negative one; n_groups when all are well. */
static size_t worst(const struct jl_job *j)
{
    size_t found = j->n_groups;
    for (size_t i = 0; i < j->n_groups; i++) {
        const struct jl_group *g = &j->groups[i];
        bool bad = !g->ok || g->e_j < 0;
        if (bad && (found == j->n_groups || duration(j, g) < duration(j, &j->groups[found])))
            found = i;
    }
    return found;
}

static void join_unresolved(struct jl_job *j)
{
    for (size_t i = worst(j); i < j->n_groups && j->n_groups > 1; i = worst(j))
        join(j, i);
    struct jl_group *only = &j->groups[0];
    if (j->n_groups > 1 || only->e_j >= 0)
        return;
    only->ok = only->ok && only->e_j > -2 * jl_u_rep(&only->u); /* below the noise of its ends, or a contradiction */
    only->e_j = 0;
}

/* ---- what neighbours and events add ---------------------------------------------------------------------------------- */

static double neighbour_w(const struct jl_job *j, size_t i, bool next)
{
    if (next)
        return i + 1 < j->n_groups ? mean_w(j, &j->groups[i + 1]) : j->groups[i].after_w;
    return i > 0 ? mean_w(j, &j->groups[i - 1]) : j->groups[i].before_w;
}

/* Power inside at the first and the last boundary, and outside at both; NAN unknown. */
struct ends {
    double first_w, last_w, before_w, after_w;
};

/* fmax leaves an unknown neighbour out. */
static double event_u(const struct jl_job *j, const struct jl_group *g, const struct ends *e)
{
    return hypot(j->u_ev[g->first] * fmax(fabs(e->first_w), fabs(e->before_w)),
                 j->u_ev[g->last + 1] * fmax(fabs(e->last_w), fabs(e->after_w)));
}

/* What the ends add to the terms of a group: events that are uncertain, and in the phase fit the rise (3). */
static void add_ends(const struct jl_job *j, struct jl_group *g, const struct ends *e)
{
    g->u.event = event_u(j, g, e);
    if (j->fit)
        g->u.time = hypot(g->u_lag, j->p.u_r * fmax(fabs(e->first_w - e->before_w), fabs(e->last_w - e->after_w)));
}

static void add_neighbours(struct jl_job *j)
{
    for (size_t i = 0; i < j->n_groups; i++) {
        double P = mean_w(j, &j->groups[i]);
        add_ends(j, &j->groups[i], &(struct ends){P, P, neighbour_w(j, i, false), neighbour_w(j, i, true)});
    }
}

/* ---- the whole ------------------------------------------------------------------------------------------------------- */

/* Not isolated: the sum of the parts, with the uncertainty of its two ends only. */
static void whole_of_parts(struct jl_job *j)
{
    struct jl_group *w = &j->whole;
    *w = (struct jl_group){.first = 0, .last = j->m - 1};
    estimate(j, w);
    w->e_j = 0;
    w->ok = true;
    for (size_t i = 0; i < j->n_groups; i++) {
        w->e_j += j->groups[i].e_j;
        w->ok = w->ok && j->groups[i].ok;
        w->flags |= j->groups[i].flags;
    }
    const struct jl_group *last = &j->groups[j->n_groups - 1];
    add_ends(j, w, &(struct ends){mean_w(j, &j->groups[0]), mean_w(j, last), w->before_w, w->after_w});
    j->idle_s = duration(j, w);
    j->consistent = true;
    j->padded = false;
}

static bool pad(const struct jl_job *j, struct jl_padded *out)
{
    double P0 = j->idle->power_w, c = j->bd[j->m];
    if (j->p.counter)
        return jl_padded_counter(j->edges.items, j->edges.n, 0, c, j->quiet, &j->p, P0, out);
    return jl_padded_power(j->readings.items, j->readings.n, 0, c, j->quiet, &j->p, P0, out);
}

/* The padded difference charges what lies before the run at the idle level. Where the device did not draw that just before, whole
 * and parts would contradict each other, though they come from one counter. */
static bool idle_before(const struct jl_job *j)
{
    double P0 = j->idle->power_w, far = fmax(IDLE_SHARE * P0, isfinite(j->idle->sd_w) ? IDLE_SD * j->idle->sd_w : 0);
    return !(fabs(j->whole.before_w - P0) > far); /* not known: taken to be idle */
}

/* Isolated: the padded difference, if the trace reaches far enough on both sides. It holds what the device still drew after the
 * end, while its power fell, and that belongs to the tail. */
static void whole_by_padding(struct jl_job *j)
{
    struct jl_padded d;
    bool part_time = !j->p.counter && j->p.W < j->p.U; /* what it did not see of a single run, no padding brings back (2.5) */
    if (part_time || (j->slow && j->p.ways_unknown) || !j->what->isolated || !j->idle || j->lost_flag || !idle_before(j) ||
        !pad(j, &d))
        return;
    struct jl_group *w = &j->whole;
    double P0 = j->idle->power_w, c = j->bd[j->m];
    const struct jl_group *end = &j->groups[j->n_groups - 1];
    j->padded = true;
    j->idle_s = c - d.start_s;
    double gross = d.net_j + P0 * c, P_end = end->ok ? mean_w(j, end) : gross / c, fall = j->p.u_r * (P_end - d.after_w);
    w->e_j = fmax(0, gross - fall); /* 0: idle all through, and noise */
    w->ok = true;
    w->u.b = j->p.gauge && j->p.counter ? hypot(d.u_b, loose_u(j, d.start_s, d.end_s)) : d.u_b;
    w->u.time = hypot((d.after_w - P0) * j->p.u_t, RISE_SPREAD * fall);
    w->flags &= (uint32_t)JOULET_FLAG_MISMATCH;
    if (!j->groups[0].ok) { /* nothing inside is resolved: all phases together are the run */
        j->groups[0].e_j = w->e_j;
        j->groups[0].u = w->u;
        j->groups[0].ok = true;
    }
}

static void agree(struct jl_job *j)
{
    double e[JOULET_PHASES_MAX], u[JOULET_PHASES_MAX];
    if (!j->padded)
        return;
    for (size_t i = 0; i < j->n_groups; i++) {
        e[i] = j->groups[i].e_j;
        u[i] = jl_u_rep(&j->groups[i].u);
    }
    j->consistent = jl_reconcile(e, u, j->n_groups, &j->whole.e_j, jl_u_rep(&j->whole.u));
    for (size_t i = 0; i < j->n_groups; i++)
        j->groups[i].e_j = e[i];
}

void jl_groups_solve(struct jl_job *j)
{
    j->n_groups = j->m;
    for (size_t i = 0; i < j->m; i++)
        j->groups[i] = (struct jl_group){.first = i, .last = i};
    for (;;) {
        for (size_t i = 0; i < j->n_groups; i++)
            estimate(j, &j->groups[i]);
        join_unresolved(j);
        add_neighbours(j);
        whole_of_parts(j);
        whole_by_padding(j);
        agree(j);
        size_t i = worst(j);
        if (i == j->n_groups || j->n_groups == 1)
            break;
        join(j, i);
    }
}
