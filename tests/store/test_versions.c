/* test_versions.c - databases of other versions, of other programs, and damaged ones. */
#include "store/db.h"
#include "tests/run/sample.h"
#include "tests/store/scratch.h"

#include <math.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/stat.h>

#include <cmocka.h>

static char db_path[128];

static int fresh(void **state)
{
    (void)state;
    scratch_empty();
    scratch_path(db_path, "joulet.db");
    return 0;
}

static void sql(const char *statements)
{
    sqlite3 *db;
    char *message = NULL;
    assert_int_equal(sqlite3_open(db_path, &db), SQLITE_OK);
    if (sqlite3_exec(db, statements, NULL, NULL, &message) != SQLITE_OK)
        fail_msg("%s", message);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
}

static int64_t ask(const char *path, const char *question)
{
    sqlite3 *db;
    assert_int_equal(sqlite3_open_v2(path, &db, SQLITE_OPEN_READONLY, NULL), SQLITE_OK);
    int64_t answer = sql_int(db, question, -1);
    assert_int_equal(sqlite3_close(db), SQLITE_OK);
    return answer;
}

/* Version 1 as it was first written; the steps in the program may not be used here. */
static const char version_1[] =
    "CREATE TABLE runs(id TEXT PRIMARY KEY NOT NULL, kind TEXT NOT NULL, title TEXT, model TEXT, engine TEXT, status TEXT,"
    " started_wall_ns INTEGER NOT NULL, owner TEXT NOT NULL, requests INTEGER NOT NULL, net_j REAL, net_pm_j REAL, gross_j REAL,"
    " tokens_out INTEGER, provenance INTEGER NOT NULL, head TEXT NOT NULL);"
    "CREATE INDEX runs_by_time ON runs(started_wall_ns);"
    "CREATE TABLE requests(run_id TEXT NOT NULL, number INTEGER NOT NULL, counted INTEGER NOT NULL, outcome TEXT NOT NULL,"
    " tokens_in INTEGER, tokens_out INTEGER, net_j REAL, net_pm_j REAL, gross_j REAL, provenance INTEGER NOT NULL, body TEXT NOT "
    "NULL,"
    " PRIMARY KEY(run_id, number));"
    "CREATE TABLE traces(run_id TEXT NOT NULL, channel INTEGER NOT NULL, about TEXT NOT NULL, PRIMARY KEY(run_id, channel));"
    "CREATE TABLE samples(run_id TEXT NOT NULL, channel INTEGER NOT NULL, first_ns INTEGER NOT NULL, n INTEGER NOT NULL, bytes "
    "BLOB NOT NULL);"
    "CREATE INDEX samples_by_time ON samples(run_id, channel, first_ns);"
    "PRAGMA application_id=0x4a4f554c; PRAGMA user_version=1;"
    "INSERT INTO runs VALUES('20250101-000000-0001','exec',NULL,NULL,NULL,'done',1735689600000000000,'',0,12.5,0.5,20,NULL,0,"
    " '{\"schema\":\"joulet.run/"
    "1\",\"id\":\"20250101-000000-0001\",\"kind\":\"exec\",\"started_wall_ns\":1735689600000000000,\"start_ns\":1,"
    "\"end_ns\":2,\"wall_offset_ns\":0,\"argv\":\"true\",\"exit_code\":0}');";

