/* main.c - the simulated engine as a program, for tests of the command line. */
#include "tests/sim_engine/sim_engine.h"

#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static const char usage[] =
    "Usage: sim_engine [OPTION]...\n"
    "A simulated inference server on 127.0.0.1 whose true energy is known. Prints \"listening PORT\", then serves until "
    "SIGTERM.\n"
    "\n"
    "  --port N             port; 0, the default, is a free one\n"
    "  --model NAME         name of its model (sim-model)\n"
    "  --context N          context in tokens (4096); a prompt has one token a word, a chat 8 more\n"
    "  --tokens N           tokens made when the request names no limit (16)\n"
    "  --eos N              the Nth token is an end token, without text\n"
    "  --overhead-ms X      from the request to the start of prefill (2)\n"
    "  --prefill-ms X       per prompt token (1)\n"
    "  --decode-ms X        per generated token after the first (10)\n"
    "  --idle-w X, --prefill-w X, --decode-w X   power in each state (10, 60, 40)\n"
    "  --curve FILE         append \"t_ns watts\" (CLOCK_MONOTONIC) at each change: the power from then on\n"
    "  --truth FILE         append one JSON object per generation: its schedule and what it drew; - is standard output (the "
    "default)\n"
    "  --api-key KEY        demand it\n"
    "  --openai             no llama.cpp routes and no timings: a plain OpenAI-style server\n"
    "  --fault NAME[:ARG][@REQUEST]   may be given several times; with @N only in the generation N (0 is the first)\n"
    "\n"
    "Faults:\n";

enum {
    PORT = 1,
    MODEL,
    CONTEXT,
    TOKENS,
    EOS,
    OVERHEAD,
    PREFILL,
    DECODE,
    IDLE_W,
    PREFILL_W,
    DECODE_W,
    CURVE,
    TRUTH,
    KEY,
    OPENAI,
    FAULT,
    HELP
};

static const struct option options[] = {
    {"port", 1, NULL, PORT},           {"model", 1, NULL, MODEL},       {"context", 1, NULL, CONTEXT},
    {"tokens", 1, NULL, TOKENS},       {"eos", 1, NULL, EOS},           {"overhead-ms", 1, NULL, OVERHEAD},
    {"prefill-ms", 1, NULL, PREFILL},  {"decode-ms", 1, NULL, DECODE},  {"idle-w", 1, NULL, IDLE_W},
    {"prefill-w", 1, NULL, PREFILL_W}, {"decode-w", 1, NULL, DECODE_W}, {"curve", 1, NULL, CURVE},
    {"truth", 1, NULL, TRUTH},         {"api-key", 1, NULL, KEY},       {"openai", 0, NULL, OPENAI},
    {"fault", 1, NULL, FAULT},         {"help", 0, NULL, HELP},         {NULL, 0, NULL, 0},
};

static void bad(const char *what, const char *value)
{
    fprintf(stderr, "sim_engine: --%s does not take \"%s\"; see --help\n", what, value);
    exit(2);
}

static int64_t whole(const char *name, const char *value)
{
    int64_t n = 0;
    if (!jl_parse_i64(value, &n) || n < 0)
        bad(name, value);
    return n;
}

static double real(const char *name, const char *value)
{
    double x = 0;
    if (!jl_parse_double(value, &x) || x < 0)
        bad(name, value);
    return x;
}

static void take(struct sim_config *c, int option, const char *name)
{
    switch (option) {
    case PORT:
        c->port = (int)whole(name, optarg);
        break;
    case MODEL:
        c->model = optarg;
        break;
    case CONTEXT:
        c->context = whole(name, optarg);
        break;
    case TOKENS:
        c->tokens = whole(name, optarg);
        break;
    case EOS:
        c->eos = whole(name, optarg);
        break;
    case OVERHEAD:
        c->overhead_ms = real(name, optarg);
        break;
    case PREFILL:
        c->prefill_ms = real(name, optarg);
        break;
    case DECODE:
        c->decode_ms = real(name, optarg);
        break;
    case IDLE_W:
        c->idle_w = real(name, optarg);
        break;
    case PREFILL_W:
        c->prefill_w = real(name, optarg);
        break;
    case DECODE_W:
        c->decode_w = real(name, optarg);
        break;
    case CURVE:
        c->curve = optarg;
        break;
    case TRUTH:
        c->truth = optarg;
        break;
    case KEY:
        c->key = optarg;
        break;
    case OPENAI:
        c->openai = true;
        break;
    case HELP:
        printf("%s%s", usage, sim_fault_help);
        exit(0);
    case FAULT:
        if (!sim_config_fault(c, optarg))
            bad(name, optarg);
        break;
    default:
        exit(2);
    }
}

/* Ends on SIGTERM or SIGINT with 0, on the fault `die` with 1. */
static int serve(struct sim_engine *e)
{
    sigset_t set;
    struct timespec wait = {.tv_nsec = 20000000};
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    while (sigtimedwait(&set, NULL, &wait) < 0) {
        if (sim_engine_dead(e)) {
            sim_engine_stop(e);
            return 1;
        }
    }
    sim_engine_stop(e);
    return 0;
}

int main(int argc, char **argv)
{
    struct sim_config c;
    struct joulet_error err;
    sigset_t set;
    int option, at = 0;
    sim_config_init(&c);
    c.truth = "-";
    while ((option = getopt_long(argc, argv, "", options, &at)) >= 0)
        take(&c, option, options[at].name);
    if (optind < argc)
        bad("help", argv[optind]);
    sigemptyset(&set);
    sigaddset(&set, SIGTERM);
    sigaddset(&set, SIGINT);
    sigprocmask(SIG_BLOCK, &set, NULL);
    struct sim_engine *e = sim_engine_start(&c, &err);
    if (!e) {
        fprintf(stderr, "sim_engine: %s\n", err.message);
        return 1;
    }
    printf("listening %d\n", sim_engine_port(e));
    fflush(stdout);
    return serve(e);
}
