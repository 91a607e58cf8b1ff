/* failing.c - see failing.h: memory, files, libraries. */
#include "tests/sensors/failing.h"

#include "lib/base/base.h"

#include <dirent.h>
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define FILES 4096

static struct {
    bool on;
    enum failing_what what;
    long at;
    int code;
    struct failing_left so_far;
    void *ours[8192];   /* what the C library allocated for itself is freed here too, and is not ours */
    bool opened[FILES]; /* likewise */
} fault;

void failing_begin(enum failing_what what, long at, int code)
{
    memset(&fault, 0, sizeof(fault));
    fault.what = what;
    fault.at = at;
    fault.code = code;
    fault.on = true;
}

struct failing_left failing_end(void)
{
    fault.on = false;
    return fault.so_far;
}

bool failing_now(enum failing_what what)
{
    return fault.on && ++fault.so_far.calls[what] == fault.at && fault.what == what;
}

int failing_code(void)
{
    return fault.code;
}

static bool fails(enum failing_what what, int error)
{
    bool now = failing_now(what);
    if (now)
        errno = error;
    return now;
}

/* ---- memory ---------------------------------------------------------------------------------------------------------- */

void *__real_malloc(size_t n);
void *__real_calloc(size_t n, size_t size);
void *__real_realloc(void *p, size_t n);
char *__real_strdup(const char *s);
int __real_vasprintf(char **out, const char *fmt, va_list args);
void __real_free(void *p);
void *__wrap_malloc(size_t n);
void *__wrap_calloc(size_t n, size_t size);
void *__wrap_realloc(void *p, size_t n);
char *__wrap_strdup(const char *s);
int __wrap_vasprintf(char **out, const char *fmt, va_list args);
void __wrap_free(void *p);

static void *counted(void *p)
{
    size_t i = 0;
    if (!fault.on || !p)
        return p;
    while (i < JL_COUNT(fault.ours) && fault.ours[i])
        i++;
    if (i == JL_COUNT(fault.ours))
        abort();
    fault.ours[i] = p;
    fault.so_far.allocated++;
    return p;
}

static void forget(const void *p)
{
    for (size_t i = 0; fault.on && p && i < JL_COUNT(fault.ours); i++)
        if (fault.ours[i] == p) {
            fault.ours[i] = NULL;
            fault.so_far.allocated--;
            return;
        }
}

void *__wrap_malloc(size_t n)
{
    return fails(FAILING_ALLOCATION, ENOMEM) ? NULL : counted(__real_malloc(n));
}

void *__wrap_calloc(size_t n, size_t size)
{
    return fails(FAILING_ALLOCATION, ENOMEM) ? NULL : counted(__real_calloc(n, size));
}

void *__wrap_realloc(void *p, size_t n)
{
    if (fails(FAILING_ALLOCATION, ENOMEM))
        return NULL;
    forget(p);
    return counted(__real_realloc(p, n));
}

char *__wrap_strdup(const char *s)
{
    return fails(FAILING_ALLOCATION, ENOMEM) ? NULL : counted(__real_strdup(s));
}

int __wrap_vasprintf(char **out, const char *fmt, va_list args)
{
    if (fails(FAILING_ALLOCATION, ENOMEM))
        return -1;
    int n = __real_vasprintf(out, fmt, args);
    if (n >= 0)
        counted(*out);
    return n;
}

void __wrap_free(void *p)
{
    forget(p);
    __real_free(p);
}

/* ---- files ------------------------------------------------------------------------------------------------------------- */

int __real_open64(const char *path, int flags, ...);
int __real_close(int fd);
ssize_t __real_read(int fd, void *buf, size_t n);
ssize_t __real_pread64(int fd, void *buf, size_t n, off_t at);
DIR *__real_opendir(const char *path);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_close(int fd);
ssize_t __wrap_read(int fd, void *buf, size_t n);
ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at);
DIR *__wrap_opendir(const char *path);

/* The fixtures are created through this too: their mode must arrive, or files may come out that only root can read. */
int __wrap_open64(const char *path, int flags, ...)
{
    va_list args;
    va_start(args, flags);
    mode_t mode = flags & O_CREAT ? va_arg(args, mode_t) : 0;
    va_end(args);
    if (fails(FAILING_OPEN, EMFILE))
        return -1;
    int fd = __real_open64(path, flags, mode);
    if (fault.on && fd >= 0 && fd < FILES && !fault.opened[fd]) {
        fault.opened[fd] = true;
        fault.so_far.open++;
    }
    return fd;
}

int __wrap_close(int fd)
{
    if (fault.on && fd >= 0 && fd < FILES && fault.opened[fd]) {
        fault.opened[fd] = false;
        fault.so_far.open--;
    }
    failing_drop_event(fd);
    return __real_close(fd);
}

ssize_t __wrap_read(int fd, void *buf, size_t n)
{
    static const uint64_t count = UINT64_C(4000) << 32; /* joules, in the scale of the kernel */
    if (fails(FAILING_READ, EIO))
        return -1;
    if (!failing_is_event(fd))
        return __real_read(fd, buf, n);
    memcpy(buf, &count, sizeof(count) < n ? sizeof(count) : n);
    return sizeof(count);
}

ssize_t __wrap_pread64(int fd, void *buf, size_t n, off_t at)
{
    return fails(FAILING_READ, EIO) ? -1 : __real_pread64(fd, buf, n, at);
}

DIR *__wrap_opendir(const char *path)
{
    return fails(FAILING_OPEN, EMFILE) ? NULL : __real_opendir(path);
}

/* ---- libraries --------------------------------------------------------------------------------------------------------- */

void *__real_dlopen(const char *name, int flags);
void *__real_dlsym(void *lib, const char *name);
void *__wrap_dlopen(const char *name, int flags);
void *__wrap_dlsym(void *lib, const char *name);

void *__wrap_dlopen(const char *name, int flags)
{
    return __real_dlopen(failing_now(FAILING_SYMBOL) ? "/nonexistent/library.so" : name, flags);
}

void *__wrap_dlsym(void *lib, const char *name)
{
    return failing_now(FAILING_SYMBOL) ? NULL : __real_dlsym(lib, name);
}
