/* session_estimate.c - energies of an engine on another machine: what a set says of its model, as `joulet estimate` gives it,
 * else what its size leaves open, marked estimated with both ends. No sensor of this machine is charged. */
#include "cli/session.h"
#include "cli/session_span.h"
#include "report/estimate.h"

#include <math.h>
#include <stdlib.h>

#define CHANNEL "estimate"

struct session_estimate {
    struct estimate_set set;
    size_t index;
    bool found, by_size; /* by_size: no set has the model */
};

/* As the engine tells it, else as its name does. */
static double size_of(const struct session *s, const char *model)
{
    const char *told = run_pairs_get(&s->run.model, "parameters");
    double v;
    return told && jl_parse_double(told, &v) && v > 0 ? v : estimate_size_in_name(model);
}

/* Looked for once, when the model is known. */
static struct session_estimate *estimate_of(struct session *s)
{
    char also[400];
    const char *model = run_pairs_get(&s->run.model, "name");
    if (s->estimate)
        return s->estimate;
    s->estimate = calloc(1, sizeof *s->estimate);
    if (!s->estimate)
        return NULL;
    struct session_estimate *e = s->estimate;
    model = model ? model : "the model";
    e->found = estimate_find(&e->set, &e->index, NULL, model, also, sizeof also, NULL) == JOULET_OK;
    if (!e->found)
        e->found = e->by_size = estimate_by_size(&e->set, model, size_of(s, model), NULL) == JOULET_OK;
    return e;
}

/* The sensors of this machine are no part of such a run's energy; one channel stands for the estimate, with its interval. */
static void take_their_place(struct session *s, const struct session_estimate *e)
{
    struct joulet_channel c = {
        .id = CHANNEL,
        .sensor = e->set.name,
        .device = "",
        .parent = "",
        .quantity = JOULET_ENERGY,
        .group = JOULET_GROUP_OTHER,
        .provenance = JOULET_ESTIMATED,
        .in_total = true,
        .power_min_w = NAN,
        .power_max_w = NAN,
    };
    double f_lo, f_hi; /* of estimate/truth, a channel has those of truth/estimate */
    estimate_factors(&e->set, NULL, &f_lo, &f_hi);
    c.factor_lo = 1 / f_hi;
    c.factor_hi = 1 / f_lo;
    for (size_t i = 0; i < s->run.n_channels; i++)
        s->run.channels[i].in_total = false;
    run_add_channel(&s->run, &c);
}

void session_estimate_note(struct session *s)
{
    const struct session_estimate *e = estimate_of(s);
    double lo, hi;
    if (!e || !e->found)
        return;
    take_their_place(s, e);
    estimate_factors(&e->set, NULL, &lo, &hi);
    if (e->by_size)
        run_note(
            &s->run,
            "the engine runs on another machine, which no sensor of this one sees, and no set has its model: its joules are "
            "estimated from %s, and the truth may lie %.0f times lower or higher; `joulet estimate --run %s --set NAME` takes "
            "a set of your own",
            e->set.source, hi, s->run.id);
    else
        run_note(
            &s->run,
            "the engine runs on another machine, which no sensor of this one sees: its joules are estimated from the set %s (%s)",
            e->set.name, e->set.source ? e->set.source : "");
}

void session_estimate_close(struct session *s)
{
    if (s->estimate && s->estimate->found)
        estimate_set_release(&s->estimate->set);
    free(s->estimate);
    s->estimate = NULL;
}

/* host unknown: a fit of this machine says as little about another one as any. */
void session_estimate_request(struct session *s, struct run_request *q)
{
    if (session_is_told(s)) {
        session_told_request(s, q);
        return;
    }
    struct estimate_result e;
    struct session_estimate *from = session_elsewhere(s) && q->outcome == RUN_OK ? estimate_of(s) : NULL;
    double out = q->tokens.generated < 0 ? NAN : (double)q->tokens.generated;
    if (!from || !from->found || q->tokens.prompt < 0 ||
        estimate_request(&from->set, from->index, NULL, (double)q->tokens.prompt, out, &e, NULL) != JOULET_OK)
        return;
    run_energy_add_channel(&q->energy, CHANNEL, &e.energy);
    run_energy_total(&s->run, &q->energy);
}

/* A level has the joules of its requests: what they draw together elsewhere is not seen at all. */
void session_estimate_level(struct session *s, struct run_window *w)
{
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    bool any = false;
    if (session_is_told(s)) {
        session_told_level(s, w);
        return;
    }
    for (size_t i = 0; session_elsewhere(s) && i < s->run.n_requests; i++) {
        const struct run_request *q = &s->run.requests[i];
        if (q->stream < 0 || q->outcome != RUN_OK || !q->energy.n_channels || !q->n_windows ||
            q->windows[0].start_ns < w->start_ns || q->windows[q->n_windows - 1].end_ns > w->end_ns)
            continue;
        joulet_energy_chain(&sum, &q->energy.channels[0].e);
        any = true;
    }
    if (!any)
        return;
    run_energy_add_channel(&w->energy, CHANNEL, &sum);
    run_energy_total(&s->run, &w->energy);
}
