/* probe.c - finding the probe, and saying loudly when it sees nothing: a profile without its records would look like a model
 * without parts. What fired is counted in the head of its file; what is loaded, the system knows. */
#include "profile/probe.h"

#include "lib/platform/platform.h"
#include "profile/ring.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

char *probe_library(struct joulet_error *err)
{
    char *beside = jl_program_dir(), *found = NULL;
    const struct {
        const char *dir, *below;
    } places[] = {{jl_env("JOULET_MODULE_DIR"), ""}, {beside, ""}, {beside, "/../lib/joulet"}, {PROBE_INSTALL_DIR, ""}};
    for (size_t i = 0; i < JL_COUNT(places) && !found; i++) {
        char *path = places[i].dir ? jl_strf("%s%s/%s", places[i].dir, places[i].below, PROBE_GGML) : NULL;
        found = path && access(path, R_OK) == 0 ? realpath(path, NULL) : NULL;
        free(path);
    }
    if (!found)
        jl_fail(
            err, JOULET_NOT_FOUND,
            "the probe %s is neither beside the program nor in %s: install joulet again, or set JOULET_MODULE_DIR to its folder",
            PROBE_GGML, PROBE_INSTALL_DIR);
    free(beside);
    return found;
}

/* In memory where the system has a folder for that: records are written thousands of times a second. */
static char *base_folder(struct joulet_error *err)
{
    const char *runtime = jl_env("XDG_RUNTIME_DIR");
    return runtime && *runtime == '/' ? jl_strf("%s/joulet", runtime) : jl_cache_dir(err);
}

char *probe_folder_name(void)
{
    char *base = base_folder(NULL), *folder = base ? jl_strf("%s/probes", base) : NULL;
    free(base);
    return folder;
}

char *probe_folder(struct joulet_error *err)
{
    char *base = base_folder(err);
    char *folder = base ? jl_strf("%s/probes", base) : NULL;
    bool made = folder && (mkdir(base, 0700) == 0 || errno == EEXIST) && (mkdir(folder, 0700) == 0 || errno == EEXIST);
    if (folder && !made) {
        jl_fail(
            err, JOULET_IO,
            "the folder %s for the files of the probe could not be made: %s; set XDG_RUNTIME_DIR to one that you may write to",
            folder, strerror(errno));
        free(folder);
        folder = NULL;
    }
    if (folder)
        ring_remove_ended(folder); /* a profile that was killed could not */
    free(base);
    return folder;
}

/* Texts that end with a NUL each, environ or cmdline of a process; false: none. */
static bool read_started(int64_t pid, const char *file, struct jl_buf *b)
{
    char path[256];
    snprintf(path, sizeof(path), "%s/%lld/%s", jl_procfs_root(), (long long)pid, file);
    jl_buf_init(b, (size_t)4 << 20);
    return jl_read_file(path, b, NULL) == JOULET_OK && b->len && jl_buf_str(b, "");
}

static char *variable_of(int64_t pid, const char *name)
{
    struct jl_buf b;
    char *found = NULL;
    size_t n = strlen(name);
    if (read_started(pid, "environ", &b))
        for (size_t i = 0; i < b.len && !found; i += strlen(b.data + i) + 1)
            if (strncmp(b.data + i, name, n) == 0 && b.data[i + n] == '=')
                found = jl_strdup(b.data + i + n + 1);
    jl_buf_release(&b);
    return found;
}

char *probe_argument(int64_t pid, const char *option)
{
    struct jl_buf b;
    char *found = NULL;
    if (read_started(pid, "cmdline", &b))
        for (size_t i = 0; i < b.len && !found; i += strlen(b.data + i) + 1) {
            size_t next = i + strlen(b.data + i) + 1;
            if (strcmp(b.data + i, option) == 0 && next < b.len)
                found = jl_strdup(b.data + next);
        }
    jl_buf_release(&b);
    return found;
}

char *probe_folder_of(int64_t pid)
{
    char *told = variable_of(pid, "JOULET_PROBE_DIR");
    return told ? told : probe_folder_name();
}

static bool has_file(int64_t pid)
{
    char *folder = probe_folder_of(pid), *ring = folder ? ring_find(folder, pid) : NULL;
    bool has = ring != NULL;
    free(ring);
    free(folder);
    return has;
}

static bool is_below(const struct jl_process_time *all, size_t n, size_t i, int64_t pid)
{
    int64_t above = all[i].parent;
    for (size_t depth = 0; depth < 64 && above > 1; depth++) {
        if (above == pid)
            return true;
        size_t k = 0;
        while (k < n && all[k].pid != above)
            k++;
        above = k < n ? all[k].parent : 0;
    }
    return false;
}

