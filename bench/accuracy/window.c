/* window.c - draws a window, reads its device and compares what meters say with the truth.
 *
 * Drawn for each window: levels, noise, edges, place on the update grid, lateness of reads. Drawn for each device: period, lag,
 * averaging window, whether its limit is known, and what a calibration found. The defaults are those of docs/method.md 1.1. */
#include "bench/accuracy/window.h"

#include "bench/accuracy/load.h"
#include "bench/accuracy/plain.h"

#include <math.h>
#include <string.h>

#define POLL_CPU_S 10e-3
#define POLL_GPU_S 5e-3
#define COST_CPU_S 20e-6
#define COST_GPU_S 50e-6
#define SHORT_S    0.1  /* phases below: every update after an event is locked ... */
#define LOCK_ALL_S 3e-3 /* ... for so long (1.3) */
#define LAG_S      25e-3
#define U_LAG_S    14e-3
#define LAG_MAX_S  50e-3
#define U_CAL_S    3e-3
#define U_CPU_S    0.3e-3
#define U_CPU_CAL  0.15e-3
#define SPEC       0.05

const double window_lengths[LENGTHS] = {0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1, 2, 10};
const char *const window_labels[LENGTHS] = {"10 ms",  "20 ms",  "50 ms", "100 ms", "200 ms",
                                            "300 ms", "500 ms", "1 s",   "2 s",    "10 s"};

/* ---- the device --------------------------------------------------------------------------------------------------------- */

struct known {
    struct sim_model model;
    struct joulet_channel channel;
};

/* Another device of the kind: as they leave the factory, and what is known of it. */
static struct known draw_device(const struct row *row, uint64_t seed, uint64_t number)
{
    struct chance c = chance_of(seed, row->name, number);
    struct sim_model m = SIM_MODEL_INIT;
    m.kind = row->power ? SIM_POWER : SIM_COUNTER;
    m.period_s = row->period_s * uniform(&c, 0.975, 1.025);
    m.jitter_s = row->cpu ? 50e-6 : 1e-3;
    m.window_s = row->window_s == row->period_s ? m.period_s : row->window_s * uniform(&c, 0.99, 1.01);
    m.lag_s = row->cpu ? normal(&c, 0, U_CPU_S) : uniform(&c, 0, LAG_MAX_S);
    m.quantum = row->cpu ? 0x1p-14 : 1e-3;
    m.noise_w = row->power ? 0.3 : 0;
    m.gain = row->shape == SHAPE_NET ? uniform(&c, 1 - SPEC, 1 + SPEC) : 1;
    double u_cal = row->cpu ? U_CPU_CAL : U_CAL_S, found = m.lag_s + normal(&c, 0, u_cal), limit = uniform(&c, 0, 1);
    struct joulet_channel ch = {
        .id = "gpu0.board",
        .sensor = "sim",
        .device = "",
        .parent = "",
        .quantity = row->power ? JOULET_POWER : JOULET_ENERGY,
        .group = row->cpu ? JOULET_GROUP_CPU : JOULET_GROUP_GPU,
        .provenance = JOULET_SIMULATED,
        .in_total = true,
        .calibrated = row->calibrated,
        .contiguous = row->power && row->window_s == row->period_s,
        .period_s = row->calibrated ? m.period_s * normal(&c, 1, 1e-3) : row->period_s,
        .window_s = row->power ? row->window_s : 0,
        .quantum_j = m.quantum,
        .lag_s = row->calibrated ? found
                 : row->cpu      ? 0
                                 : LAG_S,
        .u_lag_s = row->calibrated ? u_cal
                   : row->cpu      ? U_CPU_S
                                   : U_LAG_S,
        .lag_max_s = row->cpu ? 2e-3 : LAG_MAX_S,
        .rise_s = row->cpu ? 0.3e-3 : 3e-3,
        .spec = SPEC,
        .power_min_w = NAN,
        .power_max_w = limit < 0.5 ? NAN
                       : row->cpu  ? 250
                                   : 735,
        .factor_lo = 1,
        .factor_hi = 1,
    };
    if (ch.contiguous)
        ch.window_s = ch.period_s;
    return (struct known){m, ch};
}

static double energy_of(void *truth, double t_s)
{
    return truth_energy(truth, t_s);
}

static struct reader reader_of(const struct row *row, double d, double limit_w)
{
    return (struct reader){
        .poll_s = row->cpu ? POLL_CPU_S : POLL_GPU_S,
        .cost_s = row->cpu ? COST_CPU_S : COST_GPU_S,
        .predict = !row->poll_only,
        .locked = row->locked,
        .at_events = row->cpu,
        .all_s = d < SHORT_S ? LOCK_ALL_S : 0,
        .limit_w = limit_w,
    };
}

/* ---- what ours says ------------------------------------------------------------------------------------------------------- */

static bool holds(const struct joulet_energy *e, double truth_j)
{
    double room = 1e-9 * fabs(truth_j);
    return e->min_j <= truth_j + room && e->max_j >= truth_j - room;
}

static double u_rep(const struct joulet_u *u)
{
    return sqrt(u->q * u->q + u->b * u->b + u->time * u->time + u->event * u->event);
}

static void judge(const struct load *l, const struct joulet_energy *e, struct outcome *out)
{
    const uint32_t not_alone = JOULET_FLAG_UNRESOLVED | JOULET_FLAG_JOINED;
    double value = l->net ? e->net_j : e->gross_j;
    out->resolved = isfinite(value) && !(e->flags & not_alone);
    out->bounded = holds(e, l->gross_j * out->gain); /* what the sensor saw (2.4) */
    out->error = value / l->truth_j - 1;
    out->half = (l->whole_interval ? e->net_pm_j : 2 * u_rep(&e->u)) / l->truth_j;
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
    if (l->whole_interval && joulet_baseline_from(trace, mark(l->idle_from), mark(l->idle_to), &idle, NULL) != JOULET_OK)
        return false;
    enum joulet_status status = joulet_measure(trace, isnan(idle.power_w) ? NULL : &idle, &what, &m, NULL);
    if (status != JOULET_OK && status != JOULET_TOO_SHORT)
        return false;
    judge(l, l->isolated ? &m.whole : &m.parts[l->part], out);
    return true;
}

/* ---- one window ----------------------------------------------------------------------------------------------------------- */

void window_run(const struct row *row, size_t length, uint64_t seed, uint64_t number, uint64_t devices, struct outcome *out)
{
    struct chance c = chance_of(seed ^ (UINT64_C(0xd1b54a32d192ed03) * (length + 1)), row->name, number);
    struct levels levels = levels_of(seed);
    struct known known = draw_device(row, seed, number % devices);
    struct joulet_trace trace = {.channel = known.channel};
    struct sim_device device;
    struct load load;
    *out = (struct outcome){0};
    if (!load_draw(row, window_lengths[length], &levels, &known.model, number, &c, &load))
        return;
    sim_device_init(&device, &known.model, energy_of, &load.truth, jl_rng_next(&c.rng));
    struct reader reader = reader_of(row, load.length_s, known.channel.power_max_w);
    if (read_device(&device, &reader, load.bounds, load.n_bounds, load.end_s, &c, &trace)) {
        out->gain = known.model.gain;
        out->ok = measure(&load, &trace, out);
        plain_meters(&load, &device, &out->raw, &out->trapezoid);
    }
    joulet_trace_release(&trace);
    truth_release(&load.truth);
}
