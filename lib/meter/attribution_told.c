/* attribution_told.c - what requests and devices have: final, or as far as it is known. */
#include "lib/meter/attribution.h"

#include <math.h>

void attribution_final(struct joulet_attribution *a, struct attribution_request *r)
{
    if (r->pending)
        return;
    struct joulet_attributed told = {.id = r->id,
                                     .engine = r->engine,
                                     .net_j = r->net_j,
                                     .u_j = sqrt(r->u2),
                                     .idle_share_j = r->idle_j,
                                     .gross_j = r->net_j + r->idle_j,
                                     .final = true,
                                     .weights_assumed = r->weights_assumed,
                                     .u_sensor_j = sqrt(r->sensor_u2),
                                     .unmeasured_s = r->unmeasured_s,
                                     .prefill_j = r->prefill_j};
    attribution_give_back(a, r);
    a->tell(a->user, &told);
}

/* By the model, in joules: what was seen of it and is in no step yet. */
static double untold_j(const struct attribution_request *r, const struct joulet_weights *w, double together)
{
    double j = r->untold * (w->b0_j / fmax(1, together) + w->bd_j + w->bc_j * (r->context + r->made));
    return r->begun || r->ended ? j + w->bp_j * fmax(0, r->prompt - r->told) : j;
}

enum joulet_status joulet_attribution_look(struct joulet_attribution *a, size_t request, struct joulet_attributed *out,
                                           struct joulet_error *err)
{
    if (request >= a->n_requests || !a->requests[request].used)
        return attribution_no_such("request", request, err);
    const struct attribution_request *r = &a->requests[request];
    const struct attribution_engine *e = &a->engines[r->engine];
    *out = (struct joulet_attributed){.id = r->id,
                                      .engine = r->engine,
                                      .net_j = r->net_j,
                                      .u_j = NAN,
                                      .idle_share_j = r->idle_j,
                                      .weights_assumed = r->weights_assumed,
                                      .u_sensor_j = NAN,
                                      .prefill_j = NAN};
    for (size_t i = 0; i < e->n_ledgers; i++) {
        const struct attribution_ledger *l = a->ledgers[e->ledgers[i]];
        const struct attribution_device *d = &a->devices[l->device];
        const struct attribution_part *p = &r->parts[i];
        double waiting, lam = l->sharing->in_joules ? 1 : l->lam;
        if (!p->final) {
            out->net_j += sharing_so_far(l->sharing, p->slot, &waiting);
            out->net_j += lam * (waiting + untold_j(r, &l->sharing->w, (double)e->in_flight));
        }
        joulet_mark from = d->done_ns > r->arrived ? d->done_ns : r->arrived, to = r->ended ? r->last : a->now;
        if (p->there)
            out->idle_share_j += d->shared_j - p->idle_mark_j;
        if (to > from)
            out->idle_share_j += d->idle_w * jl_s(to - from) / fmax(1, (double)e->in_flight + r->ended);
        out->weights_assumed |= l->sharing->w.assumed;
    }
    out->gross_j = out->net_j + out->idle_share_j;
    return jl_ok(err);
}

enum joulet_status joulet_attribution_accounts(const struct joulet_attribution *a, size_t device, struct joulet_accounts *out,
                                               struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    const struct attribution_device *d = &a->devices[device];
    *out = d->accounts;
    out->residual_j = d->carry_j;
    out->waiting_s = 0;
    if (d->first < d->n)
        out->waiting_s = jl_s(d->windows[d->n - 1].to - d->windows[d->first].from);
    return jl_ok(err);
}
