/* api_watch.c - a look at the machine, for joulet_watch. */
#include "lib/platform/platform.h"

#include <math.h>

void joulet_surroundings_now(int64_t pid, struct joulet_surroundings *out)
{
    *out = (struct joulet_surroundings){.t_ns = jl_mono_ns(), .busy_s = NAN, .known_s = NAN, .total_s = NAN};
    if (!jl_cpu_time(&out->busy_s, &out->total_s))
        out->busy_s = out->total_s = NAN;
    if (pid != JOULET_NOBODY)
        out->known_s = jl_own_cpu_s() + jl_process_cpu_s(pid);
    jl_clock_offsets(&out->asleep_s, &out->wall_s);
    out->throttle_events = jl_throttle_events();
    out->clock_limit_khz = jl_clock_limit_khz();
}
