/* layout.c - what nodes of a graph read and write, without ggml's headers. The places of src[] and view_src in a tensor are found
 * by building one product and one view and looking for pointers that are known; where they are not found, nothing is repeated.
 * (152 and 232 with ten sources in ggml 0.25 to 0.27.)
 *
 * The allocator of ggml lays later results over inputs that are no longer needed. So before nodes first run, every range that
 * they read before they write it, and that anybody overwrites, must be copied, and put back before they run again. What they
 * write into the KV cache is then the same again. A node that reads such memory before it writes it (a recurrent state), or
 * memory that others write, cannot be repeated. */
#include "probes/ggml/layout.h"

#include "probes/ggml/probe.h"

#include <stdlib.h>
#include <string.h>

struct layout_calls layout;

static size_t source_at, view_at;
static int n_sources;

/* ---- the layout of a tensor ----------------------------------------------------------------------------------------------- */

struct init_parameters {
    size_t size;
    void *buffer;
    bool no_alloc;
};
struct builders {
    void *(*init)(struct init_parameters);
    void (*free)(void *);
    struct ggml_tensor *(*matrix)(void *, int, int64_t, int64_t);
    struct ggml_tensor *(*product)(void *, struct ggml_tensor *, struct ggml_tensor *);
    struct ggml_tensor *(*view)(void *, struct ggml_tensor *, int64_t, size_t);
};

static bool find_functions(struct builders *make, const void *caller)
{
    const struct {
        const char *name;
        void *slot;
    } rows[] = {
        {"ggml_init", &make->init},
        {"ggml_free", &make->free},
        {"ggml_new_tensor_2d", &make->matrix},
        {"ggml_mul_mat", &make->product},
        {"ggml_view_1d", &make->view},
        {"ggml_get_data", &layout.data},
        {"ggml_nbytes", &layout.bytes},
        {"ggml_graph_nodes", &layout.nodes},
        {"ggml_backend_graph_compute", &layout.compute},
        {"ggml_backend_name", &layout.backend_name},
    };
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *found = probe_find(rows[i].name, NULL, caller);
        memcpy(rows[i].slot, &found, sizeof(found));
        if (!found)
            return false;
    }
    return true;
}

static struct ggml_tensor *pointer_at(const struct ggml_tensor *t, size_t at)
{
    struct ggml_tensor *p;
    memcpy(&p, (const char *)t + at, sizeof(p));
    return p;
}

static bool find_layout(const struct builders *make)
{
    void *room = make->init((struct init_parameters){1 << 16, NULL, true});
    if (!room)
        return false;
    struct ggml_tensor *a = make->matrix(room, 0, 48, 31), *b = make->matrix(room, 0, 48, 7);
    struct ggml_tensor *product = make->product(room, a, b), *view = make->view(room, a, 8, 0);
    size_t end = (size_t)(ggml.name(product) - (const char *)product); /* the name comes after all of them */
    for (size_t i = 0; end < 4096 && i + 16 <= end; i += 8)
        if (pointer_at(product, i) == a && pointer_at(product, i + 8) == b)
            source_at = i;
    for (size_t i = source_at + 16; end < 4096 && source_at && i + 8 <= end && !view_at; i += 8)
        if (pointer_at(view, i) == a && !pointer_at(product, i))
            view_at = i;
    make->free(room);
    n_sources = view_at > source_at ? (int)((view_at - source_at) / 8) : 0;
    return n_sources >= 2 && n_sources <= 32;
}

bool layout_find(const void *caller)
{
    static int known; /* 1: found, -1: not */
    struct builders make;
    if (known)
        return known > 0;
    known = ggml.name && find_functions(&make, caller) && find_layout(&make) ? 1 : -1;
    return known > 0;
}

int layout_sources(void)
{
    return n_sources;
}

struct ggml_tensor *layout_source(const struct ggml_tensor *t, int i)
{
    return pointer_at(t, source_at + 8 * (size_t)i);
}

static const struct ggml_tensor *root(const struct ggml_tensor *t)
{
    const struct ggml_tensor *p = pointer_at(t, view_at);
    return p ? p : t;
}

/* Into memory that is no result of this graph. */
static bool into_leaf(const struct ggml_tensor *t)
{
    const struct ggml_tensor *r = root(t);
    return r != t && strcmp(ggml.operation(r), "NONE") == 0;
}

static bool is_store(const struct ggml_tensor *t)
{
    const char *o = ggml.operation(t);
    return strcmp(o, "SET_ROWS") == 0 || strcmp(o, "CPY") == 0 || strcmp(o, "DUP") == 0;
}

