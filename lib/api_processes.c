/* api_processes.c - following the processes of an engine: its tree, or the control group that is its own (docs/method.md 6.4).
 * A control group counts in microseconds and keeps what ended ones used, so it is the better source where it may be read. */
#include "lib/meter/follow.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define GROUP_MAX 4096 /* processes; a larger group is no engine */

struct joulet_followed {
    struct jl_follow tree;
    char cgroup[1024]; /* "" none of its own */
    char home[1024];   /* container or service in which it runs; "" none */
    double cgroup_start_s;
};

/* A group is the engine's own when the tree and nobody else is in it. The whole container is the engine: what else runs in one
 * is there to serve it. */
static bool is_own(const struct jl_follow *tree, const char *cgroup)
{
    char ours[1024];
    int64_t *pids;
    jl_process_cgroup(getpid(), ours, sizeof(ours));
    if (!cgroup[0] || !strcmp(ours, cgroup))
        return false;
    if (jl_cgroup_is_container(cgroup))
        return true;
    pids = malloc(GROUP_MAX * sizeof(*pids));
    int n = pids ? jl_cgroup_pids(cgroup, pids, GROUP_MAX) : -1;
    bool own = n > 0 && (size_t)n == tree->members;
    for (int i = 0; i < n && own; i++)
        own = jl_follow_has(tree, pids[i]);
    free(pids);
    return own;
}

/* What else runs in the same container or service is there to serve it, or is served by it: a launcher's other children. */
static bool is_home(const char *cgroup)
{
    char ours[1024];
    size_t n = strlen(cgroup);
    jl_process_cgroup(getpid(), ours, sizeof(ours));
    bool service = n > 8 && !strcmp(cgroup + n - 8, ".service") && !strstr(cgroup, "/user@");
    return strcmp(ours, cgroup) != 0 && (service || jl_cgroup_is_container(cgroup));
}

enum joulet_status joulet_follow(struct joulet_followed **out, int64_t pid, struct joulet_error *err)
{
    struct jl_process_time *all;
    size_t n;
    *out = NULL;
    if (jl_processes(&all, &n, err) != JOULET_OK)
        return err ? err->status : JOULET_UNSUPPORTED;
    struct joulet_followed *f = calloc(1, sizeof(*f));
    if (!f) {
        free(all);
        return jl_fail(err, JOULET_MEMORY, "process %lld cannot be followed: out of memory", (long long)pid);
    }
    if (!jl_follow_begin(&f->tree, pid, all, n)) {
        free(f);
        return jl_pid_alive(pid)
                   ? jl_fail(err, JOULET_PERMISSION,
                             "process %lld is hidden from this user (hidepid), so its processor time cannot be told: "
                             "run joulet as the user of that process, or with sudo",
                             (long long)pid)
                   : jl_fail(err, JOULET_NOT_FOUND,
                             "process %lld does not run, so its processor time cannot be told: check the number", (long long)pid);
    }
    jl_process_cgroup(pid, f->cgroup, sizeof(f->cgroup));
    if (is_home(f->cgroup))
        snprintf(f->home, sizeof(f->home), "%s", f->cgroup);
    f->cgroup_start_s = jl_cgroup_cpu_s(f->cgroup);
    if (isnan(f->cgroup_start_s) || !is_own(&f->tree, f->cgroup))
        f->cgroup[0] = '\0';
    *out = f;
    return jl_ok(err);
}

void joulet_follow_look(struct joulet_followed *f, struct joulet_cpu_look *out)
{
    struct jl_process_time *all;
    size_t n;
    *out = (struct joulet_cpu_look){.t_ns = jl_mono_ns(), .used_s = NAN, .busy_s = NAN, .total_s = NAN, .tick_s = jl_tick_s()};
    bool seen = jl_processes(&all, &n, NULL) == JOULET_OK && jl_follow_next(&f->tree, all, n);
    if (!jl_cpu_time(&out->busy_s, &out->total_s))
        out->busy_s = out->total_s = NAN;
    out->processes = seen ? f->tree.members : 0;
    if (f->cgroup[0]) {
        out->used_s = jl_cgroup_cpu_s(f->cgroup) - f->cgroup_start_s;
    } else if (seen) {
        out->used_s = (double)f->tree.used_ticks * out->tick_s;
        out->readings = f->tree.readings;
    }
}

bool joulet_follow_has(const struct joulet_followed *f, int64_t pid)
{
    char cgroup[1024];
    size_t n = strlen(f->home);
    if (jl_follow_has(&f->tree, pid))
        return true;
    if (!n)
        return false;
    jl_process_cgroup(pid, cgroup, sizeof(cgroup));
    return strncmp(cgroup, f->home, n) == 0 && (cgroup[n] == '\0' || cgroup[n] == '/');
}

const char *joulet_follow_source(const struct joulet_followed *f)
{
    return f->cgroup[0] ? "control group" : "process tree";
}

void joulet_unfollow(struct joulet_followed *f)
{
    if (!f)
        return;
    jl_follow_end(&f->tree);
    free(f);
}
