/* ggml.c - plays ggml's scheduler for tests of the probe: the names, the protocol of its callback and the way through the
 * procedure linkage table are the real one's; "computing" a node mixes its name into a sum, so that a node left out or computed
 * twice is seen. */
#include "tests/probes/stand_in/stand_in.h"

#include <stdlib.h>

struct backend {
    int none;
};

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

EXPORT int ggml_backend_sched_get_n_backends(struct sched *s)
{
    (void)s;
    return 1;
}

EXPORT struct backend *ggml_backend_sched_get_backend(struct sched *s, int i)
{
    static struct backend only;
    (void)s, (void)i;
    return &only;
}

EXPORT const char *ggml_backend_name(struct backend *b)
{
    (void)b;
    return "CPU";
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
        if (stop && !s->f(&g->nodes[j], false, s->user))
            break;
        i = j;
    }
    return 0;
}

EXPORT int ggml_backend_sched_graph_compute(struct sched *s, struct ggml_cgraph *g)
{
    return ggml_backend_sched_graph_compute_async(s, g);
}
