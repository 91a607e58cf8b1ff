/* api_describe.c - what the meter found: channels, problems, facts, processes; and how it fares itself. */
#include "lib/meter/sampler.h"

#include <math.h>

/* ---- channels and problems ---------------------------------------------------------------------------------------------- */

size_t joulet_channel_count(struct joulet *m)
{
    return meter_forked(m) ? 0 : atomic_load(&m->n_channels);
}

enum joulet_status joulet_channel_get(struct joulet *m, size_t i, struct joulet_channel *out)
{
    if (meter_forked(m))
        return JOULET_FORKED;
    if (i >= atomic_load(&m->n_channels))
        return JOULET_USAGE;
    pthread_mutex_lock(&m->lock);
    *out = m->channels[i]->pub;
    pthread_mutex_unlock(&m->lock);
    return JOULET_OK;
}

size_t joulet_problem_count(struct joulet *m)
{
    if (meter_forked(m))
        return 0;
    pthread_mutex_lock(&m->lock);
    size_t n = m->n_problems;
    pthread_mutex_unlock(&m->lock);
    return n;
}

enum joulet_status joulet_problem_get(struct joulet *m, size_t i, struct joulet_problem *out)
{
    if (meter_forked(m))
        return JOULET_FORKED;
    pthread_mutex_lock(&m->lock);
    bool there = i < m->n_problems;
    if (there)
        *out = m->problems[i];
    pthread_mutex_unlock(&m->lock);
    return there ? JOULET_OK : JOULET_USAGE;
}

enum joulet_calibration_state joulet_calibration_of(struct joulet *m, size_t i, struct joulet_calibrated *out)
{
    *out = (struct joulet_calibrated){.ratio = NAN};
    if (meter_forked(m) || i >= atomic_load(&m->n_channels))
        return JOULET_CALIBRATION_ABSENT;
    *out = m->channels[i]->entry; /* constant since the channel is there */
    return m->channels[i]->entry_state;
}

enum joulet_status joulet_calibrated_init(struct joulet *m, size_t i, struct joulet_calibrated *out)
{
    *out = (struct joulet_calibrated){.ratio = NAN};
    if (meter_forked(m))
        return JOULET_FORKED;
    if (i >= atomic_load(&m->n_channels))
        return JOULET_USAGE;
    *out = m->channels[i]->who;
    return JOULET_OK;
}

/* ---- facts and processes ------------------------------------------------------------------------------------------------ */

/* The k-th open sensor of all lanes; NULL after the last. */
static struct sensor *sensor_at(struct joulet *m, size_t k)
{
    for (size_t i = 0; i < m->n_lanes; i++) {
        size_t n = atomic_load(&m->lanes[i]->n_sensors);
        if (k < n)
            return m->lanes[i]->sensors[k].sensor;
        k -= n;
    }
    return NULL;
}

size_t joulet_fact_count(struct joulet *m)
{
    size_t n = 0;
    struct sensor *s;
    if (meter_forked(m))
        return 0;
    for (size_t k = 0; (s = sensor_at(m, k)); k++)
        n += s->n_facts;
    return n;
}

enum joulet_status joulet_fact_get(struct joulet *m, size_t i, struct joulet_fact *out)
{
    struct sensor *s;
    if (meter_forked(m))
        return JOULET_FORKED;
    for (size_t k = 0; (s = sensor_at(m, k)); k++) {
        if (i < s->n_facts) {
            *out = s->facts[i];
            return JOULET_OK;
        }
        i -= s->n_facts;
    }
    return JOULET_USAGE;
}

size_t joulet_processes(struct joulet *m, struct joulet_process *out, size_t n)
{
    size_t total = 0;
    struct sensor *s;
    if (meter_forked(m))
        return 0;
    for (size_t k = 0; (s = sensor_at(m, k)); k++)
        if (s->ops->processes)
            total += s->ops->processes(s, total < n ? out + total : NULL, total < n ? n - total : 0);
    return total;
}

/* ---- the meter's own cost ----------------------------------------------------------------------------------------------- */

enum joulet_status joulet_stats_get(struct joulet *m, struct joulet_stats *out)
{
    if (meter_forked(m))
        return JOULET_FORKED;
    *out = (struct joulet_stats){.first_sample_s = NAN};
    for (size_t i = 0; i < m->n_lanes; i++) {
        const struct lane *l = m->lanes[i];
        out->cpu_s += jl_s(atomic_load(&l->cpu_ns));
        out->reads += atomic_load(&l->reads);
        out->failed += atomic_load(&l->failed);
        out->late += atomic_load(&l->late);
    }
    int64_t first = atomic_load(&m->first_sample_ns);
    if (first)
        out->first_sample_s = jl_s(first - m->opened_ns);
    out->dropped = ring_store_dropped(&m->store);
    out->memory_bytes = ring_store_bytes(&m->store);
    return JOULET_OK;
}
