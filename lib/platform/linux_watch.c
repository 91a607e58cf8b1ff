/* linux_watch.c - what watches ask of the machine: processor time of processes, clocks, heat, who listens on a port. */
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

/* ---- who listens ------------------------------------------------------------------------------------------------------- */

/* Socket number of the listener on `port`, from net/tcp or net/tcp6 ("sl local:PORT remote st ... inode"; state 0A is LISTEN). */
static bool listening_socket(const char *table, int port, unsigned long *inode)
{
    char path[4096];
    snprintf(path, sizeof(path), "%s/net/%s", jl_procfs_root(), table);
    FILE *f = fopen(path, "re");
    if (!f)
        return false;
    char line[512];
    bool found = false;
    while (!found && fgets(line, sizeof(line), f)) {
        unsigned local = 0, state = 0;
        found = sscanf(line, " %*d: %*[0-9A-Fa-f]:%x %*[0-9A-Fa-f]:%*x %x %*s %*s %*s %*s %*s %lu", &local, &state, inode) == 3 &&
                state == 0x0a && local == (unsigned)port;
    }
    fclose(f);
    return found;
}

static bool holds_socket(const char *pid, const char *wanted)
{
    char dir[4096], path[4400], target[64];
    char **names;
    size_t n;
    bool found = false;
    snprintf(dir, sizeof(dir), "%s/%s/fd", jl_procfs_root(), pid);
    if (jl_list_dir(dir, &names, &n, NULL) != JOULET_OK)
        return false;
    for (size_t i = 0; i < n && !found; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]);
        ssize_t len = readlink(path, target, sizeof(target) - 1);
        if (len > 0) {
            target[len] = '\0';
            found = strcmp(target, wanted) == 0;
        }
    }
    jl_free_list(names, n);
    return found;
}

int64_t jl_pid_listening(int port)
{
    unsigned long inode;
    char wanted[64], **names;
    size_t n;
    int64_t pid = -1, v;
    if (!listening_socket("tcp", port, &inode) && !listening_socket("tcp6", port, &inode))
        return -1;
    snprintf(wanted, sizeof(wanted), "socket:[%lu]", inode);
    if (jl_list_dir(jl_procfs_root(), &names, &n, NULL) != JOULET_OK)
        return -1;
    for (size_t i = 0; i < n && pid < 0; i++)
        if (jl_parse_i64(names[i], &v) && v > 0 && holds_socket(names[i], wanted))
            pid = v;
    jl_free_list(names, n);
    return pid;
}
