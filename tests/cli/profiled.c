/* profiled.c - see profiled.h. */
#include "tests/cli/profiled.h"

#include "lib/platform/platform.h"
#include "probes/wire.h"
#include "profile/ring.h"
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

void probe_must_be_as_started(const char *folder, int64_t pid)
{
    static const struct wire_control as_started;
    char *path = ring_find(folder, pid);
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, (size_t)64 << 20);
    assert_non_null(path);
    assert_int_equal(jl_read_file(path, &b, &err), JOULET_OK);
    assert_memory_equal(b.data + offsetof(struct wire_head, control.watch), &as_started.watch, sizeof as_started.watch);
    assert_memory_equal(b.data + offsetof(struct wire_head, control.again), &as_started.again, sizeof as_started.again);
    jl_buf_release(&b);
    free(path);
}
