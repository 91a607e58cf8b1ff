/* layout.h - inside the probe: where a tensor keeps what no function tells (its sources, what it is a view of), found at run
 * time; and the ranges of memory that nodes read and write. */
#ifndef PROBES_GGML_LAYOUT_H
#define PROBES_GGML_LAYOUT_H

#include "probes/ggml/ggml.h"

/* Functions that are called for repeats alone. */
extern struct layout_calls {
    void *(*data)(const struct ggml_tensor *);
    size_t (*bytes)(const struct ggml_tensor *);
    struct ggml_tensor **(*nodes)(struct ggml_cgraph *);
    int (*compute)(struct backend *, struct ggml_cgraph *);
    const char *(*backend_name)(struct backend *);
} layout;
bool layout_find(const void *caller); /* false: this version is not understood; the answer is kept */
int layout_sources(void);
struct ggml_tensor *layout_source(const struct ggml_tensor *t, int i); /* NULL: none */

struct range {
    char *a, *b;
};
struct ranges {
    struct range *v;
    int n, room;
    bool failed; /* out of memory */
};
void ranges_add(struct ranges *s, struct range r);
bool ranges_touch(const struct ranges *s, struct range r);
bool ranges_hold(const struct ranges *s, struct range r);
/* What nodes write: results of their own, and tensors that outlive the graph (the KV cache). */
void ranges_written(struct ranges *own, struct ranges *leaves, struct ggml_tensor **nodes, int n);

/* Bytes of ranges, kept to be put back. Room is made once for each build of a graph. */
struct kept {
    struct ranges s;
    char *bytes;
    size_t n, room;
};
bool kept_prepare(struct kept *k); /* after its ranges are known */
void kept_copy(struct kept *k);
void kept_restore(const struct kept *k);
bool kept_same(const struct kept *k);

/* Into in->s: what must be kept before these nodes first run, so that they can be run once more after others have written
 * `written` and `leaves`. False: a repeat would not be exact. */
bool ranges_needed(struct kept *in, struct ggml_tensor **nodes, int n, const struct ranges *written, const struct ranges *leaves);

#endif
