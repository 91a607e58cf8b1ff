/* sim.c - the simulated sensor: a device that draws a known power curve and reports it as real devices do, in steps.
 *
 * What each channel shows is the pure model's (sim_device.h) on the clock of this machine; here are the curve, reads that fail
 * or come late, and the reader: raw counters are unwrapped and nonsense refused like any other device's (raw.c). A device may
 * have several channels, as a GPU has a counter and power readings of the same truth. docs/sensors/sim.md. */
#include "lib/sensors/sensor.h"
#include "lib/sensors/sim_curve.h"
#include "lib/sensors/sim_spec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define CURVE_FILE_MAX (8u << 20)
#define SLOW_S         0.01 /* counters slower than this are read like those of GPUs (2.2) */
#define LONG_AGO_S     1e12
#define WATTS_MAX      1e7 /* of any curve */

extern const struct sensor_ops sensor_sim;
static const struct sensor_ops slow_sim;

/* One channel. */
struct outlet {
    struct sim_device device;
    struct jl_counter counter;
    struct jl_spans spans;
    double max_w;
    struct sim_update shown; /* the last that was read */
    bool any;
};

struct sim {
    struct sensor base;
    struct sim_play spec;
    struct sim_curve curve;
    struct outlet outlets[SIM_OUTLETS_MAX];
    int64_t open_ns, reads;

    /* follow: */
    int fd;
    char line[128];
    size_t line_n;
    bool line_bad;
};

static double energy_of(void *user, double t_s)
{
    return sim_curve_energy_at(user, t_s);
}

/* ---- following a file -------------------------------------------------------------------------------------------- */

static bool end_line(struct sim *s)
{
    double t_ns, p;
    s->line[s->line_n] = '\0';
    bool blank = !s->line[strspn(s->line, " \t\r")] || s->line[0] == '#';
    bool ok = !s->line_bad && (blank || sim_parse_line(s->line, &t_ns, &p));
    if (ok && !blank)
        sim_curve_add(&s->curve, (t_ns - (double)s->open_ns) * 1e-9, p);
    s->line_n = 0;
    s->line_bad = false;
    return ok;
}

/* Takes in what was appended since the last read; false when a line was not understood. */
static bool tail(struct sim *s)
{
    char bytes[4096];
    ssize_t n = 0;
    bool ok = true;
    if (s->fd < 0)
        s->fd = open(s->spec.path, O_RDONLY | O_CLOEXEC);
    while (s->fd >= 0 && (n = read(s->fd, bytes, sizeof(bytes))) > 0)
        for (ssize_t i = 0; i < n; i++) {
            if (bytes[i] == '\n')
                ok &= end_line(s);
            else if (s->line_n < sizeof(s->line) - 1)
                s->line[s->line_n++] = bytes[i];
            else
                s->line_bad = true;
        }
    return ok && n >= 0;
}

/* ---- the reader -------------------------------------------------------------------------------------------------- */

/* What the device shows at t_s, counted from the moment it was opened. */
static void show(struct outlet *o, double t_s)
{
    struct sim_read r;
    sim_device_read(&o->device, t_s, &r);
    /* A line of a followed file that came late may take energy back that was shown already: the counter stands until then. */
    bool fell = o->any && r.u.value < o->shown.value && o->device.m.kind == SIM_COUNTER;
    if (fell && r.u.visible_s < o->device.m.back_s && !r.u.garbage) {
        r.u.raw = o->shown.raw;
        r.u.value = o->shown.value;
    }
    o->shown = r.u;
    o->any = true;
}

/* The reader's part: from what is shown to a reading. */
static void take(struct outlet *o, int64_t open_ns, double t_s, struct sensor_reading *out)
{
    int64_t before = o->any ? o->shown.k : INT64_MIN;
    show(o, t_s);
    if (o->device.m.spans && o->shown.k == before) {
        *out = (struct sensor_reading){.has = false}; /* no text since the last one */
        return;
    }
    if (o->device.m.kind == SIM_COUNTER)
        jl_counter_take(&o->counter, o->shown.raw, open_ns + jl_ns(t_s), out);
    else
        jl_power_take(o->shown.raw, o->max_w, out);
    if (o->device.m.spans)
        out->t_ns = open_ns + jl_ns(jl_spans_end(&o->spans, t_s, o->shown.span_s));
    else if (o->device.m.own_time)
        out->t_ns = open_ns + jl_ns(o->shown.own_s);
}

/* Whether this read works; a late one sleeps for half its time before and is to sleep the rest after. *at_ns is the moment it is
 * of: taken before a followed file is read, which then holds all that happened until that moment. */
