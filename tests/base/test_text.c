/* Numbers, durations and lists as files and options write them. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <locale.h>
#include <stdlib.h>
#include <string.h>

static void test_i64(void **state)
{
    static const struct {
        const char *s;
        bool ok;
        int64_t want;
    } cases[] = {
        {"0", true, 0},
        {"42", true, 42},
        {"-42", true, -42},
        {"+7", true, 7},
        {"007", true, 7},
        {"262143328850\n", true, 262143328850},
        {"9223372036854775807", true, INT64_MAX},
        {"-9223372036854775808", true, INT64_MIN},
        {"9223372036854775808", false, 0},
        {"-9223372036854775809", false, 0},
        {"99999999999999999999999", false, 0},
        {"", false, 0},
        {"\n", false, 0},
        {"-", false, 0},
        {"-+1", false, 0},
        {"--1", false, 0},
        {" 1", false, 0},
        {"1 ", false, 0},
        {"1\n\n", false, 0},
        {"1.5", false, 0},
        {"0x10", false, 0},
        {"1e3", false, 0},
        {"abc", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        int64_t v = -77;
        if (jl_parse_i64(cases[i].s, &v) != cases[i].ok || v != (cases[i].ok ? cases[i].want : -77))
            fail_msg("\"%s\" gave %lld", cases[i].s, (long long)v);
    }
}

static void test_u64(void **state)
{
    uint64_t v = 5;
    (void)state;
    assert_true(jl_parse_u64("18446744073709551615", &v));
    assert_true(v == UINT64_MAX);
    v = 5;
    assert_false(jl_parse_u64("18446744073709551616", &v));
    assert_false(jl_parse_u64("-1", &v));
    assert_int_equal(v, 5);
}

static const struct {
    const char *s;
    bool ok;
    double want;
} doubles[] = {
    {"0", true, 0},      {"1.5", true, 1.5},    {"-2.25\n", true, -2.25}, {".5", true, 0.5},   {"5.", true, 5},
    {"1e3", true, 1000}, {"1E-3", true, 0.001}, {"+4", true, 4},          {"1e400", false, 0}, {"nan", false, 0},
    {"inf", false, 0},   {"0x1p3", false, 0},   {"1,5", false, 0},        {"", false, 0},      {".", false, 0},
    {"1e", false, 0},    {"1.5x", false, 0},    {" 1", false, 0},         {"1 ", false, 0},    {"-", false, 0},
    {"1.2.3", false, 0}, {"1e1.5", false, 0},   {"1e-400", true, 0},
};

static void check_doubles(void)
{
    for (size_t i = 0; i < JL_COUNT(doubles); i++) {
        double v = -77;
        bool ok = jl_parse_double(doubles[i].s, &v);
        if (ok != doubles[i].ok || v != (doubles[i].ok ? doubles[i].want : -77))
            fail_msg("\"%s\" gave %g", doubles[i].s, v);
    }
}

static void test_double(void **state)
{
    (void)state;
    check_doubles();
}

/* A German terminal writes 1,5: our files and options do not. */
static void test_double_elsewhere(void **state)
{
    static const char *const names[] = {"de_DE.UTF-8", "fr_FR.UTF-8", "de_DE", "ps_AF.UTF-8"};
    bool found = false;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        if (!setlocale(LC_NUMERIC, names[i]))
            continue;
        found = true;
        check_doubles();
    }
    setlocale(LC_NUMERIC, "C");
    if (!found)
        skip();
}

static void test_double_too_long(void **state)
{
    char digits[2000];
    double v;
    (void)state;
    memset(digits, '1', sizeof(digits) - 1);
    digits[sizeof(digits) - 1] = '\0';
    assert_false(jl_parse_double(digits, &v));
}

