/* profiled_server.c - stands in for a llama-server with joulet's probe inside: its command line and its API, steps made of
 * components of known power, a ring file in JOULET_PROBE_DIR. SIM_CURVE: file of its power; SIM_SLOWER: factor on all times;
 * SIM_REFUSES: nothing can be executed again; SIM_STATIC: nothing is told; SIM_LOAD_MS: so long it draws SIM_LOAD_WATTS before it
 * listens. */
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

int main(int argc, char **argv)
{
    struct sim_config c;
    struct joulet_error err;
    sigset_t ends;
    int signal_number;
    char model[256] = "sim";
    const char *folder = getenv("JOULET_PROBE_DIR"), *slower = getenv("SIM_SLOWER"), *port = option(argc, argv, "--port");
    const char *file = option(argc, argv, "-m");
    if (!port || !file)
        return 1;
    snprintf(model, sizeof(model), "%s", strrchr(file, '/') ? strrchr(file, '/') + 1 : file);
    model[strlen(model) - strlen(".gguf")] = '\0';
    sim_config_init(&c);
    c.key = getenv("LLAMA_API_KEY");
    c.port = atoi(port);
    c.model = model;
    c.curve = getenv("SIM_CURVE");
    c.slots = option(argc, argv, "-np") ? atoi(option(argc, argv, "-np")) : 1;
    c.idle_w = SIM_IDLE_WATTS;
    struct sim_probe *p =
        folder && !getenv("SIM_STATIC") ? sim_probe_open(folder, slower ? atof(slower) : 1, getenv("SIM_REFUSES") != NULL) : NULL;
    if (!p && slower) {
        c.prefill_ms *= atof(slower);
        c.decode_ms *= atof(slower);
    }
    if (p) {
        c.step = sim_probe_step;
        c.step_user = p;
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
