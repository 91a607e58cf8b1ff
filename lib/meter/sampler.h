/* sampler.h - the live meter: which threads read which sensors, and what is known of each channel while they do. */
#ifndef JL_SAMPLER_H
#define JL_SAMPLER_H

#include "lib/meter/calibration.h"
#include "lib/meter/ring.h"
#include "lib/meter/updates.h"
#include "lib/sensors/sensor.h"

#include <stdatomic.h>

/* One channel of the meter. The lane that reads it owns `updates`; `pub` and `ring` are read by anyone. */
struct live_channel {
    struct joulet_channel pub; /* period_s and window_s change below the meter's lock; strings belong to the sensor */
    struct ring ring;
    struct updates updates;
    _Atomic int64_t read_ns;        /* middle of the last good read; 0: none yet */
    _Atomic int64_t equal_ns;       /* the same, if that read showed the value of the last update again; else 0 */
    _Atomic int64_t gone_ns;        /* the device left at this moment; 0: it is here */
    bool asks;                      /* would be in the total if nothing else saw its joules */
    unsigned nonsense;              /* values that cannot be */
    int64_t failed_ns;              /* last failed sample */
    bool starved;                   /* the processor came too late for the next sample */
    atomic_uint failed_row;         /* failed reads since the last good one */
    struct joulet_calibrated who;   /* as in an entry of the calibration file, without figures */
    struct joulet_calibrated entry; /* of that file; cleared when there is none */
    enum joulet_calibration_state entry_state;
};

/* One open sensor in its lane. */
struct live_sensor {
    struct sensor *sensor;
    struct live_channel **channels;    /* sensor->n_channels */
    struct sensor_reading *readings;   /* scratch of its lane */
    int64_t poll_ns, due_ns, gauge_ns; /* next read; next read with gauges */
    bool measures;                     /* has energy or power */
    bool lockable;                     /* event-locked reads are cheap enough so far */
    bool once;                         /* read once at each event: reading oftener disturbs it, or costs too much */
    int64_t cheapest_ns;               /* of its event-locked reads */
    unsigned n_timed;
};

#define LANE_SENSORS 64
#define AWAY_READS   4 /* failed in a row: enough for an estimator to see that a device left */

/* One thread and the sensors it reads: all files together, or one vendor library. */
struct lane {
    struct joulet *meter;
    enum sensor_class cls;
    const struct sensor_ops *ops; /* of a library's lane; NULL: files */
    struct live_sensor sensors[LANE_SENSORS];
    atomic_size_t n_sensors; /* those below it are complete */
    struct jl_thread *thread;
    struct jl_event *event; /* a mark was set, or the lane shall stop */
    atomic_bool stop, ready, marked;
    atomic_bool has_locks; /* some sensor profits from event-locked reads */
    int64_t late_ns, cpu_due_ns;
    int64_t idle_ns; /* since then it has had nothing to do but wait for what is due */
    _Atomic int64_t cpu_ns;
    atomic_uint_fast64_t reads, failed, late;
};

#define METER_LANES 16

struct joulet {
    int64_t pid; /* of the process that opened it (fork) */
    int64_t opened_ns;
    _Atomic int64_t first_sample_ns;
    struct joulet_options opt;                  /* strings are copies */
    struct joulet_calibration_file calibration; /* as read when the meter was opened; constant from then on */
    bool calibration_named;                     /* the caller named the file: it is for simulated sensors too */
    struct lane *lanes[METER_LANES];
    struct lane *pushed;       /* one of them, for channels that the caller reads */
    pthread_mutex_t push_lock; /* one joins at a time */
    size_t n_lanes;
    struct ring_store store;
    struct live_channel *channels[JL_CHANNELS_MAX];
    atomic_size_t n_channels; /* those below it are complete */
    pthread_mutex_t lock;     /* problems, and the changing fields of channels */
    struct joulet_problem *problems;
    size_t n_problems;
    _Atomic int64_t mark_ns;        /* the latest event */
    _Atomic int64_t short_until_ns; /* phases are short of late: lock every update after an event */
    int64_t lock_cost_ns;           /* a read dearer than this is not worth locking */
    struct jl_thread *sink_thread;
    struct jl_event *sink_event;
    atomic_bool sink_stop;
};

/* sampler.c */
struct lane *lane_open(struct joulet *m, enum sensor_class cls, const struct sensor_ops *ops, struct joulet_error *err);
void lane_close(struct lane *l);                /* joins the thread; sensors stay open for their strings */
void lane_release(struct lane *l, bool forked); /* closes the sensors, frees */
/* Discovers ops' devices and takes them in. */
void lane_discover(struct lane *l, const struct sensor_ops *ops);
/* Takes an open sensor over; reads of it are poll_ns apart, 0: as its row of the table says. False when there is no room: it is
 * closed then, and a problem tells. */
bool lane_take_in(struct lane *l, struct sensor *sensor, int64_t poll_ns);
bool lane_measures(const struct lane *l);
bool lane_counts(const struct lane *l); /* something of it is in the total */
/* The first read of every sensor, by the caller, before the thread begins. */
void lane_first_reads(struct lane *l);
enum joulet_status lane_start(struct lane *l, struct joulet_error *err);         /* files: begins to sample */
enum joulet_status lane_start_library(struct lane *l, struct joulet_error *err); /* discovers in the background, then samples */
void lane_read(struct lane *l, struct live_sensor *s, int64_t now_ns);
/* Takes one reading in that began at t0 and ended at t1. */
void lane_take(struct lane *l, struct live_channel *c, const struct sensor_reading *r, int64_t t0, int64_t t1);

/* sampler_lock.c: after an event, reads without pause until the counters change */
void lane_lock(struct lane *l);

/* sampler_sink.c */
enum joulet_status sink_open(struct joulet *m, struct joulet_error *err);
void sink_close(struct joulet *m); /* hands over the rest */

/* sampler_calibration.c: what the file knows of a sensor's channels, before it is read for the first time */
void meter_load_calibration(struct joulet *m);
void sensor_calibrate(struct joulet *m, struct live_sensor *s);

/* A sensor's trouble, for joulet_problem_get; takes the message over. */
void meter_add_problem(struct joulet *m, const char *sensor, enum joulet_status status, char *message);
/* A child of a fork cannot use its parent's meter: true there, and what to answer. */
bool meter_forked(const struct joulet *m);
enum joulet_status meter_refuse(struct joulet_error *err);

/* api.c: joulet_open with a table of sensors other than sensor_table. */
enum joulet_status meter_open(struct joulet **out, const struct sensor_ops *const *table, const struct joulet_options *opt,
                              struct joulet_error *err);

#endif
