/* attribution_windows.c - the windows of a device close, in the order of time, as soon as everything that happened until their
 * end was told (7.3): the idle power goes to those who were there, or to the account of vacant time; what is above it is shared
 * by the engines that computed, in the ratio of their models, and by their requests. */
#include "lib/meter/attribution.h"

#include <math.h>

#define WINDOWS_MAX ((size_t)1 << 16)
#define PATIENCE_S  30.0 /* an engine that tells its steps may be so late; one step is seldom so long */
#define REST_SHARE  0.05 /* of the window, for engines about which nothing is known, beside others that drew all of it */

joulet_mark attribution_known_until(const struct joulet_attribution *a, const struct attribution_engine *e)
{
    joulet_mark patience = a->now - jl_ns(PATIENCE_S);
    if (!e->in_ledgers)
        return a->now;
    return e->step_end > patience ? e->step_end : patience;
}

static joulet_mark known_until(const struct joulet_attribution *a, size_t device)
{
    joulet_mark t = a->now;
    for (size_t i = 0; i < a->n_ledgers; i++) {
        if (a->ledgers[i]->device != device)
            continue;
        joulet_mark known = attribution_known_until(a, &a->engines[a->ledgers[i]->engine]);
        t = known < t ? known : t;
    }
    return t;
}

/* ---- idle power ------------------------------------------------------------------------------------------------------ */

/* Time passes until t; it is counted when it was measured. */
static void pass(struct attribution_device *d, joulet_mark t, bool measured)
{
    if (t <= d->done_ns)
        return;
    double s = d->done_ns ? jl_s(t - d->done_ns) : 0;
    d->done_ns = t;
    if (!measured)
        return;
    if (d->there > 0) {
        d->shared_j += d->idle_w * s / d->there;
        d->accounts.idle_shares_j += d->idle_w * s;
        return;
    }
    double kept = d->loaded > 0 && !isnan(d->empty_w) ? (d->idle_w - d->empty_w) * s : 0;
    d->accounts.keep_alive_j += kept;
    d->accounts.vacant_j += d->idle_w * s - kept;
}

static void one_event(struct joulet_attribution *a, size_t device, const struct attribution_presence *p)
{
    struct attribution_device *d = &a->devices[device];
    if (p->request == NONE) {
        d->loaded = fmax(0, d->loaded + p->change);
        return;
    }
    struct attribution_request *r = &a->requests[p->request];
    struct attribution_part *part = &r->parts[attribution_index(&a->engines[r->engine], a, device)];
    d->there += p->change;
    part->there = p->change > 0;
    if (part->there) {
        part->idle_mark_j = d->shared_j;
        return;
    }
    r->idle_j += d->shared_j - part->idle_mark_j;
    r->pending--;
    if (d->there == 0)
        d->shared_j = 0; /* differences stay exact */
    attribution_final(a, r);
}

static void pass_events(struct joulet_attribution *a, size_t device, joulet_mark to, bool measured)
{
    struct attribution_device *d = &a->devices[device];
    while (d->first_event < d->n_events && d->events[d->first_event].t <= to) {
        struct attribution_presence p = d->events[d->first_event++];
        pass(d, p.t, measured);
        one_event(a, device, &p);
    }
    pass(d, to, measured);
}

/* ---- energy above it ------------------------------------------------------------------------------------------------- */

struct models {
    double known_j, ratio; /* of engines whose weights are joules; of the others, in their own unit */
    bool assumed;
};

static struct models sum_models(struct joulet_attribution *a, size_t device, const struct attribution_window *w)
{
    struct models m = {0};
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device)
            continue;
        sharing_sum(l->sharing, w->from, w->to, &l->window);
        if (!(l->window.model_j > 0))
            continue;
        *(l->sharing->in_joules ? &m.known_j : &m.ratio) += l->window.model_j;
        m.assumed |= l->sharing->w.assumed;
    }
    return m;
}

