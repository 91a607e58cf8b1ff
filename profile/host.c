/* host.c - see host.h. The loop's energy and its interval come from the sensor's estimators; here they are only divided. */
#include "profile/host.h"

#include <math.h>

#define ELSE 0.5 /* half-width of the power of what else lies in a loop, relative: half to one and a half times as much */

const char *host_source_name(enum host_source s)
{
    static const char *const names[] = {[HOST_LOOP] = "loop", [HOST_REST] = "rest", [HOST_OTHER] = "other"};
    return (size_t)s < JL_COUNT(names) && names[s] ? names[s] : "";
}

static bool is_made(const struct host_loop *l)
{
    return l->seconds > 0 && isfinite(l->net_j) && isfinite(l->net_pm_j);
}

/* How far the power p of a share s of some time can lie above the mean power P of it, relative: P = s p + (1 - s) q, q in p (1 -+
 * ELSE), so that p is at most P / (1 - ELSE (1 - s)), and not as far below P. */
static double above_mean(double share)
{
    double other = ELSE * (1 - fmin(1, fmax(0, share)));
    return other / (1 - other);
}

/* Anywhere in between alike. */
static double of_share(double w, double pm_w, double share)
{
    return hypot(pm_w, MEASURE_COVERAGE * above_mean(share) * fabs(w) / sqrt(3));
}

void host_loop_power(const struct host_loop *loop, double *w, double *pm_w)
{
    *w = loop->net_j / loop->seconds;
    *pm_w = of_share(*w, loop->net_pm_j / loop->seconds, loop->inside_s / loop->seconds);
}

static void by_rest(const struct measure_result *r, double unit_s, struct host_power *out)
{
    double s = r->unit_s[MEASURE_REST];
    out->source = HOST_REST;
    if (r->limit_only[MEASURE_REST]) {
        out->limit_w = r->limit_j[MEASURE_REST] / s * (1 + above_mean(unit_s / s));
        return;
    }
    out->w = r->energy_j[MEASURE_REST] / s;
    out->pm_w = of_share(out->w, r->pm_j[MEASURE_REST] / s, unit_s / s);
}

static bool rest_is_known(const struct measure_result *r)
{
    return r->known && r->path != JOULET_COMPONENTS_TIME && r->unit_s[MEASURE_REST] > 0 && isfinite(r->pm_j[MEASURE_REST]);
}

static void by_others(const struct host_loop loops[MEASURE_WORKS], struct host_power *out)
{
    struct host_loop all = {0};
    for (int i = 0; i < MEASURE_WORKS; i++) {
        if (!is_made(&loops[i]))
            continue;
        all.net_j += loops[i].net_j;
        all.net_pm_j += loops[i].net_pm_j; /* they have idle level and gain in common */
        all.seconds += loops[i].seconds;
    }
    if (!(all.seconds > 0))
        return;
    out->source = HOST_OTHER;
    host_loop_power(&all, &out->w, &out->pm_w);
}

void host_power(const struct host_loop loops[MEASURE_WORKS], const struct measure_result *phase, enum measure_work work,
                double unit_s, struct host_power *out)
{
    *out = (struct host_power){.w = NAN, .pm_w = NAN, .limit_w = NAN};
    if (is_made(&loops[work])) {
        out->source = HOST_LOOP;
        host_loop_power(&loops[work], &out->w, &out->pm_w);
    } else if (rest_is_known(phase)) {
        by_rest(phase, unit_s, out);
    } else if (work != MEASURE_SAMPLE) {
        by_others(loops, out);
    }
}

void host_taken(const struct host_power *p, double seconds, double *j, double *pm_j)
{
    bool limit = isfinite(p->limit_w);
    double w = limit ? p->limit_w / 2 : p->w, pm = limit ? p->limit_w / 2 : p->pm_w;
    *j = p->source != HOST_UNKNOWN ? w * seconds : 0;
    *pm_j = p->source != HOST_UNKNOWN ? pm * seconds : 0;
}

void host_leave(struct host_part *whole, const struct host_part *work)
{
    whole->seconds -= work->seconds;
    whole->j -= work->j;
    whole->pm_j = hypot(whole->pm_j, work->pm_j);
    if (whole->seconds < 0)
        whole->seconds = 0;
    if (whole->j < 0) {
        whole->pm_j = hypot(whole->pm_j, whole->j);
        whole->j = 0;
    }
}
