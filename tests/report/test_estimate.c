/* Sets of coefficients: their files, the published ones against their rows, names of models, and what a set gives. */
#include "data/data.h"
#include "lib/platform/platform.h"
#include "report/estimate.h"
#include "tests/base/test.h"
#include "tests/run/sample.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define HEAD "joulet-set,1\norigin,fit\nbasis,net\nsource,a fit\n"

static int set_up(void **state)
{
    static char folder[] = "/tmp/joulet-sets-XXXXXX";
    *state = mkdtemp(folder);
    return *state ? setenv("JOULET_DATA_DIR", folder, 1) : -1;
}

static int tear_down(void **state)
{
    char *command = jl_strf("rm -r '%s'", (char *)*state);
    int code = command ? system(command) : -1;
    free(command);
    return code;
}

/* ---- prediction -------------------------------------------------------------------------------------------------- */

/* Vector 12 of docs/method.md 11: energies of a grid of lengths. */
static void test_coefficients(void **state)
{
    (void)state;
    static const struct joulet_coefficients c = {.e = {3, .05, 4e-7, 2.4, 1.2e-5}};
    static const struct {
        double in, out, want;
    } rows[] = {{64, 1, 8.602406}, {64, 256, 621.189926}, {2048, 64, 262.274778}, {8192, 256, 1079.401050}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double e, u;
        assert_int_equal(joulet_predict(&c, rows[i].in, rows[i].out, &e, &u, NULL), JOULET_OK);
        assert_near(e, rows[i].want, 1e-2); /* the vectors hold a residual of their own */
        assert_near(u, 0, 0);
    }
    struct joulet_coefficients v = {.e = {0, 1, 0, 2, 0}};
    v.cov[JOULET_E_IN][JOULET_E_IN] = .01;
    v.cov[JOULET_E_OUT][JOULET_E_OUT] = .04;
    v.cov[JOULET_E_IN][JOULET_E_OUT] = v.cov[JOULET_E_OUT][JOULET_E_IN] = -.01;
    double e, u;
    joulet_predict(&v, 10, 5, &e, &u, NULL);
    assert_near(e, 20, 1e-12);
    assert_near(u, sqrt(100 * .01 + 25 * .04 - 2 * 50 * .01), 1e-12);
    struct joulet_coefficients low = {.e = {-10, .05, 0, 1, 0}};
    assert_int_equal(joulet_predict(&low, 10, 1, &e, &u, NULL), JOULET_LIMIT);
    assert_true(isnan(e));
    assert_int_equal(joulet_predict(&low, -1, 1, &e, &u, NULL), JOULET_USAGE);
    assert_int_equal(joulet_predict(&low, 10, NAN, &e, &u, NULL), JOULET_USAGE);
}

static void test_interval(void **state)
{
    (void)state;
    struct joulet_energy e;
    joulet_estimate(100, 0, .5, 2, false, &e);
    assert_near(e.gross_j, 100, 0);
    assert_near(e.min_j, 50, 1e-12);
    assert_near(e.max_j, 200, 1e-12);
    assert_true(isnan(e.net_j) && e.provenance == JOULET_ESTIMATED);
    joulet_estimate(100, 5, .91, 1.10, true, &e);
    assert_near(e.net_j, 100, 0);
    assert_near(e.min_j, 100 / exp(hypot(log(1.1), .1)), 1e-12);
    assert_near(e.max_j, 100 * exp(hypot(log(.91), .1)), 1e-12);
    assert_near(e.net_pm_j, fmax(100 - e.min_j, e.max_j - 100), 1e-12);
}

static void test_between_workloads(void **state)
{
    (void)state;
    static const struct joulet_workload w[] = {{100, 300, 300, 3}, {1000, 1000, 2000, 10}, {10000, 1500, 6000, 0}};
    static const struct {
        double in, out, want;
    } rows[] = {{100, 300, 300}, {1000, 1000, 2000},       {10000, 1500, 6000},     {10, 300, 300},
                {1e6, 1, 4},     {316.227766016838, 2, 3}, {3162.27766016838, 1, 3}};
    double e, u;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        assert_int_equal(joulet_predict_between(w, 3, rows[i].in, rows[i].out, &e, &u, NULL), JOULET_OK);
        assert_near(e, rows[i].want, 1e-9);
    }
    joulet_predict_between(w, 3, 100, 300, &e, &u, NULL);
    assert_near(u, 3, 1e-12);
    assert_int_equal(joulet_predict_between(w, 0, 1, 1, &e, &u, NULL), JOULET_NO_DATA);
    assert_int_equal(joulet_predict_between(w, 3, 1, 0, &e, &u, NULL), JOULET_LIMIT);
}

