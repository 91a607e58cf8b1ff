/* The live meter on devices of known power: what is used, what is read, and that the joules are those of the curve. */
#include "tests/meter_live/fake.h"

#define MS 1000000LL

/* The truth lies between the guaranteed bounds, whatever the machine did meanwhile. */
static void check_bounds(const struct joulet_energy *e, double truth)
{
    if (!(e->min_j <= truth + 1e-6 && truth <= e->max_j + 1e-6 && e->gross_j >= 0))
        fail_msg("gross %g in %g .. %g, truth %g", e->gross_j, e->min_j, e->max_j, truth);
}

/* Every sample tells when its value appeared, to within its half-width. */
static void check_samples(const struct joulet_trace *t, const struct fake_plan *p)
{
    double step_uj = p->watts * jl_s(p->period_ns) * 1e6;
    for (size_t i = 0; i < t->n; i++) {
        const struct joulet_sample *s = &t->samples[i];
        if (s->flags & (JOULET_SAMPLE_FAILED | JOULET_SAMPLE_LAST))
            continue;
        int64_t k = (int64_t)((double)s->value / step_uj + 0.5), truth = p->origin_ns + k * p->period_ns;
        if (llabs(s->t_ns - truth) > (int64_t)s->hw_ns + 1)
            fail_msg("sample %zu is off by %lld ns, half-width %u", i, (long long)(s->t_ns - truth), s->hw_ns);
        assert_true(i == 0 || s->t_ns > t->samples[i - 1].t_ns);
    }
}

static void test_constant_power(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_run(30 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(200 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
    check_bounds(&e, fake_truth(&fake_plans[0], from, to));
    assert_int_equal(e.provenance, JOULET_MEASURED);
    assert_true(isnan(e.net_j)); /* the meter was not open a second before */
    struct joulet_trace t = fake_trace(m, 0);
    check_samples(&t, &fake_plans[0]);
    joulet_trace_release(&t);
    joulet_close(m);
}

static void test_step(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 20, .watts_after = 300};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_run(30 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(50 * MS);
    atomic_store(&fake_plans[0].step_ns, jl_mono_ns() + 5 * MS); /* ahead: what was shown stays true */
    fake_run(50 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
    check_bounds(&e, fake_truth(&fake_plans[0], from, to));
    joulet_close(m);
}

static void test_slow_counter(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = 20 * MS, .watts = 100};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_run(300 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(300 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
    check_bounds(&e, fake_truth(&fake_plans[0], from, to));
    struct joulet_trace t = fake_trace(m, 0);
    check_samples(&t, &fake_plans[0]);
    joulet_trace_release(&t);
    joulet_close(m);
}

static void test_power_readings(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_POWER, .period_ns = 10 * MS, .watts = 50};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_run(100 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(200 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
    double truth = fake_truth(&fake_plans[0], from, to);
    assert_near(e.gross_j, truth, 0.02 * truth + 50 * 0.02); /* readings that stay equal are updates too */
    struct joulet_trace t = fake_trace(m, 0);
    size_t repeats = 0;
    for (size_t i = 0; i < t.n; i++) {
        repeats += (t.samples[i].flags & JOULET_SAMPLE_REPEAT) != 0;
        assert_int_equal(t.samples[i].value, 50000000);
    }
    assert_true(repeats >= 1);
    joulet_trace_release(&t);
    joulet_close(m);
}

static void test_total(void **state)
{
    struct joulet_energy e, parts[4];
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100};
    fake_plans[1] = (struct fake_plan){.id = "b", .period_ns = MS, .watts = 30};
    fake_plans[2] = (struct fake_plan){.id = "c", .sensor = "other", .period_ns = MS, .watts = 7};
    fake_plans[3] = (struct fake_plan){.id = "inside", .period_ns = MS, .watts = 50, .off_total = true};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    assert_int_equal(joulet_channel_count(m), 4);
    fake_run(30 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(100 * MS);
    joulet_mark to = joulet_mark_now(m);
    fake_run(50 * MS); /* so that no more samples come in around the end */
    assert_int_equal(joulet_energy_between(m, JOULET_TOTAL, from, to, &e, &err), JOULET_OK);
    double sum = 0;
    for (size_t i = 0; i < 4; i++) {
        assert_int_equal(joulet_energy_between(m, i, from, to, &parts[i], &err), JOULET_OK);
        check_bounds(&parts[i], fake_truth(&fake_plans[i], from, to));
        sum += i < 3 ? parts[i].gross_j : 0;
    }
    assert_near(e.gross_j, sum, 0.02 * sum);
    assert_true(e.min_j <= 137 * jl_s(to - from) && 137 * jl_s(to - from) <= e.max_j);
    joulet_close(m);
}

static void test_wrong_calls(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    struct joulet_channel c;
    struct joulet_trace t;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1, .gauge = true, .off_total = true};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark now = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, now, now, &e, &err), JOULET_USAGE);
    assert_true(isnan(e.gross_j) && isnan(e.net_j));
    assert_int_equal(joulet_energy_between(m, 2, now - 5, now, &e, &err), JOULET_USAGE);
    assert_int_equal(joulet_energy_between(m, 1, now - 5, now, &e, &err), JOULET_USAGE); /* a temperature */
    assert_non_null(strstr(err.message, "temperature"));
    assert_int_equal(joulet_energy_between(m, JOULET_TOTAL, now - 5, now, &e, &err), JOULET_NO_SENSOR);
    assert_int_equal(joulet_channel_get(m, 2, &c), JOULET_USAGE);
    assert_int_equal(joulet_trace_copy(m, 2, 0, 1, &t, &err), JOULET_USAGE);
    assert_null(t.samples);
    assert_int_equal(joulet_trace_copy(m, 0, 5, 1, &t, &err), JOULET_USAGE);
    joulet_close(m);
    joulet_close(NULL);
}

/* ---- what is used ------------------------------------------------------------------------------------------------------ */

static void test_nothing_there(void **state)
{
    struct joulet *m;
    struct joulet_error err;
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_absent), NULL, &err), JOULET_NO_SENSOR);
    assert_null(m);
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_denied), NULL, &err), JOULET_NO_SENSOR);
    assert_non_null(strstr(err.message, "use sudo")); /* the problem is the remedy */
    opt.sensors = "fake";
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_quick, &fake_absent), &opt, &err), JOULET_NO_SENSOR);
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_absent), NULL, NULL), JOULET_NO_SENSOR);
}