/* lam of engines with weights in joules, and of those with ratios only, for e joules. */
static void scale(const struct models *m, double e, double idle_j, double seconds, double *known, double *ratios)
{
    *known = *ratios = 0;
    if (m->ratio > 0 && m->known_j > 0) {
        double rest = fmax(e - m->known_j, REST_SHARE * e);
        *ratios = rest / m->ratio;
        *known = (e - rest) / m->known_j;
    } else if (m->ratio > 0) {
        *ratios = e / m->ratio;
    } else if (m->known_j > 0) {
        *known = m->assumed ? e / m->known_j : sharing_lambda(m->known_j, e, idle_j, seconds);
    }
}

/* Each learns from what the others leave. */
static void learn(struct joulet_attribution *a, size_t device, const struct attribution_window *w, double net_j, double all_j)
{
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device || !(l->window.model_j > 0))
            continue;
        l->sharing->carry_j = a->devices[device].carry_j;
        sharing_learn(l->sharing, &l->window, net_j - (all_j - l->lam * l->window.model_j), jl_s(w->to - w->from), w->to);
    }
}

static void close_window(struct joulet_attribution *a, size_t device, const struct attribution_window *w)
{
    struct attribution_device *d = &a->devices[device];
    double seconds = jl_s(w->to - w->from), idle_j = d->idle_w * seconds, known, ratios, all_j = 0;
    struct joulet_accounts before = d->accounts;
    pass_events(a, device, w->from, false);
    pass_events(a, device, w->to, true);
    double counted = (d->accounts.idle_shares_j - before.idle_shares_j) + (d->accounts.vacant_j - before.vacant_j) +
                     (d->accounts.keep_alive_j - before.keep_alive_j);
    double net_j = w->gross_j - counted, e = net_j + d->carry_j;
    struct models m = sum_models(a, device, w);
    scale(&m, e, idle_j, seconds, &known, &ratios);
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device)
            continue;
        l->lam = l->window.model_j > 0 ? (l->sharing->in_joules ? known : ratios) : 0;
        all_j += l->lam * l->window.model_j;
    }
    d->accounts.measured_j += w->gross_j;
    d->accounts.requests_j += all_j;
    if (m.known_j + m.ratio > 0)
        d->carry_j = e - all_j;
    else
        d->accounts.other_j += net_j;
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        double own_j = l->lam * l->window.model_j;
        if (l->device == device)
            sharing_close_window(l->sharing, w->from, w->to, l->lam, own_j, all_j > 0 ? w->u_j * own_j / all_j : 0);
    }
    learn(a, device, w, net_j, all_j);
}

/* A window that waits for long is closed with what is known. */
void attribution_close_windows(struct joulet_attribution *a, size_t device)
{
    struct attribution_device *d = &a->devices[device];
    joulet_mark known = known_until(a, device);
    while (d->first < d->n && (d->windows[d->first].to <= known || d->n - d->first >= WINDOWS_MAX / 2)) {
        struct attribution_window w = d->windows[d->first++];
        close_window(a, device, &w);
    }
}

enum joulet_status joulet_attribution_energy(struct joulet_attribution *a, size_t device, joulet_mark from, joulet_mark to,
                                             double gross_j, double u_j, struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    struct attribution_device *d = &a->devices[device];
    if (to <= from || from < d->last_ns || !isfinite(gross_j))
        return jl_fail(err, JOULET_USAGE, "windows of a sensor must come in the order of time, each with its energy");
    if (!attribution_reserve((void **)&d->windows, sizeof *d->windows, &d->first, &d->n, &d->cap, 1, WINDOWS_MAX))
        return attribution_memory(err);
    d->windows[d->n++] = (struct attribution_window){from, to, gross_j, isfinite(u_j) ? u_j : 0};
    d->last_ns = to;
    attribution_close_windows(a, device);
    return jl_ok(err);
}

void joulet_attribution_until(struct joulet_attribution *a, joulet_mark t)
{
    if (t > a->now)
        a->now = t;
    for (size_t i = 0; i < a->n_engines; i++)
        if (!a->engines[i].tells_steps)
            infer_until(a, &a->engines[i], t);
    for (size_t i = 0; i < a->n_devices; i++)
        attribution_close_windows(a, i);
}
