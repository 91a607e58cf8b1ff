/* intel_gpu.c - energy counters of Intel graphics cards through the hwmon of i915 and xe (docs/sensors/intelgpu.md). energy1 is
 * the card, energy2 the package inside it; i915 shows tiles as chips of their own, i915_gt0 and so on. Graphics inside a
 * processor have no such file: they are the `uncore` of RAPL.
 *
 * The register has 32 bits, and the driver extends it only when somebody reads the file: after a minute without a read, wraps may
 * have been missed and the counter begins anew. */
#include "lib/sensors/hwmon_chip.h"
#include "lib/sensors/sensor.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CARD_MAX_W 2000.0
#define PAUSE_NS   (60 * JL_NS_PER_S)
#define CHIP_MAX   2 /* counters of a chip */

extern const struct sensor_ops sensor_intelgpu;

struct counter {
    struct sysfile file;
    struct jl_counter count;
    int64_t read_ns;
};

struct chip {
    struct sensor base;
    struct hwmon_chip chip;
    struct counter counters[CHIP_MAX]; /* one for each channel */
};

/* ---- reading ------------------------------------------------------------------------------------------------------------- */

static void read_counter(struct counter *c, struct sensor_reading *out)
{
    int64_t uj, now = jl_mono_ns();
    enum joulet_status status = sysfile_number(&c->file, &uj);
    *out = (struct sensor_reading){.status = status == JOULET_OK && uj < 0 ? JOULET_FORMAT : status};
    if (out->status != JOULET_OK)
        return;
    bool paused = c->count.started && now - c->read_ns > PAUSE_NS;
    jl_counter_take(&c->count, (uint64_t)uj, now, out);
    out->reset = out->has && (out->reset || paused || c->file.back);
    if (!out->has)
        return;
    c->read_ns = now;
    c->file.back = false;
}

static void chip_read(struct sensor *s, struct sensor_reading *readings, bool gauges)
{
    struct chip *c = jl_container_of(s, struct chip, base);
    (void)gauges;
    for (size_t i = 0; i < s->n_channels; i++)
        read_counter(&c->counters[i], &readings[i]);
}

static void chip_close(struct sensor *s)
{
    struct chip *c = jl_container_of(s, struct chip, base);
    for (size_t i = 0; i < CHIP_MAX; i++)
        sysfile_close(&c->counters[i].file);
    sensor_release(s);
    free(c);
}

/* ---- discovery --------------------------------------------------------------------------------------------------- */

/* The card of a chip, and the channel of the whole card that this chip is inside of. */
struct card {
    const char *device;
    size_t index;
    char whole[64]; /* id of the channel that contains the rest; "" none yet */
};

/* "card", "package", or "tile0" */
static void part_name(const struct hwmon_chip *chip, int k, char *buf, size_t size)
{
    char file[24], label[24];
    snprintf(file, sizeof(file), "energy%d_label", k);
    bool told = sysfile_once(chip->dir, file, label, sizeof(label));
    if (jl_starts(chip->name, "i915_gt"))
        snprintf(buf, size, "tile%s", chip->name + strlen("i915_gt"));
    else if ((told && strcmp(label, "pkg") == 0) || (!told && k == 2))
        snprintf(buf, size, "package");
    else
        snprintf(buf, size, "card");
}

static bool describe(struct chip *c, struct card *card, const char *part, enum joulet_provenance provenance)
{
    char id[64], device[640];
    struct joulet_channel ch = SENSOR_CHANNEL_INIT;
    bool tile = jl_starts(part, "tile");
    snprintf(id, sizeof(id), "intel%zu.%s", card->index, part);
    snprintf(device, sizeof(device), "Intel graphics card at %s", hwmon_address(&c->chip));
    ch.id = id;
    ch.device = device;
    ch.parent = card->whole;
    ch.quantity = JOULET_ENERGY;
    ch.group = JOULET_GROUP_GPU;
    ch.domain = strcmp(part, "card") == 0 ? JOULET_DOMAIN_GPU : JOULET_DOMAIN_GPU_CHIP;
    ch.place = hwmon_place(&c->chip);
    ch.provenance = provenance;
    ch.in_total = !card->whole[0];
    ch.period_s = 0.001;
    ch.quantum_j = 0x1p-14;
    ch.u_lag_s = 0.001;
    ch.lag_max_s = 0.005;
    ch.rise_s = 0.003;
    ch.spec = 0.1;
    if (!sensor_channel_add(&c->base, &ch))
        return false;
    if (!card->whole[0] && !tile) /* tiles stand side by side, everything else is nested */
        memcpy(card->whole, id, sizeof(id));
    return true;
}