/* ---- published sets ---------------------------------------------------------------------------------------------- */

/* Applied to its own workload a set gives what was published, for every row. */
static void test_score(void **state)
{
    (void)state;
    struct estimate_set s;
    struct jl_csv csv;
    size_t n = 0;
    assert_int_equal(estimate_set_load(&s, "ai-energy-score", NULL), JOULET_OK);
    assert_int_equal(s.n, 62);
    jl_csv_init(&csv, data_energy_benchmarks_hf.text, data_energy_benchmarks_hf.len);
    jl_csv_next(&csv);
    for (; jl_csv_next(&csv); n++) {
        struct estimate_result e;
        double wh = 0, per_1000 = 0;
        assert_true(jl_parse_double(csv.fields[5], &wh) && jl_parse_double(csv.fields[7], &per_1000));
        size_t i = estimate_model_in(&s, csv.fields[0]);
        assert_true(i < s.n);
        assert_int_equal(estimate_request(&s, i, NULL, 369139, NAN, &e, NULL), JOULET_OK);
        assert_near(e.energy.gross_j / 3600 / wh, 1, 1e-12);
        assert_near(e.energy.min_j / e.energy.gross_j, .5, 1e-12);
        assert_near(e.energy.max_j / e.energy.gross_j, 2, 1e-12);
        estimate_request(&s, i, NULL, 1000, 50, &e, NULL);
        assert_near(e.energy.gross_j / 3600 / per_1000, 1, 1e-6); /* the file has ten digits */
    }
    assert_int_equal(n, 62);
    jl_csv_release(&csv);
    estimate_set_release(&s);
}

static void test_jegham(void **state)
{
    (void)state;
    static const double in[] = {100, 1000, 10000}, out[] = {300, 1000, 1500};
    struct estimate_set s;
    struct jl_csv csv;
    size_t n = 0;
    assert_int_equal(estimate_set_load(&s, "jegham-2025", NULL), JOULET_OK);
    assert_int_equal(s.n, 30);
    jl_csv_init(&csv, data_energy_benchmarks_jegham.text, data_energy_benchmarks_jegham.len);
    jl_csv_next(&csv);
    while (jl_csv_next(&csv))
        for (size_t k = 0; k < 3; k++) {
            struct estimate_result e;
            double wh;
            size_t i = estimate_model_in(&s, csv.fields[0]);
            assert_true(i < s.n);
            if (!*csv.fields[2 + 2 * k])
                continue;
            assert_true(jl_parse_double(csv.fields[2 + 2 * k], &wh));
            assert_int_equal(estimate_request(&s, i, NULL, in[k], out[k], &e, NULL), JOULET_OK);
            assert_near(e.energy.gross_j / 3600 / wh, 1, 1e-12);
            assert_true(e.energy.min_j <= .5 * e.energy.gross_j && e.energy.max_j >= 2 * e.energy.gross_j);
            n++;
        }
    assert_int_equal(n, 30 * 3 - 3); /* three models lack the longest */
    jl_csv_release(&csv);
    estimate_set_release(&s);
}

/* ---- names ------------------------------------------------------------------------------------------------------- */

