/* session_energy.c - idle levels and the energy of windows and requests: which spans are handed to the estimators of libjoulet,
 * for every channel alike. No figure is computed here. */
#include "cli/session.h"
#include "cli/session_factors.h"
#include "cli/session_shape.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BASELINE_AGE_S 600.0 /* 4.2: older levels are not used */
#define PAUSE_LEAST_S  0.05
#define PAUSE_MOST_S   1.5
#define SHORT_S        1.15 /* what the second before a request needs: the second, and a sensor's first reading */
#define MORE           30   /* samples of a stored trace before a span */
#define LEAD_S         2.5  /* trace before a window that the estimators may look at */

static bool has_energy(const struct joulet_channel *c)
{
    return c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER;
}

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

/* ---- idle levels ---------------------------------------------------------------------------------------------------------- */

/* Whose level it is when no sensor of this machine gives it: another curve is another machine. */
static char *played(const struct session *s)
{
    const char *sim = cli_str(s->cli, "sim"), *replay = cli_str(s->cli, "replay");
    for (size_t i = 0; i < s->n_channels; i++)
        if (s->run.channels[i].provenance == JOULET_SIMULATED)
            return jl_strf("/%s/%s/%s", sim ? sim : "", replay ? replay : "", jl_sysfs_root());
    return jl_strdup("");
}

/* What the idle level depends on: the machine and what is loaded on it. */
static char *baseline_key(const struct session *s)
{
    char *curve = played(s);
    const char *host = run_pairs_get(&s->run.machine, "host"), *url = run_pairs_get(&s->run.engine, "url");
    const char *model = run_pairs_get(&s->run.model, "name"), *by = run_pairs_get(&s->run.engine, "started_by");
    /* A server of ours has another port each time; the model says what is loaded. */
    bool ours = by && !strcmp(by, "joulet");
    char *key =
        curve ? jl_strf("%s/%s/%s/%s%s", host ? host : "", s->level, ours || !url ? "" : url, model ? model : "", curve) : NULL;
    free(curve);
    return key;
}

/* The library's sentence, with the channel where it does not name it. */
static void note_failure(struct session *s, const struct joulet_trace *t, const char *what, const struct joulet_error *err)
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

static void keep_baseline(struct session *s, size_t i)
{
    if (!isnan(s->idle[i].power_w))
        run_add_baseline(&s->run, s->run.channels[i].id, &s->idle[i], s->level);
}

void session_baseline(struct session *s, joulet_mark from, joulet_mark to)
{
    char *key = baseline_key(s);
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        struct joulet_error err;
        if (!has_energy(&s->run.channels[i]) || !session_trace(s, i, from, to, &t, &err))
            continue;
        enum joulet_status st = joulet_baseline_from(&t, from, to, &s->idle[i], &err);
        if (st == JOULET_OK && s->store && key) /* a short one is for this run alone */
            store_put_baseline(s->store, key, s->run.channels[i].id, &s->idle[i], jl_wall_ns(), NULL);
        if (st == JOULET_TOO_SHORT)
            st = joulet_baseline_short(&t, from, to, 0, 0, &s->idle[i], &err);
        if (st == JOULET_OK)
            keep_baseline(s, i);
        else
            note_failure(s, &t, "no idle level: ", &err);
        joulet_trace_release(&t);
    }
    free(key);
}

bool session_baseline_stored(struct session *s)
{
    char *key = baseline_key(s);
    bool all = s->store && key;
    struct joulet_baseline *found = calloc(s->n_channels ? s->n_channels : 1, sizeof *found);
    for (size_t i = 0; all && found && i < s->n_channels; i++)
        if (has_energy(&s->run.channels[i]))
            all = store_get_baseline(s->store, key, s->run.channels[i].id, BASELINE_AGE_S, &found[i], NULL) == JOULET_OK;
    if (all && found) {
        for (size_t i = 0; i < s->n_channels; i++)
            if (has_energy(&s->run.channels[i])) {
                s->idle[i] = found[i];
                keep_baseline(s, i);
            }
    }
    free(key);
    free(found);
    return all && found;
}

