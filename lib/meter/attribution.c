/* attribution.c - the energy of requests while they run (7.4): devices, engines, requests, and their coming and going. Steps that
 * an engine tells go to its ledgers at once, others are inferred (attribution_infer.c); what sensors show waits until the steps
 * of its time are known (attribution_windows.c). */
#include "lib/meter/attribution.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* ---- making ---------------------------------------------------------------------------------------------------------- */

enum joulet_status attribution_memory(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "out of memory for the energy of requests: fewer of them at once need less");
}

enum joulet_status joulet_attribution_open(struct joulet_attribution **out, joulet_attributed_told *tell, void *user,
                                           struct joulet_error *err)
{
    *out = NULL;
    if (!tell)
        return jl_fail(err, JOULET_USAGE, "the energy of requests needs somebody who is told");
    struct joulet_attribution *a = calloc(1, sizeof *a);
    if (!a || !(a->engines = calloc(ATTRIBUTION_ENGINES, sizeof *a->engines))) {
        free(a);
        return attribution_memory(err);
    }
    a->tell = tell;
    a->user = user;
    a->free_request = NONE;
    *out = a;
    return jl_ok(err);
}

void joulet_attribution_close(struct joulet_attribution *a)
{
    if (!a)
        return;
    for (size_t i = 0; i < a->n_ledgers; i++) {
        joulet_sharing_close(a->ledgers[i]->sharing);
        free(a->ledgers[i]);
    }
    for (size_t i = 0; i < a->n_engines; i++) {
        free(a->engines[i].ledgers);
        free(a->engines[i].members);
        infer_close(&a->engines[i].infer);
    }
    for (size_t i = 0; i < a->n_devices; i++) {
        for (size_t k = a->devices[i].first; k < a->devices[i].n; k++)
            free(a->devices[i].windows[k].parts);
        free(a->devices[i].windows);
        free(a->devices[i].events);
    }
    for (size_t i = 0; i < a->n_requests; i++)
        free(a->requests[i].parts);
    free(a->requests);
    free(a->engines);
    free(a);
}

/* Room for `more` at the end of a queue; what was taken from its front makes room first. */
bool attribution_reserve(void **items, size_t size, size_t *first, size_t *n, size_t *cap, size_t more, size_t max)
{
    if (*first > *n / 2) {
        memmove(*items, (char *)*items + *first * size, (*n - *first) * size);
        *n -= *first;
        *first = 0;
    }
    if (*n + more <= *cap)
        return true;
    size_t longer = *cap ? *cap : 64;
    while (longer < *n + more)
        longer *= 2;
    void *moved = longer <= max ? realloc(*items, longer * size) : NULL;
    if (!moved)
        return false;
    *items = moved;
    *cap = longer;
    return true;
}

static bool powers_are_right(double idle_w, double empty_w)
{
    return idle_w >= 0 && isfinite(idle_w) && !(empty_w < 0) && !(empty_w > idle_w);
}

static enum joulet_status wrong_power(struct joulet_error *err)
{
    return jl_fail(err, JOULET_USAGE, "the idle power of a device is 0 W or more, and not less than without any model");
}

enum joulet_status attribution_no_such(const char *what, size_t i, struct joulet_error *err)
{
    return jl_fail(err, JOULET_NOT_FOUND, "there is no %s %zu to attribute energy to: it was never told, or is over", what, i);
}

enum joulet_status joulet_attribution_device(struct joulet_attribution *a, double idle_w, double empty_w, size_t *device,
                                             struct joulet_error *err)
{
    if (!powers_are_right(idle_w, empty_w))
        return wrong_power(err);
    if (a->n_devices == ATTRIBUTION_DEVICES)
        return jl_fail(err, JOULET_LIMIT, "energy is attributed on at most %d devices", ATTRIBUTION_DEVICES);
    *device = a->n_devices++;
    a->devices[*device] = (struct attribution_device){.idle_w = idle_w, .empty_w = empty_w};
    return jl_ok(err);
}

enum joulet_status joulet_attribution_idle(struct joulet_attribution *a, size_t device, double idle_w, double empty_w,
                                           struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    if (!powers_are_right(idle_w, empty_w))
        return wrong_power(err);
    attribution_close_windows(a, device); /* what can be counted with the old one */
    a->devices[device].idle_w = idle_w;
    a->devices[device].empty_w = empty_w;
    return jl_ok(err);
}

