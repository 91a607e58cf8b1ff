/* joulet.h - libjoulet: an energy meter for one process to embed.
 *
 * A meter in four calls:
 *
 *     struct joulet *m;  struct joulet_energy e;  struct joulet_error err;
 *     joulet_open(&m, NULL, &err);
 *     joulet_mark from = joulet_mark_now(m);   ... work ...   joulet_mark to = joulet_mark_now(m);
 *     joulet_energy_between(m, JOULET_TOTAL, from, to, &e, &err);   printf("%.2f J +- %.2f J\n", e.net_j, e.net_pm_j);
 *     joulet_close(m);
 *
 * Conventions
 *   time     int64_t nanoseconds of CLOCK_MONOTONIC; durations in seconds are double and end in _s
 *   energy   joules (double, _j), power watts (_w), samples in integers of the unit of their channel
 *   unknown  NAN, never 0
 *   errors   every function that can fail returns a status and, where `err` is not NULL, writes one sentence with the remedy
 *   memory   x_init/x_release for a struct the caller holds; x_open/x_close for a handle the library allocates;
 *            a `const char *` inside a struct lives as long as the meter it came from, or is static where said so
 *   threads  a meter may be used from any thread; it must not be closed while another call is inside it
 *   fork     a child cannot use its parent's meter: every call returns JOULET_FORKED
 *
 * The numbers follow docs/method.md; section numbers in comments are those of that document. */
#ifndef JOULET_H
#define JOULET_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(_WIN32)
#define JOULET_API
#else
#define JOULET_API __attribute__((visibility("default")))
#endif

#define JOULET_VERSION_MAJOR 0
#define JOULET_VERSION_MINOR 1
#define JOULET_VERSION_PATCH 0
#define JOULET_VERSION       "0.1.0"

/* ---- status and errors ------------------------------------------------------------------------------------------ */

#define JOULET_STATUS_MAP(X)                                                                                                     \
    X(OK, "success")                                                                                                             \
    X(USAGE, "the call or its arguments are wrong")                                                                              \
    X(NO_SENSOR, "no usable energy sensor on this machine")                                                                      \
    X(PERMISSION, "the sensor exists but may not be read")                                                                       \
    X(GONE, "the device left during the measurement")                                                                            \
    X(FROZEN, "the counter does not move")                                                                                       \
    X(TOO_SHORT, "no reading falls inside the window")                                                                           \
    X(NO_DATA, "the trace does not cover the window")                                                                            \
    X(RESET, "the counter was reset or moved backwards during the run")                                                          \
    X(FORKED, "the meter belongs to the parent process")                                                                         \
    X(MEMORY, "out of memory")                                                                                                   \
    X(LIMIT, "a limit was reached")                                                                                              \
    X(IO, "reading or writing failed")                                                                                           \
    X(FORMAT, "the data is not in the expected form")                                                                            \
    X(NEWER, "the data comes from a newer version of joulet")                                                                    \
    X(BUSY, "another process is using it")                                                                                       \
    X(UNREACHABLE, "the engine does not answer")                                                                                 \
    X(ENGINE, "the engine failed")                                                                                               \
    X(CANCELLED, "interrupted")                                                                                                  \
    X(UNSUPPORTED, "not supported here")                                                                                         \
    X(NOT_FOUND, "not found")

enum joulet_status {
#define JOULET_STATUS_ENUM(name, text) JOULET_##name,
    JOULET_STATUS_MAP(JOULET_STATUS_ENUM)
#undef JOULET_STATUS_ENUM
        JOULET_STATUS_COUNT
};

struct joulet_error {
    enum joulet_status status;
    char message[512]; /* one UTF-8 sentence: the thing, the cause, the remedy; empty when status is OK */
};

/* Short English text of a status; static. "unknown status" outside the range. */
JOULET_API const char *joulet_status_text(enum joulet_status status);

/* "0.1.0"; static. The version of the library that runs, which may be newer than the header. */
JOULET_API const char *joulet_version(void);

/* ---- channels and samples ---------------------------------------------------------------------------------------- */

/* What a channel reports, and the integer unit of its samples. */
enum joulet_quantity {
    JOULET_ENERGY,      /* cumulative since the meter opened, unwrapped: microjoule */
    JOULET_POWER,       /* mean power over the device's own window: microwatt */
    JOULET_TEMPERATURE, /* millidegree Celsius */
    JOULET_CLOCK,       /* hertz */
    JOULET_UTILISATION, /* parts per million of full use */
    JOULET_MEMORY_USED, /* bytes in use */
    JOULET_POWER_LIMIT, /* microwatt */
    JOULET_THROTTLE     /* bits of enum joulet_throttle */
};

enum joulet_throttle {
    JOULET_THROTTLE_POWER_CAP = 1u << 0,   /* software power cap */
    JOULET_THROTTLE_THERMAL = 1u << 1,     /* software or hardware thermal slowdown */
    JOULET_THROTTLE_POWER_BRAKE = 1u << 2, /* external power brake */
    JOULET_THROTTLE_HW_SLOWDOWN = 1u << 3  /* other hardware slowdown */
};

/* Where a figure comes from, from best to worst. Sums carry the worst of their parts. */
enum joulet_provenance {
    JOULET_MEASURED,  /* read from a sensor of this machine */
    JOULET_DERIVED,   /* computed from measured figures and a model */
    JOULET_ESTIMATED, /* no sensor: a model of the hardware (10) */
    JOULET_IMPORTED,  /* came with an imported record */
    JOULET_SIMULATED  /* a simulated or replayed sensor, or one read below a redirected root */
};
JOULET_API const char *joulet_provenance_name(enum joulet_provenance p); /* "measured", ...; static */

/* Where the energy of a channel belongs. Only channels with `in_total` enter JOULET_TOTAL: each joule once. */
enum joulet_group {
    JOULET_GROUP_CPU,
    JOULET_GROUP_DRAM,
    JOULET_GROUP_GPU,
    JOULET_GROUP_PLATFORM,
    JOULET_GROUP_OTHER,
    JOULET_GROUP_COUNT
};
JOULET_API const char *joulet_group_name(enum joulet_group g); /* "cpu", "dram", "gpu", "platform", "other"; static */

/* What of the machine a channel covers, from the outside in: a channel contains those of the domains below its own in the same
 * machine, socket or card, so that no joule is added twice (docs/method.md 1.1). GPU and DRAM stand beside the package. */
enum joulet_domain {
    JOULET_DOMAIN_NONE,       /* not told, or no energy at all: temperatures and the like */
    JOULET_DOMAIN_WALL,       /* everything, with the losses of the power supply: a meter at the wall, an adapter */
    JOULET_DOMAIN_CHASSIS,    /* the same as the machine's management sees it: IPMI, Redfish, ACPI power meter */
    JOULET_DOMAIN_BATTERY,    /* everything, while it runs from its battery */
    JOULET_DOMAIN_PSYS,       /* everything behind the power supply, as its maker wired it: psys, the input rail of a board */
    JOULET_DOMAIN_MODULE,     /* a processor and a graphics chip on one board, read together */
    JOULET_DOMAIN_SOC,        /* one chip with processor and graphics, read together: APU, Apple silicon */
    JOULET_DOMAIN_PACKAGE,    /* one processor: cores, caches, memory controller, integrated graphics */
    JOULET_DOMAIN_CORE,       /* inside the package */
    JOULET_DOMAIN_UNCORE,     /* inside the package: its integrated graphics */
    JOULET_DOMAIN_IGPU,       /* the same as the graphics driver sees it */
    JOULET_DOMAIN_NPU,        /* a neural engine inside the package or chip */
    JOULET_DOMAIN_DRAM,       /* beside the package */
    JOULET_DOMAIN_GPU,        /* a card, beside the package */
    JOULET_DOMAIN_GPU_CHIP,   /* inside the card: its chip */
    JOULET_DOMAIN_GPU_MEMORY, /* inside the card: its memory */
    JOULET_DOMAIN_PART,       /* a chip or a rail: inside the wall and psys, nothing else is known */
    JOULET_DOMAIN_PROCESS,    /* the share of one process: never added */
    JOULET_DOMAIN_COUNT
};
JOULET_API const char *joulet_domain_name(enum joulet_domain d); /* "wall", "chassis", "package", ...; static */

/* `place` of a card on the PCI bus, the same in every sensor that sees it. */
#define JOULET_PLACE_PCI(domain, bus, device, function)                                                                          \
    (INT64_C(1) << 40 | (int64_t)(domain) << 16 | (int64_t)(bus) << 8 | (int64_t)(device) << 3 | (int64_t)(function))

/* Properties of one channel. Strings live as long as the meter (or the record) they come from.
 * Source: defaults of docs/method.md 1.1; where calibration knows better, `calibrated` is set. */
