/* test_cli_factors.c - factors that change during a run (docs/carbon.md): a command that is asked at most every 15 minutes and
 * whose last value is kept with its age, and a series of values in a file. */
#include "lib/platform/platform.h"
#include "tests/cli/program.h"
#include "tests/cli/quick.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static struct quick quick;

/* A bench of one request without waiting, and its record. */
static void bench(struct run *r, const char *option, const char *value, int code)
{
    struct program p = {0};
    program_run(&p, ARGS("bench", "--engine", quick.url, "--sim", "20", "--baseline", "0", "--cooldown", "0", "--prompts",
                         scratch("one.txt"), option, value, "--json", "-o", scratch("factors.json")));
    if (p.code != code)
        fail_msg("code %d: %s", p.code, kept(&p.err));
    program_release(&p);
    if (code == 0)
        record_read("factors.json", r);
}

static double factor(const struct run *r, const char *key)
{
    const char *text = run_pairs_get(&r->factors, key);
    double x;
    return text && jl_parse_double(text, &x) ? x : NAN;
}

static size_t asked_times(const char *name)
{
    size_t n = 0;
    char *text = scratch_read(name);
    for (const char *at = text; at && (at = strchr(at, '\n')); at++)
        n++;
    free(text);
    return n;
}

/* The value that was kept becomes older by so many seconds. */
static void age_kept(double seconds)
{
    struct joulet_error err;
    char digest[80], text[256];
    const char *path = scratch("joulet/grid-command.txt");
    long long at;
    double g;
    assert_int_equal(jl_read_text(path, text, sizeof text, &err), JOULET_OK);
    assert_int_equal(sscanf(text, "%79s %lld %lf", digest, &at, &g), 3);
    char *older = jl_strf("%s %lld %.10g\n", digest, at - (long long)seconds, g);
    assert_int_equal(jl_write_file(path, older, strlen(older), 0600, &err), JOULET_OK);
    free(older);
}

static void a_command_is_asked_every_15_minutes(void **state)
{
    struct run r;
    char command[512];
    bool said = false;
    (void)state;
    snprintf(command, sizeof command, "echo asked >> '%s'; sh '%s'", scratch("asked"), scratch("answer.sh"));
    scratch_write("answer.sh", "echo 250\n");
    bench(&r, "--grid-command", command, 0);
    assert_true(factor(&r, "grid_g_per_kwh") == 250 && factor(&r, "grid_age_s") < 60);
    run_release(&r);
    assert_int_equal(asked_times("asked"), 1);
    scratch_write("answer.sh", "echo 300\n"); /* within 15 minutes the kept value holds */
    bench(&r, "--grid-command", command, 0);
    assert_true(factor(&r, "grid_g_per_kwh") == 250);
    run_release(&r);
    assert_int_equal(asked_times("asked"), 1);
    age_kept(3600);
    scratch_write("answer.sh", "exit 3\n"); /* asked again, fails: the last value, with its age */
    bench(&r, "--grid-command", command, 0);
    assert_true(factor(&r, "grid_g_per_kwh") == 250 && factor(&r, "grid_age_s") >= 3600);
    for (size_t i = 0; i < r.n_notes; i++)
        said |= strstr(r.notes[i], "failed with exit code 3; its last value, 250 g/kWh, is used") != NULL;
    assert_true(said);
    run_release(&r);
    assert_int_equal(asked_times("asked"), 2);
    scratch_write("answer.sh", "echo 300\n");
    bench(&r, "--grid-command", command, 0);
    assert_true(factor(&r, "grid_g_per_kwh") == 300 && factor(&r, "grid_age_s") < 60);
    run_release(&r);
    assert_int_equal(asked_times("asked"), 3);
    bench(&r, "--grid-command", "echo plenty", 0); /* another command has no last value: unknown, never 0 */
    assert_true(isnan(factor(&r, "grid_g_per_kwh")));
    run_release(&r);
}

static void a_series_holds_until_its_next_line(void **state)
{
    struct run r;
    char text[256];
    long long now = (long long)(jl_wall_ns() / JL_NS_PER_S);
    (void)state;
    snprintf(text, sizeof text, "time,g_per_kwh\n%lld,100\n%lld,400\n%lld,900\n", now - 7200, now - 1800, now + 86400);
    scratch_write("series.csv", text);
    bench(&r, "--grid-series", scratch("series.csv"), 0);
    assert_true(factor(&r, "grid_g_per_kwh") == 400);
    assert_true(fabs(factor(&r, "grid_age_s") - 1800) < 120);
    run_release(&r);
    snprintf(text, sizeof text, "%lld,100\n", now + 86400); /* nothing is known of now */
    scratch_write("later.csv", text);
    bench(&r, "--grid-series", scratch("later.csv"), 0);
    assert_true(isnan(factor(&r, "grid_g_per_kwh")));
    run_release(&r);
    scratch_write("bad.csv", "yesterday,much\n");
    bench(&r, "--grid-series", scratch("bad.csv"), 2);
}

static int set_up(void **state)
{
    struct sim_config c;
    if (scratch_open(state))
        return -1;
    sim_config_init(&c);
    c.prefill_ms = 0.05;
    c.decode_ms = 0.1;
    c.tokens = 4;
    quick_start(&quick, &c);
    scratch_write("one.txt", "hello\n");
    return 0;
}

static int tear_down(void **state)
{
    quick_close(&quick);
    return scratch_close(state);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(a_command_is_asked_every_15_minutes),
        cmocka_unit_test(a_series_holds_until_its_next_line),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
