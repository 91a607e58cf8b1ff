/* joint_fit.c - all phases of a slow counter together (docs/method.md 2.2, joint fit).
 *
 * A counter that updates every 10 ms or more seldom tells little about a boundary between two updates, but its boundaries are
 * events at known times: power, lag, rise and the share of each step that comes late are unknowns of one model, found by
 * least squares over the updates around the boundaries (Gauss-Newton; what is known beforehand enters as priors). What the
 * model leaves over is power noise, correlated over 50 ms: its share in each phase is the conditional mean, so that a phase
 * between updates follows the model and a long one follows the counter. */
#include "lib/meter/joint.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR      6    /* updates used on each side of a boundary */
#define LEAST     3    /* updates that must lie before the first boundary and after the last */
#define U_LATE    0.15 /* share of a step that comes late, as known beforehand */
#define MISMATCH  4    /* reduced chi square above which the model is not the power */
#define LEAST_U_T 1e-6 /* s: of a device whose time or rise is said to be exact */
#define LEAST_U_R 1e-4
#define ESTIMABLE 1e-6 /* share of an energy that may lie in a direction without data */

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

static double *take(double **arena, size_t n)
{
    double *x = *arena;
    *arena += n;
    return x;
}

/* Indices go into the room of doubles: they are no larger. */
_Static_assert(sizeof(size_t) <= sizeof(double), "an index fits in the room of a double");

static void lay_model(const struct jl_joint *f, struct jl_joint_model *m, double **arena)
{
    size_t K = f->K, n = f->n_u, pieces = K + f->n_bd;
    m->unknown = take(arena, n);
    m->cut = take(arena, pieces + 1);
    m->fade = take(arena, pieces);
    m->w = take(arena, pieces);
    m->self = take(arena, pieces);
    m->increment = (size_t *)(void *)take(arena, pieces);
    m->phase = (size_t *)(void *)take(arena, pieces);
    m->V = take(arena, K * K);
    m->first = (size_t *)(void *)take(arena, K);
    m->G = take(arena, K * n);
    m->e = take(arena, K);
    m->M = take(arena, n * n);
    m->scale = take(arena, n);
}

static size_t room_of_model(size_t K, size_t n, size_t n_bd)
{
    return n * (n + 2) + K * (K + n + 2) + 6 * (K + n_bd) + 1;
}

static bool reserve(struct jl_joint *f)
{
    size_t K = f->K, n = f->n_u, pieces = K + f->n_bd;
    size_t room = 4 * f->n_edges + 4 * n + K + 2 * pieces + 2 * room_of_model(K, n, f->n_bd);
    double *arena = calloc(room, sizeof(*arena));
    f->arena = arena;
    if (!arena)
        return false;
    f->t = take(&arena, f->n_edges);
    f->hw = take(&arena, f->n_edges);
    f->c = take(&arena, f->n_edges);
    f->lost = take(&arena, f->n_edges);
    f->expect = take(&arena, n);
    f->weight = take(&arena, n);
    f->row = take(&arena, 2 * n);
    f->column = take(&arena, K);
    f->o = take(&arena, pieces);
    f->near = take(&arena, pieces);
    lay_model(f, &f->a, &arena);
    lay_model(f, &f->b, &arena);
    return true;
}

/* ---- which updates ----------------------------------------------------------------------------------------------------- */

/* Indices of the updates near any boundary, ascending, each once; returns how many there are. */
static size_t updates_near(const struct jl_edge *e, size_t n, const double *bd, size_t n_bd, size_t *index)
{
    size_t count = 0;
    for (size_t j = 0; j < n_bd; j++)
        count = jl_add_around(jl_edge_at(e, n, bd[j]), n, NEAR, index, count);
    return count;
}

static void copy_updates(struct jl_joint *f, const struct jl_edge *e, const size_t *index)
{
    for (size_t i = 0; i < f->n_edges; i++) {
        const struct jl_edge *x = &e[index[i]];
        f->t[i] = x->t;
        f->hw[i] = x->hw;
        f->c[i] = x->c - e[index[0]].c;
        for (size_t k = index[i] + 1; i + 1 < f->n_edges && k <= index[i + 1]; k++)
            f->lost[i] += e[k].hidden_u * e[k].hidden_u;
    }
}

static void set_priors(struct jl_joint *f)
{
    f->weight[jl_joint_at(f, JL_LAG)] = 1 / (f->u_t * f->u_t);
    f->weight[jl_joint_at(f, JL_RISE)] = 4 / (f->u_r * f->u_r);
    f->expect[jl_joint_at(f, JL_RISE)] = f->u_r;
    for (size_t j = 0; j < f->n_bd; j++)
        f->weight[jl_joint_at(f, JL_LATE) + j] = 1 / (U_LATE * U_LATE);
}

