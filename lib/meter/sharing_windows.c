/* sharing_windows.c - a sensor's window closes: the steps in it are rescaled to its energy (7.3), and each event that waited is
 * handled once. Sums that no request owns (7.4) give everyone the share from the difference of two marks, whatever their number;
 * the weights are learnt from the same windows (7.5). */
#include "lib/meter/sharing.h"

#include <math.h>

#define MODEL_U      0.02 /* noise of a window: relative to its model and idle energy, */
#define FLOOR_W      0.5  /* and at least so many watts */
#define MODEL_SPREAD 0.1  /* of the model: what remains is carried to the next window */
#define LAM_MIN      0.5
#define LAM_MAX      2.0
#define REBASE       1e6 /* steps */
static double model_j(const struct joulet_weights *w, const struct sharing_item *step)
{
    return w->b0_j + w->bp_j * step->tokens + w->bd_j * step->decoders + w->bc_j * step->contexts;
}

/* Part of a step inside [from, to). */
static double part(const struct sharing_item *i, joulet_mark from, joulet_mark to)
{
    joulet_mark a = i->t0_ns > from ? i->t0_ns : from, b = i->t1_ns < to ? i->t1_ns : to;
    return b > a ? (double)(b - a) / (double)(i->t1_ns - i->t0_ns) : 0;
}

void sharing_sum(const struct joulet_sharing *s, joulet_mark from, joulet_mark to, struct sharing_sums *out)
{
    struct sharing_sums x = {0};
    for (size_t i = s->head; i < s->n && s->queue[i].t0_ns < to; i++) {
        const struct sharing_item *step = &s->queue[i];
        if (step->what != STEP)
            continue;
        double f = part(step, from, to);
        x.model_j += f * model_j(&s->w, step);
        x.row[0] += f;
        x.together += f * (step->members - 1);
        x.row[1] += f * step->tokens;
        x.row[2] += f * step->decoders;
        x.row[3] += f * step->contexts;
    }
    *out = x;
}

static double share_of(const struct joulet_sharing *s, const struct sharing_request *r)
{
    double e = s->w.b0_j * ((s->AF - r->F) * (r->prefilling || r->decoding ? 1 : 0) + r->parts) + s->w.bp_j * r->prefill +
               s->w.bd_j * r->decoded + s->w.bc_j * r->read;
    if (r->decoding)
        e += s->w.bd_j * (s->AN - r->N) + s->w.bc_j * (r->offset * (s->AN - r->N) + (s->AK - r->K));
    return e;
}

