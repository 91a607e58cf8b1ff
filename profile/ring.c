/* ring.c - reading the file of a probe. A record is copied, then believed when its stamp is that of its number and the writer has
 * not come round to it since (docs/profile-probe.md). Everything that is used as an index or a length is checked first. */
#include "profile/ring.h"

#include "lib/platform/platform.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <unistd.h>

#define BATCH        256
#define CAPACITY_MIN 64u
#define CAPACITY_MAX (1u << 24)

struct ring {
    int fd; /* -1: bytes */
    const uint8_t *bytes;
    size_t n;
    uint64_t capacity, next, lost, broken;
    enum wire_level level;
};

static bool read_at(const struct ring *r, uint64_t offset, void *to, size_t n)
{
    if (r->fd < 0) {
        if (offset > r->n || n > r->n - offset)
            return false;
        memcpy(to, r->bytes + offset, n);
        return true;
    }
    for (size_t done = 0; done < n;) {
        ssize_t got = pread(r->fd, (char *)to + done, n - done, (off_t)(offset + done));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return false;
        done += (size_t)got;
    }
    return true;
}

/* ---- opening ---------------------------------------------------------------------------------------------------------- */

static enum joulet_status check(struct ring *r, const char *what, struct joulet_error *err)
{
    struct wire_head h;
    char magic[8] = {0};
    if (!read_at(r, 0, magic, sizeof(magic)) || !read_at(r, 0, &h, sizeof(h)))
        return jl_fail(err, JOULET_FORMAT, "%s is no file of joulet's probe: it is too short; give the one that the probe made",
                       what);
    if (memcmp(magic, "\0\0\0\0\0\0\0", 8) == 0)
        return jl_fail(err, JOULET_BUSY, "%s is just being made by the probe: try again in a moment", what);
    if (memcmp(magic, WIRE_MAGIC, 8) != 0)
        return jl_fail(err, JOULET_FORMAT, "%s is no file of joulet's probe: give the one that the probe made", what);
    if (h.version != WIRE_VERSION || h.head_bytes != WIRE_HEAD_BYTES || h.record_bytes != sizeof(struct wire_record))
        return jl_fail(
            err, JOULET_FORMAT,
            "%s was written by version %u of the probe and this joulet reads version %u: use the probe that came with it", what,
            h.version, WIRE_VERSION);
    bool power = h.capacity >= CAPACITY_MIN && h.capacity <= CAPACITY_MAX && (h.capacity & (h.capacity - 1)) == 0;
    uint8_t last;
    if (!power || h.level >= WIRE_LEVELS || !read_at(r, WIRE_HEAD_BYTES + h.capacity * sizeof(struct wire_record) - 1, &last, 1))
        return jl_fail(err, JOULET_FORMAT, "%s is a damaged file of joulet's probe: record again", what);
    r->capacity = h.capacity;
    r->level = (enum wire_level)h.level;
    return jl_ok(err);
}

static enum joulet_status finish(struct ring **out, struct ring *r, const char *what, struct joulet_error *err)
{
    enum joulet_status status = check(r, what, err);
    *out = status == JOULET_OK ? r : NULL;
    if (status != JOULET_OK)
        ring_close(r);
    return status;
}

