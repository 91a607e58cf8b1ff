/* amdgpu.c - AMD graphics cards through sysfs alone (docs/sensors/amdgpu.md): the energy accumulator of the binary table
 * gpu_metrics, in steps of 2^-16 J, and the power that hwmon shows (power1_input, else power1_average, else the table's own).
 *
 * Accumulators that count something else exist in the field, and before version 1.4 of the table the driver does not name their
 * unit. So the counter is compared with the power when the card is opened, and left out of the total when they disagree. On a
 * processor with graphics the power is that of both. */
#include "lib/sensors/amdgpu.h"
#include "lib/sensors/gpu_metrics.h"
#include "lib/sensors/hwmon_chip.h"
#include "lib/sensors/sensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define CARD_MAX_W 3000.0 /* no card or socket draws more */
#define WRAPS_W    1000.0
#define RANGE_UJ   UINT64_C(65536000000) /* 32 bits of steps: older cards fill no more of the field */
#define STEP_S     0.01
#define LEAST_J    0.05 /* below this a comparison says nothing */
#define AGREE      1.5
#define STALE_NS   JL_NS_PER_S

double amdgpu_look_s = 0.3;

extern const struct sensor_ops sensor_amdgpu;

struct card {
    struct sensor base;
    struct hwmon_chip chip;
    struct sysfile metrics, power; /* power: of hwmon; its fd is -1 when the table has to serve */
    bool hwmon_power;
    int energy_at, power_at; /* channels; -1: none */
    struct jl_counter count;
    char id[24];
};

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

/* *result, which may be NULL, is what became of the bytes that were read. */
static enum joulet_status read_table(struct card *c, struct gpu_metrics *out, enum gpu_metrics_result *result)
{
    uint8_t bytes[GPU_METRICS_MAX];
    size_t n;
    enum joulet_status status = sysfile_read(&c->metrics, bytes, sizeof(bytes), 0, &n);
    if (status != JOULET_OK)
        return status;
    enum gpu_metrics_result r = gpu_metrics_parse(bytes, n, out);
    if (result)
        *result = r;
    return r == GPU_METRICS_OK ? JOULET_OK : JOULET_FORMAT;
}

static uint64_t steps_uj(uint64_t steps)
{
    return (steps >> 16) * 1000000 + ((steps & 0xffff) * 1000000 >> 16);
}

/* The driver stamps the table with the time since boot; what is far from now is not a time. */
static int64_t on_our_clock(uint64_t boot_ns)
{
    struct timespec boot;
    int64_t now = jl_mono_ns();
    if (boot_ns > INT64_MAX || clock_gettime(CLOCK_BOOTTIME, &boot) != 0)
        return 0;
    int64_t t = now - ((int64_t)boot.tv_sec * JL_NS_PER_S + boot.tv_nsec - (int64_t)boot_ns);
    return t > now - STALE_NS && t <= now ? t : 0;
}

static void take_energy(struct card *c, enum joulet_status status, const struct gpu_metrics *t, struct sensor_reading *out)
{
    *out = (struct sensor_reading){.status = status == JOULET_OK && !t->has_energy ? JOULET_FORMAT : status};
    if (out->status != JOULET_OK)
        return;
    jl_counter_take(&c->count, steps_uj(t->energy), jl_mono_ns(), out);
    out->reset = out->has && (out->reset || c->metrics.back);
    out->t_ns = out->has && t->has_stamp ? on_our_clock(t->stamp_ns) : 0;
    c->metrics.back = c->metrics.back && !out->has;
}

static void take_power(struct card *c, enum joulet_status status, const struct gpu_metrics *t, struct sensor_reading *out)
{
    int64_t uw = 0;
    if (c->hwmon_power)
        status = sysfile_number(&c->power, &uw);
    else if (status == JOULET_OK && !t->has_power)
        status = JOULET_FORMAT;
    else if (status == JOULET_OK)
        uw = (int64_t)(t->power_w * 1e6);
    *out = (struct sensor_reading){.status = status};
    if (status == JOULET_OK)
        jl_power_take((uint64_t)uw, CARD_MAX_W, out); /* below zero is far above what it can be */
}

static void card_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct card *c = jl_container_of(s, struct card, base);
    struct gpu_metrics table = {.size = 0};
    (void)gauges;
    bool asked = c->energy_at >= 0 || !c->hwmon_power;
    enum joulet_status status = asked ? read_table(c, &table, NULL) : JOULET_OK;
    if (c->energy_at >= 0)
        take_energy(c, status, &table, &readings[c->energy_at]);
    if (c->power_at >= 0)
        take_power(c, status, &table, &readings[c->power_at]);
}

static void card_close(struct sensor *s)
{
    struct card *c = jl_container_of(s, struct card, base);
    sysfile_close(&c->metrics);
    sysfile_close(&c->power);
    sensor_release(s);
    free(c);
}

