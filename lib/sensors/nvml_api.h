/* nvml_api.h - the part of NVIDIA's management library that is used, declared by ourselves: no vendor header is needed to build.
 * Layouts, values and names are those of API version 13 on a 64-bit machine; older drivers know a subset. */
#ifndef JL_NVML_API_H
#define JL_NVML_API_H

#include "lib/base/base.h"

struct nvml_device; /* opaque, passed by address */

enum nvml_code {
    NVML_SUCCESS = 0,
    NVML_NOT_SUPPORTED = 3,
    NVML_NO_PERMISSION = 4,
    NVML_INSUFFICIENT_SIZE = 7,
    NVML_DRIVER_NOT_LOADED = 9,
    NVML_GPU_IS_LOST = 15,
    NVML_VERSION_MISMATCH = 18,
    NVML_NO_DATA = 21,
    NVML_GPU_NOT_FOUND = 28,
};

enum nvml_field {
    NVML_FIELD_ENERGY = 83,         /* mJ since the driver was loaded */
    NVML_FIELD_POWER_AVERAGE = 185, /* mW over 1 s */
    NVML_FIELD_POWER_INSTANT = 186, /* mW */
    NVML_FIELD_ENERGY_SCOPED = 191, /* mJ of the scope */
};
enum nvml_scope { NVML_SCOPE_GPU = 0, NVML_SCOPE_MODULE = 1 };

enum nvml_value_type { NVML_DOUBLE, NVML_UINT, NVML_ULONG, NVML_ULLONG, NVML_LLONG, NVML_INT, NVML_USHORT };

struct nvml_field_value {
    uint32_t field, scope;
    int64_t timestamp_us; /* wall clock: of no use here */
    int64_t latency_us;
    int32_t value_type;
    int32_t code; /* the rest means something only if this is NVML_SUCCESS */
    union {
        double d;
        uint32_t ui;
        unsigned long ul;
        uint64_t ull;
        int64_t sll;
        int32_t si;
        uint16_t us;
    } value;
};
_Static_assert(sizeof(struct nvml_field_value) == 40, "layout of the library");

struct nvml_memory {
    uint64_t total, free, used;
};
struct nvml_utilization {
    uint32_t gpu, memory; /* per cent */
};
struct nvml_temperature {
    uint32_t version;
    int32_t sensor, celsius;
};
#define NVML_TEMPERATURE_VERSION (sizeof(struct nvml_temperature) | (1u << 24))

struct nvml_process {
    uint32_t pid;
    uint64_t memory;
    uint32_t gpu_instance, compute_instance;
};
struct nvml_process_v1 { /* of the symbol without a version */
    uint32_t pid;
    uint64_t memory;
};
_Static_assert(sizeof(struct nvml_process) == 24 && sizeof(struct nvml_process_v1) == 16, "layout of the library");

/* NULL: this library lacks it. */
struct nvml_api {
    int (*init)(void);
    int (*shutdown)(void);
    const char *(*error_string)(int code);
    int (*driver_version)(char *buf, unsigned size);
    int (*count)(unsigned *n);
    int (*device)(unsigned index, struct nvml_device **out);
    int (*name)(struct nvml_device *d, char *buf, unsigned size);
    int (*uuid)(struct nvml_device *d, char *buf, unsigned size);
    int (*architecture)(struct nvml_device *d, unsigned *arch);
    int (*capability)(struct nvml_device *d, int *major, int *minor);
    int (*fields)(struct nvml_device *d, int n, struct nvml_field_value *values);
    int (*energy)(struct nvml_device *d, unsigned long long *mj);
    int (*power)(struct nvml_device *d, unsigned *mw);
    int (*enforced_limit)(struct nvml_device *d, unsigned *mw);
    int (*management_limit)(struct nvml_device *d, unsigned *mw);
    int (*default_limit)(struct nvml_device *d, unsigned *mw);
    int (*temperature)(struct nvml_device *d, int sensor, unsigned *celsius);
    int (*temperature_v)(struct nvml_device *d, struct nvml_temperature *t);
    int (*clock)(struct nvml_device *d, int type, unsigned *mhz);
    int (*utilization)(struct nvml_device *d, struct nvml_utilization *u);
    int (*memory)(struct nvml_device *d, struct nvml_memory *m);
    int (*reasons)(struct nvml_device *d, unsigned long long *bits);
    int (*persistence)(struct nvml_device *d, int *mode);
    int (*mig_mode)(struct nvml_device *d, unsigned *current, unsigned *pending);
    int (*mig_count)(struct nvml_device *d, unsigned *n);
    int (*mig_device)(struct nvml_device *d, unsigned index, struct nvml_device **out);
    int (*processes)(struct nvml_device *d, unsigned *n, void *records);
    bool processes_v1; /* `records` are struct nvml_process_v1, else struct nvml_process: the driver writes with its own stride */
};

/* Looks up every symbol, the newest version first. Name of the first required one that is missing, NULL when all are there. */
const char *nvml_api_load(struct nvml_api *api, void *lib);

/* One sentence for an error of init or of the device list: what is wrong and what helps; and its status. */
enum joulet_status nvml_explain(const struct nvml_api *api, int code, char *buf, size_t size);

/* Value of a field by the type that the driver says it has; false for an unknown type, a negative number, or all ones, which
 * mean "not available". */
bool nvml_value(const struct nvml_field_value *f, int64_t *out);

/* How the power readings of an architecture come about (1.1): seconds. */
struct nvml_timing {
    double counter_period_s, power_period_s;
    double instant_s; /* window of field 186 and of an instantaneous "power usage" */
    double average_s; /* window of field 185 and of an averaged "power usage" */
    bool usage_is_average;
};
/* arch: number of nvmlDeviceGetArchitecture; major, minor: compute capability; driver: its major version, 0 unknown. */
struct nvml_timing nvml_timing_of(unsigned arch, int major, int minor, const char *name, int driver);
/* "hopper", "" unknown */
const char *nvml_architecture_name(unsigned arch);

#endif
