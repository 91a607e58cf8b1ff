/* sim_presets.c - the devices of docs/method.md 1.1 as models, one row each. What the literature leaves open (jitter, noise and
 * cost of a read, the filter of AMD, the delay of texts) is a plausible figure, said in docs/sensors/sim.md. */
#include "lib/sensors/sim_device.h"

#include <string.h>

/* clang-format off */
#define COMMON .gain = 1, .frozen_s = (double)INFINITY, .back_s = (double)INFINITY, .back_j = (double)INFINITY

#define RAPL(q, range) \
    {.kind = SIM_COUNTER, .period_s = 1e-3, .jitter_s = 50e-6, .quantum = (q), .range_j = (range), .read_s = 20e-6, .late_s = 5e-3, COMMON}
#define RAPL_TOLD(gain_error) \
    .lag_s = {-0.0005, 0.0005}, .told_u_lag_s = 0.0003, .calibrated_u_lag_s = 0.00015, .lag_max_s = 0.002, .rise_s = 0.0003, .spec = (gain_error)

#define GPU_COUNTER(u) \
    {.kind = SIM_COUNTER, .period_s = (u), .jitter_s = 1e-3, .lag_s = 0.025, .quantum = 1e-3, .read_s = 100e-6, .late_s = 30e-3, COMMON}
#define GPU_POWER(w, u) \
    {.kind = SIM_POWER, .period_s = (u), .window_s = (w), .jitter_s = 1e-3, .lag_s = 0.025, .quantum = 1e-3, .noise_w = 0.3, \
     .read_s = 100e-6, .late_s = 30e-3, COMMON}
#define GPU_TOLD \
    .lag_s = {0, 0.05}, .group = JOULET_GROUP_GPU, .told_lag_s = 0.025, .told_u_lag_s = 0.014, .calibrated_u_lag_s = 0.003, \
    .lag_max_s = 0.05, .rise_s = 0.003, .spec = 0.05
#define ABOUT(x) {(x) * 0.99, (x) * 1.01}

const struct sim_preset sim_presets[] = {
    {.name = "rapl-package", .summary = "RAPL, Intel package", .model = RAPL(0x1p-14, 0x1p18), RAPL_TOLD(0.05)},
    {.name = "rapl-dram", .summary = "RAPL, Intel memory", .model = RAPL(0x1p-16, 0x1p16), RAPL_TOLD(0.20), .group = JOULET_GROUP_DRAM},
    {.name = "rapl-amd", .summary = "RAPL, AMD package", .model = RAPL(0x1p-16, 0x1p16), RAPL_TOLD(0.10)},
    {.name = "rapl-small-range", .summary = "RAPL with a range of 16 J, which restarts often", .model = RAPL(0x1p-14, 16), RAPL_TOLD(0.05)},
    {.name = "rapl-filtered", .summary = "RAPL with energy filtering or SGX on",
     .model = {.kind = SIM_COUNTER, .period_s = 1e-3, .jitter_s = 50e-6, .quantum = 0x1p-14, .range_j = 0x1p18, .noise = 0.2,
               .read_s = 20e-6, .late_s = 5e-3, COMMON},
     .lag_s = {-0.0017, 0.0017}, .told_u_lag_s = 0.001, .calibrated_u_lag_s = 0.001, .lag_max_s = 0.002, .rise_s = 0.0003, .spec = 0.25},
    {.name = "nvml-counter", .summary = "NVML energy counter, period of 20 to 100 ms", .model = GPU_COUNTER(0.1), .period_s = {0.02, 0.1}, GPU_TOLD},
    {.name = "nvml-counter-100", .summary = "NVML energy counter, 100 ms", .model = GPU_COUNTER(0.1), .period_s = ABOUT(0.1), GPU_TOLD},
    {.name = "nvml-counter-20", .summary = "NVML energy counter, 20 ms", .model = GPU_COUNTER(0.02), .period_s = ABOUT(0.02), GPU_TOLD},
    {.name = "nvml-a100", .summary = "NVML power of A100 and H100 (instant): 25 of 100 ms", .model = GPU_POWER(0.025, 0.1),
     .period_s = ABOUT(0.1), .window_s = ABOUT(0.025), GPU_TOLD},
    {.name = "nvml-gh200", .summary = "NVML power of GH200 (instant): 20 of 100 ms", .model = GPU_POWER(0.02, 0.1), .period_s = ABOUT(0.1),
     .window_s = ABOUT(0.02), GPU_TOLD},
    {.name = "nvml-ampere", .summary = "NVML power of Turing, Ampere and Ada (instant): 100 of 100 ms", .model = GPU_POWER(0.1, 0.1),
     .period_s = ABOUT(0.1), GPU_TOLD},
    {.name = "nvml-volta", .summary = "NVML power of Pascal and Volta: 10 of 20 ms", .model = GPU_POWER(0.01, 0.02), .period_s = ABOUT(0.02),
     .window_s = ABOUT(0.01), GPU_TOLD},
    {.name = "nvml-average", .summary = "NVML power, 1 s average every 100 ms", .model = GPU_POWER(1.0, 0.1), .period_s = ABOUT(0.1),
     .window_s = ABOUT(1.0), GPU_TOLD},
    {.name = "powermetrics", .summary = "powermetrics asked for 100 ms: contiguous spans of 116 to 129 ms",
     .model = {.kind = SIM_POWER, .period_s = 0.1225, .jitter_s = 0.00325, .spans = true, .lag_s = 0.025, .delay_s = 0.01,
               .quantum = 1e-3, .read_s = 100e-6, .late_s = 30e-3, COMMON},
     .lag_s = {0, 0.05}, .told_lag_s = 0.025, .told_u_lag_s = 0.02, .calibrated_u_lag_s = 0.003, .lag_max_s = 0.05, .rise_s = 0.003, .spec = 0.10},
    {.name = "apple", .summary = "Apple energy counters: in batches of 0.3 to 2.2 s, with the driver's time",
     .model = {.kind = SIM_COUNTER, .period_s = 1.25, .jitter_s = 0.475, .own_time = true, .lag_s = 0.002, .delay_s = 0.01,
               .quantum = 1e-3, .read_s = 200e-6, .late_s = 30e-3, COMMON},
     .lag_s = {0, 0.01}, .told_u_lag_s = 0.001, .calibrated_u_lag_s = 0.001, .lag_max_s = 0.05, .rise_s = 0.003, .spec = 0.10},
    {.name = "amdgpu-energy", .summary = "AMD GPU energy accumulator, with its own time",
     .model = {.kind = SIM_COUNTER, .period_s = 1e-3, .jitter_s = 50e-6, .own_time = true, .quantum = 0x1p-16, .read_s = 100e-6,
               .late_s = 30e-3, COMMON},
     .lag_s = {0, 0.0017}, .group = JOULET_GROUP_GPU, .told_u_lag_s = 0.001, .calibrated_u_lag_s = 0.001, .lag_max_s = 0.002, .rise_s = 0.003,
     .spec = 0.05},
    {.name = "amdgpu-power", .summary = "AMD GPU power, through a filter of 100 ms",
     .model = {.kind = SIM_POWER, .period_s = 0.01, .jitter_s = 200e-6, .filter_s = 0.1, .lag_s = 0.001, .quantum = 1.0, .noise_w = 0.3,
               .read_s = 100e-6, .late_s = 30e-3, COMMON},
     .lag_s = {0, 0.01}, .group = JOULET_GROUP_GPU, .told_lag_s = 0.005, .told_u_lag_s = 0.014, .calibrated_u_lag_s = 0.003, .lag_max_s = 0.3,
     .rise_s = 0.003, .spec = 0.05},
    {.name = "wall", .summary = "wall meter: mean power of each second",
     .model = {.kind = SIM_POWER, .period_s = 1, .window_s = 1, .jitter_s = 5e-3, .lag_s = 0.1, .quantum = 0.1, .read_s = 5e-3,
               .late_s = 0.1, COMMON},
     .lag_s = {0, 0.2}, .group = JOULET_GROUP_PLATFORM, .told_lag_s = 0.1, .told_u_lag_s = 0.058, .calibrated_u_lag_s = 0.003, .lag_max_s = 0.2,
     .rise_s = 0.003, .spec = 0.02},
    {.name = NULL},
};
/* clang-format on */