struct joulet_channel {
    const char *id;     /* stable, kept in records: "cpu0.package", "gpu0.board" */
    const char *sensor; /* row of the sensor table: "rapl", "nvml", "tdp", "sim", "file" */
    const char *device; /* human name: "Intel Xeon ...", "NVIDIA H200" ("" when unknown) */
    const char *parent; /* id of the channel that physically contains this one, "" for none */
    enum joulet_quantity quantity;
    enum joulet_group group;
    enum joulet_domain domain;
    enum joulet_provenance provenance;
    bool in_total;      /* counted in JOULET_TOTAL and in its group; a sensor sets it where nothing else sees its joules better */
    bool calibrated;    /* lag_s and u_t_s come from a calibration of this device */
    bool contiguous;    /* power readings only: window_s equals period_s */
    double period_s;    /* U: time between updates */
    double window_s;    /* W: averaging window of a power reading; 0 for counters */
    double quantum_j;   /* q: step of a counter; of power readings, in W (0: 1 mW) */
    double lag_s;       /* l: sensor time minus event time */
    double u_lag_s;     /* u_t: standard uncertainty of lag_s */
    double lag_max_s;   /* l_max of 2.1 */
    double rise_s;      /* u_r: time by which power follows its cause */
    double spec;        /* half-width of the rectangular gain error, relative */
    double power_min_w; /* P_min of 2.4; NAN: half the lowest idle reading */
    double power_max_w; /* P_max of 2.4; NAN: 1.5 x the largest reading */
    double factor_lo;   /* estimates only: true energy lies in [factor_lo, factor_hi] x the figure (10); 1 and 1 otherwise */
    double factor_hi;
    int64_t place; /* which one of its kind, the same in every sensor: 1 + number of the socket + 256 x die, or
                      JOULET_PLACE_PCI of a card; 0: not told */
};

enum joulet_sample_flag {
    JOULET_SAMPLE_LATE = 1u << 0,   /* the read took too long (1.3): counters use it as a bound only */
    JOULET_SAMPLE_LOCKED = 1u << 1, /* event-locked update (1.3) */
    JOULET_SAMPLE_FAILED = 1u << 2, /* the read failed; `value` means nothing. Never a zero, never a wrap */
    JOULET_SAMPLE_RESET = 1u << 3,  /* the counter restarted before this sample: no difference across it */
    JOULET_SAMPLE_REPEAT = 1u << 4, /* power only: no change seen, update inserted one period after the last (1.3) */
    JOULET_SAMPLE_LAST = 1u << 5,   /* not an update: the last read before the trace was cut, value unchanged since */
    JOULET_SAMPLE_STARVED = 1u << 6 /* the sampler was kept from the processor before this read, for longer than updates bear */
};

/* One update of a channel, as read: the lag is not taken off. 24 bytes. */
struct joulet_sample {
    int64_t t_ns;   /* when the update happened: middle of the interval it is known to lie in */
    int64_t value;  /* in the unit of the channel's quantity */
    uint32_t hw_ns; /* half-width of that interval */
    uint32_t flags; /* enum joulet_sample_flag */
};

/* The samples of one channel, ascending in time. */
struct joulet_trace {
    struct joulet_channel channel;
    struct joulet_sample *samples;
    size_t n;
};
JOULET_API void joulet_trace_release(struct joulet_trace *trace); /* frees samples and clears the struct; NULL is fine */

/* ---- the meter --------------------------------------------------------------------------------------------------- */

struct joulet; /* the meter */

typedef int64_t joulet_mark; /* a moment: CLOCK_MONOTONIC, ns */

/* Receives every sample once, in order, about a second after it was taken, one channel and at most one second a call.
 * Called on a thread of the meter's own; it may block (samples wait in memory up to the bound, then the oldest are dropped
 * and counted in joulet_stats). Must not call into the meter. */
typedef void joulet_sink(void *user, size_t channel, const struct joulet_sample *samples, size_t n);

/* Begin with JOULET_OPTIONS_INIT, then change what differs. Pointers are read during joulet_open only. */
struct joulet_options {
    size_t size;         /* sizeof(struct joulet_options): lets the struct grow */
    const char *sensors; /* comma-separated names ("rapl,nvml"); NULL: all that exist, `tdp` only if nothing measures,
                            `sim` and `file` only when asked for */
    const char *sim;     /* power curve for `sim`: a file name or an expression (docs/sensors/sim.md) */
    const char *replay;  /* recorded trace for `file` */
    int64_t interval_ns; /* 0: what each sensor needs; else the polling interval; counters are read every 10 s at least */
    size_t memory_bytes; /* bound on samples kept in memory; 0: 32 MiB */
    joulet_sink *sink;   /* NULL: older samples are dropped when the bound is reached */
    void *sink_user;
    bool trust_root;         /* figures read below JOULET_SYSFS and its like are this machine's (containers) */
    bool gauges;             /* also sample temperature, clocks, utilisation, ... (for monitor and records) */
    bool no_thread;          /* discover and describe only: nothing is sampled */
    const char *calibration; /* file of joulet_calibration_keep; NULL: the one in the data folder; "": use none */
    bool pushes;             /* channels will be pushed (joulet_push_open): to find no sensor is then no error */
};
#define JOULET_OPTIONS_INIT                                                                                                      \
    {                                                                                                                            \
        .size = sizeof(struct joulet_options)                                                                                    \
    }

/* Find the sensors, open them in parallel and begin to sample. Returns when the first sample of every file sensor is in;
 * vendor libraries may join later (joulet_wait_ready).
 * Error: JOULET_USAGE if what `sim` or `replay` names cannot be played;
 * JOULET_NO_SENSOR if not even an estimate is possible (never with no_thread: what is in the way is then the answer);
 * a sensor that exists but cannot be read is no error, it is listed by joulet_problem_get. *out is NULL on error.
 * opt NULL: defaults. Without a file that measures it waits for the libraries, since they decide whether to estimate. */
JOULET_API enum joulet_status joulet_open(struct joulet **out, const struct joulet_options *opt, struct joulet_error *err);
/* Waits until every sensor has been opened or has failed, at most timeout_s. */
JOULET_API enum joulet_status joulet_wait_ready(struct joulet *m, double timeout_s, struct joulet_error *err);
/* Hands the remaining samples to the sink, ends the threads, frees everything. NULL is fine. */
JOULET_API void joulet_close(struct joulet *m);

/* Rows of the sensor table: what this build knows to read, whether it is here or not. Static. */
struct joulet_sensor {
    const char *name;    /* "rapl" */
    const char *summary; /* one line */
    bool on_request;     /* used when named only, or when nothing measures */
    bool beside;         /* counts in the total when named only: without it nothing is missing there */
};
JOULET_API size_t joulet_sensor_count(void);
JOULET_API enum joulet_status joulet_sensor_get(size_t i, struct joulet_sensor *out); /* JOULET_USAGE if i is out of range */

/* Channels found so far. Indices are stable; a later joining library appends. */
JOULET_API size_t joulet_channel_count(struct joulet *m);
/* *out is a copy; its strings live as long as m. JOULET_USAGE if i is out of range. */
JOULET_API enum joulet_status joulet_channel_get(struct joulet *m, size_t i, struct joulet_channel *out);

/* ---- one machine, one view (1.1) --------------------------------------------------------------------------------- */

/* The domain a channel tells, or what its group and id say of one that tells none (older records). */
JOULET_API enum joulet_domain joulet_domain_of(const struct joulet_channel *c);
/* Clears in_total where a joule would count twice. Of channels that contain each other processors, memory and cards come first
 * (sum of packages, memory and cards), then parts of these, and what contains them only where nothing inside it counts; what
 * measures comes before what estimates; of two that read the same, the first. Pure; any order of channels. */
JOULET_API void joulet_tree_count(struct joulet_channel *channels, size_t n);

enum joulet_counted {
    JOULET_COUNTED,       /* in the total */
    JOULET_COUNTED_BELOW, /* contains something that is in the total */
    JOULET_COUNTED_ABOVE, /* inside something that is in the total */
    JOULET_COUNTED_TWIN,  /* the same joules as `twin` */
    JOULET_COUNTED_APART  /* shown only */
};
struct joulet_tree_node {
    size_t channel; /* index */
    size_t parent;  /* index of the channel that contains it; JOULET_TOTAL: none */
    size_t twin;    /* index of the channel that reads the same joules; JOULET_TOTAL: none */
    unsigned depth; /* 0: contained in nothing that is known */
    enum joulet_counted counted;
};
/* The channels of energy and power as a tree, each after what contains it; nodes has room for n. Returns how many there are.
 * Pure.
 */
JOULET_API size_t joulet_tree_of(const struct joulet_channel *channels, size_t n, struct joulet_tree_node *nodes);
/* "covers cpu0.package and gpu0.board; lacks memory, board and fans, losses of the power supply", in buf. "" when nothing counts.
 */
JOULET_API const char *joulet_total_text(const struct joulet_channel *channels, size_t n, char *buf, size_t size);

/* A sensor that exists but does not work, for doctor: what, why, and the exact remedy. */
struct joulet_problem {
    const char *sensor;
    enum joulet_status status;
    const char *message;
};
JOULET_API size_t joulet_problem_count(struct joulet *m);
JOULET_API enum joulet_status joulet_problem_get(struct joulet *m, size_t i, struct joulet_problem *out);

/* Static facts about a device as "key" = "value" text: driver, uuid, power_limit_w, ... */
struct joulet_fact {
    const char *device; /* "gpu0", "cpu0" */
    const char *key;
    const char *value;
};
JOULET_API size_t joulet_fact_count(struct joulet *m);
JOULET_API enum joulet_status joulet_fact_get(struct joulet *m, size_t i, struct joulet_fact *out);

/* A process that uses a device (NVML compute processes). Returns how many there are; fills up to n. */
struct joulet_process {
    const char *device;
    uint32_t pid;
    uint64_t memory_bytes; /* UINT64_MAX when unknown */
};
JOULET_API size_t joulet_processes(struct joulet *m, struct joulet_process *out, size_t n);

