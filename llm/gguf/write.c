/* write.c - a synthetic model streamed to disk: into "path.part", flushed, then renamed, so that whoever sees `path` sees a whole
 * file. The partial file is locked while it grows: a second writer is refused, and what a killed one left is written over. */
#include "lib/platform/platform.h"
#include "llm/gguf/head.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define CHUNK_BYTES ((size_t)4 << 20)

struct writer {
    const char *path;
    char *part;
    int fd;
    uint64_t bytes, done;
    uint8_t *chunk;
    size_t used, size;
    bool (*progress)(void *user, double done);
    void *user;
};

static enum joulet_status disk_full(const struct writer *w, int64_t free_bytes, struct joulet_error *err)
{
    char there[40] = "less";
    if (free_bytes >= 0)
        snprintf(there, sizeof(there), "%.1f MB", (double)free_bytes / 1e6);
    return jl_fail(err, JOULET_IO, "%s needs %.1f MB and the disk has %s free: free some space or write to another disk", w->path,
                   (double)w->bytes / 1e6, there);
}

static enum joulet_status io_error(const struct writer *w, const char *what, struct joulet_error *err)
{
    int e = errno;
    if (e == ENOSPC || e == EDQUOT)
        return disk_full(w, -1, err);
    if (e == EFBIG)
        return jl_fail(err, JOULET_IO,
                       "%s needs %.1f MB, more than this file system or `ulimit -f` allows a file: write to another disk",
                       w->path, (double)w->bytes / 1e6);
    if (e == EACCES || e == EPERM || e == EROFS)
        return jl_fail(err, JOULET_PERMISSION, "%s could not be %s: %s; choose a folder you may write to", w->path, what,
                       strerror(e));
    if (e == ENOENT || e == ENOTDIR)
        return jl_fail(err, JOULET_NOT_FOUND, "%s could not be %s: its folder does not exist; create it first", w->path, what);
    return jl_fail(err, JOULET_IO, "%s could not be %s: %s", w->path, what, strerror(e));
}

/* True when the locked file still is the one at the path: its last holder may have renamed it in between. */
static bool still_there(const struct writer *w)
{
    struct stat ours, there;
    return fstat(w->fd, &ours) == 0 && stat(w->part, &there) == 0 && ours.st_dev == there.st_dev && ours.st_ino == there.st_ino;
}

static enum joulet_status open_part(struct writer *w, struct joulet_error *err)
{
    for (int tries = 0; tries < 5; tries++) {
        w->fd = open(w->part, O_RDWR | O_CREAT | O_CLOEXEC, 0644);
        if (w->fd < 0)
            return io_error(w, "written", err);
        struct flock lock = {.l_type = F_WRLCK, .l_whence = SEEK_SET};
        if (fcntl(w->fd, F_SETLK, &lock) != 0 && (errno == EACCES || errno == EAGAIN))
            break;
        if (still_there(w))
            return ftruncate(w->fd, 0) == 0 ? jl_ok(err) : io_error(w, "written", err);
        close(w->fd);
        w->fd = -1;
    }
    if (w->fd >= 0)
        close(w->fd);
    w->fd = -1;
    return jl_fail(err, JOULET_BUSY, "%s is being written by another process: wait for it to end", w->path);
}

static enum joulet_status flush(struct writer *w, struct joulet_error *err)
{
    for (size_t at = 0; at < w->used;) {
        ssize_t n = write(w->fd, w->chunk + at, w->used - at);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return io_error(w, "written", err);
        at += (size_t)n;
        w->done += (uint64_t)n;
    }
    w->used = 0;
    if (w->progress && !w->progress(w->user, (double)w->done / (double)w->bytes))
        return jl_fail(err, JOULET_CANCELLED, "%s was not finished: writing it was interrupted", w->path);
    return jl_ok(err);
}

/* Room for n bytes in the chunk, n <= size. */
static uint8_t *room(struct writer *w, size_t n, enum joulet_status *status, struct joulet_error *err)
{
    if (w->used + n > w->size)
        *status = flush(w, err);
    if (*status != JOULET_OK)
        return NULL;
    w->used += n;
    return w->chunk + w->used - n;
}

/* Rows of control tokens and of bytes that do not print: their logit stays near 0 while the best are several deviations up, so
 * neither an end of text nor broken UTF-8 is sampled. */
