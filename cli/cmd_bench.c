/* cmd_bench.c - a plan, measured: prompts through one configuration or through many; every request a window with energy. */
#include "cli/bench.h"
#include "cli/session_span.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* What no engine could answer is refused before one is started. */
static int check_prompts(const struct bench *b)
{
    struct joulet_error err;
    for (size_t i = 0; i < b->m.n_cells; i++) {
        const struct plan *set = &b->m.sets[b->m.cells[i].set];
        for (size_t k = 0; k < set->n; k++) {
            struct generation q = bench_ask(b, i, &set->prompts[k]);
            if (engine_check(&q, &err) != JOULET_OK)
                return cli_usage(b->s.cli, "%s", err.message);
        }
    }
    return CLI_DONE;
}

/* ---- the end ----------------------------------------------------------------------------------------------------- */

static int show(struct bench *b)
{
    const struct cli *c = b->s.cli;
    struct jl_buf out;
    struct joulet_error err;
    int code = CLI_DONE;
    jl_buf_init(&out, (size_t)512 << 20);
    if (cli_json(c)) {
        if (run_to_json(&b->s.run, &out, &err) != JOULET_OK)
            code = cli_fail(c, &err);
    } else {
        report_table(&out, &b->s.run, cli_style(c));
        if (b->s.saved)
            jl_buf_printf(&out, "Record: joulet runs show %s   (%s)\n", b->s.run.id, store_path(b->s.store));
    }
    if (code == CLI_DONE)
        code = cli_result(c, out.data, out.len);
    jl_buf_release(&out);
    return code;
}

static bool any_ok(const struct run *r)
{
    for (size_t i = 0; i < r->n_requests; i++)
        if (!r->requests[i].warmup && r->requests[i].outcome == RUN_OK)
            return true;
    return false;
}

static size_t finished_before(const struct bench *b)
{
    size_t n = 0;
    for (size_t i = 0; i < b->n_finished; i++)
        n += b->finished[i];
    return n;
}

static void interrupted(const struct bench *b)
{
    size_t done = b->done + finished_before(b);
    if (b->s.saved)
        cli_warn(
            b->s.cli,
            "interrupted after %zu of %zu prompts; what was measured is kept: `joulet runs show %s`, and `joulet bench --resume "
            "%s` goes on",
            done, b->n_steps, b->s.run.id, b->s.run.id);
    else
        cli_warn(b->s.cli, "interrupted after %zu of %zu prompts", done, b->n_steps);
}

static void cooldown_window(struct bench *b)
{
    if (!b->s.run.n_requests || b->m.cooldown_s <= 0 || session_elsewhere(&b->s) || atomic_load(&cli_cancel))
        return;
    bench_progress(b, "cool-down");
    joulet_mark end = b->s.last_end, to = session_cooldown(&b->s, end, b->m.cooldown_s);
    session_window(&b->s, "cooldown", end, to, b->s.idle, false);
}

/* A limit is broken only when the whole interval lies above it, and not kept when nothing is known. */
static int within_limit(const struct bench *b)
{
    double limit = cli_real(b->s.cli, "max-j-per-token"), j, lo;
    if (isnan(limit))
        return CLI_DONE;
    if (!report_j_per_token(&b->s.run, &j, &lo)) {
        cli_warn(b->s.cli, "no net energy per output token is known, so --max-j-per-token cannot be checked");
        return CLI_CHECK_FAILED;
    }
    if (lo <= limit)
        return CLI_DONE;
    cli_warn(b->s.cli, "%.4g J per output token is surely above the limit of %.6g: the interval begins at %.4g", j, limit, lo);
    return CLI_CHECK_FAILED;
}

