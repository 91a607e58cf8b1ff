/* fit.c - which requests enter a fit, and the fit. */
#include "report/fit.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SLOWED (JOULET_FLAG_THROTTLED | JOULET_FLAG_CLOCK_CHANGE)

static double squared(double u)
{
    return isnan(u) ? 0 : u * u;
}

/* Everything but the gain (3). */
static double u_rep(const struct joulet_energy *e, bool gross)
{
    return sqrt(squared(e->u.q) + squared(e->u.b) + squared(e->u.time) + squared(e->u.event) + (gross ? 0 : squared(e->u.idle)));
}

static uint32_t flags_of(const struct run_request *q)
{
    uint32_t flags = q->energy.total.flags;
    for (size_t i = 0; i < q->n_windows; i++)
        flags |= q->windows[i].energy.total.flags;
    return flags;
}

/* The counter of the reason for which a request does not take part; NULL when it does. */
static size_t *left_out(struct fit *f, const struct run_request *q, double energy_j, bool allow_throttled)
{
    if (q->warmup)
        return &f->warmup;
    if (q->outcome != RUN_OK)
        return &f->failed;
    if (q->tokens.cached > 0)
        return &f->cached;
    if (flags_of(q) & SLOWED && !allow_throttled)
        return &f->slowed;
    if (!(energy_j > 0) || isinf(energy_j) || q->tokens.prompt < 0 || q->tokens.generated < 0)
        return &f->unknown;
    return NULL;
}

static void take(struct fit *f, const struct run *r, const struct run_request *q, bool allow_throttled)
{
    const struct joulet_energy *e = &q->energy.total;
    double energy_j = f->gross ? e->gross_j : e->net_j;
    size_t *out = left_out(f, q, energy_j, allow_throttled);
    if (out) {
        ++*out;
        return;
    }
    f->rows[f->n++] = (struct fit_row){
        .run = r,
        .q = q,
        .t = {(double)q->tokens.prompt, (double)q->tokens.generated, energy_j, u_rep(e, f->gross)},
    };
    f->provenance = e->provenance > f->provenance ? e->provenance : f->provenance;
}

/* By the channels that the energies are sums of: each has a gain of its own, and all are taken to be off the same way. */
static void take_gain(struct fit *f)
{
    double sum = 0, lo = 0, hi = 0;
    f->truth_lo = 1 - 2 * f->spec;
    f->truth_hi = 1 + 2 * f->spec;
    for (size_t i = 0; i < f->n; i++) {
        const struct run_energy *e = &f->rows[i].q->energy;
        for (size_t k = 0; k < e->n_channels; k++) {
            const struct joulet_channel *c = run_channel(f->rows[i].run, e->channels[k].channel);
            double j = fabs(f->gross ? e->channels[k].e.gross_j : e->channels[k].e.net_j);
            if (!c || !c->in_total || isnan(j))
                continue;
            bool estimate = c->factor_lo < 1 || c->factor_hi > 1;
            double gain = 2 * sqrt(squared(e->channels[k].e.u.spec)); /* of a sensor */
            f->estimated |= estimate;
            lo += estimate ? c->factor_lo * j : j - gain;
            hi += estimate ? c->factor_hi * j : j + gain;
            sum += j;
        }
    }
    if (f->estimated && sum > 0) {
        f->truth_lo = lo / sum;
        f->truth_hi = hi / sum;
    }
}

static bool differs(const struct run_pairs *a, const struct run_pairs *b, const char *key)
{
    const char *x = run_pairs_get(a, key), *y = run_pairs_get(b, key);
    return x && y && strcmp(x, y);
}

static void look_at_runs(struct fit *f, const struct run *const *runs, size_t n)
{
    for (size_t i = 1; i < n; i++) {
        f->several_machines |= differs(&runs[0]->machine, &runs[i]->machine, "host");
        f->several_models |=
            differs(&runs[0]->model, &runs[i]->model, "name") || differs(&runs[0]->model, &runs[i]->model, "digest");
    }
}

