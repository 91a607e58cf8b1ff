/* nvml_calls.c - single calls into the NVIDIA library: gauges and processes. A function that this library lacks is "not
 * supported". */
#include "lib/sensors/nvml_gpu.h"

#include <stdlib.h>

#define MIG_MAX 64

static int64_t known_u32(unsigned v)
{
    return v == UINT32_MAX ? -1 : (int64_t)v;
}

int nvml_get_energy(struct nvml_gpu *g, int arg, int64_t *value)
{
    unsigned long long mj = 0;
    int code = g->lib->api.energy ? g->lib->api.energy(g->device, &mj) : NVML_NOT_SUPPORTED;
    (void)arg;
    *value = (int64_t)mj;
    return code;
}

int nvml_get_power(struct nvml_gpu *g, int arg, int64_t *value)
{
    unsigned mw = 0;
    int code = g->lib->api.power ? g->lib->api.power(g->device, &mw) : NVML_NOT_SUPPORTED;
    (void)arg;
    *value = known_u32(mw);
    return code;
}

int nvml_get_limit(struct nvml_gpu *g, int arg, int64_t *value)
{
    const struct nvml_api *api = &g->lib->api;
    unsigned mw = 0;
    int code = api->enforced_limit ? api->enforced_limit(g->device, &mw) : NVML_NOT_SUPPORTED;
    (void)arg;
    if (code == NVML_NOT_SUPPORTED && api->management_limit)
        code = api->management_limit(g->device, &mw);
    *value = known_u32(mw);
    return code;
}

int nvml_get_temperature(struct nvml_gpu *g, int arg, int64_t *value)
{
    const struct nvml_api *api = &g->lib->api;
    struct nvml_temperature t = {.version = NVML_TEMPERATURE_VERSION};
    unsigned celsius = 0;
    int code = api->temperature ? api->temperature(g->device, arg, &celsius) : NVML_NOT_SUPPORTED;
    *value = known_u32(celsius);
    if (code == NVML_NOT_SUPPORTED && api->temperature_v) {
        code = api->temperature_v(g->device, &t);
        *value = t.celsius;
    }
    return code;
}

int nvml_get_clock(struct nvml_gpu *g, int arg, int64_t *value)
{
    unsigned mhz = 0;
    int code = g->lib->api.clock ? g->lib->api.clock(g->device, arg, &mhz) : NVML_NOT_SUPPORTED;
    *value = known_u32(mhz);
    return code;
}

int nvml_get_utilisation(struct nvml_gpu *g, int arg, int64_t *value)
{
    struct nvml_utilization u = {0, 0};
    int code = g->lib->api.utilization ? g->lib->api.utilization(g->device, &u) : NVML_NOT_SUPPORTED;
    (void)arg;
    *value = known_u32(u.gpu);
    return code;
}

int nvml_get_memory(struct nvml_gpu *g, int arg, int64_t *value)
{
    struct nvml_memory m = {0, 0, 0};
    int code = g->lib->api.memory ? g->lib->api.memory(g->device, &m) : NVML_NOT_SUPPORTED;
    (void)arg;
    *value = (int64_t)m.used;
    return code;
}

int nvml_get_throttle(struct nvml_gpu *g, int arg, int64_t *value)
{
    enum { POWER_CAP = 0x4, HW_SLOWDOWN = 0x8, SW_THERMAL = 0x20, HW_THERMAL = 0x40, POWER_BRAKE = 0x80 };
    unsigned long long bits = 0;
    int code = g->lib->api.reasons ? g->lib->api.reasons(g->device, &bits) : NVML_NOT_SUPPORTED;
    (void)arg;
    *value = (bits & POWER_CAP ? JOULET_THROTTLE_POWER_CAP : 0) |
             (bits & (SW_THERMAL | HW_THERMAL) ? JOULET_THROTTLE_THERMAL : 0) |
             (bits & POWER_BRAKE ? JOULET_THROTTLE_POWER_BRAKE : 0) |
             ((bits & HW_SLOWDOWN) && !(bits & (HW_THERMAL | POWER_BRAKE)) ? JOULET_THROTTLE_HW_SLOWDOWN : 0);
    return code;
}

/* ---- processes -------------------------------------------------------------------------------------------------- */

struct process_list {
    struct joulet_process *out;
    size_t room, n;
    const char *device;
};

static void add_process(struct process_list *l, uint32_t pid, uint64_t memory)
{
    size_t seen = l->n < l->room ? l->n : l->room;
    for (size_t i = 0; i < seen; i++)
        if (l->out[i].pid == pid)
            return;
    if (l->n < l->room)
        l->out[l->n] = (struct joulet_process){l->device, pid, memory};
    l->n++;
}

static void list_processes(const struct nvml_api *api, struct nvml_device *d, struct process_list *l)
{
    unsigned n = 0;
    int code = api->processes(d, &n, NULL);
    if (code != NVML_INSUFFICIENT_SIZE || n == 0 || n > 65536)
        return;
    n += 16; /* some may start in between */
    struct nvml_process *records = calloc(n, sizeof(*records));
    const struct nvml_process_v1 *old = (const void *)records;
    if (records && api->processes(d, &n, records) == NVML_SUCCESS)
        for (unsigned i = 0; i < n; i++)
            add_process(l, api->processes_v1 ? old[i].pid : records[i].pid,
                        api->processes_v1 ? old[i].memory : records[i].memory);
    free(records);
}

size_t nvml_processes(struct sensor *s, struct joulet_process *out, size_t n)
{
    struct nvml_gpu *g = jl_container_of(s, struct nvml_gpu, base);
    const struct nvml_api *api = &g->lib->api;
    struct process_list l = {.out = out, .room = n, .device = g->id};
    unsigned instances = 0;
    if (!api->processes)
        return 0;
    list_processes(api, g->device, &l);
    if (!g->mig || !api->mig_count || !api->mig_device || api->mig_count(g->device, &instances) != NVML_SUCCESS)
        return l.n;
    for (unsigned i = 0; i < instances && i < MIG_MAX; i++) {
        struct nvml_device *part;
        if (api->mig_device(g->device, i, &part) == NVML_SUCCESS)
            list_processes(api, part, &l);
    }
    return l.n;
}
