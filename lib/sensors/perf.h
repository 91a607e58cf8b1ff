/* perf.h - what the perf sensor asks of the kernel, so that a stand-in can answer instead, and the texts it reads. */
#ifndef JL_PERF_H
#define JL_PERF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct perf_calls {
    /* A counter of the whole machine on one hardware thread: a handle, or -1 with errno. */
    int (*open)(uint32_t type, uint64_t config, int cpu);
    /* Its count; false with errno. */
    bool (*read)(int handle, uint64_t *count);
    void (*close)(int handle);
};
extern const struct perf_calls perf_kernel;
/* What is asked; tests put a stand-in here, nothing else writes it. */
extern const struct perf_calls *perf_calls;

/* "event=0x02" laid out as the format "config:0-7" of `event` says: the value of attr.config. */
bool perf_parse_event(const char *event, const char *format, uint64_t *config);
/* "2.3283064365386962890625e-10": joules of one count, above 0 and at most 1. */
bool perf_parse_scale(const char *text, double *scale);
/* "0,32" or "0-1,4": numbers in the order given, at most max of them, each below 65536; -1 when it is no such list. */
int perf_parse_cpus(const char *text, int *cpus, int max);

#endif
