/* From a known power to the energy that the meter gives, through the production readers: simulated devices of several habits and
 * the stand-in NVIDIA library follow one file of power over time. What really was drawn must lie within the guaranteed bounds,
 * which know how far apart the reads were, so that the speed of the machine does not matter. */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

/* Power of the devices, s after the start of the test. */
static const struct {
    double t_s, p_w;
} steps[] = {{-3600, 60}, {1.6, 300}, {2.8, 180}, {3.5, 60}};

static double energy_until(double t)
{
    double e = 0;
    for (size_t i = 0; i < JL_COUNT(steps); i++) {
        double from = fmax(steps[i].t_s, 0), to = i + 1 < JL_COUNT(steps) ? fmin(steps[i + 1].t_s, t) : t;
        e += to > from ? steps[i].p_w * (to - from) : 0;
    }
    return e;
}

static void write_steps(const struct machine *m, int64_t start_ns)
{
    char text[512] = "";
    for (size_t i = 0; i < JL_COUNT(steps); i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%lld %g\n", (long long)(start_ns + jl_ns(steps[i].t_s)), steps[i].p_w);
    }
    machine_write(m, "power", "%s", text);
}

static const char *const habits[] = {
    "name=plain",
    "name=wrapping;range=100;seed=3",
    "name=jittery;jitter=0.4ms;seed=4",
    "name=failing;fail=9",
    "name=filtered;period=4ms;quantum=0.01",
    "name=gpu_like;group=gpu;quantum=0.001;lag=25ms;u_lag=14ms",
    "name=gpu_late;group=gpu;lag=25ms;skew=15ms;u_lag=14ms",
    "name=power;group=gpu;kind=power",
};

static void check(struct joulet *m, size_t channel, joulet_mark from, joulet_mark to, double truth_j)
{
    struct joulet_channel c;
    struct joulet_energy e;
    struct joulet_error err;
    assert_int_equal(joulet_channel_get(m, channel, &c), JOULET_OK);
    if (c.quantity > JOULET_POWER)
        return;
    if (joulet_energy_between(m, channel, from, to, &e, &err) != JOULET_OK)
        fail_msg("%s: %s", c.id, err.message);
    /* Bounds are promised for counters and for power that tiles time (2.4); other power has its interval only. */
    bool bounded = c.quantity == JOULET_ENERGY || c.contiguous;
    double lo = bounded ? e.min_j - 1e-9 : e.gross_j - 3 * e.gross_pm_j;
    double hi = bounded ? e.max_j + 1e-9 : e.gross_j + 3 * e.gross_pm_j;
    if (bounded && !(e.min_j <= e.gross_j && e.gross_j <= e.max_j))
        fail_msg("%s: %.6f J is said, outside %.6f .. %.6f J", c.id, e.gross_j, e.min_j, e.max_j);
    if (!(lo <= truth_j && truth_j <= hi))
        fail_msg("%s: %.6f J were drawn, not %.6f .. %.6f J (%.6f by %s)", c.id, truth_j, lo, hi, e.gross_j, e.method);
    assert_int_equal(e.provenance, JOULET_SIMULATED);
}

static void what_was_drawn_is_within_the_bounds(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct machine machine;
    struct jl_buf sim;
    struct joulet *m;
    struct joulet_error err;
    (void)state;
    machine_open(&machine, "virtual");
    int64_t start = jl_mono_ns();
    write_steps(&machine, start);
    jl_buf_init(&sim, 8192);
    for (size_t i = 0; i < JL_COUNT(habits); i++)
        jl_buf_printf(&sim, "%sfollow:%s/power;%s", i ? "|" : "", machine.dir, habits[i]);
    char *follow = jl_strf("%s/power", machine.dir);
    setenv("FAKE_NVML_FOLLOW", follow, 1);
    setenv("JOULET_NVML", FAKE_NVML, 1);
    opt.sensors = "sim,nvml";
    opt.sim = sim.data;
    if (joulet_open(&m, &opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(joulet_wait_ready(m, 30, &err), JOULET_OK);
    jl_sleep_until(start + jl_ns(3.9));
    static const double spans[][2] = {{1.3, 3.6}, {1.6, 2.8}, {2.0, 2.5}, {2.8, 3.5}};
    size_t n = joulet_channel_count(m);
    assert_true(n >= JL_COUNT(habits) + 3);
    for (size_t s = 0; s < JL_COUNT(spans); s++)
        for (size_t i = 0; i < n; i++)
            check(m, i, start + jl_ns(spans[s][0]), start + jl_ns(spans[s][1]),
                  energy_until(spans[s][1]) - energy_until(spans[s][0]));
    joulet_close(m);
    unsetenv("FAKE_NVML_FOLLOW");
    unsetenv("JOULET_NVML");
    jl_buf_release(&sim);
    free(follow);
    machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(what_was_drawn_is_within_the_bounds)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
