/* Every pair of averaging window and update period that boards of NVIDIA have (docs/method.md 1.1), through the reader that reads
 * real ones, in virtual time: what the stand-in library shows is the model's, and what the meter is told is the row of the table.
 */
#include "lib/sensors/sim_device.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CURVE "0:60,2:300,5:90"
#define SEED  9

static double energy(void *user, double t)
{
    (void)user;
    return t < 2 ? 60 * t : t < 5 ? 120 + 300 * (t - 2) : 1020 + 90 * (t - 5);
}

static const struct row {
    const char *name, *arch, *cc; /* of the board */
    const char *lacks;            /* variable of what its driver does not have; NULL: nothing */
    const char *preset, *channel;
    double window_s, period_s; /* told */
} rows[] = {
    {"NVIDIA A100-SXM4-80GB", "7", "8.0", NULL, "nvml-a100", "gpu0.power", 0.025, 0.1},
    {"NVIDIA H100 80GB HBM3", "9", "9.0", NULL, "nvml-a100", "gpu0.power", 0.025, 0.1},
    {"NVIDIA GH200 480GB", "9", "9.0", NULL, "nvml-gh200", "gpu0.power", 0.02, 0.1},
    {"Tesla T4", "6", "7.5", NULL, "nvml-ampere", "gpu0.power", 0.1, 0.1},
    {"NVIDIA GeForce RTX 3090", "7", "8.6", NULL, "nvml-ampere", "gpu0.power", 0.1, 0.1},
    {"NVIDIA GeForce RTX 4090", "8", "8.9", NULL, "nvml-ampere", "gpu0.power", 0.1, 0.1},
    {"Tesla P100-PCIE-16GB", "4", "6.0", "FAKE_NVML_NO_186", "nvml-volta", "gpu0.power", 0.01, 0.02},
    {"Tesla V100-SXM2-32GB", "5", "7.0", "FAKE_NVML_NO_186", "nvml-volta", "gpu0.power", 0.01, 0.02},
    {"NVIDIA GeForce RTX 3090", "7", "8.6", NULL, "nvml-average", "gpu0.power_average", 1, 0.1},
    {"NVIDIA H100 80GB HBM3", "9", "9.0", NULL, "nvml-average", "gpu0.power_average", 1, 0.1},
    {"NVIDIA H100 80GB HBM3", "9", "9.0", NULL, "nvml-counter-100", "gpu0.board", 0, 0.1},
    {"Tesla V100-SXM2-32GB", "5", "7.0", NULL, "nvml-counter-20", "gpu0.board", 0, 0.02},
};

static void be(const struct row *r)
{
    unsetenv("FAKE_NVML_NO_186");
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_NOW", "0", 1);
    setenv("FAKE_NVML_CURVE", CURVE, 1);
    setenv("FAKE_NVML_NAME", r->name, 1);
    setenv("FAKE_NVML_ARCH", r->arch, 1);
    setenv("FAKE_NVML_CC", r->cc, 1);
    setenv("FAKE_NVML_DEVICE", r->preset, 1);
    if (r->lacks)
        setenv(r->lacks, "1", 1);
}

static struct sim_device model_of(const struct row *r)
{
    struct sim_device d;
    struct sim_model m;
    sim_preset_draw(sim_preset_find(r->preset), SEED, &m);
    m.read_s = 0;
    sim_device_init(&d, &m, energy, NULL, SEED);
    return d;
}

static void check_told(struct sensor_list *l, const struct row *r)
{
    const struct joulet_channel *c = find_channel(l, r->channel);
    if (fabs(c->window_s - r->window_s) > 1e-9 || fabs(c->period_s - r->period_s) > 1e-9)
        fail_msg("%s, %s: a window of %g s every %g s", r->name, r->channel, c->window_s, c->period_s);
    assert_true(c->contiguous == (c->quantity == JOULET_POWER && r->window_s == r->period_s));
    assert_near(c->u_lag_s, 0.014, 0);
}

/* At moments all over 6 s: each reading is what the device shows then, and it changes as often as its period says. */
static void check_shown(struct sensor_list *l, const struct row *r)
{
    struct sim_device d = model_of(r);
    struct sim_update first = {0};
    bool power = d.m.kind == SIM_POWER;
    int changes = 0;
    int64_t before = -1;
    for (int i = 0; i < 1500; i++) {
        char now[32];
        struct sim_read shown;
        double t = 0.004 * i;
        snprintf(now, sizeof(now), "%.6f", t);
        setenv("FAKE_NVML_NOW", now, 1);
        sim_device_read(&d, atof(now), &shown);
        if (i == 0)
            first = shown.u;
        struct sensor_reading x = read_channel(l, r->channel);
        assert_int_equal(x.status, JOULET_OK);
        int64_t want = power ? (int64_t)(shown.u.raw / 1000 * 1000) : shown.u.value - first.value;
        if (llabs(x.value - want) > (power ? 0 : 1000))
            fail_msg("%s, %s at %s s: %lld, not %lld", r->name, r->channel, now, (long long)x.value, (long long)want);
        changes += x.value != before;
        before = x.value;
    }
    double updates = 6 / d.m.period_s;
    assert_true(changes > 0.9 * updates && changes < 1.1 * updates + 2);
}

static void every_pair_is_read_as_it_is_shown(void **state)
{
    char seed[16];
    (void)state;
    snprintf(seed, sizeof(seed), "%d", SEED);
    setenv("FAKE_NVML_SEED", seed, 1);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct sensor_list l;
        be(&rows[i]);
        assert_int_equal(open_sensors(&l, "nvml", NULL, NULL), JOULET_OK);
        assert_int_equal(l.n, 1);
        check_told(&l, &rows[i]);
        check_shown(&l, &rows[i]);
        close_sensors(&l);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(every_pair_is_read_as_it_is_shown)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