static double row_scale(const struct gguf_tensor *t, uint64_t row)
{
    bool silent = row < GGUF_BYTE_TOKENS ? row < 32 || row > 126 : row + GGUF_CONTROL_TOKENS >= t->rows;
    return t->fill == FILL_VOCABULARY && silent ? 0.01 : 1;
}

static enum joulet_status write_tensor(struct writer *w, struct gguf_tables *tables, const struct gguf_tensor *t, size_t index,
                                       uint64_t seed, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    size_t row_bytes = (size_t)gguf_row_bytes(t->quant, t->columns);
    uint64_t rows = t->rows ? t->rows : 1;
    for (uint64_t r = 0; r < rows; r++) {
        uint8_t *to = room(w, row_bytes, &status, err);
        if (!to)
            return status;
        gguf_fill_row(tables, t, index, r, row_scale(t, r), seed, to);
    }
    size_t padding = (size_t)(-(int64_t)t->bytes & (GGUF_ALIGNMENT - 1));
    uint8_t *to = room(w, padding, &status, err);
    if (to)
        memset(to, 0, padding);
    return status;
}

static enum joulet_status write_head(struct writer *w, const struct jl_buf *head, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    for (size_t at = 0; at < head->len && status == JOULET_OK;) {
        size_t n = head->len - at < w->size ? head->len - at : w->size;
        uint8_t *to = room(w, n, &status, err);
        if (to)
            memcpy(to, head->data + at, n);
        at += n;
    }
    return status;
}

static enum joulet_status publish(struct writer *w, struct joulet_error *err)
{
    enum joulet_status status = flush(w, err);
    if (status != JOULET_OK)
        return status;
    if (fsync(w->fd) != 0 || rename(w->part, w->path) != 0)
        return io_error(w, "finished", err);
    return jl_ok(err);
}

static enum joulet_status write_all(struct writer *w, const struct jl_buf *head, const struct gguf_layout *l, uint64_t seed,
                                    struct joulet_error *err)
{
    struct gguf_tables *tables = gguf_tables_open();
    w->chunk = malloc(w->size);
    enum joulet_status status = jl_ok(err);
    if (!tables || !w->chunk)
        status = jl_fail(err, JOULET_MEMORY, "%s could not be written: out of memory", w->path);
    if (status == JOULET_OK)
        status = open_part(w, err);
    if (status == JOULET_OK) {
        status = write_head(w, head, err);
        for (size_t i = 0; i < l->n && status == JOULET_OK; i++)
            status = write_tensor(w, tables, &l->tensors[i], i, seed, err);
        if (status == JOULET_OK)
            status = publish(w, err);
        if (status != JOULET_OK)
            unlink(w->part);
        close(w->fd);
    }
    free(w->chunk);
    gguf_tables_close(tables);
    return status;
}

static int64_t free_beside(const char *path)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? jl_strf("%.*s", (int)(slash - path) + 1, path) : jl_strdup(".");
    int64_t free_bytes = dir ? jl_disk_free(dir) : -1;
    free(dir);
    return free_bytes;
}

enum joulet_status gguf_write(const char *path, const struct gguf_shape *shape, enum gguf_quant quant, uint64_t seed,
                              bool (*progress)(void *user, double done), void *user, struct joulet_error *err)
{
    struct writer w = {.path = path, .fd = -1, .size = CHUNK_BYTES, .progress = progress, .user = user};
    struct gguf_layout layout;
    struct jl_buf head;
    enum joulet_status status = gguf_layout_init(&layout, shape, quant, err);
    if (status != JOULET_OK)
        return status;
    status = gguf_head_make(&head, shape, &layout, quant, seed, err);
    if (status != JOULET_OK) {
        gguf_layout_release(&layout);
        return status;
    }
    w.bytes = head.len + layout.data_bytes;
    w.part = jl_strf("%s.part", path);
    int64_t free_bytes = free_beside(path);
    if (!w.part)
        status = jl_fail(err, JOULET_MEMORY, "%s could not be written: out of memory", path);
    else if (free_bytes >= 0 && (uint64_t)free_bytes < w.bytes)
        status = disk_full(&w, free_bytes, err);
    else
        status = write_all(&w, &head, &layout, seed, err);
    free(w.part);
    jl_buf_release(&head);
    gguf_layout_release(&layout);
    return status;
}
