/* completion.c - completion rules for bash, zsh and fish, drawn from the tables. */
#include "cli/parse.h"

#include <string.h>

/* What an argument completes to. */
static bool takes_file(const struct option_row *row)
{
    return row->arg && jl_word_in("FILE,CURVE,MODEL,SUITE,ENGINE", ',', row->arg);
}

/* Text inside quotes of the shell: every character of `special` is written as `escape` and itself. */
static void escaped(struct jl_buf *out, const char *text, const char *special, const char *escape)
{
    for (const char *p = text; *p; p++) {
        if (*p == '\'')
            jl_buf_str(out, "'\\''");
        else
            jl_buf_printf(out, "%s%c", strchr(special, *p) ? escape : "", *p);
    }
}

/* Words to choose from, whether others are taken too or not; NULL: there are none. */
static const char *offered(const struct option_row *row)
{
    return row->choices ? row->choices : row->words;
}

static void with_blanks(struct jl_buf *out, const char *words)
{
    for (const char *p = words; *p; p++)
        jl_buf_printf(out, "%c", *p == ',' ? ' ' : *p);
}

static void command_names(struct jl_buf *out)
{
    for (const struct command *const *c = command_table; *c; c++)
        jl_buf_printf(out, "%s%s", c == command_table ? "" : " ", (*c)->name);
}

static void verbs(struct jl_buf *out, const struct command *command)
{
    if (command->verbs)
        jl_buf_str(out, command->verbs);
    else if (strcmp(command->name, "help") == 0)
        command_names(out);
}

static bool has_verbs(const struct command *command)
{
    return command->verbs || strcmp(command->name, "help") == 0;
}

/* ---- bash --------------------------------------------------------------------------------------------------------- */

static void bash_values(struct jl_buf *out)
{
    for (size_t i = 0; i < option_count; i++) {
        const struct option_row *row = &option_table[i];
        if (!row->arg)
            continue;
        jl_buf_printf(out, "        --%s", row->name);
        if (row->letter)
            jl_buf_printf(out, " | -%c", row->letter);
        if (offered(row)) {
            jl_buf_str(out, ") mapfile -t COMPREPLY < <(compgen -W '");
            with_blanks(out, offered(row));
            jl_buf_str(out, "' -- \"$cur\"); return ;;\n");
        } else {
            jl_buf_printf(out, ") %sreturn ;;\n", takes_file(row) ? "mapfile -t COMPREPLY < <(compgen -f -- \"$cur\"); " : "");
        }
    }
}

static void bash_commands(struct jl_buf *out)
{
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, "        %s)\n            verbs='", (*c)->name);
        verbs(out, *c);
        jl_buf_str(out, "'\n            options='");
        for (size_t i = 0, n = 0; i < option_count; i++)
            if (option_taken(*c, &option_table[i]))
                jl_buf_printf(out, "%s--%s", n++ ? " " : "", option_table[i].name);
        jl_buf_str(out, "' ;;\n");
    }
}

static void bash_script(struct jl_buf *out)
{
    jl_buf_str(out, "# bash completion for joulet; made by 'joulet help --completion bash'\n"
                    "_joulet() {\n"
                    "    local cur=${COMP_WORDS[COMP_CWORD]} prev=${COMP_WORDS[COMP_CWORD-1]} verbs='' options=''\n"
                    "    COMPREPLY=()\n"
                    "    if [ \"$cur\" = = ]; then cur=''; "
                    "elif [ \"$prev\" = = ]; then prev=${COMP_WORDS[COMP_CWORD-2]}; fi\n"
                    "    if [ \"$COMP_CWORD\" -eq 1 ]; then\n        mapfile -t COMPREPLY < <(compgen -W '");
    command_names(out);
    jl_buf_str(out, " --help --version' -- \"$cur\")\n        return\n    fi\n    case $prev in\n");
    bash_values(out);
    jl_buf_str(out, "    esac\n    case ${COMP_WORDS[1]} in\n");
    bash_commands(out);
    jl_buf_str(out, "    esac\n"
                    "    if [ \"${cur#-}\" != \"$cur\" ]; then\n"
                    "        mapfile -t COMPREPLY < <(compgen -W \"$options\" -- \"$cur\")\n"
                    "    elif [ -n \"$verbs\" ] && [ \"$COMP_CWORD\" -eq 2 ]; then\n"
                    "        mapfile -t COMPREPLY < <(compgen -W \"$verbs\" -- \"$cur\")\n"
                    "    else\n"
                    "        mapfile -t COMPREPLY < <(compgen -f -- \"$cur\")\n"
                    "    fi\n"
                    "}\n"
                    "complete -o filenames -o bashdefault -F _joulet joulet\n");
}

/* ---- zsh ---------------------------------------------------------------------------------------------------------- */

