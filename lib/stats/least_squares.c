/* least_squares.c - banded least squares with the minimum-norm solution (docs/method.md 2.3).
 *
 * The normal equations N x = A'y are solved by iterated ridge: M = N + ridge I is factored once (Cholesky, banded), then
 * x += M^-1 (A'y - N x) is repeated. Directions that the equations determine converge to their least-squares value, each pass
 * shrinking the error by ridge / (ridge + s^2); directions they say nothing about get nothing in any pass, so x has the
 * least norm. No pivoting, no case distinction for singular systems, and the band stays narrow. */
#include "lib/stats/stats.h"

#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#define RIDGE  1e-10 /* of the largest diagonal: rounding in A'A stays far below, directions that matter far above */
#define PASSES 9

bool jl_lsq_init(struct jl_lsq *s, size_t n, size_t band)
{
    *s = (struct jl_lsq){.n = n, .band = band < n ? band : n - 1};
    if (n == 0 || n > SIZE_MAX / sizeof(double) / (s->band + 1))
        return false;
    s->normal = calloc(n * (s->band + 1), sizeof(double));
    s->factor = calloc(n * (s->band + 1), sizeof(double));
    s->rhs = calloc(n, sizeof(double));
    s->work = calloc(n, 3 * sizeof(double));
    if (s->normal && s->factor && s->rhs && s->work)
        return true;
    jl_lsq_release(s);
    return false;
}

void jl_lsq_release(struct jl_lsq *s)
{
    free(s->normal);
    free(s->factor);
    free(s->rhs);
    free(s->work);
    *s = (struct jl_lsq){0};
}

/* Element (i, j) with i - band <= j <= i. */
static double *at(const struct jl_lsq *s, double *m, size_t i, size_t j)
{
    return &m[i * (s->band + 1) + (s->band - (i - j))];
}

static size_t first_column(const struct jl_lsq *s, size_t i)
{
    return i > s->band ? i - s->band : 0;
}

bool jl_lsq_add(struct jl_lsq *s, size_t first, const double *a, size_t count, double y)
{
    if (count > s->band + 1 || first > s->n || count > s->n - first)
        return false;
    for (size_t i = 0; i < count; i++) {
        for (size_t j = 0; j <= i; j++)
            *at(s, s->normal, first + i, first + j) += a[i] * a[j];
        s->rhs[first + i] += a[i] * y;
    }
    s->rows++;
    s->factored = false;
    return true;
}

static double dot_rows(const struct jl_lsq *s, size_t i, size_t j, size_t from)
{
    double sum = 0;
    for (size_t k = from; k < j; k++)
        sum += *at(s, s->factor, i, k) * *at(s, s->factor, j, k);
    return sum;
}

static void factor(struct jl_lsq *s)
{
    double largest = 0;
    for (size_t i = 0; i < s->n; i++)
        largest = fmax(largest, *at(s, s->normal, i, i));
    s->ridge = largest > 0 ? RIDGE * largest : 1;
    for (size_t i = 0; i < s->n; i++) {
        size_t from = first_column(s, i);
        for (size_t j = from; j < i; j++) {
            double rest = *at(s, s->normal, i, j) - dot_rows(s, i, j, from);
            *at(s, s->factor, i, j) = rest / *at(s, s->factor, j, j);
        }
        double pivot = *at(s, s->normal, i, i) + s->ridge - dot_rows(s, i, i, from);
        *at(s, s->factor, i, i) = sqrt(fmax(pivot, s->ridge / 2)); /* rounding must not make a pivot vanish */
    }
    s->factored = true;
}

/* x = M^-1 x, in place. */
static void apply_inverse(struct jl_lsq *s, double *x)
{
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = first_column(s, i); j < i; j++)
            x[i] -= *at(s, s->factor, i, j) * x[j];
        x[i] /= *at(s, s->factor, i, i);
    }
    for (size_t i = s->n; i-- > 0;) {
        x[i] /= *at(s, s->factor, i, i);
        for (size_t j = first_column(s, i); j < i; j++)
            x[j] -= *at(s, s->factor, i, j) * x[i];
    }
}

/* out = N x */
static void multiply(const struct jl_lsq *s, const double *x, double *out)
{
    memset(out, 0, s->n * sizeof(*out));
    for (size_t i = 0; i < s->n; i++) {
        for (size_t j = first_column(s, i); j < i; j++) {
            double v = *at(s, s->normal, i, j);
            out[i] += v * x[j];
            out[j] += v * x[i];
        }
        out[i] += *at(s, s->normal, i, i) * x[i];
    }
}

/* x = N^+ y by iterated ridge, for a y that N can reach. */
static void apply_pseudo_inverse(struct jl_lsq *s, const double *y, double *x)
{
    double *rest = s->work;
    memset(x, 0, s->n * sizeof(*x));
    for (int pass = 0; pass < PASSES; pass++) {
        multiply(s, x, rest);
        for (size_t i = 0; i < s->n; i++)
            rest[i] = y[i] - rest[i];
        apply_inverse(s, rest);
        for (size_t i = 0; i < s->n; i++)
            x[i] += rest[i];
    }
}

void jl_lsq_solve(struct jl_lsq *s, double *x)
{
    if (!s->factored)
        factor(s);
    apply_pseudo_inverse(s, s->rhs, x);
}

/* Takes from x the part in directions that the equations say nothing about: (ridge M^-1)^k leaves just that part. */
static void keep_determined(struct jl_lsq *s, double *x)
{
    double *rest = s->work;
    memcpy(rest, x, s->n * sizeof(*rest));
    for (int pass = 0; pass < PASSES; pass++) {
        apply_inverse(s, rest);
        for (size_t i = 0; i < s->n; i++)
            rest[i] *= s->ridge;
    }
    for (size_t i = 0; i < s->n; i++)
        x[i] -= rest[i];
}

double jl_lsq_variance(struct jl_lsq *s, const double *d)
{
    if (!s->factored)
        factor(s);
    /* Before the inverse, or it would blow that part up; and after it, for what rounding has left of it. */
    double *reach = s->work + s->n, *z = s->work + 2 * s->n, sum = 0;
    memcpy(reach, d, s->n * sizeof(*reach));
    keep_determined(s, reach);
    apply_pseudo_inverse(s, reach, z);
    keep_determined(s, z);
    for (size_t i = 0; i < s->n; i++)
        sum += d[i] * z[i];
    return fmax(sum, 0);
}
