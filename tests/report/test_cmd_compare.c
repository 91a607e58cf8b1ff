/* test_cmd_compare.c - `joulet compare` as a user gives it: files, stored runs, cells; what it refuses; its exit codes. */
#include "tests/cli/program.h"
#include "tests/report/beside.h"

#include <stdlib.h>
#include <string.h>

static const double A[] = {10.21, 10.05, 10.32, 10.18, 10.11, 10.26, 10.09, 10.15};
static const double B[] = {9.88, 9.91, 10.12, 9.79, 9.95, 9.84, 9.97, 10.07};

static void write_record(const struct run *r, const char *name)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    if (run_to_json(r, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    scratch_write(name, b.data);
    jl_buf_release(&b);
}

static int open_all(void **state)
{
    struct run r;
    struct program p = {0};
    scratch_open(state);
    for (int side = 0; side < 2; side++) {
        beside_run(&r, side ? "20261121-120000-000b" : "20261121-110000-000a");
        for (size_t i = 0; i < 8; i++)
            beside_request(&r, 0, (int64_t)i, -1, side ? B[i] : A[i]);
        write_record(&r, side ? "b.json" : "a.json");
        run_release(&r);
    }
    beside_run(&r, "20261121-130000-000c");
    run_add_cell(&r, "4 threads");
    run_add_cell(&r, "8 threads");
    for (size_t i = 0; i < 16; i++)
        beside_request(&r, 0, (int64_t)i / 2, (int64_t)i % 2, i % 2 ? B[i / 2] : A[i / 2]);
    write_record(&r, "plan.json");
    run_release(&r);
    program_run(&p, ARGS("runs", "import", scratch("a.json"), scratch("b.json"), scratch("plan.json")));
    assert_int_equal(p.code, 0);
    program_release(&p);
    return 0;
}

static void says(const char *const *args, int code, const char *words)
{
    struct program p = {0};
    program_run(&p, args);
    const char *text = code == 2 || !words ? kept(&p.err) : kept(&p.out);
    if (p.code != code || (words && !strstr(text, words)))
        fail_msg("code %d, \"%s\", \"%s\"", p.code, kept(&p.out), kept(&p.err));
    program_release(&p);
}

static void runs_by_any_name(void **state)
{
    (void)state;
    says(ARGS("compare", scratch("a.json"), scratch("b.json")), 0, "B uses 2.3 % less");
    says(ARGS("compare", "20261121-11", "20261121-120000-000b"), 0, "B uses 2.3 % less");
    says(ARGS("compare", "20261121-11", scratch("b.json")), 0, "B uses 2.3 % less");
    says(ARGS("compare", "last"), 0, "sign flips of 8 pairs");
    says(ARGS("compare", scratch("plan.json")), 0, "4 threads");
    says(ARGS("compare", "last/2", "last/4 threads"), 0, "B uses 2.3 % more");
    says(ARGS("compare", "last/2", "20261121-13/1"), 0, "sign flips"); /* two names of one run */
    says(ARGS("compare", "last/8 threads", "20261121-11"), 0, "Mann-Whitney");
    says(ARGS("compare", "20261121-11", "20261121-12", "last/1"), 0, "place");
}

static void what_is_wrong_is_said(void **state)
{
    (void)state;
    scratch_write("cut.json", "{\"schema\": \"joulet.run/1\", ");
    scratch_write("newer.json", "{\"schema\": \"joulet.run/9\", \"id\": \"x\"}");
    says(ARGS("compare"), 2, "two runs");
    says(ARGS("compare", "20261121-11"), 2, "one configuration only");
    says(ARGS("compare", "last/1"), 2, "name another");
    says(ARGS("compare", "last/3", "last/1"), 2, "has no cell \"3\"");
    says(ARGS("compare", "last/1", "last/4 threads"), 2, "named twice");
    says(ARGS("compare", "last", "last"), 2, "named twice");
    says(ARGS("compare", "a", "b", "--metric", "watts"), 2, "metric");
    says(ARGS("compare", "last", "--margin", "x"), 2, "percentage");
    says(ARGS("compare", "last", "--fail-above", "-3%"), 2, "percentage");
    says(ARGS("compare", scratch("a.json"), scratch("missing.json")), 2, "does not exist");
    says(ARGS("compare", scratch("a.json"), scratch("cut.json")), 2, NULL);
    says(ARGS("compare", scratch("a.json"), scratch("newer.json")), 2, NULL);
    says(ARGS("compare", "20261121-11", "19990101"), 2, "there is no run");
}

static void every_metric_of_the_help(void **state)
{
    static const char *const metrics[] = {"j",      "j-per-token",       "j-per-total-token", "prefill",
                                          "decode", "prefill-per-token", "decode-per-token",  "time"};
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("compare", "--help"));
    for (size_t i = 0; i < JL_COUNT(metrics); i++) {
        must_say(kept(&p.out), metrics[i]);
        says(ARGS("compare", "last", "--metric", metrics[i]), 0, i + 1 < JL_COUNT(metrics) ? "B uses" : "equal");
        says(ARGS("compare", "last", "--metric", metrics[i], "--gross"), 0, "verdict");
    }
    program_release(&p);
}

static void gates_end_with_1(void **state)
{
    (void)state;
    says(ARGS("compare", scratch("b.json"), scratch("a.json"), "--fail-above", "1%"), 1, "B uses 2.3 % more");
    says(ARGS("compare", scratch("b.json"), scratch("a.json"), "--fail-above", "2%"), 0, "B uses 2.3 % more");
    says(ARGS("compare", scratch("a.json"), scratch("b.json"), "--fail-above", "0"), 0, "B uses 2.3 % less");
    struct program p = {0};
    program_run(&p, ARGS("compare", scratch("b.json"), scratch("a.json"), "--fail-above", "1"));
    must_say(kept(&p.err), "surely more than 1 % above A");
    program_release(&p);
}

static void as_json(void **state)
{
    (void)state;
    struct program p = {0};
    program_run(&p, ARGS("compare", "last", "--json", "--margin", "4", "-o", scratch("out.json")));
    assert_int_equal(p.code, 0);
    assert_int_equal(p.out.len, 0);
    char *text = scratch_read("out.json");
    assert_non_null(text);
    must_say(text, "\"schema\":\"joulet.comparison/1\"");
    must_say(text, "\"paired\":true");
    must_say(text, "\"p\":0.0078125");
    must_say(text, "\"ratio\":0.977367");
    must_say(text, "\"verdict\":\"different\",\"small\":true");
    must_say(text, "\"margin\":0.04");
    must_say(text, "\"words\":\"B uses 2.3 % less (1.2 to 3.3 %); small\"");
    free(text);
    program_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(runs_by_any_name),
        cmocka_unit_test(what_is_wrong_is_said),
        cmocka_unit_test(every_metric_of_the_help),
        cmocka_unit_test(gates_end_with_1),
        cmocka_unit_test(as_json),
    };
    return cmocka_run_group_tests(tests, open_all, scratch_close);
}
