/* tokens.c - the token model by weighted regression, and what follows from it (docs/method.md 6.2, 6.3). */
#include "lib/stats/tokens.h"
#include "lib/stats/regress.h"

#include <math.h>
#include <string.h>

#define PASSES      3
#define SCATTER     0.02 /* assumed of a run, relative */
#define LINEAR_E_Q  1e-15
#define STEP        1e-3 /* of a standard uncertainty, for the gradient */
#define RANGE_BELOW 0.5
#define RANGE_ABOVE 2.0

static void terms_of(double t_in, double t_out, double a[JL_TOKEN_TERMS])
{
    a[JL_E_0] = 1;
    a[JL_E_IN] = t_in;
    a[JL_E_Q] = t_in * t_in;
    a[JL_E_OUT] = t_out;
    a[JL_E_X] = t_out * (t_in + (t_out - 1) / 2);
}

static double dot(const double *a, const double *e)
{
    double sum = 0;
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        sum += a[i] * e[i];
    return sum;
}

/* ---- fit --------------------------------------------------------------------------------------------------------- */

static bool usable(const struct jl_token_run *r)
{
    return r->energy_j > 0 && isfinite(r->energy_j) && r->t_in >= 0 && r->t_out >= 0;
}

/* One over the standard uncertainty of a run whose energy is taken to be `e_j`. */
static double weight_of(const struct jl_token_run *r, double e_j)
{
    return 1 / hypot(SCATTER * e_j, isfinite(r->u_rep_j) ? r->u_rep_j : 0);
}

static void ranges(const struct jl_token_run *runs, size_t n, struct jl_token_model *m)
{
    *m = (struct jl_token_model){.t_in_min = INFINITY, .t_out_min = INFINITY, .condition = INFINITY, .scatter = NAN, .chi2 = NAN};
    for (size_t i = 0; i < n; i++) {
        if (!usable(&runs[i]))
            continue;
        m->n++;
        m->t_in_min = fmin(m->t_in_min, runs[i].t_in);
        m->t_in_max = fmax(m->t_in_max, runs[i].t_in);
        m->t_out_min = fmin(m->t_out_min, runs[i].t_out);
        m->t_out_max = fmax(m->t_out_max, runs[i].t_out);
    }
}

/* The weights of the pass come from the energies of the one before; of a prediction not above 0, from the measured ones. */
static bool pass(const struct jl_token_run *runs, size_t n, const struct jl_regression *before, struct jl_regression *out)
{
    struct jl_equations e;
    jl_equations_init(&e, JL_TOKEN_TERMS);
    for (size_t i = 0; i < n; i++) {
        double a[JL_TOKEN_TERMS], e_j = runs[i].energy_j;
        if (!usable(&runs[i]))
            continue;
        terms_of(runs[i].t_in, runs[i].t_out, a);
        if (before && dot(a, before->x) > 0)
            e_j = dot(a, before->x);
        jl_equations_add(&e, a, runs[i].energy_j, weight_of(&runs[i], e_j));
    }
    return jl_least_squares(&e, out);
}

/* Scatter of the runs about the model; more of it than the weights expect widens every interval. */
static void residuals(const struct jl_token_run *runs, size_t n, struct jl_token_model *m)
{
    double squares = 0, weighted = 0, df = (double)m->n - JL_TOKEN_TERMS;
    for (size_t i = 0; i < n; i++) {
        if (!usable(&runs[i]))
            continue;
        double fitted = jl_token_energy(m, runs[i].t_in, runs[i].t_out).value, rest = runs[i].energy_j - fitted;
        double w = weight_of(&runs[i], fitted > 0 ? fitted : runs[i].energy_j);
        squares += rest / runs[i].energy_j * (rest / runs[i].energy_j);
        weighted += w * rest * (w * rest);
    }
    m->scatter = sqrt(squares / df);
    m->chi2 = weighted / df;
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        for (size_t j = 0; j < JL_TOKEN_TERMS; j++)
            m->cov[i][j] *= fmax(1, m->chi2);
}

