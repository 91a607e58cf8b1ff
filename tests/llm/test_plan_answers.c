/* Prompts with right answers: JSON lines, the sets that come with the program, and which answers pass. */
#include "tests/llm/scratch.h"

#include "llm/plans/plan.h"

static void json_lines_as_people_write_them(void **state)
{
    static const char text[] =
        "\n{\"prompt\": \"2 + 2?\", \"expected\": \"4\", \"category\": \"sums\", \"number\": 7, \"max_tokens\": 8, \"id\": "
        "[1]}\r\n"
        "{\"messages\": [{\"role\": \"system\", \"content\": \"Be brief.\"}, {\"role\": \"user\", \"content\": \"Hi\"}]}\n"
        "\n{\"prompt\": \"b\", \"check\": \"^yes\", \"expected\": null}";
    struct plan p;
    struct joulet_error err;
    (void)state;
    if (plan_parse(&p, "mine.jsonl", text, sizeof text - 1, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(p.n, 3);
    assert_string_equal(p.prompts[0].text, "2 + 2?");
    assert_string_equal(p.prompts[0].expected, "4");
    assert_string_equal(p.prompts[0].category, "sums");
    assert_string_equal(p.prompts[0].set, "mine.jsonl");
    assert_int_equal(p.prompts[0].number, 7);
    assert_int_equal(p.prompts[0].max_tokens, 8);
    assert_null(p.prompts[0].messages);
    assert_string_equal(p.prompts[1].messages, p.prompts[1].text);
    assert_says(p.prompts[1].messages, "\"content\":\"Hi\"");
    assert_int_equal(p.prompts[1].number, 2);
    assert_string_equal(p.prompts[2].check, "^yes");
    assert_null(p.prompts[2].expected);
    plan_release(&p);
}

static void bad_lines_are_named(void **state)
{
    static const struct {
        const char *text, *says;
    } rows[] = {
        {"{\"prompt\": \"a\"}\n{\"prompt\"", "line 2 is no JSON object"},
        {"{\"prompt\": \"a\"}\n\n[1]", "line 3 is no JSON object"},
        {"{}", "line 1: it has neither"},
        {"{\"prompt\": \" \"}", "neither"},
        {"{\"prompt\": 4}", "\"prompt\" must be a text"},
        {"{\"prompt\": \"a\", \"messages\": [{\"role\": \"user\", \"content\": \"b\"}]}", "exclude each other"},
        {"{\"messages\": []}", "must be a list of objects"},
        {"{\"messages\": [{\"role\": 1}]}", "must be a list of objects"},
        {"{\"messages\": [{\"role\": \"user\", \"content\": \"b\"}, {\"role\": \"assistant\", \"content\": \"c\"}]}",
         "is an answer"},
        {"{\"prompt\": \"a\", \"max_tokens\": 0}", "\"max_tokens\" must be a whole number from 1"},
        {"{\"prompt\": \"a\", \"number\": -1}", "\"number\" must be a whole number"},
        {"{\"prompt\": \"a\", \"check\": \"(\"}", "cannot be used"},
        {"{\"prompt\": \"a\", \"prompt\": \"b\"}", "no JSON object"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan p;
        struct joulet_error err;
        assert_int_equal(plan_parse(&p, "mine.jsonl", rows[i].text, strlen(rows[i].text), &err), JOULET_FORMAT);
        assert_says(err.message, "mine.jsonl");
        assert_says(err.message, rows[i].says);
        assert_null(p.prompts);
    }
}

static void answers_pass_or_fail(void **state)
{
    static const struct {
        const char *expected, *check, *answer;
        int right;
    } rows[] = {
        {NULL, NULL, "anything", -1}, {"4", NULL, " 4\n", 1},   {"4", NULL, "4.", 0},   {"a b", NULL, "a  b", 0},
        {"", "x", "axb", 1},          {NULL, "^4$", "\n4 ", 1}, {NULL, "^4$", "14", 0}, {NULL, "yes", "Yes", 0},
        {NULL, "(?i)yes", "Yes", 1},  {NULL, "a.c", "a\nc", 1}, {"4", "4", "5", 0},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan_prompt p = {.expected = (char *)(uintptr_t)(rows[i].expected && *rows[i].expected ? rows[i].expected : NULL),
                                .check = (char *)(uintptr_t)rows[i].check};
        if (plan_check(&p, rows[i].answer) != rows[i].right)
            fail_msg("row %zu", i);
    }
}

static void greedy_expressions_are_refused(void **state)
{
    static const char *const bad[] = {"[",
                                      "a{1,200}",
                                      "((((a{1,9}){1,9}){1,9}){1,9})",
                                      "a{9",
                                      "a+++++++++++++++++++++",
                                      "(((((((((((((((a+)+)+)+)+)+)+)+)+)+)+)+)+)+)+",
                                      "((a{100}){100}){9}",
                                      "([]()]{99}){99}{9}",
                                      "*"};
    static const char *const good[] = {
        "a{2,5}",        "(a+b+)+",    "[+*+{+(]+",         "\\(\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+\\+",
        "(a{100}){100}", "\\{9999\\}", "[0-9]{4}-[0-9]{2}", "(?i)answer: *12"};
    char longer[1200];
    struct joulet_error err;
    (void)state;
    memset(longer, 'a', sizeof longer - 1);
    longer[sizeof longer - 1] = '\0';
    assert_int_equal(plan_check_good(longer, &err), JOULET_FORMAT);
    for (size_t i = 0; i < JL_COUNT(bad) - 1; i++)
        assert_int_equal(plan_check_good(bad[i], &err), JOULET_FORMAT);
    for (size_t i = 0; i < JL_COUNT(good); i++)
        if (plan_check_good(good[i], &err) != JOULET_OK)
            fail_msg("%s: %s", good[i], err.message);
}

static void sets_come_with_the_program(void **state)
{
    (void)state;
    for (size_t i = 1; plan_sets[i]; i++) {
        struct plan p;
        struct joulet_error err;
        if (plan_open(&p, plan_sets[i], &err) != JOULET_OK)
            fail_msg("%s", err.message);
        assert_true(p.n >= 8);
        assert_string_equal(p.name, plan_sets[i]);
        for (size_t k = 0; k < p.n; k++) {
            assert_string_equal(p.prompts[k].set, p.prompts[0].set);
            assert_int_equal(p.prompts[k].number, k + 1);
            assert_true(p.prompts[k].max_tokens > 0);
        }
        plan_release(&p);
    }
}

/* A right answer, as a model may word it, and a wrong one. */
static void their_checks_know_right_from_wrong(void **state)
{
    static const struct {
        const char *set;
        size_t number;
        const char *right, *wrong;
    } rows[] = {
        {"extract", 1, "85.90", "79.90"},
        {"extract", 4, "Ingrid Solberg, Tomasz, Leila Haddad, Amir", "Amir, Ingrid Solberg"},
        {"extract", 6, "[{\"from\":\"a\",\"to\":\"b\",\"minutes\":9},{\"minutes\":6},\n{\"minutes\":22}]", "[{\"minutes\":9}]"},
        {"extract", 8, "Praise", "question"},
        {"thinking", 1, "It gains 10 l an hour.\nAnswer: 12", "Answer: 120"},
        {"thinking", 2, "Answer: **70**", "Answer: 75.60"},
        {"thinking", 7, "Answer: 9:25", "Answer: 08:25"},
        {"long-context", 1, "Hana took them, in entry 1679.", "Hana, entry 1672"},
        {"long-context", 5, "Ninety minutes, says rule 71.", "ninety minutes, rule 17"},
        {"code", 6, "[[0, 5, 0], [0, 5, 0]]", "[[0, 5, 0], [0, 0, 0]]"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct plan p;
        assert_int_equal(plan_open(&p, rows[i].set, NULL), JOULET_OK);
        const struct plan_prompt *x = &p.prompts[rows[i].number - 1];
        if (plan_check(x, rows[i].right) != 1 || plan_check(x, rows[i].wrong) != 0)
            fail_msg("%s %zu", rows[i].set, rows[i].number);
        plan_release(&p);
    }
}

static void sets_add_up(void **state)
{
    struct plan a, b, both;
    struct joulet_error err;
    char *list = NULL;
    (void)state;
    scratch_write("mine.txt", "hello\n", 6);
    list = jl_strf("chat , %s", scratch_path("mine.txt"));
    assert_int_equal(plan_open(&a, "chat", NULL), JOULET_OK);
    assert_int_equal(plan_open(&b, scratch_path("mine.txt"), NULL), JOULET_OK);
    assert_int_equal(plan_open(&both, list, &err), JOULET_OK);
    assert_int_equal(both.n, a.n + 1);
    assert_string_equal(both.prompts[a.n].text, "hello");
    assert_string_equal(both.name, "chat, mine.txt");
    assert_string_not_equal(both.sha256, a.sha256);
    assert_string_not_equal(both.sha256, b.sha256);
    plan_release(&a);
    plan_release(&b);
    plan_release(&both);
    assert_int_equal(plan_open(&both, "chat,,code", &err), JOULET_USAGE);
    assert_int_equal(plan_open(&both, "chat,none.txt", &err), JOULET_NOT_FOUND);
    assert_null(both.prompts);
    free(list);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(json_lines_as_people_write_them),
        cmocka_unit_test(bad_lines_are_named),
        cmocka_unit_test(answers_pass_or_fail),
        cmocka_unit_test(greedy_expressions_are_refused),
        cmocka_unit_test(sets_come_with_the_program),
        cmocka_unit_test(their_checks_know_right_from_wrong),
        cmocka_unit_test(sets_add_up),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
