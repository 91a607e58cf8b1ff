/* cmd_help.c - help on the terminal; manual pages and completion rules for the build. */
#include "cli/json.h"
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>

static int hand_over(struct cli *c, struct jl_buf *out)
{
    int rc = CLI_FAILED;
    if (out->failed)
        cli_warn(c, "out of memory; end other programs and try again");
    else
        rc = cli_result(c, out->data, out->len);
    jl_buf_release(out);
    return rc;
}

static int fault_run(struct cli *c, const char *name, bool json)
{
    struct jl_buf out, text;
    jl_buf_init(&text, 1 << 20);
    if (!trouble_entry(&text, name, cli_style(c))) {
        jl_buf_release(&text);
        return cli_usage(c, "there is no command and no fault called '%s'", name);
    }
    if (!json)
        return hand_over(c, &text);
    bool first = true;
    jl_buf_init(&out, 1 << 20);
    jl_buf_str(&out, "{");
    cli_json_key(&out, &first, "fault");
    cli_json_string(&out, name);
    cli_json_key(&out, &first, "text");
    cli_json_string(&out, text.data);
    jl_buf_str(&out, "}\n");
    jl_buf_release(&text);
    return hand_over(c, &out);
}

static int json_run(struct cli *c, const struct command *command)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    if (command)
        help_command_json(&out, command);
    else
        help_program_json(&out);
    jl_buf_str(&out, "\n");
    return hand_over(c, &out);
}

static int help_run(struct cli *c, int argc, char **argv)
{
    const struct command *command = argc > 0 ? command_find(argv[0]) : NULL;
    const char *shell = cli_str(c, "completion");
    if (argc > 1)
        return cli_usage(c, "help is about one command at a time");
    if (argc == 1 && !command)
        return fault_run(c, argv[0], cli_json(c));
    if (cli_json(c) && !shell && !cli_flag(c, "man")) /* those have a form of their own */
        return json_run(c, command);
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    if (shell)
        completion_script(&out, shell);
    else if (cli_flag(c, "man"))
        man_page(&out, command);
    else if (command)
        help_command(&out, command, cli_style(c));
    else
        help_program(&out, cli_style(c));
    return hand_over(c, &out);
}

const struct command cmd_help = {
    .name = "help",
    .summary = "show help, manual pages and completion rules",
    .usage = "joulet help [--man | --completion SHELL] [COMMAND | FAULT]",
    .options = "man completion",
    .about = "Shows the commands, the options of one, or what there is to say about a fault that joulet has named. Manual pages "
             "and completion rules come from the same tables and are put in "
             "place when joulet is installed; they can also be written by hand. With --json, the commands with their options as "
             "objects, one of them, or a fault.",
    .examples = "joulet help run\n  options and examples of run\n"
                "joulet help rapl-permission\n  what a fault means and what to do\n"
                "joulet help --man monitor | man -l -\n  the manual page of monitor\n"
                "joulet help --completion fish -o ~/.config/fish/completions/joulet.fish\n  completion for one user\n",
    .run = help_run,
};
