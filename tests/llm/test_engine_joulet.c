/* test_engine_joulet.c - what a joulet server says of a request, believed in nothing; and how one is known. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include "llm/engine.h"
#include "tests/server/upstream.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define ENERGY(members) "{\"energy\":{" members "}}"
#define MEASURED        ",\"provenance\":\"measured\",\"method\":\"attribution/1\",\"provisional\":false,\"flags\":[]"

static struct engine_told told_by(const char *json)
{
    struct engine_told t;
    engine_told_init(&t);
    assert_true(engine_told_read(json, strlen(json), &t));
    assert_true(t.any);
    return t;
}

static void figures(void **state)
{
    (void)state;
    struct engine_told t =
        told_by(ENERGY("\"net_j\":12.3031522,\"net_pm_j\":1.5,\"gross_j\":16.3562767,\"gross_pm_j\":0.9,\"min_j\":null,"
                       "\"max_j\":null,\"tail_j\":0.25,\"provenance\":\"estimated\",\"method\":\"attribution/1\","
                       "\"provisional\":true,\"flags\":[\"weights assumed\",\"no baseline\",\"a new one\"]"));
    assert_true(t.e.net_j == 12.3031522 && t.e.gross_j == 16.3562767 && t.e.net_pm_j == 1.5 && t.e.gross_pm_j == 0.9);
    assert_true(isnan(t.e.min_j) && isnan(t.e.max_j) && t.e.tail_j == 0.25);
    assert_int_equal(t.e.provenance, JOULET_ESTIMATED);
    assert_int_equal(t.e.flags, JOULET_FLAG_WEIGHTS_ASSUMED | JOULET_FLAG_NO_BASELINE | JOULET_FLAG_PROVISIONAL);
    assert_string_equal(t.e.method, "attribution/1");
    assert_string_equal(t.words, "a new one");
    assert_true(t.provisional && !t.elsewhere && !t.wrong);
    assert_true(fabs(hypot(t.e.u.spec, t.e.u.idle) - 0.75) < 1e-12);
}

/* Bits of what is left of an object. */
enum { GROSS = 1, NET = 2, WRONG = 4, ELSEWHERE = 8, PROVISIONAL = 16 };

static const struct {
    const char *name, *json;
    int want;
} cases[] = {
    {"whole", ENERGY("\"net_j\":1,\"gross_j\":2" MEASURED), GROSS | NET},
    {"in usage", "{\"usage\":{\"total_tokens\":3,\"energy\":{\"net_j\":1,\"gross_j\":2" MEASURED "}}}", GROSS | NET},
    {"net below idle", ENERGY("\"net_j\":-0.01,\"gross_j\":2" MEASURED), GROSS | NET},
    {"no level", ENERGY("\"net_j\":null,\"net_pm_j\":null,\"gross_j\":2" MEASURED), GROSS},
    {"nothing yet", ENERGY("\"net_j\":null,\"gross_j\":null,\"provenance\":\"measured\",\"provisional\":true"), PROVISIONAL},
    {"elsewhere", ENERGY("\"net_j\":null,\"gross_j\":null,\"provenance\":\"measured\",\"flags\":[\"drawn elsewhere\"]"),
     ELSEWHERE},
    {"negative gross", ENERGY("\"net_j\":1,\"gross_j\":-2" MEASURED), WRONG},
    {"negative interval", ENERGY("\"net_j\":1,\"net_pm_j\":-1,\"gross_j\":2" MEASURED), WRONG},
    {"NaN as text", ENERGY("\"net_j\":\"NaN\",\"gross_j\":2" MEASURED), WRONG},
    {"a number as text", ENERGY("\"net_j\":\"1\",\"gross_j\":2" MEASURED), WRONG},
    {"huge", ENERGY("\"net_j\":1e300,\"gross_j\":1e300" MEASURED), WRONG},
    {"more net than gross", ENERGY("\"net_j\":3,\"gross_j\":2" MEASURED), WRONG},
    {"bounds crossed", ENERGY("\"net_j\":1,\"gross_j\":2,\"min_j\":5,\"max_j\":1" MEASURED), WRONG},
    {"no provenance", ENERGY("\"net_j\":1,\"gross_j\":2"), WRONG},
    {"another provenance", ENERGY("\"net_j\":1,\"gross_j\":2,\"provenance\":\"guessed\""), WRONG},
    {"provenance a number", ENERGY("\"net_j\":1,\"gross_j\":2,\"provenance\":1"), WRONG},
    {"empty", ENERGY(""), 0},
    {"flags no list", ENERGY("\"net_j\":1,\"gross_j\":2,\"provenance\":\"measured\",\"flags\":{\"a\":1}"), GROSS | NET},
    {"flags of other things", ENERGY("\"net_j\":1,\"gross_j\":2,\"provenance\":\"measured\",\"flags\":[1,null,[]]"), GROSS | NET},
};

