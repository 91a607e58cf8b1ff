/* Texts of powercap: counters, zone names, folder names. */
#include "lib/sensors/rapl_zone.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    uint64_t v;
    struct rapl_name name;
    struct rapl_folder folder;
    char *text = malloc(size + 1);
    if (!text)
        return 0;
    memcpy(text, data, size);
    text[size] = '\0';
    char *bytes = malloc(size ? size : 1); /* without an end: the parser must keep to its length */
    if (bytes && size)
        memcpy(bytes, data, size);
    if (bytes && rapl_parse_digits(bytes, size, &v)) {
        double q = rapl_quantum_j(v);
        if (v ? !(q > 0) : !isnan(q))
            abort();
    }
    if (rapl_parse_name(text, &name) && (name.socket < -1 || name.die < -1 || name.kind > RAPL_PSYS))
        abort();
    if (rapl_parse_folder(text, &folder) && (folder.top < 0 || folder.sub < -1))
        abort();
    free(bytes);
    free(text);
    return 0;
}
