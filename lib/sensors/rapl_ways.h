/* rapl_ways.h - one counter, three ways to it: powercap, perf events, registers. Which of them is used follows from which may be
 * read: no counter is read twice, and a way that is closed is no trouble while another one is open. */
#ifndef JL_RAPL_WAYS_H
#define JL_RAPL_WAYS_H

#include "lib/sensors/sensor.h"

/* The row is wanted by these options: named, or nothing is named. opt may be NULL. */
bool rapl_wanted(const struct joulet_options *opt, const char *sensor);
bool rapl_named(const struct joulet_options *opt, const char *sensor);
/* A package can be read through powercap; through perf events. Both open what they look at, and close it. */
bool rapl_powercap_works(void);
bool rapl_perf_works(const struct joulet_options *opt);

#endif
