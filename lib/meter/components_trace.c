/* components_trace.c - from a trace and the stretches of components to joules by component: one equation for each reading, the
 * lag that fits best, and whether the outcome may be believed (8.2, 8.3). */
#include "lib/base/base.h"
#include "lib/meter/components.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define PLAIN_UPDATES 20.0 /* readings in a plain token from which on plain decoding is enough (8.3) */
#define COSTLY        1.5  /* J of a token with the probe over without */
#define WARM_LO       0.9
#define WARM_HI       1.1
#define LAG_SPAN      3.0  /* standard uncertainties of the lag that are searched */
#define LAG_STEP      3.0  /* steps in each */
#define SETTLED       10.0 /* time constants */
#define FAST          0.1  /* of a reading: a rise that is longer changes what is read */
#define HALVINGS      6
#define NEARER        3   /* fits, each at the delay that the one before found */
#define SMALL_STEP    0.1 /* of what is not known of a delay, for slopes */
#define UNUSED        (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LATE | JOULET_SAMPLE_LAST)

struct readings {
    struct components_reading *each;
    size_t n;
    double *seconds; /* [n * kinds] */
};

/* ---- readings -------------------------------------------------------------------------------------------------------- */

static bool counter_reading(const struct joulet_sample *a, const struct joulet_sample *b, struct components_reading *r)
{
    if (b->flags & JOULET_SAMPLE_RESET)
        return false;
    *r = (struct components_reading){(double)a->t_ns * 1e-9, (double)b->t_ns * 1e-9, (double)(b->value - a->value) * 1e-6, 0};
    return r->to_s > r->from_s;
}

static bool power_reading(const struct joulet_channel *ch, const struct joulet_sample *a, const struct joulet_sample *b,
                          struct components_reading *r)
{
    double to = (double)b->t_ns * 1e-9, from = ch->contiguous ? (double)a->t_ns * 1e-9 : to - ch->window_s;
    *r = (struct components_reading){from, to, (double)b->value * 1e-6 * (to - from), (double)b->hw_ns * 1e-9};
    return to > from;
}

static bool take_readings(const struct joulet_components_in *in, struct readings *out)
{
    const struct joulet_trace *t = in->trace;
    const struct joulet_sample *last = NULL;
    *out = (struct readings){.each = malloc((t->n + 1) * sizeof *out->each),
                             .seconds = malloc((t->n + 1) * in->kinds * sizeof *out->seconds)};
    for (size_t i = 0; i < t->n && out->each && out->seconds; i++) {
        const struct joulet_sample *s = &t->samples[i];
        struct components_reading r;
        if (s->flags & UNUSED) {
            last = s->flags & JOULET_SAMPLE_RESET ? NULL : last;
            continue;
        }
        bool good = last && (t->channel.quantity == JOULET_ENERGY ? counter_reading(last, s, &r)
                                                                  : power_reading(&t->channel, last, s, &r));
        last = s;
        if (!good || r.from_s < in->from_s || r.to_s > in->to_s)
            continue;
        r.net_j -= in->idle_w * (r.to_s - r.from_s);
        out->each[out->n++] = r;
    }
    return out->each && out->seconds;
}

static void readings_release(struct readings *r)
{
    free(r->each);
    free(r->seconds);
}

/* ---- seconds --------------------------------------------------------------------------------------------------------- */

/* Time of each kind until a moment, as a sensor sees it whose power follows its cause by an exponential: the seconds so far less
 * tau times how far each has risen. What is linear in power is so in time, so that what one component draws while the next one
 * runs is still its own. */
struct sweep {
    const struct joulet_components_in *in;
    double tau_s, at_s, so_far[JOULET_COMPONENTS_MAX], risen[JOULET_COMPONENTS_MAX];
    size_t next; /* stretch */
};

static void advance(struct sweep *s, size_t kind, double to_s)
{
    double d = to_s - s->at_s, kept = s->tau_s > 0 ? exp(-d / s->tau_s) : 0;
    if (!(d > 0))
        return;
    for (size_t c = 0; c < s->in->kinds; c++)
        s->risen[c] = (c == kind) + (s->risen[c] - (c == kind)) * kept;
    s->so_far[kind] += d;
    s->at_s = to_s;
}

static void sweep_to(struct sweep *s, double t_s)
{
    size_t rest = s->in->kinds - 1;
    while (s->next < s->in->n_stretches) {
        const struct joulet_stretch *x = &s->in->stretches[s->next];
        advance(s, rest, fmin(x->start_s, t_s));
        if (x->start_s >= t_s)
            return;
        advance(s, x->kind < rest ? x->kind : rest, fmin(x->end_s, t_s));
        if (x->end_s > t_s)
            return;
        s->next++;
    }
    advance(s, rest, t_s);
}