const struct sim_preset *sim_preset_find(const char *name)
{
    for (const struct sim_preset *p = sim_presets; p->name; p++)
        if (strcmp(p->name, name) == 0)
            return p;
    return NULL;
}

static double draw(struct jl_rng *r, struct sim_range range, double otherwise)
{
    double part = jl_rng_uniform(r); /* always: one more range must not change what follows */
    return range.lo < range.hi ? range.lo + part * (range.hi - range.lo) : otherwise;
}

void sim_preset_draw(const struct sim_preset *p, uint64_t seed, struct sim_model *out)
{
    struct jl_rng r = {seed ^ 0x5851f42d4c957f2du};
    *out = p->model;
    out->period_s = draw(&r, p->period_s, p->model.period_s);
    out->window_s = draw(&r, p->window_s, p->model.window_s);
    out->lag_s = draw(&r, p->lag_s, p->model.lag_s);
    if (p->model.window_s == p->model.period_s)
        out->window_s = out->period_s;
}

/* A meter knows windows only: a filter is as late in the mean as a window of twice its time constant. */
static double told_window_s(const struct sim_model *m)
{
    if (m->kind != SIM_POWER)
        return 0;
    return m->spans ? m->period_s : m->filter_s > 0 ? 2 * m->filter_s : m->window_s;
}

void sim_preset_channel(const struct sim_preset *p, struct joulet_channel *out)
{
    bool power = p->model.kind == SIM_POWER;
    *out = (struct joulet_channel){
        .id = "",
        .sensor = "",
        .device = "",
        .parent = "",
        .quantity = power ? JOULET_POWER : JOULET_ENERGY,
        .group = p->group,
        .provenance = JOULET_SIMULATED,
        .in_total = true,
        .period_s = p->model.period_s,
        .window_s = told_window_s(&p->model),
        .contiguous = power && (p->model.spans || p->model.window_s == p->model.period_s),
        .quantum_j = p->model.quantum,
        .lag_s = p->told_lag_s,
        .u_lag_s = p->told_u_lag_s,
        .lag_max_s = p->lag_max_s,
        .rise_s = p->rise_s,
        .spec = p->spec,
        .power_min_w = NAN,
        .power_max_w = NAN,
        .factor_lo = 1,
        .factor_hi = 1,
    };
}
