/* cell.c - statistics of one cell of the table. */
#include "bench/accuracy/cell.h"

#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define SIGMAS        3
#define P95_SPREAD    0.95 /* relative sd of the 95th percentile of a normal error, times sqrt n */
#define LEAST_TAILS   3.0  /* of a normal error */
#define LEAST_DECIDED 4    /* one window of so many must have a figure */

struct sums {
    double two, four, one, abs, raw, trapezoid;
    size_t hold, bounds;
};

static void add_resolved(const struct outcome *o, double *errors, double *halves, size_t at, struct sums *s)
{
    double e = 100 * ((1 + o->error) / o->gain - 1);
    errors[at] = fabs(100 * o->error);
    halves[at] = 100 * o->half;
    s->one += e;
    s->abs += fabs(e);
    s->two += e * e;
    s->four += e * e * e * e;
    s->hold += errors[at] <= halves[at];
}

static void fill(struct cell *c, const struct sums *s, double *errors, double *halves)
{
    double n = (double)c->resolved, all = (double)c->n;
    c->raw = sqrt(s->raw / all);
    c->trapezoid = sqrt(s->trapezoid / all);
    c->bounds = 100 * (double)s->bounds / all;
    if (c->resolved == 0)
        return;
    c->rms = sqrt(s->two / n);
    c->bias = s->one / n;
    c->mean = s->abs / n;
    c->tails = s->two > 0 ? fmax(LEAST_TAILS, s->four * n / (s->two * s->two)) : LEAST_TAILS;
    c->hold = 100 * (double)s->hold / n;
    jl_sort(errors, c->resolved);
    c->p95 = jl_quantile(errors, c->resolved, 0.95);
    c->half = jl_median(halves, c->resolved);
    c->sharpness = c->half / c->p95;
}

void cell_of(const struct row *row, size_t length, const struct outcome *o, size_t n, struct cell *out)
{
    double *errors = malloc(2 * (n ? n : 1) * sizeof(*errors));
    struct sums s = {0};
    *out = (struct cell){.row = row,
                         .length = length,
                         .rms = NAN,
                         .bias = NAN,
                         .mean = NAN,
                         .p95 = NAN,
                         .tails = NAN,
                         .hold = NAN,
                         .half = NAN,
                         .sharpness = NAN};
    for (size_t i = 0; errors && i < n; i++) {
        out->failed += !o[i].ok;
        if (!o[i].ok)
            continue;
        out->n++;
        s.bounds += o[i].bounded;
        s.raw += 1e4 * o[i].raw * o[i].raw;
        s.trapezoid += 1e4 * o[i].trapezoid * o[i].trapezoid;
        if (o[i].resolved)
            add_resolved(&o[i], errors, errors + n, out->resolved++, &s);
    }
    if (errors)
        fill(out, &s, errors, errors + n);
    free(errors);
}

bool cell_is_unresolved(const struct cell *c)
{
    return c->resolved * LEAST_DECIDED < c->n || c->resolved == 0;
}

/* ---- goals ------------------------------------------------------------------------------------------------------------ */

static bool is_strict(const struct cell *c)
{
    return c->n >= CELL_STRICT;
}

static bool within(double value, double goal, double slack)
{
    return !(goal > 0) || isnan(value) || value <= goal * (1 + slack);
}

static double rms_slack(const struct cell *c)
{
    return is_strict(c) ? 0 : SIGMAS * sqrt((c->tails - 1) / (4 * (double)c->resolved));
}

static double p95_slack(const struct cell *c)
{
    return is_strict(c) ? 0 : SIGMAS * P95_SPREAD / sqrt((double)c->resolved);
}

static double share_slack(double goal, double n)
{
    return SIGMAS * sqrt(goal * (100 - goal) / n);
}

bool cell_meets_rms(const struct cell *c)
{
    return within(c->rms, c->row->rms[c->length], rms_slack(c));
}

bool cell_meets_mean(const struct cell *c)
{
    return within(c->mean, c->row->mean[c->length], rms_slack(c));
}

bool cell_meets_p95(const struct cell *c)
{
    return within(c->p95, c->row->p95[c->length], p95_slack(c));
}

/* A row without goals shows what is lost, and is not judged. */
static bool has_goals(const struct cell *c)
{
    return !c->row->shown_only && !c->row->late && !c->row->two_levels && !c->row->bounds_only;
}

bool cell_meets_hold(const struct cell *c)
{
    double slack = is_strict(c) ? 0 : share_slack(HOLD_MIN, (double)c->resolved);
    return !has_goals(c) || cell_is_unresolved(c) || c->hold >= HOLD_MIN - slack;
}

bool cell_meets_sharpness(const struct cell *c)
{
    return !has_goals(c) || cell_is_unresolved(c) || c->half < SHARP_FROM ||
           within(c->sharpness, c->row->sharpness, p95_slack(c));
}

bool cell_meets_bounds(const struct cell *c)
{
    return c->bounds >= 100;
}

/* Where the sensor cannot tell, no figure may be given. */
bool cell_meets_refusal(const struct cell *c)
{
    return !c->row->bounds_only || c->resolved == 0;
}

bool cell_meets(const struct cell *c)
{
    return c->failed == 0 && cell_meets_refusal(c) && cell_meets_rms(c) && cell_meets_mean(c) && cell_meets_p95(c) &&
           cell_meets_hold(c) && cell_meets_sharpness(c) && cell_meets_bounds(c);
}

bool cell_is_as_known(const struct cell *c)
{
    struct row row = *c->row;
    struct cell known = *c;
    known.row = &row;
    for (size_t i = 0; i < LENGTHS; i++)
        row.rms[i] = fmax(row.rms[i], row.known[i]); /* fmax leaves out what has no goal */
    row.sharpness = fmax(row.sharpness, row.known_sharpness);
    return cell_meets(&known);
}

double row_hold(const struct cell *cells, size_t n)
{
    double held = 0, all = 0;
    for (size_t i = 0; i < n; i++) {
        if (cell_is_unresolved(&cells[i]))
            continue;
        held += cells[i].hold * (double)cells[i].resolved;
        all += (double)cells[i].resolved;
    }
    return all > 0 ? held / all : NAN;
}

bool row_meets(const struct cell *cells, size_t n)
{
    double all = 0, share = row_hold(cells, n);
    for (size_t i = 0; i < n; i++)
        all += (double)cells[i].resolved;
    if (n == 0 || !cells[0].row->pooled || isnan(share))
        return true;
    bool strict = is_strict(&cells[0]);
    double low = POOL_MIN - (strict ? 0 : share_slack(POOL_MIN, all)),
           high = POOL_MAX + (strict ? 0 : share_slack(POOL_MAX, all));
    return share >= low && (share <= high || cells[0].row->locked);
}

double slow_hold(const struct cell *cells, size_t n)
{
    double sum = 0;
    size_t count = 0;
    for (size_t i = 0; i < n; i++) {
        if (!cells[i].row->slow || cell_is_unresolved(&cells[i]))
            continue;
        sum += cells[i].hold;
        count++;
    }
    return count ? sum / (double)count : NAN;
}
