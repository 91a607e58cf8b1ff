/* test_store.c - what goes in comes out: runs, requests, traces, lists, idle levels; import and delete. */
#include "store/db.h"
#include "tests/run/near.h"
#include "tests/run/sample.h"
#include "tests/store/scratch.h"

#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct store *open_store(void)
{
    struct store *s;
    struct joulet_error err;
    char path[128];
    if (store_open(&s, scratch_path(path, "joulet.db"), &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return s;
}

static void must(enum joulet_status st, const struct joulet_error *err)
{
    if (st != JOULET_OK)
        fail_msg("%s", err->message);
}

/* As the program does it: begin, one request after the other, finish. */
static void measure(struct store *s, const struct run *r)
{
    struct joulet_error err;
    struct run head = *r;
    head.n_requests = 0;
    head.status = (char *)(uintptr_t) "running";
    must(store_begin(s, &head, &err), &err);
    for (size_t i = 0; i < r->n_requests; i++)
        must(store_request(s, r, &r->requests[i], &err), &err);
    must(store_finish(s, r, &err), &err);
}

static char *json_of(const struct run *r)
{
    struct jl_buf b;
    struct joulet_error err;
    jl_buf_init(&b, RUN_JSON_MAX);
    must(run_to_json(r, &b, &err), &err);
    return jl_buf_take(&b);
}

static void assert_same(const struct run *a, const struct run *b)
{
    char *x = json_of(a), *y = json_of(b);
    assert_string_equal(x, y);
    free(x);
    free(y);
}

static int fresh(void **state)
{
    (void)state;
    scratch_empty();
    return 0;
}

static void a_run_comes_back(void **state)
{
    static void (*const kinds[])(struct run *, enum sample_machine) = {sample_bench, sample_single, sample_exec};
    struct store *s = open_store();
    struct joulet_error err;
    (void)state;
    for (size_t i = 0; i < JL_COUNT(kinds); i++) {
        struct run r, again;
        kinds[i](&r, SAMPLE_MIXED);
        measure(s, &r);
        must(store_load(s, r.id, &again, &err), &err);
        assert_same(&r, &again);
        run_release(&again);
        run_release(&r);
    }
    store_close(s);
}

static void ids_may_be_short(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct run a, b, found;
    (void)state;
    assert_int_equal(store_load(s, "last", &found, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "joulet run"));
    sample_bench(&a, SAMPLE_SENSORS);
    sample_exec(&b, SAMPLE_SENSORS);
    b.started_wall_ns += JL_NS_PER_S;
    measure(s, &b);
    measure(s, &a);
    must(store_load(s, "last", &found, &err), &err);
    assert_string_equal(found.id, b.id);
    run_release(&found);
    must(store_load(s, "20261121-15", &found, &err), &err);
    assert_string_equal(found.id, a.id);
    run_release(&found);
    assert_int_equal(store_load(s, "2026", &found, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, a.id));
    assert_non_null(strstr(err.message, b.id));
    assert_int_equal(store_load(s, "", &found, &err), JOULET_NOT_FOUND);
    assert_int_equal(store_load(s, "%", &found, &err), JOULET_NOT_FOUND);
    assert_int_equal(store_load(s, "2026112_", &found, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "joulet runs list"));
    /* An id that is the beginning of another can still be named. */
    snprintf(a.id, sizeof a.id, "20261121-1523");
    must(store_import(s, &a, &err), &err);
    must(store_load(s, "20261121-1523", &found, &err), &err);
    assert_string_equal(found.id, "20261121-1523");
    run_release(&found);
    run_release(&a);
    run_release(&b);
    store_close(s);
}

static void lists_are_newest_first(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct store_row *rows;
    struct run r;
    size_t n;
    (void)state;
    must(store_list(s, 0, &rows, &n, &err), &err);
    assert_int_equal(n, 0);
    store_rows_free(rows, n);
    for (int i = 0; i < 5; i++) {
        sample_bench(&r, SAMPLE_ESTIMATE);
        snprintf(r.id, sizeof r.id, "20261121-15234%d-0000", i);
        r.started_wall_ns += i * JL_NS_PER_S;
        measure(s, &r);
        if (i < 4)
            run_release(&r);
    }
    must(store_list(s, 3, &rows, &n, &err), &err);
    assert_int_equal(n, 3);
    assert_string_equal(rows[0].id, r.id);
    assert_string_equal(rows[2].id, "20261121-152342-0000");
    assert_string_equal(rows[0].status, "done");
    assert_string_equal(rows[0].model, "llama-3.2-1b-q4_0.gguf");
    assert_string_equal(rows[0].engine, "llama.cpp");
    assert_string_equal(rows[0].title, "nine prompts");
    assert_int_equal(rows[0].requests, 5);
    assert_int_equal(rows[0].tokens_out, 4 * 64);
    assert_int_equal(rows[0].provenance, JOULET_ESTIMATED);
    assert_near(rows[0].net_j, r.energy.total.net_j, 1e-9);
    assert_near(rows[0].net_pm_j, r.energy.total.net_pm_j, 1e-9);
    store_rows_free(rows, n);
    run_release(&r);
    store_close(s);
}

/* A run whose process ended without finishing it: a key of no process. */
static void a_run_without_an_end_is_interrupted(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct store_row *rows;
    struct run r, found;
    size_t n;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    struct run head = r;
    head.n_requests = 0;
    head.status = (char *)(uintptr_t) "running";
    run_energy_init(&head.energy);
    must(store_begin(s, &head, &err), &err);
    for (size_t i = 0; i < 4; i++)
        must(store_request(s, &r, &r.requests[i], &err), &err);
    must(store_list(s, 0, &rows, &n, &err), &err);
    assert_string_equal(rows[0].status, "running"); /* this process lives */
    assert_int_equal(rows[0].requests, 3);
    store_rows_free(rows, n);
    assert_int_equal(store_delete(s, r.id, &err), JOULET_BUSY);
    assert_int_equal(sql_run(s->db, "UPDATE runs SET owner='1 1 another-boot'", ""), SQLITE_OK);
    must(store_list(s, 0, &rows, &n, &err), &err);
    assert_string_equal(rows[0].status, "interrupted");
    double net = r.requests[1].energy.total.net_j + r.requests[2].energy.total.net_j + r.requests[3].energy.total.net_j;
    assert_near(rows[0].net_j, net, 1e-9);
    assert_int_equal(rows[0].tokens_out, 3 * 64);
    store_rows_free(rows, n);
    must(store_load(s, "last", &found, &err), &err);
    assert_string_equal(found.status, "interrupted");
    assert_int_equal(found.n_requests, 4);
    assert_near(found.energy.total.net_j, net, 1e-9);
    assert_true(found.energy.has_group[JOULET_GROUP_GPU]);
    assert_int_equal(found.end_ns > found.start_ns, 1);
    run_release(&found);
    must(store_delete(s, r.id, &err), &err);
    run_release(&r);
    store_close(s);
}

/* A full disk left the beginning in the database and the whole record in a file. */
static void the_whole_record_replaces_its_beginning(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct run r, back;
    (void)state;
    sample_bench(&r, SAMPLE_MIXED);
    struct run head = r;
    head.n_requests = 0;
    head.status = (char *)(uintptr_t) "running";
    run_energy_init(&head.energy);
    must(store_begin(s, &head, &err), &err);
    must(store_request(s, &r, &r.requests[0], &err), &err);
    assert_int_equal(store_import(s, &r, &err), JOULET_BUSY); /* this process lives */
    assert_int_equal(sql_run(s->db, "UPDATE runs SET owner='1 1 another-boot'", ""), SQLITE_OK);
    must(store_import(s, &r, &err), &err);
    must(store_load(s, r.id, &back, &err), &err);
    assert_same(&r, &back);
    run_release(&back);
    run_release(&r);
    store_close(s);
}

/* What is known between two requests is kept as well: a killed run has its idle window and engine. */
static void the_head_is_written_again(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct run r, back;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    struct run head = r;
    head.n_requests = head.n_windows = 0;
    head.status = (char *)(uintptr_t) "running";
    must(store_begin(s, &head, &err), &err);
    must(store_request(s, &r, &r.requests[0], &err), &err);
    head.n_windows = r.n_windows;
    must(store_head(s, &head, &err), &err);
    must(store_load(s, r.id, &back, &err), &err);
    assert_int_equal(back.n_windows, r.n_windows);
    assert_int_equal(back.n_requests, 1);
    run_release(&back);
    run_release(&r);
    store_close(s);
}

static void import_is_idempotent(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct store_row *rows;
    struct run r, back;
    size_t n;
    (void)state;
    sample_bench(&r, SAMPLE_MIXED);
    must(store_import(s, &r, &err), &err);
    must(store_import(s, &r, &err), &err); /* the same again: nothing to do */
    must(store_load(s, r.id, &back, &err), &err);
    assert_same(&r, &back);
    run_release(&back);
    r.requests[1].tokens.generated = 65;
    assert_int_equal(store_import(s, &r, &err), JOULET_USAGE);
    assert_non_null(strstr(err.message, "runs delete"));
    must(store_list(s, 0, &rows, &n, &err), &err);
    assert_int_equal(n, 1);
    store_rows_free(rows, n);
    must(store_delete(s, "last", &err), &err);
    must(store_import(s, &r, &err), &err);
    run_release(&r);
    store_close(s);
}

/* A failed store_request is made good at the end; the last request is written again with its tail. */
static void finish_writes_what_is_missing(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct run r, back;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    must(store_begin(s, &r, &err), &err);
    must(store_request(s, &r, &r.requests[0], &err), &err);
    must(store_request(s, &r, &r.requests[4], &err), &err);
    r.requests[4].tail_j = 12.5;
    must(store_finish(s, &r, &err), &err);
    must(store_load(s, r.id, &back, &err), &err);
    assert_same(&r, &back);
    run_release(&back);
    run_release(&r);
    store_close(s);
}

/* ---- traces ------------------------------------------------------------------------------------------------------ */

static size_t make_second(struct joulet_sample *samples, int64_t second)
{
    for (int i = 0; i < 100; i++)
        samples[i] = (struct joulet_sample){second * JL_NS_PER_S + i * 10000000, second * 60000000 + i * 600000, 500000,
                                            i == 50 ? JOULET_SAMPLE_LATE : 0};
    return 100;
}

static void traces_come_back(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct joulet_sample samples[100];
    struct joulet_trace t;
    struct run r;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    measure(s, &r);
    for (int64_t second = 0; second < 5; second++)
        for (size_t c = 0; c < 2; c++) {
            size_t n = make_second(samples, second);
            must(store_samples(s, r.id, &r.channels[c], c, samples, n, &err), &err);
        }
    must(store_samples(s, r.id, &r.channels[0], 0, samples, 0, &err), &err);
    must(store_load_trace(s, r.id, 1, &t, &err), &err);
    assert_int_equal(t.n, 500);
    assert_string_equal(t.channel.id, "cpu0.dram");
    assert_near(t.channel.quantum_j, r.channels[1].quantum_j, 1e-18);
    assert_true(t.samples[499].t_ns == 4 * JL_NS_PER_S + 990000000);
    assert_int_equal(t.samples[250].flags, JOULET_SAMPLE_LATE);
    const char *id = t.channel.id;
    joulet_trace_release(&t);
    must(store_load_trace(s, r.id, 1, &t, &err), &err);
    assert_ptr_equal(id, t.channel.id); /* kept once, until the store is closed */
    joulet_trace_release(&t);
    assert_int_equal(store_load_trace(s, r.id, 2, &t, &err), JOULET_NOT_FOUND);
    must(store_delete(s, r.id, &err), &err);
    assert_int_equal(sql_int(s->db, "SELECT count(*) FROM samples", -1), 0);
    assert_int_equal(sql_int(s->db, "SELECT count(*) FROM requests", -1), 0);
    assert_int_equal(sql_int(s->db, "SELECT count(*) FROM traces", -1), 0);
    run_release(&r);
    store_close(s);
}

static void a_damaged_blob_is_said(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct joulet_sample samples[100];
    struct joulet_trace t;
    struct run r;
    (void)state;
    sample_exec(&r, SAMPLE_SENSORS);
    must(store_samples(s, r.id, &r.channels[0], 0, samples, make_second(samples, 1), &err), &err);
    assert_int_equal(sql_run(s->db, "UPDATE samples SET n=1000000000", ""), SQLITE_OK);
    assert_int_equal(store_load_trace(s, r.id, 0, &t, &err), JOULET_FORMAT);
    assert_int_equal(sql_run(s->db, "UPDATE samples SET n=100, bytes=substr(bytes, 1, 300)", ""), SQLITE_OK);
    assert_int_equal(store_load_trace(s, r.id, 0, &t, &err), JOULET_FORMAT);
    assert_null(t.samples);
    run_release(&r);
    store_close(s);
}

struct writer {
    struct store *s;
    const struct run *r;
    bool failed;
};

static void *write_samples(void *arg)
{
    struct writer *w = arg;
    struct joulet_sample samples[100];
    for (int64_t second = 0; second < 50; second++) {
        size_t n = make_second(samples, second);
        if (store_samples(w->s, w->r->id, &w->r->channels[0], 0, samples, n, NULL) != JOULET_OK)
            w->failed = true;
    }
    return NULL;
}

/* Samples come from a thread of the meter while requests are written and traces are read. */
static void samples_come_from_another_thread(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct joulet_trace t;
    struct run r, back;
    pthread_t thread;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    must(store_begin(s, &r, &err), &err);
    struct writer w = {.s = s, .r = &r};
    assert_int_equal(pthread_create(&thread, NULL, write_samples, &w), 0);
    for (int round = 0; round < 5; round++)
        for (size_t i = 0; i < r.n_requests; i++)
            must(store_request(s, &r, &r.requests[i], &err), &err);
    if (store_load_trace(s, r.id, 0, &t, &err) == JOULET_OK)
        joulet_trace_release(&t);
    assert_int_equal(pthread_join(thread, NULL), 0);
    assert_false(w.failed);
    must(store_finish(s, &r, &err), &err);
    must(store_load_trace(s, r.id, 0, &t, &err), &err);
    assert_int_equal(t.n, 5000);
    for (size_t i = 1; i < t.n; i++)
        assert_true(t.samples[i].t_ns > t.samples[i - 1].t_ns);
    joulet_trace_release(&t);
    must(store_load(s, r.id, &back, &err), &err);
    assert_same(&r, &back);
    run_release(&back);
    run_release(&r);
    store_close(s);
}

/* ---- idle levels, files ------------------------------------------------------------------------------------------ */

static void idle_levels_age(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct joulet_baseline in = {60.4, 0.61, NAN, 5, 9, JOULET_FLAG_SHORT_BASELINE}, out;
    (void)state;
    int64_t now = jl_wall_ns();
    must(store_put_baseline(s, "machine/L1", "cpu0.package", &in, now - 300 * JL_NS_PER_S, &err), &err);
    must(store_get_baseline(s, "machine/L1", "cpu0.package", 600, &out, &err), &err);
    assert_near(out.power_w, 60.4, 0);
    assert_true(isnan(out.sd_w));
    assert_int_equal(out.flags, JOULET_FLAG_SHORT_BASELINE);
    assert_int_equal(out.to_ns, 9);
    assert_int_equal(store_get_baseline(s, "machine/L1", "cpu0.package", 200, &out, &err), JOULET_NOT_FOUND);
    assert_true(isnan(out.power_w));
    assert_int_equal(store_get_baseline(s, "machine/L0", "cpu0.package", 600, &out, &err), JOULET_NOT_FOUND);
    assert_int_equal(store_get_baseline(s, "machine/L1", "gpu0.board", 600, &out, &err), JOULET_NOT_FOUND);
    in.power_w = 61;
    must(store_put_baseline(s, "machine/L1", "cpu0.package", &in, now + 3600 * JL_NS_PER_S, &err), &err);
    assert_int_equal(store_get_baseline(s, "machine/L1", "cpu0.package", 600, &out, &err),
                     JOULET_NOT_FOUND); /* the clock was set back */
    must(store_put_baseline(s, "machine/L1", "cpu0.package", &in, now, &err), &err);
    must(store_get_baseline(s, "machine/L1", "cpu0.package", 600, &out, &err), &err);
    assert_near(out.power_w, 61, 0);
    store_close(s);
}

static void the_default_path_is_in_the_data_folder(void **state)
{
    struct store *s;
    struct joulet_error err;
    char want[128];
    (void)state;
    assert_int_equal(setenv("JOULET_DATA_DIR", scratch_dir, 1), 0);
    must(store_open(&s, NULL, &err), &err);
    assert_string_equal(store_path(s), scratch_path(want, "joulet/joulet.db"));
    store_close(s);
    unlink(want);
    rmdir(scratch_path(want, "joulet"));
}

static void deleting_gives_the_space_back(void **state)
{
    struct store *s = open_store();
    struct joulet_error err;
    struct joulet_sample samples[100];
    struct run r;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    measure(s, &r);
    int64_t before = sql_int(s->db, "PRAGMA page_count", -1);
    for (int64_t second = 0; second < 300; second++)
        must(store_samples(s, r.id, &r.channels[0], 0, samples, make_second(samples, second), &err), &err);
    assert_true(sql_int(s->db, "PRAGMA page_count", -1) > before + 20);
    must(store_delete(s, r.id, &err), &err);
    assert_true(sql_int(s->db, "PRAGMA page_count", -1) <= before);
    assert_int_equal(sql_int(s->db, "PRAGMA freelist_count", -1), 0);
    run_release(&r);
    store_close(s);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(a_run_comes_back, fresh),
        cmocka_unit_test_setup(ids_may_be_short, fresh),
        cmocka_unit_test_setup(lists_are_newest_first, fresh),
        cmocka_unit_test_setup(a_run_without_an_end_is_interrupted, fresh),
        cmocka_unit_test_setup(the_whole_record_replaces_its_beginning, fresh),
        cmocka_unit_test_setup(the_head_is_written_again, fresh),
        cmocka_unit_test_setup(import_is_idempotent, fresh),
        cmocka_unit_test_setup(finish_writes_what_is_missing, fresh),
        cmocka_unit_test_setup(traces_come_back, fresh),
        cmocka_unit_test_setup(a_damaged_blob_is_said, fresh),
        cmocka_unit_test_setup(samples_come_from_another_thread, fresh),
        cmocka_unit_test_setup(idle_levels_age, fresh),
        cmocka_unit_test_setup(the_default_path_is_in_the_data_folder, fresh),
        cmocka_unit_test_setup(deleting_gives_the_space_back, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