/* What it has so far, by the weights that were in force; the marks begin anew. */
static void settle(struct joulet_sharing *s, struct sharing_request *r)
{
    r->energy_j += share_of(s, r);
    r->prefill = r->parts = r->decoded = r->read = 0;
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

static void emit(struct joulet_sharing *s, struct sharing_request *r)
{
    settle(s, r);
    double all_j = s->measured_j - r->sum_j;
    double u_all_j = hypot(sqrt(fmax(0, s->sum_u2 - r->sum_u2)), fmax(0, s->sum_common_j - r->sum_common_j));
    double u_rel = all_j > 0 ? u_all_j / all_j : 0,
           common_rel = all_j > 0 ? fmax(0, s->sum_common_j - r->sum_common_j) / all_j : 0;
    struct joulet_share share = {.id = r->id,
                                 .net_j = r->energy_j,
                                 .u_j = hypot(r->energy_j * u_rel, s->w.u_share * r->energy_j),
                                 .idle_share_j = s->idle_w * (s->shared_s - r->shared_s),
                                 .weights_assumed = s->w.assumed || r->guessed,
                                 .weights_off = r->off,
                                 .u_sensor_j = fabs(r->energy_j) * u_rel,
                                 .u_common_j = fabs(r->energy_j) * common_rel,
                                 .prefill_j = r->decoded_some ? r->prefill_j : r->energy_j};
    sharing_free_slot(s, r);
    s->emit(s->user, &share);
}

static void join(struct joulet_sharing *s, struct sharing_request *r)
{
    r->sum_j = s->measured_j - s->window_j;
    r->sum_u2 = s->sum_u2 - s->window_u2;
    r->sum_common_j = s->sum_common_j - s->window_common_j;
    r->shared_s = s->shared_s;
    r->decoded_some = false;
    s->in_flight += 1;
}

/* Tokens behind its first one begin to come. Once: who pauses and goes on is not at its prompt again. */
static void mark_prefill(struct joulet_sharing *s, struct sharing_request *r)
{
    if (r->decoded_some)
        return;
    settle(s, r);
    r->decoded_some = true;
    r->prefill_j = r->energy_j;
}

static void begin_decode(struct joulet_sharing *s, struct sharing_request *r, double context)
{
    mark_prefill(s, r);
    settle(s, r);
    r->prefilling = false;
    r->decoding = true;
    r->offset = context - s->K;
}

/* A part of a step: those present take their shares of it by the sums; its prefill tokens are each one's own. */
static void run_step(struct joulet_sharing *s, size_t at, double f_lam)
{
    const struct sharing_item *step = &s->queue[at];
    for (size_t i = at + 1; i < s->n && s->queue[i].what == MEMBER; i++) {
        const struct sharing_item *m = &s->queue[i];
        struct sharing_request *r = &s->requests[m->request];
        if (m->decoders > 0)
            mark_prefill(s, r);
        r->parts += f_lam / step->members;
        r->prefill += f_lam * m->tokens;
        r->decoded += f_lam * m->decoders;
        r->read += f_lam * m->contexts;
    }
    for (size_t i = at + 1; i < s->n && s->queue[i].what == PREFILL; i++) {
        struct sharing_request *r = &s->requests[s->queue[i].request];
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
        struct sharing_request *r = &s->requests[s->queue[i].request];
        settle(s, r);
        r->prefilling = false;
    }
}

static void handle(struct joulet_sharing *s, const struct sharing_item *i)
{
    struct sharing_request *r = &s->requests[i->request];
    pass(s, i->t0_ns);
    if (i->what == JOIN) {
        join(s, r);
    } else if (i->what == DECODE) {
        begin_decode(s, r, i->tokens);
    } else if (i->what == PAUSE) {
        settle(s, r);
        r->decoding = false;
    } else if (i->what == LEAVE) {
        emit(s, r);
        s->in_flight -= 1;
    }
}

static void replay(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double lam)
{
    while (s->head < s->n) {
        const struct sharing_item *i = &s->queue[s->head];
        if (i->what != STEP) {
            if (i->t0_ns > to)
                break;
            if (i->what != PREFILL && i->what != MEMBER)
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

/* The sums that no request owns grow for as long as the engine runs: they begin anew before small differences drown in them. */
static void rebase(struct joulet_sharing *s)
{
    if (s->K < REBASE)
        return;
    settle_all(s);
    for (size_t i = 0; i < s->n_requests; i++) {
        struct sharing_request *r = &s->requests[i];
        r->offset += s->K;
        r->F = r->N = r->K = 0;
    }
    s->AF = s->AN = s->AK = s->K = 0;
}

void sharing_weigh(struct joulet_sharing *s, const double *x, bool assumed)
{
    settle_all(s);
    for (size_t i = 0; i < s->n_requests; i++)
        s->requests[i].guessed |= s->w.assumed;
    s->w.b0_j = x[0];
    s->w.bp_j = x[1];
    s->w.bd_j = x[2];
    s->w.bc_j = x[3];
    s->w.assumed = assumed;
    s->in_joules = true;
}

double sharing_lambda(double model, double net_j, double idle_j, double U_s)
{
    double noise = hypot(MODEL_U * (model + idle_j), FLOOR_W * U_s), spread = MODEL_SPREAD * model;
    double G = spread * spread / (spread * spread + noise * noise);
    return fmin(fmax(1 + G * (net_j / model - 1), LAM_MIN), LAM_MAX);
}

void sharing_close_window(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double lam, double net_j, double u_j,
                          double u_common_j)
{
    s->window_j = net_j;
    s->window_u2 = isfinite(u_j) ? u_j * u_j : 0;
    s->window_common_j = isfinite(u_common_j) ? u_common_j : 0;
    s->measured_j += s->window_j;
    s->sum_u2 += s->window_u2;
    s->sum_common_j += s->window_common_j;
    if (!s->done_ns)
        s->done_ns = from;
    replay(s, from, to, lam);
    rebase(s);
}

enum joulet_status joulet_sharing_window(struct joulet_sharing *s, joulet_mark from, joulet_mark to, double net_j, double u_j,
                                         double u_common_j, struct joulet_error *err)
{
    if (to <= from || from < s->done_ns || !isfinite(net_j))
        return jl_fail(err, JOULET_USAGE, "windows of a sensor must come in the order of time, each with its energy");
    struct sharing_sums x;
    double lam = 0, U_s = jl_s(to - from);
    sharing_sum(s, from, to, &x);
    if (x.model_j > 0) {
        double e = net_j + s->carry_j;
        lam = s->w.assumed ? e / x.model_j : sharing_lambda(x.model_j, e, s->idle_w * U_s, U_s);
        s->carry_j = e - lam * x.model_j;
        s->attributed_j += lam * x.model_j;
    } else {
        s->idle_j += net_j;
    }
    sharing_close_window(s, from, to, lam, net_j, u_j, u_common_j);
    if (x.model_j > 0)
        sharing_learn(s, &x, net_j, U_s, to);
    return jl_ok(err);
}

/* ---- what is not final yet ------------------------------------------------------------------------------------------- */

/* Model share of one that joined in the steps that wait for their windows. */
double sharing_so_far(const struct joulet_sharing *s, size_t slot, double *waiting_j)
{
    const struct sharing_request *r = &s->requests[slot];
    bool decoding = r->decoding;
    double K = s->K, offset = r->offset, sum = 0, part_of = 0;
    for (size_t i = s->head; i < s->n; i++) {
        const struct sharing_item *item = &s->queue[i];
        bool mine = item->request == slot;
        if (item->what == STEP) {
            part_of = part(item, s->done_ns, INT64_MAX) / item->members;
            sum += decoding ? part_of * (s->w.b0_j + item->members * (s->w.bd_j + s->w.bc_j * (offset + K))) : 0;
            K += 1;
        } else if (item->what == PREFILL || item->what == MEMBER) {
            double f = part(item, s->done_ns, INT64_MAX);
            sum += mine ? part_of * s->w.b0_j +
                              f * (s->w.bp_j * item->tokens + s->w.bd_j * item->decoders + s->w.bc_j * item->contexts)
                        : 0;
        } else if (mine && item->what == DECODE) {
            decoding = true;
            offset = item->tokens - K;
        } else if (mine && (item->what == PAUSE || item->what == LEAVE)) {
            decoding = false;
        }
    }
    *waiting_j = sum;
    return r->energy_j + share_of(s, r);
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
