/* sampler_lock.c - event-locked reads (1.3): after a mark the counters are read without pause until they change. The update is
 * then known to the time between two reads, microseconds, where polling knows it to half a period. */
#include "lib/meter/sampler.h"

#define AFTER_NS 3000000 /* after an event near short phases every update of this time is locked */
#define TIMED    8       /* reads before their cost is believed */

struct target {
    struct live_sensor *sensor;
    struct live_channel *channel;
    size_t index;
    bool started, done;
    int64_t value, begun_ns; /* of the last read */
    int64_t since_ns;        /* the start, or the last update */
};

static size_t find_targets(struct lane *l, struct target *targets, size_t max)
{
    size_t n = 0;
    for (size_t i = 0; i < l->n_sensors; i++) {
        struct live_sensor *s = &l->sensors[i];
        for (size_t k = 0; s->lockable && k < s->sensor->n_channels && n < max; k++)
            if (s->channels[k]->updates.kind == UPDATES_COUNTER && !atomic_load(&s->channels[k]->gone_ns))
                targets[n++] = (struct target){.sensor = s, .channel = s->channels[k], .index = k};
    }
    return n;
}

/* The cheapest of several: one alone may have been interrupted. */
static void time_read(struct live_sensor *s, int64_t cost, int64_t limit)
{
    s->cheapest_ns = cost < s->cheapest_ns ? cost : s->cheapest_ns;
    s->n_timed++;
    if (s->n_timed >= TIMED && s->cheapest_ns > limit)
        s->lockable = false;
}

/* The counter changed between the last read and the one that ended at end_ns. false if that is too long for one update. */
static bool push_locked(struct lane *l, struct target *t, int64_t value, int64_t end_ns)
{
    struct live_channel *c = t->channel;
    struct joulet_sample sample;
    if (!updates_locked(&c->updates, t->begun_ns, end_ns, value, &sample))
        return false;
    ring_retract(&l->meter->store, &c->ring, sample.t_ns - updates_lock_span(&c->updates) - 1,
                 JOULET_SAMPLE_LOCKED | JOULET_SAMPLE_FAILED | JOULET_SAMPLE_RESET);
    ring_push(&l->meter->store, &c->ring, sample);
    atomic_store_explicit(&c->equal_ns, 0, memory_order_relaxed);
    atomic_store_explicit(&c->read_ns, end_ns, memory_order_release);
    return true;
}

/* One update is enough, or all until `until`; a counter that stands still is given up. */
static bool is_done(const struct target *t, bool changed, int64_t now, int64_t until)
{
    return (changed && now >= until) || (now - t->since_ns) * 2 > t->channel->updates.period_ns * 3;
}

static void read_target(struct lane *l, struct target *t, int64_t until)
{
    struct sensor *s = t->sensor->sensor;
    struct sensor_reading r = {0};
    int64_t t0 = jl_mono_ns();
    s->ops->read_one(s, t->index, &r);
    int64_t t1 = jl_mono_ns();
    time_read(t->sensor, t1 - t0, l->meter->lock_cost_ns);
    if (r.status != JOULET_OK || r.reset || !t->sensor->lockable) {
        lane_take(l, t->channel, &r, t0, t1);
        t->done = true;
        return;
    }
    bool changed = r.has && t->started && r.value != t->value;
    if (changed && (r.t_ns || !push_locked(l, t, r.value, t1))) /* a time of the device's own is better than ours */
        lane_take(l, t->channel, &r, t0, t1);
    if (changed || t->since_ns == 0)
        t->since_ns = t1;
    t->done = is_done(t, changed, t1, until);
    t->started = t->started || r.has;
    t->value = r.has ? r.value : t->value;
    t->begun_ns = r.has ? t0 : t->begun_ns;
}

/* Reads that cost too much to be repeated: one each, as at a poll. */
static void read_once(struct lane *l)
{
    for (size_t i = 0; i < l->n_sensors; i++)
        if (l->sensors[i].once || (l->sensors[i].sensor->ops->lockable && !l->sensors[i].lockable))
            lane_read(l, &l->sensors[i], jl_mono_ns());
}

void lane_lock(struct lane *l)
{
    struct target targets[JL_CHANNELS_MAX];
    size_t n = find_targets(l, targets, JL_COUNT(targets)), left = n;
    int64_t mark = atomic_load(&l->meter->mark_ns);
    int64_t until = jl_mono_ns() < atomic_load(&l->meter->short_until_ns) ? mark + AFTER_NS : mark;
    while (left > 0 && !atomic_load(&l->stop)) {
        left = 0;
        for (size_t i = 0; i < n; i++) {
            if (!targets[i].done)
                read_target(l, &targets[i], until);
            left += !targets[i].done;
        }
    }
    read_once(l);
}
