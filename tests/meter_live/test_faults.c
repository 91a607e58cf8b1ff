/* What sensors do wrong: failed reads, a device that leaves, late reads, restarts, a counter that stands still; and a fork. */
#include "tests/meter_live/fake.h"

#include <sys/wait.h>
#include <unistd.h>

#define MS 1000000LL

static size_t count(const struct joulet_trace *t, uint32_t flag)
{
    size_t n = 0;
    for (size_t i = 0; i < t->n; i++)
        n += (t->samples[i].flags & flag) != 0;
    return n;
}

static struct joulet_stats stats_of(struct joulet *m)
{
    struct joulet_stats s;
    assert_int_equal(joulet_stats_get(m, &s), JOULET_OK);
    return s;
}

/* Every 2nd, 3rd, 7th, 50th read fails: a longer interval, never a zero, and the truth stays between the bounds. */
static void test_failed_reads(void **state)
{
    static const int every[] = {2, 3, 7, 50};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(every); i++) {
        struct joulet_energy e;
        struct joulet_error err;
        fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100, .fail_every = every[i]};
        struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
        fake_run(30 * MS);
        joulet_mark from = joulet_mark_now(m);
        fake_run(60 * MS);
        joulet_mark to = joulet_mark_now(m);
        fake_await(&fake_plans[0], 100);
        assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK);
        double truth = fake_truth(&fake_plans[0], from, to);
        assert_true(e.min_j <= truth + 1e-6 && truth <= e.max_j + 1e-6);
        struct joulet_trace t = fake_trace(m, 0);
        int64_t last = -1;
        for (size_t k = 0; k < t.n; k++) {
            if (t.samples[k].flags & JOULET_SAMPLE_FAILED)
                continue;
            assert_true(t.samples[k].value >= last);
            last = t.samples[k].value;
        }
        assert_true(count(&t, JOULET_SAMPLE_FAILED) >= 1);
        assert_true(stats_of(m).failed >= count(&t, JOULET_SAMPLE_FAILED));
        joulet_trace_release(&t);
        joulet_close(m);
    }
}

static void test_every_read_fails(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100, .fail_every = 1};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark from = joulet_mark_now(m);
    fake_await(&fake_plans[0], 30);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_wait_covered(m, to, 100, &err), JOULET_OK); /* there is nothing to wait for */
    struct joulet_trace t = fake_trace(m, 0);
    assert_true(t.n >= 10);
    assert_int_equal(count(&t, JOULET_SAMPLE_FAILED), t.n);
    joulet_trace_release(&t);
    assert_true(isnan(stats_of(m).first_sample_s));
    (void)joulet_energy_between(m, 0, from, to, &e, &err);
    assert_true(isnan(e.gross_j) && isnan(e.net_j)); /* unknown, not 0 */
    joulet_close(m);
}

/* Reads 1..60 are good, then the device is gone: the part until then is kept, and it is looked for seldom. */
static void test_device_leaves(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    struct joulet_problem problem;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100, .gone_after = 60};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark from = jl_mono_ns(); /* a mark would use reads up */
    while (joulet_problem_count(m) == 0)
        fake_run(MS);
    fake_await(&fake_plans[0], 2);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_GONE);
    assert_non_null(strstr(err.message, "a left"));
    assert_true(e.flags & JOULET_FLAG_GONE);
    assert_true(e.gross_j >= 0);
    assert_true(e.gross_j <= 100 * jl_s(to - from) * 1.05 + 0.1);
    assert_int_equal(joulet_energy_between(m, JOULET_TOTAL, from, to, &e, &err), JOULET_GONE);
    assert_int_equal(joulet_problem_count(m), 1);
    joulet_problem_get(m, 0, &problem);
    assert_int_equal(problem.status, JOULET_GONE);
    struct joulet_trace t = fake_trace(m, 0);
    assert_true(count(&t, JOULET_SAMPLE_FAILED) >= 1 && t.n > count(&t, JOULET_SAMPLE_FAILED));
    for (size_t i = 1; i < t.n; i++) /* once it has failed nothing good comes after */
        assert_true((t.samples[i].flags & JOULET_SAMPLE_FAILED) || !(t.samples[i - 1].flags & JOULET_SAMPLE_FAILED));
    joulet_trace_release(&t);
    assert_true(atomic_load(&fake_plans[0].reads) < 60 + 4 + 2 + 60); /* once a second: a minute would be needed for more */
    joulet_close(m);
}

static void test_one_of_two_leaves(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100, .gone_after = 60};
    fake_plans[1] = (struct fake_plan){.id = "b", .period_ns = MS, .watts = 10};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark from = jl_mono_ns(); /* a mark would use reads up */
    while (joulet_problem_count(m) == 0)
        fake_run(MS);
    fake_run(30 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 1, from, to, &e, &err), JOULET_OK);
    double truth = fake_truth(&fake_plans[1], from, to);
    assert_true(e.min_j <= truth + 1e-6 && truth <= e.max_j + 1e-6);
    assert_int_equal(joulet_energy_between(m, JOULET_TOTAL, from, to, &e, &err), JOULET_GONE);
    assert_true(e.gross_j >= truth * 0.9);
    joulet_close(m);
}

static void test_late_reads(void **state)
{
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = 100000, .watts = 100, .late_every = 5};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_await(&fake_plans[0], 50);
    struct joulet_trace t = fake_trace(m, 0);
    assert_true(count(&t, JOULET_SAMPLE_LATE) >= 9);
    for (size_t i = 0; i < t.n; i++)
        if (t.samples[i].flags & JOULET_SAMPLE_LATE)
            assert_true(t.samples[i].hw_ns >= 1500000); /* half of the 3 ms that it took */
    assert_true(stats_of(m).late >= count(&t, JOULET_SAMPLE_LATE));
    joulet_trace_release(&t);
    joulet_close(m);
}