static void test_names(void **state)
{
    (void)state;
    static const struct {
        const char *set, *asked, *model; /* NULL: none */
    } rows[] = {
        {NULL, "GPT-4.1", "GPT-4.1"},
        {NULL, "gpt-4.1", "GPT-4.1"},
        {NULL, "gpt-4.1-mini", "GPT-4.1 mini"},
        {NULL, "Meta-Llama-3.1-8B", "meta-llama/Meta-Llama-3.1-8B"},
        {NULL, "llama-3.1-8b-q4_k_m.gguf", "meta-llama/Meta-Llama-3.1-8B"},
        {NULL, "Qwen3-0.6B-IQ3_XS.gguf", "Qwen/Qwen3-0.6B"},
        {"jegham-2025", "llama-3.1-8b", "LLaMA-3.1-8B"},
        {"jegham-2025", "o3", "o3"},
        {NULL, "claude-3.7-sonnet", "Claude-3.7 Sonnet"},
        {NULL, "deepseek-r1", NULL},
        {NULL, "llama", NULL},
        {NULL, "llama-3.1-8b-instruct", NULL},
        {NULL, "no such thing", NULL},
        {NULL, "", NULL},
        {"jegham-2025", "distilgpt2", NULL},
        {"missing", "o3", NULL},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct estimate_set s;
        struct joulet_error err;
        char also[100];
        size_t index;
        enum joulet_status st = estimate_find(&s, &index, rows[i].set, rows[i].asked, also, sizeof also, &err);
        if ((st == JOULET_OK) != (rows[i].model != NULL))
            fail_msg("%s: %d %s", rows[i].asked, st, st == JOULET_OK ? s.models[index].name : err.message);
        if (st != JOULET_OK) {
            assert_int_equal(st, JOULET_NOT_FOUND);
            continue;
        }
        assert_string_equal(s.models[index].name, rows[i].model);
        estimate_set_release(&s);
    }
    struct estimate_set s;
    struct joulet_error err;
    char also[100];
    size_t index;
    estimate_find(&s, &index, NULL, "deepseek-r1", also, sizeof also, &err);
    assert_non_null(strstr(err.message, "\"DeepSeek-R1 (DS)\" (jegham-2025)"));
    assert_int_equal(estimate_find(&s, &index, NULL, "llama-3.1-8b", also, sizeof also, &err), JOULET_OK);
    assert_string_equal(also, "jegham-2025");
    estimate_set_release(&s);
}

/* ---- files ------------------------------------------------------------------------------------------------------- */

static void test_refused(void **state)
{
    (void)state;
    static const struct {
        const char *text, *words;
        enum joulet_status status;
    } rows[] = {
        {"", "no set of coefficients", JOULET_FORMAT},
        {"hello\n", "no set of coefficients", JOULET_FORMAT},
        {"joulet-set,2\n", "newer", JOULET_NEWER},
        {"joulet-set,1\n", "is empty", JOULET_FORMAT},
        {"joulet-set,1\norigin,fit\nbasis,net\nmodel,e_in\nm,1\n", "does not say its source", JOULET_FORMAT},
        {"joulet-set,1\nbasis,net\nsource,x\nmodel,e_in\nm,1\n", "does not say its origin", JOULET_FORMAT},
        {"joulet-set,1\norigin,published\n", "not fit or custom", JOULET_FORMAT},
        {HEAD "colour,red\n", "'colour' is nothing", JOULET_FORMAT},
        {HEAD "factor_lo,0.5\nmodel,e_in\nm,1\n", "two ends", JOULET_FORMAT},
        {HEAD "gain_hi,1.5\nmodel,e_in\nm,1\n", "one of gain_lo and gain_hi", JOULET_FORMAT},
        {HEAD "gain_hi,0.9\n", "gain_hi lies in 1 to", JOULET_FORMAT},
        {HEAD "provenance,guessed\n", "is no provenance", JOULET_FORMAT},
        {HEAD "factor_lo,1.5\n", "no end of estimate/truth", JOULET_FORMAT},
        {HEAD "factor_hi,0\n", "no end of estimate/truth", JOULET_FORMAT},
        {HEAD "model,e_in\n", "is empty", JOULET_FORMAT},
        {HEAD "model\nm\n", "no column of coefficients", JOULET_FORMAT},
        {HEAD "model,e_in,e_in\n", "there twice", JOULET_FORMAT},
        {HEAD "model,e_in,e_y\n", "'e_y' is unknown", JOULET_FORMAT},
        {HEAD "model,e_in,cov_e_in_e_in\n", "1 of the 15", JOULET_FORMAT},
        {HEAD "model,e_in\nm,nan\n", "'nan' is no number", JOULET_FORMAT},
        {HEAD "model,e_in\nm,1e99\n", "no number that can be", JOULET_FORMAT},
        {HEAD "model,e_in\nm,-1\n", "give energy back", JOULET_FORMAT},
        {HEAD "model,e_in,e_out\nm,0,0\n", "no energy at all", JOULET_FORMAT},
        {HEAD "model,e_in\nm,1\nm,2\n", "there twice", JOULET_FORMAT},
        {HEAD "model,e_in\nm\n", "fewer values", JOULET_FORMAT},
        {HEAD "model,e_in\n,1\n", "has no model", JOULET_FORMAT},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct estimate_set s;
        struct joulet_error err;
        assert_int_equal(estimate_set_parse(&s, "f", rows[i].text, strlen(rows[i].text), &err), rows[i].status);
        if (!strstr(err.message, rows[i].words))
            fail_msg("\"%s\" does not say \"%s\"", err.message, rows[i].words);
        assert_null(s.models);
    }
}

