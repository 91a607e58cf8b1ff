/* phase_fit.c - phases from power readings whose window is not the period (docs/method.md 2.3).
 *
 * A reading is the mean power over its window, and windows overlap or leave gaps: the levels of power in a few segments at
 * known times are found by least squares over all readings. Long phases have many segments, each reading meets few of them. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define SEGMENT_PERIODS 5     /* shortest segment, in periods */
#define TIE             0.1   /* weight that ties neighbouring segments of one phase */
#define ROUGH           0.02  /* least relative residual with fewer than 3 readings inside ... */
#define FINE            0.005 /* ... and otherwise */
#define MANY            25.0  /* readings inside that tell by themselves how they scatter: with more the least residual falls */
#define FAR_S           1e9
#define LAG_KNOWN_S     5e-3 /* a lag known better than this is not looked for in the run */
#define LAG_FOUND_S     3e-3 /* least uncertainty of one that was: that of a calibration */
#define LAG_SEEN        0.4  /* nor where windows cover this much of the time: most edges lie in one of them */
#define LAG_STEPS       24   /* between the ends of what it may be */
#define LAG_ROUGH       0.01 /* least relative residual that tells lags apart: loads are never steady */

enum { BEFORE = -1, TAIL = -2 };
static const double tail_s[] = {0.3, 1.0, 2.5};

enum { NOW, LATER, EARLIER, SHIFTS };

struct jl_fit {
    const struct jl_reading *r;
    double *weight; /* n_readings */
    size_t n_readings;
    double *knot; /* n_segments + 1 */
    int *label;   /* n_segments: phase, BEFORE or TAIL */
    double *beta[SHIFTS];
    double *d; /* scratch, n_segments */
    size_t n_segments, m;
    double *bd;
    double *cover; /* readings' windows inside each phase, m */
    double W, U, lag, s2;
    struct jl_lsq now; /* the system of the fit that counts: its inverse gives the variances */
};

static double overlap(double x0, double x1, double y0, double y1)
{
    return fmax(0, fmin(x1, y1) - fmax(x0, y0));
}

static size_t segments_in(double d, const struct jl_params *p)
{
    double n = floor(d / fmax(SEGMENT_PERIODS * p->U, p->W) + 1e-9);
    return n > 1 ? (size_t)n : 1;
}

static void lay_knots(struct jl_fit *f, const struct jl_params *p)
{
    size_t j = 0;
    f->knot[0] = -FAR_S;
    f->label[j++] = BEFORE;
    for (size_t i = 0; i < f->m; i++) {
        double d = f->bd[i + 1] - f->bd[i];
        size_t n = segments_in(d, p);
        for (size_t s = 0; s < n; s++) {
            f->knot[j] = f->bd[i] + d * (double)s / (double)n;
            f->label[j++] = (int)i;
        }
    }
    f->knot[j] = f->bd[f->m];
    for (size_t s = 0; s < JL_COUNT(tail_s); s++) {
        f->label[j++] = TAIL;
        f->knot[j] = f->bd[f->m] + tail_s[s];
    }
    f->label[j++] = TAIL;
    f->knot[j] = FAR_S;
}

/* Weights: a reading whose time is badly known counts less (1.3). */
static bool weigh(struct jl_fit *f)
{
    double *hw = malloc(f->n_readings * sizeof(*hw));
    if (!hw)
        return false;
    for (size_t k = 0; k < f->n_readings; k++)
        hw[k] = f->r[k].hw;
    double median = jl_median(hw, f->n_readings);
    for (size_t k = 0; k < f->n_readings; k++)
        f->weight[k] = f->r[k].hw > median ? median / f->r[k].hw : 1;
    free(hw);
    return true;
}

/* The segments that window k meets when sensor time is `shift` later than assumed. */
struct met {
    size_t first, count;
    double from, to;
};

static struct met meets(const struct jl_fit *f, size_t k, double shift)
{
    struct met x = {.to = f->r[k].t - f->lag - shift};
    size_t lo = 0, hi = f->n_segments - 1;
    x.from = x.to - f->W;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (f->knot[mid + 1] <= x.from)
            lo = mid + 1;
        else
            hi = mid;
    }
    x.first = lo;
    for (x.count = 1; x.first + x.count < f->n_segments && f->knot[x.first + x.count] < x.to;)
        x.count++;
    return x;
}

static double share(const struct jl_fit *f, const struct met *x, size_t j)
{
    return overlap(x->from, x->to, f->knot[j], f->knot[j + 1]) / f->W;
}

