/* Devices of the field, live, through the readers that read real ones: a powercap tree that counts, the stand-in NVIDIA library,
 * and the simulated sensor. Every sample must be what the model showed at that moment, and what was drawn must lie within the
 * guaranteed bounds. Nothing depends on the speed of the machine: how late the player of the tree was is known. */
#include "lib/sensors/sim_curve.h"
#include "lib/sensors/sim_spec.h"
#include "play.h"
#include "tests/base/test.h"
#include "tests/sensors/machine.h"

#include <stdlib.h>
#include <string.h>

#define CURVE   "0:30,1.6:70,2.9:45,3.6:30" /* every reader below plays this */
#define SMALL_J 16.0
#define MOST_W  70.0
#define END_S   4.0
#define STALE_S 0.05 /* a counter that its player leaves alone for longer looks frozen */

static double energy(void *user, double t)
{
    static const double steps[][2] = {{0, 30}, {1.6, 70}, {2.9, 45}, {3.6, 30}};
    double e = 0;
    (void)user;
    if (t <= 0)
        return 30 * t;
    for (size_t i = 0; i < JL_COUNT(steps); i++) {
        double to = i + 1 < JL_COUNT(steps) ? fmin(steps[i + 1][0], t) : t;
        e += to > steps[i][0] ? steps[i][1] * (to - steps[i][0]) : 0;
    }
    return e;
}

/* One channel and the device behind it. */
struct row {
    const char *id, *preset;
    uint64_t seed;
    int64_t origin_ns; /* time 0 of its model */
    struct play *play;
};

static size_t find(struct joulet *m, const char *id)
{
    struct joulet_channel c;
    for (size_t i = 0; joulet_channel_get(m, i, &c) == JOULET_OK; i++)
        if (strcmp(c.id, id) == 0)
            return i;
    fail_msg("there is no channel %s", id);
    return 0;
}

static double stale_s(const struct row *r, int64_t from, int64_t to)
{
    return r->play ? play_stale_s(r->play, from, to) : 0;
}

/* ---- samples ---------------------------------------------------------------------------------------------------------- */

/* Whether some update that the sample may mean shows its value. */
static bool was_shown(const struct row *r, const struct sim_device *d, const struct joulet_sample *s, int64_t base)
{
    double t = jl_s(s->t_ns - r->origin_ns), hw = jl_s(s->hw_ns);
    double late = stale_s(r, s->t_ns - s->hw_ns - JL_NS_PER_S / 100, s->t_ns + s->hw_ns);
    double slack = 2 * d->m.jitter_s + d->m.delay_s + 0.01 * d->m.period_s + 2e-6;
    if (d->m.own_time || d->m.spans)
        slack += d->m.lag_s + d->m.delay_s + d->m.period_s; /* its own time, not when it was seen */
    int64_t from = sim_device_number_at(d, t - hw - slack - late), to = sim_device_number_at(d, t + hw + slack + late);
    for (int64_t k = from; k <= to + (d->m.own_time || d->m.spans); k++) {
        struct sim_update u;
        sim_device_update(d, k, &u);
        if (u.value - base == s->value)
            return true;
    }
    return false;
}

/* A counter counts from its first reading: the update that this was is found by trying. */
static int64_t base_of(const struct row *r, const struct sim_device *d, const struct joulet_trace *t, size_t first)
{
    const struct joulet_sample *s = &t->samples[first];
    double at = jl_s(s->t_ns - r->origin_ns),
           reach = jl_s(s->hw_ns) + 3 * d->m.period_s + stale_s(r, r->origin_ns, s->t_ns + JL_NS_PER_S);
    if (t->channel.quantity == JOULET_POWER)
        return 0;
    for (int64_t k = sim_device_number_at(d, at - reach); k <= sim_device_number_at(d, at + reach); k++) {
        struct sim_update u;
        size_t i = first, bad = 0;
        sim_device_update(d, k, &u);
        for (; i < t->n && i < first + 50; i++)
            bad += !(t->samples[i].flags & JOULET_SAMPLE_FAILED) && !was_shown(r, d, &t->samples[i], u.value - s->value);
        if (bad == 0)
            return u.value - s->value;
    }
    fail_msg("%s: no update explains the first readings", r->id);
    return 0;
}

