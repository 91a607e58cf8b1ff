/* terminal.c - what the program asks of its terminal, and the signals that end it. */
#include "cli/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

atomic_bool cli_cancel;
atomic_int cli_signal;
atomic_bool terminal_hup, terminal_usr1;
void (*terminal_restore)(void);

bool terminal_is(int fd)
{
    return isatty(fd) == 1;
}

int terminal_width(void)
{
    struct winsize size;
    if (terminal_is(STDOUT_FILENO) && ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col >= 40)
        return size.ws_col;
    return 0;
}

/* By name only: loading a locale costs memory and would bring decimal commas. */
bool terminal_utf8(void)
{
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (size_t i = 0; i < JL_COUNT(names); i++) {
        const char *value = getenv(names[i]);
        if (value && *value)
            return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

bool terminal_colour(void)
{
    const char *term = getenv("TERM"), *no = getenv("NO_COLOR");
    return terminal_is(STDOUT_FILENO) && !(no && *no) && term && *term && strcmp(term, "dumb") != 0;
}

static void on_end(int number)
{
    if (atomic_exchange(&cli_cancel, true) && number == SIGINT) {
        if (terminal_restore)
            terminal_restore();
        _exit(128 + number);
    }
    atomic_store(&cli_signal, number);
}

static void on_again(int number)
{
    atomic_store(number == SIGHUP ? &terminal_hup : &terminal_usr1, true);
}

/* A handler, not SIG_IGN: programs that we start would inherit that. Writing then fails with EPIPE. */
static void on_pipe(int number)
{
    (void)number;
}

void terminal_signals(void)
{
    static const int ends[] = {SIGINT, SIGTERM, SIGHUP};
    struct sigaction sa = {.sa_handler = on_end}, old;
    sigemptyset(&sa.sa_mask);
    for (size_t i = 0; i < JL_COUNT(ends); i++)
        if (sigaction(ends[i], NULL, &old) == 0 && old.sa_handler != SIG_IGN) /* nohup, or in the background of a script */
            sigaction(ends[i], &sa, NULL);
    sa.sa_handler = on_pipe;
    sa.sa_flags = SA_RESTART;
    sigaction(SIGPIPE, &sa, NULL);
}

static bool survives_hup; /* nohup */

void terminal_signals_again(void)
{
    static const int again[] = {SIGHUP, SIGUSR1};
    struct sigaction sa = {.sa_handler = on_again}, old;
    sigemptyset(&sa.sa_mask);
    survives_hup = sigaction(SIGHUP, NULL, &old) == 0 && old.sa_handler == SIG_IGN;
    int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    survives_hup |= tty < 0; /* it has none that could be closed */
    if (tty >= 0)
        close(tty);
    for (size_t i = 0; i < JL_COUNT(again); i++)
        sigaction(again[i], &sa, NULL);
}

bool terminal_gone(void)
{
    if (survives_hup)
        return false;
    int tty = open("/dev/tty", O_RDONLY | O_CLOEXEC | O_NOCTTY);
    if (tty >= 0)
        close(tty);
    return tty < 0;
}

/* A closed standard stream would be given to the next file or socket that is opened, and results written into that. Now writing
 * to it fails, as it should. */
void terminal_streams(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++)
        if (fcntl(fd, F_GETFD) < 0 && errno == EBADF && open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
}

/* A signal ends poll; one that comes just before it costs at most the slice. */
bool terminal_wait_until(int64_t t_ns)
{
    enum { SLICE_MS = 200 };
    while (!atomic_load(&cli_cancel)) {
        int64_t left_ms = (t_ns - jl_mono_ns()) / 1000000;
        if (left_ms < 2) {
            jl_sleep_until(t_ns);
            return !atomic_load(&cli_cancel);
        }
        poll(NULL, 0, left_ms - 1 < SLICE_MS ? (int)(left_ms - 1) : SLICE_MS);
    }
    return false;
}

static struct termios kept;

static void put_back(void)
{
    static const char leave[] = "\033[?1049l\033[?25h\033[0m\n";
    ssize_t n = write(STDOUT_FILENO, leave, sizeof leave - 1);
    (void)n;
    tcsetattr(STDIN_FILENO, TCSANOW, &kept);
}

void terminal_keep(void)
{
    if (tcgetattr(STDIN_FILENO, &kept) == 0)
        terminal_restore = put_back;
}