static enum joulet_status open_for(struct ring **out, const char *path, int access, struct joulet_error *err)
{
    struct stat st;
    *out = NULL;
    int fd = open(path, access | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        return jl_fail(err,
                       errno == ENOENT   ? JOULET_NOT_FOUND
                       : errno == EACCES ? JOULET_PERMISSION
                                         : JOULET_IO,
                       "the file of the probe %s could not be opened: %s; read it as the user the engine runs as", path,
                       strerror(errno));
    struct ring *r = calloc(1, sizeof(*r));
    if (!r || fstat(fd, &st) != 0 || !S_ISREG(st.st_mode)) {
        free(r);
        close(fd);
        return jl_fail(err, r ? JOULET_FORMAT : JOULET_MEMORY, "%s is no regular file: give the one that the probe made", path);
    }
    r->fd = fd;
    return finish(out, r, path, err);
}

enum joulet_status ring_open(struct ring **out, const char *path, struct joulet_error *err)
{
    return open_for(out, path, O_RDONLY, err);
}

enum joulet_status ring_open_bytes(struct ring **out, const void *bytes, size_t n, struct joulet_error *err)
{
    struct ring *r = calloc(1, sizeof(*r));
    *out = NULL;
    if (!r)
        return jl_fail(err, JOULET_MEMORY, "out of memory");
    r->fd = -1;
    r->bytes = bytes;
    r->n = n;
    return finish(out, r, "the recording", err);
}

void ring_close(struct ring *r)
{
    if (!r)
        return;
    if (r->fd >= 0)
        close(r->fd);
    free(r);
}

/* ---- asking the writer ------------------------------------------------------------------------------------------------ */

static bool write_word(int fd, size_t offset, uint32_t value)
{
    return pwrite(fd, &value, sizeof(value), (off_t)offset) == (ssize_t)sizeof(value);
}

enum joulet_status ring_hold(struct ring *r, struct joulet_error *err)
{
    if (flock(r->fd, LOCK_EX | LOCK_NB) == 0 || errno != EWOULDBLOCK) /* without locks, as some folders are, nobody can tell */
        return jl_ok(err);
    return jl_fail(
        err, JOULET_BUSY,
        "another joulet is profiling this engine, and its probe does what one alone asks: end that one, or wait for it");
}

enum joulet_status ring_ask(const char *path, const struct ring_control *c, struct joulet_error *err)
{
    const size_t at = offsetof(struct wire_head, control);
    struct ring *r;
    enum joulet_status status = open_for(&r, path, O_RDWR, err);
    if (status != JOULET_OK)
        return status;
    int fd = r->fd; /* that very file was looked at: its path is the engine's, who may put another there */
    bool ok = write_word(fd, at + offsetof(struct wire_control, segment_ms), c->segment_ms) &&
              write_word(fd, at + offsetof(struct wire_control, loop_ms), c->loop_ms);
    for (size_t i = 0; i < WIRE_AGAIN && ok; i++)
        ok = write_word(fd, at + offsetof(struct wire_control, again) + i * sizeof(uint32_t), c->again[i]);
    ok = ok && write_word(fd, at + offsetof(struct wire_control, watch), (uint32_t)c->watch);
    int failed = errno;
    ring_close(r);
    if (ok)
        return jl_ok(err);
    return jl_fail(err, JOULET_IO, "the probe cannot be told what to do through %s: %s; read it as the user the engine runs as",
                   path, strerror(failed));
}

/* ---- records ---------------------------------------------------------------------------------------------------------- */

static uint64_t reserved(const struct ring *r)
{
    uint64_t n;
    return read_at(r, offsetof(struct wire_head, reserved), &n, sizeof(n)) ? n : r->next;
}

static bool makes_sense(const struct wire_record *w)
{
    bool kind = (w->kind > WIRE_NONE && w->kind <= WIRE_GRAPH) || (w->kind >= WIRE_EMBEDDING && w->kind < WIRE_KINDS);
    return kind && w->t1_ns >= w->t0_ns && w->t1_ns <= INT64_MAX && w->layer >= -1;
}

static void take(const struct wire_record *w, uint64_t number, struct ring_record *out)
{
    *out = (struct ring_record){.number = number,
                                .t0_ns = (int64_t)w->t0_ns,
                                .t1_ns = (int64_t)w->t1_ns,
                                .kind = (enum wire_kind)w->kind,
                                .layer = w->layer,
                                .source = w->source,
                                .flags = w->flags,
                                .tokens = w->tokens,
                                .a = w->a,
                                .b = w->b,
                                .c = w->c,
                                .thread = w->thread};
}

/* What the writer has come round to is gone. */
static void skip_overwritten(struct ring *r, uint64_t written)
{
    if (written >= r->capacity && r->next < written - r->capacity) {
        r->lost += written - r->capacity - r->next;
        r->next = written - r->capacity;
    }
}

/* One run of records without a turn of the ring; false: nothing more to be had now. */
static bool read_run(struct ring *r, struct ring_record *out, size_t max, size_t *n)
{
    static const uint64_t size = sizeof(struct wire_record);
    struct wire_record copy[BATCH];
    uint64_t written = reserved(r), at, run;
    skip_overwritten(r, written);
    if (r->next >= written)
        return false;
    at = r->next & (r->capacity - 1);
    run = written - r->next;
    run = run < max - *n ? run : max - *n;
    run = run < BATCH ? run : BATCH;
    run = run < r->capacity - at ? run : r->capacity - at;
    if (!read_at(r, WIRE_HEAD_BYTES + at * size, copy, (size_t)(run * size)))
        return false;
    written = reserved(r);
    for (uint64_t i = 0; i < run; i++) {
        uint64_t number = r->next, behind = written - number;
        const struct wire_record *w = &copy[i];
        if (behind > r->capacity) /* overwritten while it was copied */
            break;
        if (atomic_load_explicit(&w->stamp, memory_order_relaxed) != wire_stamp(number)) {
            if (behind <= r->capacity / 2)
                return false; /* its writer is at it */
            r->lost++;
        } else if (!makes_sense(w)) {
            r->broken++;
        } else {
            take(w, number, &out[(*n)++]);
        }
        r->next++;
    }
    return true;
}

size_t ring_read(struct ring *r, struct ring_record *out, size_t max)
{
    size_t n = 0;
    while (n < max && read_run(r, out, max, &n))
        continue;
    return n;
}

uint64_t ring_lost(const struct ring *r)
{
    return r->lost;
}

uint64_t ring_broken(const struct ring *r)
{
    return r->broken;
}

/* ---- head ---------------------------------------------------------------------------------------------------------------- */

static void take_text(char *to, size_t size, const char *from)
{
    size_t i = 0;
    for (; i + 1 < size && from[i]; i++)
        to[i] = (unsigned char)from[i] < 32 || (unsigned char)from[i] > 126 ? '?' : from[i];
    to[i] = '\0';
}

void ring_info(struct ring *r, struct ring_info *out)
{
    struct wire_head h;
    *out = (struct ring_info){.level = r->level, .pid = -1, .capacity = r->capacity};
    if (!read_at(r, 0, &h, sizeof(h)))
        return;
    out->pid = h.pid;
    out->start_ns = (int64_t)h.start_ns;
    out->start_wall_ns = (int64_t)h.start_wall_ns;
    out->every = h.every;
    out->stop_ns = h.stop_ns;
    out->written = atomic_load(&h.reserved);
    take_text(out->engine, sizeof(out->engine), h.engine);
    take_text(out->ggml, sizeof(out->ggml), h.ggml);
    take_text(out->device, sizeof(out->device), h.device);
    take_text(out->remark, sizeof(out->remark), h.remark);
    for (int i = 0; i < WIRE_COUNTS; i++)
        out->counts[i] = atomic_load(&h.counts[i]);
    for (int i = 0; i < 2; i++) {
        out->captured[i] = atomic_load(&h.captured[i]);
        out->launches[i] = atomic_load(&h.launches[i]);
    }
}

void ring_name(struct ring *r, const struct ring_record *record, char *out, size_t size)
{
    struct wire_name name;
    uint32_t index = wire_name_of(record->b);
    *out = '\0';
    if (r->level != WIRE_NODES || record->kind < WIRE_EMBEDDING || index == 0 || index > WIRE_NAMES)
        return;
    if (!read_at(r, offsetof(struct wire_head, names) + (index - 1) * sizeof(name), &name, sizeof(name)))
        return;
    name.text[sizeof(name.text) - 1] = '\0';
    if (atomic_load(&name.state) == 2)
        take_text(out, size, name.text);
}

/* ---- files ------------------------------------------------------------------------------------------------------------------
 */

static bool is_ring(const char *name, long long *owner, unsigned long long *start)
{
    int end = 0;
    return sscanf(name, WIRE_FILE "%n", owner, start, &end) == 2 && end > 0 && !name[end];
}

char *ring_find(const char *folder, int64_t pid)
{
    char **names, *found = NULL;
    size_t n;
    unsigned long long newest = 0;
    if (jl_list_dir(folder, &names, &n, NULL) != JOULET_OK)
        return NULL;
    for (size_t i = 0; i < n; i++) {
        long long owner;
        unsigned long long start;
        if (!is_ring(names[i], &owner, &start) || (pid >= 0 && owner != pid) || start < newest)
            continue;
        free(found);
        found = jl_strf("%s/%s", folder, names[i]);
        newest = start;
    }
    jl_free_list(names, n);
    return found;
}

/* Tens of megabytes each, and in memory where the folder is. */
void ring_remove_ended(const char *folder)
{
    char **names;
    size_t n;
    if (jl_list_dir(folder, &names, &n, NULL) != JOULET_OK)
        return;
    for (size_t i = 0; i < n; i++) {
        long long owner;
        unsigned long long start;
        struct stat st;
        char *path = is_ring(names[i], &owner, &start) && !jl_pid_alive(owner) ? jl_strf("%s/%s", folder, names[i]) : NULL;
        if (path && lstat(path, &st) == 0 && S_ISREG(st.st_mode) && st.st_uid == geteuid())
            unlink(path);
        free(path);
    }
    jl_free_list(names, n);
}

const char *ring_kind_name(enum wire_kind kind)
{
    static const char *const names[WIRE_KINDS] = {
        [WIRE_LOAD] = "load",
        [WIRE_TOKENISE] = "tokenise",
        [WIRE_STEP] = "step",
        [WIRE_SEQUENCE] = "sequence",
        [WIRE_WAIT] = "wait",
        [WIRE_SAMPLE] = "sample",
        [WIRE_DETOKENISE] = "detokenise",
        [WIRE_GRAPH] = "graph",
        [WIRE_EMBEDDING] = "embedding",
        [WIRE_ATTENTION_NORM] = "attention_norm",
        [WIRE_ATTENTION] = "attention",
        [WIRE_FFN_NORM] = "ffn_norm",
        [WIRE_FFN] = "ffn",
        [WIRE_OUTPUT_NORM] = "output_norm",
        [WIRE_HEAD] = "head",
        [WIRE_LAYER] = "layer",
        [WIRE_OTHER] = "other",
    };
    return kind < WIRE_KINDS && names[kind] ? names[kind] : "";
}

const char *ring_part_name(enum wire_part part)
{
    static const char *const names[WIRE_PARTS] = {"",   "qkv",        "rope", "kv_write", "scores",  "projection", "gate",
                                                  "up", "activation", "down", "router",   "experts", "residual",   "norm"};
    return part < WIRE_PARTS ? names[part] : "";
}

const char *ring_level_name(enum wire_level level)
{
    static const char *const names[WIRE_LEVELS] = {"stages", "layers", "components", "nodes"};
    return level < WIRE_LEVELS ? names[level] : "";
}
