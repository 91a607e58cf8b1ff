/* cmd_exec.c - joules of one command from start to exit, like perf stat. stdin, stdout, stderr and the exit code are the child's;
 * our own result goes to stderr or to -o FILE. */
#include "cli/session.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

#define AFTER_S 2.0  /* short baseline: the level after the run is looked for this long (4.2) */
#define COVER_S 0.25 /* with a stored baseline: only until the sensors have covered the end */

static char *joined(char **argv)
{
    struct jl_buf b;
    jl_buf_init(&b, 64 << 10);
    for (size_t i = 0; argv[i]; i++)
        jl_buf_printf(&b, "%s%s", i ? " " : "", argv[i]);
    return jl_buf_take(&b);
}

static void leave_it(int signal_number)
{
    (void)signal_number;
}

/* The terminal sends Ctrl-C to the child as well; it decides. SIGTERM comes to us alone and is passed on. */
static void wait_for(struct jl_process *p)
{
    bool passed = false;
    while (!jl_process_wait(p, 0.1))
        if (!passed && atomic_load(&cli_signal) == SIGTERM) {
            kill((pid_t)p->pid, SIGTERM);
            passed = true;
        }
}

static void after_run(struct session *s, bool stored, joulet_mark from, joulet_mark to)
{
    joulet_mark until = to + jl_ns(stored ? COVER_S : AFTER_S);
    jl_sleep_until(until);
    if (!stored)
        session_baseline_short(s, from, to + jl_ns(AFTER_S) - JL_NS_PER_S, until);
    session_window(s, "run", from, to, s->idle, true);
    if (!s->run.n_windows)
        return;
    /* The run's energy is that of its one window. */
    struct run_energy *e = &s->run.windows[s->run.n_windows - 1].energy;
    for (size_t i = 0; i < e->n_channels; i++)
        run_energy_add_channel(&s->run.energy, e->channels[i].channel, &e->channels[i].e);
    run_energy_total(&s->run, &s->run.energy);
}

static int show(struct session *s)
{
    const struct cli *c = s->cli;
    struct jl_buf out;
    struct joulet_error err;
    int code = CLI_DONE;
    jl_buf_init(&out, (size_t)64 << 20);
    if (cli_json(c)) {
        if (run_to_json(&s->run, &out, &err) != JOULET_OK)
            code = cli_fail(c, &err);
    } else {
        report_block(&out, &s->run, NULL, cli_style(c));
    }
    if (code == CLI_DONE && cli_str(c, "output"))
        code = cli_result(c, out.data, out.len);
    else if (code == CLI_DONE)
        fwrite(out.data, 1, out.len, stderr); /* stdout belongs to the child */
    jl_buf_release(&out);
    return code == CLI_DONE ? CLI_DONE : CLI_EXEC_FAILED;
}

static int start_failed(const struct cli *c, const struct joulet_error *err)
{
    cli_warn(c, "%s", err->message);
    return err->status == JOULET_NOT_FOUND    ? CLI_EXEC_NOT_FOUND
           : err->status == JOULET_PERMISSION ? CLI_EXEC_NOT_RUN
                                              : CLI_EXEC_FAILED;
}

static int exec_run(struct cli *c, int argc, char **argv)
{
    struct session s;
    struct joulet_error err;
    if (argc < 1) {
        cli_usage(c, "exec needs a command: joulet exec -- COMMAND [ARG]...");
        return CLI_EXEC_FAILED;
    }
    int code = session_open(&s, c, "exec");
    if (code != CLI_DONE)
        return CLI_EXEC_FAILED;
    s.run.argv = cli_flag(c, "private") ? jl_strdup(argv[0]) : joined(argv);
    session_begin(&s);
    bool stored = session_prepare(&s);
    struct jl_process child = {0};
    struct jl_spawn what = {.argv = (const char *const *)argv, .keep = true};
    signal(SIGINT, leave_it); /* handlers, unlike SIG_IGN, are not inherited by the command */
    signal(SIGQUIT, leave_it);
    joulet_mark from = joulet_mark_now(s.meter);
    if (jl_spawn(&child, &what, &err) != JOULET_OK) {
        code = start_failed(c, &err);
        s.run.exit_code = code;
        session_finish(&s, "failed");
        session_close(&s);
        return code;
    }
    wait_for(&child);
    joulet_mark to = joulet_mark_now(s.meter);
    s.run.exit_code = child.status;
    after_run(&s, stored, from, to);
    session_finish(&s, "done");
    code = show(&s);
    session_close(&s);
    return code == CLI_DONE ? child.status : code;
}

const struct command cmd_exec = {
    .name = "exec",
    .summary = "measure one command from start to exit",
    .usage = "joulet exec [OPTION]... -- COMMAND [ARG]...",
    .options = "sensors sim replay interval trust-root measured-only json output title private grid pue price currency db "
               "no-store width color",
    .about =
        "Runs COMMAND and measures the energy that this machine draws until it exits. The command keeps its input, output and\n"
        "exit code; the result goes to stderr, or to the file of -o. Our own failures exit with 125, a command that cannot be\n"
        "run with 126, one that is not found with 127.\n"
        "\n"
        "The idle level is the one stored for this machine less than 10 minutes ago, else the second before the command and\n"
        "the level after it; then the result says `short baseline`. `joulet bench` takes a long one.",
    .examples = "joulet exec -- make -j4\n  joules of a build\n"
                "joulet exec --json -o energy.json -- ./train.sh\n  the record as JSON, the command's output untouched\n",
    .stop_at_operand = true,
    .run = exec_run,
};
