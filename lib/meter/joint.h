/* joint.h - the unknowns of a joint fit (docs/method.md 2.2, joint fit) and what is worked out of them: shared by joint_model.c,
 * joint_solve.c and joint_fit.c. */
#ifndef LIB_METER_JOINT_H
#define LIB_METER_JOINT_H

#include "lib/meter/estimators.h"

/* What the linearised model of one start holds. Arrays are rows of one allocation. */
struct jl_joint_model {
    double *unknown;   /* P_0 .. P_{m+1}, D, r, z_0 .. z_m */
    double *cut;       /* pieces + 1 */
    double *fade, *w;  /* of each piece: exp(-L/tau), weight of its noise seen from outside */
    double *self;      /* variance of the piece itself */
    size_t *increment; /* that holds the piece */
    size_t *phase;     /* that holds the piece: 0 before the run, m + 1 after it */
    size_t n_pieces;
    double *V;       /* K x K, then its Cholesky factor */
    size_t *first;   /* of V */
    double *G;       /* K x unknowns: L^-1 X */
    double *e;       /* K: L^-1 (y - model) */
    double *M;       /* unknowns^2, scaled, then its Cholesky factor */
    double *scale;   /* of the unknowns */
    size_t n_loose;  /* unknowns that nothing determines */
    double chi, sum; /* reduced chi square (1 at least); what the start is judged by */
};

struct jl_joint {
    size_t n_edges, K; /* updates used, increments */
    size_t n_bd, n_p, n_u;
    const double *bd;
    double u_t, u_r, q;
    double *t, *hw, *c, *lost; /* updates; variance that hidden power adds to the increment after */
    double *expect, *weight;   /* of the unknowns: prior mean, 1/u^2 */
    double *row, *column;      /* scratch: unknowns (2 rows), K */
    double *o, *near;          /* scratch: pieces */
    struct jl_joint_model a, b;
    struct jl_joint_model *best;
    void *arena;
};

enum { JL_LAG, JL_RISE, JL_LATE }; /* order of the unknowns behind the powers */

static inline size_t jl_joint_at(const struct jl_joint *f, int which)
{
    return f->n_p + (size_t)which;
}

/* ---- joint_model.c ----------------------------------------------------------------------------------------------------- */
/* Cumulative energy at x (lag taken off) from the first update on, and its derivatives; by_lag: x moves with the lag. */
double jl_joint_energy(const struct jl_joint *f, const double *u, double x, bool by_lag, double *d);
/* Residuals y - model into e, derivatives of the model into X (K x unknowns) if it is not NULL. */
void jl_joint_linearise(struct jl_joint *f, const double *u, double *e, double *X);
double jl_joint_largest_w(const struct jl_joint *f, const struct jl_joint_model *m);
/* Pieces and V with the unknowns as they are now. */
void jl_joint_noise(const struct jl_joint *f, struct jl_joint_model *m);
/* out = N o: the covariance of each piece with the energy of the pieces in o. */
void jl_joint_spread(const struct jl_joint_model *m, const double *o, double *out);

/* ---- joint_solve.c ----------------------------------------------------------------------------------------------------- */
/* The best of several starts becomes f->best; NULL: none leads anywhere. e: all updates, not only those of the fit. */
void jl_joint_solve(struct jl_joint *f, const struct jl_edge *e, size_t n);

#endif
