/* attribution_windows.c - the windows of a device close, in the order of time, as soon as everything that happened until their
 * end was told (7.3): the idle power goes to those who were there, or to the account of vacant time; what is above it is shared
 * by the engines that computed, in the ratio of their models, and by their requests. */
#include "lib/meter/attribution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WINDOWS_MAX ((size_t)1 << 16)
#define PATIENCE_S  60.0 /* an engine that tells its steps may be so late; one step is seldom so long */
#define LEARN_S     20.0 /* windows of a model of which nothing is known wait for so long */
#define DEVICES_S   10.0 /* those of one of which the devices are not known */
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
    if (!measured) {
        d->gap_s += s;
        return;
    }
    if (d->there > 0) {
        d->shared_j += d->idle_w * s / d->there;
        d->accounts.idle_shares_j += d->idle_w * s;
        return;
    }
    bool empty = d->loaded == 0 && !isnan(d->empty_w);
    double kept = d->loaded > 0 && !isnan(d->empty_w) ? (d->idle_w - d->empty_w) * s : 0;
    double rest = (empty ? d->empty_w : d->idle_w) * s - kept;
    d->accounts.keep_alive_j += kept;
    *(d->unused ? &d->accounts.idle_device_j : &d->accounts.vacant_j) += rest;
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
    part->gone = !part->there;
    if (part->there) {
        part->idle_mark_j = d->shared_j;
        part->gap_mark_s = d->gap_s;
        return;
    }
    part->idle_j = d->shared_j - part->idle_mark_j;
    r->unmeasured_s = fmax(r->unmeasured_s, d->gap_s - part->gap_mark_s);
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

/* Engines whose processes had a known part of the device, or those of which that is not known (the first). */
struct party {
    double part, net_j, all_j; /* of the window: its part, what that is, and what requests get of it */
    double known_j, ratio_j;   /* models of engines whose weights are joules; of the others, in their own unit */
    double known_lam, ratio_lam;
    bool assumed;
};

static struct party *party_of(struct party *parties, const struct attribution_window *w, const struct attribution_engine *e)
{
    bool known = e->group && e->group <= w->n_parts && !isnan(w->parts[e->group - 1]);
    return &parties[known ? e->group : 0];
}

static void set_parts(struct party *parties, const struct attribution_window *w)
{
    double rest = 1;
    for (size_t g = 0; g < w->n_parts; g++) {
        parties[g + 1].part = isnan(w->parts[g]) ? 0 : w->parts[g];
        rest -= parties[g + 1].part;
    }
    parties[0].part = fmax(0, rest);
}

static void sum_models(struct joulet_attribution *a, size_t device, const struct attribution_window *w, struct party *parties)
{
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device)
            continue;
        sharing_sum(l->sharing, w->from, w->to, &l->window);
        if (!(l->window.model_j > 0))
            continue;
        struct party *p = party_of(parties, w, &a->engines[l->engine]);
        *(l->sharing->in_joules ? &p->known_j : &p->ratio_j) += l->window.model_j;
        p->assumed |= l->sharing->w.assumed;
    }
}

/* lam of engines with weights in joules, and of those with ratios only, for e joules. */
static void scale(struct party *p, double e, double idle_j, double seconds)
{
    p->known_lam = p->ratio_lam = 0;
    if (p->ratio_j > 0 && p->known_j > 0) {
        double rest = fmax(e - p->known_j, REST_SHARE * e);
        p->ratio_lam = rest / p->ratio_j;
        p->known_lam = (e - rest) / p->known_j;
    } else if (p->ratio_j > 0) {
        p->ratio_lam = e / p->ratio_j;
    } else if (p->known_j > 0) {
        p->known_lam = p->assumed ? e / p->known_j : sharing_lambda(p->known_j, e, idle_j, seconds);
    }
}

static bool computed(const struct party *p)
{
    return p->known_j + p->ratio_j > 0;
}

/* Each party that computed gets its part of the window, and of what the window before left. Returns what they get. */
static double scale_all(struct attribution_device *d, struct party *parties, size_t n, double net_j, double seconds)
{
    double parts = 0, taken_j = 0, all_j = 0, some = 0;
    for (size_t i = 0; i < n; i++) {
        parts += computed(&parties[i]) ? parties[i].part : 0;
        some += computed(&parties[i]);
    }
    for (size_t i = 0; i < n; i++) {
        struct party *p = &parties[i];
        if (!computed(p))
            continue;
        p->net_j = n == 1 ? net_j : p->part * net_j;
        double carried = parts > 0 ? p->part / parts : 1 / some;
        scale(p, p->net_j + carried * d->carry_j, d->idle_w * seconds, seconds);
        p->all_j = p->known_lam * p->known_j + p->ratio_lam * p->ratio_j;
        taken_j += p->net_j;
        all_j += p->all_j;
    }
    d->accounts.requests_j += all_j;
    d->accounts.other_j += d->unused && some == 0 ? 0 : net_j - taken_j;
    d->accounts.idle_device_j += d->unused && some == 0 ? net_j : 0;
    d->carry_j += taken_j - all_j;
    return all_j;
}

