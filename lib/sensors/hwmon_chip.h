/* hwmon_chip.h - the chips below /sys/class/hwmon. Their numbers follow the order in which drivers were loaded: a chip is known
 * by its name and by the device that it belongs to. */
#ifndef JL_HWMON_CHIP_H
#define JL_HWMON_CHIP_H

#include "lib/sensors/sysfile.h"

struct hwmon_chip {
    char name[32];
    char dir[SYSFILE_PATH];    /* .../class/hwmon/hwmon3 */
    char device[SYSFILE_PATH]; /* where its device is in the tree, links resolved; "" unknown */
};

/* All of them, by device and name; malloc'ed, *n may be 0. NULL with *err when out of memory or refused. */
struct hwmon_chip *hwmon_chips(size_t *n, struct joulet_error *err);
/* Opens a file of the chip, which must stay where it is while the file is open: it is followed when the driver is loaded again.
 */
bool hwmon_open(struct sysfile *f, struct hwmon_chip *chip, const char *name);
/* The last part of the path of its device, as in 0000:03:00.0; "" unknown. */
const char *hwmon_address(const struct hwmon_chip *chip);
/* JOULET_PLACE_PCI of it; 0 when it is not on the PCI bus. */
int64_t hwmon_place(const struct hwmon_chip *chip);

#endif