/* ---- does the counter count what the power shows? ---------------------------------------------------------------- */

/* Joules of the counter over those of the power while both are watched for a moment; NAN when that says nothing. */
static double ratio(struct card *c)
{
    struct gpu_metrics table = {.size = 0};
    struct sensor_reading p;
    int64_t begin = jl_mono_ns(), last = begin;
    uint64_t first = 0;
    double counted_j = 0, power_j = 0;
    while (jl_s(last - begin) < amdgpu_look_s) {
        enum joulet_status status = read_table(c, &table, NULL);
        take_power(c, status, &table, &p);
        int64_t t = jl_mono_ns();
        bool begun = last != begin;
        if (status != JOULET_OK || !table.has_energy || !p.has || (begun && table.energy < first))
            return NAN;
        first = begun ? first : table.energy;
        counted_j = (double)(table.energy - first) * GPU_METRICS_STEP_UJ * 1e-6;
        power_j += begun ? jl_s(t - last) * (double)p.value * 1e-6 : 0;
        last = t;
        jl_sleep_until(t + jl_ns(STEP_S));
    }
    return power_j < LEAST_J ? NAN : counted_j / power_j;
}

/* Without power to compare with, only a unit that the driver names is believed. */
static bool believed(struct card *c, const struct gpu_metrics *t, struct sensor_list *out)
{
    bool power = c->hwmon_power || t->has_power;
    if (!power)
        return t->documented;
    double r = ratio(c);
    if (r >= 1 / AGREE && r <= AGREE)
        return true;
    if (isnan(r))
        return t->documented;
    sensor_list_problem(
        out, "amdgpu", JOULET_UNSUPPORTED,
        "the energy accumulator of %s counts %.3g times what its power readings show: they are in the total instead; "
        "an update of its driver may help",
        c->id, r);
    return false;
}

/* ---- discovery ------------------------------------------------------------------------------------------------------- */

static bool add_channel(struct card *c, enum joulet_provenance provenance, bool apu, const char *suffix,
                        struct joulet_channel *ch, int *at)
{
    char id[48], device[96] = "";
    snprintf(id, sizeof(id), "%s.%s", c->id, suffix);
    if (!sysfile_once(c->chip.device, "product_name", device, sizeof(device)) || !device[0])
        snprintf(device, sizeof(device), "AMD %s at %s", apu ? "processor with graphics" : "graphics card",
                 hwmon_address(&c->chip));
    ch->id = id;
    ch->device = device;
    ch->group = apu ? JOULET_GROUP_CPU : JOULET_GROUP_GPU;
    ch->domain = apu ? JOULET_DOMAIN_SOC : JOULET_DOMAIN_GPU;
    ch->provenance = provenance;
    ch->place = hwmon_place(&c->chip);
    ch->spec = 0.05;
    ch->rise_s = 0.003;
    *at = (int)c->base.n_channels;
    return sensor_channel_add(&c->base, ch);
}

static bool add_energy(struct card *c, enum joulet_provenance provenance, bool believe)
{
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.quantity = JOULET_ENERGY;
    ch.in_total = believe;
    ch.period_s = 0.001;
    ch.quantum_j = 0x1p-16;
    ch.u_lag_s = 0.001;
    ch.lag_max_s = 0.002;
    return add_channel(c, provenance, false, "board", &ch, &c->energy_at);
}

/* Power goes through a filter of about 100 ms in the card, as if it were averaged over twice that. */
static bool add_power(struct card *c, enum joulet_provenance provenance, bool apu, bool counted)
{
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    char parent[48] = "";
    if (c->energy_at >= 0)
        snprintf(parent, sizeof(parent), "%s.board", c->id);
    ch.parent = parent;
    ch.quantity = JOULET_POWER;
    ch.in_total = !counted;
    ch.period_s = 0.01;
    ch.window_s = 0.2;
    ch.quantum_j = c->hwmon_power ? 0 : 1;
    ch.lag_s = 0.005;
    ch.u_lag_s = 0.014;
    ch.lag_max_s = 0.3;
    return add_channel(c, provenance, apu, apu ? "socket" : "power", &ch, &c->power_at);
}

static bool add_facts(struct card *c, const struct gpu_metrics *t, bool table)
{
    char text[96];
    int64_t cap;
    bool ok = sensor_fact_add(&c->base, c->id, "name", "%s", c->base.channels[0].device) &&
              sensor_fact_add(&c->base, c->id, "pci", "%s", hwmon_address(&c->chip));
    if (sysfile_once(c->chip.device, "unique_id", text, sizeof(text)))
        ok = ok && sensor_fact_add(&c->base, c->id, "uuid", "%s", text);
    if (sysfile_once_number(c->chip.dir, "power1_cap", &cap) && cap > 0)
        ok = ok && sensor_fact_add(&c->base, c->id, "power_limit_w", "%.6g", (double)cap * 1e-6);
    if (table)
        ok = ok && sensor_fact_add(&c->base, c->id, "gpu_metrics", "%u.%u", t->format, t->content);
    return ok;
}

