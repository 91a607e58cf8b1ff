/* test_server_stored.c - what the API tells of the store: requests of earlier servers in one list with those in memory, and the
 * sums of `joulet usage` with what waits to be written; and what becomes of traffic and records while the disk has no room, or a
 * write does not return. The disk is a layer below SQLite that does as it is told. */
#include "lib/platform/platform.h"
#include "report/usage.h"
#include "server/metering_ledger.h"
#include "tests/base/test.h"
#include "tests/server/metered.h"
#include "tests/store/scratch.h"

#include <math.h>
#include <sqlite3.h>
#include <stdlib.h>
#include <string.h>

#define HEAD "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: 107\r\n\r\n"
#define ANSWER                                                                                                                   \
    HEAD "{\"choices\":[{\"message\":{\"content\":\"x\"},\"finish_reason\":\"stop\"}],\"usage\":{\"prompt_tokens\":3,\"x\":"     \
         "\"12345678\"}}"
#define ITEMS   2000
#define MANY    (ITEMS + 100)
#define TRIES   6000 /* of 50 ms */
#define PAUSE() jl_sleep_until(jl_mono_ns() + 50000000)

static const struct play plays[] = {{.path = "/v1/chat/completions", .bytes = ANSWER},
                                    {.path = "/v1/completions", .bytes = ANSWER, .n = sizeof HEAD + 20, .then = THEN_HOLD}};

/* ---- the disk ---------------------------------------------------------------------------------------------------- */

static atomic_bool disk_full, disk_hangs;
static atomic_int hanging;
/* SQLite has a table of functions for files with locks and one for those without. */
static struct layer {
    const sqlite3_io_methods *real;
    sqlite3_io_methods ours;
} layers[4];
static pthread_mutex_t layers_lock = PTHREAD_MUTEX_INITIALIZER;
static sqlite3_vfs *real_vfs, vfs;

static void wait_for_disk(void)
{
    if (!atomic_load(&disk_hangs))
        return;
    atomic_fetch_add(&hanging, 1);
    while (atomic_load(&disk_hangs))
        jl_sleep_until(jl_mono_ns() + 2000000);
    atomic_fetch_sub(&hanging, 1);
}

static const sqlite3_io_methods *real_of(const sqlite3_file *f)
{
    return ((const struct layer *)(const void *)((const char *)f->pMethods - offsetof(struct layer, ours)))->real;
}

static int disk_write(sqlite3_file *f, const void *bytes, int n, sqlite3_int64 at)
{
    wait_for_disk();
    return atomic_load(&disk_full) ? SQLITE_FULL : real_of(f)->xWrite(f, bytes, n, at);
}

static int disk_sync(sqlite3_file *f, int flags)
{
    wait_for_disk();
    return real_of(f)->xSync(f, flags);
}

static struct layer *layer_over(const sqlite3_io_methods *real)
{
    size_t i = 0;
    pthread_mutex_lock(&layers_lock);
    while (layers[i].real && layers[i].real != real)
        i++;
    assert_true(i < JL_COUNT(layers));
    if (!layers[i].real) {
        layers[i] = (struct layer){real, *real};
        layers[i].ours.xWrite = disk_write;
        layers[i].ours.xSync = disk_sync;
    }
    pthread_mutex_unlock(&layers_lock);
    return &layers[i];
}

static int disk_open(sqlite3_vfs *v, const char *name, sqlite3_file *f, int flags, int *out)
{
    (void)v;
    int rc = real_vfs->xOpen(real_vfs, name, f, flags, out);
    if (rc == SQLITE_OK)
        f->pMethods = &layer_over(f->pMethods)->ours;
    return rc;
}

static int disk_setup(void **state)
{
    real_vfs = sqlite3_vfs_find(NULL);
    vfs = *real_vfs;
    vfs.zName = "disk";
    vfs.xOpen = disk_open;
    return sqlite3_vfs_register(&vfs, 1) == SQLITE_OK ? scratch_make(state) : -1;
}

/* ---- the server -------------------------------------------------------------------------------------------------- */

