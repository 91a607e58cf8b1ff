/* program.c - see program.h. */
#include "tests/cli/program.h"

#include "lib/platform/platform.h"

#include <fcntl.h>
#include <ftw.h>
#include <linux/capability.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define PATIENCE_S 180 /* a hanging program fails the test instead of hanging it */

static char folder[64];

/* ---- scratch ------------------------------------------------------------------------------------------------------ */

int scratch_open(void **state)
{
    (void)state;
    snprintf(folder, sizeof folder, "/tmp/joulet-cli-XXXXXX");
    return mkdtemp(folder) ? 0 : -1;
}

static int drop(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)type;
    (void)ftw;
    return remove(path);
}

int scratch_close(void **state)
{
    (void)state;
    return nftw(folder, drop, 16, FTW_DEPTH | FTW_PHYS);
}

const char *scratch(const char *name)
{
    static _Thread_local char paths[8][256];
    static _Thread_local unsigned next;
    char *path = paths[next++ % 8];
    snprintf(path, sizeof paths[0], "%s/%s", folder, name);
    return path;
}

void scratch_write(const char *name, const char *text)
{
    char *path = jl_strdup(scratch(name)), *slash = strrchr(path, '/');
    *slash = '\0';
    assert_int_equal(jl_make_dirs(path, NULL), JOULET_OK);
    *slash = '/';
    assert_int_equal(jl_write_file(path, text, strlen(text), 0644, NULL), JOULET_OK);
    free(path);
}

char *scratch_read(const char *name)
{
    struct jl_buf b;
    jl_buf_init(&b, 1 << 24);
    if (jl_read_file(scratch(name), &b, NULL) != JOULET_OK) {
        jl_buf_release(&b);
        return NULL;
    }
    return b.data ? jl_buf_take(&b) : jl_strdup("");
}

/* ---- the program -------------------------------------------------------------------------------------------------- */

static void child_environment(const struct program *p)
{
    static const char *const ours[] = {"JOULET_DATA_DIR", "JOULET_CONFIG_DIR", "JOULET_CACHE_DIR"};
    extern char **environ;
    for (char **e = environ; *e;) {
        char name[128];
        snprintf(name, sizeof name, "%.*s", (int)strcspn(*e, "="), *e);
        if (strncmp(name, "JOULET_", 7) == 0)
            unsetenv(name); /* moves the rest up */
        else
            e++;
    }
    for (size_t i = 0; i < JL_COUNT(ours); i++)
        setenv(ours[i], folder, 1);
    setenv("LC_ALL", "C.UTF-8", 1);
    unsetenv("NO_COLOR");
    for (size_t i = 0; p->env && p->env[i]; i++)
        putenv((char *)p->env[i]);
}

/* Root may read everything; without these two rights it is refused like others, and cannot get them back by exec. */
static void give_up_rights(void)
{
    if (geteuid() == 0 && (prctl(PR_CAPBSET_DROP, CAP_DAC_OVERRIDE) != 0 || prctl(PR_CAPBSET_DROP, CAP_DAC_READ_SEARCH) != 0))
        _exit(77);
}

