/* joint_fit.c - all phases of a slow counter together (docs/method.md 2.2, joint fit).
 *
 * A counter that updates every 10 ms or more seldom tells little about a boundary between two updates, but its boundaries are
 * events at known times: power, lag, rise and the share of each step that comes late are unknowns of one model, found by
 * least squares over the updates around the boundaries (Gauss-Newton; what is known beforehand enters as priors). What the
 * model leaves over is power noise, correlated over 50 ms: its share in each phase is the conditional mean, so that a phase
 * between updates follows the model and a long one follows the counter. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR      6     /* updates used on each side of a boundary */
#define LEAST     3     /* updates that must lie before the first boundary and after the last */
#define PASSES    4     /* of Gauss-Newton */
#define STEADY    0.02  /* power noise, of the power, ... */
#define TAU_S     0.05  /* ... correlated over this time */
#define LATE_S    0.06  /* time constant of what comes late of a step, ... */
#define U_LATE    0.15  /* ... its share beforehand, ... */
#define MOST_LATE 0.6   /* ... and at most */
#define SMALL_U_T 5e-3  /* a lag known better than this needs one start only */
#define MISMATCH  4     /* reduced chi square above which the model is not the power */
#define FORGOTTEN 1e-17 /* correlation that no longer matters */
#define LEAST_U_T 1e-6  /* s: of a device whose time or rise is said to be exact */
#define LEAST_U_R 1e-4
#define LOST      10   /* times the largest power of its start: this start went astray, and its noise with it */
#define ESTIMABLE 1e-6 /* share of an energy that may lie in a direction without data */

/* What the linearised model of one start holds. Arrays are rows of one allocation. */
struct model {
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
    struct model a, b;
    struct model *best;
    void *arena;
};

enum { LAG, RISE, LATE }; /* order of the unknowns behind the powers */

static size_t at(const struct jl_joint *f, int which)
{
    return f->n_p + (size_t)which;
}

/* ---- the model ------------------------------------------------------------------------------------------------------- */

/* Energy of a unit step x seconds after it, when power follows with rise r; its derivatives by x and by r. */
struct bend {
    double f, by_x, by_r;
};

static struct bend bend(double x, double r)
{
    double away = exp(-x / r);
    return (struct bend){x - r * (1 - away), 1 - away, x / r * away - (1 - away)};
}

/* Cumulative energy at x (lag taken off) from the first update on, and its derivatives; by_lag: x moves with the lag. */
static double energy_at(const struct jl_joint *f, const double *u, double x, bool by_lag, double *d)
{
    const double *z = &u[at(f, LATE)];
    double Q = u[0] * (x - f->t[0]), p = u[0], by_r = 0;
    memset(d, 0, f->n_u * sizeof(*d));
    d[0] = x - f->t[0];
    for (size_t j = 0; j < f->n_bd && x > f->bd[j]; j++) {
        struct bend s = bend(x - f->bd[j], u[at(f, RISE)]), l = bend(x - f->bd[j], LATE_S);
        double H = u[j + 1] - u[j], share = (1 - z[j]) * s.f + z[j] * l.f;
        d[j] -= share;
        d[j + 1] = share;
        d[at(f, LATE) + j] = H * (l.f - s.f);
        Q += H * share;
        p += H * ((1 - z[j]) * s.by_x + z[j] * l.by_x);
        by_r += H * (1 - z[j]) * s.by_r;
    }
    d[at(f, LAG)] = by_lag ? -p : 0;
    d[at(f, RISE)] = by_r;
    return Q;
}

/* Residuals y - model into e, derivatives of the model into X (K x unknowns) if it is not NULL. */
static void linearise(struct jl_joint *f, const double *u, double *e, double *X)
{
    double *d[2] = {f->row, f->row + f->n_u};
    double before = energy_at(f, u, f->t[0] - u[at(f, LAG)], true, d[0]);
    for (size_t k = 0; k < f->K; k++) {
        double *last = d[k % 2], *next = d[(k + 1) % 2];
        double Q = energy_at(f, u, f->t[k + 1] - u[at(f, LAG)], true, next);
        e[k] = f->c[k + 1] - f->c[k] - (Q - before);
        for (size_t i = 0; X && i < f->n_u; i++)
            X[k * f->n_u + i] = next[i] - last[i];
        before = Q;
    }
}

