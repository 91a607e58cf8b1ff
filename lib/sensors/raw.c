/* raw.c - from what devices print to what it means: counters unwrapped, restarts told, nonsense refused, spans laid on the clock
 * (docs/method.md 1.2, 1.3). Pure: times come with the values. */
#include "lib/sensors/sensor.h"

#define IN_TIME_S 0.5 /* no read that comes sooner misses a wrap of a device of the field */
#define SLACK_S   0.1 /* a step is plausible if its power over the gap, an update and this is */

uint64_t jl_counter_delta(uint64_t prev, uint64_t now, uint64_t range)
{
    return now >= prev ? now - prev : now + (range - prev);
}

/* Whether the counter can have gone from `before` to `now` in that time; *grown is by how much. */
static bool plausible(const struct jl_counter *c, uint64_t before, uint64_t now, int64_t gap_ns, uint64_t *grown)
{
    if (now < before && c->range_uj <= before)
        return false;
    if (c->range_uj && jl_s(gap_ns) > IN_TIME_S && c->wraps_w * 1e6 * jl_s(gap_ns) > (double)c->range_uj)
        return false;
    *grown = jl_counter_delta(before, now, c->range_uj);
    return isnan(c->max_w) || (double)*grown * 1e-6 <= 1.5 * c->max_w * (jl_s(gap_ns) + c->longest_s + SLACK_S);
}

static void refuse(struct sensor_reading *out)
{
    *out = (struct sensor_reading){.status = JOULET_FORMAT};
}

void jl_counter_take(struct jl_counter *c, uint64_t raw_uj, int64_t now_ns, struct sensor_reading *out)
{
    uint64_t grown = 0, since;
    if (raw_uj == UINT64_MAX) {
        refuse(out);
        return;
    }
    bool goes_on = !c->started || plausible(c, c->last_uj, raw_uj, now_ns - c->last_ns, &grown);
    bool believed = !c->doubt || (c->odd && plausible(c, c->odd_uj, raw_uj, now_ns - c->odd_ns, &since));
    c->odd = !goes_on && !believed;
    if (c->odd) {
        c->odd_uj = raw_uj;
        c->odd_ns = now_ns;
        refuse(out);
        return;
    }
    c->total_uj += goes_on ? grown : 0;
    c->last_uj = raw_uj;
    c->last_ns = now_ns;
    c->started = true;
    *out = (struct sensor_reading){.has = true, .reset = !goes_on, .value = (int64_t)c->total_uj};
}

void jl_power_take(uint64_t raw_uw, double max_w, struct sensor_reading *out)
{
    if (raw_uw > INT64_MAX || (double)raw_uw * 1e-6 > 1.5 * max_w)
        refuse(out);
    else
        *out = (struct sensor_reading){.has = true, .value = (int64_t)raw_uw};
}

double jl_spans_end(struct jl_spans *s, double arrival_s, double length_s)
{
    s->sum_s += length_s;
    double off = arrival_s - s->sum_s;
    if (!s->any || off < s->off_s)
        s->off_s = off;
    s->any = true;
    return s->off_s + s->sum_s;
}
