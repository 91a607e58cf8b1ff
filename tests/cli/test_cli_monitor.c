/* test_cli_monitor.c - joulet monitor and joulet sensors end to end, on simulated devices. */
#include "cli/cli.h"
#include "tests/cli/program.h"

#include <jansson.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static void csv_has_a_header_and_rows(void **state)
{
    struct program p = {0};
    struct jl_csv csv;
    size_t columns = 0, rows = 0;
    (void)state;
    program_run(&p, ARGS("monitor", "--sim", "40|100;group=gpu", "--csv", "--samples", "3", "--interval", "100ms"));
    assert_int_equal(p.code, 0);
    jl_csv_init(&csv, p.out.data, p.out.len);
    for (; jl_csv_next(&csv); rows++) {
        columns = rows ? columns : csv.n;
        assert_int_equal(csv.n, columns);
        assert_string_equal(csv.fields[0][0] == 't' ? "time" : "2", rows ? "2" : csv.fields[0]);
        if (!rows)
            assert_string_equal(csv.fields[columns - 2], "provenance");
        else
            assert_string_equal(csv.fields[columns - 2], "simulated");
    }
    jl_csv_release(&csv);
    assert_int_equal(rows, 4);
    must_say(kept(&p.out), "time,t_ns,dt_s,sim0.cpu_w,sim0.cpu_gross_j,sim1.gpu_w,sim1.gpu_gross_j,total_w,");
    must_say(kept(&p.err), "p95");
    must_say(kept(&p.err), "simulated figures");
    program_release(&p);
}

