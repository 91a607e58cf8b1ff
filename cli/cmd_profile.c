/* cmd_profile.c - where inside a model and its inference the energy goes. */
#include "cli/profile.h"
#include "cli/profile_files.h"
#include "cli/records.h"
#include "report/profile.h"

#include <signal.h>
#include <stdlib.h>
#include <string.h>

static enum wire_level level_of(const struct cli *c)
{
    const char *name = cli_str(c, "level");
    for (int i = 0; i < WIRE_LEVELS; i++)
        if (strcmp(ring_level_name((enum wire_level)i), name) == 0)
            return (enum wire_level)i;
    return WIRE_COMPONENTS;
}

static int get_prompts(struct profiling *x, int argc, char **argv)
{
    struct joulet_error err;
    struct jl_buf b;
    jl_buf_init(&b, (size_t)16 << 20);
    for (int i = 0; i < argc; i++)
        jl_buf_printf(&b, "%s%s", i ? " " : "", argv[i]);
    if (argc && cli_str(x->cli, "prompts")) {
        jl_buf_release(&b);
        return cli_usage(x->cli, "give a prompt or --prompts, not both");
    }
    x->prompt = argc ? jl_buf_take(&b) : NULL;
    jl_buf_release(&b);
    if (x->prompt)
        return CLI_DONE;
    if (plan_open(&x->plan, cli_str(x->cli, "prompts") ? cli_str(x->cli, "prompts") : "nine", &err) != JOULET_OK)
        return cli_fail_named(x->cli, &err);
    return CLI_DONE;
}

static int show(struct profiling *x)
{
    struct jl_buf out;
    struct joulet_error err;
    int code = CLI_DONE;
    jl_buf_init(&out, (size_t)256 << 20);
    if (!cli_json(x->cli))
        report_profile(&out, &x->p, NULL, cli_style(x->cli));
    else if (run_profile_to_json(&x->p, &out, &err) != JOULET_OK)
        code = cli_fail(x->cli, &err);
    if (code == CLI_DONE)
        code = cli_result(x->cli, out.data, out.len);
    jl_buf_release(&out);
    return code;
}

/* False: not in the data folder, but beside it, and shown all the same. */
static bool keep(struct profiling *x)
{
    char *path;
    struct jl_buf json;
    struct joulet_error err, why;
    if (cli_flag(x->cli, "no-store"))
        return true;
    if (profile_save(&x->p, &path, &why) == JOULET_OK) {
        cli_say(x->cli, "profile %s is kept: `joulet profile show %s`", x->p.id, x->p.id);
        free(path);
        return true;
    }
    jl_buf_init(&json, RUN_JSON_MAX);
    if (run_profile_to_json(&x->p, &json, &err) == JOULET_OK)
        records_rescue(x->cli, x->p.id, &json, &why, "profile show");
    else
        cli_warn(x->cli, "%s", why.message);
    jl_buf_release(&json);
    return false;
}

/* Before there was anything to show. */
static int ended_early(const struct profiling *x, int code)
{
    if (atomic_load(&cli_signal))
        cli_warn(x->cli, "interrupted before the first round was whole: there is no profile");
    return code;
}

static int measured(struct profiling *x)
{
    bool attached = profile_attaches(x->cli),
         endless = attached && !cli_given(x->cli, "duration") && !cli_given(x->cli, "requests");
    if (!attached)
        session_settings(&x->s, &x->q);
    int code = attached ? CLI_DONE : profile_against_prepare(x);
    if (code == CLI_DONE)
        code = attached ? profile_attach(x) : profile_engine(x);
    if (code == CLI_DONE && !attached)
        code = profile_passes(x);
    if (code != CLI_DONE)
        return attached ? code : ended_early(x, code);
    bool interrupted = atomic_load(&cli_cancel) && !endless;
    session_finish(&x->s, interrupted ? "interrupted" : "done");
    if (interrupted) {
        cli_warn(x->cli, "interrupted: the profile is of what was measured until then");
        run_profile_note(&x->p, "interrupted: this is what was measured until then");
    }
    if (!profile_record(x))
        return CLI_FAILED;
    bool kept = keep(x);
    code = show(x);
    if (code == CLI_DONE && !kept)
        code = CLI_FAILED;
    if (code != CLI_DONE || (endless && atomic_load(&cli_signal) == SIGINT)) /* which is how it ends */
        return code;
    return session_exit(&x->s, x->code);
}

static void release(struct profiling *x)
{
    profile_engine_release(x);
    profile_against_release(x);
    profile_host_release(x);
    plan_release(&x->plan);
    session_files_release(&x->files);
    run_profile_release(&x->p);
    free(x->prompt);
    free(x->passes);
    free(x->power);
}

