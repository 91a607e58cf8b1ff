/* profiled_server.c - stands in for a llama-server with joulet's probe inside: its command line and its API, steps made of
 * components of known power, a ring file in JOULET_PROBE_DIR, slots. A model of fewer layers, heads, words or a narrower
 * feed-forward, by its file's name, takes as much less as the shape "tiny" would. SIM_CURVE: file of its power; SIM_SLOWER:
 * factor on all times; SIM_REFUSES: nothing can be executed again; SIM_STATIC: nothing is told; SIM_CONTEXT, SIM_PROMPT: tokens
 * with which attention and prompts take twice their time; SIM_HEADS: share of attention's time that goes with its heads;
 * SIM_LAST: factor on the power of the last layer, which a model of fewer layers does not have; SIM_LOAD_MS: so long it draws
 * SIM_LOAD_WATTS before it listens; SIM_STEPS: steps also where nobody asks for a ring;
 * SIM_TEXT: tokenising and detokenising take time of their own, and have routes; SIM_FAULT: fault (sim_engine.h);
 * SIM_BESIDE_FAULT: fault (sim_engine.h) of the server of a model that is there to be compared with;
 * SIM_PROMPTS: file of what it was asked, model and digest a line; SIM_ARGS: file of its command line, an argument a line;
 * SIM_FAILS: with a model of such a name it does not come up. */
#include "tests/sim_engine/sim_probe.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const char *option(int argc, char **argv, const char *name)
{
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], name) == 0)
            return argv[i + 1];
    return NULL;
}

/* Two lines of its curve, as the engine writes them. */
static void load(const char *curve, const char *ms)
{
    FILE *f = curve && ms ? fopen(curve, "ae") : NULL;
    if (!f)
        return;
    int64_t now = jl_mono_ns();
    fprintf(f, "%lld %g\n", (long long)now, SIM_IDLE_WATTS + SIM_LOAD_WATTS);
    fclose(f);
    usleep((useconds_t)(atof(ms) * 1e3));
}

static void tell_arguments(const char *path, int argc, char **argv)
{
    FILE *f = path ? fopen(path, "we") : NULL;
    for (int i = 1; f && i < argc; i++)
        fprintf(f, "%s\n", argv[i]);
    if (f)
        fclose(f);
}

/* Of the number behind `key` in the name of the model, the share of `all`; 1: it is not there. */
static double share_of(const char *model, const char *key, double all)
{
    const char *at = strstr(model, key);
    return at ? atof(at + strlen(key)) / all : 1;
}

static double number(const char *variable, double otherwise)
{
    const char *text = getenv(variable);
    return text ? atof(text) : otherwise;
}

static struct sim_probe_options options_of(const char *model)
{
    struct sim_probe_options o = {.slower = number("SIM_SLOWER", 1),
                                  .refuses = getenv("SIM_REFUSES") != NULL,
                                  .last = number("SIM_LAST", 0),
                                  .text = getenv("SIM_TEXT") != NULL,
                                  .context = number("SIM_CONTEXT", 0),
                                  .prompt = number("SIM_PROMPT", 0)};
    o.layers = strstr(model, "-layers") ? SIM_LAYERS - 1 : SIM_LAYERS;
    o.ffn = share_of(model, "-ffn", 1024);
    o.head = share_of(model, "-vocab", 2048);
    o.attention = 1 - number("SIM_HEADS", 1) * (1 - share_of(model, "-heads", 8));
    return o;
}

int main(int argc, char **argv)
{
    struct sim_config c;
    struct joulet_error err;
    sigset_t ends;
    int signal_number;
    char model[256] = "sim";
    const char *folder = getenv("JOULET_PROBE_DIR"), *port = option(argc, argv, "--port");
    const char *file = option(argc, argv, "-m");
    if (!port || !file)
        return 1;
    tell_arguments(getenv("SIM_ARGS"), argc, argv);
    if (getenv("SIM_FAILS") && strstr(file, getenv("SIM_FAILS")))
        return 1;
    snprintf(model, sizeof(model), "%s", strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
    model[strlen(model) - strlen(".gguf")] = '\0';
    sim_config_init(&c);
    c.key = getenv("LLAMA_API_KEY");
    c.port = atoi(port);
    c.model = model;
    c.curve = getenv("SIM_CURVE");
    c.prompts = getenv("SIM_PROMPTS");
    c.slots = option(argc, argv, "-np") ? atoi(option(argc, argv, "-np")) : 1;
    c.idle_w = SIM_IDLE_WATTS;
    const char *fault = getenv(strstr(model, "-against-") ? "SIM_BESIDE_FAULT" : "SIM_FAULT");
    if (fault && !sim_config_fault(&c, fault))
        return 1;
    struct sim_probe_options o = options_of(model);
    struct sim_probe *p = (folder || getenv("SIM_STEPS")) && !getenv("SIM_STATIC") ? sim_probe_open(folder, &o) : NULL;
    if (!p) {
        c.prefill_ms *= o.slower;
        c.decode_ms *= o.slower;
    }
    if (p) {
        c.step = sim_probe_step;
        c.step_user = p;
        c.text = o.text ? sim_probe_text : NULL;
    }
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    load(c.curve, getenv("SIM_LOAD_MS"));
    struct sim_engine *e = sim_engine_start(&c, &err);
    if (!e) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    if (p)
        sim_probe_engine(p, e);
    sigwait(&ends, &signal_number);
    sim_engine_stop(e);
    sim_probe_close(p);
    return 0;
}
