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
#define PLACES   8 /* of the grid: so many repeats have been seen all over */

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

/* ---- requests that belong together ------------------------------------------------------------------------------- */

struct group {
    joulet_mark *on, *off; /* ascending, one after the other */
    size_t n;
    joulet_mark *other; /* starts of all other requests of the run, ascending */
    size_t n_others;
};

static void release(struct group *g)
{
    free(g->on);
    free(g->other);
}

static int by_time(const void *a, const void *b)
{
    joulet_mark x = *(const joulet_mark *)a, y = *(const joulet_mark *)b;
    return (x > y) - (x < y);
}

/* Those that the energy of a run is made of. */
static bool of_sum(const struct run_request *q)
{
    return q->outcome == RUN_OK && !q->warmup && q->n_windows && q->stream < 0;
}

static bool same(const char *a, const char *b)
{
    return a && b ? strcmp(a, b) == 0 : a == b;
}

/* The same prompt in the same configuration. */
static bool repeats(const struct run_request *a, const struct run_request *b)
{
    return a->cell == b->cell && a->number == b->number && same(a->set, b->set) && same(a->category, b->category);
}

/* Sequential requests of a cell (-1: of the run), all or the repeats of `like`. False when there are none. */
static bool collect(const struct run *r, int64_t cell, const struct run_request *like, struct group *g)
{
    *g = (struct group){.on = calloc(2 * r->n_requests + 2, sizeof *g->on), .other = calloc(r->n_requests + 1, sizeof *g->other)};
    if (!g->on || !g->other)
        return false;
    g->off = g->on + r->n_requests + 1;
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (!q->n_windows)
            continue;
        if (of_sum(q) && (cell < 0 || q->cell == cell) && (!like || repeats(q, like))) {
            g->on[g->n] = q->windows[0].start_ns;
            g->off[g->n++] = q->windows[q->n_windows - 1].end_ns;
        } else {
            g->other[g->n_others++] = q->windows[0].start_ns;
        }
    }
    qsort(g->on, g->n, sizeof *g->on, by_time);
    qsort(g->off, g->n, sizeof *g->off, by_time);
    qsort(g->other, g->n_others, sizeof *g->other, by_time);
    for (size_t i = 0; i + 1 < g->n; i++)
        if (g->on[i + 1] < g->off[i])
            return false; /* not one after the other */
    return g->n > 0;
}

static size_t after(const joulet_mark *t, size_t n, joulet_mark at)
{
    size_t lo = 0, hi = n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t[mid] <= at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* What other requests drew has no part in the figure: readings between the start of one and the next request of the group are set
 * to the idle level, as the waits between repeats are taken off at it (2.5). */
static void mask_others(struct joulet_trace *t, const struct joulet_baseline *idle, const struct group *g)
{
    int64_t lag = jl_ns(t->channel.lag_s), window = jl_ns(t->channel.window_s), doubt = jl_ns(t->channel.u_lag_s);
    for (size_t i = 0; i < t->n && g->n_others; i++) {
        joulet_mark end = t->samples[i].t_ns - lag + doubt, start = end - window - 2 * doubt;
        size_t k = after(g->on, g->n, end), o = after(g->other, g->n_others, end);
        bool inside = k && g->off[k - 1] > start;                  /* holds a part of the group */
        bool others = o && (!k || g->other[o - 1] > g->on[k - 1]); /* the last that began is another's */
        if (others && !inside)
            t->samples[i].value = (int64_t)(idle->power_w * 1e6);
    }
}

/* Nothing else began before this moment. */
static joulet_mark quiet_until(const struct session *s, const struct group *g, const struct joulet_trace *t)
{
    joulet_mark end = g->off[g->n - 1], last = t->n ? t->samples[t->n - 1].t_ns : end;
    size_t o = after(g->other, g->n_others, end);
    joulet_mark quiet = o < g->n_others ? g->other[o] : last;
    for (size_t i = 0; i < s->run.n_windows; i++) /* levels, loads */
        if (strcmp(s->run.windows[i].name, "idle") && strcmp(s->run.windows[i].name, "cooldown") &&
            s->run.windows[i].start_ns >= end && s->run.windows[i].start_ns < quiet)
            quiet = s->run.windows[i].start_ns;
    return quiet;
}

/* ---- figures ----------------------------------------------------------------------------------------------------- */

/* One group by the estimator that it allows: repeats at places of the grid as a block, others by the fit over bursts. */
static enum joulet_status measure(struct session *s, size_t channel, const struct group *g, bool block, struct joulet_energy *e,
                                  struct joulet_error *err)
{
    struct joulet_trace t;
    *e = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    if (!session_trace(s, channel, g->on[0] - jl_ns(LEAD_S), g->off[g->n - 1] + jl_ns(AFTER_S), &t, err))
        return JOULET_NO_DATA;
    mask_others(&t, &s->idle[channel], g);
    enum joulet_status st = block ? joulet_block(&t, &s->idle[channel], g->on, g->off, g->n, quiet_until(s, g, &t), e, err)
                                  : joulet_bursts(&t, &s->idle[channel], g->on, g->off, g->n, e, err);
    joulet_trace_release(&t);
    if (!block || st != JOULET_OK)
        return st;
    struct joulet_energy each = *e, sum = JOULET_ENERGY_UNKNOWN; /* of one repeat: all of them err alike */
    double n = (double)g->n;
    sum = each;
    sum.net_j *= n;
    sum.gross_j *= n;
    sum.net_pm_j *= n;
    sum.gross_pm_j *= n;
    sum.min_j *= n;
    sum.max_j *= n;
    sum.u = (struct joulet_u){n * each.u.q, n * each.u.b, n * each.u.time, n * each.u.event, n * each.u.idle, n * each.u.spec};
    *e = sum;
    return st;
}

/* Is every prompt of the cell there often enough to have been at all places? */
static bool in_blocks(const struct run *r, int64_t cell)
{
    size_t members = 0;
    if (strcmp(r->kind, "bench") != 0) /* no one else chooses the places */
        return false;
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        size_t n = 0;
        if (!of_sum(q) || (cell >= 0 && q->cell != cell))
            continue;
        members++;
        for (size_t k = 0; k < r->n_requests && n < PLACES; k++)
            n += of_sum(&r->requests[k]) && repeats(&r->requests[k], q);
        if (n < PLACES)
            return false;
    }
    return members > 0;
}

