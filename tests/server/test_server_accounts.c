/* Who asks, by the headers of a request, and sums by name that stay bounded whatever the names are. */
#include "lib/platform/platform.h"
#include "server/accounts.h"
#include "server/who.h"
#include "tests/base/test.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

/* ---- who ---------------------------------------------------------------------------------------------------------------- */

#define TRACE  "4bf92f3577b34da6a3ce929d0e0e4736"
#define PARENT "00f067aa0ba902b7"

static void traceparents(void **state)
{
    static const struct {
        const char *value;
        bool is;
    } rows[] = {
        {"00-" TRACE "-" PARENT "-01", true},
        {" 00-" TRACE "-" PARENT "-00 ", true},
        {"cc-" TRACE "-" PARENT "-01-what-the-future-says", true},
        {"00-" TRACE "-" PARENT "-01-more", false},
        {"ff-" TRACE "-" PARENT "-01", false},
        {"00-00000000000000000000000000000000-" PARENT "-01", false},
        {"00-" TRACE "-0000000000000000-01", false},
        {"00-4BF92F3577B34DA6A3CE929D0E0E4736-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT, false},
        {"00-" TRACE "-" PARENT "-", false},
        {"00-" TRACE "-" PARENT "-1", false},
        {"00-" TRACE "0-" PARENT "-01", false},
        {"00-" TRACE "-" PARENT "0-01", false},
        {"00" TRACE PARENT "01", false},
        {"", false},
        {"-", false},
        {"00-", false},
        {"00-\xff\xfe", false},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char trace[33] = "", parent[17] = "";
        if (who_traceparent(rows[i].value, trace, parent) != rows[i].is)
            fail_msg("%s", rows[i].value);
        assert_string_equal(trace, rows[i].is ? TRACE : "");
        assert_string_equal(parent, rows[i].is ? PARENT : "");
    }
    for (size_t n = 0; n < 55; n++) { /* cut anywhere it is none */
        char cut[56] = "", trace[33], parent[17];
        memcpy(cut, "00-" TRACE "-" PARENT "-01", n);
        assert_false(who_traceparent(cut, trace, parent));
    }
}

static void names_of_clients(void **state)
{
    static const uint8_t secret[WHO_SECRET] = "0123456789abcdef0123456789abcde", other[WHO_SECRET] = "another";
    static const struct {
        struct net_header h[3];
        size_t n;
        const char *client, *session, *parent;
    } rows[] = {
        {{{"Accept", "*/*"}}, 1, "addr:10.0.0.7", "", ""},
        {{{"x-joulet-tag", "  team a "}, {"Authorization", "Bearer sk-1"}}, 2, "tag:team a", "", ""},
        {{{"X-Joulet-Tag", "a\tb\x7f\xc3\xa4\x01"}}, 1, "tag:a?b????", "", ""},
        {{{"X-Joulet-Tag", "   "}}, 1, "addr:10.0.0.7", "", ""},
        {{{"X-Joulet-Tag", "first"}, {"X-Joulet-Tag", "second"}}, 2, "tag:first", "", ""},
        {{{"X-Joulet-Session", "s1"}, {"traceparent", "00-" TRACE "-" PARENT "-01"}}, 2, "addr:10.0.0.7", "s1", PARENT},
        {{{"Traceparent", "00-" TRACE "-" PARENT "-01"}}, 1, "addr:10.0.0.7", TRACE, PARENT},
        {{{"X-Joulet-Parent", "main"}, {"traceparent", "00-" TRACE "-" PARENT "-01"}}, 2, "addr:10.0.0.7", TRACE, "main"},
        {{{"X-Joulet-Token", "secret"}}, 1, "addr:10.0.0.7", "", ""},
        {{{"Authorization", "Bearer "}}, 1, "addr:10.0.0.7", "", ""},
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        struct who w;
        char client[WHO_CLIENT];
        who_read(&w, secret, rows[i].h, rows[i].n, "10.0.0.7");
        who_client(&w, client);
        assert_string_equal(client, rows[i].client);
        assert_string_equal(w.session, rows[i].session);
        assert_string_equal(w.parent, rows[i].parent);
    }
    static const struct net_header bearer = {"AUTHORIZATION", "bearer  sk-secret-1 "}, plain = {"x-api-key", "sk-secret-1"},
                                   basic = {"Authorization", "Basic dTpw"};
    struct who a, b, c, d, e;
    who_read(&a, secret, &bearer, 1, "10.0.0.7");
    who_read(&b, secret, &plain, 1, "10.0.0.7");
    who_read(&c, other, &plain, 1, "10.0.0.7");
    who_read(&d, secret, &basic, 1, "10.0.0.7");
    who_read(&e, NULL, &plain, 1, "10.0.0.7");
    assert_int_equal(strspn(a.key, "0123456789abcdef"), 16);
    assert_string_equal(a.key, b.key);
    assert_string_not_equal(a.key, c.key);
    assert_string_not_equal(a.key, d.key);
    assert_string_equal(e.key, "unknown");
    assert_string_equal(a.address, "");
}

static void long_names_are_cut(void **state)
{
    static char tag[40000];
    struct net_header h = {"X-Joulet-Tag", tag};
    char client[WHO_CLIENT];
    struct who w;
    (void)state;
    memset(tag, 'x', sizeof tag - 1);
    who_read(&w, NULL, &h, 1, "");
    assert_int_equal(strlen(w.tag), WHO_NAME - 1);
    who_client(&w, client);
    assert_int_equal(strlen(client), WHO_NAME + 3);
}

/* ---- the secret --------------------------------------------------------------------------------------------------------- */

static char folder[64], inner[80], path[128];

static int secret_folder(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/joulet-secret-%d", (int)getpid());
    snprintf(inner, sizeof inner, "%s/joulet", folder);
    snprintf(path, sizeof path, "%s/client-keys.secret", inner);
    setenv("JOULET_DATA_DIR", folder, 1);
    return 0;
}

static int secret_gone(void **state)
{
    (void)state;
    unlink(path);
    rmdir(inner);
    rmdir(folder);
    return 0;
}

static void the_secret_is_made_once(void **state)
{
    uint8_t a[WHO_SECRET] = {0}, b[WHO_SECRET], none[WHO_SECRET] = {0};
    struct joulet_error err;
    struct stat st;
    (void)state;
    assert_int_equal(who_secret(a, &err), JOULET_OK);
    assert_memory_not_equal(a, none, sizeof a);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(st.st_size, WHO_SECRET);
    assert_int_equal(who_secret(b, &err), JOULET_OK);
    assert_memory_equal(a, b, sizeof a);
    assert_int_equal(chmod(path, 0644), 0); /* somebody copied it carelessly */
    assert_int_equal(who_secret(b, &err), JOULET_OK);
    assert_int_equal(stat(path, &st), 0);
    assert_int_equal(st.st_mode & 0777, 0600);
    assert_int_equal(truncate(path, 31), 0);
    assert_int_equal(who_secret(b, &err), JOULET_FORMAT);
    unlink(path);
    assert_int_equal(symlink("/dev/zero", path), 0);
    assert_int_equal(who_secret(b, &err), JOULET_IO);
}

/* All that begin at once have the same one. */
static void one_secret_for_all(void **state)
{
    enum { CHILDREN = 8 };
    uint8_t mine[WHO_SECRET], theirs[WHO_SECRET];
    int pipes[2];
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    for (int i = 0; i < CHILDREN; i++)
        if (fork() == 0)
            _exit(who_secret(mine, NULL) == JOULET_OK && write(pipes[1], mine, sizeof mine) == sizeof mine ? 0 : 1);
    assert_int_equal(who_secret(mine, NULL), JOULET_OK);
    for (int i = 0; i < CHILDREN; i++) {
        int status;
        assert_true(wait(&status) > 0);
        assert_int_equal(status, 0);
        assert_int_equal(read(pipes[0], theirs, sizeof theirs), sizeof theirs);
        assert_memory_equal(mine, theirs, sizeof mine);
    }
    close(pipes[0]);
    close(pipes[1]);
}

/* ---- sums --------------------------------------------------------------------------------------------------------------- */

static struct accounts_entry entry(const char *client)
{
    return (struct accounts_entry){.upstream = "http://127.0.0.1:1",
                                   .model = "m",
                                   .protocol = "openai",
                                   .client = client,
                                   .tokens = {10, -1, 5, -1},
                                   .energy = {.net_j = 3,
                                              .net_pm_j = 2,
                                              .gross_j = 4,
                                              .gross_pm_j = 2,
                                              .u = {.b = 0.6, .spec = 0.8},
                                              .provenance = JOULET_SIMULATED,
                                              .method = "attribution/1"},
                                   .phases = {[ACCOUNTS_LOAD] = JOULET_ENERGY_UNKNOWN,
                                              [ACCOUNTS_PREFILL] = {.net_j = 1, .gross_j = 1.5},
                                              [ACCOUNTS_DECODE] = {.net_j = 2, .gross_j = 2.5}},
                                   .duration_s = 2,
                                   .prefill_s = 1,
                                   .decode_s = NAN};
}

static void sums_of_requests(void **state)
{
    struct accounts *a;
    struct accounts_entry e = entry("tag:a"), none = entry("tag:a");
    struct joulet_energy unknown = JOULET_ENERGY_UNKNOWN;
    size_t n;
    (void)state;
    none.energy = unknown;
    none.tokens = (struct run_tokens){-1, -1, -1, -1};
    none.failed = true;
    assert_int_equal(accounts_open(&a, NULL), JOULET_OK);
    for (int i = 0; i < 4; i++)
        accounts_add(a, &e);
    accounts_add(a, &none);
    struct accounts_row *rows = accounts_snapshot(a, &n);
    assert_int_equal(n, 1);
    const struct accounts_sums *s = &rows[0].sums;
    assert_string_equal(rows[0].client, "tag:a");
    assert_int_equal(s->requests, 5);
    assert_int_equal(s->failed, 1);
    assert_int_equal(s->without_energy, 1);
    assert_int_equal(s->without_tokens, 1);
    assert_int_equal(s->prompt, 40);
    assert_int_equal(s->cached, 0);
    assert_int_equal(s->generated, 20);
    assert_near(s->energy.net_j, 12, 1e-12);
    assert_near(s->energy.gross_j, 16, 1e-12);
    /* what the sensor leaves open adds linearly, the rest in quadrature: 2 sqrt((4 * 0.8)^2 + 4 * 0.6^2) */
    assert_near(s->energy.gross_pm_j, 2 * sqrt(3.2 * 3.2 + 4 * 0.36), 1e-9);
    assert_near(s->duration_s, 10, 1e-12);
    assert_true(s->most_phase_net_j[ACCOUNTS_PREFILL] == 5 && s->most_phase_gross_j[ACCOUNTS_DECODE] == 12.5);
    assert_true(s->most_phase_gross_j[ACCOUNTS_LOAD] == 0);
    assert_near(s->decode_s, 0, 1e-12);
    free(rows);
    accounts_close(a);
}

/* 10 000 tags, 10 000 models, and both: everything is counted, and nothing grows. */
static void names_are_bounded(void **state)
{
    enum { MANY = 10000 };
    static const bool varies[][2] = {{true, false}, {false, true}, {true, true}};
    (void)state;
    for (size_t k = 0; k < JL_COUNT(varies); k++) {
        struct accounts *a;
        struct accounts_sums total;
        uint64_t requests = 0;
        double net_j = 0;
        size_t n;
        assert_int_equal(accounts_open(&a, NULL), JOULET_OK);
        for (int i = 0; i < MANY; i++) {
            char client[32], model[32];
            snprintf(client, sizeof client, "tag:%d", varies[k][0] ? i % 997 : 0);
            snprintf(model, sizeof model, "model-%d", varies[k][1] ? i % 991 : 0);
            struct accounts_entry e = entry(client);
            e.model = model;
            accounts_add(a, &e);
        }
        struct accounts_row *rows = accounts_snapshot(a, &n);
        assert_true(n > 250 && n <= ACCOUNTS_ROWS);
        for (size_t i = 0; i < n; i++) {
            requests += rows[i].sums.requests;
            net_j += rows[i].sums.energy.net_j;
        }
        accounts_total(a, &total);
        assert_int_equal(requests, MANY);
        assert_int_equal(total.requests, MANY);
        assert_near(net_j, 3.0 * MANY, 1e-6);
        assert_near(total.energy.net_j, 3.0 * MANY, 1e-6);
        free(rows);
        accounts_close(a);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(traceparents),
        cmocka_unit_test(names_of_clients),
        cmocka_unit_test(long_names_are_cut),
        cmocka_unit_test_setup_teardown(the_secret_is_made_once, secret_folder, secret_gone),
        cmocka_unit_test_setup_teardown(one_secret_for_all, secret_folder, secret_gone),
        cmocka_unit_test(sums_of_requests),
        cmocka_unit_test(names_are_bounded),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
