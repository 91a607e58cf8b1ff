/* cmd_tune.c - searches the settings of an engine for the least energy: candidates take turns on the real engine, losers are
 * dropped early, and the choice is measured against the defaults once more. */
#include "cli/tune.h"
#include "llm/gguf/gguf.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

#define TOKENS 64

/* ---- what is asked ----------------------------------------------------------------------------------------------- */

/* Files that hold the same model in other number formats, or the figures of one would be said of another. */
static int check_same(struct tune *t, const struct gguf_head *first, const char *path)
{
    struct gguf_head h;
    struct joulet_error err;
    if (gguf_read_head(path, &h, &err) != JOULET_OK)
        return cli_fail_named(t->cli, &err);
    if (strcmp(h.architecture, first->architecture) != 0 || h.layers != first->layers || h.hidden != first->hidden ||
        h.vocab != first->vocab)
        return cli_usage(t->cli,
                         "%s is not the same model as %s: tune compares number formats of one model; `joulet bench -m A -m B` "
                         "compares models",
                         path, t->models[0]);
    return CLI_DONE;
}

static int take_models(struct tune *t, int argc, char **argv)
{
    struct gguf_head first;
    struct joulet_error err;
    const char *const *items;
    size_t listed = cli_list(t->cli, "model", &items), n = argc > 0 ? (size_t)argc : listed;
    int code = CLI_DONE;
    if (argc > 0 && listed && cli_given(t->cli, "model"))
        return cli_usage(t->cli, "the model is named twice: as %s and with --model", argv[0]);
    if (n > TUNE_CANDIDATES_MAX / 2)
        return cli_usage(t->cli, "tune takes at most %d files of a model", TUNE_CANDIDATES_MAX / 2);
    if (!n) {
        if (runtime_model_only(&t->models[0], &err) != JOULET_OK)
            return cli_fail_named(t->cli, &err);
        t->ask.n_models = 1;
    }
    for (size_t i = 0; i < n; i++) {
        const char *name = argc > 0 ? argv[i] : items[i];
        t->models[i] = runtime_model_find(name);
        if (!t->models[i])
            return cli_usage(t->cli, "there is no model %s: give a GGUF file, or a name that `joulet model list` shows", name);
        for (size_t k = 0; k < i; k++)
            if (strcmp(t->models[k], t->models[i]) == 0)
                return cli_usage(t->cli, "%s is named twice: there is nothing to compare it with but itself", t->models[i]);
        t->ask.n_models++;
    }
    if (gguf_read_head(t->models[0], &first, &err) != JOULET_OK)
        return cli_fail_named(t->cli, &err);
    for (size_t i = 1; i < n && code == CLI_DONE; i++)
        code = check_same(t, &first, t->models[i]);
    t->ask.layers = first.layers;
    t->ask.models = (const char *const *)t->models;
    t->plan.model = t->models[0];
    return code;
}

/* Servers of our own: an engine that runs already has its settings. */
static int take_engine(struct tune *t)
{
    const char *given = cli_str(t->cli, "engine");
    if (given && strstr(given, "://"))
        return cli_usage(t->cli, "--engine %s runs already, and tune starts servers of its own: give the path of a llama-server",
                         given);
    t->engine = given ? jl_strdup(given) : runtime_on_path();
    if (!t->engine)
        t->engine = jl_strdup("private");
    t->plan.engine = t->engine;
    return t->engine ? CLI_DONE : CLI_FAILED;
}

static int take_options(struct tune *t)
{
    const struct cli *c = t->cli;
    struct jl_machine m;
    struct joulet_error err;
    int64_t seed = cli_int(c, "seed", 1);
    jl_machine_get(&m);
    t->ask.cores = m.cores;
    t->ask.threads = m.threads > 0 ? m.threads : 1;
    t->plan.threads = m.cores > 0 && m.cores < m.threads ? m.cores : m.threads;
    t->ask.gpu = jl_gpu_here();
    t->ask.settings = cli_str(c, "settings");
    t->ask.context = t->plan.context = cli_int(c, "context", -1);
    t->plan.prompts = cli_str(c, "prompts") ? cli_str(c, "prompts") : "chat";
    t->plan.max_tokens = cli_int(c, "max-tokens", TOKENS);
    t->plan.baseline_s = jl_s(cli_duration_ns(c, "baseline"));
    t->budget_s = jl_s(cli_duration_ns(c, "budget"));
    t->least_rate = cli_real(c, "min-tokens-per-s");
    t->per_request = strcmp(cli_str(c, "for"), "j-per-request") == 0;
    t->gross = cli_flag(c, "gross");
    t->seed = (uint64_t)(seed < 0 ? jl_mono_ns() & 0xffffffff : seed);
    if (tune_candidates(&t->ask, t->candidates, &t->n, &err) != JOULET_OK)
        return cli_fail(c, &err);
    return CLI_DONE;
}

