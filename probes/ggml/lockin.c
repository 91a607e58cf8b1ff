/* lockin.c - executing the stretches of one kind again after a graph, all layers in turn (so that weights are as cold as the
 * first time), while the engine's results stay the same to the byte: docs/method.md 8.2. Which kind changes from segment to
 * segment, in random order, whole graphs at a time.
 *
 * The scheduler hands each stretch to ggml_backend_graph_compute_async, which is stood in for: there its inputs are copied
 * before it first runs. Its view of the graph lies on the scheduler's stack and points into memory that lives as long as the
 * graph; more bytes than it has are copied, so that its use counts come along and backends fuse what they fused before. */
#include "probes/ggml/lockin.h"

#include <string.h>

#define STRETCHES  1024
#define VIEW_BYTES 256
#define GROUPS     5

#define LOOP_MS_MOST 60000u

struct stretch {
    uint64_t build; /* of the graph for which it was looked at */
    struct ggml_tensor *last;
    int n;
    enum wire_kind kind;
    int layer;
    bool exact;
    struct backend *backend;
    struct kept in, check;
    union {
        char bytes[VIEW_BYTES];
        void *align;
    } view;
};

/* One scheduler at a time: that of the model whose step comes first. */
static struct {
    _Atomic(struct scheduler *) of;
    struct stretch stretches[STRETCHES];
    int n;
    uint32_t views;
    struct ranges written, leaves;
    uint64_t build; /* for which those are */
    struct kept out[GROUPS];
    uint64_t out_build[GROUPS];
    bool on; /* this graph is small enough, and on a processor */
    int group;
    int order[GROUPS], at;
    uint32_t times[GROUPS]; /* for this graph */
    uint64_t until_ns;
    uint64_t loop_ns; /* for this graph: its kind runs over and over for so long; 0: as often as `times` says */
    int running;      /* the stretch that runs, -1 none */
} lock;

/* Kinds that are repeated together; the first names the segment. */
static const enum wire_kind groups[GROUPS][4] = {
    {WIRE_NONE}, {WIRE_ATTENTION_NORM, WIRE_FFN_NORM, WIRE_OUTPUT_NORM}, {WIRE_ATTENTION}, {WIRE_FFN}, {WIRE_HEAD}};

static bool in_group(enum wire_kind kind)
{
    for (int i = 0; lock.group > 0 && i < 4 && groups[lock.group][i]; i++)
        if (groups[lock.group][i] == kind)
            return true;
    return false;
}

static uint32_t times_of(int group)
{
    return lock.times[group]; /* of none: 0 */
}

static uint32_t asked_of(const struct wire_head *h, int group)
{
    uint32_t n = h && group > 0 ? atomic_load_explicit(&h->control.again[group - 1], memory_order_relaxed) : 0;
    return n < 64 ? n : 64;
}

/* Whoever reads the file may ask for repeats while the engine runs. */
bool lockin_wanted(void)
{
    const struct wire_head *h = probe_on();
    bool asked = false;
    for (int g = 1; g < GROUPS && h; g++)
        asked |= asked_of(h, g) > 0;
    return probe_settings.repeats || (asked && probe_settings.level == WIRE_COMPONENTS);
}

static uint64_t loop_of(const struct wire_head *h)
{
    uint32_t ms = h ? atomic_load_explicit(&h->control.loop_ms, memory_order_relaxed) : 0;
    return (ms < LOOP_MS_MOST ? ms : LOOP_MS_MOST) * (uint64_t)1000000;
}

/* Other repeats than before begin with a segment of their own. */
static void take_times(void)
{
    const struct wire_head *h = probe_on();
    uint32_t asked[GROUPS] = {0}, any = 0;
    uint64_t loop_ns = loop_of(h);
    if (loop_ns != lock.loop_ns)
        lock.until_ns = 0;
    lock.loop_ns = loop_ns;
    for (int g = 1; g < GROUPS; g++)
        any |= asked[g] = asked_of(h, g);
    for (int g = 1; g < GROUPS; g++) {
        uint32_t n = any ? asked[g] : probe_settings.repeat[groups[g][0]];
        if (n != lock.times[g])
            lock.until_ns = 0;
        lock.times[g] = n;
    }
}

static uint64_t segment_ns(void)
{
    const struct wire_head *h = probe_on();
    uint32_t ms = h ? atomic_load_explicit(&h->control.segment_ms, memory_order_relaxed) : 0;
    return ms ? ms * (uint64_t)1000000 : probe_settings.segment_ns;
}

/* ---- segments ------------------------------------------------------------------------------------------------------------- */

