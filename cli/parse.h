/* parse.h - inside of the command line: values by source, and the text helpers that help, manual and completion share. */
#ifndef CLI_PARSE_H
#define CLI_PARSE_H

#include "cli/cli.h"

enum value_source {
    VALUE_NONE,
    VALUE_DEFAULT,
    VALUE_FILE,
    VALUE_SECTION, /* of the file, below the name of the command */
    VALUE_ENV,
    VALUE_FLAG
};

struct cli_value {
    enum value_source source;
    char *text;   /* as given, the last one; choices as the table spells them */
    char **items; /* OPTION_LIST: all of them, in order */
    size_t n_items;
    bool on;         /* OPTION_FLAG */
    double number;   /* OPTION_REAL */
    int64_t integer; /* OPTION_INT; OPTION_DURATION in ns */
};

struct cli {
    const struct command *command;
    struct cli_value *values; /* option_count */
    char **operands;          /* borrowed from argv; n_operands, NULL-terminated */
    size_t n_operands;
    struct report_style style;
    FILE *out;       /* stream of cli_out, NULL until asked for */
    bool out_ended;  /* nothing more can be written to it */
    bool out_failed; /* for a reason that has been said: not only a reader that went away */
};

/* Fills a cleared *c. CLI_DONE, or the exit code after printing what is wrong. --help and --version leave the rest unread. */
int cli_parse(struct cli *c, const struct command *command, int argc, char **argv);
void cli_release(struct cli *c);
/* Flushes what streams hold; CLI_FAILED after saying why when it could not be written. */
int cli_finish(struct cli *c, int code);

/* Whether -o FILE can be written; says why not. Asked before anything is measured. */
bool cli_output_good(const struct cli *c);

/* Row by name, NULL if there is none. */
const struct option_row *option_find(const char *name);
/* Whether `command` takes the row; NULL command: whether every command does. */
bool option_taken(const struct command *command, const struct option_row *row);
bool option_common(const struct option_row *row);
/* "JOULET_MAX_TOKENS" into buf; returns buf. */
const char *option_env(const struct option_row *row, char *buf, size_t size);
/* Converts text into *v; false with a reason that fits after "NAME: ". */
bool option_convert(const struct option_row *row, const char *text, struct cli_value *v, char *why, size_t why_size);
/* One of the n words that `word` may have been meant to be, NULL if none is near. */
const char *cli_nearest(const char *word, const char *const *words, size_t n);
/* The name that was meant by `word` (no dashes) among the options of the command; NULL: none is near. */
const char *option_meant(const struct command *command, const char *word);
const struct command *command_find(const char *name);

/* settings.c: every line of the settings file into c->values; *err gets the sentence. */
enum joulet_status settings_read(struct cli *c, const char *path, bool must_exist, struct joulet_error *err);
/* The same of a text, in place: it is cut. */
enum joulet_status settings_text(struct cli *c, const char *path, char *text, struct joulet_error *err);
/* The default path, malloc'ed; NULL without a home. */
char *settings_path(void);
/* Sets one value; a value from a better source replaces, the same source adds to lists. false: see why. */
bool cli_set(struct cli *c, const struct option_row *row, enum value_source source, const char *text, char *why, size_t why_size);

/* help.c */
/* Words of the first n bytes of text and a line end: the first line begins at column `at`, the others at `indent`. */
void text_wrap(struct jl_buf *out, const char *text, size_t n, int at, int indent, int width);
/* The sentence of a row with its choices and default; size 512 is enough for every row. */
void option_text(const struct option_row *row, char *buf, size_t size);
void help_command(struct jl_buf *out, const struct command *command, const struct report_style *style);
void help_program(struct jl_buf *out, const struct report_style *style);
void help_command_json(struct jl_buf *out, const struct command *command);
void help_program_json(struct jl_buf *out);
/* man.c; NULL: joulet.1 */
void man_page(struct jl_buf *out, const struct command *command);
/* trouble.c: what docs/troubleshooting.md says about a fault */
bool trouble_name(const char *message, char *buf, size_t size); /* entry that fits the sentence; false: none */
bool trouble_entry(struct jl_buf *out, const char *name, const struct report_style *style);
/* completion.c; shell: "bash", "zsh", "fish" */
void completion_script(struct jl_buf *out, const char *shell);

/* terminal.c: all that is about the terminal and signals */
bool terminal_is(int fd);
int terminal_width(void); /* of standard output, 0 unknown */
bool terminal_utf8(void);
bool terminal_colour(void);  /* NO_COLOR, TERM */
void terminal_streams(void); /* none of the standard ones is closed after this */
void terminal_signals(void);
/* From now on SIGHUP and SIGUSR1 end nothing, but set these. */
void terminal_signals_again(void);
extern atomic_bool terminal_hup, terminal_usr1;
bool terminal_gone(void);               /* SIGHUP came because the terminal was closed: that is an end after all */
bool terminal_wait_until(int64_t t_ns); /* CLOCK_MONOTONIC; false at once when cli_cancel is set */
/* Remembers how the terminal is set, so that a second SIGINT can put it back when a screen is open. */
void terminal_keep(void);
extern void (*terminal_restore)(void); /* async-signal-safe; NULL: nothing to put back */

#endif
