/* test_json.c - export, import, export gives the same bytes, whatever the record holds; and what is read is what was written. */
#include "tests/run/near.h"
#include "tests/run/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>
#include <jansson.h>

static char *to_json(const struct run *r)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    if (run_to_json(r, &b, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return jl_buf_take(&b);
}

static void from_json(struct run *r, const char *text)
{
    struct joulet_error err;
    if (run_from_json(text, strlen(text), r, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

/* Writes r, reads it, writes it again: the same. Returns what was read. */
static void check_round_trip(const struct run *r, struct run *again)
{
    char *first = to_json(r);
    from_json(again, first);
    char *second = to_json(again);
    assert_string_equal(first, second);
    free(first);
    free(second);
}

typedef void make(struct run *r, enum sample_machine m);

static void samples_survive(void **state)
{
    static make *const kinds[] = {sample_bench, sample_single, sample_exec};
    (void)state;
    for (size_t k = 0; k < JL_COUNT(kinds); k++)
        for (int m = SAMPLE_SENSORS; m <= SAMPLE_MIXED; m++) {
            struct run r, again;
            kinds[k](&r, (enum sample_machine)m);
            check_round_trip(&r, &again);
            assert_int_equal(again.n_requests, r.n_requests);
            assert_int_equal(again.n_channels, r.n_channels);
            run_release(&r);
            run_release(&again);
        }
}

/* Figures that are replaced stay in the record, every one of them. */
static void former_figures_survive(void **state)
{
    struct run r, was, again;
    (void)state;
    sample_bench(&was, SAMPLE_SENSORS);
    sample_bench(&r, SAMPLE_SENSORS);
    assert_true(run_put_aside(&r, 1700000000000000000));
    assert_true(run_put_aside(&r, 1700000000000000001));
    assert_true(isnan(r.energy.total.net_j) && isnan(r.requests[1].energy.total.net_j));
    assert_int_equal(r.requests[1].windows[0].energy.n_channels, 0);
    assert_int_equal(r.requests[1].windows[0].end_ns, was.requests[1].windows[0].end_ns);
    check_round_trip(&r, &again);
    assert_int_equal(again.n_former, 2);
    const struct run_former *f = &again.former[0];
    assert_string_equal(f->version, was.version);
    assert_string_equal(again.figures_version, JOULET_VERSION);
    assert_int_equal(f->replaced_wall_ns, 1700000000000000000);
    assert_near(f->energy.total.net_j, was.energy.total.net_j, 1e-9);
    assert_int_equal(f->n_baselines, was.n_baselines);
    for (size_t i = 0; i < was.n_baselines; i++) {
        assert_string_equal(f->baselines[i].channel, was.baselines[i].channel);
        assert_near(f->baselines[i].b.power_w, was.baselines[i].b.power_w, 1e-9);
    }
    assert_int_equal(again.n_baselines, was.n_baselines);
    assert_int_equal(f->n_windows, was.n_windows);
    assert_near(f->windows[0].energy.total.gross_j, was.windows[0].energy.total.gross_j, 1e-9);
    assert_int_equal(f->n_requests, was.n_requests);
    for (size_t i = 0; i < was.n_requests; i++) {
        assert_int_equal(f->requests[i].index, was.requests[i].index);
        assert_int_equal(f->requests[i].n_windows, was.requests[i].n_windows);
        if (!isnan(was.requests[i].energy.total.gross_j))
            assert_near(f->requests[i].energy.total.gross_j, was.requests[i].energy.total.gross_j, 1e-9);
    }
    assert_true(isnan(again.former[1].energy.total.net_j));
    run_release(&r);
    run_release(&was);
    run_release(&again);
}

static void values_are_kept(void **state)
{
    struct run r, again;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    check_round_trip(&r, &again);
    const struct run_request *q = &again.requests[3];
    assert_string_equal(again.id, "20261121-152349-5f3a");
    assert_string_equal(run_pairs_get(&again.settings, "seed"), "18446744073709551615");
    assert_string_equal(run_pairs_get(&again.machine, "virtual_machine"), "false");
    assert_null(run_pairs_get(&again.machine, "temperature_before_c"));
    assert_string_equal(q->category, "long");
    assert_int_equal(q->tokens.generated, 64);
    assert_int_equal(q->tokens.reasoning, -1);
    assert_true(isnan(q->temperature_after_c));
    assert_near(q->temperature_before_c, 41.5, 0);
    assert_string_equal(q->windows[1].name, "prefill");
    assert_int_equal(q->windows[1].energy.total.flags, JOULET_FLAG_MISMATCH);
    assert_near(q->windows[1].energy.total.net_j, r.requests[3].windows[1].energy.total.net_j, 1e-12);
    assert_string_equal(again.channels[2].device, "NVIDIA H200");
    assert_true(isnan(again.channels[2].power_max_w));
    assert_true(again.requests[0].warmup);
    assert_int_equal(again.requests[5].outcome, RUN_FAILED);
    assert_int_equal(again.exit_code, -1);
    assert_null(again.argv);
    run_release(&r);
    run_release(&again);
}

/* A method outlives the record it was read from: energies are copied about. */
static void methods_are_static(void **state)
{
    struct run r, again;
    (void)state;
    sample_single(&r, SAMPLE_SENSORS);
    r.energy.channels[0].e.method = "made-up-method/7";
    check_round_trip(&r, &again);
    const char *method = again.energy.channels[0].e.method;
    run_release(&again);
    check_round_trip(&r, &again);
    assert_ptr_equal(method, again.energy.channels[0].e.method);
    run_release(&r);
    run_release(&again);
    assert_string_equal(method, "made-up-method/7");
}

static void extreme_reals_survive(void **state)
{
    static const double cases[] = {0,       -0.0,   5e-324, -5e-324, 2.2250738585072014e-308,
                                   1.0 / 3, 0.1,    1e15,   1e16,    123456789012345678.0,
                                   1e300,   -1e300, 12,     1e-5};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r, again;
        sample_exec(&r, SAMPLE_SENSORS);
        r.energy.total.net_j = cases[i];
        run_pairs_set(&r.settings, "x", 'n', "%.17g", cases[i]);
        check_round_trip(&r, &again);
        assert_near(again.energy.total.net_j, cases[i], fabs(cases[i]) * 1e-14);
        run_release(&r);
        run_release(&again);
    }
}

/* Random bits as doubles, 15 digits each time. */
static void random_reals_survive(void **state)
{
    struct jl_rng rng = {7};
    (void)state;
    for (int round = 0; round < 20; round++) {
        struct run r, again;
        sample_bench(&r, SAMPLE_SENSORS);
        for (size_t i = 0; i < r.n_requests; i++) {
            double *figures = (double *)&r.requests[i].energy.total; /* begins with seven doubles */
            for (size_t k = 0; k < 7; k++) {
                uint64_t bits = jl_rng_next(&rng);
                memcpy(&figures[k], &bits, sizeof bits);
            }
        }
        check_round_trip(&r, &again);
        run_release(&r);
        run_release(&again);
    }
}

static void unknown_is_null(void **state)
{
    struct run r, again;
    struct run_request q;
    (void)state;
    run_init(&r, "run");
    run_request_init(&q);
    assert_non_null(run_add_request(&r, &q));
    char *text = to_json(&r);
    assert_non_null(strstr(text, "\"net_j\": null"));
    assert_non_null(strstr(text, "\"prompt\": null"));
    assert_non_null(strstr(text, "\"generated\": null"));
    assert_null(strstr(text, ": nan"));
    free(text);
    check_round_trip(&r, &again);
    assert_true(isnan(again.energy.total.net_j));
    assert_false(again.energy.has_group[JOULET_GROUP_GPU]);
    run_release(&r);
    run_release(&again);
}

/* An engine may cut a character in half; the record says so with U+FFFD and is whole otherwise. */
static void broken_text_becomes_valid(void **state)
{
    static const struct {
        const char *in, *out;
    } cases[] = {
        {"plain", "plain"},
        {"\xc3\xa9t\xc3", "\xc3\xa9t\xef\xbf\xbd"},
        {"\xff\xfe", "\xef\xbf\xbd\xef\xbf\xbd"},
        {"\xed\xa0\x80", "\xef\xbf\xbd\xef\xbf\xbd\xef\xbf\xbd"}, /* a surrogate */
        {"\xc0\xaf", "\xef\xbf\xbd\xef\xbf\xbd"},                 /* an overlong slash */
        {"\xf0\x9f\x98\x80 \x1b[31m", "\xf0\x9f\x98\x80 \x1b[31m"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r, again;
        sample_single(&r, SAMPLE_SENSORS);
        free(r.requests[0].answer);
        r.requests[0].answer = jl_strdup(cases[i].in);
        run_pairs_set(&r.engine, "build", 's', "%s", cases[i].in);
        check_round_trip(&r, &again);
        assert_string_equal(again.requests[0].answer, cases[i].out);
        assert_string_equal(run_pairs_get(&again.engine, "build"), cases[i].out);
        run_release(&r);
        run_release(&again);
    }
}

static void twin_windows_are_both_kept(void **state)
{
    struct run r, again;
    (void)state;
    sample_single(&r, SAMPLE_SENSORS);
    strcpy(r.requests[0].windows[2].name, "prefill");
    check_round_trip(&r, &again);
    assert_int_equal(again.requests[0].n_windows, 3);
    assert_string_equal(again.requests[0].windows[2].name, "prefill 2");
    run_release(&r);
    run_release(&again);
}

static void pairs_keep_their_order_and_kind(void **state)
{
    struct run_pairs p = {0};
    (void)state;
    assert_true(run_pairs_set(&p, "b", 'n', "%d", 2));
    assert_true(run_pairs_set(&p, "a", 's', "%s", "x"));
    assert_true(run_pairs_set(&p, "b", 'n', "%s", "3.50"));
    assert_string_equal(p.items[0].key, "b");
    assert_string_equal(run_pairs_get(&p, "b"), "3.50");
    assert_true(run_pairs_set(&p, "b", 'n', "%g", NAN)); /* no number: unknown */
    assert_null(run_pairs_get(&p, "b"));
    assert_null(run_pairs_get(&p, "missing"));
    assert_int_equal(p.n, 2);
    run_pairs_release(&p);
}

static void a_request_alone_survives(void **state)
{
    struct run r;
    struct run_request q;
    struct jl_buf a, b;
    struct joulet_error err;
    (void)state;
    sample_bench(&r, SAMPLE_MIXED);
    jl_buf_init(&a, RUN_JSON_MAX);
    jl_buf_init(&b, RUN_JSON_MAX);
    assert_int_equal(run_request_to_json(&r.requests[2], &a, &err), JOULET_OK);
    assert_null(strchr(a.data, '\n'));
    assert_int_equal(run_request_from_json(a.data, a.len, &q, &err), JOULET_OK);
    assert_int_equal(run_request_to_json(&q, &b, &err), JOULET_OK);
    assert_string_equal(a.data, b.data);
    jl_buf_clear(&a);
    assert_int_equal(run_energy_to_json(&q.energy.total, &a, &err), JOULET_OK);
    assert_memory_equal(a.data, "{\"net_j\":", 9);
    run_request_release(&q);
    run_release(&r);
    jl_buf_release(&a);
    jl_buf_release(&b);
}

static void a_full_buffer_is_said(void **state)
{
    struct run r;
    struct jl_buf b;
    struct joulet_error err;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    jl_buf_init(&b, 1000);
    assert_int_equal(run_to_json(&r, &b, &err), JOULET_LIMIT);
    assert_true(b.len <= 1000);
    jl_buf_release(&b);
    run_release(&r);
}

static void ids_sort_by_time(void **state)
{
    struct run a, b;
    (void)state;
    run_init(&a, "run");
    run_init(&b, "run");
    assert_int_equal(strlen(a.id), strlen("20261121-152349-5f3a"));
    assert_true(strncmp(a.id, b.id, 15) <= 0);
    assert_string_equal(a.status, "running");
    assert_int_equal(a.started_wall_ns - a.start_ns, a.wall_offset_ns);
    run_release(&a);
    run_release(&b);
}

static void cells_are_kept(void **state)
{
    struct run r, again;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    check_round_trip(&r, &again);
    assert_int_equal(again.n_cells, 2);
    assert_string_equal(again.cells[1].name, "8 threads, \"hot\"");
    assert_string_equal(run_pairs_get(&again.cells[1].settings, "threads"), "8");
    assert_int_equal(again.n_series, 1);
    assert_int_equal(again.series[0].cell, 1);
    assert_int_equal(again.series[0].steady, -1);
    assert_string_equal(again.series[0].category, "long");
    assert_int_equal(again.windows[0].cell, -1);
    assert_int_equal(again.windows[1].cell, 0);
    for (size_t i = 0; i < 3; i++) {
        assert_int_equal(again.requests[i].cell, i % 2);
        assert_int_equal(again.requests[i].position, i);
        assert_int_equal(again.requests[i].check, (int)i - 1);
        assert_int_equal(again.requests[i].stream, -1);
    }
    run_release(&r);
    run_release(&again);
}

/* Without the keys that came with plans. */
static char *older(const char *text)
{
    static const char *const run_keys[] = {"cells", "series"}, *const request_keys[] = {"cell", "position", "stream", "check"};
    json_t *o = json_loads(text, 0, NULL);
    for (size_t k = 0; k < JL_COUNT(run_keys); k++)
        assert_int_equal(json_object_del(o, run_keys[k]), 0);
    const json_t *requests = json_object_get(o, "requests"), *windows = json_object_get(o, "windows");
    for (size_t i = 0; i < json_array_size(requests); i++)
        for (size_t k = 0; k < JL_COUNT(request_keys); k++)
            assert_int_equal(json_object_del(json_array_get(requests, i), request_keys[k]), 0);
    for (size_t i = 0; i < json_array_size(windows); i++)
        assert_int_equal(json_object_del(json_array_get(windows, i), "cell"), 0);
    char *out = json_dumps(o, 0);
    json_decref(o);
    return out;
}

static void records_from_before_plans_are_read(void **state)
{
    struct run r, again;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    char *text = to_json(&r), *old = older(text);
    from_json(&again, old);
    assert_int_equal(again.n_cells, 0);
    assert_int_equal(again.n_series, 0);
    assert_int_equal(again.windows[1].cell, -1);
    assert_int_equal(again.requests[2].cell, -1);
    assert_int_equal(again.requests[2].position, -1);
    assert_int_equal(again.requests[2].check, -1);
    run_release(&r);
    check_round_trip(&again, &r);
    run_release(&r);
    run_release(&again);
    free(text);
    free(old);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(samples_survive),
        cmocka_unit_test(former_figures_survive),
        cmocka_unit_test(values_are_kept),
        cmocka_unit_test(cells_are_kept),
        cmocka_unit_test(records_from_before_plans_are_read),
        cmocka_unit_test(methods_are_static),
        cmocka_unit_test(extreme_reals_survive),
        cmocka_unit_test(random_reals_survive),
        cmocka_unit_test(unknown_is_null),
        cmocka_unit_test(broken_text_becomes_valid),
        cmocka_unit_test(twin_windows_are_both_kept),
        cmocka_unit_test(pairs_keep_their_order_and_kind),
        cmocka_unit_test(a_request_alone_survives),
        cmocka_unit_test(a_full_buffer_is_said),
        cmocka_unit_test(ids_sort_by_time),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
