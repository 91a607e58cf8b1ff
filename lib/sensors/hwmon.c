/* hwmon.c - power and energy that any other chip shows below /sys/class/hwmon (docs/sensors/hwmon.md): power supplies, the ACPI
 * power meter of servers, rails of boards. A chip of the INA kind that shows no power of its own is read as voltage times
 * current. Graphics cards and batteries have rows of their own.
 *
 * What a chip measures is known by its driver and by labels only. A rail counts in the total where it is the input of the whole
 * board and nothing inside it counts by itself (Jetson); all else stands beside it. */
#include "lib/sensors/hwmon_chip.h"
#include "lib/sensors/sensor.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SOURCES_MAX 32
#define POWER_MAX_W 100000.0
#define OFFSET_MA   10 /* a rail without load may read this little below zero */
#define FILES_MAX   64 /* numbers of files that are looked for: power1 to power64 */
#define INA_RAILS   3  /* the higher ones of ina3221 are shunt voltages and sums */
#define OLD_FOLDER  "bus/i2c/drivers/ina3221x"

extern const struct sensor_ops sensor_hwmon;

/* ---- drivers that are known -------------------------------------------------------------------------------------- */

static const struct driver {
    const char *name, *prefix; /* prefix of ids */
    enum joulet_domain domain; /* of all its channels; NONE: by label */
    bool ina;
} drivers[] = {
    {"power_meter", "acpi", JOULET_DOMAIN_CHASSIS, false},   {"macsmc_hwmon", "smc", JOULET_DOMAIN_NONE, false},
    {"amd_energy", "amd_energy", JOULET_DOMAIN_NONE, false}, {"ina3221", "board", JOULET_DOMAIN_NONE, true},
    {"ina3221x", "board", JOULET_DOMAIN_NONE, false},
};

static bool has_own_row(const struct hwmon_chip *c)
{
    static const char *const own[] = {"amdgpu", "i915", "xe"};
    for (size_t i = 0; i < JL_COUNT(own); i++)
        if (strcmp(c->name, own[i]) == 0)
            return true;
    return jl_starts(c->name, "i915_gt") || strstr(c->device, "/power_supply/") != NULL;
}

static struct driver driver_of(const struct hwmon_chip *c)
{
    for (size_t i = 0; i < JL_COUNT(drivers); i++)
        if (strcmp(drivers[i].name, c->name) == 0)
            return drivers[i];
    return (struct driver){c->name, c->name, JOULET_DOMAIN_NONE, jl_starts(c->name, "ina2")};
}

/* ---- reading ----------------------------------------------------------------------------------------------------- */

struct source {
    struct sysfile file, current; /* current: of a rail whose power is a product; fd -1 otherwise */
    bool product, counter;
    int64_t scale; /* to microwatt or microjoule */
    struct jl_counter count;
};

struct chip {
    struct sensor base;
    struct hwmon_chip chip;
    struct source sources[SOURCES_MAX]; /* one for each channel */
};

/* Millivolt times milliampere is microwatt. */
static enum joulet_status product(struct source *s, int64_t *uw)
{
    int64_t mv, ma;
    enum joulet_status status = sysfile_number(&s->file, &mv);
    if (status == JOULET_OK)
        status = sysfile_number(&s->current, &ma);
    if (status != JOULET_OK)
        return status;
    if (ma < 0 && ma >= -OFFSET_MA)
        ma = 0;
    if (mv < 0 || ma < 0 || mv > 1000000 || ma > 100000000)
        return JOULET_FORMAT;
    *uw = mv * ma;
    return JOULET_OK;
}

static void read_source(struct source *s, struct sensor_reading *out)
{
    int64_t v = 0;
    enum joulet_status status = s->product ? product(s, &v) : sysfile_number(&s->file, &v);
    if (status == JOULET_OK && (v < 0 || v > INT64_MAX / s->scale))
        status = JOULET_FORMAT;
    *out = (struct sensor_reading){.status = status};
    if (status != JOULET_OK)
        return;
    if (!s->counter) {
        jl_power_take((uint64_t)(v * s->scale), POWER_MAX_W, out);
        return;
    }
    jl_counter_take(&s->count, (uint64_t)(v * s->scale), jl_mono_ns(), out);
    out->reset = out->has && (out->reset || s->file.back);
    s->file.back = s->file.back && !out->has;
}

