/* test_meters.c - meters behind HTTP against stand-ins: every kind plays a step of power, and fails in the ways of real ones. */
#include "lib/platform/platform.h"
#include "meters/meters.h"
#include "tests/base/test.h"
#include "tests/meters/stand_in.h"

#include <stdlib.h>
#include <string.h>

static struct joulet *meter(void)
{
    struct joulet_options o = JOULET_OPTIONS_INIT;
    struct joulet_error err;
    struct joulet *m;
    o.sensors = "nvml"; /* whatever this machine has: the channels that are pushed come after it */
    o.pushes = true;
    o.calibration = "";
    if (joulet_open(&m, &o, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return m;
}

static struct meters *open_one(struct joulet *m, const char *scheme, const struct stand_in *s, const char *rest)
{
    struct meters *all;
    struct joulet_error err;
    char *address = jl_strf("%s://127.0.0.1:%d%s", scheme, stand_in_port(s), rest);
    const char *const list[] = {address};
    if (meters_open(&all, m, list, 1, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    free(address);
    return all;
}

static size_t find_channel(struct joulet *m, const char *id, struct joulet_channel *ch)
{
    for (size_t i = 0; i < joulet_channel_count(m); i++)
        if (joulet_channel_get(m, i, ch) == JOULET_OK && strcmp(ch->id, id) == 0)
            return i;
    fail_msg("there is no %s", id);
    return 0;
}

static double last_w(struct joulet *m, size_t i)
{
    struct joulet_trace t;
    joulet_mark now = joulet_now();
    double w = NAN;
    if (joulet_trace_copy(m, i, now - 100 * JL_NS_PER_S, now, &t, NULL) != JOULET_OK)
        return NAN;
    for (size_t k = 0; k < t.n; k++)
        if (!(t.samples[k].flags & JOULET_SAMPLE_FAILED))
            w = (double)t.samples[k].value * 1e-6;
    joulet_trace_release(&t);
    return w;
}

static bool has_problem(struct joulet *m, const char *words)
{
    struct joulet_problem p;
    for (size_t i = 0; i < joulet_problem_count(m); i++)
        if (joulet_problem_get(m, i, &p) == JOULET_OK && strstr(p.message, words))
            return true;
    return false;
}

static const struct {
    enum stand_kind kind;
    const char *scheme, *rest, *channel;
    enum joulet_domain domain;
} kinds[] = {
    {STAND_GEN1, "shelly", "", "wall0.power", JOULET_DOMAIN_WALL},
    {STAND_GEN2, "shelly", "/0", "wall0.power", JOULET_DOMAIN_WALL},
    {STAND_PM1, "shelly", "", "wall0.power", JOULET_DOMAIN_WALL},
    {STAND_TASMOTA, "tasmota", "", "wall0.power", JOULET_DOMAIN_WALL},
    {STAND_REDFISH, "redfish", "", "chassis0.power", JOULET_DOMAIN_CHASSIS},
    {STAND_ENVIRONMENT, "redfish", "/redfish/v1/Chassis/1U", "chassis0.power", JOULET_DOMAIN_CHASSIS},
    {STAND_SUPPLIES, "redfish", "", "chassis0.power", JOULET_DOMAIN_CHASSIS},
    {STAND_LINKED, "redfish", "/redfish/v1/Chassis/1", "chassis0.power", JOULET_DOMAIN_CHASSIS},
};

static void every_kind_is_read_and_follows_a_step(void **state)
{
    (void)state;
    struct stand_in *s[JL_COUNT(kinds)];
    struct meters *all[JL_COUNT(kinds)];
    struct joulet *m[JL_COUNT(kinds)];
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        struct joulet_channel ch;
        m[i] = meter();
        s[i] = stand_in_start(kinds[i].kind, 40, 180);
        all[i] = open_one(m[i], kinds[i].scheme, s[i], kinds[i].rest);
        find_channel(m[i], kinds[i].channel, &ch);
        assert_int_equal(ch.domain, kinds[i].domain);
        assert_int_equal(ch.provenance, JOULET_MEASURED);
        assert_true(ch.in_total && ch.contiguous && ch.period_s >= 1 && ch.quantum_j > 0);
    }
    int enough[JL_COUNT(kinds)]; /* two reads more, of which the first may have begun before */
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        stand_in_step(s[i]);
        enough[i] = stand_in_requests(s[i]) + (kinds[i].kind == STAND_SUPPLIES ? 4 : 2);
    }
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        struct joulet_channel ch;
        stand_in_await_all(s[i], enough[i]);
        meters_close(all[i]);
        assert_near(last_w(m[i], find_channel(m[i], kinds[i].channel, &ch)), 180, 0.5);
        assert_int_equal(joulet_problem_count(m[i]), 0);
        joulet_close(m[i]);
        stand_in_stop(s[i]);
    }
}

static void an_exporter_tells_the_share_of_the_engine(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct stand_in *s = stand_in_start(STAND_SCAPHANDRE, 50, 0);
    struct meters *all = open_one(m, "scaphandre", s, "");
    struct joulet_channel ch;
    size_t i = find_channel(m, "host0.process", &ch);
    assert_int_equal(ch.domain, JOULET_DOMAIN_PROCESS);
    assert_false(ch.in_total);
    find_channel(m, "host0.host", &ch);
    assert_false(ch.in_total); /* its sockets are */
    find_channel(m, "host0.socket0", &ch);
    assert_true(ch.in_total);
    stand_in_await(s, 1);
    assert_true(isnan(last_w(m, i)));
    meters_engine(all, 4242);
    stand_in_await(s, 2);
    meters_close(all);
    assert_near(last_w(m, i), 25, 0.1);
    joulet_close(m);
    stand_in_stop(s);
}

static void a_meter_that_cannot_be_used_is_said_and_the_rest_goes_on(void **state)
{
    static const struct {
        enum stand_fault fault;
        const char *words;
    } faults[] = {{STAND_401, "JOULET_METER_USER"},
                  {STAND_HTML, "web page"},
                  {STAND_GARBAGE, "no JSON"},
                  {STAND_REDIRECT, "another address"},
                  {STAND_DEAD, "cannot be used"}};
    (void)state;
    struct stand_in *well = stand_in_start(STAND_GEN2, 40, 0), *bad[JL_COUNT(faults)];
    const char *addresses[JL_COUNT(faults) + 2];
    size_t n = 0;
    for (size_t i = 0; i < JL_COUNT(faults); i++) {
        bad[i] = stand_in_start(STAND_GEN2, 40, 0);
        stand_in_fail(bad[i], faults[i].fault);
        addresses[n++] = jl_strf("shelly://127.0.0.1:%d", stand_in_port(bad[i]));
    }
    addresses[n++] = jl_strf("shelly://127.0.0.1:1"); /* nobody listens */
    addresses[n++] = jl_strf("shelly://127.0.0.1:%d", stand_in_port(well));
    struct joulet *m = meter();
    struct meters *all;
    struct joulet_error err;
    struct joulet_channel ch;
    assert_int_equal(meters_open(&all, m, addresses, n, &err), JOULET_OK);
    assert_int_equal(joulet_channel_count(m), 2);
    find_channel(m, "wall6.power", &ch);
    for (size_t i = 0; i < JL_COUNT(faults); i++)
        if (!has_problem(m, faults[i].words))
            fail_msg("nothing about \"%s\"", faults[i].words);
    assert_true(has_problem(m, "127.0.0.1:1 "));
    assert_int_equal(joulet_problem_count(m), n - 1);
    meters_close(all);
    joulet_close(m);
    for (size_t i = 0; i < n; i++)
        free((char *)addresses[i]);
    for (size_t i = 0; i < JL_COUNT(faults); i++)
        stand_in_stop(bad[i]);
    stand_in_stop(well);
}

/* Of one that wants to know who asks; without, or with something else, it says so and how to tell it. */
static void who_asks_is_told(void **state)
{
    static const struct {
        enum stand_kind kind;
        enum stand_guard guard;
        const char *scheme, *names[2], *good[2], *bad[2], *says;
    } rows[] = {
        {STAND_GEN1,
         STAND_BASIC,
         "shelly",
         {"JOULET_METER_USER", "JOULET_METER_PASSWORD"},
         {"admin", "se cret&1"},
         {"admin", "wrong"},
         "JOULET_METER_USER and JOULET_METER_PASSWORD"},
        {STAND_GEN2,
         STAND_DIGEST,
         "shelly",
         {"JOULET_METER_USER", "JOULET_METER_PASSWORD"},
         {"admin", "se cret&1"},
         {"admin", "wrong"},
         "JOULET_METER_USER and JOULET_METER_PASSWORD"},
        {STAND_REDFISH,
         STAND_DIGEST,
         "redfish",
         {"JOULET_METER_USER", "JOULET_METER_PASSWORD"},
         {"admin", "se cret&1"},
         {"root", "se cret&1"},
         "JOULET_METER_USER and JOULET_METER_PASSWORD"},
        {STAND_SUPPLIES,
         STAND_TOKEN,
         "redfish",
         {"JOULET_METER_TOKEN", NULL},
         {"t0ken", NULL},
         {"0ld", NULL},
         "set JOULET_METER_TOKEN to a new one"},
        {STAND_TASMOTA,
         STAND_QUERY,
         "tasmota",
         {"JOULET_METER_USER", "JOULET_METER_PASSWORD"},
         {"admin", "se cret&1"},
         {"admin", "wrong"},
         "wants a user and password"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct stand_in *s = stand_in_start(rows[i].kind, 40, 0);
        stand_in_guard(s, rows[i].guard);
        for (int good = 0; good < 2; good++) {
            struct joulet *m = meter();
            for (int k = 0; k < 2; k++)
                if (rows[i].names[k])
                    setenv(rows[i].names[k], good ? rows[i].good[k] : rows[i].bad[k], 1);
            struct meters *all = open_one(m, rows[i].scheme, s, "");
            if (good && joulet_problem_count(m))
                fail_msg("row %zu is refused", i);
            assert_int_equal(joulet_channel_count(m) > 0, good);
            if (!good && !has_problem(m, rows[i].says))
                fail_msg("row %zu does not say how", i);
            assert_false(has_problem(m, "se%20cret") || has_problem(m, "se cret"));
            meters_close(all);
            joulet_close(m);
            for (int k = 0; k < 2; k++)
                if (rows[i].names[k])
                    unsetenv(rows[i].names[k]);
        }
        stand_in_stop(s);
    }
}

/* Both supplies together, and a counter where both have one. */
static void power_supplies_are_added_up(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct stand_in *s = stand_in_start(STAND_SUPPLIES, 500, 0);
    struct meters *all = open_one(m, "redfish", s, "");
    struct joulet_channel ch;
    size_t i = find_channel(m, "chassis0.power", &ch);
    assert_string_equal(ch.device, "2 power supplies");
    find_channel(m, "chassis0.energy", &ch);
    assert_false(ch.in_total);
    stand_in_await(s, 2);
    meters_close(all);
    assert_near(last_w(m, i), 500, 0.2); /* whatever is shown is the sum */
    joulet_close(m);
    stand_in_stop(s);
}

static size_t flagged(struct joulet *m, size_t i, uint32_t flag)
{
    struct joulet_trace t;
    joulet_mark now = joulet_now();
    size_t n = 0;
    assert_int_equal(joulet_trace_copy(m, i, now - 100 * JL_NS_PER_S, now, &t, NULL), JOULET_OK);
    for (size_t k = 0; k < t.n; k++)
        n += (t.samples[k].flags & flag) != 0;
    joulet_trace_release(&t);
    return n;
}

static void one_that_dies_is_said_once_and_comes_back(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct stand_in *s = stand_in_start(STAND_TASMOTA, 40, 90);
    struct meters *all = open_one(m, "tasmota", s, "");
    struct joulet_channel ch;
    size_t i = find_channel(m, "wall0.power", &ch);
    stand_in_await(s, 2);
    stand_in_fail(s, STAND_DEAD);
    stand_in_await(s, 6); /* an exchange that is cut off may be tried twice */
    for (int64_t until = jl_mono_ns() + 180 * JL_NS_PER_S; joulet_problem_count(m) == 0 && jl_mono_ns() < until;)
        jl_sleep_until(jl_mono_ns() + 10000000);
    assert_int_equal(joulet_problem_count(m), 1);
    assert_true(has_problem(m, "it is asked on"));
    assert_true(flagged(m, i, JOULET_SAMPLE_FAILED) >= 1);
    stand_in_fail(s, STAND_WELL);
    stand_in_step(s);
    stand_in_await(s, 3);
    meters_close(all);
    assert_near(last_w(m, i), 90, 0.5);
    assert_int_equal(joulet_problem_count(m), 1);
    joulet_close(m);
    stand_in_stop(s);
}

static void a_reboot_sets_its_counter_back(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct stand_in *s = stand_in_start(STAND_GEN2, 40, 40);
    struct meters *all = open_one(m, "shelly", s, "");
    struct joulet_channel ch;
    size_t i = find_channel(m, "wall0.energy", &ch);
    stand_in_await(s, 2);
    stand_in_fail(s, STAND_REBOOTED);
    stand_in_await(s, 3);
    meters_close(all);
    assert_int_equal(flagged(m, i, JOULET_SAMPLE_RESET), 1);
    joulet_close(m);
    stand_in_stop(s);
}

static void a_slow_one_does_not_keep_us_from_closing(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct stand_in *s = stand_in_start(STAND_GEN2, 40, 0);
    struct meters *all = open_one(m, "shelly", s, "");
    stand_in_fail(s, STAND_SILENT);
    jl_sleep_until(jl_mono_ns() + 700000000);
    meters_close(all); /* cancels the exchange: the stand-in would keep silent for 6 s */
    joulet_close(m);
    stand_in_stop(s);
}

static bool has_channel(struct joulet *m, const char *id, size_t *i)
{
    struct joulet_channel ch;
    for (*i = 0; *i < joulet_channel_count(m); ++*i)
        if (joulet_channel_get(m, *i, &ch) == JOULET_OK && strcmp(ch.id, id) == 0)
            return true;
    return false;
}

/* The n-th answer of every meter is broken, while it is looked for or later: it is used or named as not usable, and tells nothing
 * but what it sees. */
static void any_answer_may_fail(void **state)
{
    enum { ANSWERS = 10, WALLS = 4 };
    static const enum stand_fault faults[] = {STAND_DEAD, STAND_GARBAGE, STAND_401, STAND_HTML};
    (void)state;
    for (int at = 1; at <= ANSWERS; at++) {
        struct stand_in *s[JL_COUNT(kinds)];
        struct joulet *m = meter();
        char *addresses[JL_COUNT(kinds)];
        struct meters *all;
        struct joulet_error err;
        for (size_t i = 0; i < JL_COUNT(kinds); i++) {
            s[i] = stand_in_start(kinds[i].kind, 40, 40);
            stand_in_fail_once(s[i], faults[(size_t)at % JL_COUNT(faults)], at);
            addresses[i] = jl_strf("%s://127.0.0.1:%d%s", kinds[i].scheme, stand_in_port(s[i]), kinds[i].rest);
        }
        assert_int_equal(meters_open(&all, m, (const char *const *)addresses, JL_COUNT(kinds), &err), JOULET_OK);
        stand_in_await_all(s[1], 3);
        meters_close(all);
        for (size_t i = 0; i < JL_COUNT(kinds); i++) {
            char *id = jl_strf("%s%zu.power", i < WALLS ? "wall" : "chassis", i < WALLS ? i : i - WALLS);
            char *port = jl_strf(":%d", stand_in_port(s[i]));
            size_t c;
            bool used = has_channel(m, id, &c);
            double w = used ? last_w(m, c) : NAN;
            if (!used && !has_problem(m, port))
                fail_msg("%s is gone without a word after answer %d was broken", addresses[i], at);
            if (!isnan(w) && fabs(w - 40) >= 0.5)
                fail_msg("%s says %g W after answer %d was broken", addresses[i], w, at);
            free(id);
            free(port);
            free(addresses[i]);
            stand_in_stop(s[i]);
        }
        joulet_close(m);
    }
}

static void wrong_addresses_are_refused_before_anything_is_asked(void **state)
{
    (void)state;
    struct joulet *m = meter();
    struct meters *all;
    struct joulet_error err;
    const char *const list[] = {"shelly://127.0.0.1:1", "plug://x"};
    const char *many[METERS_MAX + 1];
    for (size_t i = 0; i < JL_COUNT(many); i++)
        many[i] = "shelly://127.0.0.1:1";
    assert_int_equal(meters_open(&all, m, list, 2, &err), JOULET_USAGE);
    assert_null(all);
    assert_int_equal(meters_check(many, JL_COUNT(many), &err), JOULET_USAGE);
    meters_close(NULL);
    meters_engine(NULL, 1);
    joulet_close(m);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(every_kind_is_read_and_follows_a_step),
        cmocka_unit_test(an_exporter_tells_the_share_of_the_engine),
        cmocka_unit_test(a_meter_that_cannot_be_used_is_said_and_the_rest_goes_on),
        cmocka_unit_test(who_asks_is_told),
        cmocka_unit_test(power_supplies_are_added_up),
        cmocka_unit_test(one_that_dies_is_said_once_and_comes_back),
        cmocka_unit_test(a_reboot_sets_its_counter_back),
        cmocka_unit_test(a_slow_one_does_not_keep_us_from_closing),
        cmocka_unit_test(any_answer_may_fail),
        cmocka_unit_test(wrong_addresses_are_refused_before_anything_is_asked),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
