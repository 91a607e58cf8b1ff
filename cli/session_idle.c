/* session_idle.c - the idle level that net figures use, before the first request, and how the power settles after the last one
 * (4.2, 4.4). No figure is computed here. */
#include "cli/live.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define BASELINE_AGE_S 600.0 /* 4.2: older levels are not used */
#define DOUBT_MOST     0.02  /* 4.2: share of net energy that a level may leave open, or it is extended */
#define COVER_MOST_S   3.0
#define SELDOM_S       5.0  /* period of a counter without a level */
#define SLOW_S         0.5  /* period of a slow gauge (2.2), ... */
#define SLOW_MOST_S    1.5  /* ... and of one that is waited for */
#define LEAD           3.2  /* periods of it before a run: a second of level between two of its values */
#define LEAD_STORED    2.0  /* the same where the level is known: one value */
#define SHORT_S        1.15 /* what the second before a request needs: the second, and a sensor's first reading */

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
        if (!session_has_energy(&s->run.channels[i]) || !session_trace(s, i, from, to, &t, &err))
            continue;
        enum joulet_status st = joulet_baseline_from(&t, from, to, &s->idle[i], &err);
        if (st == JOULET_OK && s->store && key) /* a short one is for this run alone */
            store_put_baseline(s->store, key, s->run.channels[i].id, &s->idle[i], jl_wall_ns(), NULL);
        if (st == JOULET_TOO_SHORT)
            st = joulet_baseline_short(&t, from, to, 0, 0, &s->idle[i], &err);
        if (st == JOULET_OK)
            keep_baseline(s, i);
        else if (t.channel.in_total) /* what stands beside it may be a counter that moves once a minute */
            session_note_failure(s, &t, "no idle level: ", &err);
        joulet_trace_release(&t);
    }
    free(key);
}

/* A counter beside the total that moves once a minute: it has no level (4.2), stored or not. */
static bool moves_seldom(const struct joulet_channel *c)
{
    return !c->in_total && c->quantity == JOULET_ENERGY && c->period_s > SELDOM_S;
}

bool session_baseline_stored(struct session *s)
{
    char *key = baseline_key(s);
    bool all = s->store && key;
    struct joulet_baseline *found = calloc(s->n_channels ? s->n_channels : 1, sizeof *found);
    for (size_t i = 0; all && found && i < s->n_channels; i++) {
        if (!session_has_energy(&s->run.channels[i]))
            continue;
        enum joulet_status st = store_get_baseline(s->store, key, s->run.channels[i].id, BASELINE_AGE_S, &found[i], NULL);
        all = st == JOULET_OK || moves_seldom(&s->run.channels[i]);
        if (st != JOULET_OK)
            found[i] = (struct joulet_baseline)JOULET_BASELINE_NONE;
    }
    if (all && found) {
        for (size_t i = 0; i < s->n_channels; i++)
            if (session_has_energy(&s->run.channels[i])) {
                s->idle[i] = found[i];
                keep_baseline(s, i);
            }
    }
    free(key);
    free(found);
    return all && found;
}

void session_baseline_short(struct session *s, joulet_mark start, joulet_mark after_from, joulet_mark after_to,
                            const char *unknown)
{
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_trace t;
        struct joulet_error err;
        joulet_mark from = start - JL_NS_PER_S, to = after_to > start ? after_to : start;
        if (!session_has_energy(&s->run.channels[i]) || !session_trace(s, i, from, to, &t, &err))
            continue;
        if (joulet_baseline_short(&t, from, start, after_from, after_to, &s->idle[i], &err) == JOULET_OK)
            keep_baseline(s, i);
        else if (t.channel.in_total) /* what stands beside it may be a counter that moves once a minute */
            session_note_failure(s, &t, unknown, &err);
        joulet_trace_release(&t);
    }
}

/* ---- how long ------------------------------------------------------------------------------------------------------------- */

static void add_power(const struct run_energy *e, joulet_mark from, joulet_mark to, double *energy_j, double *time_s)
{
    if (!isfinite(e->total.gross_j) || to <= from)
        return;
    *energy_j += e->total.gross_j;
    *time_s += jl_s(to - from);
}

/* Mean power of the requests so far, warm-up included; NAN when none has a figure. */
static double run_power_w(const struct run *r)
{
    double energy_j = 0, time_s = 0;
    for (size_t i = 0; i < r->n_requests; i++) {
        const struct run_request *q = &r->requests[i];
        if (q->outcome == RUN_OK && q->n_windows && q->stream < 0)
            add_power(&q->energy, q->windows[0].start_ns, q->windows[q->n_windows - 1].end_ns, &energy_j, &time_s);
    }
    for (size_t i = 0; i < r->n_windows; i++)
        if (!strcmp(r->windows[i].name, "level"))
            add_power(&r->windows[i].energy, r->windows[i].start_ns, r->windows[i].end_ns, &energy_j, &time_s);
    return time_s > 0 ? energy_j / time_s : NAN;
}