static void test_options_are_checked(void **state)
{
    struct joulet *m;
    struct joulet_error err;
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    opt.sensors = "fake,fike";
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_quick, &fake_absent), &opt, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "\"fike\""));
    assert_non_null(strstr(err.message, "fake, absent"));
    opt = (struct joulet_options){0};
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_quick), &opt, &err), JOULET_USAGE);
    opt = (struct joulet_options)JOULET_OPTIONS_INIT;
    opt.interval_ns = 1000;
    assert_int_equal(meter_open(&m, FAKE_TABLE(&fake_quick), &opt, &err), JOULET_USAGE);
}

/* A program built against an older header passes a shorter struct: what it does not know has its default. */
static void test_older_caller(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    opt.size = offsetof(struct joulet_options, interval_ns);
    opt.sensors = "fake";
    opt.interval_ns = 1; /* beyond its size: not looked at */
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_absent, &fake_quick), &opt);
    assert_int_equal(joulet_channel_count(m), 1);
    joulet_close(m);
}

static void test_problems_and_facts(void **state)
{
    struct joulet_problem problem;
    struct joulet_fact fact;
    struct joulet_process process;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    fake_plans[1] = (struct fake_plan){.id = "b", .period_ns = MS, .watts = 1};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_denied, &fake_quick), NULL);
    assert_int_equal(joulet_problem_count(m), 1);
    assert_int_equal(joulet_problem_get(m, 0, &problem), JOULET_OK);
    assert_int_equal(problem.status, JOULET_PERMISSION);
    assert_string_equal(problem.sensor, "denied");
    assert_string_equal(problem.message, "/some/file may not be read: use sudo");
    assert_int_equal(joulet_problem_get(m, 1, &problem), JOULET_USAGE);
    assert_int_equal(joulet_fact_count(m), 2);
    assert_int_equal(joulet_fact_get(m, 1, &fact), JOULET_OK);
    assert_string_equal(fact.device, "b");
    assert_int_equal(joulet_fact_get(m, 2, &fact), JOULET_USAGE);
    assert_int_equal(joulet_processes(m, &process, 1), 2); /* there are two, there is room for one */
    assert_int_equal(process.pid, 7);
    assert_int_equal(joulet_processes(m, NULL, 0), 2);
    joulet_close(m);
}

