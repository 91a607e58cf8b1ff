/* help.c - help on the terminal, drawn from the tables of options and commands. */
#include "cli/json.h"
#include "cli/parse.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { HELP_MIN = 60, HELP_WIDTH = 80, OPTION_COLUMN = 26, COMMAND_COLUMN = 13 };

static int help_width(const struct report_style *style)
{
    int width = style->width ? style->width : HELP_WIDTH;
    return width > HELP_WIDTH ? HELP_WIDTH : width < HELP_MIN ? HELP_MIN : width;
}

static void heading(struct jl_buf *out, const char *text, const struct report_style *style)
{
    jl_buf_printf(out, "\n%s%s%s\n", style->colour ? "\033[1m" : "", text, style->colour ? "\033[0m" : "");
}

void text_wrap(struct jl_buf *out, const char *text, size_t n, int at, int indent, int width)
{
    int column = at;
    bool first = true; /* of its line */
    const char *end = text + n;
    while (text < end) {
        text += strspn(text, " \n");
        size_t word = strcspn(text, " \n");
        if (text >= end || !word)
            break;
        if (!first && column + 1 + (int)word > width) {
            jl_buf_printf(out, "\n%*s", indent, "");
            column = indent;
        } else if (!first) {
            jl_buf_str(out, " ");
            column++;
        }
        jl_buf_add(out, text, word);
        column += (int)word;
        text += word;
        first = false;
    }
    jl_buf_str(out, "\n");
}

/* Paragraphs are filled; lines that begin with a blank stay as they are. */
static void paragraphs(struct jl_buf *out, const char *text, int width)
{
    while (*text) {
        const char *end = strstr(text, "\n\n");
        size_t n = end ? (size_t)(end - text) : strlen(text);
        if (*text == ' ') {
            jl_buf_add(out, text, n);
            jl_buf_str(out, "\n");
        } else {
            text_wrap(out, text, n, 0, 0, width);
        }
        text += n;
        text += strspn(text, "\n");
        if (*text)
            jl_buf_str(out, "\n");
    }
}

void option_text(const struct option_row *row, char *buf, size_t size)
{
    int n = snprintf(buf, size, "%s%s", row->help, row->choices ? " One of " : "");
    for (const char *p = row->choices ? row->choices : ""; *p; p++)
        n += snprintf(buf + n, size - (size_t)n, "%c%s", *p, *p == ',' ? " " : p[1] ? "" : ".");
    if (row->def)
        snprintf(buf + n, size - (size_t)n, " Default: %s.", row->def);
}

static void option_lines(struct jl_buf *out, const struct option_row *row, int width)
{
    char left[80], text[512];
    const char letter[] = {'-', row->letter, ',', '\0'};
    int n = snprintf(left, sizeof left, "  %3s --%s%s%s", row->letter ? letter : "", row->name, row->arg ? " " : "",
                     row->arg ? row->arg : "");
    option_text(row, text, sizeof text);
    jl_buf_str(out, left);
    if (n + 2 > OPTION_COLUMN)
        jl_buf_printf(out, "\n%*s", OPTION_COLUMN, "");
    else
        jl_buf_printf(out, "%*s", OPTION_COLUMN - n, "");
    text_wrap(out, text, strlen(text), OPTION_COLUMN, OPTION_COLUMN, width);
}

static void option_block(struct jl_buf *out, const struct command *command, bool common, int width)
{
    for (size_t i = 0; i < option_count; i++)
        if (option_common(&option_table[i]) == common && option_taken(command, &option_table[i]))
            option_lines(out, &option_table[i], width);
}

static bool own_options(const struct command *command)
{
    for (size_t i = 0; i < option_count; i++)
        if (!option_common(&option_table[i]) && option_taken(command, &option_table[i]))
            return true;
    return false;
}

void help_command(struct jl_buf *out, const struct command *command, const struct report_style *style)
{
    int width = help_width(style);
    int title = 10 + (int)strlen(command->name);
    jl_buf_printf(out, "joulet %s - ", command->name);
    text_wrap(out, command->summary, strlen(command->summary), title, title, width);
    jl_buf_str(out, "\nUsage: ");
    text_wrap(out, command->usage, strlen(command->usage), 7, 11, width);
    jl_buf_str(out, "\n");
    paragraphs(out, command->about, width);
    if (own_options(command)) {
        heading(out, "Options", style);
        option_block(out, command, false, width);
    }
    heading(out, "Options of every command", style);
    option_block(out, command, true, width);
    if (command->examples) {
        heading(out, "Examples", style);
        for (const char *line = command->examples; *line;) {
            size_t n = strcspn(line, "\n");
            jl_buf_printf(out, "  %s%.*s\n", *line == ' ' ? "    " : "", (int)(n - strspn(line, " ")), line + strspn(line, " "));
            line += n + (line[n] == '\n');
        }
    }
}