static void add_level(struct joulet_baseline *all, const struct joulet_baseline *one)
{
    bool first = isnan(all->power_w);
    all->power_w = first ? one->power_w : all->power_w + one->power_w;
    all->u_w = first ? one->u_w : hypot(all->u_w, one->u_w);
}

struct joulet_baseline session_idle_total(const struct session *s)
{
    struct joulet_baseline all = JOULET_BASELINE_NONE;
    for (size_t i = 0; i < s->n_channels; i++) {
        if (!s->run.channels[i].in_total || !session_has_energy(&s->run.channels[i]))
            continue;
        if (isnan(s->idle[i].power_w))
            return (struct joulet_baseline)JOULET_BASELINE_NONE;
        add_level(&all, &s->idle[i]);
    }
    return all;
}

/* Of all channels of the total together: the level in use, or that of [from, to). NAN when not known. */
static double doubt(struct session *s, joulet_mark from, joulet_mark to)
{
    struct joulet_baseline all = JOULET_BASELINE_NONE;
    for (size_t i = 0; i < s->n_channels; i++) {
        struct joulet_baseline one = s->idle[i];
        struct joulet_trace t;
        if (!s->run.channels[i].in_total || !session_has_energy(&s->run.channels[i]))
            continue;
        if (to > from) {
            one = (struct joulet_baseline)JOULET_BASELINE_NONE;
            if (!session_trace(s, i, from, to, &t, NULL))
                continue;
            joulet_baseline_from(&t, from, to, &one, NULL);
            joulet_trace_release(&t);
        }
        if (!isnan(one.power_w))
            add_level(&all, &one);
    }
    return joulet_baseline_doubt(&all, run_power_w(&s->run));
}

bool session_idle_doubtful(struct session *s, bool *known)
{
    double open = doubt(s, 0, 0);
    if (known)
        *known = !isnan(open);
    return open > DOUBT_MOST;
}

joulet_mark session_idle_wait(struct session *s, joulet_mark from, double least_s, double most_s)
{
    if (!session_wait_until(from + jl_ns(least_s)))
        return joulet_mark_now(s->meter);
    joulet_mark to = joulet_mark_now(s->meter);
    if (most_s <= least_s)
        return to;
    joulet_wait_covered(s->meter, to, COVER_MOST_S, NULL);
    if (!(doubt(s, from, to) > DOUBT_MOST))
        return to;
    session_wait_until(from + jl_ns(most_s));
    return joulet_mark_now(s->meter);
}

void session_idle_note(struct session *s)
{
    double open = doubt(s, 0, 0);
    if (open > DOUBT_MOST && open < 1)
        run_note(
            &s->run,
            "the idle level leaves %.2g %% of net energy open: a longer or stronger load, or a new level before each request "
            "(--baseline-every 1ms), would leave less",
            100 * open);
    else if (open > DOUBT_MOST)
        run_note(&s->run,
                 "the requests draw hardly more than the idle level, so net energy says little: a stronger load would say more");
}

bool session_wait_until(joulet_mark until)
{
    while (joulet_now() < until && !atomic_load(&cli_cancel)) {
        joulet_mark next = joulet_now() + 20000000;
        jl_sleep_until(next < until ? next : until);
    }
    return !atomic_load(&cli_cancel);
}

/* Before a run that a slow gauge is to measure, such as a plug, so many of its periods have to pass: it is known by what it
 * showed before. One that takes longer is not waited for. */
static double lead_s(const struct session *s, double periods)
{
    double most = 0;
    for (size_t i = 0; i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        bool wanted = c->in_total || live_is_pushed(c->sensor); /* who names a meter wants to know what it says */
        bool slow = wanted && c->quantity == JOULET_POWER && c->period_s >= SLOW_S && c->period_s <= SLOW_MOST_S;
        most = fmax(most, slow ? periods * c->period_s : 0);
    }
    return most;
}

bool session_prepare(struct session *s)
{
    if (session_is_told(s))
        return true;
    bool stored = session_baseline_stored(s);
    joulet_mark quiet_from = s->last_end > s->opened ? s->last_end : s->opened;
    double before_s = stored ? lead_s(s, LEAD_STORED) : fmax(SHORT_S, lead_s(s, LEAD));
    if (before_s > 0)
        session_wait_until((stored ? s->opened : quiet_from) + jl_ns(before_s));
    return stored;
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
    if (session_is_told(s))
        return joulet_now();
    joulet_mark until = session_elsewhere(s) ? end : end + jl_ns(cap_s);
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
