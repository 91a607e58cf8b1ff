/* components_refine.c - weighted least squares of the readings of a profile, and how far its powers may be off (8.2). Power
 * wanders by some per cent of itself and drifts over minutes. So a reading scatters as its energy does, and what is slow is told
 * apart from the powers by waves of everything that are unknowns beside them. Neighbours are alike: the uncertainty comes from
 * leaving out each piece of the time in turn, which needs no idea of how alike they are. */
#include "lib/base/base.h"
#include "lib/meter/components.h"
#include "lib/stats/regress.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <string.h>

#define ROUNDS     2    /* weights from powers, powers from weights */
#define SHARE      0.02 /* a reading scatters by so much of its energy, until that is known */
#define SHARE_MIN  1e-6
#define LEAST      0.3  /* of the mean energy of a reading: below, its scatter falls no further */
#define WAVE_S     10.0 /* one half of a wave in so much time ... */
#define WAVES_MIN  2
#define WAVES_MAX  6
#define WAVE       0.03 /* ... of so much of the power, the first one; the n-th an n-th */
#define PIECES     32
#define PIECES_MIN 4
#define WINDOWS    2.0 /* in a piece at least, where the time is long enough */
#define HALF_TURN  3.14159265358979323846

struct refining {
    const struct components_rows *r;
    double from_s, span_s, least_j, share;
    size_t waves, terms, pieces;
    double power_w[JOULET_COMPONENTS_MAX];
    bool held[JOULET_COMPONENTS_MAX]; /* at 0 */
};

struct row {
    double a[JL_TERMS_MAX], y;
};

static double gross_of(const struct refining *f, size_t i)
{
    const struct components_rows *r = f->r;
    double gross_j = r->idle_w * (r->each[i].to_s - r->each[i].from_s);
    for (size_t c = 0; c < r->kinds; c++)
        gross_j += f->power_w[c] * r->seconds[i * r->kinds + c];
    return gross_j;
}

/* A reading in units of its own scatter, but for `share`. Where a window may lie beside its place it scatters by what power
 * changes between its ends. */
static struct row row_of(const struct refining *f, size_t i)
{
    const struct components_rows *r = f->r;
    const double *lag = r->slope[COMPONENTS_LAG];
    double gross_j = gross_of(f, i), at = (r->each[i].from_s - f->from_s) / f->span_s;
    double edge_j = lag ? lag[i] * r->each[i].hw_s / sqrt(3) / f->share : 0;
    double weight = 1 / hypot(fmax(gross_j, f->least_j), edge_j);
    struct row out = {.y = r->each[i].net_j * weight};
    size_t n = 0;
    for (; n < r->kinds; n++)
        out.a[n] = r->seconds[i * r->kinds + n] * weight;
    for (int s = 0; s < COMPONENTS_SLOPES; s++)
        if (r->slope[s])
            out.a[n++] = r->slope[s][i] * weight;
    for (size_t j = 1; j <= f->waves; j++)
        out.a[n++] = gross_j * weight * cos(HALF_TURN * (double)j * at);
    return out;
}

static void sum_rows(const struct refining *f, size_t from, size_t to, struct jl_equations *e)
{
    jl_equations_init(e, f->terms);
    for (size_t i = from; i < to; i++) {
        struct row x = row_of(f, i);
        jl_equations_add(e, x.a, x.y, 1);
    }
}

/* What is known of the waves beforehand. */
static void add_waves(const struct refining *f, struct jl_equations *e)
{
    for (size_t j = 0; j < f->waves; j++) {
        double a[JL_TERMS_MAX] = {0};
        a[f->terms - f->waves + j] = 1;
        jl_equations_add(e, a, 0, f->share * (double)(j + 1) / WAVE);
    }
}

static bool solve(const struct refining *f, const struct jl_equations *e, struct jl_regression *out)
{
    struct jl_equations own = *e;
    for (size_t c = 0; c < f->r->kinds; c++)
        for (size_t t = 0; f->held[c] && t < own.terms; t++) {
            own.xx[c][t] = own.xx[t][c] = t == c;
            own.xy[c] = 0;
        }
    return jl_least_squares(&own, out);
}

/* ---- uncertainty ------------------------------------------------------------------------------------------------------- */

