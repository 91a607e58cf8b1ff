/* calibrate.c - what a device is found to be by looking at it (docs/method.md 1.4 steps 1 and 2): how often it updates, whether
 * its counter agrees with its power readings, and whether reading it often disturbs it. Pure. Window and lag: calibrate_lag.c. */
#include "lib/meter/estimators.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

#define DISTANCES_MIN 8
#define NEAR_MEDIAN   0.2  /* a value that stays equal over an update doubles a distance: those far off are left out */
#define RATIO_FAIR    0.05 /* 1.4 */
#define RATIO_NONE    0.20
#define SAME_READING  0.02
#define RATIO_LEAST_S 0.5

const char *joulet_verdict_name(enum joulet_verdict v)
{
    static const char *const names[] = {"none", "fair", "good"};
    return (unsigned)v < JL_COUNT(names) ? names[v] : "none";
}

const char *joulet_reading_name(enum joulet_reading way)
{
    static const char *const names[] = {"search", "poll", "second"};
    return (unsigned)way < JL_COUNT(names) ? names[way] : "search";
}

/* ---- the period ------------------------------------------------------------------------------------------------------ */

#define NO_UPDATE (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST | JOULET_SAMPLE_REPEAT)
#define NO_START  (NO_UPDATE | JOULET_SAMPLE_LATE)

/* Distances of updates that follow each other, with nothing between them that would make one of two. Returns their number. */
static size_t distances(const struct joulet_trace *t, int64_t from, int64_t to, double *out)
{
    size_t n = 0;
    for (size_t i = jl_first_at(t, from) + 1; i < t->n && t->samples[i].t_ns <= to; i++) {
        const struct joulet_sample *a = &t->samples[i - 1], *b = &t->samples[i];
        if ((a->flags & NO_START) || (b->flags & (NO_START | JOULET_SAMPLE_RESET)) || a->value == b->value)
            continue;
        out[n++] = jl_s(b->t_ns - a->t_ns);
    }
    return n;
}

enum joulet_status joulet_calibrate_period(const struct joulet_trace *trace, joulet_mark from, joulet_mark to, double *period_s,
                                           double *u_s, struct joulet_error *err)
{
    double *d, *near;
    size_t n, k = 0;
    *period_s = NAN;
    if (u_s)
        *u_s = NAN;
    enum joulet_status status = jl_check_trace(trace, err);
    if (status != JOULET_OK)
        return status;
    d = malloc(2 * trace->n * sizeof(*d));
    if (!d)
        return jl_fail(err, JOULET_MEMORY, "the period of %s could not be found: out of memory", jl_channel_name(trace));
    near = d + trace->n;
    n = distances(trace, from, to, d);
    double median = n ? jl_median(d, n) : NAN;
    for (size_t i = 0; i < n; i++)
        if (fabs(d[i] - median) <= NEAR_MEDIAN * median)
            near[k++] = d[i];
    if (n < DISTANCES_MIN) {
        status =
            jl_fail(err, JOULET_TOO_SHORT,
                    "%s gave %zu changes that follow each other, and %d are needed to know how often it updates: watch it for "
                    "longer, or under a load that varies",
                    jl_channel_name(trace), n, DISTANCES_MIN);
    } else {
        *period_s = k ? jl_mean(near, k) : median;
        if (u_s)
            *u_s = k > 1 ? jl_sd(near, k) / sqrt((double)k) : NAN;
    }
    free(d);
    return status;
}

/* ---- counter against power ------------------------------------------------------------------------------------------- */

static bool is_value(const struct joulet_sample *s)
{
    return !(s->flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST));
}

/* Mean power of a counter between its first and last update in [from, to]; those become the span. NAN with none, or a reset. */
static double counter_mean(const struct joulet_trace *t, int64_t *from, int64_t *to)
{
    const struct joulet_sample *first = NULL, *last = NULL;
    for (size_t i = jl_first_at(t, *from); i < t->n && t->samples[i].t_ns <= *to; i++) {
        const struct joulet_sample *s = &t->samples[i];
        if (first && (s->flags & JOULET_SAMPLE_RESET))
            return NAN;
        if (!is_value(s) || (s->flags & JOULET_SAMPLE_LATE))
            continue;
        first = first ? first : s;
        last = s;
    }
    if (!first || last->t_ns - first->t_ns < jl_ns(RATIO_LEAST_S))
        return NAN;
    *from = first->t_ns;
    *to = last->t_ns;
    return (double)(last->value - first->value) * 1e-6 / jl_s(last->t_ns - first->t_ns);
}

/* The load is steady: readings count alike whatever their window. */
static double power_mean(const struct joulet_trace *t, int64_t from, int64_t to)
{
    double sum = 0;
    size_t n = 0;
    for (size_t i = jl_first_at(t, from); i < t->n && t->samples[i].t_ns <= to; i++)
        if (is_value(&t->samples[i])) {
            sum += (double)t->samples[i].value * 1e-6;
            n++;
        }
    return n ? sum / (double)n : NAN;
}

enum joulet_status joulet_calibrate_ratio(const struct joulet_trace *counter, const struct joulet_trace *power, joulet_mark from,
                                          joulet_mark to, double *ratio, struct joulet_error *err)
{
    *ratio = NAN;
    if (counter->channel.quantity != JOULET_ENERGY || power->channel.quantity != JOULET_POWER)
        return jl_fail(err, JOULET_USAGE, "a counter is compared with power readings, in this order: %s and %s are not those",
                       jl_channel_name(counter), jl_channel_name(power));
    double counted = counter_mean(counter, &from, &to), shown = isnan(counted) ? NAN : power_mean(power, from, to);
    if (isnan(counted) || isnan(shown) || !(shown > 0))
        return jl_fail(
            err, JOULET_TOO_SHORT,
            "%s cannot be compared with %s: one of them gave too little in the time looked at; compare for 5 s under load",
            jl_channel_name(counter), jl_channel_name(power));
    *ratio = counted / shown;
    return jl_ok(err);
}

enum joulet_verdict joulet_ratio_verdict(double ratio)
{
    double off = fabs(ratio - 1);
    return off > RATIO_NONE ? JOULET_VERDICT_NONE : off > RATIO_FAIR ? JOULET_VERDICT_FAIR : JOULET_VERDICT_GOOD;
}

enum joulet_reading joulet_calibrate_reading(const double ratio[JOULET_READING_COUNT])
{
    double slowest = ratio[JOULET_READING_SECOND];
    if (isnan(slowest))
        return JOULET_READING_SEARCH; /* nothing tells that reading disturbs */
    for (int way = JOULET_READING_SEARCH; way < JOULET_READING_SECOND; way++)
        if (fabs(ratio[way] - slowest) <= SAME_READING * fabs(slowest))
            return (enum joulet_reading)way;
    return JOULET_READING_SECOND;
}
