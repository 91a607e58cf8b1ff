/* solve.c - the energy of components out of what was gathered: libjoulet's regression for each channel of the total, and their
 * sum; or shares of time. And which repeats a slow sensor needs (docs/method.md 8.2 to 8.4). */
#include "profile/measure.h"

#include <math.h>
#include <stdlib.h>

#define READINGS_IN_TOKEN 20.0 /* from which on plain decoding is enough (8.3) */
#define REFUSED           1.5  /* above, libjoulet gives shares of time: that stays so however badly the ratio is known */
#define LARGE             0.03 /* of a token: not only a limit is wanted */
#define HELD              0.5  /* of a kind's part of a token: less in the readings says nothing of it */
#define SHORT             0.1  /* of a reading: what is shorter each time is hard to tell from its neighbours */

bool measure_token(const struct measure *m, double token_s[MEASURE_KINDS])
{
    const struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    for (int k = 0; k < MEASURE_KINDS; k++)
        token_s[k] = p->units > 0 ? p->kind_s[k] / p->units : NAN;
    return p->units > 0;
}

/* ---- one channel ------------------------------------------------------------------------------------------------------- */

/* The kinds that occur, the rest last: those that never do would make every fit singular. */
struct used {
    size_t n, of[MEASURE_KINDS];
    size_t place[MEASURE_KINDS]; /* among those used */
    double unit_s[MEASURE_KINDS], ratio[MEASURE_KINDS];
};

static void find_used(const struct measure_of_phase *p, struct used *u)
{
    *u = (struct used){.n = 0};
    for (size_t k = 0; k < MEASURE_KINDS; k++) {
        u->place[k] = MEASURE_KINDS; /* beyond the last: taken for the rest */
        if (p->kind_s[k] <= 0 && k != MEASURE_REST)
            continue;
        double first = p->first_n[k] ? p->first_s[k] / (double)p->first_n[k] : NAN;
        double again = p->again_n[k] ? p->again_s[k] / (double)p->again_n[k] : NAN;
        u->unit_s[u->n] = p->kind_s[k] / p->units;
        u->ratio[u->n] = isfinite(first) && isfinite(again) && first > 0 ? again / first : 1;
        u->place[k] = u->n;
        u->of[u->n++] = k;
    }
}

static bool renumber(const struct measure_of_phase *p, const struct used *u, struct joulet_stretch **out)
{
    *out = malloc((p->n_stretches + 1) * sizeof **out);
    for (size_t i = 0; *out && i < p->n_stretches; i++) {
        (*out)[i] = p->stretches[i];
        (*out)[i].kind = u->place[p->stretches[i].kind];
    }
    return *out != NULL;
}

/* Repeats may be asked for and all be refused, as on devices: then these are plain tokens. */
static bool has_repeats(const struct measure *m, enum measure_phase phase)
{
    uint64_t n = 0;
    for (int k = 0; k < MEASURE_KINDS; k++)
        n += m->phases[phase].again_n[k];
    return phase == MEASURE_DECODE && m->source == MEASURE_AGAIN && n > 0;
}

static bool solve_channel(const struct measure *m, enum measure_phase phase, size_t channel, const struct used *u,
                          const struct joulet_stretch *stretches, double ratio, struct joulet_components *c)
{
    const struct measure_of_phase *p = &m->phases[phase];
    const struct measure_channel *ch = &m->channels[phase][channel];
    bool again = has_repeats(m, phase);
    const struct joulet_components_in in = {.trace = &ch->trace,
                                            .idle_w = ch->idle_w,
                                            .from_s = 0,
                                            .to_s = INFINITY,
                                            .kinds = u->n,
                                            .stretches = stretches,
                                            .n_stretches = p->n_stretches,
                                            .unmodified = again ? p->unmodified : NULL,
                                            .n_unmodified = again ? p->n_unmodified : 0,
                                            .token_s = u->unit_s,
                                            .repeat_ratio = again ? u->ratio : NULL,
                                            .instrumented_ratio = ratio};
    return ch->trace.n > 0 && isfinite(ch->idle_w) && joulet_components_measure(&in, c, NULL) == JOULET_OK;
}

/* ---- what readings hold ------------------------------------------------------------------------------------------------ */

/* Ends of the times without a gap between readings, two by two; returns how many ends. */
static size_t spans_of(const struct joulet_trace *t, double *ends)
{
    double window_s = t->channel.quantity == JOULET_POWER ? t->channel.window_s : 0;
    size_t n = 0;
    bool cut = true;
    for (size_t i = 0; i < t->n; i++) {
        bool good = !(t->samples[i].flags & JOULET_SAMPLE_FAILED);
        double at = jl_s(t->samples[i].t_ns);
        if (good && cut) {
            ends[n] = at - window_s;
            n += 2;
        }
        if (good)
            ends[n - 1] = at;
        cut = !good;
    }
    return n;
}

/* Kinds of which readings hold less than half of what their part of a token would have them hold, such as the embedding at the
 * begin of a prompt, where the delay of a sensor leaves readings out: nothing they say is of them. Repeats are not of a token. */
