/* Faults of sensors, from the device to the figure, in virtual time: models of real devices are read as the meter reads them, and
 * what is measured must name the fault. Each has a case that fires and a near one that stays silent. */
#include "lib/meter/updates.h"
#include "lib/sensors/sensor.h"
#include "lib/sensors/sim_device.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

#define POWER_W 100.0
#define ROOM    20000
#define LAST_S  9.0

static double energy(void *user, double t)
{
    (void)user;
    return POWER_W * t;
}

struct row {
    const char *name, *preset;
    double frozen_s, back_s, back_j, garbage; /* 0: none */
    double from_s, to_s;
    enum joulet_status status;
    uint32_t fires;  /* flags that must be there */
    uint32_t silent; /* and that must not */
};

#define FAULTS                                                                                                                   \
    (JOULET_FLAG_FROZEN | JOULET_FLAG_RESET | JOULET_FLAG_GAP | JOULET_FLAG_GONE | JOULET_FLAG_AVERAGED | JOULET_FLAG_FILTERED | \
     JOULET_FLAG_SLOW_SENSOR | JOULET_FLAG_STARVED)
#define ONLY(flags) (flags), (FAULTS & ~(uint32_t)(flags))

static const struct row rows[] = {
    {"frozen from the start", "nvml-counter-100", 1e-9, 0, 0, 0, 4, 6, JOULET_FROZEN, ONLY(JOULET_FLAG_FROZEN)},
    {"a counter of 1.25 s is not frozen", "apple", 0, 0, 0, 0, 4, 7, JOULET_OK, ONLY(0)},
    {"freezes in the middle", "rapl-package", 5, 0, 0, 0, 4, 6, JOULET_GONE, JOULET_FLAG_FROZEN, JOULET_FLAG_RESET},
    {"freezes after the end", "rapl-package", 6.5, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"restarts", "nvml-counter-100", 0, 5, INFINITY, 0, 4, 6, JOULET_RESET, ONLY(JOULET_FLAG_RESET)},
    {"runs back by 5 J", "nvml-counter-100", 0, 5, 50, 0, 4, 6, JOULET_RESET, ONLY(JOULET_FLAG_RESET)},
    {"restarted long before", "nvml-counter-100", 0, 2, INFINITY, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"restarts long after", "nvml-counter-100", 0, 8, INFINITY, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"restarts below a range", "rapl-package", 0, 5, INFINITY, 0, 4, 6, JOULET_RESET, ONLY(JOULET_FLAG_RESET)},
    {"wraps twelve times", "rapl-small-range", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"nonsense of a counter", "amdgpu-energy", 0, 0, 0, 0.02, 4, 6, JOULET_OK, ONLY(JOULET_FLAG_GAP)},
    {"the same without", "amdgpu-energy", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"nonsense of power", "amdgpu-power", 0, 0, 0, 0.02, 4, 6, JOULET_OK, ONLY(JOULET_FLAG_GAP)},
    {"power without", "amdgpu-power", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"a second for instant power", "nvml-average", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(JOULET_FLAG_AVERAGED)},
    {"instant power", "nvml-ampere", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"every second the mean of that second", "wall", 0, 0, 0, 0, 4, 7, JOULET_OK, ONLY(0)},
    {"filtered", "rapl-filtered", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(JOULET_FLAG_FILTERED)},
    {"memory, 20 % gain error", "rapl-dram", 0, 0, 0, 0, 4, 6, JOULET_OK, ONLY(0)},
    {"half a period long", "nvml-counter-100", 0, 0, 0, 0, 4, 4.05, JOULET_OK, ONLY(JOULET_FLAG_SLOW_SENSOR)},
    {"one and a half periods long", "nvml-counter-100", 0, 0, 0, 0, 4, 4.15, JOULET_OK, ONLY(0)},
};

/* ---- the meter's part, without a clock --------------------------------------------------------------------------------- */

struct reader {
    struct sim_device device;
    struct jl_counter counter;
    struct jl_spans spans;
    struct updates updates;
};

