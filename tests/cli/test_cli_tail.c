/* test_cli_tail.c - a request of a joulet server read and drawn: on any width, with anything in it. */
#include "cli/tail.h"
#include "report/report.h"
#include "tests/cli/program.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define REQUEST(more)                                                                                                            \
    "{\"id\":\"00ff\",\"time\":\"2026-11-22T05:04:21Z\",\"state\":\"done\",\"kind\":\"inference\",\"model\":\"llama3.2:1b\","    \
    "\"tokens\":{\"prompt\":10,\"generated\":30,\"generated_source\":\"counted\"},\"status\":200,\"duration_s\":0.302," more     \
    "\"energy\":{\"net_j\":9.2,\"net_pm_j\":1.1,\"gross_j\":12.1,\"gross_pm_j\":1.0,\"provenance\":\"measured\","                \
    "\"provisional\":false,\"flags\":[]}}"

static const struct report_style plain = {.utf8 = false, .colour = false};
static const struct report_style rich = {.utf8 = true, .colour = true};

static struct tail_request read_one(const char *json)
{
    struct tail_request r;
    assert_true(tail_read(&r, json, strlen(json)));
    return r;
}

static char *drawn(const struct tail_request *r, int width, double since_s, const struct report_style *style)
{
    struct jl_buf out;
    struct tail_columns c = tail_columns_for(width);
    jl_buf_init(&out, 1 << 16);
    tail_line(&out, r, &c, since_s, style);
    return jl_buf_take(&out);
}

static void a_line(void **state)
{
    (void)state;
    struct tail_request r = read_one(REQUEST("\"client\":\"10.0.0.4\",\"tag\":\"nightly\",\"session\":\"s1\","));
    char *line = drawn(&r, 160, NAN, &plain);
    must_say(line, "llama3.2:1b");
    must_say(line, "nightly");
    must_say(line, "10 > 30");
    must_say(line, "9.2 +- 1.1 J");
    must_say(line, "0.307"); /* J/token */
    must_say(line, "40.1");  /* 12.1 J in 0.302 s */
    must_say(line, "302 ms\n");
    free(line);
    assert_true(r.final && r.counted && !r.running);
    static const struct tail_filter yes[] = {{.client = "nightly"}, {.client = "10.0.*"}, {.session = "s1"}},
                                    no = {.session = "s2"};
    for (size_t i = 0; i < JL_COUNT(yes); i++)
        assert_true(tail_wanted(&r, &yes[i]));
    assert_false(tail_wanted(&r, &no));
}

static void what_is_unusual(void **state)
{
    static const struct {
        const char *json, *say;
    } rows[] = {
        {"{\"id\":\"1\",\"state\":\"running\"}", "running"},
        {"{\"id\":\"1\",\"state\":\"client gone\"}", "client gone"},
        {"{\"id\":\"1\",\"state\":\"done\",\"status\":404}", "HTTP 404"},
        {"{\"id\":\"1\",\"state\":\"done\",\"energy\":{\"provisional\":true}}", "settling"},
        {"{\"id\":\"1\",\"state\":\"done\"}", "not measured"},
        {"{\"id\":\"1\",\"state\":\"done\",\"energy\":{\"flags\":[\"drawn elsewhere\"]}}", "elsewhere"},
        {"{\"id\":\"1\",\"state\":\"done\",\"energy\":{\"gross_j\":3,\"provenance\":\"measured\"}}", "3.00 J"},
        {"{\"id\":\"1\",\"state\":\"done\",\"energy\":{\"gross_j\":3,\"provenance\":\"measured\"}}", "gross"},
        {"{\"id\":\"1\",\"state\":\"done\",\"energy\":{\"net_j\":1,\"gross_j\":3,\"provenance\":\"estimated\"}}", "~ 1.00 J"},
        {"{\"id\":\"1\",\"state\":\"done\",\"kind\":\"embeddings\",\"energy\":{\"net_j\":1,\"gross_j\":3,\"provenance\":"
         "\"measured\"}}",
         "embeddings"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct tail_request r = read_one(rows[i].json);
        char *line = drawn(&r, 120, 1, &plain);
        must_say(line, rows[i].say);
        free(line);
    }
}

/* Nothing that a server, or a client through it, can send moves the cursor or makes a line longer than the window. */
static void hostile_text_on_any_width(void **state)
{
    (void)state;
    struct tail_request r = read_one(
        "{\"id\":\"1\\u001b]0;x\\u0007\",\"state\":\"d\\u001b[2Jone\\r\\n\",\"time\":\"\\u0007\\u0007\",\"model\":"
        "\"\\u202e\\u001b[31m"
        "\xe6\xa8\xa1\xe5\x9e\x8b\xe6\xa8\xa1\xe5\x9e\x8b\xe6\xa8\xa1\xe5\x9e\x8b\xe6\xa8\xa1\xe5\x9e\x8b\xe6\xa8\xa1\xe5\x9e\x8b"
        "\",\"tag\":\"a\\tb\\u009b2J\",\"tokens\":{\"prompt\":9007199254740991,\"generated\":-4},\"status\":1e9,\"duration_s\":"
        "1e308}");
    for (int width = 0; width < 250; width++) {
        char *line = drawn(&r, width, NAN, &rich);
        size_t n = strlen(line);
        assert_int_equal(line[n - 1], '\n');
        line[n - 1] = '\0';
        for (size_t i = 0; i + 1 < n; i++)
            assert_true((unsigned char)line[i] >= ' ' || (line[i] == '\033' && line[i + 1] == '['));
        assert_null(strstr(line, "\033[2J"));
        assert_null(strstr(line, "\xc2\x9b"));
        assert_true(report_width(line) <= (width >= 20 ? width + 8 : 120)); /* 8: the colour */
        free(line);
    }
    struct tail_request none;
    static const char *const no_requests[] = {"", "[]", "{}", "{\"id\":3}", "{\"id\":\"\",\"state\":\"done\"}", "{\"lost\":4}"};
    for (size_t i = 0; i < JL_COUNT(no_requests); i++)
        assert_false(tail_read(&none, no_requests[i], strlen(no_requests[i])));
}

static void the_sum(void **state)
{
    (void)state;
    struct tail_sums s;
    struct jl_buf out;
    struct tail_request r = read_one(REQUEST("")), failed = read_one("{\"id\":\"2\",\"state\":\"failed\"}");
    tail_sums_init(&s);
    tail_sums_add(&s, &r);
    tail_sums_add(&s, &failed);
    tail_sums_add(&s, &r);
    jl_buf_init(&out, 4096);
    tail_summary(&out, &s, &plain);
    must_say(out.data, "3 requests (1 not whole), 20 tokens in, 60 out, 18.4 +- 2.2 J above idle (of those with a figure)");
    jl_buf_release(&out);
}

int main(void)
{
    const struct CMUnitTest tests[] = {cmocka_unit_test(a_line), cmocka_unit_test(what_is_unusual),
                                       cmocka_unit_test(hostile_text_on_any_width), cmocka_unit_test(the_sum)};
    return cmocka_run_group_tests(tests, NULL, NULL);
}
