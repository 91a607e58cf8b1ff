/* scheduler.h - inside the probe: what is known of one scheduler (a context has one; draft models and vision encoders too). */
#ifndef PROBES_GGML_SCHEDULER_H
#define PROBES_GGML_SCHEDULER_H

#include "probes/ggml/probe.h"

#define WIDTHS 24 /* classes of batches: powers of two of tokens */

struct choice {
    uint64_t plain_ns; /* of a graph without stops, lately; 0 none yet */
    uint32_t due;      /* graphs until the next with stops */
};

/* Used by the thread that computes alone, but for `key`. */
struct scheduler {
    _Atomic(struct sched *) key; /* NULL: free */
    uint16_t number;
    void (*set)(struct sched *, eval_callback, void *);
    eval_callback user; /* of somebody else: chained */
    void *user_data;
    bool known, installed, watched, user_wants, slow_device;
    bool ours;       /* the node asked about is a place to stop at */
    bool repeating;  /* stretches of this graph are executed again, or looked at for that */
    uint64_t builds; /* of its graph: the engine sets its callback then */
    /* the stretch that is open */
    bool open;
    uint64_t t0_ns;
    uint32_t nodes;
    enum mark from, mark; /* the place before it, the one its last node is */
    int layer, in_layer;  /* of the mark; of the node asked about */
    /* the graph */
    uint32_t graph, asked, stops, last_stops, flags, launches;
    uint64_t random;
    struct choice choices[WIDTHS];
};

struct scheduler *scheduler_of(struct sched *s, bool make);
uint64_t scheduler_random(struct scheduler *s);
void scheduler_launched(void); /* a captured graph, by the one that computes in this thread */

#endif