static void sweep_begin(struct sweep *s, const struct joulet_components_in *in, double tau_s, double at_s)
{
    *s = (struct sweep){.in = in, .tau_s = tau_s, .at_s = at_s};
    s->risen[in->kinds - 1] = 1;
    while (s->next < in->n_stretches && in->stretches[s->next].end_s <= at_s)
        s->next++;
}

/* Seconds of each kind in each reading, the rest last. Readings ascend in their begins and in their ends. */
static void fill_seconds(const struct joulet_components_in *in, struct readings *r, double lag_s, double tau_s)
{
    struct sweep begin, end;
    double first_s = r->each[0].from_s - lag_s - SETTLED * tau_s;
    sweep_begin(&begin, in, tau_s, first_s);
    sweep_begin(&end, in, tau_s, first_s);
    for (size_t i = 0; i < r->n; i++) {
        double *row = r->seconds + i * in->kinds;
        sweep_to(&begin, r->each[i].from_s - lag_s);
        sweep_to(&end, r->each[i].to_s - lag_s);
        for (size_t c = 0; c < in->kinds; c++)
            row[c] = end.so_far[c] - begin.so_far[c] - tau_s * (end.risen[c] - begin.risen[c]);
    }
}

/* ---- lag and rise -----------------------------------------------------------------------------------------------------------
 */

/* How the power that is read comes after its cause. */
struct delay {
    double lag_s, tau_s;
};

/* The search among delays. */
struct search {
    const struct joulet_components_in *in;
    struct readings *r;
    double *energy_j, tau_max_s;
    struct delay best;
    struct joulet_component_powers powers; /* there */
};

static bool try_delay(struct search *s, double lag_s, double tau_s)
{
    struct joulet_component_powers p;
    if (tau_s < 0 || tau_s > s->tau_max_s)
        return false;
    fill_seconds(s->in, s->r, lag_s, tau_s);
    if (joulet_components_fit(s->energy_j, s->r->seconds, s->r->n, s->in->kinds, &p, NULL) != JOULET_OK)
        return false;
    if (p.rss_j2 >= s->powers.rss_j2)
        return false;
    s->powers = p;
    s->best = (struct delay){lag_s, tau_s};
    return true;
}

/* From the best of a grid on, in steps that halve. */
static void refine(struct search *s, double lag_step_s, double tau_step_s)
{
    for (int halved = 0; halved < HALVINGS;) {
        const struct delay d = s->best;
        bool nearer =
            try_delay(s, d.lag_s + lag_step_s, d.tau_s) || try_delay(s, d.lag_s - lag_step_s, d.tau_s) ||
            (tau_step_s > 0 && (try_delay(s, d.lag_s, d.tau_s + tau_step_s) || try_delay(s, d.lag_s, d.tau_s - tau_step_s) ||
                                try_delay(s, d.lag_s - tau_step_s, d.tau_s + tau_step_s) ||
                                try_delay(s, d.lag_s + tau_step_s, d.tau_s - tau_step_s)));
        if (nearer)
            continue;
        lag_step_s /= 2;
        tau_step_s /= 2;
        halved++;
    }
}

/* Long readings see no difference between a lag and a rise: theirs is the one that is told. */
static bool sees_rise(const struct joulet_channel *ch, const struct readings *r)
{
    return ch->rise_s > FAST * (r->each[0].to_s - r->each[0].from_s);
}

/* Of the delays that are possible, that of least residual; the fit there. */
static void search_delay(struct search *s)
{
    const struct joulet_channel *ch = &s->in->trace->channel;
    bool rises = sees_rise(ch, s->r);
    double step = ch->u_lag_s / LAG_STEP, rise = ch->rise_s;
    int span = step > 0 ? (int)(LAG_SPAN * LAG_STEP) : 0, late = step > 0 && !rises ? (int)ceil(2 * ch->rise_s / step) : 0;
    s->tau_max_s = 2 * rise;
    for (int k = -span; k <= span + late; k++)
        try_delay(s, ch->lag_s + k * step, rise);
    if (step > 0)
        refine(s, step / 2, rises ? rise / 4 : 0);
}

