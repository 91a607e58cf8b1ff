/* test_cli_lost.c - a profile whose meter cannot keep samples as long as something takes: what is lost is in no sum, and the
 * power over time goes on behind the gap. The sensor is simulated. */
#include "cli/profile.h"
#include "cli/session_span.h"
#include "lib/meter/ring.h"
#include "tests/cli/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define WATTS 50

static struct joulet_energy energy(double net_j, uint32_t flags)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.net_j = e.gross_j = net_j;
    e.flags = flags;
    return e;
}

/* ---- sums -------------------------------------------------------------------------------------------------------------- */

static void tokens_and_seconds_are_of_the_energy_that_is_known(void **state)
{
    enum { LOST = JOULET_FLAG_TRACE_LOST };
    static const struct {
        double net_j[3];
        uint32_t flags[3];
        double sum_j, tokens, n;
        size_t lost;
    } rows[] = {
        {{10, 20, 30}, {0}, 60, 300, 3, 0},
        {{10, NAN, 30}, {0, LOST}, 40, 200, 2, 1},
        {{NAN, 20, 30}, {LOST}, 50, 200, 2, 1},
        {{10, 20, 30}, {0, 0, LOST}, 30, 200, 2, 1},         /* of other channels a part is known */
        {{NAN, NAN, 30}, {0, 0, 0}, 30, 100, 1, 0},          /* too short to be told */
        {{NAN, 7, NAN}, {LOST, LOST, LOST}, NAN, 300, 3, 3}, /* times are known at least */
    };
    (void)state;
    for (size_t r = 0; r < JL_COUNT(rows); r++) {
        struct profile_tally t = PROFILE_TALLY_NONE;
        for (int i = 0; i < 3; i++) {
            struct joulet_energy e = energy(rows[r].net_j[i], rows[r].flags[i]);
            profile_tally_add(&t, &e, 100, 2);
        }
        bool same = isnan(rows[r].sum_j) ? isnan(t.e.net_j) : fabs(t.e.net_j - rows[r].sum_j) < 1e-9;
        if (!same || t.tokens != rows[r].tokens || t.seconds != 2 * rows[r].n || t.n != rows[r].n || t.lost != rows[r].lost)
            fail_msg("row %zu: %g J, %g tokens, %g s, %g of them, %zu lost", r, t.e.net_j, t.tokens, t.seconds, t.n, t.lost);
    }
}

static void add_answer(struct profiling *x, double net_j, uint32_t flags)
{
    struct run_request q;
    struct run_window w;
    run_request_init(&q);
    run_window_init(&w, "decode", 0, JL_NS_PER_S);
    w.energy.total = energy(net_j, flags);
    run_add_window(&q.windows, &q.n_windows, &w);
    q.outcome = RUN_OK;
    q.tokens.generated = 11;
    profile_forget_lost(&q);
    assert_non_null(run_add_request(&x->s.run, &q));
    x->passes[x->n_passes++] = MEASURE_PLAIN;
    run_request_release(&q);
}

static void answers_that_are_lost_are_in_no_sum(void **state)
{
    (void)state;
    for (int known = 0; known < 2; known++) {
        struct profiling x = {.n_passes = 0};
        struct run_sums sums;
        enum measure_pass passes[2];
        x.passes = passes;
        run_init(&x.s.run, "profile");
        run_profile_init(&x.p);
        add_answer(&x, 5, known ? 0 : JOULET_FLAG_TRACE_LOST);
        add_answer(&x, 3, JOULET_FLAG_TRACE_LOST);
        profile_leave_out_lost(&x);
        profile_sum(&x, MEASURE_PLAIN, &sums);
        assert_int_equal(x.p.n_notes, 1);
        assert_non_null(strstr(x.p.notes[0], known ? "energy of 1 of 2 is" : "energy of 2 of 2 is"));
        assert_true(known ? sums.decode.net_j == 5 : isnan(sums.decode.net_j));
        assert_true(sums.tokens_out == (known ? 11 : 22) && sums.decode_s == (known ? 1 : 2));
        run_profile_release(&x.p);
        run_release(&x.s.run);
    }
}