struct stored {
    struct metered_server s;
    struct front f;
    char db[128];
};

static pthread_mutex_t said_lock = PTHREAD_MUTEX_INITIALIZER;
static char said[8192]; /* by the metering, one after the other */

static void on_said(void *user, const char *sentence)
{
    (void)user;
    pthread_mutex_lock(&said_lock);
    snprintf(said + strlen(said), sizeof said - strlen(said), "%s\n", sentence);
    pthread_mutex_unlock(&said_lock);
}

static size_t times_said(const char *part)
{
    size_t n = 0;
    pthread_mutex_lock(&said_lock);
    for (const char *p = said; (p = strstr(p, part)); p++)
        n++;
    pthread_mutex_unlock(&said_lock);
    return n;
}

static void forget_said(void)
{
    pthread_mutex_lock(&said_lock);
    *said = '\0';
    pthread_mutex_unlock(&said_lock);
}

static void start(struct stored *x, const char *db)
{
    struct metering_options m = {.n_channels = 1, .devices = 1, .keeps = db != NULL, .waiting_most = ITEMS, .said = on_said};
    m.db = db ? scratch_path(x->db, db) : NULL;
    forget_said();
    open_metering_on(&x->s, "40", &m);
    struct server_options o = {.metering = x->s.metering, .api.meter = x->s.meter};
    front_start(&x->f, plays, JL_COUNT(plays), &o);
}

static void stop(struct stored *x)
{
    front_stop(&x->f);
    close_metering(&x->s);
}

/* A pause behind each: requests so close that they look as if they were under way together wait 20 s for their final figures. */
static void ask_for(const struct stored *x, const char *model)
{
    char *body = jl_strf("{\"model\":\"%s\",\"messages\":[]}", model), *request = post("/v1/chat/completions", body);
    struct answer a;
    ask(x->f.server, request, &a);
    assert_int_equal(a.status, 200);
    assert_true(a.whole);
    answer_release(&a);
    free(request);
    free(body);
    jl_sleep_until(jl_mono_ns() + 150000000);
}

static void until_written(const struct stored *x)
{
    struct metering_kept kept;
    for (int i = 0; i < TRIES; i++, PAUSE()) {
        assert_true(metering_kept(x->s.metering, &kept));
        if (kept.waiting == 0 && !kept.failing)
            return;
    }
    fail_msg("requests wait for the store");
}

/* A disk that takes seconds for a write makes the server say that it is busy, as it should: then it is asked again. */
static json_t *usage(const struct stored *x, const char *query)
{
    char *request = jl_strf("GET /joulet/usage%s HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n", query);
    struct answer a = {.status = 503};
    for (int i = 0; i < TRIES / 20 && a.status == 503; i++, PAUSE()) {
        answer_release(&a);
        ask(x->f.server, request, &a);
    }
    assert_int_equal(a.status, 200);
    json_t *all = json_loads(a.body, JSON_REJECT_DUPLICATES, NULL);
    assert_non_null(all);
    answer_release(&a);
    free(request);
    return all;
}

static double of_total(const json_t *all, const char *key)
{
    return number(json_object_get(all, "total"), key);
}

static double of_energy(const json_t *all, const char *key)
{
    return number(json_object_get(json_object_get(all, "total"), "energy"), key);
}

static double gross_of(const json_t *all)
{
    return of_energy(all, "gross_j");
}

/* Until that many are in the sums; never more than that, and the lines always add up. */
static json_t *until_counted(const struct stored *x, double n, bool final)
{
    static const char *const lines[] = {"listed", "unlisted", "vacant", "keep_alive", "idle_device", "other", "residual"};
    for (int i = 0; i < TRIES; i++, PAUSE()) {
        json_t *all = usage(x, "?by=model,client"), *accounts = json_object_get(all, "accounts");
        double measured_j = number(json_object_get(accounts, "measured"), "gross_j"), sum_j = 0;
        for (size_t k = 0; k < JL_COUNT(lines); k++)
            sum_j += number(json_object_get(accounts, lines[k]), "gross_j");
        assert_near(sum_j, measured_j, 1e-6 * fmax(1, measured_j));
        assert_true(of_total(all, "requests") <= n);
        if (of_total(all, "requests") == n && (!final || of_total(all, "provisional") == 0))
            return all;
        json_decref(all);
    }
    fail_msg("requests are not counted");
    return NULL;
}

