/* test_cli_usage.c - what passed `joulet serve` is on disk: after kill -9, with a locked database, with a disk that has no room,
 * with two proxies on one database; and `joulet usage` adds it up. Nothing here depends on how fast the machine is: what must be
 * there is told by the latest time that the database itself has. */
#include "cli/cli.h"
#include "store/store.h"
#include "tests/cli/program.h"
#include "tests/sim_engine/sim_engine.h"

#include <arpa/inet.h>
#include <jansson.h>
#include <math.h>
#include <netinet/in.h>
#include <signal.h>
#include <sqlite3.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define KILLS 3
#define ASKED 400

static struct sim_engine *engine;
static char upstream[64], *sim;

static int engine_up(void **state)
{
    struct sim_config c;
    struct joulet_error err;
    const char *curve;
    if (scratch_open(state) != 0)
        return -1;
    curve = scratch("usage.curve");
    sim = jl_strf("follow:%s", curve);
    sim_config_init(&c);
    c.curve = curve;
    c.decode_ms = 2;
    engine = sim_engine_start(&c, &err);
    if (engine)
        snprintf(upstream, sizeof upstream, "http://127.0.0.1:%d", sim_engine_port(engine));
    return engine ? 0 : -1;
}

static int engine_down(void **state)
{
    sim_engine_stop(engine);
    free(sim);
    return scratch_close(state);
}

static char *started(struct program *p, const char *db)
{
    program_start(p,
                  ARGS("serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--sensors", "sim", "--sim", sim, "--db", db));
    program_until_out(p, "measures sim0.cpu (simulated)");
    return strndup(kept(&p->out), strcspn(kept(&p->out), " "));
}

/* One request on a connection of its own; its id, "" when there was no whole answer. */
static void ask(const char *url, const char *headers, char id[20])
{
    static const char body[] = "{\"prompt\":\"a b c\",\"n_predict\":3}";
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(strrchr(url, ':') + 1))};
    char answer[8192] = "";
    size_t n = 0;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    *id = '\0';
    char *request =
        jl_strf("POST /completion HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n%sContent-Length: %zu\r\n\r\n%s", headers,
                sizeof body - 1, body);
    if (connect(fd, (struct sockaddr *)&to, sizeof to) == 0 &&
        send(fd, request, strlen(request), MSG_NOSIGNAL) == (ssize_t)strlen(request))
        for (ssize_t got; n < sizeof answer - 1 && (got = recv(fd, answer + n, sizeof answer - 1 - n, 0)) > 0; n += (size_t)got)
            ;
    close(fd);
    free(request);
    const char *at = strcasestr(answer, "X-Joulet-Request: ");
    if (at && strstr(answer, "\"energy\":{"))
        snprintf(id, 20, "%.16s", at + 18);
}