static void shuffle(struct scheduler *s)
{
    int n = 0;
    for (int g = 0; g < GROUPS; g++)
        if (g == 0 ? !lock.loop_ns : times_of(g) > 0)
            lock.order[n++] = g;
    for (int i = n - 1; i > 0; i--) {
        int j = (int)(scheduler_random(s) % (uint64_t)(i + 1)), other = lock.order[i];
        lock.order[i] = lock.order[j];
        lock.order[j] = other;
    }
    for (; n < GROUPS; n++)
        lock.order[n] = -1;
    lock.at = 0;
}

static void next_segment(struct scheduler *s)
{
    uint64_t now = probe_now();
    if (now < lock.until_ns)
        return;
    if (lock.at >= GROUPS || lock.order[lock.at] < 0 || lock.until_ns == 0)
        shuffle(s);
    lock.group = lock.order[0] < 0 ? 0 : lock.order[lock.at++];
    lock.until_ns = lock.loop_ns ? 1 : now + segment_ns(); /* a loop is a segment of one graph */
}

/* ---- a graph ----------------------------------------------------------------------------------------------------------------
 */

static void leave_out(void)
{
    lock.on = false;
    lock.n = 0;
    lock.views = 0;
    lock.running = -1;
}

void lockin_begin(struct scheduler *s, struct ggml_cgraph *g, const void *caller)
{
    struct scheduler *none = NULL;
    if (!probe_step.context) { /* a vision encoder may compute first; and what ours computes outside of a step is not repeated */
        if (atomic_load(&lock.of) == s)
            leave_out();
        return;
    }
    if (atomic_load(&lock.of) != s && !atomic_compare_exchange_strong(&lock.of, &none, s))
        return;
    leave_out();
    /* A short prompt is no larger than a batch of answers; its repeats would be taken for the prompt's rest. */
    lock.on = s->watched && probe_step.decodes && probe_step.tokens <= probe_settings.repeat_rows;
    if (!lock.on)
        return;
    if (!layout_find(caller)) {
        probe_remark("this version of ggml lays its tensors out in a way that is not known: nothing is executed again");
        lock.on = false;
        return;
    }
    take_times();
    next_segment(s);
    s->flags |= wire_segment(lock.group > 0 ? groups[lock.group][0] : WIRE_NONE);
    if (lock.build == s->builds)
        return;
    lock.build = s->builds;
    lock.written.n = lock.leaves.n = 0;
    ranges_written(&lock.written, &lock.leaves, layout.nodes(g), ggml.n_nodes(g));
}

static void look_at(struct stretch *st, struct scheduler *s, struct ggml_tensor **nodes, struct ggml_cgraph *view)
{
    bool ours = strcmp(layout.backend_name(st->backend), "CPU") == 0 && !lock.written.failed && !lock.leaves.failed;
    st->exact = ours && ranges_needed(&st->in, nodes, st->n, &lock.written, &lock.leaves) && kept_prepare(&st->in);
    if (!st->exact)
        probe_count(WIRE_N_REFUSED);
    st->check.s.n = 0;
    if (probe_settings.verify) {
        ranges_written(&st->check.s, &st->check.s, nodes, st->n);
        st->exact = st->exact && kept_prepare(&st->check);
    }
    memcpy(st->view.bytes, view, VIEW_BYTES);
    st->build = s->builds;
}

void lockin_before(struct scheduler *s, struct backend *b, struct ggml_cgraph *view)
{
    uint16_t flags;
    if (atomic_load_explicit(&lock.of, memory_order_relaxed) != s)
        return;
    lock.views++;
    lock.running = -1;
    if (!lock.on || lock.group == 0 || lock.n >= STRETCHES || s->mark == MARK_NONE)
        return;
    enum wire_kind kind = names_stretch(s->from, s->mark, &flags);
    if (flags || !in_group(kind) || ggml.n_nodes(view) < 1)
        return;
    struct stretch *st = &lock.stretches[lock.n];
    struct ggml_tensor **nodes = layout.nodes(view), *last = nodes[ggml.n_nodes(view) - 1];
    if (st->build != s->builds || st->last != last || st->n != ggml.n_nodes(view) || st->kind != kind || st->backend != b) {
        st->last = last;
        st->n = ggml.n_nodes(view);
        st->kind = kind;
        st->backend = b;
        look_at(st, s, nodes, view);
    }
    st->layer = s->layer;
    lock.running = lock.n++;
    if (st->exact)
        kept_copy(&st->in);
    s->t0_ns = probe_now(); /* the copy is no part of the stretch */
}

void lockin_after(struct scheduler *s)
{
    if (lock.running < 0 || atomic_load_explicit(&lock.of, memory_order_relaxed) != s)
        return;
    struct stretch *st = &lock.stretches[lock.running];
    lock.running = -1;
    if (probe_settings.verify && st->exact)
        kept_copy(&st->check);
}

