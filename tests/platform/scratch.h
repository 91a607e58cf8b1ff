/* scratch.h - a folder for one test, removed afterwards. */
#ifndef SCRATCH_H
#define SCRATCH_H

#include "lib/platform/platform.h"
#include "tests/base/test.h"

#include <ftw.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char scratch[4096];

static inline int scratch_open(void **state)
{
    const char *tmp = getenv("TMPDIR");
    (void)state;
    snprintf(scratch, sizeof(scratch), "%s/joulet-test-XXXXXX", tmp ? tmp : "/tmp");
    return mkdtemp(scratch) ? 0 : -1;
}

static inline int scratch_remove(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

static inline int scratch_close(void **state)
{
    (void)state;
    return nftw(scratch, scratch_remove, 16, FTW_DEPTH | FTW_PHYS);
}

/* Path of `name` in the folder; valid until the eighth next call. */
static inline const char *in_scratch(const char *name)
{
    static char paths[8][4200];
    static unsigned next;
    char *p = paths[next++ % 8];
    snprintf(p, sizeof(paths[0]), "%s/%s", scratch, name);
    return p;
}

#endif
