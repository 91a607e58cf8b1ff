/* regress.h - small linear regressions (docs/method.md 6.2, 7.5, 8): at most 16 unknowns, weighted, with covariance, and the
 * same with coefficients that must not be negative. Columns are scaled before anything is solved. Pure. */
#ifndef JL_STATS_REGRESS_H
#define JL_STATS_REGRESS_H

#include <stdbool.h>
#include <stddef.h>

#define JL_TERMS_MAX 16

/* Sums over equations; older ones can be made to count less. */
struct jl_equations {
    size_t terms;
    double rows; /* their number, scaled as they are */
    double xx[JL_TERMS_MAX][JL_TERMS_MAX], xy[JL_TERMS_MAX], yy;
};
void jl_equations_init(struct jl_equations *e, size_t terms); /* terms 1 .. JL_TERMS_MAX */
/* a'x = y with standard uncertainty 1/weight; a weight that is not a number above 0 adds nothing. */
void jl_equations_add(struct jl_equations *e, const double *a, double y, double weight);
void jl_equations_scale(struct jl_equations *e, double factor); /* 0.5: what came before counts half */

struct jl_regression {
    size_t terms;
    double x[JL_TERMS_MAX];
    /* (A'WA)^-1 of the active columns, for equations of unit variance; times rss/(rows - terms) when the weights are only
     * relative. Rows and columns of coefficients held at 0 are 0. */
    double cov[JL_TERMS_MAX][JL_TERMS_MAX];
    bool active[JL_TERMS_MAX];
    double rss;       /* weighted sum of squared residuals */
    double condition; /* of the columns scaled to unit length, active ones only; INFINITY when they are not independent */
};
/* Least squares. false when the columns are not independent: x is then NAN, condition INFINITY. */
bool jl_least_squares(const struct jl_equations *e, struct jl_regression *out);
/* Of all subsets of columns the feasible one (no coefficient below 0) of least residual; the empty one is feasible. */
void jl_non_negative(const struct jl_equations *e, struct jl_regression *out);
/* d' cov d, at least 0: variance of d'x. */
double jl_regression_variance(const struct jl_regression *r, const double *d);
/* Condition number of all columns, each scaled to unit length. */
double jl_condition(const struct jl_equations *e);

#endif
