/* rapl_zone.h - what the texts below powercap mean: folder names, zone names, counters, ranges. Pure. */
#ifndef JL_RAPL_ZONE_H
#define JL_RAPL_ZONE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum rapl_kind { RAPL_PACKAGE, RAPL_DRAM, RAPL_CORE, RAPL_UNCORE, RAPL_PSYS };

/* Content of a zone's `name`. */
struct rapl_name {
    enum rapl_kind kind;
    int socket; /* of package-N and psys-N; -1: not in the name */
    int die;    /* of package-N-die-D; -1: not in the name */
};
bool rapl_parse_name(const char *name, struct rapl_name *out);

/* A folder's name: "intel-rapl:0" (a top zone) or "intel-rapl-mmio:0:1" (a zone inside it). */
struct rapl_folder {
    bool mmio;
    int top, sub; /* sub -1: a top zone */
};
bool rapl_parse_folder(const char *folder, struct rapl_folder *out);

/* A counter as sysfs prints it: decimal digits and at most one line end, nothing else. */
bool rapl_parse_digits(const char *text, size_t n, uint64_t *out);

/* Step of a counter, from the range of its 32 bits: the power of two that the hardware counts in. NAN for range 0. */
double rapl_quantum_j(uint64_t range_uj);

#endif
