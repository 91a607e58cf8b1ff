/* profile_power.c - power over the whole profile, thinned out while it runs: what a chart can show of an hour fits into a fixed
 * number of samples, and energy stays what it was. */
#include "cli/profile.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>

#define TICK_S 10.0 /* the meter keeps some times as much, of the fastest sensors too */

static void halve(struct profile_power *p)
{
    for (size_t i = 0; i + 1 < p->n; i += 2) {
        p->t_s[i / 2] = p->t_s[i + 1];
        p->j[i / 2] = p->j[i] + p->j[i + 1];
        p->s[i / 2] = p->s[i] + p->s[i + 1];
    }
    p->n /= 2;
    p->step_s *= 2;
}

static void add_step(struct profile_power *p, double from_s, double to_s, double w)
{
    while (from_s < to_s) {
        if (p->n && p->s[p->n - 1] < p->step_s && p->t_s[p->n - 1] >= from_s - 1e-9) {
            double d = fmin(to_s - from_s, p->step_s - p->s[p->n - 1]);
            if (d <= 1e-9)
                d = to_s - from_s;
            p->j[p->n - 1] += w * d;
            p->s[p->n - 1] += d;
            p->t_s[p->n - 1] = from_s += d;
            continue;
        }
        if (p->n == PROFILE_TRACE)
            halve(p);
        p->t_s[p->n] = from_s;
        p->j[p->n] = p->s[p->n] = 0;
        p->n++;
    }
}

/* Of all channels or of none: a part of them would be charted as the whole. False: some samples have left memory. */
static bool copy_all(struct session *s, joulet_mark from, joulet_mark to, struct joulet_trace *traces, size_t *n)
{
    bool held = true;
    for (size_t i = 0; held && i < s->n_channels; i++) {
        struct joulet_error err = {0};
        if (!s->run.channels[i].in_total || !session_has_energy(&s->run.channels[i]))
            continue;
        if (session_trace(s, i, from, to, &traces[*n], &err))
            (*n)++;
        else
            held = err.status != JOULET_NO_DATA;
    }
    return held;
}

void profile_power_add(struct profiling *x)
{
    struct session *s = &x->s;
    struct joulet_trace *traces = calloc(s->n_channels + 1, sizeof *traces);
    struct joulet_level *levels;
    size_t n = 0, count = 0;
    joulet_mark from = s->run.start_ns + jl_ns(x->power->until_s), to = joulet_now() - jl_ns(0.2);
    if (traces && to > from && !copy_all(s, from, to, traces, &n)) {
        x->power->until_s = jl_s(to - s->run.start_ns); /* a gap in the chart, and it goes on behind it */
    } else if (n) {
        joulet_levels_in(traces, n, from, to, &levels, &count);
        for (size_t i = 0; i < count; i++) {
            double at = x->power->until_s + levels[i].start_s;
            add_step(x->power, at, at + levels[i].seconds, levels[i].power_w);
        }
        if (count)
            x->power->until_s += levels[count - 1].start_s + levels[count - 1].seconds;
        free(levels);
    }
    for (size_t i = 0; i < n; i++)
        joulet_trace_release(&traces[i]);
    free(traces);
}

void profile_power_tick(struct profiling *x)
{
    if (jl_s(joulet_now() - x->power->tried_ns) < TICK_S)
        return;
    x->power->tried_ns = joulet_now();
    profile_power_add(x);
}

void profile_power_record(struct profiling *x)
{
    const struct profile_power *p = x->power;
    for (size_t i = 0; i < p->n; i++)
        if (p->s[i] > 0)
            run_profile_add_sample(&x->p, p->t_s[i], p->j[i] / p->s[i]);
}
