/* linux_watch.c - what watches ask of the machine: processor time of processes, clocks, heat. */
#include "lib/platform/platform.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#define CPUS_MAX 4096

static double seconds(struct timeval t)
{
    return (double)t.tv_sec + (double)t.tv_usec * 1e-6;
}

static double usage_s(int who)
{
    struct rusage u;
    return getrusage(who, &u) == 0 ? seconds(u.ru_utime) + seconds(u.ru_stime) : NAN;
}

double jl_own_cpu_s(void)
{
    return usage_s(RUSAGE_SELF);
}

/* Fields 14 to 17 of stat: utime stime cutime cstime, in ticks. The name before them may hold anything, brackets too. */
double jl_process_cpu_s(int64_t pid)
{
    char path[4096], text[1024];
    unsigned long long user, kernel;
    long long child_user, child_kernel;
    if (pid == 0)
        return usage_s(RUSAGE_CHILDREN);
    snprintf(path, sizeof(path), "%s/%lld/stat", jl_procfs_root(), (long long)pid);
    if (pid < 0 || jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK)
        return NAN;
    const char *after = strrchr(text, ')');
    if (!after || sscanf(after + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld", &user, &kernel,
                         &child_user, &child_kernel) != 4)
        return NAN;
    return ((double)(user + kernel) + (double)(child_user + child_kernel)) / (double)sysconf(_SC_CLK_TCK);
}

static double read_clock_s(clockid_t id)
{
    struct timespec t;
    return clock_gettime(id, &t) == 0 ? (double)t.tv_sec + (double)t.tv_nsec * 1e-9 : NAN;
}

void jl_clock_offsets(double *asleep_s, double *wall_s)
{
    double mono_s = read_clock_s(CLOCK_MONOTONIC);
    *asleep_s = read_clock_s(CLOCK_BOOTTIME) - mono_s;
    *wall_s = read_clock_s(CLOCK_REALTIME) - mono_s;
}

/* Sum of one attribute over cpu0, cpu1, ...; -1 when cpu0 has none. */
static int64_t sum_over_cpus(const char *attribute)
{
    int64_t sum = 0, v;
    for (int cpu = 0; cpu < CPUS_MAX; cpu++) {
        char path[4096], text[64];
        snprintf(path, sizeof(path), "%s/devices/system/cpu/cpu%d/%s", jl_sysfs_root(), cpu, attribute);
        if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK || !jl_parse_i64(text, &v) || v < 0)
            return cpu ? sum : -1;
        sum += v;
    }
    return sum;
}

int64_t jl_throttle_events(void)
{
    return sum_over_cpus("thermal_throttle/package_throttle_count");
}

int64_t jl_clock_limit_khz(void)
{
    return sum_over_cpus("cpufreq/scaling_max_freq");
}