static void test_files(void **state)
{
    (void)state;
    struct estimate_set s, back;
    struct joulet_error err;
    struct estimate_model m = {.name = (char *)(uintptr_t) "a \"model\", of ours"};
    char **names;
    size_t n;
    for (int i = 0; i < JOULET_COEFFICIENTS; i++) {
        m.c.e[i] = .1 * (i + 1);
        for (int k = 0; k < JOULET_COEFFICIENTS; k++)
            m.c.cov[i][k] = i == k ? 1e-6 * (i + 1) : 1e-8;
    }
    estimate_set_init(&s, "mine-1", ESTIMATE_FIT);
    free(s.source);
    s.source = jl_strdup("a run, \"quoted\"");
    s.host = jl_strdup("0a1b");
    assert_non_null(estimate_set_add(&s, &m));
    assert_int_equal(estimate_set_save(&s, false, &err), JOULET_OK);
    assert_int_equal(estimate_set_save(&s, false, &err), JOULET_USAGE);
    assert_int_equal(estimate_set_save(&s, true, &err), JOULET_OK);
    assert_int_equal(estimate_set_load(&back, "mine-1", &err), JOULET_OK);
    assert_string_equal(back.source, s.source);
    assert_string_equal(back.models[0].name, m.name);
    for (int i = 0; i < JOULET_COEFFICIENTS; i++)
        for (int k = 0; k < JOULET_COEFFICIENTS; k++) {
            assert_near(back.models[0].c.e[i] / m.c.e[i], 1, 1e-14);
            assert_near(back.models[0].c.cov[i][k] / m.c.cov[i][k], 1, 1e-14);
        }
    assert_true(back.origin == ESTIMATE_FIT && back.net);
    double lo, hi;
    estimate_factors(&back, "0a1b", &lo, &hi);
    assert_true(lo == .91 && hi == 1.10);
    estimate_factors(&back, "ffff", &lo, &hi);
    assert_true(lo == .5 && hi == 2);
    assert_false(back.provenance_known);
    back.gain_lo = 1 / 1.05; /* a good sensor is in the interval already */
    back.gain_hi = 1.05;
    estimate_factors(&back, "0a1b", &lo, &hi);
    assert_true(fabs(lo - .91) < 1e-12 && fabs(hi - 1.10) < 1e-12);
    back.gain_lo = .4; /* figures of a guessed processor */
    back.gain_hi = 2.5;
    estimate_factors(&back, "0a1b", &lo, &hi);
    assert_near(lo, exp(-sqrt(log(.91) * log(.91) + log(.4) * log(.4) - log(1.062) * log(1.062))), 1e-12);
    assert_true(lo < .4 && hi > 2.5 && hi < 2.6);
    estimate_factors(&back, "ffff", &lo, &hi);
    assert_true(lo < .33 && hi > 3);
    back.f_lo = .9; /* what the file says itself stands */
    back.f_hi = 1.2;
    estimate_factors(&back, "0a1b", &lo, &hi);
    assert_true(lo == .9 && hi == 1.2);
    assert_int_equal(estimate_set_names(&names, &n, &err), JOULET_OK);
    assert_int_equal(n, 3);
    assert_string_equal(names[0], "mine-1"); /* own sets come first */
    jl_free_list(names, n);
    assert_int_equal(estimate_set_delete("mine-1", &err), JOULET_OK);
    assert_int_equal(estimate_set_delete("mine-1", &err), JOULET_NOT_FOUND);
    assert_int_equal(estimate_set_delete("jegham-2025", &err), JOULET_USAGE);
    static const char *const bad[] = {"", "../x", "a/b", ".hidden", "-x", "ai-energy-score"};
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        snprintf(s.name, sizeof s.name, "%s", bad[i]);
        assert_int_equal(estimate_set_save(&s, true, &err), JOULET_USAGE);
    }
    estimate_set_release(&s);
    estimate_set_release(&back);
}

