/* test_bad_json.c - foreign bytes: refused with one sentence that names the key, never a crash, never half a record. */
#include "tests/run/sample.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include <cmocka.h>

static char *good(size_t *n)
{
    struct run r;
    struct jl_buf b;
    struct joulet_error err;
    sample_single(&r, SAMPLE_SENSORS);
    jl_buf_init(&b, RUN_JSON_MAX);
    assert_int_equal(run_to_json(&r, &b, &err), JOULET_OK);
    run_release(&r);
    *n = b.len;
    return jl_buf_take(&b);
}

/* The good record with the first `from` replaced. */
static char *changed(const char *from, const char *to)
{
    size_t n;
    char *text = good(&n), *at = strstr(text, from), *out;
    if (!at)
        fail_msg("the sample holds no %s", from);
    *at = '\0';
    out = jl_strf("%s%s%s", text, to, at + strlen(from));
    free(text);
    return out;
}

static void bad_values_are_named(void **state)
{
    static const struct {
        const char *from, *to;
        enum joulet_status want;
        const char *says;
    } cases[] = {
        {"\"joulet.run/1\"", "\"joulet.run/2\"", JOULET_NEWER, "update joulet"},
        {"\"joulet.run/1\"", "\"joulet.run/0\"", JOULET_FORMAT, "no record of joulet"},
        {"\"joulet.run/1\"", "7", JOULET_FORMAT, "no record of joulet"},
        {"\"net_j\": ", "\"net_j\": \"much\", \"x\": ", JOULET_FORMAT, "energy.total.net_j must be a number, there is a text"},
        {"\"net_j\": ", "\"net_j\": 1e301, \"x\": ", JOULET_FORMAT, "energy.total.net_j"},
        {"\"provenance\": \"measured\"", "\"provenance\": \"dreamt\"", JOULET_FORMAT,
         "provenance must be a name this version knows"},
        {"\"flags\": []", "\"flags\": [\"tired\"]", JOULET_FORMAT, "flags this version knows"},
        {"\"flags\": []", "\"flags\": [1]", JOULET_FORMAT, "flags this version knows"},
        {"\"flags\": []", "\"flags\": {}", JOULET_FORMAT, "a list of flags"},
        {"\"quantity\": \"energy\"", "\"quantity\": 4", JOULET_FORMAT, "channels[0].quantity"},
        {"\"warmup\": false", "\"warmup\": 0", JOULET_FORMAT, "requests[0].warmup must be true or false, there is a number"},
        {"\"prompt\": 13", "\"prompt\": -1", JOULET_FORMAT, "requests[0].tokens.prompt"},
        {"\"prompt\": 13", "\"prompt\": 13.5", JOULET_FORMAT, "requests[0].tokens.prompt must be a whole number"},
        {"\"prompt\": 13", "\"prompt\": 99999999999999", JOULET_FORMAT, "inside its range"},
        {"\"start_ns\": 123000000000", "\"start_ns\": null", JOULET_FORMAT, "start_ns must be a value"},
        {"\"start_ns\": 123000000000", "\"start_ns\": 5e18", JOULET_FORMAT, "start_ns"},
        {"\"id\": \"", "\"id\": \"../", JOULET_FORMAT, "\"id\""},
        {"\"id\": \"", "\"id\": \"a-name-that-is-longer-than-forty-characters-", JOULET_FORMAT, "id must be a shorter text"},
        {"\"machine\": {", "\"machine\": {\"deep\": {},", JOULET_FORMAT, "machine.deep"},
        {"\"machine\": {", "\"machine\": 5, \"x\": {", JOULET_FORMAT, "machine must be an object"},
        {"\"windows\": {", "\"windows\": {\"prefill\\u0041xxxxxxxxxxxxxxxxxxxxxxxxxxxx\": {},", JOULET_FORMAT, "short name"},
        {"\"windows\": {", "\"windows\": {\"x\": 3,", JOULET_FORMAT, "requests[0].windows.x must be a window"},
        {"\"cells\": []", "\"cells\": [7]", JOULET_FORMAT, "cells[0] must be a cell"},
        {"\"cells\": []", "\"cells\": [{\"name\": 1}]", JOULET_FORMAT, "cells[0].name must be a text"},
        {"\"cells\": []", "\"cells\": [{\"name\": \"a\", \"settings\": {\"b\": []}}]", JOULET_FORMAT, "cells[0].settings.b"},
        {"\"series\": []", "\"series\": [7]", JOULET_FORMAT, "series[0] must be a series"},
        {"\"series\": []", "\"series\": [{\"set\": \"a\", \"steady\": 1}]", JOULET_FORMAT, "series[0].steady"},
        {"\"cell\": null", "\"cell\": 0", JOULET_FORMAT, "speaks of cell 0 and has 0 cells"},
        {"\"cell\": null", "\"cell\": -1", JOULET_FORMAT, "cell must be a whole number inside its range"},
        {"\"check\": null", "\"check\": 1", JOULET_FORMAT, "requests[0].check must be true or false"},
        {"\"notes\": []", "\"notes\": [1]", JOULET_FORMAT, "notes[0]"},
        {"\"requests\": [", "\"requests\": [7,", JOULET_FORMAT, "requests[0] must be a request"},
        {"\"id\":", "\"id\": \"x\", \"id\":", JOULET_FORMAT, "no valid JSON"},
        {"\"method\": \"", "\"method\": \"0123456789012345678901234567890123456789012345678901234567890123456789", JOULET_FORMAT,
         "shorter text"},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r;
        struct joulet_error err;
        char *text = changed(cases[i].from, cases[i].to);
        enum joulet_status st = run_from_json(text, strlen(text), &r, &err);
        if (st != cases[i].want || !strstr(err.message, cases[i].says))
            fail_msg("case %zu: status %d, \"%s\"; expected \"%s\"", i, st, st ? err.message : "", cases[i].says);
        assert_int_equal(r.n_requests, 0);
        free(text);
    }
}

