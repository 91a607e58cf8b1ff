/* slow_fit.c - phases of a slow gauge: a plug, a management controller, anything that gives a new power every half second or
 * seldomer (docs/method.md 2.2, slow gauges).
 *
 * In the seconds on both sides of a boundary much may happen that two readings cannot tell, and hardly any such device says
 * whether a reading is a mean, filtered, or of one moment, and how old it is. So the power is taken to step at the boundaries and
 * to walk at random in between, and every way the device may have, every lag and every unrest of the walk gets the weight that
 * the readings give it. Energies and their uncertainty are those of the mixture: steady phases make it narrow. */
#include "lib/meter/slow.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define NEAR        6    /* updates used on each side of a boundary; those beyond count together */
#define LEAST       1    /* updates that must lie before the first boundary and after the last */
#define LAGS        9    /* from end to end of what the lag may be */
#define SCATTER_W   0.3  /* of a single power reading, whatever the power does */
#define STEP        2    /* of the range of the readings: a step at a boundary, 1 sigma */
#define LEAST_R     0.02 /* of the largest reading: what counts as the range of steady ones */
#define TEMPER      0.3  /* power of the likelihood: a walk is not how power moves, so readings tell less than they seem to */
#define UNSEEN      0.12 /* of the range of the readings, for a period: what the power may have done between two moments */
#define OFTEN       10   /* periods for the same once more */
#define WIDER       1.25 /* the mixture has longer tails than its variance says */
#define GAP_PERIODS 1.5  /* between two readings: one was missed */
#define GRID_LEAST  6    /* updates that tell the grid of a device */
#define GRID_KNOWN  0.35 /* of a half-width that the grid leaves: polls drift through it slowly */
#define GRID_REACH  1.3  /* half-widths that each of them may be from it */

static const struct jl_way known_way[] = {{JL_SHOWS_MEAN, 0, 1}};
/* tau in periods */
static const struct jl_way any_way[] = {{JL_SHOWS_MEAN, 0, 0.35},
                                        {JL_SHOWS_MOMENT, 0, 0.35},
                                        {JL_SHOWS_FILTERED, 0.4, 0.1},
                                        {JL_SHOWS_FILTERED, 0.8, 0.1},
                                        {JL_SHOWS_FILTERED, 1.2, 0.1}};
/* Unrest of the walk: of the range of the readings, in a period. */
static const double unrest[] = {0.002, 0.01, 0.05, 0.2, 0.6, 1.5};

#define COLUMNS (JOULET_PHASES_MAX + 2) /* the level before, and a step at each boundary */

struct jl_slow {
    size_t m; /* phases */
    double e[JOULET_PHASES_MAX], cov[JOULET_PHASES_MAX][JOULET_PHASES_MAX];
};

struct work {
    size_t K, m, columns;
    struct jl_slow_reading *r;
    struct jl_view *view;
    double *walk;          /* K x K: covariance of the readings, for one W^2 a second */
    double *A, *y, *X, *C; /* the same with noise, then its factor; L^-1 of readings, of steps and level, of phases */
    double *cross, *white; /* K x m: covariance with the phases by the walk and by short noise */
    double *steps;         /* K x columns */
    double bd[JOULET_PHASES_MAX + 1], U, R, usual_hw, P[JOULET_PHASES_MAX];
    double most, sum, e[JOULET_PHASES_MAX], square[JOULET_PHASES_MAX][JOULET_PHASES_MAX];
    void *arena;
};

/* ---- readings -------------------------------------------------------------------------------------------------------- */

