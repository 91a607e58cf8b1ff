/* scratch_store.h - a store in the folder of the test program. */
#ifndef TESTS_STORE_SCRATCH_STORE_H
#define TESTS_STORE_SCRATCH_STORE_H

#include "store/store.h"
#include "tests/base/test.h"
#include "tests/store/scratch.h"

static char db_path[128];

/* Before a test: nothing is there. */
static inline int fresh(void **state)
{
    (void)state;
    scratch_empty();
    scratch_path(db_path, "joulet.db");
    return 0;
}

static inline struct store *opened(void)
{
    struct store *s;
    struct joulet_error err;
    if (store_open(&s, db_path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return s;
}

#endif
