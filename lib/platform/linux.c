/* linux.c - environment, paths, files, threads, events and libraries on Linux; processes are in linux_process.c, the machine in
 * linux_machine.c. Variables that redirect sensors or load code are not seen by a privileged process. */
#include "lib/platform/platform.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <pwd.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/auxv.h>
#include <sys/eventfd.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

/* ---- environment and paths -------------------------------------------------------------------------------------- */

const char *jl_env(const char *name)
{
    const char *v = secure_getenv(name);
    return v && *v ? v : NULL;
}

bool jl_privileged(void)
{
    return getauxval(AT_SECURE) != 0;
}

const char *jl_sysfs_root(void)
{
    const char *v = jl_env("JOULET_SYSFS");
    return v ? v : "/sys";
}

const char *jl_procfs_root(void)
{
    const char *v = jl_env("JOULET_PROCFS");
    return v ? v : "/proc";
}

const char *jl_devfs_root(void)
{
    const char *v = jl_env("JOULET_DEVFS");
    return v ? v : "/dev";
}

bool jl_roots_redirected(void)
{
    return jl_env("JOULET_SYSFS") || jl_env("JOULET_PROCFS") || jl_env("JOULET_DEVFS") || jl_env("JOULET_NVML");
}

/* What to say, and as which status, when a call on `path` failed with errno e. */
static enum joulet_status file_error(struct joulet_error *err, int e, const char *path, const char *what)
{
    switch (e) {
    case ENOENT:
    case ENOTDIR:
        return jl_fail(err, JOULET_NOT_FOUND, "%s does not exist: check the path", path);
    case EACCES:
    case EPERM:
        return jl_fail(err, JOULET_PERMISSION, "%s may not be %s by this user: change its permissions or run as its owner", path,
                       what);
    case EROFS:
        return jl_fail(err, JOULET_PERMISSION, "%s may not be %s: its file system is read-only", path, what);
    case ENOSPC:
    case EDQUOT:
        return jl_fail(err, JOULET_IO, "%s could not be %s: the disk is full; free some space and try again", path, what);
    case ENOMEM:
        return jl_fail(err, JOULET_MEMORY, "%s could not be %s: out of memory", path, what);
    default:
        return jl_fail(err, JOULET_IO, "%s could not be %s: %s", path, what, strerror(e));
    }
}

static enum joulet_status make_dir(const char *path, mode_t mode, struct joulet_error *err)
{
    struct stat st;
    if (mkdir(path, mode) == 0)
        return jl_ok(err);
    int e = errno;
    if (stat(path, &st) == 0) {
        if (S_ISDIR(st.st_mode))
            return jl_ok(err);
        return jl_fail(err, JOULET_IO, "%s is a file where a folder is needed: move it away", path);
    }
    return file_error(err, e, path, "created");
}

enum joulet_status jl_make_dirs(const char *path, struct joulet_error *err)
{
    char *copy = jl_strdup(path);
    enum joulet_status status = jl_ok(err);
    if (!copy)
        return jl_fail(err, JOULET_MEMORY, "%s could not be created: out of memory", path);
    for (char *p = copy + 1; status == JOULET_OK && copy[0]; p++) {
        char c = *p;
        if (c != '/' && c != '\0')
            continue;
        *p = '\0';
        status = make_dir(copy, 0755, err);
        *p = c;
        if (c == '\0')
            break;
    }
    free(copy);
    return status;
}

static char *home_dir(void)
{
    const char *home = jl_env("HOME");
    if (home)
        return jl_strdup(home);
    struct passwd pw, *found = NULL;
    char buf[4096];
    if (getpwuid_r(getuid(), &pw, buf, sizeof(buf), &found) == 0 && found)
        return jl_strdup(found->pw_dir);
    return NULL;
}

/* Our own variable names the folder that contains "joulet", as the XDG ones do. XDG paths that are not absolute must be ignored.
 */
static char *parent_dir(const char *own, const char *xdg, const char *below_home)
{
    const char *v = jl_env(own);
    if (v)
        return jl_strdup(v);
    v = jl_env(xdg);
    if (v && v[0] == '/')
        return jl_strdup(v);
    char *home = home_dir();
    char *dir = home ? jl_strf("%s/%s", home, below_home) : NULL;
    free(home);
    return dir;
}

static char *user_dir(const char *own, const char *xdg, const char *below_home, struct joulet_error *err)
{
    char *parent = parent_dir(own, xdg, below_home);
    if (!parent) {
        jl_fail(err, JOULET_NOT_FOUND, "this user has no home folder: set %s to a folder that may be written", own);
        return NULL;
    }
    struct joulet_error why;
    char *dir = jl_strf("%s/joulet", parent);
    enum joulet_status status = dir ? jl_make_dirs(parent, &why) : jl_fail(&why, JOULET_MEMORY, "out of memory");
    if (status == JOULET_OK)
        status = make_dir(dir, 0700, &why);
    free(parent);
    if (status == JOULET_OK)
        return dir;
    jl_fail(err, status, "%s, or choose another folder with %s", why.message, own);
    free(dir);
    return NULL;
}

