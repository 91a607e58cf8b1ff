/* joint_model.c - what a joint fit says of the energy between two updates, and the noise that the model leaves over
 * (docs/method.md 2.2, joint fit): power in steps that lag, rise and come late in part, and noise correlated over 50 ms. */
#include "lib/meter/joint.h"

#include <math.h>
#include <string.h>

#define STEADY    0.02  /* power noise, of the power, ... */
#define TAU_S     0.05  /* ... correlated over this time */
#define LATE_S    0.06  /* time constant of what comes late of a step */
#define FORGOTTEN 1e-17 /* correlation that no longer matters */

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

double jl_joint_energy(const struct jl_joint *f, const double *u, double x, bool by_lag, double *d)
{
    const double *z = &u[jl_joint_at(f, JL_LATE)];
    double Q = u[0] * (x - f->t[0]), p = u[0], by_r = 0;
    memset(d, 0, f->n_u * sizeof(*d));
    d[0] = x - f->t[0];
    for (size_t j = 0; j < f->n_bd && x > f->bd[j]; j++) {
        struct bend s = bend(x - f->bd[j], u[jl_joint_at(f, JL_RISE)]), l = bend(x - f->bd[j], LATE_S);
        double H = u[j + 1] - u[j], share = (1 - z[j]) * s.f + z[j] * l.f;
        d[j] -= share;
        d[j + 1] = share;
        d[jl_joint_at(f, JL_LATE) + j] = H * (l.f - s.f);
        Q += H * share;
        p += H * ((1 - z[j]) * s.by_x + z[j] * l.by_x);
        by_r += H * (1 - z[j]) * s.by_r;
    }
    d[jl_joint_at(f, JL_LAG)] = by_lag ? -p : 0;
    d[jl_joint_at(f, JL_RISE)] = by_r;
    return Q;
}

void jl_joint_linearise(struct jl_joint *f, const double *u, double *e, double *X)
{
    double *d[2] = {f->row, f->row + f->n_u};
    double before = jl_joint_energy(f, u, f->t[0] - u[jl_joint_at(f, JL_LAG)], true, d[0]);
    for (size_t k = 0; k < f->K; k++) {
        double *last = d[k % 2], *next = d[(k + 1) % 2];
        double Q = jl_joint_energy(f, u, f->t[k + 1] - u[jl_joint_at(f, JL_LAG)], true, next);
        e[k] = f->c[k + 1] - f->c[k] - (Q - before);
        for (size_t i = 0; X && i < f->n_u; i++)
            X[k * f->n_u + i] = next[i] - last[i];
        before = Q;
    }
}

/* ---- noise ----------------------------------------------------------------------------------------------------------- */

/* Cuts the time of the updates at them and at the boundaries: pieces of one power in one increment. */
static void cut_pieces(const struct jl_joint *f, struct jl_joint_model *m)
{
    double D = m->unknown[jl_joint_at(f, JL_LAG)];
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

double jl_joint_largest_w(const struct jl_joint *f, const struct jl_joint_model *m)
{
    double most = 0;
    for (size_t i = 0; i < f->n_p; i++)
        most = fmax(most, fabs(m->unknown[i]));
    return most;
}

/* Power noise, correlated over TAU_S. A phase that draws nothing still has some, or it would count without limit. */
static void weigh_pieces(const struct jl_joint *f, struct jl_joint_model *m)
{
    double most = jl_joint_largest_w(f, m);
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
static double edge_variance(const struct jl_joint *f, const struct jl_joint_model *m, size_t k)
{
    double moved = m->unknown[phase_at(f, f->t[k] - m->unknown[jl_joint_at(f, JL_LAG)])] * f->hw[k];
    return moved * moved / 3 + f->q * f->q / 12;
}

static void add_to(const struct jl_joint *f, struct jl_joint_model *m, size_t k, size_t l, double v)
{
    m->V[k * f->K + l] += v;
    m->first[k] = l < m->first[k] ? l : m->first[k];
}

/* V = O N O' + T, lower half. */
static void build_noise(const struct jl_joint *f, struct jl_joint_model *m)
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

void jl_joint_spread(const struct jl_joint_model *m, const double *o, double *out)
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

void jl_joint_noise(const struct jl_joint *f, struct jl_joint_model *m)
{
    cut_pieces(f, m);
    weigh_pieces(f, m);
    build_noise(f, m);
}
