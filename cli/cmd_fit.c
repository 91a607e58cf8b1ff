/* cmd_fit.c - energy as a function of token counts: a grid of requests is measured, or stored runs are taken, and fitted. */
#include "cli/fit_grid.h"
#include "cli/fit_json.h"
#include "cli/records.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define RESULT_MAX ((size_t)256 << 20)
#define RUNS_MAX   1000

/* ---- results ----------------------------------------------------------------------------------------------------- */

static int write_residuals(const struct cli *c, const struct fit *f)
{
    struct jl_buf b;
    struct joulet_error err;
    const char *path = cli_str(c, "residuals");
    if (!path)
        return CLI_DONE;
    jl_buf_init(&b, RESULT_MAX);
    fit_residuals_csv(&b, f);
    enum joulet_status st = jl_write_file(path, b.data, b.len, 0644, &err);
    jl_buf_release(&b);
    return st == JOULET_OK ? CLI_DONE : cli_fail(c, &err);
}

static int save(const struct cli *c, const struct fit *f)
{
    struct joulet_error err;
    const char *name = cli_str(c, "save");
    const char *model = run_pairs_get(&f->rows[0].run->model, "name");
    if (!name)
        return CLI_DONE;
    if (fit_save(f, name, cli_flag(c, "force"), &err) != JOULET_OK)
        return cli_fail(c, &err);
    cli_say(c, "saved as set %s: joulet estimate %s --set %s --in 500 --out 200", name, model ? model : "MODEL", name);
    return CLI_DONE;
}

