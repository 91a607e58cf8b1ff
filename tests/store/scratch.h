/* scratch.h - a folder of its own for each test program, gone afterwards. */
#ifndef TESTS_STORE_SCRATCH_H
#define TESTS_STORE_SCRATCH_H

#include "lib/platform/platform.h"

#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

static char scratch_dir[64];

static inline int scratch_make(void **state)
{
    (void)state;
    snprintf(scratch_dir, sizeof scratch_dir, "/tmp/joulet-test-XXXXXX");
    return mkdtemp(scratch_dir) ? 0 : -1;
}

static inline void scratch_empty(void)
{
    char **names;
    size_t n;
    if (jl_list_dir(scratch_dir, &names, &n, NULL) != JOULET_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        char *path = jl_strf("%s/%s", scratch_dir, names[i]);
        if (path)
            unlink(path);
        free(path);
    }
    jl_free_list(names, n);
}

static inline int scratch_remove(void **state)
{
    (void)state;
    scratch_empty();
    return rmdir(scratch_dir);
}

/* Path of a file in the folder; one buffer per name of use. */
static inline const char *scratch_path(char buf[128], const char *name)
{
    snprintf(buf, 128, "%s/%s", scratch_dir, name);
    return buf;
}

#endif
