/* A recorded trace as CSV. What is accepted is ascending and within bounds that cannot overflow when played. */
#include "lib/sensors/replay.h"

#include <stdlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct replay r;
    struct joulet_error err;
    if (replay_parse(&r, (const char *)data, size, "fuzz", &err) != JOULET_OK)
        return err.message[0] && r.n == 0 ? 0 : (abort(), 0);
    for (size_t i = 0; i < r.n; i++) {
        const struct replay_track *t = &r.tracks[i];
        if (!t->n || t->samples[0].t_ns < r.first_ns || t->samples[t->n - 1].t_ns > r.last_ns)
            abort();
        for (size_t k = 1; k < t->n; k++)
            if (t->samples[k].t_ns < t->samples[k - 1].t_ns)
                abort();
        replay_period_s(t);
    }
    replay_release(&r);
    return 0;
}
