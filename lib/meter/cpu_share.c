/* cpu_share.c - the share of the busy processor time that some processes had, how well it is known, and the part of the CPU's
 * energy that goes with it (docs/method.md 6.4). Pure. */
#include "lib/base/base.h"

#include <math.h>

/* Fields of the line `cpu` of /proc/stat that are busy: user, nice, system, irq, softirq. Each is cut to ticks. */
#define BUSY_FIELDS 5.0
/* A counter cut to ticks is uniform in one: variance 1/12, of a difference of two 1/6 of a squared tick. */
#define CUT (1.0 / 6)
#define K   2.0

void joulet_cpu_use_between(const struct joulet_cpu_look *from, const struct joulet_cpu_look *to, struct joulet_cpu_use *out)
{
    *out = (struct joulet_cpu_use){.used_s = to->used_s - from->used_s,
                                   .busy_s = to->busy_s - from->busy_s,
                                   .total_s = to->total_s - from->total_s,
                                   .tick_s = to->tick_s,
                                   .readings = fmax(from->readings, to->readings)};
}

/* Who is busy is found out once a tick on each hardware thread: of n ticks of which a part b is busy, n b (1 - b) is the variance
 * of their number. */
static double u_busy_s(const struct joulet_cpu_use *use)
{
    double ticks = use->total_s / use->tick_s, part = use->total_s > 0 ? fmin(1, use->busy_s / use->total_s) : 0;
    return use->tick_s * sqrt(BUSY_FIELDS * CUT + (ticks > 0 ? ticks * part * (1 - part) : 0));
}

void joulet_cpu_share_of(const struct joulet_cpu_use *use, struct joulet_cpu_share *out)
{
    *out = (struct joulet_cpu_share)JOULET_CPU_SHARE_UNKNOWN;
    if (!(use->used_s >= 0) || !(use->busy_s >= 0) || !isfinite(use->used_s) || !isfinite(use->busy_s) || !(use->tick_s > 0))
        return;
    double u_used_s = use->tick_s * sqrt(use->readings * CUT), busy_s = fmax(use->busy_s, use->used_s);
    out->used_s = use->used_s;
    out->busy_s = use->busy_s;
    if (busy_s < use->tick_s) /* nothing was busy as far as ticks tell: a share of nothing */
        return;
    out->share = use->used_s / busy_s;
    out->share_pm = fmin(1, K * hypot(u_used_s, out->share * u_busy_s(use)) / busy_s);
}

/* Half-width of a product: both parts in quadrature. */
static double product_pm(double x, double pm, const struct joulet_cpu_share *s)
{
    return hypot(s->share * pm, x * s->share_pm);
}

void joulet_energy_of_share(const struct joulet_energy *cpu, const struct joulet_cpu_share *share, struct joulet_energy *out)
{
    double *const parts[] = {&out->u.q, &out->u.b, &out->u.time, &out->u.event, &out->u.idle, &out->u.spec};
    *out = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    out->provenance = cpu->provenance > JOULET_DERIVED ? cpu->provenance : JOULET_DERIVED;
    out->flags = cpu->flags;
    out->method = "cpu-time-share/1";
    if (isnan(share->share))
        return;
    out->net_j = share->share * cpu->net_j;
    out->net_pm_j = product_pm(cpu->net_j, cpu->net_pm_j, share);
    out->gross_j = share->share * cpu->gross_j;
    out->gross_pm_j = product_pm(cpu->gross_j, cpu->gross_pm_j, share);
    out->min_j = fmax(0, share->share - share->share_pm) * cpu->min_j;
    out->max_j = fmin(1, share->share + share->share_pm) * cpu->max_j;
    out->u = cpu->u;
    for (size_t i = 0; i < JL_COUNT(parts); i++)
        *parts[i] *= share->share;
    out->u.q = hypot(out->u.q, cpu->gross_j * share->share_pm / K); /* ticks are its quantum */
}
