/* probe.h - inside the probe: its ring, the functions it stands in for, names of nodes, schedulers. Everything here is hidden in
 * the library; what runs for every node or call neither allocates nor locks. */
#ifndef PROBES_GGML_PROBE_H
#define PROBES_GGML_PROBE_H

#include "probes/ggml/ggml.h"
#include "probes/wire.h"

#include <time.h>

/* ---- settings and ring (ring.c) ------------------------------------------------------------------------------------ */
extern struct probe_settings {
    const char *folder; /* JOULET_PROBE_DIR; NULL: the probe passes everything through and makes no file */
    enum wire_level level;
    uint32_t every;              /* 0: chosen */
    uint64_t records;            /* capacity of the ring */
    uint32_t repeat[WIRE_KINDS]; /* further executions of each kind of stretch */
    bool repeats, verify, turns;
    uint64_t segment_ns, seed;
    uint32_t repeat_rows; /* in graphs of at most so many tokens */
} probe_settings;

/* Before the first call that computes or loads: makes the file. Later, in a child of fork() and when it could not be made: false.
 * Also true in a step without the probe. */
bool probe_begin(void);
extern struct wire_head *_Atomic probe_head; /* NULL: nothing is recorded */
void probe_record(const struct wire_record *r);
void probe_count(enum wire_count c);
void probe_remark(const char *text);                                    /* the first is kept, and said on stderr */
uint32_t probe_name(const char *name, size_t n, const char *operation); /* 1.., 0: no room */

extern __thread uint8_t probe_turn; /* enum wire_turn of this thread's step: of one without the probe nothing is recorded */

static inline struct wire_head *probe_on(void)
{
    return probe_turn == WIRE_TURN_OFF ? NULL : atomic_load_explicit(&probe_head, memory_order_acquire);
}

static inline uint64_t probe_now(void)
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

/* ---- the real functions (real.c) ------------------------------------------------------------------------------------ */
/* Where `caller` would have got `name`, had this library not stood before it; NULL: nowhere. */
void *probe_find(const char *name, const void *ours, const void *caller);
/* The same for a function that was just called: it must be somewhere. */
void *probe_must_find(const char *name, const void *ours, const void *caller);
/* Declares `real`, the function that the enclosing one stands in for. */
#define REAL(name)                                                                                                               \
    static _Atomic(__typeof__(&name)) found;                                                                                     \
    __typeof__(&name) real = atomic_load_explicit(&found, memory_order_relaxed);                                                 \
    if (!real) {                                                                                                                 \
        real = (__typeof__(&name))probe_must_find(#name, (const void *)&name, __builtin_return_address(0));                      \
        atomic_store_explicit(&found, real, memory_order_relaxed);                                                               \
    }

/* ---- names of nodes (names.c) ----------------------------------------------------------------------------------------- */
/* Places at which a graph is stopped, in the order of a model. */
enum mark {
    MARK_NONE,
    MARK_EMBEDDING,
    MARK_ATTENTION_NORM,
    MARK_ATTENTION,
    MARK_FFN_NORM,
    MARK_LAYER,
    MARK_OUTPUT_NORM,
    MARK_HEAD
};
/* The place that a node of this name ends; its layer, -1 none. */
enum mark names_mark(const char *name, int *layer);
bool names_layer_mark(enum mark m); /* one of those at level layers */
/* What lies between two places, and flags; from: MARK_NONE at the begin of a graph. */
enum wire_kind names_stretch(enum mark from, enum mark to, uint16_t *flags);
enum wire_kind names_inside(enum mark from, int layer); /* what a node after `from` belongs to */
enum wire_part names_part(enum wire_kind inside, const char *name, const char *operation);
size_t names_base(const char *name);       /* length without "-LAYER" and " (view)" */
bool names_is_view(const char *operation); /* computes nothing */

/* ---- the step that a thread is in (batch.c) --------------------------------------------------------------------------- */
struct step {
    struct context *context;
    uint32_t tokens; /* WIRE_UNKNOWN */
    uint16_t source;
    bool vectors; /* of an image or a sound, not tokens */
    bool decodes; /* each of its sequences has one token: no part of a prompt, as far as that can be told */
};
extern __thread struct step probe_step;
extern __thread uint64_t probe_waited_ns; /* of this thread, in llama_synchronize */
uint32_t probe_thread(void);

/* ---- schedulers (eval.c), executing again (lockin*.c) ---------------------------------------------------------------- */
struct scheduler;
extern struct ggml_calls {
    const char *(*name)(const struct ggml_tensor *);
    const char *(*operation)(const struct ggml_tensor *);
    int64_t (*rows)(const struct ggml_tensor *);
    int (*n_nodes)(struct ggml_cgraph *);
} ggml;
bool ggml_resolve(const void *caller);

#endif
