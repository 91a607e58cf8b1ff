/* nvml_gpu.h - one GPU behind the NVIDIA library, and the calls that read it. */
#ifndef JL_NVML_GPU_H
#define JL_NVML_GPU_H

#include "lib/sensors/nvml_api.h"
#include "lib/sensors/sensor.h"

#include <stdatomic.h>

#define NVML_FIELDS_MAX   4
#define NVML_CHANNELS_MAX 16

/* The library, shared by the sensors of its GPUs; the last one closes it. */
struct nvml_library {
    void *handle;
    struct nvml_api api;
    atomic_int users;
    enum joulet_provenance provenance;
    char driver[80];
};

struct nvml_gpu;
typedef int nvml_gauge(struct nvml_gpu *g, int arg, int64_t *value);

/* Where the value of one channel comes from. */
struct nvml_source {
    int field;       /* index in gpu.fields; -1: a call */
    nvml_gauge *get; /* when it is a call */
    int arg;
    int64_t scale; /* library's unit to the channel's */
    bool counter, gauge;
};

struct nvml_gpu {
    struct sensor base;
    struct nvml_library *lib;
    struct nvml_device *device;
    char id[16], name[96];
    bool mig;
    double limit_w; /* NAN unknown */
    struct nvml_timing timing;
    struct nvml_source sources[NVML_CHANNELS_MAX]; /* one for each channel */
    struct nvml_field_value fields[NVML_FIELDS_MAX];
    int n_fields;
    int64_t last, total; /* of the energy counter */
    bool started, away;  /* away: it fell off the bus, and may have counted anew since */
};

/* Each gives the library's code, and a value in the library's unit: mJ, mW, degrees, MHz, per cent, bytes, and the bits of
 * enum joulet_throttle. A value below 0 means "not available". */
nvml_gauge nvml_get_energy, nvml_get_power, nvml_get_limit, nvml_get_temperature, nvml_get_clock, nvml_get_utilisation,
    nvml_get_memory, nvml_get_throttle;

/* sensor_ops.processes: compute processes of the board and, where it is cut into instances (MIG), of those. */
size_t nvml_processes(struct sensor *s, struct joulet_process *out, size_t n);

#endif
