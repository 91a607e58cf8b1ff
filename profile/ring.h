/* ring.h - reading what a probe inside an engine writes (probes/wire.h), while it is written or afterwards. The file is not
 * believed: it may be cut off, of another version, or hostile. It is read, not mapped, so that one that shrinks cannot end us. */
#ifndef PROFILE_RING_H
#define PROFILE_RING_H

#include "lib/base/base.h"
#include "probes/wire.h"

struct ring_info {
    enum wire_level level;
    int64_t pid, start_ns, start_wall_ns;
    uint64_t capacity, written; /* records; written: ever */
    uint32_t every, stop_ns;
    char engine[64], ggml[64], device[64], remark[256];
    uint64_t counts[WIRE_COUNTS];
    uint64_t captured[2], launches[2]; /* wire.h */
};
struct ring_record { /* as struct wire_record, checked */
    uint64_t number;
    int64_t t0_ns, t1_ns;
    enum wire_kind kind;
    int layer; /* -1 none */
    uint32_t source, flags, tokens, a, b, c, thread;
};
struct ring;
/* JOULET_NOT_FOUND; JOULET_FORMAT: no such file, or of another version. JOULET_BUSY: its head is not written yet. */
enum joulet_status ring_open(struct ring **out, const char *path, struct joulet_error *err);
/* The same for bytes in memory, which must outlive it. */
enum joulet_status ring_open_bytes(struct ring **out, const void *bytes, size_t n, struct joulet_error *err);
void ring_close(struct ring *r);
/* At most max records that were written since the last call, oldest first; fewer when there are no more yet. */
size_t ring_read(struct ring *r, struct ring_record *out, size_t max);
uint64_t ring_lost(const struct ring *r);   /* overwritten before they were read, or never finished */
uint64_t ring_broken(const struct ring *r); /* that made no sense */
void ring_info(struct ring *r, struct ring_info *out);
/* "Qcur:MUL_MAT" of a record at level nodes; "" none. */
void ring_name(struct ring *r, const struct ring_record *record, char *out, size_t size);

/* What a running probe is asked to do, in place of what it was started with (wire.h); all 0: as it was started. */
struct ring_control {
    enum wire_watch watch;
    uint32_t segment_ms, again[WIRE_AGAIN], loop_ms;
};
/* Who asks holds it until ring_close, or until its process ends; JOULET_BUSY: another joulet does. */
enum joulet_status ring_hold(struct ring *r, struct joulet_error *err);
enum joulet_status ring_ask(const char *path, const struct ring_control *c, struct joulet_error *err);

/* The newest ring of a process in a folder; malloc'ed path, NULL when there is none. pid -1: of any process. */
char *ring_find(const char *folder, int64_t pid);
/* Removes the rings of this user in a folder whose processes have ended. */
void ring_remove_ended(const char *folder);

const char *ring_kind_name(enum wire_kind kind); /* "attention"; static */
const char *ring_part_name(enum wire_part part); /* "" for none; static */
const char *ring_level_name(enum wire_level level);

#endif
