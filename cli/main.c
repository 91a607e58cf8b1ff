/* main.c - finds the command, reads its options, runs it. */
#include "cli/parse.h"
#include "server/recognise_apart.h"

#include <stdio.h>
#include <string.h>

/* Stands for "no command yet": --help and --version of the program itself. */
static const struct command program = {.name = "", .options = ""};

static int no_command(const char *name)
{
    const char *names[32];
    size_t n = 0;
    for (const struct command *const *c = command_table; *c && n < JL_COUNT(names); c++)
        names[n++] = (*c)->name;
    const struct cli c = {.command = &program};
    const char *best = cli_nearest(name, names, n);
    if (best)
        return cli_usage(&c, "there is no command '%s'; did you mean '%s'?", name, best);
    return cli_usage(&c, "there is no command '%s'", name);
}

/* joulet --help, joulet --version, joulet without anything. */
static int run_program(int argc, char **argv)
{
    struct cli c;
    int rc = cli_parse(&c, &program, argc, argv);
    if (rc == CLI_DONE && cli_flag(&c, "version")) {
        rc = cli_result(&c, "joulet " JOULET_VERSION "\n", strlen("joulet " JOULET_VERSION "\n"));
    } else if (rc == CLI_DONE && c.n_operands) {
        rc = cli_usage(&c, "options come after the command, as in joulet %s %s", c.operands[0], argv[1]);
    } else if (rc == CLI_DONE) {
        struct jl_buf out;
        jl_buf_init(&out, 1 << 16);
        help_program(&out, &c.style);
        bool asked = cli_flag(&c, "help");
        rc = asked ? cli_result(&c, out.data, out.len) : CLI_USAGE;
        if (!asked)
            fwrite(out.data, 1, out.len, stderr);
        jl_buf_release(&out);
    }
    cli_release(&c);
    return rc;
}

static int show_help(struct cli *c)
{
    struct jl_buf out;
    jl_buf_init(&out, 1 << 16);
    help_command(&out, c->command, &c->style);
    int rc = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    return rc;
}

static int run_command(const struct command *command, int argc, char **argv)
{
    struct cli c;
    int rc = cli_parse(&c, command, argc, argv);
    if (rc != CLI_DONE && command->stop_at_operand)
        rc = CLI_EXEC_FAILED; /* 2 could be the code of the user's command */
    else if (rc == CLI_DONE && cli_flag(&c, "help"))
        rc = show_help(&c);
    else if (rc == CLI_DONE && cli_flag(&c, "version"))
        rc = cli_result(&c, "joulet " JOULET_VERSION "\n", strlen("joulet " JOULET_VERSION "\n"));
    else if (rc == CLI_DONE)
        rc = command->run(&c, (int)c.n_operands, c.operands);
    rc = cli_finish(&c, rc);
    cli_release(&c);
    return rc;
}

int main(int argc, char **argv)
{
    int code;
    if (apart_main(argc, argv, &code))
        return code;
    terminal_streams();
    terminal_signals();
    if (argc < 2 || argv[1][0] == '-')
        return run_program(argc, argv);
    const struct command *command = command_find(argv[1]);
    return command ? run_command(command, argc - 1, argv + 1) : no_command(argv[1]);
}
