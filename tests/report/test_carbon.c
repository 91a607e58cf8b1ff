/* Places against the rows of their files, series, tariffs, and the amounts that a record comes to. */
#include "data/data.h"
#include "report/carbon.h"
#include "tests/base/test.h"
#include "tests/run/sample.h"

#include <ctype.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define H (3600 * JL_NS_PER_S)

/* ---- places ------------------------------------------------------------------------------------------------------ */

static void test_places(void **state)
{
    (void)state;
    static const struct {
        const char *said, *code, *year, *basis;
        double g, pue, wue;
    } rows[] = {
        {"DE", "DE", "2025", "life cycle", 329.65, NAN, NAN},
        {"deu", "DE", "2025", "life cycle", 329.65, NAN, NAN},
        {"germany", "DE", "2025", "life cycle", 329.65, NAN, NAN},
        {"UK", "GB", "2025", "life cycle", 217.41, NAN, NAN},
        {"Cote d'Ivoire", "CI", "2024", "life cycle", 405.01, NAN, NAN},
        {"CA", "CA", "2025", "life cycle", 190.72, NAN, NAN},
        {"World", "World", "2025", "life cycle", 458.29, NAN, NAN},
        {"Europe", "Europe", "2025", "life cycle", 271.19, NAN, NAN},
        {"eu", "EU (Ember)", "2025", "life cycle", 209.9, NAN, NAN},
        {"us-ca", "us-ca", "2016", "direct", 205.269, NAN, NAN},
        {"US-CA", "us-ca", "2016", "direct", 205.269, NAN, NAN},
        {"usa", "US", "2025", "life cycle", 384.4, NAN, NAN},
        {"ca-on", "ca-on", "2023", "direct", 64.722, NAN, NAN},
        {"Ontario", "ca-on", "2023", "direct", 64.722, NAN, NAN},
        {"SE3", "SE3", "2024", "not stated", 18, NAN, NAN},
        {"no1", "NO1", "2024", "not stated", 18, NAN, NAN},
        {"FI", "FI", "2025", "life cycle", 57.47, NAN, NAN},
        {"fi-fi", "fi-fi", "2025", "not stated", 72, NAN, NAN},
        {"aws:eu-west-1", "aws:eu-west-1", "2021-2023", "direct", 316, 1.11, 0.03},
        {"amazon:eu-west-1", "aws:eu-west-1", "2021-2023", "direct", 316, 1.11, 0.03},
        {"eu-west-1", "aws:eu-west-1", "2021-2023", "direct", 316, 1.11, 0.03},
        {"aws:ap-east-1", "aws:ap-east-1", "2021-2023", "not stated", 810, NAN, 0.18},
        {"aws:ap-south-2", "aws:ap-south-2", "", "not stated", NAN, 1.46, 0.18},
        {"gcp:europe-west4", "gcp:europe-west4", "2024", "direct", 208.81, 1.07, NAN},
        {"google:us-east5", "gcp:us-east5", "2024", "direct", 323.05, 1.09, NAN},
        {"azure:northeurope", "azure:northeurope", "2021-2023", "direct", 316, 1.19, 0.03},
        {"azure:North Europe", "azure:northeurope", "2021-2023", "direct", 316, 1.19, 0.03},
        {"azure:Finland Central", "azure:finlandcentral", "2021-2023", "direct", 77, NAN, NAN},
        {"CF", "CF", "2023", "life cycle", NAN, NAN, NAN}, /* a gap that the file has as 0 */
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct carbon_place p;
        struct joulet_error err;
        if (carbon_find(rows[i].said, &p, &err) != JOULET_OK)
            fail_msg("%s: %s", rows[i].said, err.message);
        assert_string_equal(p.code, rows[i].code);
        assert_string_equal(p.year, rows[i].year);
        assert_string_equal(p.basis, rows[i].basis);
        const double got[] = {p.g_per_kwh, p.pue, p.wue_l_per_kwh}, want[] = {rows[i].g, rows[i].pue, rows[i].wue};
        for (size_t k = 0; k < 3; k++)
            if (isnan(want[k]) ? !isnan(got[k]) : got[k] != want[k])
                fail_msg("%s: figure %zu is %g, not %g", rows[i].said, k, got[k], want[k]);
        assert_true(*p.source);
    }
}

