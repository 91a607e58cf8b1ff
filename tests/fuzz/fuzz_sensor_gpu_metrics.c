/* The binary table of AMD graphics: any bytes, read no further than their end, and what is said to be there lies inside. */
#include "lib/sensors/gpu_metrics.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct gpu_metrics m;
    uint8_t *bytes = malloc(size ? size : 1); /* without room behind it */
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes, data, size);
    enum gpu_metrics_result r = gpu_metrics_parse(bytes, size, &m);
    if (r == GPU_METRICS_OK && m.size > size)
        abort();
    if (r != GPU_METRICS_OK && (m.has_energy || m.has_power || m.has_stamp))
        abort();
    if (m.has_power && !(m.power_w >= 0 && m.power_w < 5e6))
        abort();
    if (m.has_energy && (m.energy == UINT64_MAX || m.energy == UINT32_MAX))
        abort();
    free(bytes);
    return 0;
}
