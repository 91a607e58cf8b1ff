/* rows.c - the table: what is simulated, and the goals, in per cent (docs/accuracy.md).
 *
 * 0: no such cell. The columns are window_lengths: 10, 20, 50, 100, 200, 300, 500 ms, 1, 2, 10 s. */
#include "bench/accuracy/rows.h"

#include <math.h>

#define MS            1e-3
#define SHARP         2.0
#define ISOLATED      2.6
#define ISOLATED_LONG 3.2 /* windows of a second: one bound on the lag for all */

#define RAPL_LOCKED_CAL                                                                                                          \
    {                                                                                                                            \
        0, 1.1, 0.4, 0.2, 0.1, 0, 0.04, 0.02, 0.01, 0.01                                                                         \
    }
#define RAPL_LOCKED_NOT                                                                                                          \
    {                                                                                                                            \
        0, 1.4, 0.6, 0.3, 0.13, 0, 0.055, 0.03, 0.015, 0.01                                                                      \
    }
#define FULL_CAL                                                                                                                 \
    {                                                                                                                            \
        0, 0, 6, 2.6, 1.1, 0, 0.38, 0.2, 0.09, 0.025                                                                             \
    }
#define FULL_NOT                                                                                                                 \
    {                                                                                                                            \
        0, 0, 8, 4, 1.3, 0, 0.45, 0.22, 0.11, 0.025                                                                              \
    }
#define QUICK                                                                                                                    \
    {                                                                                                                            \
        0, 6.8, 2.4, 1.2, 0.6, 0, 0.25, 0.12, 0.06, 0.015                                                                        \
    }
#define PARTIAL_NOT                                                                                                              \
    {                                                                                                                            \
        0, 0, 0, 24, 11, 0, 3.7, 1.6, 0.6, 0.12                                                                                  \
    }
#define WHOLE_NOT                                                                                                                \
    {                                                                                                                            \
        0, 0, 8, 3.6, 2, 0, 0.66, 0.37, 0.22, 0.055                                                                              \
    }
#define NO_GOAL                                                                                                                  \
    {                                                                                                                            \
        0, 0, NAN, NAN, NAN, 0, NAN, NAN, NAN, NAN                                                                               \
    }

#define SLOW_LENGTHS                                                                                                             \
    {                                                                                                                            \
        0, 0, 0, 0, 0, 0, 0, 0, 0, NAN, NAN, NAN, NAN, NAN                                                                       \
    }
#define SLOW_LONG                                                                                                                \
    {                                                                                                                            \
        0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, NAN, NAN                                                                             \
    }

#define RAPL        .cpu = true, .period_s = 1 * MS
#define COUNTER_100 .period_s = 100 * MS
#define COUNTER_20  .period_s = 20 * MS
#define POWER(w, u) .power = true, .window_s = (w)*MS, .period_s = (u)*MS
#define PHASE       .shape = SHAPE_PHASE, .sharpness = SHARP
#define STEADY      .shape = SHAPE_STEADY, .sharpness = SHARP
#define WHOLE       .shape = SHAPE_ISOLATED
#define CAL         .calibrated = true
#define LOCKED      .locked = true
#define PLUG(x)     .slow = true, .power = true, .period_s = 1, .window_s = 1, .shows = SHOWS_##x, .rms = SLOW_LENGTHS
#define BMC(x)      .slow = true, .power = true, .period_s = 5, .window_s = 5, .shows = SHOWS_##x, .rms = SLOW_LONG