static void test_no_place(void **state)
{
    (void)state;
    static const struct {
        const char *said, *words;
    } rows[] = {{"Atlantis", "no place \"Atlantis\""},
                {"", "joulet carbon list"},
                {"Georgia", "GE (Georgia), us-ga (Georgia)"},
                {"aws:mars-1", "no place"},
                {"us-zz", "no place"},
                {"europe-west", "gcp:europe-west1 (Belgium)"}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct carbon_place p;
        struct joulet_error err;
        assert_int_equal(carbon_find(rows[i].said, &p, &err), JOULET_USAGE);
        if (!strstr(err.message, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].words);
    }
}

/* Each row of a file under the code that its first columns make. */
static size_t check_file(const struct data_file *file, size_t columns, size_t value, void (*code)(char *, size_t, char **))
{
    struct jl_csv csv;
    size_t n = 0;
    jl_csv_init(&csv, file->text, file->len);
    jl_csv_next(&csv);
    while (jl_csv_next(&csv)) {
        char text[96];
        struct carbon_place p;
        struct joulet_error err;
        double g;
        assert_int_equal(csv.n, columns);
        code(text, sizeof text, csv.fields);
        if (carbon_find(text, &p, &err) != JOULET_OK)
            fail_msg("%s: %s", text, err.message);
        assert_true(jl_parse_double(csv.fields[value], &g));
        assert_true(g == 0 ? isnan(p.g_per_kwh) : p.g_per_kwh == g);
        n++;
    }
    jl_csv_release(&csv);
    return n;
}

static void country_code(char *out, size_t size, char **f)
{
    snprintf(out, size, "%s", *f[1] ? f[1] : f[0]);
}

static void region_code(char *out, size_t size, char **f)
{
    snprintf(out, size, "%s%s%s", strcmp(f[5], "bidding_zone") || !strcmp(f[0], f[1]) ? f[0] : "",
             strcmp(f[5], "bidding_zone") || !strcmp(f[0], f[1]) ? "-" : "", f[1]);
}

static void cloud_code(char *out, size_t size, char **f)
{
    snprintf(out, size, "%s:%s", f[0], f[1]);
}

static void test_every_row(void **state)
{
    (void)state;
    assert_int_equal(check_file(&data_emission_factors_owid, 6, 3, country_code), 238);
    assert_int_equal(check_file(&data_emission_factors_subnational, 9, 3, region_code), 75);
    assert_int_equal(check_file(&data_emission_factors_cloud, 7, 3, cloud_code), 93);
}

/* ---- series ------------------------------------------------------------------------------------------------------ */

static void test_times(void **state)
{
    (void)state;
    static const struct {
        const char *text;
        int64_t s; /* -1: none */
    } rows[] = {
        {"1970-01-01", 0},
        {"2026-11-21T15:23:49Z", 1795274629},
        {"2026-11-21 15:23:49", 1795274629},
        {"2026-11-21T16:23:49+01:00", 1795274629},
        {"2026-11-21T10:23:49-0500", 1795274629},
        {"2026-11-21T15:23:49.5Z", 1795274629},
        {"2024-02-29T00:00", 1709164800},
        {"1795274629", 1795274629},
        {"1795274629000", 1795274629},
        {"2026-13-01", -1},
        {"2026-11-21T15", -1},
        {"2026-11-21T15:23+25:00", -1},
        {"2026-11-21X", -1},
        {"-5", -1},
        {"1e300", -1},
        {"noon", -1},
        {"", -1},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int64_t t = 0;
        bool good = carbon_time(rows[i].text, &t);
        if (good != (rows[i].s >= 0) || (good && t / JL_NS_PER_S != rows[i].s))
            fail_msg("%s: %d %lld", rows[i].text, good, (long long)t);
    }
}