static bool is_covered(const struct jl_edge *e, size_t n, const double *bd, size_t m)
{
    size_t before = jl_edge_at(e, n, bd[0]), after = n - jl_edge_at(e, n, bd[m]);
    return before >= LEAST && after >= LEAST;
}

struct jl_joint *jl_joint_open(const struct jl_edge *e, size_t n, const double *bd, size_t m, const struct jl_params *p)
{
    size_t index[2 * NEAR * (JOULET_PHASES_MAX + 1)];
    if (m < 1 || m > JOULET_PHASES_MAX || n < 2 || !is_covered(e, n, bd, m))
        return NULL;
    struct jl_joint *f = calloc(1, sizeof(*f));
    if (!f)
        return NULL;
    *f = (struct jl_joint){.bd = bd, .n_bd = m + 1, .n_p = m + 2, .n_u = 2 * m + 5, .q = p->q};
    f->u_t = fmax(p->u_t, LEAST_U_T);
    f->u_r = fmax(p->u_r, LEAST_U_R);
    f->n_edges = updates_near(e, n, bd, f->n_bd, index);
    f->K = f->n_edges - 1;
    if (!reserve(f))
        goto fail;
    copy_updates(f, e, index);
    set_priors(f);
    jl_joint_solve(f, e, n);
    if (f->best)
        return f;
fail:
    jl_joint_close(f);
    return NULL;
}

void jl_joint_close(struct jl_joint *f)
{
    if (!f)
        return;
    free(f->arena);
    free(f);
}

/* ---- results --------------------------------------------------------------------------------------------------------- */

/* Does the energy depend on an unknown that nothing determines? */
static bool is_estimable(const struct jl_joint *f, const double *a, double *null)
{
    const struct jl_joint_model *m = f->best;
    for (size_t i = 0; i < f->n_u && m->n_loose > 0; i++) {
        if (m->M[i * f->n_u + i] > 0 || m->scale[i] <= 0)
            continue;
        double along = 0, total = 0;
        jl_cholesky_null(m->M, f->n_u, i, null);
        for (size_t k = 0; k < f->n_u; k++) {
            along += a[k] * m->scale[k] * null[k];
            total += fabs(a[k] * m->scale[k] * null[k]);
        }
        if (fabs(along) > ESTIMABLE * total)
            return false;
    }
    return true;
}

/* c = O N o into f->column; returns o' N o. */
static double covariance(struct jl_joint *f, size_t first, size_t last)
{
    const struct jl_joint_model *m = f->best;
    double own = 0;
    for (size_t a = 0; a < m->n_pieces; a++)
        f->o[a] = m->phase[a] > first && m->phase[a] <= last + 1;
    jl_joint_spread(m, f->o, f->near);
    memset(f->column, 0, f->K * sizeof(*f->column));
    for (size_t a = 0; a < m->n_pieces; a++) {
        f->column[m->increment[a]] += f->near[a];
        own += f->o[a] * f->near[a];
    }
    return own;
}

static double square_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i] * x[i];
    return sum;
}

void jl_joint_phases(struct jl_joint *f, size_t first, size_t last, struct jl_jointly *out)
{
    struct jl_joint_model *m = f->best;
    double *a = f->row, *other = f->row + f->n_u;
    double from = jl_joint_energy(f, m->unknown, f->bd[first], false, other);
    double e = jl_joint_energy(f, m->unknown, f->bd[last + 1], false, a) - from;
    for (size_t i = 0; i < f->n_u; i++)
        a[i] -= other[i];
    double own = covariance(f, first, last);
    bool known = is_estimable(f, a, other);
    jl_cholesky_lower(m->V, f->K, m->first, f->column, 1);
    for (size_t k = 0; k < f->K; k++) {
        e += f->column[k] * m->e[k];
        for (size_t i = 0; i < f->n_u; i++)
            a[i] -= m->G[k * f->n_u + i] * f->column[k];
    }
    double told = square_of(f->column, f->K);
    for (size_t i = 0; i < f->n_u; i++)
        a[i] *= m->scale[i];
    jl_cholesky_lower(m->M, f->n_u, NULL, a, 1);
    *out = (struct jl_jointly){
        .e_j = e,
        .u_b = sqrt(m->chi * fmax(0, own - told + square_of(a, f->n_u))),
        .unresolved = !known,
    };
}

double jl_joint_level_w(const struct jl_joint *f, bool after)
{
    return f->best->unknown[after ? f->n_p - 1 : 0];
}

double jl_joint_lag_s(const struct jl_joint *f)
{
    return f->best->unknown[jl_joint_at(f, JL_LAG)];
}

double jl_joint_chi(const struct jl_joint *f)
{
    return f->best->chi;
}

bool jl_joint_mismatch(const struct jl_joint *f)
{
    return f->best->chi > MISMATCH;
}