/* Now. Wakes the sampler, so that counters are read locked to this event (1.3); costs the caller a few microseconds. */
JOULET_API joulet_mark joulet_mark_now(struct joulet *m);
/* The same for an event that another thread saw at t_ns. */
JOULET_API void joulet_mark_at(struct joulet *m, joulet_mark t_ns);
/* CLOCK_MONOTONIC without a meter. */
JOULET_API joulet_mark joulet_now(void);

/* Copies the samples of a channel from the last at or before `from` to the first at or after `to`, from memory, with up to 10
 * more on each side, on which estimators lean. A trace that ends before `to` without a change since its newest update gets a
 * JOULET_SAMPLE_LAST. Error: JOULET_NO_DATA if they have already left memory. */
JOULET_API enum joulet_status joulet_trace_copy(struct joulet *m, size_t channel, joulet_mark from, joulet_mark to,
                                                struct joulet_trace *out, struct joulet_error *err);
/* Blocks until every channel of energy or power has an update after `t`, lag included, or has had time for two, or does nothing
 * but fail; at most timeout_s, then JOULET_TOO_SHORT. */
JOULET_API enum joulet_status joulet_wait_covered(struct joulet *m, joulet_mark t, double timeout_s, struct joulet_error *err);

/* The sampler's own cost and health since joulet_open. */
struct joulet_stats {
    double cpu_s; /* CPU time of the sampling threads */
    uint64_t reads, failed, late, dropped;
    double first_sample_s; /* from joulet_open to the first sample */
    size_t memory_bytes;   /* held by traces now */
};
JOULET_API enum joulet_status joulet_stats_get(struct joulet *m, struct joulet_stats *out);

/* ---- pushed channels: readings that the caller brings --------------------------------------------------------------------- */

/* For sources that libjoulet does not read itself: a wall meter behind HTTP, an exporter, a power analyser. The caller reads at
 * the device's rate in a thread of its own; the sampler never waits for it. From then on such a channel is like any other: trace,
 * sink, energies, tree. */

/* Adds n channels of one device that are read together, at most every poll_s seconds. Their fields are copied, strings too;
 * `sensor`, `id`, `quantity`, `period_s` must be set, `quantum_j` is the resolution. factor_lo and factor_hi 0: taken for 1.
 * *first: index of the first, the others follow. Whether they count in the total is decided with all others (joulet_tree_count).
 * Error: JOULET_USAGE, JOULET_LIMIT (no room for more), JOULET_MEMORY, JOULET_FORKED. Threads: any. */
JOULET_API enum joulet_status joulet_push_open(struct joulet *m, const struct joulet_channel *channels, size_t n, double poll_s,
                                               size_t *first, struct joulet_error *err);

/* One read of one such channel. */
struct joulet_pushed {
    joulet_mark asked_ns, answered_ns; /* when the read began and ended, CLOCK_MONOTONIC; the device's value held in between */
    joulet_mark own_ns;                /* timestamp of the device's own on the same clock; 0: none */
    int64_t value;                     /* in the unit of the channel; of counters since any origin, never wrapped */
    bool reset;                        /* the counter restarted: no difference across this reading */
    enum joulet_status status;         /* not JOULET_OK: the read failed, and value means nothing; JOULET_GONE: the device left */
};
/* Threads: one for each channel, and none after joulet_close began. Error: JOULET_USAGE (not a pushed channel, times that go
 * back), JOULET_FORKED. */
JOULET_API enum joulet_status joulet_push(struct joulet *m, size_t channel, const struct joulet_pushed *reading);
/* A trouble of such a source, for joulet_problem_get. `sensor` must live as long as the meter; the message is copied. */
JOULET_API void joulet_push_problem(struct joulet *m, const char *sensor, enum joulet_status status, const char *message);

/* ---- calibration (1.4) ------------------------------------------------------------------------------------------- */

/* Load on a device: it was busy from on_ns until off_ns. */
struct joulet_pulse {
    joulet_mark on_ns, off_ns;
};

enum joulet_verdict {
    JOULET_VERDICT_NONE, /* nothing could be determined */
    JOULET_VERDICT_FAIR, /* the residual leaves more open than u_lag_s usually is, or another window fits nearly as well */
    JOULET_VERDICT_GOOD
};
JOULET_API const char *joulet_verdict_name(enum joulet_verdict v); /* "none", "fair", "good"; static */

/* What pulses of load tell of one channel. */
struct joulet_calibration {
    double period_s;       /* U: that of the channel, or joulet_calibrate_period's */
    double window_s;       /* W of a power reading; 0 for counters */
    double lag_s, u_lag_s; /* l without the rise, and u_t */
    double fit_lag_s;      /* the lag of least residual; the rise of power is still in it */
    double fit_u_s;        /* what the residual leaves open of it, 1 sigma */
    double idle_w, step_w; /* power between the pulses; how far it rises in them */
    double residual_w;     /* rms of what the fit leaves, weighted as the readings are */
    double explained;      /* share of the variance of the readings that the pulses explain, 0 .. 1 */
    double rival;          /* power: residual of the next best window over that of the best, >= 1; NAN for counters */
    size_t n_pulses, n_readings;
    enum joulet_verdict verdict;
};
#define JOULET_CALIBRATION_PULSES     60 /* as 1.4 wants them */
#define JOULET_CALIBRATION_PULSES_MIN 20

/* Median-based distance of the updates in [from, to] under a varying load; *u_s may be NULL: its standard uncertainty. The trace
 * must have been read at least 3 times in a period. Error: JOULET_TOO_SHORT for fewer than 8 distances, JOULET_FROZEN. */
JOULET_API enum joulet_status joulet_calibrate_period(const struct joulet_trace *trace, joulet_mark from, joulet_mark to,
                                                      double *period_s, double *u_s, struct joulet_error *err);
/* Window and lag from pulses in ascending order. Pure. On error *out holds what was found so far, verdict NONE.
 * Error: JOULET_USAGE (pulses out of order), JOULET_TOO_SHORT (too few pulses or readings), JOULET_FROZEN (one value all the
 * time), JOULET_UNSUPPORTED (the pulses do not move the power), JOULET_LIMIT (the lag is outside the range looked at, or not
 * determined). */
JOULET_API enum joulet_status joulet_calibrate_lag(const struct joulet_trace *trace, const struct joulet_pulse *pulses, size_t n,
                                                   struct joulet_calibration *out, struct joulet_error *err);
/* r = energy of a counter / (mean power x time) under a steady load in [from, to], 1.4 step 2. */
JOULET_API enum joulet_status joulet_calibrate_ratio(const struct joulet_trace *counter, const struct joulet_trace *power,
                                                     joulet_mark from, joulet_mark to, double *ratio, struct joulet_error *err);
/* What r says of a counter: GOOD up to 5 % (and for NAN: nothing to compare with), FAIR up to 20 % (prefer power), else NONE. */
JOULET_API enum joulet_verdict joulet_ratio_verdict(double ratio);

/* Ways of reading a device, the fastest first. */
enum joulet_reading {
    JOULET_READING_SEARCH, /* as 1.3: updates are looked for where they are due */
    JOULET_READING_POLL,   /* every 5 ms */
    JOULET_READING_SECOND, /* every second, and at events */
    JOULET_READING_COUNT
};
JOULET_API const char *joulet_reading_name(enum joulet_reading way); /* "search", "poll", "second"; static */
/* The fastest way that does not disturb the counter: its ratio is within 2 % of that of the slowest. Unknown ones are skipped. */
JOULET_API enum joulet_reading joulet_calibrate_reading(const double ratio[JOULET_READING_COUNT]);

/* What a calibration file holds of one channel. Empty texts: not known. */
struct joulet_calibrated {
    char sensor[24], channel[64], device[128], uuid[96], driver[96];
    bool simulated;
    int64_t at_s; /* seconds since 1970 */
    double period_s, window_s, lag_s, u_lag_s;
    double ratio; /* of a counter, NAN: not compared */
    enum joulet_reading reading;
    enum joulet_verdict verdict;
};
/* Begins an entry: sensor, device and driver of channel i; the figures are the caller's to set. JOULET_USAGE if i is out of
 * range. */
JOULET_API enum joulet_status joulet_calibrated_init(struct joulet *m, size_t i, struct joulet_calibrated *out);
/* What the sampler itself costs on this machine (1.3). */
struct joulet_self_cost {
    int64_t at_s; /* 0: not measured */
    bool simulated;
    double cpu_share;          /* CPU time a second */
    double power_w, u_power_w; /* energy a second; NAN: not known */
};
struct joulet_calibration_file {
    struct joulet_calibrated *entries;
    size_t n;
    struct joulet_self_cost cost;
};
/* Where joulet_open looks for it, in buf; "" when this user has no home folder. Creates nothing. */
JOULET_API const char *joulet_calibration_path(char *buf, size_t size);
/* Error: JOULET_NOT_FOUND, JOULET_PERMISSION, JOULET_FORMAT, JOULET_NEWER; *out is then empty. */
JOULET_API enum joulet_status joulet_calibration_read(const char *path, struct joulet_calibration_file *out,
                                                      struct joulet_error *err);
JOULET_API void joulet_calibration_release(struct joulet_calibration_file *f); /* NULL is fine */
/* Adds the entries to the file, in place of those of the same channel and device, and the cost unless at_s is 0. The old file
 * stays until the new one is whole; others may do the same meanwhile. A file that cannot be understood is not replaced. */
