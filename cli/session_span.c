/* session_span.c - samples and energies of a span of time: what is handed to the estimators of libjoulet, for every channel
 * alike. No figure is computed here. */
#include "cli/session_span.h"
#include "cli/session_shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define MORE   30  /* samples of a stored trace before a span */
#define LEAD_S 2.5 /* trace before a window that the estimators may look at */

bool session_has_energy(const struct joulet_channel *c)
{
    return c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER;
}

bool session_elsewhere(const struct session *s)
{
    const char *local = run_pairs_get(&s->run.engine, "local");
    return (local && !strcmp(local, "false")) || run_pairs_get(&s->run.engine, "measured_at");
}

/* ---- samples ------------------------------------------------------------------------------------------------------------- */

static size_t sample_at(const struct joulet_trace *t, joulet_mark at)
{
    size_t lo = 0, hi = t->n;
    while (lo < hi) {
        size_t mid = lo + (hi - lo) / 2;
        if (t->samples[mid].t_ns < at)
            lo = mid + 1;
        else
            hi = mid;
    }
    return lo;
}

/* The samples of a stored trace in a span, and some before it: what came after had not happened yet when the run was measured. */
static bool part_of(const struct joulet_trace *whole, joulet_mark from, joulet_mark to, struct joulet_trace *out)
{
    size_t lo = sample_at(whole, from), hi = sample_at(whole, to + 1);
    lo = lo > MORE ? lo - MORE : 0;
    *out = (struct joulet_trace){.channel = whole->channel, .samples = malloc((hi - lo + 1) * sizeof *out->samples)};
    if (!out->samples)
        return false;
    out->n = hi - lo;
    if (out->n)
        memcpy(out->samples, whole->samples + lo, out->n * sizeof *out->samples);
    return out->n > 0;
}

bool session_trace(struct session *s, size_t channel, joulet_mark from, joulet_mark to, struct joulet_trace *out,
                   struct joulet_error *err)
{
    struct joulet_error own = {0};
    err = err ? err : &own;
    if (s->stored) {
        jl_fail(err, JOULET_NO_DATA, "no samples of it are stored for this span, so its energy is unknown");
        return part_of(&s->stored[channel], from, to, out);
    }
    if (joulet_trace_copy(s->meter, channel, from, to, out, err) == JOULET_OK)
        return true;
    return err->status == JOULET_NO_DATA && s->store && store_load_trace(s->store, s->run.id, channel, out, err) == JOULET_OK &&
           out->n;
}

/* ---- energies ------------------------------------------------------------------------------------------------------------- */

void session_note_failure(struct session *s, const struct joulet_trace *t, const char *what, const struct joulet_error *err)
{
    const char *id = t->channel.id;
    bool read = t->n == 0;
    for (size_t i = 0; i < t->n; i++)
        read |= !(t->samples[i].flags & JOULET_SAMPLE_FAILED);
    if (!read)
        run_note(&s->run, "every read of %s failed, so its energy is unknown; `joulet doctor` tells what is in the way", id);
    else
        run_note(&s->run, "%s%s%s%s", strstr(err->message, id) ? "" : id, strstr(err->message, id) ? "" : ": ", what,
                 err->message);
}

/* Throttling inside the span, on the device that the channel belongs to ("gpu0.board" and "gpu0.throttle"). */
static uint32_t throttled(struct session *s, const char *id, joulet_mark from, joulet_mark to)
{
    const char *dot = strchr(id, '.');
    for (size_t i = 0; dot && i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        struct joulet_trace t;
        struct joulet_error err;
        if (c->quantity != JOULET_THROTTLE || strncmp(c->id, id, (size_t)(dot - id) + 1) ||
            !session_trace(s, i, from, to, &t, &err))
            continue;
        uint32_t bits = joulet_throttled_in(&t, from, to);
        joulet_trace_release(&t);
        if (bits)
            return JOULET_FLAG_THROTTLED;
    }
    return 0;
}

