/* rapl_find.h - the zones of this machine: which exist, which are twins, whose they are. */
#ifndef JL_RAPL_FIND_H
#define JL_RAPL_FIND_H

#include "lib/sensors/rapl_zone.h"
#include "lib/sensors/sensor.h"

#define RAPL_ZONES_MAX 128

/* A zone on disk. */
struct rapl_found {
    struct rapl_folder folder;
    struct rapl_name name;
    char *path;
    bool duplicate; /* the memory-mapped twin of a zone that is also there */
};

struct rapl_search {
    struct rapl_found zones[RAPL_ZONES_MAX]; /* by socket, die and kind, the platform last */
    size_t n;
    bool amd, many_sockets, client_name;
    char cpu[128]; /* marketing name, "" unknown */
};

/* Looks below jl_sysfs_root(). NULL with *err set when out of memory or refused; no zones at all is a search with n 0. */
struct rapl_search *rapl_search_open(struct joulet_error *err);
void rapl_search_close(struct rapl_search *s);

/* On client parts it is doubtful whether the memory counter is inside the package: it is shown, not added. A client part has
 * one socket and either a zone of its graphics, a memory-mapped twin, or a client's name. */
bool rapl_is_client(const struct rapl_search *s, const struct rapl_found *dram);
/* With SGX on, Intel filters the counters against side channels: slower and coarser (1.1). */
bool rapl_is_filtered(const struct rapl_search *s);
/* Number in a file of a zone; 0 when there is none. */
uint64_t rapl_read_number(const char *path, const char *file);

#endif
