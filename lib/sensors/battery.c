/* battery.c - what a machine draws from its battery, or from an adapter that tells its power, below /sys/class/power_supply
 * (docs/sensors/battery.md). A battery tells the consumption only while it discharges: at all other times there is nothing to
 * read, and that is said. Values come every few seconds and the charge in steps of tens of joules: for runs of minutes.
 *
 * It is everything at once, screen and disks too, and contains what all other sensors see: it stands beside the total. The sign
 * of power and current differs by driver, so the status decides and the sign is dropped. */
#include "lib/sensors/sensor.h"
#include "lib/sensors/sysfile.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define UWH_UJ       INT64_C(3600) /* 1 uWh = 3.6e-3 J */
#define FULL_MAX_UWH INT64_C(10000000000)
#define MAX_W        1000.0
#define PERIOD_S     4.0
#define STEP_J       36.0 /* 10 mWh */

extern const struct sensor_ops sensor_battery;

struct supply {
    struct sensor base;
    bool mains;
    struct sysfile state;                         /* status of a battery, online of an adapter */
    struct sysfile power, voltage, current, left; /* fd -1: not there */
    int power_at, energy_at;                      /* channels; -1: none */
    bool product;                                 /* power is voltage times current */
    bool paused;                                  /* it was not discharging: no difference across that */
    struct jl_counter count;
};

/* ---- reading ----------------------------------------------------------------------------------------------------- */

/* Whether what it shows now is what the machine draws. */
static enum joulet_status tells(struct supply *s, bool *yes)
{
    char text[32];
    enum joulet_status status = sysfile_text(&s->state, text, sizeof(text));
    *yes = status == JOULET_OK && strcmp(text, s->mains ? "1" : "Discharging") == 0;
    return status;
}

static int64_t size_of(int64_t v)
{
    return v < 0 ? -v : v;
}

static enum joulet_status read_power(struct supply *s, int64_t *uw)
{
    int64_t ua, uv;
    enum joulet_status status = JOULET_OK;
    if (!s->product) {
        status = sysfile_number(&s->power, uw);
        *uw = status == JOULET_OK ? size_of(*uw) : 0;
        return status;
    }
    status = sysfile_number(&s->voltage, &uv);
    if (status == JOULET_OK)
        status = sysfile_number(&s->current, &ua);
    if (status != JOULET_OK)
        return status;
    double product = fabs((double)uv) * fabs((double)ua) * 1e-6;
    *uw = product < 1e12 ? (int64_t)product : 0;
    return product < 1e12 ? JOULET_OK : JOULET_FORMAT;
}

static void take_power(struct supply *s, struct sensor_reading *out)
{
    int64_t uw;
    enum joulet_status status = read_power(s, &uw);
    *out = (struct sensor_reading){.status = status};
    if (status == JOULET_OK)
        jl_power_take((uint64_t)uw, MAX_W, out);
}

/* What is left falls while energy is drawn: the counter is what is missing from more than any battery holds. */
static void take_energy(struct supply *s, struct sensor_reading *out)
{
    int64_t uwh;
    enum joulet_status status = sysfile_number(&s->left, &uwh);
    if (status == JOULET_OK && (uwh < 0 || uwh > FULL_MAX_UWH))
        status = JOULET_FORMAT;
    *out = (struct sensor_reading){.status = status};
    if (status != JOULET_OK)
        return;
    jl_counter_take(&s->count, (uint64_t)((FULL_MAX_UWH - uwh) * UWH_UJ), jl_mono_ns(), out);
    out->reset = out->has && (out->reset || s->paused || s->left.back);
    s->paused = s->paused && !out->has;
    s->left.back = s->left.back && !out->has;
}

static void supply_read(struct sensor *base, struct sensor_reading *readings, bool gauges)
{
    struct supply *s = jl_container_of(base, struct supply, base);
    bool yes;
    (void)gauges;
    enum joulet_status status = tells(s, &yes);
    for (size_t i = 0; i < base->n_channels; i++)
        readings[i] = (struct sensor_reading){.status = status};
    s->paused |= status == JOULET_OK && !yes && s->count.started;
    if (!yes)
        return;
    if (s->power_at >= 0)
        take_power(s, &readings[s->power_at]);
    if (s->energy_at >= 0)
        take_energy(s, &readings[s->energy_at]);
}

static void supply_close(struct sensor *base)
{
    struct supply *s = jl_container_of(base, struct supply, base);
    struct sysfile *files[] = {&s->state, &s->power, &s->voltage, &s->current, &s->left};
    for (size_t i = 0; i < JL_COUNT(files); i++)
        sysfile_close(files[i]);
    sensor_release(base);
    free(s);
}

/* ---- discovery ---------------------------------------------------------------------------------------------------------- */

struct shared {
    enum joulet_provenance provenance;
    bool named;    /* asked for by name: then it counts */
    int64_t place; /* of the supply */
};

