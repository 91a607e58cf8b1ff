/* From a known power to the energy of the whole meter, through the production readers of perf events and of a management
 * controller: what was drawn lies within the guaranteed bounds of the counter, and the power of the controller is the one that
 * was played. */
#include "tests/base/test.h"
#include "tests/sensors/machine.h"
#include "tests/sensors/stand_in.h"

#include <errno.h>
#include <string.h>

static const double steps[][2] = {{0.4, 250}, {0.9, 90}};

static size_t channel(struct joulet *m, const char *id, struct joulet_channel *c)
{
    for (size_t i = 0; i < joulet_channel_count(m); i++)
        if (joulet_channel_get(m, i, c) == JOULET_OK && strcmp(c->id, id) == 0)
            return i;
    fail_msg("there is no %s", id);
    return 0;
}

static void counts_of_perf_events(void **state)
{
    static const double spans[][2] = {{0.3, 1.1}, {0.4, 0.9}, {0.5, 0.7}};
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_channel c;
    struct joulet_error err;
    struct machine machine;
    struct joulet *m;
    (void)state;
    machine_open(&machine, "perf-desktop");
    stand_in_begin(60);
    stand_in.steps = steps;
    stand_in.n_steps = 2;
    opt.sensors = "perf";
    if (joulet_open(&m, &opt, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    jl_sleep_until(stand_in.begin_ns + jl_ns(1.3));
    size_t package = channel(m, "cpu0.package", &c);
    assert_int_equal(c.provenance, JOULET_SIMULATED);
    for (size_t i = 0; i < JL_COUNT(spans); i++) {
        struct joulet_energy e;
        joulet_mark from = stand_in.begin_ns + jl_ns(spans[i][0]), to = stand_in.begin_ns + jl_ns(spans[i][1]);
        double truth = stand_in_energy(to) - stand_in_energy(from);
        if (joulet_energy_between(m, package, from, to, &e, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        if (!(e.min_j - 1e-9 <= truth && truth <= e.max_j + 1e-9))
            fail_msg("%.6f J were drawn, not %.6f .. %.6f J (%.6f)", truth, e.min_j, e.max_j, e.gross_j);
        assert_true(joulet_energy_between(m, JOULET_TOTAL, from, to, &e, &err) == JOULET_OK && e.gross_j > 0);
    }
    joulet_close(m);
    assert_int_equal(stand_in.opened, stand_in.closed);
    stand_in_end();
    machine_close(&machine);
}

/* It stands beside an estimate unless it is asked for. */
static void a_controller_counts_when_asked_for(void **state)
{
    static const char *const sensors[] = {NULL, "ipmi"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(sensors); i++) {
        struct joulet_options opt = JOULET_OPTIONS_INIT;
        struct joulet_channel c, other;
        struct joulet_error err;
        struct machine machine;
        struct joulet *m;
        machine_open(&machine, "virtual");
        stand_in_begin(312);
        opt.sensors = sensors[i];
        if (joulet_open(&m, &opt, &err) != JOULET_OK || joulet_wait_ready(m, 10, &err) != JOULET_OK)
            fail_msg("%s", err.message);
        channel(m, "server0.power", &c);
        assert_int_equal(c.in_total, sensors[i] != NULL);
        if (!sensors[i]) {
            channel(m, "cpu0.estimate", &other);
            assert_true(other.in_total);
        }
        joulet_close(m);
        assert_int_equal(stand_in.opened, stand_in.closed);
        stand_in_end();
        machine_close(&machine);
    }
}

/* Someone without rights at a server: what it lacks makes no total partial. */
static void a_closed_controller_takes_nothing_away(void **state)
{
    struct joulet_options opt = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet_energy e;
    struct joulet_problem p;
    struct machine machine;
    struct joulet *m;
    (void)state;
    machine_open(&machine, "perf-desktop");
    stand_in_begin(312);
    stand_in.controller_error = EACCES;
    if (joulet_open(&m, &opt, &err) != JOULET_OK || joulet_wait_ready(m, 10, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    size_t refused = 0;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        refused += joulet_problem_get(m, i, &p) == JOULET_OK && strcmp(p.sensor, "ipmi") == 0 && p.status == JOULET_PERMISSION;
    assert_int_equal(refused, 1);
    joulet_mark now = joulet_now();
    jl_sleep_until(now + 100000000);
    assert_int_equal(joulet_energy_between(m, JOULET_TOTAL, now, now + 50000000, &e, &err), JOULET_OK);
    assert_false(e.flags & JOULET_FLAG_PARTIAL);
    joulet_close(m);
    stand_in_end();
    machine_close(&machine);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(counts_of_perf_events),
        cmocka_unit_test(a_controller_counts_when_asked_for),
        cmocka_unit_test(a_closed_controller_takes_nothing_away),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
