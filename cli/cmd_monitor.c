/* cmd_monitor.c - live power of every channel and their energy so far, as a screen, lines, CSV or JSON; percentiles at the end.
 * Light on purpose: no database, no engine, memory that does not grow. */
#include "cli/monitor.h"
#include "cli/parse.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define READY_S      5.0      /* vendor libraries that take longer are left out */
#define FAST_POLL_NS 10000000 /* sensors are polled every 10 ms anyway: only faster rows need more */
#define COVER_MAX_S  0.25     /* longest wait for updates of slow devices before a row */
#define HEADER_EVERY 20       /* lines on a terminal */
#define BATCH_BYTES  ((size_t)256 << 20)

struct monitor {
    const struct cli *cli;
    struct live live;
    struct screen *screen;       /* NULL: lines */
    struct processes *processes; /* NULL: not asked for */
    enum monitor_form form;
    struct monitor_columns columns;
    bool batch, terminal;
    struct jl_buf out; /* the row, or all of them in a batch */
    int64_t interval_ns, samples;
    uint64_t rows;
    size_t told; /* problems that were said */
};

/* ---- rows out ----------------------------------------------------------------------------------------------------- */

/* False when nobody reads any more, or the disk or memory is full. */
static bool hand_on(struct monitor *m)
{
    if (m->out.failed) {
        cli_warn(m->cli, "--batch holds at most %zu MiB of rows, and that is reached; the rows until here follow",
                 BATCH_BYTES >> 20);
        m->out.failed = false;
        return false;
    }
    if (m->batch)
        return true;
    FILE *f = cli_out(m->cli);
    if (!f)
        return false;
    fwrite(m->out.data, 1, m->out.len, f);
    jl_buf_clear(&m->out);
    return cli_flush(m->cli);
}

static bool emit_header(struct monitor *m)
{
    if (m->screen)
        return true;
    if (m->processes && m->form == MONITOR_CSV)
        processes_csv_header(&m->out);
    else
        monitor_header(&m->out, &m->live, m->form, m->columns);
    return m->form == MONITOR_JSON || hand_on(m);
}

/* Sensors that exist and are not read, a calibration that cannot be used, and what leaves or falls silent later: not in the rows.
 */
static void warn_of_problems(struct monitor *m)
{
    struct joulet_problem p;
    for (; !m->screen && m->told < joulet_problem_count(m->live.meter); m->told++)
        if (joulet_problem_get(m->live.meter, m->told, &p) == JOULET_OK)
            cli_warn(m->cli, "%s", p.message);
}

static bool emit_row(struct monitor *m, joulet_mark from)
{
    m->rows++;
    struct joulet_error err;
    live_count(&m->live, jl_s(m->live.last - from));
    if (m->processes && !processes_row(m->processes, &m->live, jl_s(m->live.last - from), &err)) {
        cli_warn(m->cli, "%s", err.message);
        return false;
    }
    if (m->screen) {
        screen_row(m->screen, &m->live, m->processes);
        return true;
    }
    if (m->terminal && m->form == MONITOR_TEXT && !m->batch && m->rows % HEADER_EVERY == 0)
        monitor_header(&m->out, &m->live, m->form, m->columns);
    monitor_row(&m->out, &m->live, from, m->form, m->columns, m->processes, cli_style(m->cli));
    return hand_on(m);
}

/* ---- time --------------------------------------------------------------------------------------------------------- */

/* False when the user ends it. */
static bool wait_until(struct monitor *m, joulet_mark t_ns)
{
    if (m->screen)
        return screen_until(m->screen, &m->live, t_ns) && !atomic_load(&cli_cancel);
    return terminal_wait_until(t_ns);
}

/* Where the next row ends: after a stall one longer row, not several late ones. */
static joulet_mark next_end(const struct monitor *m)
{
    joulet_mark next = m->live.last + m->interval_ns, now = joulet_now();
    if (now > next + m->interval_ns)
        next += (now - next) / m->interval_ns * m->interval_ns;
    return next;
}

static void watch(struct monitor *m)
{
    double cover_s = fmin(jl_s(m->interval_ns) / 2, COVER_MAX_S); /* a whole interval would make every row late */
    bool on = emit_header(m);
    while (on && (m->samples < 0 || m->rows < (uint64_t)m->samples)) {
        joulet_mark from = m->live.last, end = next_end(m);
        bool whole = wait_until(m, end);
        if (!whole)
            end = joulet_mark_now(m->live.meter);
        joulet_wait_covered(m->live.meter, end, cover_s, NULL);
        live_row(&m->live, end); /* what was measured until the end is in the energies */
        if (!whole && m->rows)
            break;
        on = emit_row(m, from) && whole;
        warn_of_problems(m);
    }
}

