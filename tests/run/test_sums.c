/* test_sums.c - sums over requests and channels: what enters, what stays out, and that parts make the whole. */
#include "tests/run/near.h"
#include "tests/run/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static void warm_up_and_failures_stay_out(void **state)
{
    struct run r;
    struct run_sums s;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    run_sum(&r, NULL, &s);
    assert_int_equal(s.requests, 5);
    assert_int_equal(s.ok, 4);
    assert_int_equal(s.failed, 1);
    assert_int_equal(s.tokens_in, 4 * 13);
    assert_int_equal(s.tokens_out, 4 * 64);
    assert_int_equal(s.tokens_cached, 0);
    double net = 0;
    for (size_t i = 1; i < 5; i++)
        net += r.requests[i].energy.total.net_j;
    assert_near(s.energy.net_j, net, 1e-9);
    assert_near(s.prefill_s, 0.06 + 0.05 + 0.9 + 0.95, 1e-9);
    assert_near(s.decode_s, 0.64 + 0.65 + 0.7 + 0.72, 1e-9);
    assert_near(s.wall_s, s.prefill_s + s.decode_s + 4 * 0.0015, 1e-9);
    assert_near(s.power_mean_w, s.energy.gross_j / s.wall_s, 1e-9);
    assert_near(s.power_max_w, 3 * 30.2 + 1.2 * 120, 1e-9);
    assert_near(s.ttft_p50_s, (0.062 + 0.902) / 2, 1e-9);
    assert_near(s.tpot_mean_s, (0.64 + 0.65 + 0.7 + 0.72) / 64 / 4, 1e-9);
    run_release(&r);
}

static void categories_add_up(void **state)
{
    struct run r;
    struct run_sums all, part[2], none;
    (void)state;
    sample_bench(&r, SAMPLE_MIXED);
    run_sum(&r, NULL, &all);
    run_sum(&r, "short", &part[0]);
    run_sum(&r, "long", &part[1]);
    run_sum(&r, "medium", &none);
    assert_int_equal(part[0].ok + part[1].ok, all.ok);
    assert_near(part[0].energy.net_j + part[1].energy.net_j, all.energy.net_j, 1e-9);
    assert_near(part[0].prefill.gross_j + part[1].prefill.gross_j, all.prefill.gross_j, 1e-9);
    assert_int_equal(none.requests, 0);
    assert_int_equal(none.tokens_out, -1);
    assert_true(isnan(none.energy.net_j) && isnan(none.wall_s) && isnan(none.ttft_p50_s));
    run_release(&r);
}

/* What all requests drew was found together: that stands for their sum, and for nothing else. */
static void found_together_it_is_no_sum(void **state)
{
    struct run r;
    struct run_sums sum, joint, part, again;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    run_sum(&r, NULL, &sum);
    run_sum(&r, "short", &part);
    assert_false(run_is_joint(&r));
    assert_true(run_energy_from_requests(&r));
    for (size_t i = 0; i < r.energy.n_channels; i++)
        if (run_channel(&r, r.energy.channels[i].channel)->in_total)
            r.energy.channels[i].e.method = "burst-fit/1";
    r.energy.total.net_j = sum.energy.net_j + 5;
    assert_true(run_is_joint(&r));
    run_sum(&r, NULL, &joint);
    assert_near(joint.energy.net_j, sum.energy.net_j + 5, 1e-9);
    assert_near(joint.prefill.net_j, sum.prefill.net_j, 1e-9);
    run_sum(&r, "short", &again);
    assert_near(again.energy.net_j, part.energy.net_j, 0);
    run_release(&r);
}

static void a_run_without_requests_is_its_whole(void **state)
{
    struct run r;
    struct run_sums s;
    (void)state;
    sample_exec(&r, SAMPLE_SENSORS);
    run_sum(&r, NULL, &s);
    assert_near(s.energy.net_j, r.energy.total.net_j, 0);
    assert_near(s.wall_s, 12.345, 1e-9);
    assert_near(s.power_mean_w, 3 * 30.2 + 90, 1e-6);
    run_release(&r);
}

/* Each joule once: a channel that is inside another is shown but not added. */
static void only_channels_in_total_are_added(void **state)
{
    struct run r;
    struct run_energy e;
    struct joulet_energy core = sample_energy(7, 9, JOULET_MEASURED);
    (void)state;
    sample_exec(&r, SAMPLE_SENSORS);
    struct joulet_channel c = r.channels[0];
    c.id = "cpu0.core";
    c.in_total = false;
    assert_true(run_add_channel(&r, &c));
    run_energy_init(&e);
    for (size_t i = 0; i < r.energy.n_channels; i++)
        assert_true(run_energy_add_channel(&e, r.energy.channels[i].channel, &r.energy.channels[i].e));
    assert_true(run_energy_add_channel(&e, "cpu0.core", &core));
    assert_true(run_energy_add_channel(&e, "unheard.of", &core));
    run_energy_total(&r, &e);
    assert_near(e.total.net_j, r.energy.total.net_j, 1e-9);
    assert_near(e.groups[JOULET_GROUP_CPU].net_j, r.energy.channels[0].e.net_j, 1e-9);
    assert_true(e.has_group[JOULET_GROUP_DRAM]);
    assert_false(e.has_group[JOULET_GROUP_PLATFORM]);
    assert_near(e.groups[0].gross_j + e.groups[1].gross_j + e.groups[2].gross_j, e.total.gross_j, 1e-9);
    run_energy_release(&e);
    run_release(&r);
}

/* Two packages share their gain error, so it adds linearly; a GPU has its own. */
static void gain_errors_of_one_type_add_linearly(void **state)
{
    struct run r;
    struct run_energy e;
    struct joulet_energy x = sample_energy(100, 200, JOULET_MEASURED);
    (void)state;
    sample_exec(&r, SAMPLE_SENSORS);
    struct joulet_channel c = r.channels[0];
    c.id = "cpu1.package";
    assert_true(run_add_channel(&r, &c));
    run_energy_init(&e);
    run_energy_add_channel(&e, "cpu0.package", &x);
    run_energy_add_channel(&e, "gpu0.board", &x);
    run_energy_add_channel(&e, "cpu1.package", &x);
    run_energy_total(&r, &e);
    double u = x.u.spec;
    assert_near(e.groups[JOULET_GROUP_CPU].u.spec, 2 * u, 1e-9);
    assert_near(e.total.u.spec, sqrt(4 * u * u + u * u), 1e-9);
    assert_near(e.total.net_j, 300, 1e-9);
    run_energy_release(&e);
    run_release(&r);
}

static void the_worst_provenance_is_carried(void **state)
{
    struct run r;
    (void)state;
    sample_bench(&r, SAMPLE_MIXED);
    assert_int_equal(r.energy.total.provenance, JOULET_ESTIMATED);
    assert_int_equal(r.energy.groups[JOULET_GROUP_GPU].provenance, JOULET_MEASURED);
    assert_true(r.energy.total.flags & JOULET_FLAG_GUESSED);
    assert_false(r.energy.groups[JOULET_GROUP_GPU].flags & JOULET_FLAG_GUESSED);
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(found_together_it_is_no_sum),
        cmocka_unit_test(warm_up_and_failures_stay_out),
        cmocka_unit_test(categories_add_up),
        cmocka_unit_test(a_run_without_requests_is_its_whole),
        cmocka_unit_test(only_channels_in_total_are_added),
        cmocka_unit_test(gain_errors_of_one_type_add_linearly),
        cmocka_unit_test(the_worst_provenance_is_carried),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
