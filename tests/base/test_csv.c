/* Rows of RFC 4180, and what spreadsheets make of it. */
#include "lib/base/base.h"
#include "tests/base/test.h"

#include <stdlib.h>
#include <string.h>

/* Rows as "[a|b][c]". */
static char *rows_of(const char *text, size_t len)
{
    struct jl_csv c;
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    jl_csv_init(&c, text, len);
    while (jl_csv_next(&c)) {
        jl_buf_str(&out, "[");
        for (size_t i = 0; i < c.n; i++)
            jl_buf_printf(&out, "%s%s", i ? "|" : "", c.fields[i]);
        jl_buf_str(&out, "]");
    }
    jl_csv_release(&c);
    return jl_buf_take(&out);
}

static void test_rows(void **state)
{
    static const struct {
        const char *text, *want;
    } cases[] = {
        {"", ""},
        {"a,b\nc,d\n", "[a|b][c|d]"},
        {"a,b\r\nc,d", "[a|b][c|d]"},
        {"a,,b,\n", "[a||b|]"},
        {"\"a,b\",c\n", "[a,b|c]"},
        {"\"say \"\"hi\"\"\",x\n", "[say \"hi\"|x]"},
        {"\"two\nlines\",x\n", "[two\nlines|x]"},
        {"\"two\r\nlines\"\r\nnext\r\n", "[two\r\nlines][next]"},
        {"\"\",\"\"\n", "[|]"},
        {"\n\na\n\n", "[a]"},
        {"\xEF\xBB\xBFname\nx\n", "[name][x]"},
        {"\"open, to the end\nof the text", "[open, to the end\nof the text]"},
        {"mid\"quote,b\n", "[mid\"quote|b]"},
        {"a\rb,c\n", "[a\rb|c]"},
        {"a\r", "[a]"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        char *got = rows_of(cases[i].text, strlen(cases[i].text));
        assert_string_equal(got, cases[i].want);
        free(got);
    }
}

/* Many fields: pointers stay right when the text moves while it grows. */
static void test_wide_row(void **state)
{
    struct jl_buf text;
    struct jl_csv c;
    (void)state;
    jl_buf_init(&text, 1 << 20);
    for (int i = 0; i < 5000; i++)
        jl_buf_printf(&text, "%s\"field %d\"", i ? "," : "", i);
    jl_csv_init(&c, text.data, text.len);
    assert_true(jl_csv_next(&c));
    assert_int_equal(c.n, 5000);
    for (int i = 0; i < 5000; i++) {
        char want[32];
        snprintf(want, sizeof(want), "field %d", i);
        assert_string_equal(c.fields[i], want);
    }
    assert_false(jl_csv_next(&c));
    jl_csv_release(&c);
    jl_buf_release(&text);
}

/* A text cut anywhere is read to the cut, never beyond: the copy has exactly that many bytes. */
static void test_every_cut(void **state)
{
    static const char text[] = "a,\"b \"\"c\"\" d\"\r\n\"e\nf\",g\r\n,\n";
    (void)state;
    for (size_t n = 0; n < sizeof(text); n++) {
        char *copy = malloc(n ? n : 1);
        memcpy(copy, text, n);
        char *got = rows_of(copy, n);
        assert_non_null(got);
        if (n >= 15) /* up to the end of the first row */
            assert_memory_equal(got, "[a|b \"c\" d]", 11);
        free(got);
        free(copy);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_rows),
        cmocka_unit_test(test_wide_row),
        cmocka_unit_test(test_every_cut),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