static bool add_counters(struct chip *c, struct card *card, enum joulet_provenance provenance, struct sensor_list *out)
{
    bool ok = true;
    for (int k = 1; k <= CHIP_MAX && ok; k++) {
        char file[24], part[24];
        int64_t uj;
        struct counter *e = &c->counters[c->base.n_channels];
        snprintf(file, sizeof(file), "energy%d_input", k);
        bool open = hwmon_open(&e->file, &c->chip, file);
        if (!open && sysfile_status(e->file.error) == JOULET_PERMISSION)
            sensor_list_problem(
                out, "intelgpu", JOULET_PERMISSION,
                "%s may not be read by this user: run joulet with sudo, or give a group the right with `sudo chgrp "
                "joulet %s`",
                e->file.path, e->file.path);
        if (!open || sysfile_number(&e->file, &uj) != JOULET_OK) {
            sysfile_close(&e->file);
            continue;
        }
        e->count = (struct jl_counter){.max_w = CARD_MAX_W, .longest_s = 0.1};
        part_name(&c->chip, k, part, sizeof(part));
        ok = describe(c, card, part, provenance);
    }
    char device[32];
    snprintf(device, sizeof(device), "intel%zu", card->index);
    if (ok && c->base.n_channels)
        ok = sensor_fact_add(&c->base, device, "pci", "%s", hwmon_address(&c->chip)) &&
             sensor_fact_add(&c->base, device, "driver", "%.*s", (int)strcspn(c->chip.name, "_"), c->chip.name);
    return ok;
}

static bool add_chip(const struct hwmon_chip *chip, struct card *card, enum joulet_provenance provenance, struct sensor_list *out)
{
    struct chip *c = calloc(1, sizeof(*c));
    if (!c)
        return false;
    c->base.ops = &sensor_intelgpu;
    c->chip = *chip;
    for (size_t i = 0; i < CHIP_MAX; i++)
        c->counters[i].file.fd = -1;
    bool ok = add_counters(c, card, provenance, out);
    if (ok && c->base.n_channels && sensor_list_add(out, &c->base))
        return true;
    ok = ok && !c->base.n_channels;
    chip_close(&c->base);
    return ok;
}

static bool is_intel(const struct hwmon_chip *chip)
{
    return strcmp(chip->name, "xe") == 0 || strcmp(chip->name, "i915") == 0 || jl_starts(chip->name, "i915_gt");
}

static enum joulet_status look(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    size_t n;
    struct hwmon_chip *chips = hwmon_chips(&n, err);
    if (!chips)
        return JOULET_MEMORY;
    enum joulet_provenance provenance = sensor_provenance(opt, strcmp(jl_sysfs_root(), "/sys") != 0);
    struct card card = {.device = NULL};
    bool ok = true;
    for (size_t i = 0; i < n && ok; i++) {
        if (!is_intel(&chips[i]))
            continue;
        if (!card.device || strcmp(card.device, chips[i].device) != 0) /* they come by device, the whole before its tiles */
            card = (struct card){.device = chips[i].device, .index = card.device ? card.index + 1 : 0};
        ok = add_chip(&chips[i], &card, provenance, out);
    }
    free(chips);
    return ok ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "an Intel card could not be opened: out of memory or too many sensors");
}

static enum joulet_status intelgpu_discover(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err)
{
    sysfile_trouble_begin();
    enum joulet_status status = look(out, opt, err);
    sensor_list_trouble(out, "intelgpu");
    return status;
}

const struct sensor_ops sensor_intelgpu = {
    .name = "intelgpu",
    .summary = "Intel graphics cards: energy counters of i915 and xe",
    .cls = SENSOR_SLOW,
    .poll_ns = 5 * 1000000LL,
    .discover = intelgpu_discover,
    .read = chip_read,
    .close = chip_close,
};