static enum joulet_status best_delay(const struct joulet_components_in *in, struct readings *r, struct joulet_components *out,
                                     struct joulet_error *err)
{
    struct search s = {.in = in,
                       .r = r,
                       .energy_j = malloc(r->n * sizeof(double)),
                       .best = {.lag_s = in->trace->channel.lag_s},
                       .powers = {.condition = INFINITY, .rss_j2 = INFINITY}};
    if (!s.energy_j)
        return jl_fail(err, JOULET_MEMORY, "out of memory for %zu readings of a sensor", r->n);
    for (size_t i = 0; i < r->n; i++)
        s.energy_j[i] = r->each[i].net_j;
    search_delay(&s);
    out->powers = s.powers;
    out->powers.rss_j2 = isinf(s.powers.rss_j2) ? NAN : s.powers.rss_j2;
    out->lag_s = s.best.lag_s;
    out->rise_s = s.best.tau_s;
    fill_seconds(in, r, s.best.lag_s, s.best.tau_s);
    free(s.energy_j);
    return jl_ok(err);
}

/* ---- powers and delay together ------------------------------------------------------------------------------------------- */

/* What the fit says of each reading, times a factor. */
static void add_fitted(const struct readings *r, const double *power_w, size_t kinds, double factor, double *to)
{
    for (size_t i = 0; i < r->n; i++)
        for (size_t c = 0; c < kinds; c++)
            to[i] += factor * power_w[c] * r->seconds[i * kinds + c];
}

/* How that changes with one of lag and rise, of which the other step is 0; to one side only where the rise would be negative. */
static void find_slope(const struct joulet_components_in *in, struct readings *r, const struct joulet_components *c, double lag_s,
                       double rise_s, double *slope)
{
    double step = lag_s + rise_s, low = c->rise_s < rise_s ? 0 : 1;
    memset(slope, 0, r->n * sizeof *slope);
    fill_seconds(in, r, c->lag_s + lag_s, c->rise_s + rise_s);
    add_fitted(r, c->powers.power_w, in->kinds, 1 / step / (1 + low), slope);
    fill_seconds(in, r, c->lag_s - low * lag_s, c->rise_s - low * rise_s);
    add_fitted(r, c->powers.power_w, in->kinds, -1 / step / (1 + low), slope);
}

/* The rows at the delay of `out`, with the slopes of what is not known of it. */
static void find_rows(const struct joulet_components_in *in, struct readings *r, const struct joulet_components *out, double *lag,
                      double *rise, struct components_rows *rows)
{
    const struct joulet_channel *ch = &in->trace->channel;
    *rows = (struct components_rows){.each = r->each, .n = r->n, .kinds = in->kinds, .seconds = r->seconds, .idle_w = in->idle_w};
    if (ch->u_lag_s > 0) {
        find_slope(in, r, out, SMALL_STEP * ch->u_lag_s, 0, lag);
        rows->slope[COMPONENTS_LAG] = lag;
    }
    if (ch->u_lag_s > 0 && sees_rise(ch, r)) {
        find_slope(in, r, out, 0, SMALL_STEP * ch->rise_s, rise);
        rows->slope[COMPONENTS_RISE] = rise;
    }
    fill_seconds(in, r, out->lag_s, out->rise_s);
}

/* *refined: the powers and their uncertainty are those of components_refine. Where it can say nothing at the delay to which it
 * led, they are of the delay before, and so is all else. */
static enum joulet_status refine_all(const struct joulet_components_in *in, struct readings *r, struct joulet_components *out,
                                     bool *refined, struct joulet_error *err)
{
    const struct joulet_channel *ch = &in->trace->channel;
    double *lag = malloc(r->n * sizeof *lag), *rise = malloc(r->n * sizeof *rise), shift_s[COMPONENTS_SLOPES];
    bool room = lag && rise;
    struct delay before = {out->lag_s, out->rise_s};
    *refined = false;
    for (int i = 1; room; i++) {
        struct components_rows rows;
        find_rows(in, r, out, lag, rise, &rows);
        if (!components_refine(&rows, &out->powers, shift_s)) {
            out->lag_s = before.lag_s;
            out->rise_s = before.tau_s;
            fill_seconds(in, r, before.lag_s, before.tau_s);
            break;
        }
        *refined = true;
        if (i == NEARER)
            break;
        before = (struct delay){out->lag_s, out->rise_s};
        out->lag_s += fmax(-ch->u_lag_s, fmin(ch->u_lag_s, shift_s[COMPONENTS_LAG]));
        out->rise_s = fmin(fmax(0, out->rise_s + shift_s[COMPONENTS_RISE]), 2 * ch->rise_s);
    }
    free(lag);
    free(rise);
    return room ? jl_ok(err) : jl_fail(err, JOULET_MEMORY, "out of memory for %zu readings of a sensor", r->n);
}