char *jl_data_dir(struct joulet_error *err)
{
    return user_dir("JOULET_DATA_DIR", "XDG_DATA_HOME", ".local/share", err);
}

char *jl_data_dir_name(void)
{
    char *parent = parent_dir("JOULET_DATA_DIR", "XDG_DATA_HOME", ".local/share");
    char *dir = parent ? jl_strf("%s/joulet", parent) : NULL;
    free(parent);
    return dir;
}

char *jl_config_dir(struct joulet_error *err)
{
    return user_dir("JOULET_CONFIG_DIR", "XDG_CONFIG_HOME", ".config", err);
}

char *jl_cache_dir(struct joulet_error *err)
{
    return user_dir("JOULET_CACHE_DIR", "XDG_CACHE_HOME", ".cache", err);
}

char *jl_program_dir(void)
{
    char path[4096];
    ssize_t n = readlink("/proc/self/exe", path, sizeof(path) - 1);
    if (n <= 0)
        return NULL;
    path[n] = '\0';
    char *slash = strrchr(path, '/');
    if (!slash)
        return NULL;
    *(slash == path ? slash + 1 : slash) = '\0';
    return jl_strdup(path);
}

/* ---- files --------------------------------------------------------------------------------------------------------- */

static ssize_t read_some(int fd, void *buf, size_t n)
{
    ssize_t got;
    do {
        got = read(fd, buf, n);
    } while (got < 0 && errno == EINTR);
    return got;
}

enum joulet_status jl_read_file(const char *path, struct jl_buf *b, struct joulet_error *err)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error(err, errno, path, "read");
    enum joulet_status status = jl_ok(err);
    char chunk[16384];
    ssize_t n;
    while ((n = read_some(fd, chunk, sizeof(chunk))) > 0) {
        if (jl_buf_add(b, chunk, (size_t)n))
            continue;
        status = jl_fail(err, JOULET_LIMIT, "%s is larger than the %zu bytes that are read of such a file", path, b->max);
        break;
    }
    if (n < 0)
        status = file_error(err, errno, path, "read");
    if (status == JOULET_OK && !b->data)
        jl_buf_add(b, "", 0);
    close(fd);
    return status;
}

enum joulet_status jl_read_text(const char *path, char *buf, size_t size, struct joulet_error *err)
{
    buf[0] = '\0';
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0)
        return file_error(err, errno, path, "read");
    size_t len = 0;
    ssize_t n = 0;
    while (len < size - 1 && (n = read_some(fd, buf + len, size - 1 - len)) > 0)
        len += (size_t)n;
    int e = errno;
    close(fd);
    if (n < 0) {
        buf[0] = '\0';
        return file_error(err, e, path, "read");
    }
    while (len > 0 && strchr(" \t\r\n", buf[len - 1]))
        len--;
    buf[len] = '\0';
    return jl_ok(err);
}

static bool write_all(int fd, const char *p, size_t n)
{
    while (n > 0) {
        ssize_t done = write(fd, p, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done < 0)
            return false;
        p += done;
        n -= (size_t)done;
    }
    return true;
}

/* The rename is on disk only when the folder is. Not all file systems can do it: then there is nothing more to do. */
static void sync_folder_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? strndup(path, (size_t)(slash - path) + (slash == path)) : jl_strdup(".");
    int fd = dir ? open(dir, O_RDONLY | O_DIRECTORY | O_CLOEXEC) : -1;
    if (fd >= 0) {
        fsync(fd);
        close(fd);
    }
    free(dir);
}

enum joulet_status jl_write_file(const char *path, const void *bytes, size_t n, int mode, struct joulet_error *err)
{
    char *beside = jl_strf("%s.XXXXXX", path);
    if (!beside)
        return jl_fail(err, JOULET_MEMORY, "%s could not be written: out of memory", path);
    int fd = mkostemp(beside, O_CLOEXEC);
    if (fd < 0) {
        int e = errno;
        free(beside);
        return file_error(err, e, path, "written");
    }
    bool ok = write_all(fd, bytes, n) && fchmod(fd, (mode_t)mode) == 0 && fsync(fd) == 0;
    int e = errno;
    if (close(fd) != 0 && ok) {
        ok = false;
        e = errno;
    }
    if (ok && rename(beside, path) != 0) {
        ok = false;
        e = errno;
    }
    if (!ok)
        unlink(beside);
    else
        sync_folder_of(path);
    free(beside);
    return ok ? jl_ok(err) : file_error(err, e, path, "written");
}