static void test_series(void **state)
{
    (void)state;
    static const char text[] =
        "time,g/kWh\n2026-11-21T01:00Z,300\n2026-11-21T00:00Z,100\n2026-11-21T02:00Z,\n2026-11-21T03:00Z,500\n";
    struct carbon_series s, back;
    struct jl_buf b;
    int64_t t0 = 1795219200 * JL_NS_PER_S;
    assert_int_equal(carbon_series_parse(&s, "mine.csv", text, sizeof text - 1, NULL), JOULET_OK);
    assert_int_equal(s.n, 4);
    const struct {
        int64_t from, to;
        double want;
    } rows[] = {{0, H, 100},
                {0, 2 * H, 200},
                {H / 2, H + H / 2, 200},
                {H, H, 300},
                {-H, 0, NAN},
                {-H, H, NAN},
                {0, 3 * H, NAN},
                {2 * H, 2 * H + 1, NAN},
                {3 * H, 9 * H, 500},
                {H / 2, 5 * H / 4, (50 * 2 + 300.) / 3 * 1.0}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double want = i + 1 == JL_COUNT(rows) ? (100 * .5 + 300 * .25) / .75 : rows[i].want;
        double got = carbon_series_mean(&s, t0 + rows[i].from, t0 + rows[i].to);
        if (isnan(want) ? !isnan(got) : fabs(got - want) > 1e-9)
            fail_msg("row %zu: %g, not %g", i, got, want);
    }
    assert_near(carbon_series_age_s(&s, t0 + 4 * H), 3600, 1e-9);
    assert_true(isnan(carbon_series_age_s(&s, t0 - 1)) && isnan(carbon_series_age_s(&s, t0 + 2 * H)));
    jl_buf_init(&b, 1000);
    assert_true(carbon_series_text(&s, t0 + H, t0 + 3 * H, &b));
    assert_string_equal(b.data, "1795222800:300,1795226400:-,1795230000:500");
    assert_true(carbon_series_of_text(&back, b.data));
    assert_int_equal(back.n, 3);
    assert_true(back.points[0].value == 300 && isnan(back.points[1].value) && back.points[2].wall_ns == t0 + 3 * H);
    carbon_series_release(&back);
    carbon_series_release(&s);
    jl_buf_release(&b);
}

static void test_bad_series(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
    } rows[] = {
        {"", "holds no row"},
        {"time,g\n", "holds no row"},
        {"time,g\n2026-11-21T00:00,-3\n", "row 2: '-3' is no factor"},
        {"time,g\n2026-11-21T00:00,1e9\n", "no factor"},
        {"time,g\n2026-11-21T00:00,nan\n", "no factor"},
        {"time,g\n2026-11-21T00:00\n", "row 2 has no value"},
        {"time,g\nnoon,3\n", "row 2: 'noon' is no time"},
        {"2026-11-21T00:00,1\n2026-11-21 00:00:00Z,2\n", "two values for 2026-11-21T00:00:00Z"},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct carbon_series s;
        struct joulet_error err;
        assert_int_equal(carbon_series_parse(&s, "f", rows[i].text, strlen(rows[i].text), &err), JOULET_FORMAT);
        assert_null(s.points);
        if (!strstr(err.message, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].words);
    }
    static const char *const values[] = {"", "x", "1 2", "1\n2", "-1", "5001", "inf"};
    double g;
    for (size_t i = 0; i < JL_COUNT(values); i++)
        assert_false(carbon_value(values[i], &g));
    assert_true(carbon_value(" 212.5 \n", &g) && g == 212.5);
    struct carbon_series s;
    static const char *const kept[] = {"", "x", "1:", "1:2,1:3", "2:1,1:1", ":5", "1:2,,"};
    for (size_t i = 0; i < JL_COUNT(kept); i++)
        assert_false(carbon_series_of_text(&s, kept[i]));
}

/* ---- tariffs ----------------------------------------------------------------------------------------------------- */