/* Power and the number of updates of a window, from the channel of the total that draws most. */
static void note_power(struct run_window *w, const struct joulet_trace *t)
{
    struct joulet_power p;
    joulet_power_in(t, w->start_ns, w->end_ns, &p);
    if ((int64_t)p.updates > w->updates)
        w->updates = (int64_t)p.updates;
    if (isnan(p.mean_w))
        return;
    /* Channels of the total add up; their extremes need not coincide, so the sums bound them from outside. */
    w->power_min_w = isnan(w->power_min_w) ? p.min_w : w->power_min_w + p.min_w;
    w->power_mean_w = isnan(w->power_mean_w) ? p.mean_w : w->power_mean_w + p.mean_w;
    w->power_max_w = isnan(w->power_max_w) ? p.max_w : w->power_max_w + p.max_w;
}

/* The meter has seen it too, and its sentence says more: once for each device. */
static bool said_to_be_gone(struct session *s, const char *id)
{
    char device[64];
    snprintf(device, sizeof device, "%.*s.", (int)strcspn(id, "."), id);
    for (size_t i = 0; s->meter && i < joulet_problem_count(s->meter); i++) {
        struct joulet_problem p;
        if (joulet_problem_get(s->meter, i, &p) == JOULET_OK && p.status == JOULET_GONE && strstr(p.message, device))
            return true;
    }
    return false;
}

/* The power before the first boundary must not lean on the request before: its samples are taken off. False, and nothing done,
 * when too few would remain before the start. */
static bool cut_before(struct joulet_trace *t, joulet_mark from, joulet_mark start)
{
    int64_t lag = jl_ns(t->channel.lag_s), seen = jl_ns(t->channel.window_s);
    size_t k = 0, n = 0;
    while (k < t->n && t->samples[k].t_ns < from + lag + seen)
        k++;
    while (k + n < t->n && t->samples[k + n].t_ns <= start + lag)
        n++;
    if (n < 2)
        return false;
    memmove(t->samples, t->samples + k, (t->n - k) * sizeof *t->samples);
    t->n -= k;
    return true;
}

/* The moments of a span, with those of the gap before it when that has to be a phase of its own. Returns the number of phases. */
static size_t lay_bounds(const struct session_span *sp, bool with_gap, joulet_mark *bounds, double *u)
{
    size_t n = 0;
    if (with_gap) {
        u[n] = 0;
        bounds[n++] = sp->gap_from;
    }
    for (size_t k = 0; k < sp->n; k++) {
        u[n] = sp->windows[k].u_start_s;
        bounds[n++] = sp->windows[k].start_ns;
    }
    u[n] = sp->windows[sp->n - 1].u_end_s;
    bounds[n] = sp->windows[sp->n - 1].end_ns;
    return n;
}

/* Energies of one channel to the windows, and their sum to the whole. first: phases before those of the windows. */
static void hand_out(struct session *s, const struct session_span *sp, const struct joulet_channel *c,
                     const struct joulet_trace *t, const struct joulet_measured *m, size_t first, struct run_energy *whole)
{
    uint32_t flags = throttled(s, c->id, sp->windows[0].start_ns, sp->windows[sp->n - 1].end_ns);
    struct joulet_energy sum = JOULET_ENERGY_UNKNOWN;
    for (size_t k = 0; k < sp->n; k++) {
        struct joulet_energy e = m->parts[first + k];
        e.flags |= flags;
        run_energy_add_channel(&sp->windows[k].energy, c->id, &e);
        joulet_energy_chain(&sum, &e);
        if (c->in_total && !(e.flags & JOULET_FLAG_FROZEN)) /* what does not move shows no power, not 0 W */
            note_power(&sp->windows[k], t);
    }
    if (!first) { /* the whole as estimated at once has the smaller uncertainty */
        sum = m->whole;
        sum.flags |= flags;
    }
    run_energy_add_channel(whole, c->id, &sum);
}

/* What is known of other channels is a part of the total then, and says so. */
static void lose(struct session *s, const struct session_span *sp, const struct joulet_channel *c, struct run_energy *whole)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.flags = JOULET_FLAG_TRACE_LOST;
    if (s->stored || !c->in_total)
        return;
    for (size_t k = 0; k < sp->n; k++)
        run_energy_add_channel(&sp->windows[k].energy, c->id, &e);
    run_energy_add_channel(whole, c->id, &e);
}

