/* test_cmd_runs.c - `joulet runs` as a user meets it: records in and out, the same bytes; traces that play again; mistakes. */
#include "cli/cli.h"
#include "tests/cli/program.h"
#include "tests/run/sample.h"

#include <stdlib.h>
#include <string.h>

/* A record as a file; returns its text. */
static char *write_record(const char *name, void (*make)(struct run *r, enum sample_machine m))
{
    struct run r;
    struct jl_buf b;
    jl_buf_init(&b, RUN_JSON_MAX);
    make(&r, SAMPLE_SENSORS);
    assert_int_equal(run_to_json(&r, &b, NULL), JOULET_OK);
    run_release(&r);
    scratch_write(name, b.data);
    return jl_buf_take(&b);
}

static void run_ok(struct program *p, const char *const *args)
{
    program_run(p, args);
    if (p->code != CLI_DONE)
        fail_msg("exit code %d: %s", p->code, kept(&p->err));
}

static void records_come_out_as_they_went_in(void **state)
{
    struct program p = {0};
    (void)state;
    char *bench = write_record("bench.json", sample_bench), *exec = write_record("exec.json", sample_exec);
    run_ok(&p, ARGS("runs", "import", scratch("bench.json"), scratch("exec.json")));
    program_release(&p);
    run_ok(&p, ARGS("runs", "import", scratch("bench.json"))); /* again: nothing to do */
    program_release(&p);
    run_ok(&p, ARGS("runs", "export", "20261121-15"));
    assert_string_equal(kept(&p.out), bench);
    program_release(&p);
    run_ok(&p, ARGS("runs", "export", "20261121-1700", "-o", scratch("again.json")));
    program_release(&p);
    char *again = scratch_read("again.json");
    assert_string_equal(again, exec);
    run_ok(&p, ARGS("runs", "show", "20261121-1523", "--json"));
    assert_string_equal(kept(&p.out), bench);
    program_release(&p);
    free(again);
    free(bench);
    free(exec);
}

static void lists_and_views(void **state)
{
    struct program p = {0};
    (void)state;
    run_ok(&p, ARGS("runs"));
    assert_int_equal(lines_of(kept(&p.out)), 3);
    must_say(kept(&p.out), "20261121-152349-5f3a");
    must_say(kept(&p.out), "make -j8 all");
    program_release(&p);
    run_ok(&p, ARGS("runs", "list", "--limit", "1"));
    assert_int_equal(lines_of(kept(&p.out)), 2);
    program_release(&p);
    run_ok(&p, ARGS("runs", "list", "--json"));
    must_say(kept(&p.out), "\"id\":\"20261121-152349-5f3a\"");
    must_say(kept(&p.out), "\"tokens_out\":null");
    program_release(&p);
    run_ok(&p, ARGS("runs", "show", "20261121-1523"));
    must_say(kept(&p.out), "cooldown");
    must_say(kept(&p.out), "per output token");
    program_release(&p);
    run_ok(&p, ARGS("runs", "export", "20261121-1523", "--format", "csv"));
    must_say(kept(&p.out), "run_id,kind,row,window,cell,cell_name,duration_s,");
    must_say(kept(&p.out), "request_window,prefill");
    program_release(&p);
}

static void private_exports_keep_the_hash_only(void **state)
{
    struct program p = {0};
    (void)state;
    run_ok(&p, ARGS("runs", "export", "20261121-1523", "--private"));
    assert_null(strstr(kept(&p.out), "Sunlight"));
    assert_null(strstr(kept(&p.out), "why the sky"));
    must_say(kept(&p.out), "\"prompt\": null");
    must_say(kept(&p.out), "\"prompt_sha256\": \"");
    program_release(&p);
}

