/* sensor.h - the contract of one source of power or energy.
 * Adding one costs a file and a row in table.c (docs/adding-a-sensor.md); no other code names a vendor. */
#ifndef JL_SENSOR_H
#define JL_SENSOR_H

#include "lib/platform/platform.h"

#include <math.h>

#define JL_CHANNELS_MAX 256

/* One read of one channel. `t_ns` is set by a sensor that has a timestamp of its own (already on CLOCK_MONOTONIC), else 0:
 * the sampler then uses the middle of the read. */
struct sensor_reading {
    int64_t value; /* raw unit of the channel: unwrapped microjoule since the first reading, microwatt, ... */
    int64_t t_ns;
    bool has;                  /* false: nothing new or not available now; not an error */
    bool reset;                /* the counter restarted: no difference across this reading */
    enum joulet_status status; /* not JOULET_OK: this channel's read failed; value means nothing */
};

/* Public part of an open sensor; a source wraps it in its own struct (jl_container_of). One sensor = one device or one library.
 */
struct sensor {
    const struct sensor_ops *ops;
    struct joulet_channel *channels; /* n_channels; owned by the sensor, constant while open */
    size_t n_channels;
    struct joulet_fact *facts; /* n_facts; owned by the sensor */
    size_t n_facts;
};

struct sensor_list {
    struct sensor *items[64];
    size_t n;
    struct joulet_problem problems[32]; /* message malloc'ed, owned by the list */
    size_t n_problems;
};
bool sensor_list_add(struct sensor_list *l, struct sensor *s);
void sensor_list_problem(struct sensor_list *l, const char *sensor, enum joulet_status status, const char *fmt, ...)
    JL_PRINTF(4, 5);

/* At the end of discover: a file that could not be looked at, since sysfile_trouble_begin, is a problem of that sensor. */
void sensor_list_trouble(struct sensor_list *l, const char *sensor);

enum sensor_class {
    SENSOR_FILE,    /* cheap reads: all of them share one sampling thread */
    SENSOR_LIBRARY, /* a vendor library: a thread of its own, opened in the background */
    SENSOR_SLOW,    /* files and devices that take their time to answer: likewise */
    SENSOR_PUSHED,  /* the caller reads (joulet_push_open): no thread at all */
};

struct sensor_ops {
    const char *name;    /* short and stable, kept in stored runs: "rapl" */
    const char *summary; /* one line for `joulet sensors` */
    enum sensor_class cls;
    bool beside;     /* in the total when named only: that it may not be read makes no total partial */
    bool on_request; /* only when named (`sim`, `file`), or when nothing measures (`tdp`) */
    int64_t poll_ns; /* default polling interval: 10 ms RAPL, 5 ms NVML, 100 ms tdp */
    bool lockable;   /* event-locked reads make sense (RAPL: a read costs less than 50 us) */
    /* Add every device found to `out`, problems too. Finding none is JOULET_OK: absence is not an error. */
    enum joulet_status (*discover)(struct sensor_list *out, const struct joulet_options *opt, struct joulet_error *err);
    /* Fill readings[n_channels]. The sensor's sampling thread only. Never allocates, never blocks on a network.
     * `gauges` false: only energy and power channels are needed. */
    void (*read)(struct sensor *s, struct sensor_reading *readings, bool gauges);
    /* optional: reads one channel as fast as possible, for event-locked reads */
    void (*read_one)(struct sensor *s, size_t channel, struct sensor_reading *reading);
    /* optional: processes on the device */
    size_t (*processes)(struct sensor *s, struct joulet_process *out, size_t n);
    void (*close)(struct sensor *s); /* frees s too */
};
extern const struct sensor_ops *const sensor_table[]; /* NULL-terminated, in order of preference */

/* ---- for sources: building the public part -------------------------------------------------------------------- */

/* A channel in which nothing is known yet: measured, unknown bounds, an exact factor. Then set what differs. */
#define SENSOR_CHANNEL_INIT                                                                                                      \
    {                                                                                                                            \
        .provenance = JOULET_MEASURED, .power_min_w = NAN, .power_max_w = NAN, .factor_lo = 1, .factor_hi = 1                    \
    }
/* Appends a copy of *c to s->channels; its strings are copied too, NULL becomes "". false when out of memory. */
bool sensor_channel_add(struct sensor *s, const struct joulet_channel *c);
/* Appends a fact; an empty value is left out. false when out of memory. */
bool sensor_fact_add(struct sensor *s, const char *device, const char *key, const char *fmt, ...) JL_PRINTF(4, 5);
/* Frees channels, facts and their strings, not s itself. */
void sensor_release(struct sensor *s);
/* Provenance of a reading: simulated when its root was redirected, unless the caller trusts the root. opt may be NULL. */
enum joulet_provenance sensor_provenance(const struct joulet_options *opt, bool redirected);

/* First value of `key` in procfs cpuinfo ("model name", "siblings"), without reading all of it: a large machine needs
 * milliseconds for the whole file. false when there is none. */
bool jl_cpuinfo(const char *key, char *buf, size_t size);

/* Increase of a counter that restarts at 0 when it reaches `range` (1.2); right for at most one restart between reads. */
uint64_t jl_counter_delta(uint64_t prev, uint64_t now, uint64_t range);

/* raw.c: a raw counter made into energy since its first reading (1.2). Set the first five, leave the rest 0. */
struct jl_counter {
    uint64_t range_uj; /* where it restarts; 0: never */
    double max_w;      /* nothing here draws more: beyond 1.5 x this it did not count but was restarted; NAN: not known */
    double wraps_w;    /* nor this for long: after a gap in which that would fill the range, wraps were missed; 0: not known */
    double longest_s;  /* between two of its updates */
    bool doubt;        /* some devices show nonsense now and then: a jump is believed when the next reading goes on from it */

    uint64_t last_uj, total_uj, odd_uj;
    int64_t last_ns, odd_ns;
    bool started, odd;
};
/* Takes the raw value read at now_ns, microjoule, and fills *out: a restart is `reset`, nonsense a failed read (FORMAT). */
void jl_counter_take(struct jl_counter *c, uint64_t raw_uj, int64_t now_ns, struct sensor_reading *out);
/* A raw power in microwatt that may be nonsense: all bits set, or more than 1.5 x max_w. */
void jl_power_take(uint64_t raw_uw, double max_w, struct sensor_reading *out);

/* Values that cover consecutive spans of a told length, on arrival of each: when its span ended, less the delay that all of
 * them share (1.3). */
struct jl_spans {
    double sum_s, off_s;
    bool any;
};
double jl_spans_end(struct jl_spans *s, double arrival_s, double length_s);

/* TDP of a processor by its marketing name from data/cpu_tdp.csv (longest match first); NAN when not known. */
double jl_cpu_tdp(const char *cpu_name);

#endif