static size_t band_of(const struct jl_fit *f, double shift)
{
    size_t most = 2; /* ties join neighbours */
    for (size_t k = 0; k < f->n_readings; k++) {
        size_t count = meets(f, k, shift).count;
        most = count > most ? count : most;
    }
    return most - 1;
}

/* The least-squares system of section 2.3, steps 2 and 3; `row` has room for every segment. */
static bool build(struct jl_fit *f, double shift, struct jl_lsq *s, double *row)
{
    if (!jl_lsq_init(s, f->n_segments, band_of(f, shift)))
        return false;
    for (size_t k = 0; k < f->n_readings; k++) {
        struct met x = meets(f, k, shift);
        for (size_t i = 0; i < x.count; i++)
            row[i] = f->weight[k] * share(f, &x, x.first + i);
        jl_lsq_add(s, x.first, row, x.count, f->weight[k] * f->r[k].y_w);
    }
    for (size_t j = 0; j + 1 < f->n_segments; j++)
        if (f->label[j] == f->label[j + 1])
            jl_lsq_add(s, j, (const double[]){TIE, -TIE}, 2, 0);
    return true;
}

static bool fit_shifted(struct jl_fit *f, int which, double shift)
{
    struct jl_lsq s;
    if (!build(f, shift, &s, f->d))
        return false;
    jl_lsq_solve(&s, f->beta[which]);
    if (which == NOW)
        f->now = s;
    else
        jl_lsq_release(&s);
    return true;
}

/* What the residuals are worth. A window that looks for W of each U is right about that, whatever the load did: what it says of
 * the rest is wrong by as much as two readings differ, (U - W)² 2 s² in place of U² s². Windows that overlap share what no levels
 * explain, beyond the unrest of any load: so many of them tell it that it counts as often. */
static double worth(const struct jl_fit *f, double s2, double usual)
{
    double rest = 1 - f->W / f->U;
    if (rest > 0)
        return fmin(1, 2 * rest * rest) * s2;
    return s2 - rest * fmax(0, s2 - usual * usual);
}

/* Residual variance and coverage, step 4. */
static void judge(struct jl_fit *f)
{
    double all = 0, in = 0, largest = 0;
    size_t n_in = 0;
    for (size_t k = 0; k < f->n_readings; k++) {
        struct met x = meets(f, k, 0);
        double e = f->r[k].y_w, inside = 0;
        for (size_t j = x.first; j < x.first + x.count; j++) {
            double s = share(f, &x, j);
            e -= s * f->beta[NOW][j];
            if (f->label[j] >= 0) {
                inside += s;
                f->cover[f->label[j]] += s;
            }
        }
        double square = f->weight[k] * e * f->weight[k] * e;
        all += square;
        largest = fmax(largest, f->r[k].y_w);
        if (inside >= 0.5 - 1e-9) {
            in += square;
            n_in++;
        }
    }
    double free_all = (double)f->n_readings - (double)f->n_segments, free_in = (double)n_in - (double)f->m;
    double few = sqrt(MANY / fmax(MANY, (double)n_in)), least = (n_in > 2 ? FINE * few : ROUGH) * largest;
    f->s2 = fmax(worth(f, fmax(all / fmax(1, free_all), in / fmax(1, free_in)), FINE * largest), least * least);
}

/* ---- a lag that the run itself tells ---------------------------------------------------------------------------------- */

/* Sum of the weighted squares of what is left when sensor time is `shift` later than assumed. */
static bool misfit(struct jl_fit *f, double shift, double *sum)
{
    const double *beta = f->beta[LATER];
    *sum = 0;
    if (!fit_shifted(f, LATER, shift))
        return false;
    for (size_t k = 0; k < f->n_readings; k++) {
        struct met x = meets(f, k, shift);
        double e = f->r[k].y_w;
        for (size_t j = x.first; j < x.first + x.count; j++)
            e -= share(f, &x, j) * beta[j];
        *sum += f->weight[k] * e * f->weight[k] * e;
    }
    return true;
}

/* Lags from end to end of the rectangle whose standard uncertainty is u_t, each as likely as its residuals are: windows
 * hold an edge or do not. The mean replaces the lag, the spread its uncertainty: a run without steps leaves both as they were. */
