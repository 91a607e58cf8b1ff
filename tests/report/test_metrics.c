/* Every metric of a record: vector 15 of docs/method.md 11, parts of a decode, averages over runs, and unknown that is no 0. */
#include "report/figures_all.h"
#include "tests/base/test.h"
#include "tests/run/sample.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define T0 (100 * JL_NS_PER_S)

static struct joulet_energy exact(double net_j, double gross_j)
{
    struct joulet_energy e = JOULET_ENERGY_UNKNOWN;
    e.net_j = net_j;
    e.gross_j = gross_j;
    e.net_pm_j = .1 * net_j;
    e.gross_pm_j = .1 * gross_j;
    e.u = (struct joulet_u){0, .05 * net_j, 0, 0, 0, 0};
    return e;
}

static struct run_window *window(struct run_window **list, size_t *n, const char *name, double from_s, double to_s, double net_j,
                                 double gross_j)
{
    struct run_window w;
    run_window_init(&w, name, T0 + jl_ns(from_s), T0 + jl_ns(to_s));
    w.energy.total = exact(net_j, gross_j);
    return run_add_window(list, n, &w);
}

/* One request more: net_j over 1 s of prefill and the rest decode, gross twice that. */
static struct run_request *request(struct run *r, double at_s, double seconds, double net_j, int64_t t_in, int64_t t_out)
{
    struct run_request q;
    run_request_init(&q);
    q.index = (int64_t)r->n_requests;
    q.tokens.prompt = t_in;
    q.tokens.generated = t_out;
    memset(q.prompt_sha256, 'a', 64);
    window(&q.windows, &q.n_windows, "prefill", at_s, at_s + 1, .25 * net_j, .5 * net_j);
    window(&q.windows, &q.n_windows, "decode", at_s + 1, at_s + seconds, .75 * net_j, 1.5 * net_j);
    q.energy.total = exact(net_j, 2 * net_j);
    return run_add_request(r, &q);
}

static void begin(struct run *r)
{
    run_init(r, "run");
    r->start_ns = T0;
    r->end_ns = T0 + 100 * JL_NS_PER_S;
    r->wall_offset_ns = 0;
    run_pairs_set(&r->factors, "grid_g_per_kwh", 'n', "445");
    run_pairs_set(&r->factors, "grid_source", 's', "a source");
    run_pairs_set(&r->factors, "pue", 'n', "1.2");
    run_pairs_set(&r->factors, "price_per_kwh", 'n', "0.3");
}

static const struct metric *find(const struct metric_list *l, const char *key)
{
    for (size_t i = 0; i < l->n; i++)
        if (!strcmp(l->rows[i].key, key))
            return &l->rows[i];
    return NULL;
}

static void must_be(const struct metric_list *l, const char *key, double net, double gross)
{
    const struct metric *m = find(l, key);
    if (!m)
        fail_msg("there is no %s", key);
    const double got[] = {m->net.x, m->gross.x}, want[] = {net, gross};
    for (size_t i = 0; i < 2; i++)
        if (isnan(want[i]) ? !isnan(got[i]) : !(fabs(got[i] - want[i]) <= 1e-6 * fmax(1e-6, fabs(want[i]))))
            fail_msg("%s %s: %.9g, not %.9g", i ? "gross" : "net", key, got[i], want[i]);
}

static void test_vector(void **state)
{
    (void)state;
    struct run r;
    struct metric_list l;
    begin(&r);
    assert_non_null(request(&r, 0, 6, 1800, 500, 120));
    metrics_of_run(&r, &l);
    static const struct {
        const char *key;
        double net, gross;
    } rows[] = {
        {"energy", 1800, 3600},
        {"j_per_output_token", 15, 30},
        {"j_per_token", 2.903225806, 5.806451613},
        {"prefill_energy", 450, 900},
        {"decode_energy", 1350, 2700},
        {"prefill_j_per_input_token", .9, 1.8},
        {"decode_j_per_output_token", 11.25, 22.5},
        {"wh_per_1000_output_tokens", 4.166666667, 8.333333333},
        {"e_token_i", 1, 2},
        {"e_token_o", 4.166666667, 8.333333333},
        {"tokens_per_joule", .0666666667, .0333333333},
        {"energy_delay", 10800, 21600},
        {"mean_power", 300, 600},
        {"prefill_power", 450, 900},
        {"decode_power", 270, 540},
        {"emissions", .267, .534},
        {"energy_cost", .00018, .00036},
        {"cost", .00018, .00036},
        {"cost_per_million_output", 1.5, 3},
        {"equivalent_car", .267 / (400 / 1.609344), .534 / (400 / 1.609344)},
        {"water", NAN, NAN},
        {"embodied", NAN, NAN},
        {"device_cost", NAN, NAN},
        {"cv_of_repeats", NAN, NAN},
        {"tail", NAN, NAN},
    };
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        must_be(&l, rows[i].key, rows[i].net, rows[i].gross);
    assert_near(find(&l, "j_per_output_token")->net.lo, 13.5, 1e-9);
    assert_near(find(&l, "j_per_output_token")->net.hi, 16.5, 1e-9);
    assert_near(find(&l, "tokens_per_joule")->net.hi, 120 / 1620., 1e-9);
    assert_null(find(&l, "thinking_energy"));
    assert_null(find(&l, "j_per_output_token_jackknife")); /* of one there is none */
    run_release(&r);
}

