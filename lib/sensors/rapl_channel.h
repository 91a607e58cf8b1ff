/* rapl_channel.h - the channel of a RAPL counter, whichever way it is read: powercap, perf events or registers. The same counter
 * has the same id in all of them. */
#ifndef JL_RAPL_CHANNEL_H
#define JL_RAPL_CHANNEL_H

#include "lib/sensors/rapl_zone.h"
#include "lib/sensors/sensor.h"

/* Where a counter belongs, and on what kind of processor. */
struct rapl_place {
    struct rapl_name name;
    bool amd;         /* else Intel */
    bool client;      /* memory is shown, not added */
    bool filtered;    /* against side channels: slower and coarser */
    double quantum_j; /* NAN: the usual one */
    const char *cpu;  /* marketing name, "" unknown */
};
#define RAPL_ID_SIZE 64
/* "cpu0.package", "cpu0.die1.dram", "platform.psys" */
void rapl_id(char buf[RAPL_ID_SIZE], const struct rapl_name *n, enum rapl_kind kind);
bool rapl_channel_add(struct sensor *s, const struct rapl_place *p, enum joulet_provenance provenance);
/* What no counter of that kind draws: beyond 1.5 x this a step is a restart (1.2). */
double rapl_max_w(enum rapl_kind kind);
/* What it does not draw for minutes: how long a gap may be before a wrap may have been missed (1.2). */
double rapl_wraps_w(enum rapl_kind kind);

/* The processor in its own words, from cpuinfo; false when that is not the machine whose sensors are read. */
struct rapl_cpu {
    bool amd, intel, client, filtered;
    int family, model; /* 0 unknown */
    char name[128];
};
bool rapl_know_cpu(struct rapl_cpu *c);
/* Socket and die of a hardware thread from sysfs topology; 0 and -1 when not told. */
void rapl_know_place(int cpu, int *socket, int *die);

#endif