enum jl_token_status jl_token_fit(const struct jl_token_run *runs, size_t n, struct jl_token_model *out)
{
    struct jl_regression r, before;
    ranges(runs, n, out);
    if (out->n <= JL_TOKEN_TERMS)
        return JL_TOKENS_FEW;
    for (int i = 0; i < PASSES; i++) {
        if (!pass(runs, n, i ? &before : NULL, &r))
            return JL_TOKENS_NOT_SEPARABLE;
        before = r;
    }
    out->condition = r.condition;
    if (!(r.condition < JL_TOKEN_CONDITION_MAX))
        return JL_TOKENS_NOT_SEPARABLE;
    memcpy(out->e, r.x, sizeof out->e);
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        memcpy(out->cov[i], r.cov[i], sizeof out->cov[i]);
    residuals(runs, n, out);
    return JL_TOKENS_OK;
}

/* ---- what follows ------------------------------------------------------------------------------------------------ */

static double u_of(const struct jl_token_model *m, const double *d)
{
    double sum = 0;
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        for (size_t j = 0; j < JL_TOKEN_TERMS; j++)
            sum += d[i] * m->cov[i][j] * d[j];
    return sqrt(fmax(0, sum));
}

/* Those of the terms that `mask` names. */
static struct jl_derived part(const struct jl_token_model *m, double t_in, double t_out, unsigned mask)
{
    double a[JL_TOKEN_TERMS];
    terms_of(t_in, t_out, a);
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++)
        a[i] = mask >> i & 1 ? a[i] : 0;
    return (struct jl_derived){dot(a, m->e), u_of(m, a)};
}

struct jl_derived jl_token_energy(const struct jl_token_model *m, double t_in, double t_out)
{
    return part(m, t_in, t_out, (1u << JL_TOKEN_TERMS) - 1);
}

struct jl_derived jl_token_prefill(const struct jl_token_model *m, double t_in)
{
    return part(m, t_in, 0, 1u << JL_E_IN | 1u << JL_E_Q);
}

struct jl_derived jl_token_decode(const struct jl_token_model *m, double t_in, double t_out)
{
    return part(m, t_in, t_out, 1u << JL_E_OUT | 1u << JL_E_X);
}

/* The positive T with e_in T + e_q T^2 = e_out n + e_x n (T + (n - 1)/2); of two the smaller. */
static double crossover(const double *e, double n)
{
    double l = e[JL_E_IN] - e[JL_E_X] * n, k = e[JL_E_OUT] * n + e[JL_E_X] * n * (n - 1) / 2, q = e[JL_E_Q];
    if (fabs(q) < LINEAR_E_Q)
        return l > 0 ? k / l : NAN;
    double root = l * l + 4 * q * k;
    if (root < 0)
        return NAN;
    double t = l > 0 ? 2 * k / (l + sqrt(root)) : (-l + sqrt(root)) / (2 * q); /* the same number without cancellation */
    return t > 0 ? t : NAN;
}

struct jl_derived jl_token_crossover(const struct jl_token_model *m, double t_out, bool *inside)
{
    struct jl_derived out = {.value = crossover(m->e, t_out)};
    double gradient[JL_TOKEN_TERMS], e[JL_TOKEN_TERMS];
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++) {
        double h = STEP * sqrt(m->cov[i][i]);
        memcpy(e, m->e, sizeof e);
        e[i] += h;
        double above = crossover(e, t_out);
        e[i] -= 2 * h;
        gradient[i] = h > 0 ? (above - crossover(e, t_out)) / (2 * h) : 0;
    }
    out.u = u_of(m, gradient);
    *inside = out.value >= RANGE_BELOW * m->t_in_min && out.value <= RANGE_ABOVE * m->t_in_max;
    return out;
}
