/* stats.h - statistics without I/O, clock or chance: means, quantiles, Student's t, least squares.
 * Pure: the same input gives the same bits. Unknown is NAN. */
#ifndef JL_STATS_H
#define JL_STATS_H

#include <stdbool.h>
#include <stddef.h>

/* ---- location, spread, quantiles ---------------------------------------------------------------------------------- */
double jl_mean(const double *x, size_t n);                    /* NAN for n = 0 */
double jl_sd(const double *x, size_t n);                      /* of a sample, n - 1; NAN for n < 2 */
double jl_sd_population(const double *x, size_t n);           /* n; 0 for one value, NAN for none */
double jl_autocorrelation(const double *x, size_t n);         /* r1 of 4.2, not clamped; 0 when nothing varies */
void jl_sort(double *x, size_t n);                            /* ascending, in place */
double jl_quantile(const double *sorted, size_t n, double p); /* type 7 over ascending values; NAN for n = 0 */
double jl_median(double *x, size_t n);                        /* sorts x */

/* Smallest value with a cumulative share of weight >= p (9). Sorts the pairs. NAN when the weights sum to 0. */
struct jl_weighted {
    double value, weight;
};
double jl_weighted_quantile(struct jl_weighted *x, size_t n, double p);

/* Student's t (5.4), linear in 1/df between the rows; NAN for df < 1. */
double jl_t975(double df);
double jl_t95(double df);

/* ---- least squares with the minimum-norm solution ------------------------------------------------------------------ *
 * Equations a'x = y are added one at a time; the coefficients of one equation lie in `band + 1` consecutive unknowns, so that
 * a long run with thousands of unknowns costs n * band^2 (a dense problem has band = n - 1). Scale columns of very different
 * size first: the equations are kept as normal equations. */
struct jl_lsq {
    size_t n, band, rows;
    double *normal; /* lower band of A'A, row by row, n x (band + 1) */
    double *factor; /* Cholesky factor of A'A + ridge */
    double *rhs;    /* A'y */
    double *work;   /* 3 n */
    double ridge;
    bool factored;
};
bool jl_lsq_init(struct jl_lsq *s, size_t n, size_t band); /* false: no memory, or n = 0 */
void jl_lsq_release(struct jl_lsq *s);
/* `count` coefficients from unknown `first` on; count <= band + 1 and first + count <= n, else false and nothing is added. */
bool jl_lsq_add(struct jl_lsq *s, size_t first, const double *a, size_t count, double y);
/* x[n]: least squares, and of all such solutions the one of least norm. */
void jl_lsq_solve(struct jl_lsq *s, double *x);
/* d' (A'A)^+ d: variance of d'x for equations of unit variance. */
double jl_lsq_variance(struct jl_lsq *s, const double *d);

/* ---- small symmetric systems (dense.c) ------------------------------------------------------------------------------- *
 * a: lower half of a symmetric matrix with no negative eigenvalue, n x n row by row, in place; first[i]: the first column of row
 * i that may not be 0 (NULL: 0). Unknowns that follow from those before them are left out: their pivot becomes 0. Scale unknowns
 * of very different size first. */
size_t jl_cholesky(double *a, size_t n, const size_t *first); /* returns how many unknowns were left out */
/* x = L^-1 x, x[n x columns]. */
void jl_cholesky_lower(const double *a, size_t n, const size_t *first, double *x, size_t columns);
void jl_cholesky_upper(const double *a, size_t n, double *x); /* x = L^-T x, rows without `first` */
/* The direction that the system says nothing about, for an unknown i that was left out. */
void jl_cholesky_null(const double *a, size_t n, size_t i, double *x);

#endif
