/* live_stats.c - minimum, maximum and percentiles of a stream of rows in bounded memory. */
#include "lib/stats/stats.h"
#include "report/live.h"

#include <math.h>
#include <stdlib.h>

enum { KEPT_FIRST = 64, KEPT_MAX = 16384 };

/* Every second row goes, and from now on only every second is kept: the rest still represents all of the time. */
static void thin_out(struct live_stats *s)
{
    for (size_t i = 0; i < s->n_kept / 2; i++)
        s->kept[i] = s->kept[2 * i];
    s->n_kept /= 2;
    s->stride *= 2;
}

static bool make_room(struct live_stats *s)
{
    if (s->n_kept < s->cap)
        return true;
    if (s->cap == KEPT_MAX) {
        thin_out(s);
        return true;
    }
    size_t cap = s->cap ? s->cap * 2 : KEPT_FIRST;
    float *more = realloc(s->kept, cap * sizeof *more);
    if (!more)
        return false;
    s->kept = more;
    s->cap = cap;
    return true;
}

void live_stats_add(struct live_stats *s, double power_w, double dt_s)
{
    if (isnan(power_w)) {
        s->missing++;
        return;
    }
    if (!s->rows)
        s->min_w = s->max_w = power_w;
    s->min_w = fmin(s->min_w, power_w);
    s->max_w = fmax(s->max_w, power_w);
    s->sum_j += power_w * dt_s;
    s->sum_s += dt_s;
    if (!s->stride)
        s->stride = 1;
    if (s->rows % s->stride == 0 && make_room(s) && s->rows % s->stride == 0)
        s->kept[s->n_kept++] = (float)power_w;
    s->rows++;
}

void live_stats_figures(const struct live_stats *s, struct live_figures *out)
{
    *out = (struct live_figures){NAN, NAN, NAN, NAN, NAN};
    if (!s->rows)
        return;
    out->min_w = s->min_w;
    out->max_w = s->max_w;
    out->mean_w = s->sum_j / s->sum_s;
    double *sorted = s->n_kept ? malloc(s->n_kept * sizeof *sorted) : NULL;
    if (!sorted)
        return;
    for (size_t i = 0; i < s->n_kept; i++)
        sorted[i] = (double)s->kept[i];
    jl_sort(sorted, s->n_kept);
    out->p50_w = jl_quantile(sorted, s->n_kept, 0.5);
    out->p95_w = jl_quantile(sorted, s->n_kept, 0.95);
    free(sorted);
}

void live_stats_release(struct live_stats *s)
{
    free(s->kept);
    *s = (struct live_stats){0};
}
