/* Names of processors: the first line is the kernel's name, the rest a list. The real list is asked too. */
#include "lib/sensors/cpu_tdp.h"
#include "lib/sensors/sensor.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static unsigned calls;
    char row[64];
    const uint8_t *end = size ? memchr(data, '\n', size) : NULL;
    size_t n = end ? (size_t)(end - data) : size;
    char *name = malloc(n + 1);
    if (!name)
        return 0;
    if (n)
        memcpy(name, data, n);
    name[n] = '\0';
    double tdp = end ? cpu_tdp_find((const char *)end + 1, size - n - 1, name, row, sizeof(row)) : NAN;
    if (!isnan(tdp) && !(tdp > 0))
        abort();
    if (calls++ % 64 == 0) /* 4900 rows: now and then */
        tdp = jl_cpu_tdp(name);
    free(name);
    return 0;
}