void session_baseline_short(struct session *s, joulet_mark start, joulet_mark after_from, joulet_mark after_to)
{
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        struct joulet_error err;
        joulet_mark from = start - JL_NS_PER_S, to = after_to > start ? after_to : start;
        if (!has_energy(&s->run.channels[i]) || !session_trace(s, i, from, to, &t, &err))
            continue;
        if (joulet_baseline_short(&t, from, start, after_from, after_to, &s->idle[i], &err) == JOULET_OK)
            keep_baseline(s, i);
        else
            note_failure(s, &t, "no idle level: ", &err);
        joulet_trace_release(&t);
    }
}

bool session_wait_until(joulet_mark until)
{
    while (joulet_now() < until && !atomic_load(&cli_cancel)) {
        joulet_mark next = joulet_now() + 20000000;
        jl_sleep_until(next < until ? next : until);
    }
    return !atomic_load(&cli_cancel);
}

bool session_prepare(struct session *s)
{
    if (session_baseline_stored(s))
        return true;
    joulet_mark quiet_from = s->last_end > s->opened ? s->last_end : s->opened;
    session_wait_until(quiet_from + jl_ns(SHORT_S));
    return false;
}

/* ---- energies ------------------------------------------------------------------------------------------------------------- */

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

/* One channel over consecutive windows; `gap` is the time before the first that belongs to nobody. */
struct span {
    struct run_window *windows;
    size_t n;
    joulet_mark gap_from; /* 0: none */
    bool isolated;
    joulet_mark quiet_until;
    joulet_mark until; /* end of what is looked at; 0: now */
};

