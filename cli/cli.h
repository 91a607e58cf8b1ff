/* cli.h - subcommands and their options. One row per option drives flag, environment, settings file, help, manual and completion.
 */
#ifndef CLI_H
#define CLI_H

#include "lib/platform/platform.h"
#include "report/report.h"

#include <stdio.h>

#include <stdatomic.h>

enum cli_exit {
    CLI_DONE = 0,
    CLI_CHECK_FAILED = 1,
    CLI_USAGE = 2,
    CLI_NO_SENSOR = 3,
    CLI_ENGINE = 4,
    CLI_FAILED = 5,
    CLI_INTERRUPTED = 130, /* Ctrl-C; 143 for SIGTERM */
    CLI_EXEC_FAILED = 125,
    CLI_EXEC_NOT_RUN = 126,
    CLI_EXEC_NOT_FOUND = 127
};

enum option_type { OPTION_FLAG, OPTION_STRING, OPTION_INT, OPTION_REAL, OPTION_DURATION, OPTION_CHOICE, OPTION_LIST };

struct option_row {
    const char *name; /* "--name"; environment JOULET_NAME (upper case, '-' as '_'); same key in the settings file */
    char letter;      /* 0: none */
    enum option_type type;
    const char *arg;     /* "FILE"; NULL for flags */
    const char *def;     /* default in text; NULL none */
    const char *choices; /* "text,json"; OPTION_CHOICE only */
    const char *words;   /* "layers,ffn": shells offer them, while others are taken too; NULL: none. OPTION_STRING only */
    double min, max;     /* numbers and durations (s); equal: no limits */
    const char *help;    /* one sentence */
    bool flag_only;      /* not from the environment nor the settings file: --help, --version, --force */
    const char *env;     /* another name in the environment than JOULET_NAME; NULL: that one */
};
extern const struct option_row option_table[];
extern const size_t option_count;

struct cli;
struct command {
    const char *name, *summary;
    const char *usage;    /* "joulet exec [OPTION]... -- COMMAND [ARG]..." */
    const char *options;  /* names of the rows it takes, blank-separated; those every command takes are added */
    const char *about;    /* a few paragraphs for --help and the manual */
    const char *examples; /* lines "command\n  what it does\n" */
    bool stop_at_operand; /* options end at the first operand (exec) */
    int (*run)(struct cli *c, int argc, char **argv); /* operands only; returns enum cli_exit */
    const char *verbs; /* "list show export": what the first operand may be, for help and completion; NULL: anything */
};
extern const struct command *const command_table[]; /* NULL-terminated */

/* Values of this invocation: flag, else environment, else settings file, else default. */
bool cli_given(const struct cli *c, const char *option); /* set by flag, environment or file */
bool cli_flag(const struct cli *c, const char *option);
const char *cli_str(const struct cli *c, const char *option); /* NULL when not given and no default */
int64_t cli_int(const struct cli *c, const char *option, int64_t otherwise);
double cli_real(const struct cli *c, const char *option);         /* NAN when not given */
int64_t cli_duration_ns(const struct cli *c, const char *option); /* -1 when not given */
size_t cli_list(const struct cli *c, const char *option, const char *const **items);

/* The values as they would be if the command began now: the settings file is read again, command line and environment are as
 * they were. For commands that stay for long; cli_forget. JOULET_USAGE when the file holds a mistake. */
enum joulet_status cli_reread(struct cli **out, const struct cli *c, struct joulet_error *err);
void cli_forget(struct cli *c); /* NULL is fine */

/* Results go to stdout or to -o FILE, chatter to stderr. */
const struct report_style *cli_style(const struct cli *c);
bool cli_json(const struct cli *c);
void cli_say(const struct cli *c, const char *fmt, ...)
    JL_PRINTF(2, 3); /* progress: stderr, only on a terminal unless --verbose */
void cli_warn(const struct cli *c, const char *fmt, ...) JL_PRINTF(2, 3); /* stderr, always: "joulet: ..." */
int cli_fail(const struct cli *c, const struct joulet_error *err); /* prints the sentence; returns the exit code for its status */
/* cli_fail for something that the user named: when there is no such thing, that is bad input, 2. */
int cli_fail_named(const struct cli *c, const struct joulet_error *err);
int cli_usage(const struct cli *c, const char *fmt, ...) JL_PRINTF(2, 3); /* prints, points to --help, returns 2 */
/* Writes a result: to -o FILE (whole or not at all) or stdout. Returns CLI_DONE or CLI_FAILED (disk full, closed pipe). */
int cli_result(const struct cli *c, const char *bytes, size_t n);
FILE *cli_out(const struct cli *c);  /* for streams of lines: stdout or -o FILE; NULL (said) when it cannot be opened */
bool cli_flush(const struct cli *c); /* hands written lines on; false: end, the reader went away or the disk is full (said) */

/* Fills *opt from --sensors, --sim, --replay and --trust-root. A simulated or replayed source stands alone unless --sensors says
 * otherwise: its joules are not this machine's and must not be summed with them. The strings live as long as c. */
void cli_meter_options(const struct cli *c, struct joulet_options *opt);

/* The meters of --meter, added to an open meter of libjoulet; *out NULL when none is named. Those that do not answer are problems
 * of the meter. JOULET_USAGE for an address that is none. */
struct meters;
enum joulet_status cli_meters_check(const struct cli *c, struct joulet_options *opt,
                                    struct joulet_error *err); /* before joulet_open */
enum joulet_status cli_meters_open(const struct cli *c, struct joulet *m, struct meters **out, struct joulet_error *err);

/* Set by SIGINT and SIGTERM; a second SIGINT ends at once. */
extern atomic_bool cli_cancel;
extern atomic_int cli_signal; /* the signal that came, 0 none */

#endif