static void take_off(struct jl_equations *e, const struct jl_equations *part)
{
    for (size_t a = 0; a < e->terms; a++) {
        for (size_t b = 0; b < e->terms; b++)
            e->xx[a][b] -= part->xx[a][b];
        e->xy[a] -= part->xy[a];
    }
    e->yy -= part->yy;
}

/* The jackknife over pieces of the time. A piece without which the kinds cannot be told apart says nothing, and the others stand
 * for it. */
static void find_variance(const struct refining *f, const struct jl_equations *all, const struct jl_regression *s,
                          double *variance)
{
    size_t left_out = 0;
    memset(variance, 0, f->r->kinds * sizeof *variance);
    for (size_t g = 0; g < f->pieces; g++) {
        struct jl_equations rest = *all, piece;
        struct jl_regression without;
        sum_rows(f, g * f->r->n / f->pieces, (g + 1) * f->r->n / f->pieces, &piece);
        take_off(&rest, &piece);
        if (!solve(f, &rest, &without))
            continue;
        left_out++;
        for (size_t c = 0; c < f->r->kinds; c++)
            variance[c] += (without.x[c] - s->x[c]) * (without.x[c] - s->x[c]);
    }
    for (size_t c = 0; c < f->r->kinds; c++)
        variance[c] *= left_out ? (double)(f->pieces - 1) / (double)left_out : 0;
}

/* ---- the fit ------------------------------------------------------------------------------------------------------------- */

static bool init(struct refining *f, const struct components_rows *r, const struct joulet_component_powers *p)
{
    double gross_j = 0, window_s = 0;
    *f = (struct refining){.r = r, .share = SHARE, .from_s = r->each[0].from_s};
    f->span_s = r->each[r->n - 1].to_s - f->from_s;
    memcpy(f->power_w, p->power_w, sizeof f->power_w);
    for (size_t i = 0; i < r->n; i++) {
        gross_j += gross_of(f, i) / (double)r->n;
        window_s += (r->each[i].to_s - r->each[i].from_s) / (double)r->n;
    }
    f->least_j = LEAST * gross_j;
    f->waves = (size_t)fmin(fmax(round(f->span_s / WAVE_S), WAVES_MIN), WAVES_MAX);
    f->terms = r->kinds + f->waves + (r->slope[COMPONENTS_LAG] != NULL) + (r->slope[COMPONENTS_RISE] != NULL);
    f->pieces = (size_t)fmin(fmax(f->span_s / window_s / WINDOWS, PIECES_MIN), PIECES);
    return r->n > f->terms + PIECES_MIN && gross_j > 0 && isfinite(gross_j);
}

/* Powers that came out negative are held at 0, the most negative one first; how uncertain they are is known already. */
static bool hold(struct refining *f, const struct jl_equations *e, struct jl_regression *s)
{
    for (;;) {
        size_t least = 0;
        for (size_t c = 1; c < f->r->kinds; c++)
            least = s->x[c] < s->x[least] ? c : least;
        if (s->x[least] >= 0)
            return true;
        f->held[least] = true;
        if (!solve(f, e, s))
            return false;
    }
}

bool components_refine(const struct components_rows *r, struct joulet_component_powers *p, double shift_s[COMPONENTS_SLOPES])
{
    struct refining f;
    struct jl_equations e;
    struct jl_regression s;
    double variance[JOULET_COMPONENTS_MAX], one = NAN;
    if (!init(&f, r, p))
        return false;
    for (int i = 0; i < ROUNDS; i++) {
        sum_rows(&f, 0, r->n, &e);
        add_waves(&f, &e);
        if (!solve(&f, &e, &s))
            return false;
        one = s.rss / (double)(r->n + f.waves - f.terms);
        if (i + 1 == ROUNDS)
            break;
        f.share = fmax(sqrt(one), SHARE_MIN);
        memcpy(f.power_w, s.x, r->kinds * sizeof s.x[0]);
    }
    struct jl_regression free_s = s;
    find_variance(&f, &e, &s, variance);
    if (!hold(&f, &e, &s))
        return false;
    for (size_t c = 0; c < r->kinds; c++) {
        p->power_w[c] = s.x[c];
        p->u_w[c] = jl_t975((double)f.pieces - 1) / 2 * sqrt(fmax(variance[c], free_s.cov[c][c] * one));
    }
    size_t at = r->kinds;
    for (int k = 0; k < COMPONENTS_SLOPES; k++)
        shift_s[k] = r->slope[k] ? s.x[at++] : 0;
    return true;
}
