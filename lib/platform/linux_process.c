/* linux_process.c - child processes on Linux: started with an answer whether the program could run at all, waited for with a
 * deadline, stopped with a grace time. */
#include "lib/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

extern char **environ;

static bool same_name(const char *a, const char *b)
{
    size_t n = strcspn(a, "=");
    return strncmp(a, b, n) == 0 && b[n] == '=';
}

static bool named_in(const char *const *env, const char *entry)
{
    for (; env && *env; env++)
        if (same_name(*env, entry))
            return true;
    return false;
}

/* The environment of the child: ours without what `add` replaces, then `add`. The strings are borrowed. */
static char **merge_env(const char *const *add)
{
    size_t n = 0, k = 0;
    while (environ && environ[n])
        n++;
    for (const char *const *p = add; p && *p; p++)
        n++;
    char **out = malloc((n + 1) * sizeof(*out));
    if (!out)
        return NULL;
    for (char **p = environ; p && *p; p++)
        if (!named_in(add, *p))
            out[k++] = *p;
    for (const char *const *p = add; p && *p; p++)
        out[k++] = (char *)*p;
    out[k] = NULL;
    return out;
}

/* What the child says through a close-on-exec pipe when it cannot become the program. */
struct trouble {
    int error;
    enum { AT_EXEC, AT_CWD, AT_LOG } where;
};

static void give_up(int fd, int where)
{
    struct trouble t = {.error = errno};
    t.where = where;
    ssize_t n = write(fd, &t, sizeof(t));
    (void)n;
    _exit(127);
}

/* A command of the user's keeps what it would have had without us, as under nohup. */
static void reset_signals(bool keep)
{
    static const int ours[] = {SIGPIPE, SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGCHLD};
    sigset_t none;
    for (size_t i = 0; i < JL_COUNT(ours); i++)
        if (!keep || signal(ours[i], SIG_DFL) == SIG_IGN)
            signal(ours[i], keep ? SIG_IGN : SIG_DFL);
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
}

/* Files that a library opened without O_CLOEXEC would stay open in there, and their other ends would never see them closed.
 * Where the kernel cannot close them at once (before 5.11) they stay. */
static void only_standard_files(int report)
{
#if defined(SYS_close_range)
    if (report > 3)
        syscall(SYS_close_range, 3u, (unsigned)report - 1, 0u);
    syscall(SYS_close_range, (unsigned)(report > 2 ? report + 1 : 3), ~0u, 0u);
#else
    (void)report;
#endif
}

/* Between fork and exec: only calls that are safe after a fork of a threaded process. */
static _Noreturn void become(const struct jl_spawn *w, char **env, const char *file, pid_t parent, int report)
{
    reset_signals(w->keep);
    if (w->detach) {
        setsid();
    } else if (!w->keep) {
        setpgid(0, 0); /* Ctrl-C on the terminal is for us: we end it, when what it does for us is put in order */
        prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent) /* it died before the line above */
            _exit(127);
    }
    if (w->in > 0) {
        if (dup2(w->in, 0) < 0)
            give_up(report, AT_LOG);
        only_standard_files(report);
    }
    if (w->confined)
        prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
    if (w->log) {
        int fd = open(w->log, O_WRONLY | O_CREAT | O_APPEND, 0600);
        if (fd < 0 || dup2(fd, 1) < 0 || dup2(fd, 2) < 0)
            give_up(report, AT_LOG);
        if (fd > 2)
            close(fd);
        int in = open("/dev/null", O_RDONLY);
        if (in > 0) {
            dup2(in, 0);
            close(in);
        }
    }
    if (w->cwd && chdir(w->cwd) != 0)
        give_up(report, AT_CWD);
    execve(file, (char *const *)w->argv, env);
    give_up(report, AT_EXEC);
    _exit(127);
}