static int measured(struct bench *b)
{
    size_t before = finished_before(b);
    b->planned = b->n_steps > before ? b->n_steps - before : 0;
    bool whole = b->m.find_rate ? bench_find_rate(b) : bench_run_steps(b, b->steps, b->n_steps);
    cooldown_window(b);
    bench_progress_end(b);
    if (whole)
        bench_series(b);
    bool ok = any_ok(&b->s.run);
    session_finish(&b->s, atomic_load(&cli_cancel) ? "interrupted" : whole && ok ? "done" : "failed");
    if (atomic_load(&cli_cancel))
        interrupted(b);
    else if (!whole && b->s.saved)
        cli_warn(b->s.cli, "the plan is not complete; `joulet bench --resume %s` goes on when the engine is back", b->s.run.id);
    int code = b->s.run.n_requests || b->s.run.n_windows ? show(b) : CLI_DONE;
    return code != CLI_DONE ? code : session_exit(&b->s, whole && ok ? within_limit(b) : CLI_ENGINE);
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

/* All that can be wrong before a sensor is opened. */
static int prepare(struct bench *b, struct run *old)
{
    struct joulet_error err;
    int code = session_generation(b->s.cli, &b->q, &b->files);
    if (code == CLI_DONE)
        code = cli_given(b->s.cli, "resume") ? bench_resume_load(b, old) : bench_plan(b);
    if (code == CLI_DONE && !bench_make_cells(b))
        code = CLI_FAILED;
    if (code == CLI_DONE)
        code = check_prompts(b);
    if (code == CLI_DONE && plan_steps(&b->m, 0, &b->steps, &b->n_steps, &err) != JOULET_OK)
        code = cli_fail(b->s.cli, &err);
    return code;
}

static int measure(struct bench *b, struct run *old)
{
    const struct cli *c = b->s.cli;
    bool trial = cli_flag(c, "trial"), resume = old->id[0];
    int code = session_open(&b->s, c, "bench");
    if (code == CLI_DONE && resume)
        code = session_resume(&b->s, old);
    if (code == CLI_DONE && resume)
        bench_resume_adopt(b);
    else if (code == CLI_DONE)
        bench_describe(b);
    if (trial) /* that is no run */
        session_forget(&b->s);
    if (code == CLI_DONE)
        code = bench_servers(b);
    if (code == CLI_DONE)
        code = trial ? bench_trial(b) : measured(b);
    else if (b->s.meter && b->s.watch.choice && !trial) /* another server failed to start */
        session_finish(&b->s, "failed");
    bench_servers_close(b);
    session_close(&b->s);
    return code;
}

static int bench_run(struct cli *c, int argc, char **argv)
{
    struct bench b = {.s.cli = c};
    struct run old = {0};
    if (argc > 0)
        return cli_usage(c, "bench takes no operand \"%s\": prompts come from --prompts FILE", argv[0]);
    int code = prepare(&b, &old);
    if (code == CLI_DONE)
        code = cli_flag(c, "dry-run") ? bench_dry_run(&b) : measure(&b, &old);
    run_release(&old);
    bench_release(&b);
    return code;
}

const struct command cmd_bench = {
    .name = "bench",
    .summary = "measure a suite of prompts, or a plan of many configurations",
    .usage = "joulet bench [OPTION]...",
    .options =
        "plan vary dry-run resume prompts repeat warmup order order-seed baseline baseline-most baseline-every cooldown streams "
        "rate duration "
        "find-rate max-ttft max-tpot trial engine protocol key token pid remote model system raw seed temperature top-p top-k "
        "min-p "
        "repeat-penalty stop max-tokens context engine-option threads gpu-layers prompt-cache think think-budget keep-alive "
        "tools timeout sensors meter sim replay "
        "interval trust-root calibration measured-only json output run-id title private place grid grid-series grid-command pue "
        "wue "
        "embodied-kg lifetime-years price tariff device-hour currency db no-store quiet width color max-j-per-token",
    .about = "Sends the prompts one after the other and measures each: queue, prefill and decode. Around them stand the load of\n"
             "the model, an idle window (10 s) and a cool-down (until the power has settled, 10 s at most). The prompt cache is\n"
             "off. The first request is a warm-up and enters no sum. Without --prompts it is the suite of nine: three short,\n"
             "three medium, three long.\n"
             "\n"
             "Several models (-m A -m B), --vary or a --plan make cells: configurations that take turns, so that a drift of the\n"
             "machine cancels. With --streams or --rate requests run at once; then their level is measured as a whole.\n"
             "\n"
             "Every finished request is on disk within a second; Ctrl-C keeps what was measured, and --resume goes on.",
    .examples =
        "joulet bench -m model.gguf\n  nine prompts on a server of our own\n"
        "joulet bench --engine http://127.0.0.1:8080 --repeat 5\n  the server that runs there, five times\n"
        "joulet bench -m a.gguf -m b.gguf --repeat 10\n  two models in turns; joulet compare last tells them apart\n"
        "joulet bench --plan my.plan --dry-run\n  what a plan would do\n"
        "joulet bench --prompts chat --find-rate --max-ttft 1s\n  the highest rate at which 95 % wait less than a second\n"
        "joulet bench --resume last\n  go on with what was interrupted\n"
        "joulet bench --json -o record.json\n  the record as JSON\n",
    .run = bench_run,
};