enum joulet_status joulet_attribution_used(struct joulet_attribution *a, size_t device, bool used, struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    attribution_close_windows(a, device);
    a->devices[device].unused = !used;
    return jl_ok(err);
}

enum joulet_status joulet_attribution_type(struct joulet_attribution *a, size_t device, size_t type, struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    a->devices[device].type = type;
    return jl_ok(err);
}

static void on_share(void *user, const struct joulet_share *share)
{
    const struct attribution_ledger *l = user;
    struct attribution_request *r = &l->of->requests[share->id];
    struct attribution_part *part = &r->parts[attribution_index(&l->of->engines[l->engine], l->of, l->device)];
    double common2 = share->u_common_j * share->u_common_j;
    part->net_j = share->net_j;
    part->prefill_j = share->prefill_j;
    part->u2 = share->u_j * share->u_j - common2;
    part->sensor_u2 = share->u_sensor_j * share->u_sensor_j - common2;
    part->common_j = share->u_common_j;
    part->final = true;
    r->weights_assumed |= share->weights_assumed;
    r->weights_off |= share->weights_off;
    r->pending--;
    attribution_final(l->of, r);
}

static enum joulet_status add_ledger(struct joulet_attribution *a, size_t engine, size_t device, struct joulet_error *err)
{
    struct attribution_ledger *l = calloc(1, sizeof *l);
    if (!l || a->n_ledgers == JL_COUNT(a->ledgers)) {
        free(l);
        return attribution_memory(err);
    }
    *l = (struct attribution_ledger){.of = a, .engine = engine, .device = device};
    enum joulet_status status = joulet_sharing_open(&l->sharing, a->devices[device].idle_w, NULL, on_share, l, err);
    if (status != JOULET_OK) {
        free(l);
        return status;
    }
    struct attribution_engine *e = &a->engines[engine];
    l->sharing->w.u_share = e->tells_steps ? 0.03 : 0.06; /* 7.6 */
    e->ledgers[e->n_ledgers++] = a->n_ledgers;
    a->ledgers[a->n_ledgers++] = l;
    return status;
}

static enum joulet_status check_devices(const struct joulet_attribution *a, const struct joulet_attribution_engine *e,
                                        struct joulet_error *err)
{
    if (e->n_devices == 0 || e->n_devices > ATTRIBUTION_DEVICES || a->n_engines == ATTRIBUTION_ENGINES)
        return jl_fail(err, JOULET_LIMIT, "energy is attributed to at most %d engines, each on 1 to %d devices",
                       ATTRIBUTION_ENGINES, ATTRIBUTION_DEVICES);
    for (size_t i = 0; i < e->n_devices; i++) {
        if (e->devices[i] >= a->n_devices)
            return attribution_no_such("device", e->devices[i], err);
        for (size_t j = 0; j < i; j++)
            if (e->devices[j] == e->devices[i])
                return jl_fail(err, JOULET_USAGE, "an engine draws on each device once");
    }
    return jl_ok(err);
}

enum joulet_status joulet_attribution_engine(struct joulet_attribution *a, const struct joulet_attribution_engine *in,
                                             size_t *engine, struct joulet_error *err)
{
    enum joulet_status status = check_devices(a, in, err);
    if (status != JOULET_OK)
        return status;
    struct attribution_engine *e = &a->engines[a->n_engines];
    size_t before = a->n_ledgers;
    *e =
        (struct attribution_engine){.tells_steps = in->tells_steps, .unsure = in->unsure, .slots = in->slots, .group = in->group};
    infer_init(&e->infer);
    e->ledgers = calloc(in->n_devices, sizeof *e->ledgers);
    status = e->ledgers ? JOULET_OK : attribution_memory(err);
    for (size_t i = 0; i < in->n_devices && status == JOULET_OK; i++)
        status = add_ledger(a, a->n_engines, in->devices[i], err);
    if (status == JOULET_OK) {
        *engine = a->n_engines++;
        return jl_ok(err);
    }
    while (a->n_ledgers > before) {
        joulet_sharing_close(a->ledgers[--a->n_ledgers]->sharing);
        free(a->ledgers[a->n_ledgers]);
    }
    free(e->ledgers);
    return status;
}