int64_t probe_process(int64_t pid)
{
    struct jl_process_time *all = NULL;
    size_t n = 0, found = 0;
    int64_t runner = pid;
    if (has_file(pid) || jl_processes(&all, &n, NULL) != JOULET_OK)
        return pid;
    for (size_t i = 0; i < n; i++)
        if (is_below(all, n, i, pid) && has_file(all[i].pid)) {
            runner = all[i].pid;
            found++;
        }
    free(all);
    return found == 1 ? runner : pid;
}

/* With the line that would start it otherwise. */
static enum joulet_status explain_absence(int64_t pid, struct joulet_error *err)
{
    char *library = probe_library(NULL), *folder = probe_folder_name();
    enum joulet_status status =
        jl_fail(err, JOULET_UNSUPPORTED,
                "process %lld runs without the probe: start the engine by joulet, or as JOULET_PROBE_DIR=%s LD_PRELOAD=%s "
                "llama-server ...",
                (long long)pid, folder ? folder : "FOLDER", library ? library : PROBE_GGML);
    free(library);
    free(folder);
    return status;
}

/* There is no file. */
static enum joulet_status explain_nothing(int64_t pid, struct joulet_error *err)
{
    int probe = jl_process_has_library(pid, "joulet-probe-ggml");
    if (probe < 0)
        return jl_fail(err, JOULET_NOT_FOUND, "process %lld does not run, or is another user's: profile an engine of your own",
                       (long long)pid);
    if (probe == 0)
        return explain_absence(pid, err);
    if (jl_process_has_library(pid, "libllama") != 1 && jl_process_has_library(pid, "libggml") != 1)
        return jl_fail(
            err, JOULET_UNSUPPORTED,
            "llama.cpp is linked into the program of process %lld, where the probe cannot reach it: use a build with shared "
            "libraries, or profile by stages",
            (long long)pid);
    return jl_fail(err, JOULET_NOT_FOUND,
                   "the probe in process %lld has written nothing: either no model was loaded yet, or JOULET_PROBE_DIR is no "
                   "folder it may write to",
                   (long long)pid);
}

static enum joulet_status explain_counts(int64_t pid, const struct ring_info *info, struct joulet_error *err)
{
    if (info->counts[WIRE_N_GRAPHS] > 0 && info->remark[0])
        return jl_fail(err, JOULET_UNSUPPORTED, "the probe in process %lld sees stages only: %s; profile by stages",
                       (long long)pid, info->remark);
    if (info->counts[WIRE_N_GRAPHS] > 0)
        return jl_ok(err);
    if (info->counts[WIRE_N_DECODE] + info->counts[WIRE_N_PROCESS] > 0)
        return jl_fail(
            err, JOULET_UNSUPPORTED,
            "the probe in process %lld sees batches but no graph: this version of llama.cpp (%s) computes in a way that is not "
            "known; profile by stages",
            (long long)pid, info->engine[0] ? info->engine : "it does not tell which");
    return jl_fail(err, JOULET_NOT_FOUND,
                   "the probe in process %lld has seen a model load and nothing computed: send the engine a request first; if it "
                   "has had some, "
                   "its version is not known, and only a profile by stages is possible",
                   (long long)pid);
}

enum joulet_status probe_check(int64_t pid, const char *folder, char **ring, struct joulet_error *err)
{
    struct ring *r;
    struct ring_info info;
    *ring = ring_find(folder, pid);
    if (!*ring)
        return explain_nothing(pid, err);
    enum joulet_status status = ring_open(&r, *ring, err);
    if (status == JOULET_OK) {
        ring_info(r, &info);
        ring_close(r);
        status = explain_counts(pid, &info, err);
    }
    return status;
}

static double percent(uint64_t part, uint64_t whole)
{
    return whole > 0 ? 100 * (double)part / (double)whole : 0;
}

bool probe_capture(const struct ring_info *info, char *out, size_t size)
{
    uint64_t watched = info->counts[WIRE_N_WATCHED], all = info->counts[WIRE_N_GRAPHS], pieces = info->captured[1];
    if (info->captured[0] + info->captured[1] == 0)
        return false;
    snprintf(out, size,
             "the device launched captured graphs in %.0f %% of the graphs without stops, and in %.0f %% of those with stops, "
             "there in "
             "%.0f pieces each: what stops cost holds what was lost by that",
             percent(info->captured[0], all > watched ? all - watched : 0), percent(info->captured[1], watched),
             pieces ? (double)info->launches[1] / (double)pieces : 0);
    return true;
}
