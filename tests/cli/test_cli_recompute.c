/* test_cli_recompute.c - stored samples measured again: the same estimators give the same figures, former ones stay in the
 * record, and what has no samples is refused. */
#include "tests/cli/program.h"
#include "tests/cli/quick.h"
#include "tests/run/near.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void must_work(struct program *p, const char *const *args)
{
    program_run(p, args);
    if (p->code != 0)
        fail_msg("%s %s: code %d, %s", args[0], args[1], p->code, kept(&p->err));
}

static void quietly(const char *const *args)
{
    struct program p = {0};
    must_work(&p, args);
    program_release(&p);
}

static void export_last(const char *name, struct run *r)
{
    quietly(ARGS("runs", "export", "last", "-o", scratch(name)));
    record_read(name, r);
}

static void must_be_close(const struct joulet_energy *a, const struct joulet_energy *b)
{
    assert_int_equal(isnan(a->gross_j), isnan(b->gross_j));
    if (isnan(a->gross_j))
        return;
    /* A sample more beyond the window may be there now. */
    if (!(fabs(a->gross_j - b->gross_j) <= fmax(a->gross_pm_j, b->gross_pm_j) + 1e-9))
        fail_msg("%g +- %g J before, %g +- %g J now", a->gross_j, a->gross_pm_j, b->gross_j, b->gross_pm_j);
    assert_string_equal(a->method, b->method);
}

static void test_a_command(void **state)
{
    (void)state;
    struct program p = {0};
    struct run before, after;
    quietly(ARGS("exec", "--sim", "60|40;group=gpu", "--json", "-o", scratch("exec.json"), "--", "sleep", "0.4"));
    export_last("before.json", &before);
    assert_int_equal(before.n_former, 0);
    must_work(&p, ARGS("runs", "recompute", "last", "--dry-run"));
    must_say(kept(&p.out), "Nothing was stored");
    must_say(kept(&p.out), "joint-fit/1");
    program_release(&p);
    export_last("still.json", &after);
    assert_int_equal(after.n_former, 0);
    run_release(&after);
    p = (struct program){0};
    must_work(&p, ARGS("runs", "recompute", "last", "--json"));
    must_say(kept(&p.out), "\"stored\":true");
    must_say(kept(&p.out), "\"name\":\"run\"");
    program_release(&p);
    export_last("after.json", &after);
    assert_int_equal(after.n_former, 1);
    assert_string_equal(after.figures_version, JOULET_VERSION);
    assert_near(after.former[0].energy.total.gross_j, before.energy.total.gross_j, 1e-9);
    must_be_close(&before.energy.total, &after.energy.total);
    must_be_close(&before.windows[0].energy.total, &after.windows[0].energy.total);
    assert_int_equal(after.energy.n_channels, before.energy.n_channels);
    run_release(&before);
    run_release(&after);
}

static void test_requests(void **state)
{
    (void)state;
    struct sim_config c;
    struct joulet_error err;
    struct run before, after;
    char url[64];
    sim_config_init(&c);
    c.prefill_ms = c.decode_ms = 1;
    struct sim_engine *engine = sim_engine_start(&c, &err);
    assert_non_null(engine);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sim_engine_port(engine));
    quietly(ARGS("bench", "--engine", url, "--sim", "60", "--baseline", "2s", "--cooldown", "0s", "--max-tokens", "4", "--json",
                 "-o", scratch("bench.json")));
    sim_engine_stop(engine);
    export_last("bench-before.json", &before);
    quietly(ARGS("runs", "recompute", "--all"));
    export_last("bench-after.json", &after);
    assert_int_equal(after.n_former, 1);
    assert_int_equal(after.n_requests, before.n_requests);
    /* The idle level too: its samples are stored. */
    assert_true(before.n_baselines > 0);
    assert_int_equal(after.n_baselines, before.n_baselines);
    assert_int_equal(after.former[0].n_baselines, before.n_baselines);
    assert_near(after.former[0].baselines[0].b.power_w, before.baselines[0].b.power_w, 1e-9);
    assert_near(after.baselines[0].b.power_w, 60, 1);
    must_be_close(&before.energy.total, &after.energy.total);
    for (size_t i = 0; i < after.n_requests; i++) {
        must_be_close(&before.requests[i].energy.total, &after.requests[i].energy.total);
        assert_near(after.former[0].requests[i].energy.total.net_j, before.requests[i].energy.total.net_j, 1e-9);
        assert_int_equal(after.requests[i].energy.total.flags & JOULET_FLAG_CACHED,
                         before.requests[i].energy.total.flags & JOULET_FLAG_CACHED);
    }
    run_release(&before);
    run_release(&after);
}

static void test_refusals(void **state)
{
    (void)state;
    static const struct {
        const char *args[6];
        int code;
        const char *says;
    } rows[] = {
        {{"runs", "recompute"}, 2, "needs the id of a run"},
        {{"runs", "recompute", "nope"}, -1, "there is no run"},
        {{"runs", "recompute", "last", "last"}, 2, "takes one run"},
        {{"runs", "show", "last", "--all"}, 2, "goes with `runs recompute`"},
        {{"runs", "recompute", "last", "--all"}, 2, "no run is named"},
        {{"runs", "delete", "last", "--dry-run"}, 2, "goes with `runs recompute`"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct program p = {0};
        program_run(&p, rows[i].args);
        assert_true(p.code != 0 && (rows[i].code < 0 || p.code == rows[i].code));
        must_say(kept(&p.err), rows[i].says);
        program_release(&p);
    }
    /* Another database takes the record; the samples stay where they were taken. */
    struct program p = {0};
    quietly(ARGS("runs", "export", "last", "-o", scratch("moved.json")));
    quietly(ARGS("runs", "import", scratch("moved.json"), "--db", scratch("other.db")));
    program_run(&p, ARGS("runs", "recompute", "last", "--db", scratch("other.db")));
    assert_int_not_equal(p.code, 0);
    must_say(kept(&p.err), "has no samples in the store");
    program_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_a_command),
        cmocka_unit_test(test_requests),
        cmocka_unit_test(test_refusals),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
