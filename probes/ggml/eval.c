/* eval.c - stopping a graph where a component ends. ggml's scheduler asks a callback about every node whether to stop after it;
 * what was collected until then is computed and waited for, and the callback is called again. The callback sits on every graph,
 * or on one in n, so that the stops cost less than 0.5 % of a step; a foreign callback is asked as it would be without us.
 *
 * The engine sets its callback only when it builds a graph, and the scheduler keeps it; so it is set and taken away here, just
 * before a graph is computed. */
#include "probes/ggml/lockin.h"

#include <string.h>

#define SCHEDULERS     32
#define STOP_CPU_NS    8000u  /* 0.2 to 2 us with one thread, to 7.3 with two: the most that was seen */
#define STOP_DEVICE_NS 40000u /* of a device that computes on its own: it is waited for. Not measured */
#define COST_MOST      0.0025 /* half of what is promised: what a stop takes differs from machine to machine */
#define EVERY_LEAST    6      /* where every graph may cost 1.5 % of its step, one in six costs as little as that */

struct ggml_calls ggml;
static struct scheduler schedulers[SCHEDULERS];
static _Atomic uint32_t graphs;
static __thread struct scheduler *computing; /* whose graph runs in this thread */

/* ---- functions that are only called ------------------------------------------------------------------------------------- */

struct device_calls {
    int (*n_backends)(struct sched *);
    struct backend *(*backend)(struct sched *, int);
    const char *(*name)(struct backend *);
};
static struct device_calls device;

bool ggml_resolve(const void *caller)
{
    const struct {
        const char *name;
        void *slot;
    } rows[] = {
        {"ggml_get_name", &ggml.name},
        {"ggml_op_desc", &ggml.operation},
        {"ggml_nrows", &ggml.rows},
        {"ggml_graph_n_nodes", &ggml.n_nodes},
        {"ggml_backend_sched_get_n_backends", &device.n_backends},
        {"ggml_backend_sched_get_backend", &device.backend},
        {"ggml_backend_name", &device.name},
    };
    static _Atomic int known; /* 1: all, -1: not all */
    int k = atomic_load_explicit(&known, memory_order_acquire);
    if (k)
        return k > 0;
    k = 1;
    for (size_t i = 0; i < sizeof(rows) / sizeof(rows[0]); i++) {
        void *found = probe_find(rows[i].name, NULL, caller);
        memcpy(rows[i].slot, &found, sizeof(found));
        if (!found && i < 4)
            k = -1;
    }
    if (k < 0)
        probe_remark("this version of ggml lacks functions that naming nodes needs: only stages are recorded");
    atomic_store_explicit(&known, k, memory_order_release);
    return k > 0;
}

static void copy_text(char *to, size_t size, const char *from)
{
    size_t n = from ? strlen(from) : 0;
    n = n < size ? n : size - 1;
    memcpy(to, from ? from : "", n);
    to[n] = '\0';
}

/* Into the head, once: versions, and what computes. */
static void describe(struct scheduler *s, struct sched *key, const void *caller)
{
    struct wire_head *h = probe_on();
    const char *(*version)(void);
    if (!h || h->device[0])
        return;
    void *found = probe_find("ggml_version", NULL, caller);
    memcpy(&version, &found, sizeof(found));
    if (version)
        copy_text(h->ggml, sizeof(h->ggml), version());
    found = probe_find("llama_version", NULL, caller);
    memcpy(&version, &found, sizeof(found));
    if (version)
        copy_text(h->engine, sizeof(h->engine), version());
    h->stop_ns = s->slow_device ? STOP_DEVICE_NS : STOP_CPU_NS;
    char names[sizeof(h->device)] = "";
    for (int i = 0; device.n_backends && device.backend && device.name && i < device.n_backends(key); i++) {
        size_t n = strlen(names);
        copy_text(names + n, sizeof(names) - n, i ? "," : "");
        n = strlen(names);
        copy_text(names + n, sizeof(names) - n, device.name(device.backend(key, i)));
    }
    copy_text(h->device, sizeof(h->device), names[0] ? names : "unknown");
}

/* ---- schedulers ----------------------------------------------------------------------------------------------------------- */