static void hostile_objects(void **state)
{
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct engine_told t = told_by(cases[i].json);
        int got = (isnan(t.e.gross_j) ? 0 : GROSS) | (isnan(t.e.net_j) ? 0 : NET) | (t.wrong ? WRONG : 0) |
                  (t.elsewhere ? ELSEWHERE : 0) | (t.provisional ? PROVISIONAL : 0);
        if (got != cases[i].want)
            fail_msg("%s: %d, not %d", cases[i].name, got, cases[i].want);
    }
    static const char *const none[] = {"",
                                       "{}",
                                       "[]",
                                       "{\"energy\":3}",
                                       "{\"energy\":null}",
                                       "{\"energy\":[1]}",
                                       "{\"energy\":{",
                                       "{\"usage\":{\"energy\":\"1 J\"}}",
                                       "{\"energy\":{\"gross_j\":1e999}}"};
    for (size_t i = 0; i < JL_COUNT(none); i++) {
        struct engine_told t;
        engine_told_init(&t);
        assert_false(engine_told_read(none[i], strlen(none[i]), &t));
        assert_false(t.any);
    }
}

/* A split is taken when both halves are there and are energies. */
static void phases(void **state)
{
    (void)state;
#define WINDOWS(prefill, decode)                                                                                                 \
    "{\"energy\":{\"net_j\":3,\"gross_j\":5" MEASURED "},\"windows\":{\"prefill\":{\"start_s\":0,\"energy\":" prefill            \
    "},\"decode\":{\"energy\":" decode "}},\"devices\":[\"gpu0.board\",\"cpu0.package\",7]}"
    struct engine_told t = told_by(WINDOWS("{\"net_j\":1,\"gross_j\":2}", "{\"net_j\":2,\"gross_j\":3}"));
    assert_true(t.prefill.net_j == 1 && t.decode.gross_j == 3 && t.prefill.provenance == JOULET_MEASURED);
    assert_string_equal(t.devices, "gpu0.board, cpu0.package");
    t = told_by(WINDOWS("{\"net_j\":1,\"gross_j\":2}", "null"));
    assert_true(isnan(t.prefill.gross_j) && isnan(t.decode.gross_j) && t.e.gross_j == 5);
    t = told_by(WINDOWS("{\"net_j\":1,\"gross_j\":-2}", "{\"net_j\":2,\"gross_j\":3}"));
    assert_true(isnan(t.prefill.gross_j) && isnan(t.decode.gross_j) && t.wrong);
}

/* ---- the server ---------------------------------------------------------------------------------------------------------- */

static char *answer(const char *status, const char *header, const char *body)
{
    return jl_strf("HTTP/1.1 %s\r\nContent-Type: application/json\r\n%sContent-Length: %zu\r\n\r\n%s", status, header,
                   strlen(body), body);
}

#define HEADER "X-Joulet-Request: 0123456789abcdef\r\n"

struct front {
    struct play plays[8];
    size_t n;
    struct upstream *u;
};

static void add(struct front *f, const char *path, char *bytes)
{
    f->plays[f->n++] = (struct play){.path = path, .bytes = bytes};
}

static void front_open(struct front *f, const char *health, const char *request)
{
    *f = (struct front){.n = 0};
    add(f, "/props", answer("404 Not Found", HEADER, "{}"));
    add(f, "/v1/models", answer("200 OK", HEADER, "{\"object\":\"list\",\"data\":[{\"id\":\"m\",\"object\":\"model\"}]}"));
    add(f, "/joulet/health", answer("200 OK", "", health));
    add(f, "/joulet/requests/0123456789abcdef", answer("200 OK", "", request));
    add(f, NULL, answer("404 Not Found", HEADER, "{}"));
    f->u = upstream_start(f->plays, f->n);
}

static void front_close(struct front *f)
{
    upstream_stop(f->u);
    for (size_t i = 0; i < f->n; i++)
        free((char *)f->plays[i].bytes);
}

#define HEALTH "{\"status\":\"ok\",\"version\":\"0.9.1\",\"meters\":true,\"upstreams\":[]}"

