/* Texts of the power PMU, and numbers as sysfs prints them (hwmon, power_supply): two lines, the second for what needs a format.
 */
#include "lib/sensors/perf.h"
#include "lib/sensors/sysfile.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    int cpus[16], n;
    double scale;
    uint64_t config;
    int64_t number;
    char *text = malloc(size + 1), *bytes = malloc(size ? size : 1);
    if (!text || !bytes)
        abort();
    memcpy(text, data, size);
    text[size] = '\0';
    if (size)
        memcpy(bytes, data, size);
    if (sysfile_parse(bytes, size, &number) && number < 0 && text[0] != '-') /* zeros may lead, however many */
        abort();
    if (perf_parse_scale(text, &scale) && !(scale > 0 && scale <= 1))
        abort();
    n = perf_parse_cpus(text, cpus, 16);
    for (int i = 0; i < n; i++)
        if (n > 16 || cpus[i] < 0 || cpus[i] > 65535)
            abort();
    char *second = strchr(text, '\n');
    if (second)
        *second++ = '\0';
    if (perf_parse_event(text, second ? second : "config:0-7", &config) && !second && config > 0xff)
        abort();
    free(bytes);
    free(text);
    return 0;
}