static bool find_unseen(const struct measure_of_phase *p, const struct measure_channel *ch, const struct used *u,
                        const struct joulet_stretch *stretches, bool *unseen)
{
    double *ends = malloc(2 * (ch->trace.n + 1) * sizeof *ends), held_s[MEASURE_KINDS] = {0}, held = 0, unit = 0;
    size_t n = ends ? spans_of(&ch->trace, ends) : 0;
    double *seconds = calloc(n * u->n + 1, sizeof *seconds);
    bool ok = ends && seconds;
    if (ok && n)
        joulet_components_seconds(stretches, p->n_stretches, ends, n - 1, ch->trace.channel.lag_s, u->n, seconds);
    for (size_t i = 0; ok && i + 1 < n; i += 2)
        for (size_t k = 0; k < u->n; k++)
            held_s[k] += seconds[i * u->n + k];
    for (size_t k = 0; k < u->n; k++) {
        held += held_s[k];
        unit += u->unit_s[k];
    }
    for (size_t k = 0; ok && k < u->n; k++)
        unseen[u->of[k]] |= held_s[k] * unit < HELD * u->unit_s[k] * held;
    free(ends);
    free(seconds);
    return ok;
}

/* ---- their sum --------------------------------------------------------------------------------------------------------- */

/* The scatter of readings, and what all readings have in common: the idle level that is taken off, the gain of the sensor (3). */
static double u_of(const struct joulet_components *c, const struct used *u, const struct measure_channel *ch, size_t i)
{
    double idle = isfinite(ch->u_idle_w) ? ch->u_idle_w * u->unit_s[i] : 0;
    double gain = ch->trace.channel.spec / sqrt(3) * c->shares.energy_j[i];
    return sqrt(c->shares.u_j[i] * c->shares.u_j[i] + idle * idle + gain * gain);
}

static void add(struct measure_result *out, const struct used *u, const struct joulet_components *c,
                const struct measure_channel *ch, double *largest_j)
{
    for (size_t i = 0; i < u->n; i++) {
        size_t k = u->of[i];
        out->energy_j[k] += c->shares.energy_j[i];
        out->pm_j[k] = hypot(out->pm_j[k], MEASURE_COVERAGE * u_of(c, u, ch, i));
        out->scatter_j[k] = hypot(out->scatter_j[k], MEASURE_COVERAGE * c->shares.u_j[i]);
        out->power_w[k] += u->unit_s[i] > 0 ? c->shares.energy_j[i] / u->unit_s[i] : 0;
        out->limit_only[k] |= c->shares.limit_only[i];
        out->warm[k] |= c->warm[i];
    }
    if (c->path > out->path || !out->known) { /* the worst names it */
        out->path = c->path;
        out->reason = c->reason;
    }
    if (!out->known || fabs(c->measured_j) > *largest_j) {
        *largest_j = fabs(c->measured_j);
        out->condition = c->powers.condition;
        out->closure = c->shares.closure;
        out->lag_s = c->lag_s;
        out->rise_s = c->rise_s;
        out->windows = c->windows;
    }
    out->measured_j = out->known ? out->measured_j + c->measured_j : c->measured_j;
    out->known = true;
}

/* What the probe costs moves all of them alike. */
static void finish(struct measure_result *out, double probe_pm)
{
    bool time = out->path == JOULET_COMPONENTS_TIME;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        out->pm_j[k] = time ? NAN : hypot(out->pm_j[k], probe_pm * out->energy_j[k]);
        out->scatter_j[k] = time ? NAN : out->scatter_j[k];
        out->limit_only[k] = !time && out->limit_only[k];
        out->unseen[k] = !time && out->unseen[k];
        out->limit_only[k] |= out->unseen[k];
        out->limit_j[k] = time || out->unseen[k] ? NAN : out->energy_j[k] + out->pm_j[k];
    }
}

void measure_limit_unseen(struct measure_result *r, double unit_j, double unit_pm)
{
    double left_j = unit_j, pm = unit_pm;
    for (int k = 0; k < MEASURE_KINDS; k++) {
        if (r->unseen[k])
            continue;
        left_j -= r->energy_j[k];
        pm = hypot(pm, r->pm_j[k]);
    }
    for (int k = 0; k < MEASURE_KINDS; k++)
        if (r->unseen[k])
            r->limit_j[k] = (left_j < 0 ? 0 : left_j) + pm; /* NAN stays */
}

static void start(const struct measure *m, enum measure_phase phase, struct measure_result *out)
{
    const struct measure_of_phase *p = &m->phases[phase];
    *out = (struct measure_result){.path = JOULET_COMPONENTS_TIME,
                                   .reason = JOULET_COMPONENTS_FEW_WINDOWS,
                                   .condition = NAN,
                                   .closure = NAN,
                                   .lag_s = NAN,
                                   .rise_s = NAN,
                                   .measured_j = NAN};
    for (int k = 0; k < MEASURE_KINDS; k++) {
        out->unit_s[k] = p->units > 0 ? p->kind_s[k] / p->units : 0;
        out->limit_j[k] = NAN;
    }
}

