/* test_faults.c - kill -9, two processes at once, a lock that stays, a full disk, a disk that may not be written. Whatever was
 * said to be stored is there afterwards. */
#include "store/db.h"
#include "tests/run/sample.h"
#include "tests/store/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <cmocka.h>

static char db_path[128];

static int fresh(void **state)
{
    (void)state;
    scratch_empty();
    scratch_path(db_path, "joulet.db");
    return 0;
}

/* In a child a failed assertion must not unwind into the parent's tests. */
#define child_needs(x)                                                                                                           \
    do {                                                                                                                         \
        if (!(x)) {                                                                                                              \
            fprintf(stderr, "%s:%d: not so: %s\n", __FILE__, __LINE__, #x);                                                      \
            _exit(1);                                                                                                            \
        }                                                                                                                        \
    } while (0)

static void assert_child_succeeds(pid_t pid)
{
    int status;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void begin(struct store *s, struct run *r, const char *id)
{
    struct joulet_error err;
    sample_bench(r, SAMPLE_SENSORS);
    snprintf(r->id, sizeof r->id, "%s", id);
    struct run head = *r;
    head.n_requests = 0;
    head.status = (char *)(uintptr_t) "running";
    if (store_begin(s, &head, &err) != JOULET_OK) {
        fprintf(stderr, "%s\n", err.message);
        abort();
    }
}

/* Writes requests without end; says the number of each to the pipe once it is stored. */
static void write_for_ever(int to)
{
    struct store *s;
    struct run r;
    struct joulet_sample sample = {0};
    child_needs(store_open(&s, db_path, NULL) == JOULET_OK);
    begin(s, &r, "killed");
    struct run_request *q = &r.requests[1];
    for (q->index = 0;; q->index++) {
        sample.t_ns = q->index;
        child_needs(store_samples(s, r.id, &r.channels[0], 0, &sample, 1, NULL) == JOULET_OK);
        child_needs(store_request(s, &r, q, NULL) == JOULET_OK);
        child_needs(write(to, &q->index, sizeof q->index) == sizeof q->index);
    }
}

static void kill_9_loses_nothing_stored(void **state)
{
    struct store *s;
    struct joulet_error err;
    struct joulet_trace t;
    struct run r;
    int pipes[2];
    int64_t last = -1;
    (void)state;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    if (pid == 0)
        write_for_ever(pipes[1]);
    close(pipes[1]);
    while (last < 20)
        assert_int_equal(read(pipes[0], &last, sizeof last), sizeof last);
    assert_int_equal(kill(pid, SIGKILL), 0);
    assert_int_equal(waitpid(pid, NULL, 0), pid);
    for (int64_t more; read(pipes[0], &more, sizeof more) == sizeof more;)
        last = more;
    close(pipes[0]);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    if (store_load(s, "last", &r, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    assert_string_equal(r.status, "interrupted");
    assert_true((int64_t)r.n_requests > last);
    for (size_t i = 0; i < r.n_requests; i++)
        assert_int_equal(r.requests[i].index, i);
    assert_int_equal(store_load_trace(s, "killed", 0, &t, &err), JOULET_OK);
    assert_true((int64_t)t.n > last);
    joulet_trace_release(&t);
    run_release(&r);
    store_close(s);
}

/* Both open a database that is not there yet. */
static void write_a_run(const char *id)
{
    struct store *s;
    struct joulet_error err;
    struct run r;
    if (store_open(&s, db_path, &err) != JOULET_OK) {
        fprintf(stderr, "%s\n", err.message);
        _exit(1);
    }
    begin(s, &r, id);
    for (int64_t i = 0; i < 25; i++) {
        r.requests[1].index = i;
        child_needs(store_request(s, &r, &r.requests[1], NULL) == JOULET_OK);
    }
    store_close(s);
    _exit(0);
}

static void two_processes_share_a_database(void **state)
{
    static const char *const ids[] = {"one", "two", "three"};
    struct store *s;
    struct joulet_error err;
    pid_t pids[JL_COUNT(ids)];
    (void)state;
    for (size_t i = 0; i < JL_COUNT(ids); i++) {
        pids[i] = fork();
        if (pids[i] == 0)
            write_a_run(ids[i]);
    }
    for (size_t i = 0; i < JL_COUNT(ids); i++)
        assert_child_succeeds(pids[i]);
    assert_int_equal(store_open(&s, db_path, &err), JOULET_OK);
    for (size_t i = 0; i < JL_COUNT(ids); i++) {
        struct run r;
        assert_int_equal(store_load(s, ids[i], &r, &err), JOULET_OK);
        assert_int_equal(r.n_requests, 25);
        run_release(&r);
    }
    store_close(s);
}

static void a_lock_that_stays_is_said(void **state)
{
    struct store *s;
    struct store_row *rows;
    struct joulet_error err;
    struct run r;
    sqlite3 *other;
    size_t n;
    (void)state;
    assert_int_equal(store_open_within(&s, db_path, 100, &err), JOULET_OK);
    begin(s, &r, "locked-out");
    assert_int_equal(sqlite3_open(db_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE; DELETE FROM baselines", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_request(s, &r, &r.requests[0], &err), JOULET_BUSY);
    assert_non_null(strstr(err.message, "locked"));
    assert_non_null(strstr(err.message, "try again"));
    /* Reading goes on meanwhile. */
    assert_int_equal(store_list(s, 0, &rows, &n, &err), JOULET_OK);
    assert_int_equal(n, 1);
    store_rows_free(rows, n);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
    assert_int_equal(store_request(s, &r, &r.requests[0], &err), JOULET_OK);
    run_release(&r);
    store_close(s);
}

static void a_locked_new_database_is_said(void **state)
{
    struct store *s;
    struct joulet_error err;
    sqlite3 *other;
    (void)state;
    assert_int_equal(sqlite3_open(db_path, &other), SQLITE_OK);
    assert_int_equal(sqlite3_exec(other, "CREATE TABLE x(y); DROP TABLE x; BEGIN EXCLUSIVE", NULL, NULL, NULL), SQLITE_OK);
    assert_int_equal(store_open_within(&s, db_path, 100, &err), JOULET_BUSY);
    assert_null(s);
    assert_int_equal(sqlite3_close(other), SQLITE_OK);
}

/* ---- a full disk ------------------------------------------------------------------------------------------------- */

/* Requests until one does not fit; returns how many did. */
static int64_t fill_up(struct store *s, struct run *r)
{
    struct joulet_error err;
    struct run_request *q = &r->requests[1];
    enum joulet_status st = JOULET_OK;
    for (q->index = 0; q->index < 1000; q->index++) {
        st = store_request(s, r, q, &err);
        if (st != JOULET_OK)
            break;
    }
    child_needs(st == JOULET_IO);
    child_needs(strstr(err.message, "no room left"));
    child_needs(strstr(err.message, db_path));
    return q->index;
}

static void check_full(void (*make_room)(void))
{
    struct store *s;
    struct run r, back;
    struct joulet_error err;
    child_needs(store_open(&s, db_path, &err) == JOULET_OK);
    begin(s, &r, "full");
    int64_t stored = fill_up(s, &r);
    child_needs(stored > 3);
    child_needs(store_load(s, "full", &back, &err) == JOULET_OK);
    child_needs((int64_t)back.n_requests == stored);
    run_release(&back);
    make_room(); /* and the run goes on */
    child_needs(store_request(s, &r, &r.requests[1], &err) == JOULET_OK);
    child_needs(store_finish(s, &r, &err) == JOULET_OK);
    child_needs(store_load(s, "full", &back, &err) == JOULET_OK);
    child_needs((int64_t)back.n_requests >= stored);
    run_release(&back);
    store_close(s);
}

static void lift_limit(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_FSIZE, &limit);
}

static void check_file_limit(void)
{
    struct rlimit limit;
    signal(SIGXFSZ, SIG_IGN);
    getrlimit(RLIMIT_FSIZE, &limit);
    limit.rlim_cur = 1 << 20;
    child_needs(setrlimit(RLIMIT_FSIZE, &limit) == 0);
    check_full(lift_limit);
}

static void remove_ballast(void)
{
    char path[128];
    unlink(scratch_path(path, "ballast"));
}

/* A file system of 2 MiB, a quarter of it taken by something else. */
static void check_small_disk(void)
{
    char path[128];
    static const char ballast[512 << 10];
    child_needs(mount("none", scratch_dir, "tmpfs", 0, "size=2m") == 0);
    child_needs(jl_write_file(scratch_path(path, "ballast"), ballast, sizeof ballast, 0644, NULL) == JOULET_OK);
    check_full(remove_ballast);
}

static void check_read_only_disk(void)
{
    struct store *s;
    struct joulet_error err;
    struct run r;
    child_needs(mount("none", scratch_dir, "tmpfs", 0, "size=2m") == 0);
    child_needs(store_open(&s, db_path, &err) == JOULET_OK);
    begin(s, &r, "before");
    store_close(s);
    child_needs(mount("none", scratch_dir, "tmpfs", MS_REMOUNT | MS_RDONLY, "size=2m") == 0);
    child_needs(store_open(&s, db_path, &err) == JOULET_IO);
    child_needs(strstr(err.message, "writable"));
    child_needs(!s);
}

/* Mounts of our own that nobody else sees; root may have them. */
static bool own_mounts(void)
{
    return unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
           mount("none", scratch_dir, "tmpfs", 0, "size=64k") == 0 && umount(scratch_dir) == 0;
}

static void in_child(void (*check)(void), void (*otherwise)(void))
{
    pid_t pid = fork();
    if (pid == 0) {
        if (own_mounts())
            check();
        else
            otherwise();
        _exit(0);
    }
    assert_child_succeeds(pid);
}

static void a_full_disk_is_said(void **state)
{
    (void)state;
    in_child(check_small_disk, check_file_limit);
}

static void a_file_limit_is_said(void **state)
{
    (void)state;
    in_child(check_file_limit, check_file_limit);
}

static void check_read_only_folder(void)
{
    struct store *s;
    struct joulet_error err;
    child_needs(chmod(scratch_dir, 0555) == 0);
    enum joulet_status st = store_open(&s, db_path, &err);
    chmod(scratch_dir, 0755);
    child_needs(st == JOULET_IO || geteuid() == 0); /* nothing is read-only for root */
}

static void a_read_only_disk_is_said(void **state)
{
    (void)state;
    in_child(check_read_only_disk, check_read_only_folder);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup(kill_9_loses_nothing_stored, fresh), cmocka_unit_test_setup(two_processes_share_a_database, fresh),
        cmocka_unit_test_setup(a_lock_that_stays_is_said, fresh),   cmocka_unit_test_setup(a_locked_new_database_is_said, fresh),
        cmocka_unit_test_setup(a_full_disk_is_said, fresh),         cmocka_unit_test_setup(a_file_limit_is_said, fresh),
        cmocka_unit_test_setup(a_read_only_disk_is_said, fresh),
    };
    return cmocka_run_group_tests(tests, scratch_make, scratch_remove);
}
