/* nvml_api.c - finds the functions of the NVIDIA library by name, and knows what its numbers mean.
 * Versioned names come first: a newer library keeps the old ones for old programs, with the old layouts. */
#include "lib/sensors/nvml_api.h"

#include "lib/platform/platform.h"

#include <stdio.h>
#include <string.h>

struct symbol {
    size_t slot;
    bool required;
    const char *names[3]; /* newest first */
};
#define SLOT(member) offsetof(struct nvml_api, member)
static const struct symbol symbols[] = {
    {SLOT(init), true, {"nvmlInit_v2", "nvmlInit"}},
    {SLOT(shutdown), true, {"nvmlShutdown"}},
    {SLOT(error_string), false, {"nvmlErrorString"}},
    {SLOT(driver_version), false, {"nvmlSystemGetDriverVersion"}},
    {SLOT(count), true, {"nvmlDeviceGetCount_v2", "nvmlDeviceGetCount"}},
    {SLOT(device), true, {"nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetHandleByIndex"}},
    {SLOT(name), false, {"nvmlDeviceGetName"}},
    {SLOT(uuid), false, {"nvmlDeviceGetUUID"}},
    {SLOT(architecture), false, {"nvmlDeviceGetArchitecture"}},
    {SLOT(capability), false, {"nvmlDeviceGetCudaComputeCapability"}},
    {SLOT(fields), false, {"nvmlDeviceGetFieldValues"}},
    {SLOT(energy), false, {"nvmlDeviceGetTotalEnergyConsumption"}},
    {SLOT(power), false, {"nvmlDeviceGetPowerUsage"}},
    {SLOT(enforced_limit), false, {"nvmlDeviceGetEnforcedPowerLimit"}},
    {SLOT(management_limit), false, {"nvmlDeviceGetPowerManagementLimit"}},
    {SLOT(default_limit), false, {"nvmlDeviceGetPowerManagementDefaultLimit"}},
    {SLOT(temperature), false, {"nvmlDeviceGetTemperature"}},
    {SLOT(temperature_v), false, {"nvmlDeviceGetTemperatureV"}},
    {SLOT(clock), false, {"nvmlDeviceGetClockInfo"}},
    {SLOT(utilization), false, {"nvmlDeviceGetUtilizationRates"}},
    {SLOT(memory), false, {"nvmlDeviceGetMemoryInfo"}},
    {SLOT(reasons), false, {"nvmlDeviceGetCurrentClocksEventReasons", "nvmlDeviceGetCurrentClocksThrottleReasons"}},
    {SLOT(persistence), false, {"nvmlDeviceGetPersistenceMode"}},
    {SLOT(mig_mode), false, {"nvmlDeviceGetMigMode"}},
    {SLOT(mig_count), false, {"nvmlDeviceGetMaxMigDeviceCount"}},
    {SLOT(mig_device), false, {"nvmlDeviceGetMigDeviceHandleByIndex"}},
};

static void *find_symbol(void *lib, const struct symbol *s)
{
    void *p = NULL;
    for (size_t i = 0; i < JL_COUNT(s->names) && s->names[i] && !p; i++)
        p = jl_lib_symbol(lib, s->names[i]);
    return p;
}

/* Records of the second and third version are alike; those of the first are shorter. */
static void find_processes(struct nvml_api *api, void *lib)
{
    static const struct symbol sized = {0,
                                        false,
                                        {"nvmlDeviceGetComputeRunningProcesses_v3", "nvmlDeviceGetComputeRunningProcesses_v2"}},
                               plain = {0, false, {"nvmlDeviceGetComputeRunningProcesses"}};
    void *p = find_symbol(lib, &sized);
    api->processes_v1 = !p;
    if (!p)
        p = find_symbol(lib, &plain);
    memcpy(&api->processes, &p, sizeof(p));
}

const char *nvml_api_load(struct nvml_api *api, void *lib)
{
    memset(api, 0, sizeof(*api));
    for (size_t i = 0; i < JL_COUNT(symbols); i++) {
        void *p = find_symbol(lib, &symbols[i]);
        if (!p && symbols[i].required)
            return symbols[i].names[0];
        memcpy((char *)api + symbols[i].slot, &p, sizeof(p));
    }
    find_processes(api, lib);
    return NULL;
}