/* Between two reads a small range may be used up unseen, when the reader or the player was not given the processor. */
static bool may_have_lost_a_wrap(const struct row *r, const struct joulet_sample *a, const struct joulet_sample *b)
{
    double gap = jl_s(b->t_ns - a->t_ns) + stale_s(r, a->t_ns - JL_NS_PER_S / 100, b->t_ns);
    return strcmp(r->preset, "rapl-small-range") == 0 && gap * MOST_W > 0.9 * SMALL_J;
}

static bool check_samples(const struct row *r, const struct joulet_trace *t)
{
    const struct sim_preset *p = sim_preset_find(r->preset);
    struct sim_device d;
    struct sim_model m;
    size_t first = 0, checked = 0;
    sim_preset_draw(p, r->seed, &m);
    sim_device_init(&d, &m, energy, NULL, r->seed);
    while (first < t->n && (t->samples[first].flags & JOULET_SAMPLE_FAILED))
        first++;
    for (size_t i = first + 1; i < t->n; i++)
        if (may_have_lost_a_wrap(r, &t->samples[i - 1], &t->samples[i]))
            return false;
    int64_t base = base_of(r, &d, t, first);
    for (size_t i = first; i < t->n; i++) {
        const struct joulet_sample *s = &t->samples[i];
        if (s->flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_REPEAT | JOULET_SAMPLE_LAST))
            continue;
        assert_false(s->flags & JOULET_SAMPLE_RESET);
        if (!was_shown(r, &d, s, base))
            fail_msg("%s: %lld at %.6f s +- %.6f s was never shown", r->id, (long long)s->value, jl_s(s->t_ns - r->origin_ns),
                     jl_s(s->hw_ns));
        checked++;
    }
    assert_true(checked >= (m.period_s > 1 ? 2 : 10));
    return true;
}

/* ---- energies --------------------------------------------------------------------------------------------------------- */

static void check_energy(struct joulet *m, const struct row *r, size_t channel, double from_s, double to_s, int64_t start)
{
    struct joulet_channel c;
    struct joulet_energy e;
    struct joulet_error err;
    joulet_mark from = start + jl_ns(from_s), to = start + jl_ns(to_s);
    double truth = energy(NULL, to_s) - energy(NULL, from_s),
           slack = 2 * MOST_W * stale_s(r, from - JL_NS_PER_S / 5, to + JL_NS_PER_S / 5);
    joulet_channel_get(m, channel, &c);
    bool bounded = c.quantity == JOULET_ENERGY || c.contiguous, steps_there = from_s == 1.6 && to_s == 2.9;
    if (!bounded && !steps_there) /* a fit of phases takes the power to change at their ends only (2.3) */
        return;
    enum joulet_status status = joulet_energy_between(m, channel, from, to, &e, &err);
    if (status == JOULET_TOO_SHORT) {
        assert_true(e.min_j - slack <= truth && truth <= e.max_j + slack);
        return;
    }
    if (status != JOULET_OK)
        fail_msg("%s: %s", r->id, err.message);
    double lo = bounded ? e.min_j : e.gross_j - 3 * e.gross_pm_j, hi = bounded ? e.max_j : e.gross_j + 3 * e.gross_pm_j;
    if (!(lo - slack - 1e-9 <= truth && truth <= hi + slack + 1e-9))
        fail_msg("%s: %.6f J were drawn, not %.6f .. %.6f J (%.6f by %s)", r->id, truth, lo, hi, e.gross_j, e.method);
    assert_int_equal(e.provenance, JOULET_SIMULATED);
}

/* ---- the machine ------------------------------------------------------------------------------------------------------ */

static struct play *play_zone(const struct machine *m, const char *zone, const char *preset, uint64_t seed, int64_t start)
{
    struct sim_model model;
    struct joulet_error err;
    char *path = jl_strf("%s/sys/class/powercap/%s", m->dir, zone);
    sim_preset_draw(sim_preset_find(preset), seed, &model);
    struct play *p = play_open(path, &model, energy, NULL, seed, start, &err);
    if (!p)
        fail_msg("%s", err.message);
    free(path);
    return p;
}

static void be_a_gpu(int64_t start)
{
    char *t0 = jl_strf("%lld", (long long)start);
    setenv("JOULET_NVML", FAKE_NVML, 1);
    setenv("FAKE_NVML_CURVE", CURVE, 1);
    setenv("FAKE_NVML_T0_NS", t0, 1);
    setenv("FAKE_NVML_DEVICE", "nvml-counter+nvml-a100+nvml-average", 1);
    setenv("FAKE_NVML_SEED", "21", 1);
    setenv("FAKE_NVML_FAIL", "17", 1);
    setenv("FAKE_NVML_LATE", "23", 1);
    free(t0);
}

