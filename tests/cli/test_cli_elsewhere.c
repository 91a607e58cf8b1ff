/* test_cli_elsewhere.c - an engine on another machine, reached through a proxy of the environment: its joules are never those of
 * this machine's sensors. They are
 * estimated by a set that has the model, else from its size, with ends as far apart as that leaves open; protocols by name. */
#include "tests/cli/program.h"
#include "tests/llm/mock.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const struct mock_route routes[] = {
    {"GET /v1/models", "composed", "openai-models", MOCK_WHOLE},
    {"POST /v1/chat/completions", "composed", "openai-stream", MOCK_WHOLE},
    {"POST /v1/messages", "composed", "openai-empty-request", MOCK_WHOLE},
};
static const struct mock_route sized[] = {
    {"GET /v1/models", "composed", "openai-models-sized", MOCK_WHOLE},
    {"POST /v1/chat/completions", "composed", "openai-stream", MOCK_WHOLE},
};
static const struct mock_config config_sized = {.routes = sized, .n_routes = JL_COUNT(sized)};
static const struct mock_config config = {.routes = routes, .n_routes = JL_COUNT(routes)};

static void run_at(const struct mock_config *where, struct program *p, const char *const *args)
{
    struct mock *m = mock_start(where);
    char proxy[96];
    snprintf(proxy, sizeof proxy, "http_proxy=%s", mock_url(m));
    const char *env[] = {proxy, NULL};
    *p = (struct program){.env = env};
    program_run(p, args);
    mock_stop(m);
}

static void run_there(struct program *p, const char *const *args)
{
    run_at(&config, p, args);
}

/* Nothing is published of a model "m", and its name tells no size: 20 x 0.91 J + 3 x 9.1 J, 50 times less or more. */
static void estimated_from_nothing(void **state)
{
    (void)state;
    struct program p;
    run_there(&p, ARGS("run", "--engine", "http://gpu.example:8000", "--sim", "250", "--width", "250", "hi"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "\xe2\x89\x88 46 J (0.91 to 2300 J)");
    must_say(kept(&p.out), "estimated from nothing but its tokens");
    assert_null(strstr(kept(&p.out), "(sim"));
    program_release(&p);
    run_there(&p, ARGS("run", "--engine", "http://192.168.77.77:8000", "--sim", "250", "--json",
                       "hi")); /* next door is elsewhere too */
    must_say(kept(&p.out), "\"local\": false");
    must_say(kept(&p.out), "\"provenance\": \"estimated\"");
    must_say(kept(&p.out), "the truth may lie 50 times lower or higher");
    must_say(kept(&p.out), "--set NAME` takes a set of your own");
    assert_null(
        strstr(kept(&p.out), "\"provenance\": \"simulated\",\n  \"method\"")); /* no energy by the sensor of this machine */
    program_release(&p);
}

/* 20 x 0.126 J + 3 x 1.26 J for 4.5e9 parameters, ten times less or more. */
static void estimated_from_the_size_in_its_name(void **state)
{
    (void)state;
    struct program p;
    run_at(&config_sized, &p, ARGS("run", "--engine", "http://gpu.example:8000", "--sim", "250", "--width", "250", "hi"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "\xe2\x89\x88 6.3 J (0.63 to 63 J)");
    must_say(kept(&p.out), "estimated from the size of the model alone");
    must_say(kept(&p.out), "the size of the model, 4.5 billion parameters, and the truth may lie 10 times lower or higher");
    program_release(&p);
}

/* 20 tokens in at 0.5 J, 3 out at 2 J. */
static void estimated_by_a_set(void **state)
{
    (void)state;
    struct program p = {.env = NULL};
    program_run(&p,
                ARGS("estimate", "sets", "create", "mine", "-m", "m", "--coefficient", "e_in=0.5", "--coefficient", "e_out=2"));
    assert_int_equal(p.code, 0);
    program_release(&p);
    run_there(&p, ARGS("run", "--engine", "http://gpu.example:8000", "--sim", "250", "--width", "250", "hi"));
    assert_int_equal(p.code, 0);
    must_say(kept(&p.out), "Hello");
    must_say(kept(&p.out), "\xe2\x89\x88 16 J (8.0 to 32 J)");
    must_say(kept(&p.out), "no sensor of this machine sees an engine on another one");
    must_say(kept(&p.out), "estimated from the set mine");
    assert_null(strstr(kept(&p.out), "surely"));
    assert_null(strstr(kept(&p.out), "(sim"));
    program_release(&p);
    p = (struct program){.env = NULL};
    program_run(&p, ARGS("runs", "recompute", "last"));
    assert_int_not_equal(p.code, 0);
    must_say(kept(&p.err), "was done on another machine");
    program_release(&p);
}

static void protocols_that_are_not_there(void **state)
{
    (void)state;
    struct program p;
    run_there(&p, ARGS("run", "--engine", "http://gpu.example:8000", "--protocol", "responses", "hi"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "does not speak the protocol responses");
    program_release(&p);
    run_there(&p, ARGS("run", "--engine", "http://gpu.example:8000", "--protocol", "telnet", "hi"));
    assert_int_equal(p.code, 2);
    must_say(kept(&p.err), "there is no protocol \"telnet\"");
    program_release(&p);
    run_there(&p, ARGS("run", "--engine", "http://gpu.example:8000", "--protocol", "anthropic", "--seed", "1", "hi"));
    assert_int_equal(p.code, 4);
    must_say(kept(&p.err), "the protocol anthropic has no seed");
    program_release(&p);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(estimated_from_nothing),
        cmocka_unit_test(estimated_from_the_size_in_its_name),
        cmocka_unit_test(estimated_by_a_set),
        cmocka_unit_test(protocols_that_are_not_there),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