/* ---- lists and sums ---------------------------------------------------------------------------------------------- */

static const char *text(const json_t *o, const char *key)
{
    return json_string_value(json_object_get(o, key));
}

static json_t *list(const struct stored *x, const char *query)
{
    char *target = jl_strf("/joulet/requests%s", query);
    json_t *page = get(x->f.server, target, 200);
    free(target);
    return page;
}

static const char *id_at(const json_t *page, size_t i)
{
    return text(json_array_get(json_object_get(page, "requests"), i), "id");
}

static size_t count(const struct stored *x, const char *query)
{
    json_t *page = list(x, query);
    size_t n = json_array_size(json_object_get(page, "requests"));
    assert_true(json_is_true(json_object_get(page, "stored")));
    json_decref(page);
    return n;
}

/* Every request once and in order, a page at a time, both ways. */
static void page_through(const struct stored *x, size_t n)
{
    json_t *all = list(x, ""), *page;
    char *query = jl_strdup("?limit=3"), *oldest = NULL;
    size_t seen = 0;
    assert_int_equal(json_array_size(json_object_get(all, "requests")), n);
    while (query) {
        page = list(x, query);
        size_t here = json_array_size(json_object_get(page, "requests"));
        for (size_t i = 0; i < here; i++)
            assert_string_equal(id_at(page, i), id_at(all, seen + i));
        seen += here;
        free(query);
        free(oldest);
        oldest = jl_strdup(text(page, "after"));
        query = text(page, "before") ? jl_strf("?limit=3&before=%s", text(page, "before")) : NULL;
        json_decref(page);
    }
    assert_int_equal(seen, n);
    query = jl_strf("?limit=4&after=%s", oldest); /* the newest of the last page: those that follow it */
    page = list(x, query);
    size_t last = (n - 1) % 3 + 1;
    assert_int_equal(json_array_size(json_object_get(page, "requests")), 4);
    assert_string_equal(id_at(page, 3), id_at(all, n - last - 1));
    json_decref(page);
    json_decref(all);
    free(query);
    free(oldest);
}

/* Of requests so short that a machine which is late saw nothing of them no energy is known. */
static void must_be_same(double a, double b)
{
    if (isnan(a) || isnan(b))
        assert_true(isnan(a) && isnan(b));
    else
        assert_near(a, b, 1e-9);
}

/* As the command tells it: the same store, read by itself. */
static void must_be_as_stored(const struct stored *x, const json_t *told)
{
    static struct run factors;
    struct usage_wanted w = {.by = {USAGE_MODEL, USAGE_CLIENT}, .n_by = 2, .factors = &factors};
    struct usage *u = calloc(1, sizeof *u);
    struct joulet_error err;
    struct store *s;
    assert_int_equal(store_open(&s, x->db, &err), JOULET_OK);
    assert_int_equal(usage_read(u, s, &w, &err), JOULET_OK);
    assert_int_equal(u->n, json_array_size(json_object_get(told, "rows")));
    assert_true(u->total.requests == (int64_t)of_total(told, "requests"));
    must_be_same(u->total.energy.gross_j, gross_of(told));
    for (size_t i = 0; i < u->n; i++) {
        const json_t *row = json_array_get(json_object_get(told, "rows"), i);
        assert_string_equal(u->rows[i].names[0], text(row, "model"));
        must_be_same(u->rows[i].s.energy.gross_j, number(json_object_get(row, "energy"), "gross_j"));
    }
    usage_release(u);
    free(u);
    store_close(s);
}

static void hold(struct stored *x, int *fd)
{
    char *request = post("/v1/completions", "{\"model\":\"held\",\"prompt\":\"a\"}");
    *fd = client_connect(x->f.server);
    client_say(*fd, request);
    free(request);
    for (int i = 0; i < TRIES && (count(x, "?state=running&model=held") == 0 || count(x, "?state=running") > 1); i++)
        PAUSE(); /* those before may just be ending */
    assert_int_equal(count(x, "?state=running"), 1);
}

