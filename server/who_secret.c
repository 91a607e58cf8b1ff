/* who_secret.c - 32 random bytes that make the hashes of clients' keys worthless to anybody else. Written beside under a name of
 * its own and then linked: of two that begin at once one's stays, and nobody reads half of it. */
#include "server/who.h"

#include "lib/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/stat.h>
#include <unistd.h>

static bool write_all(int fd, const uint8_t *bytes, size_t n)
{
    while (n) {
        ssize_t done = write(fd, bytes, n);
        if (done < 0 && errno == EINTR)
            continue;
        if (done <= 0)
            return false;
        bytes += done;
        n -= (size_t)done;
    }
    return true;
}

/* false and errno: it could not be made. That another process was faster is fine. */
static bool make(const char *path)
{
    uint8_t bytes[WHO_SECRET];
    char *beside = jl_strf("%s.%ld", path, (long)getpid());
    int fd = -1;
    bool ok = beside && getrandom(bytes, sizeof bytes, 0) == (ssize_t)sizeof bytes;
    if (ok) {
        unlink(beside); /* of a process of this number that was killed */
        fd = open(beside, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
        ok = fd >= 0 && write_all(fd, bytes, sizeof bytes) && fsync(fd) == 0;
    }
    if (ok)
        ok = link(beside, path) == 0 || errno == EEXIST;
    int why = errno;
    if (fd >= 0) {
        close(fd);
        unlink(beside);
    }
    explicit_bzero(bytes, sizeof bytes);
    free(beside);
    errno = why;
    return ok;
}

static enum joulet_status read_it(const char *path, int fd, uint8_t secret[WHO_SECRET], struct joulet_error *err)
{
    struct stat st;
    uint8_t bytes[WHO_SECRET + 1];
    ssize_t n = fstat(fd, &st) == 0 && S_ISREG(st.st_mode) ? read(fd, bytes, sizeof bytes) : -1;
    if (n != WHO_SECRET)
        return jl_fail(err, JOULET_FORMAT,
                       "%s: this is not the secret that hashes the keys of clients; move it away and start again", path);
    if (st.st_mode & 077 && fchmod(fd, 0600) != 0)
        return jl_fail(
            err, JOULET_PERMISSION,
            "%s: others may read the secret that hashes the keys of clients, and that cannot be changed (%s); say chmod "
            "600 to it as its owner",
            path, strerror(errno));
    memcpy(secret, bytes, WHO_SECRET);
    explicit_bzero(bytes, sizeof bytes);
    return jl_ok(err);
}

enum joulet_status who_secret(uint8_t secret[WHO_SECRET], struct joulet_error *err)
{
    struct joulet_error why;
    char *folder = jl_data_dir(&why), *path = folder ? jl_strf("%s/client-keys.secret", folder) : NULL;
    enum joulet_status status = path     ? jl_ok(err)
                                : folder ? jl_fail(err, JOULET_MEMORY, "out of memory")
                                         : jl_fail(err, why.status, "%s", why.message);
    int fd = path ? open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW) : -1;
    if (path && fd < 0 && errno == ENOENT && make(path))
        fd = open(path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    if (path && fd < 0)
        status = jl_fail(err, JOULET_IO,
                         "%s: the secret that hashes the keys of clients cannot be made or read (%s); make its "
                         "folder writable or choose another with JOULET_DATA_DIR",
                         path, strerror(errno));
    else if (path)
        status = read_it(path, fd, secret, err);
    if (fd >= 0)
        close(fd);
    free(path);
    free(folder);
    return status;
}