static void test_restart(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100, .reset_at = 40};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    joulet_mark from = jl_mono_ns();
    fake_await(&fake_plans[0], 80);
    joulet_mark to = jl_mono_ns();
    struct joulet_trace t = fake_trace(m, 0);
    assert_int_equal(count(&t, JOULET_SAMPLE_RESET), 1);
    joulet_trace_release(&t);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_RESET);
    assert_true(isnan(e.gross_j));
    assert_true(e.flags & JOULET_FLAG_RESET);
    joulet_close(m);
}

/* The mark falls on the read that tells of a restart: it must not be lost in the search for an update. */
static void test_restart_while_locking(void **state)
{
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_READS, .period_ns = 20 * MS, .reset_at = 200};
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    opt.interval_ns = 60 * JL_NS_PER_S; /* only marks read */
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), &opt);
    while (atomic_load(&fake_plans[0].reads) < 210) {
        joulet_mark_now(m);
        fake_run(MS);
    }
    joulet_mark_now(m);
    struct joulet_trace t = fake_trace(m, 0);
    assert_int_equal(count(&t, JOULET_SAMPLE_RESET), 1);
    joulet_trace_release(&t);
    joulet_close(m);
}

static void test_frozen(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .show = FAKE_STILL, .period_ns = MS / 10};
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick), NULL);
    fake_run(300 * MS);
    joulet_mark from = joulet_mark_now(m);
    fake_run(300 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_FROZEN);
    assert_true(isnan(e.gross_j));
    joulet_close(m);
}

/* ---- fork ---------------------------------------------------------------------------------------------------------------- */

#define REFUSED(call) ((call) != JOULET_FORKED)

/* In the child: every call refuses, and closing frees without a thread to join. Returns what went wrong, as an exit code. */
static int child(struct joulet *m)
{
    struct joulet_channel c;
    struct joulet_problem p;
    struct joulet_fact f;
    struct joulet_stats s;
    struct joulet_trace t;
    struct joulet_energy e;
    struct joulet_error err = {0};
    int wrong = 0;
    joulet_mark_now(m);
    joulet_mark_at(m, 5);
    wrong += joulet_channel_count(m) != 0 || joulet_problem_count(m) != 0 || joulet_fact_count(m) != 0;
    wrong += joulet_processes(m, NULL, 0) != 0;
    wrong += REFUSED(joulet_channel_get(m, 0, &c)) + REFUSED(joulet_problem_get(m, 0, &p)) + REFUSED(joulet_fact_get(m, 0, &f));
    wrong +=
        REFUSED(joulet_stats_get(m, &s)) + REFUSED(joulet_wait_ready(m, 1, &err)) + REFUSED(joulet_wait_covered(m, 1, 1, &err));
    wrong += REFUSED(joulet_trace_copy(m, 0, 1, 2, &t, &err)) + REFUSED(joulet_energy_between(m, 0, 1, 2, &e, &err));
    wrong += err.message[0] == '\0' || !isnan(e.gross_j);
    joulet_close(m);
    return wrong;
}

static void test_fork(void **state)
{
    struct joulet_energy e;
    struct joulet_error err;
    int status;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .by = "fake", .period_ns = MS, .watts = 100};
    fake_plans[1] = (struct fake_plan){.id = "b", .by = "library", .period_ns = MS, .watts = 100};
    atomic_store(&fake_library_go, true);
    struct joulet *m = fake_meter(FAKE_TABLE(&fake_quick, &fake_library), NULL);
    assert_int_equal(joulet_wait_ready(m, 100, &err), JOULET_OK);
    fake_run(20 * MS);
    joulet_mark from = joulet_mark_now(m);
    pid_t pid = fork();
    if (pid == 0)
        _exit(child(m));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
    fake_run(20 * MS);
    joulet_mark to = joulet_mark_now(m);
    assert_int_equal(joulet_energy_between(m, 0, from, to, &e, &err), JOULET_OK); /* the parent's goes on */
    double truth = fake_truth(&fake_plans[0], from, to);
    assert_true(e.min_j <= truth + 1e-6 && truth <= e.max_j + 1e-6);
    joulet_close(m);
}

/* A child that opens a meter of its own has one that works. */
static void test_meter_of_a_child(void **state)
{
    int status;
    (void)state;
    fake_plans[0] = (struct fake_plan){.id = "a", .period_ns = MS, .watts = 100};
    pid_t pid = fork();
    if (pid == 0) {
        struct joulet *own;
        if (meter_open(&own, FAKE_TABLE(&fake_quick), NULL, NULL) != JOULET_OK)
            _exit(1);
        fake_await(&fake_plans[0], 10);
        bool ok = joulet_channel_count(own) == 1;
        joulet_close(own);
        _exit(ok ? 0 : 2);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

#define LIVE(f) cmocka_unit_test_setup_teardown(f, fake_setup, fake_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        LIVE(test_failed_reads), LIVE(test_every_read_fails), LIVE(test_device_leaves),         LIVE(test_one_of_two_leaves),
        LIVE(test_late_reads),   LIVE(test_restart),          LIVE(test_restart_while_locking), LIVE(test_frozen),
        LIVE(test_fork),         LIVE(test_meter_of_a_child),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
