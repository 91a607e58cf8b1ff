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
#define FIT_WINDOWS  50 /* busy windows before the first fit */
#define REFIT_S      600.0
#define CARRY_LARGE  2.0 /* times the model of the window, */
#define CARRY_ROW    20  /* in so many windows running: the weights are wrong */

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

struct sums {
    double model_j, row[SHARING_TERMS]; /* steps, prefill tokens, decode tokens, contexts */
};

static struct sums sum_window(const struct joulet_sharing *s, joulet_mark from, joulet_mark to)
{
    struct sums x = {0};
    for (size_t i = s->head; i < s->n && s->queue[i].t0_ns < to; i++) {
        const struct sharing_item *step = &s->queue[i];
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

static double share_of(const struct joulet_sharing *s, const struct sharing_request *r)
{
    double e = s->w.b0_j * (s->AF - r->F) * (r->prefilling || r->decoding ? 1 : 0) + s->w.bp_j * r->prefill;
    if (r->decoding)
        e += s->w.bd_j * (s->AN - r->N) + s->w.bc_j * (r->offset * (s->AN - r->N) + (s->AK - r->K));
    return e;
}

/* What it has so far, by the weights that were in force; the marks begin anew. */
static void settle(struct joulet_sharing *s, struct sharing_request *r)
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

static void emit(struct joulet_sharing *s, struct sharing_request *r)
{
    settle(s, r);
    double all_j = s->measured_j - r->sum_j, u_all = sqrt(fmax(0, s->sum_u2 - r->sum_u2));
    double u_rel = all_j > 0 ? u_all / all_j : 0;
    struct joulet_share share = {.id = r->id,
                                 .net_j = r->energy_j,
                                 .u_j = hypot(r->energy_j * u_rel, s->w.u_share * r->energy_j),
                                 .idle_share_j = s->idle_w * (s->shared_s - r->shared_s),
                                 .weights_assumed = s->w.assumed || r->guessed};
    sharing_free_slot(s, r);
    s->emit(s->user, &share);
}

static void join(struct joulet_sharing *s, struct sharing_request *r)
{
    r->sum_j = s->measured_j - s->window_j;
    r->sum_u2 = s->sum_u2 - s->window_u2;
    r->shared_s = s->shared_s;
    s->in_flight += 1;
}

static void begin_decode(struct joulet_sharing *s, struct sharing_request *r, double context)
{
    settle(s, r);
    r->prefilling = false;
    r->decoding = true;
    r->offset = context - s->K;
}

/* A part of a step: those present take their shares of it by the sums; its prefill tokens are each one's own. */
static void run_step(struct joulet_sharing *s, size_t at, double f_lam)
{
    const struct sharing_item *step = &s->queue[at];
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