static void test_duration(void **state)
{
    static const struct {
        const char *s;
        bool ok;
        int64_t want;
    } cases[] = {
        {"250us", true, 250000},
        {"10ms", true, 10000000},
        {"1.5s", true, 1500000000},
        {"2m", true, 120000000000},
        {"1h", true, 3600000000000},
        {"7", true, 7000000000},
        {"0", true, 0},
        {"3ns", true, 3},
        {"0.1ms", true, 100000},
        {"2min", true, 120000000000},
        {"1d", true, 86400000000000},
        {"-1s", false, 0},
        {"1 s", false, 0},
        {"s", false, 0},
        {"", false, 0},
        {"1S", false, 0},
        {"1e30s", false, 0},
        {"10mss", false, 0},
        {"1.5.s", false, 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        int64_t ns = -77;
        if (jl_parse_duration(cases[i].s, &ns) != cases[i].ok || ns != (cases[i].ok ? cases[i].want : -77))
            fail_msg("\"%s\" gave %lld", cases[i].s, (long long)ns);
    }
}

static void test_lists(void **state)
{
    (void)state;
    assert_true(jl_word_in("rapl,nvml", ',', "nvml"));
    assert_true(jl_word_in("rapl, nvml", ',', "nvml"));
    assert_true(jl_word_in("rapl", ',', "rapl"));
    assert_false(jl_word_in("rapl2,nvml", ',', "rapl"));
    assert_false(jl_word_in("rapl,nvml", ',', "rap"));
    assert_false(jl_word_in("", ',', "rapl"));
    assert_false(jl_word_in(",", ',', ""));
    assert_false(jl_word_in(NULL, ',', "rapl"));
    assert_true(jl_starts("package-0", "package-"));
    assert_false(jl_starts("pack", "package"));
}

static void test_strings(void **state)
{
    (void)state;
    char *s = jl_strf("%s-%d", "gpu", 3);
    assert_string_equal(s, "gpu-3");
    free(s);
    assert_null(jl_strdup(NULL));
    s = jl_strdup("x");
    assert_string_equal(s, "x");
    free(s);
}

/* Messages that do not fit are cut between characters: they stay UTF-8. */
static void test_fail(void **state)
{
    struct joulet_error err;
    char longer[600];
    (void)state;
    assert_int_equal(jl_fail(&err, JOULET_IO, "%s: %d", "file", 5), JOULET_IO);
    assert_string_equal(err.message, "file: 5");
    assert_int_equal(err.status, JOULET_IO);
    assert_int_equal(jl_fail(NULL, JOULET_GONE, "x"), JOULET_GONE);
    assert_int_equal(jl_ok(&err), JOULET_OK);
    assert_string_equal(err.message, "");
    for (size_t shift = 0; shift < 3; shift++) {
        memset(longer, 'a', sizeof(longer));
        for (size_t i = shift; i + 3 < sizeof(longer); i += 3)
            memcpy(longer + i, "\xE2\x82\xAC", 3); /* euro sign */
        longer[sizeof(longer) - 4] = '\0';
        jl_fail(&err, JOULET_IO, "%s", longer);
        size_t n = strlen(err.message);
        assert_true(n > 505 && n < sizeof(err.message));
        assert_int_equal((n - shift) % 3, 0);
    }
}

static void test_time(void **state)
{
    char text[32];
    (void)state;
    jl_format_time(text, sizeof(text), 1795275829LL * JL_NS_PER_S + 999999999);
    assert_string_equal(text, "2026-11-21T15:43:49Z");
    jl_format_time(text, sizeof(text), -1);
    assert_string_equal(text, "1969-12-31T23:59:59Z");
    jl_format_time(text, 5, 0);
    assert_string_equal(text, "");
}

static void test_clock_ascends(void **state)
{
    (void)state;
    int64_t a = jl_mono_ns(), b = jl_mono_ns(), cpu = jl_thread_cpu_ns();
    assert_true(a > 0 && b >= a && cpu > 0 && jl_wall_ns() > 1700000000LL * JL_NS_PER_S);
}

static void test_trace_switch(void **state)
{
    (void)state;
    setenv("JOULET_TRACE", "sensor,engine", 1);
    assert_true(jl_trace_on("sensor"));
    assert_true(jl_trace_on("engine"));
    assert_false(jl_trace_on("net"));
    setenv("JOULET_TRACE", "all", 1);
    assert_true(jl_trace_on("net"));
    unsetenv("JOULET_TRACE");
    assert_false(jl_trace_on("sensor"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_i64),
        cmocka_unit_test(test_u64),
        cmocka_unit_test(test_double),
        cmocka_unit_test(test_double_elsewhere),
        cmocka_unit_test(test_double_too_long),
        cmocka_unit_test(test_duration),
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_time),
        cmocka_unit_test(test_clock_ascends),
        cmocka_unit_test(test_trace_switch),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