JOULET_API enum joulet_status joulet_calibration_keep(const char *path, const struct joulet_calibration_file *add,
                                                      struct joulet_error *err);

enum joulet_calibration_state {
    JOULET_CALIBRATION_ABSENT, /* no entry, or none is to be used: defaults of the sensor */
    JOULET_CALIBRATION_STALE,  /* made with another driver: not used */
    JOULET_CALIBRATION_USED
};
/* How channel i came to its lag; *out the entry, cleared when there is none. */
JOULET_API enum joulet_calibration_state joulet_calibration_of(struct joulet *m, size_t i, struct joulet_calibrated *out);

/* ---- energy ------------------------------------------------------------------------------------------------------ */

enum joulet_flag {
    JOULET_FLAG_UNRESOLVED = 1u << 0,       /* no reading inside: only the bounds mean something */
    JOULET_FLAG_MISMATCH = 1u << 1,         /* both sides of a boundary disagree (2.2) */
    JOULET_FLAG_TRUNCATED = 1u << 2,        /* no update after the end: extrapolated */
    JOULET_FLAG_NO_LEAD_IN = 1u << 3,       /* no update before the start: extrapolated */
    JOULET_FLAG_INCONSISTENT = 1u << 4,     /* whole and parts differ by more than 2 u */
    JOULET_FLAG_SHORT_BASELINE = 1u << 5,   /* idle level from 1 s before and the level after (4.2) */
    JOULET_FLAG_NO_BASELINE = 1u << 6,      /* net is unknown */
    JOULET_FLAG_IDLE_DRIFT = 1u << 7,       /* idle before and after differ (4.3) */
    JOULET_FLAG_GAP = 1u << 8,              /* failed reads inside */
    JOULET_FLAG_RESET = 1u << 9,            /* the counter restarted inside: no figure */
    JOULET_FLAG_FROZEN = 1u << 10,          /* the counter stands still: no figure, or only until it stopped */
    JOULET_FLAG_GONE = 1u << 11,            /* the device left: the part measured so far */
    JOULET_FLAG_THROTTLED = 1u << 12,       /* power or thermal throttling inside */
    JOULET_FLAG_GUESSED = 1u << 13,         /* estimate without a known TDP (10) */
    JOULET_FLAG_FILTERED = 1u << 14,        /* energy filtering is on (1.1) */
    JOULET_FLAG_PARTIAL = 1u << 15,         /* the total lacks parts that this machine has */
    JOULET_FLAG_JOINED = 1u << 16,          /* a neighbour's unresolved phase is in this figure */
    JOULET_FLAG_FOREIGN_LOAD = 1u << 17,    /* other processes were busy */
    JOULET_FLAG_CACHED = 1u << 18,          /* part of the prompt came from a cache although it was switched off */
    JOULET_FLAG_TRACE_LOST = 1u << 19,      /* samples were dropped */
    JOULET_FLAG_ALIASED = 1u << 20,         /* a part-time sensor sees the work at a fixed phase (2.5): bounds only */
    JOULET_FLAG_CLOCK_CHANGE = 1u << 21,    /* the clock of the device changed inside */
    JOULET_FLAG_STARVED = 1u << 22,         /* the sampler did not get the processor in time */
    JOULET_FLAG_CLOCK_STEP = 1u << 23,      /* the machine slept or its clock was set inside */
    JOULET_FLAG_AVERAGED = 1u << 24,        /* the power reading is an average over a second, not instant power */
    JOULET_FLAG_SLOW_SENSOR = 1u << 25,     /* the sensor gives new values more slowly than the window is long */
    JOULET_FLAG_PROVISIONAL = 1u << 26,     /* the sensors had not shown all of it yet: the rest is by a model (7.7) */
    JOULET_FLAG_WEIGHTS_ASSUMED = 1u << 27, /* shared with other requests by weights that were not learnt yet (7.5) */
    JOULET_FLAG_NOT_SEEN = 1u << 28         /* the meter missed a part of the exchange */
};
/* Name of one flag bit ("unresolved", "short baseline", ...), NULL for an unknown bit; static. */
JOULET_API const char *joulet_flag_name(uint32_t bit);

/* Standard uncertainties (1 sigma, J) that make up the interval (3). */
struct joulet_u {
    double q, b, time, event, idle, spec;
};

/* Energy is never a bare number. NAN = unknown. */
struct joulet_energy {
    double net_j, net_pm_j;     /* above idle; half-width of the 95 % interval (k = 2) */
    double gross_j, gross_pm_j; /* everything the sensor saw */
    double min_j, max_j;        /* guaranteed bounds of gross (2.4); for estimates the interval of section 10 */
    double tail_j;              /* above idle after the run until settled (4.4); never inside net_j */
    struct joulet_u u;
    enum joulet_provenance provenance;
    uint32_t flags;     /* enum joulet_flag */
    const char *method; /* "padded-difference/1", "joint-fit/1", ...; static */
};
#define JOULET_ENERGY_UNKNOWN                                                                                                    \
    {                                                                                                                            \
        .net_j = NAN, .net_pm_j = NAN, .gross_j = NAN, .gross_pm_j = NAN, .min_j = NAN, .max_j = NAN, .tail_j = NAN,             \
        .u = {NAN, NAN, NAN, NAN, NAN, NAN}, .method = "none"                                                                    \
    }

#define JOULET_TOTAL ((size_t)-1) /* every channel with in_total */

/* Energy drawn between two marks; the simple form. Waits until the sensors have covered `to`. Net needs an idle level: the
 * second before `from` is used and flagged JOULET_FLAG_SHORT_BASELINE; NAN if the meter was opened later than that.
 * Range:  gross_j >= 0. Error: JOULET_GONE if a device left (then *out holds the part measured), JOULET_NO_DATA, JOULET_FORKED.
 */
JOULET_API enum joulet_status joulet_energy_between(struct joulet *m, size_t channel, joulet_mark from, joulet_mark to,
                                                    struct joulet_energy *out, struct joulet_error *err);

/* Idle level of one channel (4.2). */
struct joulet_baseline {
    double power_w; /* P0; NAN when there is none */
    double u_w;     /* u(P0) */
    double sd_w;    /* sd of the 1 s means */
    int64_t from_ns, to_ns;
    uint32_t flags; /* JOULET_FLAG_SHORT_BASELINE */
};
#define JOULET_BASELINE_NONE                                                                                                     \
    {                                                                                                                            \
        .power_w = NAN, .u_w = NAN, .sd_w = NAN                                                                                  \
    }

/* P0 over [from, to] by 1 s batch means. to - from >= 2 s, else JOULET_TOO_SHORT and *out is NONE. */
JOULET_API enum joulet_status joulet_baseline_from(const struct joulet_trace *trace, joulet_mark from, joulet_mark to,
                                                   struct joulet_baseline *out, struct joulet_error *err);
/* The short form of 4.2: P0 = level of the `before` span, u = larger of 0.02 P0 and half the difference to the level of the
 * `after` span (pass after_from == after_to when there is none). Flagged short. */
JOULET_API enum joulet_status joulet_baseline_short(const struct joulet_trace *trace, joulet_mark before_from,
                                                    joulet_mark before_to, joulet_mark after_from, joulet_mark after_to,
                                                    struct joulet_baseline *out, struct joulet_error *err);

/* The level for a run [from, to] out of all that were taken in a session, in any order (4.3): straight between the one before and
 * the one after it, else the nearest; with three or more its u is at least their sd (4.2). NONE when none is known. */
JOULET_API void joulet_baseline_at(const struct joulet_baseline *all, size_t n, joulet_mark from, joulet_mark to,
                                   struct joulet_baseline *out);
/* Seconds of idle level for which its share of the interval of net energy (2 u) is `relative`, when the run draws run_power_w
 * (4.2). r1: lag-one autocorrelation of the 1 s means, NAN: 0. NAN when no length is enough: 2 % of P0 is more than that; then a
 * longer or stronger load, or a level before each run. */
JOULET_API double joulet_baseline_seconds(const struct joulet_baseline *b, double r1, double run_power_w, double relative);
/* Share of a run's net energy that the level leaves open, 2 u(P0)/(P_run - P0): above 0.02 a level of 10 s is worth extending to
 * 30 s (4.2). INFINITY when the run draws no more than the level; NAN when either is not known. */
JOULET_API double joulet_baseline_doubt(const struct joulet_baseline *b, double run_power_w);

/* What is measured: consecutive phases. */
struct joulet_what {
    const joulet_mark *bounds; /* n_phases + 1 moments, ascending */
    const double *u_event_s;   /* standard uncertainty of each moment, s; NULL: 0 */
    size_t n_phases;           /* 1 .. JOULET_PHASES_MAX */
    bool isolated;             /* settled before the first bound, idle after the last: 2.1 applies to the whole */
    joulet_mark quiet_until;   /* isolated only: nothing else began before this moment */
};
#define JOULET_PHASES_MAX 16

