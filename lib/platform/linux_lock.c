/* linux_lock.c - one at a time, between processes and between threads: flock belongs to the open file, and ends with it. */
#include "lib/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

/* Who held the lock before may have put another file in its place. */
static bool still_there(const char *path, int fd)
{
    struct stat held, named;
    return fstat(fd, &held) == 0 && stat(path, &named) == 0 && held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int jl_lock_file(const char *path, struct joulet_error *err)
{
    int fd, e = 0;
    for (;;) {
        fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        e = errno;
        int locked = -1;
        while (fd >= 0 && (locked = flock(fd, LOCK_EX)) != 0 && (e = errno) == EINTR)
            continue;
        if (locked == 0 && still_there(path, fd))
            return fd;
        if (fd >= 0)
            close(fd);
        if (locked != 0)
            break;
    }
    jl_fail(err, e == EACCES || e == EPERM || e == EROFS ? JOULET_PERMISSION : JOULET_IO,
            "%s cannot be locked: %s; check the permissions of its folder, or choose another file", path, strerror(e));
    return -1;
}

void jl_unlock_file(int lock)
{
    if (lock >= 0)
        close(lock);
}