static void set_lam(struct joulet_attribution *a, size_t device, const struct attribution_window *w, struct party *parties)
{
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device)
            continue;
        const struct party *p = party_of(parties, w, &a->engines[l->engine]);
        l->lam = l->window.model_j > 0 ? (l->sharing->in_joules ? p->known_lam : p->ratio_lam) : 0;
    }
}

/* Each learns from what the others of its party leave. */
static void learn(struct joulet_attribution *a, size_t device, const struct attribution_window *w, struct party *parties)
{
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device || !(l->window.model_j > 0))
            continue;
        const struct party *p = party_of(parties, w, &a->engines[l->engine]);
        l->sharing->carry_j = a->devices[device].carry_j;
        sharing_learn(l->sharing, &l->window, p->net_j - (p->all_j - l->lam * l->window.model_j), jl_s(w->to - w->from), w->to);
    }
}

/* Nothing was measured: time passes, and steps cost nobody anything. */
static void close_gap(struct joulet_attribution *a, size_t device, const struct attribution_window *w)
{
    pass_events(a, device, w->to, false);
    for (size_t i = 0; i < a->n_ledgers; i++)
        if (a->ledgers[i]->device == device)
            sharing_close_window(a->ledgers[i]->sharing, w->from, w->to, 0, 0, 0, 0);
}

static double idle_counted(const struct joulet_accounts *x)
{
    return x->idle_shares_j + x->vacant_j + x->keep_alive_j + x->idle_device_j;
}

static void close_window(struct joulet_attribution *a, size_t device, const struct attribution_window *w)
{
    struct attribution_device *d = &a->devices[device];
    struct party parties[1 + JOULET_GROUPS_MAX] = {0};
    pass_events(a, device, w->from, false);
    double before = idle_counted(&d->accounts);
    pass_events(a, device, w->to, true);
    set_parts(parties, w);
    sum_models(a, device, w, parties);
    double all_j =
        scale_all(d, parties, 1 + w->n_parts, w->gross_j - (idle_counted(&d->accounts) - before), jl_s(w->to - w->from));
    d->accounts.measured_j += w->gross_j;
    set_lam(a, device, w, parties);
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        double own_j = l->lam * l->window.model_j;
        if (l->device != device)
            continue;
        double part = all_j > 0 ? own_j / all_j : 0;
        sharing_close_window(l->sharing, w->from, w->to, l->lam, own_j, part * w->u_j, part * w->u_common_j);
    }
    if (!w->learnt)
        learn(a, device, w, parties);
}

/* ---- the first seconds of a model ------------------------------------------------------------------------------------ */

/* Somebody shares it by weights that are only assumed, and they matter: steps have several members. */
static bool is_assumed(struct joulet_attribution *a, size_t device, const struct attribution_window *w)
{
    for (size_t i = 0; i < a->n_ledgers; i++) {
        struct attribution_ledger *l = a->ledgers[i];
        if (l->device != device || !l->sharing->w.assumed)
            continue;
        sharing_sum(l->sharing, w->from, w->to, &l->window);
        if (l->window.together > 0)
            return true;
    }
    return false;
}

/* Weights are learnt from it before it closes: when there are enough of such windows, all of them are shared by what was learnt.
 */
static void learn_ahead(struct joulet_attribution *a, size_t device, struct attribution_window *w)
{
    struct attribution_device *d = &a->devices[device], scratch = *d;
    struct party parties[1 + JOULET_GROUPS_MAX] = {0};
    double seconds = jl_s(w->to - w->from);
    set_parts(parties, w);
    sum_models(a, device, w, parties);
    scratch.carry_j = 0;
    scale_all(&scratch, parties, 1 + w->n_parts, w->gross_j - d->idle_w * seconds, seconds);
    set_lam(a, device, w, parties);
    learn(a, device, w, parties);
    w->learnt = true;
}