/* ---- again ------------------------------------------------------------------------------------------------------------------
 */

/* What the repeats will write, so that it can be put back as the graph left it. */
static bool prepare_out(struct scheduler *s)
{
    struct kept *out = &lock.out[lock.group];
    if (lock.out_build[lock.group] == s->builds)
        return true;
    out->s.n = 0;
    for (int i = 0; i < lock.n; i++) {
        struct stretch *st = &lock.stretches[i];
        if (!st->exact)
            continue;
        ranges_written(&out->s, NULL, layout.nodes((struct ggml_cgraph *)&st->view), st->n);
        for (int j = 0; j < st->in.s.n; j++)
            ranges_add(&out->s, st->in.s.v[j]);
    }
    if (!kept_prepare(out))
        return false;
    lock.out_build[lock.group] = s->builds;
    return true;
}

/* One execution; r gets its times. */
static bool execute(struct stretch *st, struct wire_record *r)
{
    kept_restore(&st->in);
    r->t0_ns = probe_now();
    int failed = layout.compute(st->backend, (struct ggml_cgraph *)&st->view);
    r->t1_ns = probe_now();
    probe_count(WIRE_N_REPEATS);
    if (probe_settings.verify) {
        probe_count(WIRE_N_CHECKED);
        if (!kept_same(&st->check))
            probe_count(WIRE_N_DIFFER);
    }
    return !failed;
}

static void again(struct scheduler *s, struct stretch *st, uint32_t time)
{
    struct wire_record r = {.kind = (uint16_t)st->kind,
                            .layer = (int16_t)st->layer,
                            .source = s->number,
                            .flags = (uint16_t)(WIRE_REPEATED | wire_segment(groups[lock.group][0])),
                            .tokens = probe_step.tokens,
                            .a = (uint32_t)st->n,
                            .b = time,
                            .c = s->graph};
    r.flags |= execute(st, &r) ? 0 : WIRE_FAILED;
    probe_record(&r);
}

/* One kind and nothing else, all layers in turn: a cross-check of its power (8.8). One record tells it, for a norm is executed a
 * hundred thousand times. */
static void loop(struct scheduler *s)
{
    struct wire_record one, r = {.kind = (uint16_t)groups[lock.group][0],
                                 .layer = -1,
                                 .source = s->number,
                                 .flags = (uint16_t)(WIRE_REPEATED | WIRE_LOOPED | wire_segment(groups[lock.group][0])),
                                 .c = s->graph,
                                 .t0_ns = probe_now()};
    uint64_t ran_ns = 0;
    for (int i = 0; i < lock.n; i++)
        r.tokens += lock.stretches[i].exact;
    r.t1_ns = r.t0_ns;
    while (r.tokens && r.t1_ns - r.t0_ns < lock.loop_ns && loop_of(probe_on())) { /* or until it is called off */
        for (int i = 0; i < lock.n; i++) {
            if (!lock.stretches[i].exact)
                continue;
            r.flags |= execute(&lock.stretches[i], &one) ? 0 : WIRE_FAILED;
            ran_ns += one.t1_ns - one.t0_ns;
        }
        r.b++;
        r.t1_ns = probe_now();
    }
    r.a = (uint32_t)(ran_ns / 1000);
    if (r.b)
        probe_record(&r);
}

void lockin_turn(struct scheduler *s)
{
    if (atomic_load_explicit(&lock.of, memory_order_relaxed) != s || !lock.on)
        return;
    if (lock.views == 0 && s->stops > 0) {
        probe_remark("the calls of ggml's scheduler cannot be stood in for here: nothing is executed again");
        lock.on = false;
    }
    uint32_t times = times_of(lock.group);
    if (!lock.on || times == 0 || lock.n == 0 || !prepare_out(s))
        return;
    kept_copy(&lock.out[lock.group]);
    if (lock.loop_ns)
        loop(s);
    for (uint32_t k = 1; k <= times && !lock.loop_ns; k++)
        for (int i = 0; i < lock.n; i++)
            if (lock.stretches[i].exact)
                again(s, &lock.stretches[i], k);
    kept_restore(&lock.out[lock.group]);
}

void lockin_forget(struct scheduler *s)
{
    struct scheduler *ours = s;
    if (!atomic_compare_exchange_strong(&lock.of, &ours, NULL))
        return;
    lock.build = 0;
    memset(lock.out_build, 0, sizeof(lock.out_build));
    for (int i = 0; i < STRETCHES; i++)
        lock.stretches[i].build = 0;
}