static bool is_apu(const struct card *c, const struct gpu_metrics *t)
{
    char label[32]; /* only processors with graphics have this rail */
    return t->apu || (sysfile_once(c->chip.dir, "in1_label", label, sizeof(label)) && strcmp(label, "vddnb") == 0);
}

static void tell_closed(struct sensor_list *out, const struct card *c, const struct sysfile *f)
{
    if (sysfile_status(f->error) == JOULET_PERMISSION)
        sensor_list_problem(
            out, "amdgpu", JOULET_PERMISSION,
            "%s may not be read by this user: run joulet with sudo, or give a group the right with `sudo chgrp joulet %s`",
            f->path, f->path);
    else
        sensor_list_problem(
            out, "amdgpu", JOULET_UNSUPPORTED,
            "%s shows no power: neither hwmon nor gpu_metrics has a reading that is known; update the driver amdgpu", c->id);
}

static void tell_unknown(struct sensor_list *out, const struct card *c, const struct gpu_metrics *t)
{
    sensor_list_problem(
        out, "amdgpu", JOULET_UNSUPPORTED,
        "the table gpu_metrics of %s has version %u.%u, which this joulet does not know: its energy counter is not read, %s; "
        "update joulet",
        c->id, t->format, t->content,
        c->hwmon_power ? "and the power of hwmon serves instead" : "and nothing else tells its power");
}

static bool build_channels(struct card *c, enum joulet_provenance provenance, struct sensor_list *out)
{
    static const char *const powers[] = {"power1_input", "power1_average"};
    struct gpu_metrics table = {.size = 0};
    enum gpu_metrics_result known = GPU_METRICS_OK;
    int64_t uw;
    for (size_t i = 0; i < JL_COUNT(powers) && !c->hwmon_power; i++) {
        sysfile_close(&c->power);
        c->hwmon_power = hwmon_open(&c->power, &c->chip, powers[i]) && sysfile_number(&c->power, &uw) == JOULET_OK;
        if (!c->hwmon_power && sysfile_status(c->power.error) == JOULET_PERMISSION)
            break; /* that is what is to be told */
    }
    bool there = sysfile_open(&c->metrics, c->chip.device, "gpu_metrics") && read_table(c, &table, &known) == JOULET_OK;
    bool apu = is_apu(c, &table), counter = there && table.has_energy && !apu, counted = false;
    c->count = (struct jl_counter){.range_uj = table.documented ? 0 : RANGE_UJ,
                                   .max_w = CARD_MAX_W,
                                   .wraps_w = table.documented ? 0 : WRAPS_W,
                                   .longest_s = 0.1,
                                   .doubt = true};
    if (known == GPU_METRICS_UNKNOWN)
        tell_unknown(out, c, &table);
    if (!c->hwmon_power && !(there && (table.has_power || counter))) {
        if (known != GPU_METRICS_UNKNOWN)
            tell_closed(out, c, &c->power);
        return true;
    }
    counted = counter && believed(c, &table, out);
    bool ok = !counter || add_energy(c, provenance, counted);
    if (ok && (c->hwmon_power || table.has_power))
        ok = add_power(c, provenance, apu, counted);
    return ok && add_facts(c, &table, there);
}

static bool add_card(const struct hwmon_chip *chip, size_t index, enum joulet_provenance provenance, struct sensor_list *out)
{
    struct card *c = calloc(1, sizeof(*c));
    if (!c)
        return false;
    c->base.ops = &sensor_amdgpu;
    c->chip = *chip;
    c->metrics.fd = c->power.fd = -1;
    c->energy_at = c->power_at = -1;
    snprintf(c->id, sizeof(c->id), "amd%zu", index);
    bool ok = build_channels(c, provenance, out);
    if (ok && c->base.n_channels && sensor_list_add(out, &c->base))
        return true;
    ok = ok && !c->base.n_channels;
    card_close(&c->base);
    return ok;
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    size_t n, cards = 0;
    struct hwmon_chip *chips = hwmon_chips(&n, err);
    if (!chips)
        return JOULET_MEMORY;
    enum joulet_provenance provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0);
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        if (strcmp(chips[i].name, "amdgpu") == 0)
            ok = add_card(&chips[i], cards++, provenance, out);
    }
    free(chips);
    return ok ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "an AMD card could not be opened: out of memory or too many sensors");
}

static enum joulet_status amdgpu_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "amdgpu");
    return status;
}

const struct sensor_ops sensor_amdgpu = {
    .name = "amdgpu",
    .summary = "AMD graphics: energy accumulator and power from sysfs",
    .cls = SENSOR_SLOW,
    .poll_ns = 5 * 1000000LL,
    .discover = amdgpu_discover,
    .read = card_read,
    .close = card_close,
};