/* Where PATH has the program, as execvp would find it; malloc'ed, NULL and errno when nowhere. */
static char *find_program(const char *name)
{
    if (strchr(name, '/'))
        return jl_strdup(name);
    const char *path = getenv("PATH");
    int error = ENOENT;
    for (const char *p = path ? path : "/usr/bin:/bin"; *name; p++) {
        size_t n = strcspn(p, ":");
        char *file = n ? jl_strf("%.*s/%s", (int)n, p, name) : jl_strf("./%s", name);
        if (!file)
            return NULL;
        if (access(file, X_OK) == 0)
            return file;
        if (errno == EACCES)
            error = EACCES;
        free(file);
        p += n;
        if (*p == '\0')
            break;
    }
    errno = error;
    return NULL;
}

static enum joulet_status spawn_error(struct joulet_error *err, const struct jl_spawn *w, const struct trouble *t)
{
    const char *name = w->argv[0];
    if (t->where == AT_CWD)
        return jl_fail(err, JOULET_NOT_FOUND, "%s could not be started in %s: %s", name, w->cwd, strerror(t->error));
    if (t->where == AT_LOG)
        return jl_fail(err, JOULET_IO, "%s could not be started with its output in %s: %s", name, w->log, strerror(t->error));
    switch (t->error) {
    case ENOENT:
        return jl_fail(err, JOULET_NOT_FOUND, "%s: program not found: check its name and PATH", name);
    case EACCES:
    case EPERM:
        return jl_fail(err, JOULET_PERMISSION, "%s may not be run by this user: check its permissions (chmod +x)", name);
    case ENOEXEC:
        return jl_fail(err, JOULET_PERMISSION, "%s is not a program of this machine: check what it was built for", name);
    case ENOMEM:
        return jl_fail(err, JOULET_MEMORY, "%s could not be started: out of memory", name);
    default:
        return jl_fail(err, JOULET_IO, "%s could not be started: %s", name, strerror(t->error));
    }
}

static enum joulet_status launch(struct jl_process *p, const struct jl_spawn *w, char **env, const char *file,
                                 struct joulet_error *err)
{
    int report[2];
    struct trouble t = {0};
    if (pipe2(report, O_CLOEXEC) != 0)
        return jl_fail(err, JOULET_IO, "%s could not be started: %s", w->argv[0], strerror(errno));
    pid_t parent = getpid();
    pid_t pid = fork();
    if (pid == 0)
        become(w, env, file, parent, report[1]);
    int e = errno;
    close(report[1]);
    if (pid < 0) {
        close(report[0]);
        return jl_fail(err, JOULET_LIMIT, "%s could not be started: %s; raise the limit on processes (ulimit -u)", w->argv[0],
                       strerror(e));
    }
    ssize_t n;
    do {
        n = read(report[0], &t, sizeof(t));
    } while (n < 0 && errno == EINTR);
    close(report[0]);
    if (n == (ssize_t)sizeof(t)) {
        waitpid(pid, NULL, 0);
        return spawn_error(err, w, &t);
    }
    p->pid = pid;
    return jl_ok(err);
}

enum joulet_status jl_spawn(struct jl_process *p, const struct jl_spawn *what, struct joulet_error *err)
{
    *p = (struct jl_process){.pid = -1, .ended = true};
    char *file = find_program(what->argv[0]);
    if (!file)
        return spawn_error(err, what, &(struct trouble){.error = errno, .where = AT_EXEC});
    char **env = merge_env(what->env);
    enum joulet_status status = env ? launch(p, what, env, file, err) : jl_fail(err, JOULET_MEMORY, "%s: out of memory", file);
    p->ended = status != JOULET_OK;
    free(env);
    free(file);
    return status;
}

static bool reap(struct jl_process *p, int options)
{
    int status;
    pid_t got;
    do {
        got = waitpid((pid_t)p->pid, &status, options);
    } while (got < 0 && errno == EINTR);
    if (got == 0)
        return false;
    p->ended = true;
    if (got < 0) /* somebody else has reaped it: how it ended is lost */
        p->status = -1;
    else
        p->status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
    return true;
}

