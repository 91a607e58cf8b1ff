/* profiled.c - see profiled.h. */
#include "tests/cli/profiled.h"

#include "lib/platform/platform.h"
#include "probes/wire.h"
#include "profile/ring.h"
#include "tests/cli/program.h"
#include "tests/sim_engine/sim_probe.h"

#include <math.h>
#include <stdio.h>
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

/* The next line of a curve; false: there is none. */
static bool curve_line(char **at, double *t_ns, double *watts)
{
    while (**at) {
        char *line = *at, *end = line + strcspn(line, "\n");
        *at = *end ? end + 1 : end;
        *end = '\0';
        if (sscanf(line, "%lf %lf", t_ns, watts) == 2)
            return true;
    }
    return false;
}

double profile_drew_s(const char *curve, double power_w)
{
    double sum = 0, t_ns, watts, from_ns = NAN;
    char *text = scratch_read(curve), *at = text;
    assert_non_null(text);
    while (curve_line(&at, &t_ns, &watts)) {
        sum += isnan(from_ns) ? 0 : (t_ns - from_ns) * 1e-9;
        from_ns = watts == power_w ? t_ns : NAN;
    }
    free(text);
    return sum;
}

double profile_lateness(const char *curve, double slower)
{
    double late_s = 0, steps_s = 0, t_ns, watts, last_ns = NAN, last_w = NAN;
    char *text = scratch_read(curve), *at = text;
    assert_non_null(text);
    while (curve_line(&at, &t_ns, &watts)) {
        double s = (t_ns - last_ns) * 1e-9;
        if (last_w > SIM_IDLE_WATTS)
            steps_s += s;
        if (last_w == SIM_IDLE_WATTS + SIM_REST_WATTS && watts > SIM_IDLE_WATTS)
            late_s += fmax(0, s - SIM_REST_MS * 1e-3 * slower);
        last_ns = t_ns;
        last_w = watts;
    }
    free(text);
    return late_s / steps_s;
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