static void prepare(const struct row *r, struct reader *rd, struct joulet_channel *told)
{
    const struct sim_preset *p = sim_preset_find(r->preset);
    bool rapl = strncmp(p->name, "rapl", 4) == 0;
    struct sim_model m;
    sim_preset_draw(p, 5, &m);
    sim_preset_channel(p, told);
    told->id = r->preset;
    m.frozen_s = r->frozen_s > 0 ? r->frozen_s : INFINITY;
    m.back_s = r->back_s > 0 ? r->back_s : INFINITY;
    m.back_j = r->back_j;
    m.garbage_p = r->garbage;
    *rd = (struct reader){.counter = {.max_w = 1000, .longest_s = 2 * m.period_s, .doubt = r->garbage > 0}};
    sim_device_init(&rd->device, &m, energy, NULL, 5);
    rd->counter.range_uj = sim_model_range_uj(&m);
    updates_init(&rd->updates, m.kind == SIM_COUNTER ? UPDATES_COUNTER : UPDATES_POWER,
                 updates_poll(rapl ? 10000000 : 5000000, jl_ns(told->period_s)), jl_ns(told->period_s), true, NAN);
}

static bool read_once(struct reader *rd, double t, struct joulet_sample *out)
{
    struct sim_read shown;
    struct sensor_reading r;
    sim_device_read(&rd->device, t, &shown);
    int64_t t0 = jl_ns(t), t1 = jl_ns(t + shown.takes_s);
    if (rd->device.m.kind == SIM_COUNTER)
        jl_counter_take(&rd->counter, shown.u.raw, t0, &r);
    else
        jl_power_take(shown.u.raw, 1e4, &r);
    if (r.status != JOULET_OK) {
        updates_failed(&rd->updates);
        *out = (struct joulet_sample){.t_ns = t0, .flags = JOULET_SAMPLE_FAILED};
        return true;
    }
    struct updates_read read = {t0, t1, r.value, isnan(shown.u.own_s) ? 0 : jl_ns(shown.u.own_s), r.reset, false};
    return updates_from(&rd->updates, &read, out);
}

static void record(const struct row *r, struct joulet_trace *trace)
{
    struct reader rd;
    prepare(r, &rd, &trace->channel);
    int64_t due = jl_ns(1), last = 0;
    for (trace->n = 0; jl_s(due) < LAST_S && trace->n + 1 < ROOM; due = updates_next(&rd.updates, due)) {
        struct joulet_sample s;
        if (!read_once(&rd, jl_s(due), &s) || s.t_ns <= last) /* the meter moves what does not ascend; here it is rare */
            continue;
        last = s.t_ns;
        trace->samples[trace->n++] = s;
    }
    if (jl_s(last) < LAST_S - 0.2) /* as the meter ends a copy */
        trace->samples[trace->n++] =
            (struct joulet_sample){.t_ns = jl_ns(LAST_S), .value = rd.updates.shown, .flags = JOULET_SAMPLE_LAST};
    if (rd.updates.period_found)
        trace->channel.period_s = jl_s(rd.updates.period_ns);
    if (trace->channel.contiguous)
        trace->channel.window_s = trace->channel.period_s;
}

static void faults_are_named_and_near_ones_are_not(void **state)
{
    struct joulet_sample *samples = calloc(ROOM, sizeof(*samples));
    (void)state;
    assert_non_null(samples);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct row *r = &rows[i];
        struct joulet_trace trace = {.samples = samples};
        struct joulet_measured m;
        struct joulet_error err = {.message = ""};
        joulet_mark bounds[] = {jl_ns(r->from_s), jl_ns(r->to_s)};
        struct joulet_what what = {.bounds = bounds, .n_phases = 1};
        struct joulet_baseline idle = {.power_w = POWER_W, .u_w = 1, .sd_w = 1};
        record(r, &trace);
        enum joulet_status status = joulet_measure(&trace, &idle, &what, &m, &err);
        if (status != r->status || (m.whole.flags & r->fires) != r->fires || (m.whole.flags & r->silent))
            fail_msg("%s: status %d, flags %x, %s", r->name, (int)status, m.whole.flags, err.message);
        if (status == JOULET_OK)
            assert_near(m.whole.gross_j, POWER_W * (r->to_s - r->from_s), fmax(m.whole.gross_pm_j, 0.5));
        else
            assert_true(err.message[0] && (status == JOULET_GONE || isnan(m.whole.gross_j))); /* named, not a number */
    }
    free(samples);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(faults_are_named_and_near_ones_are_not)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