static void chip_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct chip *c = jl_container_of(s, struct chip, base);
    (void)gauges;
    for (size_t i = 0; i < s->n_channels; i++)
        read_source(&c->sources[i], &readings[i]);
}

static void chip_close(struct sensor *s)
{
    struct chip *c = jl_container_of(s, struct chip, base);
    for (size_t i = 0; i < SOURCES_MAX; i++) {
        sysfile_close(&c->sources[i].file);
        sysfile_close(&c->sources[i].current);
    }
    sensor_release(s);
    free(c);
}

/* ---- what a label says -------------------------------------------------------------------------------------------------- */

/* Lower case letters, digits and _ of a text, as part of an id. */
static void as_id(const char *text, char *buf, size_t size)
{
    size_t n = 0;
    for (; *text && n + 1 < size; text++) {
        bool plain = isalnum((unsigned char)*text) && (unsigned char)*text < 128;
        if (plain)
            buf[n++] = (char)tolower((unsigned char)*text);
        else if (n && buf[n - 1] != '_')
            buf[n++] = '_';
    }
    while (n && buf[n - 1] == '_')
        n--;
    buf[n] = '\0';
}

/* Rails that hold all others of a board, by the names that boards use. */
static bool is_whole(const char *label)
{
    return strstr(label, "_in") || strstr(label, "total") || strstr(label, "system");
}

static enum joulet_domain domain_of(const struct driver *d, const char *label)
{
    if (d->domain != JOULET_DOMAIN_NONE)
        return d->domain;
    if (jl_starts(label, "esocket"))
        return JOULET_DOMAIN_PACKAGE;
    if (jl_starts(label, "ecore"))
        return JOULET_DOMAIN_CORE;
    if (strstr(label, "ac_input"))
        return JOULET_DOMAIN_WALL;
    return is_whole(label) ? JOULET_DOMAIN_PSYS : JOULET_DOMAIN_PART;
}

static enum joulet_group group_of(enum joulet_domain domain, const char *label)
{
    switch (domain) {
    case JOULET_DOMAIN_WALL:
    case JOULET_DOMAIN_CHASSIS:
    case JOULET_DOMAIN_PSYS:
        return JOULET_GROUP_PLATFORM;
    case JOULET_DOMAIN_PACKAGE:
    case JOULET_DOMAIN_CORE:
        return JOULET_GROUP_CPU;
    default:
        return strstr(label, "gpu") && !strstr(label, "cpu") ? JOULET_GROUP_GPU : JOULET_GROUP_OTHER;
    }
}

/* ---- discovery ---------------------------------------------------------------------------------------------------------- */

struct shared {
    enum joulet_provenance provenance;
    bool named;     /* asked for by name: then what holds the machine counts */
    char whole[64]; /* the rail that holds the others of the board; "" none */
    size_t refused; /* files that may not be read */
    char first[SYSFILE_PATH];
};

struct found {
    struct chip *chip;
    struct driver driver;
    size_t index; /* among chips of that prefix */
    double period_s;
    bool averaged; /* power is the mean of one period */
};

/* "board0.vdd_in"; without a label the name of the file tells. */
static void name_channel(const struct found *f, const char *stem, const char *label, char id[64], char part[32])
{
    as_id(label[0] ? label : stem, part, 32);
    size_t n = strlen(f->driver.prefix);
    const char *apart = n && isdigit((unsigned char)f->driver.prefix[n - 1]) ? "_" : "";
    snprintf(id, 64, "%s%s%zu.%s", f->driver.prefix, apart, f->index, part[0] ? part : stem);
    for (size_t k = 0; k < f->chip->base.n_channels; k++)
        if (strcmp(f->chip->base.channels[k].id, id) == 0)
            snprintf(id, 64, "%s%s%zu.%s", f->driver.prefix, apart, f->index, stem);
}

/* The input of a board counts where nothing inside it does; so does the whole machine, seen by its management, for who asks for
 * it. Sockets are the processor: they are known for the same as those of RAPL. */
