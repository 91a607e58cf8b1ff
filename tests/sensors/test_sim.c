/* The simulated sensor: its expression, its curve, and the device it plays, at moments that the test chooses. */
#include "lib/sensors/sim.c"

#include "tests/base/test.h"
#include "tests/sensors/machine.h"

/* ---- the expression ----------------------------------------------------------------------------------------------- */

static void good_expressions(void **state)
{
    static struct sim_spec s;
    struct joulet_error err;
    (void)state;
    assert_int_equal(sim_spec_parse(&s, "100", &err), JOULET_OK);
    assert_int_equal(s.n, 1);
    assert_near(s.devices[0].p_w[0], 100, 0);
    assert_near(s.devices[0].period_s, 0.001, 0);
    assert_near(s.devices[0].quantum, 0x1p-14, 0);
    assert_near(s.devices[0].lag_s, 0, 0);
    assert_false(s.devices[0].power);
    sim_spec_release(&s);

    assert_int_equal(
        sim_spec_parse(&s, "0:60,2:300,5:60;group=gpu|45.5;kind=power;window=1s;period=100ms;name=a.b|file:/tmp/x;late", &err),
        JOULET_OK);
    assert_int_equal(s.n, 3);
    assert_int_equal(s.devices[0].n_steps, 3);
    assert_near(s.devices[0].t_s[2], 5, 0);
    assert_near(s.devices[0].p_w[1], 300, 0);
    assert_int_equal(s.devices[0].group, JOULET_GROUP_GPU);
    assert_near(s.devices[0].period_s, 0.1, 0);
    assert_near(s.devices[0].lag_s, 0.025, 0);
    assert_near(s.devices[0].quantum, 0.001, 0);
    assert_true(s.devices[1].power);
    assert_near(s.devices[1].window_s, 1, 0);
    assert_string_equal(s.devices[1].name, "a.b");
    assert_int_equal(s.devices[2].source, SIM_FILE);
    assert_string_equal(s.devices[2].path, "/tmp/x");
    assert_int_equal(s.devices[2].late, 1);
    sim_spec_release(&s);

    assert_int_equal(
        sim_spec_parse(&s, "./curve.txt;group=dram;total=no;range=262144;fail=10;gone=5;frozen=2s;seed=7;noise=0.02", &err),
        JOULET_OK);
    assert_int_equal(s.devices[0].source, SIM_FILE);
    assert_false(s.devices[0].in_total);
    assert_near(s.devices[0].range_j, 262144, 0);
    assert_int_equal(s.devices[0].fail, 10);
    assert_near(s.devices[0].gone_s, 5, 0);
    assert_near(s.devices[0].frozen_s, 2, 0);
    assert_int_equal(s.devices[0].seed, 7);
    sim_spec_release(&s);

    assert_int_equal(sim_spec_parse(&s, "follow:/run/power", &err), JOULET_OK);
    assert_int_equal(s.devices[0].source, SIM_FOLLOW);
    sim_spec_release(&s);
}

static void bad_expressions_show_the_place(void **state)
{
    static const struct {
        const char *expr, *says;
    } rows[] = {
        {"", "character 1"},
        {"0:60,x:300", "\"0:60,[*]x:300\""},
        {"0:60,2", "steps are written"},
        {"0:60,2:", "watts are expected"},
        {"1,2", "steps are written"},
        {"5:1,2:3", "must not go back"},
        {"-5", "0 or more"},
        {"1e99", "0 or more"},
        {"100 W", "a comma, a semicolon"},
        {"100;", "an option is expected"},
        {"100;perio=1", "no option perio"},
        {"100;period", "period takes a time"},
        {"100;period=0", "period takes a time"},
        {"100;period=x", "period takes a time"},
        {"100;kind=gauge", "counter or power"},
        {"100;group=all", "cpu, dram, gpu"},
        {"100;total=1", "yes or no"},
        {"100;fail=0", "whole number"},
        {"100;fail=1.5", "whole number"},
        {"100;name=a b", "letters, digits"},
        {"100;name=", "letters, digits"},
        {"100;jitter=1ms", "half the period"},
        {"100;kind=power;range=5", "belongs to counters"},
        {"100;device=nvml", "device takes one of rapl-package, "},
        {"100;device=nvml-a100+", "device takes one of"},
        {"100;device=nvml-a100+nvml-a100", "device takes one of"},
        {"100;device=", "device takes one of"},
        {"100;device=apple;kind=counter", "said by device"},
        {"100;garbage=2", "a number"},
        {"100;name=a|200;name=a", "two devices are called a"},
        {"100|", "character 5"},
        {"file:", "a file name"},
        {"1|1|1|1|1|1|1|1|1|1|1|1|1|1|1|1|1", "at most 16 devices"},
        {"0:1,1:1,2:1,3:1,4:1,5:1,6:1,7:1,8:1,9:1,10:1,11:1,12:1,13:1,x", "\"...5:1,6:1,7:1"},
    };
    static struct sim_spec s;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_int_equal(sim_spec_parse(&s, rows[i].expr, &err), JOULET_USAGE);
        assert_int_equal(s.n, 0);
        if (!strstr(err.message, rows[i].says))
            fail_msg("%s: %s", rows[i].expr, err.message);
    }
}