static struct store *opened(const char *db)
{
    struct store *s;
    struct joulet_error err;
    if (store_open(&s, db, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return s;
}

/* ---- what the database has ------------------------------------------------------------------------------------------------ */

struct seen {
    size_t n, torn, final;
    int64_t last_end_ns;
    char (*ids)[20];
    bool *there;
    size_t n_ids;
};

static bool look(void *user, const struct store_proxied *q)
{
    struct seen *x = user;
    json_t *body = json_loads(q->body, 0, NULL);
    const char *id = json_string_value(json_object_get(body, "id"));
    x->torn += !id || strcmp(id, q->id) != 0 || q->end_wall_ns < q->wall_ns || q->tokens.generated != 3 ||
               (q->final && !(q->energy.gross_j > 0));
    json_decref(body);
    x->n++;
    x->final += q->final;
    x->last_end_ns = q->end_wall_ns > x->last_end_ns ? q->end_wall_ns : x->last_end_ns;
    for (size_t i = 0; i < x->n_ids; i++)
        x->there[i] |= strcmp(x->ids[i], q->id) == 0;
    return true;
}

static void look_at(const char *db, struct seen *x)
{
    struct store_wanted all = {0};
    struct joulet_error err;
    struct store *s = opened(db);
    x->n = x->torn = x->final = 0;
    if (store_each_proxied(s, &all, true, look, x, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    store_close(s);
}

/* Until that many are final. */
static void wait_for(const char *db, size_t n, struct seen *x)
{
    for (int i = 0; i < 600; i++) {
        look_at(db, x);
        if (x->final >= n)
            return;
        usleep(100000);
    }
    fail_msg("%zu of %zu requests are in the store", x->final, n);
}

/* ---- faults --------------------------------------------------------------------------------------------------------------- */

/* What ended a second before the last end that is stored is stored as well, however slow the machine is: rows are written in the
 * order of their ends, but for the moment in which final figures are waited for. */
static void kill_9_loses_a_second_at_most(void **state)
{
    static char ids[KILLS * ASKED][20];
    static bool there[KILLS * ASKED];
    static int64_t ended_ns[KILLS * ASKED];
    const char *db = scratch("killed.db");
    struct seen x = {.ids = ids, .there = there};
    struct jl_rng r = {(uint64_t)jl_mono_ns()};
    (void)state;
    for (int k = 0; k < KILLS; k++) {
        struct program p = {0};
        char *url = started(&p, db);
        size_t most = x.n_ids + 60 + jl_rng_below(&r, ASKED - 60), before = x.n, begun = x.n_ids;
        while (x.n_ids < most) {
            ask(url, "", ids[x.n_ids]);
            assert_int_equal(strlen(ids[x.n_ids]), 16);
            ended_ns[x.n_ids++] = jl_wall_ns();
            if (x.n_ids == most - 1 && x.n == before) { /* at least once something was written */
                look_at(db, &x);
                most += x.n == before && x.n_ids + 2 < (size_t)(k + 1) * ASKED;
            }
        }
        usleep((useconds_t)jl_rng_below(&r, 400000));
        kill(p.pid, SIGKILL);
        program_end(&p);
        look_at(db, &x);
        assert_int_equal(x.torn, 0);
        assert_true(x.n > before);
        for (size_t i = begun; i < x.n_ids; i++) /* those of before died with their own proxy */
            if (!there[i] && ended_ns[i] < x.last_end_ns - JL_NS_PER_S)
                fail_msg("request %zu of %zu is not there, and ended %.3f s before the last that is", i, x.n_ids,
                         (double)(x.last_end_ns - ended_ns[i]) * 1e-9);
        program_release(&p);
        free(url);
    }
}

struct accounts_seen {
    double measured_j;
    int64_t to_ns;
};

static bool look_at_account(void *user, const struct store_account *a)
{
    struct accounts_seen *x = user;
    x->measured_j += a->j.measured_j;
    x->to_ns = a->to_wall_ns > x->to_ns ? a->to_wall_ns : x->to_ns;
    return true;
}

static struct accounts_seen accounts_in(const char *db)
{
    struct store_wanted all = {0};
    struct accounts_seen x = {0};
    struct store *s = opened(db);
    assert_int_equal(store_each_account(s, &all, look_at_account, &x, NULL), JOULET_OK);
    store_close(s);
    return x;
}

/* Of a machine that nobody asks anything: written again and again, and what was there stays. */
static void kill_9_keeps_the_accounts(void **state)
{
    const char *db = scratch("idle.db");
    struct program p = {0};
    struct accounts_seen x = {0}, now;
    size_t written = 0;
    (void)state;
    char *url = started(&p, db);
    for (int i = 0; i < 3000 && written < 4; i++, usleep(100000)) {
        now = accounts_in(db);
        if (now.measured_j <= x.measured_j)
            continue;
        assert_true(!written || now.to_ns - x.to_ns < 50 * JL_NS_PER_S); /* a second, on a machine that keeps up */
        x = now;
        written++;
    }
    assert_int_equal(written, 4);
    kill(p.pid, SIGKILL);
    program_end(&p);
    now = accounts_in(db);
    assert_true(now.measured_j >= x.measured_j && now.to_ns >= x.to_ns);
    program_release(&p);
    free(url);
}

static void a_locked_database_stops_nothing(void **state)
{
    const char *db = scratch("locked.db");
    struct program p = {0};
    struct seen x = {0};
    sqlite3 *locker;
    char id[20];
    (void)state;
    store_close(opened(db));
    assert_int_equal(sqlite3_open(db, &locker), SQLITE_OK);
    char *url = started(&p, db);
    usleep(500000); /* it has opened it, or waits for us: either way requests pass */
    assert_int_equal(sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 5; i++) {
        ask(url, "X-Joulet-Tag: a\r\n", id);
        assert_int_equal(strlen(id), 16);
    }
    program_until_err(&p, "requests are not stored at present and wait in memory");
    ask(url, "", id);
    assert_int_equal(strlen(id), 16);
    assert_int_equal(sqlite3_exec(locker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(locker);
    program_until_err(&p, "requests are stored again, and none was lost");
    wait_for(db, 6, &x);
    assert_int_equal(x.n, 6);
    assert_int_equal(x.torn, 0);
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, CLI_DONE);
    assert_int_equal(lines_of(kept(&p.err)), 2); /* each sentence once */
    program_release(&p);
    free(url);
}

/* A limit on the size of files stands for a full disk. */
static void a_full_disk_stops_nothing(void **state)
{
    const char *db = scratch("full.db");
    struct program p = {0};
    struct rlimit was, small;
    struct seen x = {0};
    char id[20];
    (void)state;
    store_close(opened(db)); /* its tables have room */
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &was), 0);
    small = was;
    small.rlim_cur = 160 << 10;
    signal(SIGXFSZ, SIG_IGN); /* the program inherits both */
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &small), 0);
    program_start(&p,
                  ARGS("serve", "--listen", "127.0.0.1:0", "--upstream", upstream, "--sensors", "sim", "--sim", sim, "--db", db));
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &was), 0);
    signal(SIGXFSZ, SIG_DFL);
    program_until_out(&p, "measures sim0.cpu (simulated)");
    char *url = strndup(kept(&p.out), strcspn(kept(&p.out), " "));
    for (int i = 0; i < 3000 && !strstr(kept(&p.err), "requests are not stored"); i++) {
        ask(url, "", id);
        assert_int_equal(strlen(id), 16);
    }
    program_until_err(&p, "no room left while writing requests of the proxy");
    ask(url, "", id);
    assert_int_equal(strlen(id), 16);
    kill(p.pid, SIGTERM);
    program_end(&p);
    assert_int_equal(p.code, CLI_DONE);
    must_say(kept(&p.err), "requests were not stored: the store could not be written");
    look_at(db, &x);
    assert_int_equal(x.torn, 0);
    program_release(&p);
    free(url);
}

