/* linux_tree.c - processor time by process and by control group on Linux: proc(5) stat, cpu.stat of cgroup v2 and
 * cpuacct.usage of v1. Read below the roots of procfs and sysfs, so that tests can play a machine. */
#include "lib/platform/platform.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define DEPTH_MAX 8 /* of control groups below one */

double jl_tick_s(void)
{
    return 1.0 / (double)sysconf(_SC_CLK_TCK);
}

/* ---- processes ----------------------------------------------------------------------------------------------------- */

/* The name may hold anything, brackets and blanks too: the fields begin after the last bracket. */
static bool parse_stat(const char *text, struct jl_process_time *p)
{
    unsigned long long user, kernel, start;
    long long child_user, child_kernel, parent;
    const char *open = strchr(text, '('), *close = strrchr(text, ')');
    if (!open || !close || close < open ||
        sscanf(close + 1, " %*c %lld %*d %*d %*d %*d %*u %*u %*u %*u %*u %llu %llu %lld %lld %*d %*d %*d %*d %llu", &parent,
               &user, &kernel, &child_user, &child_kernel, &start) != 6)
        return false;
    p->parent = parent;
    p->own = user + kernel;
    p->children = (uint64_t)(child_user > 0 ? child_user : 0) + (uint64_t)(child_kernel > 0 ? child_kernel : 0);
    p->start = start;
    snprintf(p->name, sizeof(p->name), "%.*s", (int)(close - open - 1), open + 1);
    return true;
}

static int by_pid(const void *a, const void *b)
{
    const struct jl_process_time *x = a, *y = b;
    return x->pid < y->pid ? -1 : x->pid > y->pid;
}

enum joulet_status jl_processes(struct jl_process_time **list, size_t *n, struct joulet_error *err)
{
    char **names, path[4096], text[1024];
    size_t count;
    *list = NULL;
    *n = 0;
    if (jl_list_dir(jl_procfs_root(), &names, &count, NULL) != JOULET_OK)
        return jl_fail(err, JOULET_UNSUPPORTED, "%s cannot be read, so the processor time of processes is not known: mount it",
                       jl_procfs_root());
    *list = calloc(count + 1, sizeof(**list));
    for (size_t i = 0; *list && i < count; i++) {
        struct jl_process_time *p = &(*list)[*n];
        if (!isdigit((unsigned char)names[i][0]) || !jl_parse_i64(names[i], &p->pid))
            continue;
        snprintf(path, sizeof(path), "%s/%s/stat", jl_procfs_root(), names[i]);
        if (jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK && parse_stat(text, p))
            ++*n;
    }
    jl_free_list(names, count);
    if (!*list)
        return jl_fail(err, JOULET_MEMORY, "the list of processes does not fit into memory; close other programs");
    qsort(*list, *n, sizeof(**list), by_pid);
    return jl_ok(err);
}

/* ---- control groups ------------------------------------------------------------------------------------------------ */

/* "0::/system.slice/ollama.service" is version 2; "2:cpu,cpuacct:/docker/..." version 1, where a controller has its own tree. */
static bool line_path(char *line, bool v1, const char **path)
{
    char *controllers = strchr(line, ':'), *at = controllers ? strchr(controllers + 1, ':') : NULL;
    if (!at)
        return false;
    *at = '\0';
    *path = at + 1;
    return v1 ? jl_word_in(controllers + 1, ',', "cpuacct") : !strcmp(line, "0:") || controllers[1] == '\0';
}

void jl_process_cgroup(int64_t pid, char *buf, size_t size)
{
    char path[4096];
    const char *found;
    struct jl_buf b;
    buf[0] = '\0';
    jl_buf_init(&b, 1 << 16);
    snprintf(path, sizeof(path), "%s/%lld/cgroup", jl_procfs_root(), (long long)pid);
    for (int v1 = 0; v1 < 2 && !buf[0]; v1++) {
        jl_buf_clear(&b);
        if (jl_read_file(path, &b, NULL) != JOULET_OK || !b.data)
            break;
        char *save = NULL;
        for (char *line = strtok_r(b.data, "\n", &save); line && !buf[0]; line = strtok_r(NULL, "\n", &save))
            if (line_path(line, v1, &found) && strcmp(found, "/") != 0 && !strstr(found, "/.."))
                snprintf(buf, size, "%s", found);
    }
    jl_buf_release(&b);
}

bool jl_cgroup_is_container(const char *cgroup)
{
    static const char *const signs[] = {"/docker/",  "/docker-",      "/libpod-", "/libpod_parent/",  "kubepods",
                                        "/lxc/",     "/lxc.payload.", "/crio-",   "/cri-containerd-", "/buildkit/",
                                        "/machine-", "/nerdctl",      "/podman-"};
    for (size_t i = 0; i < JL_COUNT(signs); i++)
        if (strstr(cgroup, signs[i]))
            return true;
    return false;
}

/* Value after a key of cpu.stat: "usage_usec 12345". */
static double stat_value(const char *text, const char *key)
{
    size_t n = strlen(key);
    unsigned long long v;
    for (const char *p = text; p; p = strchr(p, '\n')) {
        p += *p == '\n';
        if (strncmp(p, key, n) == 0 && p[n] == ' ' && sscanf(p + n, " %llu", &v) == 1)
            return (double)v;
    }
    return NAN;
}

