/* sharing.c - what each of many concurrent requests drew (7): every engine step is shared by the Shapley value of an affine model
 * of it, and rescaled to what the sensor saw in its window (sharing_windows.c).
 *
 * Steps come as they happen, windows when the sensor has shown them: steps and the requests' comings and goings wait in a queue,
 * in the order of time, until their window closes. Here they are written down. */
#include "lib/meter/sharing.h"

#include <stdlib.h>
#include <string.h>

#define QUEUE_MAX ((size_t)1 << 22)
#define NONE      SIZE_MAX

/* Ratios while nothing was learnt (7.5). */
static const struct joulet_weights assumed = {.b0_j = 1, .bp_j = 0.02, .bd_j = 0.01, .bc_j = 0, .u_share = 0.03, .assumed = true};

enum joulet_status joulet_sharing_open(struct joulet_sharing **out, double idle_w, const struct joulet_weights *weights,
                                       joulet_shared *emit, void *user, struct joulet_error *err)
{
    *out = NULL;
    if (!(idle_w >= 0) || !emit)
        return jl_fail(err, JOULET_USAGE, "sharing needs an idle power of 0 W or more and somebody to tell the shares");
    struct joulet_sharing *s = calloc(1, sizeof *s);
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing to share energy");
    s->idle_w = idle_w;
    s->free_slot = NONE;
    s->w = weights ? *weights : assumed;
    s->in_joules = weights != NULL;
    s->emit = emit;
    s->user = user;
    jl_equations_init(&s->learnt, SHARING_TERMS);
    *out = s;
    return jl_ok(err);
}

void joulet_sharing_close(struct joulet_sharing *s)
{
    if (!s)
        return;
    free(s->requests);
    free(s->queue);
    free(s);
}

/* ---- events as they come --------------------------------------------------------------------------------------------- */

static struct sharing_request *at_slot(struct joulet_sharing *s, size_t slot)
{
    return slot < s->n_requests && s->requests[slot].used && s->requests[slot].present ? &s->requests[slot] : NULL;
}

static struct sharing_request *take_slot(struct joulet_sharing *s)
{
    if (s->free_slot != NONE) {
        struct sharing_request *r = &s->requests[s->free_slot];
        s->free_slot = r->next_free;
        return r;
    }
    if (s->n_requests == s->cap_requests) {
        size_t cap = s->cap_requests ? 2 * s->cap_requests : 64;
        struct sharing_request *more = realloc(s->requests, cap * sizeof *more);
        if (!more)
            return NULL;
        s->requests = more;
        s->cap_requests = cap;
    }
    return &s->requests[s->n_requests++];
}

void sharing_free_slot(struct joulet_sharing *s, struct sharing_request *r)
{
    r->used = false;
    r->next_free = s->free_slot;
    s->free_slot = (size_t)(r - s->requests);
}

static bool reserve(struct joulet_sharing *s, size_t more)
{
    if (s->head > s->n / 2) { /* what was handled makes room */
        memmove(s->queue, s->queue + s->head, (s->n - s->head) * sizeof *s->queue);
        s->n -= s->head;
        s->head = 0;
    }
    if (s->n + more <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 256;
    while (cap < s->n + more)
        cap *= 2;
    struct sharing_item *queue = cap <= QUEUE_MAX ? realloc(s->queue, cap * sizeof *queue) : NULL;
    if (!queue)
        return false;
    s->queue = queue;
    s->cap = cap;
    return true;
}

static enum joulet_status no_room(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "out of memory for the steps of the engine: hand the sensor's windows in as they come");
}

static enum joulet_status push(struct joulet_sharing *s, enum sharing_what what, const struct sharing_request *r, joulet_mark t,
                               double tokens, struct joulet_error *err)
{
    if (t < s->last_ns)
        return jl_fail(err, JOULET_USAGE, "events of shared requests must come in the order of time");
    if (!reserve(s, 1))
        return no_room(err);
    s->last_ns = t;
    s->queue[s->n++] =
        (struct sharing_item){.what = what, .request = (size_t)(r - s->requests), .t0_ns = t, .t1_ns = t, .tokens = tokens};
    return jl_ok(err);
}

enum joulet_status joulet_sharing_join(struct joulet_sharing *s, uint64_t id, joulet_mark t, size_t *slot,
                                       struct joulet_error *err)
{
    struct sharing_request *r = take_slot(s);
    if (!r)
        return no_room(err);
    *r = (struct sharing_request){.id = id, .used = true, .present = true};
    enum joulet_status status = push(s, JOIN, r, t, 0, err);
    if (status != JOULET_OK)
        sharing_free_slot(s, r);
    else
        *slot = (size_t)(r - s->requests);
    return status;
}

static enum joulet_status unknown_request(size_t slot, struct joulet_error *err)
{
    return jl_fail(err, JOULET_NOT_FOUND, "no request shares in slot %zu: it never joined, or has left", slot);
}

