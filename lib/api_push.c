/* api_push.c - channels that the caller reads: wall meters behind HTTP and the like become channels as any other. */
#include "lib/meter/sampler.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void never_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    (void)s, (void)readings, (void)gauges;
}

static void close_pushed(struct sensor *s)
{
    sensor_release(s);
    free(s);
}

static const struct sensor_ops pushed_ops = {
    .name = "pushed", .summary = "read by the caller", .cls = SENSOR_PUSHED, .read = never_read, .close = close_pushed};

static bool is_complete(const struct joulet_channel *c)
{
    return c->id && c->id[0] && c->sensor && c->sensor[0] && (unsigned)c->quantity <= JOULET_THROTTLE && isfinite(c->period_s) &&
           c->period_s > 0;
}

static struct sensor *sensor_of(const struct joulet_channel *channels, size_t n)
{
    struct sensor *s = calloc(1, sizeof(*s));
    bool ok = s != NULL;
    if (s)
        s->ops = &pushed_ops;
    for (size_t i = 0; ok && i < n; i++) {
        struct joulet_channel c = channels[i];
        c.factor_lo = c.factor_lo > 0 ? c.factor_lo : 1;
        c.factor_hi = c.factor_hi > 0 ? c.factor_hi : 1;
        ok = sensor_channel_add(s, &c);
    }
    if (ok || !s)
        return s;
    close_pushed(s);
    return NULL;
}

/* The channels of one sensor follow each other; another lane may have added some meanwhile, but not in between. */
static size_t index_of(struct joulet *m, const struct live_channel *c)
{
    size_t i = 0;
    while (m->channels[i] != c)
        i++;
    return i;
}

enum joulet_status joulet_push_open(struct joulet *m, const struct joulet_channel *channels, size_t n, double poll_s,
                                    size_t *first, struct joulet_error *err)
{
    if (meter_forked(m))
        return meter_refuse(err);
    for (size_t i = 0; i < n; i++)
        if (!is_complete(&channels[i]))
            return jl_fail(err, JOULET_USAGE, "a pushed channel needs an id, a sensor, a quantity and a period above 0 s");
    if (n == 0 || !(poll_s > 0) || poll_s > 3600)
        return jl_fail(err, JOULET_USAGE, "pushed channels are at least one, read every 3600 s or more often");
    struct sensor *s = sensor_of(channels, n);
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "%s could not be added to the meter: out of memory", channels[0].id);
    pthread_mutex_lock(&m->push_lock);
    size_t at = atomic_load(&m->pushed->n_sensors);
    bool taken = lane_take_in(m->pushed, s, jl_ns(poll_s));
    if (taken)
        *first = index_of(m, m->pushed->sensors[at].channels[0]);
    pthread_mutex_unlock(&m->push_lock);
    if (!taken)
        return jl_fail(err, JOULET_LIMIT, "%s could not be added: a meter has room for %d channels and %d pushed devices",
                       channels[0].id, JL_CHANNELS_MAX, LANE_SENSORS);
    return jl_ok(err);
}

/* The pushed channel of that index; NULL when it is none. */
static struct live_channel *pushed_channel(struct joulet *m, size_t channel)
{
    if (channel >= atomic_load(&m->n_channels))
        return NULL;
    struct live_channel *c = m->channels[channel];
    for (size_t i = 0; i < atomic_load(&m->pushed->n_sensors); i++) {
        const struct live_sensor *s = &m->pushed->sensors[i];
        for (size_t k = 0; k < s->sensor->n_channels; k++)
            if (s->channels[k] == c)
                return c;
    }
    return NULL;
}

enum joulet_status joulet_push(struct joulet *m, size_t channel, const struct joulet_pushed *p)
{
    if (meter_forked(m))
        return JOULET_FORKED;
    struct live_channel *c = pushed_channel(m, channel);
    if (!c || p->answered_ns < p->asked_ns || p->asked_ns < atomic_load(&c->read_ns))
        return JOULET_USAGE;
    struct sensor_reading r = {
        .value = p->value, .t_ns = p->own_ns, .has = p->status == JOULET_OK, .reset = p->reset, .status = p->status};
    lane_take(m->pushed, c, &r, p->asked_ns, p->answered_ns);
    return JOULET_OK;
}

void joulet_push_problem(struct joulet *m, const char *sensor, enum joulet_status status, const char *message)
{
    if (!meter_forked(m))
        meter_add_problem(m, sensor, status, jl_strdup(message));
}