/* ---- noise ----------------------------------------------------------------------------------------------------------- */

/* Cuts the time of the updates at them and at the boundaries: pieces of one power in one increment. */
static void cut_pieces(const struct jl_joint *f, struct model *m)
{
    double D = m->unknown[at(f, LAG)];
    size_t j = 0, n = 0;
    m->cut[0] = f->t[0] - D;
    while (j < f->n_bd && f->bd[j] <= m->cut[0])
        j++;
    for (size_t k = 0; k < f->K; k++) {
        double end = f->t[k + 1] - D;
        for (;;) {
            bool inside = j < f->n_bd && f->bd[j] < end;
            m->phase[n] = j;
            m->increment[n] = k;
            m->cut[++n] = inside ? f->bd[j] : end;
            j += j < f->n_bd && f->bd[j] <= end;
            if (!inside)
                break;
        }
    }
    m->n_pieces = n;
}

static double largest_power(const struct jl_joint *f, const struct model *m)
{
    double most = 0;
    for (size_t i = 0; i < f->n_p; i++)
        most = fmax(most, fabs(m->unknown[i]));
    return most;
}

/* Power noise, correlated over TAU_S. A phase that draws nothing still has some, or it would count without limit. */
static void weigh_pieces(const struct jl_joint *f, struct model *m)
{
    double most = largest_power(f, m);
    for (size_t a = 0; a < m->n_pieces; a++) {
        double L = m->cut[a + 1] - m->cut[a], level = STEADY * fmax(fabs(m->unknown[m->phase[a]]), fmax(1e-4 * most, 1e-6));
        m->fade[a] = exp(-L / TAU_S);
        m->w[a] = level * TAU_S * (1 - m->fade[a]);
        m->self[a] = 2 * level * TAU_S * fmax(0, level * L - m->w[a]);
    }
}

static size_t phase_at(const struct jl_joint *f, double x)
{
    size_t j = 0;
    while (j < f->n_bd && f->bd[j] < x)
        j++;
    return j;
}

/* Variance of the energy read at update k: its time is known to hw, its value to a quantum. */
static double edge_variance(const struct jl_joint *f, const struct model *m, size_t k)
{
    double moved = m->unknown[phase_at(f, f->t[k] - m->unknown[at(f, LAG)])] * f->hw[k];
    return moved * moved / 3 + f->q * f->q / 12;
}

static void add_to(const struct jl_joint *f, struct model *m, size_t k, size_t l, double v)
{
    m->V[k * f->K + l] += v;
    m->first[k] = l < m->first[k] ? l : m->first[k];
}

/* V = O N O' + T, lower half. */
static void build_noise(const struct jl_joint *f, struct model *m)
{
    memset(m->V, 0, f->K * f->K * sizeof(*m->V));
    for (size_t k = 0; k < f->K; k++)
        m->first[k] = k;
    for (size_t a = 0; a < m->n_pieces; a++) {
        double seen = m->w[a];
        add_to(f, m, m->increment[a], m->increment[a], m->self[a]);
        for (size_t b = a + 1; b < m->n_pieces && seen > FORGOTTEN * m->w[a]; b++) {
            bool same = m->increment[b] == m->increment[a];
            add_to(f, m, m->increment[b], m->increment[a], (same ? 2 : 1) * m->w[b] * seen);
            seen *= m->fade[b];
        }
    }
    for (size_t k = 0; k <= f->K; k++) {
        double v = edge_variance(f, m, k);
        if (k > 0)
            add_to(f, m, k - 1, k - 1, v);
        if (k < f->K)
            add_to(f, m, k, k, v + f->lost[k]);
        if (k > 0 && k < f->K)
            add_to(f, m, k, k - 1, -v);
    }
}

/* out = N o: the covariance of each piece with the energy of the pieces in o. */
static void spread_noise(const struct model *m, const double *o, double *out)
{
    double seen = 0;
    for (size_t a = 0; a < m->n_pieces; a++) {
        out[a] = m->self[a] * o[a] + m->w[a] * seen;
        seen = seen * m->fade[a] + m->w[a] * o[a];
    }
    seen = 0;
    for (size_t a = m->n_pieces; a-- > 0;) {
        out[a] += m->w[a] * seen;
        seen = seen * m->fade[a] + m->w[a] * o[a];
    }
}