/* Everything of one channel about one run. Parts sum to whole (gross and net) to 1e-12 relative. */
struct joulet_measured {
    struct joulet_energy whole;
    struct joulet_energy parts[JOULET_PHASES_MAX];
    double settle_s; /* 4.4; NAN when not looked for */
};
/* Pure: trace and moments in, energies out. idle NULL or NONE: net is NAN.
 * Chooses the estimator by channel: two slopes (2.2) for fast counters, the joint fit (2.2) for slow ones, contiguous power as a
 * counter, the phase fit (2.3) otherwise; the padded difference (2.1) for an isolated whole; then reconciles.
 * Phases that cannot be told apart are joined: the longest carries the energy of all (flag JOINED), the others are NAN with
 * bounds (flag UNRESOLVED), so that the parts that have a figure sum to the whole.
 * Error: JOULET_NO_DATA, JOULET_RESET, JOULET_FROZEN; *out then holds NANs with the flag set. JOULET_GONE: the figures hold what
 * was measured before the device left. JOULET_TOO_SHORT: no reading inside and nothing to join with; only bounds are known. */
JOULET_API enum joulet_status joulet_measure(const struct joulet_trace *trace, const struct joulet_baseline *idle,
                                             const struct joulet_what *what, struct joulet_measured *out,
                                             struct joulet_error *err);

/* ---- part-time sensors (2.5): power readings whose window is shorter than their period see a part of the time only ---- */
JOULET_API bool joulet_is_part_time(const struct joulet_channel *channel);
/* What n bursts of one kind (requests, commands), which nobody timed to the sensor, drew together: a joint fit over all of them.
 * on[i] < off[i] <= on[i + 1]; net needs an idle level, and so does the fit. Error: JOULET_TOO_SHORT and flag UNRESOLVED when too
 * few readings lie inside bursts, or flag ALIASED when the bursts follow the sensor's own rhythm; only bounds are known then.
 * JOULET_USAGE for other channels: joulet_measure sees each burst there. */
JOULET_API enum joulet_status joulet_bursts(const struct joulet_trace *trace, const struct joulet_baseline *idle,
                                            const joulet_mark *on, const joulet_mark *off, size_t n, struct joulet_energy *out,
                                            struct joulet_error *err);
/* When repeat k (0, 1, ..) shall start, at `earliest` or up to one period later: at place (k mod 8)/8 of the sensor's update
 * grid, so that repeats together are seen all over. `earliest` itself where the sensor is no part-time one, or its updates (of
 * the last seconds, in `trace`) tell no grid. */
JOULET_API joulet_mark joulet_phase_start(const struct joulet_trace *trace, size_t k, joulet_mark earliest);
/* Energy of one of n repeats that were started so: the readings that may show any of them, above the level of the waits (2.5),
 * divided by n. The sensor must have settled before the first; quiet_until as in joulet_what. Errors as for joulet_measure;
 * JOULET_NO_DATA when the trace does not reach far enough around the block, JOULET_USAGE without an idle level. */
JOULET_API enum joulet_status joulet_block(const struct joulet_trace *trace, const struct joulet_baseline *idle,
                                           const joulet_mark *on, const joulet_mark *off, size_t n, joulet_mark quiet_until,
                                           struct joulet_energy *out, struct joulet_error *err);

/* Sum over devices (end of 3): u_rep in quadrature, u_spec linear where `same_type`, else in quadrature; provenance the worst;
 * flags joined; a NAN part makes the sum lack it: the rest is summed and JOULET_FLAG_PARTIAL set. *sum starts as
 * JOULET_ENERGY_UNKNOWN or as a previous sum. */
JOULET_API void joulet_energy_add(struct joulet_energy *sum, const struct joulet_energy *part, bool same_type);
/* Consecutive windows of one channel: energies add; random terms in quadrature, common ones (time, idle, spec) linearly. */
JOULET_API void joulet_energy_chain(struct joulet_energy *sum, const struct joulet_energy *next);

/* What the idle level comes to in so many seconds: gross_j, with the level's own uncertainty, which times of one level have in
 * common. Unknown without a level. */
JOULET_API void joulet_energy_idle(const struct joulet_baseline *level, double seconds, struct joulet_energy *out);

/* Parts that were measured apart made to sum to their whole, net and gross: the difference is shared by variance (end of 2.2).
 * Parts stay as they are where one of them or the whole has no figure. */
JOULET_API void joulet_energy_share(struct joulet_energy *parts, size_t n, const struct joulet_energy *whole);

/* Time after `end` until the power has settled at the idle level, and the energy above idle until then (4.4). */
struct joulet_tail {
    double tail_j, settle_s; /* NAN when the trace ends before */
    double level_w;          /* settled level after, NAN if never settled */
    uint32_t flags;          /* JOULET_FLAG_IDLE_DRIFT */
};
JOULET_API enum joulet_status joulet_tail_from(const struct joulet_trace *trace, const struct joulet_baseline *idle,
                                               joulet_mark end, double cap_s, struct joulet_tail *out, struct joulet_error *err);

/* Power inside [from, to), time-weighted over the device's own updates, for display and percentiles (9). */
struct joulet_power {
    double min_w, mean_w, max_w, p50_w, p95_w; /* NAN without readings */
    size_t updates;                            /* distinct updates inside */
};
JOULET_API void joulet_power_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to, struct joulet_power *out);

/* ---- watches (5.3): what happened to the machine meanwhile ----------------------------------------------------------- */

/* Whose processor time is not foreign, besides this process. */
#define JOULET_NOBODY   ((int64_t)-1) /* not known: foreign load cannot be told */
#define JOULET_CHILDREN ((int64_t)0)  /* children of this process that have ended */

/* The machine at one moment. NAN, -1: not known. Counted since boot or since the process began: only differences mean something.
 * Source: procfs and sysfs of Linux; costs a few file reads, so take it before the mark that begins a window and after its end.
 */
struct joulet_surroundings {
    joulet_mark t_ns;
    double busy_s;           /* time that all hardware threads together were not idle */
    double known_s;          /* of it: this process, and the one named */
    double asleep_s;         /* time the machine has slept */
    double wall_s;           /* wall clock minus monotonic clock */
    int64_t throttle_events; /* of all processors, for heat */
    int64_t clock_limit_khz; /* sum of the highest clocks that the processors may take */
    double total_s;          /* time of all hardware threads, idle or not */
};
/* pid: the engine on this machine, JOULET_NOBODY or JOULET_CHILDREN. */
JOULET_API void joulet_surroundings_now(int64_t pid, struct joulet_surroundings *out);

struct joulet_watched {
    uint32_t flags;         /* JOULET_FLAG_FOREIGN_LOAD, THROTTLED, CLOCK_CHANGE, CLOCK_STEP */
    double foreign_threads; /* hardware threads that other processes kept busy, in the mean; NAN not known */
    double slept_s;         /* the machine was asleep for so long */
    double stepped_s;       /* the wall clock was set by so much */
    int64_t throttle_events;
};
/* What happened between the two. Pure. Foreign load: other processes took more than a tenth of a hardware thread, of what the
 * known ones took, and a twentieth of the machine; not told for less than 0.2 s, in which the kernel's ticks say nothing. */
JOULET_API void joulet_watch(const struct joulet_surroundings *before, const struct joulet_surroundings *after,
                             struct joulet_watched *out);

/* Mean clock of a device in [from, to), weighted by time, Hz; NAN with fewer than 3 readings inside. trace: a channel of
 * JOULET_CLOCK. Two windows whose means differ by more than 5 % did not run at the same speed: JOULET_FLAG_CLOCK_CHANGE. */
JOULET_API double joulet_clock_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to);
JOULET_API bool joulet_clock_changed(double reference_hz, double clock_hz); /* false when one is not known */
/* Throttling bits that were set at any moment of [from, to); trace: a channel of JOULET_THROTTLE. The last reading before `from`
 * counts: it holds until the next. */
JOULET_API uint32_t joulet_throttled_in(const struct joulet_trace *trace, joulet_mark from, joulet_mark to);

/* Keeping a model loaded against loading it again (4.1): L1 - L0 against the energy of a load. */
struct joulet_keep {
    double power_w, u_w; /* keep-alive power L1 - L0 and its standard uncertainty */
    double break_even_s; /* idle time after which unloading saves more than loading costs; NAN when no power is seen */
    double from_s, to_s; /* its 95 % interval; to_s may be INFINITY */
};
/* load_j: net energy of loading above L0, u_load_j its standard uncertainty. NAN in, NAN out. */
JOULET_API void joulet_keep_of(double l0_w, double u_l0_w, double l1_w, double u_l1_w, double load_j, double u_load_j,
                               struct joulet_keep *out);

/* Power of several channels together: steps that add up the levels of all of them, in the order of time. */
struct joulet_level {
    double start_s, seconds, power_w; /* start_s: after `from` */
};
/* Steps in [from, to), malloc'ed, where every trace has a level; *count 0 and *out NULL when there is no such time or no memory.
 */
JOULET_API void joulet_levels_in(const struct joulet_trace *traces, size_t n, joulet_mark from, joulet_mark to,
                                 struct joulet_level **out, size_t *count);
/* Their minimum, mean, maximum and percentiles, weighted by time; `updates` is their number. */
JOULET_API void joulet_levels_power(const struct joulet_level *levels, size_t count, struct joulet_power *out);
/* Seconds from `from` until the first step of at least 90 % of their mean power begins; not finer than an update. NAN: fewer
 * than 2. */
JOULET_API double joulet_levels_ramp_s(const struct joulet_level *levels, size_t count);

/* Rounds U to two significant digits and E to the same decimal: "12.40 J +- 0.74 J" (3), with U+00B1 when utf8. Unknown: "-". */
JOULET_API const char *joulet_format_j(char *buf, size_t size, double e_j, double pm_j, bool utf8);