static bool counts(const struct shared *sh, enum joulet_domain domain, bool board)
{
    bool machine = domain >= JOULET_DOMAIN_WALL && domain <= JOULET_DOMAIN_PSYS;
    return board || domain == JOULET_DOMAIN_PACKAGE || (sh->named && machine);
}

static int64_t place_of(enum joulet_domain domain, const char *part)
{
    int socket;
    return domain == JOULET_DOMAIN_PACKAGE && sscanf(part, "esocket%3d", &socket) == 1 ? 1 + socket : 0;
}

/* Mean power of each interval is told as such by the ACPI meter only; else it is not known what part of the time was looked at.
 */
static bool describe(const struct found *f, struct shared *sh, const char *stem, const char *label, bool counter,
                     const char *parent)
{
    char id[64], part[32], device[128];
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    name_channel(f, stem, label, id, part);
    snprintf(device, sizeof(device), "%s%s%s", f->chip->chip.name, label[0] ? ": " : "", label);
    ch.id = id;
    ch.device = device;
    ch.domain = domain_of(&f->driver, part);
    ch.group = group_of(ch.domain, part);
    bool board = strcmp(f->driver.prefix, "board") == 0;
    if (board && ch.domain == JOULET_DOMAIN_PSYS && !sh->whole[0])
        snprintf(sh->whole, sizeof(sh->whole), "%s", id);
    ch.parent = parent;
    ch.quantity = counter ? JOULET_ENERGY : JOULET_POWER;
    ch.provenance = sh->provenance;
    ch.in_total = !parent[0] && counts(sh, ch.domain, board && strcmp(sh->whole, id) == 0);
    ch.place = place_of(ch.domain, part);
    ch.period_s = f->period_s;
    ch.contiguous = !counter && f->averaged;
    ch.window_s = counter ? 0 : f->averaged ? f->period_s : f->period_s / 2;
    ch.quantum_j = counter ? 0x1p-16 : 0;
    ch.u_lag_s = f->period_s / 2;
    ch.lag_max_s = 2 * f->period_s;
    ch.rise_s = 0.003;
    ch.spec = 0.05;
    return sensor_channel_add(&f->chip->base, &ch);
}

static bool readable(struct sysfile *f, struct chip *c, const char *name, struct shared *sh)
{
    int64_t v;
    if (hwmon_open(f, &c->chip, name) && sysfile_number(f, &v) == JOULET_OK)
        return true;
    if (sysfile_status(f->error) == JOULET_PERMISSION && sh->refused++ == 0)
        snprintf(sh->first, sizeof(sh->first), "%s", f->path);
    sysfile_close(f);
    return false;
}

static void label_of(const struct chip *c, const char *kind, int k, char *buf, size_t size)
{
    char file[32];
    snprintf(file, sizeof(file), "%s%d_label", kind, k);
    if (!sysfile_once(c->chip.dir, file, buf, size))
        buf[0] = '\0';
}

/* energyN beside powerN of the same number is the same quantity: the counter is the better one. */
static bool add_number(struct found *f, struct shared *sh, int k)
{
    static const struct {
        const char *kind, *file;
        bool counter;
    } forms[] = {{"energy", "energy%d_input", true}, {"power", "power%d_input", false}, {"power", "power%d_average", false}};
    char parent[64] = "";
    bool power = false;
    for (size_t i = 0; i < JL_COUNT(forms); i++) {
        struct chip *c = f->chip;
        char file[32], stem[24], label[32];
        if (c->base.n_channels == SOURCES_MAX || (power && !forms[i].counter))
            continue;
        snprintf(stem, sizeof(stem), "%s%d", forms[i].kind, k);
        snprintf(file, sizeof(file), i == 0 ? "energy%d_input" : i == 1 ? "power%d_input" : "power%d_average", k);
        struct source *s = &c->sources[c->base.n_channels];
        if (!readable(&s->file, c, file, sh))
            continue;
        power |= !forms[i].counter;
        s->counter = forms[i].counter;
        s->scale = 1;
        s->count = (struct jl_counter){.max_w = POWER_MAX_W, .longest_s = 1};
        label_of(c, forms[i].kind, k, label, sizeof(label));
        if (!describe(f, sh, stem, label, s->counter, parent))
            return false;
        if (s->counter)
            snprintf(parent, sizeof(parent), "%s", c->base.channels[c->base.n_channels - 1].id);
    }
    return true;
}

