/* Child processes, threads, events and libraries. Times are only ever upper bounds of a wait that something else ends. */
#include "tests/platform/scratch.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/prctl.h>
#include <sys/wait.h>

#define LONG_S 60.0 /* longer than any of these takes */

static struct jl_process run(const char *const *argv, const char *log)
{
    struct jl_process p;
    struct joulet_error err;
    struct jl_spawn w = {.argv = argv, .log = log};
    if (jl_spawn(&p, &w, &err) != JOULET_OK)
        fail_msg("%s", err.message);
    return p;
}

#define SH(script) ((const char *const[]){"sh", "-c", script, NULL})

static void test_exit_codes(void **state)
{
    (void)state;
    struct jl_process p = run(SH("exit 7"), NULL);
    assert_true(jl_process_wait(&p, LONG_S));
    assert_true(p.ended);
    assert_int_equal(p.status, 7);
    assert_true(jl_process_wait(&p, 0)); /* again: still ended */
    p = run(SH("kill -9 $$"), NULL);
    assert_true(jl_process_wait(&p, -1));
    assert_int_equal(p.status, 128 + SIGKILL);
}

static void test_no_such_program(void **state)
{
    struct jl_process p;
    struct joulet_error err;
    (void)state;
    struct jl_spawn w = {.argv = (const char *const[]){"no-such-program-here", NULL}};
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "no-such-program-here"));
    assert_true(p.ended);
    w.argv = (const char *const[]){"/no/such/program", NULL};
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_NOT_FOUND);
    w.argv = (const char *const[]){"", NULL};
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_NOT_FOUND);
    jl_process_stop(&p, 1); /* nothing to stop */
}

static void test_not_executable(void **state)
{
    struct jl_process p;
    struct joulet_error err;
    struct jl_spawn w = {.argv = (const char *const[]){in_scratch("plain"), NULL}};
    (void)state;
    assert_int_equal(jl_write_file(w.argv[0], "echo", 4, 0644, &err), JOULET_OK);
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_PERMISSION);
    assert_non_null(strstr(err.message, "plain"));
    assert_int_equal(chmod(w.argv[0], 0755), 0);
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_PERMISSION); /* no program of any machine */
    w = (struct jl_spawn){.argv = SH("true"), .cwd = in_scratch("nowhere")};
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "nowhere"));
    w = (struct jl_spawn){.argv = SH("true"), .log = in_scratch("nowhere/log")};
    assert_int_equal(jl_spawn(&p, &w, &err), JOULET_IO);
    assert_non_null(strstr(err.message, "nowhere/log"));
}

static void test_log_env_and_folder(void **state)
{
    char text[256];
    struct jl_process p;
    (void)state;
    setenv("SPAWN_KEPT", "kept", 1);
    setenv("SPAWN_REPLACED", "old", 1);
    struct jl_spawn w = {.argv = SH("echo \"$SPAWN_KEPT $SPAWN_REPLACED $SPAWN_NEW\"; pwd; echo bad >&2"),
                         .env = (const char *const[]){"SPAWN_REPLACED=new", "SPAWN_NEW=x", NULL},
                         .cwd = "/",
                         .log = in_scratch("log")};
    for (int i = 0; i < 2; i++) { /* appended */
        assert_int_equal(jl_spawn(&p, &w, NULL), JOULET_OK);
        assert_true(jl_process_wait(&p, LONG_S));
        assert_int_equal(p.status, 0);
    }
    assert_int_equal(jl_read_text(w.log, text, sizeof(text), NULL), JOULET_OK);
    assert_string_equal(text, "kept new x\n/\nbad\nkept new x\n/\nbad");
}

static void test_wait_gives_up(void **state)
{
    (void)state;
    struct jl_process p = run((const char *const[]){"sleep", "1000", NULL}, NULL);
    assert_false(jl_process_wait(&p, 0));
    assert_false(jl_process_wait(&p, 0.01));
    assert_true(jl_pid_alive(p.pid));
    jl_process_stop(&p, LONG_S);
    assert_true(p.ended);
    assert_int_equal(p.status, 128 + SIGTERM);
    assert_false(jl_pid_alive(p.pid));
    jl_process_stop(&p, LONG_S); /* safe on an ended one */
}

/* The file says that the signal is ignored already. */
static void test_stubborn_process_is_killed(void **state)
{
    (void)state;
    struct jl_process p = run(SH("trap '' TERM; echo ready; while :; do sleep 1; done"), in_scratch("log"));
    char text[16] = "";
    while (strcmp(text, "ready") != 0) {
        jl_read_text(in_scratch("log"), text, sizeof(text), NULL);
        jl_sleep_until(jl_mono_ns() + 1000000);
    }
    jl_process_stop(&p, 0.01);
    assert_true(p.ended);
    assert_int_equal(p.status, 128 + SIGKILL);
}

static void test_signals_are_default_again(void **state)
{
    (void)state;
    signal(SIGINT, SIG_IGN);
    sigset_t all, before;
    sigfillset(&all);
    sigprocmask(SIG_SETMASK, &all, &before);
    struct jl_process p = run(SH("kill -INT $$; exit 3"), NULL);
    sigprocmask(SIG_SETMASK, &before, NULL);
    signal(SIGINT, SIG_DFL);
    assert_true(jl_process_wait(&p, LONG_S));
    assert_int_equal(p.status, 128 + SIGINT);
}