void help_program(struct jl_buf *out, const struct report_style *style)
{
    int width = help_width(style);
    jl_buf_str(out, "joulet - joules per token: an energy meter for LLM inference\n\n"
                    "Usage: joulet COMMAND [OPTION]... [ARGUMENT]...\n");
    heading(out, "Commands", style);
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, "  %-*s", COMMAND_COLUMN - 2, (*c)->name);
        text_wrap(out, (*c)->summary, strlen((*c)->summary), COMMAND_COLUMN, COMMAND_COLUMN, width);
    }
    heading(out, "First steps", style);
    jl_buf_str(out, "  joulet doctor                      what can be measured here, and what not yet\n"
                    "  joulet run \"Why is the sky blue?\"  one answer and what it cost\n"
                    "  joulet exec -- make -j4            joules of any command\n");
    jl_buf_str(out, "\n");
    paragraphs(out,
               "'joulet COMMAND --help' shows the options of a command, 'man joulet' the settings file, the environment and the "
               "exit codes.",
               width);
}

/* ---- for programs ---------------------------------------------------------------------------------------------------------- */

static void json_text(struct jl_buf *out, bool *first, const char *key, const char *value)
{
    cli_json_key(out, first, key);
    cli_json_string(out, value);
}

/* Words of a list, which `gap` separates, as an array. */
static void json_words(struct jl_buf *out, bool *first, const char *key, const char *words, const char *gap)
{
    cli_json_key(out, first, key);
    jl_buf_str(out, "[");
    for (size_t k = 0; words && *words; k++) {
        char word[64];
        size_t n = strcspn(words, gap);
        snprintf(word, sizeof word, "%.*s", (int)n, words);
        jl_buf_str(out, k ? "," : "");
        cli_json_string(out, word);
        words += n;
        words += strspn(words, gap);
    }
    jl_buf_str(out, "]");
}

static void json_option(struct jl_buf *out, const struct option_row *row)
{
    static const char *const types[] = {"flag", "text", "whole number", "number", "duration", "choice", "list"};
    char letter[2] = {row->letter, '\0'}, env[64];
    bool first = true, limits = row->min != row->max;
    jl_buf_str(out, "{");
    json_text(out, &first, "name", row->name);
    json_text(out, &first, "letter", row->letter ? letter : NULL);
    json_text(out, &first, "type", types[row->type]);
    json_text(out, &first, "argument", row->arg);
    json_text(out, &first, "default", row->def);
    json_words(out, &first, "choices", row->choices, ",");
    cli_json_key(out, &first, "min");
    cli_json_number(out, limits ? row->min : NAN);
    cli_json_key(out, &first, "max");
    cli_json_number(out, limits ? row->max : NAN);
    json_text(out, &first, "environment", row->flag_only ? NULL : option_env(row, env, sizeof env));
    json_text(out, &first, "help", row->help);
    jl_buf_str(out, "}");
}

void help_command_json(struct jl_buf *out, const struct command *command)
{
    bool first = true;
    jl_buf_str(out, "{");
    json_text(out, &first, "name", command->name);
    json_text(out, &first, "summary", command->summary);
    json_text(out, &first, "usage", command->usage);
    json_words(out, &first, "verbs", command->verbs, " ");
    json_text(out, &first, "about", command->about);
    json_text(out, &first, "examples", command->examples);
    cli_json_key(out, &first, "options");
    jl_buf_str(out, "[");
    for (size_t i = 0, n = 0; i < option_count; i++)
        if (option_taken(command, &option_table[i])) {
            jl_buf_str(out, n++ ? ",\n  " : "\n  ");
            json_option(out, &option_table[i]);
        }
    jl_buf_str(out, "]}");
}

void help_program_json(struct jl_buf *out)
{
    jl_buf_str(out, "{\"version\":\"" JOULET_VERSION "\",\"commands\":[");
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_str(out, c == command_table ? "\n" : ",\n");
        help_command_json(out, *c);
    }
    jl_buf_str(out, "]}");
}
