/* slow.h - meters that stand beside the machine and give a new value every second or seldomer: plugs, management controllers.
 * Nobody tells whether such a value is a mean, filtered, or of one moment. */
#ifndef ACCURACY_SLOW_H
#define ACCURACY_SLOW_H

#include "bench/accuracy/known.h"
#include "bench/accuracy/load.h"

struct known slow_draw(const struct row *row, struct chance *c);
struct reader slow_reader(const struct row *row);
void slow_load(const struct row *row, double d, uint64_t number, struct chance *c, struct load *out);

#endif
