/* known.h - one simulated device, and what is known of it. */
#ifndef ACCURACY_KNOWN_H
#define ACCURACY_KNOWN_H

#include "bench/accuracy/window.h"

struct known {
    struct sim_model model;        /* the truth */
    struct joulet_channel channel; /* what the meter is told */
};
/* Device `number` of a row: period, window, lag, gain and whether its limit is known are its own. */
struct known known_draw(const struct row *row, uint64_t seed, uint64_t number);
/* How such a device is read while a phase of d seconds is measured. */
struct reader reader_of(const struct row *row, double d, double limit_w);
/* The device over a truth; its place on the update grid and its noise come from the seed. */
void device_init(struct sim_device *d, const struct known *known, struct truth *truth, uint64_t seed);

#endif
