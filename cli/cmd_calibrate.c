/* cmd_calibrate.c - finds out how each sensor behaves on this machine, and keeps it for every meter opened later
 * (docs/method.md 1.4, docs/calibration.md). */
#include "cli/calibrate.h"
#include "cli/parse.h"
#include "cli/session.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define RESULT_MAX ((size_t)4 << 20)
#define LOOK_S     0.5
#define BUSY       0.15  /* of all hardware threads, before the load begins */
#define CONTEXT    16384 /* of an engine that we start: prompts that keep a fast GPU busy are long */

/* ---- where it is kept ------------------------------------------------------------------------------------------------- */

static bool can_be_kept(const char *path, struct joulet_error *err)
{
    const char *slash = strrchr(path, '/');
    char *dir = slash ? jl_strf("%.*s", slash == path ? 1 : (int)(slash - path), path) : jl_strdup(".");
    bool ok = dir && access(dir, W_OK | X_OK) == 0;
    if (!ok)
        jl_fail(err, JOULET_PERMISSION, "%s could not be written after calibrating: %s; name another file with --calibration",
                path, strerror(errno));
    free(dir);
    return ok;
}

/* Found before anything is measured, so that a folder that may not be written is not found out after a minute. */
static int find_path(struct calibration *k)
{
    const char *given = cli_str(k->cli, "calibration");
    struct joulet_error err;
    if (given && strcmp(given, "none") == 0)
        return CLI_DONE;
    if (given) {
        snprintf(k->path, sizeof k->path, "%s", given);
    } else if (!k->simulated || cli_flag(k->cli, "trust-root")) {
        char *dir = cli_flag(k->cli, "dry-run") ? jl_data_dir_name() : jl_data_dir(&err);
        if (!dir && !cli_flag(k->cli, "dry-run"))
            return cli_fail(k->cli, &err);
        free(dir);
        joulet_calibration_path(k->path, sizeof k->path);
    }
    struct joulet_calibration_file there;
    if (!k->path[0])
        return CLI_DONE;
    if (!cli_flag(k->cli, "dry-run") && !can_be_kept(k->path, &err))
        return cli_fail(k->cli, &err);
    enum joulet_status st = joulet_calibration_read(k->path, &there, &err);
    joulet_calibration_release(&there);
    return st == JOULET_OK || st == JOULET_NOT_FOUND ? CLI_DONE : cli_fail(k->cli, &err);
}

static enum joulet_status keep(struct calibration *k, struct joulet_error *err)
{
    struct joulet_calibration_file add = {.cost = k->cost};
    if (!k->path[0])
        return jl_ok(err);
    add.entries = calloc(k->n, sizeof *add.entries);
    if (!add.entries)
        return jl_fail(err, JOULET_MEMORY, "out of memory; end other programs and try again");
    for (size_t i = 0; i < k->n; i++)
        if (k->targets[i].status == JOULET_OK)
            add.entries[add.n++] = k->targets[i].entry;
    enum joulet_status st = add.n ? joulet_calibration_keep(k->path, &add, err) : jl_ok(err);
    k->kept = st == JOULET_OK && add.n > 0;
    free(add.entries);
    return st;
}

/* ---- an engine --------------------------------------------------------------------------------------------------------- */

static bool needs_engine(const struct calibration *k)
{
    for (size_t i = 0; i < k->n; i++)
        if (k->targets[i].load == LOAD_ENGINE)
            return true;
    return false;
}

static int choose_engine(struct calibration *k)
{
    const struct cli *c = k->cli;
    struct joulet_error err;
    struct runtime_start how = {.context_length = CONTEXT,
                                .parallel = 1,
                                .gpu_layers = (int)cli_int(c, "gpu-layers", -1),
                                .key = cli_str(c, "key"),
                                .protocol = cli_str(c, "protocol"),
                                .cancel = &cli_cancel};
    if (!needs_engine(k))
        return CLI_DONE;
    cli_say(c, "starting the engine");
    if (runtime_choose(&k->engine, cli_str(c, "engine"), cli_str(c, "model"), &how, &err) != JOULET_OK) {
        int code = cli_fail(c, &err);
        return code == CLI_USAGE || err.status == JOULET_CANCELLED ? code : CLI_ENGINE;
    }
    k->has_engine = true;
    session_find_here(k->engine.engine);
    if (k->engine.engine->local)
        return CLI_DONE;
    cli_warn(c, "the engine runs on another machine and cannot be the load of this one: start one here, or give a model with -m");
    return CLI_ENGINE;
}

/* ---- the command -------------------------------------------------------------------------------------------------------- */

static int interrupted(const struct calibration *k)
{
    int sig = atomic_load(&cli_signal);
    cli_warn(k->cli, "interrupted: nothing was kept");
    return sig ? 128 + sig : CLI_INTERRUPTED;
}

/* Said, not refused: the user may know that it will be over soon. A simulated device does not see it. */
static void look_around(const struct calibration *k)
{
    double busy[2], total[2];
    if (k->simulated || !jl_cpu_time(&busy[0], &total[0]) || !terminal_wait_until(joulet_now() + jl_ns(LOOK_S)) ||
        !jl_cpu_time(&busy[1], &total[1]))
        return;
    double share = (busy[1] - busy[0]) / (total[1] - total[0]);
    if (share > BUSY)
        cli_warn(k->cli,
                 "other programs use %.0f %% of the processor: what they draw is in the readings too; end them for a good result",
                 share * 100);
}

