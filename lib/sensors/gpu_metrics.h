/* gpu_metrics.h - the table of AMD GPUs that `gpu_metrics` holds: what of it is about power. Pure. */
#ifndef JL_GPU_METRICS_H
#define JL_GPU_METRICS_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define GPU_METRICS_MAX     4096
#define GPU_METRICS_STEP_UJ 15.2587890625 /* 2^-16 J, which drivers also print as 15.3 uJ */

enum gpu_metrics_result {
    GPU_METRICS_OK,
    GPU_METRICS_CUT,    /* shorter than its own header says, or than its version is */
    GPU_METRICS_UNKNOWN /* a version that is not known */
};

struct gpu_metrics {
    unsigned format, content, size;
    bool apu;        /* the table of a processor with graphics: its power is that of both */
    bool documented; /* the driver names the unit of the accumulator; before, it is that of some cards only */
    bool has_energy, has_power, has_stamp;
    uint64_t energy;   /* steps */
    double power_w;    /* of the socket or board; mean or instantaneous, as the version has it */
    uint64_t stamp_ns; /* CLOCK_BOOTTIME, set by the driver */
};

/* Fields that hold all ones are not there: cards fill in so what they do not know. */
enum gpu_metrics_result gpu_metrics_parse(const uint8_t *bytes, size_t n, struct gpu_metrics *out);

#endif
