/* attribution_devices.c - an engine whose devices are found out while it computes (7.7): what of a device was counted as its own,
 * though its processes are not on it, goes back to the accounts of the device. */
#include "lib/meter/attribution.h"

#include <math.h>
#include <string.h>

/* Those that wait for their window say nothing any more. */
static void forget_events(struct joulet_attribution *a, size_t engine, size_t device)
{
    struct attribution_device *d = &a->devices[device];
    for (size_t i = d->first_event; i < d->n_events; i++) {
        struct attribution_presence *p = &d->events[i];
        if (p->request != NONE && a->requests[p->request].engine == engine)
            *p = (struct attribution_presence){p->t, NONE, 0};
    }
}

/* What windows that closed gave a request in the ledger, and of the idle power. */
static void give_back(struct joulet_attribution *a, struct attribution_request *r, const struct attribution_ledger *l, size_t i)
{
    struct attribution_device *d = &a->devices[l->device];
    struct attribution_part *p = &r->parts[i];
    double waiting, idle_j = p->there ? d->shared_j - p->idle_mark_j : p->idle_j;
    double net_j = p->final ? p->net_j : sharing_so_far(l->sharing, p->slot, &waiting);
    d->accounts.requests_j -= net_j;
    d->accounts.idle_shares_j -= idle_j;
    *(d->unused ? &d->accounts.idle_device_j : &d->accounts.other_j) += net_j;
    *(d->unused ? &d->accounts.idle_device_j : &d->accounts.vacant_j) += idle_j;
    d->there -= p->there ? 1 : 0;
    r->pending -= (p->final ? 0 : 1) + (p->gone ? 0 : 1);
}

static bool is_of(const struct attribution_request *r, size_t engine)
{
    return r->used && r->engine == engine;
}

static void drop(struct joulet_attribution *a, size_t engine, size_t i)
{
    struct attribution_engine *e = &a->engines[engine];
    struct attribution_ledger *l = a->ledgers[e->ledgers[i]];
    struct attribution_device *d = &a->devices[l->device];
    forget_events(a, engine, l->device);
    for (size_t k = 0; k < a->n_requests; k++) {
        struct attribution_request *r = &a->requests[k];
        if (!is_of(r, engine))
            continue;
        if (r->pending <= 2 * e->n_ledgers) /* else it could not enter, and nobody is told of it */
            give_back(a, r, l, i);
        memmove(&r->parts[i], &r->parts[i + 1], (e->n_ledgers - i - 1) * sizeof *r->parts);
    }
    if (d->there == 0)
        d->shared_j = 0;
    memmove(&e->ledgers[i], &e->ledgers[i + 1], (e->n_ledgers - i - 1) * sizeof *e->ledgers);
    e->n_ledgers--;
    l->device = NONE;
    joulet_sharing_close(l->sharing);
    l->sharing = NULL;
}

enum joulet_status joulet_attribution_not_on(struct joulet_attribution *a, size_t engine, size_t device, struct joulet_error *err)
{
    if (engine >= a->n_engines)
        return attribution_no_such("engine", engine, err);
    struct attribution_engine *e = &a->engines[engine];
    size_t i = attribution_index(e, a, device);
    if (i == e->n_ledgers)
        return attribution_no_such("engine on this device:", engine, err);
    if (e->n_ledgers == 1)
        return jl_fail(err, JOULET_USAGE, "an engine draws on one device at least");
    drop(a, engine, i);
    for (size_t k = 0; k < a->n_requests; k++)
        if (is_of(&a->requests[k], engine))
            attribution_final(a, &a->requests[k]); /* if it waited for this device alone */
    attribution_close_windows(a, device);
    return jl_ok(err);
}

enum joulet_status joulet_attribution_sure(struct joulet_attribution *a, size_t engine, struct joulet_error *err)
{
    if (engine >= a->n_engines)
        return attribution_no_such("engine", engine, err);
    struct attribution_engine *e = &a->engines[engine];
    e->unsure = false;
    for (size_t i = 0; i < e->n_ledgers; i++)
        attribution_close_windows(a, a->ledgers[e->ledgers[i]]->device);
    return jl_ok(err);
}