static void test_tariffs(void **state)
{
    (void)state;
    struct carbon_tariff t;
    struct joulet_error err;
    assert_int_equal(carbon_tariff_parse(&t, "22-6:0.18,6-22:0.32", &err), JOULET_OK);
    const struct {
        double from_h, to_h;
        int64_t offset_s;
        double want;
    } rows[] = {{0, 1, 0, .18},
                {5, 7, 0, .25},
                {5, 5, 0, .18},
                {21, 23, 0, .25},
                {4, 6, 3600, .25},
                {0, 24, 0, (8 * .18 + 16 * .32) / 24},
                {5.5, 6.5, 0, .25},
                {6, 30, 0, (8 * .18 + 16 * .32) / 24},
                {0, 49, 0, (2 * (8 * .18 + 16 * .32) + .18) / 49}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        assert_near(carbon_tariff_mean(&t, 86400LL * 20000 * JL_NS_PER_S + (int64_t)(rows[i].from_h * (double)H),
                                       86400LL * 20000 * JL_NS_PER_S + (int64_t)(rows[i].to_h * (double)H), rows[i].offset_s),
                    rows[i].want, 1e-9);
    assert_int_equal(carbon_tariff_parse(&t, "0.30", &err), JOULET_OK);
    assert_near(carbon_tariff_mean(&t, H, 5 * H, 0), .3, 1e-12);
    assert_int_equal(carbon_tariff_parse(&t, "0-24:0.1", &err), JOULET_OK);
    static const struct {
        const char *text, *words;
    } bad[] = {{"", "no price for the hour from 0:00"},
               {"6-22:0.3", "no price for the hour from 0:00"},
               {"0-12:1,11-24:2", "two prices for the hour from 11:00"},
               {"0-25:1", "not of the form"},
               {"a-b:1", "not of the form"},
               {"0-24:x", "'x'"},
               {"0-24:-1", "'-1'"},
               {"-1", "not of the form"},
               {"6-22", "not of the form"}};
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        assert_int_equal(carbon_tariff_parse(&t, bad[i].text, &err), JOULET_USAGE);
        if (!strstr(err.message, bad[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.message, bad[i].words);
    }
}

/* ---- amounts ----------------------------------------------------------------------------------------------------- */

/* Numbers by hand: 1800 J are 0.0005 kWh. */
static void test_amounts(void **state)
{
    (void)state;
    struct carbon_factors f = {445, 1.2, 0.5, 0.30, 3.6, 300e3 / (4 * 365.25 * 86400)};
    struct carbon_amounts a;
    carbon_amounts_of(&f, 1800, 6, &a);
    assert_near(a.emissions_g, 0.267, 1e-12);
    assert_near(a.energy_cost, 0.00018, 1e-15);
    assert_near(a.water_l, 0.00025, 1e-15);
    assert_near(a.device_cost, 0.006, 1e-15);
    assert_near(a.cost, 0.00618, 1e-15);
    assert_near(a.embodied_g, 300e3 * 6 / 126230400, 1e-12);
    f = (struct carbon_factors){NAN, 1, NAN, NAN, NAN, NAN};
    carbon_amounts_of(&f, 1800, 6, &a);
    assert_true(isnan(a.emissions_g) && isnan(a.water_l) && isnan(a.cost) && isnan(a.embodied_g));
}

/* Requests of a run under a factor that doubles after the first: the sum is that of its parts. */
static void test_changing_factors(void **state)
{
    (void)state;
    struct run r;
    struct carbon_factors f, one;
    struct carbon_amounts a;
    double grams = 0, energy = 0, cost = 0;
    sample_bench(&r, SAMPLE_SENSORS);
    int64_t second = 0, zero = r.wall_offset_ns;
    for (size_t i = 0; i < r.n_requests && !second; i++)
        if (i > 0 && r.requests[i].outcome == RUN_OK && !r.requests[i].warmup && r.requests[i - 1].n_windows &&
            !r.requests[i - 1].warmup)
            second = r.requests[i].windows[0].start_ns + zero;
    assert_true(second > 0);
    run_pairs_set(&r.factors, "grid_series", 's', "%lld:100,%lld:200", (long long)((r.start_ns + zero) / JL_NS_PER_S - 1),
                  (long long)(second / JL_NS_PER_S));
    run_pairs_set(&r.factors, "tariff", 's', "0-12:0.2,12-24:0.4");
    run_pairs_set(&r.factors, "utc_offset_s", 'n', "3600");
    carbon_factors_of(&r, NULL, true, &f);
    assert_true(f.grid_g_per_kwh > 100 && f.grid_g_per_kwh < 200);
    for (size_t i = 0; i < r.n_requests; i++) {
        const struct run_request *q = &r.requests[i];
        if (q->outcome != RUN_OK || q->warmup)
            continue;
        carbon_factors_of(&r, q, true, &one);
        carbon_amounts_of(&one, q->energy.total.net_j, 1, &a);
        grams += a.emissions_g;
        cost += a.energy_cost;
        energy += q->energy.total.net_j;
    }
    carbon_amounts_of(&f, energy, 1, &a);
    assert_near(a.emissions_g / grams, 1, 1e-12);
    assert_near(a.energy_cost / cost, 1, 1e-12);
    run_pairs_set(&r.factors, "grid_series", 's', "%lld:100", (long long)(second / JL_NS_PER_S));
    carbon_factors_of(&r, NULL, true, &f);
    assert_true(isnan(f.grid_g_per_kwh)); /* nothing is known of the first */
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_places),  cmocka_unit_test(test_no_place), cmocka_unit_test(test_every_row),
        cmocka_unit_test(test_times),   cmocka_unit_test(test_series),   cmocka_unit_test(test_bad_series),
        cmocka_unit_test(test_tariffs), cmocka_unit_test(test_amounts),  cmocka_unit_test(test_changing_factors),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