enum joulet_status nvml_explain(const struct nvml_api *api, int code, char *buf, size_t size)
{
    static const struct {
        int code;
        enum joulet_status status;
        const char *sentence;
    } known[] = {
        {NVML_VERSION_MISMATCH, JOULET_UNSUPPORTED,
         "the NVIDIA driver in the kernel and its library libnvidia-ml are of different versions, typically after an update: "
         "restart the machine, or reload the nvidia kernel modules"},
        {NVML_DRIVER_NOT_LOADED, JOULET_NO_SENSOR,
         "the NVIDIA library is installed but its kernel driver is not loaded: run `sudo modprobe nvidia`, or in a container "
         "start it with the GPU (`--gpus all`); without an NVIDIA GPU this means nothing"},
        {NVML_NO_PERMISSION, JOULET_PERMISSION,
         "the NVIDIA devices may not be used by this user: give it access to /dev/nvidia*, or run as root"},
        {NVML_GPU_IS_LOST, JOULET_GONE, "the GPU fell off the bus: restart the machine and look at `dmesg` for the cause"},
    };
    for (size_t i = 0; i < JL_COUNT(known); i++)
        if (known[i].code == code) {
            snprintf(buf, size, "%s", known[i].sentence);
            return known[i].status;
        }
    const char *text = api->error_string ? api->error_string(code) : NULL;
    snprintf(buf, size, "the NVIDIA library answers with error %d (%s): check that `nvidia-smi` works", code,
             text ? text : "no text");
    return JOULET_IO;
}

bool nvml_value(const struct nvml_field_value *f, int64_t *out)
{
    switch (f->value_type) {
    case NVML_DOUBLE:
        *out = f->value.d >= 0 && f->value.d < 9e18 ? (int64_t)(f->value.d + 0.5) : -1;
        break;
    case NVML_UINT:
        *out = f->value.ui == UINT32_MAX ? -1 : (int64_t)f->value.ui;
        break;
    case NVML_ULONG:
        *out = (int64_t)f->value.ul;
        break;
    case NVML_ULLONG:
        *out = (int64_t)f->value.ull; /* all ones becomes -1 */
        break;
    case NVML_LLONG:
        *out = f->value.sll;
        break;
    case NVML_INT:
        *out = f->value.si;
        break;
    case NVML_USHORT:
        *out = f->value.us == UINT16_MAX ? -1 : (int64_t)f->value.us;
        break;
    default:
        return false;
    }
    return *out >= 0;
}

/* ---- architectures (1.1; docs/sensors/nvidia.md says who measured which figure) ------------------------------------ */

enum { PASCAL = 4, VOLTA = 5, TURING = 6, AMPERE = 7, ADA = 8, HOPPER = 9 };

const char *nvml_architecture_name(unsigned arch)
{
    static const char *const names[] = {
        [2] = "kepler",      [3] = "maxwell", [PASCAL] = "pascal", [VOLTA] = "volta",  [TURING] = "turing",
        [AMPERE] = "ampere", [ADA] = "ada",   [HOPPER] = "hopper", [10] = "blackwell", [13] = "rubin"};
    return arch < JL_COUNT(names) && names[arch] ? names[arch] : "";
}

struct nvml_timing nvml_timing_of(unsigned arch, int major, int minor, const char *name, int driver)
{
    struct nvml_timing t = {.counter_period_s = 0.1, .power_period_s = 0.1, .instant_s = 0.025, .average_s = 1};
    bool ga100 = major == 8 && minor == 0;
    t.usage_is_average = arch >= AMPERE && !ga100;
    if (arch == PASCAL || arch == VOLTA) {
        t.counter_period_s = t.power_period_s = 0.02;
        t.instant_s = 0.01;
    } else if (arch < HOPPER && !ga100) {
        t.instant_s = 0.1;
    } else if (strstr(name, "GH200")) {
        t.instant_s = 0.02;
    }
    if (driver == 530 && arch < HOPPER) /* this one release did not average */
        t.average_s = 0.1;
    return t;
}
