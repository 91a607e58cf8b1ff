/* reader.h - reads a simulated device (lib/sensors/sim_device.h) in virtual time, as the sampler of the library reads a real one:
 * what counts as an update, and when to look next, is decided by lib/meter/updates.h. Times are seconds. */
#ifndef ACCURACY_READER_H
#define ACCURACY_READER_H

#include "bench/accuracy/truth.h"
#include "lib/sensors/sim_device.h"

struct reader {
    double poll_s;     /* usual distance of reads */
    double cost_s;     /* of one read */
    double cost_max_s; /* longest, where they differ: over a network; 0: all alike */
    bool predict;      /* look for each update where it is due */
    bool locked;       /* after an event read without pause until the counter changes; else at most once */
    bool at_events;    /* read at each event */
    double all_s;      /* lock every update of this time after an event */
    double limit_w;    /* the most the device can draw, for what counts as a restart; NAN: not known */
};

/* Reads from 0 to end_s; events ascend. `trace->channel` tells what is known of the device, and learns its period if that was
 * found; samples are malloc'ed. false: out of memory. */
bool read_device(struct sim_device *d, const struct reader *r, const double *events, size_t n_events, double end_s,
                 struct chance *c, struct joulet_trace *trace);

#endif