/* ---- processes (6.4): whose processor time it was -------------------------------------------------------------------- */

/* Processor time between two looks. Seconds over all hardware threads. */
struct joulet_cpu_use {
    double used_s;   /* by the processes followed; NAN not known */
    double busy_s;   /* by everybody: time that the hardware threads were not idle */
    double total_s;  /* idle or not */
    double tick_s;   /* step in which the kernel tells them */
    double readings; /* truncated counters that used_s is made of; 0: it is exact (a control group) */
};
/* Share of the busy time, with its 95 % interval (k = 2): counters are cut to ticks, and who is busy is looked at once in each.
 * All of them NAN when nothing was busy or something is not known. It is a share of time: blind to clocks, to the width of the
 * instructions, to memory and to GPUs. */
struct joulet_cpu_share {
    double share, share_pm; /* share within [0, 1] */
    double used_s, busy_s;
};
#define JOULET_CPU_SHARE_UNKNOWN                                                                                                 \
    {                                                                                                                            \
        NAN, NAN, NAN, NAN                                                                                                       \
    }
JOULET_API void joulet_cpu_share_of(const struct joulet_cpu_use *use, struct joulet_cpu_share *out);
/* The part of the CPU's energy that goes with a share of its busy time: beside the whole, never instead. Derived at best; the
 * interval is that of both together, min_j and max_j go to the ends of the share. */
JOULET_API void joulet_energy_of_share(const struct joulet_energy *cpu, const struct joulet_cpu_share *share,
                                       struct joulet_energy *out);

/* A process with all its descendants, whatever becomes of it, or the control group that holds it and nothing else, or the
 * container. One thread at a time. */
struct joulet_followed;
struct joulet_cpu_look {
    joulet_mark t_ns;
    double used_s; /* since joulet_follow, never falls; NAN when it can no longer be read */
    double busy_s, total_s, tick_s, readings;
    size_t processes; /* alive now */
};
/* Error: JOULET_NOT_FOUND when there is no such process, JOULET_UNSUPPORTED where processes cannot be seen. */
JOULET_API enum joulet_status joulet_follow(struct joulet_followed **out, int64_t pid, struct joulet_error *err);
JOULET_API void joulet_follow_look(struct joulet_followed *f, struct joulet_cpu_look *out);
/* Whether the process is one of them, as of the last look: of the tree, or of the container or the service that it is. */
JOULET_API bool joulet_follow_has(const struct joulet_followed *f, int64_t pid);
/* "process tree" or "control group"; static. */
JOULET_API const char *joulet_follow_source(const struct joulet_followed *f);
JOULET_API void joulet_unfollow(struct joulet_followed *f); /* NULL is fine */
/* Between two looks at the same processes. */
JOULET_API void joulet_cpu_use_between(const struct joulet_cpu_look *from, const struct joulet_cpu_look *to,
                                       struct joulet_cpu_use *out);

/* ---- shares of concurrent requests (7) -------------------------------------------------------------------------------- */

/* Energy of one engine step: b0 + sum bp m over prefill tokens + sum (bd + bc x) over decoding requests with context x. A
 * request's share of it is its Shapley value: b0 by the number of those present, the rest each one's own. */
struct joulet_weights {
    double b0_j, bp_j, bd_j, bc_j;
    double u_share; /* relative standard uncertainty of a share: 0.03 where the engine tells its steps, 0.06 where they are
                       inferred */
    bool assumed;   /* ratios only, until enough windows were seen to learn them */
};

/* What a request drew: told once, when the sensor has shown the time until it left. */
struct joulet_share {
    uint64_t id;
    double net_j, u_j;   /* u_j: standard uncertainty */
    double idle_share_j; /* of the idle power while it was there, by the number of requests; gross is both */
    bool weights_assumed;
    double u_sensor_j; /* the part of u_j that is the sensor's, and common to all of its requests */
    double prefill_j;  /* of net_j: until the step of its second token; all of it when that never came */
    double u_common_j; /* the part of u_sensor_j that all windows have in common: the sensor's gain */
    bool weights_off;  /* in a part of its life the model was far from what was measured (7.3) */
};
typedef void joulet_shared(void *user, const struct joulet_share *share);

struct joulet_sharing; /* one engine and the sensors it draws from; one thread at a time */
/* idle_w: P0. weights NULL: assumed ones, which are replaced by a fit after 100 busy windows and every 10 minutes after (7.5). */
JOULET_API enum joulet_status joulet_sharing_open(struct joulet_sharing **out, double idle_w,
                                                  const struct joulet_weights *weights, joulet_shared *emit, void *user,
                                                  struct joulet_error *err);
JOULET_API void joulet_sharing_close(struct joulet_sharing *s); /* requests that have not left get no share; NULL is fine */

/* Events, each at or after the beginning of the step told last. A request joins when it arrives, computes its prompt in steps
 * that name it, decodes in every step from joulet_sharing_decode on, and leaves; one that pauses leaves and joins again. *slot
 * names it. */
JOULET_API enum joulet_status joulet_sharing_join(struct joulet_sharing *s, uint64_t id, joulet_mark t, size_t *slot,
                                                  struct joulet_error *err);
struct joulet_prefill {
    size_t slot;
    double tokens; /* computed in this step */
};
/* A step of all that decode and of those in `prefill`, each slot once. */
JOULET_API enum joulet_status joulet_sharing_step(struct joulet_sharing *s, joulet_mark from, joulet_mark to,
                                                  const struct joulet_prefill *prefill, size_t n, struct joulet_error *err);
/* context: tokens that its next step reads. */
JOULET_API enum joulet_status joulet_sharing_decode(struct joulet_sharing *s, size_t slot, double context, joulet_mark t,
                                                    struct joulet_error *err);
/* Until it decodes again it has no part in the steps; it stays in flight. */
JOULET_API enum joulet_status joulet_sharing_pause(struct joulet_sharing *s, size_t slot, joulet_mark t,
                                                   struct joulet_error *err);
JOULET_API enum joulet_status joulet_sharing_leave(struct joulet_sharing *s, size_t slot, joulet_mark t,
                                                   struct joulet_error *err);

/* A request as a proxy sees it: when it came, when each piece of its answer came, when it ended. */
struct joulet_seen {
    uint64_t id;
    joulet_mark arrived, ended;
    double prompt_tokens;      /* that the engine computed, without cached ones; >= 0 */
    double context;            /* tokens before its first one, cached ones included; >= prompt_tokens */
    const joulet_mark *pieces; /* in the order of time, within [arrived, ended]; NULL for none */
    const double *tokens;      /* of each piece; NULL: 1 each */
    size_t n_pieces;
};
/* Infers the steps of an engine that does not tell them (7.6) from all requests of a busy time, in any order, and tells them to
 * `s` with joins and leaves; u_share becomes at least 0.06. slots: how many it serves at once, 0 when it does not limit them.
 * The sensor's windows follow. JOULET_USAGE: a request is impossible, or begins before what `s` was told already; then `s` is as
 * before. */
JOULET_API enum joulet_status joulet_sharing_infer(struct joulet_sharing *s, const struct joulet_seen *seen, size_t n,
                                                   size_t slots, struct joulet_error *err);
/* The sensor's window [from, to): net energy above idle; its standard uncertainty, what is each window's own and what all have in
 * common (gain, clock): that does not shrink in their sum. Every event before `to` must have been told. */
JOULET_API enum joulet_status joulet_sharing_window(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double net_j,
                                                    double u_j, double u_common_j, struct joulet_error *err);

/* measured = attributed + idle + residual, always. The shares of those that left and of those still there sum to attributed. */
struct joulet_books {
    double measured_j, attributed_j, idle_j, residual_j;
    struct joulet_weights weights;
    double AF, AN, AK; /* the sums of 7.4 */
};
JOULET_API void joulet_sharing_books(const struct joulet_sharing *s, struct joulet_books *out);

/* ---- energy of requests while they run (7.4): what somebody tells who stands in front of engines ----------------- */

/* Devices whose energy is known late, engines that draw on them (several on one, one on several), and requests that come and go.
 * All that the sensors show is in somebody's account, to the last joule: of a request, or of the device. Memory is bounded, an
 * event costs the same however many requests there are. One thread at a time. */
struct joulet_attribution;

/* net_j is above idle, idle_share_j its part of the idle power while it was there; gross_j is both. */
struct joulet_attributed {
    uint64_t id;
    size_t engine;
    double net_j, u_j, idle_share_j, gross_j; /* u_j: standard uncertainty; NAN while it is not final */
    bool final;           /* false: the sensors have not shown all of its time; what is missing is by the model */
    bool weights_assumed; /* in a part of its life the model had learnt too little */
    double u_sensor_j;    /* the part of u_j that all requests on a device have in common; NAN while it is not final */
    double unmeasured_s;  /* of its life, on the device of which least is known; of one that is final */
    double prefill_j;     /* of net_j: until the step of its second token; NAN while it is not final */
    bool weights_off;     /* in a part of its life the model was far from what was measured (7.3) */
};
typedef void joulet_attributed_told(void *user, const struct joulet_attributed *a);

/* `tell` is called once for each request, when its energy is final, within the call that made it so. */
JOULET_API enum joulet_status joulet_attribution_open(struct joulet_attribution **out, joulet_attributed_told *tell, void *user,
                                                      struct joulet_error *err);
