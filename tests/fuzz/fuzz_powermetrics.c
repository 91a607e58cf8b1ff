/* Output of powermetrics in pieces of any size: what comes out is the same as in one piece, and believable. */
#include "lib/sensors/powermetrics.h"

#include <math.h>
#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static double sum_of(const uint8_t *data, size_t size, size_t piece, size_t *spans)
{
    struct pm_decoder d;
    struct pm_span s;
    double sum = 0;
    pm_init(&d);
    *spans = 0;
    for (size_t at = 0; at <= size; at += piece) {
        size_t n = size - at < piece ? size - at : piece;
        pm_feed(&d, (const char *)data + at, n);
        while (pm_next(&d, at + n == size, &s)) {
            if (!(s.elapsed_s > 0))
                abort();
            for (int i = 0; i < PM_PARTS; i++) {
                if (s.energy_j[i] < 0 || isinf(s.energy_j[i]))
                    abort();
                sum += isnan(s.energy_j[i]) ? 0 : s.energy_j[i];
            }
            ++*spans;
        }
        if (at + n == size)
            break;
    }
    pm_release(&d);
    return sum;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t all, some;
    double whole = sum_of(data, size, size + 1, &all);
    double pieces = sum_of(data, size, size ? 1 + data[0] % 97 : 1, &some);
    if (all != some || fabs(whole - pieces) > 1e-9 * fabs(whole))
        abort();
    return 0;
}