static bool first_of_repeats(const struct run *r, size_t i, int64_t cell)
{
    if (!of_sum(&r->requests[i]) || (cell >= 0 && r->requests[i].cell != cell))
        return false;
    for (size_t k = 0; k < i; k++)
        if (of_sum(&r->requests[k]) && repeats(&r->requests[k], &r->requests[i]))
            return false;
    return true;
}

/* Each prompt is a block; they add as windows of one run do. */
static enum joulet_status blocks(struct session *s, size_t channel, int64_t cell, struct joulet_energy *all,
                                 struct joulet_error *err)
{
    enum joulet_status st = JOULET_NO_DATA;
    *all = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    for (size_t i = 0; i < s->run.n_requests; i++) {
        struct joulet_energy e;
        struct group g;
        if (!first_of_repeats(&s->run, i, cell))
            continue;
        bool some = collect(&s->run, cell, &s->run.requests[i], &g);
        st = some ? measure(s, channel, &g, true, &e, err) : JOULET_NO_DATA;
        release(&g);
        if (st != JOULET_OK)
            return st;
        joulet_energy_chain(all, &e);
    }
    return st;
}

static bool lacks_some(const struct joulet_energy *e)
{
    return isnan(e->gross_j) || (e->flags & (JOULET_FLAG_UNRESOLVED | JOULET_FLAG_PARTIAL));
}

/* The sum over requests gives way to what is surer; where neither is known, the reason and the bounds are. */
static bool take(struct joulet_energy *sum, const struct joulet_energy *all, enum joulet_status st)
{
    bool surer = st == JOULET_OK && (lacks_some(sum) || all->gross_pm_j < sum->gross_pm_j);
    if (surer || (st == JOULET_TOO_SHORT && isnan(sum->gross_j))) {
        double tail_j = sum->tail_j;
        *sum = *all;
        sum->tail_j = tail_j;
    }
    return surer;
}

/* Every part-time channel of *e, which holds the sums over the requests of the cell. True when one of them is surer now. */
static bool together(struct session *s, int64_t cell, struct run_energy *e)
{
    bool any = false, block = in_blocks(&s->run, cell);
    struct group g;
    bool some = collect(&s->run, cell, NULL, &g);
    for (size_t i = 0; some && i < e->n_channels; i++) {
        struct joulet_error err = {0};
        struct joulet_energy all;
        size_t c = 0;
        while (c < s->n_channels && strcmp(s->run.channels[c].id, e->channels[i].channel))
            c++;
        if (c == s->n_channels || !joulet_is_part_time(&s->run.channels[c]) || isnan(s->idle[c].power_w))
            continue;
        enum joulet_status st = JOULET_NO_DATA;
        if (block && (st = blocks(s, c, cell, &all, &err)) == JOULET_OK)
            any |= take(&e->channels[i].e, &all, st);
        st = measure(s, c, &g, false, &all, &err);
        any |= take(&e->channels[i].e, &all, st);
        if (st == JOULET_TOO_SHORT && isnan(e->channels[i].e.gross_j))
            run_note(&s->run, "%s", err.message);
    }
    release(&g);
    return any;
}

static bool has_streams(const struct run *r, int64_t cell)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (r->requests[i].stream >= 0 && (cell < 0 || r->requests[i].cell == cell))
            return true; /* requests at once are measured as one level, with the pauses between them */
    return false;
}

static bool looks_part_time(const struct session *s)
{
    for (size_t i = 0; i < s->n_channels; i++)
        if (joulet_is_part_time(&s->run.channels[i]) && !isnan(s->idle[i].power_w))
            return true;
    return false;
}

void session_bursts(struct session *s)
{
    struct run *r = &s->run;
    bool any = false;
    for (size_t i = 0; i < r->n_cells; i++) { /* of an earlier measurement */
        run_energy_release(&r->cells[i].energy);
        run_energy_init(&r->cells[i].energy);
    }
    if (!looks_part_time(s))
        return;
    if (!r->n_cells && !has_streams(r, -1) && together(s, -1, &r->energy))
        session_total(s, &r->energy);
    for (size_t i = 0; i < r->n_cells; i++) {
        struct run_energy e;
        if (has_streams(r, (int64_t)i) || !run_energy_of_cell(r, (int64_t)i, &e))
            continue;
        if (together(s, (int64_t)i, &e)) {
            session_total(s, &e);
            r->cells[i].energy = e;
            any = true;
        } else {
            run_energy_release(&e);
        }
    }
    if (any && run_energy_from_requests(r))
        session_total(s, &r->energy);
}
