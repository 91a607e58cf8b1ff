/* sharing.c - what each of many concurrent requests drew (7): every engine step is shared by the Shapley value of an affine model
 * of it, and rescaled to what the sensor saw in its window.
 *
 * Steps come as they happen, windows when the sensor has shown them: steps and the requests' comings and goings wait in a queue,
 * in the order of time, until their window closes. Then each is handled once, and sums that no request owns (7.4) give every
 * request its share from the difference of two marks: O(1) an event, whatever the number of requests. */
#include "lib/base/base.h"
#include "lib/stats/regress.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MODEL_U      0.02 /* noise of a window: relative to its model and idle energy, */
#define FLOOR_W      0.5  /* and at least so many watts */
#define MODEL_SPREAD 0.1  /* of the model: what remains is carried to the next window */
#define LAM_MIN      0.5
#define LAM_MAX      2.0
#define FIT_WINDOWS  50 /* busy windows before the first fit */
#define REFIT_S      600.0
#define CARRY_LARGE  2.0 /* times the model of the window, */
#define CARRY_ROW    20  /* in so many windows running: the weights are wrong */
#define QUEUE_MAX    ((size_t)1 << 22)
#define TERMS        4
#define NONE         SIZE_MAX

/* Ratios while nothing was learnt (7.5). */
static const struct joulet_weights assumed = {.b0_j = 1, .bp_j = 0.02, .bd_j = 0.01, .bc_j = 0, .u_share = 0.03, .assumed = true};

enum what { STEP, PREFILL, JOIN, DECODE, LEAVE };

struct item {
    enum what what;
    size_t request; /* slot; PREFILL of the step before it, JOIN, DECODE, LEAVE */
    int64_t t0_ns, t1_ns;
    double tokens; /* PREFILL: computed in the step; DECODE: context; STEP: prefill tokens of all */
    double members, decoders, contexts;
};

struct request {
    uint64_t id;
    bool used, prefilling, decoding; /* as the events that were handled say */
    bool present, present_decoding;  /* as the events that came say */
    double origin;                   /* context less the number of steps, as the events that came say */
    size_t next_free;
    double F, N, K, offset; /* marks: AF; AN, AK and x - k0 since it decodes */
    double prefill;         /* lam-weighted prefill tokens since the mark */
    double energy_j;        /* settled before the weights changed */
    double shared_s;        /* integral of dt/n at its arrival */
    double sum_j, sum_u2;   /* of all windows, at its arrival */
    bool guessed;           /* a part of its life was shared by assumed weights */
};

struct joulet_sharing {
    double idle_w;
    struct joulet_weights w;
    struct request *requests;
    size_t n_requests, cap_requests, free_slot; /* NONE: no slot is free */
    struct item *queue;
    size_t head, n, cap;
    /* as the events that came say */
    size_t decoders;
    double contexts, steps;
    int64_t last_ns, step_end_ns;
    /* as the windows that closed say */
    double AF, AN, AK, K;
    double carry_j, idle_j, attributed_j, measured_j, sum_u2;
    double window_j, window_u2; /* of the window that is being handled: a request that joins in it has part in it */
    double in_flight, shared_s; /* requests, integral of dt/n */
    int64_t done_ns;
    struct jl_equations learnt;
    double busy_windows;
    int64_t fitted_ns;
    unsigned large_carries;
    joulet_shared *emit;
    void *user;
};

enum joulet_status joulet_sharing_open(struct joulet_sharing **out, double idle_w, const struct joulet_weights *weights,
                                       joulet_shared *emit, void *user, struct joulet_error *err)
{
    *out = NULL;
    if (!(idle_w >= 0) || !emit)
        return jl_fail(err, JOULET_USAGE, "sharing needs an idle power of 0 W or more and somebody to tell the shares");
    struct joulet_sharing *s = calloc(1, sizeof *s);
    if (!s)
        return jl_fail(err, JOULET_MEMORY, "out of memory while preparing to share energy");
    s->idle_w = idle_w;
    s->free_slot = NONE;
    s->w = weights ? *weights : assumed;
    s->emit = emit;
    s->user = user;
    jl_equations_init(&s->learnt, TERMS);
    *out = s;
    return jl_ok(err);
}