/* ---- Gauss-Newton ---------------------------------------------------------------------------------------------------- */

/* Normal equations from G = L^-1 X, scaled to a unit diagonal, factored; `change` becomes what the unknowns move by. */
static void solve_normal(const struct jl_joint *f, struct model *m, double *change)
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

static void pass(struct jl_joint *f, struct model *m)
{
    double *u = m->unknown, *change = f->row;
    cut_pieces(f, m);
    weigh_pieces(f, m);
    build_noise(f, m);
    jl_cholesky(m->V, f->K, m->first);
    linearise(f, u, m->e, m->G);
    jl_cholesky_lower(m->V, f->K, m->first, m->G, f->n_u);
    jl_cholesky_lower(m->V, f->K, m->first, m->e, 1);
    solve_normal(f, m, change);
    for (size_t i = 0; i < f->n_u; i++)
        u[i] += change[i];
    u[at(f, RISE)] = fmax(f->u_r / 10, u[at(f, RISE)]);
    for (size_t j = 0; j < f->n_bd; j++)
        u[at(f, LATE) + j] = fmin(fmax(u[at(f, LATE) + j], -MOST_LATE), MOST_LATE);
}

static bool all_finite(const double *x, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (!isfinite(x[i]))
            return false;
    return true;
}

/* false: this start leads nowhere. */
static bool run_passes(struct jl_joint *f, struct model *m)
{
    double most = LOST * largest_power(f, m);
    for (int i = 0; i < PASSES; i++) {
        pass(f, m);
        if (!all_finite(m->unknown, f->n_u) || largest_power(f, m) > most)
            return false;
    }
    linearise(f, m->unknown, m->e, NULL);
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
    unknown[at(f, LAG)] = D;
    unknown[at(f, RISE)] = f->u_r;
    return all_finite(unknown, f->n_u);
}

static void fit(struct jl_joint *f, const struct jl_edge *e, size_t n)
{
    static const double starts[] = {0, -0.8, 0.8, -1.6, 1.6};
    size_t count = f->u_t > SMALL_U_T ? JL_COUNT(starts) : 1;
    for (size_t i = 0; i < count; i++) {
        struct model *m = f->best == &f->a ? &f->b : &f->a;
        if (start_at(f, e, n, starts[i] * f->u_t, m->unknown) && run_passes(f, m) && (!f->best || m->sum < f->best->sum))
            f->best = m;
    }
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

static double *take(double **arena, size_t n)
{
    double *x = *arena;
    *arena += n;
    return x;
}

/* Indices go into the room of doubles: they are no larger. */
_Static_assert(sizeof(size_t) <= sizeof(double), "an index fits in the room of a double");

static void lay_model(const struct jl_joint *f, struct model *m, double **arena)
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
    size_t count = 0, next = 0;
    for (size_t j = 0; j < n_bd; j++) {
        size_t k = jl_edge_at(e, n, bd[j]), lo = k > NEAR ? k - NEAR : 0, hi = k + NEAR < n ? k + NEAR : n;
        for (size_t i = lo > next ? lo : next; i < hi; i++)
            index[count++] = i;
        next = hi > next ? hi : next;
    }
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
    f->weight[at(f, LAG)] = 1 / (f->u_t * f->u_t);
    f->weight[at(f, RISE)] = 4 / (f->u_r * f->u_r);
    f->expect[at(f, RISE)] = f->u_r;
    for (size_t j = 0; j < f->n_bd; j++)
        f->weight[at(f, LATE) + j] = 1 / (U_LATE * U_LATE);
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
    fit(f, e, n);
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
    const struct model *m = f->best;
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
    const struct model *m = f->best;
    double own = 0;
    for (size_t a = 0; a < m->n_pieces; a++)
        f->o[a] = m->phase[a] > first && m->phase[a] <= last + 1;
    spread_noise(m, f->o, f->near);
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
    struct model *m = f->best;
    double *a = f->row, *other = f->row + f->n_u;
    double from = energy_at(f, m->unknown, f->bd[first], false, other);
    double e = energy_at(f, m->unknown, f->bd[last + 1], false, a) - from;
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
    return f->best->unknown[at(f, LAG)];
}

double jl_joint_chi(const struct jl_joint *f)
{
    return f->best->chi;
}

bool jl_joint_mismatch(const struct jl_joint *f)
{
    return f->best->chi > MISMATCH;
}
