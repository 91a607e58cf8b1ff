/* dense.c - Cholesky of small symmetric matrices (docs/method.md 2.2, joint fit).
 *
 * Lower half, row by row, in place. Rows may begin with zeros (a covariance that dies out with distance): these are skipped. A
 * pivot that vanishes beside its diagonal means that the unknown follows from those before it: its pivot is set to 0, it is left
 * out of every solution, and jl_cholesky_null tells by which unknowns it was. */
#include "lib/stats/stats.h"

#include <math.h>

#define VANISHES 1e-11 /* share of the diagonal that rounding may leave of nothing */

static size_t first_of(const size_t *first, size_t i)
{
    return first ? first[i] : 0;
}

static double dot(const double *a, const double *b, size_t from, size_t to)
{
    double sum = 0;
    for (size_t k = from; k < to; k++)
        sum += a[k] * b[k];
    return sum;
}

size_t jl_cholesky(double *a, size_t n, const size_t *first)
{
    size_t dropped = 0;
    for (size_t i = 0; i < n; i++) {
        double *row = &a[i * n];
        for (size_t j = first_of(first, i); j < i; j++) {
            const double *other = &a[j * n];
            size_t from = first_of(first, j) > first_of(first, i) ? first_of(first, j) : first_of(first, i);
            row[j] = other[j] > 0 ? (row[j] - dot(row, other, from, j)) / other[j] : 0;
        }
        double diagonal = row[i], pivot = diagonal - dot(row, row, first_of(first, i), i);
        bool held = pivot > VANISHES * diagonal;
        row[i] = held ? sqrt(pivot) : 0;
        dropped += !held;
    }
    return dropped;
}

void jl_cholesky_lower(const double *a, size_t n, const size_t *first, double *x, size_t columns)
{
    for (size_t i = 0; i < n; i++) {
        const double *row = &a[i * n];
        double *own = &x[i * columns], scale = row[i] > 0 ? 1 / row[i] : 0;
        for (size_t j = first_of(first, i); j < i; j++) {
            const double *other = &x[j * columns];
            for (size_t c = 0; c < columns && row[j] != 0; c++)
                own[c] -= row[j] * other[c];
        }
        for (size_t c = 0; c < columns; c++)
            own[c] *= scale;
    }
}

/* Over the first n unknowns of a larger system, whose rows are `stride` long. */
static void upper(const double *a, size_t stride, size_t n, double *x)
{
    for (size_t i = n; i-- > 0;) {
        const double *row = &a[i * stride];
        x[i] = row[i] > 0 ? x[i] / row[i] : 0;
        for (size_t j = 0; j < i && x[i] != 0; j++)
            x[j] -= row[j] * x[i];
    }
}

void jl_cholesky_upper(const double *a, size_t n, double *x)
{
    upper(a, n, n, x);
}

void jl_cholesky_null(const double *a, size_t n, size_t i, double *x)
{
    for (size_t j = 0; j < n; j++)
        x[j] = j < i ? -a[i * n + j] : 0;
    upper(a, n, i, x); /* of the unknowns before it only: the rows after it have no say */
    x[i] = 1;
}
