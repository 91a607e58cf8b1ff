/* sim.c - the simulated sensor: a device that draws a known power curve and reports it as real devices do, in steps.
 *
 * Its value changes only at its own update times (period, jitter, lag, quantum), its raw counter restarts at a range and is
 * unwrapped like any other, reads fail, come late, or the device leaves, as the expression says (docs/sensors/sim.md). What it
 * shows at an update depends on the seed and the update's number alone, never on when it was read. */
#include "lib/sensors/sensor.h"
#include "lib/sensors/sim_curve.h"
#include "lib/sensors/sim_spec.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define LATE_NS        (5 * 1000000LL) /* above the limit of file sensors (1.3) */
#define CURVE_FILE_MAX (8u << 20)
#define SLOW_S         0.01 /* counters slower than this are read like those of GPUs (2.2) */
#define LONG_AGO_S     1e12
#define TAU            6.283185307179586

extern const struct sensor_ops sensor_sim;
static const struct sensor_ops slow_sim;

struct sim {
    struct sensor base;
    struct sim_play spec;
    struct sim_curve curve;
    int64_t open_ns, reads;
    double phase_s; /* of the update grid */

    /* the device */
    int64_t update; /* number of the last one */
    double last_j;  /* energy of the curve at it */
    double shown_j, shown_w;
    uint64_t start_uj; /* of the raw counter */

    /* the reader */
    uint64_t raw_uj, total_uj;
    bool started;

    /* follow: */
    int fd;
    char line[128];
    size_t line_n;
    bool line_bad;
};

/* ---- the device -------------------------------------------------------------------------------------------------- */

/* Random numbers of update k: the same whatever was read in between. */
static struct jl_rng rng_of(const struct sim *s, int64_t k)
{
    return (struct jl_rng){(uint64_t)s->spec.seed * 0x9e3779b97f4a7c15u + (uint64_t)k * 0xd1b54a32d192ed03u};
}

static double update_time(const struct sim *s, int64_t k)
{
    struct jl_rng r = rng_of(s, k);
    return s->phase_s + (double)(k - 1) * s->spec.period_s + s->spec.jitter_s * (2 * jl_rng_uniform(&r) - 1);
}

static double noise_factor(const struct sim *s, int64_t k)
{
    struct jl_rng r = rng_of(s, k);
    jl_rng_next(&r); /* the first one is the jitter */
    double u = 1 - jl_rng_uniform(&r), v = jl_rng_uniform(&r);
    return s->spec.gain * (1 + s->spec.noise * sqrt(-2 * log(u)) * cos(TAU * v));
}

static void make_update(struct sim *s, int64_t k)
{
    double t = update_time(s, k) - s->spec.lag_s - s->spec.skew_s, w = s->spec.window_s;
    double e = sim_curve_energy_at(&s->curve, t);
    /* Against the energy kept, not computed anew: a followed line that came late is made up for here. */
    double grown = (e - s->last_j) * noise_factor(s, k);
    s->last_j = e;
    s->update = k;
    if (update_time(s, k) >= s->spec.frozen_s)
        return;
    s->shown_j += grown > 0 ? grown : 0;
    s->shown_w = w > 0 ? (e - sim_curve_energy_at(&s->curve, t - w)) / w : sim_curve_power_at(&s->curve, t);
    s->shown_w *= noise_factor(s, k);
}

static void play_until(struct sim *s, double now_s)
{
    while (update_time(s, s->update + 1) <= now_s)
        make_update(s, s->update + 1);
}