struct scheduler *scheduler_of(struct sched *key, bool make)
{
    for (int i = 0; i < SCHEDULERS; i++)
        if (atomic_load_explicit(&schedulers[i].key, memory_order_relaxed) == key)
            return &schedulers[i];
    for (int i = 0; make && i < SCHEDULERS; i++) {
        struct sched *none = NULL;
        if (!atomic_compare_exchange_strong(&schedulers[i].key, &none, key))
            continue;
        struct scheduler *s = &schedulers[i];
        memset((char *)s + sizeof(s->key), 0, sizeof(*s) - sizeof(s->key));
        s->number = (uint16_t)i;
        s->random = probe_settings.seed + (uint64_t)i + 1;
        return s;
    }
    if (make)
        probe_count(WIRE_N_TABLE_FULL);
    return NULL;
}

static void look_at_devices(struct scheduler *s, struct sched *key)
{
    for (int i = 0; device.n_backends && device.backend && device.name && i < device.n_backends(key); i++) {
        const char *name = device.name(device.backend(key, i));
        if (name && strcmp(name, "CPU") != 0 && strcmp(name, "BLAS") != 0)
            s->slow_device = true;
    }
}

void ggml_backend_sched_free(struct sched *key)
{
    REAL(ggml_backend_sched_free);
    struct scheduler *s = key ? scheduler_of(key, false) : NULL;
    if (s) {
        lockin_forget(s);
        atomic_store(&s->key, NULL);
    }
    real(key);
}

/* ---- the callback --------------------------------------------------------------------------------------------------------- */

static bool is_place(enum mark m)
{
    return probe_settings.level == WIRE_LAYERS ? names_layer_mark(m) : m != MARK_NONE;
}

static bool asked(struct scheduler *s, struct ggml_tensor *t)
{
    if (!s->open) {
        s->open = true;
        s->nodes = 0;
        s->t0_ns = probe_now();
    }
    s->nodes++;
    s->asked++;
    s->mark = names_mark(ggml.name(t), &s->layer);
    s->user_wants = s->user && s->user(t, true, s->user_data);
    s->ours = probe_settings.level == WIRE_NODES ? !names_is_view(ggml.operation(t)) : is_place(s->mark);
    return s->ours || s->user_wants;
}

/* A layer's own places are passed by at level layers: what lies between two layers is one. */
static enum wire_kind stretch_of(struct scheduler *s, uint16_t *flags)
{
    if (probe_settings.level != WIRE_LAYERS)
        return names_stretch(s->from, s->mark, flags);
    *flags = 0;
    if (s->mark == MARK_LAYER)
        return WIRE_LAYER;
    *flags = s->mark == MARK_HEAD ? WIRE_NORM_INSIDE : 0;
    return s->mark == MARK_HEAD ? WIRE_HEAD : WIRE_EMBEDDING;
}

static int layer_of(const char *name, size_t n)
{
    int layer = 0;
    if (name[n] != '-' || name[n + 1] < '0' || name[n + 1] > '9')
        return -1;
    for (n++; name[n] >= '0' && name[n] <= '9' && layer < 10000; n++)
        layer = 10 * layer + (name[n] - '0');
    return layer;
}

/* What a name means is looked up once: at level nodes this runs hundreds of times a token. */
static enum wire_part part_of(enum wire_kind kind, uint32_t name_index, const char *name, const char *operation)
{
    static _Atomic uint8_t known[WIRE_NAMES + 1][WIRE_KINDS]; /* part plus 1 */
    uint8_t part = atomic_load_explicit(&known[name_index][kind], memory_order_relaxed);
    if (part == 0 || name_index == 0) {
        part = (uint8_t)(names_part(kind, name, operation) + 1);
        atomic_store_explicit(&known[name_index][kind], part, memory_order_relaxed);
    }
    return (enum wire_part)(part - 1);
}

static void node_done(struct scheduler *s, struct ggml_tensor *t, struct wire_record *r)
{
    const char *name = ggml.name(t), *operation = ggml.operation(t);
    size_t base = names_base(name);
    int layer = layer_of(name, base);
    uint32_t index = probe_name(name, base, operation);
    s->in_layer = layer >= 0 ? layer : s->from == MARK_EMBEDDING || s->from == MARK_LAYER ? -1 : s->in_layer;
    enum wire_kind kind = names_inside(s->from, s->in_layer);
    bool flash = strncmp(operation, "FLASH_ATTN", 10) == 0;
    r->kind = (uint16_t)kind;
    r->layer = (int16_t)s->in_layer;
    r->b = wire_place(part_of(kind, index, name, operation), index);
    r->flags = flash ? WIRE_FLASH : 0;
}

