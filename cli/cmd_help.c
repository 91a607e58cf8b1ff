/* cmd_help.c - help on the terminal; manual pages and completion rules for the build. */
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

static int help_run(struct cli *c, int argc, char **argv)
{
    const struct command *command = argc > 0 ? command_find(argv[0]) : NULL;
    const char *shell = cli_str(c, "completion");
    if (argc > 1)
        return cli_usage(c, "help is about one command at a time");
    struct jl_buf out;
    jl_buf_init(&out, 1 << 20);
    if (argc == 1 && !command && !trouble_entry(&out, argv[0], cli_style(c))) {
        jl_buf_release(&out);
        return cli_usage(c, "there is no command and no fault called '%s'", argv[0]);
    }
    if (argc == 1 && !command)
        return hand_over(c, &out);
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
             "place when joulet is installed; they can also be written by hand.",
    .examples = "joulet help run\n  options and examples of run\n"
                "joulet help rapl-permission\n  what a fault means and what to do\n"
                "joulet help --man monitor | man -l -\n  the manual page of monitor\n"
                "joulet help --completion fish -o ~/.config/fish/completions/joulet.fish\n  completion for one user\n",
    .run = help_run,
};
