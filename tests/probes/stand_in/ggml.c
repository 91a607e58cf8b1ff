/* ggml.c - plays ggml's scheduler for tests of the probe: the names, the protocol of its callback and the way through the
 * procedure linkage table are the real one's; "computing" a node mixes its name into a sum, so that a node left out or computed
 * twice is seen. */
#include "tests/probes/stand_in/stand_in.h"

#include <stdlib.h>
#include <string.h>

struct backend {
    const char *name;
};

/* ---- a device that computes on its own, on a clock of its own ---------------------------------------------------------------
 */

#define TICK_NS 25 /* of reading the clock */

static bool device;
static uint64_t now_ns = 1000000000, busy_ns; /* the device is at work until then */
static struct {
    const struct ggml_tensor *first;
    int n, equal;
} captured[256];

void stand_in_device(void)
{
    device = true;
}

uint64_t stand_in_clock(void)
{
    return device ? now_ns += TICK_NS : 0;
}

EXPORT int cudaGraphLaunch(void *graph, void *stream)
{
    (void)graph, (void)stream;
    return 0;
}

/* After two equal turns of what begins with the same node it is captured, and launched by one call. */
static void launch(const struct ggml_tensor *from, int n)
{
    size_t i = ((uintptr_t)from / sizeof(*from)) % (sizeof(captured) / sizeof(captured[0]));
    bool equal = captured[i].first == from && captured[i].n == n;
    captured[i].first = from;
    captured[i].n = n;
    captured[i].equal = equal ? captured[i].equal + 1 : 0;
    if (captured[i].equal >= 2)
        cudaGraphLaunch(NULL, NULL);
    busy_ns = (busy_ns > now_ns ? busy_ns : now_ns) + (uint64_t)n * STAND_IN_NODE_NS;
}

EXPORT void ggml_backend_sched_synchronize(struct sched *s)
{
    (void)s;
    if (!device)
        return;
    now_ns = (busy_ns > now_ns ? busy_ns : now_ns) + STAND_IN_SYNC_NS;
}

EXPORT const char *ggml_version(void)
{
    return "0.0-stand-in";
}

EXPORT const char *ggml_get_name(const struct ggml_tensor *t)
{
    return t->name;
}

EXPORT const char *ggml_op_desc(const struct ggml_tensor *t)
{
    return t->operation;
}

EXPORT int64_t ggml_nrows(const struct ggml_tensor *t)
{
    return t->rows;
}

EXPORT int ggml_graph_n_nodes(struct ggml_cgraph *g)
{
    return g->n;
}

EXPORT struct sched *ggml_backend_sched_new(void)
{
    return calloc(1, sizeof(struct sched));
}

EXPORT void ggml_backend_sched_free(struct sched *s)
{
    free(s);
}

void stand_in_forget(void)
{
    memset(captured, 0, sizeof(captured));
}

EXPORT int ggml_backend_sched_get_n_backends(struct sched *s)
{
    (void)s;
    return device ? 2 : 1;
}

EXPORT struct backend *ggml_backend_sched_get_backend(struct sched *s, int i)
{
    static struct backend both[] = {{"CUDA0"}, {"CPU"}};
    (void)s;
    return &both[device ? i : 1];
}

EXPORT const char *ggml_backend_name(struct backend *b)
{
    return b->name;
}

EXPORT void ggml_backend_sched_set_eval_callback(struct sched *s, callback f, void *user)
{
    s->f = f;
    s->user = user;
}

static void compute(struct sched *s, const struct ggml_tensor *from, int n)
{
    for (int i = 0; i < n; i++)
        for (const char *c = from[i].name; *c; c++)
            s->sum = s->sum * 31 + (unsigned char)*c;
    if (device)
        launch(from, n);
}

EXPORT int ggml_backend_sched_graph_compute_async(struct sched *s, struct ggml_cgraph *g)
{
    if (!s->f)
        compute(s, g->nodes, g->n);
    for (int i = 0; s->f && i < g->n; i++) {
        int j = i;
        bool stop = s->f(&g->nodes[i], true, s->user);
        while (!stop && j < g->n - 1)
            stop = s->f(&g->nodes[++j], true, s->user);
        compute(s, &g->nodes[i], j - i + 1);
        ggml_backend_sched_synchronize(s);
        if (stop && !s->f(&g->nodes[j], false, s->user))
            break;
        i = j;
    }
    return 0;
}

EXPORT int ggml_backend_sched_graph_compute(struct sched *s, struct ggml_cgraph *g)
{
    int result = ggml_backend_sched_graph_compute_async(s, g);
    ggml_backend_sched_synchronize(s);
    return result;
}