static enum joulet_status begin_read(struct sim *s, int64_t *at_ns, int64_t *until_ns)
{
    int64_t n = ++s->reads, now = jl_mono_ns(), late = jl_ns(s->outlets[0].device.m.late_s);
    *at_ns = now;
    if (jl_s(now - s->open_ns) >= s->spec.gone_s)
        return JOULET_GONE;
    if (s->spec.late && n % s->spec.late == 0) {
        *until_ns = now + late;
        jl_sleep_until(now + late / 2);
    }
    *at_ns = jl_mono_ns();
    if (s->spec.fail && n % s->spec.fail == 0)
        return JOULET_IO;
    return s->spec.source == SIM_FOLLOW && !tail(s) ? JOULET_FORMAT : JOULET_OK;
}

static void read_outlets(struct sim *s, size_t from, size_t n, struct sensor_reading *out)
{
    int64_t at = 0, until = 0;
    enum joulet_status status = begin_read(s, &at, &until);
    double t = jl_s(at - s->open_ns);
    for (size_t i = 0; i < n; i++) {
        out[i] = (struct sensor_reading){.status = status};
        if (status == JOULET_OK)
            take(&s->outlets[from + i], s->open_ns, t, &out[i]);
    }
    if (until)
        jl_sleep_until(until);
}

static void sim_read_one(struct sensor *sensor, size_t channel, struct sensor_reading *out)
{
    read_outlets(jl_container_of(sensor, struct sim, base), channel, 1, out);
}

static void sim_read(struct sensor *sensor, struct sensor_reading *readings, bool gauges)
{
    (void)gauges;
    read_outlets(jl_container_of(sensor, struct sim, base), 0, sensor->n_channels, readings);
}

static void sim_close(struct sensor *sensor)
{
    struct sim *s = jl_container_of(sensor, struct sim, base);
    if (s->fd >= 0)
        close(s->fd);
    sim_curve_release(&s->curve);
    sensor_release(sensor);
    free(s);
}

/* ---- discovery -------------------------------------------------------------------------------------------------- */

static bool describe(struct sim *s, size_t index, const struct sim_outlet *o)
{
    char id[96], first[48], device[160];
    if (s->spec.name[0])
        snprintf(first, sizeof(first), "%s", s->spec.name);
    else
        snprintf(first, sizeof(first), "sim%zu.%s", index, sim_group_word(s->spec.group));
    snprintf(id, sizeof(id), "%s%s%s", first, o->suffix[0] ? "." : "", o->suffix);
    if (s->spec.kinds[0]) /* another seed is another device, with a calibration of its own */
        snprintf(device, sizeof(device), "simulated %s, seed %lld", s->spec.kinds, (long long)s->spec.seed);
    else
        snprintf(device, sizeof(device), "simulated device %zu", index);
    struct joulet_channel ch = o->told;
    ch.id = id;
    ch.sensor = NULL; /* its row of the table */
    ch.device = device;
    ch.parent = o->suffix[0] ? first : "";
    return sensor_channel_add(&s->base, &ch);
}

/* The truth about a device that a seed drew: for whoever wants to compare. */
static bool tell_truth(struct sim *s, size_t index, const struct sim_outlet *o)
{
    char device[16], key[64];
    static const struct {
        const char *name;
        size_t slot;
    } rows[] = {{"period_s", offsetof(struct sim_model, period_s)},
                {"window_s", offsetof(struct sim_model, window_s)},
                {"lag_s", offsetof(struct sim_model, lag_s)}};
    snprintf(device, sizeof(device), "sim%zu", index);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double v;
        memcpy(&v, (const char *)&o->model + rows[i].slot, sizeof(v));
        snprintf(key, sizeof(key), "true_%s%s%s", rows[i].name, o->suffix[0] ? "." : "", o->suffix);
        if (!sensor_fact_add(&s->base, device, key, "%.6g", v))
            return false;
    }
    return true;
}

/* A device of the field follows its curve as slowly as its kind does. */
static double rise_of(const struct sim *s, const struct sim_outlet *first)
{
    if (!isnan(s->spec.rise_s))
        return s->spec.rise_s;
    return s->spec.kinds[0] ? first->told.rise_s : 0;
}

static enum joulet_status load_curve(struct sim *s, double rise_s, struct joulet_error *err)
{
    const struct sim_play *d = &s->spec;
    struct jl_buf text;
    enum joulet_status status = JOULET_OK;
    size_t room = d->source == SIM_FOLLOW ? SIM_KNOTS_MAX : d->n_steps;
    if (!sim_curve_init(&s->curve, room, rise_s))
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing a simulated device");
    for (size_t i = 0; i < d->n_steps; i++)
        sim_curve_add(&s->curve, d->t_s[i], d->p_w[i]);
    if (d->source == SIM_FOLLOW)
        sim_curve_add(&s->curve, -LONG_AGO_S, 0); /* until the first line */
    if (d->source != SIM_FILE)
        return status;
    jl_buf_init(&text, CURVE_FILE_MAX);
    status = jl_read_file(d->path, &text, err);
    if (status == JOULET_OK)
        status = sim_curve_parse(&s->curve, text.data ? text.data : "", text.len, d->path, err);
    jl_buf_release(&text);
    return status;
}

