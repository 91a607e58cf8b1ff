/* calibrate.h - inside of `joulet calibrate`: which channels, by which load, what was found, and how it is told. */
#ifndef CLI_CALIBRATE_H
#define CLI_CALIBRATE_H

#include "cli/load.h"

#define CALIBRATION_PULSE_S 0.6 /* mean of a pulse and its pause */

enum load_kind {
    LOAD_CPU,
    LOAD_ENGINE,
    LOAD_CURVE,
    LOAD_NONE, /* a GPU, and no engine was named */
    LOAD_KINDS
};

/* One channel to calibrate. */
struct target {
    size_t index; /* of the meter that described it */
    struct joulet_channel ch;
    struct joulet_calibrated entry; /* who it is; figures when it could be calibrated */
    struct joulet_calibration found;
    enum load_kind load;
    bool fast;      /* period below 10 ms: its period is found by quick reads */
    int power;      /* a counter's power readings: index of that target, -1 none */
    double found_s; /* period by quick reads; NAN not yet */
    double ratios[JOULET_READING_COUNT];
    enum joulet_status status;
    char why[512]; /* not OK: the reason */
};

struct calibration {
    const struct cli *cli;
    struct joulet *meter; /* describes: channels and facts, nothing is sampled */
    struct target *targets;
    size_t n;
    bool simulated; /* some figure is */
    int64_t n_pulses;
    uint64_t seed;
    char *follow; /* file that the simulated devices follow; NULL none */
    struct runtime_choice engine;
    bool has_engine;
    struct load *load; /* of the kind at work now */
    struct joulet_self_cost cost;
    char path[4096]; /* where results are kept; "" nowhere */
    bool kept;
    joulet_mark begun; /* for the time left */
    double planned_s;
};

/* calibrate_targets.c */
int calibration_targets(struct calibration *k);                            /* CLI_DONE or an exit code, said */
double calibration_plan(const struct calibration *k, enum load_kind kind); /* seconds; LOAD_KINDS: the whole */
const char *load_words(enum load_kind kind);                               /* "threads of our own", ... */

/* calibrate_steps.c: all that one load can tell. JOULET_CANCELLED, or what ends it altogether; else each target has its status.
 */
enum joulet_status calibration_measure(struct calibration *k, enum load_kind kind, struct joulet_error *err);
/* Options of a meter for looking: no calibration of before, interval_ns between reads (0: as usual). */
void calibration_meter_options(const struct calibration *k, int64_t interval_ns, struct joulet_options *o);
/* A line on a terminal: what is done, and about how long it takes from now. */
void calibration_progress(const struct calibration *k, const char *fmt, ...) JL_PRINTF(2, 3);
void calibration_progress_end(const struct calibration *k);

/* calibrate_cost.c */
enum joulet_status calibration_self_cost(struct calibration *k, struct joulet_error *err);
double calibration_cost_s(const struct calibration *k);

/* calibrate_report.c */
void calibration_text(const struct calibration *k, struct jl_buf *out);
void calibration_json(const struct calibration *k, struct jl_buf *out);
void calibration_text_plan(const struct calibration *k, struct jl_buf *out);
void calibration_json_plan(const struct calibration *k, struct jl_buf *out);

#endif
