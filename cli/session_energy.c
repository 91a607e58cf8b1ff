/* session_energy.c - the energy of windows and requests, as they end and when they are measured again: which spans they are. */
#include "cli/session_factors.h"
#include "cli/session_shape.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>

#define PAUSE_LEAST_S 0.05
#define PAUSE_MOST_S  1.5

void session_window(struct session *s, const char *name, joulet_mark from, joulet_mark to, const struct joulet_baseline *idle,
                    bool isolated)
{
    struct run_window w;
    struct run_energy whole;
    if (to <= from)
        return;
    if (!session_is_told(s))
        joulet_wait_covered(s->meter, to, 3.0, NULL);
    run_window_init(&w, name, from, to);
    run_energy_init(&whole);
    if (!session_elsewhere(s))
        session_measure(s, &(struct session_span){.windows = &w, .n = 1, .isolated = isolated, .quiet_until = joulet_now()}, idle,
                        &whole);
    run_energy_release(&whole);
    run_add_window(&s->run.windows, &s->run.n_windows, &w);
}

/* ---- stored traces --------------------------------------------------------------------------------------------------------- */

static struct session_span span_again(struct run_window *windows, size_t n, bool isolated, joulet_mark gap_from,
                                      joulet_mark until)
{
    return (struct session_span){.windows = windows,
                                 .n = n,
                                 .gap_from = isolated ? 0 : gap_from,
                                 .isolated = isolated,
                                 .quiet_until = isolated ? until : 0,
                                 .until = until};
}

void session_window_again(struct session *s, struct run_window *w, bool isolated, joulet_mark until)
{
    struct run_energy whole;
    struct session_span sp = span_again(w, 1, isolated, 0, until);
    run_energy_init(&whole);
    session_measure(s, &sp, s->idle, &whole);
    session_cpu_window(s, w);
    session_level_phases(s, w, until);
    run_energy_release(&whole);
}

void session_request_again(struct session *s, struct run_request *q, bool isolated, joulet_mark gap_from, joulet_mark until)
{
    struct session_span sp = span_again(q->windows, q->n_windows, isolated, gap_from, until);
    session_measure(s, &sp, s->idle, &q->energy);
    session_measure_parts(s, &sp, s->idle, q);
    session_request_shape(s, q);
    session_cpu_request(s, q);
}

/* ---- requests -------------------------------------------------------------------------------------------------------------- */

/* Between two requests the slowest sensor of the total must see the power fall: two updates and a half, and its own window. */
static double pause_s(const struct session *s)
{
    double pause = PAUSE_LEAST_S;
    for (size_t i = 0; i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        if (c->in_total && session_has_energy(c))
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
    if (q->n_windows && !session_elsewhere(s)) {
        joulet_mark end = q->windows[q->n_windows - 1].end_ns;
        if (!quiet_until)
            session_wait_until(end + jl_ns(pause_s(s)));
        joulet_wait_covered(s->meter, end, 3.0, NULL);
        struct session_span sp = {.windows = q->windows,
                                  .n = q->n_windows,
                                  .gap_from = quiet_until ? 0 : s->last_end,
                                  .isolated = quiet_until > 0,
                                  .quiet_until = quiet_until};
        session_measure(s, &sp, s->idle, &q->energy);
        session_measure_parts(s, &sp, s->idle, q);
        session_request_shape(s, q);
        s->last_end = end;
    }
    session_estimate_request(s, q);
    session_flag_request(s, q);
    return keep_request(s, q);
}

struct run_request *session_request_unmeasured(struct session *s, struct run_request *q)
{
    if (q->n_windows && q->windows[q->n_windows - 1].end_ns > s->last_end)
        s->last_end = q->windows[q->n_windows - 1].end_ns;
    session_estimate_request(s, q); /* a published figure is one of requests, whatever ran beside */
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
    struct session_span sp = {.windows = q->windows, .n = q->n_windows, .gap_from = gap_from};
    session_measure(s, &sp, idle, &q->energy);
    session_measure_parts(s, &sp, idle, q);
    session_request_shape(s, q);
    session_cpu_request(s, q);
    take_flags(&q->energy, &whole);
    for (size_t k = 0; k < q->n_windows; k++) {
        take_flags(&q->windows[k].energy, &before[k]);
        run_energy_release(&before[k]);
    }
    run_energy_release(&whole);
    free(before);
}
