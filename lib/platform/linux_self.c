/* linux_self.c - what this process itself uses, from /proc/self: never a redirected one, which would be another process. */
#include "lib/platform/platform.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

static int64_t open_files(void)
{
    DIR *d = opendir("/proc/self/fd");
    int64_t n = d ? 0 : -1;
    for (const struct dirent *e; d && (e = readdir(d));)
        n += e->d_name[0] != '.';
    if (d)
        closedir(d);
    return n < 0 ? -1 : n - 1; /* and the one that looks */
}

/* Threads, and ticks since boot at which it began: fields 20 and 22 of proc(5), behind the name, which may hold anything. */
static void read_stat(struct jl_self *out)
{
    char text[1024];
    const char *p = jl_read_text("/proc/self/stat", text, sizeof text, NULL) == JOULET_OK ? strrchr(text, ')') : NULL;
    unsigned long long start;
    long threads;
    if (!p ||
        sscanf(p + 1, " %*c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %ld %*d %llu", &threads, &start) != 2)
        return;
    struct timespec boot, wall;
    clock_gettime(CLOCK_BOOTTIME, &boot);
    clock_gettime(CLOCK_REALTIME, &wall);
    out->threads = threads;
    out->start_s = (double)(wall.tv_sec - boot.tv_sec) + (double)(wall.tv_nsec - boot.tv_nsec) * 1e-9 +
                   (double)start / (double)sysconf(_SC_CLK_TCK);
}

void jl_self_get(struct jl_self *out)
{
    char text[128];
    long long pages, resident;
    struct rlimit r;
    *out = (struct jl_self){jl_own_cpu_s(), NAN, -1, -1, -1, -1, -1};
    read_stat(out);
    if (jl_read_text("/proc/self/statm", text, sizeof text, NULL) == JOULET_OK &&
        sscanf(text, "%lld %lld", &pages, &resident) == 2) {
        out->virtual_bytes = pages * sysconf(_SC_PAGESIZE);
        out->resident_bytes = resident * sysconf(_SC_PAGESIZE);
    }
    out->open_files = open_files();
    if (getrlimit(RLIMIT_NOFILE, &r) == 0)
        out->open_files_max = (int64_t)r.rlim_cur;
}