/* The estimate stands in only when neither a file nor a library measures. */
static void test_fallback(void **state)
{
    struct joulet_channel c;
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet *m;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    atomic_store(&fake_library_go, true);
    m = fake_meter(FAKE_TABLE(&fake_absent, &fake_empty_library, &fake_estimate), NULL);
    assert_int_equal(joulet_channel_count(m), 1);
    joulet_channel_get(m, 0, &c);
    assert_string_equal(c.sensor, "tdp");
    assert_int_equal(joulet_problem_count(m), 1); /* the library's */
    joulet_close(m);
    m = fake_meter(FAKE_TABLE(&fake_library, &fake_estimate), NULL);
    assert_int_equal(joulet_channel_count(m), 1);
    joulet_channel_get(m, 0, &c);
    assert_string_equal(c.sensor, "library");
    joulet_close(m);
    m = fake_meter(FAKE_TABLE(&fake_quick, &fake_estimate), NULL);
    assert_int_equal(joulet_channel_count(m), 1);
    joulet_close(m);
    opt.sensors = "tdp"; /* named: used, whatever else there is */
    m = fake_meter(FAKE_TABLE(&fake_quick, &fake_estimate), &opt);
    joulet_channel_get(m, 0, &c);
    assert_string_equal(c.sensor, "tdp");
    joulet_close(m);
}

/* A vendor library that takes its time holds nobody up, and its channels come after those that are there. */
static void test_library_joins_later(void **state)
{
    struct joulet_channel before, after;
    struct joulet_error err;
    struct joulet_energy e;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .by = "fake", .period_ns = MS, .watts = 1};
    fake_plans[1] = (struct fake_plan){.id = "b", .by = "library", .period_ns = MS, .watts = 1};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_library, &fake_quick), NULL);
    assert_int_equal(joulet_channel_count(m), 1);
    assert_int_equal(joulet_wait_ready(m, 0.001, &err), JOULET_LIMIT);
    joulet_channel_get(m, 0, &before);
    joulet_mark from = joulet_mark_now(m);
    fake_await(&fake_plans[0], 10);
    joulet_mark to = joulet_mark_now(m);
    atomic_store(&fake_library_go, true);
    assert_int_equal(joulet_wait_ready(m, 100, &err), JOULET_OK);
    assert_int_equal(joulet_channel_count(m), 2);
    joulet_channel_get(m, 0, &after);
    assert_ptr_equal(before.id, after.id);
    joulet_channel_get(m, 1, &after);
    assert_string_equal(after.sensor, "library");
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
    joulet_close(m);
}

static void test_describe_only(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_stats stats;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .by = "fake", .period_ns = MS, .watts = 1};
    fake_plans[1] = (struct fake_plan){.id = "b", .by = "library", .period_ns = MS, .watts = 1};
    atomic_store(&fake_library_go, true);
    opt.no_thread = true;
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_denied, &fake_quick, &fake_library), &opt);
    assert_int_equal(joulet_channel_count(m), 2); /* libraries too, at once */
    assert_int_equal(joulet_problem_count(m), 1);
    assert_int_equal(atomic_load(&fake_plans[0].reads), 0);
    assert_int_equal(joulet_stats_get(m, &stats), JOULET_OK);
    assert_int_equal(stats.reads, 0);
    assert_true(isnan(stats.first_sample_s));
    joulet_close(m);
    fake_plans[0].id = fake_plans[1].id = NULL; /* nothing at all: its problems can still be asked for */
    m = fake_meter(FAKE_TABLE(&fake_denied, &fake_absent), &opt);
    assert_int_equal(joulet_problem_count(m), 1);
    joulet_close(m);
}

static void test_redirected_roots(void **state)
{
    struct joulet_channel c;
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    setenv("JOULET_SYSFS", "/nowhere", 1);
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    joulet_channel_get(m, 0, &c);
    assert_int_equal(c.provenance, JOULET_SIMULATED);
    joulet_close(m);
    opt.trust_root = true;
    m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    joulet_channel_get(m, 0, &c);
    assert_int_equal(c.provenance, JOULET_MEASURED);
    joulet_close(m);
    unsetenv("JOULET_SYSFS");
}