static int status_of(const char *const *argv, bool keep)
{
    struct jl_process p;
    struct jl_spawn w = {.argv = argv, .keep = keep};
    assert_int_equal(jl_spawn(&p, &w, NULL), JOULET_OK);
    jl_process_wait(&p, LONG_S);
    return p.status;
}

/* Under nohup a command stays deaf to hang-ups; a server of ours is ended by us. */
static void test_ignored_signals_stay_with_the_user_s_command(void **state)
{
    (void)state;
    signal(SIGHUP, SIG_IGN);
    int users = status_of(SH("kill -HUP $$; exit 3"), true), ours = status_of(SH("kill -HUP $$; exit 3"), false);
    signal(SIGHUP, SIG_DFL);
    assert_int_equal(users, 3);
    assert_int_equal(ours, 128 + SIGHUP);
}

/* What the terminal sends on Ctrl-C goes to a process group: the user's command is in it, a server of ours is not. */
static void test_ctrl_c_is_not_for_our_servers(void **state)
{
    (void)state;
    for (int keep = 0; keep < 2; keep++) {
        struct jl_process p;
        struct jl_spawn w = {.argv = (const char *const[]){"sleep", "1000", NULL}, .keep = keep};
        assert_int_equal(jl_spawn(&p, &w, NULL), JOULET_OK);
        assert_int_equal(getpgid((pid_t)p.pid) == getpgrp(), keep);
        jl_process_stop(&p, LONG_S);
    }
}

/* A child that is not detached ends with us; a detached one goes on. */
static void test_death_with_the_parent(void **state)
{
    int ends[2];
    (void)state;
    for (int detach = 0; detach < 2; detach++) {
        assert_int_equal(pipe(ends), 0);
        pid_t middle = fork();
        if (middle == 0) {
            struct jl_process p;
            struct jl_spawn w = {.argv = (const char *const[]){"sleep", "1000", NULL}, .detach = detach};
            jl_spawn(&p, &w, NULL);
            ssize_t n = write(ends[1], &p.pid, sizeof(p.pid));
            _exit(n == sizeof(p.pid) ? 0 : 1);
        }
        int64_t pid;
        close(ends[1]);
        assert_int_equal(read(ends[0], &pid, sizeof(pid)), sizeof(pid));
        assert_int_equal(waitpid(middle, NULL, 0), middle);
        if (detach) {
            assert_true(jl_pid_alive(pid));
            kill((pid_t)pid, SIGKILL);
        }
        char c;
        assert_int_equal(read(ends[0], &c, 1), 0); /* its copy of the pipe closes when it is dead */
        close(ends[0]);
    }
}

static void set_event(void *e)
{
    jl_event_set(e);
}

static void test_event(void **state)
{
    struct jl_event *e = jl_event_open();
    struct jl_thread *t;
    (void)state;
    assert_false(jl_event_wait_until(e, 0));
    assert_false(jl_event_wait_until(e, jl_mono_ns() + 1000000));
    jl_event_set(e);
    jl_event_set(e);
    assert_true(jl_event_wait_until(e, 0)); /* set already, though the time has passed */
    assert_false(jl_event_wait_until(e, 0));
    assert_int_equal(jl_thread_start(&t, "a-thread-with-a-long-name", set_event, e, NULL), JOULET_OK);
    assert_true(jl_event_wait_until(e, INT64_MAX));
    jl_thread_join(t);
    jl_thread_join(NULL);
    errno = 77;
    jl_event_set(e); /* from a signal handler it must not disturb */
    assert_int_equal(errno, 77);
    jl_event_close(e);
    jl_event_close(NULL);
}

static void test_sleep_is_absolute(void **state)
{
    (void)state;
    int64_t t = jl_mono_ns() + 2000000;
    jl_sleep_until(t);
    assert_true(jl_mono_ns() >= t);
    jl_sleep_until(t); /* past: returns */
    jl_sleep_until(-5);
}

static void test_library(void **state)
{
    struct joulet_error err;
    (void)state;
    assert_null(jl_lib_open("libno-such-library.so.1", &err));
    assert_int_equal(err.status, JOULET_NOT_FOUND);
    assert_non_null(strstr(err.message, "libno-such-library"));
    void *lib = jl_lib_open("libm.so.6", &err);
    if (lib) {
        assert_non_null(jl_lib_symbol(lib, "cos"));
        assert_null(jl_lib_symbol(lib, "no_such_function"));
    }
    jl_lib_close(lib);
    jl_lib_close(NULL);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_exit_codes),
        cmocka_unit_test(test_no_such_program),
        cmocka_unit_test_setup_teardown(test_not_executable, scratch_open, scratch_close),
        cmocka_unit_test_setup_teardown(test_log_env_and_folder, scratch_open, scratch_close),
        cmocka_unit_test(test_wait_gives_up),
        cmocka_unit_test_setup_teardown(test_stubborn_process_is_killed, scratch_open, scratch_close),
        cmocka_unit_test(test_signals_are_default_again),
        cmocka_unit_test(test_ignored_signals_stay_with_the_user_s_command),
        cmocka_unit_test(test_ctrl_c_is_not_for_our_servers),
        cmocka_unit_test(test_death_with_the_parent),
        cmocka_unit_test(test_event),
        cmocka_unit_test(test_sleep_is_absolute),
        cmocka_unit_test(test_library),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
