/* sysfile.c - files of the kernel that show a value: each read asks the driver again. A driver that is unloaded leaves the open
 * file behind, which then says ENODEV, or below a copied tree goes on saying the last thing it said: both are noticed. */
#include "lib/sensors/sysfile.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

int64_t sysfile_look_ns = JL_NS_PER_S;

enum joulet_status sysfile_status(int e)
{
    switch (e) {
    case ENODEV:
    case ENXIO:
    case ENOENT:
    case ENOTDIR:
        return JOULET_GONE;
    case EACCES:
    case EPERM:
        return JOULET_PERMISSION;
    case ENOMEM:
        return JOULET_MEMORY;
    default:
        return JOULET_IO;
    }
}

/* ---- trouble while looking ------------------------------------------------------------------------------------------ */

static _Thread_local struct {
    int error;
    char path[SYSFILE_PATH];
} trouble;

void sysfile_trouble_begin(void)
{
    trouble.error = 0;
}

/* Drivers say the last three of what a chip does not have. */
void sysfile_trouble_note(const char *path, int error)
{
    static const int usual[] = {0, ENOENT, ENOTDIR, ENODEV, ENXIO, EACCES, EPERM, ENODATA, EOPNOTSUPP, EINVAL};
    for (size_t i = 0; i < JL_COUNT(usual); i++)
        if (error == usual[i])
            return;
    if (trouble.error)
        return;
    trouble.error = error;
    snprintf(trouble.path, sizeof(trouble.path), "%s", path);
}

bool sysfile_trouble(char *path, size_t size, int *error)
{
    *error = trouble.error;
    snprintf(path, size, "%s", trouble.path);
    return trouble.error != 0;
}

enum joulet_status sysfile_list(const char *dir, char ***names, size_t *n, struct joulet_error *err)
{
    errno = 0;
    enum joulet_status status = jl_list_dir(dir, names, n, err);
    if (status != JOULET_OK && status != JOULET_MEMORY)
        sysfile_trouble_note(dir, errno);
    return status;
}

/* ---- files ------------------------------------------------------------------------------------------------------------ */

static bool open_it(struct sysfile *f)
{
    f->fd = open(f->path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    f->error = f->fd < 0 ? errno : 0;
    sysfile_trouble_note(f->path, f->error);
    return f->fd >= 0;
}

bool sysfile_open(struct sysfile *f, const char *dir, const char *name)
{
    *f = (struct sysfile){.fd = -1, .look_ns = jl_mono_ns(), .error = ENAMETOOLONG};
    int n = snprintf(f->path, sizeof(f->path), "%s/%s", dir, name);
    return n > 0 && (size_t)n < sizeof(f->path) && open_it(f);
}

void sysfile_close(struct sysfile *f)
{
    if (f->fd >= 0)
        close(f->fd);
    f->fd = -1;
}

static bool removed(int fd)
{
    struct stat st;
    return fstat(fd, &st) == 0 && st.st_nlink == 0;
}

static bool still_there(struct sysfile *f)
{
    int64_t now = jl_mono_ns();
    if (now - f->look_ns < sysfile_look_ns)
        return f->fd >= 0;
    f->look_ns = now;
    if (f->fd >= 0 && !removed(f->fd))
        return true;
    sysfile_close(f);
    f->error = ENODEV;
    f->back = (!f->same || f->same(f, f->of)) && open_it(f);
    return f->back;
}

enum joulet_status sysfile_read(struct sysfile *f, void *buf, size_t size, int64_t at, size_t *n)
{
    ssize_t got;
    *n = 0;
    if (!still_there(f))
        return sysfile_status(f->error) == JOULET_PERMISSION ? JOULET_PERMISSION : JOULET_GONE;
    do
        got = pread(f->fd, buf, size, (off_t)at);
    while (got < 0 && errno == EINTR);
    if (got >= 0) {
        *n = (size_t)got;
        return JOULET_OK;
    }
    f->error = errno;
    if (!f->unsure)
        sysfile_trouble_note(f->path, f->error);
    enum joulet_status status = sysfile_status(f->error);
    jl_trace("sensor", "%s cannot be read: %s", f->path, strerror(f->error));
    if (status == JOULET_GONE)
        sysfile_close(f);
    return status;
}

bool sysfile_parse(const char *text, size_t n, int64_t *out)
{
    uint64_t v = 0;
    size_t i = 0;
    if (n && text[n - 1] == '\n')
        n--;
    bool minus = n && text[0] == '-';
    for (i = minus; i < n; i++) {
        unsigned d = (unsigned)(unsigned char)text[i] - '0';
        if (d > 9 || v > ((uint64_t)INT64_MAX - d) / 10)
            return false;
        v = v * 10 + d;
    }
    if (n == (size_t)minus)
        return false;
    *out = minus ? -(int64_t)v : (int64_t)v;
    return true;
}

enum joulet_status sysfile_number(struct sysfile *f, int64_t *out)
{
    char text[32];
    size_t n;
    enum joulet_status status = sysfile_read(f, text, sizeof(text), 0, &n);
    if (status != JOULET_OK || sysfile_parse(text, n, out))
        return status;
    jl_trace("sensor", "%s does not hold a number", f->path);
    return JOULET_FORMAT;
}

enum joulet_status sysfile_text(struct sysfile *f, char *buf, size_t size)
{
    size_t n;
    enum joulet_status status = sysfile_read(f, buf, size - 1, 0, &n);
    buf[n] = '\0';
    buf[strcspn(buf, "\n")] = '\0';
    return status;
}

bool sysfile_once(const char *dir, const char *name, char *buf, size_t size)
{
    struct sysfile f;
    buf[0] = '\0';
    bool ok = sysfile_open(&f, dir, name) && sysfile_text(&f, buf, size) == JOULET_OK;
    sysfile_close(&f);
    return ok;
}

bool sysfile_once_number(const char *dir, const char *name, int64_t *out)
{
    struct sysfile f;
    bool ok = sysfile_open(&f, dir, name) && sysfile_number(&f, out) == JOULET_OK;
    sysfile_close(&f);
    return ok;
}