/* Rails of an INA chip that shows no power: voltage times current. */
static bool add_rail(struct found *f, struct shared *sh, int k)
{
    struct chip *c = f->chip;
    char file[32], stem[24], label[32];
    if (c->base.n_channels == SOURCES_MAX)
        return true;
    struct source *s = &c->sources[c->base.n_channels];
    snprintf(file, sizeof(file), "in%d_input", k);
    if (!readable(&s->file, c, file, sh))
        return true;
    snprintf(file, sizeof(file), "curr%d_input", k);
    if (!readable(&s->current, c, file, sh)) {
        sysfile_close(&s->file);
        return true;
    }
    s->product = true;
    s->scale = 1;
    snprintf(stem, sizeof(stem), "rail%d", k);
    label_of(c, "in", k, label, sizeof(label));
    return describe(f, sh, stem, label, false, "");
}

/* The driver of older Jetson boards: rails with names and milliwatts of their own. */
static bool add_old_rail(struct found *f, struct shared *sh, int k)
{
    struct chip *c = f->chip;
    char file[32], stem[24], label[32];
    struct source *s = &c->sources[c->base.n_channels];
    snprintf(file, sizeof(file), "in_power%d_input", k);
    if (!readable(&s->file, c, file, sh))
        return true;
    s->scale = 1000;
    s->file.same = NULL; /* not below class/hwmon */
    snprintf(file, sizeof(file), "rail_name_%d", k);
    if (!sysfile_once(c->chip.dir, file, label, sizeof(label)))
        label[0] = '\0';
    snprintf(stem, sizeof(stem), "rail%d", k);
    return describe(f, sh, stem, label, false, "");
}

/* As the chip says, in ms; a second when it does not. */
static void know_period(struct found *f)
{
    int64_t ms;
    const char *dir = f->chip->chip.dir;
    f->averaged = sysfile_once_number(dir, "power1_average_interval", &ms) && ms >= 10 && ms <= 600000;
    bool told = f->averaged || (sysfile_once_number(dir, "update_interval", &ms) && ms >= 10 && ms <= 600000);
    f->period_s = told ? (double)ms * 1e-3 : 1;
}

static bool add_channels(struct found *f, struct shared *sh)
{
    bool old = strcmp(f->driver.name, "ina3221x") == 0, ok = true;
    know_period(f);
    for (int k = 0; !old && k <= FILES_MAX && ok; k++)
        ok = add_number(f, sh, k);
    bool powers = f->chip->base.n_channels > 0;
    for (int k = 1; ok && f->driver.ina && !powers && k <= INA_RAILS; k++)
        ok = add_rail(f, sh, k);
    for (int k = 0; ok && old && k < INA_RAILS; k++)
        ok = add_old_rail(f, sh, k);
    return ok;
}

static bool add_chip(const struct hwmon_chip *chip, size_t index, struct shared *sh, struct sensor_list *out)
{
    struct chip *c = calloc(1, sizeof(*c));
    if (!c)
        return false;
    c->base.ops = &sensor_hwmon;
    c->chip = *chip;
    for (size_t i = 0; i < SOURCES_MAX; i++)
        c->sources[i].file.fd = c->sources[i].current.fd = -1;
    struct found f = {.chip = c, .driver = driver_of(&c->chip), .index = index};
    bool ok = add_channels(&f, sh);
    if (ok && c->base.n_channels && sensor_list_add(out, &c->base))
        return true;
    ok = ok && !c->base.n_channels;
    chip_close(&c->base);
    return ok;
}

static size_t index_of(const struct hwmon_chip *chips, size_t i)
{
    size_t n = 0;
    struct driver d = driver_of(&chips[i]);
    for (size_t k = 0; k < i; k++)
        n += !has_own_row(&chips[k]) && strcmp(driver_of(&chips[k]).prefix, d.prefix) == 0;
    return n;
}