static bool find_lag(struct jl_fit *f, double *u_t)
{
    double left[LAG_STEPS + 1], shift[LAG_STEPS + 1], least = INFINITY, largest = 0, sum = 0, mean = 0, square = 0;
    for (int i = 0; i <= LAG_STEPS; i++) {
        shift[i] = sqrt(3) * *u_t * (2.0 * i / LAG_STEPS - 1);
        if (!misfit(f, shift[i], &left[i]))
            return false;
        least = fmin(least, left[i]);
    }
    for (size_t k = 0; k < f->n_readings; k++)
        largest = fmax(largest, f->r[k].y_w);
    double rest = least / fmax(1, (double)f->n_readings - (double)f->n_segments), rough = LAG_ROUGH * largest;
    double s2 = fmax(rest, rough * rough);
    for (int i = 0; s2 > 0 && i <= LAG_STEPS; i++) {
        double likely = exp(-(left[i] - least) / (2 * s2));
        sum += likely;
        mean += likely * shift[i];
        square += likely * shift[i] * shift[i];
    }
    if (!(sum > 0))
        return true;
    mean /= sum;
    f->lag += mean;
    *u_t = fmin(*u_t, fmax(LAG_FOUND_S, sqrt(fmax(0, square / sum - mean * mean))));
    return true;
}

/* ---- the fit ---------------------------------------------------------------------------------------------------------- */

static bool reserve(struct jl_fit *f, const double *bd, const struct jl_params *p)
{
    f->n_segments = 2 + JL_COUNT(tail_s);
    for (size_t i = 0; i < f->m; i++)
        f->n_segments += segments_in(bd[i + 1] - bd[i], p);
    f->weight = calloc(f->n_readings, sizeof(double));
    f->knot = calloc(f->n_segments + 1, sizeof(double));
    f->label = calloc(f->n_segments, sizeof(int));
    f->d = calloc(f->n_segments, sizeof(double));
    f->bd = calloc(f->m + 1, sizeof(double));
    f->cover = calloc(f->m, sizeof(double));
    bool ok = f->weight && f->knot && f->label && f->d && f->bd && f->cover;
    for (int i = 0; i < SHIFTS; i++) {
        f->beta[i] = calloc(f->n_segments, sizeof(double));
        ok = ok && f->beta[i];
    }
    return ok;
}

struct jl_fit *jl_fit_open(const struct jl_reading *r, size_t n, const double *bd, size_t m, const struct jl_params *p)
{
    struct jl_fit *f = n ? calloc(1, sizeof(*f)) : NULL;
    if (!f)
        return NULL;
    *f = (struct jl_fit){.r = r, .n_readings = n, .m = m, .W = p->W, .U = p->U, .lag = p->lag};
    if (!reserve(f, bd, p))
        goto fail;
    for (size_t i = 0; i <= m; i++)
        f->bd[i] = bd[i];
    lay_knots(f, p);
    double u_t = p->u_t;
    if (!weigh(f) || (u_t > LAG_KNOWN_S && f->W < LAG_SEEN * f->U && !find_lag(f, &u_t)))
        goto fail;
    if (!fit_shifted(f, NOW, 0) || !fit_shifted(f, LATER, u_t) || !fit_shifted(f, EARLIER, -u_t))
        goto fail;
    judge(f);
    return f;
fail:
    jl_fit_close(f);
    return NULL;
}

void jl_fit_close(struct jl_fit *f)
{
    if (!f)
        return;
    jl_lsq_release(&f->now);
    for (int i = 0; i < SHIFTS; i++)
        free(f->beta[i]);
    free(f->weight);
    free(f->knot);
    free(f->label);
    free(f->d);
    free(f->bd);
    free(f->cover);
    free(f);
}

static double energy(const struct jl_fit *f, int which)
{
    double sum = 0;
    for (size_t j = 0; j < f->n_segments; j++)
        sum += f->d[j] * f->beta[which][j];
    return sum;
}

void jl_fit_phases(struct jl_fit *f, size_t first, size_t last, struct jl_fitted *out)
{
    double cover = 0, d = f->bd[last + 1] - f->bd[first];
    for (size_t i = first; i <= last; i++)
        cover += f->cover[i];
    for (size_t j = 0; j < f->n_segments; j++) {
        bool in = f->label[j] >= (int)first && f->label[j] <= (int)last;
        f->d[j] = in ? f->knot[j + 1] - f->knot[j] : 0;
    }
    *out = (struct jl_fitted){
        .e_j = energy(f, NOW),
        .u_b = sqrt(jl_lsq_variance(&f->now, f->d) * f->s2),
        .u_lag = fabs(energy(f, LATER) - energy(f, EARLIER)) / 2,
        .unresolved = cover < 0.5 * fmin(1, d / f->W) || (f->W < f->U && d < 2 * f->U),
    };
}

double jl_fit_before_w(const struct jl_fit *f)
{
    return f->beta[NOW][0];
}

double jl_fit_after_w(const struct jl_fit *f)
{
    return f->beta[NOW][f->n_segments - 1 - JL_COUNT(tail_s)];
}
