/* test_engine_tokens.c - text into tokens and back on the simulated engine, over and over; engines that have no routes for it or
 * answer something else; and anybody's bytes where tokens should be. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine_wire.h"
#include "tests/sim_engine/sim_engine.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct bench {
    struct sim_engine *sim;
    struct engine *engine;
    int64_t tokens[2]; /* asked for: of text, of tokens */
};

static int64_t text(void *user, int64_t t_ns, int64_t tokens, bool back)
{
    struct bench *b = user;
    b->tokens[back] += tokens;
    return t_ns;
}

static void begin(struct bench *b, bool routes, bool openai, const char *fault)
{
    struct joulet_error err = {.status = JOULET_OK};
    struct sim_config c;
    char url[64];
    sim_config_init(&c);
    c.openai = openai;
    c.key = "sk-secret-of-mine";
    c.text = routes ? text : NULL;
    c.step_user = b;
    assert_true(!fault || sim_config_fault(&c, fault));
    *b = (struct bench){.sim = sim_engine_start(&c, &err)};
    assert_non_null(b->sim);
    snprintf(url, sizeof url, "http://127.0.0.1:%d", sim_engine_port(b->sim));
    if (engine_open(&b->engine, url, c.key, NULL, &err) != JOULET_OK)
        fail_msg("%s", err.message);
}

static void end(struct bench *b)
{
    engine_close(b->engine);
    sim_engine_stop(b->sim);
}

static void there_and_back_again(void **state)
{
    struct bench b;
    struct engine_question q, back;
    struct joulet_error err;
    int64_t *tokens;
    size_t n;
    (void)state;
    begin(&b, true, false, NULL);
    assert_int_equal(engine_tokenise(b.engine, "m", "one \"two\" three\n", &q, &tokens, &n, &err), JOULET_OK);
    assert_int_equal(n, 3);
    assert_int_equal(tokens[2], 2);
    for (int i = 0; i < 3; i++)
        assert_int_equal(engine_ask_again(b.engine, &q, &err), JOULET_OK);
    assert_int_equal(engine_detokenise(b.engine, NULL, tokens, n, &back, &err), JOULET_OK);
    assert_int_equal(engine_ask_again(b.engine, &back, &err), JOULET_OK);
    assert_int_equal(b.tokens[0], 12);
    assert_int_equal(b.tokens[1], 6);
    engine_question_release(&q);
    engine_question_release(&back);
    free(tokens);
    end(&b);
}

/* Each in one sentence, and without the key. */
static void refusals_say_why(void **state)
{
    static const struct {
        bool routes, openai;
        const char *fault, *text;
        enum joulet_status status;
        const char *says;
    } rows[] = {
        {false, false, NULL, "a b", JOULET_ENGINE, "refused /tokenize (HTTP 404)"},
        {true, true, NULL, "a b", JOULET_UNSUPPORTED, "speaks openai, which has no route for tokens alone"},
        {true, false, "text-refused:0", "a b", JOULET_ENGINE, "refused /tokenize (HTTP 503)"},
        {true, false, "text-garbled", "a b", JOULET_FORMAT, "answers /tokenize without a list of tokens"},
        {true, false, NULL, " ", JOULET_FORMAT, "without a list of tokens"}, /* an empty one */
        {true, false, NULL, "\xff", JOULET_USAGE, "is not UTF-8"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct bench b;
        struct engine_question q;
        struct joulet_error err = {.status = JOULET_OK};
        int64_t *tokens;
        size_t n;
        begin(&b, rows[i].routes, rows[i].openai, rows[i].fault);
        enum joulet_status got = engine_tokenise(b.engine, NULL, rows[i].text, &q, &tokens, &n, &err);
        if (got != rows[i].status || !strstr(err.message, rows[i].says) || strstr(err.message, "secret"))
            fail_msg("row %zu: %d, %s", i, (int)got, err.message);
        assert_null(tokens);
        engine_question_release(&q);
        end(&b);
    }
}

static void what_stops_answering_is_said(void **state)
{
    struct bench b;
    struct engine_question q, back;
    struct joulet_error err;
    int64_t *tokens, one = 1;
    size_t n;
    (void)state;
    begin(&b, true, false, "text-refused:2");
    assert_int_equal(engine_tokenise(b.engine, NULL, "a b c", &q, &tokens, &n, &err), JOULET_OK);
    assert_int_equal(engine_ask_again(b.engine, &q, &err), JOULET_OK);
    assert_int_equal(engine_ask_again(b.engine, &q, &err), JOULET_ENGINE);
    assert_non_null(strstr(err.message, "refused /tokenize (HTTP 503)"));
    free(tokens);
    sim_engine_stop(b.sim);
    assert_int_equal(engine_ask_again(b.engine, &q, &err), JOULET_UNREACHABLE);
    assert_non_null(strstr(err.message, "no engine at http://127.0.0.1:"));
    engine_question_release(&q);
    engine_close(b.engine);
    begin(&b, true, false, "text-garbled");
    assert_int_equal(engine_detokenise(b.engine, NULL, &one, 1, &back, &err), JOULET_FORMAT);
    assert_non_null(strstr(err.message, "answers /detokenize without a text"));
    engine_question_release(&back);
    end(&b);
}

static void anybodys_bytes(void **state)
{
    static const struct {
        const char *json;
        size_t n; /* 0: refused */
    } rows[] = {{"{\"tokens\":[5]}", 1},
                {"{\"tokens\":[0,2147483647,7],\"more\":{}}", 3},
                {"{\"tokens\":[]}", 0},
                {"{\"tokens\":[-1]}", 0},
                {"{\"tokens\":[2147483648]}", 0},
                {"{\"tokens\":[1e300]}", 0},
                {"{\"tokens\":[1,null]}", 0},
                {"{\"tokens\":[\"1\"]}", 0},
                {"{\"tokens\":[[1]]}", 0},
                {"{\"tokens\":{\"0\":1}}", 0},
                {"{\"tokens\":7}", 0},
                {"{}", 0},
                {"[1,2,3]", 0},
                {"{\"tokens\":[1,2", 0},
                {"<!doctype html>", 0},
                {"", 0}};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        int64_t *tokens;
        size_t n;
        bool is = engine_read_tokens(rows[i].json, strlen(rows[i].json), &tokens, &n);
        if (is != (rows[i].n > 0) || n != rows[i].n || (tokens == NULL) != (n == 0))
            fail_msg("%s: %zu tokens", rows[i].json, n);
        free(tokens);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(there_and_back_again),
        cmocka_unit_test(refusals_say_why),
        cmocka_unit_test(what_stops_answering_is_said),
        cmocka_unit_test(anybodys_bytes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