static void child(const struct program *p, int out, int err, const char *const *args)
{
    const char *argv[32] = {getenv("PROGRAM")};
    size_t n = 1;
    for (; args[n - 1] && n < JL_COUNT(argv) - 1; n++)
        argv[n] = args[n - 1];
    if (p->out_path) {
        close(out);
        out = open(p->out_path, O_WRONLY | O_CREAT | O_TRUNC, 0644);
    }
    if (out < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
        _exit(99);
    signal(SIGINT, SIG_DFL); /* a shell that runs tests in the background has it ignored */
    child_environment(p);
    if (p->unreadable_files)
        give_up_rights();
    execv(argv[0], (char **)argv);
    _exit(PROGRAM_NOT_RUN);
}

void program_start(struct program *p, const char *const *args)
{
    int out[2], err[2], null = open("/dev/null", O_RDONLY);
    assert_non_null(getenv("PROGRAM"));
    assert_int_equal(pipe2(out, O_CLOEXEC), 0);
    assert_int_equal(pipe2(err, O_CLOEXEC), 0);
    fflush(NULL);
    p->pid = fork();
    if (p->pid == 0) {
        dup2(null, STDIN_FILENO);
        child(p, out[1], err[1], args);
    }
    assert_true(p->pid > 0);
    close(null);
    close(out[1]);
    close(err[1]);
    p->out_fd = out[0];
    p->err_fd = err[0];
    jl_buf_init(&p->out, (size_t)1 << 28);
    jl_buf_init(&p->err, (size_t)1 << 24);
}

static void take(int *fd, struct jl_buf *b, short events)
{
    char bytes[65536];
    if (*fd < 0 || !(events & (POLLIN | POLLHUP | POLLERR)))
        return;
    ssize_t n = read(*fd, bytes, sizeof bytes);
    if (n > 0) {
        jl_buf_add(b, bytes, (size_t)n);
        return;
    }
    close(*fd);
    *fd = -1;
}

/* Reads what comes next; false when both streams have ended. */
static bool read_more(struct program *p)
{
    struct pollfd fds[2] = {{.fd = p->out_fd, .events = POLLIN}, {.fd = p->err_fd, .events = POLLIN}};
    if (p->out_fd < 0 && p->err_fd < 0)
        return false;
    int n = poll(fds, 2, PATIENCE_S * 1000);
    if (n <= 0) {
        kill(p->pid, SIGKILL);
        fail_msg("the program wrote nothing for %d s; so far: %s%s", PATIENCE_S, kept(&p->out), kept(&p->err));
    }
    take(&p->out_fd, &p->out, fds[0].revents);
    take(&p->err_fd, &p->err, fds[1].revents);
    return true;
}

static void until(struct program *p, const struct jl_buf *b, const char *text)
{
    while (!strstr(kept(b), text))
        if (!read_more(p))
            fail_msg("ended before \"%s\" came: %s%s", text, kept(&p->out), kept(&p->err));
}

void program_until_out(struct program *p, const char *text)
{
    until(p, &p->out, text);
}

void program_until_err(struct program *p, const char *text)
{
    until(p, &p->err, text);
}

void program_until_level(const char *base)
{
    char text[8192], *command = jl_strf("curl --noproxy '*' --max-time 60 -s %s/joulet/energy", base);
    bool known = false;
    for (int i = 0; i < 20 * PATIENCE_S && !known; i++, usleep(50000)) {
        FILE *f = popen(command, "r");
        assert_non_null(f);
        text[fread(text, 1, sizeof text - 1, f)] = '\0';
        pclose(f);
        known = strstr(text, "\"idle_w\":") && !strstr(text, "\"idle_w\":null");
    }
    if (!known)
        fail_msg("no idle level came: %s", text);
    free(command);
}

static bool catches(pid_t pid, int signal_number)
{
    char path[64];
    struct jl_buf b;
    unsigned long long caught = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    jl_buf_init(&b, 1 << 16);
    const char *line = jl_read_file(path, &b, NULL) == JOULET_OK ? strstr(kept(&b), "SigCgt:") : NULL;
    if (line)
        caught = strtoull(line + strlen("SigCgt:"), NULL, 16);
    jl_buf_release(&b);
    return caught >> (signal_number - 1) & 1;
}

void program_until_catching(struct program *p, int signal_number)
{
    int64_t until = jl_mono_ns() + PATIENCE_S * JL_NS_PER_S;
    while (!catches(p->pid, signal_number)) {
        if (jl_mono_ns() > until)
            fail_msg("signal %d is never caught", signal_number);
        jl_sleep_until(jl_mono_ns() + JL_NS_PER_S / 100);
    }
}

void program_close_out(struct program *p)
{
    close(p->out_fd);
    p->out_fd = -1;
}

void program_end(struct program *p)
{
    int status;
    while (read_more(p))
        ;
    assert_int_equal(waitpid(p->pid, &status, 0), p->pid);
    p->killed = WIFSIGNALED(status);
    p->code = p->killed ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

void program_release(struct program *p)
{
    jl_buf_release(&p->out);
    jl_buf_release(&p->err);
    *p = (struct program){0};
}

void program_run(struct program *p, const char *const *args)
{
    program_start(p, args);
    program_end(p);
}

/* ---- text --------------------------------------------------------------------------------------------------------- */

const char *kept(const struct jl_buf *b)
{
    return b->data ? b->data : "";
}

void must_say(const char *text, const char *words)
{
    if (!strstr(text, words))
        fail_msg("\"%s\" does not say \"%s\"", text, words);
}

size_t lines_of(const char *text)
{
    size_t n = 0;
    for (; *text; text++)
        n += *text == '\n';
    return n;
}

void program_stop(struct program *p)
{
    kill(p->pid, SIGTERM);
    program_end(p);
    assert_int_equal(p->code, 0);
    program_release(p);
}

/* ---- what programs are given -------------------------------------------------------------------------------------- */

const char *tiny_model(const char *quant)
{
    struct program made = {0};
    if (access(scratch("tiny.gguf"), F_OK) != 0) {
        program_run(&made, ARGS("model", "make", "--shape", "tiny", "-o", scratch("tiny.gguf"), quant ? "--quant" : NULL, quant));
        if (made.code != 0)
            fail_msg("%s", kept(&made.err));
        program_release(&made);
    }
    return scratch("tiny.gguf");
}

int free_port(void)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t n = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fd, (struct sockaddr *)&a, n), 0);
    assert_int_equal(getsockname(fd, (struct sockaddr *)&a, &n), 0);
    close(fd);
    return ntohs(a.sin_port);
}
