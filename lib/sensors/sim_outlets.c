/* sim_outlets.c - from what was asked for to the channels of a simulated device: the model of each, and what a meter is told of
 * it. Presets are rows of docs/method.md 1.1, from which the seed draws one device; options given beside them win. */
#include "lib/sensors/sim_spec.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

#define LATE_S 0.005 /* of a device without preset: above the limit of file sensors (1.3) */
#define SLOW_S 0.01  /* counters slower than this are read like those of GPUs (2.2) */

int sim_kinds_parse(const char *kinds, const struct sim_preset *out[SIM_OUTLETS_MAX], const char **wrong)
{
    int n = 0;
    for (const char *p = kinds;; p++) {
        char name[40];
        size_t len = strcspn(p, "+");
        *wrong = p;
        if (len == 0 || len >= sizeof(name) || n == SIM_OUTLETS_MAX)
            return -1;
        memcpy(name, p, len);
        name[len] = '\0';
        const struct sim_preset *found = sim_preset_find(name);
        for (int i = 0; i < n; i++)
            if (out[i] == found)
                return -1;
        if (!found)
            return -1;
        out[n++] = found;
        p += len;
        if (!*p)
            return n;
    }
}

static double given_or(double given, double otherwise)
{
    return isnan(given) ? otherwise : given;
}

static void add_faults(const struct sim_play *p, struct sim_model *m)
{
    m->gain *= p->gain;
    m->frozen_s = given_or(p->frozen_s, INFINITY);
    m->back_s = given_or(p->back_s, INFINITY);
    m->garbage_p = p->garbage;
    m->read_s = 0; /* a read of a living device takes the time it takes */
}

/* ---- without presets ------------------------------------------------------------------------------------------------ */

static void plain(const struct sim_play *p, struct sim_outlet *out)
{
    bool slow = p->period_s >= SLOW_S;
    *out = (struct sim_outlet){.model = SIM_MODEL_INIT};
    struct sim_model *m = &out->model;
    m->kind = p->power ? SIM_POWER : SIM_COUNTER;
    m->period_s = p->period_s;
    m->jitter_s = p->jitter_s;
    m->window_s = p->window_s;
    m->lag_s = p->lag_s + p->skew_s;
    m->quantum = p->quantum;
    m->range_j = p->range_j;
    m->noise = p->noise;
    m->late_s = LATE_S;
    out->told = (struct joulet_channel){
        .quantity = p->power ? JOULET_POWER : JOULET_ENERGY,
        .group = p->group,
        .period_s = p->period_s,
        .window_s = p->power ? p->window_s : 0,
        .contiguous = p->power && p->window_s == p->period_s,
        .quantum_j = p->quantum,
        .lag_s = p->lag_s,
        .u_lag_s = p->u_lag_s,
        .lag_max_s = p->lag_max_s,
        .rise_s = given_or(p->rise_s, slow ? 0.003 : 0.0003),
        .spec = p->spec,
    };
}

/* ---- with presets --------------------------------------------------------------------------------------------------- */

/* Another period scales what belongs to it; a contiguous window goes with it. */
static void set_period(struct sim_outlet *o, double period_s)
{
    double scale = period_s / o->model.period_s;
    bool tiles = o->model.window_s == o->model.period_s;
    o->model.jitter_s *= scale;
    o->model.delay_s *= scale;
    o->model.period_s = o->told.period_s = period_s;
    if (tiles)
        o->model.window_s = period_s;
    if (o->told.contiguous)
        o->told.window_s = period_s;
}

static void set_window(struct sim_outlet *o, double window_s)
{
    o->model.window_s = o->told.window_s = window_s;
    o->model.filter_s = 0;
    o->model.spans = false;
    o->told.contiguous = window_s == o->told.period_s;
}

static void override(const struct sim_play *p, struct sim_outlet *o)
{
    bool power = o->model.kind == SIM_POWER;
    if (!isnan(p->period_s))
        set_period(o, p->period_s);
    if (!isnan(p->window_s) && power)
        set_window(o, p->window_s);
    o->told.lag_s = given_or(p->lag_s, o->told.lag_s);
    if (!isnan(p->lag_s) || !isnan(p->skew_s))
        o->model.lag_s = o->told.lag_s + given_or(p->skew_s, 0);
    o->model.jitter_s = fmin(given_or(p->jitter_s, o->model.jitter_s), o->model.period_s / 2);
    o->model.quantum = given_or(p->quantum, o->model.quantum);
    o->model.noise = given_or(p->noise, o->model.noise);
    o->model.range_j = power ? 0 : given_or(p->range_j, o->model.range_j);
    o->told.quantum_j = o->model.quantum;
    o->told.u_lag_s = given_or(p->u_lag_s, o->told.u_lag_s);
    o->told.lag_max_s = given_or(p->lag_max_s, o->told.lag_max_s);
    o->told.rise_s = given_or(p->rise_s, o->told.rise_s);
    o->told.spec = given_or(p->spec, o->told.spec);
    o->told.group = p->group;
}

size_t sim_outlets_of(const struct sim_play *p, struct sim_outlet out[SIM_OUTLETS_MAX])
{
    const struct sim_preset *presets[SIM_OUTLETS_MAX];
    const char *wrong;
    int n = p->kinds[0] ? sim_kinds_parse(p->kinds, presets, &wrong) : 0;
    for (int i = 0; i < n; i++) {
        out[i] = (struct sim_outlet){.suffix = ""};
        sim_preset_draw(presets[i], (uint64_t)p->seed + (uint64_t)i * 1000003, &out[i].model);
        sim_preset_channel(presets[i], &out[i].told);
        override(p, &out[i]);
        if (i > 0)
            snprintf(out[i].suffix, sizeof(out[i].suffix), "%s", presets[i]->name);
    }
    if (n < 1) {
        plain(p, &out[0]);
        n = 1;
    }
    for (int i = 0; i < n; i++) {
        struct joulet_channel *c = &out[i].told;
        add_faults(p, &out[i].model);
        c->id = c->sensor = c->device = c->parent = "";
        c->provenance = JOULET_SIMULATED;
        c->in_total = p->in_total && i == 0;
        c->power_min_w = c->power_max_w = NAN;
        c->factor_lo = c->factor_hi = 1;
    }
    return (size_t)n;
}