static void measure_channel(struct session *s, size_t i, const struct session_span *sp, const struct joulet_baseline *idle,
                            struct run_energy *whole)
{
    const struct joulet_channel *c = &s->run.channels[i];
    joulet_mark bounds[JOULET_PHASES_MAX + 1], start = sp->windows[0].start_ns, end = sp->windows[sp->n - 1].end_ns;
    double u[JOULET_PHASES_MAX + 1];
    struct joulet_trace t;
    struct joulet_error err;
    struct joulet_measured m;
    bool follows = sp->gap_from && sp->gap_from < start;
    joulet_mark after = sp->isolated && sp->quiet_until > end ? sp->quiet_until : sp->until ? sp->until : joulet_now();
    if (!session_trace(s, i, start - jl_ns(LEAD_S), after, &t, &err)) {
        run_note(&s->run, "%s: %s", c->id, err.message);
        if (err.status == JOULET_NO_DATA)
            lose(s, sp, c, whole);
        return;
    }
    bool with_gap = follows && !cut_before(&t, sp->gap_from, start);
    struct joulet_what what = {.bounds = bounds,
                               .u_event_s = u,
                               .n_phases = lay_bounds(sp, with_gap, bounds, u),
                               .isolated = sp->isolated && !with_gap,
                               .quiet_until = sp->quiet_until};
    bool spare = !c->in_total && c->provenance == JOULET_ESTIMATED; /* nobody misses an estimate beside what measures */
    bool ok = joulet_measure(&t, idle, &what, &m, &err) == JOULET_OK;
    if (!ok && !spare && !(err.status == JOULET_GONE && said_to_be_gone(s, c->id)))
        session_note_failure(s, &t, "", &err);
    hand_out(s, sp, c, &t, &m, with_gap, whole);
    joulet_trace_release(&t);
}

/* An estimate covers the whole processor; what measures lacks the part that may not be read. */
void session_total(const struct session *s, struct run_energy *e)
{
    run_energy_total(&s->run, e);
    if (s->refused && isfinite(e->total.gross_j) && e->total.provenance != JOULET_ESTIMATED)
        e->total.flags |= JOULET_FLAG_PARTIAL;
}

void session_measure(struct session *s, const struct session_span *sp, const struct joulet_baseline *idle,
                     struct run_energy *whole)
{
    for (size_t i = 0; i < s->n_channels; i++)
        if (session_has_energy(&s->run.channels[i]))
            measure_channel(s, i, sp, idle ? &idle[i] : NULL, whole);
    for (size_t k = 0; k < sp->n; k++) {
        session_total(s, &sp->windows[k].energy);
        session_shape(s, &sp->windows[k]);
    }
    session_total(s, whole);
}

void session_measure_parts(struct session *s, const struct session_span *sp, const struct joulet_baseline *idle,
                           struct run_request *q)
{
    struct run_window all[8];
    struct run_energy whole;
    size_t before = q->n_windows - 1, n = before + q->n_parts;
    if (!q->n_parts || q->n_parts > 2 || n > JL_COUNT(all) || strcmp(q->windows[before].name, "decode"))
        return;
    for (size_t i = 0; i < n; i++) {
        const struct run_window *from = i < before ? &q->windows[i] : &q->parts[i - before];
        run_window_init(&all[i], from->name, from->start_ns, from->end_ns);
        all[i].u_start_s = from->u_start_s;
        all[i].u_end_s = from->u_end_s;
    }
    struct session_span split = *sp;
    split.windows = all;
    split.n = n;
    size_t notes = s->run.n_notes;
    run_energy_init(&whole);
    session_measure(s, &split, idle, &whole);
    run_energy_release(&whole);
    while (s->run.n_notes > notes) /* what went wrong was said of the windows */
        free(s->run.notes[--s->run.n_notes]);
    for (size_t i = 0; i < before; i++)
        run_energy_release(&all[i].energy);
    for (size_t i = 0; i < q->n_parts; i++) {
        run_energy_release(&q->parts[i].energy);
        q->parts[i] = all[before + i];
    }
    session_share(s, q->parts, q->n_parts, &q->windows[before]);
}