/* Whether the oldest window waits for weights. */
static bool waits_for_weights(struct joulet_attribution *a, size_t device, joulet_mark known)
{
    struct attribution_device *d = &a->devices[device];
    const struct attribution_window *oldest = &d->windows[d->first];
    if (isnan(oldest->gross_j) || known - oldest->to > jl_ns(LEARN_S) || !is_assumed(a, device, oldest))
        return false;
    for (size_t i = d->first; i < d->n && d->windows[i].to <= known; i++) {
        if (d->windows[i].learnt || isnan(d->windows[i].gross_j))
            continue;
        learn_ahead(a, device, &d->windows[i]);
        if (!is_assumed(a, device, oldest))
            return false;
    }
    return true;
}

/* Somebody's requests are in it of whom it is not known yet whether they draw on this device. */
static bool waits_for_devices(const struct joulet_attribution *a, size_t device, joulet_mark known)
{
    const struct attribution_device *d = &a->devices[device];
    if (known - d->windows[d->first].to > jl_ns(DEVICES_S))
        return false;
    for (size_t i = 0; i < a->n_ledgers; i++) {
        const struct attribution_ledger *l = a->ledgers[i];
        if (l->device == device && a->engines[l->engine].unsure &&
            (a->engines[l->engine].in_ledgers || l->sharing->head < l->sharing->n))
            return true;
    }
    return false;
}

/* A window that waits for long is closed with what is known. */
void attribution_close_windows(struct joulet_attribution *a, size_t device)
{
    struct attribution_device *d = &a->devices[device];
    joulet_mark known = known_until(a, device);
    while (d->first < d->n && (d->windows[d->first].to <= known || d->n - d->first >= WINDOWS_MAX / 2)) {
        if (d->n - d->first < WINDOWS_MAX / 2 && (waits_for_devices(a, device, known) || waits_for_weights(a, device, known)))
            return;
        struct attribution_window w = d->windows[d->first++];
        (isnan(w.gross_j) ? close_gap : close_window)(a, device, &w);
        free(w.parts);
    }
}

static enum joulet_status add_window(struct joulet_attribution *a, size_t device, const struct attribution_window *w,
                                     struct joulet_error *err)
{
    struct attribution_device *d = &a->devices[device];
    if (!attribution_reserve((void **)&d->windows, sizeof *d->windows, &d->first, &d->n, &d->cap, 1, WINDOWS_MAX))
        return attribution_memory(err);
    d->windows[d->n++] = *w;
    d->last_ns = w->to;
    attribution_close_windows(a, device);
    return jl_ok(err);
}

enum joulet_status joulet_attribution_energy_of(struct joulet_attribution *a, size_t device, joulet_mark from, joulet_mark to,
                                                double gross_j, double u_j, double u_common_j, const double *parts,
                                                size_t n_parts, struct joulet_error *err)
{
    double sum = 0;
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    if (to <= from || from < a->devices[device].last_ns || !isfinite(gross_j))
        return jl_fail(err, JOULET_USAGE, "windows of a sensor must come in the order of time, each with its energy");
    for (size_t i = 0; i < n_parts; i++)
        sum += isnan(parts[i]) ? 0 : parts[i] >= 0 ? parts[i] : INFINITY;
    if (n_parts > JOULET_GROUPS_MAX || sum > 1 + 1e-9)
        return jl_fail(err, JOULET_USAGE, "parts of a window are of at most %d groups, 0 or more, and not above 1 together",
                       JOULET_GROUPS_MAX);
    struct attribution_window w = {.from = from,
                                   .to = to,
                                   .gross_j = gross_j,
                                   .u_j = isfinite(u_j) ? u_j : 0,
                                   .u_common_j = isfinite(u_common_j) ? u_common_j : 0};
    if (n_parts) {
        w.parts = malloc(n_parts * sizeof *w.parts);
        if (!w.parts)
            return attribution_memory(err);
        memcpy(w.parts, parts, n_parts * sizeof *w.parts);
        w.n_parts = n_parts;
    }
    enum joulet_status status = add_window(a, device, &w, err);
    if (status != JOULET_OK)
        free(w.parts);
    return status;
}

enum joulet_status joulet_attribution_energy(struct joulet_attribution *a, size_t device, joulet_mark from, joulet_mark to,
                                             double gross_j, double u_j, double u_common_j, struct joulet_error *err)
{
    return joulet_attribution_energy_of(a, device, from, to, gross_j, u_j, u_common_j, NULL, 0, err);
}

enum joulet_status joulet_attribution_gap(struct joulet_attribution *a, size_t device, joulet_mark to, struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    struct attribution_device *d = &a->devices[device];
    if (to <= d->last_ns)
        return jl_ok(err);
    return add_window(a, device, &(struct attribution_window){.from = d->last_ns, .to = to, .gross_j = NAN}, err);
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
