/* known.c - simulated devices as they differ from one another, and what a meter is told of them: the defaults of
 * docs/method.md 1.1, or what a calibration found, with its error. */
#include "bench/accuracy/known.h"
#include "bench/accuracy/slow.h"

#include <math.h>

#define POLL_CPU_S  10e-3
#define POLL_GPU_S  5e-3
#define POLL_TEXT_S 1e-3 /* who waits for a text has it as it comes */
#define COST_CPU_S  20e-6
#define COST_GPU_S  50e-6
#define SHORT_S     0.1  /* phases below: every update after an event is locked ... */
#define LOCK_ALL_S  3e-3 /* ... for so long (1.3) */
#define LAG_S       25e-3
#define U_LAG_S     14e-3
#define LAG_MAX_S   50e-3
#define U_CAL_S     3e-3
#define U_CPU_S     0.3e-3
#define U_CPU_CAL   0.15e-3
#define SPEC        0.05
#define LIMIT_W     735

/* A contiguous window is the period; an overlapping one is so many periods; a part-time one is a time of its own. */
static double draw_window(const struct row *row, double period_s, struct chance *c)
{
    if (row->window_s == row->period_s)
        return period_s;
    if (row->window_s > row->period_s)
        return row->window_s / row->period_s * period_s;
    return row->window_s * uniform(c, 0.99, 1.01);
}

/* Drivers tell the limit of a board; without it nothing bounds a burst that fell between two looks. */
static double share_without_limit(const struct row *row)
{
    return row->shape == SHAPE_REPEATS || row->shape == SHAPE_OTHERS ? 0 : 0.5;
}

/* A device as lib/sensors/sim_presets.c draws it, and what a meter is told of its kind, or what a calibration found. */
static struct known preset_draw(const struct row *row, struct chance *c)
{
    const struct sim_preset *p = sim_preset_find(row->preset);
    struct known k;
    sim_preset_draw(p, jl_rng_next(&c->rng), &k.model);
    sim_preset_channel(p, &k.channel);
    k.channel.id = "gpu0.board";
    k.channel.sensor = "sim";
    k.channel.device = k.channel.parent = "";
    k.channel.calibrated = row->calibrated;
    if (row->calibrated) {
        k.channel.u_lag_s = p->calibrated_u_lag_s;
        k.channel.lag_s = k.model.lag_s + (row->texts ? POLL_TEXT_S : 0) + normal(c, 0, p->calibrated_u_lag_s);
    }
    if (row->around_s > 0 || uniform(c, 0, 1) < 0.5) /* between rare updates nothing else bounds the power */
        k.channel.power_max_w = LIMIT_W;
    return k;
}

struct known known_draw(const struct row *row, uint64_t seed, uint64_t number)
{
    struct chance c = chance_of(seed, row->name, number);
    if (row->preset)
        return preset_draw(row, &c);
    if (row->slow)
        return slow_draw(row, &c);
    struct sim_model m = SIM_MODEL_INIT;
    m.kind = row->power ? SIM_POWER : SIM_COUNTER;
    m.period_s = row->period_s * (row->cpu ? uniform(&c, 0.975, 1.025) : uniform(&c, 0.99, 1.01));
    m.jitter_s = row->cpu ? 50e-6 : 1e-3;
    m.window_s = draw_window(row, m.period_s, &c);
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
        .power_max_w = limit < share_without_limit(row) ? NAN
                       : row->cpu                       ? 250
                                                        : LIMIT_W,
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

void device_init(struct sim_device *d, const struct known *known, struct truth *truth, uint64_t seed)
{
    sim_device_init(d, &known->model, energy_of, truth, seed);
}

struct reader reader_of(const struct row *row, double d, double limit_w)
{
    return (struct reader){
        .poll_s = row->texts ? POLL_TEXT_S
                  : row->cpu ? POLL_CPU_S
                             : POLL_GPU_S,
        .cost_s = row->cpu ? COST_CPU_S : COST_GPU_S,
        .predict = !row->poll_only,
        .locked = row->locked,
        .at_events = row->cpu,
        .all_s = d < SHORT_S ? LOCK_ALL_S : 0,
        .limit_w = limit_w,
    };
}