static void two_proxies_and_their_usage(void **state)
{
    const char *db = scratch("two.db");
    struct program p[2] = {{0}, {0}}, u = {0};
    struct seen x = {0};
    char *urls[2], id[20], first[20];
    (void)state;
    for (int i = 0; i < 2; i++)
        urls[i] = started(&p[i], db);
    for (int i = 0; i < 2; i++)
        program_until_level(urls[i]);
    ask(urls[0], "X-Joulet-Tag: red, \"=x\"\r\nX-Joulet-Session: agent\r\n", first);
    char *below = jl_strf("X-Joulet-Tag: blue\r\nX-Joulet-Session: agent\r\nX-Joulet-Parent: %s\r\n", first);
    for (int i = 0; i < 4; i++)
        ask(urls[i % 2], i < 3 ? below : "Authorization: Bearer sk-very-secret\r\n", id);
    free(below);
    wait_for(db, 5, &x);
    for (int i = 0; i < 2; i++) {
        kill(p[i].pid, SIGTERM);
        program_end(&p[i]);
        assert_int_equal(p[i].code, CLI_DONE);
        assert_string_equal(kept(&p[i].err), "");
        program_release(&p[i]);
        free(urls[i]);
    }
    program_run(&u, ARGS("usage", "--db", db, "--by", "client", "--json", "--price", "0.3"));
    assert_int_equal(u.code, CLI_DONE);
    json_t *all = json_loads(kept(&u.out), JSON_REJECT_DUPLICATES, NULL), *rows = json_object_get(all, "rows"),
           *accounts = json_object_get(all, "accounts");
    static const char *const lines[] = {"listed", "unlisted", "vacant", "keep_alive", "other", "residual"};
    double sum_j = 0, rows_j = 0;
    assert_int_equal(json_array_size(rows), 3);
    for (size_t i = 0; i < JL_COUNT(lines); i++)
        sum_j += json_number_value(json_object_get(json_object_get(accounts, lines[i]), "gross_j"));
    for (size_t i = 0; i < json_array_size(rows); i++)
        rows_j += json_number_value(json_object_get(json_object_get(json_array_get(rows, i), "energy"), "gross_j"));
    double measured_j = json_number_value(json_object_get(json_object_get(accounts, "measured"), "gross_j"));
    assert_true(measured_j > 0 && fabs(sum_j - measured_j) <= 1e-6 * measured_j);
    assert_true(fabs(rows_j - json_number_value(json_object_get(json_object_get(accounts, "listed"), "gross_j"))) <=
                1e-6 * rows_j);
    assert_null(strstr(kept(&u.out), "sk-very-secret"));
    json_decref(all);
    program_release(&u);
    static const struct {
        const char *args[8];
        int code;
        const char *say;
    } rows_of[] = {
        {{"--tree"}, CLI_DONE, "session agent"},
        {{"--tree", "agent"}, CLI_DONE, "waiting for tools, "},
        {{"--tree", "nobody"}, CLI_FAILED, "no request of session nobody is stored"},
        {{"--csv", "--by", "tag"}, CLI_DONE, "\"red, \"\"=x\"\"\",1,0,"},
        {{"--by", "colour"}, CLI_USAGE, "'colour' is none of model, client"},
        {{"--by", "day", "--by", "day"}, CLI_USAGE, "day is named twice"},
        {{"--since", "yesterday"}, CLI_USAGE, "'yesterday' is no time"},
        {{"--since", "7d", "--by", "day"}, CLI_DONE, "measured"},
        {{"--until", "7d"}, CLI_DONE, "No request of this time is stored"},
        {{"agent"}, CLI_USAGE, "usage takes no argument 'agent'"},
        {{"--delete-before", "0s"}, CLI_DONE, "5 requests were deleted"},
        {{"--by", "model"}, CLI_DONE, "No request of this time is stored"},
    };
    for (size_t i = 0; i < JL_COUNT(rows_of); i++) {
        const char *args[16] = {"usage", "--db", db};
        for (size_t k = 0; k < 8 && rows_of[i].args[k]; k++)
            args[3 + k] = rows_of[i].args[k];
        program_run(&u, args);
        assert_int_equal(u.code, rows_of[i].code);
        must_say(u.code == CLI_DONE && !strstr(kept(&u.err), rows_of[i].say) ? kept(&u.out) : kept(&u.err), rows_of[i].say);
        program_release(&u);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(kill_9_loses_a_second_at_most),   cmocka_unit_test(kill_9_keeps_the_accounts),
        cmocka_unit_test(a_locked_database_stops_nothing), cmocka_unit_test(a_full_disk_stops_nothing),
        cmocka_unit_test(two_proxies_and_their_usage),
    };
    return cmocka_run_group_tests(tests, engine_up, engine_down);
}
