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

/* Handlers, unlike SIG_IGN, are not inherited by the command; what it is to ignore, as under nohup, stays so. */
static void leave_to_the_command(int signal_number)
{
    if (signal(signal_number, leave_it) == SIG_IGN)
        signal(signal_number, SIG_IGN);
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
    bool whole = session_wait_until(until); /* who interrupts waits no longer: then only the level before is known */
    if (!stored)
        session_baseline_short(s, from, whole ? until - JL_NS_PER_S : 0, whole ? until : 0, "no idle level: ");
    session_window(s, "run", from, to, s->idle, true);
    if (!s->run.n_windows)
        return;
    session_flag_window(s, &s->run.windows[s->run.n_windows - 1]);
    /* The run's energy is that of its one window. */
    struct run_energy *e = &s->run.windows[s->run.n_windows - 1].energy;
    for (size_t i = 0; i < e->n_channels; i++)
        run_energy_add_channel(&s->run.energy, e->channels[i].channel, &e->channels[i].e);
    session_total(s, &s->run.energy);
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

/* Only when asked for, and not again while the last one holds: the level is stored for the commands that follow. */
static bool long_baseline(struct session *s)
{
    int64_t baseline_ns = cli_given(s->cli, "baseline") ? cli_duration_ns(s->cli, "baseline") : 0;
    if (baseline_ns <= 0 || session_baseline_stored(s))
        return baseline_ns > 0;
    joulet_mark from = joulet_mark_now(s->meter);
    session_wait_until(from + baseline_ns);
    joulet_mark to = joulet_mark_now(s->meter);
    joulet_wait_covered(s->meter, to, 3.0, NULL);
    session_baseline(s, from, to);
    session_window(s, "idle", from, to, s->idle, false);
    return true;
}

/* Returns the exit code; CLI_DONE: it has ended, and s->run.exit_code is its own. */
static int run_command(struct session *s, char **argv)
{
    struct joulet_error err;
    struct jl_process child = {0};
    struct jl_spawn what = {.argv = (const char *const *)argv, .keep = true};
    bool stored = long_baseline(s) || session_prepare(s);
    if (atomic_load(&cli_cancel)) {
        cli_warn(s->cli, "interrupted before %s was started", argv[0]);
        return session_exit(s, CLI_EXEC_FAILED);
    }
    leave_to_the_command(SIGINT);
    leave_to_the_command(SIGQUIT);
    s->watch.command = true;
    session_watch(s);
    joulet_mark from = joulet_mark_now(s->meter);
    if (jl_spawn(&child, &what, &err) != JOULET_OK)
        return start_failed(s->cli, &err);
    wait_for(&child);
    joulet_mark to = joulet_mark_now(s->meter);
    session_watched(s);
    s->run.exit_code = child.status;
    after_run(s, stored, from, to);
    return CLI_DONE;
}

static int exec_run(struct cli *c, int argc, char **argv)
{
    struct session s;
    if (argc < 1) {
        cli_usage(c, "exec needs a command: joulet exec -- COMMAND [ARG]...");
        return CLI_EXEC_FAILED;
    }
    if (session_open(&s, c, "exec") != CLI_DONE)
        return CLI_EXEC_FAILED;
    s.run.argv = cli_flag(c, "private") ? jl_strdup(argv[0]) : joined(argv);
    session_begin(&s);
    int code = run_command(&s, argv);
    bool ran = code == CLI_DONE;
    if (!ran)
        s.run.exit_code = code;
    session_finish(&s, atomic_load(&cli_signal) ? "interrupted" : ran ? "done" : "failed");
    if (ran) {
        code = show(&s);
        code = code == CLI_DONE ? (int)s.run.exit_code : code;
    }
    session_close(&s);
    return code;
}

const struct command cmd_exec = {
    .name = "exec",
    .summary = "measure one command from start to exit",
    .usage = "joulet exec [OPTION]... -- COMMAND [ARG]...",
    .options =
        "baseline sensors meter sim replay interval trust-root calibration measured-only json output title private place grid "
        "grid-series "
        "grid-command pue wue embodied-kg lifetime-years price tariff device-hour currency db "
        "no-store width color",
    .about =
        "Runs COMMAND and measures the energy that this machine draws until it exits. The command keeps its input, output and\n"
        "exit code; the result goes to stderr, or to the file of -o. Our own failures exit with 125, a command that cannot be\n"
        "run with 126, one that is not found with 127.\n"
        "\n"
        "Beside the whole stands the command's part of it by processor time, with that of the processes it waited for.\n"
        "\n"
        "The idle level is the one stored for this machine less than 10 minutes ago, else that of the second before the command\n"
        "and of the level after it; then the result says `short baseline`. --baseline 10s takes and stores a long one first.",
    .examples = "joulet exec -- make -j4\n  joules of a build\n"
                "joulet exec --baseline 10s -- ./train.sh\n  above a well-known idle level\n"
                "joulet exec --json -o energy.json -- ./train.sh\n  the record as JSON, the command's output untouched\n",
    .stop_at_operand = true,
    .run = exec_run,
};
