/* session_bursts.c - sensors that look a part of the time only (docs/method.md 2.5): each request starts at another place of
 * their grid, and what all requests drew together comes from a fit over all of them, where that is surer than their sum. */
#include "cli/session.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define GRID_S   5.0 /* of trace that tell the grid */
#define AHEAD_NS 2000000
#define LEAD_S   2.5
#define AFTER_S  1.0

void session_place(struct session *s, size_t k)
{
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        joulet_mark now = joulet_now();
        if (!s->run.channels[i].in_total || !joulet_is_part_time(&s->run.channels[i]) ||
            joulet_trace_copy(s->meter, i, now - jl_ns(GRID_S), now, &t, NULL) != JOULET_OK)
            continue;
        joulet_mark start = joulet_phase_start(&t, k, now + AHEAD_NS);
        joulet_trace_release(&t);
        session_wait_until(start);
        return; /* one grid at a time */
    }
}

/* ---- all requests as bursts ----------------------------------------------------------------------------------------------- */

struct bursts {
    joulet_mark *on, *off;
    size_t n;
};

struct burst {
    joulet_mark on, off;
};

static int by_start(const void *a, const void *b)
{
    const struct burst *x = a, *y = b;
    return (x->on > y->on) - (x->on < y->on);
}

/* Those that the run's energy is made of. Requests that overlap are one burst. */
static bool collect(const struct run *r, struct bursts *out)
{
    size_t n = 0;
    struct burst *all = calloc(r->n_requests + 1, sizeof *all);
    *out = (struct bursts){.on = calloc(2 * r->n_requests + 2, sizeof *out->on)};
    for (size_t i = 0; all && out->on && i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->stream >= 0) { /* requests at once are measured as one level, with the pauses between them */
            free(all);
            return false;
        }
        if (q->outcome == RUN_OK && !q->warmup && q->n_windows)
            all[n++] = (struct burst){q->windows[0].start_ns, q->windows[q->n_windows - 1].end_ns};
    }
    if (n)
        qsort(all, n, sizeof *all, by_start);
    out->off = out->on + (out->on ? r->n_requests + 1 : 0);
    for (size_t i = 0; i < n; i++) {
        if (out->n && all[i].on <= out->off[out->n - 1]) {
            out->off[out->n - 1] = all[i].off > out->off[out->n - 1] ? all[i].off : out->off[out->n - 1];
            continue;
        }
        out->on[out->n] = all[i].on;
        out->off[out->n++] = all[i].off;
    }
    free(all);
    return out->n > 0;
}

static struct run_channel_energy *energy_of(struct run *r, const char *channel)
{
    for (size_t i = 0; i < r->energy.n_channels; i++)
        if (!strcmp(r->energy.channels[i].channel, channel))
            return &r->energy.channels[i];
    return NULL;
}

static bool lacks_some(const struct joulet_energy *e)
{
    return isnan(e->gross_j) || (e->flags & (JOULET_FLAG_UNRESOLVED | JOULET_FLAG_PARTIAL));
}

/* The sum over requests gives way to what is surer; where neither is known, the reason and the bounds are. */
static void take(struct joulet_energy *sum, const struct joulet_energy *all, enum joulet_status st)
{
    if (st == JOULET_OK && (lacks_some(sum) || all->gross_pm_j < sum->gross_pm_j)) {
        double tail_j = sum->tail_j;
        *sum = *all;
        sum->tail_j = tail_j;
    } else if (st == JOULET_TOO_SHORT && isnan(sum->gross_j)) {
        *sum = *all;
    }
}

void session_bursts(struct session *s)
{
    struct bursts b;
    if (!collect(&s->run, &b)) {
        free(b.on);
        return;
    }
    bool any = false;
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        struct joulet_error err;
        struct joulet_energy e;
        const struct joulet_channel *c = &s->run.channels[i];
        struct run_channel_energy *sum = energy_of(&s->run, c->id);
        if (!sum || !joulet_is_part_time(c) || isnan(s->idle[i].power_w) ||
            !session_trace(s, i, b.on[0] - jl_ns(LEAD_S), b.off[b.n - 1] + jl_ns(AFTER_S), &t, &err))
            continue;
        enum joulet_status st = joulet_bursts(&t, &s->idle[i], b.on, b.off, b.n, &e, &err);
        take(&sum->e, &e, st);
        if (st == JOULET_TOO_SHORT && isnan(sum->e.gross_j))
            run_note(&s->run, "%s", err.message);
        any = true;
        joulet_trace_release(&t);
    }
    if (any)
        session_total(s, &s->run.energy);
    free(b.on);
}
