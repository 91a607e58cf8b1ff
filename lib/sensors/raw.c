/* raw.c - from what devices print to what it means: counters unwrapped, restarts told, nonsense refused, spans laid on the clock
 * (docs/method.md 1.2, 1.3). Pure: times come with the values. */
#include "lib/sensors/sensor.h"

#define IN_TIME_S   0.5 /* no read that comes sooner misses a wrap of a device of the field */
#define SLACK_S     0.1 /* a step is plausible if its power over the gap, an update and this is */
#define ODD_UPDATES 2   /* longest updates that one value may last */

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

/* A jump is believed when the counter goes on from it. Only moving on shows that: the same nonsense read twice does not. A
 * counter that stands there for longer than any update lasts is a counter that stands. */
static bool goes_on_from_odd(const struct jl_counter *c, uint64_t raw_uj, int64_t now_ns)
{
    uint64_t grown;
    bool moved = raw_uj != c->odd_uj || jl_s(now_ns - c->odd_ns) > ODD_UPDATES * c->longest_s;
    return c->odd && moved && plausible(c, c->odd_uj, raw_uj, now_ns - c->odd_ns, &grown);
}

static void note_odd(struct jl_counter *c, uint64_t raw_uj, int64_t now_ns)
{
    if (!c->odd || c->odd_uj != raw_uj)
        c->odd_ns = now_ns;
    c->odd_uj = raw_uj;
    c->odd = true;
}

void jl_counter_take(struct jl_counter *c, uint64_t raw_uj, int64_t now_ns, struct sensor_reading *out)
{
    uint64_t grown = 0;
    if (raw_uj == UINT64_MAX) {
        refuse(out);
        return;
    }
    bool goes_on = c->started ? plausible(c, c->last_uj, raw_uj, now_ns - c->last_ns, &grown) : !c->doubt;
    if (!goes_on && c->doubt && !goes_on_from_odd(c, raw_uj, now_ns)) {
        note_odd(c, raw_uj, now_ns);
        if (c->started)
            refuse(out);
        else
            *out = (struct sensor_reading){.has = false}; /* the first value may be nonsense as well */
        return;
    }
    c->odd = false;
    c->total_uj += goes_on ? grown : 0;
    c->last_uj = raw_uj;
    c->last_ns = now_ns;
    *out = (struct sensor_reading){.has = true, .reset = c->started && !goes_on, .value = (int64_t)c->total_uj};
    c->started = true;
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