void joulet_sharing_close(struct joulet_sharing *s)
{
    if (!s)
        return;
    free(s->requests);
    free(s->queue);
    free(s);
}

/* ---- events as they come ------------------------------------------------------------------------------------------------- */

static struct request *at_slot(struct joulet_sharing *s, size_t slot)
{
    return slot < s->n_requests && s->requests[slot].used && s->requests[slot].present ? &s->requests[slot] : NULL;
}

static struct request *take_slot(struct joulet_sharing *s)
{
    if (s->free_slot != NONE) {
        struct request *r = &s->requests[s->free_slot];
        s->free_slot = r->next_free;
        return r;
    }
    if (s->n_requests == s->cap_requests) {
        size_t cap = s->cap_requests ? 2 * s->cap_requests : 64;
        struct request *more = realloc(s->requests, cap * sizeof *more);
        if (!more)
            return NULL;
        s->requests = more;
        s->cap_requests = cap;
    }
    return &s->requests[s->n_requests++];
}

static void free_slot(struct joulet_sharing *s, struct request *r)
{
    r->used = false;
    r->next_free = s->free_slot;
    s->free_slot = (size_t)(r - s->requests);
}

static bool reserve(struct joulet_sharing *s, size_t more)
{
    if (s->head > s->n / 2) { /* what was handled makes room */
        memmove(s->queue, s->queue + s->head, (s->n - s->head) * sizeof *s->queue);
        s->n -= s->head;
        s->head = 0;
    }
    if (s->n + more <= s->cap)
        return true;
    size_t cap = s->cap ? s->cap : 256;
    while (cap < s->n + more)
        cap *= 2;
    struct item *queue = cap <= QUEUE_MAX ? realloc(s->queue, cap * sizeof *queue) : NULL;
    if (!queue)
        return false;
    s->queue = queue;
    s->cap = cap;
    return true;
}

static enum joulet_status no_room(struct joulet_error *err)
{
    return jl_fail(err, JOULET_MEMORY, "out of memory for the steps of the engine: hand the sensor's windows in as they come");
}

static enum joulet_status push(struct joulet_sharing *s, enum what what, const struct request *r, joulet_mark t, double tokens,
                               struct joulet_error *err)
{
    if (t < s->last_ns)
        return jl_fail(err, JOULET_USAGE, "events of shared requests must come in the order of time");
    if (!reserve(s, 1))
        return no_room(err);
    s->last_ns = t;
    s->queue[s->n++] =
        (struct item){.what = what, .request = (size_t)(r - s->requests), .t0_ns = t, .t1_ns = t, .tokens = tokens};
    return jl_ok(err);
}

enum joulet_status joulet_sharing_join(struct joulet_sharing *s, uint64_t id, joulet_mark t, size_t *slot,
                                       struct joulet_error *err)
{
    struct request *r = take_slot(s);
    if (!r)
        return no_room(err);
    *r = (struct request){.id = id, .used = true, .present = true};
    enum joulet_status status = push(s, JOIN, r, t, 0, err);
    if (status != JOULET_OK)
        free_slot(s, r);
    else
        *slot = (size_t)(r - s->requests);
    return status;
}

static enum joulet_status unknown_request(size_t slot, struct joulet_error *err)
{
    return jl_fail(err, JOULET_NOT_FOUND, "no request shares in slot %zu: it never joined, or has left", slot);
}

enum joulet_status joulet_sharing_decode(struct joulet_sharing *s, size_t slot, double context, joulet_mark t,
                                         struct joulet_error *err)
{
    struct request *r = at_slot(s, slot);
    if (!r)
        return unknown_request(slot, err);
    if (r->present_decoding)
        return jl_fail(err, JOULET_USAGE, "the request in slot %zu decodes already", slot);
    enum joulet_status status = push(s, DECODE, r, t, context, err);
    if (status != JOULET_OK)
        return status;
    r->present_decoding = true;
    r->origin = context - s->steps;
    s->decoders++;
    s->contexts += context;
    return status;
}