size_t attribution_index(const struct attribution_engine *e, const struct joulet_attribution *a, size_t device)
{
    size_t i = 0;
    while (i < e->n_ledgers && a->ledgers[e->ledgers[i]]->device != device)
        i++;
    return i;
}

/* ---- who is there ---------------------------------------------------------------------------------------------------- */

#define PRESENCE_MAX ((size_t)1 << 22)

static void add_event(struct attribution_device *d, joulet_mark t, size_t request, int change)
{
    if (t > d->last_event_ns) /* two engines may tell a little out of order */
        d->last_event_ns = t;
    d->events[d->n_events++] = (struct attribution_presence){d->last_event_ns, request, change};
}

static bool note_presence(struct joulet_attribution *a, const struct attribution_engine *e, joulet_mark t, size_t request,
                          int change)
{
    for (size_t i = 0; i < e->n_ledgers; i++) {
        struct attribution_device *d = &a->devices[a->ledgers[e->ledgers[i]]->device];
        if (!attribution_reserve((void **)&d->events, sizeof *d->events, &d->first_event, &d->n_events, &d->cap_events, 2,
                                 PRESENCE_MAX))
            return false;
    }
    for (size_t i = 0; i < e->n_ledgers; i++)
        add_event(&a->devices[a->ledgers[e->ledgers[i]]->device], t, request, change);
    return true;
}

enum joulet_status joulet_attribution_loaded(struct joulet_attribution *a, size_t engine, bool loaded, joulet_mark t,
                                             struct joulet_error *err)
{
    if (engine >= a->n_engines)
        return attribution_no_such("engine", engine, err);
    return note_presence(a, &a->engines[engine], t, NONE, loaded ? 1 : -1) ? jl_ok(err) : attribution_memory(err);
}

enum joulet_status joulet_attribution_kept(struct joulet_attribution *a, size_t device, bool kept, joulet_mark t,
                                           struct joulet_error *err)
{
    if (device >= a->n_devices)
        return attribution_no_such("device", device, err);
    struct attribution_device *d = &a->devices[device];
    if (!attribution_reserve((void **)&d->events, sizeof *d->events, &d->first_event, &d->n_events, &d->cap_events, 1,
                             PRESENCE_MAX))
        return attribution_memory(err);
    add_event(d, t, NONE, kept ? 1 : -1);
    return jl_ok(err);
}

static struct attribution_request *take_request(struct joulet_attribution *a)
{
    if (a->free_request != NONE) {
        struct attribution_request *r = &a->requests[a->free_request];
        a->free_request = r->next_free;
        return r;
    }
    if (a->n_requests == a->cap_requests) {
        size_t cap = a->cap_requests ? 2 * a->cap_requests : 64;
        struct attribution_request *more = cap <= ATTRIBUTION_REQUESTS ? realloc(a->requests, cap * sizeof *more) : NULL;
        if (!more)
            return NULL;
        a->requests = more;
        a->cap_requests = cap;
    }
    return &a->requests[a->n_requests++];
}

void attribution_give_back(struct joulet_attribution *a, struct attribution_request *r)
{
    free(r->parts);
    *r = (struct attribution_request){.next_free = a->free_request};
    a->free_request = (size_t)(r - a->requests);
}

static void leave_ledgers(struct joulet_attribution *a, struct attribution_request *r, size_t n)
{
    const struct attribution_engine *e = &a->engines[r->engine];
    for (size_t i = 0; i < n; i++) {
        struct joulet_sharing *s = a->ledgers[e->ledgers[i]]->sharing;
        joulet_mark t = e->step_end > s->last_ns ? e->step_end : s->last_ns;
        r->parts[i].left = joulet_sharing_leave(s, r->parts[i].slot, t, NULL) == JOULET_OK;
    }
}

