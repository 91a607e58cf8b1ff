/* profile_lost.c - answers and prompts that took longer than the meter keeps samples: their energy is unknown, also where only
 * one channel of the total lacks samples, and then their tokens and seconds are in no ratio with the energy of others. */
#include "cli/profile.h"

#include <math.h>
#include <string.h>

bool profile_lost(const struct joulet_energy *e)
{
    return (e->flags & JOULET_FLAG_TRACE_LOST) != 0;
}

double profile_net_j(const struct joulet_energy *e)
{
    return profile_lost(e) ? NAN : e->net_j;
}

static void forget(struct joulet_energy *e)
{
    uint32_t flags = e->flags;
    *e = (struct joulet_energy)JOULET_ENERGY_UNKNOWN;
    e->flags = flags;
}

static bool is_lost(const struct run_request *q)
{
    bool lost = profile_lost(&q->energy.total);
    for (size_t i = 0; i < q->n_windows; i++)
        lost |= profile_lost(&q->windows[i].energy.total);
    return lost;
}

void profile_forget_lost(struct run_request *q)
{
    if (!is_lost(q))
        return;
    forget(&q->energy.total);
    for (size_t i = 0; i < q->n_windows; i++)
        forget(&q->windows[i].energy.total);
}

static void note_lost(struct profiling *x, const char *of, size_t lost, size_t all)
{
    if (lost)
        run_profile_note(&x->p,
                         "%s: the energy of %zu of %zu is not known, because they took longer than samples of the sensor stay in "
                         "memory: a longer --interval keeps more of them",
                         of, lost, all);
}

void profile_leave_out_lost(struct profiling *x)
{
    const struct run *r = &x->s.run;
    size_t lost = 0, all = 0;
    for (size_t i = 0; i < r->n_requests && i < x->n_passes; i++) {
        bool plain = x->passes[i] == MEASURE_PLAIN && r->requests[i].outcome == RUN_OK;
        all += plain;
        lost += plain && is_lost(&r->requests[i]);
    }
    note_lost(x, "plain answers", lost, all);
    for (size_t i = 0; lost < all && i < r->n_requests && i < x->n_passes; i++) /* of none there are times at least */
        if (x->passes[i] == MEASURE_PLAIN && is_lost(&r->requests[i]))
            x->passes[i] = MEASURE_ASIDE;
}

void profile_tally_add(struct profile_tally *t, const struct joulet_energy *e, double tokens, double seconds)
{
    bool known = isfinite(profile_net_j(e)), before = isfinite(t->e.net_j);
    t->all++;
    t->lost += profile_lost(e);
    if (before && !known)
        return;
    if (known && !before)
        t->tokens = t->seconds = t->n = 0;
    if (known)
        joulet_energy_chain(&t->e, e);
    t->tokens += tokens;
    t->seconds += seconds;
    t->n++;
}

void profile_tally_note(struct profiling *x, const struct profile_tally *t, const char *of)
{
    note_lost(x, of, t->lost, t->all);
}
