/* bursts.c - what many bursts of one kind drew together, seen by a sensor that looks a part of the time only
 * (docs/method.md 2.5).
 *
 * One burst may fall between two looks. Of many that begin at no fixed moment of the sensor's grid every part is seen now and
 * then: a few levels of power, shared by all bursts, are found by least squares over the readings that meet any of them. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define BINS         3
#define LEAST_BIN_S  0.01  /* a shorter one joins the bin before it */
#define AFTER_S      0.015 /* of the fall after a burst */
#define TIE          0.1   /* between neighbouring bins of a burst */
#define NOISE        0.02  /* power noise, of the largest reading */
#define NOISE_W      1.0   /* noise of a reading */
#define SHAPE        0.06  /* what the bins may miss: of the energy, times W over the duration */
#define INSIDE       0.9   /* share of a window in bursts, ... */
#define SURE         0.1   /* ... and its change by the lag, of a reading that lies inside */
#define LEAST_INSIDE 4
#define LEAST_WINDOW 2    /* windows that a burst must last */
#define LOCKED       0.01 /* relative distance of the burst period to a multiple of U */
#define MULTIPLES    25   /* beyond them every period is near one */
#define COVERED      0.5  /* share of the grid that locked bursts leave unseen */
#define SURE_LAG_S   3e-3 /* a lag known no better than ... */
#define SMALL_U_T    5e-3 /* ... this is looked for in the readings first, ... */
#define LAG_STEP_S   2e-3 /* ... in steps, ... */
#define LAG_REACH    1.8  /* ... within so many of its standard uncertainties */
#define LAG_STEPS    64
#define ENOUGH       8 /* bursts that tell how much of the grid they cover */

static const double bin_from_s[BINS] = {0, 0.05, 0.12};

static double overlap(double x0, double x1, double y0, double y1)
{
    return fmax(0, fmin(x1, y1) - fmax(x0, y0));
}

static double bin_end(const struct jl_bursts *b, size_t i, size_t j)
{
    return j + 1 == b->n_bins ? b->off[i] : fmin(b->on[i] + bin_from_s[j + 1], b->off[i]);
}

static double bin_start(const struct jl_bursts *b, size_t i, size_t j)
{
    return b->on[i] + bin_from_s[j];
}

/* The time after burst i in which power falls. */
static double after_end(const struct jl_bursts *b, size_t i)
{
    return i + 1 < b->n ? fmin(b->off[i] + AFTER_S, b->on[i + 1]) : b->off[i] + AFTER_S;
}