/* A descriptor that becomes readable when the process ends; -1 where the kernel has none (before 5.3). */
static int pid_handle(int64_t pid)
{
#ifdef SYS_pidfd_open
    return (int)syscall(SYS_pidfd_open, (pid_t)pid, 0);
#else
    (void)pid;
    return -1;
#endif
}

/* Sleeps until the process ends or `until`; without a handle at most 5 ms, and the caller looks again. */
static void wait_for_end(int handle, int64_t until)
{
    int64_t now = jl_mono_ns();
    if (handle < 0) {
        int64_t soon = now + 5000000;
        jl_sleep_until(soon < until ? soon : until);
        return;
    }
    int64_t left = until > now ? until - now : 0;
    struct timespec ts = {left / JL_NS_PER_S, left % JL_NS_PER_S};
    ppoll(&(struct pollfd){.fd = handle, .events = POLLIN}, 1, &ts, NULL);
}

bool jl_process_wait(struct jl_process *p, double timeout_s)
{
    if (p->ended || p->pid <= 0)
        return true;
    if (timeout_s < 0)
        return reap(p, 0);
    int64_t until = jl_mono_ns() + (timeout_s > 1e9 ? (int64_t)1e18 : jl_ns(timeout_s));
    int handle = pid_handle(p->pid);
    while (!reap(p, WNOHANG) && jl_mono_ns() < until)
        wait_for_end(handle, until);
    if (!p->ended)
        reap(p, WNOHANG);
    if (handle >= 0)
        close(handle);
    return p->ended;
}

void jl_process_stop(struct jl_process *p, double grace_s)
{
    if (p->ended || p->pid <= 0)
        return;
    kill((pid_t)p->pid, SIGTERM);
    if (jl_process_wait(p, grace_s < 0 ? 0 : grace_s))
        return;
    kill((pid_t)p->pid, SIGKILL);
    jl_process_wait(p, -1);
}

int jl_process_has_library(int64_t pid, const char *name)
{
    char path[256], *line = NULL;
    size_t room = 0;
    int found = 0;
    snprintf(path, sizeof(path), "%s/%lld/maps", jl_procfs_root(), (long long)pid);
    FILE *f = fopen(path, "re");
    if (!f)
        return -1;
    while (!found && getline(&line, &room, f) > 0) {
        const char *file = strrchr(line, '/');
        found = file && jl_starts(file + 1, name);
    }
    free(line);
    fclose(f);
    return found;
}

bool jl_pid_alive(int64_t pid)
{
    return pid > 0 && pid <= INT32_MAX && (kill((pid_t)pid, 0) == 0 || errno == EPERM);
}

/* Start of a process in clock ticks since boot (field 22); false when it does not run or only waits to be reaped. */
static bool start_ticks(long pid, unsigned long long *ticks)
{
    char path[64], text[1024], state;
    snprintf(path, sizeof(path), "/proc/%ld/stat", pid);
    if (jl_read_text(path, text, sizeof(text), NULL) != JOULET_OK)
        return false;
    const char *after = strrchr(text, ')'); /* the name may hold anything, brackets too */
    return after &&
           sscanf(after + 1, " %c %*d %*d %*d %*d %*d %*u %*u %*u %*u %*u %*u %*u %*d %*d %*d %*d %*d %*d %llu", &state, ticks) ==
               2 &&
           state != 'Z' && state != 'X';
}

static bool process_key(long pid, char *buf, size_t size)
{
    char boot[64];
    unsigned long long ticks;
    if (jl_read_text("/proc/sys/kernel/random/boot_id", boot, sizeof(boot), NULL) != JOULET_OK || !start_ticks(pid, &ticks))
        return false;
    int n = snprintf(buf, size, "%ld %llu %s", pid, ticks, boot);
    return n > 0 && (size_t)n < size;
}

bool jl_process_key(char *buf, size_t size)
{
    return process_key(getpid(), buf, size);
}

bool jl_process_key_alive(const char *key)
{
    char now[128];
    long pid = strtol(key, NULL, 10);
    return pid > 0 && process_key(pid, now, sizeof(now)) && strcmp(now, key) == 0;
}