/* ---- the curve ------------------------------------------------------------------------------------------------------ */

static void steps_are_integrated_exactly(void **state)
{
    static const struct {
        double t, e, p;
    } rows[] = {{-1, -60, 60}, {0, 0, 60}, {1, 60, 60}, {2, 120, 300}, {3.5, 570, 300}, {5, 1020, 60}, {100, 6720, 60}};
    struct sim_curve c;
    (void)state;
    assert_true(sim_curve_init(&c, 3, 0));
    sim_curve_add(&c, 0, 60);
    sim_curve_add(&c, 2, 300);
    sim_curve_add(&c, 5, 60);
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_near(sim_curve_energy_at(&c, rows[i].t), rows[i].e, 1e-9);
        assert_near(sim_curve_power_at(&c, rows[i].t), rows[i].p, 0);
    }
    sim_curve_release(&c);
}

/* A rise with a time constant r misses r times the step, once. */
static void a_slow_rise(void **state)
{
    struct sim_curve c;
    (void)state;
    assert_true(sim_curve_init(&c, 3, 0.010));
    sim_curve_add(&c, 0, 60);
    sim_curve_add(&c, 1, 360);
    sim_curve_add(&c, 2, 60);
    assert_near(sim_curve_power_at(&c, 1.010), 60 + 300 * (1 - exp(-1)), 1e-9);
    assert_near(sim_curve_energy_at(&c, 2) - sim_curve_energy_at(&c, 1), 360 - 3, 1e-9);
    assert_near(sim_curve_energy_at(&c, 3) - sim_curve_energy_at(&c, 0), 60 + 360 + 60, 1e-9);
    sim_curve_release(&c);
}

static void a_full_curve_forgets_its_past_only(void **state)
{
    struct sim_curve c;
    (void)state;
    assert_true(sim_curve_init(&c, 4, 0));
    for (int i = 0; i < 100; i++)
        sim_curve_add(&c, i, i);
    assert_true(c.n <= 4);
    assert_near(sim_curve_energy_at(&c, 99), 99 * 98 / 2.0, 1e-9);
    sim_curve_release(&c);
}

static void curves_in_files(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"0 60\n2 300\n", NULL},     {"# power\n\n0,60\r\n 2\t300", NULL},
        {"0 60\n1\n", "line 2"},     {"0 60\n1 2 3\n", "line 2"},
        {"5 60\n1 60\n", "line 2"},  {"0 -1\n", "line 1"},
        {"0 x\n", "line 1"},         {"", "is empty"},
        {"# nothing\n", "is empty"}, {"nan 5\n", "line 1"},
        {"1e10 5\n", "line 1"},
    };
    struct sim_curve c;
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_true(sim_curve_init(&c, 2, 0));
        enum joulet_status status = sim_curve_parse(&c, rows[i].text, strlen(rows[i].text), "curve.txt", &err);
        assert_int_equal(status, rows[i].says ? JOULET_FORMAT : JOULET_OK);
        if (rows[i].says)
            assert_non_null(strstr(err.message, rows[i].says));
        else
            assert_near(sim_curve_energy_at(&c, 3), 420, 1e-9);
        sim_curve_release(&c);
    }
}

/* ---- the device ------------------------------------------------------------------------------------------------------ */

