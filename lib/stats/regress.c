/* regress.c - weighted least squares with at most 16 unknowns, free or non-negative (docs/method.md 6.2, 7.5).
 *
 * The sums are scaled to a unit diagonal, so that a column of squared token counts and one of ones are alike. With so few
 * unknowns every subset of columns can be solved, which finds the non-negative solution without iterating. */
#include "lib/stats/regress.h"

#include <math.h>
#include <string.h>

#define SWEEPS      60
#define INDEPENDENT 1e-13 /* least pivot of scaled columns: what is below is rounding */

void jl_equations_init(struct jl_equations *e, size_t terms)
{
    memset(e, 0, sizeof *e);
    e->terms = terms < JL_TERMS_MAX ? terms : JL_TERMS_MAX;
}

void jl_equations_add(struct jl_equations *e, const double *a, double y, double weight)
{
    double w = weight * weight;
    if (!(weight > 0) || !isfinite(w))
        return;
    for (size_t i = 0; i < e->terms; i++) {
        for (size_t j = 0; j < e->terms; j++)
            e->xx[i][j] += w * a[i] * a[j];
        e->xy[i] += w * a[i] * y;
    }
    e->yy += w * y * y;
    e->rows += 1;
}

void jl_equations_scale(struct jl_equations *e, double factor)
{
    for (size_t i = 0; i < e->terms; i++) {
        for (size_t j = 0; j < e->terms; j++)
            e->xx[i][j] *= factor;
        e->xy[i] *= factor;
    }
    e->yy *= factor;
    e->rows *= factor;
}

/* ---- one subset of the columns ------------------------------------------------------------------------------------------- */

struct subset {
    size_t n, column[JL_TERMS_MAX];
    double scale[JL_TERMS_MAX];                 /* length of the column */
    double inverse[JL_TERMS_MAX][JL_TERMS_MAX]; /* of the scaled sums */
};

static double scaled(const struct jl_equations *e, const struct subset *s, size_t i, size_t j)
{
    return e->xx[s->column[i]][s->column[j]] / (s->scale[i] * s->scale[j]);
}

/* L L' = scaled sums; false when a column follows from the others. */
static bool cholesky(const struct jl_equations *e, const struct subset *s, double l[JL_TERMS_MAX][JL_TERMS_MAX])
{
    for (size_t i = 0; i < s->n; i++)
        for (size_t j = 0; j <= i; j++) {
            double sum = scaled(e, s, i, j);
            for (size_t k = 0; k < j; k++)
                sum -= l[i][k] * l[j][k];
            if (i == j && !(sum > INDEPENDENT))
                return false;
            l[i][j] = i == j ? sqrt(sum) : sum / l[j][j];
        }
    return true;
}

/* Column c of the inverse, from its factor. */
static void inverse_column(const struct subset *s, double l[JL_TERMS_MAX][JL_TERMS_MAX], size_t c, double *out)
{
    for (size_t i = 0; i < s->n; i++) {
        double sum = i == c;
        for (size_t k = 0; k < i; k++)
            sum -= l[i][k] * out[k];
        out[i] = sum / l[i][i];
    }
    for (size_t i = s->n; i-- > 0;) {
        double sum = out[i];
        for (size_t k = i + 1; k < s->n; k++)
            sum -= l[k][i] * out[k];
        out[i] = sum / l[i][i];
    }
}

static bool subset_init(struct subset *s, const struct jl_equations *e, unsigned mask)
{
    double l[JL_TERMS_MAX][JL_TERMS_MAX] = {{0}}, column[JL_TERMS_MAX];
    *s = (struct subset){0};
    for (size_t i = 0; i < e->terms; i++) {
        if (!(mask >> i & 1))
            continue;
        if (!(e->xx[i][i] > 0))
            return false;
        s->column[s->n] = i;
        s->scale[s->n++] = sqrt(e->xx[i][i]);
    }
    if (!cholesky(e, s, l))
        return false;
    for (size_t c = 0; c < s->n; c++) {
        inverse_column(s, l, c, column);
        for (size_t i = 0; i < s->n; i++)
            s->inverse[i][c] = column[i];
    }
    return true;
}