static void test_gauges_on_request(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1, .gauge = true};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    fake_await(&fake_plans[0], 50);
    assert_int_equal(atomic_load(&fake_plans[0].gauge_reads), 0);
    joulet_close(m);
    opt.gauges = true;
    int64_t begin = jl_mono_ns();
    m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    while (atomic_load(&fake_plans[0].gauge_reads) < 3)
        fake_await(&fake_plans[0], 10);
    struct joulet_trace t = fake_trace(m, 1);
    assert_true(t.n >= 2);
    for (size_t i = 0; i < t.n; i++)
        assert_int_equal(t.samples[i].value, 55000);
    assert_true((atomic_load(&fake_plans[0].gauge_reads) - 1) * 100 * MS <= jl_mono_ns() - begin); /* seldom */
    joulet_trace_release(&t);
    joulet_close(m);
}

/* ---- waiting and copying ------------------------------------------------------------------------------------------------- */

static void test_wait_covered(void **state)
{
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 1};
    fake_plans[1] = (struct fake_plan){.id = "still", .show = FAKE_STILL, .period_ns = 5 * MS};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark now = joulet_mark_now(m);
    assert_int_equal(joulet_wait_covered(m, now, 100, &err), JOULET_OK); /* the still one had time for two updates */
    struct joulet_trace t = fake_trace(m, 0);
    assert_true(t.n > 0 && t.samples[t.n - 1].t_ns > now);
    joulet_trace_release(&t);
    t = fake_trace(m, 1);
    assert_int_equal(t.n, 2); /* the first reading, and how long nothing has changed since */
    assert_int_equal(t.samples[1].flags, JOULET_SAMPLE_LAST);
    assert_int_equal(t.samples[1].value, t.samples[0].value);
    assert_true(t.samples[1].t_ns > now);
    joulet_trace_release(&t);
    joulet_close(m);
    m = fake_meter(FAKE_TABLE(&fake_seldom), NULL);
    assert_int_equal(joulet_wait_covered(m, joulet_mark_now(m), 0.01, &err), JOULET_TOO_SHORT);
    assert_non_null(strstr(err.message, "a gave no reading"));
    joulet_close(m);
}

static void test_old_samples_leave(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_trace t;
    struct joulet_error err;
    struct joulet_stats stats;
    struct joulet_energy e;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_READS, .period_ns = 100000, .watts = 1};
    opt.memory_bytes = 4 * sizeof(struct ring_chunk);
    opt.interval_ns = 200000;
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    joulet_mark from = joulet_mark_now(m), to = from + 1000;
    do {
        fake_await(&fake_plans[0], 100);
        joulet_stats_get(m, &stats);
        assert_true(stats.memory_bytes <= opt.memory_bytes);
    } while (stats.dropped < 500);
    assert_int_equal(joulet_trace_copy(m, 0, from, to, &t, &err), JOULET_NO_DATA);
    assert_null(t.samples);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_NO_DATA);
    assert_true(isnan(e.gross_j));
    assert_true(e.flags & JOULET_FLAG_TRACE_LOST);
    joulet_close(m);
}

static void test_stats(void **state)
{
    struct joulet_stats stats;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_READS, .period_ns = 100000};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_stats_get(m, &stats);
    assert_true(stats.reads >= 1); /* the first sample is in when the meter is open */
    assert_true(stats.first_sample_s >= 0);
    assert_int_equal(stats.failed, 0);
    do {
        fake_await(&fake_plans[0], 10);
        joulet_stats_get(m, &stats);
    } while (stats.cpu_s <= 0);
    joulet_close(m);
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_constant_power),
        LIVE(test_step),
        LIVE(test_slow_counter),
        LIVE(test_power_readings),
        LIVE(test_total),
        LIVE(test_wrong_calls),
        LIVE(test_nothing_there),
        LIVE(test_options_are_checked),
        LIVE(test_older_caller),
        LIVE(test_problems_and_facts),
        LIVE(test_fallback),
        LIVE(test_library_joins_later),
        LIVE(test_describe_only),
        LIVE(test_redirected_roots),
        LIVE(test_gauges_on_request),
        LIVE(test_wait_covered),
        LIVE(test_old_samples_leave),
        LIVE(test_stats),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
