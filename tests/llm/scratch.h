/* scratch.h - a folder of a test's own, gone when the test ends; the data, cache and settings of the program lie in it. */
#ifndef TESTS_LLM_SCRATCH_H
#define TESTS_LLM_SCRATCH_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "lib/platform/platform.h"

#include <ftw.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static char scratch[64];

static int scratch_remove_one(const char *path, const struct stat *st, int kind, struct FTW *at)
{
    (void)st, (void)kind, (void)at;
    return remove(path);
}

static int scratch_open(void **state)
{
    (void)state;
    snprintf(scratch, sizeof(scratch), "/tmp/joulet-llm-XXXXXX");
    if (!mkdtemp(scratch))
        return -1;
    setenv("JOULET_DATA_DIR", scratch, 1);
    setenv("JOULET_CACHE_DIR", scratch, 1);
    setenv("JOULET_CONFIG_DIR", scratch, 1);
    return 0;
}

static int scratch_close(void **state)
{
    (void)state;
    return nftw(scratch, scratch_remove_one, 16, FTW_DEPTH | FTW_PHYS);
}

/* "<scratch>/name" in one of four buffers that take turns. */
static inline const char *scratch_path(const char *name)
{
    static char paths[4][512];
    static int turn;
    turn = (turn + 1) % 4;
    snprintf(paths[turn], sizeof(paths[turn]), "%s/%s", scratch, name);
    return paths[turn];
}

static inline void scratch_write(const char *name, const void *bytes, size_t n)
{
    struct joulet_error err;
    char *dir = jl_strdup(scratch_path(name));
    *strrchr(dir, '/') = '\0';
    assert_int_equal(jl_make_dirs(dir, &err), JOULET_OK);
    assert_int_equal(jl_write_file(scratch_path(name), bytes, n, 0644, &err), JOULET_OK);
    free(dir);
}

static inline void scratch_sha256(const char *path, char hex[65])
{
    struct jl_buf b;
    struct jl_sha256 s;
    jl_buf_init(&b, (size_t)1 << 30);
    assert_int_equal(jl_read_file(path, &b, NULL), JOULET_OK);
    jl_sha256_init(&s);
    jl_sha256_add(&s, b.data, b.len);
    jl_sha256_hex(&s, hex);
    jl_buf_release(&b);
}

#define assert_says(message, part)                                                                                               \
    do {                                                                                                                         \
        if (!strstr(message, part))                                                                                              \
            fail_msg("\"%s\" does not say \"%s\"", message, part);                                                               \
    } while (0)

#endif