static enum joulet_status solve(struct fit *f, struct joulet_error *err)
{
    struct jl_token_run *t = calloc(f->n + 1, sizeof *t);
    double energy = 0, spec = 0;
    if (!t)
        return jl_fail(err, JOULET_MEMORY, "out of memory while fitting");
    for (size_t i = 0; i < f->n; i++) {
        t[i] = f->rows[i].t;
        energy += t[i].energy_j;
        spec += sqrt(squared(f->rows[i].q->energy.total.u.spec));
    }
    enum jl_token_status st = jl_token_fit(t, f->n, &f->model);
    free(t);
    if (st == JL_TOKENS_FEW)
        return jl_fail(err, JOULET_USAGE,
                       "a fit needs more than %d requests with a known energy and known tokens, and there are %zu: `joulet fit` "
                       "measures a grid of them",
                       JL_TOKEN_TERMS, f->n);
    if (st == JL_TOKENS_NOT_SEPARABLE)
        return jl_fail(err, JOULET_USAGE,
                       "the lengths of prompts and answers do not vary independently enough to tell the terms apart (condition "
                       "number %.3g, at most %g): measure a grid of both with `joulet fit`",
                       f->model.condition, JL_TOKEN_CONDITION_MAX);
    f->spec = spec / energy;
    take_gain(f);
    for (size_t i = 0; i < f->n; i++)
        f->rows[i].fitted_j = jl_token_energy(&f->model, f->rows[i].t.t_in, f->rows[i].t.t_out).value;
    return jl_ok(err);
}

enum joulet_status fit_runs(const struct run *const *runs, size_t n, bool gross, bool allow_throttled, struct fit *out,
                            struct joulet_error *err)
{
    size_t all = 0;
    *out = (struct fit){.gross = gross, .provenance = JOULET_MEASURED};
    for (size_t i = 0; i < n; i++)
        all += runs[i]->n_requests;
    out->rows = calloc(all + 1, sizeof *out->rows);
    if (!out->rows)
        return jl_fail(err, JOULET_MEMORY, "out of memory while fitting");
    for (size_t i = 0; i < n; i++)
        for (size_t k = 0; k < runs[i]->n_requests; k++)
            take(out, runs[i], &runs[i]->requests[k], allow_throttled);
    look_at_runs(out, runs, n);
    enum joulet_status st = solve(out, err);
    if (st == JOULET_OK && out->several_models)
        st = jl_fail(err, JOULET_USAGE, "the runs are of different models: a fit is of one model, so name runs of the same");
    if (st != JOULET_OK)
        fit_release(out);
    return st;
}

void fit_release(struct fit *f)
{
    free(f->rows);
    *f = (struct fit){0};
}

/* ---- what is said about it --------------------------------------------------------------------------------------- */

double fit_pm(const struct fit *f, struct jl_derived d)
{
    return 2 * hypot(d.u, f->spec * d.value);
}

void fit_ends(const struct fit *f, struct jl_derived d, double *lo, double *hi)
{
    double below = (1 - f->truth_lo) * fabs(d.value), above = (f->truth_hi - 1) * fabs(d.value);
    *lo = d.value - hypot(d.value < 0 ? above : below, 2 * d.u);
    *hi = d.value + hypot(d.value < 0 ? below : above, 2 * d.u);
}

struct jl_derived fit_coefficient(const struct fit *f, size_t term)
{
    return (struct jl_derived){f->model.e[term], sqrt(f->model.cov[term][term])};
}

static size_t within(const double *lengths, size_t n, double least, double most, double out[8])
{
    size_t kept = 0;
    for (size_t i = 0; i < n && kept < 8; i++)
        if (lengths[i] >= least && lengths[i] <= most)
            out[kept++] = lengths[i];
    return kept;
}

size_t fit_lengths_in(const struct fit *f, double out[8])
{
    static const double lengths[] = {64, 256, 1024, 4096, 16384, 65536};
    return within(lengths, JL_COUNT(lengths), 0.5 * f->model.t_in_min, 2 * f->model.t_in_max, out);
}

size_t fit_lengths_out(const struct fit *f, double out[8])
{
    static const double lengths[] = {16, 64, 128, 256, 512, 1024};
    return within(lengths, JL_COUNT(lengths), 2, 2 * f->model.t_out_max, out);
}

void fit_residuals_csv(struct jl_buf *out, const struct fit *f)
{
    jl_buf_str(out, "run_id,request,tokens_in,tokens_out,energy_j,u_rep_j,fitted_j,residual_j,residual_percent\r\n");
    for (size_t i = 0; i < f->n; i++) {
        const struct fit_row *r = &f->rows[i];
        double rest = r->t.energy_j - r->fitted_j;
        jl_buf_printf(out, "%s,%lld,%.0f,%.0f,%.9g,%.4g,%.9g,%.6g,%.4g\r\n", r->run->id, (long long)r->q->index, r->t.t_in,
                      r->t.t_out, r->t.energy_j, r->t.u_rep_j, r->fitted_j, rest, 100 * rest / r->t.energy_j);
    }
}
