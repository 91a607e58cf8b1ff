/* profiled.h - profiles as the program writes them, and what it leaves behind in engines. */
#ifndef TEST_CLI_PROFILED_H
#define TEST_CLI_PROFILED_H

#include "run/profile.h"

void profile_read(const char *name, struct run_profile *p); /* a file of the scratch folder; release it */
/* What the curve of tests/sim_engine/sim_probe.h says, a file of the scratch folder: share of the time of its steps by which the
 * next one came late. It draws the power of the rest until then, so that a token of one request is dearer than that of another,
 * and no figure is at fault. */
double profile_lateness(const char *curve, double slower);
/* Seconds of such a curve that have just this power; the last line has none. */
double profile_drew_s(const char *curve, double power_w);
/* Nothing is asked of the probe of a process any more. */
void probe_must_be_as_started(const char *folder, int64_t pid);

#endif