static double largest_w(const struct sim *s)
{
    double most = s->spec.source == SIM_FOLLOW ? WATTS_MAX : 1;
    for (size_t i = 0; i < s->curve.n; i++)
        most = fmax(most, s->curve.knots[i].p_w);
    return 2 * most * s->spec.gain;
}

/* From here on the device runs; each channel on a grid of its own. */
static void switch_on(struct sim *s, const struct sim_outlet *outlets, size_t n)
{
    s->open_ns = jl_mono_ns();
    if (s->spec.source == SIM_FOLLOW)
        tail(s);
    for (size_t i = 0; i < n; i++) {
        struct outlet *o = &s->outlets[i];
        const struct sim_model *m = &outlets[i].model;
        sim_device_init(&o->device, m, energy_of, &s->curve, (uint64_t)s->spec.seed + i * 7919);
        o->max_w = largest_w(s);
        o->counter = (struct jl_counter){
            .range_uj = sim_model_range_uj(m), .max_w = o->max_w, .longest_s = 2 * m->period_s, .doubt = m->garbage_p > 0};
    }
}

static enum joulet_status build(struct sim *s, size_t index, struct sensor_list *out, struct joulet_error *err)
{
    struct sim_outlet outlets[SIM_OUTLETS_MAX];
    size_t n = sim_outlets_of(&s->spec, outlets);
    bool ok = true;
    bool quick = outlets[0].told.quantity == JOULET_ENERGY && outlets[0].told.period_s < SLOW_S;
    s->base.ops = quick ? &sensor_sim : &slow_sim;
    enum joulet_status status = load_curve(s, rise_of(s, &outlets[0]), err);
    if (status != JOULET_OK)
        return status;
    for (size_t i = 0; i < n; i++)
        ok = ok && describe(s, index, &outlets[i]) && (!s->spec.kinds[0] || tell_truth(s, index, &outlets[i]));
    if (!ok)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing a simulated device");
    if (!sensor_list_add(out, &s->base))
        return jl_fail(err, JOULET_LIMIT, "there are more sensors than joulet can hold: simulate fewer devices");
    switch_on(s, outlets, n);
    return jl_ok(err);
}

static enum joulet_status open_device(const struct sim_spec *spec, size_t i, struct sensor_list *out, struct joulet_error *err)
{
    struct sim *s = calloc(1, sizeof(*s));
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing a simulated device");
    s->fd = -1;
    s->spec = spec->devices[i];
    s->spec.seed += (int64_t)i; /* devices do not tick in step */
    enum joulet_status status = build(s, i, out, err);
    s->spec.t_s = s->spec.p_w = NULL; /* the curve has them */
    if (status != JOULET_OK) {
        s->base.ops = &sensor_sim;
        sim_close(&s->base);
    }
    return status;
}

static enum joulet_status sim_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    struct sim_spec *spec;
    if (!opt || !opt->sim)
        return jl_fail(err, JOULET_USAGE,
                       "the sensor sim plays a power curve and none is given: name one with --sim, as in --sim 100");
    spec = calloc(1, sizeof(*spec));
    if (!spec)
        return jl_fail(err, JOULET_MEMORY, "out of memory while reading the simulated power curve");
    enum joulet_status status = sim_spec_parse(spec, opt->sim, err);
    for (size_t i = 0; status == JOULET_OK && i < spec->n; i++)
        status = open_device(spec, i, out, err);
    sim_spec_release(spec);
    free(spec);
    return status;
}

#define SIM_OPS(poll_ms, lock)                                                                                                   \
    {                                                                                                                            \
        .name = "sim", .summary = "simulated devices that play a power curve (--sim)", .cls = SENSOR_FILE, .on_request = true,   \
        .poll_ns = (poll_ms)*1000000LL, .lockable = (lock), .discover = sim_discover, .read = sim_read,                          \
        .read_one = sim_read_one, .close = sim_close,                                                                            \
    }
const struct sensor_ops sensor_sim = SIM_OPS(10, true);
/* A device that updates seldom: waiting for its next update would keep the sampler busy for as long. */
static const struct sensor_ops slow_sim = SIM_OPS(5, false);