/* ---- ranges -----------------------------------------------------------------------------------------------------------------
 */

static struct range range_of(const struct ggml_tensor *t)
{
    char *p = layout.data(t);
    return (struct range){p, p ? p + layout.bytes(t) : p};
}

void ranges_add(struct ranges *s, struct range r)
{
    if (r.a == r.b || ranges_hold(s, r))
        return;
    if (s->n == s->room) {
        int room = s->room ? 2 * s->room : 32;
        struct range *v = realloc(s->v, sizeof(*v) * (size_t)room);
        if (!v) {
            s->failed = true;
            return;
        }
        s->v = v;
        s->room = room;
    }
    s->v[s->n++] = r;
}

bool ranges_touch(const struct ranges *s, struct range r)
{
    for (int i = 0; i < s->n; i++)
        if (s->v[i].a < r.b && r.a < s->v[i].b)
            return true;
    return false;
}

bool ranges_hold(const struct ranges *s, struct range r)
{
    for (int i = 0; i < s->n; i++)
        if (s->v[i].a <= r.a && r.b <= s->v[i].b)
            return true;
    return false;
}

void ranges_written(struct ranges *own, struct ranges *leaves, struct ggml_tensor **nodes, int n)
{
    for (int i = 0; i < n; i++) {
        if (names_is_view(ggml.operation(nodes[i])))
            continue;
        bool leaf = into_leaf(nodes[i]);
        if (leaf && leaves)
            ranges_add(leaves, range_of(nodes[i]));
        else if (!leaf && own)
            ranges_add(own, range_of(nodes[i]));
    }
}

/* One node: false when a repeat of it would not be exact. */
static bool look_at(struct kept *in, struct ranges *own, struct ranges *red, struct ranges *stored, struct ggml_tensor *t,
                    const struct ranges *written, const struct ranges *leaves)
{
    for (int j = 0; j < n_sources; j++) {
        struct ggml_tensor *s = layout_source(t, j);
        if (!s || (is_store(t) && root(s) == root(t))) /* the place stored into is not read */
            continue;
        struct range r = range_of(s);
        if (r.a == r.b)
            continue;
        ranges_add(red, r);
        if (!ranges_hold(own, r) && ranges_touch(written, r))
            ranges_add(&in->s, r);
        if (ranges_touch(leaves, r) && !ranges_touch(stored, r)) /* memory that others write */
            return false;
    }
    if (!into_leaf(t)) {
        ranges_add(own, range_of(t));
        return true;
    }
    if (ranges_touch(red, range_of(t))) /* a state that is carried on */
        return false;
    ranges_add(stored, range_of(t));
    return true;
}

bool ranges_needed(struct kept *in, struct ggml_tensor **nodes, int n, const struct ranges *written, const struct ranges *leaves)
{
    static struct ranges own, red, stored; /* one scheduler is repeated, in one thread */
    bool exact = true;
    own.n = red.n = stored.n = in->s.n = 0;
    for (int i = 0; i < n && exact; i++)
        if (!names_is_view(ggml.operation(nodes[i])))
            exact = look_at(in, &own, &red, &stored, nodes[i], written, leaves);
    return exact && !own.failed && !red.failed && !stored.failed && !in->s.failed;
}

/* ---- kept bytes -------------------------------------------------------------------------------------------------------------
 */

bool kept_prepare(struct kept *k)
{
    k->n = 0;
    for (int i = 0; i < k->s.n; i++)
        k->n += (size_t)(k->s.v[i].b - k->s.v[i].a);
    if (k->n > k->room) {
        char *bytes = realloc(k->bytes, k->n);
        if (!bytes)
            return false;
        k->bytes = bytes;
        k->room = k->n;
    }
    return !k->s.failed;
}

void kept_copy(struct kept *k)
{
    char *to = k->bytes;
    for (int i = 0; i < k->s.n; i++) {
        size_t n = (size_t)(k->s.v[i].b - k->s.v[i].a);
        memcpy(to, k->s.v[i].a, n);
        to += n;
    }
}

void kept_restore(const struct kept *k)
{
    const char *from = k->bytes;
    for (int i = 0; i < k->s.n; i++) {
        size_t n = (size_t)(k->s.v[i].b - k->s.v[i].a);
        memcpy(k->s.v[i].a, from, n);
        from += n;
    }
}

bool kept_same(const struct kept *k)
{
    const char *from = k->bytes;
    bool same = true;
    for (int i = 0; i < k->s.n; i++) {
        size_t n = (size_t)(k->s.v[i].b - k->s.v[i].a);
        same = same && memcmp(k->s.v[i].a, from, n) == 0;
        from += n;
    }
    return same;
}