static void requests_of_before_and_now(void **state)
{
    struct stored x;
    sqlite3 *locker;
    int fd;
    (void)state;
    start(&x, "two.db");
    jl_sleep_until(jl_mono_ns() + QUIET_NS);
    for (int i = 0; i < 5; i++)
        ask_for(&x, "first");
    json_t *all = until_counted(&x, 5, true);
    assert_false(gross_of(all) < -of_energy(all, "gross_pm_j")); /* short ones may be 0 within their +- */
    json_decref(all);
    stop(&x);
    start(&x, "two.db"); /* another, which remembers nothing */
    for (int i = 0; i < 3; i++)
        ask_for(&x, "second");
    hold(&x, &fd);
    page_through(&x, 9);
    assert_int_equal(count(&x, "?model=first"), 5);
    assert_int_equal(count(&x, "?model=f*&limit=2"), 2);
    assert_int_equal(count(&x, "?model=f*&kind=inference&protocol=openai&state=done&client=addr:127.0.0.1"), 5);
    assert_int_equal(count(&x, "?kind=image"), 0);
    assert_int_equal(count(&x, "?until=2026-01-01T00:00:00Z"), 0);
    all = list(&x, "?limit=1");
    assert_string_equal(text(json_array_get(json_object_get(all, "requests"), 0), "state"), "running");
    json_decref(all);
    close(fd);
    json_decref(until_counted(&x, 9, true));
    until_written(&x);
    all = until_counted(&x, 9, true);
    must_be_as_stored(&x, all);
    json_decref(all);
    assert_int_equal(sqlite3_open(x.db, &locker), SQLITE_OK);
    assert_int_equal(sqlite3_busy_timeout(locker, 60000), SQLITE_OK);
    assert_int_equal(sqlite3_exec(locker, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    for (int i = 0; i < 2; i++)
        ask_for(&x, "third"); /* it waits, and is counted */
    json_decref(until_counted(&x, 11, true));
    assert_int_equal(count(&x, ""), 11);
    assert_int_equal(sqlite3_exec(locker, "ROLLBACK", NULL, NULL, NULL), SQLITE_OK);
    sqlite3_close(locker);
    until_written(&x);
    all = until_counted(&x, 11, true);
    must_be_as_stored(&x, all);
    json_decref(all);
    static const struct {
        const char *query;
        int status;
    } rows[] = {{"?by=day,tag,session,upstream,client,model", 200},
                {"?by=model,model", 400},
                {"?by=colour", 400},
                {"?by=day,", 400},
                {"?by=,day", 400},
                {"?since=2026-01-01T00:00:00Z", 200},
                {"?since=now", 400},
                {"?group=all", 400}};
    for (size_t i = 0; i < JL_COUNT(rows); i++) {
        char *target = jl_strf("/joulet/usage%s", rows[i].query);
        json_decref(rows[i].status == 200 ? usage(&x, rows[i].query) : get(x.f.server, target, rows[i].status));
        free(target);
    }
    all = usage(&x, "?until=2026-01-01T00:00:00Z");
    assert_true(of_total(all, "requests") == 0);
    json_decref(all);
    stop(&x);
}

static void without_a_store_it_says_so(void **state)
{
    struct stored x;
    (void)state;
    start(&x, NULL);
    ask_for(&x, "m");
    json_t *told = get(x.f.server, "/joulet/usage", 404), *page = list(&x, "");
    assert_string_equal(text(json_object_get(told, "error"), "code"), "not_stored");
    assert_true(json_is_false(json_object_get(page, "stored")));
    json_decref(page);
    json_decref(told);
    stop(&x);
}

/* ---- faults ------------------------------------------------------------------------------------------------------ */

static void until_said(const char *part)
{
    for (int i = 0; i < TRIES; i++, PAUSE())
        if (times_said(part))
            return;
    fail_msg("not said: %s", part);
}

/* It is said once, nothing is lost, and all of it is there when there is room again. */
static void a_full_disk_is_over(void **state)
{
    struct stored x;
    (void)state;
    start(&x, "full.db");
    ask_for(&x, "before");
    json_decref(until_counted(&x, 1, true));
    until_written(&x);
    forget_said(); /* the server may have waited for the new file while it was asked for usage */
    atomic_store(&disk_full, true);
    for (int i = 0; i < 20; i++)
        ask_for(&x, "meanwhile");
    until_said("requests are not stored at present and wait in memory: ");
    for (int i = 0; i < 20; i++)
        ask_for(&x, "meanwhile");
    assert_int_equal(times_said("no room left"), 1);
    json_decref(until_counted(&x, 41, false));
    atomic_store(&disk_full, false);
    until_said("requests are stored again, and none was lost");
    json_t *all = until_counted(&x, 41, true);
    json_decref(all);
    until_written(&x);
    all = until_counted(&x, 41, true);
    must_be_as_stored(&x, all);
    json_decref(all);
    assert_int_equal(times_said("stored"), 2);
    stop(&x);
}

/* What waits has a bound, and what is too much is counted. */
static void fill_up(struct stored *x)
{
    struct metering *m = x->s.metering;
    struct metering_kept kept;
    struct metered *fake = calloc(1, sizeof *fake);
    assert_non_null(fake);
    *fake = (struct metered){.used = true, .final = true, .engine = NOWHERE, .wall_ns = jl_wall_ns()};
    recognised_init(&fake->r, "POST", "/v1/completions");
    for (uint64_t i = 1; i <= MANY; i++) {
        fake->key = i * 0x9e3779b97f4a7c15u;
        snprintf(fake->id, sizeof fake->id, "%016llx", (unsigned long long)fake->key);
        pthread_mutex_lock(&m->lock);
        ledger_final(m->ledger, fake);
        pthread_mutex_unlock(&m->lock);
    }
    free(fake);
    assert_true(metering_kept(m, &kept));
    assert_true(kept.waiting >= ITEMS);
    assert_true(kept.dropped >= 100);
}

static void a_store_that_hangs(void **state)
{
    struct stored x;
    struct metering_kept kept;
    (void)state;
    start(&x, "hung.db");
    ask_for(&x, "before");
    json_decref(until_counted(&x, 1, true));
    until_written(&x);
    forget_said();
    atomic_store(&disk_hangs, true);
    while (!atomic_load(&hanging)) /* the accounts, every second */
        PAUSE();
    for (int i = 0; i < 50; i++)
        ask_for(&x, "meanwhile"); /* each is answered */
    for (int i = 0; i < TRIES && count(&x, "?state=done&model=meanwhile") < 50; i++)
        PAUSE();
    assert_int_equal(count(&x, "?state=done&model=meanwhile"), 50);
    json_t *told = get(x.f.server, "/joulet/usage", 503);
    assert_string_equal(text(json_object_get(told, "error"), "code"), "busy");
    json_decref(told);
    atomic_store(&disk_hangs, false);
    json_decref(until_counted(&x, 51, true));
    until_written(&x);
    told = until_counted(&x, 51, true);
    must_be_as_stored(&x, told);
    json_decref(told);
    assert_int_equal(times_said("stored"), 0); /* nothing failed: it took long */
    atomic_store(&disk_hangs, true);
    while (!atomic_load(&hanging))
        PAUSE();
    fill_up(&x);
    ask_for(&x, "too many");
    atomic_store(&disk_hangs, false);
    until_said("of them were lost meanwhile, because too many waited");
    until_written(&x);
    assert_true(metering_kept(x.s.metering, &kept));
    assert_true(kept.stored >= 51 + ITEMS);
    stop(&x);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(requests_of_before_and_now),
        cmocka_unit_test(without_a_store_it_says_so),
        cmocka_unit_test(a_full_disk_is_over),
        cmocka_unit_test(a_store_that_hangs),
    };
    return cmocka_run_group_tests(tests, disk_setup, scratch_remove);
}