static void good_changes_are_read(void **state)
{
    static const struct {
        const char *from, *to;
    } cases[] = {
        {"\"net_j\": ", "\"from_the_future\": [1, {}], \"net_j\": "}, /* keys of later versions are passed over */
        {"\"prompt\": 13", "\"prompt\": 13.0"},
        {"\"seed\": \"18446744073709551615\"", "\"seed\": 18446744073709551615"},
        {"\"sampler\": {", "\"x\": {"},
        {"\"notes\": []", "\"notes\": null"},
        {"\"title\": null,", ""},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r;
        struct joulet_error err;
        char *text = changed(cases[i].from, cases[i].to);
        if (run_from_json(text, strlen(text), &r, &err) != JOULET_OK)
            fail_msg("case %zu: %s", i, err.message);
        assert_int_equal(r.requests[0].tokens.prompt, 13);
        run_release(&r);
        free(text);
    }
}

static void noise_is_refused(void **state)
{
    static const char *const cases[] = {"",
                                        " ",
                                        "{}",
                                        "[]",
                                        "null",
                                        "7",
                                        "{",
                                        "\"joulet.run/1\"",
                                        "{\"schema\":\"joulet.run/1\"}",
                                        "\xff\xfe{}",
                                        "{\"schema\":\"joulet.run/99999999999999999999\"}",
                                        "{\"schema\":null}",
                                        "{\"schema\":\"joulet.run/\"}"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct run r;
        struct run_request q;
        struct joulet_error err;
        assert_int_equal(run_from_json(cases[i], strlen(cases[i]), &r, &err), JOULET_FORMAT);
        assert_int_not_equal(err.message[0], '\0');
        assert_int_equal(run_request_from_json(cases[i], strlen(cases[i]), &q, &err), JOULET_FORMAT);
    }
}

static void depth_is_limited(void **state)
{
    enum { DEEP = 100000 };
    struct run r;
    struct joulet_error err;
    char *text = malloc(DEEP + 1);
    (void)state;
    assert_non_null(text);
    memset(text, '[', DEEP);
    text[DEEP] = '\0';
    assert_int_equal(run_from_json(text, DEEP, &r, &err), JOULET_FORMAT);
    free(text);
}

/* Every cut of a record, and every byte of it changed. */
static void damage_never_crashes(void **state)
{
    size_t n;
    char *text = good(&n);
    struct jl_rng rng = {1};
    (void)state;
    for (size_t cut = 0; cut < n - 2; cut += 1 + jl_rng_below(&rng, 60)) {
        struct run r;
        assert_int_equal(run_from_json(text, cut, &r, NULL), JOULET_FORMAT);
    }
    for (size_t i = 0; i < n; i += 1 + jl_rng_below(&rng, 30)) {
        struct run r;
        char kept = text[i];
        text[i] = (char)jl_rng_below(&rng, 256);
        if (run_from_json(text, n, &r, NULL) == JOULET_OK)
            run_release(&r);
        text[i] = kept;
    }
    free(text);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(bad_values_are_named), cmocka_unit_test(good_changes_are_read), cmocka_unit_test(noise_is_refused),
        cmocka_unit_test(depth_is_limited),     cmocka_unit_test(damage_never_crashes),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