/* ---- the command -------------------------------------------------------------------------------------------------- */

static int finish(struct monitor *m)
{
    int code = CLI_DONE, sig = atomic_load(&cli_signal);
    screen_close(m->screen);
    m->screen = NULL;
    warn_of_problems(m);
    jl_memory_trim();
    if (m->batch && m->rows)
        code = cli_result(m->cli, m->out.data, m->out.len);
    if (m->rows && !cli_flag(m->cli, "quiet")) {
        jl_buf_clear(&m->out);
        monitor_summary(&m->out, &m->live, cli_style(m->cli));
        fwrite(m->out.data, 1, m->out.len, stderr);
    }
    jl_buf_release(&m->out);
    processes_close(m->processes);
    live_close(&m->live);
    return code != CLI_DONE ? code : sig ? 128 + sig : CLI_DONE;
}

static int monitor_run(struct cli *c, int argc, char **argv)
{
    struct monitor m = {.cli = c};
    if (argc > 0)
        return cli_usage(c, "monitor takes no argument '%s'; `joulet exec -- %s` measures a command", argv[0], argv[0]);
    if (cli_json(c) && cli_flag(c, "csv"))
        return cli_usage(c, "--json and --csv exclude each other");
    if (cli_flag(c, "stream") && cli_flag(c, "batch"))
        return cli_usage(c, "--stream and --batch exclude each other");
    m.form = cli_json(c) ? MONITOR_JSON : cli_flag(c, "csv") ? MONITOR_CSV : MONITOR_TEXT;
    m.batch = cli_flag(c, "batch");
    m.terminal = terminal_is(STDOUT_FILENO) && !cli_given(c, "output");
    m.samples = cli_int(c, "samples", -1);
    m.interval_ns = cli_given(c, "interval") ? cli_duration_ns(c, "interval") : JL_NS_PER_S;
    jl_buf_init(&m.out, m.batch ? BATCH_BYTES : 1 << 20);
    jl_memory_trim(); /* here, after opening and at the end: what only one of them needs is not held while others run */
    int code = live_open(&m.live, c, m.interval_ns < FAST_POLL_NS ? m.interval_ns : 0, READY_S);
    if (code != CLI_DONE)
        return code;
    jl_memory_trim();
    warn_of_problems(&m);
    struct joulet_error err;
    if (cli_flag(c, "processes") && !(m.processes = processes_open(&m.live, &err))) {
        live_close(&m.live);
        jl_buf_release(&m.out);
        return cli_fail(c, &err);
    }
    m.columns = monitor_columns_for(&m.live, cli_style(c));
    if (m.terminal && m.form == MONITOR_TEXT && !m.batch && !cli_flag(c, "stream") && terminal_is(STDIN_FILENO))
        screen_open(&m.screen, &m.live, m.processes, cli_style(c), jl_s(m.interval_ns));
    watch(&m);
    return finish(&m);
}

const struct command cmd_monitor = {
    .name = "monitor",
    .summary = "show live power of every channel and the energy so far",
    .usage = "joulet monitor [OPTION]...",
    .options = "interval samples processes csv stream batch sensors meter sim replay trust-root calibration measured-only",
    .about =
        "Shows what every channel of every sensor draws, and the energy since the start: as a live screen on a terminal (q ends, "
        "space pauses), as lines in a pipe or with --stream, and with --batch all at once at the end. Energy is as the sensors "
        "saw it "
        "(gross), for channels in the total added up once. A figure that could not be read is shown as -, never as 0.\n\n"
        "At the end minimum, mean, maximum, median and 95th percentile of the rows go to standard error. Ctrl-C ends it and "
        "keeps "
        "what was measured.\n\n"
        "With --json every row is one object: `time` and `t_ns` of its end (monotonic clock), `dt_s` its length, `channels` with "
        "`power_w` and `energy` of each (or `value_c`, `value_hz`, `value_share`, `value_bytes` for what is not power), and "
        "`total`. "
        "With --csv the same figures stand in columns.\n\n"
        "With --processes the energy of the CPU is shared out by processor time: the busiest processes on the screen and below "
        "each line, `processes` in JSON, and with --csv a row for each process in place of the channels. It is a share of time, "
        "blind to GPUs; what ended meanwhile is in the rest.",
    .examples = "joulet monitor\n  live screen\n"
                "joulet monitor --interval 100ms --samples 600 --csv -o power.csv\n  one minute, ten rows a second, to a file\n"
                "joulet monitor --json | jq .total.power_w\n  the total, second by second\n"
                "joulet monitor --processes\n  who uses the CPU's energy\n",
    .run = monitor_run,
};