JOULET_API void joulet_attribution_close(struct joulet_attribution *a); /* what is not final is not told; NULL is fine */

/* idle_w: P0 of the device, models loaded (L1); empty_w: without any (L0), NAN not known. May be set again by
 * joulet_attribution_idle; it counts from the next window on. */
JOULET_API enum joulet_status joulet_attribution_device(struct joulet_attribution *a, double idle_w, double empty_w,
                                                        size_t *device, struct joulet_error *err);
JOULET_API enum joulet_status joulet_attribution_idle(struct joulet_attribution *a, size_t device, double idle_w, double empty_w,
                                                      struct joulet_error *err);

/* Sensors of one type err by their gain together: what the windows of such devices have in common adds linearly (end of 3). 0, as
 * at first: it is of a type of its own. */
JOULET_API enum joulet_status joulet_attribution_type(struct joulet_attribution *a, size_t device, size_t type,
                                                      struct joulet_error *err);

/* One model in one engine: what computes steps together. */
struct joulet_attribution_engine {
    const size_t *devices; /* that its processes run on */
    size_t n_devices;
    size_t slots;     /* requests it serves at once; 0: not known */
    bool tells_steps; /* else they are inferred from the times of tokens (7.6) */
    size_t group;     /* whose processes compute it: 1, 2, ... as in joulet_attribution_energy_of; 0: not known */
    bool unsure;      /* on which of them is found out while it computes: windows wait for it, 10 s at most */
};
JOULET_API enum joulet_status joulet_attribution_engine(struct joulet_attribution *a, const struct joulet_attribution_engine *e,
                                                        size_t *engine, struct joulet_error *err);
/* It was found out that it is not on one of its devices: what its requests that are not final had of it goes back. */
JOULET_API enum joulet_status joulet_attribution_not_on(struct joulet_attribution *a, size_t engine, size_t device,
                                                        struct joulet_error *err);
/* It is on those that it has, or that cannot be known: nothing waits for it any more. */
JOULET_API enum joulet_status joulet_attribution_sure(struct joulet_attribution *a, size_t engine, struct joulet_error *err);
/* Its model is in memory, or no longer: vacant time of its devices is keep-alive then. Not loaded at first. While none is, and
 * nobody is there, a device draws empty_w, where that is known. */
JOULET_API enum joulet_status joulet_attribution_loaded(struct joulet_attribution *a, size_t engine, bool loaded, joulet_mark t,
                                                        struct joulet_error *err);

/* The same of a device, by whoever has a model in its memory. */
JOULET_API enum joulet_status joulet_attribution_kept(struct joulet_attribution *a, size_t device, bool kept, joulet_mark t,
                                                      struct joulet_error *err);

/* Events of requests, those of one engine in the order of time. */
struct joulet_entering {
    uint64_t id;
    double prompt_tokens; /* that it will compute, as far as known: a guess from its length; joulet_attribution_prompt mends it */
    bool guessed;
    bool silent; /* its tokens are not seen as they come: an answer in one piece */
};
JOULET_API enum joulet_status joulet_attribution_enter(struct joulet_attribution *a, size_t engine,
                                                       const struct joulet_entering *in, joulet_mark t, size_t *request,
                                                       struct joulet_error *err);
/* The engine told how many it computes, or computed, and how many there are with cached ones. */
JOULET_API enum joulet_status joulet_attribution_prompt(struct joulet_attribution *a, size_t request, double computed,
                                                        double context, struct joulet_error *err);
/* So many of its prompt's tokens are done: the end of a step. */
JOULET_API enum joulet_status joulet_attribution_progress(struct joulet_attribution *a, size_t request, double done,
                                                          joulet_mark t, struct joulet_error *err);
/* A piece of the answer came, of so many tokens; NAN: as many as such pieces have. */
JOULET_API enum joulet_status joulet_attribution_tokens(struct joulet_attribution *a, size_t request, double tokens,
                                                        joulet_mark t, struct joulet_error *err);
/* It ended, or was aborted. generated: tokens in all; NAN not told. `request` may then be another's, except to look at until
 * it was told final. */
JOULET_API enum joulet_status joulet_attribution_end(struct joulet_attribution *a, size_t request, double generated,
                                                     joulet_mark t, struct joulet_error *err);
struct joulet_stepped {
    size_t request;
    double prefill;          /* tokens of its prompt */
    double decoded, context; /* tokens it got, and the context they read */
};
/* A step, by an engine that tells them; each request once. */
JOULET_API enum joulet_status joulet_attribution_step(struct joulet_attribution *a, size_t engine, joulet_mark from,
                                                      joulet_mark to, const struct joulet_stepped *members, size_t n,
                                                      struct joulet_error *err);

/* What the sensor of a device showed, lag taken off: windows in the order of time, with their idle power. u_j and u_common_j as
 * for joulet_sharing_window. */
JOULET_API enum joulet_status joulet_attribution_energy(struct joulet_attribution *a, size_t device, joulet_mark from,
                                                        joulet_mark to, double gross_j, double u_j, double u_common_j,
                                                        struct joulet_error *err);
/* The same, where it is known whose processes were busy: parts[g - 1] of what is above idle is that of the engines of group g, if
 * they computed; what no group has is of other programs. NAN: not known; such engines, and those of group 0, share what the
 * others leave. */
#define JOULET_GROUPS_MAX 32
JOULET_API enum joulet_status joulet_attribution_energy_of(struct joulet_attribution *a, size_t device, joulet_mark from,
                                                           joulet_mark to, double gross_j, double u_j, double u_common_j,
                                                           const double *parts, size_t n_parts, struct joulet_error *err);
/* Nothing is known of the device until then: its sensor failed, or hangs. Nobody pays for that time, and nothing waits for it. */
JOULET_API enum joulet_status joulet_attribution_gap(struct joulet_attribution *a, size_t device, joulet_mark to,
                                                     struct joulet_error *err);
/* Whether any engine's processes are on the device. While none are, and nobody is there, all of its energy is an account of its
 * own. At first they are. */
JOULET_API enum joulet_status joulet_attribution_used(struct joulet_attribution *a, size_t device, bool used,
                                                      struct joulet_error *err);
/* Every event before t was told: a clock, a few times a second. */
JOULET_API void joulet_attribution_until(struct joulet_attribution *a, joulet_mark t);

/* What a request has so far. JOULET_NOT_FOUND: it was told final already. */
JOULET_API enum joulet_status joulet_attribution_look(struct joulet_attribution *a, size_t request, struct joulet_attributed *out,
                                                      struct joulet_error *err);

/* measured = requests + idle_shares + vacant + keep_alive + other + idle_device + residual, always. */
struct joulet_accounts {
    double measured_j;
    double requests_j;    /* net, of those that are final and those that are not */
    double idle_shares_j; /* idle power while requests were there: theirs */
    double vacant_j;      /* idle power while nobody was there; of a device without engines all of it */
    double keep_alive_j;  /* the part of it that loaded models cost */
    double other_j;       /* above idle, while nothing was computed, or by other programs */
    double residual_j;    /* carried to the next window */
    double waiting_s;     /* time that was measured, and waits for events */
    double idle_device_j; /* all of it while no engine used the device */
};
JOULET_API enum joulet_status joulet_attribution_accounts(const struct joulet_attribution *a, size_t device,
                                                          struct joulet_accounts *out, struct joulet_error *err);

/* What was learnt of an engine on a device, as one line of text to be kept with the names of both, and back.
 * JOULET_LIMIT: more than `size` bytes (JOULET_LEARNT_MAX is enough); JOULET_FORMAT: no such line. */
#define JOULET_LEARNT_MAX 640
JOULET_API enum joulet_status joulet_attribution_learnt(const struct joulet_attribution *a, size_t engine, size_t device,
                                                        char *line, size_t size, struct joulet_weights *weights,
                                                        struct joulet_error *err);
JOULET_API enum joulet_status joulet_attribution_recall(struct joulet_attribution *a, size_t engine, size_t device,
                                                        const char *line, struct joulet_error *err);

/* ---- components of a model (8) -------------------------------------------------------------------------------------- */

#define JOULET_COMPONENTS_MAX 8 /* kinds: attention, feed-forward, norm, head, ... */

/* A stretch of time in which the engine computed one kind, on the clock of the windows. */
struct joulet_stretch {
    size_t kind;
    double start_s, end_s;
};
/* Seconds of each kind in each window: seconds[window * kinds + kind]. Window i is [ends_s[i], ends_s[i + 1]) less the lag of the
 * sensor; stretches and windows ascend in time. Where the lag is not known, the one of least rss_j2 is right (8.3). */
JOULET_API void joulet_components_seconds(const struct joulet_stretch *stretches, size_t n, const double *ends_s, size_t windows,
                                          double lag_s, size_t kinds, double *seconds);

struct joulet_component_powers {
    double power_w[JOULET_COMPONENTS_MAX], u_w[JOULET_COMPONENTS_MAX]; /* net; standard uncertainty from the scatter */
    double condition; /* how well the windows tell the kinds apart: 1 best, above 30 not at all */
    double rss_j2;    /* sum of squared residuals */
};
/* Non-negative least squares of the windows' net energies on the seconds. JOULET_TOO_SHORT with no more windows than kinds. */
JOULET_API enum joulet_status joulet_components_fit(const double *energy_j, const double *seconds, size_t windows, size_t kinds,
                                                    struct joulet_component_powers *out, struct joulet_error *err);

