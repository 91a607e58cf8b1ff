/* failing.h - the world below the sensors, one call of which fails: allocations, opens, reads, what the kernel answers to ioctl
 * and perf_event_open, functions of the NVIDIA library and their names. The linker puts these in the place of the real ones
 * (CMakeLists.txt). While it matters, what is allocated and what is open is counted. */
#ifndef FAILING_H
#define FAILING_H

#include <stdbool.h>

enum failing_what {
    FAILING_NOTHING,
    FAILING_ALLOCATION,
    FAILING_OPEN, /* of files and folders */
    FAILING_READ,
    FAILING_CALL, /* ioctl and poll of a controller, perf_event_open, calls into the NVIDIA library and each value they fill in */
    FAILING_SYMBOL, /* dlopen, dlsym */
    FAILING_KINDS
};

/* From now on the call of that kind and number fails, counted from 1; with `code` where the NVIDIA library answers. */
void failing_begin(enum failing_what what, long at, int code);
struct failing_left {
    long calls[FAILING_KINDS]; /* how many there were */
    long allocated, open;      /* and not freed, not closed */
};
struct failing_left failing_end(void);

/* Counts a call, and says whether it is the one. */
bool failing_now(enum failing_what what);
int failing_code(void);

/* A file that answers like a controller or an event of the kernel does. */
bool failing_is_event(int fd);
void failing_add_event(int fd);
void failing_drop_event(int fd);

#endif