static int by_name(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

static bool append_name(char ***names, size_t *n, size_t *cap, const char *name)
{
    if (*n == *cap) {
        size_t more = *cap ? 2 * *cap : 32;
        char **grown = realloc(*names, more * sizeof(**names));
        if (!grown)
            return false;
        *names = grown;
        *cap = more;
    }
    char *copy = jl_strdup(name);
    if (!copy)
        return false;
    (*names)[(*n)++] = copy;
    return true;
}

enum joulet_status jl_list_dir(const char *path, char ***names, size_t *n, struct joulet_error *err)
{
    size_t cap = 0;
    *names = NULL;
    *n = 0;
    DIR *dir = opendir(path);
    if (!dir)
        return file_error(err, errno, path, "read");
    for (struct dirent *e; (e = readdir(dir));) {
        if (strcmp(e->d_name, ".") == 0 || strcmp(e->d_name, "..") == 0)
            continue;
        if (!append_name(names, n, &cap, e->d_name)) {
            closedir(dir);
            jl_free_list(*names, *n);
            *names = NULL;
            *n = 0;
            return jl_fail(err, JOULET_MEMORY, "%s could not be listed: out of memory", path);
        }
    }
    closedir(dir);
    if (*n > 1)
        qsort(*names, *n, sizeof(**names), by_name);
    return jl_ok(err);
}

void jl_free_list(char **names, size_t n)
{
    for (size_t i = 0; i < n; i++)
        free(names[i]);
    free(names);
}

/* ---- threads, events, sleep --------------------------------------------------------------------------------------- */

struct jl_thread {
    pthread_t id;
    void (*run)(void *);
    void *arg;
    char name[16];
};

static void *thread_main(void *p)
{
    struct jl_thread *t = p;
    pthread_setname_np(pthread_self(), t->name);
    t->run(t->arg);
    return NULL;
}

enum joulet_status jl_thread_start(struct jl_thread **out, const char *name, void (*run)(void *), void *arg,
                                   struct joulet_error *err)
{
    struct jl_thread *t = calloc(1, sizeof(*t));
    *out = NULL;
    if (!t)
        return jl_fail(err, JOULET_MEMORY, "thread %s could not be started: out of memory", name);
    t->run = run;
    t->arg = arg;
    snprintf(t->name, sizeof(t->name), "%s", name);
    /* Vendor libraries and the caller's sink run on our threads: more than the minimum, and less than the usual 8 MiB. */
    pthread_attr_t attr;
    pthread_attr_init(&attr);
    pthread_attr_setstacksize(&attr, (size_t)1 << 20);
    int e = pthread_create(&t->id, &attr, thread_main, t);
    pthread_attr_destroy(&attr);
    if (e != 0) {
        free(t);
        return jl_fail(err, JOULET_LIMIT, "thread %s could not be started: %s; raise the limit on processes (ulimit -u)", name,
                       strerror(e));
    }
    *out = t;
    return jl_ok(err);
}

void jl_thread_join(struct jl_thread *t)
{
    if (!t)
        return;
    pthread_join(t->id, NULL);
    free(t);
}

void jl_thread_leave(struct jl_thread *t)
{
    pthread_detach(t->id);
}

bool jl_thread_realtime(void)
{
    struct sched_param p = {.sched_priority = 1};
    return pthread_setschedparam(pthread_self(), SCHED_FIFO, &p) == 0;
}

struct jl_event {
    int fd;
};

struct jl_event *jl_event_open(void)
{
    struct jl_event *e = malloc(sizeof(*e));
    if (!e)
        return NULL;
    e->fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    if (e->fd >= 0)
        return e;
    free(e);
    return NULL;
}

void jl_event_close(struct jl_event *e)
{
    if (!e)
        return;
    close(e->fd);
    free(e);
}

void jl_event_set(struct jl_event *e)
{
    int saved = errno; /* a signal handler must leave it as it was */
    uint64_t one = 1;
    ssize_t n = write(e->fd, &one, sizeof(one));
    (void)n; /* full means that it is set already */
    errno = saved;
}

static bool take(struct jl_event *e)
{
    uint64_t count;
    return read(e->fd, &count, sizeof(count)) == sizeof(count);
}

/* One system call where the time passes and nothing happens: the sampler does this a thousand times a second. */
bool jl_event_wait_until(struct jl_event *e, int64_t t_ns)
{
    struct pollfd p = {.fd = e->fd, .events = POLLIN};
    for (;;) {
        int64_t left = t_ns - jl_mono_ns();
        left = left > 0 ? left : 0;
        struct timespec ts = {left / JL_NS_PER_S, left % JL_NS_PER_S};
        int ready = ppoll(&p, 1, &ts, NULL);
        if (ready > 0 && take(e))
            return true;
        if (ready == 0)
            return false;
    }
}

void jl_sleep_until(int64_t t_ns)
{
    struct timespec ts = {t_ns / JL_NS_PER_S, t_ns % JL_NS_PER_S};
    if (t_ns <= 0)
        return;
    while (clock_nanosleep(CLOCK_MONOTONIC, TIMER_ABSTIME, &ts, NULL) == EINTR)
        ;
}

/* ---- libraries ------------------------------------------------------------------------------------------------------- */

void *jl_lib_open(const char *name, struct joulet_error *err)
{
    void *lib = dlopen(name, RTLD_NOW | RTLD_LOCAL);
    if (lib)
        jl_ok(err);
    else
        jl_fail(err, JOULET_NOT_FOUND, "%s could not be loaded: %s", name, dlerror());
    return lib;
}

void *jl_lib_symbol(void *lib, const char *name)
{
    return dlsym(lib, name);
}

void jl_lib_close(void *lib)
{
    if (lib)
        dlclose(lib);
}
