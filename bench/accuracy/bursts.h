/* bursts.h - windows of a part-time sensor: repeats that are started at chosen places of its grid, and bursts of others. */
#ifndef ACCURACY_BURSTS_H
#define ACCURACY_BURSTS_H

#include "bench/accuracy/known.h"
#include "bench/accuracy/load.h"
#include "bench/accuracy/plain.h"

void bursts_run(const struct row *row, double d, const struct levels *levels, const struct known *known, struct chance *c,
                struct outcome *out);

#endif