static const struct {
    const char *name;
    int (*run)(const struct cli *c, int argc, char **argv);
} verbs[] = {{"show", profile_show}, {"compare", profile_compare}, {"list", profile_list}, {"delete", profile_delete}};

static int run_profile_command(struct cli *c, int argc, char **argv)
{
    for (size_t i = 0; argc && i < JL_COUNT(verbs); i++)
        if (!strcmp(argv[0], verbs[i].name))
            return verbs[i].run(c, argc - 1, argv + 1);
    struct profiling x = {.cli = c, .level = level_of(c), .every = cli_int(c, "every", 1)};
    x.choice.server.process = (struct jl_process){.pid = -1, .ended = true};
    run_profile_init(&x.p);
    if (cli_str(c, "title"))
        x.p.title = jl_strdup(cli_str(c, "title"));
    x.power = calloc(1, sizeof *x.power);
    int code = profile_attach_check(c, argc > 0);
    if (code == CLI_DONE)
        code = session_generation(c, &x.q, &x.files);
    if (code == CLI_DONE)
        code = get_prompts(&x, argc, argv);
    if (code == CLI_DONE)
        code = profile_series_read(&x);
    if (code == CLI_DONE)
        code = profile_replay_read(&x);
    if (code == CLI_DONE && x.power)
        code = session_open(&x.s, c, "profile");
    if (code == CLI_DONE) {
        x.power->step_s = 0.02;
        session_forget(&x.s); /* the record of a profile is another one than that of its requests */
        code = measured(&x);
    }
    release(&x);
    session_close(&x.s);
    return code;
}

const struct command cmd_profile = {
    .name = "profile",
    .summary = "show which stages, layers and components of a model use the energy",
    .usage = "joulet profile [OPTION]... [PROMPT | show [ID] | compare ID ID | list | delete ID...]",
    .options =
        "engine key protocol token pid remote model system raw seed temperature top-p top-k min-p repeat-penalty stop "
        "max-tokens context engine-option threads gpu-layers think think-budget timeout prompts level every coarse prompt-tokens "
        "batches against cross-check requests first-tokens attach slot "
        "duration "
        "layers phase data csv "
        "baseline sensors meter sim replay interval trust-root calibration measured-only json output run-id title grid "
        "grid-series grid-command pue wue embodied-kg lifetime-years price tariff device-hour currency db no-store width color",
    .about =
        "Starts a llama-server of its own with a probe inside, which changes no output, and sends it prompts in turns: as it "
        "runs\n"
        "by itself, and watched. Shows the energy above idle of each stage, and of attention, feed-forward, norms and head of\n"
        "each layer.\n"
        "\n"
        "With a sensor that reads at least 20 times in a token the components come from plain tokens; with a slower one, or\n"
        "where large ones come in pieces shorter than a tenth of a reading, they are executed again in random order; where\n"
        "neither tells them apart they are shares of time, and the profile says why.\n"
        "An engine that runs without the probe (--engine URL) and --coarse give stages only. One that was started with it is\n"
        "profiled as it is used: --attach PID sends nothing, and goes on until Ctrl-C.\n"
        "\n"
        "Profiles are files in the data folder. `show` draws one again (--phase: of one phase; --layers: a line for each "
        "layer),\n"
        "or writes it for programs: --json the record, --csv its components and, with -o FILE.csv, the power over time in\n"
        "FILE.trace.csv, --data what charts need. `compare` puts two beside each other per token, per parameter and per FLOP,\n"
        "`list` shows which there are, `delete` removes some. ID is the id of a profile, the beginning of one, `last`, or a\n"
        "file (docs/profile-record.md).",
    .examples =
        "joulet profile -m model.gguf\n  a minute of the nine prompts\n"
        "joulet profile -m llama-3.2-1b-q4_0 --against layers\n  what one of its layers costs, by a model that has one less\n"
        "joulet profile -m model.gguf --requests 4 -n 128 \"Why is the sky blue?\"\n  four answers of 128 tokens\n"
        "joulet profile --coarse --engine http://127.0.0.1:11434\n  stages of an engine that runs\n"
        "joulet profile --attach 4711 --slot 0 --first-tokens 64\n  an engine that runs, while its clients use it\n"
        "joulet profile show last --layers\n  every layer of the last profile in numbers\n"
        "joulet profile show last --csv -o parts.csv\n  components as a table, and parts.trace.csv beside it\n"
        "joulet profile compare last 20261122-1200\n  what another model or quantisation changes\n",
    .run = run_profile_command,
    .verbs = "show compare list delete",
};