static int measure(struct calibration *k)
{
    static const enum load_kind order[] = {LOAD_CPU, LOAD_CURVE, LOAD_ENGINE};
    struct joulet_error err;
    enum joulet_status st = JOULET_OK;
    look_around(k);
    k->begun = joulet_now();
    k->planned_s = calibration_plan(k, LOAD_KINDS);
    for (size_t i = 0; i < JL_COUNT(order) && st == JOULET_OK; i++)
        st = calibration_measure(k, order[i], &err);
    if (st == JOULET_OK)
        st = calibration_self_cost(k, &err);
    calibration_progress_end(k);
    if (st == JOULET_CANCELLED || atomic_load(&cli_cancel))
        return interrupted(k);
    if (st == JOULET_OK)
        st = keep(k, &err);
    return st == JOULET_OK ? CLI_DONE : cli_fail(k->cli, &err);
}

static int show(const struct calibration *k, bool plan)
{
    struct jl_buf out;
    jl_buf_init(&out, RESULT_MAX);
    if (plan && cli_json(k->cli))
        calibration_json_plan(k, &out);
    else if (plan)
        calibration_text_plan(k, &out);
    else if (cli_json(k->cli))
        calibration_json(k, &out);
    else
        calibration_text(k, &out);
    int code = cli_result(k->cli, out.data ? out.data : "", out.len);
    jl_buf_release(&out);
    return code;
}

static int calibrate(struct calibration *k)
{
    size_t good = 0, possible = 0;
    int code = calibration_targets(k);
    if (code == CLI_DONE)
        code = find_path(k);
    for (size_t i = 0; i < k->n; i++)
        possible += k->targets[i].load != LOAD_NONE;
    if (code != CLI_DONE || cli_flag(k->cli, "dry-run"))
        return code == CLI_DONE ? show(k, true) : code;
    if (!possible) {
        cli_warn(k->cli,
                 "a GPU is calibrated with the prompts of an engine: give it a model with -m MODEL, or name a running engine "
                 "with --engine");
        return CLI_USAGE;
    }
    code = choose_engine(k);
    if (code == CLI_DONE)
        code = measure(k);
    if (code != CLI_DONE)
        return code;
    code = show(k, false);
    for (size_t i = 0; i < k->n; i++)
        good += k->targets[i].status == JOULET_OK;
    return code == CLI_DONE && !good ? CLI_CHECK_FAILED : code;
}

static int calibrate_run(struct cli *c, int argc, char **argv)
{
    struct calibration k = {.cli = c, .n_pulses = cli_int(c, "pulses", JOULET_CALIBRATION_PULSES)};
    int64_t seed = cli_int(c, "seed", -1);
    if (argc > 0)
        return cli_usage(c, "calibrate takes no argument '%s'; --devices chooses some", argv[0]);
    k.seed = seed >= 0 ? (uint64_t)seed : (uint64_t)jl_wall_ns() & 0xffffffff;
    int code = calibrate(&k);
    if (k.has_engine)
        runtime_choice_release(&k.engine);
    joulet_close(k.meter);
    free(k.targets);
    free(k.follow);
    return code;
}

const struct command cmd_calibrate = {
    .name = "calibrate",
    .summary = "find out how late and how often each sensor tells the truth",
    .usage = "joulet calibrate [OPTION]...",
    .options = "devices dry-run pulses seed calibration engine protocol key model gpu-layers sensors sim trust-root",
    .about =
        "Sends pulses of load to each device and finds from its readings how often it updates, over which time it averages and "
        "how late it is; whether its counter agrees with its power readings; and what the sampler itself costs. That takes about "
        "a "
        "minute for a processor, and as long again for a GPU. Do nothing else on the machine meanwhile.\n\n"
        "The load of a processor is threads of our own. The load of a GPU is prompts to an engine that computes on it: -m MODEL "
        "starts one, --engine names one that runs here.\n\n"
        "What is found is kept by device and driver in calibration.txt in the data folder, or in the file of --calibration, and "
        "used "
        "from then on by every command and by every program that uses libjoulet. When the driver changes `joulet doctor` asks to "
        "calibrate again. What simulated sensors show is kept only in the file of --calibration, or with --trust-root. An "
        "interrupted "
        "calibration keeps nothing.\n\n"
        "With --json the result is an object with `channels`, `self_cost`, `pulses`, `seed` and `file` (null when nothing was "
        "kept). The "
        "exit code is 0 when at least one channel was calibrated, 1 when none could be, 3 when there is nothing to calibrate: an "
        "estimate has neither lag nor window.",
    .examples = "joulet calibrate --dry-run\n  what would be done, and for how long\n"
                "joulet calibrate\n  the processor\n"
                "joulet calibrate -m llama-3.2-1b --devices gpu\n  the GPUs only, with prompts to that model\n"
                "joulet calibrate --sim 'follow:/tmp/curve;group=gpu;lag=40ms;rise=3ms'\n  try it on a simulated device\n",
    .run = calibrate_run,
};
