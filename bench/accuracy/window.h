/* window.h - one simulated window: its power, its device, its trace, and what four meters say of it. */
#ifndef ACCURACY_WINDOW_H
#define ACCURACY_WINDOW_H

#include "bench/accuracy/reader.h"

/* What is drawn and which figure of it is asked for. */
enum shape {
    SHAPE_STEADY,   /* constant power, moments inside it */
    SHAPE_PHASE,    /* half a prefill (idle before, decode after), half a decode */
    SHAPE_ISOLATED, /* a whole run between idle and a level that stays above idle after it */
    SHAPE_REPEATS,  /* repeats that we start, each at another place of the sensor's grid */
    SHAPE_OTHERS,   /* bursts at moments that we do not choose */
    SHAPE_NET,      /* a long run above an idle level that is itself measured, by a sensor with a gain */
    SHAPE_WORK,     /* a run between two levels of idle, steady inside */
    SHAPE_RESTLESS, /* the same with more steps near its ends, 0.5 to 8 s inside or outside of them */
    SHAPE_ANYTIME,  /* steps every few seconds, and moments that have nothing to do with them */
};

/* What a slow meter does with the power before it shows it, which nobody knows beforehand. */
enum shows {
    SHOWS_MEAN,     /* of the whole period */
    SHOWS_FILTERED, /* through a filter of 0.3 to 1.2 periods */
    SHOWS_MOMENT,   /* the power of one moment of each period */
};

#define LENGTHS 14
extern const double window_lengths[LENGTHS];     /* s */
extern const char *const window_labels[LENGTHS]; /* "10 ms" */
extern const size_t window_order[LENGTHS];       /* of the columns: by length; later ones must not change the chance of others */

/* One row of the table: a sensor, what is known of it, and what it measures. Goals per length in per cent, 0: no such cell, NAN:
 * a cell without a goal. */
struct row {
    const char *name, *title;
    enum shape shape;
    bool cpu, power;           /* RAPL or GPU; counter or power readings */
    double period_s, window_s; /* nominal */
    bool locked, calibrated;
    bool poll_only;     /* updates are not predicted */
    bool bounds_only;   /* the figure must be refused, and its bounds hold */
    bool aliased;       /* bursts follow the rhythm of the sensor */
    bool two_levels;    /* bursts of others are a prefill and a decode */
    const char *preset; /* a device of lib/sensors/sim_presets.c, as it is; NULL: one of the kinds above */
    double around_s;    /* of idle before the run and of time after it, where updates are rare; 0: as usual */
    bool slow;          /* a meter beside the machine, asked twice in each of its periods */
    enum shows shows;   /* a slow one */
    bool texts;         /* the device writes its readings, and is waited for */
    bool shown_only;    /* nothing of the row is judged */
    bool late;          /* a third of each rise and a fifth of each fall come late */
    double rms[LENGTHS], mean[LENGTHS], p95[LENGTHS];
    double sharpness; /* most that the median half-width may be of the 95th percentile of the error; 0: no goal */
    /* Where a goal is missed: the rms and the sharpness that were reached, which --check holds the cell to. */
    double known[LENGTHS], known_sharpness;
    bool pooled; /* over the row the interval holds in 94 to 99 % */
};

/* Centres of the load shapes of one whole table: another seed has other shapes. W, for GPUs. */
struct levels {
    double idle, prefill, decode, after;
};
struct levels levels_of(uint64_t seed);

/* Errors and half-widths relative to the truth. */
struct outcome {
    bool ok, resolved;  /* ok: simulated; resolved: has a figure */
    double error, half; /* ours: without gain and idle terms, but for SHAPE_NET */
    double gain;        /* of the sensor; its error is left out of the rms */
    bool bounded;       /* the truth lies in the guaranteed bounds */
    double raw;         /* error of a raw difference of the last values read, or of a left-hold sum of power */
    double trapezoid;   /* error of straight lines between updates */
};
/* What a figure is asked for: true energy inside, J; of truth_j the error is told. */
struct asked {
    double gross_j, truth_j;
    bool net, whole_interval; /* truth_j is above idle; the terms of gain and idle level belong to the interval */
};
void outcome_of(const struct asked *a, const struct joulet_energy *e, struct outcome *out);

/* Window `number` of the cell of `length`; the same for the same seed. `devices` differ. */
void window_run(const struct row *row, size_t length, uint64_t seed, uint64_t number, uint64_t devices, struct outcome *out);

#endif
