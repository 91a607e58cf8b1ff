/* fake_llama_server.c - stands in for llama-server in tests of starting and stopping: takes its command line, answers as the
 * simulated engine does, and dies in the ways the real one does, with its words. `--fake WAY` chooses. */
#include "tests/sim_engine/sim_engine.h"

#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

static const struct {
    const char *way, *words;
} deaths[] = {
    {"memory", "0.13.259.256 E llama_init_from_model: failed to initialize the context: std::bad_alloc\n"
               "0.13.259.579 E srv  llama_server: exiting due to model loading error\n"},
    {"architecture", "0.00.015.039 E llama_model_load: error loading model: unknown model architecture: 'zlama'\n"
                     "0.00.016.544 E srv  llama_server: exiting due to model loading error\n"},
    {"port", "0.00.012.222 E srv         start: couldn't bind HTTP server socket, hostname: 127.0.0.1, port: 1\n"},
    {"strange", "one\nan error of its own kind\nlast words\n"},
    {"silent", ""},
};

static void die_if_asked(const char *way)
{
    if (strcmp(way, "killed") == 0)
        raise(SIGKILL);
    for (size_t i = 0; i < JL_COUNT(deaths); i++) {
        if (strcmp(way, deaths[i].way) == 0) {
            fputs(deaths[i].words, stderr);
            exit(1);
        }
    }
    if (jl_starts(way, "once:") && access(way + 5, F_OK) != 0) { /* the port is taken the first time */
        FILE *mark = fopen(way + 5, "w");
        if (mark)
            fclose(mark);
        fputs(deaths[2].words, stderr);
        exit(1);
    }
}

static void wait_for_end(void)
{
    sigset_t ends;
    int signal_number;
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigwait(&ends, &signal_number);
}

int main(int argc, char **argv)
{
    struct sim_config c;
    struct joulet_error err;
    char cwd[4096], *model = NULL;
    const char *way = "";
    sigset_t ends;
    for (int i = 1; i + 1 < argc; i++)
        if (strcmp(argv[i], "--fake") == 0 && strcmp(argv[i + 1], "mute") == 0)
            return 1;
    sim_config_init(&c);
    c.key = getenv("LLAMA_API_KEY");
    for (int i = 1; i < argc; i++) {
        fprintf(stderr, "argument %s\n", argv[i]);
        if (i + 1 < argc && strcmp(argv[i], "-m") == 0)
            model = strrchr(argv[i + 1], '/') ? jl_strdup(strrchr(argv[i + 1], '/') + 1) : jl_strdup(argv[i + 1]);
        if (i + 1 < argc && strcmp(argv[i], "--port") == 0)
            c.port = atoi(argv[i + 1]);
        if (i + 1 < argc && strcmp(argv[i], "--fake") == 0)
            way = argv[i + 1];
    }
    fprintf(stderr, "folder %s\n", getcwd(cwd, sizeof(cwd)) ? cwd : "?");
    die_if_asked(way);
    if (model && strlen(model) > 5)
        model[strlen(model) - 5] = '\0'; /* the simulated engine adds ".gguf" to its path */
    c.model = model;
    if (strcmp(way, "slow") == 0)
        sim_config_fault(&c, "loading:0.2");
    if (strcmp(way, "hang") == 0)
        sim_config_fault(&c, "loading:100000");
    sigemptyset(&ends);
    sigaddset(&ends, SIGTERM);
    sigaddset(&ends, SIGINT);
    sigprocmask(SIG_BLOCK, &ends, NULL); /* in every thread, so that sigwait gets them */
    struct sim_engine *e = sim_engine_start(&c, &err);
    if (!e) {
        fprintf(stderr, "%s\n", err.message);
        return 1;
    }
    wait_for_end();
    sim_engine_stop(e);
    free(model);
    return 0;
}
