/* man.c - manual pages in roff, drawn from the same tables as the help. */
#include "cli/parse.h"

#include <string.h>

/* Text of a page: what roff would read as commands is escaped, `code` is set in bold. */
static void text(struct jl_buf *out, const char *s, size_t n)
{
    bool code = false;
    for (size_t i = 0; i < n; i++) {
        bool line_start = i == 0 || s[i - 1] == '\n';
        if (line_start && (s[i] == '.' || s[i] == '\''))
            jl_buf_str(out, "\\&");
        if (s[i] == '`') {
            code = !code;
            jl_buf_str(out, code ? "\\fB" : "\\fR");
        } else if (s[i] == '\\') {
            jl_buf_str(out, "\\e");
        } else if (s[i] == '-') {
            jl_buf_str(out, "\\-");
        } else if (s[i] == '\'') {
            jl_buf_str(out, "\\(aq");
        } else {
            jl_buf_add(out, s + i, 1);
        }
    }
}

static void words(struct jl_buf *out, const char *s)
{
    text(out, s, strlen(s));
}

static void paragraphs(struct jl_buf *out, const char *s)
{
    for (const char *p = s; *s;) {
        const char *end = strstr(s, "\n\n");
        size_t n = end ? (size_t)(end - s) : strlen(s);
        bool verbatim = *s == ' ';
        jl_buf_printf(out, "%s%s", s == p ? "" : ".PP\n", verbatim ? ".nf\n" : "");
        text(out, s, n);
        jl_buf_str(out, verbatim ? "\n.fi\n" : "\n");
        s += n;
        s += strspn(s, "\n");
    }
}

static void option(struct jl_buf *out, const struct option_row *row)
{
    char sentence[512], variable[64];
    jl_buf_str(out, ".TP\n");
    if (row->letter)
        jl_buf_printf(out, "\\fB\\-%c\\fR, ", row->letter);
    jl_buf_str(out, "\\fB\\-\\-");
    words(out, row->name);
    jl_buf_str(out, "\\fR");
    if (row->arg) {
        jl_buf_str(out, " \\fI");
        words(out, row->arg);
        jl_buf_str(out, "\\fR");
    }
    jl_buf_str(out, "\n");
    option_text(row, sentence, sizeof sentence);
    words(out, sentence);
    if (!row->flag_only)
        jl_buf_printf(out, "\nEnvironment: \\fB%s\\fR.", option_env(row, variable, sizeof variable));
    jl_buf_str(out, "\n");
}

static void options(struct jl_buf *out, const struct command *command, bool common)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_common(&option_table[i]) == common && option_taken(command, &option_table[i]))
            option(out, &option_table[i]);
}

static void examples(struct jl_buf *out, const char *lines)
{
    for (const char *line = lines; *line;) {
        size_t n = strcspn(line, "\n"), blank = strspn(line, " ");
        jl_buf_str(out, blank ? "" : ".TP\n.B ");
        text(out, line + blank, n - blank);
        jl_buf_str(out, "\n");
        line += n + (line[n] == '\n');
    }
}

static void title(struct jl_buf *out, const char *command)
{
    jl_buf_str(out, ".TH JOULET");
    if (command)
        jl_buf_str(out, "\\-");
    for (const char *p = command; p && *p; p++)
        jl_buf_printf(out, "%c", *p >= 'a' && *p <= 'z' ? *p - 'a' + 'A' : *p);
    jl_buf_printf(out, " 1 \"\" \"joulet %s\" \"joulet manual\"\n.SH NAME\n", joulet_version());
}

static void command_page(struct jl_buf *out, const struct command *command)
{
    title(out, command->name);
    jl_buf_printf(out, "joulet\\-%s \\- ", command->name);
    words(out, command->summary);
    jl_buf_str(out, "\n.SH SYNOPSIS\n.B ");
    words(out, command->usage);
    jl_buf_str(out, "\n.SH DESCRIPTION\n");
    paragraphs(out, command->about);
    jl_buf_str(out, ".SH OPTIONS\n");
    options(out, command, false);
    jl_buf_str(out, ".SS Options of every command\n");
    options(out, command, true);
    if (command->examples) {
        jl_buf_str(out, ".SH EXAMPLES\n");
        examples(out, command->examples);
    }
    jl_buf_str(out, ".SH SEE ALSO\n.BR joulet (1),\nfor the settings file, the environment and the exit codes\n");
}

static const char about_program[] =
    "joulet (joules per token) measures what a prompt, a phase of it or any command costs in joules, on the inference engine "
    "that "
    "runs already or on one of its own, and prints an interval that holds with every figure. Where no sensor can be read, "
    "figures "
    "are estimates and marked as such.\n\n"
    "Results go to standard output, progress and messages to standard error. Energy is shown above the idle level (net) and as "
    "the sensor saw it (gross). A figure that is not known is shown as -, in JSON as null, never as 0.";