static struct sim *open_sim(struct sensor_list *l, const char *expr)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    opt.sim = expr;
    if (open_sensors(l, "sim", &opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    struct sim *s = jl_container_of(l->items[0], struct sim, base);
    struct sensor_reading r;
    take(&s->outlets[0], s->open_ns, 0, &r); /* the first reading is the origin */
    return s;
}

static struct sensor_reading reading_at(struct sim *s, size_t outlet, double t)
{
    struct sensor_reading r;
    take(&s->outlets[outlet], s->open_ns, t, &r);
    return r;
}

static double counter_j(struct sim *s, double t)
{
    struct sensor_reading r = reading_at(s, 0, t);
    assert_int_equal(r.status, JOULET_OK);
    return (double)r.value * 1e-6;
}

static double phase_s(const struct sim *s)
{
    return sim_device_visible_s(&s->outlets[0].device, 0);
}

static void hundred_watts_for_ten_seconds(void **state)
{
    static const char *const expressions[] = {"100",           "100;group=gpu",
                                              "100;range=50",  "100;jitter=0.5ms;seed=3",
                                              "100;quantum=1", "100;kind=counter;period=20ms;lag=5ms;skew=5ms"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(expressions); i++) {
        struct sensor_list l;
        struct sim *s = open_sim(&l, expressions[i]);
        const struct joulet_channel *c = &l.items[0]->channels[0];
        double slack = 100 * (c->period_s * 2 + s->spec.skew_s) + c->quantum_j + 1e-6, first = counter_j(s, 1), e = 0;
        for (double t = 1; t <= 11; t += 0.01)
            e = counter_j(s, t);
        assert_near(e - first, 1000, slack);
        close_sensors(&l);
    }
}

/* The value stands still between updates, and an update has the value of its own moment, whenever it is read. */
static void values_change_at_updates_only(void **state)
{
    struct sensor_list l;
    struct sim *s = open_sim(&l, "200;group=gpu;period=100ms;lag=25ms;seed=5");
    int changes = 0;
    double last = counter_j(s, 0), when = 0;
    (void)state;
    for (int k = 1; k <= 3000; k++) {
        double t = k * 1e-3, e = counter_j(s, t);
        if (e == last)
            continue;
        if (changes++ > 0)
            assert_near(t - when, 0.1, 0.0021);
        assert_near(t - phase_s(s) - round((t - phase_s(s)) / 0.1) * 0.1, 0, 0.0011);
        when = t;
        last = e;
    }
    assert_true(changes >= 29 && changes <= 30);
    close_sensors(&l);
}

static void a_seed_reproduces(void **state)
{
    struct sensor_list a, b, c;
    struct sim *x = open_sim(&a, "0:60,1:300;noise=0.02;jitter=0.4ms;seed=11"),
               *y = open_sim(&b, "0:60,1:300;noise=0.02;jitter=0.4ms;seed=11"),
               *z = open_sim(&c, "0:60,1:300;noise=0.02;jitter=0.4ms;seed=12");
    (void)state;
    for (int i = 0; i < 2000; i++)
        counter_j(x, i * 1e-3);
    counter_j(y, 1.3);
    assert_near(counter_j(x, 2), counter_j(y, 2), 1e-5); /* not a matter of when it was read, but for whole microjoules */
    assert_true(fabs(counter_j(x, 2) - counter_j(z, 2)) > 1e-3);
    close_sensors(&a);
    close_sensors(&b);
    close_sensors(&c);
}

static void power_is_the_mean_of_its_window(void **state)
{
    struct sensor_list l;
    struct sim *s = open_sim(&l, "0:60,2:300;kind=power;group=gpu;window=1s;period=100ms;lag=0;jitter=0");
    (void)state;
    assert_int_equal(l.items[0]->channels[0].quantity, JOULET_POWER);
    assert_false(l.items[0]->channels[0].contiguous);
    double shown_w = (double)reading_at(s, 0, 2.6).value * 1e-6;
    assert_near(shown_w, 60 + 240 * (s->outlets[0].shown.end_s - 2), 0.0006);
    assert_near((double)reading_at(s, 0, 3.2).value * 1e-6, 300, 1e-9);
    close_sensors(&l);
}

static void gain_and_noise(void **state)
{
    struct sensor_list l;
    (void)state;
    struct sim *s = open_sim(&l, "100;gain=1.05;spec=0.06");
    assert_near(counter_j(s, 10), 1050, 0.5);
    assert_near(l.items[0]->channels[0].spec, 0.06, 0);
    close_sensors(&l);
    s = open_sim(&l, "100;noise=0.2");
    double e = counter_j(s, 10);
    assert_near(e, 1000, 0.25); /* increments vary, their sum does not */
    double squares = 0;
    for (int i = 1; i <= 1000; i++, e = counter_j(s, 10 + i * 0.001)) {
        double grown = counter_j(s, 10 + i * 0.001) - e;
        squares += (grown - 0.1) * (grown - 0.1);
    }
    assert_true(squares / 1000 > 0.0002); /* 0.02 J each, on top of updates that lie early or late */
    close_sensors(&l);
}

static void faults_of_the_device(void **state)
{
    struct sensor_list l;
    struct sensor_reading r;
    (void)state;
    struct sim *s = open_sim(&l, "100;frozen=1");
    counter_j(s, 0.9999);
    double at_one = counter_j(s, 1.01);
    assert_near(at_one, 100, 1);
    assert_near(counter_j(s, 50), at_one, 0);
    close_sensors(&l);

    s = open_sim(&l, "100;gone=0");
    l.items[0]->ops->read(l.items[0], &r, true);
    assert_int_equal(r.status, JOULET_GONE);
    assert_false(r.has);
    close_sensors(&l);

    s = open_sim(&l, "100;fail=3");
    for (int i = 1; i <= 9; i++) {
        l.items[0]->ops->read(l.items[0], &r, true);
        assert_int_equal(r.status, i % 3 == 0 ? JOULET_IO : JOULET_OK);
        assert_int_equal(r.has, i % 3 != 0);
    }
    close_sensors(&l);

    s = open_sim(&l, "100;late=2");
    for (int i = 1; i <= 4; i++) {
        int64_t t = jl_mono_ns();
        l.items[0]->ops->read(l.items[0], &r, true);
        assert_true(i % 2 || jl_mono_ns() - t >= 5000000);
    }
    close_sensors(&l);
}

static void channels_tell_what_was_asked(void **state)
{
    struct sensor_list l;
    (void)state;
    open_sim(&l, "100;name=cpu0.package|50;group=dram|300;group=gpu;kind=power;total=no;u_lag=14ms;lag_max=50ms;rise=4ms");
    assert_int_equal(l.n, 3);
    assert_true(l.items[0]->ops->lockable);
    assert_false(l.items[2]->ops->lockable); /* too slow to wait for */
    const struct joulet_channel *c = find_channel(&l, "sim2.gpu");
    assert_int_equal(c->group, JOULET_GROUP_GPU);
    assert_int_equal(c->quantity, JOULET_POWER);
    assert_int_equal(c->provenance, JOULET_SIMULATED);
    assert_false(c->in_total);
    assert_true(c->contiguous);
    assert_near(c->u_lag_s, 0.014, 0);
    assert_near(c->lag_max_s, 0.050, 0);
    assert_near(c->rise_s, 0.004, 0);
    assert_true(find_channel(&l, "cpu0.package")->in_total);
    assert_int_equal(find_channel(&l, "sim1.dram")->group, JOULET_GROUP_DRAM);
    close_sensors(&l);
}

/* A GPU with a counter and two power readings of one truth; what the seed drew is told, and what is given wins. */
static void devices_of_the_table(void **state)
{
    struct sensor_list l;
    struct sim *s = open_sim(&l, "250;device=nvml-counter+nvml-a100+nvml-average;seed=7;name=gpu");
    (void)state;
    assert_int_equal(l.items[0]->n_channels, 3);
    const struct joulet_channel *c = find_channel(&l, "gpu"), *power = find_channel(&l, "gpu.nvml-a100");
    assert_int_equal(c->quantity, JOULET_ENERGY);
    assert_int_equal(c->group, JOULET_GROUP_GPU);
    assert_true(c->in_total && !power->in_total);
    assert_string_equal(power->parent, "gpu");
    assert_string_equal(power->device, "simulated nvml-counter+nvml-a100+nvml-average, seed 7");
    assert_near(c->lag_s, 0.025, 0);
    assert_near(c->u_lag_s, 0.014, 0);
    assert_near(power->window_s, 0.025, 0);
    assert_near(find_channel(&l, "gpu.nvml-average")->window_s, 1, 0);
    double lag = atof(find_fact(&l, "sim0", "true_lag_s"));
    assert_near(lag, s->outlets[0].device.m.lag_s, 1e-6);
    assert_true(find_fact(&l, "sim0", "true_lag_s.nvml-a100"));
    assert_near((double)reading_at(s, 1, 2).value * 1e-6, 250, 2);
    close_sensors(&l);

    s = open_sim(&l, "250;device=nvml-ampere;period=50ms;lag=10ms;skew=5ms;group=other;spec=0.01;quantum=1");
    c = &l.items[0]->channels[0];
    assert_int_equal(c->group, JOULET_GROUP_OTHER);
    assert_true(c->contiguous && c->period_s == 0.05 && c->window_s == 0.05 && c->lag_s == 0.01 && c->spec == 0.01);
    assert_near(s->outlets[0].device.m.lag_s, 0.015, 1e-12);
    assert_near(s->outlets[0].device.m.window_s, 0.05, 0);
    assert_true(reading_at(s, 0, 1).value % 1000000 == 0);
    close_sensors(&l);
}

/* Every preset, read through the whole reader: its energy is that of the curve, whatever way the device tells it. */
static void every_preset_can_be_read(void **state)
{
    (void)state;
    for (const struct sim_preset *p = sim_presets; p->name; p++) {
        struct sensor_list l;
        char *expr = jl_strf("120;device=%s;seed=5", p->name);
        struct sim *s = open_sim(&l, expr);
        struct joulet_channel *c = &l.items[0]->channels[0];
        double e = 0, last_s = -1;
        int64_t first_uj = -1, first_ns = 0, last_ns = 0;
        for (double t = 0.1; t < 20; t += 0.004) {
            struct sensor_reading r = reading_at(s, 0, t);
            double now = r.t_ns ? jl_s(r.t_ns - s->open_ns) : t;
            assert_int_equal(r.status, JOULET_OK);
            if (r.reset)
                fail_msg("%s restarted at %g s", p->name, t);
            if (!r.has || (r.t_ns && r.t_ns == last_ns))
                continue;
            assert_true(now >= last_s);
            if (c->quantity == JOULET_POWER)
                assert_near((double)r.value * 1e-6, 120, 2.5);
            else if (first_uj < 0)
                first_uj = r.value, first_ns = r.t_ns ? r.t_ns : s->open_ns + jl_ns(t);
            else
                e = (double)(r.value - first_uj) * 1e-6 / (now - jl_s(first_ns - s->open_ns));
            last_s = now;
            last_ns = r.t_ns;
        }
        if (c->quantity == JOULET_ENERGY)
            assert_near(e, 120, 120 * (c->period_s > 1 ? 1e-6 : 0.12 / 19.9 + 0.0002));
        close_sensors(&l);
        free(expr);
    }
}

/* Read at random moments, as polls, or without pause, as at an event: half of all values are nonsense, and it is never called a
 * restart. */
static void nonsense_is_no_restart(void **state)
{
    static const char *const kinds[] = {"100", "100;group=gpu", "100;device=amdgpu-energy", "100;device=rapl-small-range"};
    (void)state;
    for (size_t k = 0; k < JL_COUNT(kinds); k++)
        for (int seed = 1; seed <= 20; seed++) {
            struct sensor_list l;
            char *expr = jl_strf("%s;garbage=0.5;seed=%d", kinds[k], seed);
            struct sim *s = open_sim(&l, expr);
            double t = 0, begun_s = NAN, begun_j = 0;
            for (int i = 0; i < 600; i++, t += i % 100 < 50 ? 0.01 : 1e-4) {
                struct sensor_reading r = reading_at(s, 0, t);
                double j = (double)r.value * 1e-6;
                if (r.reset)
                    fail_msg("%s: a restart at %g s", expr, t);
                if (r.has && isnan(begun_s))
                    begun_s = t, begun_j = j;
                else if (r.has)
                    assert_near(j - begun_j, 100 * (t - begun_s), 100 * 2.5 * l.items[0]->channels[0].period_s + 0.01);
            }
            assert_false(isnan(begun_s));
            close_sensors(&l);
            free(expr);
        }
}

/* Nonsense is a failed read and the counter goes on after it; a counter that goes back has restarted. */
static void nonsense_and_restarts(void **state)
{
    struct sensor_list l;
    int failed = 0, resets = 0;
    (void)state;
    struct sim *s = open_sim(&l, "100;device=amdgpu-energy;garbage=0.02;seed=3");
    assert_false(reading_at(s, 0, 0.0).has); /* it might be nonsense */
    double first = counter_j(s, 0.01) - 1;
    for (int i = 2; i < 1000; i++) {
        struct sensor_reading r = reading_at(s, 0, i * 0.01);
        failed += r.status == JOULET_FORMAT;
        resets += r.reset;
        if (r.status == JOULET_OK)
            assert_near((double)r.value * 1e-6 - first, i, 0.5);
    }
    assert_true(failed > 5 && failed < 60);
    assert_int_equal(resets, 0);
    close_sensors(&l);

    s = open_sim(&l, "100;device=amdgpu-power;garbage=0.1;seed=3");
    for (int i = failed = 0; i < 300; i++) {
        struct sensor_reading r = reading_at(s, 0, i * 0.01);
        failed += r.status == JOULET_FORMAT;
        assert_true(r.status == JOULET_FORMAT || llabs(r.value - 100000000) < 3000000);
    }
    assert_true(failed > 10 && failed < 60);
    close_sensors(&l);

    s = open_sim(&l, "100;device=nvml-counter-100;back=5;seed=3");
    for (int i = 1; i < 1000; i++)
        resets += reading_at(s, 0, i * 0.01).reset;
    assert_int_equal(resets, 1);
    close_sensors(&l);
}

static void nothing_to_play(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct sensor_list l;
    struct joulet_error err;
    (void)state;
    assert_int_equal(open_sensors(&l, "sim", &opt, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "--sim"));
    opt.sim = "file:/nonexistent/curve";
    assert_int_equal(open_sensors(&l, "sim", &opt, &err), JOULET_NOT_FOUND);
    assert_int_equal(l.n, 0);
}

/* ---- following a file -------------------------------------------------------------------------------------------------- */

static void a_followed_file(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "virtual");
    char *path = jl_strf("%s/power", m.dir), *expr = jl_strf("follow:%s;lag=0;jitter=0", path);
    struct sim *s = open_sim(&l, expr); /* the file comes later */
    assert_true(tail(s));
    assert_near(counter_j(s, 1), 0, 0);
    FILE *f = fopen(path, "a");
    assert_non_null(f);
    fprintf(f, "# a simulated engine\n%lld 100\n%lld 3", (long long)(s->open_ns + 2 * JL_NS_PER_S),
            (long long)(s->open_ns + 4 * JL_NS_PER_S));
    fflush(f);
    assert_true(tail(s)); /* the second line is not whole: it says 3 now and will say 300 */
    assert_near(counter_j(s, 3), 100, 0.2);
    assert_near(counter_j(s, 5), 300, 0.2);
    fprintf(f, "00\n");
    fflush(f);
    assert_true(tail(s)); /* came late: made up for at the next update */
    assert_near(counter_j(s, 6), 200 + 600, 0.4);
    fprintf(f, "nonsense\n%lld 0\n", (long long)(s->open_ns + 7 * JL_NS_PER_S));
    fflush(f);
    assert_false(tail(s)); /* told once, the rest is taken in */
    assert_true(tail(s));
    assert_near(counter_j(s, 9), 1100, 0.4);
    fclose(f);
    close_sensors(&l);
    machine_close(&m);
    free(path);
    free(expr);
}

