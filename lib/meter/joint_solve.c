/* joint_solve.c - the unknowns of a joint fit by weighted least squares with priors (docs/method.md 2.2, joint fit): Gauss-Newton
 * from several lags where the lag is little known; the start that fits best counts. */
#include "lib/meter/joint.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <string.h>

#define PASSES    4    /* of Gauss-Newton */
#define MOST_LATE 0.6  /* largest share of a step that comes late */
#define SMALL_U_T 5e-3 /* a lag known better than this needs one start only */
#define LOST      10   /* times the largest power of its start: this start went astray, and its noise with it */

/* Normal equations from G = L^-1 X, scaled to a unit diagonal, factored; `change` becomes what the unknowns move by. */
static void solve_normal(const struct jl_joint *f, struct jl_joint_model *m, double *change)
{
    size_t n = f->n_u;
    memset(m->M, 0, n * n * sizeof(*m->M));
    for (size_t i = 0; i < n; i++)
        change[i] = f->weight[i] * (f->expect[i] - m->unknown[i]);
    for (size_t k = 0; k < f->K; k++) {
        const double *g = &m->G[k * n];
        for (size_t i = 0; i < n; i++) {
            for (size_t j = 0; j <= i && g[i] != 0; j++)
                m->M[i * n + j] += g[i] * g[j];
            change[i] += g[i] * m->e[k];
        }
    }
    for (size_t i = 0; i < n; i++) {
        double v = m->M[i * n + i] + f->weight[i];
        m->scale[i] = v > 0 ? 1 / sqrt(v) : 0;
    }
    for (size_t i = 0; i < n; i++) {
        m->M[i * n + i] += f->weight[i];
        for (size_t j = 0; j <= i; j++)
            m->M[i * n + j] *= m->scale[i] * m->scale[j];
        change[i] *= m->scale[i];
    }
    m->n_loose = jl_cholesky(m->M, n, NULL);
    jl_cholesky_lower(m->M, n, NULL, change, 1);
    jl_cholesky_upper(m->M, n, change);
    for (size_t i = 0; i < n; i++)
        change[i] *= m->scale[i];
}

static void pass(struct jl_joint *f, struct jl_joint_model *m)
{
    double *u = m->unknown, *change = f->row;
    jl_joint_noise(f, m);
    jl_cholesky(m->V, f->K, m->first);
    jl_joint_linearise(f, u, m->e, m->G);
    jl_cholesky_lower(m->V, f->K, m->first, m->G, f->n_u);
    jl_cholesky_lower(m->V, f->K, m->first, m->e, 1);
    solve_normal(f, m, change);
    for (size_t i = 0; i < f->n_u; i++)
        u[i] += change[i];
    u[jl_joint_at(f, JL_RISE)] = fmax(f->u_r / 10, u[jl_joint_at(f, JL_RISE)]);
    for (size_t j = 0; j < f->n_bd; j++)
        u[jl_joint_at(f, JL_LATE) + j] = fmin(fmax(u[jl_joint_at(f, JL_LATE) + j], -MOST_LATE), MOST_LATE);
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* false: this start leads nowhere. */
static bool run_passes(struct jl_joint *f, struct jl_joint_model *m)
{
    double most = LOST * jl_joint_largest_w(f, m);
    for (int i = 0; i < PASSES; i++) {
        pass(f, m);
        if (!all_finite(m->unknown, f->n_u) || jl_joint_largest_w(f, m) > most)
            return false;
    }
    jl_joint_linearise(f, m->unknown, m->e, NULL);
    jl_cholesky_lower(m->V, f->K, m->first, m->e, 1);
    double square = 0, prior = 0;
    for (size_t k = 0; k < f->K; k++)
        square += m->e[k] * m->e[k];
    for (size_t i = 0; i < f->n_u; i++)
        prior += f->weight[i] * (m->unknown[i] - f->expect[i]) * (m->unknown[i] - f->expect[i]);
    m->chi = fmax(1, square / fmax(1, (double)f->K - (double)f->n_p));
    m->sum = square + prior;
    return isfinite(m->sum);
}

/* Powers by two slopes of the updates moved by D; false: no level on one side. */
static bool start_at(const struct jl_joint *f, const struct jl_edge *e, size_t n, double D, double *unknown)
{
    double moved[JOULET_PHASES_MAX + 1];
    struct jl_cum cum[JOULET_PHASES_MAX + 1];
    size_t m = f->n_bd - 1;
    for (size_t j = 0; j <= m; j++)
        moved[j] = f->bd[j] + D;
    struct jl_slope before = jl_slope_in(e, n, -INFINITY, moved[0], true);
    struct jl_slope after = jl_slope_in(e, n, moved[m], INFINITY, false);
    if (!before.ok || !after.ok)
        return false;
    jl_cum_at(e, n, moved, m, f->u_r, cum);
    memset(unknown, 0, f->n_u * sizeof(*unknown));
    unknown[0] = before.p;
    for (size_t i = 0; i < m; i++)
        unknown[i + 1] = (cum[i + 1].e_j - cum[i].e_j) / (f->bd[i + 1] - f->bd[i]);
    unknown[m + 1] = after.p;
    unknown[jl_joint_at(f, JL_LAG)] = D;
    unknown[jl_joint_at(f, JL_RISE)] = f->u_r;
    return all_finite(unknown, f->n_u);
}

void jl_joint_solve(struct jl_joint *f, const struct jl_edge *e, size_t n)
{
    static const double starts[] = {0, -0.8, 0.8, -1.6, 1.6};
    size_t count = f->u_t > SMALL_U_T ? JL_COUNT(starts) : 1;
    for (size_t i = 0; i < count; i++) {
        struct jl_joint_model *m = f->best == &f->a ? &f->b : &f->a;
        if (start_at(f, e, n, starts[i] * f->u_t, m->unknown) && run_passes(f, m) && (!f->best || m->sum < f->best->sum))
            f->best = m;
    }
}