static void zsh_option(struct jl_buf *out, const struct option_row *row)
{
    if (row->letter)
        jl_buf_printf(out, " \\\n            '(-%c --%s)'{-%c,--%s}'[", row->letter, row->name, row->letter, row->name);
    else
        jl_buf_printf(out, " \\\n            '%s--%s[", row->type == OPTION_LIST ? "*" : "", row->name);
    escaped(out, row->help, "[]:", "\\");
    jl_buf_str(out, "]");
    if (offered(row)) {
        jl_buf_printf(out, ":%s:(", row->arg);
        with_blanks(out, offered(row));
        jl_buf_str(out, ")");
    } else if (row->arg) {
        jl_buf_printf(out, ":%s:%s", row->arg, takes_file(row) ? "_files" : "");
    }
    jl_buf_str(out, "'");
}

static void zsh_script(struct jl_buf *out)
{
    jl_buf_str(out, "#compdef joulet\n# zsh completion for joulet; made by 'joulet help --completion zsh'\n_joulet() {\n"
                    "    local -a commands\n    local state line\n    commands=(\n");
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, "        '%s:", (*c)->name);
        escaped(out, (*c)->summary, "", "");
        jl_buf_str(out, "'\n");
    }
    jl_buf_str(out,
               "    )\n"
               "    _arguments -C '(- *)'{-h,--help}'[Show help and stop.]' '(- *)--version[Show the version and stop.]' \\\n"
               "        '1:command:->command' '*::argument:->argument'\n"
               "    case $state in\n"
               "    command) _describe command commands ;;\n"
               "    argument)\n"
               "        case $words[1] in\n");
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, "        %s) _arguments", (*c)->name);
        for (size_t i = 0; i < option_count; i++)
            if (option_taken(*c, &option_table[i]))
                zsh_option(out, &option_table[i]);
        if (has_verbs(*c)) {
            jl_buf_str(out, " \\\n            '1:what:(");
            verbs(out, *c);
            jl_buf_str(out, ")'");
        }
        jl_buf_printf(out, " \\\n            '*%s' ;;\n", (*c)->stop_at_operand ? "::command:_normal" : ":argument:_files");
    }
    jl_buf_str(out, "        esac ;;\n    esac\n}\n"
                    "if [ \"$funcstack[1]\" = _joulet ]; then _joulet \"$@\"; else compdef _joulet joulet; fi\n");
}

/* ---- fish --------------------------------------------------------------------------------------------------------- */

static void fish_option(struct jl_buf *out, const struct command *command, const struct option_row *row)
{
    jl_buf_printf(out, "complete -c joulet -n '__fish_seen_subcommand_from %s' -l %s", command->name, row->name);
    if (row->letter)
        jl_buf_printf(out, " -s %c", row->letter);
    if (offered(row)) {
        jl_buf_str(out, " -x -a '");
        with_blanks(out, offered(row));
        jl_buf_str(out, "'");
    } else if (row->arg) {
        jl_buf_str(out, takes_file(row) ? " -r -F" : " -x");
    }
    jl_buf_str(out, " -d '");
    /* Inside single quotes fish knows \' and \\ only. */
    for (const char *p = row->help; *p; p++)
        jl_buf_printf(out, "%s%c", *p == '\'' || *p == '\\' ? "\\" : "", *p);
    jl_buf_str(out, "'\n");
}

static void fish_script(struct jl_buf *out)
{
    jl_buf_str(out, "# fish completion for joulet; made by 'joulet help --completion fish'\n"
                    "complete -c joulet -n __fish_use_subcommand -f -s h -l help -d 'Show help and stop.'\n"
                    "complete -c joulet -n __fish_use_subcommand -f -l version -d 'Show the version and stop.'\n");
    for (const struct command *const *c = command_table; *c; c++) {
        jl_buf_printf(out, "complete -c joulet -n __fish_use_subcommand -f -a %s -d '", (*c)->name);
        for (const char *p = (*c)->summary; *p; p++)
            jl_buf_printf(out, "%s%c", *p == '\'' || *p == '\\' ? "\\" : "", *p);
        jl_buf_str(out, "'\n");
        if (has_verbs(*c)) {
            jl_buf_printf(out, "complete -c joulet -n '__fish_seen_subcommand_from %s' -f -a '", (*c)->name);
            verbs(out, *c);
            jl_buf_str(out, "'\n");
        }
        for (size_t i = 0; i < option_count; i++)
            if (option_taken(*c, &option_table[i]))
                fish_option(out, *c, &option_table[i]);
    }
}

void completion_script(struct jl_buf *out, const char *shell)
{
    if (strcmp(shell, "bash") == 0)
        bash_script(out);
    else if (strcmp(shell, "zsh") == 0)
        zsh_script(out);
    else
        fish_script(out);
}