double measure_scale(double ratio, double pm)
{
    bool seen = fabs(ratio - 1) > pm; /* not where pm is NAN */
    return ratio <= REFUSED && !seen ? 1 : ratio;
}

bool measure_costly(double ratio, double pm)
{
    return ratio - pm > REFUSED;
}

double measure_scale_pm(double ratio, double pm, double stops, double stops_pm)
{
    double most = fabs(stops) + stops_pm;
    bool scaled = isfinite(ratio) && measure_scale(ratio, pm) != 1;
    double open = scaled           ? pm / ratio
                  : isfinite(pm)   ? fmin(pm, most)
                  : isfinite(most) ? most
                                   : fabs(ratio - 1); /* of one pair: chance may have brought it near 1 */
    return isfinite(open) ? open : 0;
}

bool measure_solve(const struct measure *m, enum measure_phase phase, double ratio, double pm, struct measure_result *out)
{
    const struct measure_of_phase *p = &m->phases[phase];
    struct joulet_stretch *stretches;
    struct joulet_components c;
    struct used u;
    double largest_j = 0;
    bool ok = true;
    start(m, phase, out);
    if (m->failed)
        return false;
    if (p->units <= 0)
        return true;
    find_used(p, &u);
    if (!renumber(p, &u, &stretches))
        return false;
    for (size_t i = 0; i < m->n_channels; i++)
        if (solve_channel(m, phase, i, &u, stretches, ratio, &c)) {
            add(out, &u, &c, &m->channels[phase][i], &largest_j);
            ok &= has_repeats(m, phase) || find_unseen(p, &m->channels[phase][i], &u, stretches, out->unseen);
        }
    free(stretches);
    if (out->known)
        finish(out, pm);
    return ok;
}

void measure_by_time(const struct measure *m, enum measure_phase phase, double unit_j, struct measure_result *out)
{
    double all_s = 0;
    struct measure_result was = *out;
    start(m, phase, out);
    out->reason = was.reason;
    out->condition = was.condition;
    out->closure = was.closure;
    out->windows = was.windows;
    out->measured_j = unit_j;
    for (int k = 0; k < MEASURE_KINDS; k++)
        all_s += out->unit_s[k];
    for (int k = 0; k < MEASURE_KINDS; k++) {
        out->power_w[k] = all_s > 0 ? unit_j / all_s : NAN;
        out->energy_j[k] = all_s > 0 ? unit_j * out->unit_s[k] / all_s : NAN;
        out->pm_j[k] = out->scatter_j[k] = NAN;
    }
    out->known = all_s > 0 && isfinite(unit_j);
}

/* ---- repeats ----------------------------------------------------------------------------------------------------------- */

/* A large component in pieces that are short for the sensor, such as norms of 60 us for one of 1 ms: in plain tokens its error is
 * ten times that of repeats (docs/accuracy.md). */
static bool has_short_pieces(const struct measure *m, const double token_s[MEASURE_KINDS], double all_s, double reading_s)
{
    const struct measure_of_phase *p = &m->phases[MEASURE_DECODE];
    for (int k = 0; k < MEASURE_REST; k++)
        if (token_s[k] >= LARGE * all_s && p->first_n[k] && p->first_s[k] / (double)p->first_n[k] < SHORT * reading_s)
            return true;
    return false;
}

bool measure_plan(const struct measure *m, double reading_s, struct ring_control *out)
{
    static const enum measure_kind of[WIRE_AGAIN] = {[WIRE_AGAIN_NORM] = MEASURE_NORM,
                                                     [WIRE_AGAIN_ATTENTION] = MEASURE_ATTENTION,
                                                     [WIRE_AGAIN_FFN] = MEASURE_FFN,
                                                     [WIRE_AGAIN_HEAD] = MEASURE_HEAD};
    double token_s[MEASURE_KINDS], all_s = 0;
    bool can[MEASURE_KINDS] = {false}, any = false;
    struct joulet_lockin plan;
    *out = (struct ring_control){.watch = WIRE_WATCH_ALL};
    if (!measure_token(m, token_s) || m->failed)
        return false;
    for (int k = 0; k < MEASURE_KINDS; k++)
        all_s += token_s[k];
    for (size_t i = 0; i < WIRE_AGAIN; i++)
        any |= can[of[i]] = token_s[of[i]] > 0;
    if (!any || (all_s >= READINGS_IN_TOKEN * reading_s && !has_short_pieces(m, token_s, all_s, reading_s)))
        return false;
    joulet_lockin_plan(token_s, can, MEASURE_KINDS, reading_s, &plan);
    for (size_t i = 0; i < WIRE_AGAIN; i++)
        out->again[i] = (uint32_t)plan.repeats[of[i]];
    out->segment_ms = (uint32_t)ceil(1e3 * plan.segment_s);
    return true;
}
