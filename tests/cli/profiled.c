/* profiled.c - see profiled.h. */
#include "tests/cli/profiled.h"
#include "tests/cli/program.h"

#include <stdlib.h>
#include <string.h>

void profile_read(const char *name, struct run_profile *p)
{
    struct joulet_error err;
    char *text = scratch_read(name);
    assert_non_null(text);
    if (run_profile_from_json(text, strlen(text), p, &err) != JOULET_OK)
        fail_msg("%s: %s", name, err.message);
    free(text);
}