static void a_played_file(void **state)
{
    struct machine m;
    struct sensor_list l;
    (void)state;
    machine_open(&m, "virtual");
    machine_write(&m, "curve", "0 60\n2 300\n5 60\n");
    char *expr = jl_strf("%s/curve", m.dir);
    struct sim *s = open_sim(&l, expr);
    assert_near(counter_j(s, 10), 120 + 900 + 300, 0.2);
    close_sensors(&l);
    machine_close(&m);
    free(expr);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(good_expressions),
        cmocka_unit_test(bad_expressions_show_the_place),
        cmocka_unit_test(steps_are_integrated_exactly),
        cmocka_unit_test(a_slow_rise),
        cmocka_unit_test(a_full_curve_forgets_its_past_only),
        cmocka_unit_test(curves_in_files),
        cmocka_unit_test(hundred_watts_for_ten_seconds),
        cmocka_unit_test(values_change_at_updates_only),
        cmocka_unit_test(a_seed_reproduces),
        cmocka_unit_test(power_is_the_mean_of_its_window),
        cmocka_unit_test(gain_and_noise),
        cmocka_unit_test(faults_of_the_device),
        cmocka_unit_test(channels_tell_what_was_asked),
        cmocka_unit_test(devices_of_the_table),
        cmocka_unit_test(every_preset_can_be_read),
        cmocka_unit_test(nonsense_is_no_restart),
        cmocka_unit_test(nonsense_and_restarts),
        cmocka_unit_test(nothing_to_play),
        cmocka_unit_test(a_followed_file),
        cmocka_unit_test(a_played_file),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