static enum joulet_status join_ledgers(struct joulet_attribution *a, struct attribution_request *r, struct joulet_error *err)
{
    const struct attribution_engine *e = &a->engines[r->engine];
    for (size_t i = 0; i < e->n_ledgers; i++) {
        struct joulet_sharing *s = a->ledgers[e->ledgers[i]]->sharing;
        joulet_mark t = e->step_end > s->last_ns ? e->step_end : s->last_ns;
        enum joulet_status status = joulet_sharing_join(s, (uint64_t)(r - a->requests), t, &r->parts[i].slot, err);
        if (status != JOULET_OK) {
            r->pending = SIZE_MAX; /* nobody is told of it */
            leave_ledgers(a, r, i);
            return status;
        }
    }
    return JOULET_OK;
}

static bool is_count(double x)
{
    return x >= 0 && x < 1e12;
}

enum joulet_status joulet_attribution_enter(struct joulet_attribution *a, size_t engine, const struct joulet_entering *in,
                                            joulet_mark t, size_t *request, struct joulet_error *err)
{
    if (engine >= a->n_engines)
        return attribution_no_such("engine", engine, err);
    if (!is_count(in->prompt_tokens))
        return jl_fail(err, JOULET_USAGE, "the prompt of request %llu has no number of tokens", (unsigned long long)in->id);
    struct attribution_engine *e = &a->engines[engine];
    struct attribution_request *r = take_request(a);
    struct attribution_part *parts = r ? calloc(e->n_ledgers, sizeof *parts) : NULL;
    if (!parts) {
        if (r)
            attribution_give_back(a, r);
        return attribution_memory(err);
    }
    *r = (struct attribution_request){.id = in->id,
                                      .engine = engine,
                                      .used = true,
                                      .silent = in->silent,
                                      .guessed = in->guessed,
                                      .arrived = t,
                                      .last = t,
                                      .prompt = in->prompt_tokens,
                                      .context = in->prompt_tokens,
                                      .cluster = NONE,
                                      .entry = NONE,
                                      .before = NONE,
                                      .after = NONE,
                                      .pending = 2 * e->n_ledgers,
                                      .parts = parts};
    if (!e->in_ledgers && t > e->step_end)
        e->step_end = t; /* nothing was computed before it came */
    if (!note_presence(a, e, t, (size_t)(r - a->requests), 1)) {
        attribution_give_back(a, r);
        return attribution_memory(err);
    }
    enum joulet_status status = join_ledgers(a, r, err);
    if (status != JOULET_OK) {
        note_presence(a, e, t, (size_t)(r - a->requests), -1);
        return status;
    }
    e->in_flight++;
    e->in_ledgers++;
    *request = (size_t)(r - a->requests);
    return e->tells_steps ? jl_ok(err) : infer_enter(a, r, err);
}

static struct attribution_request *in_flight(struct joulet_attribution *a, size_t request)
{
    return request < a->n_requests && a->requests[request].used && !a->requests[request].ended ? &a->requests[request] : NULL;
}

enum joulet_status joulet_attribution_prompt(struct joulet_attribution *a, size_t request, double computed, double context,
                                             struct joulet_error *err)
{
    struct attribution_request *r = in_flight(a, request);
    if (!r)
        return attribution_no_such("request", request, err);
    if (!is_count(computed) || !is_count(context) || context < computed)
        return jl_fail(err, JOULET_USAGE, "the prompt of request %llu has no number of tokens", (unsigned long long)r->id);
    if (r->guessed && r->begun && !a->engines[r->engine].tells_steps)
        infer_recount(a, r, computed, context);
    r->prompt = computed;
    r->context = context;
    r->guessed = false;
    return jl_ok(err);
}

/* Events of an engine must not run backwards; of what does, the time is mended rather than the event lost. */
static joulet_mark in_order(struct attribution_request *r, joulet_mark t)
{
    if (t < r->last)
        t = r->last;
    return t;
}

enum joulet_status joulet_attribution_progress(struct joulet_attribution *a, size_t request, double done, joulet_mark t,
                                               struct joulet_error *err)
{
    struct attribution_request *r = in_flight(a, request);
    if (!r)
        return attribution_no_such("request", request, err);
    if (!is_count(done))
        return jl_fail(err, JOULET_USAGE, "the prompt of request %llu has no number of tokens", (unsigned long long)r->id);
    return a->engines[r->engine].tells_steps ? jl_ok(err) : infer_progress(a, r, done, in_order(r, t), err);
}