/* First reading at or after t. */
static size_t reading_at(const struct jl_reading *r, size_t n, double t)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (r[mid].t < t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

static size_t readings_near(const struct jl_reading *r, size_t n, const double *bd, size_t n_bd, size_t *index)
{
    size_t count = 0;
    for (size_t j = 0; j < n_bd; j++)
        count = jl_add_around(reading_at(r, n, bd[j]), n, NEAR, index, count);
    return count;
}

/* A device that updates regularly is seen by polls that come now soon after it, now late: its grid is known better than each
 * update. What shifts all of them alike is lag. at[n]: scratch, numbers of the updates on the grid. */
static void lay_on_grid(struct jl_reading *r, size_t n, double U, double *at)
{
    double t0 = r[0].t, N = (double)n, k1 = 0, k2 = 0, s1 = 0, s2 = 0, g = t0;
    for (size_t i = 0; i < n; i++) {
        double steps = floor((r[i].t - g) / U + 0.5);
        at[i] = i ? at[i - 1] + steps : 0;
        g = fmin(fmax(g + steps * U, r[i].t - r[i].hw), r[i].t + r[i].hw);
        k1 += at[i];
        k2 += at[i] * at[i];
        s1 += r[i].t - t0;
        s2 += at[i] * (r[i].t - t0);
    }
    double step = (N * s2 - k1 * s1) / (N * k2 - k1 * k1), start = t0 + (s1 - step * k1) / N;
    for (size_t i = 0; i < n; i++)
        if (n < GRID_LEAST || (i && at[i] <= at[i - 1]) || fabs(start + step * at[i] - r[i].t) > GRID_REACH * r[i].hw)
            return;
    for (size_t i = 0; i < n; i++) {
        r[i].t = start + step * at[i];
        r[i].hw *= GRID_KNOWN;
    }
}

/* How far sensor time may be from what is told: by the lag, and by polls in step with the device. */
static double spread_of(const struct work *w, const struct jl_params *p)
{
    return sqrt(3) * hypot(p->u_t, w->usual_hw / sqrt(3));
}

/* Readings [a + 1, b] as one: their mean, each as long as it stood. What stood longer than a period hides what came after it. */
static void take_together(const struct jl_reading *r, size_t a, size_t b, double U, struct jl_slow_reading *out)
{
    double sum = 0, hidden = 0, dt = r[b].t - r[a].t;
    for (size_t i = a + 1; i <= b; i++) {
        double stood = r[i].t - r[i - 1].t;
        sum += r[i].y_w * stood;
        hidden = hypot(hidden, stood > GAP_PERIODS * U ? (r[i].y_w - r[i - 1].y_w) * (stood - U) / sqrt(3) : 0);
    }
    *out = (struct jl_slow_reading){.t = r[b].t, .dt = dt, .y_w = sum / dt, .hw = r[b].hw, .count = b - a};
    out->noise = hidden * hidden / (dt * dt);
}

/* Readings that end at the given updates. Where the time of an update is badly known and the power changes there, some of one
 * reading's time belongs to the other. */
static void copy_readings(struct work *w, const struct jl_reading *r, size_t n, const size_t *index, const struct jl_params *p)
{
    double half_step = spread_of(w, p) / (LAGS - 1);
    for (size_t k = 0; k < w->K; k++) {
        size_t a = index[k], b = index[k + 1];
        struct jl_slow_reading *x = &w->r[k];
        if (b > a + 1)
            take_together(r, a, b, p->U, x);
        else
            *x = (struct jl_slow_reading){.t = r[b].t, .dt = p->U, .y_w = r[b].y_w, .hw = r[b].hw, .count = 1};
        double moved = b + 1 < n ? hypot(r[b].hw, half_step) * (r[b + 1].y_w - r[b].y_w) / sqrt(3) : 0;
        x->moved = moved * moved;
        x->noise += SCATTER_W * SCATTER_W / (double)x->count + p->step_w * p->step_w / 12;
    }
}

/* Time 0 of the walk: before everything that a reading may have seen. */
static void set_origin(struct work *w, double spread_s)
{
    double origin = fmin(w->r[0].t - w->r[0].dt, w->bd[0]) - 10 * w->U - spread_s;
    for (size_t k = 0; k < w->K; k++)
        w->r[k].t -= origin;
    for (size_t j = 0; j <= w->m; j++)
        w->bd[j] -= origin;
}

static double mean_of(const struct work *w)
{
    double sum = 0;
    for (size_t k = 0; k < w->K; k++)
        sum += w->r[k].y_w;
    return sum / (double)w->K;
}

static void set_range(struct work *w)
{
    double least = INFINITY, most = -INFINITY;
    for (size_t k = 0; k < w->K; k++) {
        least = fmin(least, w->r[k].y_w);
        most = fmax(most, w->r[k].y_w);
    }
    w->R = fmax(most - least, fmax(LEAST_R * most, SCATTER_W));
    for (size_t i = 0; i < w->m; i++) { /* levels for the short noise only */
        double seen = 0, sum = 0;
        for (size_t k = 0; k < w->K; k++) {
            struct jl_view v = jl_view_span(w->r[k].t - w->r[k].dt, w->r[k].t);
            double part = jl_view_within(&v, w->bd[i], w->bd[i + 1]) * w->r[k].dt;
            seen += part;
            sum += part * w->r[k].y_w;
        }
        w->P[i] = seen > 0 ? sum / seen : most;
    }
}

/* ---- one way, one lag, one unrest -------------------------------------------------------------------------------------- */

static void set_way(struct work *w, const struct jl_way *way)
{
    for (size_t k = 0; k < w->K; k++)
        w->view[k] = jl_view_of(&w->r[k], way, w->U);
    for (size_t k = 0; k < w->K; k++)
        for (size_t l = 0; l <= k; l++)
            w->walk[k * w->K + l] = jl_view_covariance(&w->view[k], &w->view[l]);
    for (size_t k = 0; k < w->K; k++)
        w->walk[k * w->K + k] += jl_view_missed(&w->r[k], way, w->U);
}

/* Phases that are D later on the device's clock: what readings and steps have to do with them. */
static void set_lag(struct work *w, const struct jl_way *way, double D)
{
    for (size_t k = 0; k < w->K; k++) {
        const struct jl_view *v = &w->view[k];
        w->steps[k * w->columns] = 1;
        for (size_t j = 0; j <= w->m; j++)
            w->steps[k * w->columns + j + 1] = jl_view_after(v, w->bd[j] + D);
        for (size_t i = 0; i < w->m; i++) {
            double from = w->bd[i] + D, to = w->bd[i + 1] + D;
            struct jl_view phase = jl_view_span(from, to);
            bool seen = way->shows == JL_SHOWS_MEAN;
            w->cross[k * w->m + i] = (to - from) * jl_view_covariance(v, &phase);
            w->white[k * w->m + i] = seen ? jl_view_flicker(w->r[k].y_w) * jl_view_within(v, from, to) : 0;
        }
    }
}

static void add_noise(struct work *w, const struct jl_way *way, double s2)
{
    for (size_t i = 0; i < w->K * w->K; i++)
        w->A[i] = s2 * w->walk[i];
    for (size_t k = 0; k < w->K; k++) {
        double *row = &w->A[k * w->K], own = w->r[k].dt;
        row[k] += w->r[k].noise + w->r[k].moved / (own * own) + jl_view_noise(&w->r[k], way, w->U);
        if (k > 0) {
            row[k] += w->r[k - 1].moved / (own * own);
            row[k - 1] -= w->r[k - 1].moved / (own * w->r[k - 1].dt);
        }
    }
}

static double log_det(const double *factor, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += factor[i * n + i] > 0 ? log(factor[i * n + i]) : 0;
    return 2 * sum;
}

static double product(const double *a, size_t na, size_t i, const double *b, size_t nb, size_t j, size_t K)
{
    double sum = 0;
    for (size_t k = 0; k < K; k++)
        sum += a[k * na + i] * b[k * nb + j];
    return sum;
}

/* Adds energies and their squares with the weight that this combination has. */
static void mix(struct work *w, double log_weight, const double *e, double cov[][JOULET_PHASES_MAX])
{
    if (!isfinite(log_weight))
        return;
    if (log_weight > w->most) { /* the best so far is 1 */
        double fade = w->sum > 0 ? exp(w->most - log_weight) : 0;
        w->sum *= fade;
        for (size_t i = 0; i < w->m; i++) {
            w->e[i] *= fade;
            for (size_t j = 0; j < w->m; j++)
                w->square[i][j] *= fade;
        }
        w->most = log_weight;
    }
    double weight = exp(log_weight - w->most);
    w->sum += weight;
    for (size_t i = 0; i < w->m; i++) {
        w->e[i] += weight * e[i];
        for (size_t j = 0; j < w->m; j++)
            w->square[i][j] += weight * (cov[i][j] + e[i] * e[j]);
    }
}

/* Level and steps by generalised least squares, what is left by the walk; and how well that explains the readings. */
static void judge(struct work *w, double unseen, double s2, double D, double log_prior, double log_det_A)
{
    size_t n = w->columns, m = w->m, K = w->K;
    double M[COLUMNS * COLUMNS], b[COLUMNS], g[JOULET_PHASES_MAX][COLUMNS], e[JOULET_PHASES_MAX],
        cov[JOULET_PHASES_MAX][JOULET_PHASES_MAX];
    memcpy(w->X, w->steps, K * n * sizeof(*w->X));
    for (size_t i = 0; i < K * m; i++)
        w->C[i] = s2 * w->cross[i] + w->white[i];
    jl_cholesky_lower(w->A, K, NULL, w->X, n);
    jl_cholesky_lower(w->A, K, NULL, w->C, m);
    for (size_t i = 0; i < n; i++) {
        b[i] = product(w->X, n, i, w->y, 1, 0, K);
        for (size_t j = 0; j <= i; j++)
            M[i * n + j] = product(w->X, n, i, w->X, n, j, K);
        M[i * n + i] += i ? 1 / (STEP * w->R * STEP * w->R) : 1e-6 / (w->R * w->R);
    }
    jl_cholesky(M, n, NULL);
    jl_cholesky_lower(M, n, NULL, b, 1); /* R^-1 of the estimates */
    double left = product(w->y, 1, 0, w->y, 1, 0, K), told = product(b, 1, 0, b, 1, 0, n);
    for (size_t i = 0; i < m; i++) {
        double d = w->bd[i + 1] - w->bd[i];
        for (size_t j = 0; j < n; j++)
            g[i][j] = (j <= i + 1 ? d : 0) - product(w->X, n, j, w->C, m, i, K);
        jl_cholesky_lower(M, n, NULL, g[i], 1);
        e[i] = product(g[i], 1, 0, b, 1, 0, n) + product(w->C, m, i, w->y, 1, 0, K);
        struct jl_view own = jl_view_span(w->bd[i] + D, w->bd[i + 1] + D);
        for (size_t j = 0; j <= i; j++) {
            struct jl_view other = jl_view_span(w->bd[j] + D, w->bd[j + 1] + D);
            double v = s2 * d * (w->bd[j + 1] - w->bd[j]) * jl_view_covariance(&own, &other);
            v += i == j ? jl_view_flicker(w->P[i]) * d + unseen * (1 + d / (OFTEN * w->U)) : 0;
            v += product(g[i], 1, 0, g[j], 1, 0, n) - product(w->C, m, i, w->C, m, j, K);
            cov[i][j] = cov[j][i] = v;
        }
        cov[i][i] = fmax(0, cov[i][i]);
    }
    mix(w, log_prior - TEMPER * 0.5 * (log_det_A + log_det(M, n) + left - told), e, cov);
}

/* ---- all of them ------------------------------------------------------------------------------------------------------- */

static void try_way(struct work *w, const struct jl_way *way, double spread_s, double mean_w)
{
    double unseen = UNSEEN * w->R * w->U * UNSEEN * w->R * w->U / (1 + way->tau / w->U);
    unseen = way->shows == JL_SHOWS_MEAN ? 0 : unseen;
    set_way(w, way);
    for (size_t s = 0; s < JL_COUNT(unrest); s++) {
        double s2 = unrest[s] * w->R * unrest[s] * w->R / w->U;
        add_noise(w, way, s2);
        jl_cholesky(w->A, w->K, NULL);
        for (size_t k = 0; k < w->K; k++)
            w->y[k] = w->r[k].y_w - mean_w;
        jl_cholesky_lower(w->A, w->K, NULL, w->y, 1);
        double log_det_A = log_det(w->A, w->K);
        for (int i = 0; i < LAGS; i++) {
            double D = spread_s * (2.0 * i / (LAGS - 1) - 1);
            set_lag(w, way, D);
            judge(w, unseen, s2, D, log(way->weight), log_det_A);
        }
    }
}

static void try_all(struct work *w, const struct jl_params *p)
{
    bool known = !p->ways_unknown;
    const struct jl_way *ways = known ? known_way : any_way;
    double spread = spread_of(w, p);
    set_origin(w, spread);
    set_range(w);
    double mean_w = mean_of(w);
    for (size_t i = 0; i < (known ? JL_COUNT(known_way) : JL_COUNT(any_way)); i++) {
        struct jl_way way = ways[i];
        way.tau *= w->U;
        try_way(w, &way, spread, mean_w);
    }
    for (size_t i = 0; i < w->m; i++)
        w->P[i] = mean_w * (w->bd[i + 1] - w->bd[i]); /* what was taken off the readings */
}

static bool reserve(struct work *w)
{
    size_t K = w->K, all = K * (2 * K + 1 + 2 * w->columns + 3 * w->m);
    w->r = calloc(K, sizeof(*w->r));
    w->view = calloc(K, sizeof(*w->view));
    double *x = w->arena = calloc(all, sizeof(*x));
    if (!w->r || !w->view || !x)
        return false;
    w->walk = x;
    w->A = w->walk + K * K;
    w->y = w->A + K * K;
    w->X = w->y + K;
    w->steps = w->X + K * w->columns;
    w->C = w->steps + K * w->columns;
    w->cross = w->C + K * w->m;
    w->white = w->cross + K * w->m;
    return true;
}

static bool is_covered(const struct jl_reading *r, size_t n, const double *bd, size_t m)
{
    size_t before = reading_at(r, n, bd[0]), after = n - reading_at(r, n, bd[m]);
    return before >= LEAST && after >= LEAST;
}

static struct jl_slow *result_of(const struct work *w)
{
    struct jl_slow *f = w->sum > 0 ? calloc(1, sizeof(*f)) : NULL;
    if (!f)
        return NULL;
    f->m = w->m;
    for (size_t i = 0; i < w->m; i++)
        f->e[i] = w->e[i] / w->sum + w->P[i];
    for (size_t i = 0; i < w->m; i++)
        for (size_t j = 0; j < w->m; j++)
            f->cov[i][j] = WIDER * WIDER * (w->square[i][j] / w->sum - w->e[i] / w->sum * (w->e[j] / w->sum));
    return f;
}

static double usual_hw(const struct jl_reading *r, size_t n)
{
    double sum = 0;
    for (size_t k = 0; k < n; k++)
        sum += r[k].hw;
    return sum / (double)n;
}

/* A copy on the device's grid, with room for the numbers of the updates behind it. */
static struct jl_reading *on_grid(const struct jl_reading *r, size_t n, double U)
{
    struct jl_reading *own = malloc(n * (sizeof(*own) + sizeof(double)));
    if (!own)
        return NULL;
    memcpy(own, r, n * sizeof(*own));
    lay_on_grid(own, n, U, (double *)(void *)(own + n));
    return own;
}

struct jl_slow *jl_slow_open(const struct jl_reading *readings, size_t n, const double *bd, size_t m, const struct jl_params *p)
{
    size_t index[2 * NEAR * (JOULET_PHASES_MAX + 1)];
    struct jl_slow *f = NULL;
    if (m < 1 || m > JOULET_PHASES_MAX || n < 2 || !is_covered(readings, n, bd, m))
        return NULL;
    struct jl_reading *r = on_grid(readings, n, p->U);
    if (!r)
        return NULL;
    struct work w = {.m = m, .columns = m + 2, .U = p->U, .usual_hw = usual_hw(readings, n), .most = -INFINITY};
    memcpy(w.bd, bd, (m + 1) * sizeof(*bd));
    w.K = readings_near(r, n, bd, m + 1, index) - 1;
    if (reserve(&w)) {
        copy_readings(&w, r, n, index, p);
        try_all(&w, p);
        f = result_of(&w);
    }
    free(w.r);
    free(w.view);
    free(w.arena);
    free(r);
    return f;
}

void jl_slow_close(struct jl_slow *f)
{
    free(f);
}

void jl_slow_phases(const struct jl_slow *f, size_t first, size_t last, double *e_j, double *u_j)
{
    double sum = 0, square = 0;
    for (size_t i = first; i <= last; i++) {
        sum += f->e[i];
        for (size_t j = first; j <= last; j++)
            square += f->cov[i][j];
    }
    *e_j = sum;
    *u_j = sqrt(fmax(0, square));
}
