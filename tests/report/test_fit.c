/* test_fit.c - fits of recorded requests: the truth comes out, what must not enter does not, and bad designs are refused. */
#include "report/estimate.h"
#include "report/fit.h"
#include "tests/base/test.h"
#include "tests/report/beside.h"
#include "tests/stats/draw.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const double truth[] = {3, .05, 4e-7, 2.4, 1.2e-5};

static struct run_request *request(struct run *r, double in, double out, double noise)
{
    double e = truth[0] + truth[1] * in + truth[2] * in * in + truth[3] * out + truth[4] * out * (in + (out - 1) / 2);
    struct run_request *q = beside_request(r, 0, 0, -1, e * (1 + noise));
    q->tokens.prompt = (int64_t)in;
    q->tokens.generated = (int64_t)out;
    return q;
}

/* The full grid, `repeats` times, with 2 % scatter. */
static void grid(struct run *r, const char *id, int repeats, uint64_t seed)
{
    static const double in[] = {64, 512, 2048, 8192}, out[] = {1, 64, 256};
    struct jl_rng g = {.s = seed};
    beside_run(r, id);
    for (int i = 0; i < repeats; i++)
        for (size_t k = 0; k < 12; k++)
            request(r, in[k / 3], out[k % 3], 0.02 * draw_normal(&g));
}

