/* metering_processor.c - what of the processor's energy is an upstream's (docs/method.md 7.7): the share of its processes in the
 * processor time that is used above what is used while nobody asks, in the looks around each window of a sensor. It is a share of
 * time, blind to clocks and to the width of instructions (6.4); but what other programs do is not charged to requests. */
#include "server/metering_private.h"

#include <math.h>

#define LEARN    0.3
#define LEAST_S  0.1                         /* of processor time above the idle level: less tells nothing */
#define STALE_NS ((int64_t)10 * JL_NS_PER_S) /* nobody waits longer for a look */

static bool quiet(const struct metering *m)
{
    return m->in_flight == 0 && (!m->first_ns || jl_mono_ns() - m->quiet_ns > JL_NS_PER_S);
}

/* How much is used while nobody asks: of the last looks between which nobody did. */
static void learn_idle(struct metering_host *p, const struct metering_look *a, const struct metering_look *b)
{
    double s = jl_s(b->t_ns - a->t_ns), used = (b->used_s - a->used_s) / s, busy = (b->busy_s - a->busy_s) / s;
    if (!a->quiet || !b->quiet || !(s > 0) || !isfinite(used) || !isfinite(busy))
        return;
    bool first = isnan(p->idle_used);
    p->idle_used = first ? used : p->idle_used + LEARN * (used - p->idle_used);
    p->idle_busy = first ? busy : p->idle_busy + LEARN * (busy - p->idle_busy);
}

void metering_look(struct metering *m, size_t n)
{
    for (size_t i = 0; i < n; i++) {
        struct metering_host *p = &m->places[i];
        struct joulet_cpu_look look;
        if (!p->followed)
            continue;
        joulet_follow_look(p->followed, &look);
        pthread_mutex_lock(&m->lock);
        struct metering_look now = {look.t_ns, look.used_s, look.busy_s, quiet(m)};
        if (p->n_looks)
            learn_idle(p, &p->looks[(p->n_looks - 1) % METERING_LOOKS], &now);
        p->looks[p->n_looks++ % METERING_LOOKS] = now;
        p->processes = look.processes;
        pthread_mutex_unlock(&m->lock);
    }
}

/* The looks around [from, to); false: there are none. */
static bool around(const struct metering_host *p, joulet_mark from, joulet_mark to, struct metering_look *a,
                   struct metering_look *b)
{
    size_t first = p->n_looks > METERING_LOOKS ? p->n_looks - METERING_LOOKS : 0, i = p->n_looks, k = first;
    while (i > first && p->looks[(i - 1) % METERING_LOOKS].t_ns > from)
        i--;
    while (k < p->n_looks && p->looks[k % METERING_LOOKS].t_ns < to)
        k++;
    if (i == first || k == p->n_looks)
        return false;
    *a = p->looks[(i - 1) % METERING_LOOKS];
    *b = p->looks[k % METERING_LOOKS];
    return b->t_ns > a->t_ns;
}

static double part_of(const struct metering_host *p, joulet_mark from, joulet_mark to)
{
    struct metering_look a, b;
    if (!p->followed || !around(p, from, to, &a, &b))
        return NAN;
    double s = jl_s(b.t_ns - a.t_ns), idle = isnan(p->idle_used) ? 0 : 1;
    double used = b.used_s - a.used_s - (idle > 0 ? p->idle_used * s : 0);
    double busy = b.busy_s - a.busy_s - (idle > 0 ? p->idle_busy * s : 0);
    if (!isfinite(used) || !isfinite(busy) || busy < LEAST_S)
        return NAN;
    return fmin(1, fmax(0, used) / fmax(busy, used));
}

static bool is_processor(const struct joulet_channel *ch)
{
    return ch->group == JOULET_GROUP_CPU || ch->group == JOULET_GROUP_DRAM;
}

size_t metering_parts(struct metering *m, const struct metering_device *d, joulet_mark from, joulet_mark to, double *parts)
{
    double sum = 0;
    size_t known = 0;
    if (!is_processor(&d->ch))
        return 0;
    for (size_t i = 0; i < m->n_places; i++) {
        parts[i] = part_of(&m->places[i], from, to);
        known += !isnan(parts[i]);
        sum += isnan(parts[i]) ? 0 : parts[i];
        if (!isnan(parts[i]))
            m->places[i].part = parts[i];
    }
    for (size_t i = 0; i < m->n_places && sum > 1; i++)
        parts[i] /= sum;
    return known ? m->n_places : 0;
}

joulet_mark metering_looked_until(struct metering *m, const struct metering_device *d, joulet_mark now)
{
    joulet_mark until = INT64_MAX;
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < m->n_places && is_processor(&d->ch); i++) {
        const struct metering_host *p = &m->places[i];
        joulet_mark last = p->n_looks ? p->looks[(p->n_looks - 1) % METERING_LOOKS].t_ns : 0;
        if (p->followed && last > now - STALE_NS && last < until)
            until = last;
    }
    pthread_mutex_unlock(&m->lock);
    return until;
}