/* The meter has seen it too, and its sentence says more. */
static bool said_to_be_gone(struct session *s, const char *id)
{
    for (size_t i = 0; s->meter && i < joulet_problem_count(s->meter); i++) {
        struct joulet_problem p;
        if (joulet_problem_get(s->meter, i, &p) == JOULET_OK && p.status == JOULET_GONE && strstr(p.message, id))
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
static size_t lay_bounds(const struct span *sp, bool with_gap, joulet_mark *bounds, double *u)
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
static void hand_out(struct session *s, const struct span *sp, const struct joulet_channel *c, const struct joulet_trace *t,
                     const struct joulet_measured *m, size_t first, struct run_energy *whole)
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

static void measure_channel(struct session *s, size_t i, const struct span *sp, const struct joulet_baseline *idle,
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
        return;
    }
    bool with_gap = follows && !cut_before(&t, sp->gap_from, start);
    struct joulet_what what = {.bounds = bounds,
                               .u_event_s = u,
                               .n_phases = lay_bounds(sp, with_gap, bounds, u),
                               .isolated = sp->isolated && !with_gap,
                               .quiet_until = sp->quiet_until};
    if (joulet_measure(&t, idle, &what, &m, &err) != JOULET_OK && !(err.status == JOULET_GONE && said_to_be_gone(s, c->id)))
        note_failure(s, &t, "", &err);
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

static void measure_span(struct session *s, const struct span *sp, const struct joulet_baseline *idle, struct run_energy *whole)
{
    for (size_t i = 0; i < s->n_channels; i++)
        if (has_energy(&s->run.channels[i]))
            measure_channel(s, i, sp, idle ? &idle[i] : NULL, whole);
    for (size_t k = 0; k < sp->n; k++) {
        session_total(s, &sp->windows[k].energy);
        session_shape(s, &sp->windows[k]);
    }
    session_total(s, whole);
}

static void measure_parts(struct session *s, const struct span *sp, const struct joulet_baseline *idle, struct run_request *q)
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
    struct span split = *sp;
    split.windows = all;
    split.n = n;
    size_t notes = s->run.n_notes;
    run_energy_init(&whole);
    measure_span(s, &split, idle, &whole);
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

/* What the sensors of this machine see is not what the engine does. */
static bool elsewhere(const struct session *s)
{
    const char *local = run_pairs_get(&s->run.engine, "local");
    return local && !strcmp(local, "false");
}

void session_window(struct session *s, const char *name, joulet_mark from, joulet_mark to, const struct joulet_baseline *idle,
                    bool isolated)
{
    struct run_window w;
    struct run_energy whole;
    if (to <= from)
        return;
    joulet_wait_covered(s->meter, to, 3.0, NULL);
    run_window_init(&w, name, from, to);
    run_energy_init(&whole);
    if (!elsewhere(s))
        measure_span(s, &(struct span){.windows = &w, .n = 1, .isolated = isolated, .quiet_until = joulet_now()}, idle, &whole);
    run_energy_release(&whole);
    run_add_window(&s->run.windows, &s->run.n_windows, &w);
}

/* ---- stored traces --------------------------------------------------------------------------------------------------------- */

static struct span span_again(struct run_window *windows, size_t n, bool isolated, joulet_mark gap_from, joulet_mark until)
{
    return (struct span){.windows = windows,
                         .n = n,
                         .gap_from = isolated ? 0 : gap_from,
                         .isolated = isolated,
                         .quiet_until = isolated ? until : 0,
                         .until = until};
}

void session_window_again(struct session *s, struct run_window *w, bool isolated, joulet_mark until)
{
    struct run_energy whole;
    struct span sp = span_again(w, 1, isolated, 0, until);
    run_energy_init(&whole);
    measure_span(s, &sp, s->idle, &whole);
    run_energy_release(&whole);
}

void session_request_again(struct session *s, struct run_request *q, bool isolated, joulet_mark gap_from, joulet_mark until)
{
    struct span sp = span_again(q->windows, q->n_windows, isolated, gap_from, until);
    measure_span(s, &sp, s->idle, &q->energy);
    measure_parts(s, &sp, s->idle, q);
    session_request_shape(s, q);
}

/* ---- requests -------------------------------------------------------------------------------------------------------------- */

/* Between two requests the slowest sensor of the total must see the power fall: two updates and a half, and its own window. */
static double pause_s(const struct session *s)
{
    double pause = PAUSE_LEAST_S;
    for (size_t i = 0; i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        if (c->in_total && has_energy(c))
            pause = fmax(pause, 2.5 * c->period_s + c->window_s);
    }
    return fmin(pause, PAUSE_MOST_S);
}

/* Into the run, and onto the disk. */
static struct run_request *keep_request(struct session *s, struct run_request *q)
{
    struct run_request *kept = run_add_request(&s->run, q);
    struct joulet_error err;
    if (kept && s->store && !s->unsaved && store_request(s->store, &s->run, kept, &err) != JOULET_OK)
        session_unsaved(s);
    session_factors_tick(s);
    return kept;
}

struct run_request *session_request(struct session *s, struct run_request *q, joulet_mark quiet_until)
{
    if (q->n_windows && !elsewhere(s)) {
        joulet_mark end = q->windows[q->n_windows - 1].end_ns;
        if (!quiet_until)
            session_wait_until(end + jl_ns(pause_s(s)));
        joulet_wait_covered(s->meter, end, 3.0, NULL);
        struct span sp = {.windows = q->windows,
                          .n = q->n_windows,
                          .gap_from = quiet_until ? 0 : s->last_end,
                          .isolated = quiet_until > 0,
                          .quiet_until = quiet_until};
        measure_span(s, &sp, s->idle, &q->energy);
        measure_parts(s, &sp, s->idle, q);
        session_request_shape(s, q);
        s->last_end = end;
    }
    session_flag_request(s, q);
    return keep_request(s, q);
}

struct run_request *session_request_unmeasured(struct session *s, struct run_request *q)
{
    if (q->n_windows && q->windows[q->n_windows - 1].end_ns > s->last_end)
        s->last_end = q->windows[q->n_windows - 1].end_ns;
    return keep_request(s, q);
}

/* Flags that an estimator cannot know: they are those of before. */
static uint32_t seen_flags(const struct joulet_energy *e)
{
    return e->flags & ~(uint32_t)(JOULET_FLAG_NO_BASELINE | JOULET_FLAG_SHORT_BASELINE);
}

static void take_flags(struct run_energy *now, const struct run_energy *before)
{
    now->total.flags |= seen_flags(&before->total);
    for (size_t i = 0; i < now->n_channels && i < before->n_channels; i++) /* of the same meter: the same order */
        now->channels[i].e.flags |= seen_flags(&before->channels[i].e);
}

void session_measure_again(struct session *s, struct run_request *q, const struct joulet_baseline *idle, joulet_mark gap_from)
{
    struct run_energy *before = calloc(q->n_windows + 1, sizeof *before), whole = q->energy;
    if (!before || !q->n_windows) {
        free(before);
        return;
    }
    run_energy_init(&q->energy);
    for (size_t k = 0; k < q->n_windows; k++) {
        struct run_window *w = &q->windows[k];
        before[k] = w->energy;
        run_energy_init(&w->energy);
        w->power_min_w = w->power_mean_w = w->power_max_w = NAN; /* sums over channels */
    }
    struct span sp = {.windows = q->windows, .n = q->n_windows, .gap_from = gap_from};
    measure_span(s, &sp, idle, &q->energy);
    measure_parts(s, &sp, idle, q);
    session_request_shape(s, q);
    take_flags(&q->energy, &whole);
    for (size_t k = 0; k < q->n_windows; k++) {
        take_flags(&q->windows[k].energy, &before[k]);
        run_energy_release(&before[k]);
    }
    run_energy_release(&whole);
    free(before);
}

/* ---- after the last request --------------------------------------------------------------------------------------------- */

/* True when every channel of the total has settled; adds up the tails of those that have. */
static bool settled(struct session *s, joulet_mark end, double cap_s, double *tail_j, double *settle_s, uint32_t *flags)
{
    bool all = true;
    *tail_j = NAN;
    *settle_s = NAN;
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        struct joulet_tail tail;
        struct joulet_error err;
        if (!s->run.channels[i].in_total || isnan(s->idle[i].power_w) ||
            !session_trace(s, i, end - JL_NS_PER_S, joulet_now(), &t, &err))
            continue;
        bool ok = joulet_tail_from(&t, &s->idle[i], end, cap_s, &tail, &err) == JOULET_OK;
        joulet_trace_release(&t);
        *flags |= ok ? tail.flags : 0;
        if (!ok || isnan(tail.settle_s)) {
            all = false;
            continue;
        }
        *tail_j = isnan(*tail_j) ? tail.tail_j : *tail_j + tail.tail_j;
        if (isnan(*settle_s) || tail.settle_s > *settle_s)
            *settle_s = tail.settle_s;
    }
    return all && !isnan(*settle_s);
}

joulet_mark session_cooldown(struct session *s, joulet_mark end, double cap_s)
{
    double tail_j = NAN, settle_s = NAN;
    uint32_t flags = 0;
    joulet_mark until = elsewhere(s) ? end : end + jl_ns(cap_s);
    while (joulet_now() < until && !atomic_load(&cli_cancel)) {
        joulet_mark next = joulet_now() + 250000000;
        jl_sleep_until(next < until ? next : until);
        flags = 0;
        if (settled(s, end, cap_s, &tail_j, &settle_s, &flags))
            break;
    }
    s->run.energy.total.tail_j = tail_j;
    if (s->run.n_requests) {
        struct run_request *last = &s->run.requests[s->run.n_requests - 1];
        last->tail_j = last->energy.total.tail_j = tail_j;
        last->settle_s = settle_s;
    }
    if (flags & JOULET_FLAG_IDLE_DRIFT)
        run_note(&s->run, "idle drift: the idle level after the run differs from the one before");
    return joulet_now();
}
