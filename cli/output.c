/* output.c - results to stdout or a file, chatter to stderr, and exit codes from statuses. */
#include "cli/parse.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

const struct report_style *cli_style(const struct cli *c)
{
    return &c->style;
}

bool cli_json(const struct cli *c)
{
    return cli_flag(c, "json");
}

void cli_say(const struct cli *c, const char *fmt, ...)
{
    if (cli_flag(c, "quiet") || (!terminal_is(STDERR_FILENO) && !cli_flag(c, "verbose")))
        return;
    va_list ap;
    va_start(ap, fmt);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

void cli_warn(const struct cli *c, const char *fmt, ...)
{
    (void)c;
    va_list ap;
    va_start(ap, fmt);
    fputs("joulet: ", stderr);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fputc('\n', stderr);
}

static int exit_code(enum joulet_status status)
{
    int sig = atomic_load(&cli_signal);
    switch (status) {
    case JOULET_OK:
        return CLI_DONE;
    case JOULET_USAGE:
        return CLI_USAGE;
    case JOULET_NO_SENSOR:
        return CLI_NO_SENSOR;
    case JOULET_UNREACHABLE:
    case JOULET_ENGINE:
        return CLI_ENGINE;
    case JOULET_CANCELLED:
        return sig ? 128 + sig : CLI_INTERRUPTED;
    default:
        return CLI_FAILED;
    }
}

int cli_fail(const struct cli *c, const struct joulet_error *err)
{
    char entry[64];
    cli_warn(c, "%s", err->message[0] ? err->message : joulet_status_text(err->status));
    if (err->status != JOULET_CANCELLED && terminal_is(STDERR_FILENO) && !cli_flag(c, "quiet") &&
        trouble_name(err->message, entry, sizeof entry))
        fprintf(stderr, "`joulet help %s` says more\n", entry);
    return exit_code(err->status);
}

int cli_fail_named(const struct cli *c, const struct joulet_error *err)
{
    int code = cli_fail(c, err);
    return err->status == JOULET_NOT_FOUND ? CLI_USAGE : code;
}

int cli_usage(const struct cli *c, const char *fmt, ...)
{
    const char *name = c->command ? c->command->name : "";
    va_list ap;
    va_start(ap, fmt);
    fprintf(stderr, "joulet%s%s: ", *name ? " " : "", name);
    vfprintf(stderr, fmt, ap);
    va_end(ap);
    fprintf(stderr, "\nTry 'joulet%s%s --help'.\n", *name ? " " : "", name);
    return CLI_USAGE;
}

/* ---- results ------------------------------------------------------------------------------------------------------ */

/* The file asked for, NULL for standard output. */
static const char *output_path(const struct cli *c)
{
    const char *path = cli_str(c, "output");
    return path && strcmp(path, "-") != 0 ? path : NULL;
}

/* A device or a pipe is written to; only a file is replaced as a whole. */
static bool replaceable(const char *path)
{
    struct stat st;
    return stat(path, &st) != 0 || S_ISREG(st.st_mode);
}

static int say_unwritten(const struct cli *c, const char *what, int why)
{
    const char *remedy = why == ENOSPC  ? "; free space or write elsewhere with -o FILE"
                         : why == EBADF ? "; standard output is closed, so give a file with -o FILE"
                                        : "";
    cli_warn(c, "writing %s failed: %s%s", what, strerror(why), remedy);
    return CLI_FAILED;
}

/* A reader that went away has seen enough: that is no reason for a message. */
static int write_stream(const struct cli *c, FILE *f, const char *name, const char *bytes, size_t n)
{
    errno = 0;
    if (fwrite(bytes, 1, n, f) == n && fflush(f) == 0)
        return CLI_DONE;
    int why = errno;
    clearerr(f);
    if (why != EPIPE)
        say_unwritten(c, name, why);
    return CLI_FAILED;
}

static int write_device(const struct cli *c, const char *path, const char *bytes, size_t n)
{
    FILE *f = fopen(path, "we");
    if (!f)
        return say_unwritten(c, path, errno);
    setvbuf(f, NULL, _IONBF, 0);
    int rc = write_stream(c, f, path, bytes, n);
    fclose(f);
    return rc;
}

int cli_result(const struct cli *c, const char *bytes, size_t n)
{
    const char *path = output_path(c);
    if (!path)
        return write_stream(c, stdout, "the result", bytes, n);
    if (!replaceable(path))
        return write_device(c, path, bytes, n);
    char *real = realpath(path, NULL); /* the file behind a link is replaced, not the link */
    struct joulet_error err;
    enum joulet_status st = jl_write_file(real ? real : path, bytes, n, 0644, &err);
    free(real);
    return st == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

FILE *cli_out(const struct cli *c)
{
    struct cli *own = (struct cli *)c; /* opened at the first use, closed by cli_finish */
    const char *path = output_path(c);
    if (own->out || own->out_ended)
        return own->out;
    own->out = path ? fopen(path, "we") : stdout;
    if (!own->out) {
        say_unwritten(c, path, errno);
        own->out_ended = own->out_failed = true;
    }
    return own->out;
}

bool cli_flush(const struct cli *c)
{
    struct cli *own = (struct cli *)c;
    FILE *f = c->out;
    if (!f || c->out_ended)
        return false;
    errno = 0;
    bool good = !ferror(f);
    if (fflush(f) == 0 && good)
        return true;
    own->out_ended = true;
    if (errno != EPIPE) {
        say_unwritten(c, output_path(c) ? output_path(c) : "the result", errno ? errno : EIO);
        own->out_failed = true;
    }
    return false;
}

/* A file is written beside its place and takes it: some folders grant that to access() and then take no file, such as /proc. */
static bool takes_a_file(const char *path)
{
    char *real = realpath(path, NULL), *beside = jl_strf("%s.XXXXXX", real ? real : path);
    int fd = beside ? mkstemp(beside) : -1, why = errno;
    if (fd >= 0) {
        close(fd);
        unlink(beside);
    }
    free(beside);
    free(real);
    errno = why;
    return fd >= 0;
}

bool cli_output_good(const struct cli *c)
{
    const char *path = output_path(c);
    struct stat st;
    if (!path)
        return true;
    const char *slash = strrchr(path, '/');
    char *folder = !slash ? jl_strdup(".") : slash == path ? jl_strdup("/") : strndup(path, (size_t)(slash - path));
    errno = 0;
    bool there = stat(path, &st) == 0;
    bool good = folder && *path && (!there || !S_ISDIR(st.st_mode));
    if (good && there && !S_ISREG(st.st_mode))
        good = access(path, W_OK) == 0;
    else if (good)
        good = access(folder, W_OK | X_OK) == 0 && (!there || access(path, W_OK) == 0) && takes_a_file(path);
    if (!good)
        cli_usage(c, "cannot write to '%s': %s", path, strerror(there && S_ISDIR(st.st_mode) ? EISDIR : errno));
    free(folder);
    return good;
}

int cli_finish(struct cli *c, int code)
{
    bool own = c->out && c->out != stdout;
    if (c->out)
        cli_flush(c);
    if (own && fclose(c->out) != 0 && !c->out_ended)
        c->out_failed = say_unwritten(c, output_path(c), errno) != CLI_DONE;
    c->out = NULL;
    return c->out_failed && code == CLI_DONE ? CLI_FAILED : code;
}
