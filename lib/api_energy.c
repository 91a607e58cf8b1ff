/* api_energy.c - the simple form of measuring: the energy between two marks of a live meter, of one channel or of all. The
 * arithmetic is that of stored traces (joulet_measure); here traces are gathered and devices summed. */
#include "lib/meter/sampler.h"

#include <math.h>
#include <string.h>

#define LEVEL_NS   JL_NS_PER_S /* before the window: its level is the idle one (4.2) */
#define PATIENCE_S 5.0         /* a sensor that takes longer is measured without an update after the end */
#define LEAST      0.5         /* of the lowest reading: what the power never falls below (2.4) */

static const struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;

static bool has_energy(const struct joulet_channel *c)
{
    return c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER;
}

/* The idle level from the second before, where the meter was there to see it. */
static struct joulet_baseline level_before(const struct joulet *m, const struct joulet_trace *trace, joulet_mark from)
{
    struct joulet_baseline idle = JOULET_BASELINE_NONE, found;
    if (from - LEVEL_NS >= m->opened_ns &&
        joulet_baseline_short(trace, from - LEVEL_NS, from, from, from, &found, NULL) == JOULET_OK)
        idle = found;
    return idle;
}

/* The second before may have been busier than the window: the lowest reading of the whole trace bounds the power from below. */
static void set_least_power(struct joulet_trace *trace)
{
    struct joulet_power p;
    if (isfinite(trace->channel.power_min_w) || trace->n < 2)
        return;
    joulet_power_in(trace, trace->samples[0].t_ns, trace->samples[trace->n - 1].t_ns + 1, &p);
    if (p.updates > 0 && p.min_w >= 0)
        trace->channel.power_min_w = LEAST * p.min_w;
}

/* With the second before if memory still has it, else without; to where the lag of the sensor shows the end. */
static enum joulet_status copy_around(struct joulet *m, size_t i, joulet_mark from, joulet_mark to, struct joulet_trace *trace,
                                      struct joulet_error *err)
{
    struct joulet_channel c;
    joulet_channel_get(m, i, &c);
    joulet_mark end = to + (isfinite(c.lag_max_s) ? jl_ns(c.lag_max_s) : 0);
    if (joulet_trace_copy(m, i, from - LEVEL_NS, end, trace, NULL) == JOULET_OK)
        return jl_ok(err);
    return joulet_trace_copy(m, i, from, end, trace, err);
}

/* JOULET_GONE comes with what was measured before the device left. */
static enum joulet_status of_channel(struct joulet *m, size_t i, joulet_mark from, joulet_mark to, struct joulet_energy *out,
                                     struct joulet_error *err)
{
    struct joulet_trace trace;
    struct joulet_measured measured;
    struct joulet_what what = {.bounds = (const joulet_mark[]){from, to}, .n_phases = 1};
    enum joulet_status status = copy_around(m, i, from, to, &trace, err);
    if (status == JOULET_OK) {
        struct joulet_baseline idle = level_before(m, &trace, from);
        set_least_power(&trace);
        status = joulet_measure(&trace, &idle, &what, &measured, err);
        *out = measured.whole;
    } else {
        out->flags |= JOULET_FLAG_TRACE_LOST;
    }
    int64_t gone = atomic_load(&m->channels[i]->gone_ns);
    if (gone && gone < to) {
        out->flags |= JOULET_FLAG_GONE;
        status = jl_fail(err, JOULET_GONE, "%s left during the measurement: the figure is the part until then; check its driver",
                         m->channels[i]->pub.id);
    }
    joulet_trace_release(&trace);
    return status;
}

/* ---- the total -------------------------------------------------------------------------------------------------------- */

struct total {
    struct joulet_energy sum;
    size_t parts, measured;
    enum joulet_status status; /* of the first part that failed */
    struct joulet_error err;
    bool gone;
};

