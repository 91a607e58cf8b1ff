/* test_cli_watches.c - what the program makes of its watches: each has a case that fires and a near one that stays silent. The
 * looks at the machine and at the engine are given; how they are taken is tested with the whole program (test_cli_watch.c). */
#include "cli/session.h"
#include "tests/base/test.h"

#include <math.h>
#include <string.h>

static void open_session(struct session *s, enum joulet_provenance provenance)
{
    struct joulet_channel c = {.id = "cpu0.package",
                               .sensor = "rapl",
                               .device = "",
                               .parent = "",
                               .quantity = JOULET_ENERGY,
                               .provenance = provenance,
                               .in_total = true};
    *s = (struct session){.watch = {.others = -1, .served = -1, .seen = {.foreign_threads = NAN}}, .n_channels = 1};
    run_init(&s->run, "bench");
    assert_true(run_add_channel(&s->run, &c));
}

static void open_request(struct run_request *q)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.gross_j = e.net_j = 10;
    run_request_init(q);
    q->outcome = RUN_OK;
    q->tokens.prompt = 20;
    q->tokens.cached = 0;
    q->energy.total = e;
    run_energy_add_channel(&q->energy, "cpu0.package", &e);
}

/* ---- single requests ------------------------------------------------------------------------------------------------------ */

static const struct watch_row {
    const char *name, *prompt_cache; /* the setting; NULL: not in the record */
    int64_t cached;
    int served;
    struct joulet_watched seen;
    enum joulet_provenance provenance;
    uint32_t flags;
    const char *says; /* NULL: no note */
} rows[] = {
    {"a cached prompt fires",
     "false",
     5,
     -1,
     {.foreign_threads = 0},
     JOULET_MEASURED,
     JOULET_FLAG_CACHED,
     "5 of its 20 prompt tokens"},
    {"a cached prompt, of a simulated sensor too, fires",
     "false",
     5,
     -1,
     {.foreign_threads = 0},
     JOULET_SIMULATED,
     JOULET_FLAG_CACHED,
     "came from a cache"},
    {"a prompt that was computed is silent", "false", 0, -1, {.foreign_threads = 0}, JOULET_MEASURED, 0, NULL},
    {"a prompt of which nobody knows is silent", "false", -1, -1, {.foreign_threads = 0}, JOULET_MEASURED, 0, NULL},
    {"a cached prompt where that is allowed is silent", "true", 5, -1, {.foreign_threads = 0}, JOULET_MEASURED, 0, NULL},
    {"requests of others fire",
     "false",
     0,
     2,
     {.foreign_threads = 0},
     JOULET_MEASURED,
     JOULET_FLAG_FOREIGN_LOAD,
     "serving 2 other requests"},
    {"an engine that serves nobody else is silent", "false", 0, 0, {.foreign_threads = 0}, JOULET_MEASURED, 0, NULL},
    {"an engine that does not tell is silent", "false", 0, -1, {.foreign_threads = 0}, JOULET_MEASURED, 0, NULL},
    {"other programs fire",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_FOREIGN_LOAD, .foreign_threads = 1.5},
     JOULET_MEASURED,
     JOULET_FLAG_FOREIGN_LOAD,
     "kept 1.5 hardware threads busy"},
    {"other programs beside a simulated sensor are silent",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_FOREIGN_LOAD, .foreign_threads = 1.5},
     JOULET_SIMULATED,
     0,
     NULL},
    {"heat fires",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_THROTTLED, .throttle_events = 3, .foreign_threads = NAN},
     JOULET_MEASURED,
     JOULET_FLAG_THROTTLED,
     "slowed down for heat 3 times"},
    {"a lower limit of the clock fires",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_CLOCK_CHANGE, .foreign_threads = NAN},
     JOULET_MEASURED,
     JOULET_FLAG_CLOCK_CHANGE,
     "highest clock"},
    {"sleep fires",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_CLOCK_STEP, .slept_s = 30, .foreign_threads = NAN},
     JOULET_MEASURED,
     JOULET_FLAG_CLOCK_STEP,
     "slept for 30 s"},
    {"a clock that was set fires",
     NULL,
     0,
     -1,
     {.flags = JOULET_FLAG_CLOCK_STEP, .stepped_s = -7.5, .foreign_threads = NAN},
     JOULET_ESTIMATED,
     JOULET_FLAG_CLOCK_STEP,
     "set by -7.5 s"},
    {"a quiet machine is silent", NULL, 0, -1, {.foreign_threads = 0.02}, JOULET_MEASURED, 0, NULL},
};

