/* profiled.h - profiles as the program writes them, and what it leaves behind in engines. */
#ifndef TEST_CLI_PROFILED_H
#define TEST_CLI_PROFILED_H

#include "run/profile.h"

void profile_read(const char *name, struct run_profile *p); /* a file of the scratch folder; release it */
/* Nothing is asked of the probe of a process any more. */
void probe_must_be_as_started(const char *folder, int64_t pid);

#endif