static uint64_t raw_counter(const struct sim *s)
{
    uint64_t range = (uint64_t)(s->spec.range_j * 1e6),
             uj = (uint64_t)llround(floor(s->shown_j / s->spec.quantum) * s->spec.quantum * 1e6);
    return range ? (s->start_uj + uj) % range : uj;
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

static void unwrap(struct sim *s)
{
    uint64_t raw = raw_counter(s);
    if (s->started)
        s->total_uj += jl_counter_delta(s->raw_uj, raw, (uint64_t)(s->spec.range_j * 1e6));
    s->raw_uj = raw;
    s->started = true;
}

static enum joulet_status read_device(struct sim *s, double now_s)
{
    int64_t n = ++s->reads;
    if (now_s >= s->spec.gone_s)
        return JOULET_GONE;
    if (s->spec.late && n % s->spec.late == 0)
        jl_sleep_until(jl_mono_ns() + LATE_NS);
    if (s->spec.fail && n % s->spec.fail == 0)
        return JOULET_IO;
    return s->spec.source == SIM_FOLLOW && !tail(s) ? JOULET_FORMAT : JOULET_OK;
}

static void sim_read_one(struct sensor *sensor, size_t channel, struct sensor_reading *out)
{
    struct sim *s = jl_container_of(sensor, struct sim, base);
    double now_s = jl_s(jl_mono_ns() - s->open_ns);
    (void)channel;
    *out = (struct sensor_reading){.status = read_device(s, now_s)};
    if (out->status != JOULET_OK)
        return;
    play_until(s, now_s);
    unwrap(s);
    out->has = true;
    out->value = s->spec.power ? llround(round(s->shown_w / s->spec.quantum) * s->spec.quantum * 1e6) : (int64_t)s->total_uj;
}

static void sim_read(struct sensor *sensor, struct sensor_reading *readings, bool gauges)
{
    (void)gauges;
    sim_read_one(sensor, 0, &readings[0]);
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

static bool describe(struct sim *s, size_t index)
{
    const struct sim_play *d = &s->spec;
    char id[48], device[48];
    bool slow = d->period_s >= SLOW_S;
    if (d->name[0])
        snprintf(id, sizeof(id), "%s", d->name);
    else
        snprintf(id, sizeof(id), "sim%zu.%s", index, sim_group_word(d->group));
    snprintf(device, sizeof(device), "simulated device %zu", index);
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.id = id;
    ch.device = device;
    ch.quantity = d->power ? JOULET_POWER : JOULET_ENERGY;
    ch.group = d->group;
    ch.provenance = JOULET_SIMULATED;
    ch.in_total = d->in_total;
    ch.period_s = d->period_s;
    ch.window_s = d->power ? d->window_s : 0;
    ch.contiguous = d->power && d->window_s == d->period_s;
    ch.quantum_j = d->quantum;
    ch.lag_s = d->lag_s;
    ch.u_lag_s = d->u_lag_s;
    ch.lag_max_s = d->lag_max_s;
    ch.rise_s = isnan(d->rise_s) ? (slow ? 0.003 : 0.0003) : d->rise_s;
    ch.spec = d->spec;
    return sensor_channel_add(&s->base, &ch);
}

static enum joulet_status load_curve(struct sim *s, struct joulet_error *err)
{
    const struct sim_play *d = &s->spec;
    struct jl_buf text;
    enum joulet_status status = JOULET_OK;
    size_t room = d->source == SIM_FOLLOW ? SIM_KNOTS_MAX : d->n_steps;
    if (!sim_curve_init(&s->curve, room, isnan(d->rise_s) ? 0 : d->rise_s))
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

/* Where the device stands when it is opened: somewhere between two updates, its raw counter anywhere. */
static void switch_on(struct sim *s)
{
    struct jl_rng r = rng_of(s, 0);
    jl_rng_next(&r);
    s->phase_s = s->spec.period_s * (0.5 + 0.5 * jl_rng_uniform(&r));
    s->start_uj = jl_rng_below(&r, (uint64_t)(s->spec.range_j * 1e6) + 1);
    s->open_ns = jl_mono_ns();
    if (s->spec.source == SIM_FOLLOW)
        tail(s);
    double t = -s->spec.lag_s - s->spec.skew_s;
    s->last_j = sim_curve_energy_at(&s->curve, t);
    s->shown_w = sim_curve_power_at(&s->curve, t);
}

static enum joulet_status open_device(const struct sim_spec *spec, size_t i, struct sensor_list *out, struct joulet_error *err)
{
    struct sim *s = calloc(1, sizeof(*s));
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing a simulated device");
    s->fd = -1;
    s->spec = spec->devices[i];
    s->base.ops = s->spec.period_s < SLOW_S ? &sensor_sim : &slow_sim;
    s->spec.seed += (int64_t)i; /* devices do not tick in step */
    enum joulet_status status = load_curve(s, err);
    if (status == JOULET_OK && !describe(s, i))
        status = jl_fail(err, JOULET_MEMORY, "out of memory while preparing a simulated device");
    if (status == JOULET_OK && !sensor_list_add(out, &s->base))
        status = jl_fail(err, JOULET_LIMIT, "there are more sensors than joulet can hold: simulate fewer devices");
    s->spec.t_s = s->spec.p_w = NULL; /* the curve has them */
    if (status == JOULET_OK)
        switch_on(s);
    else
        sim_close(&s->base);
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