static const char about_settings[] =
    "Every option but the few that make no sense there can also be set by an environment variable (its name in capitals after "
    "JOULET_, with _ for -) or by a line of the settings file, `name = value`. The option on the command line wins over the "
    "environment, that over the file. Lines that begin with # are comments. A flag is set with yes and unset with no, on the "
    "command line as in `--private=no`.\n\n"
    "  # ~/.config/joulet/joulet.conf\n"
    "  price = 0.31\n"
    "  currency = EUR\n"
    "  private = yes\n\n"
    "  [serve]\n"
    "  upstream = http://127.0.0.1:8000\n\n"
    "Lines below [serve] are for that command alone and win over those above all sections. `joulet serve` reads the file again "
    "on "
    "SIGHUP.\n\n"
    "Names of options are never abbreviated.";

static const struct {
    const char *name, *text;
} environment[] = {
    {"JOULET_CONFIG_DIR", "Folder that holds joulet/joulet.conf, instead of $XDG_CONFIG_HOME or ~/.config."},
    {"JOULET_DATA_DIR",
     "Folder that holds joulet/, with the database and the private engine, instead of $XDG_DATA_HOME or ~/.local/share."},
    {"JOULET_CACHE_DIR", "Folder that holds joulet/, with downloads, instead of $XDG_CACHE_HOME or ~/.cache."},
    {"JOULET_MODULE_DIR", "Folder of the modules for HTTP and the live screen, instead of where they were installed."},
    {"JOULET_SYSFS, JOULET_PROCFS, JOULET_DEVFS",
     "Folders to read sensors from instead of /sys, /proc and /dev; figures are marked simulated unless "
     "--trust-root is given. Ignored in a privileged process."},
    {"JOULET_NVML", "Library to use instead of libnvidia-ml.so.1, likewise."},
    {"JOULET_POWERMETRICS",
     "Pipe or file with the output of Apple's powermetrics, or a program to start instead, for --sensors powermetrics."},
    {"JOULET_METER_USER, JOULET_METER_PASSWORD, JOULET_METER_TOKEN",
     "Who asks the meters of --meter: user and password, or the token of a Redfish session."},
    {"JOULET_ENGINE_CA", "File of certificates to trust for engines behind https, instead of the system's."},
    {"JOULET_METER_CA", "File of certificates to trust for meters behind https, instead of the system's."},
    {"JOULET_TRACE", "Parts that tell on standard error what they do, as in sensor,engine, or all."},
    {"NO_COLOR", "No colours unless --color=always is given."},
};

static const struct {
    const char *code, *text;
} exits[] = {
    {"0", "done"},
    {"1", "measured, but a check failed"},
    {"2", "wrong usage or bad input: nothing was measured"},
    {"3", "nothing to measure with, and --measured-only was given"},
    {"4", "the engine cannot be reached, failed, or does not have the model"},
    {"5", "anything else, as a full disk; the sentence on standard error says what and what to do"},
    {"130, 143", "interrupted by Ctrl-C or SIGTERM; what was measured until then is kept"},
    {"125, 126, 127", "`joulet exec` only: our own failure, the command cannot be run, it is not found; otherwise its exit code"},
};

static void program_page(struct jl_buf *out)
{
    title(out, NULL);
    jl_buf_str(out, "joulet \\- energy meter for LLM inference\n.SH SYNOPSIS\n.B joulet\n"
                    "\\fICOMMAND\\fR [\\fIOPTION\\fR]... [\\fIARGUMENT\\fR]...\n.SH DESCRIPTION\n");
    paragraphs(out, about_program);
    jl_buf_str(out, ".SH COMMANDS\n");
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, ".TP\n.BR joulet\\-%s (1)\n", (*c)->name);
        words(out, (*c)->summary);
        jl_buf_str(out, "\n");
    }
    jl_buf_str(out, ".SH OPTIONS\nEvery command takes these and its own.\n");
    options(out, NULL, true);
    jl_buf_str(out, ".SH SETTINGS\n");
    paragraphs(out, about_settings);
    jl_buf_str(out, ".SH ENVIRONMENT\n");
    for (size_t i = 0; i < JL_COUNT(environment); i++) {
        jl_buf_printf(out, ".TP\n.B %s\n", environment[i].name);
        words(out, environment[i].text);
        jl_buf_str(out, "\n");
    }
    jl_buf_str(out, ".SH EXIT STATUS\n");
    for (size_t i = 0; i < JL_COUNT(exits); i++) {
        jl_buf_printf(out, ".TP\n.B %s\n", exits[i].code);
        words(out, exits[i].text);
        jl_buf_str(out, "\n");
    }
}

void man_page(struct jl_buf *out, const struct command *command)
{
    if (command)
        command_page(out, command);
    else
        program_page(out);
}