enum joulet_status joulet_attribution_tokens(struct joulet_attribution *a, size_t request, double tokens, joulet_mark t,
                                             struct joulet_error *err)
{
    struct attribution_request *r = in_flight(a, request);
    if (!r)
        return attribution_no_such("request", request, err);
    if (!isnan(tokens) && !is_count(tokens))
        return jl_fail(err, JOULET_USAGE, "a piece of the answer to request %llu has no number of tokens",
                       (unsigned long long)r->id);
    return a->engines[r->engine].tells_steps ? jl_ok(err) : infer_piece(a, r, tokens, in_order(r, t), err);
}

void attribution_release(struct joulet_attribution *a, struct attribution_request *r)
{
    struct attribution_engine *e = &a->engines[r->engine];
    if (r->released)
        return;
    r->released = true;
    leave_ledgers(a, r, e->n_ledgers);
    e->in_ledgers--;
}

enum joulet_status joulet_attribution_end(struct joulet_attribution *a, size_t request, double generated, joulet_mark t,
                                          struct joulet_error *err)
{
    struct attribution_request *r = in_flight(a, request);
    if (!r)
        return attribution_no_such("request", request, err);
    struct attribution_engine *e = &a->engines[r->engine];
    t = in_order(r, t);
    if (!note_presence(a, e, t, request, -1))
        return attribution_memory(err);
    r->ended = true;
    e->in_flight--;
    if (!e->tells_steps)
        return infer_end(a, r, generated, t, err);
    r->last = t;
    attribution_release(a, r);
    return jl_ok(err);
}

/* ---- steps ----------------------------------------------------------------------------------------------------------- */

bool attribution_members(struct attribution_engine *e, size_t n)
{
    if (n <= e->cap_members)
        return true;
    struct sharing_member *more = realloc(e->members, 2 * n * sizeof *more);
    if (!more)
        return false;
    e->members = more;
    e->cap_members = 2 * n;
    return true;
}

/* e->members name requests; each ledger has its own places for them. */
enum joulet_status attribution_tell(struct joulet_attribution *a, struct attribution_engine *e, joulet_mark from, joulet_mark to,
                                    size_t n, struct joulet_error *err)
{
    enum joulet_status status = JOULET_OK;
    if (from < e->step_end)
        from = e->step_end;
    if (to <= from)
        return status;
    for (size_t i = 0; i < n; i++)
        a->requests[e->members[i].slot].told += e->members[i].tokens;
    for (size_t i = 0; i < e->n_ledgers && n; i++) {
        struct sharing_member *own = e->members + n;
        for (size_t j = 0; j < n; j++) {
            own[j] = e->members[j];
            own[j].slot = a->requests[own[j].slot].parts[i].slot;
        }
        enum joulet_status s = sharing_listed_step(a->ledgers[e->ledgers[i]]->sharing, from, to, own, n, err);
        status = status == JOULET_OK ? s : status;
    }
    e->step_end = to;
    return status;
}

enum joulet_status joulet_attribution_step(struct joulet_attribution *a, size_t engine, joulet_mark from, joulet_mark to,
                                           const struct joulet_stepped *members, size_t n, struct joulet_error *err)
{
    if (engine >= a->n_engines)
        return attribution_no_such("engine", engine, err);
    struct attribution_engine *e = &a->engines[engine];
    if (!e->tells_steps || to <= from)
        return jl_fail(err, JOULET_USAGE, "steps of an engine must come in the order of time, by one that tells them");
    if (!attribution_members(e, 2 * n))
        return attribution_memory(err);
    for (size_t i = 0; i < n; i++) {
        const struct attribution_request *r = in_flight(a, members[i].request);
        if (!r || r->engine != engine)
            return attribution_no_such("request", members[i].request, err);
        if (!is_count(members[i].prefill) || !is_count(members[i].decoded) || !is_count(members[i].context))
            return jl_fail(err, JOULET_USAGE, "the part of request %llu in a step has no number of tokens",
                           (unsigned long long)r->id);
        e->members[i] = (struct sharing_member){members[i].request, members[i].prefill, members[i].decoded, members[i].context};
    }
    enum joulet_status status = attribution_tell(a, e, from, to, n, err);
    return status == JOULET_OK ? jl_ok(err) : status;
}