/* ---- records ----------------------------------------------------------------------------------------------------- */

/* The estimate of a run is the sum of those of its requests. */
static void test_run(void **state)
{
    (void)state;
    struct run r;
    struct estimate_set s;
    struct estimate_result whole, one;
    struct joulet_error err;
    double sum = 0;
    size_t n = 0;
    sample_bench(&r, SAMPLE_SENSORS);
    assert_int_equal(estimate_set_load(&s, "jegham-2025", NULL), JOULET_OK);
    size_t i = estimate_model_in(&s, "GPT-4.1");
    assert_int_equal(estimate_run(&s, i, &r, &whole, &err), JOULET_OK);
    for (size_t k = 0; k < r.n_requests; k++)
        if (r.requests[k].outcome == RUN_OK && !r.requests[k].warmup) {
            estimate_request(&s, i, NULL, (double)r.requests[k].tokens.prompt, (double)r.requests[k].tokens.generated, &one,
                             NULL);
            sum += one.energy.gross_j;
            n++;
        }
    assert_int_equal(whole.requests, n);
    assert_near(whole.energy.gross_j / sum, 1, 1e-12);
    for (size_t k = 0; k < r.n_requests; k++)
        r.requests[k].tokens.prompt = -1;
    assert_int_equal(estimate_run(&s, i, &r, &whole, &err), JOULET_NO_DATA);
    estimate_set_release(&s);
    run_release(&r);
}

static void sizes_in_names(void **state)
{
    static const struct {
        const char *name;
        double parameters;
    } rows[] = {
        {"llama-3.2-1b-q4_0.gguf", 1e9},
        {"gpt-oss:20b", 20e9},
        {"Qwen2.5-7B-Instruct-1M", 7e9},
        {"gemma-3-270m-it", 270e6},
        {"mixtral-8x7b", 56e9},
        {"qwen3:0.6B", 0.6e9},
        {"gpt-4o", NAN},
        {"b", NAN},
        {"model-4bit", NAN},
        {"", NAN},
        {"0b", NAN},
        {"99999999999999b", NAN},
        {"x8b", NAN},
        {"3.b-tiny", NAN},
        {"8x-b", NAN},
        {"1.5b", 1.5e9},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        double v = estimate_size_in_name(rows[i].name);
        if (isnan(rows[i].parameters) ? !isnan(v) : !(fabs(v - rows[i].parameters) <= 1e-9 * rows[i].parameters))
            fail_msg("%s: %g", rows[i].name, v);
    }
}

/* 8e9 parameters: 0.48 x 8^0.64 J for each output token. */
static void by_size_or_by_nothing(void **state)
{
    struct estimate_set s;
    struct estimate_result e;
    struct joulet_error err;
    (void)state;
    assert_int_equal(estimate_by_size(&s, "m", 8e9, &err), JOULET_OK);
    assert_int_equal(estimate_request(&s, 0, NULL, 100, 50, &e, &err), JOULET_OK);
    double j = 0.48 * pow(8, 0.64) * (50 + 0.1 * 100);
    assert_true(fabs(e.energy.gross_j / j - 1) < 1e-9 && isnan(e.energy.net_j));
    assert_true(fabs(e.energy.min_j * 10 / j - 1) < 1e-9 && fabs(e.energy.max_j / 10 / j - 1) < 1e-9);
    assert_int_equal(e.energy.provenance, JOULET_ESTIMATED);
    estimate_set_release(&s);
    assert_int_equal(estimate_by_size(&s, "m", NAN, &err), JOULET_OK);
    assert_string_equal(s.name, ESTIMATE_BY_NOTHING);
    assert_int_equal(estimate_request(&s, 0, NULL, 0, 10, &e, &err), JOULET_OK);
    assert_true(fabs(e.energy.gross_j / 91 - 1) < 1e-9 && fabs(e.energy.max_j / 4550 - 1) < 1e-9);
    estimate_set_release(&s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_coefficients),
        cmocka_unit_test(test_interval),
        cmocka_unit_test(test_between_workloads),
        cmocka_unit_test(test_score),
        cmocka_unit_test(test_jegham),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_files),
        cmocka_unit_test(test_run),
        cmocka_unit_test(sizes_in_names),
        cmocka_unit_test(by_size_or_by_nothing),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