/* ---- what was measured ------------------------------------------------------------------------------------------------- */

static bool unmodified(const struct joulet_components_in *in, double from, double to, size_t *at)
{
    if (!in->unmodified)
        return true;
    while (*at < in->n_unmodified && in->unmodified[*at].end_s < to)
        ++*at;
    return *at < in->n_unmodified && in->unmodified[*at].start_s <= from;
}

/* Of readings that hold nothing but tokens without repetition, of all of them when `all`: net power, and what the fit says of the
 * same time over it. A short window sees a part of a token, so that its mean power alone would be that of the parts it happened
 * to see. NAN: there are no such readings. */
struct compared {
    double power_w, closure;
};

static struct compared compare(const struct joulet_components_in *in, const struct readings *r, const struct joulet_components *c,
                               bool all)
{
    double energy_j = 0, fitted_j = 0, time_s = 0, rise_s = in->unmodified ? in->trace->channel.rise_s : 0;
    size_t at = 0;
    for (size_t i = 0; i < r->n; i++) {
        const struct components_reading *x = &r->each[i];
        if (!all && !unmodified(in, x->from_s - c->lag_s - rise_s, x->to_s - c->lag_s, &at))
            continue;
        energy_j += x->net_j;
        time_s += x->to_s - x->from_s;
        for (size_t k = 0; k < in->kinds; k++)
            fitted_j += c->powers.power_w[k] * r->seconds[i * in->kinds + k];
    }
    return time_s > 0 ? (struct compared){energy_j / time_s, energy_j > 0 ? fitted_j / energy_j : NAN}
                      : (struct compared){NAN, NAN};
}

static double sum_of(const double *x, size_t n)
{
    double sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += x[i];
    return sum;
}

static double fitted_token_j(const struct joulet_components_in *in, const struct joulet_components *c)
{
    double sum = 0;
    for (size_t k = 0; k < in->kinds; k++)
        sum += c->powers.power_w[k] * in->token_s[k];
    return sum;
}

/* ---- judgement --------------------------------------------------------------------------------------------------------- */

const char *joulet_components_reason_text(enum joulet_components_reason r)
{
    static const char *const texts[] = {
        [JOULET_COMPONENTS_FINE] = "",
        [JOULET_COMPONENTS_FEW_WINDOWS] = "the sensor gave too few readings, so time shares are shown, assuming equal power",
        [JOULET_COMPONENTS_ALIKE] =
            "the readings do not tell the components apart, so time shares are shown, assuming equal power",
        [JOULET_COMPONENTS_OPEN] =
            "the components do not sum to what was measured, so time shares are shown, assuming equal power",
        [JOULET_COMPONENTS_COSTLY] = "measuring took half as much energy again, so time shares are shown, assuming equal power",
    };
    return (size_t)r < JL_COUNT(texts) ? texts[r] : "";
}

static bool has_repeats(const struct joulet_components_in *in)
{
    return in->repeat_ratio != NULL;
}

static enum joulet_components_reason judge(const struct joulet_components_in *in, const struct readings *r,
                                           const struct joulet_components *c, const struct compared *plain, bool refined)
{
    double token_s = sum_of(in->token_s, in->kinds), reading_s = 0;
    for (size_t i = 0; i < r->n; i++)
        reading_s += (r->each[i].to_s - r->each[i].from_s) / (double)r->n;
    if (r->n <= in->kinds || isnan(plain->power_w))
        return JOULET_COMPONENTS_FEW_WINDOWS;
    if (in->instrumented_ratio > COSTLY)
        return JOULET_COMPONENTS_COSTLY;
    if (!has_repeats(in) && token_s < PLAIN_UPDATES * reading_s)
        return JOULET_COMPONENTS_ALIKE;
    if (c->shares.accepted) /* plain least squares has no interval that holds */
        return refined ? JOULET_COMPONENTS_FINE : JOULET_COMPONENTS_FEW_WINDOWS;
    return fabs(c->shares.closure - 1) <= 0.05 ? JOULET_COMPONENTS_ALIKE : JOULET_COMPONENTS_OPEN;
}

/* At mean power, each as long as it takes. */
static void share_time(const struct joulet_components_in *in, struct joulet_components *c)
{
    double token_s = sum_of(in->token_s, in->kinds);
    c->shares.accepted = false;
    for (size_t k = 0; k < in->kinds; k++) {
        c->shares.energy_j[k] = token_s > 0 ? c->measured_j * in->token_s[k] / token_s : NAN;
        c->shares.u_j[k] = NAN;
    }
}

