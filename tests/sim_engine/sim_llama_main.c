/* sim_llama_main.c - stands in for llama-server where settings must count. Takes its options; beside them
 *   --sim-curve FILE    where its power goes
 *   --sim-threads yes   -t counts; else it has as many threads as its cores, whatever machine runs the test
 *   --sim-gpu yes       -ngl counts: layers on its GPU are sooner done, and draw more than that saves (sim_llama_on_gpu)
 *   --sim-refuse VALUE  an option with this value ends it at its start, as the real one does with what it cannot do
 *   --sim-die N VALUE   with an option of this value it dies in its Nth generation */
#include "tests/sim_engine/sim_llama.h"

#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

struct line {
    struct sim_settings s;
    const char *curve, *refuse, *dies_with, *dies_at;
    char *model;
    int port;
    int64_t context;
    bool refused, dies, threads, gpu;
    int gpu_layers; /* -1: all of them */
};

/* The file's own number format, where its name tells it. */
static void weights_of(struct line *l, const char *file)
{
    static const struct {
        const char *name;
        double bits;
    } rows[] = {{"-q4_0.", 4.5}, {"-q8_0.", 8.5}, {"-f16.", 16}};
    for (size_t i = 0; i < JL_COUNT(rows); i++)
        if (strstr(file, rows[i].name))
            l->s.weight_bits = rows[i].bits;
}

static void option(struct line *l, const char *name, const char *value)
{
    l->refused |= l->refuse && strcmp(value, l->refuse) == 0;
    l->dies |= l->dies_with && strcmp(value, l->dies_with) == 0;
    if (strcmp(name, "-t") == 0 && l->threads)
        l->s.threads = atoi(value);
    else if (strcmp(name, "--flash-attn") == 0)
        l->s.flash = strcmp(value, "on") == 0;
    else if (strcmp(name, "--cache-type-k") == 0)
        l->s.cache_bits = strcmp(value, "q8_0") == 0 ? 8.5 : 16;
    else if (strcmp(name, "--port") == 0)
        l->port = atoi(value);
    else if (strcmp(name, "-c") == 0)
        l->context = atoi(value);
    else if (strcmp(name, "-ngl") == 0)
        l->gpu_layers = atoi(value);
    else if (strcmp(name, "-m") == 0) {
        l->model = jl_strdup(strrchr(value, '/') ? strrchr(value, '/') + 1 : value);
        weights_of(l, value);
    }
}

/* Ours first: they say what the others do. */
static void take(struct line *l, int argc, char **argv)
{
    for (int i = 1; i + 1 < argc; i++) {
        if (strcmp(argv[i], "--sim-curve") == 0)
            l->curve = argv[i + 1];
        else if (strcmp(argv[i], "--sim-refuse") == 0)
            l->refuse = argv[i + 1];
        else if (strcmp(argv[i], "--sim-threads") == 0)
            l->threads = true;
        else if (strcmp(argv[i], "--sim-gpu") == 0)
            l->gpu = true;
        else if (strcmp(argv[i], "--sim-die") == 0 && i + 2 < argc) {
            l->dies_at = argv[i + 1];
            l->dies_with = argv[i + 2];
        }
    }
    for (int i = 1; i + 1 < argc && !jl_starts(argv[i], "--sim-"); i++)
        option(l, argv[i], argv[i + 1]);
}

static int serve(struct sim_engine *e)
{
    sigset_t ends;
    struct timespec wait = {.tv_nsec = 20000000};
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    while (sigtimedwait(&ends, NULL, &wait) < 0)
        if (sim_engine_dead(e))
            return 1;
    return 0;
}

int main(int argc, char **argv)
{
    struct line l = {.s = sim_llama_settings(), .context = 4096, .gpu_layers = -1};
    struct sim_config c;
    struct joulet_error err;
    char fault[64];
    sigset_t ends;
    take(&l, argc, argv);
    if (l.refused) {
        fprintf(stderr, "0.12.100.200 E llama_init_from_model: V cache quantization requires flash_attn\n");
        return 1;
    }
    sim_llama_config(&l.s, &c);
    if (l.gpu)
        sim_llama_on_gpu(&c, l.gpu_layers < 0 ? 1 : l.gpu_layers / (double)SIM_LLAMA_LAYERS);
    c.key = getenv("LLAMA_API_KEY");
    c.port = l.port;
    c.curve = l.curve;
    c.context = l.context;
    if (l.model && strlen(l.model) > 5)
        l.model[strlen(l.model) - 5] = '\0'; /* the simulated engine adds ".gguf" to its path */
    c.model = l.model;
    snprintf(fault, sizeof fault, "die:2@%.10s", l.dies_at ? l.dies_at : "0");
    if (l.dies)
        sim_config_fault(&c, fault);
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL);
    struct sim_engine *e = sim_engine_start(&c, &err);
    if (!e) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    int code = serve(e);
    sim_engine_stop(e);
    free(l.model);
    return code;
}
