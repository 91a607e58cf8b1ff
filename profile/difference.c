/* difference.c - the mean of what each pair differs by, with the t interval of the pairs: what both of a pair have in common, as
 * drift and most of the idle level, is not in it. What repeating does not shrink is added: the idle level for the time by which
 * the tokens differ, and the sensor's gain. */
#include "profile/difference.h"

#include "lib/stats/series.h"
#include "lib/stats/stats.h"

#include <math.h>
#include <stdlib.h>

static bool known(const struct profile_answer *a)
{
    return isfinite(a->joules) && isfinite(a->seconds) && a->tokens > 0;
}

static double half(struct jl_interval i)
{
    return (i.hi - i.lo) / 2;
}

static void judge(struct profile_difference *d)
{
    d->resolved = d->less_j > d->less_pm;
    d->reversed = -d->less_j > d->less_pm;
    d->limit_j = d->resolved ? NAN : fmax(0, d->less_j) + d->less_pm;
}

/* As a ratio of sums: what is left of each pair when its share is taken off scatters around 0. x: room. */
static void set_share(struct profile_difference *d, const double *whole, const double *less, size_t n, double idle, double *x)
{
    d->share = d->less_j / d->j[0];
    for (size_t i = 0; i < n; i++)
        x[i] = (less[i] - d->share * whole[i]) / d->j[0];
    d->share_pm = half(jl_mean_interval(x, n, idle * fabs(d->less_s - d->share * d->s[0]) / d->j[0], NULL));
}

void profile_difference(const struct profile_answer *whole, const struct profile_answer *less, size_t n, double u_idle_w,
                        double gain, struct profile_difference *out)
{
    double *x = malloc((4 * n + 1) * sizeof *x), *of[] = {x, x ? x + n : NULL, x ? x + 2 * n : NULL};
    double idle = isfinite(u_idle_w) ? u_idle_w : 0, s[2] = {0, 0};
    size_t k = 0;
    *out = (struct profile_difference){.j = {NAN, NAN},
                                       .pm = {NAN, NAN},
                                       .s = {NAN, NAN},
                                       .less_j = NAN,
                                       .less_pm = NAN,
                                       .less_s = NAN,
                                       .limit_j = NAN,
                                       .share = NAN,
                                       .share_pm = NAN};
    for (size_t i = 0; x && i < n; i++) {
        if (!known(&whole[i]) || !known(&less[i]))
            continue;
        of[0][k] = whole[i].joules / whole[i].tokens;
        of[1][k] = less[i].joules / less[i].tokens;
        of[2][k] = of[0][k] - of[1][k];
        s[0] += whole[i].seconds / whole[i].tokens;
        s[1] += less[i].seconds / less[i].tokens;
        k++;
    }
    out->rounds = k;
    for (int i = 0; k > 0 && i < 2; i++) {
        out->s[i] = s[i] / (double)k;
        out->j[i] = jl_mean(of[i], k);
        out->pm[i] = half(jl_mean_interval(of[i], k, hypot(idle * out->s[i], gain * out->j[i]), NULL));
    }
    if (k > 1) {
        out->less_s = out->s[0] - out->s[1];
        out->less_j = jl_mean(of[2], k);
        out->less_pm = half(jl_mean_interval(of[2], k, hypot(idle * out->less_s, gain * out->less_j), NULL));
        judge(out);
        set_share(out, of[0], of[2], k, idle, x + 3 * n);
    }
    free(x);
}