/* What is not in the rows is said before them. */
static void what_cannot_be_used_is_said(void **state)
{
    struct program p = {0};
    (void)state;
    scratch_write("newer", "joulet calibration 9\n");
    program_run(&p, ARGS("monitor", "--sim", "40", "--calibration", scratch("newer"), "--samples", "1", "--interval", "100ms"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "is of form 9");
    program_release(&p);
    program_run(&p, ARGS("monitor", "--sim", "40", "--samples", "1", "--interval", "100ms"));
    assert_null(strstr(kept(&p.err), "joulet: "));
    program_release(&p);
}

static void every_json_row_is_an_object(void **state)
{
    struct program p = {0};
    double last_j = 0;
    size_t rows = 0;
    (void)state;
    program_run(&p, ARGS("monitor", "--sim", "40", "--json", "--samples", "4", "--interval", "100ms", "--quiet"));
    assert_int_equal(p.code, 0);
    assert_string_equal(kept(&p.err), "");
    for (char *line = strtok(p.out.data, "\n"); line; line = strtok(NULL, "\n"), rows++) {
        json_error_t why;
        double t_ns, dt_s, gross_j;
        const char *time, *provenance;
        json_t *power, *net, *row = json_loads(line, JSON_DECODE_INT_AS_REAL | JSON_REJECT_DUPLICATES, &why);
        if (!row)
            fail_msg("%s: %s", why.text, line);
        assert_int_equal(json_unpack_ex(row, &why, 0, "{s:s,s:f,s:f,s:{s:{s:o,s:{s:o,s:f,s:s}}},s:{s:o}}", "time", &time, "t_ns",
                                        &t_ns, "dt_s", &dt_s, "channels", "sim0.cpu", "power_w", &power, "energy", "net_j", &net,
                                        "gross_j", &gross_j, "provenance", &provenance, "total", "power_w", &power),
                         0);
        assert_int_equal(strlen(time), strlen("2026-11-21T15:23:49.123Z"));
        assert_true(json_is_null(net));
        assert_string_equal(provenance, "simulated");
        assert_true(gross_j >= last_j && gross_j > 0);
        last_j = gross_j;
        json_decref(row);
    }
    assert_int_equal(rows, 4);
    program_release(&p);
}

static void what_cannot_be_read_is_a_dash(void **state)
{
    struct program p = {0};
    (void)state;
    program_run(&p, ARGS("monitor", "--sim", "40|100;group=gpu;gone=200ms", "--samples", "5", "--interval", "300ms"));
    assert_int_equal(p.code, 0);
    char *last = strrchr(p.out.data, ':'), *dash = last ? strstr(last, " - ") : NULL;
    if (!dash)
        fail_msg("no dash in the last row: %s", kept(&p.out));
    assert_null(strstr(last, " 0.00 "));
    must_say(kept(&p.err), "sim1.gpu gives no new readings: its energy is that until the last one");
    must_say(kept(&p.err), "rows lack a figure");
    program_release(&p);
}

static void narrow_lines_leave_out_what_is_not_in_the_total(void **state)
{
    struct program wide = {0}, narrow = {0}, groups = {0};
    static const char sim[] =
        "40;name=cpu-of-the-first-socket|41;name=cpu-of-the-second-socket|7;group=dram;total=no|9;group=gpu";
    (void)state;
    program_run(&wide, ARGS("monitor", "--sim", sim, "--samples", "1", "--interval", "50ms", "--width", "200"));
    must_say(kept(&wide.out), "dram");
    program_run(&narrow, ARGS("monitor", "--sim", sim, "--samples", "1", "--interval", "50ms", "--width", "110"));
    assert_null(strstr(kept(&narrow.out), "dram"));
    must_say(kept(&narrow.out), "cpu-of-the-second-socket");
    program_run(&groups, ARGS("monitor", "--sim", sim, "--samples", "1", "--interval", "50ms", "--width", "80"));
    assert_null(strstr(kept(&groups.out), "socket"));
    must_say(kept(&groups.out), "cpu");
    must_say(kept(&groups.out), "gpu");
    for (const char *line = kept(&groups.out); *line; line += strcspn(line, "\n") + 1)
        assert_true(strcspn(line, "\n") <= 81); /* the sign before the interval has two bytes */
    program_release(&wide);
    program_release(&narrow);
    program_release(&groups);
}

static void a_batch_comes_at_the_end(void **state)
{
    struct program p = {0}, q = {0};
    (void)state;
    program_run(
        &p, ARGS("monitor", "--sim", "40", "--batch", "--csv", "--samples", "3", "--interval", "50ms", "-o", scratch("b.csv")));
    assert_int_equal(p.code, 0);
    char *rows = scratch_read("b.csv");
    assert_int_equal(lines_of(rows), 4);
    free(rows);
    program_release(&p);
    /* Interrupted, it still hands over what it has. */
    program_start(&q, ARGS("monitor", "--sim", "40", "--batch", "--csv", "--interval", "50ms"));
    program_until_catching(&q, SIGINT);
    struct timespec while_rows_come = {.tv_sec = 1};
    nanosleep(&while_rows_come, NULL);
    assert_string_equal(kept(&q.out), "");
    kill(q.pid, SIGINT);
    program_end(&q);
    assert_int_equal(q.code, CLI_INTERRUPTED);
    must_say(kept(&q.out), "time,t_ns");
    assert_true(lines_of(kept(&q.out)) >= 2);
    program_release(&q);
}

/* ---- the end ------------------------------------------------------------------------------------------------------ */

static void a_signal_ends_it_with_a_summary(void **state)
{
    static const struct {
        int signal, code;
    } cases[] = {{SIGINT, CLI_INTERRUPTED}, {SIGTERM, 143}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct program p = {0};
        program_start(&p, ARGS("monitor", "--sim", "40", "--interval", "50ms"));
        program_until_out(&p, " J");
        kill(p.pid, cases[i].signal);
        program_end(&p);
        assert_false(p.killed);
        assert_int_equal(p.code, cases[i].code);
        must_say(kept(&p.err), "p95");
        must_say(kept(&p.err), " rows in ");
        program_release(&p);
    }
}

/* Nothing that was measured is lost, although the first row is not over. */
static void an_early_end_still_shows_the_energy(void **state)
{
    struct program p = {0};
    (void)state;
    program_start(&p, ARGS("monitor", "--sim", "40", "--interval", "1h", "--csv"));
    program_until_out(&p, "flags\n");
    struct timespec a_moment = {.tv_nsec = 300000000};
    nanosleep(&a_moment, NULL);
    kill(p.pid, SIGINT);
    program_end(&p);
    assert_int_equal(p.code, CLI_INTERRUPTED);
    assert_int_equal(lines_of(kept(&p.out)), 2);
    must_say(kept(&p.err), "1 rows in");
    program_release(&p);
}

/* ---- no sensor ---------------------------------------------------------------------------------------------------- */

static void an_estimate_is_marked_and_can_be_refused(void **state)
{
    struct program p = {0}, q = {0};
    char *sysfs = jl_strf("JOULET_SYSFS=%s", scratch("empty"));
    char *nvml = jl_strf("JOULET_NVML=%s", getenv("FAKE_NVML"));
    const char *const env[] = {sysfs, nvml, "FAKE_NVML_GPUS=0", NULL};
    (void)state;
    p.env = q.env = env;
    program_run(&p, ARGS("monitor", "--samples", "1", "--interval", "200ms", "--trust-root"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.err), "estimated: no sensor; the truth lies between");
    program_run(&q, ARGS("monitor", "--samples", "1", "--measured-only", "--trust-root"));
    assert_int_equal(q.code, CLI_NO_SENSOR);
    must_say(kept(&q.err), "--measured-only was given; `joulet doctor` shows what is in the way");
    assert_string_equal(kept(&q.out), "");
    program_release(&p);
    program_release(&q);
    free(nvml);
    free(sysfs);
}

/* ---- sensors ------------------------------------------------------------------------------------------------------ */

static void sensors_lists_channels(void **state)
{
    struct program p = {0}, q = {0};
    json_error_t why;
    (void)state;
    program_run(&p, ARGS("sensors", "--sim", "40|100;group=gpu;kind=power"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "sim0.cpu  energy");
    must_say(kept(&p.out), "sim1.gpu  power");
    must_say(kept(&p.out), "in the total");
    must_say(kept(&p.out), "rapl");
    program_run(&q, ARGS("sensors", "--sim", "40|100;group=gpu;kind=power", "--json"));
    json_t *list = json_loads(kept(&q.out), JSON_REJECT_DUPLICATES, &why),
           *first = json_array_get(json_object_get(list, "channels"), 0);
    if (!list)
        fail_msg("%s: %s", why.text, kept(&q.out));
    assert_string_equal(json_string_value(json_object_get(first, "id")), "sim0.cpu");
    assert_string_equal(json_string_value(json_object_get(first, "provenance")), "simulated");
    double now_w = json_real_value(json_object_get(first, "now_w"));
    assert_true(now_w > 20 && now_w < 80);
    assert_true(json_array_size(json_object_get(list, "sensors")) >= 5);
    json_decref(list);
    program_release(&p);
    program_release(&q);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(csv_has_a_header_and_rows),
        cmocka_unit_test(what_cannot_be_used_is_said),
        cmocka_unit_test(every_json_row_is_an_object),
        cmocka_unit_test(what_cannot_be_read_is_a_dash),
        cmocka_unit_test(narrow_lines_leave_out_what_is_not_in_the_total),
        cmocka_unit_test(a_batch_comes_at_the_end),
        cmocka_unit_test(a_signal_ends_it_with_a_summary),
        cmocka_unit_test(an_early_end_still_shows_the_energy),
        cmocka_unit_test(an_estimate_is_marked_and_can_be_refused),
        cmocka_unit_test(sensors_lists_channels),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