/* Each slot at most once, and none that decodes: it would pay twice. */
static enum joulet_status check_prefill(struct joulet_sharing *s, const struct joulet_prefill *prefill, size_t n,
                                        struct joulet_error *err)
{
    for (size_t i = 0; i < n; i++) {
        const struct request *r = at_slot(s, prefill[i].slot);
        if (!r)
            return unknown_request(prefill[i].slot, err);
        if (r->present_decoding || !(prefill[i].tokens >= 0))
            return jl_fail(err, JOULET_USAGE, "the request in slot %zu decodes, or its prompt has no number of tokens",
                           prefill[i].slot);
    }
    return jl_ok(err);
}

enum joulet_status joulet_sharing_step(struct joulet_sharing *s, joulet_mark from, joulet_mark to,
                                       const struct joulet_prefill *prefill, size_t n, struct joulet_error *err)
{
    if (from < s->last_ns || from < s->step_end_ns || to <= from)
        return jl_fail(err, JOULET_USAGE, "steps of an engine must come in the order of time");
    enum joulet_status status = check_prefill(s, prefill, n, err);
    if (status != JOULET_OK || s->decoders + n == 0) /* nobody to share it */
        return status;
    if (!reserve(s, n + 1))
        return no_room(err);
    struct item *step = &s->queue[s->n++];
    *step = (struct item){.what = STEP,
                          .t0_ns = from,
                          .t1_ns = to,
                          .members = (double)(s->decoders + n),
                          .decoders = (double)s->decoders,
                          .contexts = s->contexts};
    for (size_t i = 0; i < n; i++) {
        step->tokens += prefill[i].tokens;
        s->queue[s->n++] =
            (struct item){.what = PREFILL, .request = prefill[i].slot, .t0_ns = from, .t1_ns = to, .tokens = prefill[i].tokens};
    }
    s->contexts += (double)s->decoders; /* each has one token more */
    s->steps += 1;
    s->last_ns = from;
    s->step_end_ns = to;
    return status;
}

enum joulet_status joulet_sharing_leave(struct joulet_sharing *s, size_t slot, joulet_mark t, struct joulet_error *err)
{
    struct request *r = at_slot(s, slot);
    if (!r)
        return unknown_request(slot, err);
    enum joulet_status status = push(s, LEAVE, r, t, 0, err);
    if (status != JOULET_OK)
        return status;
    if (r->present_decoding) {
        s->decoders--;
        s->contexts = s->decoders ? s->contexts - (r->origin + s->steps) : 0;
    }
    r->present = r->present_decoding = false;
    return status;
}

/* ---- windows -----------------------------------------------------------------------------------------------------------------
 */

static double model_j(const struct joulet_weights *w, const struct item *step)
{
    return w->b0_j + w->bp_j * step->tokens + w->bd_j * step->decoders + w->bc_j * step->contexts;
}

/* Part of a step inside [from, to). */
static double part(const struct item *i, joulet_mark from, joulet_mark to)
{
    joulet_mark a = i->t0_ns > from ? i->t0_ns : from, b = i->t1_ns < to ? i->t1_ns : to;
    return b > a ? (double)(b - a) / (double)(i->t1_ns - i->t0_ns) : 0;
}

struct sums {
    double model_j, row[TERMS]; /* steps, prefill tokens, decode tokens, contexts */
};

static struct sums sum_window(const struct joulet_sharing *s, joulet_mark from, joulet_mark to)
{
    struct sums x = {0};
    for (size_t i = s->head; i < s->n && s->queue[i].t0_ns < to; i++) {
        const struct item *step = &s->queue[i];
        if (step->what != STEP)
            continue;
        double f = part(step, from, to);
        x.model_j += f * model_j(&s->w, step);
        x.row[0] += f;
        x.row[1] += f * step->tokens;
        x.row[2] += f * step->decoders;
        x.row[3] += f * step->contexts;
    }
    return x;
}