double jl_cgroup_cpu_s(const char *cgroup)
{
    static const char *const v2[] = {"", "/unified"}, *const v1[] = {"/cpu,cpuacct", "/cpuacct"};
    char path[8192], text[4096];
    int64_t ns;
    for (size_t i = 0; i < JL_COUNT(v2); i++) {
        snprintf(path, sizeof(path), "%s/fs/cgroup%s%s/cpu.stat", jl_sysfs_root(), v2[i], cgroup);
        if (jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK && !isnan(stat_value(text, "usage_usec")))
            return stat_value(text, "usage_usec") * 1e-6;
    }
    for (size_t i = 0; i < JL_COUNT(v1); i++) {
        snprintf(path, sizeof(path), "%s/fs/cgroup%s%s/cpuacct.usage", jl_sysfs_root(), v1[i], cgroup);
        if (jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK && jl_parse_i64(text, &ns) && ns >= 0)
            return (double)ns * 1e-9;
    }
    return NAN;
}

static bool add_pids(const char *dir, int64_t *pids, int max, int *n, int depth)
{
    char path[8192], **names;
    size_t count;
    struct jl_buf b;
    jl_buf_init(&b, 1 << 20);
    snprintf(path, sizeof(path), "%s/cgroup.procs", dir);
    bool ok = jl_read_file(path, &b, NULL) == JOULET_OK;
    for (char *p = b.data, *end; ok && p && *p && *n < max; p = end + (*end == '\n')) {
        long long v = strtoll(p, &end, 10);
        if (end == p)
            break;
        pids[(*n)++] = v;
    }
    jl_buf_release(&b);
    if (!ok || depth == 0 || jl_list_dir(dir, &names, &count, NULL) != JOULET_OK)
        return ok;
    for (size_t i = 0; i < count; i++) {
        snprintf(path, sizeof(path), "%s/%s", dir, names[i]); /* a file has no cgroup.procs below it */
        add_pids(path, pids, max, n, depth - 1);
    }
    jl_free_list(names, count);
    return true;
}

int jl_cgroup_pids(const char *cgroup, int64_t *pids, int max)
{
    static const char *const roots[] = {"", "/unified", "/cpu,cpuacct", "/cpuacct"};
    char dir[8192];
    int n = 0;
    for (size_t i = 0; i < JL_COUNT(roots); i++) {
        snprintf(dir, sizeof(dir), "%s/fs/cgroup%s%s", jl_sysfs_root(), roots[i], cgroup);
        if (add_pids(dir, pids, max, &n, DEPTH_MAX))
            return n;
    }
    return -1;
}

/* ---- memory that control groups leave ------------------------------------------------------------------------------- */

static const struct memory_files {
    const char *limit, *used, *reclaimable; /* reclaimable: key of memory.stat, files that nobody reads just now */
} memory_files[] = {{"memory.max", "memory.current", "inactive_file"},
                    {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"}};

#define NO_LIMIT (INT64_C(1) << 60) /* version 1 writes the largest number of pages */

static int64_t number_in(const char *dir, const char *name)
{
    char path[8192], text[64];
    int64_t v;
    snprintf(path, sizeof(path), "%s/%s", dir, name);
    return jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK && jl_parse_i64(text, &v) ? v : -1;
}

static int64_t left_in(const char *dir, const struct memory_files *f)
{
    char path[8192 + 32], text[8192]; /* a folder of 8192 and the name behind it */
    int64_t limit = number_in(dir, f->limit), used = number_in(dir, f->used);
    if (limit < 0 || limit >= NO_LIMIT || used < 0)
        return INT64_MAX;
    snprintf(path, sizeof(path), "%s/memory.stat", dir);
    double files = jl_read_text(path, text, sizeof(text), NULL) == JOULET_OK ? stat_value(text, f->reclaimable) : NAN;
    used -= files > 0 && files < (double)used ? (int64_t)files : 0;
    return limit > used ? limit - used : 0;
}

/* From the group up to the root of what is mounted: in a container that root is the container's own. */
static int64_t least_left(const char *base, const char *group, const struct memory_files *f)
{
    char dir[8192];
    int64_t least = INT64_MAX;
    snprintf(dir, sizeof(dir), "%s/fs/cgroup%s%s", jl_sysfs_root(), base, group);
    size_t root = strlen(dir) - strlen(group);
    for (bool more = true; more;) {
        int64_t left = left_in(dir, f);
        least = left < least ? left : least;
        char *slash = strrchr(dir, '/');
        more = strlen(dir) > root && slash;
        if (more)
            *slash = '\0';
    }
    return least;
}

int64_t jl_cgroup_memory_left(void)
{
    char path[4096], *save = NULL;
    struct jl_buf b;
    int64_t least = INT64_MAX;
    jl_buf_init(&b, 1 << 16);
    snprintf(path, sizeof(path), "%s/self/cgroup", jl_procfs_root());
    if (jl_read_file(path, &b, NULL) == JOULET_OK && jl_buf_str(&b, ""))
        for (char *line = strtok_r(b.data, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
            char *controllers = strchr(line, ':'), *group = controllers ? strchr(controllers + 1, ':') : NULL;
            if (!group || strstr(group, "/.."))
                continue;
            *group++ = '\0';
            bool v2 = controllers[1] == '\0', v1 = jl_word_in(controllers + 1, ',', "memory");
            int64_t here = v2   ? least_left("", group, &memory_files[0])
                           : v1 ? least_left("/memory", group, &memory_files[1])
                                : INT64_MAX;
            least = here < least ? here : least;
        }
    jl_buf_release(&b);
    return least == INT64_MAX ? -1 : least;
}
