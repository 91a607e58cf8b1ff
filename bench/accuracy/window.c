/* window.c - draws a window, reads its device and compares what meters say with the truth.
 *
 * Drawn for each window: levels, noise, edges, place on the update grid, lateness of reads. Drawn for each device: see known.h.
 */
#include "bench/accuracy/window.h"

#include "bench/accuracy/bursts.h"
#include "bench/accuracy/known.h"
#include "bench/accuracy/plain.h"
#include "bench/accuracy/slow.h"

#include <math.h>
#include <string.h>

#define SHAPES_EVERY 1000 /* windows: larger samples have several load shapes */

const double window_lengths[LENGTHS] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 10, 3, 5, 20, 60};
const char *const window_labels[LENGTHS] = {"10 ms", "20 ms", "50 ms", "100 ms", "200 ms", "300 ms", "500 ms",
                                            "1 s",   "2 s",   "10 s",  "3 s",    "5 s",    "20 s",   "60 s"};
const size_t window_order[LENGTHS] = {0, 1, 2, 3, 4, 5, 6, 7, 8, 10, 11, 9, 12, 13};

/* ---- what ours says ------------------------------------------------------------------------------------------------------- */

/* A phase that was joined with its neighbour carries the energy of both, and is a part of that. */
static bool holds(const struct joulet_energy *e, double truth_j)
{
    double room = 1e-9 * fabs(truth_j);
    return (e->min_j <= truth_j + room || e->flags & JOULET_FLAG_JOINED) && e->max_j >= truth_j - room;
}

static double u_rep(const struct joulet_u *u)
{
    return sqrt(u->q * u->q + u->b * u->b + u->time * u->time + u->event * u->event);
}

void outcome_of(const struct asked *a, const struct joulet_energy *e, struct outcome *out)
{
    const uint32_t not_alone = JOULET_FLAG_UNRESOLVED | JOULET_FLAG_JOINED;
    double value = a->net ? e->net_j : e->gross_j;
    out->resolved = isfinite(value) && !(e->flags & not_alone);
    out->bounded = holds(e, a->gross_j * out->gain); /* of what the sensor saw (2.4) */
    out->error = value / a->truth_j - 1;
    out->half = (a->whole_interval ? e->net_pm_j : 2 * u_rep(&e->u)) / a->truth_j;
}

static joulet_mark mark(double t_s)
{
    return jl_ns(t_s);
}

static bool measure(const struct load *l, const struct joulet_trace *trace, struct outcome *out)
{
    joulet_mark bounds[LOAD_BOUNDS_MAX];
    struct joulet_measured m;
    struct joulet_baseline idle = {.power_w = l->idle_w, .u_w = 0, .sd_w = 0.02 * l->idle_w};
    for (size_t i = 0; i < l->n_bounds; i++)
        bounds[i] = mark(l->bounds[i]);
    struct joulet_what what = {.bounds = bounds, .n_phases = l->n_bounds - 1, .isolated = l->isolated};
    if (l->asked.whole_interval && joulet_baseline_from(trace, mark(l->idle_from), mark(l->idle_to), &idle, NULL) != JOULET_OK)
        return false;
    enum joulet_status status = joulet_measure(trace, isnan(idle.power_w) ? NULL : &idle, &what, &m, NULL);
    if (status != JOULET_OK && status != JOULET_TOO_SHORT)
        return false;
    outcome_of(&l->asked, l->isolated ? &m.whole : &m.parts[l->part], out);
    return true;
}

/* ---- one window ----------------------------------------------------------------------------------------------------------- */

static void run_load(const struct row *row, double d, uint64_t number, const struct levels *levels, const struct known *known,
                     struct chance *c, struct outcome *out)
{
    struct joulet_trace trace = {.channel = known->channel};
    struct sim_device device;
    struct load load;
    if (!load_draw(row, d, levels, number, c, &load))
        return;
    device_init(&device, known, &load.truth, jl_rng_next(&c->rng));
    struct reader reader = row->slow ? slow_reader(row) : reader_of(row, load.length_s, known->channel.power_max_w);
    if (read_device(&device, &reader, load.bounds, load.n_bounds, load.end_s, c, &trace)) {
        out->ok = measure(&load, &trace, out);
        plain_meters(&load, &device, &out->raw, &out->trapezoid);
    }
    joulet_trace_release(&trace);
    truth_release(&load.truth);
}

void window_run(const struct row *row, size_t length, uint64_t seed, uint64_t number, uint64_t devices, struct outcome *out)
{
    struct chance c = chance_of(seed ^ (UINT64_C(0xd1b54a32d192ed03) * (length + 1)), row->name, number);
    struct levels levels = levels_of(seed + number / SHAPES_EVERY);
    struct known known = known_draw(row, seed, number % devices);
    *out = (struct outcome){.gain = known.model.gain};
    if (row->shape == SHAPE_REPEATS || row->shape == SHAPE_OTHERS)
        bursts_run(row, window_lengths[length], &levels, &known, &c, out);
    else
        run_load(row, window_lengths[length], number, &levels, &known, &c, out);
}
