/* clock.c - the clocks. Everything that is measured uses CLOCK_MONOTONIC; wall time is for records only. */
#include "lib/base/base.h"

#include <stdio.h>
#include <time.h>

static int64_t read_clock(clockid_t id)
{
    struct timespec t;
    if (clock_gettime(id, &t) != 0)
        return 0;
    return (int64_t)t.tv_sec * JL_NS_PER_S + t.tv_nsec;
}

int64_t jl_mono_ns(void)
{
    return read_clock(CLOCK_MONOTONIC);
}

int64_t jl_wall_ns(void)
{
    return read_clock(CLOCK_REALTIME);
}

int64_t jl_thread_cpu_ns(void)
{
    return read_clock(CLOCK_THREAD_CPUTIME_ID);
}

void jl_format_time(char *buf, size_t size, int64_t wall_ns)
{
    int64_t seconds = wall_ns / JL_NS_PER_S - (wall_ns % JL_NS_PER_S < 0);
    time_t t = (time_t)seconds;
    struct tm tm;
    if (size == 0)
        return;
    if (!gmtime_r(&t, &tm) || strftime(buf, size, "%Y-%m-%dT%H:%M:%SZ", &tm) == 0)
        buf[0] = '\0';
}
