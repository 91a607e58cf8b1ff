/* sim_device.h - what a sensor shows of a known truth, as a pure model: no clock, no I/O, the same for the same seed.
 *
 * A device gives a new value at its own moments, the updates. They are numbered; update k is there at any time before and after
 * 0, so that a device may be asked for any moment in any order, at a cost that does not depend on the time:
 *
 *     end(k)     = phase + k U +- jitter        what the update covers ends here (a counter: its energy; power: its window)
 *     visible(k) = end(k) + lag + 0..delay      from here on a read shows it, until visible(k + 1)
 *
 * What it shows depends on the seed and on k alone, never on when or how often it was read. Whether a read fails or takes long
 * depends on the seed and on how many reads came before. Truth is the caller's: cumulative energy in J at time t in s, asked for
 * times down to W + 2 U + lag + delay before the read (a filter: 12 time constants). Defaults of real devices: docs/method.md
 * 1.1. */
#ifndef JL_SIM_DEVICE_H
#define JL_SIM_DEVICE_H

#include "lib/base/base.h"

#include <math.h>

/* Cumulative energy at t_s, J, from any origin; must not fall. */
typedef double sim_energy_fn(void *user, double t_s);

enum sim_kind { SIM_COUNTER, SIM_POWER };

/* What a device is like. Times in s; begin with SIM_MODEL_INIT, or with the model of a preset. */
struct sim_model {
    enum sim_kind kind;
    double period_s;  /* U */
    double jitter_s;  /* each update is early or late by up to this, at most U/2 */
    double window_s;  /* W of power: < U part-time, = U contiguous, > U overlapping; 0: the moment itself (0.1 ms) */
    double filter_s;  /* power: time constant of a first-order filter in place of the window; 0: none */
    bool spans;       /* power: mean since the previous update, whose length the device tells (powermetrics) */
    double lag_s;     /* from the end of what is covered to the moment it can be read; may be negative */
    double delay_s;   /* of each update anew, on top of the lag: 0 to this; less than U - 2 jitter, so that none overtakes */
    bool own_time;    /* a value comes with the time of its end, by the device's own clock */
    double quantum;   /* J of a counter, W of power */
    double range_j;   /* the raw counter restarts here; 0: never (64 bits) */
    double gain;      /* factor on everything */
    double noise;     /* relative standard deviation: of power readings, of a counter's increments (their sum keeps exact) */
    double noise_w;   /* standard deviation of a power reading, W */
    double read_s;    /* an ordinary read takes this long */
    double late_s;    /* a late one this long */
    double late_p;    /* probability that a read is late */
    double fail_p;    /* probability that a read fails */
    double garbage_p; /* probability that an update shows nonsense: all bits set, or a jump no device can make */
    double frozen_s;  /* updates from here on show the last value before it; INFINITY: never */
    double back_s;    /* at this time a counter goes back, once; INFINITY: never */
    double back_j;    /* by this much; INFINITY: to 0 (a restart) */
};
#define SIM_MODEL_INIT                                                                                                           \
    {                                                                                                                            \
        .period_s = 0.1, .quantum = 0.001, .gain = 1, .frozen_s = (double)INFINITY, .back_s = (double)INFINITY,                  \
        .back_j = (double)INFINITY                                                                                               \
    }

/* One update. The upper part is what a reader can know, the lower the truth about it. */
struct sim_update {
    uint64_t raw;  /* as the device prints it: microjoule (below the range) or microwatt; garbage may be UINT64_MAX */
    double own_s;  /* time of its end by the device's clock; NAN: it tells none */
    double span_s; /* length that the device says the value covers; NAN: it tells none */

    int64_t k;
    double end_s, visible_s;
    int64_t value; /* what a reader must make of raw: unwrapped microjoule since about time 0, or microwatt */
    bool garbage;  /* raw is nonsense; value is what it should have been */
};

struct sim_read {
    struct sim_update u; /* means nothing if the read failed */
    bool fails;
    double at_s;    /* the moment inside the read at which the value was taken */
    double takes_s; /* the read ends this long after it began */
};

struct sim_device {
    struct sim_model m;
    sim_energy_fn *energy;
    void *user;
    uint64_t seed;
    double phase_s, origin_j, offset; /* of the update grid; of the counter; the part of a quantum at the origin */
    uint64_t start_raw;               /* of the raw counter, below its range */
    uint64_t reads;
    struct sim_update last; /* the update asked for last, and until when it is shown */
    double last_end_s;
    bool has_last;
};

/* phase, raw counter and all noise come from the seed. *m is copied. */
void sim_device_init(struct sim_device *d, const struct sim_model *m, sim_energy_fn *energy, void *user, uint64_t seed);

/* A read that begins at t_s. */
void sim_device_read(struct sim_device *d, double t_s, struct sim_read *out);

/* Without reading: the number of the update visible at t_s; what update k shows; when it becomes visible. */
int64_t sim_device_number_at(const struct sim_device *d, double t_s);
void sim_device_update(const struct sim_device *d, int64_t k, struct sim_update *out);
double sim_device_visible_s(const struct sim_device *d, int64_t k);

/* Where the raw counter restarts, as its max_energy_range_uj says, microjoule; 0: never. */
uint64_t sim_model_range_uj(const struct sim_model *m);

/* ---- real devices ------------------------------------------------------------------------------------------------- */

/* A row of method.md 1.1: a typical device, how far one device differs from the next, and what a meter is told. */
struct sim_preset {
    const char *name, *summary;
    struct sim_model model;
    struct sim_range {
        double lo, hi;
    } period_s, window_s, lag_s; /* of one device; 0, 0: always the model's. W follows U where it is contiguous */
    enum joulet_group group;
    double told_lag_s, told_u_lag_s; /* l and u_t, not calibrated */
    double calibrated_u_lag_s;       /* u_t once calibrated */
    double lag_max_s, rise_s;        /* l_max of 2.1, u_r */
    double spec;                     /* half-width of the gain error; the simulated gain is 1 unless changed */
};
extern const struct sim_preset sim_presets[];               /* the last has no name */
const struct sim_preset *sim_preset_find(const char *name); /* NULL: there is none */

/* One device of that kind: its own period, window and lag, drawn from the seed. */
void sim_preset_draw(const struct sim_preset *p, uint64_t seed, struct sim_model *out);
/* What a meter is told of every device of that kind before it is calibrated: the row of 1.1. Strings are left empty. */
void sim_preset_channel(const struct sim_preset *p, struct joulet_channel *out);

#endif