static double share_of(const struct joulet_sharing *s, const struct request *r)
{
    double e = s->w.b0_j * (s->AF - r->F) * (r->prefilling || r->decoding ? 1 : 0) + s->w.bp_j * r->prefill;
    if (r->decoding)
        e += s->w.bd_j * (s->AN - r->N) + s->w.bc_j * (r->offset * (s->AN - r->N) + (s->AK - r->K));
    return e;
}

/* What it has so far, by the weights that were in force; the marks begin anew. */
static void settle(struct joulet_sharing *s, struct request *r)
{
    r->energy_j += share_of(s, r);
    r->prefill = 0;
    r->F = s->AF;
    r->N = s->AN;
    r->K = s->AK;
}

static void settle_all(struct joulet_sharing *s)
{
    for (size_t i = 0; i < s->n_requests; i++)
        if (s->requests[i].used)
            settle(s, &s->requests[i]);
}

/* Time passes: it is shared by those in flight, or nobody's. */
static void pass(struct joulet_sharing *s, joulet_mark t)
{
    if (t > s->done_ns && s->in_flight > 0)
        s->shared_s += jl_s(t - s->done_ns) / s->in_flight;
    if (t > s->done_ns)
        s->done_ns = t;
}

static void emit(struct joulet_sharing *s, struct request *r)
{
    settle(s, r);
    double all_j = s->measured_j - r->sum_j, u_all = sqrt(fmax(0, s->sum_u2 - r->sum_u2));
    double u_rel = all_j > 0 ? u_all / all_j : 0;
    struct joulet_share share = {.id = r->id,
                                 .net_j = r->energy_j,
                                 .u_j = hypot(r->energy_j * u_rel, s->w.u_share * r->energy_j),
                                 .idle_share_j = s->idle_w * (s->shared_s - r->shared_s),
                                 .weights_assumed = s->w.assumed || r->guessed};
    free_slot(s, r);
    s->emit(s->user, &share);
}

static void join(struct joulet_sharing *s, struct request *r)
{
    r->sum_j = s->measured_j - s->window_j;
    r->sum_u2 = s->sum_u2 - s->window_u2;
    r->shared_s = s->shared_s;
    s->in_flight += 1;
}

static void begin_decode(struct joulet_sharing *s, struct request *r, double context)
{
    settle(s, r);
    r->prefilling = false;
    r->decoding = true;
    r->offset = context - s->K;
}

/* A part of a step: those present take their shares of it by the sums; its prefill tokens are each one's own. */
static void run_step(struct joulet_sharing *s, size_t at, double f_lam)
{
    const struct item *step = &s->queue[at];
    for (size_t i = at + 1; i < s->n && s->queue[i].what == PREFILL; i++) {
        struct request *r = &s->requests[s->queue[i].request];
        if (!r->prefilling && !r->decoding) {
            r->prefilling = true;
            r->F = s->AF;
        }
    }
    s->AF += f_lam / step->members;
    s->AN += f_lam;
    s->AK += f_lam * s->K;
    for (size_t i = at + 1; i < s->n && s->queue[i].what == PREFILL; i++)
        s->requests[s->queue[i].request].prefill += f_lam * s->queue[i].tokens;
}

/* Only those that compute take part: one that pauses between two pieces of its prompt keeps what it has. */
static void end_prefill(struct joulet_sharing *s, size_t at)
{
    for (size_t i = at + 1; i < s->n && s->queue[i].what == PREFILL; i++) {
        struct request *r = &s->requests[s->queue[i].request];
        settle(s, r);
        r->prefilling = false;
    }
}

static void handle(struct joulet_sharing *s, const struct item *i)
{
    struct request *r = &s->requests[i->request];
    pass(s, i->t0_ns);
    if (i->what == JOIN) {
        join(s, r);
    } else if (i->what == DECODE) {
        begin_decode(s, r, i->tokens);
    } else if (i->what == LEAVE) {
        emit(s, r);
        s->in_flight -= 1;
    }
}

