/* fake.h - sensors for tests of the live meter: devices with a known curve on a known grid, and the faults of real ones. What
 * they show depends on the clock or on the number of reads, never on how fast the machine is. */
#ifndef FAKE_H
#define FAKE_H

#include "lib/meter/sampler.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

enum fake_show {
    FAKE_ENERGY, /* counter of the curve, at the last multiple of the period */
    FAKE_POWER,  /* the curve's mean power over the last period */
    FAKE_READS,  /* counter: the number of the read */
    FAKE_PAIRS,  /* counter: half the number of the read, so that every other read shows a change */
    FAKE_STILL   /* counter that never moves */
};

struct fake_plan {
    const char *id;
    const char *by;     /* name of the ops that find it; NULL: all */
    const char *sensor; /* as the channel says; NULL: that name. Another one for sums over kinds */
    enum fake_show show;
    int64_t period_ns;
    double watts, watts_after; /* before and from `step_ns` on */
    _Atomic int64_t step_ns;
    int fail_every, late_every, gone_after, reset_at; /* reads; 0: never */
    bool gauge;                                       /* a temperature beside it */
    bool off_total;
    int64_t origin_ns; /* when it was opened */
    atomic_int reads, gauge_reads;
};

extern struct fake_plan fake_plans[4];             /* those with an id exist */
extern const struct sensor_ops fake_quick;         /* "fake": polled every 1 ms, lockable */
extern const struct sensor_ops fake_seldom;        /* "seldom": polled every minute */
extern const struct sensor_ops fake_absent;        /* "absent": finds nothing */
extern const struct sensor_ops fake_denied;        /* "denied": exists, may not be read */
extern const struct sensor_ops fake_estimate;      /* "tdp": on request */
extern const struct sensor_ops fake_library;       /* "library": found when fake_library_go is set */
extern const struct sensor_ops fake_empty_library; /* "empty": a library without devices */
extern atomic_bool fake_library_go;
extern atomic_int fake_open; /* sensors that are open */

int fake_setup(void **state);    /* no plans */
int fake_teardown(void **state); /* everything that was opened must be closed */
/* Opens a meter over the table; fails the test if that fails. */
struct joulet *fake_meter(const struct sensor_ops *const *table, const struct joulet_options *opt);
/* True energy of a plan between two moments, J. */
double fake_truth(const struct fake_plan *p, int64_t from, int64_t to);
/* Waits until the device was read n times more. */
void fake_await(struct fake_plan *p, int n);
/* Lets the devices run on for a while; nothing may depend on how long it really takes. */
void fake_run(int64_t ns);
/* Copy of all samples of a channel. */
struct joulet_trace fake_trace(struct joulet *m, size_t channel);

#define FAKE_TABLE(...) ((const struct sensor_ops *const[]){__VA_ARGS__, NULL})

#endif
