/* test_text.c - numbers, figures, widths and foreign text, row by row. */
#include "report/internal.h"
#include "tests/run/near.h"
#include "tests/run/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static const struct report_style utf8 = {.utf8 = true}, ascii = {.utf8 = false};

static void digits_are_significant(void **state)
{
    static const struct {
        double x;
        int digits;
        const char *want;
    } cases[] = {
        {12.345, 3, "12.3"},     {0.0996, 2, "0.10"},     {0.00148, 2, "0.0015"},
        {1234, 2, "1200"},       {999.6, 3, "1000"},      {0, 3, "0"},
        {NAN, 3, "-"},           {INFINITY, 3, "-"},      {-0.5, 2, "-0.50"},
        {100, 3, "100"},         {1, 3, "1.00"},          {9.996e-7, 3, "0.00000100"},
        {1e-300, 2, "1.0e-300"}, {1e300, 3, "1.00e+300"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_string_equal(number_digits(cases[i].x, cases[i].digits).text, cases[i].want);
}

static void durations_have_their_unit(void **state)
{
    static const struct {
        double s;
        const char *want;
    } cases[] = {
        {0, "0 s"},       {0.0015, "1.50 ms"},    {0.052, "52.0 ms"}, {0.99949, "999 ms"},   {0.9996, "1.00 s"},
        {1.25, "1.25 s"}, {12.345, "12.3 s"},     {59.94, "59.9 s"},  {59.96, "1 min 00 s"}, {125, "2 min 05 s"},
        {NAN, "-"},       {7320, "122 min 00 s"}, {8.5e-4, "850 us"}, {1e300, NULL},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct number n = number_s(cases[i].s, &ascii);
        if (cases[i].want)
            assert_string_equal(n.text, cases[i].want);
    }
    assert_string_equal(number_s(8.5e-4, &utf8).text, "850 \u00b5s");
}

static void other_numbers(void **state)
{
    const char *unit;
    (void)state;
    assert_string_equal(number_w(99.94).text, "99.9 W");
    assert_string_equal(number_w(99.96).text, "100 W");
    assert_string_equal(number_w(-0.01).text, "0.0 W");
    assert_string_equal(number_w(NAN).text, "-");
    assert_string_equal(number_count(-1).text, "-");
    assert_string_equal(number_count(4096).text, "4096");
    assert_string_equal(number_plain(0.3).text, "0.3");
    assert_string_equal(number_plain(NAN).text, "-");
    assert_near(unit_co2e(0.00148, &ascii, &unit), 1000, 0);
    assert_string_equal(unit, "mgCO2e");
    unit_co2e(1e-9, &ascii, &unit);
    assert_string_equal(unit, "ugCO2e");
    unit_co2e(2000, &ascii, &unit);
    assert_string_equal(unit, "kgCO2e");
    unit_co2e(NAN, &utf8, &unit);
    assert_string_equal(unit, "\u00b5gCO2e");
}

/* The same rounding as joulet_format_j, whatever the unit. */
static void intervals_are_rounded_alike(void **state)
{
    static const struct {
        double x, pm;
        const char *want;
    } cases[] = {
        {12.4, 0.7363, "12.40 +- 0.74 J"},
        {0.0012, 0.00031, "0.00120 +- 0.00031 J"},
        {398, 15.2, "398 +- 15 J"},
        {1, NAN, "1.00 J"},
        {NAN, 1, "-"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_string_equal(number_pm(cases[i].x, cases[i].pm, "J", &ascii).text, cases[i].want);
    assert_string_equal(number_pm(12.4, 0.74, "W", &utf8).text, "12.40 \u00b1 0.74 W");
}

static void figures_show_their_interval(void **state)
{
    struct figure measured = {.j = 12.4, .pm = 0.7363}, estimate = {.j = 12, .lo = 7.5, .hi = 17, .estimate = true},
                  unknown = {.j = NAN, .pm = NAN};
    (void)state;
    assert_string_equal(figure_text(&measured, &utf8).text, "12.40 J \u00b1 0.74 J");
    assert_string_equal(figure_text(&estimate, &utf8).text, "\u2248 12 J (7.5 to 17 J)");
    assert_string_equal(figure_text(&estimate, &ascii).text, "~ 12 J (7.5 to 17 J)");
    assert_string_equal(figure_text(&unknown, &utf8).text, "-");
    assert_string_equal(figure_scaled(&measured, 0.1, "J", &ascii).text, "1.240 +- 0.074 J");
    assert_string_equal(figure_scaled(&estimate, 0.1, "Wh", &ascii).text, "~ 1.2 Wh (0.75 to 1.7 Wh)");
    assert_string_equal(figure_scaled(&estimate, NAN, "J", &ascii).text, "-");
}

/* A measured part brings its interval, an estimated one its factors. */
static void ends_of_mixed_sums_add_up(void **state)
{
    struct run r;
    (void)state;
    sample_single(&r, SAMPLE_MIXED);
    const struct run_energy *e = &r.requests[0].energy;
    struct figure net = figure_net(&r, e);
    double guess = e->channels[0].e.net_j, seen = e->channels[1].e.net_j, pm = e->channels[1].e.net_pm_j;
    assert_true(net.estimate);
    assert_near(net.j, guess + seen, 1e-9);
    const struct joulet_u *u = &e->channels[0].e.u;
    double other = 2 * sqrt(u->q * u->q + u->b * u->b + u->time * u->time + u->event * u->event + u->idle * u->idle);
    assert_near(net.lo, guess - hypot(0.6 * guess, other) + seen - pm, 1e-9);
    assert_near(net.hi, guess + hypot(1.5 * guess, other) + seen + pm, 1e-9);
    run_release(&r);
    sample_single(&r, SAMPLE_SENSORS);
    net = figure_net(&r, &r.requests[0].energy);
    assert_false(net.estimate);
    run_release(&r);
}

/* A factor on nothing is nothing, but the idle level below it is not known that well. */
static void an_estimate_near_zero_keeps_its_interval(void **state)
{
    struct run r;
    struct figure net, gross;
    struct joulet_energy x = sample_energy(-4e-7, 6.1, JOULET_ESTIMATED);
    (void)state;
    sample_exec(&r, SAMPLE_ESTIMATE);
    x.u = (struct joulet_u){0, 0, 0, 0, 0.1226, 0};
    figure_of_channel(&r, r.channels[0].id, &x, &net, &gross);
    assert_near(net.hi, 0.2452, 1e-6);
    assert_string_equal(figure_text(&net, &ascii).text, "~ 0.000 J (-0.25 to 0.25 J)");
    assert_string_equal(figure_text(&gross, &ascii).text, "~ 6.1 J (2.4 to 15 J)");
    run_release(&r);
}

static void estimates_without_channels_use_their_bounds(void **state)
{
    struct run r;
    struct run_energy e;
    (void)state;
    run_init(&r, "run");
    run_energy_init(&e);
    e.total = sample_energy(10, 20, JOULET_ESTIMATED);
    struct figure net = figure_net(&r, &e);
    assert_true(net.estimate);
    assert_near(net.lo, 4, 1e-9);
    assert_near(net.hi, 25, 1e-9);
    run_energy_release(&e);
    run_release(&r);
}

static void widths_are_columns(void **state)
{
    static const struct {
        const char *s;
        int columns;
    } cases[] = {
        {"", 0},        {"abc", 3},  {"\u00b1", 1},   {"\u2500\u2500", 2}, {"\u65e5\u672c", 4},
        {"e\u0301", 1}, {"\xff", 1}, {"\xe6\x97", 2}, {"\U0001f600!", 3},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_int_equal(text_width(cases[i].s), cases[i].columns);
    assert_int_equal(text_fit("\u65e5\u672c", 3), 3); /* half a character is none */
    assert_int_equal(text_fit("abc", 0), 0);
}

static void small_quantities_have_small_units(void **state)
{
    static const struct {
        double x;
        const char *unit, *want;
    } cases[] = {{0.000495, "J", "495 \u00b5J"}, {1.9e-6, "J", "1.90 \u00b5J"}, {0.00101, "J", "1.01 mJ"},
                 {0.74e-6, "s", "740 ns"},       {12.34, "J", "12.3 J"},        {NAN, "J", "-"}};
    char text[32];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++)
        assert_string_equal(report_si(text, sizeof text, cases[i].x, cases[i].unit), cases[i].want);
}

static void foreign_text_commands_nothing(void **state)
{
    static const struct {
        const char *in, *utf8, *ascii;
    } cases[] = {
        {"plain", "plain", "plain"},
        {"a\n\n b\t c ", "a b c", "a b c"},
        {"\033[31mred\033[0m", "[31mred [0m", "[31mred [0m"},
        {"\xc2\x9b"
         "2J",
         "2J", "2J"},               /* C1: the same as ESC [ */
        {"a\u202eb", "a b", "a b"}, /* writes backwards */
        {"caf\u00e9", "caf\u00e9", "caf?"},
        {"12 \u00b5s \u00b1 1", "12 \u00b5s \u00b1 1", "12 us +- 1"},
        {"\xff\xc3", "??", "??"},
        {"", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char *a = text_clean(cases[i].in, &utf8), *b = text_clean(cases[i].in, &ascii);
        assert_string_equal(a, cases[i].utf8);
        assert_string_equal(b, cases[i].ascii);
        free(a);
        free(b);
    }
}

static void models_by_their_file(void **state)
{
    static const char *const names[][2] = {{"/models/a b/tiny.gguf", "tiny.gguf"},
                                           {"/tiny.gguf", "tiny.gguf"},
                                           {"meta-llama/Llama-3.2-1B", "meta-llama/Llama-3.2-1B"}, /* no path */
                                           {"llama3.2:1b", "llama3.2:1b"},
                                           {"/models/", "/models/"},
                                           {"/", "/"},
                                           {"", ""}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++)
        assert_string_equal(report_model_name(names[i][0]), names[i][1]);
}

static void items_wrap_with_their_indent(void **state)
{
    static const struct report_style narrow = {.width = 30};
    struct jl_buf b;
    (void)state;
    jl_buf_init(&b, 10000);
    text_item(&b, &narrow, "note", NULL, "one two three four five sixsevenei", TONE_PLAIN);
    assert_string_equal(b.data, "  note       one two three\n             four five\n             sixsevenei\n");
    jl_buf_clear(&b);
    text_item(&b, &narrow, "net", "12 J", "above all", TONE_PLAIN);
    assert_string_equal(b.data, "  net        12 J  above all\n");
    jl_buf_clear(&b);
    text_item(&b, &narrow, "x", NULL, "averyveryverylongword indeed", TONE_PLAIN);
    assert_string_equal(b.data, "  x          averyveryverylong\n             word indeed\n");
    jl_buf_clear(&b);
    text_item(&b, &narrow, "net", "1234567 J  ", "above all that is", TONE_PLAIN);
    assert_string_equal(b.data, "  net        1234567 J\n             above all that is\n");
    jl_buf_clear(&b);
    text_item(&b, &narrow, "answer", NULL, "", TONE_PLAIN);
    assert_string_equal(b.data, "  answer\n");
    jl_buf_release(&b);
}

static void every_flag_has_words(void **state)
{
    (void)state;
    for (unsigned k = 0; k < 32; k++)
        assert_int_equal(joulet_flag_name(1u << k) != NULL, *words_flag(1u << k) != '\0');
    for (int p = 0; p <= JOULET_SIMULATED; p++)
        assert_true(strlen(words_provenance((enum joulet_provenance)p)) > 10);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(digits_are_significant),
        cmocka_unit_test(durations_have_their_unit),
        cmocka_unit_test(other_numbers),
        cmocka_unit_test(intervals_are_rounded_alike),
        cmocka_unit_test(figures_show_their_interval),
        cmocka_unit_test(ends_of_mixed_sums_add_up),
        cmocka_unit_test(an_estimate_near_zero_keeps_its_interval),
        cmocka_unit_test(estimates_without_channels_use_their_bounds),
        cmocka_unit_test(widths_are_columns),
        cmocka_unit_test(small_quantities_have_small_units),
        cmocka_unit_test(foreign_text_commands_nothing),
        cmocka_unit_test(models_by_their_file),
        cmocka_unit_test(items_wrap_with_their_indent),
        cmocka_unit_test(every_flag_has_words),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
