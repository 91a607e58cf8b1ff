/* Any object where a joulet server tells the energy of a request: what is taken is an energy. */
#include "llm/engine_joulet.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static bool possible(const struct joulet_energy *e)
{
    bool gross = isnan(e->gross_j) || (e->gross_j >= 0 && e->gross_j <= 1e12);
    bool net = isnan(e->net_j) || (fabs(e->net_j) <= 1e12 && !(e->net_j > e->gross_j * (1 + 1e-6) + 1e-6));
    return gross && net && !(e->gross_pm_j < 0) && !(e->net_pm_j < 0) && !(e->u.spec < 0) && !isinf(e->u.idle);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct engine_told t;
    engine_told_init(&t);
    bool any = engine_told_read((const char *)data, size, &t);
    if (any != t.any || !possible(&t.e) || !possible(&t.prefill) || !possible(&t.decode))
        abort();
    if (isnan(t.prefill.gross_j) != isnan(t.decode.gross_j) || strlen(t.words) >= sizeof t.words)
        abort();
    for (const char *p = t.words; *p; p++)
        if ((unsigned char)*p < ' ')
            abort();
    return 0;
}
