/* metering_windows.c - a thread that hands to the attribution what the sensors showed, a few times a second. Windows begin and
 * end where a sensor was updated, so that they add up to what it counted (2.2); they wait in the meter's memory until an idle
 * level is known, which is taken whenever nobody asks for anything (4.2). */
#include "server/metering_steps.h"

#include <math.h>

#define EVERY_NS      ((int64_t)200 * 1000000)
#define SLEEP_NS      ((int64_t)50 * 1000000)
#define KEEP_NS       ((int64_t)600 * JL_NS_PER_S) /* what was learnt */
#define BEHIND_NS     ((int64_t)20 * 1000000)      /* the observer's times may be so much older than when they were put */
#define SLOW_PERIODS  2.0                          /* of the sensor that must lie behind a window: its edges may still move */
#define SETTLED_S     1.0                          /* after the last request (4.4) */
#define LEVEL_SHORT_S 1.0                          /* of the first level */
#define LEVEL_S       2.0                          /* of later ones, ... */
#define LEVEL_MOST_S  10.0                         /* ... and how far back they look */
#define FOR_EVER      (INT64_MAX / 2)
#define HUNG_S        60.0 /* a sensor that shows nothing for so long: requests become final without it */
#define LEVEL_WAIT_S  15.0 /* after the first request; then windows go on without a level */

/* ---- idle level ------------------------------------------------------------------------------------------------------- */

/* When nobody was there, until `seen`; false: somebody is, or it was too short. */
static bool quiet_span(struct metering *m, const struct metering_device *d, joulet_mark seen, double least_s, joulet_mark *from)
{
    pthread_mutex_lock(&m->lock);
    bool quiet = m->in_flight == 0;
    *from = m->first_ns ? m->quiet_ns + jl_ns(SETTLED_S) : m->opened_ns;
    if (d->loaded >= 0 && d->changed_ns && *from < d->changed_ns + jl_ns(SETTLED_S))
        *from = d->changed_ns + jl_ns(SETTLED_S);
    pthread_mutex_unlock(&m->lock);
    if (*from < seen - jl_ns(LEVEL_MOST_S))
        *from = seen - jl_ns(LEVEL_MOST_S);
    return quiet && jl_s(seen - *from) >= least_s;
}

/* The level with models in memory is what requests stand on; that of the empty machine tells what keeping them costs (4.1). */
static void set_level(struct metering *m, struct metering_device *d, const struct joulet_baseline *b, joulet_mark from)
{
    pthread_mutex_lock(&m->lock);
    bool same = from >= d->changed_ns; /* no model came or went meanwhile */
    if (same)
        d->levels[d->loaded != 0] = *b;
    const struct joulet_baseline *with = &d->levels[1], *without = &d->levels[0];
    const struct joulet_baseline *idle = isnan(with->power_w) ? without : with;
    double idle_w = fmax(0, idle->power_w), empty_w = idle == with ? fmin(fmax(0, without->power_w), idle_w) : NAN;
    if (same &&
        joulet_attribution_idle(m->attribution, d->device, idle_w, isnan(without->power_w) ? NAN : empty_w, NULL) == JOULET_OK) {
        if (isnan(d->idle.power_w) && d->fell_back)
            d->level_ns = d->done_ns;
        d->idle = *idle;
        d->empty_w = isnan(without->power_w) ? NAN : empty_w;
    }
    pthread_mutex_unlock(&m->lock);
}

static void look_for_level(struct metering *m, struct metering_device *d, joulet_mark seen)
{
    struct joulet_trace t = {0};
    struct joulet_baseline b = JOULET_BASELINE_NONE;
    bool first = isnan(d->idle.power_w);
    joulet_mark from, to = seen - jl_ns(fmax(0, d->ch.lag_s) + d->ch.period_s);
    if (!quiet_span(m, d, to, first ? fmax(LEVEL_SHORT_S, 2 * d->ch.period_s) : fmax(LEVEL_S, 2 * d->ch.period_s), &from) ||
        (!first && seen - d->looked_ns < jl_ns(LEVEL_S)))
        return;
    d->looked_ns = seen;
    if (joulet_trace_copy(m->o.meter, d->channel, from, to, &t, NULL) != JOULET_OK)
        return;
    enum joulet_status status = joulet_baseline_from(&t, from, to, &b, NULL);
    if (status == JOULET_TOO_SHORT && first)
        status = joulet_baseline_short(&t, from, to, to, to, &b, NULL);
    if (status == JOULET_OK && isfinite(b.power_w))
        set_level(m, d, &b, from);
    joulet_trace_release(&t);
}

/* Without a level nothing can be told apart; but nothing waits for ever either. */
static bool may_go_on(struct metering *m, struct metering_device *d, joulet_mark now)
{
    pthread_mutex_lock(&m->lock);
    bool known = !isnan(d->idle.power_w), patient = !m->first_ns || now - m->first_ns < jl_ns(LEVEL_WAIT_S);
    pthread_mutex_unlock(&m->lock);
    if (!known && !patient)
        d->fell_back = true;
    return known || d->fell_back;
}

/* ---- windows ---------------------------------------------------------------------------------------------------------- */

static void lose(struct metering *m, struct metering_device *d, joulet_mark to)
{
    pthread_mutex_lock(&m->lock);
    d->lost_s += jl_s(to - (d->done_ns ? d->done_ns : m->opened_ns));
    joulet_attribution_gap(m->attribution, d->device, to, NULL); /* nobody waits for it */
    pthread_mutex_unlock(&m->lock);
    d->done_ns = to;
}

