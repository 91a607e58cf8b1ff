/* test_cli_screen.c - the live screen on a terminal of 80 x 24: it opens, shows, pauses, ends, and gives the terminal back. */
#include "tests/cli/program.h"

#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <termios.h>
#include <unistd.h>

enum { PATIENCE_MS = 180000 };

struct terminal {
    int fd;
    pid_t pid;
    struct jl_buf seen;
};

static void terminal_start(struct terminal *t, const char *module_dir, const char *const *args)
{
    const struct winsize size = {.ws_row = 24, .ws_col = 80};
    fflush(NULL);
    jl_buf_init(&t->seen, (size_t)1 << 24);
    t->pid = forkpty(&t->fd, NULL, NULL, &size);
    assert_true(t->pid >= 0);
    if (t->pid > 0)
        return;
    setenv("TERM", "xterm", 1);
    setenv("ASAN_OPTIONS", "detect_leaks=0", 1); /* ncurses keeps its tables until the end, by design */
    setenv("LC_ALL", "C.UTF-8", 1);
    setenv("JOULET_CONFIG_DIR", scratch("config"), 1);
    unsetenv("JOULET_MODULE_DIR");
    if (module_dir)
        setenv("JOULET_MODULE_DIR", module_dir, 1);
    signal(SIGINT, SIG_DFL);
    const char *argv[16] = {getenv("PROGRAM")};
    for (size_t n = 0; n < 14 && args[n]; n++)
        argv[n + 1] = args[n];
    execv(argv[0], (char **)argv);
    _exit(98);
}

/* Reads until the terminal has shown the text (NULL: until the program closes it). */
static void terminal_until(struct terminal *t, const char *text)
{
    char bytes[4096];
    while (!text || !strstr(kept(&t->seen), text)) {
        struct pollfd p = {.fd = t->fd, .events = POLLIN};
        if (poll(&p, 1, PATIENCE_MS) <= 0) {
            kill(t->pid, SIGKILL);
            fail_msg("never showed \"%s\"", text ? text : "its end");
        }
        ssize_t n = read(t->fd, bytes, sizeof bytes);
        if (n <= 0 && text)
            fail_msg("ended before showing \"%s\": %s", text, kept(&t->seen));
        if (n <= 0)
            return;
        for (ssize_t i = 0; i < n; i++) /* NUL is padding */
            if (bytes[i])
                jl_buf_add(&t->seen, bytes + i, 1);
    }
}

static int terminal_end(struct terminal *t)
{
    int status;
    terminal_until(t, NULL);
    assert_int_equal(waitpid(t->pid, &status, 0), t->pid);
    close(t->fd);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void type(struct terminal *t, const char *keys)
{
    assert_int_equal(write(t->fd, keys, strlen(keys)), (ssize_t)strlen(keys));
}

static const char *const live[] = {"monitor", "--sim", "40|100;group=gpu", "--interval", "100ms", NULL};
#define ALTERNATE_ON  "\033[?1049h"
#define ALTERNATE_OFF "\033[?1049l"

static bool has_module(void)
{
    char *file = jl_strf("%s/joulet-ncurses.so", getenv("MODULES"));
    bool there = access(file, R_OK) == 0;
    free(file);
    return there;
}

static void it_shows_and_ends(void **state)
{
    struct terminal t;
    (void)state;
    if (!has_module())
        skip();
    terminal_start(&t, NULL, live);
    terminal_until(&t, ALTERNATE_ON);
    terminal_until(&t, "sim1.gpu");
    terminal_until(&t, "simulated figures");
    type(&t, " ");
    terminal_until(&t, "paused");
    jl_buf_clear(&t.seen);
    type(&t, " ");
    terminal_until(&t, "pause");
    jl_buf_clear(&t.seen);
    type(&t, "q");
    assert_int_equal(terminal_end(&t), 0);
    const char *off = strstr(kept(&t.seen), ALTERNATE_OFF);
    assert_non_null(off);
    must_say(off, "p95"); /* the summary comes after the screen is closed */
    jl_buf_release(&t.seen);
}

static void ctrl_c_gives_the_terminal_back(void **state)
{
    struct terminal t;
    (void)state;
    if (!has_module())
        skip();
    terminal_start(&t, NULL, live);
    terminal_until(&t, "sim1.gpu");
    type(&t, "\003");
    assert_int_equal(terminal_end(&t), 130);
    must_say(kept(&t.seen), ALTERNATE_OFF);
    must_say(strstr(kept(&t.seen), ALTERNATE_OFF), " rows in ");
    jl_buf_release(&t.seen);
}

/* An unknown terminal, or --stream: lines. */
static void lines_where_there_is_no_screen(void **state)
{
    struct terminal t;
    (void)state;
    terminal_start(&t, NULL, ARGS("monitor", "--sim", "40", "--stream", "--samples", "2", "--interval", "50ms"));
    assert_int_equal(terminal_end(&t), 0);
    assert_null(strstr(kept(&t.seen), ALTERNATE_ON));
    must_say(kept(&t.seen), "energy so far");
    jl_buf_release(&t.seen);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(it_shows_and_ends),
        cmocka_unit_test(ctrl_c_gives_the_terminal_back),
        cmocka_unit_test(lines_where_there_is_no_screen),
    };
    return cmocka_run_group_tests(tests, scratch_open, scratch_close);
}