struct joulet_component_shares {
    double energy_j[JOULET_COMPONENTS_MAX], u_j[JOULET_COMPONENTS_MAX]; /* of one token, or of what token_s says */
    bool limit_only[JOULET_COMPONENTS_MAX];                             /* below 3 % of the time: at most energy_j + 2 u_j */
    double closure;                                                     /* sum over measured_j */
    bool accepted; /* condition at most 30, closure within 5 %; else energies are time shares, "assumes equal power", u_j NAN */
};
/* token_s: seconds of each kind in a token without repetition; measured_j: net energy of such a token. */
JOULET_API void joulet_components_of(const struct joulet_component_powers *p, const double *token_s, size_t kinds,
                                     double measured_j, struct joulet_component_shares *out);

/* ---- lock-in (8.2): repeating components so that the windows of a sensor tell them apart */

#define JOULET_REPEATS_MAX 64

struct joulet_lockin {
    int repeats[JOULET_COMPONENTS_MAX]; /* extra executions of each occurrence of a kind in its segments; 0: not repeated */
    double segment_s;                   /* least length of a segment; whole tokens */
    double block_s;                     /* how long a block of all segments takes at least */
};
/* reading_s: the longer of a sensor's period and window. token_s: seconds of each kind in a plain token; a kind whose `can` is
 * false (the rest, what a probe refuses) is not repeated.
 */
JOULET_API void joulet_lockin_plan(const double *token_s, const bool *can, size_t kinds, double reading_s,
                                   struct joulet_lockin *out);
/* The segments of block `block` in their order: order[i] is a kind, or `kinds` for the one without repetition. Kinds that are not
 * repeated have none. Returns how many there are, at most kinds + 1. The same for the same seed. */
JOULET_API size_t joulet_lockin_block(const struct joulet_lockin *p, size_t kinds, uint64_t seed, uint64_t block, size_t *order);

/* ---- from a trace to the energy of components (8.2, 8.3) */

enum joulet_components_path {
    JOULET_COMPONENTS_PLAIN,  /* plain tokens seen by a sensor much faster than a token (8.3) */
    JOULET_COMPONENTS_LOCKIN, /* repetition in random order (8.2) */
    JOULET_COMPONENTS_TIME    /* shares of time: "assumes equal power" */
};
enum joulet_components_reason { /* why it is shares of time, or JOULET_COMPONENTS_FINE */
                                JOULET_COMPONENTS_FINE,
                                JOULET_COMPONENTS_FEW_WINDOWS, /* too few readings for an interval that holds, or none of plain
                                                                  tokens */
                                JOULET_COMPONENTS_ALIKE, /* the readings hold too much the same mixture: condition above 30, or
                                                            plain tokens shorter than 20 readings */
                                JOULET_COMPONENTS_OPEN,  /* the components do not sum to within 5 % of what was measured */
                                JOULET_COMPONENTS_COSTLY /* measuring made tokens take more than 1.5 times the energy */
};
JOULET_API const char *joulet_components_reason_text(enum joulet_components_reason r); /* a clause: "..., so ..."; static */

struct joulet_components_in {
    const struct joulet_trace *trace;
    double idle_w;                          /* taken off every reading */
    double from_s, to_s;                    /* readings that lie in here; the clock of the trace, in s */
    size_t kinds;                           /* the last one is the rest: time inside that no stretch covers */
    const struct joulet_stretch *stretches; /* of the other kinds, repeats too; ascending */
    size_t n_stretches;
    const struct joulet_stretch *unmodified; /* spans of tokens without repetition, ascending, `kind` means nothing; NULL: all */
    size_t n_unmodified;
    const double *token_s;      /* seconds of each kind in an unmodified token, the rest too */
    const double *repeat_ratio; /* time of repeats over that of first executions, by kind; NULL: nothing was repeated */
    double instrumented_ratio;  /* J of a token with the probe over without; NAN: not measured. The figures are divided by it */
};
struct joulet_components {
    enum joulet_components_path path;
    enum joulet_components_reason reason;
    struct joulet_component_powers powers;
    struct joulet_component_shares shares; /* of one token, scaled to the engine without probe */
    double limit_j[JOULET_COMPONENTS_MAX]; /* energy_j + 2 u_j; NAN with shares of time */
    double measured_j;                     /* of an unmodified token, net, not scaled */
    double lag_s, rise_s; /* of the sensor, that fitted best; the rise is the told one where readings are too long to see it */
    size_t windows;
    bool warm[JOULET_COMPONENTS_MAX]; /* repeats took less than 0.9 or more than 1.1 of the first time */
};
/* JOULET_USAGE: no kinds, or too many; JOULET_NO_DATA: no reading lies inside, nothing can be said; JOULET_MEMORY. */
JOULET_API enum joulet_status joulet_components_measure(const struct joulet_components_in *in, struct joulet_components *out,
                                                        struct joulet_error *err);
/* Of a layer, from its own seconds of each kind: the same power for the same kind, assumed (8.2). */
JOULET_API double joulet_components_layer_j(const struct joulet_components *c, const double *token_s, const double *layer_s,
                                            size_t kinds);

/* ---- one kind over and over, nothing else: a cross-check of the regression (8.8) */

struct joulet_replay_in {
    const struct joulet_energy *loop; /* of the time in which it ran */
    double loop_s;                    /* that time */
    double token_s;                   /* seconds of the kind in an unmodified token */
    double instrumented_ratio;        /* as for the regression, which is divided by it too */
    double found_j, u_found_j;        /* the regression's figure of a token, u of its scatter alone; NAN unknown */
    double time_ratio;                /* time of a repeat over that of a first execution; NAN unknown */
};
struct joulet_replay {
    double power_w, power_pm_w;       /* mean of the loop, net; half of the 95 % interval */
    double token_j, token_pm_j;       /* that power for the kind's seconds in a token */
    double difference, difference_pm; /* token_j over found_j, less 1. The idle level and the gain of the sensor are in both, so
                                         not in its interval */
    bool warm;                        /* repeats took less than 0.9 or more than 1.1 of the first time */
};
JOULET_API void joulet_components_replay(const struct joulet_replay_in *in, struct joulet_replay *out);

/* ---- metrics (9) ------------------------------------------------------------------------------------------------- */

struct joulet_metrics_in {
    double energy_j, prefill_j, decode_j; /* J, net or gross as the caller names the result; NAN unknown */
    double tokens_in, tokens_out;         /* T_in with cached ones, T_out with reasoning */
    double wall_s;
    double grid_g_per_kwh, pue, price_per_kwh; /* NAN: unknown */
};
struct joulet_metrics {
    double j_per_output_token, j_per_token, prefill_j_per_input_token, decode_j_per_output_token;
    double wh_per_1000_output_tokens, e_token_i, e_token_o, tokens_per_j, energy_delay_js, emissions_g, cost;
};
/* Undefined (denominator 0, unknown input) is NAN. */
JOULET_API void joulet_metrics_of(const struct joulet_metrics_in *in, struct joulet_metrics *out);
/* sum(E)/sum(T) with the jackknife interval (9). n >= 1; pm NAN for n = 1. */
JOULET_API void joulet_ratio_of_sums(const double *energy_j, const double *tokens, size_t n, double *ratio, double *pm);

/* ---- energy from coefficients (6.2, 6.3, 10) --------------------------------------------------------------------- */

enum joulet_coefficient { JOULET_E0, JOULET_E_IN, JOULET_E_Q, JOULET_E_OUT, JOULET_E_X, JOULET_COEFFICIENTS };
/* Name of one coefficient as in files and reports ("e0", "e_in", ...), NULL when there is none; static. */
JOULET_API const char *joulet_coefficient_name(unsigned i);

/* E = e0 + e_in T_in + e_q T_in^2 + e_out T_out + e_x T_out (T_in + (T_out - 1)/2), J. */
struct joulet_coefficients {
    double e[JOULET_COEFFICIENTS];
    double cov[JOULET_COEFFICIENTS][JOULET_COEFFICIENTS]; /* of the e; 0: taken as exact */
};
/* Energy of a request of that many tokens, and its standard uncertainty from the covariance. JOULET_USAGE: tokens below 0 or not
 * finite. JOULET_LIMIT: the coefficients give no energy above 0 there, so they do not hold for that request. */
JOULET_API enum joulet_status joulet_predict(const struct joulet_coefficients *c, double tokens_in, double tokens_out,
                                             double *energy_j, double *u_j, struct joulet_error *err);

/* A workload of which the energy is published. */
struct joulet_workload {
    double tokens_in, tokens_out, energy_j, u_j;
};
/* Energy of a request between published workloads, n >= 1 of them with ascending tokens_in: joules per output token, linear in
 * the logarithm of tokens_in between two of them, those of the nearest outside. On a workload itself its own energy. */
JOULET_API enum joulet_status joulet_predict_between(const struct joulet_workload *w, size_t n, double tokens_in,
                                                     double tokens_out, double *energy_j, double *u_j, struct joulet_error *err);

/* energy_j +- u_j as an estimate: f_lo and f_hi are the ends of estimate/truth (10), which the uncertainty widens: logarithms of
 * half-widths add in quadrature. net: as net_j, else as gross_j; min_j and max_j are the ends of that figure. */
JOULET_API void joulet_estimate(double energy_j, double u_j, double f_lo, double f_hi, bool net, struct joulet_energy *out);

#ifdef __cplusplus
}
#endif
#endif