static void hand_in(struct metering *m, struct metering_device *d, const joulet_mark *bounds, size_t n,
                    const struct joulet_energy *parts)
{
    double of[JOULET_GROUPS_MAX];
    pthread_mutex_lock(&m->lock);
    for (size_t i = 0; i < n; i++) {
        size_t groups = metering_parts(m, d, bounds[i], bounds[i + 1], of);
        double u_j = parts[i].gross_pm_j / 2,
               u_common_j = fmin(u_j, parts[i].u.spec); /* without a level in the budget: of gross */
        if (joulet_attribution_energy_of(m->attribution, d->device, bounds[i], bounds[i + 1], parts[i].gross_j,
                                         sqrt(u_j * u_j - u_common_j * u_common_j), u_common_j, of, groups, NULL) != JOULET_OK)
            d->lost_s += jl_s(bounds[i + 1] - bounds[i]);
    }
    pthread_mutex_unlock(&m->lock);
    d->done_ns = bounds[n];
}

static void measure(struct metering *m, struct metering_device *d, const struct joulet_trace *t, const joulet_mark *bounds,
                    size_t n)
{
    struct joulet_measured got;
    struct joulet_what what = {.bounds = bounds, .n_phases = n};
    bool each = true;
    enum joulet_status status = joulet_measure(t, NULL, &what, &got, NULL);
    for (size_t i = 0; i < n && status == JOULET_OK; i++)
        each &= isfinite(got.parts[i].gross_j);
    if (status == JOULET_OK && each)
        hand_in(m, d, bounds, n, got.parts);
    else if (status == JOULET_OK && isfinite(got.whole.gross_j)) /* what cannot be told apart stays together */
        hand_in(m, d, (joulet_mark[]){bounds[0], bounds[n]}, 1, &got.whole);
    else
        lose(m, d, bounds[n]);
}

static joulet_mark moment_of(const struct metering_device *d, const struct joulet_sample *s)
{
    return s->t_ns - jl_ns(d->ch.lag_s);
}

static void windows_of(struct metering *m, struct metering_device *d, const struct joulet_trace *t, joulet_mark until)
{
    joulet_mark bounds[JOULET_PHASES_MAX + 1], last = 0;
    int64_t length = jl_ns(fmax(METERING_WINDOW_S, d->ch.period_s)) * 9 / 10; /* updates come a little early, too */
    size_t n = 0;
    for (size_t i = t->n; i-- > 0 && !last;)
        if (!(t->samples[i].flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST)))
            last = moment_of(d, &t->samples[i]) - jl_ns(SLOW_PERIODS * d->ch.period_s);
    if (d->done_ns)
        bounds[n++] = d->done_ns;
    for (size_t i = 0; i < t->n; i++) {
        joulet_mark at = moment_of(d, &t->samples[i]);
        if (at > last || at > until || (t->samples[i].flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST)) ||
            (n && at < bounds[n - 1] + length))
            continue;
        bounds[n++] = at;
        if (n == JOULET_PHASES_MAX + 1) {
            measure(m, d, t, bounds, JOULET_PHASES_MAX);
            bounds[0] = d->done_ns;
            n = 1;
        }
    }
    if (n > 1)
        measure(m, d, t, bounds, n - 1);
}

static void device_tick(struct metering *m, struct metering_device *d, joulet_mark now, joulet_mark seen)
{
    struct joulet_trace t = {0};
    joulet_mark from = d->done_ns ? d->done_ns : m->opened_ns;
    look_for_level(m, d, seen);
    if (!may_go_on(m, d, now))
        return;
    if (joulet_trace_copy(m->o.meter, d->channel, from, now, &t, NULL) == JOULET_OK)
        windows_of(m, d, &t, metering_looked_until(m, d, now));
    else if (jl_s(now - from) > LEVEL_MOST_S && d->done_ns)
        lose(m, d, now - jl_ns(LEVEL_MOST_S / 2));
    joulet_trace_release(&t);
    joulet_mark since = d->done_ns > from ? d->done_ns : from;
    if (jl_s(now - since) > HUNG_S + 4 * d->ch.period_s)
        lose(m, d, now - jl_ns(HUNG_S / 2 + 2 * d->ch.period_s));
}

/* ---- the clock --------------------------------------------------------------------------------------------------------- */

static joulet_mark seen_until(struct metering *m, joulet_mark now)
{
    pthread_mutex_lock(&m->follow_lock);
    joulet_mark seen = m->observation ? observation_seen_ns(m->observation) : now;
    pthread_mutex_unlock(&m->follow_lock);
    joulet_mark waits = atomic_load(&m->waits_ns); /* after the observation was asked: what it had told then may wait here */
    seen = waits && waits < seen ? waits : seen;
    return (seen < now ? seen : now) - BEHIND_NS;
}

void metering_windows_run(void *arg)
{
    struct metering *m = arg;
    joulet_mark next = jl_mono_ns(), kept = next;
    while (!atomic_load(&m->stop)) {
        joulet_mark now = jl_mono_ns();
        if (now < next) {
            jl_sleep_until(now + SLEEP_NS < next ? now + SLEEP_NS : next);
            continue;
        }
        joulet_mark seen = seen_until(m, now);
        for (size_t i = 0; i < m->o.n_channels; i++)
            device_tick(m, &m->devices[i], now, seen);
        pthread_mutex_lock(&m->lock);
        metering_steps_until(m, seen);
        bool over = atomic_load(&m->closes) && m->in_flight == 0; /* nothing can be learnt any more: what waits for it goes on */
        joulet_attribution_until(m->attribution, over ? FOR_EVER : seen);
        pthread_mutex_unlock(&m->lock);
        if (now - kept > KEEP_NS) {
            metering_learnt_keep(m);
            kept = now;
        }
        next = now + EVERY_NS;
    }
}
