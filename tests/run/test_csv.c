/* test_csv.c - the table: as many cells in each row as in the header, figures as in the record, and nothing that breaks a row. */
#include "tests/run/near.h"
#include "tests/run/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

struct table {
    char **cells; /* rows x columns */
    size_t rows, columns;
};

static void read_table(struct table *t, const struct run *r)
{
    struct jl_buf b;
    struct jl_csv c;
    struct joulet_error err;
    *t = (struct table){0};
    jl_buf_init(&b, RUN_JSON_MAX);
    assert_int_equal(run_to_csv(r, &b, &err), JOULET_OK);
    jl_csv_init(&c, b.data, b.len);
    while (jl_csv_next(&c)) {
        if (!t->rows)
            t->columns = c.n;
        assert_int_equal(c.n, t->columns);
        t->cells = realloc(t->cells, (t->rows + 1) * t->columns * sizeof *t->cells);
        assert_non_null(t->cells);
        for (size_t i = 0; i < c.n; i++)
            t->cells[t->rows * t->columns + i] = jl_strdup(c.fields[i]);
        t->rows++;
    }
    jl_csv_release(&c);
    jl_buf_release(&b);
}

static void free_table(struct table *t)
{
    for (size_t i = 0; i < t->rows * t->columns; i++)
        free(t->cells[i]);
    free(t->cells);
}

static const char *at(const struct table *t, size_t row, const char *column)
{
    for (size_t i = 0; i < t->columns; i++)
        if (!strcmp(t->cells[i], column))
            return t->cells[row * t->columns + i];
    fail_msg("no column %s", column);
    return NULL;
}

static void names_are_unique(void **state)
{
    struct run r;
    struct table t;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    read_table(&t, &r);
    for (size_t i = 0; i < t.columns; i++)
        for (size_t k = 0; k < i; k++)
            assert_string_not_equal(t.cells[i], t.cells[k]);
    free_table(&t);
    run_release(&r);
}

static void rows_say_what_the_record_says(void **state)
{
    struct run r;
    struct table t;
    double x;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    read_table(&t, &r);
    assert_int_equal(t.rows, 1 + 1 + r.n_windows + r.n_requests * 4);
    assert_string_equal(at(&t, 1, "row"), "run");
    assert_string_equal(at(&t, 1, "run_id"), r.id);
    assert_string_equal(at(&t, 2, "row"), "run_window");
    assert_string_equal(at(&t, 2, "window"), "idle");
    assert_string_equal(at(&t, 2, "duration_s"), "10");
    size_t row = 1 + 1 + r.n_windows + 3 * 4; /* the fourth request */
    assert_string_equal(at(&t, row, "row"), "request");
    assert_string_equal(at(&t, row, "category"), "long");
    assert_string_equal(at(&t, row, "cell"), "1");
    assert_string_equal(at(&t, row + 1, "cell_name"), "8 threads, \"hot\"");
    assert_string_equal(at(&t, row, "check"), "");
    assert_string_equal(at(&t, row, "stream"), "");
    assert_string_equal(at(&t, 2, "cell"), "");
    assert_string_equal(at(&t, 3, "cell_name"), "4 threads");
    assert_string_equal(at(&t, row, "tokens_generated"), "64");
    assert_string_equal(at(&t, row, "tokens_reasoning"), "");
    assert_string_equal(at(&t, row, "temperature_after_c"), "");
    assert_string_equal(at(&t, row + 2, "window"), "prefill");
    assert_string_equal(at(&t, row + 2, "flags"), "mismatch");
    assert_string_equal(at(&t, row + 2, "provenance"), "measured");
    assert_string_equal(at(&t, row + 2, "power_mean_w"), "210.6");
    assert_true(jl_parse_double(at(&t, row, "net_j"), &x));
    assert_near(x, r.requests[3].energy.total.net_j, 1e-9);
    assert_true(jl_parse_double(at(&t, row, "gpu_gross_j"), &x));
    assert_near(x, r.requests[3].energy.groups[JOULET_GROUP_GPU].gross_j, 1e-9);
    assert_string_equal(at(&t, row, "platform_net_j"), "");
    assert_true(jl_parse_double(at(&t, row, "u_spec"), &x));
    free_table(&t);
    run_release(&r);
}

static void odd_texts_stay_in_their_cell(void **state)
{
    struct run r;
    struct table t;
    (void)state;
    sample_single(&r, SAMPLE_ESTIMATE);
    free(r.requests[0].category);
    r.requests[0].category = jl_strdup("a \"short\", odd\r\none");
    read_table(&t, &r);
    assert_string_equal(at(&t, 3, "category"), "a \"short\", odd\r\none");
    free_table(&t);
    run_release(&r);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(names_are_unique),
        cmocka_unit_test(rows_say_what_the_record_says),
        cmocka_unit_test(odd_texts_stay_in_their_cell),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
