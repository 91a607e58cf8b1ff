/* api_trace.c - marks, and the traces around them: set a mark, wait until the sensors have passed it, copy the samples. */
#include "lib/meter/sampler.h"

#include <math.h>

#define SHORT_NS     100000000 /* phases below this profit from locking every update after an event (1.3) */
#define REMEMBER_NS  (30 * JL_NS_PER_S)
#define LEAD_SAMPLES 10  /* before and after: estimators lean on up to 6 updates beside a boundary (2.2) */
#define PATIENT_S    1.5 /* a battery or a BMC: nobody waits for it unless it is what counts */
#define GLANCE_NS    1000000

/* ---- marks ---------------------------------------------------------------------------------------------------------------- */

/* Whether a phase will be short is not known at its start: those of the last half minute tell. */
static void note_mark(struct joulet *m, joulet_mark t)
{
    int64_t before = atomic_exchange(&m->mark_ns, t);
    if (t > before && t - before < SHORT_NS)
        atomic_store_explicit(&m->short_until_ns, t + REMEMBER_NS, memory_order_relaxed);
}

static void wake(struct joulet *m)
{
    for (size_t i = 0; i < m->n_lanes; i++) {
        struct lane *l = m->lanes[i];
        if (!atomic_load_explicit(&l->has_locks, memory_order_relaxed))
            continue;
        atomic_store(&l->marked, true);
        jl_event_set(l->event);
    }
}

void joulet_mark_at(struct joulet *m, joulet_mark t_ns)
{
    if (meter_forked(m)) /* the event is shared with the parent: do not wake it */
        return;
    note_mark(m, t_ns);
    wake(m);
}

joulet_mark joulet_mark_now(struct joulet *m)
{
    joulet_mark t = jl_mono_ns();
    joulet_mark_at(m, t);
    return t;
}

/* ---- waiting -------------------------------------------------------------------------------------------------------------- */

/* A channel that fails, or left, or reports no power at all, or stands beside the total and takes its time: nothing to wait for.
 */
static bool gives_nothing(struct live_channel *c, const struct joulet_channel *pub)
{
    bool power = pub->quantity == JOULET_ENERGY || pub->quantity == JOULET_POWER;
    return !power || (!pub->in_total && pub->period_s > PATIENT_S) || atomic_load(&c->gone_ns) ||
           atomic_load(&c->failed_row) >= AWAY_READS;
}

/* An update after t, lag included, has come, or two could have, or none can. */
static bool covered(struct joulet *m, struct live_channel *c, joulet_mark t)
{
    struct joulet_channel pub;
    struct joulet_sample last;
    pthread_mutex_lock(&m->lock);
    pub = c->pub;
    pthread_mutex_unlock(&m->lock);
    if (gives_nothing(c, &pub))
        return true;
    int64_t after = t + (isfinite(pub.lag_max_s) ? jl_ns(pub.lag_max_s) : 0);
    int64_t twice = isfinite(pub.period_s) ? jl_ns(2 * pub.period_s) : 0;
    if (atomic_load_explicit(&c->read_ns, memory_order_acquire) > after + twice)
        return true;
    return ring_last(&m->store, &c->ring, &last) && last.t_ns > after && !(last.flags & JOULET_SAMPLE_FAILED);
}

enum joulet_status joulet_wait_covered(struct joulet *m, joulet_mark t, double timeout_s, struct joulet_error *err)
{
    if (meter_forked(m))
        return meter_refuse(err);
    int64_t until = jl_mono_ns() + jl_ns(timeout_s < 1e9 ? timeout_s : 1e9);
    for (size_t i = 0; i < atomic_load(&m->n_channels); i++) {
        while (!covered(m, m->channels[i], t)) {
            if (jl_mono_ns() >= until)
                return jl_fail(err, JOULET_TOO_SHORT, "%s gave no reading within %.1f s after the mark: wait longer",
                               m->channels[i]->pub.id, timeout_s);
            jl_sleep_until(jl_mono_ns() + GLANCE_NS);
        }
    }
    return jl_ok(err);
}

/* ---- copying -------------------------------------------------------------------------------------------------------------- */

/* Where nothing has changed since the newest update, the trace goes on to the last read. */
static void append_last(const struct live_channel *c, struct joulet_trace *trace, joulet_mark to)
{
    int64_t equal = atomic_load(&c->equal_ns);
    if (trace->n == 0)
        return;
    const struct joulet_sample *newest = &trace->samples[trace->n - 1];
    if (newest->t_ns >= to || equal <= newest->t_ns || newest->flags & JOULET_SAMPLE_FAILED)
        return;
    trace->samples[trace->n++] = (struct joulet_sample){.t_ns = equal, .value = newest->value, .flags = JOULET_SAMPLE_LAST};
}

enum joulet_status joulet_trace_copy(struct joulet *m, size_t channel, joulet_mark from, joulet_mark to, struct joulet_trace *out,
                                     struct joulet_error *err)
{
    *out = (struct joulet_trace){0};
    if (meter_forked(m))
        return meter_refuse(err);
    if (channel >= atomic_load(&m->n_channels) || to < from)
        return jl_fail(err, JOULET_USAGE, "a trace needs a channel of the meter and a window that does not end before it begins");
    struct live_channel *c = m->channels[channel];
    joulet_channel_get(m, channel, &out->channel);
    enum joulet_status status = ring_copy(&m->store, &c->ring, from, to, LEAD_SAMPLES, &out->samples, &out->n);
    if (status == JOULET_NO_DATA)
        return jl_fail(err, status, "the samples of %s from then have left memory: give the meter more, or a sink",
                       out->channel.id);
    if (status != JOULET_OK)
        return jl_fail(err, status, "the trace of %s could not be copied: out of memory", out->channel.id);
    append_last(c, out, to);
    return jl_ok(err);
}