static void stopped(struct scheduler *s, struct ggml_tensor *t)
{
    struct wire_record r = {.t0_ns = s->t0_ns,
                            .t1_ns = probe_now(),
                            .layer = (int16_t)s->layer,
                            .tokens = (uint32_t)ggml.rows(t),
                            .source = s->number,
                            .a = s->nodes,
                            .c = s->graph};
    if (probe_settings.level == WIRE_NODES)
        node_done(s, t, &r);
    else
        r.kind = (uint16_t)stretch_of(s, &r.flags);
    r.flags |= (uint16_t)s->flags;
    probe_record(&r);
    if (s->repeating)
        lockin_after(s);
    s->open = false;
    s->stops++;
    s->from = s->mark != MARK_NONE ? s->mark : s->from;
}

static bool callback(struct ggml_tensor *t, bool ask, void *user)
{
    struct scheduler *s = user;
    if (ask)
        return asked(s, t);
    if (s->ours)
        stopped(s, t);
    return !s->user_wants || s->user(t, false, s->user_data);
}

void ggml_backend_sched_set_eval_callback(struct sched *key, eval_callback f, void *user)
{
    REAL(ggml_backend_sched_set_eval_callback);
    struct scheduler *s = key && probe_begin() ? scheduler_of(key, true) : NULL;
    if (s) {
        s->set = real;
        s->user = f;
        s->user_data = user;
        s->installed = false;
        s->builds++;
        probe_count(WIRE_N_SETTER);
        if (f)
            probe_count(WIRE_N_FOREIGN);
    }
    real(key, f, user);
}

/* ---- which graphs are stopped ------------------------------------------------------------------------------------------- */

uint64_t scheduler_random(struct scheduler *s)
{
    uint64_t z = s->random += 0x9e3779b97f4a7c15u; /* splitmix64 */
    z = (z ^ (z >> 30)) * 0xbf58476d1ce4e5b9u;
    z = (z ^ (z >> 27)) * 0x94d049bb133111ebu;
    return z ^ (z >> 31);
}

static struct choice *choice_of(struct scheduler *s)
{
    int width = 0;
    for (uint32_t n = probe_step.tokens; n > 1 && n != WIRE_UNKNOWN && width < WIDTHS - 1; n /= 2)
        width++;
    return &s->choices[width];
}

/* One graph in so many, from what the last one with stops had of them and what one without takes. */
static uint64_t interval_of(const struct scheduler *s, const struct choice *c)
{
    if (probe_settings.every)
        return probe_settings.every;
    double cost = (double)s->last_stops * (s->slow_device ? STOP_DEVICE_NS : STOP_CPU_NS);
    double n = c->plain_ns ? cost / (COST_MOST * (double)c->plain_ns) : 2;
    return n < EVERY_LEAST ? EVERY_LEAST : n > 1e6 ? 1000000 : (uint64_t)n + 1;
}

static bool choose(struct scheduler *s)
{
    struct choice *c = choice_of(s);
    if (probe_settings.level == WIRE_STAGES || !ggml.name || !s->set)
        return false;
    const struct wire_head *h = probe_on();
    uint32_t asked = h ? atomic_load_explicit(&h->control.watch, memory_order_relaxed) : WIRE_AS_SET;
    if (asked == WIRE_WATCH_NONE || asked == WIRE_WATCH_ALL)
        return asked == WIRE_WATCH_ALL;
    if (probe_turn == WIRE_TURN_STAGES || probe_turn == WIRE_TURN_ALL)
        return probe_turn == WIRE_TURN_ALL;
    uint64_t n = interval_of(s, c);
    if (n == 1)
        return true;
    if (!probe_settings.every && !c->plain_ns)
        return s->last_stops == 0; /* once each, so that the interval can be known */
    if (c->due > 0) {
        c->due--;
        return false;
    }
    /* On the mean every n-th, and not in step with anything. */
    c->due = (uint32_t)(n / 2 + scheduler_random(s) % n);
    c->due -= c->due > 0 && n % 2 == 0 && scheduler_random(s) % 2;
    return true;
}

static void learn(struct scheduler *s, uint64_t ns)
{
    struct choice *c = choice_of(s);
    if (s->watched)
        s->last_stops = s->stops;
    else
        c->plain_ns = c->plain_ns ? c->plain_ns - c->plain_ns / 8 + ns / 8 : ns;
}

