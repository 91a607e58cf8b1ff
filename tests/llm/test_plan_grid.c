/* test_plan_grid.c - the design of a fit: lengths, what fits into the context, order, prompts. */
#include "llm/plans/grid.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

static void levels_are_read(void **state)
{
    (void)state;
    struct grid_levels l;
    struct joulet_error err;
    assert_int_equal(grid_levels_parse("512,64,2048,64", "--tokens-in", &l, &err), JOULET_OK);
    assert_int_equal(l.n, 3);
    assert_true(l.tokens[0] == 64 && l.tokens[1] == 512 && l.tokens[2] == 2048);
    static const char *const bad[] = {"", "64,", ",64", "64;512", "0", "-5", "1e3", "99999999999999999999999999", "64,x"};
    for (size_t i = 0; i < JL_COUNT(bad); i++) {
        assert_int_equal(grid_levels_parse(bad[i], "--tokens-in", &l, &err), JOULET_USAGE);
        assert_non_null(strstr(err.message, "--tokens-in"));
    }
}

static void the_context_ends_the_grid(void **state)
{
    (void)state;
    static const struct {
        int64_t context, longest; /* 0: refused */
        size_t n;
        bool changed;
    } rows[] = {{-1, 8192, 4, false},  {131072, 8192, 4, false}, {9216, 8192, 4, false}, {8192, 7666, 4, true},
                {4096, 3693, 4, true}, {2600, 2048, 3, true},    {2048, 1707, 3, true},  {1000, 0, 0, true}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct grid_levels in, out;
        struct joulet_error err;
        bool changed;
        grid_levels_default(false, &in, &out);
        enum joulet_status st = grid_fit_context(&in, &out, rows[i].context, &changed, &err);
        assert_int_equal(st, rows[i].longest ? JOULET_OK : JOULET_USAGE);
        if (st != JOULET_OK)
            continue;
        assert_int_equal(in.n, rows[i].n);
        assert_int_equal(in.tokens[in.n - 1], rows[i].longest);
        assert_true(changed == rows[i].changed);
        assert_true(rows[i].context < 0 || in.tokens[in.n - 1] + 256 + 32 <= rows[i].context);
    }
}

static void too_small_a_grid(void **state)
{
    (void)state;
    struct grid_levels in = {{64, 512}, 2}, out = {{1, 64}, 2}, three = {{64, 512, 2048}, 3}, one = {{64}, 1};
    struct joulet_error err;
    bool changed;
    assert_int_equal(grid_fit_context(&in, &out, -1, &changed, &err), JOULET_USAGE);
    assert_int_equal(grid_fit_context(&three, &one, -1, &changed, &err), JOULET_USAGE);
    assert_int_equal(grid_fit_context(&three, &out, -1, &changed, &err), JOULET_OK);
    grid_levels_default(true, &in, &out);
    assert_int_equal(grid_fit_context(&in, &out, -1, &changed, &err), JOULET_OK);
}

static void every_cell_equally_often(void **state)
{
    (void)state;
    struct grid_levels in, out;
    size_t n, again, other, same = 0, neighbours = 0;
    grid_levels_default(false, &in, &out);
    struct grid_cell *a = grid_order(&in, &out, 5, 7, &n), *b = grid_order(&in, &out, 5, 7, &again),
                     *c = grid_order(&in, &out, 5, 8, &other);
    assert_true(a && b && c && n == 60 && again == 60 && other == 60);
    assert_memory_equal(a, b, n * sizeof *a);
    for (size_t i = 0; i < n; i++) {
        size_t twins = 0;
        for (size_t k = 0; k < n; k++)
            twins += !memcmp(&a[i], &a[k], sizeof *a);
        assert_int_equal(twins, 1); /* cell and repeat: each once */
        same += !memcmp(&a[i], &c[i], sizeof *a);
        neighbours += i && a[i].tokens_in == a[i - 1].tokens_in && a[i].tokens_out == a[i - 1].tokens_out;
    }
    assert_true(same < 10 && neighbours < 20);
    free(a);
    free(b);
    free(c);
}

static void prompts_share_no_beginning(void **state)
{
    (void)state;
    char *prompts[128];
    for (size_t i = 0; i < 128; i++) {
        prompts[i] = grid_prompt(20, i, 5);
        assert_non_null(prompts[i]);
        size_t blanks = 0, n = strcspn(prompts[i], " ");
        for (const char *p = prompts[i]; *p; p++)
            blanks += *p == ' ';
        assert_int_equal(blanks, 19);
        for (size_t k = 0; k < i; k++)
            if (strcspn(prompts[k], " ") == n && !memcmp(prompts[i], prompts[k], n))
                fail_msg("%zu and %zu begin with the same word: %.*s", k, i, (int)n, prompts[i]);
    }
    char *again = grid_prompt(20, 3, 5), *other = grid_prompt(20, 3, 6), *one = grid_prompt(1, 0, 0);
    assert_string_equal(again, prompts[3]);
    assert_string_not_equal(other, prompts[3]);
    assert_null(strchr(one, ' '));
    for (size_t i = 0; i < 128; i++)
        free(prompts[i]);
    free(again);
    free(other);
    free(one);
}

static void words_and_tokens(void **state)
{
    (void)state;
    struct grid_words w;
    struct joulet_error err;
    assert_int_equal(grid_words_from(24, 28, 120, 133, &w, &err), JOULET_OK); /* a first token, 1.09 a word */
    assert_near(w.per_word, 105.0 / 96, 1e-12);
    assert_int_equal(grid_words_for(&w, 512), 467);
    assert_int_equal(grid_words_for(&w, 1), 1);
    assert_int_equal(grid_words_from(24, 24, 120, 120, &w, &err), JOULET_OK);
    assert_int_equal(grid_words_for(&w, 64), 64);
    assert_int_equal(grid_words_from(24, -1, 120, -1, &w, &err), JOULET_ENGINE);
    assert_int_equal(grid_words_from(24, 28, 120, 28, &w, &err), JOULET_ENGINE);
    assert_int_equal(grid_words_from(24, 120, 120, 24, &w, &err), JOULET_ENGINE);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(levels_are_read),
        cmocka_unit_test(the_context_ends_the_grid),
        cmocka_unit_test(too_small_a_grid),
        cmocka_unit_test(every_cell_equally_often),
        cmocka_unit_test(prompts_share_no_beginning),
        cmocka_unit_test(words_and_tokens),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
