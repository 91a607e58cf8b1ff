/* hwmon_chip.c - finds the chips below /sys/class/hwmon, and finds them again. */
#include "lib/sensors/hwmon_chip.h"

#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define NUMBERS_MAX 64 /* chips of a machine: hwmon0 to hwmon63 are looked at again */
#define CHIPS_MAX   128

static void know_device(struct hwmon_chip *c)
{
    char path[SYSFILE_PATH + 8], full[PATH_MAX];
    snprintf(path, sizeof(path), "%s/device", c->dir);
    c->device[0] = '\0';
    if (realpath(path, full) && strlen(full) < sizeof(c->device))
        memcpy(c->device, full, strlen(full) + 1);
}

static bool know_chip(struct hwmon_chip *c, const char *dir)
{
    *c = (struct hwmon_chip){.name = ""};
    if (strlen(dir) >= sizeof(c->dir))
        return false;
    memcpy(c->dir, dir, strlen(dir) + 1);
    know_device(c);
    return sysfile_once(c->dir, "name", c->name, sizeof(c->name));
}

static int by_device(const void *a, const void *b)
{
    const struct hwmon_chip *x = a, *y = b;
    int d = strcmp(x->device, y->device);
    return d ? d : strcmp(x->name, y->name);
}

struct hwmon_chip *hwmon_chips(size_t *n, struct joulet_error *err)
{
    char **names = NULL;
    size_t n_names = 0;
    struct hwmon_chip *chips = calloc(CHIPS_MAX, sizeof(*chips));
    char *dir = jl_strf("%s/class/hwmon", jl_sysfs_root());
    struct joulet_error why;
    enum joulet_status status = JOULET_MEMORY;
    *n = 0;
    if (chips && dir)
        status = sysfile_list(dir, &names, &n_names, &why);
    for (size_t i = 0; i < n_names && *n < CHIPS_MAX; i++) {
        char path[SYSFILE_PATH];
        int len = snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        if (len > 0 && (size_t)len < sizeof(path) && know_chip(&chips[*n], path))
            (*n)++;
    }
    jl_free_list(names, n_names);
    free(dir);
    if (status == JOULET_MEMORY) {
        free(chips);
        jl_fail(err, JOULET_MEMORY, "out of memory while looking for sensors below class/hwmon");
        return NULL;
    }
    if (*n)
        qsort(chips, *n, sizeof(*chips), by_device);
    return chips;
}

const char *hwmon_address(const struct hwmon_chip *chip)
{
    const char *slash = strrchr(chip->device, '/');
    return slash ? slash + 1 : "";
}

int64_t hwmon_place(const struct hwmon_chip *chip)
{
    unsigned domain, bus, device, function;
    char end;
    if (sscanf(hwmon_address(chip), "%4x:%2x:%2x.%1x%c", &domain, &bus, &device, &function, &end) != 4)
        return 0;
    return JOULET_PLACE_PCI(domain, bus, device, function);
}

/* ---- following a chip -------------------------------------------------------------------------------------------------- */

static bool is_chip(const struct hwmon_chip *c, const char *dir)
{
    struct hwmon_chip now;
    return know_chip(&now, dir) && strcmp(now.name, c->name) == 0 && strcmp(now.device, c->device) == 0;
}

static bool find_again(struct hwmon_chip *c)
{
    char dir[SYSFILE_PATH];
    if (is_chip(c, c->dir))
        return true;
    for (int k = 0; k < NUMBERS_MAX; k++) {
        int n = snprintf(dir, sizeof(dir), "%s/class/hwmon/hwmon%d", jl_sysfs_root(), k);
        if (n < 0 || (size_t)n >= sizeof(dir) || !is_chip(c, dir))
            continue;
        memcpy(c->dir, dir, strlen(dir) + 1);
        return true;
    }
    return false;
}

/* The number that a chip had may be that of another one now, with files of the same names. */
static bool same_chip(struct sysfile *f, void *of)
{
    struct hwmon_chip *c = of;
    char name[64];
    const char *slash = strrchr(f->path, '/');
    if (!slash || strlen(slash + 1) >= sizeof(name) || !find_again(c))
        return false;
    memcpy(name, slash + 1, strlen(slash + 1) + 1);
    int n = snprintf(f->path, sizeof(f->path), "%s/%s", c->dir, name);
    return n > 0 && (size_t)n < sizeof(f->path);
}

bool hwmon_open(struct sysfile *f, struct hwmon_chip *chip, const char *name)
{
    bool ok = sysfile_open(f, chip->dir, name);
    f->same = same_chip;
    f->of = chip;
    return ok;
}
