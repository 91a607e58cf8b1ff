/* former.c - figures that were replaced by later ones of the same traces: nothing that was once shown is lost. */
#include "run/run.h"

#include <stdlib.h>
#include <string.h>

void run_former_release(struct run_former *f)
{
    for (size_t i = 0; i < f->n_baselines; i++)
        free(f->baselines[i].channel);
    free(f->baselines);
    for (size_t i = 0; i < f->n_windows; i++)
        run_energy_release(&f->windows[i].energy);
    for (size_t i = 0; i < f->n_requests; i++)
        run_request_release(&f->requests[i]);
    run_energy_release(&f->energy);
    free(f->windows);
    free(f->requests);
    free(f->version);
    *f = (struct run_former){0};
}

struct run_former *run_add_former(struct run *r, struct run_former *x)
{
    struct run_former *grown = r->n_former < RUN_FORMER_MAX ? realloc(r->former, (r->n_former + 1) * sizeof *grown) : NULL;
    if (!grown)
        return NULL;
    r->former = grown;
    grown[r->n_former] = *x;
    *x = (struct run_former){0};
    return &grown[r->n_former++];
}

/* The window keeps its moments and loses its figures; `old` is what it was. */
static void empty(struct run_window *w, struct run_window *old)
{
    *old = *w;
    run_energy_init(&w->energy);
    w->power_min_w = w->power_mean_w = w->power_max_w = w->power_p50_w = w->power_p95_w = w->ramp_s = NAN;
    w->updates = -1;
}

/* Idle levels stay where they are: they are measured again one by one, where their samples are still there. */
static bool copy_baselines(const struct run *r, struct run_former *f)
{
    f->baselines = calloc(r->n_baselines + 1, sizeof *f->baselines);
    for (size_t i = 0; f->baselines && i < r->n_baselines; i++) {
        f->baselines[i] = r->baselines[i];
        f->baselines[i].channel = jl_strdup(r->baselines[i].channel);
        f->n_baselines++;
        if (!f->baselines[i].channel)
            return false;
    }
    return f->baselines;
}

static bool reserve(const struct run *r, struct run_former *f)
{
    const char *by = r->figures_version ? r->figures_version : r->version;
    run_energy_init(&f->energy);
    f->version = by ? jl_strdup(by) : NULL;
    f->windows = calloc(r->n_windows + 1, sizeof *f->windows);
    f->requests = calloc(r->n_requests + 1, sizeof *f->requests);
    bool ok = f->windows && f->requests && (f->version || !by) && copy_baselines(r, f);
    for (size_t i = 0; ok && i < r->n_requests; i++) {
        run_request_init(&f->requests[i]);
        f->n_requests++;
        f->requests[i].windows = calloc(r->requests[i].n_windows + 1, sizeof *f->requests[i].windows);
        f->requests[i].parts = calloc(r->requests[i].n_parts + 1, sizeof *f->requests[i].parts);
        ok = f->requests[i].windows && f->requests[i].parts;
    }
    return ok;
}

bool run_put_aside(struct run *r, int64_t wall_ns)
{
    struct run_former f = {.replaced_wall_ns = wall_ns};
    char *version = jl_strdup(JOULET_VERSION);
    if (!version || !reserve(r, &f) || !run_add_former(r, &f)) {
        free(version);
        run_former_release(&f);
        return false;
    }
    struct run_former *last = &r->former[r->n_former - 1];
    for (size_t i = 0; i < r->n_windows; i++)
        empty(&r->windows[i], &last->windows[last->n_windows++]);
    for (size_t i = 0; i < r->n_requests; i++) {
        struct run_request *q = &r->requests[i], *old = &last->requests[i];
        old->index = q->index;
        for (size_t k = 0; k < q->n_windows; k++)
            empty(&q->windows[k], &old->windows[old->n_windows++]);
        for (size_t k = 0; k < q->n_parts; k++)
            empty(&q->parts[k], &old->parts[old->n_parts++]);
        old->energy = q->energy;
        run_energy_init(&q->energy);
    }
    last->energy = r->energy;
    run_energy_init(&r->energy);
    free(r->figures_version);
    r->figures_version = version;
    return true;
}
