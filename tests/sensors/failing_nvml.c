/* failing_nvml.c - see failing.h: each function of the NVIDIA library behind one that may fail, and each value of a set of
 * fields. A new function in struct nvml_api wants its row here, or it never fails. */
#include "lib/sensors/nvml_api.h"
#include "tests/sensors/failing.h"

static struct nvml_api real;

#define MAY_FAIL                                                                                                                 \
    do {                                                                                                                         \
        if (failing_now(FAILING_CALL))                                                                                           \
            return failing_code();                                                                                               \
    } while (0)

/* Calls on a board that fill in one thing. */
#define ON_BOARD(name, type)                                                                                                     \
    static int try_##name(struct nvml_device *d, type *out)                                                                      \
    {                                                                                                                            \
        MAY_FAIL;                                                                                                                \
        return real.name(d, out);                                                                                                \
    }
#define ON_BOARD_TEXT(name)                                                                                                      \
    static int try_##name(struct nvml_device *d, char *buf, unsigned size)                                                       \
    {                                                                                                                            \
        MAY_FAIL;                                                                                                                \
        return real.name(d, buf, size);                                                                                          \
    }
ON_BOARD(architecture, unsigned)
ON_BOARD(energy, unsigned long long)
ON_BOARD(power, unsigned)
ON_BOARD(enforced_limit, unsigned)
ON_BOARD(management_limit, unsigned)
ON_BOARD(default_limit, unsigned)
ON_BOARD(temperature_v, struct nvml_temperature)
ON_BOARD(utilization, struct nvml_utilization)
ON_BOARD(memory, struct nvml_memory)
ON_BOARD(reasons, unsigned long long)
ON_BOARD(persistence, int)
ON_BOARD(mig_count, unsigned)
ON_BOARD_TEXT(name)
ON_BOARD_TEXT(uuid)

static int try_init(void)
{
    MAY_FAIL;
    return real.init();
}

static int try_shutdown(void)
{
    int code = real.shutdown();
    MAY_FAIL;
    return code;
}

static int try_driver_version(char *buf, unsigned size)
{
    MAY_FAIL;
    return real.driver_version(buf, size);
}

static int try_count(unsigned *n)
{
    MAY_FAIL;
    return real.count(n);
}

static int try_device(unsigned index, struct nvml_device **out)
{
    MAY_FAIL;
    return real.device(index, out);
}

static int try_capability(struct nvml_device *d, int *major, int *minor)
{
    MAY_FAIL;
    return real.capability(d, major, minor);
}

static int try_fields(struct nvml_device *d, int n, struct nvml_field_value *values)
{
    MAY_FAIL;
    int code = real.fields(d, n, values);
    for (int i = 0; i < n; i++)
        if (failing_now(FAILING_CALL))
            values[i].code = failing_code();
    return code;
}

static int try_temperature(struct nvml_device *d, int sensor, unsigned *celsius)
{
    MAY_FAIL;
    return real.temperature(d, sensor, celsius);
}

static int try_clock(struct nvml_device *d, int type, unsigned *mhz)
{
    MAY_FAIL;
    return real.clock(d, type, mhz);
}

static int try_mig_mode(struct nvml_device *d, unsigned *current, unsigned *pending)
{
    MAY_FAIL;
    return real.mig_mode(d, current, pending);
}

static int try_mig_device(struct nvml_device *d, unsigned index, struct nvml_device **out)
{
    MAY_FAIL;
    return real.mig_device(d, index, out);
}

static int try_processes(struct nvml_device *d, unsigned *n, void *records)
{
    MAY_FAIL;
    return real.processes(d, n, records);
}

const char *__real_nvml_api_load(struct nvml_api *api, void *lib);
const char *__wrap_nvml_api_load(struct nvml_api *api, void *lib);

#define PUT(name)                                                                                                                \
    if (api->name)                                                                                                               \
        api->name = try_##name;

const char *__wrap_nvml_api_load(struct nvml_api *api, void *lib)
{
    const char *missing = __real_nvml_api_load(api, lib);
    real = *api;
    PUT(init)
    PUT(shutdown)
    PUT(driver_version)
    PUT(count)
    PUT(device)
    PUT(name)
    PUT(uuid)
    PUT(architecture)
    PUT(capability)
    PUT(fields)
    PUT(energy)
    PUT(power)
    PUT(enforced_limit)
    PUT(management_limit)
    PUT(default_limit)
    PUT(temperature)
    PUT(temperature_v)
    PUT(clock)
    PUT(utilization)
    PUT(memory)
    PUT(reasons)
    PUT(persistence)
    PUT(mig_mode)
    PUT(mig_count)
    PUT(mig_device)
    PUT(processes)
    return missing;
}