/* ---- a meter that keeps about a second ------------------------------------------------------------------------------- */

static void open_small(struct profiling *x)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    char curve[48];
    *x = (struct profiling){.power = calloc(1, sizeof *x->power)};
    snprintf(curve, sizeof curve, "%d;period=1ms", WATTS);
    o.sensors = "sim";
    o.sim = curve;
    o.interval_ns = jl_ns(1e-3);
    o.memory_bytes = 8 * sizeof(struct ring_chunk);
    assert_non_null(x->power);
    x->power->step_s = 0.02;
    run_init(&x->s.run, "profile");
    if (joulet_open(&x->s.meter, &o, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    x->s.n_channels = joulet_channel_count(x->s.meter);
    for (size_t i = 0; i < x->s.n_channels; i++) {
        struct joulet_channel c;
        joulet_channel_get(x->s.meter, i, &c);
        run_add_channel(&x->s.run, &c);
    }
    x->s.run.start_ns = joulet_now();
}

/* Returns the channel that counts. */
static size_t until_lost(struct profiling *x, joulet_mark from)
{
    struct joulet_trace t;
    size_t i = 0;
    while (!x->s.run.channels[i].in_total)
        i++;
    while (session_trace(&x->s, i, from, joulet_now(), &t, NULL)) {
        joulet_trace_release(&t);
        jl_sleep_until(joulet_now() + jl_ns(0.05));
    }
    return i;
}

static void close_small(struct profiling *x)
{
    joulet_close(x->s.meter);
    run_release(&x->s.run);
    free(x->power);
}

static void power_goes_on_behind_a_gap(void **state)
{
    struct profiling x;
    (void)state;
    open_small(&x);
    until_lost(&x, x.s.run.start_ns);
    profile_power_add(&x);
    double gap_s = x.power->until_s;
    for (int i = 0; i < 200 && !x.power->n; i++) { /* whatever takes so long that it is lost again */
        jl_sleep_until(joulet_now() + jl_ns(0.05));
        profile_power_add(&x);
    }
    assert_true(gap_s > 0 && x.power->n > 0);
    assert_true(fabs(x.power->j[0] / x.power->s[0] - WATTS) < 0.2 * WATTS);
    close_small(&x);
}

static void a_window_that_is_lost_says_so(void **state)
{
    struct profiling x;
    struct run_window w;
    struct run_energy whole;
    (void)state;
    open_small(&x);
    run_energy_init(&whole);
    run_window_init(&w, "load", x.s.run.start_ns, joulet_now());
    until_lost(&x, w.start_ns);
    w.end_ns = joulet_now();
    session_measure(&x.s, &(struct session_span){.windows = &w, .n = 1}, NULL, &whole);
    assert_true(profile_lost(&w.energy.total) && profile_lost(&whole.total));
    assert_true(isnan(profile_net_j(&w.energy.total)) && isnan(w.energy.total.gross_j));
    run_energy_release(&whole);
    run_energy_release(&w.energy);
    close_small(&x);
}

/* No energy above idle would come of it: nothing is asked of the engine. */
static void without_an_idle_level_host_work_is_left_alone(void **state)
{
    struct profiling x = {.probe = true};
    (void)state;
    profile_host(&x);
    assert_true(!(x.host.loop_s > 0) && !x.host.why.message[0]);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(tokens_and_seconds_are_of_the_energy_that_is_known),
        cmocka_unit_test(answers_that_are_lost_are_in_no_sum),
        cmocka_unit_test(power_goes_on_behind_a_gap),
        cmocka_unit_test(a_window_that_is_lost_says_so),
        cmocka_unit_test(without_an_idle_level_host_work_is_left_alone),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
