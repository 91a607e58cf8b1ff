/* tree.h - each joule once: which channels of the live meter count. */
#ifndef JL_TREE_H
#define JL_TREE_H

#include "lib/meter/sampler.h"

/* Decides anew which channels are in the total, when some have joined. Below the meter's lock. */
void meter_count(struct joulet *m);

#endif
