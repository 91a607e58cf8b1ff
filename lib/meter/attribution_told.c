/* attribution_told.c - what requests and devices have: final, or as far as it is known. */
#include "lib/meter/attribution.h"

#include <math.h>

static size_t type_of(const struct joulet_attribution *a, const struct attribution_engine *e, size_t i)
{
    return a->devices[a->ledgers[e->ledgers[i]]->device].type;
}

/* What devices err by in common, squared: linearly within a type of sensor, in quadrature between them (3). */
static double common_u2(const struct joulet_attribution *a, const struct attribution_request *r)
{
    const struct attribution_engine *e = &a->engines[r->engine];
    double u2 = 0;
    for (size_t i = 0; i < e->n_ledgers; i++) {
        size_t type = type_of(a, e, i), first = 0;
        double sum = 0;
        while (first < i && (type == 0 || type_of(a, e, first) != type))
            first++;
        for (size_t k = i; k < e->n_ledgers && first == i; k++)
            sum += k == i || (type && type_of(a, e, k) == type) ? r->parts[k].common_j : 0;
        u2 += sum * sum;
    }
    return u2;
}

void attribution_final(struct joulet_attribution *a, struct attribution_request *r)
{
    if (r->pending)
        return;
    struct joulet_attributed told = {.id = r->id,
                                     .engine = r->engine,
                                     .final = true,
                                     .weights_assumed = r->weights_assumed,
                                     .unmeasured_s = r->unmeasured_s,
                                     .weights_off = r->weights_off};
    double common2 = common_u2(a, r), u2 = common2, sensor_u2 = common2;
    for (size_t i = 0; i < a->engines[r->engine].n_ledgers; i++) {
        const struct attribution_part *p = &r->parts[i];
        told.net_j += p->net_j;
        told.prefill_j += p->prefill_j;
        told.idle_share_j += p->idle_j;
        u2 += p->u2;
        sensor_u2 += p->sensor_u2;
    }
    told.gross_j = told.net_j + told.idle_share_j;
    told.u_j = sqrt(u2);
    told.u_sensor_j = sqrt(sensor_u2);
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
    *out = (struct joulet_attributed){
        .id = r->id, .engine = r->engine, .u_j = NAN, .weights_assumed = r->weights_assumed, .u_sensor_j = NAN, .prefill_j = NAN};
    for (size_t i = 0; i < e->n_ledgers; i++) {
        const struct attribution_ledger *l = a->ledgers[e->ledgers[i]];
        const struct attribution_device *d = &a->devices[l->device];
        const struct attribution_part *p = &r->parts[i];
        double waiting, lam = l->sharing->in_joules ? 1 : l->lam;
        out->net_j += p->net_j;
        out->idle_share_j += p->idle_j;
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
