/* sampler_calibration.c - what `joulet calibrate` found goes into the channels of a meter that is being opened (docs/method.md
 * 1.4). Without a file everything is as the sensors say; a file that cannot be used is a problem to report, never a reason not to
 * measure. */
#include "lib/meter/sampler.h"

#include <math.h>
#include <string.h>

#define SENSOR_NAME "calibration" /* of problems that are the file's */

void meter_load_calibration(struct joulet *m)
{
    char found[4096];
    struct joulet_error err;
    const char *path = m->opt.calibration ? m->opt.calibration : joulet_calibration_path(found, sizeof(found));
    m->calibration_named = m->opt.calibration && path[0];
    if (!path[0])
        return;
    enum joulet_status status = joulet_calibration_read(path, &m->calibration, &err);
    if (status != JOULET_OK && (status != JOULET_NOT_FOUND || m->calibration_named))
        meter_add_problem(m, SENSOR_NAME, status, jl_strdup(err.message));
}

/* One sentence a device: its channels have one driver. */
static void say_stale(struct joulet *m, const struct live_sensor *s)
{
    const struct live_channel *first = NULL;
    for (size_t i = 0; i < s->sensor->n_channels && !first; i++)
        if (s->channels[i]->entry_state == JOULET_CALIBRATION_STALE)
            first = s->channels[i];
    struct joulet_error err;
    jl_fail(
        &err, JOULET_NOT_FOUND,
        "%.*s was calibrated with driver %s, and %s is in use now: the defaults of its kind are used until `joulet calibrate` is "
        "run again",
        (int)strcspn(first->pub.id, "."), first->pub.id, first->entry.driver[0] ? first->entry.driver : "unknown",
        first->who.driver[0] ? first->who.driver : "an unknown one");
    meter_add_problem(m, SENSOR_NAME, err.status, jl_strdup(err.message));
}

static bool counts_badly(const struct live_channel *c)
{
    return c->entry_state == JOULET_CALIBRATION_USED && c->pub.quantity == JOULET_ENERGY && c->pub.in_total &&
           joulet_ratio_verdict(c->entry.ratio) != JOULET_VERDICT_GOOD;
}

/* A counter that does not agree with the power readings of its device gives its place in the total to them. */
static void prefer_power(struct joulet *m, struct live_sensor *s)
{
    for (size_t i = 0; i < s->sensor->n_channels; i++) {
        struct live_channel *c = s->channels[i], *power = NULL;
        for (size_t k = 0; k < s->sensor->n_channels && counts_badly(c) && !power; k++)
            if (s->channels[k]->pub.quantity == JOULET_POWER && strcmp(s->channels[k]->pub.parent, c->pub.id) == 0)
                power = s->channels[k];
        if (!power)
            continue;
        struct joulet_error err;
        c->pub.in_total = false;
        power->pub.in_total = true;
        jl_fail(&err, JOULET_UNSUPPORTED, "%s counts %.2f times what %s shows under a steady load: %s is in the total instead",
                c->pub.id, c->entry.ratio, power->pub.id, power->pub.id);
        meter_add_problem(m, SENSOR_NAME, err.status, jl_strdup(err.message));
    }
}

static void calibrate_channel(struct joulet *m, struct live_sensor *s, struct live_channel *c, bool *stale)
{
    calibration_identity(s->sensor, &c->pub, &c->who);
    /* What a simulated device was found to do holds for that simulation alone. */
    bool trusted = !c->who.simulated || m->calibration_named || m->opt.trust_root;
    const struct joulet_calibrated *e = trusted ? calibration_find(&m->calibration, &c->who, &c->entry_state) : NULL;
    c->entry = e ? *e : (struct joulet_calibrated){.ratio = NAN};
    if (!e)
        return;
    *stale = *stale || c->entry_state == JOULET_CALIBRATION_STALE;
    if (c->entry_state != JOULET_CALIBRATION_USED)
        return;
    calibration_apply(e, &c->pub);
    s->once = s->once || e->reading == JOULET_READING_SECOND;
}

void sensor_calibrate(struct joulet *m, struct live_sensor *s)
{
    bool stale = false;
    for (size_t i = 0; i < s->sensor->n_channels; i++) {
        struct live_channel *c = s->channels[i];
        if (c->pub.quantity == JOULET_ENERGY || c->pub.quantity == JOULET_POWER)
            calibrate_channel(m, s, c, &stale);
    }
    if (stale)
        say_stale(m, s);
    prefer_power(m, s);
}
