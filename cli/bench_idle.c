/* bench_idle.c - idle levels of a plan (4.3): one before it, and in a long one a new level every minute. What was measured in
 * between gets the straight line between the two. */
#include "cli/bench.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define SETTLE_MOST_S 30.0 /* 4.4: what has not settled by then is drift */

/* Levels of one channel with the model loaded, and that of [from, to) among them. */
static struct joulet_baseline level_at(const struct run *r, const char *channel, joulet_mark from, joulet_mark to)
{
    struct joulet_baseline at = JOULET_BASELINE_NONE, *all = calloc(r->n_baselines + 1, sizeof *all);
    size_t n = 0;
    for (size_t i = 0; all && i < r->n_baselines; i++)
        if (!strcmp(r->baselines[i].channel, channel) && !strcmp(r->baselines[i].level, "L1"))
            all[n++] = r->baselines[i].b;
    if (n)
        joulet_baseline_at(all, n, from, to, &at);
    free(all);
    return at;
}

/* The requests since the last level once more, now that the next one is known. Servers that were changed meanwhile have levels of
 * their own, which no line connects. */
static void between_levels(struct bench *b)
{
    struct session *s = &b->s;
    struct run *r = &s->run;
    struct joulet_baseline *idle = calloc(s->n_channels + 1, sizeof *idle);
    joulet_mark before = b->idle_from;
    for (size_t i = b->idle_request; idle && b->idle_from && b->together && i < r->n_requests; i++) {
        struct run_request *q = &r->requests[i];
        if (!q->n_windows || q->stream >= 0)
            continue;
        joulet_mark from = q->windows[0].start_ns, to = q->windows[q->n_windows - 1].end_ns;
        for (size_t c = 0; c < s->n_channels; c++)
            idle[c] = level_at(r, r->channels[c].id, from, to);
        session_measure_again(s, q, idle, before);
        before = to;
    }
    free(idle);
}

/* Is the level too uncertain for what the requests draw, which is known only once there was one with a figure (4.2)? A warm-up
 * that failed, or in which a busy machine kept the sampler waiting, has none. Looked at until it is known, once. */
bool bench_idle_doubtful(struct bench *b)
{
    bool look = !b->looked && b->idle_at && b->s.run.n_requests > b->idle_request && b->m.baseline_most_s > b->m.baseline_s &&
                b->m.baseline_s > 0;
    bool known = false;
    b->extend = look && session_idle_doubtful(&b->s, &known);
    b->looked |= known;
    return b->extend;
}

/* Idle and cool-down are windows with energy, never bare sleeps; Ctrl-C ends them at once. A level in the middle of a run begins
 * when the power has settled after the request before (4.3). */
void bench_idle(struct bench *b)
{
    struct session *s = &b->s;
    char what[64];
    if (session_is_told(s)) {
        b->idle_at = joulet_now();
        return;
    }
    if (b->m.baseline_s <= 0) {
        if (!b->idle_at)
            session_baseline_stored(s);
        b->idle_at = joulet_now();
        return;
    }
    snprintf(what, sizeof what, "idle level, %.0f s", b->extend ? b->m.baseline_most_s : b->m.baseline_s);
    bench_progress(b, what);
    joulet_mark from = joulet_mark_now(s->meter), before = s->last_end;
    if (b->idle_at && before && s->run.n_requests) {
        from = session_cooldown(s, before, fmin(SETTLE_MOST_S, fmax(b->m.baseline_s, 1)));
        session_window(s, "cooldown", before, from, s->idle, false);
    }
    joulet_mark to = session_idle_wait(s, from, b->extend ? b->m.baseline_most_s : b->m.baseline_s, b->m.baseline_most_s);
    if (atomic_load(&cli_cancel) && b->idle_at)
        return; /* the level before is better than a piece of one */
    joulet_wait_covered(s->meter, to, 3.0, NULL);
    session_baseline(s, from, to);
    between_levels(b);
    session_window(s, "idle", from, to, s->idle, false);
    if (b->extend)
        session_idle_note(s);
    b->extend = false;
    session_keep(s);
    s->last_end = from; /* what comes before the next prompt is this window */
    b->idle_at = to;
    b->idle_from = from;
    b->idle_request = s->run.n_requests;
}