static void be_none(void)
{
    static const char *const names[] = {"JOULET_NVML",    "FAKE_NVML_CURVE", "FAKE_NVML_T0_NS", "FAKE_NVML_DEVICE",
                                        "FAKE_NVML_SEED", "FAKE_NVML_FAIL",  "FAKE_NVML_LATE"};
    for (size_t i = 0; i < JL_COUNT(names); i++)
        unsetenv(names[i]);
}

/* The simulated sensor opens its devices one after the other: each has a time 0 of its own, told by the meter's first reads. What
 * it shows is checked in virtual time (sensors_sim); here its energies are. */
static const char sim_expression[] = "follow:%s/power;device=powermetrics;name=pm|follow:%s/power;device=apple;name=apple|"
                                     "follow:%s/power;device=amdgpu-energy;name=amd;garbage=0.02|"
                                     "follow:%s/power;device=nvml-ampere;name=ampere;fail=7|"
                                     "follow:%s/power;device=nvml-counter-20;name=quick;late=9|"
                                     "follow:%s/power;device=rapl-filtered;name=filtered";

static void write_power(const struct machine *m, int64_t start)
{
    static const double steps[][2] = {{-3600, 30}, {1.6, 70}, {2.9, 45}, {3.6, 30}};
    char text[256] = "";
    for (size_t i = 0; i < JL_COUNT(steps); i++) {
        size_t n = strlen(text);
        snprintf(text + n, sizeof(text) - n, "%lld %g\n", (long long)(start + jl_ns(steps[i][0])), steps[i][1]);
    }
    machine_write(m, "power", "%s", text);
}

static void devices_through_their_readers(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct machine machine;
    struct joulet *m;
    (void)state;
    machine_open(&machine, "one-socket");
    int64_t start = jl_mono_ns();
    struct row rows[] = {
        {"cpu0.package", "rapl-small-range", 31, start, play_zone(&machine, "intel-rapl:0", "rapl-small-range", 31, start)},
        {"cpu0.dram", "rapl-dram", 32, start, play_zone(&machine, "intel-rapl:0:0", "rapl-dram", 32, start)},
        {"gpu0.board", "nvml-counter", 21, start, NULL},
        {"gpu0.power", "nvml-a100", 21, start, NULL},
        {"gpu0.power_average", "nvml-average", 21, start, NULL},
        {"pm", NULL, 0, 0, NULL},
        {"apple", NULL, 0, 0, NULL},
        {"amd", NULL, 0, 0, NULL},
        {"ampere", NULL, 0, 0, NULL},
        {"quick", NULL, 0, 0, NULL},
        {"filtered", NULL, 0, 0, NULL},
    };
    write_power(&machine, start);
    const char *dir = machine.dir;
    char *sim = jl_strf(sim_expression, dir, dir, dir, dir, dir, dir);
    be_a_gpu(start);
    opt.sensors = "rapl,nvml,sim";
    opt.sim = sim;
    if (joulet_open(&m, &opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(joulet_wait_ready(m, 30, &err), JOULET_OK);
    jl_sleep_until(start + jl_ns(1.6));
    joulet_mark_now(m);
    jl_sleep_until(start + jl_ns(END_S));
    static const double spans[][2] = {{1.3, 3.7}, {1.6, 2.9}, {2.0, 2.5}, {2.9, 3.6}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct joulet_trace t;
        size_t channel = find(m, rows[i].id);
        bool ok = true;
        if (rows[i].preset) {
            assert_int_equal(joulet_trace_copy(m, channel, 0, jl_mono_ns(), &t, &err), JOULET_OK);
            ok = check_samples(&rows[i], &t) && stale_s(&rows[i], start, jl_mono_ns()) < STALE_S;
            joulet_trace_release(&t);
        }
        for (size_t s = 0; ok && s < JL_COUNT(spans); s++)
            check_energy(m, &rows[i], channel, spans[s][0], spans[s][1], start);
    }
    joulet_close(m);
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        play_close(rows[i].play);
    be_none();
    free(sim);
    machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(devices_through_their_readers)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