static void replay(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double lam)
{
    while (s->head < s->n) {
        const struct item *i = &s->queue[s->head];
        if (i->what != STEP) {
            if (i->t0_ns > to)
                break;
            if (i->what != PREFILL)
                handle(s, i);
            s->head++;
            continue;
        }
        double f = part(i, from, to);
        if (f > 0)
            run_step(s, s->head, f * lam);
        if (i->t1_ns > to)
            break; /* goes on in the next window */
        s->K += 1;
        end_prefill(s, s->head);
        s->head++;
    }
    pass(s, to);
}

static void fit(struct joulet_sharing *s, joulet_mark t)
{
    struct jl_regression r;
    jl_non_negative(&s->learnt, &r);
    if (!(r.x[0] + r.x[1] + r.x[2] + r.x[3] > 0))
        return;
    settle_all(s);
    for (size_t i = 0; i < s->n_requests; i++)
        s->requests[i].guessed |= s->w.assumed;
    s->w.b0_j = r.x[0];
    s->w.bp_j = r.x[1];
    s->w.bd_j = r.x[2];
    s->w.bc_j = r.x[3];
    s->w.assumed = false;
    s->fitted_ns = t;
    s->large_carries = 0;
    jl_equations_scale(&s->learnt, 0.5);
    s->busy_windows *= 0.5;
}

static void learn(struct joulet_sharing *s, const struct sums *x, double e_j, double U_s, joulet_mark t)
{
    double sd = hypot(MODEL_U * fabs(e_j), FLOOR_W * U_s);
    jl_equations_add(&s->learnt, x->row, e_j, sd > 0 ? 1 / sd : 1);
    s->busy_windows += 1;
    s->large_carries = fabs(s->carry_j) > CARRY_LARGE * x->model_j ? s->large_carries + 1 : 0;
    bool due = s->fitted_ns ? jl_s(t - s->fitted_ns) >= REFIT_S : s->w.assumed;
    if (s->busy_windows >= FIT_WINDOWS && (due || s->large_carries >= CARRY_ROW))
        fit(s, t);
}

/* How much of the difference between model and measurement is believed (7.3). */
static double lambda(const struct joulet_sharing *s, double model, double e_j, double U_s)
{
    double noise = hypot(MODEL_U * (model + s->idle_w * U_s), FLOOR_W * U_s), spread = MODEL_SPREAD * model;
    if (s->w.assumed)
        return e_j / model;
    double G = spread * spread / (spread * spread + noise * noise);
    return fmin(fmax(1 + G * (e_j / model - 1), LAM_MIN), LAM_MAX);
}

enum joulet_status joulet_sharing_window(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double net_j, double u_j,
                                         struct joulet_error *err)
{
    if (to <= from || from < s->done_ns || !isfinite(net_j))
        return jl_fail(err, JOULET_USAGE, "windows of a sensor must come in the order of time, each with its energy");
    struct sums x = sum_window(s, from, to);
    double lam = 0, U_s = jl_s(to - from);
    s->window_j = net_j;
    s->window_u2 = isfinite(u_j) ? u_j * u_j : 0;
    s->measured_j += s->window_j;
    s->sum_u2 += s->window_u2;
    if (x.model_j > 0) {
        double e = net_j + s->carry_j;
        lam = lambda(s, x.model_j, e, U_s);
        s->carry_j = e - lam * x.model_j;
        s->attributed_j += lam * x.model_j;
    } else {
        s->idle_j += net_j;
    }
    if (!s->done_ns)
        s->done_ns = from;
    replay(s, from, to, lam);
    if (x.model_j > 0)
        learn(s, &x, net_j, U_s, to);
    return jl_ok(err);
}

void joulet_sharing_books(const struct joulet_sharing *s, struct joulet_books *out)
{
    *out = (struct joulet_books){.measured_j = s->measured_j,
                                 .attributed_j = s->attributed_j,
                                 .idle_j = s->idle_j,
                                 .residual_j = s->carry_j,
                                 .weights = s->w,
                                 .AF = s->AF,
                                 .AN = s->AN,
                                 .AK = s->AK};
}