const struct row rows[] = {
    {"rapl-steady-locked", "steady load, RAPL, event-locked", STEADY, RAPL, LOCKED, CAL,
     .rms = {0, 0.2, 0.06, 0.03, 0.02, 0, 0.01, 0.01, 0.01, 0.01}},
    {"rapl-steady-polled", "steady load, RAPL, polled", STEADY, RAPL, CAL,
     .rms = {0, 2.2, 0.8, 0.4, 0.2, 0, 0.08, 0.04, 0.02, 0.01}},
    {"rapl-locked-cal", "phase in a run, RAPL, event-locked, calibrated", PHASE, RAPL, LOCKED, CAL, .rms = RAPL_LOCKED_CAL,
     .pooled = true},
    {"rapl-locked-not", "phase in a run, RAPL, event-locked, not calibrated", PHASE, RAPL, LOCKED, .rms = RAPL_LOCKED_NOT,
     .pooled = true},
    {"rapl-polled-cal", "phase in a run, RAPL, polled, calibrated", PHASE, RAPL, CAL,
     .rms = {0, 2.1, 0.75, 0.36, 0.19, 0, 0.065, 0.035, 0.02, 0.01}, .pooled = true},
    {"c100-steady", "steady load, counter of 100 ms", STEADY, COUNTER_100, CAL,
     .rms = {0, 8.5, 3.6, 1.4, 0.55, 0, 0.18, 0.09, 0.045, 0.01}},
    {"c100-cal", "phase in a run, counter of 100 ms, calibrated", PHASE, COUNTER_100, CAL, .rms = FULL_CAL, .pooled = true},
    {"p100-cal", "phase in a run, power 100/100, calibrated", PHASE, POWER(100, 100), CAL, .rms = FULL_CAL, .pooled = true},
    {"c100-not", "phase in a run, counter of 100 ms, not calibrated", PHASE, COUNTER_100, .rms = FULL_NOT, .pooled = true},
    {"p100-not", "phase in a run, power 100/100, not calibrated", PHASE, POWER(100, 100), .rms = FULL_NOT, .pooled = true},
    {"c100-cal-5ms", "phase in a run, counter of 100 ms, calibrated, polled at 5 ms only", PHASE, COUNTER_100, CAL,
     .poll_only = true, .rms = {0, 0, 8.5, 3.6, 1.6, 0, 0.55, 0.28, 0.14, 0.03}, .pooled = true},
    {"c20-steady", "steady load, counter of 20 ms", STEADY, COUNTER_20, CAL,
     .rms = {0, 2.7, 1.1, 0.47, 0.21, 0, 0.08, 0.05, 0.025, 0.01}},
    {"c20-cal", "phase in a run, counter of 20 ms, calibrated", PHASE, COUNTER_20, CAL, .rms = QUICK, .pooled = true},
    {"c20-not", "phase in a run, counter of 20 ms, not calibrated", PHASE, COUNTER_20, .rms = QUICK, .pooled = true},
    {"p1000-cal", "phase in a run, power 1000/100, calibrated", PHASE, POWER(1000, 100), CAL,
     .rms = {0, 0, 15, 6.6, 3, 0, 1, 0.42, 0.2, 0.05}},
    {"p10-cal", "phase in a run, power 10/20, calibrated", PHASE, POWER(10, 20), CAL,
     .rms = {0, 0, 6.8, 4.4, 1.8, 0, 0.6, 0.33, 0.18, 0.04}},
    {"p25-cal", "phase in a run, power 25/100, calibrated", PHASE, POWER(25, 100), CAL,
     .rms = {0, 0, 0, 0, 3.6, 0, 1.3, 0.67, 0.4, 0.13}},
    {"p1000-not", "phase in a run, power 1000/100, not calibrated", PHASE, POWER(1000, 100), .rms = PARTIAL_NOT},
    {"p10-not", "phase in a run, power 10/20, not calibrated", PHASE, POWER(10, 20), .rms = PARTIAL_NOT},
    {"p25-not", "phase in a run, power 25/100, not calibrated", PHASE, POWER(25, 100),
     .rms = {0, 0, 0, 0, 11, 0, 3.7, 1.6, 0.6, 0.12}},
    {"c100-isolated", "isolated run with tail, counter of 100 ms, not calibrated", WHOLE, COUNTER_100, .sharpness = ISOLATED,
     .rms = WHOLE_NOT},
    {"p100-isolated", "isolated run with tail, power 100/100, not calibrated", WHOLE, POWER(100, 100), .sharpness = ISOLATED,
     .rms = WHOLE_NOT},
    {"p1000-isolated", "isolated run with tail, power 1000/100, not calibrated", WHOLE, POWER(1000, 100),
     .sharpness = ISOLATED_LONG, .rms = WHOLE_NOT},
    {"rapl-isolated", "isolated run with tail, RAPL, not calibrated", WHOLE, RAPL, LOCKED, .sharpness = ISOLATED,
     .rms = {0, 0, 0.65, 0.33, 0.15, 0, 0.06, 0.035, 0.02, 0.01}},
    {"p25-repeats", "isolated run, power 25/100, 8 repeats at chosen places of the grid, net", .shape = SHAPE_REPEATS,
     POWER(25, 100), CAL, .sharpness = ISOLATED, .rms = {NAN, 3.5, 2, 1, 0.8, NAN, 0.5, 0.4, 0.3, 0.1},
     .mean = {4, 4, 1.5, 1.5, 1.5, 1.5}, .p95 = {8, 8, 3.5, 3.5, 3.5, 3.5}},
    {"p25-others", "bursts of others, 32 to 40, power 25/100, calibrated, net", .shape = SHAPE_OTHERS, POWER(25, 100), CAL,
     .sharpness = ISOLATED, .rms = {0, 0, 3.5, 2.5, 1.2, NAN}, .mean = {0, 0, 2.5, 2.5, 2.5, 2.5},
     .p95 = {0, 0, 6.5, 6.5, 6.5, 6.5}},
    {"p25-others-two", "bursts of others that are a prefill and a decode each", .shape = SHAPE_OTHERS, POWER(25, 100), CAL,
     .two_levels = true, .rms = {0, 0, NAN, NAN, NAN, NAN}},
    {"p25-others-short", "bursts of others, too short for the sensor", .shape = SHAPE_OTHERS, POWER(25, 100), CAL,
     .bounds_only = true, .rms = {NAN, NAN}},
    {"p25-others-locked", "bursts of others in the rhythm of the sensor", .shape = SHAPE_OTHERS, POWER(25, 100), CAL,
     .aliased = true, .bounds_only = true, .rms = {0, 0, NAN, NAN, NAN, NAN}},
    {"powermetrics-cal", "phase in a run, powermetrics (spans of 116 to 129 ms), calibrated", PHASE, POWER(122.5, 122.5), CAL,
     .preset = "powermetrics", .texts = true, .around_s = 10, .rms = FULL_CAL, .pooled = true},
    {"powermetrics-not", "phase in a run, powermetrics (spans of 116 to 129 ms), not calibrated", PHASE, POWER(122.5, 122.5),
     .preset = "powermetrics", .texts = true, .around_s = 10, .rms = FULL_NOT, .pooled = true},
    {"apple-not", "phase in a run, counter in batches of 0.8 to 1.7 s with the driver's time", PHASE, .preset = "apple",
     .around_s = 11, .shown_only = true, .rms = {0, 0, 0, 0, NAN, 0, NAN, NAN, NAN, NAN}},
    {"amd-energy-not", "phase in a run, AMD accumulator with its own time", PHASE, .preset = "amdgpu-energy", .shown_only = true,
     .rms = NO_GOAL},
    {"amd-power-not", "phase in a run, AMD power through a filter of 100 ms, steps of 1 W", PHASE, POWER(200, 10),
     .preset = "amdgpu-power", .shown_only = true, .rms = {0, 0, 0, 0, NAN, 0, NAN, NAN, NAN, NAN}},
    {"net-c100", "net energy of a run of 200 W above 60 W, counter of 100 ms, gain and baseline of 10 s in the interval",
     .shape = SHAPE_NET, COUNTER_100, .rms = {0, 0, 0, 0, 0, 0, 0, 1, 1, 1}},
    {"c100-late-cal", "steps that come late, counter of 100 ms, calibrated", PHASE, COUNTER_100, CAL, .late = true,
     .rms = NO_GOAL},
    {"c100-late-not", "steps that come late, counter of 100 ms, not calibrated", PHASE, COUNTER_100, .late = true,
     .rms = NO_GOAL},
    {"plug-mean-run", "plug of 1 s, means of a second: a run, steady inside", .shape = SHAPE_WORK, PLUG(MEAN)},
    {"plug-mean-restless", "plug of 1 s, means of a second: more steps near its ends", .shape = SHAPE_RESTLESS, PLUG(MEAN)},
    {"plug-mean-anytime", "plug of 1 s, means of a second: steps and moments apart", .shape = SHAPE_ANYTIME, PLUG(MEAN)},
    {"plug-mean-steady", "plug of 1 s, means of a second: steady power", .shape = SHAPE_STEADY, PLUG(MEAN)},
    {"plug-filtered-run", "plug of 1 s, filtered: a run, steady inside", .shape = SHAPE_WORK, PLUG(FILTERED)},
    {"plug-filtered-restless", "plug of 1 s, filtered: more steps near its ends", .shape = SHAPE_RESTLESS, PLUG(FILTERED)},
    {"plug-filtered-anytime", "plug of 1 s, filtered: steps and moments apart", .shape = SHAPE_ANYTIME, PLUG(FILTERED)},
    {"plug-filtered-steady", "plug of 1 s, filtered: steady power", .shape = SHAPE_STEADY, PLUG(FILTERED)},
    {"plug-moment-run", "plug of 1 s, power of one moment: a run, steady inside", .shape = SHAPE_WORK, PLUG(MOMENT)},
    {"plug-moment-restless", "plug of 1 s, power of one moment: more steps near its ends", .shape = SHAPE_RESTLESS, PLUG(MOMENT)},
    {"plug-moment-anytime", "plug of 1 s, power of one moment: steps and moments apart", .shape = SHAPE_ANYTIME, PLUG(MOMENT)},
    {"plug-moment-steady", "plug of 1 s, power of one moment: steady power", .shape = SHAPE_STEADY, PLUG(MOMENT)},
    {"plug-mean-brief", "plug of 1 s, means of a second: further steps, and only 2 s before the run and after it",
     .shape = SHAPE_RESTLESS, PLUG(MEAN), .around_s = 2},
    {"plug-filtered-brief", "plug of 1 s, filtered: further steps, and only 2 s before the run and after it",
     .shape = SHAPE_RESTLESS, PLUG(FILTERED), .around_s = 2},
    {"plug-moment-brief", "plug of 1 s, power of one moment: further steps, and only 2 s before the run and after it",
     .shape = SHAPE_RESTLESS, PLUG(MOMENT), .around_s = 2},
    {"bmc-mean-run", "controller of 5 s, means: a run, steady inside", .shape = SHAPE_WORK, BMC(MEAN)},
    {"bmc-mean-restless", "controller of 5 s, means: more steps near its ends", .shape = SHAPE_RESTLESS, BMC(MEAN)},
    {"bmc-mean-anytime", "controller of 5 s, means: steps and moments apart", .shape = SHAPE_ANYTIME, BMC(MEAN)},
    {"bmc-filtered-run", "controller of 5 s, filtered: a run, steady inside", .shape = SHAPE_WORK, BMC(FILTERED)},
    {"bmc-filtered-restless", "controller of 5 s, filtered: more steps near its ends", .shape = SHAPE_RESTLESS, BMC(FILTERED)},
    {"bmc-filtered-anytime", "controller of 5 s, filtered: steps and moments apart", .shape = SHAPE_ANYTIME, BMC(FILTERED)},
    {"bmc-moment-run", "controller of 5 s, power of one moment: a run, steady inside", .shape = SHAPE_WORK, BMC(MOMENT)},
    {"bmc-moment-restless", "controller of 5 s, power of one moment: more steps near its ends", .shape = SHAPE_RESTLESS,
     BMC(MOMENT)},
    {"bmc-moment-anytime", "controller of 5 s, power of one moment: steps and moments apart", .shape = SHAPE_ANYTIME,
     BMC(MOMENT)},
};
const size_t n_rows = JL_COUNT(rows);