static void scale(const struct joulet_components_in *in, struct joulet_components *c)
{
    double probe = in->instrumented_ratio > 0 ? in->instrumented_ratio : 1;
    for (size_t k = 0; k < in->kinds; k++) {
        c->shares.energy_j[k] /= probe;
        c->shares.u_j[k] /= probe;
        c->limit_j[k] = c->shares.energy_j[k] + 2 * c->shares.u_j[k];
        c->warm[k] = has_repeats(in) && (in->repeat_ratio[k] < WARM_LO || in->repeat_ratio[k] > WARM_HI);
    }
}

static enum joulet_status measure(const struct joulet_components_in *in, struct readings *r, struct joulet_components *out,
                                  struct joulet_error *err)
{
    if (r->n == 0)
        return jl_fail(err, JOULET_NO_DATA, "no reading of %s lies inside the profiled time: profile for longer",
                       in->trace->channel.id);
    bool refined;
    enum joulet_status status = best_delay(in, r, out, err);
    if (status != JOULET_OK)
        return status;
    status = refine_all(in, r, out, &refined, err);
    if (status != JOULET_OK)
        return status;
    struct compared plain = compare(in, r, out, false);
    out->windows = r->n;
    joulet_components_of(&out->powers, in->token_s, in->kinds, fitted_token_j(in, out) / plain.closure, &out->shares);
    out->reason = judge(in, r, out, &plain, refined);
    out->path = out->reason != JOULET_COMPONENTS_FINE ? JOULET_COMPONENTS_TIME
                : has_repeats(in)                     ? JOULET_COMPONENTS_LOCKIN
                                                      : JOULET_COMPONENTS_PLAIN;
    out->measured_j = fitted_token_j(in, out) / plain.closure;
    if (out->path == JOULET_COMPONENTS_TIME) {
        double power_w = isnan(plain.power_w) ? compare(in, r, out, true).power_w : plain.power_w;
        out->measured_j = power_w * sum_of(in->token_s, in->kinds);
        share_time(in, out);
    }
    scale(in, out);
    return jl_ok(err);
}

enum joulet_status joulet_components_measure(const struct joulet_components_in *in, struct joulet_components *out,
                                             struct joulet_error *err)
{
    struct readings r;
    *out = (struct joulet_components){
        .path = JOULET_COMPONENTS_TIME, .measured_j = NAN, .lag_s = in->trace->channel.lag_s, .powers = {.condition = INFINITY}};
    if (in->kinds < 1 || in->kinds > JOULET_COMPONENTS_MAX)
        return jl_fail(err, JOULET_USAGE, "%zu kinds of components were asked for; a fit has 1 to %d", in->kinds,
                       (int)JOULET_COMPONENTS_MAX);
    bool room = take_readings(in, &r);
    enum joulet_status status = room ? measure(in, &r, out, err)
                                     : jl_fail(err, JOULET_MEMORY, "out of memory for the readings of %s", in->trace->channel.id);
    readings_release(&r);
    return status;
}

double joulet_components_layer_j(const struct joulet_components *c, const double *token_s, const double *layer_s, size_t kinds)
{
    double sum = 0;
    for (size_t k = 0; k < kinds; k++)
        sum += layer_s[k] > 0 ? c->shares.energy_j[k] * layer_s[k] / token_s[k] : 0;
    return sum;
}

/* ---- cross-check ------------------------------------------------------------------------------------------------------- */

void joulet_components_replay(const struct joulet_replay_in *in, struct joulet_replay *out)
{
    const struct joulet_u *u = &in->loop->u;
    double probe = in->instrumented_ratio > 0 ? in->instrumented_ratio : 1, token = in->token_s / in->loop_s / probe;
    double scatter_j = 2 * token * sqrt(u->q * u->q + u->b * u->b + u->time * u->time + u->event * u->event);
    out->power_w = in->loop->net_j / in->loop_s;
    out->power_pm_w = in->loop->net_pm_j / in->loop_s;
    out->token_j = token * in->loop->net_j;
    out->token_pm_j = token * in->loop->net_pm_j;
    out->difference = in->found_j > 0 ? out->token_j / in->found_j - 1 : NAN;
    out->difference_pm = hypot(scatter_j, 2 * in->u_found_j * (1 + out->difference)) / in->found_j;
    out->warm = in->time_ratio < WARM_LO || in->time_ratio > WARM_HI;
}