/* ---- the command ------------------------------------------------------------------------------------------------- */

static int show(const struct tune *t)
{
    struct jl_buf out;
    jl_buf_init(&out, (size_t)16 << 20);
    if (cli_json(t->cli))
        tune_json(&out, t);
    else
        tune_text(&out, t);
    int code = cli_result(t->cli, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

static bool measured(const struct tune *t)
{
    for (size_t i = 0; i < t->n_tried; i++)
        if (t->tried[i].rounds)
            return true;
    return false;
}

static int tune_all(struct tune *t)
{
    int code = tune_search(t), signal = atomic_load(&cli_signal);
    if (measured(t)) {
        int shown = show(t);
        code = shown != CLI_DONE ? shown : code;
    } else if (code == CLI_DONE && !signal) {
        cli_warn(t->cli, "no setting has an energy figure: requests were too short for the sensor; let them be longer with "
                         "--max-tokens");
        code = CLI_CHECK_FAILED;
    }
    if (t->nothing > t->blocks / 4 && !t->gross)
        cli_warn(
            t->cli,
            "%zu of %zu turns drew no more than the idle level: other programs used the machine; try again when it is quiet, "
            "or count all of the energy with --gross",
            t->nothing, t->blocks);
    if (signal)
        return 128 + signal;
    if (code == CLI_DONE && t->least_rate > 0 && tune_too_slow(t, tune_best(t)->n ? t->last[1].rate : t->tried[0].rate)) {
        cli_warn(t->cli, "no setting that was tried keeps %.6g tokens/s", t->least_rate);
        code = CLI_CHECK_FAILED;
    }
    return code;
}

static int tune_run(struct cli *c, int argc, char **argv)
{
    struct tune *t = calloc(1, sizeof *t);
    if (!t)
        return CLI_FAILED;
    t->cli = c;
    t->started = joulet_now();
    t->ask.layers = -1;
    int code = take_models(t, argc, argv);
    if (code == CLI_DONE)
        code = take_engine(t);
    if (code == CLI_DONE)
        code = take_options(t);
    if (code == CLI_DONE)
        code = tune_all(t);
    for (size_t i = 0; i < TUNE_CANDIDATES_MAX; i++)
        free(t->models[i]);
    free(t->engine);
    free(t);
    return code;
}

const struct command cmd_tune = {
    .name = "tune",
    .summary = "find the settings of an engine that use the least energy",
    .usage = "joulet tune [OPTION]... MODEL [SAME-MODEL-IN-ANOTHER-FORMAT]...",
    .options =
        "for min-tokens-per-s settings budget gross seed prompts max-tokens context engine model key protocol token pid remote "
        "system "
        "raw stop engine-option tools think timeout baseline sensors meter sim replay interval trust-root calibration "
        "measured-only "
        "json output private place grid grid-series grid-command pue wue embodied-kg lifetime-years price tariff device-hour "
        "currency db no-store quiet width color",
    .about =
        "Starts llama-servers of its own with different settings, which take turns with the same prompts: threads, flash\n"
        "attention, the number format of the KV cache, and layers on the GPU where there is one; other files of the model when\n"
        "they are named. What surely uses more than another, or is surely slower than --min-tokens-per-s, is dropped early;\n"
        "the chance that the best one is dropped is at most 5 %. What helps is tried together, and the choice is measured\n"
        "against the engine's defaults once more: that comparison alone tells what is saved.\n"
        "\n"
        "--settings adds context, batch (tokens of a prompt that are computed at once), and streams (requests at once). A power\n"
        "limit is never set, only named. Each stage is a run in the store. Ctrl-C keeps what was measured and tells the best so\n"
        "far. Prompts are `chat`, answers 64 tokens long, unless --prompts and --max-tokens say otherwise.",
    .examples = "joulet tune model.gguf\n  the least J per output token, in about ten minutes\n"
                "joulet tune model.gguf --min-tokens-per-s 20\n  of settings that give at least 20 tokens per second\n"
                "joulet tune model-f16.gguf model-q8_0.gguf model-q4_0.gguf\n  number formats of the weights too\n"
                "joulet tune model.gguf --settings threads --budget 2m\n  threads alone, in two minutes\n"
                "joulet tune model.gguf --json -o tuned.json\n  everything that was tried, as JSON\n",
    .run = tune_run,
};
