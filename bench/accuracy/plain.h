/* plain.h - two meters as they are usually built, beside ours in the same windows. */
#ifndef ACCURACY_PLAIN_H
#define ACCURACY_PLAIN_H

#include "bench/accuracy/load.h"

/* Relative errors. raw: the difference of the values that the counter shows at both ends, or every power reading held until the
 * next. trapezoid: straight lines between the updates, of energy or of power. Both see an update at once, or read every 10 ms,
 * and know no lag. */
void plain_meters(const struct load *l, const struct sim_device *d, double *raw, double *trapezoid);
/* Joules that they tell between two moments. */
void plain_between(const struct sim_device *d, double from, double to, double *raw_j, double *straight_j);

#endif
