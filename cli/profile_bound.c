/* profile_bound.c - what keeps the memory and the record of a long profile small: requests and spans of stages are thinned out
 * while it runs, as the power is (profile_power.c) and what the probe told (profile/measure_keep.c). The record says so. */
#include "cli/profile.h"

#include <stdlib.h>
#include <string.h>

static void drop_channels(struct run_energy *e)
{
    for (size_t i = 0; i < e->n_channels; i++)
        free(e->channels[i].channel);
    free(e->channels);
    e->channels = NULL;
    e->n_channels = 0;
}

/* Nobody looks at the text, at single channels of windows or at parts again. */
static void strip(struct run_request *q)
{
    free(q->prompt);
    free(q->answer);
    q->prompt = q->answer = NULL;
    for (size_t i = 0; i < q->n_windows; i++)
        drop_channels(&q->windows[i].energy);
    for (size_t i = 0; i < q->n_parts; i++)
        run_energy_release(&q->parts[i].energy);
    free(q->parts);
    q->parts = NULL;
    q->n_parts = 0;
}

static bool in_turns(enum measure_pass p)
{
    return p == MEASURE_PLAIN || p == MEASURE_WATCHED || p == MEASURE_AGAIN || p == MEASURE_SAMPLED;
}

/* Every second one of each kind of pass. */
static void halve(struct profiling *x)
{
    struct run *r = &x->s.run;
    size_t left = 0;
    uint64_t seen[MEASURE_PASSES] = {0};
    for (size_t i = 0; i < r->n_requests; i++) {
        if (in_turns(x->passes[i]) && seen[x->passes[i]]++ % 2 != 0) {
            run_request_release(&r->requests[i]);
            continue;
        }
        x->passes[left] = x->passes[i];
        if (left != i)
            r->requests[left] = r->requests[i];
        left++;
    }
    r->n_requests = x->n_passes = left;
    x->bound.keep_every *= 2;
}

void profile_thin_requests(struct profiling *x)
{
    struct run *r = &x->s.run;
    if (!r->n_requests || r->n_requests != x->n_passes)
        return;
    enum measure_pass pass = x->passes[x->n_passes - 1];
    strip(&r->requests[r->n_requests - 1]);
    x->bound.requests++;
    if (!x->bound.keep_every)
        x->bound.keep_every = 1;
    if (in_turns(pass) && x->bound.turns[pass]++ % x->bound.keep_every != 0) {
        run_request_release(&r->requests[--r->n_requests]);
        x->n_passes--;
    } else if (r->n_requests >= PROFILE_REQUESTS) {
        halve(x);
    }
}

const struct run_request *profile_kept(const struct profiling *x, int64_t index)
{
    const struct run *r = &x->s.run;
    const struct run_request *last = r->n_requests ? &r->requests[r->n_requests - 1] : NULL;
    return last && last->index == index ? last : NULL;
}

/* What a chart of the whole cannot show any more. */
static void drop_short(struct run_profile *p, double shortest_s)
{
    size_t left = 0;
    for (size_t i = 0; i < p->n_spans; i++)
        if (p->spans[i].to_s - p->spans[i].from_s >= shortest_s)
            p->spans[left++] = p->spans[i];
    p->n_spans = left;
}

/* Spans of one stage that follow each other that closely are one. */
static void join(struct run_profile *p, double gap_s)
{
    size_t left = 0;
    for (size_t i = 0; i < p->n_spans; i++) {
        struct run_profile_span *last = left ? &p->spans[left - 1] : NULL;
        if (last && strcmp(last->stage, p->spans[i].stage) == 0 && p->spans[i].from_s - last->to_s < gap_s)
            last->to_s = p->spans[i].to_s > last->to_s ? p->spans[i].to_s : last->to_s;
        else
            p->spans[left++] = p->spans[i];
    }
    p->n_spans = left;
}

void profile_span(struct profiling *x, const char *stage, double from_s, double to_s)
{
    while (x->p.n_spans >= PROFILE_SPANS) {
        x->bound.shortest_s = x->bound.shortest_s > 0 ? 2 * x->bound.shortest_s : 0.01;
        drop_short(&x->p, x->bound.shortest_s);
        join(&x->p, 2 * x->bound.shortest_s);
    }
    run_profile_add_span(&x->p, stage, from_s, to_s);
}

void profile_bound_note(struct profiling *x)
{
    if (x->bound.keep_every > 1)
        run_profile_note(
            &x->p, "of %llu requests one in %llu of each kind is in the sums of phases: a longer profile does not keep more",
            (unsigned long long)x->bound.requests, (unsigned long long)x->bound.keep_every);
    if (x->m && x->m->keep_every[x->m->source] > 1)
        run_profile_note(
            &x->p, "the regression that tells components apart uses one watched request in %llu; in times all of them count",
            (unsigned long long)x->m->keep_every[x->m->source]);
    if (x->bound.shortest_s > 0)
        run_profile_note(&x->p, "spans of stages shorter than %.3g s are left out of the record", x->bound.shortest_s);
}