static void subset_solve(const struct subset *s, const struct jl_equations *e, struct jl_regression *out)
{
    *out = (struct jl_regression){.terms = e->terms, .rss = e->yy};
    for (size_t i = 0; i < s->n; i++) {
        size_t c = s->column[i];
        out->active[c] = true;
        for (size_t j = 0; j < s->n; j++) {
            out->x[c] += s->inverse[i][j] * e->xy[s->column[j]] / (s->scale[i] * s->scale[j]);
            out->cov[c][s->column[j]] = s->inverse[i][j] / (s->scale[i] * s->scale[j]);
        }
    }
    for (size_t i = 0; i < e->terms; i++) { /* y'y - 2 x'A'y + x'A'A x: right even when x is a little off */
        double row = 0;
        for (size_t j = 0; j < e->terms; j++)
            row += e->xx[i][j] * out->x[j];
        out->rss += out->x[i] * (row - 2 * e->xy[i]);
    }
    out->rss = fmax(0, out->rss);
}

/* ---- condition ------------------------------------------------------------------------------------------------------------- */

/* One Jacobi rotation that makes m[p][q] vanish. */
static void rotate(double m[JL_TERMS_MAX][JL_TERMS_MAX], size_t n, size_t p, size_t q)
{
    double theta = (m[q][q] - m[p][p]) / (2 * m[p][q]), t = (theta >= 0 ? 1 : -1) / (fabs(theta) + hypot(theta, 1));
    double c = 1 / hypot(t, 1), s = t * c;
    for (size_t k = 0; k < n; k++) {
        double a = m[k][p], b = m[k][q];
        m[k][p] = c * a - s * b;
        m[k][q] = s * a + c * b;
    }
    for (size_t k = 0; k < n; k++) {
        double a = m[p][k], b = m[q][k];
        m[p][k] = c * a - s * b;
        m[q][k] = s * a + c * b;
    }
}

static double condition_of(const struct jl_equations *e, const bool *active)
{
    double m[JL_TERMS_MAX][JL_TERMS_MAX], least = INFINITY, most = 0;
    size_t column[JL_TERMS_MAX], n = 0;
    for (size_t i = 0; i < e->terms; i++)
        if (!active || active[i])
            column[n++] = i;
    for (size_t i = 0; i < n; i++)
        for (size_t j = 0; j < n; j++)
            m[i][j] = e->xx[column[i]][column[j]] / sqrt(e->xx[column[i]][column[i]] * e->xx[column[j]][column[j]]);
    for (int sweep = 0; sweep < SWEEPS; sweep++)
        for (size_t p = 0; p < n; p++)
            for (size_t q = p + 1; q < n; q++)
                if (fabs(m[p][q]) > 1e-17)
                    rotate(m, n, p, q);
    for (size_t i = 0; i < n; i++) {
        least = fmin(least, m[i][i]);
        most = fmax(most, m[i][i]);
        if (isnan(m[i][i])) /* an empty column */
            return INFINITY;
    }
    return n == 0 ? NAN : least > INDEPENDENT ? sqrt(most / least) : INFINITY;
}

double jl_condition(const struct jl_equations *e)
{
    return condition_of(e, NULL);
}

/* ---- the two forms ----------------------------------------------------------------------------------------------- */

bool jl_least_squares(const struct jl_equations *e, struct jl_regression *out)
{
    struct subset s;
    if (subset_init(&s, e, (1u << e->terms) - 1)) {
        subset_solve(&s, e, out);
        out->condition = condition_of(e, NULL);
        return true;
    }
    *out = (struct jl_regression){.terms = e->terms, .rss = NAN, .condition = INFINITY};
    for (size_t i = 0; i < e->terms; i++)
        out->x[i] = NAN;
    return false;
}

static bool feasible(const struct jl_regression *r)
{
    for (size_t i = 0; i < r->terms; i++)
        if (!(r->x[i] >= 0))
            return false;
    return true;
}

void jl_non_negative(const struct jl_equations *e, struct jl_regression *out)
{
    *out = (struct jl_regression){.terms = e->terms, .rss = e->yy};
    for (unsigned mask = 1; mask < 1u << e->terms; mask++) {
        struct subset s;
        struct jl_regression r;
        if (!subset_init(&s, e, mask))
            continue;
        subset_solve(&s, e, &r);
        if (feasible(&r) && r.rss < out->rss)
            *out = r;
    }
    out->condition = condition_of(e, out->active);
}

double jl_regression_variance(const struct jl_regression *r, const double *d)
{
    double sum = 0;
    for (size_t i = 0; i < r->terms; i++)
        for (size_t j = 0; j < r->terms; j++)
            sum += d[i] * r->cov[i][j] * d[j];
    return fmax(0, sum);
}
