/* session_shape.c - how the power of a window goes, and the parts of a decode: see session_shape.h. No energy is computed here.
 */
#include "cli/session_shape.h"

#include <math.h>
#include <stdlib.h>

#define SHAPE_LEAD_S 2.5 /* trace before a window, for the level that holds when it begins */

/* Levels of all channels of the total together over [from, to). */
static void total_levels(struct session *s, joulet_mark from, joulet_mark to, struct joulet_level **levels, size_t *n)
{
    struct joulet_trace *t = calloc(s->n_channels + 1, sizeof *t);
    size_t k = 0;
    *levels = NULL;
    *n = 0;
    for (size_t i = 0; t && i < s->n_channels; i++) {
        const struct joulet_channel *c = &s->run.channels[i];
        if (c->in_total && (c->quantity == JOULET_ENERGY || c->quantity == JOULET_POWER) &&
            session_trace(s, i, from - jl_ns(SHAPE_LEAD_S), s->stored ? to + jl_ns(SHAPE_LEAD_S) : joulet_now(), &t[k], NULL))
            k++;
    }
    if (t)
        joulet_levels_in(t, k, from, to, levels, n);
    for (size_t i = 0; i < k; i++)
        joulet_trace_release(&t[i]);
    free(t);
}

/* Percentiles and ramp need the sum over devices at each moment (9). A window in which a counter stood still has none. */
void session_shape(struct session *s, struct run_window *w)
{
    struct joulet_level *levels;
    struct joulet_power p;
    size_t n;
    if (isnan(w->power_mean_w))
        return;
    total_levels(s, w->start_ns, w->end_ns, &levels, &n);
    joulet_levels_power(levels, n, &p);
    w->power_p50_w = p.p50_w;
    w->power_p95_w = p.p95_w;
    w->ramp_s = joulet_levels_ramp_s(levels, n);
    free(levels);
}

void session_request_shape(struct session *s, struct run_request *q)
{
    struct run_window w = q->windows[0];
    w.end_ns = q->windows[q->n_windows - 1].end_ns;
    session_shape(s, &w);
    q->power_p50_w = w.power_p50_w;
    q->power_p95_w = w.power_p95_w;
}

/* Thinking and answer, measured as phases of their own; the decode keeps its figure, and they sum to it. */
void session_share(struct session *s, struct run_window *parts, size_t n, const struct run_window *decode)
{
    for (size_t c = 0; c < decode->energy.n_channels; c++) {
        struct joulet_energy e[2];
        size_t k = 0;
        for (; k < n && k < JL_COUNT(e) && c < parts[k].energy.n_channels; k++)
            e[k] = parts[k].energy.channels[c].e;
        if (k < n)
            return;
        joulet_energy_share(e, n, &decode->energy.channels[c].e);
        for (k = 0; k < n; k++)
            parts[k].energy.channels[c].e = e[k];
    }
    for (size_t k = 0; k < n; k++)
        run_energy_total(&s->run, &parts[k].energy);
}
