/* The answer of a management controller to the question for its power. */
#include "lib/sensors/dcmi.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct dcmi_power p;
    uint8_t *bytes = malloc(size ? size : 1); /* without room behind it */
    if (!bytes)
        return 0;
    if (size)
        memcpy(bytes, data, size);
    enum dcmi_result r = dcmi_parse(bytes, size, &p);
    if (r == DCMI_OK && (size < DCMI_RESPONSE || bytes[0] != 0 || bytes[1] != 0xdc || p.now_w > 65535 || p.mean_w > 65535))
        abort();
    if (r != DCMI_OK && (p.now_w || p.active))
        abort();
    free(bytes);
    return 0;
}
