/* test_cli_live.c - statistics of rows in bounded memory, JSON text, and rows of a simulated meter. */
#include "cli/json.h"
#include "cli/live.h"
#include "cli/parse.h"
#include "tests/cli/test.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

static void assert_near(double got, double want, double by)
{
    if (!(fabs(got - want) <= by))
        fail_msg("%.9g is not %.9g within %.3g", got, want, by);
}

/* ---- statistics --------------------------------------------------------------------------------------------------- */

static void no_rows_are_unknown(void **state)
{
    struct live_stats s = {0};
    struct live_figures f;
    (void)state;
    live_stats_figures(&s, &f);
    assert_true(isnan(f.min_w) && isnan(f.mean_w) && isnan(f.p50_w) && isnan(f.p95_w) && isnan(f.max_w));
    live_stats_add(&s, NAN, 1);
    live_stats_figures(&s, &f);
    assert_true(isnan(f.min_w));
    assert_int_equal(s.missing, 1);
    live_stats_release(&s);
}

static void few_rows_are_exact(void **state)
{
    static const double rows[] = {50, 10, 40, 20, 30};
    struct live_stats s = {0};
    struct live_figures f;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        live_stats_add(&s, rows[i], 1);
    live_stats_add(&s, NAN, 1); /* neither a zero nor a part of the mean */
    live_stats_add(&s, 30, 5);  /* the mean is over time */
    live_stats_figures(&s, &f);
    assert_true(f.min_w == 10 && f.max_w == 50 && f.p50_w == 30);
    assert_near(f.mean_w, 30, 1e-12);
    assert_near(f.p95_w, 47.5, 1e-9);
    live_stats_release(&s);
}

static void many_rows_stay_small(void **state)
{
    enum { ROWS = 300000 };
    struct live_stats s = {0};
    struct live_figures f;
    (void)state;
    for (int i = 0; i < ROWS; i++)
        live_stats_add(&s, (double)((int64_t)i * 7919 % ROWS), 1); /* every value once */
    live_stats_figures(&s, &f);
    assert_true(s.cap <= 16384 && s.rows == ROWS);
    assert_true(f.min_w == 0 && f.max_w == ROWS - 1);
    assert_near(f.p50_w, ROWS * 0.5, ROWS * 0.02);
    assert_near(f.p95_w, ROWS * 0.95, ROWS * 0.02);
    live_stats_release(&s);
}

/* ---- JSON --------------------------------------------------------------------------------------------------------- */

static void json_text_is_valid(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"plain", "\"plain\""},
        {"a\"b\\c", "\"a\\\"b\\\\c\""},
        {"tab\there", "\"tab\\u0009here\""},
        {"Grüße €", "\"Grüße €\""},
        {"bad \xff end", "\"bad \xef\xbf\xbd end\""},
        {"cut \xe2\x82", "\"cut \xef\xbf\xbd\xef\xbf\xbd\""},
        {"\xc0\xaf overlong", "\"\xef\xbf\xbd\xef\xbf\xbd overlong\""},
        {"\xed\xa0\x80 surrogate", "\"\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd surrogate\""},
        {NULL, "null"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct jl_buf b;
        jl_buf_init(&b, 1000);
        cli_json_string(&b, cases[i].text);
        assert_string_equal(b.data, cases[i].want);
        jl_buf_release(&b);
    }
}

static void json_of_the_unknown_is_null(void **state)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    struct jl_buf b;
    (void)state;
    e.gross_j = 12.5;
    e.flags = JOULET_FLAG_GAP | JOULET_FLAG_PARTIAL;
    jl_buf_init(&b, 1000);
    cli_json_energy(&b, &e);
    assert_string_equal(b.data,
                        "{\"net_j\":null,\"net_pm_j\":null,\"gross_j\":12.5,\"gross_pm_j\":null,\"min_j\":null,\"max_j\":null,"
                        "\"tail_j\":null,\"provenance\":\"measured\",\"method\":\"none\",\"flags\":[\"gap\",\"partial\"]}");
    jl_buf_clear(&b);
    cli_json_number(&b, INFINITY);
    assert_string_equal(b.data, "null");
    jl_buf_release(&b);
}