static bool add_channel(struct supply *s, const char *name, const char *dir, bool counter, const struct shared *sh)
{
    char id[64], parent[64] = "", model[48] = "", device[96];
    size_t n = 0;
    for (; n < 32 && name[n]; n++)
        id[n] = (char)(isalnum((unsigned char)name[n]) ? tolower((unsigned char)name[n]) : '_');
    if (!counter && s->energy_at >= 0)
        snprintf(parent, sizeof(parent), "%.*s.energy", (int)n, id);
    snprintf(id + n, sizeof(id) - n, counter ? ".energy" : ".power");
    sysfile_once(dir, "model_name", model, sizeof(model));
    snprintf(device, sizeof(device), "%s%s%s", s->mains ? "adapter" : "battery", model[0] ? " " : "", model);
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    ch.id = id;
    ch.parent = parent;
    ch.device = device;
    ch.quantity = counter ? JOULET_ENERGY : JOULET_POWER;
    ch.group = JOULET_GROUP_PLATFORM;
    ch.domain = s->mains ? JOULET_DOMAIN_WALL : JOULET_DOMAIN_BATTERY;
    ch.provenance = sh->provenance;
    ch.place = sh->place;
    ch.in_total = sh->named && !s->mains && !parent[0];
    ch.period_s = PERIOD_S;
    ch.window_s = counter ? 0 : PERIOD_S / 2;
    ch.quantum_j = counter ? STEP_J : 0;
    ch.lag_s = PERIOD_S / 2;
    ch.u_lag_s = PERIOD_S / 3;
    ch.lag_max_s = 3 * PERIOD_S;
    ch.rise_s = 0.1;
    ch.spec = 0.05;
    *(counter ? &s->energy_at : &s->power_at) = (int)s->base.n_channels;
    return sensor_channel_add(&s->base, &ch);
}

/* Opens a file if it is there and holds a number. */
static bool has_number(struct sysfile *f, const char *dir, const char *name)
{
    int64_t v;
    if (sysfile_open(f, dir, name) && sysfile_number(f, &v) == JOULET_OK)
        return true;
    sysfile_close(f);
    return false;
}

static bool add_channels(struct supply *s, const char *name, const char *dir, const struct shared *sh)
{
    bool ok = true, power = has_number(&s->power, dir, "power_now");
    if (!power)
        s->product = has_number(&s->voltage, dir, "voltage_now") && has_number(&s->current, dir, "current_now");
    if (!s->mains && has_number(&s->left, dir, "energy_now"))
        ok = add_channel(s, name, dir, true, sh);
    if (ok && (power || s->product))
        ok = add_channel(s, name, dir, false, sh);
    return ok;
}

/* What doctor says of a sensor that has nothing to tell. */
static bool say_state(struct supply *s, const char *id, bool named, struct sensor_list *out)
{
    static const char *const why = "the machine runs from its adapter: a battery tells what is drawn only while it discharges";
    bool yes, silent = tells(s, &yes) == JOULET_OK && !yes && !s->mains;
    if (silent && named)
        sensor_list_problem(
            out, "battery", JOULET_UNSUPPORTED,
            "the machine runs from its adapter, and a battery tells what is drawn only while it discharges: unplug it "
            "for the measurement, or leave out --sensors battery");
    return !silent || sensor_fact_add(&s->base, id, "silent", "%s", why);
}

static bool add_supply(const char *class, const char *name, const struct shared *sh, struct sensor_list *out)
{
    char dir[SYSFILE_PATH], type[32], scope[32], device[48];
    int n = snprintf(dir, sizeof(dir), "%s/%s", class, name);
    if (n < 0 || (size_t)n >= sizeof(dir) || !sysfile_once(dir, "type", type, sizeof(type)))
        return true;
    bool mains = strcmp(type, "Mains") == 0,
         mouse = sysfile_once(dir, "scope", scope, sizeof(scope)) && strcmp(scope, "Device") == 0;
    if (mouse || !(mains || strcmp(type, "Battery") == 0))
        return true;
    struct supply *s = calloc(1, sizeof(*s));
    if (!s)
        return false;
    s->base.ops = &sensor_battery;
    s->mains = mains;
    s->power.fd = s->voltage.fd = s->current.fd = s->left.fd = -1;
    s->power_at = s->energy_at = -1;
    s->count = (struct jl_counter){.max_w = MAX_W, .longest_s = 120};
    bool there = sysfile_open(&s->state, dir, mains ? "online" : "status"), ok = true;
    if (there)
        ok = add_channels(s, name, dir, sh);
    if (ok && s->base.n_channels) {
        snprintf(device, sizeof(device), "%.*s", (int)strcspn(s->base.channels[0].id, "."), s->base.channels[0].id);
        ok = say_state(s, device, sh->named, out);
    }
    if (ok && s->base.n_channels && sensor_list_add(out, &s->base))
        return true;
    ok = ok && !s->base.n_channels;
    supply_close(&s->base);
    return ok;
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    char **names = NULL, *class = jl_strf("%s/class/power_supply", jl_sysfs_root());
    size_t n = 0;
    bool ok = class && sysfile_list(class, &names, &n, NULL) != JOULET_MEMORY;
    struct shared sh = {.provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0),
                        .named = opt && opt->sensors && jl_word_in(opt->sensors, ',', "battery")};
    for (size_t i = 0; i < n && ok; i++) {
        sh.place = 1 + (int64_t)i;
        ok = add_supply(class, names[i], &sh, out);
    }
    jl_free_list(names, n);
    free(class);
    return ok ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "the battery could not be opened: out of memory or too many sensors");
}

static enum joulet_status battery_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "battery");
    return status;
}

const struct sensor_ops sensor_battery = {
    .name = "battery",
    .summary = "battery while it discharges, and adapters that tell their power",
    .cls = SENSOR_SLOW,
    .beside = true,
    .poll_ns = JL_NS_PER_S,
    .discover = battery_discover,
    .read = supply_read,
    .close = supply_close,
};