static void version_1_is_brought_up_to_date(void **state)
{
    struct store *s;
    struct joulet_error err;
    struct joulet_baseline b = {60, 0.6, 0.5, 1, 2, 0};
    struct run r;
    char copy[160];
    (void)state;
    sql(version_1);
    if (store_open(&s, db_path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sql_int(s->db, "PRAGMA user_version", -1), STORE_VERSION);
    assert_int_equal(store_load(s, "last", &r, &err), JOULET_OK);
    assert_string_equal(r.argv, "true");
    run_release(&r);
    assert_int_equal(store_put_baseline(s, "key", "cpu0.package", &b, 1, &err), JOULET_OK);
    store_close(s);
    snprintf(copy, sizeof copy, "%s.v1.bak", db_path);
    assert_int_equal(ask(copy, "PRAGMA user_version"), 1);
    assert_int_equal(ask(copy, "SELECT count(*) FROM runs"), 1);
    assert_int_equal(ask(copy, "SELECT count(*) FROM sqlite_master WHERE name='baselines'"), 0);
    /* Once is enough. */
    assert_int_equal(unlink(copy), 0);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    store_close(s);
    assert_int_not_equal(access(copy, F_OK), 0);
}

/* Requests and accounts of the proxy as they were first kept; behind version 1, as above. */
static const char version_3[] =
    "CREATE TABLE baselines(key TEXT NOT NULL, channel TEXT NOT NULL, wall_ns INTEGER NOT NULL, power_w REAL, u_w REAL, sd_w "
    "REAL,"
    " from_ns INTEGER NOT NULL, to_ns INTEGER NOT NULL, flags INTEGER NOT NULL, PRIMARY KEY(key, channel));"
    "CREATE TABLE proxied(id TEXT PRIMARY KEY NOT NULL, proxy TEXT NOT NULL, wall_ns INTEGER NOT NULL, end_wall_ns INTEGER NOT "
    "NULL, written_wall_ns INTEGER NOT NULL, upstream TEXT, model TEXT, protocol TEXT, kind TEXT, client TEXT, session TEXT,"
    " parent TEXT, trace TEXT, state TEXT NOT NULL, failed INTEGER NOT NULL, final INTEGER NOT NULL, counted INTEGER NOT NULL,"
    " tokens_in INTEGER, tokens_cached INTEGER, tokens_out INTEGER, tokens_reasoning INTEGER, duration_s REAL, prefill_s REAL,"
    " decode_s REAL, devices TEXT, net_j REAL, net_pm_j REAL, gross_j REAL, gross_pm_j REAL, u_b REAL, u_idle REAL, u_spec REAL,"
    " provenance INTEGER NOT NULL, body TEXT NOT NULL);"
    "CREATE TABLE proxied_texts(id TEXT PRIMARY KEY NOT NULL, request TEXT, request_bytes INTEGER NOT NULL, answer TEXT,"
    " answer_bytes INTEGER NOT NULL);"
    "CREATE TABLE accounts(proxy TEXT NOT NULL, from_wall_ns INTEGER NOT NULL, device TEXT NOT NULL, to_wall_ns INTEGER NOT NULL,"
    " provenance INTEGER NOT NULL, measured_j REAL NOT NULL, requests_j REAL NOT NULL, idle_shares_j REAL NOT NULL,"
    " vacant_j REAL NOT NULL, keep_alive_j REAL NOT NULL, other_j REAL NOT NULL, residual_j REAL NOT NULL,"
    " unmeasured_s REAL NOT NULL, idle_w REAL, idle_u_w REAL, PRIMARY KEY(proxy, from_wall_ns, device));"
    "INSERT INTO proxied "
    "VALUES('old','p1',900000000000,900000000001,900000000002,NULL,'m','openai','inference','tag:a',NULL,NULL,"
    "NULL,'done',0,1,0,10,NULL,20,NULL,2.5,0.5,2.0,'sim0.cpu',3.0,0.5,4.0,0.4,0.1,0.15,0.17,4,'{}');"
    "INSERT INTO accounts VALUES('p1',900000000000,'sim0.cpu',900000000009,4,10.0,3.0,1.0,6.0,0.0,0.0,0.0,0.0,60.0,1.0);"
    "PRAGMA user_version=3;";

static bool is_the_old(void *user, const struct store_proxied *q)
{
    *(int *)user += strcmp(q->id, "old") == 0 && q->energy.gross_j == 4 && q->energy.u.spec == 0.17 && q->energy.u.event == 0 &&
                    isnan(q->prefill.gross_j) && isnan(q->decode.net_j) && q->tokens.generated == 20;
    return true;
}

static bool is_its_account(void *user, const struct store_account *a)
{
    *(int *)user += a->j.measured_j == 10 && a->j.idle_device_j == 0 && a->shared_s == 0;
    return true;
}

/* What was stored by it is read, and what comes now is added. */
static void version_3_is_brought_up_to_date(void **state)
{
    struct store *s;
    struct joulet_error err;
    struct store_wanted all = {0}, of_new = {.id = "new"};
    int old = 0, accounts = 0, new = 0;
    (void)state;
    sql(version_1);
    sql(version_3);
    if (store_open(&s, db_path, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_int_equal(sql_int(s->db, "PRAGMA user_version", -1), STORE_VERSION);
    assert_int_equal(store_each_proxied(s, &all, true, is_the_old, &old, &err), JOULET_OK);
    assert_int_equal(store_each_account(s, &all, is_its_account, &accounts, &err), JOULET_OK);
    assert_true(old == 1 && accounts == 1);
    struct store_proxied q = {.id = "new", .proxy = "p1", .wall_ns = 1, .state = "done", .prefill.gross_j = 2, .body = "{}"};
    struct store_account a = {.proxy = "p1", .device = "sim0.cpu", .from_wall_ns = 900000000000, .shared_s = 2};
    struct store_batch b = {.requests = &q, .n_requests = 1, .accounts = &a, .n_accounts = 1};
    assert_int_equal(store_put_proxied(s, &b, &err), JOULET_OK);
    assert_int_equal(store_each_proxied(s, &of_new, false, is_the_old, &new, &err), JOULET_OK);
    assert_int_equal(new, 0);
    assert_int_equal(sql_int(s->db, "SELECT shared_s FROM accounts", -1), 2);
    assert_int_equal(sql_int(s->db, "SELECT prefill_gross_j FROM proxied WHERE id='new'", -1), 2);
    store_close(s);
}

/* A migrated database has the tables that a new one has. */
static void old_and_new_end_alike(void **state)
{
    static const char tables[] = "SELECT count(*) FROM sqlite_master WHERE sql IS NOT NULL";
    struct store *s;
    struct joulet_error err;
    (void)state;
    sql(version_1);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    static const char columns[] =
        "SELECT sum(length(c.name) * (c.cid + 1)) FROM sqlite_master m, pragma_table_info(m.name) c WHERE m.type='table'";
    int64_t migrated = sql_int(s->db, tables, -1), migrated_columns = sql_int(s->db, columns, -1);
    store_close(s);
    scratch_empty();
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    assert_int_equal(sql_int(s->db, tables, -2), migrated);
    assert_int_equal(sql_int(s->db, columns, -2), migrated_columns);
    assert_int_equal(sql_int(s->db, "PRAGMA auto_vacuum", -1), 2);
    store_close(s);
}

static void a_newer_database_is_left_alone(void **state)
{
    struct store *s;
    struct joulet_error err;
    (void)state;
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    store_close(s);
    sql("PRAGMA user_version=99; CREATE TABLE of_tomorrow(x)");
    assert_int_equal(store_open(&s, db_path, &err), JOULET_NEWER);
    assert_null(s);
    assert_non_null(strstr(err.message, "update joulet"));
    assert_non_null(strstr(err.message, "99"));
    assert_int_equal(ask(db_path, "PRAGMA user_version"), 99);
}

static void files_of_others_are_refused(void **state)
{
    static const char *const cases[] = {
        "CREATE TABLE bookmarks(x)",
        "CREATE TABLE bookmarks(x); PRAGMA user_version=1",
        "PRAGMA user_version=1",
        "CREATE TABLE x(y); PRAGMA application_id=0x4a4f554c; PRAGMA user_version=-5",
    };
    (void)state;
    for (size_t i = 0; i < JL_COUNT(cases); i++) {
        struct store *s;
        struct joulet_error err;
        fresh(NULL);
        sql(cases[i]);
        assert_int_equal(store_open(&s, db_path, &err), JOULET_FORMAT);
        assert_non_null(strstr(err.message, db_path));
    }
}

static void text_is_no_database(void **state)
{
    struct store *s;
    struct joulet_error err;
    char text[5000];
    (void)state;
    memset(text, 'x', sizeof text);
    assert_int_equal(jl_write_file(db_path, text, sizeof text, 0644, &err), JOULET_OK);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_FORMAT);
    assert_non_null(strstr(err.message, "damaged"));
    assert_non_null(strstr(err.message, ".recover"));
}

/* However much of the file is left: a sentence, or the runs; never a crash. */
static void a_cut_file_is_said(void **state)
{
    struct store *s;
    struct joulet_error err;
    struct run r;
    struct jl_buf whole;
    size_t refused = 0, cuts = 0;
    (void)state;
    sample_bench(&r, SAMPLE_SENSORS);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    assert_int_equal(store_import(s, &r, &err), JOULET_OK);
    store_close(s);
    jl_buf_init(&whole, (size_t)64 << 20);
    assert_int_equal(jl_read_file(db_path, &whole, &err), JOULET_OK);
    for (size_t cut = 100; cut < whole.len; cut += whole.len / 23, cuts++) {
        struct run back;
        scratch_empty();
        assert_int_equal(jl_write_file(db_path, whole.data, cut, 0644, &err), JOULET_OK);
        enum joulet_status st = store_open(&s, db_path, &err);
        if (st == JOULET_OK) {
            st = store_load(s, "last", &back, &err);
            if (st == JOULET_OK)
                run_release(&back);
        }
        store_close(s);
        if (st != JOULET_OK) {
            assert_true(st == JOULET_FORMAT || st == JOULET_NOT_FOUND || st == JOULET_IO);
            assert_true(strlen(err.message) > 20);
            refused++;
        }
    }
    assert_true(refused == cuts); /* every page of this file is needed */
    jl_buf_release(&whole);
    run_release(&r);
}

static void a_damaged_record_is_said(void **state)
{
    struct store *s;
    struct joulet_error err;
    struct run r;
    (void)state;
    sql(version_1);
    sql("UPDATE runs SET head='{\"schema\":\"joulet.run/1\"'");
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    assert_int_equal(store_load(s, "last", &r, &err), JOULET_FORMAT);
    store_close(s);
    sql("UPDATE runs SET head='{\"schema\":\"joulet.run/2\"}'");
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    assert_int_equal(store_load(s, "last", &r, &err), JOULET_NEWER);
    store_close(s);
}

static void a_path_that_cannot_be_is_said(void **state)
{
    static const char *const paths[] = {"/dev/null/joulet.db", "/nowhere/at/all/joulet.db", "/"};
    (void)state;
    for (size_t i = 0; i < JL_COUNT(paths); i++) {
        struct store *s;
        struct joulet_error err;
        assert_int_equal(store_open(&s, paths[i], &err), JOULET_IO);
        assert_null(s);
        assert_non_null(strstr(err.message, paths[i]));
        assert_non_null(strstr(err.message, "--db"));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(version_1_is_brought_up_to_date, fresh),
        cmocka_unit_test_setup(version_3_is_brought_up_to_date, fresh),
        cmocka_unit_test_setup(old_and_new_end_alike, fresh),
        cmocka_unit_test_setup(a_newer_database_is_left_alone, fresh),
        cmocka_unit_test_setup(files_of_others_are_refused, fresh),
        cmocka_unit_test_setup(text_is_no_database, fresh),
        cmocka_unit_test_setup(a_cut_file_is_said, fresh),
        cmocka_unit_test_setup(a_damaged_record_is_said, fresh),
        cmocka_unit_test_setup(a_path_that_cannot_be_is_said, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