static void watches_fire_and_stay_silent(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        const struct watch_row *r = &rows[i];
        struct session s;
        struct run_request q;
        open_session(&s, r->provenance);
        open_request(&q);
        if (r->prompt_cache)
            run_pairs_set(&s.run.settings, "prompt_cache", 'b', "%s", r->prompt_cache);
        q.tokens.cached = r->cached;
        s.watch.served = r->served;
        s.watch.seen = r->seen;
        session_flag_request(&s, &q);
        if (q.energy.total.flags != r->flags || q.energy.channels[0].e.flags != r->flags)
            fail_msg("%s: flags %x and %x", r->name, q.energy.total.flags, q.energy.channels[0].e.flags);
        if (s.run.n_notes != (r->says != NULL) || (r->says && !strstr(s.run.notes[0], r->says)))
            fail_msg("%s: %zu notes, %s", r->name, s.run.n_notes, s.run.n_notes ? s.run.notes[0] : "");
        assert_near(q.energy.total.gross_j, 10, 0); /* flagged, never changed */
        run_request_release(&q);
        run_release(&s.run);
    }
}

/* Every request is flagged; a sentence for each would bury the others. */
static void a_watch_that_fires_often_says_so_three_times(void **state)
{
    struct session s;
    (void)state;
    open_session(&s, JOULET_MEASURED);
    for (int i = 0; i < 9; i++) {
        struct run_request q;
        open_request(&q);
        q.index = i;
        s.watch.seen = (struct joulet_watched){.flags = JOULET_FLAG_FOREIGN_LOAD, .foreign_threads = 2};
        session_flag_request(&s, &q);
        assert_int_equal(q.energy.total.flags, JOULET_FLAG_FOREIGN_LOAD);
        run_request_release(&q);
    }
    assert_int_equal(s.run.n_notes, 3);
    run_release(&s.run);
}

/* ---- the whole run -------------------------------------------------------------------------------------------------------- */

static void a_processor_that_warms_up(void **state)
{
    static const struct {
        const char *name;
        double first_c, last_c; /* of the requests that count */
        enum joulet_provenance provenance;
        bool fires;
    } cases[] = {
        {"16 degrees fire", 50, 66, JOULET_MEASURED, true},
        {"15 degrees are silent", 50, 65, JOULET_MEASURED, false},
        {"cooling is silent", 66, 50, JOULET_MEASURED, false},
        {"a temperature that nobody knows is silent", NAN, 90, JOULET_MEASURED, false},
        {"a warm machine beside a simulated sensor is silent", 50, 90, JOULET_SIMULATED, false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        /* The warm-up before them, and what failed after them, do not count. */
        const double temperatures[] = {20, cases[i].first_c, cases[i].last_c, 99};
        struct session s;
        open_session(&s, cases[i].provenance);
        for (size_t k = 0; k < JL_COUNT(temperatures); k++) {
            struct run_request q;
            open_request(&q);
            q.warmup = k == 0;
            q.outcome = k == 3 ? RUN_FAILED : RUN_OK;
            q.temperature_after_c = temperatures[k];
            assert_true(run_add_request(&s.run, &q));
        }
        session_watch_heat(&s);
        if ((s.run.n_notes > 0) != cases[i].fires)
            fail_msg("%s: %s", cases[i].name, s.run.n_notes ? s.run.notes[0] : "no note");
        if (cases[i].fires)
            assert_true(strstr(s.run.notes[0], "warmed from 50 to 66 degrees") != NULL);
        run_release(&s.run);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(watches_fire_and_stay_silent),
        cmocka_unit_test(a_watch_that_fires_often_says_so_three_times),
        cmocka_unit_test(a_processor_that_warms_up),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