static size_t first_ending_after(const struct jl_bursts *b, double t)
{
    size_t lo = 0, hi = b->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (b->off[mid] + AFTER_S <= t)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* Shares of the window that ends at `to` in each bin, and in the fall; returns the share inside bursts. */
static double shares(const struct jl_bursts *b, double to, double *x)
{
    double from = to - b->W, inside = 0;
    for (size_t j = 0; j <= b->n_bins; j++)
        x[j] = 0;
    for (size_t i = first_ending_after(b, from); i < b->n && b->on[i] < to; i++) {
        for (size_t j = 0; j < b->n_bins; j++)
            x[j] += overlap(from, to, bin_start(b, i, j), bin_end(b, i, j)) / b->W;
        x[b->n_bins] += overlap(from, to, b->off[i], after_end(b, i)) / b->W;
    }
    for (size_t j = 0; j < b->n_bins; j++)
        inside += x[j];
    return inside;
}

static double inside_at(const struct jl_bursts *b, double to)
{
    double x[BINS + 1];
    return shares(b, to, x);
}

/* Larger change of the share inside when sensor time is off by u_t. */
static double doubt_at(const struct jl_bursts *b, double to)
{
    double now = inside_at(b, to);
    return fmax(fabs(inside_at(b, to + b->u_t) - now), fabs(inside_at(b, to - b->u_t) - now));
}

static double sd_at(const struct jl_bursts *b, double inside, double doubt)
{
    double noise = NOISE * b->top, moved = (b->top - b->P0) * doubt;
    return sqrt(noise * noise * inside + NOISE_W * NOISE_W + moved * moved);
}

/* Total time of each bin. */
static void durations(const struct jl_bursts *b, double *d)
{
    for (size_t j = 0; j <= b->n_bins; j++)
        d[j] = 0;
    for (size_t i = 0; i < b->n; i++) {
        for (size_t j = 0; j < b->n_bins; j++)
            d[j] += fmax(0, bin_end(b, i, j) - bin_start(b, i, j));
        d[b->n_bins] += after_end(b, i) - b->off[i];
    }
}

/* The fit with sensor time `shift` later than assumed. */
static bool fit_at(const struct jl_bursts *b, double shift, struct jl_lsq *s, double *g)
{
    double x[BINS + 1];
    if (!jl_lsq_init(s, b->n_bins + 1, b->n_bins))
        return false;
    for (size_t k = 0; k < b->n_readings; k++) {
        double t = b->r[k].t - b->lag, inside = shares(b, t + shift, x), sd = sd_at(b, inside, doubt_at(b, t));
        for (size_t j = 0; j <= b->n_bins; j++)
            x[j] /= sd;
        jl_lsq_add(s, 0, x, b->n_bins + 1, (b->r[k].y_w - b->P0) / sd);
    }
    for (size_t j = 0; j + 1 < b->n_bins; j++)
        jl_lsq_add(s, j, (const double[]){TIE, -TIE}, 2, 0);
    jl_lsq_solve(s, g);
    return true;
}

static double energy_of(const struct jl_bursts *b, const double *g, const double *d)
{
    double e = 0;
    for (size_t j = 0; j <= b->n_bins; j++)
        e += g[j] * d[j];
    return e;
}

struct judged {
    double chi;    /* reduced chi square of the readings that meet bursts */
    double minus2; /* -2 log likelihood of them all */
};

static struct judged judge(const struct jl_bursts *b, const double *g)
{
    struct judged j = {0};
    double x[BINS + 1];
    size_t met = 0;
    for (size_t k = 0; k < b->n_readings; k++) {
        double t = b->r[k].t - b->lag, inside = shares(b, t, x), e = b->r[k].y_w - b->P0;
        double sd = sd_at(b, inside, doubt_at(b, t));
        for (size_t i = 0; i <= b->n_bins; i++)
            e -= x[i] * g[i];
        j.minus2 += e * e / (sd * sd) + 2 * log(sd);
        if (inside + x[b->n_bins] <= 0.01)
            continue;
        j.chi += e * e / (sd * sd);
        met++;
    }
    j.chi /= fmax(1, (double)met - (double)b->n_bins - 1);
    return j;
}

/* Bursts with sharp ends tell the lag, as they do in the joint fit (2.2): where it is not known it is found first. */
static bool find_lag(struct jl_bursts *b)
{
    double minus2[LAG_STEPS], g[BINS + 1], least = INFINITY, best = b->lag, chi = 1, wide = b->u_t, middle = b->lag;
    double from = middle - LAG_REACH * wide, n = fmin(floor(2 * LAG_REACH * wide / LAG_STEP_S), LAG_STEPS - 1);
    double step = 2 * LAG_REACH * wide / n, near = 0;
    b->u_t = SURE_LAG_S;
    for (size_t i = 0; i <= (size_t)n; i++) {
        struct jl_lsq s = {0};
        b->lag = from + step * (double)i;
        bool ok = fit_at(b, 0, &s, g);
        jl_lsq_release(&s);
        if (!ok)
            return false;
        struct judged j = judge(b, g);
        minus2[i] = j.minus2 + (b->lag - middle) * (b->lag - middle) / (wide * wide);
        if (minus2[i] < least) {
            least = minus2[i];
            best = b->lag;
            chi = fmax(1, j.chi);
        }
    }
    for (size_t i = 0; i <= (size_t)n; i++)
        near += minus2[i] <= least + 4 * chi; /* within two standard uncertainties on either side */
    b->lag = best;
    b->u_t = fmin(wide, fmax(SURE_LAG_S, near * step / 4));
    return true;
}

/* ---- can it be resolved -------------------------------------------------------------------------------------------------- */

static double median_of(const double *from, const double *to, size_t n)
{
    double *x = malloc((n ? n : 1) * sizeof(*x)), median = NAN;
    for (size_t i = 0; x && i < n; i++)
        x[i] = to[i] - from[i];
    if (x && n)
        median = jl_median(x, n);
    free(x);
    return median;
}

static bool has_readings_inside(const struct jl_bursts *b)
{
    size_t inside = 0;
    for (size_t k = 0; k < b->n_readings && inside < LEAST_INSIDE; k++) {
        double t = b->r[k].t - b->lag;
        inside += inside_at(b, t) > INSIDE && doubt_at(b, t) < SURE;
    }
    return inside >= LEAST_INSIDE;
}

/* Most bursts follow each other in a multiple of the sensor's period. */
static bool is_locked(const struct jl_bursts *b, double period)
{
    double times = floor(period / b->U + 0.5);
    size_t near = 0;
    if (b->n < 3 || times < 1 || times > MULTIPLES || fabs(period - times * b->U) > LOCKED * period)
        return false;
    for (size_t i = 1; i < b->n; i++)
        near += fabs(b->on[i] - b->on[i - 1] - period) <= LOCKED * period;
    return near * 4 >= (b->n - 1) * 3;
}

/* Bursts that begin in one half of the grid only leave the other half unseen. */
static bool leaves_gap(const struct jl_bursts *b)
{
    double *phase = malloc(b->n * sizeof(*phase)), widest = 0, origin = b->n_readings ? b->r[0].t : 0;
    if (!phase || b->n < ENOUGH) {
        free(phase);
        return false;
    }
    for (size_t i = 0; i < b->n; i++)
        phase[i] = (b->on[i] - origin) / b->U - floor((b->on[i] - origin) / b->U);
    jl_sort(phase, b->n);
    widest = phase[0] + 1 - phase[b->n - 1];
    for (size_t i = 1; i < b->n; i++)
        widest = fmax(widest, phase[i] - phase[i - 1]);
    free(phase);
    return widest > COVERED;
}

/* The period that the updates themselves show. */
static void find_period(struct jl_bursts *b)
{
    double *dt = malloc((b->n_readings ? b->n_readings : 1) * sizeof(*dt)), sum = 0;
    size_t n = 0, near = 0;
    for (size_t k = 1; dt && k < b->n_readings; k++)
        dt[n++] = b->r[k].t - b->r[k - 1].t;
    double median = n ? jl_median(dt, n) : b->U;
    for (size_t i = 0; i < n; i++)
        if (fabs(dt[i] - median) < 0.1 * median) {
            sum += dt[i];
            near++;
        }
    if (near > 0)
        b->U = sum / (double)near;
    free(dt);
}

static void choose_bins(struct jl_bursts *b)
{
    double longest = 0;
    for (size_t i = 0; i < b->n; i++)
        longest = fmax(longest, b->off[i] - b->on[i]);
    for (b->n_bins = 1; b->n_bins < BINS && bin_from_s[b->n_bins] < longest - LEAST_BIN_S;)
        b->n_bins++;
    b->top = -INFINITY;
    for (size_t k = 0; k < b->n_readings; k++)
        b->top = fmax(b->top, b->r[k].y_w);
}

/* What a level for each bin misses: readings that lie inside bursts scatter more than the power of one level does. */
static double shape_of(const struct jl_bursts *b, const double *g, double mean_w)
{
    double square = 0, x[BINS + 1];
    size_t n = 0;
    for (size_t k = 0; k < b->n_readings; k++) {
        double t = b->r[k].t - b->lag, inside = shares(b, t, x), e = b->r[k].y_w - b->P0;
        if (inside <= INSIDE)
            continue;
        for (size_t j = 0; j <= b->n_bins; j++)
            e -= x[j] * g[j];
        square += e * e;
        n++;
    }
    double scatter = mean_w > 0 && n > 1 ? sqrt(square / (double)(n - 1)) / mean_w : 0;
    return fmax(SHAPE, scatter);
}

bool jl_bursts_fit(struct jl_bursts *b, struct jl_burst_fit *out)
{
    struct jl_lsq now = {0}, moved = {0};
    double g[BINS + 1], later[BINS + 1], earlier[BINS + 1], d[BINS + 1];
    *out = (struct jl_burst_fit){.net_j = NAN, .u_b = NAN, .u_time = NAN};
    choose_bins(b);
    find_period(b);
    durations(b, d);
    double median = median_of(b->on, b->off, b->n);
    out->aliased = b->n > 1 && (is_locked(b, median_of(b->on, b->on + 1, b->n - 1)) || leaves_gap(b));
    if (b->u_t > SMALL_U_T && !find_lag(b))
        return false;
    out->unresolved = median < LEAST_WINDOW * b->W - 1e-9 || !has_readings_inside(b);
    if (out->unresolved)
        return true;
    if (!fit_at(b, 0, &now, g))
        return false;
    double chi = fmax(1, judge(b, g).chi), variance = chi * jl_lsq_variance(&now, d);
    jl_lsq_release(&now);
    bool ok = fit_at(b, b->u_t, &moved, later);
    jl_lsq_release(&moved);
    ok = ok && fit_at(b, -b->u_t, &moved, earlier);
    jl_lsq_release(&moved);
    if (!ok)
        return false;
    out->net_j = energy_of(b, g, d);
    double busy = median * (double)b->n, shape = shape_of(b, g, out->net_j / busy);
    out->u_b = hypot(sqrt(variance), shape * out->net_j * b->W / median);
    out->u_time = fabs(energy_of(b, later, d) - energy_of(b, earlier, d)) / 2;
    return true;
}