static void graph_begin(struct scheduler *s, struct sched *key)
{
    s->watched = choose(s);
    s->repeating = lockin_wanted();
    s->open = false;
    s->from = MARK_NONE;
    s->in_layer = -1;
    s->stops = s->asked = s->launches = 0;
    s->flags = probe_step.context ? 0 : WIRE_OUTSIDE;
    s->graph = atomic_fetch_add_explicit(&graphs, 1, memory_order_relaxed);
    if (s->watched == s->installed || !s->set)
        return;
    if (s->watched)
        s->set(key, callback, s);
    else
        s->set(key, s->user, s->user_data);
    s->installed = s->watched;
}

static void graph_end(struct scheduler *s, struct ggml_cgraph *g, uint64_t t0, int result)
{
    uint64_t t1 = probe_now();
    struct wire_head *h = probe_on();
    struct wire_record r = {.t0_ns = s->t0_ns, .t1_ns = t1, .layer = -1, .source = s->number, .c = s->graph};
    if (!h)
        return;
    if (s->open) { /* after the last place nobody calls us */
        r.kind = WIRE_OTHER;
        r.tokens = WIRE_UNKNOWN;
        r.a = s->nodes;
        r.flags = (uint16_t)s->flags;
        probe_record(&r);
        s->open = false;
    }
    r.kind = WIRE_GRAPH;
    r.t0_ns = t0;
    r.tokens = probe_step.tokens;
    r.a = ggml.n_nodes ? (uint32_t)ggml.n_nodes(g) : 0;
    r.b = s->stops;
    r.flags = (uint16_t)((s->watched ? WIRE_WATCHED : 0) | (result ? WIRE_FAILED : 0) | s->flags);
    probe_record(&r);
    learn(s, t1 - t0);
    atomic_fetch_add_explicit(&h->counts[WIRE_N_ASKED], s->asked, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->counts[WIRE_N_STOPS], s->stops, memory_order_relaxed);
    if (s->watched)
        probe_count(WIRE_N_WATCHED);
    atomic_fetch_add_explicit(&h->captured[s->watched], s->launches > 0, memory_order_relaxed);
    atomic_fetch_add_explicit(&h->launches[s->watched], s->launches, memory_order_relaxed);
}

void scheduler_launched(void)
{
    if (computing)
        computing->launches++;
}

/* A scheduler computes for the first time. */
static void meet(struct scheduler *s, struct sched *key, const void *caller)
{
    s->known = true;
    ggml_resolve(caller);
    look_at_devices(s, key);
    describe(s, key, caller);
    if (!s->set) { /* one that nobody sets a callback for, such as that of a vision encoder */
        void *set =
            probe_find("ggml_backend_sched_set_eval_callback", (const void *)&ggml_backend_sched_set_eval_callback, caller);
        memcpy(&s->set, &set, sizeof(set));
    }
}

/* In a child of fork(), and in a step without the probe: no stops. */
static struct scheduler *pass(struct sched *key)
{
    struct scheduler *s = scheduler_of(key, false);
    if (s && s->installed)
        s->set(key, s->user, s->user_data);
    if (s)
        s->installed = false;
    return NULL;
}

int ggml_backend_sched_graph_compute_async(struct sched *key, struct ggml_cgraph *g)
{
    REAL(ggml_backend_sched_graph_compute_async);
    const void *caller = __builtin_return_address(0);
    struct scheduler *s = probe_on() ? scheduler_of(key, true) : pass(key);
    if (!s)
        return real(key, g);
    probe_count(WIRE_N_GRAPHS);
    if (!s->known)
        meet(s, key, caller);
    graph_begin(s, key);
    if (s->repeating)
        lockin_begin(s, g, caller);
    struct scheduler *outside = computing;
    computing = s;
    uint64_t t0 = probe_now();
    int result = real(key, g);
    computing = outside;
    graph_end(s, g, t0, result);
    if (s->repeating && result == 0)
        lockin_turn(s);
    return result;
}

/* The scheduler hands a stretch to a backend. */
int ggml_backend_graph_compute_async(struct backend *b, struct ggml_cgraph *g)
{
    REAL(ggml_backend_graph_compute_async);
    if (computing && computing->repeating)
        lockin_before(computing, b, g);
    return real(b, g);
}