static int show(const struct cli *c, const struct fit *f, const char *saved_run)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (cli_json(c)) {
        fit_json(&out, f);
    } else {
        report_fit(&out, f, cli_style(c));
        if (saved_run)
            jl_buf_printf(&out, "Record: joulet runs show %s; fit it again with `joulet fit --from %s`\n", saved_run, saved_run);
    }
    int code = cli_result(c, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

static int fitted(const struct cli *c, const struct run *const *runs, size_t n, const char *saved_run)
{
    struct fit f;
    struct joulet_error err;
    if (fit_runs(runs, n, cli_flag(c, "gross"), cli_flag(c, "allow-throttled"), &f, &err) != JOULET_OK)
        return cli_fail(c, &err);
    int code = show(c, &f, saved_run);
    if (code == CLI_DONE)
        code = write_residuals(c, &f);
    if (code == CLI_DONE)
        code = save(c, &f);
    fit_release(&f);
    return code;
}

/* ---- from stored runs -------------------------------------------------------------------------------------------- */

/* --from may be given several times; what follows as operands are more of them. */
static int from_stored(const struct cli *c, int argc, char **argv)
{
    const char *const *named;
    const struct run *runs[RUNS_MAX];
    struct records records = {.cli = c};
    struct joulet_error err;
    size_t n = cli_list(c, "from", &named), all = n + (size_t)argc, kept = 0;
    int code = CLI_DONE;
    if (all > RUNS_MAX)
        return cli_usage(c, "at most %d runs can be fitted together", RUNS_MAX);
    for (size_t i = 0; i < all && code == CLI_DONE; i++) {
        const char *name = i < n ? named[i] : argv[i - n];
        if (records_get(&records, name, &runs[kept], &err) != JOULET_OK)
            code = cli_fail_named(c, &err);
        for (size_t k = 0; k < kept && code == CLI_DONE; k++)
            if (runs[k] == runs[kept])
                code = cli_usage(c, "run %s is named twice: its requests would count double", runs[k]->id);
        kept++;
    }
    if (code == CLI_DONE)
        code = fitted(c, runs, kept, NULL);
    records_release(&records);
    return code;
}

/* ---- measured ---------------------------------------------------------------------------------------------------- */

/* Where the engine offers it, answers do not end before their length. */
static bool engine_options(struct fit_grid *g, const char **items)
{
    const char *const *given;
    size_t n = cli_list(g->s.cli, "engine-option", &given);
    bool ignores = !strcmp(g->choice.engine->ops->name, "llama.cpp");
    for (size_t i = 0; i < n; i++)
        items[i] = given[i];
    if (ignores)
        items[n] = "ignore_eos=true";
    g->q.options = items;
    g->q.n_options = n + ignores;
    return ignores;
}

static int measured(const struct cli *c, struct fit_grid *g)
{
    const char *const *given;
    const char **items = calloc(cli_list(c, "engine-option", &given) + 2, sizeof *items);
    if (!items) {
        cli_warn(c, "out of memory for the options of the engine");
        return CLI_FAILED;
    }
    g->q.model = g->choice.model;
    if (!engine_options(g, items))
        run_note(&g->s.run, "the engine is not known to suppress the end of an answer: answers that end early are left out");
    int code = fit_grid_measure(g);
    if (code == CLI_DONE) {
        const struct run *run = &g->s.run;
        code = fitted(c, &run, 1, g->s.saved ? run->id : NULL);
    }
    free(items);
    return code == CLI_DONE ? session_exit(&g->s, CLI_DONE) : code;
}

static void ask(struct fit_grid *g, const struct cli *c)
{
    int64_t timeout = cli_duration_ns(c, "timeout");
    g->q = (struct generation){.raw = true,
                               .max_tokens = -1,
                               .context_length = cli_int(c, "context", -1),
                               .top_k = -1,
                               .seed = (int64_t)g->seed,
                               .temperature = NAN,
                               .top_p = NAN,
                               .min_p = NAN,
                               .repeat_penalty = NAN,
                               .timeout_s = timeout > 0 ? jl_s(timeout) : 0};
}

static int fit_run(struct cli *c, int argc, char **argv)
{
    struct fit_grid g = {0};
    if (cli_given(c, "from"))
        return from_stored(c, argc, argv);
    if (argc > 0)
        return cli_usage(c, "fit takes stored runs with --from: joulet fit --from %s", argv[0]);
    int code = fit_grid_options(&g, c);
    g.s.cli = c;
    if (code == CLI_DONE) {
        ask(&g, c);
        code = session_open(&g.s, c, "fit");
    }
    if (code != CLI_DONE)
        return code;
    code = session_choose(&g.s, &g.choice, &g.q);
    if (code == CLI_DONE)
        code = measured(c, &g);
    runtime_choice_release(&g.choice);
    session_close(&g.s);
    return code;
}

const struct command cmd_fit = {
    .name = "fit",
    .summary = "fit energy to the lengths of prompts and answers",
    .usage = "joulet fit [OPTION]... [--from RUN [RUN]...]",
    .options =
        "tokens-in tokens-out quick repeat seed from gross allow-throttled residuals save force engine protocol key token pid "
        "remote model "
        "baseline "
        "baseline-most "
        "context "
        "engine-option threads gpu-layers timeout sensors meter sim replay interval trust-root measured-only json output title "
        "private place grid grid-series grid-command pue wue embodied-kg lifetime-years price tariff device-hour currency "
        "db no-store quiet width color",
    .about =
        "Measures a grid of requests, every length of prompt with every length of answer, in random order, each 5 times or as\n"
        "often as --repeat says, and fits\n"
        "E = e0 + e_in T_in + e_q T_in^2 + e_out T_out + e_x T_out (T_in + (T_out - 1)/2):\n"
        "what a request, a token of the prompt and a token of the answer cost, with intervals, and from which length on prefill\n"
        "costs more than the answer.\n"
        "\n"
        "Prompts share no beginning, the prompt cache is off, and answers do not end before their length. With --from the\n"
        "requests of stored runs are fitted, if their lengths vary enough to tell the terms apart.",
    .examples = "joulet fit -m model.gguf --context 9216\n  the whole grid: prompts of 64 to 8192 tokens, 60 requests\n"
                "joulet fit --quick\n  3 x 2 lengths, 18 requests\n"
                "joulet fit --from last --save laptop\n  a set of coefficients for `joulet estimate`\n"
                "joulet fit --from last --residuals residuals.csv\n  a stored run, with its residuals as CSV\n",
    .run = fit_run,
};
