/* place.c - where a count lies under the roofline of a machine, and how near a measurement came to it (Williams, Waterman,
 * Patterson: Roofline, 2009). */
#include "profile/counts.h"

#include <math.h>

static double over(double a, double b)
{
    return b > 0 ? a / b : NAN;
}

struct profile_place profile_place(const struct profile_count *c, const struct profile_machine *m)
{
    double bytes = profile_count_bytes(c);
    double computing_s = over(c->flop, m->peak_flops), moving_s = over(bytes, m->bytes_per_s);
    struct profile_place p = {.intensity = over(c->flop, bytes), .ridge = over(m->peak_flops, m->bytes_per_s)};
    bool known = !isnan(computing_s) && !isnan(moving_s);
    p.least_s = known ? fmax(computing_s, moving_s) : NAN;
    p.attainable = known && !isnan(p.intensity) ? fmin(m->peak_flops, p.intensity * m->bytes_per_s) : NAN;
    p.memory_bound = known && moving_s > computing_s;
    return p;
}

struct profile_reached profile_reached(const struct profile_count *c, const struct profile_machine *m, double seconds,
                                       double net_j)
{
    double bytes = profile_count_bytes(c);
    return (struct profile_reached){.flops = over(c->flop, seconds),
                                    .bytes_per_s = over(bytes, seconds),
                                    .roofline_share = over(profile_place(c, m).least_s, seconds),
                                    .j_per_flop = over(net_j, c->flop),
                                    .j_per_byte = over(net_j, bytes)};
}