static void known_by_its_health(void **state)
{
    static const struct {
        const char *health;
        bool is, meters;
    } rows[] = {
        {HEALTH, true, true},
        {"{\"status\":\"ok\",\"version\":\"0.9.1\",\"meters\":false,\"upstreams\":[]}", true, false},
        {"{\"status\":\"ok\",\"version\":\"0.9.1\",\"upstreams\":[]}", true, false}, /* an older one, without accounts */
        {"{\"status\":\"ok\"}", false, false},
        {"[]", false, false},
        {"<html>", false, false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct front f;
        struct engine *e;
        struct joulet_error err;
        front_open(&f, rows[i].health, "{}");
        assert_int_equal(engine_open(&e, upstream_url(f.u), NULL, NULL, &err), JOULET_OK);
        assert_int_equal(e->joulet.is, rows[i].is);
        assert_int_equal(e->joulet.meters, rows[i].meters);
        if (rows[i].is)
            assert_string_equal(e->joulet.url, upstream_url(f.u));
        engine_close(e);
        front_close(&f);
    }
}

/* A token in the address goes into the header, and into nothing that is written. */
static void token_of_the_address(void **state)
{
    (void)state;
    struct front f;
    struct engine *e;
    struct joulet_error err;
    front_open(&f, HEALTH, ENERGY("\"net_j\":1,\"gross_j\":2" MEASURED));
    char *url = jl_strf("%s/joulet/t/secret-token/v1", upstream_url(f.u));
    assert_int_equal(engine_open(&e, url, NULL, NULL, &err), JOULET_OK);
    assert_string_equal(e->url, upstream_url(f.u));
    assert_string_equal(e->joulet.token, "secret-token");
    for (size_t i = 0; i < upstream_requests(f.u); i++) {
        char *request = upstream_request(f.u, i);
        assert_non_null(strstr(request, "X-Joulet-Token: secret-token\r\n"));
        assert_null(strstr(request, "/joulet/t/"));
        free(request);
    }
    struct engine_told told;
    engine_told_init(&told);
    assert_int_equal(engine_joulet_energy(e, "0123456789abcdef", 1, &told, &err), JOULET_OK);
    assert_true(told.e.net_j == 1);
    assert_int_equal(engine_joulet_energy(e, "../energy", 1, &told, &err), JOULET_FORMAT);
    engine_close(e);
    free(url);
    front_close(&f);
}

/* Whatever is in an address: nothing that reads as a token is left in what is written. */
static void every_token_is_hidden(void **state)
{
    (void)state;
    static const char *const hiding[][2] = {
        {"http://a/joulet/t/first/joulet/t/second", "http://a"},
        {"a/joulet/t/first/v1/joulet/t/second/x", "a/v1/x"},
        {"a/joulet/t//joulet/t/second/x", "a/joulet/t//x"},
        {"a/joulet/joulet/t/first/t/second", "a"},
        {"a/joulet/t/", "a/joulet/t/"},
        {"a/v1", "a/v1"},
    };
    for (size_t i = 0; i < JL_COUNT(hiding); i++) {
        char *url = jl_strf("%s", hiding[i][0]);
        engine_joulet_hide_token(url);
        assert_string_equal(url, hiding[i][1]);
        free(url);
    }
}

/* A figure that does not become final is given as it is when patience ends; an object that is none is nothing. */
static void patience_ends(void **state)
{
    (void)state;
    struct front f;
    struct engine *e;
    struct joulet_error err;
    struct engine_told told;
    front_open(&f, HEALTH, ENERGY("\"net_j\":1,\"gross_j\":2,\"provenance\":\"measured\",\"provisional\":true"));
    assert_int_equal(engine_open(&e, upstream_url(f.u), NULL, NULL, &err), JOULET_OK);
    engine_told_init(&told);
    assert_int_equal(engine_joulet_energy(e, "0123456789abcdef", 0.2, &told, &err), JOULET_OK);
    assert_true(told.provisional && told.e.net_j == 1);
    engine_told_init(&told);
    assert_int_not_equal(engine_joulet_energy(e, "0123456789abcdee", 0.2, &told, &err), JOULET_OK);
    assert_false(told.any);
    engine_close(e);
    front_close(&f);
}

/* JOULET_TOKEN goes to who refuses as a joulet server does, and to nobody else. */
static void token_of_the_environment(void **state)
{
    static const char *const refusals[] = {"{\"error\":{\"message\":\"joulet: a token is asked for: send it as X-Joulet-Token, "
                                           "or put /joulet/t/TOKEN before the path\"}}",
                                           "{\"error\":{\"message\":\"no key\"}}"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(refusals); i++) {
        struct play all = {.bytes = answer("401 Unauthorized", "", refusals[i])};
        struct upstream *u = upstream_start(&all, 1);
        struct engine *e;
        struct joulet_error err;
        size_t sent = 0;
        engine_joulet_use_token("another-token");
        assert_int_equal(engine_open(&e, upstream_url(u), NULL, NULL, &err), JOULET_PERMISSION);
        assert_int_equal(strstr(err.message, "wants another token: give it with --token") != NULL, i == 0);
        for (size_t k = 0; k < upstream_requests(u); k++) {
            char *request = upstream_request(u, k);
            sent += strstr(request, "another-token") != NULL;
            free(request);
        }
        assert_int_equal(sent > 0, i == 0);
        engine_joulet_use_token(NULL);
        upstream_stop(u);
        free((char *)all.bytes);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(figures),
        cmocka_unit_test(hostile_objects),
        cmocka_unit_test(phases),
        cmocka_unit_test(known_by_its_health),
        cmocka_unit_test(token_of_the_address),
        cmocka_unit_test(every_token_is_hidden),
        cmocka_unit_test(patience_ends),
        cmocka_unit_test(token_of_the_environment),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