enum joulet_status joulet_sharing_decode(struct joulet_sharing *s, size_t slot, double context, joulet_mark t,
                                         struct joulet_error *err)
{
    struct sharing_request *r = at_slot(s, slot);
    if (!r)
        return unknown_request(slot, err);
    if (r->present_decoding)
        return jl_fail(err, JOULET_USAGE, "the request in slot %zu decodes already", slot);
    enum joulet_status status = push(s, DECODE, r, t, context, err);
    if (status != JOULET_OK)
        return status;
    r->present_decoding = true;
    r->origin = context - s->steps;
    s->decoders++;
    s->contexts += context;
    return status;
}

/* Each slot at most once, and none that decodes: it would pay twice. */
static enum joulet_status check_prefill(struct joulet_sharing *s, const struct joulet_prefill *prefill, size_t n,
                                        struct joulet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct sharing_request *r = at_slot(s, prefill[i].slot);
        if (!r)
            return unknown_request(prefill[i].slot, err);
        if (r->present_decoding || !(prefill[i].tokens >= 0))
            return jl_fail(err, JOULET_USAGE, "the request in slot %zu decodes, or its prompt has no number of tokens",
                           prefill[i].slot);
    }
    return jl_ok(err);
}

enum joulet_status joulet_sharing_step(struct joulet_sharing *s, joulet_mark from, joulet_mark to,
                                       const struct joulet_prefill *prefill, size_t n, struct joulet_error *err)
{
    if (from < s->last_ns || from < s->step_end_ns || to <= from)
        return jl_fail(err, JOULET_USAGE, "steps of an engine must come in the order of time");
    enum joulet_status status = check_prefill(s, prefill, n, err);
    if (status != JOULET_OK || s->decoders + n == 0) /* nobody to share it */
        return status;
    if (!reserve(s, n + 1))
        return no_room(err);
    struct sharing_item *step = &s->queue[s->n++];
    *step = (struct sharing_item){.what = STEP,
                                  .t0_ns = from,
                                  .t1_ns = to,
                                  .members = (double)(s->decoders + n),
                                  .decoders = (double)s->decoders,
                                  .contexts = s->contexts};
    for (size_t i = 0; i < n; i++) {
        step->tokens += prefill[i].tokens;
        s->queue[s->n++] = (struct sharing_item){
            .what = PREFILL, .request = prefill[i].slot, .t0_ns = from, .t1_ns = to, .tokens = prefill[i].tokens};
    }
    s->contexts += (double)s->decoders; /* each has one token more */
    s->steps += 1;
    s->last_ns = from;
    s->step_end_ns = to;
    return status;
}

enum joulet_status sharing_listed_step(struct joulet_sharing *s, joulet_mark from, joulet_mark to,
                                       const struct sharing_member *members, size_t n, struct joulet_error *err)
{
    if (from < s->last_ns || from < s->step_end_ns || to <= from)
        return jl_fail(err, JOULET_USAGE, "steps of an engine must come in the order of time");
    if (n == 0)
        return jl_ok(err);
    if (!reserve(s, n + 1))
        return no_room(err);
    struct sharing_item *step = &s->queue[s->n++];
    *step = (struct sharing_item){.what = STEP, .t0_ns = from, .t1_ns = to, .members = (double)n};
    for (size_t i = 0; i < n; i++) {
        const struct sharing_member *m = &members[i];
        step->tokens += m->tokens;
        step->decoders += m->decoded;
        step->contexts += m->decoded * m->context;
        s->queue[s->n++] = (struct sharing_item){.what = MEMBER,
                                                 .request = m->slot,
                                                 .t0_ns = from,
                                                 .t1_ns = to,
                                                 .tokens = m->tokens,
                                                 .decoders = m->decoded,
                                                 .contexts = m->decoded * m->context};
    }
    s->last_ns = from;
    s->step_end_ns = to;
    return jl_ok(err);
}

static void stop_decoding(struct joulet_sharing *s, struct sharing_request *r)
{
    if (r->present_decoding) {
        s->decoders--;
        s->contexts = s->decoders ? s->contexts - (r->origin + s->steps) : 0;
    }
    r->present_decoding = false;
}

enum joulet_status joulet_sharing_pause(struct joulet_sharing *s, size_t slot, joulet_mark t, struct joulet_error *err)
{
    struct sharing_request *r = at_slot(s, slot);
    if (!r)
        return unknown_request(slot, err);
    enum joulet_status status = push(s, PAUSE, r, t, 0, err);
    if (status == JOULET_OK)
        stop_decoding(s, r);
    return status;
}

enum joulet_status joulet_sharing_leave(struct joulet_sharing *s, size_t slot, joulet_mark t, struct joulet_error *err)
{
    struct sharing_request *r = at_slot(s, slot);
    if (!r)
        return unknown_request(slot, err);
    enum joulet_status status = push(s, LEAVE, r, t, 0, err);
    if (status != JOULET_OK)
        return status;
    stop_decoding(s, r);
    r->present = false;
    return status;
}
