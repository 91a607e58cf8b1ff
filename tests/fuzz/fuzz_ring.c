/* A file of the probe: whatever its bytes, records come out checked, and reading ends. */
#include "profile/steps.h"

#include <stdlib.h>
#include <string.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct ring *r;
    struct ring_info info;
    struct ring_record records[64];
    struct profile_step step;
    struct steps *s = calloc(1, sizeof(*s));
    char name[40];
    size_t total = 0;
    if (s && ring_open_bytes(&r, data, size, NULL) == JOULET_OK) {
        ring_info(r, &info);
        if (info.level >= WIRE_LEVELS || !memchr(info.remark, '\0', sizeof(info.remark)))
            abort();
        for (size_t n; (n = ring_read(r, records, 64)) > 0; total += n) {
            for (size_t i = 0; i < n; i++) {
                if (records[i].kind >= WIRE_KINDS || records[i].t1_ns < records[i].t0_ns || !*ring_kind_name(records[i].kind))
                    abort();
                ring_name(r, &records[i], name, sizeof(name));
                steps_add(s, &records[i], &step);
            }
        }
        if (total > info.capacity)
            abort();
        ring_close(r);
    }
    free(s);
    return 0;
}
