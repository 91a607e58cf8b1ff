/* session_estimate.c - energies of an engine on another machine: what is published for its model, as `joulet estimate` gives it,
 * marked estimated. No sensor of this machine is charged; without a published figure the energy stays unknown. */
#include "cli/session.h"
#include "cli/session_span.h"
#include "report/estimate.h"

#include <math.h>
#include <stdlib.h>

#define CHANNEL "estimate"

struct session_estimate {
    struct estimate_set set;
    size_t index;
    bool found;
};

/* Looked for once, when the model is known. */
static struct session_estimate *estimate_of(struct session *s)
{
    char also[400];
    const char *model = run_pairs_get(&s->run.model, "name");
    if (s->estimate || !model)
        return s->estimate;
    s->estimate = calloc(1, sizeof *s->estimate);
    if (!s->estimate)
        return NULL;
    struct session_estimate *e = s->estimate;
    e->found = estimate_find(&e->set, &e->index, NULL, model, also, sizeof also, NULL) == JOULET_OK;
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
    estimate_factors(&e->set, NULL, &c.factor_lo, &c.factor_hi);
    for (size_t i = 0; i < s->run.n_channels; i++)
        s->run.channels[i].in_total = false;
    run_add_channel(&s->run, &c);
}

void session_estimate_note(struct session *s)
{
    const struct session_estimate *e = estimate_of(s);
    if (e && e->found)
        take_their_place(s, e);
    if (e && e->found)
        run_note(
            &s->run,
            "the engine runs on another machine, which no sensor of this one sees: its joules are estimated from the set %s (%s)",
            e->set.name, e->set.source ? e->set.source : "");
    else
        run_note(
            &s->run,
            "the engine runs on another machine: the sensors of this one say nothing about its energy, and nothing is published "
            "for its model; give `joulet estimate --run %s --set` a set of your own",
            s->run.id);
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
    struct estimate_result e;
    struct session_estimate *from = session_elsewhere(s) && q->outcome == RUN_OK ? estimate_of(s) : NULL;
    double out = q->tokens.generated < 0 ? NAN : (double)q->tokens.generated;
    if (!from || !from->found || q->tokens.prompt < 0 ||
        estimate_request(&from->set, from->index, NULL, (double)q->tokens.prompt, out, &e, NULL) != JOULET_OK)
        return;
    run_energy_add_channel(&q->energy, CHANNEL, &e.energy);
    run_energy_total(&s->run, &q->energy);
}
