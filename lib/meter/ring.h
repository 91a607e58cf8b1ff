/* ring.h - the samples of every channel in memory, below one bound for all of them. When it is reached the oldest go first,
 * whichever channel they belong to, so that all traces reach back about equally far. */
#ifndef JL_RING_H
#define JL_RING_H

#include "lib/base/base.h"

#include <pthread.h>

#define RING_CHUNK 128 /* samples that are taken and given up together: 3 KiB */

struct ring_chunk {
    struct ring_chunk *next_free;
    uint64_t first; /* index of s[0]: samples of a channel are numbered from 0 since the meter opened */
    struct joulet_sample s[RING_CHUNK];
};

/* Samples of one channel: those with index begin..end-1 are held. */
struct ring {
    struct ring_chunk **chunks; /* circular, `cap` slots, oldest at `head` */
    size_t head, count, cap;
    uint64_t begin, end;
    uint64_t handed; /* the first that the sink has not had */
};

struct ring_store {
    pthread_mutex_t lock; /* everything here and in the rings */
    struct ring **rings;
    size_t n_rings, max_rings;
    size_t n_chunks, max_chunks;
    struct ring_chunk *free_chunks;
    uint64_t dropped; /* samples that left memory and that no sink had */
};

bool ring_store_init(struct ring_store *s, size_t max_bytes, size_t max_rings);
void ring_store_release(struct ring_store *s); /* the rings too; not the memory of `struct ring` */
bool ring_add(struct ring_store *s, struct ring *r);

/* Appends. Times must ascend: a sample that would not is moved to 1 ns after the last, and its half-width covers that. */
void ring_push(struct ring_store *s, struct ring *r, struct joulet_sample sample);
/* Takes back the samples at the end that are younger than t_ns and not flagged `keep`, unless the sink has them. Never the very
 * first of a channel: nothing else tells of the time before. */
void ring_retract(struct ring_store *s, struct ring *r, int64_t t_ns, uint32_t keep);
/* The newest sample; false when there is none. */
bool ring_last(struct ring_store *s, struct ring *r, struct joulet_sample *out);

/* For the sink: up to max samples it has not had, older than cutoff_ns, all of one second of the clock. */
size_t ring_take(struct ring_store *s, struct ring *r, int64_t cutoff_ns, struct joulet_sample *out, size_t max);

/* Copies from `lead` samples before the last at or before `from` to `lead` samples after the first at or after `to`; *samples is
 * malloc'ed, with room for one more. JOULET_NO_DATA if what was asked for has left memory, JOULET_MEMORY. */
enum joulet_status ring_copy(struct ring_store *s, struct ring *r, int64_t from, int64_t to, size_t lead,
                             struct joulet_sample **samples, size_t *n);
/* More than half of the room is taken by samples that the sink has not had. */
bool ring_store_pressed(struct ring_store *s);
size_t ring_store_bytes(struct ring_store *s);
uint64_t ring_store_dropped(struct ring_store *s);

#endif