static void add_part(struct joulet *m, struct total *t, struct joulet_energy *of_sensor, size_t i, joulet_mark from,
                     joulet_mark to)
{
    struct joulet_energy part = unknown;
    struct joulet_error err = {0};
    enum joulet_status status = of_channel(m, i, from, to, &part, &err);
    t->parts++;
    t->measured += isfinite(part.gross_j);
    if (status != JOULET_OK && (t->status == JOULET_OK || (status == JOULET_GONE && !t->gone))) {
        t->status = status;
        t->err = err;
    }
    t->gone = t->gone || status == JOULET_GONE;
    joulet_energy_add(of_sensor, &part, true);
}

/* Whether it counts may change when another sensor joins. */
static bool counts(struct joulet *m, size_t i)
{
    struct joulet_channel c;
    return joulet_channel_get(m, i, &c) == JOULET_OK && c.in_total && has_energy(&c);
}

/* Devices of one kind err alike, those of different kinds do not: each kind is summed first (3). */
static void add_sensor(struct joulet *m, struct total *t, const char *sensor, joulet_mark from, joulet_mark to)
{
    struct joulet_energy of_sensor = unknown;
    for (size_t i = 0; i < atomic_load(&m->n_channels); i++) {
        if (counts(m, i) && strcmp(m->channels[i]->pub.sensor, sensor) == 0)
            add_part(m, t, &of_sensor, i, from, to);
    }
    joulet_energy_add(&t->sum, &of_sensor, false);
}

static bool first_of_its_sensor(struct joulet *m, size_t i)
{
    const struct joulet_channel *c = &m->channels[i]->pub;
    if (!counts(m, i))
        return false;
    for (size_t k = 0; k < i; k++) {
        if (counts(m, k) && strcmp(m->channels[k]->pub.sensor, c->sensor) == 0)
            return false;
    }
    return true;
}

static bool stands_beside(const char *sensor)
{
    for (size_t i = 0; sensor_table[i]; i++)
        if (strcmp(sensor_table[i]->name, sensor) == 0)
            return sensor_table[i]->beside;
    return false;
}

/* Something here may not be read by this user: what measures is not all. */
static bool refused(struct joulet *m)
{
    struct joulet_problem p;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        if (joulet_problem_get(m, i, &p) == JOULET_OK && p.status == JOULET_PERMISSION && !stands_beside(p.sensor))
            return true;
    return false;
}

static enum joulet_status of_all(struct joulet *m, joulet_mark from, joulet_mark to, struct joulet_energy *out,
                                 struct joulet_error *err)
{
    struct total t = {.sum = unknown};
    for (size_t i = 0; i < atomic_load(&m->n_channels); i++)
        if (first_of_its_sensor(m, i))
            add_sensor(m, &t, m->channels[i]->pub.sensor, from, to);
    *out = t.sum;
    if (isfinite(out->gross_j) && out->provenance != JOULET_ESTIMATED && refused(m))
        out->flags |= JOULET_FLAG_PARTIAL;
    if (t.parts == 0)
        return jl_fail(err, JOULET_NO_SENSOR,
                       "no channel of this meter counts in the total: ask for one channel, or open other "
                       "sensors");
    if (t.gone || t.measured == 0) {
        if (err)
            *err = t.err;
        return t.status;
    }
    return jl_ok(err);
}

enum joulet_status joulet_energy_between(struct joulet *m, size_t channel, joulet_mark from, joulet_mark to,
                                         struct joulet_energy *out, struct joulet_error *err)
{
    struct joulet_channel c;
    *out = unknown;
    if (meter_forked(m))
        return meter_refuse(err);
    if (to <= from)
        return jl_fail(err, JOULET_USAGE, "energy between two marks needs the earlier mark first");
    if (channel != JOULET_TOTAL && joulet_channel_get(m, channel, &c) != JOULET_OK)
        return jl_fail(err, JOULET_USAGE, "there is no channel %zu: this meter has %zu", channel, joulet_channel_count(m));
    if (channel != JOULET_TOTAL && !has_energy(&c))
        return jl_fail(err, JOULET_USAGE, "%s reports no energy or power: ask for a channel that does", c.id);
    joulet_wait_covered(m, to, PATIENCE_S, NULL);
    return channel == JOULET_TOTAL ? of_all(m, from, to, out, err) : of_channel(m, channel, from, to, out, err);
}
