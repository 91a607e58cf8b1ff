/* profiled.h - profiles as the program writes them. */
#ifndef TEST_CLI_PROFILED_H
#define TEST_CLI_PROFILED_H

#include "run/profile.h"

void profile_read(const char *name, struct run_profile *p); /* a file of the scratch folder; release it */

#endif