/* ---- rows --------------------------------------------------------------------------------------------------------- */

static const struct command metered = {.name = "metered", .options = "sensors sim replay trust-root measured-only"};

static int rows_of(const char *sim, struct live *l, size_t rows, double each_s)
{
    static struct cli c;
    const char *words[] = {"metered", "--sim", sim, "--config", "/dev/null", NULL};
    assert_int_equal(cli_parse(&c, &metered, 5, (char **)words), CLI_DONE);
    int code = live_open(l, &c, 0, 5);
    cli_release(&c);
    for (size_t i = 0; code == CLI_DONE && i < rows; i++) {
        joulet_mark end = l->last + jl_ns(each_s);
        terminal_wait_until(end);
        joulet_wait_covered(l->meter, end, 5, NULL);
        live_row(l, end);
        live_count(l, each_s);
    }
    return code;
}

static void rows_add_up(void **state)
{
    struct live l;
    (void)state;
    assert_int_equal(rows_of("40;group=cpu|7;group=dram;total=no|100;group=gpu", &l, 3, 0.3), CLI_DONE);
    assert_int_equal(l.n, 3);
    /* On a machine so busy that a device seems silent there is no sum either. */
    double sum_w = l.channels[0].now + l.channels[2].now;
    assert_true(isnan(sum_w) ? isnan(l.total_w) : fabs(l.total_w - sum_w) < 1e-9);
    assert_near(l.total.gross_j, l.channels[0].energy.gross_j + l.channels[2].energy.gross_j, 1e-9);
    assert_near(l.channels[0].energy.gross_j, 40 * 0.9, 4); /* the curve is played by the clock: no stall changes it */
    assert_near(l.channels[1].energy.gross_j, 7 * 0.9, 0.7);
    assert_int_equal(l.total.provenance, JOULET_SIMULATED);
    assert_int_equal(l.total_stats.rows + l.total_stats.missing, 3);
    live_close(&l);
}

static void a_silent_device_is_no_zero(void **state)
{
    struct live l;
    (void)state;
    assert_int_equal(rows_of("40|100;group=gpu;gone=300ms", &l, 4, 0.4), CLI_DONE);
    assert_true(l.channels[1].silent);
    assert_true(isnan(l.channels[1].now) && isnan(l.total_w)); /* a sum without it would look like a lower draw */
    assert_false(isnan(l.channels[0].now));
    assert_true(l.channels[1].energy.gross_j < 60); /* nothing is made up after its last reading */
    assert_true(l.channels[1].energy.flags & JOULET_FLAG_GAP);
    assert_true(l.total_stats.missing >= 1);
    live_close(&l);
}

/* Read without error, and yet nothing new: that is no power of 0 W. */
static void a_counter_that_does_not_move_is_no_zero(void **state)
{
    struct live l;
    (void)state;
    assert_int_equal(rows_of("40;frozen=0s", &l, 3, 0.3), CLI_DONE);
    assert_true(l.channels[0].silent);
    assert_true(isnan(l.channels[0].now) && isnan(l.total_w) && isnan(l.total.gross_j));
    assert_int_equal(l.total_stats.missing, 3);
    live_close(&l);
}

/* Long enough that stretches are summed up and let go: nothing is lost or counted twice at the seams. */
static void seams_do_not_show(void **state)
{
    struct live l;
    (void)state;
    assert_int_equal(rows_of("80", &l, 15, 0.4), CLI_DONE);
    assert_true(l.channels[0].any_closed);
    assert_near(l.channels[0].energy.gross_j, 80 * 6.0, 80 * 6.0 * 0.05); /* a stretch is 2 s or more */
    assert_true(l.channels[0].energy.gross_pm_j > 0);
    live_close(&l);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(no_rows_are_unknown),         cmocka_unit_test(few_rows_are_exact),
        cmocka_unit_test(many_rows_stay_small),        cmocka_unit_test(json_text_is_valid),
        cmocka_unit_test(json_of_the_unknown_is_null), cmocka_unit_test(rows_add_up),
        cmocka_unit_test(a_silent_device_is_no_zero),  cmocka_unit_test(a_counter_that_does_not_move_is_no_zero),
        cmocka_unit_test(seams_do_not_show),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
