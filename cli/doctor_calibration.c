/* doctor_calibration.c - `joulet doctor` about calibration: which devices are calibrated, when and with what driver, and what the
 * sampler was found to cost. */
#include "cli/doctor.h"

#include <math.h>
#include <string.h>

/* How each device came to its lag, once for each: channels of a device are calibrated together. */
struct calibrations {
    char text[400];
    size_t used, stale, absent;
};

static bool first_of_device(const struct doctor *d, size_t i)
{
    size_t n = strcspn(d->live.channels[i].ch.id, ".") + 1;
    if (live_is_pushed(d->live.channels[i].ch.sensor)) /* nothing here drives what hangs on its plug in steps of its own */
        return false;
    for (size_t k = 0; k < i; k++)
        if (strncmp(d->live.channels[k].ch.id, d->live.channels[i].ch.id, n) == 0 && live_is_power(&d->live.channels[k].ch))
            return false;
    return true;
}

/* The best of what its channels have: one that saw no load does not make the device one that was not calibrated. */
static enum joulet_calibration_state state_of_device(const struct doctor *d, size_t first, struct joulet_calibrated *e)
{
    enum joulet_calibration_state best = JOULET_CALIBRATION_ABSENT;
    size_t n = strcspn(d->live.channels[first].ch.id, ".") + 1;
    for (size_t k = first; k < d->live.n; k++) {
        struct joulet_calibrated one;
        enum joulet_calibration_state s;
        if (strncmp(d->live.channels[k].ch.id, d->live.channels[first].ch.id, n) != 0)
            continue;
        s = joulet_calibration_of(d->live.meter, k, &one);
        if (s > best) {
            best = s;
            *e = one;
        }
    }
    return best;
}

static enum joulet_calibration_state add_device(const struct doctor *d, size_t i, struct calibrations *c)
{
    struct joulet_calibrated e = {0};
    char day[32];
    const char *id = d->live.channels[i].ch.id;
    enum joulet_calibration_state state = state_of_device(d, i, &e);
    size_t n = strlen(c->text);
    jl_format_time(day, sizeof day, e.at_s * JL_NS_PER_S);
    day[strcspn(day, "T")] = '\0';
    n += (size_t)snprintf(c->text + n, sizeof c->text - n, "%s%.*s ", n ? "; " : "", (int)strcspn(id, "."), id);
    n = n < sizeof c->text ? n : sizeof c->text - 1;
    if (state == JOULET_CALIBRATION_USED)
        snprintf(c->text + n, sizeof c->text - n, "calibrated on %s%s%s", day, e.driver[0] ? " with " : "", e.driver);
    else if (state == JOULET_CALIBRATION_STALE)
        snprintf(c->text + n, sizeof c->text - n, "calibrated with %s, which is not the driver now",
                 e.driver[0] ? e.driver : "another driver");
    else
        snprintf(c->text + n, sizeof c->text - n, "not calibrated");
    c->used += state == JOULET_CALIBRATION_USED;
    c->stale += state == JOULET_CALIBRATION_STALE;
    c->absent += state == JOULET_CALIBRATION_ABSENT;
    return state;
}

/* What the sampler costs, where it was measured. */
static void add_cost(const struct doctor *d, struct finding *f)
{
    char found_at[4096];
    struct joulet_calibration_file file;
    const char *given = cli_str(d->cli, "calibration");
    const char *path = given ? given : joulet_calibration_path(found_at, sizeof found_at);
    if (joulet_calibration_read(path, &file, NULL) != JOULET_OK)
        return;
    size_t n = strlen(f->text);
    const struct joulet_self_cost *c = &file.cost;
    if (c->at_s)
        n += (size_t)snprintf(f->text + n, sizeof f->text - n, "; the sampler takes %.2g %% of one core", c->cpu_share * 100);
    if (c->at_s && !isnan(c->power_w) && n < sizeof f->text)
        snprintf(f->text + n, sizeof f->text - n, ", %.2f W give or take %.2f W", c->power_w, 2 * c->u_power_w);
    joulet_calibration_release(&file);
}

void doctor_calibration(const struct doctor *d, struct finding *f)
{
    struct calibrations c = {0};
    struct joulet_problem p;
    bool gpu = false;
    for (size_t i = 0; d->live.meter && i < joulet_problem_count(d->live.meter); i++)
        if (joulet_problem_get(d->live.meter, i, &p) == JOULET_OK && strcmp(p.sensor, "calibration") == 0 &&
            (p.status == JOULET_FORMAT || p.status == JOULET_NEWER || p.status == JOULET_PERMISSION)) {
            found(f, DOCTOR_FAILED, "%s", p.message);
            remedy(f, "--calibration none leaves it aside");
            return;
        }
    for (size_t i = 0; i < d->live.n; i++) {
        const struct joulet_channel *ch = &d->live.channels[i].ch;
        if (!live_is_power(ch) || live_is_estimate(ch) || !first_of_device(d, i))
            continue;
        bool needed = add_device(d, i, &c) != JOULET_CALIBRATION_USED;
        gpu |= needed && ch->group == JOULET_GROUP_GPU;
    }
    if (!c.text[0])
        found(f, DOCTOR_OK, "nothing to calibrate: no sensor measures here");
    else
        found(f, c.stale || c.absent ? DOCTOR_ADVICE : DOCTOR_OK, "%s", c.text);
    if (c.used)
        add_cost(d, f);
    if (f->verdict == DOCTOR_ADVICE)
        remedy(f, gpu ? "joulet calibrate -m MODEL   # a minute for each kind of device; phases get a smaller interval"
                      : "joulet calibrate   # a minute; short phases get a smaller interval");
}
