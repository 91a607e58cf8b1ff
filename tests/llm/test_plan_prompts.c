/* Plans: the nine prompts as shipped, prompt files as people write them, and what is refused with its row. */
#include "tests/llm/scratch.h"

#include "data/data.h"
#include "llm/plans/plan.h"

static void nine_as_shipped(void **state)
{
    static const struct {
        const char *category, *begins;
        int64_t number, max_tokens;
    } want[] = {
        {"short", "In one sentence", 1, 64}, {"short", "List five", 2, 64},         {"short", "Convert 72", 3, 64},
        {"medium", "A friend who", 1, 192},  {"medium", "Rewrite the", 2, 192},     {"medium", "Given a list", 3, 192},
        {"long", "Read the report", 1, 384}, {"long", "You are reviewing", 2, 384}, {"long", "Continue the story", 3, 384},
    };
    struct plan p;
    char sha256[65];
    struct jl_sha256 s;
    (void)state;
    assert_int_equal(plan_nine(&p, NULL), JOULET_OK);
    assert_int_equal(p.n, JL_COUNT(want));
    for (size_t i = 0; i < p.n; i++) {
        assert_string_equal(p.prompts[i].set, "own_v1");
        assert_string_equal(p.prompts[i].category, want[i].category);
        assert_int_equal(p.prompts[i].number, want[i].number);
        assert_int_equal(p.prompts[i].max_tokens, want[i].max_tokens);
        assert_true(jl_starts(p.prompts[i].text, want[i].begins));
    }
    jl_sha256_init(&s);
    jl_sha256_add(&s, data_benchmark_prompts.text, data_benchmark_prompts.len);
    jl_sha256_hex(&s, sha256);
    assert_string_equal(p.sha256, sha256);
    plan_release(&p);
}

struct row {
    const char *text, *first, *second; /* NULL: no such prompt */
    const char *category;
    int64_t max_tokens;
};

static void files_of_prompts(void **state)
{
    static const struct row rows[] = {
        {"one\ntwo", "one", "two", "all", -1},
        {"one\r\n\r\n  \t\r\ntwo\r\n", "one", "two", "all", -1},
        {"\xef\xbb\xbfone\n", "one", NULL, "all", -1},
        {"commas, are no columns, here\n", "commas, are no columns, here", NULL, "all", -1},
        {"\"quoted\" too\n", "\"quoted\" too", NULL, "all", -1},
        {"prompt\n\"a, \"\"b\"\"\nc\"\nd\n", "a, \"b\"\nc", "d", "all", -1},
        {"prompt,max_tokens,category\nx,7,mine\ny,,\n", "x", "y", "mine", 7},
        {"category,prompt,suggested_max_output_tokens\nmine,x,9\n", "x", NULL, "mine", 9},
        {"\xc3\xa9t\xc3\xa9 \xf0\x9f\x8c\x9e\n", "\xc3\xa9t\xc3\xa9 \xf0\x9f\x8c\x9e", NULL, "all", -1},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan p;
        struct joulet_error err;
        scratch_write("prompts.txt", rows[i].text, strlen(rows[i].text));
        if (plan_file(&p, scratch_path("prompts.txt"), &err) != JOULET_OK)
            fail_msg("row %zu: %s", i, err.message);
        assert_string_equal(p.name, "prompts.txt");
        assert_int_equal(p.n, rows[i].second ? 2 : 1);
        assert_string_equal(p.prompts[0].text, rows[i].first);
        assert_string_equal(p.prompts[0].category, rows[i].category);
        assert_int_equal(p.prompts[0].max_tokens, rows[i].max_tokens);
        assert_int_equal(p.prompts[0].number, 1);
        assert_string_equal(p.prompts[0].set, "prompts.txt");
        if (rows[i].second) {
            assert_string_equal(p.prompts[1].text, rows[i].second);
            assert_int_equal(p.prompts[1].number, 2);
            assert_int_equal(p.prompts[1].max_tokens, -1);
        }
        plan_release(&p);
    }
}

static void refused_with_the_reason(void **state)
{
    static const struct {
        const char *text;
        size_t n;
        const char *says;
    } rows[] = {
        {"", 0, "holds no prompt"},
        {"\n \n\r\n", 5, "holds no prompt"},
        {"prompt\n", 7, "holds no prompt"},
        {"prompt,category\n ,x\n", 20, "row 2 has an empty prompt"},
        {"prompt,category\na,x\n,y\n", 23, "row 3 has an empty prompt"},
        {"prompt,max_tokens\na,0\n", 22, "row 2"},
        {"prompt,max_tokens\na,many\n", 25, "row 2"},
        {"prompt,number\na,1.5\n", 20, "not a whole number"},
        {"ok\n\xff\n", 5, "byte 4 is not UTF-8"},
        {"ok\n\xc0\xaf\n", 6, "byte 4 is not UTF-8"},
        {"ok\n\xed\xa0\x80\n", 7, "byte 4 is not UTF-8"},
        {"ok\n\xe2\x82", 5, "byte 4 is not UTF-8"},
        {"a\0b\n", 4, "byte 2 is not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan p;
        struct joulet_error err;
        assert_int_equal(plan_parse(&p, "mine.csv", rows[i].text, rows[i].n, &err), JOULET_FORMAT);
        assert_says(err.message, "mine.csv");
        assert_says(err.message, rows[i].says);
        assert_null(p.prompts);
    }
}

static void a_missing_file_is_named(void **state)
{
    struct plan p;
    struct joulet_error err;
    (void)state;
    assert_int_equal(plan_file(&p, scratch_path("none.csv"), &err), JOULET_NOT_FOUND);
    assert_says(err.message, "none.csv");
}

static void too_many_are_refused(void **state)
{
    struct plan p;
    struct joulet_error err;
    char *text = malloc(2 * 100001 + 1);
    (void)state;
    for (int i = 0; i <= 100000; i++)
        memcpy(text + 2 * i, "x\n", 3);
    assert_int_equal(plan_parse(&p, "many", text, 2 * 100001, &err), JOULET_LIMIT);
    assert_int_equal(plan_parse(&p, "many", text + 2, 2 * 100000, &err), JOULET_OK);
    assert_int_equal(p.n, 100000);
    plan_release(&p);
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(nine_as_shipped),         cmocka_unit_test(files_of_prompts),
        cmocka_unit_test(refused_with_the_reason), cmocka_unit_test(a_missing_file_is_named),
        cmocka_unit_test(too_many_are_refused),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