static void traces_play_again(void **state)
{
    struct program p = {0};
    (void)state;
    run_ok(&p, ARGS("exec", "--sim", "100", "--", "sleep", "0.3"));
    program_release(&p);
    run_ok(&p, ARGS("runs", "export", "last", "--format", "trace", "-o", scratch("trace.csv")));
    program_release(&p);
    char *trace = scratch_read("trace.csv");
    must_say(trace, "t_ns,channel,quantity,value,hw_ns,flags,window_s\r\n");
    must_say(trace, ",sim0.cpu,energy,");
    free(trace);
    run_ok(&p, ARGS("monitor", "--replay", scratch("trace.csv"), "--samples", "1", "--interval", "100ms", "--csv"));
    must_say(kept(&p.out), "sim0.cpu");
    program_release(&p);
    program_run(&p, ARGS("runs", "export", "20261121-1523", "--format", "trace")); /* imported: without samples */
    assert_int_not_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), "has no samples");
    program_release(&p);
}

static void mistakes_are_said(void **state)
{
    static const struct {
        const char *args[5];
        int code; /* -1: any but 0 */
        const char *says;
    } cases[] = {
        {{"runs", "frobnicate"}, CLI_USAGE, "it is list, show, export, import, delete or recompute"},
        {{"runs", "show"}, CLI_USAGE, "needs the id of a run"},
        {{"runs", "show", "a", "b"}, CLI_USAGE, "takes one run"},
        {{"runs", "list", "x"}, CLI_USAGE, "takes no operand"},
        {{"runs", "show", "2026"}, CLI_USAGE, "several runs begin with"},
        {{"runs", "show", "xyz"}, CLI_USAGE, "there is no run \"xyz\""},
        {{"runs", "export", "xyz"}, CLI_USAGE, "there is no run \"xyz\""},
        {{"runs", "delete", "xyz"}, CLI_USAGE, "there is no run \"xyz\""},
        {{"runs", "import", "/nowhere/run.json"}, CLI_USAGE, "/nowhere/run.json"},
        {{"runs", "import", "/dev/null"}, CLI_USAGE, "no valid JSON"},
        {{"runs", "--db", "/dev/null/x.db"}, -1, "writable"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct program p = {0};
        program_run(&p, cases[i].args);
        if (p.code == CLI_DONE || (cases[i].code >= 0 && p.code != cases[i].code))
            fail_msg("case %zu: exit code %d, %s", i, p.code, kept(&p.err));
        must_say(kept(&p.err), cases[i].says);
        assert_string_equal(kept(&p.out), "");
        program_release(&p);
    }
}

/* The first failure is the exit code; the others are done all the same. */
static void deleting_goes_on_after_a_mistake(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("runs", "delete", "20261121-1523", "xyz", "20261121-1700"));
    assert_int_equal(p.code, CLI_USAGE);
    must_say(kept(&p.err), "there is no run \"xyz\"");
    program_release(&p);
    run_ok(&p, ARGS("runs"));
    assert_null(strstr(kept(&p.out), "20261121-1523"));
    assert_null(strstr(kept(&p.out), "20261121-1700"));
    program_release(&p);
}

static void what_was_done_is_the_result(void **state)
{
    struct program p = {0};
    (void)state;
    free(write_record("bench.json", sample_bench));
    free(write_record("exec.json", sample_exec));
    run_ok(&p, ARGS("runs", "import", "--json", scratch("bench.json"), scratch("exec.json")));
    assert_string_equal(kept(&p.out), "{\"imported\": [\"20261121-152349-5f3a\", \"20261121-170000-00bb\"]}\n");
    program_release(&p);
    program_run(&p, ARGS("runs", "delete", "--json", "-o", scratch("deleted.json"), "xyz", "20261121-1523"));
    assert_int_not_equal(p.code, CLI_DONE);
    assert_string_equal(kept(&p.out), "");
    program_release(&p);
    char *text = scratch_read("deleted.json");
    assert_string_equal(text, "{\"deleted\": [\"20261121-152349-5f3a\"]}\n");
    free(text);
    run_ok(&p, ARGS("runs", "delete", "last"));
    must_say(kept(&p.out), "is deleted");
    program_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(records_come_out_as_they_went_in),
        cmocka_unit_test(lists_and_views),
        cmocka_unit_test(private_exports_keep_the_hash_only),
        cmocka_unit_test(traces_play_again),
        cmocka_unit_test(mistakes_are_said),
        cmocka_unit_test(deleting_goes_on_after_a_mistake),
        cmocka_unit_test(what_was_done_is_the_result),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