/* The rails of a board that is known by now lie inside its input. */
static bool settle_rails(struct sensor_list *out, const struct shared *sh)
{
    for (size_t i = 0; sh->whole[0] && i < out->n; i++) {
        struct sensor *s = out->items[i];
        for (size_t k = 0; k < s->n_channels; k++) {
            struct joulet_channel *ch = &s->channels[k];
            if (!jl_starts(ch->id, "board") || ch->parent[0] || strcmp(ch->id, sh->whole) == 0)
                continue;
            char *parent = jl_strdup(sh->whole);
            if (!parent)
                return false;
            free((char *)ch->parent);
            ch->parent = parent;
            ch->in_total = false;
        }
    }
    return true;
}

/* Folders of the old driver: <bus-address>/iio:deviceN below its name. */
static bool add_old(struct shared *sh, struct sensor_list *out, size_t index)
{
    char **buses = NULL, *dir = jl_strf("%s/%s", jl_sysfs_root(), OLD_FOLDER);
    size_t n = 0;
    bool ok = dir && sysfile_list(dir, &buses, &n, NULL) != JOULET_MEMORY;
    for (size_t i = 0; ok && i < n; i++) {
        char **names = NULL, *bus = jl_strf("%s/%s", dir, buses[i]);
        size_t n_names = 0;
        ok = bus && sysfile_list(bus, &names, &n_names, NULL) != JOULET_MEMORY;
        for (size_t k = 0; ok && k < n_names; k++) {
            struct hwmon_chip chip = {.name = "ina3221x"};
            int len = snprintf(chip.dir, sizeof(chip.dir), "%s/%s", bus, names[k]);
            if (jl_starts(names[k], "iio:device") && len > 0 && (size_t)len < sizeof(chip.dir))
                ok = add_chip(&chip, index++, sh, out);
        }
        jl_free_list(names, n_names);
        free(bus);
    }
    jl_free_list(buses, n);
    free(dir);
    return ok;
}

static bool add_all(const struct hwmon_chip *chips, size_t n, struct shared *sh, struct sensor_list *out)
{
    size_t boards = 0;
    for (size_t i = 0; i < n; i++) {
        if (has_own_row(&chips[i]))
            continue;
        boards += strcmp(driver_of(&chips[i]).prefix, "board") == 0;
        if (!add_chip(&chips[i], index_of(chips, i), sh, out))
            return false;
    }
    return add_old(sh, out, boards) && settle_rails(out, sh);
}

static void tell_refused(struct sensor_list *out, const struct shared *sh)
{
    char more[48] = "";
    if (sh->refused > 1)
        snprintf(more, sizeof(more), " and %zu more", sh->refused - 1);
    if (sh->refused)
        sensor_list_problem(
            out, "hwmon", JOULET_PERMISSION,
            "%s%s may not be read by this user: run joulet with sudo, or give a group the right with `sudo chgrp joulet` "
            "and `sudo chmod 0440`",
            sh->first, more);
}

static void drop_all(struct sensor_list *out)
{
    while (out->n) {
        struct sensor *s = out->items[--out->n];
        s->ops->close(s);
    }
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    size_t n;
    struct hwmon_chip *chips = hwmon_chips(&n, err);
    if (!chips)
        return JOULET_MEMORY;
    struct shared sh = {.provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0)};
    sh.named = opt && opt->sensors && jl_word_in(opt->sensors, ',', "hwmon");
    bool ok = add_all(chips, n, &sh, out);
    free(chips);
    if (!ok) {
        drop_all(out); /* half a board would be a wrong total */
        return jl_fail(err, JOULET_MEMORY, "a chip below class/hwmon could not be opened: out of memory or too many sensors");
    }
    tell_refused(out, &sh);
    return jl_ok(err);
}

static enum joulet_status hwmon_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "hwmon");
    return status;
}

const struct sensor_ops sensor_hwmon = {
    .name = "hwmon",
    .summary = "chips of the board below class/hwmon: rails, power supplies, the ACPI power meter",
    .cls = SENSOR_SLOW,
    .poll_ns = 100 * 1000000LL,
    .discover = hwmon_discover,
    .read = chip_read,
    .close = chip_close,
};