static void test_averages(void **state)
{
    (void)state;
    struct run r;
    struct metric_list l;
    begin(&r);
    request(&r, 0, 2, 100, 10, 40);
    request(&r, 10, 2, 260, 10, 120);
    request(&r, 20, 2, 40, 10, 10);
    metrics_of_run(&r, &l);
    must_be(&l, "j_per_output_token_jackknife", 2.352941176, 4.705882353);
    must_be(&l, "j_per_output_token_mean_of_runs", 2.888888889, 5.777777778);
    assert_near(find(&l, "j_per_output_token_jackknife")->net.hi - 2.352941176, 1.501749, 1e-5);
    double mean = 400 / 3.,
           sd = sqrt(((100 - mean) * (100 - mean) + (260 - mean) * (260 - mean) + (40 - mean) * (40 - mean)) / 2);
    must_be(&l, "cv_of_repeats", sd / mean, sd / mean);
    r.requests[1].prompt_sha256[0] = 'b'; /* another prompt: 100 and 40 J remain repeats */
    metrics_of_run(&r, &l);
    must_be(&l, "cv_of_repeats", sqrt(1800.) / 70, sqrt(1800.) / 70);
    r.requests[2].outcome = RUN_FAILED;
    metrics_of_run(&r, &l);
    must_be(&l, "energy", 360, 720);
    must_be(&l, "cv_of_repeats", NAN, NAN);
    run_release(&r);
}

static void test_shape(void **state)
{
    (void)state;
    struct run r;
    struct metric_list l;
    begin(&r);
    for (int i = 0; i < 3; i++) {
        struct run_request *q = request(&r, 10. * i, 6, 1800, 500, 120);
        q->power_p50_w = 100 + 10 * i;
        q->power_p95_w = 200 + 10 * i;
        q->windows[0].ramp_s = .01 * (i + 1);
        q->tokens.reasoning = 80;
        window(&q->parts, &q->n_parts, "thinking", 10. * i + 1, 10. * i + 4, 800, 1600);
        window(&q->parts, &q->n_parts, "answer", 10. * i + 4, 10. * i + 6, 550, 1100);
    }
    metrics_of_run(&r, &l);
    must_be(&l, "p50_power", 110, NAN);
    must_be(&l, "p95_power", 210, NAN);
    must_be(&l, "prefill_ramp", .02, NAN);
    must_be(&l, "decode_ramp", NAN, NAN);
    must_be(&l, "thinking_energy", 2400, 4800);
    must_be(&l, "answer_energy", 1650, 3300);
    must_be(&l, "thinking_j_per_token", 10, 20);
    must_be(&l, "answer_j_per_token", 13.75, 27.5);
    const struct metric *decode = find(&l, "decode_energy");
    assert_near(find(&l, "thinking_energy")->net.x + find(&l, "answer_energy")->net.x, decode->net.x, 1e-9);
    run_release(&r);
}

/* All forms of samples, in all shapes: nothing crashes, JSON and CSV have a row for each metric. */
static void test_forms(void **state)
{
    (void)state;
    static void (*const samples[])(struct run *, enum sample_machine) = {sample_bench, sample_single, sample_exec};
    static const struct report_style style = {.utf8 = true, .width = 80};
    for (size_t k = 0; k < JL_COUNT(samples); k++)
        for (int m = SAMPLE_SENSORS; m <= SAMPLE_MIXED; m++) {
            struct run r;
            struct jl_buf b;
            struct metric_list l;
            samples[k](&r, (enum sample_machine)m);
            metrics_of_run(&r, &l);
            jl_buf_init(&b, 1 << 20);
            report_metrics(&b, &r, &style);
            assert_non_null(strstr(b.data, "energy"));
            jl_buf_clear(&b);
            metrics_to_csv(&r, &b);
            size_t lines = 0;
            for (const char *p = b.data; (p = strstr(p, "\r\n")); p += 2)
                lines++;
            assert_int_equal(lines, l.n + 1);
            jl_buf_clear(&b);
            assert_int_equal(metrics_to_json(&r, &b, NULL), JOULET_OK);
            for (size_t i = 0; i < l.n; i++)
                assert_non_null(strstr(b.data, l.rows[i].key));
            jl_buf_release(&b);
            run_release(&r);
        }
}

/* Parts measured apart are made to sum to their whole; the less certain gives way. */
static void test_share(void **state)
{
    (void)state;
    struct joulet_energy parts[2] = {exact(100, 150), exact(200, 290)}, whole = exact(310, 450);
    joulet_energy_share(parts, 2, &whole);
    assert_near(parts[0].net_j + parts[1].net_j, 310, 1e-12);
    assert_near(parts[0].gross_j + parts[1].gross_j, 450, 1e-12);
    assert_near(parts[0].net_j, 100 + 10 * 25 / 125., 1e-9);
    parts[0].net_j = NAN;
    joulet_energy_share(parts, 2, &whole);
    assert_true(isnan(parts[0].net_j));
    assert_near(parts[1].net_j, 208, 1e-9);
}

/* 11.15: power 50 300 240 245 60 W for 1 .2 1.5 2 1 s. */
static void test_levels(void **state)
{
    (void)state;
    static const struct joulet_level levels[] = {{0, 1, 50}, {1, .2, 300}, {1.2, 1.5, 240}, {2.7, 2, 245}, {4.7, 1, 60}};
    struct joulet_power p;
    joulet_levels_power(levels, 5, &p);
    assert_near(p.p50_w, 240, 0);
    assert_near(p.p95_w, 245, 0);
    assert_near(p.mean_w, 178.947368, 1e-6);
    assert_near(joulet_levels_ramp_s(levels, 5), 1, 0);
    assert_true(isnan(joulet_levels_ramp_s(levels, 1)) && isnan(joulet_levels_ramp_s(levels, 0)));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vector), cmocka_unit_test(test_averages), cmocka_unit_test(test_shape),
        cmocka_unit_test(test_forms),  cmocka_unit_test(test_share),    cmocka_unit_test(test_levels),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