static void fitted(struct fit *f, const struct run *const *runs, size_t n)
{
    struct joulet_error err;
    if (fit_runs(runs, n, false, false, f, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void refused(const struct run *const *runs, size_t n, const char *words)
{
    struct fit f;
    struct joulet_error err;
    assert_int_equal(fit_runs(runs, n, false, false, &f, &err), JOULET_USAGE);
    if (!strstr(err.message, words))
        fail_msg("no \"%s\" in \"%s\"", words, err.message);
    assert_null(f.rows);
}

static void must_hold(const struct fit *f, const char *words)
{
    static const struct report_style style = {.utf8 = true, .width = 200};
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    report_fit(&out, f, &style);
    if (!strstr(out.data, words))
        fail_msg("no \"%s\" in\n%s", words, out.data);
    jl_buf_release(&out);
}

static void the_truth_comes_out(void **state)
{
    (void)state;
    struct run r;
    struct fit f;
    bool inside;
    grid(&r, "20261121-100000-0001", 5, 42);
    fitted(&f, (const struct run *[]){&r}, 1);
    assert_true(f.n == 60 && f.model.n == 60);
    for (size_t i = 0; i < JL_TOKEN_TERMS; i++) {
        struct jl_derived c = fit_coefficient(&f, i);
        assert_near(c.value, truth[i], 3.5 * c.u);
    }
    assert_near(f.model.scatter, 0.02, 0.006);
    assert_near(f.spec, 0.02, 1e-6);
    struct jl_derived cross = jl_token_crossover(&f.model, 128, &inside);
    assert_near(cross.value, 6039.67, 0.05 * 6039.67);
    assert_true(inside);
    struct jl_derived e_in = fit_coefficient(&f, JL_E_IN);
    assert_near(fit_pm(&f, e_in), 2 * hypot(e_in.u, 0.02 * e_in.value), 1e-12); /* with the gain */
    must_hold(&f, "net energy of 60 requests");
    must_hold(&f, "e_out");
    must_hold(&f, "prefill overtakes an answer of 64 tokens from a prompt of 3");
    must_hold(&f, "prompts of 64 to 8192 tokens, answers of 1 to 256");
    fit_release(&f);
    run_release(&r);
}

/* What the figures of a fit rest on goes along into the set and into every estimate from it. */
static void estimated_figures_stay_estimates(void **state)
{
    (void)state;
    static const struct report_style style = {.utf8 = true, .width = 400};
    struct run r;
    struct fit f;
    struct estimate_set s;
    struct estimate_result e;
    struct joulet_error err;
    struct jl_buf out;
    char folder[] = "/tmp/joulet-fit-XXXXXX";
    double lo, hi;
    assert_non_null(mkdtemp(folder));
    setenv("JOULET_DATA_DIR", folder, 1);
    grid(&r, "20261121-100000-0002", 5, 42);
    r.channels[0].factor_lo = .4;
    r.channels[0].factor_hi = 2.5;
    for (size_t i = 0; i < r.n_requests; i++)
        r.requests[i].energy.total.provenance = JOULET_ESTIMATED;
    fitted(&f, (const struct run *[]){&r}, 1);
    assert_true(f.estimated);
    struct jl_derived c = fit_coefficient(&f, JL_E_OUT);
    fit_ends(&f, c, &lo, &hi);
    assert_near(lo, c.value - hypot(.6 * c.value, 2 * c.u), 1e-9);
    assert_near(hi, c.value + hypot(1.5 * c.value, 2 * c.u), 1e-9);
    must_hold(&f, "≈ 2.4 (");
    assert_int_equal(fit_save(&f, "guess", false, &err), JOULET_OK);
    assert_int_equal(estimate_set_load(&s, "guess", &err), JOULET_OK);
    assert_int_equal(estimate_request(&s, 0, "0123456789abcdef", 200, 100, &e, &err), JOULET_OK);
    assert_true(e.here && e.energy.net_j / e.energy.min_j > 2.5 && e.energy.max_j / e.energy.net_j > 2.5);
    jl_buf_init(&out, 1 << 16);
    report_estimate(&out, &e, NULL, "", &style);
    assert_non_null(strstr(out.data, "rests on estimates"));
    assert_null(strstr(out.data, "; measured"));
    jl_buf_release(&out);
    estimate_set_release(&s);
    fit_release(&f);
    run_release(&r);
    assert_int_equal(estimate_set_delete("guess", &err), JOULET_OK);
    char *sets = jl_strf("%s/sets", folder);
    rmdir(sets);
    free(sets);
    rmdir(folder);
}

static void outside_the_range(void **state)
{
    (void)state;
    static const double in[] = {64, 128, 256}, out[] = {64, 256};
    struct run r;
    struct fit f;
    beside_run(&r, "short");
    for (int i = 0; i < 3; i++)
        for (size_t k = 0; k < 6; k++)
            request(&r, in[k / 2], out[k % 2], 0);
    fitted(&f, (const struct run *[]){&r}, 1);
    must_hold(&f, "for an answer of 64 tokens it is outside the measured range");
    fit_release(&f);
    run_release(&r);
}

static void only_whole_requests_enter(void **state)
{
    (void)state;
    struct run r;
    struct fit f;
    grid(&r, "mixed", 1, 1);
    request(&r, 64, 64, 9)->warmup = true;
    request(&r, 64, 64, 9)->outcome = RUN_FAILED;
    request(&r, 64, 64, 9)->tokens.cached = 60;
    request(&r, 64, 64, 9)->energy.total.flags |= JOULET_FLAG_THROTTLED;
    request(&r, 64, 64, 9)->energy.total.net_j = NAN;
    request(&r, 64, 64, 9)->tokens.generated = -1;
    fitted(&f, (const struct run *[]){&r}, 1);
    assert_int_equal(f.n, 12);
    assert_true(f.warmup == 1 && f.failed == 1 && f.cached == 1 && f.slowed == 1 && f.unknown == 2);
    must_hold(&f,
              "left out: 1 warm-up, 1 failed, 1 with a prompt from a cache, 1 throttled or at another clock, 2 without a figure");
    fit_release(&f);
    run_release(&r);
}

static void several_runs(void **state)
{
    (void)state;
    struct run a, b, other;
    struct fit one, two;
    grid(&a, "a", 2, 1);
    grid(&b, "b", 3, 2);
    grid(&other, "other", 1, 3);
    run_pairs_set(&b.model, "name", 's', "%s", run_pairs_get(&a.model, "name"));
    fitted(&one, (const struct run *[]){&a}, 1);
    fitted(&two, (const struct run *[]){&a, &b}, 2);
    assert_true(one.n == 24 && two.n == 60);
    assert_true(two.model.cov[JL_E_IN][JL_E_IN] < one.model.cov[JL_E_IN][JL_E_IN]);
    refused((const struct run *[]){&a, &other}, 2, "different models");
    fit_release(&one);
    fit_release(&two);
    run_release(&a);
    run_release(&b);
    run_release(&other);
}

static void what_cannot_be_fitted(void **state)
{
    (void)state;
    struct run few, line, none;
    beside_run(&few, "few");
    beside_run(&none, "none");
    beside_run(&line, "line");
    for (int i = 0; i < 5; i++)
        request(&few, 64 << i, 1 + i, 0);
    for (int i = 0; i < 30; i++)
        request(&line, 20 + 30 * i, 10 + 3 * i, 0); /* answers as long as the prompts are */
    refused((const struct run *[]){&few}, 1, "more than 5 requests");
    refused((const struct run *[]){&none}, 1, "more than 5 requests");
    refused((const struct run *[]){&line}, 1, "tell the terms apart");
    run_release(&few);
    run_release(&line);
    run_release(&none);
}

static void residuals(void **state)
{
    (void)state;
    struct run r;
    struct fit f;
    struct jl_buf b;
    struct jl_csv csv;
    size_t rows = 0;
    grid(&r, "20261121-100000-0001", 2, 5);
    fitted(&f, (const struct run *[]){&r}, 1);
    jl_buf_init(&b, 1 << 20);
    fit_residuals_csv(&b, &f);
    jl_csv_init(&csv, b.data, b.len);
    for (; jl_csv_next(&csv); rows++) {
        double energy = NAN, fitted_j = NAN, rest = NAN;
        assert_int_equal(csv.n, 9);
        if (rows == 0)
            continue;
        assert_string_equal(csv.fields[0], "20261121-100000-0001");
        assert_true(jl_parse_double(csv.fields[4], &energy) && jl_parse_double(csv.fields[6], &fitted_j) &&
                    jl_parse_double(csv.fields[7], &rest));
        assert_near(energy - fitted_j, rest, 1e-4 * energy);
        assert_true(fabs(rest) < 0.1 * energy);
    }
    assert_int_equal(rows, 25);
    jl_csv_release(&csv);
    jl_buf_release(&b);
    fit_release(&f);
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(the_truth_comes_out),
        cmocka_unit_test(outside_the_range),
        cmocka_unit_test(estimated_figures_stay_estimates),
        cmocka_unit_test(only_whole_requests_enter),
        cmocka_unit_test(several_runs),
        cmocka_unit_test(what_cannot_be_fitted),
        cmocka_unit_test(residuals),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
